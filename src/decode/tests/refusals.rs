//! What is refused, by which code, and what is only flagged.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    decode::{
        Body, Command, Flags, HeaderShape, Hybrid, Item, Layout, NotValue, Obd, PositionReading, RetrofitSmoke, Stream,
        Unit, Unknown, WorkState,
        encode::{self, Entry, Envelope, RealtimeUnit},
    },
    reading::Timestamp,
};

const VIN: &str = "1M8GDM9AXKP042788";

fn at(second: u32) -> Timestamp {
    Timestamp::from_china(2024, 3, 15, 8, 30, second).expect("a date")
}

fn framed(command: u8, unit: &[u8]) -> Vec<u8> {
    let envelope = Envelope { shape: HeaderShape::Gb17691, command, id: VIN, software_version: 1, encryption: 1 };
    encode::frame(envelope, unit)
}

fn realtime(layout: Layout, sent_at: Option<Timestamp>, entries: &[Entry]) -> Vec<u8> {
    let unit =
        RealtimeUnit { layout, sent_at, serial: 0x0102, position: PositionReading::Absent, entries, signature: None };
    framed(2, &unit.to_bytes())
}

fn entry(collected_at: Option<Timestamp>, body: Body) -> Entry {
    Entry { collected_at, serial: 1, body }
}

fn stream(collected_at: Option<Timestamp>) -> Entry {
    entry(collected_at, Body::Stream(Stream::default()))
}

#[test]
fn each_fault_has_its_code() {
    let good = public_frame("D2");
    let refused = |bytes: &[u8]| decode_one(bytes, Protocol::Gb17691).expect_err("refused");
    assert_eq!(refused(b""), FrameCode::NoStartMarker);
    assert_eq!(refused(&[1, 2, 0xff, 3]), FrameCode::NoStartMarker);
    assert_eq!(refused(b"232"), FrameCode::NotHex);
    assert_eq!(refused(b"hello"), FrameCode::NotHex);
    assert_eq!(refused(b"23233"), FrameCode::NotHex);
    for cut in 2..good.len() {
        assert_eq!(refused(&good[..cut]), FrameCode::Truncated, "{cut} bytes");
    }
    let mut bent = good.clone();
    bent[25] ^= 1;
    assert_eq!(refused(&bent), FrameCode::ChecksumMismatch);
    let mut short = good.clone();
    short[23] = 5;
    let last = short.len() - 1;
    short[last] = encode::checksum(&short[2..last]);
    assert_eq!(refused(&short), FrameCode::LengthMismatch);
    assert_eq!(refused(&framed(9, &[])), FrameCode::UnknownCommand);
    assert_eq!(refused(&framed(6, &[0; 17])), FrameCode::UnknownCommand);
    assert_eq!(refused(&framed(1, &[0; 27])), FrameCode::LengthMismatch);
    assert_eq!(refused(&framed(2, &[0; 40])), FrameCode::NoDialectFits);
    let limit = Carriage { max_bytes: 10, ..carriage(Protocol::Gb17691) };
    let error = decode_payload(&good, &limit).remove(0).expect_err("refused");
    assert_eq!((error.code, error.raw.len()), (FrameCode::TooLarge, good.len()));
}

#[test]
fn encrypted_units_are_refused_by_name() {
    for encryption in [0, 2, 3, 4, 5, 0xfe, 0xff] {
        let envelope =
            Envelope { encryption, ..Envelope::plain(Command::Login, Protocol::Hj1239, VIN).expect("login") };
        let frame = encode::frame(envelope, &[0; 28]);
        assert_eq!(decode_one(&frame, Protocol::Hj1239), Err(FrameCode::Encrypted));
        let auto = if matches!(encryption, 2 | 3) { FrameCode::AmbiguousCommand } else { FrameCode::Encrypted };
        assert_eq!(decode_one(&frame, Protocol::Auto), Err(auto));
    }
}

/// One diagnosis body in dialect 1 consumes dialect 3 as well: same body, other serial.
#[test]
fn a_tie_between_dialects_is_flagged_and_has_no_serial() {
    let obd = decode_one(&public_frame("A2"), Protocol::Gb17691).expect("good").items.remove(0).body;
    // Type 01 and serial 0001 in dialect 1 read as serial 0100 and type 01 in dialect 3.
    let frame = realtime(Layout::One, Some(at(0)), &[entry(None, obd.clone())]);
    for protocol in [Protocol::Gb17691, Protocol::Auto] {
        let frame = decode_one(&frame, protocol).expect("good");
        assert!(frame.flags.contains(Flags::DIALECT_AMBIGUOUS));
        assert_eq!((frame.serial, frame.items[0].serial), (None, None));
        assert_eq!(frame.items[0].body, obd);
    }
}

#[test]
fn an_unknown_type_keeps_what_came_before() {
    let unknown = Body::Unknown(Unknown { code: 0xc1, raw: Box::new([1, 2, 3]) });
    let known = Body::Hybrid(Hybrid::default());
    for layout in [Layout::One, Layout::Two, Layout::Three] {
        let entries = [entry(Some(at(1)), known.clone()), entry(Some(at(1)), unknown.clone())];
        let frame = decode_one(&realtime(layout, Some(at(0)), &entries), Protocol::Auto).expect("good");
        assert_eq!(frame.dialect, layout.dialect());
        let [Item { body: Body::Hybrid(_), .. }, Item { body: Body::Unknown(rest), .. }] = frame.items.as_slice()
        else {
            panic!("{:?}", frame.items)
        };
        assert_eq!((rest.code, rest.raw.ends_with(&[1, 2, 3])), (0xc1, true));
    }
    let only = [entry(Some(at(1)), unknown)];
    assert_eq!(decode_one(&realtime(Layout::Two, Some(at(0)), &only), Protocol::Hj1239), Err(FrameCode::NoDialectFits));
}

#[test]
fn an_illegal_collect_time_gives_way_to_the_packets() {
    let entries = [stream(None), stream(Some(at(9)))];
    let frame = decode_one(&realtime(Layout::Two, Some(at(5)), &entries), Protocol::Hj1239).expect("good");
    assert!(frame.flags.contains(Flags::COLLECT_TIME_INVALID));
    assert_eq!(frame.items.iter().map(|item| item.collected_at).collect::<Vec<_>>(), [at(5), at(9)]);

    let frame = decode_one(&realtime(Layout::Two, None, &[stream(None)]), Protocol::Hj1239).expect("good");
    assert_eq!((frame.sent_at, frame.items[0].collected_at), (None, Timestamp::EPOCH));
}

#[test]
fn ten_bodies_of_one_packet_are_ten_seconds() {
    for layout in [Layout::One, Layout::Two] {
        let entries: Vec<Entry> = (0..10).map(|_| stream(Some(at(3)))).collect();
        let frame = decode_one(&realtime(layout, Some(at(3)), &entries), Protocol::Auto).expect("good");
        let times: Vec<_> = frame.items.iter().map(|item| (item.collected_at, item.ordinal)).collect();
        assert_eq!(times, (3..13).map(|second| (at(second), 0)).collect::<Vec<_>>());
    }
}

/// The vendor form announces exactly what is left; a standard body may look the same when it is the last.
#[test]
fn standard_and_vendor_forms_of_type_80_are_told_apart() {
    let kind = |raw: &[u8]| {
        let body = Body::Unknown(Unknown { code: 0x80, raw: raw.into() });
        let frame = realtime(Layout::Two, Some(at(0)), &[entry(Some(at(0)), body)]);
        decode_one(&frame, Protocol::Hj1239).map(|frame| frame.items[0].item_type().name())
    };
    let standard = [[0, 15, 0xff, 0xff, 0xff].as_slice(), &[0xff; 12]].concat();
    assert_eq!(kind(&standard), Ok("supplement"));
    let tagged = [[0, 15, 0x27, 0x11, 12].as_slice(), &[0; 12]].concat();
    assert_eq!(kind(&tagged), Ok("vendor"));
    assert_eq!(kind(&[0, 2, 9, 9]), Ok("vendor"));
    assert_eq!(kind(&[0, 3, 9, 9]), Err(FrameCode::NoDialectFits));
}

#[test]
fn vehicle_numbers_are_flagged_not_refused() {
    let flags = |id: &str| {
        let envelope = Envelope::plain(Command::Logout, Protocol::Hj1239, id).expect("logout");
        let frame = encode::frame(envelope, &encode::logout(Some(at(0)), 1));
        decode_one(&frame, Protocol::Hj1239).expect("good").flags.names().collect::<Vec<_>>()
    };
    assert_eq!(flags(VIN), [""; 0]);
    assert_eq!(flags("1M8GDM9A1KP042788"), ["vin_check_digit"]);
    assert_eq!(flags("1M8GDM9AXKO042788"), ["vin_illegal_character"]);

    let mut body = decode_one(&public_frame("A2"), Protocol::Gb17691).expect("good").items.remove(0).body;
    let frame = realtime(Layout::Two, Some(at(0)), &[entry(Some(at(0)), body.clone())]);
    assert!(decode_one(&frame, Protocol::Hj1239).expect("good").flags.contains(Flags::BODY_VIN_MISMATCH));
    if let Body::Obd(Obd { detail: Some(detail), .. }) = &mut body {
        detail.vin = crate::decode::Text::new(VIN);
    }
    let frame = realtime(Layout::Two, Some(at(0)), &[entry(Some(at(0)), body)]);
    assert!(decode_one(&frame, Protocol::Hj1239).expect("good").flags.is_empty());
}

#[test]
fn the_old_tracker_is_taken_only_where_it_is_configured() {
    let mut state = Stream { work_state: Some(WorkState::Working), ..Stream::default() };
    state.channels.fuel_tank_pct = crate::decode::Channel::number(63.0);
    state.position = PositionReading::Known(crate::decode::Position { valid: true, lon: 117.8586, lat: 36.8031 });
    let unit = RealtimeUnit {
        layout: Layout::Tracker,
        sent_at: Some(at(0)),
        serial: 4,
        position: PositionReading::Absent,
        entries: &[entry(None, Body::Stream(state))],
        signature: None,
    };
    let envelope = Envelope::plain(Command::Realtime, Protocol::Hj1014, "M123").expect("realtime");
    let sent = encode::frame_without_checksum(envelope, &unit.to_bytes());
    assert_eq!(decode_one(&sent, Protocol::Hj1014), Err(FrameCode::Truncated));

    let configured = Carriage { allow_missing_checksum: true, ..carriage(Protocol::Hj1014) };
    let frames = decode_payload(&sent.repeat(2), &configured);
    assert_eq!(frames.len(), 2);
    for frame in frames {
        let frame = frame.expect("good");
        assert!(frame.names("M123"));
        assert_eq!(frame.items[0].body, Body::Stream(state));
        assert_eq!((frame.serial, frame.sent_at), (Some(4), Some(at(0))));
    }
}

#[test]
fn hex_is_found_inside_json_and_out() {
    let text = hex::encode(public_frame("D2"));
    let pointers = ["/data".to_owned(), "/param/data".to_owned()];
    let carriage = Carriage { hex_pointers: &pointers, ..carriage(Protocol::Gb17691) };
    let spaced: String = text.to_uppercase().chars().flat_map(|digit| [digit, ' ']).collect();
    for payload in [
        text.clone(),
        format!("  {spaced}\n"),
        json!({ "data": text }).to_string(),
        json!({ "data": 7, "param": { "data": spaced } }).to_string(),
    ] {
        let frames = decode_payload(payload.as_bytes(), &carriage);
        assert_eq!(frames.len(), 1);
        let frame = frames[0].as_ref().expect("good");
        assert_eq!(frame.serial, Some(26));
        assert_eq!(frame.raw_bytes(payload.as_bytes()), public_frame("D2"));
    }
    let code = |payload: &str| decode_payload(payload.as_bytes(), &carriage).remove(0).expect_err("refused").code;
    assert_eq!(code(r#"{"data":"xyz"}"#), FrameCode::NotHex);
    assert_eq!(code(r#"{"data":""}"#), FrameCode::NoStartMarker);
    assert_eq!(code(r#"{"other":1}"#), FrameCode::MissingField);
    assert_eq!(code(r#"{"data":"2323"#), FrameCode::NotJson);
    assert_eq!(code(r#"{"data":"2323\u0000"}"#), FrameCode::NulCharacter);
    assert_eq!(code(&format!(r#"{{"data":"{text}","data":"{text}"}}"#)), FrameCode::WrongType);
    assert_eq!(code(&format!(r#"{{"data":"{text}","param":{{"data":"23"}}}}"#)), FrameCode::WrongType);
    let same = json!({ "data": text, "param": { "data": text } }).to_string();
    assert!(decode_payload(same.as_bytes(), &carriage)[0].is_ok());
    // A byte order mark before each form of text.
    for payload in [text.clone(), json!({ "data": text }).to_string(), json!([{ "data": text }]).to_string()] {
        let marked = format!("\u{feff}{payload}");
        let frames = decode_payload(marked.as_bytes(), &carriage);
        assert_eq!(frames[0].as_ref().map(|frame| frame.serial), Ok(Some(26)), "{marked}");
    }
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<u8>>();
    for payload in [utf16(&text), utf16(&same), utf16(&format!("\u{feff}{same}"))] {
        let error = decode_payload(&payload, &carriage).remove(0).expect_err("refused");
        assert!(error.code == FrameCode::NotJson && error.detail.contains("UTF-16"), "{error}");
    }
}

fn json_source(kind: SourceKind) -> Carriage<'static> {
    Carriage {
        kind,
        protocol: Protocol::Auto,
        hex_pointers: &[],
        allow_missing_checksum: false,
        max_bytes: 1 << 20,
        signature: SignatureForm::Lengths,
    }
}

fn decode_json(kind: SourceKind, document: &Value) -> Result<Frame, FrameCode> {
    let mut frames = decode_payload(document.to_string().as_bytes(), &json_source(kind));
    assert_eq!(frames.len(), 1);
    frames.remove(0).map_err(|error| error.code)
}

#[test]
fn retrofit_json_becomes_stream_and_smoke() {
    let document = json!({
        "terminal_id": "RT-1", "serial": 3, "collected_at": "2024-03-15T08:30:00+08:00",
        "position": { "valid": true, "lon": 117.8586, "lat": 36.8031 },
        "speed_kmh": 31.5, "engine_rpm": null, "coolant_c": 400, "smoke_k_m1": 0.31, "pm_mg_m3": 1.2, "note": "x",
    });
    let frame = decode_json(SourceKind::Retrofit, &document).expect("good");
    assert_eq!((&*frame.id, frame.serial, frame.ignored_fields), ("RT-1", Some(3), 1));
    assert_eq!(frame.raw_bytes(document.to_string().as_bytes()), document.to_string().as_bytes());
    let position = json!({ "valid": true, "lon": 117.8586, "lat": 36.8031 });
    let collected_at = "2024-03-15T08:30:00+08:00";
    let expected = json!({
        "protocol": "json", "header": null, "dialect": null, "command": "realtime", "id": "RT-1",
        "software_version": null, "encryption": "none", "sent_at": collected_at, "serial": 3, "position": position,
        "items": [
            { "type": "stream", "collected_at": collected_at, "speed_kmh": 31.5, "engine_rpm": null, "coolant_c": null,
              "position": position, "not_values": { "engine_rpm": "not_available", "coolant_c": "out_of_range" } },
            { "type": "retrofit_smoke", "collected_at": collected_at, "smoke_k_m1": 0.31, "pm_mg_m3": 1.2 },
        ],
        "flags": [],
    });
    assert_eq!(serde_json::to_value(&frame).expect("serialisable"), expected);
}

#[test]
fn nonroad_json_becomes_a_stream_with_a_work_state() {
    let document = json!({
        "machine_id": "CN1", "collected_at": "2024-03-15T08:30:00+08:00", "work_state": "working", "egr_actual_pct": 25,
    });
    let frame = decode_json(SourceKind::Nonroad, &document).expect("good");
    let Body::Stream(stream) = frame.items[0].body else { panic!("a stream") };
    assert_eq!(stream.work_state, Some(WorkState::Working));
    assert_eq!(stream.channels.egr_actual_pct.value(), Some(25.0));
    assert!(stream.channels.egr_commanded_pct.is_absent());
    assert_eq!(frame.unit, Unit::Data { position: PositionReading::Absent });
}

#[test]
fn json_faults_have_their_codes() {
    let good = json!({ "terminal_id": "RT-1", "collected_at": "2024-03-15T08:30:00+08:00", "smoke_k_m1": 0.3 });
    assert!(decode_json(SourceKind::Retrofit, &good).is_ok());
    let with = |name: &str, value: Value| {
        let mut document = good.clone();
        document[name] = value;
        decode_json(SourceKind::Retrofit, &document)
    };
    assert_eq!(with("terminal_id", Value::Null), Err(FrameCode::MissingField));
    assert_eq!(with("terminal_id", json!(7)), Err(FrameCode::WrongType));
    assert_eq!(with("terminal_id", json!("a/b")), Err(FrameCode::OutOfRange));
    assert_eq!(with("collected_at", json!("2024-03-15 08:30")), Err(FrameCode::WrongType));
    assert_eq!(with("smoke_k_m1", json!("0.3")), Err(FrameCode::WrongType));
    assert_eq!(with("serial", json!(70000)), Err(FrameCode::OutOfRange));
    assert_eq!(with("serial", json!("1")), Err(FrameCode::WrongType));
    assert_eq!(with("position", json!({ "valid": true, "lon": 1.0 })), Err(FrameCode::MissingField));
    assert_eq!(with("position", json!({ "valid": 1, "lon": 1.0, "lat": 1.0 })), Err(FrameCode::WrongType));
    assert_eq!(with("serial", json!(1.5)), Err(FrameCode::WrongType));
    assert_eq!(with("serial", json!(7.0)).expect("a whole number").serial, Some(7));
    assert_eq!(with("terminal_id", json!("RT\u{0}1")), Err(FrameCode::NulCharacter));
    assert!(with("note", json!("a\u{0}b")).is_ok(), "nobody reads it, as in passages");
    assert_eq!(
        decode_json(SourceKind::Retrofit, &json!({ "terminal_id": "RT-1", "collected_at": "2024-03-15T08:30:00Z" })),
        Err(FrameCode::MissingField)
    );
    let nan = br#"{"terminal_id":"RT-1","smoke_k_m1":NaN}"#;
    assert_eq!(
        decode_payload(nan, &json_source(SourceKind::Retrofit)).remove(0).expect_err("refused").code,
        FrameCode::NotJson
    );

    let far = with("position", json!({ "valid": true, "lon": 190.0, "lat": 1.0 })).expect("good");
    assert_eq!(far.unit, Unit::Data { position: PositionReading::Not(NotValue::OutOfRange) });
}

#[test]
fn one_bad_element_of_an_array_stands_alone() {
    let good = r#"{"terminal_id":"RT-1","collected_at":"2024-03-15T08:30:00+08:00","smoke_k_m1":0.3}"#;
    for (bad, code) in [
        (
            r#"{"terminal_id":"RT-2","terminal_id":"RT-1","collected_at":"2024-03-15T08:30:00+08:00","pm":1}"#,
            FrameCode::WrongType,
        ),
        (r#"{"position":{"lat":1,"l\u0061t":2}}"#, FrameCode::WrongType),
        (r#"{"smoke_k_m1":NaN}"#, FrameCode::NotJson),
        (r#"{"smoke_k_m1":1e999}"#, FrameCode::OutOfRange),
    ] {
        for payload in [bad.to_owned(), format!("[{good},{bad},{good}]")] {
            let frames = decode_payload(payload.as_bytes(), &json_source(SourceKind::Retrofit));
            let wrong: Vec<_> = frames.iter().filter_map(|frame| frame.as_ref().err()).collect();
            assert!(
                matches!(wrong.as_slice(), [wrong] if wrong.code == code && wrong.raw == bad.as_bytes()),
                "{wrong:?}"
            );
            assert_eq!(frames.len() - 1, payload.matches(good).count());
        }
    }
    let payload = format!("[{good}, 7, {good}]");
    let frames = decode_payload(payload.as_bytes(), &json_source(SourceKind::Retrofit));
    let codes: Vec<_> = frames.iter().map(|frame| frame.as_ref().map_err(|error| error.code).err()).collect();
    assert_eq!(codes, [None, Some(FrameCode::WrongType), None]);
    assert_eq!(frames[2].as_ref().expect("good").raw_bytes(payload.as_bytes()), good.as_bytes());
    let many = format!("[{}7]", "7,".repeat(500));
    let frames = decode_payload(many.as_bytes(), &json_source(SourceKind::Retrofit));
    assert_eq!(frames[0].as_ref().expect_err("refused").code, FrameCode::TooManyElements);
}

/// Types 81 and AA, with `FFFF` as the only number that is none.
#[test]
fn retrofit_bodies() {
    let read = |code, raw: &[u8]| -> RetrofitSmoke {
        let body = Body::Unknown(Unknown { code, raw: raw.into() });
        let frame = realtime(Layout::Two, Some(at(0)), &[entry(Some(at(0)), body)]);
        match decode_one(&frame, Protocol::Hj1239).expect("good").items.remove(0).body {
            Body::RetrofitSmoke(smoke) => smoke,
            other => panic!("{other:?}"),
        }
    };
    let long = read(0x81, &[0x01, 0x2c, 0, 0, 0, 9, 0, 31, 0, 125, 0xff, 0xff, 0, 0, 0, 1, 0xfe, 0xff]);
    assert_eq!(long.exhaust_temperature_c.value(), Some(300.0));
    assert_eq!(long.dpf_backpressure_kpa.value(), Some(9.0));
    assert_eq!(long.smoke_k_m1.value(), Some(0.31));
    assert_eq!(long.smoke_opacity_pct.value(), Some(12.5));
    assert_eq!(long.pm_mg_m3.not_value(), Some(NotValue::NotAvailable));
    assert_eq!(long.nox_ppm.value(), Some(65279.0));
    let short = read(0xaa, &[0, 7, 0, 8, 0x03, 0xe9]);
    assert_eq!((short.pm.value(), short.pm_average.value()), (Some(0.007), Some(0.008)));
    assert_eq!(short.smoke_opacity_pct.not_value(), Some(NotValue::OutOfRange));
    assert!(short.smoke_k_m1.is_absent());
}

proptest! {
    #[test]
    fn arbitrary_json_never_panics(text in r#"[\[\]{}",:0-9a-z_\\#.e-]{0,80}"#) {
        for kind in [SourceKind::Obd, SourceKind::Retrofit, SourceKind::Nonroad, SourceKind::Rs] {
            prop_assert!(!decode_payload(text.as_bytes(), &json_source(kind)).is_empty());
        }
    }
}
