//! Zones out of GeoJSON: one feature, one zone.

use geo::Polygon;
use geojson::GeometryValue;
use serde_json::{Map, Value};

use super::{
    Hours, Zone,
    hours::HoursError,
    polygon::{PolygonError, polygon},
};
use crate::reading::Timestamp;

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
    #[error("geometry is no GeoJSON geometry")]
    NotAGeometry,
    #[error("geometry is neither Polygon nor MultiPolygon")]
    NotAnArea,
    #[error("part {part}: {error}")]
    Polygon { part: usize, error: PolygonError },
}

/// Reads the instant a property names: `end` tells that a plain date counts to its last moment.
pub type TimeOf = fn(text: &str, end: bool) -> Option<Timestamp>;

/// Makes a zone of one feature; `time_of` reads its dates. Gives back the geometry to be stored beside the zone.
pub fn zone(feature: &Value, time_of: TimeOf) -> Result<(Zone, Value), ZoneError> {
    let properties = feature.get("properties").and_then(Value::as_object).ok_or(ZoneError::NotAFeature)?;
    let geometry = feature.get("geometry").ok_or(ZoneError::NotAFeature)?;
    let required = |name| text(properties, name)?.ok_or(ZoneError::Missing(name));
    let time = |name, end| match text(properties, name)? {
        None => Ok(None),
        Some(text) => time_of(text, end).map(Some).ok_or(ZoneError::NotATime(name)),
    };
    let zone = Zone {
        name: required("name")?.into(),
        kind: required("kind")?.into(),
        rule: required("rule")?.into(),
        valid_from: time("valid_from", false)?,
        valid_to: time("valid_to", true)?,
        hours: Hours::parse(text(properties, "hours")?.unwrap_or_default())?,
        parts: parts(geometry)?,
    };
    if let (Some(from), Some(to)) = (zone.valid_from, zone.valid_to)
        && from >= to
    {
        return Err(ZoneError::EmptyInterval);
    }
    Ok((zone, geometry.clone()))
}

/// The checked polygons of a GeoJSON geometry.
pub fn parts(geometry: &Value) -> Result<Vec<Polygon>, ZoneError> {
    let geometry =
        <geojson::Geometry as serde::Deserialize>::deserialize(geometry).map_err(|_| ZoneError::NotAGeometry)?;
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
    use serde_json::json;

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
        let (zone, geometry) = zone(&feature(properties, square()), no_times).expect("a zone");
        assert_eq!((&*zone.name, zone.parts.len(), zone.hours.to_string().as_str()), ("core", 1, "07:00-19:00"));
        assert_eq!(geometry, square());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let ok = || json!({"name": "core", "kind": "nonroad", "rule": "any"});
        let with = |name: &str, value: Value| {
            let mut properties = ok();
            properties[name] = value;
            zone(&feature(properties, square()), no_times).expect_err("refused")
        };
        assert_eq!(with("name", json!(" ")), ZoneError::Missing("name"));
        assert_eq!(with("rule", json!(3)), ZoneError::NotText("rule"));
        assert_eq!(with("valid_to", json!("soon")), ZoneError::NotATime("valid_to"));
        assert_eq!(with("hours", json!("9-5")), ZoneError::Hours(HoursError));
        let of = |geometry| zone(&feature(ok(), geometry), no_times).expect_err("refused");
        assert_eq!(of(json!({"type": "Point", "coordinates": [117.8, 36.7]})), ZoneError::NotAnArea);
        assert_eq!(of(json!({"type": "Polygon", "coordinates": "here"})), ZoneError::NotAGeometry);
        assert_eq!(of(json!(null)), ZoneError::NotAGeometry);
        let bad =
            json!({"type": "MultiPolygon", "coordinates": [square()["coordinates"], [[[117.8, 36.7], [117.9, 36.7]]]]});
        assert_eq!(of(bad), ZoneError::Polygon { part: 1, error: PolygonError::NotClosed { ring: 0 } });
        assert_eq!(zone(&json!([]), no_times), Err(ZoneError::NotAFeature));
    }
}
