//! What `/readyz` and the page show of the relay.

use crate::reading::Timestamp;

/// Which part this replica plays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// No session with the database.
    #[default]
    Connecting,
    /// Another replica moves the events; this one waits to take over.
    Standby,
    /// This replica moves the events.
    Leader,
}

/// Where Kafka stands, as this replica knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KafkaLink {
    /// No `[kafka]` section: events are served over HTTP only.
    #[default]
    NotConfigured,
    /// Not the leader, so not connected.
    Resting,
    Connecting,
    Connected,
    /// Unreachable or refusing; tried again for ever.
    Away,
}

/// A snapshot, at most about a second old.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    pub role: Role,
    pub kafka: KafkaLink,
    /// Highest position given.
    pub last_position: i64,
    /// Highest position known to be in Kafka; stays 0 without Kafka.
    pub sent_position: i64,
    /// Committed events without a position, counted up to 100 000.
    pub unpositioned: i64,
    /// Events that are not out in full, counted up to 100 000; told by the leader.
    pub not_in_full: i64,
    /// When the oldest event that is not out yet was made.
    pub oldest_unsent: Option<Timestamp>,
    /// What went wrong last and is not mended yet; without hosts, keys or payloads of ours.
    pub last_error: Option<String>,
}

impl Status {
    /// Committed events that are not out: not positioned, or with Kafka configured not in Kafka.
    pub fn unsent(&self) -> i64 {
        let positioned = match self.kafka {
            KafkaLink::NotConfigured => 0,
            _ => self.last_position - self.sent_position,
        };
        self.unpositioned + positioned.max(0)
    }

    /// Whether this replica does its part: leads with Kafka connected (or not configured), or stands by.
    pub fn is_ready(&self) -> bool {
        match self.role {
            Role::Connecting => false,
            Role::Standby => true,
            Role::Leader => matches!(self.kafka, KafkaLink::NotConfigured | KafkaLink::Connected),
        }
    }
}
