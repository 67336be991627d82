//! One function for each parser. The first byte of the data chooses the settings, the rest is the input.
//!
//! Besides not panicking, each result must serialise, and a good frame must check and survive its own encoding.

use super::dieselwatch::{
    config::{Protocol, SignatureForm, SourceKind},
    decode::{
        Carriage, Command, Frame, FrameError, FrameStream, HeaderShape, Layout, Unit, decode_hex, decode_payload,
        encode::{self, Entry, Envelope, RealtimeUnit},
        remote_sensing,
    },
    judge::TerminalTable,
    strict_json,
    vehicle::{
        import::{ImportError, offline},
        lists::ListsBuilder,
    },
    zone::Datum,
};

const PROTOCOLS: [Protocol; 4] = [Protocol::Auto, Protocol::Gb17691, Protocol::Hj1239, Protocol::Hj1014];
const KINDS: [SourceKind; 4] = [SourceKind::Obd, SourceKind::Retrofit, SourceKind::Nonroad, SourceKind::Rs];

fn carriage(settings: u8, pointers: &[String]) -> Carriage<'_> {
    Carriage {
        kind: KINDS[usize::from(settings >> 2) % 4],
        protocol: PROTOCOLS[usize::from(settings) % 4],
        hex_pointers: pointers,
        allow_missing_checksum: settings & 0x10 != 0,
        max_bytes: 1 << 20,
        signature: match settings >> 6 {
            0 | 1 => SignatureForm::Lengths,
            2 => SignatureForm::Raw,
            _ => SignatureForm::Der,
        },
    }
}

fn check(payload: &[u8], result: &Result<Frame, FrameError>) {
    match result {
        Ok(frame) => {
            assert!(!frame.raw_bytes(payload).is_empty());
            serde_json::to_vec(frame).expect("a frame serialises");
        }
        Err(error) => drop(serde_json::to_vec(error).expect("an error serialises")),
    }
}

/// A payload as it comes from a topic.
pub fn frames(data: &[u8]) {
    let Some((&settings, payload)) = data.split_first() else { return };
    let results = decode_payload(payload, &carriage(settings, &[]));
    assert!(!results.is_empty());
    results.iter().for_each(|result| check(payload, result));
}

/// Hex text, as in a line of the `decode` command.
pub fn hex_text(data: &[u8]) {
    let Some((&settings, text)) = data.split_first() else { return };
    decode_hex(text, &carriage(settings, &[])).iter().for_each(|result| check(text, result));
}

/// JSON with hex in it, or with the channels themselves.
pub fn terminal_json(data: &[u8]) {
    let Some((&settings, payload)) = data.split_first() else { return };
    let pointers = ["/data".to_owned(), "/info/data".to_owned()];
    for result in decode_payload(payload, &carriage(settings, &pointers)) {
        check(payload, &result);
        if let Ok(frame) = result
            && frame.header.is_none()
        {
            assert_strict(frame.raw_bytes(payload));
        }
    }
}

/// Nothing is read out of what breaks the rules of JSON, a key twice for one.
fn assert_strict(raw: &[u8]) {
    let (_, text) = strict_json::text(raw).expect("UTF-8");
    strict_json::check(text).expect("strict JSON");
}

/// A byte stream that arrives in parts: the second byte is their length.
pub fn byte_streams(data: &[u8]) {
    let Some((&[settings, length], bytes)) = data.split_first_chunk() else { return };
    let mut stream = FrameStream::new(carriage(settings, &[]));
    let mut check = |result: Result<Frame, FrameError>| -> Result<(), ()> {
        check(&[], &result);
        Ok(())
    };
    for part in bytes.chunks(usize::from(length) + 1) {
        stream.push(part, &mut check).expect("nothing fails");
    }
    stream.finish(&mut check).expect("nothing fails");
}

/// A data unit in a frame that checks, which a fuzzer would hardly find: the second byte is the command.
pub fn realtime_units(data: &[u8]) {
    let Some((&[settings, command], unit)) = data.split_first_chunk() else { return };
    let envelope = Envelope {
        shape: if settings & 0x20 == 0 { HeaderShape::Gb17691 } else { HeaderShape::Gb32960 },
        command,
        id: "1M8GDM9AXKP042788",
        software_version: 1,
        encryption: 1,
    };
    let carriage = carriage(settings, &[]);
    let sent = encode::frame(envelope, unit);
    for result in decode_payload(&sent, &carriage) {
        check(&sent, &result);
        if let Ok(frame) = &result {
            assert_survives(frame, &carriage);
        }
    }
}

/// A realtime frame in which every body is known comes back the same from its own encoding.
fn assert_survives(frame: &Frame, carriage: &Carriage<'_>) {
    let (Some(dialect), Unit::Data { position }, Command::Realtime) = (frame.dialect, &frame.unit, frame.command)
    else {
        return;
    };
    let layout = [Layout::One, Layout::Two, Layout::Three][usize::from(dialect) - 1];
    // Flags tell of what the encoder would put right (illegal times) or leave out (signatures), and of chance fits.
    let plain = frame.flags.names().all(|flag| flag.starts_with("vin") || flag.starts_with("body"));
    let times_as_sent = frame.items.iter().all(|item| item.ordinal == 0) && layout == Layout::Two;
    let all_known = frame.items.iter().all(|item| item.item_type().name() != "unknown");
    if !plain || !times_as_sent || !all_known || frame.sent_at.is_none() {
        return;
    }
    let entry = |item: &super::dieselwatch::decode::Item| Entry {
        collected_at: Some(item.collected_at),
        serial: 0,
        body: item.body.clone(),
    };
    let entries: Vec<Entry> = frame.items.iter().map(entry).collect();
    let unit = RealtimeUnit {
        layout,
        sent_at: frame.sent_at,
        serial: frame.serial.unwrap_or_default(),
        position: *position,
        entries: &entries,
        signature: None,
    };
    let envelope = Envelope {
        shape: frame.header.unwrap_or(HeaderShape::Gb17691),
        command: 2,
        id: &frame.id,
        software_version: frame.software_version.unwrap_or_default(),
        encryption: 1,
    };
    let again = encode::frame(envelope, &unit.to_bytes());
    let decoded = decode_payload(&again, carriage).remove(0).expect("its own encoding is good");
    if decoded.dialect == frame.dialect {
        assert_eq!(decoded.items, frame.items);
    }
}

/// A message of passages: each element keeps its own bytes and says the same when it comes alone, and no byte of the message
/// but what stands between elements is in none or in two.
pub fn passages(payload: &[u8]) {
    let Ok(elements) = remote_sensing::decode(payload) else { return };
    assert!(elements.len() > 0, "a message is never nothing");
    let mut taken = vec![false; payload.len()];
    for element in elements {
        assert!(payload.as_ptr_range().contains(&element.raw.as_ptr()), "an element is a part of its message");
        let start = element.raw.as_ptr() as usize - payload.as_ptr() as usize;
        for taken in &mut taken[start..start + element.raw.len()] {
            assert!(!std::mem::replace(taken, true), "a byte of two elements");
        }
        if element.passage.is_ok() {
            assert_strict(element.raw);
        }
        let alone = remote_sensing::decode(element.raw).ok().and_then(|mut elements| elements.next());
        match (&element.passage, alone.map(|element| element.passage)) {
            (Ok(passage), Some(Ok(alone))) => assert_eq!(passage.content_hash(), alone.content_hash()),
            (Ok(_), _) => panic!("a good element is refused when it comes alone"),
            (Err(_), _) => {}
        }
    }
    let left = payload.iter().zip(taken).filter(|(_, taken)| !taken).map(|(byte, _)| *byte);
    let between = |byte: &u8| byte.is_ascii_whitespace() || b"[,]\xef\xbb\xbf".contains(byte);
    assert!(left.into_iter().all(|byte| between(&byte)), "a byte of no element");
}

/// An operator's file: the first byte is the dataset. A refusal may repeat no cell, so it must stay short; and rows seen are
/// rows taken, refused and blank, whatever the file is.
pub fn imports(data: &[u8]) {
    let Some((&dataset, file)) = data.split_first() else { return };
    let folder = std::env::temp_dir();
    let path = folder.join(format!("dieselwatch-fuzz-{}-{:?}", std::process::id(), std::thread::current().id()));
    std::fs::write(&path, file).expect("a scratch file");
    let area = TerminalTable::built_in().bounds().area;
    let summary = match dataset % 7 {
        0 => offline::vehicles(&path).map(|(_, summary)| summary),
        1 => offline::list("fuzz", &path, &mut ListsBuilder::default()),
        2 => offline::stations(&path, &area).map(|(_, summary)| summary),
        3 => offline::devices(&path).map(|(_, summary)| summary),
        4 => offline::zones(&path, Datum::Wgs84, &area).map(|(_, summary)| summary),
        5 => offline::zones(&path, Datum::Gcj02, &area).map(|(_, summary)| summary),
        _ => offline::inspections(&path).map(|(_, summary)| summary),
    };
    std::fs::remove_file(&path).expect("the scratch file");
    match summary {
        Ok(summary) => {
            assert!(summary.refusals.rows().iter().all(|refused| refused.reason.len() < 400));
            let named = summary.refusals.count() + summary.blank.count() + summary.merged;
            assert!(named <= summary.rows, "more rows are named than there are");
            let entries = summary.rows - named;
            assert!(summary.balance(entries).is_ok() && summary.taken() == entries + summary.merged);
        }
        // The reader compares with the entries it made.
        Err(error) => assert!(!matches!(error, ImportError::Miscounted { .. }), "a row is nowhere"),
    }
}
