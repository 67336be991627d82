//! What the rig measured: plausible for the vehicle, now and then over a limit or not valid.

use super::{
    PassageDetail, Seen,
    text::{number, text},
};
use crate::simulate::{
    dice::Dice,
    fleet::{Station, StationKind},
};

/// Numbers of one passage, scaled to integers as named.
pub(super) struct Measurement {
    lane: i64,
    speed_tenths: i64,
    acceleration_hundredths: i64,
    slope_tenths: i64,
    vsp_hundredths: i64,
    /// `None`: no plume was caught, so no gas was measured.
    gases: Option<Gases>,
    pub opacity_tenths: i64,
    wind_tenths: i64,
    temperature_tenths: i64,
    humidity: i64,
    pressure_tenths: i64,
    /// A camera measures blackness and nothing else.
    camera: bool,
}

struct Gases {
    co2_hundredths: i64,
    co_hundredths: i64,
    hc_ppm: i64,
    no_ppm: i64,
}

impl Measurement {
    pub fn throw(dice: &mut Dice, seen: &Seen, station: &Station) -> Self {
        // Four in a hundred measurements do not hold: no plume, creeping past, rolling, a gust of wind.
        let spoiled = dice.below(100);
        let speed_kmh = if spoiled == 1 { 6.0 } else { dice.bell(42.0, 9.0).clamp(15.0, 95.0) };
        let acceleration = if spoiled == 2 { -0.8 } else { dice.bell(0.35, 0.2).clamp(-0.1, 1.5) };
        let speed = speed_kmh / 3.6;
        let slope = f64::from(station.slope_deg);
        // Vehicle-specific power in SI form (Jimenez), kW/t.
        let vsp = speed * (1.1 * acceleration + 9.81 * slope.to_radians().sin() + 0.132) + 0.000_302 * speed.powi(3);
        let smokes = seen.dirty && dice.chance(0.7) || seen.diesel && dice.chance(0.008);
        let opacity = match (smokes, seen.diesel) {
            (true, _) => dice.bell(44.0, 9.0).clamp(31.0, 88.0),
            (false, true) => dice.bell(26.0 - 3.6 * f64::from(seen.stage), 4.0).clamp(0.3, 29.5),
            (false, false) => dice.bell(1.2, 0.7).max(-0.4),
        };
        let gases = (spoiled != 0 && station.kind != StationKind::BlackSmoke).then(|| Gases::throw(dice, seen, smokes));
        Self {
            lane: 1 + i64::from(dice.below(u32::from(station.lanes).max(1))),
            speed_tenths: scaled(speed_kmh, 10.0),
            acceleration_hundredths: scaled(acceleration, 100.0),
            slope_tenths: scaled(slope, 10.0),
            vsp_hundredths: scaled(vsp, 100.0),
            gases,
            opacity_tenths: scaled(opacity, 10.0),
            wind_tenths: if spoiled == 3 { 72 } else { scaled(dice.bell(2.1, 0.7).clamp(0.0, 4.8), 10.0) },
            temperature_tenths: scaled(dice.bell(14.0, 1.0), 10.0),
            humidity: scaled(dice.bell(52.0, 4.0), 1.0),
            pressure_tenths: scaled(dice.bell(101.1, 0.1), 10.0),
            camera: station.kind == StationKind::BlackSmoke,
        }
    }

    pub fn write(&self, detail: PassageDetail, out: &mut Vec<u8>) {
        number(out, b",\"lane\":", self.lane, 0);
        number(out, b",\"speed_kmh\":", self.speed_tenths, 1);
        number(out, b",\"acceleration_ms2\":", self.acceleration_hundredths, 2);
        number(out, b",\"slope_deg\":", self.slope_tenths, 1);
        number(out, b",\"vsp_kwt\":", self.vsp_hundredths, 2);
        if let Some(gases) = &self.gases {
            number(out, b",\"co2_pct\":", gases.co2_hundredths, 2);
            number(out, b",\"no_ppm\":", gases.no_ppm, 0);
            if detail == PassageDetail::Full {
                number(out, b",\"co_pct\":", gases.co_hundredths, 2);
                number(out, b",\"hc_ppm\":", gases.hc_ppm, 0);
            }
        }
        if !self.camera {
            number(out, b",\"opacity_pct\":", self.opacity_tenths, 1);
            if detail == PassageDetail::Full {
                // Beer-Lambert over the 0.43 m that opacity is stated for.
                let k = -(1.0 - self.opacity_tenths as f64 / 1000.0).ln() / 0.43;
                number(out, b",\"opacity_k_m1\":", scaled(k, 100.0), 2);
            }
        }
        // One Ringelmann level is a fifth of black.
        number(out, b",\"ringelmann\":", (self.opacity_tenths.max(0) + 60) / 200, 0);
        number(out, b",\"wind_speed_ms\":", self.wind_tenths, 1);
        number(out, b",\"temperature_c\":", self.temperature_tenths, 1);
        number(out, b",\"humidity_pct\":", self.humidity, 0);
        number(out, b",\"pressure_kpa\":", self.pressure_tenths, 1);
        out.extend_from_slice(b",\"precipitation\":false");
        if detail == PassageDetail::Full {
            let rig = match (&self.gases, self.opacity_tenths > 300) {
                (None, _) if !self.camera => "invalid",
                (_, true) => "over",
                _ => "pass",
            };
            text(out, b",\"rig_result\":\"", rig);
            out.push(b'"');
        }
    }
}

impl Gases {
    fn throw(dice: &mut Dice, seen: &Seen, smokes: bool) -> Self {
        if seen.electric {
            // Nothing but the noise of the instrument, of either sign.
            return Self {
                co2_hundredths: i64::from(dice.between(0, 2)),
                co_hundredths: i64::from(dice.between(-1, 1)),
                hc_ppm: i64::from(dice.between(-5, 5)),
                no_ppm: i64::from(dice.between(-12, 12)),
            };
        }
        let no = match (smokes && dice.chance(0.3), seen.diesel) {
            (true, _) => dice.bell(1900.0, 180.0).max(1510.0),
            (false, true) => dice.bell(1080.0 - 140.0 * f64::from(seen.stage), 160.0).clamp(-15.0, 1450.0),
            (false, false) => dice.bell(120.0, 80.0),
        };
        Self {
            co2_hundredths: scaled(dice.bell(11.2, 0.9), 100.0),
            co_hundredths: scaled(dice.bell(if seen.diesel { 0.05 } else { 0.2 }, 0.05), 100.0),
            hc_ppm: scaled(dice.bell(30.0, 12.0), 1.0),
            no_ppm: scaled(no, 1.0),
        }
    }
}

fn scaled(value: f64, scale: f64) -> i64 {
    (value * scale).round() as i64
}
