//! What the console shows: one look a second for all pages together, and none while nobody looks.

mod board;
mod rates;

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Json,
    extract::State,
    response::sse::{Event, KeepAlive, Sse},
};
use futures_util::{Stream, StreamExt as _};
use metrics::gauge;
use serde::Serialize;
use tokio::{sync::watch, time::MissedTickBehavior};
use tokio_stream::wrappers::WatchStream;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::{App, Problem, problem::Kind, readiness::Readiness};
use crate::{
    reading::Timestamp,
    telemetry::{
        Books,
        books::{MessageBook, ReadingBook},
        metrics::HTTP_STREAMS,
    },
};
use board::{Board, Watcher};
use rates::{Rates, Sample, Totals};

const BEAT: Duration = Duration::from_secs(1);
/// A look that takes longer is given up, and the page is told that the database is away.
const PATIENCE: Duration = Duration::from_secs(4);

/// The state of the service at one moment.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Pulse {
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
    sources: Vec<SourceBooks>,
    /// Since the start of this process.
    findings: u64,
    intercepts: u64,
    rates: Sample,
    lag: Lag,
    readiness: Readiness,
    #[serde(flatten)]
    board: Board,
}

/// Both books of one source since the start of this process.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct SourceBooks {
    source: String,
    messages: MessageBook,
    readings: ReadingBook,
}

/// How far behind each stage is.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
pub struct Lag {
    commit_ms: u64,
    evaluation_tasks: u64,
    evaluation_ms: u64,
    outbox_events: u64,
    outbox_ms: u64,
    /// Events that Kafka has not taken in full.
    events_not_in_full: u64,
}

/// A pulse, and what went before it.
#[derive(Debug, Serialize, ToSchema)]
pub struct Snapshot {
    #[serde(flatten)]
    pulse: Pulse,
    /// Start of this process; a page that sees another one begins anew.
    #[schema(value_type = String, format = DateTime)]
    since: Timestamp,
    /// The last minutes, a second apart, oldest first.
    history: Vec<Sample>,
}

/// The state of the page, kept for everyone who looks.
pub struct Live {
    rates: Mutex<Rates>,
    watcher: tokio::sync::Mutex<Watcher>,
    pulses: watch::Sender<Arc<str>>,
}

/// The page's state, and the task that keeps it until `stop`.
pub fn start(state: super::State, stop: CancellationToken) -> (Arc<Live>, impl Future<Output = ()> + Send) {
    let live = Arc::new(Live {
        rates: Mutex::default(),
        watcher: tokio::sync::Mutex::default(),
        pulses: watch::Sender::new(Arc::from("")),
    });
    let kept = live.clone();
    let keep = async move {
        let mut ticks = tokio::time::interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            live.sample(&state.books);
            gauge!(HTTP_STREAMS).set(live.pulses.receiver_count() as f64);
            if live.pulses.receiver_count() > 0
                && let Some(pulse) = stop.run_until_cancelled(live.pulse(&state)).await
                && let Ok(text) = serde_json::to_string(&pulse)
            {
                live.pulses.send_replace(text.into());
            }
        }
    };
    (kept, keep)
}

impl Live {
    fn sample(&self, books: &Books) {
        let totals = Totals {
            received: books.message_books().iter().map(|book| book.received).sum(),
            stored: books.sources().iter().map(|source| source.stored.get()).sum(),
            quarantined: books.sources().iter().map(|source| source.reading_book().quarantined).sum(),
            findings: books.findings.get(),
        };
        let mut rates = self.rates.lock().unwrap_or_else(PoisonError::into_inner);
        rates.sample(std::time::Instant::now(), Timestamp::now(), totals);
    }

    async fn pulse(&self, state: &super::State) -> Pulse {
        let board = self.watcher.lock().await.look(&state.pool, PATIENCE).await;
        let books = &state.books;
        let messages = books.message_books();
        let sources = books.sources().iter().zip(messages).map(|(source, messages)| SourceBooks {
            source: source.source.to_string(),
            messages,
            readings: source.reading_book(),
        });
        Pulse {
            at: Timestamp::now(),
            sources: sources.collect(),
            findings: books.findings.get(),
            intercepts: books.intercepts.get(),
            rates: self.rates.lock().unwrap_or_else(PoisonError::into_inner).latest(),
            lag: Lag {
                commit_ms: books.levels.commit_lag_ms.get(),
                evaluation_tasks: books.levels.evaluation_backlog.get(),
                evaluation_ms: books.levels.evaluation_oldest_ms.get(),
                outbox_events: books.levels.outbox_unsent.get(),
                outbox_ms: books.levels.relay_lag_ms.get(),
                events_not_in_full: books.levels.events_not_in_full.get(),
            },
            readiness: state.readiness.readiness(),
            board: (*board).clone(),
        }
    }
}

/// Everything the console shows, now, with the last minutes of rates.
#[utoipa::path(get, path = "/api/v1/live", tag = "live", responses((status = OK, body = Snapshot)))]
pub async fn snapshot(State(app): State<App>) -> Json<Snapshot> {
    let pulse = app.live.pulse(&app.state).await;
    let history = app.live.rates.lock().unwrap_or_else(PoisonError::into_inner).history();
    Json(Snapshot { pulse, since: app.state.books.since(), history })
}

/// The same once a second, without the history (server-sent events named `pulse`).
#[utoipa::path(
    get, path = "/api/v1/live/stream", tag = "live",
    responses(
        (status = OK, body = Pulse, content_type = "text/event-stream"),
        (status = SERVICE_UNAVAILABLE, body = Problem, content_type = "application/problem+json")
    )
)]
pub async fn stream(State(app): State<App>) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let permit = app.streams.clone().try_acquire_owned().map_err(|_| Problem::new(Kind::TooManyStreams))?;
    // Only changes: what is there may be from when somebody last looked.
    let pulses = WatchStream::from_changes(app.live.pulses.subscribe()).map(move |text| {
        let _open = &permit;
        Ok(Event::default().event("pulse").data(&*text))
    });
    Ok(Sse::new(pulses.take_until(app.stop.cancelled_owned())).keep_alive(KeepAlive::default()))
}
