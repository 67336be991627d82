//! Tables by kind and use of a vehicle: how many years, how many months.
//!
//! The first row that fits decides. Rows are looked up by the two characters of the kind and the letter of the use, laid out
//! when the table is loaded, so that a passage costs one look-up however many rows there are.

use super::{KindPrefix, classes::letters};
use crate::vehicle::facts::Vehicle;

const LETTERS: usize = 26;
const DIGITS: usize = 10;
const NO_ROW: u8 = u8::MAX;

/// A row for the kinds and uses it names.
#[derive(Clone, Debug)]
pub(super) struct Row<T> {
    /// What the row is called in verdicts, such as `truck`.
    pub name: Box<str>,
    pub value: T,
}

/// Rows by kind and use.
#[derive(Clone, Debug)]
pub(super) struct KindTable<T> {
    rows: Box<[Row<T>]>,
    /// Place of the row for each letter and digit of the kind and letter of the use.
    index: Box<[u8]>,
}

/// What a table says of a vehicle.
pub(super) enum Found<'t, T> {
    Row(&'t Row<T>),
    /// No row fits.
    None,
    /// The register holds no kind, or no use.
    Missing(&'static str),
}

/// A row as the file has it.
pub(super) struct RawRow<'f, T> {
    pub name: &'f str,
    pub kinds: &'f [String],
    /// Empty: any use.
    pub uses: &'f [String],
    pub value: T,
}

impl<T> KindTable<T> {
    pub fn new<'f>(raw: impl IntoIterator<Item = RawRow<'f, T>>, problems: &mut Vec<String>) -> Self {
        let mut rows = Vec::new();
        let mut index = vec![NO_ROW; LETTERS * DIGITS * LETTERS];
        for (place, raw) in (0..NO_ROW).zip(raw) {
            let kinds = KindPrefix::all(raw.kinds, problems);
            let uses = if raw.uses.is_empty() { u32::MAX } else { letters(raw.uses, problems) };
            if raw.name.trim().is_empty() || raw.kinds.is_empty() {
                problems.push("a row needs a name and kinds".to_owned());
            }
            for (cell, found) in index.iter_mut().enumerate() {
                let (kind, use_nature) = (cell / LETTERS, cell % LETTERS);
                let kind = [b'A' + (kind / DIGITS) as u8, b'0' + (kind % DIGITS) as u8, 0];
                let fits = uses & (1 << use_nature) != 0 && kinds.iter().any(|prefix| prefix.fits(kind));
                if fits && *found == NO_ROW {
                    *found = place;
                }
            }
            rows.push(Row { name: raw.name.into(), value: raw.value });
        }
        if rows.is_empty() || rows.len() == usize::from(NO_ROW) {
            problems.push("a table needs 1 to 254 rows".to_owned());
        }
        Self { rows: rows.into(), index: index.into() }
    }

    #[inline]
    pub fn find(&self, vehicle: &Vehicle) -> Found<'_, T> {
        let Some(kind) = place_of_kind(vehicle) else { return Found::Missing("vehicle_kind") };
        if !vehicle.use_nature.is_ascii_uppercase() {
            return Found::Missing("use_nature");
        }
        self.at(kind, usize::from(vehicle.use_nature - b'A')).map_or(Found::None, Found::Row)
    }

    /// The row of the vehicle's kind for each use, `None` where a use has none; nothing for an unknown kind.
    pub fn of_every_use(&self, vehicle: &Vehicle) -> impl Iterator<Item = Option<&Row<T>>> {
        let kind = place_of_kind(vehicle);
        kind.into_iter().flat_map(move |kind| (0..LETTERS).map(move |use_nature| self.at(kind, use_nature)))
    }

    fn at(&self, kind: usize, use_nature: usize) -> Option<&Row<T>> {
        self.index.get(kind * LETTERS + use_nature).and_then(|place| self.rows.get(usize::from(*place)))
    }
}

/// Place of the two characters of the kind; `None` where the register holds none.
fn place_of_kind(vehicle: &Vehicle) -> Option<usize> {
    let [letter, digit, _] = vehicle.kind;
    let known = letter.is_ascii_uppercase() && digit.is_ascii_digit();
    known.then(|| usize::from(letter - b'A') * DIGITS + usize::from(digit - b'0'))
}
