//! A real Apache Kafka (KRaft, one node) from Maven Central jars, on ports of its own, that can be stopped and started.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use dieselwatch::embedded::child::KeptChild;
use rdkafka::{
    ClientConfig, Message as _, TopicPartitionList,
    admin::{AdminClient, AdminOptions, AlterConfig, NewTopic, ResourceSpecifier, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    message::Headers as _,
};
use tempfile::TempDir;
use tokio::sync::OnceCell;

/// Tries to get ports that nobody takes between looking and listening.
const PORT_TRIES: usize = 5;

/// Partitions of topics that are made by being used.
const PARTITIONS: usize = 3;

static JARS: OnceCell<Option<PathBuf>> = OnceCell::const_new();
static SHARED: OnceCell<Option<Kafka>> = OnceCell::const_new();

pub struct Kafka {
    folder: TempDir,
    jars: PathBuf,
    port: u16,
    machine: Machine,
    child: KeptChild,
}

/// How Java runs the broker.
#[derive(Clone, Copy, Debug)]
enum Machine {
    /// For a short life: the second compiler costs more processor time than it saves.
    Short,
    /// As its own start script does it, for a broker that is measured once it is warm.
    Lasting,
}

/// A record as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub topic: String,
    pub partition: i32,
    pub offset: i64,
    pub key: String,
    pub payload: Vec<u8>,
    /// In the order of the record, as text.
    pub headers: Vec<(String, String)>,
}

impl Record {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

impl Kafka {
    /// The broker all tests of this process may use that tell their own records from those of others.
    pub async fn shared() -> Option<&'static Self> {
        SHARED.get_or_init(Self::start).await.as_ref()
    }

    /// A broker of the test's own; `None` where Java or Maven is missing.
    pub async fn start() -> Option<Self> {
        Self::start_on(Machine::Short).await
    }

    /// A broker that runs as in production: slow until Java has compiled what is hot, which takes half a minute of load.
    pub async fn start_lasting() -> Option<Self> {
        Self::start_on(Machine::Lasting).await
    }

    async fn start_on(machine: Machine) -> Option<Self> {
        let jars = JARS.get_or_init(jars).await.clone()?;
        for _ in 0..PORT_TRIES {
            let kafka = Self::attempt(&jars, machine);
            if kafka.ready().await {
                return Some(kafka);
            }
            eprintln!("Kafka did not start, trying other ports: {}", kafka.log());
        }
        panic!("Kafka does not start");
    }

    fn attempt(jars: &Path, machine: Machine) -> Self {
        let folder = super::scratch();
        let (port, controller) = (super::free_port(), super::free_port());
        std::fs::write(folder.path().join("server.properties"), properties(&folder, port, controller)).unwrap();
        let format = java(jars, &folder, Machine::Short, "kafka.tools.StorageTool")
            .args(["format", "--cluster-id", "ZGllc2Vsd2F0Y2gtdGVzdA", "--config"])
            .arg(folder.path().join("server.properties"))
            .output()
            .unwrap();
        assert!(format.status.success(), "format: {}", String::from_utf8_lossy(&format.stderr));
        let child = spawn(jars, &folder, machine);
        Self { folder, jars: jars.to_owned(), port, machine, child }
    }

    /// As the key `kafka.brokers` takes it.
    pub fn brokers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Process number, for measuring processor time.
    pub fn pid(&self) -> i32 {
        self.child.process().pid
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(&mut self) {
        self.child.process().signal(libc::SIGKILL);
        self.child.ended().await;
    }

    /// Starts it again on the same port with the same logs.
    pub async fn start_again(&mut self) {
        self.child = spawn(&self.jars, &self.folder, self.machine);
        assert!(self.ready().await, "Kafka does not start again: {}", self.log());
    }

    /// Waits until it answers clients; `false` when it ended instead.
    async fn ready(&self) -> bool {
        super::until("Kafka to answer", async || {
            if self.child.status().is_some() {
                return Some(false);
            }
            let brokers = self.brokers();
            tokio::task::spawn_blocking(move || answers(&brokers)).await.unwrap().then_some(true)
        })
        .await
    }

    /// Sets how large a batch the topic takes, bytes; makes the topic where there is none.
    pub async fn limit(&self, topic: &str, bytes: u32) {
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", self.brokers()).set("log_level", "0").create().unwrap();
        let (options, bytes) = (AdminOptions::new(), bytes.to_string());
        let new = NewTopic::new(topic, -1, TopicReplication::Fixed(-1)).set("max.message.bytes", &bytes);
        let made = admin.create_topics([&new], &options).await.unwrap().remove(0);
        if made.is_err() {
            let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", &bytes);
            admin.alter_configs([&change], &options).await.unwrap().remove(0).unwrap();
        }
        // What is set is in force once the broker says so.
        super::until("the topic's limit", async || {
            let described =
                admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await.unwrap().remove(0);
            let value = described.ok()?.get("max.message.bytes")?.value.clone();
            (value == Some(bytes.clone())).then_some(())
        })
        .await;
    }

    /// Reads a whole topic as a consumer that only sees committed records; empty when there is no such topic.
    pub async fn records(&self, topic: &str) -> Vec<Record> {
        let (brokers, topic) = (self.brokers(), topic.to_owned());
        tokio::task::spawn_blocking(move || records(&brokers, &topic)).await.unwrap()
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        self.child.process().signal(libc::SIGKILL);
        // The folder goes next, and it must not write into it any more.
        self.child.process().wait(super::LIMIT);
    }
}

/// A consumer that reads committed records of the whole topic from its start, or what comes from now on.
pub fn consumer(brokers: &str, topic: &str, from: rdkafka::Offset) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "test-reader")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("isolation.level", "read_committed")
        .set("log_level", "0")
        .create()
        .unwrap();
    let metadata = consumer.fetch_metadata(Some(topic), super::LIMIT).unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|t| t.partitions()) {
        assignment.add_partition_offset(topic, partition.id(), from).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    consumer
}

/// Everything committed in the topic; also works on the mock cluster. Waits for transactions that are open now: a
/// consumer of committed records is told that a partition ends where the first of them begins.
pub fn records(brokers: &str, topic: &str) -> Vec<Record> {
    let everything: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("isolation.level", "read_uncommitted")
        .set("log_level", "0")
        .create()
        .unwrap();
    let consumer = consumer(brokers, topic, rdkafka::Offset::Beginning);
    let mut open = consumer.assignment().unwrap().count();
    let deadline = Instant::now() + super::LIMIT;
    for partition in 0..i32::try_from(open).unwrap() {
        let end = everything.fetch_watermarks(topic, partition, super::LIMIT).unwrap().1;
        while consumer.fetch_watermarks(topic, partition, super::LIMIT).unwrap().1 < end {
            assert!(Instant::now() < deadline, "a transaction stays open in {topic}/{partition}");
        }
    }
    let mut records = Vec::new();
    while open > 0 {
        match consumer.poll(super::LIMIT).expect("records or the end of the partition") {
            Ok(message) => records.push(record(&message)),
            Err(KafkaError::PartitionEOF(_)) => open -= 1,
            Err(error) => panic!("{error}"),
        }
    }
    records
}

pub fn record(message: &rdkafka::message::BorrowedMessage<'_>) -> Record {
    let text = |bytes: Option<&[u8]>| String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned();
    let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
    Record {
        topic: message.topic().to_owned(),
        partition: message.partition(),
        offset: message.offset(),
        key: text(message.key()),
        payload: message.payload().unwrap_or_default().to_vec(),
        headers: headers.map(|header| (header.key.to_owned(), text(header.value))).collect(),
    }
}

fn answers(brokers: &str) -> bool {
    let client: BaseConsumer =
        ClientConfig::new().set("bootstrap.servers", brokers).set("log_level", "0").create().unwrap();
    client.fetch_metadata(None, std::time::Duration::from_secs(1)).is_ok_and(|m| !m.brokers().is_empty())
}

/// Folder with the broker's jars, fetched by Maven once and kept below `target`.
async fn jars() -> Option<PathBuf> {
    for program in ["java", "mvn"] {
        if !std::env::split_paths(&std::env::var_os("PATH")?).any(|folder| folder.join(program).is_file()) {
            return super::skip(&format!("Apache Kafka: {program} is not installed"));
        }
    }
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let kept = manifest.join("target/kafka/4.1.1");
    if kept.join("complete").is_file() {
        return Some(kept);
    }
    std::fs::create_dir_all(&kept).unwrap();
    // One fetches, also when several test processes start at once; the lock goes with the file.
    let lock = File::create(kept.join("lock")).unwrap();
    let folder = kept.clone();
    let fetched = tokio::task::spawn_blocking(move || {
        lock.lock().unwrap();
        if folder.join("complete").is_file() {
            return Ok(());
        }
        let output = Command::new("mvn")
            .args(["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-f"])
            .arg(manifest.join("tests/support/kafka/pom.xml"))
            .arg(format!("-DoutputDirectory={}", folder.display()))
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        std::fs::write(folder.join("complete"), "").map_err(|error| error.to_string())
    });
    match fetched.await.unwrap() {
        Ok(()) => Some(kept),
        Err(error) => super::skip(&format!("Apache Kafka: Maven cannot fetch it: {}", error.trim())),
    }
}

fn spawn(jars: &Path, folder: &TempDir, machine: Machine) -> KeptChild {
    let log = File::options().create(true).append(true).open(folder.path().join("log")).unwrap();
    let mut command = java(jars, folder, machine, "kafka.Kafka");
    command.arg(folder.path().join("server.properties"));
    command.stdout(log.try_clone().unwrap()).stderr(log);
    KeptChild::spawn(command, libc::SIGKILL).unwrap()
}

fn java(jars: &Path, folder: &TempDir, machine: Machine, class: &str) -> Command {
    let mut command = Command::new("java");
    match machine {
        Machine::Short => command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]),
        Machine::Lasting => command.args(["-Xmx1g", "-Xms1g", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]),
    };
    command.arg("-cp");
    command.arg(format!("{}/*", jars.display())).arg(class);
    command.stdin(Stdio::null()).current_dir(folder.path());
    command
}

fn properties(folder: &TempDir, port: u16, controller: u16) -> String {
    let folder = folder.path().display();
    format!(
        "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
         log.dirs={folder}/logs\nnum.partitions={PARTITIONS}\n\
         offsets.topic.replication.factor=1\noffsets.topic.num.partitions=1\n\
         transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
         transaction.state.log.num.partitions=1\ngroup.initial.rebalance.delay.ms=0\n"
    )
}
