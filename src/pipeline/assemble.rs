//! From one message to rows: decode, validate, match, judge. No I/O and no clock; times come with the message.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, RwLock},
};

use bytes::Bytes;
use tokio_postgres::Client;

use super::{again::Before, passage::element_bytes};
use crate::{
    config::{self, SignatureForm, SignatureMode, Source, SourceKind, UnknownDevice},
    fault::{Reason, Refusal},
    ingest::{Delivery, Receipt},
    judge::RuleBook,
    reading::{DeviceId, StationId, Timestamp},
    store::batch::{Batch, DeadLetter, MessageFacts},
    vehicle::{
        directory,
        knowledge::{Knowledge, KnowledgeHandle, Versions},
    },
};

/// Bits of the `flags` columns.
pub mod flag {
    pub const UNKNOWN_DEVICE: i32 = 1;
    pub const UNREAD_PLATE: i32 = 2;
    pub const UNKNOWN_FIELDS: i32 = 4;
    pub const NOT_LIVE: i32 = 8;
    pub const NOT_LOCAL: i32 = 16;
    pub const SUSPECTED_PLATE: i32 = 32;
    pub const SUSPECTED_DIESEL: i32 = 64;
    pub const FOLDED_PLATE: i32 = 128;
}

/// A message without its receipt: what the pure part works on, and what a replay can make again.
#[derive(Clone, Debug)]
pub struct Message {
    pub source: usize,
    pub device: Box<str>,
    pub topic: Box<str>,
    pub payload: Bytes,
    pub received_at: Timestamp,
    /// A replay is never live, however young its readings are.
    pub replayed: bool,
}

impl Message {
    pub fn of(delivery: Delivery) -> (Self, Receipt) {
        let Delivery { source, device, topic, payload, received_at, receipt } = delivery;
        (Self { source, device, topic, payload, received_at, replayed: false }, receipt)
    }
}

/// A station or device without a number yet; the writer asks the database and tries the message again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    kind: SourceKind,
    id: Box<str>,
}

/// A station or device that has a number.
#[derive(Clone, Copy)]
pub(super) struct Numbered {
    pub id: i32,
    pub known: bool,
}

/// Everything the pure part needs; shared by all writers.
pub struct Assembler {
    pub(super) sources: Vec<Source>,
    pub(super) knowledge: KnowledgeHandle,
    pub(super) rules: Arc<RuleBook>,
    pub(super) max_payload: usize,
    pub(super) signature_form: SignatureForm,
    /// Whether packets leave a task to verify their signature.
    pub(super) verifies: bool,
    /// Numbers of stations and devices that no snapshot of the register holds yet.
    numbers: RwLock<HashMap<(SourceKind, Box<str>), i32>>,
}

impl Assembler {
    pub fn new(sources: Vec<Source>, knowledge: KnowledgeHandle, rules: Arc<RuleBook>, max_payload: usize) -> Self {
        let (signature_form, verifies) = (SignatureForm::default(), false);
        Self { sources, knowledge, rules, max_payload, signature_form, verifies, numbers: RwLock::default() }
    }

    /// Reads and keeps signatures as configured; without it they are only recognised.
    pub fn with_signatures(mut self, settings: &config::Signature) -> Self {
        self.signature_form = settings.form;
        self.verifies = settings.mode != SignatureMode::Off;
        self
    }

    /// Adds the readings `elements` of the message to the batch and returns how many readings the message has in all.
    /// Nothing was added when a number is missing.
    pub fn add(&self, message: &Message, elements: Range<usize>, batch: &mut Batch) -> Result<usize, Missing> {
        self.add_as(message, elements, None, batch)
    }

    /// As [`Assembler::add`]; with `before`, as it was when the message arrived.
    pub(super) fn add_as(
        &self,
        message: &Message,
        elements: Range<usize>,
        before: Option<&Before>,
        batch: &mut Batch,
    ) -> Result<usize, Missing> {
        let Some(source) = self.sources.get(message.source) else {
            let refusal = Refusal::new(Reason::TopicUnknown, "no source has a filter for this topic");
            return Ok(self.put_aside_whole(message, refusal, &elements, batch));
        };
        let knowledge = self.knowledge.load();
        let whole = |refusal, batch: &mut Batch| Ok(self.put_aside_whole(message, refusal, &elements, batch));
        if message.payload.len() > self.max_payload {
            let detail = format!("{} bytes are more than mqtt.max_payload_bytes", message.payload.len());
            return whole(Refusal::new(Reason::TooLarge, detail), batch);
        }
        let numbered = match self.number(&knowledge, source, &message.device)? {
            Ok(numbered) => numbered,
            Err(refusal) => return whole(refusal, batch),
        };
        begin(message, message.source, &elements, batch);
        let at = Place { message, source, numbered, knowledge: &knowledge, elements, before };
        Ok(match source.kind {
            SourceKind::Rs => self.passages(&at, batch),
            SourceKind::Obd | SourceKind::Retrofit | SourceKind::Nonroad => self.frames(&at, batch),
        })
    }

    /// The database's number for the topic's station or device.
    fn number(
        &self,
        knowledge: &Knowledge,
        source: &Source,
        device: &str,
    ) -> Result<Result<Numbered, Refusal>, Missing> {
        let known = match source.kind {
            SourceKind::Rs => knowledge.stations.find(device).map(|s| Numbered { id: s.id, known: s.known }),
            kind => knowledge.devices.find(kind, device).map(|d| Numbered { id: d.id, known: d.known }),
        };
        match known {
            Some(numbered) if numbered.known => return Ok(Ok(numbered)),
            _ if source.unknown_device == UnknownDevice::Quarantine => {
                let (reason, what) = match source.kind {
                    SourceKind::Rs => (Reason::UnknownStation, "station"),
                    _ => (Reason::UnknownDevice, "device"),
                };
                return Ok(Err(Refusal::new(reason, format!("no register knows this {what}"))));
            }
            Some(numbered) => return Ok(Ok(numbered)),
            None => {}
        }
        if DeviceId::parse(device).is_err() {
            return Ok(Err(Refusal::new(Reason::TopicUnknown, "the topic's identity is no identifier")));
        }
        let numbers = self.numbers.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A borrowed pair cannot be looked up in a map of owned pairs; unknown devices are rare enough to pay for a copy.
        match numbers.get(&(source.kind, Box::from(device))) {
            Some(&id) => Ok(Ok(Numbered { id, known: false })),
            None => Err(Missing { kind: source.kind, id: device.into() }),
        }
    }

    /// The device's identity in a topic of a source.
    pub fn device_in<'t>(&self, source: usize, topic: &'t str) -> Option<&'t str> {
        let (before, after) = self.sources.get(source)?.filter.split_once('+')?;
        topic.strip_prefix(before)?.strip_suffix(after)
    }

    /// Versions of the register and the lists that are loaded now.
    pub fn versions(&self) -> Versions {
        self.knowledge.load().versions()
    }

    /// Books are kept for every source and for topics that belong to none.
    pub fn books(&self) -> usize {
        self.sources.len() + 1
    }

    /// Registers a station or device that was never seen.
    pub async fn give_number(&self, client: &Client, missing: &Missing) -> Result<(), directory::DirectoryError> {
        let id = match missing.kind {
            SourceKind::Rs => match StationId::parse(&missing.id) {
                Ok(station) => directory::get_or_create_station(client, &station).await?,
                Err(_) => return Ok(()),
            },
            kind => match DeviceId::parse(&missing.id) {
                Ok(device) => directory::get_or_create_device(client, kind, &device).await?,
                Err(_) => return Ok(()),
            },
        };
        let mut numbers = self.numbers.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        numbers.insert((missing.kind, missing.id.clone()), id);
        Ok(())
    }

    /// Puts one reading of a message aside after the store refused it.
    pub fn put_aside(&self, message: &Message, element: usize, refusal: Refusal, batch: &mut Batch) {
        let elements = element..element + 1;
        begin(message, message.source.min(self.sources.len()), &elements, batch);
        let raw = match self.sources.get(message.source) {
            Some(source) if source.kind == SourceKind::Rs => element_bytes(source, &message.payload, element),
            _ => message.payload.clone(),
        };
        self.put_aside_at(message, element, raw, refusal, &elements, batch);
    }

    /// Puts a message aside as one reading, with all its bytes; returns that number.
    pub(super) fn put_aside_whole(
        &self,
        message: &Message,
        refusal: Refusal,
        elements: &Range<usize>,
        batch: &mut Batch,
    ) -> usize {
        begin(message, message.source.min(self.sources.len()), elements, batch);
        self.put_aside_at(message, 0, message.payload.clone(), refusal, elements, batch);
        1
    }

    pub(super) fn put_aside_at(
        &self,
        message: &Message,
        element: usize,
        raw: Bytes,
        refusal: Refusal,
        elements: &Range<usize>,
        batch: &mut Batch,
    ) {
        if !elements.contains(&element) {
            return;
        }
        batch.put_aside(DeadLetter {
            source: message.source.min(self.sources.len()),
            received_at: message.received_at,
            topic: message.topic.clone(),
            reason: refusal.reason,
            detail: refusal.detail,
            element: Some(element as i32),
            raw,
        });
    }
}

/// Where the pure part stands: the message, what is known, and which of its readings are wanted.
pub(super) struct Place<'a> {
    pub message: &'a Message,
    pub source: &'a Source,
    pub numbered: Numbered,
    pub knowledge: &'a Knowledge,
    pub elements: Range<usize>,
    /// Of a reading that was stored before.
    pub before: Option<&'a Before>,
}

/// The first eight bytes of a SHA-256, as columns hold them.
pub(super) fn digest_of(sha256: &[u8]) -> i64 {
    sha256.first_chunk().map_or(0, |first| i64::from_be_bytes(*first))
}

/// Notes the message in the batch; the part with its first reading counts it.
fn begin(message: &Message, source: usize, elements: &Range<usize>, batch: &mut Batch) {
    batch.messages.push(MessageFacts { topic: message.topic.clone(), received_at: message.received_at });
    if elements.start == 0 {
        batch.tally(source).messages += 1;
    }
}
