//! The playbooks that ship, and the cases beside them.

use crate::content::ContentFile;
use crate::decide::{Playbook, Playbooks, cases};

/// The files of a folder of playbooks, by name.
fn files(folder: &str) -> Vec<ContentFile> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../content/playbooks");
    let mut files = Vec::new();
    for entry in std::fs::read_dir(format!("{root}/{folder}")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_file() {
            let name = entry.file_name().into_string().unwrap();
            let text = std::fs::read_to_string(entry.path()).unwrap();
            files.push(ContentFile { path: format!("playbooks/{folder}{name}"), text });
        }
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// The text of the playbooks that ship.
pub(super) fn texts() -> Vec<ContentFile> {
    files("")
}

#[test]
fn the_shipped_playbooks_hold_their_cases() {
    let playbooks = files("");
    let cases = files("cases/");
    let ids: Vec<_> = playbooks.iter().map(|f| Playbook::read(f).unwrap().id().to_owned()).collect();
    let contract =
        ["brute_force_response", "data_exfiltration_block", "lateral_movement_isolation", "malware_containment"];
    assert_eq!(ids, contract);
    assert_eq!(cases.len(), playbooks.len(), "every playbook has its cases, and every file of cases its playbook");
    for (playbook, cases) in playbooks.iter().zip(&cases) {
        let held = cases::check(playbook, cases).unwrap_or_else(|errors| panic!("{errors:#?}"));
        assert!(held >= 2, "{}", cases.path);
    }
}

#[test]
fn everything_heavy_in_them_asks_a_person() {
    let files = texts();
    let mut refused = Vec::new();
    let playbooks = Playbooks::compile(&files.iter().collect::<Vec<_>>(), &mut refused);
    assert_eq!(refused, []);
    for playbook in playbooks.iter() {
        for action in playbook.summary().actions {
            assert!(action.risk != "high" || action.hotl_required, "{} {}", playbook.id(), action.action_id);
            assert!(action.inverse.is_some(), "{} {} can be undone", playbook.id(), action.action_id);
            // Without a person nothing lasts longer than a reflex.
            assert!(action.hotl_required || action.lease_s.is_none_or(|s| s <= crate::limits::REFLEX_S_MAX));
        }
    }
    assert!(playbooks.get("malware_containment").is_some() && playbooks.get("nothing").is_none());
}

#[test]
fn cases_that_do_not_hold_are_named_with_their_line() {
    let playbook = texts().remove(0);
    let check = |text: &str| {
        let cases = ContentFile { path: "playbooks/cases/x.yml".into(), text: text.into() };
        let errors = cases::check(&playbook, &cases).unwrap_err();
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let whole = "playbooks/cases/x.yml:0: should have a threat for which it runs and one for which it does not";
    for (text, wanted) in [
        ("a: 1", "x.yml:1: should be a list of cases"),
        ("- [", "x.yml:1: is no YAML"),
        ("- 1", "x.yml:1: a case has a title, a threat and what is expected"),
        ("- {title: a, threat: b, expect: [], note: d}", "x.yml:1: a case has no `note`"),
        ("- {title: a, expect: []}", "x.yml:1: a case needs `threat`, a text"),
        ("- {title: a, threat: '- low 0.5', expect: x}", "x.yml:1: a case needs `expect`, a list of texts"),
        ("- {title: a, threat: '- low 0.5', expect: [1]}", "x.yml:1: a case needs `expect`, a list of texts"),
        ("- {title: a, threat: '- low', expect: []}", "lacks its confidence"),
        ("- {title: a, threat: '- low 7', expect: []}", "no number from 0 to 1"),
        ("- {title: a, threat: '- severe 0.5', expect: []}", "is no severity"),
        ("- {title: a, threat: '- low 0.5 ip', expect: []}", "`ip` is no key=value"),
        ("- {title: a, threat: '- low 0.5 ip=x', expect: []}", "`ip=x` is none"),
        ("- {title: a, threat: '- low 0.5 host=-', expect: []}", "`host=-` is none"),
        ("- {title: a, threat: '- low 0.5 user=-', expect: []}", "`user=-` is none"),
        ("- {title: a, threat: '- low 0.5 technique=x', expect: []}", "`technique=x` is none"),
        ("- {title: a, threat: '- low 0.5 tactic=x', expect: []}", "`tactic=x` is none"),
        ("- {title: a, threat: '- low 0.5 detections=x', expect: []}", "`detections=x` is none"),
        ("- {title: a, threat: '- low 0.5 colour=x', expect: []}", "`colour` is nothing of a threat"),
        (
            "- {title: a, threat: '- low 0.5', expect: []}\n- {title: b, threat: '- low 0.5', expect: [c]}",
            "x.yml:2: `b`: got []",
        ),
        ("- {title: a, threat: '- low 0.5', expect: []}", whole),
    ] {
        assert!(check(text).contains(wanted), "{text}: {}", check(text));
    }
    let bad = ContentFile { path: "playbooks/bad.yml".into(), text: "a: 1".into() };
    assert!(cases::check(&bad, &bad).is_err());
}
