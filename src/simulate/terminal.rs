//! What heavy-duty terminals send, and what their kin have in common with them.
//!
//! A terminal's packets cover its seconds without gap or overlap: each begins where the last ended. So no second is ever
//! sent with two contents, whatever the rate, and a run over a limit is one run in the tables.

mod json_reading;
mod machine;
mod retrofit;

use bytes::Bytes;

use super::{
    dice::Dice,
    engine::Engine,
    fleet::{Terminal, TerminalProtocol, geography},
    message::frame_id,
};
use crate::{
    config::Protocol,
    decode::{
        Body, Channel, Command, DiagnosisProtocol, Dtcs, Layout, Mil, Obd, ObdDetail, Position, PositionReading,
        Supplement, Text,
        encode::{self, Entry, Envelope, RealtimeUnit},
    },
    reading::Timestamp,
};

pub(super) use machine::MachineState;
pub(super) use retrofit::RetrofitState;

/// One-second records in a packet of a road terminal.
const RECORDS: i64 = 10;
/// Diagnosis every 120 s, supplementary stream every 60 s (DOMAIN A.11), in packets of ten seconds.
const DIAGNOSIS_EVERY: u32 = 12;
const SUPPLEMENT_EVERY: u32 = 6;
/// A device that fell further behind than this leaves a gap and goes on with the present, seconds.
const LONGEST_LAG: i64 = 60;
/// Serials restart every day and end here (DOMAIN A.4).
const LAST_SERIAL: u16 = 65_531;

const FAMILY_ENGINE: u64 = 30;
const FAMILY_TRIP: u64 = 31;

/// A payload of a device.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub payload: Bytes,
    pub id: Box<str>,
    /// Items that become readings.
    pub readings: u32,
    /// JSON instead of a frame.
    pub json: bool,
}

/// Which seconds a device has already told of.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    /// First second not yet sent, seconds since 1970; 0 before the first packet.
    next: i64,
    day: i64,
    serial: u16,
}

impl Clock {
    /// The next span of `seconds` that ends about at `at`, and its serial.
    fn advance(&mut self, at: Timestamp, seconds: i64) -> (Timestamp, u16) {
        let now = at.micros().div_euclid(1_000_000);
        if self.next + seconds + LONGEST_LAG < now {
            self.next = now - seconds + 1;
        }
        let first = self.next;
        self.next += seconds;
        (Timestamp::from_micros(first * 1_000_000), self.serial(first))
    }

    fn serial(&mut self, second: i64) -> u16 {
        let day = (second + i64::from(crate::reading::time::CHINA_OFFSET_SECONDS)).div_euclid(86_400);
        self.serial = if day != self.day || self.serial == LAST_SERIAL { 1 } else { self.serial + 1 };
        self.day = day;
        self.serial
    }
}

/// A heavy-duty terminal at work: login, packets, logout, and again.
#[derive(Clone, Debug)]
pub(super) struct TerminalState {
    engine: Engine,
    trip: Dice,
    clock: Clock,
    logins: u16,
    packets: u32,
    /// Packets until logout; `None` while logged out.
    left: Option<u32>,
}

impl TerminalState {
    pub fn new(seed: u64, index: u32, terminal: &Terminal) -> Self {
        let engine = Dice::of(seed, FAMILY_ENGINE, u64::from(index));
        Self {
            engine: Engine::new(engine, terminal.road, terminal.tampered),
            trip: Dice::of(seed, FAMILY_TRIP, u64::from(index)),
            clock: Clock::default(),
            logins: 0,
            packets: 0,
            left: None,
        }
    }

    /// What it sends at `at`; `resend` marks data as collected while offline.
    pub fn send(&mut self, terminal: &Terminal, at: Timestamp, resend: bool) -> Sent {
        match self.left {
            None => self.login(terminal, at),
            Some(0) => self.logout(terminal, at),
            Some(left) => {
                self.left = Some(left - 1);
                self.packet(terminal, at, resend)
            }
        }
    }

    fn login(&mut self, terminal: &Terminal, at: Timestamp) -> Sent {
        // Trips of 7 to 50 minutes.
        self.left = Some(self.trip.between(40, 300) as u32);
        self.logins = self.logins % LAST_SERIAL + 1;
        let iccid = format!("8986{:016}", self.trip.word() % 10_u64.pow(16));
        let at = whole_second(at);
        frame(terminal, Command::Login, &encode::login(Some(at), self.logins, &iccid, &[]), at, self.logins, 0)
    }

    fn logout(&mut self, terminal: &Terminal, at: Timestamp) -> Sent {
        self.left = None;
        let at = whole_second(at);
        frame(terminal, Command::Logout, &encode::logout(Some(at), self.logins), at, self.logins, 0)
    }

    fn packet(&mut self, terminal: &Terminal, at: Timestamp, resend: bool) -> Sent {
        let (first, serial) = self.clock.advance(at, RECORDS);
        let mut entries = Vec::with_capacity(RECORDS as usize + 2);
        if self.packets.is_multiple_of(DIAGNOSIS_EVERY) {
            entries.push(Entry { collected_at: Some(first), serial, body: Body::Obd(diagnosis(terminal)) });
        }
        let dialect_one = terminal.protocol == TerminalProtocol::Gb17691;
        for second in 0..RECORDS {
            let body = Body::Stream(self.engine.second());
            // Dialect 1 has one collect time for the packet and a serial for each body.
            entries.push(Entry { collected_at: Some(first.plus_seconds(second)), serial, body });
        }
        if self.packets.is_multiple_of(SUPPLEMENT_EVERY) && !dialect_one {
            let last = first.plus_seconds(RECORDS - 1);
            entries.push(Entry { collected_at: Some(last), serial, body: Body::Supplement(self.supplement()) });
        }
        self.packets += 1;
        let sent_at = if dialect_one { first } else { whole_second(at).max(first.plus_seconds(RECORDS - 1)) };
        let unit = RealtimeUnit {
            layout: if dialect_one { Layout::One } else { Layout::Two },
            sent_at: Some(sent_at),
            serial,
            position: PositionReading::Absent,
            entries: &entries,
            signature: None,
        };
        let command = if resend { Command::Resend } else { Command::Realtime };
        frame(terminal, command, &unit.to_bytes(), sent_at, serial, entries.len() as u32)
    }

    /// An alarm that somebody took the terminal off. HJ 1239 only.
    pub fn removal_alarm(&mut self, terminal: &Terminal, at: Timestamp) -> Option<Sent> {
        if terminal.protocol != TerminalProtocol::Hj1239 {
            return None;
        }
        let at = whole_second(at);
        let serial = self.clock.serial(at.micros() / 1_000_000);
        let (lon, lat) = geography::along_road(terminal.road, 0.0);
        let position = PositionReading::Known(Position { valid: true, lon, lat });
        let unit = encode::removal_alarm(Some(at), serial, position, None);
        Some(frame(terminal, Command::RemovalAlarm, &unit, at, serial, 0))
    }

    fn supplement(&mut self) -> Supplement {
        Supplement {
            torque_mode: Channel::number(9.0),
            accelerator_pct: Channel::number(f64::from(self.trip.below(80))),
            fuel_used_l: Channel::number(f64::from(10_000 + self.packets)),
            reagent_temperature_c: Channel::number(31.0),
            reagent_injection_mlph: Channel::number(f64::from(200 + self.trip.below(900))),
            reagent_used_g: Channel::number(f64::from(500_000 + self.packets * 9)),
            dpf_exhaust_c: Channel::number(280.0),
        }
    }
}

fn diagnosis(terminal: &Terminal) -> Obd {
    let codes: &[[u8; 4]] = if terminal.faulty { &[*b"\x20\x4e\x00\xaf", *b"\x22\x00\x00\xaf"] } else { &[] };
    Obd {
        diagnosis_protocol: DiagnosisProtocol::Iso27145,
        mil: if terminal.faulty { Mil::On } else { Mil::Off },
        detail: Some(ObdDetail {
            support_bits: 0xabde,
            readiness_bits: 0,
            vin: Text::new(terminal.vin.as_str()),
            calibration_id: Text::new("SIM-CALIBRATION-1"),
            cvn: *b"00000000000000F00D",
            iupr: [120, 130, 60, 90, 55, 90, 0, 0, 40, 90, 70, 90, 30, 90, 25, 90, 80, 90],
        }),
        dtc: Ok(Dtcs::from_slice(codes)),
        position: PositionReading::Absent,
    }
}

fn frame(terminal: &Terminal, command: Command, unit: &[u8], sent_at: Timestamp, serial: u16, readings: u32) -> Sent {
    let protocol = match terminal.protocol {
        TerminalProtocol::Hj1239 => Protocol::Hj1239,
        TerminalProtocol::Gb17691 => Protocol::Gb17691,
    };
    framed(command, protocol, terminal.id.as_str(), unit, sent_at, serial, readings)
}

fn framed(
    command: Command,
    protocol: Protocol,
    id: &str,
    unit: &[u8],
    sent_at: Timestamp,
    serial: u16,
    readings: u32,
) -> Sent {
    let envelope = Envelope::plain(command, protocol, id).expect("only commands that the protocol has are sent");
    Sent {
        payload: encode::frame(envelope, unit).into(),
        id: frame_id(id, sent_at, serial).into(),
        readings,
        json: false,
    }
}

fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp::from_micros(at.micros().div_euclid(1_000_000) * 1_000_000)
}
