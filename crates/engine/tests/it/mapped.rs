//! Techniques that only an event's words suggest: marked, and without a part in what is decided.

use std::sync::Arc;

use vertice_engine::{Content, ContentFile, EffectKind, Engine, Input, Record, Stamp};
use vertice_model::{Detection, RawEvent, Threat};

const MAPPING: &str = include_str!("../../../../content/mappings/vertice.yml");
const TABLE: &str = include_str!("../../../../content/intel/commands.txt");

/// A playbook that waits for a technique.
const ON_DUMPING: &str = "name: On dumping\nversion: '1'\ndescription: d\ntrigger: {condition: technique == T1003, severity_threshold: medium, confidence_threshold: 0.5}\n\
    actions: [{id: a, type: notification, parameters: {channel: slack, message: m}, success_criteria: [message_delivered]}]\n\
    rollback: {enabled: false, conditions: []}\n";

fn file(path: &str, text: &str) -> ContentFile {
    ContentFile { path: path.into(), text: text.into() }
}

fn rule(action: &str, more: &str) -> ContentFile {
    let text = format!(
        "title: {action}\nid: rule-{action}\nlevel: high\nlogsource: {{product: vertice}}\n\
         detection: {{s: {{event.action: {action}}}, condition: s}}\n{more}"
    );
    file(&format!("rules/{action}.yml"), &text)
}

fn content(tables: &[ContentFile]) -> Content {
    let mut files = vec![
        file("mappings/vertice.yml", MAPPING),
        file("playbooks/on_dumping.yml", ON_DUMPING),
        rule("tagged", "tags: [attack.t1003.001]\n"),
        rule("untagged", "tags: [attack.credential-access]\n"),
    ];
    files.extend(tables.iter().cloned());
    Content::compile(files)
}

/// What comes of one event: its detection, its threat, and how many runs of the playbook.
fn play(content: &Arc<Content>, action: &str, command: &str) -> (Detection, Threat, usize) {
    let mut engine = Engine::default();
    let now = "2026-03-01T12:00:00Z".parse().unwrap();
    engine.apply(Stamp { position: engine.next(), now }, &Input::Content(Arc::clone(content)));
    let command = serde_json::Value::from(command);
    let line = format!(
        r#"{{"event_id":"e","timestamp":"{now}","source":"ids","event_type":"{action}","source_ip":"192.0.2.1",
            "payload":{{"command_line":{command}}}}}"#
    );
    let effects = engine.apply(
        Stamp { position: engine.next(), now },
        &Input::Events(vec![RawEvent { origin: "t".into(), line: line.replace('\n', " ") }]),
    );
    let (mut detection, mut threat, mut runs) = (None, None, 0);
    for effect in effects {
        match effect.kind {
            EffectKind::Publish(Record::Detection(d)) => detection = Some(d),
            EffectKind::Publish(Record::Threat(t)) => threat = Some(t),
            EffectKind::Publish(Record::Run(_)) => runs += 1,
            EffectKind::Publish(_)
            | EffectKind::Act(_)
            | EffectKind::Ask(_)
            | EffectKind::Consult(_)
            | EffectKind::Tell(_) => {}
        }
    }
    (detection.expect("it is detected"), threat.expect("it opens a threat"), runs)
}

#[test]
fn words_suggest_techniques_where_a_rule_names_none_and_start_nothing() {
    let content = Arc::new(content(&[file("intel/commands.txt", TABLE)]));
    assert_eq!(content.refused, []);
    let dump = "procdump64.exe -ma lsass.exe out.dmp";
    // action, command → techniques of the detection, by whom, techniques of the threat, runs
    for (action, command, techniques, by, of_threat, acts) in [
        ("tagged", dump, "T1003.001", None, "T1003.001", true),
        ("untagged", dump, "T1003.001", Some("mapper"), "", false),
        ("untagged", "notepad.exe letter.txt", "", None, "", false),
    ] {
        let (detection, threat, runs) = play(&content, action, command);
        let named = |techniques: &mut dyn Iterator<Item = &vertice_model::Technique>| {
            techniques.map(|t| t.as_str()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(named(&mut detection.mitre_techniques.iter()), techniques, "{action} {command}");
        assert_eq!(detection.mapped_by.as_deref(), by, "{action} {command}");
        assert_eq!(named(&mut threat.techniques.iter().map(|t| &t.technique)), of_threat, "{action} {command}");
        assert_eq!(runs > 0, acts, "{action} {command}: a guess starts no playbook");
    }
    let long = format!("{} procdump64.exe -ma lsass.exe", "x ".repeat(4_096));
    assert_eq!(play(&content, "untagged", &long).0.mapped_by, None, "what stands far behind is not read");
}

#[test]
fn tables_add_up_and_a_bad_one_is_refused_with_its_line() {
    let own = file("intel:/etc/v/intel/our_commands.txt", "# ours\nT1059: program frobnicate\n");
    let bad = file("intel:/etc/v/intel/bad_commands.txt", "# ours\n\nT1059: program\n");
    let content = Arc::new(content(&[file("intel/commands.txt", TABLE), own, bad]));
    let refused: Vec<_> = content.refused.iter().map(ToString::to_string).collect();
    assert!(refused.len() == 1 && refused[0].starts_with("/etc/v/intel/bad_commands.txt:3: "), "{refused:?}");
    for (command, wanted) in [("frobnicate all", "T1059"), ("mimikatz", "T1003")] {
        let (detection, ..) = play(&content, "untagged", command);
        assert!(detection.mitre_techniques.iter().any(|t| t.as_str().starts_with(wanted)), "{command}: {detection:?}");
    }
}
