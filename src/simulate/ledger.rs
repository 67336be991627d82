//! What the broker took over, one JSON line per message: the outside's book against which the tables are checked.
//!
//! A line exists only for a message whose PUBACK came, so whatever stands here must be found in the service: every
//! `readings` stored once, every `quarantined` in the dead letters. A message that had to be sent again has one line; a
//! deliberate duplicate has a line of its own with the same `id` and `"duplicate":true`. Lines of a connection stand in the
//! order of its acks. Text reaches the file at least every [`FLUSH_EVERY`]; what a kill takes away is lines, never more
//! than that of them, and a missing line claims nothing.

use std::{
    fs::File,
    io::{self, Write as _},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::message::Message;
use crate::reading::Timestamp;

/// Longest time a line stays in memory only.
pub const FLUSH_EVERY: Duration = Duration::from_millis(100);

/// One line, as a test reads it back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub topic: String,
    /// See [`Message::id`].
    pub id: String,
    /// When the PUBACK came.
    pub acked_at: Timestamp,
    /// `passage`, `frame`, `reading` or `bad`
    pub kind: String,
    pub readings: u32,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub quarantined: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub duplicate: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub records: Vec<String>,
}

fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// A ledger being written; shared by all connections.
#[derive(Debug)]
pub struct Ledger {
    /// Lines not yet handed to the file. Held for a few copies, never across I/O.
    lines: Mutex<Vec<u8>>,
    /// Held while writing, so that two flushes keep their order.
    file: Mutex<Output>,
}

#[derive(Debug)]
struct Output {
    file: File,
    /// Why a write failed once: the file has a gap from there on, and every later flush says so.
    failure: Option<String>,
}

impl Ledger {
    /// Begins a new file; an existing one is replaced.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self {
            lines: Mutex::new(Vec::new()),
            file: Mutex::new(Output { file: File::create(path)?, failure: None }),
        })
    }

    /// Notes that the broker acknowledged the message.
    pub fn record(&self, message: &Message, acked_at: Timestamp) {
        let expect = &message.expect;
        let mut lines = lock(&self.lines);
        // Topics and ids are made by the fleet of letters, digits and `/:-.+`, so nothing needs escaping.
        let _infallible = write!(
            lines,
            r#"{{"topic":"{}","id":"{}","acked_at":"{acked_at}","kind":"{}","readings":{}"#,
            message.topic,
            message.id,
            expect.kind.name(),
            expect.readings,
        );
        if expect.quarantined > 0 {
            let _infallible = write!(lines, r#","quarantined":{}"#, expect.quarantined);
        }
        if let Some(reason) = expect.reason {
            let _infallible = write!(lines, r#","reason":"{}""#, reason.name());
        }
        if expect.duplicate {
            lines.extend_from_slice(br#","duplicate":true"#);
        }
        for (place, record) in expect.records.iter().enumerate() {
            lines.extend_from_slice(if place == 0 { br#","records":[""# } else { br#",""# });
            lines.extend_from_slice(record.as_bytes());
            lines.push(b'"');
        }
        if !expect.records.is_empty() {
            lines.push(b']');
        }
        lines.extend_from_slice(b"}\n");
    }

    /// Hands everything recorded so far to the file. Blocks for the write.
    pub fn flush(&self) -> io::Result<()> {
        let mut output = lock(&self.file);
        let lines = std::mem::take(&mut *lock(&self.lines));
        if output.failure.is_none()
            && let Err(error) = output.file.write_all(&lines)
        {
            output.failure = Some(error.to_string());
        }
        output.failure.clone().map_or(Ok(()), |failure| Err(io::Error::other(failure)))
    }
}

/// Reads a ledger back. A last line that a kill cut short is left out.
pub fn read(path: &Path) -> io::Result<Vec<Entry>> {
    let text = std::fs::read_to_string(path)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().map(|line| serde_json::from_str(line).map_err(io::Error::other)).collect()
}

/// A panic elsewhere leaves whole lines behind, so the data is good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{
        fault::Reason,
        simulate::message::{Expectation, Kind},
    };

    #[test]
    fn lines_read_back_as_written() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("ledger.jsonl");
        let ledger = Ledger::create(&path).expect("a file");
        let acked_at = Timestamp::from_micros(1_790_000_000_123_456);
        let message = |expect: Expectation| Message {
            topic: "dw/v1/rs/370306-01/passage".into(),
            payload: Bytes::from_static(b"{}"),
            id: "s1-1-0000000001".into(),
            expect,
            device: 0,
        };
        let array = Expectation {
            records: vec!["a".into(), "b".into()],
            quarantined: 1,
            reason: Some(Reason::WrongType),
            ..Expectation::good(Kind::Passage, 2)
        };
        let again = Expectation { duplicate: true, ..Expectation::good(Kind::Frame, 10) };
        for expect in [array, again, Expectation::bad(Reason::NotJson)] {
            ledger.record(&message(expect), acked_at);
        }
        assert_eq!(std::fs::metadata(&path).expect("there").len(), 0, "nothing is written before the flush");
        ledger.flush().expect("written");

        let entries = read(&path).expect("readable");
        let [array, again, bad] = entries.as_slice() else { panic!("three lines") };
        assert_eq!((array.readings, array.quarantined, array.records.len()), (2, 1, 2));
        assert_eq!(array.acked_at, acked_at);
        assert!(again.duplicate && again.kind == "frame" && again.readings == 10);
        assert_eq!(bad.reason.as_deref(), Some("not_json"));

        let mut torn = std::fs::OpenOptions::new().append(true).open(&path).expect("there");
        torn.write_all(b"{\"topic\":\"dw").expect("written");
        assert_eq!(read(&path).expect("readable").len(), 3);
    }
}
