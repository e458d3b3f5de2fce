//! The error function, its complement, and the normal distribution.
//!
//! With the distribution `Phi` of the standard normal, all follow from its tail
//! `2 Phi(-a) = e^(-a^2 / 2) M(a)` for `a >= 0`, where `M` (Mills' ratio, but 1 for `a = 0`) is a polynomial
//! in `t = 1 / (1 + k a)` times `t`: the form of Shepherd and Laframboise (Mathematics of Computation
//! 36, 1981, 249-253). For one `t` amid the others `2 M = t`, so that most of `2 M` is `t` itself. The
//! square is taken in two parts, since the exponential makes an absolute error relative, and what `t`
//! lost goes with the lesser one. Where `erf` is near 1, an absolute error is enough, and `erfc a` is a
//! power of 2 whose exponent is a polynomial.

use super::exp::{Exp, exp2m1_scaled, expm1_sum_parts};
use super::real::{Real, poly, poly_halves};

/// Coefficients, by Remez's algorithm on some hundred points: those of least error, rounded (for `f32` to the
/// neighbours that make the least error together). The errors are those after rounding.
pub(super) trait Erf: Exp {
    /// Up to which argument [`Erf::SMALL`] holds.
    const BOUND: Self;
    /// `erf(x) / x - 1` in powers of `x^2`: with errors of 2^-26 and 2^-56 of `erf`.
    const SMALL: &'static [Self];
    /// From here on, `erf` rounds to 1.
    const ONE_FROM: Self;
    /// `log2(erfc(a))` from [`Erf::BOUND`] to [`Erf::ONE_FROM`]: with errors of
    /// 2^-29 and 2^-56 of `erf`.
    const LOG_ERFC: &'static [Self];
    /// From here on, `erfc` rounds to 0.
    const ERFC_ZERO_FROM: Self;
    /// The `t` for which `2 M = t`: of few digits, and such that no digits are lost of the next two.
    const CENTRE: Self;
    /// `k` of the normal distribution.
    const NORMAL: Self;
    /// That of the error function: `sqrt(2)` times as much.
    const ERROR: Self;
    /// `(2 M / t - 1) / w` in powers of `w = t -` [`Erf::CENTRE`]: with errors of 2^-27 and 2^-55 of `M`.
    const MILLS: &'static [Self];
    /// From here on, `a Phi(-a)` rounds to 0.
    const GELU_ZERO_FROM: Self;
}

impl Erf for f32 {
    const BOUND: f32 = 0.9;
    const SMALL: &'static [f32] = &[
        0.128_379_15,
        -0.376_125_04,
        0.112_819_22,
        -0.026_770_493,
        0.004_998_959,
        -6.020_799_6e-4,
    ];
    const ONE_FROM: f32 = 3.95;
    const LOG_ERFC: &'static [f32] = &[
        -2.402_007e-4,
        -1.627_067_2,
        -0.918_962_7,
        -0.150_203_85,
        0.032_193_832,
        -0.004_422_513_5,
        2.859_647_5e-4,
    ];
    const ERFC_ZERO_FROM: f32 = 10.1;
    const CENTRE: f32 = 0.358_886_72;
    const NORMAL: f32 = 0.422_199_1;
    const ERROR: f32 = 0.597_079_7;
    const MILLS: &'static [f32] = &[
        1.172_409_2,
        0.773_088_04,
        -0.029_621_929,
        -0.447_514_56,
        -0.043_194_58,
        0.377_241_34,
        -0.045_647_297,
        -0.374_574_36,
        0.354_702_38,
        -0.109_191_895,
    ];
    const GELU_ZERO_FROM: f32 = 14.5;
}

impl Erf for f64 {
    const BOUND: f64 = 1.0;
    const SMALL: &'static [f64] = &[
        0.128_379_167_095_512_56,
        -0.376_126_389_031_835_43,
        0.112_837_916_709_450_06,
        -0.026_866_170_643_237_77,
        0.005_223_977_607_116_422_5,
        -0.000_854_832_597_538_969_2,
        0.000_120_552_949_048_397_07,
        -1.492_473_690_741_966e-5,
        1.644_742_470_331_736_2e-6,
        -1.620_848_380_187_170_5e-7,
        1.372_006_454_677_768_6e-8,
        -7.795_898_827_002_142e-10,
    ];
    const ONE_FROM: f64 = 6.0;
    const LOG_ERFC: &'static [f64] = &[
        -7.255_954_050_352_506e-7,
        -1.627_899_701_811_761_1,
        -0.918_482_611_198_331_1,
        -0.148_169_725_534_884_58,
        0.027_397_003_008_572_65,
        5.924_593_501_510_073e-4,
        -0.002_764_174_831_147_958,
        0.001_111_847_904_780_554,
        -1.948_662_718_375_398_4e-4,
        -2.922_298_949_833_83e-5,
        3.291_945_368_981_543e-5,
        -1.250_198_412_773_723_8e-5,
        3.080_607_459_743_949_7e-6,
        -5.384_627_244_073_082e-7,
        6.696_023_738_376_985e-8,
        -5.674_612_402_830_062e-9,
        2.949_477_987_448_159e-10,
        -7.108_376_185_130_658e-12,
    ];
    const ERFC_ZERO_FROM: f64 = 27.3;
    const CENTRE: f64 = 0.328_125;
    const NORMAL: f64 = 0.438_912_924_900_394_35;
    const ERROR: f64 = 0.620_716_611_094_981_4;
    const MILLS: &'static [f64] = &[
        1.144_244_795_629_586_7,
        0.724_034_720_432_319_3,
        -0.079_810_880_440_630_34,
        -0.469_903_644_808_106_7,
        -0.010_009_359_999_019_841,
        0.428_315_448_266_334_4,
        -0.067_133_150_275_738_34,
        -0.475_073_251_395_720_04,
        0.300_585_187_484_980_64,
        0.479_722_493_824_674_97,
        -0.768_200_584_269_021_5,
        -0.144_466_384_158_677_38,
        1.386_343_235_489_206_5,
        -1.090_962_840_802_514_3,
        -1.334_690_464_955_027_5,
        3.511_057_540_315_530_6,
        -1.664_641_140_157_550_7,
        -4.583_408_626_487_249,
        9.167_249_724_151_588,
        -4.364_320_724_945_13,
        -9.181_263_144_689_192,
        20.522_015_296_435_98,
        -20.420_515_324_990_905,
        11.794_169_381_160_671,
        -3.830_728_022_241_042,
        0.544_235_969_212_665_1,
    ];
    const GELU_ZERO_FROM: f64 = 38.6;
}

/// `x`, or a greater bound; NaN stays.
#[inline(always)]
fn up_to<T: Real>(x: T, bound: T) -> T {
    if x > bound { bound } else { x }
}

/// `2 M(a)` as `(y + low) (1 + lost s)`.
struct Mills<T> {
    y: T,
    low: T,
    lost: T,
    s: T,
}

impl<T: Erf> Mills<T> {
    /// For the `k` of a scale.
    #[inline(always)]
    fn new(a: T, k: T) -> Self {
        let d = k.fma(a, T::ONE);
        let d_low = k.fma(a, T::ONE - d);
        let t = T::ONE / d;
        let w = t - T::CENTRE;
        let h = w.fma(poly_halves(w, &T::MILLS[1..]), T::MILLS[0]);
        let tw = t * w;
        let y = tw.fma(h, t);
        Self {
            y,
            low: tw.fma(h, t - y),
            lost: (-t).fma(d_low, (-t).fma(d, T::ONE)),
            // The relative change of M for one of t: to a few hundredths, but near a = 0.
            s: T::of(0.96).fma(t, T::of(1.06)),
        }
    }

    /// `2 M(a) e^(-a^2 by)` in units of [`Exp::UNIT`], for `by` of 1 or 1/2.
    #[inline(always)]
    fn under_bell(self, a: T, by: T) -> T {
        let part = -by * a;
        let square = part * a;
        let rest = self.lost.fma(self.s, part.fma(a, -square));
        let (q, bits) = expm1_sum_parts(square, rest, T::BIAS + T::UNITS);
        (self.y + self.y.fma(q, self.low)) * T::power_of_bits(bits)
    }
}

/// `erf x`: beyond a bound, `1 - erfc x`.
#[inline(always)]
pub(super) fn erf<T: Erf>(x: T) -> T {
    let near = x.fma(poly(x * x, T::SMALL), x);
    let a = up_to(x.abs(), T::ONE_FROM);
    let (q, p) = exp2m1_scaled(poly_halves(a, T::LOG_ERFC), T::ZERO);
    let far = (-p).fma(q, T::ONE - p).copysign(x);
    if a > T::BOUND { far } else { near }
}

/// `erfc x`, which is `2 - erfc(-x)` for negative `x`.
#[inline(always)]
pub(super) fn erfc<T: Erf>(x: T) -> T {
    let a = up_to(x.abs(), T::ERFC_ZERO_FROM);
    let tail = Mills::new(a, T::ERROR).under_bell(a, T::ONE) * (T::of(0.5) * T::UNIT);
    if x < T::ZERO { T::of(2.0) - tail } else { tail }
}

/// `x Phi(x) = max(x, 0) - a Phi(-a)` for `a = |x|`.
#[inline(always)]
pub(super) fn gelu<T: Erf>(x: T) -> T {
    let a = up_to(x.abs(), T::GELU_ZERO_FROM);
    let m = Mills::new(a, T::NORMAL);
    let (y, lost) = T::product(a, m.y);
    let low = a.fma(m.low, lost);
    let below = Mills { y, low, ..m }.under_bell(a, T::of(0.5));
    // Of minus infinity, NaN.
    let rectified = if x < T::ZERO { x * T::ZERO } else { x };
    below.fma(T::of(-0.25) * T::UNIT, rectified)
}

/// The derivative of [`gelu`]: `Phi(x) + x phi(x)`, which is
/// `Phi(-a) - a phi(a) = e^(-a^2 / 2) (M(a) / 2 - a phi(0))` for negative `x = -a`, and 1 less that for
/// positive `x = a`.
#[inline(always)]
pub(super) fn gelu_slope<T: Erf>(x: T) -> T {
    // Four times that of the standard normal at 0.
    const DENSITY: f64 = 1.595_769_121_605_730_7;
    let a = up_to(x.abs(), T::GELU_ZERO_FROM);
    let m = Mills::new(a, T::NORMAL);
    let y = a.fma(T::of(-DENSITY), m.y);
    let low = m.y.fma(m.lost * m.s, m.low);
    let lost = T::ZERO;
    let below = Mills { y, low, lost, ..m }.under_bell(a, T::of(0.5)) * (T::of(0.25) * T::UNIT);
    if x < T::ZERO { below } else { T::ONE - below }
}
