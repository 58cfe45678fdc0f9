//! A mapping, compiled.

use std::borrow::Cow;
use std::sync::Arc;

use regex::{RegexSet, RegexSetBuilder};
use vertice_model::limits::{EVENT_ID_BYTES_MAX, EVENT_YEARS};
use vertice_model::{Refusal, Timestamp};

use super::draft::Draft;
use super::field::Field;
use super::spec::{Kind, Shape, Spec, Step};
use super::syslog::Header;
use super::value::Held;
use super::words::yaml;
use crate::content::{ContentError, ContentFile};
use crate::limits::MAPPING_REGEX_BYTES_MAX;

/// A mapping, compiled.
#[derive(Clone, Debug)]
pub(super) struct Mapping {
    /// The stem of its file's name.
    pub(super) name: Arc<str>,
    /// What the file says.
    pub(super) spec: Spec,
    /// All its patterns at once, to find the first that fits.
    patterns: RegexSet,
    /// Whether its steps must be taken to know that a line is not refused.
    pub(super) refuses_by_steps: bool,
}

impl Mapping {
    /// Compiles a mapping file.
    pub(super) fn compile(file: &ContentFile) -> Result<Mapping, ContentError> {
        let refuse = |line, reason| ContentError { path: file.path.clone(), line, column: 0, reason };
        let spec: Spec = yaml(&file.text).map_err(|error| {
            let line = error.location().map_or(0, |at| at.line());
            refuse(line, error.to_string().lines().next().unwrap_or_default().to_owned())
        })?;
        checked(&spec).map_err(|reason| refuse(0, reason))?;
        let sources = spec.patterns.iter().filter_map(|step| step.regex.as_ref()).map(|p| p.regex.as_str());
        let patterns = RegexSetBuilder::new(sources)
            .size_limit(MAPPING_REGEX_BYTES_MAX)
            .dfa_size_limit(MAPPING_REGEX_BYTES_MAX)
            .build()
            .map_err(|error| refuse(0, format!("`patterns` together: {error}")))?;
        let stem = file.path.rsplit('/').next().unwrap_or(&file.path);
        let name = stem.trim_end_matches(".yaml").trim_end_matches(".yml").into();
        Ok(Mapping { name, refuses_by_steps: refuses_by_steps(&spec), spec, patterns })
    }

    /// Whether a JSON object is one of its own.
    pub(super) fn recognises(&self, draft: &Draft<'_>) -> bool {
        self.spec
            .recognise
            .iter()
            .any(|way| way.has.iter().all(|field| draft.get(field).is_some()) && way.holds.holds(draft))
    }

    /// Whether messages of a program may be its own.
    pub(super) fn reads_program(&self, program: &str) -> bool {
        self.spec.programs.iter().any(|glob| glob.matches(program) || (program.is_empty() && glob.matches("-")))
    }

    /// Whether it reads whatever any program writes.
    pub(super) fn takes_all(&self) -> bool {
        self.spec.others && self.reads_program("")
    }

    /// Gives a JSON object's fields the names that the steps use.
    pub(super) fn prepare(&self, draft: &mut Draft<'_>) {
        if !self.spec.hoist.is_empty() {
            draft.hoist(&self.spec.hoist);
        }
        for (names, values) in &self.spec.zip.0 {
            draft.zip(names, values);
        }
    }

    /// Reads a message; `None` if it is none of its own. Without `derive` only that is found out.
    pub(super) fn text<'a>(&'a self, message: &'a str, header: Option<&Header<'a>>, derive: bool) -> Option<Draft<'a>> {
        if self.spec.others && !derive {
            return Some(Draft::default());
        }
        let step = self.patterns.matches(message).iter().next().map(|i| &self.spec.patterns[i]);
        if step.is_none() && !self.spec.others {
            return None;
        }
        let mut draft = Draft::default();
        if !derive {
            return Some(draft);
        }
        draft.put_named("message", message.into());
        if let Some(header) = header {
            describe(header, &mut draft);
        }
        if let Some(step) = step {
            if let Some(pattern) = &step.regex {
                pattern.apply(Cow::Borrowed(message), &mut draft);
            }
            step.apply(&mut draft);
        }
        Some(draft)
    }

    /// Whether the fields are what they must be.
    pub(super) fn check(&self, draft: &Draft<'_>) -> Result<(), Refusal> {
        let required = self.spec.require.0.iter().map(|(field, kind)| (field, *kind, true));
        let allowed = self.spec.allow.0.iter().map(|(field, kind)| (field, *kind, false));
        for (field, kind, must) in required.chain(allowed) {
            let why = match draft.get(field) {
                None | Some(Held::Null) if !must => continue,
                None | Some(Held::Null) => "is missing",
                Some(value) if kind.fits(value) => continue,
                Some(_) => "is something else",
            };
            let meant = kind.meant();
            return Err(Refusal::new(format!("{}: `{}` {why}; it must be {meant}", self.name, field.name)));
        }
        Ok(())
    }

    /// When it happened; `None` if the event does not say.
    pub(super) fn time(&self, draft: &Draft<'_>, received: Timestamp) -> Result<Option<Timestamp>, Refusal> {
        for time in &self.spec.time {
            let Some(value) = draft.get(&time.field).filter(|value| !matches!(value, Held::Null)) else { continue };
            let read = time.formats.iter().find_map(|format| format.read(value, received));
            return match read {
                Some(at) => Ok(Some(at)),
                None => {
                    let text: String = value.to_text().chars().take(64).collect();
                    let (name, field) = (&self.name, &time.field.name);
                    let (from, to) = (EVENT_YEARS.start(), EVENT_YEARS.end());
                    let reason = format!(
                        "{name}: the time in `{field}` can not be read: {text:?}; it must be of the years {from} to {to}"
                    );
                    Err(Refusal::new(reason))
                }
            };
        }
        Ok(None)
    }

    /// The sender's own id; `None` if the log source has none.
    pub(super) fn event_id<'a>(&self, draft: &Draft<'a>) -> Result<Option<Cow<'a, str>>, Refusal> {
        let Some(id) = self.spec.event_id.as_ref().and_then(|field| draft.text(field)) else { return Ok(None) };
        if id.len() > EVENT_ID_BYTES_MAX {
            let reason = format!("{}: the event's id is longer than {EVENT_ID_BYTES_MAX} bytes", self.name);
            return Err(Refusal::new(reason));
        }
        Ok(Some(id))
    }
}

/// Whether a line could be refused for what its mapping derives, and not only for what stands there.
fn refuses_by_steps(spec: &Spec) -> bool {
    let times = spec.time.iter().map(|time| &time.field);
    let text = spec.reads == Shape::Text;
    let read: Vec<&Field> = times
        .chain(&spec.event_id)
        // What a text must have, its patterns derive.
        .chain(spec.require.0.iter().chain(&spec.allow.0).filter(|_| text).map(|(field, _)| field))
        .collect();
    let mut steps: Vec<&Step> = spec.patterns.iter().chain(&spec.steps).collect();
    while let Some(step) = steps.pop() {
        if !read.is_empty() && step.pairs.is_some() || step.derived().any(|field| read.contains(&field)) {
            return true;
        }
        steps.extend(&step.steps);
        steps.extend(step.switch.iter().flat_map(|switch| switch.cases.values()).map(|case| &**case));
    }
    // A syslog header's words are derived too.
    spec.reread.is_some() || text && !read.is_empty()
}

impl Kind {
    fn fits(self, value: &Held<'_>) -> bool {
        match self {
            Kind::Text => value.as_text().is_some_and(|text| !text.trim().is_empty()),
            Kind::Ip => value.as_text().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok()),
            Kind::Integer => matches!(value, Held::Int(_)),
            // An object is flat by now: a value under its own name is something else.
            Kind::Object => false,
        }
    }

    fn meant(self) -> &'static str {
        match self {
            Kind::Text => "a text that is not empty",
            Kind::Ip => "an IPv4 or IPv6 address",
            Kind::Integer => "a whole number",
            Kind::Object => "an object",
        }
    }
}

/// What a syslog header says, as fields.
fn describe<'a>(header: &Header<'a>, draft: &mut Draft<'a>) {
    for (name, value) in [("host.name", header.host), ("process.name", header.program), ("process.pid", header.pid)] {
        if let Some(value) = value {
            draft.put_named(name, value.into());
        }
    }
    if let Some(priority) = header.priority {
        draft.put_named("syslog.facility", Held::Int(i64::from(priority / 8)));
        draft.put_named("syslog.severity", Held::Int(i64::from(priority % 8)));
    }
    for (name, value) in &header.data {
        draft.put_named(format!("syslog.{name}"), value.clone().into());
    }
}

/// What the types can not say of a mapping.
fn checked(spec: &Spec) -> Result<(), String> {
    match spec.reads {
        Shape::Json => {
            if spec.recognise.is_empty() {
                return Err("`recognise` is empty: no object would ever be read".to_owned());
            }
            if !spec.patterns.is_empty() || !spec.programs.is_empty() || spec.plain || spec.others {
                return Err("`patterns`, `programs`, `plain` and `others` are for text".to_owned());
            }
        }
        Shape::Text => {
            if spec.programs.is_empty() && !spec.plain {
                return Err("neither `programs` nor `plain`: no line would ever be read".to_owned());
            }
            if !spec.recognise.is_empty() || !spec.hoist.is_empty() || !spec.zip.0.is_empty() {
                return Err("`recognise`, `hoist` and `zip` are for JSON".to_owned());
            }
        }
    }
    if spec.patterns.iter().any(|step| step.regex.is_none()) {
        return Err("each of `patterns` must have a `regex`".to_owned());
    }
    let fields = spec.steps.iter().any(has_regex) || spec.patterns.iter().any(|p| p.steps.iter().any(has_regex));
    if fields {
        return Err("`regex` is for `patterns`; within a step it is `extract`".to_owned());
    }
    Ok(())
}

fn has_regex(step: &Step) -> bool {
    let cases = step.switch.iter().flat_map(|switch| switch.cases.values());
    step.regex.is_some() || step.steps.iter().any(has_regex) || cases.into_iter().any(|case| has_regex(case))
}

#[cfg(test)]
mod tests {
    use super::super::Mappings;
    use super::*;

    fn refused(text: &str) -> String {
        let file = ContentFile { path: "mappings/x.yml".to_owned(), text: text.to_owned() };
        let mut refused = Vec::new();
        assert_eq!(Mappings::compile(&[&file], &mut refused).names().count(), 0, "{text}");
        refused.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn a_bad_mapping_is_refused_with_its_line() {
        for (text, why) in [
            ("description: x\nreads: json\nfolds: 1\n", "mappings/x.yml:3: "),
            ("description: x\nreads: xml\n", "mappings/x.yml:2: "),
            ("reads: json\n", "description"),
            ("description: x\nreads: json\n", "`recognise` is empty"),
            ("description: x\nreads: json\nplain: true\nrecognise: [{has: [a]}]\n", "are for text"),
            ("description: x\nreads: text\n", "neither `programs` nor `plain`"),
            ("description: x\nreads: text\nplain: true\nhoist: [a]\n", "are for JSON"),
            ("description: x\nreads: text\nplain: true\npatterns: [{set: {a: b}}]\n", "must have a `regex`"),
            (
                "description: x\nreads: text\nplain: true\nsteps:\n  - steps: [{switch: {on: a, cases: {1: {regex: x}}}}]\n",
                "within a step it is `extract`",
            ),
            ("description: x\nreads: text\nplain: true\npatterns:\n  - regex: '('\n", "mappings/x.yml:5: "),
            ("description: x\nreads: text\nplain: true\ntime:\n  - {field: a, formats: [noon]}\n", "noon"),
        ] {
            assert!(refused(text).contains(why), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn one_name_is_one_mapping_and_cases_are_none() {
        let text = "description: x\nreads: text\nplain: true\nothers: true\n";
        let file = |path: &str| ContentFile { path: path.to_owned(), text: text.to_owned() };
        let (one, two, case) = (file("mappings/x.yml"), file("mappings/more/x.yml"), file("mappings/cases/y.yml"));
        let mut refused = Vec::new();
        let mappings = Mappings::compile(&[&one, &two, &case], &mut refused);
        assert_eq!(mappings.names().collect::<Vec<_>>(), ["x"]);
        assert_eq!(refused[0].to_string(), "mappings/more/x.yml:0: a mapping with the name x is there already");
        assert_eq!(refused.len(), 1);
    }
}
