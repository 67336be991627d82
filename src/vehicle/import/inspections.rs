//! Reports of inspection stations: a journal that grows, not a dataset that is replaced.
//!
//! A report is known by its number at its station. The same report again changes nothing; with another result or time it is
//! a correction, kept as the next revision of the report. What a correction replaced and somebody sends again is refused
//! by name, because taking it would undo the correction, and an old file left in a folder must not do that. A number that
//! comes again for another vehicle, of another kind, in another year or at another station moves nothing by itself: it is a
//! conflict that a person decides; see [`journal`] for the rule and [`decide`] for the decision.
//!
//! **While a conflict is open** the report that came first holds, and both reports count as rechecks of both vehicles where
//! they say that one was passed: whatever could be read in two ways accuses nobody. So a series that either report would
//! interrupt is not made (one that was made is withdrawn) and comes, with its event, when the decision does not stand in
//! its way. Why it is not made with a note that it waits: a finding in a list is half an accusation, and the one that has
//! to be looked at is the conflict, not the driver.
//!
//! **Follow-up.** The transaction that stores a report or a conflict, or decides one, leaves an evaluation task for each
//! vehicle it concerns. A report can only end series and never begins one, so it is an innocent fact in the sense of
//! `evaluate::tasks`: it needs a task only where the vehicle is of interest, asked after the report was written.

pub mod decide;
pub mod journal;
mod number;
mod store;

use std::collections::{HashMap, HashSet};

pub use store::{Origin, Stored, store};

use super::{
    Refusals,
    fields::{self, DateCounts},
    sheet::{Cells, Columns},
};
use crate::{
    judge::limits::InspectionKind,
    reading::{PlateKey, Timestamp},
};

/// Rows stored in one transaction: some tens of milliseconds, because evaluation waits for transactions under way.
pub const BATCH: usize = 2_000;

/// One report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InspectionRow {
    pub station: Box<str>,
    pub report_no: Box<str>,
    pub key: PlateKey,
    pub inspected_at: Timestamp,
    /// The report names a day only; `inspected_at` is the last moment of it.
    pub whole_day: bool,
    pub kind: InspectionKind,
    pub passed: bool,
}

impl InspectionRow {
    pub const HEADER: Columns = Columns {
        required: &["plate", "plate_color", "inspected_at", "kind", "result", "report_no"],
        optional: &["station_id", "inspection_station"],
    };
    pub const KEY_WORDS: &'static str = "station and report number";

    /// The reason of a refusal names the column.
    pub fn parse(cells: &Cells) -> Result<Self, String> {
        let key = fields::plate_key(cells)?;
        let (inspected_at, whole_day) = moment(cells)?;
        let kind = fields::optional(cells, "kind", "one of annual, new, transfer_in, comparison, recheck", |cell| {
            InspectionKind::parse(&cell.to_ascii_lowercase())
        })?
        .ok_or("kind: is empty")?;
        let passed = fields::optional(cells, "result", "pass or fail", |cell| match cell {
            "合格" => Some(true),
            "不合格" => Some(false),
            other => match other.to_ascii_lowercase().as_str() {
                "pass" => Some(true),
                "fail" => Some(false),
                _ => None,
            },
        })?
        .ok_or("result: is empty")?;
        let report_no = fields::text(cells, "report_no")?.ok_or("report_no: is empty")?;
        number::check(&report_no)?;
        Ok(Self { station: station(cells)?, report_no, key, inspected_at, whole_day, kind, passed })
    }

    /// Tells a repeat from a correction.
    pub fn content_hash(&self) -> i64 {
        let Self { key, inspected_at, whole_day, kind, passed, .. } = self;
        let content = format!("{}/{}/{whole_day}/{}/{passed}", key.as_i64(), inspected_at.micros(), kind.name());
        xxhash_rust::xxh3::xxh3_64(content.as_bytes()) as i64
    }
}

/// Exports name the inspection station either way.
fn station(cells: &Cells) -> Result<Box<str>, String> {
    match (fields::text(cells, "station_id")?, fields::text(cells, "inspection_station")?) {
        (Some(a), Some(b)) if a != b => Err("inspection_station: contradicts station_id".into()),
        (Some(station), _) | (None, Some(station)) => Ok(station),
        (None, None) => Err("station_id: is empty, and so is inspection_station".into()),
    }
}

/// A day without a time of day is kept as its last moment and marked, because it may mean any of that day; see
/// `evaluate::episode`.
fn moment(cells: &Cells) -> Result<(Timestamp, bool), String> {
    let start = fields::time(cells, "inspected_at", DateCounts::FromItsStart)?.ok_or("inspected_at: is empty")?;
    let end = fields::time(cells, "inspected_at", DateCounts::ToItsEnd)?.ok_or("inspected_at: is empty")?;
    Ok(if start == end { (start, false) } else { (Timestamp::from_micros(end.micros() - 1), true) })
}

/// Takes out rows that repeat another row of the file; of repeats the first stays. Rows of one report that say different
/// things are all kept, next to each other, because each of them may be the right one.
pub fn refuse_repeats(rows: Vec<(u64, InspectionRow)>, refusals: &mut Refusals) -> Vec<(u64, InspectionRow)> {
    let key = |row: &InspectionRow| (row.station.clone(), row.report_no.clone());
    let mut firsts: HashMap<_, Vec<(u64, i64)>> = HashMap::with_capacity(rows.len());
    let mut found = Refusals::default();
    let mut taken = Vec::with_capacity(rows.len());
    for (number, row) in rows {
        let content_hash = row.content_hash();
        let versions = firsts.entry(key(&row)).or_default();
        match versions.iter().find(|(_, known)| *known == content_hash) {
            Some((first, _)) => found.push(number, format!("repeats row {first}")),
            None => {
                versions.push((number, content_hash));
                taken.push((number, row));
            }
        }
    }
    refusals.merge(found);
    // Stable, so that rows of one report stay in the order of the file, behind the place of the first.
    taken.sort_by_key(|(number, row)| {
        firsts.get(&key(row)).and_then(|all| all.first()).map_or(*number, |first| first.0)
    });
    taken
}

/// The rows of which another row has the same station and number; no content comes twice.
fn disputed(rows: &[(u64, InspectionRow)]) -> HashSet<u64> {
    let mut by_number: HashMap<(&str, &str), Vec<u64>> = HashMap::with_capacity(rows.len());
    for (number, row) in rows {
        by_number.entry((&row.station, &row.report_no)).or_default().push(*number);
    }
    by_number.into_values().filter(|numbers| numbers.len() > 1).flatten().collect()
}

/// Parts of about [`BATCH`] rows; rows of one report are in one part.
pub fn batches(rows: &[(u64, InspectionRow)]) -> impl Iterator<Item = &[(u64, InspectionRow)]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let same = |place: usize| match (rest.get(place - 1), rest.get(place)) {
            (Some((_, a)), Some((_, b))) => (&a.station, &a.report_no) == (&b.station, &b.report_no),
            _ => false,
        };
        let mut end = rest.len().min(BATCH);
        while end > 0 && same(end) {
            end += 1;
        }
        let (batch, behind) = rest.split_at_checked(end)?;
        rest = behind;
        (!batch.is_empty()).then_some(batch)
    })
}

/// The reports of a file without a database.
#[derive(Debug, Default)]
pub struct Reports {
    pub hold: Vec<InspectionRow>,
    /// What may be true of a vehicle as long as nobody decided.
    pub undecided: Vec<(PlateKey, InspectionRow)>,
}

impl Reports {
    /// What the rows come to, as an import into an empty database would have it; `conflicts` names those that wait.
    pub fn of(rows: Vec<(u64, InspectionRow)>, conflicts: &mut Refusals) -> Self {
        let disputed = disputed(&rows);
        let mut known = journal::Journal::default();
        let mut reports = Self::default();
        for (number, row) in rows {
            match known.take(&row, disputed.contains(&number)) {
                journal::Step::Contradicts(first, what) => {
                    let both = journal::undecided(&first.row, &row);
                    reports.undecided.extend(both.map(|(key, row)| (key, row.clone())));
                    conflicts.push(number, store::contradicts(&what));
                }
                _ => reports.hold.push(row),
            }
        }
        reports
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::vehicle::import::{
        accounts::ReadSummary,
        encoding::{Form, TextEncoding},
        sheet::{Reading, Sheet},
    };

    fn rows(text: &str) -> (Vec<(u64, InspectionRow)>, Refusals) {
        let mut file = tempfile::NamedTempFile::new().expect("a scratch file");
        file.write_all(text.as_bytes()).expect("written");
        let mut sheet =
            Sheet::open(file.path(), Form::Text(TextEncoding::Utf8), &Reading::default(), InspectionRow::HEADER)
                .expect("a sheet");
        let (mut taken, mut read) = (Vec::new(), ReadSummary::default());
        let keep = |number, row| {
            taken.push((number, row));
            true
        };
        sheet.read(InspectionRow::parse, &mut read, keep).expect("rows");
        let taken = refuse_repeats(taken, &mut read.refusals);
        (taken, read.refusals)
    }

    const HEADER: &str = "plate,plate_color,station_id,inspected_at,kind,result,report_no\n";

    #[test]
    fn a_day_without_a_time_counts_at_its_end_and_codes_are_names() {
        let (taken, refusals) = rows(&format!(
            "{HEADER}鲁C12345,yellow,i-1,2026-03-05,recheck,pass,A1\n鲁C12345,黄,i-1,2026-03-05 10:20:00,1,不合格,A2\n"
        ));
        assert_eq!(refusals.count(), 0);
        assert_eq!(taken[0].1.inspected_at.to_string(), "2026-03-05T23:59:59.999999+08:00");
        assert!(taken[0].1.whole_day && taken[0].1.passed);
        assert_eq!(taken[1].1.inspected_at.to_string(), "2026-03-05T10:20:00+08:00");
        assert_eq!((taken[1].1.kind, taken[1].1.passed, taken[1].1.whole_day), (InspectionKind::Annual, false, false));
    }

    #[test]
    fn bad_rows_are_named_and_harm_no_other() {
        let (taken, refusals) = rows(&format!(
            "{HEADER}鲁C12345,yellow,i-1,2026-03-05,recheck,pass,A1\n\
             鲁C12345,yellow,,2026-03-05,recheck,pass,A2\n\
             鲁C12345,yellow,i-1,2026-03-05,visit,pass,A3\n\
             鲁C12345,yellow,i-1,2026-03-05,recheck,maybe,A4\n\
             鲁C12345,yellow,i-1,2026-03-05,recheck,pass,\n\
             鲁C12345,yellow,i-1,,recheck,pass,A5\n"
        ));
        assert_eq!(taken.len(), 1);
        let reasons: Vec<&str> = refusals.rows().iter().map(|refused| refused.reason.as_str()).collect();
        for (reason, column) in reasons.iter().zip(["station_id", "kind", "result", "report_no", "inspected_at"]) {
            assert!(reason.starts_with(column), "{reason}");
        }
    }

    #[test]
    fn repeats_are_refused_and_what_contradicts_is_kept_side_by_side() {
        let row = |result: &str, report: &str| format!("鲁C12345,yellow,i-1,2026-03-05,recheck,{result},{report}\n");
        let text = [("pass", "A1"), ("pass", "A2"), ("fail", "A1"), ("pass", "A2")].map(|(a, b)| row(a, b)).concat();
        let (taken, refusals) = rows(&[HEADER.to_owned(), text].concat());
        assert_eq!(taken.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [2, 4, 3]);
        assert_eq!(refusals.rows().iter().map(|refused| refused.row).collect::<Vec<_>>(), [5]);
        let mut conflicts = Refusals::default();
        let reports = Reports::of(taken, &mut conflicts);
        assert_eq!((reports.hold.len(), reports.undecided.len(), conflicts.count()), (2, 1, 1));
        assert!(conflicts.rows()[0].row == 4 && conflicts.rows()[0].reason.contains("in this file"));
    }

    #[test]
    fn one_report_is_never_split_between_batches() {
        let (taken, _) = rows(&format!("{HEADER}鲁C12345,yellow,i-1,2026-03-05,recheck,pass,A1\n"));
        let row =
            |number: u64, report: &str| (number, InspectionRow { report_no: report.into(), ..taken[0].1.clone() });
        let mut all: Vec<_> = (0..BATCH as u64 - 1).map(|number| row(number, &format!("B{number}"))).collect();
        all.extend((0..3).map(|number| row(9_000 + number, "C")));
        all.push(row(9_999, "D"));
        assert_eq!(batches(&all).map(<[_]>::len).collect::<Vec<_>>(), [BATCH + 2, 1]);
        assert_eq!(batches(&[]).count(), 0);
    }

    #[test]
    fn a_number_that_identifies_no_report_refuses_its_row() {
        let (taken, refusals) = rows(&format!(
            "{HEADER}鲁C66601,yellow,I7,2026-06-10 10:00:00,recheck,pass,3.70306E+18\n\
             鲁C66602,yellow,I7,2026-06-11 10:00:00,recheck,pass,无\n"
        ));
        assert!(taken.is_empty());
        assert!(refusals.rows().iter().all(|refused| refused.reason.starts_with("report_no: ")), "{refusals:?}");
    }
}
