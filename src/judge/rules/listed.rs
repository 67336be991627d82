//! R3 and R7: vehicles that a list alone speaks of, because no field of the register does.
//!
//! R3 is an old gas vehicle (lean-burn, or petrol converted to gas): the technology stands in the list, the register can
//! only say whether the vehicle burns gas at all. R7 is a vehicle that is still over the limit after repair or control
//! technology: the result of workshops, which the list hands on.

use serde::Deserialize;

use super::{Case, Grounds, RuleOutcome};
use crate::vehicle::facts::Fuel;

pub const OLD_GAS: &str = "R3.old_gas_on_road";
pub const UNREPAIRABLE: &str = "R7.unrepairable_on_road";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    lists: Vec<Box<str>>,
}

impl Parameters {
    pub(super) fn problem(&self) -> Option<String> {
        self.lists.is_empty().then(|| "lists names no list".to_owned())
    }
}

#[inline]
pub(super) fn old_gas<'m>(case: &Case<'m>, parameters: &Parameters) -> RuleOutcome<'m> {
    let entries = case.entries(&parameters.lists);
    if entries.is_empty() {
        return case.on_no_list();
    }
    let grounds = Grounds::of(entries);
    RuleOutcome::Fired(match case.vehicle().map(|vehicle| vehicle.fuel) {
        Ok(Fuel::Gas) => grounds.fact("confirmed_by", vec!["fuel"]),
        // Bi-fuel and hybrid vehicles and those of other fuels may have been converted without the register saying so.
        Ok(Fuel::Diesel | Fuel::Electric) => {
            grounds.fact("contradicted_by", vec!["fuel"]).review("register_contradicts_list")
        }
        _ => grounds.fact("not_known", vec!["fuel"]),
    })
}

#[inline]
pub(super) fn unrepairable<'m>(case: &Case<'m>, parameters: &Parameters) -> RuleOutcome<'m> {
    let entries = case.entries(&parameters.lists);
    if entries.is_empty() { case.on_no_list() } else { RuleOutcome::Fired(Grounds::of(entries)) }
}
