//! The JSON messages as documentation: the source of `schemas/messages/{retrofit,nonroad}.schema.json`, made from the
//! tables of channels the decoder reads by.

use serde_json::{Map, Value, json};

use super::{
    super::body::{RetrofitSmoke, StreamChannels},
    id_field,
};
use crate::{config::SourceKind, decode::payload::ELEMENTS_MAX, reading::ids::MAX_ID_CHARS};

/// The schema of what such a device publishes as JSON; `None` for kinds that send no JSON of their own.
pub fn schema(kind: SourceKind) -> Option<Value> {
    let id = id_field(kind)?;
    let mut properties = Map::new();
    let mut set = |name: &str, value: Value| properties.insert(name.to_owned(), value);
    set(
        id,
        json!({
            "description": "The device's code; the same as in the topic.",
            "type": "string", "minLength": 1, "maxLength": MAX_ID_CHARS, "pattern": r"^[^\u0000-\u001f\u007f/+#]+$"
        }),
    );
    set("collected_at", json!({ "description": "RFC 3339 with offset.", "type": "string", "format": "date-time" }));
    set(
        "serial",
        json!({
            "description": "The device's own number of the message; restarts daily.",
            "type": ["integer", "null"], "minimum": 0, "maximum": u16::MAX
        }),
    );
    let degrees = json!({ "type": ["number", "null"] });
    set(
        "position",
        json!({
            "description": "WGS-84 degrees; `valid` is false while the last position is repeated without a fix.",
            "type": ["object", "null"],
            "properties": { "valid": { "type": "boolean" }, "lon": degrees, "lat": degrees },
            "required": ["valid", "lon", "lat"]
        }),
    );
    let mut one_of_them = Vec::new();
    if kind == SourceKind::Nonroad {
        set(
            "work_state",
            json!({
                "type": ["string", "null"], "enum": ["stopped", "idle", "working", "travelling", null]
            }),
        );
        let given = json!({ "properties": { "work_state": { "type": "string" } }, "required": ["work_state"] });
        one_of_them.push(given);
    }
    for channel in channels() {
        set(channel, json!({ "$ref": "#/$defs/Channel" }));
        one_of_them.push(json!({ "required": [channel] }));
    }
    let (title, what) = match kind {
        SourceKind::Nonroad => {
            ("NonroadMessage", "What a non-road machine publishes as JSON on `dw/v1/nonroad/{machine_id}/frame`.")
        }
        _ => ("RetrofitMessage", "What a retrofit terminal publishes as JSON on `dw/v1/retrofit/{terminal_id}/frame`."),
    };
    Some(json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": title,
        "description": what,
        "anyOf": [
            { "$ref": "#/$defs/Document" },
            { "type": "array", "minItems": 1, "maxItems": ELEMENTS_MAX, "items": { "$ref": "#/$defs/Document" } }
        ],
        "$defs": {
            "Document": {
                "description": "One moment of the device, with at least one channel. Fields beyond these are ignored and counted.",
                "type": "object",
                "properties": properties,
                "required": [id, "collected_at"],
                "anyOf": one_of_them
            },
            "Channel": {
                "description": "In the unit its name ends with; `null`: not available. A number that the channel cannot mean \
                    is kept apart as out of range, without harm to the others.",
                "type": ["number", "null"]
            }
        }
    }))
}

/// Names of the channels, each once.
fn channels() -> Vec<&'static str> {
    let mut names = Vec::new();
    StreamChannels::default().each(|name, _, _| names.push(name));
    RetrofitSmoke::default().each(|name, _, _| names.push(name));
    names
}
