//! The scalar functions of the elementwise ops: one line each.
//!
//! NOTE [Functors]
//! A functor is written once, over a type `C` that is `f32`, `f64` or `i64` (the compute types);
//! storage types are loaded into and stored from blocks of `C`, so `f16` costs no second text and
//! an in-place call needs no second loop. `x`, `y`, `z` are the inputs, `p` the parameters. Truth
//! values are `C::ONE` and `C::ZERO`.

use super::cpu::math::{Compute, Float, Integer};
use crate::base::Scalar;

/// Which compute types a functor is defined for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// `f32`, `f64` and `i64`.
    Any,
    /// `f32` and `f64`.
    Float,
    /// `i64`, which integers and bools load into.
    Integer,
}

/// A block function of each compute type, `None` outside the functor's domain.
pub(crate) struct Blocks {
    pub(crate) f32: Option<Block<f32>>,
    pub(crate) f64: Option<Block<f64>>,
    pub(crate) i64: Option<Block<i64>>,
}

/// Applies a functor to equal-length blocks. The first input may be the output's own values,
/// already copied; blocks never alias.
pub(crate) type Block<C> = fn(&mut [C], &[&[C]], &[Scalar]);

macro_rules! functors {
    ($( $(#[$doc:meta])* $name:ident $domain:ident |$($arg:ident),* $(; $($p:ident),*)?| $body:expr; )*) => {
        /// A scalar function that [`super::Backend::map`] applies elementwise.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Functor { $( $(#[$doc])* $name, )* }

        impl Functor {
            /// Every functor.
            pub const ALL: &'static [Functor] = &[$(Functor::$name),*];

            /// The compute types it is defined for.
            pub fn domain(self) -> Domain {
                match self { $(Functor::$name => Domain::$domain,)* }
            }

            /// How many inputs it takes.
            pub fn arity(self) -> usize {
                match self { $(Functor::$name => [$(stringify!($arg)),*].len(),)* }
            }

            pub(crate) fn blocks(self) -> &'static Blocks {
                match self { $(
                    Functor::$name => {
                        functors!(@block $domain |$($arg),*| [$($($p),*)?] $body);
                        &BLOCKS
                    }
                )* }
            }
        }
    };
    (@block Any |$($arg:ident),*| [$($p:ident),*] $body:expr) => {
        functors!(@fn Compute |$($arg),*| [$($p),*] $body);
        static BLOCKS: Blocks = Blocks {
            f32: Some(run::<f32>), f64: Some(run::<f64>), i64: Some(run::<i64>),
        };
    };
    (@block Float |$($arg:ident),*| [$($p:ident),*] $body:expr) => {
        functors!(@fn Float |$($arg),*| [$($p),*] $body);
        static BLOCKS: Blocks = Blocks { f32: Some(run::<f32>), f64: Some(run::<f64>), i64: None };
    };
    (@block Integer |$($arg:ident),*| [$($p:ident),*] $body:expr) => {
        functors!(@fn Integer |$($arg),*| [$($p),*] $body);
        static BLOCKS: Blocks = Blocks { f32: None, f64: None, i64: Some(run::<i64>) };
    };
    (@fn $bound:ident |$($arg:ident),*| [$($p:ident),*] $body:expr) => {
        #[allow(unused_variables, unused_mut, unused_assignments)]
        fn run<C: $bound>(out: &mut [C], ins: &[&[C]], params: &[Scalar]) {
            let n = out.len();
            let mut k = 0;
            $( let $p = C::from_scalar(params[k]); k += 1; )*
            let mut k = 0;
            $( let $arg = &ins[k][..n]; k += 1; )*
            for i in 0..n {
                $( let $arg = $arg[i]; )*
                out[i] = $body;
            }
        }
    };
}

functors! {
    // Moving values.
    Copy Any |x| x;
    Where Any |c, x, y| if c != C::ZERO { x } else { y };

    // Arithmetic.
    Neg Any |x| x.neg();
    Add Any |x, y; alpha| x.add(y.mul(alpha));
    Mul Any |x, y| x.mul(y);
    Div Float |x, y| x / y;
    Exp Float |x| x.exp();
    Tanh Float |x| x.tanh();
    Sigmoid Float |x| x.sigmoid();
    Relu Any |x| if x > C::ZERO || x.is_nan() { x } else { C::ZERO };
    Log Float |x| x.ln();
    Pow Any |x, y| x.pow(y);
    Sqrt Float |x| x.sqrt();
    Abs Any |x| x.abs();
    Sin Float |x| x.sin();
    Cos Float |x| x.cos();

    // Comparisons.
    Eq Any |x, y| C::truth(x == y);
    Ne Any |x, y| C::truth(x != y);
    Lt Any |x, y| C::truth(x < y);
    Le Any |x, y| C::truth(x <= y);
    Gt Any |x, y| C::truth(x > y);
    Ge Any |x, y| C::truth(x >= y);

    // Bits.
    BitAnd Integer |x, y| x & y;
}
