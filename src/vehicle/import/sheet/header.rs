//! The first row of a table: which of its columns are ours, and how foreign ones become ours.

use csv::StringRecord;

use crate::mapping::{Mapping, Rule};

/// The columns a dataset knows.
#[derive(Clone, Copy, Debug)]
pub struct Columns {
    /// A file without one of these is refused.
    pub required: &'static [&'static str],
    /// A file without one of these has it empty in every row.
    pub optional: &'static [&'static str],
}

impl Columns {
    fn all(&self) -> impl Iterator<Item = &'static str> {
        self.required.iter().chain(self.optional).copied()
    }
}

/// Why a header is not that of the dataset.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    #[error("the file is empty")]
    Empty,
    #[error("missing column{} {} in the header, the first row that is not blank", if .0.len() == 1 { "" } else { "s" }, .0.join(", "))]
    Missing(Vec<String>),
    #[error(
        "column `{name}` stands in the header twice, as column {first} and {second}; delete or rename the one that is not meant"
    )]
    Twice { name: String, first: usize, second: usize },
    /// Of the text itself: a quotation mark that is left open.
    #[error("the header (row {row}): {why}")]
    Unreadable { row: u64, why: String },
    /// Taken as an extra column, its content would silently count as not registered.
    #[error("unknown column `{found}` looks like `{meant}`; correct or rename it")]
    Misspelt { found: String, meant: String },
}

/// Similarity from which a name one keystroke away counts as a misspelling (Jaro-Winkler, 0..=1). Of a name of three or four
/// letters one letter is too much: the abbreviations of two things often differ by no more.
const MISSPELT: f64 = 0.9;
/// Similarity from which a name is suggested for a missing column.
const SUGGESTED: f64 = 0.85;

/// Where each known column stands in the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub(super) places: Vec<(&'static str, usize)>,
    /// Cells of the file's header.
    pub width: usize,
    /// The cells of a row of the file that anybody reads.
    pub used: Vec<Used>,
    /// Names of columns nobody asked for, each with the absent one that may have been meant.
    pub ignored: Vec<String>,
    /// Optional columns that the file lacks.
    pub absent: Vec<&'static str>,
}

/// A cell that is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    pub place: usize,
    /// Our name of its column.
    pub column: &'static str,
    /// How a refusal calls it.
    pub calls: String,
}

impl Header {
    /// As [`parse`](Self::parse), through a mapping where there is one.
    pub(super) fn read(
        record: &StringRecord,
        columns: Columns,
        mapping: Option<&Mapping>,
    ) -> Result<(Self, Option<Translation>), HeaderError> {
        match mapping {
            None => Ok((Self::parse(record, columns)?, None)),
            Some(mapping) => {
                let (header, translation) = Self::parse_mapped(record, columns, mapping)?;
                Ok((header, Some(translation)))
            }
        }
    }

    pub(super) fn parse(record: &StringRecord, columns: Columns) -> Result<Self, HeaderError> {
        let names: Vec<String> = record.iter().map(|name| name_of(name).to_ascii_lowercase()).collect();
        if names.iter().all(String::is_empty) {
            return Err(HeaderError::Empty);
        }
        let mut places = Vec::new();
        let mut ignored = Vec::new();
        for (place, name) in names.iter().enumerate() {
            match columns.all().find(|known| known == name) {
                Some(known) => {
                    if let Some((_, first)) = places.iter().find(|(seen, _)| *seen == known) {
                        return Err(twice(name, *first, place));
                    }
                    places.push((known, place));
                }
                None if name.is_empty() => {}
                None => ignored.push(name.clone()),
            }
        }
        let has = |column: &&str| places.iter().any(|(known, _)| known == column);
        let missing: Vec<String> =
            columns.required.iter().filter(|column| !has(column)).map(|column| suggest(column, &ignored)).collect();
        if !missing.is_empty() {
            return Err(HeaderError::Missing(missing));
        }
        let absent: Vec<&'static str> = columns.optional.iter().copied().filter(|column| !has(column)).collect();
        let present: Vec<&str> = places.iter().map(|&(known, _)| known).collect();
        refuse_misspelt(&absent, &ignored, &present)?;
        let ignored = ignored.into_iter().map(|found| hinted(found, &absent, &present)).collect();
        let used = places.iter().map(|&(column, place)| Used { place, column, calls: column.to_owned() }).collect();
        Ok(Self { places, width: names.len(), used, ignored, absent })
    }

    /// The header of a file with foreign names: `places` are those of the record that [`Translation`] makes.
    fn parse_mapped(
        record: &StringRecord,
        columns: Columns,
        mapping: &Mapping,
    ) -> Result<(Self, Translation), HeaderError> {
        let names: Vec<String> = record.iter().map(|name| name_of(name).to_lowercase()).collect();
        if names.iter().all(String::is_empty) {
            return Err(HeaderError::Empty);
        }
        let mut found: Vec<Option<usize>> = vec![None; mapping.rules().len()];
        let mut ignored = Vec::new();
        for (place, name) in names.iter().enumerate() {
            match mapping.rules().iter().position(|rule| rule.foreign().to_lowercase() == *name) {
                Some(rule) => {
                    if let Some(slot) = found.get_mut(rule)
                        && let Some(first) = slot.replace(place)
                    {
                        return Err(twice(name, first, place));
                    }
                }
                None if name.is_empty() || mapping.ignores(name) => {}
                None => ignored.push(name.clone()),
            }
        }
        let lacking = || mapping.rules().iter().zip(&found).filter(|(_, place)| place.is_none()).map(|(rule, _)| rule);
        let missing: Vec<String> = lacking()
            .filter(|rule| columns.required.contains(&rule.column()))
            .map(|rule| suggest(rule.foreign(), &ignored))
            .collect();
        if !missing.is_empty() {
            return Err(HeaderError::Missing(missing));
        }
        let theirs: Vec<&str> = lacking().map(Rule::foreign).collect();
        refuse_misspelt(&theirs, &ignored, &[])?;
        let ignored = ignored.into_iter().map(|found| hinted(found, &theirs, &[])).collect();
        let places: Vec<(Option<usize>, Rule)> = mapping
            .rules()
            .iter()
            .zip(found)
            .filter_map(|(rule, place)| Some((Some(place?), rule.clone())))
            .chain(mapping.constants().iter().map(|rule| (None, rule.clone())))
            .collect();
        let ours: Vec<(&'static str, usize)> =
            places.iter().enumerate().map(|(place, (_, rule))| (rule.column(), place)).collect();
        let has = |column: &str| ours.iter().any(|(known, _)| *known == column);
        let absent = columns.optional.iter().copied().filter(|column| !has(column)).collect();
        let used = places
            .iter()
            .filter_map(|(place, rule)| Some(Used { place: (*place)?, column: rule.column(), calls: rule.calls() }))
            .collect();
        Ok((Self { places: ours, width: names.len(), used, ignored, absent }, Translation { places }))
    }
}

/// A name without what cannot be seen: blanks, and the byte order mark of a file that was put into another.
fn name_of(cell: &str) -> &str {
    cell.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\u{200b}'))
}

fn twice(name: &str, first: usize, second: usize) -> HeaderError {
    HeaderError::Twice { name: name.to_owned(), first: first + 1, second: second + 1 }
}

/// How a foreign row becomes one of ours: for each of our columns the place of theirs and what to do with it.
pub(super) struct Translation {
    places: Vec<(Option<usize>, Rule)>,
}

impl Translation {
    /// A refusal calls the column by its foreign name first.
    pub(super) fn translate(&self, theirs: &StringRecord, ours: &mut StringRecord) -> Result<(), String> {
        ours.clear();
        for (place, rule) in &self.places {
            let cell = match place {
                Some(place) => theirs.get(*place).unwrap_or_default().trim(),
                None => rule.constant().unwrap_or_default(),
            };
            match rule.text(cell) {
                Ok(text) => ours.push_field(&text),
                Err(unfit) => return Err(format!("{}: {unfit}", rule.calls())),
            }
        }
        Ok(())
    }

    /// Puts the foreign name before a reason that begins with ours.
    pub(super) fn rename(&self, reason: String) -> String {
        let named = reason.split_once(':').and_then(|(column, why)| {
            let (_, rule) = self.places.iter().find(|(_, rule)| rule.column() == column)?;
            Some(format!("{}:{why}", rule.calls()))
        });
        named.unwrap_or(reason)
    }
}

/// Refuses a header in which an absent column stands misspelt. What is further away than one keystroke is a column of its
/// own, ignored and named.
fn refuse_misspelt(absent: &[&str], ignored: &[String], present: &[&str]) -> Result<(), HeaderError> {
    for meant in absent {
        let misspelt = |found: &&String| {
            strsim::damerau_levenshtein(meant, found) <= 1
                && strsim::jaro_winkler(meant, found) >= MISSPELT
                && !is_word_of(found, present)
        };
        if let Some(found) = ignored.iter().find(misspelt) {
            return Err(HeaderError::Misspelt { found: found.clone(), meant: (*meant).into() });
        }
    }
    Ok(())
}

/// Whether a name is a word of a column the file has, such as `stage` beside `emission_stage`: a word of the domain, and
/// what it would say stands there already.
fn is_word_of(name: &str, present: &[&str]) -> bool {
    present.iter().any(|column| column.split('_').any(|word| word == name))
}

/// An ignored column's name, with the absent one that it is similar to.
fn hinted(name: String, absent: &[&str], present: &[&str]) -> String {
    if is_word_of(&name, present) {
        return name;
    }
    let scored = absent.iter().map(|meant| (strsim::jaro_winkler(meant, &name), meant));
    match scored.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, meant)) if score >= SUGGESTED => format!("{name} (did you mean `{meant}`?)"),
        _ => name,
    }
}

/// The missing column with the most similar name that the file does have.
fn suggest(missing: &str, ignored: &[String]) -> String {
    let scored = ignored.iter().map(|found| (strsim::jaro_winkler(missing, found), found));
    match scored.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((score, found)) if score >= SUGGESTED => format!("`{missing}` (did you mean it by `{found}`?)"),
        _ => format!("`{missing}`"),
    }
}
