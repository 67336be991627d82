//! What became of every row of a file, and the check that none is missing.

use super::{ImportError, Refusals};

/// What the reader of the file found besides entries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadSummary {
    /// Rows that the file shows below its header, blank ones too; of zones, features.
    pub rows: u64,
    pub blank: Blank,
    pub refusals: Refusals,
    /// Rows kept and flagged because another row, or they themselves, say otherwise.
    pub contradictions: Refusals,
    /// Rows that are part of an entry which another row began: contradicting rows are one entry.
    pub merged: u64,
    /// Rows taken in which something may not be what was written.
    pub doubts: Refusals,
}

impl ReadSummary {
    /// Rows that are in an entry.
    pub fn taken(&self) -> u64 {
        self.rows.saturating_sub(self.refusals.count() + self.blank.count())
    }

    /// Rows seen are rows taken, refused and blank; those taken make so many entries. Anything else is a fault of the
    /// program, by which a vehicle could vanish in silence, so nothing may come of such a reading.
    pub fn balance(&self, entries: u64) -> Result<(), ImportError> {
        let Self { rows, blank, refusals, merged, .. } = self;
        let found = entries + merged + refusals.count() + blank.count();
        if found == *rows { Ok(()) } else { Err(ImportError::Miscounted { rows: *rows, found }) }
    }

    /// `200 rows seen: 197 taken as 196 entries, 2 refused, 1 blank (row 17)`.
    pub fn line(&self) -> String {
        let taken = self.taken();
        let entries = match self.merged {
            0 => String::new(),
            merged => format!(" as {} entries", taken.saturating_sub(merged)),
        };
        let mut line = format!("{} rows seen: {taken} taken{entries}, {} refused", self.rows, self.refusals.count());
        if self.blank.count() > 0 {
            line += &format!(", {} blank ({})", self.blank.count(), self.blank);
        }
        line
    }
}

/// Rows without a single character, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Blank {
    count: u64,
    /// The first runs of them.
    runs: Vec<(u64, u64)>,
}

/// Runs of blank rows that are named.
const RUNS_NAMED: usize = 10;

impl Blank {
    pub fn push(&mut self, first: u64, last: u64) {
        self.count += last - first + 1;
        let more = self.runs.len() <= RUNS_NAMED;
        match self.runs.last_mut() {
            Some((_, end)) if *end + 1 == first => *end = last,
            _ if more => self.runs.push((first, last)),
            _ => {}
        }
    }

    pub fn count(&self) -> u64 {
        self.count
    }
}

impl std::fmt::Display for Blank {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let named: Vec<String> = self
            .runs
            .iter()
            .take(RUNS_NAMED)
            .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
            .collect();
        let more = if self.runs.len() > RUNS_NAMED { ", ..." } else { "" };
        write!(f, "row {}{more}", named.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_that_is_nowhere_is_noticed() {
        let mut read = ReadSummary { rows: 10, merged: 1, ..ReadSummary::default() };
        read.blank.push(4, 5);
        read.blank.push(6, 6);
        read.blank.push(9, 9);
        read.refusals.push(2, "why");
        assert_eq!(read.line(), "10 rows seen: 5 taken as 4 entries, 1 refused, 4 blank (row 4-6, 9)");
        assert!(read.balance(4).is_ok());
        let missing = read.balance(3).expect_err("one row is nowhere").to_string();
        assert!(missing.contains("10 rows") && missing.contains('9'), "{missing}");
    }
}
