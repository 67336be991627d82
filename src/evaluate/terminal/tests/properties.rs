//! What holds for every stream: order and repetition change nothing, and a second, slower reading agrees.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::Value;

use super::{at, packet, windows};
use crate::{
    evaluate::terminal::{
        alarms,
        facts::Facts,
        record::{self, Packet, Record, Values},
        window_of,
    },
    judge::TerminalTable,
    reading::Timestamp,
};

/// Conversion of each window by a second, slower reading of the rule: weight by weight, from all pairs of records.
fn naive_efficiency(records: &[Record]) -> Vec<(Timestamp, Option<f64>)> {
    let key = |record: &Record| (record.at, record.ordinal);
    let starts: BTreeSet<Timestamp> = records.iter().map(|record| window_of(record.at)).collect();
    let mut found = Vec::new();
    for start in starts {
        let (mut seconds, mut upstream, mut downstream, mut counted) = (0.0, 0.0, 0.0, BTreeSet::new());
        for record in records.iter().filter(|record| window_of(record.at) == start) {
            if !counted.insert(key(record)) {
                continue;
            }
            let later = records.iter().filter(|other| window_of(other.at) == start && key(other) > key(record));
            let weight = later.map(|other| other.at.micros_since(record.at) as f64 / 1e6).fold(f64::MAX, f64::min);
            let weight = if weight == f64::MAX { 1.0 } else { weight.min(10.0) };
            let v = &record.values;
            if v.engine_rpm.is_some_and(|rpm| rpm > 900.0)
                && v.coolant_c.is_some_and(|c| c >= 70.0)
                && v.scr_inlet_c.is_some_and(|c| c >= 250.0)
                && v.nox_upstream_ppm.is_some_and(|ppm| ppm >= 100.0)
                && v.nox_downstream_ppm.is_some_and(|ppm| ppm > -200.0)
            {
                seconds += weight;
                upstream += weight * v.nox_upstream_ppm.unwrap_or_default();
                downstream += weight * v.nox_downstream_ppm.unwrap_or_default();
            }
        }
        let efficiency = (upstream - downstream) / upstream * 100.0;
        found.push((start, (seconds >= 120.0 && efficiency < 50.0).then_some(efficiency)));
    }
    found
}

/// Records of half an hour: whole numbers, so that sums are exact in any order.
fn stream() -> impl Strategy<Value = Vec<Record>> {
    let value = |range: std::ops::Range<i32>| prop::option::weighted(0.95, range.prop_map(f64::from));
    let one =
        (0..1800_i64, 0..2_i16, value(880..1500), value(60..90), value(240..300), value(-200..1500), value(-200..900));
    prop::collection::vec(one, 0..400).prop_map(|rows| {
        let mut records: Vec<Record> = rows
            .into_iter()
            .map(|(second, ordinal, rpm, coolant, inlet, upstream, downstream)| Record {
                at: at(second),
                ordinal,
                values: Values {
                    engine_rpm: rpm,
                    coolant_c: coolant,
                    scr_inlet_c: inlet,
                    nox_upstream_ppm: upstream,
                    nox_downstream_ppm: downstream,
                    ..Values::default()
                },
            })
            .collect();
        // A key has one content.
        records.sort_by_key(|record| (record.at, record.ordinal));
        records.dedup_by_key(|record| (record.at, record.ordinal));
        records
    })
}

proptest! {
    #[test]
    fn windows_agree_with_the_naive_reading(records in stream()) {
        let mut table = TerminalTable::built_in();
        table.numbers.scr_efficiency.windows = 1.0;
        let found = alarms::scr_efficiency(&windows(&records, &[]), &table);
        let bad: Vec<Value> = found.iter().flat_map(|alarm| alarm.content["windows"].as_array().cloned()).flatten().collect();
        let bad: Vec<(String, f64)> = bad
            .iter()
            .map(|window| (window["from"].as_str().unwrap_or_default().into(), window["efficiency_pct"].as_f64().unwrap_or_default()))
            .collect();
        let naive: Vec<(String, f64)> = naive_efficiency(&records)
            .into_iter()
            .filter_map(|(start, bad)| Some((start.to_string(), record::rounded(bad?))))
            .collect();
        prop_assert_eq!(bad, naive);
    }

    #[test]
    fn order_and_repetition_change_nothing(
        (records, shuffled) in stream().prop_flat_map(|r| (Just(r.clone()), Just(r).prop_shuffle())),
        (sent, resent) in prop::collection::vec(0..180_i64, 0..60)
            .prop_flat_map(|s| (Just(s.clone()), Just(s).prop_shuffle())),
        repeated in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
    ) {
        let table = TerminalTable::built_in();
        let packets: Vec<Packet> = sent.iter().map(|ten| packet(ten * 10)).collect();
        let mut packets_again: Vec<Packet> = resent.iter().map(|ten| packet(ten * 10)).collect();
        packets_again.extend(repeated.iter().filter(|_| !packets.is_empty()).map(|i| packets[i.index(packets.len())]));
        let mut again = shuffled;
        again.extend(repeated.iter().filter(|_| !records.is_empty()).map(|i| records[i.index(records.len())]));
        let one = Facts::of(&records, &packets, &table.numbers);
        prop_assert_eq!(&one, &Facts::of(&again, &packets_again, &table.numbers));
        // And through the database's JSON.
        let json = serde_json::to_value(&one).expect("facts are JSON");
        prop_assert_eq!(serde_json::from_value::<Facts>(json).expect("and back"), one);
    }
}
