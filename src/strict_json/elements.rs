//! An array taken apart before its elements are read, so that one that is not even JSON costs itself only.
//!
//! Only quotation marks and brackets are looked at. An element whose own content is broken (`NaN`, a missing value, bytes of
//! another encoding) ends where its brackets do and leaves its neighbours alone. Where marks or brackets themselves are
//! broken, what follows could be read in two ways: inside out, a comma of a text may pass for the end of an element. So each
//! quotation mark has to stand where one can (behind `{ [ , :` and before `, : } ]`), each bracket has to close its own
//! kind, and neither comments nor backslashes may stand between texts. From the first element that breaks this on, nothing is
//! taken: the rest of the message is one piece with a fault. Elements before it are complete, and stay.

use smallvec::SmallVec;

use super::{Fault, Problem};

/// A part of an array: an element, or bytes that belong to none.
#[derive(Debug)]
pub struct Piece<'a> {
    /// Exactly its bytes, without the blanks around it. Pieces never overlap; between them are only blanks and commas.
    pub raw: &'a [u8],
    /// Why this is no element. An element without a fault here may still be no JSON.
    pub fault: Option<Fault>,
}

/// An array of more elements than were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooMany;

/// Takes apart an array that begins, behind blanks, with `[`. No pieces where it has none.
pub fn split(bytes: &[u8], at_most: usize) -> Result<Vec<Piece<'_>>, TooMany> {
    let before = bytes.iter().position(|&byte| byte == b'[').unwrap_or_default();
    let mut scan = Scan { bytes, at: before + 1 };
    let mut pieces = Vec::new();
    // Where the separator in front of the element stands.
    let mut separator = before;
    loop {
        let start = scan.at;
        let end = scan.element();
        let until = match end {
            End::Comma(at) | End::Bracket(at) => at,
            End::Cut { .. } | End::Undecidable { .. } => bytes.len(),
        };
        let within = trimmed(bytes.get(start..until).unwrap_or_default());
        match end {
            End::Comma(at) | End::Bracket(at) => {
                let last = matches!(end, End::Bracket(_));
                scan.at = at + 1;
                if last && within.is_empty() && separator == before {
                    break;
                }
                if pieces.len() == at_most {
                    return Err(TooMany);
                }
                pieces.push(match within.is_empty() {
                    true => gap(bytes, separator, at),
                    false => Piece { raw: within, fault: None },
                });
                separator = at;
                if last {
                    break;
                }
            }
            End::Cut { complete } => {
                if complete {
                    if pieces.len() == at_most {
                        return Err(TooMany);
                    }
                    pieces.push(Piece { raw: within, fault: None });
                }
                // A complete element may stand between the separator and the end; the cut itself has no bytes.
                let rest = bytes.get(separator..).unwrap_or_default();
                let (raw, at) = match (complete, within.is_empty()) {
                    (true, _) => (rest.get(..1).unwrap_or_default(), 0),
                    (false, true) => (trimmed(rest), 0),
                    (false, false) => (within, within.len()),
                };
                let why = "it is never closed: it was cut off, or a bracket or quotation mark is missing";
                pieces.push(Piece { raw, fault: Some(Fault::new(Problem::Undecidable(why), at)) });
                return Ok(pieces);
            }
            End::Undecidable { at, why } => {
                let rest = bytes.get(start..).unwrap_or_default();
                let blanks = rest.iter().take_while(|byte| is_blank(**byte)).count();
                let fault = Fault::new(Problem::Undecidable(why), at.saturating_sub(start + blanks));
                pieces.push(Piece { raw: within, fault: Some(fault) });
                return Ok(pieces);
            }
        }
    }
    let behind = trimmed(bytes.get(scan.at..).unwrap_or_default());
    if !behind.is_empty() {
        let fault = Fault::new(Problem::Syntax("something follows the end of the array"), 0);
        pieces.push(Piece { raw: behind, fault: Some(fault) });
    }
    Ok(pieces)
}

/// Nothing where an element should be: the separator before it stands for it, so that what is put aside has bytes.
fn gap(bytes: &[u8], separator: usize, end: usize) -> Piece<'_> {
    let raw = trimmed(bytes.get(separator..end).unwrap_or_default());
    Piece { raw, fault: Some(Fault::new(Problem::Syntax("a comma without an element"), 0)) }
}

/// White space as JSON has it, which is less than ASCII has.
const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn trimmed(bytes: &[u8]) -> &[u8] {
    let start = bytes.iter().position(|byte| !is_blank(*byte)).unwrap_or(bytes.len());
    let end = bytes.iter().rposition(|byte| !is_blank(*byte)).map_or(start, |last| last + 1);
    bytes.get(start..end).unwrap_or_default()
}

enum End {
    Comma(usize),
    Bracket(usize),
    /// The text ends; whether right behind an array or object.
    Cut {
        complete: bool,
    },
    Undecidable {
        at: usize,
        why: &'static str,
    },
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

const MARKS: &str = "a quotation mark is missing or too many";
const BRACKETS: &str = "brackets do not match";
const COMMENT: &str = "a comment";
const BACKSLASH: &str = "a backslash outside a text";

#[inline]
fn means(byte: u8) -> bool {
    MEANS.get(usize::from(byte)).is_some_and(|means| *means)
}

/// Bytes that mean something outside texts.
const MEANS: [bool; 256] = {
    let mut table = [false; 256];
    let bytes = b" \t\n\r\"'{}[],:\\/#";
    let mut place = 0;
    while place < bytes.len() {
        table[bytes[place] as usize] = true;
        place += 1;
    }
    table
};

impl Scan<'_> {
    /// Goes to the separator behind the element that begins here.
    fn element(&mut self) -> End {
        let mut open: SmallVec<[u8; 16]> = SmallVec::new();
        // The last byte that is no blank; the end of a text counts as its quotation mark.
        let mut last = b',';
        let undecidable = |at, why| End::Undecidable { at, why };
        loop {
            let Some(&byte) = self.bytes.get(self.at) else {
                return match last {
                    b'}' | b']' if open.is_empty() => End::Cut { complete: true },
                    _ => End::Cut { complete: false },
                };
            };
            if !means(byte) {
                if last == b'"' {
                    return undecidable(self.at, MARKS);
                }
                last = byte;
                let rest = self.bytes.get(self.at..).unwrap_or_default();
                self.at += rest.iter().position(|&byte| means(byte)).unwrap_or(rest.len());
                continue;
            }
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => {
                    self.at += 1;
                    continue;
                }
                b'"' | b'\'' => {
                    if !matches!(last, b'{' | b'[' | b',' | b':') {
                        return undecidable(self.at, MARKS);
                    }
                    match self.quoted(byte) {
                        Quoted::Ends(at) => self.at = at,
                        Quoted::Cut => return End::Cut { complete: false },
                        Quoted::Mixed => return undecidable(self.at, MARKS),
                    }
                    last = b'"';
                    continue;
                }
                b',' | b':' | b'}' | b']' => {}
                _ if last == b'"' => return undecidable(self.at, MARKS),
                _ => {}
            }
            match byte {
                b'{' => open.push(b'}'),
                b'[' => open.push(b']'),
                b'}' | b']' => match open.pop() {
                    Some(closing) if closing == byte => {}
                    None if byte == b']' => return End::Bracket(self.at),
                    _ => return undecidable(self.at, BRACKETS),
                },
                b',' if open.is_empty() => return End::Comma(self.at),
                b'\\' => return undecidable(self.at, BACKSLASH),
                b'/' if matches!(self.bytes.get(self.at + 1), Some(b'/' | b'*')) => {
                    return undecidable(self.at, COMMENT);
                }
                b'#' if open.is_empty() => return undecidable(self.at, COMMENT),
                _ => {}
            }
            last = byte;
            self.at += 1;
        }
    }

    /// Where the text that begins here ends.
    fn quoted(&self, mark: u8) -> Quoted {
        let mut at = self.at + 1;
        loop {
            let rest = self.bytes.get(at..).unwrap_or_default();
            let found = match mark {
                b'"' => stop(rest),
                _ => memchr::memchr3(mark, b'"', b'\\', rest),
            };
            let Some(found) = found else { return Quoted::Cut };
            match rest.get(found) {
                Some(&byte) if byte == mark => return Quoted::Ends(at + found + 1),
                Some(b'\\') => at += found + 2,
                _ => return Quoted::Mixed,
            }
        }
    }
}

/// The first quotation mark or backslash. Most texts are names of a few bytes, for which a call costs more than the search.
#[inline]
fn stop(rest: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGHS: u64 = ONES << 7;
    const SHORT: usize = 3;
    let mut at = 0;
    for _ in 0..SHORT {
        let Some(chunk) = rest.get(at..).and_then(|rest| rest.first_chunk()) else { break };
        let bytes = u64::from_le_bytes(*chunk);
        let is = |byte: u8| {
            let differs = bytes ^ (ONES * u64::from(byte));
            differs.wrapping_sub(ONES) & !differs & HIGHS
        };
        // The lowest bit set is right; higher ones may come from a borrow.
        let found = is(b'"') | is(b'\\');
        if found != 0 {
            return Some(at + (found.trailing_zeros() / 8) as usize);
        }
        at += 8;
    }
    memchr::memchr2(b'"', b'\\', rest.get(at..).unwrap_or_default()).map(|found| at + found)
}

enum Quoted {
    /// Just behind its quotation mark.
    Ends(usize),
    /// Not at all.
    Cut,
    /// With a mark of the other kind inside.
    Mixed,
}
