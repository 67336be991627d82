//! Every reason for which a message or a reading is put aside, in one closed set.
//!
//! A reason is a metric label, a column of the dead-letter table and a word operators search for, so it is an enum and
//! not text; the detail beside it is free text that never holds a plate, a VIN, a position or a payload.

/// Why a reading was quarantined instead of stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Reason {
    // carriage
    TopicUnknown,
    TooLarge,
    NotJson,
    WrongType,
    MissingField,
    NulCharacter,
    OutOfRange,
    TooManyElements,
    // frames (the codes of the `decode` command)
    NoStartMarker,
    Truncated,
    LengthMismatch,
    ChecksumMismatch,
    UnknownCommand,
    Encrypted,
    NoDialectFits,
    AmbiguousCommand,
    NotHex,
    // meaning
    IdentityMismatch,
    TimeImplausible,
    PlateImpossible,
    UnknownStation,
    UnknownDevice,
    /// A good frame in which there is nothing to read: a time sync, an answer to an activation, a command of the vendor's own.
    NoReading,
    // store
    RefusedByStore,
    /// Same natural key as a stored reading, other content: kept beside it.
    Conflict,
    /// The same reading as a stored one in other bytes, which stand nowhere else.
    Respelled,
}

impl Reason {
    pub const ALL: [Reason; 26] = [
        Reason::TopicUnknown,
        Reason::TooLarge,
        Reason::NotJson,
        Reason::WrongType,
        Reason::MissingField,
        Reason::NulCharacter,
        Reason::OutOfRange,
        Reason::TooManyElements,
        Reason::NoStartMarker,
        Reason::Truncated,
        Reason::LengthMismatch,
        Reason::ChecksumMismatch,
        Reason::UnknownCommand,
        Reason::Encrypted,
        Reason::NoDialectFits,
        Reason::AmbiguousCommand,
        Reason::NotHex,
        Reason::IdentityMismatch,
        Reason::TimeImplausible,
        Reason::PlateImpossible,
        Reason::UnknownStation,
        Reason::UnknownDevice,
        Reason::NoReading,
        Reason::RefusedByStore,
        Reason::Conflict,
        Reason::Respelled,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Reason::TopicUnknown => "topic_unknown",
            Reason::TooLarge => "too_large",
            Reason::NotJson => "not_json",
            Reason::WrongType => "wrong_type",
            Reason::MissingField => "missing_field",
            Reason::NulCharacter => "nul_character",
            Reason::OutOfRange => "out_of_range",
            Reason::TooManyElements => "too_many_elements",
            Reason::NoStartMarker => "no_start_marker",
            Reason::Truncated => "truncated",
            Reason::LengthMismatch => "length_mismatch",
            Reason::ChecksumMismatch => "checksum_mismatch",
            Reason::UnknownCommand => "unknown_command",
            Reason::Encrypted => "encrypted",
            Reason::NoDialectFits => "no_dialect_fits",
            Reason::AmbiguousCommand => "ambiguous_command",
            Reason::NotHex => "not_hex",
            Reason::IdentityMismatch => "identity_mismatch",
            Reason::TimeImplausible => "time_implausible",
            Reason::PlateImpossible => "plate_impossible",
            Reason::UnknownStation => "unknown_station",
            Reason::UnknownDevice => "unknown_device",
            Reason::NoReading => "no_reading",
            Reason::RefusedByStore => "refused_by_store",
            Reason::Conflict => "conflict",
            Reason::Respelled => "respelled",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

/// One reading (or a whole message, when nothing in it could be told apart) put aside, with the bytes it came as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub reason: Reason,
    /// What exactly is wrong and where, for a person; without plates, VINs, positions or payload.
    pub detail: String,
}

impl Refusal {
    pub fn new(reason: Reason, detail: impl Into<String>) -> Self {
        Self { reason, detail: detail.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_parse_back() {
        for (place, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place, "ALL is in declaration order");
            assert_eq!(Reason::parse(reason.name()), Some(reason));
        }
    }
}
