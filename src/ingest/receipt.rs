//! The receipt that travels with a message and is the only way to its acknowledgement.

use std::sync::Arc;

use smallvec::SmallVec;

use super::{gate::Gate, ring::Ticket};

/// Answers for one message. It starts pessimistic: dropping it means "not done", and the message will come again.
///
/// Settle it when everything that follows from the message is durable. The acknowledgement leaves when all earlier
/// messages of the same connection are settled too, and only by the connection the message came by; if that is gone,
/// settling does nothing, and the message comes again. Either way the bytes are given back to the budget.
#[derive(Debug)]
#[must_use = "a receipt that is dropped means that the message was not dealt with"]
pub struct Receipt {
    /// `None` once settled.
    gate: Option<Arc<Gate>>,
    ticket: Ticket,
    /// Bytes reserved for the message.
    charge: u32,
}

impl Receipt {
    pub(super) fn new(gate: Arc<Gate>, ticket: Ticket, charge: u32) -> Self {
        Self { gate: Some(gate), ticket, charge }
    }

    /// Marks the message as dealt with. For more than a few see [`Receipt::settle_all`].
    pub fn settle(mut self) {
        if let Some(gate) = self.gate.take() {
            gate.settle(std::iter::once(self.ticket));
            gate.budget.give_back(self.charge as usize);
        }
    }

    /// Marks all the messages as dealt with, taking one lock per connection and not per message.
    pub fn settle_all(mut receipts: Vec<Receipt>) {
        // A process has a handful of connections, so a linear search beats a map.
        let mut gates: SmallVec<[Arc<Gate>; 8]> = SmallVec::new();
        for receipt in &receipts {
            if let Some(gate) = &receipt.gate
                && !gates.iter().any(|known| Arc::ptr_eq(known, gate))
            {
                gates.push(Arc::clone(gate));
            }
        }
        for gate in &gates {
            let ours = |receipt: &&Receipt| receipt.gate.as_ref().is_some_and(|other| Arc::ptr_eq(other, gate));
            gate.settle(receipts.iter().filter(ours).map(|receipt| receipt.ticket));
            let charge = receipts.iter().filter(ours).map(|receipt| receipt.charge as usize).sum();
            gate.budget.give_back(charge);
        }
        for receipt in &mut receipts {
            receipt.gate = None;
        }
    }

    /// Whether the connection the message came by is still there; if not, working on the message is wasted.
    pub fn is_live(&self) -> bool {
        self.gate.as_ref().is_some_and(|gate| gate.is_live(self.ticket))
    }
}

impl Drop for Receipt {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.abandon(self.ticket);
            gate.budget.give_back(self.charge as usize);
        }
    }
}
