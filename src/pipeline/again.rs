//! A stored passage once more through the same code, for recalculation.

use bytes::Bytes;

use super::assemble::{Assembler, Message, Missing};
use crate::{
    config::SourceKind,
    finding::Finding,
    reading::Timestamp,
    store::batch::{Batch, Table},
    vehicle::past::Then,
};

/// How things stood when a stored passage arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct Before {
    /// It was seen recently enough for somebody to be stopped.
    pub live: bool,
    /// What the register said of its plate; `None` where none was in force.
    pub register: Option<Then>,
}

impl Before {
    /// Whether what the register says of the vehicle's state is of the time of the passage.
    pub(super) fn state_is_of_then(&self) -> bool {
        self.live && self.register.is_some()
    }
}

/// What a stored passage comes to by the limits and lists in force now.
#[derive(Clone, Debug, PartialEq)]
pub enum Again {
    Judged {
        verdict: i16,
        outcomes: i16,
        /// Who carried the plate; see `vehicle::carrier`.
        carrier: Option<i64>,
        /// JSON text for the row; `None` where there is nothing to say.
        explained: Option<Vec<u8>>,
        /// None of them asks for an officer.
        findings: Vec<Finding>,
    },
    /// The raw payload no longer gives this reading, so what was stored stands; why, in words of a closed set.
    Left(&'static str),
}

impl Assembler {
    /// Decodes and judges the raw payload of one stored passage. Several sources may speak of stations in forms of their
    /// own, and a stored reading does not name its source: the one whose decoding gives the same content is meant.
    pub fn judge_again(
        &self,
        station: &str,
        raw: &Bytes,
        received_at: Timestamp,
        content_hash: i64,
        before: &Before,
    ) -> Result<Again, Missing> {
        let mut left = "no_source_of_passages";
        for (place, source) in self.sources.iter().enumerate().filter(|(_, s)| s.kind == SourceKind::Rs) {
            let message = Message {
                source: place,
                device: station.into(),
                topic: source.filter.replace('+', station).into(),
                payload: raw.clone(),
                received_at,
                replayed: true,
            };
            let mut batch = Batch::new(self.books());
            self.add_as(&message, 0..usize::MAX, Some(before), &mut batch)?;
            match (batch.judged.pop(), batch.dead_letters.first()) {
                (Some(judged), None) if judged.content_hash == content_hash => {
                    let of_passage = |owner: crate::store::batch::RowRef| owner.table == Table::Passage;
                    let findings = batch.findings.into_iter().filter(|f| of_passage(f.owner)).map(|f| f.finding);
                    return Ok(Again::Judged {
                        verdict: judged.verdict,
                        outcomes: judged.outcomes,
                        carrier: judged.carrier,
                        explained: judged.explained,
                        findings: findings.map(|finding| Finding { intercept: false, ..finding }).collect(),
                    });
                }
                (_, Some(letter)) => left = letter.reason.name(),
                (Some(_), None) => left = "decoded_differently",
                (None, None) => {}
            }
        }
        Ok(Again::Left(left))
    }
}
