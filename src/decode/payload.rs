//! From a payload to frames: which form it has, and what to do with each.

use std::ops::Range;

use serde_json::Value;

use crate::{
    config::{Protocol, SignatureForm, SourceKind},
    strict_json::{self, BYTE_ORDER_MARK, Problem, TooMany},
};

use super::{
    error::{Fault, FrameCode, FrameError},
    frame::{Frame, Raw},
    hex_text,
    packet::{self, Rules},
    splitter::{MARKER, Piece, Splitter, holds_marker},
    terminal_json,
};

/// Elements of a JSON array at most, as for passages.
pub(super) const ELEMENTS_MAX: usize = 500;

/// How the payloads of one source are to be read.
#[derive(Clone, Copy, Debug)]
pub struct Carriage<'a> {
    pub kind: SourceKind,
    /// `Auto` stands for HJ 1014 where the source is one of non-road machines.
    pub protocol: Protocol,
    /// JSON pointers tried in turn for the hex text of a frame.
    pub hex_pointers: &'a [String],
    /// Take the old tracker's frames, which carry no checksum.
    pub allow_missing_checksum: bool,
    /// Longest payload that is looked at, bytes.
    pub max_bytes: usize,
    /// How packets are signed, if they are.
    pub signature: SignatureForm,
}

impl Carriage<'_> {
    fn rules(&self) -> Rules {
        let protocol = match (self.protocol, self.kind) {
            (Protocol::Auto, SourceKind::Nonroad) => Protocol::Hj1014,
            (protocol, _) => protocol,
        };
        Rules { protocol, tracker: self.allow_missing_checksum, signature: self.signature }
    }
}

/// Decodes a payload in any of its forms: binary frames (several of them, noise between them), the same as hex text, hex
/// text inside JSON, or (retrofit and non-road) the channels as JSON, alone or in an array.
///
/// The results are in the payload's order and never empty; one that is refused leaves its neighbours untouched.
pub fn decode_payload(payload: &[u8], carriage: &Carriage<'_>) -> Vec<Result<Frame, FrameError>> {
    let refuse = |code, at, detail: &str| vec![Err(Fault::new(code, at, detail).with_raw(payload))];
    if let Some(error) = too_large(payload, carriage) {
        return vec![Err(error)];
    }
    if payload.starts_with(&MARKER) {
        return binary(payload, carriage);
    }
    let text = payload.strip_prefix(BYTE_ORDER_MARK).unwrap_or(payload);
    match text.trim_ascii_start().first() {
        None => refuse(FrameCode::NoStartMarker, 0, "payload is empty"),
        Some(b'{') => object(payload, payload, 0, carriage),
        Some(b'[') if !holds_marker(payload) => array(payload, carriage),
        Some(_) if holds_marker(payload) => binary(payload, carriage),
        Some(_) if hex_text::looks_like_hex(text) || is_text(text) => hex(text, payload, 0, carriage),
        Some(_) if is_utf16(payload) => refuse(FrameCode::NotJson, 0, "this is UTF-16; texts are read in UTF-8"),
        Some(_) => refuse(FrameCode::NoStartMarker, 0, "no start marker 23 23"),
    }
}

/// Decodes hex text and nothing else: a line of the `decode` command.
pub fn decode_hex(text: &[u8], carriage: &Carriage<'_>) -> Vec<Result<Frame, FrameError>> {
    match too_large(text, carriage) {
        Some(error) => vec![Err(error)],
        None => hex(text, text, 0, carriage),
    }
}

/// Whether bytes that are no text begin like one in two bytes a character.
fn is_utf16(payload: &[u8]) -> bool {
    let ([0xff, 0xfe, character, 0, ..] | [0xfe, 0xff, 0, character, ..] | [0, character, 0, ..]) = payload else {
        return false;
    };
    character.is_ascii_graphic()
}

fn too_large(payload: &[u8], carriage: &Carriage<'_>) -> Option<FrameError> {
    let limit = carriage.max_bytes;
    let detail = || format!("{} bytes are more than the limit of {limit}", payload.len());
    (payload.len() > limit).then(|| Fault::new(FrameCode::TooLarge, limit, detail()).with_raw(payload))
}

fn is_text(payload: &[u8]) -> bool {
    payload.iter().all(|&byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace())
}

/// Whether the bytes of frames are those of the payload.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carried {
    AsIs,
    AsHex,
}

/// Frames in the payload itself.
fn binary(payload: &[u8], carriage: &Carriage<'_>) -> Vec<Result<Frame, FrameError>> {
    let (mut frames, covered) = split(payload, carriage, Carried::AsIs);
    if covered < payload.len() {
        wrap(&mut frames, &(0..payload.len()));
    }
    frames
}

/// The frames and the noise in `bytes`, and how many bytes they have together: filling is in neither.
fn split(bytes: &[u8], carriage: &Carriage<'_>, carried: Carried) -> (Vec<Result<Frame, FrameError>>, usize) {
    let mut splitter = Splitter::new(bytes, false, carriage.allow_missing_checksum);
    let (mut frames, mut covered) = (Vec::with_capacity(1), 0);
    while let Some(piece) = splitter.next() {
        if let Piece::Frame { range, .. } | Piece::Noise { range, .. } = &piece {
            covered += range.len();
        }
        frames.extend(read_piece(bytes, &splitter, piece, carriage, carried));
    }
    (frames, covered)
}

/// Says of all frames where the text is that they came in.
fn wrap(frames: &mut [Result<Frame, FrameError>], text: &Range<usize>) {
    for frame in frames {
        match frame {
            Ok(frame) => frame.wrapper = Some(text.clone()),
            Err(error) => error.wrapper = Some(text.clone()),
        }
    }
}

fn read_piece(
    bytes: &[u8],
    splitter: &Splitter<'_>,
    piece: Piece,
    carriage: &Carriage<'_>,
    carried: Carried,
) -> Option<Result<Frame, FrameError>> {
    let (range, has_checksum) = match piece {
        Piece::Frame { range, has_checksum } => (range, has_checksum),
        Piece::Noise { range, code, at } => {
            let raw = bytes.get(range).unwrap_or_default();
            return Some(Err(Fault::new(code, at, noise_detail(code)).with_raw(raw)));
        }
        Piece::Incomplete { .. } => return None,
    };
    let (header, unit) = splitter.parts(&range, has_checksum)?;
    let raw = bytes.get(range.clone()).unwrap_or_default();
    let kept = match carried {
        Carried::AsIs => Raw::Payload(range),
        Carried::AsHex => Raw::Decoded(raw.into()),
    };
    Some(packet::read(header, unit, carriage.rules(), kept).map_err(|fault| fault.with_raw(raw)))
}

fn noise_detail(code: FrameCode) -> &'static str {
    match code {
        FrameCode::Truncated => "the frame ends before its length and checksum are complete",
        FrameCode::ChecksumMismatch => "the checksum does not match the bytes before it",
        FrameCode::LengthMismatch => "the length of the data unit does not match the frame",
        _ => "no start marker 23 23",
    }
}

/// Frames in hex text. `raw` is what it came in, which begins at `start` of the payload.
fn hex(text: &[u8], raw: &[u8], start: usize, carriage: &Carriage<'_>) -> Vec<Result<Frame, FrameError>> {
    match hex_text::decode(text) {
        Ok(bytes) if bytes.is_empty() => {
            vec![Err(Fault::new(FrameCode::NoStartMarker, 0, "text is empty").with_raw(raw))]
        }
        Ok(bytes) => {
            let mut frames = split(&bytes, carriage, Carried::AsHex).0;
            wrap(&mut frames, &(start..start + raw.len()));
            frames
        }
        Err(_) if text.contains(&0) => {
            vec![Err(Fault::new(FrameCode::NulCharacter, 0, "the text holds U+0000").with_raw(raw))]
        }
        Err(error) => vec![Err(Fault::new(FrameCode::NotHex, error.at, error.why).with_raw(raw))],
    }
}

fn array(payload: &[u8], carriage: &Carriage<'_>) -> Vec<Result<Frame, FrameError>> {
    let refuse = |code, detail: String| vec![Err(Fault::new(code, 0, detail).with_raw(payload))];
    let text = match strict_json::opened(payload) {
        Ok((_, text)) => text,
        Err(fault) => return vec![Err(not_json(&fault).with_raw(payload))],
    };
    let pieces = match strict_json::split(text, ELEMENTS_MAX) {
        Ok(pieces) if pieces.is_empty() => {
            return refuse(FrameCode::MissingField, "an array without elements".into());
        }
        Ok(pieces) => pieces,
        Err(TooMany) => {
            return refuse(FrameCode::TooManyElements, format!("more than {ELEMENTS_MAX} elements in one message"));
        }
    };
    let decode = |piece: strict_json::Piece<'_>| {
        if let Some(fault) = piece.fault {
            return vec![Err(not_json(&fault).with_raw(piece.raw))];
        }
        // A piece borrows from the payload, so the distance of the two is its offset.
        let start = (piece.raw.as_ptr() as usize).saturating_sub(payload.as_ptr() as usize);
        object(payload, piece.raw, start, carriage)
    };
    pieces.into_iter().flat_map(decode).collect()
}

/// One JSON document, which begins at `start` of the payload.
fn object(payload: &[u8], text: &[u8], start: usize, carriage: &Carriage<'_>) -> Vec<Result<Frame, FrameError>> {
    let read =
        strict_json::text(text).and_then(|(mark, text)| strict_json::value(text).map_err(|fault| fault.behind(mark)));
    // A frame may begin with `{` by way of noise; JSON itself never holds two `#` outside a string.
    let document = match read {
        Ok(document) => document,
        Err(_) if holds_marker(text) && !is_text(text) => return binary(payload, carriage),
        Err(fault) => return vec![Err(not_json(&fault).with_raw(text))],
    };
    let refuse = |fault: Fault| vec![Err(fault.with_raw(text))];
    let Value::Object(fields) = &document else {
        return refuse(Fault::new(FrameCode::WrongType, 0, "not a JSON object"));
    };
    // Something else under the same name is no frame and no mistake either.
    let mut frames = carriage.hex_pointers.iter().filter_map(|pointer| document.pointer(pointer)?.as_str());
    if let Some(frame) = frames.next() {
        if frames.any(|other| other != frame) {
            let detail = "two of the configured pointers lead to texts that differ, and one of them could be the frame";
            return refuse(Fault::new(FrameCode::WrongType, 0, detail));
        }
        return hex(frame.as_bytes(), text, start, carriage);
    }
    let raw = Raw::Payload(start..start + text.len());
    match terminal_json::read(fields, carriage.kind, raw) {
        Ok(frame) => vec![Ok(frame)],
        Err(fault) => refuse(fault),
    }
}

fn not_json(fault: &strict_json::Fault) -> Fault {
    let code = match fault.problem {
        Problem::Doubled => FrameCode::WrongType,
        Problem::TooLarge => FrameCode::OutOfRange,
        _ => FrameCode::NotJson,
    };
    Fault::new(code, fault.at, fault.to_string())
}

/// Frames of one raw byte stream that arrives in parts: the `--binary` form of the `decode` command.
pub struct FrameStream<'a> {
    carriage: Carriage<'a>,
    buffer: Vec<u8>,
}

/// Bytes held while they may still become a frame; several times the longest frame, so that a run of noise is cut rarely.
const STREAM_BUFFER_BYTES: usize = 1 << 20;

impl<'a> FrameStream<'a> {
    pub fn new(carriage: Carriage<'a>) -> Self {
        Self { carriage, buffer: Vec::new() }
    }

    /// Takes more bytes and hands `each` every frame they complete, with its bytes.
    pub fn push<E>(
        &mut self,
        bytes: &[u8],
        each: impl FnMut(Result<Frame, FrameError>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.buffer.extend_from_slice(bytes);
        let open = self.buffer.len() < STREAM_BUFFER_BYTES;
        self.drain(open, each)
    }

    /// Says that nothing follows.
    pub fn finish<E>(&mut self, each: impl FnMut(Result<Frame, FrameError>) -> Result<(), E>) -> Result<(), E> {
        self.drain(false, each)
    }

    fn drain<E>(
        &mut self,
        open: bool,
        mut each: impl FnMut(Result<Frame, FrameError>) -> Result<(), E>,
    ) -> Result<(), E> {
        let buffer = std::mem::take(&mut self.buffer);
        let mut splitter = Splitter::new(&buffer, open, self.carriage.allow_missing_checksum);
        let mut kept = buffer.len();
        while let Some(piece) = splitter.next() {
            if let Piece::Incomplete { from } = piece {
                kept = from;
            } else if let Some(frame) = read_piece(&buffer, &splitter, piece, &self.carriage, Carried::AsHex) {
                each(frame)?;
            }
        }
        self.buffer = buffer.get(kept..).unwrap_or_default().to_vec();
        Ok(())
    }
}
