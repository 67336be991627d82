//! The outbox table in SQL: every statement the writers and the relay run on it.
//!
//! Positions are given by `step` alone, and only in the session that holds the relay's advisory lock. One statement
//! takes the committed rows that have none, in order of insertion, and counts the counter up; so positions have no gaps,
//! every position is visible once a later one is, and two events of one key keep the order in which they were written
//! (the second writer saw the first one's commit before it took its `id`).

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_postgres::{Client, Error, Row, Transaction, types::Type};
use uuid::Uuid;

use super::{
    event::{self, Event, Topic},
    floor::Floor,
};
use crate::reading::Timestamp;

/// Rows positioned or read at once. A batch is one Kafka transaction; beyond some hundreds of records its fixed cost no
/// longer shows.
pub const BATCH_ROWS: i64 = 500;

/// Payload bytes positioned or read at once; the row that passes the mark is still taken.
pub const BATCH_BYTES: i64 = 4 * 1024 * 1024;

/// Rows looked at by one statement of [`prune`], so that its locks stay short.
const PRUNE_ROWS: i64 = 5_000;

/// The condition holds always: it makes sure that the transaction has an id before its rows get numbers, which the
/// relay's floor rests on.
const INSERT: &str = "INSERT INTO outbox (event_id, topic, key, payload) \
     SELECT * FROM unnest($1::uuid[], $2::int2[], $3::text[], $4::bytea[]) WHERE pg_current_xact_id() IS NOT NULL \
     ON CONFLICT (event_id) DO NOTHING";

/// Adds events to the storing transaction; returns how many were new. One round trip, none for no events.
///
/// The order of `events` is the order of their ids. Call [`Relay::nudge`](super::Relay::nudge) after the commit.
pub async fn insert(transaction: &Transaction<'_>, events: &[Event]) -> Result<u64, Error> {
    if events.is_empty() {
        return Ok(0);
    }
    let ids: Vec<Uuid> = events.iter().map(|e| e.id).collect();
    let topics: Vec<i16> = events.iter().map(|e| e.topic.code()).collect();
    let keys: Vec<&str> = events.iter().map(|e| e.key.as_str()).collect();
    let payloads: Vec<&[u8]> = events.iter().map(|e| e.payload.as_slice()).collect();
    transaction
        .execute_typed(
            INSERT,
            &[
                (&ids, Type::UUID_ARRAY),
                (&topics, Type::INT2_ARRAY),
                (&keys, Type::TEXT_ARRAY),
                (&payloads, Type::BYTEA_ARRAY),
            ],
        )
        .await
}

/// An event with its place in the one order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Positioned {
    /// 1 and up, in the order everybody sees; without gaps but where events were pruned.
    pub position: i64,
    pub topic: Topic,
    pub id: Uuid,
    pub key: String,
    /// The CloudEvents JSON text; on its way to Kafka, that of the stand-in where `stand_in`.
    pub payload: Vec<u8>,
    pub created_at: Timestamp,
    /// Whether it is a stand-in for an event that does not go out in full.
    pub stand_in: bool,
}

impl Positioned {
    /// What goes to Kafka in the place of this event; `why` is for people.
    pub fn stand_in(&self, why: &str) -> Self {
        let payload = event::stand_in(self.id, &self.key, &self.payload, why);
        Self { payload, stand_in: true, key: self.key.clone(), ..*self }
    }
}

/// Offset per topic and partition from which on a record of ours may lie that the database does not know of.
pub type Ends = BTreeMap<(Topic, i32), i64>;

/// How far the relay has come, as the database knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    pub origin: Uuid,
    /// Highest position given.
    pub last: i64,
    /// Highest position known to be in Kafka; with all lower ones.
    pub sent: i64,
    pub ends: Ends,
}

/// What a Kafka commit adds to [`State`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    pub sent: i64,
    pub ends: Ends,
}

impl Progress {
    /// Takes in a later progress.
    pub fn merge(&mut self, later: Progress) {
        self.sent = self.sent.max(later.sent);
        self.ends.extend(later.ends);
    }
}

/// Reads the relay's row.
pub async fn state(client: &Client) -> Result<State, Error> {
    let row = client.query_one("SELECT origin, last_position, sent_position, ends FROM outbox_relay", &[]).await?;
    let ends = parse_ends(&row.try_get::<_, Value>("ends")?);
    Ok(State {
        origin: row.try_get("origin")?,
        last: row.try_get("last_position")?,
        sent: row.try_get("sent_position")?,
        ends,
    })
}

/// Notes `progress`, gives waiting rows their positions and returns them in order: one statement, one commit.
///
/// It touches the rows of one batch, whatever waits behind them and whatever the planner believes: the rows are taken from
/// the index of waiting ones, and changed by primary key. There is no join that could be turned round, and the condition
/// that a row has no position stands only where that index is meant, or a planner that last saw an empty queue would read all
/// of it again for each row of the batch (1.8 s with 20 000 waiting). A row's rank is its place among the ids.
///
/// Followers hear of new positions on the channel [`POSITIONS`].
pub const STEP: &str = "
WITH waiting AS MATERIALIZED (
    SELECT event_id, id
    FROM (SELECT event_id, id, sum(octet_length(payload)) OVER (ORDER BY id) - octet_length(payload) AS before
          FROM (SELECT event_id, id, payload FROM outbox WHERE position IS NULL AND id >= $5::bigint
                ORDER BY id LIMIT $1::bigint) AS candidate
         ) AS sized
    WHERE before < $2::bigint
), counter AS (
    UPDATE outbox_relay SET
        last_position = last_position + (SELECT count(*) FROM waiting),
        sent_position = greatest(sent_position, $3::bigint),
        ends = ends || $4::jsonb,
        changed_at = now()
    WHERE $3::bigint > sent_position OR $4::jsonb <> '{}' OR EXISTS (SELECT FROM waiting)
    RETURNING last_position - (SELECT count(*) FROM waiting) AS base,
        CASE WHEN EXISTS (SELECT FROM waiting) THEN pg_notify('dieselwatch_positions', '') END
)
UPDATE outbox SET position = (SELECT base FROM counter) + width_bucket(id, ARRAY(SELECT id FROM waiting ORDER BY id))
WHERE event_id = ANY(ARRAY(SELECT event_id FROM waiting))
RETURNING position, topic, event_id, key, payload, created_at, id";

/// Channel on which a replica without the lock tells the relay that it committed events.
pub const WAITING: &str = "dieselwatch_outbox";

/// Channel on which the relay tells the others that events got positions.
pub const POSITIONS: &str = "dieselwatch_positions";

/// Runs [`STEP`], prepared by the caller's session, on rows from `floor` on, and raises it.
pub(super) async fn step(
    client: &Client,
    statement: &tokio_postgres::Statement,
    progress: &Progress,
    floor: &mut Floor,
) -> Result<Vec<Positioned>, Error> {
    let ends = ends_json(&progress.ends);
    let rows = client.query(statement, &[&BATCH_ROWS, &BATCH_BYTES, &progress.sent, &ends, &floor.lowest()]).await?;
    let numbers = rows.iter().map(|row| row.try_get::<_, i64>("id")).collect::<Result<Vec<_>, _>>()?;
    floor.taken(numbers.into_iter().max());
    let mut events = rows.iter().map(positioned).collect::<Result<Vec<_>, _>>()?;
    // RETURNING has no order of its own.
    events.sort_unstable_by_key(|event| event.position);
    Ok(events)
}

/// Moves the counter to at least `sent`: Kafka holds more than this database remembers having given, after a restore.
pub async fn catch_up(client: &Client, progress: &Progress) -> Result<(), Error> {
    client
        .execute(
            "UPDATE outbox_relay SET last_position = greatest(last_position, $1), \
             sent_position = greatest(sent_position, $1), ends = ends || $2::jsonb, changed_at = now()",
            &[&progress.sent, &ends_json(&progress.ends)],
        )
        .await?;
    Ok(())
}

/// What goes to Kafka after the position `after`, in order: positioned events, stand-ins for those that do not go out in
/// full, and nothing for those of which not even that goes. At most [`BATCH_ROWS`] and about [`BATCH_BYTES`].
pub async fn backlog(client: &Client, after: i64) -> Result<Vec<Positioned>, Error> {
    client
        .query(
            "SELECT position, topic, event_id, key, payload, created_at, refused \
             FROM (SELECT *, sum(octet_length(payload)) OVER (ORDER BY position) - octet_length(payload) AS before \
                   FROM (SELECT * FROM outbox WHERE position > $1 AND (refused IS NULL OR stand_in) \
                         ORDER BY position LIMIT $2) AS next \
                  ) AS sized \
             WHERE before < $3 ORDER BY position",
            &[&after, &BATCH_ROWS, &BATCH_BYTES],
        )
        .await?
        .iter()
        .map(|row| {
            let event = positioned(row)?;
            let refused: Option<&str> = row.try_get("refused")?;
            Ok(refused.map(|why| event.stand_in(why)).unwrap_or(event))
        })
        .collect()
}

/// Events without a position from the number `floor` on, counted up to `limit`.
pub async fn waiting(client: &Client, floor: i64, limit: i64) -> Result<i64, Error> {
    let row = client
        .query_one(
            "SELECT count(*) FROM (SELECT FROM outbox WHERE position IS NULL AND id >= $1 LIMIT $2) AS counted",
            &[&floor, &limit],
        )
        .await?;
    row.try_get(0)
}

/// When the oldest event that is not out was made: without a position (from the number `floor` on), or after `sent`.
pub async fn oldest_unsent(client: &Client, floor: i64, sent: i64) -> Result<Option<Timestamp>, Error> {
    let row = client
        .query_one(
            "SELECT least((SELECT created_at FROM outbox WHERE position IS NULL AND id >= $1 \
                           ORDER BY id LIMIT 1), \
             (SELECT created_at FROM outbox WHERE position > $2 ORDER BY position LIMIT 1))",
            &[&floor, &sent],
        )
        .await?;
    row.try_get(0)
}

/// Deletes events made before `before` that are out: positioned and, where Kafka is configured, in Kafka, or kept in
/// `refused_event` (see [`refused`](super::refused)). Returns how many. Works in short statements; old events are always at the head of the order.
///
/// The row is what makes an event id unique, so a finding must not state an old revision again after this; revisions
/// only count up, so it does not.
pub async fn prune(client: &Client, before: Timestamp, kafka: bool) -> Result<u64, Error> {
    let mut deleted = 0;
    loop {
        let some = client
            .execute(
                "DELETE FROM outbox WHERE event_id = ANY(ARRAY( \
                     SELECT event_id \
                     FROM (SELECT event_id, created_at, position FROM outbox WHERE position IS NOT NULL \
                           ORDER BY position LIMIT $1) AS head \
                     WHERE created_at < $2 AND (NOT $3 OR position <= (SELECT sent_position FROM outbox_relay))))",
                &[&PRUNE_ROWS, &before, &kafka],
            )
            .await?;
        deleted += some;
        if some < PRUNE_ROWS.unsigned_abs() {
            return Ok(deleted);
        }
    }
}

pub(super) fn positioned(row: &Row) -> Result<Positioned, Error> {
    let code: i16 = row.try_get("topic")?;
    Ok(Positioned {
        position: row.try_get("position")?,
        // A number of a newer release cannot be here: a newer schema is refused at start.
        topic: Topic::from_code(code).unwrap_or(Topic::Violations),
        id: row.try_get("event_id")?,
        key: row.try_get("key")?,
        payload: row.try_get("payload")?,
        created_at: row.try_get("created_at")?,
        stand_in: false,
    })
}

fn ends_json(ends: &Ends) -> Value {
    ends.iter().map(|((topic, partition), end)| (format!("{}/{partition}", topic.code()), Value::from(*end))).collect()
}

fn parse_ends(json: &Value) -> Ends {
    let entries = json.as_object().into_iter().flatten();
    entries
        .filter_map(|(name, end)| {
            let (topic, partition) = name.split_once('/')?;
            Some(((Topic::from_code(topic.parse().ok()?)?, partition.parse().ok()?), end.as_i64()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_survive_the_round_trip() {
        let ends = Ends::from([((Topic::Violations, 0), 17), ((Topic::Intercepts, 11), 0)]);
        assert_eq!(parse_ends(&ends_json(&ends)), ends);
        assert_eq!(ends_json(&Ends::new()), serde_json::json!({}));
        assert_eq!(parse_ends(&serde_json::json!({ "9/0": 1, "1": 2, "1/x": 3 })), Ends::new());
    }

    #[test]
    fn progress_only_grows() {
        let mut progress = Progress { sent: 7, ends: Ends::from([((Topic::Violations, 0), 3)]) };
        progress
            .merge(Progress { sent: 5, ends: Ends::from([((Topic::Violations, 0), 9), ((Topic::Violations, 1), 1)]) });
        assert_eq!(progress.sent, 7);
        assert_eq!(progress.ends, Ends::from([((Topic::Violations, 0), 9), ((Topic::Violations, 1), 1)]));
    }
}
