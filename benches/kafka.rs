//! What one transaction of the relay costs on a real Apache Kafka, back to back and with pauses between.
//!
//! `cargo bench --bench kafka -- [EVENTS]`, five events of 3 kB in a transaction without a number. A broker answers the end
//! of a transaction before its markers are in the partitions, and a producer that begins the next one meanwhile is sent
//! away for a while: a pause may make the whole faster.

mod support;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use dieselwatch::{
    config,
    publish::{
        event::Topic,
        kafka::{Line, Settings},
        outbox::{Ends, Positioned, State},
    },
    reading::Timestamp,
};
use support::kafka::Kafka;
use uuid::Uuid;

/// Java is compiled by then.
const WARM_UP: Duration = Duration::from_secs(60);
const ROUND: Duration = Duration::from_secs(8);
const PAYLOAD: usize = 3000;

fn main() -> anyhow::Result<()> {
    let events = std::env::args().skip(1).find_map(|text| text.parse().ok()).unwrap_or(5);
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(run(events))
}

async fn run(events: usize) -> anyhow::Result<()> {
    let Some(kafka) = Kafka::start_lasting().await else { return Ok(()) };
    let settings = config::Kafka {
        brokers: kafka.brokers(),
        transactional_id: "bench".into(),
        password: None,
        properties: Default::default(),
    };
    let state = State { origin: Uuid::new_v4(), last: 0, sent: 0, ends: Ends::new() };
    let (line, opened) = Line::open(Settings::new(&settings), state);
    opened.await.context("the line's thread")??;
    let mut position = 0;
    round(&line, &mut position, events, Duration::ZERO, WARM_UP).await?;
    println!("{events} events of {PAYLOAD} bytes a transaction");
    println!(
        "  {:<22} {:>12} {:>8} {:>8} {:>14}",
        "pause between, ms", "p50, ms", "p90, ms", "p99, ms", "broker, ms CPU"
    );
    for pause in [0, 2, 5, 10, 20, 40] {
        let before = support::processor_time(kafka.pid().unsigned_abs(), false);
        let mut took = round(&line, &mut position, events, Duration::from_millis(pause), ROUND).await?;
        let used = support::processor_time(kafka.pid().unsigned_abs(), false) - before;
        took.sort();
        let at = |share: f64| took[(took.len() as f64 * share) as usize].as_secs_f64() * 1e3;
        let each = used.as_secs_f64() * 1e3 / took.len() as f64;
        println!("  {pause:<22} {:>12.1} {:>8.1} {:>8.1} {each:>14.1}", at(0.5), at(0.9), at(0.99));
    }
    Ok(())
}

/// Transactions one after the other for a while, with what each took.
async fn round(
    line: &Line,
    position: &mut i64,
    events: usize,
    pause: Duration,
    time: Duration,
) -> anyhow::Result<Vec<Duration>> {
    let (end, mut took) = (Instant::now() + time, Vec::new());
    while Instant::now() < end {
        let batch = (0..events).map(|_| Arc::new(event(position))).collect();
        let started = Instant::now();
        line.publish(batch).await.context("the line's thread")??;
        took.push(started.elapsed());
        tokio::time::sleep(pause).await;
    }
    Ok(took)
}

fn event(position: &mut i64) -> Positioned {
    *position += 1;
    Positioned {
        position: *position,
        topic: Topic::Violations,
        id: Uuid::new_v4(),
        key: format!("鲁C{:05}:yellow", *position % 7919),
        payload: vec![b'x'; PAYLOAD],
        created_at: Timestamp::now(),
        stand_in: false,
    }
}
