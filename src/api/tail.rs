//! Where the events end: one look for every open stream, by nudge or once a second.
//!
//! Streams read events from the table and never from memory, so a slow reader falls behind but loses nothing, and it
//! does not matter which replica gave the events their positions.

use std::{sync::Arc, time::Duration};

use deadpool_postgres::Pool;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{Problem, database};

/// Longest time an event of another replica stays unseen.
const POLL: Duration = Duration::from_secs(1);

/// The highest position known; 0 while there is none.
pub type Tail = watch::Receiver<i64>;

const NEWEST: &str = "SELECT coalesce(max(position), 0) FROM outbox";

/// The tail, and the task that follows it until `stop`.
pub fn start(pool: Pool, nudge: Arc<Notify>, stop: CancellationToken) -> (Tail, impl Future<Output = ()> + Send) {
    let (sender, tail) = watch::channel(0);
    let follow = async move {
        let step = async || {
            match newest(&pool).await {
                Ok(position) => {
                    sender.send_if_modified(|known| std::mem::replace(known, position) != position);
                }
                Err(problem) if problem.lost_session() => database::give_up_resting(&pool),
                Err(_) => {}
            }
            // Either is as good; the nudge is only sooner.
            let _sooner = tokio::time::timeout(POLL, nudge.notified()).await;
        };
        while stop.run_until_cancelled(step()).await.is_some() {}
    };
    (tail, follow)
}

async fn newest(pool: &Pool) -> Result<i64, Problem> {
    let connection = database::connection(pool).await?;
    let statement = connection.prepare_cached(NEWEST).await?;
    Ok(connection.query_one(&statement, &[]).await?.try_get(0)?)
}
