//! Predictions and profiles from the committed facts, and that the committed facts are what the command gives.

use vertice_intel::{Basis, Facts, Intent, Skill, bounds, evaluate, learn, model_text};
use vertice_model::Technique;
use vertice_testkit::{files_below, known_answers};

const ATTACK: &str = include_str!("../../../../content/intel/attack.txt");
const FLOWS: &str = include_str!("../../../../content/intel/flows.txt");
const PROGRESSION: &str = include_str!("../../../../content/intel/progression.txt");
const MODEL: &str = include_str!("../../../../content/models/intent.txt");

fn facts() -> Facts {
    Facts::parse(ATTACK, FLOWS, PROGRESSION).unwrap()
}

fn intent() -> Intent {
    Intent::new(facts(), MODEL).unwrap()
}

fn ids(text: &str) -> Vec<Technique> {
    text.split_whitespace().map(|t| t.parse().unwrap()).collect()
}

#[test]
fn the_committed_facts_are_what_the_command_gives() {
    let (Some(attack), Some(flows)) = (known_answers("attack"), known_answers("attack-flow")) else {
        eprintln!("left out: 2 files of facts, for their sources are absent");
        return;
    };
    let name = |path: &std::path::Path| path.file_stem().unwrap().to_string_lossy().into_owned();
    let read = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let mut sources: Vec<_> = files_below(&flows, ".afb").iter().map(|p| (name(p), read(p))).collect();
    sources.sort();
    let learned = learn::learn(&read(&attack.join("enterprise.json")), &sources).unwrap();
    assert!(learned.attack == ATTACK && learned.flows == FLOWS, "run `cargo xtask learn intent`");
    assert!(learn::learn("{", &sources).is_err() && learn::learn("{}", &[("x".into(), "[".into())]).is_err());
}

#[test]
fn the_committed_model_is_what_the_evaluation_of_the_facts_gives() {
    let facts = facts();
    let found = evaluate::evaluate(&facts);
    assert_eq!((found.steps, found.flows, found.folds), (312, 24, 22));
    assert_eq!(model_text(&facts, &found), MODEL, "run `cargo xtask learn intent`");
    // What is claimed: above every baseline by the lower end, below the goal of 0.35.
    assert!(found.beats_baselines() && !found.reaches_goal());
    for (baseline, gain) in &found.gains {
        assert!(gain.low > 0.0, "{baseline}: {gain:?}");
    }
    for row in &found.rows {
        assert!(row.top.iter().all(|r| r.low <= r.value && r.value <= r.high), "{row:?}");
        assert!(row.top[0].value <= row.top[1].value && row.top[1].value <= row.top[2].value, "{row:?}");
    }
}

/// Four flows by hand, of which two share a fold, so that each count can be checked by eye.
#[test]
fn what_bounds_the_prediction_is_counted() {
    let attack = "technique\tT1001\timpact\ntechnique\tT1002\timpact\ntechnique\tT1003\timpact\n\
                  technique\tT1004\timpact\ntechnique\tT1005\timpact\n";
    let flows = "flow\ta\ta\t\nhas\tT1001 T1002 T1003\nedge\tT1001 T1002\nedge\tT1002 T1003\n\
                 step\tT1001 T1002\nstep\tT1001 T1002 T1003\n\
                 flow\tb\ta\t\nhas\tT1001 T1002 T1003\nedge\tT1001 T1002\nedge\tT1001 T1003\n\
                 step\tT1001 T1002\nstep\tT1001 T1003\n\
                 flow\tc\tc\t\nhas\tT1001 T1002 T1004\nedge\tT1001 T1002\nedge\tT1002 T1004\n\
                 step\tT1001 T1002\nstep\tT1001 T1002 T1004\n\
                 flow\td\td\t\nhas\tT1005 T1003\n";
    let found = bounds::bounds(&Facts::parse(attack, flows, "T1001: T1002 T1004").unwrap());
    // T1003 twice (fold d has it, but as no next step) and T1004 once.
    assert_eq!((found.never_next, found.never_had), (3, 1));
    // T1002 three times after T1001, and T1004 after it but not after the last.
    assert_eq!((found.listed, found.listed_last), (4, 3));
    // In `b` nothing follows T1002, but T1003 follows T1001, which `a` has seen too; `a` has T1003 after T1002 only.
    assert_eq!((found.with_other, found.other_has, found.other_follows), (4, 4, 3));
    let found = bounds::bounds(&facts());
    assert_eq!((found.never_next, found.never_had, found.listed, found.listed_last), (41, 36, 168, 87));
    assert_eq!((found.with_other, found.other_has, found.other_follows), (26, 14, 5));
    let [few, .., all] = &found.learned[..] else { panic!("{found:#?}") };
    assert!(few.folds < all.folds && few.by_data < all.by_data && few.chain < all.chain, "{found:#?}");
}

/// With labels that say nothing the same evaluation must find nothing: what leaks would show here.
#[test]
fn an_evaluation_of_shuffled_steps_beats_nothing() {
    let mut random = vertice_testkit::Random(5);
    let nexts: Vec<&str> =
        FLOWS.lines().filter(|l| l.starts_with("step")).map(|l| l.rsplit(' ').next().unwrap()).collect();
    let mut shuffled = String::new();
    for line in FLOWS.lines().filter(|l| !l.starts_with("edge")) {
        match line.strip_prefix("step").and_then(|_| line.rsplit_once(' ')) {
            Some((before, _)) => {
                let new = (0..1_000).map(|_| nexts[random.below(nexts.len())]).find(|n| !before.contains(n)).unwrap();
                shuffled += &format!("{before} {new}\n");
            }
            None => shuffled += &format!("{line}\n"),
        }
    }
    let found = evaluate::evaluate(&Facts::parse(ATTACK, &shuffled, PROGRESSION).unwrap());
    assert!(!found.beats_baselines(), "{found:#?}");
    assert!(found.rows[0].top[2].value < 0.25, "{found:#?}");
}

#[test]
fn a_prediction_says_what_it_rests_on_and_how_good_such_ones_are() {
    let intent = intent();
    let seen = ids("T1566.001 T1204.002 T1059.001 T9999 T1105");
    let forecast = intent.predict(&seen, 5);
    assert_eq!(forecast.predictions.len(), 5);
    assert_eq!(forecast.unknown, ids("T9999"));
    assert!(forecast.rank_only && forecast.standing.beats_baselines && forecast.standing.top5[0] < 0.35);
    for pair in forecast.predictions.windows(2) {
        assert!(pair[0].share >= pair[1].share);
    }
    for prediction in &forecast.predictions {
        assert!(!ids("T1566 T1204 T1059 T1105").contains(&prediction.technique), "{prediction:?}");
        assert!(!prediction.tactics.is_empty() && (2..=6).contains(&prediction.basis.len()), "{prediction:?}");
        for basis in &prediction.basis {
            assert!(basis.text().chars().any(|c| c.is_ascii_digit()), "{}", basis.text());
            match basis {
                Basis::Followed { flows: n, of, .. } | Basis::Shared { groups: n, of, .. } => assert!(n <= of),
                Basis::Frequency { flows, of } => assert!(flows <= of && *of == 24),
                Basis::Progression { place, .. } => assert!(*place >= 1),
            }
        }
    }
    assert_eq!(forecast, intent.predict(&seen, 5));
    // Sub-techniques count as their parents, and order matters.
    assert_eq!(intent.predict(&ids("T1566"), 9).predictions, intent.predict(&ids("T1566.002"), 9).predictions);
    assert_ne!(intent.predict(&ids("T1566 T1486"), 5).predictions, intent.predict(&ids("T1486 T1566"), 5).predictions);
    assert!(intent.predict(&[], 5).predictions.is_empty() && intent.predict(&ids("T9999"), 5).predictions.is_empty());
    assert_eq!(intent.predict(&seen, 1_000).predictions.len(), vertice_intel::limits::PREDICTIONS_MAX);
    assert_eq!(intent.predict(&vec![seen[0].clone(); 10_000], 1).predictions.len(), 1);
}

#[test]
fn a_profile_gives_counts_and_never_certainty() {
    let intent = intent();
    let seen = ids("T1566.001 T1003.001 T1021.002 T1486 T1490 T1562.001 T1055 T1027 T1207 T1542");
    let profile = intent.profile(&seen, &[r#"C:\x\MimiKatz.exe "sekurlsa::logonpasswords""#, "net view"]);
    assert_eq!(profile.skill, Skill::High);
    assert!(profile.tools_seen.iter().any(|t| t.id == "S0002"), "{profile:#?}");
    assert!(!profile.resembles.is_empty() && profile.resembles.len() <= 5);
    assert!(profile.objectives.iter().any(|o| o.observed && o.groups <= o.of), "{profile:#?}");
    for reason in &profile.reasons {
        assert!(reason.contains(|c: char| c.is_ascii_digit()), "{reason}");
        assert!(!["certain", "is attributed", "is the work"].iter().any(|w| reason.contains(w)), "{reason}");
    }
    let nothing = intent.profile(&[], &[]);
    assert_eq!((nothing.skill, nothing.resembles.len(), nothing.objectives.len()), (Skill::Unknown, 0, 0));
    assert_eq!(intent.profile(&ids("T1059 T1105 T1566"), &[]).skill, Skill::Low);
    let (used, of) = intent.used_by(&"T1059.001".parse().unwrap());
    assert!(used > 50 && used < of, "{used} of {of}");
    assert_eq!(
        intent.spread_text(&"T9999".parse().unwrap()),
        format!("T9999 is seen in 0 of {of} groups and campaigns")
    );
}

#[test]
fn damaged_facts_are_refused_by_file_and_line() {
    let parse = |attack: &str, flows: &str, progression: &str| Facts::parse(attack, flows, progression).err();
    for (attack, flows, progression, wanted) in [
        ("technique\tX1\timpact", "", "", "attack.txt line 1"),
        ("technique\tT1001\tnowhere", "", "", "attack.txt line 1"),
        ("technique\tT1001\timpact\ntechnique\tT1001\timpact", "", "", "attack.txt line 2"),
        ("gruppe\tG1\tx\t", "", "", "attack.txt line 1"),
        ("group\tG1\tx\tT1001", "", "", "attack.txt line 1"),
        ("", "edge\t", "", "flows.txt line 1"),
        ("", "flow\ta\ta\tG1", "", "flows.txt line 1"),
        ("technique\tT1001\timpact", "flow\ta\ta\t\nstep\tT1001", "", "flows.txt line 2"),
        ("technique\tT1001\timpact", "", "T1001 T1001", "progression.txt line 1"),
        ("technique\tT1001\timpact", "", "\nT1001: T1002", "progression.txt line 2"),
    ] {
        let error = parse(attack, flows, progression).unwrap().to_string();
        assert!(error.starts_with(wanted), "{error}");
    }
    for (from, to) in
        [("weight\tfollowed", "weight\tfoo"), ("0.1", "x"), ("evaluated", "valued"), ("top5\tmodel", "top5\tm")]
    {
        assert!(Intent::new(facts(), &MODEL.replace(from, to)).is_err(), "{from}");
    }
    let worse = MODEL.replace("top5\ttechnique frequency\t0.1", "top5\ttechnique frequency\t0.9");
    assert!(!Intent::new(facts(), &worse).unwrap().standing().beats_baselines);
    let mut random = vertice_testkit::Random(3);
    for _ in 0..200 {
        let damaged = random.mutated(FLOWS.as_bytes());
        let _ = Facts::parse(ATTACK, &String::from_utf8_lossy(&damaged), PROGRESSION);
    }
}
