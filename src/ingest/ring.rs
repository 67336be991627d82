//! The ack ring of one connection: which messages have come, which are done, and which acknowledgement may go next.
//!
//! Pure bookkeeping, no client and no clock, so that property tests can drive it through every order of completions
//! and reconnects. What it promises:
//!
//! - acknowledgements come out in arrival order and only for messages whose receipt was settled (MQTT-4.6.0-2);
//! - a ticket of a connection that is gone never matches again: sequence numbers never restart, and [`Ring::reset`]
//!   moves the lower bound past everything handed out before;
//! - `received = settled + in_flight + returned` per source at every moment. `received`, `settled` and `returned` are
//!   counted where they happen; `in_flight` is counted by walking the slots, never by subtraction.

use std::collections::VecDeque;

/// Index of a source in the books; the last index stands for topics that belong to no source.
pub type SourceIndex = u16;

/// What a receipt answers for: the place of a message in the whole life of its ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

impl Ticket {
    pub fn number(self) -> u64 {
        self.0
    }
}

/// The message book of one source on one connection, since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Book {
    /// Messages that arrived, redeliveries included.
    pub received: u64,
    /// Settled, and the acknowledgement handed to the client library of the connection the message came by.
    pub settled: u64,
    /// Handed out or refused, and neither of the above yet.
    pub in_flight: u64,
    /// Not acknowledged when the connection ended: the broker sends them again (QoS 0: gone).
    pub returned: u64,
}

impl Book {
    #[cfg(test)]
    pub fn balances(&self) -> bool {
        self.received == self.settled + self.in_flight + self.returned
    }

    pub fn add(&mut self, other: &Book) {
        self.received += other.received;
        self.settled += other.settled;
        self.in_flight += other.in_flight;
        self.returned += other.returned;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    /// A live receipt answers for it.
    Open,
    /// Durable; its acknowledgement waits for its turn.
    Settled,
    /// Refused, or its receipt was dropped: only another connection brings it again.
    NotDone,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Packet identifier; 0 for QoS 0, which has nothing to acknowledge.
    packet: u16,
    source: SourceIndex,
    progress: Progress,
}

/// See the module documentation.
#[derive(Debug)]
pub struct Ring {
    /// Ticket number of the front slot.
    base: u64,
    slots: VecDeque<Slot>,
    /// Slots that are [`Progress::Open`].
    open: usize,
    epoch: u32,
    books: Box<[Book]>,
}

impl Ring {
    /// A ring for `sources` sources; one more book is kept for topics that belong to none.
    pub fn new(sources: usize) -> Self {
        let books = vec![Book::default(); sources + 1].into_boxed_slice();
        Self { base: 0, slots: VecDeque::new(), open: 0, epoch: 0, books }
    }

    /// How many connections have ended; a message belongs to the one it came by.
    pub fn epoch(&self) -> u32 {
        self.epoch
    }

    /// Tickets below this belong to connections that are gone.
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Messages a live receipt answers for.
    pub fn open(&self) -> usize {
        self.open
    }

    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Takes in a message that is about to be handed on.
    pub fn accept(&mut self, packet: u16, source: SourceIndex) -> Ticket {
        self.book(source).received += 1;
        self.open += 1;
        self.slots.push_back(Slot { packet, source, progress: Progress::Open });
        Ticket(self.base + self.slots.len() as u64 - 1)
    }

    /// Notes a message that is not handed on. It keeps its place, so that nothing behind it is acknowledged.
    /// With QoS 0 the broker's window does not bound how many come, so those take no place and are returned at once.
    pub fn refuse(&mut self, packet: u16, source: SourceIndex) {
        let book = self.book(source);
        book.received += 1;
        if packet == 0 {
            book.returned += 1;
        } else {
            self.slots.push_back(Slot { packet, source, progress: Progress::NotDone });
        }
    }

    /// Marks a message durable; `false` if its connection is gone or it was decided before.
    pub fn settle(&mut self, ticket: Ticket) -> bool {
        self.decide(ticket, Progress::Settled)
    }

    /// Marks a message as not done; `false` if its connection is gone or it was decided before.
    pub fn abandon(&mut self, ticket: Ticket) -> bool {
        self.decide(ticket, Progress::NotDone)
    }

    /// The packet whose acknowledgement is due now, if any. [`Ring::acked`] moves on.
    pub fn due(&mut self) -> Option<u16> {
        loop {
            let front = *self.slots.front()?;
            match (front.packet, front.progress) {
                (0, Progress::Settled) => self.acked(),
                (0, Progress::NotDone) => {
                    self.slots.pop_front();
                    self.base += 1;
                    self.book(front.source).returned += 1;
                }
                (packet, Progress::Settled) => return Some(packet),
                _ => return None,
            }
        }
    }

    /// The acknowledgement that was due has been handed to the client.
    pub fn acked(&mut self) {
        let settled = self.slots.pop_front_if(|front| front.progress == Progress::Settled);
        if let Some(slot) = settled {
            self.base += 1;
            self.book(slot.source).settled += 1;
        }
    }

    /// Nobody works on anything, yet something is not done: only a new connection gets it delivered again.
    pub fn is_stuck(&self) -> bool {
        self.open == 0 && self.slots.front().is_some_and(|front| front.progress == Progress::NotDone)
    }

    /// The connection is gone. Everything not acknowledged is returned, settled or not: a settled message whose
    /// acknowledgement did not leave comes again and is recognised by its natural key.
    pub fn reset(&mut self) {
        self.base += self.slots.len() as u64;
        self.epoch += 1;
        self.open = 0;
        while let Some(slot) = self.slots.pop_front() {
            self.book(slot.source).returned += 1;
        }
    }

    /// The books by source, `in_flight` counted from the slots.
    pub fn books(&self) -> Vec<Book> {
        let mut books = self.books.to_vec();
        for slot in &self.slots {
            if let Some(book) = books.get_mut(usize::from(slot.source)) {
                book.in_flight += 1;
            }
        }
        books
    }

    fn decide(&mut self, ticket: Ticket, progress: Progress) -> bool {
        let Some(place) = ticket.0.checked_sub(self.base) else { return false };
        match self.slots.get_mut(place as usize) {
            Some(slot) if slot.progress == Progress::Open => {
                slot.progress = progress;
                self.open -= 1;
                true
            }
            _ => false,
        }
    }

    /// Out-of-range indices are booked with the unknown topics rather than lost.
    fn book(&mut self, source: SourceIndex) -> &mut Book {
        let last = self.books.len() - 1;
        &mut self.books[usize::from(source).min(last)]
    }
}

#[cfg(test)]
#[path = "tests/ring.rs"]
mod tests;
