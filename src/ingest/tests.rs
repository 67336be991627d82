//! The session against real brokers: mosquitto and the one in this process.

mod delivery;
mod leases;
mod pressure;
pub(in crate::ingest) mod support;
mod tls;
