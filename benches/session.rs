//! What the MQTT session costs: this crate's session, settling at once, against a null subscriber (the bare client
//! library, acknowledging on receipt), on a mosquitto of our own, 400-byte messages at QoS 1.
//!
//! The publisher is a process of its own, so that the processor time printed is the subscriber's alone. Broker,
//! publisher and subscriber share the machine: compare the rates of one run with each other only.
//!
//! Seen on 2 busy cores, 200 000 messages: null 6-11 us of processor time a message, the session 8-9 us when it settles
//! whatever is there (a wake-up of the other thread for nearly every message) and 3.6-4.5 us when it settles in batches
//! as the pipeline does; the rates of the latter are level with the null subscriber (32-42 thousand/s).
//!
//! `cargo bench --bench session -- [messages]`; needs /usr/sbin/mosquitto.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use dieselwatch::{
    config::{Mqtt, Source},
    ingest::{Receipt, Slots, StartArgs, start},
};
use rumqttc::v5::{
    AsyncClient, Event, MqttOptions,
    mqttbytes::{
        QoS,
        v5::{ConnectProperties, Packet},
    },
};

const PAYLOAD_BYTES: usize = 400;
const PUBLISHERS: usize = 4;
const RECEIVE_MAXIMUM: u16 = 2000;

fn main() -> anyhow::Result<()> {
    // Cargo adds `--bench`.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let [role, port, count] = &*args
        && role == "publish"
    {
        return runtime.block_on(publish(port.parse()?, count.parse()?));
    }
    let messages = args.first().map_or(Ok(200_000), |count| count.parse())?;
    println!("{:<34} {:>12} {:>9} {:>15}", "subscriber", "messages/s", "of null", "CPU us/message");
    for connections in [1, 2] {
        let mut null_rate = None;
        for kind in [Kind::Null, Kind::AtOnce, Kind::EveryFewMilliseconds] {
            let Figures { rate, cpu_us } = runtime.block_on(round(messages, connections, kind))?;
            let ratio = rate / *null_rate.get_or_insert(rate);
            let name = format!("{}, {connections} conn.", kind.name());
            println!("{name:<34} {rate:>12.0} {ratio:>9.2} {cpu_us:>15.2}");
        }
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Kind {
    Null,
    /// Settles whatever is there: the most wake-ups.
    AtOnce,
    /// Settles as a writer does that commits one batch after the other, [`COMMIT`] each.
    EveryFewMilliseconds,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::AtOnce => "session, at once",
            Kind::EveryFewMilliseconds => "session, each 5 ms",
        }
    }
}

const COMMIT: Duration = Duration::from_millis(5);

struct Figures {
    rate: f64,
    cpu_us: f64,
}

async fn round(messages: u64, connections: u16, kind: Kind) -> anyhow::Result<Figures> {
    let broker = Mosquitto::start().await?;
    let subscriber = match kind {
        Kind::Null => Subscriber::null(broker.port, connections).await?,
        _ => Subscriber::session(broker.port, connections).await?,
    };
    let publisher = Command::new(std::env::current_exe()?)
        .args(["publish", &broker.port.to_string(), &messages.to_string()])
        .stdout(Stdio::inherit())
        .spawn()
        .context("start the publisher")?;
    let mut publisher = Guard(publisher);
    let cpu = cpu_time();
    let started = Instant::now();
    subscriber.receive(messages, kind).await?;
    let (elapsed, cpu) = (started.elapsed(), cpu_time() - cpu);
    ensure!(publisher.0.wait()?.success(), "the publisher failed");
    Ok(Figures { rate: messages as f64 / elapsed.as_secs_f64(), cpu_us: cpu.as_secs_f64() * 1e6 / messages as f64 })
}

enum Subscriber {
    Null(tokio::sync::mpsc::UnboundedReceiver<u64>),
    Session(dieselwatch::ingest::Ingest, dieselwatch::ingest::Inbox),
}

impl Subscriber {
    async fn null(port: u16, connections: u16) -> anyhow::Result<Self> {
        let (tell, told) = tokio::sync::mpsc::unbounded_channel();
        for slot in 0..connections {
            let mut options = options(&format!("null-{slot}"), port);
            options.set_clean_start(false).set_session_expiry_interval(Some(3600));
            let (client, mut events) = AsyncClient::new(options, 100);
            client.try_subscribe("$share/bench/dw/v1/rs/+/passage", QoS::AtLeastOnce)?;
            while !matches!(events.poll().await?, Event::Incoming(Packet::SubAck(_))) {}
            let tell = tell.clone();
            tokio::spawn(async move {
                let _client = client;
                let mut got = 0;
                while let Ok(event) = events.poll().await {
                    got += u64::from(matches!(event, Event::Incoming(Packet::Publish(_))));
                    // Told in lumps: the null subscriber is to cost as little as it can.
                    if got > 0 && events.state.events.is_empty() {
                        tell.send(std::mem::take(&mut got)).ok();
                    }
                }
            });
        }
        Ok(Self::Null(told))
    }

    async fn session(port: u16, connections: u16) -> anyhow::Result<Self> {
        let config: Mqtt = toml::from_str(&format!(
            "url = 'mqtt://127.0.0.1:{port}'\nclient_id_prefix = 'bench'\ngroup = 'bench'\nconnections = {connections}\n\
             receive_maximum = {RECEIVE_MAXIMUM}\nsession_expiry_seconds = 3600\nkeep_alive_seconds = 30\n\
             max_packet_bytes = 1048576\nmax_payload_bytes = 262144\nbudget_bytes = 67108864\n\
             backoff_min_ms = 100\nbackoff_max_ms = 1000"
        ))?;
        let source: Source = toml::from_str("name = 'rs'\nkind = 'rs'\nfilter = 'dw/v1/rs/+/passage'")?;
        let slots = Slots::Fixed((0..connections).collect());
        let (ingest, inbox) = start(StartArgs { config: &config, sources: &[source], slots })?;
        while !ingest.is_ready() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(Self::Session(ingest, inbox))
    }

    async fn receive(self, messages: u64, kind: Kind) -> anyhow::Result<()> {
        let mut got = 0;
        match self {
            Self::Null(mut told) => {
                while got < messages {
                    got += told.recv().await.context("the null subscriber failed")?;
                }
            }
            Self::Session(ingest, mut inbox) => {
                let mut batch = Vec::new();
                while got < messages {
                    if matches!(kind, Kind::EveryFewMilliseconds) {
                        tokio::time::sleep(COMMIT).await;
                    }
                    got += inbox.recv_many(&mut batch, 4000).await as u64;
                    Receipt::settle_all(batch.drain(..).map(|delivery| delivery.receipt).collect());
                }
                drop(inbox);
                ensure!(ingest.finish(Duration::from_secs(10)).await.clean, "not settled");
                let book = &ingest.books()[0];
                ensure!(book.settled == messages && book.balances(), "{book:?}");
            }
        }
        Ok(())
    }
}

fn options(id: &str, port: u16) -> MqttOptions {
    let mut options = MqttOptions::new(id, "127.0.0.1", port);
    options.set_connect_properties(ConnectProperties {
        receive_maximum: Some(RECEIVE_MAXIMUM),
        max_packet_size: Some(1 << 20),
        ..ConnectProperties::new()
    });
    options
}

async fn publish(port: u16, messages: u64) -> anyhow::Result<()> {
    let mut tasks = tokio::task::JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let share = messages / PUBLISHERS as u64 + u64::from((publisher as u64) < messages % PUBLISHERS as u64);
        let mut options = options(&format!("publisher-{publisher}"), port);
        options.set_outgoing_inflight_upper_limit(500);
        let (client, mut events) = AsyncClient::new(options, 100);
        tasks.spawn(async move {
            let sender = tokio::spawn(async move {
                let payload = bytes::Bytes::from(vec![b'x'; PAYLOAD_BYTES]);
                for number in 0..share {
                    let topic = format!("dw/v1/rs/station-{}/passage", number % 100);
                    client.publish(topic, QoS::AtLeastOnce, false, payload.clone()).await?;
                }
                anyhow::Ok(client)
            });
            let mut acked = 0;
            while acked < share {
                acked += u64::from(matches!(events.poll().await?, Event::Incoming(Packet::PubAck(_))));
            }
            drop(sender.await??);
            anyhow::Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// User and system time of this process.
fn cpu_time() -> Duration {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is valid, and all-zero bytes are a valid `rusage` should the call fail.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let time = |value: libc::timeval| Duration::from_micros(value.tv_sec as u64 * 1_000_000 + value.tv_usec as u64);
    time(usage.ru_utime) + time(usage.ru_stime)
}

struct Guard(std::process::Child);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

struct Mosquitto {
    port: u16,
    _child: Guard,
    _dir: tempfile::TempDir,
}

impl Mosquitto {
    async fn start() -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("mosquitto.conf");
        let config = format!(
            "listener {port} 127.0.0.1\nallow_anonymous true\nlog_type none\nmax_inflight_messages 0\nmax_queued_messages 10000000\n"
        );
        std::fs::write(&file, config)?;
        let child = Command::new("/usr/sbin/mosquitto").arg("-c").arg(file).stderr(Stdio::null()).spawn()?;
        let child = Guard(child);
        let until = Instant::now() + Duration::from_secs(10);
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            ensure!(Instant::now() < until, "mosquitto does not listen");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(Self { port, _child: child, _dir: dir })
    }
}
