//! Kernels against plain loops, on tensors of any type, shape and layout.
//!
//! Every case draws from a stream of random numbers of its own, always the same, and prints its
//! number and what it drew if it fails. After each case, what was read and what lies between the
//! elements of what was written must be as it was.

use super::super::{Backend, View};
use super::CPU;
use super::testing::{Array, GAP, epsilon, groups, rounded, same, same_bits};
use crate::base::rng::philox;
use crate::base::{DType, Layout};

mod elementwise;
mod optimiser;
mod places;
mod products;
mod rows;

const FLOATS: [DType; 4] = [DType::F16, DType::BF16, DType::F32, DType::F64];
const NUMBERS: [DType; 9] = [
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

/// Runs a test on so many cases.
fn fuzz(cases: u64, test: impl Fn(&mut Draw)) {
    for case in 0..cases {
        let mut draw = Draw {
            case,
            next: 0,
            drawn: Vec::new(),
            read: Vec::new(),
            written: Vec::new(),
        };
        test(&mut draw);
        draw.check_memory();
    }
}

/// The random decisions of a case.
struct Draw {
    case: u64,
    next: u64,
    /// What to print if the case fails.
    drawn: Vec<String>,
    /// Inputs, and what their buffers held.
    read: Vec<(Array, Vec<f64>)>,
    /// Outputs.
    written: Vec<Array>,
}

impl Drop for Draw {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("case {}: {}", self.case, self.drawn.join(", "));
        }
    }
}

impl Draw {
    /// A number below `n`.
    fn below(&mut self, n: usize) -> usize {
        self.next += 1;
        let bits = philox(self.case, self.next)[0] as usize;
        bits % n
    }

    /// True once in `n` times.
    fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// As `pick`; what was chosen is printed if the case fails.
    fn choose<T: Copy + std::fmt::Debug>(&mut self, of: &[T]) -> T {
        let chosen = self.pick(of);
        self.drawn.push(format!("{chosen:?}"));
        chosen
    }

    /// The numbers below `n` in a random order.
    fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        for i in (1..n).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }

    /// A small size, or one at a border of vectors, rows or blocks.
    fn size(&mut self) -> usize {
        match self.below(24) {
            0 => 0,
            1..=4 => 1,
            5..=14 => 2 + self.below(18),
            _ => self.pick(&[16, 32, 64, 128, 256, 512, 1024]) + self.below(3) - 1,
        }
    }

    /// Sizes of `ndim` dimensions and up to `most` elements.
    fn shape(&mut self, ndim: usize, most: usize) -> Vec<usize> {
        let (mut shape, mut room) = (vec![1; ndim], most);
        for d in self.order(ndim) {
            shape[d] = self.size().min(room);
            room /= shape[d].max(1);
        }
        shape
    }

    /// As `shape`, with up to four dimensions.
    fn any_shape(&mut self, most: usize) -> Vec<usize> {
        let ndim = self.pick(&[0, 1, 1, 2, 2, 2, 3, 3, 4]);
        self.shape(ndim, most)
    }

    /// A dimension; 0 if there is none.
    fn dim(&mut self, shape: &[usize]) -> usize {
        let dim = self.below(shape.len().max(1));
        self.drawn.push(format!("dim {dim}"));
        dim
    }

    /// A layout in any order in memory, with gaps, and, if elements may share places, repetitions.
    fn layout(&mut self, shape: &[usize], may_share: bool) -> (Vec<usize>, usize) {
        let offset = self.pick(&[0, 0, 0, 1, 2, 7, 16]);
        if self.once_in(3) {
            let dense = Layout::contiguous(shape.into());
            return (dense.strides.to_vec(), offset);
        }
        let order = if self.once_in(3) {
            (0..shape.len()).rev().collect()
        } else {
            self.order(shape.len())
        };
        let mut strides = vec![0; shape.len()];
        let mut step = self.pick(&[1, 1, 1, 2, 3]);
        for d in order {
            if shape[d] == 1 {
                // The stride of a single element is never used.
                strides[d] = self.below(50);
            } else if !(may_share && self.once_in(5)) {
                strides[d] = step;
                step *= shape[d].max(1);
                step += self.pick(&[0, 0, 0, 1, 5]);
            }
        }
        (strides, offset)
    }

    /// Numbers that every type which has them holds exactly: small integers, or eighths. Sums of
    /// some thousand products of them are exact in `f32`.
    fn exact(&mut self, dtype: DType, n: usize) -> Vec<f64> {
        (0..n)
            .map(|_| match dtype {
                DType::Bool => self.below(2) as f64,
                DType::U8 => self.below(9) as f64,
                _ if dtype.is_int() => self.below(17) as f64 - 8.0,
                _ => self.below(65) as f64 / 8.0 - 4.0,
            })
            .collect()
    }

    /// Numbers with all of their digits.
    fn rough(&mut self, dtype: DType, n: usize) -> Vec<f64> {
        (0..n)
            .map(|_| rounded(dtype, self.below(1 << 32) as f64 / f64::from(1 << 29) - 4.0))
            .collect()
    }

    /// Replaces some floats, once in a while, by what is not an ordinary number.
    fn roughen(&mut self, dtype: DType, values: &mut [f64]) {
        if !dtype.is_float() || !self.once_in(4) {
            return;
        }
        let strange = [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            0.0,
            -0.0,
            1e-40,
            -1e30,
            1e300,
        ];
        for x in values {
            if self.once_in(8) {
                *x = self.pick(&strange);
            }
        }
    }

    /// An input with given elements, in any layout without shared places.
    fn input(&mut self, dtype: DType, shape: &[usize], values: &[f64]) -> Array {
        self.input_in(dtype, shape, values, false)
    }

    /// An input in any layout. Elements that share a place are one of those given.
    fn shared_input(&mut self, dtype: DType, shape: &[usize], values: &[f64]) -> Array {
        self.input_in(dtype, shape, values, true)
    }

    fn input_in(&mut self, dtype: DType, shape: &[usize], values: &[f64], share: bool) -> Array {
        let (strides, offset) = self.layout(shape, share);
        let x = Array::new(dtype, shape, values).laid_out(&strides, offset);
        self.drawn.push(format!("{dtype} {:?}", x.layout()));
        self.read.push((x.clone(), x.buffer()));
        x
    }

    /// An input of `i64`.
    fn index(&mut self, shape: &[usize], mut value: impl FnMut(&mut Self) -> i64) -> Array {
        let n = shape.iter().product();
        let values: Vec<f64> = (0..n).map(|_| value(self) as f64).collect();
        self.shared_input(DType::I64, shape, &values)
    }

    /// An output of any layout.
    fn output(&mut self, dtype: DType, shape: &[usize]) -> Array {
        let (strides, offset) = self.layout(shape, false);
        let out = Array::full(dtype, shape, 9.0).laid_out(&strides, offset);
        self.drawn.push(format!("to {dtype} {:?}", out.layout()));
        self.written.push(out.clone());
        out
    }

    /// An input is written.
    fn will_write(&mut self, x: &Array) {
        self.read.retain(|(y, _)| !y.storage().same(x.storage()));
        self.written.push(x.clone());
        self.drawn.push("in place".into());
    }

    fn check_memory(&self) {
        for (x, before) in &self.read {
            assert!(same_bits(&x.buffer(), before), "an input was written");
        }
        for out in &self.written {
            let gap = rounded(out.dtype(), GAP);
            let is_whole = out.gaps().iter().all(|x| *x == gap);
            assert!(is_whole, "written beside the output");
        }
    }
}

/// Asserts that two lists are equal to the last bit.
fn expect(got: &[f64], want: &[f64]) {
    expect_each(got, want, |i| same_bits(&got[i..=i], &want[i..=i]));
}

/// Asserts that two lists are equal, of whatever sign zeros are.
fn expect_same(got: &[f64], want: &[f64]) {
    expect_each(got, want, |i| same(&got[i..=i], &want[i..=i]));
}

/// Asserts that each number is within its error of the one expected.
fn expect_within(got: &[f64], want: &[f64], error: impl Fn(usize) -> f64) {
    expect_each(got, want, |i| {
        let (x, y) = (got[i], want[i]);
        same(&[x], &[y]) || y.is_finite() && (x - y).abs() <= error(i)
    });
}

fn expect_each(got: &[f64], want: &[f64], fits: impl Fn(usize) -> bool) {
    assert_eq!(got.len(), want.len());
    for (i, (x, y)) in got.iter().zip(want).enumerate() {
        assert!(fits(i), "element {i} of {} is {x:e}, not {y:e}", got.len());
    }
}

/// A sum with an error of about one rounding, by Neumaier's compensation.
fn total(terms: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0f64, 0.0);
    for x in terms {
        let next = sum + x;
        lost += if sum.abs() >= x.abs() {
            (sum - next) + x
        } else {
            (x - next) + sum
        };
        sum = next;
    }
    sum + lost
}

/// The error of a number that is stored in a type.
fn stored(dtype: DType, x: f64) -> f64 {
    // Half the distance of neighbours, of the smallest ones too.
    let least = if dtype == DType::F16 {
        2f64.powi(-25)
    } else {
        0.0
    };
    (epsilon(dtype) * x.abs()).max(least)
}

/// Applies `f` to each lane of lists along `dim` of a shape.
fn by_lanes(
    shape: &[usize],
    dim: usize,
    ins: &[&[f64]],
    f: impl Fn(&[Vec<f64>]) -> Vec<f64>,
) -> Vec<f64> {
    let mut out = vec![0.0; ins[0].len()];
    for group in groups(shape, &[dim]) {
        let lane = |x: &&[f64]| group.iter().map(|i| x[*i]).collect();
        let lanes: Vec<Vec<f64>> = ins.iter().map(lane).collect();
        for (i, y) in group.iter().zip(f(&lanes)) {
            out[*i] = y;
        }
    }
    out
}
