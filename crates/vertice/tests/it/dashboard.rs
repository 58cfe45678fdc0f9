//! The dashboard and the alerts as they are written: whether Grafana and Prometheus take them, and their names are ours.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::process::vertice;
use crate::prometheus::{deploy, ran, read, there, yaml};

/// Panels and alerts that find nothing without Kafka. `kafka/watched.rs` asks them of a run with one.
pub const NEED_KAFKA: [&str; 4] = ["Kafka lag", "Kafka dead letters", "VerticeKafkaLag", "VerticeKafkaDeadLetters"];

/// Kinds of panels that ask nothing of Prometheus.
const ASK_NOTHING: [&str; 2] = ["row", "alertlist"];

/// The panels.
pub fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(&read("grafana/dashboards/defense.json")).expect("it is JSON");
    dashboard["panels"].as_array().expect("it has panels").clone()
}

/// Something that is asked of Prometheus.
pub struct Asked {
    /// The panel or the alert.
    pub by: String,
    /// The expression.
    pub expression: String,
    /// The labels of what is found that are shown to people.
    pub shows: BTreeSet<String>,
}

/// What the panels ask, as Grafana would of one instance or more.
pub fn asked_by_panels() -> Vec<Asked> {
    let of = |panel: &Value| -> Vec<Asked> {
        let title = panel["title"].as_str().expect("a title").to_owned();
        let targets = panel["targets"].as_array().cloned().unwrap_or_default();
        let ask = |target: &Value| {
            let expression = text(target, "/expr");
            let filled = expression.replace("$__rate_interval", "1h").replace("$__range", "5m");
            let filled = filled.replace("$instance", ".*");
            assert!(!filled.contains('$'), "{title}: an unknown variable in {filled}");
            let shows = between(text(target, "/legendFormat"), "{{", "}}").collect();
            Asked { by: title.clone(), expression: filled, shows }
        };
        targets.iter().map(ask).collect()
    };
    panels().iter().flat_map(of).collect()
}

/// What the alerts ask before they compare it, which has a value whether or not they fire.
pub fn asked_by_alerts() -> Vec<Asked> {
    let rules = yaml("prometheus/alerts.yml");
    let rules = rules["groups"].as_array().into_iter().flatten().flat_map(|g| g["rules"].as_array().expect("rules"));
    let of = |rule: &Value| {
        let (name, expression) = (text(rule, "/alert"), text(rule, "/expr"));
        let (vector, than) = expression
            .rsplit_once(" > ")
            .or_else(|| expression.rsplit_once(" < "))
            .unwrap_or_else(|| panic!("{name} compares nothing: {expression}"));
        assert!(than.parse::<f64>().is_ok(), "{name} compares with no number: {than}");
        let told = rule["annotations"].to_string();
        let shows = between(&told, "{{ $labels.", " }}").collect();
        Asked { by: name.to_owned(), expression: vector.to_owned(), shows }
    };
    rules.map(of).collect()
}

/// The pieces of a text between two marks.
fn between<'a>(text: &'a str, from: &'a str, to: &'a str) -> impl Iterator<Item = String> + use<'a> {
    text.split(from).skip(1).filter_map(move |rest| rest.split_once(to)).map(|(piece, _)| piece.to_owned())
}

/// The names of metrics in an expression: words with a `_` that are followed by what selects series of them.
pub fn names(expression: &str) -> BTreeSet<String> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut outside = String::new();
    let mut quoted = false;
    for c in expression.chars() {
        quoted ^= c == '"';
        outside.push(if quoted { ' ' } else { c });
    }
    let ours =
        |w: &&str| ["vertice_", "defense_", "honeypot_"].iter().any(|prefix| w.starts_with(prefix)) || *w == "up";
    outside.split(|c| !word(c)).filter(ours).map(str::to_owned).collect()
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit_and_when_there_is_nothing() {
    for panel in panels() {
        let title = text(&panel, "/title");
        assert!(!title.is_empty(), "{panel}");
        let kind = text(&panel, "/type");
        if kind == "row" {
            continue;
        }
        assert!(text(&panel, "/description").len() > 20, "{title} has no description");
        if ASK_NOTHING.contains(&kind) {
            continue;
        }
        assert!(!text(&panel, "/fieldConfig/defaults/unit").is_empty(), "{title} has no unit");
        assert!(text(&panel, "/fieldConfig/defaults/noValue").len() > 5, "{title} does not say that there is nothing");
        let targets = panel["targets"].as_array().unwrap_or_else(|| panic!("{title} asks nothing"));
        let ids: BTreeSet<&str> = targets.iter().map(|t| text(t, "/refId")).collect();
        assert!(!targets.is_empty() && ids.len() == targets.len(), "{title}: each target has a letter of its own");
        for source in targets.iter().chain([&panel]).map(|of| &of["datasource"]) {
            assert_eq!((text(source, "/type"), text(source, "/uid")), ("prometheus", "${datasource}"), "{title}");
        }
    }
    let titles: BTreeSet<String> = panels().iter().map(|p| text(p, "/title").to_owned()).collect();
    assert_eq!(titles.len(), panels().len(), "each title stands once");
    for wanted in [
        "Detections by severity",
        "Detection latency",
        "Response actions by type",
        "Approvals",
        "Response execution time, p95",
        "Containments by stage",
        "Kafka lag",
        "Log sync time",
        "Sentinel analysis rate",
        "Dropped, refused and dead-lettered",
    ] {
        assert!(titles.contains(wanted), "{wanted} is missing");
    }
}

#[test]
fn grafana_can_lay_the_dashboard_out() {
    let dashboard: Value = serde_json::from_str(&read("grafana/dashboards/defense.json")).unwrap();
    assert!(
        dashboard["schemaVersion"].as_u64().is_some_and(|v| (36..=41).contains(&v)),
        "{}",
        dashboard["schemaVersion"]
    );
    assert!(!text(&dashboard, "/uid").is_empty() && text(&dashboard, "/uid").len() <= 40);
    assert!(dashboard.get("id").is_none(), "an id is the database's, and must not be in a file that is provisioned");
    let variables: Vec<&str> =
        dashboard["templating"]["list"].as_array().unwrap().iter().map(|v| text(v, "/name")).collect();
    assert_eq!(variables, ["datasource", "instance"]);
    let panels = panels();
    let ids: BTreeSet<u64> = panels.iter().map(|p| p["id"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), panels.len(), "ids are unique");
    let mut taken = BTreeSet::new();
    for panel in &panels {
        let title = text(panel, "/title");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|side| panel["gridPos"][side].as_u64().expect("a place"));
        assert!(w > 0 && h > 0 && x + w <= 24, "{title} does not fit the 24 columns");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(taken.insert(cell), "{title} lies on another panel at {cell:?}");
        }
    }
    // No holes that a reader would take for something that failed to load.
    for y in 0..taken.iter().map(|(_, y)| y + 1).max().unwrap_or(0) {
        assert_eq!(taken.iter().filter(|cell| cell.1 == y).count(), 24, "line {y} is not full");
    }
}

#[test]
fn grafana_is_provisioned_with_what_is_mounted() {
    let source = yaml("grafana/provisioning/datasources/prometheus.yaml");
    let source = &source["datasources"][0];
    assert_eq!((text(source, "/type"), text(source, "/url")), ("prometheus", "http://prometheus:9090"));
    let provider = yaml("grafana/provisioning/dashboards/vertice.yaml");
    let mounted = yaml("compose.yaml")["services"]["grafana"]["volumes"].to_string();
    let path = text(&provider, "/providers/0/options/path");
    assert!(mounted.contains(&format!("./grafana/dashboards:{path}:ro")), "{path} is not in {mounted}");
    assert!(mounted.contains("./grafana/provisioning:/etc/grafana/provisioning:ro"), "{mounted}");
    let prometheus = yaml("prometheus/prometheus.yml");
    let every = text(&prometheus, "/global/scrape_interval");
    assert_eq!(text(source, "/jsonData/timeInterval"), every, "Grafana takes rates over what Prometheus scrapes");
    assert!(prometheus["rule_files"].to_string().contains("alerts.yml"));
    let scraped = prometheus["scrape_configs"].to_string();
    assert!(scraped.contains("vertice:8000") && scraped.contains(r#""job_name":"vertice""#), "{scraped}");
}

#[test]
fn every_alert_says_what_it_means_and_what_to_do() {
    let rules = yaml("prometheus/alerts.yml");
    let told = read("prometheus/alerts_test.yml");
    for rule in rules["groups"][0]["rules"].as_array().unwrap() {
        let name = text(rule, "/alert");
        assert!(matches!(text(rule, "/labels/severity"), "critical" | "warning"), "{name}");
        for part in ["summary", "description", "runbook"] {
            assert!(text(rule, &format!("/annotations/{part}")).len() > 15, "{name} has no {part}");
        }
        for case in ["fires", "calm"] {
            assert!(told.contains(&format!("- name: {name}, {case}\n")), "{name} has no case where it {case}");
        }
    }
}

#[test]
fn every_command_that_is_advised_exists() {
    let mut seen = 0;
    for file in ["prometheus/alerts.yml", "grafana/dashboards/defense.json", "README.md"] {
        for quoted in read(file).split('`').skip(1).step_by(2).filter(|q| q.starts_with("vertice ")) {
            let words: Vec<&str> = quoted.split_whitespace().skip(1).collect();
            let command: Vec<&str> =
                words.iter().copied().take_while(|w| w.chars().all(|c| c.is_ascii_lowercase())).collect();
            let help = vertice().args(&command).arg("--help").output().expect("it runs");
            let help_text = String::from_utf8_lossy(&help.stdout).into_owned();
            assert!(help.status.success(), "{file} advises `{quoted}`, which there is not");
            for option in words.iter().filter_map(|w| w.strip_prefix("--")) {
                assert!(help_text.contains(&format!("--{option}")), "{file} advises `{quoted}`");
            }
            seen += 1;
        }
    }
    assert!(seen > 10, "{seen}");
}

#[test]
fn promtool_takes_configuration_and_rules_and_each_alert_fires_when_it_should() {
    if !there(&["promtool"], "checking what Prometheus is configured with") {
        return;
    }
    let of = |name: &str| deploy().join("prometheus").join(name).display().to_string();
    for arguments in [
        ["check", "config", &of("prometheus.yml")],
        ["check", "rules", &of("alerts.yml")],
        ["test", "rules", &of("alerts_test.yml")],
    ] {
        let checked = ran("promtool", &arguments);
        let said = String::from_utf8_lossy(&[checked.stdout, checked.stderr].concat()).into_owned();
        assert!(checked.status.success(), "promtool {}: {said}", arguments.join(" "));
    }
}

#[test]
fn names_are_told_from_functions_labels_and_texts() {
    let asked = r#"sum by (le, vertice) (rate(defense_a_bucket{x="vertice_b"}[1m])) / vertice_c_total > up"#;
    assert_eq!(names(asked).into_iter().collect::<Vec<_>>(), ["defense_a_bucket", "up", "vertice_c_total"]);
}
