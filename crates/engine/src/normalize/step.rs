//! Steps at work: what a mapping derives, from the fields that are there.

use std::borrow::Cow;

use super::draft::{Draft, Part};
use super::field::Field;
use super::spec::{As, LongSource, Source, Step};
use super::value::Held;
use super::words::Pattern;
use crate::limits::ARGUMENTS_MAX;

impl Step {
    /// Does the step if its condition holds.
    pub(super) fn apply<'a>(&'a self, draft: &mut Draft<'a>) {
        if self.when.holds(draft) && !self.unless.any_holds(draft) {
            self.derive(draft);
        }
    }

    /// Does the step.
    pub(super) fn derive<'a>(&'a self, draft: &mut Draft<'a>) {
        if let Some(pairs) = &self.pairs {
            pairs.apply(draft);
        }
        for extract in &self.extract {
            if let Some(text) = draft.text(&extract.from) {
                extract.regex.apply(text, draft);
            }
        }
        for (field, constant) in &self.set.0 {
            draft.put(field, constant.as_str().into());
        }
        for (field, source) in &self.fields.0 {
            if draft.get(field).is_none()
                && let Some(value) = source.long.value(draft)
            {
                draft.put(field, value);
            }
        }
        draft.ask_entity(&self.entity);
        if let Some(log_source) = &self.log_source {
            for (part, source) in [
                (Part::Product, &log_source.product),
                (Part::Service, &log_source.service),
                (Part::Category, &log_source.category),
            ] {
                belong(part, source.as_ref(), draft);
            }
        }
        if let Some(switch) = &self.switch
            && let Some(value) = draft.text(&switch.on)
            && let Some(step) = switch.cases.get(&value)
        {
            step.apply(draft);
        }
        for step in &self.steps {
            step.apply(draft);
        }
    }

    /// The fields that it may derive by itself, but for those of `pairs`.
    pub(super) fn derived(&self) -> impl Iterator<Item = &Field> {
        let patterns = self.regex.iter().chain(self.extract.iter().map(|extract| &extract.regex));
        let copies = self.fields.0.iter().map(|(field, _)| field);
        patterns.flat_map(Pattern::fields).chain(self.set.0.iter().map(|(field, _)| field)).chain(copies)
    }
}

fn belong<'a>(part: Part, source: Option<&'a Source>, draft: &mut Draft<'a>) {
    match source {
        None => {}
        Some(Source { short: true, long }) => {
            for name in &long.from.0 {
                draft.belongs(part, Cow::Borrowed(&name.name));
            }
        }
        Some(Source { short: false, long }) => {
            if let Some(value) = long.value(draft) {
                draft.belongs(part, value.to_text());
            }
        }
    }
}

impl LongSource {
    /// The value, if there is one.
    fn value<'a>(&'a self, draft: &Draft<'a>) -> Option<Held<'a>> {
        let found = self.from.0.iter().filter_map(|field| draft.get(field)).find(|value| value.says_something());
        let joined = || self.join.as_deref().and_then(|stem| arguments(stem, draft)).map(Held::from);
        let value = match (&self.map, found.cloned().or_else(joined)) {
            (None, Some(value)) => value,
            (Some(map), Some(value)) => {
                let known = map.get(&value.first_text().unwrap_or_default());
                known.or(self.otherwise.as_ref())?.as_str().into()
            }
            (_, None) => self.otherwise.as_deref()?.into(),
        };
        match self.shape {
            None => Some(value),
            Some(shape) => shape.of(value.first_text().unwrap_or_default()),
        }
    }
}

/// `a0 a1 a2 …`; an argument that the audit system had to split is `a1[0] a1[1] …`.
fn arguments(stem: &str, draft: &Draft<'_>) -> Option<String> {
    let word = |name: String| draft.named(&name).filter(|value| !matches!(value, Held::Null))?.first_text();
    let mut words = Vec::new();
    while words.len() < ARGUMENTS_MAX {
        let n = words.len();
        if let Some(word) = word(format!("{stem}{n}")) {
            words.push(word);
            continue;
        }
        let pieces: Vec<Cow<'_, str>> = (0..ARGUMENTS_MAX).map_while(|i| word(format!("{stem}{n}[{i}]"))).collect();
        if pieces.is_empty() {
            break;
        }
        words.push(pieces.concat().into());
    }
    (!words.is_empty()).then(|| words.join(" "))
}

impl As {
    fn of<'a>(self, text: Cow<'a, str>) -> Option<Held<'a>> {
        let last = |text: Cow<'a, str>, ends: &[char]| match text {
            Cow::Borrowed(text) => Held::from(text.rsplit(ends).next().unwrap_or(text)),
            Cow::Owned(text) => Held::from(text.rsplit(ends).next().unwrap_or(&text).to_owned()),
        };
        match self {
            As::Account => Some(last(text, &['\\'])),
            As::FileName => Some(last(text, &['\\', '/'])),
            As::Integer => text.trim().parse().ok().map(Held::Int),
            As::Lower => Some(text.to_lowercase().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(step: &str, fields: &[(&str, &str)], expected: &str) {
        let step: Step = super::super::words::yaml(step).unwrap();
        let mut draft = Draft::default();
        for (name, value) in fields {
            draft.put_named(*name, (*value).into());
        }
        step.apply(&mut draft);
        let sources = serde_json::to_string(&draft.log_sources()).unwrap();
        let derived = draft.fields();
        let shown: Vec<String> = derived
            .iter()
            .filter(|(n, _)| !fields.iter().any(|(given, _)| n == given))
            .map(|(n, v)| format!("{n}={}", v.to_text()))
            .collect();
        assert_eq!(format!("{} {sources}", shown.join(" ")), expected);
    }

    #[test]
    fn values_from_fields() {
        check(
            "fields: {a: x, b: [none, dash, y], c: {from: x, map: {ONE: 1st}}, d: {from: x, map: {two: b}, else: other},
              e: {from: none, else: gone}, f: {from: x, map: {two: b}}, g: {from: n, as: integer}, h: {from: x, as: integer},
              i: {from: p, as: file_name}, j: {from: p, as: account}, k: {from: x, as: lower}}",
            &[("x", "One"), ("y", "Two"), ("dash", "-"), ("n", " 7"), ("p", "C:\\d\\e.exe")],
            "a=One b=Two c=1st d=other e=gone g=7 i=e.exe j=e.exe k=one [{}]",
        );
    }

    #[test]
    fn arguments_become_a_command_line() {
        let split = [("a0", "sh"), ("a1[0]", "ab"), ("a1[1]", "cd"), ("a2", "-c"), ("a4", "lost")];
        check("fields: {c: {join: a}, d: {join: z}}", &split, "c=sh abcd -c [{}]");
    }

    #[test]
    fn conditions_switches_and_log_sources() {
        let step = "{when: {x: one}, unless: {y: two}, set: {s: '1'},
            log_source: {product: linux, service: [a, b], category: {from: x}},
            switch: {on: x, cases: {'zero, ONE': {set: {t: '2'}, steps: [{when: {s: '9'}, set: {u: '3'}}]}}}}";
        check(
            step,
            &[("x", "one")],
            r#"s=1 t=2 [{"category":"one","product":"linux","service":"a"},{"category":"one","product":"linux","service":"b"}]"#,
        );
        check(step, &[("x", "one"), ("y", "two")], " [{}]");
        check("{log_source: {service: {from: none}}}", &[("x", "1")], " [{}]");
        assert!(super::super::words::yaml::<Step>("{switch: {on: x, cases: {'1, 1': {}}}}").is_err());
        assert!(super::super::words::yaml::<Step>("{fields: {a: 5.5}}").is_err());
    }

    #[test]
    fn extracts_fields_from_fields() {
        let step =
            r"{extract: [{from: x, regex: '^(?<source.ip>[^:]+):(?<source.port>\d+)$'}, {from: none, regex: x}]}";
        check(step, &[("x", "192.0.2.1:80")], "source.ip=192.0.2.1 source.port=80 [{}]");
        check(step, &[("x", "words")], " [{}]");
    }
}
