//! What the stored records of one terminal say together: windows, days, and the alarms they make.
//!
//! A day in China is cut into **windows** of ten minutes. Whoever stores a reading leaves a task for the windows it
//! belongs to; the evaluator reads the rows of those windows again, condenses each to a few numbers ([`facts`], a pure
//! function of the rows), keeps them in `terminal_window`, and decides the day from the facts of its windows ([`day`],
//! pure as well). So the work follows what arrived, never the length of a day; a late packet changes its windows and their
//! day and nothing else; and a restart, a second replica or a resend finds the same rows and says the same.
//!
//! Decisions:
//!
//! - **Windows by the clock**, not sliding ones and not trips: a terminal that never falls silent has no gap to stand in,
//!   and a window that depends on where another began would move with every late packet.
//! - **An alarm lies in one day.** That bounds what is read and what a finding can grow to. Jumps look back to the last
//!   record of the day before, and belong to the day they lead into.
//! - **An alarm is named by the window that convicted**, like an episode by its test: it grows at its end under the same
//!   name, and another beginning is another alarm.
//! - **Missing inputs** (too few valid seconds, no reference torque, no serials) neither raise nor end anything; the day's
//!   row says which rule was undetermined and why.
//! - **Rows are only ever added, except by retention.** A window of which fewer rows are found than were counted before has
//!   lost them to retention; what was counted stands.

pub mod alarms;
pub mod day;
pub mod evaluator;
pub mod facts;
mod jumps;
mod load;
mod presence;
pub mod record;
pub mod runs;
mod steady;
mod store;

#[cfg(test)]
mod tests;

use crate::reading::{Timestamp, time::CHINA_OFFSET_SECONDS};

/// Length of a window. Divides a day and an hour, so that windows keep within both.
pub const WINDOW_SECONDS: i64 = 600;

/// Start of the window that holds `at`.
pub fn window_of(at: Timestamp) -> Timestamp {
    // China is whole hours from UTC, so windows by its clock are windows by UTC.
    const { assert!(CHINA_OFFSET_SECONDS as i64 % WINDOW_SECONDS == 0) };
    let micros = WINDOW_SECONDS * 1_000_000;
    Timestamp::from_micros(at.micros().div_euclid(micros) * micros)
}

/// Midnight in China before `at`.
pub fn day_of(at: Timestamp) -> Timestamp {
    Timestamp::from_china_naive(at.china_day().and_time(chrono::NaiveTime::MIN))
}

pub const DAY_SECONDS: i64 = 86_400;
