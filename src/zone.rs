//! Where and when a rule holds: polygons in WGS-84 with a rule, an effective interval and daily hours.
//!
//! Positions and polygons are WGS-84 throughout. Maps sold in China use a shifted datum (GCJ-02, up to several hundred
//! metres off); a file in it is converted on import when the operator says so ([`Datum`]), because nothing in the numbers
//! tells the two apart.

pub mod classes;
pub mod datum;
pub mod geojson;
pub mod hours;
pub mod polygon;

use geo::{BoundingRect as _, Intersects as _, Point, Polygon};
use rstar::{
    AABB, RTree,
    primitives::{GeomWithData, Rectangle},
};

pub use classes::Classes;
pub use datum::Datum;
pub use hours::Hours;
use smallvec::SmallVec;

use crate::reading::Timestamp;

/// The rule of a control zone that non-road machines below stage III may not work in.
pub const NONROAD_STAGE_MIN_3: &str = "nonroad_stage_min_3";

/// The rule of a site that non-road machines below stage III are not let onto.
pub const NONROAD_SITE_MIN_3: &str = "nonroad_site_min_3";

/// The rule of a zone in which machines of every stage stand under the strictest smoke limits (GB 36886 class III).
pub const NONROAD_SMOKE_CLASS_3: &str = "nonroad_smoke_class_3";

/// One zone of the register.
#[derive(Clone, Debug, PartialEq)]
pub struct Zone {
    pub name: Box<str>,
    pub kind: Box<str>,
    /// Such as [`NONROAD_STAGE_MIN_3`]; kept as written, also where no part of the service asks for it.
    pub rule: Box<str>,
    /// First instant in force; `None` is since ever.
    pub valid_from: Option<Timestamp>,
    /// First instant no longer in force; `None` is for ever.
    pub valid_to: Option<Timestamp>,
    pub hours: Hours,
    /// Which vehicles it is for.
    pub classes: Classes,
    /// The list whose entries in force are permits to be in the zone.
    pub permits: Option<Box<str>>,
    /// The datum of the file it came from; the parts are WGS-84 whatever it was.
    pub drawn_in: Datum,
    /// A multipolygon's parts; each with its holes.
    pub parts: Vec<Polygon>,
}

impl Zone {
    /// Whether the zone's rule holds at that time, wherever.
    pub fn in_force(&self, at: Timestamp) -> bool {
        self.valid_from.is_none_or(|from| from <= at)
            && self.valid_to.is_none_or(|to| at < to)
            && self.hours.contain(at)
    }
}

/// The box around one part of a zone, with the places of both.
type Boxed = GeomWithData<Rectangle<[f64; 2]>, (usize, usize)>;

/// Numbers of zones in one version of them, ascending.
pub type Holding = SmallVec<[u32; 4]>;

/// One version of the zones. Immutable.
#[derive(Debug, Default)]
pub struct Zones {
    version: i32,
    zones: Box<[Zone]>,
    boxes: RTree<Boxed>,
}

impl Zones {
    pub fn new(version: i32, zones: impl IntoIterator<Item = Zone>) -> Self {
        let zones: Box<[Zone]> = zones.into_iter().collect();
        let mut boxes = Vec::new();
        for (place, zone) in zones.iter().enumerate() {
            for (part, polygon) in zone.parts.iter().enumerate() {
                if let Some(rect) = polygon.bounding_rect() {
                    let corners = Rectangle::from_corners(rect.min().into(), rect.max().into());
                    boxes.push(Boxed::new(corners, (place, part)));
                }
            }
        }
        Self { version, zones, boxes: RTree::bulk_load(boxes) }
    }

    /// The zones in force at that time that hold this place (WGS-84 degrees); a place on the border is inside. A place
    /// that is not a number is in no zone.
    pub fn containing(&self, lon: f64, lat: f64, at: Timestamp) -> impl Iterator<Item = &Zone> {
        self.in_force(self.holding(lon, lat), at)
    }

    /// The zones that hold this place, in force or not, by their numbers in this version: what does not change from one
    /// reading of a station to the next.
    pub fn holding(&self, lon: f64, lat: f64) -> Holding {
        if !lon.is_finite() || !lat.is_finite() {
            return Holding::default();
        }
        let around = self.boxes.locate_in_envelope_intersecting(&AABB::from_point([lon, lat]));
        let holds = |&(zone, part): &(usize, usize)| {
            let part = self.zones.get(zone).and_then(|zone| zone.parts.get(part));
            part.is_some_and(|part| part.intersects(&Point::new(lon, lat)))
        };
        let mut hits: Holding =
            around.map(|boxed| boxed.data).filter(holds).filter_map(|(zone, _)| u32::try_from(zone).ok()).collect();
        hits.sort_unstable();
        hits.dedup();
        hits
    }

    /// Those of the numbered zones that are in force at that time.
    pub fn in_force<'z, N: IntoIterator<Item = u32>>(
        &'z self,
        numbers: N,
        at: Timestamp,
    ) -> impl Iterator<Item = &'z Zone> + use<'z, N> {
        let zones = numbers.into_iter().filter_map(|number| self.zones.get(number as usize));
        zones.filter(move |zone| zone.in_force(at))
    }

    pub fn iter(&self) -> impl Iterator<Item = &Zone> {
        self.zones.iter()
    }

    /// Version of the dataset; 0 when none is loaded.
    pub fn version(&self) -> i32 {
        self.version
    }

    pub fn len(&self) -> usize {
        self.zones.len()
    }

    pub fn is_empty(&self) -> bool {
        self.zones.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use geo::{LineString, polygon};
    use proptest::prelude::*;

    use super::*;

    fn zone(name: &str, parts: Vec<Polygon>) -> Zone {
        Zone {
            name: name.into(),
            kind: "control".into(),
            rule: NONROAD_STAGE_MIN_3.into(),
            valid_from: None,
            valid_to: None,
            hours: Hours::default(),
            classes: Classes::default(),
            permits: None,
            drawn_in: Datum::Wgs84,
            parts,
        }
    }

    fn square(lon: f64, lat: f64, half: f64) -> Polygon {
        polygon![
            (x: lon - half, y: lat - half), (x: lon + half, y: lat - half),
            (x: lon + half, y: lat + half), (x: lon - half, y: lat + half),
        ]
    }

    fn names(zones: &Zones, lon: f64, lat: f64, at: Timestamp) -> Vec<&str> {
        zones.containing(lon, lat, at).map(|zone| &*zone.name).collect()
    }

    #[test]
    fn holes_parts_and_borders() {
        let mut ring = square(117.87, 36.80, 0.10);
        ring.interiors_push(square(117.87, 36.80, 0.02).exterior().clone());
        let zones = Zones::new(
            1,
            [
                zone("ring", vec![ring]),
                zone("two parts", vec![square(117.87, 36.80, 0.01), square(118.50, 36.80, 0.01)]),
            ],
        );
        let now = Timestamp::EPOCH;
        assert_eq!(names(&zones, 117.92, 36.80, now), ["ring"]);
        assert_eq!(names(&zones, 117.87, 36.80, now), ["two parts"], "the hole is outside");
        assert_eq!(names(&zones, 118.50, 36.80, now), ["two parts"]);
        assert_eq!(names(&zones, 117.97, 36.80, now), ["ring"], "the border is inside");
        assert_eq!(names(&zones, 119.00, 36.80, now), [""; 0]);
        assert_eq!(names(&zones, f64::NAN, 36.80, now), [""; 0]);
    }

    #[test]
    fn overlapping_parts_name_the_zone_once() {
        let zones = Zones::new(1, [zone("a", vec![square(117.0, 36.0, 0.1), square(117.05, 36.0, 0.1)])]);
        assert_eq!(names(&zones, 117.02, 36.0, Timestamp::EPOCH), ["a"]);
    }

    #[test]
    fn the_interval_is_asked_at_the_readings_time() {
        let day = |d| Timestamp::from_china(2026, 7, d, 0, 0, 0);
        let dated = Zone { valid_from: day(1), valid_to: day(3), ..zone("a", vec![square(117.0, 36.0, 0.1)]) };
        let zones = Zones::new(1, [dated]);
        let inside = |at: Option<Timestamp>| at.map(|at| names(&zones, 117.0, 36.0, at).len());
        assert_eq!(inside(day(1)), Some(1));
        assert_eq!(inside(day(3)), Some(0), "the end does not belong to the interval");
        assert_eq!(inside(day(1).map(|at| at.plus_seconds(-1))), Some(0));
    }

    #[test]
    fn an_empty_polygon_holds_nothing() {
        let zones = Zones::new(1, [zone("a", vec![Polygon::new(LineString::new(vec![]), vec![])])]);
        assert_eq!(names(&zones, 0.0, 0.0, Timestamp::EPOCH), [""; 0]);
    }

    /// Whether a ray from the place to the east crosses the ring an odd number of times: the schoolbook's containment.
    fn crossings_are_odd(ring: &[[f64; 2]], [lon, lat]: [f64; 2]) -> bool {
        let sides = ring.iter().zip(ring.iter().cycle().skip(1));
        let crossed = sides
            .filter(|([x0, y0], [x1, y1])| (*y0 > lat) != (*y1 > lat) && lon < (x1 - x0) * (lat - y0) / (y1 - y0) + x0);
        crossed.count() % 2 == 1
    }

    /// A ring around a centre, at a distance of its own in each direction, so that it never crosses itself.
    fn star(lon: f64, lat: f64, reach: &[f64]) -> Vec<[f64; 2]> {
        let turn = |place: usize| place as f64 / reach.len() as f64 * std::f64::consts::TAU;
        reach.iter().enumerate().map(|(n, r)| [lon + r * turn(n).cos(), lat + r * turn(n).sin()]).collect()
    }

    proptest! {
        #[test]
        fn a_place_is_in_the_zones_whose_border_surrounds_it(
            stars in prop::collection::vec((117.0..118.0_f64, 36.0..37.0_f64, prop::collection::vec(0.05..0.4_f64, 3..12)), 1..6),
            lon in 117.0..118.0_f64,
            lat in 36.0..37.0_f64,
        ) {
            let rings: Vec<_> = stars.iter().map(|(lon, lat, reach)| star(*lon, *lat, reach)).collect();
            let area = |ring: &Vec<[f64; 2]>| Polygon::new(LineString::from(ring.clone()), vec![]);
            let zones = Zones::new(1, rings.iter().enumerate().map(|(n, ring)| zone(&n.to_string(), vec![area(ring)])));
            let expected: Vec<u32> =
                (0..).zip(&rings).filter(|(_, ring)| crossings_are_odd(ring, [lon, lat])).map(|(n, _)| n).collect();
            prop_assert_eq!(zones.holding(lon, lat).to_vec(), expected);
        }
    }
}
