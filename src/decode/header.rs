//! The 24 bytes before the data unit: two shapes, and the tables that give command and encryption bytes a meaning.
//!
//! Commands 05 to 08 and encryptions 02 and 03 mean different things in different protocols, so the table is chosen by
//! the source the frame came from and never guessed from the byte itself.

use serde::Serialize;

use crate::config::Protocol;

use super::error::{Fault, FrameCode};

/// Bytes before the data unit.
pub(super) const HEADER_BYTES: usize = 24;
/// Header and checksum.
pub(super) const FRAME_OVERHEAD: usize = HEADER_BYTES + 1;
/// Greatest data unit the protocols allow.
pub(super) const UNIT_BYTES_MAX: usize = 65_531;
/// Characters of the identity.
pub(super) const ID_BYTES: usize = 17;

pub(super) const ENCRYPTION_AT: usize = 21;
pub(super) const LENGTH_AT: usize = 22;
const COMMAND_AT: usize = 2;

/// Where identity and software version stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HeaderShape {
    /// Command, identity, software version.
    Gb17691,
    /// Command, response flag, identity: as in GB/T 32960, used by at least one heavy-duty gateway.
    Gb32960,
}

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    Login,
    Realtime,
    /// Collected while offline; laid out as `Realtime`.
    Resend,
    Logout,
    TimeSync,
    RemovalAlarm,
    Activation,
    ActivationResponse,
    User,
}

/// Which protocol a frame was read by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FrameProtocol {
    Gb17691,
    Hj1239,
    Hj1014,
    /// A JSON document without a frame.
    Json,
    /// No protocol was configured and nothing in the frame depends on one (login, logout, user commands).
    Auto,
}

impl FrameProtocol {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gb17691 => "gb17691",
            Self::Hj1239 => "hj1239",
            Self::Hj1014 => "hj1014",
            Self::Json => "json",
            Self::Auto => "auto",
        }
    }

    pub const fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Auto => Self::Auto,
            Protocol::Gb17691 => Self::Gb17691,
            Protocol::Hj1239 => Self::Hj1239,
            Protocol::Hj1014 => Self::Hj1014,
        }
    }
}

impl Command {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Realtime => "realtime",
            Self::Resend => "resend",
            Self::Logout => "logout",
            Self::TimeSync => "time_sync",
            Self::RemovalAlarm => "removal_alarm",
            Self::Activation => "activation",
            Self::ActivationResponse => "activation_response",
            Self::User => "user",
        }
    }

    fn of_byte(byte: u8, protocol: Protocol) -> Result<Self, Fault> {
        use Protocol::{Auto, Gb17691, Hj1014, Hj1239};
        Ok(match (byte, protocol) {
            (0x01, _) => Self::Login,
            (0x02, _) => Self::Realtime,
            (0x03, _) => Self::Resend,
            (0x04, _) => Self::Logout,
            (0x80..=0xfe, _) => Self::User,
            (0x05..=0x08, Auto) => {
                let detail = format!("command {byte:02X} means different things in different protocols; name one");
                return Err(Fault::new(FrameCode::AmbiguousCommand, COMMAND_AT, detail));
            }
            (0x05, Gb17691 | Hj1239) => Self::TimeSync,
            (0x05, Hj1014) | (0x06, Hj1239) => Self::RemovalAlarm,
            (0x07, Hj1239 | Hj1014) => Self::Activation,
            (0x08, Hj1239) => Self::ActivationResponse,
            _ => {
                let detail = format!("command {byte:02X} is reserved");
                return Err(Fault::new(FrameCode::UnknownCommand, COMMAND_AT, detail));
            }
        })
    }

    /// The byte that says this command in `protocol`; `None` where the protocol has no such command.
    pub fn byte(self, protocol: Protocol) -> Option<u8> {
        (0x01..=0x08).chain([0x80]).find(|&byte| Self::of_byte(byte, protocol) == Ok(self))
    }
}

/// Refuses a data unit that is not plain.
fn check_encryption(byte: u8, protocol: Protocol) -> Result<(), Fault> {
    use Protocol::{Auto, Gb17691, Hj1014, Hj1239};
    let kind = match (byte, protocol) {
        (0x01, _) => return Ok(()),
        (0x02 | 0x03, Auto) => {
            let detail = format!("encryption {byte:02X} means different ciphers in different protocols; name one");
            return Err(Fault::new(FrameCode::AmbiguousCommand, ENCRYPTION_AT, detail));
        }
        (0x02, Gb17691 | Hj1014) | (0x04, Hj1239) => "RSA",
        (0x02, Hj1239) | (0x03, Gb17691 | Hj1014) => "SM2",
        (0x03, Hj1239) => "SM4",
        (0x05, Hj1239) => "AES128",
        (0xfe, _) => "marked as an error by the sender",
        (0xff, _) => "marked as invalid by the sender",
        _ => "a reserved code",
    };
    Err(Fault::new(FrameCode::Encrypted, ENCRYPTION_AT, format!("encryption {byte:02X} ({kind}) cannot be read")))
}

/// A header whose checksum held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header<'a> {
    pub shape: HeaderShape,
    pub command: Command,
    pub id: &'a [u8; ID_BYTES],
    /// The 32960 shape has no place for it.
    pub software_version: Option<u8>,
}

impl<'a> Header<'a> {
    pub fn read(bytes: &'a [u8; HEADER_BYTES], protocol: Protocol) -> Result<Self, Fault> {
        let [_, _, command, after_command, .., encryption, _, _] = *bytes;
        let shape = shape(after_command);
        let command = Command::of_byte(command, protocol)?;
        check_encryption(encryption, protocol)?;
        let (id, software_version) = match shape {
            HeaderShape::Gb17691 => (&bytes[3..20], Some(bytes[20])),
            HeaderShape::Gb32960 => (&bytes[4..21], None),
        };
        let Ok(id) = id.try_into() else {
            return Err(Fault::new(FrameCode::Truncated, 0, "header is incomplete"));
        };
        Ok(Self { shape, command, id, software_version })
    }
}

/// A response flag behind the command tells the 32960 shape; no identity begins with one of its codes.
pub(super) const fn shape(after_command: u8) -> HeaderShape {
    match after_command {
        0x01 | 0x02 | 0x03 | 0xfe => HeaderShape::Gb32960,
        _ => HeaderShape::Gb17691,
    }
}

/// Whether every character of the identity is one that terminals send: printable, or NUL, blank or `FF` as filling.
pub(super) fn id_is_plausible(bytes: &[u8; HEADER_BYTES]) -> bool {
    id_bytes(bytes).iter().all(|&byte| byte.is_ascii_graphic() || matches!(byte, 0x00 | b' ' | 0xff))
}

/// Whether these bytes begin a frame beyond reasonable doubt: a command that some protocol has, and an identity of which
/// most are letters and digits. Runs of zeros in a data unit look like an empty identity, and a checksum that is itself
/// `23` makes a marker with the frame behind it, whose command would then be `23`; neither passes here.
pub(super) fn begins_a_frame(bytes: &[u8; HEADER_BYTES]) -> bool {
    const LETTERS_AND_DIGITS_MIN: usize = 10;
    let letters_and_digits = id_bytes(bytes).iter().filter(|byte| byte.is_ascii_alphanumeric()).count();
    matches!(bytes[COMMAND_AT], 0x01..=0x08 | 0x80..=0xfe)
        && letters_and_digits >= LETTERS_AND_DIGITS_MIN
        && id_is_plausible(bytes)
}

fn id_bytes(bytes: &[u8; HEADER_BYTES]) -> &[u8] {
    match shape(bytes[3]) {
        HeaderShape::Gb17691 => &bytes[3..20],
        HeaderShape::Gb32960 => &bytes[4..21],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_byte_means_what_its_protocol_says() {
        let of = |byte, protocol| Command::of_byte(byte, protocol).map_err(|fault| fault.code);
        assert_eq!(of(0x05, Protocol::Gb17691), Ok(Command::TimeSync));
        assert_eq!(of(0x05, Protocol::Hj1239), Ok(Command::TimeSync));
        assert_eq!(of(0x05, Protocol::Hj1014), Ok(Command::RemovalAlarm));
        assert_eq!(of(0x06, Protocol::Gb17691), Err(FrameCode::UnknownCommand));
        assert_eq!(of(0x06, Protocol::Hj1239), Ok(Command::RemovalAlarm));
        assert_eq!(of(0x06, Protocol::Hj1014), Err(FrameCode::UnknownCommand));
        assert_eq!(of(0x08, Protocol::Hj1239), Ok(Command::ActivationResponse));
        for byte in 0x05..=0x08 {
            assert_eq!(of(byte, Protocol::Auto), Err(FrameCode::AmbiguousCommand));
        }
        for byte in [0x00, 0x09, 0x7f, 0xff] {
            assert_eq!(of(byte, Protocol::Auto), Err(FrameCode::UnknownCommand));
        }
    }

    #[test]
    fn encryption_is_named_by_its_protocol() {
        let of = |byte, protocol| check_encryption(byte, protocol).expect_err("not plain");
        assert!(of(0x02, Protocol::Gb17691).detail.contains("RSA"));
        assert!(of(0x02, Protocol::Hj1239).detail.contains("SM2"));
        assert!(of(0x03, Protocol::Hj1014).detail.contains("SM2"));
        assert!(of(0x03, Protocol::Hj1239).detail.contains("SM4"));
        assert_eq!(of(0x03, Protocol::Auto).code, FrameCode::AmbiguousCommand);
        assert_eq!(of(0xfe, Protocol::Auto).code, FrameCode::Encrypted);
    }

    #[test]
    fn command_bytes_are_found_again() {
        assert_eq!(Command::RemovalAlarm.byte(Protocol::Hj1014), Some(0x05));
        assert_eq!(Command::RemovalAlarm.byte(Protocol::Hj1239), Some(0x06));
        assert_eq!(Command::RemovalAlarm.byte(Protocol::Gb17691), None);
        assert_eq!(Command::User.byte(Protocol::Gb17691), Some(0x80));
    }
}
