//! Frames in runs of bytes: none is lost, nothing is made up, nothing panics.

use proptest::prelude::*;

use super::*;
use crate::decode::{
    FrameStream,
    encode::{checksum, frame},
    header::HEADER_BYTES,
};

/// A frame whose data unit is arbitrary: a user command, with markers inside now and then.
fn user_frame() -> impl Strategy<Value = Vec<u8>> {
    let unit = prop::collection::vec(prop_oneof![3 => any::<u8>(), 1 => Just(0x23)], 0..80);
    (unit, 0x80u8..=0xfe, "[A-HJ-NPR-Z0-9]{17}").prop_map(|(unit, command, id)| {
        let envelope = crate::decode::encode::Envelope {
            shape: crate::decode::HeaderShape::Gb17691,
            command,
            id: &id,
            software_version: 1,
            encryption: 1,
        };
        frame(envelope, &unit)
    })
}

fn good_frame() -> impl Strategy<Value = Vec<u8>> {
    let public: Vec<_> = ["A2", "B", "D2", "E", "F0", "S3"].map(public_frame).into();
    prop_oneof![prop::sample::select(public), user_frame()]
}

#[derive(Clone, Debug)]
enum Part {
    Good(Vec<u8>),
    Noise(Vec<u8>),
}

fn part() -> impl Strategy<Value = Part> {
    let noise = prop::collection::vec(prop_oneof![3 => any::<u8>(), 2 => Just(0x23)], 0..60);
    let cut =
        (good_frame(), any::<prop::sample::Index>()).prop_map(|(frame, at)| frame[..at.index(frame.len())].to_vec());
    let bent = (good_frame(), any::<prop::sample::Index>(), 1u8..).prop_map(|(mut frame, at, change)| {
        let at = at.index(frame.len());
        frame[at] ^= change;
        frame
    });
    prop_oneof![
        4 => good_frame().prop_map(Part::Good),
        1 => noise.prop_map(Part::Noise),
        1 => cut.prop_map(Part::Noise),
        1 => bent.prop_map(Part::Noise),
    ]
}

/// Whether every frame sent is among those read, in order.
fn all_found(read: &[Vec<u8>], parts: &[Part]) -> bool {
    let mut read = read.iter();
    let good = parts.iter().filter_map(|part| match part {
        Part::Good(frame) => Some(frame),
        Part::Noise(_) => None,
    });
    let mut good = good;
    good.all(|frame| read.any(|found| found == frame))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_good_frame_is_lost(parts in prop::collection::vec(part(), 0..12), chunk in 1usize..200) {
        let bytes = parts.iter().map(|part| match part {
            Part::Good(bytes) | Part::Noise(bytes) => bytes.as_slice(),
        });
        let payload: Vec<u8> = bytes.flatten().copied().collect();
        let carriage = carriage(Protocol::Hj1239);
        let frames = if payload.starts_with(b"##") { decode_payload(&payload, &carriage) } else { Vec::new() };
        let read: Vec<Vec<u8>> = frames.iter().flatten().map(|frame| frame.raw_bytes(&payload).to_vec()).collect();
        if payload.starts_with(b"##") {
            prop_assert!(all_found(&read, &parts));
        }

        let mut streamed = Vec::new();
        let mut stream = FrameStream::new(carriage);
        let mut take = |frame: Result<Frame, crate::decode::FrameError>| -> Result<(), ()> {
            streamed.extend(frame.ok().map(|frame| frame.raw_bytes(&[]).to_vec()));
            Ok(())
        };
        for bytes in payload.chunks(chunk) {
            stream.push(bytes, &mut take).expect("no failure");
        }
        stream.finish(&mut take).expect("no failure");
        prop_assert!(all_found(&streamed, &parts));
    }

    #[test]
    fn nothing_panics_and_nothing_is_made_up(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        for protocol in [Protocol::Auto, Protocol::Gb17691, Protocol::Hj1239, Protocol::Hj1014] {
            let results = decode_payload(&payload, &carriage(protocol));
            prop_assert!(!results.is_empty());
            for result in results {
                // 300 arbitrary bytes with a marker, a length and a checksum: once in some millions.
                prop_assert!(result.is_err() || payload.windows(2).any(|pair| pair == b"##"));
            }
        }
    }

    #[test]
    fn arbitrary_units_never_panic(
        command in 1u8..9,
        unit in prop::collection::vec(prop_oneof![2 => any::<u8>(), 1 => 0u8..6, 1 => Just(0x80)], 0..200),
    ) {
        let envelope = crate::decode::encode::Envelope {
            shape: crate::decode::HeaderShape::Gb17691,
            command,
            id: "1M8GDM9AXKP042788",
            software_version: 1,
            encryption: 1,
        };
        let sent = frame(envelope, &unit);
        for protocol in [Protocol::Auto, Protocol::Gb17691, Protocol::Hj1239, Protocol::Hj1014] {
            for result in decode_payload(&sent, &carriage(protocol)) {
                match result {
                    Ok(frame) => drop(serde_json::to_string(&frame).expect("serialisable")),
                    Err(error) => drop(serde_json::to_string(&error).expect("serialisable")),
                }
            }
        }
    }

    #[test]
    fn a_changed_byte_is_refused_or_the_checksum_still_holds(
        sent in good_frame(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0u8..8), 1..4),
    ) {
        let mut changed = sent.clone();
        for (at, bit) in changes {
            let at = at.index(changed.len());
            changed[at] ^= 1 << bit;
        }
        for frame in decode_payload(&changed, &carriage(Protocol::Hj1239)).into_iter().flatten() {
            let raw = frame.raw_bytes(&changed);
            let (sum, body) = raw.split_last().expect("not empty");
            prop_assert_eq!(checksum(&body[2..]), *sum);
        }
    }
}

/// Every single bit of every public frame.
#[test]
fn one_flipped_bit_is_always_refused() {
    for (name, protocol, _) in public_frames().into_iter().filter(|row| row.0 != "F2") {
        let sent = public_frame(name);
        for bit in 0..sent.len() * 8 {
            let mut changed = sent.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let good = decode_payload(&changed, &carriage(protocol)).into_iter().flatten().count();
            assert_eq!(good, 0, "{name}, bit {bit}");
        }
    }
}

/// A long claim behind every marker must not cost the square of the payload.
#[test]
fn a_payload_of_markers_is_read_in_one_go() {
    let payload = b"##\x02".repeat(300_000 / 3);
    let results = decode_payload(&payload, &carriage(Protocol::Hj1239));
    assert!(results.iter().all(Result::is_err));
}

/// A frame that was cut short runs into the next one, and the checksum holds there by chance. While the next frame is still
/// arriving, only waiting for it can tell.
#[test]
fn a_cut_frame_that_checks_by_chance_does_not_swallow_the_next() {
    let (whole, next) = (public_frame("F0"), public_frame("E"));
    let carriage = carriage(Protocol::Hj1239);
    let mut chances = 0;
    for missing in 1..next.len() {
        let kept = whole.len() - missing;
        for noise in 0..=u8::MAX {
            // The last byte kept is varied until the checksum at the length announced happens to hold.
            let mut cut = whole[..kept].to_vec();
            cut[kept - 1] = noise;
            let payload = [cut.as_slice(), &next].concat();
            if checksum(&payload[2..whole.len() - 1]) != payload[whole.len() - 1] {
                continue;
            }
            chances += 1;
            let read = decode_payload(&payload, &carriage).into_iter().flatten();
            assert_eq!(read.map(|frame| frame.raw_bytes(&payload).to_vec()).collect::<Vec<_>>(), [next.as_slice()]);

            let mut streamed = Vec::new();
            let mut stream = FrameStream::new(carriage);
            let mut take = |frame: Result<Frame, crate::decode::FrameError>| -> Result<(), ()> {
                streamed.extend(frame.ok().map(|frame| frame.raw_bytes(&[]).to_vec()));
                Ok(())
            };
            for byte in payload.chunks(1) {
                stream.push(byte, &mut take).expect("no failure");
            }
            stream.finish(&mut take).expect("no failure");
            assert_eq!(streamed, [next.as_slice()], "{missing} bytes missing");
        }
    }
    assert!(chances > 0);
}

/// A frame that was cut short claims a whole frame behind it and the noise after that, and the checksum holds by chance.
#[test]
fn a_cut_frame_that_checks_by_chance_does_not_swallow_a_whole_one() {
    let inner = public_frame("S3");
    let outer = public_frame("B");
    let carriage = carriage(Protocol::Hj1239);
    for kept in HEADER_BYTES..outer.len() - inner.len() - 1 {
        let mut payload = [&outer[..kept], &inner].concat();
        payload.resize(outer.len() - 1, 0x55);
        payload.push(checksum(&payload[2..]));
        payload.push(0x55);
        let read = decode_payload(&payload, &carriage).into_iter().flatten();
        assert_eq!(read.map(|frame| frame.raw_bytes(&payload).to_vec()).collect::<Vec<_>>(), [inner.as_slice()]);
    }
}

/// The checksum is `23` and makes a marker with the next frame's first byte; the frame that begins there checks by chance.
#[test]
fn a_checksum_that_looks_like_a_marker_begins_no_frame() {
    let carriage = carriage(Protocol::Hj1239);
    let envelope = |command| crate::decode::encode::Envelope {
        shape: crate::decode::HeaderShape::Gb17691,
        command,
        id: "LGDCHA1G8MA900002",
        software_version: 1,
        encryption: 1,
    };
    let first = (0..=u8::MAX).map(|byte| frame(envelope(0x80), &[byte])).find(|sent| sent.ends_with(b"#"));
    let first = first.expect("one of all bytes");
    // Read one byte early, encryption `01` and the high byte of the length announce 256 bytes and the low byte is data.
    let mut chances = 0;
    for byte in 0..=u8::MAX {
        let payload = [first.clone(), frame(envelope(0x81), &[byte; 5]), vec![0x55; 300]].concat();
        let inner = first.len() - 1;
        let end = inner + 25 + 256;
        let mut payload = payload;
        payload[end - 1] = byte;
        chances += u32::from(checksum(&payload[inner + 2..end - 1]) == byte);
        let read: Vec<_> = decode_payload(&payload, &carriage).into_iter().flatten().collect();
        assert_eq!(read.len(), 2, "{byte:02x}");
        assert_eq!(read[0].raw_bytes(&payload), first.as_slice());
    }
    assert!(chances > 0);
}
