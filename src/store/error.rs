//! What went wrong with the database, classed once. What the server says is classed by SQLSTATE and never by its text; the
//! one kind that this side makes itself has no other mark than the library's text.

use tokio_postgres::error::SqlState;

use crate::telemetry::meters::ErrorClass;

/// What should be done about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// A key exists already: do the batch again the careful way.
    Duplicate,
    /// Deadlock, serialisation failure, cancelled statement: do the same again.
    Again,
    /// The connection or the server is gone, starting, full or read-only, or the session is not what it was: make another
    /// session and do the same again.
    Away,
    /// A row the server will never take: find it and put it aside.
    Poison,
    /// Schema or permission is wrong: no retry of this batch can mend it, but an operator can.
    Operator,
}

impl Class {
    /// Whether the session in which it happened may be used again. A session that became read-only, or lost its prepared
    /// statements, stays so for ever, however well the server is.
    pub fn keeps_session(self) -> bool {
        matches!(self, Class::Duplicate | Class::Again | Class::Poison)
    }

    /// Whether it may pass by itself.
    pub fn passes(self) -> bool {
        matches!(self, Class::Again | Class::Away)
    }

    /// As it is counted.
    pub fn metric(self) -> ErrorClass {
        match self {
            Class::Poison => ErrorClass::Poison,
            Class::Operator => ErrorClass::Fatal,
            Class::Away | Class::Again | Class::Duplicate => ErrorClass::Transient,
        }
    }
}

/// Classes an error of tokio-postgres. An error without SQLSTATE never reached the server or never came back.
pub fn class_of(error: &tokio_postgres::Error) -> Class {
    match error.code() {
        Some(state) => class_of_state(state),
        None => class_of_own(&error.to_string()),
    }
}

/// The table.
fn class_of_state(state: &SqlState) -> Class {
    match *state {
        SqlState::UNIQUE_VIOLATION => Class::Duplicate,
        SqlState::QUERY_CANCELED | SqlState::LOCK_NOT_AVAILABLE => Class::Again,
        // A prepared statement is there that should not be, or its plan does not fit the tables any more: another session
        // has neither. That it is not there (26000) is below.
        SqlState::DUPLICATE_PSTATEMENT | SqlState::FEATURE_NOT_SUPPORTED => Class::Away,
        // What is asked of it, a standby does not do (yet).
        SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE => Class::Away,
        _ => match state.code().get(..2) {
            // 40 rolled back: deadlock, serialisation failure
            Some("40") => Class::Again,
            // 08 connection, 25 read-only or aborted transaction, 26 the prepared statement is gone, 28 and 3D while logging
            // in, 53 resources, 57 operator intervention, 58 system, XX internal
            Some("08" | "25" | "26" | "28" | "3D" | "53" | "57" | "58" | "XX") => Class::Away,
            // 22 data exception, 23 integrity, 54 program limit (such as a row too large)
            Some("22" | "23" | "54") => Class::Poison,
            _ => Class::Operator,
        },
    }
}

/// Errors that the library makes itself. It keeps its kinds private; these texts have begun so since its first release.
fn class_of_own(text: &str) -> Class {
    let begins = |with: &[&str]| with.iter().any(|with| text.starts_with(with));
    if begins(&["error serializing parameter"]) {
        // A value that this side refused to encode: it will be refused again.
        Class::Poison
    } else if begins(&["error deserializing column", "query returned an unexpected number of", "invalid column"]) {
        // The tables are not those this program was made for.
        Class::Operator
    } else {
        Class::Away
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_class() {
        for (code, class) in [
            ("23505", Class::Duplicate),
            ("40001", Class::Again),
            ("40P01", Class::Again),
            ("57014", Class::Again),
            ("55P03", Class::Again),
            ("25006", Class::Away),
            ("26000", Class::Away),
            ("42P05", Class::Away),
            ("0A000", Class::Away),
            ("53100", Class::Away),
            ("57P01", Class::Away),
            ("08006", Class::Away),
            ("XX000", Class::Away),
            ("22P05", Class::Poison),
            ("22021", Class::Poison),
            ("23514", Class::Poison),
            ("54000", Class::Poison),
            ("42P01", Class::Operator),
            ("42501", Class::Operator),
            ("P0001", Class::Operator),
        ] {
            assert_eq!(class_of_state(&SqlState::from_code(code)), class, "{code}");
        }
    }

    #[test]
    fn a_session_that_went_read_only_is_not_kept() {
        let keeps = |code| class_of_state(&SqlState::from_code(code)).keeps_session();
        assert!(!keeps("25006") && !keeps("26000") && !keeps("42P01"));
        assert!(keeps("40P01") && keeps("23505") && keeps("22021"));
    }

    #[test]
    fn errors_without_a_state_are_told_apart() {
        assert_eq!(class_of_own("error serializing parameter 0"), Class::Poison);
        assert_eq!(class_of_own("error deserializing column 3"), Class::Operator);
        assert_eq!(class_of_own("connection closed"), Class::Away);
        assert_eq!(class_of_own("error communicating with the server"), Class::Away);
    }
}
