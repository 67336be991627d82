//! The one transaction of a batch.
//!
//! Optimistic first: COPY straight into the tables. A unique violation rolls back and the same batch goes through staging
//! tables, which say for each row whether it was new, a repeat of the same content, or a conflict. While duplicates keep
//! coming the writer stays on that way; after some clean batches in a row it is optimistic again.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::SinkExt;
use tokio_postgres::{Client, Transaction};

use super::{
    batch::{Batch, Cluster, DeadLetter, Origin, RowRef, Table, Tally},
    consequences,
    findings::{self, Raised},
    flight::Flight,
    prepared::Prepared,
    tables::{self, KEYED, KeyedTable},
};
use crate::{fault::Reason, finding::Finding};

/// Clean batches in a row before COPY is tried again without staging: a failed COPY costs a whole round.
const CALM_BATCHES: u32 = 16;

/// What became of a batch once committed.
#[derive(Debug, Default)]
pub struct Committed {
    /// By source, as written to the book.
    pub tallies: Vec<Tally>,
    /// Every reading that was put aside, conflicts and repeats in other bytes included.
    pub refused: Vec<(usize, Reason)>,
    pub findings: Vec<Raised>,
    /// Readings that left a rule undecided, by rule and what is missing.
    pub undecided: BTreeMap<(&'static str, &'static str), u64>,
    pub tasks: u64,
    pub events: u64,
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
    /// The content of a duplicate in other bytes.
    Respelled,
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
        let further = account(batch, &outcomes, &mut committed);
        letters.extend(&further);
        committed.refused = letters.iter().map(|letter| (letter.source, letter.reason)).collect();
        let is_new = |owner: RowRef| outcomes.of(owner) == Outcome::New;
        for undecided in batch.undecided.iter().filter(|undecided| is_new(undecided.owner)) {
            *committed.undecided.entry((undecided.rule, undecided.missing)).or_default() += 1;
        }
        let raised: Vec<&Finding> = batch.findings.iter().filter(|f| is_new(f.owner)).map(|f| &f.finding).collect();
        let mut flight = Flight::default();
        let inserted = (!raised.is_empty()).then(|| findings::add(&mut flight, &raised));
        consequences::dead_letters(&mut flight, &letters, &self.sources);
        let counting = consequences::tasks(&mut flight, batch, &is_new);
        consequences::signature_tasks(&mut flight, batch, &is_new);
        consequences::sightings(&mut flight, batch, &is_new);
        consequences::book(&mut flight, &self.holder, &self.sources, &committed.tallies);
        let answers = flight.send(&transaction, prepared).await?;
        committed.tasks = counting.iter().map(|&place| answers[place].affected).sum();
        if let Some(place) = inserted {
            let complete = findings::complete(&transaction, prepared, &raised, &answers[place]);
            (committed.findings, committed.events) = complete.await?;
        }
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
    for row in prepared.query(transaction, &table.insert_new(), &[]).await? {
        set(&mut outcomes, row.get(0), Outcome::New);
    }
    let known: Vec<i32> =
        (0..).zip(&outcomes).filter(|(_, outcome)| **outcome != Outcome::New).map(|(row, _)| row).collect();
    if known.is_empty() {
        return Ok(outcomes);
    }
    let mut compared = Vec::new();
    if table.time.is_none() {
        compared = prepared.query(transaction, &table.compare(), &[&known]).await?;
    }
    for Cluster { rows, from, to } in keyed.clusters(&known) {
        compared.extend(prepared.query(transaction, &table.compare(), &[&rows, &from, &to]).await?);
    }
    for row in compared.iter().filter(|row| row.get(1)) {
        let outcome = if row.get(2) { Outcome::Duplicate } else { Outcome::Respelled };
        set(&mut outcomes, row.get(0), outcome);
    }
    Ok(outcomes)
}

fn set(outcomes: &mut [Outcome], row: i32, outcome: Outcome) {
    if let Some(place) = usize::try_from(row).ok().and_then(|row| outcomes.get_mut(row)) {
        *place = outcome;
    }
}

/// Completes the tallies and makes the dead letters of conflicting readings, and of repeats in other bytes.
fn account(batch: &Batch, outcomes: &Outcomes, committed: &mut Committed) -> Vec<DeadLetter> {
    let mut letters = Vec::new();
    for table in [Table::Passage, Table::Stream, Table::Item] {
        for (row, origin) in batch.keyed[table as usize].origins.iter().enumerate() {
            let tally = &mut committed.tallies[origin.source];
            tally.decoded += 1;
            match outcomes.of(RowRef { table, row: row as u32 }) {
                Outcome::New => tally.stored += 1,
                Outcome::Duplicate => tally.duplicate += 1,
                Outcome::Respelled => {
                    tally.duplicate += 1;
                    letters.push(letter(batch, origin, Reason::Respelled));
                }
                Outcome::Conflict => {
                    tally.conflict += 1;
                    letters.push(letter(batch, origin, Reason::Conflict));
                }
            }
        }
    }
    // A packet is no reading. One that is stored already may have come in another wrapper.
    for (row, origin) in batch.keyed[Table::Packet as usize].origins.iter().enumerate() {
        if outcomes.of(RowRef { table: Table::Packet, row: row as u32 }) == Outcome::Respelled {
            letters.push(letter(batch, origin, Reason::Respelled));
        }
    }
    letters
}

fn letter(batch: &Batch, origin: &Origin, reason: Reason) -> DeadLetter {
    let message = &batch.messages[origin.message as usize];
    let detail = match reason {
        Reason::Respelled => {
            "a reading with the same key and content is stored already, in other bytes; nothing needs to be done"
        }
        _ => "a reading with the same key and other content is stored already",
    };
    DeadLetter {
        source: origin.source,
        received_at: message.received_at,
        topic: message.topic.clone(),
        reason,
        detail: detail.into(),
        element: Some(origin.element),
        raw: origin.raw.clone(),
    }
}
