//! Elementwise kernels.
//!
//! A functor runs on blocks of its compute type. Inputs that are dense and already of that type
//! are passed as they lie; others are loaded (gathered and cast) into a block on the stack. The
//! result is written where it belongs when nothing else lies there, else through a block: that is
//! what makes `x.exp_()` and `x += y` the same loop as `exp(x)` and `x + y`.

use super::super::functor::Block;
use super::super::{Functor, Input, View};
use super::walk::{MOST, Walk, address};
use crate::base::{DType, Layout, Scalar};
use crate::with_dtype;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use smallvec::SmallVec;

/// Elements in a block: 4 KiB of `f64`, so that four blocks stay in the first cache.
const BLOCK: usize = 512;

/// A type that functors compute in.
pub(super) trait ComputeType: Copy + Default + 'static {
    /// The corresponding [`DType`].
    const DTYPE: DType;
    /// The nearest value.
    fn of(s: Scalar) -> Self;
    /// The functor's loop over blocks of this type.
    fn block(f: Functor) -> Option<Block<Self>>;
}

macro_rules! compute_type {
    ($t:ident, $d:ident, $get:ident) => {
        impl ComputeType for $t {
            const DTYPE: DType = DType::$d;
            fn of(s: Scalar) -> Self {
                s.$get() as $t
            }
            fn block(f: Functor) -> Option<Block<Self>> {
                f.blocks().$t
            }
        }
    };
}
compute_type!(f32, F32, as_f64);
compute_type!(f64, F64, as_f64);
compute_type!(i64, I64, as_i64);

/// Loading a stored `S` as a computed `Self`, and storing it back.
pub(super) trait Cast<S> {
    /// The computed value of a stored one.
    fn load(s: S) -> Self;
    /// The stored value of a computed one.
    fn store(self) -> S;
}

macro_rules! cast_as {
    ($c:ty: $($s:ty),*) => { $(
        impl Cast<$s> for $c {
            #[inline(always)]
            fn load(s: $s) -> Self { s as $c }
            #[inline(always)]
            fn store(self) -> $s { self as $s }
        }
    )* };
}
cast_as!(f32: u8, i8, i16, i32, i64, f32, f64);
cast_as!(f64: u8, i8, i16, i32, i64, f32, f64);
cast_as!(i64: u8, i8, i16, i32, i64, f32, f64);

macro_rules! cast_rest {
    ($c:ty, $zero:expr, $one:expr) => {
        impl Cast<bool> for $c {
            #[inline(always)]
            fn load(s: bool) -> Self {
                if s { $one } else { $zero }
            }
            #[inline(always)]
            fn store(self) -> bool {
                self != $zero
            }
        }
        impl Cast<f16> for $c {
            #[inline(always)]
            fn load(s: f16) -> Self {
                s.to_f32() as $c
            }
            #[inline(always)]
            fn store(self) -> f16 {
                f16::from_f32(self as f32)
            }
        }
        impl Cast<bf16> for $c {
            #[inline(always)]
            fn load(s: bf16) -> Self {
                s.to_f32() as $c
            }
            #[inline(always)]
            fn store(self) -> bf16 {
                bf16::from_f32(self as f32)
            }
        }
    };
}
cast_rest!(f32, 0.0, 1.0);
cast_rest!(f64, 0.0, 1.0);
cast_rest!(i64, 0, 1);

/// See [`super::super::Backend::map`].
pub(super) fn map(f: Functor, params: &[Scalar], compute: DType, out: View, ins: &[Input]) {
    match compute {
        DType::F32 => run::<f32>(f, params, out, ins),
        DType::F64 => run::<f64>(f, params, out, ins),
        _ => run::<i64>(f, params, out, ins),
    }
}

fn run<C: ComputeType + AllCasts>(f: Functor, params: &[Scalar], out: View, ins: &[Input]) {
    let Some(block) = C::block(f) else {
        unreachable!(
            "{f:?} is not defined for {}: promotion rules it out",
            C::DTYPE
        )
    };
    let n = out.numel();
    if n == 0 {
        return;
    }
    let is_dense = |v: &View| v.layout.is_contiguous();
    let views = || {
        ins.iter().filter_map(|i| {
            if let Input::View(v) = i {
                Some(v)
            } else {
                None
            }
        })
    };
    let mut scalars: Vec<[C; BLOCK]> = Vec::new();
    let mut small: [[C; 16]; MOST] = [[C::default(); 16]; MOST];
    let length = n.min(BLOCK);
    for (i, input) in ins.iter().enumerate() {
        if let Input::Scalar(s) = input {
            if length <= 16 {
                small[i] = [C::of(*s); 16];
            } else {
                if scalars.is_empty() {
                    scalars.resize(ins.len(), [C::default(); BLOCK]);
                }
                scalars[i] = [C::of(*s); BLOCK];
            }
        }
    }
    let constant = |i: usize| -> *const C {
        if length <= 16 {
            small[i].as_ptr()
        } else {
            scalars[i].as_ptr()
        }
    };
    let may_alias = views().any(|v| v.storage.same(out.storage));
    let step = Step {
        block,
        params,
        out,
        ins,
        may_alias,
    };
    if is_dense(&out) && views().all(is_dense) {
        let mut at = [0; MOST];
        let mut stride = [0; MOST];
        at[0] = out.layout.offset;
        stride[0] = 1;
        for (i, input) in ins.iter().enumerate() {
            if let Input::View(v) = input {
                at[i + 1] = v.layout.offset;
                stride[i + 1] = 1;
            }
        }
        step.run(n, at, stride, &constant);
        return;
    }
    // Scalars walk along as if they were the output.
    let mut layouts: SmallVec<[&Layout; MOST]> = smallvec::smallvec![out.layout];
    for input in ins {
        layouts.push(match input {
            Input::View(v) => v.layout,
            Input::Scalar(_) => out.layout,
        });
    }
    let walk = Walk::new(&layouts);
    walk.for_each(|at| step.run(walk.run, at, walk.stride, &constant));
}

/// What every run of one call shares.
struct Step<'a, C> {
    block: Block<C>,
    params: &'a [Scalar],
    out: View<'a>,
    ins: &'a [Input<'a>],
    may_alias: bool,
}

impl<C: ComputeType + AllCasts> Step<'_, C> {
    /// Computes one run of `n` elements; `at[0]` and `stride[0]` are the output's.
    fn run(
        &self,
        n: usize,
        at: [usize; MOST],
        stride: [usize; MOST],
        constant: &dyn Fn(usize) -> *const C,
    ) {
        let mut buffers = [const { std::mem::MaybeUninit::<[C; BLOCK]>::uninit() }; MOST];
        let direct_out = self.out.dtype == C::DTYPE && stride[0] == 1 && !self.may_alias;
        let mut done = 0;
        while done < n {
            let m = (n - done).min(BLOCK);
            let [out_buffer, in_buffers @ ..] = &mut buffers;
            let mut slices: [&[C]; MOST - 1] = [&[]; MOST - 1];
            for (i, (input, buffer)) in self.ins.iter().zip(in_buffers).enumerate() {
                let source: *const C = match input {
                    Input::Scalar(_) => constant(i),
                    Input::View(v) => {
                        let (start, step) = (at[i + 1] + done * stride[i + 1], stride[i + 1]);
                        if v.dtype == C::DTYPE && step == 1 {
                            address::<C>(v, start)
                        } else {
                            // SAFETY: NOTE [Views in bounds]; the buffer has room for `m`.
                            unsafe { load(v, start, step, m, buffer.as_mut_ptr().cast::<C>()) };
                            buffer.as_ptr().cast()
                        }
                    }
                };
                // SAFETY: `m` elements lie at `source`: dense in the view, in the filled part of the
                // buffer, or in the block of constants.
                slices[i] = unsafe { std::slice::from_raw_parts(source, m) };
            }
            let start = at[0] + done * stride[0];
            let target = if direct_out {
                address::<C>(&self.out, start)
            } else {
                out_buffer.as_mut_ptr().cast()
            };
            // SAFETY: room for `m` elements; nothing else refers to it, since the output shares no
            // storage with the inputs when it is written directly. The functor writes before it
            // reads, and `C` has no invalid bit patterns.
            let result = unsafe { std::slice::from_raw_parts_mut(target, m) };
            (self.block)(result, &slices[..self.ins.len()], self.params);
            if !direct_out {
                // SAFETY: NOTE [Views in bounds]; the block holds `m` results.
                unsafe { store(&self.out, start, stride[0], m, target) };
            }
            done += m;
        }
    }
}

/// Every cast that a compute type needs.
pub(super) trait AllCasts:
    Cast<bool>
    + Cast<u8>
    + Cast<i8>
    + Cast<i16>
    + Cast<i32>
    + Cast<i64>
    + Cast<f16>
    + Cast<bf16>
    + Cast<f32>
    + Cast<f64>
{
}
impl AllCasts for f32 {}
impl AllCasts for f64 {}
impl AllCasts for i64 {}

/// Loads `n` elements, cast, into `to`.
///
/// # Safety
/// The elements lie within the view's storage; `to` has room.
pub(super) unsafe fn load<C: ComputeType + AllCasts>(
    v: &View,
    start: usize,
    stride: usize,
    n: usize,
    to: *mut C,
) {
    if v.dtype == DType::Bool {
        // Bytes other than 0 and 1 may come from foreign memory; all but 0 are true.
        let from = address::<u8>(v, start);
        for i in 0..n {
            // SAFETY: the caller's promise.
            unsafe { *to.add(i) = C::load(*from.wrapping_add(i * stride) != 0) };
        }
        return;
    }
    if v.dtype == DType::F16 && C::DTYPE == DType::F32 && stride == 1 {
        // SAFETY: the caller's promise; `C` is `f32`, and the slices are of different types.
        let (from, to) = unsafe {
            (
                std::slice::from_raw_parts(address::<f16>(v, start), n),
                std::slice::from_raw_parts_mut(to.cast::<f32>(), n),
            )
        };
        // Many at a time, by one instruction where the processor has it.
        from.convert_to_f32_slice(to);
        return;
    }
    with_dtype!(v.dtype, S => {
        let from = address::<S>(v, start);
        match stride {
            0 => {
                // SAFETY: the caller's promise.
                let x = C::load(unsafe { *from });
                // SAFETY: `to` has room for `n`.
                unsafe { std::slice::from_raw_parts_mut(to, n) }.fill(x);
            }
            1 => {
                for i in 0..n {
                    // SAFETY: the caller's promise.
                    unsafe { *to.add(i) = C::load(*from.add(i)) };
                }
            }
            _ => {
                for i in 0..n {
                    // SAFETY: the caller's promise.
                    unsafe { *to.add(i) = C::load(*from.add(i * stride)) };
                }
            }
        }
    });
}

/// Stores `n` elements, cast, from `from`.
///
/// # Safety
/// The elements lie within the view's storage; `from` holds `n`.
pub(super) unsafe fn store<C: ComputeType + AllCasts>(
    v: &View,
    start: usize,
    stride: usize,
    n: usize,
    from: *const C,
) {
    if v.dtype == DType::F16 && C::DTYPE == DType::F32 && stride == 1 {
        // SAFETY: the caller's promise; `C` is `f32`, and the slices are of different types.
        let (from, to) = unsafe {
            (
                std::slice::from_raw_parts(from.cast::<f32>(), n),
                std::slice::from_raw_parts_mut(address::<f16>(v, start), n),
            )
        };
        to.convert_from_f32_slice(from);
        return;
    }
    with_dtype!(v.dtype, S => {
        let to = address::<S>(v, start);
        if stride == 1 {
            for i in 0..n {
                // SAFETY: the caller's promise.
                unsafe { *to.add(i) = (*from.add(i)).store() };
            }
        } else {
            for i in 0..n {
                // SAFETY: the caller's promise.
                unsafe { *to.add(i * stride) = (*from.add(i)).store() };
            }
        }
    });
}

/// See [`super::super::Backend::iota`].
pub(super) fn iota(out: View, start: Scalar, step: Scalar) {
    let integers = matches!(
        (start, step),
        (
            Scalar::Int(_) | Scalar::Bool(_),
            Scalar::Int(_) | Scalar::Bool(_)
        )
    );
    let mut first = 0usize;
    let n = out.numel();
    let flat = Layout::contiguous(crate::base::Shape::from([n]));
    debug_assert!(out.layout.is_contiguous());
    let dense = View {
        layout: &Layout {
            offset: out.layout.offset,
            ..flat
        },
        ..out
    };
    while first < n {
        let m = (n - first).min(BLOCK);
        let at = dense.layout.offset + first;
        if integers {
            let mut block = [0i64; BLOCK];
            for (i, x) in block[..m].iter_mut().enumerate() {
                *x = start
                    .as_i64()
                    .wrapping_add(((first + i) as i64).wrapping_mul(step.as_i64()));
            }
            // SAFETY: NOTE [Views in bounds].
            unsafe { store(&dense, at, 1, m, block.as_ptr()) };
        } else {
            let mut block = [0f64; BLOCK];
            for (i, x) in block[..m].iter_mut().enumerate() {
                *x = start.as_f64() + (first + i) as f64 * step.as_f64();
            }
            // SAFETY: NOTE [Views in bounds].
            unsafe { store(&dense, at, 1, m, block.as_ptr()) };
        }
        first += m;
    }
}
