//! What runs when nothing is configured: a private PostgreSQL cluster and, for `demo`, a broker in this process.
//!
//! Made for one machine and one user. Neither replaces a server that somebody looks after: no replica, no backup, no
//! upgrade to another major version.

pub mod broker;
pub mod child;
pub mod postgres;
