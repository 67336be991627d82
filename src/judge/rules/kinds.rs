//! Tables by kind and use of a vehicle: how many years, how many months.
//!
//! The first row that fits decides. Rows are looked up by the two characters of the kind and the letter of the use, laid out
//! when the table is loaded, so that a passage costs one look-up however many rows there are.

use smallvec::SmallVec;

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
    /// Places of the rows that some kind may have, for each letter of the use.
    of_use: Box<[Box<[u8]>]>,
}

/// What a table says of a vehicle.
pub(super) enum Found<'t, T> {
    Row(&'t Row<T>),
    /// No row fits.
    None,
    /// The register holds no kind, or no use: these may fit.
    Some(Candidates<'t, T>),
}

/// The rows that may be the vehicle's, each once.
pub(super) struct Candidates<'t, T> {
    pub rows: SmallVec<[&'t Row<T>; 4]>,
    /// There may be none that fits.
    pub perhaps_none: bool,
    /// What the register does not hold.
    pub missing: &'static str,
}

impl<'t, T> Candidates<'t, T> {
    /// The one row of a vehicle whose kind and use are known.
    pub fn one(row: &'t Row<T>) -> Self {
        Self { rows: SmallVec::from_iter([row]), perhaps_none: false, missing: "" }
    }

    /// Whether which row it is makes a difference to `of`; a vehicle without a row counts as `none`.
    pub fn differ<V: PartialEq>(&self, none: V, of: impl Fn(&Row<T>) -> V) -> bool {
        let mut values = self.rows.iter().map(|row| of(row)).chain(self.perhaps_none.then_some(none));
        values.next().is_some_and(|first| values.any(|other| other != first))
    }
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
        let of_use = (0..LETTERS).map(|use_nature| {
            let mut places: Vec<u8> = index.iter().skip(use_nature).step_by(LETTERS).copied().collect();
            places.sort_unstable();
            places.dedup();
            places.into()
        });
        Self { rows: rows.into(), of_use: of_use.collect(), index: index.into() }
    }

    #[inline]
    pub fn find(&self, vehicle: &Vehicle) -> Found<'_, T> {
        match place_of_kind(vehicle) {
            Some(kind) if vehicle.use_nature.is_ascii_uppercase() => {
                self.at(kind, usize::from(vehicle.use_nature - b'A')).map_or(Found::None, Found::Row)
            }
            _ => self.candidates(vehicle),
        }
    }

    /// The rows of a vehicle of unknown kind or use. One that is the same for every use is found all the same.
    fn candidates(&self, vehicle: &Vehicle) -> Found<'_, T> {
        if place_of_kind(vehicle).is_none() {
            return Found::Some(Candidates { missing: "vehicle_kind", ..self.of_any_kind(vehicle) });
        }
        let candidates = self.of_any_use(vehicle);
        match candidates.rows[..] {
            [] => Found::None,
            [row] if !candidates.perhaps_none => Found::Row(row),
            _ => Found::Some(candidates),
        }
    }

    /// The rows of the vehicle's use over all kinds; every row where that is not known either.
    fn of_any_kind(&self, vehicle: &Vehicle) -> Candidates<'_, T> {
        let letter = vehicle.use_nature.is_ascii_uppercase().then(|| usize::from(vehicle.use_nature - b'A'));
        let Some(places) = letter.and_then(|letter| self.of_use.get(letter)) else { return self.all() };
        Candidates {
            rows: places.iter().filter_map(|place| self.rows.get(usize::from(*place))).collect(),
            ..self.all()
        }
    }

    /// Every row, of which perhaps none fits.
    pub fn all(&self) -> Candidates<'_, T> {
        Candidates { rows: self.rows.iter().collect(), perhaps_none: true, missing: "vehicle" }
    }

    /// The rows of the vehicle's kind over all uses.
    pub fn of_any_use(&self, vehicle: &Vehicle) -> Candidates<'_, T> {
        let mut found = Candidates { rows: SmallVec::new(), perhaps_none: false, missing: "use_nature" };
        let Some(kind) = place_of_kind(vehicle) else { return self.all() };
        for use_nature in 0..LETTERS {
            match self.at(kind, use_nature) {
                None => found.perhaps_none = true,
                Some(row) if found.rows.iter().any(|known| std::ptr::eq(*known, row)) => {}
                Some(row) => found.rows.push(row),
            }
        }
        found
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
