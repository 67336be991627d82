//! From one record to the next: an odometer that runs back, a vehicle faster than any vehicle.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::record::rounded;
use crate::{judge::terminal_table::Thresholds, reading::Timestamp};

/// Total distance, km.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Odometer(pub f64);

/// WGS-84, degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    pub lon: f64,
    pub lat: f64,
}

/// What can be compared from one record to the next.
pub trait Step: Copy {
    /// km from one to the other; negative is backwards.
    fn km(self, next: Self) -> f64;
    fn is_jump(km: f64, speed_kmh: f64, numbers: &Thresholds) -> bool;
    fn shown(self) -> Value;
}

impl Step for Odometer {
    fn km(self, next: Self) -> f64 {
        next.0 - self.0
    }

    fn is_jump(km: f64, speed_kmh: f64, numbers: &Thresholds) -> bool {
        let limit = &numbers.odometer_jump;
        km < -limit.back_km || (km > limit.forward_km && speed_kmh > limit.max_speed_kmh)
    }

    fn shown(self) -> Value {
        json!({ "odometer_km": rounded(self.0) })
    }
}

/// Mean radius, IUGG.
const EARTH_KM: f64 = 6371.0088;

impl Step for Position {
    /// Great circle, haversine.
    fn km(self, next: Self) -> f64 {
        let (lat, next_lat) = (self.lat.to_radians(), next.lat.to_radians());
        let half = |angle: f64| (angle / 2.0).sin().powi(2);
        let a = half(next_lat - lat) + lat.cos() * next_lat.cos() * half((next.lon - self.lon).to_radians());
        2.0 * EARTH_KM * a.sqrt().min(1.0).asin()
    }

    fn is_jump(km: f64, speed_kmh: f64, numbers: &Thresholds) -> bool {
        km > numbers.position_jump.min_km && speed_kmh > numbers.position_jump.max_speed_kmh
    }

    fn shown(self) -> Value {
        json!({ "lon": self.lon, "lat": self.lat })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point<T> {
    pub at: Timestamp,
    pub value: T,
}

/// Two records that follow each other and cannot both be true.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Jump<T> {
    pub from: Point<T>,
    pub to: Point<T>,
}

impl<T: Step> Jump<T> {
    pub fn km(&self) -> f64 {
        self.from.value.km(self.to.value)
    }

    /// Records are a second apart at least; two of one second are compared as if they were.
    pub fn seconds(&self) -> f64 {
        (self.to.at.micros_since(self.from.at) as f64 / 1e6).max(1.0)
    }

    pub fn speed_kmh(&self) -> f64 {
        self.km().abs() * 3600.0 / self.seconds()
    }

    /// The arithmetic, for whoever wants to do it again.
    pub fn shown(&self) -> Value {
        let point = |point: &Point<T>| {
            let mut shown = point.value.shown();
            shown["at"] = json!(point.at);
            shown
        };
        json!({
            "from": point(&self.from),
            "to": point(&self.to),
            "km": rounded(self.km()),
            "seconds": rounded(self.seconds()),
            "implied_speed_kmh": rounded(self.speed_kmh()),
        })
    }
}

/// The ends of a row of records, and the jumps between them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trace<T> {
    pub first: Point<T>,
    pub last: Point<T>,
    pub jumps: Option<Jumps<T>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Jumps<T> {
    pub count: u32,
    pub first: Jump<T>,
    /// With the highest implied speed; the earliest of several.
    pub worst: Jump<T>,
    pub last: Jump<T>,
}

impl<T: Step> Jumps<T> {
    fn one(jump: Jump<T>) -> Self {
        Self { count: 1, first: jump, worst: jump, last: jump }
    }

    pub fn joined(self, later: Self) -> Self {
        let worst = if later.worst.speed_kmh() > self.worst.speed_kmh() { later.worst } else { self.worst };
        Self { count: self.count + later.count, first: self.first, worst, last: later.last }
    }
}

impl<T: Step> Trace<T> {
    /// Adds a record that is later than all before.
    pub fn note(trace: &mut Option<Self>, at: Timestamp, value: T, numbers: &Thresholds) {
        let point = Point { at, value };
        let new = Self { first: point, last: point, jumps: None };
        *trace = Some(match *trace {
            Some(known) => known.followed_by(new, numbers),
            None => new,
        });
    }

    /// Both rows together; the other is later.
    pub fn followed_by(self, later: Self, numbers: &Thresholds) -> Self {
        let between = jump(self.last, later.first, numbers).map(Jumps::one);
        let jumps = [self.jumps, between, later.jumps].into_iter().flatten().reduce(Jumps::joined);
        Self { first: self.first, last: later.last, jumps }
    }
}

fn jump<T: Step>(from: Point<T>, to: Point<T>, numbers: &Thresholds) -> Option<Jump<T>> {
    let jump = Jump { from, to };
    T::is_jump(jump.km(), jump.speed_kmh(), numbers).then_some(jump)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::TerminalTable;

    fn odometer(steps: &[(i64, f64)]) -> Option<Jumps<Odometer>> {
        let numbers = TerminalTable::built_in().numbers;
        let mut trace = None;
        for (seconds, km) in steps {
            Trace::note(&mut trace, Timestamp::from_micros(seconds * 1_000_000), Odometer(*km), &numbers);
        }
        trace.and_then(|trace| trace.jumps)
    }

    #[test]
    fn an_odometer_neither_runs_back_nor_flies() {
        assert_eq!(odometer(&[(0, 100.0), (3600, 190.0), (3601, 190.1), (3602, 189.5)]), None);
        let back = odometer(&[(0, 100_000.0), (86_400, 60_000.0)]).expect("rolled back overnight");
        assert_eq!((back.count, back.first.km()), (1, -40_000.0));
        let ahead = odometer(&[(0, 100.0), (60, 110.0), (120, 111.0), (130, 140.0)]).expect("10 km in a minute");
        assert_eq!((ahead.count, ahead.first.to.at.micros(), ahead.worst.to.at.micros()), (2, 60_000_000, 130_000_000));
        assert_eq!(ahead.first.shown()["implied_speed_kmh"], 600.0);
    }

    #[test]
    fn distances_are_those_of_the_globe() {
        // A degree of latitude, and one of longitude at 60 degrees, which is half as long.
        let at = |lon, lat| Position { lon, lat };
        assert!((at(118.0, 36.0).km(at(118.0, 37.0)) - 111.195).abs() < 0.01);
        assert!((at(10.0, 60.0).km(at(11.0, 60.0)) - 55.597).abs() < 0.01);
        assert_eq!(at(118.0, 36.0).km(at(118.0, 36.0)), 0.0);
    }
}
