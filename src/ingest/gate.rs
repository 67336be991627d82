//! Where a connection's task and everybody who settles receipts meet: the ack ring and the way out of the
//! connection, under one short lock.
//!
//! Packet identifiers mean something only on the connection they came by, and a broker reuses them at once on the
//! next. Three things keep an old receipt from acknowledging a new message, which would lose it:
//!
//! - the ring forgets its tickets in the same critical section in which the client is taken away ([`Gate::close`]);
//! - an acknowledgement is queued under the same lock that checked the ticket;
//! - each connection has a client and an event loop of its own. `rumqttc` 0.25 keeps undelivered events, and requests
//!   queued between its clean-up and ours, across a reconnect of the same loop; a loop that is dropped keeps nothing.

use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use rumqttc::v5::{
    AsyncClient,
    mqttbytes::{QoS, v5::Publish},
};
use tokio::sync::Notify;

use super::{
    budget::Budget,
    ring::{Book, Ring, SourceIndex, Ticket},
};

/// See the module documentation. Lives as long as the process, over all connections of one client-id slot.
pub(super) struct Gate {
    state: Mutex<State>,
    pub(super) budget: Budget,
    /// Tickets below this are of connections that are gone; a copy of the ring's base, read without the lock.
    live_from: AtomicU64,
    attention: AtomicBool,
    /// An acknowledgement is due that found the client's queue full.
    backlog: AtomicBool,
    wake: Notify,
}

struct State {
    ring: Ring,
    /// `None` while not connected.
    client: Option<AsyncClient>,
    /// Whether the connection's task wants to hear when nothing is open any more.
    watched: bool,
    /// A receipt was dropped unsettled on this connection.
    abandoned: bool,
    /// Reused for every acknowledgement, which takes nothing but `pkid` and `qos` from it.
    ack: Publish,
}

/// What the connection's task decides on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing {
    pub open: usize,
    pub empty: bool,
    pub stuck: bool,
    pub abandoned: bool,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("live_from", &self.live_from).finish_non_exhaustive()
    }
}

impl Gate {
    pub fn new(sources: usize, budget: Budget) -> Arc<Self> {
        let ack = Publish { qos: QoS::AtLeastOnce, ..Publish::default() };
        let state = State { ring: Ring::new(sources), client: None, watched: false, abandoned: false, ack };
        Arc::new(Self {
            state: Mutex::new(state),
            budget,
            live_from: AtomicU64::new(0),
            attention: AtomicBool::new(false),
            backlog: AtomicBool::new(false),
            wake: Notify::new(),
        })
    }

    /// A connection is up; acknowledgements go out through `client` from now on.
    pub fn open(&self, client: AsyncClient) {
        let mut state = self.lock();
        state.client = Some(client);
        state.watched = false;
        state.abandoned = false;
    }

    /// The connection is gone: everything not acknowledged is returned, every ticket is void.
    pub fn close(&self) {
        let mut state = self.lock();
        state.client = None;
        state.ring.reset();
        self.live_from.store(state.ring.base(), Ordering::Release);
    }

    pub fn accept(&self, packet: u16, source: SourceIndex) -> Ticket {
        self.lock().ring.accept(packet, source)
    }

    pub fn refuse(&self, packet: u16, source: SourceIndex) {
        self.lock().ring.refuse(packet, source);
    }

    /// Settles the tickets and lets out every acknowledgement that is due, under one lock.
    pub fn settle(&self, tickets: impl Iterator<Item = Ticket>) {
        let mut state = self.lock();
        for ticket in tickets {
            state.ring.settle(ticket);
        }
        self.send_due(&mut state);
        self.call_if_idle(&state);
    }

    pub fn abandon(&self, ticket: Ticket) {
        let mut state = self.lock();
        if state.ring.abandon(ticket) {
            state.abandoned = true;
            drop(state);
            self.call();
        }
    }

    /// Asks to be called as soon as no receipt is open.
    pub fn watch(&self) {
        let mut state = self.lock();
        state.watched = true;
        self.call_if_idle(&state);
    }

    /// Sends what is due (left over if the client's queue was full) and says how things stand.
    pub fn standing(&self) -> Standing {
        let mut state = self.lock();
        self.send_due(&mut state);
        let ring = &state.ring;
        Standing { open: ring.open(), empty: ring.is_empty(), stuck: ring.is_stuck(), abandoned: state.abandoned }
    }

    pub fn is_live(&self, ticket: Ticket) -> bool {
        ticket.number() >= self.live_from.load(Ordering::Acquire)
    }

    pub fn epoch(&self) -> u32 {
        self.lock().ring.epoch()
    }

    pub fn books(&self) -> Vec<Book> {
        self.lock().ring.books()
    }

    /// Makes the connection's task look at its orders and its standing.
    pub fn call(&self) {
        self.attention.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Whether there was a call since the last time this was asked.
    pub fn take_call(&self) -> bool {
        // A plain load first: this is asked once per message.
        self.attention.load(Ordering::Acquire) && self.attention.swap(false, Ordering::AcqRel)
    }

    /// Waits for a call.
    ///
    /// # Cancel safety
    /// A call that comes while nobody waits is kept.
    pub async fn called(&self) {
        while !self.take_call() {
            self.wake.notified().await;
        }
    }

    fn call_if_idle(&self, state: &State) {
        if state.watched && state.ring.open() == 0 {
            self.call();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change under the lock is complete before anything can panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An acknowledgement was written, so the client's queue has room again.
    pub fn on_ack_written(&self) {
        if self.backlog.load(Ordering::Relaxed) && self.backlog.swap(false, Ordering::Relaxed) {
            self.call();
        }
    }

    /// Never waits. The client's queue holds more than a whole window of acknowledgements; should a broker exceed the
    /// window, what does not fit stays due until one has been written.
    fn send_due(&self, state: &mut State) {
        let State { ring, client: Some(client), ack, .. } = state else { return };
        while let Some(packet) = ring.due() {
            ack.pkid = packet;
            if client.try_ack(ack).is_err() {
                self.backlog.store(true, Ordering::Relaxed);
                return;
            }
            ring.acked();
        }
    }
}
