//! One message to publish, and what the service ought to make of it.

use bytes::Bytes;

use crate::{decode::Frame, fault::Reason, reading::Timestamp};

/// What a message carries, by the shape that the ledger compares it in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One passage, or an array of them.
    Passage,
    /// A binary frame of a terminal or machine.
    Frame,
    /// One JSON reading of a retrofit terminal or machine.
    Reading,
    /// Nothing in it can be stored.
    Bad,
}

impl Kind {
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Passage => "passage",
            Kind::Frame => "frame",
            Kind::Reading => "reading",
            Kind::Bad => "bad",
        }
    }
}

/// What ought to become of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    pub kind: Kind,
    /// Readings that must be in the tables once, whether this copy or an earlier one put them there. A login, logout or
    /// alarm frame holds none.
    pub readings: u32,
    /// Readings that must be quarantined instead.
    pub quarantined: u32,
    /// Why, where something must be.
    pub reason: Option<Reason>,
    /// Whether this repeats an earlier message byte for byte.
    pub duplicate: bool,
    /// Record ids of an array, beyond the message id.
    pub records: Vec<Box<str>>,
}

impl Expectation {
    pub const fn good(kind: Kind, readings: u32) -> Self {
        Self { kind, readings, quarantined: 0, reason: None, duplicate: false, records: Vec::new() }
    }

    pub const fn bad(reason: Reason) -> Self {
        Self {
            kind: Kind::Bad,
            readings: 0,
            quarantined: 1,
            reason: Some(reason),
            duplicate: false,
            records: Vec::new(),
        }
    }
}

/// A message and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub topic: Box<str>,
    pub payload: Bytes,
    /// The passage's record id; for frames `{device}:{sent at}:{serial}`, so that it can be had from the payload too.
    pub id: Box<str>,
    pub expect: Expectation,
    /// Decides the connection: messages of one device share one, so they keep their order.
    pub device: u32,
}

/// The message id of a frame or JSON reading.
pub fn frame_id(device: &str, sent_at: Timestamp, serial: u16) -> String {
    format!("{device}:{sent_at}:{serial}")
}

/// The same, from what the decoder made of the payload. In dialect 1 the packet has no serial, the first item has.
pub fn id_of_frame(frame: &Frame) -> Option<String> {
    let serial = frame.serial.or_else(|| frame.items.first().and_then(|item| item.serial))?;
    Some(frame_id(&frame.id, frame.sent_at?, serial))
}
