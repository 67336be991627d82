//! The service under a load that keeps it busy without a growing backlog, and the database alone.

use std::time::{Duration, Instant};

use anyhow::ensure;
use dieselwatch::embedded::postgres::EmbeddedPostgres;
use tokio_postgres::Client;

use crate::{
    WARM_UP, per_message,
    processes::{Mosquitto, Service},
    publisher::{Publisher, UNPACED, pace},
    support::{self, memory, processor_time},
};

pub struct Sustained {
    pub rate: f64,
    pub service_us: f64,
    pub database_us: f64,
    pub broker_us: f64,
    pub publisher_us: f64,
    pub memory: (f64, f64),
    pub findings_per_mille: f64,
    pub drain: Duration,
}

pub async fn sustain(
    broker: &Mosquitto,
    server: &EmbeddedPostgres,
    service: &Service,
    client: &Client,
    window: Duration,
) -> anyhow::Result<Sustained> {
    let committed = async || -> anyhow::Result<u64> {
        let row = client.query_one("SELECT coalesce(sum(messages), 0)::int8 FROM book", &[]).await?;
        Ok(row.get::<_, i64>(0) as u64)
    };
    let mut publisher = Publisher::start(broker, "full", UNPACED)?;
    pace(&mut publisher, WARM_UP, &committed).await?;
    let pids = [service.pid(), server.pid(), broker.pid(), publisher.pid()];
    let used = || std::array::from_fn(|i| processor_time(pids[i], i == 1));
    let (began, before, used_before) = (Instant::now(), committed().await?, used());
    pace(&mut publisher, window, &committed).await?;
    let (count, took, used) = (committed().await? - before, began.elapsed(), used());
    let resident = memory(service.pid());
    let stopping = Instant::now();
    let sent = publisher.end().await?;
    support::until("the queue to be empty", async || (committed().await.ok()? >= sent).then_some(())).await;
    let drain = stopping.elapsed();
    let row = client
        .query_one(
            "SELECT (SELECT count(*) FROM passage), (SELECT count(*) FROM passage_key), (SELECT count(*) FROM finding)",
            &[],
        )
        .await?;
    let (wide, keys, findings): (i64, i64, i64) = (row.get(0), row.get(1), row.get(2));
    ensure!(wide as u64 == sent && keys as u64 == sent, "{sent} messages sent, {wide} rows and {keys} keys stored");
    let [service_us, database_us, broker_us, publisher_us] = per_message(used_before, used, count);
    Ok(Sustained {
        rate: count as f64 / took.as_secs_f64(),
        service_us,
        database_us,
        broker_us,
        publisher_us,
        memory: resident,
        findings_per_mille: findings as f64 * 1000.0 / sent.max(1) as f64,
        drain,
    })
}

/// What the database takes of the same rows when nothing else is asked of it.
pub async fn plain_copy(client: &Client) -> anyhow::Result<f64> {
    use futures_util::{SinkExt as _, TryStreamExt as _};
    const ROWS: usize = 200_000;
    let mut streams = Vec::new();
    for table in ["passage_key", "passage"] {
        let sql = format!("COPY (SELECT * FROM {table} LIMIT {ROWS}) TO STDOUT (FORMAT binary)");
        streams.push((table, client.copy_out(&sql).await?.try_collect::<Vec<_>>().await?));
    }
    let row = client.query_one("SELECT least(count(*), 200000) FROM passage", &[]).await?;
    let rows: i64 = row.get(0);
    client.batch_execute("TRUNCATE passage_key, passage; CHECKPOINT").await.ok();
    let started = Instant::now();
    client.batch_execute("BEGIN").await?;
    for (table, stream) in streams {
        let sink = client.copy_in(&format!("COPY {table} FROM STDIN (FORMAT binary)")).await?;
        tokio::pin!(sink);
        for piece in stream {
            sink.feed(piece).await?;
        }
        sink.finish().await?;
    }
    client.batch_execute("COMMIT").await?;
    Ok(rows as f64 / started.elapsed().as_secs_f64())
}
