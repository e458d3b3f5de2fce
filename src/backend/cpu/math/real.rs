//! The bits of floating-point numbers, for functions without branches.
//!
//! NOTE [Branch-free functions]
//! Most functions of this folder are plain arithmetic, selections and bit operations, so that loops
//! of them become vector code: both sides of an `if` are computed before it. A multiplication is
//! fused with an addition where [`Real::fma`] says so, and nowhere else, so that every instruction
//! set gives the same bits; where the processor cannot fuse, the C library does it, slowly. What a
//! product, a quotient or a root lost is one fused operation away: sums that cancel and factors that
//! are used twice carry it along as a second number. Helpers are generic functions, loops and
//! `#[inline(always)]`: one that the compiler leaves outside would have no vectors, and call the C
//! library for each multiplication. Unless their place says otherwise, polynomials meet their function
//! at the roots of a Chebyshev polynomial: of degree `d` on `[a, b]`, at the `d + 1` points
//! `(a + b) / 2 + (b - a) / 2 cos((2 k + 1) pi / (2 d + 2))`, solved for in 40 to 60 digits.
//! One text serves `f32` and `f64`, by constants of their own. `docs/accuracy.md` has what was
//! measured.

use super::Float;
use std::ops::Neg;

/// `f32` and `f64`, with their bits.
pub(super) trait Real: Float + Neg<Output = Self> {
    /// 1.5 times the power of two whose unit in the last place is 1.
    const MAGIC: Self;
    /// What an exponent's field is more than the exponent.
    const BIAS: Self;
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
    /// The power of two whose exponent's field is in the low bits of a number: `2^n` for
    /// `n +` [`Real::BIAS`] `+` [`Real::MAGIC`], if `n` is the exponent of a normal number.
    fn power_of_bits(bits: Self) -> Self;
    /// Two normal numbers whose product is `2^n`, which may be none: for `n + 2` [`Real::BIAS`] `+`
    /// [`Real::MAGIC`].
    fn powers_of_bits(bits: Self) -> (Self, Self);
    /// `(m, e)` with `self = m 2^e` and `m` between the roots of 1/2 and 2, for positive normal
    /// numbers.
    fn split_normal(self) -> (Self, Self);
    /// The same for all positive finite numbers.
    fn split(self) -> (Self, Self);
    /// `self * y + z`, rounded once: one instruction where the processor fuses the two.
    fn fma(self, y: Self, z: Self) -> Self;
    /// Whether a bit of the number's is set, counted from the lowest one.
    fn bit(self, number: u32) -> bool;
    /// `-self` if [`Real::bit`] of `bits` is set, else `self`.
    fn negated_by_bit(self, bits: Self, number: u32) -> Self;

    /// `(n, bits)` with the whole number `n` nearest to `self * y`, and `bits = n + k + MAGIC`, whose
    /// low bits are those of `n + k`, up to a quarter of [`Real::MAGIC`].
    #[inline(always)]
    fn whole_product(self, y: Self, k: Self) -> (Self, Self) {
        let bits = self.fma(y, Self::MAGIC + k);
        (bits - (Self::MAGIC + k), bits)
    }
    /// `2^n`, for a whole number `n` that is the exponent of a normal number.
    #[inline(always)]
    fn power(n: Self) -> Self {
        Self::power_of_bits(n + (Self::MAGIC + Self::BIAS))
    }
    /// `(1 + q) 2^n`, for `n + 2` [`Real::BIAS`] `+` [`Real::MAGIC`] and a `q` of at most 1/2 in
    /// magnitude: rounded, too, to a denormal number or infinity.
    #[inline(always)]
    fn scale_by_bits(q: Self, bits: Self) -> Self {
        let (first, second) = Self::powers_of_bits(bits);
        q.fma(first, first) * second
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
        let p = x * y;
        (p, x.fma(y, -p))
    }
}

/// Horner's rule, lowest coefficient first.
#[inline(always)]
pub(super) fn poly<T: Real>(x: T, c: &[T]) -> T {
    let mut k = c.len() - 1;
    let mut y = c[k];
    while k > 0 {
        k -= 1;
        y = y.fma(x, c[k]);
    }
    y
}

/// The same polynomial, given `x^2`, by Horner's rule for that: its terms wait for half as many others.
#[inline(always)]
pub(super) fn poly_by_pairs<T: Real>(x: T, square: T, c: &[T]) -> T {
    let pair = |k: usize| {
        if k + 1 < c.len() {
            c[k + 1].fma(x, c[k])
        } else {
            c[k]
        }
    };
    let mut k = (c.len() - 1) / 2 * 2;
    let mut y = pair(k);
    while k > 0 {
        k -= 2;
        y = y.fma(square, pair(k));
    }
    y
}

macro_rules! real {
    ($t:ident, $bits:ty, $mantissa:expr, $bias:expr, $magic:expr,
     $root:expr, $ln2_hi:expr, $ln2_lo:expr) => {
        const _: () = {
            /// `m`, and the exponent's field as the low bits of a number.
            #[inline(always)]
            fn parts(x: $t) -> ($t, $t) {
                // What the root of 1/2 lacks to 1, so that the exponent steps at that root.
                const ROOT: $bits = $root;
                let bits = x.to_bits().wrapping_add((1.0 as $t).to_bits() - ROOT);
                let low = (1 << $mantissa) - 1;
                (
                    $t::from_bits((bits & low).wrapping_add(ROOT)),
                    $t::from_bits((bits >> $mantissa) | ($magic as $t).to_bits()),
                )
            }
            impl Real for $t {
                const MAGIC: $t = $magic;
                const BIAS: $t = $bias;
                const TINY: $t = 0.0625 * $t::EPSILON;
                const LN2_HI: $t = $ln2_hi;
                const LN2_LO: $t = $ln2_lo;
                const INF: $t = $t::INFINITY;
                const NAN: $t = $t::NAN;
                #[inline(always)]
                fn power_of_bits(bits: $t) -> $t {
                    $t::from_bits(bits.to_bits() << $mantissa)
                }
                #[inline(always)]
                fn powers_of_bits(bits: $t) -> ($t, $t) {
                    // The sum of the fields of two exponents, in halves.
                    let both = bits.to_bits();
                    let half = both >> 1;
                    let power = |field: $bits| $t::from_bits(field << $mantissa);
                    (power(half), power(both - half))
                }
                #[inline(always)]
                fn split_normal(self) -> ($t, $t) {
                    let (m, e) = parts(self);
                    (m, e - ($magic + $bias))
                }
                #[inline(always)]
                fn split(self) -> ($t, $t) {
                    // Denormal numbers are made normal first.
                    const UP: i32 = $mantissa + 1;
                    let small = self < $t::MIN_POSITIVE;
                    let (m, e) = parts(if small {
                        self * (1u64 << UP) as $t
                    } else {
                        self
                    });
                    let zero = $magic + $bias;
                    (m, e - if small { zero + UP as $t } else { zero })
                }
                #[inline(always)]
                fn fma(self, y: $t, z: $t) -> $t {
                    self.mul_add(y, z)
                }
                #[inline(always)]
                fn bit(self, number: u32) -> bool {
                    self.to_bits() >> number & 1 != 0
                }
                #[inline(always)]
                fn negated_by_bit(self, bits: $t, number: u32) -> $t {
                    const SIGN: $bits = 1 << (<$bits>::BITS - 1);
                    let sign = bits.to_bits() << (<$bits>::BITS - 1 - number) & SIGN;
                    $t::from_bits(self.to_bits() ^ sign)
                }
            }
        };
    };
}

real!(
    f32,
    u32,
    23,
    127.0,
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
    6_755_399_441_055_744.0,
    0x3FE6_A09E_667F_3BCD,
    0.693_147_180_560_117_7,
    -1.723_944_452_561_483_5e-13
);

/// [`poly`] of every `step`-th coefficient from number `first` on.
#[inline(always)]
fn poly_strand<T: Real>(x: T, c: &[T], first: usize, step: usize) -> T {
    let mut k = first + (c.len() - 1 - first) / step * step;
    let mut sum = c[k];
    while k > first {
        k -= step;
        sum = sum.fma(x, c[k]);
    }
    sum
}

/// As [`poly`], its even and odd powers apart, and of many again every second one: a chain of operations
/// that wait for each other which is half or a quarter as long, for polynomials of high degree.
#[inline(always)]
pub(super) fn poly_halves<T: Real>(x: T, c: &[T]) -> T {
    const MANY: usize = 12;
    let z = x * x;
    let (even, odd) = if c.len() > MANY {
        let q = z * z;
        (
            poly_strand(q, c, 2, 4).fma(z, poly_strand(q, c, 0, 4)),
            poly_strand(q, c, 3, 4).fma(z, poly_strand(q, c, 1, 4)),
        )
    } else {
        (poly_strand(z, c, 0, 2), poly_strand(z, c, 1, 2))
    };
    odd.fma(x, even)
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
