//! Windows and days of one device in their tables.

use std::collections::BTreeSet;

use serde_json::Value;
use tokio_postgres::Transaction;

use super::{alarms::Window, day::Day, facts::Facts, load};
use crate::{judge::TerminalTable, reading::Timestamp, store::prepared::Prepared};

type Error = tokio_postgres::Error;

/// What tasks bring to a window besides its name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    pub sent_in: BTreeSet<Timestamp>,
    pub instants: BTreeSet<Timestamp>,
}

/// The facts of a window as they were condensed last.
pub async fn facts(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    device: i32,
    start: Timestamp,
) -> Result<Option<Facts>, Error> {
    let rows = prepared
        .query(transaction, "SELECT facts FROM terminal_window WHERE device = $1 AND at = $2", &[&device, &start])
        .await?;
    Ok(rows.first().and_then(|row| serde_json::from_value(row.get(0)).ok()))
}

/// Condenses a window again from what is stored now.
pub async fn condense(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    device: i32,
    (start, brought): (Timestamp, &Brought),
    table: &TerminalTable,
) -> Result<(), Error> {
    let before = facts(transaction, prepared, device, start).await?.unwrap_or_default();
    let instants = &brought.instants | &before.instants;
    let (records, packets) = load::window(transaction, prepared, device, start, (&instants, table.bounds())).await?;
    let mut facts = Facts::of(&records, &packets, &table.numbers).or_kept(before);
    facts.sent_in.extend(&brought.sent_in);
    facts.instants = instants;
    if facts.is_empty() {
        return Ok(());
    }
    let json = serde_json::to_value(&facts).unwrap_or_default();
    prepared
        .execute(
            transaction,
            "INSERT INTO terminal_window AS w (device, at, fingerprint, facts) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (device, at) DO UPDATE SET fingerprint = $3, facts = $4",
            &[&device, &start, &table.fingerprint(), &json],
        )
        .await?;
    Ok(())
}

/// The windows of a span, its end not included; those made with other numbers are made again first.
pub async fn windows(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    device: i32,
    (from, to): (Timestamp, Timestamp),
    table: &TerminalTable,
) -> Result<Vec<Window>, Error> {
    let stale = prepared
        .query(
            transaction,
            "SELECT at FROM terminal_window WHERE device = $1 AND at >= $2 AND at < $3 AND fingerprint <> $4",
            &[&device, &from, &to, &table.fingerprint()],
        )
        .await?;
    for row in stale {
        condense(transaction, prepared, device, (row.get(0), &Brought::default()), table).await?;
    }
    let rows = prepared
        .query(
            transaction,
            "SELECT at, facts FROM terminal_window WHERE device = $1 AND at >= $2 AND at < $3 ORDER BY at",
            &[&device, &from, &to],
        )
        .await?;
    let window = |(at, facts): (Timestamp, Value)| Some((at, serde_json::from_value(facts).ok()?));
    Ok(rows.iter().filter_map(|row| window((row.get(0), row.get(1)))).collect())
}

/// Serials of packets sent again in a span, its end not included.
pub async fn resent(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    device: i32,
    (from, to): (Timestamp, Timestamp),
) -> Result<BTreeSet<u16>, Error> {
    let rows = prepared
        .query(
            transaction,
            "SELECT facts #> '{packets,resent}' FROM terminal_window \
             WHERE device = $1 AND at >= $2 AND at < $3 AND jsonb_array_length(facts #> '{packets,resent}') > 0",
            &[&device, &from, &to],
        )
        .await?;
    Ok(rows.iter().filter_map(|row| serde_json::from_value::<Vec<u16>>(row.get(0)).ok()).flatten().collect())
}

/// Keeps the figures of a day.
pub async fn keep_day(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    device: i32,
    start: Timestamp,
    day: &Day,
) -> Result<(), Error> {
    let count = &day.count;
    if count.seen == 0 && day.records == 0 {
        return Ok(());
    }
    let whole = |number: u32| number as i32;
    prepared
        .execute(
            transaction,
            "INSERT INTO terminal_day (device, day, packets, live_packets, missing, restarts, records, \
             online_seconds, first_at, last_at, undetermined, loss_rate) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
             ON CONFLICT (device, day) DO UPDATE SET packets = $3, live_packets = $4, missing = $5, restarts = $6, \
             records = $7, online_seconds = $8, first_at = $9, last_at = $10, undetermined = $11, loss_rate = $12",
            &[
                &device,
                &start,
                &whole(count.seen),
                &whole(count.live),
                &count.missing.map(whole),
                &whole(count.restarts),
                &whole(day.records),
                &count.online_seconds,
                &count.first,
                &count.last,
                &day.undetermined,
                &count.loss_pct().map(|loss_pct| loss_pct / 100.0),
            ],
        )
        .await?;
    Ok(())
}
