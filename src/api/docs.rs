//! `/docs`: the OpenAPI document for people, without a script and without anything from elsewhere.

use std::{fmt::Write as _, sync::LazyLock};

use axum::{Router, response::Html, routing::get};
use serde_json::Value;

use super::{document, problem::Kind};
use crate::console;

pub fn routes<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new().route("/docs", get(async || Html(PAGE.as_str())))
}

static PAGE: LazyLock<String> = LazyLock::new(|| {
    let document = serde_json::from_str(document()).unwrap_or_default();
    let mut page = String::new();
    // Writing into a String cannot fail.
    let _infallible = write_page(&mut page, &document);
    page
});

fn write_page(out: &mut String, document: &Value) -> std::fmt::Result {
    writeln!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>dieselwatch API</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <link rel=\"icon\" href=\"{0}\"><link rel=\"stylesheet\" href=\"{1}\"></head><body class=\"docs\"><main>\
         <h1>dieselwatch API</h1><p>{2}</p>\
         <p><a href=\"/\">Console</a> · <a href=\"/api/v1/openapi.json\">openapi.json</a> · <a href=\"/metrics\">metrics</a></p>",
        console::address("favicon.svg"),
        console::address("docs.css"),
        text(&document["info"]["description"]),
    )?;
    for tag in items(&document["tags"]) {
        writeln!(out, "<h2>{}</h2><p>{}</p>", text(&tag["name"]), text(&tag["description"]))?;
        for (path, item) in fields(&document["paths"]) {
            for (method, said) in fields(item) {
                if items(&said["tags"]).any(|name| *name == tag["name"]) {
                    write_route(out, &method.to_ascii_uppercase(), path, said)?;
                }
            }
        }
    }
    writeln!(
        out,
        "<h2>Problems</h2><p>Errors are <code>application/problem+json</code>; <code>type</code> leads here.</p><dl>"
    )?;
    for kind in Kind::ALL {
        let (name, status, title, advice) = (kind.name(), kind.status().as_u16(), kind.title(), kind.advice());
        writeln!(out, "<dt id=\"{name}\"><code>{status}</code> {title}</dt><dd>{}</dd>", code(advice))?;
    }
    writeln!(out, "</dl><h2>Shapes</h2>")?;
    for (name, schema) in fields(&document["components"]["schemas"]) {
        write_shape(out, name, schema)?;
    }
    writeln!(out, "</main></body></html>")
}

fn write_route(out: &mut String, verb: &str, path: &str, said: &Value) -> std::fmt::Result {
    writeln!(out, "<section><h3><span class=\"verb\">{verb}</span> <code>{}</code></h3>", escape(path))?;
    let told = if said["description"].is_string() { &said["description"] } else { &said["summary"] };
    writeln!(out, "<p>{}</p>", text(told))?;
    if items(&said["parameters"]).next().is_some() {
        writeln!(out, "<table><thead><tr><th>parameter</th><th>in</th><th>type</th><th></th></tr></thead><tbody>")?;
        for parameter in items(&said["parameters"]) {
            let (name, place) = (text(&parameter["name"]), text(&parameter["in"]));
            let (kind, meaning) = (shape_of(&parameter["schema"]), text(&parameter["description"]));
            writeln!(out, "<tr><td><code>{name}</code></td><td>{place}</td><td>{kind}</td><td>{meaning}</td></tr>")?;
        }
        writeln!(out, "</tbody></table>")?;
    }
    for (media, content) in fields(&said["requestBody"]["content"]) {
        writeln!(out, "<p class=\"answer\">body {} {}</p>", escape(media), shape_of(&content["schema"]))?;
    }
    for (status, response) in fields(&said["responses"]) {
        for (media, content) in fields(&response["content"]) {
            let shape = shape_of(&content["schema"]);
            writeln!(out, "<p class=\"answer\"><code>{}</code> {} {shape}</p>", escape(status), escape(media))?;
        }
    }
    writeln!(out, "</section>")
}

fn write_shape(out: &mut String, name: &str, schema: &Value) -> std::fmt::Result {
    let name = escape(name);
    writeln!(out, "<section id=\"shape-{name}\"><h3>{name}</h3><p>{}</p>", text(&schema["description"]))?;
    let parts = std::iter::once(schema).chain(items(&schema["allOf"])).chain(items(&schema["oneOf"]));
    let mut rows = String::new();
    for part in parts {
        if let (Some(_), None) = (part.get("$ref"), part.get("properties")) {
            writeln!(rows, "<tr><td></td><td>all of {}</td><td></td></tr>", shape_of(part))?;
        }
        for (field, kind) in fields(&part["properties"]) {
            let (field, shape, meaning) = (escape(field), shape_of(kind), text(&kind["description"]));
            writeln!(rows, "<tr><td><code>{field}</code></td><td>{shape}</td><td>{meaning}</td></tr>")?;
        }
    }
    match rows.is_empty() {
        true => writeln!(out, "<p>{}</p>", shape_of(schema))?,
        false => writeln!(
            out,
            "<table><thead><tr><th>field</th><th>type</th><th></th></tr></thead><tbody>{rows}</tbody></table>"
        )?,
    }
    writeln!(out, "</section>")
}

/// A type in a few words, linked to its shape where it has one.
fn shape_of(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|target| target.rsplit('/').next()) {
        let name = escape(name);
        return format!("<a href=\"#shape-{name}\">{name}</a>");
    }
    if let Some(list) = schema["enum"].as_array() {
        return list.iter().map(|value| format!("<code>{}</code>", text(value))).collect::<Vec<_>>().join(" | ");
    }
    let choices: Vec<_> = items(&schema["oneOf"]).chain(items(&schema["anyOf"])).map(shape_of).collect();
    if !choices.is_empty() {
        return choices.join(" | ");
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().map(text).collect::<Vec<_>>().join(" | "),
        kind => text(kind),
    };
    match (schema["format"].as_str(), schema.get("items")) {
        (_, Some(item)) => format!("list of {}", shape_of(item)),
        (Some(format), None) => format!("{kind} ({})", escape(format)),
        (None, None) => kind,
    }
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn fields(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value))
}

/// A text of the document, escaped, with what stands in backticks as code.
fn text(value: &Value) -> String {
    value.as_str().map(code).unwrap_or_default()
}

fn code(plain: &str) -> String {
    let mut out = String::new();
    for (place, part) in plain.split('`').enumerate() {
        let part = escape(part);
        if place % 2 == 1 { out.extend(["<code>", &part, "</code>"]) } else { out.push_str(&part) }
    }
    out
}

fn escape(plain: &str) -> String {
    plain.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_holds_every_route_and_every_problem() {
        for path in ["/api/v1/violations/{id}", "/api/v1/events/stream", "/readyz"] {
            assert!(PAGE.contains(&format!("<code>{path}</code>")), "{path}");
        }
        for kind in Kind::ALL {
            assert!(PAGE.contains(&format!("id=\"{}\"", kind.name())));
        }
        assert!(!PAGE.contains("<script") && !PAGE.contains("style=\"") && !PAGE.contains("http://"));
        assert_eq!(code("a `b<c>` & d"), "a <code>b&lt;c&gt;</code> &amp; d");
    }

    #[test]
    fn every_link_within_the_page_leads_somewhere() {
        for link in PAGE.split("href=\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(PAGE.contains(&format!("id=\"{link}\"")), "#{link}");
        }
    }
}
