//! The one database session of a relay: it holds the advisory lock, so what runs in it runs under the lock.

use std::{error::Error, future::Future, sync::Arc};

use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, Client};

/// What a session calls for every notification and notice.
pub type OnMessage = Box<dyn Fn(AsyncMessage) + Send + 'static>;

type OpenError = Box<dyn Error + Send + Sync>;

/// How to open a database session whose connection task calls [`OnMessage`] and drops it when the connection ends.
#[derive(Clone)]
pub struct Sessions(Arc<dyn Fn(OnMessage) -> BoxFuture<'static, Result<Client, OpenError>> + Send + Sync>);

impl Sessions {
    pub fn new<F, Opening, E>(open: F) -> Self
    where
        F: Fn(OnMessage) -> Opening + Send + Sync + 'static,
        Opening: Future<Output = Result<Client, E>> + Send + 'static,
        E: Into<OpenError>,
    {
        let open = Arc::new(open);
        Self(Arc::new(move |on_message| {
            let open = Arc::clone(&open);
            Box::pin(async move { open(on_message).await.map_err(Into::into) })
        }))
    }
}

/// Key of the advisory lock: one relay at a time in a database.
const LOCK: i64 = 0x6477_5f72_656c_6179;

/// Session settings: limits so that nothing hangs for ever on either side, a server that notices within seconds that
/// we are gone, and plans that follow an index in its order and stop at a limit, however little the planner knows about
/// the table yet: one that believes that few rows wait would read and sort them all.
pub const SETTINGS: &str = "
SET statement_timeout = '30s'; SET lock_timeout = '10s'; SET timezone = 'UTC'; SET jit = off;
SET synchronous_commit = on;
SET tcp_keepalives_idle = 5; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3;
SET tcp_user_timeout = '20s';
SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;
SET enable_sort = off; SET enable_bitmapscan = off;
";

/// An open session.
pub(super) struct Session {
    pub client: Client,
    notified: mpsc::Receiver<()>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SessionError {
    #[error("open a database session: {0}")]
    Open(OpenError),
    #[error("{}", describe(.0))]
    Statement(#[from] tokio_postgres::Error),
    #[error("the database session ended")]
    Ended,
}

impl Session {
    pub async fn open(sessions: &Sessions) -> Result<Self, SessionError> {
        // One is enough: a notification says that there is something, not how much.
        let (notify, notified) = mpsc::channel(1);
        let on_message: OnMessage = Box::new(move |message| {
            if let AsyncMessage::Notification(_) = message {
                // Full: the one in there says the same.
                let _ = notify.try_send(());
            }
        });
        let client = (sessions.0)(on_message).await.map_err(SessionError::Open)?;
        client.batch_execute(SETTINGS).await?;
        Ok(Self { client, notified })
    }

    /// Hears notifications of this channel and of no other.
    pub async fn listen(&self, channel: &str) -> Result<(), SessionError> {
        Ok(self.client.batch_execute(&format!("UNLISTEN *; LISTEN {channel}")).await?)
    }

    /// Takes the relay's lock if it is free; the session's end gives it back.
    pub async fn try_lock(&self) -> Result<bool, SessionError> {
        Ok(self.client.query_one("SELECT pg_try_advisory_lock($1)", &[&LOCK]).await?.try_get(0)?)
    }

    /// Waits for a notification.
    ///
    /// # Cancel safety
    /// Cancel-safe: a notification that is not returned waits for the next call.
    pub async fn notified(&mut self) -> Result<(), SessionError> {
        self.notified.recv().await.ok_or(SessionError::Ended)
    }
}

/// tokio-postgres says only "db error" by itself.
fn describe(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(db), _) => format!("{} ({})", db.message(), db.code().code()),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}
