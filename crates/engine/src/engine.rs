//! The composition of the stages, and nothing else.

mod heed;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vertice_model::{
    Containment, EffectId, Event, Order, OrderId, Place, Position, Principal, Question, QuestionState, RawEvent,
    Refusal, Routed, Threat, ThreatId, ThreatState, Timestamp, Verdict,
};
use vertice_sigma::{Matcher, RuleSet};

use crate::content::Content;
use crate::decide::{Answer, Approved, Change, Responses, Start};
use crate::detect::{Finding, Findings, Hit, Share};
use crate::effect::{Effect, EffectKind, Record, RefusedEvent};
use crate::gather::Threats;
use crate::input::{Input, Stamp};
use crate::normalize::Reading;
use crate::seen::Seen;
use crate::told::Role;
use crate::triage::{Answered, Triage};

/// The engine: content in force, and the state that its inputs have made.
#[derive(Clone, Debug)]
pub struct Engine {
    content: Arc<Content>,
    state: State,
    /// Whether the monotone rule is gone, to see that its tests notice.
    #[cfg(test)]
    lawless: bool,
}

/// Everything that inputs change. Serialized for a snapshot; the content is not part of it, for the
/// log has it at `content_at`.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
struct State {
    /// Whose state it is.
    role: Role,
    /// The position after the last input's.
    next: Position,
    /// Where the content in force stands in the log.
    content_at: Option<Position>,
    counts: Counts,
    seen: Seen,
    findings: Findings,
    threats: Threats,
    responses: Responses,
    #[serde(default)]
    triage: Triage,
}

/// How much has passed through, since the log began.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub struct Counts {
    /// Raw events judged; of routed ones each record.
    pub events: u64,
    /// Of these, those that no mapping could read.
    pub refused: u64,
    /// Of these, those with a sender's id that was seen just before.
    pub repeated: u64,
    /// Detections made.
    pub detections: u64,
}

/// How much the engine gave up, since the log began, because there was too much of it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Forgotten {
    /// Groups of correlations: an address of many, whose count starts anew.
    pub groups: u64,
    /// Matches within the windows of correlations.
    pub matches: u64,
    /// Threats that were closed before their time.
    pub threats: u64,
}

/// Raw events after screening: what is left to be judged in order.
#[derive(Clone, Debug, Default)]
pub struct Screened {
    /// How many there were.
    count: u64,
    notable: Vec<Notable>,
}

#[derive(Clone, Debug)]
enum Notable {
    Refused(RefusedEvent),
    Hits(Box<Event>, Vec<Hit>),
    Routed(Box<RoutedEvent>),
}

/// An event that came by a partitioned log, and what is judged of it.
#[derive(Clone, Debug)]
struct RoutedEvent {
    event: Event,
    /// Whether its sender gave it its id.
    named: bool,
    /// Its logical time.
    at: Timestamp,
    key: String,
    shares: Vec<Share>,
}

/// Screens raw events: reads each and matches it against every rule that needs no memory.
///
/// Depends on nothing but its arguments, so batches may be screened on several threads and
/// joined with [`Screened::join`] in the order of the log.
#[must_use]
pub fn screen(content: &Content, stamp: Stamp, events: &[RawEvent]) -> Screened {
    screen_with(content, stamp, events, |reading| content.rules.screen(reading, &reading.sources()))
}

/// Screens routed records, as [`screen`] does events: each is read as of its logical time, and what has its key is kept.
#[must_use]
pub fn screen_routed(content: &Content, stamp: Stamp, routed: &[Routed]) -> Screened {
    routed_with(content, stamp, routed, |reading| content.rules.screen(reading, &reading.sources()))
}

/// Screens as [`screen`] does and comes to the same, but remembers which values it has seen: what came before costs
/// less. For one thread, and as long as its content is in force.
#[derive(Debug)]
pub struct Screener {
    content: Arc<Content>,
    matcher: Matcher<Arc<RuleSet>>,
}

impl Screener {
    /// One for this content.
    #[must_use]
    pub fn new(content: &Arc<Content>) -> Screener {
        Screener { matcher: content.rules.matcher(), content: Arc::clone(content) }
    }

    /// Whether it is for this very content.
    #[must_use]
    pub fn is_for(&self, content: &Arc<Content>) -> bool {
        Arc::ptr_eq(&self.content, content)
    }

    /// Screens raw events.
    #[must_use]
    pub fn screen(&mut self, stamp: Stamp, events: &[RawEvent]) -> Screened {
        let Screener { content, matcher } = self;
        screen_with(content, stamp, events, |reading| matcher.matches(reading, reading.sources()).to_vec())
    }

    /// Screens routed records.
    #[must_use]
    pub fn screen_routed(&mut self, stamp: Stamp, routed: &[Routed]) -> Screened {
        let Screener { content, matcher } = self;
        routed_with(content, stamp, routed, |reading| matcher.matches(reading, reading.sources()).to_vec())
    }

    /// Screens an event that came by a partitioned log, and says what goes to which shard: one record for each route key
    /// of its hits, none if it has none.
    ///
    /// # Errors
    /// When no mapping recognises it, or the one that does can not read it.
    pub fn route(&mut self, from: &Place, at: Timestamp, event: &RawEvent) -> Result<Vec<Routed>, Refusal> {
        let Screener { content, matcher } = self;
        // It has no position yet, and nothing here depends on one.
        let reading = content.mappings.read(Stamp { position: Position(0), now: at }, event)?;
        let hits = matcher.matches(&reading, reading.sources());
        if hits.is_empty() {
            return Ok(Vec::new());
        }
        let routes = content.routes.routes(&content.rules, &reading.event_of(from), hits);
        let of_key =
            |(index, (key, _)): (u32, (String, _))| Routed { event: event.clone(), from: from.clone(), at, key, index };
        Ok((0..).zip(routes).map(of_key).collect())
    }
}

fn routed_with(
    content: &Content,
    stamp: Stamp,
    routed: &[Routed],
    mut hits_of: impl FnMut(&Reading<'_>) -> Vec<Hit>,
) -> Screened {
    let mut notable = Vec::new();
    for (i, Routed { event: raw, from, at, key, .. }) in routed.iter().enumerate() {
        let stamp = Stamp { position: stamp.position.plus(i as u64), now: *at };
        match content.mappings.read(stamp, raw) {
            Ok(reading) => {
                let hits = hits_of(&reading);
                let event = reading.event_of(from);
                let routes = content.routes.routes(&content.rules, &event, &hits);
                if let Some((key, shares)) = routes.into_iter().find(|(of, _)| of == key) {
                    let named = reading.is_named();
                    notable.push(Notable::Routed(Box::new(RoutedEvent { event, named, at: *at, key, shares })));
                }
            }
            Err(refusal) => notable.push(Notable::Refused(refused(stamp, raw, refusal))),
        }
    }
    Screened { count: routed.len() as u64, notable }
}

fn refused(stamp: Stamp, raw: &RawEvent, refusal: Refusal) -> RefusedEvent {
    RefusedEvent { position: stamp.position, origin: raw.origin.to_string(), reason: refusal.reason.into_owned() }
}

fn screen_with(
    content: &Content,
    stamp: Stamp,
    events: &[RawEvent],
    mut hits_of: impl FnMut(&Reading<'_>) -> Vec<Hit>,
) -> Screened {
    let mut notable = Vec::new();
    let mappings = &content.mappings;
    for (i, raw) in events.iter().enumerate() {
        let stamp = Stamp { position: stamp.position.plus(i as u64), now: stamp.now };
        match mappings.read(stamp, raw) {
            Ok(reading) => {
                let hits = hits_of(&reading);
                if !hits.is_empty() {
                    notable.push(Notable::Hits(Box::new(reading.event()), hits));
                }
            }
            Err(refusal) => notable.push(Notable::Refused(refused(stamp, raw, refusal))),
        }
    }
    Screened { count: events.len() as u64, notable }
}

impl Screened {
    /// These, and then those.
    #[must_use]
    pub fn join(mut self, mut later: Screened) -> Screened {
        self.count += later.count;
        self.notable.append(&mut later.notable);
        self
    }
}

impl Default for Engine {
    fn default() -> Engine {
        Engine::new(Arc::new(Content::compile(Vec::new())), State::default())
    }
}

impl Engine {
    fn new(content: Arc<Content>, state: State) -> Engine {
        Engine {
            content,
            state,
            #[cfg(test)]
            lawless: false,
        }
    }

    /// One at the beginning of its log.
    #[must_use]
    pub fn of(role: Role) -> Engine {
        Engine { state: State { role, ..State::default() }, ..Engine::default() }
    }

    /// The engine as a snapshot kept it; `content` finds the content that the log has at a position.
    /// `None` when the bytes are no snapshot of this version.
    ///
    /// # Errors
    /// Those of `content`.
    pub fn restore<E>(
        snapshot: &[u8],
        content: impl FnOnce(Position) -> Result<Arc<Content>, E>,
    ) -> Result<Option<Engine>, E> {
        let Ok(mut state) = serde_json::from_slice::<State>(snapshot) else { return Ok(None) };
        state.threats = state.threats.indexed();
        let content = match state.content_at {
            Some(position) => content(position)?,
            None => Engine::default().content,
        };
        Ok(Some(Engine::new(content, state)))
    }

    /// The state as bytes: the same state, the same bytes.
    #[must_use]
    pub fn snapshot(&self) -> Vec<u8> {
        serde_json::to_vec(&self.state).expect("the state has only what JSON can say")
    }

    /// Whose engine it is.
    #[must_use]
    pub fn role(&self) -> Role {
        self.state.role
    }

    /// The content in force.
    #[must_use]
    pub fn content(&self) -> &Arc<Content> {
        &self.content
    }

    /// The position that the next input must have.
    #[must_use]
    pub fn next(&self) -> Position {
        self.state.next.max(Position(1))
    }

    /// The orders that were given and have no receipt: what a start has to look after.
    pub fn unfinished(&self) -> impl Iterator<Item = Approved<Order>> {
        self.state.responses.unfinished()
    }

    /// The containments that hold, heal, or are being taken out of the world.
    pub fn containments(&self) -> impl Iterator<Item = &Containment> {
        self.state.responses.containments()
    }

    /// The questions that wait for an answer.
    pub fn questions_waiting(&self) -> impl Iterator<Item = &Question> {
        self.state.responses.questions_pending()
    }

    /// Whether an order still waits for its receipt, and whether it began before.
    #[must_use]
    pub fn awaited(&self, order: OrderId) -> Option<bool> {
        self.state.responses.awaited(order)
    }

    /// How much has passed through.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.state.counts
    }

    /// How much was given up because there was too much of it.
    #[must_use]
    pub fn forgotten(&self) -> Forgotten {
        let (groups, matches) = self.state.findings.forgotten();
        Forgotten { groups, matches, threats: self.state.threats.crowded_out() }
    }

    /// When a [`Input::Tick`] is due next, if ever.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        [self.state.threats.next_due(), self.state.responses.next_due(), self.state.triage.next_due()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Applies one input and says what to do about it.
    ///
    /// No clock, no I/O, no randomness: the same inputs at the same times give the same
    /// effects, so any threat can be replayed from the log.
    pub fn apply(&mut self, stamp: Stamp, input: &Input) -> Vec<Effect> {
        if let Input::Events(events) = input {
            let screened = screen(&self.content, stamp, events);
            return self.judge(stamp, screened);
        }
        if let Input::Routed(routed) = input {
            let screened = screen_routed(&self.content, stamp, routed);
            return self.judge(stamp, screened);
        }
        let mut out = Out::at(stamp.position);
        match input {
            Input::Events(_) | Input::Routed(_) => {}
            Input::Content(content) => {
                self.content = Arc::clone(content);
                self.state.findings.adopt(&content.rules);
                self.state.content_at = Some(stamp.position);
            }
            Input::Answer { question, approve, plan_digest, by } => {
                // What is wrong with an answer was told to who gave it; the log keeps that it was tried.
                let answer = Answer { question: *question, approve: *approve, plan_digest, by };
                let answered = self.state.responses.answer(stamp.now, answer, &self.content.policy);
                out.changes(answered.unwrap_or_default());
            }
            Input::Verdict { threat, verdict, note, by } => {
                let said = Verdict { verdict: *verdict, by: by.clone(), at: stamp.now, note: note.clone() };
                self.verdict(*threat, said, &mut out);
            }
            Input::Release { containment, reason, by } => {
                let policy = &self.content.policy;
                let released = self.state.responses.release(stamp.now, *containment, by, reason, policy);
                out.changes(released.unwrap_or_default());
            }
            Input::Begun { order } => self.state.responses.begun(*order),
            Input::Receipt(receipt) => {
                out.changes(self.state.responses.receive(stamp.now, receipt, &self.content.policy));
            }
            Input::Resolve { order, happened, by } => {
                let policy = &self.content.policy;
                out.changes(self.state.responses.resolve(stamp.now, *order, *happened, by, policy));
            }
            Input::Operators(from) => self.state.responses.operators(from),
            Input::Start { playbook, threat, by } => self.start(stamp.now, playbook, *threat, by, &mut out),
            Input::Key { .. } => {}
            Input::Tick => {
                self.state.threats.expire(stamp.now);
                out.changes(self.state.responses.expire(stamp.now, &self.content.policy));
                self.close_due(stamp.now, &mut out);
            }
            Input::Opinion { consultation, reply, model, usage } => {
                let answered = Answered { consultation: *consultation, reply, model, usage: *usage };
                self.opinion(stamp.now, answered, &mut out);
            }
            Input::Suppress { scope, wish, by } => self.suppress(stamp.now, scope, wish, by, &mut out),
            Input::Told(told) => self.told(stamp.now, told, &mut out),
        }
        self.settle(stamp.now, &mut out);
        self.state.next = stamp.position.plus(1);
        out.effects
    }

    /// Applies events, or routed records, that were screened against [`Engine::content`].
    pub fn judge(&mut self, stamp: Stamp, screened: Screened) -> Vec<Effect> {
        let mut out = Out::at(stamp.position);
        self.state.counts.events += screened.count;
        for notable in screened.notable {
            match notable {
                Notable::Refused(refused) => {
                    self.state.counts.refused += 1;
                    out.move_to(refused.position);
                    out.publish(Record::Refused(refused));
                }
                Notable::Hits(event, hits) => {
                    out.move_to(event.position);
                    self.judge_event(stamp.now, &event, &hits, &mut out);
                }
                Notable::Routed(routed) => {
                    out.move_to(routed.event.position);
                    self.judge_routed(stamp.now, &routed, &mut out);
                }
            }
        }
        // At the last position, so that a threat's record comes after the detections it tells of.
        out.move_to(stamp.position.plus(screened.count.saturating_sub(1)));
        self.settle(stamp.now, &mut out);
        self.state.next = stamp.position.plus(screened.count);
        out.effects
    }

    fn judge_event(&mut self, now: Timestamp, event: &Event, hits: &[Hit], out: &mut Out) {
        if self.state.seen.repeats(event) {
            self.state.counts.repeated += 1;
            return;
        }
        let findings = self.state.findings.judge(&self.content.rules, now, event, hits);
        self.gather(now, findings, out);
    }

    /// What is detected depends on the event's logical time alone, so that it does not matter when it is judged; how
    /// long a threat stays open is counted from `now`.
    fn judge_routed(&mut self, now: Timestamp, routed: &RoutedEvent, out: &mut Out) {
        let RoutedEvent { event, named, at, key, shares } = routed;
        if *named && self.state.seen.repeats_under(event, key) {
            self.state.counts.repeated += 1;
            return;
        }
        let findings = self.state.findings.judge_shares(&self.content.rules, *at, event, shares);
        self.gather(now, findings, out);
    }

    fn gather(&mut self, now: Timestamp, findings: Vec<Finding>, out: &mut Out) {
        for mut finding in findings {
            self.place(now, &mut finding.detection, finding.spreads_to, finding.prior);
            self.state.counts.detections += 1;
            out.publish(Record::Detection(finding.detection));
        }
    }

    fn start(&mut self, now: Timestamp, playbook: &str, threat: ThreatId, by: &Principal, out: &mut Out) {
        let Some(threat) = self.state.threats.get(threat) else { return };
        let content = &self.content;
        let start = Start { playbook, by };
        let started = self.state.responses.start(now, threat, start, &content.playbooks, &content.policy);
        // Why it did not begin was told to who wanted it; the log keeps that it was tried.
        out.changes(started.unwrap_or_default());
    }

    /// Lets the playbooks consider the threats that changed, and publishes them. Playbooks see a threat as it is
    /// without opinions; a model is asked last, so that it never comes before anything else.
    fn settle(&mut self, now: Timestamp, out: &mut Out) {
        let changed = self.state.threats.take_changed();
        for threat in &changed {
            let changes = self.consider(now, threat);
            self.publish(threat.clone(), out);
            out.changes(changes);
        }
        out.counted(self.state.triage.take_changed());
        self.ask(now, &changed, out);
    }

    fn consider(&mut self, now: Timestamp, threat: &Threat) -> Vec<Change> {
        match threat.state {
            ThreatState::Open => {
                self.state.responses.consider(now, threat, &self.content.playbooks, &self.content.policy)
            }
            ThreatState::Merged { into, .. } => {
                self.state.responses.threat_merged(now, threat.threat_id, into, &self.content.policy)
            }
            ThreatState::Quiet { .. } | ThreatState::Judged { .. } => Vec::new(),
        }
    }
}

/// The effects of one input, numbered as they come.
#[derive(Debug)]
struct Out {
    next: EffectId,
    effects: Vec<Effect>,
}

impl Out {
    fn at(position: Position) -> Out {
        Out { next: EffectId { position, index: 0 }, effects: Vec::new() }
    }

    /// What follows was caused by the event at this position.
    fn move_to(&mut self, position: Position) {
        if self.next.position != position {
            self.next = EffectId { position, index: 0 };
        }
    }

    fn push(&mut self, kind: EffectKind) {
        self.effects.push(Effect { id: self.next, kind });
        self.next.index += 1;
    }

    fn publish(&mut self, record: Record) {
        self.push(EffectKind::Publish(record));
    }

    fn changes(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Run(run) => self.publish(Record::Run(run)),
                Change::Question(question) => self.question(question),
                Change::Containment(containment) => self.publish(Record::Containment(containment)),
                Change::Act(order) => self.push(EffectKind::Act(order)),
            }
        }
    }

    fn question(&mut self, question: Question) {
        let waits = question.state == QuestionState::Pending;
        self.publish(Record::Question(question.clone()));
        if waits {
            self.push(EffectKind::Ask(question));
        }
    }
}
