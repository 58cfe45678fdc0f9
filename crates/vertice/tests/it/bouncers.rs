//! Bouncers of the running process: added by its command line, let in at once and after a restart, and kept out again.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

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
