//! The service: what is started in which order, and how it stops.
//!
//! HTTP comes first, so that an operator can watch everything else come up, and goes last. The database comes next, waited
//! for with patience; then what is known (register, lists, zones), the relay, the evaluator, the writers, and at the very
//! end the MQTT session: nothing is taken from the broker before there is somebody to commit it.

mod bring_up;
mod commits;
mod follow;
mod keep_house;
mod watch_database;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use tokio::{
    net::TcpListener,
    sync::{Mutex, Notify},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use bring_up::{bring_up_database, load_knowledge};
use commits::Commits;
use follow::{wake_streams, watch_parts};
use keep_house::keep_house;
use watch_database::DatabaseWatch;

use crate::{
    api::{
        self,
        readiness::{Board, Part},
    },
    config::{Config, SignatureMode},
    evaluate::{cloned, evaluator::Evaluator, terminal::evaluator::TerminalEvaluator},
    ingest::{self, Ingest, LeaseArgs, Slots, StartArgs},
    judge::RuleBook,
    pipeline::{
        assemble::Assembler,
        writer::{Progress, Shared, Writer},
    },
    publish::{self},
    shutdown::Steps,
    signature::verifier::Verifier,
    store::{connect::Connector, server::Need},
    telemetry::{self, Books, Meters, books::MessageBook},
    vehicle::{knowledge::KnowledgeHandle, watch as register},
};

/// A notification can be missed; the versions are looked at this often as well.
const KNOWLEDGE_POLL: Duration = Duration::from_secs(15);

/// The service while it runs.
pub struct App {
    pub http: SocketAddr,
    pub books: Arc<Books>,
    pub board: Arc<Board>,
    config: Config,
    ingest: Arc<Ingest>,
    writers: JoinSet<bool>,
    abandon: CancellationToken,
    /// What only follows: evaluator, housekeeping, knowledge watch, status.
    followers: JoinSet<()>,
    stop_followers: CancellationToken,
    relay: Arc<publish::Relay>,
    api: api::Running,
    metrics: telemetry::metrics::Handle,
}

/// A part that must not end has ended: a mistake of ours.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct InternalError(String);

#[cfg(test)]
impl InternalError {
    pub fn for_tests(what: &str) -> Self {
        Self(what.to_owned())
    }
}

/// How the service ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Everything taken was committed and acknowledged, and every step ended in time.
    pub clean: bool,
    /// Both books of every source balance.
    pub balanced: bool,
}

/// The names of the sources, and after them that of topics that belong to none.
pub fn source_names(config: &Config) -> Vec<String> {
    config.source.iter().map(|source| source.name.clone()).chain([ingest::UNKNOWN.to_owned()]).collect()
}

/// The pure part of the pipeline with everything that is known now; for commands that work without the service.
pub async fn assembler(config: &Config, connector: &Connector) -> anyhow::Result<Assembler> {
    let rules = Arc::new(RuleBook::load(config.judge.clone())?);
    let knowledge = KnowledgeHandle::default();
    register::refresh_once(&mut connector.connect_to_read("knowledge").await?, &knowledge).await?;
    let assembler = Assembler::new(config.source.clone(), knowledge, rules, config.mqtt.max_payload_bytes as usize);
    Ok(assembler.with_signatures(&config.signature))
}

impl App {
    /// Starts everything; `None` when `cancel` came before the database was there.
    ///
    /// # Errors
    /// What no patience mends: a port in use, a wrong file, a schema newer than this program.
    pub async fn start(config: Config, cancel: &CancellationToken) -> anyhow::Result<Option<Self>> {
        let rules = Arc::new(RuleBook::load(config.judge.clone())?);
        let connector = Connector::new(&config.database)?;
        let listener = TcpListener::bind(config.http.listen)
            .await
            .with_context(|| format!("listen on http.listen = {}", config.http.listen))?;
        warn_of_short_retention(&config);
        let sources = source_names(&config);
        let books = Arc::new(Books::new(sources.iter().map(String::as_str)));
        let metrics = telemetry::metrics::install(Arc::clone(&books))?;
        let meters = Arc::new(Meters::register(Arc::clone(&books)));
        let stop_followers = CancellationToken::new();
        metrics.spawn_upkeep(stop_followers.clone());
        let board = Arc::new(Board::new([
            (Part::Broker, true),
            (Part::Database, true),
            (Part::Clock, true),
            (Part::Lists, true),
            (Part::Kafka, config.kafka.is_some()),
        ]));
        let new_events = Arc::new(Notify::new());
        let state = api::State {
            pool: connector.pool(usize::from(config.database.read_connections)),
            write_token: config.http.write_token.as_ref().map(api::WriteToken::new),
            books: Arc::clone(&books),
            metrics: metrics.clone(),
            readiness: Arc::clone(&board),
            new_events: Arc::clone(&new_events),
            rules: Arc::clone(&rules),
        };
        let api = api::serve(listener, state)?;

        let Some(flavour) = bring_up_database(&config, &connector, &board, cancel).await? else { return Ok(None) };
        let mut followers = JoinSet::new();
        let knowledge = KnowledgeHandle::default();
        let Some(()) = load_knowledge(&knowledge, &connector, &board, cancel).await else { return Ok(None) };
        let stop = stop_followers.clone();
        followers.spawn(register::run(connector.clone(), knowledge.clone(), KNOWLEDGE_POLL, stop));

        let sessions = {
            let connector = connector.clone();
            publish::Sessions::new(move |on_message| {
                let connector = connector.clone();
                async move { connector.listen("relay", Need::Write, on_message).await }
            })
        };
        let relay = Arc::new(publish::start(sessions, config.kafka.as_ref(), Arc::clone(&meters), Arc::clone(&books)));
        let evaluator = Evaluator::new(connector.clone(), Arc::clone(&rules), Arc::clone(&meters), {
            let relay = Arc::clone(&relay);
            Box::new(move || relay.nudge())
        });
        followers.spawn(Arc::clone(&evaluator).run(stop_followers.clone()));
        let terminals = TerminalEvaluator {
            connector: connector.clone(),
            rules: Arc::clone(&rules),
            knowledge: knowledge.clone(),
            meters: Arc::clone(&meters),
            on_events: {
                let relay = Arc::clone(&relay);
                Box::new(move || relay.nudge())
            },
        };
        followers.spawn(terminals.run(stop_followers.clone()));
        if config.signature.mode != SignatureMode::Off {
            let relay = Arc::clone(&relay);
            let on_events = Box::new(move || relay.nudge());
            let verifier = Verifier::start(connector.clone(), &config.signature, &meters, &books, on_events)?;
            followers.spawn(verifier.run(stop_followers.clone()));
        }
        followers.spawn({
            let evaluator = Arc::clone(&evaluator);
            let rule = cloned::Rule::of(&config.judge.plates, rules.terminal.bounds().area);
            cloned::sweep::run(connector.clone(), rule, move || evaluator.nudge(), stop_followers.clone())
        });
        let commits = Arc::new(Commits::default());
        let watch = DatabaseWatch {
            connector: connector.clone(),
            flavour: flavour.name(),
            board: Arc::clone(&board),
            books: Arc::clone(&books),
            commits: Arc::clone(&commits),
        };
        followers.spawn(watch.run(stop_followers.clone()));
        followers.spawn(keep_house(connector.clone(), flavour, config.clone(), stop_followers.clone()));

        let instance = instance_name(&config);
        let slots = Slots::Leased(Box::new(LeaseArgs::new(connector.clone(), &*instance)));
        let (ingest, inbox) = ingest::start(StartArgs { config: &config.mqtt, sources: &config.source, slots })?;
        let ingest = Arc::new(ingest);
        let asked = Arc::clone(&ingest);
        books.attach_messages(move || asked.books().into_iter().map(message_book).collect());

        let on_commit = {
            let (books, meters) = (Arc::clone(&books), Arc::clone(&meters));
            let (relay, evaluator, commits) = (Arc::clone(&relay), Arc::clone(&evaluator), Arc::clone(&commits));
            move |progress: Progress<'_>| {
                commits.note(&books, &meters, &progress);
                if progress.committed.events > 0 {
                    relay.nudge();
                }
                if progress.committed.tasks > 0 {
                    evaluator.nudge();
                }
            }
        };
        let known = knowledge.clone();
        let max_payload = config.mqtt.max_payload_bytes as usize;
        let shared = Arc::new(Shared {
            assembler: Assembler::new(config.source.clone(), knowledge, rules, max_payload)
                .with_signatures(&config.signature),
            connector,
            inbox: Mutex::new(inbox),
            sources,
            batch_readings: config.database.batch_readings as usize,
            linger: Duration::from_millis(config.database.linger_ms),
            meters: Arc::clone(&meters),
            on_commit: Box::new(on_commit),
            on_trouble: {
                let commits = Arc::clone(&commits);
                Box::new(move |why| commits.trouble(why))
            },
        });
        let abandon = CancellationToken::new();
        let mut writers = JoinSet::new();
        for writer in 0..config.database.writers {
            let name = format!("{instance}/{writer}");
            writers.spawn(Writer::new(Arc::clone(&shared), name, abandon.clone()).run());
        }
        followers.spawn(wake_streams(relay.watch(), new_events, stop_followers.clone()));
        followers.spawn(watch_parts(
            Arc::clone(&ingest),
            Arc::clone(&relay),
            Arc::clone(&board),
            known,
            Arc::clone(&books),
            Arc::clone(&commits),
            stop_followers.clone(),
        ));
        Ok(Some(Self {
            http: api.address(),
            books,
            board,
            config,
            ingest,
            writers,
            abandon,
            followers,
            stop_followers,
            relay,
            api,
            metrics,
        }))
    }

    /// Every connection to the broker, for those who watch.
    pub fn ingest(&self) -> &Ingest {
        &self.ingest
    }

    /// Runs until one of the parts that must not end has ended; only a mistake of ours makes that happen.
    pub async fn fail(&mut self) -> InternalError {
        let (part, ended) = tokio::select! {
            ended = self.writers.join_next() => ("a writer", ended.map(|ended| ended.map(|_| ()))),
            ended = self.followers.join_next() => ("what follows the writers", ended),
        };
        InternalError(match ended {
            Some(Err(panic)) => format!("{part} failed: {panic}"),
            _ => format!("{part} ended by itself"),
        })
    }

    /// Stops in order: reading, commits and acknowledgements, evaluation, relay, HTTP.
    pub async fn stop(mut self) -> Stopped {
        let mut steps = Steps::within(Duration::from_secs(self.config.service.shutdown_seconds));
        self.ingest.stop_reading();
        let drained = steps.step("commit what was read", drain(&mut self.writers)).await.unwrap_or(false);
        // Whatever a late writer holds is dropped unsettled and comes again.
        self.abandon.cancel();
        let left = self.config.service.shutdown_seconds.clamp(1, 10);
        let finish = steps.step("acknowledge", self.ingest.finish(Duration::from_secs(left))).await;
        self.stop_followers.cancel();
        steps.step("end the evaluation", async { while self.followers.join_next().await.is_some() {} }).await;
        let published = steps.step("publish what is committed", self.relay.stop(Duration::from_secs(left))).await;
        self.ingest.show_metrics();
        let balanced = self.books.balanced();
        steps.step("close http", self.api.stop()).await;
        let clean = steps.clean() && drained && finish.is_some_and(|finish| finish.clean);
        if published == Some(false) {
            tracing::warn!("events are left in the outbox; the next start publishes them");
        }
        tracing::info!(clean, balanced, "stopped");
        Stopped { clean, balanced }
    }

    /// The metrics in Prometheus' text form.
    pub fn metrics(&self) -> String {
        self.metrics.render()
    }
}

/// A window wider than the retention is meant for old frames, and those would be gone with the next clean-up.
fn warn_of_short_retention(config: &Config) {
    let kept = config.retention.readings_days;
    for source in config.source.iter().filter(|source| source.plausible_past_days > kept) {
        tracing::warn!(
            source = source.name,
            plausible_past_days = source.plausible_past_days,
            readings_days = kept,
            "takes readings that are past their retention: they are deleted soon after they are stored"
        );
    }
}

async fn drain(writers: &mut JoinSet<bool>) -> bool {
    let mut all = true;
    while let Some(ended) = writers.join_next().await {
        all &= ended.unwrap_or(false);
    }
    all
}

fn instance_name(config: &Config) -> String {
    if !config.service.instance.is_empty() {
        return config.service.instance.clone();
    }
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("{}-{}", host.trim(), std::process::id())
}

fn message_book(book: ingest::MessageBook) -> MessageBook {
    let ingest::MessageBook { received, settled, in_flight, returned, .. } = book;
    MessageBook { received, settled, in_flight, returned }
}
