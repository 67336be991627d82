//! A roadside station.

use tokio_postgres::types::{ToSql, Type};

use super::{Column, Row, Stored, column};
use crate::{
    reading::{Area, StationId, Timestamp},
    vehicle::{
        import::{
            fields::{self, DateCounts},
            sheet::{Cells, Columns},
        },
        stations::{Station, StationKind},
    },
    zone::Holding,
};

#[derive(Clone, Debug, PartialEq)]
pub struct StationRow {
    pub station_id: String,
    name: Option<Box<str>>,
    kind: &'static str,
    longitude: Option<f64>,
    latitude: Option<f64>,
    lane_count: Option<i16>,
    slope_deg: Option<f32>,
    calibrated_at: Option<Timestamp>,
    certificate_until: Option<Timestamp>,
}

impl Row for StationRow {
    const HEADER: Columns = Columns {
        required: &["station_id", "kind"],
        optional: &["name", "longitude", "latitude", "lane_count", "slope_deg", "calibrated_at", "certificate_until"],
    };

    fn parse(cells: &Cells) -> Result<Self, String> {
        let station_id = StationId::parse(cells.get("station_id")).map_err(|error| format!("station_id: {error}"))?;
        let kind = StationKind::parse(&cells.get("kind").to_ascii_lowercase())
            .ok_or("kind: is none of fixed_vertical, fixed_horizontal, mobile, black_smoke")?;
        let longitude = fields::number(cells, "longitude", -180.0..=180.0)?;
        let latitude = fields::number(cells, "latitude", -90.0..=90.0)?;
        if longitude.is_some() != latitude.is_some() {
            return Err("longitude, latitude: only one of the two is given".into());
        }
        Ok(Self {
            station_id: station_id.as_str().to_owned(),
            name: fields::text(cells, "name")?,
            kind: kind.name(),
            longitude,
            latitude,
            lane_count: fields::number(cells, "lane_count", 1..=32)?,
            slope_deg: fields::number(cells, "slope_deg", -45.0..=45.0)?,
            calibrated_at: fields::time(cells, "calibrated_at", DateCounts::FromItsStart)?,
            certificate_until: fields::time(cells, "certificate_until", DateCounts::ToItsEnd)?,
        })
    }
}

impl StationRow {
    /// A row of a station that stands where one can.
    pub fn parse_in(cells: &Cells, area: &Area) -> Result<Self, String> {
        let row = Self::parse(cells)?;
        match row.longitude.zip(row.latitude).and_then(|(lon, lat)| area.fault(lon, lat)) {
            None => Ok(row),
            Some(fault) => Err(format!(
                "longitude, latitude: {fault}; correct the two, or leave both empty where the place is not known"
            )),
        }
    }

    /// The station under the key that readings carry.
    pub fn station(&self, id: i32) -> Station {
        Station {
            id,
            kind: StationKind::parse(self.kind),
            slope_deg: self.slope_deg,
            calibrated_at: self.calibrated_at,
            earlier_calibrations: Box::default(),
            certificate_until: self.certificate_until,
            lon: self.longitude,
            lat: self.latitude,
            known: true,
            zones: Holding::default(),
        }
    }
}

impl Stored for StationRow {
    const TABLE: &'static str = "station_versions";
    const KEY: &'static [&'static str] = &["@.station_id"];
    const KEY_WORDS: &'static str = "station_id";
    const COLUMNS: &'static [Column] = &[
        column("station_id", Type::TEXT),
        column("name", Type::TEXT),
        column("kind", Type::TEXT),
        column("longitude", Type::FLOAT8),
        column("latitude", Type::FLOAT8),
        column("lane_count", Type::INT2),
        column("slope_deg", Type::FLOAT4),
        column("calibrated_at", Type::TIMESTAMPTZ),
        column("certificate_until", Type::TIMESTAMPTZ),
    ];

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![
            &self.station_id,
            &self.name,
            &self.kind,
            &self.longitude,
            &self.latitude,
            &self.lane_count,
            &self.slope_deg,
            &self.calibrated_at,
            &self.certificate_until,
        ]
    }
}
