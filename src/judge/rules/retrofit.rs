//! R4: a diesel truck of stage III over a limit for which a control device is feasible has to be fitted with one; and the
//! candidates for that year's exemption from inspection.
//!
//! Whether a device is feasible is what a list says. Not being on it is not "infeasible": a truck that is over the limit and
//! was never assessed leaves the rule undetermined. One roadside test over a limit is not the failed test that
//! obliges anybody, so the shipped action is a notice; a limit that only screens is said to be one.
//!
//! A vehicle whose retrofit complied stably (list `retrofit_stable`) is *shown* as a candidate of the year in which it
//! passes. A candidate is no exemption: somebody grants that elsewhere. A passage over a limit shows none.

use chrono::Datelike as _;
use serde::Deserialize;

use super::{Case, Grounds, Measured, RuleOutcome, Rules};
use crate::vehicle::facts::{EmissionStage, ListHit};

pub const NAME: &str = "R4.retrofit_required";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    stage: u8,
    /// Vehicles a control device is feasible for.
    lists: Vec<Box<str>>,
    /// Vehicles whose retrofit complied stably.
    stable_lists: Vec<Box<str>>,
}

impl Parameters {
    pub(super) fn problem(&self) -> Option<String> {
        if self.lists.is_empty() {
            return Some("lists names no list".to_owned());
        }
        (self.stage > 6).then(|| "stage must be 0 to 6".to_owned())
    }
}

/// A vehicle that may be exempted from the inspection of a year.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate<'m> {
    pub year: i32,
    pub entry: &'m ListHit,
}

#[inline]
pub(super) fn judge<'m>(case: &Case<'m>, parameters: &Parameters, rules: &Rules) -> RuleOutcome<'m> {
    if case.measured == Measured::NotOver {
        return RuleOutcome::Clear;
    }
    let vehicle = match case.vehicle() {
        Ok(vehicle) => vehicle,
        Err(missing) => return RuleOutcome::Undetermined(missing),
    };
    // With a device already fitted the vehicle is a case for repair, or for R7.
    if vehicle.retrofit {
        return RuleOutcome::NotApplicable;
    }
    let (is_diesel, is_truck) = (vehicle.is_diesel(), rules.classes.is_truck(vehicle));
    let is_of_stage = match vehicle.stage {
        Some(EmissionStage::National(stage)) => Some(stage == parameters.stage),
        // A diesel vehicle without emissions contradicts itself.
        Some(EmissionStage::ZeroEmission) | None => None,
    };
    let facts = [("fuel", is_diesel), ("vehicle_kind", is_truck), ("emission_stage", is_of_stage)];
    // One fact that excludes the vehicle is enough, whatever else is missing.
    if facts.iter().any(|(_, fits)| *fits == Some(false)) {
        return RuleOutcome::NotApplicable;
    }
    if let Some((missing, _)) = facts.iter().find(|(_, fits)| fits.is_none()) {
        return RuleOutcome::Undetermined(missing);
    }
    let entries = case.entries(&parameters.lists);
    if entries.is_empty() {
        return RuleOutcome::Undetermined("retrofit_feasibility");
    }
    let grounds = Grounds::of(entries).fact("emission_stage", parameters.stage);
    RuleOutcome::Fired(match case.measured {
        Measured::OverScreening => grounds.review("screening_only"),
        Measured::Over | Measured::NotOver => grounds,
    })
}

impl Rules {
    /// Whether the vehicle of this passage is a candidate for that year's exemption (R4).
    pub fn exemption_candidate<'m>(&self, case: &Case<'m>) -> Option<Candidate<'m>> {
        let dated = self.retrofit.at(case.passage.passed_at)?;
        if case.measured != Measured::NotOver {
            return None;
        }
        let entry = case.entries(&dated.parameters.stable_lists).into_iter().next()?;
        Some(Candidate { year: case.passage.passed_at.china_day().year(), entry })
    }
}
