//! Small tensors for the tests of kernels.

use super::super::View;
use crate::base::dtype::Element;
use crate::base::rng::philox;
use crate::base::{DType, Device, Layout, Scalar};
use crate::memory::Storage;
use crate::memory::storage::{read_scalar, write_scalar};
use crate::with_dtype;

/// What lies between the elements of an array, and makes no difference to any kernel.
pub(super) const GAP: f64 = 77.0;

/// Elements of a buffer of their own.
#[derive(Clone)]
pub(super) struct Array {
    storage: Storage,
    layout: Layout,
    dtype: DType,
}

impl Array {
    /// A dense array of numbers.
    pub(super) fn new(dtype: DType, shape: &[usize], values: &[f64]) -> Self {
        Self::of(dtype, shape, values.iter().map(|x| Scalar::Float(*x)))
    }

    /// A dense array of integers, exact beyond `2^53`.
    pub(super) fn ints(dtype: DType, shape: &[usize], values: &[i64]) -> Self {
        Self::of(dtype, shape, values.iter().map(|x| Scalar::Int(*x)))
    }

    /// A dense array of one number.
    pub(super) fn full(dtype: DType, shape: &[usize], value: f64) -> Self {
        let n = shape.iter().product();
        Self::new(dtype, shape, &vec![value; n])
    }

    fn of(dtype: DType, shape: &[usize], values: impl ExactSizeIterator<Item = Scalar>) -> Self {
        let layout = Layout::contiguous(shape.into());
        assert_eq!(layout.numel(), values.len());
        let storage = Storage::new(layout.numel() * dtype.size(), Device::Cpu).expect("memory");
        for (i, x) in values.enumerate() {
            write_scalar(&storage, dtype, i, x);
        }
        Self {
            storage,
            layout,
            dtype,
        }
    }

    /// Other elements of the same buffer.
    pub(super) fn strided(&self, shape: &[usize], strides: &[usize], offset: usize) -> Self {
        let layout = Layout {
            shape: shape.into(),
            strides: strides.into(),
            offset,
        };
        assert!(layout.end() * self.dtype.size() <= self.storage.bytes());
        Self {
            layout,
            ..self.clone()
        }
    }

    /// The same elements with two dimensions swapped.
    pub(super) fn transpose(&self, a: usize, b: usize) -> Self {
        let mut new = self.clone();
        new.layout.shape.swap(a, b);
        new.layout.strides.swap(a, b);
        new
    }

    /// The same elements repeated along new dimensions and those of size 1.
    pub(super) fn expand(&self, shape: &[usize]) -> Self {
        Self {
            layout: self.layout.broadcast_to(&shape.into()),
            ..self.clone()
        }
    }

    /// An array of the same elements as `self` in a buffer with gaps, and dimensions reversed in
    /// memory.
    pub(super) fn scattered(&self) -> Self {
        let mut strides = vec![0; self.layout.ndim()];
        let mut step = 3;
        for (s, n) in strides.iter_mut().zip(self.layout.shape.iter()) {
            *s = step;
            step *= n;
            step += 1;
        }
        self.laid_out(&strides, 2)
    }

    /// An array of the same elements as `self` in a buffer of its own, which ends with the last of
    /// them; its other elements are [`GAP`]. Elements that share a place become the last of them.
    pub(super) fn laid_out(&self, strides: &[usize], offset: usize) -> Self {
        let layout = Layout {
            shape: self.layout.shape.clone(),
            strides: strides.into(),
            offset,
        };
        let buffer = Self::full(self.dtype, &[layout.end()], GAP);
        let new = Self { layout, ..buffer };
        for (to, from) in new.positions().into_iter().zip(self.positions()) {
            let x = read_scalar(&self.storage, self.dtype, from);
            write_scalar(&new.storage, self.dtype, to, x);
        }
        new
    }

    /// Each element, as an array without dimensions that shares the buffer.
    pub(super) fn elements(&self) -> Vec<Self> {
        let element = |p| self.strided(&[], &[], p);
        self.positions().into_iter().map(element).collect()
    }

    /// The elements of the buffer that are not elements of the array.
    pub(super) fn gaps(&self) -> Vec<f64> {
        let mut gaps = self.buffer().into_iter().map(Some).collect::<Vec<_>>();
        self.positions().into_iter().for_each(|p| gaps[p] = None);
        gaps.into_iter().flatten().collect()
    }

    /// What kernels take.
    pub(super) fn view(&self) -> View<'_> {
        View {
            storage: &self.storage,
            layout: &self.layout,
            dtype: self.dtype,
        }
    }

    /// Positions of the elements in row-major order.
    fn positions(&self) -> Vec<usize> {
        let mut positions = vec![self.layout.offset];
        for (&n, &s) in self.layout.shape.iter().zip(self.layout.strides.iter()) {
            positions = positions
                .iter()
                .flat_map(|p| (0..n).map(move |i| p + i * s))
                .collect();
        }
        positions
    }

    /// The elements in row-major order.
    pub(super) fn scalars(&self) -> Vec<Scalar> {
        let read = |p| read_scalar(&self.storage, self.dtype, p);
        self.positions().into_iter().map(read).collect()
    }

    /// The elements in row-major order, as `f64`.
    pub(super) fn values(&self) -> Vec<f64> {
        self.scalars().into_iter().map(Scalar::as_f64).collect()
    }

    /// The elements in row-major order, as `i64`.
    pub(super) fn integers(&self) -> Vec<i64> {
        self.scalars().into_iter().map(Scalar::as_i64).collect()
    }

    /// All elements of the buffer, those outside of the layout too.
    pub(super) fn buffer(&self) -> Vec<f64> {
        let n = self.storage.bytes() / self.dtype.size();
        self.strided(&[n], &[1], 0).values()
    }

    /// The sizes.
    pub(super) fn shape(&self) -> &[usize] {
        &self.layout.shape
    }

    /// The type of the elements.
    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    /// How the elements lie.
    pub(super) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The buffer.
    pub(super) fn storage(&self) -> &Storage {
        &self.storage
    }
}

/// Whether two lists are equal, NaN to NaN included.
pub(super) fn same(a: &[f64], b: &[f64]) -> bool {
    a.len() == b.len()
        && a.iter()
            .zip(b)
            .all(|(x, y)| x == y || (x.is_nan() && y.is_nan()))
}

/// Whether two lists are equal to the last bit, and the sign of zero; any NaN equals any other.
pub(super) fn same_bits(a: &[f64], b: &[f64]) -> bool {
    let equal = |x: &f64, y: &f64| x.to_bits() == y.to_bits() || (x.is_nan() && y.is_nan());
    a.len() == b.len() && a.iter().zip(b).all(|(x, y)| equal(x, y))
}

/// A number as an element of a type, and back.
pub(super) fn rounded(dtype: DType, x: f64) -> f64 {
    with_dtype!(dtype, T => T::from_scalar(Scalar::Float(x)).to_scalar().as_f64())
}

/// `n` numbers between -4 and 4 that every floating-point type holds exactly.
pub(super) fn noise(n: usize, seed: u64) -> Vec<f64> {
    (0..n as u64)
        .map(|i| f64::from(philox(seed, i)[0] >> 26) / 8.0 - 4.0)
        .collect()
}

/// Whether two lists are equal up to `tolerance`, relative to numbers above 1; NaN equals NaN and
/// infinities themselves.
pub(super) fn close(a: &[f64], b: &[f64], tolerance: f64) -> bool {
    a.len() == b.len()
        && a.iter().zip(b).all(|(x, y)| {
            x == y || (x.is_nan() && y.is_nan()) || (x - y).abs() <= tolerance * y.abs().max(1.0)
        })
}

/// The rounding error of a floating-point type.
pub(super) fn epsilon(dtype: DType) -> f64 {
    match dtype {
        DType::F16 => 2f64.powi(-11),
        DType::BF16 => 2f64.powi(-8),
        DType::F32 => 2f64.powi(-24),
        _ => 2f64.powi(-53),
    }
}

/// For each index of `shape` without the dimensions `dims`, in row-major order, the row-major
/// positions of the elements it stands for, in row-major order.
pub(super) fn groups(shape: &[usize], dims: &[usize]) -> Vec<Vec<usize>> {
    let kept: usize = (0..shape.len())
        .filter(|d| !dims.contains(d))
        .map(|d| shape[d])
        .product();
    let mut groups = vec![Vec::new(); kept];
    for i in 0..shape.iter().product() {
        let (mut rest, mut group, mut step) = (i, 0, 1);
        for d in (0..shape.len()).rev() {
            if !dims.contains(&d) {
                group += rest % shape[d] * step;
                step *= shape[d];
            }
            rest /= shape[d];
        }
        groups[group].push(i);
    }
    groups
}
