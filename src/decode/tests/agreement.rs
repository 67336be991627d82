//! The published schemas and the decoders say the same: of values made from the schema itself, and of good ones spoiled.

use proptest::{
    prelude::*,
    sample::Index,
    strategy::ValueTree as _,
    string::string_regex,
    test_runner::{TestCaseError, TestRunner},
};
use serde_json::{Map, Value, json};

use crate::{
    config::{Protocol, SignatureForm, SourceKind},
    decode::{Carriage, decode_payload, remote_sensing},
    fault::Reason,
    judge::schemas::schemas,
};

/// A schema and the decoder of the same messages.
struct Pair {
    schema: Value,
    validator: jsonschema::Validator,
    decodes: fn(&str) -> Result<(), Reason>,
}

fn pair(name: &str, decodes: fn(&str) -> Result<(), Reason>) -> Pair {
    let (_, text) = schemas().iter().find(|(known, _)| *known == name).expect("published");
    let schema: Value = serde_json::from_str(text).expect("JSON");
    let validator = jsonschema::options().should_validate_formats(true).build(&schema).expect("a schema");
    Pair { schema, validator, decodes }
}

fn passages() -> Pair {
    pair("passage", |text| {
        let mut elements = remote_sensing::decode(text.as_bytes()).map_err(|refusal| refusal.reason)?;
        elements.try_for_each(|element| element.passage.map(drop).map_err(|refusal| refusal.reason))
    })
}

fn terminal(text: &str, kind: SourceKind) -> Result<(), Reason> {
    let carriage = Carriage {
        kind,
        protocol: Protocol::Auto,
        hex_pointers: &[],
        allow_missing_checksum: false,
        max_bytes: 1 << 20,
        signature: SignatureForm::Lengths,
    };
    let frames = decode_payload(text.as_bytes(), &carriage);
    frames.into_iter().try_for_each(|frame| frame.map(drop).map_err(|error| error.reason()))
}

impl Pair {
    fn agree(&self, message: &Value) -> Result<(), TestCaseError> {
        let text = message.to_string();
        let decoded = (self.decodes)(&text);
        // What is a plate is beyond JSON Schema; its description says so.
        if decoded != Err(Reason::PlateImpossible) {
            prop_assert_eq!(self.validator.is_valid(message), decoded.is_ok(), "{:?}: {}", decoded, text);
        }
        Ok(())
    }

    fn good(&self) -> BoxedStrategy<Value> {
        Maker { defs: self.schema["$defs"].clone() }.of("", &self.schema)
    }
}

/// Makes values that a schema allows, out of the words that stand in ours. A word it does not know fails the test.
#[derive(Clone)]
struct Maker {
    defs: Value,
}

const PLATES: [&str; 4] = ["鲁C12345", "鲁CD12345", "京A12345", "粤Z1234港"];
const KNOWN: [&str; 17] = [
    "$schema",
    "$defs",
    "title",
    "description",
    "type",
    "format",
    "pattern",
    "minLength",
    "maxLength",
    "minimum",
    "maximum",
    "enum",
    "anyOf",
    "items",
    "minItems",
    "maxItems",
    "properties",
];

impl Maker {
    fn of(&self, name: &str, schema: &Value) -> BoxedStrategy<Value> {
        let fields = schema.as_object().expect("a schema is an object");
        let known = |word: &&String| {
            KNOWN.contains(&word.as_str()) || ["required", "$ref", "const", "oneOf"].contains(&word.as_str())
        };
        assert!(fields.keys().all(|word| known(&word)), "a word the generator does not know: {schema}");
        if name == "plate" {
            return prop_oneof![Just(Value::Null), prop::sample::select(&PLATES[..]).prop_map(Value::from)].boxed();
        }
        if let Some(reference) = schema["$ref"].as_str() {
            let target = reference.strip_prefix("#/$defs/").expect("a local reference");
            return self.of(name, &self.defs[target]);
        }
        if let Some(constant) = schema.get("const") {
            return Just(constant.clone()).boxed();
        }
        if let Some(words) = schema["enum"].as_array() {
            return prop::sample::select(words.clone()).boxed();
        }
        if let Some(options) = schema["anyOf"].as_array().or(schema["oneOf"].as_array())
            && schema.get("properties").is_none()
        {
            let options: Vec<_> = options.iter().map(|option| self.of(name, option)).collect();
            return any::<Index>().prop_flat_map(move |place| options[place.index(options.len())].clone()).boxed();
        }
        let types: Vec<String> = match &schema["type"] {
            Value::String(one) => vec![one.clone()],
            Value::Array(several) => several.iter().map(|one| one.as_str().expect("a name").to_owned()).collect(),
            other => panic!("no type {other} in {schema}"),
        };
        let types: Vec<_> = types.iter().map(|one| self.of_type(one, schema)).collect();
        any::<Index>().prop_flat_map(move |place| types[place.index(types.len())].clone()).boxed()
    }

    fn of_type(&self, name: &str, schema: &Value) -> BoxedStrategy<Value> {
        let number = |word: &str, otherwise: f64| schema[word].as_f64().unwrap_or(otherwise);
        match name {
            "null" => Just(Value::Null).boxed(),
            "boolean" => any::<bool>().prop_map(Value::from).boxed(),
            "integer" => {
                let (low, high) = (number("minimum", -1e6) as i64, number("maximum", 1e6) as i64);
                // `2.0` is as whole as `2`.
                (low..=high, any::<bool>())
                    .prop_map(|(n, whole)| if whole { json!(n) } else { json!(n as f64) })
                    .boxed()
            }
            "number" => {
                let (low, high) = (number("minimum", -1e300), number("maximum", 1e300));
                prop_oneof![
                    (low..=high).prop_map(Value::from),
                    prop::sample::select(vec![low, high, low.max(0.0).min(high)]).prop_map(Value::from),
                    (low.max(-1e15)..=high.min(1e15)).prop_map(|n| json!(n.trunc() as i64)),
                ]
                .boxed()
            }
            "string" => text(schema),
            "array" => {
                let (least, most) = (number("minItems", 0.0) as usize, number("maxItems", 3.0).min(3.0) as usize);
                prop::collection::vec(self.of("", &schema["items"]), least..=most).prop_map(Value::from).boxed()
            }
            "object" => self.object(schema),
            other => panic!("no values of type {other}"),
        }
    }

    fn object(&self, schema: &Value) -> BoxedStrategy<Value> {
        let named = |schema: &Value| -> Vec<String> {
            let names = schema["required"].as_array().into_iter().flatten();
            names.map(|name| name.as_str().expect("a name").to_owned()).collect()
        };
        let required = named(schema);
        let properties = schema["properties"].as_object().expect("properties");
        let mut fields = Vec::new();
        for (name, of) in properties {
            let (name, made) = (name.clone(), self.of(name, of));
            let made = match required.contains(&name) {
                true => made.prop_map(Some).boxed(),
                false => prop::option::weighted(0.3, made).boxed(),
            };
            fields.push(made.prop_map(move |value| Some((name.clone(), value?))));
        }
        // One of several must be there: one is put in, by the words that stand there.
        let alternatives: Vec<_> = (schema["anyOf"].as_array().into_iter().flatten())
            .flat_map(|option| {
                let of = |name: String| {
                    // Where it says more, it says that the value is there.
                    let given = option["properties"].get(&name).is_some();
                    let value = self.of(&name, &properties[&name]);
                    let value = value.prop_filter("given", move |value| !given || !value.is_null());
                    value.prop_map(move |value| Some((name.clone(), value))).boxed()
                };
                named(option).into_iter().map(of).collect::<Vec<_>>()
            })
            .collect();
        let alternative = match alternatives.len() {
            0 => Just(None).boxed(),
            count => any::<Index>().prop_flat_map(move |place| alternatives[place.index(count)].clone()).boxed(),
        };
        // No field of ours ends so; without it `pm` would come up now and then.
        let unknown = prop::collection::vec(("[a-z]{1,3}_", odd()), 0..2);
        (fields, alternative, unknown)
            .prop_map(|(fields, alternative, unknown)| {
                let known = fields.into_iter().chain([alternative]).flatten();
                let all: Map<String, Value> = unknown.into_iter().chain(known).collect();
                Value::Object(all)
            })
            .boxed()
    }
}

fn text(schema: &Value) -> BoxedStrategy<Value> {
    if schema["format"] == "date-time" {
        return string_regex("20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])[Tt]([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,12})?([Zz]|[+-](0[0-9]|1[0-4]):[0-5][0-9])")
            .expect("a pattern")
            .prop_map(Value::from)
            .boxed();
    }
    let length = |word: &str, otherwise: u64| schema[word].as_u64().unwrap_or(otherwise);
    let (least, most) = (length("minLength", 0), length("maxLength", 70));
    let class = schema["pattern"].as_str().map(|pattern| {
        let inner = pattern.strip_prefix('^').and_then(|rest| rest.strip_suffix(['$']));
        inner.and_then(|inner| inner.strip_suffix(['+', '*'])).expect("a pattern of one class").to_owned()
    });
    let class = class.unwrap_or_else(|| "(?s:.)".into());
    let any = string_regex(&format!("{class}{{{least},{most}}}")).expect("a pattern");
    // Long texts of long characters, where bytes and characters differ most.
    let long = (prop::sample::select(vec!["站", "x", "𫟷"]), least.max(1)..=most)
        .prop_map(|(one, count)| one.repeat(count as usize));
    prop_oneof![any, long].prop_map(Value::from).boxed()
}

/// Values of all kinds, at and beyond every edge that a field of ours has.
fn odd() -> BoxedStrategy<Value> {
    let texts: Vec<String> = [
        "",
        "x",
        "\0",
        "a\0b",
        "a/b",
        "a+b",
        "a#b",
        "\u{7f}",
        "\u{85}",
        "\u{2028}",
        "diesel",
        "unknown",
        "over",
        "blue",
        "idle",
        "trip_start",
        "12",
        "true",
        "null",
        "2026-03-01T10:15:30Z",
        "2026-03-01t10:15:30.123456789123z",
        "2026-03-01 10:15:30Z",
        "2026-03-01T10:15:30",
        "2026-03-01T10:15:30+08:00",
        "2026-03-01T10:15:30+23:59",
        "2026-03-01T10:15:30+24:00",
        "2026-03-01T10:15:30-00:00",
        "2026-03-01T10:15:30+0800",
        "2026-03-01T10:15:30+08:60",
        "2026-03-01T10:15:30\u{2212}08:00",
        "2026-02-29T10:15:30Z",
        "2024-02-29T10:15:30Z",
        "0000-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "10000-01-01T00:00:00Z",
        "2026-06-30T23:59:60Z",
        "2017-01-01T07:59:60+08:00",
        "2026-06-30T23:59:60+08:00",
        "2026-06-30T23:58:60Z",
        "2026-03-01T24:00:00Z",
        "2026-03-01T10:60:00Z",
        "2026-03-01T10:15:30.Z",
        "2026-03-01T10:15:30,5Z",
        "2026-03-01T10:15:30Z ",
        "2026-3-1T10:15:30Z",
        "20260301T101530Z",
        "2026-03-01T10:15Z",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(["x", "站", "𫟷", "é"].into_iter().flat_map(|one| [one.repeat(64), one.repeat(65), one.repeat(22)]))
    .collect();
    let bounds = [
        0.0, 1.0, 5.0, 10.0, 45.0, 50.0, 70.0, 90.0, 99.0, 100.0, 110.0, 120.0, 180.0, 360.0, 400.0, 1e3, 65_535.0, 1e6,
    ];
    let near =
        |bound: f64| [bound, bound.next_down(), bound.next_up(), bound + 1e-9, bound - 1e-9, bound + 0.5, bound + 1.0];
    let numbers: Vec<f64> =
        bounds.into_iter().flat_map(near).flat_map(|n| [n, -n]).chain([1e-320, 3.5e38, 1e300]).collect();
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(numbers).prop_map(Value::from),
        (-130_i64..420).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        prop::sample::select(texts).prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{"url": 1}])),
        Just(json!([{"url": "a", "sha256": null, "taken_at": "yesterday"}])),
        Just(json!([[{"url": "a"}], null])),
        Just(json!({"valid": true, "lon": 117.8, "lat": 36.8, "more": [1]})),
        Just(json!({"valid": true, "lon": null, "lat": "36.8"})),
        Just(json!({"valid": 1, "lon": 117.8, "lat": 36.8})),
        Just(json!({"valid": true, "lon": 117.8})),
    ]
    .boxed()
}

/// Does one thing to a good message, anywhere in it.
fn spoil(message: &mut Value, path: &[Index], other: Option<Value>, added: &str) {
    let Some((first, rest)) = path.split_first() else { return };
    match message {
        Value::Object(fields) if !fields.is_empty() => {
            let name = fields.keys().nth(first.index(fields.len())).expect("a field").clone();
            let deeper =
                matches!(&fields[&name], Value::Array(inside) if !inside.is_empty()) || fields[&name].is_object();
            match other {
                other if deeper && !rest.is_empty() => spoil(&mut fields[&name], rest, other, added),
                None => drop(fields.remove(&name)),
                Some(other) if added.is_empty() => drop(fields.insert(name, other)),
                Some(other) => drop(fields.insert(added.to_owned(), other)),
            }
        }
        Value::Array(elements) if !elements.is_empty() => {
            let place = first.index(elements.len());
            match other {
                other if elements[place].is_object() && !rest.is_empty() => {
                    spoil(&mut elements[place], rest, other, added)
                }
                None => drop(elements.remove(place)),
                Some(other) => elements[place] = other,
            }
        }
        other_kind => *other_kind = other.unwrap_or(Value::Null),
    }
}

fn spoiled(pair: &Pair) -> impl Strategy<Value = Value> + use<> {
    let names: Vec<String> = pair.schema["$defs"]
        .as_object()
        .expect("definitions")
        .values()
        .filter_map(|definition| definition["properties"].as_object())
        .flat_map(|properties| properties.keys().cloned())
        .chain([String::new()])
        .collect();
    let change =
        (prop::collection::vec(any::<Index>(), 1..4), prop::option::weighted(0.85, odd()), prop::sample::select(names));
    (pair.good(), prop::collection::vec(change, 1..3)).prop_map(|(mut message, changes)| {
        changes.into_iter().for_each(|(path, other, added)| spoil(&mut message, &path, other, &added));
        message
    })
}

/// So many messages of each kind; together some seconds without optimisation.
const CASES: u32 = 400;

fn hold(pair: &Pair) {
    let mut runner = TestRunner::new(ProptestConfig { cases: CASES, ..ProptestConfig::default() });
    let made = runner.run(&pair.good(), |message| {
        prop_assert!(pair.validator.is_valid(&message), "the generator keeps to the schema: {message}");
        pair.agree(&message)
    });
    made.expect("decoder and schema agree on what the schema allows");
    runner.run(&spoiled(pair), |message| pair.agree(&message)).expect("decoder and schema agree on spoiled messages");
}

#[test]
fn passages_are_what_their_schema_says() {
    hold(&passages());
}

#[test]
fn retrofit_messages_are_what_their_schema_says() {
    hold(&pair("retrofit", |text| terminal(text, SourceKind::Retrofit)));
}

#[test]
fn nonroad_messages_are_what_their_schema_says() {
    hold(&pair("nonroad", |text| terminal(text, SourceKind::Nonroad)));
}

/// Every field with every odd value, one at a time: what chance may miss.
#[test]
fn every_field_with_every_edge() {
    let mut runner = TestRunner::deterministic();
    for pair in [
        passages(),
        pair("retrofit", |text| terminal(text, SourceKind::Retrofit)),
        pair("nonroad", |text| terminal(text, SourceKind::Nonroad)),
    ] {
        let document =
            ["PassageObject", "Document"].iter().find_map(|name| pair.schema["$defs"].get(name)).expect("one");
        let maker = Maker { defs: pair.schema["$defs"].clone() };
        let new = |strategy: &BoxedStrategy<Value>, runner: &mut TestRunner| {
            strategy.new_tree(runner).expect("a value").current()
        };
        let (good, odd) = (maker.of("", document), odd());
        for name in document["properties"].as_object().expect("properties").keys() {
            for _ in 0..120 {
                let mut message = new(&good, &mut runner);
                message[name] = new(&odd, &mut runner);
                pair.agree(&message).expect("schema and decoder agree");
            }
        }
    }
}
