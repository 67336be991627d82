use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::{
    finding::Finding,
    judge::{
        Rules,
        rules::BUILT_IN,
        tests::{book, matched, passage_with, stranger, truck},
    },
    reading::Timestamp,
    vehicle::{facts::VehicleMatch, knowledge::Knowledge},
    warning::Warnings,
};

const FROM: &str = "2026-03-01T08:00:00+08:00";
const UNTIL: &str = "2026-03-03T08:00:00+08:00";

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

fn warning(level: Level, lifted_at: Option<&str>) -> Warning {
    Warning { id: 7, revision: 1, level, issued_at: at(FROM), lifted_at: lifted_at.map(at), document_no: None }
}

/// The finding, or what is missing, of a passage that arrives at `arrived`.
fn found(
    warnings: &[Warning],
    vehicle: &VehicleMatch,
    passed: &str,
    arrived: &str,
) -> Result<Option<Finding>, &'static str> {
    let knowledge = Knowledge { warnings: Arc::new(Warnings::new(1, warnings.to_vec())), ..Knowledge::default() };
    let passage = passage_with(json!({"passed_at": passed}));
    let surroundings = knowledge.surroundings(&passage, None, Some(at(arrived)), &book().terminal.bounds().area);
    let judgement = crate::judge::passage_amid(&passage, vehicle, None, &surroundings, &book(), true);
    match judgement.undetermined.iter().find(|each| each.rule == NAME) {
        Some(undetermined) => Err(undetermined.missing),
        None => Ok(judgement.findings.into_iter().find(|finding| finding.rule == NAME)),
    }
}

fn said(level: Level, vehicle: Vehicle, lists: &[&str]) -> Result<bool, &'static str> {
    const DURING: &str = "2026-03-02T12:00:00+08:00";
    found(&[warning(level, None)], &matched(vehicle, lists), DURING, DURING).map(|finding| finding.is_some())
}

fn of(stage: u8, fuel: Fuel) -> Vehicle {
    Vehicle { stage: EmissionStage::from_code(stage), fuel, ..truck() }
}

#[test]
fn the_ladder_is_cumulative() {
    // Oldest stage that each level lets pass: diesel, petrol.
    for (level, diesel, petrol) in [(Level::Yellow, 4, 4), (Level::Orange, 5, 4), (Level::Red, 6, 4)] {
        for stage in 0..=6 {
            assert_eq!(said(level, of(stage, Fuel::Diesel), &[]), Ok(stage < diesel), "{level:?} diesel {stage}");
            assert_eq!(said(level, of(stage, Fuel::Petrol), &[]), Ok(stage < petrol), "{level:?} petrol {stage}");
        }
    }
    let car = Vehicle { kind: *b"K33", ..of(1, Fuel::Diesel) };
    assert_eq!(said(Level::Red, car, &[]), Ok(false));
}

#[test]
fn who_is_exempt_and_who_is_listed() {
    assert_eq!(said(Level::Red, of(5, Fuel::Diesel), &["livelihood"]), Ok(false));
    assert_eq!(said(Level::Red, of(3, Fuel::Diesel), &["livelihood"]), Ok(true), "that step has no such exemption");
    assert_eq!(said(Level::Red, of(3, Fuel::Diesel), &["warning_exempt"]), Ok(false));
    assert_eq!(said(Level::Red, Vehicle { use_nature: b'J', ..of(3, Fuel::Diesel) }, &[]), Ok(false));
    assert_eq!(said(Level::Yellow, of(6, Fuel::Diesel), &["high_emission"]), Ok(true));
    assert_eq!(said(Level::Yellow, of(6, Fuel::Diesel), &["high_emission", "warning_exempt"]), Ok(false));
}

#[test]
fn what_is_not_known_accuses_nobody() {
    assert_eq!(said(Level::Yellow, Vehicle { stage: None, ..truck() }, &[]), Err("emission_stage"));
    assert_eq!(said(Level::Yellow, Vehicle { kind: [0; 3], ..truck() }, &[]), Err("vehicle_kind"));
    assert_eq!(said(Level::Orange, of(4, Fuel::Unknown), &[]), Err("fuel"));
    assert_eq!(said(Level::Orange, of(3, Fuel::Unknown), &[]), Ok(true), "the lower step asks for no fuel");
    let during = "2026-03-02T12:00:00+08:00";
    assert_eq!(found(&[warning(Level::Yellow, None)], &stranger(), during, during), Err("vehicle"));
    assert_eq!(found(&[], &stranger(), during, during), Ok(None), "without a warning there is nothing to know");
}

#[test]
fn the_warning_in_force_when_the_vehicle_passed_decides_whenever_the_reading_arrives() {
    let vehicle = matched(truck(), &[]);
    let lifted = [warning(Level::Orange, Some(UNTIL))];
    for (passed, accused) in
        [("2026-03-01T07:59:59+08:00", false), (FROM, true), ("2026-03-03T07:59:59+08:00", true), (UNTIL, false)]
    {
        let found = found(&lifted, &vehicle, passed, "2026-03-09T00:00:00+08:00").expect("decided");
        assert_eq!(found.is_some(), accused, "{passed}");
    }
    // The same passage, once while the warning lasts and once long after it was lifted.
    let passed = "2026-03-02T12:00:00+08:00";
    let live = found(&[warning(Level::Orange, None)], &vehicle, passed, passed).expect("decided").expect("a breach");
    let late = found(&lifted, &vehicle, passed, "2026-03-09T00:00:00+08:00").expect("decided").expect("a breach");
    assert!(live.intercept && !late.intercept, "nobody is stopped for a ban that is over");
    assert_eq!(Finding { intercept: false, ..live }, late, "in all else they are the same finding");
}

#[test]
fn a_lifted_higher_level_leaves_the_lower_one() {
    let both = [warning(Level::Yellow, None), Warning { id: 8, ..warning(Level::Red, Some(UNTIL)) }];
    let after = "2026-03-04T12:00:00+08:00";
    let named = |stage: u8, passed: &str| -> Option<Vec<i64>> {
        let finding = found(&both, &matched(of(stage, Fuel::Diesel), &[]), passed, after).expect("decided")?;
        let warnings = finding.content.pointer("/verdict/rules_explained/0/facts/warnings").expect("named").clone();
        Some(warnings.as_array().expect("a list").iter().map(|w| w["warning"].as_i64().expect("a number")).collect())
    };
    let during = "2026-03-02T12:00:00+08:00";
    assert_eq!(named(3, during), Some(vec![7, 8]), "either keeps it off");
    assert_eq!(named(5, during), Some(vec![8]));
    assert_eq!(named(3, after), Some(vec![7]));
    assert_eq!(named(5, after), None::<Vec<i64>>);
}

#[test]
fn a_ladder_must_be_whole() {
    let wrong = |from: &str, to: &str| {
        assert!(BUILT_IN.contains(from), "{from}");
        Rules::parse(&BUILT_IN.replacen(from, to, 1)).expect_err("refused").to_string()
    };
    assert!(wrong("level = \"red\"", "level = \"orange\"").contains("once each"));
    assert!(wrong("level = \"red\"", "level = \"blue\"").contains("blue"));
    assert!(wrong("fuels = [\"diesel\"], max_stage = 5", "fuels = [\"coal\"], max_stage = 5").contains("coal"));
    assert!(
        wrong("{ level = \"yellow\", kinds = [\"H\", \"Q\"]", "{ level = \"yellow\", kinds = []").contains("no kinds")
    );
}

#[test]
fn a_hybrid_burns_what_its_letters_say() {
    let hybrid = |letters: [u8; 2]| Vehicle { fuel_code: letters, ..of(4, Fuel::of_code(letters)) };
    assert_eq!(said(Level::Orange, hybrid(*b"BC"), &[]), Ok(true));
    assert_eq!(said(Level::Orange, hybrid(*b"O\0"), &[]), Err("fuel"));
    assert_eq!(said(Level::Orange, hybrid(*b"AC"), &[]), Ok(false));
}
