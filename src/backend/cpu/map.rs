//! Elementwise kernels.
//!
//! A functor runs on blocks of its compute type. Inputs that are dense and already of that type
//! are passed as they lie; others are loaded (gathered and cast) into a block on the stack. The
//! result is written where it belongs when nothing else lies there, else through a block: that is
//! what makes `x.exp_()` and `x += y` the same loop as `exp(x)` and `x + y`.

use super::super::functor::{Block, Rows};
use super::super::{Functor, Input, View};
use super::isa::versions;
use super::stream::{is_worth, stream};
use super::threads::{self, Shared};
use super::transpose::Across;
use super::walk::{Cursor, Dense, MOST, Place, Walk, address};
use crate::base::{DType, Device, Layout, Scalar};
use crate::memory::Storage;
use crate::with_dtype;
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use smallvec::SmallVec;
use std::mem::MaybeUninit;
use std::ops::Range;

#[cfg(test)]
mod tests;

/// Elements in a block: 8 KiB of `f64`, so that an operand, its copy and the result stay in the first
/// cache.
const BLOCK: usize = 1024;

/// A type that functors compute in.
pub(super) trait ComputeType: Copy + Default + Send + Sync + 'static {
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
cast_as!(f32: f32, f64);
cast_as!(f64: f32, f64);
cast_as!(i64: u8, i8, i16, i32, i64);

macro_rules! cast_floats {
    ($($c:ty),*) => { $(
        impl Cast<$c> for i64 {
            #[inline(always)]
            fn load(s: $c) -> Self { s.saturated() }
            #[inline(always)]
            fn store(self) -> $c { self as $c }
        }
        cast_floats!(@integers $c, through i32: u8, i8, i16, i32);
        cast_floats!(@integers $c, through i64: i64);
    )* };
    // Small integers wrap, as in PyTorch and as those made from scalars do; wide ones saturate.
    (@integers $c:ty, through $through:ty: $($s:ty),*) => { $(
        impl Cast<$s> for $c {
            #[inline(always)]
            fn load(s: $s) -> Self { s as $c }
            #[inline(always)]
            fn store(self) -> $s { Saturate::<$through>::saturated(self) as $s }
        }
    )* };
}
cast_floats!(f32, f64);

/// `self as T`, in a form that becomes vector instructions.
trait Saturate<T> {
    fn saturated(self) -> T;
}

macro_rules! saturate {
    ($($f:ty as $i:ty),*) => { $(
        impl Saturate<$i> for $f {
            #[inline(always)]
            fn saturated(self) -> $i {
                const BOUND: $f = -(<$i>::MIN as $f);
                let inside = if self.abs() < BOUND { self } else { 0.0 };
                // SAFETY: the number is finite and its integral part fits.
                let x = unsafe { inside.to_int_unchecked::<$i>() };
                let x = if self >= BOUND { <$i>::MAX } else { x };
                if self <= -BOUND { <$i>::MIN } else { x }
            }
        }
    )* };
}
saturate!(f32 as i32, f32 as i64, f64 as i32, f64 as i64);

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
    let block = match f {
        Functor::Copy => Some(copied::<C> as Block<C>),
        _ => C::block(f),
    };
    let Some(block) = block else {
        unreachable!(
            "{f:?} is not defined for {}: promotion rules it out",
            C::DTYPE
        )
    };
    let n = out.numel();
    if let (Functor::Copy, [Input::View(x)]) = (f, ins)
        && x.dtype != out.dtype
        && (x.dtype == C::DTYPE || out.dtype == C::DTYPE)
        && n > 0
        && is_dense(x.layout)
        && is_dense(out.layout)
        && !meet(span(x), span(&out))
    {
        return cast::<C>(out, *x, n);
    }
    if n > 0
        && !as_they_lie(f, block, params, &out, n, ins)
        && !(n >= WORTH_TURNING && turned(f, params, C::DTYPE, &out, n, ins))
    {
        by_blocks(f, block, params, out, n, ins);
    }
}

/// The functor's loop for copies. The C library copies long strings by an instruction of their own, which
/// takes ten times as long on some processors (Zen 4 is one) if the target lies just ahead of the source,
/// but for whole pages; short ones it copies in registers.
fn copied<C: Copy>(out: &mut [C], n: usize, ins: &[Rows<C>], _: &[Scalar]) {
    const SHORT: usize = 128;
    for (i, out) in out.chunks_mut(n).enumerate() {
        let x = ins[0].row(i);
        let ahead = out.as_ptr().addr().wrapping_sub(x.as_ptr().addr()) % 4096;
        if (1..64).contains(&ahead) {
            let parts = out.chunks_mut(SHORT).zip(x.chunks(SHORT));
            parts.for_each(|(out, x)| out.copy_from_slice(x));
        } else {
            out.copy_from_slice(x);
        }
    }
}

/// From so many elements on, inputs that lie across the output's rows are copied the other way round
/// first.
const WORTH_TURNING: usize = 1 << 12;

/// Computes with copies of those inputs that lie across the rows of a dense output, or copies to the
/// output itself. `false` if there are none, or no memory, and then nothing has been done.
fn turned(
    f: Functor,
    params: &[Scalar],
    compute: DType,
    out: &View,
    n: usize,
    ins: &[Input],
) -> bool {
    if !is_dense(out.layout) {
        return false;
    }
    let copy = |across: &Across, to: *mut u8, v: &View| {
        // SAFETY: `to` has room for the elements: the output, which nothing else refers to here, or
        // a new buffer.
        unsafe {
            match v.dtype.size() {
                1 => across.copy::<u8>(to, v),
                2 => across.copy::<u16>(to.cast(), v),
                4 => across.copy::<u32>(to.cast(), v),
                _ => across.copy::<u64>(to.cast(), v),
            }
        }
    };
    if let (Functor::Copy, [Input::View(v)]) = (f, ins)
        && v.dtype == out.dtype
    {
        let across = Across::new(out.layout, v.layout).filter(|_| !meet(span(v), span(out)));
        let Some(across) = across else { return false };
        copy(
            &across,
            address::<u8>(out, out.layout.offset * out.dtype.size()),
            v,
        );
        return true;
    }
    let layout = Layout {
        offset: 0,
        ..out.layout.clone()
    };
    let copies: SmallVec<[Option<Storage>; MOST]> = ins
        .iter()
        .map(|input| match input {
            Input::View(v) => {
                let across = Across::new(out.layout, v.layout)?;
                let storage = Storage::new(n * v.dtype.size(), Device::Cpu).ok()?;
                copy(&across, storage.as_ptr(), v);
                Some(storage)
            }
            Input::Scalar(_) => None,
        })
        .collect();
    if copies.iter().all(Option::is_none) {
        return false;
    }
    let ins: SmallVec<[Input; MOST]> = ins
        .iter()
        .zip(&copies)
        .map(|(input, copy)| match (input, copy) {
            (Input::View(v), Some(storage)) => Input::View(View {
                storage,
                layout: &layout,
                dtype: v.dtype,
            }),
            _ => *input,
        })
        .collect();
    map(f, params, compute, *out, &ins);
    true
}

/// Copies dense elements to other memory; either side's are of the compute type.
fn cast<C: ComputeType + AllCasts>(out: View, x: View, n: usize) {
    let (to, from) = (out.layout.offset, x.layout.offset);
    threads::ranges(n, LINE, 0.2, |range| {
        let (to, from, m) = (to + range.start, from + range.start, range.len());
        // SAFETY: NOTE [Views in bounds]; the two do not meet.
        unsafe {
            if out.dtype == C::DTYPE {
                load(&x, from, 1, m, address::<C>(&out, to));
            } else {
                store(&out, to, 1, m, address::<C>(&x, from));
            }
        }
    });
}

/// Whether the elements lie one after the other; there is at least one.
#[inline(always)]
fn is_dense(layout: &Layout) -> bool {
    let mut step = 1;
    for (&n, &s) in layout.shape.iter().zip(layout.strides.iter()).rev() {
        if n != 1 {
            if s != step {
                return false;
            }
            step *= n;
        }
    }
    true
}

/// Whether all elements are at one place.
#[inline(always)]
fn is_one(layout: &Layout) -> bool {
    let mut dims = layout.shape.iter().zip(layout.strides.iter());
    dims.all(|(&n, &s)| s == 0 || n == 1)
}

/// Whether two ranges of bytes, given by their first addresses and lengths, have a byte in common.
/// NOTE [Same memory]: storages are not compared, because two of them may name the same foreign
/// memory.
#[inline(always)]
fn meet(a: (usize, usize), b: (usize, usize)) -> bool {
    a.0 < b.0 + b.1 && b.0 < a.0 + a.1
}

/// The bytes from a view's first element to its last; it has at least one.
fn span(v: &View) -> (usize, usize) {
    let (first, size) = (v.layout.offset, v.dtype.size());
    let start = v.storage.as_ptr() as usize + first * size;
    (start, (v.layout.end() - first) * size)
}

/// Inputs of up to so many elements are copied rather than refused by [`as_they_lie`].
const FEW: usize = 32;

/// Fewer elements are never shared among threads.
const FEW_FOR_THREADS: usize = 4096;

/// Elements that threads take are whole cache lines of the smallest type.
const LINE: usize = 64;

/// The quick way, where every view is dense and of the compute type: one call of the functor's
/// loop. `false` if that cannot be, and then nothing has been done.
#[inline]
fn as_they_lie<C: ComputeType>(
    f: Functor,
    block: Block<C>,
    params: &[Scalar],
    out: &View,
    n: usize,
    ins: &[Input],
) -> bool {
    let mut slices = [Rows::one(&[]); MOST - 1];
    if out.dtype != C::DTYPE || !is_dense(out.layout) || ins.len() > slices.len() {
        return false;
    }
    let numbers = f.takes_numbers();
    let mut copies = [const { MaybeUninit::<[C; FEW]>::uninit() }; MOST - 1];
    let target = address::<C>(out, out.layout.offset);
    let bytes = n * size_of::<C>();
    for ((slot, input), copy) in slices.iter_mut().zip(ins).zip(&mut copies) {
        let copy = copy.as_mut_ptr().cast::<C>();
        let mut length = n;
        let source = match input {
            Input::Scalar(s) if numbers => {
                // SAFETY: the copy has room for one.
                unsafe { copy.write(C::of(*s)) };
                length = 1;
                copy
            }
            Input::View(v) if numbers && v.dtype == C::DTYPE && is_one(v.layout) => {
                // SAFETY: as above, and NOTE [Views in bounds].
                unsafe { copy.write(*address::<C>(v, v.layout.offset)) };
                length = 1;
                copy
            }
            Input::View(v) if v.dtype == C::DTYPE && is_dense(v.layout) => {
                let from = address::<C>(v, v.layout.offset);
                if !meet((target as usize, bytes), (from as usize, bytes)) {
                    from
                } else if n <= FEW {
                    // SAFETY: NOTE [Views in bounds]: `n` elements of type `C` lie at `from`, and
                    // the copy has room for them.
                    unsafe { copy.copy_from_nonoverlapping(from, n) };
                    copy
                } else {
                    return false;
                }
            }
            Input::Scalar(s) if n <= FEW => {
                let x = C::of(*s);
                // SAFETY: the copy has room for `n` elements.
                (0..n).for_each(|i| unsafe { copy.add(i).write(x) });
                copy
            }
            _ => return false,
        };
        // SAFETY: so many elements lie at `source`: in a dense view (NOTE [Views in bounds]) that is
        // apart from the output, all that is written below, or in the copy.
        *slot = Rows::one(unsafe { std::slice::from_raw_parts(source, length) });
    }
    // SAFETY: NOTE [Views in bounds]: the output is dense; no slice refers to its elements. The
    // functor writes before it reads, and `C` has no invalid bit patterns.
    let result = unsafe { std::slice::from_raw_parts_mut(target, n) };
    let slices = &slices[..ins.len()];
    if n < FEW_FOR_THREADS {
        block(result, n, slices, params);
        return true;
    }
    let compute = |range: Range<usize>, result: &mut [C]| {
        let mut parts = [Rows::one(&[]); MOST - 1];
        for (part, slice) in parts.iter_mut().zip(slices) {
            *part = match slice.elements {
                [_] => *slice,
                elements => Rows::one(&elements[range.clone()]),
            };
        }
        block(result, range.len(), &parts[..slices.len()], params);
    };
    let streamed = is_worth(bytes);
    let result = Shared(result.as_mut_ptr());
    threads::ranges(n, LINE, f.cost(), |range| {
        // SAFETY: the ranges of a region do not meet.
        let result = unsafe { result.slice(range.clone()) };
        if streamed {
            let first = range.start;
            stream(result, |part, result| {
                compute(first + part.start..first + part.end, result)
            });
        } else {
            compute(range, result);
        }
    });
    true
}

/// The general way: inputs that do not lie as the functor's loop needs them are loaded, block by
/// block, and so are those that the output overwrites.
#[inline(never)]
fn by_blocks<C: ComputeType + AllCasts>(
    f: Functor,
    block: Block<C>,
    params: &[Scalar],
    out: View,
    n: usize,
    ins: &[Input],
) {
    assert!(ins.len() < MOST, "a functor of {} inputs", ins.len());
    let mut start = [0; MOST];
    let mut layouts = [out.layout; MOST];
    let mut dense = is_dense(out.layout);
    start[0] = out.layout.offset;
    for (i, input) in ins.iter().enumerate() {
        // Scalars walk along as if they were the output.
        if let Input::View(v) = input {
            start[i + 1] = v.layout.offset;
            layouts[i + 1] = v.layout;
            dense &= is_dense(v.layout);
        }
    }
    let step = Step {
        block,
        numbers: f.takes_numbers(),
        params,
        out,
        ins,
    };
    let cost = f.cost().max(if dense { 0.5 } else { 1.0 });
    if dense {
        let places = start.map(Dense);
        return threads::ranges(n, BLOCK, cost, |range| step.run(range, &places));
    }
    let axes = Walk::new(&layouts[..=ins.len()]).axes();
    let mut cursors = [const { Cursor::ONE }; MOST];
    for (v, cursor) in cursors.iter_mut().enumerate().take(ins.len() + 1) {
        *cursor = Cursor::new(&axes, v, start[v]);
    }
    threads::ranges(n, BLOCK, cost, |range| step.run(range, &cursors));
}

/// What the blocks of one call share.
struct Step<'a, C> {
    block: Block<C>,
    /// Whether the block takes rows of one number.
    numbers: bool,
    params: &'a [Scalar],
    out: View<'a>,
    ins: &'a [Input<'a>],
}

/// Rows that are so many elements together are passed to the functor as they lie; fewer are gathered
/// into blocks.
const WORTH_A_CALL: usize = 64;

impl<C: ComputeType + AllCasts> Step<'_, C> {
    /// Computes a range of the elements. `places` are those of the first element of all; the first
    /// one is the output's.
    fn run<P: Place>(&self, range: Range<usize>, places: &[P; MOST]) {
        let n = range.len();
        let [mut to, mut from @ ..] = places.each_ref().map(|p| p.skipped(range.start));
        let mut buffers = [const { MaybeUninit::<[C; BLOCK]>::uninit() }; MOST];
        let [out_buffer, in_buffers @ ..] = &mut buffers;
        let in_buffers = in_buffers.each_mut().map(|b| b.as_mut_ptr().cast::<C>());
        let typed_out = self.out.dtype == C::DTYPE;
        // Inputs that may be read where they lie.
        let mut typed_in = [false; MOST - 1];
        for (i, input) in self.ins.iter().enumerate() {
            match input {
                Input::View(v) => {
                    typed_in[i] =
                        v.dtype == C::DTYPE && !(typed_out && meet(span(v), span(&self.out)));
                }
                Input::Scalar(s) => {
                    let x = C::of(*s);
                    let length = if self.numbers { 1 } else { n.min(BLOCK) };
                    // SAFETY: the buffer has room for a block.
                    (0..length).for_each(|j| unsafe { in_buffers[i].add(j).write(x) });
                }
            }
        }
        let mut done = 0;
        while done < n {
            let (count, m) = self.rows(n - done, done == 0, &to, &from, typed_out, &typed_in);
            let all = count * m;
            let mut ins = [Rows::one(&[]); MOST - 1];
            for (i, input) in self.ins.iter().enumerate() {
                let place = &mut from[i];
                let (source, width, step) = match input {
                    Input::Scalar(_) if self.numbers => (in_buffers[i].cast_const(), 1, 0),
                    Input::Scalar(_) => (in_buffers[i].cast_const(), m, 0),
                    Input::View(v) if self.numbers && place.repeats() >= m => {
                        // SAFETY: NOTE [Views in bounds]; the buffer has room for that many rows.
                        unsafe { load(v, place.at(), place.rows(m).1, count, in_buffers[i]) };
                        place.pass(count, m);
                        (in_buffers[i].cast_const(), 1, 1)
                    }
                    Input::View(v) if typed_in[i] && place.lead() >= m => {
                        let source = address::<C>(v, place.at()).cast_const();
                        let step = place.rows(m).1;
                        place.pass(count, m);
                        (source, m, step)
                    }
                    Input::View(v) => {
                        let mut filled = in_buffers[i];
                        place.take(all, |at, stride, n| {
                            // SAFETY: NOTE [Views in bounds]; the runs have `all` elements together,
                            // for which the buffer has room.
                            unsafe { load(v, at, stride, n, filled) };
                            filled = filled.wrapping_add(n);
                        });
                        (in_buffers[i].cast_const(), m, m)
                    }
                };
                // SAFETY: so many elements lie at `source`: in rows of a view that is apart from what is
                // written below, or in the filled part of the buffer.
                let elements =
                    unsafe { std::slice::from_raw_parts(source, (count - 1) * step + width) };
                ins[i] = Rows {
                    elements,
                    width,
                    step,
                };
            }
            let direct = typed_out && to.lead() >= all;
            let target = if direct {
                address::<C>(&self.out, to.at())
            } else {
                out_buffer.as_mut_ptr().cast()
            };
            // SAFETY: room for `all` elements; nothing else refers to it, since inputs that share
            // memory with an output of type `C` were loaded. The functor writes before it reads,
            // and `C` has no invalid bit patterns.
            let result = unsafe { std::slice::from_raw_parts_mut(target, all) };
            (self.block)(result, m, &ins[..self.ins.len()], self.params);
            let mut left = target.cast_const();
            to.take(all, |at, stride, n| {
                if !direct {
                    // SAFETY: NOTE [Views in bounds]; the runs have `all` elements together, and the
                    // block holds as many results.
                    unsafe { store(&self.out, at, stride, n, left) };
                    left = left.wrapping_add(n);
                }
            });
            done += all;
        }
    }

    /// How many rows of how many elements to compute next, of the `n` that are left: those which views
    /// that need no buffer have, if they are worth a call, else long ones. The first call of many may be
    /// small, after which whole rows follow.
    fn rows<P: Place>(
        &self,
        n: usize,
        is_first: bool,
        to: &P,
        from: &[P; MOST - 1],
        typed_out: bool,
        typed_in: &[bool; MOST - 1],
    ) -> (usize, usize) {
        // How many of the next elements each view has without a buffer; scalars have all.
        let mut leads = [usize::MAX; MOST];
        leads[0] = if typed_out { to.lead() } else { 0 };
        for (i, input) in self.ins.iter().enumerate() {
            if let Input::View(_) = input {
                let repeats = if self.numbers { from[i].repeats() } else { 0 };
                let lead = if typed_in[i] { from[i].lead() } else { 0 };
                leads[i + 1] = repeats.max(lead);
            }
        }
        let rows = |least: usize| {
            let long = leads.iter().filter(|&&lead| lead >= least);
            let m = long.fold(n.min(BLOCK), |m, &lead| m.min(lead));
            let most = |v: usize| match leads[v] {
                usize::MAX => BLOCK,
                lead if lead < m => BLOCK / m,
                lead if v == 0 => lead / m,
                _ => from[v - 1].rows(m).0,
            };
            let count = (0..MOST).map(most).fold((n / m).min(BLOCK), usize::min);
            (count, m)
        };
        let (count, m) = rows(1);
        if count * m >= WORTH_A_CALL.min(n) || (is_first && n > BLOCK) {
            return (count, m);
        }
        rows(WORTH_A_CALL)
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
/// The elements lie within the view's storage; `to` has room for them elsewhere.
pub(super) unsafe fn load<C: ComputeType + AllCasts>(
    v: &View,
    start: usize,
    stride: usize,
    n: usize,
    to: *mut C,
) {
    if v.dtype == DType::Bool {
        let from = address::<u8>(v, start).cast_const();
        if stride == 1 {
            // SAFETY: the caller's promise; `to` has room for `n` and is a block of its own.
            let (from, to) = unsafe {
                (
                    std::slice::from_raw_parts(from, n),
                    std::slice::from_raw_parts_mut(to.cast(), n),
                )
            };
            return load_truths::<C>(from, to);
        }
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
                repeat(x, unsafe { std::slice::from_raw_parts_mut(to.cast(), n) });
            }
            1 => {
                // SAFETY: the caller's promise; `to` has room for `n` and is a block of its own.
                let (from, to) = unsafe {
                    (
                        std::slice::from_raw_parts(from, n),
                        std::slice::from_raw_parts_mut(to.cast(), n),
                    )
                };
                load_dense::<S, C>(from, to);
            }
            _ => {
                for i in 0..n {
                    // SAFETY: the caller's promise.
                    unsafe { to.add(i).write(C::load(*from.add(i * stride))) };
                }
            }
        }
    });
}

/// Stores `n` elements, cast, from `from`.
///
/// # Safety
/// The elements lie within the view's storage; `from` holds `n` elsewhere.
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
            // SAFETY: the caller's promise; `from` is a block of its own.
            let (from, to) = unsafe {
                (
                    std::slice::from_raw_parts(from, n),
                    std::slice::from_raw_parts_mut(to.cast(), n),
                )
            };
            store_dense::<S, C>(from, to);
        } else {
            for i in 0..n {
                // SAFETY: the caller's promise.
                unsafe { to.add(i * stride).write((*from.add(i)).store()) };
            }
        }
    });
}

versions! {
    /// Loads elements that lie one after the other.
    fn load_dense<S: Copy, C: Cast<S>>(from: &[S], to: &mut [MaybeUninit<C>]) = load_dense_body;
    /// Loads truth values. Bytes other than 0 and 1 may come from foreign memory; all but 0 are true.
    fn load_truths<C: Truths>(from: &[u8], to: &mut [MaybeUninit<C>]) = load_truths_body;
    /// Stores elements one after the other.
    fn store_dense<S: Copy, C: Stores<S>>(from: &[C], to: &mut [MaybeUninit<S>])
        = store_dense_body;
    /// Writes the same value everywhere.
    fn repeat<C: Copy>(x: C, to: &mut [MaybeUninit<C>]) = repeat_body;
}

#[inline(always)]
fn repeat_body<C: Copy>(x: C, to: &mut [MaybeUninit<C>]) {
    to.fill(MaybeUninit::new(x));
}

/// A computed type that can be copied out of a block and stored.
trait Stores<S>: Cast<S> + Copy {}
impl<S, C: Cast<S> + Copy> Stores<S> for C {}

#[inline(always)]
fn load_dense_body<S: Copy, C: Cast<S>>(from: &[S], to: &mut [MaybeUninit<C>]) {
    for (to, &x) in to.iter_mut().zip(from) {
        to.write(C::load(x));
    }
}

/// A computed type that truth values are loaded as.
trait Truths: Cast<bool> + Copy {}
impl<C: Cast<bool> + Copy> Truths for C {}

#[inline(always)]
fn load_truths_body<C: Truths>(from: &[u8], to: &mut [MaybeUninit<C>]) {
    for (to, &x) in to.iter_mut().zip(from) {
        to.write(C::load(x != 0));
    }
}

#[inline(always)]
fn store_dense_body<S: Copy, C: Stores<S>>(from: &[C], to: &mut [MaybeUninit<S>]) {
    for (to, &x) in to.iter_mut().zip(from) {
        to.write(x.store());
    }
}

/// See [`super::super::Backend::fill`].
pub(super) fn fill(out: View, value: Scalar) {
    // A bool is made from the number itself: 0.5 is true, but 0 as an integer.
    let value = match out.dtype {
        DType::Bool => Scalar::Bool(value.as_bool()),
        _ => value,
    };
    if is_dense(out.layout) {
        use crate::base::dtype::Element;
        with_dtype!(out.dtype, S => {
            let to = Shared(address::<S>(&out, out.layout.offset));
            let value = S::from_scalar(value);
            return threads::ranges(out.numel(), LINE, 0.1, |range| {
                // SAFETY: NOTE [Views in bounds]: the elements lie one after the other, and the
                // ranges do not meet.
                let part = unsafe {
                    std::slice::from_raw_parts_mut(to.at(range.start).cast(), range.len())
                };
                repeat(value, part);
            });
        });
    }
    map(
        Functor::Copy,
        &[],
        out.dtype.compute(),
        out,
        &[Input::Scalar(value)],
    );
}

/// See [`super::super::Backend::iota`].
pub(super) fn iota(out: View, start: Scalar, step: Scalar) {
    let is_float = |s| matches!(s, Scalar::Float(_));
    if is_float(start) || is_float(step) {
        count(out, start.as_f64(), step.as_f64());
    } else {
        count(out, start.as_i64(), step.as_i64());
    }
}

/// A type that positions are counted in.
trait Count: super::math::Compute + ComputeType + AllCasts {
    fn position(i: usize) -> Self;
}

impl Count for f64 {
    #[inline(always)]
    fn position(i: usize) -> Self {
        i as f64
    }
}

impl Count for i64 {
    #[inline(always)]
    fn position(i: usize) -> Self {
        i as i64
    }
}

/// Stores `start + i * step` for each element's row-major position `i`.
fn count<C: Count>(out: View, start: C, step: C) {
    let order = Layout::contiguous(out.layout.shape.clone());
    let walk = Walk::new(&[&order, out.layout]);
    let mut block = [C::ZERO; BLOCK];
    walk.for_each(|at| {
        let mut done = 0;
        while done < walk.run {
            let m = (walk.run - done).min(BLOCK);
            steps(&mut block[..m], at[0] + done, start, step);
            let (to, stride) = (at[1] + done * walk.stride[1], walk.stride[1]);
            // SAFETY: NOTE [Views in bounds]; the block holds `m` numbers.
            unsafe { store(&out, to, stride, m, block.as_ptr()) };
            done += m;
        }
    });
}

versions! {
    /// The numbers of the positions from `first` on.
    fn steps<C: Count>(block: &mut [C], first: usize, start: C, step: C) = steps_body;
}

#[inline(always)]
fn steps_body<C: Count>(block: &mut [C], first: usize, start: C, step: C) {
    for (i, x) in (first..).zip(block) {
        *x = start.add(C::position(i).mul(step));
    }
}
