//! Spread keys: the order in which the register and the lists keep their plates, and the directory into it.
//!
//! A plate key is sent through a reversible mixing function and rows are kept sorted by the result. Sorted words that
//! are evenly spread need no hash table: a directory of one `u32` for every few rows says where to look, the key itself
//! says how far into them, and no slot stays empty. A hash map of the same rows needs 8/7 to 16/7 of their size,
//! depending on how close their number is to the next power of two.

use std::ops::Range;

use super::pages::roomy;

const FIRST: u64 = 0xbf58_476d_1ce4_e5b9;
const SECOND: u64 = 0x94d0_49bb_1331_11eb;

/// Spreads a key over all 64 bits (the finaliser of SplitMix64). A bijection: different keys stay different.
pub fn spread(key: u64) -> u64 {
    let key = (key ^ (key >> 30)).wrapping_mul(FIRST);
    let key = (key ^ (key >> 27)).wrapping_mul(SECOND);
    key ^ (key >> 31)
}

/// Takes back [`spread`].
pub fn gather(spread: u64) -> u64 {
    const FIRST_INVERSE: u64 = inverse(FIRST);
    const SECOND_INVERSE: u64 = inverse(SECOND);
    let key = unshift(spread, 31).wrapping_mul(SECOND_INVERSE);
    let key = unshift(key, 27).wrapping_mul(FIRST_INVERSE);
    unshift(key, 30)
}

/// Solves `y = x ^ (x >> shift)` for `x`; three terms suffice for shifts above 21.
fn unshift(y: u64, shift: u32) -> u64 {
    y ^ (y >> shift) ^ (y >> (2 * shift))
}

/// Multiplicative inverse of an odd number modulo 2^64 by Newton's iteration, which doubles the right bits each time.
const fn inverse(odd: u64) -> u64 {
    let mut x = odd;
    let mut round = 0;
    while round < 6 {
        x = x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x)));
        round += 1;
    }
    x
}

/// Where in a sorted column of spread keys to look for one.
#[derive(Debug, Default)]
pub struct Directory {
    /// `starts[b]..starts[b + 1]` are the rows whose spread key falls into bucket `b`.
    starts: Box<[u32]>,
}

impl Directory {
    /// `sorted` yields the spread keys in ascending order, `rows` of them; more than `u32::MAX` rows cannot be indexed.
    /// An entry of four bytes covers `rows_per_bucket` rows on average.
    pub fn new(rows: usize, rows_per_bucket: usize, sorted: impl Iterator<Item = u64>) -> Self {
        let buckets = rows / rows_per_bucket.max(1) + 1;
        let mut starts: Vec<u32> = roomy(buckets + 1);
        starts.resize(buckets + 1, 0);
        for key in sorted {
            if let Some(count) = starts.get_mut(bucket(key, buckets) + 1) {
                *count += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Self { starts: starts.into() }
    }

    /// The rows that can hold this spread key.
    #[inline]
    pub fn rows(&self, key: u64) -> Range<usize> {
        let Some(buckets) = self.starts.len().checked_sub(1) else { return 0..0 };
        match self.starts.get(bucket(key, buckets)..) {
            Some(&[from, to, ..]) => from as usize..to as usize,
            _ => 0..0,
        }
    }

    /// Those rows, and the one at which the key stands if the bucket's keys are spread as evenly as can be.
    #[inline]
    pub fn rows_and_guess(&self, key: u64) -> (Range<usize>, usize) {
        let rows = self.rows(key);
        let buckets = self.starts.len().saturating_sub(1);
        let within = (u128::from(key) * buckets as u128) as u64;
        let ahead = ((u128::from(within) * rows.len() as u128) >> 64) as usize;
        let guess = rows.start + ahead;
        (rows, guess)
    }

    pub fn bytes(&self) -> usize {
        size_of_val(&*self.starts)
    }
}

/// Keys looked at around the guess without a branch: two lines.
const WINDOW: usize = 8;

/// Where in the sorted column, within those rows and probably near the guess, a spread key stands.
///
/// Counting the smaller keys of a window takes no branch that depends on what they are. A search that stops at the
/// right one is mispredicted every other time, and the processor, which could have begun the next look-up while this
/// one waits for memory, starts over.
#[inline]
pub fn place_of(sorted: &[u64], (rows, guess): (Range<usize>, usize), key: u64) -> Option<usize> {
    let start = guess.saturating_sub(WINDOW / 2);
    if let Some(window) = sorted.get(start..start + WINDOW).and_then(|w| <&[u64; WINDOW]>::try_from(w).ok()) {
        let place = start + window.iter().map(|&other| usize::from(other < key)).sum::<usize>();
        if sorted.get(place) == Some(&key) {
            return Some(place);
        }
        // Both neighbours seen: the key is in no row.
        if place > start && place < start + WINDOW {
            return None;
        }
    }
    let place = sorted.get(rows.clone())?.iter().position(|&other| other == key)?;
    Some(rows.start + place)
}

#[inline]
fn bucket(key: u64, buckets: usize) -> usize {
    ((u128::from(key) * buckets as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn spreading_can_be_taken_back(key: u64) {
            prop_assert_eq!(gather(spread(key)), key);
            prop_assert_eq!(spread(gather(key)), key);
        }

        #[test]
        fn every_key_lies_in_its_rows(keys in prop::collection::btree_set(any::<u64>(), 0..200), per_bucket in 1usize..40, other: u64) {
            let sorted: Vec<u64> = keys.into_iter().collect();
            let directory = Directory::new(sorted.len(), per_bucket, sorted.iter().copied());
            for (row, &key) in sorted.iter().enumerate() {
                prop_assert!(directory.rows(key).contains(&row));
                prop_assert_eq!(place_of(&sorted, directory.rows_and_guess(key), key), Some(row));
            }
            let rows = directory.rows(other);
            prop_assert!(rows.end <= sorted.len());
            prop_assert_eq!(place_of(&sorted, directory.rows_and_guess(other), other), sorted.binary_search(&other).ok());
        }
    }

    #[test]
    fn an_empty_directory_has_no_rows() {
        assert_eq!(Directory::default().rows(7), 0..0);
        assert_eq!(Directory::new(0, 4, std::iter::empty()).rows(u64::MAX), 0..0);
    }
}
