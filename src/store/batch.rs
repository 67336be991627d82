//! A batch: everything that a few thousand messages lead to, ready to be committed in one transaction.

use bytes::Bytes;

use super::rows::CopyRows;
use crate::{fault::Reason, finding::Finding, reading::Timestamp};

/// Which source a reading came from: the index into the configured sources.
pub type SourceIndex = usize;

/// A row of one of the keyed tables within this batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowRef {
    pub table: Table,
    pub row: u32,
}

/// The keyed tables, in the order of [`super::tables::KEYED`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    Passage = 0,
    Packet = 1,
    Stream = 2,
    Item = 3,
}

/// Rows of one keyed table with what is needed to account for each.
#[derive(Default)]
pub struct KeyedRows {
    pub rows: CopyRows,
    /// For each row, where it came from.
    pub origins: Vec<Origin>,
    /// For each row of a hypertable its partition time; nothing where the table has none.
    pub times: Vec<Timestamp>,
}

/// Rows apart by more than this are compared with stored ones by themselves, microseconds. One late reading beside fresh ones
/// would otherwise make the server look through all that is stored between them: 9 million rows over 20 days took 5.9
/// seconds, five minutes of them 6 milliseconds.
const APART: i64 = 10 * 60 * 1_000_000;

/// Some rows that lie close together in time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub rows: Vec<i32>,
    pub from: Timestamp,
    pub to: Timestamp,
}

impl KeyedRows {
    /// The given rows in clusters, earliest first; a row without a time is in none.
    pub fn clusters(&self, rows: &[i32]) -> Vec<Cluster> {
        let time = |row: i32| Some((*self.times.get(usize::try_from(row).ok()?)?, row));
        let mut timed: Vec<(Timestamp, i32)> = rows.iter().filter_map(|&row| time(row)).collect();
        timed.sort_unstable();
        let near = |a: &(Timestamp, i32), b: &(Timestamp, i32)| b.0.micros_since(a.0) <= APART;
        let cluster = |part: &[(Timestamp, i32)]| {
            let (from, to) = (part.first()?.0, part.last()?.0);
            Some(Cluster { rows: part.iter().map(|(_, row)| *row).collect(), from, to })
        };
        timed.chunk_by(near).filter_map(cluster).collect()
    }
}

/// Where a row came from: enough to set a conflicting reading aside with its raw bytes.
#[derive(Clone, Debug)]
pub struct Origin {
    pub source: SourceIndex,
    /// Index of the message in the batch.
    pub message: u32,
    /// Place of the reading in its message.
    pub element: i32,
    /// What is put aside if need be: the reading's own bytes; of a packet what it came in.
    pub raw: Bytes,
}

/// A refused message or reading on its way to the dead-letter table.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    pub source: SourceIndex,
    pub received_at: Timestamp,
    pub topic: Box<str>,
    pub reason: Reason,
    pub detail: String,
    pub element: Option<i32>,
    pub raw: Bytes,
}

/// A finding that stands or falls with its reading: a duplicate or a conflicting reading raises nothing.
pub struct OwnedFinding {
    pub owner: RowRef,
    pub finding: Finding,
}

/// What a passage came to, as its row says it; for those who compare it with what is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    pub verdict: i16,
    pub outcomes: i16,
    pub content_hash: i64,
    /// Who carried the plate; see `vehicle::carrier`.
    pub carrier: Option<i64>,
    /// JSON text; see `judge::explanation`.
    pub explained: Option<Vec<u8>>,
}

/// A rule that could not be decided for a reading of a terminal, because an input is missing. It stands nowhere but in the
/// count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecided {
    pub owner: RowRef,
    pub rule: &'static str,
    pub missing: &'static str,
}

/// A reading of a vehicle whose plate was read, for the evaluation task and for the sweep of sightings.
#[derive(Clone, Copy, Debug)]
pub struct VehicleTask {
    pub owner: RowRef,
    pub plate_key: i64,
    pub station: i32,
    pub at: Timestamp,
    /// Whether this reading itself makes the vehicle interesting (over a limit, or with a finding).
    pub raises_interest: bool,
}

/// A window of a terminal that a new reading belongs to, or in which a roadside unit saw its vehicle; see
/// `evaluate::terminal`.
#[derive(Clone, Copy, Debug)]
pub struct TerminalTask {
    pub owner: RowRef,
    pub device: i32,
    /// Start of the window.
    pub window: Timestamp,
    /// Start of the window in which the reading's packet was sent.
    pub sent_in: Option<Timestamp>,
    /// The reading's time where it lies between two whole seconds, which nobody would ask the index for.
    pub instant: Option<Timestamp>,
    /// Not to be looked at before this: a window that is not over yet would only be looked at again.
    pub not_before: Timestamp,
}

/// A second of downstream NOx over the limit.
#[derive(Clone, Copy, Debug)]
pub struct NoxSecond {
    pub owner: RowRef,
    pub device: i32,
    pub at: Timestamp,
    pub ppm: f32,
    pub packet: i64,
    pub packet_at: Timestamp,
}

/// A packet whose signature is to be verified after the commit.
#[derive(Clone, Copy, Debug)]
pub struct SignedPacket {
    pub owner: RowRef,
    pub sent_at: Timestamp,
    pub device: i32,
    pub digest: i64,
}

/// What one source's readings add to the book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub messages: u64,
    pub decoded: u64,
    pub stored: u64,
    pub duplicate: u64,
    pub conflict: u64,
    pub quarantined: u64,
    /// Fields of readings that nobody reads, repeats included; not in the book.
    pub unknown_fields: u64,
}

/// See the module text. Built by the pipeline, consumed by [`super::commit`].
#[derive(Default)]
pub struct Batch {
    /// Keyed rows by [`Table`].
    pub keyed: [KeyedRows; 4],
    /// Wide passage rows, parallel to `keyed[Table::Passage]`.
    pub passages: CopyRows,
    /// Parallel to `passages`.
    pub judged: Vec<Judged>,
    pub dead_letters: Vec<DeadLetter>,
    pub findings: Vec<OwnedFinding>,
    pub undecided: Vec<Undecided>,
    pub vehicle_tasks: Vec<VehicleTask>,
    pub nox_seconds: Vec<NoxSecond>,
    pub terminal_tasks: Vec<TerminalTask>,
    pub signed_packets: Vec<SignedPacket>,
    /// Topic and arrival of each message, for conflicts.
    pub messages: Vec<MessageFacts>,
    /// Readings refused before they became rows, by source, are already in `dead_letters`; this counts all that were
    /// decoded, by source.
    pub tallies: Vec<Tally>,
}

#[derive(Clone, Debug)]
pub struct MessageFacts {
    pub topic: Box<str>,
    pub received_at: Timestamp,
}

impl Batch {
    pub fn new(sources: usize) -> Self {
        Self { tallies: vec![Tally::default(); sources], ..Self::default() }
    }

    /// Readings with a row or a dead letter.
    pub fn readings(&self) -> usize {
        self.keyed[Table::Passage as usize].rows.len()
            + self.keyed[Table::Stream as usize].rows.len()
            + self.keyed[Table::Item as usize].rows.len()
            + self.dead_letters.len()
    }

    /// Encoded bytes held.
    pub fn size(&self) -> usize {
        self.passages.size() + self.keyed.iter().map(|table| table.rows.size()).sum::<usize>()
    }

    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub fn tally(&mut self, source: SourceIndex) -> &mut Tally {
        &mut self.tallies[source]
    }

    /// Puts a reading or a message aside; a refused reading counts as decoded and quarantined.
    pub fn put_aside(&mut self, letter: DeadLetter) {
        let tally = self.tally(letter.source);
        tally.decoded += 1;
        tally.quarantined += 1;
        self.dead_letters.push(letter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_row_is_looked_for_by_itself() {
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let keyed =
            KeyedRows { times: [1_000_000, 999_999, 5, 1_000_600, 700_000].map(at).into(), ..KeyedRows::default() };
        let found: Vec<_> = keyed.clusters(&[0, 1, 2, 3]).into_iter().map(|c| (c.rows, c.from, c.to)).collect();
        assert_eq!(found, [(vec![2], at(5), at(5)), (vec![1, 0, 3], at(999_999), at(1_000_600))]);
        assert_eq!(KeyedRows::default().clusters(&[0]), []);
    }
}
