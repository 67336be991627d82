//! Whether rings make a polygon: closed, in range, with an area, without crossing themselves or each other.

use geo::{
    Area as _, Coord, Intersects as _, Line, LineString, Point, Polygon,
    line_intersection::{LineIntersection, line_intersection},
};
use rstar::{
    AABB, RTree,
    primitives::{GeomWithData, Rectangle},
};

/// Vertices of one polygon at most: an outline of a province in metres needs fewer.
pub const MAX_VERTICES: usize = 100_000;

/// Why rings are not a polygon, with the place. Rings count from 0, the outer one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PolygonError {
    #[error("no ring")]
    Empty,
    #[error("more than {MAX_VERTICES} vertices")]
    TooManyVertices,
    #[error(
        "ring {ring} vertex {vertex}: {lon} {lat} is not longitude and latitude in degrees; GeoJSON puts the longitude first"
    )]
    OutOfRange { ring: usize, vertex: usize, lon: f64, lat: f64 },
    #[error("ring {ring} is empty")]
    EmptyRing { ring: usize },
    #[error("ring {ring} has fewer than four positions or does not end where it begins, at {lon} {lat}")]
    NotClosed { ring: usize, lon: f64, lat: f64 },
    #[error("ring {ring} encloses no area at {lon} {lat}")]
    NoArea { ring: usize, lon: f64, lat: f64 },
    #[error("ring {ring} crosses or touches ring {other} at {lon} {lat}")]
    Crossing { ring: usize, other: usize, lon: f64, lat: f64 },
    #[error("ring {ring} is a hole outside the outer ring at {lon} {lat}")]
    HoleOutside { ring: usize, lon: f64, lat: f64 },
    #[error("ring {ring} is a hole inside the hole ring {other} at {lon} {lat}")]
    HoleInHole { ring: usize, other: usize, lon: f64, lat: f64 },
}

/// Checks the rings, outer ring first, and makes the polygon.
pub fn polygon(rings: Vec<Vec<[f64; 2]>>) -> Result<Polygon, PolygonError> {
    if rings.iter().map(Vec::len).sum::<usize>() > MAX_VERTICES {
        return Err(PolygonError::TooManyVertices);
    }
    let mut lines = Vec::with_capacity(rings.len());
    for (ring, positions) in rings.into_iter().enumerate() {
        lines.push(check_ring(ring, positions)?);
    }
    check_crossings(&lines)?;
    for (ring, line) in lines.iter().enumerate() {
        if let Some(&Coord { x: lon, y: lat }) = line.0.first()
            && Polygon::new(line.clone(), Vec::new()).unsigned_area() == 0.0
        {
            return Err(PolygonError::NoArea { ring, lon, lat });
        }
    }
    let mut lines = lines.into_iter();
    let outer = Polygon::new(lines.next().ok_or(PolygonError::Empty)?, Vec::new());
    let holes: Vec<LineString> = lines.collect();
    check_holes(&outer, &holes)?;
    let (outer, _) = outer.into_inner();
    Ok(Polygon::new(outer, holes))
}

/// No side crosses another by now, but a hole may lie outside, leave through a vertex on the border, or lie in another
/// hole, where it would cut out of what is cut out already.
fn check_holes(outer: &Polygon, holes: &[LineString]) -> Result<(), PolygonError> {
    let strays = |within: &Polygon, hole: &LineString| {
        hole.0.iter().copied().find(|&vertex| !within.intersects(&Point::from(vertex)))
    };
    for (ring, hole) in (1..).zip(holes) {
        if let Some(Coord { x: lon, y: lat }) = strays(outer, hole) {
            return Err(PolygonError::HoleOutside { ring, lon, lat });
        }
        for (other, around) in (1..).zip(holes).filter(|(other, _)| *other != ring) {
            let around = Polygon::new(around.clone(), Vec::new());
            if let Some(&Coord { x: lon, y: lat }) = hole.0.first()
                && strays(&around, hole).is_none()
            {
                return Err(PolygonError::HoleInHole { ring, other, lon, lat });
            }
        }
    }
    Ok(())
}

fn check_ring(ring: usize, mut positions: Vec<[f64; 2]>) -> Result<LineString, PolygonError> {
    for (vertex, &[lon, lat]) in positions.iter().enumerate() {
        if !(-180.0..=180.0).contains(&lon) || !(-90.0..=90.0).contains(&lat) {
            return Err(PolygonError::OutOfRange { ring, vertex, lon, lat });
        }
    }
    let Some(&[lon, lat]) = positions.last() else { return Err(PolygonError::EmptyRing { ring }) };
    if positions.len() < 4 || positions.first() != positions.last() {
        return Err(PolygonError::NotClosed { ring, lon, lat });
    }
    // Repeated positions are common in exports and change nothing.
    positions.dedup();
    Ok(positions.into())
}

/// A side of a ring: which ring, which side, how many sides that ring has.
#[derive(Clone, Copy)]
struct Side {
    ring: usize,
    number: usize,
    of: usize,
    line: Line,
}

impl Side {
    /// Whether the other side follows or precedes this one in the same ring, so that they share a vertex by right.
    fn is_next_to(&self, other: &Side) -> bool {
        let apart = self.number.abs_diff(other.number);
        self.ring == other.ring && (apart == 1 || apart + 1 == self.of)
    }
}

fn check_crossings(rings: &[LineString]) -> Result<(), PolygonError> {
    let mut sides = Vec::new();
    for (ring, line) in rings.iter().enumerate() {
        let of = line.lines().count();
        sides.extend(line.lines().enumerate().map(|(number, line)| Side { ring, number, of, line }));
    }
    let corner = |place: Coord| [place.x, place.y];
    let boxed = |side: &Side| Rectangle::from_corners(corner(side.line.start), corner(side.line.end));
    let tree = RTree::bulk_load(sides.iter().enumerate().map(|(i, side)| GeomWithData::new(boxed(side), i)).collect());
    for (place, side) in sides.iter().enumerate() {
        let envelope = AABB::from_corners(corner(side.line.start), corner(side.line.end));
        for near in tree.locate_in_envelope_intersecting(&envelope).filter(|near| near.data > place) {
            let Some(other) = sides.get(near.data) else { continue };
            if let Some(Coord { x: lon, y: lat }) = meeting(side, other) {
                return Err(PolygonError::Crossing { ring: side.ring, other: other.ring, lon, lat });
            }
        }
    }
    Ok(())
}

/// Where two sides meet that must not. Neighbours share one vertex, but must not run back over each other. Rings may
/// touch in single vertices (RFC 7946 leaves it open, and districts do it); sides that cross or overlap may not.
fn meeting(side: &Side, other: &Side) -> Option<Coord> {
    match line_intersection(side.line, other.line)? {
        LineIntersection::Collinear { intersection } => {
            let length = intersection.end - intersection.start;
            let is_point = length.x == 0.0 && length.y == 0.0;
            (!is_point).then_some(intersection.start)
        }
        LineIntersection::SinglePoint { intersection, is_proper } => {
            let touches_by_right = side.is_next_to(other) || side.ring != other.ring;
            (is_proper || !touches_by_right).then_some(intersection)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn square(lon: f64, lat: f64, half: f64) -> Vec<[f64; 2]> {
        vec![
            [lon - half, lat - half],
            [lon + half, lat - half],
            [lon + half, lat + half],
            [lon - half, lat + half],
            [lon - half, lat - half],
        ]
    }

    #[test]
    fn squares_with_holes_are_polygons() {
        let made = polygon(vec![square(117.87, 36.8, 0.1), square(117.87, 36.8, 0.02)]).expect("a polygon");
        assert_eq!(made.interiors().len(), 1);
        let mut repeated = square(117.87, 36.8, 0.1);
        repeated.insert(1, repeated[0]);
        assert!(polygon(vec![repeated]).is_ok(), "a repeated position is no crossing");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let bow_tie = vec![[117.0, 36.0], [117.2, 36.2], [117.2, 36.0], [117.0, 36.2], [117.0, 36.0]];
        let Err(PolygonError::Crossing { ring: 0, other: 0, lon, lat }) = polygon(vec![bow_tie]) else {
            panic!("a bow tie crosses itself")
        };
        assert!((lon - 117.1).abs() < 1e-9 && (lat - 36.1).abs() < 1e-9);

        let spike = vec![[117.0, 36.0], [117.4, 36.0], [117.2, 36.0], [117.2, 36.2], [117.0, 36.0]];
        assert!(matches!(polygon(vec![spike]), Err(PolygonError::Crossing { ring: 0, other: 0, .. })));

        let swapped = vec![[36.8, 117.8], [36.9, 117.8], [36.9, 117.9], [36.8, 117.8]];
        assert_eq!(polygon(vec![swapped]), Err(PolygonError::OutOfRange { ring: 0, vertex: 0, lon: 36.8, lat: 117.8 }));
        let mut open = square(117.0, 36.0, 0.1);
        open.pop();
        assert_eq!(polygon(vec![open]), Err(PolygonError::NotClosed { ring: 0, lon: 116.9, lat: 36.1 }));
        assert_eq!(polygon(vec![vec![]]), Err(PolygonError::EmptyRing { ring: 0 }));
        let flat = vec![[117.0, 36.0], [117.1, 36.0], [117.2, 36.0], [117.0, 36.0]];
        assert!(matches!(polygon(vec![flat]), Err(PolygonError::Crossing { ring: 0, other: 0, .. })));
        let nothing = polygon(vec![vec![[117.0, 36.0]; 4]]);
        assert_eq!(nothing, Err(PolygonError::NoArea { ring: 0, lon: 117.0, lat: 36.0 }));
        let holes = |hole| polygon(vec![square(117.0, 36.0, 0.1), hole]);
        assert!(matches!(holes(square(117.1, 36.0, 0.05)), Err(PolygonError::Crossing { ring: 0, other: 1, .. })));
        let outside = holes(square(118.0, 36.0, 0.05)).expect_err("a hole elsewhere");
        assert_eq!(outside, PolygonError::HoleOutside { ring: 1, lon: 117.95, lat: 35.95 });
        assert!(outside.to_string().ends_with("at 117.95 35.95"), "{outside}");
        let nested = vec![square(117.0, 36.0, 0.1), square(117.0, 36.0, 0.05), square(117.0, 36.0, 0.01)];
        assert!(matches!(polygon(nested), Err(PolygonError::HoleInHole { ring: 2, other: 1, .. })));
        assert_eq!(polygon(vec![]), Err(PolygonError::Empty));
        assert!(matches!(
            polygon(vec![vec![[f64::NAN, 36.0]; 4]]),
            Err(PolygonError::OutOfRange { ring: 0, vertex: 0, .. })
        ));
    }

    #[test]
    fn a_hole_may_touch_the_outer_ring_in_one_vertex() {
        let hole = vec![[116.9, 36.0], [117.0, 36.05], [117.0, 35.95], [116.9, 36.0]];
        let outer = vec![[116.9, 35.9], [117.1, 35.9], [117.1, 36.1], [116.9, 36.1], [116.9, 36.0], [116.9, 35.9]];
        assert!(polygon(vec![outer, hole]).is_ok());
    }
}
