//! A zone, out of a GeoJSON feature collection.

use std::path::Path;

use serde_json::Value;
use tokio_postgres::types::{ToSql, Type};

use super::{Column, Stored, column};
use crate::{
    reading::Area,
    vehicle::import::{
        ImportError, ListName, Refusals,
        fields::{DateCounts, instant},
    },
    zone::{Datum, Zone, geojson},
};

/// Largest file of zones read, bytes: it is held in memory whole.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Clone, Debug, PartialEq)]
pub struct ZoneRow {
    pub zone: Zone,
    hours: Option<String>,
    vehicle_classes: Option<String>,
    drawn_in: Option<&'static str>,
    geometry: Value,
}

impl ZoneRow {
    fn of(feature: &Value, datum: Datum, area: &Area) -> Result<Self, String> {
        let time_of =
            |text: &str, end| instant(text, if end { DateCounts::ToItsEnd } else { DateCounts::FromItsStart });
        let (zone, geometry) = geojson::zone(feature, datum, time_of).map_err(|error| error.to_string())?;
        for (part, polygon) in zone.parts.iter().enumerate() {
            for (vertex, at) in polygon.exterior().0.iter().enumerate() {
                if let Some(fault) = area.fault(at.x, at.y) {
                    return Err(format!("part {part} vertex {vertex}: {fault}; GeoJSON puts the longitude first"));
                }
            }
        }
        if let Some(list) = &zone.permits {
            ListName::parse(list).map_err(|why| format!("property `permits`: {why}"))?;
        }
        let hours = Some(zone.hours.to_string()).filter(|hours| !hours.is_empty());
        let vehicle_classes = Some(zone.classes.to_string()).filter(|classes| !classes.is_empty());
        // Absent for WGS-84, so that zones imported before there was a choice are the same as after.
        let drawn_in = (datum != Datum::Wgs84).then(|| datum.name());
        Ok(Self { zone, hours, vehicle_classes, drawn_in, geometry })
    }

    /// Reads a feature collection drawn in that datum, of zones inside the area. A feature that is no zone is refused under its number, from 1. Gives
    /// back how many features there are.
    pub fn read_file(
        path: &Path,
        datum: Datum,
        area: &Area,
        refusals: &mut Refusals,
        mut take: impl FnMut(u64, ZoneRow) -> bool,
    ) -> Result<u64, ImportError> {
        let shown = path.display().to_string();
        let not_geojson = |why: String| ImportError::NotGeoJson { path: shown.clone(), why };
        let read = |source| ImportError::Read { path: shown.clone(), source };
        if std::fs::metadata(path).map_err(read)?.len() > MAX_FILE_BYTES {
            return Err(not_geojson(format!("it is larger than {MAX_FILE_BYTES} bytes")));
        }
        let bytes = std::fs::read(path).map_err(read)?;
        let text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes);
        let file: Value = serde_json::from_slice(text).map_err(|error| not_geojson(error.to_string()))?;
        let features = file.get("features").and_then(Value::as_array);
        let features = features.ok_or_else(|| not_geojson("it has no array `features`".into()))?;
        if let Some(why) = contradiction(&file, datum) {
            return Err(ImportError::OtherDatum { path: shown, why });
        }
        for (number, feature) in (1..).zip(features) {
            match Self::of(feature, datum, area) {
                Ok(row) => {
                    if !take(number, row) {
                        break;
                    }
                }
                Err(reason) => refusals.push(number, reason),
            }
        }
        Ok(features.len() as u64)
    }
}

/// What the file's own `crs` member says against the datum the operator named. GeoJSON dropped the member in 2016 and
/// programs still write it; one that names anything but the operator's datum is a reason to stop, not to convert.
fn contradiction(file: &Value, datum: Datum) -> Option<String> {
    let crs = file.get("crs").filter(|crs| !crs.is_null())?;
    let name = crs.pointer("/properties/name").and_then(Value::as_str).unwrap_or("without a name");
    let named = name.to_ascii_uppercase();
    // CGCS2000 (EPSG 4490) is WGS-84 to some centimetres.
    let is_wgs84 =
        ["CRS84", "EPSG:4326", "EPSG::4326", "EPSG:4490", "EPSG::4490"].iter().any(|end| named.ends_with(end));
    let found = match named.contains("GCJ") {
        true => Some(Datum::Gcj02),
        false => is_wgs84.then_some(Datum::Wgs84),
    };
    (found != Some(datum)).then(|| {
        format!(
            "its member `crs` is {name}, which is not {}; convert the file, or correct the one that is wrong",
            datum.name()
        )
    })
}

impl Stored for ZoneRow {
    const TABLE: &'static str = "zones";
    const KEY: &'static [&'static str] = &["@.name", "@.rule", "COALESCE(@.valid_from, '-infinity'::timestamptz)"];
    const KEY_WORDS: &'static str = "name, rule and valid_from";
    const COLUMNS: &'static [Column] = &[
        column("name", Type::TEXT),
        column("kind", Type::TEXT),
        column("rule", Type::TEXT),
        column("valid_from", Type::TIMESTAMPTZ),
        column("valid_to", Type::TIMESTAMPTZ),
        column("hours", Type::TEXT),
        column("vehicle_classes", Type::TEXT),
        column("permits", Type::TEXT),
        column("drawn_in", Type::TEXT),
        column("geometry", Type::JSONB),
    ];

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        let Zone { name, kind, rule, valid_from, valid_to, permits, .. } = &self.zone;
        let Self { hours, vehicle_classes, drawn_in, geometry, .. } = self;
        vec![name, kind, rule, valid_from, valid_to, hours, vehicle_classes, permits, drawn_in, geometry]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_declared_datum_must_be_the_one_named() {
        let file =
            |name: &str| json!({"type": "FeatureCollection", "crs": {"type": "name", "properties": {"name": name}}});
        for (name, wgs84, gcj02) in [
            ("urn:ogc:def:crs:OGC:1.3:CRS84", true, false),
            ("urn:ogc:def:crs:EPSG::4490", true, false),
            ("EPSG:3857", false, false),
            ("GCJ-02", false, true),
        ] {
            assert_eq!(contradiction(&file(name), Datum::Wgs84).is_none(), wgs84, "{name}");
            assert_eq!(contradiction(&file(name), Datum::Gcj02).is_none(), gcj02, "{name}");
        }
        assert_eq!(contradiction(&json!({"features": [], "crs": null}), Datum::Gcj02), None, "nothing is said");
        assert!(contradiction(&json!({"crs": 4}), Datum::Wgs84).is_some());
    }
}
