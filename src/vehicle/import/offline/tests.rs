//! Files with places that are none.

use std::path::PathBuf;

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
