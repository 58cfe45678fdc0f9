//! `[stream.kafka]` as the stream crate takes it.

use anyhow::{Context as _, Result, bail};
use vertice_stream::kafka::{Mechanism, Sasl, Secret, Settings, Tls, Wanted};

use crate::config::{Kafka, Sasl as How, Security};

/// How Kafka is reached, secrets read from where they are.
///
/// # Errors
/// When something can not be used, or a secret can not be had.
pub fn settings(config: &Kafka) -> Result<Settings> {
    let mut settings = Settings::new(config.brokers.join(","), &config.group);
    settings.client.clone_from(&config.client_id);
    if let Some(broker) = config.brokers.iter().find(|b| !b.contains(':') || b.contains(char::is_whitespace)) {
        bail!("stream.kafka.brokers: {broker:?} is no broker such as kafka1:9092");
    }
    for (what, name) in [("group", &config.group), ("client_id", &config.client_id)] {
        if name.is_empty() {
            bail!("stream.kafka.{what} is empty");
        }
    }
    for (what, name) in topics(config) {
        if !is_topic(name) {
            bail!("stream.kafka.topics.{what}: {name:?} is no name of a topic: letters, digits, `.`, `_` and `-`");
        }
    }
    settings.tls = tls(&config.security)?;
    settings.sasl = sasl(&config.security)?;
    Ok(settings)
}

fn topics(config: &Kafka) -> [(&'static str, &String); 5] {
    let names = &config.topics;
    [
        ("events", &names.events),
        ("detections", &names.detections),
        ("threats", &names.threats),
        ("responses", &names.responses),
        ("deadletter", &names.deadletter),
    ]
}

/// Kafka's own rule (`Topic.validate`).
fn is_topic(name: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    (1..=249).contains(&name.len()) && name != "." && name != ".." && name.bytes().all(fine)
}

/// The topics that must be there.
pub fn wanted(config: &Kafka) -> Vec<Wanted> {
    let Kafka { partitions, replication, create_topics, .. } = config;
    let wanted = |(_, topic): (&str, &String)| Wanted {
        topic: topic.clone(),
        partitions: i32::from(*partitions),
        replication: i32::from(*replication),
        create: *create_topics,
    };
    topics(config).into_iter().map(wanted).collect()
}

fn tls(security: &Security) -> Result<Option<Tls>> {
    let file = |path: &std::path::PathBuf| (!path.as_os_str().is_empty()).then(|| path.clone());
    let Security { ca_file, certificate_file, key_file, .. } = security;
    let tls = Tls { ca: file(ca_file), certificate: file(certificate_file), key: file(key_file), key_password: None };
    if tls.certificate.is_some() != tls.key.is_some() {
        bail!("stream.kafka.security: certificate_file and key_file belong together, and only one is set");
    }
    if !security.tls && (tls.ca.is_some() || tls.certificate.is_some()) {
        bail!("stream.kafka.security: files for TLS are named, and tls is off; set tls = true");
    }
    Ok(security.tls.then_some(tls))
}

fn sasl(security: &Security) -> Result<Option<Sasl>> {
    let mechanism = match security.sasl {
        How::None if security.user.is_empty() && security.password.is_none() => return Ok(None),
        How::None => bail!("stream.kafka.security: a user or password is set, and sasl is \"none\"; say which it is"),
        How::Plain if !security.tls && !security.allow_plain => bail!(
            "stream.kafka.security: sasl = \"plain\" sends the password in the open; set tls = true, or allow_plain"
        ),
        How::Plain => Mechanism::Plain,
        How::ScramSha256 => Mechanism::ScramSha256,
        How::ScramSha512 => Mechanism::ScramSha512,
    };
    if security.user.is_empty() {
        bail!("stream.kafka.security.user is empty, and sasl needs one");
    }
    let hidden = security.password.as_ref().context("stream.kafka.security.password is not set, and sasl needs one")?;
    let password = Secret::new(hidden.read("stream.kafka.security.password")?);
    Ok(Some(Sasl { mechanism, user: security.user.clone(), password }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn of(text: &str) -> Result<Settings> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("vertice.toml");
        std::io::Write::write_all(&mut std::fs::File::create(&path)?, text.as_bytes())?;
        settings(&config::load(Some(&path), |_| None)?.stream.kafka)
    }

    #[test]
    fn what_can_not_be_used_is_told_with_what_to_do() {
        let plain = of("[stream.kafka]\nbrokers = [\"a:1\", \"b:2\"]\n").unwrap();
        assert_eq!(
            (plain.brokers.as_str(), plain.group.as_str(), plain.protocol()),
            ("a:1,b:2", "defense-orchestrator", "PLAINTEXT")
        );
        for (text, wanted) in [
            ("[stream.kafka]\nbrokers = [\"kafka\"]", "\"kafka\" is no broker such as kafka1:9092"),
            ("[stream.kafka]\ngroup = \"\"", "stream.kafka.group is empty"),
            ("[stream.kafka.topics]\nevents = \"a b\"", "stream.kafka.topics.events: \"a b\" is no name of a topic"),
            ("[stream.kafka.security]\nca_file = \"/ca\"", "tls is off"),
            ("[stream.kafka.security]\ntls = true\nkey_file = \"/k\"", "belong together"),
            ("[stream.kafka.security]\nuser = \"u\"", "sasl is \"none\""),
            ("[stream.kafka.security]\nsasl = \"plain\"\nuser = \"u\"\npassword = \"p\"", "in the open"),
            ("[stream.kafka.security]\nsasl = \"scram-sha-256\"\npassword = \"p\"", "user is empty"),
            ("[stream.kafka.security]\nsasl = \"scram-sha-256\"\nuser = \"u\"", "password is not set"),
            ("[stream.kafka.security]\nsasl = \"scram\"", "scram-sha-512"),
            (
                "[stream.kafka.security]\nsasl = \"scram-sha-512\"\nuser = \"u\"\npassword = { env = \"VERTICE_TEST_IS_NOT_SET\" }",
                "stream.kafka.security.password: the environment variable VERTICE_TEST_IS_NOT_SET is not set",
            ),
        ] {
            let error = format!("{:#}", of(text).unwrap_err());
            assert!(error.contains(wanted), "{text} gave {error}");
        }
        let text =
            "[stream.kafka.security]\nsasl = \"scram-sha-512\"\nuser = \"u\"\npassword = \"s3cr3t\"\ntls = true\n";
        let whole = of(text).unwrap();
        assert_eq!(whole.protocol(), "SASL_SSL");
        assert!(!format!("{whole:?}").contains("s3cr3t"));
    }
}
