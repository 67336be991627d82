//! What trackers of non-road machines send, as HJ 1014 frame or as JSON.

use serde_json::json;

use super::{Clock, DIAGNOSIS_EVERY, FAMILY_TRIP, Sent, framed, json_reading};
use crate::{
    config::Protocol,
    decode::{
        Body, Channel, Command, DiagnosisProtocol, Dtcs, Layout, Mil, Obd, Position, PositionReading, Stream,
        StreamChannels, WorkState,
        encode::{Entry, RealtimeUnit},
    },
    reading::Timestamp,
    simulate::{
        dice::Dice,
        fleet::{Machine, geography},
        script::CADENCE_SECONDS,
    },
};

/// A machine at work: digs, idles, moves about its site.
#[derive(Clone, Debug)]
pub(in crate::simulate) struct MachineState {
    dice: Dice,
    clock: Clock,
    packets: u32,
    moved_m: f64,
    tank_pct: f64,
}

impl MachineState {
    pub fn new(seed: u64, index: u32) -> Self {
        let mut dice = Dice::of(seed, FAMILY_TRIP, u64::from(index) + (2 << 32));
        Self { clock: Clock::default(), packets: 0, moved_m: 0.0, tank_pct: dice.bell(60.0, 15.0), dice }
    }

    pub fn send(&mut self, machine: &Machine, at: Timestamp, resend: bool) -> Sent {
        let (collected_at, serial) = self.clock.advance(at, i64::from(CADENCE_SECONDS));
        let (stream, state) = self.work(machine);
        self.packets += 1;
        let id = machine.id.as_str();
        if machine.json {
            let mut fields = json_reading::fields(("machine_id", id), collected_at, serial, stream.position);
            fields.insert("work_state".to_owned(), json!(state.name()));
            stream.channels.each(|name, _, channel| {
                if !channel.is_absent() {
                    fields.insert(name.to_owned(), json!(json_reading::rounded(channel)));
                }
            });
            return json_reading::message(id, fields, collected_at, serial, 1);
        }
        let mut entries = vec![Entry { collected_at: None, serial, body: Body::Stream(stream) }];
        if self.packets.is_multiple_of(DIAGNOSIS_EVERY) {
            let diagnosis = Obd {
                diagnosis_protocol: DiagnosisProtocol::J1939,
                mil: Mil::Off,
                detail: None,
                dtc: Ok(Dtcs::new()),
                position: PositionReading::Absent,
            };
            entries.push(Entry { collected_at: None, serial, body: Body::Obd(diagnosis) });
        }
        let unit = RealtimeUnit {
            layout: Layout::Nonroad,
            sent_at: Some(collected_at),
            serial,
            position: stream.position,
            entries: &entries,
            signature: None,
        };
        let command = if resend { Command::Resend } else { Command::Realtime };
        framed(command, Protocol::Hj1014, id, &unit.to_bytes(), collected_at, serial, entries.len() as u32)
    }

    fn work(&mut self, machine: &Machine) -> (Stream, WorkState) {
        let (state, rpm, torque, speed) = match self.dice.below(10) {
            0 | 1 => (WorkState::Idle, 800.0, 8.0, 0.0),
            2 => (WorkState::Travelling, 1500.0, 35.0, 4.5),
            _ => (WorkState::Working, 1750.0, 62.0, 0.5),
        };
        self.moved_m += speed / 3.6 * f64::from(CADENCE_SECONDS);
        self.tank_pct = if self.tank_pct < 8.0 { 95.0 } else { self.tank_pct - 0.03 };
        let (lon, lat) = geography::on_site(machine.site, self.moved_m);
        let nox = 260.0 + torque * 7.0 + self.dice.bell(0.0, 25.0);
        let egr = if machine.stage >= 4 { 18.0 } else { 0.0 };
        let channels = StreamChannels {
            speed_kmh: Channel::number(speed),
            barometric_kpa: Channel::number(101.0),
            net_torque_pct: Channel::number(torque),
            friction_torque_pct: Channel::number(11.0),
            engine_rpm: Channel::number(rpm + self.dice.bell(0.0, 15.0)),
            fuel_flow_lph: Channel::number(2.0 + torque * 0.3),
            nox_upstream_ppm: Channel::number(nox),
            nox_downstream_ppm: if machine.stage >= 4 { Channel::number(nox * 0.3) } else { Channel::NOT_AVAILABLE },
            reagent_pct: if machine.stage >= 4 { Channel::number(64.0) } else { Channel::NOT_AVAILABLE },
            intake_air_kgph: Channel::number(180.0 + torque * 4.0),
            scr_inlet_c: if machine.stage >= 4 { Channel::number(295.0) } else { Channel::NOT_AVAILABLE },
            scr_outlet_c: if machine.stage >= 4 { Channel::number(288.0) } else { Channel::NOT_AVAILABLE },
            dpf_dp_kpa: Channel::NOT_AVAILABLE,
            coolant_c: Channel::number(84.0),
            fuel_tank_pct: Channel::number(self.tank_pct),
            egr_actual_pct: Channel::number(egr),
            egr_commanded_pct: Channel::number(egr),
            ..StreamChannels::default()
        };
        let position = PositionReading::Known(Position { valid: true, lon, lat });
        (Stream { channels, position, work_state: Some(state) }, state)
    }
}
