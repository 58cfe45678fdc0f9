//! Moving a data directory of real processes to a real PostgreSQL.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use vertice_testkit::postgres::Postgres;

use crate::process::{Server, until, vertice};

/// Addresses that guess passwords, so that there are detections, threats, plans and questions.
fn guessing() -> String {
    let line = |n: usize| {
        format!(
            r#"{{"event_id":"{n}","timestamp":"2026-03-01T10:00:{:02}Z","source":"endpoint","event_type":"failed_login","source_ip":"198.51.100.{}","payload":{{"user":"root"}}}}"#,
            n % 60,
            n / 40 + 1,
        )
    };
    (0..400).map(line).collect::<Vec<_>>().join("\n")
}

fn at(command: &mut Command, database: &str, data: &Path) -> Output {
    let command = command.env("DATABASE_URL", database).env("VERTICE_DATA_DIR", data);
    command.output().expect("the binary starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

#[test]
fn a_data_directory_is_moved_once_and_its_audit_still_proves_itself() {
    let dir = tempfile::tempdir().unwrap();
    let Some(postgres) = Postgres::start(dir.path(), "vertice migrate --to postgres") else { return };
    postgres.database("defense");
    let data = dir.path().join("data");
    let server = Server::start(&data);
    let answer = server.post("/api/v1/events", guessing().as_bytes());
    assert!(matches!(answer, Some((202, _))), "{answer:?}");
    server.settled();
    let socket = postgres.socket().display().to_string().replace('/', "%2F");
    let url = format!("postgres://vertice@{socket}:{}/defense", postgres.port());
    let migrate = || {
        let mut command = vertice();
        command.args(["migrate", "--to", "postgres", "-o", "json"]);
        command
    };
    let running = at(&mut migrate(), &url, &data);
    assert!(running.status.code() == Some(2) && said(&running).contains("is in use by process"), "{}", said(&running));
    assert_eq!(server.stop(), Some(0));
    let nowhere = at(&mut migrate(), "postgres://vertice@127.0.0.1:9/defense", &data);
    assert!(nowhere.status.code() == Some(4) && said(&nowhere).contains("check the host"), "{}", said(&nowhere));
    // Killed on its way a little later each time.
    let places = [
        "to_regclass('vertice.log') IS NOT NULL",
        "EXISTS (SELECT FROM vertice.log)",
        "EXISTS (SELECT FROM vertice.record)",
    ];
    for place in places {
        let mut child = migrate();
        child.env("DATABASE_URL", &url).env("VERTICE_DATA_DIR", &data).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        until("it has come so far", || postgres.sql("defense", &format!("SELECT {place}")) == "t");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let moved = at(&mut migrate(), &url, &data);
    // One of those that were killed may have been done already.
    let before = said(&moved).contains("is not empty");
    assert!(moved.status.success() || before, "{}", said(&moved));
    let again = at(&mut migrate(), &url, &data);
    assert!(again.status.code() == Some(2) && said(&again).contains("is not empty"), "{}", said(&again));
    let verify = |arguments: &[&str]| -> Value {
        let output = at(vertice().args(["audit", "verify", "-o", "json"]).args(arguments), &url, &data);
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice(&output.stdout).expect("JSON")
    };
    let (file, shard) = (verify(&[]), verify(&["--shard", "0"]));
    assert_eq!(file, shard);
    assert!(file["entries"].as_u64().is_some_and(|n| n > 10), "{file}");
    let changed = "UPDATE vertice.audit SET line = overlay(line placing 'x' from 90 for 1) WHERE n = 5";
    assert_eq!(postgres.sql("defense", changed), "");
    let found = at(vertice().args(["audit", "verify", "--shard", "0"]), &url, &data);
    assert!(found.status.code() == Some(7) && said(&found).contains(":6: "), "{}", said(&found));
}
