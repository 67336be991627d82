//! Finds frames in a run of bytes: glued frames, noise before, between and after them, `23 23` inside data units.
//!
//! A marker is believed when the length behind it leads to a checksum that holds. When it does not, the search goes on one
//! byte after the marker. A checksum of one byte holds by chance once in 256 times, which happens to frames that were cut
//! short and run into the next ones, so a candidate has to be more than that: no frame that checks and is
//! one beyond doubt may begin inside it, and unless it ends where a frame may well end (at the end, at the next marker, in
//! filling) its identity must consist of characters that terminals send.
//!
//! A frame carried whole inside the data unit of another is thereby read and the outer one reported as noise. No protocol
//! here nests frames, while a frame cut short that swallows whole ones behind it does occur.

use super::{
    error::FrameCode,
    header::{FRAME_OVERHEAD, HEADER_BYTES, LENGTH_AT, UNIT_BYTES_MAX, begins_a_frame, id_is_plausible},
};

use std::ops::Range;

/// `##`
pub(super) const MARKER: [u8; 2] = [0x23, 0x23];

/// What the next stretch of the bytes is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A frame whose checksum holds, or, where that is allowed, one that carries none.
    Frame { range: Range<usize>, has_checksum: bool },
    /// A run without a frame, and why the first marker in it did not hold. `at` counts from the run's start.
    Noise { range: Range<usize>, code: FrameCode, at: usize },
    /// More bytes may complete a frame or a marker in what begins here.
    Incomplete { from: usize },
}

/// How a candidate fared.
enum Candidate {
    Frame {
        end: usize,
        has_checksum: bool,
    },
    /// Its end lies beyond the bytes there are.
    Unfinished,
    Fails {
        code: FrameCode,
        at: usize,
    },
}

/// What can be said while bytes may still follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Yes,
    No,
    NotYet,
}

impl Verdict {
    /// `No` outweighs `NotYet`, which outweighs `Yes`.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::NotYet, _) | (_, Self::NotYet) => Self::NotYet,
            (Self::Yes, Self::Yes) => Self::Yes,
        }
    }
}

/// A marker at which a frame begins, or may begin once more bytes are there.
struct Rival {
    at: usize,
    verdict: Verdict,
}

/// Walks over `bytes` once; every byte ends up in one piece, filling between frames in none.
pub(super) struct Splitter<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Whether more bytes may follow.
    open: bool,
    /// Take a frame of an old tracker that ends where its checksum would be.
    missing_checksum: bool,
    /// XOR of all bytes before each index, made when the first candidate fails: with it every further candidate costs the
    /// same however long it claims to be.
    prefixes: Vec<u8>,
    /// Made when the first candidate holds a marker: see [`Self::rivals`].
    rivals: Option<Vec<Rival>>,
}

impl<'a> Splitter<'a> {
    pub fn new(bytes: &'a [u8], open: bool, missing_checksum: bool) -> Self {
        Self { bytes, at: 0, open, missing_checksum, prefixes: Vec::new(), rivals: None }
    }

    /// Reads what follows the frame's header; the checksum is left out.
    pub fn parts(&self, range: &Range<usize>, has_checksum: bool) -> Option<(&'a [u8; HEADER_BYTES], &'a [u8])> {
        let bytes = self.bytes.get(range.clone())?;
        let bytes = if has_checksum { bytes.split_last()?.1 } else { bytes };
        bytes.split_first_chunk()
    }

    fn noise(&mut self, until: usize, first: Option<(FrameCode, usize)>) -> Piece {
        let range = self.at..until;
        let (code, at) = first.unwrap_or((FrameCode::NoStartMarker, range.start));
        self.at = until;
        Piece::Noise { at: at - range.start, range, code }
    }

    fn marker_from(&self, from: usize) -> Option<usize> {
        let rest = self.bytes.get(from..)?;
        if rest.starts_with(&MARKER) {
            return Some(from);
        }
        rest.windows(2).position(|pair| pair == MARKER).map(|offset| from + offset)
    }

    fn is_filling(&self, range: Range<usize>) -> bool {
        self.bytes
            .get(range)
            .is_some_and(|bytes| bytes.iter().all(|byte| matches!(byte, 0 | b' ' | b'\t' | b'\r' | b'\n')))
    }

    fn xor(&mut self, range: Range<usize>) -> u8 {
        if self.prefixes.is_empty() {
            return self.bytes.get(range).unwrap_or_default().iter().fold(0, |sum, byte| sum ^ byte);
        }
        let upto = |index: usize| self.prefixes.get(index).copied().unwrap_or_default();
        upto(range.end) ^ upto(range.start)
    }

    fn remember_prefixes(&mut self) {
        if self.prefixes.is_empty() {
            let sums = self.bytes.iter().scan(0, |sum, byte| {
                *sum ^= byte;
                Some(*sum)
            });
            self.prefixes = std::iter::once(0).chain(sums).collect();
        }
    }

    fn candidate(&mut self, start: usize) -> Candidate {
        let Some((header, _)) = self.bytes.get(start..).and_then(<[u8]>::split_first_chunk::<HEADER_BYTES>) else {
            return Candidate::Unfinished;
        };
        let length = usize::from(u16::from_be_bytes([header[LENGTH_AT], header[LENGTH_AT + 1]]));
        if length > UNIT_BYTES_MAX {
            return Candidate::Fails { code: FrameCode::LengthMismatch, at: start + LENGTH_AT };
        }
        let end = start + FRAME_OVERHEAD + length;
        if self.missing_checksum && self.lacks_checksum(start, end - 1) {
            return Candidate::Frame { end: end - 1, has_checksum: false };
        }
        if end > self.bytes.len() {
            return Candidate::Unfinished;
        }
        let sum = self.xor(start + MARKER.len()..end - 1);
        if self.bytes.get(end - 1) != Some(&sum) {
            return Candidate::Fails { code: self.why_checksum_fails(start, end), at: end - 1 };
        }
        let is_plausible = if id_is_plausible(header) { Verdict::Yes } else { self.is_boundary(end) };
        let stands_alone = self.stands_alone(start, end);
        match is_plausible.and(stands_alone) {
            Verdict::Yes => Candidate::Frame { end, has_checksum: true },
            Verdict::No => Candidate::Fails { code: FrameCode::ChecksumMismatch, at: end - 1 },
            Verdict::NotYet => Candidate::Unfinished,
        }
    }

    /// Whether a tracker frame of the length its header says ends at `end` without a checksum.
    fn lacks_checksum(&mut self, start: usize, end: usize) -> bool {
        const TRACKER_UNIT: usize = 20;
        const TRACKER_TYPE: u8 = 0x87;
        end - start == HEADER_BYTES + TRACKER_UNIT
            && self.bytes.get(start + HEADER_BYTES + 6) == Some(&TRACKER_TYPE)
            && self.bytes.get(end).is_none_or(|&next| next != self.xor(start + MARKER.len()..end))
            && (end == self.bytes.len() || self.bytes.get(end..).is_some_and(|rest| rest.starts_with(&MARKER)))
    }

    /// A checksum that holds over all bytes there are says that only the length is wrong.
    fn why_checksum_fails(&mut self, start: usize, end: usize) -> FrameCode {
        let last = self.bytes.len() - 1;
        let whole = !self.open && end <= last && self.bytes.get(last) == Some(&self.xor(start + MARKER.len()..last));
        if whole { FrameCode::LengthMismatch } else { FrameCode::ChecksumMismatch }
    }

    /// Whether a frame may well end here.
    fn is_boundary(&self, end: usize) -> Verdict {
        let rest = self.bytes.get(end..).unwrap_or_default();
        if rest.len() < MARKER.len() && self.open {
            return Verdict::NotYet;
        }
        let filling = self.is_filling(end..self.bytes.len().min(end + MARKER.len()));
        if filling || rest.starts_with(&MARKER) { Verdict::Yes } else { Verdict::No }
    }

    /// Whether no frame begins inside `start..end`.
    fn stands_alone(&mut self, start: usize, end: usize) -> Verdict {
        // A marker may begin with the very last byte: that is a frame which lacks nothing but its checksum.
        let through = self.bytes.len().min(end + 1);
        let ends_with_half = through == end && self.bytes.get(end - 1) == MARKER.first();
        let verdict = if self.open && ends_with_half { Verdict::NotYet } else { Verdict::Yes };
        if !self.bytes.get(start + 1..through).is_some_and(holds_marker) {
            return verdict;
        }
        let rivals = self.rivals();
        let first = rivals.partition_point(|rival| rival.at <= start);
        let inside = rivals[first..].iter().take_while(|rival| rival.at < end);
        inside.fold(verdict, |verdict, rival| verdict.and(rival.verdict))
    }

    /// All markers that speak against a candidate around them. Made once, in one walk, so that a payload of nothing but
    /// markers does not cost its square.
    fn rivals(&mut self) -> &[Rival] {
        if self.rivals.is_none() {
            self.remember_prefixes();
            let mut rivals = Vec::new();
            let mut from = 0;
            while let Some(at) = self.marker_from(from) {
                from = at + 1;
                let verdict = self.rivalry(at);
                if verdict != Verdict::Yes {
                    rivals.push(Rival { at, verdict });
                }
            }
            self.rivals = Some(rivals);
        }
        self.rivals.as_deref().unwrap_or_default()
    }

    /// Whether a candidate around the marker at `at` may be a frame all the same.
    fn rivalry(&mut self, at: usize) -> Verdict {
        let unfinished = if self.open { Verdict::NotYet } else { Verdict::Yes };
        let Some((header, _)) = self.bytes.get(at..).and_then(<[u8]>::split_first_chunk::<HEADER_BYTES>) else {
            return unfinished;
        };
        let length = usize::from(u16::from_be_bytes([header[LENGTH_AT], header[LENGTH_AT + 1]]));
        if length > UNIT_BYTES_MAX || !begins_a_frame(header) {
            return Verdict::Yes;
        }
        let end = at + FRAME_OVERHEAD + length;
        if end > self.bytes.len() {
            return unfinished;
        }
        let sum = self.xor(at + MARKER.len()..end - 1);
        if self.bytes.get(end - 1) == Some(&sum) { Verdict::No } else { Verdict::Yes }
    }
}

/// Whether there is a marker, without saying where: no early end, so that it runs on vectors over every good frame.
pub(super) fn holds_marker(bytes: &[u8]) -> bool {
    let behind = bytes.get(1..).unwrap_or_default();
    bytes.iter().zip(behind).fold(false, |found, (&first, &second)| found | ([first, second] == MARKER))
}

impl Iterator for Splitter<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let mut first_failure = None;
        let mut from = self.at;
        if from >= self.bytes.len() {
            return None;
        }
        while let Some(marker) = self.marker_from(from) {
            let (code, at) = match self.candidate(marker) {
                Candidate::Frame { end, has_checksum } => {
                    if marker > self.at && !self.is_filling(self.at..marker) {
                        return Some(self.noise(marker, first_failure));
                    }
                    self.at = end;
                    return Some(Piece::Frame { range: marker..end, has_checksum });
                }
                Candidate::Unfinished if self.open => {
                    let from = self.at;
                    self.at = self.bytes.len();
                    return Some(Piece::Incomplete { from });
                }
                Candidate::Unfinished => (FrameCode::Truncated, self.bytes.len()),
                Candidate::Fails { code, at } => (code, at),
            };
            first_failure.get_or_insert((code, at));
            self.remember_prefixes();
            from = marker + 1;
        }
        if self.open {
            let from = self.at;
            self.at = self.bytes.len();
            return Some(Piece::Incomplete { from });
        }
        // The very first piece is reported even if it is filling: a payload of nothing else holds no frame.
        if self.at > 0 && self.is_filling(self.at..self.bytes.len()) {
            return None;
        }
        let end = self.bytes.len();
        Some(self.noise(end, first_failure))
    }
}
