//! Verdicts as JSON (contract section 5): made only where somebody reads them.

use schemars::JsonSchema;
use serde::Serialize;

use super::{
    RuleBook,
    doubt::SuspicionDocument,
    findings::NOTICE_ONLY,
    limits::Confidence,
    pollutant::Pollutant,
    rules::Action,
    verdict::{Judgement, Outcome},
};
use crate::{
    finding::Review,
    reading::{
        Timestamp,
        passage::{Passage, PlateReading},
    },
    vehicle::{
        facts::{ListHit, VehicleMatch},
        surroundings::Surroundings,
    },
};

mod measured;
mod vehicle;

pub use measured::{ConditionDocument, InstrumentDocument, PollutantDocument};
pub(super) use vehicle::labels;
pub use vehicle::{FuelName, MatchName, VehicleDocument};

/// One verdict with everything that explains it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct VerdictDocument {
    pub record_id: String,
    /// `null` when unread.
    pub plate: Option<String>,
    /// The plate as the camera read it, with `O` or `I`, which no plate has: `plate` has 0 and 1 in their places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plate_as_read: Option<String>,
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
    /// The vehicle rules among them, with what explains them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub rules_explained: Vec<RuleDocument>,
    /// Vehicle rules that lack an input: they neither accuse nor acquit.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub rules_undetermined: Vec<UndeterminedDocument>,
    /// The year whose inspection this vehicle may be exempted from by a stable retrofit: a candidate, not an exemption.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exemption_candidate: Option<ExemptionDocument>,
    /// Why the verdict is not a plain one, in words of a closed set.
    pub reasons: Vec<String>,
    /// The conditions not met, with the numbers behind `reasons`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub conditions: Vec<ConditionDocument>,
    /// Conditions that nobody could look at, because their value is not known, and that the table of limits lets pass all
    /// the same (`when_missing = "ignore"`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub conditions_passed_over: Vec<&'static str>,
    /// Why a person must look before anything of this passage reaches the police queue. What concerns one rule alone stands
    /// with that rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub needs_review: Vec<String>,
    /// For a vehicle of unknown fuel that looks like a diesel: what its values would mean. No limit applies to it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(default)]
    pub suspicion: Option<SuspicionDocument>,
    /// Version of the table of limits that was used.
    pub limits_version: String,
    /// Version of the table of vehicle rules that was used.
    pub rules_version: String,
}

/// A vehicle rule that fired.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct RuleDocument {
    pub rule: &'static str,
    pub action: Action,
    /// Facts of the register and what follows from them; which ones depends on the rule.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    #[schemars(default)]
    pub facts: serde_json::Map<String, serde_json::Value>,
    /// List entries behind it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub entries: Vec<EntryDocument>,
    /// Why a person must look at this rule's finding in particular.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub needs_review: Vec<&'static str>,
    pub standard: String,
    pub clause: String,
    pub source: String,
    pub confidence: Confidence,
}

/// A list entry that a finding rests on.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct EntryDocument {
    pub list: String,
    pub version: i32,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub valid_from: Option<Timestamp>,
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub valid_to: Option<Timestamp>,
    pub reason: Option<String>,
    pub document_no: Option<String>,
}

impl EntryDocument {
    pub fn of(hit: &ListHit) -> Self {
        Self {
            list: hit.list.to_string(),
            version: hit.version,
            valid_from: hit.valid_from,
            valid_to: hit.valid_to,
            reason: hit.reason.as_deref().map(str::to_owned),
            document_no: hit.document_no.as_deref().map(str::to_owned),
        }
    }
}

/// A candidate for the exemption from one year's inspection (R4).
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ExemptionDocument {
    pub year: i32,
    /// The list entry that says the retrofit complied stably.
    pub entry: EntryDocument,
}

/// A vehicle rule that could not be decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct UndeterminedDocument {
    pub rule: &'static str,
    /// The input that is missing, or contradicts another.
    pub missing: &'static str,
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
    /// Why a person must look at this series in particular.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(default)]
    pub needs_review: Vec<&'static str>,
}

/// The `f64` that prints as the `f32` does: 41.2 instead of 41.20000076293945, also through a `serde_json::Value`, which
/// knows no single precision.
pub fn exact(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}

impl Judgement {
    /// The verdict as the contract words it. `book` is the one that judged.
    pub fn document(&self, passage: &Passage, matched: &VehicleMatch, book: &RuleBook) -> VerdictDocument {
        let mut needs_review: Vec<String> = Vec::new();
        for finding in &self.findings {
            let Review::Needed(why) = &finding.review else { continue };
            for why in why.iter().filter(|why| **why != NOTICE_ONLY) {
                if !needs_review.iter().any(|known| *known == **why) {
                    needs_review.push(why.to_string());
                }
            }
        }
        VerdictDocument {
            rules: self.findings.iter().map(|finding| finding.rule.to_string()).collect(),
            needs_review,
            ..of_verdict(self, passage, matched, book)
        }
    }
}

/// The document without the names of the rules that fired, which the findings hold.
pub(super) fn of_verdict(
    judgement: &Judgement,
    passage: &Passage,
    matched: &VehicleMatch,
    book: &RuleBook,
) -> VerdictDocument {
    let verdict = &judgement.verdict;
    let undetermined =
        |each: &super::rules::Undetermined| UndeterminedDocument { rule: each.rule, missing: each.missing };
    // Exemption has nothing to do with where the vehicle was.
    let nowhere = Surroundings::none();
    VerdictDocument {
        record_id: passage.record_id.as_str().to_owned(),
        plate: match passage.plate {
            PlateReading::Unread => None,
            PlateReading::Read(plate) => Some(plate.to_string()),
        },
        plate_as_read: passage.plate_as_read.map(|spelling| spelling.to_string()),
        plate_color: passage.plate_color,
        verdict: verdict.outcome,
        pollutants: verdict.pollutants.iter().map(|each| PollutantDocument::of(each, verdict, book)).collect(),
        vehicle: VehicleDocument::of(passage, matched, book),
        episodes: Vec::new(),
        rules: Vec::new(),
        rules_explained: judgement.explained.clone(),
        rules_undetermined: judgement.undetermined.iter().map(undetermined).collect(),
        exemption_candidate: book
            .rules
            .exemption_candidate(&super::remote_sensing::case(verdict, passage, matched, &nowhere, false))
            .map(|found| ExemptionDocument { year: found.year, entry: EntryDocument::of(found.entry) }),
        reasons: verdict.reasons().map(str::to_owned).collect(),
        conditions: verdict.unmet.iter().filter_map(|unmet| ConditionDocument::of(unmet, book)).collect(),
        conditions_passed_over: verdict.passed_over.iter().map(|key| key.name()).collect(),
        needs_review: Vec::new(),
        suspicion: verdict.suspicion.as_deref().map(|suspicion| SuspicionDocument::of(suspicion, book)),
        limits_version: book.limits.version().to_owned(),
        rules_version: book.rules.version().to_owned(),
    }
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
