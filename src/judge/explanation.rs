//! What stands beside a stored verdict to explain it, as compact as it can be: the column `passage.explained`.
//!
//! `null` where there is nothing to say, which is most passages. Findings carry the whole verdict; this is for those that
//! lead to none, and for asking which passages were undetermined, and why.

use serde::{Serialize, Serializer};
use smallvec::SmallVec;

use super::{
    RuleBook, remote_sensing,
    rules::Undetermined,
    verdict::{Judgement, Outcome},
};
use crate::{
    reading::passage::Passage,
    vehicle::{facts::VehicleMatch, surroundings::Surroundings},
};

#[derive(Serialize)]
struct Explanation<'a> {
    /// The plate as it was read, where it is another one than stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    plate_as_read: Option<String>,
    /// Why the verdict is not a plain one.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    reasons: &'a [&'static str],
    /// Number of the rule and what it lacks.
    #[serde(skip_serializing_if = "<[_]>::is_empty", serialize_with = "by_number")]
    rules_undetermined: &'a [Undetermined],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    conditions_passed_over: &'a [&'static str],
    /// The year whose inspection the vehicle may be exempted from (R4).
    #[serde(skip_serializing_if = "Option::is_none")]
    exemption_candidate: Option<i32>,
}

/// `R9` says as much as the rule's whole name.
fn by_number<S: Serializer>(undetermined: &[Undetermined], serializer: S) -> Result<S::Ok, S::Error> {
    let number = |rule: &'static str| rule.split_once('.').map_or(rule, |(number, _)| number);
    serializer.collect_map(undetermined.iter().map(|each| (number(each.rule), each.missing)))
}

impl Judgement {
    /// The JSON text for the row of the passage; `None` where there is nothing to say. Many passages are of vehicles that the
    /// register does not know, so what follows from that alone is not said again for each rule; and conditions that nobody
    /// could look at are the same for nearly every passage, so they stand beside the reasons of an invalid measurement only.
    pub fn explanation(&self, passage: &Passage, matched: &VehicleMatch, book: &RuleBook) -> Option<Vec<u8>> {
        let reasons: SmallVec<[&'static str; 8]> = self.verdict.reasons().collect();
        // Only lists make a candidate.
        let exemption_candidate = if matched.lists.is_empty() { None } else { self.candidate(passage, matched, book) };
        let follows = |each: &&Undetermined| matched.vehicle.is_none() && each.missing == "vehicle";
        let undetermined: SmallVec<[Undetermined; 4]> =
            self.undetermined.iter().filter(|each| !follows(each)).copied().collect();
        if reasons.is_empty() && undetermined.is_empty() && exemption_candidate.is_none() {
            return None;
        }
        let is_invalid = self.verdict.outcome == Outcome::Invalid;
        let passed_over = self.verdict.passed_over.iter().filter(|_| is_invalid);
        let passed_over: SmallVec<[&'static str; 4]> = passed_over.map(|key| key.name()).collect();
        let explanation = Explanation {
            plate_as_read: passage.plate_as_read.map(|spelling| spelling.to_string()),
            reasons: &reasons,
            rules_undetermined: &undetermined,
            conditions_passed_over: &passed_over,
            exemption_candidate,
        };
        serde_json::to_vec(&explanation).ok()
    }

    fn candidate(&self, passage: &Passage, matched: &VehicleMatch, book: &RuleBook) -> Option<i32> {
        // Exemption has nothing to do with where the vehicle was.
        let nowhere = Surroundings::none();
        let case = remote_sensing::case(&self.verdict, passage, matched, &nowhere, false);
        book.rules.exemption_candidate(&case).map(|candidate| candidate.year)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        judge::{
            self,
            tests::{book, matched, passage_with, stranger, truck},
        },
        vehicle::facts::{EmissionStage, Vehicle},
    };

    fn explained(changes: Value, vehicle: &VehicleMatch) -> Option<Value> {
        let passage = passage_with(changes);
        let text = judge::passage(&passage, vehicle, None, &book(), true).explanation(&passage, vehicle, &book());
        text.map(|text| serde_json::from_slice(&text).expect("JSON"))
    }

    fn good() -> Vehicle {
        Vehicle { stage: EmissionStage::from_code(6), registered_on: Some(19_000), ..truck() }
    }

    #[test]
    fn a_plain_verdict_leaves_nothing_though_conditions_were_passed_over() {
        let vehicle = matched(good(), &[]);
        let passage = passage_with(json!({}));
        let judgement = judge::passage(&passage, &vehicle, None, &book(), true);
        assert!(!judgement.verdict.passed_over.is_empty());
        assert_eq!(explained(json!({}), &vehicle), None);
        assert_eq!(explained(json!({"opacity_pct": 41.2}), &vehicle), None, "over a limit: the finding says all");
    }

    #[test]
    fn an_invalid_measurement_says_why_and_what_nobody_looked_at() {
        let found = explained(json!({"wind_speed_ms": 7.3}), &matched(good(), &[])).expect("a reason");
        assert_eq!(
            found,
            json!({
                "reasons": ["wind_speed_ms_too_high"],
                "conditions_passed_over": ["calibration_age_days", "certificate_days_left"],
            })
        );
    }

    #[test]
    fn rules_that_lack_an_input_and_candidates_are_named() {
        let found = explained(json!({}), &stranger()).expect("a stranger");
        let reasons = json!({"reasons": ["vehicle_not_registered", "diesel_suspected"]});
        assert_eq!(found, reasons, "and not that each rule lacks the vehicle");
        let no_stage = matched(Vehicle { stage: None, contradictory: true, ..good() }, &[]);
        let found = explained(json!({}), &no_stage).expect("a rule that lacks its input");
        assert_eq!(found["rules_undetermined"]["R1"], "emission_stage");
        let candidate = explained(json!({}), &matched(good(), &["retrofit_stable"])).expect("a candidate");
        assert_eq!(candidate["exemption_candidate"], 2026);
    }
}
