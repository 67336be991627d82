//! A vehicle whose fuel nobody registered but which looks like a diesel: trucks of other towns, above all.
//!
//! Its verdict stays `undetermined`, because no limit applies to a fuel that is not known. What the values would mean for
//! a diesel stands beside it, as a suspicion: it makes at most a finding that waits for a person, and it is no test, so no
//! episode ever counts it.
//!
//! What makes a diesel suspected: the rig's own guess of the fuel; or, where the rig guesses none, a yellow plate (large
//! vehicles; driving-school plates, which are yellow on any car, excepted), a kind that the camera or the register calls
//! a truck. A rig that guesses another fuel speaks against it, and so does a motorcycle. New-energy plates are not yellow.
//! That these signs mean diesel is UNSOURCED-medium: most, not all, large vehicles in China burn it.

use serde::Serialize;
use smallvec::SmallVec;

use super::{
    RuleBook,
    limits::Class,
    pollutant::Pollutant,
    review::{Build, build_of_hint},
    verdict::{Outcome, PollutantVerdict},
};
use crate::{
    reading::{
        PlateColor,
        passage::{FuelHint, Passage, PlateReading},
    },
    vehicle::facts::VehicleMatch,
};

/// Why a diesel is suspected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sign {
    /// The rig guesses diesel.
    FuelHint,
    YellowPlate,
    /// The camera saw a truck.
    KindHint,
    /// The register calls it a truck and does not know its fuel.
    RegisteredTruck,
}

/// A valid measurement held against the limit it would have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SuspectedTest {
    pub pollutant: Pollutant,
    pub value: f32,
    pub limit: f32,
    /// Place of the limit in the rule book.
    pub(super) entry: u16,
    pub over: bool,
}

/// What a vehicle would come to if it were the diesel it looks like.
#[derive(Clone, Debug, PartialEq)]
pub struct Suspicion {
    pub signs: SmallVec<[Sign; 4]>,
    /// Valid measurements only; none where all were invalid.
    pub tests: SmallVec<[SuspectedTest; 4]>,
}

impl Suspicion {
    pub fn is_over(&self) -> bool {
        self.tests.iter().any(|test| test.over)
    }
}

/// The suspicion about a vehicle of unknown fuel; `judged` holds its measurements, the invalid ones marked.
pub(super) fn of_unknown_fuel(
    passage: &Passage,
    matched: &VehicleMatch,
    judged: &[PollutantVerdict],
    book: &RuleBook,
) -> Option<Suspicion> {
    let signs = signs(passage, matched);
    if signs.is_empty() {
        return None;
    }
    let tests = judged.iter().filter(|each| each.outcome == Outcome::Undetermined).filter_map(|each| {
        let (entry, limit) = book.limits.find(each.pollutant, Class::Diesel, passage.passed_at)?;
        let over = each.value > limit.value;
        Some(SuspectedTest { pollutant: each.pollutant, value: each.value, limit: limit.value, entry, over })
    });
    Some(Suspicion { signs, tests: tests.collect() })
}

fn signs(passage: &Passage, matched: &VehicleMatch) -> SmallVec<[Sign; 4]> {
    let mut signs = SmallVec::new();
    let seen = passage.vehicle_kind_hint.as_deref().and_then(build_of_hint);
    match passage.fuel_hint {
        Some(FuelHint::Diesel) => signs.push(Sign::FuelHint),
        Some(FuelHint::Petrol | FuelHint::Gas | FuelHint::Electric | FuelHint::Other) => return signs,
        None if seen == Some(Build::Motorcycle) => return signs,
        None => {}
    }
    if passage.plate_color == PlateColor::Yellow && !is_driving_school(passage.plate) {
        signs.push(Sign::YellowPlate);
    }
    if seen == Some(Build::Goods) {
        signs.push(Sign::KindHint);
    }
    if matched.vehicle.is_some_and(|vehicle| vehicle.is_truck()) {
        signs.push(Sign::RegisteredTruck);
    }
    signs
}

fn is_driving_school(plate: PlateReading) -> bool {
    matches!(plate, PlateReading::Read(plate) if plate.characters().last() == Some('学'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::tests::{matched, passage_with, stranger, truck};
    use crate::vehicle::facts::{Fuel, Vehicle};
    use serde_json::json;

    fn of(changes: serde_json::Value, vehicle: &VehicleMatch) -> Vec<Sign> {
        signs(&passage_with(changes), vehicle).to_vec()
    }

    #[test]
    fn each_sign_by_itself() {
        let blue = |mut changes: serde_json::Value| {
            changes["plate_color"] = json!("blue");
            changes
        };
        assert_eq!(of(blue(json!({"vehicle_kind_hint": null})), &stranger()), []);
        assert_eq!(of(blue(json!({"vehicle_kind_hint": "truck"})), &stranger()), [Sign::KindHint]);
        let hinted = blue(json!({"vehicle_kind_hint": null, "fuel_hint": "diesel"}));
        assert_eq!(of(hinted, &stranger()), [Sign::FuelHint]);
        assert_eq!(of(json!({"vehicle_kind_hint": null}), &stranger()), [Sign::YellowPlate]);
        assert_eq!(of(json!({"vehicle_kind_hint": null, "plate": "鲁C1234学"}), &stranger()), []);
        let nameless = Vehicle { fuel: Fuel::Unknown, fuel_code: [0; 2], ..truck() };
        let known = blue(json!({"vehicle_kind_hint": null}));
        assert_eq!(of(known, &matched(nameless, &[])), [Sign::RegisteredTruck]);
    }

    #[test]
    fn another_fuel_or_a_motorcycle_speaks_against_it() {
        for fuel in ["petrol", "gas", "electric", "other"] {
            assert_eq!(of(json!({ "fuel_hint": fuel }), &stranger()), [], "{fuel}");
        }
        assert_eq!(of(json!({"vehicle_kind_hint": "motorcycle"}), &stranger()), []);
    }
}
