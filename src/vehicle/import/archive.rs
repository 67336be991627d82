//! Looks at the archive of a workbook before anything of it is believed.
//!
//! A few kilobytes of XLSX can claim or unpack to more memory than there is. Sizes that the archive states are claims
//! too, so every part that would be read is unpacked once into nothing and counted; the limits are far above what a
//! spreadsheet program can write and far below what hurts.

use std::{fs::File, io::Read as _, path::Path};

use zip::ZipArchive;

/// Largest file, bytes.
pub const MAX_FILE_BYTES: u64 = 512 * 1024 * 1024;
/// Parts of the archive.
const MAX_PARTS: usize = 4_096;
/// Unpacked parts together, bytes. A full sheet of twenty columns is about a gigabyte.
const MAX_UNPACKED_BYTES: u64 = 4 * 1024 * 1024 * 1024;
/// The texts of a workbook are held in memory whole, bytes.
const MAX_TEXTS_BYTES: u64 = 512 * 1024 * 1024;
/// Everything else that is held whole: styles, relations, names of sheets; bytes.
const MAX_OTHER_BYTES: u64 = 32 * 1024 * 1024;
/// Bytes unpacked from one packed byte. XML of a sheet reaches about 30; above, and larger than a few megabytes, it is
/// made to hurt.
const MAX_RATIO: u64 = 200;
const RATIO_COUNTS_FROM_BYTES: u64 = 8 * 1024 * 1024;
/// Shortest XML of one text, `<si/>`: a table that claims more texts than this allows would reserve room for them.
const SHORTEST_TEXT_BYTES: u64 = 5;

/// Why a workbook is not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ArchiveError {
    #[error("the file is no readable archive; it may be cut short: save it again")]
    Unreadable,
    #[error("the archive {0}")]
    Hostile(&'static str),
}

/// Unpacks every part that a reader of workbooks would look at, and keeps nothing.
pub fn check(path: &Path) -> Result<(), ArchiveError> {
    let file = File::open(path).map_err(|_| ArchiveError::Unreadable)?;
    if file.metadata().map_err(|_| ArchiveError::Unreadable)?.len() > MAX_FILE_BYTES {
        return Err(ArchiveError::Hostile("is larger than 512 MiB"));
    }
    let mut archive = ZipArchive::new(std::io::BufReader::new(file)).map_err(|_| ArchiveError::Unreadable)?;
    if archive.len() > MAX_PARTS {
        return Err(ArchiveError::Hostile("has more than 4096 parts"));
    }
    let mut left = MAX_UNPACKED_BYTES;
    for place in 0..archive.len() {
        let mut part = archive.by_index(place).map_err(|_| ArchiveError::Unreadable)?;
        let name = part.name().map_err(|_| ArchiveError::Unreadable)?.to_ascii_lowercase();
        // Pictures and the like are never unpacked.
        if !name.ends_with(".xml") && !name.ends_with(".rels") {
            continue;
        }
        let packed = part.compressed_size();
        let texts = name.ends_with("sharedstrings.xml");
        let most = if name.contains("worksheets/") {
            left
        } else if texts {
            MAX_TEXTS_BYTES.min(left)
        } else {
            MAX_OTHER_BYTES.min(left)
        };
        let counted = Counted::of(&mut part, packed, most, texts)?;
        if counted.texts_claimed > counted.bytes / SHORTEST_TEXT_BYTES {
            return Err(ArchiveError::Hostile("claims more texts than it holds"));
        }
        left -= counted.bytes;
    }
    Ok(())
}

struct Counted {
    bytes: u64,
    /// The largest number of texts that any `uniqueCount` in the part claims.
    texts_claimed: u64,
}

impl Counted {
    fn of(part: &mut impl std::io::Read, packed: u64, most: u64, texts: bool) -> Result<Self, ArchiveError> {
        const CLAIM: &[u8] = b"uniqueCount";
        /// Kept from one block to the next, so that a claim is seen however it is cut.
        const OVERLAP: usize = 64;
        let mut counted = Counted { bytes: 0, texts_claimed: 0 };
        let mut block = vec![0; 64 * 1024];
        let mut kept = 0;
        loop {
            let room = block.get_mut(kept..).unwrap_or_default();
            let length = part.take(room.len() as u64).read(room).map_err(|_| ArchiveError::Unreadable)?;
            if length == 0 {
                return Ok(counted);
            }
            let seen = block.get(..kept + length).unwrap_or_default();
            // A claim in an encoding of two bytes a character would go unseen.
            if counted.bytes == 0
                && (seen.contains(&0) || seen.starts_with(b"\xff\xfe") || seen.starts_with(b"\xfe\xff"))
            {
                return Err(ArchiveError::Hostile("has a part in UTF-16"));
            }
            counted.bytes += length as u64;
            if counted.bytes > most {
                return Err(ArchiveError::Hostile("unpacks to more than a workbook holds"));
            }
            if counted.bytes > RATIO_COUNTS_FROM_BYTES && counted.bytes / MAX_RATIO > packed {
                return Err(ArchiveError::Hostile("unpacks to more than 200 times its size"));
            }
            let searched = if texts { seen } else { &[] };
            for (at, window) in searched.windows(CLAIM.len()).enumerate() {
                if window == CLAIM {
                    let after = seen.get(at + CLAIM.len()..).unwrap_or_default();
                    counted.texts_claimed = counted.texts_claimed.max(claimed(after));
                }
            }
            let from = seen.len().saturating_sub(OVERLAP);
            kept = seen.len() - from;
            block.copy_within(from..from + kept, 0);
        }
    }
}

/// The number that follows; one with too many digits is as large as can be.
fn claimed(after: &[u8]) -> u64 {
    let digits = after.iter().skip_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n' | b'=' | b'"' | b'\'' | b'+'));
    let digits = digits.take_while(|b| b.is_ascii_digit());
    digits.fold(0_u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')))
}
