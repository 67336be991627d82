//! Verdicts as JSON (contract section 5): made only where somebody reads them.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    RuleBook,
    condition::Unmet,
    limits::Confidence,
    pollutant::Pollutant,
    verdict::{Judgement, Outcome, PollutantVerdict, Verdict},
};
use crate::{
    reading::{
        Timestamp,
        passage::{Passage, PlateReading},
    },
    vehicle::facts::{Fuel, MatchKind, VehicleMatch},
};

/// One verdict with everything that explains it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct VerdictDocument {
    pub record_id: String,
    /// `null` when unread.
    pub plate: Option<String>,
    #[schemars(with = "crate::reading::PlateColor")]
    pub plate_color: crate::reading::PlateColor,
    pub verdict: Outcome,
    /// Every pollutant that was measured and that some class of vehicles has a limit for.
    pub pollutants: Vec<PollutantDocument>,
    pub vehicle: VehicleDocument,
    /// Series of consecutive tests over the limit that hold this reading.
    pub episodes: Vec<EpisodeDocument>,
    /// Every rule that fired.
    pub rules: Vec<String>,
    /// Why the verdict is not a plain one, in words of a closed set.
    pub reasons: Vec<String>,
    /// The conditions not met, with the numbers behind `reasons`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub conditions: Vec<ConditionDocument>,
    /// Why a person must look before anything reaches the police queue.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub needs_review: Vec<String>,
    /// Version of the table of limits that was used.
    pub limits_version: String,
}

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
}

/// What the register and the lists said of the vehicle.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct VehicleDocument {
    #[serde(rename = "match")]
    pub kind: MatchName,
    /// 0..=6, 99 for zero emission, `null` when not registered.
    pub emission_stage: Option<u8>,
    pub fuel: Option<FuelName>,
    /// Lists with their versions, such as `retire_n3@v12`.
    pub lists: Vec<String>,
}

/// How the vehicle was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MatchName {
    Exact,
    None,
}

/// Registered fuel, reduced to what rules ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FuelName {
    Petrol,
    Diesel,
    Gas,
    Electric,
    Hybrid,
    Other,
    Unknown,
}

impl From<Fuel> for FuelName {
    fn from(fuel: Fuel) -> Self {
        match fuel {
            Fuel::Petrol => Self::Petrol,
            Fuel::Diesel => Self::Diesel,
            Fuel::Gas => Self::Gas,
            Fuel::Electric => Self::Electric,
            Fuel::Hybrid => Self::Hybrid,
            Fuel::Other => Self::Other,
            Fuel::Unknown => Self::Unknown,
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
}

/// Consecutive valid tests over the limit of one pollutant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub struct EpisodeDocument {
    pub pollutant: Pollutant,
    /// Record ids in the order of time.
    pub readings: Vec<String>,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub from: Timestamp,
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub to: Timestamp,
    /// The reading that completed the number of tests the rule asks for.
    pub convicted_by: String,
}

/// The `f64` that prints as the `f32` does: 41.2 instead of 41.20000076293945, also through a `serde_json::Value`, which
/// knows no single precision.
pub fn exact(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

impl Judgement {
    /// The verdict as the contract words it. `book` is the one that judged.
    pub fn document(&self, passage: &Passage, matched: &VehicleMatch, book: &RuleBook) -> VerdictDocument {
        VerdictDocument {
            rules: self.findings.iter().map(|finding| finding.rule.to_string()).collect(),
            needs_review: self.review.iter().map(ToString::to_string).collect(),
            ..of_verdict(&self.verdict, passage, matched, book)
        }
    }
}

/// The document without what depends on findings: rules, review.
pub(super) fn of_verdict(
    verdict: &Verdict,
    passage: &Passage,
    matched: &VehicleMatch,
    book: &RuleBook,
) -> VerdictDocument {
    VerdictDocument {
        record_id: passage.record_id.as_str().to_owned(),
        plate: match passage.plate {
            PlateReading::Unread => None,
            PlateReading::Read(plate) => Some(plate.to_string()),
        },
        plate_color: passage.plate_color,
        verdict: verdict.outcome,
        pollutants: verdict.pollutants.iter().map(|each| pollutant(each, book)).collect(),
        vehicle: VehicleDocument {
            kind: match matched.kind {
                MatchKind::Exact => MatchName::Exact,
                MatchKind::None => MatchName::None,
            },
            emission_stage: matched.vehicle.and_then(|v| v.stage).map(|stage| stage.code()),
            fuel: matched.vehicle.map(|v| v.fuel.into()),
            lists: matched.lists.iter().map(|hit| hit.label()).collect(),
        },
        episodes: Vec::new(),
        rules: Vec::new(),
        reasons: verdict.reasons().map(str::to_owned).collect(),
        conditions: verdict.unmet.iter().filter_map(|unmet| condition(unmet, book)).collect(),
        needs_review: Vec::new(),
        limits_version: book.limits.version().to_owned(),
    }
}

fn pollutant(verdict: &PollutantVerdict, book: &RuleBook) -> PollutantDocument {
    let limit = verdict.entry.and_then(|place| book.limits.limit(place));
    PollutantDocument {
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
        screening: limit.is_some_and(|limit| limit.screening),
    }
}

fn condition(unmet: &Unmet, book: &RuleBook) -> Option<ConditionDocument> {
    let condition = book.limits.condition(unmet.condition)?;
    Some(ConditionDocument {
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
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exact_prints_like_single_precision_and_returns_to_it(bits: u32) {
            let single = f32::from_bits(bits);
            prop_assume!(single.is_finite());
            prop_assert_eq!(exact(single) as f32, single);
            if (1e-4..1e15).contains(&single.abs()) {
                prop_assert_eq!(exact(single).to_string(), single.to_string());
            }
        }
    }

    #[test]
    fn limits_keep_their_decimal_point() {
        let text = |value: f32| serde_json::to_value(exact(value)).expect("finite").to_string();
        assert_eq!((text(41.2).as_str(), text(30.0).as_str()), ("41.2", "30.0"));
    }
}
