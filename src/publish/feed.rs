//! The same events for HTTP: pages by position, and those that just got theirs.
//!
//! The table is the truth: a page after position `p` misses nothing, because no event ever becomes visible behind one that
//! was visible before. The live channel only saves asking; whoever falls behind goes back to pages ([`Follow`]).

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::broadcast;
use tokio_postgres::{Client, Error, types::Type};

use super::outbox::{Positioned, positioned};

/// Live events kept for a slow reader before it is sent back to pages; at 1 to 2 kB each about two megabytes.
const LIVE: usize = 1024;

/// Events of a page at most.
pub const PAGE_ROWS: u32 = 1_000;

/// Events with a position greater than `after`, in order, at most `limit` and never more than [`PAGE_ROWS`].
pub async fn events_after(client: &Client, after: i64, limit: u32) -> Result<Vec<Positioned>, Error> {
    let limit = i64::from(limit.min(PAGE_ROWS));
    client
        .query_typed(
            "SELECT position, topic, event_id, key, payload, created_at FROM outbox WHERE position > $1 \
             ORDER BY position LIMIT $2",
            &[(&after, Type::INT8), (&limit, Type::INT8)],
        )
        .await?
        .iter()
        .map(positioned)
        .collect()
}

/// Positions that can be asked for: the oldest event kept and the newest. `None` when there is none.
///
/// A reader whose position is below the oldest minus one has missed events that were pruned.
pub async fn range(client: &Client) -> Result<Option<(i64, i64)>, Error> {
    let row = client
        .query_typed_one("SELECT min(position), max(position) FROM outbox WHERE position IS NOT NULL", &[])
        .await?;
    Ok(row.try_get::<_, Option<i64>>(0)?.zip(row.try_get(1)?))
}

/// The live side; cheap to clone.
#[derive(Clone, Debug)]
pub struct Feed(broadcast::Sender<Arc<Positioned>>);

impl Feed {
    pub(super) fn new() -> Self {
        Self(broadcast::Sender::new(LIVE))
    }

    /// Follows the events after `after` for as long as the relay runs.
    pub fn follow(&self, after: i64) -> Follow {
        Follow { cursor: after, live: self.0.subscribe(), page: VecDeque::new(), caught_up: false }
    }

    pub(super) fn has_readers(&self) -> bool {
        self.0.receiver_count() > 0
    }

    pub(super) fn send(&self, events: &[Arc<Positioned>]) {
        for event in events {
            // Nobody is listening: nothing to do.
            let _ = self.0.send(Arc::clone(event));
        }
    }
}

/// One reader's place in the order: pages first, then live, then pages again when it fell behind.
pub struct Follow {
    cursor: i64,
    live: broadcast::Receiver<Arc<Positioned>>,
    page: VecDeque<Positioned>,
    caught_up: bool,
}

impl Follow {
    /// The next event; `None` when the relay has ended. `page` fetches [`events_after`] the given position.
    ///
    /// # Cancel safety
    /// Cancel-safe: an event is passed over only when it is returned.
    pub async fn next<E>(
        &mut self,
        mut page: impl AsyncFnMut(i64) -> Result<Vec<Positioned>, E>,
    ) -> Result<Option<Arc<Positioned>>, E> {
        loop {
            if let Some(event) = self.page.pop_front() {
                self.cursor = event.position;
                return Ok(Some(Arc::new(event)));
            }
            if !self.caught_up {
                self.page = page(self.cursor).await?.into();
                self.caught_up = self.page.is_empty();
                continue;
            }
            match self.live.recv().await {
                Ok(event) if event.position <= self.cursor => {}
                Ok(event) if event.position == self.cursor + 1 => {
                    self.cursor = event.position;
                    return Ok(Some(event));
                }
                // A hole: this replica heard late of what another one positioned, or the channel overflowed.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => self.caught_up = false,
                Err(broadcast::error::RecvError::Closed) => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{publish::event::Topic, reading::Timestamp};

    fn event(position: i64) -> Positioned {
        let id = uuid::Uuid::from_u128(position.unsigned_abs().into());
        let key = position.to_string();
        Positioned {
            position,
            topic: Topic::Violations,
            id,
            key,
            payload: Vec::new(),
            created_at: Timestamp::EPOCH,
            stand_in: false,
        }
    }

    fn table(last: i64) -> impl Fn(i64) -> Vec<Positioned> {
        move |after| (after + 1..=last.min(after + 3)).map(event).collect()
    }

    async fn read(follow: &mut Follow, stored: i64, count: usize) -> Vec<i64> {
        let mut positions = Vec::new();
        for _ in 0..count {
            let next = follow.next(async |after| Ok::<_, ()>(table(stored)(after))).await;
            positions.push(next.expect("pages do not fail").expect("the feed is alive").position);
        }
        positions
    }

    #[tokio::test]
    async fn pages_then_live_without_repeats_or_holes() {
        let feed = Feed::new();
        let mut follow = feed.follow(2);
        // Sent live as well as stored while the reader still pages.
        feed.send(&[Arc::new(event(6)), Arc::new(event(7))]);
        assert_eq!(read(&mut follow, 7, 5).await, [3, 4, 5, 6, 7]);
        let behind =
            tokio::time::timeout(std::time::Duration::ZERO, follow.next(async |after| Ok::<_, ()>(table(7)(after))));
        assert!(behind.await.is_err(), "nothing is new");
        feed.send(&[Arc::new(event(8))]);
        assert_eq!(read(&mut follow, 7, 1).await, [8], "comes from the live channel");
    }

    #[tokio::test]
    async fn a_hole_or_an_overflow_is_filled_from_pages() {
        let feed = Feed::new();
        let mut follow = feed.follow(0);
        assert_eq!(read(&mut follow, 1, 1).await, [1]);
        feed.send(&[Arc::new(event(3))]);
        assert_eq!(read(&mut follow, 3, 2).await, [2, 3]);
        let last = 3 + LIVE as i64 + 10;
        feed.send(&(4..=last).map(|p| Arc::new(event(p))).collect::<Vec<_>>());
        assert_eq!(read(&mut follow, last, LIVE + 10).await, (4..=last).collect::<Vec<_>>());
        drop(feed);
        assert_eq!(follow.next(async |after| Ok::<_, ()>(table(last)(after))).await, Ok(None));
    }
}
