//! What the service holds against a vehicle, a terminal or a machine: the one shape between judgement, store and events.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use crate::reading::{DeviceId, PlateKey, Timestamp};

/// Whom a finding is about. Its text form keys the Kafka record and the case.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    Vehicle(PlateKey),
    /// A terminal known by the VIN (or number) it reports under.
    Terminal(DeviceId),
    Machine(DeviceId),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Subject::Vehicle(key) => key.fmt(f),
            Subject::Terminal(id) | Subject::Machine(id) => id.fmt(f),
        }
    }
}

/// Where a finding stands towards the police queue (design invariant 8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state", content = "why")]
pub enum Review {
    NotNeeded,
    /// Waits for a person, with every reason why.
    Needed(Vec<Cow<'static, str>>),
}

/// The raw reading behind a finding, kept in a plain table that no retention policy touches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Natural key of the reading in words, such as `passage 370306-01/r-9`.
    pub reading: String,
    pub raw: bytes::Bytes,
}

/// One finding in force. Findings with the same `id` are the same finding, whoever computed it and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// UUIDv5 of the rule and the natural key of what it is about: see [`finding_id`].
    pub id: Uuid,
    /// The rule that fired, such as `HJ845.over` or `R8.scrapped_on_road`.
    pub rule: Cow<'static, str>,
    pub subject: Subject,
    /// When it happened, by the reading's own clock; a span has both ends, a moment has them equal.
    pub from: Timestamp,
    pub to: Timestamp,
    pub review: Review,
    /// Whether an officer is needed now; the pipeline withdraws it for readings that are not live.
    pub intercept: bool,
    /// Values, limits, units, standard and clause, list entries and versions: everything that explains it.
    pub content: Value,
    pub evidence: Vec<Evidence>,
}

/// Namespace of finding ids; arbitrary, fixed for ever.
const NAMESPACE: Uuid = Uuid::from_u128(0x8d1f_5c0a_2e77_4b52_9a41_60f3_d1e5_e1a7);

/// The deterministic id of the finding that `rule` makes of what `key` names.
pub fn finding_id(rule: &str, key: &str) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{rule}\u{1f}{key}").as_bytes())
}

/// The deterministic id of an event: revoking a finding and making it again are different events.
pub fn event_id(finding: Uuid, revision: i32) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("{finding}\u{1f}{revision}").as_bytes())
}
