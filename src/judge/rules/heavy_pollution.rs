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
    vehicle::{
        facts::{EmissionStage, Fuel, Vehicle},
        fuel::stage_fits,
    },
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
    let exempt = match vehicle {
        _ if parameters.exempt_uses == 0 => Ok(false),
        Ok(vehicle) => parameters.exempts(vehicle).ok_or("use_nature"),
        Err(missing) => Err(missing),
    };
    if exempt == Ok(true) {
        return RuleOutcome::Clear;
    }
    // Whoever is kept off may be exempt by a use that nobody registered.
    let unless_exempt = |grounds: Grounds<'m>, from: Level| match exempt {
        Ok(_) => fired(case, grounds, from),
        Err(missing) => RuleOutcome::Undetermined(missing),
    };
    if !banned.is_empty() {
        return unless_exempt(Grounds::of(banned).fact("because", "listed"), Level::Yellow);
    }
    let vehicle = match vehicle {
        Ok(vehicle) => vehicle,
        Err(missing) => return RuleOutcome::Undetermined(missing),
    };
    let mut missing = None;
    let rungs = parameters.ladder.iter().filter(|rung| rung.level <= highest);
    for rung in rungs.filter(|rung| case.entries(&rung.exempt_lists).is_empty()) {
        match rung.keeps_off(vehicle) {
            Ok(true) => {
                let grounds = Grounds::default().fact("because", "emission_stage").fact("max_stage", rung.max_stage);
                return unless_exempt(stage_fact(grounds, vehicle), rung.level);
            }
            Ok(false) => {}
            Err(word) => missing = missing.or(Some(word)),
        }
    }
    missing.map_or(RuleOutcome::Clear, RuleOutcome::Undetermined)
}

impl Parameters {
    /// Whether its use keeps the vehicle out of every ban; `None` where the register holds no use.
    fn exempts(&self, vehicle: &Vehicle) -> Option<bool> {
        let used_for = vehicle.use_nature;
        used_for.is_ascii_uppercase().then(|| self.exempt_uses & (1 << (used_for - b'A')) != 0)
    }
}

impl Rung {
    /// Whether the level is about this vehicle; the word for what is not known. One fact that excludes it is enough, whatever
    /// else is missing.
    fn keeps_off(&self, vehicle: &Vehicle) -> Result<bool, &'static str> {
        let kind_fits = (vehicle.kind != [0; 3]).then(|| self.kinds.iter().any(|prefix| prefix.fits(vehicle.kind)));
        let fuel_fits = match vehicle.engine_fuel() {
            _ if self.fuels.is_empty() => Some(true),
            Fuel::Unknown => None,
            fuel => Some(self.fuels.contains(&fuel)),
        };
        let stage_fits = match vehicle.stage {
            Some(EmissionStage::National(stage)) => Some(stage <= self.max_stage),
            // Whether it is registered or not: nothing that is electric alone has emissions.
            Some(EmissionStage::ZeroEmission) | None if vehicle.fuel == Fuel::Electric => Some(false),
            // Hydrogen, say; but no alcohol.
            stage @ Some(EmissionStage::ZeroEmission) if vehicle.fuel == Fuel::Other => {
                stage_fits(stage, vehicle.fuel_code).then_some(false)
            }
            // What burns something has emissions; what burns nobody knows what may have none.
            Some(EmissionStage::ZeroEmission) | None => None,
        };
        let facts = [("vehicle_kind", kind_fits), ("fuel", fuel_fits), ("emission_stage", stage_fits)];
        if facts.iter().any(|(_, fits)| *fits == Some(false)) {
            return Ok(false);
        }
        facts.iter().find(|(_, fits)| fits.is_none()).map_or(Ok(true), |(missing, _)| Err(*missing))
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
