//! What fills a field that has nothing to say is never a value: trouble codes, counters, positions, channels.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    decode::{
        Body, Bounds, Channel, DiagnosisProtocol, Dtcs, Item, Mil, NotValue, Obd, Position, PositionReading, Stream,
        Unit,
    },
    judge::TerminalTable,
    reading::Timestamp,
};

fn shown(hex: &str) -> Value {
    let payload = hex::decode(hex.trim()).expect("hex");
    let frame = decode_one(&payload, Protocol::Auto).expect("a good frame");
    serde_json::to_value(&frame).expect("JSON")
}

#[test]
fn zeros_in_the_list_of_codes_are_no_codes() {
    let zeros = &shown(include_str!("../../../tests/fixtures/fillers/zeros.hex"))["items"][0];
    assert_eq!((&zeros["mil"], &zeros["dtc"]), (&json!("on"), &json!([])));
    assert_eq!(zeros["dtc_sent"], json!(["00000000"]), "what was sent stays to be seen");
    let both = &shown(include_str!("../../../tests/fixtures/fillers/code-and-zeros.hex"))["items"][0];
    assert_eq!(both["dtc"], json!(["145600AF"]));
    assert_eq!(both["dtc_sent"], json!(["145600AF", "00000000", "00000000"]));
    let frame_b = shown(&hex::encode(public_frame("B")));
    assert_eq!(frame_b["items"][0].get("dtc_sent"), None, "nothing was left out");
}

fn obd(diagnosis_protocol: DiagnosisProtocol, codes: &[[u8; 4]]) -> Obd {
    let dtc = Ok(codes.iter().copied().collect::<Dtcs>());
    Obd { diagnosis_protocol, mil: Mil::On, detail: None, dtc, position: PositionReading::Absent }
}

const PROTOCOLS: [DiagnosisProtocol; 6] = [
    DiagnosisProtocol::Iso15765,
    DiagnosisProtocol::Iso27145,
    DiagnosisProtocol::J1939,
    DiagnosisProtocol::Iso15031,
    DiagnosisProtocol::Invalid,
    DiagnosisProtocol::Reserved(9),
];

#[test]
fn each_protocol_has_fillers_of_its_own() {
    for protocol in PROTOCOLS {
        for last in [0, 0x2f, 0xaf, 0xff] {
            assert!(
                protocol.is_filler([0, 0, 0, last]) && protocol.is_filler([0xff, 0xff, 0xff, last]),
                "{protocol:?}"
            );
        }
        assert!(!protocol.is_filler([0x20, 0x4f, 0, 0xaf]) && !protocol.is_filler([0x11; 4]), "{protocol:?}");
    }
    let j1939 = DiagnosisProtocol::J1939;
    // SPN 0 with a failure mode, SPN 524287 with none, SPN 65535 with one: only the last names a parameter.
    assert!(j1939.is_filler([0, 0, 0x1f, 1]) && j1939.is_filler([0xff, 0xff, 0xe0, 0]));
    assert!(!j1939.is_filler([0xff, 0xff, 0x05, 1]) && !j1939.is_filler([0, 0, 0x20, 1]));
    let iso = DiagnosisProtocol::Iso27145;
    assert!(iso.is_filler([0, 0, 7, 0xaf]) && !iso.is_filler([0, 1, 0, 0xaf]) && !iso.is_filler([0x40, 0, 0, 0]));
}

#[test]
fn a_code_counts_once_whatever_its_last_byte() {
    let twice =
        obd(DiagnosisProtocol::Iso27145, &[[0x20, 0x4f, 0, 0xaf], [1, 2, 3, 4], [0x20, 0x4f, 0, 0x2f], [1, 2, 3, 4]]);
    assert_eq!(twice.codes().as_slice(), [[0x20, 0x4f, 0, 0xaf], [1, 2, 3, 4]]);
    let none = Obd { dtc: Err(NotValue::NotAvailable), ..twice };
    assert!(none.codes().is_empty());
}

#[test]
fn counters_of_performance_have_fillers_too() {
    assert!(PROTOCOLS.iter().all(|protocol| !protocol.is_count(0xffff) && protocol.is_count(0)));
    let (j1939, iso) = (DiagnosisProtocol::J1939, DiagnosisProtocol::Iso27145);
    assert!(j1939.is_count(0xfaff) && !j1939.is_count(0xfb00) && !j1939.is_count(0xfe12) && iso.is_count(0xfe12));
    let mut payload = public_frame("B");
    // The first two counters of the diagnosis body: 24 of header, 6 of time, 3 of type and serial, 59 into the body.
    payload[92..96].copy_from_slice(&[0xff; 4]);
    let last = payload.len() - 1;
    payload[last] = payload[2..last].iter().fold(0, |sum, byte| sum ^ byte);
    let frame = serde_json::to_value(decode_one(&payload, Protocol::Gb17691).expect("good")).expect("JSON");
    let iupr = frame["items"][0]["iupr"].as_array().expect("counters");
    assert_eq!((&iupr[0], &iupr[1], iupr.len()), (&Value::Null, &Value::Null, 18));
    assert!(iupr[2].is_u64());
}

/// One position in a JSON document of a machine, read and kept within the built-in bounds.
fn placed(lon: f64, lat: f64) -> PositionReading {
    let document = json!({
        "machine_id": "CNFJG300000000001", "collected_at": "2026-03-01T12:00:00+08:00", "speed_kmh": 1,
        "position": {"valid": true, "lon": lon, "lat": lat},
    });
    let carriage = Carriage { kind: SourceKind::Nonroad, ..carriage(Protocol::Hj1014) };
    let mut frame = decode_payload(document.to_string().as_bytes(), &carriage).remove(0).expect("good");
    frame.keep_within(TerminalTable::built_in().bounds());
    frame.position_reading()
}

#[test]
fn null_island_swapped_pairs_and_the_rest_of_the_world_are_no_position() {
    let known = Position { valid: true, lon: 117.87, lat: 36.8 };
    assert_eq!(placed(117.87, 36.8), PositionReading::Known(known));
    for (lon, lat, why) in [
        (0.0, 0.0, NotValue::NotAvailable),
        (36.8, 117.87, NotValue::OutOfRange),
        (117.87, 0.0, NotValue::OutOfRange),
        (0.0, 36.8, NotValue::OutOfRange),
        (-117.87, 36.8, NotValue::OutOfRange),
        (117.87, -36.8, NotValue::OutOfRange),
        (2.35, 48.85, NotValue::OutOfRange),
        (-9999.0, -9999.0, NotValue::OutOfRange),
    ] {
        assert_eq!(placed(lon, lat), PositionReading::Not(why), "{lon} {lat}");
    }
}

#[test]
fn a_removal_alarm_at_null_island_says_why_it_has_no_place() {
    let mut payload = public_frame("S2");
    let last = payload.len() - 1;
    payload[last - 8..last].fill(0);
    payload[last] = payload[2..last].iter().fold(0, |sum, byte| sum ^ byte);
    let frame = serde_json::to_value(decode_one(&payload, Protocol::Hj1239).expect("good")).expect("JSON");
    assert_eq!((&frame["position"], &frame["not_values"]["position"]), (&Value::Null, &json!("not_available")));
}

fn stream_of(change: impl FnOnce(&mut Stream)) -> Frame {
    let (_, protocol, hex) = public_frames().into_iter().find(|row| row.0 == "B").expect("frame B");
    let mut frame = decode_one(&hex::decode(hex).expect("hex"), protocol).expect("good");
    let mut stream = Stream::default();
    change(&mut stream);
    frame.unit = Unit::Data { position: PositionReading::Absent };
    frame.items = vec![Item { serial: None, collected_at: Timestamp::EPOCH, ordinal: 0, body: Body::Stream(stream) }];
    frame
}

fn stream(frame: &Frame) -> Stream {
    match &frame.items[0].body {
        Body::Stream(stream) => *stream,
        body => panic!("a stream: {body:?}"),
    }
}

/// Whatever JSON or a wide field carries, no channel keeps one of these.
#[test]
fn sentinels_are_values_of_no_channel() {
    let table = TerminalTable::built_in();
    let channels: Vec<&str> = Stream::default_names().collect();
    for name in channels {
        for filler in [-9999.0, -999.0, -273.0, 10_000_000_000.0] {
            let mut frame = stream_of(|stream| {
                let (channel, _) = stream.channels.named_mut(name).expect("a channel");
                *channel = Channel::number(filler);
            });
            frame.keep_within(table.bounds());
            let mut read = stream(&frame);
            let (channel, _) = read.channels.named_mut(name).expect("a channel");
            assert_eq!(channel.not_value(), Some(NotValue::OutOfRange), "{name} {filler}");
        }
    }
}

impl Stream {
    fn default_names() -> impl Iterator<Item = &'static str> {
        crate::decode::StreamChannels::NAMES.into_iter()
    }
}

proptest! {
    /// A value is kept exactly where its span holds it, and what was no value stays what it was.
    #[test]
    fn a_value_beyond_the_bound_is_none(value in -20_000.0..20_000.0_f64, why in prop::sample::select(&NotValue::ALL[..])) {
        let table = TerminalTable::built_in();
        let bounds: &Bounds = table.bounds();
        for name in Stream::default_names() {
            for sent in [Channel::number(value), Channel::without_value(why), Channel::ABSENT] {
                let mut frame = stream_of(|stream| {
                    let (channel, _) = stream.channels.named_mut(name).expect("a channel");
                    *channel = sent;
                });
                frame.keep_within(bounds);
                let mut read = stream(&frame);
                let (kept, _) = read.channels.named_mut(name).expect("a channel");
                let expected = match sent.value() {
                    Some(value) if !bounds.holds_of_stream(name, value) => Channel::OUT_OF_RANGE,
                    _ => sent,
                };
                prop_assert_eq!(*kept, expected, "{}", name);
            }
        }
    }
}
