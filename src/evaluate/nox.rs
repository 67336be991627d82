//! Episodes of downstream NOx: enough consecutive valid seconds over the configured limit.
//!
//! `nox_over` holds exactly the seconds that were valid and over; every other second breaks a run by not being there. So a
//! span that begins and ends in a gap holds whole runs only, and all that is needed is to widen the span of the task
//! until both its ends stand in a gap.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use tokio_postgres::Transaction;

use super::{
    reconcile::{self, Change, Desired},
    window::{self, NOX_RULE, Second},
};
use crate::{
    config::{Judge, SourceKind},
    finding::Evidence,
    judge::terminal::{Counted, TerminalKind},
    reading::{DeviceId, Timestamp},
    store::prepared::Prepared,
    vehicle::devices,
};

/// How far a span is widened at a time, seconds.
const WIDEN: i64 = 900;

type Span = (Timestamp, Timestamp);

/// The packet that brought a second: when it was sent, and its digest.
type Packet = (Timestamp, i64);

/// Reconciles the episodes of each terminal around the span of its tasks.
pub async fn evaluate(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    terminals: &[(i32, Span)],
    settings: &Judge,
) -> Result<Vec<Change>, tokio_postgres::Error> {
    let mut changes = Vec::new();
    for (device, span) in terminals {
        let row = transaction.query_opt("SELECT device_id, kind FROM devices WHERE id = $1", &[device]).await?;
        let Some(row) = row else { continue };
        let Ok(name) = DeviceId::parse(row.get(0)) else { continue };
        let kind = match devices::kind_of(row.get(1)) {
            Some(SourceKind::Nonroad) => TerminalKind::Machine,
            _ => TerminalKind::Vehicle,
        };
        let (seconds, span) = load(transaction, *device, *span).await?;
        let over: Vec<Second> =
            seconds.iter().map(|(at, (ppm, _))| Second { at: *at, counted: Counted::Over(*ppm) }).collect();
        let mut desired = Desired { maker_of: vec![NOX_RULE], ..Desired::default() };
        let runs = window::runs(&over, settings.nox_consecutive_seconds);
        desired.made.extend(runs.iter().map(|run| window::finding(kind, &name, run, settings)));
        let subject = name.to_string();
        let mut existing = reconcile::existing(transaction, prepared, std::slice::from_ref(&subject)).await?;
        let mut existing = existing.remove(&subject).unwrap_or_default();
        // Runs outside the span were not looked at and stay as they are.
        existing.retain(|old| old.finding.rule == NOX_RULE && old.finding.to >= span.0 && old.finding.from <= span.1);
        let mut found = reconcile::compare(desired, existing);
        for finding in found.iter_mut().filter_map(Change::finding_in_force) {
            let end = finding.to.plus_seconds(1);
            let packets: BTreeSet<Packet> = seconds.range(finding.from..end).map(|(_, (_, packet))| *packet).collect();
            finding.evidence = evidence(transaction, *device, &name, &packets).await?;
        }
        changes.extend(found);
    }
    Ok(changes)
}

/// Loads the seconds of a span that is widened until no run crosses its ends.
async fn load(
    transaction: &Transaction<'_>,
    device: i32,
    span: Span,
) -> Result<(BTreeMap<Timestamp, (f32, Packet)>, Span), tokio_postgres::Error> {
    let (mut from, mut to) = (span.0.plus_seconds(-WIDEN), span.1.plus_seconds(WIDEN));
    loop {
        let rows = transaction
            .query(
                "SELECT at, ppm, packet_at, packet FROM nox_over WHERE device = $1 AND at BETWEEN $2 AND $3",
                &[&device, &from, &to],
            )
            .await?;
        let seconds: BTreeMap<Timestamp, (f32, Packet)> =
            rows.iter().map(|row| (row.get(0), (row.get(1), (row.get(2), row.get(3))))).collect();
        // A second of margin: the neighbour that would continue a run at the end would have been loaded.
        let first_is_inside = seconds.keys().next().is_none_or(|first| *first > from.plus_seconds(1));
        let last_is_inside = seconds.keys().next_back().is_none_or(|last| *last < to.plus_seconds(-1));
        if first_is_inside && last_is_inside {
            return Ok((seconds, (from, to)));
        }
        if !first_is_inside {
            from = from.plus_seconds(-WIDEN);
        }
        if !last_is_inside {
            to = to.plus_seconds(WIDEN);
        }
    }
}

/// The raw packets of a run, as long as retention has not taken them.
async fn evidence(
    transaction: &Transaction<'_>,
    device: i32,
    name: &DeviceId,
    packets: &BTreeSet<Packet>,
) -> Result<Vec<Evidence>, tokio_postgres::Error> {
    let (sent_at, digest): (Vec<Timestamp>, Vec<i64>) = packets.iter().copied().unzip();
    let rows = transaction
        .query(
            "SELECT p.sent_at, p.digest, p.raw FROM unnest($2::timestamptz[], $3::int8[]) AS u (sent_at, digest) \
             JOIN terminal_packet p ON p.sent_at = u.sent_at AND p.device = $1 AND p.digest = u.digest \
             ORDER BY p.sent_at, p.digest",
            &[&device, &sent_at, &digest],
        )
        .await?;
    let named = |row: &tokio_postgres::Row| Evidence {
        reading: format!("packet {name}/{}/{:016x}", row.get::<_, Timestamp>(0), row.get::<_, i64>(1)),
        raw: Bytes::from(row.get::<_, Vec<u8>>(2)),
    };
    Ok(rows.iter().map(named).collect())
}
