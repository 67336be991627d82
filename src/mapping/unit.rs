//! Units a foreign number may be in, as a line through ours.

/// `ours = foreign * factor + offset`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scale {
    pub factor: f64,
    pub offset: f64,
}

impl Scale {
    pub fn apply(self, foreign: f64) -> f64 {
        foreign * self.factor + self.offset
    }

    pub fn is_identity(self) -> bool {
        self == Scale { factor: 1.0, offset: 0.0 }
    }
}

const fn times(factor: f64) -> Scale {
    Scale { factor, offset: 0.0 }
}

const SAME: Scale = times(1.0);
/// m/s2, by definition.
const STANDARD_GRAVITY: f64 = 9.806_65;

/// Units known for a column of ours, ours first; empty where the column has no unit.
pub fn of_column(column: &str) -> &'static [(&'static str, Scale)] {
    match column {
        "plate_confidence" => const { &[("fraction", SAME), ("%", times(0.01))] },
        "longitude" | "latitude" => const { &[("deg", SAME)] },
        _ => match column.rsplit_once('_').map(|(_, unit)| unit) {
            Some("kmh") => const { &[("km/h", SAME), ("m/s", times(3.6))] },
            Some("ms2") => const { &[("m/s2", SAME), ("km/h/s", times(1.0 / 3.6)), ("g", times(STANDARD_GRAVITY))] },
            Some("deg") => const { &[("deg", SAME), ("rad", times(180.0 / std::f64::consts::PI))] },
            Some("kwt") => const { &[("kW/t", SAME)] },
            Some("pct") => {
                const { &[("%", SAME), ("fraction", times(100.0)), ("ppm", times(1e-4)), ("permille", times(0.1))] }
            }
            Some("ppm") => const { &[("ppm", SAME), ("1e-6", SAME), ("%", times(1e4)), ("fraction", times(1e6))] },
            Some("m1") => const { &[("1/m", SAME)] },
            Some("ms") => const { &[("m/s", SAME), ("km/h", times(1.0 / 3.6))] },
            Some("c") => const { &[("C", SAME), ("K", Scale { factor: 1.0, offset: -273.15 })] },
            Some("kpa") => const { &[("kPa", SAME), ("hPa", times(0.1)), ("mbar", times(0.1)), ("Pa", times(1e-3))] },
            Some("nm") => const { &[("Nm", SAME)] },
            _ => &[],
        },
    }
}
