//! What the days of a terminal came to: its packets, those that never came, and how long it was there.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use utoipa::{IntoParams, ToSchema};

use super::{
    App, Problem, cursor, database,
    params::{self, Id, Limit, Page, Params},
};
use crate::{evaluate::terminal::DAY_SECONDS, reading::Timestamp};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Days that begin not before this time (RFC 3339).
    #[serde(default, deserialize_with = "params::time")]
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// Days that begin before this time (RFC 3339).
    #[serde(default, deserialize_with = "params::time")]
    #[param(value_type = Option<String>)]
    to: Option<Timestamp>,
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Limit,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// A calendar day in China. It changes as long as packets of that day arrive.
#[derive(Debug, Serialize, ToSchema)]
pub struct TerminalDay {
    /// `2026-03-02`
    day: String,
    /// obd, retrofit or nonroad.
    kind: String,
    packets: i32,
    /// Sent as it happened, not stored up.
    live_packets: i32,
    /// Packets that never came, by the gaps between serials; null where packets carry none.
    missing_packets: Option<i32>,
    /// Missing packets among those missing and those that came live, 0 to 1.
    loss_rate: Option<f64>,
    /// Times the serials began anew within the day.
    restarts: i32,
    /// One-second records.
    records: i32,
    online_seconds: f64,
    /// Share of the day, 0 to 1.
    online_rate: f64,
    #[schema(value_type = Option<String>, format = DateTime)]
    first_packet_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    last_packet_at: Option<Timestamp>,
    /// Rules that could not be decided, each with the input that is missing.
    undetermined: Vec<String>,
    #[serde(skip)]
    #[schema(ignore)]
    place: (Timestamp, i32),
}

const LIST: &str = "
    SELECT t.day, d.kind, t.packets, t.live_packets, t.missing, t.restarts, t.records, t.online_seconds, t.first_at, t.last_at,
           t.undetermined, t.device, t.loss_rate
    FROM devices d JOIN terminal_day t ON t.device = d.id
    WHERE d.device_id = $1 AND ($2::timestamptz IS NULL OR t.day >= $2) AND ($3::timestamptz IS NULL OR t.day < $3)
      AND ($4::timestamptz IS NULL OR (t.day, t.device) < ($4, $5::int4))
    ORDER BY t.day DESC, t.device DESC LIMIT $6";

/// The days of a terminal, latest first: packets, packets lost, time online.
#[utoipa::path(
    get, path = "/api/v1/terminals/{id}/days", tag = "readings", params(("id" = String, Path), Filter),
    responses((status = OK, body = Page<TerminalDay>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
pub async fn days(
    State(app): State<App>,
    Id(id): Id<String>,
    Params(filter): Params<Filter>,
) -> Result<Json<Page<TerminalDay>>, Problem> {
    let place = filter.cursor.as_deref().map(read_cursor).transpose()?;
    let (day, device) = place.map_or((None, 0), |(day, device)| (Some(day), device));
    let connection = database::connection(&app.state.pool).await?;
    let statement = connection.prepare_cached(LIST).await?;
    let wanted = filter.limit.rows() + 1;
    let rows = connection.query(&statement, &[&id, &filter.from, &filter.to, &day, &device, &wanted]).await?;
    let items = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Json(Page::cut(items, filter.limit, |last: &TerminalDay| {
        let (day, device) = last.place;
        cursor::write(&[&day.micros(), &device])
    })))
}

fn read_cursor(text: &str) -> Result<(Timestamp, i32), Problem> {
    let mut fields = cursor::Reader::new(text);
    let place = (Timestamp::from_micros(fields.field()?), fields.field()?);
    fields.end()?;
    Ok(place)
}

fn read(row: &Row) -> Result<TerminalDay, tokio_postgres::Error> {
    let day: Timestamp = row.try_get(0)?;
    let online_seconds: f64 = row.try_get(7)?;
    Ok(TerminalDay {
        day: day.china_day().to_string(),
        kind: row.try_get(1)?,
        packets: row.try_get(2)?,
        live_packets: row.try_get(3)?,
        missing_packets: row.try_get(4)?,
        loss_rate: row.try_get(12)?,
        restarts: row.try_get(5)?,
        records: row.try_get(6)?,
        online_seconds,
        online_rate: online_seconds / DAY_SECONDS as f64,
        first_packet_at: row.try_get(8)?,
        last_packet_at: row.try_get(9)?,
        undetermined: row.try_get(10)?,
        place: (day, row.try_get(11)?),
    })
}
