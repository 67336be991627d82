//! The events of the contract, section 6, without Kafka: by position, or as they come.

use std::collections::VecDeque;

use axum::{
    Json,
    extract::State,
    http::HeaderMap,
    response::sse::{self, KeepAlive, Sse},
};
use deadpool_postgres::Pool;
use futures_util::{Stream, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use tokio_postgres::Row;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    App, Problem, database,
    params::{Id, Limit, Params},
    problem::Kind,
    tail::Tail,
};
use crate::publish::event::Topic;

/// Events a stream reads at a time: a few hundred kilobytes in memory per open stream at most.
const STREAM_PAGE: i64 = 100;
/// How long a stream waits before it asks a database again that did not answer.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(1);

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct After {
    /// Events behind this position; 0 for all that are kept.
    #[serde(default)]
    #[param(minimum = 0)]
    after: i64,
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Limit,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct From {
    /// Begin behind this position; without it and without `Last-Event-ID`, with the next event that happens.
    #[param(minimum = 0)]
    after: Option<i64>,
}

/// One event and its place among all of them.
#[derive(Debug, Serialize, ToSchema)]
pub struct Positioned {
    position: i64,
    /// Kafka topic it belongs to.
    topic: &'static str,
    /// CloudEvents 1.0, structured.
    #[schema(value_type = Object)]
    event: Box<RawValue>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Events {
    events: Vec<Positioned>,
    /// Give it back as `after`; the same as was given when there was nothing new.
    next: i64,
    /// Position of the oldest event still kept. When it is past `after` + 1, events in between are no longer here.
    oldest: Option<i64>,
}

const PAGE: &str = "SELECT position, topic, payload FROM outbox WHERE position > $1 ORDER BY position LIMIT $2";
/// Kept where it has left the outbox without being out in full.
const SHOW: &str = "
    SELECT position, topic, payload FROM outbox WHERE event_id = $1 AND position IS NOT NULL
    UNION ALL SELECT position, topic, payload FROM refused_event WHERE event_id = $1
    LIMIT 1";
const OLDEST: &str = "SELECT min(position) FROM outbox";

/// Events in their order, behind a position.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events", params(After),
    responses((status = OK, body = Events), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
pub async fn list(State(app): State<App>, Params(wanted): Params<After>) -> Result<Json<Events>, Problem> {
    let oldest = oldest(&app.state.pool).await?;
    let events = page(&app.state.pool, wanted.after, wanted.limit.rows()).await?;
    let next = events.last().map_or(wanted.after, |event| event.position);
    Ok(Json(Events { events, next, oldest }))
}

/// One event in full, by its `id`: also one of which only a stand-in is in Kafka. Events are kept for thirty days, and for as
/// long as they are not out in full.
#[utoipa::path(
    get, path = "/api/v1/events/{id}", tag = "events", params(("id" = String, Path, format = "uuid")),
    responses(
        (status = OK, body = Positioned),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn show(State(app): State<App>, Id(id): Id<Uuid>) -> Result<Json<Positioned>, Problem> {
    let connection = database::connection(&app.state.pool).await?;
    let row = connection.query_opt(SHOW, &[&id]).await?.ok_or_else(|| Problem::no_such("event"))?;
    read(&row).map(Json)
}

/// Events as they come (server-sent events). `id` is the position, `event` the topic, `data` the CloudEvent; a browser resumes by
/// itself with `Last-Event-ID`. An event named `resync` (`{"after":..,"oldest":..}`) says that what the reader wanted is no
/// longer kept, or that positions began anew: read the state afresh; the stream goes on from there.
#[utoipa::path(
    get, path = "/api/v1/events/stream", tag = "events",
    params(From, ("Last-Event-ID" = Option<i64>, Header, description = "Position of the last event seen")),
    responses(
        (status = OK, body = String, content_type = "text/event-stream"),
        (status = "4XX", body = Problem, content_type = "application/problem+json"),
        (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn stream(
    State(app): State<App>,
    headers: HeaderMap,
    Params(from): Params<From>,
) -> Result<Sse<impl Stream<Item = Result<sse::Event, std::convert::Infallible>>>, Problem> {
    let permit = app.streams.clone().try_acquire_owned().map_err(|_| Problem::new(Kind::TooManyStreams))?;
    let pool = app.state.pool.clone();
    let tail = app.tail.clone();
    // The header is what a browser remembers from its last connection, so it is newer than the address.
    let wanted = match headers.get("last-event-id") {
        None => from.after,
        Some(text) => Some(
            text.to_str()
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or_else(|| Problem::bad_request("Last-Event-ID: not a position"))?,
        ),
    };
    let (position, resync) = begin(&pool, wanted).await?;
    let first = stream::iter(resync);
    let reader = Reader { pool, tail, position, page: VecDeque::new(), _open: permit };
    let events = first.chain(stream::unfold(reader, Reader::next)).map(Ok);
    Ok(Sse::new(events.take_until(app.stop.cancelled_owned())).keep_alive(KeepAlive::default()))
}

/// Where a stream begins, and what its reader must be told about that.
async fn begin(pool: &Pool, wanted: Option<i64>) -> Result<(i64, Option<sse::Event>), Problem> {
    let connection = database::connection(pool).await?;
    let row = connection.query_one("SELECT min(position), coalesce(max(position), 0) FROM outbox", &[]).await?;
    let (oldest, newest): (Option<i64>, i64) = (row.try_get(0)?, row.try_get(1)?);
    let Some(after) = wanted else { return Ok((newest, None)) };
    let (position, missing) = start_behind(after, oldest, newest);
    let told = missing.then(|| {
        let data = serde_json::json!({ "after": after, "oldest": oldest });
        sse::Event::default().event("resync").data(data.to_string())
    });
    Ok((position, told))
}

/// The position to read behind, and whether events the reader has not seen are out of reach.
fn start_behind(after: i64, oldest: Option<i64>, newest: i64) -> (i64, bool) {
    if after > newest {
        // The reader knows positions that do not exist: another database, or one put back from a backup.
        return (newest, true);
    }
    (after, after > 0 && oldest.is_some_and(|oldest| oldest > after + 1))
}

struct Reader {
    pool: Pool,
    tail: Tail,
    position: i64,
    page: VecDeque<Positioned>,
    _open: OwnedSemaphorePermit,
}

impl Reader {
    /// The next event, however long that takes; `None` when the service stops.
    async fn next(mut self) -> Option<(sse::Event, Self)> {
        loop {
            if let Some(event) = self.page.pop_front() {
                self.position = event.position;
                return Some((event.into_sse(), self));
            }
            // Seen before it is read, so that an event that comes meanwhile wakes the wait below.
            if *self.tail.borrow_and_update() <= self.position {
                self.tail.changed().await.ok()?;
                continue;
            }
            match page(&self.pool, self.position, STREAM_PAGE).await {
                // Purged between the look at the tail and this one: nothing to read until the tail moves.
                Ok(none) if none.is_empty() => self.tail.changed().await.ok()?,
                Ok(events) => self.page = events.into(),
                Err(_logged) => tokio::time::sleep(AGAIN).await,
            }
        }
    }
}

impl Positioned {
    fn into_sse(self) -> sse::Event {
        // Outside strings line ends mean nothing in JSON and inside they are escaped, so a blank says the same.
        let data = self.event.get().replace(['\r', '\n'], " ");
        sse::Event::default().id(self.position.to_string()).event(self.topic).data(data)
    }
}

async fn page(pool: &Pool, after: i64, limit: i64) -> Result<Vec<Positioned>, Problem> {
    let connection = database::connection(pool).await?;
    let statement = connection.prepare_cached(PAGE).await?;
    connection.query(&statement, &[&after, &limit]).await?.iter().map(read).collect()
}

async fn oldest(pool: &Pool) -> Result<Option<i64>, Problem> {
    let connection = database::connection(pool).await?;
    Ok(connection.query_one(OLDEST, &[]).await?.try_get(0)?)
}

fn read(row: &Row) -> Result<Positioned, Problem> {
    let position = row.try_get(0)?;
    let event = String::from_utf8(row.try_get(2)?).ok().and_then(|text| RawValue::from_string(text).ok());
    let Some(event) = event else {
        tracing::error!(position, "an event in the outbox is not JSON");
        return Err(Problem::new(Kind::Internal));
    };
    let topic = Topic::from_code(row.try_get(1)?).ok_or_else(|| {
        tracing::error!(position, "an event in the outbox has a topic that this version does not know");
        Problem::new(Kind::Internal)
    })?;
    Ok(Positioned { position, topic: topic.name(), event })
}

#[cfg(test)]
mod tests {
    use super::start_behind;

    #[test]
    fn a_reader_is_told_what_it_can_no_longer_have() {
        assert_eq!(start_behind(0, None, 0), (0, false));
        assert_eq!(start_behind(0, Some(7), 9), (0, false), "all that are kept");
        assert_eq!(start_behind(6, Some(7), 9), (6, false));
        assert_eq!(start_behind(5, Some(7), 9), (5, true), "6 is gone");
        assert_eq!(start_behind(12, Some(7), 9), (9, true), "12 never was");
        assert_eq!(start_behind(12, None, 0), (0, true));
    }
}
