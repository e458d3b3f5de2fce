//! The logarithm of the gamma function, its derivative, and `sinc`.
//!
//! From 1 to 5/2, the first two are their zeros times a polynomial; from there on, Stirling's
//! formula with a polynomial in `1 / x^2` in place of its divergent series. One step of the
//! recurrence leads there from 0 to 1, and reflection from negative arguments, which are rare enough
//! to be left to functions of their own. Sums that cancel are carried in two parts. Everything is
//! computed in `f64`, for `f32` with shorter polynomials.
//!
//! NOTE [Gamma near its zeros]
//! The zeros for positive arguments count as all other values do: errors are relative. Those for
//! negative ones, one or two between neighbouring poles, are no numbers of either type, and what is
//! left there of a difference of logarithms or of cotangent and digamma has an absolute error of a
//! few units in the last place of its terms. `f32` has digits to spare.

use super::log::ln_parts;
use super::real::{Real, poly, poly_parts, times};
use std::f64::consts::PI;

/// Coefficients of the functions.
pub(super) trait Gamma: Real {
    /// `ln gamma(y) / ((y - 1) (y - 2))` in powers of `y - 7/4`, from 1 to 5/2: with errors of
    /// 2^-28 and 2^-57.
    const LGAMMA_NEAR: &'static [f64];
    /// `(ln gamma(z) - (z - 1/2) ln z + z - ln(2 pi) / 2) z` in powers of `1 / z^2`, from 5/2 on:
    /// with errors of 2^-29 and 2^-52.
    const LGAMMA_FAR: &'static [f64];
    /// `digamma(y) / (y - y0)`, where `y0` is the zero, in powers of `y - 7/4`, from 1 to 5/2: with
    /// errors of 2^-30 and 2^-58.
    const DIGAMMA_NEAR: &'static [f64];
    /// `(ln z - 1 / (2 z) - digamma(z)) z^2` in powers of `1 / z^2`, from 5/2 on: with errors of
    /// 2^-26 and 2^-50.
    const DIGAMMA_FAR: &'static [f64];
}

impl Gamma for f32 {
    const LGAMMA_NEAR: &'static [f64] = &[
        0.450_139_311_025_569_87,
        -0.119_481_586_043_800_38,
        0.044_520_585_597_185_01,
        -0.019_054_032_085_593_243,
        0.008_773_533_434_973_042,
        -0.004_224_672_121_582_61,
        0.002_116_536_615_885_350_6,
        -0.001_071_831_706_422_582_6,
        0.000_476_143_687_765_462,
        -0.000_246_324_867_125_503_7,
        0.000_246_904_429_448_790_65,
        -0.000_131_177_741_456_163_73,
    ];
    const LGAMMA_FAR: &'static [f64] = &[
        0.083_333_333_182_506_94,
        -0.002_777_730_267_917_978,
        0.000_791_175_167_763_883_5,
        -0.000_547_708_554_654_033_6,
        0.000_422_516_787_138_541_3,
    ];
    const DIGAMMA_NEAR: &'static [f64] = &[
        0.858_183_217_799_130_8,
        -0.326_254_628_252_518_44,
        0.157_119_996_349_532_3,
        -0.082_285_519_508_037_74,
        0.044_802_950_576_999_026,
        -0.024_891_931_681_434_93,
        0.013_951_296_113_447_314,
        -0.007_890_763_418_979_655,
        0.004_661_207_718_682_512,
        -0.002_653_466_694_525_442,
        0.001_041_635_915_239_984_2,
        -0.000_593_975_043_432_052_1,
        0.000_947_982_404_705_342_1,
        -0.000_541_486_076_927_641,
    ];
    const DIGAMMA_FAR: &'static [f64] = &[
        0.083_333_331_895_476_08,
        -0.008_332_879_801_948_714,
        0.003_944_458_373_585_603,
        -0.003_702_698_671_611_221,
        0.003_338_898_932_907_671_6,
    ];
}

impl Gamma for f64 {
    const LGAMMA_NEAR: &'static [f64] = &[
        0.450_139_312_109_256_3,
        -0.119_481_586_625_242_68,
        0.044_520_447_198_509_644,
        -0.019_053_957_830_260_832,
        0.008_776_370_425_257_302,
        -0.004_226_194_125_189_418,
        0.002_095_533_879_923_240_7,
        -0.001_060_566_093_798_433_4,
        0.000_544_896_990_721_274_3,
        -0.000_283_190_360_378_424_05,
        0.000_148_516_761_260_394_2,
        -7.846_405_039_294_5e-5,
        4.170_547_456_941_329e-5,
        -2.226_821_449_897_537e-5,
        1.194_925_036_645_649e-5,
        -6.487_859_797_094_674e-6,
        3.507_199_093_281_246_8e-6,
        -1.767_643_758_278_18e-6,
        9.597_109_616_498_142e-7,
        -7.562_612_463_459_416e-7,
        4.142_761_109_248_788e-7,
        3.404_324_894_896_923e-8,
        -1.956_146_257_460_424_2e-8,
        -1.577_723_410_210_679e-7,
        8.702_854_149_462_274e-8,
    ];
    const LGAMMA_FAR: &'static [f64] = &[
        0.083_333_333_333_333_33,
        -0.002_777_777_777_769_307_2,
        0.000_793_650_790_142_904,
        -0.000_595_237_513_552_076_9,
        0.000_841_699_517_911_848_6,
        -0.001_914_745_147_701_519_4,
        0.006_309_103_536_112_234,
        -0.026_921_312_998_235_08,
        0.127_988_621_762_721_94,
        -0.576_189_107_339_001_2,
        2.136_362_544_544_643_7,
        -5.775_768_193_222_592,
        9.831_640_759_734_448,
        -7.799_039_484_906_417,
    ];
    const DIGAMMA_NEAR: &'static [f64] = &[
        0.858_183_217_126_299_5,
        -0.326_254_627_868_105_8,
        0.157_120_113_352_042_5,
        -0.082_285_586_355_758_21,
        0.044_799_654_452_774_916,
        -0.024_890_048_490_209_468,
        0.013_985_786_184_791_904,
        -0.007_910_468_743_092_616,
        0.004_491_813_674_871_815,
        -0.002_556_687_022_444_161,
        0.001_457_375_253_900_328_4,
        -0.000_831_492_254_800_091_5,
        0.000_474_675_122_805_925_56,
        -0.000_271_122_018_872_628_66,
        0.000_154_866_360_375_791_58,
        -8.825_337_668_837_312e-5,
        5.042_255_206_575_745e-5,
        -2.953_393_939_750_696_7e-5,
        1.687_548_920_887_535_8e-5,
        -7.986_967_288_663_832e-6,
        4.563_843_326_104_930_5e-6,
        -5.187_036_209_674_536e-6,
        2.964_002_015_923_038e-6,
        9.160_503_487_595_705e-7,
        -5.234_593_572_155_203e-7,
        -1.247_403_485_022_778e-6,
        7.128_014_565_586_763e-7,
    ];
    const DIGAMMA_FAR: &'static [f64] = &[
        0.083_333_333_333_333_31,
        -0.008_333_333_333_291_002,
        0.003_968_253_948_113_322,
        -0.004_166_662_822_086_599,
        0.007_575_365_827_440_767,
        -0.021_068_167_832_644_653,
        0.082_289_020_020_826_64,
        -0.411_423_505_083_528_4,
        2.317_034_687_147_482_5,
        -12.733_161_408_751_57,
        60.328_144_935_974_24,
        -223.199_619_966_191_02,
        586.357_810_535_773_5,
        -958.326_104_404_722_1,
        726.592_316_185_039_4,
    ];
}

/// `sin(pi r) / pi`, in two parts, for `|r| <= 1/2`.
#[inline(always)]
fn sin_pi(r: f64) -> (f64, f64) {
    const SIN: [f64; 10] = series(1);
    let z = r * r;
    f64::sum_ordered(r, r * z * poly(z, &SIN))
}

/// `cos(pi r)`, likewise.
#[inline(always)]
fn cos_pi(r: f64) -> (f64, f64) {
    const COS: [f64; 10] = series(0);
    let z = r * r;
    f64::sum_ordered(1.0, z * poly(z, &COS))
}

/// `(-1)^k pi^(2k) / (2k + odd)!` from `k = 1` on: what the power series of sine, over its
/// argument, and of cosine have after 1.
const fn series(odd: usize) -> [f64; 10] {
    let mut c = [0.0; 10];
    let mut term = 1.0;
    let mut k = 0;
    while k < 10 {
        let n = (2 * k + odd) as f64;
        term *= -PI * PI / ((n + 1.0) * (n + 2.0));
        c[k] = term;
        k += 1;
    }
    c
}

/// `ln gamma(y)` in two parts, for `y = m + 1`, where `m` is exact below 5/2.
#[inline(always)]
fn lgamma_parts<T: Gamma>(y: f64, m: f64, (ln, ln_low): (f64, f64)) -> (f64, f64) {
    // (ln(2 pi) - 1) / 2
    const HALF: (f64, f64) = (0.418_938_533_204_672_7, 1.672_820_965_058_541_3e-17);
    let near = times(m - 1.0, times(m, poly_parts(m - 0.75, T::LGAMMA_NEAR)));
    // (y - 1/2) (ln y - 1) + HALF + ..
    let over = 1.0 / y;
    let series = over * poly(over * over, T::LGAMMA_FAR);
    let (l, r) = f64::sum(ln, -1.0);
    let (p, low) = times(y - 0.5, (l, r + ln_low));
    let (s, r) = f64::sum(p, HALF.0);
    let far = (s, r + (low + (HALF.1 + series)));
    if m < 1.5 { near } else { far }
}

/// `ln gamma(x)`, infinite at 0; negative arguments are for [`lgamma_reflected`].
///
/// It is `ln gamma(x + 1) - ln x` up to 1.
#[inline(always)]
pub(super) fn lgamma<T: Gamma>(x: T) -> T {
    let x = x.f64();
    let few = x < 1.0;
    let ln = ln_parts(x);
    let m = if few { x } else { x - 1.0 };
    let (y, low) = lgamma_parts::<T>(x, m, ln);
    let less = if few { ln } else { (0.0, 0.0) };
    let (s, r) = f64::sum(-less.0, y);
    let result = s + (r + (low - less.1));
    // An infinity has no second part.
    let result = if y < f64::INFINITY { result } else { y };
    let result = if x == 0.0 { f64::INFINITY } else { result };
    T::of(if x < f64::INFINITY { result } else { x })
}

/// `ln |gamma(x)| = -ln |sin(pi x) / pi| - ln gamma(1 - x)` for negative `x`, infinite at the poles;
/// see NOTE [Gamma near its zeros].
#[inline(always)]
pub(super) fn lgamma_reflected<T: Gamma>(x: T) -> T {
    let x = x.f64();
    let z = 1.0 - x;
    let (y, low) = lgamma_parts::<T>(z, -x, ln_parts(z));
    let whole = x.round_ties_even();
    let (sin, sin_low) = sin_pi((x - whole).abs());
    let (ln, ln_low) = ln_parts(sin);
    let (s, r) = f64::sum(-ln, -y);
    let result = s + (r - (low + (ln_low + sin_low / sin)));
    T::of(if x == whole { f64::INFINITY } else { result })
}

/// `digamma(y)` in two parts, for `y = m + 1`, where `m` is exact below 5/2.
#[inline(always)]
fn digamma_parts<T: Gamma>(y: f64, m: f64) -> (f64, f64) {
    // The zero, less 1.
    const ZERO: (f64, f64) = (0.461_632_144_968_362_36, -1.552_234_816_285_867_7e-17);
    let (d, d_low) = f64::sum(m - ZERO.0, -ZERO.1);
    let (p, p_low) = poly_parts(m - 0.75, T::DIGAMMA_NEAR);
    let (near, low) = times(d, (p, p_low));
    let near = (near, low + d_low * p);
    let (ln, ln_low) = ln_parts(y);
    let over = 1.0 / y;
    let square = over * over;
    let (s, r) = f64::sum(ln, -0.5 * over);
    let far = (s, r + (ln_low - square * poly(square, T::DIGAMMA_FAR)));
    if m < 1.5 { near } else { far }
}

/// `y - x / z` for numbers in two parts.
#[inline(always)]
fn minus_quotient(y: (f64, f64), x: (f64, f64), z: (f64, f64)) -> f64 {
    let q = x.0 / z.0;
    let rest = (-q).fma(z.0, x.0) + (x.1 - q * z.1);
    let (s, r) = f64::sum(-q, y.0);
    s + (r + (y.1 - rest / z.0))
}

/// The derivative of `ln gamma(x)`: infinite at 0, with the sign of `-x`; negative arguments are for
/// [`digamma_reflected`].
///
/// It is `digamma(x + 1) - 1 / x` up to 1.
#[inline(always)]
pub(super) fn digamma<T: Gamma>(x: T) -> T {
    let x = x.f64();
    let few = x < 1.0;
    let y = digamma_parts::<T>(x, if few { x } else { x - 1.0 });
    let stepped = minus_quotient(y, (1.0, 0.0), (x, 0.0));
    let result = if few { stepped } else { y.0 + y.1 };
    // Near 0, the quotient is all there is, and may be infinite.
    let result = if x < 1e-40 { -1.0 / x } else { result };
    T::of(if x < f64::INFINITY { result } else { x })
}

/// `digamma(x) = digamma(1 - x) - pi cot(pi x)` for negative `x`, NaN at the whole numbers; see NOTE
/// [Gamma near its zeros].
#[inline(always)]
pub(super) fn digamma_reflected<T: Gamma>(x: T) -> T {
    let x = x.f64();
    let y = digamma_parts::<T>(1.0 - x, -x);
    let whole = x.round_ties_even();
    let r = x - whole;
    let result = minus_quotient(y, cos_pi(r), sin_pi(r));
    let result = if x > -1e-40 { -1.0 / x } else { result };
    T::of(if x == whole { f64::NAN } else { result })
}

/// `sin(pi x) / (pi x)`, 1 at 0.
#[inline(always)]
pub(super) fn sinc(x: f64) -> f64 {
    let whole = x.round_ties_even();
    let y = sin_pi(x - whole).0 / x;
    let half = 0.5 * whole;
    let y = if half.round_ties_even() == half {
        y
    } else {
        -y
    };
    if x == 0.0 { 1.0 } else { y }
}
