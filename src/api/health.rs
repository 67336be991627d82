//! `/healthz`, `/readyz`, `/metrics`.

use std::time::Duration;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};

use metrics::gauge;

use super::{
    App, database,
    readiness::{Condition, Part, Readiness},
};

use crate::telemetry::metrics::PART_UP;

/// A database that takes longer for nothing at all is not ready.
const PROBE: Duration = Duration::from_secs(2);

/// Whether the process runs and answers.
#[utoipa::path(get, path = "/healthz", tag = "operation", responses((status = OK, body = String, content_type = "text/plain")))]
pub async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the service can do its work, part by part; 503 while a needed part is down. The database is also asked here and now.
#[utoipa::path(
    get, path = "/readyz", tag = "operation",
    responses((status = OK, body = Readiness), (status = SERVICE_UNAVAILABLE, body = Readiness))
)]
pub async fn readyz(State(app): State<App>) -> (StatusCode, Json<Readiness>) {
    let probe = async {
        let connection = database::connection(&app.state.pool).await.ok()?;
        connection.simple_query("").await.ok()
    };
    let answers = matches!(tokio::time::timeout(PROBE, probe).await, Ok(Some(_)));
    let mut readiness = app.state.readiness.readiness();
    if !answers
        && let Some(part) = readiness.parts.iter_mut().find(|status| status.part == Part::Database)
        && part.condition != Condition::Down
    {
        part.condition = Condition::Down;
        part.detail = format!("no answer within {} s", PROBE.as_secs());
        readiness.ready &= !part.needed;
    }
    let status = if readiness.ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(readiness))
}

/// Metrics in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "operation", responses((status = OK, body = String, content_type = "text/plain")))]
pub async fn metrics(State(app): State<App>) -> impl IntoResponse {
    for status in app.state.readiness.readiness().parts {
        gauge!(PART_UP, "part" => status.part.name()).set(f64::from(u8::from(status.works())));
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], app.state.metrics.render())
}
