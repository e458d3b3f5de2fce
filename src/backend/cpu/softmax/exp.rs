//! The exponential function, in a form that loops of it vectorise.

use super::super::math::Float;

/// Types with a branch-free exponential function.
pub(in super::super) trait Exp: Float {
    /// `e^x`, within 2 units in the last place.
    fn quick_exp(self) -> Self;
}

// Both follow Cephes: x = n ln 2 + r with |r| <= ln(2) / 2, so that e^x = 2^n e^r. The integer n
// comes out of the low bits of a sum with 1.5 * 2^(digits - 1); ln 2 is split in two so that n times
// its upper part is exact. 2^n is multiplied in by halves, as it may be too large or too small for
// the type when e^x is not.

impl Exp for f32 {
    #[inline(always)]
    fn quick_exp(self) -> f32 {
        const MAGIC: f32 = 12_582_912.0;
        // Beyond these bounds the result is 0 or infinite all the same.
        let x = self.clamp(-104.0, 89.0);
        let shifted = x * std::f32::consts::LOG2_E + MAGIC;
        let n = shifted - MAGIC;
        let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
        let p = 1.987_569_1e-4;
        let p = p * r + 1.398_2e-3;
        let p = p * r + 8.333_452e-3;
        let p = p * r + 4.166_579_6e-2;
        let p = p * r + 1.666_666_5e-1;
        let p = p * r + 0.5;
        let y = (p * (r * r) + r) + 1.0;
        let n = shifted.to_bits().wrapping_sub(MAGIC.to_bits()) as i32;
        let half = n >> 1;
        let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
        y * power(half) * power(n.wrapping_sub(half))
    }
}

impl Exp for f64 {
    #[inline(always)]
    fn quick_exp(self) -> f64 {
        const MAGIC: f64 = 6_755_399_441_055_744.0;
        let x = self.clamp(-746.0, 710.0);
        let shifted = x * std::f64::consts::LOG2_E + MAGIC;
        let n = shifted - MAGIC;
        let r = x - n * 6.931_457_519_531_25e-1 - n * 1.428_606_820_309_417_2e-6;
        let s = r * r;
        let p = 1.261_771_930_748_105_9e-4;
        let p = p * s + 3.029_944_077_074_419_6e-2;
        let p = r * (p * s + 1.0);
        let q = 3.001_985_051_386_644_6e-6;
        let q = q * s + 2.524_483_403_496_841e-3;
        let q = q * s + 2.272_655_482_081_550_3e-1;
        let q = q * s + 2.0;
        let y = 1.0 + 2.0 * (p / (q - p));
        let n = shifted.to_bits().wrapping_sub(MAGIC.to_bits()) as i64;
        let half = n >> 1;
        let power = |n: i64| f64::from_bits((n.wrapping_add(1023) as u64) << 52);
        y * power(half) * power(n.wrapping_sub(half))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_is_within_two_units() {
        for i in 0..4_000_000 {
            let x = -104.5 + i as f32 * 5e-5;
            let exact = f64::from(x).exp();
            let got = x.quick_exp();
            if exact > f64::from(f32::MAX) {
                assert!(got == f32::INFINITY || got > 3.4e38, "{x}");
                continue;
            }
            let near = (exact as f32).max(f32::MIN_POSITIVE);
            let unit = f64::from(near.next_up() - near);
            assert!((f64::from(got) - exact).abs() <= 2.0 * unit, "{x}: {got}");
        }
    }

    #[test]
    fn f64_is_within_two_units() {
        for i in 0..1_000_000 {
            let x = -746.0 + f64::from(i) * 1.4557e-3;
            let exact = x.exp();
            let got = x.quick_exp();
            if exact.is_infinite() {
                assert!(got.is_infinite(), "{x}");
                continue;
            }
            let near = exact.max(f64::MIN_POSITIVE);
            let unit = near.next_up() - near;
            assert!((got - exact).abs() <= 2.0 * unit, "{x}: {got}");
        }
    }

    #[test]
    fn knows_the_limits() {
        assert_eq!(0f32.quick_exp(), 1.0);
        assert_eq!((-0f32).quick_exp(), 1.0);
        assert_eq!(f32::INFINITY.quick_exp(), f32::INFINITY);
        assert_eq!(f32::NEG_INFINITY.quick_exp(), 0.0);
        assert!(f32::NAN.quick_exp().is_nan());
        assert_eq!(0f64.quick_exp(), 1.0);
        assert_eq!((-0f64).quick_exp(), 1.0);
        assert_eq!(f64::INFINITY.quick_exp(), f64::INFINITY);
        assert_eq!(f64::NEG_INFINITY.quick_exp(), 0.0);
        assert!(f64::NAN.quick_exp().is_nan());
    }
}
