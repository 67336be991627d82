//! Real servers for tests: found, started on ports and in folders of their own, gone when the test process is gone.
//!
//! A server that is not installed skips the tests that need it. What was skipped is appended to the file named by
//! `DIESELWATCH_SKIPPED`, which `make test` prints; with `DIESELWATCH_REQUIRE_ALL` set a skip is a failure.
#![allow(dead_code)] // not every test needs every part

pub mod http;
pub mod kafka;
pub mod mosquitto;
pub mod pgbouncer;
pub mod postgres;
pub mod publisher;
pub mod service;
pub mod timescale;

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

/// Notes that something is missing; always returns `None`, for `return support::skip(..)`.
pub fn skip<T>(what: &str) -> Option<T> {
    assert!(std::env::var_os("DIESELWATCH_REQUIRE_ALL").is_none(), "skipped although everything is required: {what}");
    eprintln!("SKIPPED: {what}");
    if let Some(path) = std::env::var_os("DIESELWATCH_SKIPPED") {
        let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
        writeln!(file, "{what}").unwrap();
    }
    None
}

/// Longest wait for a condition: generous, because machines that run tests are slow and busy.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Asks until the answer is `Some`; panics with `what` after [`LIMIT`]. The only sleep tests have.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {LIMIT:?} in vain for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Folder for scratch files that any account may reach, unlike a checkout below root's home.
pub fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("dieselwatch-").tempdir_in("/tmp").unwrap()
}

/// A port nobody listens on now. Somebody may take it before it is used, so the user of it has to be ready to try again.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
