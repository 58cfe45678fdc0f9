//! The header that syslog puts before a line: RFC 3164 with or without its priority, the same with an
//! RFC 3339 time as rsyslog and syslog-ng write it, and RFC 5424 with structured data.

use vertice_model::Timestamp;

use super::time;

/// What a syslog header says of the message behind it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Header<'a> {
    /// When it was written.
    pub(super) time: Option<Timestamp>,
    /// The host that wrote it.
    pub(super) host: Option<&'a str>,
    /// The program, such as `sshd` or `postfix/smtpd`.
    pub(super) program: Option<&'a str>,
    /// Its process id.
    pub(super) pid: Option<&'a str>,
    /// Facility times eight, plus severity.
    pub(super) priority: Option<u8>,
    /// Structured data: `id.name` and value.
    pub(super) data: Vec<(String, String)>,
    /// What follows.
    pub(super) message: &'a str,
}

/// Reads a syslog header; `None` if the line has none. `received` is for the year that RFC 3164 leaves out.
pub(super) fn header(line: &str, received: Timestamp) -> Option<Header<'_>> {
    let (priority, rest) = match line.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((digits, rest)) if (1..=3).contains(&digits.len()) => match digits.parse::<u8>() {
            Ok(priority) if priority <= 191 => (Some(priority), rest),
            Ok(_) | Err(_) => return None,
        },
        Some(_) | None => (None, line),
    };
    if let Some(rest) = rest.strip_prefix("1 ")
        && let Some(header) = rfc5424(rest)
    {
        return Some(Header { priority, ..header });
    }
    let stamped = time::bsd_prefix(rest, received).or_else(|| {
        // A time with a `T`; one with a space is how many plain logs begin their lines.
        time::iso_prefix(rest).filter(|_| rest.as_bytes()[10] == b'T')
    });
    match stamped {
        Some((at, rest)) => {
            let rest = rest.strip_prefix(' ')?.trim_start();
            Some(Header { time: Some(at), priority, ..tagged(rest) })
        }
        // RFC 3164, section 4.3.3: a priority and nothing else that is known.
        None => priority.map(|_| {
            let (program, pid, message) = tag(rest).unwrap_or((None, None, rest));
            Header { priority, program, pid, message, ..Header::default() }
        }),
    }
}

/// `HOST TAG[PID]: MESSAGE`, where the host or the tag may be missing.
fn tagged(rest: &str) -> Header<'_> {
    if let Some((program, pid, message)) = tag(rest) {
        return Header { program, pid, message, ..Header::default() };
    }
    let (host, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let rest = rest.trim_start();
    let (program, pid, message) = tag(rest).unwrap_or((None, None, rest));
    Header { host: Some(host), program, pid, message, ..Header::default() }
}

type Tag<'a> = (Option<&'a str>, Option<&'a str>, &'a str);

/// `TAG[PID]: MESSAGE` or `TAG: MESSAGE`.
fn tag(rest: &str) -> Option<Tag<'_>> {
    let end = rest.find(|c: char| c.is_whitespace() || c == ':' || c == '[')?;
    let (program, rest) = rest.split_at(end);
    if program.is_empty() || program.starts_with(['{', '<', '%', '"']) {
        return None;
    }
    let (pid, rest) = match rest.strip_prefix('[').and_then(|inner| inner.split_once(']')) {
        Some((pid, rest)) => (Some(pid), rest),
        None => (None, rest),
    };
    // An address as the host, `fe80::1`, is no tag: a tag's colon ends the word.
    let message = rest.strip_prefix(':').filter(|m| m.is_empty() || m.starts_with([' ', '\t', '{']))?;
    Some((Some(program), pid, message.strip_prefix(' ').unwrap_or(message)))
}

fn rfc5424(rest: &str) -> Option<Header<'_>> {
    let mut words = rest.splitn(6, ' ');
    let mut word = || words.next().map(|w| (w != "-").then_some(w));
    let (stamp, host, program, pid, _id) = (word()?, word()?, word()?, word()?, word()?);
    let rest = words.next().unwrap_or("-");
    let time = match stamp {
        Some(text) => Some(time::iso(text)?),
        None => None,
    };
    let (data, message) = match rest.strip_prefix('-') {
        Some(message) => (Vec::new(), message),
        None => structured(rest)?,
    };
    let message = message.strip_prefix(' ').unwrap_or(message);
    let message = message.strip_prefix('\u{feff}').unwrap_or(message);
    Some(Header { time, host, program, pid, priority: None, data, message })
}

/// `[id name="value" …][…]`, with `\"`, `\\` and `\]` in values.
fn structured(mut rest: &str) -> Option<(Vec<(String, String)>, &str)> {
    let mut data = Vec::new();
    while let Some(inner) = rest.strip_prefix('[') {
        let end = inner.find([' ', ']'])?;
        let id = &inner[..end];
        rest = inner[end..].trim_start();
        while let Some((name, quoted)) = rest.split_once("=\"").filter(|_| !rest.starts_with(']')) {
            let (value, after) = quoted_value(quoted)?;
            data.push((format!("{id}.{name}"), value));
            rest = after.trim_start();
        }
        rest = rest.strip_prefix(']')?;
    }
    (!data.is_empty() || rest.is_empty() || rest.starts_with(' ')).then_some((data, rest))
}

fn quoted_value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[i + 1..])),
            '\\' => value.push(chars.next()?.1),
            _ => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let received: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let shown = header(line, received).map(|h| {
            let time = h.time.map(|t| t.to_string()).unwrap_or_default();
            let data: Vec<String> = h.data.iter().map(|(k, v)| format!("{k}={v}")).collect();
            let text = |t: Option<&str>| t.unwrap_or("-").to_owned();
            format!(
                "{time} {} {} {} {} [{}] {}",
                h.priority.map_or(-1, i16::from),
                text(h.host),
                text(h.program),
                text(h.pid),
                data.join(","),
                h.message
            )
        });
        assert_eq!(shown.unwrap_or_default(), expected, "{line}");
    }

    #[test]
    fn rfc_3164_with_and_without_its_parts() {
        check("Feb  8 14:34:33 ws1 sshd[77]: hello: x", "2026-02-08T14:34:33Z -1 ws1 sshd 77 [] hello: x");
        check("<38>Feb  8 14:34:33 ws1 postfix/smtpd[7]: m", "2026-02-08T14:34:33Z 38 ws1 postfix/smtpd 7 [] m");
        check("Feb  8 14:34:33 ws1 kernel: [1.2] IN=", "2026-02-08T14:34:33Z -1 ws1 kernel - [] [1.2] IN=");
        check("Feb  8 14:34:33 sudo: ana : x", "2026-02-08T14:34:33Z -1 - sudo - [] ana : x");
        check("Feb  8 14:34:33 ws1 last message repeated", "2026-02-08T14:34:33Z -1 ws1 - - [] last message repeated");
        check("Feb  8 14:34:33 fe80::1 app: m", "2026-02-08T14:34:33Z -1 fe80::1 app - [] m");
        check("Feb  8 14:34:33 ws1 suricata:{\"a\":1}", "2026-02-08T14:34:33Z -1 ws1 suricata - [] {\"a\":1}");
        check("Feb  8 14:34:33 ws1", "2026-02-08T14:34:33Z -1 ws1 - - [] ");
        check("<13>app[3]: m", " 13 - app 3 [] m");
        check("<13>just words", " 13 - - - [] just words");
    }

    #[test]
    fn rfc_3339_times_and_what_only_looks_like_a_header() {
        check("2026-02-08T14:34:33.5+02:00 ws1 a[1]: m", "2026-02-08T12:34:33.5Z -1 ws1 a 1 [] m");
        for none in [
            "2026-02-08 14:34:33 UTC [1] x",
            "2026-02-08T14:34:33+01:00: auth",
            "plain",
            "<999>x",
            "<1234>x",
            "Feb 30 00:00:00 h p: m",
            "Feb  8 14:34:33.123: %X",
        ] {
            check(none, "");
        }
    }

    #[test]
    fn rfc_5424() {
        check(
            r#"<38>1 2026-01-19T14:23:55+00:00 fw sshd 44 - [meta a="1" b="x\"\]"][o@1 c="2"] Invalid user"#,
            r#"2026-01-19T14:23:55Z 38 fw sshd 44 [meta.a=1,meta.b=x"],o@1.c=2] Invalid user"#,
        );
        check("<38>1 - - nginx - - - \u{feff}m n", " 38 - nginx - [] m n");
        check("<38>1 2026-01-19T14:23:55Z h p - - [x] m", "2026-01-19T14:23:55Z 38 h p - [] m");
        check("<38>1 2026-01-19T14:23:55Z h p - -", "2026-01-19T14:23:55Z 38 h p - [] ");
        // What is broken is read as RFC 3164 reads anything behind a priority.
        check("<38>1 soon h p - - m", " 38 - - - [] 1 soon h p - - m");
        check(r#"<38>1 - h p - - [x a="1"#, " 38 - - - [] 1 - h p - - [x a=\"1");
        check("<38>1 - h p - - [x", " 38 - - - [] 1 - h p - - [x");
        check("<38>1 - h p - - words", " 38 - - - [] 1 - h p - - words");
    }
}
