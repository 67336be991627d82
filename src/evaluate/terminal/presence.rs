//! Whether a terminal was there: its clock, its lost packets, its hours online, and its silence. Pure.

use std::collections::BTreeSet;

use serde_json::json;

use super::{
    alarms::{Window, by_windows, whole_window},
    day::{Alarm, Behind, Passage},
    facts::Packets,
    record::rounded,
    runs::{Judged, Run, Verdict, runs},
};
use crate::{
    judge::{TerminalTable, terminal_table::AlarmRule},
    reading::Timestamp,
};

/// Serials go from 1 to here and begin again; every day they begin again (DOMAIN A.4, A.11).
pub const LAST_SERIAL: u16 = 65_531;

fn packets(windows: &[Window]) -> impl Iterator<Item = (Timestamp, &Packets)> + Clone {
    windows.iter().filter_map(|(at, facts)| Some((*at, facts.packets.as_ref()?)))
}

/// Both directions are told apart by the key: a clock ahead is proven by one packet that arrived before it was sent; one
/// that is behind looks like a delivery held up on its way.
pub fn clock_drift(windows: &[Window], table: &TerminalTable) -> Vec<Alarm> {
    let limit = &table.numbers.clock_drift;
    let judged = |bad: &dyn Fn(f64, f64) -> Option<f64>| -> Vec<Judged> {
        let one = |(window, packets): (Timestamp, &Packets)| {
            let late = packets.lateness?;
            let verdict = match f64::from(packets.live) >= limit.min_packets {
                true => bad(late.min, late.max).map_or(Verdict::Good, Verdict::Bad),
                false => Verdict::Undetermined,
            };
            Some(Judged { window, from: packets.first, to: packets.last, verdict })
        };
        packets(windows).filter_map(one).collect()
    };
    // The nearest of the window's packets counts, so that one strange packet accuses nobody.
    let ahead = judged(&|_, max| (-max > limit.ahead_seconds).then_some(-max));
    let behind = judged(&|min, _| (min > limit.behind_seconds).then_some(min));
    let alarm = |direction: &str, run: &Run| {
        let drift = format!("{direction}_seconds");
        let mut alarm = by_windows(AlarmRule::ClockDrift, run, &drift, json!({ "direction": direction }));
        alarm.key = format!("{direction}/{}", alarm.key);
        alarm.behind = Behind { packets: alarm.behind.records, ..Behind::default() };
        alarm
    };
    let mut alarms = Vec::new();
    for run in &runs(&ahead, limit.windows_ahead as usize, |a, b| a > b) {
        alarms.push(alarm("ahead", run));
    }
    for run in &runs(&behind, limit.windows_behind as usize, |a, b| a > b) {
        let why_review = Some("a_late_delivery_looks_the_same");
        alarms.push(Alarm { why_review, ..alarm("behind", run) });
    }
    alarms
}

/// Packets of one day, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Count {
    pub seen: u32,
    pub live: u32,
    /// Live packets with a serial.
    pub numbered: u32,
    /// `None` where no packet has a serial.
    pub missing: Option<u32>,
    pub restarts: u32,
    pub online_seconds: f64,
    pub first: Option<Timestamp>,
    pub last: Option<Timestamp>,
}

impl Count {
    /// Packets that should be there: those with a serial and those missing between them.
    fn expected(&self) -> Option<f64> {
        Some(f64::from(self.missing?) + f64::from(self.numbered))
    }

    /// Missing packets out of those that should be there, percent.
    pub fn loss_pct(&self) -> Option<f64> {
        let (missing, all) = (f64::from(self.missing?), self.expected()?);
        (all > 0.0).then(|| missing / all * 100.0)
    }
}

/// Counts a day. `resent` are the serials of packets sent again, that day or later: they fill the gaps they left.
pub fn count(windows: &[Window], resent: &BTreeSet<u16>, table: &TerminalTable) -> Count {
    let limit = &table.numbers.packet_loss;
    let mut count = Count::default();
    let mut last_serial: Option<u16> = None;
    for (_, packets) in packets(windows) {
        count.seen += packets.seen;
        count.live += packets.live;
        count.online_seconds += packets.online_seconds;
        if let Some(last) = count.last {
            let gap = packets.first.micros_since(last) as f64 / 1e6;
            count.online_seconds += if gap <= limit.online_gap_seconds { gap } else { 0.0 };
        }
        count.first = count.first.or(Some(packets.first));
        count.last = Some(packets.last);
        for &serial in &packets.serials {
            count.numbered += 1;
            let missing = count.missing.get_or_insert(0);
            match last_serial.map(|last| step(last, serial)) {
                Some(steps) if f64::from(steps) > limit.max_gap => count.restarts += 1,
                Some(steps) => {
                    let from = last_serial.unwrap_or(serial);
                    let lost = (1..steps).filter(|steps| !resent.contains(&after(from, *steps)));
                    *missing += lost.count() as u32;
                }
                None => {}
            }
            last_serial = Some(serial);
        }
    }
    count
}

/// Steps forward from one serial to another, around the end.
fn step(from: u16, to: u16) -> u16 {
    let around = u32::from(LAST_SERIAL);
    ((u32::from(to) + around - u32::from(from) % around) % around) as u16
}

fn after(from: u16, steps: u16) -> u16 {
    let around = u32::from(LAST_SERIAL);
    ((u32::from(from) + u32::from(steps) - 1) % around + 1) as u16
}

pub fn packet_loss(count: &Count, table: &TerminalTable) -> Option<Alarm> {
    let limit = &table.numbers.packet_loss;
    let (missing, loss_pct, from, to) = (count.missing?, count.loss_pct()?, count.first?, count.last?);
    // By what should have come: by what came, the worst losses would be too few packets to speak of.
    if count.expected()? < limit.min_packets || loss_pct <= limit.max_loss_pct {
        return None;
    }
    Some(Alarm {
        rule: AlarmRule::PacketLoss,
        key: from.china_day().to_string(),
        from,
        to,
        why_review: None,
        content: json!({
            "packets": count.numbered,
            "missing": missing,
            "restarts": count.restarts,
            "peak": { "loss_pct": rounded(loss_pct) },
        }),
        // The gaps are the proof; what frames them is the day's first and last window.
        behind: Behind { packets: vec![whole_window(from), whole_window(to)], ..Behind::default() },
    })
}

/// Seconds from `at` to the nearest packet or record in the windows; `None` where there is none at all.
fn nearest(windows: &[Window], at: Timestamp) -> Option<f64> {
    let spans = windows.iter().flat_map(|(_, facts)| {
        let packets = facts.packets.as_ref().map(|packets| (packets.first, packets.last));
        [packets, facts.over.map(|over| (over.from, over.to))].into_iter().flatten()
    });
    let distance = |(first, last): (Timestamp, Timestamp)| match (at < first, at > last) {
        (true, _) => first.micros_since(at),
        (_, true) => at.micros_since(last),
        // A window is shorter than any silence, so nothing inside one is silent.
        _ => 0,
    };
    spans.map(distance).min().map(|micros| micros as f64 / 1e6)
}

/// Passages of the terminal's vehicle with nothing of the terminal around them. `around` are the windows of the day and of
/// the days before and after; passages younger than `settle_hours` at `as_of` may still be told of.
pub fn silence(around: &[Window], passages: &[Passage], as_of: Timestamp, table: &TerminalTable) -> Option<Alarm> {
    let limit = &table.numbers.silence;
    let settled = as_of.plus_seconds(-(limit.settle_hours * 3600.0) as i64);
    let mut silent: Vec<(&Passage, Option<f64>)> = passages
        .iter()
        .filter(|passage| passage.passed_at <= settled)
        .map(|passage| (passage, nearest(around, passage.passed_at)))
        .filter(|(_, nearest)| nearest.is_none_or(|seconds| seconds > limit.around_minutes * 60.0))
        .collect();
    silent.sort_by_key(|(passage, _)| *passage);
    silent.dedup_by(|(a, _), (b, _)| a == b);
    let (first, last) = (silent.first()?.0, silent.last()?.0);
    let shown = |(passage, nearest): &(&Passage, Option<f64>)| {
        json!({
            "station_id": passage.station_id, "record_id": passage.record_id, "passed_at": passage.passed_at,
            "nearest_packet_seconds": nearest.map(rounded),
        })
    };
    // Nothing at all in three days is the longest silence there is.
    let worst =
        silent.iter().rev().max_by(|(_, a), (_, b)| a.unwrap_or(f64::INFINITY).total_cmp(&b.unwrap_or(f64::INFINITY)));
    Some(Alarm {
        rule: AlarmRule::Silence,
        key: first.passed_at.china_day().to_string(),
        from: first.passed_at,
        to: last.passed_at,
        why_review: match silent.iter().all(|(passage, _)| passage.plate_is_sure) {
            true => None,
            false => Some("plate_confidence_low"),
        },
        content: json!({
            "passages": silent.iter().map(shown).collect::<Vec<_>>(),
            "peak": worst.map(shown),
        }),
        behind: Behind {
            passages: silent.iter().map(|(passage, _)| (*passage).clone()).collect(),
            ..Behind::default()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_loss_of_all_is_told() {
        let table = TerminalTable::built_in();
        let counted = |numbered, missing| Count {
            numbered,
            missing: Some(missing),
            first: Some(Timestamp::EPOCH),
            last: Some(Timestamp::EPOCH.plus_seconds(3_600)),
            ..Count::default()
        };
        assert!(packet_loss(&counted(40, 8_000), &table).is_some(), "forty packets of a whole day");
        assert!(packet_loss(&counted(40, 10), &table).is_none(), "a few minutes are too short to judge");
        assert!(packet_loss(&counted(350, 100), &table).is_some());
        assert!(packet_loss(&counted(8_000, 10), &table).is_none());
    }

    #[test]
    fn serials_go_around() {
        assert_eq!((step(1, 2), step(5, 5), step(65_531, 1), step(65_530, 3)), (1, 0, 1, 4));
        assert_eq!((after(65_530, 1), after(65_531, 1), after(65_530, 3)), (65_531, 1, 2));
        // 0 and what is above the last are no serials; they may not panic.
        assert_eq!((step(0, 1), step(65_535, 65_531)), (1, 65_527));
    }
}
