//! Places in a list: opaque to the caller, the sort key of the last row to us, so that rows arriving meanwhile neither
//! repeat nor hide any. Fields are joined by `~` and everything but letters, digits and `-` is escaped as `_hh`.

use std::{fmt::Write as _, str::FromStr};

use super::Problem;

pub fn write(fields: &[&dyn ToString]) -> String {
    let mut text = String::new();
    for (place, field) in fields.iter().enumerate() {
        if place > 0 {
            text.push('~');
        }
        for byte in field.to_string().bytes() {
            if byte.is_ascii_alphanumeric() || byte == b'-' {
                text.push(char::from(byte));
            } else {
                // Writing into a String cannot fail.
                let _infallible = write!(text, "_{byte:02x}");
            }
        }
    }
    text
}

/// Reads fields back in order; anything that [`write()`] did not make is a problem of the caller.
pub struct Reader<'a>(std::str::Split<'a, char>);

impl<'a> Reader<'a> {
    pub fn new(text: &'a str) -> Self {
        Self(text.split('~'))
    }

    pub fn field<T: FromStr>(&mut self) -> Result<T, Problem> {
        self.0.next().and_then(unescape).and_then(|text| text.parse().ok()).ok_or_else(refused)
    }

    pub fn end(mut self) -> Result<(), Problem> {
        if self.0.next().is_none() { Ok(()) } else { Err(refused()) }
    }
}

fn unescape(field: &str) -> Option<String> {
    let mut parts = field.split('_');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        bytes.push(u8::from_str_radix(part.get(..2)?, 16).ok()?);
        bytes.extend_from_slice(part.get(2..)?.as_bytes());
    }
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

fn refused() -> Problem {
    Problem::bad_request("cursor: not one that this service gave")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_text_comes_back(micros: i64, record in "[^\0]*") {
            let text = write(&[&micros, &record]);
            prop_assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_~".contains(&b)));
            let mut reader = Reader::new(&text);
            prop_assert_eq!(reader.field::<i64>().expect("a number"), micros);
            prop_assert_eq!(reader.field::<String>().expect("a text"), record);
            prop_assert!(reader.end().is_ok());
        }

        #[test]
        fn any_cursor_is_read_or_refused(text: String) {
            let mut reader = Reader::new(&text);
            let _either = reader.field::<i64>().and_then(|_| reader.field::<String>()).and_then(|_| reader.end());
        }
    }
}
