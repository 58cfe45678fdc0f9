//! What whoever is behind a threat may try next, and whom they resemble, in a few lines.

use serde_json::Value;

use super::output::Tint;
use super::records::{items, text};
use super::tree::Node;

/// Reasons of a profile that are shown beside the skill: whom it resembles most, and after what such were.
const REASONS: usize = 3;

/// A forecast and a profile; nothing where no technique was seen.
pub fn node(view: &Value) -> Option<Node> {
    let from = match text(view, "/seen_by").as_str() {
        "rules" => "from the techniques that rules name",
        "mapper" => "from techniques that only the words of its events suggest, so take it lightly",
        _ => return None,
    };
    let mut node = Node::new(vec![(Tint::Bold, "what may come next  ".to_owned()), (Tint::Faint, from.to_owned())]);
    for prediction in items(view, "/forecast/predictions") {
        let reason = items(prediction, "/reasons").first().map(super::records::words).unwrap_or_default();
        node.push(Node::new(vec![
            (Tint::None, text(prediction, "/technique")),
            (Tint::Faint, format!("  ({})  {reason}", text(prediction, "/tactics"))),
        ]));
    }
    let unknown = text(view, "/forecast/unknown");
    if !unknown.is_empty() {
        node.push(Node::remark(format!("not known to us, and left out: {unknown}")));
    }
    if !items(view, "/forecast/predictions").is_empty() {
        node.push(Node::remark(format!("how sure: {}", text(view, "/forecast/standing_text"))));
    }
    let reasons = items(view, "/profile/reasons");
    let words = |at: usize| reasons.get(at).map(super::records::words).unwrap_or_default();
    node.push(Node::new(vec![
        (Tint::None, format!("skill {}", text(view, "/profile/skill"))),
        (Tint::Faint, format!("  {}", words(0))),
    ]));
    node.extend((1..reasons.len().min(1 + REASONS)).map(|at| Node::remark(words(at))));
    if !items(view, "/profile/resembles").is_empty() {
        node.push(Node::remark("likeness names nobody: common techniques are shared by many".to_owned()));
    }
    Some(node)
}

/// The sentences of a narrative as a paragraph, each with the beginnings of the ids that show it.
pub fn paragraph(sentences: &[Value]) -> String {
    let sentence = |s: &Value| {
        let mut cites = String::new();
        for cite in items(s, "/cites") {
            let id = super::records::words(cite);
            cites += if cites.is_empty() { "" } else { ", " };
            cites += super::records::short(&id);
        }
        format!("{} [{cites}].", text(s, "/text"))
    };
    sentences.iter().map(sentence).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::output::Format;
    use crate::cli::output::tests::printed;

    #[test]
    fn a_forecast_says_what_it_rests_on_and_how_often_such_are_right() {
        let view = json!({
            "seen": ["T1110", "T9999"], "seen_by": "rules", "suggested": [],
            "forecast": {
                "predictions": [{"technique": "T1078", "tactics": ["initial-access"], "share": 0.1, "basis": [],
                    "reasons": ["written down as number 1 of what tends to follow T1110"]}],
                "unknown": ["T9999"], "rank_only": true, "standing_text": "31 of 100 recorded steps"
            },
            "profile": {"resembles": [{"id": "G0001"}], "tools_seen": [], "objectives": [], "skill": "unknown",
                "reasons": ["of the 1 techniques seen 0 are rare", "Some\u{1b}[2J (G0001) is known"]}
        });
        let text = printed(Format::Table, |out| node(&view).unwrap().print(out));
        let wanted = "what may come next  from the techniques that rules name
├─ T1078  (initial-access)  written down as number 1 of what tends to follow T1110
├─ not known to us, and left out: T9999
├─ how sure: 31 of 100 recorded steps
├─ skill unknown  of the 1 techniques seen 0 are rare
├─ Some␛[2J (G0001) is known
└─ likeness names nobody: common techniques are shared by many
";
        assert_eq!(text, wanted);
        assert!(node(&json!({"seen_by": "nobody"})).is_none());
        let sentences = [json!({"text": "It began", "cites": ["1f3a9c0e-0000-5000", "5b2c11d0-x"]})];
        assert_eq!(paragraph(&sentences), "It began [1f3a9c0e, 5b2c11d0].");
    }
}
