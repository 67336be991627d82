//! Windows and days against rules written down by hand; the numbers are those of the built-in table.

mod fillers;
mod properties;

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    alarms::Window,
    day::{Alarm, Day, Fleet, Known, Passage, day, finding},
    facts::Facts,
    record::{Packet, Record, Values},
    *,
};
use crate::{
    finding::Review,
    judge::{TerminalTable, terminal::TerminalKind, terminal_table::AlarmRule},
    reading::DeviceId,
};

fn midnight() -> Timestamp {
    Timestamp::parse_rfc3339("2026-03-02T00:00:00+08:00").expect("valid")
}

fn at(seconds: i64) -> Timestamp {
    midnight().plus_seconds(seconds)
}

/// A second of a healthy engine on the road at 60 km/h. Nothing stands still, and every value has three decimals at most.
fn healthy(second: i64) -> Record {
    let wave = (second % 60) as f64;
    let upstream = 600.0 + wave;
    let values = Values {
        engine_rpm: Some(1200.0 + wave * 10.0),
        net_torque_pct: Some(20.0 + wave),
        friction_torque_pct: Some(10.0),
        fuel_flow_lph: Some(30.0),
        intake_air_kgph: Some(500.0),
        nox_upstream_ppm: Some(upstream),
        nox_downstream_ppm: Some(upstream / 10.0),
        reagent_pct: Some(80.0 - (second / 1200) as f64 * 0.4),
        coolant_c: Some(85.0),
        scr_inlet_c: Some(300.0 + wave),
        scr_outlet_c: Some(290.0 + wave),
        dpf_dp_kpa: Some(5.0 + wave / 10.0),
        odometer_km: Some(100_000.0 + (second / 6) as f64 / 10.0),
        position: Some([118.0 + second as f64 / 60.0 * 0.011, 36.8]),
    };
    Record { at: at(second), ordinal: 0, values }
}

/// A packet of ten seconds, which arrives a second after it was sent.
fn packet(second: i64) -> Packet {
    Packet {
        sent_at: at(second),
        digest: second,
        serial: Some((second / 10 % 65_531 + 1) as u16),
        live: true,
        received_at: at(second + 1),
    }
}

fn drive(seconds: std::ops::Range<i64>, change: impl Fn(i64, &mut Values)) -> Vec<Record> {
    let one = |second| {
        let mut record = healthy(second);
        change(second, &mut record.values);
        record
    };
    seconds.map(one).collect()
}

fn packets(seconds: std::ops::Range<i64>) -> Vec<Packet> {
    seconds.step_by(10).map(packet).collect()
}

fn windows(records: &[Record], packets: &[Packet]) -> Vec<Window> {
    let starts: BTreeSet<Timestamp> =
        records.iter().map(|r| window_of(r.at)).chain(packets.iter().map(|p| window_of(p.sent_at))).collect();
    let table = TerminalTable::built_in();
    let of = |start: Timestamp| {
        let records: Vec<Record> = records.iter().filter(|r| window_of(r.at) == start).copied().collect();
        let packets: Vec<Packet> = packets.iter().filter(|p| window_of(p.sent_at) == start).copied().collect();
        (start, Facts::of(&records, &packets, &table.numbers))
    };
    starts.into_iter().map(of).collect()
}

/// What the built-in table says of a day with these rows.
fn decided(records: &[Record], packets: &[Packet], fleet: Fleet, passages: &[Passage]) -> Day {
    let all = windows(records, packets);
    let (before, rest) = all.split_at(all.partition_point(|(start, _)| *start < midnight()));
    let (windows, after) = rest.split_at(rest.partition_point(|(start, _)| *start < at(DAY_SECONDS)));
    let resent = BTreeSet::new();
    let as_of = at(30 * DAY_SECONDS);
    day(&Known { before, windows, after, fleet, passages, resent: &resent, as_of }, &TerminalTable::built_in())
}

fn alarms_of(records: &[Record]) -> Vec<Alarm> {
    decided(records, &[], Fleet::default(), &[]).alarms
}

fn only(alarms: Vec<Alarm>) -> Alarm {
    assert_eq!(alarms.len(), 1, "{alarms:#?}");
    alarms.into_iter().next().expect("one")
}

#[test]
fn a_healthy_day_raises_nothing() {
    let fleet = Fleet { reference_torque_nm: Some(2000), stage: Some(6), ..Fleet::default() };
    let day = decided(&drive(0..14_400, |_, _| {}), &packets(0..14_400), fleet, &[]);
    assert_eq!(day.alarms, [], "specific NOx is about 0.4 g/kWh");
    assert_eq!((day.records, day.count.seen, day.count.missing), (14_400, 1440, Some(0)));
    assert_eq!((day.count.online_seconds, day.undetermined), (14_390.0, vec![]));
}

#[test]
fn a_catalyst_that_does_not_convert() {
    let alarm = only(alarms_of(&drive(0..7200, |second, values| {
        if (1200..3000).contains(&second) {
            values.nox_downstream_ppm = values.nox_upstream_ppm.map(|ppm| ppm * if second < 1800 { 0.5 } else { 0.8 });
        }
    })));
    // Exactly half is not below half, so the first window is good.
    assert_eq!((alarm.rule, alarm.from, alarm.to), (AlarmRule::ScrEfficiency, at(1800), at(2999)));
    assert_eq!(alarm.content["peak"]["efficiency_pct"], 20.0);
    assert_eq!(alarm.content["convicted_at"], Value::from(at(2400).to_string()));
    assert_eq!(alarm.behind.records, [(at(1800), at(2399)), (at(2400), at(2999))]);
}

#[test]
fn one_bad_window_is_no_alarm_and_a_cold_one_between_breaks_nothing() {
    let tampered = |bad: &'static [i64], cold: &'static [i64]| {
        alarms_of(&drive(0..3600, |second, values| {
            if bad.contains(&(second / 600)) {
                values.nox_downstream_ppm = values.nox_upstream_ppm;
            }
            if cold.contains(&(second / 600)) {
                values.coolant_c = Some(40.0);
            }
        }))
    };
    assert_eq!(tampered(&[1, 3], &[]), []);
    assert_eq!(only(tampered(&[1, 3], &[2])).to, at(2399));
}

#[test]
fn specific_nox_by_hand() {
    let constant = |_, values: &mut Values| {
        values.engine_rpm = Some(1500.0);
        values.net_torque_pct = Some(50.0);
        values.nox_upstream_ppm = Some(1200.0);
        values.nox_downstream_ppm = Some(500.0);
    };
    let records = drive(0..1800, constant);
    let of = |fleet| decided(&records, &[], fleet, &[]);
    let found = of(Fleet { reference_torque_nm: Some(2000), stage: Some(6), ..Fleet::default() });
    // 500 ppm x 0.001587 x (500 + 30 x 0.835) kg/h = 416.627 g/h; 40 % x 2000 N·m x 1500 / 9549 = 125.667 kW.
    let alarm = only(found.alarms);
    assert_eq!(alarm.rule, AlarmRule::NoxSpecific);
    assert_eq!((&alarm.content["peak"]["nox_g_kwh"], alarm.why_review), (&Value::from(3.315), None));
    let doubted =
        of(Fleet { reference_torque_nm: Some(2000), stage: Some(6), contradictory: true, ..Fleet::default() });
    assert_eq!(only(doubted.alarms).why_review, Some("register_contradictory"), "torque and stage are the register's");
    // A bigger engine does more work with the same exhaust.
    assert!(of(Fleet { reference_torque_nm: Some(10_000), stage: Some(6), ..Fleet::default() }).alarms.is_empty());
    let unknown = of(Fleet { reference_torque_nm: None, stage: Some(6), ..Fleet::default() });
    assert_eq!(unknown.alarms, [], "without torque there is neither accusation nor acquittal");
    assert_eq!(unknown.undetermined, ["nox_specific: reference torque unknown"]);
    let old = of(Fleet { reference_torque_nm: Some(2000), stage: Some(3), ..Fleet::default() });
    assert_eq!((old.alarms.len(), old.undetermined), (0, vec!["nox_specific: no limit for the emission stage"]));
}

#[test]
fn reagent_that_runs_out_and_reagent_that_is_not_used() {
    let low = only(alarms_of(&drive(0..3600, |second, values| {
        values.reagent_pct = Some(record::rounded(11.2 - (second / 600) as f64 * 0.4));
    })));
    assert_eq!((low.rule, low.from, low.to), (AlarmRule::ReagentLow, at(2400), at(3599)), "10 % is not below 10 %");
    assert_eq!(low.content["peak"]["level_pct"], 9.2);

    // 30 L/h: 60 L are burned in two hours, to the second.
    let frozen = |hours: f64| {
        let end = (hours * 3600.0) as i64;
        alarms_of(&drive(0..end, |_, values| values.reagent_pct = Some(40.0)))
    };
    assert_eq!(frozen(1.9), []);
    let alarm = only(frozen(2.5));
    assert_eq!((alarm.rule, alarm.from, alarm.to), (AlarmRule::ReagentFrozen, at(0), at(8999)));
    assert!(alarm.content["peak"]["fuel_burned_l"].as_f64().expect("a number") > 74.0);
}

#[test]
fn a_filter_that_is_not_there() {
    let alarm = only(alarms_of(&drive(0..1200, |_, values| {
        values.dpf_dp_kpa = Some(if values.engine_rpm > Some(1500.0) { 0.1 } else { 0.0 });
    })));
    assert_eq!((alarm.rule, &alarm.content["peak"]["engine_rpm"]), (AlarmRule::DpfPressure, &Value::from(1790.0)));
    let pressed_once = drive(0..1200, |second, values| {
        values.dpf_dp_kpa = Some(if second % 600 == 59 { 0.2 } else { 0.1 });
    });
    assert_eq!(alarms_of(&pressed_once), []);
}

#[test]
fn a_sensor_that_stands_still_while_the_engine_does_not() {
    let stuck = |end, idling: bool| {
        alarms_of(&drive(0..end, |_, values| {
            values.scr_outlet_c = Some(290.0);
            if idling {
                values.engine_rpm = Some(1000.0);
            }
        }))
    };
    assert_eq!((stuck(1800, true), stuck(1200, false)), (vec![], vec![]));
    let alarm = only(stuck(3000, false));
    assert_eq!((alarm.rule, &alarm.content["channel"]), (AlarmRule::SensorStuck, &Value::from("scr_outlet_c")));
    assert_eq!((alarm.from, alarm.to), (at(0), at(2999)));
}

#[test]
fn clocks_ahead_are_proven_and_clocks_behind_wait_for_a_person() {
    let late = |seconds: i64| {
        let mut all = packets(0..7200);
        all.iter_mut().for_each(|packet| packet.received_at = packet.sent_at.plus_seconds(seconds));
        decided(&[], &all, Fleet::default(), &[]).alarms
    };
    assert_eq!((late(-60), late(600)), (vec![], vec![]));
    let ahead = only(late(-61));
    assert_eq!((ahead.rule, ahead.why_review), (AlarmRule::ClockDrift, None));
    assert_eq!(ahead.content["peak"]["ahead_seconds"], 61.0);
    let behind = only(late(601));
    assert_eq!(behind.why_review, Some("a_late_delivery_looks_the_same"));
    let device = DeviceId::parse("LGDCHA1G8MA900002").expect("legal");
    let finding = finding(&device, TerminalKind::Vehicle, &behind, &TerminalTable::built_in());
    assert_eq!(finding.review, Review::Needed(vec!["a_late_delivery_looks_the_same".into()]));
    // One packet in time, and the delay is the delivery's.
    let mut all = packets(0..7200);
    for packet in all.iter_mut().filter(|packet| packet.digest % 600 != 300) {
        packet.received_at = packet.sent_at.plus_seconds(-100);
    }
    assert_eq!(decided(&[], &all, Fleet::default(), &[]).alarms, []);
}

#[test]
fn packets_that_never_came() {
    let (mut all, whole) = (packets(0..7200), packets(0..7200));
    all.retain(|packet| packet.digest / 10 % 8 != 3);
    let day = decided(&[], &all, Fleet::default(), &[]);
    assert_eq!(day.count.missing, Some(90));
    let alarm = only(day.alarms);
    assert_eq!((alarm.rule, &alarm.content["peak"]["loss_pct"]), (AlarmRule::PacketLoss, &Value::from(12.5)));
    // What is sent again fills its gap, whatever serial numbers came in between.
    let resent: BTreeSet<u16> = whole.iter().filter_map(|packet| packet.serial).collect();
    let count = presence::count(&windows(&[], &all), &resent, &TerminalTable::built_in());
    assert_eq!(count.missing, Some(0));
    // A restart is no gap, and without serials nothing is known.
    for packet in &mut all {
        packet.serial = packet.serial.map(|serial| if serial > 500 { serial - 500 } else { serial });
    }
    assert_eq!(decided(&[], &all, Fleet::default(), &[]).count.restarts, 1);
    all.iter_mut().for_each(|packet| packet.serial = None);
    let day = decided(&[], &all, Fleet::default(), &[]);
    assert_eq!((day.count.missing, day.undetermined), (None, vec!["packet_loss: packets without serial"]));
    assert_eq!(day.alarms, []);
}

#[test]
fn an_odometer_turned_back_overnight_belongs_to_the_morning() {
    let records = [
        drive(-3600..-3000, |_, _| {}),
        drive(21_600..22_200, |_, values| {
            values.odometer_km = values.odometer_km.map(|km| km - 50_000.0);
            values.position = Some([117.34, 36.8]);
        }),
    ]
    .concat();
    let alarm = only(alarms_of(&records));
    assert_eq!((alarm.rule, alarm.from, alarm.to), (AlarmRule::OdometerJump, at(-3001), at(21_600)));
    assert_eq!(alarm.content["jumps"], 1);
    assert!(alarm.content["peak"]["km"].as_f64().expect("a number") < -45_000.0);
}

#[test]
fn a_position_that_no_vehicle_reaches_in_time() {
    let alarm = only(alarms_of(&drive(0..1200, |second, values| {
        if second >= 900 {
            values.position = values.position.map(|[lon, lat]| [lon + 1.0, lat]);
        }
    })));
    assert_eq!((alarm.rule, alarm.from, alarm.to), (AlarmRule::PositionJump, at(899), at(900)));
    let km = alarm.content["peak"]["km"].as_f64().expect("a number");
    assert!((88.0..90.0).contains(&km), "a degree of longitude at 36.8 degrees north: {km}");
}

#[test]
fn a_vehicle_that_is_seen_while_its_terminal_is_silent() {
    let passage = |seconds| Passage {
        passed_at: at(seconds),
        station_id: "370306-01".into(),
        record_id: format!("r{seconds}"),
        station: 1,
        plate_is_sure: true,
    };
    let seen = |passages: &[Passage]| {
        let around = [packets(-4000..-3000), packets(7200..10_800)].concat();
        decided(&[], &around, Fleet::default(), passages).alarms
    };
    assert_eq!(seen(&[passage(9000), passage(5401), passage(12_000)]), []);
    let alarm = only(seen(&[passage(5399), passage(9000), passage(0), passage(0)]));
    assert_eq!((alarm.rule, alarm.from, alarm.to), (AlarmRule::Silence, at(0), at(5399)));
    assert_eq!(alarm.content["passages"].as_array().map(Vec::len), Some(2));
    assert_eq!(alarm.content["peak"]["nearest_packet_seconds"], 3010.0);
    assert_eq!(alarm.why_review, None);
    let unsure = Passage { plate_is_sure: false, ..passage(0) };
    assert_eq!(only(seen(&[unsure])).why_review, Some("plate_confidence_low"));

    // What was stored up and sent later is no silence, and neither is what may still come.
    let stored_up = drive(-100..100, |_, _| {});
    let told = decided(&stored_up, &packets(7200..10_800), Fleet::default(), &[passage(0)]);
    assert!(told.alarms.iter().all(|alarm| alarm.rule != AlarmRule::Silence));
    let table = TerminalTable::built_in();
    let early = presence::silence(&[], &[passage(0)], at(120 * 3600 - 1), &table);
    assert_eq!(early, None);
    assert!(presence::silence(&[], &[passage(0)], at(120 * 3600), &table).is_some());
}

#[test]
fn rows_that_retention_took_are_not_unsaid() {
    let table = TerminalTable::built_in();
    let (records, packets) = (drive(0..600, |_, _| {}), packets(0..600));
    let whole = Facts::of(&records, &packets, &table.numbers);
    let without_packets = Facts::of(&records, &[], &table.numbers);
    assert_eq!(without_packets.or_kept(whole.clone()), whole);
    let first_half = Facts::of(&records[..300], &packets[..30], &table.numbers);
    assert_eq!(whole.clone().or_kept(first_half), whole);
}
