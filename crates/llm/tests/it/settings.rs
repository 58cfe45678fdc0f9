//! What is configured, and what is refused.

use std::time::Duration;

use vertice_llm::{Models, Provider, Settings, Skip, Spent, Why};

use crate::server::{Server, chat};
use crate::world::{KEY, environment, question, told};

#[test]
fn the_example_is_valid_and_whole_settings_are_read_again() {
    let settings: Settings = toml::from_str(include_str!("../../src/settings.toml")).unwrap();
    settings.check().unwrap();
    assert_eq!((settings.models.len(), settings.model.as_str()), (3, "local"));
    for settings in [settings, Settings::default()] {
        let text = toml::to_string(&settings).unwrap();
        assert_eq!(toml::from_str::<Settings>(&text).unwrap(), settings);
    }
}

#[test]
fn what_can_not_be_used_is_refused_by_its_key() {
    let model = "[models.m]\nprovider = \"compatible\"\nmodel = \"x\"\n";
    for (text, wanted) in [
        (format!("{model}base_ur = \"x\""), "base_ur"),
        (format!("{model}key = \"sk-written-out\""), "key"),
        (model.to_owned(), "models.m.base_url: it is needed"),
        (format!("{model}base_url = \"http://api.example.org/v1\""), "without TLS others can read along"),
        (format!("{model}base_url = \"http://203.0.113.9\""), "without TLS"),
        (format!("{model}base_url = \"https://u:p@api.example.org\""), "a key is given as key"),
        (format!("{model}base_url = \"https://api.example.org/?key=x\""), "it has no query"),
        (format!("{model}base_url = \"ftp://x\""), "it begins with https"),
        (format!("{model}base_url = \"nonsense\""), "models.m.base_url"),
        (format!("{model}attempts = 0"), "models.m.attempts: it is 1 to 10"),
        (format!("{model}deadline_s = 301"), "models.m.deadline_s: it is 1 to 300"),
        (format!("{model}usd_per_million_in = -1.0"), "models.m.usd_per_million_in"),
        (format!("model = \"n\"\n{model}"), "model: there is no model \"n\""),
        (format!("purposes = {{ narrative = \"m\" }}\n{model}"), "unknown field `purposes`"),
        ("[models.\"a b\"]\nprovider = \"anthropic\"\nmodel = \"x\"".to_owned(), "a name has"),
        ("[budget]\nusd_per_day = 1e-9".to_owned(), "budget.usd_per_day"),
        ("[budget]\nusd_per_hour = nan".to_owned(), "budget.usd_per_hour"),
        ("record = \"a\"\nreplay = \"b\"".to_owned(), "record: it can not be together"),
        (format!("redis = \"redis://x\"\n{model}base_url = \"http://localhost\""), "redis"),
        (format!("{model}base_url = \"http://localhost\"\nca_file = \"/nonexistent\""), "models.m.ca_file: reading"),
        (format!("{model}base_url = \"http://localhost\"\n[redaction]\nwords = [\" a \"]"), "redaction: a word"),
    ] {
        let (_, world) = told();
        let made = toml::from_str::<Settings>(&text).map_err(|e| e.to_string());
        let made = made.and_then(|s| Models::new(&s, &environment, world, Spent::default()).map_err(|e| e.to_string()));
        let error = made.expect_err(&text);
        assert!(error.contains(wanted), "{text} gave {error}");
    }
}

/// What the environment has, and the models that it makes.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, Provider)]);

#[test]
fn the_environment_is_enough_and_nothing_is_fine_too() {
    let (_, world) = told();
    let server = Server::start(vec![chat("ok")]);
    let url = server.url();
    let cases: [Case<'_>; 6] = [
        (&[], &[]),
        (&[("OPENAI_API_KEY", " ")], &[]),
        (&[("OPENAI_API_KEY", KEY)], &[("openai", Provider::OpenaiChat)]),
        (&[("OPENAI_BASE_URL", &url)], &[("openai", Provider::Compatible)]),
        (
            &[("OPENAI_BASE_URL", "https://api.openai.com/v1"), ("OPENAI_API_KEY", KEY)],
            &[("openai", Provider::OpenaiChat)],
        ),
        (
            &[
                ("ANTHROPIC_API_KEY", KEY),
                ("ANTHROPIC_BASE_URL", &url),
                ("OPENAI_BASE_URL", &url),
                ("OPENAI_API_KEY", KEY),
            ],
            &[("anthropic", Provider::Anthropic), ("openai", Provider::Compatible)],
        ),
    ];
    for (variables, wanted) in cases {
        let from = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        let models = Models::new(&Settings::default(), &from, world.clone(), Spent::default()).unwrap();
        let names: Vec<_> = models.names().map(|(name, provider, _)| (name, provider)).collect();
        assert_eq!(names, wanted, "{variables:?}");
        if wanted.is_empty() {
            let error = models.complete(&question(&world, "?")).unwrap_err();
            assert_eq!(error.why, Why::Skipped(Skip::NoModel));
            assert!(models.check(Duration::from_secs(1)).is_empty());
        } else if variables.iter().any(|(_, v)| *v == url) && wanted.len() == 1 {
            assert_eq!(models.complete(&question(&world, "?")).unwrap().text, "ok");
        }
    }
    // Without a key the header is not there; with one it goes to the place that the environment names.
    assert!(!server.asked()[0].headers.to_lowercase().contains("authorization"));
}
