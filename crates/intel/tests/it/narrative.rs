//! Narratives: what is refused, what is accepted, and that the template's are always accepted.

use std::collections::BTreeSet;

use vertice_intel::limits;
use vertice_intel::narrative::{ClaimKind, Exhibit, Fault, Sentence, check, exhibits, narrate, quotable, sentences};
use vertice_model::{
    Confidence, Detection, DetectionId, Entity, EventId, Matched, Position, Raised, RuleSeen, Severity, Tactic,
    Technique, TechniqueSeen, Threat, ThreatId, ThreatState, Timestamp,
};
use vertice_testkit::{Random, long};

fn evidence() -> Vec<Exhibit> {
    let one = Exhibit {
        id: "d1".into(),
        addresses: ["192.0.2.7", "2001:db8::7", "fe80::ab"].map(|a| a.parse().unwrap()).into(),
        hashes: ["d41d8cd98f00b204e9800998ecf8427e".to_owned()].into(),
        techniques: ["T1110".parse().unwrap(), "T1021.004".parse().unwrap()].into(),
        counts: [3, 12, 80, 1_234_567].into(),
        times: ["2026-01-02T03:04:05.678Z".parse().unwrap()].into(),
        names: ["ws5", "SSH guessing 5 in 60s", "evil. 99 hosts"].map(str::to_owned).into(),
    };
    let two = Exhibit { id: "d2".into(), counts: [7].into(), ..Exhibit::default() };
    vec![one, two]
}

fn verdict(text: &str, cites: &[&str]) -> Result<(), Vec<Fault>> {
    let cites = cites.iter().map(|c| (*c).to_owned()).collect();
    check(&[Sentence { text: text.into(), cites }], &evidence())
}

#[test]
fn what_is_in_the_cited_evidence_is_accepted_in_every_form() {
    for text in [
        "The address 192.0.2.7 guessed passwords",
        "The address 192[.]0[.]2[.]7, also hxxp://192.0.2[.]7/ and ::ffff:192.0.2.7, came (192.0.2.7).",
        "It came from 2001:DB8:0:0::7, [2001:db8::7] and fe80::ab.",
        "The file D41D8CD98F00B204E9800998ECF8427E was dropped, md5:d41d8cd98f00b204e9800998ecf8427e",
        "It shows T1110 and t1021.004.",
        "There were 3 tries, three in all, 1,234,567 packets, 1'234'567 or 1 234 567 or 1.234.567 of them",
        "About 80% of twelve were three-fold, the 3rd and 12th, 3x.",
        "At 2026-01-02T03:04:05Z, that is 2026-01-02T03:04:05.678Z, 2026-01-02T04:04:05+01:00 or 2026-01-02 03:04 it began",
        "It was on 2026-01-02 at 03:04:05 or 03:04 UTC, so 2026-01-02T03:04:05 and 2026-01-02T03:04.",
        "The rule \"SSH guessing 5 in 60s\" fired on \"ws5\"",
        "Someone guessed passwords, e.g., by hand; nothing else is known!",
        "A host called \"evil. 99 hosts\" was seen",
    ] {
        assert_eq!(verdict(text, &["d1"]), Ok(()), "{text}");
    }
    assert_eq!(verdict("There were 3 and 7 of them", &["d1", "d2"]), Ok(()));
}

#[test]
fn what_is_not_in_the_cited_evidence_is_refused() {
    use ClaimKind::{Address, Count, Hash, Other, Technique, Time};
    for (text, kind) in [
        ("From 192.0.2.8 it came", Address),
        ("From 192[.]0[.]2[.]8 it came", Address),
        ("From 192.0.2[dot]8 it came", Address),
        ("From hxxps://198.51.100.1/x it came", Address),
        ("From 192.0.2.70:22 it came", Address),
        ("From user@192.0.2.8 it came", Address),
        ("From 2001:db8::8 it came", Address),
        ("From fe80::ac it came", Address),
        ("From 2001[:]db8[:][:]8 it came", Address),
        ("It called evil.example often", Address),
        ("It called evil[.]example often", Address),
        ("Its card is aa:bb:cc:dd:ee:ff", Address),
        ("The file d41d8cd98f00b204e9800998ecf8427f", Hash),
        ("The file sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709", Hash),
        ("The file abcdefabcdefabcdefabcdefabcdefab", Hash),
        ("It shows T1111", Technique),
        ("It shows T1021", Technique),
        ("It shows T1110.001", Technique),
        ("It shows (T1059)/T1110", Technique),
        ("There were 4 of them", Count),
        ("There were four of them", Count),
        ("There were one-off tries", Count),
        ("There were 1,234,568 of them", Count),
        ("There were 1 234 568 of them", Count),
        ("There were 12,3 of them", Other),
        ("There were 99x as many", Count),
        ("There were thirteen of them", Count),
        ("A dozen came", Count),
        ("Twenty-three came", Count),
        ("Port 192.0.2.7:443 was used", Count),
        ("It took 60s", Other),
        ("It shows CVE-2024-3094", Count),
        ("It is G0016", Other),
        ("The number 0x50 is hidden", Other),
        ("The address 3232236039 is hidden", Count),
        ("At 2026-01-02T03:04:06Z it began", Time),
        ("At 2026-01-02T03:04:05.679Z it began", Time),
        ("On 2026-01-03 it began", Time),
        ("On 2026-01-02 05:04 it began", Time),
        ("At 05:04 it began", Time),
        ("At 2026-01-02 03:04 CET it began", Time),
        ("At 03:04 PDT it began", Time),
        ("At 2026-01-02T03:05 it began", Time),
        ("At 3:12 it began", Time),
        ("At 3 pm it began", Time),
        ("It took three days", Time),
        ("After a 12-hour pause", Time),
        ("On January 3 it began", Time),
        ("There were 03 of them", Other),
        ("The host ws5 came", Other),
        ("The rule \"SSH guessing 6 in 60s\" fired", Count),
    ] {
        let faults = verdict(text, &["d1"]).expect_err(text);
        let has = |f: &Fault| matches!(f, Fault::NotInEvidence { kind: k, .. } if *k == kind);
        assert!(faults.iter().any(has), "{text}: {faults:?}");
    }
    assert!(verdict("There were 7 of them", &["d1"]).is_err(), "what another exhibit has is not cited here");
}

#[test]
fn what_cites_nothing_hides_or_is_more_than_a_sentence_is_refused() {
    assert_eq!(verdict("It came", &[]), Err(vec![Fault::Uncited { sentence: 1 }]));
    assert_eq!(verdict("It came", &["d1"; 65]), Err(vec![Fault::Uncited { sentence: 1 }]));
    assert_eq!(verdict("It came", &["d1", "d9"]), Err(vec![Fault::UnknownCitation { sentence: 1, id: "d9".into() }]));
    for text in ["It came. It saw", "It came! it won", "", " . ", "He said so (\"it.\") then left"] {
        assert!(verdict(text, &["d1"]).unwrap_err().contains(&Fault::NotOneSentence { sentence: 1 }), "{text}");
    }
    for text in [
        "It c\u{200b}ame",
        "It came\u{202e}",
        "It\ncame",
        "\u{ff14} came",
        "٤ came",
        "½ came",
        "Т1111 came",
        "\u{1b}[2J",
    ] {
        assert_eq!(verdict(text, &["d1"]), Err(vec![Fault::Obscured { sentence: 1 }]), "{text:?}");
    }
    let many = vec![Sentence { text: "x".into(), cites: vec!["d1".into()] }; limits::SENTENCES_MAX + 1];
    assert_eq!(check(&many, &evidence()), Err(vec![Fault::Size]));
    assert_eq!(check(&[], &evidence()), Err(vec![Fault::Size]));
    let wrong = vec![Sentence { text: "99 ".repeat(90), cites: vec!["d1".into()] }; 9];
    assert_eq!(check(&wrong, &evidence()).unwrap_err().len(), limits::FAULTS_MAX);
    assert!(Fault::Uncited { sentence: 4 }.to_string().contains("sentence 4"));
}

#[test]
fn a_text_is_cut_into_sentences_at_its_citations() {
    let cut = sentences("It came from 192[.]0[.]2[.]7 [d1]. There were 7 [d2, d1].\nIt left.");
    let shown: Vec<(&str, usize)> = cut.iter().map(|s| (s.text.as_str(), s.cites.len())).collect();
    assert_eq!(shown, [("It came from 192[.]0[.]2[.]7", 1), ("There were 7", 2), ("It left.", 0)]);
    assert_eq!(check(&cut, &evidence()), Err(vec![Fault::Uncited { sentence: 3 }]));
    assert_eq!(check(&cut[..2], &evidence()), Ok(()));
    assert!(sentences("").is_empty());
    assert_eq!(sentences("a [").len(), 1);
}

/// Names as an attacker would choose them, among ordinary ones.
const NAMES: [&str; 14] = [
    "ws5",
    "12",
    "evil.example",
    "T1486",
    "10.9.8.7",
    "x. There were 99 \"hosts\" hit [d1].",
    "two\nlines 7",
    "a\u{202e}b",
    "Ана",
    "\u{1b}[31mred",
    "d41d8cd98f00b204e9800998ecf8427e",
    "\"",
    "six",
    "2026-01-01T00:00:00Z",
];

fn detection(random: &mut Random, at: usize) -> Detection {
    let entity = entity(random);
    Detection {
        triage: None,
        suppressed_by: None,
        mapped_by: (random.below(3) == 0).then(|| "mapper".to_owned()),
        detection_id: DetectionId::derive(&at.to_string()),
        event_id: EventId::at(Position(at as u64)),
        position: Position(at as u64),
        earlier: vec![Position(1); random.below(64)],
        rule_id: at.to_string(),
        rule_title: name(random),
        class: None,
        is_threat: true,
        confidence: Confidence::new(random.below(101) as u8).unwrap(),
        severity: Severity::ALL[random.below(5)],
        mitre_techniques: techniques(random),
        mitre_tactics: vec![Tactic::Impact],
        entity,
        related: (0..random.below(12)).map(|_| self::entity(random)).collect(),
        matched: vec![Matched { selection: "s".into(), field: "f".into(), wanted: "w".into(), value: name(random) }],
        threat_id: None,
        timestamp: time(random),
        accepted_at: time(random),
    }
}

fn name(random: &mut Random) -> String {
    let name = NAMES[random.below(NAMES.len())];
    if random.below(2) == 0 {
        name.to_owned()
    } else {
        String::from_utf8_lossy(&random.mutated(name.as_bytes())).into()
    }
}

fn entity(random: &mut Random) -> Entity {
    let named = name(random);
    let made = match random.below(4) {
        0 => Entity::host(&named),
        1 => Entity::user(&named),
        2 => Entity::ip(&format!("2001:db8::{:x}", random.below(65_536))),
        _ => Entity::ip(&format!("::ffff:192.0.2.{}", random.below(256))),
    };
    made.unwrap_or_else(|| Entity::host("x").unwrap())
}

fn techniques(random: &mut Random) -> Vec<Technique> {
    (0..random.below(12)).map(|_| format!("T{}", 1_000 + random.below(900)).parse().unwrap()).collect()
}

fn time(random: &mut Random) -> Timestamp {
    Timestamp::from_micros(1_700_000_000_000_000 + (random.number() % 100_000_000_000_000) as i64)
}

fn threat(random: &mut Random) -> Threat {
    let rule = |random: &mut Random| RuleSeen {
        rule_id: "r".into(),
        rule_title: name(random),
        severity: Severity::High,
        confidence: Confidence::new(50).unwrap(),
        entity: entity(random),
        first_seen: time(random),
        detections: random.number() % 100_000,
    };
    Threat {
        attention: Severity::Info,
        suggested: Raised::default(),
        triage: None,
        threat_id: ThreatId::derive("x"),
        state: ThreatState::Open,
        title: name(random),
        entities: (0..random.below(12)).map(|_| entity(random)).collect(),
        severity: Severity::ALL[random.below(5)],
        confidence: Confidence::new(random.below(101) as u8).unwrap(),
        classes: BTreeSet::new(),
        techniques: techniques(random)
            .into_iter()
            .map(|technique| TechniqueSeen { technique, first_seen: Timestamp::from_seconds(1_700_000_000) })
            .collect(),
        tactics: Tactic::all().take(random.below(15)).collect(),
        stage: Tactic::all().nth(random.below(16)),
        rules: (0..random.below(12)).map(|_| rule(random)).collect(),
        detections: random.number() % 1_000_000,
        latest: vec![],
        positions: (Position(1), Position(2)),
        first_seen: time(random),
        last_seen: time(random),
        opened_at: time(random),
        updated_at: time(random),
        absorbed: vec![],
        reopened: 0,
        verdict: None,
        narrative: String::new(),
    }
}

#[test]
fn the_template_is_accepted_whatever_the_threat_and_no_digit_of_it_can_be_changed() {
    let mut random = Random(17);
    let mut changed = 0;
    for round in 0..if long() { 20_000 } else { 600 } {
        let threat = threat(&mut random);
        let detections: Vec<Detection> = (0..random.below(12)).map(|at| detection(&mut random, at)).collect();
        let (written, evidence) = (narrate(&threat, &detections), exhibits(&threat, &detections));
        assert_eq!(check(&written, &evidence), Ok(()), "{written:#?}");
        assert!(written.iter().all(|s| !s.cites.is_empty()));
        if round % 20 == 0 {
            changed += digits_changed(&mut random, &written, &evidence);
        }
    }
    assert!(changed > 500, "{changed}");
}

/// Changes digits outside of quotes, one at a time; each must be refused unless the evidence has the new one too.
fn digits_changed(random: &mut Random, written: &[Sentence], evidence: &[Exhibit]) -> usize {
    let mut refused = 0;
    for (at, sentence) in written.iter().enumerate() {
        let mut quoted = false;
        for (i, c) in sentence.text.char_indices() {
            quoted ^= c == '"';
            if quoted || !c.is_ascii_digit() || random.below(4) > 0 {
                continue;
            }
            let new = char::from(b'0' + (c as u8 - b'0' + 1 + random.below(9) as u8) % 10);
            let mut text = sentence.text.clone();
            text.replace_range(i..=i, &new.to_string());
            let mut all = written.to_vec();
            all[at].text = text;
            match check(&all, evidence) {
                Err(_) => refused += 1,
                Ok(()) => {
                    // Another count, or another address or technique, of the very same exhibit.
                    let cited = evidence.iter().find(|e| e.id == sentence.cites[0]).unwrap();
                    assert!(cited.counts.len() + cited.addresses.len() + cited.techniques.len() > 1, "{:?}", all[at]);
                }
            }
        }
    }
    refused
}

#[test]
fn any_text_is_checked_without_a_panic_and_names_stay_on_a_line() {
    let mut random = Random(23);
    let seeds = [
        "At 2026-01-02T03:04:05Z 192[.]0[.]2[.]7 \"ws5\" 1,234,567 T1110 [d1]. [2001:db8::7]:22 three-fold 1 234 567 [d1, d2]",
    ];
    for _ in 0..if long() { 100_000 } else { 5_000 } {
        let text = String::from_utf8_lossy(&random.mutated(seeds[0].as_bytes())).into_owned();
        let _ = check(&sentences(&text), &evidence());
        let quoted = quotable(&text);
        assert!(!quoted.contains(['"', '\n', '\0']) && quoted.chars().count() <= 120);
        assert_eq!(quotable(&quoted), quoted);
    }
    for part in ["[", "[.]", "\"", "a-", "1 ", "1,", ":", "(("] {
        let text = part.repeat(limits::NARRATIVE_BYTES_MAX / part.len());
        let _ = check(&[Sentence { text: text.clone(), cites: vec!["d1".into()] }], &evidence());
        let _ = sentences(&text);
    }
}
