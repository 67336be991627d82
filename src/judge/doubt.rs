//! The parts of a verdict that suspect and accuse nobody: perhaps another plate, perhaps a diesel.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    RuleBook,
    document::{FuelName, exact, labels},
    limits::Confidence,
    pollutant::Pollutant,
    suspicion::{Sign, Suspicion},
    verdict::Outcome,
};
use crate::{reading::passage::Passage, vehicle::confusable::Candidate};

/// A listed vehicle that was perhaps meant: the plate read differs in one character that cameras confuse.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CandidateDocument {
    pub plate: String,
    /// Place of the character, counted from 1.
    pub place: u8,
    pub read: char,
    pub meant: char,
    /// How readily one is read as the other, 0..=1.
    pub weight: f64,
    /// Weight x confidence of the recognition; `null` where the rig sent none.
    pub confidence: Option<f64>,
    /// Lists with their versions.
    pub lists: Vec<String>,
}

impl CandidateDocument {
    pub(in crate::judge) fn of(candidate: &Candidate, passage: &Passage) -> Self {
        let confusion = &candidate.confusion;
        Self {
            plate: candidate.key.plate().to_string(),
            place: confusion.place + 1,
            read: confusion.read,
            meant: confusion.meant,
            weight: exact(confusion.weight),
            confidence: passage.plate_confidence.map(|confidence| exact(thousandths(confusion.weight * confidence))),
            lists: labels(&candidate.lists),
        }
    }
}

/// What the values of a suspected diesel would mean.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SuspicionDocument {
    pub fuel: FuelName,
    pub signs: Vec<Sign>,
    pub pollutants: Vec<SuspectedPollutantDocument>,
}

/// One valid measurement against the limit it would have.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SuspectedPollutantDocument {
    pub pollutant: Pollutant,
    pub value: f64,
    pub unit: &'static str,
    pub limit: f64,
    pub would_be: Outcome,
    pub standard: Option<String>,
    pub clause: Option<String>,
    pub source: Option<String>,
    pub confidence: Option<Confidence>,
    /// By itself starts a recheck rather than a penalty.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    #[schemars(default)]
    pub screening: bool,
}

impl SuspicionDocument {
    pub(super) fn of(suspicion: &Suspicion, book: &RuleBook) -> Self {
        let tests = suspicion.tests.iter().map(|test| {
            let limit = book.limits.limit(test.entry);
            let citation = limit.map(|limit| &limit.citation);
            SuspectedPollutantDocument {
                pollutant: test.pollutant,
                value: exact(test.value),
                unit: test.pollutant.unit(),
                limit: exact(test.limit),
                would_be: if test.over { Outcome::OverLimit } else { Outcome::Pass },
                standard: citation.map(|citation| citation.standard.to_string()),
                clause: citation.map(|citation| citation.clause.to_string()),
                source: citation.map(|citation| citation.source.to_string()),
                confidence: citation.map(|citation| citation.confidence),
                screening: limit.is_some_and(|limit| limit.screening),
            }
        });
        Self { fuel: FuelName::Diesel, signs: suspicion.signs.to_vec(), pollutants: tests.collect() }
    }
}

/// More digits than the weights have would pretend to know.
fn thousandths(value: f32) -> f32 {
    (value * 1000.0).round() / 1000.0
}
