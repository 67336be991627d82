//! What packets came in, which is kept with the first of them that is stored, or else with the first dead letter.
//!
//! Of a message whose frames and noise put together are the message, each piece is kept where it belongs and nothing is left
//! over. Of hex text, of a JSON document around a frame, and of filling between frames the pieces are not the whole.

use std::ops::Range;

use bytes::Bytes;

use crate::{
    decode::{Frame, FrameError},
    store::batch::Batch,
};

/// The wrapper of the piece that is looked at.
pub(super) struct Wrapper {
    range: Option<Range<usize>>,
    /// Until a packet has taken it along.
    bytes: Option<Bytes>,
    /// Dead letters before its first piece.
    letters: usize,
}

impl Wrapper {
    pub fn none(batch: &Batch) -> Self {
        Self { range: None, bytes: None, letters: batch.dead_letters.len() }
    }

    /// Goes on to the next piece of the payload.
    pub fn follow(&mut self, piece: &Result<Frame, FrameError>, payload: &Bytes, batch: &mut Batch) {
        let range = match piece {
            Ok(frame) => &frame.wrapper,
            Err(error) => &error.wrapper,
        };
        if *range != self.range {
            self.settle(batch);
            let bytes = range.clone().map(|range| payload.slice(range));
            *self = Self { range: range.clone(), bytes, letters: batch.dead_letters.len() };
        }
    }

    /// For the row of a packet.
    pub fn take(&mut self) -> Option<Bytes> {
        self.bytes.take()
    }

    /// Where no packet took it, the first dead letter is kept as it came; so are others about the same piece, so that these
    /// stay one.
    pub fn settle(&mut self, batch: &mut Batch) {
        let (Some(bytes), Some(letters)) = (self.bytes.take(), batch.dead_letters.get_mut(self.letters..)) else {
            return;
        };
        let Some(piece) = letters.first().map(|letter| letter.raw.clone()) else { return };
        letters.iter_mut().filter(|letter| letter.raw == piece).for_each(|letter| letter.raw = bytes.clone());
    }
}
