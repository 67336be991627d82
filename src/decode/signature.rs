//! The SM2 signature of a terminal's packet: where it stands and which halves it has. Whether it holds is for others.
//!
//! DOMAIN knows one form, R and S each behind a length byte of 32 (`lengths`), and nothing a body could be begins with
//! 20h, so it is recognised wherever a walk meets it. Platforms also report 64 bare bytes (`raw`) and ASN.1 (`der`). Those
//! look like anything, so they are only believed where the source is configured so, where the unit as a whole fits no
//! layout and where the unit without them fits one exactly: a signature must never be read as a body, nor a body be
//! taken for a signature.

use crate::config::{Protocol, SignatureForm};

use super::{
    dialect::{self, Realtime},
    error::Fault,
    frame::{Flags, Frame},
    header::{Command, FrameProtocol, HEADER_BYTES},
    walk::{SIGNATURE_BYTES, begins_with_signature},
};

/// Bytes of an activation unit before its signature.
const ACTIVATION_BYTES: usize = 103;

/// Bytes of one half.
const HALF: usize = 32;

/// Shortest and longest sequence of two integers of up to 256 bits and a sign.
const DER_BYTES: std::ops::RangeInclusive<usize> = 8..=72;

/// A signature as it stands in a data unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Bytes of the unit before it.
    pub at: usize,
    /// Bytes it takes, length bytes and the like included.
    pub length: usize,
    /// R, then S, each filled with zeros on the left.
    pub halves: [u8; 2 * HALF],
}

/// Finds the signature that a decoded frame carries; `bytes` are the frame's own ([`Frame::raw_bytes`]).
pub fn seal(frame: &Frame, bytes: &[u8], form: SignatureForm) -> Option<Seal> {
    if !frame.flags.contains(Flags::SIGNATURE_UNVERIFIED) {
        return None;
    }
    let unit = unit(bytes)?;
    match frame.command {
        Command::Activation => begins(unit.get(ACTIVATION_BYTES..)?, form).map(|(length, halves)| Seal {
            at: ACTIVATION_BYTES,
            length,
            halves,
        }),
        Command::Realtime | Command::Resend if form == SignatureForm::Lengths => at_end(unit, form),
        Command::Realtime | Command::Resend => fitting(unit, protocol_of(frame.protocol), form),
        _ => None,
    }
}

/// The data unit of a whole frame.
fn unit(bytes: &[u8]) -> Option<&[u8]> {
    let (header, rest) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let [.., high, low] = *header;
    rest.get(..usize::from(u16::from_be_bytes([high, low])))
}

const fn protocol_of(protocol: FrameProtocol) -> Protocol {
    match protocol {
        FrameProtocol::Gb17691 => Protocol::Gb17691,
        FrameProtocol::Hj1239 => Protocol::Hj1239,
        FrameProtocol::Hj1014 => Protocol::Hj1014,
        FrameProtocol::Json | FrameProtocol::Auto => Protocol::Auto,
    }
}

/// Reads a realtime unit of a source that signs in `form`.
pub(super) fn read_realtime(unit: &[u8], protocol: Protocol, form: SignatureForm) -> Result<Realtime, Fault> {
    if form != SignatureForm::Lengths
        && let Some(seal) = fitting(unit, protocol, form)
    {
        let mut realtime = dialect::read(unit.get(..seal.at).unwrap_or_default(), protocol)?;
        realtime.flags.set(Flags::SIGNATURE_UNVERIFIED);
        return Ok(realtime);
    }
    dialect::read(unit, protocol)
}

fn fitting(unit: &[u8], protocol: Protocol, form: SignatureForm) -> Option<Seal> {
    let seal = at_end(unit, form)?;
    let is_one = !dialect::fits(unit, protocol) && dialect::fits(unit.get(..seal.at)?, protocol);
    is_one.then_some(seal)
}

/// The signature that `unit` ends with.
fn at_end(unit: &[u8], form: SignatureForm) -> Option<Seal> {
    let of_length = |length: usize| {
        let at = unit.len().checked_sub(length)?;
        let (found, halves) = begins(unit.get(at..)?, form)?;
        (found == length).then_some(Seal { at, length, halves })
    };
    match form {
        SignatureForm::Lengths => of_length(SIGNATURE_BYTES),
        SignatureForm::Raw => of_length(2 * HALF),
        // The longest stands for the outermost: a shorter one could only lie inside it.
        SignatureForm::Der => DER_BYTES.rev().find_map(of_length),
    }
}

/// Length and halves of the signature that `bytes` begin with.
pub(super) fn begins(bytes: &[u8], form: SignatureForm) -> Option<(usize, [u8; 2 * HALF])> {
    let mut halves = [0; 2 * HALF];
    let (r, s) = halves.split_at_mut(HALF);
    let length = match form {
        SignatureForm::Lengths => {
            if !begins_with_signature(bytes) {
                return None;
            }
            r.copy_from_slice(bytes.get(1..=HALF)?);
            s.copy_from_slice(bytes.get(HALF + 2..SIGNATURE_BYTES)?);
            SIGNATURE_BYTES
        }
        SignatureForm::Raw => {
            let found = bytes.get(..2 * HALF)?;
            let (first, second) = found.split_at_checked(HALF)?;
            r.copy_from_slice(first);
            s.copy_from_slice(second);
            found.len()
        }
        SignatureForm::Der => {
            let [0x30, length, rest @ ..] = bytes else { return None };
            let mut content = rest.get(..usize::from(*length))?;
            integer(&mut content, r)?;
            integer(&mut content, s)?;
            if !content.is_empty() {
                return None;
            }
            usize::from(*length) + 2
        }
    };
    Some((length, halves))
}

/// Reads an integer that is not negative and of the shortest form, right-aligned into `half`.
fn integer(content: &mut &[u8], half: &mut [u8]) -> Option<()> {
    let [0x02, length, rest @ ..] = *content else { return None };
    let (number, rest) = rest.split_at_checked(usize::from(*length))?;
    let digits = match number {
        [0, second, ..] if *second >= 0x80 => number.get(1..)?,
        [0] => number,
        [first, ..] if (1..0x80).contains(first) => number,
        _ => return None,
    };
    let start = half.len().checked_sub(digits.len())?;
    half.get_mut(start..)?.copy_from_slice(digits);
    *content = rest;
    Some(())
}

#[cfg(test)]
mod tests;
