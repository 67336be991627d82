//! Files with places that are none, files that contradict themselves.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::*;
use crate::judge::TerminalTable;

fn area() -> Area {
    TerminalTable::built_in().bounds().area
}

/// A scratch file, gone when the test is.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("dieselwatch-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("a scratch file");
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn a_station_at_null_island_is_refused_with_its_row() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/fillers/stations.csv");
    let (stations, read) = stations(&path, &area()).expect("readable");
    assert_eq!((read.rows, stations.len()), (4, 3), "the row without a place is one of a station without a place");
    let [refused] = read.refusals.rows() else { panic!("one row: {:?}", read.refusals.rows()) };
    assert_eq!(refused.row, 3);
    assert_eq!(
        refused.reason,
        "longitude, latitude: 0, 0 stands for a place that nobody knows; correct the two, or leave both empty where the place \
         is not known"
    );
}

#[test]
fn swapped_and_foreign_stations_are_refused() {
    for (lon, lat, says) in [
        ("36.80", "117.87", "latitude"),
        ("36.80", "87.87", "outside longitude 73 to 136, latitude 3 to 54; longitude and latitude look swapped"),
        ("2.35", "48.85", "outside longitude 73 to 136"),
        ("117.87", "0", "outside longitude 73 to 136"),
    ] {
        let text = format!("station_id,kind,longitude,latitude\nS1,fixed_vertical,{lon},{lat}\n");
        let file = Scratch::new(&format!("stations-{lon}-{lat}.csv"), &text);
        let (stations, read) = stations(&file.0, &area()).expect("readable");
        assert_eq!((stations.len(), read.refusals.count()), (0, 1), "{lon} {lat}");
        assert!(read.refusals.rows()[0].reason.contains(says), "{}", read.refusals.rows()[0].reason);
    }
}

#[test]
fn a_zone_drawn_the_wrong_way_round_is_refused() {
    let zone = |ring: [[f64; 2]; 4]| {
        let [a, b, c, d] = ring;
        json!({"type": "FeatureCollection", "features": [{
            "type": "Feature", "properties": {"name": "core", "kind": "low_emission", "rule": "any"},
            "geometry": {"type": "Polygon", "coordinates": [[a, b, c, d]]},
        }]})
    };
    let read = |name: &str, ring| {
        let file = Scratch::new(name, &zone(ring).to_string());
        let (zones, read) = zones(&file.0, Datum::Wgs84, &area()).expect("readable");
        (zones.len(), read.refusals.rows().first().map(|row| row.reason.clone()).unwrap_or_default())
    };
    assert_eq!(read("right", [[117.8, 36.7], [117.9, 36.7], [117.9, 36.8], [117.8, 36.7]]).0, 1);
    // East of 90 degrees a swapped pair is no pair of degrees at all; west of it, it is a place in the sea.
    let east = read("east", [[36.7, 117.8], [36.7, 117.9], [36.8, 117.9], [36.7, 117.8]]);
    assert!(east.0 == 0 && east.1.contains("GeoJSON puts the longitude first"), "{}", east.1);
    let west = read("west", [[43.7, 87.5], [43.7, 87.6], [43.8, 87.6], [43.7, 87.5]]);
    assert!(west.0 == 0 && west.1.contains("look swapped"), "{}", west.1);
    let zero = read("zero", [[0.0, 0.0], [117.9, 36.7], [117.9, 36.8], [0.0, 0.0]]);
    assert!(zero.0 == 0 && zero.1.contains("nobody knows"), "{}", zero.1);
}

fn zones_of(name: &str, datum: Datum) -> Result<(usize, Vec<String>), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/zones").join(name);
    let (zones, read) = zones(&path, datum, &area()).map_err(|error| error.to_string())?;
    Ok((zones.iter().count(), read.refusals.rows().iter().map(|row| row.reason.clone()).collect()))
}

#[test]
fn a_zone_file_that_contradicts_itself_is_refused_with_the_place() {
    let (zones, refused) = zones_of("crs-in-geometry.geojson", Datum::Wgs84).expect("a collection");
    assert_eq!(zones, 0);
    let why =
        "geometry: its member `crs` is GCJ-02, which is not wgs84; convert the file, or correct the one that is wrong";
    assert_eq!(refused, [why]);
    let (zones, refused) = zones_of("crs-in-geometry.geojson", Datum::Gcj02).expect("a collection");
    assert_eq!((zones, refused.len()), (1, 0), "the operator says the same");
    let twice = zones_of("dup-key.geojson", Datum::Wgs84).expect_err("a key twice");
    assert!(twice.contains("a field is given twice, at byte 149 (features[0].properties.rule)"), "{twice}");
}

#[test]
fn warnings_are_read_by_the_same_rules() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("w.jsonl");
    let line = r#"{"warning":1,"level":"red","issued_at":"2026-01-01T00:00:00+08:00"}"#;
    let read = |text: String| {
        std::fs::write(&path, text).expect("written");
        warnings(&path).map(|warnings| warnings.len()).map_err(|error| error.to_string())
    };
    assert_eq!(read(format!("\u{feff}{line}\n")), Ok(1));
    let marked = read(format!("{line}\n\u{feff}{line}\n")).expect_err("a mark inside");
    assert!(marked.contains("byte order mark"), "{marked}");
    let twice = read(line.replace("\"level\"", "\"done_by\":1,\"done_by\":2,\"level\"")).expect_err("twice");
    assert!(twice.contains("a field is given twice, at byte 25 (done_by)"), "{twice}");
}
