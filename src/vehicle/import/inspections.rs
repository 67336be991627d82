//! Reports of inspection stations: a journal that grows, not a dataset that is replaced.
//!
//! A report is known by its number at its station. The same report again changes nothing; with other content it is a
//! correction, kept as the next revision of the report. What a correction replaced and somebody sends again is refused
//! by name, because taking it would undo the correction, and an old file left in a folder must not do that.
//!
//! **Follow-up.** The transaction that stores a report leaves an evaluation task for its vehicle, and for the one that a
//! correction takes it from. A report can only end series and never begins one, so it is an innocent fact in the sense of
//! `evaluate::tasks`: it needs a task only where the vehicle is of interest, asked after the report was written.

use std::collections::HashMap;

use tokio_postgres::Transaction;

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

/// Serialises imports of reports, so that two corrections of one report get two revisions.
const LOCK: i64 = 0x6477_696e_7370;

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
        Ok(Self { station: station(cells)?, report_no, key, inspected_at, whole_day, kind, passed })
    }

    /// Tells a repeat from a correction.
    fn content_hash(&self) -> i64 {
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

/// Who imports, and the file.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    pub imported_by: &'a str,
    pub sha256: [u8; 32],
}

/// What became of the rows of one transaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    pub added: i64,
    pub corrected: i64,
    pub repeated: i64,
    /// Rows that repeat what a correction replaced.
    pub stale: Refusals,
    pub tasks: u64,
}

/// Stores reports that are not there yet, with the tasks they lead to. No two rows may have one key.
pub async fn store(
    transaction: &Transaction<'_>,
    origin: Origin<'_>,
    rows: &[(u64, InspectionRow)],
) -> Result<Stored, tokio_postgres::Error> {
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    let known = known(transaction, rows).await?;
    let mut stored = Stored::default();
    let mut new: Vec<(&InspectionRow, i32)> = Vec::new();
    let mut touched: Vec<(i64, Timestamp)> = Vec::new();
    for (number, row) in rows {
        let hash = row.content_hash();
        let revisions = known.get(&(&*row.station, &*row.report_no)).map(Vec::as_slice).unwrap_or_default();
        match revisions.last() {
            Some(last) if last.content_hash == hash => {
                stored.repeated += 1;
                continue;
            }
            Some(_) if revisions.iter().any(|revision| revision.content_hash == hash) => {
                stored.stale.push(*number, "repeats what a later correction of this report replaced");
                continue;
            }
            Some(last) => {
                stored.corrected += 1;
                touched.push((last.plate_key, last.inspected_at));
                new.push((row, last.revision + 1));
            }
            None => {
                stored.added += 1;
                new.push((row, 1));
            }
        }
        touched.push((row.key.as_i64(), row.inspected_at));
    }
    if !new.is_empty() {
        insert(transaction, origin, &new).await?;
        stored.tasks = leave_tasks(transaction, &touched).await?;
    }
    Ok(stored)
}

/// A revision that is stored already.
struct Revision {
    revision: i32,
    content_hash: i64,
    plate_key: i64,
    inspected_at: Timestamp,
}

/// Every revision of the rows' reports, oldest first.
async fn known<'r>(
    transaction: &Transaction<'_>,
    rows: &'r [(u64, InspectionRow)],
) -> Result<HashMap<(&'r str, &'r str), Vec<Revision>>, tokio_postgres::Error> {
    let station: Vec<&str> = rows.iter().map(|(_, row)| &*row.station).collect();
    let report: Vec<&str> = rows.iter().map(|(_, row)| &*row.report_no).collect();
    let found = transaction
        .query(
            "SELECT u.place, i.revision, i.content_hash, i.plate_key, i.inspected_at \
             FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS u (station, report_no, place) \
             JOIN inspection i USING (station, report_no) ORDER BY u.place, i.revision",
            &[&station, &report],
        )
        .await?;
    let mut known: HashMap<_, Vec<Revision>> = HashMap::new();
    for row in &found {
        let place = usize::try_from(row.get::<_, i64>(0) - 1).ok();
        let Some((_, of)) = place.and_then(|place| rows.get(place)) else { continue };
        known.entry((&*of.station, &*of.report_no)).or_default().push(Revision {
            revision: row.get(1),
            content_hash: row.get(2),
            plate_key: row.get(3),
            inspected_at: row.get(4),
        });
    }
    Ok(known)
}

async fn insert(
    transaction: &Transaction<'_>,
    origin: Origin<'_>,
    new: &[(&InspectionRow, i32)],
) -> Result<(), tokio_postgres::Error> {
    let station: Vec<&str> = new.iter().map(|(row, _)| &*row.station).collect();
    let report: Vec<&str> = new.iter().map(|(row, _)| &*row.report_no).collect();
    let revision: Vec<i32> = new.iter().map(|(_, revision)| *revision).collect();
    let key: Vec<i64> = new.iter().map(|(row, _)| row.key.as_i64()).collect();
    let at: Vec<Timestamp> = new.iter().map(|(row, _)| row.inspected_at).collect();
    let whole_day: Vec<bool> = new.iter().map(|(row, _)| row.whole_day).collect();
    let kind: Vec<&str> = new.iter().map(|(row, _)| row.kind.name()).collect();
    let passed: Vec<bool> = new.iter().map(|(row, _)| row.passed).collect();
    let hash: Vec<i64> = new.iter().map(|(row, _)| row.content_hash()).collect();
    transaction
        .execute(
            "INSERT INTO inspection (station, report_no, revision, plate_key, inspected_at, whole_day, kind, passed, \
               content_hash, imported_by, file_sha256) \
             SELECT u.*, $10, $11 FROM unnest($1::text[], $2::text[], $3::int4[], $4::int8[], $5::timestamptz[], \
             $6::bool[], $7::text[], $8::bool[], $9::int8[]) AS u",
            &[
                &station,
                &report,
                &revision,
                &key,
                &at,
                &whole_day,
                &kind,
                &passed,
                &hash,
                &origin.imported_by,
                &origin.sha256.as_slice(),
            ],
        )
        .await?;
    Ok(())
}

async fn leave_tasks(
    transaction: &Transaction<'_>,
    touched: &[(i64, Timestamp)],
) -> Result<u64, tokio_postgres::Error> {
    let (keys, at): (Vec<i64>, Vec<Timestamp>) = touched.iter().copied().unzip();
    transaction
        .execute(
            "INSERT INTO evaluation_task (kind, subject, from_at, to_at) \
             SELECT 1, k, min(at), max(at) FROM unnest($1::int8[], $2::timestamptz[]) AS u (k, at) \
             JOIN evaluation_interest e ON e.kind = 1 AND e.subject = k GROUP BY k",
            &[&keys, &at],
        )
        .await
}

/// The first row of a report in the file, and whether a later one contradicts it.
struct First {
    number: u64,
    content_hash: i64,
    contradicted: bool,
}

/// Takes out rows that another row of the file repeats or contradicts; of repeats the first stays.
pub fn refuse_duplicates(rows: Vec<(u64, InspectionRow)>, refusals: &mut Refusals) -> Vec<(u64, InspectionRow)> {
    let key = |row: &InspectionRow| (row.station.clone(), row.report_no.clone());
    let mut firsts: HashMap<_, First> = HashMap::with_capacity(rows.len());
    for (number, row) in &rows {
        let content_hash = row.content_hash();
        firsts
            .entry(key(row))
            .and_modify(|first| first.contradicted |= first.content_hash != content_hash)
            .or_insert(First { number: *number, content_hash, contradicted: false });
    }
    let mut found = Refusals::default();
    let mut taken = Vec::with_capacity(firsts.len());
    let words = InspectionRow::KEY_WORDS;
    for (number, row) in rows {
        let Some(first) = firsts.get(&key(&row)) else { continue };
        let is_first = first.number == number;
        if first.contradicted {
            let other = if is_first { "a later row".to_owned() } else { format!("row {}", first.number) };
            found.push(number, format!("same {words} as {other} with other content: neither is taken"));
        } else if is_first {
            taken.push((number, row));
        } else {
            found.push(number, format!("repeats row {}", first.number));
        }
    }
    refusals.merge(found);
    taken
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
        let taken = refuse_duplicates(taken, &mut read.refusals);
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
    fn rows_that_contradict_each_other_are_none_taken() {
        let row = |result: &str, report: &str| format!("鲁C12345,yellow,i-1,2026-03-05,recheck,{result},{report}\n");
        let text = [HEADER.into(), row("pass", "A1"), row("fail", "A1"), row("pass", "A2"), row("pass", "A2")].concat();
        let (taken, refusals) = rows(&text);
        assert_eq!(taken.iter().map(|(number, _)| *number).collect::<Vec<_>>(), [4]);
        assert_eq!(refusals.rows().iter().map(|refused| refused.row).collect::<Vec<_>>(), [2, 3, 5]);
    }
}
