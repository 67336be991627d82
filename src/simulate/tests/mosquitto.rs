//! A mosquitto of our own, and somebody who listens to it.

use std::{
    collections::HashSet,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rumqttc::v5::{
    AsyncClient, Event, MqttOptions,
    mqttbytes::{QoS, v5::Packet},
};
use tempfile::TempDir;

/// Longest wait for anything; a machine under load is slow, a hang is longer than this.
const CEILING: Duration = Duration::from_secs(60);

/// Waits until the condition holds.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + CEILING;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {CEILING:?} until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub struct Mosquitto {
    folder: TempDir,
    config: PathBuf,
    port: u16,
    process: Option<Child>,
}

impl Mosquitto {
    /// Starts one on a free port of loopback; `extra` goes to the end of its configuration.
    pub fn start(extra: &str) -> Self {
        // Somebody else may take the port between our look and mosquitto's start; then it exits and we look again.
        for _ in 0..5 {
            let port = std::net::TcpListener::bind("127.0.0.1:0")
                .and_then(|listener| listener.local_addr())
                .expect("a free port")
                .port();
            let folder = tempfile::tempdir().expect("a folder");
            let config = folder.path().join("mosquitto.conf");
            let anonymous = if extra.contains("allow_anonymous") { "" } else { "allow_anonymous true" };
            let text = format!(
                "listener {port} 127.0.0.1\n{anonymous}\npersistence true\npersistence_location {}/\n\
                 max_inflight_messages 1000\nmax_queued_messages 0\nuser root\nlog_dest none\n{extra}\n",
                folder.path().display()
            );
            std::fs::write(&config, text).expect("writable");
            let mut broker = Self { folder, config, port, process: None };
            if broker.spawn() {
                return broker;
            }
        }
        panic!("mosquitto does not start");
    }

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Asks it to end, so that it saves its sessions, and waits until it has.
    pub fn stop(&mut self) {
        let Some(mut process) = self.process.take() else { return };
        let pid = i32::try_from(process.id()).expect("a process id");
        // SAFETY: a child of ours that nobody has waited for yet, so the number is still its.
        unsafe { libc::kill(pid, libc::SIGTERM) };
        process.wait().expect("it ends");
    }

    pub fn restart(&mut self) {
        assert!(self.spawn(), "mosquitto does not start again");
    }

    fn spawn(&mut self) -> bool {
        let program = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"]
            .into_iter()
            .find(|path| Path::new(path).exists())
            .expect("mosquitto is installed (package mosquitto)");
        let mut command = Command::new(program);
        command.arg("-c").arg(&self.config).stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = command.spawn().expect("mosquitto can be started");
        let deadline = Instant::now() + CEILING;
        while process.try_wait().expect("a child of ours").is_none() {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                self.process = Some(process);
                return true;
            }
            assert!(Instant::now() < deadline, "mosquitto neither listens nor ends");
            std::thread::yield_now();
        }
        false
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.stop();
    }
}

type Received = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

/// A plain subscriber with a session that outlives the broker.
pub struct Subscriber {
    received: Received,
    task: tokio::task::JoinHandle<()>,
}

impl Subscriber {
    /// Returns once the subscription is in force.
    pub async fn start(broker: &Mosquitto, filter: &'static str) -> Self {
        let name = uuid::Uuid::new_v4().simple().to_string();
        let mut options = MqttOptions::new(name, "127.0.0.1", broker.port);
        options.set_clean_start(false).set_session_expiry_interval(Some(3600));
        options.set_receive_maximum(Some(500)).set_max_packet_size(Some(16 << 20));
        let received = Received::default();
        let (subscribed, mut in_force) = tokio::sync::mpsc::channel(1);
        let into = Arc::clone(&received);
        let task = tokio::spawn(async move {
            let (client, mut events) = AsyncClient::new(options, 16);
            loop {
                match events.poll().await {
                    Ok(Event::Incoming(Packet::ConnAck(_))) => {
                        client.try_subscribe(filter, QoS::AtLeastOnce).expect("room for one request");
                    }
                    Ok(Event::Incoming(Packet::SubAck(_))) => drop(subscribed.try_send(())),
                    Ok(Event::Incoming(Packet::Publish(publish))) => {
                        let topic = String::from_utf8_lossy(&publish.topic).into_owned();
                        into.lock().expect("no panic").push((topic, publish.payload.to_vec()));
                    }
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        });
        tokio::time::timeout(CEILING, in_force.recv()).await.expect("a subscription").expect("a subscription");
        Self { received, task }
    }

    pub fn messages(&self) -> Vec<(String, Vec<u8>)> {
        self.received.lock().expect("no panic").clone()
    }

    /// Everything but states.
    pub fn readings(&self) -> Vec<(String, Vec<u8>)> {
        self.messages().into_iter().filter(|(topic, _)| !topic.ends_with("/status")).collect()
    }

    /// Record ids of the single passages received so far.
    pub fn record_ids(&self) -> HashSet<String> {
        let id = |payload: &[u8]| {
            let passage: serde_json::Value = serde_json::from_slice(payload).ok()?;
            Some(passage["record_id"].as_str()?.to_owned())
        };
        self.messages().iter().filter_map(|(_, payload)| id(payload)).collect()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.task.abort();
    }
}
