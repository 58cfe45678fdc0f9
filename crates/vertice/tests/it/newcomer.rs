//! The first minutes with it, and what can go wrong in them.

use std::net::TcpListener;

use crate::process::vertice;

#[test]
fn a_port_that_is_taken_is_told_before_the_key_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = vertice()
        .args(["up", "--no-local-sources", "--listen", &address, "--data"])
        .arg(dir.path().join("data"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains(&format!("listening on {address}")) && said.contains("--listen"), "{said}");
    assert!(!said.contains("VERTICE_API_KEY="), "a key that is shown once must not be shown to be lost: {said}");
}
