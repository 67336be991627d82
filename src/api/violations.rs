//! Findings: what is held against a vehicle, a terminal or a machine, with everything that explains it.

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio_postgres::Row;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    App, Problem, cursor, database,
    params::{self, Id, Limit, Page, Params},
    raw::{Raw, SHOWN},
    subject::Subject,
};
use crate::reading::Timestamp;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// A rule by its name, such as `HJ845.over`.
    rule: Option<String>,
    state: Option<InForce>,
    /// Only those that wait for a person (`true`) or do not (`false`).
    needs_review: Option<bool>,
    /// Happened not before this time (RFC 3339).
    #[serde(default, deserialize_with = "params::time")]
    #[param(value_type = Option<String>)]
    from: Option<Timestamp>,
    /// Happened before this time (RFC 3339).
    #[serde(default, deserialize_with = "params::time")]
    #[param(value_type = Option<String>)]
    to: Option<Timestamp>,
    #[serde(default)]
    #[param(value_type = Option<u16>, minimum = 1, maximum = 500)]
    limit: Limit,
    /// `next` of the page before.
    cursor: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[repr(i16)]
pub enum InForce {
    InForce,
    Revoked,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Violation {
    #[schema(value_type = String, format = "uuid")]
    pub id: Uuid,
    pub rule: String,
    pub subject: Subject,
    #[schema(value_type = String, format = DateTime)]
    pub from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    pub to: Timestamp,
    pub state: InForce,
    /// Whether a person must look before the police does, and why.
    #[schema(value_type = Object)]
    pub review: Box<RawValue>,
    /// Counts every change of this finding.
    pub revision: i32,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Values, limits, units, standard and clause, list entries and versions.
    #[schema(value_type = Object)]
    pub content: Box<RawValue>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ViolationDetail {
    #[serde(flatten)]
    violation: Violation,
    evidence: Vec<Evidence>,
}

/// A raw reading behind a finding.
#[derive(Debug, Serialize, ToSchema)]
pub struct Evidence {
    /// Natural key of the reading in words.
    reading: String,
    raw: Raw,
}

macro_rules! columns {
    () => {
        "SELECT id, rule, subject_kind, subject, from_at, to_at, state, review::text, revision, created_at, content::text
         FROM finding "
    };
}

const LIST: &str = concat!(
    columns!(),
    "WHERE ($1::text IS NULL OR rule = $1) AND ($2::int2 IS NULL OR state = $2)
       AND ($3::timestamptz IS NULL OR from_at >= $3) AND ($4::timestamptz IS NULL OR from_at < $4)
       AND ($5::timestamptz IS NULL OR from_at <= $5 AND (from_at, id) < ($5, $6::uuid))
       AND ($7::bool IS NULL OR (review ->> 'state' = 'needed') = $7)
     ORDER BY from_at DESC, id DESC LIMIT $8"
);
const SHOW: &str = concat!(columns!(), "WHERE id = $1");
/// The latest to have happened, for the page.
pub const LATEST: &str = concat!(columns!(), "ORDER BY from_at DESC, id DESC LIMIT $1");
const EVIDENCE: &str = "SELECT reading, substring(raw FOR $2), octet_length(raw), sha256 FROM evidence WHERE finding = $1 ORDER BY reading";

/// Findings, latest occurrence first, by rule, state, review and time.
#[utoipa::path(
    get, path = "/api/v1/violations", tag = "findings", params(Filter),
    responses((status = OK, body = Page<Violation>), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
pub async fn list(State(app): State<App>, Params(filter): Params<Filter>) -> Result<Json<Page<Violation>>, Problem> {
    let (at, id) = match filter.cursor.as_deref().map(read_cursor).transpose()? {
        Some((at, id)) => (Some(at), id),
        None => (None, Uuid::nil()),
    };
    let state = filter.state.map(|state| state as i16);
    let connection = database::connection(&app.state.pool).await?;
    let statement = connection.prepare_cached(LIST).await?;
    let wanted = filter.limit.rows() + 1;
    let rows = connection
        .query(&statement, &[&filter.rule, &state, &filter.from, &filter.to, &at, &id, &filter.needs_review, &wanted])
        .await?;
    let items = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Json(Page::cut(items, filter.limit, |last: &Violation| cursor::write(&[&last.from.micros(), &last.id]))))
}

/// One finding with the raw readings behind it.
#[utoipa::path(
    get, path = "/api/v1/violations/{id}", tag = "findings", params(("id" = String, Path, format = "uuid")),
    responses(
        (status = OK, body = ViolationDetail),
        (status = NOT_FOUND, body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn show(State(app): State<App>, Id(id): Id<Uuid>) -> Result<Json<ViolationDetail>, Problem> {
    let connection = database::connection(&app.state.pool).await?;
    let row = connection.query_opt(SHOW, &[&id]).await?.ok_or_else(|| Problem::no_such("violation"))?;
    let rows = connection.query(EVIDENCE, &[&id, &SHOWN]).await?;
    let evidence = rows.iter().map(read_evidence).collect::<Result<_, _>>()?;
    Ok(Json(ViolationDetail { violation: read(&row)?, evidence }))
}

fn read_cursor(text: &str) -> Result<(Timestamp, Uuid), Problem> {
    let mut fields = cursor::Reader::new(text);
    let place = (Timestamp::from_micros(fields.field()?), fields.field()?);
    fields.end()?;
    Ok(place)
}

pub fn read(row: &Row) -> Result<Violation, tokio_postgres::Error> {
    // The server wrote the text out of a jsonb column, so it is JSON; null stands in for what cannot be.
    let json = |place| Ok(RawValue::from_string(row.try_get(place)?).unwrap_or_else(|_| RawValue::NULL.to_owned()));
    Ok(Violation {
        id: row.try_get(0)?,
        rule: row.try_get(1)?,
        subject: Subject::read(row.try_get(2)?, row.try_get(3)?),
        from: row.try_get(4)?,
        to: row.try_get(5)?,
        state: if row.try_get::<_, i16>(6)? == 0 { InForce::InForce } else { InForce::Revoked },
        review: json(7)?,
        revision: row.try_get(8)?,
        created_at: row.try_get(9)?,
        content: json(10)?,
    })
}

fn read_evidence(row: &Row) -> Result<Evidence, tokio_postgres::Error> {
    Ok(Evidence { reading: row.try_get(0)?, raw: Raw::new(row.try_get(1)?, row.try_get(2)?, row.try_get(3)?) })
}
