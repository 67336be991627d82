//! Seeded chance. The committed demo files are made with it, so its output must never change with a library's version:
//! SplitMix64 (Steele, Lea, Flood 2014), written out. Not for anything that must not be guessed.

/// A stream of numbers that depends on nothing but its seed.
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A stream of its own for the `index`-th member of a family, so that members do not depend on each other's number
    /// of throws.
    pub fn of(seed: u64, family: u64, index: u64) -> Self {
        let mut dice = Self(seed ^ family.wrapping_mul(0xA076_1D64_78BD_642F));
        let base = dice.word();
        Self(base ^ index.wrapping_mul(0xE703_7ED1_A0B4_28DB))
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// 0 .. `bound`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        (((self.word() >> 32) * u64::from(bound)) >> 32) as u32
    }

    /// `low ..= high`
    pub fn between(&mut self, low: i32, high: i32) -> i32 {
        low + self.below(high.abs_diff(low) + 1) as i32
    }

    /// 0.0 .. 1.0
    pub fn unit(&mut self) -> f64 {
        (self.word() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// True with probability `share`; never for 0, always for 1.
    pub fn chance(&mut self, share: f64) -> bool {
        share > 0.0 && self.unit() < share
    }

    /// About normal: the sum of four uniform numbers from one throw, so never further than 3.5 spreads from the mean.
    pub fn bell(&mut self, mean: f64, spread: f64) -> f64 {
        let word = self.word();
        let sum: u64 = (0..4).map(|part| (word >> (part * 16)) & 0xffff).sum();
        // Four uniforms on 0..65536 have mean 131070 and standard deviation 37837.
        mean + spread * (sum as f64 - 131_070.0) / 37_837.0
    }

    /// One of the choices; the slice must hold one.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len() as u32) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published reference values of SplitMix64 for seed 1234567: the committed demo files hang on them.
    #[test]
    fn the_sequence_is_fixed() {
        let mut dice = Dice::new(1_234_567);
        let words: Vec<u64> = (0..3).map(|_| dice.word()).collect();
        assert_eq!(words, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn ranges_hold() {
        let mut dice = Dice::new(7);
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..20_000 {
            assert!(dice.below(10) < 10);
            assert!((-3..=3).contains(&dice.between(-3, 3)));
            assert!((0.0..1.0).contains(&dice.unit()));
            let value = dice.bell(5.0, 2.0);
            sum += value;
            squares += (value - 5.0) * (value - 5.0);
        }
        assert!((sum / 20_000.0 - 5.0).abs() < 0.1);
        assert!(((squares / 20_000.0).sqrt() - 2.0).abs() < 0.1);
        assert!(!dice.chance(0.0) && dice.chance(1.0));
    }
}
