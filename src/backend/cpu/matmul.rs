//! Matrix products.

use super::super::{Functor, Input, View};
use super::isa::versions;
use super::lane::{Acc, select, sum_with};
use super::map::map;
use super::threads::{self, Shared};
use super::transpose::{Word, transpose};
use super::walk::{Walk, address};
use crate::base::{DType, Device, Layout, Scalar};
use crate::memory::Storage;

#[cfg(test)]
mod tests;

/// Up to this size in every dimension, a plain loop is quicker than packing.
const TINY: usize = 4;

/// Up to so many rows are multiplied into a result that lies in columns, if the second matrix does
/// too: copying that matrix in rows would take longer than copying the result.
const NARROW: usize = 96;

/// A second matrix of up to so many elements is packed as it lies.
const PACKED_AS_IS: usize = 128 * 128;

/// From so many rows and columns of a result on, the first matrix is packed for so many tiles that
/// it is better copied in rows, if it lies in columns.
const PACKED_OFTEN: usize = 768;

/// Terms of a sum that are added up in one piece when there are few results.
const DEPTH: usize = 1024;

/// Results of a matrix-vector product that are computed together when the matrix lies in columns.
const TILE: usize = 512;

/// See [`super::super::Backend::matmul`].
pub(super) fn matmul(out: View, a: View, b: View, bias: Option<View>) {
    if out.numel() == 0 {
        return;
    }
    let flat = match bias {
        None => flatten(&out, &a, &b),
        Some(_) => None,
    };
    let [out, a, b] = match &flat {
        Some([c, rows, second]) => {
            [(out, c), (a, rows), (b, second)].map(|(v, layout)| View { layout, ..v })
        }
        None => [out, a, b],
    };
    match out.dtype {
        DType::F32 => direct::<f32>(out, a, b, bias),
        DType::F64 => direct::<f64>(out, a, b, bias),
        DType::F16 | DType::BF16 => converted::<f32>(out, a, b, bias),
        _ => converted::<i64>(out, a, b, bias),
    }
}

/// Batches that all meet the same second matrix are one product, if their rows lie evenly.
fn flatten(out: &View, a: &View, b: &View) -> Option<[Layout; 3]> {
    let lead = a.layout.ndim() - 2;
    let shape = &b.layout.shape;
    let shared = |d: usize| b.layout.strides[d] == 0 || shape[d] == 1;
    if lead == 0 || !(0..lead).all(shared) {
        return None;
    }
    let rows = a.layout.shape[..=lead].iter().product();
    let [k, n] = [shape[lead], shape[lead + 1]];
    Some([
        out.layout.reshape(&[rows, n].into())?,
        a.layout.reshape(&[rows, k].into())?,
        select(b.layout, |d| d >= lead),
    ])
}

/// A matrix in memory.
#[derive(Clone, Copy)]
struct Matrix<C> {
    at: *mut C,
    /// Distance between rows.
    rows: usize,
    /// Distance between columns.
    columns: usize,
}

impl<C: Copy> Matrix<C> {
    fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            ..self
        }
    }

    /// The matrix from an element on.
    fn from(self, i: usize, j: usize) -> Self {
        Self {
            at: self.at(i, j),
            ..self
        }
    }

    /// The address of an element.
    #[inline(always)]
    fn at(self, i: usize, j: usize) -> *mut C {
        self.at.wrapping_add(i * self.rows + j * self.columns)
    }
}

// SAFETY: addresses alone; what is done with them has comments of its own.
unsafe impl<C: Send> Send for Matrix<C> {}
// SAFETY: as above.
unsafe impl<C: Sync> Sync for Matrix<C> {}

/// Where a product goes, and what is added to it while it is in the cache.
#[derive(Clone, Copy)]
struct Target<C> {
    to: Matrix<C>,
    bias: Option<Matrix<C>>,
}

impl<C: Acc> Target<C> {
    fn transposed(self) -> Self {
        Self {
            to: self.to.transposed(),
            bias: self.bias.map(Matrix::transposed),
        }
    }

    /// The target from an element on.
    fn from(self, i: usize, j: usize) -> Self {
        Self {
            to: self.to.from(i, j),
            bias: self.bias.map(|bias| bias.from(i, j)),
        }
    }

    /// Adds the bias to the first `m` rows and `n` columns.
    ///
    /// # Safety
    /// As [`Product::product`].
    unsafe fn add_bias(self, m: usize, n: usize) {
        let Some(bias) = self.bias else { return };
        if self.to.columns > self.to.rows {
            // SAFETY: the caller's promise.
            return unsafe { self.transposed().add_bias(n, m) };
        }
        for i in 0..m {
            let (sums, terms) = (self.to.at(i, 0), bias.at(i, 0));
            // SAFETY: the caller's promise; slices are made of what lies one after the other.
            unsafe {
                match (self.to.columns, bias.columns) {
                    (1, 0) => add_one(std::slice::from_raw_parts_mut(sums, n), *terms),
                    (1, 1) => add_each(
                        std::slice::from_raw_parts_mut(sums, n),
                        std::slice::from_raw_parts(terms, n),
                    ),
                    _ => (0..n).for_each(|j| {
                        let sum = self.to.at(i, j);
                        *sum = (*sum).add(*bias.at(i, j));
                    }),
                }
            }
        }
    }
}

versions! {
    fn add_each<C: Acc>(sums: &mut [C], terms: &[C]) = add_each_body;
    fn add_one<C: Acc>(sums: &mut [C], term: C) = add_one_body;
}

#[inline(always)]
fn add_each_body<C: Acc>(sums: &mut [C], terms: &[C]) {
    sums.iter_mut().zip(terms).for_each(|(s, &t)| *s = s.add(t));
}

#[inline(always)]
fn add_one_body<C: Acc>(sums: &mut [C], term: C) {
    sums.iter_mut().for_each(|s| *s = s.add(term));
}

/// Types with a product of matrices in memory.
trait Product: Acc + Word {
    /// `c = a b`, plus the bias, for `m * k` and `k * n` elements, none of the sizes 0.
    ///
    /// # Safety
    /// The matrices lie in memory that may be read, and the target written; it shares nothing with
    /// the others.
    unsafe fn product(sizes: [usize; 3], c: Target<Self>, a: Matrix<Self>, b: Matrix<Self>);

    /// About how many nanoseconds a product takes.
    fn cost([m, n, k]: [usize; 3]) -> f64 {
        (m * n * k) as f64 * 0.02 * (size_of::<Self>() as f64 / 4.0)
    }
}

macro_rules! float_product {
    ($t:ty) => {
        impl Product for $t {
            unsafe fn product(
                sizes @ [m, n, k]: [usize; 3],
                c: Target<Self>,
                a: Matrix<Self>,
                b: Matrix<Self>,
            ) {
                // SAFETY: the caller's promise, passed on in each branch.
                unsafe {
                    if m.max(n).max(k) <= TINY {
                        tiny(sizes, c, a, b);
                    } else if n == 1 {
                        matrix_vector(m, k, c, a, b);
                    } else if m == 1 {
                        matrix_vector(n, k, c.transposed(), b.transposed(), a.transposed());
                    } else if c.to.columns == 1 {
                        large(sizes, c, a, b);
                    } else {
                        large([n, m, k], c.transposed(), b.transposed(), a.transposed());
                    }
                }
            }
        }
    };
}
float_product!(f32);
float_product!(f64);

impl Product for i64 {
    unsafe fn product([m, n, k]: [usize; 3], c: Target<Self>, a: Matrix<Self>, b: Matrix<Self>) {
        if n == 1 {
            // SAFETY: the caller's promise.
            return unsafe { matrix_vector(m, k, c, a, b) };
        }
        threads::tasks(m, (n * k) as f64, |i| {
            let c = c.from(i, 0).transposed();
            let [a, b] = [b.transposed(), a.from(i, 0).transposed()];
            // SAFETY: the caller's promise: a row of the product is the other matrix, transposed,
            // times a row.
            unsafe { matrix_vector(n, k, c, a, b) };
        });
    }
}

/// A product whose result lies in rows, if it lies one way or the other.
///
/// Its tiles, and their order of summation, depend on the sizes alone: see NOTE [Threads]. The
/// packing of the inner kernel wants the second matrix in rows too, and is slow otherwise, above
/// all where columns are at a distance of a power of two; the first may lie either way.
///
/// # Safety
/// As [`Product::product`].
unsafe fn large<C: Product>(
    sizes @ [m, n, k]: [usize; 3],
    c: Target<C>,
    a: Matrix<C>,
    b: Matrix<C>,
) {
    let in_columns = b.rows == 1 && b.columns > 1 && n * k > PACKED_AS_IS;
    // SAFETY: the caller's promise; the copies are as large as they must be.
    unsafe {
        if in_columns && m <= NARROW && c.to.columns == 1 {
            // The result in columns, which takes `b` as it lies, and then a copy of it in rows.
            if let Some(copy) = scratch::<C>(m * n) {
                let to = Matrix {
                    at: copy.as_ptr().cast(),
                    rows: 1,
                    columns: m,
                };
                tiles(sizes, Target { to, ..c }, a, b);
                return transpose([n, m], to.at, m, c.to.at, c.to.rows);
            }
        } else if in_columns && let Some(copy) = scratch::<C>(k * n) {
            let rows = Matrix {
                at: copy.as_ptr().cast(),
                rows: n,
                columns: 1,
            };
            transpose([n, k], b.at, b.columns, rows.at, n);
            return large(sizes, c, a, rows);
        } else if a.rows == 1
            && a.columns > 1
            && m.min(n) >= PACKED_OFTEN
            && let Some(copy) = scratch::<C>(m * k)
        {
            let rows = Matrix {
                at: copy.as_ptr().cast(),
                rows: k,
                columns: 1,
            };
            transpose([k, m], a.at, a.columns, rows.at, k);
            return tiles(sizes, c, rows, b);
        }
        tiles(sizes, c, a, b);
    }
}

/// A buffer for so many elements, if there is memory for it.
fn scratch<C>(n: usize) -> Option<Storage> {
    Storage::new(n * size_of::<C>(), Device::Cpu).ok()
}

/// # Safety
/// As [`Product::product`].
unsafe fn tiles<C: Product>(
    sizes @ [m, n, k]: [usize; 3],
    c: Target<C>,
    a: Matrix<C>,
    b: Matrix<C>,
) {
    let edge = match m.max(n) {
        0..=128 => 64,
        129..=512 => 128,
        _ => 256,
    };
    let (down, across) = (m.div_ceil(edge), n.div_ceil(edge));
    let cost = C::cost([m.min(edge), n.min(edge), k]);
    let part = |i: usize, c: Target<C>, a: Matrix<C>, b: Matrix<C>, k: usize| {
        let (i, j) = (i / across * edge, i % across * edge);
        let sizes = [edge.min(m - i), edge.min(n - j), k];
        // SAFETY: the caller's promise, for a tile of the result.
        unsafe { inner(sizes, c.from(i, j), a.from(i, 0), b.from(0, j)) };
    };
    let depth = k.div_ceil(DEPTH);
    if down * across > 2 || depth < 4 {
        return threads::tasks(down * across, cost, |i| part(i, c, a, b, k));
    }
    // Few results of long sums: the parts of the sums are the tasks.
    let Some(sums) = scratch::<C>(depth * m * n) else {
        // SAFETY: the caller's promise.
        return unsafe { inner(sizes, c, a, b) };
    };
    let sums = Shared(sums.as_ptr().cast::<C>());
    let partial = |l: usize| Matrix {
        at: sums.at(l * m * n),
        rows: n,
        columns: 1,
    };
    let tasks = depth * down * across;
    threads::tasks(tasks, cost / depth as f64, |task| {
        let (l, i) = (task / (down * across), task % (down * across));
        let first = l * DEPTH;
        let (a, b) = (a.from(0, first), b.from(first, 0));
        let c = Target {
            to: partial(l),
            bias: None,
        };
        part(i, c, a, b, DEPTH.min(k - first));
    });
    for i in 0..m {
        for j in 0..n {
            let mut sum = C::ZERO;
            for l in 0..depth {
                // SAFETY: the tasks have written these.
                sum = sum.add(unsafe { *partial(l).at(i, j) });
            }
            // SAFETY: the caller's promise.
            unsafe { *c.to.at(i, j) = sum };
        }
    }
    // SAFETY: the caller's promise.
    unsafe { c.add_bias(m, n) };
}

/// # Safety
/// As [`Product::product`].
unsafe fn inner<C: Acc>([m, n, k]: [usize; 3], c: Target<C>, a: Matrix<C>, b: Matrix<C>) {
    // SAFETY: the caller's promise; strides fit in `isize` because the storage does.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            c.to.at,
            c.to.columns as isize,
            c.to.rows as isize,
            false,
            a.at,
            a.columns as isize,
            a.rows as isize,
            b.at,
            b.columns as isize,
            b.rows as isize,
            C::ZERO,
            C::ONE,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
        c.add_bias(m, n);
    }
}

/// # Safety
/// As [`Product::product`].
unsafe fn tiny<C: Acc>([m, n, k]: [usize; 3], c: Target<C>, a: Matrix<C>, b: Matrix<C>) {
    for i in 0..m {
        for j in 0..n {
            let mut sum = C::ZERO;
            for l in 0..k {
                // SAFETY: the caller's promise.
                sum = sum.add(unsafe { (*a.at(i, l)).mul(*b.at(l, j)) });
            }
            // SAFETY: the caller's promise.
            unsafe { *c.to.at(i, j) = sum };
        }
    }
    // SAFETY: the caller's promise.
    unsafe { c.add_bias(m, n) };
}

versions! {
    fn dot<C: Acc>(x: &[C], y: &[C]) -> C = dot_body;
    /// Adds the columns, which start at a distance of `stride`, multiplied by the elements of
    /// `vector`.
    fn sum_columns<C: Acc>(sums: &mut [C], columns: &[C], stride: usize, vector: &[C])
        = sum_columns_body;
}

#[inline(always)]
fn dot_body<C: Acc>(x: &[C], y: &[C]) -> C {
    sum_with(x, y, |x, y| x.mul(y))
}

#[inline(always)]
fn sum_columns_body<C: Acc>(sums: &mut [C], columns: &[C], stride: usize, vector: &[C]) {
    // Four columns at a time: the sums are read and written a quarter as often.
    let column = |l: usize| &columns[l * stride..];
    let (fours, rest) = vector.as_chunks::<4>();
    for (i, y) in fours.iter().enumerate() {
        let [a, b, c, d] = std::array::from_fn(|j| column(4 * i + j));
        let terms = a.iter().zip(b).zip(c.iter().zip(d));
        for (s, ((&a, &b), (&c, &d))) in sums.iter_mut().zip(terms) {
            let two = s.add(a.mul(y[0])).add(b.mul(y[1]));
            *s = two.add(c.mul(y[2])).add(d.mul(y[3]));
        }
    }
    for (l, &y) in (4 * fours.len()..).zip(rest) {
        for (s, &x) in sums.iter_mut().zip(column(l)) {
            *s = s.add(x.mul(y));
        }
    }
}

/// `c = a b` where `b` and `c` have one column.
///
/// # Safety
/// As [`Product::product`].
unsafe fn matrix_vector<C: Acc>(m: usize, k: usize, c: Target<C>, a: Matrix<C>, b: Matrix<C>) {
    if a.columns <= a.rows {
        let mut buffers = [Vec::new(), Vec::new()];
        let [vector, spare] = &mut buffers;
        // SAFETY: the caller's promise.
        let vector = unsafe { dense(b.at, b.rows, k, vector) };
        for i in 0..m {
            // SAFETY: the caller's promise.
            unsafe {
                let row = dense(a.at(i, 0), a.columns, k, spare);
                *c.to.at(i, 0) = dot(row, vector);
            }
        }
        // SAFETY: the caller's promise.
        return unsafe { c.add_bias(m, 1) };
    }
    let mut tile = [C::ZERO; TILE];
    let mut buffers = [Vec::new(), Vec::new()];
    let [vector, spare] = &mut buffers;
    // SAFETY: the caller's promise.
    let vector = unsafe { dense(b.at, b.rows, k, vector) };
    let mut first = 0;
    while first < m {
        let rows = (m - first).min(TILE);
        let tile = &mut tile[..rows];
        tile.fill(C::ZERO);
        if a.rows == 1 {
            let n = (k - 1) * a.columns + rows;
            // SAFETY: the caller's promise; what lies between the columns is not read.
            let columns = unsafe { std::slice::from_raw_parts(a.at(first, 0), n) };
            sum_columns(tile, columns, a.columns, vector);
        } else {
            for (l, y) in vector.iter().enumerate() {
                // SAFETY: the caller's promise.
                let column = unsafe { dense(a.at(first, l), a.rows, rows, spare) };
                sum_columns(tile, column, 0, std::slice::from_ref(y));
            }
        }
        for (i, &t) in tile.iter().enumerate() {
            // SAFETY: the caller's promise.
            unsafe { *c.to.at(first + i, 0) = t };
        }
        first += rows;
    }
    // SAFETY: the caller's promise.
    unsafe { c.add_bias(m, 1) };
}

/// `n` elements at a distance of `stride`, as they lie if that is 1, else copied to `buffer`.
///
/// # Safety
/// The elements may be read, and nothing writes them while the result lives.
unsafe fn dense<C: Acc>(from: *const C, stride: usize, n: usize, buffer: &mut Vec<C>) -> &[C] {
    if stride == 1 {
        // SAFETY: the caller's promise.
        return unsafe { std::slice::from_raw_parts(from, n) };
    }
    buffer.clear();
    // SAFETY: the caller's promise.
    buffer.extend((0..n).map(|i| unsafe { *from.wrapping_add(i * stride) }));
    buffer
}

/// The sizes `m`, `n` and `k`, and the leading dimensions.
fn sizes(a: &View, b: &View) -> ([usize; 3], usize) {
    let lead = a.layout.ndim() - 2;
    let (a, b) = (&a.layout.shape, &b.layout.shape);
    ([a[lead], b[lead + 1], a[lead + 1]], lead)
}

/// Products of elements as they lie.
fn direct<C: Product>(out: View, a: View, b: View, bias: Option<View>) {
    let (sizes, lead) = sizes(&a, &b);
    if sizes[2] == 0 {
        let sum = bias.map_or(Input::Scalar(Scalar::Int(0)), Input::View);
        return map(Functor::Copy, &[], C::DTYPE, out, &[sum]);
    }
    let matrix = |v: &View, at: usize| Matrix {
        at: address::<C>(v, at),
        rows: v.layout.strides[lead],
        columns: v.layout.strides[lead + 1],
    };
    let product = |at: &[usize; 4]| {
        let c = Target {
            to: matrix(&out, at[0]),
            bias: bias.as_ref().map(|bias| matrix(bias, at[3])),
        };
        // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
        unsafe { C::product(sizes, c, matrix(&a, at[1]), matrix(&b, at[2])) };
    };
    // Without a bias, the output walks in its place.
    let views = [&out, &a, &b, bias.as_ref().unwrap_or(&out)];
    if lead == 0 {
        return product(&views.map(|v| v.layout.offset));
    }
    let batch = views.map(|v| select(v.layout, |d| d < lead));
    let walk = Walk::new(&batch.each_ref());
    let mut places = Vec::new();
    walk.elements(|at| places.push(at));
    threads::ranges(places.len(), 1, C::cost(sizes) + 50.0, |range| {
        places[range].iter().for_each(product);
    });
}

/// Products of copies in the compute type `C`.
fn converted<C: Product>(out: View, a: View, b: View, bias: Option<View>) {
    fn move_to<C: Acc>(to: View, from: View) {
        map(Functor::Copy, &[], C::DTYPE, to, &[Input::View(from)]);
    }
    let read = |from: &View| {
        let copy = Copied::new::<C>(from.layout);
        let layout = &held_once(from.layout);
        let once = &held_once(&copy.layout);
        move_to::<C>(copy.view::<C>(once), View { layout, ..*from });
        copy
    };
    let (c, x, y) = (Copied::new::<C>(out.layout), read(&a), read(&b));
    let bias = bias.as_ref().map(read);
    let [c, x, y] = [&c, &x, &y].map(|copy| copy.view::<C>(&copy.layout));
    let bias = bias.as_ref().map(|copy| copy.view::<C>(&copy.layout));
    direct::<C>(c, x, y, bias);
    move_to::<C>(out, c);
}

/// Memory for a copy, and how the elements lie there.
struct Copied {
    storage: Storage,
    layout: Layout,
}

impl Copied {
    /// For the elements of a layout, in the same order in memory, which is quicker to read; those
    /// that a broadcast repeats have one place.
    ///
    /// # Panics
    /// Without memory for it.
    fn new<C: Acc>(layout: &Layout) -> Self {
        let mut order: Vec<usize> = (0..layout.ndim()).collect();
        let lead = layout.ndim() - 2;
        let strides = &layout.strides;
        if C::DTYPE.is_float() && strides[lead] < strides[lead + 1] {
            order.swap(lead, lead + 1);
        }
        let mut copied = layout.clone();
        copied.offset = 0;
        let mut step = 1;
        for &d in order.iter().rev() {
            if strides[d] != 0 {
                copied.strides[d] = step;
                step *= layout.shape[d];
            }
        }
        let Some(storage) = scratch::<C>(step) else {
            panic!("not enough memory for a copy of a matrix in {}", C::DTYPE)
        };
        Self {
            storage,
            layout: copied,
        }
    }

    fn view<'a, C: Acc>(&'a self, layout: &'a Layout) -> View<'a> {
        View {
            storage: &self.storage,
            layout,
            dtype: C::DTYPE,
        }
    }
}

/// A layout without the repetitions of a broadcast.
fn held_once(layout: &Layout) -> Layout {
    let mut once = layout.clone();
    for (n, s) in once.shape.iter_mut().zip(layout.strides.iter()) {
        if *s == 0 {
            *n = (*n).min(1);
        }
    }
    once
}
