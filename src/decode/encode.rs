//! Fields to bytes: the exact reverse of decoding, for the simulated fleet and for round-trip tests.

use crate::{config::Protocol, reading::Timestamp};

use super::{
    body::{RetrofitSmoke, SUPPLEMENT_BYTES, WorkState},
    bytes::raw_time,
    dialect::Layout,
    frame::{Activation, Body},
    header::{Command, HeaderShape, ID_BYTES, UNIT_BYTES_MAX},
    position::{MICRODEGREES, PositionReading, TRACKER_DEGREES},
    scale::BYTE,
    splitter::MARKER,
    walk::SIGNATURE_BYTES,
};

/// What stands in a header.
#[derive(Clone, Copy, Debug)]
pub struct Envelope<'a> {
    pub shape: HeaderShape,
    /// See [`command_byte`].
    pub command: u8,
    /// At most 17 characters; a shorter one is filled with `0` on the left, as firmware does.
    pub id: &'a str,
    /// Not sent in the 32960 shape.
    pub software_version: u8,
    /// 01 is "none".
    pub encryption: u8,
}

impl<'a> Envelope<'a> {
    /// A plain frame in the ordinary header; `None` where `protocol` has no such command.
    pub fn plain(command: Command, protocol: Protocol, id: &'a str) -> Option<Self> {
        let command = command_byte(command, protocol)?;
        Some(Self { shape: HeaderShape::Gb17691, command, id, software_version: 1, encryption: 1 })
    }
}

/// The byte that says `command` in `protocol`.
pub fn command_byte(command: Command, protocol: Protocol) -> Option<u8> {
    command.byte(protocol)
}

/// XOR of all bytes.
pub fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum ^ byte)
}

/// A whole frame. A unit longer than 65531 bytes, which the length cannot say, is cut off.
pub fn frame(envelope: Envelope<'_>, unit: &[u8]) -> Vec<u8> {
    let mut frame = frame_without_checksum(envelope, unit);
    let sum = checksum(frame.get(MARKER.len()..).unwrap_or_default());
    frame.push(sum);
    frame
}

/// A frame of the old tracker, which sends no checksum.
pub fn frame_without_checksum(envelope: Envelope<'_>, unit: &[u8]) -> Vec<u8> {
    /// "Command, not an answer."
    const NO_RESPONSE: u8 = 0xfe;
    let unit = unit.get(..UNIT_BYTES_MAX).unwrap_or(unit);
    let mut frame = Vec::with_capacity(unit.len() + 25);
    frame.extend(MARKER);
    frame.push(envelope.command);
    if envelope.shape == HeaderShape::Gb32960 {
        frame.push(NO_RESPONSE);
    }
    let id = envelope.id.as_bytes();
    let id = id.get(..ID_BYTES).unwrap_or(id);
    frame.extend(std::iter::repeat_n(b'0', ID_BYTES - id.len()));
    frame.extend(id);
    if envelope.shape == HeaderShape::Gb17691 {
        frame.push(envelope.software_version);
    }
    frame.push(envelope.encryption);
    frame.extend((unit.len() as u16).to_be_bytes());
    frame.extend(unit);
    frame
}

/// A body and when it was collected.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Sent in dialect 2 only; `None` is sent as zeros.
    pub collected_at: Option<Timestamp>,
    /// Sent in dialect 1 only.
    pub serial: u16,
    pub body: Body,
}

/// A realtime (or resend) unit.
#[derive(Clone, Debug)]
pub struct RealtimeUnit<'a> {
    pub layout: Layout,
    /// `None` is sent as zeros.
    pub sent_at: Option<Timestamp>,
    /// Not sent in dialect 1.
    pub serial: u16,
    /// Sent in non-road packets only.
    pub position: PositionReading,
    pub entries: &'a [Entry],
    /// R and S of an SM2 signature: at the end, in dialect 3 behind each body. Dialect 1 has none.
    pub signature: Option<[[u8; 32]; 2]>,
}

impl RealtimeUnit<'_> {
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(32 + self.entries.len() * 48);
        out.extend(raw_time(self.sent_at));
        if self.layout == Layout::Tracker {
            self.tracker(&mut out);
            return out;
        }
        if self.layout != Layout::One {
            out.extend(self.serial.to_be_bytes());
        }
        if self.layout == Layout::Nonroad {
            out.extend(self.position.to_bytes(MICRODEGREES));
        }
        for entry in self.entries {
            out.push(type_byte(&entry.body));
            match self.layout {
                Layout::One => out.extend(entry.serial.to_be_bytes()),
                Layout::Two => out.extend(raw_time(entry.collected_at)),
                Layout::Three | Layout::Nonroad | Layout::Tracker => {}
            }
            body(&entry.body, self.layout == Layout::Nonroad, &mut out);
            if self.layout == Layout::Three {
                self.sign(&mut out);
            }
        }
        if let Layout::Two | Layout::Nonroad = self.layout {
            self.sign(&mut out);
        }
        out
    }

    fn sign(&self, out: &mut Vec<u8>) {
        let Some([r, s]) = &self.signature else { return };
        out.reserve(SIGNATURE_BYTES);
        for half in [r, s] {
            out.push(half.len() as u8);
            out.extend(half);
        }
    }

    /// The first stream body, of which the old tracker sends tank level, position and work state.
    fn tracker(&self, out: &mut Vec<u8>) {
        let stream = self.entries.iter().find_map(|entry| match &entry.body {
            Body::Stream(stream) => Some(*stream),
            _ => None,
        });
        let stream = stream.unwrap_or_default();
        out.push(0x87);
        out.extend(self.serial.to_be_bytes());
        out.push(BYTE.up_to(100).to_raw(stream.channels.fuel_tank_pct) as u8);
        out.extend(stream.position.to_bytes(TRACKER_DEGREES));
        let state = stream.work_state.unwrap_or(WorkState::Stopped);
        out.extend(WorkState::CODES.into_iter().find(|(_, known)| *known == state).map(|(code, _)| code));
    }
}

/// The information type of a body.
pub fn type_byte(body: &Body) -> u8 {
    match body {
        Body::Obd(_) => 0x01,
        Body::Stream(_) => 0x02,
        Body::Twc(twc) if twc.channels.nox_ppm.is_absent() => 0x03,
        Body::Twc(_) => 0x05,
        Body::Hybrid(_) => 0x04,
        Body::Supplement(_) | Body::Vendor(_) => 0x80,
        Body::RetrofitSmoke(smoke) if is_short(smoke) => 0xaa,
        Body::RetrofitSmoke(_) => 0x81,
        Body::Unknown(unknown) => unknown.code,
    }
}

/// Type AA has averages, type 81 has k.
fn is_short(smoke: &RetrofitSmoke) -> bool {
    !smoke.pm_average.is_absent() && smoke.smoke_k_m1.is_absent()
}

/// A body as it stands behind its type (and serial or time). Diagnosis is written in the form it has detail for.
fn body(body: &Body, nonroad: bool, out: &mut Vec<u8>) {
    match body {
        Body::Obd(obd) => obd.write(out),
        Body::Stream(stream) if nonroad => put(out, |bytes| stream.write_nonroad(bytes)),
        Body::Stream(stream) => put(out, |bytes| stream.write_road(bytes)),
        Body::Twc(twc) if twc.channels.nox_ppm.is_absent() => put(out, |bytes| twc.write_plain(bytes)),
        Body::Twc(twc) => put(out, |bytes| twc.write_with_nox(bytes)),
        Body::Hybrid(hybrid) => put(out, |bytes: &mut [u8; 8]| hybrid.write::<0>(bytes)),
        Body::Supplement(supplement) => {
            put(out, |bytes: &mut [u8; SUPPLEMENT_BYTES]| supplement.write::<0>(bytes));
        }
        Body::RetrofitSmoke(smoke) if is_short(smoke) => put(out, |bytes: &mut [u8; 6]| smoke.write::<1>(bytes)),
        Body::RetrofitSmoke(smoke) => put(out, |bytes: &mut [u8; 18]| smoke.write::<0>(bytes)),
        Body::Vendor(vendor) => {
            out.extend((vendor.raw.len() as u16).to_be_bytes());
            out.extend(&vendor.raw);
        }
        Body::Unknown(unknown) => out.extend(&unknown.raw),
    }
}

fn put<const N: usize>(out: &mut Vec<u8>, write: impl FnOnce(&mut [u8; N])) {
    let mut bytes = [0; N];
    write(&mut bytes);
    out.extend(bytes);
}

/// A login unit; an ICCID is cut off or filled with NUL to 20 characters, `tail` is what a vendor appends.
pub fn login(at: Option<Timestamp>, serial: u16, iccid: &str, tail: &[u8]) -> Vec<u8> {
    let mut out = logout(at, serial);
    out.extend(super::Text::<20>::new(iccid).0);
    out.extend(tail);
    out
}

/// A logout unit.
pub fn logout(at: Option<Timestamp>, serial: u16) -> Vec<u8> {
    let mut out = raw_time(at).to_vec();
    out.extend(serial.to_be_bytes());
    out
}

/// A removal alarm; `diagnosis_obtainable` is sent by HJ 1014 and has no place in HJ 1239 (`None`).
pub fn removal_alarm(
    at: Option<Timestamp>,
    serial: u16,
    position: PositionReading,
    diagnosis_obtainable: Option<bool>,
) -> Vec<u8> {
    let mut out = logout(at, serial);
    out.extend(position.to_bytes(MICRODEGREES));
    out.extend(diagnosis_obtainable.map(|obtainable| u8::from(!obtainable)));
    out
}

/// An activation unit, signed or not.
pub fn activation(at: Option<Timestamp>, activation: &Activation, signature: Option<[[u8; 32]; 2]>) -> Vec<u8> {
    let mut out = raw_time(at).to_vec();
    out.extend(activation.chip_id);
    out.extend(activation.public_key);
    out.extend(activation.vin.0);
    for half in signature.iter().flatten() {
        out.push(half.len() as u8);
        out.extend(half);
    }
    out
}

/// An activation response: status 1 is success.
pub fn activation_response(status: u8, info: u8) -> Vec<u8> {
    vec![status, info]
}
