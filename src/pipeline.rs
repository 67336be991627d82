//! The line from the inbox to the store.
//!
//! `inbox -> Writer::fill (decode, validate, match, judge: pure) -> Batch -> Committer (one transaction) -> receipts`.
//! The inbox is bounded by what the broker may have under way per connection (`mqtt.receive_maximum`) and by
//! `mqtt.budget_bytes`; a batch by `database.batch_readings`. There is no other queue, so memory cannot grow elsewhere.

pub mod again;
pub mod assemble;
pub mod passage;
pub mod salvage;
pub mod terminal;
pub mod writer;

#[cfg(test)]
mod tests;
