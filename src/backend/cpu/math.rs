//! The compute types of elementwise kernels and the scalar functions the standard library lacks.

use crate::base::Scalar;
use std::fmt::Debug;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Not, Rem, Sub};
use trigonometric::Trigonometric;

mod erf;
mod erfinv;
mod exp;
mod gamma;
mod hyperbolic;
mod inverse;
mod log;
mod logaddexp;
mod pow;
mod real;
#[cfg(test)]
mod reference;
mod special;
#[cfg(test)]
mod tests;
mod trigonometric;

/// What every compute type can do. Integers wrap, and never panic.
pub trait Compute: Copy + PartialEq + PartialOrd + Debug + Default + Send + Sync + 'static {
    /// 0.
    const ZERO: Self;
    /// 1.
    const ONE: Self;
    /// The nearest value.
    fn from_scalar(s: Scalar) -> Self;
    /// `x + y`.
    fn add(self, y: Self) -> Self;
    /// `x - y`.
    fn sub(self, y: Self) -> Self;
    /// `x * y`.
    fn mul(self, y: Self) -> Self;
    /// `-x`.
    fn neg(self) -> Self;
    /// `|x|`.
    fn abs(self) -> Self;
    /// `x` to the power `y`; a negative integer power truncates (0 but for bases 1 and -1).
    fn pow(self, y: Self) -> Self;
    /// Python's `x // y`, rounding toward minus infinity; integers give 0 for `y = 0`.
    fn div_floor(self, y: Self) -> Self;
    /// `x / y` rounded toward zero; integers give 0 for `y = 0`.
    fn div_trunc(self, y: Self) -> Self;
    /// Python's `x % y`, with the sign of `y`; integers give 0 for `y = 0`.
    fn remainder(self, y: Self) -> Self;
    /// C's `fmod`, with the sign of `x`; integers give 0 for `y = 0`.
    fn fmod(self, y: Self) -> Self;
    /// Whether this is NaN.
    fn is_nan(self) -> bool;
    /// Whether this is an infinity of either sign.
    fn is_infinite(self) -> bool;
    /// 1 for true, 0 for false.
    #[inline(always)]
    fn truth(b: bool) -> Self {
        if b { Self::ONE } else { Self::ZERO }
    }
    /// -1, 0 or 1; 0 for NaN and -0, as in PyTorch.
    #[inline(always)]
    fn sign(self) -> Self {
        Self::truth(self > Self::ZERO).sub(Self::truth(self < Self::ZERO))
    }
    /// The larger value; NaN if either is.
    #[inline(always)]
    fn maximum(self, y: Self) -> Self {
        // A NaN `y` fails the comparison and is taken.
        if self > y || self.is_nan() { self } else { y }
    }
    /// The smaller value; NaN if either is.
    #[inline(always)]
    fn minimum(self, y: Self) -> Self {
        if self < y || self.is_nan() { self } else { y }
    }
    /// The larger value; the other one if either is NaN.
    #[inline(always)]
    fn fmax(self, y: Self) -> Self {
        if self >= y || y.is_nan() { self } else { y }
    }
    /// The smaller value; the other one if either is NaN.
    #[inline(always)]
    fn fmin(self, y: Self) -> Self {
        if self <= y || y.is_nan() { self } else { y }
    }
}

/// The floating-point compute types.
///
/// See NOTE [Branch-free functions].
pub trait Float:
    Compute
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Rem<Output = Self>
{
    /// The nearest value to a constant.
    fn of(x: f64) -> Self;
    /// The value as `f64`.
    fn f64(self) -> f64;
    /// `e^x`.
    fn exp(self) -> Self;
    /// `2^x`.
    fn exp2(self) -> Self;
    /// `e^x - 1`, accurate near 0.
    fn expm1(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Logarithm to base 2.
    fn log2(self) -> Self;
    /// Logarithm to base 10.
    fn log10(self) -> Self;
    /// `ln(1 + x)`, accurate near 0.
    fn log1p(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Whether [`Float::sin`], [`Float::cos`] and [`Float::tan`] are wrong for an argument, because
    /// it is so large: the next three are right then.
    fn is_far(self) -> bool;
    /// Sine of a large argument.
    fn sin_far(self) -> Self;
    /// Cosine of a large argument.
    fn cos_far(self) -> Self;
    /// Tangent of a large argument.
    fn tan_far(self) -> Self;
    /// Whether those are wrong, too: the next three are right then, but not free of branches.
    fn is_beyond(self) -> bool;
    /// Sine of a very large argument.
    fn sin_beyond(self) -> Self;
    /// Cosine of a very large argument.
    fn cos_beyond(self) -> Self;
    /// Tangent of a very large argument.
    fn tan_beyond(self) -> Self;
    /// Sine.
    fn sin(self) -> Self;
    /// Cosine.
    fn cos(self) -> Self;
    /// Tangent.
    fn tan(self) -> Self;
    /// Inverse sine.
    fn asin(self) -> Self;
    /// Inverse cosine.
    fn acos(self) -> Self;
    /// Inverse tangent.
    fn atan(self) -> Self;
    /// Hyperbolic sine.
    fn sinh(self) -> Self;
    /// Hyperbolic cosine.
    fn cosh(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// Rounds toward minus infinity.
    fn floor(self) -> Self;
    /// Rounds toward plus infinity.
    fn ceil(self) -> Self;
    /// Rounds to nearest, halves to even.
    fn round(self) -> Self;
    /// Rounds toward zero.
    fn trunc(self) -> Self;
    /// The angle of the point `(y, x)`, where `self` is the ordinate.
    fn atan2(self, y: Self) -> Self;
    /// `sqrt(x^2 + y^2)`, without overflow.
    fn hypot(self, y: Self) -> Self;
    /// `|x|` with the sign of `y`.
    fn copysign(self, y: Self) -> Self;
    /// The next representable value from `x` toward `y`.
    fn nextafter(self, y: Self) -> Self;
    /// Error function.
    fn erf(self) -> Self;
    /// `1 - erf(x)`, accurate where that is small.
    fn erfc(self) -> Self;
    /// Inverse hyperbolic sine.
    fn asinh(self) -> Self;
    /// Inverse hyperbolic cosine.
    fn acosh(self) -> Self;
    /// Inverse hyperbolic tangent.
    fn atanh(self) -> Self;
    /// Inverse error function.
    fn erfinv(self) -> Self;
    /// `ln |gamma(x)|`, right for arguments that are not negative.
    fn lgamma(self) -> Self;
    /// [`Float::lgamma`] of a negative argument.
    fn lgamma_reflected(self) -> Self;
    /// Logarithmic derivative of the gamma function, right for arguments that are not negative.
    fn digamma(self) -> Self;
    /// [`Float::digamma`] of a negative argument.
    fn digamma_reflected(self) -> Self;
    /// `1 / (1 + e^-x)`, without overflow.
    fn sigmoid(self) -> Self;
    /// `x Phi(x)`, with the distribution `Phi` of the standard normal.
    fn gelu(self) -> Self;
    /// The derivative of [`Float::gelu`].
    fn gelu_slope(self) -> Self;
    /// `ln(1 + e^x)`, without overflow.
    fn softplus(self) -> Self;
    /// `x tanh(softplus(x))`
    fn mish(self) -> Self;
    /// `ln(e^x + e^y)`, without overflow.
    fn logaddexp(self, y: Self) -> Self;
    /// `log2(2^x + 2^y)`, without overflow.
    fn logaddexp2(self, y: Self) -> Self;
    /// `sin(pi x) / (pi x)`, 1 at 0.
    fn sinc(self) -> Self;
    /// Derivative number `n` (a whole number) of `sinc`.
    fn sinc_derivative(self, n: Self) -> Self;
    /// Derivative of order `n` of [`Float::digamma`]; `n` is a non-negative integer.
    fn polygamma(self, n: Self) -> Self;
    /// Rounds to `decimals` decimal digits after the point, or before it if negative.
    fn round_decimals(self, decimals: Self) -> Self;

    /// `ln(p / (1 - p))`.
    #[inline(always)]
    fn logit(self) -> Self {
        // Near 1/2 the quotient is near 1, where its rounding error would swamp the logarithm;
        // there it is 2 atanh(2 p - 1), whose difference is exact.
        if self > Self::of(0.25) && self < Self::of(0.75) {
            let centred = self - Self::of(0.5);
            let half = (centred + centred).atanh();
            half + half
        } else {
            (self / (Self::ONE - self)).ln()
        }
    }
    /// `s = sigmoid(2 u)` and `2 u'` for `u = sqrt(2 / pi) (x + 0.044715 x^3)`: what multiplies `x`
    /// in the tanh form of gelu, and the inner derivative.
    #[inline(always)]
    fn gelu_gate(self) -> (Self, Self) {
        // 2 sqrt(2 / pi)
        let c = Self::of(std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::SQRT_2);
        let k = Self::of(0.044_715);
        let x2 = self * self;
        let s = (c * self * (Self::ONE + k * x2)).sigmoid();
        (s, c * (Self::ONE + Self::of(3.0) * k * x2))
    }
}

/// The integer compute type.
pub trait Integer:
    Compute + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self> + Not<Output = Self>
{
    /// `x << y`; 0 if `y` is negative or not less than the width, as in PyTorch.
    fn shl(self, y: Self) -> Self;
    /// `x >> y`, filling with the sign, all of it if `y` is negative or not less than the width.
    fn shr(self, y: Self) -> Self;
}

/// Functions of one argument.
macro_rules! unary {
    ($($name:ident=$f:expr,)*) => { $(
        #[inline(always)]
        fn $name(self) -> Self {
            $f(self)
        }
    )* };
}

/// Functions of two arguments.
macro_rules! binary {
    ($($name:ident=$f:expr,)*) => { $(
        #[inline(always)]
        fn $name(self, y: Self) -> Self {
            $f(self, y)
        }
    )* };
}

/// Functions computed in `f64` for both types.
macro_rules! via_f64 {
    ($t:ty: $($name:ident=$f:path,)*) => { $(
        #[inline(always)]
        fn $name(self) -> Self {
            $f(f64::from(self)) as $t
        }
    )* };
}

macro_rules! float {
    ($t:ty, {$($own:tt)*}) => {
        impl Compute for $t {
            const ZERO: Self = 0.0;
            const ONE: Self = 1.0;
            #[inline(always)]
            fn from_scalar(s: Scalar) -> Self {
                s.as_f64() as $t
            }
            #[inline(always)]
            fn add(self, y: Self) -> Self {
                self + y
            }
            #[inline(always)]
            fn sub(self, y: Self) -> Self {
                self - y
            }
            #[inline(always)]
            fn mul(self, y: Self) -> Self {
                self * y
            }
            #[inline(always)]
            fn neg(self) -> Self {
                -self
            }
            #[inline(always)]
            fn abs(self) -> Self {
                <$t>::abs(self)
            }
            #[inline(always)]
            fn pow(self, y: Self) -> Self {
                pow::pow(self, y)
            }
            #[inline(always)]
            fn div_floor(self, y: Self) -> Self {
                if y == 0.0 {
                    return self / y;
                }
                // CPython's float_floor_div and PyTorch's div_floor_floating: the quotient of
                // x - fmod(x, y) is nearly integral, so that floor cannot be one off.
                let m = self % y;
                let mut q = (self - m) / y;
                if m != 0.0 && (y < 0.0) != (m < 0.0) {
                    q -= 1.0;
                }
                if q == 0.0 {
                    return (0.0 as $t).copysign(self / y);
                }
                let f = q.floor();
                if q - f > 0.5 { f + 1.0 } else { f }
            }
            #[inline(always)]
            fn div_trunc(self, y: Self) -> Self {
                <$t>::trunc(self / y)
            }
            #[inline(always)]
            fn remainder(self, y: Self) -> Self {
                let m = self % y;
                if m != 0.0 && (y < 0.0) != (m < 0.0) { m + y } else { m }
            }
            #[inline(always)]
            fn fmod(self, y: Self) -> Self {
                self % y
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                <$t>::is_nan(self)
            }
            #[inline(always)]
            fn is_infinite(self) -> bool {
                <$t>::is_infinite(self)
            }
        }

        impl Float for $t {
            #[inline(always)]
            fn of(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn f64(self) -> f64 {
                f64::from(self)
            }
            $($own)*
            #[inline(always)]
            fn is_far(self) -> bool {
                // Of `f64`, they would be the same.
                <$t>::DIGITS < f64::DIGITS && <$t>::abs(self) > <$t>::GREATEST
            }
            #[inline(always)]
            fn is_beyond(self) -> bool {
                f64::from(self).abs() > f64::GREATEST
            }
            #[inline(always)]
            fn polygamma(self, n: Self) -> Self {
                special::polygamma(n as u32, f64::from(self)) as $t
            }
            #[inline(always)]
            fn sinc_derivative(self, n: Self) -> Self {
                special::sinc_derivative(f64::from(n), f64::from(self)) as $t
            }
            #[inline(always)]
            fn round_decimals(self, decimals: Self) -> Self {
                let p = 10f64.powi((decimals.abs() as i32).min(400)) as $t;
                if decimals >= 0.0 {
                    let scaled = self * p;
                    // An infinite product has no digits left to round.
                    if scaled.is_infinite() { self } else { scaled.round_ties_even() / p }
                } else if p.is_infinite() {
                    if self.is_infinite() { self } else { self * 0.0 }
                } else {
                    (self / p).round_ties_even() * p
                }
            }
            unary!(
                exp=exp::exp, exp2=exp::exp2, expm1=exp::expm1, sigmoid=exp::sigmoid, mish=exp::mish,
                softplus=logaddexp::softplus,
                ln=log::ln, log2=log::log2, log10=log::log10, log1p=log::log1p,
                sin=trigonometric::sin, cos=trigonometric::cos, tan=trigonometric::tan,
                asin=inverse::asin, acos=inverse::acos, atan=inverse::atan,
                sinh=hyperbolic::sinh, cosh=hyperbolic::cosh, tanh=hyperbolic::tanh,
                erf=erf::erf, erfc=erf::erfc, gelu=erf::gelu, gelu_slope=erf::gelu_slope,
                erfinv=erfinv::erfinv, lgamma=gamma::lgamma, lgamma_reflected=gamma::lgamma_reflected,
                digamma=gamma::digamma, digamma_reflected=gamma::digamma_reflected,
                asinh=hyperbolic::asinh, acosh=hyperbolic::acosh, atanh=hyperbolic::atanh,
                sqrt=<$t>::sqrt, floor=<$t>::floor, ceil=<$t>::ceil,
                round=<$t>::round_ties_even, trunc=<$t>::trunc,
            );
            binary!(
                logaddexp=logaddexp::logaddexp, logaddexp2=logaddexp::logaddexp2,
                atan2=inverse::atan2, copysign=<$t>::copysign,
            );
            via_f64!($t:
                sin_far=trigonometric::sin, cos_far=trigonometric::cos, tan_far=trigonometric::tan,
                sin_beyond=libm::sin, cos_beyond=libm::cos, tan_beyond=libm::tan, sinc=gamma::sinc,
            );
        }
    };
}

float!(f32, {
    binary!(hypot = hypot_f32, nextafter = libm::nextafterf,);
});
float!(f64, {
    binary!(hypot = libm::hypot, nextafter = libm::nextafter,);
});

/// `sqrt(x^2 + y^2)` through `f64`, which holds the squares.
#[inline(always)]
fn hypot_f32(x: f32, y: f32) -> f32 {
    let (x, y) = (f64::from(x), f64::from(y));
    let root = (x * x + y * y).sqrt();
    // An infinite side outweighs one that is not a number.
    if x.is_infinite() || y.is_infinite() {
        f32::INFINITY
    } else {
        root as f32
    }
}

impl Compute for i64 {
    const ZERO: Self = 0;
    const ONE: Self = 1;
    #[inline(always)]
    fn from_scalar(s: Scalar) -> Self {
        s.as_i64()
    }
    #[inline(always)]
    fn add(self, y: Self) -> Self {
        self.wrapping_add(y)
    }
    #[inline(always)]
    fn sub(self, y: Self) -> Self {
        self.wrapping_sub(y)
    }
    #[inline(always)]
    fn mul(self, y: Self) -> Self {
        self.wrapping_mul(y)
    }
    #[inline(always)]
    fn neg(self) -> Self {
        self.wrapping_neg()
    }
    #[inline(always)]
    fn abs(self) -> Self {
        self.wrapping_abs()
    }
    #[inline(always)]
    fn pow(self, y: Self) -> Self {
        match y {
            0.. => {
                let (mut base, mut exp, mut out) = (self, y, 1i64);
                while exp > 0 {
                    if exp & 1 == 1 {
                        out = out.wrapping_mul(base);
                    }
                    base = base.wrapping_mul(base);
                    exp >>= 1;
                }
                out
            }
            _ if self == 1 => 1,
            _ if self == -1 => 1 - 2 * (y & 1),
            _ => 0,
        }
    }
    #[inline(always)]
    fn div_floor(self, y: Self) -> Self {
        if y == 0 {
            return 0;
        }
        let q = self.wrapping_div(y);
        let m = self.wrapping_rem(y);
        if m != 0 && (m < 0) != (y < 0) {
            q - 1
        } else {
            q
        }
    }
    #[inline(always)]
    fn div_trunc(self, y: Self) -> Self {
        if y == 0 { 0 } else { self.wrapping_div(y) }
    }
    #[inline(always)]
    fn remainder(self, y: Self) -> Self {
        let m = self.fmod(y);
        if m != 0 && (m < 0) != (y < 0) {
            m + y
        } else {
            m
        }
    }
    #[inline(always)]
    fn fmod(self, y: Self) -> Self {
        if y == 0 { 0 } else { self.wrapping_rem(y) }
    }
    #[inline(always)]
    fn is_nan(self) -> bool {
        false
    }
    #[inline(always)]
    fn is_infinite(self) -> bool {
        false
    }
}

impl Integer for i64 {
    #[inline(always)]
    fn shl(self, y: Self) -> Self {
        if (0..64).contains(&y) { self << y } else { 0 }
    }
    #[inline(always)]
    fn shr(self, y: Self) -> Self {
        self >> if (0..64).contains(&y) { y } else { 63 }
    }
}
