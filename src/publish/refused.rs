//! Events that are not out in full, from their refusal until Kafka has taken them whole.
//!
//! A row here is committed before anything after the event is sent, and goes only when the relay has seen Kafka commit
//! the whole event, so the count is never too low. Sending one again is an ordinary event of the outbox with the same
//! content and id: it gets a new position and the relay's own promises ([`super`]), whoever leads and wherever a crash
//! falls. What asks for it (`events resend`) needs no lock and no Kafka.

use serde::Serialize;
use tokio_postgres::{Client, Error, Row, Transaction, types::Type};
use uuid::Uuid;

use super::event::Topic;
use crate::reading::Timestamp;

/// Events that one statement of [`settle`] looks at; the rest is looked at a second later.
const SETTLED: i64 = 500;

/// Notes that the event at `position` does not go out in full, and why; `stand_in`: something goes in its place. One
/// that was on its way again is no longer.
pub(super) async fn refuse(client: &Client, position: i64, why: &str, stand_in: bool) -> Result<(), Error> {
    client
        .execute(
            "WITH marked AS ( \
                 UPDATE outbox SET refused = $2, stand_in = $3 WHERE position = $1 \
                 RETURNING event_id, position, topic, key, payload, created_at) \
             INSERT INTO refused_event (event_id, position, topic, key, payload, created_at, reason, stand_in) \
             SELECT event_id, position, topic, key, payload, created_at, $2, $3 FROM marked \
             ON CONFLICT (event_id) DO UPDATE SET position = excluded.position, reason = excluded.reason, \
                 stand_in = excluded.stand_in, refused_at = now(), resend_asked_at = NULL",
            &[&position, &why, &stand_in],
        )
        .await?;
    Ok(())
}

/// Takes out what was sent again and is in Kafka now, everything up to `sent` being there. Returns how many are left,
/// counted up to `limit`.
pub(super) async fn settle(client: &Client, sent: i64, limit: i64) -> Result<i64, Error> {
    // A row of the outbox that is gone was pruned, and only what is out is.
    client
        .execute(
            "DELETE FROM refused_event WHERE event_id = ANY(ARRAY( \
                 SELECT event_id FROM refused_event AS r WHERE resend_asked_at IS NOT NULL AND NOT EXISTS ( \
                     SELECT FROM outbox WHERE event_id = r.event_id AND (position IS NULL OR position > $1)) \
                 LIMIT $2)) AND resend_asked_at IS NOT NULL",
            &[&sent, &SETTLED],
        )
        .await?;
    let row =
        client.query_one("SELECT count(*) FROM (SELECT FROM refused_event LIMIT $1) AS counted", &[&limit]).await?;
    row.try_get(0)
}

/// An event that is not out in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    pub position: i64,
    /// The event's own `id`.
    pub id: Uuid,
    pub topic: &'static str,
    /// Its payload, bytes.
    pub bytes: i32,
    pub reason: String,
    /// Whether a stand-in is out in its place; otherwise nothing is.
    pub stand_in: bool,
    pub created_at: Timestamp,
    pub refused_at: Timestamp,
    /// Since when it is on its way again.
    pub resend_asked_at: Option<Timestamp>,
}

/// Events that are not out in full behind a position, in the order of positions, at most `limit`.
pub async fn list(client: &Client, after: i64, limit: i64) -> Result<Vec<Refused>, Error> {
    client
        .query_typed(
            "SELECT position, event_id, topic, octet_length(payload), reason, stand_in, created_at, refused_at, \
                 resend_asked_at \
             FROM refused_event WHERE position > $1 ORDER BY position LIMIT $2",
            &[(&after, Type::INT8), (&limit, Type::INT8)],
        )
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Those of the events `ids` that are not out in full, in the order of positions.
pub async fn of_ids(client: &Client, ids: &[Uuid]) -> Result<Vec<Refused>, Error> {
    client
        .query_typed(
            "SELECT position, event_id, topic, octet_length(payload), reason, stand_in, created_at, refused_at, \
                 resend_asked_at \
             FROM refused_event WHERE event_id = ANY($1) ORDER BY position",
            &[(&ids, Type::UUID_ARRAY)],
        )
        .await?
        .iter()
        .map(read)
        .collect()
}

/// Puts events back into the outbox, in the order of their positions, and returns how many. Those that are on their way
/// already, or out by now, are left as they are, so that a repeat changes nothing. After the commit the relay sends them.
pub async fn resend(transaction: &Transaction<'_>, ids: &[Uuid]) -> Result<u64, Error> {
    let asked = transaction
        .query_typed(
            "UPDATE refused_event SET resend_asked_at = now() WHERE event_id = ANY($1) AND resend_asked_at IS NULL \
             RETURNING event_id",
            &[(&ids, Type::UUID_ARRAY)],
        )
        .await?;
    let asked = asked.iter().map(|row| row.try_get(0)).collect::<Result<Vec<Uuid>, _>>()?;
    transaction.execute_typed("DELETE FROM outbox WHERE event_id = ANY($1)", &[(&asked, Type::UUID_ARRAY)]).await?;
    // Numbers are given in the order of the rows, and positions in the order of numbers.
    transaction
        .execute_typed(
            "INSERT INTO outbox (event_id, topic, key, payload) SELECT event_id, topic, key, payload \
             FROM refused_event WHERE event_id = ANY($1) ORDER BY position",
            &[(&asked, Type::UUID_ARRAY)],
        )
        .await
}

fn read(row: &Row) -> Result<Refused, Error> {
    Ok(Refused {
        position: row.try_get(0)?,
        id: row.try_get(1)?,
        // A number of a newer release cannot be here: a newer schema is refused at start.
        topic: Topic::from_code(row.try_get(2)?).unwrap_or(Topic::Violations).name(),
        bytes: row.try_get(3)?,
        reason: row.try_get(4)?,
        stand_in: row.try_get(5)?,
        created_at: row.try_get(6)?,
        refused_at: row.try_get(7)?,
        resend_asked_at: row.try_get(8)?,
    })
}
