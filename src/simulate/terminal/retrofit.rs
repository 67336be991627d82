//! What retrofit terminals send: one stream and one smoke record per message, as frame or as JSON.

use serde_json::json;

use super::{Clock, FAMILY_ENGINE, FAMILY_TRIP, Sent, framed, json_reading};
use crate::{
    config::Protocol,
    decode::{
        Body, Channel, Command, Layout, PositionReading, RetrofitSmoke,
        encode::{Entry, RealtimeUnit},
    },
    reading::Timestamp,
    simulate::{dice::Dice, engine::Engine, fleet::Retrofit, script::CADENCE_SECONDS},
};

/// A retrofit terminal at work.
#[derive(Clone, Debug)]
pub(in crate::simulate) struct RetrofitState {
    engine: Engine,
    dice: Dice,
    clock: Clock,
}

impl RetrofitState {
    pub fn new(seed: u64, index: u32, retrofit: &Retrofit) -> Self {
        let index = u64::from(index) + (1 << 32);
        Self {
            engine: Engine::new(Dice::of(seed, FAMILY_ENGINE, index), retrofit.road, false),
            dice: Dice::of(seed, FAMILY_TRIP, index),
            clock: Clock::default(),
        }
    }

    pub fn send(&mut self, retrofit: &Retrofit, at: Timestamp, resend: bool) -> Sent {
        let (collected_at, serial) = self.clock.advance(at, i64::from(CADENCE_SECONDS));
        let stream = self.engine.second();
        let opacity = self.dice.bell(if retrofit.smoking { 38.0 } else { 5.0 }, 2.0).max(0.1);
        let smoke = RetrofitSmoke {
            exhaust_temperature_c: Channel::number(265.0 + f64::from(self.dice.below(60))),
            smoke_fault: Channel::number(0.0),
            dpf_backpressure_kpa: Channel::number(f64::from(self.dice.between(4, 14))),
            // Beer-Lambert over the 0.43 m that opacity is stated for.
            smoke_k_m1: Channel::number(-(1.0 - opacity / 100.0).ln() / 0.43),
            smoke_opacity_pct: Channel::number(opacity),
            pm_mg_m3: Channel::number(opacity * 0.9),
            k_alarm: Channel::number(0.0),
            backpressure_alarm: Channel::number(0.0),
            nox_ppm: Channel::number(f64::from(self.dice.between(300, 700))),
            ..RetrofitSmoke::default()
        };
        let id = retrofit.id.as_str();
        if retrofit.json {
            let mut fields = json_reading::fields(("terminal_id", id), collected_at, serial, stream.position);
            for (name, channel) in [
                ("speed_kmh", stream.channels.speed_kmh),
                ("engine_rpm", stream.channels.engine_rpm),
                ("exhaust_temperature_c", smoke.exhaust_temperature_c),
                ("dpf_backpressure_kpa", smoke.dpf_backpressure_kpa),
                ("smoke_k_m1", smoke.smoke_k_m1),
                ("smoke_opacity_pct", smoke.smoke_opacity_pct),
                ("pm_mg_m3", smoke.pm_mg_m3),
            ] {
                fields.insert(name.to_owned(), json!(json_reading::rounded(channel)));
            }
            return json_reading::message(id, fields, collected_at, serial, 2);
        }
        let entries = [Body::Stream(stream), Body::RetrofitSmoke(smoke)].map(|body| Entry {
            collected_at: Some(collected_at),
            serial,
            body,
        });
        let unit = RealtimeUnit {
            layout: Layout::Two,
            sent_at: Some(collected_at),
            serial,
            position: PositionReading::Absent,
            entries: &entries,
            signature: None,
        };
        let command = if resend { Command::Resend } else { Command::Realtime };
        framed(command, Protocol::Hj1239, id, &unit.to_bytes(), collected_at, serial, 2)
    }
}
