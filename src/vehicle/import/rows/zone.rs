//! A zone, out of a GeoJSON feature collection.

use std::path::Path;

use serde_json::Value;
use tokio_postgres::types::{ToSql, Type};

use super::{Column, Stored, column};
use crate::{
    reading::Area,
    strict_json,
    vehicle::import::{
        ImportError, ListName, Refusals,
        fields::{DateCounts, instant},
    },
    zone::{
        Datum, Zone,
        geojson::{self, declared},
    },
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
        let of_text = |fault: strict_json::Fault| not_geojson(fault.to_string());
        let (mark, text) = strict_json::text(&bytes).map_err(of_text)?;
        let file = strict_json::value(text).map_err(|fault| of_text(fault.behind(mark)))?;
        if let Some(other) = file.get("type").filter(|kind| *kind != "FeatureCollection") {
            return Err(not_geojson(format!("its `type` is {other}, not FeatureCollection")));
        }
        let features = file.get("features").and_then(Value::as_array);
        let features = features.ok_or_else(|| not_geojson("it has no array `features`".into()))?;
        if let Some(why) = declared::contradiction(&file, datum) {
            return Err(ImportError::OtherDatum { path: shown, why });
        }
        for (number, feature) in (1..).zip(features) {
            let fits = declared::fits_box(&file, feature.get("geometry")).map_err(|why| format!("the file: {why}"));
            match fits.and_then(|()| Self::of(feature, datum, area)) {
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
