//! The message book and the metrics made of it.

use metrics::{Counter, Gauge, counter, gauge};

use super::{devices::DeviceCounts, ring::Book};
use crate::{config::Source, telemetry::metrics as names};

/// Label of messages whose topic belongs to no source.
pub const UNKNOWN: &str = "unknown";

/// The message book of one source over all connections, since the start of the process:
/// `received = settled + in_flight + returned`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MessageBook {
    /// Name of the source; [`UNKNOWN`] in the last book.
    pub source: Box<str>,
    pub received: u64,
    pub settled: u64,
    pub in_flight: u64,
    pub returned: u64,
}

impl MessageBook {
    pub fn balances(&self) -> bool {
        self.received == self.settled + self.in_flight + self.returned
    }
}

struct Row {
    source: Box<str>,
    received: Counter,
    settled: Counter,
    returned: Counter,
    in_flight: Gauge,
}

/// Metric handles, registered once. The books are counted in the rings and only copied here, once a second and when
/// asked, so that a scrape sees four numbers that belong together and a message costs no metric at all.
pub(super) struct Meter {
    rows: Vec<Row>,
    connections: Gauge,
    connections_up: Gauge,
    reconnects: Counter,
    sessions_lost: Counter,
    pauses: Counter,
    budget_held: Gauge,
    online: Gauge,
    offline: Gauge,
    states_refused: Counter,
}

impl Meter {
    pub fn new(sources: &[Source]) -> Self {
        let row = |name: &str| {
            let source: Box<str> = name.into();
            let label = source.to_string();
            Row {
                received: counter!(names::MESSAGES_RECEIVED, "source" => label.clone()),
                settled: counter!(names::MESSAGES_SETTLED, "source" => label.clone()),
                returned: counter!(names::MESSAGES_RETURNED, "source" => label.clone()),
                in_flight: gauge!(names::MESSAGES_IN_FLIGHT, "source" => label),
                source,
            }
        };
        Self {
            rows: sources.iter().map(|source| &*source.name).chain([UNKNOWN]).map(row).collect(),
            connections: gauge!(names::INGEST_CONNECTIONS),
            connections_up: gauge!(names::INGEST_CONNECTIONS_UP),
            reconnects: counter!(names::INGEST_RECONNECTS),
            sessions_lost: counter!(names::INGEST_SESSIONS_LOST),
            pauses: counter!(names::INGEST_PAUSES),
            budget_held: gauge!(names::INGEST_BUDGET_HELD),
            online: gauge!(names::DEVICES, "state" => "online"),
            offline: gauge!(names::DEVICES, "state" => "offline"),
            states_refused: counter!(names::DEVICE_STATES_REFUSED),
        }
    }

    pub fn reconnected(&self) {
        self.reconnects.increment(1);
    }

    pub fn session_lost(&self) {
        self.sessions_lost.increment(1);
    }

    pub fn paused(&self) {
        self.pauses.increment(1);
    }

    /// Names the books, which are in the order of the sources with the unknown topics last.
    pub fn name(&self, books: &[Book]) -> Vec<MessageBook> {
        let named = |(row, book): (&Row, &Book)| MessageBook {
            source: row.source.clone(),
            received: book.received,
            settled: book.settled,
            in_flight: book.in_flight,
            returned: book.returned,
        };
        self.rows.iter().zip(books).map(named).collect()
    }

    pub fn show_books(&self, books: &[Book]) {
        for (row, book) in self.rows.iter().zip(books) {
            row.received.absolute(book.received);
            row.settled.absolute(book.settled);
            row.returned.absolute(book.returned);
            row.in_flight.set(book.in_flight as f64);
        }
    }

    pub fn show_state(&self, connections: usize, up: usize, budget_held: u64, devices: DeviceCounts) {
        self.connections.set(connections as f64);
        self.connections_up.set(up as f64);
        self.budget_held.set(budget_held as f64);
        self.online.set(devices.online as f64);
        self.offline.set(devices.offline as f64);
        self.states_refused.absolute(devices.refused);
    }
}
