//! What is wrong is said in words that help.

use std::net::TcpListener;

use vertice_stream::kafka::{Consumer, Found, Mechanism, Next, Problem, Sasl, Secret, Settings, Tls, Wanted, check};
use vertice_testkit::kafka::{PASSWORD, USER};

use super::{ONCE, cluster, create, next, settings};

fn wanted(topic: &str, create: bool) -> Vec<Wanted> {
    vec![Wanted { topic: topic.to_owned(), partitions: 3, replication: 1, create }]
}

fn with_password(settings: &Settings, mechanism: Mechanism, password: &str) -> Settings {
    let sasl = Sasl { mechanism, user: USER.to_owned(), password: Secret::new(password) };
    Settings { sasl: Some(sasl), ..settings.clone() }
}

#[test]
fn each_thing_that_is_wrong_is_named_with_what_to_do() {
    let Some(cluster) = cluster() else { return };
    let open = settings(cluster.brokers(), "check");
    let guarded = settings(cluster.brokers_with_passwords(), "check");
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = silent.local_addr().unwrap();
    drop(silent);
    let told = |settings: &Settings| check(settings, &wanted("check.missing", false), ONCE).unwrap_err().to_string();

    let cases = [
        (told(&open), "kafka-topics.sh --bootstrap-server 127.0.0.1:"),
        (told(&open), "--create --topic check.missing --partitions 3 --replication-factor 1"),
        (told(&settings(nobody.to_string(), "check")), "no Kafka broker answers at 127.0.0.1:"),
        (told(&settings("kafka.invalid:9092", "check")), "the Kafka broker's name in kafka.invalid:9092 is not known"),
        (told(&with_password(&guarded, Mechanism::Plain, "wrong-horse")), "Kafka refuses the user or password"),
        (told(&with_password(&guarded, Mechanism::Plain, PASSWORD)), "Kafka has no topic check.missing"),
        (told(&guarded), "speaks PLAINTEXT"),
        (told(&settings("", "check")), "there is no broker in it"),
    ];
    for (told, part) in cases {
        assert!(told.contains(part), "{told:?} does not say {part:?}");
        assert!(!told.contains("horse"), "{told:?} gives the password away");
    }
    let shown = format!("{:?}", with_password(&guarded, Mechanism::Plain, PASSWORD));
    assert!(!shown.contains("horse"), "{shown}");

    let mut taken = open.clone();
    taken.further = vec![("enable.auto.commit".to_owned(), "true".to_owned())];
    assert!(matches!(check(&taken, &[], ONCE), Err(Problem::Setting { key, .. }) if key == "enable.auto.commit"));
    let into_the_tls_listener = told(&settings(cluster.brokers_with_tls(), "check"));
    assert!(into_the_tls_listener.contains("speaks PLAINTEXT"), "{into_the_tls_listener}");
    if !cfg!(feature = "kafka-tls") {
        let tls = Settings { tls: Some(Tls::default()), ..open.clone() };
        assert!(told(&tls).contains("--features kafka-tls"));
        assert!(told(&with_password(&guarded, Mechanism::ScramSha256, PASSWORD)).contains("--features kafka-tls"));
    }

    let found = check(&open, &wanted("check.made", true), ONCE).unwrap();
    assert_eq!(found, [Found { topic: "check.made".to_owned(), partitions: 3 }]);
    let found = check(&open, &wanted("check.made", false), ONCE).unwrap();
    assert_eq!(found, [Found { topic: "check.made".to_owned(), partitions: 3 }]);
}

#[test]
fn more_instances_than_partitions_are_told_of() {
    let Some(cluster) = cluster() else { return };
    let settings = settings(cluster.brokers(), "crowd");
    create(&settings, "crowd", 1, 1);
    let mut first = Consumer::open(&settings, &["crowd"]).unwrap();
    assert!(matches!(next(&mut first), Next::Assigned(held) if held.len() == 1));
    assert_eq!(first.crowd(), None);
    let mut second = Consumer::open(&settings, &["crowd"]).unwrap();
    for _ in 0..super::LONG {
        // Both take part in the rebalance.
        let _ = first.next(std::time::Duration::from_millis(100)).unwrap();
        if let Next::Assigned(held) = second.next(std::time::Duration::from_millis(100)).unwrap() {
            assert_eq!(held, []);
            let told = second.crowd().unwrap().to_string();
            assert!(told.contains("2 instances for 1 partitions of crowd, so 1 of them"), "{told}");
            return;
        }
    }
    panic!("the second never joined");
}

#[cfg(feature = "kafka-tls")]
#[test]
fn passwords_are_proven_and_connections_encrypted() {
    use vertice_stream::kafka::{Begin, Publisher, Spot};

    let Some(cluster) = cluster() else { return };
    let guarded = settings(cluster.brokers_with_passwords(), "guarded");
    let right = with_password(&guarded, Mechanism::ScramSha256, PASSWORD);
    check(&right, &wanted("guarded", true), ONCE).unwrap();
    let wrong = with_password(&guarded, Mechanism::ScramSha256, "wrong-horse");
    let told = check(&wrong, &wanted("guarded", true), ONCE).unwrap_err();
    assert!(matches!(told, Problem::Credentials { .. }), "{told}");

    let encrypted =
        |ca| Settings { tls: Some(Tls { ca, ..Tls::default() }), ..settings(cluster.brokers_with_tls(), "encrypted") };
    let told = check(&encrypted(None), &wanted("guarded", false), ONCE).unwrap_err();
    assert!(matches!(told, Problem::Tls { .. }), "a certificate that nobody vouches for: {told}");
    let trusted = encrypted(Some(cluster.certificate()));
    let publisher = Publisher::open(&trusted).unwrap();
    let delivered = publisher.send_blocking(vec![super::record("guarded", 0, "x")]).unwrap();
    assert_eq!(delivered.spots, [Spot { partition: 0, offset: 0 }]);

    // Both at once: a password over an encrypted connection.
    let both = |ca, password| {
        let tls = Some(Tls { ca, ..Tls::default() });
        let settings = Settings { tls, ..settings(cluster.brokers_guarded(), "both") };
        with_password(&settings, Mechanism::ScramSha256, password)
    };
    let certificate = || Some(cluster.certificate());
    let told = |settings| check(&settings, &wanted("guarded", false), ONCE).unwrap_err();
    assert!(matches!(told(both(None, PASSWORD)), Problem::Tls { .. }));
    assert!(matches!(told(both(certificate(), "wrong-horse")), Problem::Credentials { .. }));
    let right = both(certificate(), PASSWORD);
    check(&right, &wanted("guarded", false), ONCE).unwrap();
    let delivered = Publisher::open(&right).unwrap().send_blocking(vec![super::record("guarded", 0, "y")]).unwrap();
    assert_eq!(delivered.spots, [Spot { partition: 0, offset: 1 }]);
    let mut consumer = Consumer::open(&right, &["guarded"]).unwrap();
    let Next::Assigned(held) = next(&mut consumer) else { panic!("it is a member") };
    let from: Vec<_> = held.iter().map(|h| (h.partition.clone(), Begin::Oldest)).collect();
    consumer.begin(&from).unwrap();
    let read = super::read(&mut consumer, 2);
    assert_eq!(read.into_iter().map(|(.., value)| value).collect::<Vec<_>>(), ["x", "y"]);
}
