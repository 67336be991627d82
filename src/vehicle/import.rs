//! Files of an operator into the register: read as a stream, checked row by row, applied as one version.
//!
//! ```text
//! encoding (what the file is, hash) -> settle (which encoding, by its rows) -> sheet (header, rows; records below it for
//! text, archive and workbook for XLSX, `crate::mapping` for foreign names) -> rows (one type per dataset)
//! -> apply (one transaction; contradictions, difference, report)
//! ```
//!
//! - **A file is taken as the operator sees it**, and the same table in any form gives the same entries.
//! - Every row that the file shows is taken, refused with its number and a reason, or blank; [`accounts`] holds the sum, and
//!   an import of which it does not come out changes nothing.
//! - What would remove more of a dataset than a configured share waits for `--yes`.
//! - A row that is refused is named with its number and the reason and never stops the others, unless asked to.
//! - A file is a whole version: what it does not name is gone from the next version.
//! - Two rows for the same thing (plate and colour; station; ...) with the same content: the first is taken, the others
//!   are refused as repeats. With different content nothing tells which is right. Of a vehicle then every row is kept
//!   (`vehicle_contradictions`), and the one in force holds what all of them agree on, marked as contradictory: rules
//!   lack what is in dispute, and every finding waits for a person. Of an entry of a list what they agree on is taken, with
//!   the shorter of the intervals. Of anything else none is taken.
//! - Plates in use that carry one VIN (a cloned identity, or a plate nobody took back) are marked in the same way.
//! - Reasons name the column and what is wrong with it, never the cell: reports are passed around, plates are not.

pub mod accounts;
pub mod apply;
mod archive;
pub mod encoding;
pub mod fields;
pub mod inspections;
pub mod offline;
mod records;
pub mod rows;
pub mod settle;
pub mod sheet;
#[cfg(test)]
mod tables;
mod workbook;
#[cfg(test)]
pub(in crate::vehicle) use workbook::tests as workbook_tests;

use std::{fmt, str::FromStr};

/// What can be imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dataset {
    Vehicles,
    List(ListName),
    Zones,
    Stations,
    Devices,
    /// A journal of reports; its versions count the imports.
    Inspections,
}

/// `vehicles`, `list:retire_n3`: the key of versions, and the payload of notifications.
impl fmt::Display for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Dataset::Vehicles => f.write_str("vehicles"),
            Dataset::List(name) => write!(f, "{LIST_PREFIX}{name}"),
            Dataset::Zones => f.write_str("zones"),
            Dataset::Stations => f.write_str("stations"),
            Dataset::Devices => f.write_str("devices"),
            Dataset::Inspections => f.write_str("inspections"),
        }
    }
}

impl FromStr for Dataset {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "vehicles" => Dataset::Vehicles,
            "zones" => Dataset::Zones,
            "stations" => Dataset::Stations,
            "devices" => Dataset::Devices,
            other => match other.strip_prefix(LIST_PREFIX) {
                Some(name) => Dataset::List(ListName::parse(name)?),
                None => return Err("a dataset is vehicles, zones, stations, devices or list:NAME"),
            },
        })
    }
}

/// What the version key of a list begins with.
pub const LIST_PREFIX: &str = "list:";

/// Name of a list: 1..=40 lower-case letters, digits and underscores.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListName(Box<str>);

impl ListName {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let legal = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
        if text.is_empty() || text.len() > 40 || !text.bytes().all(legal) {
            return Err("a list name has 1 to 40 lower-case letters, digits and underscores");
        }
        Ok(Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ListName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A row that was not taken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefusedRow {
    /// Line of the file, the header being line 1; of zones, the number of the feature, from 1.
    pub row: u64,
    pub reason: String,
}

/// Refused rows kept with their reasons; further ones are only counted.
pub const MAX_REFUSED_KEPT: usize = 10_000;

/// Every refused row counted, the first [`MAX_REFUSED_KEPT`] kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    rows: Vec<RefusedRow>,
    count: u64,
}

impl Refusals {
    pub fn push(&mut self, row: u64, reason: impl Into<String>) {
        self.count += 1;
        if self.rows.len() < MAX_REFUSED_KEPT {
            self.rows.push(RefusedRow { row, reason: reason.into() });
        }
    }

    pub fn merge(&mut self, other: Refusals) {
        self.count += other.count;
        self.rows.extend(other.rows);
        self.rows.sort();
        self.rows.truncate(MAX_REFUSED_KEPT);
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    /// By row number.
    pub fn rows(&self) -> &[RefusedRow] {
        &self.rows
    }
}

/// Why a file could not be imported at all.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("read {path}")]
    Read { path: String, source: std::io::Error },
    #[error(transparent)]
    Encoding(#[from] encoding::EncodingError),
    #[error(transparent)]
    Header(#[from] sheet::HeaderError),
    #[error("{path} is not a GeoJSON feature collection: {why}")]
    NotGeoJson { path: String, why: String },
    #[error("{path} is not in the datum it is imported in: {why}")]
    OtherDatum { path: String, why: String },
    #[error("{path} line {line} is no warning: {why}")]
    NotAWarning { path: String, line: usize, why: String },
    #[error(transparent)]
    Workbook(#[from] workbook::WorkbookError),
    #[error("{0} are a journal, which has no versions to go back to: correct a report by importing it again")]
    Journal(&'static str),
    #[error("read the rows")]
    Rows(#[source] std::io::Error),
    #[error(
        "the file shows {rows} rows and the program accounts for {found} of them, which is a fault of the program; nothing \
         was changed"
    )]
    Miscounted { rows: u64, found: u64 },
    #[error("the database has no tables for the register; run `dieselwatch migrate` first")]
    NotMigrated,
    #[error("change the register")]
    Database(#[source] tokio_postgres::Error),
    #[error("the reader of the file stopped before its end")]
    ReaderGone,
    #[error("{dataset} has no version {version}; `dieselwatch import history {dataset}` shows those there are")]
    NoVersion { dataset: String, version: i32 },
    #[error("write the report {path}")]
    Report { path: String, source: std::io::Error },
}

impl From<tokio_postgres::Error> for ImportError {
    fn from(error: tokio_postgres::Error) -> Self {
        use tokio_postgres::error::SqlState;
        match error.code() {
            Some(&SqlState::UNDEFINED_TABLE | &SqlState::UNDEFINED_COLUMN) => Self::NotMigrated,
            _ => Self::Database(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn list_names() {
        assert!(ListName::parse("retire_n3").is_ok());
        for wrong in ["", "Retire", "a-b", "a'b", &"x".repeat(41)] {
            assert!(ListName::parse(wrong).is_err(), "{wrong}");
        }
        let name = ListName::parse("scrapped").expect("a name");
        assert_eq!(Dataset::List(name).to_string(), "list:scrapped");
        for name in ["vehicles", "zones", "stations", "devices", "list:scrapped"] {
            assert_eq!(name.parse::<Dataset>().map(|dataset| dataset.to_string()).as_deref(), Ok(name));
        }
        assert!("lists".parse::<Dataset>().is_err() && "list:A".parse::<Dataset>().is_err());
    }

    #[test]
    fn refusals_are_all_counted_and_the_first_kept() {
        let mut refusals = Refusals::default();
        for row in (0..MAX_REFUSED_KEPT as u64 + 5).rev() {
            refusals.push(row, "why");
        }
        let mut more = Refusals::default();
        more.push(1, "also");
        refusals.merge(more);
        assert_eq!(refusals.count(), MAX_REFUSED_KEPT as u64 + 6);
        assert_eq!(refusals.rows().len(), MAX_REFUSED_KEPT);
        assert!(refusals.rows().is_sorted());
    }
}
