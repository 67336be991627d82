//! R2: an operating diesel truck of an old stage that stands on a retirement list.
//!
//! The list decides, because it is what the authority resolved. The register is asked whether the entry can be right: each
//! of fuel, use, kind and stage confirms it, contradicts it or is not known, and the verdict says which. A contradiction
//! sends the finding to a person and stops nobody. What is not known contradicts nothing.
//!
//! Each list means the vehicles up to a stage of its own, the same that its `[[bar]]` in the table of limits bars:
//! [`Rules::disagreement`] compares the two when they are loaded. Of a vehicle on two lists the one that means more counts.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Case, Grounds, RuleOutcome, Rules};
use crate::{
    judge::limits::Bar,
    vehicle::facts::{ListHit, Vehicle},
};

pub const NAME: &str = "R2.listed_on_road";

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    max_stage: u8,
    lists: Vec<Box<str>>,
    /// Lists that mean another stage than `max_stage`.
    #[serde(default)]
    max_stage_of: BTreeMap<Box<str>, u8>,
}

impl Parameters {
    pub(super) fn problem(&self) -> Option<String> {
        if self.lists.is_empty() {
            return Some("lists names no list".to_owned());
        }
        if let Some(list) = self.max_stage_of.keys().find(|list| !self.lists.contains(list)) {
            return Some(format!("max_stage_of names {list}, which is not among lists"));
        }
        let too_new = self.max_stage_of.values().chain([&self.max_stage]).any(|stage| *stage > 6);
        too_new.then(|| "max_stage must be 0 to 6".to_owned())
    }

    /// The newest stage that an entry of this list means.
    fn max_stage_of(&self, list: &str) -> u8 {
        self.max_stage_of.get(list).copied().unwrap_or(self.max_stage)
    }
}

#[inline]
pub(super) fn judge<'m>(case: &Case<'m>, parameters: &Parameters, rules: &Rules) -> RuleOutcome<'m> {
    let entries = case.entries(&parameters.lists);
    let limit = |entry: &&ListHit| parameters.max_stage_of(&entry.list);
    let Some(newest) = entries.iter().map(limit).max() else { return case.on_no_list() };
    let stage = case.vehicle().ok().and_then(|vehicle| vehicle.stage);
    let stage_fits = stage.map(|stage| stage.at_most(newest));
    let mut grounds = Grounds::of(entries);
    let (mut confirmed, mut contradicted, mut unknown) = (Vec::new(), Vec::new(), Vec::new());
    for (name, fits) in facts(case.vehicle().ok(), stage_fits, rules) {
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
            .fact("max_stage", newest)
            .fact("confirmed_by", confirmed)
            .fact("contradicted_by", contradicted)
            .fact("not_known", unknown),
    )
}

/// Whether each fact of the register fits a vehicle of this list.
fn facts(vehicle: Option<&Vehicle>, stage_fits: Option<bool>, rules: &Rules) -> [(&'static str, Option<bool>); 4] {
    [
        ("fuel", vehicle.and_then(Vehicle::is_diesel)),
        ("use_nature", vehicle.and_then(|vehicle| rules.classes.is_operating(vehicle))),
        ("vehicle_kind", vehicle.and_then(|vehicle| rules.classes.is_truck(vehicle))),
        ("emission_stage", stage_fits),
    ]
}

/// One list, and the newest stage that each table lets it mean.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disagreement {
    pub list: Box<str>,
    pub by_rule: u8,
    pub by_bar: u8,
}

impl Rules {
    /// A list that R2, as it stands last, and its bar at other desks take to mean different vehicles.
    pub fn disagreement(&self, bars: &[Bar]) -> Option<Disagreement> {
        let parameters = &self.retirement.0.last()?.parameters;
        bars.iter().filter(|bar| parameters.lists.contains(&bar.list)).find_map(|bar| {
            let (by_rule, by_bar) = (parameters.max_stage_of(&bar.list), bar.max_stage?);
            (by_rule != by_bar).then(|| Disagreement { list: bar.list.clone(), by_rule, by_bar })
        })
    }
}
