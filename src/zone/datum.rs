//! GCJ-02 to WGS-84: the shifted coordinates of maps sold in China back to what receivers measure.
//!
//! Nothing in the numbers tells the two apart, so the datum of a file is said by whoever imports it and never guessed.
//! The shift has no official text. The formula below is the one that public map converters share; that it agrees with
//! the maps to about a metre is practice, not law (UNSOURCED-high). It has no inverse in closed form, but it changes by less
//! than a hundredth of the distance between two places, so that fixed-point iteration gains two digits a step.

use std::f64::consts::PI;

/// What the coordinates of a file are measured in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Datum {
    /// As receivers measure; CGCS2000 differs by centimetres
    #[default]
    Wgs84,
    /// As maps sold in China show, shifted by some hundred metres
    Gcj02,
}

impl Datum {
    pub const fn name(self) -> &'static str {
        match self {
            Datum::Wgs84 => "wgs84",
            Datum::Gcj02 => "gcj02",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        [Datum::Wgs84, Datum::Gcj02].into_iter().find(|datum| datum.name() == name)
    }

    /// The place in WGS-84 degrees, longitude first; `None` where the datum is not defined: GCJ-02 outside China.
    pub fn to_wgs84(self, place: [f64; 2]) -> Option<[f64; 2]> {
        match self {
            Datum::Wgs84 => Some(place),
            Datum::Gcj02 => gcj02_to_wgs84(place),
        }
    }
}

/// Longitudes and latitudes in which maps are shifted.
const CHINA: [std::ops::RangeInclusive<f64>; 2] = [72.004..=137.8347, 0.8293..=55.8271];

/// Far below a millimetre, degrees.
const EXACT: f64 = 1e-11;
/// Steps at most; five are enough anywhere.
const STEPS: usize = 30;

/// Half axis and squared eccentricity of the ellipsoid the formula counts on (Krassovsky 1940).
const AXIS_M: f64 = 6_378_245.0;
const ECCENTRICITY_2: f64 = 0.006_693_421_622_965_943;

fn gcj02_to_wgs84([lon, lat]: [f64; 2]) -> Option<[f64; 2]> {
    let [lons, lats] = CHINA;
    if !lons.contains(&lon) || !lats.contains(&lat) {
        return None;
    }
    let mut found = [lon, lat];
    for _ in 0..STEPS {
        let [shown_lon, shown_lat] = shifted(found);
        let (east, north) = (shown_lon - lon, shown_lat - lat);
        found = [found[0] - east, found[1] - north];
        if east.abs() < EXACT && north.abs() < EXACT {
            return Some(found);
        }
    }
    None
}

/// Where a map in GCJ-02 shows a WGS-84 place.
fn shifted([lon, lat]: [f64; 2]) -> [f64; 2] {
    let (x, y) = (lon - 105.0, lat - 35.0);
    let wave = |amplitude: f64, argument: f64| amplitude * (argument * PI).sin();
    let common = wave(20.0, 6.0 * x) + wave(20.0, 2.0 * x);
    let north_m = -100.0
        + 2.0 * x
        + 3.0 * y
        + 0.2 * y * y
        + 0.1 * x * y
        + 0.2 * x.abs().sqrt()
        + (common + wave(20.0, y) + wave(40.0, y / 3.0) + wave(160.0, y / 12.0) + wave(320.0, y / 30.0)) * 2.0 / 3.0;
    let east_m = 300.0
        + x
        + 2.0 * y
        + 0.1 * x * x
        + 0.1 * x * y
        + 0.1 * x.abs().sqrt()
        + (common + wave(20.0, x) + wave(40.0, x / 3.0) + wave(150.0, x / 12.0) + wave(300.0, x / 30.0)) * 2.0 / 3.0;
    let latitude = lat.to_radians();
    let bulge = 1.0 - ECCENTRICITY_2 * latitude.sin().powi(2);
    let north = north_m.to_degrees() / (AXIS_M * (1.0 - ECCENTRICITY_2) / (bulge * bulge.sqrt()));
    let east = east_m.to_degrees() / (AXIS_M / bulge.sqrt() * latitude.cos());
    [lon + east, lat + north]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Great-circle distance on a sphere, metres; good to a fraction of a percent.
    fn metres([lon_a, lat_a]: [f64; 2], [lon_b, lat_b]: [f64; 2]) -> f64 {
        let (a, b) = (lat_a.to_radians(), lat_b.to_radians());
        let half = |x: f64| (x / 2.0).sin().powi(2);
        let chord = half(b - a) + a.cos() * b.cos() * half((lon_b - lon_a).to_radians());
        2.0 * 6_371_000.0 * chord.sqrt().asin()
    }

    #[test]
    fn places_whose_shift_is_published() {
        // Test values of the public library eviltransform: Shanghai, Shenzhen, Beijing.
        for (wgs, gcj) in [
            ([121.527_210_6, 31.177_427_6], [121.531_541_859_215, 31.175_303_983_645_97]),
            ([113.912_316, 22.543_847], [113.917_176_480_836_3, 22.540_796_131_694_766]),
            ([116.377_817, 39.911_954], [116.384_047_224_556_57, 39.913_345_455_360_69]),
        ] {
            assert!(metres(shifted(wgs), gcj) < 0.01, "{wgs:?}");
            let back = Datum::Gcj02.to_wgs84(gcj).expect("in China");
            assert!(metres(back, wgs) < 0.01, "{gcj:?}");
        }
    }

    #[test]
    fn nothing_is_shifted_outside_china() {
        for place in [[2.35, 48.85], [117.8, -36.8], [f64::NAN, 36.8]] {
            assert_eq!(Datum::Gcj02.to_wgs84(place), None);
        }
        assert_eq!(Datum::Wgs84.to_wgs84([2.35, 48.85]), Some([2.35, 48.85]));
    }

    proptest! {
        #[test]
        fn there_and_back_is_the_same_place(lon in 73.0..137.0_f64, lat in 1.0..55.0_f64) {
            let shown = shifted([lon, lat]);
            let back = Datum::Gcj02.to_wgs84(shown).expect("it converges everywhere in China");
            prop_assert!(metres(back, [lon, lat]) < 1.0, "{back:?}");
            prop_assert!(metres(shown, [lon, lat]) < 1500.0, "the shift is some hundred metres");
        }
    }
}
