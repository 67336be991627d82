//! The pure part against a second implementation that shares no arithmetic with it, and the properties the sweep rests on.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::reading::{Area, Plate, PlateColor};

const RULE: Rule = Rule {
    window_seconds: 7_200,
    speed_kmh: 150.0,
    position_uncertainty_m: 200.0,
    clock_uncertainty_seconds: 60.0,
    area: Area { min_lon: 73.0, max_lon: 136.0, min_lat: 3.0, max_lat: 54.0 },
};

/// Midnight in China, 1 September 2026.
const MIDNIGHT: i64 = 1_788_192_000;

fn vehicle() -> PlateKey {
    PlateKey::new(Plate::parse("鲁C12345").expect("legal"), PlateColor::Yellow)
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros((MIDNIGHT + seconds) * 1_000_000)
}

fn place(lon: f64, lat: f64) -> Place {
    Place { lon, lat, source: PlaceSource::Register }
}

/// Stations on a line to the north, `km` from the first.
fn sighting(station: &str, record: &str, km: f64, seconds: i64) -> Sighting {
    let degrees = km * 1_000.0 / EARTH_RADIUS_M / std::f64::consts::PI * 180.0;
    let place = place(117.8, 36.8 + degrees);
    Sighting { station: station.into(), record: record.into(), passed_at: at(seconds), place }
}

fn names(sightings: &[Sighting]) -> Vec<(String, String)> {
    pairs(sightings, &RULE).iter().map(|pair| (pair.earlier.record.clone(), pair.later.record.clone())).collect()
}

#[test]
fn distances_are_those_of_known_places() {
    // Jinan to Qingdao, stations in OpenStreetMap's coordinates; 305 km by any calculator of great circles.
    let found = distance_m(place(117.0, 36.67), place(120.38, 36.07));
    assert!((309_000.0..311_000.0).contains(&found), "{found}");
    assert_eq!(distance_m(place(117.0, 36.67), place(117.0, 36.67)), 0.0);
    let degree = distance_m(place(117.0, 36.0), place(117.0, 37.0));
    assert!((degree - 111_195.0).abs() < 1.0, "{degree}");
    let around = distance_m(place(-180.0, 0.0), place(180.0, 0.0));
    assert!(around < 0.001, "the same meridian: {around}");
}

#[test]
fn a_vehicle_has_the_benefit_of_every_doubt() {
    let pair = |km: f64, seconds| names(&[sighting("a", "1", 0.0, 0), sighting("b", "2", km, seconds)]).len();
    // 20.4 km less 400 m is 20 km; at 150 km/h that takes 480 s, of which the clocks may hide 60.
    assert_eq!(pair(20.41, 420), 1);
    assert_eq!(pair(20.39, 420), 0);
    assert_eq!(pair(20.39, 419), 1);
    assert_eq!(pair(0.39, 0), 0, "within what the positions may be off");
    assert_eq!(pair(2.91, 0), 1, "2.5 km in the minute that the clocks may be apart");
    assert_eq!(pair(2.89, 0), 0);
    assert_eq!(pair(400.0, 7_200), 1);
    assert_eq!(pair(400.0, 7_201), 0, "outside the window");
}

#[test]
fn the_arithmetic_can_be_done_again() {
    let sightings = [sighting("a", "1", 0.0, 0), sighting("b", "2", 50.4, 240)];
    let found = findings(vehicle(), &pairs(&sightings, &RULE), &RULE);
    let [finding] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((finding.from, finding.to, finding.intercept), (at(0), at(240), false));
    assert_eq!(finding.review, Review::Needed(vec!["plate_seen_at_two_places".into()]));
    let evidence: Vec<&str> = finding.evidence.iter().map(|evidence| evidence.reading.as_str()).collect();
    assert_eq!(evidence, ["passage a/1", "passage b/2"]);
    insta::assert_snapshot!(serde_json::to_string_pretty(&finding.content).expect("JSON"));
}

#[test]
fn no_time_at_all_has_no_speed() {
    let exact = Rule { clock_uncertainty_seconds: 0.0, ..RULE };
    let found = contradiction((place(117.0, 36.0), at(5)), (place(118.0, 36.0), at(5)), &exact).expect("two places");
    assert_eq!(found.speed_kmh, None);
}

#[test]
fn one_rig_is_not_compared_with_itself() {
    assert_eq!(names(&[sighting("a", "1", 0.0, 0), sighting("a", "2", 90.0, 10)]), []);
}

#[test]
fn a_day_is_one_finding_and_the_later_sighting_names_it() {
    let evening = 86_400 - 60;
    let sightings = [
        sighting("a", "1", 0.0, evening),
        sighting("b", "2", 90.0, evening + 30),
        sighting("a", "3", 0.0, evening + 120),
        sighting("b", "4", 90.0, evening + 4_000),
    ];
    let found = findings(vehicle(), &pairs(&sightings, &RULE), &RULE);
    let spans: Vec<_> =
        found.iter().map(|f| (f.content["day"].as_str().expect("a day").to_owned(), f.from, f.to)).collect();
    assert_eq!(
        spans,
        [
            ("2026-09-01".to_owned(), at(evening), at(evening + 30)),
            ("2026-09-02".to_owned(), at(evening + 30), at(evening + 120)),
        ]
    );
    assert_ne!(found[0].id, found[1].id);
}

#[test]
fn a_plate_at_two_places_all_day_lists_its_first_pairs_only() {
    let sightings: Vec<Sighting> = (0..200)
        .map(|n| {
            sighting(if n % 2 == 0 { "a" } else { "b" }, &format!("{n:03}"), f64::from(n % 2) * 90.0, i64::from(n) * 60)
        })
        .collect();
    let found = findings(vehicle(), &pairs(&sightings, &RULE), &RULE);
    let [finding] = found.as_slice() else { panic!("one day: {}", found.len()) };
    assert_eq!(finding.content["pairs_found"], 199);
    assert_eq!(finding.content["pairs"].as_array().map(Vec::len), Some(LISTED));
    assert_eq!(finding.evidence.len(), LISTED + 1);
    assert!(finding.content.to_string().len() < 64 * 1024, "fits an event");
}

/// By chords through the Earth instead of haversines, km and hours instead of metres and seconds, and no order of work.
fn naive(sightings: &[Sighting]) -> BTreeSet<(String, String)> {
    let vector = |place: Place| {
        let (lon, lat) = (place.lon.to_radians(), place.lat.to_radians());
        [lat.cos() * lon.cos(), lat.cos() * lon.sin(), lat.sin()]
    };
    let impossible = |a: &Sighting, b: &Sighting| {
        let (u, v) = (vector(a.place), vector(b.place));
        let chord = (0..3).map(|i| (u[i] - v[i]).powi(2)).sum::<f64>().sqrt();
        let km = 6_371.008_8 * 2.0 * (chord / 2.0).asin() - 0.4;
        let hours = (b.passed_at.micros() - a.passed_at.micros()) as f64 / 3.6e9 + 1.0 / 60.0;
        a.station != b.station && hours <= 2.0 + 1.0 / 60.0 && km > 0.0 && km / hours > 150.0
    };
    let key = |s: &Sighting| (s.passed_at, s.station.clone(), s.record.clone());
    let mut found = BTreeSet::new();
    for later in sightings {
        let earlier = sightings.iter().filter(|s| key(s) < key(later) && impossible(s, later)).max_by_key(|s| key(s));
        if let Some(earlier) = earlier {
            found.insert((earlier.record.clone(), later.record.clone()));
        }
    }
    found
}

/// A few hours of a plate among six places up to a hundred kilometres apart; record ids are unique.
fn sightings() -> impl Strategy<Value = Vec<Sighting>> {
    let one = (0..6_usize, 0..20_000_i64, 0..1_000_000_i64);
    prop::collection::vec(one, 0..40).prop_map(|all| {
        let kilometres = [0.0, 0.3, 3.0, 17.0, 42.0, 101.0];
        let make = |(number, (station, seconds, micros)): (usize, (usize, i64, i64))| {
            let mut made = sighting(&format!("s{station}"), &format!("r{number}"), kilometres[station], 0);
            made.passed_at = Timestamp::from_micros(at(seconds).micros() + micros);
            made
        };
        all.into_iter().enumerate().map(make).collect()
    })
}

proptest! {
    #[test]
    fn agrees_with_the_naive_reading(sightings in sightings()) {
        let found: BTreeSet<_> = names(&sightings).into_iter().collect();
        prop_assert_eq!(found, naive(&sightings));
    }

    #[test]
    fn order_and_repetition_change_nothing(
        (sightings, shuffled) in sightings().prop_flat_map(|s| (Just(s.clone()), Just(s).prop_shuffle())),
        repeated in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let mut again = shuffled;
        if !again.is_empty() {
            again.extend(repeated.iter().map(|place| sightings[place.index(sightings.len())].clone()));
        }
        let of = |sightings: &[Sighting]| findings(vehicle(), &pairs(sightings, &RULE), &RULE);
        prop_assert_eq!(of(&sightings), of(&again));
    }

    /// What the sweep rests on: a sighting that contradicts no other one changes nothing, wherever it falls.
    #[test]
    fn only_a_sighting_that_contradicts_one_changes_anything(
        sightings in sightings(), further in 0..6_usize, seconds in 0..20_000_i64,
    ) {
        let kilometres = [0.0, 0.3, 3.0, 17.0, 42.0, 101.0];
        let further = sighting(&format!("s{further}"), "further", kilometres[further], seconds);
        let contradicts = sightings.iter().any(|other| {
            other.station != further.station
                && contradiction((other.place, other.passed_at), (further.place, further.passed_at), &RULE).is_some()
        });
        let mut with = sightings.clone();
        with.push(further);
        let same = names(&sightings) == names(&with);
        prop_assert!(same || contradicts);
        let names_it = names(&with).iter().any(|(a, b)| a == "further" || b == "further");
        prop_assert!(contradicts || !names_it);
    }

    /// The sweep asks within the reach of the farthest place, so no contradiction may lie outside it.
    #[test]
    fn no_contradiction_lies_out_of_reach(km in 0.0..300.0_f64, seconds in 0..7_200_i64, less in 0.0..50.0_f64) {
        let (one, other) = (sighting("a", "1", 0.0, 0), sighting("b", "2", (km - less).max(0.0), seconds));
        let reach = RULE.reach_seconds(distance_m(one.place, sighting("c", "3", km, 0).place));
        if contradiction((one.place, one.passed_at), (other.place, other.passed_at), &RULE).is_some() {
            prop_assert!(reach.is_some_and(|reach| reach + 1.0 >= seconds as f64));
        }
    }
}
