//! A diesel engine and the truck round it, second by second: plausible, not accurate.
//!
//! Speeds follow targets that last a while; torque follows speed and acceleration; everything else follows torque. What
//! matters for the rules is right: a warm engine cruising with a working catalyst emits well under 500 ppm of NOx, one
//! that is tampered with stays over it for minutes, and a cold one reports the sensor's cold value.

use super::{dice::Dice, fleet::geography};
use crate::decode::{Channel, Position, PositionReading, Stream, StreamChannels};

/// NOx sensors send raw zero, -200 ppm, until they are warm.
const COLD_SENSOR_PPM: f64 = -200.0;
/// Catalyst temperature from which reagent is injected, °C.
const LIGHT_OFF_C: f64 = 230.0;

/// State of one engine.
#[derive(Clone, Debug)]
pub(super) struct Engine {
    dice: Dice,
    road: usize,
    tampered: bool,
    /// Seconds until the driver changes his mind.
    steady: u32,
    target_kmh: f64,
    speed_kmh: f64,
    coolant_c: f64,
    catalyst_c: f64,
    reagent_pct: f64,
    tank_pct: f64,
    odometer_m: f64,
}

impl Engine {
    pub fn new(mut dice: Dice, road: usize, tampered: bool) -> Self {
        Self {
            road,
            tampered,
            steady: 0,
            target_kmh: 60.0,
            speed_kmh: dice.bell(50.0, 10.0).clamp(20.0, 80.0),
            // Most are warm when the simulation begins; one in six was just started.
            coolant_c: if dice.chance(0.17) { 35.0 } else { 82.0 },
            catalyst_c: 270.0,
            reagent_pct: dice.bell(55.0, 20.0).clamp(9.0, 98.0),
            tank_pct: dice.bell(60.0, 15.0).clamp(15.0, 98.0),
            odometer_m: f64::from(dice.below(600_000)) * 1000.0,
            dice,
        }
    }

    /// Drives on for one second and reports it.
    pub fn second(&mut self) -> Stream {
        self.choose_target();
        let wish = (self.target_kmh - self.speed_kmh) * 0.12;
        let acceleration = (wish + self.dice.bell(0.0, 0.15)).clamp(-4.5, 2.6);
        self.speed_kmh = (self.speed_kmh + acceleration).clamp(0.0, 95.0);
        self.odometer_m += self.speed_kmh / 3.6;
        let moving = self.speed_kmh > 2.0;
        let rpm = if moving { 950.0 + 36.0 * (self.speed_kmh % 24.0) } else { 650.0 } + self.dice.bell(0.0, 6.0);
        let torque = if moving { 20.0 + 0.42 * self.speed_kmh + 14.0 * acceleration } else { 7.0 }.clamp(0.0, 100.0);
        self.coolant_c += (86.0 - self.coolant_c) * 0.01;
        self.catalyst_c += (205.0 + 2.4 * torque - self.catalyst_c) * 0.03;
        let fuel_lph = 2.2 + torque * rpm / 3600.0;
        self.tank_pct = refilled(self.tank_pct - fuel_lph / 3600.0 / 4.0, 5.0);
        self.reagent_pct = refilled(self.reagent_pct - fuel_lph / 3600.0 / 20.0, 6.0);

        let (upstream, downstream) = self.nox(torque);
        let (lon, lat) = geography::along_road(self.road, self.odometer_m);
        let channels = StreamChannels {
            speed_kmh: Channel::number(self.speed_kmh),
            barometric_kpa: Channel::number(101.0),
            net_torque_pct: Channel::number(torque.round()),
            friction_torque_pct: Channel::number(9.0),
            engine_rpm: Channel::number(rpm),
            fuel_flow_lph: Channel::number(fuel_lph),
            nox_upstream_ppm: Channel::number(upstream),
            nox_downstream_ppm: Channel::number(downstream),
            reagent_pct: Channel::number(self.reagent_pct),
            intake_air_kgph: Channel::number(110.0 + rpm * 0.22 + torque * 3.1),
            scr_inlet_c: Channel::number(self.catalyst_c),
            scr_outlet_c: Channel::number(self.catalyst_c - 9.0),
            dpf_dp_kpa: Channel::number(0.6 + torque * 0.07),
            coolant_c: Channel::number(self.coolant_c.round()),
            fuel_tank_pct: Channel::number(self.tank_pct),
            odometer_km: Channel::number(self.odometer_m / 1000.0),
            ..StreamChannels::default()
        };
        // A tunnel now and then: the last fix is repeated as not valid.
        let valid = !self.dice.chance(0.004);
        Stream { channels, position: PositionReading::Known(Position { valid, lon, lat }), work_state: None }
    }

    fn choose_target(&mut self) {
        if self.steady > 0 {
            self.steady -= 1;
            return;
        }
        // Long steady stretches with a broken catalyst, so that its over-limit runs are long enough to count.
        let (idle, least, longest) = if self.tampered { (0.03, 240, 480) } else { (0.15, 25, 180) };
        let idles = self.dice.chance(idle);
        self.target_kmh =
            if idles { 0.0 } else { f64::from(self.dice.between(if self.tampered { 52 } else { 28 }, 82)) };
        self.steady = self.dice.between(least, longest) as u32 / if idles { 4 } else { 1 };
    }

    fn nox(&mut self, torque: f64) -> (f64, f64) {
        if self.coolant_c < 55.0 {
            return (COLD_SENSOR_PPM, COLD_SENSOR_PPM);
        }
        let upstream = 210.0 + 11.5 * torque + self.dice.bell(0.0, 18.0);
        let passes = match (self.tampered, self.catalyst_c > LIGHT_OFF_C) {
            (true, _) => 0.97,
            (false, true) => 0.09,
            (false, false) => 0.55,
        };
        (upstream, upstream * passes + self.dice.bell(0.0, 4.0))
    }
}

/// A level that is filled up when it falls to `least`, %.
fn refilled(level_pct: f64, least: f64) -> f64 {
    if level_pct < least { 96.0 } else { level_pct }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn longest_run_over_500_ppm(tampered: bool) -> u32 {
        let (mut run, mut longest) = (0, 0);
        let mut engine = Engine::new(Dice::new(11), 0, tampered);
        for _ in 0..3600 {
            let channels = engine.second().channels;
            let value = |channel: Channel| channel.value().expect("the engine has all its sensors");
            assert!((0.0..=95.0).contains(&value(channels.speed_kmh)));
            assert!((600.0..=2000.0).contains(&value(channels.engine_rpm)));
            assert!((30.0..=110.0).contains(&value(channels.coolant_c)));
            assert!((0.0..=100.0).contains(&value(channels.reagent_pct)));
            let counts = value(channels.nox_downstream_ppm) > 500.0
                && value(channels.engine_rpm) >= 900.0
                && value(channels.coolant_c) >= 70.0
                && value(channels.scr_inlet_c) >= 250.0;
            run = if counts { run + 1 } else { 0 };
            longest = longest.max(run);
        }
        longest
    }

    /// 180 s are what makes an episode by default.
    #[test]
    fn only_a_tampered_engine_stays_over_the_limit() {
        assert!(longest_run_over_500_ppm(true) > 180);
        assert_eq!(longest_run_over_500_ppm(false), 0);
    }
}
