//! What goes out in the place of an event that does not fit: small, under the same key, and naming where the whole is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Envelope, SOURCE};

/// Its `type`.
pub const TYPE: &str = "dieselwatch.event.stand_in";

/// File name of its schema.
pub const SCHEMA: &str = "event-stand-in.v1.schema.json";

/// An event that is not here in full.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "Data of dieselwatch.event.stand_in")]
pub struct StandIn<'a> {
    /// `id` of the event that is missing here. It may come later, in full and under this id, at a later position.
    #[schemars(with = "String", extend("format" = "uuid"))]
    event: Uuid,
    /// `type` of the event that is missing here.
    r#type: &'a str,
    /// Its size, bytes of JSON text.
    bytes: usize,
    /// Why it is not here, for people.
    why: &'a str,
    /// Where to fetch it, a path at the service's HTTP address.
    href: String,
}

/// The members of an event that its stand-in takes over.
#[derive(Deserialize)]
struct Original {
    r#type: String,
    time: String,
}

/// The stand-in of the event `id` with the record key `key`: JSON text, the same each time it is made.
///
/// Its own `id` derives from the event's, so that a reader who drops what it has seen does not take the event, when that
/// comes at last, for its stand-in.
pub fn stand_in(id: Uuid, key: &str, payload: &[u8], why: &str) -> Vec<u8> {
    let original = serde_json::from_slice(payload);
    let Original { r#type, time } =
        original.unwrap_or_else(|_| Original { r#type: String::new(), time: String::new() });
    let data = StandIn { event: id, r#type: &r#type, bytes: payload.len(), why, href: format!("/api/v1/events/{id}") };
    let envelope = Envelope {
        specversion: "1.0",
        id: Uuid::new_v5(&id, b"stand-in"),
        source: SOURCE,
        r#type: TYPE,
        subject: key,
        time: &time,
        datacontenttype: "application/json",
        dataschema: format!("urn:dieselwatch:schemas/events/{SCHEMA}"),
        data,
    };
    serde_json::to_vec(&envelope).expect("maps have text for keys and there is no float that is not a number")
}
