//! The rows of one window, condensed. Pure: rows in any order, each perhaps several times, give the same facts.
//!
//! A record stands for the time to the next one of its window, at most `record.hold_seconds`; the last one stands for a
//! second. Of several records of one second only the one with the highest ordinal has a duration, so a second counts once.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    jumps::{Odometer, Position, Trace},
    record::{Packet, Record, Values},
};
use crate::{
    judge::{terminal::NOX_COLD_SENSOR_PPM, terminal_table::Thresholds},
    reading::Timestamp,
};

/// How long records of some kind were there, and between which two.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stretch {
    pub seconds: f64,
    pub from: Timestamp,
    pub to: Timestamp,
}

impl Stretch {
    fn of(at: Timestamp, seconds: f64) -> Self {
        Self { seconds, from: at, to: at }
    }

    /// Both together; the other is later.
    pub fn joined(self, later: Self) -> Self {
        Self { seconds: self.seconds + later.seconds, from: self.from, to: later.to }
    }
}

/// Sums over valid records, ppm times seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversion {
    pub over: Stretch,
    pub upstream: f64,
    pub downstream: f64,
}

/// Exhaust times NOx, ppm times kg, and work per reference torque, kWh/(N·m).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Specific {
    pub over: Stretch,
    pub nox_ppm_kg: f64,
    pub work_kwh_per_nm: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Range {
    pub min: f64,
    pub max: f64,
}

impl Range {
    fn of(value: f64) -> Self {
        Self { min: value, max: value }
    }

    pub fn joined(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    pub fn spread(self) -> f64 {
        self.max - self.min
    }

    pub fn is_zero(self) -> bool {
        self.min == 0.0 && self.max == 0.0
    }
}

/// The reagent's level while the engine works (`over`), and over every record with a level and a fuel flow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Level {
    pub over: Stretch,
    pub level: Range,
    pub burned_l: f64,
}

/// Pressure across the particle filter with the engine at speed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Filter {
    pub over: Stretch,
    pub pressure: Range,
    pub rpm: Range,
}

/// A watched channel and the state of the engine meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Watched {
    pub over: Stretch,
    pub value: Range,
    pub rpm: Range,
    pub torque: Range,
}

/// Channels whose value must move with the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    NoxUpstreamPpm,
    NoxDownstreamPpm,
    ScrInletC,
    ScrOutletC,
    DpfDpKpa,
}

impl Channel {
    pub const ALL: [Channel; 5] =
        [Self::NoxUpstreamPpm, Self::NoxDownstreamPpm, Self::ScrInletC, Self::ScrOutletC, Self::DpfDpKpa];

    pub const fn name(self) -> &'static str {
        match self {
            Self::NoxUpstreamPpm => "nox_upstream_ppm",
            Self::NoxDownstreamPpm => "nox_downstream_ppm",
            Self::ScrInletC => "scr_inlet_c",
            Self::ScrOutletC => "scr_outlet_c",
            Self::DpfDpKpa => "dpf_dp_kpa",
        }
    }
}

/// Parts that not every vehicle has and whose channels showed anything but the zero that a missing part sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parts {
    /// A particle filter: some pressure across it.
    pub filter: bool,
    /// A tank of reagent: some level in it.
    pub reagent: bool,
}

impl Parts {
    /// Known to one or the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { filter: self.filter || other.filter, reagent: self.reagent || other.reagent }
    }
}

/// Packets by the time they say they were sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Packets {
    pub seen: u32,
    pub live: u32,
    pub first: Timestamp,
    pub last: Timestamp,
    /// Time between packets of this window that followed each other closely.
    pub online_seconds: f64,
    /// Arrival after sending, seconds, of live packets.
    pub lateness: Option<Range>,
    /// Serials of live packets, in the order of sending.
    pub serials: Vec<u16>,
    /// Serials of packets sent again.
    pub resent: Vec<u16>,
}

/// Everything a day needs to know of a window.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    /// Rows the facts were made of.
    pub records: u32,
    pub over: Option<Stretch>,
    pub conversion: Option<Conversion>,
    pub specific: Option<Specific>,
    /// With the engine working.
    pub reagent: Option<Level>,
    /// Whenever level and fuel flow are known.
    pub burning: Option<Level>,
    pub filter: Option<Filter>,
    pub watched: BTreeMap<Channel, Watched>,
    #[serde(default)]
    pub parts: Parts,
    pub odometer: Option<Trace<Odometer>>,
    pub position: Option<Trace<Position>>,
    pub packets: Option<Packets>,
    /// Windows in which the packets were sent that brought the records: where their raw bytes are.
    pub sent_in: BTreeSet<Timestamp>,
    /// Times of readings and packets between two whole seconds: where to find them again.
    pub instants: BTreeSet<Timestamp>,
}

impl Facts {
    /// The facts of a window's rows.
    pub fn of(records: &[Record], packets: &[Packet], numbers: &Thresholds) -> Self {
        let mut records = records.to_vec();
        records.sort_by_key(|record| (record.at, record.ordinal));
        records.dedup_by_key(|record| (record.at, record.ordinal));
        let mut facts = Facts { records: records.len() as u32, ..Facts::default() };
        for (place, record) in records.iter().enumerate() {
            let seconds = match records.get(place + 1) {
                Some(next) => (next.at.micros_since(record.at) as f64 / 1e6).min(numbers.record.hold_seconds),
                None => 1.0,
            };
            facts.note(record, seconds, numbers);
        }
        facts.packets = Packets::of(packets, numbers.packet_loss.online_gap_seconds);
        facts
    }

    /// These facts, made again, where the same window was condensed before. Rows are only ever added, except by retention,
    /// so what was made of more rows stands.
    #[must_use]
    pub fn or_kept(self, before: Facts) -> Facts {
        let seen = |facts: &Facts| facts.packets.as_ref().map_or(0, |packets| packets.seen);
        let packets = if seen(&self) < seen(&before) { before.packets.clone() } else { self.packets.clone() };
        let sent_in = &self.sent_in | &before.sent_in;
        let instants = &self.instants | &before.instants;
        let records = if self.records < before.records { before } else { self };
        Facts { packets, sent_in, instants, ..records }
    }

    pub fn is_empty(&self) -> bool {
        self.records == 0 && self.packets.is_none()
    }

    fn note(&mut self, record: &Record, seconds: f64, numbers: &Thresholds) {
        let (at, values) = (record.at, &record.values);
        let over = Stretch::of(at, seconds);
        join(&mut self.over, over, Stretch::joined);
        let working = values.engine_rpm.is_some_and(|rpm| rpm > numbers.record.above_rpm);
        let warm = working && values.coolant_c.is_some_and(|c| c >= numbers.record.min_coolant_c);
        let converting = warm && values.scr_inlet_c.is_some_and(|c| c >= numbers.record.min_scr_inlet_c);
        if let (true, Some(upstream), Some(downstream)) =
            (converting, measuring(values.nox_upstream_ppm), measuring(values.nox_downstream_ppm))
        {
            if upstream >= numbers.scr_efficiency.min_upstream_ppm {
                let new = Conversion { over, upstream: upstream * seconds, downstream: downstream * seconds };
                join(&mut self.conversion, new, |a, b| Conversion {
                    over: a.over.joined(b.over),
                    upstream: a.upstream + b.upstream,
                    downstream: a.downstream + b.downstream,
                });
            }
            if let Some(new) = specific(over, values, downstream, numbers) {
                join(&mut self.specific, new, |a, b| Specific {
                    over: a.over.joined(b.over),
                    nox_ppm_kg: a.nox_ppm_kg + b.nox_ppm_kg,
                    work_kwh_per_nm: a.work_kwh_per_nm + b.work_kwh_per_nm,
                });
            }
        }
        if let Some(level) = values.reagent_pct {
            let burned_l = values.fuel_flow_lph.unwrap_or(0.0) * seconds / 3600.0;
            let new = Level { over, level: Range::of(level), burned_l };
            if working {
                join(&mut self.reagent, new, Level::joined);
            }
            if values.fuel_flow_lph.is_some() {
                join(&mut self.burning, new, Level::joined);
            }
        }
        if let (Some(rpm), Some(pressure)) =
            (values.engine_rpm.filter(|rpm| *rpm > numbers.dpf_pressure.above_rpm), values.dpf_dp_kpa)
        {
            let new = Filter { over, pressure: Range::of(pressure), rpm: Range::of(rpm) };
            join(&mut self.filter, new, |a, b| Filter {
                over: a.over.joined(b.over),
                pressure: a.pressure.joined(b.pressure),
                rpm: a.rpm.joined(b.rpm),
            });
        }
        if let (true, Some(rpm), Some(torque)) = (warm, values.engine_rpm, values.net_torque_pct) {
            for channel in Channel::ALL {
                let value = match channel {
                    Channel::NoxUpstreamPpm => measuring(values.nox_upstream_ppm).filter(|_| converting),
                    Channel::NoxDownstreamPpm => measuring(values.nox_downstream_ppm).filter(|_| converting),
                    Channel::ScrInletC => values.scr_inlet_c,
                    Channel::ScrOutletC => values.scr_outlet_c,
                    Channel::DpfDpKpa => values.dpf_dp_kpa,
                };
                let Some(value) = value else { continue };
                let new = Watched { over, value: Range::of(value), rpm: Range::of(rpm), torque: Range::of(torque) };
                self.watched.entry(channel).and_modify(|known| *known = known.joined(new)).or_insert(new);
            }
        }
        let shows = |value: Option<f64>| value.is_some_and(|value| value > 0.0);
        self.parts = self.parts.or(Parts { filter: shows(values.dpf_dp_kpa), reagent: shows(values.reagent_pct) });
        // Zero is sent while the distance is not known, and a new vehicle's first kilometres begin close to it.
        if let Some(km) = values.odometer_km.filter(|km| *km > 0.0) {
            Trace::note(&mut self.odometer, at, Odometer(km), numbers);
        }
        if let Some([lon, lat]) = values.position {
            Trace::note(&mut self.position, at, Position { lon, lat }, numbers);
        }
    }
}

fn join<T: Copy>(known: &mut Option<T>, new: T, joined: impl FnOnce(T, T) -> T) {
    *known = Some(known.map_or(new, |known| joined(known, new)));
}

/// A cold sensor sends raw 0: legal as encoded and no measurement.
fn measuring(ppm: Option<f64>) -> Option<f64> {
    ppm.filter(|&ppm| ppm > f64::from(NOX_COLD_SENSOR_PPM))
}

/// Mass and work of one record (DOMAIN A.13): exhaust = air + fuel, power = torque x speed / 9549.
fn specific(over: Stretch, values: &Values, ppm: f64, numbers: &Thresholds) -> Option<Specific> {
    let (net, friction) = (values.net_torque_pct?, values.friction_torque_pct?);
    // An engine at work takes in air: zero is a sensor that does not say how much.
    let intake_air_kgph = values.intake_air_kgph.filter(|kgph| *kgph > 0.0)?;
    let exhaust_kgph = intake_air_kgph + values.fuel_flow_lph? * numbers.nox_specific.fuel_kg_per_l;
    let hours = over.seconds / 3600.0;
    // An engine that is driven by the vehicle does no work; its exhaust still counts.
    let kw_per_nm = ((net - friction) / 100.0 * values.engine_rpm? / 9549.0).max(0.0);
    Some(Specific { over, nox_ppm_kg: ppm * exhaust_kgph * hours, work_kwh_per_nm: kw_per_nm * hours })
}

impl Level {
    pub fn joined(self, later: Self) -> Self {
        Self {
            over: self.over.joined(later.over),
            level: self.level.joined(later.level),
            burned_l: self.burned_l + later.burned_l,
        }
    }
}

impl Watched {
    pub fn joined(self, later: Self) -> Self {
        Self {
            over: self.over.joined(later.over),
            value: self.value.joined(later.value),
            rpm: self.rpm.joined(later.rpm),
            torque: self.torque.joined(later.torque),
        }
    }
}

impl Packets {
    fn of(packets: &[Packet], online_gap_seconds: f64) -> Option<Self> {
        let mut packets = packets.to_vec();
        packets.sort_by_key(|packet| (packet.sent_at, packet.serial, packet.digest));
        packets.dedup_by_key(|packet| (packet.sent_at, packet.serial, packet.digest));
        let (first, last) = (packets.first()?.sent_at, packets.last()?.sent_at);
        let gaps = packets.windows(2).filter_map(|pair| Some(pair.last()?.sent_at.micros_since(pair.first()?.sent_at)));
        let live = packets.iter().filter(|packet| packet.live);
        let mut lateness = None;
        for packet in live.clone() {
            let late = Range::of(packet.received_at.micros_since(packet.sent_at) as f64 / 1e6);
            join(&mut lateness, late, Range::joined);
        }
        Some(Self {
            seen: packets.len() as u32,
            live: live.clone().count() as u32,
            first,
            last,
            online_seconds: gaps.map(|micros| micros as f64 / 1e6).filter(|gap| *gap <= online_gap_seconds).sum(),
            lateness,
            serials: live.filter_map(|packet| packet.serial).collect(),
            resent: packets.iter().filter(|packet| !packet.live).filter_map(|packet| packet.serial).collect(),
        })
    }
}
