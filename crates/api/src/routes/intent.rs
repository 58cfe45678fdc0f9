//! What whoever is behind a threat may try next, and whom they resemble: computed when it is asked for, from facts that
//! are not of the log. It changes nothing and decides nothing.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;
use vertice_engine::detect::TEXT_FIELDS;
use vertice_intel::{Basis, Forecast, Intent, Profile, Standing};
use vertice_model::{Detection, Tactic, Technique, Threat, ThreatId};
use vertice_store::{RecordKind, Store};

use super::explain::{Told, family};
use crate::extract::{NoParams, Query};
use crate::limits;
use crate::problem::Problem;
use crate::read::{Shared, json, parse};

/// What may come next, and whom this resembles.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct IntentView {
    /// Which threat.
    threat_id: ThreatId,
    /// The techniques that this rests on, in the order in which they were first seen.
    seen: Vec<Technique>,
    /// Who saw them.
    seen_by: SeenBy,
    /// Techniques that only the words of its events suggest; none of them is in `seen` unless `seen_by` says so.
    suggested: Vec<Technique>,
    /// What may come next.
    forecast: ForecastView,
    /// Whom this resembles, with which tools, and after what.
    profile: Profile,
}

/// Who saw the techniques that a forecast rests on.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SeenBy {
    /// Rules name them.
    Rules,
    /// No rule names any, but the words of its events suggest some; most such suggestions are wrong.
    Mapper,
    /// There are none, so nothing is predicted.
    Nobody,
}

/// What may come next, likeliest first.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ForecastView {
    /// At most five.
    predictions: Vec<PredictionView>,
    /// Seen techniques that ATT&CK as we have it does not know; they took no part.
    unknown: Vec<Technique>,
    /// Always true: the shares order, and are no probabilities.
    rank_only: bool,
    /// How often such predictions were right.
    standing: Standing,
    /// The same in a sentence.
    standing_text: String,
}

/// A technique that may come next.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct PredictionView {
    /// Which; always a parent technique.
    technique: Technique,
    /// The tactics it serves.
    tactics: Vec<Tactic>,
    /// Its share, from 0 to 1. It orders and is no probability.
    share: f64,
    /// What it rests on, with counts.
    basis: Vec<Basis>,
    /// The same in words.
    reasons: Vec<String>,
}

/// What whoever is behind a threat may try next, and whom they resemble. From the techniques that rules named, or where
/// they named none from those that the words of its events suggest.
#[utoipa::path(get, path = "/api/v1/defense/threats/{id}/intent", operation_id = "threat_intent", tag = "defense",
    params(("id" = String, Path, description = "The id, or at least four characters of its beginning")),
    responses(
        (status = OK, body = IntentView),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json"),
        (status = CONFLICT, body = Problem, content_type = "application/problem+json", description = "Several begin so"),
    ))]
pub(crate) async fn intent(api: Shared, Path(id): Path<String>, _: Query<NoParams>) -> Result<Response, Problem> {
    let known = api.api.intent.clone();
    let view = api.read(move |store| gather(store, &known, &id)).await?;
    Ok(json(StatusCode::OK, &view))
}

fn gather(store: &Store, known: &Intent, id: &str) -> Result<IntentView, Problem> {
    let threat: Threat = parse(&store.find(RecordKind::Threat, id)?)?;
    let told = Told::read(store, &family(store, &threat)?)?;
    let detections = told.records.iter().map(parse).collect::<Result<Vec<Detection>, Problem>>()?;
    Ok(view(known, &threat, &detections))
}

/// Of a threat and its latest detections, oldest first.
pub(crate) fn view(known: &Intent, threat: &Threat, detections: &[Detection]) -> IntentView {
    let tagged: Vec<Technique> = threat.techniques.iter().map(|t| t.technique.clone()).collect();
    let mut suggested: Vec<Technique> = Vec::new();
    for technique in detections.iter().filter(|d| d.mapped_by.is_some()).flat_map(|d| &d.mitre_techniques) {
        if !suggested.contains(technique) {
            suggested.push(technique.clone());
        }
    }
    let (seen, seen_by) = match (tagged.is_empty(), suggested.is_empty()) {
        (false, _) => (tagged, SeenBy::Rules),
        (true, false) => (suggested.clone(), SeenBy::Mapper),
        (true, true) => (Vec::new(), SeenBy::Nobody),
    };
    let matched = detections.iter().flat_map(|d| &d.matched);
    let commands = matched.filter(|m| m.field.split('|').next().is_some_and(|field| TEXT_FIELDS.contains(&field)));
    let commands: Vec<&str> = commands.map(|m| m.value.as_str()).collect();
    let forecast = ForecastView::of(known.predict(&seen, limits::PREDICTIONS_MAX));
    let profile = known.profile(&seen, &commands);
    IntentView { threat_id: threat.threat_id, seen, seen_by, suggested, forecast, profile }
}

impl ForecastView {
    fn of(forecast: Forecast) -> ForecastView {
        let predictions = forecast.predictions.into_iter().map(|p| PredictionView {
            reasons: p.basis.iter().map(Basis::text).collect(),
            technique: p.technique,
            tactics: p.tactics,
            share: p.share,
            basis: p.basis,
        });
        ForecastView {
            predictions: predictions.collect(),
            unknown: forecast.unknown,
            rank_only: forecast.rank_only,
            standing_text: forecast.standing.text(),
            standing: forecast.standing,
        }
    }
}
