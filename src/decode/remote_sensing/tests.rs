use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::reading::passage::PlateReading;

const ORDINARY: &str = include_str!("../../../tests/fixtures/passages/ordinary.json");

fn ordinary() -> Value {
    serde_json::from_str(ORDINARY).expect("fixture is JSON")
}

fn changed(name: &str, value: Value) -> String {
    let mut message = ordinary();
    message.as_object_mut().expect("an object").insert(name.to_owned(), value);
    message.to_string()
}

fn one(text: &str) -> Result<Passage, Refusal> {
    let mut elements = decode(text.as_bytes())?;
    let element = elements.next().expect("one element");
    assert!(elements.next().is_none());
    element.passage
}

fn reason(text: &str) -> Reason {
    one(text).expect_err(text).reason
}

#[test]
fn an_ordinary_passage() {
    let passage = one(ORDINARY).expect("legal");
    assert_eq!(passage.station_id.as_str(), "370306-01");
    assert!(matches!(passage.plate, PlateReading::Read(plate) if plate.to_string() == "鲁C12345"));
    assert_eq!((passage.opacity_pct, passage.hc_ppm, passage.lane), (Some(12.4), Some(-3.2), Some(1)));
    assert_eq!((passage.precipitation, passage.opacity_k_m1), (Some(false), None));
}

#[test]
fn an_unread_plate_is_null_and_present() {
    assert_eq!(one(&changed("plate", Value::Null)).expect("legal").plate, PlateReading::Unread);
    let mut message = ordinary();
    message.as_object_mut().expect("an object").remove("plate");
    assert_eq!(reason(&message.to_string()), Reason::MissingField);
}

#[test]
fn a_hint_is_as_long_as_the_schema_says_in_characters() {
    for word in ["重型半挂牵引车", "x", "重", "𫟷"] {
        let longest: String = word.chars().cycle().take(64).collect();
        let passage = one(&changed("vehicle_kind_hint", json!(longest))).expect("64 characters");
        assert_eq!(passage.vehicle_kind_hint.as_deref(), Some(&*longest));
        assert_ne!(passage.content_hash(), one(ORDINARY).expect("legal").content_hash());
        let longer: String = word.chars().cycle().take(65).collect();
        assert_eq!(reason(&changed("vehicle_kind_hint", json!(longer))), Reason::OutOfRange);
    }
}

#[test]
fn what_is_wrong_has_its_reason() {
    for (field, value, expected) in [
        ("station_id", json!(7), Reason::WrongType),
        ("station_id", json!(null), Reason::MissingField),
        ("station_id", json!(""), Reason::OutOfRange),
        ("record_id", json!("a\0b"), Reason::NulCharacter),
        ("record_id", json!("x".repeat(65)), Reason::OutOfRange),
        ("passed_at", json!("2026-03-01 10:15:30"), Reason::WrongType),
        ("passed_at", json!(1_700_000_000), Reason::WrongType),
        ("plate", json!("鲁C123"), Reason::PlateImpossible),
        ("plate", json!(""), Reason::PlateImpossible),
        ("plate", json!("鲁C1234\0"), Reason::NulCharacter),
        ("plate", json!(12345), Reason::WrongType),
        ("plate_color", json!("mauve"), Reason::WrongType),
        ("plate_color", json!("blue\0"), Reason::NulCharacter),
        ("lane", json!(1.5), Reason::WrongType),
        ("lane", json!(70_000), Reason::OutOfRange),
        ("plate_confidence", json!(1.01), Reason::OutOfRange),
        ("fuel_hint", json!("coal"), Reason::WrongType),
        ("vehicle_kind_hint", json!("truck\0"), Reason::NulCharacter),
        ("opacity_pct", json!("12"), Reason::WrongType),
        ("opacity_pct", json!(1_000_001), Reason::OutOfRange),
        ("no_ppm", json!(1e300), Reason::OutOfRange),
        ("precipitation", json!(0), Reason::WrongType),
        ("rig_result", json!("0"), Reason::WrongType),
        ("longitude", json!(-1e7), Reason::OutOfRange),
        ("images", json!("x.jpg"), Reason::WrongType),
    ] {
        let refusal = one(&changed(field, value.clone())).expect_err(field);
        assert_eq!(refusal.reason, expected, "{field} = {value}");
        assert!(refusal.detail.contains(field), "{}", refusal.detail);
    }
}

/// A sentinel of a broken instrument costs no passage: the vehicle was seen all the same.
#[test]
fn what_no_instrument_measures_is_read_all_the_same() {
    for field in ["opacity_pct", "ringelmann", "pressure_kpa", "wind_speed_ms", "humidity_pct", "longitude", "latitude"]
    {
        for value in [-9999.0, -999.0, -99.9, 0.0, 255.0, 1013.0, 9999.0, 65_535.0] {
            assert!(one(&changed(field, json!(value))).is_ok(), "{field} = {value}");
        }
    }
}

#[test]
fn broken_documents() {
    for (text, expected) in [
        ("", Reason::NotJson),
        ("  ", Reason::NotJson),
        ("nonsense", Reason::NotJson),
        ("{", Reason::NotJson),
        ("[{}", Reason::NotJson),
        ("{} x", Reason::NotJson),
        ("7", Reason::WrongType),
        ("\"text\"", Reason::WrongType),
        ("null", Reason::WrongType),
        ("[7]", Reason::WrongType),
        ("[[]]", Reason::WrongType),
        ("{}", Reason::MissingField),
        (r#"{"opacity_pct": NaN}"#, Reason::NotJson),
        (r#"{"opacity_pct": Infinity}"#, Reason::NotJson),
        (r#"{"opacity_pct": 1e999}"#, Reason::OutOfRange),
        (r#"{"record_id": "\ud800"}"#, Reason::NotJson),
        (r#"{"lane": 1, "lane": 2}"#, Reason::WrongType),
    ] {
        assert_eq!(reason(text), expected, "{text}");
    }
    assert_eq!(decode(b"{\"plate\": \"\xff\"}").expect_err("not UTF-8").reason, Reason::NotJson);
    let deep = format!("{{\"x\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(reason(&deep), Reason::MissingField, "an ignored field may be as deep as it likes");
}

#[test]
fn refusals_do_not_repeat_what_was_sent() {
    for text in [changed("opacity_pct", json!("鲁C99999")), changed("plate", json!("鲁C99999XX"))] {
        let refusal = one(&text).expect_err("wrong");
        assert!(!refusal.detail.contains("99999"), "{}", refusal.detail);
    }
}

#[test]
fn one_bad_element_is_alone() {
    let good = ORDINARY.trim();
    let bad = changed("opacity_pct", json!("x"));
    let payload = format!(" [ {good} , {bad},\n{good}] ");
    let elements: Vec<_> = decode(payload.as_bytes()).expect("an array").collect();
    assert_eq!(
        elements.iter().map(|e| (e.index, e.passage.is_ok())).collect::<Vec<_>>(),
        [(0, true), (1, false), (2, true)]
    );
    assert_eq!(elements[1].raw, bad.as_bytes(), "exactly its own bytes");
    assert_eq!(elements[2].raw, good.as_bytes());
    assert_eq!(decode(b"[]").expect("an array").len(), 0);
}

#[test]
fn arrays_have_an_end() {
    let array = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
    assert_eq!(decode(array(MAX_ELEMENTS).as_bytes()).expect("allowed").len(), MAX_ELEMENTS);
    assert_eq!(decode(array(MAX_ELEMENTS + 1).as_bytes()).expect_err("too many").reason, Reason::TooManyElements);
    assert_eq!(decode(b"[{},").expect_err("cut off").reason, Reason::NotJson);
}

#[test]
fn unknown_fields_are_counted_and_known_ones_are_not() {
    let mut message = ordinary();
    let fields = message.as_object_mut().expect("an object");
    for name in FIELDS {
        fields.entry(*name).or_insert(Value::Null);
    }
    fields.insert("firmware".to_owned(), json!({"a": [1, "\0", null]}));
    fields.insert("operator".to_owned(), json!("x"));
    let text = message.to_string();
    let element = decode(text.as_bytes()).expect("JSON").next().expect("one");
    assert!(element.passage.is_ok());
    assert_eq!(element.unknown_fields, 2);
}

#[test]
fn content_hash_sees_values_and_not_spelling() {
    let plain = one(ORDINARY).expect("legal").content_hash();
    let reordered = one(&ordinary().to_string()).expect("legal").content_hash();
    assert_eq!(plain, reordered);
    let spelled = ORDINARY
        .replace("2026-03-01T10:15:30.250+08:00", "2026-03-01T02:15:30.25Z")
        .replace("612.0", "6.12e2")
        .replace("\"ringelmann\":0", "\"ringelmann\":-0.0, \"opacity_k_m1\": null");
    assert_eq!(one(&spelled).expect("legal").content_hash(), plain);
    // A change here breaks the comparison with every stored reading: raise CONTENT_VERSION only with a migration.
    assert_eq!(format!("{plain:016x}"), "596f0e96fff02460");
}

#[test]
fn content_hash_sees_every_field() {
    let full = full();
    let text = full.to_string();
    let base = one(&text).expect("legal").content_hash();
    for name in FIELDS.iter().filter(|name| !matches!(**name, "images" | "video")) {
        let mut message = full.clone();
        let other = match (*name, &message[*name]) {
            (_, Value::Bool(flag)) => json!(!flag),
            (_, Value::Number(number)) => json!(number.as_f64().expect("finite") / 2.0),
            ("plate", _) => json!("鲁C54321"),
            ("plate_color", _) => json!("blue"),
            ("fuel_hint", _) => json!("gas"),
            ("rig_result", _) => json!("invalid"),
            ("passed_at" | "calibrated_at", _) => json!("2026-02-02T00:00:00Z"),
            (_, value) => json!(format!("{}x", value.as_str().expect("text"))),
        };
        let other = if *name == "lane" { json!(2) } else { other };
        message[*name] = other;
        assert_ne!(one(&message.to_string()).expect("legal").content_hash(), base, "{name}");
    }
}

/// Every field of the contract, each with a value.
fn full() -> Value {
    let mut message = ordinary();
    let fields = message.as_object_mut().expect("an object");
    for (name, value) in [
        ("fuel_hint", json!("diesel")),
        ("opacity_k_m1", json!(0.31)),
        ("ringelmann", json!(1)),
        ("rig_result", json!("pass")),
        ("calibrated_at", json!("2026-03-01T06:00:00+08:00")),
        ("longitude", json!(117.87)),
        ("latitude", json!(36.8)),
        ("images", json!([{"url": "https://example.org/1.jpg", "sha256": "00", "taken_at": "2026-03-01T10:15:30Z"}])),
        ("video", json!([])),
    ] {
        fields.insert(name.to_owned(), value);
    }
    message
}

fn schema() -> Value {
    serde_json::from_str(include_str!("../../../schemas/messages/passage.schema.json")).expect("a schema is JSON")
}

#[test]
fn the_schema_names_the_fields_of_the_decoder() {
    let schema = schema();
    let properties = schema["$defs"]["PassageObject"]["properties"].as_object().expect("properties");
    let mut documented: Vec<_> = properties.keys().map(String::as_str).collect();
    let mut decoded = FIELDS.to_vec();
    documented.sort_unstable();
    decoded.sort_unstable();
    assert_eq!(documented, decoded);
    let mut required: Vec<_> = schema["$defs"]["PassageObject"]["required"]
        .as_array()
        .expect("required")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    required.sort_unstable();
    assert_eq!(required, ["passed_at", "plate", "plate_color", "record_id", "station_id"]);
}

#[test]
fn the_schema_is_as_strict_as_the_decoder() {
    let validator = jsonschema::validator_for(&schema()).expect("a valid schema");
    let full = full();
    assert!(validator.is_valid(&full));
    assert!(validator.is_valid(&json!([full, ordinary()])));
    assert!(validator.is_valid(&json!([])));
    // Numbers at, inside and beyond what either might think the range is.
    let probes = [
        -1e7, -1e6, -1001.0, -1000.0, -181.0, -100.5, -91.0, -50.5, -46.0, -0.5, 0.0, 0.5, 1.0, 4.0, 5.5, 9.0, 69.0,
        95.0, 99.0, 105.0, 111.0, 115.0, 121.0, 179.0, 359.0, 361.0, 399.0, 401.0, 999.0, 1e6, 1e7,
    ];
    for name in FIELDS {
        let mut values: Vec<Value> = probes.iter().map(|probe| json!(probe)).collect();
        values.extend([
            json!(null),
            json!("x"),
            json!(true),
            json!([]),
            json!({}),
            json!("\0"),
            json!("a/b"),
            json!(""),
        ]);
        values.extend([json!("diesel"), json!("unknown"), json!("over"), json!(3), json!("x".repeat(65))]);
        for value in values {
            let mut message = full.clone();
            message[*name] = value.clone();
            let decoded = one(&message.to_string());
            // Forms of plates and times are beyond JSON Schema; a whole number written 1.0 is an integer to it.
            let lenient = matches!(decoded.as_ref().map_err(|refusal| refusal.reason), Err(Reason::PlateImpossible))
                || *name == "lane" && value.as_f64().is_some_and(|v| v.fract() == 0.0)
                || matches!(*name, "passed_at" | "calibrated_at") && value.is_string()
                || matches!(*name, "plate") && value.is_string()
                || matches!(*name, "station_id" | "record_id" | "passed_at" | "plate_color") && value.is_null();
            if !lenient {
                assert_eq!(validator.is_valid(&message), decoded.is_ok(), "{name} = {value}: {decoded:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(elements) = decode(&bytes) {
            for element in elements {
                let _ = element.passage.map(|passage| passage.content_hash());
            }
        }
    }

    #[test]
    fn a_mutated_message_is_refused_or_still_legal(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        array in any::<bool>(),
    ) {
        let text = full().to_string();
        let mut bytes = if array { format!("[{text},{text}]") } else { text }.into_bytes();
        for (place, byte) in cuts {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(elements) = decode(&bytes) {
            for element in elements {
                if let Ok(passage) = element.passage {
                    let again = decode(element.raw).expect("JSON").next().expect("one").passage.expect("legal again");
                    prop_assert_eq!(again.content_hash(), passage.content_hash());
                    prop_assert!(passage.opacity_pct.is_none_or(f32::is_finite));
                }
            }
        }
    }
}
