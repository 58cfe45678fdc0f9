//! CACAO playbooks of others, and damaged ones: read whole and given back equal, or refused by their path.

use std::path::{Path, PathBuf};

use vertice_engine::decide::cacao::{export, import};
use vertice_engine::{ContentFile, limits};
use vertice_testkit::{Random, files_below, known_answers, long, root};

/// What in the name of a file of the known answers says that it is no playbook, and what is told of it.
const INVALID: [(&str, &str); 3] = [
    ("changed-playbook", "`workflow` is a list, and should be steps by their ids"),
    ("infinite_playbook", "the steps go in a circle"),
    ("invalid_email_playbook", ".contact.email.work` is the text `banana@business.com;`shh hack``"),
];

fn read(path: &Path) -> ContentFile {
    ContentFile { path: path.display().to_string(), text: std::fs::read_to_string(path).unwrap() }
}

fn shipped() -> Vec<PathBuf> {
    let all = files_below(&root().join("content/playbooks"), ".yml");
    all.into_iter().filter(|path| !path.components().any(|c| c.as_os_str() == "cases")).collect()
}

#[test]
fn playbooks_of_others_come_back_equal_and_broken_ones_are_refused_by_their_path() {
    let Some(folder) = known_answers("cacao") else {
        return println!("left out: the CACAO playbooks of ../shared/data/cacao, which is not there");
    };
    let (mut equal, mut refused) = (0, 0);
    for path in files_below(&folder, ".json") {
        let file = read(&path);
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let invalid = INVALID.iter().find(|(known, _)| *known == name);
        match (import(&file), invalid) {
            (Ok(imported), None) => {
                let given: serde_json::Value = serde_json::from_str(&file.text).unwrap();
                let written = ContentFile { path: imported.file_name.clone(), text: imported.text.clone() };
                assert_eq!(export(&written).unwrap().document, given, "{name}");
                assert!(!imported.unmapped.is_empty(), "{name}: nothing of others acts by itself");
                equal += 1;
            }
            (Err(errors), Some((_, wanted))) => {
                assert!(errors.iter().any(|error| error.reason.contains(wanted)), "{name}: {errors:#?}");
                refused += 1;
            }
            (got, _) => panic!("{name}: {got:#?}"),
        }
    }
    assert_eq!((equal, refused), (4, 3));
}

#[test]
fn damaged_documents_are_refused_by_place_or_come_back_equal() {
    let mut seeds: Vec<String> = shipped().iter().map(|path| export(&read(path)).unwrap().text()).collect();
    assert_eq!(seeds.len(), 4);
    seeds.extend(
        known_answers("cacao").iter().flat_map(|folder| files_below(folder, ".json")).map(|path| read(&path).text),
    );
    let mut random = Random(41);
    let (mut good, mut refused) = (0, 0);
    for round in 0..if long() { 100_000 } else { 2_000 } {
        let seed = &seeds[random.below(seeds.len())];
        let text = if round % 2 == 0 {
            String::from_utf8_lossy(&random.mutated(seed.as_bytes())).into_owned()
        } else {
            words_swapped(&mut random, seed)
        };
        match import(&ContentFile { path: "x.json".to_owned(), text: text.clone() }) {
            Ok(imported) => {
                let given: serde_json::Value = serde_json::from_str(&text).unwrap();
                let written = ContentFile { path: imported.file_name, text: imported.text };
                let back = export(&written).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}\n{}", written.text));
                assert_eq!(back.document, given, "{text}\n{}", written.text);
                good += 1;
            }
            Err(errors) => {
                assert!(!errors.is_empty() && errors.len() <= limits::PLAYBOOK_ERRORS_MAX);
                for error in errors {
                    assert!(!error.reason.contains(char::is_control), "{error:?}");
                    assert!(error.reason.chars().count() < 1_000, "{error}");
                }
                refused += 1;
            }
        }
    }
    assert!(good > 20 && refused > 500, "{good} came back, {refused} were refused");
}

/// The document with one word of its quoted words in the place of another: still JSON, and seldom CACAO.
fn words_swapped(random: &mut Random, seed: &str) -> String {
    let words: Vec<&str> = seed.split('"').collect();
    let (from, to) = (random.below(words.len() / 2) * 2 + 1, random.below(words.len() / 2) * 2 + 1);
    let mut swapped = words.clone();
    swapped[from] = words[to];
    swapped.join("\"")
}
