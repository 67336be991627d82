//! The way of an event from a publisher to a consumer of Kafka.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use dieselwatch::{embedded::postgres::EmbeddedPostgres, reading::Timestamp};
use rdkafka::{Message as _, consumer::BaseConsumer};

use crate::{
    processes::{Mosquitto, Service, ask},
    publisher::Publisher,
    support::{kafka, processor_time, row},
};

/// Load before anything is measured: a broker that has just started is slow until Java has compiled what is hot.
const JAVA_WARM_UP: Duration = Duration::from_secs(90);

/// How long events take, and where.
pub struct Delays {
    /// Milliseconds from the making of a passage to its event in the hands of a consumer of committed records, sorted.
    whole: Vec<f64>,
    /// Means of the service's own histograms, ms, by what they measure.
    parts: Vec<(&'static str, f64)>,
    /// Share of one core that a process used, by its name.
    cores: [(&'static str, f64); 5],
}

/// The service's histograms on the way of an event.
const PARTS: [(&str, &str); 4] = [
    ("mean of arrival to acknowledgement, ms", "dieselwatch_ack_seconds"),
    ("  of it the commit of a batch, ms", "dieselwatch_batch_commit_seconds"),
    ("mean of that commit's beginning to the end of Kafka's, ms", "dieselwatch_event_publish_seconds"),
    ("  of it one transaction of Kafka, ms", "dieselwatch_kafka_transaction_seconds"),
];

impl Delays {
    pub fn print(&self, rate: f64) {
        let at = |share: f64| {
            let place = (self.whole.len() as f64 * share) as usize;
            self.whole.get(place).or(self.whole.last()).copied().unwrap_or(f64::NAN)
        };
        println!("PUBLISH to Kafka record readable at {rate:.0} messages/s, {} records", self.whole.len());
        row("  p50, ms", &format!("{:.1}", at(0.5)), "20");
        row("  p99, ms", &format!("{:.1}", at(0.99)), "150");
        row("  longest, ms", &format!("{:.1}", at(1.0)), "");
        for (what, ms) in &self.parts {
            row(&format!("  {what}"), &format!("{ms:.1}"), "");
        }
        for (who, share) in self.cores {
            row(&format!("  {who}, share of one core"), &format!("{share:.2}"), "");
        }
    }
}

/// [`JAVA_WARM_UP`] passes before anything counts.
pub async fn delays(
    broker: &Mosquitto,
    kafka: &kafka::Kafka,
    service: &Service,
    database: &EmbeddedPostgres,
    rate: f64,
    window: Duration,
) -> anyhow::Result<Delays> {
    const TOPIC: &str = "dieselwatch.violations.v1";
    let consumer = kafka::consumer(&kafka.brokers(), TOPIC, rdkafka::Offset::End);
    let stop = Arc::new(AtomicBool::new(false));
    let (measure_from, stopped) = (Instant::now() + JAVA_WARM_UP, Arc::clone(&stop));
    let reader = tokio::task::spawn_blocking(move || read(&consumer, measure_from, &stopped));
    let mut publisher = Publisher::start(broker, "half", rate)?;
    publisher.allow(u64::MAX)?;
    tokio::time::sleep(JAVA_WARM_UP).await;
    let pids = [service.pid(), database.pid(), broker.pid(), publisher.pid(), kafka.pid().unsigned_abs()];
    let used = || -> [Duration; 5] { std::array::from_fn(|i| processor_time(pids[i], i == 1)) };
    let (began, used_before, before) = (Instant::now(), used(), histograms(service.port).await?);
    tokio::time::sleep(window).await;
    let (took, used_after, after) = (began.elapsed(), used(), histograms(service.port).await?);
    publisher.end().await?;
    stop.store(true, Ordering::Relaxed);
    let mut whole = reader.await?;
    whole.sort_by(f64::total_cmp);
    let names = ["service", "database", "broker", "publisher", "Kafka"];
    let share = |i: usize| (used_after[i] - used_before[i]).as_secs_f64() / took.as_secs_f64();
    let mean = |place: usize| {
        let [(sum, count), (sum_before, count_before)] = [after[place], before[place]];
        (sum - sum_before) / (count - count_before).max(1.0) * 1e3
    };
    Ok(Delays {
        whole,
        parts: PARTS.iter().enumerate().map(|(place, (what, _))| (*what, mean(place))).collect(),
        cores: std::array::from_fn(|i| (names[i], share(i))),
    })
}

/// Sum and count of each of [`PARTS`] until now.
async fn histograms(port: u16) -> anyhow::Result<[(f64, f64); PARTS.len()]> {
    let text = ask(port, "/metrics").await?;
    // Labels do not matter: what they tell apart is added up.
    let total = |name: &str| -> f64 {
        let own = |line: &&str| line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']));
        text.lines().filter(own).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    Ok(PARTS.map(|(_, name)| (total(&format!("{name}_sum")), total(&format!("{name}_count")))))
}

fn read(consumer: &BaseConsumer, from: Instant, stop: &AtomicBool) -> Vec<f64> {
    let mut delays = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(50)) else { continue };
        let now = Timestamp::now();
        let event: serde_json::Value =
            serde_json::from_slice(message.payload().unwrap_or_default()).unwrap_or_default();
        // What began earlier than it ended was found in the history, and not on the arrival of one passage.
        let (begun, ended) = (event["data"]["from"].as_str(), event["data"]["to"].as_str());
        if Instant::now() > from
            && begun == ended
            && let Some(at) = begun.and_then(Timestamp::parse_rfc3339)
        {
            delays.push((now.micros() - at.micros()) as f64 / 1e3);
        }
    }
    delays
}
