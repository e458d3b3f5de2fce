//! Matrix products.

use super::super::{Functor, Input, View};
#[cfg(target_arch = "x86_64")]
use super::isa::Isa;
use super::isa::isa;
use super::lane::{Acc, select};
use super::map::{ComputeType, map};
use super::threads;
use super::walk::{Walk, address};
use crate::base::{DType, Device, Layout, Scalar};
use crate::memory::Storage;
#[cfg(target_arch = "x86_64")]
use half::bf16;
use matrix::{AccOf, Matrix, Target};
use vector::matrix_vector;

mod kernel;
mod matrix;
mod panels;
#[cfg(test)]
mod tests;
mod tiles;
mod vector;

/// Up to this size in every dimension, a plain loop is quicker than packing.
const TINY: usize = 4;

/// See [`super::super::Backend::matmul`].
pub(super) fn matmul(out: View, a: View, b: View, bias: Option<View>, relu: bool) {
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
        DType::F32 => direct::<f32>(out, a, b, bias, relu),
        DType::F64 => direct::<f64>(out, a, b, bias, relu),
        #[cfg(target_arch = "x86_64")]
        DType::BF16 if kernel::multiplies_bf16() && !is_vector(&out) => {
            direct::<bf16>(out, a, b, bias, relu)
        }
        DType::F16 | DType::BF16 => {
            converted::<f32>(out, a, b, bias);
            if relu {
                map(Functor::Relu, &[], DType::F32, out, &[Input::View(out)]);
            }
        }
        _ => converted::<i64>(out, a, b, bias),
    }
}

/// Whether the results of a product are vectors.
#[cfg(target_arch = "x86_64")]
fn is_vector(out: &View) -> bool {
    let shape = &out.layout.shape;
    shape[shape.len() - 2..].contains(&1)
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

/// Types with a product of matrices in memory.
trait Product: Copy + Send + Sync + 'static {
    /// What sums are computed in.
    type Sum: Acc;

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
    ($t:ty: $avx512:ident $avx2:ident $base:ident) => {
        impl Product for $t {
            type Sum = $t;

            unsafe fn product(
                sizes @ [m, n, k]: [usize; 3],
                c: Target<Self>,
                a: Matrix<Self>,
                b: Matrix<Self>,
            ) {
                // SAFETY: the caller's promise, passed on in each branch; the processor has the
                // instructions.
                unsafe {
                    if m.max(n).max(k) <= TINY {
                        tiny(sizes, c, a, b);
                    } else if n == 1 {
                        matrix_vector(m, k, c, a, b);
                    } else if m == 1 {
                        matrix_vector(n, k, c.transposed(), b.transposed(), a.transposed());
                    } else {
                        match isa() {
                            #[cfg(target_arch = "x86_64")]
                            Isa::Avx512 => tiles::product::<kernel::$avx512, _>(sizes, c, a, b),
                            #[cfg(target_arch = "x86_64")]
                            Isa::Avx2 => tiles::product::<kernel::$avx2, _>(sizes, c, a, b),
                            _ => tiles::product::<kernel::$base, _>(sizes, c, a, b),
                        }
                    }
                }
            }
        }
    };
}
float_product!(f32: Avx512F32 Avx2F32 BaseF32);
float_product!(f64: Avx512F64 Avx2F64 BaseF64);

#[cfg(target_arch = "x86_64")]
impl Product for bf16 {
    type Sum = f32;

    unsafe fn product(sizes: [usize; 3], c: Target<Self>, a: Matrix<Self>, b: Matrix<Self>) {
        // SAFETY: the caller's promise; the processor has the instructions.
        unsafe {
            if kernel::multiplies_tiles() {
                tiles::product::<kernel::AmxBf16, _>(sizes, c, a, b)
            } else {
                tiles::product::<kernel::Avx512Bf16, _>(sizes, c, a, b)
            }
        }
    }
}

impl Product for i64 {
    type Sum = i64;

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

/// # Safety
/// As [`Product::product`].
unsafe fn tiny<C: AccOf<C>>([m, n, k]: [usize; 3], c: Target<C>, a: Matrix<C>, b: Matrix<C>) {
    for i in 0..m {
        for j in 0..n {
            let mut sum = C::ZERO;
            for l in 0..k {
                // SAFETY: the caller's promise.
                sum = sum.add(unsafe { (*a.at(i, l)).mul(*b.at(l, j)) });
            }
            // SAFETY: the caller's promise.
            unsafe { c.put(i, j, sum) };
        }
    }
}

/// The sizes `m`, `n` and `k`, and the leading dimensions.
fn sizes(a: &View, b: &View) -> ([usize; 3], usize) {
    let lead = a.layout.ndim() - 2;
    let (a, b) = (&a.layout.shape, &b.layout.shape);
    ([a[lead], b[lead + 1], a[lead + 1]], lead)
}

/// Products of elements as they lie.
fn direct<T: Product>(out: View, a: View, b: View, bias: Option<View>, relu: bool) {
    let (sizes, lead) = sizes(&a, &b);
    if sizes[2] == 0 {
        let sum = bias.map_or(Input::Scalar(Scalar::Int(0)), Input::View);
        let f = if relu { Functor::Relu } else { Functor::Copy };
        return map(f, &[], T::Sum::DTYPE, out, &[sum]);
    }
    let matrix = |v: &View, at: usize| Matrix {
        at: address::<T>(v, at),
        rows: v.layout.strides[lead],
        columns: v.layout.strides[lead + 1],
    };
    let product = |at: &[usize; 4]| {
        let c = Target {
            to: matrix(&out, at[0]),
            bias: bias.as_ref().map(|bias| matrix(bias, at[3])),
            relu,
        };
        // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
        unsafe { T::product(sizes, c, matrix(&a, at[1]), matrix(&b, at[2])) };
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
    threads::ranges(places.len(), 1, T::cost(sizes) + 50.0, |range| {
        places[range].iter().for_each(product);
    });
}

/// Products of copies in the compute type `C`.
fn converted<C: Product + Acc>(out: View, a: View, b: View, bias: Option<View>) {
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
    direct::<C>(c, x, y, bias, false);
    move_to::<C>(out, c);
}

/// Memory for `n` elements.
///
/// # Panics
/// Without memory for them.
fn scratch<T>(n: usize) -> Storage {
    Storage::new(n * size_of::<T>(), Device::Cpu)
        .unwrap_or_else(|e| panic!("working memory of a product of matrices: {e}"))
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
        Self {
            storage: scratch::<C>(step),
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
