//! What the writer's transaction costs: rows/s of [`Committer`] with prepared batches, without duplicates and with 10 %
//! of them, against plain binary COPY of the same rows into the same tables and indexes.
//!
//! `cargo bench --bench copy -- [ROWS]` on a private PostgreSQL; `DIESELWATCH_BENCH_DATABASE=url` takes an empty database
//! of a server of yours instead, such as one with TimescaleDB (its tables are emptied again and again). With one connection
//! and with two, as the service has them. Plain COPY in one transaction is the ceiling of the ratios; in transactions as
//! small as the writer's it shows what their number alone costs. On TimescaleDB a last part compresses all chunks and
//! delivers everything once more.

mod support;

use std::{sync::Arc, time::Instant};

use anyhow::ensure;
use bytes::{BufMut as _, Bytes, BytesMut};
use dieselwatch::{
    config::Layers,
    judge::RuleBook,
    pipeline::assemble::{Assembler, Message},
    reading::Timestamp,
    simulate::{
        Fleet, Scenario,
        passage::{PassageDetail, PassageMaker},
        script::{Script, ScriptOptions},
    },
    store::{
        batch::{Batch, Table, Tally},
        commit::{Committed, Committer},
        error::{Class, class_of},
        rows::CopyRows,
        tables::{PASSAGE_KEY, copy_passage},
    },
    vehicle::{knowledge::KnowledgeHandle, watch},
};
use futures_util::{SinkExt as _, future::try_join_all};
use tokio_postgres::Client;

const ROWS: usize = 150_000;
/// The default of `database.batch_readings`.
const BATCH: usize = 1000;
/// Of so many rows one was stored by the batch before.
const DUPLICATE_EVERY: usize = 10;
/// The place of terminals among the default sources.
const OBD: usize = 1;
/// Terminal packets in a batch.
const PACKETS: usize = 100;
/// Bytes of the header and trailer of a COPY stream.
const HEADER: usize = 19;
const TRAILER: usize = 2;
const TABLES: &str = "passage, passage_key, sighting_sweep, finding, evidence, outbox, evaluation_task, evaluation_interest, \
     terminal_task, book";

fn main() -> anyhow::Result<()> {
    let rows = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(ROWS);
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run(rows))
}

async fn run(rows: usize) -> anyhow::Result<()> {
    let fleet = support::fleet();
    let (url, _server) = match std::env::var("DIESELWATCH_BENCH_DATABASE") {
        Ok(url) => (url, None),
        Err(_) => {
            let server = support::postgres().await?;
            (server.0.url().to_owned(), Some(server))
        }
    };
    support::prepare(&url, &fleet).await?;
    let client = support::connect(&url).await?;
    let maker = Maker::new(&url, fleet).await?;
    let batches = maker.batches(rows, None);
    let repeating = maker.batches(rows, Some(DUPLICATE_EVERY));
    let bytes: usize = batches.iter().map(Batch::size).sum();
    println!("{rows} passages, {} bytes of COPY each, batches of {BATCH}", bytes / rows);

    // The first round makes files and warms caches; only the second counts.
    let mut plain = 0.0;
    for _ in 0..2 {
        empty(&client).await?;
        plain = plain_copy(&client, &batches).await?;
    }
    println!("  {:<52} {:>9} {:>8}  asked for", "", "rows/s", "ratio");
    let row = |what: &str, rate: f64, asked: &str| println!("  {what:<52} {rate:>9.0} {:>8.2}  {asked}", rate / plain);
    row("plain binary COPY, one transaction", plain, "");
    for connections in [1, 2] {
        let named = |what: &str| format!("{what}, {connections} connection(s)");
        empty(&client).await?;
        let in_batches = plain_in_batches(&url, &batches, connections).await?;
        row(&named(&format!("plain binary COPY, {BATCH} rows a transaction")), in_batches, "");
        empty(&client).await?;
        let (clean, tally) = committed(&url, &batches, connections).await?;
        ensure!(tally.stored == rows as u64 && tally.duplicate == 0, "{tally:?}");
        let findings: i64 = client.query_one("SELECT count(*) FROM finding", &[]).await?.get(0);
        let per_mille = 1000.0 * findings as f64 / rows as f64;
        row(&named(&format!("writer, no duplicates, {per_mille:.0} findings in 1000")), clean, "0.7");
        empty(&client).await?;
        let (mixed, tally) = committed(&url, &repeating, connections).await?;
        ensure!(tally.stored + tally.duplicate == rows as u64 && tally.conflict == 0, "{tally:?}");
        let share = 100.0 * tally.duplicate as f64 / rows as f64;
        row(&named(&format!("writer, {share:.0} % duplicates")), mixed, "0.4");
    }
    compressed(&url, &client, &repeating, &maker.terminals(2000)?).await
}

/// Makes messages of the simulated fleet into batches with the service's own code.
struct Maker {
    assembler: Assembler,
    fleet: Arc<Fleet>,
}

impl Maker {
    async fn new(url: &str, fleet: Arc<Fleet>) -> anyhow::Result<Self> {
        let config = Layers::default().load()?.config;
        let knowledge = KnowledgeHandle::default();
        watch::refresh_once(&mut support::connect(url).await?, &knowledge).await?;
        let rules = Arc::new(RuleBook::load(config.judge.clone())?);
        let assembler = Assembler::new(config.source, knowledge, rules, config.mqtt.max_payload_bytes as usize);
        Ok(Self { assembler, fleet })
    }

    fn batches(&self, rows: usize, duplicate_every: Option<usize>) -> Vec<Batch> {
        let cycle = self.fleet.vehicles.len() as u64;
        let mut maker = PassageMaker::new(Arc::clone(&self.fleet), "copy", cycle, PassageDetail::Compact);
        let start = Timestamp::now().micros() - 3600 * 1_000_000;
        let mut message = |index: usize| {
            // Fifty microseconds apart, as at 20 000 a second.
            let at = Timestamp::from_micros(start + index as i64 * 50);
            let mut payload = Vec::with_capacity(512);
            let station = maker.write(index as u64, at, &mut payload);
            let device: Box<str> = self.fleet.stations[station].id.to_string().into();
            Message {
                source: 0,
                topic: format!("dw/v1/rs/{device}/passage").into(),
                device,
                payload: payload.into(),
                received_at: Timestamp::from_micros(at.micros() + 20_000),
                replayed: false,
            }
        };
        let mut batches = Vec::with_capacity(rows / BATCH + 1);
        let mut batch = Batch::new(self.assembler.books());
        for index in 0..rows {
            let again = duplicate_every.is_some_and(|every| index % every == 0 && index >= BATCH);
            let index = if again { index - BATCH + 1 } else { index };
            let added = self.assembler.add(&message(index), 0..usize::MAX, &mut batch);
            added.expect("every station of the fleet was imported");
            if batch.readings() == BATCH {
                batches.push(std::mem::replace(&mut batch, Batch::new(self.assembler.books())));
            }
        }
        if batch.readings() > 0 {
            batches.push(batch);
        }
        batches
    }
}

impl Maker {
    /// Packets of the fleet's terminals, ten one-second records in most of them.
    fn terminals(&self, packets: usize) -> anyhow::Result<Vec<Batch>> {
        const RATE: f64 = 100.0;
        let start = Timestamp::from_micros(Timestamp::now().micros() - 3600 * 1_000_000);
        let mut script = Script::new(ScriptOptions {
            fleet: Arc::clone(&self.fleet),
            run: "copy".into(),
            rate: RATE,
            start,
            mix: "obd=100".parse()?,
            scenario: Scenario::calm(),
            detail: PassageDetail::Compact,
        });
        let received_at = Timestamp::from_micros(start.micros() + (packets as f64 / RATE * 1e6) as i64);
        let mut batches = Vec::new();
        for _ in 0..packets.div_ceil(PACKETS) {
            let mut batch = Batch::new(self.assembler.books());
            for _ in 0..PACKETS {
                let message = script.next_message();
                let device = self.assembler.device_in(OBD, &message.topic).unwrap_or_default().into();
                let (topic, payload) = (message.topic, message.payload);
                let message = Message { source: OBD, device, topic, payload, received_at, replayed: false };
                let added = self.assembler.add(&message, 0..usize::MAX, &mut batch);
                added.expect("every terminal of the fleet was imported");
            }
            batches.push(batch);
        }
        Ok(batches)
    }
}

async fn empty(client: &Client) -> anyhow::Result<()> {
    client.batch_execute(&format!("TRUNCATE {TABLES} CASCADE")).await?;
    client.batch_execute("CHECKPOINT").await.ok();
    Ok(())
}

async fn plain_copy(client: &Client, batches: &[Batch]) -> anyhow::Result<f64> {
    let keys = joined(batches.iter().map(|batch| &batch.keyed[Table::Passage as usize].rows));
    let wide = joined(batches.iter().map(|batch| &batch.passages));
    let rows: usize = batches.iter().map(|batch| batch.passages.len()).sum();
    let started = Instant::now();
    client.batch_execute("BEGIN").await?;
    copy(client, &PASSAGE_KEY.copy(), keys).await?;
    copy(client, &copy_passage(), wide).await?;
    client.batch_execute("COMMIT").await?;
    Ok(rows as f64 / started.elapsed().as_secs_f64())
}

async fn plain_in_batches(url: &str, batches: &[Batch], connections: usize) -> anyhow::Result<f64> {
    let rows: usize = batches.iter().map(|batch| batch.passages.len()).sum();
    let started = Instant::now();
    try_join_all((0..connections).map(async |first| {
        let client = support::connect(url).await?;
        for batch in batches.iter().skip(first).step_by(connections) {
            client.batch_execute("BEGIN").await?;
            copy(&client, &PASSAGE_KEY.copy(), vec![batch.keyed[Table::Passage as usize].rows.stream()]).await?;
            copy(&client, &copy_passage(), vec![batch.passages.stream()]).await?;
            client.batch_execute("COMMIT").await?;
        }
        anyhow::Ok(())
    }))
    .await?;
    Ok(rows as f64 / started.elapsed().as_secs_f64())
}

/// One COPY stream out of many, in pieces.
fn joined<'a>(all: impl Iterator<Item = &'a CopyRows>) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    for rows in all {
        let stream = rows.stream();
        let start = if pieces.is_empty() { 0 } else { HEADER };
        pieces.push(stream.slice(start..stream.len() - TRAILER));
    }
    let mut trailer = BytesMut::new();
    trailer.put_i16(-1);
    pieces.push(trailer.freeze());
    pieces
}

async fn copy(client: &Client, sql: &str, pieces: Vec<Bytes>) -> anyhow::Result<()> {
    let sink = client.copy_in(sql).await?;
    tokio::pin!(sink);
    for piece in pieces {
        sink.send(piece).await?;
    }
    sink.finish().await?;
    Ok(())
}

async fn committed(url: &str, batches: &[Batch], connections: usize) -> anyhow::Result<(f64, Tally)> {
    let sources = Layers::default().load()?.config.source.into_iter().map(|source| source.name);
    let sources: Vec<String> = sources.chain(["unknown".to_owned()]).collect();
    let rows: usize = batches.iter().map(Batch::readings).sum();
    let started = Instant::now();
    let tallies = try_join_all((0..connections).map(async |first| {
        let mut committer = Committer::new(support::connect(url).await?, format!("bench-{first}"), sources.clone());
        let mut tallies = Vec::new();
        for batch in batches.iter().skip(first).step_by(connections) {
            tallies.extend(again(&mut committer, batch).await?.tallies);
        }
        anyhow::Ok(tallies)
    }))
    .await?;
    let mut total = Tally::default();
    for tally in tallies.into_iter().flatten() {
        total.stored += tally.stored;
        total.duplicate += tally.duplicate;
        total.conflict += tally.conflict;
        total.quarantined += tally.quarantined;
    }
    Ok((rows as f64 / started.elapsed().as_secs_f64(), total))
}

/// As the service's writer does: what another connection was in the way of is done again.
async fn again(committer: &mut Committer, batch: &Batch) -> anyhow::Result<Committed> {
    loop {
        match committer.commit(batch).await {
            Err(error) if matches!(class_of(&error), Class::Again | Class::Duplicate) => committer.expect_duplicates(),
            other => return Ok(other?),
        }
    }
}

/// On TimescaleDB: a redelivery into compressed chunks stores nothing and fails nowhere.
async fn compressed(url: &str, client: &Client, passages: &[Batch], terminals: &[Batch]) -> anyhow::Result<()> {
    let sql = "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'";
    let Some(version) = client.query_opt(sql, &[]).await? else { return Ok(()) };
    println!("TimescaleDB {}: everything is compressed and delivered once more", version.get::<_, String>(0));
    let (_, first) = committed(url, terminals, 1).await?;
    println!("  terminals at first: {} stored, {} quarantined", first.stored, first.quarantined);
    let count = async || -> anyhow::Result<Vec<i64>> {
        let mut counts = Vec::new();
        for table in ["passage", "terminal_packet", "terminal_stream", "terminal_item", "finding"] {
            counts.push(client.query_one(&format!("SELECT count(*) FROM {table}"), &[]).await?.get(0));
        }
        Ok(counts)
    };
    let before = count().await?;
    for table in ["passage", "terminal_packet", "terminal_stream", "terminal_item"] {
        let sql = format!("SELECT compress_chunk(c)::text FROM show_chunks('{table}') c");
        println!("  {table}: {} chunks compressed", client.query(&sql, &[]).await?.len());
    }
    for (what, batches) in [("passages", passages), ("terminals", terminals)] {
        let (rate, tally) = committed(url, batches, 1).await?;
        println!(
            "  {what} again: {rate:.0} rows/s, {} stored, {} duplicates, {} conflicts, {} quarantined",
            tally.stored, tally.duplicate, tally.conflict, tally.quarantined
        );
        ensure!(tally.stored == 0 && tally.conflict == 0, "a redelivery stored something");
    }
    let after = count().await?;
    println!("  rows of passage, packet, stream, item, finding {before:?} before, {after:?} after");
    ensure!(before == after, "a redelivery changed something");
    Ok(())
}
