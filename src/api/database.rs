//! Getting a connection and turning database errors into problems.

use std::{error::Error as _, time::Duration};

use deadpool_postgres::{Object, Pool};

use super::{Problem, problem::Kind};

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

/// A connection lost or a statement stopped passes; anything else is a fault of ours. The server's text is not logged,
/// because it can repeat values; its code says which kind of error it was.
impl From<tokio_postgres::Error> for Problem {
    fn from(error: tokio_postgres::Error) -> Self {
        let code = error.code().map(|state| state.code());
        let lost = error.is_closed() || error.source().is_some_and(|cause| cause.is::<std::io::Error>());
        // Classes 08 connection, 53 resources, 57 operator intervention (statement timeout and shutdown among them).
        let passing = |code: &str| ["08", "53", "57"].iter().any(|class| code.starts_with(class));
        if lost || code.is_some_and(passing) {
            tracing::warn!(sqlstate = code, "a database read for HTTP was cut off");
            return Problem::new(Kind::DatabaseUnavailable);
        }
        tracing::error!(sqlstate = code, "a database read for HTTP failed");
        Problem::new(Kind::Internal)
    }
}
