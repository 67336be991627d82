//! The loop that claims packets and settles them, one round at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use super::{
    check::{Outcome, Rules},
    pool::{Job, Pool},
    report::{self, Day, Whose},
    store::{self, Claimed, PacketKey},
};
use crate::{
    config,
    evaluate::reconcile::{self, Change},
    store::{
        connect::{Backoff, Connector},
        error::{Class, class_of, describe},
        prepared::Prepared,
    },
    telemetry::{Books, Meters},
};

/// Packets of a round: about a tenth of a second of one thread, so that a transaction stays short.
const ROUND: i64 = 256;

/// Looks for packets this often; nobody waits for a signature.
const POLL: Duration = Duration::from_millis(250);

/// How often the backlog is counted.
const LOOK: Duration = Duration::from_secs(1);

/// What the verifier shares with the rest of the process.
pub struct Verifier {
    connector: Connector,
    rules: Arc<Rules>,
    pool: Pool,
    meters: Arc<Meters>,
    books: Arc<Books>,
    on_events: Box<dyn Fn() + Send + Sync>,
}

impl Verifier {
    /// Starts the threads. `on_events` is called after a commit that wrote events.
    ///
    /// # Errors
    /// The system refuses a thread.
    pub fn start(
        connector: Connector,
        settings: &config::Signature,
        meters: &Arc<Meters>,
        books: &Arc<Books>,
        on_events: Box<dyn Fn() + Send + Sync>,
    ) -> anyhow::Result<Self> {
        let rules = Arc::new(Rules::new(settings.clone()));
        let pool = Pool::start(settings.threads, &rules).context("start the threads that verify signatures")?;
        Ok(Self { connector, rules, pool, meters: Arc::clone(meters), books: Arc::clone(books), on_events })
    }

    /// Works until cancelled; a round under way is finished or, by its transaction, undone.
    pub async fn run(self, cancel: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        while let Some(mut client) = self.connector.connect_patiently("signature", &cancel).await {
            match self.work(&mut client, &cancel, &mut backoff).await {
                Ok(()) => return,
                Err(error) => match class_of(&error) {
                    Class::Poison | Class::Operator | Class::Duplicate => {
                        tracing::error!(error = %describe(&error), "verifying signatures fails; the packets are kept and tried again");
                    }
                    Class::Again | Class::Away => {
                        tracing::warn!(error = %describe(&error), "verifying signatures was interrupted; trying again");
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
        let salt = store::salt(client).await?;
        let mut looked: Option<Instant> = None;
        while !cancel.is_cancelled() {
            if looked.is_none_or(|at| at.elapsed() >= LOOK) {
                let (packets, oldest_ms) = store::backlog(client).await?;
                self.books.levels.signature_backlog.set(packets.max(0) as u64);
                self.books.levels.signature_lag_ms.set(oldest_ms.max(0) as u64);
                looked = Some(Instant::now());
            }
            let taken = self.round(client, &salt).await?;
            backoff.reset();
            if taken == 0 && cancel.run_until_cancelled(tokio::time::sleep(POLL)).await.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Claims packets, verifies them, and commits what came of it; how many tasks were taken.
    async fn round(&self, client: &mut Client, salt: &[u8]) -> Result<usize, tokio_postgres::Error> {
        let transaction = client.transaction().await?;
        let (taken, claimed) = store::claim(&transaction, ROUND).await?;
        if taken == 0 {
            return Ok(0);
        }
        let devices: BTreeSet<i32> = claimed.iter().map(|claimed| claimed.key.device).collect();
        let filing: BTreeSet<i32> = claimed.iter().filter(|c| c.is_activation).map(|c| c.key.device).collect();
        store::lock(&transaction, &devices, &filing).await?;
        let days = days_of(&claimed);
        let again: BTreeSet<PacketKey> = claimed.iter().filter(|c| c.again).map(|c| c.key).collect();

        // Keys first: they may be those of packets in the same round.
        let (activations, packets): (Vec<_>, Vec<_>) = claimed.into_iter().partition(|claimed| claimed.is_activation);
        let jobs = activations.into_iter().map(|claimed| (claimed.key, job(claimed, None, true))).collect();
        let Some(activations) = self.verify(jobs).await else { return Ok(0) };
        let mut results: Vec<(PacketKey, Outcome)> = Vec::new();
        for (key, job, outcome) in activations {
            if let Some(filed) = self.rules.filed(&job.packet) {
                store::file(&transaction, &key, &filed, outcome).await?;
            }
            results.push((key, outcome));
        }
        let histories = store::histories(&transaction, &devices).await?;
        let mut jobs = Vec::with_capacity(packets.len());
        for claimed in packets {
            let (key, history) = (claimed.key, histories.get(&claimed.key.device));
            match self.rules.chooses(salt, key.digest) {
                true => jobs.push((key, job(claimed, history.and_then(|h| h.at(key.sent_at)).copied(), false))),
                false => results.push((key, Outcome::Skipped)),
            }
        }
        let Some(packets) = self.verify(jobs).await else { return Ok(0) };
        results.extend(packets.into_iter().map(|(key, _, outcome)| (key, outcome)));

        store::save(&transaction, &results).await?;
        let touched = results.iter().filter(|(key, outcome)| *outcome == Outcome::Failed || again.contains(key));
        let touched: BTreeSet<Day> = touched.map(|(key, _)| Day::of(key.device, key.sent_at)).collect();
        let days: BTreeMap<Day, Whose> = days.into_iter().filter(|(day, _)| touched.contains(day)).collect();
        let changes = report::days(&transaction, &days, &self.rules).await?;
        let events = reconcile::apply(&transaction, &mut Prepared::default(), &changes).await?;
        transaction.commit().await?;
        self.count(&results, &changes);
        if events > 0 {
            (self.on_events)();
        }
        Ok(taken)
    }

    /// `None` when the pool gave no answer; dropping the transaction puts everything back.
    async fn verify(&self, jobs: Vec<(PacketKey, Job)>) -> Option<Vec<(PacketKey, Job, Outcome)>> {
        let (keys, jobs): (Vec<PacketKey>, Vec<Job>) = jobs.into_iter().unzip();
        let verified = self.pool.verify(jobs).await;
        if verified.len() != keys.len() {
            tracing::error!("a thread that verifies signatures is gone; its packets stay in the queue");
            return None;
        }
        Some(keys.into_iter().zip(verified).map(|(key, (job, outcome))| (key, job, outcome)).collect())
    }

    fn count(&self, results: &[(PacketKey, Outcome)], changes: &[Change]) {
        for (_, outcome) in results {
            self.meters.signature_checked(outcome.name());
        }
        for change in changes {
            match change {
                Change::Raise(finding) | Change::Restate { finding, .. } => {
                    self.meters.finding_made(&finding.rule, false);
                }
                Change::Revoke { finding, .. } => self.meters.finding_revoked(&finding.rule),
            }
        }
    }
}

fn job(claimed: Claimed, key: Option<super::PublicKey>, filed: bool) -> Job {
    Job { packet: claimed.packet, key, filed }
}

fn days_of(claimed: &[Claimed]) -> BTreeMap<Day, Whose> {
    claimed
        .iter()
        .map(|each| {
            let whose = Whose { device: each.device.clone(), kind: each.packet.kind };
            (Day::of(each.key.device, each.key.sent_at), whose)
        })
        .collect()
}
