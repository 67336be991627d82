//! A decoded frame: what every later stage works with.

use std::ops::Range;

use crate::reading::Timestamp;

use super::{
    body::{Hybrid, RetrofitSmoke, Stream, Supplement, Twc},
    header::{Command, FrameProtocol, HeaderShape},
    obd::{Obd, Text},
    position::{Position, PositionReading},
    vendor::Vendor,
};

/// One packet of a terminal, from a binary frame or from JSON. Its JSON form is that of the `decode` command.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    pub protocol: FrameProtocol,
    /// `None` for JSON.
    pub header: Option<HeaderShape>,
    /// Which of the three layouts a realtime unit of a heavy-duty terminal has, 1..=3; `None` for everything else.
    pub dialect: Option<u8>,
    pub command: Command,
    /// Identity as sent, without filling; bytes that are not printable ASCII are U+FFFD. See [`Frame::names`].
    pub id: Box<str>,
    pub software_version: Option<u8>,
    /// Time of the packet; `None` where the unit has none or its clock gave no calendar date.
    pub sent_at: Option<Timestamp>,
    /// Serial of the packet; `None` where the layout has none, and after a tie between dialects, which leaves it unknown.
    /// Serials restart every day, so they order packets of one day at best.
    pub serial: Option<u16>,
    pub unit: Unit,
    pub items: Vec<Item>,
    pub flags: Flags,
    /// Fields of a JSON document that nobody reads.
    pub ignored_fields: u32,
    pub raw: Raw,
    /// The part of the payload that this came in, where frames and noise alone do not make up its bytes: a text of hex, a JSON
    /// document around it, filling between frames. All that came in it have the same.
    pub wrapper: Option<Range<usize>>,
}

/// What a frame says besides its items.
#[derive(Clone, Debug, PartialEq)]
pub enum Unit {
    /// Realtime or resend; non-road packets and JSON have one position for all items.
    Data {
        position: PositionReading,
    },
    Login {
        iccid: Text<20>,
        /// Bytes that some vendors append.
        tail: Box<[u8]>,
    },
    Logout {
        tail: Box<[u8]>,
    },
    TimeSync {
        tail: Box<[u8]>,
    },
    RemovalAlarm {
        position: PositionReading,
        /// HJ 1014 only: whether diagnosis can still be read.
        diagnosis_obtainable: Option<bool>,
    },
    Activation(Box<Activation>),
    ActivationResponse {
        status: u8,
        info: u8,
    },
    User {
        data: Box<[u8]>,
    },
}

/// A terminal's key, filed with the platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activation {
    pub chip_id: [u8; 16],
    pub public_key: [u8; 64],
    pub vin: Text<17>,
}

/// One body of a realtime packet.
#[derive(Clone, Debug, PartialEq)]
pub struct Item {
    /// The item's own serial (dialect 1); unknown after a tie between dialects.
    pub serial: Option<u16>,
    /// Resolved: an illegal collect time gives way to the packet's time (and to [`Timestamp::EPOCH`] where that is illegal
    /// too), and the n-th body of a type that repeats one collect time is n seconds later.
    pub collected_at: Timestamp,
    /// Counts items of the same type within the same resolved second, from 0. With device, time and type the natural key.
    pub ordinal: u16,
    pub body: Body,
}

impl Item {
    pub const fn item_type(&self) -> ItemType {
        self.body.item_type()
    }
}

#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    /// Type 01, road or non-road.
    Obd(Obd),
    /// Type 02, road or non-road; type 87 of an old tracker; channels of JSON.
    Stream(Stream),
    /// Type 80.
    Supplement(Supplement),
    /// Types 81 and AA; smoke channels of JSON.
    RetrofitSmoke(RetrofitSmoke),
    /// Types 03 and 05.
    Twc(Twc),
    /// Type 04.
    Hybrid(Hybrid),
    /// Type 80 in its vendor form.
    Vendor(Vendor),
    Unknown(Unknown),
}

/// A type that is not known ends the parse, because sizes are not self-describing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// The type byte.
    pub code: u8,
    /// Everything behind it.
    pub raw: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum ItemType {
    Obd,
    Stream,
    Supplement,
    RetrofitSmoke,
    Twc,
    Hybrid,
    Vendor,
    Unknown,
}

impl ItemType {
    pub const ALL: [ItemType; 8] = [
        ItemType::Obd,
        ItemType::Stream,
        ItemType::Supplement,
        ItemType::RetrofitSmoke,
        ItemType::Twc,
        ItemType::Hybrid,
        ItemType::Vendor,
        ItemType::Unknown,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            ItemType::Obd => "obd",
            ItemType::Stream => "stream",
            ItemType::Supplement => "supplement",
            ItemType::RetrofitSmoke => "retrofit_smoke",
            ItemType::Twc => "twc",
            ItemType::Hybrid => "hybrid",
            ItemType::Vendor => "vendor",
            ItemType::Unknown => "unknown",
        }
    }
}

impl Body {
    pub const fn item_type(&self) -> ItemType {
        match self {
            Body::Obd(_) => ItemType::Obd,
            Body::Stream(_) => ItemType::Stream,
            Body::Supplement(_) => ItemType::Supplement,
            Body::RetrofitSmoke(_) => ItemType::RetrofitSmoke,
            Body::Twc(_) => ItemType::Twc,
            Body::Hybrid(_) => ItemType::Hybrid,
            Body::Vendor(_) => ItemType::Vendor,
            Body::Unknown(_) => ItemType::Unknown,
        }
    }

    /// The body's own position, or the packet's where the packet has one for all.
    pub const fn position(&self) -> PositionReading {
        match self {
            Body::Obd(obd) => obd.position,
            Body::Stream(stream) => stream.position,
            Body::Twc(twc) => twc.position,
            _ => PositionReading::Absent,
        }
    }
}

/// Properties worth a look that are no reason to refuse a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(u8);

impl Flags {
    /// Position 9 of the VIN does not hold the remainder.
    pub const VIN_CHECK_DIGIT: Flags = Flags(1);
    /// The VIN holds a character that GB 16735 excludes.
    pub const VIN_ILLEGAL_CHARACTER: Flags = Flags(1 << 1);
    /// A diagnosis body names another vehicle than the header.
    pub const BODY_VIN_MISMATCH: Flags = Flags(1 << 2);
    /// A collect time was no calendar date.
    pub const COLLECT_TIME_INVALID: Flags = Flags(1 << 3);
    /// Several dialects consume the unit exactly.
    pub const DIALECT_AMBIGUOUS: Flags = Flags(1 << 4);
    /// An SM2 signature is there; nobody checked it.
    pub const SIGNATURE_UNVERIFIED: Flags = Flags(1 << 5);
    /// The unit is longer than its layout.
    pub const TRAILING_BYTES: Flags = Flags(1 << 6);

    /// In the order in which they are written.
    pub const NAMES: [(Flags, &'static str); 7] = [
        (Flags::VIN_CHECK_DIGIT, "vin_check_digit"),
        (Flags::VIN_ILLEGAL_CHARACTER, "vin_illegal_character"),
        (Flags::BODY_VIN_MISMATCH, "body_vin_mismatch"),
        (Flags::COLLECT_TIME_INVALID, "collect_time_invalid"),
        (Flags::DIALECT_AMBIGUOUS, "dialect_ambiguous"),
        (Flags::SIGNATURE_UNVERIFIED, "signature_unverified"),
        (Flags::TRAILING_BYTES, "trailing_bytes"),
    ];

    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn set(&mut self, other: Flags) {
        self.0 |= other.0;
    }

    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.into_iter().filter(move |(flag, _)| self.contains(*flag)).map(|(_, name)| name)
    }
}

/// Where the bytes of a frame are, so that they can be kept as evidence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Raw {
    /// This part of the payload.
    Payload(Range<usize>),
    /// The payload carried them as hex text; these are the bytes.
    Decoded(Box<[u8]>),
}

impl Frame {
    /// The frame's bytes (or its JSON text); `payload` is what was given to the decoder.
    pub fn raw_bytes<'a>(&'a self, payload: &'a [u8]) -> &'a [u8] {
        match &self.raw {
            Raw::Payload(range) => payload.get(range.clone()).unwrap_or_default(),
            Raw::Decoded(bytes) => bytes,
        }
    }

    /// Whether the frame's identity is that of `device`. Firmware fills short identities with `0` on the left.
    pub fn names(&self, device: &str) -> bool {
        if *self.id == *device {
            return true;
        }
        let filling = self.id.strip_suffix(device);
        !device.is_empty() && filling.is_some_and(|filling| filling.bytes().all(|byte| byte == b'0'))
    }

    /// The packet's own position: removal alarms, non-road packets, JSON.
    pub const fn position(&self) -> Option<Position> {
        self.position_reading().get()
    }

    /// The packet's own position, or why it says none.
    pub const fn position_reading(&self) -> PositionReading {
        match &self.unit {
            Unit::Data { position } | Unit::RemovalAlarm { position, .. } => *position,
            _ => PositionReading::Absent,
        }
    }

    /// Whether it was collected while offline.
    pub fn is_resend(&self) -> bool {
        self.command == Command::Resend
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_filled_with_zeros_are_recognised() {
        let frame = |id: &str| Frame {
            protocol: FrameProtocol::Auto,
            header: None,
            dialect: None,
            command: Command::Logout,
            id: id.into(),
            software_version: None,
            sent_at: None,
            serial: None,
            unit: Unit::Logout { tail: Box::default() },
            items: Vec::new(),
            flags: Flags::default(),
            ignored_fields: 0,
            raw: Raw::Payload(0..0),
            wrapper: None,
        };
        assert!(frame("00000000000000T17").names("T17"));
        assert!(frame("00000000000000T17").names("00000000000000T17"));
        assert!(!frame("0000000000000XT17").names("T17"));
        assert!(!frame("00000000000000000").names(""));
    }
}
