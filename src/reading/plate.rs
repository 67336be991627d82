//! Vehicle number plates: normalised, checked against the forms of GA 36, and packed into one word.
//!
//! The plate *and its colour* identify a vehicle (a blue and a yellow 鲁C12345 can both exist), so the key is both.
//! The same normalisation serves imports and look-ups; it never turns one legal character into another. `O` and `I`
//! are not in any legal plate: a document that holds them is refused, and what a camera read with them is [`folded`].

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};

pub mod folded;

/// One character of the plate alphabet: 1..=10 digits, 11..=36 letters, then provinces, then suffixes; 0 is "none".
type Symbol = u8;

const PROVINCES: [char; 31] = [
    '京', '津', '沪', '渝', '冀', '豫', '云', '辽', '黑', '湘', '皖', '鲁', '新', '苏', '浙', '赣', '鄂', '桂', '甘',
    '晋', '蒙', '陕', '吉', '闽', '贵', '粤', '青', '藏', '川', '宁', '琼',
];
const SUFFIXES: [char; 10] = ['挂', '学', '警', '港', '澳', '领', '使', '应', '急', '临'];

const FIRST_LETTER: Symbol = 11;
const FIRST_PROVINCE: Symbol = 37;
const FIRST_SUFFIX: Symbol = FIRST_PROVINCE + 31;
const BITS: u32 = 7;
pub const MAX_SYMBOLS: usize = 8;

/// A plate of a form that GA 36 knows, packed: eight characters of seven bits, first character highest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Plate(u64);

/// Why a text is not a plate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlateError {
    #[error("plate is empty")]
    Empty,
    #[error("plate has more than {MAX_SYMBOLS} characters")]
    TooLong,
    #[error("plate holds a character that no plate has")]
    UnknownCharacter,
    #[error("plate is of no kind that GA 36 knows")]
    ImpossibleForm,
    #[error("plate holds O or I, which GA 36 gives to no plate: write 0 or 1 where the document means that")]
    HoldsOorI,
}

impl Plate {
    /// Normalises (full width to half width, lower case to upper, separators dropped) and checks the form.
    pub fn parse(text: &str) -> Result<Self, PlateError> {
        let mut symbols = [0; MAX_SYMBOLS];
        let mut length = 0;
        for character in text.chars() {
            let Some(character) = normalise(character) else { continue };
            let symbol = symbol_of(character).ok_or(PlateError::UnknownCharacter)?;
            *symbols.get_mut(length).ok_or(PlateError::TooLong)? = symbol;
            length += 1;
        }
        let used = symbols.get(..length).unwrap_or_default();
        if used.is_empty() {
            return Err(PlateError::Empty);
        }
        if !form_is_known(used) {
            let is_o_or_i = |&s: &Symbol| is_char(s, 'O') || is_char(s, 'I');
            let holds_one = used.iter().any(is_o_or_i);
            return Err(if holds_one { PlateError::HoldsOorI } else { PlateError::ImpossibleForm });
        }
        Ok(Self::pack(&symbols))
    }

    fn pack(symbols: &[Symbol; MAX_SYMBOLS]) -> Self {
        Self(symbols.iter().fold(0, |word, &s| (word << BITS) | u64::from(s)))
    }

    /// The packed characters; 56 bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Writes the plate's text into `buffer` without touching the heap.
    pub fn encode(self, buffer: &mut [u8; 3 * MAX_SYMBOLS]) -> &str {
        let mut length = 0;
        for character in self.characters() {
            if let Some(room) = buffer.get_mut(length..length + character.len_utf8()) {
                length += character.encode_utf8(room).len();
            }
        }
        std::str::from_utf8(&buffer[..length]).unwrap_or_default()
    }

    /// The plate with another character in one place (0 is the first); `None` where no kind of plate has that form.
    pub fn replace(self, place: usize, character: char) -> Option<Self> {
        let mut symbols = [0; MAX_SYMBOLS];
        let mut length = 0;
        for (symbol, read) in symbols.iter_mut().zip(self.symbols()) {
            *symbol = read;
            length += 1;
        }
        let used = symbols.get_mut(..length)?;
        *used.get_mut(place)? = symbol_of(character)?;
        form_is_known(used).then(|| Self::pack(&symbols))
    }

    /// The characters in order.
    pub fn characters(self) -> impl Iterator<Item = char> {
        self.symbols().filter_map(character_of)
    }

    fn symbols(self) -> impl Iterator<Item = Symbol> {
        (0..MAX_SYMBOLS as u32)
            .rev()
            .map(move |place| ((self.0 >> (place * BITS)) & 0x7f) as Symbol)
            .filter(|&symbol| symbol != 0)
    }
}

impl fmt::Display for Plate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.characters().try_for_each(|c| fmt::Write::write_char(f, c))
    }
}

/// Logs must hold no plates, so `Debug` shows that there is one and not which.
impl fmt::Debug for Plate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Plate(..)")
    }
}

impl Serialize for Plate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Colour of the plate's ground. Codes of foreign tables (JT/T 697.7, GA/T 1400, ETC) are mapped at the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum PlateColor {
    Unknown = 0,
    Blue = 1,
    Yellow = 2,
    /// Gradient green: small new-energy vehicle.
    Green = 3,
    /// Two-tone: large new-energy vehicle.
    YellowGreen = 4,
    White = 5,
    Black = 6,
    Other = 7,
}

impl PlateColor {
    pub const ALL: [PlateColor; 8] = [
        PlateColor::Unknown,
        PlateColor::Blue,
        PlateColor::Yellow,
        PlateColor::Green,
        PlateColor::YellowGreen,
        PlateColor::White,
        PlateColor::Black,
        PlateColor::Other,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            PlateColor::Unknown => "unknown",
            PlateColor::Blue => "blue",
            PlateColor::Yellow => "yellow",
            PlateColor::Green => "green",
            PlateColor::YellowGreen => "yellow_green",
            PlateColor::White => "white",
            PlateColor::Black => "black",
            PlateColor::Other => "other",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|colour| colour.name() == name)
    }

    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }
}

impl fmt::Display for PlateColor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What identifies a vehicle on the road: plate and colour in one word of 60 bits, so it is a positive `bigint` too.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlateKey(u64);

impl PlateKey {
    pub fn new(plate: Plate, colour: PlateColor) -> Self {
        Self((u64::from(colour as u8) << (BITS * MAX_SYMBOLS as u32)) | plate.0)
    }

    pub const fn bits(self) -> u64 {
        self.0
    }

    /// The form stored in `bigint` columns.
    pub const fn as_i64(self) -> i64 {
        self.0 as i64
    }

    /// Takes back what [`PlateKey::as_i64`] gave; `None` for any other number.
    pub fn from_i64(value: i64) -> Option<Self> {
        let bits = u64::try_from(value).ok()?;
        PlateColor::from_code((bits >> (BITS * MAX_SYMBOLS as u32)).try_into().ok()?)?;
        let key = Self(bits);
        (key.plate().0 != 0).then_some(key)
    }

    pub const fn plate(self) -> Plate {
        Plate(self.0 & ((1 << (BITS * MAX_SYMBOLS as u32)) - 1))
    }

    pub fn colour(self) -> PlateColor {
        PlateColor::from_code((self.0 >> (BITS * MAX_SYMBOLS as u32)) as u8).unwrap_or(PlateColor::Unknown)
    }
}

/// `鲁C12345:yellow`, the key of events and of subjects.
impl fmt::Display for PlateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.plate(), self.colour())
    }
}

impl fmt::Debug for PlateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PlateKey(..)")
    }
}

/// `None` for a separator; otherwise the character in half width and upper case.
fn normalise(character: char) -> Option<char> {
    let half = match character {
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(character as u32 - 0xfee0).unwrap_or(character),
        other => other,
    };
    match half {
        ' ' | '\u{3000}' | '\t' | '.' | '-' | '_' | '·' | '•' | '・' | '‧' | '∙' | '⋅' | '．' => None,
        other => Some(other.to_ascii_uppercase()),
    }
}

fn symbol_of(character: char) -> Option<Symbol> {
    match character {
        '0'..='9' => Some(character as u8 - b'0' + 1),
        'A'..='Z' => Some(character as u8 - b'A' + FIRST_LETTER),
        other if other.is_ascii() => None,
        other => {
            let of = |table: &[char]| table.iter().position(|&c| c == other).and_then(|i| Symbol::try_from(i).ok());
            of(&PROVINCES).map(|i| i + FIRST_PROVINCE).or_else(|| of(&SUFFIXES).map(|i| i + FIRST_SUFFIX))
        }
    }
}

fn character_of(symbol: Symbol) -> Option<char> {
    match symbol {
        0 => None,
        1..FIRST_LETTER => Some((b'0' + symbol - 1) as char),
        FIRST_LETTER..FIRST_PROVINCE => Some((b'A' + symbol - FIRST_LETTER) as char),
        FIRST_PROVINCE..FIRST_SUFFIX => PROVINCES.get(usize::from(symbol - FIRST_PROVINCE)).copied(),
        _ => SUFFIXES.get(usize::from(symbol - FIRST_SUFFIX)).copied(),
    }
}

fn is_digit(s: Symbol) -> bool {
    (1..FIRST_LETTER).contains(&s)
}

/// A letter that plates use: all but `I` and `O`.
fn is_letter(s: Symbol) -> bool {
    (FIRST_LETTER..FIRST_PROVINCE).contains(&s) && !is_char(s, 'I') && !is_char(s, 'O')
}

fn is_alphanumeric(s: Symbol) -> bool {
    is_digit(s) || is_letter(s)
}

fn is_province(s: Symbol) -> bool {
    (FIRST_PROVINCE..FIRST_SUFFIX).contains(&s)
}

fn is_char(s: Symbol, character: char) -> bool {
    character_of(s) == Some(character)
}

fn all(symbols: &[Symbol], class: fn(Symbol) -> bool) -> bool {
    symbols.iter().all(|&s| class(s))
}

/// The letters that mark new-energy plates (GA 36-2018): D A B C E pure electric, F G H J K other.
fn is_new_energy_letter(s: Symbol) -> bool {
    "DABCEFGHJK".chars().any(|c| is_char(s, c))
}

/// The forms of GA 36 and of the military, armed-police and consular plates, by DOMAIN table G.1.
fn form_is_known(symbols: &[Symbol]) -> bool {
    match *symbols {
        // Ordinary P L X5; small new-energy P L N X D4; large new-energy P L D5 N.
        [p, l, ref rest @ ..] if is_province(p) && is_letter(l) => civil_form(p, l, rest),
        // Consulate P D5 领.
        [p, ref digits @ .., end] if is_province(p) && digits.len() == 5 && is_char(end, '领') => {
            all(digits, is_digit)
        }
        // Embassy D6 使 and the older 使 D6.
        [ref digits @ .., end] if is_char(end, '使') => digits.len() == 6 && all(digits, is_digit),
        [first, ref digits @ ..] if is_char(first, '使') => digits.len() == 6 && all(digits, is_digit),
        // Armed police WJ P X5.
        [w, j, p, ref rest @ ..] if is_char(w, 'W') && is_char(j, 'J') && is_province(p) => {
            rest.len() == 5 && all(rest, is_alphanumeric)
        }
        // Military L2 X5.
        [a, b, ref rest @ ..] if is_letter(a) && is_letter(b) => rest.len() == 5 && all(rest, is_alphanumeric),
        _ => false,
    }
}

fn civil_form(province: Symbol, letter: Symbol, rest: &[Symbol]) -> bool {
    match *rest {
        ref five @ [_, _, _, _, _] if all(five, is_alphanumeric) => true,
        [ref four @ .., end] if four.len() == 4 && is_char(end, '领') => all(four, is_digit),
        [ref four @ .., end] if four.len() == 4 && ['挂', '学', '警', '临'].iter().any(|&c| is_char(end, c)) => {
            all(four, is_alphanumeric)
        }
        [ref four @ .., end] if four.len() == 4 && ['港', '澳'].iter().any(|&c| is_char(end, c)) => {
            is_char(province, '粤') && is_char(letter, 'Z') && all(four, is_alphanumeric)
        }
        [ref four @ .., a, b] if four.len() == 4 && is_char(a, '应') && is_char(b, '急') => {
            (is_char(letter, 'X') || is_char(letter, 'S')) && all(four, is_digit)
        }
        [ref five @ .., end] if five.len() == 5 && is_char(end, '临') => all(five, is_alphanumeric),
        [kind, x, ref four @ ..] if four.len() == 4 && is_new_energy_letter(kind) && all(four, is_digit) => {
            is_alphanumeric(x)
        }
        [ref five @ .., kind] if five.len() == 5 => all(five, is_digit) && is_new_energy_letter(kind),
        _ => false,
    }
}

#[cfg(test)]
mod tests;
