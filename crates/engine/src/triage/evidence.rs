//! Whether the sentences of an opinion keep to the evidence that they cite.
//!
//! An address, a hash, a technique, a count or a time that is not in the cited evidence is an invention, or what an
//! attacker wanted said. Such a sentence is left out, and the consultation says so; an answer of which no sentence stands
//! is refused whole, for then nothing is known of what the rest of it rests on.

use vertice_intel::narrative::{self, Exhibit, Fault, quotable};
use vertice_model::{LeftOut, Moment, Opinion};

use super::clean;
use crate::limits;

/// The opinion with the sentences that stand, and those that do not.
///
/// # Errors
///
/// When none stands: why the first does not, and all of them.
pub(super) fn kept(opinion: Opinion, told: &[Moment]) -> Result<(Opinion, Vec<LeftOut>), (String, Vec<LeftOut>)> {
    let exhibits: Vec<Exhibit> = told.iter().map(exhibit).collect();
    let mut left_out = Vec::new();
    let Opinion { sentences, false_positive_reason, .. } = opinion;
    let mut stand = Vec::new();
    for (n, sentence) in (1..).zip(sentences) {
        match fault(&sentence.text, &sentence.cites, &exhibits) {
            None => stand.push(sentence),
            Some(why) => left_out.push(LeftOut { sentence: n, why }),
        }
    }
    // It cites nothing of its own, so it may speak of all that was told.
    let all: Vec<String> = exhibits.iter().map(|e| e.id.clone()).collect();
    let false_positive_reason = false_positive_reason.filter(|reason| match fault(reason, &all, &exhibits) {
        None => true,
        Some(why) => {
            left_out.push(LeftOut { sentence: 0, why });
            false
        }
    });
    if stand.is_empty() {
        let why = left_out.first().map_or("", |first| first.why.as_str());
        return Err((format!("none of its sentences keeps to the evidence: {why}"), left_out));
    }
    Ok((Opinion { sentences: stand, false_positive_reason, ..opinion }, left_out))
}

/// What is wrong with a text, in words.
fn fault(text: &str, cites: &[String], exhibits: &[Exhibit]) -> Option<String> {
    let sentence = narrative::Sentence { text: text.to_owned(), cites: cites.to_vec() };
    let faults = narrative::check(&[sentence], exhibits).err()?;
    let why = match faults.first()? {
        Fault::NotInEvidence { text, .. } => format!("\"{text}\" is not in the evidence it cites"),
        Fault::NotOneSentence { .. } => "it is empty, or more than one sentence".to_owned(),
        Fault::Obscured { .. } => "it has characters that hide what it says".to_owned(),
        Fault::Uncited { .. } | Fault::UnknownCitation { .. } => "it cites what is not there".to_owned(),
        Fault::Size => "it is too long".to_owned(),
    };
    Some(clean::text(&why, limits::OPINION_TEXT_CHARS_MAX))
}

/// All that may be said of what a model was told.
fn exhibit(moment: &Moment) -> Exhibit {
    let mut exhibit = Exhibit { id: moment.cite.clone(), ..Exhibit::default() };
    exhibit.name(&moment.entity);
    exhibit.names.insert(quotable(&moment.rule_title));
    exhibit.techniques.extend(moment.techniques.iter().cloned());
    exhibit.times.insert(moment.at);
    for (name, value) in &moment.fields {
        exhibit.value(value);
        exhibit.names.insert(quotable(name));
        // A number of its own, or what a correlation counted: `5 events`.
        let count = if name.is_empty() { value.split(' ').next().unwrap_or_default() } else { value };
        exhibit.counts.extend(count.parse::<u64>().ok());
    }
    // Also as they stand in an answer once it is cleaned.
    let cleaned: Vec<String> =
        exhibit.names.iter().map(|name| clean::text(name, limits::OPINION_TEXT_CHARS_MAX)).collect();
    exhibit.names.extend(cleaned);
    exhibit
}

#[cfg(test)]
mod tests {
    use vertice_model::{DetectionId, Entity, Position, Sentence, Severity};

    use super::*;

    fn told() -> Vec<Moment> {
        let of = |cite: &str, ip: &str, fields: &[(&str, &str)]| Moment {
            cite: cite.into(),
            detection_id: DetectionId::derive(cite),
            position: Position(1),
            at: "2026-03-01T12:00:00Z".parse().unwrap(),
            rule_title: "Guessing [2nd try]".into(),
            severity: Severity::High,
            entity: Entity::ip(ip).unwrap(),
            techniques: vec!["T1110".parse().unwrap()],
            fields: fields.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
        };
        let hash = "d41d8cd98f00b204e9800998ecf8427e";
        vec![
            of("E1", "203.0.113.9", &[("user.name", "web-01"), ("", "5 events"), ("destination.port", "22")]),
            of("E2", "198.51.100.7", &[("process.command_line", &format!("get 192.0.2.1 {hash}"))]),
        ]
    }

    #[test]
    fn a_sentence_says_what_is_in_the_evidence_it_cites_and_nothing_else() {
        for (text, cites, wanted) in [
            ("Somebody guesses passwords.", "E1", ""),
            ("203.0.113.9 failed 5 times on port 22 at 2026-03-01T12:00:00Z, which is T1110.", "E1", ""),
            ("The rule \"Guessing (2nd try)\" saw the account \"web-01\".", "E1", ""),
            ("It fetched d41d8cd98f00b204e9800998ecf8427e from 192.0.2.1.", "E2", ""),
            ("203.0.113.9 and 198.51.100.7 are one.", "E1", "198.51.100.7"),
            ("198.51.100.7 guesses.", "E1", "198.51.100.7"),
            ("Six attempts failed.", "E1", "six"),
            ("It is T1003.", "E1", "t1003"),
            ("It began at 2026-03-01T12:00:01Z.", "E1", "2026-03-01t12:00:01z"),
            ("It fetched d41d8cd98f00b204e9800998ecf8427f.", "E2", "d41d8cd98f00b204e9800998ecf8427f"),
            ("The account \"web-02\" is fine.", "E1", "02"),
            ("It is done. All is well.", "E1", "more than one sentence"),
            ("", "E1", "empty"),
        ] {
            let sentence = |text: &str, cite: &str| Sentence { text: text.into(), cites: vec![cite.into()] };
            let opinion =
                Opinion { sentences: vec![sentence(text, cites), sentence("So it is.", "E1")], ..Opinion::default() };
            let (kept, left_out) = kept(opinion, &told()).unwrap();
            let whys: Vec<_> = left_out.iter().map(|l| l.why.as_str()).collect();
            match wanted {
                "" => assert_eq!((kept.sentences.len(), &whys[..]), (2, &[][..]), "{text}"),
                wanted => {
                    assert_eq!((kept.sentences.len(), left_out.len(), left_out[0].sentence), (1, 1, 1), "{text}");
                    assert!(whys[0].contains(wanted), "{text}: {whys:?}");
                }
            }
        }
    }

    #[test]
    fn an_answer_of_which_nothing_stands_is_refused_and_a_reason_is_checked_too() {
        let sentence = |text: &str| Sentence { text: text.into(), cites: vec!["E1".into()] };
        let of = |texts: &[&str], reason: &str| Opinion {
            sentences: texts.iter().map(|t| sentence(t)).collect(),
            false_positive_reason: Some(reason.into()),
            ..Opinion::default()
        };
        let (why, left_out) = kept(of(&["Ask 8.8.8.8.", "Call 555."], "It is a test."), &told()).unwrap_err();
        assert!(why.contains("8.8.8.8") && left_out.len() == 2, "{why} {left_out:?}");
        let (kept, left_out) = kept(of(&["So it is."], "192.0.2.77 is our scanner."), &told()).unwrap();
        assert_eq!((kept.false_positive_reason, left_out[0].sentence), (None, 0));
    }
}
