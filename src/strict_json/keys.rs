//! Whether an object has a key twice, without keeping its keys.

use smallvec::SmallVec;

/// Keys compared one by one; with more of them comparing each with all would take time in proportion to their square.
const FEW: usize = 16;

/// The keys of one object seen so far, by hash.
#[derive(Default)]
pub struct Keys(SmallVec<[u64; FEW]>);

/// What [`Keys`] knows a key by. Two different keys have one hash about never; they would be refused, not confused.
#[inline]
pub fn hash(key: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key.as_bytes())
}

impl Keys {
    /// Notes a key; `false` where it is known to have been there. What this does not see, [`Keys::differ`] does.
    #[inline]
    pub fn add(&mut self, hash: u64) -> bool {
        let new = self.0.len() > FEW || !self.0.contains(&hash);
        self.0.push(hash);
        new
    }

    /// Whether no key was there twice, once the object ends.
    #[inline]
    pub fn differ(&mut self) -> bool {
        self.0.len() <= FEW || {
            self.0.sort_unstable();
            self.0.windows(2).all(|pair| pair.first() != pair.last())
        }
    }
}
