//! Bouncers of the running process: added by its command line, let in at once and after a restart, and kept out again.

use std::fs::File;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use vertice_testkit::bouncer::{Bouncer, PROGRAM};
use vertice_testkit::net::missing;

use crate::live::{LIMIT, Site, said};
use crate::process::{KEY, Server, vertice};

/// Runs a command against a server, and returns what it prints and its exit code.
fn run(server: &Server, arguments: &[&str]) -> (String, Option<i32>) {
    let mut command = vertice();
    let output = command.args(["--url", &server.url]).args(arguments).env("VERTICE_API_KEY", KEY).output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (told, output.status.code())
}

/// What a bouncer is answered.
fn pull(server: &Server, key: &str) -> (u16, String) {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(60)));
    let agent: ureq::Agent = config.http_status_as_error(false).build().into();
    let request = agent.get(format!("{}/v1/decisions/stream?startup=true", server.url)).header("X-Api-Key", key);
    let mut answer = request.header("User-Agent", "cs-test/v1").call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

fn start(data: &Path, log: &Path) -> Server {
    let log = File::options().create(true).append(true).open(log).unwrap();
    Server::start_as(data, &[], |command| command.stderr(log))
}

#[test]
fn a_bouncer_is_let_in_until_it_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (data, log) = (dir.path().join("data"), dir.path().join("log"));
    let server = start(&data, &log);
    let nothing = (200, r#"{"deleted":[],"new":[]}"#.to_owned());
    let forbidden = (403, r#"{"message":"access forbidden"}"#.to_owned());
    let (told, code) = run(&server, &["bouncers", "add", "edge"]);
    assert_eq!(code, Some(0), "{told}");
    let key = told.lines().find_map(|line| line.trim().strip_prefix("api_key: ")).unwrap().to_owned();
    assert_eq!(pull(&server, &key), nothing);
    let (told, code) = run(&server, &["bouncers", "add", "edge"]);
    assert!(code == Some(1) && told.contains("there is a bouncer edge"), "{told}");
    assert_eq!(pull(&server, "vk_wrong"), forbidden);
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(
        said.contains("a bouncer was refused: its API key is not known here") && said.contains("cs-test/v1"),
        "{said}"
    );
    assert!(!said.contains("vk_wrong"), "{said}");
    assert_eq!(server.stop(), Some(0));

    let server = start(&data, &log);
    assert_eq!(pull(&server, &key), nothing);
    let (told, _) = run(&server, &["bouncers", "list"]);
    assert!(told.contains("edge") && told.contains("cs-test/v1"), "{told}");
    assert_eq!(run(&server, &["bouncers", "remove", "edge"]).1, Some(0));
    assert_eq!(pull(&server, &key), forbidden);
    let (told, code) = run(&server, &["bouncers", "remove", "edge"]);
    assert!(code == Some(3) && told.contains("there is no bouncer"), "{told}");
    assert_eq!(server.stop(), Some(0));
}

/// From a line of a log to a packet filter that is not ours, and back: the real binary, live, and Debian's bouncer.
#[test]
fn a_bouncer_holds_what_vertice_contains_and_lets_go_of_what_it_releases() {
    if let Some(left_out) = missing(&[PROGRAM, "nft"]) {
        return println!("bouncers: {left_out}");
    }
    let Some(site) = Site::new("") else { return };
    let server = site.up();
    let asked = ["--url", &server.url, "--key", KEY];
    let added = said(&site.vertice(&[&["bouncers", "add", "edge"][..], &asked].concat()));
    let key = added.lines().find_map(|line| line.trim().strip_prefix("api_key: ")).unwrap_or_else(|| panic!("{added}"));
    let bouncer = Bouncer::start(&site.star.router, site.dir(), &server.url, key);
    site.attack(&server, "10.77.1.2");
    until(&site, &bouncer, true);
    let released = site.vertice(&[&["release", "10.77.1.2", "--reason", "test"][..], &asked].concat());
    assert!(released.status.success(), "{}", said(&released));
    until(&site, &bouncer, false);
    site.until_it_gets_through(true);
    assert_eq!(server.stop(), Some(0));
}

/// Waits until the attacker is, or is not, among those that the bouncer keeps out.
#[expect(clippy::disallowed_methods, reason = "a deadline for what another process does")]
fn until(site: &Site, bouncer: &Bouncer, wanted: bool) {
    let until = Instant::now() + LIMIT;
    loop {
        let list = ["list", "set", "ip", "crowdsec", "crowdsec-blacklists"];
        let listed = site.at(|| Command::new("nft").args(list).output()).unwrap();
        // The set is there as soon as the bouncer has begun.
        let is_kept_out = String::from_utf8_lossy(&listed.stdout).contains("10.77.1.2");
        if listed.status.success() && is_kept_out == wanted {
            return;
        }
        assert!(
            Instant::now() < until,
            "kept out: {is_kept_out}, wanted: {wanted}; the bouncer says:\n{}",
            bouncer.log()
        );
    }
}
