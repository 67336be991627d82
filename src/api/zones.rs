//! Zones in force, as GeoJSON.

use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio_postgres::Row;
use utoipa::ToSchema;

use super::{App, Problem, database};
use crate::reading::Timestamp;

/// Zones of one cell at most; a district has tens.
const MAX_ZONES: i64 = 1000;

/// A GeoJSON FeatureCollection, WGS-84.
#[derive(Debug, Serialize, ToSchema)]
pub struct Zones {
    #[serde(rename = "type")]
    kind: &'static str,
    features: Vec<Feature>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Feature {
    #[serde(rename = "type")]
    kind: &'static str,
    properties: Properties,
    /// Polygon or MultiPolygon.
    #[schema(value_type = Object)]
    geometry: Box<RawValue>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Properties {
    name: String,
    kind: String,
    rule: String,
    #[schema(value_type = Option<String>, format = DateTime)]
    valid_from: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    valid_to: Option<Timestamp>,
    /// Daily windows in Asia/Shanghai; null is all day.
    hours: Option<String>,
}

const LIST: &str = "
    SELECT name, kind, rule, valid_from, valid_to, hours, geometry::text FROM current_zones
    WHERE (valid_from IS NULL OR valid_from <= now()) AND (valid_to IS NULL OR valid_to > now())
    ORDER BY name, rule LIMIT $1";

/// The outlines of the district and of its control zones that are in force today.
#[utoipa::path(
    get, path = "/api/v1/zones", tag = "map",
    responses(
        (status = OK, body = Zones),
        (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn list(State(app): State<App>) -> Result<Json<Zones>, Problem> {
    let connection = database::connection(&app.state.pool).await?;
    let rows = connection.query(LIST, &[&MAX_ZONES]).await?;
    let features = rows.iter().map(read).collect::<Result<_, _>>()?;
    Ok(Json(Zones { kind: "FeatureCollection", features }))
}

fn read(row: &Row) -> Result<Feature, tokio_postgres::Error> {
    let geometry = RawValue::from_string(row.try_get(6)?).unwrap_or_else(|_| RawValue::NULL.to_owned());
    let properties = Properties {
        name: row.try_get(0)?,
        kind: row.try_get(1)?,
        rule: row.try_get(2)?,
        valid_from: row.try_get(3)?,
        valid_to: row.try_get(4)?,
        hours: row.try_get(5)?,
    };
    Ok(Feature { kind: "Feature", properties, geometry })
}
