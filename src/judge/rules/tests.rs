//! What each rule says, through [`crate::judge::passage()`], and the table as a whole.

use chrono::NaiveDate;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::{
    finding::{Finding, Review},
    judge::{
        Judgement,
        tests::{book, matched, passage_with, stranger, truck},
    },
    vehicle::facts::{EmissionStage, Fuel},
};

/// Everything good, passed on 2026-03-01.
fn judged(changes: serde_json::Value, vehicle: &VehicleMatch, live: bool) -> Judgement {
    crate::judge::passage(&passage_with(changes), vehicle, None, &book(), live)
}

/// `fired`, the missing input, or `-` where the rule is clear or does not apply.
fn said_of(rule: &str, changes: serde_json::Value, vehicle: &VehicleMatch) -> &'static str {
    let judgement = judged(changes, vehicle, true);
    let fired = judgement.explained.iter().any(|each| each.rule.starts_with(rule));
    let missing = judgement.undetermined.iter().find(|each| each.rule.starts_with(rule)).map(|each| each.missing);
    assert!(!fired || missing.is_none(), "{rule} fired and is undetermined");
    missing.unwrap_or(if fired { "fired" } else { "-" })
}

fn said(rule: &str, vehicle: &VehicleMatch) -> &'static str {
    said_of(rule, json!({}), vehicle)
}

fn finding(rule: &str, judgement: Judgement) -> Finding {
    judgement.findings.into_iter().find(|finding| finding.rule.starts_with(rule)).expect("it fired")
}

fn why(finding: &Finding) -> Vec<&str> {
    match &finding.review {
        Review::NotNeeded => Vec::new(),
        Review::Needed(why) => why.iter().map(|why| &**why).collect(),
    }
}

fn rendered(changes: serde_json::Value, vehicle: &VehicleMatch) -> String {
    let passage = passage_with(changes);
    let judgement = crate::judge::passage(&passage, vehicle, None, &book(), false);
    serde_json::to_string_pretty(&judgement.document(&passage, vehicle, &book())).expect("a verdict is JSON")
}

fn day(text: &str) -> Option<i32> {
    Some(text.parse::<NaiveDate>().expect("a date").to_epoch_days())
}

fn stage(code: u8) -> Option<EmissionStage> {
    EmissionStage::from_code(code)
}

/// A truck of stage V with all its facts, against which nothing stands.
fn good() -> Vehicle {
    Vehicle { stage: stage(5), registered_on: day("2018-05-01"), ..truck() }
}

/// The vehicle on a list since a day.
fn listed_since(vehicle: Vehicle, list: &str, since: &str) -> VehicleMatch {
    let mut matched = matched(vehicle, &[list]);
    matched.lists[0].valid_from = Timestamp::parse_rfc3339(&format!("{since}T00:00:00+08:00"));
    matched
}

#[test]
fn a_vehicle_in_order_leaves_nothing_open() {
    let judgement = judged(json!({}), &matched(good(), &[]), true);
    assert!(judgement.explained.is_empty() && judgement.findings.is_empty(), "{judgement:?}");
    assert!(judgement.undetermined.is_empty(), "{judgement:?}");
}

#[test]
fn without_a_plate_or_a_register_each_rule_names_what_it_lacks() {
    let missing = |changes, vehicle: &VehicleMatch| -> Vec<(String, &str)> {
        let judgement = judged(changes, vehicle, true);
        let short = |rule: &str| rule.split('.').next().unwrap_or_default().to_owned();
        judgement.undetermined.iter().map(|each| (short(each.rule), each.missing)).collect()
    };
    let of = |missing| move |rule: &str| (rule.to_owned(), missing);
    let unread: Vec<_> = ["R1", "R2", "R3", "R5", "R6", "R7", "R8"].iter().map(|rule| of("plate")(rule)).collect();
    assert_eq!(missing(json!({"plate": null}), &stranger()), unread);
    let unknown: Vec<_> = ["R1", "R5", "R8"].iter().map(|rule| of("vehicle")(rule)).collect();
    assert_eq!(missing(json!({}), &stranger()), unknown);
}

#[test]
fn r1_old_stage_no_stage_or_relabelled() {
    let of = |vehicle| said("R1", &matched(vehicle, &[]));
    assert_eq!(of(Vehicle { stage: stage(2), ..good() }), "fired");
    assert_eq!(of(Vehicle { stage: stage(3), ..good() }), "-");
    assert_eq!(of(Vehicle { stage: stage(99), ..good() }), "emission_stage", "diesel without emissions");
    assert_eq!(of(Vehicle { fuel: Fuel::Petrol, stage: stage(0), ..good() }), "-");
    assert_eq!(of(Vehicle { fuel: Fuel::Unknown, stage: stage(0), ..good() }), "fuel");
    let relabelled = finding("R1", judged(json!({}), &matched(good(), &["yellow_to_green"]), true));
    assert_eq!((why(&relabelled), relabelled.intercept), (vec!["notice_only"], false));
    let petrol = Vehicle { fuel: Fuel::Petrol, ..good() };
    let contradicted = finding("R1", judged(json!({}), &matched(petrol, &["yellow_to_green"]), true));
    assert_eq!(why(&contradicted), ["fuel_contradicts_list", "notice_only"]);
    insta::assert_snapshot!(rendered(json!({}), &matched(Vehicle { stage: stage(2), ..good() }, &[])));
}

#[test]
fn r1_a_stage_in_dispute_is_no_stage_that_was_never_registered() {
    let disputed = Vehicle { stage: None, contradictory: true, ..good() };
    assert_eq!(said("R1", &matched(disputed, &[])), "emission_stage");
}

fn of_fuel(letters: &[u8; 2], vehicle: Vehicle) -> Vehicle {
    Vehicle { fuel: Fuel::of_code(*letters), fuel_code: *letters, ..vehicle }
}

/// A hybrid is of the fuel its engine burns, by the same letters as for the limits; one that nobody knows is acquitted of
/// nothing.
#[test]
fn rules_for_diesel_know_hybrids_as_the_limits_do() {
    let second = Vehicle { stage: stage(2), ..good() };
    for letters in [b"BO", b"OB", b"BC", b"CB"] {
        assert_eq!(said("R1", &matched(of_fuel(letters, second), &[])), "fired", "{letters:?}");
        let third = of_fuel(letters, Vehicle { stage: stage(3), ..good() });
        let over = json!({"opacity_pct": 41.2});
        assert_eq!(said_of("R4", over, &matched(third, &["retrofit_feasible"])), "fired", "{letters:?}");
        let found = finding("R2", judged(json!({}), &matched(third, &["retire_n3"]), true));
        assert!(why(&found).is_empty(), "{letters:?}");
    }
    for letters in [b"O\0", b"CO", b"\0\0"] {
        assert_eq!(said("R1", &matched(of_fuel(letters, second), &[])), "fuel", "{letters:?}");
        let listed = finding("R1", judged(json!({}), &matched(of_fuel(letters, second), &["yellow_to_green"]), true));
        assert_eq!(why(&listed), ["notice_only"], "{letters:?}");
    }
    for letters in [b"AO", b"OA", b"AC", b"E\0", b"C\0"] {
        assert_eq!(said("R1", &matched(of_fuel(letters, second), &[])), "-", "{letters:?}");
    }
}

#[test]
fn r1_an_inferred_stage_is_marked_and_enforces_nothing() {
    let unknown = Vehicle { stage: None, registered_on: day("2012-04-30"), ..good() };
    let found = finding("R1", judged(json!({}), &matched(unknown, &[]), true));
    assert_eq!(why(&found), ["emission_stage_not_registered", "notice_only"]);
    let infer = |vehicle: Vehicle| book().rules.stage_by_date().infer(&vehicle);
    assert_eq!(infer(unknown), Some(3));
    for (registered, stage) in
        [("2001-08-31", 0), ("2001-09-01", 1), ("2013-06-30", 3), ("2013-07-01", 4), ("2024-01-01", 6)]
    {
        assert_eq!(infer(Vehicle { registered_on: day(registered), ..unknown }), Some(stage), "{registered}");
    }
    assert_eq!(infer(Vehicle { registered_on: None, ..unknown }), None);
    assert_eq!(infer(Vehicle { kind: *b"H31", ..unknown }), None, "the table speaks of heavy vehicles");
    assert_eq!(infer(Vehicle { fuel: Fuel::Gas, ..unknown }), None);
    assert_eq!(infer(good()), None, "a registered stage is not second-guessed");
    insta::assert_snapshot!(rendered(json!({}), &matched(unknown, &[])));
}

#[test]
fn r2_the_list_decides_and_the_register_confirms_or_contradicts() {
    let confirmed = matched(Vehicle { stage: stage(3), ..good() }, &["retire_n3"]);
    let found = finding("R2", judged(json!({}), &confirmed, true));
    assert_eq!((why(&found).len(), found.intercept), (0, true));
    // A petrol car in private use: the list names the wrong vehicle, or the plate was read wrongly.
    let car = Vehicle { fuel: Fuel::Petrol, kind: *b"K33", use_nature: b'A', ..good() };
    let found = finding("R2", judged(json!({"vehicle_kind_hint": "K33"}), &matched(car, &["retire_n3"]), true));
    assert_eq!((why(&found), found.intercept), (vec!["register_contradicts_list"], false));
    let nobody = VehicleMatch { vehicle: None, ..confirmed.clone() };
    let undoubted = finding("R2", judged(json!({}), &nobody, true)).intercept;
    assert!(undoubted, "what is not known contradicts nothing");
    insta::assert_snapshot!("r2_confirmed", rendered(json!({}), &confirmed));
    insta::assert_snapshot!("r2_contradicted", rendered(json!({}), &matched(car, &["retire_n3"])));
}

#[test]
fn r3_old_gas_vehicles_stand_in_a_list() {
    let gas = Vehicle { fuel: Fuel::Gas, fuel_code: *b"E\0", ..good() };
    assert_eq!(said("R3", &matched(gas, &[])), "-");
    assert_eq!(why(&finding("R3", judged(json!({}), &matched(gas, &["old_gas"]), true))), ["notice_only"]);
    let diesel = finding("R3", judged(json!({}), &matched(good(), &["old_gas"]), true));
    assert_eq!(why(&diesel), ["register_contradicts_list", "notice_only"]);
    insta::assert_snapshot!(rendered(json!({}), &matched(gas, &["old_gas"])));
}

#[test]
fn r4_over_a_limit_with_a_feasible_device() {
    let over = || json!({"opacity_pct": 41.2});
    let third = Vehicle { stage: stage(3), ..good() };
    let feasible = |vehicle| matched(vehicle, &["retrofit_feasible"]);
    assert_eq!(said_of("R4", over(), &feasible(third)), "fired");
    assert_eq!(said("R4", &feasible(third)), "-", "not over");
    assert_eq!(said_of("R4", over(), &matched(third, &[])), "retrofit_feasibility", "never assessed");
    assert_eq!(said_of("R4", over(), &feasible(good())), "-", "stage V");
    assert_eq!(said_of("R4", over(), &feasible(Vehicle { stage: None, ..third })), "emission_stage");
    assert_eq!(said_of("R4", over(), &feasible(Vehicle { kind: [0; 3], ..third })), "vehicle_kind");
    assert_eq!(said_of("R4", over(), &feasible(Vehicle { kind: *b"K11", ..third })), "-");
    assert_eq!(said_of("R4", over(), &feasible(Vehicle { retrofit: true, ..third })), "-", "has one");
    assert_eq!(said_of("R4", json!({"opacity_pct": 41.2, "wind_speed_ms": 9}), &feasible(third)), "-", "invalid");
    let screening = finding("R4", judged(json!({"no_ppm": 1600}), &feasible(third), true));
    assert_eq!(why(&screening), ["screening_only", "notice_only"]);
    insta::assert_snapshot!(rendered(over(), &feasible(third)));
}

#[test]
fn r4_a_stable_retrofit_is_a_candidate_of_that_year_and_no_exemption() {
    let stable = matched(Vehicle { retrofit: true, stage: stage(3), ..good() }, &["retrofit_stable"]);
    let candidate = |changes| {
        let passage = passage_with(changes);
        let judgement = crate::judge::passage(&passage, &stable, None, &book(), false);
        judgement.document(&passage, &stable, &book()).exemption_candidate.map(|found| found.year)
    };
    assert_eq!(candidate(json!({})), Some(2026));
    assert_eq!(candidate(json!({"passed_at": "2026-12-31T23:59:59+08:00"})), Some(2026), "the year in China");
    assert_eq!(candidate(json!({"opacity_pct": 41.2})), None);
    insta::assert_snapshot!(rendered(json!({}), &stable));
}

#[test]
fn r5_service_life_by_kind_and_use() {
    let of = |kind: &[u8; 3], use_nature, registered| {
        let vehicle = Vehicle { kind: *kind, use_nature, registered_on: day(registered), ..good() };
        said("R5", &matched(vehicle, &[]))
    };
    assert_eq!(of(b"H11", b'F', "2011-03-01"), "fired", "on the day of the fifteenth year");
    assert_eq!(of(b"H11", b'F', "2011-03-02"), "-");
    assert_eq!(of(b"H14", b'R', "2016-03-01"), "fired", "dangerous goods: ten years");
    assert_eq!(of(b"K33", b'D', "2018-03-01"), "fired", "taxi: eight years");
    assert_eq!(of(b"K33", b'A', "1990-01-01"), "-", "no limit in years");
    assert_eq!(of(b"K11", b'A', "2006-03-02"), "-");
    assert_eq!(of(b"K11", b'A', "2006-03-01"), "fired");
    assert_eq!(of(b"H51", b'F', "2017-03-02"), "-");
    assert_eq!(of(b"H51", b'F', "2017-03-01"), "cylinders");
    assert_eq!(of(b"H51", b'F', "2014-03-01"), "fired", "whatever the cylinders");
    assert_eq!(of(b"K11", b'L', "2000-01-01"), "use_history");
    assert_eq!(of(b"H41", b'R', "2016-03-01"), "fired", "dangerous goods go before the size of the truck");
    assert_eq!(of(b"H51", b'R', "2017-03-01"), "cylinders");
    assert_eq!(of(b"H51", b'R', "2016-03-01"), "fired");
    assert_eq!(of(b"X99", b'A', "1990-01-01"), "-", "no row");
    assert_eq!(of(b"\0\0\0", b'F', "1990-01-01"), "vehicle_kind");
    assert_eq!(of(b"H11", 0, "1990-01-01"), "fired", "past the life of every use");
    assert_eq!(of(b"H11", 0, "2012-03-01"), "use_nature");
    assert_eq!(of(b"H11", 0, "2016-03-02"), "-", "shorter than any");
    assert_eq!(of(b"Z11", 0, "2010-03-01"), "carries_load", "whatever its use");
    assert_eq!(of(b"K11", 0, "1990-01-01"), "use_nature", "it may have been changed");
    assert_eq!(of(b"\0\0\0", b'F', "2018-03-01"), "-", "no kind lives shorter");
    // Born on 29 February: fifteen years are over on the last of it.
    let leap = |passed: &str| {
        let vehicle = Vehicle { registered_on: day("2012-02-29"), ..good() };
        said_of("R5", json!({ "passed_at": format!("{passed}T12:00:00+08:00") }), &matched(vehicle, &[]))
    };
    assert_eq!((leap("2027-02-27"), leap("2027-02-28")), ("-", "fired"));
    assert_eq!(said("R5", &matched(Vehicle { registered_on: None, ..good() }, &[])), "registered_on");
    let old = matched(Vehicle { registered_on: day("2010-03-01"), ..good() }, &[]);
    let found = finding("R5", judged(json!({}), &old, true));
    assert_eq!((why(&found).len(), found.intercept), (0, false), "a violation that stops nobody");
    insta::assert_snapshot!(rendered(json!({}), &old));
}

/// A changed use: its life lies between those of the kind, whatever the row of the present use says.
#[test]
fn r5_is_open_from_the_shortest_life_where_the_use_was_changed() {
    let of = |kind: &[u8; 3], use_nature, registered: Option<&str>| {
        let vehicle = Vehicle { kind: *kind, use_nature, registered_on: registered.and_then(day), ..good() };
        said("R5", &matched(vehicle, &[]))
    };
    for letter in [b'L', b'M', b'U'] {
        assert_eq!(of(b"K33", letter, Some("2018-03-02")), "-", "shorter than any taxi's life");
        assert_eq!(of(b"K33", letter, Some("2018-03-01")), "use_history", "it may have been a taxi");
        assert_eq!(of(b"K33", letter, None), "registered_on");
    }
    assert_eq!(of(b"K33", b'A', None), "-");
    assert_eq!(of(b"K11", b'L', Some("2014-03-01")), "use_history", "twelve years: a large taxi's");
    assert_eq!(of(b"K11", b'L', Some("2014-03-02")), "-");
    // Dangerous goods: ten years; any other truck: fifteen.
    assert_eq!(of(b"H11", b'L', Some("2016-03-02")), "-");
    assert_eq!(of(b"H11", b'L', Some("2016-03-01")), "use_history");
    assert_eq!(of(b"H11", b'L', Some("2011-03-02")), "use_history");
    assert_eq!(of(b"H11", b'L', Some("2011-03-01")), "fired", "past every life that it may have");
    assert_eq!(of(b"Z11", b'L', Some("2011-03-01")), "carries_load", "the use makes no difference");
    assert_eq!(of(b"Z11", b'L', Some("1996-03-01")), "fired");
}

#[test]
fn r6_three_cycles_of_the_length_the_age_asks_for() {
    let of = |registered, since| {
        let vehicle = Vehicle { registered_on: day(registered), ..good() };
        said("R6", &listed_since(vehicle, "inspection_overdue", since))
    };
    // Fourteen years old: three times six months.
    assert_eq!(of("2012-05-01", "2024-09-01"), "fired", "on the day the third cycle ends");
    assert_eq!(of("2012-05-01", "2024-09-02"), "-");
    // Nine years old when it ran out, ten after the first cycle: twelve, six and six months.
    assert_eq!(of("2015-03-01", "2024-03-01"), "fired");
    assert_eq!(of("2015-03-02", "2024-03-02"), "-");
    assert_eq!(of("2018-03-01", "2023-03-01"), "fired", "three times twelve");
    assert_eq!(of("2018-03-01", "2023-03-02"), "-");
    assert_eq!(of("2025-01-01", "2024-01-01"), "registered_on", "ran out before it was registered");
    let overdue = Vehicle { states: 1 << (b'Q' - b'A'), ..good() };
    assert_eq!(said("R6", &matched(overdue, &[])), "inspection_overdue_since");
    let mut open = matched(good(), &["inspection_overdue"]);
    open.lists[0].valid_from = None;
    assert_eq!(said("R6", &open), "inspection_overdue_since");
    let undated = |since| listed_since(Vehicle { registered_on: None, ..good() }, "inspection_overdue", since);
    assert_eq!(said("R6", &undated("2023-03-01")), "fired", "three times twelve months, however young");
    assert_eq!(said("R6", &undated("2023-03-02")), "registered_on");
    assert_eq!(said("R6", &undated("2024-09-01")), "registered_on");
    assert_eq!(said("R6", &undated("2024-09-02")), "-", "three times six months are not over, however old");
    let no_use = listed_since(Vehicle { use_nature: 0, ..good() }, "inspection_overdue", "2023-03-01");
    assert_eq!(said("R6", &no_use), "fired", "no row of a truck asks for the use");
    let vehicle = Vehicle { registered_on: day("2015-03-01"), ..good() };
    insta::assert_snapshot!(rendered(json!({}), &listed_since(vehicle, "inspection_overdue", "2024-03-01")));
}

#[test]
fn r7_still_over_after_repair() {
    let found = finding("R7", judged(json!({}), &matched(good(), &["unrepairable"]), true));
    assert_eq!((why(&found).len(), found.intercept), (0, false));
    assert_eq!(said("R7", &matched(good(), &[])), "-");
    insta::assert_snapshot!(rendered(json!({}), &matched(good(), &["unrepairable"])));
}

#[test]
fn r8_by_list_or_by_state_and_a_state_has_no_date() {
    let state = |letters: &[u8]| {
        let states = letters.iter().fold(0, |bits, letter| bits | 1 << (letter - b'A'));
        matched(Vehicle { states, ..good() }, &[])
    };
    for letter in [b'E', b'M', b'P'] {
        let live = finding("R8", judged(json!({}), &state(&[letter]), true));
        assert_eq!((why(&live).len(), live.intercept), (0, true));
    }
    let late = finding("R8", judged(json!({}), &state(b"E"), false));
    assert_eq!((why(&late), late.intercept), (vec!["register_state_undated"], false));
    let both = finding("R8", judged(json!({}), &state(b"AE"), true));
    assert_eq!((why(&both), both.intercept), (vec!["register_states_contradict"], false));
    assert_eq!(said("R8", &state(b"Q")), "-");
    assert_eq!(said("R8", &state(b"")), "vehicle_state");
    let listed = finding("R8", judged(json!({}), &matched(good(), &["scrapped"]), false));
    assert!(why(&listed).is_empty(), "an entry has its own day");
    insta::assert_snapshot!(rendered(json!({}), &state(b"M")));
}

#[test]
fn a_rule_switched_off_or_not_yet_in_force_says_nothing() {
    let old = matched(Vehicle { stage: stage(1), ..good() }, &[]);
    let said_by = |text: &str| {
        let book = crate::judge::RuleBook { rules: Rules::parse(text).expect("valid"), ..book() };
        crate::judge::passage(&passage_with(json!({})), &old, None, &book, true).findings.len()
    };
    assert_eq!(said_by(BUILT_IN), 1);
    assert_eq!(said_by(&BUILT_IN.replacen("enabled = true", "enabled = false", 1)), 0);
    assert_eq!(said_by(&BUILT_IN.replacen("valid_from = 2017-07-27", "valid_from = 2026-03-02", 1)), 0);
    assert_eq!(said_by(&BUILT_IN.replacen("valid_from = 2017-07-27", "valid_from = 2026-03-01", 1)), 1);
}

#[test]
fn a_list_means_the_same_to_its_rule_and_to_its_bar() {
    let limits = crate::judge::Limits::built_in();
    assert_eq!(Rules::built_in().disagreement(limits.bars()), None);
    let text = BUILT_IN.replacen("max_stage_of = { retire_n2 = 2 }\n", "", 1);
    let found = Rules::parse(&text).expect("valid").disagreement(limits.bars()).expect("III and II");
    assert_eq!((&*found.list, found.by_rule, found.by_bar), ("retire_n2", 3, 2));
    let folder = tempfile::tempdir().expect("a folder");
    let rules_file = Some(folder.path().join("rules.toml"));
    std::fs::write(rules_file.as_deref().expect("a path"), text).expect("written");
    let refused = crate::judge::RuleBook::load(crate::config::Judge { rules_file, ..crate::judge::tests::settings() });
    let told = refused.expect_err("two tables disagree").to_string();
    assert!(told.contains("retire_n2") && told.contains("stage 3") && told.contains("stage 2"), "{told}");
    let unknown = BUILT_IN.replacen("max_stage_of = { retire_n2 = 2 }", "max_stage_of = { retire_n4 = 2 }", 1);
    assert!(problems(&unknown)[0].1.contains("retire_n4"));
}

#[test]
fn r2_means_the_stages_of_each_list() {
    let third =
        |lists: &[&str]| finding("R2", judged(json!({}), &matched(Vehicle { stage: stage(3), ..good() }, lists), true));
    let (n3, n2, both) = (third(&["retire_n3"]), third(&["retire_n2"]), third(&["retire_n2", "retire_n3"]));
    assert_eq!((why(&n3).len(), n3.intercept), (0, true));
    assert_eq!((why(&n2), n2.intercept), (vec!["register_contradicts_list"], false));
    assert_eq!((why(&both).len(), both.intercept), (0, true));
    assert_eq!(both.content["entries"].as_array().map(Vec::len), Some(2), "it stands on both");
    let second = matched(Vehicle { stage: stage(2), ..good() }, &["retire_n2"]);
    assert!(finding("R2", judged(json!({}), &second, true)).intercept);
}

fn problems(text: &str) -> Vec<(usize, String)> {
    let errors = Rules::parse(text).expect_err("wrong on purpose");
    errors.0.into_iter().map(|error| (error.line, error.problem)).collect()
}

/// Line of the first place of `needle`, from 1.
fn line_of(needle: &str) -> usize {
    let place = BUILT_IN.find(needle).expect("it is there");
    BUILT_IN[..place].matches('\n').count() + 1
}

#[test]
fn unknown_keys_and_rules_left_out_name_the_line() {
    let text = BUILT_IN.replacen("max_stage = 2", "max_stag = 2", 1);
    let found = problems(&text);
    let [(line, problem)] = &found[..] else { panic!("one problem: {found:?}") };
    assert_eq!(*line, line_of("max_stage = 2"));
    assert!(problem.contains("max_stag"), "{problem}");
    let text = BUILT_IN.replace("[[rule.R8]]", "[[rule.R99]]").replace("rule.R8.", "rule.R99.");
    assert!(matches!(&problems(&text)[..], [(_, problem)] if problem.contains("R99")), "{:?}", problems(&text));
    for (rule, id) in [("[[rule.R11]]", "R11"), ("[[rule.GB36886]]", "GB36886")] {
        let at = BUILT_IN.find(rule).expect("one of the last rules");
        assert!(problems(&BUILT_IN[..at])[0].1.contains(id), "left out");
    }
}

#[test]
fn gaps_overlaps_and_nonsense_name_the_line() {
    let place = |rule| BUILT_IN.find(rule).expect("it is there");
    let (at, end) = (place("[[rule.R10]]"), place("[[rule.R11]]"));
    let line = BUILT_IN.matches('\n').count() + 2;
    let entry = BUILT_IN[at..end].replace("valid_from = 2017-07-27", "valid_from = 2025-01-01");
    let again = format!("{BUILT_IN}\n{entry}");
    assert_eq!(problems(&again), [(line, "overlap in the rule R10 from 2025-01-01".to_owned())]);
    let closed = BUILT_IN[at..end].replace("valid_from = 2017-07-27", "valid_from = 2017-07-27\nvalid_to = 2024-12-01");
    let gap = format!("{}{closed}\n{entry}{}", &BUILT_IN[..at], &BUILT_IN[end..]);
    assert_eq!(
        problems(&gap),
        [(line_of("[[rule.R11]]") + 2, "gap in the rule R10 from 2024-12-01 to 2025-01-01".to_owned())]
    );
    for (from, to, word) in [
        ("max_stage = 2", "max_stage = 7", "max_stage"),
        ("lists = [\"retire_n2\", \"retire_n3\"]", "lists = []", "names no list"),
        ("kinds = [\"K2\"], uses = [\"D\"], years = 10", "kinds = [\"22\"], uses = [\"D\"], years = 10", "GA/T 16.4"),
        ("years = 12, years_at_least = 9", "years = 12, years_at_least = 13", "below years"),
        ("from_years = 0, months = 24", "from_years = 1, months = 24", "begin with"),
        ("cycles = 3", "cycles = 0", "cycles"),
        ("min_stage = 3", "min_stage = 5", "min_stage"),
        ("before = 2004-09-01", "before = 2000-09-01", "order of time"),
        ("source = \"district plan\"", "source = \" \"", "source is empty"),
    ] {
        let found = problems(&BUILT_IN.replacen(from, to, 1));
        assert!(matches!(&found[..], [(line, problem)] if *line > 1 && problem.contains(word)), "{word}: {found:?}");
    }
}

const LISTS: [&str; 9] = [
    "yellow_to_green",
    "retire_n2",
    "retire_n3",
    "old_gas",
    "retrofit_feasible",
    "retrofit_stable",
    "inspection_overdue",
    "unrepairable",
    "scrapped",
];

prop_compose! {
    fn any_vehicle()(
        fuel in prop::sample::select(vec![*b"B\0", *b"A\0", *b"E\0", *b"\0\0", *b"BE", *b"C\0", *b"BC", *b"O\0"]),
        code in prop::option::of(prop::sample::select(vec![0_u8, 1, 2, 3, 4, 5, 6, 99])),
        kind in prop::sample::select(vec![*b"H11", *b"H51", *b"K33", *b"K11", *b"Z11", *b"X99", [0; 3]]),
        use_nature in prop::sample::select(vec![b'F', b'A', b'D', b'L', b'R', 0]),
        states in prop::sample::select(vec![0_u32, 1, 16, 17, 1 << 12, 1 << 15, 1 << 16]),
        registered_on in prop::option::of(9_000..20_500_i32),
        retrofit: bool,
    ) -> Vehicle {
        let stage = code.and_then(EmissionStage::from_code);
        let fuel_code = fuel;
        Vehicle { fuel: Fuel::of_code(fuel_code), fuel_code, stage, kind, use_nature, states, registered_on, retrofit, ..truck() }
    }
}

proptest! {
    /// A fact taken away accuses nobody anew: whatever then needs no person was found with the fact as well.
    #[test]
    fn a_missing_fact_never_accuses(
        vehicle in any_vehicle(),
        on in prop::collection::vec(any::<bool>(), LISTS.len()),
        which in 0..6_usize,
        opacity in 20.0..40.0_f32,
        live: bool,
    ) {
        let on: Vec<&str> = LISTS.iter().zip(on).filter_map(|(list, on)| on.then_some(*list)).collect();
        let mut less = vehicle;
        match which {
            0 => (less.fuel, less.fuel_code) = (Fuel::Unknown, [0; 2]),
            1 => less.stage = None,
            2 => less.kind = [0; 3],
            3 => less.use_nature = 0,
            4 => less.registered_on = None,
            _ => less.states = 0,
        }
        let changes = json!({"opacity_pct": opacity});
        let with = judged(changes.clone(), &matched(vehicle, &on), live);
        let without = judged(changes, &matched(less, &on), live);
        for finding in without.findings.iter().filter(|finding| finding.review == Review::NotNeeded) {
            prop_assert!(with.findings.iter().any(|other| other.rule == finding.rule), "{}", finding.rule);
        }
        for judgement in [&with, &without] {
            for rule in &judgement.explained {
                prop_assert!(judgement.undetermined.iter().all(|other| other.rule != rule.rule));
                let finding = judgement.findings.iter().find(|finding| finding.rule == rule.rule);
                prop_assert!(finding.is_some_and(|f| rule.action != Action::Notice || f.review != Review::NotNeeded));
                prop_assert!(finding.is_some_and(|f| !f.intercept || rule.action == Action::Intercept && live));
            }
        }
    }
}
