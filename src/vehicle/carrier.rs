//! Which vehicle carried a plate when a reading was judged: enough to tell two vehicles apart, small enough for every reading
//! over a limit to keep.
//!
//! A plate outlives its vehicle. Tests before and after it went to another one are tests of two vehicles and make no series,
//! whatever each of them says by itself. That it went is told by another VIN; by a registration between the two tests, because
//! whoever is registered under a plate that day did not carry it the day before; and, where a VIN is missing, by another
//! day of registration, as in [`super::past`]. What the register does not hold tells nothing apart.

use xxhash_rust::xxh3::xxh3_64;

use super::facts::Vehicle;
use crate::reading::Timestamp;

/// What the register said of the vehicle. The default is that it said nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Carrier {
    /// Some bits of a hash of the VIN; zero where there is none.
    vin: u64,
    /// Days since 1970-01-01.
    registered_on: Option<i32>,
}

/// Stands in the column for a reading that may be of another vehicle than its plate says, so that no series, no second place
/// and no silence of a terminal is ever made of it.
pub const NOT_SURE: i64 = -1;

/// Bits of the packed form that hold the day, counted from `FIRST_DAY`; zero is no day.
const DAY_BITS: u32 = 20;
const VIN_BITS: u32 = 63 - DAY_BITS;
/// 1696: before anything that burns diesel.
const FIRST_DAY: i32 = -100_000;

impl Carrier {
    pub fn of(vehicle: &Vehicle) -> Self {
        // Two vehicles in ten million million would be taken for one, and then wait for a person as they did before.
        let vin = vehicle.vin.map_or(0, |vin| (xxh3_64(vin.as_str().as_bytes()) >> (64 - VIN_BITS)).max(1));
        let is_day = |day: &i32| (1..1 << DAY_BITS).contains(&(i64::from(*day) - i64::from(FIRST_DAY)));
        Self { vin, registered_on: vehicle.registered_on.filter(is_day) }
    }

    /// The form stored in a `bigint` column; `None` where nothing is known.
    pub fn as_i64(self) -> Option<i64> {
        let day = self.registered_on.map_or(0, |day| i64::from(day) - i64::from(FIRST_DAY));
        Some((self.vin as i64) << DAY_BITS | day).filter(|packed| *packed != 0)
    }

    /// Takes back what [`Carrier::as_i64`] gave; nothing is known of any other number.
    pub fn from_i64(packed: Option<i64>) -> Self {
        let Some(packed) = packed.filter(|packed| *packed > 0) else { return Self::default() };
        let day = (packed & ((1 << DAY_BITS) - 1)) as i32;
        Self { vin: (packed >> DAY_BITS) as u64, registered_on: (day != 0).then(|| day + FIRST_DAY) }
    }

    /// Whether the plate went to another vehicle between two readings, each with what the register said of it then.
    pub fn changed(earlier: (Self, Timestamp), later: (Self, Timestamp)) -> bool {
        let ((one, from), (other, to)) = (earlier, later);
        let day = |at: Timestamp| at.china_day().to_epoch_days();
        let mut registered = one.registered_on.into_iter().chain(other.registered_on);
        if registered.any(|registered| day(from) < registered && registered <= day(to)) {
            return true;
        }
        match (one.vin, other.vin) {
            (0, _) | (_, 0) => match (one.registered_on, other.registered_on) {
                (Some(one), Some(other)) => one != other,
                _ => false,
            },
            (one, other) => one != other,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{judge::tests::truck, reading::Vin};

    const VIN: &str = "LGDCHA1G8MA900002";
    const OTHER: &str = "LGDCHA1G8MA900003";

    fn carrier(vin: Option<&str>, registered: Option<&str>) -> Carrier {
        let day = |text: &str| text.parse::<chrono::NaiveDate>().expect("a day").to_epoch_days();
        Carrier::of(&Vehicle { vin: vin.and_then(Vin::parse), registered_on: registered.map(day), ..truck() })
    }

    fn changed(one: Carrier, other: Carrier) -> bool {
        let at = |text| Timestamp::parse_rfc3339(text).expect("a time");
        Carrier::changed((one, at("2026-03-01T10:00:00+08:00")), (other, at("2026-05-20T10:00:00+08:00")))
    }

    #[test]
    fn another_vin_or_a_registration_between_is_another_vehicle() {
        let old = carrier(Some(VIN), Some("2016-05-01"));
        assert!(!changed(old, old));
        assert!(changed(old, carrier(Some(OTHER), Some("2016-05-01"))));
        assert!(changed(old, carrier(Some(OTHER), None)));
        assert!(!changed(old, carrier(Some(VIN), Some("2016-06-01"))), "a date put right");
        let (no_vin, other_day) = (carrier(None, Some("2016-05-01")), carrier(None, Some("2020-05-01")));
        assert!(!changed(no_vin, no_vin) && changed(no_vin, other_day));
        assert!(changed(no_vin, carrier(Some(VIN), Some("2020-05-01"))), "nothing but the day tells them apart");
        for (registered, is_between) in
            [("2026-03-01", false), ("2026-03-02", true), ("2026-05-20", true), ("2026-05-21", false)]
        {
            let new = carrier(Some(VIN), Some(registered));
            assert_eq!(changed(new, new), is_between, "{registered}");
        }
    }

    #[test]
    fn what_is_not_known_tells_nothing_apart() {
        let nothing = Carrier::default();
        for known in [carrier(Some(VIN), None), carrier(None, Some("2016-05-01")), nothing] {
            assert!(!changed(nothing, known) && !changed(known, nothing));
        }
        assert!(!changed(carrier(None, Some("2016-05-01")), carrier(Some(VIN), None)));
        assert_eq!(nothing.as_i64(), None);
        assert_eq!(Carrier::from_i64(Some(NOT_SURE)), nothing);
    }

    proptest! {
        #[test]
        fn packed_and_back(vin in prop::option::of("[A-HJ-NPR-Z0-9]{17}"), day: Option<i32>) {
            let vin = vin.as_deref().and_then(Vin::parse);
            let carrier = Carrier::of(&Vehicle { vin, registered_on: day, ..truck() });
            prop_assert_eq!(Carrier::from_i64(carrier.as_i64()), carrier);
            prop_assert!(carrier.as_i64().is_none_or(|packed| packed > 0));
        }
    }
}
