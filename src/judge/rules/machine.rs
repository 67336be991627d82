//! What the rules for non-road machines go by (R11); the rules themselves are in [`mod@crate::judge::nonroad`], because a machine
//! sends positions and passes no station.

use serde::Deserialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// GB 20891 stage, 0..=4; a machine of a lower one is not admitted.
    pub min_stage: u8,
}

impl Parameters {
    pub(super) fn problem(&self) -> Option<String> {
        (self.min_stage > 4).then(|| "min_stage must be 0 to 4".to_owned())
    }
}
