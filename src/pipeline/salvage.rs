//! Halving a batch until the refused readings stand alone. Sans-IO: it only says what to try next.

use std::ops::Range;

/// A part of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Whole messages.
    Messages(Range<usize>),
    /// Some readings of one message.
    Readings { message: usize, elements: Range<usize> },
    /// One reading of one message, known to be refused on its own.
    Reading { message: usize, element: usize },
}

impl Piece {
    pub fn messages(&self) -> Range<usize> {
        match self {
            Piece::Messages(range) => range.clone(),
            Piece::Readings { message, .. } | Piece::Reading { message, .. } => *message..*message + 1,
        }
    }

    pub fn elements(&self) -> Range<usize> {
        match self {
            Piece::Messages(_) => 0..usize::MAX,
            Piece::Readings { elements, .. } => elements.clone(),
            Piece::Reading { element, .. } => *element..*element + 1,
        }
    }
}

/// What is left to try.
pub struct Pieces(Vec<Piece>);

impl Pieces {
    /// The two halves of a batch that was refused whole.
    pub fn all(messages: usize) -> Self {
        let mut pieces = Self(Vec::new());
        match messages {
            0 => {}
            1 => pieces.0.push(Piece::Messages(0..1)),
            _ => pieces.halve_messages(0..messages),
        }
        pieces
    }

    /// The next part to try, earliest first.
    pub fn take(&mut self) -> Option<Piece> {
        self.0.pop()
    }

    /// Splits a refused part; a part that cannot be split is returned as the one refused reading. `elements` is the
    /// number of readings in the part's message when it has only one.
    pub fn split(&mut self, refused: Piece, elements: usize) -> Option<Piece> {
        match refused {
            Piece::Messages(range) if range.len() > 1 => self.halve_messages(range),
            Piece::Messages(range) if elements > 1 => self.halve_readings(range.start, 0..elements),
            Piece::Messages(range) => return Some(Piece::Reading { message: range.start, element: 0 }),
            Piece::Readings { message, elements } if elements.len() > 1 => self.halve_readings(message, elements),
            Piece::Readings { message, elements } => {
                return Some(Piece::Reading { message, element: elements.start });
            }
            reading @ Piece::Reading { .. } => return Some(reading),
        }
        None
    }

    fn halve_messages(&mut self, range: Range<usize>) {
        let middle = range.start + range.len() / 2;
        self.0.push(Piece::Messages(middle..range.end));
        self.0.push(Piece::Messages(range.start..middle));
    }

    fn halve_readings(&mut self, message: usize, range: Range<usize>) {
        let middle = range.start + range.len() / 2;
        self.0.push(Piece::Readings { message, elements: middle..range.end });
        self.0.push(Piece::Readings { message, elements: range.start..middle });
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is poisonous: exactly that is put aside, and every other reading is committed exactly once.
        #[test]
        fn exactly_the_poison_is_put_aside(
            sizes in prop::collection::vec(1_usize..5, 1..20),
            poison in prop::collection::btree_set((0_usize..20, 0_usize..5), 0..8),
        ) {
            let exists = |&(message, element): &(usize, usize)| sizes.get(message).is_some_and(|size| element < *size);
            let poison: BTreeSet<_> = poison.into_iter().filter(exists).collect();
            let (mut committed, mut aside) = (Vec::new(), BTreeSet::new());
            let mut pieces = Pieces::all(sizes.len());
            while let Some(piece) = pieces.take() {
                let part: Vec<_> = piece
                    .messages()
                    .flat_map(|m| (0..sizes[m]).map(move |e| (m, e)))
                    .filter(|(_, e)| piece.elements().contains(e))
                    .collect();
                let last = sizes[piece.messages().end - 1];
                if part.iter().any(|reading| poison.contains(reading)) {
                    if let Some(Piece::Reading { message, element }) = pieces.split(piece, last) {
                        aside.insert((message, element));
                    }
                } else {
                    committed.extend(part);
                }
            }
            let all: BTreeSet<_> = sizes.iter().enumerate().flat_map(|(m, s)| (0..*s).map(move |e| (m, e))).collect();
            let once: BTreeSet<_> = committed.iter().copied().collect();
            prop_assert_eq!(once.len(), committed.len());
            prop_assert_eq!(&aside, &poison);
            prop_assert_eq!(once, all.difference(&poison).copied().collect::<BTreeSet<_>>());
        }
    }
}
