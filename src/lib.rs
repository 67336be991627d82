//! Ingestion and follow-up service for mobile-source emission monitoring in a Chinese district.
//!
//! The path of a reading, each arrow one module:
//!
//! ```text
//! ingest (MQTT session, ordered acks) -> decode -> reading -> vehicle, zone (match) -> judge (this reading alone)
//!   -> store (one transaction: readings, raw, findings, outbox, tasks) -> ack
//! signature (does the terminal's signature hold) -> findings
//! evaluate (what the history says) -> findings -> publish (outbox -> Kafka, live events)
//! ```
//!
//! Everything up to `judge` is a pure function: no clock, no I/O. A message is acknowledged only after the commit
//! that holds all of its consequences.

pub mod api;
pub mod app;
pub mod cli;
pub mod config;
pub mod console;
pub mod decode;
pub mod embedded;
pub mod evaluate;
pub mod fault;
pub mod finding;
pub mod ingest;
pub mod judge;
pub mod mapping;
pub mod pipeline;
pub mod publish;
pub mod reading;
pub mod shutdown;
pub mod signature;
pub mod simulate;
pub mod store;
pub mod strict_json;
pub mod telemetry;
pub mod vehicle;
pub mod warning;
pub mod zone;
