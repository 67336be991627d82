//! The sections of the configuration file. `schemas/config.toml` documents every key and *is* the default.

use std::{net::SocketAddr, path::PathBuf};

use secrecy::SecretString;
use serde::Deserialize;

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
    pub retention: Retention,
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
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    /// Table of limits; empty: the one built in (`schemas/limits.toml`).
    pub limits_file: Option<PathBuf>,
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
