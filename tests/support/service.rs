//! The real binary as its own process, with a configuration of the test's making.

use std::{
    fs::OpenOptions,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use dieselwatch::embedded::child::KeptChild;

use super::http;

/// Tries to get a port that nobody takes between looking and listening.
const PORT_TRIES: usize = 5;

/// What differs between tests; everything else is the program's default.
#[derive(Clone, Debug)]
pub struct Setting {
    /// Where the configuration and the log go.
    pub folder: PathBuf,
    pub instance: String,
    pub broker: String,
    pub database: String,
    /// Lines of the section `[mqtt]`.
    pub mqtt: String,
    /// Lines of the section `[database]`.
    pub store: String,
    /// Further whole sections.
    pub further: String,
}

impl Setting {
    pub fn new(folder: &Path, broker: &str, database: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            instance: "one".into(),
            broker: broker.into(),
            database: database.into(),
            mqtt: String::new(),
            store: String::new(),
            further: String::new(),
        }
    }

    /// Writes the configuration file, for the service and for commands.
    pub fn write(&self, http: SocketAddr) -> PathBuf {
        let Self { folder, instance, broker, database, mqtt, store, further } = self;
        let path = folder.join(format!("{instance}.toml"));
        let text = format!(
            "[service]\ninstance = \"{instance}\"\n[mqtt]\nurl = \"{broker}\"\nbackoff_max_ms = 1000\n{mqtt}\n\
             [database]\nurl = \"{database}\"\n{store}\n[http]\nlisten = \"{http}\"\n{further}\n"
        );
        std::fs::write(&path, text).unwrap();
        path
    }

    /// Runs a command of the program on this configuration and waits for its end.
    pub async fn command(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--config").arg(self.write(([127, 0, 0, 1], 0).into()));
        command.stdin(Stdio::null());
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    /// The same, where anything but success is a mistake; what it printed.
    pub async fn succeed(&self, arguments: &[&str]) -> String {
        let output = self.command(arguments).await;
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {}\n{out}\n{err}", output.status);
        out.into_owned()
    }
}

/// A running `dieselwatch serve`; killed when dropped.
pub struct Service {
    child: KeptChild,
    http: SocketAddr,
    log: PathBuf,
}

impl Service {
    /// Starts the service and waits until its HTTP answers; readiness is the test's to wait for.
    pub async fn start(setting: &Setting) -> Self {
        for _ in 0..PORT_TRIES {
            let service = Self::attempt(setting);
            let answers = super::until("the service's HTTP to answer", async || {
                if service.child.status().is_some() {
                    return Some(false);
                }
                matches!(http::get(service.http, "/healthz").await, Ok((200, _))).then_some(true)
            });
            if answers.await {
                return service;
            }
            assert!(service.log_tail().contains("in use"), "the service ended:\n{}", service.log_tail());
        }
        panic!("the service does not start");
    }

    /// Starts it and waits until broker and database are there.
    pub async fn start_ready(setting: &Setting) -> Self {
        let service = Self::start(setting).await;
        service.ready().await;
        service
    }

    fn attempt(setting: &Setting) -> Self {
        let http: SocketAddr = ([127, 0, 0, 1], super::free_port()).into();
        let path = setting.write(http);
        let log = setting.folder.join(format!("{}.log", setting.instance));
        let output = OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut command = Command::new(binary());
        command.args(["serve", "--config"]).arg(&path).stdin(Stdio::null());
        command.stdout(output.try_clone().unwrap()).stderr(output);
        Self { child: KeptChild::spawn(command, libc::SIGKILL).unwrap(), http, log }
    }

    pub fn http(&self) -> SocketAddr {
        self.http
    }

    pub async fn ready(&self) {
        super::until("the service to be ready", async || {
            if self.child.status().is_some() {
                panic!("the service ended:\n{}", self.log_tail());
            }
            matches!(http::get(self.http, "/readyz").await, Ok((200, _))).then_some(())
        })
        .await;
    }

    /// Ends it at once, as a crash would.
    pub async fn kill(mut self) {
        self.child.process().signal(libc::SIGKILL);
        self.child.ended().await;
    }

    /// Asks it to end and waits; the exit code.
    pub async fn stop(mut self) -> Option<i32> {
        self.child.process().signal(libc::SIGTERM);
        let ended = tokio::time::timeout(super::LIMIT, self.child.ended()).await;
        ended.unwrap_or_else(|_| panic!("no orderly end:\n{}", self.log_tail())).code()
    }

    /// The metrics; empty while it does not answer.
    pub async fn metrics(&self) -> String {
        http::get(self.http, "/metrics").await.map(|(_, body)| body).unwrap_or_default()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub fn log_tail(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.child.process().signal(libc::SIGKILL);
        // Its database and its folder go next.
        self.child.process().wait(super::LIMIT);
    }
}

pub fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_dieselwatch"))
}
