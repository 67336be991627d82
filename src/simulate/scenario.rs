//! What goes wrong on purpose, as shares of all messages.

use crate::fault::Reason;

/// Ways in which a message is bad; each ends in the dead letters with [`BadKind::reason`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadKind {
    NotJson,
    WrongType,
    MissingField,
    /// `NaN`, which JSON does not have.
    NotANumber,
    NulCharacter,
    /// Larger than the service decodes, smaller than its client takes.
    TooLarge,
    /// Larger than the service's MQTT client takes: an MQTT 5 broker acknowledges it and never delivers it.
    LargerThanClient,
    IdentityMismatch,
    /// A clock that fell back to the year 2000.
    Year2000,
    Year2099,
    PlateImpossible,
    // frames
    WrongChecksum,
    UnknownCommand,
    EncryptedUnit,
    Truncated,
}

impl BadKind {
    /// Every kind that reaches the service.
    pub const DELIVERED: [BadKind; 14] = [
        BadKind::NotJson,
        BadKind::WrongChecksum,
        BadKind::WrongType,
        BadKind::MissingField,
        BadKind::UnknownCommand,
        BadKind::NotANumber,
        BadKind::NulCharacter,
        BadKind::EncryptedUnit,
        BadKind::IdentityMismatch,
        BadKind::Year2000,
        BadKind::Truncated,
        BadKind::Year2099,
        BadKind::PlateImpossible,
        BadKind::TooLarge,
    ];

    /// Whether it spoils a terminal's frame instead of a passage.
    pub const fn is_frame(self) -> bool {
        matches!(self, BadKind::WrongChecksum | BadKind::UnknownCommand | BadKind::EncryptedUnit | BadKind::Truncated)
    }

    /// Whether a bad element of this kind can be told apart from its neighbours in an array.
    pub const fn leaves_an_element(self) -> bool {
        matches!(
            self,
            BadKind::WrongType
                | BadKind::MissingField
                | BadKind::NulCharacter
                | BadKind::IdentityMismatch
                | BadKind::Year2000
                | BadKind::Year2099
                | BadKind::PlateImpossible
        )
    }

    pub const fn reason(self) -> Reason {
        match self {
            BadKind::NotJson | BadKind::NotANumber => Reason::NotJson,
            BadKind::WrongType => Reason::WrongType,
            BadKind::MissingField => Reason::MissingField,
            BadKind::NulCharacter => Reason::NulCharacter,
            BadKind::TooLarge | BadKind::LargerThanClient => Reason::TooLarge,
            BadKind::IdentityMismatch => Reason::IdentityMismatch,
            BadKind::Year2000 | BadKind::Year2099 => Reason::TimeImplausible,
            BadKind::PlateImpossible => Reason::PlateImpossible,
            BadKind::WrongChecksum => Reason::ChecksumMismatch,
            BadKind::UnknownCommand => Reason::UnknownCommand,
            BadKind::EncryptedUnit => Reason::Encrypted,
            BadKind::Truncated => Reason::Truncated,
        }
    }
}

/// Misbehaviour; shares 0..=1 of the messages of the kind they concern.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Messages that repeat an earlier one byte for byte.
    pub duplicates: f64,
    /// Messages that are bad, the kinds taken in turn.
    pub bad: f64,
    pub bad_kinds: Vec<BadKind>,
    /// Readings that come minutes after their time: passages up to an hour, terminal packets as a resend.
    pub late: f64,
    /// Passage messages that carry 2 to 20 passages at once.
    pub arrays: f64,
    /// Passages of stations and frames of terminals that no register knows.
    pub unknown: f64,
    /// Terminal messages that are removal alarms (HJ 1239 command 06). The source must be read as `hj1239`: read as
    /// `auto`, the command is ambiguous and the alarm is quarantined.
    pub removal_alarms: f64,
    /// Size of [`BadKind::TooLarge`] payloads, bytes; above the service's `mqtt.max_payload_bytes`.
    pub too_large_bytes: usize,
    /// Size of [`BadKind::LargerThanClient`] payloads, bytes; above the service's `mqtt.max_packet_bytes`.
    pub larger_than_client_bytes: usize,
}

impl Scenario {
    /// Everything as it should be.
    pub fn calm() -> Self {
        Self {
            duplicates: 0.0,
            bad: 0.0,
            bad_kinds: BadKind::DELIVERED.to_vec(),
            late: 0.0,
            arrays: 0.0,
            unknown: 0.0,
            removal_alarms: 0.0,
            // Just above the defaults of the configuration, 1 MiB and 4 MiB.
            too_large_bytes: 1_100_000,
            larger_than_client_bytes: 4_300_000,
        }
    }

    /// A little of everything, so that quarantine, duplicates and late readings show on the page.
    pub fn demo() -> Self {
        Self { duplicates: 0.01, bad: 0.006, late: 0.01, arrays: 0.02, unknown: 0.002, ..Self::calm() }
    }
}

impl Default for Scenario {
    fn default() -> Self {
        Self::calm()
    }
}
