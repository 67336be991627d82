//! Counts of a running fleet, readable while it runs.

use std::sync::atomic::{AtomicU64, Ordering};

/// Messages of the fleet; status messages do not count.
#[derive(Debug, Default)]
pub struct Progress {
    /// Made and handed to a connection.
    pub made: AtomicU64,
    /// Sent for the first time.
    pub sent: AtomicU64,
    /// Acknowledged by the broker; these are the lines of the ledger.
    pub acked: AtomicU64,
    /// Acknowledged with a reason that says no, or larger than the broker takes: never again sent.
    pub refused: AtomicU64,
    /// Sent once more after a connection was lost.
    pub resent: AtomicU64,
    /// Connections made after the first of each line.
    pub reconnects: AtomicU64,
}

/// The same counts at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub made: u64,
    pub sent: u64,
    pub acked: u64,
    pub refused: u64,
    pub resent: u64,
    pub reconnects: u64,
}

impl Progress {
    pub fn counts(&self) -> Counts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        // Later stages first, so that no stage seems ahead of the one before it.
        let (acked, refused) = (read(&self.acked), read(&self.refused));
        let (resent, sent) = (read(&self.resent), read(&self.sent));
        Counts { made: read(&self.made), sent, acked, refused, resent, reconnects: read(&self.reconnects) }
    }

    pub(super) fn add(count: &AtomicU64, number: u64) {
        count.fetch_add(number, Ordering::Relaxed);
    }
}
