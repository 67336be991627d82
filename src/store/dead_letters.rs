//! Reading and replaying what was put aside.

use tokio_postgres::{Client, Row};

use crate::{fault::Reason, reading::Timestamp};

/// One line of the dead-letter table, without its bytes, of which a few can fill the memory.
#[derive(Clone, Debug, serde::Serialize)]
pub struct Stored {
    pub id: i64,
    pub received_at: Timestamp,
    pub source: String,
    pub topic: String,
    pub reason: String,
    pub detail: String,
    pub element: Option<i32>,
    pub bytes: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replayed_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replay_result: Option<String>,
}

impl Stored {
    fn of(row: &Row) -> Self {
        Self {
            id: row.get("id"),
            received_at: row.get("received_at"),
            source: row.get("source"),
            topic: row.get("topic"),
            reason: row.get("reason"),
            detail: row.get("detail"),
            element: row.get("element"),
            bytes: row.get("bytes"),
            replayed_at: row.get("replayed_at"),
            replay_result: row.get("replay_result"),
        }
    }
}

/// Which dead letters; every part given must hold.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    pub id: Option<i64>,
    pub reason: Option<Reason>,
    pub source: Option<String>,
    pub since: Option<Timestamp>,
    /// Also those that were replayed already.
    pub replayed: bool,
}

/// Up to `limit` letters with an id above `after`, in order.
pub async fn list(
    client: &Client,
    filter: &Filter,
    after: i64,
    limit: i64,
) -> Result<Vec<Stored>, tokio_postgres::Error> {
    let rows = client
        .query(
            "SELECT id, received_at, source, topic, reason, detail, element, octet_length(raw)::int8 AS bytes, replayed_at, \
             replay_result FROM dead_letter WHERE id > $1 AND ($2::int8 IS NULL OR id = $2) \
             AND ($3::text IS NULL OR reason = $3) AND ($4::text IS NULL OR source = $4) \
             AND ($5::timestamptz IS NULL OR received_at >= $5) AND ($6 OR replayed_at IS NULL) \
             ORDER BY id LIMIT $7",
            &[
                &after,
                &filter.id,
                &filter.reason.map(Reason::name),
                &filter.source,
                &filter.since,
                &filter.replayed,
                &limit,
            ],
        )
        .await?;
    Ok(rows.iter().map(Stored::of).collect())
}

/// The bytes of one letter.
pub async fn raw(client: &Client, id: i64) -> Result<Vec<u8>, tokio_postgres::Error> {
    client.query_one("SELECT raw FROM dead_letter WHERE id = $1", &[&id]).await?.try_get(0)
}

/// Notes that a letter went through the path again and how that ended.
pub async fn mark_replayed(client: &Client, id: i64, result: &str) -> Result<(), tokio_postgres::Error> {
    client
        .execute("UPDATE dead_letter SET replayed_at = now(), replay_result = $2 WHERE id = $1", &[&id, &result])
        .await?;
    Ok(())
}
