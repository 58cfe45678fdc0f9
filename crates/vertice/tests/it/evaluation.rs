//! `vertice sentinel eval` as people run it: on the dataset that comes with it, with a model, and with its recording.

use std::io::Write as _;
use std::path::Path;

use serde_json::{Value, json};
use vertice_testkit::root;

use crate::process::vertice;
use crate::sentinel::{Mood, Stand};

fn write(path: &Path, text: &str) {
    std::fs::File::create(path).unwrap().write_all(text.as_bytes()).unwrap();
}

/// What it prints, what it complains of, and its exit code.
fn eval(config: &Path, arguments: &[&str]) -> (String, String, i32) {
    let example = root().join("content/evaluation");
    let dataset = if arguments.contains(&"--") { None } else { Some(example) };
    let ran = vertice().env("VERTICE_CONFIG", config).args(["sentinel", "eval"]).args(dataset).args(arguments).output();
    let ran = ran.expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("it is text");
    (text(ran.stdout), text(ran.stderr), ran.status.code().expect("it ended by itself"))
}

fn json_of(config: &Path, arguments: &[&str]) -> Value {
    let (out, err, code) = eval(config, &[arguments, &["-o", "json"]].concat());
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).expect("a document")
}

#[test]
fn an_evaluation_asks_a_model_and_is_the_same_from_its_recording() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("vertice.toml");
    let stand = Stand::start(Mood::Obeys);
    let of = |address: &str| {
        let text = format!(
            "[sentinel.models.local]\nprovider = \"compatible\"\nmodel = \"stand-in\"\nbase_url = \"http://{address}/v1\"\n"
        );
        write(&config, &text);
    };
    of(&stand.address.to_string());
    let answers = dir.path().join("answers");
    let answers = answers.to_str().unwrap();

    let alone = json_of(&config, &["--model", "none"]);
    println!("{}", eval(&config, &["--model", "none"]).0);
    assert_eq!(alone["alerts"], json!({"malicious": 14, "benign": 12, "with_techniques": 14}));
    assert_eq!((&alone["model"], &alone["events_unreadable"]), (&Value::Null, &json!(0)), "each line can be read");
    let share = |of: &Value, pointer: &str| {
        of.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer}: {of}"))
    };
    assert!(share(&alone, "/rates/1/true_positives/n") >= 10, "the rules find most of it: {}", alone["rates"]);
    assert_eq!(stand.asked(), 0);

    let told = json_of(&config, &["--model", "local", "--record", answers]);
    println!("{}", eval(&config, &["--model", "local"]).0);
    assert!(stand.asked() >= 10, "{}", stand.asked());
    for n in 0..3 {
        assert_eq!(told["rates"][n], alone["rates"][n], "a model changes nothing of what triage says");
    }
    let answered = share(&told, "/consultations/answered/n");
    assert_eq!(answered, share(&told, "/consultations/answered/of"), "each question was answered: {}", told["reasons"]);
    // It obeys the attacker who speaks to it, and triage does not.
    let (triage, model) = (share(&told, "/rates/3/true_positives/n"), share(&told, "/rates/4/true_positives/n"));
    assert!(model < share(&told, "/rates/4/true_positives/of"), "{}", told["rates"]);
    assert!(
        triage > 0 && share(&told, "/latency_ms/n") == answered && share(&told, "/cost/input_tokens") == 100 * answered
    );

    // Nobody listens there, and nobody is asked.
    of("127.0.0.1:9");
    let again = json_of(&config, &["--model", "local", "--replay", answers]);
    for figure in ["alerts", "rates", "mapping", "consultations", "reasons", "alerts_not_asked_about"] {
        assert_eq!(again[figure], told[figure], "{figure}");
    }
    assert_eq!(again["latency_ms"]["n"], 0, "a recording says nothing of time");
    let (lines, _, _) = eval(&config, &["--replay", answers, "-o", "ndjson"]);
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 26);
    let fooled = lines.iter().find(|l| l["id"] == "order-in-a-browser").unwrap();
    assert_eq!(
        (&fooled["assessment"], &fooled["consultations"][0]["state"]["is"]),
        (&json!("likely_benign"), &json!("answered"))
    );
}

#[test]
fn what_can_not_be_measured_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("vertice.toml");
    write(&config, "");
    let dataset = dir.path().join("d.ndjson");
    write(&dataset, "{\"id\":\"a\",\"label\":\"evil\",\"events\":[\"x\"]}\n");
    let dataset = dataset.to_str().unwrap();
    let (_, told, code) = eval(&config, &["--model", "none", "--", dataset]);
    assert!(code == 6 && told.contains("d.ndjson:1: label: it is `malicious` or `benign`"), "{code}: {told}");
    let (_, told, code) = eval(&config, &["--model", "nobody"]);
    assert!(code == 2 && told.contains("no model \"nobody\"") && told.contains("none is configured"), "{code}: {told}");
    let (_, told, code) = eval(&config, &["--model", "none", "--", "/nowhere.ndjson"]);
    assert!(code == 3 && told.contains("/nowhere.ndjson"), "{code}: {told}");
}
