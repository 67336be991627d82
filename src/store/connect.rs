//! Connections to PostgreSQL: parameters, TLS, session settings, and patience.

use std::{path::Path, str::FromStr, sync::Arc, time::Duration};

use rand::Rng;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use secrecy::ExposeSecret;
use tokio_postgres::{AsyncMessage, Client, NoTls};
use tokio_util::sync::CancellationToken;

use super::error::describe;
use crate::config::Database;

/// Longest statement of an HTTP request; a person has given up by then.
const HTTP_STATEMENT: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("read database.url")]
    Url(#[source] tokio_postgres::Error),
    #[error("database.url asks for TLS (sslmode=require), and database.ca_file is not set")]
    NoAuthority,
    #[error("read database.ca_file {path}: {cause}")]
    Authority { path: String, cause: String },
    #[error("connect to the database: {}", describe(.0))]
    Connect(tokio_postgres::Error),
    #[error("set up the session: {}", describe(.0))]
    Session(tokio_postgres::Error),
}

/// How to reach the database; cheap to clone, one for the whole process.
#[derive(Clone)]
pub struct Connector {
    config: tokio_postgres::Config,
    tls: Option<Arc<rustls::ClientConfig>>,
    statement_timeout: Duration,
}

impl Connector {
    pub fn new(database: &Database) -> Result<Self, ConnectError> {
        let mut config = tokio_postgres::Config::from_str(&database.url).map_err(ConnectError::Url)?;
        if let Some(password) = &database.password {
            config.password(password.expose_secret());
        }
        // A peer that vanished without a FIN must not hold a writer for the kernel's two hours.
        config.connect_timeout(Duration::from_secs(5)).tcp_user_timeout(Duration::from_secs(20));
        config.keepalives_idle(Duration::from_secs(15));
        let tls = database.ca_file.as_deref().map(tls).transpose()?;
        if tls.is_none() && config.get_ssl_mode() == tokio_postgres::config::SslMode::Require {
            return Err(ConnectError::NoAuthority);
        }
        if tls.is_some() {
            config.ssl_mode(tokio_postgres::config::SslMode::Require);
        }
        let statement_timeout = Duration::from_secs(u64::from(database.statement_timeout_seconds));
        Ok(Self { config, tls, statement_timeout })
    }

    /// Address, user and password, for those who connect in their own way.
    pub fn config(&self) -> tokio_postgres::Config {
        self.config.clone()
    }

    /// Set: connections are encrypted.
    pub fn tls(&self) -> Option<Arc<rustls::ClientConfig>> {
        self.tls.clone()
    }

    fn rustls(&self) -> Option<tokio_postgres_rustls::MakeRustlsConnect> {
        self.tls.as_ref().map(|tls| tokio_postgres_rustls::MakeRustlsConnect::new((**tls).clone()))
    }

    /// The same server, for the pool of HTTP reads. Their statements are cut off by the server: somebody who goes away stops
    /// waiting and not the statement, and a few long ones would keep everybody else out.
    pub fn pool(&self, size: usize) -> deadpool_postgres::Pool {
        let mut config = self.config.clone();
        let own = config.get_options().unwrap_or_default().to_owned();
        let limits = format!("-c statement_timeout={}ms -c lock_timeout=5s", HTTP_STATEMENT.as_millis());
        config.options(format!("{limits} {own}").trim_end()).application_name("http");
        let manager = match self.rustls() {
            Some(tls) => deadpool_postgres::Manager::new(config, tls),
            None => deadpool_postgres::Manager::new(config, NoTls),
        };
        let timeout = Some(Duration::from_secs(5));
        deadpool_postgres::Pool::builder(manager)
            .max_size(size)
            .runtime(deadpool_postgres::Runtime::Tokio1)
            .timeouts(deadpool_postgres::Timeouts { wait: timeout, create: timeout, recycle: timeout })
            .build()
            .expect("a runtime is given, which is all that building can miss")
    }

    /// Connects once. `name` is shown in `pg_stat_activity`.
    pub async fn connect(&self, name: &str) -> Result<Client, ConnectError> {
        let client = self.open(name, |_| ()).await?;
        // Server side limits, so that a stuck statement or an abandoned transaction cannot hold locks for ever.
        let settings = format!(
            "SET statement_timeout = '{}ms'; SET lock_timeout = '10s'; \
             SET idle_in_transaction_session_timeout = '60s'; SET timezone = 'UTC'",
            self.statement_timeout.as_millis()
        );
        client.batch_execute(&settings).await.map_err(ConnectError::Session)?;
        Ok(client)
    }

    /// Connects for somebody whose every statement asks for a few keys among many rows, and sets plans that use the indexes:
    /// on tables that grew since they were last analysed the planner reads all of them, and a prepared statement keeps
    /// that plan. Not for writers: a staging table can only be read whole, and beside that forbidden step the planner no longer
    /// sees what a join costs (ten times, on TimescaleDB).
    async fn connect_by_key(&self, name: &str) -> Result<Client, ConnectError> {
        let client = self.connect(name).await?;
        client.batch_execute("SET enable_seqscan = off").await.map_err(ConnectError::Session)?;
        Ok(client)
    }

    /// Connects with `on_message` called for notifications and notices.
    pub async fn open(
        &self,
        name: &str,
        on_message: impl Fn(AsyncMessage) + Send + 'static,
    ) -> Result<Client, ConnectError> {
        let mut config = self.config.clone();
        config.application_name(name);
        match self.rustls() {
            Some(tls) => {
                let (client, connection) = config.connect(tls).await.map_err(ConnectError::Connect)?;
                drive(connection, on_message);
                Ok(client)
            }
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(ConnectError::Connect)?;
                drive(connection, on_message);
                Ok(client)
            }
        }
    }

    /// Connects, trying again for ever with back-off and jitter; `None` when cancelled.
    ///
    /// # Cancel safety
    /// Dropping the future leaves at most a connection attempt behind, which the server ends.
    pub async fn connect_patiently(&self, name: &str, cancel: &CancellationToken) -> Option<Client> {
        patiently(name, cancel, || self.connect(name)).await
    }

    /// [`Self::connect_patiently`] for somebody who only ever asks by key: see `connect_by_key`.
    pub async fn connect_by_key_patiently(&self, name: &str, cancel: &CancellationToken) -> Option<Client> {
        patiently(name, cancel, || self.connect_by_key(name)).await
    }
}

async fn patiently<Connecting>(
    name: &str,
    cancel: &CancellationToken,
    connect: impl Fn() -> Connecting,
) -> Option<Client>
where
    Connecting: Future<Output = Result<Client, ConnectError>>,
{
    let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
    loop {
        match cancel.run_until_cancelled(connect()).await? {
            Ok(client) => return Some(client),
            Err(error) => {
                tracing::warn!(task = name, error = %error, "the database is away; trying again");
                cancel.run_until_cancelled(backoff.wait()).await?;
            }
        }
    }
}

/// Polls a connection until it ends. Its error is the only place that names the cause of a loss.
fn drive<S, T>(mut connection: tokio_postgres::Connection<S, T>, on_message: impl Fn(AsyncMessage) + Send + 'static)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        loop {
            match std::future::poll_fn(|context| connection.poll_message(context)).await {
                Some(Ok(message)) => on_message(message),
                Some(Err(error)) => {
                    tracing::warn!(error = %describe(&error), "a database connection ended");
                    return;
                }
                None => return,
            }
        }
    });
}

fn tls(ca_file: &Path) -> Result<Arc<rustls::ClientConfig>, ConnectError> {
    let fail = |cause: String| ConnectError::Authority { path: ca_file.display().to_string(), cause };
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca_file).map_err(|e| fail(e.to_string()))? {
        let certificate = certificate.map_err(|e| fail(e.to_string()))?;
        roots.add(certificate).map_err(|e| fail(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(fail("no certificate in it".into()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| fail(e.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

/// Waits that double from `first` to `longest`, each shortened by up to half at random so that replicas spread out.
pub struct Backoff {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Backoff {
    pub fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// The wait before the coming attempt.
    pub fn delay(&mut self) -> Duration {
        let wait = self.next;
        self.next = (self.next * 2).min(self.longest);
        wait.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    pub async fn wait(&mut self) {
        tokio::time::sleep(self.delay()).await;
    }

    /// To be called after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }
}
