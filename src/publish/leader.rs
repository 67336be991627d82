//! The replica that holds the lock: gives positions, moves events to Kafka, notes how far it came.

use std::{sync::Arc, time::Duration};

use tokio::time::{MissedTickBehavior, interval};
use tokio_postgres::Statement;

use super::{
    floor::Floor,
    kafka::{Fault, TooLarge},
    link::{Link, LinkEvent},
    outbox::{self, BATCH_BYTES, BATCH_ROWS, Ends, Positioned, Progress},
    queue::Queue,
    refused,
    relay::Shared,
    session::{Session, SessionError},
    status::{KafkaLink, Role, Status},
};
use crate::{reading::Timestamp, telemetry::meters::ErrorClass};

/// How often waiting rows are looked for unasked. Commits of this process nudge and those of others notify, so this
/// only catches what a crash between commit and nudge left behind.
const POLL: Duration = Duration::from_millis(250);

/// A transaction of Kafka's takes some milliseconds; rows wait for one that is under way no longer than this.
const KAFKA_ANSWERS: Duration = Duration::from_millis(50);

/// How often the backlog is counted for status and metrics.
const SURVEY: Duration = Duration::from_secs(1);

/// Waiting rows counted at most: beyond it only the order of magnitude matters.
pub(super) const COUNTED: i64 = 100_000;

enum Wake {
    /// Rows may be waiting, or it is time to look.
    Look,
    Survey,
    Link(LinkEvent),
    Stop,
}

/// Leads until told to stop, and then until everything committed is out or Kafka cannot take it. Fails with the session:
/// from then on nothing more can be taken from the table, and the line to Kafka is dropped.
pub(super) async fn lead(shared: &Shared, session: &mut Session) -> Result<(), SessionError> {
    session.listen(outbox::WAITING).await?;
    let state = outbox::state(&session.client).await?;
    let step = session.client.prepare(outbox::STEP).await?;
    let mut leader = Leader {
        shared,
        link: Link::new(shared.kafka.clone()),
        queue: Queue::new(state.last),
        unsaved: Progress { sent: state.sent, ends: Ends::new() },
        step,
        floor: Floor::default(),
        under_way: 0,
        error: None,
        more: false,
    };
    tracing::info!(last_position = state.last, sent_position = state.sent, "this replica relays the events");
    let mut poll = interval(POLL);
    poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut survey = interval(SURVEY);
    survey.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut stopping = false;
    loop {
        let wake = tokio::select! {
            event = leader.link.event() => Wake::Link(event),
            () = shared.nudge.notified() => Wake::Look,
            heard = session.notified() => { heard?; Wake::Look }
            () = std::future::ready(()), if leader.more => Wake::Look,
            _ = poll.tick() => Wake::Look,
            _ = survey.tick() => Wake::Survey,
            () = shared.stop.cancelled(), if !stopping => Wake::Stop,
        };
        match wake {
            Wake::Look if leader.may_wait() => continue,
            Wake::Look => {}
            Wake::Stop => stopping = true,
            Wake::Survey => leader.survey(session).await?,
            Wake::Link(event) => leader.follow(session, event).await?,
        }
        leader.advance(session).await?;
        if stopping && leader.is_done() {
            return Ok(());
        }
    }
}

struct Leader<'a> {
    shared: &'a Shared,
    link: Link,
    queue: Queue,
    /// What Kafka has committed; the next [`Leader::step`] notes it.
    unsaved: Progress,
    step: Statement,
    floor: Floor,
    /// Position up to which everything is out, or passed over, once the batch under way is.
    under_way: i64,
    /// The last trouble with Kafka that is not over.
    error: Option<String>,
    /// The last step was full, so there may be more.
    more: bool,
}

impl Leader<'_> {
    /// One turn: hand over what is ready, note and position, fetch what is missing, hand over again.
    ///
    /// The statement runs while Kafka commits the batch before; its rows are next in order whatever becomes of that one.
    async fn advance(&mut self, session: &Session) -> Result<(), SessionError> {
        self.submit();
        let fresh = outbox::step(&session.client, &self.step, &self.unsaved, &mut self.floor).await?;
        let fresh: Vec<Arc<Positioned>> = fresh.into_iter().map(Arc::new).collect();
        self.unsaved.ends.clear();
        self.more = fresh.len() as i64 == BATCH_ROWS || bytes(&fresh) >= BATCH_BYTES;
        self.queue.offer(&fresh);
        self.shared.feed.send(&fresh);
        if self.shared.kafka.is_none() {
            self.count(&fresh);
        }
        // Also while a batch is under way, so that the next one is at hand when it is done.
        if self.link.is_open()
            && let Some(after) = self.queue.wants_after()
        {
            self.queue.fill(outbox::backlog(&session.client, after).await?);
        }
        self.submit();
        let shown = self.shared.status.borrow().clone();
        if (shown.last_position, shown.sent_position, shown.kafka)
            != (self.queue.last(), self.unsaved.sent, self.link.shown())
        {
            self.show(|_| ());
        }
        Ok(())
    }

    /// Whether rows may wait for their positions until Kafka has taken the batch under way: the step after it takes all that
    /// came meanwhile, so that there are not more steps, each a transaction of its own, than batches. Not with a backlog, and
    /// not for a Kafka that does not answer: HTTP and the streams of other replicas do not wait for it.
    fn may_wait(&self) -> bool {
        let soon = self.link.busy_for().is_some_and(|time| time < KAFKA_ANSWERS);
        soon && !self.more && !self.shared.feed.has_readers()
    }

    fn submit(&mut self) {
        if self.link.is_idle() {
            let batch = self.queue.take();
            self.under_way = batch.last().map_or(self.under_way, |event| event.position);
            self.link.submit(batch);
        }
    }

    async fn follow(&mut self, session: &Session, event: LinkEvent) -> Result<(), SessionError> {
        match event {
            LinkEvent::Due => self.link.open(outbox::state(&session.client).await?),
            LinkEvent::Opened(found) => self.opened(session, found).await?,
            LinkEvent::Sent(progress, batch, took) => {
                self.shared.meters.kafka_transaction_seconds.record(took.as_secs_f64());
                self.unsaved.merge(progress);
                // Further than the last record where the end of the batch was passed over.
                self.unsaved.sent = self.unsaved.sent.max(self.under_way);
                self.count(&batch);
                if self.error.take().is_some() {
                    tracing::info!("Kafka takes events again");
                }
            }
            LinkEvent::TooLarge(found, batch) => self.replace(session, &found, batch).await?,
            LinkEvent::Failed(fault, batch) => {
                self.queue.close();
                self.failed(session, fault, &batch).await?;
            }
        }
        Ok(())
    }

    /// Goes on after what Kafka holds. Two things must be in the database before anything is sent: a first note of the
    /// partitions' ends, and a counter that is not behind the positions in Kafka.
    async fn opened(&mut self, session: &Session, found: Progress) -> Result<(), SessionError> {
        let state = outbox::state(&session.client).await?;
        if found.sent > state.last {
            tracing::warn!(
                in_kafka = found.sent,
                in_database = state.last,
                "Kafka holds later events than the database, as after a restore: going on after those"
            );
        }
        if found.sent > state.sent || state.ends.is_empty() {
            outbox::catch_up(&session.client, &found).await?;
        }
        self.unsaved.sent = self.unsaved.sent.max(found.sent);
        self.queue.open(self.unsaved.sent);
        self.error = None;
        tracing::info!(sent_position = self.unsaved.sent, "connected to Kafka");
        self.show(|status| status.last_error = None);
        Ok(())
    }

    /// Puts stand-ins in the place of what does not fit, and hands the batch over again. A stand-in that does not fit either is
    /// passed over. Both stand in the database first, so that a crash sends the same.
    async fn replace(
        &mut self,
        session: &Session,
        found: &[TooLarge],
        batch: Vec<Arc<Positioned>>,
    ) -> Result<(), SessionError> {
        let mut instead = Vec::with_capacity(batch.len());
        for event in batch {
            let Some(TooLarge { bytes, limit, .. }) = found.iter().find(|large| large.position == event.position)
            else {
                instead.push(event);
                continue;
            };
            let why = match event.stand_in {
                false => format!("its record needs {bytes} bytes, the topic takes {limit}"),
                true => format!("even a stand-in needs {bytes} bytes, the topic takes {limit}"),
            };
            instead.extend(self.refuse(session, &event, &why).await?.map(Arc::new));
        }
        if instead.is_empty() {
            self.unsaved.sent = self.unsaved.sent.max(self.under_way);
        }
        self.link.submit(instead);
        Ok(())
    }

    /// Notes that the event does not go as it is; gives what goes in its place, if anything can.
    async fn refuse(
        &self,
        session: &Session,
        event: &Positioned,
        why: &str,
    ) -> Result<Option<Positioned>, SessionError> {
        self.shared.meters.kafka_error(ErrorClass::Poison);
        refused::refuse(&session.client, event.position, why, !event.stand_in).await?;
        let (position, id, topic) = (event.position, event.id, event.topic.name());
        if event.stand_in {
            tracing::error!(
                position, %id, topic, why,
                "Kafka takes neither an event nor its stand-in: readers of the topic do not hear of it. It is kept and served \
                 over HTTP; `dieselwatch events resend` sends it once the cause is mended"
            );
            return Ok(None);
        }
        tracing::warn!(
            position, %id, topic, why,
            "Kafka does not take an event in full: a stand-in goes out that says where to fetch it. It is kept; `dieselwatch \
             events resend` sends it once the cause is mended"
        );
        Ok(Some(event.stand_in(why)))
    }

    async fn failed(&mut self, session: &Session, fault: Fault, batch: &[Arc<Positioned>]) -> Result<(), SessionError> {
        if let Fault::Refused { position, code } = &fault {
            match batch {
                [event] => {
                    let instead = self.refuse(session, event, &format!("the broker refuses it: {code}")).await?;
                    if instead.is_none() {
                        // Everything before it is in Kafka, because it went alone.
                        self.unsaved.sent = self.unsaved.sent.max(*position);
                    }
                }
                // A broker judges a batch as a whole: the event it names need not be the one.
                _ => self.queue.be_careful_until(batch.last().map_or(*position, |event| event.position)),
            }
            return Ok(());
        }
        self.shared.meters.kafka_error(ErrorClass::Transient);
        let text = describe(&fault);
        // Once for each trouble, not for each attempt.
        if self.error.as_ref() != Some(&text) {
            tracing::warn!(error = %text, "events wait for Kafka; trying again");
        }
        self.show(|status| status.last_error = Some(text.clone()));
        self.error = Some(text);
        Ok(())
    }

    /// Counts events that are out now.
    fn count(&self, events: &[Arc<Positioned>]) {
        let now = Timestamp::now();
        for event in events {
            // The database's clock made `created_at`; two clocks may differ a little.
            let seconds = now.micros_since(event.created_at).max(0) as f64 / 1e6;
            self.shared.meters.event_publish_seconds.record(seconds);
            self.shared.meters.events_published(event.topic.name(), 1);
        }
    }

    /// Whether an orderly stop may end here: everything committed is out, or it is known that Kafka is away. A line that is
    /// just being opened is waited for.
    fn is_done(&self) -> bool {
        let quiet = !self.more && self.unsaved.ends.is_empty();
        match self.link.shown() {
            KafkaLink::NotConfigured | KafkaLink::Away => quiet,
            _ => quiet && self.link.is_idle() && self.queue.wants_after().is_none(),
        }
    }

    async fn survey(&mut self, session: &Session) -> Result<(), SessionError> {
        self.floor.survey(&session.client).await?;
        let unpositioned = outbox::waiting(&session.client, self.floor.lowest(), COUNTED).await?;
        let without_kafka = self.shared.kafka.is_none();
        let sent = if without_kafka { self.queue.last() } else { self.unsaved.sent };
        let oldest_unsent = outbox::oldest_unsent(&session.client, self.floor.lowest(), sent).await?;
        let not_in_full = refused::settle(&session.client, self.unsaved.sent, COUNTED).await?;
        self.show(|status| {
            status.not_in_full = not_in_full;
            status.unpositioned = unpositioned;
            status.oldest_unsent = oldest_unsent;
        });
        let levels = &self.shared.books.levels;
        levels.events_not_in_full.set(not_in_full.unsigned_abs());
        levels.outbox_unsent.set(self.shared.status.borrow().unsent().unsigned_abs());
        let age = oldest_unsent.map_or(0, |at| Timestamp::now().micros_since(at).max(0) / 1_000);
        levels.relay_lag_ms.set(age.unsigned_abs());
        Ok(())
    }

    fn show(&self, change: impl FnOnce(&mut Status)) {
        self.shared.status.send_modify(|status| {
            status.role = Role::Leader;
            status.kafka = self.link.shown();
            status.last_position = self.queue.last();
            status.sent_position = self.unsaved.sent;
            change(status);
        });
    }
}

fn bytes(events: &[Arc<Positioned>]) -> i64 {
    events.iter().map(|event| event.payload.len() as i64).sum()
}

/// The fault with its cause; librdkafka's texts name brokers at most.
fn describe(fault: &Fault) -> String {
    match std::error::Error::source(fault) {
        Some(cause) => format!("{fault}: {cause}"),
        None => fault.to_string(),
    }
}
