//! What one connection still owes the broker: waiting, handed to the client, sent and unacknowledged.
//!
//! The client (`rumqttc`) numbers packets itself and tells the number only when it has sent one, in the order in which
//! they were handed to it. So whatever is handed over stands in a queue here, the number moves its head to the table of
//! sent ones, and the PUBACK takes it from there. A new connection begins a new epoch: everything that is not
//! acknowledged goes back to the front, in the order it was first sent.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use tokio::sync::Notify;

use super::message::Message;

/// Something to publish.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// Retained state of a device; made anew for each connection.
    Status {
        topic: Box<str>,
        payload: Bytes,
    },
    Reading(Message),
}

#[derive(Debug)]
struct Owed {
    item: Item,
    /// Place in the order of first sending.
    order: u64,
    sent_before: bool,
}

/// What became of a packet number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sent {
    First,
    Again,
    /// A status, or a number that nothing here belongs to.
    Uncounted,
}

#[derive(Debug, Default)]
struct Books {
    epoch: u64,
    next_order: u64,
    waiting: VecDeque<Owed>,
    handed_over: VecDeque<Owed>,
    /// By packet number.
    sent: Vec<Option<Owed>>,
    owed: usize,
}

/// See the module. Shared by the task that hands messages over and the task that polls the client.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    books: Mutex<Books>,
    /// Notified when the last owed item is gone.
    pub drained: Notify,
}

impl Outbox {
    /// Begins a connection: what was under way waits again, `announcements` go first.
    pub fn begin_epoch(&self, announcements: Vec<Item>) -> u64 {
        let mut books = self.lock();
        books.epoch += 1;
        let mut owed: Vec<Owed> = std::mem::take(&mut books.sent).into_iter().flatten().collect();
        owed.extend(std::mem::take(&mut books.handed_over));
        owed.extend(std::mem::take(&mut books.waiting));
        owed.retain(|owed| matches!(owed.item, Item::Reading(_)));
        owed.sort_by_key(|owed| owed.order);
        books.waiting = announcements.into_iter().map(|item| Owed { item, order: 0, sent_before: false }).collect();
        books.waiting.extend(owed);
        books.owed = books.waiting.len();
        books.epoch
    }

    /// Puts announcements before everything that waits.
    pub fn announce(&self, announcements: Vec<Item>) {
        let mut books = self.lock();
        books.owed += announcements.len();
        for item in announcements.into_iter().rev() {
            books.waiting.push_front(Owed { item, order: 0, sent_before: false });
        }
    }

    pub fn add(&self, message: Message) {
        let mut books = self.lock();
        books.next_order += 1;
        books.owed += 1;
        let order = books.next_order;
        books.waiting.push_back(Owed { item: Item::Reading(message), order, sent_before: false });
    }

    /// The next item to hand to the client of this epoch; `None` when nothing waits or the epoch is over.
    pub fn hand_over(&self, epoch: u64) -> Option<Item> {
        let mut books = self.lock();
        if books.epoch != epoch {
            return None;
        }
        let owed = books.waiting.pop_front()?;
        let item = owed.item.clone();
        books.handed_over.push_back(owed);
        Some(item)
    }

    /// The client sent the item handed over longest ago under this number.
    pub fn on_sent(&self, packet: u16) -> Sent {
        let mut books = self.lock();
        let Some(mut owed) = books.handed_over.pop_front() else { return Sent::Uncounted };
        let outcome = match (&owed.item, owed.sent_before) {
            (Item::Status { .. }, _) => Sent::Uncounted,
            (Item::Reading(_), false) => Sent::First,
            (Item::Reading(_), true) => Sent::Again,
        };
        owed.sent_before = true;
        let place = usize::from(packet);
        if books.sent.len() <= place {
            books.sent.resize_with(place + 1, || None);
        }
        books.sent[place] = Some(owed);
        outcome
    }

    /// The broker acknowledged this number; the message, where it was one of the fleet.
    pub fn on_acked(&self, packet: u16) -> Option<Message> {
        let mut books = self.lock();
        let owed = books.sent.get_mut(usize::from(packet))?.take()?;
        self.one_less(&mut books);
        match owed.item {
            Item::Reading(message) => Some(message),
            Item::Status { .. } => None,
        }
    }

    /// Takes back the item handed over last, which the client was never given; it will not be sent.
    pub fn withdraw(&self, epoch: u64) {
        let mut books = self.lock();
        if books.epoch == epoch && books.handed_over.pop_back().is_some() {
            self.one_less(&mut books);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.lock().owed == 0
    }

    fn one_less(&self, books: &mut MutexGuard<'_, Books>) {
        books.owed -= 1;
        if books.owed == 0 {
            self.drained.notify_one();
        }
    }

    /// Every change above is complete before anything in it can panic.
    fn lock(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::simulate::message::{Expectation, Kind};

    fn message(number: u32) -> Message {
        Message {
            topic: "t".into(),
            payload: Bytes::new(),
            id: number.to_string().into(),
            expect: Expectation::good(Kind::Passage, 1),
            device: 0,
        }
    }

    fn id(item: Option<Item>) -> Option<String> {
        match item? {
            Item::Status { .. } => Some("status".into()),
            Item::Reading(message) => Some(message.id.into()),
        }
    }

    fn status() -> Item {
        Item::Status { topic: "s".into(), payload: Bytes::new() }
    }

    #[test]
    fn whatever_is_not_acknowledged_goes_again_in_order() {
        let outbox = Outbox::default();
        let first = outbox.begin_epoch(vec![status()]);
        (1..=5).for_each(|number| outbox.add(message(number)));
        for _ in 0..4 {
            outbox.hand_over(first);
        }
        // Packet numbers have wrapped: message 1 got the higher one.
        assert_eq!(outbox.on_sent(9), Sent::Uncounted);
        assert_eq!(outbox.on_sent(7), Sent::First);
        assert_eq!(outbox.on_sent(1), Sent::First);
        assert_eq!(outbox.on_acked(9), None, "the status");

        let second = outbox.begin_epoch(vec![status()]);
        assert!(outbox.hand_over(first).is_none(), "the old epoch is over");
        let order: Vec<_> = std::iter::from_fn(|| id(outbox.hand_over(second))).collect();
        assert_eq!(order, ["status", "1", "2", "3", "4", "5"]);
        assert_eq!(outbox.on_sent(1), Sent::Uncounted);
        assert_eq!(outbox.on_sent(2), Sent::Again);
        assert_eq!(outbox.on_acked(2).map(|m| m.id), Some("1".into()));
        assert_eq!(outbox.on_acked(2), None, "acknowledged once");
        assert!(!outbox.is_empty());
    }

    #[test]
    fn empties_when_all_are_acknowledged_or_withdrawn() {
        let outbox = Outbox::default();
        let epoch = outbox.begin_epoch(Vec::new());
        assert!(outbox.is_empty());
        outbox.add(message(1));
        outbox.add(message(2));
        outbox.hand_over(epoch);
        outbox.on_sent(1);
        outbox.hand_over(epoch);
        outbox.withdraw(epoch);
        assert!(!outbox.is_empty());
        outbox.on_acked(1);
        assert!(outbox.is_empty());
    }
}
