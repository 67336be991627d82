use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn said(text: &str) -> String {
    let fault = check(text).expect_err(text);
    assert_eq!(value(text).as_ref().expect_err(text), &fault, "both readers say the same of {text}");
    fault.to_string()
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
    for (text, detail) in [
        ("", "empty message, "),
        (r#"{"a":1,"b":{"x":1,"x":2}}"#, "a field is given twice, at byte 18 (b.x)"),
        (r#"{"plate":1,"pla\u0074e":2}"#, "a field is given twice, at byte 11 (plate)"),
        (r#"[{"a":1},{"鲁C12345":1,"鲁C12345":2}]"#, "a field is given twice, at byte 24 ([1]....)"),
        (r#"{"no_ppm":NaN}"#, "broken JSON: NaN and Infinity are no numbers; null is no value, at byte 10 (no_ppm)"),
        (
            r#"{"no_ppm":-Infinity}"#,
            "broken JSON: NaN and Infinity are no numbers; null is no value, at byte 11 (no_ppm)",
        ),
        (r#"{"a":+1}"#, "broken JSON: a number must not begin with a plus sign, at byte 5 (a)"),
        (r#"{"a":01}"#, "broken JSON: a number must not begin with a further zero, at byte 5 (a)"),
        (r#"{"a":.5}"#, "broken JSON: a number must begin with a digit, at byte 5 (a)"),
        (r#"{"a":5.}"#, "broken JSON: a digit is expected, at byte 7 (a)"),
        (r#"{"a":1e999}"#, "a number too large, at byte 5 (a)"),
        (r#"{"a":}"#, "broken JSON: a value is missing, at byte 5 (a)"),
        (r#"{"a":1,}"#, "broken JSON: a comma before the end of an object, at byte 7"),
        ("[1,]", "broken JSON: a comma before the end of an array, at byte 3"),
        ("[1 /* one */]", "broken JSON: comments are not allowed, at byte 3"),
        ("{'a':1}", "broken JSON: a name in double quotation marks is expected, at byte 1"),
        ("{\"a\":\"x\ny\"}", "broken JSON: a control character stands in a text unescaped, at byte 7 (a)"),
        (r#"{"a":"\ud83d"}"#, "broken JSON: half of a surrogate pair, at byte 6 (a)"),
        (r#"{"a":"\udc00"}"#, "broken JSON: half of a surrogate pair, at byte 6 (a)"),
        (r#"{"a":"\x41"}"#, "broken JSON: an escape that JSON does not have, at byte 6 (a)"),
        (r#"{"a":"b"#, "broken JSON: the text ends early, at byte 7 (a)"),
        ("{} {}", "broken JSON: something follows the end of the document, at byte 3"),
        ("\u{feff}{}", "broken JSON: a byte order mark stands elsewhere than at the beginning, at byte 0"),
        (&deep, "nested deeper than 64 levels, at byte 64"),
    ] {
        assert!(said(text).starts_with(detail.trim_end_matches(", ")), "{text}: {}", said(text));
    }
    assert!(check(&deep[1..deep.len() - 1]).is_ok());
}

#[test]
fn a_byte_order_mark_is_passed_over_once_and_other_encodings_are_named() {
    assert_eq!(text(b"\xef\xbb\xbf{}"), Ok((3, "{}")));
    assert_eq!(text(b"{}"), Ok((0, "{}")));
    assert_eq!(read::<Value>(b"\xef\xbb\xbf\xef\xbb\xbf{}").map_err(|error| error.to_string().len() > 20), Err(true));
    for little in [false, true] {
        for mark in ["", "\u{feff}"] {
            let units = format!("{mark}{{\"a\":1}}");
            let bytes: Vec<u8> = units
                .encode_utf16()
                .flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() })
                .collect();
            let said = text(&bytes).expect_err("no UTF-8").to_string();
            assert_eq!(said, "this is UTF-16; texts are read in UTF-8, at byte 0");
        }
    }
    let plate = text(b"{\"plate\":\"\xc2\xb3C12345\"}").map(|(_, text)| text.len());
    assert_eq!(plate, Ok(20), "GBK may look like UTF-8; that is for whoever reads the plate");
    assert_eq!(text(b"{\"plate\":\"\xd4\xc1B12345\"}").expect_err("GBK").at, 10);
}

/// What the readers and the checker say, and what serde_json makes of the same text: apart from doubled keys and depth all
/// three agree.
fn agree(text: &str) {
    let checked = check(text);
    let built = value(text);
    let mut passing = serde_json::Deserializer::from_str(text);
    let passed = serde::de::DeserializeSeed::deserialize(Passed::at_depth(0), &mut passing).and_then(|_| passing.end());
    let serde: Result<Value, _> = serde_json::from_str(text);
    assert_eq!(checked.is_ok(), built.is_ok(), "{text:?} {checked:?} {serde:?}");
    assert_eq!(checked.is_ok(), passed.is_ok(), "{text:?} {checked:?}");
    match (&checked, &serde) {
        (Ok(()), serde) => assert_eq!(serde.as_ref().ok(), built.as_ref().ok(), "{text:?}"),
        (Err(fault), Ok(_)) => {
            assert!(matches!(fault.problem, Problem::Doubled | Problem::TooDeep), "{text:?} {fault}")
        }
        (Err(_), Err(_)) => {}
    }
}

fn any_json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|flag| flag.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(|number| format!("{number:e}")),
        r#"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?"#.prop_map(|number| number),
        any::<String>().prop_map(|text| Value::String(text).to_string()),
        r#""(\\u[0-9a-fA-F]{4}|\\["\\/bfnrt]|[a-z鲁]){0,5}""#.prop_map(|text| text),
    ];
    scalar.prop_recursive(5, 40, 5, |inner| {
        let key =
            prop_oneof![Just("\"a\"".to_owned()), Just("\"\\u0061\"".to_owned()), "\"[a-d]{0,2}\"".prop_map(|key| key)];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(|elements| format!("[{}]", elements.join(" , "))),
            prop::collection::vec((key, inner), 0..5).prop_map(|fields| {
                let fields: Vec<_> = fields.into_iter().map(|(key, value)| format!("{key} : {value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn readers_and_checker_agree_on_json(text in any_json()) {
        agree(&text);
    }

    #[test]
    fn readers_and_checker_agree_on_damaged_json(
        text in any_json(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), r#"[\[\]{}",:\\/'0-9eE+.uNa -]{0,2}"#), 1..4),
    ) {
        let mut characters: Vec<String> = text.chars().map(String::from).collect();
        for (place, other) in damage {
            let place = place.index(characters.len());
            characters[place] = other;
        }
        agree(&characters.concat());
    }

    #[test]
    fn keys_are_told_apart_however_many(count in 0_usize..40, twice in prop::option::of(any::<prop::sample::Index>())) {
        let mut names: Vec<String> = (0..count).map(|n| format!("\"k{n}\":{n}")).collect();
        let doubled = twice.filter(|_| count > 0).map(|place| names[place.index(count)].clone());
        names.extend(doubled.clone());
        let text = format!("{{{}}}", names.join(","));
        prop_assert_eq!(check(&text).is_ok(), doubled.is_none());
        agree(&text);
    }
}

fn pieces(text: &str) -> Vec<(&str, Option<String>)> {
    let piece = |piece: Piece<'_>| {
        let start = piece.raw.as_ptr() as usize - text.as_ptr() as usize;
        (&text[start..start + piece.raw.len()], piece.fault.map(|fault| fault.to_string()))
    };
    split(text.as_bytes(), 500).expect("not too many").into_iter().map(piece).collect()
}

/// The pieces, those with a fault in brackets.
fn shown(text: &str) -> String {
    let shown =
        |(raw, fault): (&str, Option<String>)| if fault.is_some() { format!("<{raw}>") } else { raw.to_owned() };
    pieces(text).into_iter().map(shown).collect::<Vec<_>>().join(" ; ")
}

#[test]
fn what_is_broken_inside_an_element_stays_inside() {
    for inner in [
        r#"{"no_ppm": NaN}"#,
        r#"{"no_ppm": }"#,
        r#"{"no_ppm": N/A, "x": #N/A}"#,
        r#"{"no_ppm": --, 'plate_color': 'blue, or green}'}"#,
        r#"{"a": 1,}"#,
        r#"{"a": {"b": [1, 2,, {}]}}"#,
        r#"{"text": "}],[{\"\\"}"#,
        "{\"text\": \"a\nb\"}",
        "NaN",
        r#"{"a": 1} {"b": 2}"#,
    ] {
        let text = format!(" [ {{\"ok\":1}} , {inner},\n[2]]\n");
        assert_eq!(shown(&text), format!("{{\"ok\":1}} ; {inner} ; [2]"));
    }
    assert_eq!(shown(" [ ] "), "");
    assert_eq!(shown("[7]"), "7");
}

#[test]
fn what_could_be_read_in_two_ways_is_one_piece_to_the_end() {
    for (rest, why) in [
        (r#"{"a": "x}, {"b": 1}]"#, MARKS),
        (r#"{"a": x", "b": 1}, {"c": 2}]"#, MARKS),
        (r#"{"a": "x\", "b": 1}, {"c": 2}]"#, MARKS),
        (r#"{"a": 1, {"c": 2}]"#, BRACKETS),
        (r#"{"a": 1}}, {"c": 2}]"#, BRACKETS),
        (r#"{"a": [1}, {"c": 2}]"#, BRACKETS),
        (r#"{"a": \"x\"}, {"c": 2}]"#, "a backslash"),
        (r#"/* {"a": 1}, {"b": 1}, */ {"c": 2}]"#, "a comment"),
        ("{\"a\": 1 // }, {\n}, {\"c\": 2}]", "a comment"),
        ("# {\"a\": 1}, {\"b\": 1}\n, {\"c\": 2}]", "a comment"),
        (r#"{'a': 'it"s'}, {"c": 2}]"#, MARKS),
        (r#"{"a": "x"#, "never closed"),
        (r#"{"a": 1"#, "never closed"),
        ("1", "never closed"),
    ] {
        let text = format!("[{{\"ok\":1}}, {rest}");
        let found = pieces(&text);
        assert_eq!(found.len(), 2, "{text}: {found:?}");
        assert_eq!(found[0], ("{\"ok\":1}", None));
        assert!(found[1].0 == rest && found[1].1.as_ref().is_some_and(|said| said.contains(why)), "{found:?}");
    }
}

const MARKS: &str = "a quotation mark is missing or too many";
const BRACKETS: &str = "brackets do not match";

#[test]
fn gaps_cuts_and_what_follows_are_pieces_with_bytes() {
    assert_eq!(shown("[{},,{}]"), "{} ; <,> ; {}");
    assert_eq!(shown("[,{}]"), "<[> ; {}");
    assert_eq!(shown("[{} , ]"), "{} ; <,>");
    assert_eq!(shown("[{},{}"), "{} ; {} ; <,>");
    assert_eq!(shown("[{}"), "{} ; <[>");
    assert_eq!(shown("[{}, "), "{} ; <,>");
    assert_eq!(shown("["), "<[>");
    assert_eq!(shown("[{}] x"), "{} ; <x>");
    assert_eq!(shown("[{}][{}]"), "{} ; <[{}]>");
}

#[test]
fn elements_are_counted_before_anything_is_read() {
    let array = |count: usize| format!("[{}]", vec!["{}"; count].join(","));
    assert_eq!(split(array(500).as_bytes(), 500).map(|pieces| pieces.len()), Ok(500));
    assert!(matches!(split(array(501).as_bytes(), 500), Err(TooMany)));
}

proptest! {
    /// Whatever comes: every byte that is no blank, comma or bracket of the array itself is in exactly one piece.
    #[test]
    fn pieces_partition_an_array(inside in r#"[\[\]{}",:\\/'#a1 ]{0,60}"#) {
        let text = format!("[{inside}");
        let mut owned = vec![0_u8; text.len()];
        for (raw, _) in pieces(&text) {
            let start = raw.as_ptr() as usize - text.as_ptr() as usize;
            prop_assert!(!raw.is_empty());
            owned[start..start + raw.len()].iter_mut().for_each(|count| *count += 1);
        }
        for (place, byte) in text.bytes().enumerate() {
            let may_be_left = matches!(byte, b' ' | b',' | b']') || place == 0;
            prop_assert!(owned[place] == 1 || owned[place] == 0 && may_be_left, "{} {:?}", text, owned);
        }
    }

    /// Whatever is JSON splits as serde_json splits it.
    #[test]
    fn good_arrays_split_as_they_are(elements in prop::collection::vec(any_json(), 0..6)) {
        let text = format!("[{}]", elements.join(",\t"));
        let found: Vec<_> = pieces(&text).into_iter().map(|(raw, fault)| { assert_eq!(fault, None); raw.to_owned() }).collect();
        prop_assert_eq!(found, elements);
    }
}
