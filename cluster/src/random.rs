//! Numbers that look random and are the same for the same seed.

/// Added from one number to the next.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// Uniform in (0, 1], to 53 bits.
    pub(crate) fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(STEP);
        ((mixed(self.0) >> 11) + 1) as f64 / (1u64 << 53) as f64
    }
}

/// The number of that place after a seed.
pub(crate) fn at(seed: u64, place: u64) -> u64 {
    mixed(seed.wrapping_add(place.wrapping_add(1).wrapping_mul(STEP)))
}

fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_reference() {
        // The first ones that the authors' program gives for the seed 1234567.
        assert_eq!(at(1_234_567, 0), 6_457_827_717_110_365_317);
        assert_eq!(at(1_234_567, 1), 3_203_168_211_198_807_973);
        let mean = |mut random: Random| (0..4000).map(|_| random.uniform()).sum::<f64>() / 4000.0;
        assert!((mean(Random::new(1)) - 0.5).abs() < 0.02);
    }
}
