//! Draws from a seed: the same seed gives the same draws everywhere.

/// A sequence of draws (`splitmix64`).
#[derive(Debug, Clone)]
pub(crate) struct Draw(u64);

impl Draw {
    /// The sequence of a seed.
    pub(crate) fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.0)
    }

    /// A number below `bound`, which is not 0.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.bits() % bound.max(1)
    }

    /// A number from 0 up to 1.
    pub(crate) fn share(&mut self) -> f64 {
        share(self.bits())
    }
}

/// The bits of a number, mixed.
pub(crate) fn mixed(number: u64) -> u64 {
    let mut bits = number;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// Bits as a number from 0 up to 1.
#[expect(clippy::cast_precision_loss, reason = "53 bits are exactly what a float holds")]
pub(crate) fn share(bits: u64) -> f64 {
    (bits >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_draws_and_another_seed_others() {
        let first = |seed| Draw::seeded(seed).bits();
        assert_eq!(first(7), first(7));
        assert_ne!(first(7), first(8));
    }

    #[test]
    fn shares_are_spread_evenly() {
        let mut draw = Draw::seeded(1);
        let low = (0..10_000).filter(|_| draw.share() < 0.3).count();
        assert!((2_800..3_200).contains(&low), "{low}");
    }
}
