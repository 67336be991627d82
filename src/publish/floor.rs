//! Below which number no event waits any more, so that none is looked for there.
//!
//! The index of waiting rows keeps an entry for each row that waited until a vacuum takes it out, and a step that began at
//! its start walked over all of them: 2 000 pages after 700 000 events of one long queue. Numbers are not given in the order
//! of commits, so that the last row taken does not say that none comes below it. What says it:
//!
//! 1. `reached`, the last number given, is read, and after it a transaction id is taken. A transaction has its id before it
//!    takes a number ([`outbox::insert`](super::outbox::insert) sees to that), so whatever holds a number up to `reached` has
//!    a lower one.
//! 2. Once no transaction below that id runs any more, every row up to `reached` that will ever be there is visible.
//! 3. A step after that takes the lowest rows that wait; so up to the last row it took, and up to `reached`, none is left.
//!
//! A transaction that stays open keeps the floor where it is, which costs time and nothing else.

use tokio_postgres::{Client, Error};

/// The floor of one session of the leader.
#[derive(Debug, Default)]
pub(super) struct Floor {
    /// No row below waits, now or later.
    floor: i64,
    /// Every row up to this number is visible to statements from now on.
    settled: i64,
    /// A number and a transaction id: when nothing below the id runs, the number is settled.
    asked: Option<(i64, i64)>,
}

impl Floor {
    /// The number to look from.
    pub fn lowest(&self) -> i64 {
        self.floor
    }

    /// A step that looked from the floor took rows up to `last`, or found none.
    pub fn taken(&mut self, last: Option<i64>) {
        self.floor = self.floor.max(self.settled.min(last.unwrap_or(i64::MAX)) + 1);
    }

    /// Looks how far numbers are settled; to be called now and then.
    pub async fn survey(&mut self, client: &Client) -> Result<(), Error> {
        let number = async |sql| client.query_one(sql, &[]).await?.try_get::<_, i64>(0);
        if let Some((reached, next)) = self.asked {
            let oldest = number("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::int8").await?;
            if oldest < next {
                return Ok(());
            }
            self.settled = self.settled.max(reached);
            self.asked = None;
        }
        // In this order, and in two statements: the id must be younger than the number.
        let reached = number("SELECT last_value - (NOT is_called)::int FROM outbox_id_seq").await?;
        if reached < self.settled {
            // Somebody began the numbers anew.
            *self = Self::default();
        }
        if reached > self.settled {
            // An id of our own, which every one given before is below. The end of a snapshot is none: it lies behind the last
            // transaction that ended, so that the youngest open ones are not below it.
            self.asked = Some((reached, number("SELECT pg_current_xact_id()::text::int8").await?));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        publish::{Event, event::Topic, outbox},
        vehicle::test_pg::Database,
    };

    /// Commits the event `number`, or leaves the transaction to the caller.
    async fn insert(transaction: &tokio_postgres::Transaction<'_>, number: u128) {
        let id = uuid::Uuid::from_u128(number);
        let event = Event { topic: Topic::Violations, id, key: "k".into(), payload: b"{}".to_vec() };
        outbox::insert(transaction, &[event]).await.expect("inserts");
    }

    #[tokio::test]
    async fn what_is_settled_has_no_gap_that_may_still_be_filled() {
        let database = Database::migrated().await;
        let (watcher, mut quick, mut slow) =
            (database.connect().await, database.connect().await, database.connect().await);
        let mut floor = Floor::default();
        for _ in 0..3 {
            floor.survey(&watcher).await.expect("looks");
        }
        assert_eq!(floor.settled, 0, "no number was ever given, and the first will be 1");
        let late = slow.transaction().await.expect("begins");
        insert(&late, 1).await;
        for number in 2..5 {
            let transaction = quick.transaction().await.expect("begins");
            insert(&transaction, number).await;
            transaction.commit().await.expect("commits");
        }
        for _ in 0..3 {
            floor.survey(&watcher).await.expect("looks");
        }
        assert_eq!(floor.settled, 0, "number 1 may still be committed");
        late.commit().await.expect("commits");
        for _ in 0..3 {
            floor.survey(&watcher).await.expect("looks");
        }
        assert_eq!(floor.settled, 4);
        // Nothing is committed after it begins, so that its id is not below the end of anybody's snapshot.
        let last = slow.transaction().await.expect("begins");
        insert(&last, 5).await;
        for _ in 0..3 {
            floor.survey(&watcher).await.expect("looks");
        }
        assert_eq!(floor.settled, 4, "number 5 may still be committed");
        last.commit().await.expect("commits");
        for _ in 0..3 {
            floor.survey(&watcher).await.expect("looks");
        }
        assert_eq!(floor.settled, 5);
        watcher.batch_execute("TRUNCATE outbox RESTART IDENTITY").await.expect("empties");
        for _ in 0..3 {
            floor.survey(&watcher).await.expect("looks");
        }
        assert_eq!((floor.settled, floor.floor), (0, 0), "numbers began anew");
    }

    #[test]
    fn it_rises_no_further_than_is_settled_or_taken() {
        let mut floor = Floor::default();
        floor.taken(Some(500));
        assert_eq!(floor.lowest(), 1, "nothing is settled: a row below may still come");
        floor.settled = 700;
        floor.taken(Some(600));
        assert_eq!(floor.lowest(), 601);
        floor.taken(Some(900));
        assert_eq!(floor.lowest(), 701);
        floor.settled = 2_000;
        floor.taken(None);
        assert_eq!(floor.lowest(), 2_001, "none waits");
        floor.taken(Some(2_100));
        assert_eq!(floor.lowest(), 2_001);
    }
}
