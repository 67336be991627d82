//! Whether the database does its work: it answers, it commits, and its clock is ours; and how much waits in it.
//!
//! Reading proves nothing about writing. While messages are committed, the commits say how the store is; while messages
//! wait and none is, their age says it; and while nothing comes at all, a small write of our own that really commits.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::commits::Commits;
use crate::{
    api::readiness::{Board, Condition, Part},
    store::{
        connect::{Backoff, Connector},
        error::describe,
        probe,
    },
    telemetry::{Books, books::Levels, metrics as names},
};

/// Between two questions.
const EVERY: Duration = Duration::from_secs(5);
/// A database that takes longer for them is not up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at whether commits happen.
const BEAT: Duration = Duration::from_secs(1);

/// Rows counted at most; beyond them the age says enough.
const COUNTED: i64 = 100_000;

/// A difference of clocks from which it is told, microseconds. Kept in step by NTP they differ by milliseconds.
const CLOCK_TOLD: i64 = 5_000_000;

/// A difference from which one of both clocks is simply wrong, microseconds: leases, windows of terminals and retention go
/// by the server's, arrival and what is plausible by ours.
pub(super) const CLOCK_WRONG: i64 = 300_000_000;

/// What is watched, and where it is told.
pub(super) struct DatabaseWatch {
    pub connector: Connector,
    pub flavour: &'static str,
    pub board: Arc<Board>,
    pub books: Arc<Books>,
    pub commits: Arc<Commits>,
}

impl DatabaseWatch {
    /// Asks every few seconds until cancelled.
    pub async fn run(self, stop: CancellationToken) {
        let mut client: Option<Client> = None;
        let mut backoff = Backoff::new(Duration::from_millis(500), EVERY);
        let mut ask_at = Instant::now();
        let mut answer = Ok(());
        while !stop.is_cancelled() {
            if Instant::now() >= ask_at {
                let Some(asked) = stop.run_until_cancelled(self.ask_in_time(&mut client)).await else { return };
                let wait = if asked.is_ok() {
                    backoff.reset();
                    EVERY
                } else {
                    client = None;
                    backoff.delay()
                };
                ask_at = Instant::now() + wait;
                answer = asked;
            }
            match (&answer, self.commits.stuck()) {
                (Err(why), _) => self.board.set(Part::Database, Condition::Down, why),
                (Ok(()), Some(stuck)) => self.board.set(Part::Database, Condition::Down, stuck),
                (Ok(()), None) => self.board.set(Part::Database, Condition::Up, self.flavour),
            }
            let rest = BEAT.min(ask_at.saturating_duration_since(Instant::now()));
            if stop.run_until_cancelled(tokio::time::sleep(rest)).await.is_none() {
                return;
            }
        }
    }

    async fn ask_in_time(&self, client: &mut Option<Client>) -> Result<(), String> {
        match tokio::time::timeout(PATIENCE, self.ask(client)).await {
            Ok(answer) => answer,
            Err(_) => {
                if let Some(client) = client {
                    // Or a server whose commits hang would keep one more session with each probe.
                    let _in_time = tokio::time::timeout(PATIENCE, self.connector.cancel(client)).await;
                }
                Err(format!("no answer within {} s", PATIENCE.as_secs()))
            }
        }
    }

    async fn ask(&self, client: &mut Option<Client>) -> Result<(), String> {
        let client = match client {
            Some(client) if !client.is_closed() => client,
            missing => missing.insert(self.connector.connect("watch").await.map_err(|error| error.to_string())?),
        };
        let offset = probe::clock_offset(client).await.map_err(|error| describe(&error))?;
        self.show_clock(offset);
        look(client, &self.books.levels).await.map_err(|error| describe(&error))?;
        if self.commits.quiet(&self.books) {
            let written = probe::commit(client).await;
            written.map_err(|error| format!("nothing can be committed: {}", describe(&error)))?;
        }
        Ok(())
    }

    fn show_clock(&self, offset: i64) {
        metrics::gauge!(names::DATABASE_CLOCK_OFFSET_SECONDS).set(offset as f64 / 1e6);
        let (condition, detail) = clock(offset);
        self.board.set(Part::Clock, condition, detail);
    }
}

/// How a difference of clocks is shown, microseconds the server is ahead.
fn clock(offset: i64) -> (Condition, String) {
    let by = offset.unsigned_abs() as f64 / 1e6;
    let way = if offset > 0 { "ahead of" } else { "behind" };
    let told = || format!("the database server's clock is {by:.1} s {way} this machine's: set both by NTP");
    match offset.abs() {
        ..CLOCK_TOLD => (Condition::Up, "in step with the database server's".to_owned()),
        CLOCK_TOLD..CLOCK_WRONG => (Condition::Degraded, told()),
        _ => (Condition::Down, told() + "; readings are taken and kept, and none is deleted for its age meanwhile"),
    }
}

async fn look(client: &Client, levels: &Levels) -> Result<(), tokio_postgres::Error> {
    let row = client
        .query_one(
            "SELECT (SELECT count(*) FROM (SELECT FROM evaluation_task LIMIT $1) AS t), \
             COALESCE((SELECT extract(epoch FROM now() - created_at) FROM evaluation_task ORDER BY id LIMIT 1), 0)::float8, \
             (SELECT count(*) FROM (SELECT FROM terminal_task WHERE due_at <= now() LIMIT $1) AS t), \
             COALESCE((SELECT extract(epoch FROM now() - min(due_at)) FROM terminal_task WHERE due_at <= now()), 0)::float8",
            &[&COUNTED],
        )
        .await?;
    let number = |place| u64::try_from(row.get::<_, i64>(place)).unwrap_or_default();
    // A server's clock may be behind what it wrote a moment before.
    let milliseconds = |place| (row.get::<_, f64>(place).max(0.0) * 1e3) as u64;
    levels.evaluation_backlog.set(number(0));
    levels.evaluation_oldest_ms.set(milliseconds(1));
    levels.terminal_backlog.set(number(2));
    levels.terminal_oldest_ms.set(milliseconds(3));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_differ_are_told_by_how_much_and_which_way() {
        assert_eq!(clock(4_900_000).0, Condition::Up);
        let (condition, detail) = clock(-6_000_000);
        assert_eq!(condition, Condition::Degraded);
        assert!(detail.contains("6.0 s behind this machine's"), "{detail}");
        let (condition, detail) = clock(3_600_000_000);
        assert_eq!(condition, Condition::Down);
        assert!(detail.contains("3600.0 s ahead of this machine's"), "{detail}");
    }
}
