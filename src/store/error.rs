//! What went wrong with the database, classed once. What the server says is classed by SQLSTATE and never by its text; the
//! one kind that this side makes itself has no other mark than the library's text.

use tokio_postgres::error::SqlState;

/// What the writer should do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A key exists already: do the batch again the careful way.
    Duplicate,
    /// Deadlock, serialisation failure, cancelled statement: do the same again.
    Again,
    /// The connection or the server is gone, starting, full or read-only: reconnect and do the same again.
    Away,
    /// A row the server will never take: find it and put it aside.
    Poison,
    /// Schema or permission is wrong: no retry of this batch can mend it, but an operator can.
    Operator,
}

/// Classes an error of tokio-postgres. An error without SQLSTATE never reached the server or never came back.
pub fn class_of(error: &tokio_postgres::Error) -> Class {
    let Some(state) = error.code() else {
        return if is_encoding_error(error) { Class::Poison } else { Class::Away };
    };
    match *state {
        SqlState::UNIQUE_VIOLATION => Class::Duplicate,
        SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::QUERY_CANCELED
        | SqlState::LOCK_NOT_AVAILABLE => Class::Again,
        _ => match state.code().get(..2) {
            // 08 connection, 25 read-only or aborted transaction, 53 resources, 57 operator intervention, 58 system, XX internal
            Some("08" | "25" | "53" | "57" | "58" | "XX") => Class::Away,
            // 22 data exception, 23 integrity, 54 program limit (such as a row too large)
            Some("22" | "23" | "54") => Class::Poison,
            _ => Class::Operator,
        },
    }
}

/// Values that this side refused to encode: they will be refused again.
fn is_encoding_error(error: &tokio_postgres::Error) -> bool {
    // tokio-postgres keeps its kinds private; the text of `ToSql` failures starts so since its first release, and a
    // wrong guess here only means a retry.
    error.to_string().starts_with("error serializing parameter")
}

/// One sentence with the cause, for logs and for people: tokio-postgres says only "db error" by itself.
pub fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => format!("{} ({})", db.message(), db.code().code()),
        None => match std::error::Error::source(error) {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}
