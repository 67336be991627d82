//! A file's text as UTF-8 with one kind of line end, whatever it is written in.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use encoding_rs::{CoderResult, Decoder};

use super::{BLOCK, TextEncoding};

/// A reader of UTF-8 over a file in any encoding, without its byte order mark. Bytes that are no text become U+FFFD;
/// [`crate::vehicle::import::sheet`] refuses rows that hold one. Every line ends with `\n`, the last one too, so that rows can
/// be numbered by counting.
pub struct Decoded<R> {
    source: R,
    decoder: Decoder,
    input: Box<[u8]>,
    /// Bytes of `input` read and not yet decoded.
    pending: std::ops::Range<usize>,
    /// The source gave its last byte.
    ended: bool,
    /// The decoder was told so and gave its last character; it must not be called again.
    finished: bool,
    /// The last byte decoded was `\r`, given out as `\n`; a `\n` now belongs to it.
    after_return: bool,
    /// The last byte given out was `\n`, or none was.
    at_line_start: bool,
    /// Decoded, not yet handed out.
    output: Vec<u8>,
    given: usize,
}

impl Decoded<BufReader<File>> {
    pub fn open(path: &Path, encoding: TextEncoding) -> io::Result<Self> {
        Ok(Self::new(BufReader::with_capacity(BLOCK, File::open(path)?), encoding))
    }
}

impl<R: Read> Decoded<R> {
    pub fn new(source: R, encoding: TextEncoding) -> Self {
        let decoder = encoding.table().new_decoder_with_bom_removal();
        Self {
            source,
            decoder,
            input: vec![0; BLOCK].into(),
            pending: 0..0,
            ended: false,
            finished: false,
            after_return: false,
            at_line_start: true,
            output: Vec::new(),
            given: 0,
        }
    }

    /// Decodes until there is something to hand out or nothing more will come.
    fn fill(&mut self) -> io::Result<()> {
        self.output.clear();
        self.given = 0;
        while self.output.is_empty() {
            if self.pending.is_empty() && !self.ended {
                let length = self.source.read(&mut self.input)?;
                self.ended = length == 0;
                self.pending = 0..length;
            }
            let waiting = self.input.get(self.pending.clone()).unwrap_or_default();
            let room = self.decoder.max_utf8_buffer_length(waiting.len()).unwrap_or(4 * BLOCK);
            self.output.resize(room, 0);
            let (result, read, written, _) = self.decoder.decode_to_utf8(waiting, &mut self.output, self.ended);
            self.output.truncate(written);
            self.pending.start += read;
            self.unify_line_ends();
            if self.ended && result == CoderResult::InputEmpty {
                self.finished = true;
                if !self.at_line_start {
                    self.output.push(b'\n');
                }
                break;
            }
        }
        Ok(())
    }

    fn unify_line_ends(&mut self) {
        if self.after_return || self.output.contains(&b'\r') {
            let mut after_return = self.after_return;
            self.output.retain_mut(|byte| {
                let belongs_to_return = after_return && *byte == b'\n';
                after_return = *byte == b'\r';
                if after_return {
                    *byte = b'\n';
                }
                !belongs_to_return
            });
            self.after_return = after_return;
        }
        if let Some(&last) = self.output.last() {
            self.at_line_start = last == b'\n';
        }
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
        if self.given == self.output.len() {
            if self.finished {
                return Ok(0);
            }
            self.fill()?;
        }
        let ready = self.output.get(self.given..).unwrap_or_default();
        let length = ready.len().min(target.len());
        if let (Some(target), Some(ready)) = (target.get_mut(..length), ready.get(..length)) {
            target.copy_from_slice(ready);
        }
        self.given += length;
        Ok(length)
    }
}
