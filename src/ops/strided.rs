//! Views whose elements may overlap: sliding windows, and any strides at all.
//!
//! NOTE [Strides and elements]
//! `as_strided` speaks of places in memory, and a derivative must speak of elements. The op
//! therefore keeps the strides its input had: applied to a tensor in another layout (a cotangent, a
//! tangent, a copy of the base) it means the same elements, and that tensor is first brought into
//! the old strides. Elements that the input does not reach have no gradient to give, so a view that
//! needs one and reaches them raises.

use super::copy::{at, move_elements};
use super::def::{Batch, Forms, Jvp, Kernel, KernelCx, NOTHING, OpDef, grad, spec};
use super::region::size_of;
use crate::backend::{Combine, Functor, Input};
use crate::base::shape::{Strides, wrap_dim};
use crate::base::{Attr, Attrs, DType, Layout, Result, Scalar, Shape};
use crate::memory::Storage;
use crate::tape::GradMode;
use crate::tensor::{Tensor, ViewStep};
use crate::{bail, ensure};
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &UNFOLD,
    &UNFOLD_BACKWARD,
    &AS_STRIDED,
    &STRIDED,
    &STRIDED_BACKWARD,
    &AS_STRIDED_SCATTER,
];

functions! {
    /// All windows of `size` indices of a dimension, `step` apart; the window is the last dimension.
    unfold_dim(x; dimension, size, step) = UNFOLD;
    /// The sum of windows at their places: the transpose of [`unfold_dim`].
    unfold_backward(g; input_sizes, dim, size, step) = UNFOLD_BACKWARD;
}

/// The dimension of a window and how many windows it has.
fn windows(shape: &Shape, dim: i64, size: i64, step: i64) -> Result<(usize, usize)> {
    let dim = wrap_dim(dim, shape.len())?;
    let n = shape.get(dim).copied().unwrap_or(1);
    ensure!(size >= 0, runtime, "size is {size} but must be >= 0");
    ensure!(
        size as usize <= n,
        runtime,
        "maximum size for tensor at dimension {dim} is {n} but size is {size}"
    );
    ensure!(step > 0, runtime, "step is {step} but must be > 0");
    Ok((dim, (n - size as usize) / step as usize + 1))
}

/// `unfold`.
pub static UNFOLD: OpDef = OpDef {
    name: "unfold",
    doc: "A view of all windows of `size` indices of `dimension`, `step` apart: `dimension` counts \
          the windows, and a window is the last dimension of the result.",
    sig: &["(input, dimension: int, size: int, step: int)"],
    forms: Forms::METHOD,
    kernel: Kernel::View(|call| {
        let (size, step) = (call.attrs.int(1), call.attrs.int(2));
        let mut layout = call.tensor(0).layout().clone();
        let (dim, n) = windows(&layout.shape, call.attrs.int(0), size, step)?;
        let stride = layout.strides.get(dim).copied().unwrap_or(1);
        if layout.ndim() > 0 {
            layout.shape[dim] = n;
            layout.strides[dim] = stride * step as usize;
        }
        layout.shape.push(size as usize);
        layout.strides.push(stride);
        Ok(smallvec![layout])
    }),
    // An element gets the gradients of all windows it is in.
    grads: &[grad(NOTHING, |cx| {
        let (dim, size, step) = (cx.attrs.int(0), cx.attrs.int(1), cx.attrs.int(2));
        unfold_backward(cx.grad(), cx.shape(0), dim, size, step).map(Some)
    })],
    ..OpDef::VIEW
};

/// The transpose of `unfold`.
pub static UNFOLD_BACKWARD: OpDef = OpDef {
    name: "unfold_backward",
    doc: "Zeros of shape `input_sizes` with each window of `grad` added at its place.",
    sig: &["(grad, input_sizes: int[], dim: int, size: int, step: int)"],
    forms: Forms::HIDDEN,
    meta: |call| Ok(spec(size_of(call.attrs), call.tensor(0).dtype())),
    kernel: Kernel::Compute(|cx| {
        let (g, out) = (cx.call.tensor(0), &cx.outs[0]);
        let (size, step) = (cx.int(2), cx.int(3));
        let (dim, n) = windows(out.shape(), cx.int(1), size, step)?;
        cx.backend.fill(out.as_view(), Scalar::Int(0));
        let dtype = g.dtype().compute();
        // Index `k` of all windows at once: those places differ from each other.
        for k in 0..size as usize {
            let (mut to, mut from) = (out.layout().clone(), g.layout().clone());
            let last = from.ndim() - 1;
            from.offset += k * from.strides[last];
            from.shape.remove(last);
            from.strides.remove(last);
            if to.ndim() > 0 {
                to.offset += k * to.strides[dim];
                to.strides[dim] *= step as usize;
                to.shape[dim] = n;
            }
            let to = at(out, &to);
            let ins = [Input::View(to), Input::View(at(g, &from))];
            cx.backend
                .map(Functor::Add, &[Scalar::Int(1)], dtype, to, &ins);
        }
        Ok(())
    }),
    grads: &[grad(NOTHING, |cx| {
        let (dim, size, step) = (cx.attrs.int(1), cx.attrs.int(2), cx.attrs.int(3));
        unfold_dim(cx.grad(), dim, size, step).map(Some)
    })],
    jvp: Jvp::Linear,
    batch: Batch::Loop,
    ..OpDef::BASE
};

/// `as_strided`.
pub static AS_STRIDED: OpDef = OpDef {
    name: "as_strided",
    doc: "A view of the elements in memory, of shape `size`, `stride[d]` elements apart along \
          dimension `d`, from element `storage_offset` of the storage on (default: where `input` \
          starts). If a gradient is needed, all of them must be elements of `input`.",
    sig: &["(input, size: int[], stride: int[], storage_offset: int? = None)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let attrs = strided_attrs(x, call.attrs)?;
        Ok(smallvec![super::dispatch::run1(
            &STRIDED,
            &[x.into()],
            &attrs
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// The arguments of [`STRIDED`] for those of `as_strided`.
fn strided_attrs(x: &Tensor, attrs: &Attrs) -> Result<Attrs> {
    let (size, stride) = (attrs.ints(0), attrs.ints(1));
    ensure!(
        size.len() == stride.len(),
        runtime,
        "mismatch in length of strides and shape: {stride:?} and {size:?}"
    );
    ensure!(
        stride.iter().all(|&s| s >= 0),
        runtime,
        "as_strided: Negative strides are not supported at the moment, got strides: {stride:?}"
    );
    super::create::shape_of(size)?;
    let own = x.layout().offset as i64;
    let offset = attrs.int_opt(2).unwrap_or(own);
    ensure!(
        offset >= 0,
        runtime,
        "Tensor: invalid storage offset {offset}"
    );
    let attrs: Attrs = [
        Attr::from(size),
        Attr::from(stride),
        Attr::from(offset - own),
        Attr::from(&*x.layout().strides),
    ]
    .into_iter()
    .collect();
    if crate::tape::mode::grad_enabled() && x.requires_grad() {
        check_reach(x.shape(), &attrs)?;
    }
    Ok(attrs)
}

/// The layout that arguments 0 to 2 of [`STRIDED`] name, relative to an element at `offset`.
fn target(attrs: &Attrs, offset: usize) -> Result<Layout> {
    let Some(offset) = offset.checked_add_signed(attrs.int(2) as isize) else {
        bail!(
            runtime,
            "as_strided reaches elements before the storage of a copy of its input"
        )
    };
    Ok(Layout {
        shape: size_of(attrs),
        strides: attrs.ints(1).iter().map(|&s| s as usize).collect(),
        offset,
    })
}

fn own_strides(attrs: &Attrs) -> Strides {
    attrs.ints(3).iter().map(|&s| s as usize).collect()
}

/// Calls `f` with the place of each element, in row-major order.
fn for_each_place(layout: &Layout, mut f: impl FnMut(usize)) {
    let mut index = Shape::filled(0, layout.ndim());
    let mut place = layout.offset;
    for _ in 0..layout.numel() {
        f(place);
        for d in (0..layout.ndim()).rev() {
            index[d] += 1;
            place += layout.strides[d];
            if index[d] < layout.shape[d] {
                break;
            }
            place -= layout.shape[d] * layout.strides[d];
            index[d] = 0;
        }
    }
}

/// Refuses a view with a gradient that is not one of its input's elements alone: see
/// NOTE [Strides and elements].
fn check_reach(shape: &Shape, attrs: &Attrs) -> Result<()> {
    let own = Layout {
        shape: shape.clone(),
        strides: own_strides(attrs),
        offset: 0,
    };
    ensure!(
        !own.has_overlap(),
        not_implemented,
        "as_strided of a tensor of shape {shape} with strides {}, whose elements overlap in memory, \
         has no gradient; call it on the tensor that owns them, or on a clone()",
        own.strides
    );
    let inside = attrs.int(2) >= 0 && {
        let region = target(attrs, 0)?;
        let end = own.end();
        region.end() <= end
            && (own.numel() == end || {
                let mut reached = vec![false; end];
                for_each_place(&own, |p| reached[p] = true);
                let mut inside = true;
                for_each_place(&region, |p| inside &= reached[p]);
                inside
            })
    };
    ensure!(
        inside || size_of(attrs).numel() == 0,
        runtime,
        "as_strided reaches elements that are not in its input of shape {shape}: they would get no \
         gradient. Call it on the tensor that owns them, or under no_grad()"
    );
    Ok(())
}

/// The view of `as_strided`, for one layout of its input.
pub static STRIDED: OpDef = OpDef {
    name: "strided",
    doc: "A view by strides, relative to the first element of an input with strides `own`.",
    sig: &["(input, size: int[], stride: int[], offset: int, own: int[])"],
    forms: Forms::HIDDEN,
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        ensure!(
            has_strides(x, &own_strides(call.attrs)),
            runtime,
            "a tensor of shape {} with strides {} is not laid out as the one that was viewed",
            x.shape(),
            x.layout().strides
        );
        let layout = target(call.attrs, x.layout().offset)?;
        let (bytes, room) = (layout.end() * x.dtype().size(), x.storage().bytes());
        ensure!(
            bytes <= room || layout.numel() == 0,
            runtime,
            "setStorage: sizes {}, strides {}, storage offset {}, and itemsize {} requiring a \
             storage size of {bytes} are out of bounds for storage of size {room}",
            layout.shape,
            layout.strides,
            layout.offset,
            x.dtype().size()
        );
        Ok(smallvec![layout])
    }),
    // An element gets the gradients of all places that show it.
    grads: &[grad(NOTHING, |cx| {
        check_reach(cx.shape(0), cx.attrs)?;
        let mut attrs = cx.attrs.clone();
        attrs.push(cx.shape(0));
        super::dispatch::run1(&STRIDED_BACKWARD, &[cx.grad().into()], &attrs).map(Some)
    })],
    ..OpDef::VIEW
};

/// Whether a tensor's strides are these, where they matter.
fn has_strides(x: &Tensor, strides: &Strides) -> bool {
    let own = x.layout();
    own.ndim() == strides.len()
        && (0..own.ndim()).all(|d| own.shape[d] <= 1 || own.strides[d] == strides[d])
}

/// `t` with the given strides: itself, or a copy.
fn with_strides(t: &Tensor, strides: Strides) -> Result<Tensor> {
    if has_strides(t, &strides) {
        return Ok(t.clone());
    }
    let layout = Layout {
        shape: t.shape().clone(),
        strides,
        offset: 0,
    };
    let storage = Storage::new(layout.end() * t.dtype().size(), t.device())?;
    let copy = Tensor::from_parts(storage, layout, t.dtype());
    super::in_place::copy_(&copy, t)?;
    Ok(copy)
}

/// Applies a view to another tensor than the one it was made for; one in a layout that cannot be
/// seen that way is copied first.
///
/// # Errors
/// When the view does not fit the tensor's shape.
pub(super) fn review(
    op: &'static OpDef,
    t: &Tensor,
    attrs: &Attrs,
) -> Result<crate::tape::Outputs> {
    let t = if std::ptr::eq(op, &STRIDED) {
        with_strides(t, own_strides(attrs))?
    } else if std::ptr::eq(op, &super::view::VIEW)
        && !t.is_contiguous()
        && super::dispatch::meta_of(op, &[t.into()], attrs).is_err()
    {
        super::contiguous(t)?
    } else {
        t.clone()
    };
    super::dispatch::run(op, &[t.into()], attrs)
}

/// The transpose of [`STRIDED`].
pub static STRIDED_BACKWARD: OpDef = OpDef {
    name: "strided_backward",
    doc: "Zeros of shape `input_sizes` with each element of `grad` added to what it was a view of.",
    sig: &["(grad, size: int[], stride: int[], offset: int, own: int[], input_sizes: int[])"],
    forms: Forms::HIDDEN,
    meta: |call| {
        let sizes = call.attrs.ints(4);
        Ok(spec(
            super::create::shape_of(sizes)?,
            call.tensor(0).dtype(),
        ))
    },
    kernel: Kernel::Compute(|cx| {
        let out = &cx.outs[0];
        let own = Layout {
            shape: out.shape().clone(),
            strides: own_strides(cx),
            offset: 0,
        };
        let place = Tensor::zeros([own.end()], out.dtype(), out.device())?;
        add_at(cx, &place, &target(cx, 0)?)?;
        move_elements(cx.backend, out.as_view(), at(&place, &own));
        Ok(())
    }),
    // The view.
    grads: &[grad(NOTHING, |cx| {
        let attrs: Attrs = cx.attrs.iter().take(4).cloned().collect();
        Ok(Some(review(&STRIDED, cx.grad(), &attrs)?.swap_remove(0)))
    })],
    jvp: Jvp::Linear,
    batch: Batch::Loop,
    ..OpDef::BASE
};

/// Adds input 0 to the elements of the 1-d `buffer` that `layout` names.
fn add_at(cx: &KernelCx, buffer: &Tensor, layout: &Layout) -> Result<()> {
    let g = cx.call.tensor(0);
    if !layout.has_overlap() {
        move_elements(cx.backend, at(buffer, layout), g.as_view());
        return Ok(());
    }
    let _unrecorded = GradMode::set(false);
    let places = Tensor::zeros(layout.shape.clone(), DType::I64, g.device())?;
    for (d, &n) in layout.shape.iter().enumerate() {
        let steps = Tensor::empty([n], DType::I64, g.device())?;
        let first = if d == 0 { layout.offset } else { 0 };
        cx.backend.iota(
            steps.as_view(),
            Scalar::Int(first as i64),
            Scalar::Int(layout.strides[d] as i64),
        );
        let mut along = Shape::filled(1, layout.ndim());
        along[d] = n;
        let along = steps.layout().reshape(&along).expect("a dense vector");
        let along = along.broadcast_to(&layout.shape);
        let ins = [
            Input::View(places.as_view()),
            Input::View(at(&steps, &along)),
        ];
        cx.backend.map(
            Functor::Add,
            &[Scalar::Int(1)],
            DType::I64,
            places.as_view(),
            &ins,
        );
    }
    cx.backend.index_put(
        Combine::Add,
        buffer.as_view(),
        &[places.as_view()],
        g.as_view(),
    )
}

/// `as_strided_scatter`.
pub static AS_STRIDED_SCATTER: OpDef = OpDef {
    name: "as_strided_scatter",
    doc: "A copy of `input` with the elements that `as_strided` reaches replaced by `src`.",
    sig: &["(input, src, size: int[], stride: int[], storage_offset: int? = None)"],
    kernel: Kernel::Composite(|call| {
        let (x, src) = (call.tensor(0), call.tensor(1));
        let attrs = strided_attrs(x, call.attrs)?;
        check_reach(x.shape(), &attrs)?;
        ensure!(
            !target(&attrs, 0)?.has_overlap(),
            runtime,
            "as_strided_scatter: more than one element of src goes to a single place"
        );
        ensure!(
            *src.shape() == size_of(&attrs),
            runtime,
            "expected src to have a size equal to the slice of self. src size = {}, slice size = {}",
            src.shape(),
            size_of(&attrs)
        );
        let step = ViewStep::new(None, &STRIDED, attrs, 0);
        let out = super::view_scatter(x, src, &step)?;
        Ok(smallvec![super::cast(&out, x.dtype())?])
    }),
    ..OpDef::COMPOSITE
};
