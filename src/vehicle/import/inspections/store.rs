//! Rows into the database: reports, corrections and conflicts, with the tasks they lead to.

use tokio_postgres::{Row, Transaction};

use super::{
    InspectionRow, disputed,
    journal::{Journal, Kept, Revision, Step, differs},
};
use crate::{
    judge::limits::InspectionKind,
    reading::{PlateKey, Timestamp},
    vehicle::import::Refusals,
};

/// Serialises imports of reports and decisions, so that two corrections of one report get two revisions.
const LOCK: i64 = 0x6477_696e_7370;

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
    /// Rows that are kept as conflicts, now or since an earlier import.
    pub conflicts: i64,
    /// Rows that are not taken: conflicts, and what a correction or a decision replaced.
    pub not_taken: Refusals,
    pub tasks: u64,
}

impl Stored {
    pub fn add(&mut self, other: Stored) {
        let Stored { added, corrected, repeated, conflicts, not_taken, tasks } = other;
        self.added += added;
        self.corrected += corrected;
        self.repeated += repeated;
        self.conflicts += conflicts;
        self.not_taken.merge(not_taken);
        self.tasks += tasks;
    }
}

/// A row that contradicts a report, which is known by station, edition and the place that says where it differs.
struct Conflict<'r> {
    number: u64,
    row: &'r InspectionRow,
    first: Box<Revision>,
    differs: Vec<&'static str>,
}

pub(super) async fn lock(transaction: &Transaction<'_>) -> Result<(), tokio_postgres::Error> {
    transaction.execute("SELECT pg_advisory_xact_lock($1)", &[&LOCK]).await?;
    Ok(())
}

/// Stores reports that are not there yet and keeps conflicts, with the tasks both lead to. All rows of one report belong into
/// one call, and no two of them have the same content.
pub async fn store(
    transaction: &Transaction<'_>,
    origin: Origin<'_>,
    rows: &[(u64, InspectionRow)],
) -> Result<Stored, tokio_postgres::Error> {
    lock(transaction).await?;
    let mut journal = known(transaction, rows).await?;
    let disputed = disputed(rows);
    let mut stored = Stored::default();
    let mut new: Vec<(&InspectionRow, i32, i32)> = Vec::new();
    let mut conflicts: Vec<Conflict<'_>> = Vec::new();
    let mut touched: Vec<(i64, Timestamp)> = Vec::new();
    for (number, row) in rows {
        let here = (row.key.as_i64(), row.inspected_at);
        match journal.take(row, disputed.contains(number)) {
            Step::Repeat => stored.repeated += 1,
            Step::Stale => stored.not_taken.push(*number, "repeats what a later correction of this report replaced"),
            Step::Known(Kept::Open, id) => {
                stored.conflicts += 1;
                stored.not_taken.push(*number, format!("waits as conflict {id} for a decision"));
            }
            Step::Known(Kept::Decided, id) => {
                stored.not_taken.push(*number, format!("was decided against (conflict {id}); the decision holds"));
            }
            Step::New => {
                stored.added += 1;
                touched.push(here);
                new.push((row, 1, 1));
            }
            Step::Corrects(last) => {
                stored.corrected += 1;
                touched.extend([here, (last.row.key.as_i64(), last.row.inspected_at)]);
                new.push((row, last.edition, last.revision + 1));
            }
            Step::Contradicts(first, differs) => {
                stored.conflicts += 1;
                stored.not_taken.push(*number, contradicts(&differs));
                touched.extend(both_at(&first.row, row));
                conflicts.push(Conflict { number: *number, row, first, differs });
            }
        }
    }
    if !new.is_empty() {
        insert(transaction, origin, &new).await?;
    }
    if !conflicts.is_empty() {
        keep(transaction, origin, &conflicts).await?;
    }
    if !touched.is_empty() {
        stored.tasks = leave_tasks(transaction, &touched).await?;
    }
    Ok(stored)
}

/// Why a row is kept as a conflict.
pub(super) fn contradicts(what: &[&'static str]) -> String {
    let word = |what: &&str| match *what {
        differs::VEHICLE => "another vehicle",
        differs::KIND => "another kind of inspection",
        differs::YEAR => "another year",
        differs::STATION => "another station",
        _ => "something else about the same inspection in this file",
    };
    let words = what.iter().map(word).collect::<Vec<_>>().join(", ");
    format!("names {words} than the report with this number that came first: kept as a conflict for a person to decide")
}

/// Both vehicles, at both times.
pub(super) fn both_at(first: &InspectionRow, second: &InspectionRow) -> [(i64, Timestamp); 4] {
    let (one, other) = (first.key.as_i64(), second.key.as_i64());
    let (earlier, later) = (first.inspected_at, second.inspected_at);
    [(one, earlier), (one, later), (other, earlier), (other, later)]
}

/// What the database knows of the rows' reports, and of their numbers at other stations.
async fn known(transaction: &Transaction<'_>, rows: &[(u64, InspectionRow)]) -> Result<Journal, tokio_postgres::Error> {
    let station: Vec<&str> = rows.iter().map(|(_, row)| &*row.station).collect();
    let report: Vec<&str> = rows.iter().map(|(_, row)| &*row.report_no).collect();
    let plate: Vec<i64> = rows.iter().map(|(_, row)| row.key.as_i64()).collect();
    let day: Vec<Timestamp> = rows.iter().map(|(_, row)| row.inspected_at.start_of_china_day()).collect();
    let mut journal = Journal::default();
    let revisions = transaction
        .query(
            "SELECT i.edition, i.revision, i.withdrawn, i.station, i.report_no, i.plate_key, i.inspected_at, i.whole_day, \
               i.kind, i.passed \
             FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[]) AS u (station, report_no)) AS u \
             JOIN inspection i USING (station, report_no) ORDER BY i.edition, i.revision",
            &[&station, &report],
        )
        .await?;
    let elsewhere = transaction
        .query(
            "SELECT i.edition, i.revision, i.withdrawn, i.station, i.report_no, i.plate_key, i.inspected_at, i.whole_day, \
               i.kind, i.passed \
             FROM unnest($1::text[], $2::text[], $3::int8[], $4::timestamptz[]) AS u (station, report_no, plate_key, day) \
             JOIN inspection i ON i.plate_key = u.plate_key AND i.inspected_at >= u.day \
               AND i.inspected_at < u.day + INTERVAL '24 hours' AND i.report_no = u.report_no AND i.station <> u.station \
             WHERE NOT EXISTS (SELECT FROM inspection later WHERE (later.station, later.report_no, later.edition) \
               = (i.station, i.report_no, i.edition) AND later.revision > i.revision)",
            &[&station, &report, &plate, &day],
        )
        .await?;
    revisions.iter().chain(&elsewhere).filter_map(revision).for_each(|revision| journal.know(revision));
    let conflicts = transaction
        .query(
            "SELECT c.station, c.report_no, c.content_hash, d.conflict IS NOT NULL, c.id \
             FROM (SELECT DISTINCT * FROM unnest($1::text[], $2::text[]) AS u (station, report_no)) AS u \
             JOIN inspection_conflict c USING (station, report_no) LEFT JOIN inspection_decision d ON d.conflict = c.id",
            &[&station, &report],
        )
        .await?;
    for row in &conflicts {
        let kept = if row.get(3) { Kept::Decided } else { Kept::Open };
        journal.know_conflict(row.get(0), row.get(1), row.get(2), kept, row.get(4));
    }
    Ok(journal)
}

/// `None` for what no import writes.
fn revision(row: &Row) -> Option<Revision> {
    Some(Revision { edition: row.get(0), revision: row.get(1), withdrawn: row.get(2), row: report(row, 3)? })
}

/// The report in the columns from `first` on: station, number, vehicle, time, whether it is a day, kind, result.
pub(super) fn report(row: &Row, first: usize) -> Option<InspectionRow> {
    Some(InspectionRow {
        station: row.get::<_, &str>(first).into(),
        report_no: row.get::<_, &str>(first + 1).into(),
        key: PlateKey::from_i64(row.get(first + 2))?,
        inspected_at: row.get(first + 3),
        whole_day: row.get(first + 4),
        kind: InspectionKind::parse(row.get(first + 5))?,
        passed: row.get(first + 6),
    })
}

async fn insert(
    transaction: &Transaction<'_>,
    origin: Origin<'_>,
    new: &[(&InspectionRow, i32, i32)],
) -> Result<(), tokio_postgres::Error> {
    let station: Vec<&str> = new.iter().map(|(row, ..)| &*row.station).collect();
    let report: Vec<&str> = new.iter().map(|(row, ..)| &*row.report_no).collect();
    let edition: Vec<i32> = new.iter().map(|(_, edition, _)| *edition).collect();
    let revision: Vec<i32> = new.iter().map(|(.., revision)| *revision).collect();
    let key: Vec<i64> = new.iter().map(|(row, ..)| row.key.as_i64()).collect();
    let at: Vec<Timestamp> = new.iter().map(|(row, ..)| row.inspected_at).collect();
    let whole_day: Vec<bool> = new.iter().map(|(row, ..)| row.whole_day).collect();
    let kind: Vec<&str> = new.iter().map(|(row, ..)| row.kind.name()).collect();
    let passed: Vec<bool> = new.iter().map(|(row, ..)| row.passed).collect();
    let hash: Vec<i64> = new.iter().map(|(row, ..)| row.content_hash()).collect();
    transaction
        .execute(
            "INSERT INTO inspection (station, report_no, edition, revision, plate_key, inspected_at, whole_day, kind, passed, \
               content_hash, imported_by, file_sha256) \
             SELECT u.*, $11, $12 FROM unnest($1::text[], $2::text[], $3::int4[], $4::int4[], $5::int8[], \
             $6::timestamptz[], $7::bool[], $8::text[], $9::bool[], $10::int8[]) AS u",
            &[
                &station,
                &report,
                &edition,
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

async fn keep(
    transaction: &Transaction<'_>,
    origin: Origin<'_>,
    conflicts: &[Conflict<'_>],
) -> Result<(), tokio_postgres::Error> {
    let insert = transaction
        .prepare(
            "INSERT INTO inspection_conflict (station, report_no, plate_key, inspected_at, whole_day, kind, passed, \
               content_hash, first_station, edition, differs, imported_by, file_sha256, row_number) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
        )
        .await?;
    for Conflict { number, row, first, differs } in conflicts {
        transaction
            .execute(
                &insert,
                &[
                    &&*row.station,
                    &&*row.report_no,
                    &row.key.as_i64(),
                    &row.inspected_at,
                    &row.whole_day,
                    &row.kind.name(),
                    &row.passed,
                    &row.content_hash(),
                    &&*first.row.station,
                    &first.edition,
                    differs,
                    &origin.imported_by,
                    &origin.sha256.as_slice(),
                    &(*number as i64),
                ],
            )
            .await?;
    }
    Ok(())
}

pub(super) async fn leave_tasks(
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
