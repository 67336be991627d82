//! From a message to what a batch holds, with a register made by hand and no database.

use std::sync::Arc;

use serde_json::{Value, json};

use super::assemble::{Assembler, Message};
use crate::{
    config::{Source, SourceKind},
    fault::Reason,
    judge::{
        RuleBook,
        nonroad::{SMOKE_RULE, STAGE_RULE},
        tests::book,
    },
    reading::Timestamp,
    store::batch::{Batch, Tally},
    vehicle::{
        devices::{Binding, Device, Devices},
        knowledge::{Knowledge, KnowledgeHandle},
        stations::{Station, Stations},
    },
    zone::{Datum, Zone, Zones, geojson},
};

const ORDINARY: &str = include_str!("../../tests/fixtures/passages/ordinary.json");
const MACHINE: &str = "CNFJG300000000001";
const VIN: &str = "LGDCHA1G8MA900002";

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).expect("a time")
}

fn device(kind: SourceKind, bound_to: Option<&str>) -> Device {
    let bound_to = bound_to.and_then(Binding::parse);
    Device { id: 7, kind, protocol: None, bound_to, emission_stage: None, power_w: None, known: true }
}

/// A square around 117.8, 36.8 in which machines of a low stage do not work.
fn zone() -> Zone {
    let ring = [[117.7, 36.7], [117.9, 36.7], [117.9, 36.9], [117.7, 36.9], [117.7, 36.7]];
    let feature = json!({
        "type": "Feature",
        "properties": {"name": "core", "kind": "nonroad_control", "rule": "nonroad_stage_min_3"},
        "geometry": {"type": "Polygon", "coordinates": [ring]},
    });
    geojson::zone(&feature, Datum::Wgs84, |_, _| None).expect("a zone").0
}

fn station() -> Station {
    Station {
        id: 3,
        kind: None,
        slope_deg: None,
        calibrated_at: None,
        earlier_calibrations: Box::default(),
        certificate_until: None,
        lon: None,
        lat: None,
        known: true,
        zones: Default::default(),
    }
}

/// What one message comes to.
fn assembled(kind: &str, id: &str, devices: &[(&str, Device)], payload: impl AsRef<[u8]>, received: &str) -> Batch {
    let source: Source =
        toml::from_str(&format!("name = \"s\"\nkind = {kind:?}\nfilter = \"s/+/x\"")).expect("a source");
    let devices = devices.iter().map(|(id, device)| (Box::from(*id), *device));
    let knowledge = Knowledge {
        stations: Stations::new(1, [("370306-01".into(), station())]).into(),
        devices: Devices::new(1, devices).into(),
        zones: Zones::new(1, [zone()]).into(),
        ..Knowledge::default()
    };
    let rules: Arc<RuleBook> = book().into();
    let assembler = Assembler::new(vec![source], KnowledgeHandle::new(knowledge), rules, 1 << 20);
    let message = Message {
        source: 0,
        device: id.into(),
        topic: format!("s/{id}/x").into(),
        payload: payload.as_ref().to_vec().into(),
        received_at: at(received),
        replayed: false,
    };
    let mut batch = Batch::new(assembler.books());
    assembler.add(&message, 0..usize::MAX, &mut batch).expect("every device has a number");
    batch
}

fn reasons(batch: &Batch) -> Vec<Reason> {
    batch.dead_letters.iter().map(|letter| letter.reason).collect()
}

fn retrofit_json(terminal: &str) -> String {
    json!({"terminal_id": terminal, "collected_at": "2026-03-01T12:00:00+08:00", "speed_kmh": 31.5}).to_string()
}

#[test]
fn a_json_document_of_another_terminal_is_no_reading_of_this_one() {
    let received = "2026-03-01T12:00:01+08:00";
    let of = |document: &str, bound| {
        let known = [("RT-1", device(SourceKind::Retrofit, bound))];
        reasons(&assembled("retrofit", "RT-1", &known, retrofit_json(document), received))
    };
    assert_eq!(of("RT-1", None), []);
    assert_eq!(of("RT-2", None), [Reason::IdentityMismatch]);
    assert_eq!(of("RT-2", Some(VIN)), [Reason::IdentityMismatch]);
}

#[test]
fn a_binary_frame_names_its_vehicle_as_long_as_no_register_does() {
    let line = include_str!("../../tests/fixtures/frames/frames.tsv").lines().find(|line| line.starts_with("B\t"));
    let frame = hex::decode(line.and_then(|line| line.rsplit('\t').next()).expect("frame B")).expect("hex");
    let of = |bound| {
        let known = [("RT-1", device(SourceKind::Retrofit, bound))];
        let batch = assembled("retrofit", "RT-1", &known, &frame, "2021-08-14T20:00:00+08:00");
        (reasons(&batch), batch.readings() > batch.dead_letters.len())
    };
    assert_eq!(of(None), (vec![], true));
    assert_eq!(of(Some(VIN)), (vec![], true));
    assert_eq!(of(Some("LGDCHA1G8MA900013")), (vec![Reason::IdentityMismatch], false));
}

fn machine_json(position: Value, further: Value) -> String {
    let mut document = json!({
        "machine_id": MACHINE, "collected_at": "2026-03-01T12:00:00+08:00", "position": position, "smoke_k_m1": 1.2,
    });
    for (name, value) in further.as_object().expect("an object") {
        document[name] = value.clone();
    }
    document.to_string()
}

fn of_machine(machine: Device, position: Value) -> Vec<(&'static str, &'static str)> {
    let document = machine_json(position, json!({}));
    let batch = assembled("nonroad", MACHINE, &[(MACHINE, machine)], document, "2026-03-01T12:00:01+08:00");
    assert_eq!(reasons(&batch), []);
    batch.undecided.iter().map(|undecided| (undecided.rule, undecided.missing)).collect()
}

#[test]
fn what_the_rules_of_machines_lack_is_counted() {
    let inside = || json!({"valid": true, "lon": 117.8, "lat": 36.8});
    let nowhere = json!({"valid": false, "lon": 117.8, "lat": 36.8});
    let unknown = device(SourceKind::Nonroad, None);
    let staged = Device { emission_stage: Some(3), power_w: Some(50_000), ..unknown };
    assert_eq!(of_machine(unknown, inside()), [(SMOKE_RULE, "power_unknown"), (STAGE_RULE, "stage_unknown")]);
    let powered = Device { power_w: Some(50_000), ..unknown };
    assert_eq!(of_machine(powered, inside()), [(SMOKE_RULE, "stage_unknown"), (STAGE_RULE, "stage_unknown")]);
    let older = Device { emission_stage: Some(2), ..staged };
    assert_eq!(of_machine(older, nowhere.clone()), [(STAGE_RULE, "position_not_valid")]);
    assert_eq!(of_machine(staged, nowhere), [], "one of an admitted stage may be anywhere");
    assert_eq!(of_machine(staged, inside()), []);
}

#[test]
fn unknown_fields_are_counted_whoever_sends_them() {
    let unknown = |batch: &Batch| batch.tallies.iter().map(|tally: &Tally| tally.unknown_fields).sum::<u64>();
    let machine = [(MACHINE, device(SourceKind::Nonroad, None))];
    let document = machine_json(json!(null), json!({"note": 1, "colour": "red"}));
    let received = "2026-03-01T12:00:01+08:00";
    assert_eq!(unknown(&assembled("nonroad", MACHINE, &machine, document, received)), 2);
    let mut passage: Value = serde_json::from_str(ORDINARY).expect("JSON");
    assert_eq!(unknown(&assembled("rs", "370306-01", &[], passage.to_string(), received)), 0);
    passage["note"] = json!(1);
    let both = json!([passage, passage]).to_string();
    assert_eq!(unknown(&assembled("rs", "370306-01", &[], both, received)), 2);
}

#[test]
fn a_row_carries_what_explains_its_verdict() {
    let batch = assembled("rs", "370306-01", &[], ORDINARY, "2026-03-01T10:15:31+08:00");
    let text = batch.judged[0].explained.as_deref().expect("nobody knows the vehicle");
    let found: Value = serde_json::from_slice(text).expect("JSON");
    assert_eq!(found["reasons"][0], "vehicle_not_registered");
    let rows = batch.passages.stream();
    assert!(
        rows.windows(text.len() + 1).any(|part| part.starts_with(&[1]) && part.ends_with(text)),
        "jsonb at the end"
    );
}

#[test]
fn a_machine_whose_place_is_none_is_not_acquitted() {
    let staged = Device { emission_stage: Some(2), power_w: Some(50_000), ..device(SourceKind::Nonroad, None) };
    let undetermined = || vec![(STAGE_RULE, "position_not_valid")];
    for (lon, lat) in [(0.0, 0.0), (117.8, 0.0), (36.8, 117.8), (2.35, 48.85), (-9999.0, 36.8)] {
        assert_eq!(of_machine(staged, json!({"valid": true, "lon": lon, "lat": lat})), undetermined(), "{lon} {lat}");
    }
    assert_eq!(of_machine(staged, json!(null)), undetermined(), "nor is one that says none");
    assert_eq!(of_machine(staged, json!({"valid": true, "lon": 118.5, "lat": 36.8})), [], "outside the zone");
}

#[test]
fn smoke_beyond_the_instrument_accuses_no_machine() {
    let staged = Device { emission_stage: Some(3), power_w: Some(50_000), ..device(SourceKind::Nonroad, None) };
    let smoked = |k_m1: f64| {
        let document = machine_json(json!({"valid": true, "lon": 118.5, "lat": 36.8}), json!({"smoke_k_m1": k_m1}));
        let batch = assembled("nonroad", MACHINE, &[(MACHINE, staged)], document, "2026-03-01T12:00:01+08:00");
        batch.findings.len()
    };
    assert_eq!((smoked(9.0), smoked(0.1)), (1, 0));
    for filler in [99.0, 255.0, 655.34, 9999.0, 65_535.0, -9999.0, -99.9] {
        assert_eq!(smoked(filler), 0, "{filler}");
    }
}

#[test]
fn a_lamp_with_fillers_for_codes_is_no_finding() {
    let frames = [
        (include_str!("../../tests/fixtures/fillers/zeros.hex"), 0),
        (include_str!("../../tests/fixtures/fillers/code-and-zeros.hex"), 1),
    ];
    for (frame, findings) in frames {
        let frame = frame.trim();
        let vin = String::from_utf8(hex::decode(&frame[6..40]).expect("hex")).expect("a VIN");
        let batch =
            assembled("obd", &vin, &[(&vin, device(SourceKind::Obd, None))], frame, "2026-11-30T04:30:00+08:00");
        assert_eq!((reasons(&batch), batch.findings.len()), (vec![], findings));
    }
}

#[test]
fn what_no_instrument_measured_stands_in_no_column() {
    let mut passage: Value = serde_json::from_str(ORDINARY).expect("JSON");
    let received = "2026-03-01T10:15:31+08:00";
    let rows = |passage: &Value| {
        let batch = assembled("rs", "370306-01", &[], passage.to_string(), received);
        assert_eq!(reasons(&batch), []);
        let (wide, keyed) =
            (batch.passages.stream(), batch.keyed[crate::store::batch::Table::Passage as usize].rows.stream());
        (wide.to_vec(), keyed.to_vec())
    };
    let holds = |rows: &[u8], value: &[u8]| rows.windows(value.len()).any(|part| part == value);
    (passage["no_ppm"], passage["longitude"], passage["latitude"]) = (json!(777.5), json!(117.625), json!(36.75));
    let (wide, keyed) = rows(&passage);
    assert!(holds(&wide, &777.5_f32.to_be_bytes()) && holds(&keyed, &117.625_f64.to_be_bytes()));
    (passage["no_ppm"], passage["longitude"], passage["latitude"]) = (json!(-9999), json!(36.75), json!(117.625));
    let (wide, keyed) = rows(&passage);
    assert!(!holds(&wide, &(-9999.0_f32).to_be_bytes()) && !holds(&keyed, &117.625_f64.to_be_bytes()));
}
