//! UTF-8, GBK or a workbook: which one a file is, and a reader that gives UTF-8 whichever text it is.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use encoding_rs::{CoderResult, Decoder, Encoding, GB18030, UTF_8};
use sha2::{Digest as _, Sha256};

/// Bytes read at once.
const BLOCK: usize = 64 * 1024;

/// What a first pass over the file found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inspected {
    pub form: Form,
    pub bytes: u64,
    pub sha256: [u8; 32],
    /// Line ends counted: an upper bound of the rows, for progress; of a workbook nobody knows before it is read.
    pub lines: u64,
}

/// What kind of file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Text(TextEncoding),
    /// XLSX; whether the archive really holds one shows when it is opened.
    Workbook,
}

impl Form {
    pub const fn name(self) -> &'static str {
        match self {
            Form::Text(encoding) => encoding.name(),
            Form::Workbook => "XLSX",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextEncoding {
    Utf8,
    /// Read as GB 18030, which holds GBK and GB 2312 whole.
    Gbk,
}

impl TextEncoding {
    pub const fn name(self) -> &'static str {
        match self {
            TextEncoding::Utf8 => "UTF-8",
            TextEncoding::Gbk => "GBK",
        }
    }

    fn table(self) -> &'static Encoding {
        match self {
            TextEncoding::Utf8 => UTF_8,
            TextEncoding::Gbk => GB18030,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodingError {
    #[error("the file is UTF-16; save it as CSV in UTF-8 or GBK")]
    Utf16,
    #[error("the file is a workbook of the old form (.xls); save it as .xlsx or as CSV")]
    OldWorkbook,
}

/// Reads the whole file once: its hash, its length, and how its text is encoded.
///
/// A byte-order mark decides. Without one a file that is valid UTF-8 is UTF-8; one that is not is GBK, unless its
/// multi-byte sequences are by far more often good UTF-8 than bad: then it is UTF-8 with a few damaged rows, which are
/// refused one by one, instead of GBK in which every row is nonsense.
pub fn inspect(path: &Path) -> io::Result<Result<Inspected, EncodingError>> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut tally = Tally::default();
    let (mut bytes, mut lines) = (0u64, 0u64);
    let mut start = [0; 4];
    let mut block = vec![0; BLOCK];
    loop {
        let length = match file.read(&mut block) {
            Ok(0) => break,
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let read = block.get(..length).unwrap_or_default();
        for (place, &byte) in read.iter().take(4usize.saturating_sub(bytes.min(4) as usize)).enumerate() {
            if let Some(slot) = start.get_mut(bytes as usize + place) {
                *slot = byte;
            }
        }
        hash.update(read);
        tally.take(read);
        lines += read.iter().filter(|&&byte| byte == b'\n').count() as u64;
        bytes += length as u64;
    }
    let form = match start {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => return Ok(Err(EncodingError::Utf16)),
        [0xd0, 0xcf, 0x11, 0xe0] => return Ok(Err(EncodingError::OldWorkbook)),
        [b'P', b'K', 3, 4] => Form::Workbook,
        [0xef, 0xbb, 0xbf, _] => Form::Text(TextEncoding::Utf8),
        _ => Form::Text(tally.verdict()),
    };
    let lines = if form == Form::Workbook { 0 } else { lines };
    Ok(Ok(Inspected { form, bytes, sha256: hash.finalize().into(), lines }))
}

/// Counts good and bad multi-byte UTF-8 sequences of a stream cut anywhere.
#[derive(Default)]
struct Tally {
    good: u64,
    bad: u64,
    /// Bytes that the current sequence still needs.
    missing: u8,
}

impl Tally {
    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match (byte, self.missing) {
                (0x80..=0xbf, 1) => {
                    self.missing = 0;
                    self.good += 1;
                }
                (0x80..=0xbf, 2..) => self.missing -= 1,
                (0x80..=0xbf, 0) => self.bad += 1,
                (_, missing) => {
                    self.bad += u64::from(missing > 0);
                    self.missing = match byte {
                        0xc2..=0xdf => 1,
                        0xe0..=0xef => 2,
                        0xf0..=0xf4 => 3,
                        _ => 0,
                    };
                    self.bad += u64::from(byte >= 0xf5 || matches!(byte, 0xc0 | 0xc1));
                }
            }
        }
    }

    fn verdict(&self) -> TextEncoding {
        let bad = self.bad + u64::from(self.missing > 0);
        // Chance makes at most a few of a hundred GBK sequences look like UTF-8.
        if bad == 0 || bad.saturating_mul(4) < self.good { TextEncoding::Utf8 } else { TextEncoding::Gbk }
    }
}

/// A reader of UTF-8 over a file in either encoding, without its byte-order mark. Bytes that are no text become
/// U+FFFD; [`super::sheet`] refuses rows that hold one. Every line ends with `\n`, the last one too, so that rows can
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

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// Hands out a few bytes at a time, so that characters are cut.
    struct Dripping<'a>(&'a [u8], usize);

    impl Read for Dripping<'_> {
        fn read(&mut self, target: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(target.len()).min(self.0.len());
            let (now, later) = self.0.split_at(length);
            target[..length].copy_from_slice(now);
            self.0 = later;
            Ok(length)
        }
    }

    fn inspected(bytes: &[u8]) -> Result<Inspected, EncodingError> {
        let mut file = tempfile::NamedTempFile::new().expect("a scratch file");
        file.write_all(bytes).expect("written");
        inspect(file.path()).expect("readable")
    }

    fn encoding_of(bytes: &[u8]) -> TextEncoding {
        match inspected(bytes).expect("a text").form {
            Form::Text(encoding) => encoding,
            Form::Workbook => panic!("a workbook"),
        }
    }

    #[test]
    fn encodings_are_told_apart() {
        let text = "plate,plate_color\n鲁C12345,yellow\n粤B54321,blue\n";
        assert_eq!(encoding_of(text.as_bytes()), TextEncoding::Utf8);
        assert_eq!(encoding_of(&[b"\xef\xbb\xbf", text.as_bytes()].concat()), TextEncoding::Utf8);
        assert_eq!(encoding_of(&GB18030.encode(text).0), TextEncoding::Gbk);
        assert_eq!(encoding_of(b"plate\n"), TextEncoding::Utf8);
        let mut damaged = text.repeat(50).into_bytes();
        damaged.extend(b"\xc2\xb3,\xff\n");
        assert_eq!(encoding_of(&damaged), TextEncoding::Utf8);
        assert_eq!(inspected(b"\xff\xfep\0l\0"), Err(EncodingError::Utf16));
        assert_eq!(inspected(b"PK\x03\x04....").map(|found| found.form), Ok(Form::Workbook));
        assert_eq!(inspected(b"\xd0\xcf\x11\xe0...."), Err(EncodingError::OldWorkbook));
        let file = inspected(text.as_bytes()).expect("a text");
        assert_eq!((file.lines, file.bytes), (3, text.len() as u64));
        assert_eq!(file.sha256, <[u8; 32]>::from(Sha256::digest(text.as_bytes())));
    }

    proptest! {
        #[test]
        fn decoding_survives_any_cut(text in "[ -~鲁京沪挂学黄蓝\r\n]{0,400}", step in 1usize..7, gbk: bool, bom: bool) {
            let (encoding, mut bytes) = if gbk {
                (TextEncoding::Gbk, GB18030.encode(&text).0.into_owned())
            } else {
                (TextEncoding::Utf8, text.clone().into_bytes())
            };
            if bom && !gbk {
                bytes.splice(0..0, *b"\xef\xbb\xbf");
            }
            let mut decoded = String::new();
            Decoded::new(Dripping(&bytes, step), encoding).read_to_string(&mut decoded).expect("text");
            let text = text.replace("\r\n", "\n").replace('\r', "\n");
            let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
            prop_assert_eq!(decoded, text + end);
        }

        #[test]
        fn any_bytes_decode_to_text(bytes in prop::collection::vec(any::<u8>(), 0..300), step in 1usize..9, gbk: bool) {
            let encoding = if gbk { TextEncoding::Gbk } else { TextEncoding::Utf8 };
            let mut decoded = String::new();
            prop_assert!(Decoded::new(Dripping(&bytes, step), encoding).read_to_string(&mut decoded).is_ok());
        }

        #[test]
        fn any_text_is_seen_as_utf8(text in "\\PC{0,200}") {
            prop_assume!(!text.starts_with("PK\u{3}\u{4}"));
            prop_assert_eq!(encoding_of(text.as_bytes()), TextEncoding::Utf8);
        }
    }
}
