//! Which vehicles a zone's rule is for, by the beginnings of their GA/T 16.4 kinds: `H` is every truck, `H1` the heavy
//! ones, `H12` the heavy box trucks.

use std::fmt;

use smallvec::SmallVec;

/// Beginnings of kinds; none is every vehicle.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Classes(SmallVec<[[u8; 3]; 2]>);

/// Why a text is not classes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("vehicle classes are beginnings of GA/T 16.4 kinds such as H,Q1")]
pub struct ClassesError;

impl Classes {
    /// `H,Q1`; empty is every vehicle.
    pub fn parse(text: &str) -> Result<Self, ClassesError> {
        text.split(',').map(str::trim).filter(|class| !class.is_empty()).map(class).collect::<Result<_, _>>().map(Self)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether vehicles of this kind are meant; `None` where it takes the kind to know and the kind is unknown (zeros).
    pub fn hold(&self, kind: [u8; 3]) -> Option<bool> {
        if self.0.is_empty() {
            return Some(true);
        }
        if kind == [0; 3] {
            return None;
        }
        let begins = |class: &[u8; 3]| class.iter().zip(&kind).all(|(wanted, found)| *wanted == 0 || wanted == found);
        Some(self.0.iter().any(begins))
    }
}

/// A letter and up to two digits, filled up with zeros.
fn class(text: &str) -> Result<[u8; 3], ClassesError> {
    let (letter, digits) = text.as_bytes().split_first().ok_or(ClassesError)?;
    if !letter.is_ascii_uppercase() || digits.len() > 2 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(ClassesError);
    }
    Ok([*letter, digits.first().copied().unwrap_or(0), digits.get(1).copied().unwrap_or(0)])
}

/// The form [`Classes::parse`] takes.
impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, class) in self.0.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { "," })?;
            class.iter().take_while(|byte| **byte != 0).try_for_each(|&byte| write!(f, "{}", char::from(byte)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beginnings_of_kinds() {
        let classes = Classes::parse("H1, Q").expect("classes");
        assert_eq!(classes.to_string(), "H1,Q");
        for (kind, held) in [(b"H12", true), (b"H31", false), (b"Q21", true), (b"K33", false)] {
            assert_eq!(classes.hold(*kind), Some(held), "{kind:?}");
        }
        assert_eq!(classes.hold([0; 3]), None, "an unknown kind is not known to be meant");
        assert_eq!(Classes::default().hold([0; 3]), Some(true));
        for wrong in ["h1", "H123", "1", "HX", "trucks"] {
            assert_eq!(Classes::parse(wrong), Err(ClassesError), "{wrong}");
        }
    }
}
