//! A made-up district around 117.87 E, 36.80 N: simple shapes of our own, WGS-84, taken from no map.

/// Degrees east and north.
pub type Point = (f64, f64);

pub const CENTRE: Point = (117.87, 36.80);

/// Metres in a degree of latitude, and of longitude at 36.8 degrees north (cos 36.8° = 0.8007).
const METRES_PER_DEGREE_NORTH: f64 = 111_000.0;
const METRES_PER_DEGREE_EAST: f64 = 88_900.0;

/// The district, counter-clockwise, closed.
pub const DISTRICT: [Point; 9] = [
    (117.770, 36.720),
    (117.880, 36.700),
    (117.975, 36.735),
    (117.990, 36.810),
    (117.955, 36.880),
    (117.860, 36.905),
    (117.780, 36.875),
    (117.750, 36.800),
    (117.770, 36.720),
];

/// The built-up core: low-emission zone for vehicles, control zone for machines.
pub const CONTROL_ZONE: [Point; 7] = [
    (117.835, 36.775),
    (117.885, 36.770),
    (117.915, 36.795),
    (117.905, 36.825),
    (117.865, 36.835),
    (117.830, 36.815),
    (117.835, 36.775),
];

/// Roads: closed loops that trucks drive round. The first two cross the control zone.
const ROADS: [&[Point]; 4] = [
    &[(117.790, 36.795), (117.845, 36.798), (117.900, 36.802), (117.960, 36.806), (117.905, 36.792), (117.840, 36.788)],
    &[(117.872, 36.730), (117.870, 36.780), (117.866, 36.830), (117.862, 36.885), (117.880, 36.835), (117.884, 36.770)],
    &[
        (117.790, 36.740),
        (117.880, 36.725),
        (117.955, 36.750),
        (117.965, 36.815),
        (117.930, 36.865),
        (117.860, 36.880),
        (117.795, 36.855),
        (117.775, 36.800),
    ],
    &[(117.810, 36.845), (117.850, 36.862), (117.905, 36.858), (117.930, 36.842), (117.895, 36.846), (117.845, 36.850)],
];

/// Building sites where machines work; the first four lie inside the control zone.
const SITES: [Point; 8] = [
    (117.860, 36.800),
    (117.878, 36.812),
    (117.850, 36.790),
    (117.890, 36.795),
    (117.800, 36.760),
    (117.940, 36.770),
    (117.820, 36.860),
    (117.930, 36.850),
];

pub const STATION_PLACES: [Point; 6] =
    [(117.812, 36.797), (117.948, 36.803), (117.871, 36.752), (117.864, 36.868), (117.905, 36.731), (117.845, 36.798)];

/// Where somebody is who has driven `metres` along road number `road` (any number).
pub fn along_road(road: usize, metres: f64) -> Point {
    let Some(points) = ROADS.get(road % ROADS.len()) else { return CENTRE };
    let legs = || points.iter().zip(points.iter().cycle().skip(1));
    let around: f64 = legs().map(|(&a, &b)| distance_m(a, b)).sum();
    let mut left = metres.rem_euclid(around);
    for (&from, &to) in legs() {
        let length = distance_m(from, to);
        if left <= length {
            let part = left / length;
            return (from.0 + (to.0 - from.0) * part, from.1 + (to.1 - from.1) * part);
        }
        left -= length;
    }
    CENTRE
}

/// Where a machine is that has moved `metres` on its site: back and forth in a circle of 60 m.
pub fn on_site(site: usize, metres: f64) -> Point {
    let centre = SITES.get(site % SITES.len()).copied().unwrap_or(CENTRE);
    let angle = metres / 60.0;
    (centre.0 + 60.0 * angle.cos() / METRES_PER_DEGREE_EAST, centre.1 + 60.0 * angle.sin() / METRES_PER_DEGREE_NORTH)
}

/// Flat-earth distance; good to a per mille within the district.
fn distance_m(a: Point, b: Point) -> f64 {
    ((b.0 - a.0) * METRES_PER_DEGREE_EAST).hypot((b.1 - a.1) * METRES_PER_DEGREE_NORTH)
}

#[cfg(test)]
mod tests {
    use geo::{Contains, LineString, Polygon};

    use super::*;

    fn polygon(ring: &[Point]) -> Polygon {
        Polygon::new(LineString::from(ring.to_vec()), Vec::new())
    }

    #[test]
    fn everything_lies_in_the_district_and_half_the_sites_in_the_zone() {
        let district = polygon(&DISTRICT);
        let zone = polygon(&CONTROL_ZONE);
        for road in 0..ROADS.len() {
            for step in 0..500 {
                assert!(district.contains(&geo::Point::from(along_road(road, f64::from(step) * 97.0))));
            }
        }
        for place in STATION_PLACES {
            assert!(district.contains(&geo::Point::from(place)));
        }
        let inside = (0..SITES.len()).filter(|&site| zone.contains(&geo::Point::from(on_site(site, 0.0)))).count();
        assert_eq!(inside, 4);
    }

    #[test]
    fn driving_is_continuous() {
        let steps = (0..4000).map(|step| along_road(2, f64::from(step) * 25.0)).collect::<Vec<_>>();
        assert!(steps.windows(2).all(|pair| distance_m(pair[0], pair[1]) < 26.0));
    }
}
