//! The service and the broker as processes, started as an operator would.

use std::process::Stdio;

use anyhow::{Context as _, ensure};
use dieselwatch::embedded::child::KeptChild;
use tempfile::TempDir;

use crate::{CONNECTIONS, RECEIVE_MAXIMUM, support};

/// The release binary as an operator would start it.
pub struct Service {
    child: KeptChild,
    pub port: u16,
    folder: TempDir,
}

impl Service {
    /// `more` settings go to `--set` as they are.
    pub async fn start(broker: &Mosquitto, database: &str, more: Vec<String>) -> anyhow::Result<Self> {
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
        settings.extend(more);
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

    pub fn pid(&self) -> u32 {
        self.child.process().pid.unsigned_abs()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    pub async fn stop(mut self) -> anyhow::Result<()> {
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
pub async fn ask(port: u16, path: &str) -> std::io::Result<String> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

pub struct Mosquitto {
    child: KeptChild,
    pub port: u16,
    _folder: TempDir,
}

impl Mosquitto {
    pub async fn start() -> anyhow::Result<Self> {
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

    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    pub fn pid(&self) -> u32 {
        self.child.process().pid.unsigned_abs()
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.child.process().signal(libc::SIGKILL);
        self.child.process().wait(support::LIMIT);
    }
}
