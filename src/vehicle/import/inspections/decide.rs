//! Conflicts between reports, and what a person decided about them. Decisions are only ever added, each with who, when, why.

use serde::Serialize;
use tokio_postgres::{Client, Row, Transaction};

use super::{InspectionRow, store};
use crate::reading::Timestamp;

/// Longest name or reason, bytes.
const MAX_TEXT_BYTES: usize = 400;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// What holds stays; the second report is void.
    KeepFirst,
    /// The second replaces what holds, as its next revision.
    TakeSecond,
    /// Two reports: the second is another edition of the number.
    KeepBoth,
}

impl Decision {
    pub const fn name(self) -> &'static str {
        match self {
            Decision::KeepFirst => "keep_first",
            Decision::TakeSecond => "take_second",
            Decision::KeepBoth => "keep_both",
        }
    }
}

/// One of the two reports.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Side {
    pub station: String,
    pub plate: String,
    pub plate_color: &'static str,
    pub inspected_at: Timestamp,
    /// `false` where the report names a day and `inspected_at` is the end of it.
    pub time_known: bool,
    pub kind: &'static str,
    pub passed: bool,
    pub imported_by: String,
    pub imported_at: Timestamp,
    /// Name of the file where its import was completed.
    pub file: Option<String>,
    pub file_sha256: String,
    /// Where it is kept.
    pub row: Option<i64>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Decided {
    pub decision: String,
    pub by: String,
    pub at: Timestamp,
    pub why: String,
}

/// Two reports under one number.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Conflict {
    pub conflict: i64,
    pub report_no: String,
    /// `vehicle`, `kind`, `year`, `station`, or `same_file`.
    pub differs: Vec<String>,
    /// What holds, or held when it was decided.
    pub first: Side,
    pub second: Side,
    pub decided: Option<Decided>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Open,
    Decided,
    All,
}

/// Which conflicts; every part given must hold.
#[derive(Clone, Debug)]
pub struct Filter {
    pub state: State,
    pub conflict: Option<i64>,
    /// SHA-256 of the file with the second report.
    pub file: Option<Vec<u8>>,
    /// Only another vehicle in another year: what a numbering that was restarted looks like.
    pub restarted: bool,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    #[error("there is no conflict {0}; `dieselwatch inspections conflicts` lists those there are")]
    NoSuch(i64),
    #[error(
        "conflict {conflict} was decided already: {decision} by {by} at {at}, because: {why}. A decision is not changed; \
             a corrected report from the station makes a new conflict"
    )]
    Already { conflict: i64, decision: String, by: String, at: Timestamp, why: String },
    #[error("who decides is missing, or longer than {MAX_TEXT_BYTES} bytes")]
    NoName,
    #[error("why is missing, or longer than {MAX_TEXT_BYTES} bytes")]
    NoReason,
    #[error("decide conflicts of inspections")]
    Database(#[from] tokio_postgres::Error),
}

/// Up to `limit` conflicts with a number above `after`, in order.
pub async fn list(
    client: &Client,
    filter: &Filter,
    after: i64,
    limit: i64,
) -> Result<Vec<Conflict>, tokio_postgres::Error> {
    let (open, decided) = (filter.state != State::Decided, filter.state != State::Open);
    let rows = client
        .query(
            "SELECT c.id, c.differs, \
               f.station, f.report_no, f.plate_key, f.inspected_at, f.whole_day, f.kind, f.passed, \
               f.imported_by, f.imported_at, f.file_sha256, (SELECT max(n.file_name) FROM imports n \
                 WHERE n.file_sha256 = f.file_sha256 AND n.dataset = 'inspections'), \
               c.station, c.report_no, c.plate_key, c.inspected_at, c.whole_day, c.kind, c.passed, \
               c.imported_by, c.imported_at, c.file_sha256, (SELECT max(n.file_name) FROM imports n \
                 WHERE n.file_sha256 = c.file_sha256 AND n.dataset = 'inspections'), \
               c.row_number, d.decision, d.decided_by, d.decided_at, d.why \
             FROM inspection_conflict c LEFT JOIN inspection_decision d ON d.conflict = c.id \
             CROSS JOIN LATERAL (SELECT * FROM inspection i WHERE i.station = c.first_station \
               AND i.report_no = c.report_no AND i.edition = c.edition \
               AND (d.conflict IS NULL OR i.revision = d.first_revision) ORDER BY i.revision DESC LIMIT 1) AS f \
             WHERE c.id > $1 AND ($2::int8 IS NULL OR c.id = $2) AND ($3::bytea IS NULL OR c.file_sha256 = $3) \
               AND (NOT $4::bool OR c.differs @> ARRAY['vehicle', 'year']) \
               AND (CASE WHEN d.conflict IS NULL THEN $5::bool ELSE $6::bool END) \
             ORDER BY c.id LIMIT $7",
            &[&after, &filter.conflict, &filter.file, &filter.restarted, &open, &decided, &limit],
        )
        .await?;
    Ok(rows.iter().filter_map(conflict).collect())
}

/// `None` for what no import writes.
fn conflict(row: &Row) -> Option<Conflict> {
    let first = store::report(row, 2)?;
    let second = store::report(row, 13)?;
    let decided = row.get::<_, Option<String>>(25).map(|decision| Decided {
        decision,
        by: row.get(26),
        at: row.get(27),
        why: row.get(28),
    });
    Some(Conflict {
        conflict: row.get(0),
        report_no: second.report_no.to_string(),
        differs: row.get(1),
        first: side(&first, row, 9, None),
        second: side(&second, row, 20, row.get(24)),
        decided,
    })
}

fn side(report: &InspectionRow, row: &Row, origin: usize, number: Option<i64>) -> Side {
    Side {
        station: report.station.to_string(),
        plate: report.key.plate().to_string(),
        plate_color: report.key.colour().name(),
        inspected_at: report.inspected_at,
        time_known: !report.whole_day,
        kind: report.kind.name(),
        passed: report.passed,
        imported_by: row.get(origin),
        imported_at: row.get(origin + 1),
        file_sha256: hex::encode(row.get::<_, &[u8]>(origin + 2)),
        file: row.get(origin + 3),
        row: number,
    }
}

/// Open conflicts of a file that may be decided in one go, and those whose report has more than one open conflict: of three
/// reports under one number no answer for all can be right.
pub async fn of_file(
    client: &Client,
    sha256: &[u8],
    restarted: bool,
) -> Result<(Vec<i64>, Vec<i64>), tokio_postgres::Error> {
    let rows = client
        .query(
            "SELECT c.id, EXISTS (SELECT FROM inspection_conflict o WHERE (o.first_station, o.report_no, o.edition) \
                 = (c.first_station, c.report_no, c.edition) AND o.id <> c.id \
                 AND NOT EXISTS (SELECT FROM inspection_decision d WHERE d.conflict = o.id)) \
             FROM inspection_conflict c WHERE c.file_sha256 = $1 AND (NOT $2::bool OR c.differs @> ARRAY['vehicle', 'year']) \
               AND NOT EXISTS (SELECT FROM inspection_decision d WHERE d.conflict = c.id) ORDER BY c.id",
            &[&sha256, &restarted],
        )
        .await?;
    let (many, one): (Vec<&Row>, Vec<&Row>) = rows.iter().partition(|row| row.get(1));
    let ids = |rows: Vec<&Row>| rows.iter().map(|row| row.get(0)).collect();
    Ok((ids(one), ids(many)))
}

/// Decides conflicts in one transaction, all or none, and leaves evaluation tasks for the vehicles of both reports.
pub async fn decide(
    client: &mut Client,
    conflicts: &[i64],
    decision: Decision,
    by: &str,
    why: &str,
) -> Result<(), DecideError> {
    let fits = |text: &str| !text.trim().is_empty() && text.len() <= MAX_TEXT_BYTES && !text.contains('\0');
    if !fits(by) {
        return Err(DecideError::NoName);
    }
    if !fits(why) {
        return Err(DecideError::NoReason);
    }
    let transaction = client.transaction().await?;
    store::lock(&transaction).await?;
    let mut touched = Vec::with_capacity(conflicts.len() * 4);
    for &id in conflicts {
        touched.extend(decide_one(&transaction, id, decision, by, why).await?);
    }
    if !touched.is_empty() {
        store::leave_tasks(&transaction, &touched).await?;
    }
    transaction.commit().await?;
    Ok(())
}

async fn decide_one(
    transaction: &Transaction<'_>,
    id: i64,
    decision: Decision,
    by: &str,
    why: &str,
) -> Result<[(i64, Timestamp); 4], DecideError> {
    let found = transaction
        .query_opt(
            "SELECT c.station, c.report_no, c.plate_key, c.inspected_at, c.whole_day, c.kind, c.passed, \
               c.first_station, c.edition, d.decision, d.decided_by, d.decided_at, d.why \
             FROM inspection_conflict c LEFT JOIN inspection_decision d ON d.conflict = c.id WHERE c.id = $1",
            &[&id],
        )
        .await?
        .ok_or(DecideError::NoSuch(id))?;
    if let Some(decision) = found.get(9) {
        let (by, at, why) = (found.get(10), found.get(11), found.get(12));
        return Err(DecideError::Already { conflict: id, decision, by, at, why });
    }
    let second = store::report(&found, 0).ok_or(DecideError::NoSuch(id))?;
    let (first_station, edition): (&str, i32) = (found.get(7), found.get(8));
    let held = transaction
        .query_opt(
            "SELECT station, report_no, plate_key, inspected_at, whole_day, kind, passed, revision FROM inspection \
             WHERE station = $1 AND report_no = $2 AND edition = $3 ORDER BY revision DESC LIMIT 1",
            &[&first_station, &&*second.report_no, &edition],
        )
        .await?
        .ok_or(DecideError::NoSuch(id))?;
    let first = store::report(&held, 0).ok_or(DecideError::NoSuch(id))?;
    let revision: i32 = held.get(7);
    let moved = *second.station != *first_station;
    if decision == Decision::TakeSecond && moved {
        transaction
            .execute(
                "INSERT INTO inspection (station, report_no, edition, revision, withdrawn, plate_key, inspected_at, whole_day, \
                   kind, passed, content_hash, imported_by, imported_at, file_sha256) \
                 SELECT station, report_no, edition, revision + 1, true, plate_key, inspected_at, whole_day, kind, passed, \
                   content_hash, imported_by, imported_at, file_sha256 \
                 FROM inspection WHERE station = $1 AND report_no = $2 AND edition = $3 AND revision = $4",
                &[&first_station, &&*second.report_no, &edition, &revision],
            )
            .await?;
    }
    let place = match decision {
        Decision::KeepFirst => None,
        Decision::TakeSecond if !moved => Some((edition, revision + 1)),
        // A report of its own: the first edition of a number this station has not given yet, or the next one.
        Decision::TakeSecond | Decision::KeepBoth => {
            let next = "SELECT coalesce(max(edition), 0) + 1 FROM inspection WHERE station = $1 AND report_no = $2";
            Some((transaction.query_one(next, &[&&*second.station, &&*second.report_no]).await?.get(0), 1))
        }
    };
    if let Some((edition, revision)) = place {
        transaction
            .execute(
                "INSERT INTO inspection (station, report_no, edition, revision, plate_key, inspected_at, whole_day, kind, \
                   passed, content_hash, imported_by, imported_at, file_sha256) \
                 SELECT station, report_no, $2, $3, plate_key, inspected_at, whole_day, kind, passed, content_hash, \
                   imported_by, imported_at, file_sha256 FROM inspection_conflict WHERE id = $1",
                &[&id, &edition, &revision],
            )
            .await?;
    }
    transaction
        .execute(
            "INSERT INTO inspection_decision (conflict, decision, first_revision, decided_by, why) \
             VALUES ($1, $2, $3, $4, $5)",
            &[&id, &decision.name(), &revision, &by, &why],
        )
        .await?;
    Ok(store::both_at(&first, &second))
}

/// Hashes of files with conflicts, by how they begin in hex; two at most, because more than one is one too many.
pub async fn files(client: &Client, begins: &str) -> Result<Vec<Vec<u8>>, tokio_postgres::Error> {
    let sql = "SELECT DISTINCT file_sha256 FROM inspection_conflict WHERE starts_with(encode(file_sha256, 'hex'), $1) LIMIT 2";
    Ok(client.query(sql, &[&begins]).await?.iter().map(|row| row.get(0)).collect())
}
