//! The one transaction of a batch.
//!
//! Optimistic first: COPY straight into the tables. A unique violation rolls back and the same batch goes through staging
//! tables, which say for each row whether it was new, a repeat of the same content, or a conflict. While duplicates keep
//! coming the writer stays on that way; after some clean batches in a row it is optimistic again.

use std::borrow::Cow;

use bytes::Bytes;
use futures_util::SinkExt;
use sha2::{Digest, Sha256};
use tokio_postgres::{Client, Transaction};
use uuid::Uuid;

use super::{
    batch::{Batch, DeadLetter, RowRef, Table, Tally, VehicleTask},
    prepared::Prepared,
    tables::{self, KEYED, KeyedTable},
};
use crate::{
    fault::Reason,
    finding::{Finding, Review, Subject},
    publish::{event, outbox},
    reading::Timestamp,
};

/// Clean batches in a row before COPY is tried again without staging: a failed COPY costs a whole round.
const CALM_BATCHES: u32 = 16;

/// What became of a batch once committed.
#[derive(Debug, Default)]
pub struct Committed {
    /// By source, as written to the book.
    pub tallies: Vec<Tally>,
    /// Every reading that was put aside, conflicts included.
    pub refused: Vec<(usize, Reason)>,
    pub findings: Vec<Raised>,
    pub tasks: u64,
    pub events: u64,
}

/// A finding that was not there before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raised {
    pub rule: Cow<'static, str>,
    pub intercept: bool,
}

/// A writer's connection with its statements and its memory of recent duplicates.
pub struct Committer {
    client: Client,
    holder: String,
    sources: Vec<String>,
    stages_ready: bool,
    calm: u32,
    prepared: Prepared,
}

/// How each row of a keyed table fared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    New,
    Duplicate,
    Conflict,
}

impl Committer {
    /// `holder` names this writer's rows in the book.
    pub fn new(client: Client, holder: String, sources: Vec<String>) -> Self {
        Self { client, holder, sources, stages_ready: false, calm: CALM_BATCHES, prepared: Prepared::default() }
    }

    pub fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Commits the batch. On error nothing of it is stored, or (a connection lost during COMMIT) all of it is; in both
    /// cases the same call with the same batch is right.
    pub async fn commit(&mut self, batch: &Batch) -> Result<Committed, tokio_postgres::Error> {
        if self.calm >= CALM_BATCHES {
            match self.transact(batch, Way::Optimistic).await {
                Err(error) if super::error::class_of(&error) == super::error::Class::Duplicate => self.calm = 0,
                other => return other,
            }
        }
        if !self.stages_ready {
            let create = KEYED.map(KeyedTable::create_stage).join(";\n");
            self.client.batch_execute(&create).await?;
            self.stages_ready = true;
        }
        let committed = self.transact(batch, Way::Staged).await?;
        let clean = committed.tallies.iter().all(|tally| tally.duplicate == 0 && tally.conflict == 0);
        self.calm = if clean { self.calm + 1 } else { 0 };
        Ok(committed)
    }

    /// After a connection was lost nobody knows what committed, so the next batches are likely repeats.
    pub fn expect_duplicates(&mut self) {
        self.calm = 0;
    }

    async fn transact(&mut self, batch: &Batch, way: Way) -> Result<Committed, tokio_postgres::Error> {
        let transaction = self.client.transaction().await?;
        let prepared = &mut self.prepared;
        let outcomes = store_rows(&transaction, prepared, batch, way).await?;
        let mut committed = Committed { tallies: batch.tallies.clone(), ..Committed::default() };
        let mut letters: Vec<&DeadLetter> = batch.dead_letters.iter().collect();
        let conflicts = account(batch, &outcomes, &mut committed);
        letters.extend(&conflicts);
        committed.refused = letters.iter().map(|letter| (letter.source, letter.reason)).collect();
        insert_dead_letters(&transaction, prepared, &letters, &self.sources).await?;
        let is_new = |owner: RowRef| outcomes.of(owner) == Outcome::New;
        let raised: Vec<&Finding> = batch.findings.iter().filter(|f| is_new(f.owner)).map(|f| &f.finding).collect();
        if !raised.is_empty() {
            let (rules, events) = insert_findings(&transaction, prepared, &raised).await?;
            (committed.findings, committed.events) = (rules, events);
        }
        committed.tasks = insert_tasks(&transaction, prepared, batch, &is_new).await?;
        insert_signature_tasks(&transaction, prepared, batch, &is_new).await?;
        insert_sightings(&transaction, prepared, batch, &is_new).await?;
        update_book(&transaction, prepared, &self.holder, &self.sources, &committed.tallies).await?;
        transaction.commit().await?;
        Ok(committed)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Optimistic,
    Staged,
}

/// Outcomes by table; `None` where every row is new.
struct Outcomes([Option<Vec<Outcome>>; 4]);

impl Outcomes {
    fn of(&self, row: RowRef) -> Outcome {
        match self.0.get(row.table as usize) {
            Some(Some(outcomes)) => outcomes.get(row.row as usize).copied().unwrap_or(Outcome::Conflict),
            _ => Outcome::New,
        }
    }
}

async fn store_rows(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    batch: &Batch,
    way: Way,
) -> Result<Outcomes, tokio_postgres::Error> {
    let mut outcomes = Outcomes(Default::default());
    for (place, (table, keyed)) in KEYED.iter().zip(&batch.keyed).enumerate() {
        if keyed.rows.is_empty() {
            continue;
        }
        if way == Way::Optimistic {
            copy(transaction, prepared, &table.copy(), keyed.rows.stream()).await?;
        } else {
            let fared = staged(transaction, prepared, table, keyed).await?;
            outcomes.0[place] = Some(fared);
        }
    }
    if !batch.passages.is_empty() {
        let stream = match &outcomes.0[Table::Passage as usize] {
            None => batch.passages.stream(),
            Some(fared) => {
                let new = fared.iter().enumerate().filter(|(_, o)| **o == Outcome::New).map(|(row, _)| row);
                batch.passages.stream_of(new)
            }
        };
        copy(transaction, prepared, &tables::copy_passage(), stream).await?;
    }
    Ok(outcomes)
}

async fn copy(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    sql: &str,
    stream: Bytes,
) -> Result<u64, tokio_postgres::Error> {
    let statement = prepared.get(transaction, sql).await?;
    let sink = transaction.copy_in(&statement).await?;
    tokio::pin!(sink);
    sink.send(stream).await?;
    sink.finish().await
}

async fn staged(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    table: &KeyedTable,
    keyed: &super::batch::KeyedRows,
) -> Result<Vec<Outcome>, tokio_postgres::Error> {
    copy(transaction, prepared, &table.copy_stage(), keyed.rows.numbered_stream()).await?;
    // A row that is neither new nor comparable would be a row that nobody accounts for; it counts as a conflict.
    let mut outcomes = vec![Outcome::Conflict; keyed.rows.len()];
    let mut set = |row: i32, outcome| {
        if let Some(place) = usize::try_from(row).ok().and_then(|row| outcomes.get_mut(row)) {
            *place = outcome;
        }
    };
    let new = prepared.query(transaction, &table.insert_new(), &[]).await?;
    let compared = match (table.time, keyed.span) {
        (Some(_), Some((from, to))) => prepared.query(transaction, &table.compare(), &[&from, &to]).await?,
        _ => prepared.query(transaction, &table.compare(), &[]).await?,
    };
    for row in compared {
        if row.get(1) {
            set(row.get(0), Outcome::Duplicate);
        }
    }
    for row in new {
        set(row.get(0), Outcome::New);
    }
    Ok(outcomes)
}

/// Completes the tallies and makes the dead letters of conflicting readings.
fn account(batch: &Batch, outcomes: &Outcomes, committed: &mut Committed) -> Vec<DeadLetter> {
    let mut conflicts = Vec::new();
    for table in [Table::Passage, Table::Stream, Table::Item] {
        for (row, origin) in batch.keyed[table as usize].origins.iter().enumerate() {
            let tally = &mut committed.tallies[origin.source];
            tally.decoded += 1;
            match outcomes.of(RowRef { table, row: row as u32 }) {
                Outcome::New => tally.stored += 1,
                Outcome::Duplicate => tally.duplicate += 1,
                Outcome::Conflict => {
                    tally.conflict += 1;
                    let message = &batch.messages[origin.message as usize];
                    conflicts.push(DeadLetter {
                        source: origin.source,
                        received_at: message.received_at,
                        topic: message.topic.clone(),
                        reason: Reason::Conflict,
                        detail: "a reading with the same key and other content is stored already".into(),
                        element: Some(origin.element),
                        raw: origin.raw.clone(),
                    });
                }
            }
        }
    }
    conflicts
}

async fn insert_dead_letters(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    letters: &[&DeadLetter],
    sources: &[String],
) -> Result<(), tokio_postgres::Error> {
    if letters.is_empty() {
        return Ok(());
    }
    let received: Vec<Timestamp> = letters.iter().map(|l| l.received_at).collect();
    let source: Vec<&str> = letters.iter().map(|l| sources.get(l.source).map_or("", String::as_str)).collect();
    let topic: Vec<String> = letters.iter().map(|l| l.topic.replace('\0', "\u{fffd}")).collect();
    let reason: Vec<&str> = letters.iter().map(|l| l.reason.name()).collect();
    let detail: Vec<String> = letters.iter().map(|l| l.detail.replace('\0', "\u{fffd}")).collect();
    let element: Vec<Option<i32>> = letters.iter().map(|l| l.element).collect();
    let raw: Vec<&[u8]> = letters.iter().map(|l| l.raw.as_ref()).collect();
    let digest: Vec<Vec<u8>> = letters.iter().map(|l| Sha256::digest(&l.raw).to_vec()).collect();
    prepared
        .execute(
            transaction,
            "INSERT INTO dead_letter (received_at, source, topic, reason, detail, element, raw, sha256) \
             SELECT * FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], $6::int4[], \
             $7::bytea[], $8::bytea[]) ON CONFLICT (sha256, topic, reason) DO NOTHING",
            &[&received, &source, &topic, &reason, &detail, &element, &raw, &digest],
        )
        .await?;
    Ok(())
}

/// Stores findings that are not there yet, with evidence and events; returns the rules raised and the events written.
pub async fn insert_findings(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    findings: &[&Finding],
) -> Result<(Vec<Raised>, u64), tokio_postgres::Error> {
    let id: Vec<Uuid> = findings.iter().map(|f| f.id).collect();
    let rule: Vec<&str> = findings.iter().map(|f| f.rule.as_ref()).collect();
    let kind: Vec<i16> = findings.iter().map(|f| subject_kind(&f.subject)).collect();
    let subject: Vec<String> = findings.iter().map(|f| f.subject.to_string()).collect();
    let from: Vec<Timestamp> = findings.iter().map(|f| f.from).collect();
    let to: Vec<Timestamp> = findings.iter().map(|f| f.to).collect();
    let review: Vec<serde_json::Value> = findings.iter().map(|f| review_json(&f.review)).collect();
    let content: Vec<&serde_json::Value> = findings.iter().map(|f| &f.content).collect();
    let rows = prepared
        .query(
            transaction,
            "INSERT INTO finding (id, rule, subject_kind, subject, from_at, to_at, review, content) \
             SELECT DISTINCT ON (id) * FROM unnest($1::uuid[], $2::text[], $3::int2[], $4::text[], $5::timestamptz[], \
             $6::timestamptz[], $7::jsonb[], $8::jsonb[]) AS f (id, rule, kind, subject, from_at, to_at, review, content) \
             ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING id",
            &[&id, &rule, &kind, &subject, &from, &to, &review, &content],
        )
        .await?;
    let mut new: Vec<Uuid> = rows.iter().map(|row| row.get(0)).collect();
    let (mut events, mut rules, mut fresh) = (Vec::new(), Vec::new(), Vec::new());
    for finding in findings {
        // Each id once, also when the batch holds the finding twice.
        let Some(place) = new.iter().position(|id| *id == finding.id) else { continue };
        new.swap_remove(place);
        rules.push(Raised { rule: finding.rule.clone(), intercept: finding.intercept });
        fresh.push(*finding);
        events.extend(event::raised(finding, 1));
    }
    insert_evidence(transaction, prepared, &fresh).await?;
    outbox::insert(transaction, &events).await?;
    Ok((rules, events.len() as u64))
}

/// Keeps the raw readings behind the findings, once each.
pub async fn insert_evidence(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    findings: &[&Finding],
) -> Result<(), tokio_postgres::Error> {
    let pairs: Vec<_> = findings.iter().flat_map(|f| f.evidence.iter().map(|e| (f.id, e))).collect();
    if pairs.is_empty() {
        return Ok(());
    }
    let id: Vec<Uuid> = pairs.iter().map(|(id, _)| *id).collect();
    let reading: Vec<&str> = pairs.iter().map(|(_, e)| e.reading.as_str()).collect();
    let raw: Vec<&[u8]> = pairs.iter().map(|(_, e)| e.raw.as_ref()).collect();
    let digest: Vec<Vec<u8>> = pairs.iter().map(|(_, e)| Sha256::digest(&e.raw).to_vec()).collect();
    prepared
        .execute(
            transaction,
            "INSERT INTO evidence (finding, reading, raw, sha256) \
             SELECT * FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[]) ON CONFLICT DO NOTHING",
            &[&id, &reading, &raw, &digest],
        )
        .await?;
    Ok(())
}

pub fn subject_kind(subject: &Subject) -> i16 {
    match subject {
        Subject::Vehicle(_) => 0,
        Subject::Terminal(_) => 1,
        Subject::Machine(_) => 2,
    }
}

pub fn review_json(review: &Review) -> serde_json::Value {
    match review {
        Review::NotNeeded => serde_json::json!({"state": "not_needed"}),
        Review::Needed(why) => serde_json::json!({"state": "needed", "why": why}),
    }
}

/// Leaves evaluation tasks; see `evaluate::tasks` for why an innocent reading needs one only for an interesting vehicle.
async fn insert_tasks(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    batch: &Batch,
    is_new: &impl Fn(RowRef) -> bool,
) -> Result<u64, tokio_postgres::Error> {
    let (mut guilty, mut innocent) = (Vec::new(), Vec::new());
    for task in batch.vehicle_tasks.iter().filter(|task| is_new(task.owner)) {
        if task.raises_interest { &mut guilty } else { &mut innocent }.push((task.plate_key, task.at));
    }
    let mut tasks = 0;
    if !guilty.is_empty() {
        tasks += insert_interest(transaction, prepared, &mut guilty).await?;
    }
    if !innocent.is_empty() {
        let (keys, at): (Vec<i64>, Vec<Timestamp>) = innocent.into_iter().unzip();
        tasks += prepared
            .execute(
                transaction,
                "INSERT INTO evaluation_task (kind, subject, from_at, to_at) \
                 SELECT 1, k, min(at), max(at) FROM unnest($1::int8[], $2::timestamptz[]) AS u (k, at) \
                 JOIN evaluation_interest e ON e.kind = 1 AND e.subject = k GROUP BY k",
                &[&keys, &at],
            )
            .await?;
    }
    let nox: Vec<_> = batch.nox_seconds.iter().filter(|second| is_new(second.owner)).collect();
    if !nox.is_empty() {
        let device: Vec<i32> = nox.iter().map(|s| s.device).collect();
        let at: Vec<Timestamp> = nox.iter().map(|s| s.at).collect();
        let ppm: Vec<f32> = nox.iter().map(|s| s.ppm).collect();
        let packet: Vec<i64> = nox.iter().map(|s| s.packet).collect();
        let packet_at: Vec<Timestamp> = nox.iter().map(|s| s.packet_at).collect();
        prepared
            .execute(
                transaction,
                "INSERT INTO nox_over (device, at, ppm, packet, packet_at) SELECT * FROM unnest($1::int4[], \
                 $2::timestamptz[], $3::real[], $4::int8[], $5::timestamptz[]) ON CONFLICT DO NOTHING",
                &[&device, &at, &ppm, &packet, &packet_at],
            )
            .await?;
        tasks += prepared
            .execute(
                transaction,
                "INSERT INTO evaluation_task (kind, subject, from_at, to_at) SELECT 2, d, min(at), max(at) \
                 FROM unnest($1::int4[], $2::timestamptz[]) AS u (d, at) GROUP BY d",
                &[&device, &at],
            )
            .await?;
    }
    insert_terminal_tasks(transaction, prepared, batch, is_new).await?;
    Ok(tasks)
}

/// One row a window and batch. They are not counted as tasks: nobody is woken for what is looked at minutes later.
async fn insert_terminal_tasks(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    batch: &Batch,
    is_new: &impl Fn(RowRef) -> bool,
) -> Result<(), tokio_postgres::Error> {
    let of_new = batch.terminal_tasks.iter().filter(|task| is_new(task.owner));
    let mut tasks: Vec<_> =
        of_new.map(|task| (task.device, task.window, task.sent_in, task.instant, task.not_before)).collect();
    if tasks.is_empty() {
        return Ok(());
    }
    tasks.sort_unstable();
    tasks.dedup();
    let device: Vec<i32> = tasks.iter().map(|(device, ..)| *device).collect();
    let window: Vec<Timestamp> = tasks.iter().map(|(_, window, ..)| *window).collect();
    let sent_in: Vec<Option<Timestamp>> = tasks.iter().map(|(_, _, sent_in, ..)| *sent_in).collect();
    let instant: Vec<Option<Timestamp>> = tasks.iter().map(|(.., instant, _)| *instant).collect();
    let not_before: Vec<Timestamp> = tasks.iter().map(|(.., not_before)| *not_before).collect();
    prepared
        .execute(
            transaction,
            "INSERT INTO terminal_task (device, at, sent_in, instant, due_at) \
             SELECT d, at, sent_in, instant, greatest(due, now()) FROM unnest($1::int4[], $2::timestamptz[], \
             $3::timestamptz[], $4::timestamptz[], $5::timestamptz[]) AS u (d, at, sent_in, instant, due)",
            &[&device, &window, &sent_in, &instant, &not_before],
        )
        .await?;
    Ok(())
}

/// Leaves what is to be verified; see `crate::signature`.
async fn insert_signature_tasks(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    batch: &Batch,
    is_new: &impl Fn(RowRef) -> bool,
) -> Result<(), tokio_postgres::Error> {
    let packets: Vec<_> = batch.signed_packets.iter().filter(|packet| is_new(packet.owner)).collect();
    if packets.is_empty() {
        return Ok(());
    }
    let sent_at: Vec<Timestamp> = packets.iter().map(|p| p.sent_at).collect();
    let device: Vec<i32> = packets.iter().map(|p| p.device).collect();
    let digest: Vec<i64> = packets.iter().map(|p| p.digest).collect();
    prepared
        .execute(
            transaction,
            "INSERT INTO signature_task (sent_at, device, digest) \
             SELECT * FROM unnest($1::timestamptz[], $2::int4[], $3::int8[])",
            &[&sent_at, &device, &digest],
        )
        .await?;
    Ok(())
}

/// Leaves the batch's sightings of read plates for the sweep; `evaluate::cloned` says why every batch must.
async fn insert_sightings(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    batch: &Batch,
    is_new: &impl Fn(RowRef) -> bool,
) -> Result<(), tokio_postgres::Error> {
    let new: Vec<&VehicleTask> = batch.vehicle_tasks.iter().filter(|task| is_new(task.owner)).collect();
    if new.is_empty() {
        return Ok(());
    }
    let key: Vec<i64> = new.iter().map(|sighting| sighting.plate_key).collect();
    let at: Vec<Timestamp> = new.iter().map(|sighting| sighting.at).collect();
    let station: Vec<i32> = new.iter().map(|sighting| sighting.station).collect();
    let insert = "INSERT INTO sighting_sweep (plate_key, passed_at, station) VALUES ($1, $2, $3)";
    prepared.execute(transaction, insert, &[&key, &at, &station]).await?;
    Ok(())
}

async fn insert_interest(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    guilty: &mut [(i64, Timestamp)],
) -> Result<u64, tokio_postgres::Error> {
    // Sorted, so that two writers with the same vehicles queue instead of deadlocking.
    guilty.sort_unstable();
    let (keys, at): (Vec<i64>, Vec<Timestamp>) = guilty.iter().copied().unzip();
    prepared
        .execute(
            transaction,
            "INSERT INTO evaluation_interest (kind, subject) SELECT DISTINCT 1, k FROM unnest($1::int8[]) AS u (k) \
             ORDER BY k ON CONFLICT DO NOTHING",
            &[&keys],
        )
        .await?;
    prepared
        .execute(
            transaction,
            "INSERT INTO evaluation_task (kind, subject, from_at, to_at) SELECT 1, k, min(at), max(at) \
             FROM unnest($1::int8[], $2::timestamptz[]) AS u (k, at) GROUP BY k",
            &[&keys, &at],
        )
        .await
}

async fn update_book(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    holder: &str,
    sources: &[String],
    tallies: &[Tally],
) -> Result<(), tokio_postgres::Error> {
    for (source, tally) in sources.iter().zip(tallies).filter(|(_, tally)| **tally != Tally::default()) {
        let numbers = [tally.messages, tally.decoded, tally.stored, tally.duplicate, tally.conflict, tally.quarantined]
            .map(|n| n as i64);
        let [messages, decoded, stored, duplicate, conflict, quarantined] = &numbers;
        prepared
            .execute(
                transaction,
                "INSERT INTO book AS b VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (holder, source) DO UPDATE SET \
                 messages = b.messages + $3, decoded = b.decoded + $4, stored = b.stored + $5, \
                 duplicate = b.duplicate + $6, conflict = b.conflict + $7, quarantined = b.quarantined + $8",
                &[&holder, source, messages, decoded, stored, duplicate, conflict, quarantined],
            )
            .await?;
    }
    Ok(())
}
