//! The sections of the configuration file. `schemas/config.toml` documents every key and *is* the default.

use std::{net::SocketAddr, path::PathBuf};

use secrecy::SecretString;
use serde::Deserialize;

use crate::mapping::{Mapping, MappingError, Target};

/// Everything `serve` needs.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    pub service: Service,
    pub mqtt: Mqtt,
    /// What is subscribed to and how it is read; at least one.
    pub source: Vec<Source>,
    pub database: Database,
    /// Absent: events are served over HTTP only.
    pub kafka: Option<Kafka>,
    pub http: Http,
    pub judge: Judge,
    pub signature: Signature,
    pub retention: Retention,
    pub import: Import,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// Names this replica in logs and leases; unique per running process. Empty: host name and process id.
    pub instance: String,
    /// A `tracing` filter, such as `info` or `dieselwatch=debug,info`.
    pub log: String,
    pub log_format: LogFormat,
    /// Longest orderly shutdown before the process gives up on a step, seconds.
    pub shutdown_seconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    Json,
    Text,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mqtt {
    /// `mqtt://host:1883` or `mqtts://host:8883`.
    pub url: String,
    pub username: Option<String>,
    pub password: Option<SecretString>,
    /// Client ids are `{client_id_prefix}-{slot}`; slots are leased in the database.
    pub client_id_prefix: String,
    /// Shared-subscription group; every replica of a cell has the same.
    pub group: String,
    /// Connections of this process, 1..=16.
    pub connections: u16,
    /// Un-acknowledged messages the broker may have under way per connection, 1..=65535.
    pub receive_maximum: u16,
    /// How long the broker keeps our session while we are away, seconds.
    pub session_expiry_seconds: u32,
    pub keep_alive_seconds: u16,
    /// Largest packet the client accepts; at least the broker's own limit, bytes.
    pub max_packet_bytes: u32,
    /// Largest payload we decode; a larger one is quarantined, bytes.
    pub max_payload_bytes: u32,
    /// Payload bytes held in memory before reading from the broker stops.
    pub budget_bytes: u32,
    /// First and longest wait between connection attempts, milliseconds.
    pub backoff_min_ms: u64,
    pub backoff_max_ms: u64,
    pub tls: Option<Tls>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the authorities trusted.
    pub ca_file: PathBuf,
    /// PEM files of our own certificate and key, for mutual TLS; both or neither.
    pub cert_file: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
}

/// One subscription. `+` in the filter stands for the device's identity.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Label in metrics and books; a short lower-case word.
    pub name: String,
    pub kind: SourceKind,
    /// Topic filter with exactly one `+`, the device's identity.
    pub filter: String,
    /// Frame protocol of terminals; not used by `passage`.
    #[serde(default)]
    pub protocol: Protocol,
    /// JSON pointers tried in turn for the hex text of a frame carried in JSON.
    #[serde(default = "default_hex_pointers")]
    pub hex_pointers: Vec<String>,
    /// A reading older than this at arrival is quarantined, days.
    #[serde(default = "default_past_days")]
    pub plausible_past_days: u32,
    /// A reading further in the future than this is quarantined, minutes.
    #[serde(default = "default_future_minutes")]
    pub plausible_future_minutes: u32,
    /// What becomes of readings of a station or device that no register knows.
    #[serde(default)]
    pub unknown_device: UnknownDevice,
    /// Take older tracker frames that carry no checksum (DOMAIN C.1, type 87).
    #[serde(default)]
    pub allow_missing_checksum: bool,
    /// How the passages of a rig or platform with names of its own are read; absent: they come in our own form.
    #[serde(default)]
    pub mapping: Option<PassageMapping>,
}

/// A mapping of passages, loaded and checked with the configuration that names it.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct PassageMapping(std::sync::Arc<Mapping>);

impl TryFrom<String> for PassageMapping {
    type Error = MappingError;

    fn try_from(name: String) -> Result<Self, MappingError> {
        Mapping::load(&name, Target::Passage).map(|mapping| Self(mapping.into()))
    }
}

impl std::ops::Deref for PassageMapping {
    type Target = Mapping;

    fn deref(&self) -> &Mapping {
        &self.0
    }
}

fn default_hex_pointers() -> Vec<String> {
    ["/data", "/info/data", "/param/data"].map(String::from).to_vec()
}

fn default_past_days() -> u32 {
    400
}

fn default_future_minutes() -> u32 {
    10
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceKind {
    /// Remote-sensing passages, `dw/v1/rs/+/passage`.
    Rs,
    /// Heavy-duty diesel OBD terminals, `dw/v1/obd/+/frame`.
    Obd,
    /// Retrofit after-treatment terminals, `dw/v1/retrofit/+/frame`.
    Retrofit,
    /// Non-road machinery trackers, `dw/v1/nonroad/+/frame`.
    Nonroad,
}

/// Which command, encryption and body tables a frame is read with; chosen by source, never by the frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    #[default]
    Auto,
    Gb17691,
    Hj1239,
    Hj1014,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnknownDevice {
    /// Stored, with the flag `unknown_device`.
    #[default]
    Store,
    Quarantine,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `postgres://user@host:5432/name`, or a socket folder in `host=`.
    pub url: String,
    pub password: Option<SecretString>,
    /// Writer connections, 1..=16; each commits its own batches.
    pub writers: u16,
    /// Readings in a batch at most; keep it below `mqtt.receive_maximum`.
    pub batch_readings: u32,
    /// How long a batch that is not full waits for more while others commit, milliseconds.
    pub linger_ms: u64,
    pub statement_timeout_seconds: u32,
    /// Connections for HTTP reads.
    pub read_connections: u16,
    /// Run pending migrations at start.
    pub migrate: bool,
    /// PEM file of the authority that signed the server's certificate; set: TLS is required.
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// `host:9092,host:9092`.
    pub brokers: String,
    /// Fences a predecessor that is not quite dead; the same for all replicas of a cell.
    pub transactional_id: String,
    /// Further librdkafka properties as they are named there, such as `security.protocol`.
    #[serde(default)]
    pub properties: std::collections::BTreeMap<String, String>,
    /// Value of `sasl.password`, kept apart so that it is redacted.
    pub password: Option<SecretString>,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let secret = |name: &str| super::secret_property(name);
        let properties: std::collections::BTreeMap<_, _> = self
            .properties
            .iter()
            .map(|(name, value)| (name, if secret(name) { "(redacted)" } else { value.as_str() }))
            .collect();
        f.debug_struct("Kafka")
            .field("brokers", &self.brokers)
            .field("transactional_id", &self.transactional_id)
            .field("properties", &properties)
            .field("password", &self.password)
            .finish()
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Http {
    pub listen: SocketAddr,
    /// What a request that changes something must carry; absent: nothing can be changed over HTTP.
    pub write_token: Option<SecretString>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    /// Table of limits; empty: the one built in (`schemas/limits.toml`).
    pub limits_file: Option<PathBuf>,
    /// Table of vehicle rules; empty: the one built in (`schemas/rules.toml`).
    pub rules_file: Option<PathBuf>,
    /// Table of terminal alarms; empty: the one built in (`schemas/terminal.toml`).
    pub terminal_file: Option<PathBuf>,
    /// A passage older than this at arrival raises no intercept, seconds.
    pub live_seconds: u32,
    /// Below this recognition confidence a match waits for a person, 0..=1.
    pub plate_confidence_min: f32,
    /// Two records of one plate at one station closer than this are one passage, seconds.
    pub same_passage_seconds: u32,
    /// Consecutive valid seconds over the limit that make an episode of downstream NOx.
    pub nox_consecutive_seconds: u32,
    /// Downstream NOx above this counts, ppm (UNSOURCED-medium practice).
    pub nox_limit_ppm: f32,
    /// Conditions under which a record counts for NOx: r/min, °C, °C.
    pub nox_min_rpm: f32,
    pub nox_min_coolant_c: f32,
    pub nox_min_scr_inlet_c: f32,
    pub plates: Plates,
}

/// What is made of plates beyond an exact match; every finding of these waits for a person.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plates {
    /// Plates that begin with one of these belong to the district, where the register says nothing.
    pub local_prefixes: Vec<String>,
    /// Lists whose vehicles a misread plate is compared with.
    pub suspected_lists: Vec<String>,
    /// Whether a vehicle whose fuel nobody registered, but which looks like a diesel, is reported when over a limit.
    pub suspected_over: bool,
    /// Two sightings of one plate further apart than this are not compared, seconds; 0 compares none.
    pub clone_window_seconds: u32,
    /// No vehicle gets from one place to another faster than this in a straight line, km/h.
    pub clone_speed_kmh: f64,
    /// How far each position may be off, m.
    pub clone_position_uncertainty_m: f64,
    /// How far the clocks of two stations may be apart, seconds.
    pub clone_clock_uncertainty_seconds: f64,
}

/// How the SM2 signatures of terminals are verified. Which bytes are signed is in no public text, hence the many keys.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    pub mode: SignatureMode,
    /// Share of packets that [`SignatureMode::Sample`] verifies, 0..=1.
    pub sample_share: f64,
    /// Threads of the pool that verifies, 1..=64.
    pub threads: u16,
    pub form: SignatureForm,
    pub signed_from: SignedFrom,
    pub signed_lengths: SignedLengths,
    pub header_length: HeaderLength,
    /// The distinguishing identifier of GM/T 0009.
    pub user_id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureMode {
    Off,
    Sample,
    Full,
}

/// How R and S are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignatureForm {
    /// Each 32 bytes behind a length byte.
    #[default]
    Lengths,
    /// 64 bytes.
    Raw,
    /// An ASN.1 sequence of two integers.
    Der,
}

/// Where the signed bytes begin; they run up to the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignedFrom {
    /// The data unit.
    Unit,
    /// The command byte, the third of the frame.
    Command,
    /// The start marker.
    Marker,
}

/// Length bytes of the signature that are signed as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SignedLengths {
    None,
    First,
    Both,
}

/// The data unit's length in a header that is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderLength {
    AsSent,
    WithoutSignature,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Import {
    /// The share of a register or list in force, 0..=1, that an import may remove without `--yes`.
    pub max_removed_share: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Raw terminal packets without a finding, days.
    pub raw_packets_days: u32,
    /// Readings, days; longer than the evaluation horizon (two years).
    pub readings_days: u32,
    /// Chunks older than this are compressed, days; at least 7, because terminals may resend 5 x 24 h.
    pub compress_after_days: u32,
}
