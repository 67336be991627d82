//! What one packet's signature comes to: pure, no clock and no I/O.

use std::borrow::Cow;

use sha2::{Digest, Sha256};
use sm2::dsa::{Signature, signature::MultipartVerifier};
use smallvec::SmallVec;

use super::key::PublicKey;
use crate::{
    config::{self, HeaderLength, Protocol, SignatureForm, SignatureMode, SignedFrom, SignedLengths, SourceKind},
    decode::{self, Body, Carriage, Command, Flags, Frame, Seal, Unit},
};

/// What came of a packet. The number is what `signature_check.result` holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i16)]
pub enum Outcome {
    Ok = 0,
    /// Well formed, and not made with the key in force over these bytes.
    Failed = 1,
    /// No key of this terminal was in force.
    NoKey = 2,
    /// What should be a signature or a key is none.
    Malformed = 3,
    /// Not in the sample.
    Skipped = 4,
    Unsigned = 5,
    /// Several signatures in one packet.
    Unsupported = 6,
}

impl Outcome {
    pub const ALL: [Outcome; 7] = [
        Outcome::Ok,
        Outcome::Failed,
        Outcome::NoKey,
        Outcome::Malformed,
        Outcome::Skipped,
        Outcome::Unsigned,
        Outcome::Unsupported,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Ok => "ok",
            Outcome::Failed => "failed",
            Outcome::NoKey => "no_key",
            Outcome::Malformed => "malformed",
            Outcome::Skipped => "skipped",
            Outcome::Unsigned => "unsigned",
            Outcome::Unsupported => "unsupported",
        }
    }

    pub const fn code(self) -> i16 {
        self as i16
    }
}

/// What is verified, and over which bytes.
#[derive(Clone, Debug)]
pub struct Rules {
    pub settings: config::Signature,
}

/// A packet as it is stored.
#[derive(Clone, Debug)]
pub struct Packet {
    pub kind: SourceKind,
    pub protocol: Protocol,
    pub raw: Vec<u8>,
}

/// With what to verify.
#[derive(Clone, Copy, Debug)]
pub enum With<'a> {
    /// The key in force, if there is one.
    Known(Option<&'a PublicKey>),
    /// The key that the packet, an activation, files.
    Filed,
}

impl Rules {
    pub const fn new(settings: config::Signature) -> Self {
        Self { settings }
    }

    /// Whether a packet is verified at all: by its digest and a salt that outsiders do not know.
    pub fn chooses(&self, salt: &[u8], digest: i64) -> bool {
        match self.settings.mode {
            SignatureMode::Off => false,
            SignatureMode::Full => true,
            SignatureMode::Sample => {
                let hash = Sha256::new().chain_update(salt).chain_update(digest.to_be_bytes()).finalize();
                let place = u64::from_be_bytes(std::array::from_fn(|at| hash[at]));
                // 2^64 as a float is exact; the share of 1 takes every packet.
                (place as f64) < self.settings.sample_share * 18_446_744_073_709_551_616.0
            }
        }
    }

    /// What the packet's signature comes to. Whether it is a signature at all does not depend on there being a key.
    pub fn check(&self, packet: &Packet, with: With<'_>) -> Outcome {
        let Some(frame) = self.decode(packet) else { return Outcome::Malformed };
        if frame.dialect == Some(3) && frame.items.len() > 1 && frame.flags.contains(Flags::SIGNATURE_UNVERIFIED) {
            return Outcome::Unsupported;
        }
        let Some(seal) = decode::seal(&frame, &packet.raw, self.settings.form) else {
            return if holds_leftovers(&frame) { Outcome::Malformed } else { Outcome::Unsigned };
        };
        let Ok(signature) = Signature::from_slice(&seal.halves) else { return Outcome::Malformed };
        let filed = filed_key(&frame);
        let key = match with {
            With::Known(Some(key)) => *key,
            With::Known(None) => return Outcome::NoKey,
            With::Filed => match filed {
                Some(key) => key,
                None => return Outcome::Malformed,
            },
        };
        let Some(key) = key.verifying(&self.settings.user_id) else { return Outcome::Malformed };
        let signed = self.signed(&packet.raw, &seal);
        let parts: SmallVec<[&[u8]; 4]> = signed.iter().map(SmallVec::as_slice).collect();
        match key.multipart_verify(&parts, &signature) {
            Ok(()) => Outcome::Ok,
            Err(_) => Outcome::Failed,
        }
    }

    /// The key that an activation files; `None` for anything else and for a key that is no point of the curve.
    pub fn filed(&self, packet: &Packet) -> Option<Filed> {
        let frame = self.decode(packet)?;
        let Unit::Activation(activation) = &frame.unit else { return None };
        let vin = activation.vin.as_text().map(Cow::into_owned);
        Some(Filed { key: filed_key(&frame)?, chip_id: activation.chip_id, vin })
    }

    fn decode(&self, packet: &Packet) -> Option<Frame> {
        let carriage = Carriage {
            kind: packet.kind,
            protocol: packet.protocol,
            hex_pointers: &[],
            allow_missing_checksum: false,
            max_bytes: usize::MAX,
            signature: self.settings.form,
        };
        let mut frames = decode::decode_payload(&packet.raw, &carriage);
        // One stored packet is one frame.
        frames.pop().filter(|_| frames.is_empty())?.ok()
    }

    /// The signed bytes, in parts: of the header, of the data unit, of the signature.
    fn signed(&self, raw: &[u8], seal: &Seal) -> [SmallVec<[u8; 32]>; 3] {
        let (header, unit) = raw.split_at_checked(HEADER_BYTES).unwrap_or_default();
        let mut head: SmallVec<[u8; 32]> = SmallVec::from_slice(header);
        if self.settings.header_length == HeaderLength::WithoutSignature {
            head.truncate(HEADER_BYTES - 2);
            head.extend_from_slice(&(seal.at as u16).to_be_bytes());
        }
        match self.settings.signed_from {
            SignedFrom::Unit => head.clear(),
            SignedFrom::Command => {
                head.drain(..MARKER_BYTES.min(head.len()));
            }
            SignedFrom::Marker => {}
        }
        let lengths: &[u8] = match (self.settings.form, self.settings.signed_lengths) {
            (SignatureForm::Lengths, SignedLengths::First) => &[32],
            (SignatureForm::Lengths, SignedLengths::Both) => &[32, 32],
            _ => &[],
        };
        [head, SmallVec::from_slice(unit.get(..seal.at).unwrap_or_default()), SmallVec::from_slice(lengths)]
    }
}

/// Start marker, command, identity, version, encryption, length.
const HEADER_BYTES: usize = 24;
const MARKER_BYTES: usize = 2;

/// A key that an activation files, and whose it says it is.
#[derive(Clone, Debug, PartialEq)]
pub struct Filed {
    pub key: PublicKey,
    pub chip_id: [u8; 16],
    pub vin: Option<String>,
}

fn filed_key(frame: &Frame) -> Option<PublicKey> {
    match &frame.unit {
        Unit::Activation(activation) => PublicKey::new(activation.public_key),
        _ => None,
    }
}

/// Whether bytes are left over that are neither a body nor a signature.
fn holds_leftovers(frame: &Frame) -> bool {
    match frame.command {
        Command::Realtime | Command::Resend => {
            frame.flags.contains(Flags::SIGNATURE_UNVERIFIED)
                || frame.items.iter().any(|item| matches!(item.body, Body::Unknown(_)))
        }
        _ => frame.flags.contains(Flags::TRAILING_BYTES),
    }
}

#[cfg(test)]
pub(crate) mod tests;
