//! Orderly shutdown: what stops first and what may take how long.
//!
//! Reading stops first; what was read is committed and acknowledged; then everything that only follows stops; HTTP stops
//! last, so that an operator can watch. Each step has a deadline and a name, and a step that is late makes the exit code
//! say so: the messages concerned were not acknowledged and come again.

use std::{future::Future, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Cancels the token at the first SIGINT or SIGTERM; the second one ends the process at once.
pub fn on_signal() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        wait_for_signal().await;
        tracing::info!("stopping: reading ends, what was read is committed");
        cancelled.cancel();
        wait_for_signal().await;
        tracing::warn!("stopped at once by a second signal; messages not committed come again");
        std::process::exit(1);
    });
    token
}

async fn wait_for_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        // Without handlers the default action of the signals ends the process, which loses nothing.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// Runs the steps one after another and remembers whether all were in time.
pub struct Steps {
    deadline: Instant,
    late: Vec<&'static str>,
}

impl Steps {
    pub fn within(total: Duration) -> Self {
        Self { deadline: Instant::now() + total, late: Vec::new() }
    }

    /// Waits for one step until the common deadline; `None` when it was late and is left behind.
    pub async fn step<T>(&mut self, name: &'static str, work: impl Future<Output = T>) -> Option<T> {
        let started = Instant::now();
        let done = tokio::time::timeout_at(self.deadline, work).await.ok();
        match done {
            Some(_) => tracing::debug!(step = name, ms = started.elapsed().as_millis() as u64, "shutdown step done"),
            None => {
                tracing::error!(step = name, "a shutdown step did not end in time and is left behind");
                self.late.push(name);
            }
        }
        done
    }

    /// Whether every step ended in time.
    pub fn clean(&self) -> bool {
        self.late.is_empty()
    }
}
