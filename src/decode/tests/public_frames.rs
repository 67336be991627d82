//! Every public frame against the values read from it by hand, and as a whole against its snapshot.

use std::collections::HashMap;

use serde_json::Value;

use super::*;
use crate::decode::{Channel, ItemType};

fn expected() -> HashMap<String, Value> {
    let lines = include_str!("../../../tests/fixtures/frames/expected_values.jsonl").lines();
    let parse = |line| serde_json::from_str::<Value>(line).expect("JSON");
    lines.map(parse).map(|value| (value["frame"].as_str().expect("a name").to_owned(), value)).collect()
}

fn decoded(hex: &str, protocol: Protocol) -> Value {
    let mut frames = decode_payload(hex.as_bytes(), &carriage(protocol));
    assert_eq!(frames.len(), 1);
    match frames.remove(0) {
        Ok(frame) => serde_json::to_value(frame),
        Err(error) => serde_json::to_value(error),
    }
    .expect("serialisable")
}

/// Every field of `expected` is in `actual`, numbers in the very same text.
fn assert_holds(name: &str, actual: &Value, expected: &Value) {
    match (actual, expected) {
        (Value::Object(actual), Value::Object(expected)) => {
            for (field, value) in expected {
                let found = actual.get(field).unwrap_or_else(|| panic!("{name}: no {field}"));
                assert_holds(&format!("{name}.{field}"), found, value);
            }
        }
        (Value::Array(actual), Value::Array(expected)) => {
            assert_eq!(actual.len(), expected.len(), "{name}");
            for (place, (actual, expected)) in actual.iter().zip(expected).enumerate() {
                assert_holds(&format!("{name}[{place}]"), actual, expected);
            }
        }
        _ => assert_eq!(actual.to_string(), expected.to_string(), "{name}"),
    }
}

#[test]
fn public_frames_hold_the_expected_values() {
    let expected = expected();
    let frames = public_frames();
    assert_eq!(frames.len(), expected.len());
    for (name, protocol, hex) in frames {
        let actual = decoded(hex, protocol);
        let mut wanted = expected[name].clone();
        let fields = wanted.as_object_mut().expect("an object");
        for about in ["frame", "note"] {
            fields.remove(about);
        }
        if let Some(dialects) = fields.remove("dialects") {
            assert_eq!(actual["dialect"], dialects[0], "{name}");
        }
        assert_holds(name, &actual, &wanted);
    }
}

#[test]
fn public_frames_look_as_before() {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("../../../tests/fixtures/frames/snapshots");
    settings.set_prepend_module_to_snapshot(false);
    let _bound = settings.bind_to_scope();
    for (name, protocol, hex) in public_frames() {
        insta::assert_json_snapshot!(format!("frame_{name}"), ordered(hex, protocol));
    }
}

/// As text and back, which keeps the order of fields that a `Value` would lose.
fn ordered(hex: &str, protocol: Protocol) -> impl serde::Serialize {
    enum Line {
        Frame(Frame),
        Error(crate::decode::FrameError),
    }
    impl serde::Serialize for Line {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self {
                Line::Frame(frame) => frame.serialize(serializer),
                Line::Error(error) => error.serialize(serializer),
            }
        }
    }
    match decode_payload(hex.as_bytes(), &carriage(protocol)).remove(0) {
        Ok(frame) => Line::Frame(frame),
        Err(error) => Line::Error(error),
    }
}

#[test]
fn no_protocol_is_needed_where_the_command_means_one_thing() {
    for (name, protocol, hex) in public_frames() {
        let known = decoded(hex, protocol);
        let mut auto = decoded(hex, Protocol::Auto);
        match name {
            "S2" => assert_eq!(auto["error"]["code"], "ambiguous_command"),
            "D2" | "E" => {
                assert_eq!(auto["protocol"], "auto");
                auto["protocol"] = known["protocol"].clone();
                assert_eq!(auto, known);
            }
            _ => assert_eq!(auto, known, "{name}"),
        }
    }
}

/// Values of the frames that were derived from the layout, as their notes give them.
#[test]
fn derived_frames_hold_the_noted_values() {
    let items = |name: &str, protocol| decode_one(&public_frame(name), protocol).expect("good").items;
    let value = |channel: Channel| channel.value().expect("a value");

    let supplement = items("S3", Protocol::Hj1239).remove(0);
    let crate::decode::Body::Supplement(supplement) = supplement.body else { panic!("a supplement") };
    assert_eq!(value(supplement.torque_mode), 9.0);
    assert_eq!(value(supplement.accelerator_pct), 50.0);
    assert_eq!(value(supplement.fuel_used_l), 1000.0);
    assert_eq!(value(supplement.reagent_temperature_c), 25.0);
    assert_eq!(value(supplement.reagent_injection_mlph), 15.0);
    assert_eq!(value(supplement.reagent_used_g), 30000.0);
    assert_eq!(value(supplement.dpf_exhaust_c), 310.5);

    let frame = decode_one(&public_frame("S4"), Protocol::Hj1014).expect("good");
    assert_eq!(frame.serial, Some(9));
    assert_eq!(frame.items[0].item_type(), ItemType::Stream);
    let crate::decode::Body::Stream(stream) = frame.items[0].body else { panic!("a stream") };
    let at = stream.position.get().expect("a position");
    assert_eq!((at.valid, at.lon, at.lat), (true, 117.8586, 36.8031));
    assert_eq!(frame.position(), Some(at));
    let channels = stream.channels;
    for (channel, expected) in [
        (channels.speed_kmh, 12.0),
        (channels.barometric_kpa, 100.0),
        (channels.net_torque_pct, 40.0),
        (channels.friction_torque_pct, 5.0),
        (channels.engine_rpm, 1500.0),
        (channels.fuel_flow_lph, 18.5),
        (channels.nox_upstream_ppm, 650.0),
        (channels.nox_downstream_ppm, 90.0),
        (channels.reagent_pct, 80.0),
        (channels.intake_air_kgph, 300.0),
        (channels.scr_inlet_c, 320.0),
        (channels.scr_outlet_c, 315.0),
        (channels.dpf_dp_kpa, 3.2),
        (channels.coolant_c, 85.0),
        (channels.fuel_tank_pct, 60.0),
        (channels.egr_actual_pct, 25.0),
        (channels.egr_commanded_pct, 30.0),
    ] {
        assert_eq!(value(channel), expected);
    }
    assert!(channels.odometer_km.is_absent());
}
