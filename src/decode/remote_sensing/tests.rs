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
        ("[]", Reason::MissingField),
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
        (r#"{"lane": 1, "l\u0061ne": 2}"#, Reason::WrongType),
        (r#"{"x": 1, "x": 1}"#, Reason::WrongType),
        (r#"{"x": {"y": [{"z": 1, "z": 2}]}}"#, Reason::WrongType),
        (r#"{"": 1, "": 2}"#, Reason::WrongType),
        (r#"{"images": [{"url": null, "url": "b"}]}"#, Reason::WrongType),
        (r#"{"images": [{"x": {"y": 1, "y": 1}}]}"#, Reason::WrongType),
        (r#"{"x": 1e999}"#, Reason::OutOfRange),
        (r#"{"x": "\ud800"}"#, Reason::NotJson),
        (r#"{"x": [1,]}"#, Reason::NotJson),
    ] {
        assert_eq!(reason(text), expected, "{text}");
    }
    let not_utf8 = decode(b"\xef\xbb\xbf{\"plate\": \"\xff\"}").expect("an element").next().expect("one");
    let refusal = not_utf8.passage.expect_err("not UTF-8");
    assert_eq!((refusal.reason, &*refusal.detail), (Reason::NotJson, "not UTF-8, at byte 14"));
    for depth in [63, 64, 100, 127, 128, 10_000] {
        let deep = format!("{{\"x\": {}1{}}}", "[".repeat(depth), "]".repeat(depth));
        let expected = if depth < 64 { Reason::MissingField } else { Reason::NotJson };
        let refusal = one(&deep).expect_err("no passage");
        assert_eq!((refusal.reason, refusal.detail.contains("64 levels")), (expected, depth >= 64), "{depth}");
    }
}

#[test]
fn a_key_twice_is_found_among_many() {
    let many: String = (0..100).map(|n| format!("\"k{n}\":{n},")).collect();
    let text = |last: &str| ORDINARY.trim().replacen('{', &format!("{{{many}\"{last}\":1,"), 1);
    assert!(one(&text("k100")).is_ok());
    let refusal = one(&text("k0")).expect_err("twice");
    assert!(refusal.detail.starts_with("a field is given twice, at byte ") && refusal.detail.ends_with("(k0)"));
}

#[test]
fn a_byte_order_mark_is_passed_over_at_the_beginning_only() {
    let marked = format!("\u{feff}{ORDINARY}");
    let element = decode(marked.as_bytes()).expect("JSON").next().expect("one");
    assert_eq!(element.raw, marked.as_bytes(), "as it came");
    assert_eq!(element.passage.expect("legal"), one(ORDINARY).expect("legal"));
    let array = format!("\u{feff} [{ORDINARY}, \u{feff}{ORDINARY}]");
    let read: Vec<_> = decode(array.as_bytes()).expect("an array").map(|element| element.passage).collect();
    assert!(read[0].is_ok());
    assert!(read[1].as_ref().is_err_and(|refusal| refusal.detail.contains("byte order mark")), "{read:?}");
    assert!(one(&format!("\u{feff}{marked}")).is_err_and(|refusal| refusal.detail.contains("byte order mark")));
    let utf16: Vec<u8> = ORDINARY.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(decode(&utf16).is_err_and(|refusal| refusal.detail.starts_with("this is UTF-16")));
}

/// Each line is a message that schema and decoder once read differently.
#[test]
fn edges_of_the_schema() {
    let lines = include_str!("../../../tests/fixtures/passages/schema_edges.jsonl");
    let validator = validator();
    let read = |line: &str| {
        let message: Value = serde_json::from_str(line).expect("JSON");
        let passage = one(line);
        assert_eq!(validator.is_valid(&message), passage.is_ok(), "{line}");
        passage.map(|passage| (passage.record_id.as_str().to_owned(), passage.lane))
    };
    let read: Vec<_> = lines.lines().filter(|line| !line.is_empty()).map(read).collect();
    let names =
        |found: &Result<(String, Option<i16>), Refusal>| found.as_ref().map(|(record, _)| record.chars().count()).ok();
    let lengths: Vec<_> = read.iter().map(names).collect();
    // The fifth has a leap second where none can be.
    assert_eq!(lengths, [Some(4), Some(40), Some(2), Some(3), None, Some(7), Some(3)]);
    assert_eq!(read[0].as_ref().expect("legal").1, Some(2));
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
}

/// What is not even JSON costs itself only, and what could be read in two ways is read in none.
#[test]
fn a_broken_element_leaves_its_neighbours_alone() {
    let good =
        |record: &str| ORDINARY.trim().replacen("{", &format!("{{\"operator\":\"}},{{\",\"x\":\"{record}\","), 1);
    let (first, last) = (good("1"), good("2"));
    let nan = ORDINARY.trim().replace("12.4", "NaN");
    let gbk: Vec<u8> = [b"{\"plate\": \"\xc2\xb3".as_slice(), b"C1\xff\"}"].concat();
    for bad in [nan.as_bytes(), &gbk, b"{", b"{\"plate\": \"", b"None", b"{\"lane\": 01}", b"{\"lane\": 1 2}"] {
        let payload = [b"[", first.as_bytes(), b",", bad, b" , ", last.as_bytes(), b"]"].concat();
        let found: Vec<_> = decode(&payload).expect("an array").collect();
        assert!(found[0].passage.is_ok() && found[1].passage.is_err());
        match found.get(2) {
            Some(third) => {
                assert_eq!((found[1].raw, third.raw), (bad, last.as_bytes()));
                assert!(third.passage.is_ok(), "{third:?}");
            }
            None => assert_eq!(found[1].raw, [bad, b" , ", last.as_bytes(), b"]"].concat(), "undecidable, and whole"),
        }
    }
    let cut = format!("[{first},{}", &last[..100]);
    let found: Vec<_> = decode(cut.as_bytes()).expect("an array").collect();
    assert_eq!((found.len(), found[0].passage.is_ok(), found[1].raw), (2, true, &last.as_bytes()[..100]));
}

#[test]
fn arrays_have_an_end() {
    let array = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
    assert_eq!(decode(array(MAX_ELEMENTS).as_bytes()).expect("allowed").len(), MAX_ELEMENTS);
    assert_eq!(decode(array(MAX_ELEMENTS + 1).as_bytes()).expect_err("too many").reason, Reason::TooManyElements);
    let cut: Vec<_> =
        decode(b"[{},").expect("an array").map(|e| (e.raw, e.passage.expect_err("wrong").reason)).collect();
    assert_eq!(cut, [(b"{}".as_slice(), Reason::MissingField), (b",", Reason::NotJson)]);
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

fn validator() -> jsonschema::Validator {
    jsonschema::options().should_validate_formats(true).build(&schema()).expect("a valid schema")
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

    /// Damage to an array never makes a reading out of two, and changes no reading but the one it hits.
    #[test]
    fn damage_never_composes_a_reading(
        opacities in prop::collection::vec(1_u8..90, 2..5),
        damage in prop::collection::vec(
            (any::<prop::sample::Index>(), 0_usize..2, prop_oneof!["", "[\"'\\\\{}\\[\\],:/*#]", "[ -~]", "\"\""]),
            1..3,
        ),
    ) {
        let originals: Vec<String> = opacities.iter().enumerate().map(|(n, opacity)| {
            let text = ORDINARY.trim().replace("12.4", &opacity.to_string());
            text.replacen("{", &format!("{{\"note\":\"}},{{\",\"record_id\":\"r{n}\",\"mark\":\":\","), 1)
                .replacen("\"record_id\":\"20260301", "\"other_id\":\"20260301", 1)
        }).collect();
        let hashes: Vec<u64> = originals.iter().map(|text| one(text).expect("legal").content_hash()).collect();
        let mut characters: Vec<String> = format!("[{}]", originals.join(", ")).chars().map(String::from).collect();
        let hits = damage.len();
        for (place, _, text) in &damage {
            let place = place.index(characters.len());
            characters[place] = text.clone();
        }
        let message = characters.concat();
        let Ok(elements) = decode(message.as_bytes()) else { return Ok(()) };
        let mut others = 0;
        let mut end = 0;
        for element in elements {
            let start = element.raw.as_ptr() as usize - message.as_ptr() as usize;
            if let Ok(passage) = element.passage {
                prop_assert!(start >= end, "no byte is read twice");
                end = start + element.raw.len();
                let raw = std::str::from_utf8(element.raw).expect("a passage is UTF-8");
                prop_assert!(raw.matches("_id\":\"r").count() <= 1, "{}", raw);
                others += usize::from(!hashes.contains(&passage.content_hash()));
            }
        }
        prop_assert!(others <= hits, "{}", message);
    }
}
