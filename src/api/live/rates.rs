//! Rates out of counts, for the chart.

use std::{collections::VecDeque, time::Instant};

use serde::Serialize;
use utoipa::ToSchema;

use crate::reading::Timestamp;

/// Samples kept: three minutes at one a second.
const KEPT: usize = 180;

/// Counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    pub received: u64,
    pub stored: u64,
    pub quarantined: u64,
    pub findings: u64,
}

/// Rates over the second before `at`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, ToSchema)]
pub struct Sample {
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    pub messages_received_per_s: f32,
    pub readings_stored_per_s: f32,
    pub readings_quarantined_per_s: f32,
    pub findings_per_s: f32,
}

#[derive(Default)]
pub struct Rates {
    before: Option<(Instant, Totals)>,
    samples: VecDeque<Sample>,
}

impl Rates {
    /// Notes the counts at `now`; the second and every later call yield a sample.
    pub fn sample(&mut self, now: Instant, at: Timestamp, totals: Totals) {
        let Some((then, before)) = self.before.replace((now, totals)) else { return };
        let seconds = now.duration_since(then).as_secs_f64();
        if seconds <= 0.0 {
            return;
        }
        let rate = |before: u64, now: u64| (now.saturating_sub(before) as f64 / seconds) as f32;
        if self.samples.len() == KEPT {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample {
            at,
            messages_received_per_s: rate(before.received, totals.received),
            readings_stored_per_s: rate(before.stored, totals.stored),
            readings_quarantined_per_s: rate(before.quarantined, totals.quarantined),
            findings_per_s: rate(before.findings, totals.findings),
        });
    }

    pub fn latest(&self) -> Sample {
        self.samples.back().copied().unwrap_or(Sample {
            at: Timestamp::now(),
            messages_received_per_s: 0.0,
            readings_stored_per_s: 0.0,
            readings_quarantined_per_s: 0.0,
            findings_per_s: 0.0,
        })
    }

    pub fn history(&self) -> Vec<Sample> {
        self.samples.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn rates_are_differences_over_the_time_that_really_passed() {
        let mut rates = Rates::default();
        let start = Instant::now();
        for second in 0..=200_u32 {
            let received = u64::from(second) * 1000;
            let totals = Totals { received, stored: received / 2, ..Totals::default() };
            rates.sample(start + Duration::from_millis(500) * second, Timestamp::from_micros(second.into()), totals);
        }
        assert_eq!(rates.history().len(), KEPT);
        let latest = rates.latest();
        assert_eq!((latest.messages_received_per_s, latest.readings_stored_per_s), (2000.0, 1000.0));
        assert_eq!(latest.at, Timestamp::from_micros(200));
    }
}
