//! The whole service between a real mosquitto and a real PostgreSQL, against a null subscriber on the same broker.
//!
//! `cargo bench --bench end_to_end`, or `DIESELWATCH_BENCH_SECONDS=60 cargo bench --bench end_to_end` for the figures that
//! count; `cargo bench --bench end_to_end -- delays 6000` measures only the way to Kafka, at 6000 messages/s. Publisher, broker, database and service are processes of their own and share the machine.
//!
//! Mosquitto acknowledges what no subscriber has taken yet, so a publisher that only waits for acknowledgements would
//! measure the broker's queue. Here it is told how many messages it may have sent: [`AHEAD`] more than were received (null
//! subscriber) or committed, as the database's own book says (service). The rate under that bound is the sustained one, because a
//! backlog cannot grow.

mod support;

use std::{
    io::{BufRead as _, Write as _},
    process::{Child, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use dieselwatch::{
    embedded::{child::KeptChild, postgres::EmbeddedPostgres},
    reading::Timestamp,
    simulate::{Blast, Broker},
};
use rdkafka::{Message as _, consumer::BaseConsumer};
use rumqttc::v5::{
    AsyncClient, Event, MqttOptions,
    mqttbytes::{
        QoS,
        v5::{ConnectProperties, Packet},
    },
};
use support::{kafka, memory, processor_time, row};
use tempfile::TempDir;
use tokio_postgres::Client;

/// Messages the publisher may be ahead of the subscriber: a few batches for each connection, a fraction of a second.
const AHEAD: u64 = 10_000;
const STEP: Duration = Duration::from_millis(25);
/// Not measured: caches, connections and the broker's queue come to rest.
const WARM_UP: Duration = Duration::from_secs(3);
/// Load before Kafka's delays are measured: a broker that has just started is slow until Java has compiled what is hot.
const JAVA_WARM_UP: Duration = Duration::from_secs(90);
/// As in the service's default configuration.
const CONNECTIONS: usize = 2;
const RECEIVE_MAXIMUM: u16 = 2000;
/// "No limit" for the publisher.
const UNPACED: f64 = 1e9;

fn main() -> anyhow::Result<()> {
    // Cargo adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    match &*args {
        [role, url, run, rate] if role == "publish" => runtime.block_on(publish(url, run, rate.parse()?)),
        [part, rate] if part == "delays" => runtime.block_on(only_delays(rate.parse()?)),
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

    let null = null_subscriber(&broker, window).await?;
    let service = Service::start(&broker, server.url(), None).await?;
    let client = support::connect(server.url()).await?;
    let sustained = sustain(&broker, &server, &service, &client, window).await?;
    service.stop().await?;
    let plain = plain_copy(&client).await?;

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
    let service = Service::start(broker, url, Some(&kafka)).await?;
    let delays = delays(broker, &kafka, &service, server, rate, window).await?;
    service.stop().await?;
    delays.print(rate);
    Ok(())
}

/// The publisher's process: lines on standard input say how many messages may be out; its end ends the run.
async fn publish(url: &str, run: &str, rate: f64) -> anyhow::Result<()> {
    let broker = Broker::parse(url, None, None, None)?;
    let allowed = Arc::new(AtomicU64::new(0));
    let blast = Blast { allowed: Some(Arc::clone(&allowed)), rate, ..Blast::new(broker, support::fleet(), run) };
    let cancel = blast.cancel.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Some(number) = line.ok().and_then(|line| line.parse().ok()) else { break };
            allowed.store(number, Ordering::Relaxed);
        }
        cancel.cancel();
    });
    println!("{}", blast.run().await?.acked);
    Ok(())
}

struct Publisher(Child);

impl Publisher {
    fn start(broker: &Mosquitto, run: &str, rate: f64) -> anyhow::Result<Self> {
        let mut command = std::process::Command::new(std::env::current_exe()?);
        command.args(["publish", &broker.url(), run, &rate.to_string()]);
        Ok(Self(command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?))
    }

    fn allow(&mut self, number: u64) -> anyhow::Result<()> {
        Ok(writeln!(self.0.stdin.as_mut().context("standard input")?, "{number}")?)
    }

    /// Ends it; how many messages the broker took over.
    async fn end(mut self) -> anyhow::Result<u64> {
        drop(self.0.stdin.take());
        let mut out = self.0.stdout.take().context("standard output")?;
        let text = tokio::task::spawn_blocking(move || std::io::read_to_string(&mut out)).await??;
        text.trim().parse().with_context(|| format!("the publisher failed: {text}"))
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

struct Null {
    rate: f64,
    publisher_us: f64,
    broker_us: f64,
    own_us: f64,
}

/// The least a subscriber can do: receive and acknowledge, with the client library and connections of the service.
async fn null_subscriber(broker: &Mosquitto, window: Duration) -> anyhow::Result<Null> {
    let received = Arc::new(AtomicU64::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for connection in 0..CONNECTIONS {
        let mut options = MqttOptions::new(format!("null-{connection}"), "127.0.0.1", broker.port);
        options.set_connect_properties(ConnectProperties {
            receive_maximum: Some(RECEIVE_MAXIMUM),
            max_packet_size: Some(1 << 20),
            ..ConnectProperties::new()
        });
        let (client, mut events) = AsyncClient::new(options, 100);
        client.subscribe("$share/null/dw/v1/rs/+/passage", QoS::AtLeastOnce).await?;
        // Subscribed before anything is sent.
        while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
        let received = Arc::clone(&received);
        tasks.spawn(async move {
            let _client = client;
            while let Ok(event) = events.poll().await {
                if matches!(event, Event::Incoming(Packet::Publish(_))) {
                    received.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    let mut publisher = Publisher::start(broker, "null", UNPACED)?;
    let got = || received.load(Ordering::Relaxed);
    pace(&mut publisher, WARM_UP, async || Ok(got())).await?;
    let (began, before) = (Instant::now(), got());
    let pids = [publisher.0.id(), broker.pid(), std::process::id()];
    let used = || pids.map(|pid| processor_time(pid, false));
    let used_before = used();
    pace(&mut publisher, window, async || Ok(got())).await?;
    let (count, took, used) = (got() - before, began.elapsed(), used());
    let sent = publisher.end().await?;
    support::until("the null subscriber to have everything", async || (got() >= sent).then_some(())).await;
    let [publisher_us, broker_us, own_us] = per_message(used_before, used, count);
    Ok(Null { rate: count as f64 / took.as_secs_f64(), publisher_us, broker_us, own_us })
}

fn per_message<const N: usize>(before: [Duration; N], after: [Duration; N], count: u64) -> [f64; N] {
    std::array::from_fn(|i| (after[i] - before[i]).as_secs_f64() * 1e6 / count.max(1) as f64)
}

/// Lets the publisher be [`AHEAD`] of `done` for a while.
async fn pace(
    publisher: &mut Publisher,
    time: Duration,
    done: impl AsyncFn() -> anyhow::Result<u64>,
) -> anyhow::Result<()> {
    let end = Instant::now() + time;
    let mut ticks = tokio::time::interval(STEP);
    while Instant::now() < end {
        publisher.allow(done().await? + AHEAD)?;
        ticks.tick().await;
    }
    Ok(())
}

struct Sustained {
    rate: f64,
    service_us: f64,
    database_us: f64,
    broker_us: f64,
    publisher_us: f64,
    memory: (f64, f64),
    findings_per_mille: f64,
    drain: Duration,
}

async fn sustain(
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
    let pids = [service.pid(), server.pid(), broker.pid(), publisher.0.id()];
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
async fn plain_copy(client: &Client) -> anyhow::Result<f64> {
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

/// How long events take, and where.
struct Delays {
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
    fn print(&self, rate: f64) {
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
async fn delays(
    broker: &Mosquitto,
    kafka: &kafka::Kafka,
    service: &Service,
    database: &EmbeddedPostgres,
    rate: f64,
    window: Duration,
) -> anyhow::Result<Delays> {
    const TOPIC: &str = "dieselwatch.violations.v1";
    let consumer = kafka::consumer(&kafka.brokers(), TOPIC, rdkafka::Offset::End);
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let (measure_from, stopped) = (Instant::now() + JAVA_WARM_UP, Arc::clone(&stop));
    let reader = tokio::task::spawn_blocking(move || read(&consumer, measure_from, &stopped));
    let mut publisher = Publisher::start(broker, "half", rate)?;
    publisher.allow(u64::MAX)?;
    tokio::time::sleep(JAVA_WARM_UP).await;
    let pids = [service.pid(), database.pid(), broker.pid(), publisher.0.id(), kafka.pid().unsigned_abs()];
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

fn read(consumer: &BaseConsumer, from: Instant, stop: &std::sync::atomic::AtomicBool) -> Vec<f64> {
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

/// The release binary as an operator would start it.
struct Service {
    child: KeptChild,
    port: u16,
    folder: TempDir,
}

impl Service {
    async fn start(broker: &Mosquitto, database: &str, kafka: Option<&kafka::Kafka>) -> anyhow::Result<Self> {
        let folder = support::scratch();
        let port = support::free_port();
        let log = std::fs::File::create(folder.path().join("log"))?;
        let mut command = support::binary();
        command.arg("serve");
        let mut settings = vec![
            format!("mqtt.url={}", broker.url()),
            format!("mqtt.connections={CONNECTIONS}"),
            format!("mqtt.receive_maximum={RECEIVE_MAXIMUM}"),
            format!("database.url={database}"),
            format!("http.listen=127.0.0.1:{port}"),
        ];
        settings.extend(kafka.map(|kafka| format!("kafka.brokers={}", kafka.brokers())));
        settings.extend(kafka.map(|_| "kafka.transactional_id=bench".to_owned()));
        for setting in settings {
            command.args(["--set", &setting]);
        }
        command.stdout(log.try_clone()?).stderr(log);
        let service = Self { child: KeptChild::spawn(command, libc::SIGKILL)?, port, folder };
        support::until("the service to be ready", async || {
            assert!(service.child.status().is_none(), "the service ended: {}", service.log());
            ready(port).await.ok().filter(|ready| *ready)
        })
        .await;
        Ok(service)
    }

    fn pid(&self) -> u32 {
        self.child.process().pid.unsigned_abs()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        self.child.process().signal(libc::SIGTERM);
        let status = self.child.ended().await;
        ensure!(status.success(), "the service ended with {status}: {}", self.log());
        Ok(())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.child.status().is_none() {
            self.child.process().signal(libc::SIGKILL);
            self.child.process().wait(support::LIMIT);
        }
    }
}

async fn ready(port: u16) -> std::io::Result<bool> {
    Ok(ask(port, "/readyz").await?.starts_with("HTTP/1.1 200"))
}

/// The whole answer, head and body.
async fn ask(port: u16, path: &str) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

struct Mosquitto {
    child: KeptChild,
    port: u16,
    _folder: TempDir,
}

impl Mosquitto {
    async fn start() -> anyhow::Result<Self> {
        let (folder, port) = (support::scratch(), support::free_port());
        let file = folder.path().join("mosquitto.conf");
        std::fs::write(
            &file,
            format!(
                "user root\nlistener {port} 127.0.0.1\nallow_anonymous true\nlog_type none\nset_tcp_nodelay true\n\
                 max_inflight_messages 0\nmax_queued_messages 0\nmax_queued_bytes 0\n\
                 persistence true\npersistence_location {}/\n",
                folder.path().display()
            ),
        )?;
        let mut command = std::process::Command::new("/usr/sbin/mosquitto");
        command.arg("-c").arg(file).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = KeptChild::spawn(command, libc::SIGKILL).context("start /usr/sbin/mosquitto")?;
        support::until("mosquitto to listen", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(drop)
        })
        .await;
        Ok(Self { child, port, _folder: folder })
    }

    fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    fn pid(&self) -> u32 {
        self.child.process().pid.unsigned_abs()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.child.process().signal(libc::SIGKILL);
        self.child.process().wait(support::LIMIT);
    }
}
