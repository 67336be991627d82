//! R1: a diesel vehicle that is to be eliminated, by its stage, for want of a registered stage, or relabelled from yellow
//! to green (黄改绿).
//!
//! That no stage is registered fires by the clause of the plan, and waits for a person: an empty field may be a gap in our
//! copy of the register. The stage that the registration date suggests is shown beside it.

use serde::Deserialize;

use super::{Case, Grounds, RuleOutcome, Rules};
use crate::vehicle::facts::EmissionStage;

pub const NAME: &str = "R1.to_eliminate_on_road";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    max_stage: u8,
    /// Vehicles relabelled from yellow to green.
    lists: Vec<Box<str>>,
}

impl Parameters {
    pub(super) fn problem(&self) -> Option<String> {
        (self.max_stage > 6).then(|| "max_stage must be 0 to 6".to_owned())
    }
}

#[inline]
pub(super) fn judge<'m>(case: &Case<'m>, parameters: &Parameters, rules: &Rules) -> RuleOutcome<'m> {
    let entries = case.entries(&parameters.lists);
    if !entries.is_empty() {
        let grounds = Grounds::of(entries).fact("because", "relabelled_yellow_to_green");
        return RuleOutcome::Fired(match case.vehicle() {
            Ok(vehicle) if vehicle.is_diesel() == Some(false) => grounds.review("fuel_contradicts_list"),
            _ => grounds,
        });
    }
    let vehicle = match case.vehicle() {
        Ok(vehicle) => vehicle,
        Err(missing) => return RuleOutcome::Undetermined(missing),
    };
    // A stage new enough excludes the vehicle whatever it burns.
    let is_newer = matches!(vehicle.stage, Some(EmissionStage::National(stage)) if stage > parameters.max_stage);
    match vehicle.is_diesel() {
        _ if is_newer => return RuleOutcome::Clear,
        Some(true) => {}
        None => return RuleOutcome::Undetermined("fuel"),
        Some(false) => return RuleOutcome::NotApplicable,
    }
    match vehicle.stage {
        Some(EmissionStage::National(stage)) => RuleOutcome::Fired(
            Grounds::default()
                .fact("because", "emission_stage")
                .fact("emission_stage", stage)
                .fact("max_stage", parameters.max_stage),
        ),
        // A diesel vehicle without emissions contradicts itself.
        Some(EmissionStage::ZeroEmission) => RuleOutcome::Undetermined("emission_stage"),
        // What rows dispute is not known, which is not the same as never registered.
        None if vehicle.contradictory => RuleOutcome::Undetermined("emission_stage"),
        None => {
            let grounds = Grounds::default().fact("because", "emission_stage_not_registered");
            let grounds = match rules.stage_by_date.infer(vehicle) {
                Some(stage) => grounds.fact("emission_stage_inferred", stage),
                None => grounds,
            };
            RuleOutcome::Fired(grounds.review("emission_stage_not_registered"))
        }
    }
}
