//! From one message to rows: decode, validate, match, judge. No I/O and no clock; times come with the message.

use std::{
    collections::HashMap,
    ops::Range,
    sync::{Arc, RwLock},
};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use smallvec::SmallVec;
use tokio_postgres::Client;

use crate::{
    config::{self, SignatureForm, SignatureMode, Source, SourceKind, UnknownDevice},
    decode::remote_sensing,
    evaluate::terminal::window_of,
    fault::{Reason, Refusal},
    finding::Evidence,
    ingest::{Delivery, Receipt},
    judge::{self, Outcome, Pollutant, RuleBook, Verdict, terminal_table::AlarmRule},
    reading::{DeviceId, StationId, Timestamp, passage::Passage, validate},
    store::batch::{
        Batch, DeadLetter, Judged, MessageFacts, Origin, OwnedFinding, RowRef, Table, TerminalTask, VehicleTask,
    },
    store::tables::{PASSAGE_COLUMNS, PASSAGE_KEY},
    vehicle::{
        directory,
        facts::{MatchKind, Vehicle, VehicleMatch},
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
        let Some(source) = self.sources.get(message.source) else {
            begin(message, self.sources.len(), &elements, batch);
            let refusal = Refusal::new(Reason::TopicUnknown, "no source has a filter for this topic");
            self.put_aside_at(message, 0, message.payload.clone(), refusal, &elements, batch);
            return Ok(1);
        };
        let knowledge = self.knowledge.load();
        let whole = |refusal, batch: &mut Batch| {
            begin(message, message.source, &elements, batch);
            self.put_aside_at(message, 0, message.payload.clone(), refusal, &elements, batch);
            Ok(1)
        };
        if message.payload.len() > self.max_payload {
            let detail = format!("{} bytes are more than mqtt.max_payload_bytes", message.payload.len());
            return whole(Refusal::new(Reason::TooLarge, detail), batch);
        }
        let numbered = match self.number(&knowledge, source, &message.device)? {
            Ok(numbered) => numbered,
            Err(refusal) => return whole(refusal, batch),
        };
        begin(message, message.source, &elements, batch);
        let at = Place { message, source, numbered, knowledge: &knowledge, elements };
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
        let raw = match self.sources.get(message.source).map(|source| source.kind) {
            Some(SourceKind::Rs) => element_bytes(&message.payload, element),
            _ => message.payload.clone(),
        };
        self.put_aside_at(message, element, raw, refusal, &elements, batch);
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

    fn passages(&self, at: &Place<'_>, batch: &mut Batch) -> usize {
        let message = at.message;
        let elements = match remote_sensing::decode_mapped(&message.payload, at.source.mapping.as_deref()) {
            Ok(elements) => elements,
            Err(refusal) => {
                self.put_aside_at(message, 0, message.payload.clone(), refusal, &at.elements, batch);
                return 1;
            }
        };
        let count = elements.len();
        let elements: SmallVec<[_; 1]> = elements.filter(|element| at.elements.contains(&element.index)).collect();
        if elements.len() > 1 {
            let read = elements.iter().filter_map(|element| element.passage.as_ref().ok()?.plate_key());
            read.for_each(|key| at.knowledge.registry.ask_ahead(key));
        }
        for element in elements {
            let raw = message.payload.slice_ref(element.raw);
            let (past, future) = (at.source.plausible_past_days, at.source.plausible_future_minutes);
            let checked = element.passage.and_then(|passage| {
                validate::identity(&message.device, passage.station_id.as_str())?;
                validate::time_plausible(passage.passed_at, message.received_at, past, future)?;
                Ok(passage)
            });
            match checked {
                Ok(passage) => self.passage(at, element.index, raw, &passage, element.unknown_fields, batch),
                Err(refusal) => self.put_aside_at(message, element.index, raw, refusal, &at.elements, batch),
            }
        }
        count
    }

    fn passage(
        &self,
        at: &Place<'_>,
        element: usize,
        raw: Bytes,
        passage: &Passage,
        unknown_fields: u32,
        batch: &mut Batch,
    ) {
        let message = at.message;
        let key = passage.plate_key();
        let matched = match key {
            Some(key) => at.knowledge.identify(key, passage.passed_at, &self.rules.settings.plates.suspected_lists),
            None => no_match(),
        };
        let registered = at.knowledge.stations.find(&message.device);
        let station = registered.map(judge::StationFacts::of);
        let age = message.received_at.micros_since(passage.passed_at);
        let live = !message.replayed && age <= i64::from(self.rules.settings.live_seconds) * 1_000_000;
        let surroundings = at.knowledge.surroundings(passage, registered, Some(message.received_at));
        let judgement = judge::passage_amid(passage, &matched, station.as_ref(), &surroundings, &self.rules, live);

        let table = &mut batch.keyed[Table::Passage as usize];
        let owner = RowRef { table: Table::Passage, row: table.rows.len() as u32 };
        let outcomes = outcomes(&judgement.verdict);
        let mut row = table.rows.row(PASSAGE_KEY.width());
        row.int4(at.numbered.id);
        row.text(passage.record_id.as_str());
        row.time(passage.passed_at);
        match key {
            Some(key) => row.int8(key.as_i64()),
            None => row.null(),
        }
        row.int8(passage.content_hash() as i64);
        match passage.lane {
            Some(lane) => row.int2(lane),
            None => row.null(),
        }
        row.int2(outcomes);
        row.float8(passage.longitude);
        row.float8(passage.latitude);
        drop(row);
        table.origins.push(Origin {
            source: message.source,
            message: (batch.messages.len() - 1) as u32,
            element: element as i32,
            raw: raw.clone(),
        });

        batch.judged.push(Judged {
            verdict: judgement.verdict.outcome as i16,
            outcomes,
            content_hash: passage.content_hash() as i64,
        });

        let mut flags = 0;
        flags |= if at.numbered.known { 0 } else { flag::UNKNOWN_DEVICE };
        flags |= if key.is_none() { flag::UNREAD_PLATE } else { 0 };
        flags |= if unknown_fields > 0 { flag::UNKNOWN_FIELDS } else { 0 };
        flags |= if live { 0 } else { flag::NOT_LIVE };
        flags |= suspicions(passage, &matched, &judgement.verdict, &self.rules);
        wide_row(batch, at, passage, &judgement.verdict, outcomes, flags, &raw);

        if let Some(key) = key {
            batch.vehicle_tasks.push(VehicleTask {
                owner,
                plate_key: key.as_i64(),
                station: at.numbered.id,
                at: passage.passed_at,
                raises_interest: !judgement.findings.is_empty() || judgement.verdict.outcome == Outcome::OverLimit,
            });
        }
        self.terminals_of(at, owner, passage, matched.vehicle.as_ref(), batch);
        for mut finding in judgement.findings {
            let reading = reading_name(passage.station_id.as_str(), passage.record_id.as_str());
            finding.evidence.push(Evidence { reading, raw: raw.clone() });
            batch.findings.push(OwnedFinding { owner, finding });
        }
    }
}

impl Assembler {
    /// Leaves a task for each terminal of the vehicle seen: whether it was silent is known when it may resend no more.
    fn terminals_of(
        &self,
        at: &Place<'_>,
        owner: RowRef,
        passage: &Passage,
        vehicle: Option<&Vehicle>,
        batch: &mut Batch,
    ) {
        let Some(key) = passage.plate_key().filter(|_| self.rules.terminal.is_on(AlarmRule::Silence)) else { return };
        let settles = (self.rules.terminal.numbers.silence.settle_hours * 3600.0) as i64;
        for device in at.knowledge.devices.of_vehicle(key, vehicle.and_then(|vehicle| vehicle.vin)) {
            batch.terminal_tasks.push(TerminalTask {
                owner,
                device,
                window: window_of(passage.passed_at),
                sent_in: None,
                instant: None,
                not_before: passage.passed_at.plus_seconds(settles),
            });
        }
    }
}

/// What stands in the flags of a vehicle that is not simply known.
fn suspicions(passage: &Passage, matched: &VehicleMatch, verdict: &Verdict, rules: &RuleBook) -> i32 {
    let not_local = judge::origin::is_local(passage, matched, rules) == Some(false);
    let misread = matches!(matched.kind, MatchKind::Suspected(_));
    [
        (not_local, flag::NOT_LOCAL),
        (misread, flag::SUSPECTED_PLATE),
        (verdict.suspicion.is_some(), flag::SUSPECTED_DIESEL),
    ]
    .iter()
    .fold(0, |flags, &(set, flag)| if set { flags | flag } else { flags })
}

fn no_match() -> VehicleMatch {
    VehicleMatch { kind: MatchKind::None, vehicle: None, lists: SmallVec::new(), registry_version: 0 }
}

/// The bytes of one passage of a message.
fn element_bytes(payload: &Bytes, element: usize) -> Bytes {
    let found = remote_sensing::decode(payload).ok().and_then(|mut elements| elements.nth(element));
    found.map_or_else(|| payload.clone(), |element| payload.slice_ref(element.raw))
}

/// What each pollutant's test came to, two bits each: see `passage_key.outcomes`.
fn outcomes(verdict: &Verdict) -> i16 {
    verdict.pollutants.iter().fold(0, |bits, tested| {
        let code = match tested.outcome {
            Outcome::Pass => 1,
            Outcome::OverLimit => 2,
            Outcome::Invalid | Outcome::NotApplicable | Outcome::Undetermined => 0,
        };
        bits | code << (2 * tested.pollutant as u8)
    })
}

/// Takes back one test from `passage_key.outcomes`: over, not over, or no valid test.
pub fn outcome_of(outcomes: i16, pollutant: Pollutant) -> Option<bool> {
    match (outcomes >> (2 * pollutant as u8)) & 3 {
        1 => Some(false),
        2 => Some(true),
        _ => None,
    }
}

/// How evidence names a passage.
pub fn reading_name(station: &str, record: &str) -> String {
    format!("passage {station}/{record}")
}

/// Where the pure part stands: the message, what is known, and which of its readings are wanted.
pub(super) struct Place<'a> {
    pub message: &'a Message,
    pub source: &'a Source,
    pub numbered: Numbered,
    pub knowledge: &'a Knowledge,
    pub elements: Range<usize>,
}

/// Notes the message in the batch; the part with its first reading counts it.
fn begin(message: &Message, source: usize, elements: &Range<usize>, batch: &mut Batch) {
    batch.messages.push(MessageFacts { topic: message.topic.clone(), received_at: message.received_at });
    if elements.start == 0 {
        batch.tally(source).messages += 1;
    }
}

fn wide_row(
    batch: &mut Batch,
    at: &Place<'_>,
    passage: &Passage,
    verdict: &Verdict,
    outcomes: i16,
    flags: i32,
    raw: &Bytes,
) {
    let mut row = batch.passages.row(PASSAGE_COLUMNS.len() as i16);
    row.time(passage.passed_at);
    row.int4(at.numbered.id);
    row.text(passage.record_id.as_str());
    match passage.plate_key() {
        Some(key) => {
            let mut text = [0; 24];
            row.text(key.plate().encode(&mut text));
        }
        None => row.null(),
    }
    row.int2(passage.plate_color as i16);
    match passage.plate_key() {
        Some(key) => row.int8(key.as_i64()),
        None => row.null(),
    }
    row.int2(verdict.outcome as i16);
    row.int2(outcomes);
    match passage.lane {
        Some(lane) => row.int2(lane),
        None => row.null(),
    }
    row.real(passage.plate_confidence);
    row.real(passage.speed_kmh);
    row.real(passage.acceleration_ms2);
    row.real(passage.vsp_kwt);
    row.real(passage.co2_pct);
    row.real(passage.co_pct);
    row.real(passage.hc_ppm);
    row.real(passage.no_ppm);
    row.real(passage.opacity_pct);
    row.real(passage.opacity_k_m1);
    row.real(passage.ringelmann);
    row.int4(flags);
    row.time(at.message.received_at);
    row.bytea(&Sha256::digest(raw));
    row.bytea(raw);
}
