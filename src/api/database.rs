//! Getting a connection and turning database errors into problems.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use deadpool_postgres::{Object, Pool};

use super::{App, Problem, problem::Kind};
use crate::store::error::class_of;

/// Longest wait for a connection: a page is asked for again sooner than that.
const PATIENCE: Duration = Duration::from_secs(3);

/// A connection from the pool.
pub async fn connection(pool: &Pool) -> Result<Object, Problem> {
    match tokio::time::timeout(PATIENCE, pool.get()).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(refused)) => {
            tracing::warn!(error = &refused as &dyn std::error::Error, "no database connection for an HTTP request");
            Err(Problem::new(Kind::DatabaseUnavailable))
        }
        Err(_elapsed) => Err(Problem::new(Kind::DatabaseUnavailable)),
    }
}

/// What may pass is told as that; anything else is a fault of ours. The server's text is not logged, because it can repeat
/// values; its code says which kind of error it was.
impl From<tokio_postgres::Error> for Problem {
    fn from(error: tokio_postgres::Error) -> Self {
        let (class, code) = (class_of(&error), error.code().map(|state| state.code()));
        let problem = if class.passes() {
            tracing::warn!(sqlstate = code, ?class, "a database statement for HTTP was cut off");
            Problem::new(Kind::DatabaseUnavailable)
        } else {
            tracing::error!(sqlstate = code, ?class, "a database statement for HTTP failed");
            Problem::new(Kind::Internal)
        };
        if class.keeps_session() { problem } else { problem.with_lost_session() }
    }
}

/// In an answer: the session behind it must not serve another request.
#[derive(Clone, Copy, Debug)]
pub struct LostSession;

/// Gives up the sessions that rest in the pool when one of them turned out not to be sound: by the time of the answer the one
/// in question rests among them. Whoever asks next gets a new one.
pub async fn renew(State(app): State<App>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.extensions().get::<LostSession>().is_some() {
        give_up_resting(&app.state.pool);
    }
    response
}

/// The same for those who ask without a request.
pub fn give_up_resting(pool: &Pool) {
    let given_up = pool.retain(|_, _| false);
    tracing::info!(sessions = given_up.removed.len(), "database sessions for HTTP are made anew");
}
