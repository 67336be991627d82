//! Rows of one device, and the raw readings behind an alarm.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tokio_postgres::{Row, Transaction};

use super::{
    WINDOW_SECONDS,
    day::{Behind, Passage},
    record::{Packet, Record, Values, rounded},
    window_of,
};
use crate::{
    decode::Bounds,
    finding::Evidence,
    pipeline::passage::reading_name,
    reading::{DeviceId, Timestamp},
    store::prepared::Prepared,
    vehicle::carrier::NOT_SURE,
};

type Error = tokio_postgres::Error;

/// Each whole second of the window, and the given instants between: what the key is asked for. `OFFSET 0` keeps the
/// planner from turning the single look-ups into a walk over everybody's rows of that time; the bounds tell TimescaleDB which
/// chunk it is.
macro_rules! each_second {
    ($columns:literal, $table:literal, $time:literal) => {
        concat!(
            "SELECT t.* FROM (SELECT generate_series($2::timestamptz, $3::timestamptz - INTERVAL '1 second', \
             INTERVAL '1 second') UNION SELECT unnest($4::timestamptz[])) AS s (at) CROSS JOIN LATERAL (SELECT ",
            $columns,
            " FROM ",
            $table,
            " WHERE device = $1 AND ",
            $time,
            " = s.at AND ",
            $time,
            " >= $2 AND ",
            $time,
            " < $3 OFFSET 0) t"
        )
    };
}

/// A fix that is not valid repeats the last one that was.
const RECORDS: &str = each_second!(
    "collected_at, ordinal, engine_rpm, net_torque_pct, friction_torque_pct, fuel_flow_lph, intake_air_kgph, \
     nox_upstream_ppm, nox_downstream_ppm, reagent_pct, coolant_c, scr_inlet_c, scr_outlet_c, dpf_dp_kpa, odometer_km, \
     CASE WHEN position_valid THEN lon END AS lon, CASE WHEN position_valid THEN lat END AS lat",
    "terminal_stream",
    "collected_at"
);

const PACKETS: &str = each_second!(
    "sent_at, digest, CASE WHEN command NOT IN ('login', 'logout') THEN serial END AS serial, \
     command <> 'resend' AS live, received_at",
    "terminal_packet",
    "sent_at"
);

const DIGESTS: &str = each_second!("packet", "terminal_stream", "collected_at");

const RAW: &str = each_second!("sent_at, digest, raw", "terminal_packet", "sent_at");

/// Everything stored of a window; `instants` are its times between whole seconds.
pub async fn window(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    device: i32,
    start: Timestamp,
    (instants, bounds): (&BTreeSet<Timestamp>, &Bounds),
) -> Result<(Vec<Record>, Vec<Packet>), Error> {
    let (end, instants) = (start.plus_seconds(WINDOW_SECONDS), listed(instants));
    let records = prepared.query(transaction, RECORDS, &[&device, &start, &end, &instants]).await?;
    let packets = prepared.query(transaction, PACKETS, &[&device, &start, &end, &instants]).await?;
    Ok((records.iter().map(|row| record(row, bounds)).collect(), packets.iter().map(packet).collect()))
}

fn listed(instants: &BTreeSet<Timestamp>) -> Vec<Timestamp> {
    instants.iter().copied().collect()
}

/// Rows from before there were bounds hold what no instrument measured.
fn record(row: &Row, bounds: &Bounds) -> Record {
    let value = |place: usize, name: &str| {
        let value = row.get::<_, Option<f32>>(place).map(|value| rounded(f64::from(value)));
        value.filter(|value| bounds.holds_of_stream(name, *value))
    };
    let odometer_km: Option<f64> = row.get(14);
    Record {
        at: row.get(0),
        ordinal: row.get(1),
        values: Values {
            engine_rpm: value(2, "engine_rpm"),
            net_torque_pct: value(3, "net_torque_pct"),
            friction_torque_pct: value(4, "friction_torque_pct"),
            fuel_flow_lph: value(5, "fuel_flow_lph"),
            intake_air_kgph: value(6, "intake_air_kgph"),
            nox_upstream_ppm: value(7, "nox_upstream_ppm"),
            nox_downstream_ppm: value(8, "nox_downstream_ppm"),
            reagent_pct: value(9, "reagent_pct"),
            coolant_c: value(10, "coolant_c"),
            scr_inlet_c: value(11, "scr_inlet_c"),
            scr_outlet_c: value(12, "scr_outlet_c"),
            dpf_dp_kpa: value(13, "dpf_dp_kpa"),
            odometer_km: odometer_km.filter(|km| bounds.holds_of_stream("odometer_km", *km)),
            position: bounds.area.place(row.get(15), row.get(16)),
        },
    }
}

fn packet(row: &Row) -> Packet {
    Packet {
        sent_at: row.get(0),
        digest: row.get(1),
        serial: row.get::<_, Option<i32>>(2).and_then(|serial| u16::try_from(serial).ok()),
        live: row.get(3),
        received_at: row.get(4),
    }
}

/// From when on a terminal is expected to speak: the day the register says it was fitted, or else its first reading.
pub async fn expected_from(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    device: i32,
) -> Result<Option<Timestamp>, Error> {
    let rows = prepared
        .query(
            transaction,
            "SELECT (SELECT installed_on::timestamp AT TIME ZONE 'Asia/Shanghai' FROM current_devices WHERE id = $1), \
             (SELECT min(at) FROM terminal_window WHERE device = $1)",
            &[&device],
        )
        .await?;
    Ok(rows.first().and_then(|row| row.get::<_, Option<Timestamp>>(0).or(row.get(1))))
}

/// Passages of a vehicle in a span, the end not included.
pub async fn passages(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    plate_key: i64,
    (from, to): (Timestamp, Timestamp),
    plate_confidence_min: f32,
) -> Result<Vec<Passage>, Error> {
    let rows = prepared
        .query(
            transaction,
            "SELECT k.passed_at, s.station_id, k.record_id, k.station, p.plate_confidence FROM passage_key k \
             JOIN stations s ON s.id = k.station \
             LEFT JOIN passage p ON p.passed_at = k.passed_at AND p.station = k.station AND p.record_id = k.record_id \
             WHERE k.plate_key = $1 AND k.passed_at >= $2 AND k.passed_at < $3 AND k.carrier IS DISTINCT FROM $4",
            &[&plate_key, &from, &to, &NOT_SURE],
        )
        .await?;
    let passage = |row: &Row| Passage {
        passed_at: row.get(0),
        station_id: row.get(1),
        record_id: row.get(2),
        station: row.get(3),
        plate_is_sure: row.get::<_, Option<f32>>(4).is_some_and(|confidence| confidence >= plate_confidence_min),
    };
    Ok(rows.iter().map(passage).collect())
}

/// The raw readings behind an alarm that are not `kept` yet, as far as retention has left them.
pub async fn evidence(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    (device, name): (i32, &DeviceId),
    behind: &Behind,
    kept: &[String],
) -> Result<Vec<Evidence>, Error> {
    let mut found: BTreeMap<String, Bytes> = BTreeMap::new();
    for span in &behind.records {
        let start = window_of(span.0);
        let facts = super::store::facts(transaction, prepared, device, start).await?.unwrap_or_default();
        let inside = |at: &&Timestamp| (span.0..=span.1).contains(at);
        let instants: Vec<Timestamp> = facts.instants.iter().filter(inside).copied().collect();
        let end = span.1.plus_seconds(1);
        let rows = prepared.query(transaction, DIGESTS, &[&device, &span.0, &end, &instants]).await?;
        let digests: BTreeSet<i64> = rows.iter().map(|row| row.get(0)).collect();
        for sent_in in facts.sent_in {
            let span = (sent_in, sent_in.plus_seconds(WINDOW_SECONDS - 1));
            let raw = raw_packets(transaction, prepared, (device, name), span).await?;
            found.extend(
                raw.into_iter().filter(|(digest, ..)| digests.contains(digest)).map(|(_, name, raw)| (name, raw)),
            );
        }
    }
    for span in &behind.packets {
        let raw = raw_packets(transaction, prepared, (device, name), *span).await?;
        found.extend(raw.into_iter().map(|(_, name, raw)| (name, raw)));
    }
    for passage in &behind.passages {
        let rows = prepared
            .query(
                transaction,
                "SELECT raw FROM passage WHERE passed_at = $1 AND station = $2 AND record_id = $3",
                &[&passage.passed_at, &passage.station, &passage.record_id],
            )
            .await?;
        let raw = rows.first().map(|row| Bytes::from(row.get::<_, Vec<u8>>(0)));
        found.extend(raw.map(|raw| (reading_name(&passage.station_id, &passage.record_id), raw)));
    }
    let new = found.into_iter().filter(|(reading, _)| !kept.contains(reading));
    Ok(new.map(|(reading, raw)| Evidence { reading, raw }).collect())
}

/// Packets sent in a span within one window: digest, name and bytes.
async fn raw_packets(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    (device, name): (i32, &DeviceId),
    (from, to): (Timestamp, Timestamp),
) -> Result<Vec<(i64, String, Bytes)>, Error> {
    let facts = super::store::facts(transaction, prepared, device, window_of(from)).await?.unwrap_or_default();
    let (end, instants) = (to.plus_seconds(1), listed(&facts.instants));
    let rows = prepared.query(transaction, RAW, &[&device, &from, &end, &instants]).await?;
    let packet = |row: &Row| {
        let (sent_at, digest): (Timestamp, i64) = (row.get(0), row.get(1));
        (digest, format!("packet {name}/{sent_at}/{digest:016x}"), Bytes::from(row.get::<_, Vec<u8>>(2)))
    };
    Ok(rows.iter().map(packet).collect())
}
