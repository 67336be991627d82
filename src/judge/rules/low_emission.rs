//! R9: a diesel truck in a low-emission zone in its hours, without a permit: of an old stage, or not meeting what is asked
//! of its monitoring.
//!
//! Whether a newer truck's terminal does what is asked is not in the register. A list can say that it does not; absence
//! from the list proves nothing, so the rule stays undetermined for such a truck. A permit is an entry of the zone's own
//! list, and counts in its own interval; a truck in two zones needs the permits of both.

use serde::Deserialize;
use serde_json::json;
use smallvec::SmallVec;

use super::{Case, Grounds, RuleOutcome, Rules};
use crate::{
    vehicle::facts::{EmissionStage, Vehicle},
    zone::Zone,
};

pub const NAME: &str = "R9.low_emission_zone";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// Zones of these rules are low-emission zones.
    zone_rules: Vec<Box<str>>,
    max_stage: u8,
    /// Vehicles that do not meet what is asked of their monitoring.
    monitoring_lists: Vec<Box<str>>,
}

impl Parameters {
    pub(super) fn problem(&self) -> Option<String> {
        if self.zone_rules.is_empty() {
            return Some("zone_rules names no rule of a zone".to_owned());
        }
        (self.max_stage > 6).then(|| "max_stage must be 0 to 6".to_owned())
    }

    fn restricts(&self, zone: &Zone) -> bool {
        self.zone_rules.contains(&zone.rule)
    }
}

#[inline]
pub(super) fn judge<'m>(case: &Case<'m>, parameters: &Parameters, rules: &Rules) -> RuleOutcome<'m> {
    let zones = case.surroundings.zones(case.passage.passed_at).filter(|zone| parameters.restricts(zone));
    let zones: SmallVec<[&Zone; 2]> = zones.collect();
    if zones.is_empty() {
        return RuleOutcome::Clear;
    }
    in_zones(case, parameters, rules, zones)
}

fn in_zones<'m>(
    case: &Case<'m>,
    parameters: &Parameters,
    rules: &Rules,
    mut zones: SmallVec<[&Zone; 2]>,
) -> RuleOutcome<'m> {
    // A permit settles it for whatever vehicle carries the plate.
    zones.retain(|zone| !permitted(case, zone));
    if zones.is_empty() {
        return RuleOutcome::Clear;
    }
    let vehicle = match case.vehicle() {
        Ok(vehicle) => vehicle,
        Err(missing) => return RuleOutcome::Undetermined(missing),
    };
    // What kind it is decides before what it burns: a zone for heavy trucks says nothing of a light one of unknown fuel.
    zones.retain(|zone| zone.classes.hold(vehicle.kind) != Some(false));
    if zones.is_empty() {
        return RuleOutcome::Clear;
    }
    match (vehicle.is_diesel(), rules.classes.is_truck(vehicle)) {
        (Some(true), Some(true)) => {}
        (None, Some(true) | None) => return RuleOutcome::Undetermined("fuel"),
        (Some(true), None) => return RuleOutcome::Undetermined("vehicle_kind"),
        (Some(false), _) | (_, Some(false)) => return RuleOutcome::NotApplicable,
    }
    let entries = case.entries(&parameters.monitoring_lists);
    let because = match vehicle.stage {
        Some(EmissionStage::National(stage)) if stage <= parameters.max_stage => "emission_stage",
        _ if !entries.is_empty() => "monitoring_unmet",
        Some(EmissionStage::National(_)) => return RuleOutcome::Undetermined("terminal_state"),
        // A diesel truck without emissions contradicts itself.
        Some(EmissionStage::ZeroEmission) | None => return RuleOutcome::Undetermined("emission_stage"),
    };
    if !case.surroundings.place_is_known() {
        return RuleOutcome::Undetermined("place");
    }
    let grounds = Grounds::of(entries).fact("because", because).fact("max_stage", parameters.max_stage);
    RuleOutcome::Fired(
        stage_fact(grounds, vehicle).fact("zones", zones.iter().map(|zone| shown(zone)).collect::<Vec<_>>()),
    )
}

fn permitted(case: &Case<'_>, zone: &Zone) -> bool {
    zone.permits.as_ref().is_some_and(|list| !case.entries(std::slice::from_ref(list)).is_empty())
}

pub(super) fn stage_fact<'m>(grounds: Grounds<'m>, vehicle: &Vehicle) -> Grounds<'m> {
    match vehicle.stage {
        Some(stage) => grounds.fact("emission_stage", stage.code()),
        None => grounds,
    }
}

fn shown(zone: &Zone) -> serde_json::Value {
    json!({
        "name": &*zone.name,
        "kind": &*zone.kind,
        "rule": &*zone.rule,
        "hours": zone.hours.to_string(),
        "valid_from": zone.valid_from,
        "valid_to": zone.valid_to,
        "vehicle_classes": zone.classes.to_string(),
        "permits": zone.permits.as_deref(),
    })
}

#[cfg(test)]
mod tests;
