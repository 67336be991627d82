//! A private PostgreSQL cluster: its own folder, its own socket, no port, gone when its parent is gone.
//!
//! * The server is a [`KeptChild`]: when this process ends, also by `kill -9`, the kernel sends it `SIGINT`, a fast and
//!   orderly stop.
//! * The next start waits for a server that is still stopping, and sweeps away a `postmaster.pid` whose number has
//!   passed to another program. A lock tells a living owner from a dead one.
//! * Root hands the cluster to `postgres` or `nobody`, because the server refuses to run as root.
//!
//! Promises of this cluster: what is committed survives a crash of the process and of the machine (`fsync` is on).
//! Not promised: replicas, backups, upgrades to another major version. Linux only.
//!
//! The same module serves `demo`, the tests and the benches.

mod account;
mod binaries;
mod cluster;
mod postmaster;

use std::{
    fmt::Write as _,
    fs::File,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use super::child::KeptChild;
use cluster::{Cluster, io};

/// Role and database of the service.
const SUPERUSER: &str = "dieselwatch";
const DATABASE: &str = "dieselwatch";

/// Longest start: recovery after a crash replays up to `max_wal_size`.
const START_LIMIT: Duration = Duration::from_secs(120);
/// How often readiness is asked for; a start takes some tens of milliseconds.
const START_POLL: Duration = Duration::from_millis(20);

/// Settings of every private cluster; more may be given to [`EmbeddedPostgres::start_with`], where the last one wins.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", ""),
    ("unix_socket_permissions", "0700"),
    ("max_connections", "60"),
    ("shared_buffers", "128MB"),
    ("fsync", "on"),
    ("max_wal_size", "2GB"),
    // A checkpoint rarely, so that a short run does not write full pages again and again.
    ("checkpoint_timeout", "15min"),
    ("timezone", "UTC"),
    ("log_timezone", "UTC"),
    // Compiling a query costs more than the short queries here take.
    ("jit", "off"),
    ("log_checkpoints", "off"),
];

/// Why a private cluster does not run.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    #[error(
        "PostgreSQL server binaries (initdb, postgres) are not installed; on Debian or Ubuntu run \
         `apt-get install postgresql`, or name their folder in {}",
        binaries::FOLDER_VARIABLE
    )]
    MissingBinaries,
    #[error(
        "the data was made by PostgreSQL {data}, installed is {versions}; install postgresql-{data} or start with an \
         empty folder"
    )]
    OtherVersion { data: u32, versions: String },
    #[error("{} is not the data of a PostgreSQL cluster", data.display())]
    NotACluster { data: PathBuf },
    #[error("PostgreSQL refuses to run as root and there is neither a user `postgres` nor `nobody` to change to")]
    NoAccount,
    #[error(
        "the user {account}, as whom the database must run, cannot get to {}: {} is closed to others; choose a folder \
         such as /var/tmp/dieselwatch",
        folder.display(),
        barrier.display()
    )]
    OutOfReach { account: &'static str, folder: PathBuf, barrier: PathBuf },
    #[error("another dieselwatch is running on {}", folder.display())]
    InUse { folder: PathBuf },
    #[error("process {pid} of an earlier run holds the data and does not end")]
    Orphan { pid: i32 },
    #[error("{} is too long for a socket", path.display())]
    PathTooLong { path: PathBuf },
    #[error("initdb failed ({status}): {said}")]
    Initdb { status: ExitStatus, said: String },
    #[error("the database server did not start ({how}); the end of its log: {log}")]
    NotStarted { how: String, log: String },
    #[error("the database server does not stop (process {pid})")]
    NotStopped { pid: i32 },
    #[error("prepare the database")]
    Prepare(#[source] tokio_postgres::Error),
    #[error("{what} {}", path.display())]
    Io { what: &'static str, path: PathBuf, source: std::io::Error },
}

/// A running private cluster. Dropping it stops the server and waits up to ten seconds for that.
#[derive(Debug)]
pub struct EmbeddedPostgres {
    child: KeptChild,
    cluster: Cluster,
    url: String,
}

impl EmbeddedPostgres {
    /// Starts the cluster in `folder`, making it first if there is none, and waits until it takes connections.
    ///
    /// # Cancel safety
    ///
    /// Not cancel-safe in the sense of undoing: the folder may have been made; a started server is stopped.
    pub async fn start(folder: &Path) -> Result<Self, PostgresError> {
        Self::start_with(folder, &[]).await
    }

    /// [`EmbeddedPostgres::start`] with further server settings, such as `("fsync", "off")` for tests.
    pub async fn start_with(folder: &Path, settings: &[(&str, &str)]) -> Result<Self, PostgresError> {
        let path = folder.to_owned();
        let cluster = blocking(move || Cluster::open(&path)).await?;
        let child = spawn(&cluster, settings)?;
        let url = url(&cluster.socket_folder, DATABASE);
        let server = Self { child, cluster, url };
        server.wait_ready().await?;
        Ok(server)
    }

    /// Connection string of the service's database, as `tokio_postgres` and `database.url` take it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Connection string of another database of the cluster.
    pub fn url_of(&self, database: &str) -> String {
        url(&self.cluster.socket_folder, database)
    }

    /// Process number of the server, for measuring its processor time.
    pub fn pid(&self) -> u32 {
        self.child.process().pid.unsigned_abs()
    }

    /// Where the server writes what it has to say.
    pub fn log(&self) -> &Path {
        &self.cluster.log
    }

    /// Waits until the server has ended, whoever ended it.
    pub async fn ended(&mut self) {
        self.child.ended().await;
    }

    /// Stops the server in an orderly way: connections are cut, a checkpoint is written.
    pub async fn stop(mut self) -> Result<(), PostgresError> {
        let process = self.child.process().clone();
        let pid = process.pid;
        if !blocking(move || postmaster::stop(&process)).await {
            return Err(PostgresError::NotStopped { pid });
        }
        self.ended().await;
        Ok(())
    }

    /// Stops the server at once, without a checkpoint, as a crash would; the next start recovers.
    pub async fn crash(mut self) {
        self.child.process().signal(libc::SIGQUIT);
        self.ended().await;
    }

    async fn wait_ready(&self) -> Result<(), PostgresError> {
        let deadline = Instant::now() + START_LIMIT;
        loop {
            match tokio_postgres::connect(&self.url_of("postgres"), tokio_postgres::NoTls).await {
                Ok((client, connection)) => {
                    let connection = tokio::spawn(connection);
                    let prepared = prepare(&client).await;
                    drop(client);
                    // Its end is of no interest beyond having happened.
                    let _ = connection.await;
                    return prepared.map_err(PostgresError::Prepare);
                }
                Err(error) => {
                    let ended = self.child.status().map(|status| status.to_string());
                    let late = (Instant::now() > deadline).then(|| format!("no connection: {error}"));
                    if let Some(how) = ended.or(late) {
                        return Err(PostgresError::NotStarted { how, log: log_tail(&self.cluster.log) });
                    }
                }
            }
            tokio::time::sleep(START_POLL).await;
        }
    }
}

impl Drop for EmbeddedPostgres {
    fn drop(&mut self) {
        if self.child.status().is_none() {
            self.child.process().signal(libc::SIGINT);
            self.child.process().wait(Duration::from_secs(10));
        }
        // `socket` beside the data stays for the next start; one among temporary files is nobody's after this.
        if self.cluster.socket_folder.parent() != self.cluster.data.parent() {
            let _ = std::fs::remove_dir_all(&self.cluster.socket_folder);
        }
    }
}

async fn prepare(client: &tokio_postgres::Client) -> Result<(), tokio_postgres::Error> {
    let found = client.query_opt("SELECT FROM pg_database WHERE datname = $1", &[&DATABASE]).await?;
    if found.is_none() {
        client.batch_execute(&format!("CREATE DATABASE {DATABASE}")).await?;
    }
    Ok(())
}

fn arguments(cluster: &Cluster, settings: &[(&str, &str)]) -> Vec<std::ffi::OsString> {
    let mut arguments =
        vec!["-D".into(), cluster.data.clone().into(), "-k".into(), cluster.socket_folder.clone().into()];
    for (name, value) in SETTINGS.iter().chain(settings) {
        arguments.push("-c".into());
        arguments.push(format!("{name}={value}").into());
    }
    arguments
}

fn spawn(cluster: &Cluster, settings: &[(&str, &str)]) -> Result<KeptChild, PostgresError> {
    let binary = cluster.binaries.postgres();
    let log = File::create(&cluster.log).map_err(io("create", &cluster.log))?;
    let mut command = Command::new(&binary);
    command.args(arguments(cluster, settings)).current_dir(&cluster.data);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    // Ctrl-C on the terminal is for us: the server has to outlive the last commit.
    command.process_group(0);
    cluster.confine(&mut command);
    KeptChild::spawn(command, libc::SIGINT).map_err(io("run", &binary))
}

/// libpq keywords with quoted values: a folder may hold blanks and quotes.
fn url(socket_folder: &Path, database: &str) -> String {
    let mut text = String::new();
    for (name, value) in [("host", &*socket_folder.to_string_lossy()), ("user", SUPERUSER), ("dbname", database)] {
        let gap = if text.is_empty() { "" } else { " " };
        let value = value.replace('\\', "\\\\").replace('\'', "\\'");
        // Writing to a string cannot fail.
        let _ = write!(text, "{gap}{name}='{value}'");
    }
    text
}

fn log_tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(value) => value,
        // The runtime lets blocking work end; only a panic of the work itself is left.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests;
