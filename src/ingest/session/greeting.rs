//! The beginning of a connection: what CONNACK and SUBACK say.

use rumqttc::v5::mqttbytes::{
    QoS,
    v5::{ConnAck, SubAck, SubscribeReasonCode},
};
use tokio::time::Instant;

use super::{Conversation, Ended, Farewell, Outcome, Session, broker};
use crate::{
    ingest::{
        line::{Activity, Order},
        options::{filters, source_filters},
        topic::STATUS_FILTER,
    },
    reading::Timestamp,
};

impl Session {
    pub(super) fn connected(&mut self, ack: &ConnAck, talk: &mut Conversation) -> Option<Outcome> {
        let slot = self.line.slot;
        let said = ack.properties.as_ref();
        let lacks = match said.map_or(Ok(Vec::new()), |said| broker::judge(said, &self.shared.config)) {
            Ok(lacks) => lacks,
            Err(why) => return Some(Outcome::Failed(why)),
        };
        for lack in lacks.iter().filter(|lack| !self.line.status().lacks.contains(lack)) {
            tracing::warn!(slot, "{lack}");
        }
        talk.keep_alive = broker::keep_alive(said, self.options.keep_alive());
        let again = std::mem::replace(&mut self.known, true);
        let lost = again && !ack.session_present;
        if lost {
            self.shared.meter.session_lost();
            tracing::error!(slot, "the broker no longer had our mqtt session, messages may be gone");
        }
        if again {
            self.shared.meter.reconnected();
        }
        let retiring = self.line.order() == Order::Retire;
        if retiring && !ack.session_present {
            // There was nothing to empty.
            return self.say_goodbye(talk, Farewell::End(Ended::Retired));
        }
        self.line.gate.open(talk.client.clone());
        talk.connected = true;
        talk.reading = self.line.order() < Order::Drain;
        talk.latest_message = Instant::now();
        tracing::info!(slot, session_present = ack.session_present, retiring, "mqtt connection is up");
        self.line.show(|status| {
            status.connected = true;
            status.lacks = lacks;
            status.since = Timestamp::now();
            status.activity = if retiring { Activity::Retiring } else { Activity::Subscribing };
            status.reconnects += u64::from(again);
            status.sessions_lost += u64::from(lost);
        });
        let config = &self.shared.config;
        // The queue of a new client is empty and holds far more than these.
        let queued = if retiring {
            let mut paths = source_filters(&config.group, &self.shared.sources).chain([STATUS_FILTER.to_owned()]);
            paths.all(|path| talk.client.try_unsubscribe(path).is_ok())
        } else {
            // The session may still read the states for a predecessor that had this slot first.
            let tidy = self.with_states || talk.client.try_unsubscribe(STATUS_FILTER).is_ok();
            let wanted = filters(&config.group, &self.shared.sources, self.with_states);
            tidy && talk.client.try_subscribe_many(wanted).is_ok()
        };
        (!queued).then(|| Outcome::Failed("the subscriptions cannot be queued".into()))
    }

    /// A refused subscription would be a connection that looks well and brings nothing, so it ends and is tried again.
    pub(super) fn subscribed(&self, ack: &SubAck, talk: &Conversation) -> Option<Outcome> {
        for (source, code) in self.shared.sources.iter().zip(&ack.return_codes) {
            if !matches!(code, SubscribeReasonCode::Success(QoS::AtLeastOnce | QoS::ExactlyOnce)) {
                return Some(Outcome::Failed(format!("subscription of source {} refused: {code:?}", source.name)));
            }
        }
        if talk.reading {
            self.line.show(|status| status.activity = Activity::Reading);
        }
        None
    }
}
