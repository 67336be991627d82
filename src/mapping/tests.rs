use std::path::Path;

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::{
    decode::remote_sensing::{decode, decode_mapped},
    fault::Reason,
    reading::passage::{FuelHint, Passage, PlateReading},
};

fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mappings").join(name);
    std::fs::read_to_string(path).expect("a fixture")
}

fn native(text: &str) -> Passage {
    decode(text.as_bytes()).expect("JSON").next().expect("an element").passage.expect("a passage")
}

fn mapped(mapping: &Mapping, value: &Value) -> Result<Passage, crate::fault::Refusal> {
    let text = value.to_string();
    decode_mapped(text.as_bytes(), Some(mapping)).expect("JSON").next().expect("an element").passage
}

fn built_in(name: &str) -> Mapping {
    Mapping::load(name, Target::Passage).expect("built in")
}

fn problems(text: &str) -> Vec<String> {
    match Mapping::parse("test", text) {
        Err(MappingError::Wrong { problems, .. }) => problems,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_built_in_mapping_is_right_and_described() {
    for built_in in BUILT_IN {
        let mapping = built_in.mapping().expect("right");
        assert!(!mapping.about().is_empty() && mapping.name() == built_in.name);
    }
    assert_eq!(BuiltIn::described().lines().count(), BUILT_IN.len());
    assert!(Mapping::load("ga-vehicles", Target::Passage).is_err(), "another target");
    assert!(
        Mapping::load("rs_consumer", Target::Passage).is_err_and(|error| error.to_string().contains("rs-consumer"))
    );
}

#[test]
fn example_payloads_become_the_passages_they_stand_for() {
    for name in ["rs-consumer", "baolong"] {
        let mapping = built_in(name);
        let text = fixture(&format!("{name}.json"));
        let mut elements = decode_mapped(text.as_bytes(), Some(&mapping)).expect("JSON");
        let element = elements.next().expect("an element");
        assert_eq!(element.raw, text.as_bytes(), "{name}: the original");
        assert_eq!(element.unknown_fields, 0, "{name}: every field is mapped or ignored");
        let passage = element.passage.expect("a passage");
        let expected = native(&fixture(&format!("{name}.native.json")));
        assert_eq!(passage, expected, "{name}");
        assert_eq!(passage.content_hash(), expected.content_hash());
    }
}

#[test]
fn refusals_name_the_foreign_field_and_not_its_content() {
    let mapping = built_in("rs-consumer");
    let original: Value = serde_json::from_str(&fixture("rs-consumer.json")).expect("JSON");
    let with = |field: &str, value: Value| {
        let mut changed = original.clone();
        changed[field] = value;
        let refusal = mapped(&mapping, &changed).expect_err(field);
        (refusal.reason, refusal.detail)
    };
    let missing = |field: &str| {
        let mut changed = original.clone();
        changed.as_object_mut().expect("an object").remove(field);
        let refusal = mapped(&mapping, &changed).expect_err(field);
        (refusal.reason, refusal.detail)
    };
    for (found, reason, detail) in [
        (missing("data_code"), Reason::MissingField, "data_code (record_id) is required and missing"),
        (missing("plate_umber"), Reason::MissingField, "plate_umber (plate) is required and missing"),
        (with("data_code", json!("")), Reason::MissingField, "data_code (record_id) is required and missing"),
        (with("plate_color", json!(7)), Reason::WrongType, "plate_color has the wrong type or form"),
        (with("test_time", json!("yesterday")), Reason::WrongType, "test_time (passed_at) has the wrong type or form"),
        (
            with("test_time", json!("2026-02-30 08:00:00")),
            Reason::WrongType,
            "test_time (passed_at) has the wrong type or form",
        ),
        (
            with("plate_umber", json!("鲁C")),
            Reason::PlateImpossible,
            "plate_umber (plate) is not a plate number of GA 36",
        ),
        (with("car_speed", json!("fast")), Reason::WrongType, "car_speed (speed_kmh) has the wrong type or form"),
        (with("car_speed", json!({})), Reason::WrongType, "car_speed (speed_kmh) has the wrong type or form"),
        (with("car_speed", json!("1e99")), Reason::OutOfRange, "car_speed (speed_kmh) is out of range"),
        (with("data_code", json!(2.5)), Reason::WrongType, "data_code (record_id) has the wrong type or form"),
        (with("data_code", json!(2e17)), Reason::WrongType, "data_code (record_id) has the wrong type or form"),
        (with("road_way", json!(1.5)), Reason::WrongType, "road_way (lane) has the wrong type or form"),
        (with("test_result", json!("9")), Reason::WrongType, "test_result (rig_result) has the wrong type or form"),
    ] {
        assert_eq!(found, (reason, detail.to_owned()));
    }
    let twice = r#"{"station_id":"S","station_id":"S"}"#;
    let refusal = decode_mapped(twice.as_bytes(), Some(&mapping)).expect("JSON").next().expect("one").passage;
    assert_eq!(refusal.expect_err("twice").detail, "a field is given twice, at byte 18 (station_id)");
    for (name, value) in [("station_id", "1"), ("car_picture", "0"), ("nobody_knows", "0"), ("car_\\u0070icture", "0")]
    {
        let text = original.to_string().replacen('{', &format!("{{\"{name}\":{value},\"nobody_knows\":{{}},"), 1);
        let refusal = decode_mapped(text.as_bytes(), Some(&mapping)).expect("JSON").next().expect("one").passage;
        assert!(refusal.is_err_and(|refusal| refusal.detail.starts_with("a field is given twice")), "{name}");
    }
    let mut unread = original.clone();
    unread["plate_umber"] = json!("无牌");
    assert_eq!(mapped(&mapping, &unread).expect("a passage").plate, PlateReading::Unread);
    unread["record_id"] = json!("ours");
    assert_eq!(mapped(&mapping, &unread).expect("a passage").record_id.as_str(), "20261103081530001");
}

#[test]
fn an_unknown_word_of_an_optional_field_costs_that_field_only() {
    let decoded = |mapping: &Mapping, value: &Value| {
        let text = value.to_string();
        let element = decode_mapped(text.as_bytes(), Some(mapping)).expect("JSON").next().expect("an element");
        (element.passage.expect("a passage"), element.unknown_fields)
    };
    for (name, field, known, unknown) in [
        ("rs-consumer", "car_type", vec![json!("柴油"), json!("B"), json!("diesel")], vec![json!("天然气"), json!(3)]),
        ("baolong", "rlzl", vec![json!("B"), json!("diesel")], vec![json!("E"), json!("\u{67f4}"), json!("")]),
    ] {
        let mapping = built_in(name);
        let mut value: Value = serde_json::from_str(&fixture(&format!("{name}.json"))).expect("JSON");
        for word in known {
            value[field] = word;
            let (passage, unknown_fields) = decoded(&mapping, &value);
            assert_eq!((passage.fuel_hint, unknown_fields), (Some(FuelHint::Diesel), 0), "{name} {value}");
        }
        for word in unknown {
            let counted = u32::from(word != json!(""));
            value[field] = word;
            let (passage, unknown_fields) = decoded(&mapping, &value);
            assert_eq!((passage.fuel_hint, unknown_fields), (None, counted), "{name} {value}");
        }
    }
    let text = "target = \"passage\"\n[columns]\nstation_id = \"s\"\nrecord_id = \"r\"\npassed_at = \"t\"\nplate = \"p\"\n\
                plate_color = { from = \"c\", otherwise = \"missing\" }\nfuel_hint = { from = \"f\", otherwise = \"mising\" }\n";
    let found = problems(text).join("\n");
    assert!(found.contains("columns.plate_color.otherwise: only for fuel_hint and rig_result"), "{found}");
    assert!(found.contains("unknown word `mising`; is `missing` meant?"), "{found}");
}

#[test]
fn a_file_is_refused_with_every_mistake_and_the_nearest_name() {
    let text = r#"
        abuot = "x"
        target = "passage"
        [columns]
        station_id = "s"
        record_id = { frm = "r" }
        passed_at = { from = "t", format = "%Q" }
        plate_colr = "c"
        plate_color = { from = "c", table = "jtt679", values = { "1" = "bleu" } }
        speed_kmh = { from = "v", unit = "kmh" }
        rig_result = { from = "j", values = { "0" = "bad" } }
        lane = { from = "s" }
    "#;
    let found = problems(text).join("\n");
    for expected in [
        "abuot: unknown key `abuot`; is `about` meant?",
        "columns.record_id.frm: unknown key `frm`; is `from` meant?",
        "columns.passed_at.format: neither unix_s nor unix_ms nor a pattern",
        "columns.plate_colr: unknown column `plate_colr`; is `plate_color` meant?",
        "unknown table `jtt679`; is `jtt697` meant?",
        "`bleu` is no value of plate_color",
        "columns.speed_kmh.unit: unknown unit `kmh`; is `km/h` meant?",
        "`bad` is no value of rig_result",
        "`plate` is required for passage and not mapped",
        "the field `s` is mapped twice",
    ] {
        assert!(found.contains(expected), "{expected}\n--\n{found}");
    }
    assert_eq!(problems("target = \"pasage\"\n[columns]").len(), 1);
    assert!(problems("target = ").concat().starts_with("it is no TOML: "));
}

#[test]
fn constants_units_and_forms_of_time() {
    let text = r#"
        target = "passage"
        [columns]
        station_id = "s"
        record_id = "r"
        passed_at = { from = "t", format = "unix_ms" }
        plate = "p"
        plate_color = { constant = "yellow" }
        speed_kmh = { from = "v", unit = "m/s" }
        temperature_c = { from = "k", unit = "K" }
        pressure_kpa = { from = "h", unit = "hPa" }
        precipitation = "rain"
        latitude = "lat"
    "#;
    let mapping = Mapping::parse("test", text).expect("right");
    let value = json!({"s": "S", "r": 7, "t": 1_793_000_000_123_i64, "p": "鲁C12345", "v": 10, "k": "300.15", "h": 1013,
        "rain": "否", "lat": "036.80"});
    let passage = mapped(&mapping, &value).expect("a passage");
    assert_eq!(passage.plate_color, crate::reading::PlateColor::Yellow);
    assert_eq!(passage.passed_at.micros(), 1_793_000_000_123_000);
    assert_eq!((passage.speed_kmh, passage.temperature_c, passage.latitude), (Some(36.0), Some(27.0), Some(36.8)));
    assert_eq!((passage.precipitation, passage.pressure_kpa), (Some(false), Some(101.3)));
    let refusal =
        mapped(&mapping, &json!({"s": "S", "r": 7, "t": 0, "p": "鲁C12345", "v": 1e300})).expect_err("too fast");
    assert_eq!(refusal.detail, "v (speed_kmh) is out of range");
}

/// Our field, theirs, and how they write a value of ours.
fn foreign(field: &str, value: &Value, as_text: bool) -> Option<(&'static str, Value)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let word = |pairs: &[(&str, &str)]| {
        let found = pairs.iter().find(|(ours, _)| value.as_str() == Some(ours));
        json!(found.map(|(_, theirs)| *theirs))
    };
    let number = |name| (name, if as_text { json!(text(value)) } else { value.clone() });
    Some(match field {
        "station_id" => ("station_id", value.clone()),
        "record_id" => ("data_code", value.clone()),
        "passed_at" => ("test_time", json!(value.as_str()?.replace('T', " ").replace("+08:00", ""))),
        "plate" => ("plate_umber", if value.is_null() && as_text { json!("未识别") } else { value.clone() }),
        "plate_color" => (
            "plate_color",
            word(&[
                ("blue", "1"),
                ("yellow", "2"),
                ("black", "3"),
                ("white", "4"),
                ("green", "94"),
                ("yellow_green", "93"),
                ("other", "9"),
            ]),
        ),
        "rig_result" => ("test_result", word(&[("over", "0"), ("pass", "1"), ("invalid", "2")])),
        "fuel_hint" => ("car_type", word(&[("petrol", "汽油"), ("diesel", "柴油")])),
        "lane" => number("road_way"),
        "speed_kmh" => number("car_speed"),
        "acceleration_ms2" => number("car_accel"),
        "opacity_pct" => number("pm_data"),
        "no_ppm" => number("no_data"),
        "temperature_c" => number("temp"),
        _ => return None,
    })
}

prop_compose! {
    fn any_native()(
        record in "[A-Z0-9]{1,12}",
        second in 0u32..60,
        plate in prop::option::of("鲁[A-C][0-9]{5}"),
        colour in prop::sample::select(vec!["blue", "yellow", "black", "white", "green", "yellow_green", "other"]),
        result in prop::option::of(prop::sample::select(vec!["over", "pass", "invalid"])),
        fuel in prop::option::of(prop::sample::select(vec!["petrol", "diesel"])),
        lane in prop::option::of(-3i64..120),
        numbers in prop::collection::vec(prop::option::of(-500.0f64..2_000.0), 5),
    ) -> Map<String, Value> {
        let names = ["speed_kmh", "acceleration_ms2", "opacity_pct", "no_ppm", "temperature_c"];
        let mut passage = json!({
            "station_id": "370306-01", "record_id": record, "plate": plate, "plate_color": colour,
            "passed_at": format!("2026-11-03T08:15:{second:02}+08:00"), "rig_result": result, "fuel_hint": fuel, "lane": lane,
        });
        for (name, number) in names.iter().zip(numbers) {
            passage[*name] = json!(number);
        }
        passage.as_object().expect("an object").clone()
    }
}

proptest! {
    /// A passage told in foreign words is the passage told in ours, or both are refused for the same reason.
    #[test]
    fn mapping_then_decoding_equals_decoding_the_native_form(
        passage in any_native(),
        as_text in prop::collection::vec(any::<bool>(), 16),
        left_out in prop::option::of(0usize..13),
    ) {
        let mapping = built_in("rs-consumer");
        let mut ours = passage;
        if let Some(name) = left_out.and_then(|place| ours.keys().nth(place).cloned()) {
            ours.remove(&name);
        }
        let theirs: Map<String, Value> = ours
            .iter()
            .zip(&as_text)
            .filter_map(|((name, value), as_text)| foreign(name, value, *as_text))
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        prop_assert_eq!(theirs.len(), ours.len());
        let text = Value::Object(ours).to_string();
        let native = decode(text.as_bytes()).expect("JSON").next().expect("one").passage;
        let mapped = mapped(&mapping, &Value::Object(theirs));
        match (native, mapped) {
            (Ok(native), Ok(mapped)) => prop_assert_eq!(native, mapped),
            (Err(native), Err(mapped)) => prop_assert_eq!(native.reason, mapped.reason),
            (native, mapped) => prop_assert!(false, "{:?} {:?}", native, mapped),
        }
    }

    /// Whatever a sender writes: a passage or a refusal, never a panic.
    #[test]
    fn any_text_is_a_passage_or_a_refusal(text in "\\PC{0,80}", key in prop::sample::select(vec!["plate_umber", "test_time", "car_speed", "road_way"])) {
        let mapping = built_in("rs-consumer");
        let wild = json!({ key: text, "plate_color": "2" });
        prop_assert!(mapped(&mapping, &wild).is_err());
        let _ = decode_mapped(text.as_bytes(), Some(&mapping)).map(Iterator::count);
    }
}
