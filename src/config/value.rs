//! One value at a time: from TOML or text to a value of the right kind and range.

use std::net::SocketAddr;

use toml::{Value, de::DeValue};

use super::keys::Kind;

/// Takes a TOML value of the kind; the error says what was expected.
pub(super) fn from_toml(kind: Kind, value: &DeValue<'_>) -> Result<Value, String> {
    let found = match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::Integer(number),
            Err(_) => return Err("the number does not fit 64 bits".into()),
        },
        DeValue::Float(number) => match number.as_str().parse() {
            Ok(number) => Value::Float(number),
            Err(_) => return Err("not a number".into()),
        },
        DeValue::Boolean(flag) => Value::Boolean(*flag),
        DeValue::Array(items) => {
            let items: Result<_, _> = items.iter().map(|item| from_toml(Kind::Text, item.get_ref())).collect();
            Value::Array(items?)
        }
        DeValue::Datetime(_) | DeValue::Table(_) => return Err(format!("expected {}", expected(kind))),
    };
    match (kind, found) {
        (Kind::Integer(..), found @ Value::Integer(_))
        | (Kind::Number(..), found @ Value::Float(_))
        | (Kind::Flag, found @ Value::Boolean(_))
        | (Kind::Pointers | Kind::Names, found @ Value::Array(_)) => Ok(found),
        (Kind::Number(..), Value::Integer(number)) => Ok(Value::Float(number as f64)),
        // librdkafka takes text only, so that `linger.ms = 5` may be written as it is meant.
        (Kind::Properties, Value::Integer(number)) => Ok(Value::String(number.to_string())),
        (Kind::Properties, Value::Boolean(flag)) => Ok(Value::String(flag.to_string())),
        (kind, found @ Value::String(_)) if is_text(kind) => Ok(found),
        (kind, found) => Err(format!("expected {}, found {}", expected(kind), found.type_str())),
    }
}

/// Takes the text of an environment variable or of `--set`.
pub(super) fn from_text(kind: Kind, text: &str) -> Result<Value, String> {
    let wrong = || format!("expected {}", expected(kind));
    match kind {
        Kind::Integer(..) => text.trim().parse().map(Value::Integer).map_err(|_| wrong()),
        Kind::Number(..) => text.trim().parse().map(Value::Float).map_err(|_| wrong()),
        Kind::Flag => text.trim().parse().map(Value::Boolean).map_err(|_| wrong()),
        Kind::Pointers => Ok(Value::Array(text.split(',').map(|item| Value::String(item.trim().into())).collect())),
        Kind::Names => {
            let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
            Ok(Value::Array(names.map(|name| Value::String(name.into())).collect()))
        }
        _ => Ok(Value::String(text.into())),
    }
}

/// Checks a value of the right type against the range of its kind.
pub(super) fn check(kind: Kind, value: &Value) -> Result<(), String> {
    match (kind, value) {
        (Kind::Integer(low, high), Value::Integer(number)) => {
            within(low <= *number && *number <= high, || format!("{number} is outside {low}..={high}"))
        }
        // NaN is in no range.
        (Kind::Number(low, high), Value::Float(number)) => {
            within(low <= *number && *number <= high, || format!("{number} is outside {low}..={high}"))
        }
        (Kind::Pointers, Value::Array(items)) => check_pointers(items),
        (Kind::Names, Value::Array(items)) => check_names(items),
        (kind, Value::String(text)) => check_text(kind, text),
        _ => Ok(()),
    }
}

fn check_text(kind: Kind, text: &str) -> Result<(), String> {
    match kind {
        Kind::Choice(names) => within(names.contains(&text), || match super::keys::nearest(text, names) {
            Some(name) => format!("{text:?} is none of {}; is {name:?} meant?", names.join(", ")),
            None => format!("{text:?} is none of {}", names.join(", ")),
        }),
        Kind::WordOrEmpty if text.is_empty() => Ok(()),
        Kind::Word | Kind::WordOrEmpty => {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
            within((1..=32).contains(&text.len()) && text.chars().all(fits), || {
                format!("{text:?} is not a word of 1 to 32 characters out of a to z, 0 to 9, _ and -")
            })
        }
        Kind::Url(schemes) => {
            let url = url::Url::parse(text).map_err(|error| format!("not a URL: {error}"))?;
            within(schemes.contains(&url.scheme()), || {
                format!("the URL must begin with {}://", schemes.join(":// or "))
            })?;
            within(url.host_str().is_some_and(|host| !host.is_empty()), || "the URL names no host".into())?;
            within(matches!(url.path(), "" | "/"), || "the URL must end after the port".into())
        }
        // The parser's error may quote a password, so only its kind is told.
        Kind::DatabaseUrl => text.parse::<tokio_postgres::Config>().map(|_| ()).map_err(|_| {
            "not a PostgreSQL address such as postgres://user@host:5432/name or \"host=... user=... dbname=...\"".into()
        }),
        Kind::HostPorts => {
            within(text.split(',').all(is_host_port), || "expected host:port, several separated by commas".into())
        }
        Kind::File => within(std::path::Path::new(text).is_file(), || format!("there is no file {text:?}")),
        Kind::Mapping => crate::mapping::Mapping::load(text, crate::mapping::Target::Passage)
            .map(|_| ())
            .map_err(|error| error.to_string()),
        Kind::Listen => text
            .parse::<SocketAddr>()
            .map(|_| ())
            .map_err(|_| format!("{text:?} is not IP:PORT, such as 127.0.0.1:8080")),
        Kind::LogFilter => tracing_subscriber::EnvFilter::try_new(text)
            .map(|_| ())
            .map_err(|error| format!("not a log filter: {error}")),
        Kind::Filter => check_filter(text),
        Kind::Secret => within(!text.is_empty(), || "a secret that is set must not be empty".into()),
        _ => within(!text.contains('\0'), || "holds a NUL character".into()),
    }
}

/// One `+` and nothing else that is special: the level it stands for is the device's identity.
fn check_filter(text: &str) -> Result<(), String> {
    let levels: Vec<&str> = text.split('/').collect();
    let plus = levels.iter().filter(|level| **level == "+").count();
    let plain = levels.iter().all(|level| *level == "+" || (!level.is_empty() && !level.contains(['+', '#', '\0'])));
    within(!text.starts_with('$'), || format!("{text:?} begins with `$`; the shared group is added by the service"))?;
    within(plain, || format!("{text:?} is not made of levels that are a name or one `+`"))?;
    within(plus == 1, || format!("{text:?} must hold exactly one `+`, the device's identity; it holds {plus}"))
}

fn check_pointers(items: &[Value]) -> Result<(), String> {
    within(items.len() <= 16, || "more than 16 pointers".into())?;
    let wrong = items.iter().filter_map(Value::as_str).find(|pointer| !pointer.starts_with('/'));
    wrong.map_or(Ok(()), |pointer| Err(format!("{pointer:?} is not a JSON pointer such as /data")))
}

fn check_names(items: &[Value]) -> Result<(), String> {
    within(items.len() <= 64, || "more than 64 names".into())?;
    let fits = |name: &str| (1..=64).contains(&name.trim().len()) && !name.contains(['\0', ',']);
    let wrong = items.iter().filter_map(Value::as_str).find(|name| !fits(name));
    wrong.map_or(Ok(()), |name| Err(format!("{name:?} is not a name of 1 to 64 bytes without a comma")))
}

fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.trim().rsplit_once(':') else { return false };
    !host.is_empty() && !host.contains(['/', '@', ' ']) && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn is_text(kind: Kind) -> bool {
    !matches!(kind, Kind::Integer(..) | Kind::Number(..) | Kind::Flag | Kind::Pointers | Kind::Names)
}

fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Integer(..) => "an integer",
        Kind::Number(..) => "a number",
        Kind::Flag => "true or false",
        Kind::Pointers | Kind::Names => "a list of strings",
        _ => "a string",
    }
}

fn within(fits: bool, text: impl FnOnce() -> String) -> Result<(), String> {
    if fits { Ok(()) } else { Err(text()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(kind: Kind, text: &str) -> Result<(), String> {
        from_text(kind, text).and_then(|value| check(kind, &value))
    }

    #[test]
    fn filters_hold_exactly_one_identity() {
        assert_eq!(verdict(Kind::Filter, "dw/v1/rs/+/passage"), Ok(()));
        assert_eq!(verdict(Kind::Filter, "+"), Ok(()));
        for wrong in ["", "dw/v1", "dw/+/+", "dw/+/#", "dw//+", "$share/g/+", "dw/a+/b", "$SYS/+"] {
            assert!(verdict(Kind::Filter, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ranges_are_inclusive_and_nan_is_in_none() {
        let kind = Kind::Number(0.0, 1.0);
        assert!(verdict(kind, "0").is_ok() && verdict(kind, "1.0").is_ok());
        assert!(verdict(kind, "NaN").is_err() && verdict(kind, "inf").is_err() && verdict(kind, "-0.1").is_err());
        assert!(verdict(Kind::Integer(7, 9), "7").is_ok() && verdict(Kind::Integer(7, 9), "10").is_err());
        assert!(verdict(Kind::Integer(7, 9), "7.0").is_err());
    }

    #[test]
    fn addresses_are_checked_by_form() {
        let mqtt = Kind::Url(&["mqtt", "mqtts"]);
        assert!(verdict(mqtt, "mqtt://broker:1883").is_ok() && verdict(mqtt, "mqtts://[::1]:8883/").is_ok());
        for wrong in ["broker:1883", "http://broker", "mqtt://broker:1883/topic", "mqtt://broker:99999"] {
            assert!(verdict(mqtt, wrong).is_err(), "{wrong}");
        }
        assert!(verdict(Kind::HostPorts, "a:9092, b:9092").is_ok() && verdict(Kind::HostPorts, "a").is_err());
        assert!(verdict(Kind::DatabaseUrl, "host=/run/pg user=x dbname=y").is_ok());
        let error = verdict(Kind::DatabaseUrl, "postgres://x:geheim@[").unwrap_err();
        assert!(!error.contains("geheim"), "{error}");
    }

    #[test]
    fn a_wrong_word_is_told_the_right_one() {
        let error = verdict(Kind::Choice(&["json", "text"]), "jsno").unwrap_err();
        assert!(error.contains("is \"json\" meant?"), "{error}");
    }
}
