//! Normalize: raw events become events, by mappings.
//!
//! A mapping is one YAML file that says how a log source is recognised and what its lines mean; adding a
//! log source needs no Rust. Reading is pure, so the edge refuses a bad line with the same words with
//! which the engine would.
//!
//! A line that starts with `{` is JSON: it is flattened once ([`json`]), and the first mapping that
//! recognises its members reads it. Any other line is text: its syslog header is taken off ([`syslog`]),
//! if it has one, and the first mapping for its program reads the message. What is recognised by nothing
//! is refused, with what was seen.
//!
//! What is read borrows from the line ([`Reading`]): rules are asked of it as it is, and only an event that one
//! matched is copied out of it.

mod draft;
mod field;
mod index;
mod json;
mod mapping;
mod pairs;
mod spec;
mod step;
mod syslog;
mod time;
mod value;
mod words;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use vertice_model::limits::{EVENT_YEARS, RAW_EVENT_BYTES_MAX};
use vertice_model::{Event, EventId, Place, RawEvent, Refusal, Timestamp};
use vertice_sigma::{Source, Value as Seen};

use crate::Stamp;
use crate::content::{ContentError, ContentFile};
use crate::limits::REREADS_MAX;

use draft::Draft;
use mapping::Mapping;
use spec::{Reread, Shape};
use syslog::Header;
use value::Held;

/// The mappings in force.
#[derive(Clone, Debug, Default)]
pub struct Mappings {
    /// Those that read JSON, in the order in which they are tried.
    json: Vec<Arc<Mapping>>,
    /// Those that read text, likewise.
    text: Vec<Arc<Mapping>>,
}

impl Mappings {
    /// Compiles mapping files. A bad one is left out and named in `refused`. Files below `mappings/cases/`
    /// are tests and are passed over.
    #[must_use]
    pub fn compile(files: &[&ContentFile], refused: &mut Vec<ContentError>) -> Mappings {
        let mut named: BTreeMap<Arc<str>, Arc<Mapping>> = BTreeMap::new();
        for file in files.iter().filter(|file| !file.path.contains("/cases/")) {
            match Mapping::compile(file) {
                Ok(mapping) if named.contains_key(&mapping.name) => refused.push(ContentError {
                    path: file.path.clone(),
                    line: 0,
                    column: 0,
                    reason: format!("a mapping with the name {} is there already", mapping.name),
                }),
                Ok(mapping) => {
                    named.insert(Arc::clone(&mapping.name), Arc::new(mapping));
                }
                Err(error) => refused.push(error),
            }
        }
        let mut all: Vec<Arc<Mapping>> = named.into_values().collect();
        all.sort_by_key(|mapping| mapping.spec.order);
        let (json, text) = all.into_iter().partition(|mapping| mapping.spec.reads == Shape::Json);
        Mappings { json, text }
    }

    /// The names of the mappings, in the order in which they are tried, JSON first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.json.iter().chain(&self.text).map(|mapping| &*mapping.name)
    }

    /// Reads a raw event. Pure: the same event at the same stamp always reads the same.
    ///
    /// # Errors
    /// When no mapping recognises it, or the one that does can not read it.
    pub fn read<'a>(&'a self, stamp: Stamp, raw: &'a RawEvent) -> Result<Reading<'a>, Refusal> {
        let reader = Reader { mappings: self, received: stamp.now, derive: true };
        let Read { mapping, draft, time } = reader.line(checked(&raw.line)?, None, 0)?;
        let event_id = mapping.event_id(&draft)?;
        Ok(Reading { stamp, origin: &raw.origin, mapping, draft, time, event_id })
    }

    /// Refuses a raw event that [`Mappings::read`] would refuse, and takes no step that can not lead to that.
    ///
    /// # Errors
    /// Those of [`Mappings::read`].
    pub fn check(&self, stamp: Stamp, raw: &RawEvent) -> Result<(), Refusal> {
        self.check_line(stamp, &raw.line)
    }

    /// As [`Mappings::check`], of an event that has this line.
    ///
    /// # Errors
    /// Those of [`Mappings::read`].
    pub fn check_line(&self, stamp: Stamp, line: &str) -> Result<(), Refusal> {
        let reader = Reader { mappings: self, received: stamp.now, derive: false };
        let Read { mapping, draft, .. } = reader.line(checked(line)?, None, 0)?;
        mapping.event_id(&draft).map(|_| ())
    }

    /// Reads a raw event, and copies out what it says.
    ///
    /// # Errors
    /// Those of [`Mappings::read`].
    pub fn normalize(&self, stamp: Stamp, raw: &RawEvent) -> Result<Event, Refusal> {
        self.read(stamp, raw).map(|reading| reading.event())
    }
}

/// A raw event as its mapping reads it, borrowed from its line.
#[derive(Debug)]
pub struct Reading<'a> {
    stamp: Stamp,
    origin: &'a Arc<str>,
    mapping: &'a Mapping,
    draft: Draft<'a>,
    time: Timestamp,
    event_id: Option<Cow<'a, str>>,
}

impl Reading<'_> {
    /// The log sources that it belongs to.
    #[must_use]
    pub fn sources(&self) -> Vec<Source<'_>> {
        self.draft.sources()
    }

    /// The event by itself.
    #[must_use]
    pub fn event(&self) -> Event {
        self.event_called(|| EventId::at(self.stamp.position))
    }

    /// The event by itself, of one that came by a partitioned log: without an id of its sender's it has that place's.
    #[must_use]
    pub fn event_of(&self, from: &Place) -> Event {
        self.event_called(|| EventId::of(from))
    }

    /// Whether its sender gave it an id.
    #[must_use]
    pub fn is_named(&self) -> bool {
        self.event_id.is_some()
    }

    fn event_called(&self, id: impl FnOnce() -> EventId) -> Event {
        let given = self.event_id.as_deref().map(|id| EventId::given(id.to_owned()));
        Event {
            event_id: given.unwrap_or_else(id),
            position: self.stamp.position,
            timestamp: self.time,
            received: self.stamp.now,
            origin: Arc::clone(self.origin),
            mapping: Arc::clone(&self.mapping.name),
            log_sources: self.draft.log_sources().into(),
            entity: self.draft.entity(),
            fields: self.draft.fields(),
        }
    }
}

impl vertice_sigma::Event for Reading<'_> {
    fn field<'a>(&'a self, name: &str, visit: &mut dyn FnMut(Seen<'a>)) {
        if let Some(value) = self.draft.named(name) {
            value.show(visit);
        }
    }

    fn each<'a>(&'a self, visit: &mut dyn FnMut(&str, Seen<'a>)) {
        self.draft.each(visit);
    }
}

/// The line without what surrounds it, if it is one that may be read at all.
fn checked(line: &str) -> Result<&str, Refusal> {
    if line.len() > RAW_EVENT_BYTES_MAX {
        let reason = format!("longer than {RAW_EVENT_BYTES_MAX} bytes: it has {}", line.len());
        return Err(Refusal::new(reason));
    }
    let line = line.strip_prefix('\u{feff}').unwrap_or(line);
    if line.starts_with('{') && line.ends_with('}') {
        // Most lines. Within JSON a NUL is refused by the syntax, with its place.
        return Ok(line);
    }
    let line = line.trim_end();
    // Leading blanks are cut from JSON only: in text they may be part of the format.
    let start = line.trim_start();
    if start.is_empty() {
        return Err(Refusal::new("an empty line"));
    }
    if start.starts_with('{') {
        return Ok(start);
    }
    match line.find('\0') {
        Some(at) => Err(Refusal::new(format!("a NUL byte at column {}", at + 1))),
        None => Ok(line),
    }
}

/// A line as a mapping has read it.
struct Read<'m, 'l> {
    mapping: &'m Mapping,
    draft: Draft<'l>,
    time: Timestamp,
}

/// Finds the mapping for a line.
struct Reader<'m> {
    mappings: &'m Mappings,
    received: Timestamp,
    /// Whether all is derived, and not only what may lead to a refusal.
    derive: bool,
}

impl<'m> Reader<'m> {
    /// Reads a line; `outer` is what is known from around it, `depth` how many lines are around it.
    fn line<'l>(&self, line: &'l str, outer: Option<&Header<'l>>, depth: u8) -> Result<Read<'m, 'l>, Refusal>
    where
        'm: 'l,
    {
        if line.starts_with('{') {
            return self.json(line, outer, depth);
        }
        match syslog::header(line, self.received) {
            Some(header) => self.message(&header, Some(line), depth),
            None => self.plain(line, outer, depth)?.ok_or_else(|| {
                let start = shown(line);
                let reason = format!("no mapping recognises it: text without a syslog header that begins {start:?}");
                Refusal::new(reason)
            }),
        }
    }

    fn json<'l>(&self, line: &'l str, outer: Option<&Header<'l>>, depth: u8) -> Result<Read<'m, 'l>, Refusal>
    where
        'm: 'l,
    {
        let (fields, left_out) = json::flatten(line)?;
        let mut draft = Draft::new(fields, left_out);
        match self.mappings.json.iter().find(|mapping| mapping.recognises(&draft)) {
            Some(mapping) => {
                mapping.prepare(&mut draft);
                self.finish(mapping, draft, outer, depth)
            }
            None => Err(Refusal::new(format!("no mapping recognises it: JSON with {}", draft.names_shown()))),
        }
    }

    /// Reads what is behind a syslog header. `whole` is the line with the header, for what only looked like
    /// one; it is tried before the mapping that takes any program.
    fn message<'l>(&self, header: &Header<'l>, whole: Option<&'l str>, depth: u8) -> Result<Read<'m, 'l>, Refusal>
    where
        'm: 'l,
    {
        let body = header.message.strip_prefix("@cee:").unwrap_or(header.message).trim_start();
        if body.starts_with('{')
            && let Ok(read) = self.json(body, Some(header), depth)
        {
            return Ok(read);
        }
        let program = header.program.unwrap_or_default();
        for mapping in self.mappings.text.iter().filter(|mapping| mapping.reads_program(program)) {
            if mapping.takes_all()
                && let Some(line) = whole
                && let Some(read) = self.plain(line, None, depth)?
            {
                return Ok(read);
            }
            if let Some(draft) = mapping.text(header.message, Some(header), self.derives(mapping)) {
                return self.finish(mapping, draft, Some(header), depth);
            }
        }
        Err(Refusal::new(format!("no mapping recognises it: a syslog line of the program {:?}", shown(program))))
    }

    /// Reads a line without a header; `None` if no mapping recognises it.
    fn plain<'l>(&self, line: &'l str, outer: Option<&Header<'l>>, depth: u8) -> Result<Option<Read<'m, 'l>>, Refusal>
    where
        'm: 'l,
    {
        for mapping in self.mappings.text.iter().filter(|mapping| mapping.spec.plain) {
            if let Some(draft) = mapping.text(line, outer, self.derives(mapping)) {
                return self.finish(mapping, draft, outer, depth).map(Some);
            }
        }
        Ok(None)
    }

    fn derives(&self, mapping: &Mapping) -> bool {
        self.derive || mapping.refuses_by_steps
    }

    fn finish<'l>(
        &self,
        mapping: &'m Mapping,
        mut draft: Draft<'l>,
        outer: Option<&Header<'l>>,
        depth: u8,
    ) -> Result<Read<'m, 'l>, Refusal>
    where
        'm: 'l,
    {
        mapping.check(&draft)?;
        if self.derives(mapping) {
            for step in &mapping.spec.steps {
                step.apply(&mut draft);
            }
            if let Some(host) = outer.and_then(|header| header.host) {
                draft.put_named("host.name", host.into());
            }
        }
        let around = outer.and_then(|header| header.time);
        let time = mapping.time(&draft, self.received)?.or(around).unwrap_or(self.received);
        let year = time.year();
        if !year.is_some_and(|year| EVENT_YEARS.contains(&year)) {
            let (name, from, to) = (&mapping.name, EVENT_YEARS.start(), EVENT_YEARS.end());
            return Err(Refusal::new(format!("{name}: the time {time} is not within the years {from} to {to}")));
        }
        match &mapping.spec.reread {
            Some(reread) if depth < REREADS_MAX => self.reread(reread, mapping, &draft, time, depth + 1),
            Some(_) => Err(Refusal::new(format!("{}: lines within lines, {REREADS_MAX} deep", mapping.name))),
            None => {
                draft.ask_entity(&mapping.spec.entity);
                draft.settle();
                Ok(Read { mapping, draft, time })
            }
        }
    }

    /// Reads the line within a line.
    fn reread<'l>(
        &self,
        reread: &Reread,
        mapping: &Mapping,
        draft: &Draft<'_>,
        time: Timestamp,
        depth: u8,
    ) -> Result<Read<'m, 'l>, Refusal> {
        let line = match draft.get(&reread.line) {
            // journald writes a message that is no UTF-8 as a list of bytes.
            Some(Held::List(bytes)) => Cow::Owned(from_bytes(bytes)),
            Some(_) | None => draft.text(&reread.line).unwrap_or_default(),
        };
        let line = line.trim_end_matches(['\r', '\n']);
        if line.is_empty() {
            return Err(Refusal::new(format!("{}: `{}` is missing or empty", mapping.name, reread.line.name)));
        }
        let host = reread.host.as_ref().and_then(|field| draft.text(field));
        let program = reread.program.iter().find_map(|field| draft.text(field));
        let pid = reread.pid.as_ref().and_then(|field| draft.text(field));
        let header = Header {
            time: Some(time),
            host: host.as_deref(),
            program: program.as_deref(),
            pid: pid.as_deref(),
            message: line,
            ..Header::default()
        };
        let Read { mapping, draft, time } = if header.program.is_some() {
            self.message(&header, None, depth)?
        } else {
            self.line(line, Some(&header), depth)?
        };
        // The line may be unescaped, and then nobody else has it.
        Ok(Read { mapping, draft: draft.into_owned(), time })
    }
}

/// The start of a text, for a message to a person.
fn shown(text: &str) -> &str {
    &text[..text.char_indices().nth(48).map_or(text.len(), |(i, _)| i)]
}

fn from_bytes(list: &[Held<'_>]) -> String {
    let bytes: Vec<u8> = list.iter().filter_map(|value| value.to_text().parse().ok()).collect();
    String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}")
}
