//! R10: a vehicle that a heavy-pollution warning keeps off the road.
//!
//! The ladder says which level keeps whom off. It is cumulative: a level forbids what the levels below it forbid. The
//! warnings are those in force when the vehicle passed, so that a late reading is judged as an early one would have been. The
//! grounds name each warning without its end, which is not known while it lasts: otherwise a finding would depend on when
//! its reading arrived. An officer is asked for only while one of the warnings is still in force.

use serde::Deserialize;
use serde_json::json;

use super::{Case, Grounds, KindPrefix, RuleOutcome, classes::letters, low_emission::stage_fact};
use crate::{
    vehicle::facts::{EmissionStage, Fuel, Vehicle},
    warning::{Level, Warning},
};

pub const NAME: &str = "R10.heavy_pollution_ban";

/// The parameters as the file has them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    banned_lists: Vec<Box<str>>,
    exempt_lists: Vec<Box<str>>,
    exempt_uses: Vec<String>,
    ladder: Vec<Step>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    level: Level,
    kinds: Vec<String>,
    /// None: any.
    #[serde(default)]
    fuels: Vec<StepFuel>,
    max_stage: u8,
    #[serde(default)]
    exempt_lists: Vec<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum StepFuel {
    Diesel,
    Petrol,
    Gas,
}

impl From<StepFuel> for Fuel {
    fn from(fuel: StepFuel) -> Self {
        match fuel {
            StepFuel::Diesel => Fuel::Diesel,
            StepFuel::Petrol => Fuel::Petrol,
            StepFuel::Gas => Fuel::Gas,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Parameters {
    /// Vehicles that every level keeps off.
    banned_lists: Vec<Box<str>>,
    /// Vehicles that no level keeps off.
    exempt_lists: Vec<Box<str>>,
    /// Bits of use letters that no level keeps off.
    exempt_uses: u32,
    /// By level, rising.
    ladder: Vec<Rung>,
}

/// Whom one level keeps off beyond those below it.
#[derive(Clone, Debug)]
struct Rung {
    level: Level,
    kinds: Box<[KindPrefix]>,
    fuels: Vec<Fuel>,
    max_stage: u8,
    exempt_lists: Vec<Box<str>>,
}

impl Table {
    pub(super) fn build(self, problems: &mut Vec<String>) -> Parameters {
        let exempt_uses = letters(&self.exempt_uses, problems);
        let mut ladder: Vec<Rung> = Vec::new();
        for step in self.ladder {
            let kinds = KindPrefix::all(&step.kinds, problems);
            if kinds.is_empty() {
                problems.push(format!("level {} names no kinds", step.level.name()));
            }
            if step.max_stage > 6 {
                problems.push("max_stage must be 0 to 6".to_owned());
            }
            let fuels = step.fuels.into_iter().map(Fuel::from).collect();
            let Step { level, max_stage, exempt_lists, .. } = step;
            ladder.push(Rung { level, kinds, fuels, max_stage, exempt_lists });
        }
        if ladder.iter().map(|rung| rung.level).ne(Level::ALL) {
            problems.push("the ladder must have yellow, orange and red, once each and in this order".to_owned());
        }
        let Self { banned_lists, exempt_lists, .. } = self;
        Parameters { banned_lists, exempt_lists, exempt_uses, ladder }
    }
}

#[inline]
pub(super) fn judge<'m>(case: &Case<'m>, parameters: &Parameters) -> RuleOutcome<'m> {
    match case.surroundings.warnings(case.passage.passed_at).map(|warning| warning.level).max() {
        None => RuleOutcome::Clear,
        Some(highest) => during(case, parameters, highest),
    }
}

fn during<'m>(case: &Case<'m>, parameters: &Parameters, highest: Level) -> RuleOutcome<'m> {
    if !case.entries(&parameters.exempt_lists).is_empty() {
        return RuleOutcome::Clear;
    }
    let banned = case.entries(&parameters.banned_lists);
    let vehicle = case.vehicle();
    let used_for = vehicle.map(|vehicle| vehicle.use_nature).unwrap_or_default();
    if used_for.is_ascii_uppercase() && parameters.exempt_uses & (1 << (used_for - b'A')) != 0 {
        return RuleOutcome::Clear;
    }
    if !banned.is_empty() {
        return fired(case, Grounds::of(banned).fact("because", "listed"), Level::Yellow);
    }
    let vehicle = match vehicle {
        Ok(vehicle) => vehicle,
        Err(missing) => return RuleOutcome::Undetermined(missing),
    };
    let mut missing = None;
    for rung in parameters.ladder.iter().filter(|rung| rung.level <= highest) {
        match rung.keeps_off(vehicle) {
            Ok(true) if case.entries(&rung.exempt_lists).is_empty() => {
                let grounds = Grounds::default().fact("because", "emission_stage").fact("max_stage", rung.max_stage);
                return fired(case, stage_fact(grounds, vehicle), rung.level);
            }
            Ok(_) => {}
            Err(word) => missing = missing.or(Some(word)),
        }
    }
    missing.map_or(RuleOutcome::Clear, RuleOutcome::Undetermined)
}

impl Rung {
    /// Whether the level is about this vehicle; the word for what is not known.
    fn keeps_off(&self, vehicle: &Vehicle) -> Result<bool, &'static str> {
        if vehicle.kind == [0; 3] {
            return Err("vehicle_kind");
        }
        if !self.kinds.iter().any(|prefix| prefix.fits(vehicle.kind)) {
            return Ok(false);
        }
        if !self.fuels.is_empty() {
            match vehicle.engine_fuel() {
                Fuel::Unknown => return Err("fuel"),
                fuel if !self.fuels.contains(&fuel) => return Ok(false),
                _ => {}
            }
        }
        match vehicle.stage {
            Some(EmissionStage::National(stage)) => Ok(stage <= self.max_stage),
            Some(EmissionStage::ZeroEmission) if vehicle.fuel == Fuel::Electric => Ok(false),
            Some(EmissionStage::ZeroEmission) | None => Err("emission_stage"),
        }
    }
}

/// `from` is the lowest level that keeps the vehicle off.
fn fired<'m>(case: &Case<'m>, grounds: Grounds<'m>, from: Level) -> RuleOutcome<'m> {
    let at = case.passage.passed_at;
    let binding = || case.surroundings.warnings(at).filter(|warning| warning.level >= from);
    let shown = |warning: &Warning| {
        json!({
            "warning": warning.id,
            "level": warning.level,
            "issued_at": warning.issued_at,
            "document_no": warning.document_no.as_deref(),
        })
    };
    let mut grounds = grounds.fact("level", from.name()).fact("warnings", binding().map(shown).collect::<Vec<_>>());
    grounds.is_over = case.surroundings.arrived_at.is_some_and(|now| !binding().any(|warning| warning.in_force(now)));
    RuleOutcome::Fired(grounds)
}

#[cfg(test)]
mod tests;
