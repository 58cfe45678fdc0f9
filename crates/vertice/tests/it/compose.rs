//! `deploy/compose.yaml`, the variables it is given, and the image: what can be wrong with them and shows only at a start.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::{Map, Value};
use toml::Table;

use crate::process::vertice;
use crate::prometheus::{deploy, ran, read, yaml};

/// What the images have, by the beginning of their names, as far as a health check needs it.
const PROGRAMS: [(&str, &str); 6] = [
    ("vertice:", "/usr/bin/vertice"),
    ("apache/kafka:", "/opt/kafka/bin/kafka-broker-api-versions.sh"),
    ("postgres:", "pg_isready"),
    ("redis:", "redis-cli"),
    ("prom/prometheus:", "wget"),
    ("grafana/grafana:", "wget"),
];

/// What Vertice reads of the environment beside the keys of its configuration.
const VARIABLES: [&str; 15] = [
    "VERTICE_API_KEY",
    "VERTICE_CONFIG",
    "VERTICE_LOG",
    "VERTICE_URL",
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_BASE_URL",
    "KAFKA_BROKERS",
    "POSTGRES_HOST",
    "POSTGRES_PORT",
    "POSTGRES_DB",
    "POSTGRES_USER",
    "POSTGRES_PASSWORD",
    "REDIS_HOST",
];

/// The topics of the contract, and the one between the stages.
const TOPICS: [&str; 8] = [
    "security.events",
    "vertice.hits",
    "defense.detections",
    "threat.enriched",
    "defense.responses",
    "honeypot.activity",
    "threat.intel",
    "defense.deadletter",
];

fn services() -> Map<String, Value> {
    yaml("compose.yaml")["services"].as_object().expect("there are services").clone()
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

/// Whether an image's name says which one of them: by a digest, or by a version.
pub fn pinned(image: &str) -> bool {
    let tag = image.rsplit('/').next().and_then(|name| name.split_once(':')).map_or("", |(_, tag)| tag);
    let version = tag.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()) && tag.contains('.');
    image.contains("@sha256:") || version
}

/// Whether a variable means something to Vertice.
pub fn is_read(name: &str) -> bool {
    fn reaches(keys: &Table, prefix: &str, name: &str) -> bool {
        keys.iter().any(|(key, value)| {
            let whole = format!("{prefix}_{}", key.to_uppercase());
            whole == name || value.as_table().is_some_and(|within| reaches(within, &whole, name))
        })
    }
    let configuration = include_str!("../../src/vertice.toml").parse().expect("the default is TOML");
    VARIABLES.contains(&name) || reaches(&configuration, "VERTICE", name)
}

/// The variables of a text, each with what comes behind its name: `:?…`, `:-…` or nothing.
fn variables(text: &str) -> BTreeMap<String, String> {
    let uses = text.match_indices("${").filter(|(at, _)| !text[..*at].ends_with('$')).map(|(at, _)| &text[at + 2..]);
    let whole = uses.map(|rest| rest.split_once('}').expect("a `}` ends it").0);
    whole
        .map(|inner| {
            let end = inner.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inner.len());
            (inner[..end].to_owned(), inner[end..].to_owned())
        })
        .collect()
}

#[test]
fn every_image_is_one_certain_image() {
    for (name, service) in &services() {
        let image = service["image"].as_str().unwrap_or_else(|| panic!("{name} has no image"));
        assert!(pinned(image), "{name}: {image}");
    }
    let ours = services()["vertice"]["image"].clone();
    assert_eq!(ours, format!("vertice:{}", env!("CARGO_PKG_VERSION")), "the image is called after the version");
    for (image, is) in [
        ("redis", false),
        ("redis:latest", false),
        ("redis:7", false),
        ("host:5000/redis", false),
        ("prom/prometheus:v2.55.1", true),
        ("host:5000/redis:7.2.5-bookworm", true),
        ("a@sha256:00", true),
    ] {
        assert_eq!(pinned(image), is, "{image}");
    }
}

#[test]
fn every_variable_is_explained_and_no_secret_is_written_down() {
    let (compose, example, readme) = (read("compose.yaml"), read(".env.example"), read("README.md"));
    let wanted = variables(&compose);
    let given: BTreeMap<&str, &str> =
        example.lines().filter(|l| !l.starts_with('#')).filter_map(|l| l.split_once('=')).collect();
    for (name, behind) in &wanted {
        let value = given.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in .env.example"));
        match behind.strip_prefix(":-") {
            Some(default) => assert_eq!(*value, default, "{name} is explained as it is without it"),
            None => assert!(behind.starts_with(":?") && value.is_empty(), "{name}{behind} must be given: {value:?}"),
        }
        assert!(readme.contains(&format!("`{name}`")), "{name} is not in the README");
    }
    let unused: Vec<_> = given.keys().filter(|name| !wanted.contains_key(**name)).collect();
    assert!(unused.is_empty(), "{unused:?} of .env.example is used by nothing");
    for (name, service) in &services() {
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            let secret = ["KEY", "PASSWORD", "SECRET", "TOKEN"].iter().any(|word| variable.contains(word));
            let value = value.as_str().unwrap_or_else(|| panic!("{name}: {variable} is no text: quote it"));
            assert!(!secret || value.starts_with("${"), "{name}: {variable} is written down");
            assert!(name != "vertice" || is_read(variable), "nothing reads {variable}");
        }
    }
    assert!(is_read("VERTICE_RESPONSE_FIREWALL_RULE_ENABLED") && !is_read("VERTICE_SERVER_LISTENS"));
}

#[test]
fn every_health_check_is_a_command_that_is_there() {
    for (name, service) in &services() {
        let image = service["image"].as_str().unwrap();
        if name == "kafka-topics" {
            assert_eq!(service["restart"], "no", "{name} ends");
            continue;
        }
        let check = &service["healthcheck"];
        let ["CMD", program, arguments @ ..] = &words(&check["test"])[..] else {
            panic!("{name} is checked by no command of its own: {check}")
        };
        for limit in ["interval", "timeout", "retries", "start_period"] {
            assert!(!check[limit].is_null(), "{name} has no {limit}");
        }
        let known = PROGRAMS.iter().find(|(prefix, _)| image.starts_with(prefix));
        assert_eq!(known.map(|(_, known)| known), Some(program), "{name}: {image}");
        if name == "vertice" {
            let help = vertice().args(arguments).arg("--help").output().expect("it runs");
            assert!(help.status.success(), "{arguments:?}");
        }
    }
    // These two are of the same make as what is installed here.
    let installed = [
        ("postgres", "/usr/lib/postgresql/15/bin/pg_isready", ["--host", "--username", "--dbname"].as_slice()),
        ("redis", "/usr/bin/redis-cli", ["-e "].as_slice()),
    ];
    for (name, program, options) in installed {
        if !Path::new(program).is_file() {
            println!("left out: the options of the health check of {name}: {program} is missing");
            continue;
        }
        let help = ran(program, &["--help"]);
        let help = String::from_utf8_lossy(&[help.stdout, help.stderr].concat()).into_owned();
        assert!(options.iter().all(|option| help.contains(option)), "{program}: {help}");
    }
}

#[test]
fn services_wait_for_what_they_need_to_be_healthy() {
    let services = services();
    let mut waits: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, service) in &services {
        for (needed, how) in service["depends_on"].as_object().into_iter().flatten() {
            let other = services.get(needed).unwrap_or_else(|| panic!("{name} needs {needed}, which there is not"));
            match how["condition"].as_str() {
                Some("service_healthy") => assert!(!other["healthcheck"].is_null(), "{needed} has no health check"),
                Some("service_completed_successfully") => assert_eq!(other["restart"], "no", "{needed} never ends"),
                other => panic!("{name} does not wait for {needed}: {other:?}"),
            }
            waits.entry(name).or_default().push(needed);
        }
    }
    assert_eq!(waits["vertice"], ["kafka-topics", "postgres", "redis"]);
    assert_eq!((&waits["kafka-topics"], &waits["grafana"]), (&vec!["kafka"], &vec!["prometheus"]));
    for name in services.keys() {
        let (mut todo, mut seen) = (vec![name.as_str()], BTreeSet::new());
        while let Some(next) = todo.pop() {
            for needed in waits.get(next).into_iter().flatten() {
                assert_ne!(needed, name, "{name} waits for itself");
                if seen.insert(*needed) {
                    todo.push(needed);
                }
            }
        }
    }
}

#[test]
fn nothing_is_lost_with_a_container_and_nothing_is_open_to_others() {
    let compose = yaml("compose.yaml");
    let declared: BTreeSet<&str> =
        compose["volumes"].as_object().expect("volumes").keys().map(String::as_str).collect();
    let mut used = BTreeSet::new();
    for (name, service) in &services() {
        for volume in words(&service["volumes"]) {
            let (from, to) = volume.split_once(':').expect("from and to");
            if let Some(file) = from.strip_prefix("./") {
                assert!(to.ends_with(":ro") && deploy().join(file).exists(), "{name}: {volume}");
            } else {
                assert!(declared.contains(from), "{name}: {volume} has no name that is declared");
                used.insert(from.to_owned());
            }
        }
        for port in words(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port} to everybody");
        }
        assert_eq!(words(&service["cap_drop"]), ["ALL"], "{name}");
        assert_eq!(words(&service["security_opt"]), ["no-new-privileges:true"], "{name}");
        assert!(service["privileged"].is_null() && service["network_mode"].is_null(), "{name}");
        if !name.starts_with("kafka") {
            assert_eq!(service["read_only"], true, "{name}");
            assert!(
                service["user"].as_str().is_some_and(|u| u.starts_with(|c: char| ('1'..='9').contains(&c))),
                "{name}"
            );
        }
    }
    assert!(used.iter().map(String::as_str).eq(declared), "a volume is used by nobody");
    let made = services()["kafka-topics"]["command"].to_string();
    assert!(TOPICS.iter().all(|topic| made.contains(topic)), "{made}");
}

#[test]
fn the_image_has_no_shell_no_root_and_one_program() {
    let file = read("Dockerfile");
    let lines: Vec<&str> = file.lines().filter(|l| !l.starts_with('#')).collect();
    let from: Vec<&str> = lines.iter().filter_map(|l| l.strip_prefix("FROM ")).collect();
    let [builder, "scratch"] = from[..] else { panic!("{from:?}") };
    let image = builder.split(' ').next().unwrap_or_default();
    let wanted = format!("rust:{}.", env!("CARGO_PKG_RUST_VERSION"));
    assert!(pinned(image) && image.starts_with(&wanted), "{image} is not {wanted}");
    let last = &lines[lines.iter().position(|l| *l == "FROM scratch").unwrap()..];
    let instruction = |name: &str| {
        let found: Vec<&str> = last.iter().filter_map(|l| l.strip_prefix(name)?.strip_prefix(' ')).collect();
        assert_eq!(found.len(), 1, "{name}: {found:?}");
        found[0].to_owned()
    };
    let (user, group) = instruction("USER").split_once(':').map(|(u, g)| (u.to_owned(), g.to_owned())).unwrap();
    assert!([user, group].iter().all(|id| id.parse::<u32>().is_ok_and(|id| id > 0)), "a number, and not root's");
    // A shell is what the other form of these would start.
    let list = |text: &str| serde_json::from_str::<Vec<String>>(text).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(list(&instruction("ENTRYPOINT")), ["/usr/bin/vertice"]);
    assert_eq!(list(&instruction("CMD")), ["up"]);
    let check = instruction("HEALTHCHECK");
    assert_eq!(list(check.split_once(" CMD ").expect("a command").1), ["/usr/bin/vertice", "health"]);
    assert!(!last.iter().any(|l| l.starts_with("RUN")), "nothing can be run in it");
    for variable in file.split_whitespace().filter_map(|w| w.split_once('=')).map(|(name, _)| name) {
        assert!(!variable.starts_with("VERTICE_") || is_read(variable), "nothing reads {variable}");
    }
    let ignored = std::fs::read_to_string(vertice_testkit::root().join(".dockerignore")).unwrap();
    assert!(ignored.lines().any(|l| l == "*"), "what is not named stays out of the image's context");
}

#[test]
fn compose_itself_accepts_it_where_it_is_there() {
    let there = std::process::Command::new("docker").args(["compose", "version"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        println!("left out: docker compose config: there is no such plugin here");
        return;
    }
    let file = deploy().join("compose.yaml");
    let config = |given: &[(&str, &str)]| {
        let mut command = std::process::Command::new("docker");
        command.args(["compose", "--env-file", "/dev/null", "-f"]).arg(&file).args(["config", "--quiet"]);
        command.envs(given.iter().copied()).output().expect("it runs")
    };
    let secrets = [("VERTICE_API_KEY", "a"), ("POSTGRES_PASSWORD", "b"), ("GRAFANA_ADMIN_PASSWORD", "c")];
    let accepted = config(&secrets);
    assert!(accepted.status.success(), "{}", String::from_utf8_lossy(&accepted.stderr));
    assert!(!config(&secrets[1..]).status.success(), "it starts without a secret");
}
