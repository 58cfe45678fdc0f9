//! What is recorded comes back, without a provider.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use vertice_llm::{Origin, Provider, Settings, Why};

use crate::server::{Server, chat};
use crate::world::{KEY, models, one, opinion, question, told};

#[test]
fn a_replay_gives_what_was_recorded_and_opens_no_socket() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(vec![chat(r#"{"who":"[EMAIL_1]","score":7}"#)]);
    let (_, world) = told();
    let ask =
        |settings: &Settings, user: &str| models(settings, &world).complete(&question(&world, user).json(opinion()));
    let record = Settings { record: dir.path().to_owned(), ..one(Provider::Compatible, &server.url()) };
    let first = ask(&record, "mail to ana@corp.example").unwrap();
    assert_eq!(first.json, Some(json!({"who": "ana@corp.example", "score": 7})));
    let files: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].metadata().unwrap().permissions().mode() & 0o077, 0);
    let written = std::fs::read_to_string(&files[0]).unwrap();
    assert!(!written.contains("corp.example") && !written.contains(KEY), "{written}");

    // Whoever connects to this would be seen.
    let watch = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = watch.local_addr().unwrap().to_string();
    let mut replay = one(Provider::Compatible, &format!("http://{place}"));
    replay.replay = dir.path().to_owned();
    replay.redis = place;
    // A replay needs no key.
    replay.models.get_mut("m").unwrap().key = Some(vertice_llm::SecretFrom::Env("NOT_THERE".to_owned()));
    let again = ask(&replay, "mail to ana@corp.example").unwrap();
    assert_eq!((again.json, again.text, again.usage), (first.json, first.text, first.usage));
    assert_eq!((again.origin, again.cost_microusd), (Origin::Recording, Some(0)));
    assert_eq!(ask(&replay, "something else").unwrap_err().why, Why::NotRecorded);
    std::io::Write::write_all(&mut std::fs::File::create(&files[0]).unwrap(), b"{\"text\":").unwrap();
    assert_eq!(ask(&replay, "mail to ana@corp.example").unwrap_err().why, Why::Malformed);
    watch.set_nonblocking(true).unwrap();
    assert!(watch.accept().is_err(), "a replay opened a socket");
    assert_eq!(server.times(), 1);
}
