//! When the next message is due: an absolute plan, so that a rate is kept over minutes and not only between two sends.

use std::time::Duration;

/// However long the last look is ago, no step makes up for more than twice this: a broker that takes less than the rate
/// makes steps long, and long steps must not make the next ones longer still.
const LONGEST_STEP: Duration = Duration::from_millis(100);

/// Message `n` is due `n / rate` after the start. A plan that fell behind catches up at no more than twice the rate, so a
/// broker that comes back is not met by everything at once.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    rate: f64,
}

impl Schedule {
    /// `rate` in messages a second, above zero.
    pub fn new(rate: f64) -> Self {
        Self { rate }
    }

    /// Messages due `elapsed` after the start.
    pub fn due(&self, elapsed: Duration) -> u64 {
        (elapsed.as_secs_f64() * self.rate) as u64
    }

    /// When message `number`, counted from 1, is due.
    pub fn when(&self, number: u64) -> Duration {
        Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// How many to send now, `elapsed` after the start, when `made` were sent and the last look was `since` ago.
    pub fn burst(&self, elapsed: Duration, made: u64, since: Duration) -> u64 {
        let most = (since.min(LONGEST_STEP).as_secs_f64() * self.rate * 2.0).ceil().max(1.0);
        self.due(elapsed).saturating_sub(made).min(most as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(5);

    #[test]
    fn the_rate_is_kept_over_odd_intervals() {
        for rate in [0.5, 3.0, 999.0, 50_000.0] {
            let schedule = Schedule::new(rate);
            let mut made = 0;
            for tick in 1..=4000 {
                made += schedule.burst(TICK * tick, made, TICK);
            }
            assert_eq!(made, (rate * 20.0) as u64);
            assert_eq!(schedule.due(schedule.when(made + 1) + Duration::from_micros(1)), made + 1);
        }
    }

    #[test]
    fn a_stall_is_made_up_for_in_bounded_steps() {
        let schedule = Schedule::new(1000.0);
        let stalled = Duration::from_secs(10);
        assert_eq!(schedule.burst(stalled, 0, TICK), 10);
        assert_eq!(schedule.burst(stalled + TICK, 10, TICK), 10);
        assert_eq!(schedule.burst(stalled, 0, stalled), 200);
    }
}
