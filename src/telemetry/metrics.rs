//! Every metric name once. `dieselwatch_subject_unit_total`; labels only from closed sets, never a device, plate or topic.
//!
//! A name is a constant, so that a typing error does not compile, and a row of [`TABLE`], so that it has a kind, a help
//! text and a list of the labels it may carry. Durations are seconds, sizes bytes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::Books;

// The two books (contract section 8). Only `Books` writes these, at the moment of a scrape.
pub const MESSAGES_RECEIVED: &str = "dieselwatch_messages_received_total";
pub const MESSAGES_SETTLED: &str = "dieselwatch_messages_settled_total";
pub const MESSAGES_RETURNED: &str = "dieselwatch_messages_returned_total";
pub const MESSAGES_IN_FLIGHT: &str = "dieselwatch_messages_in_flight";
pub const READINGS_DECODED: &str = "dieselwatch_readings_decoded_total";
pub const READINGS_STORED: &str = "dieselwatch_readings_stored_total";
pub const READINGS_DUPLICATE: &str = "dieselwatch_readings_duplicate_total";
pub const READINGS_CONFLICT: &str = "dieselwatch_readings_conflict_total";
pub const READINGS_QUARANTINED: &str = "dieselwatch_readings_quarantined_total";
pub const UNKNOWN_FIELDS: &str = "dieselwatch_unknown_fields_total";

// Ingest.
pub const INGEST_CONNECTIONS: &str = "dieselwatch_ingest_connections";
pub const INGEST_CONNECTIONS_UP: &str = "dieselwatch_ingest_connections_up";
pub const INGEST_RECONNECTS: &str = "dieselwatch_ingest_reconnects_total";
pub const INGEST_SESSIONS_LOST: &str = "dieselwatch_ingest_sessions_lost_total";
pub const INGEST_PAUSES: &str = "dieselwatch_ingest_pauses_total";
pub const INGEST_BUDGET_HELD: &str = "dieselwatch_ingest_budget_held_bytes";
pub const DEVICES: &str = "dieselwatch_devices";
pub const DEVICE_STATES_REFUSED: &str = "dieselwatch_device_states_refused_total";

// Store.
pub const BATCH_READINGS: &str = "dieselwatch_batch_readings";
pub const BATCH_COMMIT_SECONDS: &str = "dieselwatch_batch_commit_seconds";
pub const ACK_SECONDS: &str = "dieselwatch_ack_seconds";
pub const STORE_QUEUE_BYTES: &str = "dieselwatch_store_queue_bytes";
pub const COMMIT_LAG_SECONDS: &str = "dieselwatch_commit_lag_seconds";
pub const DATABASE_ERRORS: &str = "dieselwatch_database_errors_total";
pub const DATABASE_CLOCK_OFFSET_SECONDS: &str = "dieselwatch_database_clock_offset_seconds";

// Judgement and evaluation.
pub const FINDINGS: &str = "dieselwatch_findings_total";
pub const FINDINGS_REVOKED: &str = "dieselwatch_findings_revoked_total";
pub const RULES_UNDETERMINED: &str = "dieselwatch_rules_undetermined_total";
pub const INTERCEPTS: &str = "dieselwatch_intercepts_total";
pub const EVALUATION_BACKLOG: &str = "dieselwatch_evaluation_backlog_tasks";
pub const EVALUATION_OLDEST_SECONDS: &str = "dieselwatch_evaluation_oldest_seconds";
pub const TERMINAL_BACKLOG: &str = "dieselwatch_terminal_backlog_windows";
pub const TERMINAL_OLDEST_SECONDS: &str = "dieselwatch_terminal_oldest_seconds";
pub const EVALUATION_SECONDS: &str = "dieselwatch_evaluation_seconds";
pub const SIGHTING_SWEEP_BACKLOG: &str = "dieselwatch_sighting_sweep_batches";
pub const KNOWLEDGE_VERSION: &str = "dieselwatch_knowledge_version";
pub const KNOWLEDGE_ENTRIES: &str = "dieselwatch_knowledge_entries";
pub const KNOWLEDGE_RELOADS: &str = "dieselwatch_knowledge_reloads_total";
pub const KNOWLEDGE_FAILURES: &str = "dieselwatch_knowledge_failures_total";
pub const KNOWLEDGE_LOAD_SECONDS: &str = "dieselwatch_knowledge_load_seconds";

// Signatures.
pub const SIGNATURES: &str = "dieselwatch_signatures_total";
pub const SIGNATURE_BACKLOG: &str = "dieselwatch_signature_backlog_packets";
pub const SIGNATURE_LAG_SECONDS: &str = "dieselwatch_signature_lag_seconds";

// Publish.
pub const OUTBOX_UNSENT: &str = "dieselwatch_outbox_unsent_events";
pub const RELAY_LAG_SECONDS: &str = "dieselwatch_relay_lag_seconds";
pub const EVENTS_NOT_IN_FULL: &str = "dieselwatch_events_not_in_full";
pub const EVENTS_PUBLISHED: &str = "dieselwatch_events_published_total";
pub const EVENT_PUBLISH_SECONDS: &str = "dieselwatch_event_publish_seconds";
pub const KAFKA_TRANSACTION_SECONDS: &str = "dieselwatch_kafka_transaction_seconds";
pub const KAFKA_ERRORS: &str = "dieselwatch_kafka_errors_total";

// HTTP and the process.
pub const HTTP_RESPONSES: &str = "dieselwatch_http_responses_total";
pub const HTTP_STREAMS: &str = "dieselwatch_http_streams";
pub const PROCESS_CPU_SECONDS: &str = "dieselwatch_process_cpu_seconds";
pub const PROCESS_RESIDENT_BYTES: &str = "dieselwatch_process_resident_bytes";
pub const PART_UP: &str = "dieselwatch_part_up";
pub const BUILD_INFO: &str = "dieselwatch_build_info";

/// What a metric is; a histogram carries its bucket bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram(&'static [f64]),
}

/// One row of [`TABLE`].
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    pub name: &'static str,
    pub kind: Kind,
    /// Every label it may carry, all from [`LABELS`].
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

/// Every label key there is, with the closed set its values come from.
pub const LABELS: &[(&str, &str)] = &[
    ("source", "names of [[source]] in the configuration"),
    ("reason", "fault::Reason"),
    ("rule", "rules of judge and evaluate"),
    ("missing", "inputs that the rules of judge::nonroad name"),
    ("part", "kinds of vehicle::knowledge::Knowledge::sizes; api::readiness::Part"),
    ("class", "meters::ErrorClass; for HTTP the first digit of the status"),
    ("topic", "topics of the contract, section 6"),
    ("state", "online or offline"),
    ("result", "signature::Outcome"),
    ("version", "the version of this build"),
];

/// 1 ms to 30 s: a commit on a local disk takes about 5 ms, the statement timeout is the top.
const SECONDS: &[f64] = &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// One reading to the largest batch worth configuring (receive window of 65 535).
const READINGS: &[f64] = &[1.0, 4.0, 16.0, 64.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 16384.0, 65536.0];

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, buckets: &'static [f64], help: &'static str) -> Metric {
    Metric { name, kind: Kind::Histogram(buckets), labels: &[], help }
}

/// Kind, labels and meaning of every metric.
#[rustfmt::skip]
pub const TABLE: &[Metric] = &[
    counter(MESSAGES_RECEIVED, &["source"], "Messages taken from the broker"),
    counter(MESSAGES_SETTLED, &["source"], "Messages acknowledged after everything in them was committed"),
    counter(MESSAGES_RETURNED, &["source"], "Messages whose connection was lost before the acknowledgement; they come again"),
    gauge(MESSAGES_IN_FLIGHT, &["source"], "Messages received and neither settled nor returned, counted in the ack rings"),
    counter(READINGS_DECODED, &["source"], "Readings found in messages, good and bad"),
    counter(READINGS_STORED, &["source"], "Readings committed for the first time"),
    counter(READINGS_DUPLICATE, &["source"], "Readings already stored with the same content"),
    counter(READINGS_CONFLICT, &["source"], "Readings whose key was stored before with other content; kept beside it"),
    counter(READINGS_QUARANTINED, &["source", "reason"], "Readings put aside with their raw bytes"),
    counter(UNKNOWN_FIELDS, &["source"], "Fields of readings that nobody reads, repeats included"),
    gauge(INGEST_CONNECTIONS, &[], "Broker connections this process holds a slot for"),
    gauge(INGEST_CONNECTIONS_UP, &[], "Broker connections that are established and subscribed"),
    counter(INGEST_RECONNECTS, &[], "Broker connections established again after a loss"),
    counter(INGEST_SESSIONS_LOST, &[], "Reconnects where the broker no longer had our session: messages may be gone"),
    counter(INGEST_PAUSES, &[], "Times reading from the broker stopped because the byte budget was spent"),
    gauge(INGEST_BUDGET_HELD, &[], "Payload bytes held in memory against the budget"),
    gauge(DEVICES, &["state"], "Devices by the state they last announced"),
    counter(DEVICE_STATES_REFUSED, &[], "Announced device states that could not be read or exceeded the bound"),
    histogram(BATCH_READINGS, READINGS, "Readings in a committed batch"),
    histogram(BATCH_COMMIT_SECONDS, SECONDS, "Time from the start of a batch's transaction to its commit"),
    histogram(ACK_SECONDS, SECONDS, "Time from a message's arrival to its settlement"),
    gauge(STORE_QUEUE_BYTES, &[], "Payload bytes decoded and waiting for a writer"),
    gauge(COMMIT_LAG_SECONDS, &[], "Age, at its commit, of the oldest message of the last batch; while nothing commits, how long messages wait, 0 for none"),
    counter(DATABASE_ERRORS, &["class"], "Failed database operations by what is done about them"),
    gauge(DATABASE_CLOCK_OFFSET_SECONDS, &[], "How far the database server's clock is ahead of this machine's; negative: behind"),
    counter(FINDINGS, &["rule"], "Findings made, first time or again after a revocation"),
    counter(FINDINGS_REVOKED, &["rule"], "Findings withdrawn because the facts changed"),
    counter(RULES_UNDETERMINED, &["rule", "missing"], "Readings of machines that a rule could not decide, by the input that is missing"),
    counter(INTERCEPTS, &[], "Findings that asked for an officer at once"),
    gauge(EVALUATION_BACKLOG, &[], "Evaluation tasks nobody has finished"),
    gauge(EVALUATION_OLDEST_SECONDS, &[], "Age of the oldest unfinished evaluation task"),
    gauge(TERMINAL_BACKLOG, &[], "Windows of terminals that are due and not evaluated"),
    gauge(TERMINAL_OLDEST_SECONDS, &[], "How long the first of them has been due"),
    gauge(SIGHTING_SWEEP_BACKLOG, &[], "Committed batches not yet compared for plates at two places; 0 while it keeps up"),
    histogram(EVALUATION_SECONDS, SECONDS, "Time to evaluate and reconcile one subject"),
    gauge(KNOWLEDGE_VERSION, &["part"], "Version of the register, lists (the highest), zones, stations and devices in use"),
    gauge(KNOWLEDGE_ENTRIES, &["part"], "Entries of the register, lists, zones, stations and devices in use"),
    counter(KNOWLEDGE_RELOADS, &[], "Times another version of any of them was put in use"),
    counter(KNOWLEDGE_FAILURES, &[], "Times loading or listening failed and was tried again"),
    histogram(KNOWLEDGE_LOAD_SECONDS, SECONDS, "Time to load what changed"),
    counter(SIGNATURES, &["result"], "Packets whose signature was looked at, by what came of it"),
    gauge(SIGNATURE_BACKLOG, &[], "Packets whose signature waits for verification, counted up to a hundred thousand"),
    gauge(SIGNATURE_LAG_SECONDS, &[], "Age of the packet that has waited longest for verification, 0 when none waits"),
    gauge(OUTBOX_UNSENT, &[], "Committed events that are not out yet"),
    gauge(RELAY_LAG_SECONDS, &[], "Age of the oldest event that is not out yet"),
    gauge(EVENTS_NOT_IN_FULL, &[], "Events that Kafka has not taken in full, whether a stand-in is out or nothing; counted up to a hundred thousand"),
    counter(EVENTS_PUBLISHED, &["topic"], "Events put out, to Kafka or for HTTP"),
    histogram(EVENT_PUBLISH_SECONDS, SECONDS, "Time from an event's creation to its being readable"),
    histogram(KAFKA_TRANSACTION_SECONDS, SECONDS, "Time from handing a batch of events to Kafka to its commit"),
    counter(KAFKA_ERRORS, &["class"], "Failed Kafka operations by what is done about them"),
    counter(HTTP_RESPONSES, &["class"], "HTTP responses by class of status"),
    gauge(HTTP_STREAMS, &[], "Open server-sent event streams"),
    gauge(PROCESS_CPU_SECONDS, &[], "Processor time of this process since its start, user and system"),
    gauge(PROCESS_RESIDENT_BYTES, &[], "Resident memory of this process"),
    gauge(PART_UP, &["part"], "1 while the part works, also in part; 0 while it does not or has not yet"),
    gauge(BUILD_INFO, &["version"], "Always 1"),
];

/// How often histograms are folded into their buckets. Without it they grow until somebody scrapes.
const UPKEEP: Duration = Duration::from_secs(5);

/// The recorder of this process: one, because the `metrics` facade has one.
static RECORDER: Mutex<Option<PrometheusHandle>> = Mutex::new(None);

/// Renders what was recorded; made by [`install`].
#[derive(Clone)]
pub struct Handle {
    prometheus: PrometheusHandle,
    books: Arc<Books>,
}

/// Installs the recorder of this process and describes every metric; a second call shares the first one's recorder, so
/// that several services can run in one test process (their books stay apart). Register meters only afterwards.
///
/// # Errors
/// A bucket list of [`TABLE`] is empty, or another recorder than ours was installed before.
pub fn install(books: Arc<Books>) -> Result<Handle, BuildError> {
    let mut installed = RECORDER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(prometheus) = &*installed {
        return Ok(Handle { prometheus: prometheus.clone(), books });
    }
    let mut builder = PrometheusBuilder::new().set_buckets(SECONDS)?;
    for metric in TABLE {
        if let Kind::Histogram(buckets) = metric.kind {
            builder = builder.set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets)?;
        }
    }
    let recorder = builder.build_recorder();
    let prometheus = recorder.handle();
    ::metrics::set_global_recorder(recorder)?;
    for metric in TABLE {
        match metric.kind {
            Kind::Counter => ::metrics::describe_counter!(metric.name, metric.help),
            Kind::Gauge => ::metrics::describe_gauge!(metric.name, metric.help),
            Kind::Histogram(_) => ::metrics::describe_histogram!(metric.name, metric.help),
        }
    }
    ::metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    *installed = Some(prometheus.clone());
    Ok(Handle { prometheus, books })
}

impl Handle {
    /// The Prometheus text format, with the books, the levels and the process as they are at this moment.
    pub fn render(&self) -> String {
        self.books.publish();
        super::process::publish();
        self.prometheus.render()
    }

    /// Folds histograms into their buckets until `stop`.
    pub fn spawn_upkeep(&self, stop: CancellationToken) -> JoinHandle<()> {
        let prometheus = self.prometheus.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(UPKEEP);
            while stop.run_until_cancelled(ticks.tick()).await.is_some() {
                prometheus.run_upkeep();
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::telemetry::Meters;

    /// `dieselwatch` and then words of lower-case letters and digits that begin with a letter.
    fn follows_grammar(name: &str) -> bool {
        let mut words = name.split('_');
        words.next() == Some("dieselwatch")
            && words.clone().count() > 0
            && words.all(|word| {
                word.starts_with(|c: char| c.is_ascii_lowercase())
                    && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            })
    }

    #[test]
    fn names_follow_the_grammar() {
        let mut seen = BTreeSet::new();
        for metric in TABLE {
            assert!(follows_grammar(metric.name), "{}", metric.name);
            assert!(seen.insert(metric.name), "{} is there twice", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == Kind::Counter, "{}", metric.name);
            assert!(!metric.help.is_empty() && !metric.help.ends_with('.'), "{}", metric.name);
            if let Kind::Histogram(buckets) = metric.kind {
                assert!(buckets.is_sorted() && !buckets.is_empty(), "{}", metric.name);
            }
        }
        assert!(!follows_grammar("dieselwatch") && !follows_grammar("dieselwatch_A") && !follows_grammar("other_a"));
    }

    #[test]
    fn every_named_metric_is_in_the_table() {
        let named = include_str!("metrics.rs")
            .lines()
            .filter_map(|line| line.strip_prefix("pub const ")?.split_once(": &str = \"")?.1.strip_suffix("\";"));
        let table: BTreeSet<_> = TABLE.iter().map(|metric| metric.name).collect();
        assert_eq!(named.collect::<BTreeSet<_>>(), table);
    }

    #[test]
    fn labels_are_of_the_closed_set() {
        let known: BTreeSet<_> = LABELS.iter().map(|(key, _)| *key).collect();
        for metric in TABLE {
            for label in metric.labels {
                assert!(known.contains(label), "{} carries {label}", metric.name);
            }
        }
    }

    /// What is really rendered, after every handle there is was registered, carries no name or label besides the table.
    #[test]
    fn what_is_rendered_is_in_the_table() {
        let books = Arc::new(Books::new(["rs", "obd"]));
        let handle = install(books.clone()).expect("installs");
        let meters = Meters::register(books.clone());
        meters.finding_made("HJ845.over", true);
        meters.rule_undetermined("GB36886.smoke", "power_unknown", 2);
        books.source(0).expect("rs").unknown_fields.add(3);
        meters.batch_readings.record(500.0);
        books.attach_messages(|| vec![super::super::books::MessageBook::default(); 2]);
        let table: BTreeMap<_, _> = TABLE.iter().map(|metric| (metric.name, metric)).collect();
        let text = handle.render();
        let mut lines = 0;
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let name = line.split(['{', ' ']).next().expect("a name");
            let metric = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| table.get(name.strip_suffix(end)?))
                .or_else(|| table.get(name))
                .unwrap_or_else(|| panic!("{name} is not in the table"));
            let labels = line.split_once('{').map_or("", |(_, rest)| rest.split('}').next().unwrap_or(""));
            for label in labels.split(',').filter_map(|pair| pair.split_once('=')).map(|(key, _)| key) {
                let bucket = label == "le" && matches!(metric.kind, Kind::Histogram(_));
                assert!(bucket || metric.labels.contains(&label), "{name} carries {label}");
            }
            lines += 1;
        }
        assert!(lines > 60, "{lines} lines only");
        assert!(text.contains("dieselwatch_batch_readings_bucket{le=\"512\"}"), "{text}");
        assert!(text.contains("dieselwatch_unknown_fields_total{source=\"rs\"} 3"), "{text}");
        let undetermined = "dieselwatch_rules_undetermined_total{rule=\"GB36886.smoke\",missing=\"power_unknown\"} 2";
        assert!(text.contains(undetermined), "{text}");
        assert!(text.contains("dieselwatch_readings_quarantined_total{source=\"obd\",reason=\"not_json\"}"), "{text}");
    }
}
