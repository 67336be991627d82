//! Zones out of GeoJSON: one feature, one zone.
//!
//! Properties: `name`, `kind` and `rule` must be there. Optional are
//!
//! - `valid_from`, `valid_to`: first and last day (or instant) in force,
//! - `hours`: daily windows in China, `07:00-09:00,22:00-06:00`,
//! - `vehicle_classes`: beginnings of GA/T 16.4 kinds the rule is for, `["H", "Q1"]` or `"H,Q1"`,
//! - `permits`: name of the list whose entries in force are permits,
//! - `datum`: `wgs84` or `gcj02`; where it stands it must be the one the operator names, because a file that
//!   contradicts its importer is wrong in one of the two. The same holds of `crs`, `datum` and `bbox` wherever they stand
//!   ([`declared`]).

use geo::Polygon;
use geojson::GeometryValue;
use serde_json::{Map, Value, json};

use super::{
    Classes, Datum, Hours, Zone,
    classes::ClassesError,
    hours::HoursError,
    polygon::{PolygonError, polygon},
};
use crate::reading::Timestamp;

pub mod declared;

/// Why a feature is not a zone.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ZoneError {
    #[error("not a GeoJSON feature with properties")]
    NotAFeature,
    #[error("property `{0}` is missing or empty")]
    Missing(&'static str),
    #[error("property `{0}` is not a text")]
    NotText(&'static str),
    #[error("property `{0}` is neither a date nor a time")]
    NotATime(&'static str),
    #[error("`valid_to` is not after `valid_from`")]
    EmptyInterval,
    #[error("property `hours`: {0}")]
    Hours(#[from] HoursError),
    #[error("property `vehicle_classes`: {0}")]
    Classes(#[from] ClassesError),
    #[error("property `datum` is not {}, in which the file is imported", .0.name())]
    OtherDatum(Datum),
    #[error("part {part} ring {ring} vertex {vertex}: {lon} {lat} is outside China, where GCJ-02 is not defined")]
    NoDatum { part: usize, ring: usize, vertex: usize, lon: f64, lat: f64 },
    #[error("{at}: {why}")]
    Declared { at: &'static str, why: String },
    #[error("it is not a GeoJSON geometry: {0}")]
    NotAGeometry(String),
    #[error("geometry is neither Polygon nor MultiPolygon")]
    NotAnArea,
    #[error("part {part}: {error}")]
    Polygon { part: usize, error: PolygonError },
}

/// Reads the instant a property names: `end` tells that a plain date counts to its last moment.
pub type TimeOf = fn(text: &str, end: bool) -> Option<Timestamp>;

/// Makes a zone of one feature; `time_of` reads its dates. Gives back the geometry to be stored beside the zone, which is
/// WGS-84 like the zone.
pub fn zone(feature: &Value, datum: Datum, time_of: TimeOf) -> Result<(Zone, Value), ZoneError> {
    let properties = feature.get("properties").and_then(Value::as_object).ok_or(ZoneError::NotAFeature)?;
    let geometry = feature.get("geometry").ok_or(ZoneError::NotAFeature)?;
    if feature.get("type").is_some_and(|kind| kind != "Feature") {
        return Err(ZoneError::NotAFeature);
    }
    let required = |name| text(properties, name)?.ok_or(ZoneError::Missing(name));
    let time = |name, end| match text(properties, name)? {
        None => Ok(None),
        Some(text) => time_of(text, end).map(Some).ok_or(ZoneError::NotATime(name)),
    };
    if text(properties, "datum")?.is_some_and(|named| Datum::parse(&named.to_ascii_lowercase()) != Some(datum)) {
        return Err(ZoneError::OtherDatum(datum));
    }
    for (at, object) in [("feature", feature), ("geometry", geometry)] {
        let fits = || declared::fits_box(object, Some(geometry)).err();
        if let Some(why) = declared::contradiction(object, datum).or_else(fits) {
            return Err(ZoneError::Declared { at, why });
        }
    }
    if let Some(why) = declared::other_system(properties, datum) {
        return Err(ZoneError::Declared { at: "properties", why });
    }
    // Checked as drawn first, so that a fault is shown where the file has it.
    let drawn = parts(geometry)?;
    let (parts, geometry) = match datum {
        Datum::Wgs84 => (drawn, geometry.clone()),
        Datum::Gcj02 => {
            let geometry = converted(&drawn, datum)?;
            (parts(&geometry)?, geometry)
        }
    };
    let zone = Zone {
        name: required("name")?.into(),
        kind: required("kind")?.into(),
        rule: required("rule")?.into(),
        valid_from: time("valid_from", false)?,
        valid_to: time("valid_to", true)?,
        hours: Hours::parse(text(properties, "hours")?.unwrap_or_default())?,
        classes: classes(properties)?,
        permits: text(properties, "permits")?.map(Into::into),
        drawn_in: datum,
        parts,
    };
    if let (Some(from), Some(to)) = (zone.valid_from, zone.valid_to)
        && from >= to
    {
        return Err(ZoneError::EmptyInterval);
    }
    Ok((zone, geometry))
}

/// A text with commas, or an array of texts.
fn classes(properties: &Map<String, Value>) -> Result<Classes, ZoneError> {
    let texts = match properties.get("vehicle_classes") {
        Some(Value::Array(texts)) => texts.iter().map(Value::as_str).collect::<Option<Vec<_>>>(),
        _ => return Ok(Classes::parse(text(properties, "vehicle_classes")?.unwrap_or_default())?),
    };
    Ok(Classes::parse(&texts.ok_or(ZoneError::NotText("vehicle_classes"))?.join(","))?)
}

/// The same polygons in WGS-84, as GeoJSON; coordinates to a millimetre, which is finer than any of them was drawn.
fn converted(parts: &[Polygon], datum: Datum) -> Result<Value, ZoneError> {
    let mut polygons = Vec::with_capacity(parts.len());
    for (part, polygon) in parts.iter().enumerate() {
        let mut rings = Vec::new();
        for (ring, line) in std::iter::once(polygon.exterior()).chain(polygon.interiors()).enumerate() {
            let mut positions = Vec::with_capacity(line.0.len());
            for (vertex, at) in line.0.iter().enumerate() {
                let [lon, lat] = datum.to_wgs84([at.x, at.y]).ok_or(ZoneError::NoDatum {
                    part,
                    ring,
                    vertex,
                    lon: at.x,
                    lat: at.y,
                })?;
                positions.push([round(lon), round(lat)]);
            }
            rings.push(positions);
        }
        polygons.push(rings);
    }
    Ok(json!({ "type": "MultiPolygon", "coordinates": polygons }))
}

fn round(degrees: f64) -> f64 {
    (degrees * 1e8).round() / 1e8
}

/// The checked polygons of a GeoJSON geometry.
pub fn parts(geometry: &Value) -> Result<Vec<Polygon>, ZoneError> {
    let geometry = <geojson::Geometry as serde::Deserialize>::deserialize(geometry)
        .map_err(|_| ZoneError::NotAGeometry(declared::odd_coordinate(geometry)))?;
    let parts = match geometry.value {
        GeometryValue::Polygon { coordinates } => vec![coordinates],
        GeometryValue::MultiPolygon { coordinates } => coordinates,
        _ => return Err(ZoneError::NotAnArea),
    };
    if parts.is_empty() {
        return Err(ZoneError::Polygon { part: 0, error: PolygonError::Empty });
    }
    let mut polygons = Vec::with_capacity(parts.len());
    for (part, rings) in parts.into_iter().enumerate() {
        let rings = rings.into_iter().map(|ring| ring.into_iter().map(|p| place(p.as_slice())).collect()).collect();
        polygons.push(polygon(rings).map_err(|error| ZoneError::Polygon { part, error })?);
    }
    Ok(polygons)
}

/// Longitude and latitude; an altitude is passed over, a position without both is out of range.
fn place(position: &[f64]) -> [f64; 2] {
    match position {
        &[lon, lat, ..] => [lon, lat],
        _ => [f64::NAN; 2],
    }
}

fn text<'a>(properties: &'a Map<String, Value>, name: &'static str) -> Result<Option<&'a str>, ZoneError> {
    match properties.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.contains('\0') => Err(ZoneError::NotText(name)),
        Some(Value::String(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
        Some(_) => Err(ZoneError::NotText(name)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no_times(_: &str, _: bool) -> Option<Timestamp> {
        None
    }

    fn feature(properties: Value, geometry: Value) -> Value {
        json!({"type": "Feature", "properties": properties, "geometry": geometry})
    }

    fn square() -> Value {
        json!({"type": "Polygon", "coordinates": [[[117.8, 36.7], [117.9, 36.7], [117.9, 36.8], [117.8, 36.7]]]})
    }

    #[test]
    fn a_feature_becomes_a_zone() {
        let properties = json!({"name": "core", "kind": "nonroad", "rule": "nonroad_stage_min_3", "hours": "07:00-19:00", "valid_from": null});
        let (zone, geometry) = zone(&feature(properties, square()), Datum::Wgs84, no_times).expect("a zone");
        assert_eq!((&*zone.name, zone.parts.len(), zone.hours.to_string().as_str()), ("core", 1, "07:00-19:00"));
        assert_eq!(geometry, square());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let ok = || json!({"name": "core", "kind": "nonroad", "rule": "any"});
        let with = |name: &str, value: Value| {
            let mut properties = ok();
            properties[name] = value;
            zone(&feature(properties, square()), Datum::Wgs84, no_times).expect_err("refused")
        };
        assert_eq!(with("name", json!(" ")), ZoneError::Missing("name"));
        assert_eq!(with("rule", json!(3)), ZoneError::NotText("rule"));
        assert_eq!(with("valid_to", json!("soon")), ZoneError::NotATime("valid_to"));
        assert_eq!(with("hours", json!("9-5")), ZoneError::Hours(HoursError));
        assert_eq!(with("vehicle_classes", json!(["H", 1])), ZoneError::NotText("vehicle_classes"));
        assert_eq!(with("vehicle_classes", json!("trucks")), ZoneError::Classes(ClassesError));
        assert_eq!(with("datum", json!("GCJ02")), ZoneError::OtherDatum(Datum::Wgs84));
        let of = |geometry| zone(&feature(ok(), geometry), Datum::Wgs84, no_times).expect_err("refused");
        assert_eq!(of(json!({"type": "Point", "coordinates": [117.8, 36.7]})), ZoneError::NotAnArea);
        let why = |geometry| of(geometry).to_string();
        let not = |what: &str| format!("it is not a GeoJSON geometry: {what}");
        assert_eq!(why(json!({"type": "Polygon", "coordinates": "here"})), not("coordinates is a text"));
        assert_eq!(why(json!(null)), not("it is null"));
        assert_eq!(why(json!({"type": "Polygon"})), not("it has no `coordinates`"));
        for (odd, what) in [(json!("117.8"), "a text"), (json!(null), "null"), (json!(true), "true")] {
            let mut geometry = square();
            geometry["coordinates"][0][2][1] = odd;
            assert_eq!(why(geometry), not(&format!("coordinates[0][2][1] is {what}")));
        }
        let bad =
            json!({"type": "MultiPolygon", "coordinates": [square()["coordinates"], [[[117.8, 36.7], [117.9, 36.7]]]]});
        assert_eq!(
            of(bad),
            ZoneError::Polygon { part: 1, error: PolygonError::NotClosed { ring: 0, lon: 117.9, lat: 36.7 } }
        );
        assert_eq!(zone(&json!([]), Datum::Wgs84, no_times), Err(ZoneError::NotAFeature));
    }

    #[test]
    fn classes_and_permits_are_read() {
        let with = |classes: Value| {
            let properties = json!({"name": "core", "kind": "low_emission", "rule": "any", "vehicle_classes": classes, "permits": "core_permit"});
            zone(&feature(properties, square()), Datum::Wgs84, no_times).expect("a zone").0
        };
        assert_eq!(with(json!(["H", "Q1"])), with(json!("H, Q1")));
        assert_eq!(with(json!(null)).classes, Classes::default());
        assert_eq!(with(json!("H")).permits.as_deref(), Some("core_permit"));
    }

    #[test]
    fn a_file_in_gcj02_is_converted_when_asked_to_and_refused_abroad() {
        let properties = || json!({"name": "core", "kind": "low_emission", "rule": "any", "datum": "gcj02"});
        let (zone_, geometry) = zone(&feature(properties(), square()), Datum::Gcj02, no_times).expect("a zone");
        assert_eq!(parts(&geometry).as_ref(), Ok(&zone_.parts), "what is stored is what is judged by");
        let corner = zone_.parts[0].exterior().0[0];
        let [lon, lat] = Datum::Gcj02.to_wgs84([117.8, 36.7]).expect("in China");
        assert!((corner.x - lon).abs() < 1e-8 && (corner.y - lat).abs() < 1e-8 && (lon - 117.8).abs() > 1e-3);
        let abroad = json!({"type": "Polygon", "coordinates": [[[2.0, 48.0], [2.1, 48.0], [2.1, 48.1], [2.0, 48.0]]]});
        let refused = zone(&feature(properties(), abroad), Datum::Gcj02, no_times);
        assert_eq!(refused, Err(ZoneError::NoDatum { part: 0, ring: 0, vertex: 0, lon: 2.0, lat: 48.0 }));
    }
}
