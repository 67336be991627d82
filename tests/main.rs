//! One binary for everything that runs against real servers: linking once is most of the time of a small change.

#![allow(clippy::unwrap_used)] // a failed step of a test ends the test
mod support;

mod api;
mod deploy;
mod histories;
mod publish;
mod schema;
mod servers;
mod service;
mod store;
