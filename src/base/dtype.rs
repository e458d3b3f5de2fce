//! Element types and PyTorch's promotion rules.

use super::scalar::Scalar;
use half::{bf16, f16};
use std::fmt;
use std::sync::atomic::{AtomicU8, Ordering};

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum DType {
    /// One byte, 0 or 1.
    Bool,
    /// Unsigned 8-bit integer.
    U8,
    /// Signed 8-bit integer.
    I8,
    /// Signed 16-bit integer.
    I16,
    /// Signed 32-bit integer.
    I32,
    /// Signed 64-bit integer.
    I64,
    /// IEEE half precision.
    F16,
    /// bfloat16: the upper half of an `f32`.
    BF16,
    /// IEEE single precision.
    F32,
    /// IEEE double precision.
    F64,
}

/// How promotion orders element types: a higher category always wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Category {
    /// `Bool`.
    Bool,
    /// The integers.
    Int,
    /// The floating-point types.
    Float,
}

impl DType {
    /// Every element type, in the order of [`DType::index`].
    pub const ALL: [DType; 10] = [
        DType::Bool,
        DType::U8,
        DType::I8,
        DType::I16,
        DType::I32,
        DType::I64,
        DType::F16,
        DType::BF16,
        DType::F32,
        DType::F64,
    ];

    /// Position in [`DType::ALL`].
    pub fn index(self) -> usize {
        self as usize
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            DType::Bool | DType::U8 | DType::I8 => 1,
            DType::I16 | DType::F16 | DType::BF16 => 2,
            DType::I32 | DType::F32 => 4,
            DType::I64 | DType::F64 => 8,
        }
    }

    /// Bool, integer or float.
    pub fn category(self) -> Category {
        match self {
            DType::Bool => Category::Bool,
            DType::U8 | DType::I8 | DType::I16 | DType::I32 | DType::I64 => Category::Int,
            DType::F16 | DType::BF16 | DType::F32 | DType::F64 => Category::Float,
        }
    }

    /// Whether this is a floating-point type: the only ones with gradients.
    pub fn is_float(self) -> bool {
        self.category() == Category::Float
    }

    /// Whether this is an integer type (not bool).
    pub fn is_int(self) -> bool {
        self.category() == Category::Int
    }

    /// PyTorch's name: `float32`, `int64`, `bool`, ...
    pub fn name(self) -> &'static str {
        match self {
            DType::Bool => "bool",
            DType::U8 => "uint8",
            DType::I8 => "int8",
            DType::I16 => "int16",
            DType::I32 => "int32",
            DType::I64 => "int64",
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            DType::F32 => "float32",
            DType::F64 => "float64",
        }
    }

    /// The name PyTorch uses in error messages: `Float`, `Long`, ...
    pub fn scalar_type_name(self) -> &'static str {
        match self {
            DType::Bool => "Bool",
            DType::U8 => "Byte",
            DType::I8 => "Char",
            DType::I16 => "Short",
            DType::I32 => "Int",
            DType::I64 => "Long",
            DType::F16 => "Half",
            DType::BF16 => "BFloat16",
            DType::F32 => "Float",
            DType::F64 => "Double",
        }
    }

    /// The element type two tensors of types `self` and `other` compute in: the higher category,
    /// and within a category the smallest type that holds both (`u8` with `i8` gives `i16`,
    /// `f16` with `bf16` gives `f32`).
    ///
    /// ```
    /// use rustgrad::base::DType;
    /// assert_eq!(DType::F16.promote(DType::BF16), DType::F32);
    /// assert_eq!(DType::I64.promote(DType::F16), DType::F16);
    /// assert_eq!(DType::U8.promote(DType::I8), DType::I16);
    /// ```
    pub fn promote(self, other: DType) -> DType {
        if self == other {
            return self;
        }
        if self.category() != other.category() {
            return if self.category() > other.category() {
                self
            } else {
                other
            };
        }
        match (self, other) {
            (DType::F16, DType::BF16) | (DType::BF16, DType::F16) => DType::F32,
            (DType::U8, signed) | (signed, DType::U8) => {
                if signed == DType::I8 {
                    DType::I16
                } else {
                    signed
                }
            }
            _ => {
                if self.index() > other.index() {
                    self
                } else {
                    other
                }
            }
        }
    }

    /// Whether a result of type `self` may be written into a tensor of type `to`: a category may
    /// grow but not shrink (PyTorch's `can_cast`).
    pub fn can_cast(self, to: DType) -> bool {
        self.category() <= to.category()
    }

    /// The least and the greatest integer of an integer type or of bool; of a floating-point type,
    /// of `int64`.
    pub fn integers(self) -> [i64; 2] {
        match self {
            DType::Bool => [0, 1],
            DType::U8 => [0, u8::MAX.into()],
            DType::I8 => [i8::MIN.into(), i8::MAX.into()],
            DType::I16 => [i16::MIN.into(), i16::MAX.into()],
            DType::I32 => [i32::MIN.into(), i32::MAX.into()],
            _ => [i64::MIN, i64::MAX],
        }
    }

    /// The greatest finite number of a floating-point type.
    pub fn greatest(self) -> f64 {
        match self {
            DType::F16 => half::f16::MAX.to_f64(),
            DType::BF16 => half::bf16::MAX.to_f64(),
            DType::F64 => f64::MAX,
            _ => f64::from(f32::MAX),
        }
    }

    /// The type a kernel computes in for elements of this type.
    pub fn compute(self) -> DType {
        match self {
            DType::F16 | DType::BF16 | DType::F32 => DType::F32,
            DType::F64 => DType::F64,
            _ => DType::I64,
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A Rust type that tensors store.
pub trait Element: Copy + Default + PartialEq + PartialOrd + Send + Sync + 'static {
    /// The corresponding [`DType`].
    const DTYPE: DType;
    /// The nearest element to a scalar: floats truncate toward zero when stored in integers.
    fn from_scalar(s: Scalar) -> Self;
    /// The element as a scalar.
    fn to_scalar(self) -> Scalar;
}

macro_rules! element {
    ($t:ty, $d:ident, $from:expr, $to:expr) => {
        impl Element for $t {
            const DTYPE: DType = DType::$d;
            #[inline]
            fn from_scalar(s: Scalar) -> Self {
                ($from)(s)
            }
            #[inline]
            fn to_scalar(self) -> Scalar {
                ($to)(self)
            }
        }
    };
}

element!(bool, Bool, |s: Scalar| s.as_bool(), Scalar::Bool);
element!(u8, U8, |s: Scalar| s.as_i64() as u8, |x| Scalar::Int(
    i64::from(x)
));
element!(i8, I8, |s: Scalar| s.as_i64() as i8, |x| Scalar::Int(
    i64::from(x)
));
element!(i16, I16, |s: Scalar| s.as_i64() as i16, |x| Scalar::Int(
    i64::from(x)
));
element!(i32, I32, |s: Scalar| s.as_i64() as i32, |x| Scalar::Int(
    i64::from(x)
));
element!(i64, I64, |s: Scalar| s.as_i64(), Scalar::Int);
element!(
    f16,
    F16,
    |s: Scalar| f16::from_f32(s.as_f64() as f32),
    |x: f16| Scalar::Float(x.to_f64())
);
element!(
    bf16,
    BF16,
    |s: Scalar| bf16::from_f32(s.as_f64() as f32),
    |x: bf16| Scalar::Float(x.to_f64())
);
element!(f32, F32, |s: Scalar| s.as_f64() as f32, |x| Scalar::Float(
    f64::from(x)
));
element!(f64, F64, |s: Scalar| s.as_f64(), Scalar::Float);

/// Runs `$body` with `$T` bound to the Rust type of a [`DType`]; `$Bool` is what stands for bools.
#[macro_export]
macro_rules! with_dtype {
    ($dtype:expr, $T:ident => $body:expr) => {
        $crate::with_dtype!($dtype, $T, bool => $body)
    };
    ($dtype:expr, $T:ident, $Bool:ty => $body:expr) => {
        match $dtype {
            $crate::base::DType::Bool => {
                type $T = $Bool;
                $body
            }
            $crate::base::DType::U8 => {
                type $T = u8;
                $body
            }
            $crate::base::DType::I8 => {
                type $T = i8;
                $body
            }
            $crate::base::DType::I16 => {
                type $T = i16;
                $body
            }
            $crate::base::DType::I32 => {
                type $T = i32;
                $body
            }
            $crate::base::DType::I64 => {
                type $T = i64;
                $body
            }
            $crate::base::DType::F16 => {
                type $T = half::f16;
                $body
            }
            $crate::base::DType::BF16 => {
                type $T = half::bf16;
                $body
            }
            $crate::base::DType::F32 => {
                type $T = f32;
                $body
            }
            $crate::base::DType::F64 => {
                type $T = f64;
                $body
            }
        }
    };
}

static DEFAULT: AtomicU8 = AtomicU8::new(DType::F32 as u8);

/// The floating-point type of Python floats and of creation functions without `dtype`.
pub fn default_dtype() -> DType {
    DType::ALL[DEFAULT.load(Ordering::Relaxed) as usize]
}

/// Sets [`default_dtype`]. The caller has checked that it is a floating-point type.
pub fn set_default_dtype(dtype: DType) {
    DEFAULT.store(dtype as u8, Ordering::Relaxed);
}
