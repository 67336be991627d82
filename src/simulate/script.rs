//! What the fleet says, in order: an endless sequence of messages that depends only on seed, start, rate, mix and scenario.
//!
//! Message `n` belongs to the instant `start + n / rate`, whenever it is really sent, so two runs of one script differ in
//! nothing but the ledger's times. Devices are as many as the rate keeps busy at their natural cadence: a terminal that
//! sent ten seconds of data every second would collect in the future.

use std::{cmp::Reverse, collections::BinaryHeap, sync::Arc};

use bytes::Bytes;

use super::{
    dice::Dice,
    fleet::{Fleet, FleetSize},
    message::{Expectation, Kind, Message},
    mix::{Dealer, Mix, Source},
    passage::{PassageDetail, PassageMaker},
    scenario::{BadKind, Scenario},
    spoil,
    terminal::{MachineState, RetrofitState, TerminalState},
};
use crate::reading::Timestamp;

/// Seconds between two messages of one terminal, retrofit terminal or machine. Ten one-second records per packet is what
/// road terminals do (DOMAIN A.5); machines and retrofits would send once a minute, but a demo should move.
pub const CADENCE_SECONDS: u32 = 10;
/// A registered vehicle does not pass again sooner than this, so that no two passages fall under "same passage".
const REAPPEARS_AFTER_SECONDS: f64 = 75.0;
/// From how many earlier messages a duplicate is taken.
const REMEMBERED: usize = 64;

const FAMILY: u64 = 20;

/// What a script is made of.
#[derive(Clone, Debug)]
pub struct ScriptOptions {
    pub fleet: Arc<Fleet>,
    /// Names the run in record ids; two runs into one store need two names.
    pub run: Box<str>,
    /// Messages a second.
    pub rate: f64,
    pub start: Timestamp,
    pub mix: Mix,
    pub scenario: Scenario,
    pub detail: PassageDetail,
}

/// See the module.
pub struct Script {
    options: ScriptOptions,
    dice: Dice,
    dealer: Dealer,
    number: u64,
    passages: PassageMaker,
    next_passage: u64,
    remembered: Vec<Message>,
    held: BinaryHeap<Reverse<Held>>,
    next_bad: usize,
    /// Devices that the rate keeps busy, each with its turn.
    terminals: Turns<TerminalState>,
    retrofits: Turns<RetrofitState>,
    machines: Turns<MachineState>,
}

/// Devices that speak one after the other.
struct Turns<T> {
    states: Vec<T>,
    next: usize,
}

impl<T> Turns<T> {
    fn new(states: impl Iterator<Item = T>) -> Self {
        Self { states: states.collect(), next: 0 }
    }

    /// The device whose turn it is, with its index.
    fn turn(&mut self) -> Option<(usize, &mut T)> {
        let index = self.next;
        self.next = (index + 1) % self.states.len().max(1);
        Some((index, self.states.get_mut(index)?))
    }
}

/// A message that waits for its number.
struct Held {
    due: u64,
    message: Message,
}

impl Script {
    pub fn new(options: ScriptOptions) -> Self {
        let passages_per_second = options.rate * options.mix.share(Source::RemoteSensing);
        let cycle =
            (options.fleet.vehicles.len() as u64 * 2).max((passages_per_second * REAPPEARS_AFTER_SECONDS) as u64);
        let passages = PassageMaker::new(Arc::clone(&options.fleet), &options.run, cycle, options.detail);
        Self {
            dice: Dice::of(options.fleet.seed, FAMILY, 0),
            dealer: Dealer::new(options.mix),
            number: 0,
            passages,
            next_passage: 0,
            remembered: Vec::new(),
            held: BinaryHeap::new(),
            next_bad: 0,
            terminals: Turns::new(
                busy(&options, Source::Obd, &options.fleet.terminals)
                    .map(|(index, terminal)| TerminalState::new(options.fleet.seed, index, terminal)),
            ),
            retrofits: Turns::new(
                busy(&options, Source::Retrofit, &options.fleet.retrofits)
                    .map(|(index, retrofit)| RetrofitState::new(options.fleet.seed, index, retrofit)),
            ),
            machines: Turns::new(
                busy(&options, Source::Nonroad, &options.fleet.machines)
                    .map(|(index, _)| MachineState::new(options.fleet.seed, index)),
            ),
            options,
        }
    }

    /// How large a fleet `rate` and `mix` keep busy; never smaller than the demo's.
    pub fn fleet_size(rate: f64, mix: &Mix) -> FleetSize {
        let devices = |source: Source| busy_devices(rate, mix, source);
        let least = FleetSize::DEMO;
        FleetSize {
            vehicles: least.vehicles,
            stations: least.stations,
            terminals: devices(Source::Obd).max(least.terminals),
            retrofits: devices(Source::Retrofit).max(least.retrofits),
            machines: devices(Source::Nonroad).max(least.machines),
        }
    }

    /// The next message.
    pub fn next_message(&mut self) -> Message {
        self.number += 1;
        if let Some(Reverse(held)) = self.held.peek()
            && held.due <= self.number
            && let Some(Reverse(held)) = self.held.pop()
        {
            return held.message;
        }
        if !self.remembered.is_empty() && self.dice.chance(self.options.scenario.duplicates) {
            let mut again = self.dice.pick(&self.remembered).clone();
            again.expect.duplicate = true;
            return again;
        }
        let at = self.now();
        let message = match self.dealer.deal() {
            Source::RemoteSensing => self.passage_message(at),
            source => self.device_message(source, at),
        };
        if message.expect.kind != Kind::Bad && self.options.scenario.duplicates > 0.0 {
            self.remember(&message);
        }
        message
    }

    /// The instant of the current message.
    fn now(&self) -> Timestamp {
        let micros = (self.number as f64 / self.options.rate * 1e6) as i64;
        Timestamp::from_micros(self.options.start.micros() + micros)
    }

    fn remember(&mut self, message: &Message) {
        if self.remembered.len() < REMEMBERED {
            self.remembered.push(message.clone());
        } else {
            let place = self.number as usize % REMEMBERED;
            self.remembered[place] = message.clone();
        }
    }

    /// The kind of the next bad message, in turn.
    fn bad_kind(&mut self, frame: bool) -> Option<BadKind> {
        let scenario = &self.options.scenario;
        let kinds = || scenario.bad_kinds.iter().filter(|kind| kind.is_frame() == frame);
        if kinds().next().is_none() || !self.dice.chance(scenario.bad) {
            return None;
        }
        self.next_bad += 1;
        kinds().cycle().nth(self.next_bad % kinds().count()).copied()
    }

    fn passage_message(&mut self, at: Timestamp) -> Message {
        let scenario = &self.options.scenario;
        let at = match self.dice.chance(scenario.late) {
            true => at.plus_seconds(-i64::from(self.dice.between(60, 3600))),
            false => at,
        };
        if self.dice.chance(scenario.arrays) {
            return self.array_message(at);
        }
        let unknown = self.dice.chance(scenario.unknown);
        let bad = self.bad_kind(false);
        let (id, station, mut payload) = self.passage(at);
        if let Some(kind) = bad {
            payload = spoil::passage(payload, kind, &self.options.scenario);
        }
        let station_id = match (unknown, self.options.fleet.stations.get(station)) {
            (false, Some(station)) => station.id.as_str(),
            _ => {
                payload = spoil::of_unknown_station(payload);
                spoil::UNKNOWN_STATION
            }
        };
        Message {
            topic: format!("dw/v1/rs/{station_id}/passage").into(),
            payload: Bytes::from(payload),
            id: id.into(),
            expect: bad.map_or(Expectation::good(Kind::Passage, 1), |kind| Expectation::bad(kind.reason())),
            device: station as u32,
        }
    }

    /// Several passages of one station in one message; one of them may be bad.
    fn array_message(&mut self, at: Timestamp) -> Message {
        let count = self.dice.between(2, 20) as usize;
        let bad = self.bad_kind(false).filter(|kind| kind.leaves_an_element());
        let mut records: Vec<Box<str>> = Vec::with_capacity(count);
        let mut payload = vec![b'['];
        let mut station = None;
        while records.len() < count {
            let (id, of, mut element) = self.passage(at);
            if *station.get_or_insert(of) != of {
                // Another station's passage; the index is spent, the array is of one station.
                continue;
            }
            if let (Some(kind), 1) = (bad, records.len()) {
                element = spoil::passage(element, kind, &self.options.scenario);
            }
            if !records.is_empty() {
                payload.push(b',');
            }
            payload.append(&mut element);
            records.push(id.into());
        }
        payload.push(b']');
        let spoilt = bad.map(|_| records.remove(1));
        let station = station.unwrap_or_default();
        let station_id = self.options.fleet.stations.get(station).map_or(spoil::UNKNOWN_STATION, |s| s.id.as_str());
        Message {
            topic: format!("dw/v1/rs/{station_id}/passage").into(),
            payload: Bytes::from(payload),
            id: records.first().cloned().unwrap_or_default(),
            expect: Expectation {
                quarantined: spoilt.is_some().into(),
                reason: bad.map(BadKind::reason),
                readings: records.len() as u32,
                records,
                ..Expectation::good(Kind::Passage, 0)
            },
            device: station as u32,
        }
    }

    fn device_message(&mut self, source: Source, at: Timestamp) -> Message {
        let scenario = &self.options.scenario;
        let late = self.dice.chance(scenario.late);
        let alarm = source == Source::Obd && self.dice.chance(scenario.removal_alarms);
        let unknown = self.dice.chance(scenario.unknown);
        let fleet = Arc::clone(&self.options.fleet);
        let made = match source {
            Source::Obd => self.terminals.turn().and_then(|(index, state)| {
                let terminal = fleet.terminals.get(index)?;
                let sent = alarm.then(|| state.removal_alarm(terminal, at)).flatten();
                let sent = sent.unwrap_or_else(|| state.send(terminal, at, late));
                Some((index, terminal.id.as_str(), sent))
            }),
            Source::Retrofit => self.retrofits.turn().and_then(|(index, state)| {
                let retrofit = fleet.retrofits.get(index)?;
                Some((index, retrofit.id.as_str(), state.send(retrofit, at, late)))
            }),
            Source::Nonroad => self.machines.turn().and_then(|(index, state)| {
                let machine = fleet.machines.get(index)?;
                Some((index, machine.id.as_str(), state.send(machine, at, late)))
            }),
            Source::RemoteSensing => None,
        };
        // A fleet without devices of this kind lets the stations speak instead.
        let Some((index, device, sent)) = made else { return self.passage_message(at) };
        let bad = if sent.json { None } else { self.bad_kind(true) };
        let (id, payload) = match unknown && !sent.json {
            true => spoil::of_unknown_device(&sent.id, device, sent.payload),
            false => (sent.id, sent.payload),
        };
        let topic_device = id.split(':').next().unwrap_or_default();
        let kind = if sent.json { Kind::Reading } else { Kind::Frame };
        let message = Message {
            topic: format!("dw/v1/{}/{topic_device}/frame", source.topic()).into(),
            payload: match bad {
                Some(kind) => spoil::frame(payload.to_vec(), kind).into(),
                None => payload,
            },
            expect: bad.map_or(Expectation::good(kind, sent.readings), |kind| Expectation::bad(kind.reason())),
            id,
            device: index as u32,
        };
        if !late {
            return message;
        }
        // Sent once it is online again; until then somebody else speaks.
        let delay_seconds = f64::from(self.dice.between(20, 90));
        let due = self.number + (delay_seconds * self.options.rate) as u64;
        self.held.push(Reverse(Held { due, message }));
        self.passage_message(at)
    }

    /// The next passage: record id, station, bytes.
    fn passage(&mut self, at: Timestamp) -> (String, usize, Vec<u8>) {
        let index = self.next_passage;
        self.next_passage += 1;
        let mut payload = Vec::with_capacity(768);
        let station = self.passages.write(index, at, &mut payload);
        (self.passages.record_id(index), station, payload)
    }
}

/// Devices of a kind that the rate keeps busy at their cadence.
fn busy_devices(rate: f64, mix: &Mix, source: Source) -> u32 {
    (rate * mix.share(source) * f64::from(CADENCE_SECONDS)).ceil() as u32
}

/// Those of the fleet's devices, with their index.
fn busy<'a, T>(options: &ScriptOptions, source: Source, devices: &'a [T]) -> impl Iterator<Item = (u32, &'a T)> {
    (0..busy_devices(options.rate, &options.mix, source)).zip(devices)
}

/// Status topics of the devices that this mix lets speak, with the number that decides their connection.
pub(super) fn status_topics(fleet: &Fleet, mix: &Mix) -> Vec<(u32, Box<str>)> {
    let mut topics = Vec::new();
    for source in Source::ALL.into_iter().filter(|source| mix.share(*source) > 0.0) {
        let ids: Vec<&str> = match source {
            Source::RemoteSensing => fleet.stations.iter().map(|station| station.id.as_str()).collect(),
            Source::Obd => fleet.terminals.iter().map(|terminal| terminal.id.as_str()).collect(),
            Source::Nonroad => fleet.machines.iter().map(|machine| machine.id.as_str()).collect(),
            Source::Retrofit => fleet.retrofits.iter().map(|retrofit| retrofit.id.as_str()).collect(),
        };
        let topic = |id: &&str| format!("dw/v1/{}/{id}/status", source.topic()).into();
        topics.extend(ids.iter().enumerate().map(|(index, id)| (index as u32, topic(id))));
    }
    topics
}

impl PartialEq for Held {
    fn eq(&self, other: &Self) -> bool {
        self.due == other.due
    }
}

impl Eq for Held {}

impl PartialOrd for Held {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Held {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.due.cmp(&other.due)
    }
}

#[cfg(test)]
mod tests;
