//! Raw bytes in JSON: as text where they are text, as hex where not, never more than a screenful of screens.

use serde::Serialize;
use sha2::{Digest, Sha256};

/// Bytes shown at most; the table keeps them all.
pub const SHOWN: i32 = 65_536;

#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    Utf8,
    Hex,
}

/// Stored bytes as they came.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Raw {
    pub encoding: Encoding,
    pub data: String,
    /// Length of the whole, bytes; `data` holds the first 65 536 at most.
    pub length: i32,
    /// Stored digest of the whole, hex.
    pub sha256: String,
    /// Whether the bytes still have that digest; null when only a part was read.
    pub intact: Option<bool>,
}

impl Raw {
    /// `shown` is the beginning of a payload of `length` bytes.
    pub fn new(shown: Vec<u8>, length: i32, sha256: &[u8]) -> Self {
        let whole = usize::try_from(length).is_ok_and(|length| length == shown.len());
        let intact = whole.then(|| Sha256::digest(&shown).as_slice() == sha256);
        let (encoding, data) = match String::from_utf8(shown) {
            Ok(text) if !text.contains('\0') => (Encoding::Utf8, text),
            Ok(text) => (Encoding::Hex, hex::encode(text)),
            Err(other) => (Encoding::Hex, hex::encode(other.into_bytes())),
        };
        Self { encoding, data, length, sha256: hex::encode(sha256), intact }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text_and_a_changed_byte_shows() {
        let digest = Sha256::digest(b"{}");
        let raw = Raw::new(b"{}".to_vec(), 2, &digest);
        assert_eq!((raw.data.as_str(), raw.intact), ("{}", Some(true)));
        let raw = Raw::new(vec![0x23, 0xff], 2, &digest);
        assert_eq!((raw.data.as_str(), raw.intact), ("23ff", Some(false)));
        assert_eq!(Raw::new(b"{}".to_vec(), 70_000, &digest).intact, None);
    }
}
