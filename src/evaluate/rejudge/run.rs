//! Runs of a recalculation: what was asked for, on which basis, and how far it is.

use sha2::{Digest, Sha256};
use tokio_postgres::{Client, GenericClient, Transaction};

use super::Span;
use crate::{judge::RuleBook, reading::Timestamp, vehicle::knowledge::Versions};

/// A run, or what one would be begun with.
#[derive(Clone, Debug)]
pub struct Run {
    /// 0 before it is begun.
    pub number: i64,
    /// Highest plate key that an interrupted run had done.
    pub cursor: i64,
    from: Timestamp,
    to: Timestamp,
    station: Option<String>,
    limits_version: String,
    basis: String,
    by: String,
}

/// Below every plate key.
pub const FROM_THE_START: i64 = -1;

impl Run {
    pub fn new(span: &Span, book: &RuleBook, versions: &Versions, by: &str) -> Self {
        Self {
            number: 0,
            cursor: FROM_THE_START,
            from: span.from,
            to: span.to,
            station: span.station.as_ref().map(|(_, name)| name.clone()),
            limits_version: book.limits.version().to_owned(),
            basis: basis(book, versions),
            by: by.to_owned(),
        }
    }

    /// Enters a run of its own.
    pub async fn begin(&self, client: &impl GenericClient) -> Result<i64, tokio_postgres::Error> {
        let Self { from, to, station, limits_version, basis, by, .. } = self;
        let sql = "INSERT INTO rejudge_run (from_at, to_at, station, limits_version, basis, started_by) \
                   VALUES ($1, $2, $3, $4, $5, $6) RETURNING run";
        Ok(client.query_one(sql, &[from, to, station, limits_version, basis, by]).await?.get(0))
    }

    /// Goes on with the run of the same span and basis that was interrupted, or begins one. Once another run was begun, what
    /// the interrupted one had done may have been undone.
    pub async fn resume_or_begin(mut self, client: &Client) -> Result<Self, tokio_postgres::Error> {
        let Self { from, to, station, basis, .. } = &self;
        let sql = "SELECT run, cursor FROM rejudge_run WHERE finished_at IS NULL AND from_at = $1 AND to_at = $2 \
                   AND station IS NOT DISTINCT FROM $3 AND basis = $4 \
                   AND run = (SELECT max(run) FROM rejudge_run)";
        match client.query_opt(sql, &[from, to, station, basis]).await? {
            Some(row) => (self.number, self.cursor) = (row.get(0), row.get(1)),
            None => self.number = self.begin(client).await?,
        }
        Ok(self)
    }

    pub async fn finish(&self, client: &Client) -> Result<(), tokio_postgres::Error> {
        client.execute("UPDATE rejudge_run SET finished_at = now() WHERE run = $1", &[&self.number]).await?;
        Ok(())
    }
}

/// Notes in the step's own transaction how far the run is.
pub async fn advance(
    transaction: &Transaction<'_>,
    run: i64,
    cursor: i64,
    readings: u64,
) -> Result<(), tokio_postgres::Error> {
    let sql = "UPDATE rejudge_run SET cursor = $2, readings = readings + $3 WHERE run = $1";
    transaction.execute(sql, &[&run, &cursor, &i64::try_from(readings).unwrap_or(i64::MAX)]).await?;
    Ok(())
}

/// Two runs with the same basis come to the same: the whole rule book, and the version of every dataset.
fn basis(book: &RuleBook, versions: &Versions) -> String {
    hex::encode(Sha256::digest(format!("{book:?}\n{versions:?}")))
}
