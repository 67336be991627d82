//! Every key of the configuration: its place, what a value may be, and whether it must be there.
//!
//! One table serves the file, the environment, `--set` and the print-out, so a key cannot be known to one of them only.
//! Tests hold it against the fields of [`super::Config`] and against the annotated default file.

use Kind::*;

/// What a key holds. Ranges are inclusive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Text,
    /// Text that is never printed.
    Secret,
    /// A URL with one of these schemes; a password in it is taken out and kept apart.
    Url(&'static [&'static str]),
    /// `postgres://...` or libpq keywords.
    DatabaseUrl,
    /// `host:port`, several separated by commas.
    HostPorts,
    Integer(i64, i64),
    Number(f64, f64),
    Flag,
    Choice(&'static [&'static str]),
    /// A file that must be there.
    File,
    /// IP address and port.
    Listen,
    /// A `tracing` filter.
    LogFilter,
    /// A short lower-case word.
    Word,
    /// The same, or nothing.
    WordOrEmpty,
    /// A topic filter with exactly one `+`.
    Filter,
    /// JSON pointers.
    Pointers,
    /// A list of short texts, such as names of lists.
    Names,
    /// A built-in mapping of passages, or a file that holds one.
    Mapping,
    /// librdkafka properties by name; each is a setting of its own.
    Properties,
}

/// One row of [`KEYS`].
#[derive(Debug)]
pub(super) struct Key {
    /// Full path; keys of `[[source]]` carry no index here.
    pub path: &'static str,
    pub kind: Kind,
    /// Whether a table that holds any key must hold this one.
    pub required: bool,
}

impl Key {
    /// `mqtt.tls` of `mqtt.tls.ca_file`.
    pub fn section(&self) -> &'static str {
        self.path.rsplit_once('.').map_or("", |(section, _)| section)
    }

    /// `ca_file` of `mqtt.tls.ca_file`.
    pub fn name(&self) -> &'static str {
        self.path.rsplit_once('.').map_or(self.path, |(_, name)| name)
    }
}

const fn must(path: &'static str, kind: Kind) -> Key {
    Key { path, kind, required: true }
}

const fn may(path: &'static str, kind: Kind) -> Key {
    Key { path, kind, required: false }
}

/// In the order of the default file.
#[rustfmt::skip]
pub(super) static KEYS: &[Key] = &[
    must("service.instance", Text),
    must("service.log", LogFilter),
    must("service.log_format", Choice(&["json", "text"])),
    must("service.shutdown_seconds", Integer(1, 600)),

    must("mqtt.url", Url(&["mqtt", "mqtts"])),
    may("mqtt.username", Text),
    may("mqtt.password", Secret),
    must("mqtt.client_id_prefix", Word),
    must("mqtt.group", WordOrEmpty),
    must("mqtt.connections", Integer(1, 16)),
    must("mqtt.receive_maximum", Integer(2, 65_535)),
    must("mqtt.session_expiry_seconds", Integer(60, u32::MAX as i64)),
    must("mqtt.keep_alive_seconds", Integer(5, 3_600)),
    // 268 435 455 is the largest remaining length MQTT can say.
    must("mqtt.max_packet_bytes", Integer(4_096, 268_435_455)),
    must("mqtt.max_payload_bytes", Integer(1_024, 268_435_455)),
    must("mqtt.budget_bytes", Integer(65_536, u32::MAX as i64)),
    must("mqtt.backoff_min_ms", Integer(10, 60_000)),
    must("mqtt.backoff_max_ms", Integer(10, 3_600_000)),
    must("mqtt.tls.ca_file", File),
    may("mqtt.tls.cert_file", File),
    may("mqtt.tls.key_file", File),

    must("source.name", Word),
    must("source.kind", Choice(&["rs", "obd", "retrofit", "nonroad"])),
    must("source.filter", Filter),
    may("source.protocol", Choice(&["auto", "gb17691", "hj1239", "hj1014"])),
    may("source.hex_pointers", Pointers),
    may("source.plausible_past_days", Integer(1, 36_500)),
    // A hundred years of minutes: frames with times far ahead can be let in for tests.
    may("source.plausible_future_minutes", Integer(0, 52_560_000)),
    may("source.unknown_device", Choice(&["store", "quarantine"])),
    may("source.allow_missing_checksum", Flag),
    may("source.mapping", Mapping),

    must("database.url", DatabaseUrl),
    may("database.password", Secret),
    must("database.writers", Integer(1, 16)),
    must("database.batch_readings", Integer(1, 50_000)),
    must("database.linger_ms", Integer(0, 1_000)),
    must("database.statement_timeout_seconds", Integer(1, 3_600)),
    must("database.read_connections", Integer(1, 64)),
    must("database.migrate", Flag),
    may("database.ca_file", File),

    must("kafka.brokers", HostPorts),
    must("kafka.transactional_id", Word),
    may("kafka.password", Secret),
    may("kafka.properties", Properties),

    must("http.listen", Listen),
    may("http.write_token", Secret),

    may("judge.limits_file", File),
    may("judge.rules_file", File),
    may("judge.terminal_file", File),
    must("judge.live_seconds", Integer(0, 86_400)),
    must("judge.plate_confidence_min", Number(0.0, 1.0)),
    must("judge.same_passage_seconds", Integer(0, 3_600)),
    must("judge.nox_consecutive_seconds", Integer(1, 86_400)),
    must("judge.nox_limit_ppm", Number(0.0, 5_000.0)),
    must("judge.nox_min_rpm", Number(0.0, 10_000.0)),
    must("judge.nox_min_coolant_c", Number(-40.0, 200.0)),
    must("judge.nox_min_scr_inlet_c", Number(-40.0, 1_000.0)),

    must("judge.plates.local_prefixes", Names),
    must("judge.plates.suspected_lists", Names),
    must("judge.plates.suspected_over", Flag),
    must("judge.plates.clone_window_seconds", Integer(0, 86_400)),
    must("judge.plates.clone_speed_kmh", Number(50.0, 400.0)),
    must("judge.plates.clone_position_uncertainty_m", Number(0.0, 10_000.0)),
    must("judge.plates.clone_clock_uncertainty_seconds", Number(0.0, 3_600.0)),

    must("signature.mode", Choice(&["off", "sample", "full"])),
    must("signature.sample_share", Number(0.0, 1.0)),
    must("signature.threads", Integer(1, 64)),
    must("signature.form", Choice(&["lengths", "raw", "der"])),
    must("signature.signed_from", Choice(&["unit", "command", "marker"])),
    must("signature.signed_lengths", Choice(&["none", "first", "both"])),
    must("signature.header_length", Choice(&["as_sent", "without_signature"])),
    must("signature.user_id", Text),

    must("retention.raw_packets_days", Integer(1, 3_650)),
    // Two years are at most 731 days, and retention has to be longer than what judgement looks back.
    must("retention.readings_days", Integer(732, 36_500)),
    must("retention.compress_after_days", Integer(7, 3_650)),

    must("import.max_removed_share", Number(0.0, 1.0)),
];

/// Properties of librdkafka that the relay's promises rest on; they are not up to configuration.
pub(super) const OWN_PROPERTIES: &[&str] =
    &["bootstrap.servers", "metadata.broker.list", "transactional.id", "enable.idempotence", "acks", "sasl.password"];

/// Finds the row of a full path.
pub(super) fn key(path: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.path == path)
}

/// Whether some key lies in the table of this path.
pub(super) fn is_section(path: &str) -> bool {
    KEYS.iter().any(|key| key.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')))
}

/// Names that may stand directly in the table of this path; the empty path is the whole file.
pub(super) fn children(path: &str) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = Vec::new();
    for key in KEYS {
        let rest = if path.is_empty() {
            Some(key.path)
        } else {
            key.path.strip_prefix(path).and_then(|rest| rest.strip_prefix('.'))
        };
        let Some(name) = rest.and_then(|rest| rest.split('.').next()) else { continue };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The name most like a mistyped one, if any is near enough to be meant.
pub(super) fn nearest<'a>(typed: &str, names: &[&'a str]) -> Option<&'a str> {
    let allowed = 2.max(typed.chars().count() / 3);
    names
        .iter()
        .map(|name| (strsim::damerau_levenshtein(typed, name), *name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_name_and_nonsense_does_not() {
        assert_eq!(nearest("conections", &children("mqtt")), Some("connections"));
        assert_eq!(nearest("reicve_maximum", &children("mqtt")), Some("receive_maximum"));
        assert_eq!(nearest("databse", &children("")), Some("database"));
        assert_eq!(nearest("zzz", &children("mqtt")), None);
    }

    #[test]
    fn sections_and_children_follow_from_the_table() {
        assert!(is_section("mqtt.tls") && is_section("source") && !is_section("mqtt.url") && !is_section("mq"));
        assert_eq!(children("mqtt.tls"), ["ca_file", "cert_file", "key_file"]);
        assert!(children("mqtt").contains(&"tls"));
    }
}
