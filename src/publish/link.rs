//! Where the way to Kafka stands: waiting, opening, idle, or busy with one batch.

use std::{future, sync::Arc, time::Duration};

use rand::Rng as _;
use tokio::time::{Instant, sleep_until};

use super::{
    kafka::{Answer, Fault, Line, Published, Settings, TooLarge},
    outbox::{Positioned, Progress, State},
    status::KafkaLink,
};

/// First and longest pause between attempts to open a line.
const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_LONGEST: Duration = Duration::from_secs(5);

/// The state machine; moved on by [`Link::event`] and the calls that follow from it.
pub(super) struct Link {
    settings: Option<Settings>,
    stage: Stage,
    failures: u32,
}

enum Stage {
    Off,
    Waiting { until: Instant },
    Opening { line: Line, answer: Answer<Progress> },
    Idle { line: Line },
    Busy { line: Line, answer: Answer<Published>, batch: Vec<Arc<Positioned>>, since: Instant },
}

/// What happened.
pub(super) enum LinkEvent {
    /// Time for the next attempt: [`Link::open`].
    Due,
    Opened(Progress),
    /// The batch is in Kafka; how long its transaction took.
    Sent(Progress, Vec<Arc<Positioned>>, Duration),
    /// Nothing of the batch was sent, because some of it does not fit; the line is there.
    TooLarge(Vec<TooLarge>, Vec<Arc<Positioned>>),
    /// The line is gone; `batch` was under way, and whether it was committed is not known.
    Failed(Fault, Vec<Arc<Positioned>>),
}

impl Link {
    pub fn new(settings: Option<Settings>) -> Self {
        let stage = if settings.is_some() { Stage::Waiting { until: Instant::now() } } else { Stage::Off };
        Self { settings, stage, failures: 0 }
    }

    /// Waits for the next event; for ever while idle or not configured.
    ///
    /// # Cancel safety
    /// Cancel-safe: the stage changes only when an event is returned.
    pub async fn event(&mut self) -> LinkEvent {
        let answer = match &mut self.stage {
            Stage::Off | Stage::Idle { .. } => future::pending().await,
            Stage::Waiting { until } => {
                sleep_until(*until).await;
                return LinkEvent::Due;
            }
            Stage::Opening { answer, .. } => answer.await.unwrap_or(Err(Fault::Gone)).map(Published::Sent),
            Stage::Busy { answer, .. } => answer.await.unwrap_or(Err(Fault::Gone)),
        };
        let stage = std::mem::replace(&mut self.stage, Stage::Off);
        match (answer, stage) {
            (Ok(Published::Sent(progress)), Stage::Opening { line, .. }) => {
                self.stage = Stage::Idle { line };
                LinkEvent::Opened(progress)
            }
            (Ok(published), Stage::Busy { line, batch, since, .. }) => {
                self.stage = Stage::Idle { line };
                self.failures = 0;
                match published {
                    Published::Sent(progress) => LinkEvent::Sent(progress, batch, since.elapsed()),
                    Published::TooLarge(found) => LinkEvent::TooLarge(found, batch),
                }
            }
            (Err(fault), stage) => {
                // A refusal is about one event: no reason to wait.
                let pause = if matches!(fault, Fault::Refused { .. }) { Duration::ZERO } else { self.pause() };
                self.stage = Stage::Waiting { until: Instant::now() + pause };
                let batch = if let Stage::Busy { batch, .. } = stage { batch } else { Vec::new() };
                LinkEvent::Failed(fault, batch)
            }
            (Ok(_), stage) => {
                // Only the two stages above have an answer.
                self.stage = stage;
                LinkEvent::Due
            }
        }
    }

    /// Starts to open a line from what the database knows *now*.
    pub fn open(&mut self, state: State) {
        if let Some(settings) = &self.settings {
            let (line, answer) = Line::open(settings.clone(), state);
            self.stage = Stage::Opening { line, answer };
        }
    }

    /// Whether [`Link::submit`] would take a batch.
    pub fn is_idle(&self) -> bool {
        matches!(self.stage, Stage::Idle { .. })
    }

    /// How long a batch has been under way.
    pub fn busy_for(&self) -> Option<Duration> {
        match &self.stage {
            Stage::Busy { since, .. } => Some(since.elapsed()),
            _ => None,
        }
    }

    /// Hands a batch over when idle; an empty one is nothing.
    pub fn submit(&mut self, batch: Vec<Arc<Positioned>>) {
        if batch.is_empty() {
            return;
        }
        self.stage = match std::mem::replace(&mut self.stage, Stage::Off) {
            Stage::Idle { line } => {
                let answer = line.publish(batch.clone());
                Stage::Busy { line, answer, batch, since: Instant::now() }
            }
            other => other,
        };
    }

    /// Whether events can get out now or soon: there is a line, or none is wanted.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Idle { .. } | Stage::Busy { .. })
    }

    pub fn shown(&self) -> KafkaLink {
        match &self.stage {
            Stage::Off => KafkaLink::NotConfigured,
            Stage::Idle { line } | Stage::Busy { line, .. } if line.healthy() => KafkaLink::Connected,
            Stage::Waiting { .. } | Stage::Opening { .. } if self.failures == 0 => KafkaLink::Connecting,
            _ => KafkaLink::Away,
        }
    }

    fn pause(&mut self) -> Duration {
        let longest = PAUSE_FIRST.saturating_mul(1 << self.failures.min(10)).min(PAUSE_LONGEST);
        self.failures = self.failures.saturating_add(1);
        longest.mul_f64(rand::rng().random_range(0.5..=1.0))
    }
}
