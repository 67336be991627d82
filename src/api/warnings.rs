//! Heavy-pollution warnings: issued, lifted, corrected, withdrawn.

use axum::{Json, extract::State, http::StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    App, Problem, database,
    params::{Body, Id, Params, time},
    token::Writer,
};
use crate::{
    reading::Timestamp,
    warning::{
        Level,
        ledger::{self, Act, By, Done, LedgerError, Refused, Revision},
    },
};

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only warnings in force at that time (RFC 3339).
    #[serde(default, deserialize_with = "time")]
    #[param(value_type = Option<String>, format = DateTime)]
    in_force_at: Option<Timestamp>,
    /// Every act instead of how each warning stands.
    #[serde(default)]
    history: bool,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct WarningList {
    items: Vec<Revision>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Issue {
    level: Level,
    /// First instant in force; now where it is left out.
    #[schema(value_type = Option<String>, format = DateTime)]
    issued_at: Option<Timestamp>,
    /// First instant no longer in force, where the end is known already.
    #[schema(value_type = Option<String>, format = DateTime)]
    lifted_at: Option<Timestamp>,
    document_no: Option<String>,
    /// Who issues it.
    by: String,
    why: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Lift {
    /// First instant no longer in force; now where it is left out.
    #[schema(value_type = Option<String>, format = DateTime)]
    lifted_at: Option<Timestamp>,
    by: String,
    why: Option<String>,
}

/// What is left out stays as it is.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    level: Option<Level>,
    #[schema(value_type = Option<String>, format = DateTime)]
    issued_at: Option<Timestamp>,
    #[schema(value_type = Option<String>, format = DateTime)]
    lifted_at: Option<Timestamp>,
    /// Takes a lifting back.
    #[serde(default)]
    not_lifted: bool,
    document_no: Option<String>,
    by: String,
    why: String,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Withdrawal {
    by: String,
    why: String,
}

/// An act that was done.
#[derive(Debug, Serialize, ToSchema)]
pub struct Changed {
    warning: Revision,
    /// The time before now in which something else is in force than before: its stored readings were judged without the
    /// act.
    past: Option<Span>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct Span {
    #[schema(value_type = String, format = DateTime)]
    from: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    to: Timestamp,
}

impl From<Done> for Changed {
    fn from(done: Done) -> Self {
        Self { warning: done.revision, past: done.past.map(|(from, to)| Span { from, to }) }
    }
}

/// Warnings, past ones included, in the order of their numbers.
#[utoipa::path(
    get, path = "/api/v1/warnings", tag = "warnings", params(Filter),
    responses(
        (status = OK, body = WarningList),
        (status = "4XX", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn list(State(app): State<App>, Params(filter): Params<Filter>) -> Result<Json<WarningList>, Problem> {
    let connection = database::connection(&app.state.pool).await?;
    let mut items = ledger::list(&connection, filter.history).await.map_err(problem)?;
    if let Some(at) = filter.in_force_at {
        items.retain(|item| !item.withdrawn && item.issued_at <= at && item.lifted_at.is_none_or(|lifted| at < lifted));
    }
    Ok(Json(WarningList { items }))
}

/// Issues a warning. It is in force in every replica within moments, and for late readings from its first instant on.
#[utoipa::path(
    post, path = "/api/v1/warnings", tag = "warnings", request_body = Issue, security(("write_token" = [])),
    responses(
        (status = CREATED, body = Changed),
        (status = "4XX", body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn issue(
    _: Writer,
    State(app): State<App>,
    Body(asked): Body<Issue>,
) -> Result<(StatusCode, Json<Changed>), Problem> {
    let Issue { level, issued_at, lifted_at, document_no, by, why } = asked;
    let issued_at = issued_at.unwrap_or_else(Timestamp::now);
    let act = Act::Issue { level, issued_at, lifted_at, document_no };
    Ok((StatusCode::CREATED, carry_out(&app, act, By { name: by, why }).await?))
}

/// Lifts a warning.
#[utoipa::path(
    post, path = "/api/v1/warnings/{id}/lift", tag = "warnings", params(("id" = i64, Path)), request_body = Lift,
    security(("write_token" = [])),
    responses((status = OK, body = Changed), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
pub async fn lift(
    _: Writer,
    State(app): State<App>,
    Id(warning): Id<i64>,
    Body(asked): Body<Lift>,
) -> Result<Json<Changed>, Problem> {
    let lifted_at = asked.lifted_at.unwrap_or_else(Timestamp::now);
    carry_out(&app, Act::Lift { warning, lifted_at }, By { name: asked.by, why: asked.why }).await
}

/// Corrects level or times of a warning; what was there before is kept in its history.
#[utoipa::path(
    post, path = "/api/v1/warnings/{id}/correct", tag = "warnings", params(("id" = i64, Path)),
    request_body = Correction, security(("write_token" = [])),
    responses((status = OK, body = Changed), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
pub async fn correct(
    _: Writer,
    State(app): State<App>,
    Id(warning): Id<i64>,
    Body(asked): Body<Correction>,
) -> Result<Json<Changed>, Problem> {
    let Correction { level, issued_at, lifted_at, not_lifted, document_no, by, why } = asked;
    let lifted_at = match (lifted_at, not_lifted) {
        (Some(_), true) => return Err(Problem::bad_request("lifted_at and not_lifted contradict each other")),
        (None, true) => Some(None),
        (lifted_at, false) => lifted_at.map(Some),
    };
    carry_out(&app, Act::Correct { warning, level, issued_at, lifted_at, document_no }, By { name: by, why: Some(why) })
        .await
}

/// Withdraws a warning that was issued by mistake: it was never in force.
#[utoipa::path(
    post, path = "/api/v1/warnings/{id}/withdraw", tag = "warnings", params(("id" = i64, Path)),
    request_body = Withdrawal, security(("write_token" = [])),
    responses((status = OK, body = Changed), (status = "4XX", body = Problem, content_type = "application/problem+json"))
)]
pub async fn withdraw(
    _: Writer,
    State(app): State<App>,
    Id(warning): Id<i64>,
    Body(asked): Body<Withdrawal>,
) -> Result<Json<Changed>, Problem> {
    carry_out(&app, Act::Withdraw { warning }, By { name: asked.by, why: Some(asked.why) }).await
}

async fn carry_out(app: &App, act: Act, by: By) -> Result<Json<Changed>, Problem> {
    let mut connection = database::connection(&app.state.pool).await?;
    let done = ledger::act(&mut connection, &act, &by).await.map_err(problem)?;
    Ok(Json(done.into()))
}

fn problem(error: LedgerError) -> Problem {
    match error {
        LedgerError::Refused(Refused::NoSuch(_)) => Problem::no_such("warning"),
        LedgerError::Refused(why @ (Refused::Withdrawn(_) | Refused::Lifted { .. } | Refused::Overlap(_))) => {
            Problem::conflict(why.to_string())
        }
        LedgerError::Refused(why) => Problem::bad_request(why.to_string()),
        LedgerError::Database(error) => error.into(),
        LedgerError::Corrupt => {
            tracing::error!("a stored warning is none that this program writes: the table was changed by hand");
            Problem::internal()
        }
    }
}
