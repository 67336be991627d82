//! Whether a vehicle is barred from what an owner asks at other desks: pure, from the lists as they hold at that time.
//!
//! `yes` needs an entry in force on a list that bars, and a register that does not contradict that the clause means this
//! vehicle. A contradiction is for a person to resolve, and a barring list that was never imported is a missing input: both
//! are `undetermined`, which neither turns an owner away nor lets one pass. Only where every barring list is there and
//! none names the vehicle is the answer `no`.

use serde::Serialize;

use super::{
    limits::{Bar, Business},
    rules::Classes,
};
use crate::vehicle::facts::{ListHit, Vehicle};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Barred {
    Yes,
    No,
    Undetermined,
}

impl Barred {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Undetermined => "undetermined",
        }
    }
}

/// The answer for one business, with everything it rests on.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer<'a> {
    pub business: Business,
    pub barred: Barred,
    pub grounds: Vec<Ground<'a>>,
    /// Barring lists of which no version was ever imported.
    pub missing_lists: Vec<&'a str>,
}

/// An entry in force on a list that bars.
#[derive(Clone, Debug, PartialEq)]
pub struct Ground<'a> {
    pub bar: &'a Bar,
    pub entry: &'a ListHit,
    /// Facts of the register against the clause meaning this vehicle.
    pub contradictions: Vec<&'static str>,
}

/// Answers for every business. `entries` are those in force at the time asked about; `is_loaded` says of which lists any
/// version exists.
pub fn standing<'a>(
    bars: &'a [Bar],
    classes: &Classes,
    vehicle: Option<&Vehicle>,
    entries: &'a [ListHit],
    is_loaded: impl Fn(&str) -> bool,
) -> [Answer<'a>; 3] {
    Business::ALL.map(|business| {
        let of_business = || bars.iter().filter(move |bar| bar.bars.contains(&business));
        let grounds: Vec<Ground<'a>> = of_business()
            .flat_map(|bar| entries.iter().filter(|entry| *entry.list == *bar.list).map(move |entry| (bar, entry)))
            .map(|(bar, entry)| {
                let contradictions = vehicle.map(|vehicle| bar.contradictions(vehicle, classes)).unwrap_or_default();
                Ground { bar, entry, contradictions }
            })
            .collect();
        let mut missing_lists: Vec<&str> =
            of_business().map(|bar| &*bar.list).filter(|list| !is_loaded(list)).collect();
        missing_lists.sort_unstable();
        missing_lists.dedup();
        let barred = if grounds.iter().any(|ground| ground.contradictions.is_empty()) {
            Barred::Yes
        } else if grounds.is_empty() && missing_lists.is_empty() {
            Barred::No
        } else {
            Barred::Undetermined
        };
        Answer { business, barred, grounds, missing_lists }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        judge::{Limits, Rules},
        vehicle::facts::{EmissionStage, Fuel},
    };

    fn truck(fuel: Fuel, stage: u8) -> Vehicle {
        Vehicle {
            fuel,
            fuel_code: *b"B\0",
            stage: EmissionStage::from_code(stage),
            kind: *b"H12",
            use_nature: b'F',
            states: 1,
            registered_on: None,
            local: Some(true),
            retrofit: false,
            reference_torque_nm: None,
            vin: None,
            contradictory: false,
        }
    }

    fn on(list: &str) -> ListHit {
        ListHit {
            list: list.into(),
            version: 4,
            valid_from: None,
            valid_to: None,
            reason: None,
            document_no: Some("2026-7".into()),
        }
    }

    fn barred(vehicle: Option<&Vehicle>, entries: &[ListHit], loaded: bool) -> [Barred; 3] {
        let (limits, rules) = (Limits::built_in(), Rules::built_in());
        standing(limits.bars(), rules.classes(), vehicle, entries, |_| loaded).map(|answer| answer.barred)
    }

    /// What stands against the entry of the list of National III and below.
    fn against(vehicle: &Vehicle) -> Vec<&'static str> {
        let (limits, rules, entries) = (Limits::built_in(), Rules::built_in(), [on("retire_n3")]);
        let [change, ..] = standing(limits.bars(), rules.classes(), Some(vehicle), &entries, |_| true);
        change.grounds.first().map(|ground| ground.contradictions.clone()).unwrap_or_default()
    }

    #[test]
    fn a_listed_truck_is_barred_and_one_on_no_list_is_not() {
        let vehicle = truck(Fuel::Diesel, 3);
        assert_eq!(barred(Some(&vehicle), &[on("retire_n3")], true), [Barred::Yes; 3]);
        assert_eq!(barred(None, &[on("retire_n3")], true), [Barred::Yes; 3], "listing is a decision already taken");
        assert_eq!(barred(Some(&vehicle), &[on("high_emission")], true), [Barred::No; 3]);
        assert_eq!(barred(Some(&vehicle), &[], true), [Barred::No; 3]);
    }

    #[test]
    fn a_contradiction_or_a_missing_list_leaves_it_open() {
        for vehicle in
            [truck(Fuel::Petrol, 3), truck(Fuel::Diesel, 4), Vehicle { kind: *b"K33", ..truck(Fuel::Diesel, 3) }]
        {
            assert_eq!(barred(Some(&vehicle), &[on("retire_n3")], true), [Barred::Undetermined; 3]);
        }
        let (limits, rules) = (Limits::built_in(), Rules::built_in());
        let answers = standing(limits.bars(), rules.classes(), None, &[], |list| list != "retire_n2");
        assert!(answers.iter().all(|answer| answer.barred == Barred::Undetermined));
        assert_eq!(answers[0].missing_lists, ["retire_n2"]);
        assert_eq!(barred(None, &[on("retire_n3")], false), [Barred::Yes; 3], "one entry is enough");
    }

    #[test]
    fn the_clause_means_operating_trucks_and_a_register_at_one_with_itself() {
        let operating = truck(Fuel::Diesel, 3);
        assert!(against(&operating).is_empty());
        let private = Vehicle { use_nature: b'A', ..operating };
        assert_eq!(against(&private), ["use_nature"], "as R2 says it");
        assert_eq!(barred(Some(&private), &[on("retire_n3")], true), [Barred::Undetermined; 3]);
        assert!(against(&Vehicle { use_nature: 0, ..operating }).is_empty(), "what is not known contradicts nothing");
        assert_eq!(against(&Vehicle { contradictory: true, ..operating }), ["register_contradictory"]);
    }

    #[test]
    fn a_hybrid_is_of_the_fuel_its_engine_burns() {
        let hybrid =
            |letters: [u8; 2]| Vehicle { fuel: Fuel::of_code(letters), fuel_code: letters, ..truck(Fuel::Diesel, 3) };
        assert!(against(&hybrid(*b"BC")).is_empty());
        assert_eq!(against(&hybrid(*b"AC")), ["fuel"]);
        assert!(against(&hybrid(*b"O\0")).is_empty(), "nobody knows what it burns");
    }
}
