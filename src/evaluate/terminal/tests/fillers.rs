//! What fills a channel that has nothing to say raises no alarm, and lets nobody off in silence either.

use super::*;
use crate::evaluate::terminal::facts::Parts;

/// Alarms and what was undetermined (for other reasons than what the register lacks), of a healthy drive with a change.
fn of(
    fleet: Fleet,
    seconds: std::ops::Range<i64>,
    change: impl Fn(i64, &mut Values),
) -> (Vec<AlarmRule>, Vec<&'static str>) {
    let day = decided(&drive(seconds, change), &[], fleet, &[]);
    let undetermined = day.undetermined.into_iter().filter(|why| !why.starts_with("nox_specific"));
    (day.alarms.iter().map(|alarm| alarm.rule).collect(), undetermined.collect())
}

const NO_TANK: &str = "reagent_low: nothing shows that there is a tank of reagent";
const NO_FILTER: &str = "dpf_pressure: nothing shows that there is a particle filter";
const ALL_ZERO: &str = "sensor_stuck: a channel is zero throughout";

fn fitted() -> Fleet {
    Fleet { fitted: Parts { filter: true, reagent: true }, ..Fleet::default() }
}

#[test]
fn an_odometer_that_is_zero_for_a_while_has_not_jumped() {
    let zero = |from: i64, to: i64| {
        of(Fleet::default(), 0..1200, move |second, values| {
            if (from..to).contains(&second) {
                values.odometer_km = Some(0.0);
            }
        })
    };
    for (from, to) in [(600, 630), (0, 30), (1170, 1200), (0, 1200), (599, 601)] {
        assert_eq!(zero(from, to), (vec![], vec![]), "{from} to {to}");
    }
    // A new vehicle begins at nothing, and one that was set back is told all the same once it has driven on.
    let new = of(Fleet::default(), 0..1200, |second, values| values.odometer_km = Some((second / 60) as f64 / 10.0));
    assert_eq!(new.0, []);
    let set_back = of(Fleet::default(), 0..1200, |second, values| {
        if second >= 600 {
            values.odometer_km = Some(((second - 600) / 60) as f64 / 10.0);
        }
    });
    assert_eq!(set_back.0, [AlarmRule::OdometerJump]);
}

#[test]
fn a_day_without_a_position_has_no_jump_and_says_so() {
    let (alarms, undetermined) = of(Fleet::default(), 0..1200, |_, values| values.position = None);
    assert_eq!((alarms, undetermined), (vec![], vec!["position_jump: no valid position"]));
}

#[test]
fn zeros_of_parts_that_are_not_there_accuse_nobody() {
    let nothing = |_: i64, values: &mut Values| {
        (values.dpf_dp_kpa, values.reagent_pct) = (Some(0.0), Some(0.0));
        (values.scr_inlet_c, values.scr_outlet_c) = (Some(0.0), Some(0.0));
        (values.nox_upstream_ppm, values.nox_downstream_ppm) = (Some(0.0), Some(0.0));
    };
    // Five hours: long enough for every alarm that there is.
    assert_eq!(of(Fleet::default(), 0..18_000, nothing), (vec![], vec![NO_TANK, NO_FILTER, ALL_ZERO]));
    let absent = |_: i64, values: &mut Values| {
        (values.dpf_dp_kpa, values.reagent_pct, values.scr_inlet_c, values.scr_outlet_c) = (None, None, None, None);
    };
    assert_eq!(of(Fleet::default(), 0..18_000, absent), (vec![], vec![]), "nothing was sent that could be judged");
}

#[test]
fn an_empty_tank_and_a_filter_taken_out_are_told_where_they_are_known_to_have_been() {
    let dry = |_: i64, values: &mut Values| values.reagent_pct = Some(0.0);
    assert_eq!(of(fitted(), 0..1200, dry).0, [AlarmRule::ReagentLow], "the register knows the tank");
    let ran_dry = |second: i64, values: &mut Values| values.reagent_pct = Some(if second < 60 { 0.4 } else { 0.0 });
    assert_eq!(of(Fleet::default(), 0..1200, ran_dry).0, [AlarmRule::ReagentLow], "it was seen to hold something");
    let open = |_: i64, values: &mut Values| values.dpf_dp_kpa = Some(0.0);
    assert_eq!(of(fitted(), 0..1200, open).0, [AlarmRule::DpfPressure]);
    let yesterday = |second: i64, values: &mut Values| {
        if second >= 0 {
            values.dpf_dp_kpa = Some(0.0);
        }
    };
    assert_eq!(of(Fleet::default(), -1200..1200, yesterday).0, [AlarmRule::DpfPressure], "yesterday it had pressure");
}

#[test]
fn a_level_of_zero_is_not_frozen_but_empty() {
    let (alarms, _) = of(fitted(), 0..18_000, |_, values| values.reagent_pct = Some(0.0));
    assert_eq!(alarms, [AlarmRule::ReagentLow]);
}

#[test]
fn an_engine_without_air_has_no_specific_nox() {
    let fleet = Fleet { reference_torque_nm: Some(2000), stage: Some(6), ..fitted() };
    let dirty = |air: f64| {
        of(fleet, 0..1800, move |second, values| {
            let wave = (second % 60) as f64;
            (values.nox_upstream_ppm, values.nox_downstream_ppm) = (Some(1200.0 + wave), Some(550.0 + wave / 2.0));
            values.intake_air_kgph = Some(air);
        })
    };
    assert_eq!(dirty(500.0).0, [AlarmRule::NoxSpecific]);
    let windows = windows(&drive(0..600, |_, values| values.intake_air_kgph = Some(0.0)), &[]);
    assert!(windows.iter().all(|(_, facts)| facts.specific.is_none()), "neither accused nor acquitted");
}

#[test]
fn facts_of_an_earlier_release_can_be_read() {
    let table = TerminalTable::built_in();
    let facts = Facts::of(&drive(0..60, |_, _| {}), &[], &table.numbers);
    let mut json = serde_json::to_value(&facts).expect("JSON");
    json.as_object_mut().expect("an object").remove("parts");
    let read: Facts = serde_json::from_value(json).expect("still facts");
    assert_eq!(Facts { parts: facts.parts, ..read }, facts);
}
