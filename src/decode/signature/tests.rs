use proptest::prelude::*;

use super::*;
use crate::{
    config::SourceKind,
    decode::{
        Body, Carriage, Channel, Layout, PositionReading, Stream, decode_payload,
        encode::{self, Entry, Envelope, RealtimeUnit},
    },
    reading::Timestamp,
};

const VIN: &str = "LGDCHA1G8MA900002";

/// A packet of two seconds in dialect 2, with these bytes behind the bodies.
fn packet(behind: &[u8]) -> Vec<u8> {
    let at = Timestamp::from_china(2026, 11, 2, 8, 30, 0).expect("a date");
    let entries = [0, 1].map(|second| {
        let mut stream = Stream::default();
        stream.channels.engine_rpm = Channel::number(1200.0);
        Entry { collected_at: Some(at.plus_seconds(second)), serial: 0, body: Body::Stream(stream) }
    });
    let unit = RealtimeUnit {
        layout: Layout::Two,
        sent_at: Some(at),
        serial: 7,
        position: PositionReading::Absent,
        entries: &entries,
        signature: None,
    };
    let mut unit = unit.to_bytes();
    unit.extend(behind);
    encode::frame(Envelope::plain(Command::Realtime, Protocol::Hj1239, VIN).expect("a command"), &unit)
}

fn decoded(bytes: &[u8], form: SignatureForm) -> Frame {
    decode(bytes, form).expect("decodes")
}

fn decode(bytes: &[u8], form: SignatureForm) -> Option<Frame> {
    let carriage = Carriage {
        kind: SourceKind::Obd,
        protocol: Protocol::Hj1239,
        hex_pointers: &[],
        allow_missing_checksum: false,
        max_bytes: 1 << 20,
        signature: form,
    };
    decode_payload(bytes, &carriage).remove(0).ok()
}

fn der_integer(half: &[u8]) -> Vec<u8> {
    let digits: Vec<u8> = half.iter().copied().skip_while(|byte| *byte == 0).collect();
    let sign = digits.first().is_none_or(|first| *first >= 0x80);
    let number = [vec![0; usize::from(sign)], digits].concat();
    [vec![0x02, number.len() as u8], number].concat()
}

/// The halves in one of the forms.
fn sent(halves: &[u8; 64], form: SignatureForm) -> Vec<u8> {
    let (r, s) = halves.split_at(32);
    match form {
        SignatureForm::Lengths => [&[32], r, &[32], s].concat(),
        SignatureForm::Raw => halves.to_vec(),
        SignatureForm::Der => {
            let content = [der_integer(r), der_integer(s)].concat();
            [vec![0x30, content.len() as u8], content].concat()
        }
    }
}

fn forms() -> impl Strategy<Value = SignatureForm> {
    prop_oneof![Just(SignatureForm::Lengths), Just(SignatureForm::Raw), Just(SignatureForm::Der)]
}

fn halves() -> impl Strategy<Value = [u8; 64]> {
    // Halves with leading zeros are where the forms differ.
    (prop::array::uniform32(any::<u8>()), prop::array::uniform32(any::<u8>()), 0..4_usize, 0..4_usize).prop_map(
        |(mut r, mut s, zeros_r, zeros_s)| {
            r[..zeros_r].fill(0);
            s[..zeros_s].fill(0);
            let mut halves = [0; 64];
            halves[..32].copy_from_slice(&r);
            halves[32..].copy_from_slice(&s);
            halves
        },
    )
}

proptest! {
    #[test]
    fn a_signature_is_found_and_no_reading_is_made_of_it(halves in halves(), form in forms()) {
        let bare = packet(&[]);
        let bytes = packet(&sent(&halves, form));
        let frame = decoded(&bytes, form);
        prop_assert_eq!(frame.items.len(), 2);
        prop_assert!(frame.flags.contains(Flags::SIGNATURE_UNVERIFIED));
        let found = seal(&frame, &bytes, form).expect("sealed");
        prop_assert_eq!(found.halves, halves);
        prop_assert_eq!(found.at + HEADER_BYTES + 1, bare.len());
        prop_assert_eq!(found.at + found.length + HEADER_BYTES + 1, bytes.len());
    }

    #[test]
    fn a_signature_cut_short_is_none(halves in halves(), form in forms(), left_out in 1..8_usize) {
        let whole = sent(&halves, form);
        let bytes = packet(&whole[..whole.len() - left_out]);
        // Bare bytes may look like a body that is cut short, which fits no layout: refused and kept whole.
        if let Some(frame) = decode(&bytes, form) {
            prop_assert_eq!(seal(&frame, &bytes, form), None);
            prop_assert!(!frame.flags.contains(Flags::SIGNATURE_UNVERIFIED));
            let before = frame.items.iter().filter(|item| matches!(item.body, Body::Stream(_))).count();
            prop_assert!(before >= 2, "what came before it stays");
        }
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..90), form in forms()) {
        let _found = (begins(&bytes, form), at_end(&bytes, form));
        let frame = packet(&bytes);
        if let Some(decoded) = decode(&frame, form) {
            let found = seal(&decoded, &frame, form);
            prop_assert_eq!(found.is_some(), decoded.flags.contains(Flags::SIGNATURE_UNVERIFIED));
        }
    }
}

/// Another dialect gets through one second of these two and then meets a type that nobody knows: values that nobody sent.
#[test]
fn bytes_that_end_within_a_body_are_not_read_in_another_dialect() {
    let mut halves = [0; 64];
    halves[0] = 1;
    let whole = sent(&halves, SignatureForm::Raw);
    assert!(decode(&packet(&whole[..63]), SignatureForm::Raw).is_none());
}

#[test]
fn a_packet_without_signature_loses_nothing_to_a_configured_form() {
    for form in [SignatureForm::Lengths, SignatureForm::Raw, SignatureForm::Der] {
        let bytes = packet(&[]);
        let frame = decoded(&bytes, form);
        assert_eq!((frame.items.len(), seal(&frame, &bytes, form)), (2, None), "{form:?}");
        assert!(!frame.flags.contains(Flags::SIGNATURE_UNVERIFIED));
    }
}

#[test]
fn a_signature_in_another_form_than_configured_is_not_taken_for_one() {
    // Its first byte is no type of a body, so that the bodies before it are read in any case.
    let halves = std::array::from_fn(|place| place as u8 + 0x40);
    for (is, configured) in [
        (SignatureForm::Lengths, SignatureForm::Raw),
        (SignatureForm::Lengths, SignatureForm::Der),
        (SignatureForm::Raw, SignatureForm::Lengths),
        (SignatureForm::Der, SignatureForm::Lengths),
        (SignatureForm::Der, SignatureForm::Raw),
    ] {
        let bytes = packet(&sent(&halves, is));
        let frame = decoded(&bytes, configured);
        assert_eq!(seal(&frame, &bytes, configured), None, "{is:?} read as {configured:?}");
    }
}

#[test]
fn integers_that_are_not_of_the_shortest_form_are_refused() {
    let of = |number: &[u8]| {
        let content = [&[0x02, number.len() as u8], number, &[0x02, 1, 1]].concat();
        begins(&[&[0x30, content.len() as u8], &content[..]].concat(), SignatureForm::Der)
    };
    assert!(of(&[0x7f]).is_some() && of(&[0, 0x80]).is_some() && of(&[0]).is_some());
    assert!(of(&[0x80]).is_none(), "negative");
    assert!(of(&[0, 0x7f]).is_none(), "a zero too many");
    assert!(of(&[]).is_none() && of(&[1; 33]).is_none());
}
