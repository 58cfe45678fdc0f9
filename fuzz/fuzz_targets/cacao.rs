//! Any text as a CACAO document: it is refused, or comes back equal. With a `y` before it, as a playbook that is exported.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vertice_engine::ContentFile;
use vertice_engine::decide::cacao::{export, import};

fuzz_target!(|text: &str| {
    let file = |path: &str, text: &str| ContentFile { path: path.to_owned(), text: text.to_owned() };
    if let Some(text) = text.strip_prefix('y') {
        if let Ok(exported) = export(&file("fuzz.yml", text)) {
            assert!(exported.document.is_object() || text.contains("cacao"));
        }
        return;
    }
    match import(&file("fuzz.json", text)) {
        Err(errors) => assert!(!errors.is_empty() && errors.iter().all(|error| !error.reason.is_empty())),
        Ok(imported) => {
            let there = export(&file(&imported.file_name, &imported.text)).expect("what was imported is exported");
            let again = import(&file("fuzz.json", &there.text())).expect("what was exported is imported");
            assert_eq!(imported, again);
        }
    }
});
