//! Gather, scatter, advanced indexing and `nonzero`.
//!
//! NOTE [Checked indices]
//! Indices are checked in a pass of their own, so that a bad one leaves the output as it was. What
//! a later pass uses is either the result of that pass (`index`, `index_put`) or read again and
//! limited to the dimension (`gather`, `scatter`): indices that change in between, because another
//! thread writes them or because they alias the output, give wrong elements but no access out of
//! bounds.

use super::super::{Combine, View};
use super::walk::{Walk, address};
use crate::base::{DType, Error, Layout, Result, Shape};
use crate::ensure;
use half::{bf16, f16};

#[cfg(test)]
mod tests;

/// Runs `$body` with `$T` bound to an unsigned integer as large as an element: enough to move it.
macro_rules! with_size {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype.size() {
            1 => {
                type $T = u8;
                $body
            }
            2 => {
                type $T = u16;
                $body
            }
            4 => {
                type $T = u32;
                $body
            }
            _ => {
                type $T = u64;
                $body
            }
        }
    };
}

/// As [`crate::with_dtype`], but bool elements are [`Flag`]s, so that any byte may be read.
macro_rules! with_number {
    ($dtype:expr, $T:ident => $body:expr) => {
        match $dtype {
            $crate::base::DType::Bool => {
                type $T = $crate::backend::cpu::index::Flag;
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
pub(super) use with_number;

/// A bool as it lies in memory: all bytes but 0 are true.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(super) struct Flag(u8);

impl Flag {
    /// Whether it is true.
    pub(super) fn get(self) -> bool {
        self.0 != 0
    }
}

/// The arithmetic of stored elements. Integers wrap; bools or and and; `f16` and `bf16` compute in
/// `f32`.
pub(super) trait Number: Copy {
    /// `self + y`.
    fn add(self, y: Self) -> Self;
    /// `self * y`.
    fn mul(self, y: Self) -> Self;
    /// The greater; NaN wins.
    fn max(self, y: Self) -> Self;
    /// The lesser; NaN wins.
    fn min(self, y: Self) -> Self;
    /// The nearest number.
    fn from_f64(x: f64) -> Self;
    /// As `f64`.
    fn to_f64(self) -> f64;
    /// Whether it is not 0.
    fn is_true(self) -> bool;
    /// `self > y`, false for NaN.
    fn greater(self, y: Self) -> bool;
    /// `self >= y`, false for NaN.
    fn greater_equal(self, y: Self) -> bool;
}

impl Number for Flag {
    fn add(self, y: Self) -> Self {
        Flag((self.get() | y.get()).into())
    }
    fn mul(self, y: Self) -> Self {
        Flag((self.get() & y.get()).into())
    }
    fn max(self, y: Self) -> Self {
        self.add(y)
    }
    fn min(self, y: Self) -> Self {
        self.mul(y)
    }
    fn from_f64(x: f64) -> Self {
        Flag((x != 0.0).into())
    }
    fn to_f64(self) -> f64 {
        f64::from(u8::from(self.get()))
    }
    fn is_true(self) -> bool {
        self.get()
    }
    fn greater(self, y: Self) -> bool {
        self.get() & !y.get()
    }
    fn greater_equal(self, y: Self) -> bool {
        self.get() | !y.get()
    }
}

macro_rules! integers {
    ($($t:ty),*) => { $(
        impl Number for $t {
            #[inline(always)]
            fn add(self, y: Self) -> Self {
                self.wrapping_add(y)
            }
            #[inline(always)]
            fn mul(self, y: Self) -> Self {
                self.wrapping_mul(y)
            }
            #[inline(always)]
            fn max(self, y: Self) -> Self {
                Ord::max(self, y)
            }
            #[inline(always)]
            fn min(self, y: Self) -> Self {
                Ord::min(self, y)
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                x as $t
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                self as f64
            }
            #[inline(always)]
            fn is_true(self) -> bool {
                self != 0
            }
            #[inline(always)]
            fn greater(self, y: Self) -> bool {
                self > y
            }
            #[inline(always)]
            fn greater_equal(self, y: Self) -> bool {
                self >= y
            }
        }
    )* };
}
integers!(u8, i8, i16, i32, i64);

macro_rules! floats {
    ($($t:ty: $c:ty, $to:expr, $from:expr;)*) => { $(
        impl Number for $t {
            #[inline(always)]
            fn add(self, y: Self) -> Self {
                $from($to(self) + $to(y))
            }
            #[inline(always)]
            fn mul(self, y: Self) -> Self {
                $from($to(self) * $to(y))
            }
            #[inline(always)]
            fn max(self, y: Self) -> Self {
                // A NaN `y` fails the comparison and is taken.
                if self > y || self.is_nan() { self } else { y }
            }
            #[inline(always)]
            fn min(self, y: Self) -> Self {
                if self < y || self.is_nan() { self } else { y }
            }
            #[inline(always)]
            fn from_f64(x: f64) -> Self {
                $from(x as $c)
            }
            #[inline(always)]
            fn to_f64(self) -> f64 {
                f64::from($to(self))
            }
            #[inline(always)]
            fn is_true(self) -> bool {
                $to(self) != 0.0
            }
            #[inline(always)]
            fn greater(self, y: Self) -> bool {
                self > y
            }
            #[inline(always)]
            fn greater_equal(self, y: Self) -> bool {
                self >= y
            }
        }
    )* };
}
floats! {
    f16: f32, f16::to_f32, f16::from_f32;
    bf16: f32, bf16::to_f32, bf16::from_f32;
    f32: f32, std::convert::identity::<f32>, std::convert::identity::<f32>;
    f64: f64, std::convert::identity::<f64>, std::convert::identity::<f64>;
}

/// Size and stride of a dimension; a scalar has one dimension of size 1.
pub(super) fn size_and_stride(layout: &Layout, dim: usize) -> (usize, usize) {
    if layout.ndim() == 0 {
        (1, 0)
    } else {
        (layout.shape[dim], layout.strides[dim])
    }
}

/// `layout` in the (nowhere larger) shape `shape` and without its steps along `dim`.
fn held_at(layout: &Layout, shape: &Shape, dim: usize) -> Layout {
    let stride = |d| match layout.strides.get(d) {
        Some(&s) if d != dim => s,
        _ => 0,
    };
    Layout {
        shape: shape.clone(),
        strides: (0..shape.len()).map(stride).collect(),
        offset: layout.offset,
    }
}

/// The first elements of `layout` in the (nowhere larger) shape `shape`.
fn cut_to(layout: &Layout, shape: &Shape) -> Layout {
    held_at(layout, shape, usize::MAX)
}

/// Refuses indices outside `0..size`.
fn check(index: View, dim: usize, size: usize) -> Result<()> {
    debug_assert_eq!(index.dtype, DType::I64);
    let walk = Walk::new(&[index.layout]);
    let mut bad = None;
    walk.for_each(|at| {
        for i in 0..walk.run {
            // SAFETY: NOTE [Views in bounds].
            let k = unsafe { *address::<i64>(&index, at[0] + i * walk.stride[0]) };
            if k as u64 >= size as u64 && bad.is_none() {
                bad = Some(k);
            }
        }
    });
    match bad {
        None => Ok(()),
        Some(k) => Err(Error::runtime(format!(
            "index {k} is out of bounds for dimension {dim} with size {size}"
        ))),
    }
}

/// See [`super::super::Backend::gather`].
pub(super) fn gather(out: View, x: View, dim: usize, index: View) -> Result<()> {
    let (size, step) = size_and_stride(x.layout, dim);
    check(index, dim, size)?;
    if index.numel() == 0 {
        return Ok(());
    }
    let last = size - 1;
    let lanes = held_at(x.layout, &index.layout.shape, dim);
    let walk = Walk::new(&[out.layout, index.layout, &lanes]);
    let [so, si, sx, _] = walk.stride;
    with_size!(x.dtype, T => walk.for_each(|at| {
        for i in 0..walk.run {
            // SAFETY: NOTE [Views in bounds] and NOTE [Checked indices]; the caller promises that
            // `index` is nowhere else larger than `x`, so `lanes` stays within it.
            unsafe {
                let k = (*address::<i64>(&index, at[1] + i * si) as usize).min(last);
                *address::<T>(&out, at[0] + i * so) = *address::<T>(&x, at[2] + i * sx + k * step);
            }
        }
    }));
    Ok(())
}

/// See [`super::super::Backend::scatter`].
pub(super) fn scatter(
    combine: Combine,
    out: View,
    dim: usize,
    index: View,
    src: View,
) -> Result<()> {
    let (size, step) = size_and_stride(out.layout, dim);
    check(index, dim, size)?;
    if index.numel() == 0 {
        return Ok(());
    }
    let last = size - 1;
    let shape = &index.layout.shape;
    // Walks along row-major positions go in their order.
    let order = Layout::contiguous(shape.clone());
    let lanes = held_at(out.layout, shape, dim);
    let from = cut_to(src.layout, shape);
    let walk = Walk::new(&[&order, index.layout, &lanes, &from]);
    macro_rules! run {
        ($T:ident, $f:expr) => {
            walk.for_each(|at| {
                let [_, si, so, ss] = walk.stride;
                for i in 0..walk.run {
                    // SAFETY: NOTE [Views in bounds] and NOTE [Checked indices]; the caller
                    // promises that `index` is nowhere larger than `src`, nor than `out` outside
                    // `dim`.
                    unsafe {
                        let k = (*address::<i64>(&index, at[1] + i * si) as usize).min(last);
                        let to = address::<$T>(&out, at[2] + i * so + k * step);
                        *to = $f(*to, *address::<$T>(&src, at[3] + i * ss));
                    }
                }
            })
        };
    }
    if combine == Combine::Set {
        with_size!(out.dtype, T => run!(T, |_, y| y));
        return Ok(());
    }
    with_number!(out.dtype, T => match combine {
        Combine::Set => unreachable!("done above"),
        Combine::Add => run!(T, Number::add),
        Combine::Mul => run!(T, Number::mul),
        Combine::Max => run!(T, Number::max),
        Combine::Min => run!(T, Number::min),
    });
    Ok(())
}

/// The positions that index tensors look up: for each of their elements in row-major order, the
/// distance from the first element of `x`.
fn look_up(x: &Layout, indices: &[View]) -> Result<Vec<usize>> {
    let shape = indices
        .first()
        .map_or(Shape::new(), |i| i.layout.shape.clone());
    let order = Layout::contiguous(shape);
    let mut places = vec![0; order.numel()];
    for (dim, index) in indices.iter().enumerate() {
        debug_assert_eq!(index.dtype, DType::I64);
        debug_assert_eq!(index.layout.shape, order.shape);
        let (size, step) = (x.shape[dim], x.strides[dim]);
        let mut bad = None;
        let walk = Walk::new(&[&order, index.layout]);
        walk.for_each(|at| {
            for (i, place) in places[at[0]..at[0] + walk.run].iter_mut().enumerate() {
                // SAFETY: NOTE [Views in bounds].
                let k = unsafe { *address::<i64>(index, at[1] + i * walk.stride[1]) };
                let wrapped = if k < 0 {
                    k.wrapping_add(size as i64)
                } else {
                    k
                } as u64;
                if wrapped < size as u64 {
                    *place += wrapped as usize * step;
                } else if bad.is_none() {
                    bad = Some(k);
                }
            }
        });
        if let Some(k) = bad {
            return Err(Error::index(format!(
                "index {k} is out of bounds for dimension {dim} with size {size}"
            )));
        }
    }
    Ok(places)
}

/// How rows (what the trailing dimensions span) pair up between `x` and the dense side of an
/// indexing op.
struct Rows {
    /// The start of each run of elements, relative to the row: in the dense side and in `x`.
    runs: Vec<(usize, usize)>,
    /// Elements in a run.
    run: usize,
    /// Strides along a run: of the dense side and of `x`.
    stride: (usize, usize),
}

impl Rows {
    /// The rows after `k` leading dimensions of `x`, and after `lead` of the other side.
    fn new(x: &Layout, k: usize, dense: &Layout, lead: usize) -> Self {
        let tail = |l: &Layout, from: usize| Layout {
            shape: l.shape[from..].into(),
            strides: l.strides[from..].into(),
            offset: 0,
        };
        let walk = Walk::new(&[&tail(dense, lead), &tail(x, k)]);
        let mut runs = Vec::new();
        walk.for_each(|at| runs.push((at[0], at[1])));
        Self {
            runs,
            run: walk.run,
            stride: (walk.stride[0], walk.stride[1]),
        }
    }
}

/// Calls `f` with the position of each row, in row-major order of the index: in the dense side and
/// in `x`.
fn for_each_row(
    places: &[usize],
    x: &Layout,
    dense: &Layout,
    lead: usize,
    mut f: impl FnMut(usize, usize),
) {
    let shape: Shape = dense.shape[..lead].into();
    let rows = Layout {
        strides: dense.strides[..lead].into(),
        offset: dense.offset,
        shape: shape.clone(),
    };
    let order = Layout::contiguous(shape);
    let walk = Walk::new(&[&order, &rows]);
    walk.for_each(|at| {
        for (i, place) in places[at[0]..at[0] + walk.run].iter().enumerate() {
            f(at[1] + i * walk.stride[1], x.offset + place);
        }
    });
}

/// See [`super::super::Backend::index`].
pub(super) fn index(out: View, x: View, indices: &[View]) -> Result<()> {
    let places = look_up(x.layout, indices)?;
    if out.numel() == 0 {
        return Ok(());
    }
    let k = indices.len();
    let lead = out.layout.ndim() + k - x.layout.ndim();
    let rows = Rows::new(x.layout, k, out.layout, lead);
    with_size!(x.dtype, T => for_each_row(&places, x.layout, out.layout, lead, |to, from| {
        // SAFETY: NOTE [Views in bounds] and NOTE [Checked indices].
        unsafe { copy::<T>(&rows, address(&out, to), false, address(&x, from)) }
    }));
    Ok(())
}

/// See [`super::super::Backend::index_put`].
pub(super) fn index_put(combine: Combine, x: View, indices: &[View], values: View) -> Result<()> {
    ensure!(
        matches!(combine, Combine::Set | Combine::Add),
        runtime,
        "index_put sets or adds; got {combine:?}"
    );
    let places = look_up(x.layout, indices)?;
    if values.numel() == 0 {
        return Ok(());
    }
    let k = indices.len();
    let lead = values.layout.ndim() + k - x.layout.ndim();
    let rows = Rows::new(x.layout, k, values.layout, lead);
    if combine == Combine::Set {
        with_size!(x.dtype, T => for_each_row(&places, x.layout, values.layout, lead, |from, to| {
            // SAFETY: NOTE [Views in bounds] and NOTE [Checked indices].
            unsafe { copy::<T>(&rows, address(&values, from), true, address(&x, to)) }
        }));
    } else {
        let (sv, sx) = rows.stride;
        with_number!(x.dtype, T => for_each_row(&places, x.layout, values.layout, lead, |from, to| {
            for &(v, p) in &rows.runs {
                for i in 0..rows.run {
                    // SAFETY: as above.
                    unsafe {
                        let to = address::<T>(&x, to + p + i * sx);
                        *to = Number::add(*to, *address::<T>(&values, from + v + i * sv));
                    }
                }
            }
        }));
    }
    Ok(())
}

/// Copies a row between the dense side and `x`.
///
/// # Safety
/// The row at `dense` and the one at `x` lie within their storages, and share no element.
#[inline(always)]
unsafe fn copy<T: Copy>(rows: &Rows, dense: *mut T, to_x: bool, x: *mut T) {
    for &(d, p) in &rows.runs {
        let (sd, sx) = rows.stride;
        let (dense, x) = (dense.wrapping_add(d), x.wrapping_add(p));
        let (to, st, from, sf) = if to_x {
            (x, sx, dense, sd)
        } else {
            (dense, sd, x, sx)
        };
        // SAFETY: the caller's promise, in each branch.
        unsafe {
            if rows.run == 1 {
                *to = *from;
            } else if st == 1 && sf == 1 {
                std::ptr::copy_nonoverlapping(from, to, rows.run);
            } else {
                (0..rows.run).for_each(|i| *to.add(i * st) = *from.add(i * sf));
            }
        }
    }
}

/// See [`super::super::Backend::nonzero`].
pub(super) fn nonzero(x: View) -> Vec<i64> {
    let order = Layout::contiguous(x.layout.shape.clone());
    let walk = Walk::new(&[&order, x.layout]);
    let mut found = Vec::new();
    with_number!(x.dtype, T => walk.for_each(|at| {
        for i in 0..walk.run {
            // SAFETY: NOTE [Views in bounds].
            if unsafe { *address::<T>(&x, at[1] + i * walk.stride[1]) }.is_true() {
                found.push((at[0] + i) as i64);
            }
        }
    }));
    found
}
