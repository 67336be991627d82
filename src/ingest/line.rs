//! What the supervisor and a connection's task share: the orders, the gate and what is shown of the connection.

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicU8, Ordering},
};

use serde::Serialize;

use super::gate::Gate;
use crate::reading::Timestamp;

/// What the supervisor wants of a connection. Only ever moves to a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Order {
    /// Subscribe and read.
    Read,
    /// Leave the group, take what the session still holds, then end: the slot of a replica that is gone.
    Retire,
    /// Take nothing new; acknowledge what is settled.
    Drain,
    /// As [`Order::Drain`], and disconnect as soon as no receipt is open.
    Leave,
    /// Disconnect now: the slot belongs to somebody else.
    Quit,
}

impl Order {
    fn from_number(number: u8) -> Self {
        match number {
            0 => Order::Read,
            1 => Order::Retire,
            2 => Order::Drain,
            3 => Order::Leave,
            _ => Order::Quit,
        }
    }
}

/// What a connection is doing, for `/readyz`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Activity {
    Connecting,
    /// Connected, subscriptions not confirmed yet.
    Subscribing,
    Reading,
    /// Connected, but taking nothing: the byte budget was used up for longer than the keep-alive allows to wait.
    Paused,
    /// Emptying the session of a replica that is gone.
    Retiring,
    /// Taking nothing new; the service is stopping.
    Draining,
    /// Not connected; an attempt follows.
    Waiting,
    Ended,
}

/// One connection as the outside sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ConnectionStatus {
    pub slot: u16,
    pub client_id: String,
    pub connected: bool,
    pub activity: Activity,
    /// Connections of this slot that have ended in this process.
    pub epoch: u32,
    /// Since when it is connected, or not.
    pub since: Timestamp,
    /// Why the latest connection or attempt ended.
    pub last_error: Option<String>,
    /// What the broker said it does not do, though it will do.
    pub lacks: Vec<String>,
    /// Connections made after the first.
    pub reconnects: u64,
    /// Reconnects on which the broker no longer had our session: messages may be gone.
    pub sessions_lost: u64,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Line {
    pub slot: u16,
    pub gate: Arc<Gate>,
    order: AtomicU8,
    status: Mutex<ConnectionStatus>,
}

impl Line {
    pub fn new(slot: u16, client_id: String, gate: Arc<Gate>, order: Order) -> Arc<Self> {
        let status = ConnectionStatus {
            slot,
            client_id,
            connected: false,
            activity: Activity::Connecting,
            epoch: gate.epoch(),
            since: Timestamp::now(),
            last_error: None,
            lacks: Vec::new(),
            reconnects: 0,
            sessions_lost: 0,
        };
        Arc::new(Self { slot, gate, order: AtomicU8::new(order as u8), status: Mutex::new(status) })
    }

    pub fn order(&self) -> Order {
        Order::from_number(self.order.load(Ordering::Acquire))
    }

    /// Gives an order; an earlier one than the present is ignored.
    pub fn give(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::AcqRel);
        self.gate.call();
    }

    pub fn status(&self) -> ConnectionStatus {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn show(&self, change: impl FnOnce(&mut ConnectionStatus)) {
        change(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
