//! Messages and readings that were put aside.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use utoipa::{IntoParams, ToSchema};

use super::{
    App, Problem, cursor, database,
    params::{Id, Limit, Page, Params},
    raw::{Raw, SHOWN},
};
use crate::{fault::Reason, reading::Timestamp};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Name of the `[[source]]`.
    source: Option<String>,
    /// Why it was put aside, such as `checksum_mismatch`.
    reason: Option<String>,
    /// Only those put back (`true`) or still lying there (`false`).
    replayed: Option<bool>,
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Limit,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct DeadLetter {
    pub id: i64,
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
    pub source: String,
    /// MQTT topic it came on.
    pub topic: String,
    pub reason: String,
    /// What exactly is wrong and where.
    pub detail: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    pub replayed_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct DeadLetterDetail {
    #[serde(flatten)]
    letter: DeadLetter,
    raw: Raw,
}

const LIST: &str = "
    SELECT id, received_at, source, topic, reason, detail, replayed_at FROM dead_letter
    WHERE ($1::int8 IS NULL OR id < $1) AND ($2::text IS NULL OR source = $2) AND ($3::text IS NULL OR reason = $3)
      AND ($4::bool IS NULL OR (replayed_at IS NOT NULL) = $4)
    ORDER BY id DESC LIMIT $5";
const SHOW: &str = "
    SELECT id, received_at, source, topic, reason, detail, replayed_at, substring(raw FOR $2), octet_length(raw), sha256
    FROM dead_letter WHERE id = $1";
/// The newest, for the page.
pub const LATEST: &str =
    "SELECT id, received_at, source, topic, reason, detail, replayed_at FROM dead_letter ORDER BY id DESC LIMIT $1";

/// Quarantined messages and readings, newest first.
#[utoipa::path(
    get, path = "/api/v1/dead-letters", tag = "quarantine", params(Filter),
    responses((status = OK, body = Page<DeadLetter>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
pub async fn list(State(app): State<App>, Params(filter): Params<Filter>) -> Result<Json<Page<DeadLetter>>, Problem> {
    if filter.reason.as_deref().is_some_and(|reason| Reason::parse(reason).is_none()) {
        let names: Vec<_> = Reason::ALL.iter().map(|reason| reason.name()).collect();
        return Err(Problem::bad_request(format!("reason: must be one of {}", names.join(", "))));
    }
    let before = filter.cursor.as_deref().map(read_cursor).transpose()?;
    let connection = database::connection(&app.state.pool).await?;
    let statement = connection.prepare_cached(LIST).await?;
    let wanted = filter.limit.rows() + 1;
    let rows =
        connection.query(&statement, &[&before, &filter.source, &filter.reason, &filter.replayed, &wanted]).await?;
    let items = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Json(Page::cut(items, filter.limit, |last: &DeadLetter| cursor::write(&[&last.id]))))
}

/// One quarantined message with its raw bytes.
#[utoipa::path(
    get, path = "/api/v1/dead-letters/{id}", tag = "quarantine", params(("id" = i64, Path)),
    responses(
        (status = OK, body = DeadLetterDetail),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn show(State(app): State<App>, Id(id): Id<i64>) -> Result<Json<DeadLetterDetail>, Problem> {
    let connection = database::connection(&app.state.pool).await?;
    let row = connection.query_opt(SHOW, &[&id, &SHOWN]).await?.ok_or_else(|| Problem::no_such("dead letter"))?;
    let raw = Raw::new(row.try_get(7)?, row.try_get(8)?, row.try_get(9)?);
    Ok(Json(DeadLetterDetail { letter: read(&row)?, raw }))
}

fn read_cursor(text: &str) -> Result<i64, Problem> {
    let mut fields = cursor::Reader::new(text);
    let id = fields.field()?;
    fields.end()?;
    Ok(id)
}

pub fn read(row: &Row) -> Result<DeadLetter, tokio_postgres::Error> {
    Ok(DeadLetter {
        id: row.try_get(0)?,
        received_at: row.try_get(1)?,
        source: row.try_get(2)?,
        topic: row.try_get(3)?,
        reason: row.try_get(4)?,
        detail: row.try_get(5)?,
        replayed_at: row.try_get(6)?,
    })
}
