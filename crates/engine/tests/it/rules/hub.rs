//! Real lines of other people's tests of their own detections, with the address that they blame: ours blame it too.

use std::path::Path;

use super::{files_of_rules, play};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/crowdsec-hub-tests");

/// A log, and which of our rules must blame whom for what is in it.
const ATTACKS: [(&str, &str, &[&str]); 31] = [
    ("opnsense-sshd/opnsense-sshd.log", "rules/authentication/unknown_account_guessing.yml", &["1.2.3.4"]),
    (
        "sshd-bad-keyexchange-bf/sshd-bad-keyexchange-bf.log",
        "rules/authentication/ssh_key_exchange_probing.yml",
        &["123.57.135.134", "206.189.59.169", "123.123.123.123"],
    ),
    ("nginx-http-generic-bf/nginx-http-generic-bf.log", "rules/authentication/web_login_guessing.yml", &["127.0.0.1"]),
    (
        "iptables-scan-multi-port/iptables-scan-multi-port.log",
        "rules/scanning/port_scan_at_the_firewall.yml",
        &["62.34.17.168", "127.0.0.2"],
    ),
    ("nginx-http-malformed/nginx_http-logs.log", "rules/scanning/malformed_web_requests.yml", &["1.2.3.4"]),
    ("apache2-malformed/apache2-logs.log", "rules/scanning/malformed_web_requests.yml", &["1.2.3.4"]),
    ("suricata-eve-detect/suricata-eve-detect.log", "rules/scanning/ids_scan_alerts.yml", &["2.2.3.4"]),
    ("suricata-eve-detect/suricata-eve-detect.log", "rules/command_and_control/grave_signature.yml", &["1.2.3.4"]),
    ("nginx-http-path-traversal/nginx-http-path-traversal.log", "rules/web/path_traversal.yml", &["127.0.0.1"]),
    ("nginx-http-xss-probing/nginx-http-xss-probing.log", "rules/web/cross_site_scripting.yml", &["127.0.0.1"]),
    (
        "nginx-http-sensitive-files/nginx-http-sensitive-files.log",
        "rules/web/sensitive_file_probing.yml",
        &["127.0.0.1"],
    ),
    (
        "apache2-http-sensitive-files/apache2-http-sensitive-files.log",
        "rules/web/sensitive_file_probing.yml",
        &["172.17.0.1"],
    ),
    ("http-wordpress_wpconfig/http-wordpress_wpconfig.log", "rules/web/sensitive_file_probing.yml", &["167.71.13.196"]),
    ("http-wordpress-scan/http-wordpress-scan.log", "rules/web/wordpress_scan.yml", &["127.0.0.1", "192.168.1.1"]),
    (
        "apache_log4j2_cve-2021-44228/apache_log4j2_cve-2021-44228.log",
        "rules/web/log4shell.yml",
        &["192.168.1.3", "192.168.1.4", "192.168.1.5"],
    ),
    (
        "nginx-http-open-proxy/nginx-http-open-proxy.log",
        "rules/web/open_proxy_probing.yml",
        &["127.0.0.1", "127.0.0.2"],
    ),
    ("http-dos-random-uri/http_dos_random_uri.log", "rules/scanning/web_probing.yml", &["127.0.0.1"]),
    ("http-dos-random-uri/http_dos_random_uri.log", "rules/web/request_flood.yml", &["127.0.0.1"]),
    ("http-dos-switching-ua/http-dos-switching-ua.log", "rules/scanning/changing_user_agents.yml", &["1.2.3.4"]),
    ("nginx_req_limit_exceeded/nginx_req_limit_exceeded.log", "rules/web/rate_limit_exceeded.yml", &["::1"]),
    ("nginx-http-generic-bf/nginx-http-generic-bf.log", "rules/authentication/password_guessing.yml", &["127.0.0.1"]),
    ("apache-guacamole_bf/apache-guacamole_bf.log", "rules/authentication/password_guessing.yml", &["127.0.0.1"]),
    ("authelia-bf/authelia-bf.log", "rules/authentication/password_guessing.yml", &["1.1.1.1"]),
    ("pgsql-logs/pgsql-logs.log", "rules/authentication/password_guessing.yml", &["1.2.3.4"]),
    ("vsftpd-bf/vsftpd-bf.log", "rules/authentication/password_guessing.yml", &["93.24.101.89"]),
    (
        "bunkerweb-http-sensitive-files/bunkerweb-http-sensitive-files.log",
        "rules/web/sensitive_file_probing.yml",
        &["127.0.0.1"],
    ),
    (
        "litespeed-http-sensitive-files/litespeed-http-sensitive-files.log",
        "rules/web/sensitive_file_probing.yml",
        &["192.168.9.163"],
    ),
    ("traefik_base-http-scenario/traefik_base-http-scenario.log", "rules/scanning/web_probing.yml", &["172.17.0.1"]),
    ("traefik_base-http-scenario/traefik_base-http-scenario.log", "rules/web/path_traversal.yml", &["172.17.0.1"]),
    ("traefik_base-http-scenario/traefik_base-http-scenario.log", "rules/web/open_proxy_probing.yml", &["172.17.0.1"]),
    (
        "traefik_base-http-scenario/traefik_base-http-scenario.log",
        "rules/scanning/attack_tool_user_agent.yml",
        &["172.17.0.1"],
    ),
];

/// Logs in which nobody does anything: no rule of ours may say `medium`.
const QUIET: [&str; 3] =
    ["sshd-logs-fp/sshd-logs.log", "pam-logs/pam-logs.log", "sshd-impossible-travel/sshd-success-logs.log"];

#[test]
fn our_rules_blame_whom_others_blame() {
    if !Path::new(DATA).is_dir() {
        println!("left out {} logs with attacks and {} without: no shared data", ATTACKS.len(), QUIET.len());
        return;
    }
    let rules = files_of_rules();
    let mut wrong = Vec::new();
    for (log, file, blamed) in ATTACKS {
        let text = std::fs::read_to_string(Path::new(DATA).join(log)).unwrap_or_else(|e| panic!("{log}: {e}"));
        let outcome =
            play("2026-03-02T12:00:00Z".parse().unwrap(), text.lines().filter(|line| !line.trim().is_empty()));
        for who in blamed {
            let about = |d: &&vertice_model::Detection| {
                d.entity.name() == *who && rules.get(&d.rule_id).is_some_and(|f| f == file)
            };
            if outcome.detections.iter().find(about).is_none() {
                let others: Vec<_> = outcome.detections.iter().map(|d| (&d.rule_title, d.entity.name())).collect();
                wrong.push(format!("{log}: {file} does not blame {who}; there are {others:?}"));
            }
        }
    }
    for log in QUIET {
        let text = std::fs::read_to_string(Path::new(DATA).join(log)).unwrap_or_else(|e| panic!("{log}: {e}"));
        let outcome =
            play("2026-03-02T12:00:00Z".parse().unwrap(), text.lines().filter(|line| !line.trim().is_empty()));
        wrong.extend(outcome.detections.iter().filter(|d| d.is_threat).map(|d| format!("{log}: {}", d.rule_title)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} logs with attacks and {} without", ATTACKS.len(), QUIET.len());
}
