//! What becomes of one foreign field.

use std::borrow::Cow;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use hashbrown::HashMap;

use super::{
    colours::{self, Codes},
    unit::Scale,
};
use crate::{
    decode::remote_sensing::{fuel_hint_word, rig_result_word},
    reading::{PlateColor, Timestamp},
};

/// What kind of value our column holds; decides which conversions make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text of any kind, and words and numbers of tables: checked where our own form is.
    Text,
    Colour,
    Time,
    /// A date without time of day.
    Day,
    Number,
    Integer,
    Flag,
    /// A list that is passed over.
    Media,
}

/// One form in which a time may be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TimeForm {
    /// Seconds or milliseconds since 1970 UTC.
    UnixSeconds,
    UnixMillis,
    /// A pattern of `strftime`; times without offset are of Asia/Shanghai.
    Pattern(Box<str>),
}

impl TimeForm {
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "unix_s" => Some(Self::UnixSeconds),
            "unix_ms" => Some(Self::UnixMillis),
            pattern => {
                use chrono::format::{Item, StrftimeItems};
                let right = pattern.contains('%') && !StrftimeItems::new(pattern).any(|item| item == Item::Error);
                right.then(|| Self::Pattern(pattern.into()))
            }
        }
    }
}

/// Why a foreign value has no form of ours. Never holds the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfit {
    Colour { table: Option<Box<str>> },
    Time,
    Number,
    Flag,
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unfit::Colour { table: Some(table) } => write!(f, "is neither a code of the table {table} nor a colour"),
            Unfit::Colour { table: None } => f.write_str("is no colour; the mapping names no table of codes"),
            Unfit::Time => f.write_str("is no time of the form the mapping gives"),
            Unfit::Number => f.write_str("is not a number"),
            Unfit::Flag => f.write_str("is neither true nor false"),
        }
    }
}

/// How one column is filled.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) column: &'static str,
    pub(super) kind: Kind,
    /// Empty for a constant.
    pub(super) foreign: Box<str>,
    pub(super) constant: Option<Box<str>>,
    /// Texts that stand for no value.
    pub(super) missing: Box<[Box<str>]>,
    /// Foreign words and what they are called here.
    pub(super) values: HashMap<Box<str>, Box<str>>,
    pub(super) table: Option<(Box<str>, &'static Codes)>,
    pub(super) forms: Box<[TimeForm]>,
    pub(super) scale: Option<Scale>,
    /// A word that neither `values` nor our own form knows stands for no value, instead of losing the reading. Only for
    /// columns that may be missing.
    pub(super) otherwise_missing: bool,
}

impl Rule {
    /// Our name.
    pub fn column(&self) -> &'static str {
        self.column
    }

    /// Theirs; empty for a constant.
    pub fn foreign(&self) -> &str {
        &self.foreign
    }

    pub fn constant(&self) -> Option<&str> {
        self.constant.as_deref()
    }

    /// `hphm (plate)`, or one name where both are the same.
    pub fn calls(&self) -> String {
        match &*self.foreign {
            "" => self.column.to_owned(),
            foreign if foreign == self.column => self.column.to_owned(),
            foreign => format!("{foreign} ({})", self.column),
        }
    }

    /// Whether this text stands for no value.
    pub fn is_missing(&self, text: &str) -> bool {
        self.missing.iter().any(|missing| &**missing == text)
    }

    /// Our word for theirs, where the mapping has one.
    pub fn translated<'a>(&'a self, text: &'a str) -> &'a str {
        // Most rules have no words at all; hashing for them would be half the cost of a mapping.
        if self.values.is_empty() { text } else { self.values.get(text).map_or(text, |ours| ours) }
    }

    /// Whether a word is one that nobody knows and that the mapping lets pass as no value.
    pub(super) fn passes_over(&self, text: &str) -> bool {
        self.otherwise_missing && !self.values.contains_key(text) && !own_word(self.column, text)
    }

    /// Our text for a cell of theirs; empty where it holds no value.
    pub fn text<'a>(&'a self, cell: &'a str) -> Result<Cow<'a, str>, Unfit> {
        if cell.is_empty() || self.is_missing(cell) {
            return Ok(Cow::Borrowed(""));
        }
        let text = self.translated(cell);
        match self.kind {
            Kind::Colour => Ok(Cow::Borrowed(self.colour(text)?.name())),
            Kind::Time | Kind::Day if !self.forms.is_empty() => {
                self.time(text).or_else(|| self.iso(text)).map(Cow::Owned).ok_or(Unfit::Time)
            }
            Kind::Number | Kind::Integer => match self.scale {
                None => Ok(Cow::Borrowed(text)),
                Some(scale) => Ok(Cow::Owned(scale.apply(finite(text).ok_or(Unfit::Number)?).to_string())),
            },
            _ => Ok(Cow::Borrowed(text)),
        }
    }

    pub(super) fn colour(&self, text: &str) -> Result<PlateColor, Unfit> {
        let coded = self.table.as_ref().and_then(|(_, codes)| codes.get(text).copied());
        coded
            .or_else(|| colours::word(text))
            .ok_or_else(|| Unfit::Colour { table: self.table.as_ref().map(|(name, _)| name.clone()) })
    }

    /// A day as `2016-09-30`, a time with its offset.
    pub(super) fn time(&self, text: &str) -> Option<String> {
        self.forms.iter().find_map(|form| self.time_of(form, text))
    }

    /// The form in which a workbook's own dates come out, whatever form its texts have; it can be read in one way only.
    fn iso(&self, text: &str) -> Option<String> {
        let forms = ["%Y-%m-%d", "%Y-%m-%d %H:%M:%S"].map(|form| TimeForm::Pattern(form.into()));
        forms.iter().find_map(|form| self.time_of(form, text))
    }

    fn time_of(&self, form: &TimeForm, text: &str) -> Option<String> {
        let at = match form {
            TimeForm::UnixSeconds => Timestamp::from_micros(text.parse::<i64>().ok()?.checked_mul(1_000_000)?),
            TimeForm::UnixMillis => Timestamp::from_micros(text.parse::<i64>().ok()?.checked_mul(1_000)?),
            TimeForm::Pattern(pattern) => {
                if let Ok(at) = DateTime::parse_from_str(text, pattern) {
                    Timestamp::from_micros(at.timestamp_micros())
                } else if let Ok(at) = NaiveDateTime::parse_from_str(text, pattern) {
                    Timestamp::from_china_naive(at)
                } else {
                    // A date stays one: whether it counts from its start or to its end is the column's to say.
                    return NaiveDate::parse_from_str(text, pattern).ok().map(|day| day.to_string());
                }
            }
        };
        Some(match self.kind {
            Kind::Day => at.china_day().to_string(),
            _ => at.to_string(),
        })
    }
}

/// Columns of a closed set of words that a reading may lack.
pub(super) const OPTIONAL_WORDS: &[&str] = &["fuel_hint", "rig_result"];

/// Whether a column of [`OPTIONAL_WORDS`] has this word in our own form.
pub(super) fn own_word(column: &str, text: &str) -> bool {
    match column {
        "fuel_hint" => fuel_hint_word(text),
        "rig_result" => rig_result_word(text),
        _ => true,
    }
}

/// A number as people and spreadsheets write it, leading zeros and a plus sign too.
pub(super) fn finite(text: &str) -> Option<f64> {
    // `inf` and `nan` are numbers to Rust.
    let numeric = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.' | b'e' | b'E'));
    if numeric { text.parse().ok().filter(|number: &f64| number.is_finite()) } else { None }
}
