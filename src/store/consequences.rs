//! What a batch leaves beside its rows and findings: dead letters, tasks for the evaluators, sightings, the book.
//!
//! Every function adds statements to the flight of the batch's transaction. `is_new` says of a row whether this batch
//! stored it: a repeated reading has no consequences.

use sha2::{Digest as _, Sha256};

use super::{
    batch::{Batch, DeadLetter, RowRef, Tally, VehicleTask},
    flight::{Flight, value},
};
use crate::reading::Timestamp;

pub fn dead_letters<'a>(flight: &mut Flight<'a>, letters: &[&'a DeadLetter], sources: &'a [String]) {
    if letters.is_empty() {
        return;
    }
    let received: Vec<Timestamp> = letters.iter().map(|l| l.received_at).collect();
    let source: Vec<&str> = letters.iter().map(|l| sources.get(l.source).map_or("", String::as_str)).collect();
    let topic: Vec<String> = letters.iter().map(|l| l.topic.replace('\0', "\u{fffd}")).collect();
    let reason: Vec<&str> = letters.iter().map(|l| l.reason.name()).collect();
    let detail: Vec<String> = letters.iter().map(|l| l.detail.replace('\0', "\u{fffd}")).collect();
    let element: Vec<Option<i32>> = letters.iter().map(|l| l.element).collect();
    let raw: Vec<&[u8]> = letters.iter().map(|l| l.raw.as_ref()).collect();
    let digest: Vec<Vec<u8>> = letters.iter().map(|l| Sha256::digest(&l.raw).to_vec()).collect();
    flight.add(
        "INSERT INTO dead_letter (received_at, source, topic, reason, detail, element, raw, sha256) \
         SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int4[], \
         $7::bytea[], $8::bytea[]) ON CONFLICT (sha256, hashtextextended(topic, 0), reason) DO NOTHING",
        vec![
            value(received),
            value(source),
            value(topic),
            value(reason),
            value(detail),
            value(element),
            value(raw),
            value(digest),
        ],
    );
}

/// Leaves evaluation tasks; see `evaluate::tasks` for why an innocent reading needs one only for an interesting vehicle.
/// Returns the places of the answers that count tasks.
pub fn tasks<'a>(flight: &mut Flight<'a>, batch: &Batch, is_new: &impl Fn(RowRef) -> bool) -> Vec<usize> {
    let mut counting = Vec::with_capacity(3);
    let (mut guilty, mut innocent) = (Vec::new(), Vec::new());
    for task in batch.vehicle_tasks.iter().filter(|task| is_new(task.owner)) {
        if task.raises_interest { &mut guilty } else { &mut innocent }.push((task.plate_key, task.at));
    }
    if !guilty.is_empty() {
        counting.push(of_guilty(flight, guilty));
    }
    if !innocent.is_empty() {
        let (keys, at): (Vec<i64>, Vec<Timestamp>) = innocent.into_iter().unzip();
        counting.push(flight.add(
            "INSERT INTO evaluation_task (kind, subject, from_at, to_at) \
             SELECT 1, k, min(at), max(at) FROM unnest($1::int8[], $2::timestamptz[]) AS u (k, at) CROSS JOIN LATERAL \
             (SELECT FROM evaluation_interest e WHERE e.kind = 1 AND e.subject = u.k LIMIT 1) AS e GROUP BY k",
            vec![value(keys), value(at)],
        ));
    }
    counting.extend(of_nox(flight, batch, is_new));
    of_terminals(flight, batch, is_new);
    counting
}

fn of_guilty(flight: &mut Flight<'_>, mut guilty: Vec<(i64, Timestamp)>) -> usize {
    // Sorted, so that two writers with the same vehicles queue instead of deadlocking.
    guilty.sort_unstable();
    let (keys, at): (Vec<i64>, Vec<Timestamp>) = guilty.into_iter().unzip();
    flight.add(
        "INSERT INTO evaluation_interest (kind, subject) SELECT DISTINCT 1, k FROM unnest($1::int8[]) AS u (k) \
         ORDER BY k ON CONFLICT DO NOTHING",
        vec![value(keys.clone())],
    );
    flight.add(
        "INSERT INTO evaluation_task (kind, subject, from_at, to_at) SELECT 1, k, min(at), max(at) \
         FROM unnest($1::int8[], $2::timestamptz[]) AS u (k, at) GROUP BY k",
        vec![value(keys), value(at)],
    )
}

fn of_nox(flight: &mut Flight<'_>, batch: &Batch, is_new: &impl Fn(RowRef) -> bool) -> Option<usize> {
    let nox: Vec<_> = batch.nox_seconds.iter().filter(|second| is_new(second.owner)).collect();
    if nox.is_empty() {
        return None;
    }
    let device: Vec<i32> = nox.iter().map(|s| s.device).collect();
    let at: Vec<Timestamp> = nox.iter().map(|s| s.at).collect();
    let ppm: Vec<f32> = nox.iter().map(|s| s.ppm).collect();
    let packet: Vec<i64> = nox.iter().map(|s| s.packet).collect();
    let packet_at: Vec<Timestamp> = nox.iter().map(|s| s.packet_at).collect();
    flight.add(
        "INSERT INTO nox_over (device, at, ppm, packet, packet_at) SELECT * FROM unnest($1::int4[], \
         $2::timestamptz[], $3::real[], $4::int8[], $5::timestamptz[]) ON CONFLICT DO NOTHING",
        vec![value(device.clone()), value(at.clone()), value(ppm), value(packet), value(packet_at)],
    );
    Some(flight.add(
        "INSERT INTO evaluation_task (kind, subject, from_at, to_at) SELECT 2, d, min(at), max(at) \
         FROM unnest($1::int4[], $2::timestamptz[]) AS u (d, at) GROUP BY d",
        vec![value(device), value(at)],
    ))
}

/// One row a window and batch. They are not counted as tasks: nobody is woken for what is looked at minutes later.
fn of_terminals(flight: &mut Flight<'_>, batch: &Batch, is_new: &impl Fn(RowRef) -> bool) {
    let of_new = batch.terminal_tasks.iter().filter(|task| is_new(task.owner));
    let mut tasks: Vec<_> =
        of_new.map(|task| (task.device, task.window, task.sent_in, task.instant, task.not_before)).collect();
    if tasks.is_empty() {
        return;
    }
    tasks.sort_unstable();
    tasks.dedup();
    let device: Vec<i32> = tasks.iter().map(|(device, ..)| *device).collect();
    let window: Vec<Timestamp> = tasks.iter().map(|(_, window, ..)| *window).collect();
    let sent_in: Vec<Option<Timestamp>> = tasks.iter().map(|(_, _, sent_in, ..)| *sent_in).collect();
    let instant: Vec<Option<Timestamp>> = tasks.iter().map(|(.., instant, _)| *instant).collect();
    let not_before: Vec<Timestamp> = tasks.iter().map(|(.., not_before)| *not_before).collect();
    flight.add(
        "INSERT INTO terminal_task (device, at, sent_in, instant, due_at) \
         SELECT d, at, sent_in, instant, greatest(due, now()) FROM unnest($1::int4[], $2::timestamptz[], \
         $3::timestamptz[], $4::timestamptz[], $5::timestamptz[]) AS u (d, at, sent_in, instant, due)",
        vec![value(device), value(window), value(sent_in), value(instant), value(not_before)],
    );
}

/// Leaves what is to be verified; see `crate::signature`.
pub fn signature_tasks(flight: &mut Flight<'_>, batch: &Batch, is_new: &impl Fn(RowRef) -> bool) {
    let packets: Vec<_> = batch.signed_packets.iter().filter(|packet| is_new(packet.owner)).collect();
    if packets.is_empty() {
        return;
    }
    let sent_at: Vec<Timestamp> = packets.iter().map(|p| p.sent_at).collect();
    let device: Vec<i32> = packets.iter().map(|p| p.device).collect();
    let digest: Vec<i64> = packets.iter().map(|p| p.digest).collect();
    flight.add(
        "INSERT INTO signature_task (sent_at, device, digest) \
         SELECT * FROM unnest($1::timestamptz[], $2::int4[], $3::int8[])",
        vec![value(sent_at), value(device), value(digest)],
    );
}

/// Leaves the batch's sightings of read plates for the sweep; `evaluate::cloned` says why every batch must.
pub fn sightings(flight: &mut Flight<'_>, batch: &Batch, is_new: &impl Fn(RowRef) -> bool) {
    let new: Vec<&VehicleTask> = batch.vehicle_tasks.iter().filter(|task| is_new(task.owner)).collect();
    if new.is_empty() {
        return;
    }
    let key: Vec<i64> = new.iter().map(|sighting| sighting.plate_key).collect();
    let at: Vec<Timestamp> = new.iter().map(|sighting| sighting.at).collect();
    let station: Vec<i32> = new.iter().map(|sighting| sighting.station).collect();
    flight.add(
        "INSERT INTO sighting_sweep (plate_key, passed_at, station) VALUES ($1, $2, $3)",
        vec![value(key), value(at), value(station)],
    );
}

/// Adds what the batch came to up in the book, a row for each source that had something.
pub fn book<'a>(flight: &mut Flight<'a>, holder: &'a str, sources: &'a [String], tallies: &[Tally]) {
    for (source, tally) in sources.iter().zip(tallies).filter(|(_, tally)| **tally != Tally::default()) {
        let mut values = vec![value(holder), value(source.as_str())];
        let numbers = [tally.messages, tally.decoded, tally.stored, tally.duplicate, tally.conflict, tally.quarantined];
        values.extend(numbers.map(|number| value(number as i64)));
        flight.add(
            "INSERT INTO book AS b VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (holder, source) DO UPDATE SET \
             messages = b.messages + $3, decoded = b.decoded + $4, stored = b.stored + $5, \
             duplicate = b.duplicate + $6, conflict = b.conflict + $7, quarantined = b.quarantined + $8",
            values,
        );
    }
}
