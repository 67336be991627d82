use serde_json::Value;

use super::*;
use crate::reading::RecordId;

fn at(second: i64) -> Timestamp {
    Timestamp::from_china(2026, 11, 23, 8, 0, 0).expect("a date").plus_seconds(second)
}

fn maker(detail: PassageDetail) -> PassageMaker {
    PassageMaker::new(Arc::new(Fleet::demo()), "s1-68f0", 4000, detail)
}

fn passages(detail: PassageDetail, count: u64) -> Vec<Value> {
    let mut maker = maker(detail);
    (0..count)
        .map(|index| {
            let mut out = Vec::new();
            maker.write(index, at(index as i64 / 50), &mut out);
            serde_json::from_slice(&out).expect("generated passages are JSON")
        })
        .collect()
}

#[test]
fn the_same_seed_writes_the_same_bytes() {
    let write = |indices: &[u64]| {
        let mut maker = maker(PassageDetail::Full);
        let mut last = Vec::new();
        for &index in indices {
            last.clear();
            maker.write(index, at(77), &mut last);
        }
        last
    };
    assert_eq!(write(&[1, 2, 3, 500]), write(&[500]));
    assert_ne!(write(&[499]), write(&[500]));
}

#[test]
fn passages_are_those_of_the_contract() {
    for passage in passages(PassageDetail::Full, 5000) {
        RecordId::parse(passage["record_id"].as_str().expect("text")).expect("an identifier");
        let passed_at = Timestamp::parse_rfc3339(passage["passed_at"].as_str().expect("text"));
        assert!(passed_at.is_some_and(|passed_at| passed_at.micros_since(at(0)) < 200_000_000));
        if let Some(plate) = passage["plate"].as_str() {
            Plate::parse(plate).unwrap_or_else(|error| panic!("{plate}: {error}"));
        }
        let colour = PlateColor::parse(passage["plate_color"].as_str().expect("text")).expect("a colour");
        assert_eq!(passage["plate"].is_null(), colour == PlateColor::Unknown);
        let within = |field: &str, low: f64, high: f64| {
            let Some(value) = passage[field].as_f64() else { return };
            assert!((low..=high).contains(&value), "{field} = {value}");
        };
        within("speed_kmh", 5.0, 95.0);
        within("opacity_pct", -0.5, 88.0);
        within("opacity_k_m1", -0.1, 5.0);
        within("ringelmann", 0.0, 5.0);
        within("no_ppm", -250.0, 2600.0);
        within("plate_confidence", 0.0, 1.0);
        within("vsp_kwt", -20.0, 60.0);
    }
}

#[test]
fn shares_are_as_stated() {
    let passages = passages(PassageDetail::Full, 8000);
    let share = |wanted: &dyn Fn(&Value) -> bool| passages.iter().filter(|p| wanted(p)).count() as f64 / 8000.0;
    assert!((0.012..0.03).contains(&share(&|p| p["plate"].is_null())));
    assert!((0.01..0.05).contains(&share(&|p| p["opacity_pct"].as_f64() > Some(30.0))));
    assert!((0.4..0.55).contains(&share(&|p| p["plate"].as_str().is_some_and(|plate| plate.starts_with("鲁C")))));
    assert!(share(&|p| p["no_ppm"].as_f64() > Some(1500.0)) > 0.001);
    // One station in six is a camera.
    assert!((0.12..0.21).contains(&share(&|p| p["opacity_pct"].is_null())));
}

#[test]
fn compact_passages_have_the_size_that_benches_state() {
    let mut maker = maker(PassageDetail::Compact);
    let mut out = Vec::new();
    (0..1000).for_each(|index| {
        maker.write(index, at(0), &mut out);
    });
    assert!((370_000..430_000).contains(&out.len()), "{} bytes in a thousand", out.len());
}
