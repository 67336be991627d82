//! Runs of consecutive seconds with downstream NOx over its limit.
//!
//! Input: every stored second of one terminal in some span, in any order, each perhaps several times. Output: every run of
//! at least N consecutive seconds over the limit. Decisions:
//!
//! - A second that is not valid breaks a run, and so does a missing one: "consecutive valid seconds" is claimed of every
//!   second in between. Bridging gaps would accuse by assumption.
//! - Several records of one second (a resend with other content, two streams) count once. Records that are not valid say
//!   nothing where a valid one exists; among valid ones the lowest value stands, so that contradictory data favours the
//!   vehicle.
//! - A run's finding is named by the second that convicted, the N-th. Later seconds extend the same finding; a late second
//!   that lengthens the run at its beginning makes another finding, and the old one is revoked.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    config,
    finding::{Finding, Review, Subject, finding_id},
    judge::{
        document::exact,
        terminal::{Counted, TerminalKind},
    },
    reading::{DeviceId, Timestamp},
};

pub const NOX_RULE: &str = "terminal.nox_over_limit";

/// One stored second of a stream and what it counts for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Second {
    pub at: Timestamp,
    pub counted: Counted,
}

/// Consecutive valid seconds over the limit, both ends included.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    pub from: Timestamp,
    pub to: Timestamp,
    /// The second that completed the number the rule asks for.
    pub convicted_at: Timestamp,
    pub seconds: u32,
    /// Highest value in the run, ppm.
    pub peak_ppm: f32,
}

const MICROS_PER_SECOND: i64 = 1_000_000;

/// Every run of at least `consecutive` seconds (0 is taken as 1), in the order of time.
pub fn runs(seconds: &[Second], consecutive: u32) -> Vec<Run> {
    let needed = consecutive.max(1);
    let mut found: Vec<Run> = Vec::new();
    let mut open: Option<Run> = None;
    for (second, counted) in settled(seconds) {
        let at = Timestamp::from_micros(second.saturating_mul(MICROS_PER_SECOND));
        let Counted::Over(ppm) = counted else {
            close(&mut open, needed, &mut found);
            continue;
        };
        match &mut open {
            Some(run) if at.micros_since(run.to) == MICROS_PER_SECOND => {
                run.to = at;
                run.seconds += 1;
                run.peak_ppm = run.peak_ppm.max(ppm);
            }
            _ => {
                close(&mut open, needed, &mut found);
                let convicted_at = at.plus_seconds(i64::from(needed) - 1);
                open = Some(Run { from: at, to: at, convicted_at, seconds: 1, peak_ppm: ppm });
            }
        }
    }
    close(&mut open, needed, &mut found);
    found
}

fn close(open: &mut Option<Run>, needed: u32, found: &mut Vec<Run>) {
    found.extend(open.take().filter(|run| run.seconds >= needed));
}

/// One count for each second that has any record.
fn settled(seconds: &[Second]) -> BTreeMap<i64, Counted> {
    let mut settled = BTreeMap::new();
    for second in seconds {
        settled
            .entry(second.at.micros().div_euclid(MICROS_PER_SECOND))
            .and_modify(|known| *known = favourable(*known, second.counted))
            .or_insert(second.counted);
    }
    settled
}

/// The count that stands where one second has two; commutative and associative, so order does not matter.
fn favourable(one: Counted, other: Counted) -> Counted {
    match (one, other) {
        (Counted::NotValid, counted) | (counted, Counted::NotValid) => counted,
        (Counted::Under(a), Counted::Under(b)) => Counted::Under(a.min(b)),
        (Counted::Under(a), Counted::Over(_)) | (Counted::Over(_), Counted::Under(a)) => Counted::Under(a),
        (Counted::Over(a), Counted::Over(b)) => Counted::Over(a.min(b)),
    }
}

/// The finding of one run of one terminal. The id does not depend on whose terminal it is.
pub fn finding(kind: TerminalKind, device: &DeviceId, run: &Run, settings: &config::Judge) -> Finding {
    Finding {
        id: finding_id(NOX_RULE, &format!("{device}/{}", run.convicted_at)),
        rule: NOX_RULE.into(),
        subject: match kind {
            TerminalKind::Vehicle => Subject::Terminal(device.clone()),
            TerminalKind::Machine => Subject::Machine(device.clone()),
        },
        from: run.from,
        to: run.to,
        review: Review::NotNeeded,
        intercept: false,
        content: json!({
            "rule": NOX_RULE,
            "device": device,
            "pollutant": "nox_downstream",
            "from": run.from,
            "to": run.to,
            "convicted_at": run.convicted_at,
            "seconds": run.seconds,
            "peak": exact(run.peak_ppm),
            "limit": exact(settings.nox_limit_ppm),
            "unit": "ppm",
            "consecutive_seconds": settings.nox_consecutive_seconds,
            "min_engine_rpm": exact(settings.nox_min_rpm),
            "min_coolant_c": exact(settings.nox_min_coolant_c),
            "min_scr_inlet_c": exact(settings.nox_min_scr_inlet_c),
            "source": "configuration of this service (no public road rule with a number is known)",
            "confidence": "unsourced-medium",
        }),
        evidence: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn second(at: i64, counted: Counted) -> Second {
        Second { at: Timestamp::from_micros(at * MICROS_PER_SECOND), counted }
    }

    fn spans(seconds: &[Second], consecutive: u32) -> Vec<(i64, i64)> {
        let whole = |at: Timestamp| at.micros() / MICROS_PER_SECOND;
        runs(seconds, consecutive).iter().map(|run| (whole(run.from), whole(run.to))).collect()
    }

    #[test]
    fn gaps_and_invalid_seconds_break_a_run() {
        let mut seconds: Vec<_> = (0..10).map(|at| second(at, Counted::Over(600.0))).collect();
        assert_eq!(spans(&seconds, 10), [(0, 9)]);
        assert_eq!(spans(&seconds, 11), []);
        seconds[4].counted = Counted::NotValid;
        assert_eq!(spans(&seconds, 4), [(0, 3), (5, 9)]);
        seconds.remove(4);
        assert_eq!(spans(&seconds, 4), [(0, 3), (5, 9)]);
        seconds.push(second(4, Counted::Under(100.0)));
        assert_eq!(spans(&seconds, 5), [(5, 9)]);
    }

    #[test]
    fn contradictory_records_favour_the_vehicle() {
        let over = |at| second(at, Counted::Over(600.0));
        assert_eq!(spans(&[over(0), over(1), second(1, Counted::NotValid)], 2), [(0, 1)]);
        assert_eq!(spans(&[over(0), over(1), second(1, Counted::Under(10.0))], 2), []);
        let run = runs(&[over(0), second(0, Counted::Over(900.0)), over(1)], 2);
        assert_eq!(run.first().map(|run| run.peak_ppm), Some(600.0));
    }

    #[test]
    fn the_finding_grows_at_its_end_and_keeps_its_name() {
        let device = DeviceId::parse("LGDCHA1G8MA900002").expect("legal");
        let settings = crate::judge::tests::settings();
        let of = |range: std::ops::Range<i64>| {
            let seconds: Vec<_> = range.map(|at| second(at, Counted::Over(612.5))).collect();
            finding(TerminalKind::Vehicle, &device, &runs(&seconds, 60)[0], &settings)
        };
        let (short, long, earlier) = (of(0..60), of(0..90), of(-1..60));
        assert_eq!(short.id, long.id);
        assert!(long.to > short.to);
        assert_ne!(short.id, earlier.id);
        assert_eq!(short.content["peak"], 612.5);
    }

    #[test]
    fn a_machine_is_filed_as_one_under_the_same_name() {
        let device = DeviceId::parse("CNFJG300000000001").expect("legal");
        let settings = crate::judge::tests::settings();
        let seconds: Vec<_> = (0..60).map(|at| second(at, Counted::Over(612.5))).collect();
        let of = |kind| finding(kind, &device, &runs(&seconds, 60)[0], &settings);
        let (machine, vehicle) = (of(TerminalKind::Machine), of(TerminalKind::Vehicle));
        assert_eq!(machine.subject, Subject::Machine(device.clone()));
        assert_eq!(vehicle.subject, Subject::Terminal(device.clone()));
        assert_eq!((machine.id, machine.subject.to_string()), (vehicle.id, vehicle.subject.to_string()));
    }

    /// The same by looking at every pair of ends.
    fn naive(seconds: &[Second], needed: i64) -> Vec<(i64, i64)> {
        let over = |at: i64| {
            let of_second: Vec<_> = seconds
                .iter()
                .filter(|s| s.at.micros().div_euclid(MICROS_PER_SECOND) == at)
                .map(|s| s.counted)
                .collect();
            of_second.iter().any(|c| matches!(c, Counted::Over(_)))
                && !of_second.iter().any(|c| matches!(c, Counted::Under(_)))
        };
        let mut found = Vec::new();
        for from in -1..40 {
            for to in from..40 {
                let all = (from..=to).all(over);
                if all && !over(from - 1) && !over(to + 1) && to - from + 1 >= needed {
                    found.push((from, to));
                }
            }
        }
        found
    }

    fn stream() -> impl Strategy<Value = Vec<Second>> {
        let counted = prop_oneof![
            6 => (501..900_u16).prop_map(|ppm| Counted::Over(f32::from(ppm))),
            1 => (0..500_u16).prop_map(|ppm| Counted::Under(f32::from(ppm))),
            1 => Just(Counted::NotValid),
        ];
        prop::collection::vec((0..40_i64, 0..MICROS_PER_SECOND, counted), 0..90).prop_map(|records| {
            let at = |second: i64, micros: i64| Timestamp::from_micros(second * MICROS_PER_SECOND + micros);
            records.into_iter().map(|(s, micros, counted)| Second { at: at(s, micros), counted }).collect()
        })
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_reading(seconds in stream(), needed in 1..8_u32) {
            prop_assert_eq!(spans(&seconds, needed), naive(&seconds, i64::from(needed)));
        }

        #[test]
        fn order_and_repetition_change_nothing(
            (seconds, shuffled) in stream().prop_flat_map(|s| (Just(s.clone()), Just(s).prop_shuffle())),
            repeated in prop::collection::vec(any::<prop::sample::Index>(), 0..10),
            needed in 1..8_u32,
        ) {
            let mut again = shuffled;
            if !again.is_empty() {
                again.extend(repeated.iter().map(|place| seconds[place.index(seconds.len())]));
            }
            prop_assert_eq!(runs(&seconds, needed), runs(&again, needed));
        }
    }
}
