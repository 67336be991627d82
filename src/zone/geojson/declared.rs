//! What a GeoJSON object says about its own coordinates, against the datum the operator named and against the coordinates
//! themselves. A file that contradicts itself or its importer is wrong in one of the two, and a zone in the wrong place
//! accuses the innocent: it is a reason to stop, not to convert.
//!
//! GeoJSON dropped `crs` in 2016 and programs still write it, in the file, in features and in geometries.

use serde_json::{Map, Value};

use crate::zone::Datum;

/// How far a vertex may lie outside a box that should hold it, degrees (about 100 m): programs round boxes. The two datums
/// lie 300 to 700 m apart.
const BOX_TOLERANCE: f64 = 0.001;

/// Why `crs` or `datum` of this object name another system than the operator does.
pub fn contradiction(object: &Value, datum: Datum) -> Option<String> {
    let members = object.as_object()?;
    other_system(members, datum).or_else(|| {
        let named = member(members, "datum")?;
        let found = named.as_str().and_then(|name| Datum::parse(&name.to_ascii_lowercase()));
        (found != Some(datum)).then(|| not_the_one("datum", named.as_str().unwrap_or("not a text"), datum))
    })
}

/// The same for `crs` alone.
pub fn other_system(members: &Map<String, Value>, datum: Datum) -> Option<String> {
    let crs = member(members, "crs")?;
    let code =
        crs.pointer("/properties/code").map(|code| format!("EPSG:{}", code.as_str().unwrap_or(&code.to_string())));
    let name = crs.as_str().or_else(|| crs.pointer("/properties/name").and_then(Value::as_str));
    let name = name.map(str::to_owned).or(code).unwrap_or_else(|| "without a name".to_owned());
    (system(&name) != Some(datum)).then(|| not_the_one("crs", &name, datum))
}

fn not_the_one(what: &str, name: &str, datum: Datum) -> String {
    format!(
        "its member `{what}` is {name}, which is not {}; convert the file, or correct the one that is wrong",
        datum.name()
    )
}

/// A member by its name in either case; `null` says nothing.
fn member<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let named = members.iter().find(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_null());
    named.map(|(_, value)| value)
}

/// The datum of a system of coordinates, where it is one of ours. CGCS2000 (EPSG 4490) is WGS-84 to some centimetres.
fn system(name: &str) -> Option<Datum> {
    let name = name.to_ascii_uppercase();
    if name.contains("GCJ") {
        return Some(Datum::Gcj02);
    }
    let code = name.rsplit([':', '/']).next().unwrap_or_default();
    let is_wgs84 = code == "CRS84" || name.contains("EPSG") && matches!(code, "4326" | "4490");
    is_wgs84.then_some(Datum::Wgs84)
}

/// Whether every position of the geometry lies in the box of `object`, where that has one.
pub fn fits_box(object: &Value, geometry: Option<&Value>) -> Result<(), String> {
    let Some(given) = object.get("bbox").filter(|given| !given.is_null()) else { return Ok(()) };
    let numbers: Option<Vec<f64>> = given.as_array().and_then(|sides| sides.iter().map(Value::as_f64).collect());
    let (west, south, east, north) = match numbers.as_deref() {
        Some(&[west, south, east, north] | &[west, south, _, east, north, _]) => (west, south, east, north),
        _ => return Err("its member `bbox` is not four or six numbers".into()),
    };
    let within = |value: f64, low: f64, high: f64| (low - BOX_TOLERANCE..=high + BOX_TOLERANCE).contains(&value);
    let outside = |at: &[f64; 2]| !within(at[0], west, east) || !within(at[1], south, north);
    match geometry.and_then(|geometry| positions(geometry.get("coordinates")?, &outside)) {
        None => Ok(()),
        Some([lon, lat]) => Err(format!("{lon} {lat} lies outside its member `bbox`; one of the two is wrong")),
    }
}

/// The first position of nested coordinates that is looked for.
fn positions(coordinates: &Value, wanted: &impl Fn(&[f64; 2]) -> bool) -> Option<[f64; 2]> {
    let parts = coordinates.as_array()?;
    if let [lon, lat, ..] = parts.as_slice()
        && let (Some(lon), Some(lat)) = (lon.as_f64(), lat.as_f64())
    {
        return Some([lon, lat]).filter(wanted);
    }
    parts.iter().find_map(|part| positions(part, wanted))
}

/// What in a geometry is not what a geometry has, and where.
pub fn odd_coordinate(geometry: &Value) -> String {
    let Some(members) = geometry.as_object() else { return format!("it is {}", kind(geometry)) };
    if !members.get("type").is_some_and(Value::is_string) {
        return "it has no `type`".into();
    }
    match members.get("coordinates") {
        None => "it has no `coordinates`".into(),
        Some(coordinates) => {
            let mut at = "coordinates".to_owned();
            match odd(coordinates, &mut at) {
                Some(what) => format!("{at} is {what}"),
                None => "its coordinates are nested in another way than its type asks for".into(),
            }
        }
    }
}

fn odd(value: &Value, at: &mut String) -> Option<&'static str> {
    match value {
        Value::Number(_) => None,
        Value::Array(parts) => parts.iter().enumerate().find_map(|(place, part)| {
            let length = at.len();
            at.push_str(&format!("[{place}]"));
            let found = odd(part, at);
            if found.is_none() {
                at.truncate(length);
            }
            found
        }),
        other => Some(kind(other)),
    }
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(true) => "true",
        Value::Bool(false) => "false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_declared_system_must_be_the_one_named() {
        let file =
            |name: &str| json!({"type": "FeatureCollection", "crs": {"type": "name", "properties": {"name": name}}});
        for (name, wgs84, gcj02) in [
            ("urn:ogc:def:crs:OGC:1.3:CRS84", true, false),
            ("urn:ogc:def:crs:EPSG::4490", true, false),
            ("http://www.opengis.net/def/crs/EPSG/0/4326", true, false),
            ("EPSG:3857", false, false),
            ("GCJ-02", false, true),
            ("BD-09", false, false),
        ] {
            assert_eq!(contradiction(&file(name), Datum::Wgs84).is_none(), wgs84, "{name}");
            assert_eq!(contradiction(&file(name), Datum::Gcj02).is_none(), gcj02, "{name}");
            assert_eq!(contradiction(&json!({ "CRS": name }), Datum::Wgs84).is_none(), wgs84, "{name}");
        }
        assert_eq!(contradiction(&json!({"features": [], "crs": null}), Datum::Gcj02), None, "nothing is said");
        assert!(contradiction(&json!({"crs": 4}), Datum::Wgs84).is_some());
        assert_eq!(contradiction(&json!({"crs": {"type": "EPSG", "properties": {"code": 4326}}}), Datum::Wgs84), None);
        assert!(contradiction(&json!({"datum": "gcj02"}), Datum::Wgs84).is_some());
        assert_eq!(contradiction(&json!({"datum": "GCJ02"}), Datum::Gcj02), None);
        assert!(contradiction(&json!({"datum": 1}), Datum::Wgs84).is_some());
    }

    #[test]
    fn a_box_holds_what_it_is_the_box_of() {
        let square = json!({"type": "Polygon", "coordinates": [[[117.8, 36.7, 50], [117.9, 36.7], [117.9, 36.8], [117.8, 36.7]]]});
        let fits = |bbox: Value| fits_box(&json!({ "bbox": bbox }), Some(&square));
        for good in [json!([117.8, 36.7, 117.9, 36.8]), json!([117.8, 36.7, 0, 117.8995, 36.8, 90]), json!(null)] {
            assert_eq!(fits(good), Ok(()));
        }
        // Drawn in the other datum, the box in this one; and latitude first.
        assert!(
            fits(json!([117.805, 36.701, 117.905, 36.801])).is_err_and(|why| why.contains("117.8 36.7 lies outside"))
        );
        assert!(fits(json!([36.7, 117.8, 36.8, 117.9])).is_err());
        assert!(fits(json!([117.8, 36.7])).is_err());
        assert!(fits(json!("all of it")).is_err());
    }
}
