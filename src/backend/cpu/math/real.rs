//! The bits of floating-point numbers, for functions without branches.
//!
//! NOTE [Branch-free functions]
//! Most functions of this folder are plain arithmetic, selections and bit operations, so that loops
//! of them become vector code: both sides of an `if` are computed before it. A multiplication is
//! fused with an addition only where [`Real::fma`] says so, so that every instruction set gives the
//! same bits; where the processor cannot fuse, the C library does it, slowly. Polynomials meet
//! their function at the roots of a Chebyshev polynomial: of degree `d` on `[a, b]`, at the `d + 1`
//! points `(a + b) / 2 + (b - a) / 2 cos((2 k + 1) pi / (2 d + 2))`, solved for in 40 to 60 digits.
//! One text serves `f32` and `f64`, by constants of their own. `docs/accuracy.md` has what was
//! measured.

use super::Float;
use std::ops::Neg;

/// `f32` and `f64`, with their bits.
pub(super) trait Real: Float + Neg<Output = Self> {
    /// 1.5 times the power of two whose unit in the last place is 1.
    const MAGIC: Self;
    /// `2^-(digits + 3)`: functions whose series starts with `x + O(x^2)` are `x` for less.
    const TINY: Self;
    /// Upper part of the natural logarithm of 2; times an exponent it is exact.
    const LN2_HI: Self;
    /// What [`Real::LN2_HI`] lacks.
    const LN2_LO: Self;
    /// Infinity.
    const INF: Self;
    /// NaN.
    const NAN: Self;
    /// `2^n`, for a whole number `n` that is the exponent of a normal number.
    fn power(n: Self) -> Self;
    /// `self * 2^n`, rounded once if `self` is near 1.
    fn scale(self, n: Self) -> Self;
    /// `(m, e)` with `self = m 2^e` and `m` between the roots of 1/2 and 2, for positive finite
    /// numbers, normal or not.
    fn split(self) -> (Self, Self);
    /// `self * y + z`, rounded once: one instruction where the processor fuses the two.
    fn fma(self, y: Self, z: Self) -> Self;
    /// The upper half of the digits; a product of two heads is exact.
    fn head(self) -> Self;

    /// The nearest whole number, halves to even, up to half of [`Real::MAGIC`].
    #[inline(always)]
    fn whole(self) -> Self {
        (self + Self::MAGIC) - Self::MAGIC
    }
    /// `(s, r)` with `s = x + y` rounded and `s + r` exact, for `|x| >= |y|` or `x = 0`.
    #[inline(always)]
    fn sum_ordered(x: Self, y: Self) -> (Self, Self) {
        let s = x + y;
        (s, y - (s - x))
    }
    /// `(s, r)` with `s = x + y` rounded and `s + r` exact.
    #[inline(always)]
    fn sum(x: Self, y: Self) -> (Self, Self) {
        let s = x + y;
        let t = s - x;
        (s, (x - (s - t)) + (y - t))
    }
    /// `(p, r)` with `p = x * y` rounded and `p + r` exact but for underflow.
    #[inline(always)]
    fn product(x: Self, y: Self) -> (Self, Self) {
        let (xh, yh) = (x.head(), y.head());
        let (xl, yl) = (x - xh, y - yh);
        let p = x * y;
        (p, xl * yl - (((p - xh * yh) - xl * yh) - xh * yl))
    }
}

/// Horner's rule, lowest coefficient first.
#[inline(always)]
pub(super) fn poly<T: Real>(x: T, c: &[T]) -> T {
    let (last, rest) = c.split_last().expect("not empty");
    rest.iter().rev().fold(*last, |acc, &c| acc.fma(x, c))
}

macro_rules! real {
    ($t:ident, $bits:ty, $mantissa:expr, $bias:expr, $half:expr, $magic:expr,
     $root:expr, $ln2_hi:expr, $ln2_lo:expr) => {
        impl Real for $t {
            const MAGIC: $t = $magic;
            const TINY: $t = 0.0625 * $t::EPSILON;
            const LN2_HI: $t = $ln2_hi;
            const LN2_LO: $t = $ln2_lo;
            const INF: $t = $t::INFINITY;
            const NAN: $t = $t::NAN;
            #[inline(always)]
            fn power(n: $t) -> $t {
                // The sum's low bits are the exponent field.
                $t::from_bits((n + ($magic + $bias)).to_bits() << $mantissa)
            }
            #[inline(always)]
            fn scale(self, n: $t) -> $t {
                // In two steps, as 2^n may be too large or too small for the type. The sum's low bits
                // are those of the two exponent fields' sum.
                let both = (n + ($magic + 2.0 * $bias)).to_bits();
                let half = both >> 1;
                let power = |field: $bits| $t::from_bits(field << $mantissa);
                self * power(half) * power(both - half)
            }
            #[inline(always)]
            fn split(self) -> ($t, $t) {
                // Denormal numbers are made normal first.
                let small = self < $t::MIN_POSITIVE;
                let up = (1u64 << ($mantissa + 1)) as $t;
                let x = if small { self * up } else { self };
                let less = if small { ($mantissa + 1) as $t } else { 0.0 };
                // What the root of 1/2 lacks to 1, so that the exponent steps at that root.
                const ROOT: $bits = $root;
                let bits = x.to_bits().wrapping_add((1.0 as $t).to_bits() - ROOT);
                let low = (1 << $mantissa) - 1;
                let m = $t::from_bits((bits & low).wrapping_add(ROOT));
                let e = $t::from_bits((bits >> $mantissa) | ($magic as $t).to_bits());
                (m, (e - ($magic + $bias)) - less)
            }
            #[inline(always)]
            fn fma(self, y: $t, z: $t) -> $t {
                self.mul_add(y, z)
            }
            #[inline(always)]
            fn head(self) -> $t {
                $t::from_bits(self.to_bits() & !((1 << $half) - 1))
            }
        }
    };
}

real!(
    f32,
    u32,
    23,
    127.0,
    12,
    12_582_912.0,
    0x3F35_04F3,
    0.693_115_23,
    3.194_618_3e-5
);
real!(
    f64,
    u64,
    52,
    1023.0,
    27,
    6_755_399_441_055_744.0,
    0x3FE6_A09E_667F_3BCD,
    0.693_147_180_560_117_7,
    -1.723_944_452_561_483_5e-13
);

/// [`poly`] of every second coefficient from number `first` on.
#[inline(always)]
fn poly_alternate<T: Real>(x: T, c: &[T], first: usize) -> T {
    let mut k = first + (c.len() - 1 - first) / 2 * 2;
    let mut sum = c[k];
    while k > first {
        k -= 2;
        sum = sum.fma(x, c[k]);
    }
    sum
}

/// As [`poly`], its even and odd powers apart: half as long a chain of operations that wait for each
/// other, for polynomials of high degree.
#[inline(always)]
pub(super) fn poly_halves<T: Real>(x: T, c: &[T]) -> T {
    let z = x * x;
    poly_alternate(z, c, 1).fma(x, poly_alternate(z, c, 0))
}

/// [`poly_halves`] in two parts.
#[inline(always)]
pub(super) fn poly_parts<T: Real>(x: T, c: &[T]) -> (T, T) {
    let rest = poly_halves(x, &c[1..]);
    let p = x.fma(rest, c[0]);
    (p, x.fma(rest, c[0] - p))
}

/// `x (p + r)` in two parts.
#[inline(always)]
pub(super) fn times<T: Real>(x: T, (p, r): (T, T)) -> (T, T) {
    let y = x * p;
    (y, x.fma(r, x.fma(p, -y)))
}
