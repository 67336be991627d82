//! Whether the database answers, and how much waits in it: what nobody would say who only waits for it.

use std::{sync::Arc, time::Duration};

use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::{
    api::readiness::{Board, Condition, Part},
    store::{
        connect::{Backoff, Connector},
        error::describe,
    },
    telemetry::{Books, books::Levels},
};

/// Between two questions.
const EVERY: Duration = Duration::from_secs(5);
/// A database that takes longer for this is not up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Rows counted at most; beyond them the age says enough.
const COUNTED: i64 = 100_000;

/// Asks every few seconds until cancelled.
pub(super) async fn watch_database(
    connector: Connector,
    flavour: &'static str,
    board: Arc<Board>,
    books: Arc<Books>,
    stop: CancellationToken,
) {
    let mut client: Option<Client> = None;
    let mut backoff = Backoff::new(Duration::from_millis(500), EVERY);
    while !stop.is_cancelled() {
        let asked = tokio::time::timeout(PATIENCE, ask(&connector, &mut client, &books.levels));
        let Some(asked) = stop.run_until_cancelled(asked).await else { return };
        let answer = asked.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())));
        let up = answer.is_ok();
        match answer {
            Ok(()) => board.set(Part::Database, Condition::Up, flavour),
            Err(why) => {
                client = None;
                board.set(Part::Database, Condition::Down, why);
            }
        }
        let rest = async {
            if up {
                backoff.reset();
                tokio::time::sleep(EVERY).await;
            } else {
                backoff.wait().await;
            }
        };
        if stop.run_until_cancelled(rest).await.is_none() {
            return;
        }
    }
}

async fn ask(connector: &Connector, client: &mut Option<Client>, levels: &Levels) -> Result<(), String> {
    let client = match client {
        Some(client) if !client.is_closed() => client,
        missing => missing.insert(connector.connect("watch").await.map_err(|error| error.to_string())?),
    };
    let row = client
        .query_one(
            "SELECT (SELECT count(*) FROM (SELECT FROM evaluation_task LIMIT $1) AS t), \
             COALESCE((SELECT extract(epoch FROM now() - created_at) FROM evaluation_task ORDER BY id LIMIT 1), 0)::float8, \
             (SELECT count(*) FROM (SELECT FROM terminal_task WHERE due_at <= now() LIMIT $1) AS t), \
             COALESCE((SELECT extract(epoch FROM now() - min(due_at)) FROM terminal_task WHERE due_at <= now()), 0)::float8",
            &[&COUNTED],
        )
        .await
        .map_err(|error| describe(&error))?;
    let number = |place| u64::try_from(row.get::<_, i64>(place)).unwrap_or_default();
    // A server's clock may be behind what it wrote a moment before.
    let milliseconds = |place| (row.get::<_, f64>(place).max(0.0) * 1e3) as u64;
    levels.evaluation_backlog.set(number(0));
    levels.evaluation_oldest_ms.set(milliseconds(1));
    levels.terminal_backlog.set(number(2));
    levels.terminal_oldest_ms.set(milliseconds(3));
    Ok(())
}
