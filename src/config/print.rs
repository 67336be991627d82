//! The effective configuration, as a table for `serde` and as text for people.

use std::fmt::Write as _;

use toml::{Table, Value};

use super::{
    keys::{KEYS, Kind},
    settings::{Place, Setting, Settings},
};

/// What stands in place of a secret.
const REDACTED: &str = "(redacted)";

/// Whether a librdkafka property of this name holds a secret.
pub fn secret_property(name: &str) -> bool {
    ["password", "secret", "token", "key.pem", "oauthbearer.config", "sasl.jaas"].iter().any(|part| name.contains(part))
}

fn is_secret(place: &Place) -> bool {
    place.key().kind == Kind::Secret || (place.key().kind == Kind::Properties && secret_property(&place.property))
}

fn shown(place: &Place, setting: &Setting) -> Value {
    if is_secret(place) { Value::String(REDACTED.into()) } else { setting.value.clone() }
}

/// Nests the flat settings again, secrets in the clear.
pub(super) fn to_table(settings: &Settings) -> Table {
    let mut root = Table::new();
    for (place, setting) in &settings.map {
        let key = place.key();
        let value = setting.value.clone();
        if key.section() == "source" {
            let entries = root.entry("source").or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(entries) = entries else { continue };
            while entries.len() <= place.index {
                entries.push(Value::Table(Table::new()));
            }
            if let Some(Value::Table(entry)) = entries.get_mut(place.index) {
                entry.insert(key.name().into(), value);
            }
            continue;
        }
        let mut path: Vec<&str> = key.path.split('.').collect();
        if !place.property.is_empty() {
            path.push(&place.property);
        }
        insert(&mut root, &path, value);
    }
    root
}

fn insert(table: &mut Table, path: &[&str], value: Value) {
    match path {
        [] => {}
        [name] => {
            table.insert((*name).into(), value);
        }
        [name, rest @ ..] => {
            if let Value::Table(inner) = table.entry(*name).or_insert_with(|| Value::Table(Table::new())) {
                insert(inner, rest, value);
            }
        }
    }
}

/// TOML with the origin of each value behind it, in the order of the default file.
pub(super) fn to_toml(settings: &Settings) -> String {
    let mut text = String::new();
    let mut heading = None;
    for (place, setting) in &settings.map {
        let key = place.key();
        let section = if place.property.is_empty() { key.section() } else { key.path };
        if heading != Some((section, place.index)) {
            let gap = if heading.is_none() { "" } else { "\n" };
            let (open, close) = if section == "source" { ("[[", "]]") } else { ("[", "]") };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{gap}{open}{section}{close}");
            heading = Some((section, place.index));
        }
        let name = if place.property.is_empty() { key.name().to_owned() } else { format!("\"{}\"", place.property) };
        let line = format!("{name} = {}", shown(place, setting));
        let _ = writeln!(text, "{line:<56} # {}", setting.origin);
    }
    let absent: Vec<&str> = KEYS
        .iter()
        .filter(|key| !key.required && key.section() != "source")
        .filter(|key| !settings.map.keys().any(|place| place.key().path == key.path))
        .map(|key| key.path)
        .collect();
    if !absent.is_empty() {
        let _ = writeln!(text, "\n# not set: {}", absent.join(", "));
    }
    text
}
