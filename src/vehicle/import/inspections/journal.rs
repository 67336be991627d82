//! What is known of each report, and what one more row makes of it. Pure.
//!
//! **Which rows are the same report.** The same station and number, and also the same vehicle (plate and colour), the same
//! kind of inspection and the same calendar year in China. Then another result or time is the station's own correction. Where
//! one of these differs the row can be read in two ways (a mistake corrected, or another report whose number is not
//! unique), so it is read in none: it is kept as a conflict and the report that came first holds until a person decides.
//! The year stands in there because numbering restarts with it. The same holds for two rows of one file, because nothing
//! tells which of them is the later one, and for the same number, vehicle and day under another station.
//!
//! **A number given twice.** A person may decide that both reports hold. The second is then another *edition* of the number,
//! and a later row corrects the edition that is the same report by the rule above.

use std::collections::HashMap;

use chrono::{Datelike as _, NaiveDate};

use super::InspectionRow;
use crate::reading::PlateKey;

/// One revision of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    pub edition: i32,
    pub revision: i32,
    /// By decision it holds under this station no more.
    pub withdrawn: bool,
    pub row: InspectionRow,
}

/// A conflict that was made of a row with this content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    Open,
    Decided,
}

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    New,
    Repeat,
    /// Repeats what a later correction, or a decision, replaced.
    Stale,
    /// The next revision of this one.
    Corrects(Box<Revision>),
    /// Is kept as a conflict already.
    Known(Kept, i64),
    /// Contradicts this report in what is named.
    Contradicts(Box<Revision>, Vec<&'static str>),
}

/// What the row of a conflict says otherwise than the report that holds.
pub mod differs {
    pub const VEHICLE: &str = "vehicle";
    pub const KIND: &str = "kind";
    pub const YEAR: &str = "year";
    pub const STATION: &str = "station";
    /// Of the same report, in one file.
    pub const SAME_FILE: &str = "same_file";
}

#[derive(Default)]
struct Report {
    /// Oldest first within an edition.
    revisions: Vec<Revision>,
    /// By content.
    kept: HashMap<i64, (Kept, i64)>,
}

impl Report {
    /// The highest revision of every edition.
    fn newest(&self) -> impl Iterator<Item = &Revision> {
        self.revisions.iter().filter(|one| {
            !self.revisions.iter().any(|other| other.edition == one.edition && other.revision > one.revision)
        })
    }
}

type Number = (Box<str>, Box<str>);
type Seen = (Box<str>, PlateKey, NaiveDate);

#[derive(Default)]
pub struct Journal {
    reports: HashMap<Number, Report>,
    /// Stations at which a number was given to a vehicle on a day.
    stations: HashMap<Seen, Vec<Box<str>>>,
}

fn number(row: &InspectionRow) -> Number {
    (row.station.clone(), row.report_no.clone())
}

fn seen(row: &InspectionRow) -> Seen {
    (row.report_no.clone(), row.key, row.inspected_at.china_day())
}

impl Journal {
    /// Adds what is stored, of each report the oldest revision first.
    pub fn know(&mut self, revision: Revision) {
        let stations = self.stations.entry(seen(&revision.row)).or_default();
        if !stations.contains(&revision.row.station) {
            stations.push(revision.row.station.clone());
        }
        let report = self.reports.entry(number(&revision.row)).or_default();
        let is_known = |known: &Revision| (known.edition, known.revision) == (revision.edition, revision.revision);
        if !report.revisions.iter().any(is_known) {
            report.revisions.push(revision);
        }
    }

    /// Adds a conflict that is stored.
    pub fn know_conflict(&mut self, station: &str, report_no: &str, content_hash: i64, kept: Kept, id: i64) {
        let report = self.reports.entry((station.into(), report_no.into())).or_default();
        report.kept.insert(content_hash, (kept, id));
    }

    /// What becomes of a row; `disputed` where another row of its file has the same station and number and other content.
    /// What it becomes is known from then on.
    pub fn take(&mut self, row: &InspectionRow, disputed: bool) -> Step {
        let step = self.step(row, disputed);
        match &step {
            Step::New => self.know(Revision { edition: 1, revision: 1, withdrawn: false, row: row.clone() }),
            Step::Corrects(last) => {
                let revision = last.revision + 1;
                self.know(Revision { edition: last.edition, revision, withdrawn: false, row: row.clone() });
            }
            Step::Contradicts(..) => {
                // Its number is given by the store; nobody asks for it in the same batch, where no content comes twice.
                self.know_conflict(&row.station, &row.report_no, row.content_hash(), Kept::Open, 0);
            }
            Step::Repeat | Step::Stale | Step::Known(..) => {}
        }
        step
    }

    fn step(&self, row: &InspectionRow, disputed: bool) -> Step {
        let hash = row.content_hash();
        let Some(report) = self.reports.get(&number(row)) else { return self.of_new(row) };
        if report.newest().any(|last| !last.withdrawn && last.row.content_hash() == hash) {
            return Step::Repeat;
        }
        if let Some(&(Kept::Open, id)) = report.kept.get(&hash) {
            return Step::Known(Kept::Open, id);
        }
        if report.revisions.iter().any(|revision| revision.row.content_hash() == hash) {
            return Step::Stale;
        }
        if let Some(&(kept, id)) = report.kept.get(&hash) {
            return Step::Known(kept, id);
        }
        let same = report.newest().find(|last| !last.withdrawn && differences(&last.row, row).is_empty());
        match same {
            Some(last) if !disputed => Step::Corrects(Box::new(last.clone())),
            Some(last) => Step::Contradicts(Box::new(last.clone()), vec![differs::SAME_FILE]),
            None => match report.newest().max_by_key(|last| (!last.withdrawn, last.edition)) {
                Some(last) => Step::Contradicts(Box::new(last.clone()), differences(&last.row, row)),
                None => self.of_new(row),
            },
        }
    }

    /// A number that this station has not given yet.
    fn of_new(&self, row: &InspectionRow) -> Step {
        let stations = self.stations.get(&seen(row)).map(Vec::as_slice).unwrap_or_default();
        let elsewhere = stations.iter().filter(|station| **station != row.station);
        let mut found = elsewhere.flat_map(|station| {
            let report = self.reports.get(&(station.clone(), row.report_no.clone()));
            report.into_iter().flat_map(Report::newest)
        });
        match found.find(|last| !last.withdrawn && seen(&last.row) == seen(row)) {
            Some(last) => {
                let mut what = vec![differs::STATION];
                what.extend(differences(&last.row, row));
                Step::Contradicts(Box::new(last.clone()), what)
            }
            None => Step::New,
        }
    }
}

/// Why two rows with one number are not the same report.
fn differences(first: &InspectionRow, second: &InspectionRow) -> Vec<&'static str> {
    let year = |row: &InspectionRow| row.inspected_at.china_day().year();
    let all = [
        (differs::VEHICLE, first.key != second.key),
        (differs::KIND, first.kind != second.kind),
        (differs::YEAR, year(first) != year(second)),
    ];
    all.into_iter().filter_map(|(what, so)| so.then_some(what)).collect()
}

/// While two reports contradict each other, either may be true of either vehicle: every recheck that ends the series of a
/// vehicle for as long as nobody decided. What the first says of its own vehicle holds anyway and is left out.
pub fn undecided<'r>(
    first: &'r InspectionRow,
    second: &'r InspectionRow,
) -> impl Iterator<Item = (PlateKey, &'r InspectionRow)> {
    let both = [(first.key, second), (second.key, second), (second.key, first)];
    let same = first.key == second.key;
    both.into_iter().take(if same { 1 } else { 3 })
}

#[cfg(test)]
mod tests;
