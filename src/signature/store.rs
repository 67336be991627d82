//! Tasks, packets, keys and results in the database.
//!
//! **Locks.** A transaction takes one advisory lock per device, shared where it only verifies and exclusive where it takes a
//! key in, all in one sorted order, before it reads keys. So a packet is either verified with the new key, or its result
//! is there when the transaction that takes the key in looks for results to do again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use tokio_postgres::{Client, Row, Transaction};

use super::{
    check::{Filed, Outcome, Packet},
    key::{History, PublicKey},
};
use crate::{
    config::{Protocol, SourceKind},
    reading::{DeviceId, Timestamp},
    vehicle::{devices::kind_of, import::rows::protocol_of},
};

/// Name space of the device locks, so that they meet no other advisory lock of the database.
const DEVICE_LOCKS: i64 = 0x6477_7331_0000_0000;

/// More tasks than this are not counted one by one.
const BACKLOG_MAX: i64 = 100_000;

/// Key of a row of `terminal_packet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PacketKey {
    pub device: i32,
    pub sent_at: Timestamp,
    pub digest: i64,
}

/// A packet of a claimed task, as it is stored.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub key: PacketKey,
    pub device: DeviceId,
    pub packet: Packet,
    pub is_activation: bool,
    /// It was verified before.
    pub again: bool,
}

/// How many packets wait, and how long the first of them has, milliseconds.
pub async fn backlog(client: &Client) -> Result<(i64, i64), tokio_postgres::Error> {
    let row = client
        .query_one(
            "SELECT (SELECT count(*) FROM (SELECT 1 FROM signature_task LIMIT $1) t), coalesce((SELECT \
             (extract(epoch FROM now() - created_at) * 1000)::int8 FROM signature_task ORDER BY id LIMIT 1), 0)",
            &[&BACKLOG_MAX],
        )
        .await?;
    Ok((row.get(0), row.get(1)))
}

pub async fn salt(client: &Client) -> Result<Vec<u8>, tokio_postgres::Error> {
    Ok(client.query_one("SELECT salt FROM signature_salt", &[]).await?.get(0))
}

/// Takes up to `most` tasks that nobody else has; returns how many, and their packets. A packet that retention has taken
/// leaves its earlier result as it is.
pub async fn claim(transaction: &Transaction<'_>, most: i64) -> Result<(usize, Vec<Claimed>), tokio_postgres::Error> {
    let rows = transaction
        .query(
            // An array, so that the choice is made once whatever the plan.
            "DELETE FROM signature_task WHERE id = ANY(ARRAY\
             (SELECT id FROM signature_task ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED)) \
             RETURNING device, sent_at, digest, again",
            &[&most],
        )
        .await?;
    let mut tasks: BTreeMap<PacketKey, bool> = BTreeMap::new();
    for row in &rows {
        *tasks.entry(packet_key(row)).or_default() |= row.get::<_, bool>(3);
    }
    let at = || tasks.keys().map(|key| key.sent_at);
    let (Some(from), Some(to)) = (at().min(), at().max()) else { return Ok((0, Vec::new())) };
    let (device, sent_at, digest) = columns(tasks.keys());
    // The bounds keep other chunks closed; a join alone would open them all.
    let packets = transaction
        .query(
            "SELECT p.device, p.sent_at, p.digest, p.protocol, p.command, p.raw, d.device_id, d.kind \
             FROM unnest($1::int4[], $2::timestamptz[], $3::int8[]) AS u (device, sent_at, digest) \
             JOIN terminal_packet p ON p.sent_at = u.sent_at AND p.device = u.device AND p.digest = u.digest \
             JOIN devices d ON d.id = p.device WHERE p.sent_at BETWEEN $4 AND $5 \
             ORDER BY p.device, p.sent_at, p.digest",
            &[&device, &sent_at, &digest, &from, &to],
        )
        .await?;
    let claimed = packets.iter().filter_map(|row| {
        let key = packet_key(row);
        Some(Claimed {
            key,
            device: DeviceId::parse(row.get(6)).ok()?,
            packet: Packet {
                kind: kind_of(row.get(7)).unwrap_or(SourceKind::Obd),
                protocol: protocol_of(row.get(3)).unwrap_or(Protocol::Auto),
                raw: row.get(5),
            },
            is_activation: row.get::<_, &str>(4) == "activation",
            again: tasks.get(&key).copied().unwrap_or_default(),
        })
    });
    Ok((rows.len(), claimed.collect()))
}

fn packet_key(row: &Row) -> PacketKey {
    PacketKey { device: row.get(0), sent_at: row.get(1), digest: row.get(2) }
}

fn columns<'a>(keys: impl Iterator<Item = &'a PacketKey> + Clone) -> (Vec<i32>, Vec<Timestamp>, Vec<i64>) {
    (
        keys.clone().map(|k| k.device).collect(),
        keys.clone().map(|k| k.sent_at).collect(),
        keys.map(|k| k.digest).collect(),
    )
}

/// Takes the locks of the devices, exclusive for those of `exclusive`.
pub async fn lock(
    transaction: &Transaction<'_>,
    devices: &BTreeSet<i32>,
    exclusive: &BTreeSet<i32>,
) -> Result<(), tokio_postgres::Error> {
    let keys: Vec<i64> = devices.iter().map(|device| DEVICE_LOCKS | i64::from(*device)).collect();
    let exclusive: Vec<bool> = devices.iter().map(|device| exclusive.contains(device)).collect();
    transaction
        .execute(
            "SELECT count(CASE WHEN e THEN pg_advisory_xact_lock(k)::text ELSE pg_advisory_xact_lock_shared(k)::text END) \
             FROM unnest($1::int8[], $2::bool[]) AS u (k, e)",
            &[&keys, &exclusive],
        )
        .await?;
    Ok(())
}

/// The keys of the devices.
pub async fn histories(
    transaction: &Transaction<'_>,
    devices: &BTreeSet<i32>,
) -> Result<HashMap<i32, History>, tokio_postgres::Error> {
    let devices: Vec<i32> = devices.iter().copied().collect();
    let mut histories: HashMap<i32, History> = HashMap::new();
    let registered = transaction
        .query(
            "SELECT d.id, v.installed_on::timestamp AT TIME ZONE INTERVAL '8 hours', v.public_key FROM devices d JOIN device_versions v \
             ON v.device_id = d.device_id AND v.kind = d.kind AND v.to_version IS NULL \
             WHERE d.id = ANY($1) AND v.public_key IS NOT NULL",
            &[&devices],
        )
        .await?;
    for row in &registered {
        let Some(key) = PublicKey::parse(row.get(2)) else { continue };
        histories.entry(row.get(0)).or_default().registered = Some((row.get(1), key));
    }
    let activated = transaction
        .query(
            "SELECT device, filed_at, public_key FROM terminal_key WHERE device = ANY($1) AND result = $2",
            &[&devices, &Outcome::Ok.code()],
        )
        .await?;
    for row in &activated {
        let Some(key) = PublicKey::from_slice(row.get(2)) else { continue };
        histories.entry(row.get(0)).or_default().activated.push((row.get(1), key));
    }
    Ok(histories)
}

/// Keeps the key that an activation filed. When that changes which key was in force, the results it may change go back
/// into the queue: those of the device from then on, up to the next key.
pub async fn file(
    transaction: &Transaction<'_>,
    key: &PacketKey,
    filed: &Filed,
    outcome: Outcome,
) -> Result<(), tokio_postgres::Error> {
    let PacketKey { device, sent_at, digest } = key;
    let known = transaction
        .query_opt(
            "SELECT result FROM terminal_key WHERE device = $1 AND filed_at = $2 AND digest = $3",
            &[device, sent_at, digest],
        )
        .await?;
    let held = known.is_some_and(|row| row.get::<_, i16>(0) == Outcome::Ok.code());
    let (chip, point) = (filed.chip_id.as_slice(), filed.key.as_bytes().as_slice());
    transaction
        .execute(
            "INSERT INTO terminal_key VALUES ($1, $2, $3, $4, $5, $6, $7) \
             ON CONFLICT (device, filed_at, digest) DO UPDATE SET result = EXCLUDED.result",
            &[device, sent_at, digest, &chip, &point, &filed.vin, &outcome.code()],
        )
        .await?;
    if held == (outcome == Outcome::Ok) {
        return Ok(());
    }
    transaction
        .execute(
            "INSERT INTO signature_task (device, sent_at, digest, again) \
             SELECT c.device, c.sent_at, c.digest, true FROM signature_check c \
             WHERE c.device = $1 AND c.sent_at >= $2 AND c.sent_at < coalesce((SELECT min(k.filed_at) FROM terminal_key k \
             WHERE k.device = $1 AND k.filed_at > $2 AND k.result = $3), 'infinity') \
             AND NOT EXISTS (SELECT 1 FROM terminal_key k \
             WHERE k.device = c.device AND k.filed_at = c.sent_at AND k.digest = c.digest)",
            &[device, sent_at, &Outcome::Ok.code()],
        )
        .await?;
    Ok(())
}

/// Writes results, over earlier ones of the same packets.
pub async fn save(
    transaction: &Transaction<'_>,
    results: &[(PacketKey, Outcome)],
) -> Result<(), tokio_postgres::Error> {
    let (device, sent_at, digest) = columns(results.iter().map(|(key, _)| key));
    let result: Vec<i16> = results.iter().map(|(_, outcome)| outcome.code()).collect();
    transaction
        .execute(
            "INSERT INTO signature_check (device, sent_at, digest, result) \
             SELECT * FROM unnest($1::int4[], $2::timestamptz[], $3::int8[], $4::int2[]) \
             ON CONFLICT (device, sent_at, digest) DO UPDATE SET result = EXCLUDED.result, checked_at = now()",
            &[&device, &sent_at, &digest, &result],
        )
        .await?;
    Ok(())
}
