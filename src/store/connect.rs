//! Connections to PostgreSQL: parameters, TLS, session settings, and patience.
//!
//! There is one way to a session, and it asks the server what it is (`store::server`) before anybody uses it.

use std::{
    path::Path,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use rand::Rng;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use secrecy::ExposeSecret;
use tokio_postgres::{
    AsyncMessage, Client, NoTls,
    config::{SslMode, TargetSessionAttrs},
};
use tokio_util::sync::CancellationToken;

use super::{
    error::describe,
    server::{self, ExamineError, Need, Unfit},
};
use crate::config::Database;

/// Longest time for what a fresh session is asked; a pooler without a free session answers nothing for minutes.
const ADMISSION: Duration = Duration::from_secs(15);

#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the database's address is not of the form postgres://user@host:5432/name")]
    Url(#[source] tokio_postgres::Error),
    #[error(
        "the database's address asks for TLS (sslmode=require), and no authority is given to check the server by: set \
         database.ca_file"
    )]
    NoAuthority,
    #[error("read database.ca_file {path}: {cause}")]
    Authority { path: String, cause: String },
    #[error("connect to the database: {}", describe(.0))]
    Connect(tokio_postgres::Error),
    #[error("set up the session: {}", describe(.0))]
    Session(tokio_postgres::Error),
    #[error(
        "the server took the connection and gave no answer within {} s; where a pooler is in between, give it more server \
         connections",
        ADMISSION.as_secs()
    )]
    NoAnswer,
    #[error(transparent)]
    Unfit(Unfit),
}

impl ConnectError {
    /// Whether no waiting mends it: what is configured, or what the server is.
    pub fn lasts(&self) -> bool {
        match self {
            ConnectError::Url(_) | ConnectError::NoAuthority | ConnectError::Authority { .. } => true,
            ConnectError::Connect(_) | ConnectError::Session(_) | ConnectError::NoAnswer => false,
            ConnectError::Unfit(unfit) => !unfit.passes(),
        }
    }
}

impl From<ExamineError> for ConnectError {
    fn from(error: ExamineError) -> Self {
        match error {
            ExamineError::Unfit(unfit) => ConnectError::Unfit(unfit),
            ExamineError::Statement(error) => ConnectError::Session(error),
        }
    }
}

/// How to reach the database; cheap to clone, one for the whole process.
#[derive(Clone)]
pub struct Connector {
    pub(super) config: tokio_postgres::Config,
    tls: Option<Arc<rustls::ClientConfig>>,
    statement_timeout: Duration,
    /// Two sessions at once were seen to be two; no longer known once a connection was lost.
    isolated: Arc<AtomicBool>,
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
        if tls.is_none() && config.get_ssl_mode() == SslMode::Require {
            return Err(ConnectError::NoAuthority);
        }
        if tls.is_some() {
            config.ssl_mode(SslMode::Require);
        }
        let statement_timeout = Duration::from_secs(u64::from(database.statement_timeout_seconds));
        Ok(Self { config, tls, statement_timeout, isolated: Arc::default() })
    }

    pub(super) fn rustls(&self) -> Option<tokio_postgres_rustls::MakeRustlsConnect> {
        self.tls.as_ref().map(|tls| tokio_postgres_rustls::MakeRustlsConnect::new((**tls).clone()))
    }

    /// Connects once, to write. `name` is shown in `pg_stat_activity`.
    pub async fn connect(&self, name: &str) -> Result<Client, ConnectError> {
        self.session(name, Need::Write, &self.limits(self.statement_timeout), |_| ()).await
    }

    /// Connects once, only to read: also while nothing can be written.
    pub async fn connect_to_read(&self, name: &str) -> Result<Client, ConnectError> {
        self.session(name, Need::Read, &self.limits(self.statement_timeout), |_| ()).await
    }

    /// Connects once for work that takes as long as it takes: an index, a whole register, years of readings.
    pub async fn connect_for_long(&self, name: &str) -> Result<Client, ConnectError> {
        self.session(name, Need::Write, "SET timezone = 'UTC';", |_| ()).await
    }

    /// Server side limits, so that a stuck statement or an abandoned transaction cannot hold locks for ever.
    fn limits(&self, statement: Duration) -> String {
        format!(
            "SET statement_timeout = '{}ms'; SET lock_timeout = '10s'; \
             SET idle_in_transaction_session_timeout = '60s'; SET timezone = 'UTC';",
            statement.as_millis()
        )
    }

    /// Connects for somebody whose every statement asks for a few keys among many rows, and sets plans that use the indexes:
    /// on tables that grew since they were last analysed the planner reads all of them, and a prepared statement keeps
    /// that plan. Not for writers: a staging table can only be read whole, and beside that forbidden step the planner no longer
    /// sees what a join costs (ten times, on TimescaleDB).
    async fn connect_by_key(&self, name: &str) -> Result<Client, ConnectError> {
        let settings = self.limits(self.statement_timeout) + " SET enable_seqscan = off;";
        self.session(name, Need::Write, &settings, |_| ()).await
    }

    /// Connects with `on_message` called for notifications and notices, and dropped when the connection ends; limits are
    /// the caller's to set.
    pub async fn listen(
        &self,
        name: &str,
        need: Need,
        on_message: impl Fn(AsyncMessage) + Send + 'static,
    ) -> Result<Client, ConnectError> {
        self.session(name, need, "", on_message).await
    }

    /// The one way to a session.
    async fn session(
        &self,
        name: &str,
        need: Need,
        settings: &str,
        on_message: impl Fn(AsyncMessage) + Send + 'static,
    ) -> Result<Client, ConnectError> {
        let client = self.reach(name, need, on_message).await?;
        let admitted = tokio::time::timeout(ADMISSION, self.admit(&client, need, settings)).await;
        admitted.unwrap_or(Err(ConnectError::NoAnswer))?;
        Ok(client)
    }

    /// Asks a fresh session what it leads to, and sets it up. Where it is not known yet, a second one beside it shows whether
    /// sessions are kept apart: a pooler that hands one server session to many gives it the first one's.
    pub(super) async fn admit(&self, client: &Client, need: Need, settings: &str) -> Result<(), ConnectError> {
        server::examine(client, need, settings).await?;
        if !self.isolated.load(Relaxed) {
            let beside = self.reach("dieselwatch", Need::Read, |_| ()).await?;
            server::examine(&beside, Need::Read, "").await?;
            self.isolated.store(true, Relaxed);
        }
        Ok(())
    }

    async fn reach(
        &self,
        name: &str,
        need: Need,
        on_message: impl Fn(AsyncMessage) + Send + 'static,
    ) -> Result<Client, ConnectError> {
        let mut config = self.config.clone();
        config.application_name(name);
        if need == Need::Write && config.get_hosts().len() > 1 {
            // Of several, the one that takes writes.
            config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        }
        match self.rustls() {
            Some(tls) => {
                let (client, connection) = config.connect(tls).await.map_err(ConnectError::Connect)?;
                self.drive(connection, on_message);
                Ok(client)
            }
            None => {
                let (client, connection) = config.connect(NoTls).await.map_err(ConnectError::Connect)?;
                self.drive(connection, on_message);
                Ok(client)
            }
        }
    }

    /// Asks the server to stop what this session does. A session that is only dropped in the middle of a commit stays on
    /// the server until that commit ends.
    pub async fn cancel(&self, client: &Client) {
        let token = client.cancel_token();
        let asked = match self.rustls() {
            Some(tls) => token.cancel_query(tls).await,
            None => token.cancel_query(NoTls).await,
        };
        if let Err(error) = asked {
            tracing::debug!(error = %describe(&error), "a statement could not be cancelled");
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

    /// Polls a connection until it ends. Its error is the only place that names the cause of a loss.
    fn drive<S, T>(
        &self,
        mut connection: tokio_postgres::Connection<S, T>,
        on_message: impl Fn(AsyncMessage) + Send + 'static,
    ) where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let isolated = Arc::clone(&self.isolated);
        tokio::spawn(async move {
            loop {
                match std::future::poll_fn(|context| connection.poll_message(context)).await {
                    Some(Ok(message)) => on_message(message),
                    Some(Err(error)) => {
                        // Whatever answers next may be another server, behind another pooler.
                        isolated.store(false, Relaxed);
                        tracing::warn!(error = %describe(&error), "a database connection ended");
                        return;
                    }
                    None => return,
                }
            }
        });
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
    let mut told = None;
    loop {
        match cancel.run_until_cancelled(connect()).await? {
            Ok(client) => return Some(client),
            Err(error) => {
                let text = error.to_string();
                // Once for each trouble, not for each attempt.
                if told.as_ref() != Some(&text) {
                    match error.lasts() {
                        true => tracing::error!(task = name, error = text, "the database cannot be used; trying again"),
                        false => tracing::warn!(task = name, error = text, "no database session; trying again"),
                    }
                }
                told = Some(text);
                cancel.run_until_cancelled(backoff.wait()).await?;
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn connector(url: &str, ca_file: Option<&Path>) -> Result<Connector, ConnectError> {
        let settings = Config::built_in().expect("the default").database;
        Connector::new(&Database { url: url.into(), ca_file: ca_file.map(Into::into), ..settings })
    }

    #[test]
    fn addresses_are_checked() {
        assert!(connector("postgres://dw@localhost:5432/dw", None).is_ok());
        assert!(connector("host=/tmp/somewhere user=dw dbname=dw", None).is_ok());
        assert!(matches!(connector("mysql://localhost", None), Err(ConnectError::Url(_))));
        let nowhere = connector("postgres://dw@localhost/dw", Some(Path::new("/nonexistent.pem")));
        assert!(matches!(nowhere, Err(ConnectError::Authority { .. })));
        let asks = connector("postgres://dw@localhost/dw?sslmode=require", None);
        assert!(matches!(asks, Err(ConnectError::NoAuthority)), "never in the clear without a word");
        let empty = tempfile::NamedTempFile::new().expect("a file");
        let nobody = connector("postgres://dw@localhost/dw", Some(empty.path()));
        assert!(matches!(nobody, Err(ConnectError::Authority { cause, .. }) if cause == "no certificate in it"));
    }
}
