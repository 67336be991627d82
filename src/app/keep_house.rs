//! Deletes what is older than its retention, beside everything else.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::watch_database::CLOCK_WRONG;
use crate::{
    config::Config,
    publish,
    reading::Timestamp,
    store::{
        connect::Connector,
        error::{class_of, describe},
        housekeeping::{self, Aged},
        migrate::Flavour,
        probe,
    },
};

/// Events that are out stay readable over HTTP for thirty days.
const EVENTS_KEPT_SECONDS: i64 = 30 * 86_400;

/// Failures in a row over one table before it is left for the next hour.
const TRIES: u32 = 3;

/// A table to be cleaned.
#[derive(Clone, Copy)]
enum Chore {
    Aged(Aged),
    Outbox { before: Timestamp },
}

impl Chore {
    const fn table(self) -> &'static str {
        match self {
            Chore::Aged(aged) => aged.table,
            Chore::Outbox { .. } => "outbox",
        }
    }

    /// Deletes a little; 0 when nothing is left.
    async fn bite(self, client: &Client, config: &Config) -> Result<u64, tokio_postgres::Error> {
        match self {
            Chore::Aged(aged) => housekeeping::delete_one_bite(client, aged, &config.retention).await,
            Chore::Outbox { before } => publish::outbox::prune(client, before, config.kafka.is_some()).await,
        }
    }
}

/// In small bites at start, then every hour. A table that cannot be cleaned keeps no other one waiting; a session that is
/// lost is made again at once. By a clock that is wrong nothing is deleted.
pub(super) async fn keep_house(connector: Connector, flavour: Flavour, config: Config, stop: CancellationToken) {
    let mut hour = tokio::time::interval(Duration::from_secs(3600));
    while stop.run_until_cancelled(hour.tick()).await.is_some() {
        let Some(mut client) = connector.connect_patiently("housekeeping", &stop).await else { return };
        match probe::clock_offset(&client).await {
            Ok(offset) if offset.abs() < CLOCK_WRONG => {}
            Ok(_) => {
                tracing::error!(
                    "the clocks of this machine and of the database server differ by minutes; nothing is deleted"
                );
                continue;
            }
            Err(error) => {
                tracing::warn!(error = %describe(&error), "housekeeping could not begin; it is tried again in an hour");
                continue;
            }
        }
        let before = Timestamp::now().plus_seconds(-EVENTS_KEPT_SECONDS);
        for chore in housekeeping::aged(flavour).map(Chore::Aged).chain([Chore::Outbox { before }]) {
            let Some(left) = clean(&connector, client, chore, &config, &stop).await else { return };
            client = left;
        }
    }
}

/// Bites until nothing is left or one fails for good; gives back a session that can be used. `None` when cancelled.
async fn clean(
    connector: &Connector,
    mut client: Client,
    chore: Chore,
    config: &Config,
    stop: &CancellationToken,
) -> Option<Client> {
    let table = chore.table();
    let (mut rows, mut failures) = (0, 0);
    while !stop.is_cancelled() {
        match chore.bite(&client, config).await {
            Ok(0) => break,
            Ok(deleted) => (rows, failures) = (rows + deleted, 0),
            Err(error) => {
                let (class, error) = (class_of(&error), describe(&error));
                failures += 1;
                let left = !class.passes() || failures == TRIES;
                tracing::warn!(table, ?class, error, until_next_hour = left, "housekeeping was interrupted");
                if !class.keeps_session() {
                    client = connector.connect_patiently("housekeeping", stop).await?;
                }
                if left {
                    break;
                }
            }
        }
    }
    if rows > 0 {
        tracing::info!(table, rows, "deleted rows past their retention");
    }
    Some(client)
}
