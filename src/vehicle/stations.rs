//! Roadside stations by their code.

use hashbrown::HashMap;

use crate::{
    reading::Timestamp,
    zone::{Holding, Zones},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StationKind {
    FixedVertical,
    FixedHorizontal,
    Mobile,
    /// A camera that sees smoke and measures no gas.
    BlackSmoke,
}

impl StationKind {
    pub const ALL: [StationKind; 4] =
        [StationKind::FixedVertical, StationKind::FixedHorizontal, StationKind::Mobile, StationKind::BlackSmoke];

    pub const fn name(self) -> &'static str {
        match self {
            StationKind::FixedVertical => "fixed_vertical",
            StationKind::FixedHorizontal => "fixed_horizontal",
            StationKind::Mobile => "mobile",
            StationKind::BlackSmoke => "black_smoke",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A station as the register in force describes it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Station {
    /// Key that readings carry.
    pub id: i32,
    pub kind: Option<StationKind>,
    /// Uphill positive, degrees.
    pub slope_deg: Option<f32>,
    pub calibrated_at: Option<Timestamp>,
    /// Calibrations that earlier versions named, in no order: a passage that comes late, or is judged again, is measured by
    /// the last one before it.
    pub earlier_calibrations: Box<[Timestamp]>,
    /// First instant at which the certificate no longer holds.
    pub certificate_until: Option<Timestamp>,
    /// WGS-84 degrees.
    pub lon: Option<f64>,
    pub lat: Option<f64>,
    /// Whether the register in force names it; otherwise it only once reported.
    pub known: bool,
    /// The zones that hold its place, looked up once for all its passages; see [`Stations::sited`].
    pub zones: Holding,
}

impl Station {
    /// The last calibration before `at` that is known; the version in force is believed first, so that a date put right
    /// counts.
    pub fn calibrated_before(&self, at: Timestamp) -> Option<Timestamp> {
        let before = |calibrated: &Timestamp| *calibrated <= at;
        let earlier = || self.earlier_calibrations.iter().copied().filter(before).max();
        self.calibrated_at.filter(before).or_else(earlier)
    }
}

/// One version of the stations. Immutable.
#[derive(Debug, Default)]
pub struct Stations {
    version: i32,
    by_code: HashMap<Box<str>, Station>,
}

impl Stations {
    pub fn new(version: i32, stations: impl IntoIterator<Item = (Box<str>, Station)>) -> Self {
        Self { version, by_code: stations.into_iter().collect() }
    }

    /// The same stations with the zones of this version that hold each: to be made again whenever either changes.
    #[must_use]
    pub fn sited(&self, zones: &Zones) -> Self {
        let site = |station: &Station| match (station.lon, station.lat) {
            (Some(lon), Some(lat)) => zones.holding(lon, lat),
            _ => Holding::default(),
        };
        let stations = self.by_code.iter().map(|(code, station)| {
            let sited = Station { zones: site(station), ..station.clone() };
            (code.clone(), sited)
        });
        Self::new(self.version, stations)
    }

    pub fn find(&self, station_id: &str) -> Option<&Station> {
        self.by_code.get(station_id)
    }

    /// Version of the dataset; 0 when none is loaded.
    pub fn version(&self) -> i32 {
        self.version
    }

    pub fn len(&self) -> usize {
        self.by_code.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_code.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_calibration_before_a_passage_counts() {
        let at = |day: i64| Timestamp::from_micros(day * 86_400_000_000);
        let earlier = [at(10), at(200), at(100)].into();
        let station = Station { calibrated_at: Some(at(300)), earlier_calibrations: earlier, ..Station::default() };
        for (day, found) in
            [(5, None), (10, Some(10)), (150, Some(100)), (299, Some(200)), (300, Some(300)), (900, Some(300))]
        {
            assert_eq!(station.calibrated_before(at(day)), found.map(at), "day {day}");
        }
        let unknown = Station { calibrated_at: None, ..station };
        assert_eq!(unknown.calibrated_before(at(900)), Some(at(200)));
    }
}
