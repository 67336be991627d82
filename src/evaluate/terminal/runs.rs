//! Runs of windows that are bad by themselves. Pure.
//!
//! Windows come in the order of time. One that says nothing neither breaks a run nor extends it; a good one ends it.

use crate::reading::Timestamp;

/// What a window says by one rule; the measured value where it was judged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Verdict {
    Bad(f64),
    Good,
    /// An input is missing, or there is too little of it.
    Undetermined,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    pub window: Timestamp,
    /// First and last record that counted.
    pub from: Timestamp,
    pub to: Timestamp,
    pub verdict: Verdict,
}

/// Bad windows in a row, each with what was measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub windows: Vec<(Timestamp, f64)>,
    pub from: Timestamp,
    pub to: Timestamp,
    /// Places of the window that made it an alarm, and of the worst.
    pub convicted: usize,
    pub peak: usize,
}

/// Every run of at least `needed` windows (0 is taken as 1). `worse` tells whether one value is worse than another; of
/// equally bad windows the first is the peak.
pub fn runs(judged: &[Judged], needed: usize, worse: fn(f64, f64) -> bool) -> Vec<Run> {
    let needed = needed.max(1);
    let mut found: Vec<Run> = Vec::new();
    let mut open: Option<Run> = None;
    for each in judged {
        match (each.verdict, &mut open) {
            (Verdict::Undetermined, _) => {}
            (Verdict::Good, _) => found.extend(open.take()),
            (Verdict::Bad(value), Some(run)) => {
                if run.windows.get(run.peak).is_none_or(|(_, peak)| worse(value, *peak)) {
                    run.peak = run.windows.len();
                }
                run.windows.push((each.window, value));
                run.to = each.to;
            }
            (Verdict::Bad(value), None) => {
                let windows = vec![(each.window, value)];
                open = Some(Run { windows, from: each.from, to: each.to, convicted: needed - 1, peak: 0 });
            }
        }
    }
    found.extend(open);
    found.retain(|run| run.windows.len() >= needed);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn judged(verdicts: &[Verdict]) -> Vec<Judged> {
        let at = |place: usize| Timestamp::from_micros(place as i64 * 600_000_000);
        let one = |(place, verdict): (usize, &Verdict)| Judged {
            window: at(place),
            from: at(place).plus_seconds(10),
            to: at(place).plus_seconds(590),
            verdict: *verdict,
        };
        verdicts.iter().enumerate().map(one).collect()
    }

    fn spans(verdicts: &[Verdict], needed: usize) -> Vec<(i64, i64, f64)> {
        let place = |at: Timestamp| at.micros() / 600_000_000;
        runs(&judged(verdicts), needed, |a, b| a > b)
            .iter()
            .map(|run| (place(run.from), place(run.to), run.windows[run.peak].1))
            .collect()
    }

    /// The same by looking at every pair of ends: all between is bad or says nothing, the ends are bad, and the nearest
    /// windows outside that say anything are good.
    fn naive(verdicts: &[Verdict], needed: usize) -> Vec<(i64, i64, f64)> {
        let value = |place: usize| match verdicts[place] {
            Verdict::Bad(value) => Some(value),
            _ => None,
        };
        let mut found = Vec::new();
        for from in 0..verdicts.len() {
            for to in from..verdicts.len() {
                let inside = !verdicts[from..=to].contains(&Verdict::Good);
                let ends = value(from).is_some() && value(to).is_some();
                let speaks = |v: &&Verdict| **v != Verdict::Undetermined;
                let before = verdicts[..from].iter().rev().find(speaks).is_none_or(|v| *v == Verdict::Good);
                let after = verdicts[to + 1..].iter().find(speaks).is_none_or(|v| *v == Verdict::Good);
                let values: Vec<f64> = (from..=to).filter_map(value).collect();
                if inside && ends && before && after && values.len() >= needed {
                    let peak = values.iter().copied().fold(f64::MIN, f64::max);
                    found.push((from as i64, to as i64, peak));
                }
            }
        }
        found
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_reading(
            verdicts in prop::collection::vec(prop_oneof![
                4 => (0..9_u8).prop_map(|value| Verdict::Bad(f64::from(value))),
                1 => Just(Verdict::Good),
                1 => Just(Verdict::Undetermined),
            ], 0..30),
            needed in 1..5_usize,
        ) {
            prop_assert_eq!(spans(&verdicts, needed), naive(&verdicts, needed));
        }
    }
}
