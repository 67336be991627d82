//! What was measured, and what it was held against.

use schemars::JsonSchema;
use serde::Serialize;

use super::exact;
use crate::judge::{
    RuleBook,
    condition::Unmet,
    limits::{Channel, Confidence},
    pollutant::Pollutant,
    verdict::{Outcome, PollutantVerdict, Verdict},
};

/// One pollutant of a verdict.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct PollutantDocument {
    pub pollutant: Pollutant,
    pub verdict: Outcome,
    pub value: f64,
    pub unit: &'static str,
    /// `null` where there is none for this vehicle, or none could be chosen.
    pub limit: Option<f64>,
    /// `null` where the measurement is neither over nor not.
    pub over: Option<bool>,
    pub standard: Option<String>,
    pub clause: Option<String>,
    /// Where the number comes from, and how sure that is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Confidence>,
    /// By itself starts a recheck rather than a penalty.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    pub screening: bool,
    /// Where the instrument cannot have measured the value: what it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    pub instrument: Option<InstrumentDocument>,
}

/// What an instrument can measure, both ends included.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct InstrumentDocument {
    pub min: f64,
    pub max: f64,
    pub source: String,
    pub confidence: Confidence,
}

impl InstrumentDocument {
    fn of(channel: Channel, book: &RuleBook) -> Self {
        let bound = book.limits.bounds().of(channel);
        let (source, confidence) = (bound.source.to_string(), bound.confidence);
        Self { min: exact(bound.min), max: exact(bound.max), source, confidence }
    }
}

impl PollutantDocument {
    pub(super) fn of(verdict: &PollutantVerdict, whole: &Verdict, book: &RuleBook) -> Self {
        let beyond = whole.beyond.contains(&verdict.pollutant).then(|| verdict.pollutant.channel());
        let limit = verdict.entry.and_then(|place| book.limits.limit(place));
        Self {
            pollutant: verdict.pollutant,
            verdict: verdict.outcome,
            value: exact(verdict.value),
            unit: verdict.pollutant.unit(),
            limit: verdict.limit.map(exact),
            over: match verdict.outcome {
                Outcome::OverLimit => Some(true),
                Outcome::Pass => Some(false),
                Outcome::Invalid | Outcome::NotApplicable | Outcome::Undetermined => None,
            },
            standard: limit.map(|limit| limit.citation.standard.to_string()),
            clause: limit.map(|limit| limit.citation.clause.to_string()),
            source: limit.map(|limit| limit.citation.source.to_string()),
            confidence: limit.map(|limit| limit.citation.confidence),
            screening: verdict.screening,
            instrument: beyond.map(|channel| InstrumentDocument::of(channel, book)),
        }
    }
}

/// A condition of measurement that was not met.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ConditionDocument {
    pub condition: &'static str,
    /// `null` when it was not measured.
    pub value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Exclusive lower bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub above: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    pub unit: &'static str,
    pub standard: String,
    pub clause: String,
    pub source: String,
    pub confidence: Confidence,
    /// Where the instrument cannot have measured the value, which then counts as not measured: what it can.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    pub instrument: Option<InstrumentDocument>,
}

impl ConditionDocument {
    pub(super) fn of(unmet: &Unmet, book: &RuleBook) -> Option<Self> {
        let condition = book.limits.condition(unmet.condition)?;
        Some(Self {
            condition: condition.key.name(),
            value: unmet.value().map(exact),
            min: condition.min.map(exact),
            above: condition.above.map(exact),
            max: condition.max.map(exact),
            unit: condition.key.unit(),
            standard: condition.citation.standard.to_string(),
            clause: condition.citation.clause.to_string(),
            source: condition.citation.source.to_string(),
            confidence: condition.citation.confidence,
            instrument: unmet.beyond().map(|channel| InstrumentDocument::of(channel, book)),
        })
    }
}
