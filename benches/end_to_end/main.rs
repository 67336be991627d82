//! The whole service between a real mosquitto and a real PostgreSQL, against a null subscriber on the same broker.
//!
//! `cargo bench --bench end_to_end`, or `DIESELWATCH_BENCH_SECONDS=60 cargo bench --bench end_to_end` for the figures that
//! count. `-- delays 6000` measures only the way to Kafka, at 6000 messages/s; `-- rules` only what the vehicle rules take
//! of the throughput. Publisher, broker, database and service are processes of their own and share the machine.
//!
//! Mosquitto acknowledges what no subscriber has taken yet, so a publisher that only waits for acknowledgements would
//! measure the broker's queue. Here it is told how many messages it may have sent: a fixed number more than were received
//! (null subscriber) or committed, as the database's own book says (service). The rate under that bound is the sustained
//! one, because a backlog cannot grow.

mod delays;
mod null;
mod processes;
mod publisher;
mod rules;
#[path = "../support/mod.rs"]
mod support;
mod sustain;

use std::time::Duration;

use dieselwatch::embedded::postgres::EmbeddedPostgres;
use processes::{Mosquitto, Service};
use support::{kafka, row};

/// Not measured: caches, connections and the broker's queue come to rest.
const WARM_UP: Duration = Duration::from_secs(3);
/// As in the service's default configuration.
const CONNECTIONS: usize = 2;
const RECEIVE_MAXIMUM: u16 = 2000;

fn main() -> anyhow::Result<()> {
    // Cargo adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match &*args {
        [role, url, run, rate] if role == "publish" => runtime.block_on(publisher::publish(url, run, rate.parse()?)),
        [part, rate] if part == "delays" => runtime.block_on(only_delays(rate.parse()?)),
        [part] if part == "rules" => runtime.block_on(rules::share(Duration::from_secs(support::seconds()))),
        _ => runtime.block_on(bench()),
    }
}

async fn bench() -> anyhow::Result<()> {
    let window = Duration::from_secs(support::seconds());
    let (server, _folder) = support::postgres().await?;
    let fleet = support::fleet();
    support::prepare(server.url(), &fleet).await?;
    let broker = Mosquitto::start().await?;
    println!("{} vehicles, {} s a phase, {CONNECTIONS} connections", fleet.vehicles.len(), window.as_secs());

    let null = null::null_subscriber(&broker, window).await?;
    let service = Service::start(&broker, server.url(), Vec::new()).await?;
    let client = support::connect(server.url()).await?;
    let sustained = sustain::sustain(&broker, &server, &service, &client, window).await?;
    service.stop().await?;
    let plain = sustain::plain_copy(&client).await?;

    let rate = sustained.rate;
    println!("  {:<58} {:>14}  asked for", "", "");
    row("null subscriber, messages/s", &format!("{:.0}", null.rate), "");
    row("  its publisher, us/message", &format!("{:.1}", null.publisher_us), "");
    row("  its broker, us/message", &format!("{:.1}", null.broker_us), "");
    row("  itself, us/message", &format!("{:.1}", null.own_us), "");
    row("plain binary COPY of the stored rows, rows/s", &format!("{plain:.0}"), "");
    row("service, committed messages/s", &format!("{rate:.0}"), "");
    row("  against the null subscriber", &format!("{:.2}", rate / null.rate), "0.70");
    row("  against plain COPY", &format!("{:.2}", rate / plain), "");
    row("  service, us/message", &format!("{:.1}", sustained.service_us), "12");
    row("  database, us/message", &format!("{:.1}", sustained.database_us), "");
    row("  broker, us/message", &format!("{:.1}", sustained.broker_us), "");
    row("  publisher, us/message", &format!("{:.1}", sustained.publisher_us), "");
    row("  resident memory at the end, MB", &format!("{:.0}", sustained.memory.0), "150");
    row("  resident memory at its highest, MB", &format!("{:.0}", sustained.memory.1), "150");
    row("  findings per 1000 messages", &format!("{:.1}", sustained.findings_per_mille), "");
    row("  from the last message to an empty queue, ms", &format!("{:.0}", sustained.drain.as_secs_f64() * 1e3), "");

    client.batch_execute("CREATE DATABASE second").await?;
    let url = server.url_of("second");
    support::prepare(&url, &fleet).await?;
    to_kafka(&broker, &server, &url, rate / 2.0, window).await
}

async fn only_delays(rate: f64) -> anyhow::Result<()> {
    let (server, _folder) = support::postgres().await?;
    support::prepare(server.url(), &support::fleet()).await?;
    let window = Duration::from_secs(support::seconds());
    to_kafka(&Mosquitto::start().await?, &server, server.url(), rate, window).await
}

async fn to_kafka(
    broker: &Mosquitto,
    server: &EmbeddedPostgres,
    url: &str,
    rate: f64,
    window: Duration,
) -> anyhow::Result<()> {
    let Some(kafka) = kafka::Kafka::start_lasting().await else { return Ok(()) };
    let settings = vec![format!("kafka.brokers={}", kafka.brokers()), "kafka.transactional_id=bench".to_owned()];
    let service = Service::start(broker, url, settings).await?;
    let delays = delays::delays(broker, &kafka, &service, server, rate, window).await?;
    service.stop().await?;
    delays.print(rate);
    Ok(())
}

fn per_message<const N: usize>(before: [Duration; N], after: [Duration; N], count: u64) -> [f64; N] {
    std::array::from_fn(|i| (after[i] - before[i]).as_secs_f64() * 1e6 / count.max(1) as f64)
}
