//! The rows of terminals: packets, stream seconds, items.

use bytes::Bytes;
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use super::{Packet, look_again};
use crate::{
    decode::{Channel, Item, NotValue, Stream},
    pipeline::assemble::{Place, flag},
    reading::Timestamp,
    store::{
        batch::{Batch, Origin, RowRef, Table},
        tables::{TERMINAL_ITEM, TERMINAL_PACKET, TERMINAL_STREAM},
    },
};

/// Bits a channel's state takes in `terminal_stream.states`.
const STATE_BITS: u32 = 3;

fn flags(at: &Place<'_>, packet: &Packet<'_>) -> i32 {
    let unknown = if at.numbered.known { 0 } else { flag::UNKNOWN_DEVICE };
    unknown | if packet.live { 0 } else { flag::NOT_LIVE }
}

fn origin(at: &Place<'_>, packet: &Packet<'_>, element: usize, batch: &Batch) -> Origin {
    Origin {
        source: at.message.source,
        message: (batch.messages.len() - 1) as u32,
        element: element as i32,
        raw: packet.raw.clone(),
    }
}

pub(super) fn packet_row(
    at: &Place<'_>,
    packet: &Packet<'_>,
    (sha256, wrapper): (&[u8], Option<Bytes>),
    first: usize,
    batch: &mut Batch,
) -> RowRef {
    let mut origin = origin(at, packet, first, batch);
    if let Some(wrapper) = &wrapper {
        origin.raw = wrapper.clone();
    }
    let table = &mut batch.keyed[Table::Packet as usize];
    let owner = RowRef { table: Table::Packet, row: table.rows.len() as u32 };
    table.times.push(packet.at);
    table.origins.push(origin);
    let mut row = table.rows.row(TERMINAL_PACKET.width());
    row.time(packet.at);
    row.int4(at.numbered.id);
    row.int8(packet.digest);
    row.text(packet.frame.protocol.name());
    row.text(packet.frame.command.name());
    match packet.frame.serial {
        Some(serial) => row.int4(i32::from(serial)),
        None => row.null(),
    }
    let names: SmallVec<[&str; 8]> = packet.frame.flags.names().collect();
    row.text_array(names.iter().copied());
    row.time(at.message.received_at);
    // The digest is part of the key, so two rows with one key have one content.
    row.int8(packet.digest);
    row.bytea(sha256);
    row.bytea(&packet.raw);
    match &wrapper {
        Some(wrapper) => row.bytea(wrapper),
        None => row.null(),
    }
    drop(row);
    look_again(at, packet, owner, packet.at, batch);
    owner
}

/// What an item is called besides its device.
pub(super) struct Named<'a> {
    pub kind: &'a str,
    pub at: Timestamp,
    pub ordinal: i16,
}

pub(super) fn item_row(
    at: &Place<'_>,
    packet: &Packet<'_>,
    named: Named<'_>,
    body: &[u8],
    hash: u64,
    element: usize,
    batch: &mut Batch,
) -> RowRef {
    let origin = origin(at, packet, element, batch);
    let table = &mut batch.keyed[Table::Item as usize];
    let owner = RowRef { table: Table::Item, row: table.rows.len() as u32 };
    table.times.push(named.at);
    table.origins.push(origin);
    let mut row = table.rows.row(TERMINAL_ITEM.width());
    row.time(named.at);
    row.int4(at.numbered.id);
    row.text(named.kind);
    row.int2(named.ordinal);
    row.int8(packet.digest);
    row.int8(hash as i64);
    row.jsonb(body);
    row.int4(flags(at, packet));
    owner
}

pub(super) fn stream_row(
    at: &Place<'_>,
    packet: &Packet<'_>,
    item: &Item,
    stream: &Stream,
    element: usize,
    batch: &mut Batch,
) -> RowRef {
    let origin = origin(at, packet, element, batch);
    let table = &mut batch.keyed[Table::Stream as usize];
    let owner = RowRef { table: Table::Stream, row: table.rows.len() as u32 };
    table.times.push(item.collected_at);
    table.origins.push(origin);
    let channels = in_order(stream);
    let position = stream.position.get().or_else(|| packet.frame.position());
    let mut states = 0_i64;
    let mut content: SmallVec<[u8; 192]> = SmallVec::new();
    for (place, channel) in channels.iter().enumerate() {
        states |= i64::from(state_of(*channel)) << (place as u32 * STATE_BITS);
        content.extend_from_slice(&channel.value().unwrap_or(0.0).to_bits().to_le_bytes());
    }
    content.extend_from_slice(&states.to_le_bytes());
    if let Some(position) = position {
        content.push(u8::from(position.valid));
        content.extend_from_slice(&position.lon.to_bits().to_le_bytes());
        content.extend_from_slice(&position.lat.to_bits().to_le_bytes());
    }
    content.push(stream.work_state.map_or(0, |state| state as u8 + 1));

    let mut row = table.rows.row(TERMINAL_STREAM.width());
    row.time(item.collected_at);
    row.int4(at.numbered.id);
    row.int2(item.ordinal as i16);
    row.int8(packet.digest);
    row.int8(xxh3_64(&content) as i64);
    row.int8(states);
    for (place, channel) in channels.iter().enumerate() {
        match place {
            ODOMETER => row.float8(channel.value()),
            _ => row.real(channel.value().map(|value| value as f32)),
        }
    }
    match stream.work_state {
        Some(state) => row.text(state.name()),
        None => row.null(),
    }
    match position {
        Some(position) => row.bool(position.valid),
        None => row.null(),
    }
    row.float8(position.map(|position| position.lon));
    row.float8(position.map(|position| position.lat));
    row.int4(flags(at, packet));
    owner
}

/// Place of the odometer in [`in_order`]; single precision would lose metres after a hundred thousand kilometres.
const ODOMETER: usize = 15;

/// The channels in the order of the columns.
fn in_order(stream: &Stream) -> [Channel; 18] {
    let c = &stream.channels;
    [
        c.speed_kmh,
        c.barometric_kpa,
        c.net_torque_pct,
        c.friction_torque_pct,
        c.engine_rpm,
        c.fuel_flow_lph,
        c.nox_upstream_ppm,
        c.nox_downstream_ppm,
        c.reagent_pct,
        c.intake_air_kgph,
        c.scr_inlet_c,
        c.scr_outlet_c,
        c.dpf_dp_kpa,
        c.coolant_c,
        c.fuel_tank_pct,
        c.odometer_km,
        c.egr_actual_pct,
        c.egr_commanded_pct,
    ]
}

fn state_of(channel: Channel) -> u8 {
    match channel.not_value() {
        None => 0,
        Some(_) if channel == Channel::ABSENT => 5,
        Some(NotValue::NotAvailable) => 1,
        Some(NotValue::SensorError) => 2,
        Some(NotValue::Reserved) => 3,
        Some(NotValue::OutOfRange) => 4,
    }
}
