//! A way through the bodies of a realtime unit by one layout, without reading their values.

use super::{
    body::SUPPLEMENT_BYTES,
    bytes::{RawTime, Rest},
    dialect::Layout,
    obd,
    position::{MICRODEGREES, PositionReading},
    vendor,
};

/// How far a layout gets through a unit, found without reading any value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Survey {
    pub layout: Layout,
    pub bodies: usize,
    /// Bytes of the unit before what stopped the walk.
    pub consumed: usize,
    pub end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Nothing is left.
    Exact,
    UnknownType,
    /// A body, or the layout's head, is cut short.
    Short,
}

impl Survey {
    pub fn of(unit: &[u8], layout: Layout) -> Self {
        let mut survey = Survey { layout, bodies: 0, consumed: 0, end: End::Short };
        let Some((_, mut walk)) = Walk::begin(unit, layout) else { return survey };
        survey.end = loop {
            survey.consumed = unit.len() - walk.rest.len();
            match walk.next() {
                Step::Body { .. } => survey.bodies += 1,
                Step::Signature => {}
                Step::Stop(End::Exact) if survey.bodies == 0 => break End::Short,
                Step::Stop(end) => break end,
            }
        };
        survey
    }
}

/// What stands before the bodies.
pub(super) struct Head {
    pub sent: RawTime,
    pub serial: Option<u16>,
    pub position: PositionReading,
}

/// A way through the bodies of a unit.
pub(super) struct Walk<'a> {
    layout: Layout,
    pub rest: Rest<'a>,
    /// Read type 80 in its standard form only.
    standard_only: bool,
}

pub(super) enum Step<'a> {
    Body { kind: Kind, serial: Option<u16>, collected: Option<RawTime>, body: &'a [u8] },
    Signature,
    Stop(End),
}

/// A type whose size is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Obd,
    Stream,
    TwcPlain,
    TwcWithNox,
    Hybrid,
    Supplement,
    Vendor,
    SmokeLong,
    SmokeShort,
    NonroadObd,
    NonroadStream,
}

/// Length byte and 32 bytes, twice.
pub(super) const SIGNATURE_BYTES: usize = 66;
const HALF_SIGNATURE: u8 = 32;

/// Whether `rest` begins with an SM2 signature. No type has the number 20h, so there is nothing to mistake it for.
pub(super) fn begins_with_signature(rest: &[u8]) -> bool {
    rest.len() >= SIGNATURE_BYTES && rest.first() == Some(&HALF_SIGNATURE) && rest.get(33) == Some(&HALF_SIGNATURE)
}

impl<'a> Walk<'a> {
    pub fn begin(unit: &'a [u8], layout: Layout) -> Option<(Head, Self)> {
        let mut rest = Rest(unit);
        let &sent = rest.array()?;
        let serial = if layout == Layout::One { None } else { Some(rest.word()?) };
        let position = if layout == Layout::Nonroad {
            let position: &[u8; 9] = rest.array()?;
            PositionReading::read(position, 0, MICRODEGREES)
        } else {
            PositionReading::Absent
        };
        Some((Head { sent, serial, position }, Self { layout, rest, standard_only: false }))
    }

    pub fn next(&mut self) -> Step<'a> {
        if self.rest.is_empty() {
            return Step::Stop(End::Exact);
        }
        if self.layout != Layout::One && begins_with_signature(self.rest.0) {
            // Dialect 2 and non-road packets carry one at the very end, dialect 3 one behind each body.
            let fits = self.layout == Layout::Three || self.rest.len() == SIGNATURE_BYTES;
            if fits && self.rest.slice(SIGNATURE_BYTES).is_some() {
                return Step::Signature;
            }
        }
        // The walk stays in front of a body it cannot read, so that the rest can be kept.
        let mut rest = self.rest;
        match self.body(&mut rest) {
            Ok(step) => {
                self.rest = rest;
                step
            }
            Err(end) => Step::Stop(end),
        }
    }

    fn body(&self, rest: &mut Rest<'a>) -> Result<Step<'a>, End> {
        let code = rest.byte().ok_or(End::Short)?;
        if !is_known(self.layout, code) {
            return Err(End::UnknownType);
        }
        let serial = if self.layout == Layout::One { Some(rest.word().ok_or(End::Short)?) } else { None };
        let collected = if self.layout == Layout::Two { Some(*rest.array().ok_or(End::Short)?) } else { None };
        let (kind, skip, size) = self.measure(code, rest.0).ok_or(End::Short)?;
        rest.slice(skip).ok_or(End::Short)?;
        let body = rest.slice(size).ok_or(End::Short)?;
        Ok(Step::Body { kind, serial, collected, body })
    }

    /// Kind, bytes to skip and size of the body of type `code` at the beginning of `rest`.
    fn measure(&self, code: u8, rest: &[u8]) -> Option<(Kind, usize, usize)> {
        Some(match (self.layout, code) {
            (Layout::Nonroad, 0x01) => (Kind::NonroadObd, 0, obd::size(rest, obd::NONROAD_HEAD)?),
            (Layout::Nonroad, _) => (Kind::NonroadStream, 0, 28),
            (_, 0x01) => (Kind::Obd, 0, obd::size(rest, obd::ROAD_HEAD)?),
            (_, 0x02) => (Kind::Stream, 0, 37),
            (_, 0x03) => (Kind::TwcPlain, 0, 30),
            (_, 0x04) => (Kind::Hybrid, 0, 8),
            (_, 0x05) => (Kind::TwcWithNox, 0, 32),
            (_, 0x81) => (Kind::SmokeLong, 0, 18),
            (_, 0xaa) => (Kind::SmokeShort, 0, 6),
            _ => match self.vendor_size(rest) {
                Some(size) => (Kind::Vendor, 2, size),
                None => (Kind::Supplement, 0, SUPPLEMENT_BYTES),
            },
        })
    }

    /// Size of a type 80 body in its vendor form, the length in front not counted; `None` for the standard form.
    ///
    /// The vendor form announces exactly the bytes that are left (a signature at the end set aside). Content that parses
    /// as tags settles it. In dialect 2, where the form was seen, the length alone does too, unless the standard form leads
    /// through the rest of the unit as well: torque mode 0 and a pedal that happens to be the number of bytes left look like
    /// a length, and the bodies behind would be lost.
    fn vendor_size(&self, rest: &[u8]) -> Option<usize> {
        if self.standard_only {
            return None;
        }
        let (&length, content) = rest.split_first_chunk()?;
        let length = usize::from(u16::from_be_bytes(length));
        let (content, behind) = content.split_at_checked(length)?;
        let is_signature = behind.len() == SIGNATURE_BYTES && begins_with_signature(behind);
        if !behind.is_empty() && !is_signature {
            return None;
        }
        let standard_fits = || {
            let behind_body = rest.get(SUPPLEMENT_BYTES..);
            behind_body
                .is_some_and(|rest| Walk { layout: self.layout, rest: Rest(rest), standard_only: true }.ends_exactly())
        };
        let is_vendor = vendor::holds_tags(content) || (self.layout == Layout::Two && !standard_fits());
        is_vendor.then_some(length)
    }

    /// Whether the bodies from here on, each in its standard form, use up the unit.
    fn ends_exactly(mut self) -> bool {
        loop {
            match self.next() {
                Step::Body { .. } | Step::Signature => {}
                Step::Stop(end) => return end == End::Exact,
            }
        }
    }
}

const fn is_known(layout: Layout, code: u8) -> bool {
    match layout {
        Layout::Nonroad => matches!(code, 0x01 | 0x02),
        _ => matches!(code, 0x01..=0x05 | 0x80 | 0x81 | 0xaa),
    }
}
