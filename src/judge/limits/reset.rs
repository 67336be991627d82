//! Which inspections end a series of tests over the limit.

use super::Citation;

/// Why a vehicle was inspected. 1 to 4 are the codes that inspection stations upload; a recheck after a failed test on the
/// road has none there and goes by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InspectionKind {
    Annual,
    New,
    TransferIn,
    Comparison,
    Recheck,
}

impl InspectionKind {
    pub const ALL: [InspectionKind; 5] = [Self::Annual, Self::New, Self::TransferIn, Self::Comparison, Self::Recheck];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Annual => "annual",
            Self::New => "new",
            Self::TransferIn => "transfer_in",
            Self::Comparison => "comparison",
            Self::Recheck => "recheck",
        }
    }

    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Annual => Some("1"),
            Self::New => Some("2"),
            Self::TransferIn => Some("3"),
            Self::Comparison => Some("4"),
            Self::Recheck => None,
        }
    }

    /// By name or code.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == text || kind.code() == Some(text))
    }
}

/// Passing an inspection of one of these kinds resets the series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    pub kinds: Vec<InspectionKind>,
    pub citation: Citation,
}
