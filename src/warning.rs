//! Heavy-pollution warnings: which level was in force when.
//!
//! A vehicle is judged by the warnings in force when it passed, not by those in force when its reading arrived: a late
//! reading from within a warning is a breach after the warning was lifted, and an early one is none. What a level forbids
//! to whom stands in the table of rules ([`crate::judge`]); here is only the calendar.
//!
//! Levels are not exclusive. Where a yellow and a red warning overlap both are in force, and lifting the red one leaves
//! the yellow one. Two warnings of one level may not overlap, because lifting one would then lift nothing ([`ledger`]).

pub mod ledger;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::reading::Timestamp;

/// Levels in rising order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Yellow,
    Orange,
    Red,
}

impl Level {
    pub const ALL: [Level; 3] = [Level::Yellow, Level::Orange, Level::Red];

    pub const fn name(self) -> &'static str {
        match self {
            Level::Yellow => "yellow",
            Level::Orange => "orange",
            Level::Red => "red",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|level| level.name() == name)
    }
}

/// A warning as it stands now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    pub id: i64,
    /// Acts about it so far.
    pub revision: i32,
    pub level: Level,
    /// First instant in force.
    pub issued_at: Timestamp,
    /// First instant no longer in force; `None` while it is not lifted.
    pub lifted_at: Option<Timestamp>,
    pub document_no: Option<Box<str>>,
}

impl Warning {
    pub fn in_force(&self, at: Timestamp) -> bool {
        self.issued_at <= at && self.lifted_at.is_none_or(|lifted| at < lifted)
    }
}

/// One version of all warnings, past ones included. Immutable.
#[derive(Debug, Default)]
pub struct Warnings {
    version: i32,
    warnings: Box<[Warning]>,
    /// From each instant on (ascending), which warnings are in force. A passage asks once, and years of warnings
    /// are a few hundred instants.
    spans: Box<[(Timestamp, SmallVec<[u32; 2]>)]>,
}

impl Warnings {
    pub fn new(version: i32, warnings: impl IntoIterator<Item = Warning>) -> Self {
        let mut warnings: Box<[Warning]> = warnings.into_iter().collect();
        warnings.sort_by_key(|warning| (warning.issued_at, warning.id));
        let mut instants: Vec<Timestamp> =
            warnings.iter().flat_map(|warning| std::iter::once(warning.issued_at).chain(warning.lifted_at)).collect();
        instants.sort_unstable();
        instants.dedup();
        let in_force = |at| (0_u32..).zip(&warnings).filter(|(_, w)| w.in_force(at)).map(|(place, _)| place).collect();
        let spans = instants.iter().map(|&at| (at, in_force(at))).collect();
        Self { version, warnings, spans }
    }

    /// From acts in any order, each the warning as it stood after it and whether it was withdrawn by then: the last act of
    /// each warning counts.
    pub fn of_acts(version: i32, acts: impl IntoIterator<Item = (Warning, bool)>) -> Self {
        let mut last: BTreeMap<i64, (Warning, bool)> = BTreeMap::new();
        for act in acts {
            if last.get(&act.0.id).is_none_or(|known| known.0.revision < act.0.revision) {
                last.insert(act.0.id, act);
            }
        }
        Self::new(version, last.into_values().filter(|(_, withdrawn)| !withdrawn).map(|(warning, _)| warning))
    }

    /// The warnings in force at that time, in the order of their issue.
    pub fn in_force(&self, at: Timestamp) -> impl Iterator<Item = &Warning> {
        let begun = self.spans.partition_point(|(from, _)| *from <= at);
        let span = begun.checked_sub(1).and_then(|last| self.spans.get(last));
        let places = span.map(|(_, places)| places.as_slice()).unwrap_or_default();
        places.iter().filter_map(|&place| self.warnings.get(place as usize))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Warning> {
        self.warnings.iter()
    }

    /// Version of the dataset; 0 when there was never a warning.
    pub fn version(&self) -> i32 {
        self.version
    }

    pub fn len(&self) -> usize {
        self.warnings.len()
    }

    pub fn is_empty(&self) -> bool {
        self.warnings.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hour(hour: i64) -> Timestamp {
        Timestamp::EPOCH.plus_seconds(hour * 3600)
    }

    fn warning(id: i64, level: Level, from: i64, to: Option<i64>) -> Warning {
        Warning { id, revision: 1, level, issued_at: hour(from), lifted_at: to.map(hour), document_no: None }
    }

    #[test]
    fn the_issue_belongs_to_it_and_the_lifting_does_not() {
        let warnings = Warnings::new(3, [warning(1, Level::Orange, 10, Some(20)), warning(2, Level::Yellow, 15, None)]);
        let ids = |at: Timestamp| warnings.in_force(at).map(|w| w.id).collect::<Vec<_>>();
        assert_eq!(ids(hour(10).plus_seconds(-1)), [0; 0]);
        assert_eq!(ids(hour(10)), [1]);
        assert_eq!(ids(hour(15)), [1, 2]);
        assert_eq!(ids(hour(20).plus_seconds(-1)), [1, 2]);
        assert_eq!(ids(hour(20)), [2]);
        assert_eq!(ids(hour(10_000)), [2]);
    }

    proptest! {
        #[test]
        fn spans_say_what_each_warning_says(
            given in prop::collection::vec((0..3_usize, 0..40_i64, prop::option::of(1..20_i64)), 0..12),
            at in -2..70_i64,
        ) {
            let all: Vec<Warning> = (1..).zip(&given)
                .map(|(id, (level, from, length))| warning(id, Level::ALL[*level], *from, length.map(|l| from + l)))
                .collect();
            let mut expected: Vec<i64> = all.iter().filter(|w| w.in_force(hour(at))).map(|w| w.id).collect();
            expected.sort_unstable();
            let warnings = Warnings::new(1, all);
            let mut found: Vec<i64> = warnings.in_force(hour(at)).map(|w| w.id).collect();
            prop_assert!(warnings.in_force(hour(at)).is_sorted_by_key(|w| w.issued_at));
            found.sort_unstable();
            prop_assert_eq!(found, expected);
        }
    }
}
