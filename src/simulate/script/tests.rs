use std::collections::{HashMap, HashSet};

use super::*;
use crate::{
    config::{Protocol, SignatureForm, SourceKind},
    decode::{Carriage, Command, Frame, FrameError, ItemType, decode_payload},
    fault::Reason,
    simulate::message::id_of_frame,
};

fn options(rate: f64, scenario: Scenario) -> ScriptOptions {
    let mix = Mix::new([0.4, 0.4, 0.1, 0.1]).expect("a mix");
    ScriptOptions {
        fleet: Arc::new(Fleet::new(3, Script::fleet_size(rate, &mix))),
        run: "s3-test".into(),
        rate,
        start: Timestamp::from_china(2026, 11, 23, 23, 50, 0).expect("a date"),
        mix,
        scenario,
        detail: PassageDetail::Full,
    }
}

fn messages(options: ScriptOptions, count: usize) -> Vec<Message> {
    let mut script = Script::new(options);
    (0..count).map(|_| script.next_message()).collect()
}

/// Everything that goes wrong, often.
fn rough() -> Scenario {
    Scenario {
        duplicates: 0.03,
        bad: 0.06,
        late: 0.05,
        arrays: 0.1,
        unknown: 0.02,
        removal_alarms: 0.01,
        too_large_bytes: 70_000,
        ..Scenario::calm()
    }
}

/// Reads a frame or JSON reading as the service would with its default sources.
fn decode(message: &Message) -> Vec<Result<Frame, FrameError>> {
    let kind = match message.topic.split('/').nth(2) {
        Some("obd") => SourceKind::Obd,
        Some("retrofit") => SourceKind::Retrofit,
        _ => SourceKind::Nonroad,
    };
    let protocol = if kind == SourceKind::Nonroad { Protocol::Hj1014 } else { Protocol::Hj1239 };
    decode_payload(
        &message.payload,
        &Carriage {
            kind,
            protocol,
            hex_pointers: &[],
            allow_missing_checksum: false,
            max_bytes: 1 << 20,
            signature: SignatureForm::Lengths,
        },
    )
}

fn is_passage(message: &Message) -> bool {
    message.topic.starts_with("dw/v1/rs/")
}

#[test]
fn one_seed_one_script() {
    assert!(messages(options(100.0, rough()), 3000) == messages(options(100.0, rough()), 3000));
    let mut other = options(100.0, rough());
    other.fleet = Arc::new(Fleet::new(4, FleetSize::DEMO));
    assert!(messages(other, 50) != messages(options(100.0, rough()), 50));
}

#[test]
fn frames_decode_to_what_the_ledger_will_say() {
    let mut commands = HashSet::new();
    let mut types = HashSet::new();
    for message in messages(options(10.0, rough()), 12_000).iter().filter(|message| !is_passage(message)) {
        let frames = decode(message);
        let [frame] = frames.as_slice() else { panic!("{} frames in {}", frames.len(), message.id) };
        let expect = &message.expect;
        match (frame, expect.reason) {
            (Ok(frame), None) => {
                commands.insert(frame.command);
                types.extend(frame.items.iter().map(|item| item.item_type()));
                assert_eq!(frame.items.len() as u32, expect.readings, "{:?}", frame.command);
                assert_eq!(id_of_frame(frame).as_deref(), Some(&*message.id));
                assert!(message.topic.contains(&*frame.id));
                // Only vehicles of the register have an identity that is a VIN.
                let registered = frame.id.starts_with("LDW");
                assert!(frame.flags.is_empty() || !registered, "{:?}", frame.flags);
            }
            (Err(error), Some(reason)) => assert_eq!(error.reason(), reason, "{error}"),
            (found, expected) => panic!("{expected:?} expected: {found:?}"),
        }
    }
    let all = [Command::Login, Command::Realtime, Command::Resend, Command::Logout, Command::RemovalAlarm];
    assert!(all.iter().all(|command| commands.contains(command)), "{commands:?}");
    let all = [ItemType::Obd, ItemType::Stream, ItemType::Supplement, ItemType::RetrofitSmoke];
    assert!(all.iter().all(|kind| types.contains(kind)), "{types:?}");
}

/// The natural key of a terminal's items (DESIGN, invariant 2), over midnight, at rates that keep few and many busy.
#[test]
fn no_second_is_sent_twice_with_two_contents() {
    for rate in [7.3, 400.0] {
        let mut seen: HashMap<_, _> = HashMap::new();
        for message in messages(options(rate, rough()), 6000) {
            if is_passage(&message) || message.expect.kind == Kind::Bad {
                continue;
            }
            for item in decode(&message).into_iter().flatten().flat_map(|frame| frame.items) {
                let key = (message.topic.clone(), item.collected_at, item.item_type(), item.ordinal);
                let earlier = seen.insert(key, item.body.clone());
                assert!(earlier.is_none_or(|earlier| message.expect.duplicate && earlier == item.body));
            }
        }
        assert!(seen.len() > 5000);
    }
}

/// Default plausibility: 10 minutes ahead; and data must not lag, or a live page shows the past.
#[test]
fn readings_are_of_their_time() {
    let options = options(50.0, Scenario::calm());
    let (start, rate) = (options.start, options.rate);
    for (number, message) in messages(options, 10_000).iter().enumerate().filter(|(_, message)| !is_passage(message)) {
        let now = start.micros() + (number as f64 / rate * 1e6) as i64;
        for item in decode(message).into_iter().flatten().flat_map(|frame| frame.items) {
            let age_seconds = (now - item.collected_at.micros()) / 1_000_000;
            assert!((-2..=90).contains(&age_seconds), "{age_seconds} s old");
        }
    }
}

#[test]
fn record_ids_and_expectations_of_passages_are_true() {
    let mut ids = HashSet::new();
    let mut reasons = HashSet::new();
    for message in messages(options(100.0, rough()), 12_000).into_iter().filter(is_passage) {
        let expect = &message.expect;
        reasons.extend(expect.reason);
        if expect.kind == Kind::Bad {
            assert_eq!((expect.readings, expect.quarantined), (0, 1));
            continue;
        }
        let value: serde_json::Value = serde_json::from_slice(&message.payload).expect("good messages are JSON");
        let elements = value.as_array().map_or(std::slice::from_ref(&value), Vec::as_slice);
        assert_eq!(elements.len() as u32, expect.readings + expect.quarantined);
        let named: Vec<&str> = elements.iter().filter_map(|element| element["record_id"].as_str()).collect();
        assert!(named.contains(&&*message.id));
        assert!(expect.records.iter().all(|record| named.contains(&&**record)));
        let topic =
            |element: &serde_json::Value| format!("dw/v1/rs/{}/passage", element["station_id"].as_str().unwrap_or("-"));
        let at_home = elements.iter().filter(|element| topic(element) == *message.topic).count();
        assert!(at_home as u32 >= expect.readings);
        if !expect.duplicate {
            assert!(named.iter().all(|id| ids.insert((*id).to_owned())), "record ids are not reused");
        }
    }
    for kind in BadKind::DELIVERED.into_iter().filter(|kind| !kind.is_frame()) {
        assert!(reasons.contains(&kind.reason()), "{kind:?} never came");
    }
    assert!(!reasons.contains(&Reason::ChecksumMismatch));
}

#[test]
fn a_calm_script_has_nothing_wrong() {
    for message in messages(options(100.0, Scenario::calm()), 3000) {
        assert!(message.expect.reason.is_none() && !message.expect.duplicate);
        assert!(message.topic.contains("/rs/") == (message.expect.kind == Kind::Passage));
    }
}
