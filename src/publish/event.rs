//! What police systems read: CloudEvents 1.0, structured JSON, made from a finding and its revision.
//!
//! * `id` is made of finding and revision, so a repeat is recognisable and a finding that is revoked and made again
//!   gives different events.
//! * `time` is when the service made the event; `data.from` and `data.to` say when it happened on the road.
//! * A higher `revision` of the same `finding` replaces the lower one: `violation.raised` with revision 3 states the
//!   finding as it stands now, `violation.revoked` says that it no longer stands.
//! * A finding that waits for a person is published with its review state, so that the queue can filter; it never
//!   becomes an intercept.

mod stand_in;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    finding::{self, Finding, Review, Subject},
    reading::Timestamp,
};

pub use stand_in::{StandIn, TYPE as STAND_IN, stand_in};

/// `source` of every event. Together with `id` it is unique, because ids are made of finding ids.
pub const SOURCE: &str = "/dieselwatch";

/// `Content-Type` of the Kafka record and of an event served over HTTP.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";

/// Largest payload, bytes. Kafka's default `max.message.bytes` is 1 MiB; a payload near it is a mistake in a rule. Where a
/// topic takes less than this, a [`stand_in()`] goes out.
pub const MAX_PAYLOAD_BYTES: usize = 256 * 1024;

/// Where an event goes. The number is what the outbox stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i16)]
pub enum Topic {
    Violations = 1,
    Intercepts = 2,
}

impl Topic {
    pub const ALL: [Topic; 2] = [Topic::Violations, Topic::Intercepts];

    /// Name of the Kafka topic.
    pub const fn name(self) -> &'static str {
        match self {
            Topic::Violations => "dieselwatch.violations.v1",
            Topic::Intercepts => "dieselwatch.intercepts.v1",
        }
    }

    pub const fn code(self) -> i16 {
        self as i16
    }

    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.code() == code)
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.name() == name)
    }
}

/// One event, ready for the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub topic: Topic,
    /// The CloudEvents `id`; the outbox takes each only once.
    pub id: Uuid,
    /// Record key and CloudEvents `subject`: plate and colour, VIN or machine id.
    pub key: String,
    /// The whole event as JSON text.
    pub payload: Vec<u8>,
}

/// The events of a finding that is made, or stated again, as `revision`: the violation, and the intercept when an
/// officer is needed now and no person has to look first.
pub fn raised(finding: &Finding, revision: i32) -> Vec<Event> {
    raised_at(finding, revision, Timestamp::now())
}

/// The event of a finding that no longer stands; `why` is for people.
pub fn revoked(finding: &Finding, revision: i32, why: &str) -> Event {
    revoked_at(finding, revision, why, Timestamp::now())
}

/// [`raised`] with the time given.
pub fn raised_at(finding: &Finding, revision: i32, at: Timestamp) -> Vec<Event> {
    let id = finding::event_id(finding.id, revision);
    let mut events = vec![envelope(Kind::Raised, id, finding, at, |content| Violation::of(finding, revision, content))];
    if finding.intercept && finding.review == Review::NotNeeded {
        // Both events state the same revision of the same finding, so the intercept's id derives from the violation's.
        let id = Uuid::new_v5(&id, b"intercept");
        let intercept = |content| Intercept { statement: Statement::of(finding, revision, content) };
        events.push(envelope(Kind::Intercept, id, finding, at, intercept));
    }
    events
}

/// [`revoked`] with the time given.
pub fn revoked_at(finding: &Finding, revision: i32, why: &str, at: Timestamp) -> Event {
    let data = |content| Revocation { violation: Violation::of(finding, revision, content), why };
    envelope(Kind::Revoked, finding::event_id(finding.id, revision), finding, at, data)
}

#[derive(Clone, Copy)]
enum Kind {
    Raised,
    Revoked,
    Intercept,
}

impl Kind {
    const fn parts(self) -> (Topic, &'static str, &'static str) {
        match self {
            Kind::Raised => (Topic::Violations, "dieselwatch.violation.raised", "violation-raised.v1.schema.json"),
            Kind::Revoked => (Topic::Violations, "dieselwatch.violation.revoked", "violation-revoked.v1.schema.json"),
            Kind::Intercept => (Topic::Intercepts, "dieselwatch.intercept.raised", "intercept-raised.v1.schema.json"),
        }
    }
}

/// Serialised straight from the finding: a busy road makes a thousand events a second, and a copy of the content for each
/// layer around it was most of what one cost.
fn envelope<'a, D: Serialize>(
    kind: Kind,
    id: Uuid,
    finding: &'a Finding,
    at: Timestamp,
    data: impl Fn(Content<'a>) -> D,
) -> Event {
    let (topic, name, schema) = kind.parts();
    let key = finding.subject.to_string();
    let text = |content| {
        let envelope = Envelope {
            specversion: "1.0",
            id,
            source: SOURCE,
            r#type: name,
            subject: &key,
            time: &at,
            datacontenttype: "application/json",
            dataschema: format!("urn:dieselwatch:schemas/events/{schema}"),
            data: data(content),
        };
        serde_json::to_vec(&envelope).expect("maps have text for keys and there is no float that is not a number")
    };
    let whole = text(Content::Whole(&finding.content));
    let payload = match whole.len() {
        ..=MAX_PAYLOAD_BYTES => whole,
        bytes => text(Content::TooLarge { bytes }),
    };
    Event { topic, id, key, payload }
}

/// The finding's content, or a note in its place; the finding keeps it.
#[derive(Clone, Copy)]
enum Content<'a> {
    Whole(&'a Value),
    TooLarge { bytes: usize },
}

impl Serialize for Content<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Content::Whole(content) => content.serialize(serializer),
            Content::TooLarge { bytes } => {
                json!({ "omitted": "too large for an event; read the finding over HTTP", "bytes": bytes })
                    .serialize(serializer)
            }
        }
    }
}

#[derive(Serialize)]
struct Envelope<'a, T, D> {
    specversion: &'static str,
    id: Uuid,
    source: &'static str,
    r#type: &'static str,
    subject: &'a str,
    time: &'a T,
    datacontenttype: &'static str,
    dataschema: String,
    data: D,
}

/// A finding as it stands at this revision.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Data of dieselwatch.violation.raised")]
pub struct Violation<'a> {
    #[serde(flatten)]
    statement: Statement<'a>,
    review: ReviewState<'a>,
}

/// A finding that no longer stands; everything else is as it stood last.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Data of dieselwatch.violation.revoked")]
pub struct Revocation<'a> {
    #[serde(flatten)]
    violation: Violation<'a>,
    /// Why it was withdrawn, for people.
    why: &'a str,
}

/// A finding for which an officer is needed now: live, matched exactly and confidently, waiting for nobody.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Data of dieselwatch.intercept.raised")]
pub struct Intercept<'a> {
    #[serde(flatten)]
    statement: Statement<'a>,
}

#[derive(Serialize, JsonSchema)]
struct Statement<'a> {
    /// Id of the finding (UUIDv5), the same in every revision.
    #[schemars(with = "String", extend("format" = "uuid"))]
    finding: Uuid,
    /// Counts up from 1; the highest one holds.
    #[schemars(range(min = 1))]
    revision: i32,
    /// The rule that fired, such as `HJ845.over`.
    rule: &'a str,
    subject_kind: SubjectKind,
    /// When it began, by the reading's own clock.
    #[schemars(with = "String", extend("format" = "date-time"))]
    from: Timestamp,
    /// When it ended; equal to `from` for a moment.
    #[schemars(with = "String", extend("format" = "date-time"))]
    to: Timestamp,
    /// Values, limits, units, standard and clause, list entries and versions behind the finding.
    #[schemars(with = "Value")]
    content: Content<'a>,
}

#[derive(Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum SubjectKind {
    /// `subject` is `plate:colour`.
    Vehicle,
    /// `subject` is the VIN or number a terminal reports under.
    Terminal,
    /// `subject` is a machine's code.
    Machine,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "snake_case", tag = "state", content = "why")]
enum ReviewState<'a> {
    NotNeeded,
    /// Waits for a person, for these reasons; not for the police queue yet.
    Needed(&'a [std::borrow::Cow<'static, str>]),
}

impl<'a> Statement<'a> {
    fn of(finding: &'a Finding, revision: i32, content: Content<'a>) -> Self {
        let subject_kind = match finding.subject {
            Subject::Vehicle(_) => SubjectKind::Vehicle,
            Subject::Terminal(_) => SubjectKind::Terminal,
            Subject::Machine(_) => SubjectKind::Machine,
        };
        Self {
            finding: finding.id,
            revision,
            rule: &finding.rule,
            subject_kind,
            from: finding.from,
            to: finding.to,
            content,
        }
    }
}

impl<'a> Violation<'a> {
    fn of(finding: &'a Finding, revision: i32, content: Content<'a>) -> Self {
        let review = match &finding.review {
            Review::NotNeeded => ReviewState::NotNeeded,
            Review::Needed(why) => ReviewState::Needed(why),
        };
        Self { statement: Statement::of(finding, revision, content), review }
    }
}

/// File name and content of each schema under `schemas/events/`; what the `schema` command prints and a test compares.
pub fn schemas() -> [(&'static str, Value); 4] {
    fn of<T: JsonSchema>(file: &'static str) -> (&'static str, Value) {
        let generator = schemars::generate::SchemaSettings::draft2020_12().for_serialize().into_generator();
        let mut schema = generator.into_root_schema_for::<T>();
        schema.insert("$id".into(), json!(format!("urn:dieselwatch:schemas/events/{file}")));
        (file, schema.to_value())
    }
    [
        of::<Violation>(Kind::Raised.parts().2),
        of::<Revocation>(Kind::Revoked.parts().2),
        of::<Intercept>(Kind::Intercept.parts().2),
        of::<StandIn>(stand_in::SCHEMA),
    ]
}

#[cfg(test)]
mod tests;
