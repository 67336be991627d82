//! Keeping readings: batches, COPY, duplicates, salvage, migrations, dead letters.
//!
//! One transaction holds everything a message leads to: its readings, raw payloads, findings, outbox events, evaluation
//! tasks, dead letters and the books. Uniqueness is the database's: a plain COPY first, and when a key exists already
//! (SQLSTATE 23505) the same batch again through a staging table that says which rows were new.

pub mod batch;
pub mod commit;
pub mod connect;
pub mod consequences;
pub mod dead_letters;
pub mod error;
pub mod findings;
pub mod flight;
pub mod housekeeping;
pub mod migrate;
mod pool;
pub mod prepared;
pub mod probe;
pub mod rows;
pub mod server;
pub mod tables;
