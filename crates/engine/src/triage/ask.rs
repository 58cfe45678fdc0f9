//! When a language model is asked about a threat, what it is told, and what becomes of its answer.
//!
//! What is told is made of the engine's own state at that moment, so a replay tells the same, and all of it is bounded.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};
use vertice_model::{
    AskReason, Confidence, Consultation, ConsultationId, ConsultationState, Context, Detection, Evidence, Moment,
    Opinion, Posterior, Reply, Severity, Tactic, Threat, ThreatId, ThreatState, Timestamp, Usage,
};

use super::standing::Standings;
use super::{clean, evidence};
use crate::limits;

/// A question to a language model: what is asked about, and what is told of it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Consult {
    /// The consultation, as it is published.
    pub consultation: Consultation,
    /// What the model is told.
    pub context: Context,
}

/// What was answered, and by whom.
#[derive(Clone, Copy, Debug)]
pub struct Answered<'a> {
    /// To which consultation.
    pub consultation: ConsultationId,
    /// What came of it.
    pub reply: &'a Reply,
    /// Which model, as the configuration names it.
    pub model: &'a str,
    /// What it took.
    pub usage: Usage,
}

/// Below this, a threat's rules are not sure.
const UNSURE_BELOW: u8 = 60;

/// Between these, people judged a threat's like one way as often as the other.
const UNDECIDED: std::ops::RangeInclusive<f64> = 0.2..=0.8;

/// What waits for an answer, and what is remembered so that it can be asked.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
pub(super) struct Consultations {
    /// In the order in which they were asked, which is that in which they expire.
    waiting: VecDeque<Consultation>,
    /// What those that wait were told, which their answers must keep to.
    #[serde(default)]
    told: BTreeMap<ConsultationId, Vec<Moment>>,
    /// The threats that were asked about: how often, and how bad they were.
    asked: BTreeMap<ThreatId, Asked>,
    /// The detections of the threats that changed last.
    moments: BTreeMap<ThreatId, Vec<Moment>>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
struct Asked {
    times: u32,
    severity: Severity,
    stage: Option<Tactic>,
}

impl Consultations {
    /// A detection joined its threat: it may be told a model later.
    pub(super) fn remember(&mut self, detection: &Detection) {
        let Some(threat) = detection.threat_id else { return };
        if !self.moments.contains_key(&threat) && self.moments.len() >= limits::TOLD_THREATS_MAX {
            let last = |(id, moments): &(&ThreatId, &Vec<Moment>)| (moments.last().map(|m| m.position), **id);
            if let Some(oldest) = self.moments.iter().min_by_key(last).map(|(id, _)| *id) {
                self.moments.remove(&oldest);
            }
        }
        let moments = self.moments.entry(threat).or_default();
        moments.push(moment(detection));
        if moments.len() > limits::TOLD_MOMENTS_MAX {
            moments.remove(limits::TOLD_FIRST);
        }
    }

    /// What is remembered of a threat that is no more goes to the one that has its detections now, if any.
    pub(super) fn gone(&mut self, id: ThreatId, into: Option<ThreatId>) {
        self.asked.remove(&id);
        let (Some(moments), Some(into)) = (self.moments.remove(&id), into) else { return };
        let all = self.moments.entry(into).or_default();
        all.extend(moments);
        all.sort_by_key(|m| (m.at, m.position));
        let surplus = all.len().saturating_sub(limits::TOLD_MOMENTS_MAX);
        all.drain(limits::TOLD_FIRST.min(all.len())..(limits::TOLD_FIRST + surplus).min(all.len()));
    }

    /// Forgets threats that are no longer held.
    pub(super) fn forget(&mut self, is_held: &impl Fn(ThreatId) -> bool) {
        self.asked.retain(|id, _| is_held(*id));
        self.moments.retain(|id, _| is_held(*id));
    }

    /// The question about a threat, if it is worth one now. The second is what no longer waits because too many do.
    pub(super) fn ask(
        &mut self,
        now: Timestamp,
        threat: &Threat,
        standings: &Standings,
        playbooks: &[(String, String)],
    ) -> Option<(Consult, Option<Consultation>)> {
        let posterior = standings.of_rules(threat);
        let reason = self.reason(threat, standings, posterior)?;
        let moments = self.moments.get(&threat.threat_id)?;
        let times = self.asked.get(&threat.threat_id).map_or(0, |a| a.times) + 1;
        let asked = Asked { times, severity: threat.severity, stage: threat.stage };
        let timeline: Vec<Moment> = moments
            .iter()
            .enumerate()
            .map(|(n, moment)| Moment { cite: format!("E{}", n + 1), ..moment.clone() })
            .collect();
        let unique = format!("{}|{}|{times}", threat.threat_id, reason.as_str());
        let consultation = Consultation {
            consultation_id: ConsultationId::derive(&unique),
            threat_id: threat.threat_id,
            reason,
            revision: times,
            severity: threat.severity,
            evidence: timeline.iter().map(citable).collect(),
            asked_at: now,
            expires_at: now.plus_seconds(limits::CONSULTATION_S),
            state: ConsultationState::Asked,
            opinion: None,
            left_out: Vec::new(),
            model: String::new(),
            usage: Usage::default(),
            closed_at: None,
        };
        self.asked.insert(threat.threat_id, asked);
        self.told.insert(consultation.consultation_id, timeline.clone());
        let context = context(threat, timeline, posterior, standings, playbooks);
        let dropped = (self.waiting.len() >= limits::CONSULTATIONS_WAITING_MAX).then(|| self.make_room(now)).flatten();
        self.waiting.push_back(consultation.clone());
        Some((Consult { consultation, context }, dropped))
    }

    fn reason(&self, threat: &Threat, standings: &Standings, posterior: Posterior) -> Option<AskReason> {
        if threat.state != ThreatState::Open || threat.severity < Severity::Medium {
            return None;
        }
        if let Some(before) = self.asked.get(&threat.threat_id) {
            let worse = threat.severity > before.severity || threat.stage > before.stage;
            let waits = self.waiting.iter().any(|c| c.threat_id == threat.threat_id);
            if !worse || waits || before.times >= limits::CONSULTATIONS_OF_THREAT_MAX {
                return None;
            }
        }
        if threat.severity >= Severity::High {
            return Some(AskReason::Severe);
        }
        // What people called false over and over is not worth a question, unless it is severe.
        if posterior.lower > limits::SUPPRESS_LOWER_MIN {
            return None;
        }
        if threat.rules.iter().any(|r| r.severity >= Severity::Medium && standings.is_new(r)) {
            return Some(AskReason::New);
        }
        let judged = posterior.false_positives + posterior.confirmed >= limits::VERDICTS_OF_ENTITY_MIN;
        let undecided = judged && UNDECIDED.contains(&posterior.mean);
        let unsure = Confidence::new(UNSURE_BELOW).is_some_and(|sure| threat.confidence < sure);
        (undecided || unsure).then_some(AskReason::Uncertain)
    }

    /// Gives up the oldest question that is not about a severe threat; the oldest of all if each is.
    fn make_room(&mut self, now: Timestamp) -> Option<Consultation> {
        let least = self.waiting.iter().position(|c| c.reason != AskReason::Severe).unwrap_or(0);
        let mut dropped = self.waiting.remove(least)?;
        self.told.remove(&dropped.consultation_id);
        dropped.state = ConsultationState::Skipped { why: "too many questions waited".to_owned() };
        dropped.closed_at = Some(now);
        Some(dropped)
    }

    /// Which threat a question that waits is about.
    pub(super) fn of(&self, id: ConsultationId) -> Option<ThreatId> {
        self.waiting.iter().find(|c| c.consultation_id == id).map(|c| c.threat_id)
    }

    /// An answer came. Returns the consultation as it is closed, with its opinion if that was taken; `None` if nothing
    /// of that id waits.
    pub(super) fn receive(
        &mut self,
        now: Timestamp,
        answered: Answered<'_>,
        is_held: bool,
        is_loaded: impl Fn(&str) -> bool,
    ) -> Option<Consultation> {
        let at = self.waiting.iter().position(|c| c.consultation_id == answered.consultation)?;
        let mut closed = self.waiting.remove(at)?;
        let told = self.told.remove(&closed.consultation_id).unwrap_or_default();
        closed.closed_at = Some(now);
        closed.model = clean::text(answered.model, limits::OPINION_TEXT_CHARS_MAX);
        closed.usage = answered.usage;
        let short = |why: &str| clean::text(why, limits::OPINION_TEXT_CHARS_MAX);
        closed.state = match answered.reply {
            Reply::Skipped(why) => ConsultationState::Skipped { why: short(why) },
            Reply::Hijacked(signs) => ConsultationState::Hijacked { signs: short(signs) },
            Reply::Unreadable(why) => ConsultationState::Refused { why: short(why) },
            Reply::Opinion(_) if closed.expires_at <= now => ConsultationState::Expired,
            Reply::Opinion(_) if !is_held => {
                ConsultationState::Refused { why: "its threat is closed by now".to_owned() }
            }
            Reply::Opinion(opinion) => {
                let checked = clean::checked(opinion, &closed.evidence, is_loaded).map_err(|why| (why, Vec::new()));
                let (state, left_out) = match checked.and_then(|opinion| evidence::kept(opinion, &told)) {
                    Ok((opinion, left_out)) => {
                        closed.opinion = Some(opinion);
                        (ConsultationState::Answered, left_out)
                    }
                    Err((why, left_out)) => (ConsultationState::Refused { why: short(&why) }, left_out),
                };
                closed.left_out = left_out;
                state
            }
        };
        Some(closed)
    }

    /// When the next question expires.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.waiting.front().map(|c| c.expires_at)
    }

    /// The questions that nobody answered in time.
    pub(super) fn expire(&mut self, now: Timestamp) -> Vec<Consultation> {
        let mut expired = Vec::new();
        while let Some(mut closed) = self.waiting.pop_front_if(|c| c.expires_at <= now) {
            self.told.remove(&closed.consultation_id);
            closed.state = ConsultationState::Expired;
            closed.closed_at = Some(now);
            expired.push(closed);
        }
        expired
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }
}

/// The opinion of a consultation, if it was taken.
pub(super) fn taken(closed: &Consultation) -> Option<&Opinion> {
    match closed.state {
        ConsultationState::Answered => closed.opinion.as_ref(),
        ConsultationState::Asked
        | ConsultationState::Refused { .. }
        | ConsultationState::Hijacked { .. }
        | ConsultationState::Skipped { .. }
        | ConsultationState::Expired => None,
    }
}

fn citable(moment: &Moment) -> Evidence {
    Evidence { cite: moment.cite.clone(), detection_id: moment.detection_id, position: moment.position }
}

fn moment(detection: &Detection) -> Moment {
    let mut fields: Vec<(String, String)> = Vec::new();
    for matched in &detection.matched {
        let name = cut(matched.field.split('|').next().unwrap_or_default());
        let value = cut(&matched.value);
        if fields.len() < limits::TOLD_FIELDS_MAX && !fields.iter().any(|(n, v)| *n == name && *v == value) {
            fields.push((name, value));
        }
    }
    Moment {
        cite: String::new(),
        detection_id: detection.detection_id,
        position: detection.position,
        at: detection.timestamp,
        rule_title: cut(&detection.rule_title),
        severity: detection.severity,
        entity: detection.entity.shortened(limits::TOLD_VALUE_CHARS_MAX),
        techniques: detection.tagged().iter().take(limits::TOLD_LIST_MAX).cloned().collect(),
        fields,
    }
}

fn cut(text: &str) -> String {
    text.chars().take(limits::TOLD_VALUE_CHARS_MAX).collect()
}

fn context(
    threat: &Threat,
    timeline: Vec<Moment>,
    false_positive: Posterior,
    standings: &Standings,
    playbooks: &[(String, String)],
) -> Context {
    let max = limits::TOLD_LIST_MAX;
    Context {
        title: cut(&threat.title),
        severity: threat.severity,
        confidence: threat.confidence,
        detections: threat.detections,
        techniques: threat.techniques.iter().take(max).map(|t| t.technique.clone()).collect(),
        stage: threat.stage,
        entities: threat.entities.iter().take(max).map(|e| e.shortened(limits::TOLD_VALUE_CHARS_MAX)).collect(),
        timeline,
        false_positive,
        similar: standings.similar(threat),
        playbooks: playbooks.iter().take(max).cloned().collect(),
    }
}
