//! The byte budget over all connections: what is held in memory between the broker and the commit.
//!
//! A reservation is made before a message is handed on and given back when its receipt is settled or dropped. Waiters
//! are served first come, first served, so a large message is not starved by small ones. No deadlock: whoever waits
//! here holds only a message that is not counted yet, and giving back needs neither the waiter nor its connection.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Added to every message's payload for topic, device, ring slot and queue entry, so that a flood of empty messages
/// is bounded too. The sum of those structures, rounded up.
pub const OVERHEAD_BYTES: usize = 256;

/// Shared by all connections of a process.
#[derive(Clone, Debug)]
pub struct Budget {
    free: Arc<Semaphore>,
    total: u32,
}

impl Budget {
    /// A budget of `total` bytes, at least one message's overhead.
    pub fn new(total: u32) -> Self {
        let total = total.max(OVERHEAD_BYTES as u32);
        Self { free: Arc::new(Semaphore::new(total as usize)), total }
    }

    /// What a payload of this size is charged. Never more than the whole budget, so that one message larger than it
    /// waits until it is alone instead of for ever.
    pub fn charge(&self, payload_bytes: usize) -> u32 {
        u32::try_from(payload_bytes.saturating_add(OVERHEAD_BYTES)).unwrap_or(u32::MAX).min(self.total)
    }

    /// Takes `charge` bytes if they are free now.
    pub fn try_reserve(&self, charge: u32) -> bool {
        self.free.try_acquire_many(charge).map(tokio::sync::SemaphorePermit::forget).is_ok()
    }

    /// Takes `charge` bytes, waiting for them.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing.
    pub async fn reserve(&self, charge: u32) {
        // The semaphore is never closed; were it, refusing to wait is the harmless answer.
        if let Ok(permit) = self.free.acquire_many(charge).await {
            permit.forget();
        }
    }

    /// Waits until at least half of the budget is free.
    pub async fn half_free(&self) {
        drop(self.free.acquire_many(self.total / 2).await);
    }

    pub fn give_back(&self, charge: usize) {
        self.free.add_permits(charge);
    }

    /// Bytes held now.
    pub fn held(&self) -> u64 {
        u64::from(self.total) - (self.free.available_permits() as u64).min(u64::from(self.total))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_larger_than_the_budget_waits_to_be_alone() {
        let budget = Budget::new(1000);
        let small = budget.charge(10);
        assert!(budget.try_reserve(small));
        let large = budget.charge(1 << 20);
        assert_eq!(large, 1000);
        assert!(!budget.try_reserve(large));
        budget.give_back(small as usize);
        budget.reserve(large).await;
        assert_eq!(budget.held(), 1000);
        budget.give_back(large as usize);
        assert_eq!(budget.held(), 0);
        budget.half_free().await;
        assert_eq!(budget.held(), 0);
    }
}
