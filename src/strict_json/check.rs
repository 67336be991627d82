//! The rules as a walk over the text, for what a reader of serde cannot say: which rule is broken, and where. Never on the
//! path of a good reading.

use std::{borrow::Cow, collections::HashSet};

use super::{Fault, MAX_DEPTH, Problem};

/// Longest name shown in a path, and most steps of it.
const SHOWN: usize = 32;

/// Whether a text is one JSON value by the rules of this module.
pub fn check(text: &str) -> Result<(), Fault> {
    let mut walk = Walk { text, at: 0, path: Vec::new() };
    let walked = walk.document();
    walked.map_err(|(problem, at)| Fault { problem, at, path: walk.shown_path() })
}

type Walked<T = ()> = Result<T, (Problem, usize)>;

enum Step<'a> {
    Key(Cow<'a, str>),
    Element(usize),
}

struct Walk<'a> {
    text: &'a str,
    at: usize,
    path: Vec<Step<'a>>,
}

impl<'a> Walk<'a> {
    fn document(&mut self) -> Walked {
        self.blanks();
        if self.peek().is_none() {
            return Err((Problem::Empty, self.at));
        }
        self.value(0)?;
        self.blanks();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err((Problem::Syntax("something follows the end of the document"), self.at)),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// `depth` counts the arrays and objects around the value.
    fn value(&mut self, depth: usize) -> Walked {
        match self.peek() {
            None => Err((Problem::EndsEarly, self.at)),
            Some(b'{' | b'[') if depth == MAX_DEPTH => Err((Problem::TooDeep, self.at)),
            Some(b'{') => self.object(depth + 1),
            Some(b'[') => self.array(depth + 1),
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(_) => self.word(),
        }
    }

    fn word(&mut self) -> Walked {
        for word in ["null", "true", "false"] {
            if self.rest().starts_with(word) {
                self.at += word.len();
                return Ok(());
            }
            if !self.rest().is_empty() && word.starts_with(self.rest()) {
                return Err((Problem::EndsEarly, self.text.len()));
            }
        }
        Err((self.no_value(), self.at))
    }

    /// What stands where a value should.
    fn no_value(&self) -> Problem {
        let rest = self.rest();
        let begins = |words: &[&str]| words.iter().any(|word| rest.starts_with(word));
        Problem::Syntax(match () {
            () if begins(&["NaN", "nan", "Infinity", "inf", "Inf"]) => {
                "NaN and Infinity are no numbers; null is no value"
            }
            () if begins(&["+"]) => "a number must not begin with a plus sign",
            () if begins(&["."]) => "a number must begin with a digit",
            () if begins(&["//", "/*", "#"]) => "comments are not allowed",
            () if begins(&["'"]) => "texts stand in double quotation marks",
            () if begins(&["\u{feff}"]) => "a byte order mark stands elsewhere than at the beginning",
            () if begins(&[",", "]", "}"]) => "a value is missing",
            () => "a value is expected",
        })
    }

    fn array(&mut self, depth: usize) -> Walked {
        self.at += 1;
        self.blanks();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(());
        }
        for number in 0.. {
            self.path.push(Step::Element(number));
            self.value(depth)?;
            self.path.pop();
            if !self.goes_on(b']')? {
                break;
            }
            if self.peek() == Some(b']') {
                return Err((Problem::Syntax("a comma before the end of an array"), self.at));
            }
        }
        Ok(())
    }

    fn object(&mut self, depth: usize) -> Walked {
        self.at += 1;
        self.blanks();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(());
        }
        let mut keys = HashSet::new();
        loop {
            let at = self.at;
            let key = match self.peek() {
                Some(b'"') => self.string()?,
                None => return Err((Problem::EndsEarly, at)),
                Some(b'}') => return Err((Problem::Syntax("a comma before the end of an object"), at)),
                Some(b'/' | b'#') => return Err((Problem::Syntax("comments are not allowed"), at)),
                Some(_) => return Err((Problem::Syntax("a name in double quotation marks is expected"), at)),
            };
            self.path.push(Step::Key(key.clone()));
            if !keys.insert(key) {
                return Err((Problem::Doubled, at));
            }
            self.blanks();
            match self.peek() {
                Some(b':') => self.at += 1,
                None => return Err((Problem::EndsEarly, self.at)),
                Some(_) => return Err((Problem::Syntax("a colon is expected"), self.at)),
            }
            self.blanks();
            self.value(depth)?;
            self.path.pop();
            if !self.goes_on(b'}')? {
                return Ok(());
            }
        }
    }

    /// Behind a value of an array or object: whether another follows.
    fn goes_on(&mut self, end: u8) -> Walked<bool> {
        self.blanks();
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                self.blanks();
                Ok(true)
            }
            Some(byte) if byte == end => {
                self.at += 1;
                Ok(false)
            }
            None => Err((Problem::EndsEarly, self.at)),
            Some(b'/' | b'#') => Err((Problem::Syntax("comments are not allowed"), self.at)),
            Some(_) => Err((Problem::Syntax("a comma or the end is expected"), self.at)),
        }
    }

    fn number(&mut self) -> Walked {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => {
                self.at += 1;
                if matches!(self.peek(), Some(b'0'..=b'9')) {
                    return Err((Problem::Syntax("a number must not begin with a further zero"), start));
                }
            }
            Some(b'1'..=b'9') => self.digits(),
            None => return Err((Problem::EndsEarly, self.at)),
            Some(_) => return Err((self.no_value(), self.at)),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        let number: f64 = self.text.get(start..self.at).and_then(|text| text.parse().ok()).unwrap_or(f64::INFINITY);
        if number.is_finite() { Ok(()) } else { Err((Problem::TooLarge, start)) }
    }

    fn some_digits(&mut self) -> Walked {
        match self.peek() {
            Some(b'0'..=b'9') => {
                self.digits();
                Ok(())
            }
            None => Err((Problem::EndsEarly, self.at)),
            Some(_) => Err((Problem::Syntax("a digit is expected"), self.at)),
        }
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    fn string(&mut self) -> Walked<Cow<'a, str>> {
        self.at += 1;
        let start = self.at;
        let mut escaped = false;
        loop {
            match self.peek() {
                None => return Err((Problem::EndsEarly, self.at)),
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(0..=0x1f) => {
                    return Err((Problem::Syntax("a control character stands in a text unescaped"), self.at));
                }
                Some(_) => self.at += 1,
            }
        }
        let raw = self.text.get(start..self.at).unwrap_or_default();
        self.at += 1;
        if !escaped {
            return Ok(Cow::Borrowed(raw));
        }
        let quoted = self.text.get(start - 1..self.at).unwrap_or_default();
        match serde_json::from_str(quoted) {
            Ok(text) => Ok(Cow::Owned(text)),
            Err(_) => Err((Problem::Syntax("a text cannot be read"), start)),
        }
    }

    fn escape(&mut self) -> Walked {
        let start = self.at;
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 1;
                Ok(())
            }
            Some(b'u') => match self.code_unit()? {
                0xd800..=0xdbff => match self.rest().starts_with("\\u") {
                    true => {
                        self.at += 1;
                        match self.code_unit()? {
                            0xdc00..=0xdfff => Ok(()),
                            _ => Err((Problem::Syntax("half of a surrogate pair"), start)),
                        }
                    }
                    false if self.rest().len() < 2 && "\\u".starts_with(self.rest()) => {
                        Err((Problem::EndsEarly, self.text.len()))
                    }
                    false => Err((Problem::Syntax("half of a surrogate pair"), start)),
                },
                0xdc00..=0xdfff => Err((Problem::Syntax("half of a surrogate pair"), start)),
                _ => Ok(()),
            },
            None => Err((Problem::EndsEarly, self.at)),
            Some(_) => Err((Problem::Syntax("an escape that JSON does not have"), start)),
        }
    }

    /// Reads `uXXXX`.
    fn code_unit(&mut self) -> Walked<u32> {
        self.at += 1;
        let mut unit = 0;
        for _ in 0..4 {
            match self.peek() {
                None => return Err((Problem::EndsEarly, self.at)),
                Some(byte) => match char::from(byte).to_digit(16) {
                    Some(digit) => unit = unit * 16 + digit,
                    None => return Err((Problem::Syntax("an escape that JSON does not have"), self.at)),
                },
            }
            self.at += 1;
        }
        Ok(unit)
    }

    /// Where the walk stands, in names of fields. A name that may be content (of a plate, of a vehicle) is left out.
    fn shown_path(&self) -> String {
        let mut shown = String::new();
        for step in self.path.iter().take(SHOWN) {
            match step {
                Step::Element(number) => shown.push_str(&format!("[{number}]")),
                Step::Key(key) => {
                    if !shown.is_empty() {
                        shown.push('.');
                    }
                    shown.push_str(if is_name(key) { key } else { "..." });
                }
            }
        }
        shown
    }
}

/// Names of fields are words in a row; plates and VINs have digits and capitals.
fn is_name(key: &str) -> bool {
    let word = key.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    let snake = key.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
    (1..=SHOWN).contains(&key.len()) && (word || snake && key.starts_with(|first: char| first.is_ascii_lowercase()))
}
