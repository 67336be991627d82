//! Where a device can be at all: what lies outside is no position but a filler, a swapped pair or a receiver's mistake.

/// A box of WGS-84 degrees, both ends included. The numbers are those of `schemas/terminal.toml`, `[place]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Area {
    pub min_lon: f64,
    pub max_lon: f64,
    pub min_lat: f64,
    pub max_lat: f64,
}

impl Area {
    /// Whether something can have been there. Zero is how many devices say that they do not know, so neither the equator
    /// nor the meridian of Greenwich is a place, however wide the box is.
    pub fn holds(&self, lon: f64, lat: f64) -> bool {
        lon != 0.0
            && lat != 0.0
            && (self.min_lon..=self.max_lon).contains(&lon)
            && (self.min_lat..=self.max_lat).contains(&lat)
    }

    /// The place that both together name, longitude first.
    pub fn place(&self, lon: Option<f64>, lat: Option<f64>) -> Option<[f64; 2]> {
        lon.zip(lat).filter(|&(lon, lat)| self.holds(lon, lat)).map(|(lon, lat)| [lon, lat])
    }

    /// What is wrong with a place that somebody wrote into a file; `None` where nothing is.
    pub fn fault(&self, lon: f64, lat: f64) -> Option<String> {
        let Self { min_lon, max_lon, min_lat, max_lat } = self;
        if self.holds(lon, lat) {
            return None;
        }
        if lon == 0.0 && lat == 0.0 {
            return Some("0, 0 stands for a place that nobody knows".to_owned());
        }
        let swapped = if self.holds(lat, lon) { "; longitude and latitude look swapped" } else { "" };
        Some(format!(
            "{lon}, {lat} is outside longitude {min_lon} to {max_lon}, latitude {min_lat} to {max_lat}{swapped}"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHINA: Area = Area { min_lon: 73.0, max_lon: 136.0, min_lat: 3.0, max_lat: 54.0 };

    #[test]
    fn zero_swapped_and_foreign_places_are_none() {
        assert!(CHINA.holds(117.87, 36.80) && CHINA.holds(73.0, 3.0) && CHINA.holds(136.0, 54.0));
        let world = Area { min_lon: -180.0, max_lon: 180.0, min_lat: -90.0, max_lat: 90.0 };
        for (lon, lat) in [(0.0, 0.0), (117.87, 0.0), (0.0, 36.8), (-0.0, 36.8)] {
            assert!(!CHINA.holds(lon, lat) && !world.holds(lon, lat), "{lon} {lat}");
        }
        for (lon, lat) in [(36.8, 117.87), (2.3, 48.8), (-117.87, 36.8), (f64::NAN, 36.8), (1e6, -9999.0)] {
            assert!(!CHINA.holds(lon, lat), "{lon} {lat}");
        }
        assert_eq!(CHINA.place(Some(117.87), None), None);
        assert_eq!(CHINA.place(Some(117.87), Some(36.8)), Some([117.87, 36.8]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        assert_eq!(CHINA.fault(117.87, 36.8), None);
        assert_eq!(CHINA.fault(0.0, 0.0).as_deref(), Some("0, 0 stands for a place that nobody knows"));
        let swapped = CHINA.fault(36.8, 117.87).expect("outside");
        assert_eq!(
            swapped,
            "36.8, 117.87 is outside longitude 73 to 136, latitude 3 to 54; longitude and latitude look swapped"
        );
        assert!(!CHINA.fault(2.3, 48.8).expect("outside").contains("swapped"));
    }
}
