//! Judgement of passages as a whole; the rule book here is the built-in table.

mod fillers;

use std::sync::{Arc, LazyLock};

use serde_json::json;
use smallvec::SmallVec;

use super::*;
use crate::{
    decode::remote_sensing,
    finding::Review,
    reading::{Timestamp, passage::Passage},
    vehicle::facts::{EmissionStage, Fuel, ListHit, MatchKind, Vehicle, VehicleMatch},
};

pub(crate) fn settings() -> config::Judge {
    config::Judge {
        limits_file: None,
        rules_file: None,
        terminal_file: None,
        live_seconds: 120,
        plate_confidence_min: 0.9,
        same_passage_seconds: 60,
        nox_consecutive_seconds: 60,
        nox_limit_ppm: 500.0,
        nox_min_rpm: 800.0,
        nox_min_coolant_c: 70.0,
        nox_min_scr_inlet_c: 250.0,
        plates: config::Plates {
            local_prefixes: vec!["鲁C".into()],
            suspected_lists: vec!["scrapped".into(), "retire_n3".into()],
            suspected_over: true,
            clone_window_seconds: 7200,
            clone_speed_kmh: 150.0,
            clone_position_uncertainty_m: 200.0,
            clone_clock_uncertainty_seconds: 60.0,
        },
    }
}

pub(crate) fn book() -> RuleBook {
    // Loaded once: property tests ask for it in every case.
    static BOOK: LazyLock<RuleBook> = LazyLock::new(|| RuleBook::new(Limits::built_in(), settings()));
    BOOK.clone()
}

/// A passage in good weather that passes; `changes` are merged over it, `null` included.
pub(crate) fn passage_with(changes: serde_json::Value) -> Passage {
    let mut message: serde_json::Value =
        serde_json::from_str(include_str!("../../tests/fixtures/passages/ordinary.json")).expect("fixture is JSON");
    let fields = message.as_object_mut().expect("fixture is an object");
    for (name, value) in changes.as_object().expect("changes are an object") {
        fields.insert(name.clone(), value.clone());
    }
    let text = message.to_string();
    let element = remote_sensing::decode(text.as_bytes()).expect("JSON").next().expect("one passage");
    element.passage.expect("a legal passage")
}

pub(crate) fn truck() -> Vehicle {
    Vehicle {
        fuel: Fuel::Diesel,
        fuel_code: *b"B\0",
        stage: EmissionStage::from_code(3),
        kind: *b"H11",
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

pub(crate) fn matched(vehicle: Vehicle, lists: &[&str]) -> VehicleMatch {
    let hit = |list: &&str| ListHit {
        list: Arc::from(*list),
        version: 12,
        valid_from: Timestamp::parse_rfc3339("2026-01-01T00:00:00+08:00"),
        valid_to: None,
        reason: Some(Arc::from("stage III operating truck")),
        document_no: Some(Arc::from("2026-7")),
    };
    VehicleMatch {
        kind: MatchKind::Exact,
        vehicle: Some(vehicle),
        lists: lists.iter().map(hit).collect(),
        registry_version: 5,
    }
}

pub(crate) fn stranger() -> VehicleMatch {
    VehicleMatch { kind: MatchKind::None, vehicle: None, lists: SmallVec::new(), registry_version: 5 }
}

fn judged(changes: serde_json::Value, matched: &VehicleMatch) -> (Passage, Judgement) {
    let passage = passage_with(changes);
    let judgement = super::passage(&passage, matched, None, &book(), true);
    (passage, judgement)
}

fn rendered(changes: serde_json::Value, matched: &VehicleMatch) -> String {
    let (passage, judgement) = judged(changes, matched);
    serde_json::to_string_pretty(&judgement.document(&passage, matched, &book())).expect("a verdict is JSON")
}

#[test]
fn verdict_pass() {
    let (_, judgement) = judged(json!({}), &matched(truck(), &[]));
    assert!(judgement.findings.is_empty());
    insta::assert_snapshot!(rendered(json!({}), &matched(truck(), &[])));
}

#[test]
fn verdict_over() {
    insta::assert_snapshot!(rendered(json!({"opacity_pct": 41.2}), &matched(truck(), &[])));
}

#[test]
fn verdict_over_finding() {
    let (_, judgement) = judged(json!({"opacity_pct": 41.2, "no_ppm": 1500.1}), &matched(truck(), &[]));
    let [finding] = judgement.findings.as_slice() else { panic!("one finding a passage: {:?}", judgement.findings) };
    assert_eq!((&*finding.rule, &finding.review, finding.intercept), ("HJ845.over", &Review::NotNeeded, false));
    insta::assert_snapshot!(serde_json::to_string_pretty(&finding.content).expect("JSON"));
}

#[test]
fn verdict_invalid() {
    let changes = json!({"opacity_pct": 41.2, "wind_speed_ms": 7.3, "humidity_pct": null, "precipitation": true});
    let (_, judgement) = judged(changes.clone(), &matched(truck(), &[]));
    assert!(judgement.findings.is_empty(), "an invalid measurement accuses nobody");
    insta::assert_snapshot!(rendered(changes, &matched(truck(), &[])));
}

#[test]
fn verdict_petrol() {
    let car = Vehicle { fuel: Fuel::Petrol, fuel_code: *b"A\0", kind: *b"K33", ..truck() };
    insta::assert_snapshot!(rendered(json!({"opacity_pct": 80.0}), &matched(car, &[])));
}

#[test]
fn verdict_listed() {
    insta::assert_snapshot!(rendered(json!({}), &matched(truck(), &["retire_n3", "inspection_overdue"])));
}

#[test]
fn verdict_scrapped() {
    insta::assert_snapshot!(rendered(json!({"opacity_pct": 41.2}), &matched(truck(), &["scrapped", "retire_n2"])));
}

#[test]
fn verdict_low_confidence() {
    let changes = json!({"opacity_pct": 41.2, "plate_confidence": 0.5, "vehicle_kind_hint": "car"});
    insta::assert_snapshot!(rendered(changes, &matched(truck(), &["scrapped"])));
}

#[test]
fn verdict_unread_plate() {
    let changes = json!({"plate": null, "plate_color": "unknown", "opacity_pct": 80.0, "fuel_hint": "diesel"});
    let (_, judgement) = judged(changes.clone(), &stranger());
    assert!(judgement.findings.is_empty());
    insta::assert_snapshot!(rendered(changes, &stranger()));
}

/// A stranger one character away from a scrapped truck.
fn misread() -> VehicleMatch {
    use crate::{
        reading::{Plate, PlateColor, PlateKey},
        vehicle::confusable::{Candidate, Confusion},
    };
    let key = PlateKey::new(Plate::parse("鲁C1234S").expect("legal"), PlateColor::Yellow);
    let confusion = Confusion { place: 6, read: '5', meant: 'S', weight: 0.9 };
    let lists = matched(truck(), &["scrapped"]).lists;
    VehicleMatch { kind: MatchKind::Suspected(vec![Candidate { key, confusion, lists }]), ..stranger() }
}

#[test]
fn verdict_suspected_plate() {
    insta::assert_snapshot!(rendered(json!({}), &misread()));
    let (_, judgement) = judged(json!({}), &misread());
    let [finding] = judgement.findings.as_slice() else { panic!("one finding: {:?}", judgement.findings) };
    assert_eq!((&*finding.rule, finding.intercept), (SUSPECTED_MATCH_RULE, false));
    assert_eq!(finding.review, Review::Needed(vec!["match_not_exact".into(), "plate_suspected".into()]));
    assert_eq!(finding.content["entries"][0]["list"], "scrapped");
}

#[test]
fn verdict_suspected_diesel() {
    let changes = json!({"plate": "鲁G55555", "opacity_pct": 41.2});
    insta::assert_snapshot!(rendered(changes.clone(), &stranger()));
    let (_, judgement) = judged(changes, &stranger());
    let rules: Vec<_> = judgement.findings.iter().map(|f| (&*f.rule, f.review == Review::NotNeeded)).collect();
    assert_eq!(rules, [(SUSPECTED_OVER_RULE, false)]);
}

#[test]
fn a_suspicion_accuses_only_when_over_valid_and_switched_on() {
    let over = json!({"plate": "鲁G55555", "opacity_pct": 41.2});
    let findings = |changes: serde_json::Value, book: &RuleBook| {
        super::passage(&passage_with(changes), &stranger(), None, book, true).findings.len()
    };
    assert_eq!(findings(over.clone(), &book()), 1);
    assert_eq!(findings(json!({"plate": "鲁G55555", "opacity_pct": 30}), &book()), 0, "the limit itself");
    assert_eq!(findings(json!({"opacity_pct": 41.2, "wind_speed_ms": 9}), &book()), 0, "an invalid measurement");
    assert_eq!(findings(json!({"opacity_pct": 41.2, "fuel_hint": "gas"}), &book()), 0);
    let mut off = book();
    off.settings.plates.suspected_over = false;
    assert_eq!(findings(over, &off), 0);
}

/// A scrapped truck whose fuel nobody registered: the exact match stands by itself, whatever is suspected beside it.
#[test]
fn a_doubt_belongs_to_its_own_finding() {
    let vehicle = matched(Vehicle { fuel: Fuel::Unknown, fuel_code: [0; 2], ..truck() }, &["scrapped"]);
    let (_, judgement) = judged(json!({"opacity_pct": 41.2}), &vehicle);
    let found: Vec<_> = judgement.findings.iter().map(|f| (&*f.rule, f.review.clone(), f.intercept)).collect();
    let doubt = Review::Needed(vec!["fuel_suspected".into()]);
    assert_eq!(found, [(SUSPECTED_OVER_RULE, doubt, false), ("R8.scrapped_on_road", Review::NotNeeded, true)]);
    assert!(judgement.review.is_empty());
}

#[test]
fn the_limit_itself_is_a_pass() {
    let (_, at) = judged(json!({"opacity_pct": 30.0, "no_ppm": 1500, "ringelmann": 1}), &matched(truck(), &[]));
    assert_eq!(at.verdict.outcome, Outcome::Pass);
    let (_, above) = judged(json!({"opacity_pct": 30.01}), &matched(truck(), &[]));
    assert_eq!(above.verdict.outcome, Outcome::OverLimit);
}

#[test]
fn every_missing_condition_forbids_a_pass() {
    for (field, reason) in [
        ("precipitation", "precipitation_missing"),
        ("temperature_c", "temperature_c_missing"),
        ("humidity_pct", "humidity_pct_missing"),
        ("pressure_kpa", "pressure_kpa_missing"),
        ("wind_speed_ms", "wind_speed_ms_missing"),
        ("speed_kmh", "speed_kmh_missing"),
        ("vsp_kwt", "vsp_kwt_missing"),
        ("co2_pct", "co2_pct_missing"),
    ] {
        let (_, judgement) = judged(json!({ field: null, "slope_deg": null }), &matched(truck(), &[]));
        assert_eq!(judgement.verdict.outcome, Outcome::Invalid, "{field}");
        assert_eq!(judgement.verdict.reasons().collect::<Vec<_>>(), [reason]);
    }
}

#[test]
fn a_black_smoke_camera_needs_no_gas_and_no_plume() {
    let camera = json!({
        "opacity_pct": null, "no_ppm": null, "co_pct": null, "hc_ppm": null, "co2_pct": null, "vsp_kwt": null,
        "wind_speed_ms": null, "temperature_c": null, "humidity_pct": null, "pressure_kpa": null, "speed_kmh": null,
        "ringelmann": 2,
    });
    let (_, judgement) = judged(camera, &matched(truck(), &[]));
    assert_eq!(judgement.verdict.outcome, Outcome::OverLimit);
    assert_eq!(judgement.verdict.pollutants.len(), 1);
}

#[test]
fn one_invalid_pollutant_leaves_the_others_their_own_verdict() {
    let (_, judgement) = judged(json!({"co2_pct": 0.0, "opacity_pct": 35}), &matched(truck(), &[]));
    let outcome = |pollutant| {
        judgement.verdict.pollutants.iter().find(|each| each.pollutant == pollutant).map(|each| each.outcome)
    };
    assert_eq!(outcome(Pollutant::No), Some(Outcome::Invalid));
    assert_eq!(outcome(Pollutant::Opacity), Some(Outcome::OverLimit));
    assert_eq!(judgement.verdict.outcome, Outcome::OverLimit);
}

#[test]
fn power_is_computed_where_the_rig_sends_none() {
    let passage = passage_with(json!({"vsp_kwt": null, "slope_deg": null}));
    let flat = StationFacts { slope_deg: Some(0.0), ..StationFacts::default() };
    let steep_down = StationFacts { slope_deg: Some(-10.0), ..StationFacts::default() };
    let outcome = |station| super::passage(&passage, &matched(truck(), &[]), station, &book(), true).verdict.outcome;
    assert_eq!(outcome(Some(&flat)), Outcome::Pass);
    assert_eq!(outcome(Some(&steep_down)), Outcome::Invalid);
    assert_eq!(outcome(None), Outcome::Invalid, "no slope, no power");
}

#[test]
fn a_calibration_spoils_the_measurement_when_it_is_too_old() {
    let reasons = |sent: Option<&str>, station: Option<&str>| {
        let passage = passage_with(json!({"calibrated_at": sent}));
        let calibrated_at = station.and_then(Timestamp::parse_rfc3339);
        let station = StationFacts { calibrated_at, ..StationFacts::default() };
        let judgement = super::passage(&passage, &matched(truck(), &[]), Some(&station), &book(), true);
        judgement.verdict.reasons().collect::<Vec<_>>()
    };
    let (old, fresh, later) = ("2025-02-27T10:00:00+08:00", "2025-03-01T10:00:00+08:00", "2026-03-02T00:00:00+08:00");
    assert_eq!(reasons(Some(old), None), ["calibration_too_old"]);
    assert_eq!(reasons(None, Some(old)), ["calibration_too_old"]);
    assert!(reasons(Some(old), Some(fresh)).is_empty(), "the later of the two counts");
    assert_eq!(reasons(Some(old), Some(later)), ["calibration_too_old"], "one after the passage says nothing");
}

#[test]
fn a_condition_passed_over_is_named() {
    let passed_over = |station: &StationFacts| {
        let passage = passage_with(json!({"calibrated_at": null}));
        let judgement = super::passage(&passage, &matched(truck(), &[]), Some(station), &book(), true);
        judgement.verdict.passed_over.iter().map(|key| key.name()).collect::<Vec<_>>()
    };
    assert_eq!(passed_over(&StationFacts::default()), ["calibration_age_days", "certificate_days_left"]);
    let calibrated_at = Timestamp::parse_rfc3339("2025-12-01T10:00:00+08:00");
    let until = Timestamp::parse_rfc3339("2027-01-01T00:00:00+08:00");
    assert!(passed_over(&StationFacts { calibrated_at, certificate_until: until, slope_deg: None }).is_empty());
}

#[test]
fn an_expired_certificate_spoils_the_measurement() {
    let passage = passage_with(json!({"opacity_pct": 50}));
    let until = |text| StationFacts { certificate_until: Timestamp::parse_rfc3339(text), ..StationFacts::default() };
    let outcome = |station: &StationFacts| {
        super::passage(&passage, &matched(truck(), &[]), Some(station), &book(), true).verdict.outcome
    };
    assert_eq!(outcome(&until("2027-01-01T00:00:00+08:00")), Outcome::OverLimit);
    assert_eq!(outcome(&until("2026-01-01T00:00:00+08:00")), Outcome::Invalid);
    // To the microsecond, also by a table that says `min = 0.0`: the end is the first moment without one.
    assert_eq!(outcome(&until("2026-03-01T10:15:30.250+08:00")), Outcome::Invalid);
    assert_eq!(outcome(&until("2026-03-01T10:15:30.250001+08:00")), Outcome::OverLimit);
}

#[test]
fn fuel_decides_and_a_hint_does_not() {
    let outcome = |vehicle: VehicleMatch, hint: &str| {
        let (_, judgement) = judged(json!({"opacity_pct": 60, "fuel_hint": hint}), &vehicle);
        let reasons: Vec<_> = judgement.verdict.reasons().collect();
        (judgement.verdict.outcome, reasons)
    };
    let fuel = |fuel, fuel_code| matched(Vehicle { fuel, fuel_code, ..truck() }, &[]);
    assert_eq!(outcome(stranger(), "other"), (Outcome::Undetermined, vec!["vehicle_not_registered"]));
    let suspected = vec!["vehicle_not_registered", "diesel_suspected"];
    assert_eq!(outcome(stranger(), "diesel"), (Outcome::Undetermined, suspected));
    assert_eq!(outcome(fuel(Fuel::Unknown, *b"\0\0"), "other"), (Outcome::Undetermined, vec!["fuel_unknown"]));
    assert_eq!(outcome(fuel(Fuel::Hybrid, *b"O\0"), "other"), (Outcome::Undetermined, vec!["hybrid_fuel_unknown"]));
    assert_eq!(outcome(fuel(Fuel::Hybrid, *b"BO"), "other").0, Outcome::OverLimit);
    assert_eq!(outcome(fuel(Fuel::Electric, *b"C\0"), "other").0, Outcome::NotApplicable);
    let contradicted = (Outcome::NotApplicable, vec!["fuel_hint_contradicts_register"]);
    assert_eq!(outcome(fuel(Fuel::Petrol, *b"A\0"), "diesel"), contradicted);
}

#[test]
fn before_the_standard_there_was_no_limit() {
    let (_, judgement) =
        judged(json!({"opacity_pct": 60, "passed_at": "2017-07-26T23:59:59+08:00"}), &matched(truck(), &[]));
    assert_eq!(judgement.verdict.outcome, Outcome::NotApplicable);
    let (_, judgement) =
        judged(json!({"opacity_pct": 60, "passed_at": "2017-07-27T00:00:00+08:00"}), &matched(truck(), &[]));
    assert_eq!(judgement.verdict.outcome, Outcome::OverLimit);
}

/// Intercept of the finding of a scrapped truck, and why it waits.
fn stopped(changes: serde_json::Value, vehicle: &VehicleMatch, live: bool) -> (bool, Vec<&'static str>) {
    let passage = passage_with(changes);
    let judgement = super::passage(&passage, vehicle, None, &book(), live);
    let finding = judgement.findings.iter().find(|f| f.rule == "R8.scrapped_on_road").expect("scrapped");
    (finding.intercept, judgement.review.to_vec())
}

#[test]
fn an_officer_is_asked_for_only_when_live_exact_and_confident() {
    let scrapped = matched(truck(), &["scrapped"]);
    assert_eq!(stopped(json!({}), &scrapped, true), (true, vec![]));
    assert_eq!(stopped(json!({}), &scrapped, false), (false, vec![]));
    assert_eq!(stopped(json!({"plate_confidence": 0.89}), &scrapped, true), (false, vec!["plate_confidence_low"]));
    assert_eq!(stopped(json!({"plate_confidence": null}), &scrapped, true), (false, vec!["plate_confidence_missing"]));
    let contradicted = vec!["vehicle_kind_contradicts_register"];
    assert_eq!(stopped(json!({"vehicle_kind_hint": "K33"}), &scrapped, true), (false, contradicted));
    let exempt = matched(truck(), &["scrapped", "exempt"]);
    assert_eq!(stopped(json!({}), &exempt, true), (false, vec!["exempt_entry_in_force"]));
}

#[test]
fn a_vehicle_registered_after_the_passage_is_perhaps_not_the_one_that_passed() {
    let registered = |day: &str| {
        let day = day.parse::<chrono::NaiveDate>().expect("a date").to_epoch_days();
        matched(Vehicle { registered_on: Some(day), ..truck() }, &["scrapped"])
    };
    // The passage is of 2026-03-01 in China.
    assert_eq!(stopped(json!({}), &registered("2026-03-01"), true), (true, vec![]));
    let late = registered("2026-03-02");
    assert_eq!(stopped(json!({}), &late, true), (false, vec![REGISTERED_AFTER_PASSAGE]));
    let (_, judgement) = judged(json!({"opacity_pct": 41.2}), &late);
    assert!(judgement.findings.iter().all(|finding| finding.review != Review::NotNeeded), "{:?}", judgement.findings);
    let midnight = json!({"passed_at": "2026-03-01T16:00:00Z"});
    assert_eq!(stopped(midnight, &late, true), (true, vec![]), "the next day in China");
}

#[test]
fn what_only_screens_waits_for_a_person() {
    let of = |changes| judged(changes, &matched(truck(), &["scrapped"])).1.findings;
    let review = |findings: &[crate::finding::Finding], rule: &str| {
        findings.iter().find(|finding| finding.rule == rule).map(|finding| finding.review.clone())
    };
    let screened = of(json!({"no_ppm": 1600}));
    assert_eq!(review(&screened, OVER_RULE), Some(Review::Needed(vec![SCREENING_ONLY.into()])));
    assert_eq!(review(&screened, "R8.scrapped_on_road"), Some(Review::NotNeeded), "a doubt of its own finding alone");
    let both = of(json!({"no_ppm": 1600, "opacity_pct": 41.2}));
    assert_eq!(review(&both, OVER_RULE), Some(Review::NotNeeded), "the smoke accuses by itself");
}

#[test]
fn entries_outside_their_interval_and_lists_without_a_rule_do_nothing() {
    let mut vehicle = matched(truck(), &["scrapped", "inspection_overdue"]);
    let passed_at = passage_with(json!({})).passed_at;
    vehicle.lists[0].valid_to = Some(passed_at);
    let judgement = super::passage(&passage_with(json!({})), &vehicle, None, &book(), true);
    assert!(judgement.findings.is_empty());
    assert_eq!(judgement.verdict.outcome, Outcome::Pass);
}

#[test]
fn two_entries_of_one_rule_are_one_finding() {
    let (_, judgement) = judged(json!({}), &matched(truck(), &["retire_n2", "retire_n3", "high_emission"]));
    let rules: Vec<_> = judgement.findings.iter().map(|f| (&*f.rule, f.intercept)).collect();
    assert_eq!(rules, [("R2.listed_on_road", true), ("list.high_emission_on_road", false)]);
    assert_eq!(judgement.findings[0].content["entries"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_redelivery_makes_the_same_findings() {
    let vehicle = matched(truck(), &["scrapped"]);
    let (_, first) = judged(json!({"opacity_pct": 41.2}), &vehicle);
    let (_, again) = judged(json!({"opacity_pct": 41.2}), &vehicle);
    assert_eq!(first, again);
    let (_, other) = judged(json!({"opacity_pct": 41.2, "record_id": "other"}), &vehicle);
    assert!(first.findings.iter().all(|one| other.findings.iter().all(|two| one.id != two.id)));
}

#[test]
fn verdicts_fit_their_schema() {
    let (_, text) = schemas().iter().find(|(name, _)| *name == "verdict").expect("there is one");
    let schema: serde_json::Value = serde_json::from_str(text).expect("a schema is JSON");
    let validator = jsonschema::validator_for(&schema).expect("a valid schema");
    for (changes, vehicle) in [
        (json!({}), matched(truck(), &[])),
        (json!({"opacity_pct": 41.2, "plate_confidence": 0.1}), matched(truck(), &["scrapped", "retire_n3"])),
        (json!({"wind_speed_ms": 9, "humidity_pct": null}), matched(truck(), &[])),
        (json!({"no_ppm": -9999, "humidity_pct": 9999}), matched(truck(), &[])),
        (json!({"plate": null}), stranger()),
        (json!({"opacity_pct": 41.2}), misread()),
    ] {
        let document: serde_json::Value = serde_json::from_str(&rendered(changes, &vehicle)).expect("JSON");
        let problems: Vec<_> = validator.iter_errors(&document).map(|e| e.to_string()).collect();
        assert!(problems.is_empty(), "{problems:?}");
    }
}

/// The built-in rules once more, written down by hand: what a diesel vehicle's passage must come to.
fn expected(p: &Passage) -> Outcome {
    let within = |value: Option<f32>, low: f32, high: f32| value.is_some_and(|v| (low..=high).contains(&v));
    let dry = p.precipitation == Some(false);
    let weather = dry
        && within(p.temperature_c, -30.0, 45.0)
        && within(p.humidity_pct, 1.0, 85.0)
        && within(p.pressure_kpa, 70.0, 106.0)
        && within(p.wind_speed_ms, 0.0, 5.0)
        && within(p.speed_kmh, 10.0, 120.0)
        && p.vsp_kwt.is_some_and(|v| v > 0.0);
    let plume = weather && p.co2_pct.is_some_and(|v| v > 0.0);
    // What the instrument cannot have measured is no valid test, whatever the weather was.
    let (smoke, black, gas) =
        (within(p.opacity_pct, -5.0, 100.0), within(p.ringelmann, 0.0, 5.0), within(p.no_ppm, -60.0, 5000.0));
    let tests =
        [(p.opacity_pct, weather && smoke, 30.0), (p.ringelmann, dry && black, 1.0), (p.no_ppm, plume && gas, 1500.0)];
    let measured: Vec<_> = tests.iter().filter_map(|&(value, valid, limit)| Some((value?, valid, limit))).collect();
    if measured.iter().any(|&(value, valid, limit)| valid && value > limit) {
        Outcome::OverLimit
    } else if measured.iter().any(|&(_, valid, _)| !valid) {
        Outcome::Invalid
    } else if measured.is_empty() {
        Outcome::Undetermined
    } else {
        Outcome::Pass
    }
}

proptest::proptest! {
    #[test]
    fn verdicts_are_those_of_the_rules_written_by_hand(
        values in proptest::collection::vec(proptest::option::weighted(0.9, -0.2..1.2_f32), 10),
        wet in proptest::option::weighted(0.9, proptest::bool::weighted(0.1)),
        listed in proptest::bool::ANY,
    ) {
        // Each value from a little below to a little above what its rule allows.
        let spread = |place: usize, low: f32, high: f32| values[place].map(|share: f32| low + share * (high - low));
        let mut passage = passage_with(json!({}));
        passage.precipitation = wet;
        passage.temperature_c = spread(0, -30.0, 45.0);
        passage.humidity_pct = spread(1, 20.0, 85.0);
        passage.pressure_kpa = spread(2, 70.0, 106.0);
        passage.wind_speed_ms = spread(3, 0.0, 5.0);
        passage.speed_kmh = spread(4, 10.0, 120.0);
        passage.vsp_kwt = spread(5, 0.0, 20.0);
        passage.slope_deg = None;
        passage.co2_pct = spread(6, 0.0, 15.0);
        passage.opacity_pct = spread(7, 0.0, 30.0);
        passage.ringelmann = spread(8, 0.0, 1.0);
        passage.no_ppm = spread(9, -50.0, 1500.0);
        let vehicle = matched(truck(), if listed { &["scrapped"] } else { &[] });
        let judgement = super::passage(&passage, &vehicle, None, &book(), true);
        let outcome = judgement.verdict.outcome;
        proptest::prop_assert_eq!(outcome, expected(&passage));
        let findings = usize::from(outcome == Outcome::OverLimit) + usize::from(listed);
        proptest::prop_assert_eq!(judgement.findings.len(), findings);
        let named = judgement.verdict.reasons().next().is_some();
        proptest::prop_assert_eq!(matches!(outcome, Outcome::Invalid | Outcome::Undetermined), named && outcome != Outcome::OverLimit);
    }
}

/// What the register disputes is unknown; what is found all the same waits for a person.
#[test]
fn a_contradictory_register_neither_accuses_nor_acquits() {
    let disputed = Vehicle { fuel: Fuel::Unknown, fuel_code: [0; 2], contradictory: true, ..truck() };
    let (_, judgement) = judged(json!({"opacity_pct": 80.0}), &matched(disputed, &[]));
    assert_eq!(judgement.verdict.outcome, Outcome::Undetermined);
    assert!(judgement.verdict.reasons().any(|reason| reason == "register_contradictory"));
    // The rig's guess makes it a suspected diesel, which is a doubt and no accusation.
    assert!(judgement.findings.iter().all(|finding| finding.review != Review::NotNeeded && !finding.intercept));
    let agreed_on_fuel = Vehicle { contradictory: true, ..truck() };
    let (_, judgement) = judged(json!({"opacity_pct": 80.0}), &matched(agreed_on_fuel, &["scrapped"]));
    assert_eq!(judgement.findings.len(), 2);
    for finding in &judgement.findings {
        assert_eq!(finding.review, Review::Needed(vec!["register_contradictory".into()]), "{}", finding.rule);
        assert!(!finding.intercept);
    }
}
