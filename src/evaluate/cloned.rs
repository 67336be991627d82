//! Cloned plates: one plate, of one colour, at two places too far apart for the time between.
//!
//! Input: every stored sighting of one plate in some span, in any order. Output: for each day in China one finding that
//! lists the pairs of sightings no single vehicle can have made, with the arithmetic of each. Decisions:
//!
//! - **Everything uncertain counts for the vehicle.** The great-circle distance, less what both positions may be off, is the
//!   least way it can have come; the time between, and what two clocks may be apart, the most it can have had. Only a speed
//!   above the allowed one *after* that is a contradiction. Roads are longer than great circles, which favours it too.
//! - **A pair is a sighting and the latest earlier one that it contradicts**, not simply the one before it. So whether two
//!   sightings contradict each other depends on nothing else, and a further sighting changes the findings only if it
//!   contradicts one itself: that is what makes the sweep below complete. (Comparing each sighting with the one before it
//!   would let a third one, which contradicts neither, take a pair away or make one.)
//! - **One finding a plate and day of the later sighting**, named by both, not by its first pair: a sighting that is
//!   uploaded late would give the finding another name, and the police a revocation for nothing. Two plates on the road all
//!   day make one finding that grows, with the first [`LISTED`] pairs and the number of all.
//! - **Places.** A fixed station stands where the register says. A unit that moves, and a station that the register does
//!   not place, says itself where it was; a sighting without a place, or at one that is none, says nothing. One rig is never compared with itself.
//! - Each such finding waits for a person: a camera may have misread another plate as this one.
//!
//! **How a pair is found.** An innocent passage leaves no evaluation task (`super::tasks`), and most pairs are two innocent
//! passages. So the storing transaction leaves one row for its whole batch in `sighting_sweep`: keys, times and stations of
//! its new readings. [`sweep`] deletes such rows, asks the history index of `passage_key` for other sightings of the same
//! plates nearby in time, and leaves an ordinary evaluation task for each plate with a contradiction, in one transaction.
//! [`history`] then evaluates those few plates from stored facts, under the lock of their subject.
//!
//! **Proof that no pair is missed.** Let A and B be two sightings that contradict each other, T(A) and T(B) the transactions
//! that store them, and S(A) and S(B) those that sweep their rows. S(A) reads facts in a statement after the one that
//! deleted the row, hence with a snapshot after the commit of T(A); so for B.
//!
//! - If the snapshot of S(A) holds B, S(A) leaves the task.
//! - If not, T(B) committed after that snapshot was taken. S(B) takes its own after T(B) has committed, hence after the
//!   snapshot of S(A), hence after T(A) has committed: it holds A, and S(B) leaves the task.
//!
//! This needs no horizon, because both transactions leave a row whatever they see. A sweep that dies takes its deletion back
//! with it. The task is in the same commit as the deletion, it is left unconditionally, and `super::tasks` shows that the
//! evaluation which claims it reads A and B, and that of two evaluations of one plate the later sees what the former wrote.
//!
//! Rejected: a task for every passage (one row and one evaluation each; a row of 1000 sightings costs a hundredth); a
//! trigger or a look-up in the storing transaction (it cannot see what a concurrent one has not committed).

use std::collections::BTreeMap;

use chrono::NaiveDate;
use serde_json::{Value, json};

use crate::{
    config,
    finding::{Evidence, Finding, Review, Subject, finding_id},
    pipeline::passage::reading_name,
    reading::{Area, PlateKey, Timestamp},
};

pub mod history;
pub mod sweep;

pub const CLONE_RULE: &str = "plate.suspected_clone";

/// Pairs that a finding lists in full; evidence is kept for these.
pub const LISTED: usize = 40;

/// Mean radius of the Earth (IUGG), m. The Earth's flattening makes at most 0.6 % of a distance.
const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// What is compared, and what no vehicle can do.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    pub window_seconds: u32,
    pub speed_kmh: f64,
    /// Of each of the two positions.
    pub position_uncertainty_m: f64,
    /// Between the clocks of two stations.
    pub clock_uncertainty_seconds: f64,
    /// What lies outside is no place.
    pub area: Area,
}

impl Rule {
    pub fn of(plates: &config::Plates, area: Area) -> Self {
        Self {
            window_seconds: plates.clone_window_seconds,
            speed_kmh: plates.clone_speed_kmh,
            position_uncertainty_m: plates.clone_position_uncertainty_m,
            clock_uncertainty_seconds: plates.clone_clock_uncertainty_seconds,
            area,
        }
    }

    /// Seconds within which a vehicle may contradict itself at this distance; `None` where it never can.
    fn reach_seconds(&self, distance_m: f64) -> Option<f64> {
        let least_m = distance_m - 2.0 * self.position_uncertainty_m;
        let seconds = least_m / (self.speed_kmh / 3.6) - self.clock_uncertainty_seconds;
        (least_m > 0.0 && seconds >= 0.0).then_some(seconds)
    }
}

/// WGS-84 degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    pub lon: f64,
    pub lat: f64,
    pub source: PlaceSource,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceSource {
    Register,
    Reading,
}

impl PlaceSource {
    const fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Reading => "reading",
        }
    }
}

/// One sighting of the plate; station and record are its natural key.
#[derive(Clone, Debug, PartialEq)]
pub struct Sighting {
    pub station: String,
    pub record: String,
    pub passed_at: Timestamp,
    pub place: Place,
}

/// Why one vehicle cannot have been at both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contradiction {
    pub distance_m: f64,
    pub seconds: f64,
    /// Least speed, `None` for one that is infinite.
    pub speed_kmh: Option<f64>,
}

/// Two sightings, the earlier first.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pair<'s> {
    pub earlier: &'s Sighting,
    pub later: &'s Sighting,
    pub contradiction: Contradiction,
}

/// Great-circle distance by the haversine formula, which keeps its digits for places close together.
pub fn distance_m(one: Place, other: Place) -> f64 {
    let (lat1, lat2) = (one.lat.to_radians(), other.lat.to_radians());
    let half = |from: f64, to: f64| ((to - from) / 2.0).sin();
    let chord =
        half(lat1, lat2).powi(2) + lat1.cos() * lat2.cos() * half(one.lon.to_radians(), other.lon.to_radians()).powi(2);
    2.0 * EARTH_RADIUS_M * chord.sqrt().min(1.0).asin()
}

/// Whether one vehicle cannot have been at both places at these times, whichever came first.
pub fn contradiction(one: (Place, Timestamp), other: (Place, Timestamp), rule: &Rule) -> Option<Contradiction> {
    let micros = one.1.micros_since(other.1).unsigned_abs();
    if rule.window_seconds == 0 || micros > u64::from(rule.window_seconds) * 1_000_000 {
        return None;
    }
    let (distance_m, seconds) = (distance_m(one.0, other.0), micros as f64 / 1e6);
    let least_m = distance_m - 2.0 * rule.position_uncertainty_m;
    let most_seconds = seconds + rule.clock_uncertainty_seconds;
    if least_m <= 0.0 || least_m <= rule.speed_kmh / 3.6 * most_seconds {
        return None;
    }
    let speed_kmh = (most_seconds > 0.0).then(|| least_m / most_seconds * 3.6);
    Some(Contradiction { distance_m, seconds, speed_kmh })
}

/// Every pair among the sightings, in the order of their later ones.
pub fn pairs<'s>(sightings: &'s [Sighting], rule: &Rule) -> Vec<Pair<'s>> {
    let mut ordered: Vec<&Sighting> = sightings.iter().collect();
    ordered.sort_by(|a, b| in_time(a, b));
    ordered.dedup_by(|a, b| (&a.station, &a.record) == (&b.station, &b.record));
    let window = i64::from(rule.window_seconds) * 1_000_000;
    let mut found = Vec::new();
    for (place, &later) in ordered.iter().enumerate() {
        let before = ordered.get(..place).unwrap_or_default().iter().rev();
        let near = before.take_while(|earlier| later.passed_at.micros_since(earlier.passed_at) <= window);
        let pair = near.filter(|earlier| earlier.station != later.station).find_map(|&earlier| {
            let contradiction =
                contradiction((earlier.place, earlier.passed_at), (later.place, later.passed_at), rule)?;
            Some(Pair { earlier, later, contradiction })
        });
        found.extend(pair);
    }
    found
}

fn in_time(a: &Sighting, b: &Sighting) -> std::cmp::Ordering {
    (a.passed_at, &a.station, &a.record).cmp(&(b.passed_at, &b.station, &b.record))
}

/// One finding for each day with a pair. Evidence names the readings; their raw payloads are fetched later.
pub fn findings(vehicle: PlateKey, pairs: &[Pair<'_>], rule: &Rule) -> Vec<Finding> {
    let mut days: BTreeMap<NaiveDate, Vec<&Pair<'_>>> = BTreeMap::new();
    for pair in pairs {
        days.entry(pair.later.passed_at.china_day()).or_default().push(pair);
    }
    days.iter().filter_map(|(day, pairs)| finding(vehicle, *day, pairs, rule)).collect()
}

fn finding(vehicle: PlateKey, day: NaiveDate, pairs: &[&Pair<'_>], rule: &Rule) -> Option<Finding> {
    let from = pairs.iter().map(|pair| pair.earlier.passed_at).min()?;
    let to = pairs.iter().map(|pair| pair.later.passed_at).max()?;
    let listed = pairs.get(..LISTED).unwrap_or(pairs);
    let name = |sighting: &Sighting| reading_name(&sighting.station, &sighting.record);
    let mut evidence: Vec<String> = listed.iter().flat_map(|pair| [name(pair.earlier), name(pair.later)]).collect();
    evidence.sort_unstable();
    evidence.dedup();
    Some(Finding {
        id: finding_id(CLONE_RULE, &format!("{vehicle}/{day}")),
        rule: CLONE_RULE.into(),
        subject: Subject::Vehicle(vehicle),
        from,
        to,
        review: Review::Needed(vec!["plate_seen_at_two_places".into()]),
        intercept: false,
        content: json!({
            "rule": CLONE_RULE,
            "day": day.to_string(),
            "pairs_found": pairs.len(),
            "pairs": listed.iter().map(|pair| arithmetic(pair, rule)).collect::<Vec<_>>(),
            "allowed_speed_kmh": rounded(rule.speed_kmh, 1),
            "position_uncertainty_m": rounded(rule.position_uncertainty_m, 1),
            "clock_uncertainty_seconds": rounded(rule.clock_uncertainty_seconds, 3),
            "window_seconds": rule.window_seconds,
            "source": "configuration of this service (no public text holds a number)",
            "confidence": "unsourced-medium",
        }),
        evidence: evidence.into_iter().map(|reading| Evidence { reading, raw: bytes::Bytes::new() }).collect(),
    })
}

/// What a person needs to do the sum again.
fn arithmetic(pair: &Pair<'_>, rule: &Rule) -> Value {
    let Pair { earlier, later, contradiction } = pair;
    let sighting = |sighting: &Sighting| {
        json!({
            "station_id": sighting.station,
            "record_id": sighting.record,
            "passed_at": sighting.passed_at,
            "longitude": rounded(sighting.place.lon, 7),
            "latitude": rounded(sighting.place.lat, 7),
            "position_from": sighting.place.source.name(),
        })
    };
    json!({
        "earlier": sighting(earlier),
        "later": sighting(later),
        "distance_m": rounded(contradiction.distance_m, 0),
        "least_distance_m": rounded(contradiction.distance_m - 2.0 * rule.position_uncertainty_m, 0),
        "seconds_between": rounded(contradiction.seconds, 3),
        "most_seconds": rounded(contradiction.seconds + rule.clock_uncertainty_seconds, 3),
        "implied_speed_kmh": contradiction.speed_kmh.map(|speed| rounded(speed, 1)),
    })
}

/// Few enough digits that a number comes back from the database as the same one; else the finding would differ from
/// itself. Seven digits of a degree are a centimetre.
fn rounded(value: f64, digits: i32) -> f64 {
    let unit = 10_f64.powi(digits);
    (value * unit).round() / unit
}

#[cfg(test)]
mod tests;
