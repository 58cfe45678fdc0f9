//! What each type of action must be told, and what it refuses.

use super::refusals::refusals;
use super::story::playbooks;

const ASK: &str = "    hotl_required: true\n    hotl_prompt: Sure?\n";

/// One action of a type, with these parameters and these keys beside.
fn one(action_type: &str, parameters: &str, beside: &str) -> String {
    format!(
        "name: One\nversion: '1'\ntrigger: {{condition: a}}\ncontext_requirements: [source_ip, target_host, user, title]\n\
         actions:\n  - id: it\n    type: {action_type}\n    parameters: {{{parameters}}}\n{beside}"
    )
}

/// A line `TYPE: PARAMETERS`, or `TYPE!: PARAMETERS` where a person is asked, or `TYPE!!: PARAMETERS` where it can
/// not be undone beside.
fn line(line: &str) -> String {
    let (word, parameters) = line.split_once(": ").expect("TYPE: PARAMETERS");
    let action_type = word.trim_end_matches('!');
    let beside = match word.len() - action_type.len() {
        0 => String::new(),
        1 => ASK.to_owned(),
        _ => format!("{ASK}    irreversible: true\n"),
    };
    one(action_type, parameters, &beside)
}

#[test]
fn every_type_of_action_reads_what_it_declares() {
    let table = r"
        honeypot_deployment: honeypot_type: ssh, target_ip: '${source_ip}', duration: 24h
        zone_isolation!: target_host: '${target_host}', zone: dmz-1, duration: 1h
        traffic_shaping: target_ip: '2001:db8::1', limit: 256kbit, direction: both, duration: 1h
        traffic_capture: target_ip: 203.0.113.9, max_size: 1GB, duration: 1h
        kill_process!!: target_host: web1, process: '/tmp/x', pid: 4711
        quarantine: target_host: web1, file_path: '/tmp/x', duration: 7d
        quarantine: target_host: web1, file_path: 'C:\Users\ana\x.exe', duration: 7d
        revoke_credentials!: user: '${user}', duration: 1h
        revoke_credentials!: user: 'CORP\ana', target_host: web1, duration: 1h
        session_termination!!: user: '${user}'
        collect_forensics: target_host: '${target_host}', artifacts: [memory, logs]
        notification: channel: email, to: soc, message: 'about ${title}'
        http_request: url: 'https://soar.example.org:8443/case/${title}?x', undo_url: 'https://soar.example.org/undo'
        http_request!!: url: 'http://[::1]:80', method: POST, body: '${title}'
        remote_command!!: target_host: web1, command: stop-web
        remote_command!: target_host: web1, command: stop-web, undo_command: start-web, duration: 1h
    ";
    for action in table.lines().map(str::trim).filter(|l| !l.is_empty()) {
        assert_eq!(playbooks(&[&line(action)]).iter().count(), 1, "{action}");
    }
}

#[test]
fn and_refuses_everything_else() {
    let table = r"
        firewal_rule: a: b
        7: `actions.it.type` can not be `firewal_rule`; did you mean `firewall_rule`?
        nuke: a: b
        7: `actions.it.type` can not be `nuke`; it is one of firewall_rule, honeypot_deployment, zone_isolation, traffic_shaping, traffic_capture, kill_process, quarantine, revoke_credentials, session_termination, collect_forensics, notification, http_request, remote_command
        honeypot_deployment: honeypot_type: telnet, target_ip: '${source_ip}', duration: 24h
        8: `actions.it.parameters.honeypot_type` can not be `telnet`; it is one of ssh, http
        honeypot_deployment: honeypot_type: ssh, target_ip: '${target_host}', duration: 24h
        8: `actions.it.parameters.target_ip` is one address, and `${target_host}` is none
        zone_isolation!: duration: 1h
        8: `actions.it.parameters` must name `target_host` or `target_ip`
        zone_isolation!: target_host: 'a;b', duration: 1h
        8: `actions.it.parameters.target_host` is `a;b`, and should be a host name of letters, digits, `.`, `-` and `_`
        zone_isolation!: target_host: '-a', duration: 1h
        8: `actions.it.parameters.target_host` is `-a`, and should be a host name of letters, digits, `.`, `-` and `_`
        zone_isolation!: target_host: a, zone: '${title}', duration: 1h
        8: `actions.it.parameters.zone` is `${title}`, and should be a name of lower-case letters, digits, `-` and `_`
        traffic_shaping: target_ip: '${source_ip}', limit: fast, duration: 1h
        8: `actions.it.parameters.limit` is `fast`, and should be a speed such as 256kbit, 10mbit or 1gbit
        traffic_capture: target_ip: '${source_ip}', max_size: big, duration: 1h
        8: `actions.it.parameters.max_size` is `big`, and should be a size such as 500kB, 100MB or 1GB
        kill_process!!: target_host: web1, pid: 1
        8: `actions.it.parameters.pid` is the number 1, and should be a number from 2 to 4194304
        quarantine: target_host: web1, file_path: '/tmp/../etc/x', duration: 7d
        8: `actions.it.parameters.file_path` is `/tmp/../etc/x`, and should be the whole path of one file, without `..` and `*`
        revoke_credentials!: user: '$(id)', duration: 1h
        8: `actions.it.parameters.user` is `$(id)`, and should be an account name without control and shell characters
        revoke_credentials!: user: '${source_ip}', duration: 1h
        8: `actions.it.parameters.user` is an account, and `${source_ip}` is none
        collect_forensics: target_host: web1, artifacts: [memry]
        8: `actions.it.parameters.artifacts` can not name `memry`; did you mean `memory`?
        http_request: url: 'ftp://x/', undo_url: 'https://x/'
        8: `actions.it.parameters.url` should begin with `https://` or `http://` and a host
        http_request: url: 'https://${title}/', undo_url: 'https://x/'
        8: `actions.it.parameters.url` must write its host out, without `${…}`, user or password
        http_request: url: 'https://ana:secret@x/', undo_url: 'https://x/'
        8: `actions.it.parameters.url` must write its host out, without `${…}`, user or password
        http_request: url: 'https://x.${title}', undo_url: 'https://x/'
        8: `actions.it.parameters.url` must write its host out, without `${…}`, user or password
        http_request: url: 'https://x/a b', undo_url: 'https://x/'
        8: `actions.it.parameters.url` has a blank or a control character in it
        remote_command!: target_host: web1, command: stop-web, undo_command: start-web
        8: `actions.it.parameters.duration` is missing: with `undo_command` it is a change that lasts, and needs its end
        remote_command!!: target_host: web1, command: stop-web, duration: 1h
        8: `actions.it.parameters.duration` means nothing without `undo_command`
        remote_command!!: target_host: web1, command: 'rm -rf /'
        8: `actions.it.parameters.command` is `rm -rf /`, and should be a name of lower-case letters, digits, `-` and `_`
    ";
    let lines: Vec<&str> = table.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    for pair in lines.chunks(2) {
        assert_eq!(refusals("one.yml", &line(pair[0])), [pair[1]], "{}", pair[0]);
    }
}

#[test]
fn what_can_not_be_undone_needs_a_person_and_says_so() {
    let kill = "target_host: web1, pid: 4711";
    let says = "7: `actions.it.irreversible` must be true: nothing undoes kill_process as it is given here";
    let asks = "6: `actions.it.hotl_required` must be true: nothing undoes kill_process as it is given here";
    assert_eq!(refusals("one.yml", &one("kill_process", kill, "")), [asks, says]);
    assert_eq!(refusals("one.yml", &one("kill_process", kill, "    irreversible: true\n")), [asks]);
    assert_eq!(refusals("one.yml", &one("kill_process", kill, ASK)), [says]);
    let silent = format!("{ASK}    irreversible: true\n    on_timeout: execute\n");
    assert_eq!(
        refusals("one.yml", &one("kill_process", kill, &silent)),
        ["12: `actions.it.on_timeout` can not be `execute`: what can not be undone is never done without a person"]
    );
}
