//! From a passage to rows: its key, its wide row, the tasks and findings it leads to.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;

use super::{
    again::Before,
    assemble::{Assembler, Place, digest_of, flag},
};
use crate::{
    config::Source,
    decode::remote_sensing,
    evaluate::terminal::window_of,
    finding::Evidence,
    judge::{self, Outcome, Pollutant, RuleBook, Verdict, limits::Channel, terminal_table::AlarmRule},
    reading::{passage::Passage, validate},
    store::{
        batch::{Batch, Judged, Origin, OwnedFinding, RowRef, Table, TerminalTask, VehicleTask},
        tables::{PASSAGE_COLUMNS, PASSAGE_KEY},
    },
    vehicle::{
        carrier::{Carrier, NOT_SURE},
        facts::{MatchKind, Vehicle, VehicleMatch},
    },
};

impl Assembler {
    /// Adds every passage of the message; returns how many it has.
    pub(super) fn passages(&self, at: &Place<'_>, batch: &mut Batch) -> usize {
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
            batch.tally(message.source).unknown_fields += u64::from(element.unknown_fields);
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
        let suspected_lists = &self.rules.settings.plates.suspected_lists;
        let matched = match (key, at.before) {
            (Some(key), None) => at.knowledge.identify(key, passage.passed_at, suspected_lists),
            (Some(key), Some(Before { register, .. })) => {
                at.knowledge.identify_since(key, passage.passed_at, suspected_lists, register.as_ref())
            }
            (None, _) => no_match(),
        };
        let registered = at.knowledge.stations.find(&message.device);
        let station = registered.map(|station| judge::StationFacts::of(station, passage.passed_at));
        let age = message.received_at.micros_since(passage.passed_at);
        let live = match at.before {
            Some(before) => before.state_is_of_then(),
            None => !message.replayed && age <= i64::from(self.rules.settings.live_seconds) * 1_000_000,
        };
        let area = &self.rules.terminal.bounds().area;
        let surroundings = at.knowledge.surroundings(passage, registered, Some(message.received_at), area);
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
        let place = area.place(passage.longitude, passage.latitude);
        row.float8(place.map(|[lon, _]| lon));
        row.float8(place.map(|[_, lat]| lat));
        let carrier = carrier(passage, &matched, judgement.verdict.outcome);
        match carrier {
            Some(carrier) => row.int8(carrier),
            None => row.null(),
        }
        let sha256 = Sha256::digest(&raw);
        row.int8(digest_of(&sha256));
        drop(row);
        table.origins.push(Origin {
            source: message.source,
            message: (batch.messages.len() - 1) as u32,
            element: element as i32,
            raw: raw.clone(),
        });

        let mut flags = 0;
        flags |= if at.numbered.known { 0 } else { flag::UNKNOWN_DEVICE };
        flags |= if key.is_none() { flag::UNREAD_PLATE } else { 0 };
        flags |= if unknown_fields > 0 { flag::UNKNOWN_FIELDS } else { 0 };
        flags |= if live { 0 } else { flag::NOT_LIVE };
        flags |= suspicions(passage, &matched, &judgement.verdict, &self.rules);
        let explained = judgement.explanation(passage, &matched, &self.rules);
        let judged = Judged {
            verdict: judgement.verdict.outcome as i16,
            outcomes,
            content_hash: passage.content_hash() as i64,
            carrier,
            explained,
        };
        wide_row(batch, at, passage, &self.rules, &judged, flags, (&raw, &sha256));
        batch.judged.push(judged);

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
        let is_asked = self.rules.terminal.is_on(AlarmRule::Silence) && passage.plate_as_read.is_none();
        let Some(key) = passage.plate_key().filter(|_| is_asked) else { return };
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
        (passage.plate_as_read.is_some(), flag::FOLDED_PLATE),
        (verdict.suspicion.is_some(), flag::SUSPECTED_DIESEL),
    ]
    .iter()
    .fold(0, |flags, &(set, flag)| if set { flags | flag } else { flags })
}

/// What the history of the plate needs to know of its vehicle. Only tests over a limit make a series, so no other reading
/// says whose it is.
fn carrier(passage: &Passage, matched: &VehicleMatch, outcome: Outcome) -> Option<i64> {
    match outcome {
        _ if passage.plate_as_read.is_some() => Some(NOT_SURE),
        Outcome::OverLimit => matched.vehicle.as_ref().and_then(|vehicle| Carrier::of(vehicle).as_i64()),
        _ => None,
    }
}

fn no_match() -> VehicleMatch {
    VehicleMatch { kind: MatchKind::None, vehicle: None, lists: SmallVec::new(), registry_version: 0 }
}

/// The bytes of one passage of a message.
pub(super) fn element_bytes(source: &Source, payload: &Bytes, element: usize) -> Bytes {
    let elements = remote_sensing::decode_mapped(payload, source.mapping.as_deref());
    let found = elements.ok().and_then(|mut elements| elements.nth(element));
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

/// The channels that have a column, in the order of the columns.
const MEASURED: [Channel; 10] = [
    Channel::Speed,
    Channel::Acceleration,
    Channel::Vsp,
    Channel::Co2,
    Channel::Co,
    Channel::Hc,
    Channel::No,
    Channel::Opacity,
    Channel::OpacityK,
    Channel::Ringelmann,
];

/// What the instruments cannot have measured stays in the raw bytes: figures made of these columns know no sentinels.
fn wide_row(
    batch: &mut Batch,
    at: &Place<'_>,
    passage: &Passage,
    rules: &RuleBook,
    judged: &Judged,
    flags: i32,
    (raw, sha256): (&[u8], &[u8]),
) {
    let bounds = rules.limits.bounds();
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
    row.int2(judged.verdict);
    row.int2(judged.outcomes);
    match passage.lane {
        Some(lane) => row.int2(lane),
        None => row.null(),
    }
    row.real(passage.plate_confidence);
    for channel in MEASURED {
        row.real(bounds.measured(channel, passage));
    }
    row.int4(flags);
    row.time(at.message.received_at);
    row.bytea(sha256);
    row.bytea(raw);
    match &judged.explained {
        Some(text) => row.jsonb(text),
        None => row.null(),
    }
}
