//! Starts and ends connections as slots come and go.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    task::{AbortHandle, Id, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    Shared,
    delivery::Delivery,
    gate::Gate,
    line::{Line, Order},
    session::{Ended, Session},
    slots::{Change, Granted, Leases, Slots},
};

/// How often books and states are copied to the metrics.
const METRICS_EVERY: Duration = Duration::from_secs(1);

/// A connection whose slot is lost has this long to disconnect by itself.
const QUIT_WITHIN: Duration = Duration::from_secs(2);

/// The task of one connection.
struct Running {
    slot: u16,
    task: AbortHandle,
    /// It reads what devices say of themselves.
    with_states: bool,
}

pub(super) struct Supervisor {
    shared: Arc<Shared>,
    leases: Option<Leases>,
    /// Slots to start with, where they are not leased.
    fixed: Vec<u16>,
    /// `None` once nothing new is read.
    deliveries: Option<mpsc::Sender<Delivery>>,
    stop_reading: CancellationToken,
    finish: CancellationToken,
    /// Dropped with the supervisor, which ends all connections.
    tasks: JoinSet<Ended>,
    running: HashMap<Id, Running>,
}

/// What happened next.
enum Event {
    Show,
    TimeToRenew,
    StopReading,
    Finish,
    SessionEnded(Id, Option<Ended>),
}

impl Supervisor {
    pub fn new(
        shared: Arc<Shared>,
        slots: Slots,
        deliveries: mpsc::Sender<Delivery>,
        stop_reading: CancellationToken,
        finish: CancellationToken,
    ) -> Self {
        let (leases, fixed) = match slots {
            Slots::Fixed(slots) => (None, slots),
            Slots::Leased(args) => {
                let wanted = usize::from(shared.config.connections);
                (Some(Leases::new(args, shared.config.client_id_prefix.clone(), wanted)), Vec::new())
            }
        };
        Self {
            shared,
            leases,
            fixed,
            deliveries: Some(deliveries),
            stop_reading,
            finish,
            tasks: JoinSet::new(),
            running: HashMap::new(),
        }
    }

    pub async fn run(mut self) {
        let own = std::mem::take(&mut self.fixed);
        self.grant(Granted { own, orphans: Vec::new() });
        let mut show = interval(METRICS_EVERY);
        show.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut renew_at = Instant::now();
        loop {
            let event = tokio::select! {
                biased;
                () = self.finish.cancelled() => Event::Finish,
                () = self.stop_reading.cancelled(), if self.deliveries.is_some() => Event::StopReading,
                Some(ended) = self.tasks.join_next_with_id() => match ended {
                    Ok((id, ended)) => Event::SessionEnded(id, Some(ended)),
                    Err(error) => Event::SessionEnded(error.id(), None),
                },
                () = sleep_until(renew_at), if self.leases.is_some() => Event::TimeToRenew,
                _ = show.tick() => Event::Show,
            };
            match event {
                Event::Show => self.shared.show_metrics(),
                Event::StopReading => self.deliveries = None,
                Event::TimeToRenew => renew_at = self.renew().await,
                Event::SessionEnded(id, ended) => self.session_ended(id, ended).await,
                Event::Finish => return self.leave().await,
            }
        }
    }

    /// Looks at the leases; returns when to do so next. Given up half-way when the service stops.
    async fn renew(&mut self) -> Instant {
        let Some(leases) = &mut self.leases else { return Instant::now() };
        let next = Instant::now() + leases.interval();
        let acquire = self.deliveries.is_some();
        let change = tokio::select! {
            biased;
            () = self.finish.cancelled() => return next,
            change = leases.tick(acquire) => change,
        };
        match change {
            Ok(change) => self.apply(change).await,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                let cause = error.source().map(ToString::to_string);
                tracing::warn!(%error, cause, "mqtt client-id slots cannot be leased or renewed, trying again");
            }
        }
        next
    }

    async fn apply(&mut self, change: Change) {
        for slot in change.lost {
            tracing::warn!(slot, "mqtt client-id slot was taken over by another replica");
            let line = self.shared.lines().remove(&slot);
            if let Some(line) = line {
                line.give(Order::Quit);
                self.await_end(slot).await;
                line.gate.close();
            }
        }
        self.grant(change.granted);
    }

    /// Waits a moment for the connection of a slot to end, then cuts it off.
    async fn await_end(&mut self, slot: u16) {
        let mut until = Instant::now() + QUIT_WITHIN;
        while let Some(task) = self.task_of(slot) {
            match tokio::time::timeout_at(until, self.tasks.join_next_with_id()).await {
                Ok(Some(Ok((id, ended)))) => self.session_ended(id, Some(ended)).await,
                Ok(Some(Err(error))) => self.session_ended(error.id(), None).await,
                Ok(None) => return,
                Err(_) => {
                    task.abort();
                    until = Instant::now() + QUIT_WITHIN;
                }
            }
        }
    }

    fn task_of(&self, slot: u16) -> Option<AbortHandle> {
        self.running.values().find(|running| running.slot == slot).map(|running| running.task.clone())
    }

    fn grant(&mut self, granted: Granted) {
        for slot in granted.own {
            self.begin(slot, Order::Read);
        }
        for slot in granted.orphans {
            tracing::info!(slot, "mqtt session of a replica that is gone will be emptied");
            self.begin(slot, Order::Retire);
        }
    }

    fn begin(&mut self, slot: u16, order: Order) {
        let shared = &self.shared;
        let gate = {
            let new = || Gate::new(shared.sources.len(), shared.budget.clone());
            Arc::clone(shared.gates().entry(slot).or_insert_with(new))
        };
        let client_id = format!("{}-{slot}", shared.config.client_id_prefix);
        let line = Line::new(slot, client_id, gate, order);
        // One connection reads the devices' states for the whole process; the next one to begin after it has ended goes on.
        let with_states = order == Order::Read && !self.running.values().any(|running| running.with_states);
        shared.lines().insert(slot, Arc::clone(&line));
        if self.stop_reading.is_cancelled() {
            line.give(Order::Drain);
        }
        let session = Session::new(Arc::clone(shared), line, self.deliveries.clone(), with_states);
        let task = self.tasks.spawn(session.run());
        self.running.insert(task.id(), Running { slot, task, with_states });
    }

    async fn session_ended(&mut self, id: Id, ended: Option<Ended>) {
        let Some(Running { slot, .. }) = self.running.remove(&id) else { return };
        match ended {
            Some(Ended::Left) => {}
            Some(Ended::Retired) => {
                self.shared.lines().remove(&slot);
                tracing::info!(slot, "mqtt session of a replica that is gone is empty");
                if let Some(leases) = &mut self.leases
                    && let Err(error) = leases.retire(slot).await
                {
                    // It runs out and is emptied once more.
                    tracing::warn!(slot, %error, "mqtt client-id slot cannot be given up now");
                }
            }
            None => {
                // Without a line it was cut off on purpose.
                let line = self.shared.lines().remove(&slot);
                if let Some(line) = line {
                    tracing::error!(slot, "mqtt connection task failed, starting it again");
                    line.gate.close();
                    self.begin(slot, line.order());
                }
            }
        }
    }

    /// The end: connections have their orders; when all have left, the slots are free for the next.
    async fn leave(mut self) {
        self.deliveries = None;
        let lines: Vec<_> = self.shared.lines().values().cloned().collect();
        for line in lines {
            line.give(Order::Leave);
        }
        while self.tasks.join_next().await.is_some() {}
        if let Some(leases) = &mut self.leases
            && let Err(error) = leases.release().await
        {
            tracing::warn!(%error, "mqtt client-id slots cannot be released, their leases will run out");
        }
    }
}
