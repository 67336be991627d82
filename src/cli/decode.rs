//! `dieselwatch decode`: terminal frames in, one JSON line each out, by the very functions the service uses.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
};

use crate::{
    config::{Protocol, SignatureForm, SourceKind},
    decode::{Carriage, Frame, FrameCode, FrameError, FrameStream, decode_hex},
    strict_json::BYTE_ORDER_MARK,
};

/// Longest line read; beyond it the line is refused and skipped. The longest frame is 131 112 hex digits.
const MAX_LINE_BYTES: usize = 1 << 20;
/// How much of a longer line is shown.
const SHOWN_BYTES: usize = 1024;
/// Bytes of a stream read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Decode terminal frames (GB 17691, HJ 1239, HJ 1014) to JSON lines
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    dieselwatch decode --protocol gb17691 frames.hex\n  \
    echo 2323044C47365A44414E4837455939303030303302010008140911132E34001A55 | dieselwatch decode\n  \
    dieselwatch decode --protocol hj1239 --binary capture.bin\n\n\
    Blank lines and lines that begin with # are skipped. A refused frame is a line too, and makes the exit code 1.")]
pub struct Args {
    /// Whose command and encryption tables to use; some commands mean different things in different protocols, and
    /// `auto` refuses those
    #[arg(long, value_enum, default_value_t = Protocol::Auto)]
    pub protocol: Protocol,
    /// Read one raw byte stream instead of hex lines; after a bad frame it goes on at the next one that checks
    #[arg(long)]
    pub binary: bool,
    /// Hex frames, one a line (or the raw stream); `-` is standard input
    #[arg(value_name = "FILE", default_value = "-")]
    pub input: PathBuf,
}

/// Why the command could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// A usage mistake: exit code 2.
    #[error("open {path}")]
    Open { path: PathBuf, source: io::Error },
    #[error("decode the input")]
    Io(#[from] io::Error),
}

/// What came out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub decoded: u64,
    /// Any of these make the exit code 1.
    pub refused: u64,
}

pub fn run(args: &Args) -> Result<Summary, DecodeError> {
    let output = BufWriter::new(io::stdout().lock());
    if args.input == Path::new("-") {
        return Ok(decode(args, io::stdin().lock(), output)?);
    }
    let file = File::open(&args.input).map_err(|source| DecodeError::Open { path: args.input.clone(), source })?;
    Ok(decode(args, file, output)?)
}

/// Decodes `input` as the arguments say; every result is a line of `output`, in order.
pub fn decode(args: &Args, input: impl Read, output: impl Write) -> io::Result<Summary> {
    let kind = if args.protocol == Protocol::Hj1014 { SourceKind::Nonroad } else { SourceKind::Obd };
    let carriage = Carriage {
        kind,
        protocol: args.protocol,
        hex_pointers: &[],
        allow_missing_checksum: false,
        max_bytes: MAX_LINE_BYTES,
        signature: SignatureForm::Lengths,
    };
    let mut lines = Lines { output, summary: Summary::default() };
    if args.binary {
        decode_stream(carriage, input, &mut lines)?
    } else {
        decode_lines(carriage, input, &mut lines)?
    }
    lines.output.flush()?;
    Ok(lines.summary)
}

fn decode_lines(carriage: Carriage<'_>, input: impl Read, lines: &mut Lines<impl Write>) -> io::Result<()> {
    let mut input = BufReader::with_capacity(CHUNK_BYTES, input);
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        // One byte more than the limit tells a line that is just as long from one that is too long.
        if input.by_ref().take(MAX_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if line.len() > MAX_LINE_BYTES && line.last() != Some(&b'\n') {
            input.skip_until(b'\n')?;
            lines.write(Err(too_long(&line)))?;
            continue;
        }
        let mark = if number == 1 { BYTE_ORDER_MARK } else { &[] };
        let text = line.strip_prefix(mark).unwrap_or(&line).trim_ascii();
        if text.is_empty() || text.starts_with(b"#") {
            continue;
        }
        for frame in decode_hex(text, &carriage) {
            lines.write(frame)?;
        }
        // Whoever feeds frames one by one sees each at once.
        if input.buffer().is_empty() {
            lines.output.flush()?;
        }
    }
    Ok(())
}

fn decode_stream(carriage: Carriage<'_>, mut input: impl Read, lines: &mut Lines<impl Write>) -> io::Result<()> {
    let mut stream = FrameStream::new(carriage);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = match input.read(&mut chunk) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let Some(bytes) = chunk.get(..count).filter(|bytes| !bytes.is_empty()) else { break };
        stream.push(bytes, |frame| lines.write(frame))?;
        lines.output.flush()?;
    }
    stream.finish(|frame| lines.write(frame))
}

fn too_long(line: &[u8]) -> FrameError {
    FrameError {
        code: FrameCode::TooLarge,
        at: MAX_LINE_BYTES,
        detail: format!("the line is longer than {MAX_LINE_BYTES} bytes; its first {SHOWN_BYTES} are shown"),
        raw: line.get(..SHOWN_BYTES).unwrap_or(line).to_vec(),
        wrapper: None,
    }
}

struct Lines<W> {
    output: W,
    summary: Summary,
}

impl<W: Write> Lines<W> {
    fn write(&mut self, frame: Result<Frame, FrameError>) -> io::Result<()> {
        match frame {
            Ok(frame) => {
                self.summary.decoded += 1;
                serde_json::to_writer(&mut self.output, &frame)?;
            }
            Err(error) => {
                self.summary.refused += 1;
                serde_json::to_writer(&mut self.output, &error)?;
            }
        }
        self.output.write_all(b"\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGOUT: &str = "2323044C47365A44414E4837455939303030303302010008140911132E34001A55";

    fn args(binary: bool) -> Args {
        Args { protocol: Protocol::Auto, binary, input: "-".into() }
    }

    fn decoded(args: &Args, input: &[u8]) -> (Summary, Vec<serde_json::Value>) {
        let mut output = Vec::new();
        let summary = decode(args, input, &mut output).expect("memory does not fail");
        let lines = output.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        (summary, lines.map(|line| serde_json::from_slice(line).expect("JSON")).collect())
    }

    #[test]
    fn lines_are_answered_in_order_and_comments_skipped() {
        let input = format!("# a comment\n\n{LOGOUT}\r\nnot hex\n  {}{LOGOUT}\n中", LOGOUT.to_lowercase());
        let (summary, lines) = decoded(&args(false), input.as_bytes());
        assert_eq!(summary, Summary { decoded: 3, refused: 2 });
        let told: Vec<_> =
            lines.iter().map(|line| line["command"].as_str().or(line["error"]["code"].as_str())).collect();
        assert_eq!(told, [Some("logout"), Some("not_hex"), Some("logout"), Some("logout"), Some("not_hex")]);
    }

    #[test]
    fn a_byte_order_mark_before_the_first_line_is_passed_over() {
        let input = format!("\u{feff}{LOGOUT}\n\u{feff}{LOGOUT}\n");
        let (summary, lines) = decoded(&args(false), input.as_bytes());
        assert_eq!(summary, Summary { decoded: 1, refused: 1 });
        assert_eq!(lines[1]["error"]["code"], "not_hex");
    }

    #[test]
    fn a_line_without_end_is_refused_and_the_next_one_read() {
        let input = format!("{}\n{LOGOUT}\n", "23".repeat(MAX_LINE_BYTES));
        let (summary, lines) = decoded(&args(false), input.as_bytes());
        assert_eq!(summary, Summary { decoded: 1, refused: 1 });
        assert_eq!(lines[0]["error"]["code"], "too_large");
    }

    #[test]
    fn a_stream_goes_on_after_noise_and_bad_frames() {
        let good = hex::decode(LOGOUT).expect("hex");
        let mut bad = good.clone();
        bad[30] ^= 0x10;
        let input = [b"noise".as_slice(), &good, &bad, &good, b"\r\n", &good[..20]].concat();
        let (summary, lines) = decoded(&args(true), &input);
        assert_eq!(summary, Summary { decoded: 2, refused: 3 });
        let told: Vec<_> =
            lines.iter().map(|line| line["command"].as_str().or(line["error"]["code"].as_str())).collect();
        let expected = ["no_start_marker", "logout", "checksum_mismatch", "logout", "truncated"];
        assert_eq!(told, expected.map(Some));
    }

    #[test]
    fn noise_longer_than_the_buffer_hides_no_frame() {
        let good = hex::decode(LOGOUT).expect("hex");
        let input = [good.as_slice(), &vec![b'x'; 1_500_000], b"##", &good].concat();
        let (summary, lines) = decoded(&args(true), &input);
        assert_eq!(summary.decoded, 2);
        assert_eq!(lines.last().expect("lines")["command"], "logout");
        let noise: usize = lines.iter().filter_map(|line| Some(line["raw"].as_str()?.len() / 2)).sum();
        assert_eq!(noise, 1_500_002);
    }
}
