//! How long to wait before the next attempt to connect.

use std::time::Duration;

use rand::Rng;

/// Doubles from `min` to `max`; each wait is drawn between half of that and all of it, so that replicas which lost
/// their broker together do not come back together.
#[derive(Debug)]
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(min: Duration, max: Duration) -> Self {
        let min = min.max(Duration::from_millis(1));
        let max = max.max(min);
        Self { min, max, next: min }
    }

    pub fn next_wait(&mut self) -> Duration {
        let ceiling = self.next;
        self.next = (ceiling * 2).min(self.max);
        rand::rng().random_range(ceiling / 2..=ceiling)
    }

    /// A connection ended after having lasted this long. One that is refused or thrown out at once, again and again,
    /// does not count as a success.
    pub fn lasted(&mut self, lifetime: Duration) {
        if lifetime >= self.max {
            self.next = self.min;
        }
    }

    /// The next wait is the longest.
    pub fn lengthen(&mut self) {
        self.next = self.max;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_longest_and_starts_again_after_a_good_connection() {
        let (min, max) = (Duration::from_millis(100), Duration::from_secs(1));
        let mut backoff = Backoff::new(min, max);
        for ceiling in [100, 200, 400, 800, 1000, 1000].map(Duration::from_millis) {
            let wait = backoff.next_wait();
            assert!(wait >= ceiling / 2 && wait <= ceiling, "{wait:?} of {ceiling:?}");
        }
        backoff.lasted(Duration::from_millis(999));
        assert!(backoff.next_wait() >= max / 2);
        backoff.lasted(max);
        assert!(backoff.next_wait() <= min);
        backoff.lengthen();
        assert!(backoff.next_wait() >= max / 2);
    }
}
