//! The compute types of elementwise kernels and the scalar functions the standard library lacks.

use crate::base::Scalar;
use std::fmt::Debug;
use std::ops::{Add, BitAnd, BitOr, BitXor, Div, Mul, Not, Rem, Sub};

/// What every compute type can do. Integers wrap.
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
    /// Whether this is NaN.
    fn is_nan(self) -> bool;
    /// 1 for true, 0 for false.
    #[inline(always)]
    fn truth(b: bool) -> Self {
        if b { Self::ONE } else { Self::ZERO }
    }
}

/// The floating-point compute types.
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
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Sine.
    fn sin(self) -> Self;
    /// Cosine.
    fn cos(self) -> Self;
    /// Hyperbolic tangent.
    fn tanh(self) -> Self;
    /// `1 / (1 + e^-x)`, without overflow.
    fn sigmoid(self) -> Self {
        // exp of a non-positive number only, so neither branch overflows.
        let e = self.abs().neg().exp();
        if self >= Self::ZERO {
            Self::ONE / (Self::ONE + e)
        } else {
            e / (Self::ONE + e)
        }
    }
}

/// The integer compute type.
pub trait Integer:
    Compute
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
    + Not<Output = Self>
{
}

macro_rules! float {
    ($t:ty) => {
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
                self.powf(y)
            }
            #[inline(always)]
            fn is_nan(self) -> bool {
                <$t>::is_nan(self)
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
            #[inline(always)]
            fn exp(self) -> Self {
                <$t>::exp(self)
            }
            #[inline(always)]
            fn ln(self) -> Self {
                <$t>::ln(self)
            }
            #[inline(always)]
            fn sqrt(self) -> Self {
                <$t>::sqrt(self)
            }
            #[inline(always)]
            fn sin(self) -> Self {
                <$t>::sin(self)
            }
            #[inline(always)]
            fn cos(self) -> Self {
                <$t>::cos(self)
            }
            #[inline(always)]
            fn tanh(self) -> Self {
                <$t>::tanh(self)
            }
        }
    };
}

float!(f32);
float!(f64);

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
    fn is_nan(self) -> bool {
        false
    }
}

impl Integer for i64 {}
