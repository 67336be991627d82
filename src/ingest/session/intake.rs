//! Taking a message in, or refusing it.

use std::sync::Arc;

use rumqttc::v5::mqttbytes::v5::Publish;
use tokio::{sync::mpsc, time::timeout_at};

use super::{Conversation, Session};
use crate::{
    ingest::{
        delivery::{Delivery, UNKNOWN_SOURCE},
        line::Activity,
        receipt::Receipt,
        ring::SourceIndex,
        topic::status_of,
    },
    reading::Timestamp,
};

impl Session {
    /// Takes a message in, waiting for room if need be, or refuses it.
    pub(super) async fn take(&self, publish: Publish, talk: &mut Conversation, received_at: Timestamp) {
        let topic = String::from_utf8_lossy(&publish.topic);
        let found = self.shared.topics.find(&topic);
        if found.is_none() && publish.pkid == 0 && status_of(&topic).is_some() {
            self.shared.devices.update(&topic, &publish.payload);
            return;
        }
        let source = found.map_or(UNKNOWN_SOURCE, |found| found.source);
        let book = SourceIndex::try_from(source).unwrap_or(SourceIndex::MAX);
        let charge = self.shared.budget.charge(publish.payload.len());
        let Some(place) = self.reserve(charge, talk).await else {
            self.line.gate.refuse(publish.pkid, book);
            return;
        };
        let ticket = self.line.gate.accept(publish.pkid, book);
        place.send(Delivery {
            source,
            device: found.map_or("", |found| found.device).into(),
            topic: topic.as_ref().into(),
            payload: publish.payload,
            received_at,
            receipt: Receipt::new(Arc::clone(&self.line.gate), ticket, charge),
        });
    }

    /// Room for a message in the budget and in the inbox; `None` if it has to be refused.
    async fn reserve(&self, charge: u32, talk: &mut Conversation) -> Option<mpsc::Permit<'_, Delivery>> {
        let deliveries = self.deliveries.as_ref().filter(|_| talk.reading)?;
        let budget = &self.shared.budget;
        if let Ok(place) = deliveries.try_reserve()
            && budget.try_reserve(charge)
        {
            return Some(place);
        }
        let patience = talk.breath + talk.keep_alive / 4;
        // The place first: dropped half-way it gives itself back, while the budget is taken only at the very end.
        let room = async {
            let place = deliveries.reserve().await.ok()?;
            budget.reserve(charge).await;
            Some(place)
        };
        tokio::select! {
            biased;
            place = timeout_at(patience, room) => match place {
                Ok(Some(place)) => return Some(place),
                Ok(None) => self.stop_taking(talk, Activity::Draining),
                Err(_) => {
                    self.shared.meter.paused();
                    tracing::warn!(slot = self.line.slot, "mqtt connection pauses, the byte budget is used up");
                    self.stop_taking(talk, Activity::Paused);
                }
            },
            // Called for whatever reason: refuse this one, and obey before the next.
            () = self.line.gate.called() => {
                self.stop_taking(talk, Activity::Paused);
                self.line.gate.call();
            }
        }
        None
    }
}
