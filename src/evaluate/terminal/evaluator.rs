//! The loop that looks at windows again, and why no reading is missed.
//!
//! The transaction that stores a reading leaves a task for its window, unconditionally and in the same commit. The
//! evaluator locks a bucket of devices, deletes their tasks in one statement, and reads the rows in later ones. A task that
//! a statement sees belongs to a transaction that has committed, so the later statements see its readings: the first case
//! of the proof in [`crate::evaluate::tasks`], and no ripening is needed. The lock is taken before the tasks and kept
//! until the commit, so no two evaluators work on one device, and the one that comes later sees all that the other saw.
//!
//! A task is due when its window is over, so a terminal that sends a packet every ten seconds is looked at once a window
//! and each row is read once; what comes late is due at once. A task for a passage is due when the terminal may resend no
//! more. Due tasks wait `evaluation.delay_seconds` for company: once one of a bucket has waited that long, all of the
//! bucket are taken.
//!
//! Buckets, because what is due is found by time alone: an index of tasks by device would cost every packet more than all
//! that is done here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_postgres::{Client, Transaction};
use tokio_util::sync::CancellationToken;

use super::{
    DAY_SECONDS, WINDOW_SECONDS,
    day::{self, Fleet, Known},
    day_of,
    facts::Parts,
    load,
    store::{self, Brought},
};
use crate::{
    config::SourceKind,
    evaluate::{
        reconcile::{self, Change, Desired},
        tasks::{Kind, Subject, lock_key},
    },
    finding,
    judge::{RuleBook, terminal::TerminalKind, terminal_table::AlarmRule},
    reading::{DeviceId, PlateKey, Timestamp},
    store::{
        connect::{Backoff, Connector},
        error::{class_of, describe},
        prepared::Prepared,
    },
    telemetry::Meters,
    vehicle::{
        devices::{Binding, kind_of},
        facts::{EmissionStage, Vehicle},
        knowledge::{Knowledge, KnowledgeHandle},
    },
};

/// Between looks for tasks that are due.
const POLL: Duration = Duration::from_secs(1);

/// Devices are taken by their number modulo this: few enough for a transaction of about a second in a large fleet, and
/// each bucket walks over all that is due.
const BUCKETS: i32 = 128;

pub struct TerminalEvaluator {
    pub connector: Connector,
    pub rules: Arc<RuleBook>,
    pub knowledge: KnowledgeHandle,
    pub meters: Arc<Meters>,
    /// Called after a commit that wrote events.
    pub on_events: Box<dyn Fn() + Send + Sync>,
}

/// A terminal as the database numbers it.
struct Device {
    id: i32,
    name: DeviceId,
    kind: SourceKind,
}

impl Device {
    fn terminal_kind(&self) -> TerminalKind {
        match self.kind {
            SourceKind::Nonroad => TerminalKind::Machine,
            _ => TerminalKind::Vehicle,
        }
    }

    fn subject(&self) -> finding::Subject {
        match self.terminal_kind() {
            TerminalKind::Machine => finding::Subject::Machine(self.name.clone()),
            TerminalKind::Vehicle => finding::Subject::Terminal(self.name.clone()),
        }
    }

    /// The vehicle it is fixed to: plate and facts, as far as the register has them.
    fn vehicle(&self, knowledge: &Knowledge) -> (Option<PlateKey>, Option<Vehicle>) {
        match knowledge.devices.binding(self.kind, self.name.as_str()) {
            Some(Binding::Plate(key)) => (Some(key), knowledge.registry.find(key)),
            Some(Binding::Vin(vin)) => knowledge.registry.find_vin(&vin).unzip(),
            None => (None, None),
        }
    }
}

impl TerminalEvaluator {
    /// Works until cancelled; a step under way is finished or, by its transaction, undone.
    pub async fn run(self, cancel: CancellationToken) {
        let mut backoff = Backoff::new(Duration::from_millis(50), Duration::from_secs(5));
        while let Some(mut client) = self.connector.connect_patiently("terminal evaluator", &cancel).await {
            match self.work(&mut client, &cancel, &mut backoff).await {
                Ok(()) => return,
                Err(error) => {
                    let (class, error) = (class_of(&error), describe(&error));
                    tracing::warn!(?class, error, "an evaluation of terminals was interrupted; its tasks are kept");
                }
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
            let evaluated = self.round(client, &mut prepared).await?;
            backoff.reset();
            if evaluated == 0 && cancel.run_until_cancelled(tokio::time::sleep(POLL)).await.is_none() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One transaction for each bucket that is due; returns how many devices were evaluated.
    async fn round(&self, client: &mut Client, prepared: &mut Prepared) -> Result<usize, tokio_postgres::Error> {
        let delay = self.rules.terminal.numbers.evaluation.delay_seconds;
        let due = client
            .query(
                "SELECT DISTINCT device % $1 FROM terminal_task WHERE due_at <= now() - $2 * INTERVAL '1 second'",
                &[&BUCKETS, &delay],
            )
            .await?;
        let mut evaluated = 0;
        for row in &due {
            evaluated += self.step(client, prepared, row.get(0)).await?;
        }
        Ok(evaluated)
    }

    async fn step(
        &self,
        client: &mut Client,
        prepared: &mut Prepared,
        bucket: i32,
    ) -> Result<usize, tokio_postgres::Error> {
        let started = Instant::now();
        let transaction = client.transaction().await?;
        let claimed = claim(&transaction, prepared, bucket).await?;
        let Some(as_of) = claimed.as_of else { return Ok(0) };
        let mut changes = Vec::new();
        for (device, windows) in &claimed.windows {
            let Some(device) = device_of(&transaction, prepared, *device).await? else { continue };
            let each = Evaluation { rules: &self.rules, knowledge: &self.knowledge.load(), device: &device, as_of };
            changes.extend(each.evaluate(&transaction, prepared, windows).await?);
        }
        let events = reconcile::apply(&transaction, prepared, &changes).await?;
        transaction.commit().await?;
        for change in &changes {
            match change {
                Change::Raise(finding) | Change::Restate { finding, .. } => {
                    self.meters.finding_made(&finding.rule, false);
                }
                Change::Revoke { finding, .. } => self.meters.finding_revoked(&finding.rule),
            }
        }
        let devices = claimed.windows.len();
        if devices > 0 {
            self.meters.evaluation_seconds.record(started.elapsed().as_secs_f64() / devices as f64);
        }
        if events > 0 {
            (self.on_events)();
        }
        Ok(devices)
    }
}

/// Windows to look at again, by device, and the time by the database's clock.
#[derive(Default)]
struct Claimed {
    windows: BTreeMap<i32, BTreeMap<Timestamp, Brought>>,
    as_of: Option<Timestamp>,
}

async fn claim(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    bucket: i32,
) -> Result<Claimed, tokio_postgres::Error> {
    let key = lock_key(Subject { kind: Kind::Terminal, id: i64::from(bucket) });
    let locked = prepared.query(transaction, "SELECT pg_try_advisory_xact_lock($1)", &[&key]).await?;
    if !locked.first().is_some_and(|row| row.get(0)) {
        return Ok(Claimed::default());
    }
    let tasks = prepared
        .query(
            transaction,
            "DELETE FROM terminal_task WHERE due_at <= now() AND device % $1 = $2 \
             RETURNING device, at, sent_in, instant, now()",
            &[&BUCKETS, &bucket],
        )
        .await?;
    let mut claimed = Claimed::default();
    for row in &tasks {
        let at: Timestamp = row.get(1);
        let brought = claimed.windows.entry(row.get(0)).or_default().entry(at).or_default();
        brought.sent_in.extend(row.get::<_, Option<Timestamp>>(2));
        brought.instants.extend(row.get::<_, Option<Timestamp>>(3));
        claimed.as_of = Some(row.get(4));
    }
    Ok(claimed)
}

async fn device_of(
    transaction: &Transaction<'_>,
    prepared: &mut Prepared,
    id: i32,
) -> Result<Option<Device>, tokio_postgres::Error> {
    let rows = prepared.query(transaction, "SELECT device_id, kind FROM devices WHERE id = $1", &[&id]).await?;
    let device = |row: &tokio_postgres::Row| {
        Some(Device { id, name: DeviceId::parse(row.get(0)).ok()?, kind: kind_of(row.get(1))? })
    };
    Ok(rows.first().and_then(device))
}

/// Whether a vehicle is, by a register that does not contradict itself, a diesel of this stage or a later one.
fn must_have(vehicle: &Vehicle, from_stage: f64) -> bool {
    let stage = |stage| matches!(stage, EmissionStage::National(stage) if f64::from(stage) >= from_stage);
    !vehicle.contradictory && vehicle.is_diesel() == Some(true) && vehicle.stage.is_some_and(stage)
}

/// One device with everything that its evaluation goes by.
struct Evaluation<'a> {
    rules: &'a RuleBook,
    knowledge: &'a Knowledge,
    device: &'a Device,
    as_of: Timestamp,
}

impl Evaluation<'_> {
    /// Condenses the windows again and reconciles the alarms of every day that they bear on.
    async fn evaluate(
        &self,
        transaction: &Transaction<'_>,
        prepared: &mut Prepared,
        windows: &BTreeMap<Timestamp, Brought>,
    ) -> Result<Vec<Change>, tokio_postgres::Error> {
        let mut days = BTreeSet::new();
        let around = (self.rules.terminal.numbers.silence.around_minutes * 60.0) as i64;
        for (&window, brought) in windows {
            let of = (window, brought);
            store::condense(transaction, prepared, self.device.id, of, &self.rules.terminal).await?;
            // Its own day; that of a passage it may break the silence of; and the next, whose first record follows it.
            days.extend([window, window.plus_seconds(-around), window.plus_seconds(DAY_SECONDS)].map(day_of));
            days.insert(day_of(window.plus_seconds(around + WINDOW_SECONDS)));
        }
        let mut changes = Vec::new();
        for day in days {
            changes.extend(self.day(transaction, prepared, day).await?);
        }
        Ok(changes)
    }

    async fn day(
        &self,
        transaction: &Transaction<'_>,
        prepared: &mut Prepared,
        start: Timestamp,
    ) -> Result<Vec<Change>, tokio_postgres::Error> {
        let (table, device) = (&self.rules.terminal, self.device);
        let (yesterday, end) = (start.plus_seconds(-DAY_SECONDS), start.plus_seconds(DAY_SECONDS));
        let span = (yesterday, end.plus_seconds(DAY_SECONDS));
        let all = store::windows(transaction, prepared, device.id, span, table).await?;
        let (before, rest) = all.split_at(all.partition_point(|(at, _)| *at < start));
        let (windows, after) = rest.split_at(rest.partition_point(|(at, _)| *at < end));
        let (plate, vehicle) = device.vehicle(self.knowledge);
        let settle_hours = table.numbers.silence.settle_hours;
        let resends_end = end.plus_seconds((settle_hours * 3600.0) as i64);
        let resent = match windows.is_empty() {
            true => BTreeSet::new(),
            false => store::resent(transaction, prepared, device.id, (start, resends_end)).await?,
        };
        let passages = match load::expected_from(transaction, prepared, device.id).await?.zip(plate) {
            Some((expected, plate)) if expected < end => {
                let sure = self.rules.settings.plate_confidence_min;
                let span = (start.max(expected), end);
                load::passages(transaction, prepared, plate.as_i64(), span, sure).await?
            }
            _ => Vec::new(),
        };
        let numbers = &table.numbers.parts;
        // A contradictory register vouches for nothing.
        let from_stage = |stage: f64| vehicle.is_some_and(|vehicle| must_have(&vehicle, stage));
        let retrofitted = vehicle.is_some_and(|vehicle| vehicle.retrofit) || device.kind == SourceKind::Retrofit;
        let fitted = Parts {
            filter: retrofitted || from_stage(numbers.filter_from_stage),
            reagent: from_stage(numbers.reagent_from_stage),
        };
        let fleet = Fleet {
            fitted,
            reference_torque_nm: vehicle.and_then(|vehicle| vehicle.reference_torque_nm),
            stage: vehicle.and_then(|vehicle| vehicle.stage).and_then(|stage| match stage {
                EmissionStage::National(stage) => Some(stage),
                EmissionStage::ZeroEmission => None,
            }),
            contradictory: vehicle.is_some_and(|vehicle| vehicle.contradictory),
        };
        let known = Known { before, windows, after, fleet, passages: &passages, resent: &resent, as_of: self.as_of };
        let day = day::day(&known, table);
        store::keep_day(transaction, prepared, device.id, start, &day).await?;
        let last = Timestamp::from_micros(end.micros() - 1);
        self.reconcile(transaction, prepared, (start, last), &day).await
    }

    async fn reconcile(
        &self,
        transaction: &Transaction<'_>,
        prepared: &mut Prepared,
        span: (Timestamp, Timestamp),
        day: &day::Day,
    ) -> Result<Vec<Change>, tokio_postgres::Error> {
        let (table, device) = (&self.rules.terminal, self.device);
        let rules = AlarmRule::ALL.map(AlarmRule::name);
        let existing = reconcile::existing_in(transaction, prepared, &device.subject(), &rules, span).await?;
        if existing.is_empty() && day.alarms.is_empty() {
            return Ok(Vec::new());
        }
        let made = |alarm: &day::Alarm| day::finding(&device.name, device.terminal_kind(), alarm, table);
        let made: Vec<_> = day.alarms.iter().map(made).collect();
        let behind: BTreeMap<_, _> = made.iter().zip(&day.alarms).map(|(f, alarm)| (f.id, &alarm.behind)).collect();
        let kept: BTreeMap<_, _> = existing.iter().map(|old| (old.finding.id, old.readings.clone())).collect();
        let desired = Desired { made, maker_of: rules.to_vec(), ..Desired::default() };
        let mut changes = reconcile::compare(desired, existing);
        for finding in changes.iter_mut().filter_map(Change::finding_in_force) {
            let Some(behind) = behind.get(&finding.id) else { continue };
            let kept = kept.get(&finding.id).map(Vec::as_slice).unwrap_or_default();
            let of = (device.id, &device.name);
            finding.evidence = load::evidence(transaction, prepared, of, behind, kept).await?;
        }
        Ok(changes)
    }
}
