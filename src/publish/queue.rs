//! The events between the table and Kafka: a short stretch of the one order, held in memory.

use std::{collections::VecDeque, sync::Arc};

use super::outbox::{BATCH_BYTES, BATCH_ROWS, Positioned};

/// Events held at most before freshly positioned ones are left in the table: the batch under way and the next.
const HELD: usize = 2 * BATCH_ROWS as usize;

/// What is next for Kafka.
#[derive(Debug, Default)]
pub(super) struct Queue {
    ready: VecDeque<Arc<Positioned>>,
    /// Every event up to here is in Kafka, under way, in `ready`, or passed over; `None` while there is no line to Kafka.
    loaded: Option<i64>,
    /// Highest position given.
    last: i64,
    /// Up to here events go one by one, to find the one that the broker refuses.
    careful_until: i64,
}

impl Queue {
    pub fn new(last: i64) -> Self {
        Self { last, ..Self::default() }
    }

    pub fn last(&self) -> i64 {
        self.last
    }

    /// A line to Kafka is open, and Kafka holds everything up to `sent`.
    pub fn open(&mut self, sent: i64) {
        self.ready.clear();
        self.loaded = Some(sent);
        self.last = self.last.max(sent);
    }

    /// The line is gone; what was held is read again from the table.
    pub fn close(&mut self) {
        self.ready.clear();
        self.loaded = None;
    }

    /// The broker refused something in the batch that ended at `position`.
    pub fn be_careful_until(&mut self, position: i64) {
        self.careful_until = position;
    }

    /// Takes in events that just got their positions, unless events before them have still to be read from the table.
    pub fn offer(&mut self, fresh: &[Arc<Positioned>]) {
        let Some(newest) = fresh.last() else { return };
        if self.loaded == Some(self.last) && self.ready.len() < HELD {
            self.ready.extend(fresh.iter().cloned());
            self.loaded = Some(newest.position);
        }
        self.last = newest.position;
    }

    /// The position after which to read the table, when everything held is gone and more is there.
    pub fn wants_after(&self) -> Option<i64> {
        self.loaded.filter(|loaded| self.ready.is_empty() && *loaded < self.last)
    }

    /// Takes in what was read from the table after [`Queue::wants_after`]; nothing means that the rest is passed over.
    pub fn fill(&mut self, events: Vec<Positioned>) {
        self.loaded = Some(events.last().map_or(self.last, |event| event.position));
        self.ready.extend(events.into_iter().map(Arc::new));
    }

    /// The next batch; empty when nothing is held.
    pub fn take(&mut self) -> Vec<Arc<Positioned>> {
        let (mut bytes, mut count) = (0, 0);
        for event in self.ready.iter().take(BATCH_ROWS as usize) {
            let careful = event.position <= self.careful_until;
            if count > 0 && (careful || bytes >= BATCH_BYTES as usize) {
                break;
            }
            bytes += event.payload.len();
            count += 1;
            if careful {
                break;
            }
        }
        self.ready.drain(..count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{publish::event::Topic, reading::Timestamp};

    fn event(position: i64) -> Positioned {
        let id = uuid::Uuid::from_u128(position.unsigned_abs().into());
        let payload = b"{}".to_vec();
        Positioned {
            position,
            topic: Topic::Violations,
            id,
            key: "k".into(),
            payload,
            created_at: Timestamp::EPOCH,
            stand_in: false,
        }
    }

    fn fresh(positions: std::ops::RangeInclusive<i64>) -> Vec<Arc<Positioned>> {
        positions.map(|p| Arc::new(event(p))).collect()
    }

    fn taken(queue: &mut Queue) -> Vec<i64> {
        queue.take().iter().map(|e| e.position).collect()
    }

    #[test]
    fn fresh_events_go_straight_through_when_nothing_is_before_them() {
        let mut queue = Queue::new(0);
        queue.open(0);
        queue.offer(&fresh(1..=3));
        assert_eq!(queue.wants_after(), None);
        assert_eq!(taken(&mut queue), [1, 2, 3]);
        assert_eq!(taken(&mut queue), [0; 0]);
        assert_eq!(queue.wants_after(), None);
    }

    #[test]
    fn events_before_them_come_first() {
        let mut queue = Queue::new(5);
        queue.offer(&fresh(6..=6));
        assert_eq!((queue.wants_after(), taken(&mut queue)), (None, vec![]), "no line");
        queue.open(2);
        queue.offer(&fresh(7..=8));
        assert_eq!(queue.wants_after(), Some(2));
        queue.fill((3..=5).map(event).collect());
        queue.offer(&fresh(9..=9));
        assert_eq!(taken(&mut queue), [3, 4, 5]);
        assert_eq!(queue.wants_after(), Some(5));
        queue.fill((6..=9).map(event).collect());
        queue.offer(&fresh(10..=10));
        assert_eq!(taken(&mut queue), [6, 7, 8, 9, 10]);
    }

    #[test]
    fn a_tail_of_events_that_do_not_go_out_is_passed_over() {
        let mut queue = Queue::new(5);
        queue.open(3);
        assert_eq!(queue.wants_after(), Some(3));
        queue.fill(Vec::new());
        assert_eq!(queue.wants_after(), None);
        queue.offer(&fresh(6..=6));
        assert_eq!(taken(&mut queue), [6]);
    }

    #[test]
    fn what_is_held_is_bounded_and_batches_are() {
        let mut queue = Queue::new(0);
        queue.open(0);
        for start in (1..=10_001).step_by(500) {
            queue.offer(&fresh(start..=start + 499));
        }
        assert_eq!(queue.ready.len(), HELD);
        assert_eq!(taken(&mut queue).len(), BATCH_ROWS as usize);
        assert_eq!(taken(&mut queue).len(), BATCH_ROWS as usize);
        assert_eq!(queue.wants_after(), Some(HELD as i64));
    }

    #[test]
    fn large_events_make_small_batches() {
        let mut queue = Queue::new(0);
        queue.open(0);
        let large = |p| Arc::new(Positioned { payload: vec![b' '; BATCH_BYTES as usize / 2], ..event(p) });
        queue.offer(&(1..=5).map(large).collect::<Vec<_>>());
        assert_eq!(taken(&mut queue), [1, 2]);
        assert_eq!(taken(&mut queue), [3, 4]);
        assert_eq!(taken(&mut queue), [5]);
    }

    #[test]
    fn a_refused_batch_goes_one_by_one() {
        let mut queue = Queue::new(4);
        queue.be_careful_until(2);
        queue.open(0);
        queue.fill((1..=4).map(event).collect());
        assert_eq!(taken(&mut queue), [1]);
        assert_eq!(taken(&mut queue), [2]);
        assert_eq!(taken(&mut queue), [3, 4]);
    }
}
