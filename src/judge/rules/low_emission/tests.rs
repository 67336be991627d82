use std::sync::Arc;

use geo::polygon;
use serde_json::{Value, json};

use super::*;
use crate::{
    judge::{
        Judgement,
        tests::{book, matched, passage_with, stranger, truck},
    },
    reading::Timestamp,
    vehicle::{
        facts::{Fuel, VehicleMatch},
        knowledge::Knowledge,
        stations::{Station, StationKind, Stations},
    },
    zone::{Classes, Datum, Hours, Zones},
};

fn zone() -> Zone {
    Zone {
        name: "core".into(),
        kind: "low_emission".into(),
        rule: "diesel_truck_stage_min_4".into(),
        valid_from: None,
        valid_to: None,
        hours: Hours::default(),
        classes: Classes::default(),
        permits: None,
        drawn_in: Datum::Wgs84,
        parts: vec![polygon![(x: 117.8, y: 36.7), (x: 117.9, y: 36.7), (x: 117.9, y: 36.8), (x: 117.8, y: 36.8)]],
    }
}

/// A fixed station inside the zone, and a mobile unit.
fn judged_at(zones: &[Zone], station: &str, vehicle: &VehicleMatch, changes: Value) -> Judgement {
    let zones = Zones::new(1, zones.to_vec());
    let fixed = Station { lon: Some(117.85), lat: Some(36.75), ..Station::default() };
    let mobile = Station { kind: Some(StationKind::Mobile), ..fixed.clone() };
    let stations = Stations::new(1, [("fixed".into(), fixed), ("mobile".into(), mobile)]).sited(&zones);
    let knowledge = Knowledge { zones: Arc::new(zones), stations: Arc::new(stations), ..Knowledge::default() };
    let passage = passage_with(changes);
    let (station, area) = (knowledge.stations.find(station), book().terminal.bounds().area);
    let surroundings = knowledge.surroundings(&passage, station, Some(passage.passed_at), &area);
    crate::judge::passage_amid(&passage, vehicle, None, &surroundings, &book(), true)
}

/// `Some(true)` accused, `Some(false)` not, or what is missing.
fn said(judgement: &Judgement) -> Result<bool, &'static str> {
    match judgement.undetermined.iter().find(|each| each.rule == NAME) {
        Some(undetermined) => Err(undetermined.missing),
        None => Ok(judgement.findings.iter().any(|finding| finding.rule == NAME)),
    }
}

fn judged(zone: Zone, vehicle: &VehicleMatch, at: &str) -> Result<bool, &'static str> {
    said(&judged_at(&[zone], "fixed", vehicle, json!({"passed_at": at})))
}

#[test]
fn the_zones_hours_have_edges_and_run_over_midnight() {
    let hours = Hours::parse("07:00-09:00,22:00-06:00").expect("hours");
    let zone = Zone { hours, ..zone() };
    for (at, accused) in [
        ("2026-03-01T06:59:59.999999+08:00", false),
        ("2026-03-01T07:00:00+08:00", true),
        ("2026-03-01T08:59:59+08:00", true),
        ("2026-03-01T09:00:00+08:00", false),
        ("2026-03-01T22:00:00+08:00", true),
        ("2026-03-02T00:00:00+08:00", true),
        ("2026-03-02T05:59:59+08:00", true),
        ("2026-03-02T06:00:00+08:00", false),
    ] {
        assert_eq!(judged(zone.clone(), &matched(truck(), &[]), at), Ok(accused), "{at}");
    }
    let day = |text| Timestamp::parse_rfc3339(text);
    let valid_from = day("2026-03-01T00:00:00+08:00");
    let dated = Zone { valid_from, valid_to: day("2026-03-02T00:00:00+08:00"), ..super::tests::zone() };
    for (at, accused) in [
        ("2026-02-28T23:59:59+08:00", false),
        ("2026-03-01T00:00:00+08:00", true),
        ("2026-03-02T00:00:00+08:00", false),
    ] {
        assert_eq!(judged(dated.clone(), &matched(truck(), &[]), at), Ok(accused), "{at}");
    }
}

#[test]
fn a_moving_unit_that_names_no_place_acquits_nobody() {
    let of = |lon: f64, lat: f64| {
        said(&judged_at(&[zone()], "mobile", &matched(truck(), &[]), json!({"longitude": lon, "latitude": lat})))
    };
    assert_eq!((of(117.85, 36.75), of(118.5, 36.75)), (Ok(true), Ok(false)));
    for (lon, lat) in [(0.0, 0.0), (117.85, 0.0), (0.0, 36.75), (36.75, 117.85), (2.35, 48.85), (-9999.0, -9999.0)] {
        assert_eq!(of(lon, lat), Err("place"), "{lon} {lat}");
    }
}

#[test]
fn a_permit_counts_in_its_own_interval_and_in_its_own_zone() {
    let zone = Zone { permits: Some("core_permit".into()), ..zone() };
    let mut permitted = matched(truck(), &["core_permit"]);
    permitted.lists[0].valid_from = Timestamp::parse_rfc3339("2026-03-01T00:00:00+08:00");
    permitted.lists[0].valid_to = Timestamp::parse_rfc3339("2026-03-02T00:00:00+08:00");
    for (at, accused) in [
        ("2026-02-28T23:59:59+08:00", true),
        ("2026-03-01T00:00:00+08:00", false),
        ("2026-03-01T23:59:59+08:00", false),
        ("2026-03-02T00:00:00+08:00", true),
    ] {
        assert_eq!(judged(zone.clone(), &permitted, at), Ok(accused), "{at}");
    }
    let other = Zone { name: "old town".into(), permits: None, ..zone.clone() };
    let both = judged_at(&[zone, other], "fixed", &permitted, json!({"passed_at": "2026-03-01T12:00:00+08:00"}));
    let finding = both.findings.iter().find(|finding| finding.rule == NAME).expect("no permit for the other one");
    let zones = finding.content.pointer("/verdict/rules_explained/0/facts/zones").expect("named");
    assert_eq!(zones.as_array().map(Vec::len), Some(1));
    assert_eq!(zones[0]["name"], "old town");
    assert!(!finding.intercept, "a breach is followed up, nobody is stopped for it");
}

#[test]
fn who_is_meant() {
    const NOON: &str = "2026-03-01T12:00:00+08:00";
    let truck_of = |stage| matched(Vehicle { stage: EmissionStage::from_code(stage), ..truck() }, &[]);
    assert_eq!(judged(zone(), &truck_of(3), NOON), Ok(true));
    assert_eq!(judged(zone(), &truck_of(4), NOON), Err("terminal_state"));
    let unmet = matched(Vehicle { stage: EmissionStage::from_code(6), ..truck() }, &["monitoring_unmet"]);
    assert_eq!(judged(zone(), &unmet, NOON), Ok(true));
    assert_eq!(judged(zone(), &matched(Vehicle { stage: None, ..truck() }, &[]), NOON), Err("emission_stage"));
    assert_eq!(judged(zone(), &matched(Vehicle { fuel: Fuel::Unknown, ..truck() }, &[]), NOON), Err("fuel"));
    assert_eq!(judged(zone(), &matched(Vehicle { kind: [0; 3], ..truck() }, &[]), NOON), Err("vehicle_kind"));
    assert_eq!(judged(zone(), &stranger(), NOON), Err("vehicle"));
    for other in [Vehicle { fuel: Fuel::Petrol, ..truck() }, Vehicle { kind: *b"K33", ..truck() }] {
        assert_eq!(judged(zone(), &matched(other, &[]), NOON), Ok(false));
    }
    let heavy_only = Zone { classes: Classes::parse("H1,Q1").expect("classes"), ..zone() };
    let light = matched(Vehicle { kind: *b"H31", ..truck() }, &[]);
    assert_eq!(judged(heavy_only.clone(), &light, NOON), Ok(false));
    assert_eq!(judged(heavy_only, &truck_of(3), NOON), Ok(true));
    let other_rule = Zone { rule: "outline".into(), ..zone() };
    assert_eq!(judged(other_rule, &truck_of(3), NOON), Ok(false));
}

#[test]
fn a_mobile_unit_is_where_it_says_and_nowhere_else() {
    let vehicle = matched(truck(), &[]);
    let at = |place: Value| said(&judged_at(&[zone()], "mobile", &vehicle, place));
    assert_eq!(at(json!({"longitude": 117.81, "latitude": 36.79})), Ok(true));
    assert_eq!(at(json!({"longitude": 117.91, "latitude": 36.79})), Ok(false));
    assert_eq!(at(json!({"longitude": null, "latitude": null})), Err("place"));
    let petrol = matched(Vehicle { fuel: Fuel::Petrol, ..truck() }, &[]);
    let nowhere = judged_at(&[zone()], "mobile", &petrol, json!({"longitude": null, "latitude": null}));
    assert_eq!(said(&nowhere), Ok(false), "the place does not matter to who is not meant");
}

#[test]
fn a_hybrid_burns_what_its_letters_say() {
    let hybrid = |letters: [u8; 2]| Vehicle { fuel: Fuel::of_code(letters), fuel_code: letters, ..truck() };
    let said = |letters| judged(zone(), &matched(hybrid(letters), &[]), "2026-03-01T12:00:00+08:00");
    assert_eq!(said(*b"BC"), Ok(true));
    assert_eq!(said(*b"O\0"), Err("fuel"));
    assert_eq!(said(*b"AC"), Ok(false));
}
