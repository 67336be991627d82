//! A real mosquitto on a port of its own, with persistence and raised limits, that can be stopped, killed and restarted.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use dieselwatch::embedded::child::KeptChild;
use rumqttc::v5::{
    AsyncClient, Event, EventLoop, MqttOptions,
    mqttbytes::{QoS, v5::Packet},
};
use tempfile::TempDir;

/// Tries to get a port that nobody takes between looking and listening.
const PORT_TRIES: usize = 8;

pub struct Mosquitto {
    folder: TempDir,
    binary: PathBuf,
    port: u16,
    child: KeptChild,
}

impl Mosquitto {
    /// Everybody may do everything; nothing is dropped for being too much.
    pub async fn start() -> Option<Self> {
        Self::start_with("allow_anonymous true\n").await
    }

    /// With further lines of configuration, such as an access list; `None` where mosquitto is not installed.
    pub async fn start_with(further: &str) -> Option<Self> {
        let places = ["/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto", "/usr/bin/mosquitto"];
        let Some(binary) = places.into_iter().map(PathBuf::from).find(|path| path.is_file()) else {
            return super::skip("mosquitto is not installed");
        };
        let folder = super::scratch();
        for _ in 0..PORT_TRIES {
            let port = super::free_port();
            std::fs::write(folder.path().join("mosquitto.conf"), configuration(&folder, port, further)).unwrap();
            let child = spawn(&binary, &folder);
            if ready(&child, port).await {
                return Some(Self { folder, binary, port, child });
            }
        }
        panic!("mosquitto does not start: {}", std::fs::read_to_string(folder.path().join("log")).unwrap_or_default());
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// As the key `mqtt.url` takes it.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// Process number, for measuring processor time.
    pub fn pid(&self) -> i32 {
        self.child.process().pid
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Ends it in an orderly way: sessions and queues are written down.
    pub async fn stop(&mut self) {
        self.child.process().signal(libc::SIGTERM);
        self.child.ended().await;
    }

    /// Ends it at once: what came since the last snapshot is lost, as it would be in a crash.
    pub async fn kill(&mut self) {
        self.child.process().signal(libc::SIGKILL);
        self.child.ended().await;
    }

    /// Starts it again on the same port with what it wrote down.
    pub async fn start_again(&mut self) {
        self.child = spawn(&self.binary, &self.folder);
        assert!(ready(&self.child, self.port).await, "mosquitto does not start again: {}", self.log());
    }

    pub async fn restart(&mut self) {
        self.stop().await;
        self.start_again().await;
    }

    /// Writes sessions and queues down now, as `autosave_interval` does from time to time.
    pub fn save(&self) {
        self.child.process().signal(libc::SIGUSR1);
    }

    /// Latest value of a topic below `$SYS/broker/`, such as `messages/stored`; they are renewed every second.
    pub async fn sys(&self, topic: &str) -> String {
        let (client, mut events) = self.client("sys-reader");
        client.subscribe(format!("$SYS/broker/{topic}"), QoS::AtMostOnce).await.unwrap();
        let read = async {
            loop {
                if let Event::Incoming(Packet::Publish(message)) = events.poll().await.unwrap() {
                    return String::from_utf8_lossy(&message.payload).into_owned();
                }
            }
        };
        tokio::time::timeout(super::LIMIT, read).await.expect("the broker publishes $SYS topics")
    }

    /// A client of the broker with a persistent session of this name.
    pub fn client(&self, client_id: &str) -> (AsyncClient, EventLoop) {
        let mut options = MqttOptions::new(client_id, "127.0.0.1", self.port);
        options.set_keep_alive(Duration::from_secs(30)).set_clean_start(false);
        options.set_session_expiry_interval(Some(3600));
        AsyncClient::new(options, 1000)
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.child.process().signal(libc::SIGKILL);
        // The folder goes next, and it must not write into it any more.
        self.child.process().wait(super::LIMIT);
    }
}

/// Waits until it listens; `false` when it ended instead, most likely because somebody took the port.
async fn ready(child: &KeptChild, port: u16) -> bool {
    super::until("mosquitto to listen", async || {
        if child.status().is_some() {
            return Some(false);
        }
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok().then_some(true)
    })
    .await
}

fn spawn(binary: &PathBuf, folder: &TempDir) -> KeptChild {
    let mut command = Command::new(binary);
    command.arg("-c").arg(folder.path().join("mosquitto.conf"));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    KeptChild::spawn(command, libc::SIGKILL).unwrap()
}

fn configuration(folder: &TempDir, port: u16, further: &str) -> String {
    let folder = folder.path().display();
    // As root it would change to an account of its own, which cannot write here; to other users the line means nothing.
    format!(
        "user root\nlistener {port} 127.0.0.1\n\
         persistence true\npersistence_location {folder}/\nautosave_interval 5\n\
         max_inflight_messages 0\nmax_queued_messages 0\nmax_queued_bytes 0\nmax_packet_size 8388608\n\
         sys_interval 1\nlog_dest file {folder}/log\nlog_type all\nset_tcp_nodelay true\n{further}"
    )
}
