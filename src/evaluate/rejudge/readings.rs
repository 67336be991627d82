//! The statements of a recalculation: which vehicles come next, their readings, and what is written back.

use bytes::Bytes;
use tokio_postgres::{Client, Row, Transaction};
use uuid::Uuid;

use super::{Span, change::Compared};
use crate::{evaluate::reconcile::Change, pipeline::assemble::flag, reading::Timestamp, store::findings::review_json};

/// A stored reading.
pub struct Stored {
    pub plate_key: i64,
    pub station_id: String,
    pub station: i32,
    pub record_id: String,
    pub passed_at: Timestamp,
    pub content_hash: i64,
    pub verdict: i16,
    pub outcomes: i16,
    pub carrier: Option<i64>,
    /// JSON text.
    pub explained: Option<String>,
    pub received_at: Timestamp,
    /// It was seen recently enough for somebody to be stopped.
    pub live: bool,
    /// `None` where retention took the wide row.
    pub raw: Option<Bytes>,
}

impl Stored {
    /// What the ids of its findings are made of.
    pub fn natural_key(&self) -> String {
        format!("{}/{}", self.station_id, self.record_id)
    }
}

/// What a stored reading comes to now.
pub struct Verdict<'a> {
    pub reading: &'a Stored,
    pub verdict: i16,
    pub outcomes: i16,
    pub carrier: Option<i64>,
    /// JSON text; `None` where there is nothing to say.
    pub explained: Option<Vec<u8>>,
}

/// The next vehicles with readings in the span, together not more than `readings` of them unless the first alone has.
pub async fn next_vehicles(
    client: &Client,
    span: &Span,
    after: i64,
    readings: i64,
) -> Result<Vec<i64>, tokio_postgres::Error> {
    let Span { from, to, station } = span;
    let station = station.as_ref().map(|(number, _)| *number);
    let rows = client
        .query(
            "SELECT plate_key, count(*) FROM passage_key WHERE plate_key > $1 AND passed_at >= $2 AND passed_at < $3 \
             AND ($4::int4 IS NULL OR station = $4) GROUP BY plate_key ORDER BY plate_key LIMIT $5",
            &[&after, from, to, &station, &readings],
        )
        .await?;
    let mut sum = 0;
    let fits = |row: &&Row| {
        let first = sum == 0;
        sum += row.get::<_, i64>(1);
        first || sum <= readings
    };
    Ok(rows.iter().take_while(fits).map(|row| row.get(0)).collect())
}

/// The readings of the vehicles in the span, in the order of time.
pub async fn load(
    transaction: &Transaction<'_>,
    span: &Span,
    keys: &[i64],
) -> Result<Vec<Stored>, tokio_postgres::Error> {
    let Span { from, to, station } = span;
    let station = station.as_ref().map(|(number, _)| *number);
    // LATERAL looks each wide row up by its time; a plain join over a long span would be answered by reading all of it.
    let rows = transaction
        .query(
            "SELECT k.plate_key, s.station_id, k.station, k.record_id, k.passed_at, k.content_hash, k.outcomes, \
               p.verdict, p.received_at, p.raw, p.explained, p.flags, k.carrier \
             FROM passage_key k JOIN stations s ON s.id = k.station LEFT JOIN LATERAL \
               (SELECT verdict, received_at, raw, explained::text AS explained, flags FROM passage w \
                WHERE w.passed_at = k.passed_at \
                AND w.station = k.station AND w.record_id = k.record_id LIMIT 1) p ON true \
             WHERE k.plate_key = ANY($1) AND k.passed_at >= $2 AND k.passed_at < $3 \
               AND ($4::int4 IS NULL OR k.station = $4) ORDER BY k.passed_at, k.station, k.record_id",
            &[&keys, from, to, &station],
        )
        .await?;
    let stored = |row: &Row| Stored {
        plate_key: row.get(0),
        station_id: row.get(1),
        station: row.get(2),
        record_id: row.get(3),
        passed_at: row.get(4),
        content_hash: row.get(5),
        outcomes: row.get(6),
        verdict: row.get::<_, Option<i16>>(7).unwrap_or_default(),
        received_at: row.get::<_, Option<Timestamp>>(8).unwrap_or(Timestamp::EPOCH),
        raw: row.get::<_, Option<Vec<u8>>>(9).map(Bytes::from),
        explained: row.get(10),
        live: row.get::<_, Option<i32>>(11).is_some_and(|flags| flags & flag::NOT_LIVE == 0),
        carrier: row.get(12),
    };
    Ok(rows.iter().map(stored).collect())
}

/// Writes whose readings these are where the register says otherwise now.
pub async fn set_carriers(
    transaction: &Transaction<'_>,
    carriers: &[(&Stored, Option<i64>)],
) -> Result<(), tokio_postgres::Error> {
    if carriers.is_empty() {
        return Ok(());
    }
    let station: Vec<i32> = carriers.iter().map(|(reading, _)| reading.station).collect();
    let record: Vec<&str> = carriers.iter().map(|(reading, _)| reading.record_id.as_str()).collect();
    let carrier: Vec<Option<i64>> = carriers.iter().map(|(_, carrier)| *carrier).collect();
    transaction
        .execute(
            "UPDATE passage_key k SET carrier = u.carrier FROM unnest($1::int4[], $2::text[], $3::int8[]) \
             AS u (station, record_id, carrier) WHERE k.station = u.station AND k.record_id = u.record_id",
            &[&station, &record, &carrier],
        )
        .await?;
    Ok(())
}

/// Writes the verdicts that differ with what explains them, and keeps the old ones.
pub async fn set_verdicts(
    transaction: &Transaction<'_>,
    run: i64,
    verdicts: &[Verdict<'_>],
) -> Result<(), tokio_postgres::Error> {
    let at: Vec<Timestamp> = verdicts.iter().map(|judged| judged.reading.passed_at).collect();
    let (Some(from), Some(to)) = (at.iter().min(), at.iter().max()) else { return Ok(()) };
    let station: Vec<i32> = verdicts.iter().map(|judged| judged.reading.station).collect();
    let record: Vec<&str> = verdicts.iter().map(|judged| judged.reading.record_id.as_str()).collect();
    let verdict_before: Vec<i16> = verdicts.iter().map(|judged| judged.reading.verdict).collect();
    let outcomes_before: Vec<i16> = verdicts.iter().map(|judged| judged.reading.outcomes).collect();
    let explained_before: Vec<Option<&str>> =
        verdicts.iter().map(|judged| judged.reading.explained.as_deref()).collect();
    let verdict: Vec<i16> = verdicts.iter().map(|judged| judged.verdict).collect();
    let outcomes: Vec<i16> = verdicts.iter().map(|judged| judged.outcomes).collect();
    let text = |judged: &Verdict<'_>| judged.explained.as_ref().map(|text| String::from_utf8_lossy(text).into_owned());
    let explained: Vec<Option<String>> = verdicts.iter().map(text).collect();
    transaction
        .execute(
            "INSERT INTO rejudgement (run, station, record_id, passed_at, verdict_before, verdict_after, \
               outcomes_before, outcomes_after, explained_before) \
             SELECT $1, u.station, u.record_id, u.at, u.verdict_before, u.verdict, u.outcomes_before, u.outcomes, \
               u.explained_before::jsonb \
             FROM unnest($2::int4[], $3::text[], $4::timestamptz[], $5::int2[], $6::int2[], $7::int2[], $8::int2[], \
             $9::text[]) AS u (station, record_id, at, verdict_before, verdict, outcomes_before, outcomes, \
             explained_before)",
            &[&run, &station, &record, &at, &verdict_before, &verdict, &outcomes_before, &outcomes, &explained_before],
        )
        .await?;
    transaction
        .execute(
            "UPDATE passage_key k SET outcomes = u.outcomes FROM unnest($1::int4[], $2::text[], $3::int2[]) \
             AS u (station, record_id, outcomes) WHERE k.station = u.station AND k.record_id = u.record_id",
            &[&station, &record, &outcomes],
        )
        .await?;
    // The bounds keep other chunks closed.
    transaction
        .execute(
            "UPDATE passage p SET verdict = u.verdict, outcomes = u.outcomes, explained = u.explained::jsonb \
             FROM unnest($1::timestamptz[], $2::int4[], $3::text[], $4::int2[], $5::int2[], $6::text[]) \
             AS u (at, station, record_id, verdict, outcomes, explained) WHERE p.passed_at = u.at \
             AND p.station = u.station AND p.record_id = u.record_id AND p.passed_at BETWEEN $7 AND $8",
            &[&at, &station, &record, &verdict, &outcomes, &explained, from, to],
        )
        .await?;
    Ok(())
}

/// Marks findings that a run took back, clears the mark of those it states again, and brings the content of those that
/// are not in force up to date.
pub async fn mark(transaction: &Transaction<'_>, run: i64, compared: &Compared) -> Result<(), tokio_postgres::Error> {
    let (mut taken_back, mut stated): (Vec<Uuid>, Vec<Uuid>) = (compared.gone.clone(), Vec::new());
    for change in &compared.changes {
        match change {
            Change::Revoke { finding, .. } => taken_back.push(finding.id),
            Change::Raise(finding) | Change::Restate { finding, .. } => stated.push(finding.id),
        }
    }
    if !taken_back.is_empty() {
        let mark = "UPDATE finding SET rejudged_by = $1 WHERE id = ANY($2)";
        transaction.execute(mark, &[&run, &taken_back]).await?;
    }
    if !stated.is_empty() {
        let clear = "UPDATE finding SET rejudged_by = NULL WHERE id = ANY($1) AND rejudged_by IS NOT NULL";
        transaction.execute(clear, &[&stated]).await?;
    }
    for finding in &compared.quiet {
        let say = "UPDATE finding SET review = $2, content = $3, changed_at = now() WHERE id = $1";
        transaction.execute(say, &[&finding.id, &review_json(&finding.review), &finding.content]).await?;
    }
    Ok(())
}

/// Leaves tasks as a guilty reading does; see `evaluate::tasks`.
pub async fn leave_tasks(
    transaction: &Transaction<'_>,
    changed: &[(i64, Timestamp)],
) -> Result<(), tokio_postgres::Error> {
    if changed.is_empty() {
        return Ok(());
    }
    let (keys, at): (Vec<i64>, Vec<Timestamp>) = changed.iter().copied().unzip();
    transaction
        .execute(
            "INSERT INTO evaluation_interest (kind, subject) SELECT DISTINCT 1, k FROM unnest($1::int8[]) AS u (k) \
             ORDER BY k ON CONFLICT DO NOTHING",
            &[&keys],
        )
        .await?;
    transaction
        .execute(
            "INSERT INTO evaluation_task (kind, subject, from_at, to_at) SELECT 1, k, min(at), max(at) \
             FROM unnest($1::int8[], $2::timestamptz[]) AS u (k, at) GROUP BY k",
            &[&keys, &at],
        )
        .await?;
    Ok(())
}
