//! Brokers, publishers and patience for the tests of the session.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rumqttc::v5::{
    AsyncClient, Event, MqttOptions,
    mqttbytes::{
        QoS,
        v5::{ConnectProperties, Packet},
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{Instant, sleep, timeout},
};

use crate::{
    config::{Mqtt, Source},
    embedded::broker::Broker,
    ingest::{Delivery, Inbox, Ingest, Receipt, Slots, StartArgs, start},
};

/// How long anything may take on a busy machine.
pub const CEILING: Duration = Duration::from_secs(60);

pub fn source(name: &str, filter: &str) -> Source {
    toml::from_str(&format!("name = {name:?}\nkind = \"rs\"\nfilter = {filter:?}")).expect("valid source")
}

/// A configuration for tests: short waits, one connection, a small window.
pub fn mqtt(url: &str) -> Mqtt {
    Mqtt {
        url: url.into(),
        username: None,
        password: None,
        client_id_prefix: "test".into(),
        group: "dieselwatch".into(),
        connections: 1,
        receive_maximum: 1000,
        session_expiry_seconds: 3600,
        keep_alive_seconds: 5,
        max_packet_bytes: 1 << 20,
        max_payload_bytes: 1 << 18,
        budget_bytes: 64 << 20,
        backoff_min_ms: 20,
        backoff_max_ms: 200,
        tls: None,
    }
}

pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let until = Instant::now() + CEILING;
    while !holds() {
        assert!(Instant::now() < until, "waited in vain until {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bind a free port");
    listener.local_addr().expect("bound").port()
}

/// A mosquitto of our own.
pub struct Mosquitto {
    child: Child,
    pub port: u16,
    dir: tempfile::TempDir,
}

impl Mosquitto {
    pub async fn start() -> Self {
        Self::with("allow_anonymous true\n").await
    }

    pub async fn with(extra: &str) -> Self {
        let port = free_port();
        let dir = tempfile::tempdir().expect("a scratch folder");
        let user = if unsafe { libc::geteuid() } == 0 { "user root\n" } else { "" };
        let config = format!(
            "listener {port} 127.0.0.1\n{extra}{user}persistence true\npersistence_location {}/\n\
             max_inflight_messages 0\nmax_queued_messages 1000000\nlog_type none\n",
            dir.path().display()
        );
        std::fs::write(dir.path().join("mosquitto.conf"), config).expect("write the configuration");
        let mut broker = Self { child: spawn(dir.path()), port, dir };
        broker.until_up().await;
        broker
    }

    async fn until_up(&mut self) {
        let until = Instant::now() + CEILING;
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            assert!(self.child.try_wait().expect("ask for its state").is_none(), "mosquitto has ended");
            assert!(Instant::now() < until, "mosquitto does not listen");
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// An orderly restart, with its sessions on disk in between.
    pub async fn restart(&mut self) {
        self.stop();
        self.child = spawn(self.dir.path());
        self.until_up().await;
    }

    fn stop(&mut self) {
        // SAFETY: the child is ours and has not been waited for.
        unsafe { libc::kill(self.child.id() as libc::pid_t, libc::SIGTERM) };
        self.child.wait().expect("mosquitto ends");
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn spawn(dir: &Path) -> Child {
    Command::new("/usr/sbin/mosquitto")
        .arg("-c")
        .arg(dir.join("mosquitto.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("mosquitto is installed")
}

/// Either broker, so that a behaviour is tested with both.
pub enum AnyBroker {
    Mosquitto(Mosquitto),
    Embedded(Broker),
}

impl AnyBroker {
    pub async fn both() -> [Self; 2] {
        let embedded = Broker::start(0).await.expect("the in-process broker starts");
        [Self::Mosquitto(Mosquitto::start().await), Self::Embedded(embedded)]
    }

    pub fn url(&self) -> String {
        match self {
            AnyBroker::Mosquitto(broker) => broker.url(),
            AnyBroker::Embedded(broker) => broker.url(),
        }
    }

    pub fn address(&self) -> SocketAddr {
        match self {
            AnyBroker::Mosquitto(broker) => ([127, 0, 0, 1], broker.port).into(),
            AnyBroker::Embedded(broker) => broker.address(),
        }
    }
}

pub const TOPIC: &str = "dw/v1/rs/370306-01/passage";

/// Publishes and waits for every PUBACK.
pub async fn publish(url: &str, messages: impl IntoIterator<Item = (String, Vec<u8>)>) {
    publish_with(url, QoS::AtLeastOnce, false, messages).await;
}

pub async fn publish_with(url: &str, qos: QoS, retain: bool, messages: impl IntoIterator<Item = (String, Vec<u8>)>) {
    let url = url::Url::parse(url).expect("a url");
    let id = format!("publisher-{}", rand::random::<u32>());
    let port = url.port().expect("a port");
    let mut options = MqttOptions::new(id, url.host_str().expect("a host"), port);
    options.set_connect_properties(ConnectProperties { max_packet_size: Some(1 << 20), ..ConnectProperties::new() });
    let (client, mut events) = AsyncClient::new(options, 100);
    let messages: Vec<_> = messages.into_iter().collect();
    let count = messages.len();
    let sender = tokio::spawn(async move {
        for (topic, payload) in messages {
            client.publish(topic, qos, retain, payload).await.expect("queue a publish");
        }
        client
    });
    let mut done = 0;
    while done < count {
        match timeout(CEILING, events.poll()).await.expect("PUBACK in time").expect("the publisher stays connected") {
            Event::Incoming(Packet::PubAck(_)) => done += 1,
            Event::Outgoing(rumqttc::Outgoing::Publish(_)) if qos == QoS::AtMostOnce => done += 1,
            _ => {}
        }
    }
    let client = sender.await.expect("all queued");
    client.try_disconnect().expect("queue a disconnect");
    while events.poll().await.is_ok() {}
}

/// Numbered messages on [`TOPIC`].
pub fn numbered(numbers: std::ops::Range<u32>) -> impl Iterator<Item = (String, Vec<u8>)> {
    numbers.map(|number| (TOPIC.to_owned(), number.to_string().into_bytes()))
}

pub fn number(delivery: &Delivery) -> u32 {
    std::str::from_utf8(&delivery.payload).expect("text").parse().expect("a number")
}

/// One session under test and what it delivered.
pub struct Service {
    pub ingest: Ingest,
    pub inbox: Inbox,
}

impl Service {
    pub async fn start(config: &Mqtt, slots: &[u16]) -> Self {
        let service = Self::begin(config, Slots::Fixed(slots.to_vec()));
        service.until_ready().await;
        service
    }

    pub fn begin(config: &Mqtt, slots: Slots) -> Self {
        let sources = [source("rs", "dw/v1/rs/+/passage"), source("obd", "dw/v1/obd/+/frame")];
        let (ingest, inbox) = start(StartArgs { config, sources: &sources, slots }).expect("a valid configuration");
        Self { ingest, inbox }
    }

    pub async fn until_ready(&self) {
        eventually("the session reads", || self.ingest.is_ready()).await;
    }

    /// Waits for this many messages.
    pub async fn take(&mut self, count: usize) -> Vec<Delivery> {
        let mut got = Vec::new();
        while got.len() < count {
            let limit = count - got.len();
            let more = timeout(CEILING, self.inbox.recv_many(&mut got, limit)).await;
            assert!(more.is_ok_and(|more| more > 0), "{} of {count} messages came", got.len());
        }
        got
    }

    /// Book of the first source: received, settled, in flight, returned.
    pub fn book(&self) -> (u64, u64, u64, u64) {
        let books = self.ingest.books();
        assert!(books.iter().all(|book| book.balances()), "{books:?}");
        let book = &books[0];
        (book.received, book.settled, book.in_flight, book.returned)
    }

    pub async fn until_settled(&self, count: u64) {
        eventually("the acks have left", || self.book().1 == count).await;
    }

    /// Ends in order; nothing may be open.
    pub async fn finish(self) {
        drop(self.inbox);
        let finish = self.ingest.finish(CEILING).await;
        assert!(finish.clean, "{finish:?}");
    }
}

pub fn settle(deliveries: Vec<Delivery>) {
    Receipt::settle_all(deliveries.into_iter().map(|delivery| delivery.receipt).collect());
}

/// A relay between client and broker that can cut its connections and writes down the PUBACKs it sees.
pub struct Proxy {
    pub port: u16,
    connections: Arc<Mutex<Vec<tokio::task::AbortHandle>>>,
    acks: Arc<Mutex<BTreeMap<usize, Vec<u16>>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    pub async fn start(broker: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind a free port");
        let port = listener.local_addr().expect("bound").port();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let acks = Arc::new(Mutex::new(BTreeMap::new()));
        let (handles, book) = (Arc::clone(&connections), Arc::clone(&acks));
        let task = tokio::spawn(async move {
            for index in 0.. {
                let (client, _) = listener.accept().await.expect("accept");
                let relay = tokio::spawn(relay(client, broker, index, Arc::clone(&book)));
                handles.lock().expect("unpoisoned").push(relay.abort_handle());
            }
        });
        Self { port, connections, acks, task }
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    pub fn cut(&self) {
        for connection in self.connections.lock().expect("unpoisoned").drain(..) {
            connection.abort();
        }
    }

    /// Packet ids acknowledged on the n-th connection, in order.
    pub fn acks(&self, connection: usize) -> Vec<u16> {
        self.acks.lock().expect("unpoisoned").get(&connection).cloned().unwrap_or_default()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn relay(client: TcpStream, broker: SocketAddr, index: usize, book: Arc<Mutex<BTreeMap<usize, Vec<u16>>>>) {
    let Ok(broker) = TcpStream::connect(broker).await else { return };
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_broker, mut to_broker) = broker.into_split();
    let up = async {
        let mut seen: Vec<u8> = Vec::new();
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
            seen.extend(&buffer[..count]);
            // All packets a client of ours sends are shorter than 128 bytes but for SUBSCRIBE, which is too here.
            while seen.len() >= 2 && seen.len() >= 2 + usize::from(seen[1]) {
                if seen[0] == 0x40 {
                    let packet = u16::from_be_bytes([seen[2], seen[3]]);
                    book.lock().expect("unpoisoned").entry(index).or_default().push(packet);
                }
                seen.drain(..2 + usize::from(seen[1]));
            }
            if to_broker.write_all(&buffer[..count]).await.is_err() {
                return;
            }
        }
        // A half-closed connection tells the broker nothing an abort would not.
    };
    let down = async {
        tokio::io::copy(&mut from_broker, &mut to_client).await.ok();
    };
    tokio::select! { () = up => {} () = down => {} }
}
