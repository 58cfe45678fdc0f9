//! Any text as a narrative: what is accepted has no digit that the evidence does not have.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vertice_intel::narrative::{Exhibit, check, quotable, sentences};

fuzz_target!(|text: &str| {
    let evidence = [Exhibit {
        id: "d".into(),
        addresses: ["1.1.1.1".parse().expect("an address")].into(),
        counts: [1, 11, 111].into(),
        techniques: ["T1111".parse().expect("a technique")].into(),
        names: ["ws".to_owned()].into(),
        ..Exhibit::default()
    }];
    let sentences = sentences(text);
    if check(&sentences, &evidence).is_ok() {
        for sentence in sentences {
            // Names of things, which claim nothing.
            let terms = ["md5", "sha1", "sha224", "sha256", "sha384", "sha512", "ipv4", "ipv6", "base64"];
            let claims = terms.iter().fold(sentence.text.to_lowercase(), |text, term| text.replace(term, "_"));
            assert!(!claims.contains(['0', '2', '3', '4', '5', '6', '7', '8', '9']), "{sentence:?}");
        }
    }
    assert_eq!(quotable(&quotable(text)), quotable(text));
});
