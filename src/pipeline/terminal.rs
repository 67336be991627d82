//! From a terminal's message to rows: packets, stream seconds, items, and what they say at once.

mod rows;
mod wrapper;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use self::{
    rows::{Named, item_row, packet_row, stream_row},
    wrapper::Wrapper,
};
use super::assemble::{Assembler, Place, digest_of};
use crate::{
    config::SourceKind,
    decode::{self, Body, Carriage, Channel, Command, Frame, Item, PositionReading, Stream},
    evaluate::terminal::{WINDOW_SECONDS, window_of},
    fault::{Reason, Refusal},
    finding::{Evidence, Finding},
    judge::{
        self,
        nonroad::{NonroadFacts, NonroadOutcome, SMOKE_RULE, STAGE_RULE, SmokeFacts, ZoneFacts},
        terminal::{Alarm, Counted, StreamFacts, TerminalFacts, TerminalKind, nox_second},
    },
    reading::{DeviceId, Timestamp, validate},
    store::batch::{Batch, NoxSecond, OwnedFinding, RowRef, SignedPacket, TerminalTask, Undecided},
    vehicle::devices::Device,
    zone::{NONROAD_SITE_MIN_3, NONROAD_SMOKE_CLASS_3, NONROAD_STAGE_MIN_3, Zone},
};

/// What all readings of one packet share.
struct Packet<'a> {
    frame: &'a Frame,
    device: &'a DeviceId,
    register: Option<&'a Device>,
    raw: Bytes,
    /// First eight bytes of the packet's SHA-256.
    digest: i64,
    at: Timestamp,
    live: bool,
}

impl Assembler {
    /// Adds every reading of every frame of the message; returns how many readings it has.
    pub(super) fn frames(&self, at: &Place<'_>, batch: &mut Batch) -> usize {
        let Ok(device) = DeviceId::parse(&at.message.device) else {
            let refusal = Refusal::new(Reason::TopicUnknown, "the topic's identity is no identifier");
            self.put_aside_at(at.message, 0, at.message.payload.clone(), refusal, &at.elements, batch);
            return 1;
        };
        let register = at.knowledge.devices.find(at.source.kind, &at.message.device);
        let carriage = Carriage {
            kind: at.source.kind,
            protocol: register.and_then(|device| device.protocol).unwrap_or(at.source.protocol),
            hex_pointers: &at.source.hex_pointers,
            allow_missing_checksum: at.source.allow_missing_checksum,
            max_bytes: self.max_payload,
            signature: self.signature_form,
        };
        let mut element = 0;
        let mut wrapper = Wrapper::none(batch);
        for decoded in decode::decode_payload(&at.message.payload, &carriage) {
            wrapper.follow(&decoded, &at.message.payload, batch);
            match decoded {
                Err(error) => {
                    let refusal = Refusal::new(error.reason(), error.detail.clone());
                    self.put_aside_at(at.message, element, Bytes::from(error.raw), refusal, &at.elements, batch);
                    element += 1;
                }
                Ok(mut frame) => {
                    frame.keep_within(self.rules.terminal.bounds());
                    element += self.frame(at, &device, register, &frame, element, (&mut wrapper, &mut *batch));
                }
            }
        }
        wrapper.settle(batch);
        element
    }

    /// Adds the readings of one frame, numbered from `first`; returns how many it has.
    fn frame(
        &self,
        at: &Place<'_>,
        device: &DeviceId,
        register: Option<&Device>,
        frame: &Frame,
        first: usize,
        (wrapper, batch): (&mut Wrapper, &mut Batch),
    ) -> usize {
        let bytes = frame.raw_bytes(&at.message.payload);
        let inside = at.message.payload.as_ptr_range();
        let raw = match inside.contains(&bytes.as_ptr()) {
            true => at.message.payload.slice_ref(bytes),
            false => Bytes::copy_from_slice(bytes),
        };
        if let Err(refusal) = belongs(frame, device, register, at.source.kind) {
            self.put_aside_at(at.message, first, raw, refusal, &at.elements, batch);
            return 1;
        }
        if at.elements.contains(&first) {
            batch.tally(at.message.source).unknown_fields += u64::from(frame.ignored_fields);
        }
        let sha256 = Sha256::digest(&raw);
        let Some(packet_at) = packet_time(at, frame) else {
            return self.without_time(at, frame, first, raw, batch);
        };
        let digest = digest_of(&sha256);
        let live = !at.message.replayed && !frame.is_resend();
        let packet = Packet { frame, device, register, raw, digest, at: packet_at, live };
        let before = batch.readings() - batch.dead_letters.len();
        let count = match frame.items.is_empty() {
            true => self.event(at, &packet, first, batch),
            false => self.items(at, &packet, first, batch),
        };
        // A packet none of whose readings is taken is kept with its dead letters.
        if batch.readings() - batch.dead_letters.len() > before {
            let owner = packet_row(at, &packet, (&sha256, wrapper.take()), first, batch);
            if self.verifies && may_be_signed(frame) {
                let (sent_at, device) = (packet.at, at.numbered.id);
                batch.signed_packets.push(SignedPacket { owner, sent_at, device, digest });
            }
        }
        count
    }

    /// A time sync, an activation response or a user command has no time, by which packets are stored, and no reading; anything
    /// else should have one.
    fn without_time(&self, at: &Place<'_>, frame: &Frame, first: usize, raw: Bytes, batch: &mut Batch) -> usize {
        let refusal = match frame.command {
            Command::TimeSync | Command::ActivationResponse | Command::User => {
                let command = frame.command.name();
                let detail = format!("a {command} command has neither a time nor a reading; its bytes are kept here");
                Refusal::new(Reason::NoReading, detail)
            }
            _ => Refusal::new(Reason::TimeImplausible, "the packet's clock gave no calendar date"),
        };
        self.put_aside_at(at.message, first, raw, refusal, &at.elements, batch);
        1
    }

    /// Login, logout, removal alarm, activation: one item named after the command.
    fn event(&self, at: &Place<'_>, packet: &Packet<'_>, first: usize, batch: &mut Batch) -> usize {
        if !self.plausible(at, packet, packet.at, first, batch) {
            return 1;
        }
        let kind = packet.frame.command.name();
        let body = serde_json::to_vec(packet.frame).unwrap_or_default();
        let without_serial = Frame { serial: None, ..packet.frame.clone() };
        let hash = xxh3_64(&serde_json::to_vec(&without_serial).unwrap_or_default());
        let owner = item_row(at, packet, Named { kind, at: packet.at, ordinal: 0 }, &body, hash, first, batch);
        if packet.frame.command == Command::RemovalAlarm {
            let alarm =
                TerminalFacts { kind: kind_of(at), device: packet.device, at: packet.at, alarm: Alarm::Removal };
            raise(packet, owner, judge::terminal(&alarm), batch);
        }
        if packet.frame.position_reading() != PositionReading::Absent {
            self.place(at, packet, owner, packet.at, packet.frame.position(), batch);
        }
        1
    }

    fn items(&self, at: &Place<'_>, packet: &Packet<'_>, first: usize, batch: &mut Batch) -> usize {
        let mut nox: SmallVec<[(NoxSecond, bool); 10]> = SmallVec::new();
        for (place, item) in packet.frame.items.iter().enumerate() {
            let element = first + place;
            if !self.plausible(at, packet, item.collected_at, element, batch) {
                continue;
            }
            let owner = match &item.body {
                Body::Stream(stream) => {
                    let owner = stream_row(at, packet, item, stream, element, batch);
                    let counted = nox_second(&stream_facts(stream), &self.rules.settings);
                    note_nox(&mut nox, at, packet, item, owner, counted);
                    look_again(at, packet, owner, item.collected_at, batch);
                    owner
                }
                body => {
                    let named =
                        Named { kind: body.item_type().name(), at: item.collected_at, ordinal: item.ordinal as i16 };
                    let json = serde_json::to_vec(item).unwrap_or_default();
                    let without_serial = Item { serial: None, ..item.clone() };
                    let hash = xxh3_64(&serde_json::to_vec(&without_serial).unwrap_or_default());
                    item_row(at, packet, named, &json, hash, element, batch)
                }
            };
            if let Body::Obd(obd) = &item.body
                && let Ok(dtcs) = &obd.dtc
            {
                let alarm = Alarm::Diagnosis { protocol: obd.diagnosis_protocol, mil_on: obd.mil.is_lit(), dtcs };
                let facts = TerminalFacts { kind: kind_of(at), device: packet.device, at: item.collected_at, alarm };
                raise(packet, owner, judge::terminal(&facts), batch);
            }
            if let Body::RetrofitSmoke(smoke) = &item.body
                && let Some(k_m1) = smoke.smoke_k_m1.value()
            {
                self.smoke(at, packet, owner, item.collected_at, k_m1, batch);
            }
            let position = item.body.position().get().or_else(|| packet.frame.position());
            self.place(at, packet, owner, item.collected_at, position, batch);
        }
        batch.nox_seconds.extend(nox.into_iter().filter(|(_, over)| *over).map(|(second, _)| second));
        packet.frame.items.len()
    }

    /// Puts a reading with an impossible time aside; `false` also for a reading that is not wanted.
    fn plausible(
        &self,
        at: &Place<'_>,
        packet: &Packet<'_>,
        time: Timestamp,
        element: usize,
        batch: &mut Batch,
    ) -> bool {
        if !at.elements.contains(&element) {
            return false;
        }
        let (past, future) = (at.source.plausible_past_days, at.source.plausible_future_minutes);
        match validate::time_plausible(time, at.message.received_at, past, future) {
            Ok(()) => true,
            Err(refusal) => {
                self.put_aside_at(at.message, element, packet.raw.clone(), refusal, &at.elements, batch);
                false
            }
        }
    }

    /// Judges a machine's smoke; road vehicles stand under other rules.
    fn smoke(&self, at: &Place<'_>, packet: &Packet<'_>, owner: RowRef, time: Timestamp, k_m1: f64, batch: &mut Batch) {
        if at.source.kind != SourceKind::Nonroad {
            return;
        }
        let zones = &at.knowledge.zones;
        let place = packet.frame.position().filter(|position| position.valid);
        let in_class_3_zone = match place {
            Some(place) => {
                let mut zones = zones.containing(place.lon, place.lat, time);
                Some(zones.any(|zone| &*zone.rule == NONROAD_SMOKE_CLASS_3))
            }
            // Without such a zone the place does not matter.
            None => {
                let mut in_force = zones.iter().filter(|zone| zone.in_force(time));
                in_force.all(|zone| &*zone.rule != NONROAD_SMOKE_CLASS_3).then_some(false)
            }
        };
        let facts = SmokeFacts {
            machine: packet.device,
            at: time,
            k_m1,
            stage: packet.register.and_then(|device| device.emission_stage),
            power_w: packet.register.and_then(|device| device.power_w),
            in_class_3_zone,
        };
        conclude(packet, owner, SMOKE_RULE, judge::smoke(&facts, &self.rules), batch);
    }

    /// Judges where a machine is, where it says so; positions of vehicles' terminals are not judged here.
    fn place(
        &self,
        at: &Place<'_>,
        packet: &Packet<'_>,
        owner: RowRef,
        time: Timestamp,
        position: Option<decode::Position>,
        batch: &mut Batch,
    ) {
        if at.source.kind != SourceKind::Nonroad || at.knowledge.zones.is_empty() {
            return;
        }
        let place = position.filter(|position| position.valid);
        // A position that is none matters only where some zone asks for one.
        if place.is_none() && !at.knowledge.zones.iter().any(|zone| zone.in_force(time) && asks_for_stage(zone)) {
            return;
        }
        let zones: SmallVec<[ZoneFacts<'_>; 2]> = place
            .into_iter()
            .flat_map(|place| at.knowledge.zones.containing(place.lon, place.lat, time))
            .filter(|zone| asks_for_stage(zone))
            .map(|zone| ZoneFacts { name: &zone.name, kind: &zone.kind, is_site: &*zone.rule == NONROAD_SITE_MIN_3 })
            .collect();
        let facts = NonroadFacts {
            machine: packet.device,
            at: time,
            stage: packet.register.and_then(|device| device.emission_stage),
            position_valid: place.is_some(),
            zones: &zones,
        };
        conclude(packet, owner, STAGE_RULE, judge::nonroad(&facts, &self.rules), batch);
    }
}

/// When the packet was sent, or, where its clock gives no time that can be true, when the first reading in it that can be was
/// made: the time of a packet decides which chunk it goes to, and a wrong clock must not make chunks in 2000 or 2099. A
/// packet none of whose times can be true keeps what it says, and its readings are put aside one by one.
fn packet_time(at: &Place<'_>, frame: &Frame) -> Option<Timestamp> {
    let (past, future) = (at.source.plausible_past_days, at.source.plausible_future_minutes);
    let plausible = |time: &Timestamp| validate::time_plausible(*time, at.message.received_at, past, future).is_ok();
    let made = || frame.items.iter().map(|item| item.collected_at);
    let true_time = frame.sent_at.filter(plausible).or_else(|| made().find(plausible));
    true_time.or(frame.sent_at).or_else(|| made().next())
}

/// Whether the frame names the device of its topic, or what the register binds that device to. A retrofit terminal's
/// binary frame carries its vehicle's VIN; as long as no register says which, there is nothing to compare it with. A JSON
/// document names the terminal itself.
fn belongs(frame: &Frame, device: &DeviceId, register: Option<&Device>, kind: SourceKind) -> Result<(), Refusal> {
    let bound = register.and_then(|device| device.bound_to);
    let named = frame.names(device.as_str()) || bound.is_some_and(|bound| frame.names(&bound.to_string()));
    let carries_vin = kind == SourceKind::Retrofit && frame.header.is_some();
    if named || (carries_vin && bound.is_none()) {
        return Ok(());
    }
    validate::identity(device.as_str(), &frame.id)
}

fn kind_of(at: &Place<'_>) -> TerminalKind {
    match at.source.kind {
        SourceKind::Nonroad => TerminalKind::Machine,
        _ => TerminalKind::Vehicle,
    }
}

/// Whether machines of a low stage are kept out of the zone (R11).
fn asks_for_stage(zone: &Zone) -> bool {
    [NONROAD_STAGE_MIN_3, NONROAD_SITE_MIN_3].contains(&&*zone.rule)
}

/// Adds what a rule says of a machine: its findings, or that it could not be decided.
fn conclude(packet: &Packet<'_>, owner: RowRef, rule: &'static str, outcome: NonroadOutcome, batch: &mut Batch) {
    match outcome {
        NonroadOutcome::Clear => {}
        NonroadOutcome::Breach(findings) => {
            findings.into_iter().for_each(|finding| raise(packet, owner, Some(finding), batch));
        }
        NonroadOutcome::Undetermined(missing) => batch.undecided.push(Undecided { owner, rule, missing }),
    }
}

/// Adds a finding with the packet as evidence.
fn raise(packet: &Packet<'_>, owner: RowRef, finding: Option<Finding>, batch: &mut Batch) {
    let Some(mut finding) = finding else { return };
    let reading = format!("packet {}/{}/{:016x}", packet.device, packet.at, packet.digest);
    finding.evidence.push(Evidence { reading, raw: packet.raw.clone() });
    finding.intercept &= packet.live;
    batch.findings.push(OwnedFinding { owner, finding });
}

/// Packets that carry data, and activations; a JSON document is no packet.
fn may_be_signed(frame: &Frame) -> bool {
    frame.header.is_some() && matches!(frame.command, Command::Realtime | Command::Resend | Command::Activation)
}

/// Leaves a task for the terminal's window that a reading belongs to.
fn look_again(at: &Place<'_>, packet: &Packet<'_>, owner: RowRef, time: Timestamp, batch: &mut Batch) {
    let window = window_of(time);
    batch.terminal_tasks.push(TerminalTask {
        owner,
        device: at.numbered.id,
        window,
        sent_in: Some(window_of(packet.at)),
        instant: (time.micros() % 1_000_000 != 0).then_some(time),
        not_before: window.plus_seconds(WINDOW_SECONDS),
    });
}

fn stream_facts(stream: &Stream) -> StreamFacts {
    let single = |channel: Channel| channel.value().map(|value| value as f32);
    StreamFacts {
        engine_rpm: single(stream.channels.engine_rpm),
        coolant_c: single(stream.channels.coolant_c),
        scr_inlet_c: single(stream.channels.scr_inlet_c),
        nox_downstream_ppm: single(stream.channels.nox_downstream_ppm),
        nox_upstream_ppm: single(stream.channels.nox_upstream_ppm),
    }
}

/// Remembers what a second counts for. Several records of one second can only come in one packet (the key of a second one
/// in another packet is taken), and among them the one that favours the vehicle stands.
fn note_nox(
    seconds: &mut SmallVec<[(NoxSecond, bool); 10]>,
    at: &Place<'_>,
    packet: &Packet<'_>,
    item: &Item,
    owner: RowRef,
    counted: Counted,
) {
    let (ppm, over) = match counted {
        Counted::NotValid => return,
        Counted::Under(ppm) => (ppm, false),
        Counted::Over(ppm) => (ppm, true),
    };
    if let Some((known, was_over)) = seconds.iter_mut().find(|(known, _)| known.at == item.collected_at) {
        known.ppm = known.ppm.min(ppm);
        *was_over &= over;
        return;
    }
    let second = NoxSecond {
        owner,
        device: at.numbered.id,
        at: item.collected_at,
        ppm,
        packet: packet.digest,
        packet_at: packet.at,
    };
    seconds.push((second, over));
}
