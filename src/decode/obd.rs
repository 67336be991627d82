//! Diagnosis bodies: type 01 on the road (96 + 4N bytes) and in non-road machines (3 + 4N bytes).

use std::borrow::Cow;

use smallvec::SmallVec;

use super::{channel::NotValue, position::PositionReading};

/// Which diagnosis protocol the terminal speaks with the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DiagnosisProtocol {
    Iso15765,
    Iso27145,
    J1939,
    /// HJ 1014 only.
    Iso15031,
    /// `FE`.
    Invalid,
    Reserved(u8),
}

impl DiagnosisProtocol {
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Iso15765,
            1 => Self::Iso27145,
            2 => Self::J1939,
            3 => Self::Iso15031,
            0xfe => Self::Invalid,
            other => Self::Reserved(other),
        }
    }

    pub const fn byte(self) -> u8 {
        match self {
            Self::Iso15765 => 0,
            Self::Iso27145 => 1,
            Self::J1939 => 2,
            Self::Iso15031 => 3,
            Self::Invalid => 0xfe,
            Self::Reserved(byte) => byte,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Iso15765 => "iso15765",
            Self::Iso27145 => "iso27145",
            Self::J1939 => "j1939",
            Self::Iso15031 => "iso15031",
            Self::Invalid => "invalid",
            Self::Reserved(_) => "reserved",
        }
    }
}

impl DiagnosisProtocol {
    /// Whether four bytes of the list of trouble codes are no code, whatever the last one (status or occurrence count)
    /// says: zeros and ones fill lists, and each protocol has a first and a last number that name no fault.
    pub const fn is_filler(self, [a, b, c, _]: [u8; 4]) -> bool {
        match self {
            // P0000 and U3FFF with any byte for how it failed.
            Self::Iso15765 | Self::Iso27145 | Self::Iso15031 => matches!((a, b), (0, 0) | (0xff, 0xff)),
            // SPN 0 is no parameter; SPN 524287 is all ones, "not available".
            Self::J1939 => matches!((a, b, c >> 5), (0, 0, 0) | (0xff, 0xff, 7)),
            Self::Invalid | Self::Reserved(_) => matches!((a, b, c), (0, 0, 0) | (0xff, 0xff, 0xff)),
        }
    }

    /// Whether an in-use performance counter is a count: all ones is none, and over J1939 no number above `FAFF` is.
    pub const fn is_count(self, counter: u16) -> bool {
        match self {
            Self::J1939 => counter <= 0xfaff,
            _ => counter != 0xffff,
        }
    }
}

/// The malfunction indicator lamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mil {
    Off,
    On,
    /// Defined by HJ 1014; other protocols reserve the code and mean nothing else by it.
    Flashing,
    /// `FE`.
    Invalid,
    Reserved(u8),
}

impl Mil {
    pub const fn from_byte(byte: u8) -> Self {
        match byte {
            0 => Self::Off,
            1 => Self::On,
            2 => Self::Flashing,
            0xfe => Self::Invalid,
            other => Self::Reserved(other),
        }
    }

    pub const fn byte(self) -> u8 {
        match self {
            Self::Off => 0,
            Self::On => 1,
            Self::Flashing => 2,
            Self::Invalid => 0xfe,
            Self::Reserved(byte) => byte,
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::On => "on",
            Self::Flashing => "flashing",
            Self::Invalid => "invalid",
            Self::Reserved(_) => "reserved",
        }
    }

    /// Whether the lamp is lit, steadily or flashing.
    pub const fn is_lit(self) -> bool {
        matches!(self, Self::On | Self::Flashing)
    }
}

/// A text field of fixed width, left-aligned, as it was sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize>(pub [u8; N]);

impl<const N: usize> Text<N> {
    /// Left-aligned and filled with NUL; characters past the end are cut off.
    pub fn new(text: &str) -> Self {
        let mut bytes = [0; N];
        for (place, byte) in bytes.iter_mut().zip(text.bytes()) {
            *place = byte;
        }
        Self(bytes)
    }

    /// The text up to the first NUL without spaces around it, other bytes replaced by U+FFFD; `None` where the field is
    /// blank or all ones.
    pub fn as_text(&self) -> Option<Cow<'_, str>> {
        readable(&self.0)
    }
}

impl<const N: usize> std::fmt::Debug for Text<N> {
    /// Leaves the content out: a text field may hold a VIN.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Text<{N}>")
    }
}

/// See [`Text::as_text`].
pub(super) fn readable(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let text = bytes.split(|&byte| byte == 0).next().unwrap_or_default().trim_ascii();
    if text.is_empty() || text.iter().all(|&byte| byte == 0xff) {
        return None;
    }
    match std::str::from_utf8(text) {
        Ok(text) if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) => Some(Cow::Borrowed(text)),
        _ => {
            let plain =
                |&byte: &u8| if byte.is_ascii_graphic() || byte == b' ' { char::from(byte) } else { '\u{fffd}' };
            Some(Cow::Owned(text.iter().map(plain).collect()))
        }
    }
}

/// Trouble codes as sent, four bytes each: three of code and one of status (ISO 27145), or packed SPN, FMI and count
/// (J1939). Most packets have none or a few.
pub type Dtcs = SmallVec<[[u8; 4]; 4]>;

/// What only the road body carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObdDetail {
    /// 1 = supported. Which end the bits are counted from differs between vendors, so they stay raw.
    pub support_bits: u16,
    /// 0 = complete or not supported.
    pub readiness_bits: u16,
    pub vin: Text<17>,
    pub calibration_id: Text<18>,
    /// Calibration verification number; some terminals send raw binary here.
    pub cvn: [u8; 18],
    /// In-use performance counters: general denominator, ignition cycles, then numerator and denominator of NMHC
    /// catalyst, NOx catalyst, NOx adsorber, particle filter, exhaust gas sensor, EGR/VVT, boost pressure, fuel. As sent;
    /// see [`DiagnosisProtocol::is_count`].
    pub iupr: [u16; 18],
}

/// On-board diagnosis of one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Obd {
    pub diagnosis_protocol: DiagnosisProtocol,
    pub mil: Mil,
    /// `None` in non-road machines.
    pub detail: Option<ObdDetail>,
    /// The list of trouble codes as sent, or why the terminal gave no count; see [`Obd::codes`].
    pub dtc: Result<Dtcs, NotValue>,
    /// Of the packet, in non-road machines; absent on the road.
    pub position: PositionReading,
}

/// Bytes before the trouble codes, the count included.
pub(super) const ROAD_HEAD: usize = 96;
pub(super) const NONROAD_HEAD: usize = 3;
/// Greatest count that is one; `FE` and `FF` say that there is none.
const DTC_COUNT_MAX: u8 = 253;

/// Size of a diagnosis body whose head is `head` bytes long, from the count in the head's last byte.
pub(super) fn size(body: &[u8], head: usize) -> Option<usize> {
    let &count = body.get(head - 1)?;
    Some(head + if count > DTC_COUNT_MAX { 0 } else { usize::from(count) * 4 })
}

/// `body` is as long as [`size`] says.
fn dtcs(body: &[u8], head: usize) -> Result<Dtcs, NotValue> {
    match body.get(head - 1) {
        Some(0xfe) => Err(NotValue::SensorError),
        Some(0xff) | None => Err(NotValue::NotAvailable),
        Some(_) => Ok(body.get(head..).unwrap_or_default().as_chunks().0.iter().copied().collect()),
    }
}

impl Obd {
    /// The trouble codes that name a fault, each once, in the order they were sent; a code is the same whatever its last
    /// byte, of which the first one sent is kept.
    pub fn codes(&self) -> Dtcs {
        let mut codes = Dtcs::new();
        let sent = self.dtc.as_deref().unwrap_or_default();
        for &code in sent.iter().filter(|code| !self.diagnosis_protocol.is_filler(**code)) {
            if !codes.iter().any(|known| known[..3] == code[..3]) {
                codes.push(code);
            }
        }
        codes
    }

    pub(super) fn read_road(body: &[u8]) -> Option<Self> {
        let head: &[u8; ROAD_HEAD] = body.first_chunk()?;
        let (&[protocol, mil], rest) = head.split_first_chunk()?;
        let (&support, rest) = rest.split_first_chunk()?;
        let (&readiness, rest) = rest.split_first_chunk()?;
        let (&vin, rest) = rest.split_first_chunk()?;
        let (&calibration_id, rest) = rest.split_first_chunk()?;
        let (&cvn, rest) = rest.split_first_chunk()?;
        let mut iupr = [0; 18];
        for (counter, &bytes) in iupr.iter_mut().zip(rest.as_chunks().0) {
            *counter = u16::from_be_bytes(bytes);
        }
        Some(Self {
            diagnosis_protocol: DiagnosisProtocol::from_byte(protocol),
            mil: Mil::from_byte(mil),
            detail: Some(ObdDetail {
                support_bits: u16::from_be_bytes(support),
                readiness_bits: u16::from_be_bytes(readiness),
                vin: Text(vin),
                calibration_id: Text(calibration_id),
                cvn,
                iupr,
            }),
            dtc: dtcs(body, ROAD_HEAD),
            position: PositionReading::Absent,
        })
    }

    /// `position` is that of the packet.
    pub(super) fn read_nonroad(body: &[u8], position: PositionReading) -> Option<Self> {
        let &[protocol, lamp, _count] = body.first_chunk()?;
        Some(Self {
            diagnosis_protocol: DiagnosisProtocol::from_byte(protocol),
            mil: Mil::from_byte(lamp),
            detail: None,
            dtc: dtcs(body, NONROAD_HEAD),
            position,
        })
    }

    /// The road body if there is detail, else the non-road body; more than 253 trouble codes are cut off.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend([self.diagnosis_protocol.byte(), self.mil.byte()]);
        if let Some(detail) = &self.detail {
            out.extend(detail.support_bits.to_be_bytes());
            out.extend(detail.readiness_bits.to_be_bytes());
            out.extend(detail.vin.0);
            out.extend(detail.calibration_id.0);
            out.extend(detail.cvn);
            out.extend(detail.iupr.iter().flat_map(|counter| counter.to_be_bytes()));
        }
        match &self.dtc {
            Err(NotValue::SensorError) => out.push(0xfe),
            Err(_) => out.push(0xff),
            Ok(codes) => {
                let codes = codes.get(..usize::from(DTC_COUNT_MAX)).unwrap_or(codes);
                out.push(codes.len() as u8);
                out.extend(codes.iter().flatten());
            }
        }
    }
}
