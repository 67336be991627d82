//! What each part of the service says about itself, kept by the parts, shown by `/readyz` and by the page.

use std::sync::{Mutex, PoisonError};

use serde::Serialize;

use crate::reading::Timestamp;

/// A part the service needs or uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Connections to the MQTT broker.
    Broker,
    Database,
    /// Whether the database server and this machine have the same time.
    Clock,
    Kafka,
    /// Register, lists, zones, stations and devices.
    Lists,
}

impl Part {
    /// As on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Part::Broker => "broker",
            Part::Database => "database",
            Part::Clock => "clock",
            Part::Kafka => "kafka",
            Part::Lists => "lists",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    /// Not heard of yet.
    Starting,
    Up,
    /// Works in part, such as three of four connections.
    Degraded,
    Down,
}

/// One part as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, utoipa::ToSchema)]
pub struct PartStatus {
    pub part: Part,
    pub condition: Condition,
    /// Whether the service is unready without it.
    pub needed: bool,
    /// Since when it is in this condition.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// For a person, such as `3 of 4 connections`.
    pub detail: String,
}

impl PartStatus {
    /// Also in part.
    pub fn works(&self) -> bool {
        matches!(self.condition, Condition::Up | Condition::Degraded)
    }
}

/// Every part with its condition.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
pub struct Readiness {
    pub ready: bool,
    pub parts: Vec<PartStatus>,
}

/// Where the parts write.
pub struct Board(Mutex<Vec<PartStatus>>);

impl Board {
    /// Lists the parts of this process and whether each is needed to be ready; a part not listed is never shown.
    pub fn new(parts: impl IntoIterator<Item = (Part, bool)>) -> Self {
        let since = Timestamp::now();
        let starting =
            |(part, needed)| PartStatus { part, condition: Condition::Starting, needed, since, detail: String::new() };
        Self(Mutex::new(parts.into_iter().map(starting).collect()))
    }

    /// Notes how `part` is; call it whenever that may have changed. `detail` holds no secrets and no payloads.
    pub fn set(&self, part: Part, condition: Condition, detail: impl Into<String>) {
        let mut parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(status) = parts.iter_mut().find(|status| status.part == part) else { return };
        if status.condition != condition {
            status.since = Timestamp::now();
            status.condition = condition;
        }
        status.detail = detail.into();
    }

    pub fn readiness(&self) -> Readiness {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Readiness { ready: parts.iter().all(|status| !status.needed || status.works()), parts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_is_when_every_needed_part_works() {
        let board = Board::new([(Part::Broker, true), (Part::Database, true), (Part::Kafka, false)]);
        assert!(!board.readiness().ready, "nothing is known yet");
        board.set(Part::Broker, Condition::Degraded, "3 of 4 connections");
        board.set(Part::Database, Condition::Up, "");
        assert!(board.readiness().ready);
        board.set(Part::Kafka, Condition::Down, "");
        board.set(Part::Lists, Condition::Down, "not a part of this process");
        assert!(board.readiness().ready);
        let since = board.readiness().parts[1].since;
        board.set(Part::Database, Condition::Up, "still");
        assert_eq!(board.readiness().parts[1].since, since, "the same condition goes on");
        board.set(Part::Database, Condition::Down, "connection refused");
        assert!(!board.readiness().ready);
    }
}
