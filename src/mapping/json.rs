//! One value of foreign JSON into one of ours, fed to whoever reads our own form.
//!
//! A value that needs no conversion is handed on as the text it came as, so that a mapped number is parsed by the same
//! code, to the same last bit, as one in our own form.

use std::borrow::Cow;

use serde::{Deserializer, de::Visitor, forward_to_deserialize_any};

use super::rule::{Kind, Rule, finite};
use crate::{fault::Reason, strict_json};

/// A value in our form.
#[derive(Clone, Debug, PartialEq)]
pub enum Feed<'a> {
    Null,
    /// No value either, because nobody knows the word that stands there.
    Unknown,
    /// JSON text of a number or a list, to be parsed by the reader of our own form.
    Raw(&'a str),
    Text(Cow<'a, str>),
    Number(f64),
    Flag(bool),
}

/// The common form of a time without offset, rewritten without parsing it twice.
const COMMON_FORM: &str = "%Y-%m-%d %H:%M:%S";

impl Rule {
    /// Our value for the text of one of theirs, as it stands in the JSON; or the reason to refuse the reading.
    pub fn feed<'a>(&'a self, raw: &'a str) -> Result<Feed<'a>, Reason> {
        let quoted = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
        let text = match (quoted, raw.as_bytes()) {
            (Some(inner), _) if !inner.contains('\\') => Cow::Borrowed(inner),
            (Some(_), _) => Cow::Owned(serde_json::from_str::<String>(raw).map_err(|_| Reason::WrongType)?),
            (None, b"null") => return Ok(Feed::Null),
            // Their lists of pictures have forms of their own; that it is a list is all that is asked.
            (None, [b'[', ..]) if self.kind == Kind::Media => {
                return strict_json::check(raw).map(|()| Feed::Raw("[]")).map_err(|fault| fault.problem.reason());
            }
            (None, [b'{' | b'[', ..]) => return Err(Reason::WrongType),
            // As text a number is a name or a code: one with a fraction or exponent has lost its digits on the way.
            (None, [b'-' | b'0'..=b'9', rest @ ..])
                if self.kind == Kind::Text && !rest.iter().all(u8::is_ascii_digit) =>
            {
                return Err(Reason::WrongType);
            }
            (None, _) => Cow::Borrowed(raw),
        };
        match text {
            Cow::Borrowed(text) => self.feed_text(text),
            Cow::Owned(text) => Ok(match self.feed_text(&text)? {
                Feed::Null => Feed::Null,
                Feed::Unknown => Feed::Unknown,
                Feed::Text(text) => Feed::Text(Cow::Owned(text.into_owned())),
                Feed::Number(number) => Feed::Number(number),
                Feed::Flag(flag) => Feed::Flag(flag),
                // A number that was written with escapes.
                Feed::Raw(number) => Feed::Number(finite(number).ok_or(Reason::WrongType)?),
            }),
        }
    }

    fn feed_text<'a>(&'a self, text: &'a str) -> Result<Feed<'a>, Reason> {
        if self.is_missing(text) {
            return Ok(Feed::Null);
        }
        if self.passes_over(text) {
            return Ok(Feed::Unknown);
        }
        let text = self.translated(text);
        Ok(match self.kind {
            Kind::Text => Feed::Text(Cow::Borrowed(text)),
            Kind::Colour => Feed::Text(Cow::Borrowed(self.colour(text).map_err(|_| Reason::WrongType)?.name())),
            Kind::Time | Kind::Day => Feed::Text(self.feed_time(text).ok_or(Reason::WrongType)?),
            Kind::Number | Kind::Integer => self.feed_number(text)?,
            Kind::Flag => Feed::Flag(flag(text).ok_or(Reason::WrongType)?),
            Kind::Media => return Err(Reason::WrongType),
        })
    }

    fn feed_time<'a>(&self, text: &'a str) -> Option<Cow<'a, str>> {
        if self.forms.is_empty() {
            return Some(Cow::Borrowed(text));
        }
        if let [super::rule::TimeForm::Pattern(pattern)] = &*self.forms
            && &**pattern == COMMON_FORM
            && let Some((date, time)) = text.split_once(' ')
            && date.len() == 10
            && time.len() == 8
        {
            // What is no date or no time of day is refused by the parser of RFC 3339.
            return Some(Cow::Owned([date, "T", time, "+08:00"].concat()));
        }
        self.time(text).map(Cow::Owned)
    }

    fn feed_number<'a>(&self, text: &'a str) -> Result<Feed<'a>, Reason> {
        if let Some(scale) = self.scale {
            let number = scale.apply(finite(text).ok_or(Reason::WrongType)?);
            return if number.is_finite() { Ok(Feed::Number(number)) } else { Err(Reason::OutOfRange) };
        }
        if is_json_number(text) {
            return Ok(Feed::Raw(text));
        }
        // `05.2` and `+5` are no JSON and yet numbers.
        finite(text).map(Feed::Number).ok_or(Reason::WrongType)
    }
}

/// Digits without a leading zero, an optional fraction and exponent.
fn is_json_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let whole = whole.strip_prefix('-').unwrap_or(whole);
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(digits)
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "true" | "1" | "是" | "Y" | "y" => Some(true),
        "false" | "0" | "否" | "N" | "n" => Some(false),
        _ => None,
    }
}

/// A field of ours reads whatever it expects; a value of another type is its own refusal.
impl<'de> Deserializer<'de> for Feed<'de> {
    type Error = serde_json::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Feed::Null | Feed::Unknown => visitor.visit_unit(),
            Feed::Raw(raw) => whole(raw, |json| json.deserialize_any(visitor)),
            Feed::Text(text) => visitor.visit_str(&text),
            Feed::Number(number) => visitor.visit_f64(number),
            Feed::Flag(flag) => visitor.visit_bool(flag),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        match self {
            Feed::Null | Feed::Unknown => visitor.visit_none(),
            other => visitor.visit_some(other),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

fn whole<'de, T>(
    raw: &'de str,
    read: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::StrRead<'de>>) -> Result<T, serde_json::Error>,
) -> Result<T, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(raw);
    let value = read(&mut json)?;
    json.end()?;
    Ok(value)
}
