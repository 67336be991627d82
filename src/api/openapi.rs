//! The OpenAPI document: what the routes say about themselves. `schemas/openapi.json` is its committed form.

use std::sync::LazyLock;

use axum::{http::header, response::IntoResponse};
use utoipa::openapi::{
    ComponentsBuilder, ContactBuilder, InfoBuilder, OpenApi, OpenApiBuilder,
    security::{Http, HttpAuthScheme, SecurityScheme},
    tag::TagBuilder,
};

/// Title and sections, to which the routes add themselves.
pub(super) fn header() -> OpenApi {
    let info = InfoBuilder::new()
        .title("dieselwatch")
        .version("v1")
        .description(Some(
            "Readings, findings, events and quarantine of a district's monitoring of mobile sources. Read only but for \
             warnings, which need a token. Times are RFC 3339; every error is a problem detail (RFC 9457).",
        ))
        .contact(None::<ContactBuilder>.map(ContactBuilder::build))
        .build();
    let tags = [
        ("findings", "What is held against vehicles, terminals and machines"),
        ("readings", "Passages through remote-sensing stations"),
        ("vehicles", "What other desks ask about a vehicle"),
        ("quarantine", "Messages and readings put aside, with their raw bytes"),
        ("events", "The events of the Kafka topics, over HTTP"),
        ("map", "Zones"),
        ("warnings", "Heavy-pollution warnings"),
        ("live", "What the console shows"),
        ("operation", "Health, metrics, this document"),
    ];
    let tags = tags.map(|(name, text)| TagBuilder::new().name(name).description(Some(text)).build());
    let token = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
    let components = ComponentsBuilder::new().security_scheme("write_token", token).build();
    OpenApiBuilder::new().info(info).tags(Some(tags)).components(Some(components)).build()
}

static TEXT: LazyLock<String> = LazyLock::new(|| {
    let mut text = super::routes().into_openapi().to_pretty_json().unwrap_or_default();
    text.push('\n');
    text
});

/// The document as committed and as `dieselwatch openapi` prints it: JSON, two blanks, a line end.
pub fn document() -> &'static str {
    &TEXT
}

/// This document.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "operation",
    responses((status = OK, body = Object, content_type = "application/json"))
)]
pub async fn show() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], document())
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMITTED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/schemas/openapi.json");

    /// `UPDATE_SCHEMAS=1 cargo test openapi` writes the file anew.
    #[test]
    fn the_committed_document_is_what_the_routes_say() {
        if std::env::var_os("UPDATE_SCHEMAS").is_some() {
            std::fs::write(COMMITTED, document()).expect("writes schemas/openapi.json");
        }
        let committed = std::fs::read_to_string(COMMITTED).expect("reads schemas/openapi.json");
        assert!(
            committed == document(),
            "schemas/openapi.json is out of date: run UPDATE_SCHEMAS=1 cargo test openapi"
        );
    }

    #[test]
    fn every_reference_leads_somewhere_and_every_route_is_described() {
        let document: serde_json::Value = serde_json::from_str(document()).expect("JSON");
        let mut open = vec![&document];
        while let Some(value) = open.pop() {
            if let Some(target) = value.get("$ref").and_then(|target| target.as_str()) {
                assert!(document.pointer(&target[1..]).is_some(), "{target} leads nowhere");
            }
            match value {
                serde_json::Value::Object(fields) => open.extend(fields.values()),
                serde_json::Value::Array(items) => open.extend(items),
                _ => {}
            }
        }
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (method, said) in item.as_object().expect("methods") {
                assert!(said["summary"].is_string() || said["description"].is_string(), "{method} {path} says nothing");
                assert!(said["tags"].is_array(), "{method} {path} is in no section");
            }
        }
    }
}
