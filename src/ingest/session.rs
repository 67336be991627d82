//! One connection: a task that owns the client library's event loop and does nothing but poll it, take messages in and
//! obey orders.
//!
//! - Client calls from here are the `try_` ones only: the request queue is drained by polling, so waiting for room in
//!   it would wait for ourselves.
//! - The future of `poll` is raced against orders but never dropped while its connection is to go on: a request that
//!   was taken from the queue and not yet written would be lost with it.
//! - Every connection gets a new client and event loop; see the `gate` module for why.
//!
//! **When memory is full.** Reading and pinging are one call in the library, so there is no way to do one without the
//! other. While the budget has no room the task simply waits, which is back-pressure by TCP; settling gives room back
//! without any help from this task, so it cannot wait for itself. If there is still no room after a quarter of the
//! keep-alive, the connection pauses: it goes on polling, so that pings and acknowledgements go out, but refuses what
//! comes (no acknowledgement, bytes dropped at once). After at most `receive_maximum` refusals the broker sends nothing
//! more. When every receipt of the connection is decided and half of the budget is free, the session reconnects, and
//! the broker sends the refused messages again, in order. A receipt dropped unsettled takes the same road: only a new
//! connection brings its message again.

mod broker;
mod greeting;
mod intake;

use std::{sync::Arc, time::Duration};

use rumqttc::{
    Outgoing,
    v5::{
        AsyncClient, ConnectionError, Event, EventLoop, MqttOptions, StateError,
        mqttbytes::v5::{DisconnectReasonCode, Packet},
    },
};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::{
    Shared,
    backoff::Backoff,
    delivery::Delivery,
    line::{Activity, Line, Order},
    options::REQUEST_HEADROOM,
};
use crate::reading::Timestamp;

/// After our DISCONNECT the broker closes the connection; we wait this long for it, so that closing our side first
/// does not reset the connection under acknowledgements that are still on their way. A broker at its limit had seconds of them
/// unread, and sent 70 000 messages once more to the next session when it was given one second.
const GOODBYE: Duration = Duration::from_secs(5);

/// A session that is being retired counts as empty when nothing has come for this long.
const RETIRED_QUIET: Duration = Duration::from_secs(2);

/// How a session ended for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// As ordered.
    Left,
    /// The session is empty and out of the group; its slot can be given up.
    Retired,
}

/// Why we disconnect.
#[derive(Clone, Copy, Debug)]
enum Farewell {
    End(Ended),
    /// To connect again, and get what was refused or dropped; `at_once` if the budget was the reason.
    Again {
        at_once: bool,
    },
}

/// How one connection ended.
#[derive(Debug)]
enum Outcome {
    /// As we wanted.
    Farewell(Farewell),
    Failed(String),
    /// Another client came with our client id.
    TakenOver,
}

/// The task of one client-id slot.
pub(super) struct Session {
    shared: Arc<Shared>,
    line: Arc<Line>,
    options: MqttOptions,
    /// `None` once nothing more will be handed on.
    deliveries: Option<mpsc::Sender<Delivery>>,
    /// Whether this connection also reads the devices' states.
    with_states: bool,
    /// Whether this process has been connected with this slot before.
    known: bool,
}

/// What belongs to one connection only.
struct Conversation {
    client: AsyncClient,
    since: Instant,
    connected: bool,
    /// Taking messages in; refusing otherwise.
    reading: bool,
    /// Refusing until the ring has run empty or stuck, and then to connect again.
    paused: bool,
    /// Set with a DISCONNECT under way: how long it may take, and what it is for.
    goodbye: Option<(Instant, Farewell)>,
    latest_message: Instant,
    /// When orders and standing were last looked at.
    looked_at: Instant,
    /// Filters the broker has confirmed to be gone.
    unsubscribed: usize,
    /// The pause came from a dropped receipt, not from the budget.
    abandoned: bool,
    /// When the event loop last had the chance to ping.
    breath: Instant,
    /// How often it must have it.
    keep_alive: Duration,
}

impl Session {
    pub fn new(
        shared: Arc<Shared>,
        line: Arc<Line>,
        deliveries: Option<mpsc::Sender<Delivery>>,
        with_states: bool,
    ) -> Self {
        let mut options = shared.options.clone();
        options.set_client_id(line.status().client_id);
        Self { shared, line, options, deliveries, with_states, known: false }
    }

    pub async fn run(mut self) -> Ended {
        let mqtt = &self.shared.config;
        let (min, max) = (Duration::from_millis(mqtt.backoff_min_ms), Duration::from_millis(mqtt.backoff_max_ms));
        let mut backoff = Backoff::new(min, max);
        loop {
            if self.line.order() >= Order::Drain {
                return self.end(Ended::Left);
            }
            self.line.show(|status| status.activity = Activity::Connecting);
            let started = Instant::now();
            let outcome = self.converse().await;
            self.line.gate.close();
            let epoch = self.line.gate.epoch();
            self.line.show(|status| {
                if std::mem::take(&mut status.connected) {
                    status.since = Timestamp::now();
                }
                status.epoch = epoch;
                status.activity = Activity::Waiting;
            });
            backoff.lasted(started.elapsed());
            let slot = self.line.slot;
            match outcome {
                Outcome::Farewell(Farewell::End(ended)) => return self.end(ended),
                Outcome::Farewell(Farewell::Again { at_once: true }) => {
                    tracing::info!(slot, "mqtt connection is made anew, there is room for the messages it refused");
                    self.until(self.shared.budget.half_free()).await;
                    continue;
                }
                Outcome::Farewell(Farewell::Again { at_once: false }) => {
                    tracing::warn!(slot, "mqtt connection is made anew, messages were given up unsettled");
                }
                Outcome::Failed(why) => {
                    tracing::warn!(slot, error = %why, "mqtt connection is down, trying again");
                    self.line.show(|status| status.last_error = Some(why));
                }
                Outcome::TakenOver => {
                    tracing::error!(slot, "another client uses our mqtt client id");
                    self.line.show(|status| status.last_error = Some("client id used by another client".into()));
                    backoff.lengthen();
                }
            }
            self.until(tokio::time::sleep(backoff.next_wait())).await;
        }
    }

    fn end(&mut self, ended: Ended) -> Ended {
        self.line.show(|status| status.activity = Activity::Ended);
        ended
    }

    /// Waits for `what` unless ordered to stop.
    async fn until(&self, what: impl Future<Output = ()>) {
        let stopped = async {
            while self.line.order() < Order::Drain {
                self.line.gate.called().await;
            }
        };
        tokio::select! { () = what => {} () = stopped => {} }
    }

    /// One connection from the attempt to its end.
    async fn converse(&mut self) -> Outcome {
        let capacity = usize::from(self.shared.config.receive_maximum) + REQUEST_HEADROOM;
        let (client, mut events) = AsyncClient::new(self.options.clone(), capacity);
        let now = Instant::now();
        let mut talk = Conversation {
            client,
            since: now,
            connected: false,
            reading: false,
            paused: false,
            goodbye: None,
            latest_message: now,
            looked_at: now,
            unsubscribed: 0,
            abandoned: false,
            breath: now,
            keep_alive: self.options.keep_alive(),
        };
        loop {
            match self.next_event(&mut events, &mut talk).await {
                Ok(event) => {
                    talk.breath = Instant::now();
                    let received_at = Timestamp::now();
                    let mut next = Some(event);
                    // The library reads up to ten packets at once and gives out one a call; the rest are taken here.
                    while let Some(event) = next {
                        if let Some(outcome) = self.handle(event, &mut talk, received_at).await {
                            return outcome;
                        }
                        next = events.state.events.pop_front();
                    }
                }
                Err(outcome) => return outcome,
            }
        }
    }

    /// The next event of the connection, minding orders meanwhile. An error ends the connection.
    async fn next_event(&mut self, events: &mut EventLoop, talk: &mut Conversation) -> Result<Event, Outcome> {
        let poll = events.poll();
        tokio::pin!(poll);
        if self.line.gate.take_call()
            && let Some(outcome) = self.obey(talk)
        {
            return Err(outcome);
        }
        loop {
            let wake_at = self.wake_at(talk);
            tokio::select! {
                biased;
                event = &mut poll => return event.map_err(|error| match talk.goodbye {
                    Some((_, farewell)) => Outcome::Farewell(farewell),
                    None => outcome_of(&error),
                }),
                () = self.line.gate.called() => {}
                () = sleep_until(wake_at.unwrap_or(talk.since)), if wake_at.is_some() => {}
            }
            // Returning drops the poll, and with it the connection: both are over.
            if let Some(outcome) = self.obey(talk) {
                return Err(outcome);
            }
        }
    }

    /// When to look again although nothing happens.
    fn wake_at(&self, talk: &Conversation) -> Option<Instant> {
        match talk.goodbye {
            Some((until, _)) => Some(until),
            None if self.line.order() == Order::Retire && talk.reading => {
                Some(talk.latest_message.max(talk.looked_at) + RETIRED_QUIET)
            }
            None => None,
        }
    }

    /// Acts on orders and on the standing of the ring; `Some` ends the connection.
    fn obey(&mut self, talk: &mut Conversation) -> Option<Outcome> {
        if let Some((until, farewell)) = talk.goodbye {
            return (Instant::now() >= until).then_some(Outcome::Farewell(farewell));
        }
        let order = self.line.order();
        if order >= Order::Drain {
            self.stop_taking(talk, Activity::Draining);
            // The inbox closes when the last connection lets go of it.
            self.deliveries = None;
        }
        let standing = self.line.gate.standing();
        talk.looked_at = Instant::now();
        match order {
            Order::Quit | Order::Leave if !talk.connected => Some(Outcome::Farewell(Farewell::End(Ended::Left))),
            Order::Quit => self.say_goodbye(talk, Farewell::End(Ended::Left)),
            Order::Leave if standing.open == 0 => self.say_goodbye(talk, Farewell::End(Ended::Left)),
            Order::Leave | Order::Drain => None,
            Order::Retire | Order::Read => {
                if standing.abandoned {
                    talk.abandoned = true;
                    self.stop_taking(talk, Activity::Paused);
                }
                if talk.paused && (standing.stuck || standing.empty) {
                    return self.say_goodbye(talk, Farewell::Again { at_once: !talk.abandoned });
                }
                // Every source's filter and that of the states.
                let left = talk.unsubscribed > self.shared.sources.len();
                let quiet = left && talk.latest_message.elapsed() >= RETIRED_QUIET;
                if order == Order::Retire && talk.reading && quiet && standing.empty {
                    return self.say_goodbye(talk, Farewell::End(Ended::Retired));
                }
                None
            }
        }
    }

    fn stop_taking(&self, talk: &mut Conversation, activity: Activity) {
        if talk.reading {
            talk.reading = false;
            talk.paused = activity == Activity::Paused;
            self.line.show(|status| status.activity = activity);
            self.line.gate.watch();
        }
    }

    /// Queues a DISCONNECT behind all acknowledgements; the session stays with the broker.
    fn say_goodbye(&self, talk: &mut Conversation, farewell: Farewell) -> Option<Outcome> {
        if talk.client.try_disconnect().is_err() {
            return Some(Outcome::Farewell(farewell));
        }
        talk.reading = false;
        talk.goodbye = Some((Instant::now() + GOODBYE, farewell));
        None
    }

    async fn handle(&mut self, event: Event, talk: &mut Conversation, received_at: Timestamp) -> Option<Outcome> {
        match event {
            Event::Incoming(Packet::Publish(publish)) => {
                talk.latest_message = Instant::now();
                if let Some((_, farewell @ Farewell::End(Ended::Retired))) = &mut talk.goodbye {
                    // The session was not empty after all.
                    *farewell = Farewell::Again { at_once: true };
                }
                self.take(publish, talk, received_at).await;
                None
            }
            Event::Incoming(Packet::ConnAck(ack)) => self.connected(&ack, talk),
            Event::Incoming(Packet::SubAck(ack)) => self.subscribed(&ack, talk),
            Event::Incoming(Packet::UnsubAck(_)) => {
                talk.unsubscribed += 1;
                None
            }
            Event::Outgoing(Outgoing::PubAck(_)) => {
                self.line.gate.on_ack_written();
                None
            }
            _ => None,
        }
    }
}

fn outcome_of(error: &ConnectionError) -> Outcome {
    match error {
        ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code: DisconnectReasonCode::SessionTakenOver,
            ..
        }) => Outcome::TakenOver,
        // Its text would hold the packet.
        ConnectionError::NotConnAck(_) => Outcome::Failed("the broker did not answer with CONNACK".into()),
        error => Outcome::Failed(error.to_string()),
    }
}
