//! A zone, out of a GeoJSON feature collection.

use std::path::Path;

use serde_json::Value;
use tokio_postgres::types::{ToSql, Type};

use super::{Column, Stored, column};
use crate::{
    vehicle::import::{
        ImportError, Refusals,
        fields::{DateCounts, instant},
    },
    zone::{Zone, geojson},
};

/// Largest file of zones read, bytes: it is held in memory whole.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Clone, Debug, PartialEq)]
pub struct ZoneRow {
    pub zone: Zone,
    hours: Option<String>,
    geometry: Value,
}

impl ZoneRow {
    fn of(feature: &Value) -> Result<Self, String> {
        let time_of =
            |text: &str, end| instant(text, if end { DateCounts::ToItsEnd } else { DateCounts::FromItsStart });
        let (zone, geometry) = geojson::zone(feature, time_of).map_err(|error| error.to_string())?;
        let hours = Some(zone.hours.to_string()).filter(|hours| !hours.is_empty());
        Ok(Self { zone, hours, geometry })
    }

    /// Reads a feature collection. A feature that is no zone is refused under its number, from 1. Gives back how many
    /// features there are.
    pub fn read_file(
        path: &Path,
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
        for (number, feature) in (1..).zip(features) {
            match Self::of(feature) {
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
        column("geometry", Type::JSONB),
    ];

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        let Zone { name, kind, rule, valid_from, valid_to, .. } = &self.zone;
        vec![name, kind, rule, valid_from, valid_to, &self.hours, &self.geometry]
    }
}
