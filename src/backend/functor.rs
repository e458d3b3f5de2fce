//! The scalar functions of the elementwise ops: one line each.
//!
//! NOTE [Functors]
//! A functor is written once, over a type `C` that is `f32`, `f64` or `i64` (the compute types);
//! storage types are loaded into and stored from blocks of `C`, so `f16` costs no second text and
//! an in-place call needs no second loop. `x`, `y`, `z` are the inputs, `p` the parameters. Truth
//! values are `C::ONE` and `C::ZERO`. `=> unless rare, slow` replaces results by others where that is
//! rare: in a pass of its own, so that the loop itself has no branches; there may be several.
//! `=> by number` gives loops of their own to an input that is one number for a whole row: for
//! functors so quick that writing the number out would be seen.

use super::cpu::isa::versions;
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

/// Applies a functor to rows of so many elements: those of the output, which lie one after the other,
/// and as many of each input. The first input may be the output's own values, already copied; blocks
/// never alias.
pub(crate) type Block<C> = fn(&mut [C], usize, &[Rows<C>], &[Scalar]);

/// The rows of an input, or one number for each row if the functor
/// [takes them](Functor::takes_numbers).
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a, C> {
    /// From the first element of the first row to the last one of the last row.
    pub(crate) elements: &'a [C],
    /// Elements of a row; 1 if it stands for a row of one number.
    pub(crate) width: usize,
    /// From one row to the next.
    pub(crate) step: usize,
}

impl<'a, C> Rows<'a, C> {
    /// A single row.
    #[inline(always)]
    pub(crate) fn one(elements: &'a [C]) -> Self {
        Self {
            elements,
            width: elements.len(),
            step: 0,
        }
    }

    /// Row number `i`.
    #[inline(always)]
    pub(crate) fn row(&self, i: usize) -> &'a [C] {
        &self.elements[i * self.step..][..self.width]
    }
}

/// How many elements of a row are written before the others, so that these begin with a cache line:
/// a vector that lies across two lines takes twice as long. 0 for rows too short to gain by it.
#[inline(always)]
fn ahead_of_line<T>(row: &[T]) -> usize {
    const LINE: usize = 64;
    if size_of_val(row) < 16 * LINE {
        return 0;
    }
    row.as_ptr().align_offset(LINE)
}

/// So many elements another pass finds in the first cache.
const BLOCK: usize = 1024;

/// The rows of an output in the pieces that loops run over: see [`ahead_of_line`].
struct Pieces<'a, C> {
    left: &'a mut [C],
    /// Elements of a row.
    width: usize,
    /// The most elements of a piece.
    most: usize,
    row: usize,
    /// Elements of the row that have passed.
    passed: usize,
}

impl<'a, C> Pieces<'a, C> {
    #[inline(always)]
    fn new(out: &'a mut [C], width: usize, most: usize) -> Self {
        Self {
            left: out,
            width,
            most,
            row: 0,
            passed: 0,
        }
    }
}

impl<'a, C> Iterator for Pieces<'a, C> {
    /// The number of the row, where in the row the piece starts, and the piece.
    type Item = (usize, usize, &'a mut [C]);

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        if self.left.is_empty() {
            return None;
        }
        let n = self.width - self.passed;
        let ahead = ahead_of_line(&self.left[..n]);
        let n = if ahead == 0 { n.min(self.most) } else { ahead };
        let (piece, left) = std::mem::take(&mut self.left).split_at_mut(n);
        let item = (self.row, self.passed, piece);
        self.left = left;
        self.passed += n;
        if self.passed == self.width {
            (self.row, self.passed) = (self.row + 1, 0);
        }
        Some(item)
    }
}

macro_rules! functors {
    ($(
        $(#[$doc:meta])*
        $name:ident $domain:ident |$($arg:ident),* $(; $($p:ident),*)?| $body:expr
            $(=> unless $rare:expr, $slow:expr)* $(=> by $number:ident)?;
    )*) => {
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

            /// How many parameters it takes.
            pub fn params(self) -> usize {
                match self { $(Functor::$name => {
                    const PARAMS: &[&str] = &[$($(stringify!($p)),*)?];
                    PARAMS.len()
                })* }
            }

            /// About how many nanoseconds an element takes, where memory does not hold it up.
            pub(crate) fn cost(self) -> f64 {
                use Functor::*;
                match self {
                    Copy | Where | MaskedFill | Neg | Abs | Sign | Square | Cube | Add | Sub | Mul
                    | Div | MulOrZero | DivOrZero | MulCotangents | Addcmul | Addcdiv | Lerp
                    | Reciprocal | Sqrt | Relu | LeakyRelu | Prelu | Hardshrink | Softshrink | Threshold
                    | ThresholdBackward | LeakyReluBackward | PreluBackward | ShrinkBackward | SigmoidBackward | TanhBackward | Floor | Ceil | Round
                    | Trunc | Clamp | ClampMin | ClampMax | ClampBackward | RoundedCorner | Maximum | Minimum | Eq
                    | Ne | Lt | Le | Gt | Ge | LogicalNot | LogicalAnd | LogicalOr | LogicalXor
                    | BitNot | BitAnd | BitOr | BitXor => 0.15,
                    _ => 0.4,
                }
            }

            /// Whether a slice of length 1 may stand for a row of one number.
            pub(crate) fn takes_numbers(self) -> bool {
                match self { $(Functor::$name => {
                    const WAYS: &[&str] = &[$(stringify!($number))?];
                    !WAYS.is_empty()
                })* }
            }

            pub(crate) fn blocks(self) -> &'static Blocks {
                match self { $(
                    Functor::$name => {
                        functors!(
                            @block $domain |$($arg),*| ($($arg),*) [$($($p),*)?]
                            { $body } { $($rare, $slow;)* } { $($number)? }
                        );
                        &BLOCKS
                    }
                )* }
            }
        }
    };
    (@block Any $($functor:tt)*) => {
        functors!(@fn Compute $($functor)*);
        static BLOCKS: Blocks = Blocks {
            f32: Some(run::<f32>), f64: Some(run::<f64>), i64: Some(run::<i64>),
        };
    };
    (@block Float $($functor:tt)*) => {
        functors!(@fn Float $($functor)*);
        static BLOCKS: Blocks = Blocks { f32: Some(run::<f32>), f64: Some(run::<f64>), i64: None };
    };
    (@block Integer $($functor:tt)*) => {
        functors!(@fn Integer $($functor)*);
        static BLOCKS: Blocks = Blocks { f32: None, f64: None, i64: Some(run::<i64>) };
    };
    (@fn $bound:ident |$($arg:ident),*| $args:tt [$($p:ident),*]
        { $body:expr } { $($rare:expr, $slow:expr;)* } {}) => {
        #[allow(unused_variables, unused_mut, unused_assignments)]
        #[inline(always)]
        fn body<C: $bound>(out: &mut [C], n: usize, ins: &[Rows<C>], params: &[Scalar]) {
            let mut k = 0;
            $( let $p = C::from_scalar(params[k]); k += 1; )*
            const PASSES: &[&str] = &[$(stringify!($rare)),*];
            let most = if PASSES.is_empty() { usize::MAX } else { BLOCK };
            for (row, at, out) in Pieces::new(out, n, most) {
                let n = out.len();
                let mut k = 0;
                $( let $arg = &ins[k].row(row)[at..][..n]; k += 1; )*
                for i in 0..n {
                    $( let $arg = $arg[i]; )*
                    out[i] = $body;
                }
                $( functors!(@pass $args n out { $rare } { $slow }); )*
            }
        }
        versions! {
            fn run<C: $bound>(out: &mut [C], n: usize, ins: &[Rows<C>], params: &[Scalar]) = body;
        }
    };
    (@pass ($($arg:ident),*) $n:ident $out:ident { $rare:expr } { $slow:expr }) => {
        let mut any = false;
        for i in 0..$n {
            $( let $arg = $arg[i]; )*
            any |= $rare;
        }
        for i in 0..if any { $n } else { 0 } {
            $( let $arg = $arg[i]; )*
            if $rare {
                $out[i] = $slow;
            }
        }
    };
    (@fn $bound:ident |$x:ident, $y:ident| $args:tt [$($p:ident),*] { $body:expr } {} { number }) => {
        #[allow(unused_mut, unused_variables, unused_assignments)]
        #[inline(always)]
        fn body<C: $bound>(out: &mut [C], n: usize, ins: &[Rows<C>], params: &[Scalar]) {
            let mut k = 0;
            $( let $p = C::from_scalar(params[k]); k += 1; )*
            let (x, y) = (ins[0], ins[1]);
            let pieces = Pieces::new(out, n, usize::MAX);
            match (x.width, y.width) {
                (1, 1) => for (row, _, out) in pieces {
                    let ($x, $y) = (x.row(row)[0], y.row(row)[0]);
                    out.fill($body);
                },
                (_, 1) => for (row, at, out) in pieces {
                    let (x, $y) = (&x.row(row)[at..][..out.len()], y.row(row)[0]);
                    for i in 0..out.len() {
                        let $x = x[i];
                        out[i] = $body;
                    }
                },
                (1, _) => for (row, at, out) in pieces {
                    let ($x, y) = (x.row(row)[0], &y.row(row)[at..][..out.len()]);
                    for i in 0..out.len() {
                        let $y = y[i];
                        out[i] = $body;
                    }
                },
                _ => for (row, at, out) in pieces {
                    let n = out.len();
                    let (x, y) = (&x.row(row)[at..][..n], &y.row(row)[at..][..n]);
                    for i in 0..n {
                        let ($x, $y) = (x[i], y[i]);
                        out[i] = $body;
                    }
                },
            }
        }
        versions! {
            fn run<C: $bound>(out: &mut [C], n: usize, ins: &[Rows<C>], params: &[Scalar]) = body;
        }
    };
}

functors! {
    // Moving values.
    Copy Any |x| x;
    Where Any |c, x, y| if c != C::ZERO { x } else { y };
    MaskedFill Any |x, mask, value| if mask != C::ZERO { value } else { x };

    // Arithmetic.
    Neg Any |x| x.neg();
    Abs Any |x| x.abs();
    // PyTorch's convention: 0 for NaN.
    Sign Any |x| x.sign();
    Square Any |x| x.mul(x);
    Cube Any |x| x.mul(x).mul(x);
    Add Any |x, y; alpha| x.add(y.mul(alpha)) => by number;
    Sub Any |x, y; alpha| x.sub(y.mul(alpha)) => by number;
    Mul Any |x, y| x.mul(y) => by number;
    Div Float |x, y| x / y => by number;
    // A zero cotangent stays zero, whatever the slope; a product of two, if either is zero.
    MulOrZero Float |g, slope| if g == C::ZERO { g } else { g * slope } => by number;
    DivOrZero Float |g, x| if g == C::ZERO { g } else { g / x } => by number;
    MulCotangents Float |g, h| if g == C::ZERO || h == C::ZERO { C::ZERO } else { g * h };
    DivFloor Any |x, y| x.div_floor(y);
    DivTrunc Any |x, y| x.div_trunc(y);
    Remainder Any |x, y| x.remainder(y);
    Fmod Any |x, y| x.fmod(y);
    Pow Any |x, y| x.pow(y);
    Reciprocal Float |x| C::ONE / x;
    Sqrt Float |x| x.sqrt();
    Rsqrt Float |x| C::ONE / x.sqrt();
    Hypot Float |x, y| x.hypot(y);
    // x + w (y - x), in the form that is exact at the nearer end.
    Lerp Float |x, y, w| {
        if w.abs() < C::of(0.5) { x + w * (y - x) } else { y - (y - x) * (C::ONE - w) }
    };
    Addcmul Any |x, y, z; value| x.add(value.mul(y).mul(z));
    Addcdiv Float |x, y, z; value| x + value * y / z;

    // Exponentials and logarithms.
    Exp Float |x| x.exp();
    Exp2 Float |x| x.exp2();
    Expm1 Float |x| x.expm1();
    Log Float |x| x.ln();
    Log2 Float |x| x.log2();
    Log10 Float |x| x.log10();
    Log1p Float |x| x.log1p();
    Logaddexp Float |x, y| x.logaddexp(y);
    Logaddexp2 Float |x, y| x.logaddexp2(y);
    // x ln y, and 0 for x = 0 unless y is NaN.
    Xlogy Float |x, y| {
        if x == C::ZERO && !y.is_nan() { C::ZERO } else { x * y.ln() }
    };

    // Trigonometric and hyperbolic functions.
    Sin Float |x| x.sin() => unless x.is_far(), x.sin_far() => unless x.is_beyond(), x.sin_beyond();
    Cos Float |x| x.cos() => unless x.is_far(), x.cos_far() => unless x.is_beyond(), x.cos_beyond();
    Tan Float |x| x.tan() => unless x.is_far(), x.tan_far() => unless x.is_beyond(), x.tan_beyond();
    Asin Float |x| x.asin();
    Acos Float |x| x.acos();
    Atan Float |x| x.atan();
    Atan2 Float |x, y| x.atan2(y);
    Sinh Float |x| x.sinh();
    Cosh Float |x| x.cosh();
    Tanh Float |x| x.tanh();
    Asinh Float |x| x.asinh();
    Acosh Float |x| x.acosh();
    Atanh Float |x| x.atanh();
    // sin(pi x) / (pi x)
    Sinc Float |x| x.sinc();
    SincDerivative Float |x; n| x.sinc_derivative(n);

    // Special functions.
    Erf Float |x| x.erf();
    Erfc Float |x| x.erfc();
    Erfinv Float |x| x.erfinv();
    Lgamma Float |x| x.lgamma() => unless x < C::ZERO, x.lgamma_reflected();
    Digamma Float |x| x.digamma() => unless x < C::ZERO, x.digamma_reflected();
    Polygamma Float |x; n| x.polygamma(n);

    // Activations.
    Sigmoid Float |x| x.sigmoid();
    // ln(x / (1 - x))
    Logit Float |x| x.logit();
    // -ln(1 + e^-x)
    LogSigmoid Float |x| x.neg().softplus().neg();
    // ln(1 + e^(beta x)) / beta, and x where beta x > threshold.
    Softplus Float |x; beta, threshold| {
        if x * beta > threshold { x } else { (x * beta).softplus() / beta }
    };
    // -0 stays -0, and NaN stays NaN.
    Relu Any |x| if x < C::ZERO { C::ZERO } else { x };
    LeakyRelu Float |x; slope| if x > C::ZERO { x } else { x * slope };
    Prelu Float |x, slope| if x > C::ZERO { x } else { x * slope };
    // 0 up to a distance from 0, from which on x is kept, or moved toward 0 by as much.
    Hardshrink Float |x; lambda| if x.abs() <= lambda { C::ZERO } else { x };
    Softshrink Float |x; lambda| x - x.maximum(lambda.neg()).minimum(lambda);
    Threshold Any |x; threshold, value| if x <= threshold { value } else { x };
    // elu(alpha): scale = input_scale = 1; celu(alpha): input_scale = 1 / alpha; selu: its two
    // constants as alpha and scale.
    Elu Float |x; alpha, scale, input_scale| {
        if x > C::ZERO { scale * x } else { scale * alpha * (x * input_scale).expm1() }
    };
    // x Phi(x)
    Gelu Float |x| x.gelu();
    // x (1 + tanh u) / 2 = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)
    GeluTanh Float |x| x * x.gelu_gate().0;
    Silu Float |x| x * x.sigmoid();
    Mish Float |x| x.mish();
    // x clamp(x + 3, 0, 6) / 6
    Hardswish Float |x| {
        x * (x + C::of(3.0)).maximum(C::ZERO).minimum(C::of(6.0)) / C::of(6.0)
    };
    Hardsigmoid Float |x| {
        (x + C::of(3.0)).maximum(C::ZERO).minimum(C::of(6.0)) / C::of(6.0)
    };
    Softsign Float |x| x / (C::ONE + x.abs());

    // First derivatives that are cheaper or safer in one piece; g is the cotangent.
    SigmoidBackward Float |g, y| g * (C::ONE - y) * y;
    TanhBackward Float |g, y| g * (C::ONE - y * y);
    // g (Phi(x) + x phi(x))
    GeluBackward Float |g, x| g * x.gelu_slope();
    // With s = sigmoid(2 u): s + x s (1 - s) 2 u'. Where s (1 - s) has rounded to 0, u' may be
    // infinite.
    GeluTanhBackward Float |g, x| {
        let (s, du) = x.gelu_gate();
        let t = s * (C::ONE - s);
        if t == C::ZERO { g * s } else { g * (s + x * t * du) }
    };
    // s (1 + x (1 - s)), s = sigmoid(x)
    SiluBackward Float |g, x| {
        let s = x.sigmoid();
        g * (s * (C::ONE + x * (C::ONE - s)))
    };
    // g where x > threshold; also where x is NaN, as in PyTorch.
    ThresholdBackward Any |g, x; threshold| if x <= threshold { C::ZERO } else { g };
    LeakyReluBackward Float |g, x; slope| if x > C::ZERO { g } else { g * slope };
    PreluBackward Float |g, x, slope| if x > C::ZERO { g } else { g * slope };
    ShrinkBackward Float |g, x; lambda| if x.abs() <= lambda { C::ZERO } else { g };
    EluBackward Float |g, x; alpha, scale, input_scale| {
        if x > C::ZERO {
            g * scale
        } else {
            g * (scale * alpha * input_scale * (x * input_scale).exp())
        }
    };
    // sigmoid(beta x), and 1 where beta x > threshold
    SoftplusBackward Float |g, x; beta, threshold| {
        if x * beta > threshold { g } else { g * (x * beta).sigmoid() }
    };
    // t + x s (1 - t^2), t = tanh(softplus(x)), s = sigmoid(x)
    MishBackward Float |g, x| {
        let t = x.softplus().tanh();
        g * (t + x * x.sigmoid() * (C::ONE - t * t))
    };
    // 0 up to -3, 1 from 3 on, x / 3 + 1 / 2 between
    HardswishBackward Float |g, x| {
        if x <= C::of(-3.0) {
            C::ZERO
        } else if x < C::of(3.0) {
            g * (x / C::of(3.0) + C::of(0.5))
        } else {
            g
        }
    };
    // slope g strictly inside the bounds
    HardtanhBackward Float |g, x; lo, hi, slope| {
        if x > lo && x < hi { g * slope } else { C::ZERO }
    };
    // g inside the bounds, ends included
    ClampBackward Float |g, x; lo, hi| if x >= lo && x <= hi { g } else { C::ZERO };
    // All of g where x > y or either is NaN, half where they are equal.
    MaximumBackward Float |g, x, y| {
        if x == y {
            g * C::of(0.5)
        } else if x < y {
            C::ZERO
        } else {
            g
        }
    };

    // factor c (d - c / 2) with d = x - y and c = d limited to [-knee, knee]: a parabola, and lines
    // beyond the knees.
    RoundedCorner Float |x, y; knee, factor| {
        let d = x - y;
        let c = d.maximum(knee.neg()).minimum(knee);
        factor * (c * (d - C::of(0.5) * c))
    };

    // Rounding and limits.
    Floor Float |x| x.floor();
    Ceil Float |x| x.ceil();
    // Halves to even.
    Round Float |x| x.round();
    RoundDecimals Float |x; decimals| x.round_decimals(decimals);
    Trunc Float |x| x.trunc();
    Frac Float |x| x - x.trunc();
    NanToNum Float |x; nan, posinf, neginf| {
        if x.is_nan() {
            nan
        } else if x.is_infinite() {
            if x > C::ZERO { posinf } else { neginf }
        } else {
            x
        }
    };
    // hi where lo > hi, and NaN where any of the three is.
    Clamp Any |x; lo, hi| x.maximum(lo).minimum(hi);
    ClampBetween Any |x, lo, hi| x.maximum(lo).minimum(hi);
    ClampMin Any |x; lo| x.maximum(lo);
    ClampMax Any |x; hi| x.minimum(hi);
    Maximum Any |x, y| x.maximum(y) => by number;
    Minimum Any |x, y| x.minimum(y) => by number;
    Fmax Any |x, y| x.fmax(y);
    Fmin Any |x, y| x.fmin(y);
    Copysign Float |x, y| x.copysign(y);
    Nextafter Float |x, y| x.nextafter(y);
    // y at x = 0; 0 for NaN, as in PyTorch.
    Heaviside Any |x, y| if x == C::ZERO { y } else { C::truth(x > C::ZERO) };

    // Truth values.
    IsNan Any |x| C::truth(x.is_nan());
    IsInf Any |x| C::truth(x.is_infinite());
    IsPosInf Any |x| C::truth(x.is_infinite() && x > C::ZERO);
    IsNegInf Any |x| C::truth(x.is_infinite() && x < C::ZERO);
    IsFinite Any |x| C::truth(!x.is_infinite() && !x.is_nan());
    Eq Any |x, y| C::truth(x == y) => by number;
    Ne Any |x, y| C::truth(x != y) => by number;
    Lt Any |x, y| C::truth(x < y) => by number;
    Le Any |x, y| C::truth(x <= y) => by number;
    Gt Any |x, y| C::truth(x > y) => by number;
    Ge Any |x, y| C::truth(x >= y) => by number;
    LogicalNot Any |x| C::truth(x == C::ZERO);
    LogicalAnd Any |x, y| C::truth((x != C::ZERO) & (y != C::ZERO));
    LogicalOr Any |x, y| C::truth((x != C::ZERO) | (y != C::ZERO));
    LogicalXor Any |x, y| C::truth((x != C::ZERO) != (y != C::ZERO));

    // Bits. The caller turns `~bool` into LogicalNot.
    BitNot Integer |x| !x;
    BitAnd Integer |x, y| x & y;
    BitOr Integer |x, y| x | y;
    BitXor Integer |x, y| x ^ y;
    Shl Integer |x, y| x.shl(y);
    Shr Integer |x, y| x.shr(y);
}
