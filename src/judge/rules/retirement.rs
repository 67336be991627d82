//! R2: an operating diesel truck of an old stage that stands on a retirement list.
//!
//! The list decides, because it is what the authority resolved. The register is asked whether the entry can be right: each
//! of fuel, use, kind and stage confirms it, contradicts it or is not known, and the verdict says which. A contradiction
//! sends the finding to a person and stops nobody.

use serde::Deserialize;

use super::{Case, Grounds, RuleOutcome, Rules};
use crate::vehicle::facts::{EmissionStage, Vehicle};

pub const NAME: &str = "R2.listed_on_road";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    max_stage: u8,
    lists: Vec<Box<str>>,
}

impl Parameters {
    pub(super) fn problem(&self) -> Option<String> {
        if self.lists.is_empty() {
            return Some("lists names no list".to_owned());
        }
        (self.max_stage > 6).then(|| "max_stage must be 0 to 6".to_owned())
    }
}

#[inline]
pub(super) fn judge<'m>(case: &Case<'m>, parameters: &Parameters, rules: &Rules) -> RuleOutcome<'m> {
    let entries = case.entries(&parameters.lists);
    if entries.is_empty() {
        return case.on_no_list();
    }
    let mut grounds = Grounds::of(entries);
    let (mut confirmed, mut contradicted, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for (name, fits) in facts(case.vehicle().ok(), parameters, rules) {
        match fits {
            Some(true) => confirmed.push(name),
            Some(false) => contradicted.push(name),
            None => unknown.push(name),
        }
    }
    if !contradicted.is_empty() {
        grounds = grounds.review("register_contradicts_list");
    }
    if let Some(stage) = case.vehicle().ok().and_then(|vehicle| rules.stage_by_date.infer(vehicle)) {
        grounds = grounds.fact("emission_stage_inferred", stage);
    }
    RuleOutcome::Fired(
        grounds
            .fact("max_stage", parameters.max_stage)
            .fact("confirmed_by", confirmed)
            .fact("contradicted_by", contradicted)
            .fact("not_known", unknown),
    )
}

/// Whether each fact of the register fits a vehicle of this list.
fn facts(vehicle: Option<&Vehicle>, parameters: &Parameters, rules: &Rules) -> [(&'static str, Option<bool>); 4] {
    let stage = vehicle.and_then(|vehicle| vehicle.stage).map(|stage| match stage {
        EmissionStage::National(stage) => stage <= parameters.max_stage,
        EmissionStage::ZeroEmission => false,
    });
    [
        ("fuel", vehicle.and_then(Vehicle::is_diesel)),
        ("use_nature", vehicle.and_then(|vehicle| rules.classes.is_operating(vehicle))),
        ("vehicle_kind", vehicle.and_then(|vehicle| rules.classes.is_truck(vehicle))),
        ("emission_stage", stage),
    ]
}
