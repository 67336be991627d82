//! Passages, newest first.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use tokio_postgres::types;
use utoipa::{IntoParams, ToSchema};

use super::{
    App, Problem, cursor, database,
    params::{self, Limit, Page, Params},
};
use crate::reading::{PlateColor, Timestamp};

/// The index of passages begins with time, so a station or verdict that never occurs would make the server walk all of it;
/// without `from`, a filtered list looks this far back.
const FILTERED_DAYS: i64 = 7;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Passages of this station only.
    station: Option<String>,
    verdict: Option<Verdict>,
    /// Not before this time (RFC 3339); without it a filtered list looks back seven days.
    #[serde(default, deserialize_with = "params::time")]
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// Before this time (RFC 3339).
    #[serde(default, deserialize_with = "params::time")]
    #[param(value_type = Option<String>)]
    to: Option<Timestamp>,
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Limit,
    /// `next` of the page before.
    cursor: Option<String>,
}

/// The contract's verdict; its place is the number stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[repr(i16)]
pub enum Verdict {
    Pass,
    OverLimit,
    Invalid,
    NotApplicable,
    Undetermined,
}

impl Verdict {
    fn from_code(code: i16) -> Option<Self> {
        [Self::Pass, Self::OverLimit, Self::Invalid, Self::NotApplicable, Self::Undetermined]
            .into_iter()
            .find(|verdict| *verdict as i16 == code)
    }
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Passage {
    #[schema(value_type = String, format = DateTime)]
    passed_at: Timestamp,
    station_id: String,
    record_id: String,
    /// Null when the plate was not read.
    plate: Option<String>,
    plate_color: &'static str,
    verdict: Option<Verdict>,
    /// What explains the verdict; null where there is nothing to say.
    explained: Option<Explained>,
    lane: Option<i16>,
    speed_kmh: Option<f32>,
    opacity_pct: Option<f32>,
    ringelmann: Option<f32>,
    no_ppm: Option<f32>,
    co2_pct: Option<f32>,
    #[schema(value_type = String, format = DateTime)]
    received_at: Timestamp,
    /// SHA-256 of the payload as it came, hex.
    raw_sha256: String,
    #[serde(skip)]
    #[schema(ignore)]
    station: i32,
}

/// Why a verdict is not a plain one; each part absent where it is empty.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Explained {
    /// In words of a closed set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
    /// The plate as the camera read it, with `O` or `I`, which no plate has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    plate_as_read: Option<String>,
    /// Number of a vehicle rule that could not be decided, and the input that is missing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    rules_undetermined: BTreeMap<String, String>,
    /// Conditions of measurement whose value nobody knows and that the table of limits lets pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    conditions_passed_over: Vec<String>,
    /// The year whose inspection a stable retrofit may exempt the vehicle from (R4): a candidate, not an exemption.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exemption_candidate: Option<i32>,
}

const LIST: &str = "
    SELECT p.passed_at, s.station_id, p.record_id, p.plate, p.plate_color, p.verdict, p.lane, p.speed_kmh, p.opacity_pct,
           p.ringelmann, p.no_ppm, p.co2_pct, p.received_at, p.raw_sha256, p.station, p.explained
    FROM passage p JOIN stations s ON s.id = p.station
    WHERE ($1::timestamptz IS NULL OR p.passed_at >= $1) AND p.passed_at < $2
      AND ($3::text IS NULL OR p.station = (SELECT id FROM stations WHERE station_id = $3))
      AND ($4::int2 IS NULL OR p.verdict = $4)
      AND ($5::timestamptz IS NULL
           OR p.passed_at <= $5 AND (p.passed_at, p.station, p.record_id) < ($5, $6::int4, $7::text))
    ORDER BY p.passed_at DESC, p.station DESC, p.record_id DESC
    LIMIT $8";

/// Passages, newest first, by station, verdict and time.
#[utoipa::path(
    get, path = "/api/v1/passages", tag = "readings", params(Filter),
    responses((status = OK, body = Page<Passage>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
pub async fn list(State(app): State<App>, Params(filter): Params<Filter>) -> Result<Json<Page<Passage>>, Problem> {
    let place = filter.cursor.as_deref().map(read_cursor).transpose()?;
    let (at, station, record) =
        place.map_or((None, 0, String::new()), |(at, station, record)| (Some(at), station, record));
    // The far end of time is open, but a bound lets the server skip chunks that are still to come.
    let to = filter.to.unwrap_or(Timestamp::now().plus_seconds(24 * 3600));
    let filtered = filter.station.is_some() || filter.verdict.is_some();
    let from = filter.from.or(filtered.then(|| at.unwrap_or(to).plus_seconds(-FILTERED_DAYS * 24 * 3600)));
    let verdict = filter.verdict.map(|verdict| verdict as i16);
    let connection = database::connection(&app.state.pool).await?;
    let statement = connection.prepare_cached(LIST).await?;
    let wanted = filter.limit.rows() + 1;
    let rows =
        connection.query(&statement, &[&from, &to, &filter.station, &verdict, &at, &station, &record, &wanted]).await?;
    let items = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Json(Page::cut(items, filter.limit, |last: &Passage| {
        cursor::write(&[&last.passed_at.micros(), &last.station, &last.record_id])
    })))
}

fn read_cursor(text: &str) -> Result<(Timestamp, i32, String), Problem> {
    let mut fields = cursor::Reader::new(text);
    let place = (Timestamp::from_micros(fields.field()?), fields.field()?, fields.field()?);
    fields.end()?;
    Ok(place)
}

fn read(row: &tokio_postgres::Row) -> Result<Passage, tokio_postgres::Error> {
    let colour = u8::try_from(row.try_get::<_, i16>(4)?).ok().and_then(PlateColor::from_code);
    Ok(Passage {
        passed_at: row.try_get(0)?,
        station_id: row.try_get(1)?,
        record_id: row.try_get(2)?,
        plate: row.try_get(3)?,
        plate_color: colour.unwrap_or(PlateColor::Unknown).name(),
        verdict: Verdict::from_code(row.try_get(5)?),
        lane: row.try_get(6)?,
        speed_kmh: row.try_get(7)?,
        opacity_pct: row.try_get(8)?,
        ringelmann: row.try_get(9)?,
        no_ppm: row.try_get(10)?,
        co2_pct: row.try_get(11)?,
        received_at: row.try_get(12)?,
        raw_sha256: hex::encode(row.try_get::<_, &[u8]>(13)?),
        station: row.try_get(14)?,
        explained: row.try_get::<_, Option<types::Json<Explained>>>(15)?.map(|json| json.0),
    })
}
