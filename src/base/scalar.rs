//! A number without a tensor around it.

use super::dtype::{DType, default_dtype};

/// A Python number (or an element read out of a tensor). It takes part in promotion by category
/// only: `f16_tensor * 2.5` stays `f16`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scalar {
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
}

impl Scalar {
    /// The value as `f64`.
    #[inline]
    pub fn as_f64(self) -> f64 {
        match self {
            Scalar::Bool(b) => f64::from(u8::from(b)),
            Scalar::Int(i) => i as f64,
            Scalar::Float(x) => x,
        }
    }

    /// The value as `i64`; floats truncate toward zero and saturate.
    #[inline]
    pub fn as_i64(self) -> i64 {
        match self {
            Scalar::Bool(b) => i64::from(b),
            Scalar::Int(i) => i,
            Scalar::Float(x) => x as i64,
        }
    }

    /// Whether the value is not zero.
    #[inline]
    pub fn as_bool(self) -> bool {
        match self {
            Scalar::Bool(b) => b,
            Scalar::Int(i) => i != 0,
            Scalar::Float(x) => x != 0.0,
        }
    }

    /// The nearest number that a 16-bit float type holds; itself for other types.
    pub fn rounded(self, dtype: DType) -> Scalar {
        match dtype {
            DType::F16 => Scalar::Float(half::f16::from_f64(self.as_f64()).to_f64()),
            DType::BF16 => Scalar::Float(half::bf16::from_f64(self.as_f64()).to_f64()),
            _ => self,
        }
    }

    /// The element type of a tensor made from this number alone.
    pub fn dtype(self) -> DType {
        match self {
            Scalar::Bool(_) => DType::Bool,
            Scalar::Int(_) => DType::I64,
            Scalar::Float(_) => default_dtype(),
        }
    }
}

impl From<f64> for Scalar {
    fn from(x: f64) -> Self {
        Scalar::Float(x)
    }
}

impl From<i64> for Scalar {
    fn from(x: i64) -> Self {
        Scalar::Int(x)
    }
}

impl From<bool> for Scalar {
    fn from(x: bool) -> Self {
        Scalar::Bool(x)
    }
}
