//! The loop that claims tasks and reconciles findings, one step at a time.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::Notify;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::{
    cloned::{self, history},
    nox,
    reconcile::{self, Change},
    tasks::{self, Kind},
    vehicle,
};
use crate::{
    judge::RuleBook,
    store::{
        connect::{Backoff, Connector},
        error::{Class, class_of, describe},
        prepared::Prepared,
    },
    telemetry::Meters,
};

/// Looks for tasks of other replicas at least this often; our own arrive with a nudge.
const POLL: Duration = Duration::from_millis(250);

/// From the start of one step to the next while tasks keep coming: what comes meanwhile is evaluated together, and a step of
/// one task costs nearly as many journeys to the server as a step of hundreds. Nobody waits for an episode by the second.
const PACE: Duration = Duration::from_millis(100);

/// What the evaluator shares with the rest of the process.
pub struct Evaluator {
    connector: Connector,
    rules: Arc<RuleBook>,
    meters: Arc<Meters>,
    nudge: Notify,
    /// Open tasks at the last look; -1 before the first.
    on_events: Box<dyn Fn() + Send + Sync>,
}

/// What one step did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Step {
    pub subjects: usize,
    /// Tasks looked at.
    pub tasks: usize,
    pub events: u64,
}

impl Step {
    /// Whether there may be tasks that did not fit in.
    fn is_full(&self) -> bool {
        self.tasks >= tasks::TASKS as usize
    }
}

impl Evaluator {
    /// `on_events` is called after a commit that wrote events.
    pub fn new(
        connector: Connector,
        rules: Arc<RuleBook>,
        meters: Arc<Meters>,
        on_events: Box<dyn Fn() + Send + Sync>,
    ) -> Arc<Self> {
        Arc::new(Self { connector, rules, meters, nudge: Notify::new(), on_events })
    }

    /// There may be new tasks.
    pub fn nudge(&self) {
        self.nudge.notify_one();
    }

    /// Works until cancelled; a step under way is finished or, by its transaction, undone.
    pub async fn run(self: Arc<Self>, cancel: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        while let Some(mut client) = self.connector.connect_by_key_patiently("evaluator", &cancel).await {
            match self.work(&mut client, &cancel, &mut backoff).await {
                Ok(()) => return,
                Err(error) => match class_of(&error) {
                    Class::Poison | Class::Operator | Class::Duplicate => {
                        tracing::error!(error = %describe(&error), "an evaluation fails; its tasks are kept and tried again");
                    }
                    Class::Again | Class::Away => {
                        tracing::warn!(error = %describe(&error), "an evaluation was interrupted; trying again");
                    }
                },
            }
            if cancel.run_until_cancelled(backoff.wait()).await.is_none() {
                return;
            }
        }
    }

    async fn work(
        &self,
        client: &mut Client,
        cancel: &CancellationToken,
        backoff: &mut Backoff,
    ) -> Result<(), tokio_postgres::Error> {
        let mut prepared = Prepared::default();
        while !cancel.is_cancelled() {
            let started = tokio::time::Instant::now();
            let step = self.step(client, &mut prepared).await?;
            backoff.reset();
            let rest = async {
                match step.subjects {
                    0 => tokio::time::timeout(POLL, self.nudge.notified()).await.unwrap_or(()),
                    _ if step.is_full() => {}
                    _ => tokio::time::sleep_until(started + PACE).await,
                }
            };
            if cancel.run_until_cancelled(rest).await.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One round of see, ripen, claim, reconcile; tests drive the evaluator with it.
    pub async fn step(&self, client: &mut Client, prepared: &mut Prepared) -> Result<Step, tokio_postgres::Error> {
        let Some(seen) = tasks::see(client).await? else { return Ok(Step::default()) };
        tasks::ripen(client, &seen).await?;
        let started = Instant::now();
        let transaction = client.transaction().await?;
        let claimed = tasks::claim(&transaction, &seen).await?;
        let of = |kind| claimed.iter().filter(move |(subject, _)| subject.kind == kind);
        let vehicles: Vec<i64> = of(Kind::Vehicle).map(|(subject, _)| subject.id).collect();
        let terminals: Vec<_> = of(Kind::Nox).map(|(subject, span)| (subject.id as i32, *span)).collect();
        let clones: Vec<_> = of(Kind::Clone).map(|(subject, span)| (subject.id, *span)).collect();
        let mut changes = Vec::new();
        if !vehicles.is_empty() {
            changes.extend(vehicle::evaluate(&transaction, prepared, &vehicles, &self.rules).await?);
        }
        if !terminals.is_empty() {
            changes.extend(nox::evaluate(&transaction, prepared, &terminals, &self.rules.settings).await?);
        }
        if !clones.is_empty() {
            let rule = cloned::Rule::of(&self.rules.settings.plates, self.rules.terminal.bounds().area);
            changes.extend(history::evaluate(&transaction, prepared, &clones, &rule).await?);
        }
        let events = reconcile::apply(&transaction, prepared, &changes).await?;
        transaction.commit().await?;
        self.count(&changes, claimed.len(), started.elapsed());
        if events > 0 {
            (self.on_events)();
        }
        Ok(Step { subjects: claimed.len(), tasks: seen.len(), events })
    }

    fn count(&self, changes: &[Change], subjects: usize, took: Duration) {
        for change in changes {
            match change {
                Change::Raise(finding) | Change::Restate { finding, .. } => {
                    self.meters.finding_made(&finding.rule, false);
                }
                Change::Revoke { finding, .. } => self.meters.finding_revoked(&finding.rule),
            }
        }
        if subjects > 0 {
            self.meters.evaluation_seconds.record(took.as_secs_f64() / subjects as f64);
        }
    }
}
