//! Values that stay where they are while the engine works: a reagent level that does not fall, a sensor that does not
//! move. Pure.
//!
//! A stretch is as many windows in a row as hold one and the same value in every record; windows without any record of
//! the channel are passed over. Whole windows only: the minutes before the value began to stand still, in the window
//! where it still moved, are not counted, in the vehicle's favour.

use super::facts::{Level, Range, Stretch, Watched};
use crate::reading::Timestamp;

/// What a window says of a channel.
pub trait Steady: Copy {
    fn value(&self) -> Range;
    fn over(&self) -> Stretch;
    fn joined(self, later: Self) -> Self;
}

impl Steady for Level {
    fn value(&self) -> Range {
        self.level
    }

    fn over(&self) -> Stretch {
        self.over
    }

    fn joined(self, later: Self) -> Self {
        Level::joined(self, later)
    }
}

impl Steady for Watched {
    fn value(&self) -> Range {
        self.value
    }

    fn over(&self) -> Stretch {
        self.over
    }

    fn joined(self, later: Self) -> Self {
        Watched::joined(self, later)
    }
}

/// A value that stood still.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Still<T> {
    pub whole: T,
    pub first_window: Timestamp,
    /// The window in which it had lasted long enough.
    pub convicted: Timestamp,
}

/// Every stretch of one value that `is_enough`; windows in the order of time.
pub fn still<T: Steady>(windows: &[(Timestamp, T)], is_enough: impl Fn(&T) -> bool) -> Vec<Still<T>> {
    let mut found = Vec::new();
    let mut open: Option<(T, Timestamp, Option<Timestamp>)> = None;
    let close = |open: Option<(T, Timestamp, Option<Timestamp>)>, found: &mut Vec<Still<T>>| {
        if let Some((whole, first_window, Some(convicted))) = open {
            found.push(Still { whole, first_window, convicted });
        }
    };
    for &(at, window) in windows {
        let constant = window.value().spread() == 0.0;
        match &mut open {
            Some((whole, _, convicted)) if constant && whole.value() == window.value() => {
                *whole = whole.joined(window);
                if convicted.is_none() && is_enough(whole) {
                    *convicted = Some(at);
                }
            }
            _ => {
                close(open.take(), &mut found);
                open = constant.then(|| (window, at, is_enough(&window).then_some(at)));
            }
        }
    }
    close(open, &mut found);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(place: i64, min: f64, max: f64, burned_l: f64) -> (Timestamp, Level) {
        let at = Timestamp::from_micros(place * 600_000_000);
        let over = Stretch { seconds: 600.0, from: at, to: at.plus_seconds(599) };
        (at, Level { over, level: Range { min, max }, burned_l })
    }

    fn frozen(windows: &[(Timestamp, Level)]) -> Vec<(i64, i64, f64)> {
        let place = |at: Timestamp| at.micros() / 600_000_000;
        still(windows, |level| level.burned_l >= 10.0)
            .iter()
            .map(|still| (place(still.first_window), place(still.convicted), still.whole.burned_l))
            .collect()
    }

    #[test]
    fn a_level_that_moves_begins_anew() {
        let steady = |place| window(place, 40.0, 40.0, 4.0);
        assert_eq!(frozen(&[steady(0), steady(1)]), []);
        assert_eq!(frozen(&[steady(0), steady(1), steady(5), steady(6)]), [(0, 5, 16.0)]);
        assert_eq!(frozen(&[steady(0), steady(1), window(2, 39.6, 40.0, 9.0), steady(3), steady(4)]), []);
        assert_eq!(frozen(&[steady(0), steady(1), window(2, 39.6, 39.6, 12.0), steady(3)]), [(2, 2, 12.0)]);
    }
}
