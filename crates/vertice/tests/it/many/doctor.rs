//! What `vertice doctor` says of a PostgreSQL, and connections to one that are encrypted.

use vertice_testkit::postgres::PASSWORD;

use super::*;
use crate::process::vertice;

/// What the doctor says of PostgreSQL, given its address: how well it is, and in which words.
fn told(dir: &Path, n: usize, url: &str, ca_file: Option<&Path>) -> (String, String) {
    let ca = ca_file.map_or_else(String::new, |path| format!("ca_file = {path:?}\n"));
    // Many instances need both; which broker it is does not matter here, and nobody answers there.
    let text = format!("[stream.kafka]\nbrokers = [\"127.0.0.1:9\"]\n[store.postgres]\nurl = {url:?}\n{ca}");
    let config = written(dir.join(format!("doctor-{n}.toml")), &text);
    let mut command = vertice();
    command.args(["doctor", "-o", "ndjson", "--config"]).arg(config).env("VERTICE_DATA_DIR", dir.join("data"));
    let done = command.output().unwrap();
    let lines = String::from_utf8(done.stdout).unwrap();
    let all = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let found: Vec<Value> = all.filter(|finding| finding["about"] == "postgres").collect();
    assert_eq!(found.len(), 1, "{lines} {}", String::from_utf8_lossy(&done.stderr));
    assert!(!lines.contains(PASSWORD), "{lines}");
    let text = |name: &str| found[0][name].as_str().unwrap().to_owned();
    (text("level"), text("what"))
}

#[test]
fn the_doctor_says_whether_postgresql_lets_us_in_and_is_who_it_should_be() {
    let dir = tempfile::tempdir().unwrap();
    let left_out = "what the doctor says of PostgreSQL";
    let Some(postgres) = Postgres::start_guarded(dir.path(), left_out) else { return };
    let other = dir.path().join("other");
    std::fs::create_dir(&other).unwrap();
    let Some(stranger) = Postgres::start_guarded(&other, left_out) else { return };
    postgres.database("defense");
    postgres.database("sealed");
    let of = |password: &str, host: &str, port: u16, further: &str| {
        format!("postgres://vertice:{password}@{host}:{port}/defense{further}")
    };
    let (here, port) = ("127.0.0.1", postgres.port());
    let nobody = TcpListener::bind((here, 0)).unwrap().local_addr().unwrap().port();
    let (own, others) = (postgres.authority(), stranger.authority());
    let full = "?sslmode=verify-full";
    let (right, wrong) = (PASSWORD, "wrong-horse");
    // By another name than its certificate has; it is reached all the same.
    let by_name = of(right, "localhost", port, full);
    let cases = [
        (of(right, here, port, ""), None, "ok", "is of version"),
        (of(wrong, here, port, ""), None, "fail", "password authentication failed"),
        (of(right, here, nobody, ""), None, "fail", "check the host, the port"),
        (of(right, here, port, "").replace("defense", "nothing"), None, "fail", "createdb"),
        (of(right, here, port, full), Some(&own), "ok", "is of version"),
        (of(wrong, here, port, full), Some(&own), "fail", "password authentication failed"),
        // The server sees for itself that it is encrypted.
        (of(right, here, port, full).replace("defense", "sealed"), Some(&own), "ok", "is of version"),
        (of(right, here, port, "").replace("defense", "sealed"), None, "fail", "no encryption"),
        (of(right, here, port, full), Some(&others), "fail", "performing TLS handshake"),
        (of(right, here, port, full), None, "fail", "performing TLS handshake"),
        (by_name, Some(&own), "fail", "performing TLS handshake"),
        (of(right, here, port, full), Some(&dir.path().join("no-such.pem")), "fail", "no-such.pem can not be used"),
        (of(right, here, port, ""), Some(&own), "fail", "nothing is encrypted"),
    ];
    // At once, for each waits some seconds for a broker that there is not.
    std::thread::scope(|scope| {
        for (n, (url, ca, level, words)) in cases.iter().enumerate() {
            let dir = dir.path();
            scope.spawn(move || {
                let (is, what) = told(dir, n, url, ca.map(PathBuf::as_path));
                assert!(is == *level && what.contains(words), "{url} with {ca:?}: {is}: {what}");
                assert!(!what.contains("horse"), "{what}");
            });
        }
    });
}
