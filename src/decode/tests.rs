//! The public frames, one by one; then properties that hold for every input.

mod agreement;
mod corpus;
mod fillers;
mod public_frames;
mod refusals;
mod round_trip;
mod streams;

use crate::config::{Protocol, SignatureForm, SourceKind};

use super::{Carriage, Frame, FrameCode, decode_payload};

/// A source of heavy-duty terminals (or of machines, where the protocol says so) that reads frames by `protocol`.
fn carriage(protocol: Protocol) -> Carriage<'static> {
    let kind = if protocol == Protocol::Hj1014 { SourceKind::Nonroad } else { SourceKind::Obd };
    Carriage {
        kind,
        protocol,
        hex_pointers: &[],
        allow_missing_checksum: false,
        max_bytes: 1 << 20,
        signature: SignatureForm::Lengths,
    }
}

/// The only frame in the payload.
fn decode_one(payload: &[u8], protocol: Protocol) -> Result<Frame, FrameCode> {
    let mut frames = decode_payload(payload, &carriage(protocol));
    assert_eq!(frames.len(), 1, "{frames:?}");
    frames.remove(0).map_err(|error| error.code)
}

/// The public frames: name, protocol, hex text.
fn public_frames() -> Vec<(&'static str, Protocol, &'static str)> {
    let table = include_str!("../../tests/fixtures/frames/frames.tsv");
    let row = |line: &'static str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let &[name, protocol, _, _, hex] = columns.as_slice() else { panic!("five columns: {line}") };
        let protocol = match protocol {
            "gb17691" => Protocol::Gb17691,
            "hj1239" => Protocol::Hj1239,
            "hj1014" => Protocol::Hj1014,
            other => panic!("protocol {other}"),
        };
        (name, protocol, hex)
    };
    table.lines().skip(1).map(row).collect()
}

/// The bytes of a public frame.
fn public_frame(name: &str) -> Vec<u8> {
    let (_, _, hex) = public_frames().into_iter().find(|row| row.0 == name).expect("a public frame");
    hex::decode(hex).expect("hex")
}
