//! What the register said of a plate when a reading arrived, against what it says now: for judging stored readings again.
//!
//! A corrected register is meant to correct what was judged by it, and most rows that differ are corrections. Two things are
//! not. A plate can be given to another vehicle: whoever drove past before is not accused or acquitted by the facts of its
//! successor. And a vehicle's state is no fact of its past: it was not scrapped on the road last year because it is today.
//!
//! Two rows are of one vehicle when their VINs are the same. Where one of them has none, nothing but the day of registration
//! tells vehicles apart, and a correction that cannot be shown to be of the same vehicle is not applied.

use tokio_postgres::Transaction;

use super::{
    facts::Vehicle,
    lookup::{COLUMNS, Registered},
};
use crate::reading::Timestamp;

/// The version of the register that was in force, and what it said of the plate.
#[derive(Clone, Debug, PartialEq)]
pub struct Then {
    pub version: i32,
    pub vehicle: Option<Vehicle>,
}

/// The vehicle to go by, and the version that says so where it is not the present one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settled {
    pub vehicle: Option<Vehicle>,
    pub version: Option<i32>,
}

/// Which vehicle carried the plate. `then` is `None` where no version was in force: the present row has to do.
pub fn settle(then: Option<&Then>, now: Option<Vehicle>) -> Settled {
    let present = |vehicle| Settled { vehicle, version: None };
    let Some(Then { version, vehicle }) = then else { return present(now) };
    match (vehicle, now) {
        (Some(then), Some(now)) if is_same(then, &now) => present(Some(Vehicle { states: then.states, ..now })),
        (Some(then), _) => Settled { vehicle: Some(*then), version: Some(*version) },
        // Entered since: nobody knows its state of that time.
        (None, now) => present(now.map(|now| Vehicle { states: 0, ..now })),
    }
}

fn is_same(a: &Vehicle, b: &Vehicle) -> bool {
    match (a.vin, b.vin) {
        (Some(a), Some(b)) => a == b,
        _ => a.registered_on == b.registered_on,
    }
}

/// What the register said of each plate at each time, in the order asked. `None` where no version was in force.
pub async fn load(
    transaction: &Transaction<'_>,
    asked: &[(i64, Timestamp)],
) -> Result<Vec<Option<Then>>, tokio_postgres::Error> {
    let (keys, at): (Vec<i64>, Vec<Timestamp>) = asked.iter().copied().unzip();
    let statement = format!(
        "SELECT i.version, v.plate_key IS NOT NULL, {COLUMNS} \
         FROM unnest($1::int8[], $2::timestamptz[]) WITH ORDINALITY AS u (plate_key, at, place) \
         LEFT JOIN LATERAL (SELECT max(version) AS version FROM imports \
           WHERE dataset = 'vehicles' AND imported_at <= u.at) i ON true \
         LEFT JOIN vehicles v ON v.plate_key = u.plate_key AND v.from_version <= i.version \
           AND (v.to_version IS NULL OR v.to_version > i.version) ORDER BY u.place"
    );
    let rows = transaction.query(&statement, &[&keys, &at]).await?;
    let mut found = Vec::with_capacity(rows.len());
    for row in &rows {
        let Some(version) = row.try_get(0)? else {
            found.push(None);
            continue;
        };
        let vehicle = if row.try_get(1)? { Some(Registered::read(row, 2)?.facts()) } else { None };
        found.push(Some(Then { version, vehicle }));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{judge::tests::truck, reading::Vin, vehicle::facts::EmissionStage};

    const VIN: &str = "LGDCHA1G8MA900002";
    const OTHER: &str = "LGDCHA1G8MA900003";

    fn vehicle(vin: Option<&str>, stage: u8, state: u8) -> Vehicle {
        let (vin, stage) = (vin.and_then(Vin::parse), EmissionStage::from_code(stage));
        Vehicle { vin, stage, states: 1 << (state - b'A'), registered_on: Some(17_000), ..truck() }
    }

    fn then(vehicle: Option<Vehicle>) -> Option<Then> {
        Some(Then { version: 3, vehicle })
    }

    fn settled(vehicle: Option<Vehicle>, version: Option<i32>) -> Settled {
        Settled { vehicle, version }
    }

    #[test]
    fn a_correction_counts_and_a_change_of_state_does_not() {
        let (before, now) = (vehicle(Some(VIN), 3, b'A'), vehicle(Some(VIN), 4, b'E'));
        let expected = vehicle(Some(VIN), 4, b'A');
        assert_eq!(settle(then(Some(before)).as_ref(), Some(now)), settled(Some(expected), None));
        let completed = Vehicle { vin: None, ..before };
        assert_eq!(settle(then(Some(completed)).as_ref(), Some(now)), settled(Some(expected), None), "the same day");
        assert_eq!(settle(None, Some(now)), settled(Some(now), None), "no register was in force");
    }

    #[test]
    fn a_plate_given_to_another_vehicle_leaves_the_passage_to_the_first() {
        let before = vehicle(Some(VIN), 3, b'A');
        let successors = [
            Some(vehicle(Some(OTHER), 6, b'E')),
            Some(Vehicle { registered_on: Some(20_000), ..vehicle(None, 6, b'A') }),
            Some(Vehicle { registered_on: None, ..vehicle(None, 6, b'A') }),
            None,
        ];
        for now in successors {
            assert_eq!(settle(then(Some(before)).as_ref(), now), settled(Some(before), Some(3)), "{now:?}");
        }
    }

    #[test]
    fn the_state_of_a_vehicle_entered_since_is_not_known() {
        let now = vehicle(Some(VIN), 3, b'E');
        assert_eq!(settle(then(None).as_ref(), Some(now)), settled(Some(Vehicle { states: 0, ..now }), None));
        assert_eq!(settle(then(None).as_ref(), None), settled(None, None));
    }
}
