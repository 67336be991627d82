//! Checks that span several keys, and passwords taken out of URLs.

use toml::Value;
use url::Url;

use super::{
    keys::KEYS,
    problem::Origin,
    settings::{Place, Setting, Settings},
};

/// What an entry of `[[source]]` holds when it does not say; the same as `serde` fills in for [`super::Source`].
fn source_defaults() -> [(&'static str, Value); 6] {
    let pointers = ["/data", "/info/data", "/param/data"].map(|pointer| Value::String(pointer.into()));
    [
        ("source.protocol", Value::String("auto".into())),
        ("source.hex_pointers", Value::Array(pointers.into())),
        ("source.plausible_past_days", Value::Integer(400)),
        ("source.plausible_future_minutes", Value::Integer(10)),
        ("source.unknown_device", Value::String("store".into())),
        ("source.allow_missing_checksum", Value::Boolean(false)),
    ]
}

/// Moves passwords out of the URLs, so that what is printed or logged later cannot hold one.
pub(super) fn take_passwords(settings: &mut Settings) {
    take_password(settings, "mqtt.url", "mqtt.password", Some("mqtt.username"));
    take_password(settings, "database.url", "database.password", None);
    // What is left is in a form that it cannot be taken out of: libpq keywords, several hosts, a parameter of the URL.
    let left = settings.text("database.url", 0).and_then(|text| text.parse::<tokio_postgres::Config>().ok());
    if left.is_some_and(|config| config.get_password().is_some()) {
        let text = "a password where it would be printed; set database.password instead";
        wrong_at(settings, "database.url", 0, text);
        // It must not be printed either.
        settings.map.retain(|place, _| place.key().path != "database.url");
    }
}

fn take_password(settings: &mut Settings, url_path: &str, password_path: &str, user_path: Option<&str>) {
    let Some(setting) = settings.get(url_path, 0).cloned() else { return };
    let Some(mut url) = setting.value.as_str().and_then(|text| Url::parse(text).ok()) else { return };
    let mut moved = Vec::new();
    if let Some(password) = url.password() {
        moved.push((password_path, password.to_owned()));
    }
    if let Some(user_path) = user_path.filter(|_| !url.username().is_empty()) {
        moved.push((user_path, url.username().to_owned()));
    }
    if moved.is_empty() {
        return;
    }
    for (path, text) in moved {
        let Some(place) = Place::new(path, 0, "") else { continue };
        let text = percent_decode(&text);
        // A key of its own wins, so that a secret from the environment replaces one in a file's URL.
        settings
            .map
            .entry(place)
            .or_insert_with(|| Setting { value: Value::String(text), origin: setting.origin.clone() });
    }
    let stripped = url.set_password(None).and_then(|()| match user_path {
        Some(_) => url.set_username(""),
        None => Ok(()),
    });
    if stripped.is_ok()
        && let Some(place) = Place::new(url_path, 0, "")
    {
        settings.map.insert(place, Setting { value: Value::String(url.to_string()), origin: setting.origin });
    }
}

fn percent_decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'%').then(|| tail.get(..2)).flatten();
        let byte =
            code.and_then(|code| std::str::from_utf8(code).ok()).and_then(|code| u8::from_str_radix(code, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Fills in what sources leave open and names every required key that is missing.
pub(super) fn complete(settings: &mut Settings) {
    for index in 0..settings.sources() {
        for (path, value) in source_defaults() {
            let Some(place) = Place::new(path, index, "") else { continue };
            settings.map.entry(place).or_insert(Setting { value, origin: Origin::Default });
        }
    }
    for key in KEYS.iter().filter(|key| key.required) {
        let indices = if key.section() == "source" { settings.sources() } else { 1 };
        for index in 0..indices {
            let Some(place) = Place::new(key.path, index, "") else { continue };
            // An optional table that nothing is set of is simply absent.
            let neighbour =
                settings.map.iter().find(|(other, _)| other.key().section() == key.section() && other.index == index);
            let name = place.to_string();
            if let Some((_, neighbour)) = neighbour
                && !settings.map.contains_key(&place)
                && !settings.is_wrong(&name)
            {
                let origin = neighbour.origin.clone();
                settings.wrong(origin, &name, "missing");
            }
        }
    }
}

/// Checks what only makes sense together. A key that is wrong by itself is skipped here.
pub(super) fn check(settings: &mut Settings) {
    check_order(settings);
    check_identity(settings);
    check_sources(settings);
    check_signature(settings);
}

/// Pairs of sizes and times of which the first must not be more than the second.
fn check_order(settings: &mut Settings) {
    let pairs = [
        ("mqtt.max_payload_bytes", "mqtt.max_packet_bytes", "or its payload never gets past the client"),
        ("mqtt.max_payload_bytes", "mqtt.budget_bytes", "or one message could never be taken in"),
        ("mqtt.backoff_min_ms", "mqtt.backoff_max_ms", ""),
        ("retention.raw_packets_days", "retention.readings_days", ""),
        ("retention.compress_after_days", "retention.readings_days", "or nothing is ever compressed"),
    ];
    for (low, high, why) in pairs {
        if let (Some(small), Some(large)) = (settings.integer(low), settings.integer(high))
            && small > large
        {
            let why = if why.is_empty() { String::new() } else { format!(", {why}") };
            wrong_at(settings, low, 0, format!("{small} must be at most {high}, which is {large}{why}"));
        }
    }
    if let (Some(batch), Some(window)) =
        (settings.integer("database.batch_readings"), settings.integer("mqtt.receive_maximum"))
        && batch >= window
    {
        let text = format!(
            "{batch} must be below mqtt.receive_maximum, which is {window}: the broker sends no more until a batch is \
             acknowledged, so a larger one never fills"
        );
        wrong_at(settings, "database.batch_readings", 0, text);
    }
}

fn check_identity(settings: &mut Settings) {
    let alone = settings.text("mqtt.group", 0).is_some_and(str::is_empty);
    if alone && settings.integer("mqtt.connections").is_some_and(|connections| connections != 1) {
        let text = "without a group every connection gets every message; mqtt.connections must be 1";
        wrong_at(settings, "mqtt.group", 0, text);
    }
    let has = |settings: &Settings, path| settings.get(path, 0).is_some();
    if has(settings, "mqtt.password") && !has(settings, "mqtt.username") {
        wrong_at(settings, "mqtt.password", 0, "a password without mqtt.username");
    }
    for (one, other) in [("mqtt.tls.cert_file", "mqtt.tls.key_file"), ("mqtt.tls.key_file", "mqtt.tls.cert_file")] {
        if has(settings, one) && !has(settings, other) && !settings.is_wrong(other) {
            wrong_at(settings, one, 0, format!("{other} is missing; mutual TLS needs both"));
        }
    }
    let tls = settings.map.keys().any(|place| place.key().section() == "mqtt.tls");
    let scheme =
        settings.text("mqtt.url", 0).and_then(|url| url.split_once("://")).map(|(scheme, _)| scheme.to_owned());
    match scheme.as_deref() {
        Some("mqtt") if tls => wrong_at(settings, "mqtt.url", 0, "[mqtt.tls] is set; the URL must begin with mqtts://"),
        Some("mqtts") if !tls && !settings.is_wrong("mqtt.tls.ca_file") => {
            wrong_at(settings, "mqtt.url", 0, "mqtts:// needs [mqtt.tls] with ca_file");
        }
        _ => {}
    }
}

fn check_sources(settings: &mut Settings) {
    for index in 0..settings.sources() {
        for earlier in 0..index {
            let name = settings.text("source.name", index);
            if name.is_some() && name == settings.text("source.name", earlier) {
                let text = format!("source[{earlier}] has the same name");
                wrong_at(settings, "source.name", index, text);
            }
            let (here, there) = (settings.text("source.filter", index), settings.text("source.filter", earlier));
            if let (Some(here), Some(there)) = (here, there)
                && overlap(here, there)
            {
                let text = format!("a topic could match this and {there:?} of source[{earlier}]");
                wrong_at(settings, "source.filter", index, text);
            }
        }
        let passages = settings.text("source.kind", index) == Some("rs");
        if passages && settings.text("source.protocol", index).is_some_and(|protocol| protocol != "auto") {
            wrong_at(settings, "source.protocol", index, "kind \"rs\" carries no frames; leave it out");
        }
        if !passages && settings.text("source.mapping", index).is_some() {
            wrong_at(settings, "source.mapping", index, "only passages, kind \"rs\", have mappings");
        }
    }
}

fn check_signature(settings: &mut Settings) {
    let lengths = settings.text("signature.signed_lengths", 0).is_some_and(|lengths| lengths != "none");
    if lengths && settings.text("signature.form", 0).is_some_and(|form| form != "lengths") {
        let text = "only signature.form = \"lengths\" has length bytes that could be signed";
        wrong_at(settings, "signature.signed_lengths", 0, text);
    }
    // SM2 hashes the length of the user id in bits as two bytes.
    if settings.text("signature.user_id", 0).is_some_and(|id| id.is_empty() || id.len() > 8_191) {
        wrong_at(settings, "signature.user_id", 0, "must have 1 to 8191 bytes");
    }
}

/// Whether some topic matches both filters.
fn overlap(one: &str, other: &str) -> bool {
    let levels = |filter: &'_ str| filter.split('/').map(str::to_owned).collect::<Vec<_>>();
    let (one, other) = (levels(one), levels(other));
    one.len() == other.len() && one.iter().zip(&other).all(|(a, b)| a == b || a == "+" || b == "+")
}

fn wrong_at(settings: &mut Settings, path: &str, index: usize, text: impl Into<String>) {
    let Some(place) = Place::new(path, index, "") else { return };
    let origin = settings.get(path, index).map_or(Origin::Default, |setting| setting.origin.clone());
    settings.wrong(origin, &place.to_string(), text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_overlap_when_a_topic_matches_both() {
        assert!(overlap("a/+/c", "a/+/c") && overlap("a/+/c", "+/b/c"));
        assert!(!overlap("a/+/c", "a/+/d") && !overlap("a/+", "a/+/c"));
    }

    #[test]
    fn percent_codes_become_bytes() {
        assert_eq!(percent_decode("a%40b%3A%e9%B2%81"), "a@b:鲁");
        assert_eq!(percent_decode("100%"), "100%");
        assert_eq!(percent_decode("%4"), "%4");
    }
}
