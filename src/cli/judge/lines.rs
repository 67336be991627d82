//! The input in pieces: lines of a bounded length, many of them to a piece.

use std::{
    io::{self, BufRead, Read as _},
    ops::Range,
};

/// Longest line read; beyond it the line is refused and skipped. An array of 500 passages with media is well below.
pub(super) const MAX_LINE_BYTES: usize = 8 << 20;

/// Some lines of the input, large enough that handing them to a thread costs nothing beside judging them.
pub(super) struct Chunk {
    pub text: Vec<u8>,
    /// Number of each line that is not blank, and where it is; `None` where it was too long.
    pub lines: Vec<(u64, Option<Range<usize>>)>,
}

impl Chunk {
    /// Small in tests, so that a few lines are many chunks.
    const BYTES: usize = if cfg!(test) { 1 << 10 } else { 128 << 10 };

    /// `None` at the end of the input. `number` counts the lines read so far.
    pub fn read(input: &mut impl BufRead, number: &mut u64) -> io::Result<Option<Self>> {
        let mut chunk = Self { text: Vec::new(), lines: Vec::new() };
        let mut line = Vec::new();
        while chunk.text.len() < Self::BYTES {
            match read_line(input, &mut line)? {
                Line::End if chunk.lines.is_empty() => return Ok(None),
                Line::End => break,
                found => {
                    *number += 1;
                    let begin = chunk.text.len();
                    match found {
                        Line::TooLong => chunk.lines.push((*number, None)),
                        _ if line.trim_ascii().is_empty() => {}
                        _ => {
                            chunk.text.extend_from_slice(&line);
                            chunk.lines.push((*number, Some(begin..chunk.text.len())));
                        }
                    }
                }
            }
        }
        Ok(Some(chunk))
    }
}

enum Line {
    Whole,
    TooLong,
    End,
}

fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    if input.by_ref().take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', line)? == 0 {
        return Ok(Line::End);
    }
    if line.last() == Some(&b'\n') || line.len() <= MAX_LINE_BYTES {
        return Ok(Line::Whole);
    }
    while !matches!(line.last(), Some(b'\n')) {
        line.clear();
        if input.by_ref().take(MAX_LINE_BYTES as u64).read_until(b'\n', line)? == 0 {
            break;
        }
    }
    Ok(Line::TooLong)
}
