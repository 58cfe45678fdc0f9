//! The shapes of what is taken out.

use std::ops::Range;

use regex::{Regex, RegexBuilder};

use super::{Kind, RedactionSettings, Rule};
use crate::secret::Secret;

/// All expressions in force.
pub(super) struct Rules {
    secrets: Vec<Regex>,
    /// How many of the secrets go out of questions: our own keys always, the others where they are to.
    sent: usize,
    others: Vec<Rule>,
    pub(super) address: Regex,
    own: Vec<Secret>,
}

/// How much of a key is too much to be shown, in bytes. Its first letters only say whose it is.
const FRAGMENT_BYTES: usize = 8;

/// Secrets. The first group that takes part is what goes; without one, all of it does.
const SECRETS: [&str; 18] = [
    // Private keys, whole or with their end cut off.
    r"(?s)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----.*?(?:-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----|\z)",
    r"(?s)PuTTY-User-Key-File-\d.*?(?:Private-MAC: [0-9a-f]+|\z)",
    // JSON web tokens.
    r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?",
    // Keys that tell by their first letters whose they are.
    r"\b(?:sk|pk|rk)[-_](?:[A-Za-z0-9]+[-_])*[A-Za-z0-9*_-]{12,}",
    r"\b(?:AKIA|ASIA|AROA|AIDA)[A-Z0-9]{16}\b",
    r"\b(?:gh[pousr]_[A-Za-z0-9]{20,}|github_pat_[A-Za-z0-9_]{20,}|glpat-[A-Za-z0-9_-]{16,}|xox[abeprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}|AIza[A-Za-z0-9_-]{30,}|ya29\.[A-Za-z0-9_-]{20,}|hf_[A-Za-z0-9]{20,}|npm_[A-Za-z0-9]{30,}|pypi-[A-Za-z0-9_-]{30,}|dop_v1_[a-f0-9]{40,}|SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}|hv[sb]\.[A-Za-z0-9_-]{20,}|AGE-SECRET-KEY-1[A-Z0-9]{50,})",
    // Hashes of passwords, as in /etc/shadow, and Windows' pair of them.
    r"\$(?:1|2[abxy]|5|6|7|y|gy|argon2(?:i|d|id)|scrypt)\$[./A-Za-z0-9$=,+]{16,}",
    r"\b[0-9a-fA-F]{32}:[0-9a-fA-F]{32}\b",
    // Headers.
    r#"(?i)\b(?:proxy-)?authorization\\?["']?\s*[:=]\s*\\?["']?(?:(?:bearer|basic|token|negotiate|digest|ntlm|apikey)\s+)?([^\s"'\\,;]+)"#,
    r"(?i)\bbearer\s+([A-Za-z0-9._~+/-]{8,}=*)",
    r#"(?i)\b(?:set-)?cookie\\?["']?\s*:\s*\\?["']?([^\r\n"'\\]+)"#,
    // A name that says so, and its value: in JSON, in an environment, in a query, in a form.
    r#"(?i)[\w.-]*(?:password|passwd|passphrase|passwort|pwd|secret|token|api[_-]?key|(?:access|private|account|secret)[_-]?key|credential)s?[0-9]*\\?["']?\s*(?:=|:=?)\s*(?:\\?"((?:[^"\\]|\\[^"])+)|'([^']+)|([^\s"'&,;\\]+))"#,
    // What signs an address of Azure's storage.
    r"[?&]sig=([^&\s]+)",
    // An option of a command that says so.
    r#"(?i)(?:^|[\s"'])(?:--?|/)(?:\w+[_-])?(?:password|passwd|passphrase|pass|pwd|secret|token|api[_-]?key|p:)(?:\s+|=|:)?\s*(?:\\?"([^"\\]+)|'([^']+)|([^\s"'\\]+))"#,
    // Commands whose options do not say so.
    r#"(?i)\b(?:sshpass|plink|psexec(?:64)?|pscp|putty|(?:docker|podman)\s+login|crackmapexec|netexec|nxc|evil-winrm|xfreerdp|hydra|ldapsearch|mosquitto_(?:pub|sub))(?:\.exe)?\b[^\r\n|;&]*?\s-(?-i:p|pw|w)\s*["']?([^\s"']+)"#,
    r#"(?i)\b(?:mysql(?:dump|admin|show|import)?|mariadb(?:-dump|-admin)?|mongo(?:sh|dump)?)(?:\.exe)?\b[^\r\n|;&]*?\s-(?-i:p)\s*["']?([^\s"'-][^\s"']*)|\bredis-cli\b[^\r\n|;&]*?\s-(?-i:a)\s*["']?([^\s"']+)"#,
    r#"(?i)\b(?:curl|wget|smbclient|rpcclient|net\s+ads|impacket-\w+)\b[^\r\n|;&]*?\s(?:-u|-U|--user|--proxy-user)[\s=]*["']?[^\s"':%]+[:%]([^\s"']+)"#,
    r#"(?i)\bnet1?(?:\.exe)?\s+(?:user\s+[^\s/]+\s+([^\s/*][^\s]*)|use\s+(?:[a-z*]:?\s+)?\\\\\S+\s+([^\s/*][^\s]*))|\bConvertTo-SecureString\s+(?:-String\s+)?["']?([^\s"']+)|\becho\s+(?:-n\s+)?["']?([^\s"'|]+)["']?\s*\|\s*sudo\s+-S"#,
];

/// What stands before an `@` in a URL.
const IN_URL: &str = r#"(?i)\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@"'<>]*:([^\s/@"'<>]+)@"#;

const EMAIL: &str = r"[A-Za-z0-9][A-Za-z0-9._%+'-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z][A-Za-z0-9-]{1,62}";

const USERS: [&str; 4] = [
    r#"/(?:home|Users)/([A-Za-z0-9._-]{1,64})"#,
    r#"(?i)\b[a-z]:\\{1,2}Users\\{1,2}([^\\/:*?"<>|\r\n]{1,64})"#,
    r#"(?i)\b(?:user(?:_?name)?|acct|account|logname|ruser|targetusername|subjectusername)\\?["']?\s*[=:]\s*\\?["']?([A-Za-z0-9._@$-]{1,64})"#,
    r"\b(?:for(?: invalid user)?|session opened for user|invalid user) ([A-Za-z0-9._@$-]{1,64})(?: from|\(uid| by)",
];

/// What may be an address; whether it is one is found by reading it.
const ADDRESS: &str =
    r"\b(?:\d{1,3}\.){3}\d{1,3}\b|(?i)(?:\b[0-9a-f]{1,4}|:):[0-9a-f:]*(?:[0-9a-f]|:)(?:(?:\d{1,3}\.){3}\d{1,3})?";

impl Rules {
    pub(super) fn new(settings: &RedactionSettings, own: &[Secret]) -> Result<Rules, regex::Error> {
        let mut secrets = Vec::new();
        for key in own {
            secrets.push(Regex::new(&regex::escape(key.reveal()))?);
        }
        for pattern in SECRETS.iter().chain([&IN_URL]) {
            secrets.push(Regex::new(pattern)?);
        }
        let sent = if settings.secrets { secrets.len() } else { own.len() };
        let mut others = Vec::new();
        if settings.emails {
            others.push((Regex::new(EMAIL)?, Kind::Email));
        }
        if settings.users {
            for pattern in USERS {
                others.push((Regex::new(pattern)?, Kind::User));
            }
        }
        if !settings.words.is_empty() {
            let any: Vec<_> = settings.words.iter().map(|w| regex::escape(w.trim())).collect();
            let rule = RegexBuilder::new(&any.join("|")).case_insensitive(true).build()?;
            others.push((rule, Kind::Word));
        }
        Ok(Rules { secrets, sent, others, address: Regex::new(ADDRESS)?, own: own.to_vec() })
    }

    /// What goes out of a question.
    pub(super) fn for_sending(&self) -> impl Iterator<Item = (&Regex, Kind)> {
        let secrets = self.secrets[..self.sent].iter().map(|r| (r, Kind::Secret));
        secrets.chain(self.others.iter().map(|(r, k)| (r, *k)))
    }

    /// What goes out of an error: all secrets, whatever the settings say.
    pub(super) fn for_showing(&self) -> impl Iterator<Item = (&Regex, Kind)> {
        self.secrets.iter().map(|r| (r, Kind::Secret))
    }
    /// Where pieces of our own keys stand in a text that is to be shown. Keys are ASCII, so these are whole characters.
    pub(super) fn fragments<'t>(&'t self, text: &'t str) -> impl Iterator<Item = Range<usize>> + 't {
        let is_of = |piece: &[u8], key: &Secret| key.reveal().as_bytes().windows(FRAGMENT_BYTES).any(|w| w == piece);
        let pieces = text.as_bytes().windows(FRAGMENT_BYTES).enumerate();
        let found = pieces.filter(move |(_, piece)| self.own.iter().any(|key| is_of(piece, key)));
        found.map(|(at, _)| at..at + FRAGMENT_BYTES)
    }
}
