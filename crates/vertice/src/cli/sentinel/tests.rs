//! What is counted from outcomes that are known.

use serde_json::json;
use vertice_model::{Assessment, ConsultationState, Usage};

use super::dataset::Alert;
use super::play::{Consulted, Outcome};
use super::report::{self, Report};
use crate::cli::output::Format;
use crate::cli::output::tests::printed;

fn alert(id: &str, is_malicious: bool, techniques: &[&str]) -> Alert {
    let techniques = (!techniques.is_empty()).then(|| techniques.iter().map(|t| t.parse().unwrap()).collect());
    Alert { id: id.to_owned(), is_malicious, techniques, at: None, lines: vec!["x".to_owned()] }
}

fn outcome(priority: u8, mapped: &[&str], consulted: Vec<Consulted>) -> Outcome {
    let threats = u64::from(priority > 0);
    let mapped = mapped.iter().map(|t| t.parse().unwrap()).collect();
    Outcome { detections: threats, threats, priority, mapped, consulted, ..Outcome::default() }
}

fn answered(assessment: Assessment, techniques: &[&str], took_ms: u64, cached: bool) -> Consulted {
    let usage = Usage { input_tokens: 100, output_tokens: 10, cost_micro_usd: 250, took_ms, cached };
    let techniques = techniques.iter().map(|t| t.parse().unwrap()).collect();
    Consulted { state: ConsultationState::Answered, usage, assessment: Some(assessment), techniques }
}

fn not_answered(state: ConsultationState) -> Consulted {
    Consulted { state, usage: Usage::default(), assessment: None, techniques: Vec::new() }
}

#[test]
fn each_figure_is_counted_of_what_it_says() {
    use Assessment::{LikelyBenign, LikelyMalicious, Uncertain};
    let skipped = ConsultationState::Skipped { why: "the budget is spent".into() };
    let hijacked = ConsultationState::Hijacked { signs: "it followed an order".into() };
    let alerts = [
        alert("a", true, &["T1110.001", "T1078"]),
        alert("b", true, &[]),
        alert("c", true, &["T1190"]),
        alert("d", false, &[]),
        alert("e", false, &[]),
    ];
    let outcomes = [
        // Of several threats the worst assessment counts.
        outcome(
            80,
            &["T1110.003"],
            vec![answered(LikelyBenign, &[], 10, false), answered(LikelyMalicious, &["T1078"], 30, false)],
        ),
        outcome(60, &[], vec![answered(Uncertain, &[], 20, false)]),
        outcome(0, &[], vec![]),
        outcome(55, &[], vec![answered(LikelyBenign, &[], 1, true)]),
        outcome(20, &[], vec![not_answered(skipped), not_answered(hijacked)]),
    ];
    let report = Report::new(Some("m".into()), 50, &alerts, &outcomes);
    let json = report.json();
    let share = |pointer: &str| {
        let share = json.pointer(pointer).unwrap_or_else(|| panic!("{pointer}: {json}"));
        (share["n"].as_u64().unwrap(), share["of"].as_u64().unwrap())
    };
    // By detection, threat, triage, triage where answered, model, model with the uncertain.
    let rates =
        [((2, 3), (2, 2)), ((2, 3), (2, 2)), ((2, 3), (1, 2)), ((2, 2), (1, 1)), ((1, 2), (0, 1)), ((2, 2), (0, 1))];
    for (n, (right, wrong)) in rates.into_iter().enumerate() {
        assert_eq!(share(&format!("/rates/{n}/true_positives")), right, "{}", json["rates"][n]);
        assert_eq!(share(&format!("/rates/{n}/false_positives")), wrong, "{}", json["rates"][n]);
    }
    // By detections, model, both; of each exactly and by parent. What nobody labelled is left out.
    let mapping =
        [((0, 1), (0, 3)), ((1, 1), (1, 3)), ((1, 1), (1, 3)), ((1, 1), (1, 3)), ((1, 2), (1, 3)), ((2, 2), (2, 3))];
    for (n, (precision, recall)) in mapping.into_iter().enumerate() {
        assert_eq!(share(&format!("/mapping/{n}/precision")), precision, "{}", json["mapping"][n]);
        assert_eq!(share(&format!("/mapping/{n}/recall")), recall, "{}", json["mapping"][n]);
    }
    assert_eq!(share("/consultations/answered"), (4, 6));
    assert_eq!((share("/consultations/skipped"), share("/consultations/hijacked")), ((1, 6), (1, 6)));
    assert_eq!(share("/alerts_not_asked_about"), (1, 5));
    assert_eq!(json["reasons"], json!({"skipped: the budget is spent": 1, "hijacked: it followed an order": 1}));
    assert_eq!(json["cost"], json!({"micro_usd": 1_000, "input_tokens": 400, "output_tokens": 40}));
    assert_eq!(json["latency_ms"], json!({"n": 4, "p50": 10, "p99": 30}), "those of a provider, the hijacked with 0");
    let text = printed(Format::Table, |out| report.print(out));
    for told in [
        "3 malicious alerts, 2 benign",
        "0.667 (2/3, 0.208-0.939)",
        "p50 10 ms, p99 30 ms, of 4",
        "1  skipped: the budget",
    ] {
        assert!(text.contains(told), "{told} in {text}");
    }
    let line = report::line(&alerts[0], &outcomes[0]);
    assert_eq!(
        (&line["label"], &line["assessment"], &line["priority"]),
        (&json!("malicious"), &json!("likely_malicious"), &json!(80))
    );
}

#[test]
fn without_a_model_nothing_is_said_of_one() {
    let report = Report::new(None, 50, &[alert("a", false, &[])], &[outcome(0, &[], vec![])]);
    assert_eq!(report.json()["rates"].as_array().unwrap().len(), 3);
    let text = printed(Format::Table, |out| report.print(out));
    assert!(text.contains("No model was asked.") && text.contains("– (0/0)"), "{text}");
}
