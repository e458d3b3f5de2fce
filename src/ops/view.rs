//! Views: other layouts over the same elements.

use super::def::{Batch, Forms, Jvp, Kernel, NOTHING, OpDef, Returns, grad, spec};
use super::{contiguous, sum_dims};
use crate::base::shape::{wrap_dim, wrap_dims};
use crate::base::{Attrs, DType, Layout, Result, Shape};
use crate::tape::{Outputs, VjpCx};
use crate::tensor::{Operand, Tensor, ViewStep};
use crate::{bail, ensure};
use smallvec::{SmallVec, smallvec};

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &VIEW,
    &VIEW_AS,
    &RESHAPE,
    &RESHAPE_AS,
    &FLATTEN,
    &RAVEL,
    &UNFLATTEN,
    &EXPAND,
    &EXPAND_AS,
    &BROADCAST_TO,
    &TRANSPOSE,
    &T,
    &PERMUTE,
    &MOVEDIM,
    &SQUEEZE,
    &SQUEEZE_ALL,
    &UNSQUEEZE,
    &SELECT,
    &SLICE,
    &NARROW,
    &DIAGONAL,
    &UNFOLD,
    &AS_STRIDED,
    &SPLIT,
    &SPLIT_SIZES,
    &CHUNK,
    &TENSOR_SPLIT,
    &TENSOR_SPLIT_AT,
    &HSPLIT,
    &VSPLIT,
    &UNBIND,
    &CONTIGUOUS,
    &ATLEAST_1D,
    &ATLEAST_2D,
    &ATLEAST_3D,
    &VIEW_SCATTER,
];

functions! {
    /// Another shape over the same elements, when no copy is needed.
    view(x; size) = VIEW;
    /// Dimensions of size 1 repeated without copying.
    expand_to(x; size) = EXPAND;
    /// Two dimensions swapped.
    transpose(x; dim0, dim1) = TRANSPOSE;
    /// One index of a dimension, which goes away.
    select(x; dim, index) = SELECT;
    /// Every `step`-th index of a dimension from `start` up to `end`.
    slice(x; dim, start, end, step) = SLICE;
    /// The dimensions in another order.
    permute(x; dims) = PERMUTE;
    /// A dimension of size 1 inserted.
    unsqueeze(x; dim) = UNSQUEEZE;
    /// Dimensions of size 1 removed.
    squeeze(x; dim) = SQUEEZE;
    /// A diagonal of two dimensions, as the last one.
    diagonal(x; offset, dim1, dim2) = DIAGONAL;
    /// The elements at given strides.
    as_strided(x; size, stride, storage_offset) = AS_STRIDED;
}

/// The tensor in another shape: a view where possible, else a copy.
///
/// # Errors
/// When the number of elements differs.
pub fn reshape(x: &Tensor, shape: &Shape) -> Result<Tensor> {
    if shape == x.shape() {
        return Ok(x.clone());
    }
    if x.layout().reshape(shape).is_some() {
        view(x, shape)
    } else {
        view(&contiguous(x)?, shape)
    }
}

/// The tensor broadcast to a shape, without copying.
///
/// # Errors
/// When it does not broadcast to it.
pub fn expand(x: &Tensor, shape: &Shape) -> Result<Tensor> {
    if shape == x.shape() {
        Ok(x.clone())
    } else {
        expand_to(x, shape)
    }
}

/// The sum over the dimensions along which `shape` was broadcast to the tensor's shape.
///
/// # Errors
/// When `shape` does not broadcast to the tensor's shape.
pub fn sum_to(x: &Tensor, shape: &Shape) -> Result<Tensor> {
    if shape == x.shape() {
        return Ok(x.clone());
    }
    ensure!(
        shape.broadcast(x.shape()).as_ref() == Some(x.shape()),
        runtime,
        "a tensor of shape {} does not reduce to shape {shape}",
        x.shape()
    );
    let lead = x.ndim() - shape.len();
    let summed: Vec<i64> = (0..x.ndim())
        .filter(|&i| i < lead || (shape[i - lead] == 1 && x.shape()[i] != 1))
        .map(|i| i as i64)
        .collect();
    let x = if summed.is_empty() {
        x.clone()
    } else {
        sum_dims(x, summed.as_slice(), true, None::<DType>)?
    };
    reshape(&x, shape)
}

/// A requested shape with at most one -1 filled in.
pub(super) fn resolve_shape(size: &[i64], numel: usize) -> Result<Shape> {
    let mut known = 1usize;
    let mut hole = None;
    for (i, &n) in size.iter().enumerate() {
        match n {
            -1 => {
                ensure!(
                    hole.is_none(),
                    runtime,
                    "only one dimension can be inferred"
                );
                hole = Some(i);
            }
            n if n < 0 => bail!(
                runtime,
                "invalid shape dimension {n} at index {i} of shape {size:?}"
            ),
            n => known *= n as usize,
        }
    }
    let mut shape: Shape = size.iter().map(|&n| n.max(0) as usize).collect();
    if let Some(i) = hole {
        ensure!(
            known != 0,
            runtime,
            "cannot reshape tensor of {numel} elements into shape {size:?} because the unspecified \
             dimension size -1 can be any value and is ambiguous"
        );
        shape[i] = numel / known;
    }
    ensure!(
        shape.numel() == numel,
        runtime,
        "shape '{size:?}' is invalid for input of size {numel}"
    );
    Ok(shape)
}

/// `view`.
pub static VIEW: OpDef = OpDef {
    name: "view",
    doc: "The same elements in shape `shape` (one entry may be -1), without copying.",
    sig: &["(input, *shape: int[])"],
    forms: Forms::METHOD,
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        let shape = resolve_shape(call.attrs.ints(0), x.numel())?;
        match x.layout().reshape(&shape) {
            Some(layout) => Ok(smallvec![layout]),
            None => bail!(
                runtime,
                "view size is not compatible with input tensor's size and stride (at least one \
                 dimension spans across two contiguous subspaces): {} with strides {} as {shape}. \
                 Use .reshape(...) instead.",
                x.shape(),
                x.layout().strides
            ),
        }
    }),
    // The same elements in the input's shape.
    grads: &[grad(NOTHING, |cx| {
        reshape(cx.grad(), cx.shape(0)).map(Some)
    })],
    jvp: Jvp::Linear,
    ..OpDef::VIEW
};

/// Removes dimension `dim`, which has size 1.
///
/// # Errors
/// When the dimension does not exist.
pub fn squeeze_dim(x: &Tensor, dim: usize) -> Result<Tensor> {
    squeeze(x, dim)
}

/// `view` in another tensor's shape.
pub static VIEW_AS: OpDef = OpDef {
    name: "view_as",
    doc: "The same elements in the shape of `other`, without copying.",
    sig: &["(input, other)"],
    forms: Forms::METHOD,
    kernel: Kernel::Composite(|call| Ok(smallvec![view(call.tensor(0), call.tensor(1).shape())?])),
    ..OpDef::COMPOSITE
};

/// `reshape`.
pub static RESHAPE: OpDef = OpDef {
    name: "reshape",
    doc: "The same elements in shape `shape` (one entry may be -1): a view where possible, else a \
          copy.\n\n>>> rg.arange(4).reshape(2, 2)\ntensor([[0, 1],\n        [2, 3]])",
    sig: &["(input, *shape: int[])"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        Ok(smallvec![reshape_or_view(
            x,
            &resolve_shape(call.attrs.ints(0), x.numel())?
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// As [`reshape`], but always a new handle.
fn reshape_or_view(x: &Tensor, shape: &Shape) -> Result<Tensor> {
    if shape == x.shape() {
        view(x, shape)
    } else {
        reshape(x, shape)
    }
}

/// `reshape` to another tensor's shape.
pub static RESHAPE_AS: OpDef = OpDef {
    name: "reshape_as",
    doc: "The same elements in the shape of `other`.",
    sig: &["(input, other)"],
    forms: Forms::METHOD,
    kernel: Kernel::Composite(|call| {
        let shape = call.tensor(1).shape();
        let x = call.tensor(0);
        ensure!(
            shape.numel() == x.numel(),
            runtime,
            "shape '{shape}' is invalid for input of size {}",
            x.numel()
        );
        Ok(smallvec![reshape_or_view(x, shape)?])
    }),
    ..OpDef::COMPOSITE
};

/// `flatten`.
pub static FLATTEN: OpDef = OpDef {
    name: "flatten",
    doc: "Dimensions `start_dim` to `end_dim` merged into one.",
    sig: &["(input, start_dim: int = 0, end_dim: int = -1)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let first = wrap_dim(call.attrs.int(0), x.ndim())?;
        let last = wrap_dim(call.attrs.int(1), x.ndim())?;
        ensure!(
            first <= last,
            runtime,
            "flatten() has invalid args: start_dim cannot come after end_dim"
        );
        if x.ndim() == 0 {
            return Ok(smallvec![reshape(x, &Shape::from([1]))?]);
        }
        if first == last {
            return Ok(smallvec![x.clone()]);
        }
        let mut shape: Shape = x.shape()[..first].iter().copied().collect();
        shape.push(x.shape()[first..=last].iter().product());
        x.shape()[last + 1..].iter().for_each(|&n| shape.push(n));
        Ok(smallvec![reshape(x, &shape)?])
    }),
    ..OpDef::COMPOSITE
};

/// `ravel`.
pub static RAVEL: OpDef = OpDef {
    name: "ravel",
    doc: "All elements in one dimension.",
    sig: &["(input)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        Ok(smallvec![reshape(x, &Shape::from([x.numel()]))?])
    }),
    ..OpDef::COMPOSITE
};

/// `unflatten`.
pub static UNFLATTEN: OpDef = OpDef {
    name: "unflatten",
    doc: "Dimension `dim` split into the sizes `sizes` (one may be -1).",
    sig: &["(input, dim: int, sizes: int[])"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(
            !call.attrs.ints(1).is_empty(),
            runtime,
            "unflatten: sizes must be non-empty"
        );
        let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
        let sizes = resolve_shape(call.attrs.ints(1), x.shape()[dim]).map_err(|_| {
            crate::base::Error::runtime(format!(
                "unflatten: Provided sizes {:?} don't multiply up to the size of dim {dim} ({}) in \
                 the input tensor",
                call.attrs.ints(1),
                x.shape()[dim]
            ))
        })?;
        let mut shape: Shape = x.shape()[..dim].iter().copied().collect();
        sizes.iter().for_each(|&n| shape.push(n));
        x.shape()[dim + 1..].iter().for_each(|&n| shape.push(n));
        Ok(smallvec![view(x, &shape)?])
    }),
    ..OpDef::COMPOSITE
};

/// `expand_as`.
pub static EXPAND_AS: OpDef = OpDef {
    name: "expand_as",
    doc: "`input` expanded to the shape of `other`.",
    sig: &["(input, other)"],
    forms: Forms::METHOD,
    kernel: Kernel::Composite(|call| {
        Ok(smallvec![expand_to(
            call.tensor(0),
            call.tensor(1).shape()
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// `broadcast_to`.
pub static BROADCAST_TO: OpDef = OpDef {
    name: "broadcast_to",
    doc: "`input` expanded to shape `size`, without copying.",
    sig: &["(input, *size: int[])"],
    kernel: Kernel::Composite(|call| Ok(smallvec![expand_to(call.tensor(0), call.attrs.ints(0))?])),
    ..OpDef::COMPOSITE
};

/// `expand`.
pub static EXPAND: OpDef = OpDef {
    name: "expand",
    doc: "`input` with dimensions of size 1 repeated to `size` without copying; -1 keeps a size.",
    sig: &["(input, *size: int[])"],
    forms: Forms::METHOD,
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        let size = call.attrs.ints(0);
        ensure!(
            size.len() >= x.ndim(),
            runtime,
            "the number of sizes provided ({}) must be greater or equal to the number of dimensions \
             in the tensor ({})",
            size.len(),
            x.ndim()
        );
        let lead = size.len() - x.ndim();
        let mut shape = Shape::new();
        for (i, &n) in size.iter().enumerate() {
            let old = i.checked_sub(lead).map(|j| x.shape()[j]);
            shape.push(match (n, old) {
                (-1, Some(old)) => old,
                (n, None) if n >= 0 => n as usize,
                (n, Some(old)) if n >= 0 && (old == n as usize || old == 1) => n as usize,
                (n, Some(old)) if n >= 0 => bail!(
                    runtime,
                    "The expanded size of the tensor ({n}) must match the existing size ({old}) at \
                     non-singleton dimension {i}.  Target sizes: {size:?}.  Tensor sizes: {}",
                    x.shape()
                ),
                _ => bail!(
                    runtime,
                    "the expanded size of the tensor ({n}) isn't allowed in a leading, \
                     non-existing dimension {i}"
                ),
            });
        }
        Ok(smallvec![x.layout().broadcast_to(&shape)])
    }),
    // Each repetition contributes; the engine sums them.
    grads: &[grad(NOTHING, |cx| Ok(Some(cx.grad().clone())))],
    ..OpDef::VIEW
};

/// `transpose`.
pub static TRANSPOSE: OpDef = OpDef {
    name: "transpose",
    doc: "`input` with dimensions `dim0` and `dim1` swapped.",
    sig: &[
        "(input, dim0: int, dim1: int)",
        "(input, axis0: int, axis1: int)",
    ],
    aliases: &["swapaxes", "swapdims"],
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        let a = wrap_dim(call.attrs.int(0), x.ndim())?;
        let b = wrap_dim(call.attrs.int(1), x.ndim())?;
        let mut layout = x.layout().clone();
        if x.ndim() > 0 {
            layout.shape.swap(a, b);
            layout.strides.swap(a, b);
        }
        Ok(smallvec![layout])
    }),
    // Its own inverse.
    grads: &[grad(NOTHING, |cx| {
        transpose(cx.grad(), cx.attrs.int(0), cx.attrs.int(1)).map(Some)
    })],
    ..OpDef::VIEW
};

/// `select`.
pub static SELECT: OpDef = OpDef {
    name: "select",
    doc: "Index `index` of dimension `dim`, which goes away.",
    sig: &["(input, dim: int, index: int)"],
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() > 0,
            index,
            "select() cannot be applied to a 0-dim tensor."
        );
        let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
        let (i, n) = (call.attrs.int(1), x.shape()[dim] as i64);
        ensure!(
            -n <= i && i < n,
            index,
            "select(): index {i} out of range for tensor of size {} at dimension {dim}",
            x.shape()
        );
        let mut layout = x.layout().clone();
        layout.offset += (if i < 0 { i + n } else { i }) as usize * layout.strides[dim];
        layout.shape.remove(dim);
        layout.strides.remove(dim);
        Ok(smallvec![layout])
    }),
    // Zero but for the selected index.
    grads: &[grad(NOTHING, |cx| scattered(cx, &SELECT))],
    ..OpDef::VIEW
};

/// `t`.
pub static T: OpDef = OpDef {
    name: "t",
    doc: "The transpose of a matrix; vectors and scalars stay.",
    sig: &["(input)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() <= 2,
            runtime,
            "t() expects a tensor with <= 2 dimensions, but self is {}D",
            x.ndim()
        );
        Ok(smallvec![if x.ndim() == 2 {
            transpose(x, 0i64, 1i64)?
        } else {
            view(x, x.shape())?
        }])
    }),
    ..OpDef::COMPOSITE
};

/// A permutation of the dimensions.
fn permutation(dims: &[i64], ndim: usize) -> Result<SmallVec<[usize; 4]>> {
    ensure!(
        dims.len() == ndim,
        runtime,
        "permute(sparse_coo): number of dimensions in the tensor input does not match the length of \
         the desired ordering of dimensions i.e. input.dim() = {ndim} is not equal to len(dims) = {}",
        dims.len()
    );
    let order = dims
        .iter()
        .map(|&d| wrap_dim(d, ndim))
        .collect::<Result<SmallVec<[usize; 4]>>>()?;
    for (i, d) in order.iter().enumerate() {
        ensure!(
            !order[..i].contains(d),
            runtime,
            "permute(): duplicate dims are not allowed."
        );
    }
    Ok(order)
}

/// `permute`.
pub static PERMUTE: OpDef = OpDef {
    name: "permute",
    doc: "The dimensions of `input` in the order `dims`.",
    sig: &["(input, *dims: int[])"],
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        let order = permutation(call.attrs.ints(0), x.ndim())?;
        let old = x.layout();
        Ok(smallvec![Layout {
            shape: order.iter().map(|&d| old.shape[d]).collect(),
            strides: order.iter().map(|&d| old.strides[d]).collect(),
            offset: old.offset,
        }])
    }),
    // The inverse permutation.
    grads: &[grad(NOTHING, |cx| {
        let order = permutation(cx.attrs.ints(0), cx.grad().ndim())?;
        let mut inverse: SmallVec<[usize; 4]> = SmallVec::from_elem(0, order.len());
        order.iter().enumerate().for_each(|(i, &d)| inverse[d] = i);
        permute(cx.grad(), inverse.as_slice()).map(Some)
    })],
    ..OpDef::VIEW
};

/// `movedim`.
pub static MOVEDIM: OpDef = OpDef {
    name: "movedim",
    doc: "Dimensions `source` moved to `destination`; the others keep their order.",
    sig: &["(input, source: int[], destination: int[])"],
    aliases: &["moveaxis"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let (from, to) = (call.attrs.ints(0), call.attrs.ints(1));
        ensure!(
            from.len() == to.len(),
            runtime,
            "movedim: Invalid source or destination dims: source ({from:?} dims) should contain the \
             same number of dims as destination ({to:?} dims)"
        );
        if from.is_empty() {
            return Ok(smallvec![view(x, x.shape())?]);
        }
        let (from, to) = (wrap_dims(from, x.ndim())?, wrap_dims(to, x.ndim())?);
        let mut rest = (0..x.ndim()).filter(|d| !from.contains(d));
        let order: SmallVec<[usize; 4]> = (0..x.ndim())
            .map(|d| match to.iter().position(|&t| t == d) {
                Some(i) => from[i],
                None => rest.next().expect("as many dimensions as places"),
            })
            .collect();
        Ok(smallvec![permute(x, order.as_slice())?])
    }),
    ..OpDef::COMPOSITE
};

/// `squeeze` of given dimensions.
pub static SQUEEZE: OpDef = OpDef {
    name: "squeeze",
    doc: "`input` without its dimensions of size 1: those in `dim` (an int or a tuple), or all.",
    sig: &["(input, dim: int[])"],
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        let dims = match call.attrs.ints(0) {
            [] => SmallVec::new(),
            dims => wrap_dims(dims, x.ndim())?,
        };
        Ok(smallvec![without_ones(x.layout(), |d| dims.contains(&d))])
    }),
    grads: &[grad(NOTHING, |cx| {
        reshape(cx.grad(), cx.shape(0)).map(Some)
    })],
    ..OpDef::VIEW
};

/// `squeeze` of all dimensions of size 1.
pub static SQUEEZE_ALL: OpDef = OpDef {
    name: "squeeze_all",
    doc: "`input` without its dimensions of size 1.",
    sig: &["(input)"],
    aliases: &["squeeze"],
    forms: Forms::BOTH,
    kernel: Kernel::View(|call| Ok(smallvec![without_ones(call.tensor(0).layout(), |_| true)])),
    grads: &[grad(NOTHING, |cx| {
        reshape(cx.grad(), cx.shape(0)).map(Some)
    })],
    ..OpDef::VIEW
};

fn without_ones(l: &Layout, drop: impl Fn(usize) -> bool) -> Layout {
    let kept = (0..l.ndim()).filter(|&d| !(l.shape[d] == 1 && drop(d)));
    Layout {
        shape: kept.clone().map(|d| l.shape[d]).collect(),
        strides: kept.map(|d| l.strides[d]).collect(),
        offset: l.offset,
    }
}

/// `unsqueeze`.
pub static UNSQUEEZE: OpDef = OpDef {
    name: "unsqueeze",
    doc: "`input` with a dimension of size 1 inserted at `dim`.",
    sig: &["(input, dim: int)"],
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        let dim = wrap_dim(call.attrs.int(0), x.ndim() + 1)?;
        let mut layout = x.layout().clone();
        let stride = layout
            .shape
            .get(dim)
            .map_or(1, |&n| n * layout.strides[dim]);
        layout.shape.insert(dim, 1);
        layout.strides.insert(dim, stride);
        Ok(smallvec![layout])
    }),
    grads: &[grad(NOTHING, |cx| {
        reshape(cx.grad(), cx.shape(0)).map(Some)
    })],
    ..OpDef::VIEW
};

/// Zeros of the input's shape with the viewed region replaced by the gradient.
fn scattered(cx: &VjpCx, op: &'static OpDef) -> Result<Option<Tensor>> {
    let zeros = Tensor::zeros(cx.shape(0).clone(), cx.grad().dtype(), cx.grad().device())?;
    view_scatter(
        &zeros,
        cx.grad(),
        &ViewStep::new(None, op, cx.attrs.clone(), 0),
    )
    .map(Some)
}

/// Start and length of a slice, clamped like Python's.
fn slice_bounds(n: usize, start: Option<i64>, end: Option<i64>, step: i64) -> (usize, usize) {
    let n = n as i64;
    let clamp = |i: i64| if i < 0 { i.saturating_add(n) } else { i }.clamp(0, n);
    let start = clamp(start.unwrap_or(0));
    let end = clamp(end.unwrap_or(n)).max(start);
    (start as usize, ((end - start + step - 1) / step) as usize)
}

/// `slice`.
pub static SLICE: OpDef = OpDef {
    name: "slice",
    doc: "Every `step`-th index of dimension `dim` from `start` up to but not including `end`.",
    sig: &["(input, dim: int, start: int? = None, end: int? = None, step: int = 1)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() > 0,
            index,
            "slice() cannot be applied to a 0-dim tensor."
        );
        let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
        let step = call.attrs.int(3);
        ensure!(step > 0, value, "slice step must be positive");
        let (start, n) = slice_bounds(
            x.shape()[dim],
            call.attrs.int_opt(1),
            call.attrs.int_opt(2),
            step,
        );
        let mut layout = x.layout().clone();
        layout.offset += start * layout.strides[dim];
        layout.shape[dim] = n;
        layout.strides[dim] *= step as usize;
        Ok(smallvec![layout])
    }),
    grads: &[grad(NOTHING, |cx| scattered(cx, &SLICE))],
    ..OpDef::VIEW
};

/// `narrow`.
pub static NARROW: OpDef = OpDef {
    name: "narrow",
    doc: "`length` indices of dimension `dim` from `start` on.",
    sig: &["(input, dim: int, start: int, length: int)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() > 0,
            runtime,
            "narrow() cannot be applied to a 0-dim tensor."
        );
        let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
        let n = x.shape()[dim] as i64;
        let (start, length) = (call.attrs.int(1), call.attrs.int(2));
        ensure!(
            length >= 0,
            runtime,
            "narrow(): length must be non-negative."
        );
        ensure!(
            -n <= start && start <= n,
            index,
            "start out of range (expected to be in range of [{}, {n}], but got {start})",
            -n
        );
        let start = if start < 0 { start + n } else { start };
        ensure!(
            start + length <= n,
            runtime,
            "start ({start}) + length ({length}) exceeds dimension size ({n})."
        );
        Ok(smallvec![slice(x, dim, start, start + length, 1i64)?])
    }),
    ..OpDef::COMPOSITE
};

/// `diagonal`.
pub static DIAGONAL: OpDef = OpDef {
    name: "diagonal",
    doc: "Diagonal `offset` (above the main one if positive) of dimensions `dim1` and `dim2`, as the \
          last dimension.",
    sig: &["(input, offset: int = 0, dim1: int = 0, dim2: int = 1)"],
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        let offset = call.attrs.int(0);
        let a = wrap_dim(call.attrs.int(1), x.ndim())?;
        let b = wrap_dim(call.attrs.int(2), x.ndim())?;
        ensure!(
            a != b,
            runtime,
            "diagonal dimensions cannot be identical {}, {}",
            call.attrs.int(1),
            call.attrs.int(2)
        );
        let mut layout = x.layout().clone();
        let (rows, columns) = (layout.shape[a] as i64, layout.shape[b] as i64);
        let n = (rows + offset.min(0)).min(columns - offset.max(0)).max(0);
        if n > 0 {
            let (skip, stride) = if offset >= 0 {
                (offset, b)
            } else {
                (-offset, a)
            };
            layout.offset += skip as usize * layout.strides[stride];
        }
        let step = layout.strides[a] + layout.strides[b];
        for d in [a.max(b), a.min(b)] {
            layout.shape.remove(d);
            layout.strides.remove(d);
        }
        layout.shape.push(n as usize);
        layout.strides.push(step);
        Ok(smallvec![layout])
    }),
    grads: &[grad(NOTHING, |cx| scattered(cx, &DIAGONAL))],
    ..OpDef::VIEW
};

/// `unfold`.
pub static UNFOLD: OpDef = OpDef {
    name: "unfold",
    doc: "All windows of `size` indices of dimension `dimension`, `step` apart; the window is the \
          last dimension.",
    sig: &["(input, dimension: int, size: int, step: int)"],
    forms: Forms::METHOD,
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
        let (size, step) = (call.attrs.int(1), call.attrs.int(2));
        let n = x.shape().get(dim).map_or(1, |&n| n as i64);
        ensure!(
            0 <= size && size <= n,
            runtime,
            "maximum size for tensor at dimension {dim} is {n} but size is {size}"
        );
        ensure!(step > 0, runtime, "step is {step} but must be > 0");
        let mut layout = x.layout().clone();
        if x.ndim() == 0 {
            layout.shape.push(size as usize);
            layout.strides.push(1);
            return Ok(smallvec![layout]);
        }
        let stride = layout.strides[dim];
        layout.shape[dim] = ((n - size) / step + 1) as usize;
        layout.strides[dim] = stride * step as usize;
        layout.shape.push(size as usize);
        layout.strides.push(stride);
        Ok(smallvec![layout])
    }),
    // Windows may overlap, and then their gradients add up.
    grads: &[grad(NOTHING, |cx| overlapping(cx, &UNFOLD).map(Some))],
    ..OpDef::VIEW
};

/// The gradient of a view that may reach an element more than once: each occurrence adds.
fn overlapping(cx: &VjpCx, op: &'static OpDef) -> Result<Tensor> {
    let shape = cx.shape(0);
    let n = shape.numel();
    // The view of the row-major positions says where each occurrence comes from.
    let positions = super::arange_like(n, cx.grad().device())?;
    let positions = reshape(&positions, shape)?;
    let places = super::dispatch::run1(op, &[positions.into()], cx.attrs)?;
    let flat = Tensor::zeros([n], cx.grad().dtype(), cx.grad().device())?;
    let count = places.numel();
    let places = reshape(&places, &Shape::from([count]))?;
    let summed = super::index_add(
        &flat,
        places,
        reshape(cx.grad(), &Shape::from([count]))?,
        0i64,
        1i64,
    )?;
    reshape(&summed, shape)
}

/// `as_strided`.
pub static AS_STRIDED: OpDef = OpDef {
    name: "as_strided",
    doc: "The elements of `input`'s storage at `storage_offset` and multiples of `stride`, in shape \
          `size`. The gradient is that of a dense input; elements seen more than once add up.",
    sig: &["(input, size: int[], stride: int[], storage_offset: int? = None)"],
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        let size = super::create::shape_of(call.attrs.ints(0))?;
        let strides = call.attrs.ints(1);
        ensure!(
            size.len() == strides.len(),
            runtime,
            "mismatch in length of strides and shape: {} and {}",
            strides.len(),
            size.len()
        );
        ensure!(
            strides.iter().all(|s| *s >= 0),
            runtime,
            "as_strided: Negative strides are not supported at the moment, got strides: {strides:?}"
        );
        let offset = call.attrs.int_opt(2).unwrap_or(x.layout().offset as i64);
        ensure!(
            offset >= 0,
            runtime,
            "Tensor: invalid storage offset {offset}"
        );
        let layout = Layout {
            shape: size,
            strides: strides.iter().map(|&s| s as usize).collect(),
            offset: offset as usize,
        };
        let bytes = layout.end() * x.dtype().size();
        ensure!(
            bytes <= x.storage().bytes(),
            runtime,
            "setStorage: sizes {}, strides {}, storage offset {offset}, and itemsize {} requiring a \
             storage size of {bytes} are out of bounds for storage of size {}",
            layout.shape,
            layout.strides,
            x.dtype().size(),
            x.storage().bytes()
        );
        Ok(smallvec![layout])
    }),
    grads: &[grad(NOTHING, |cx| overlapping(cx, &AS_STRIDED).map(Some))],
    ..OpDef::VIEW
};

/// The pieces of a dimension as slices: `(start, length)`.
fn pieces(x: &Tensor, dim: usize, bounds: &[(i64, i64)]) -> Result<SmallVec<[Layout; 1]>> {
    let mut out = SmallVec::new();
    for &(start, length) in bounds {
        let mut layout = x.layout().clone();
        layout.offset += start as usize * layout.strides[dim];
        layout.shape[dim] = length as usize;
        out.push(layout);
    }
    Ok(out)
}

/// The gradients of pieces, put together again; missing ones are zero.
fn joined(cx: &VjpCx, dim: usize) -> Result<Option<Tensor>> {
    let mut parts: SmallVec<[Operand; 4]> = SmallVec::new();
    let like = cx
        .grads
        .iter()
        .flatten()
        .next()
        .expect("a node that runs has a gradient");
    for (g, meta) in cx.grads.iter().zip(cx.outputs) {
        parts.push(match g {
            Some(g) => g.into(),
            None => Tensor::zeros(meta.shape.clone(), meta.dtype, like.device())?.into(),
        });
    }
    super::cat_operands(&parts, dim as i64).map(Some)
}

/// `split` into pieces of given sizes: the view op under the others.
pub static SPLIT_SIZES: OpDef = OpDef {
    name: "split_with_sizes",
    doc: "Views of consecutive pieces of dimension `dim`, of sizes `split_sizes`.",
    sig: &["(input, split_sizes: int[], dim: int = 0)"],
    returns: Returns::Tuple,
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() > 0,
            runtime,
            "split expects at least a 1-dimensional tensor"
        );
        let dim = wrap_dim(call.attrs.int(1), x.ndim())?;
        let sizes = call.attrs.ints(0);
        ensure!(
            sizes.iter().all(|n| *n >= 0),
            runtime,
            "split_with_sizes expects split_sizes have only non-negative entries, but got \
             split_sizes={sizes:?}"
        );
        ensure!(
            sizes.iter().sum::<i64>() == x.shape()[dim] as i64,
            runtime,
            "split_with_sizes expects split_sizes to sum exactly to {} (input tensor's size at \
             dimension {dim}), but got split_sizes={sizes:?}",
            x.shape()[dim]
        );
        let mut start = 0;
        let bounds: Vec<(i64, i64)> = sizes
            .iter()
            .map(|&n| {
                start += n;
                (start - n, n)
            })
            .collect();
        pieces(x, dim, &bounds)
    }),
    grads: &[grad(NOTHING, |cx| {
        joined(cx, wrap_dim(cx.attrs.int(1), cx.shape(0).len())?)
    })],
    ..OpDef::VIEW
};

/// Splits a dimension into pieces of the given sizes.
pub(super) fn split_sizes(x: &Tensor, sizes: &[i64], dim: usize) -> Result<Outputs> {
    let attrs: Attrs = [sizes.into(), dim.into()].into_iter().collect();
    super::dispatch::run(&SPLIT_SIZES, &[x.into()], &attrs)
}

/// `split`.
pub static SPLIT: OpDef = OpDef {
    name: "split",
    doc: "Views of consecutive pieces of dimension `dim`: of size `split_size_or_sections` each (the \
          last may be smaller), or of the sizes in that list.",
    sig: &[
        "(input, split_size: int, dim: int = 0)",
        "(input, split_size_or_sections: int[], dim: int = 0)",
    ],
    returns: Returns::Tuple,
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() > 0,
            runtime,
            "split expects at least a 1-dimensional tensor"
        );
        let dim = wrap_dim(call.attrs.int(1), x.ndim())?;
        if let (1, [_, ..]) = (call.overload, call.attrs.ints(0)) {
            return split_sizes(x, call.attrs.ints(0), dim);
        }
        let size = call.attrs.int(0);
        let n = x.shape()[dim] as i64;
        ensure!(
            size > 0 || (size == 0 && n == 0),
            runtime,
            "split expects split_size be non-negative, and positive unless the dimension is empty, \
             but got split_size={size}"
        );
        split_sizes(x, &even_pieces(n, size.max(1)), dim)
    }),
    ..OpDef::COMPOSITE
};

/// The sizes of pieces of `size`, the last of which may be smaller.
fn even_pieces(n: i64, size: i64) -> Vec<i64> {
    if n == 0 {
        return vec![0];
    }
    (0..n)
        .step_by(size as usize)
        .map(|start| size.min(n - start))
        .collect()
}

/// `chunk`.
pub static CHUNK: OpDef = OpDef {
    name: "chunk",
    doc: "At most `chunks` views of consecutive pieces of dimension `dim`, of equal size but for the \
          last.",
    sig: &["(input, chunks: int, dim: int = 0)"],
    returns: Returns::Tuple,
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() > 0,
            runtime,
            "chunk expects at least a 1-dimensional tensor"
        );
        let chunks = call.attrs.int(0);
        ensure!(
            chunks > 0,
            runtime,
            "chunk expects `chunks` to be greater than 0, got: {chunks}"
        );
        let dim = wrap_dim(call.attrs.int(1), x.ndim())?;
        let n = x.shape()[dim] as i64;
        let size = (n + chunks - 1) / chunks;
        if n == 0 {
            return split_sizes(x, &vec![0; chunks as usize], dim);
        }
        split_sizes(x, &even_pieces(n, size), dim)
    }),
    ..OpDef::COMPOSITE
};

/// The sizes of `sections` pieces that differ by at most one.
fn balanced(n: i64, sections: i64) -> Vec<i64> {
    (0..sections)
        .map(|i| n / sections + i64::from(i < n % sections))
        .collect()
}

/// The sizes of the pieces between cuts, clamped like slices.
fn between(n: i64, cuts: &[i64]) -> Vec<(i64, i64)> {
    let mut start = 0;
    let mut out = Vec::new();
    for &cut in cuts.iter().chain(&[n]) {
        let end = if cut < 0 { cut + n } else { cut }.clamp(0, n);
        out.push((start.min(n), (end - start).max(0)));
        start = end;
    }
    out
}

/// `tensor_split` into a number of sections.
pub static TENSOR_SPLIT: OpDef = OpDef {
    name: "tensor_split",
    doc: "Views of consecutive pieces of dimension `dim`: so many of nearly equal size, or between \
          the given indices.",
    sig: &["(input, sections: int, dim: int = 0)"],
    returns: Returns::Tuple,
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() > 0,
            runtime,
            "tensor_split expects at least a 1-dimensional tensor"
        );
        let sections = call.attrs.int(0);
        ensure!(
            sections > 0,
            runtime,
            "number of sections must be larger than 0, got {sections}"
        );
        let dim = wrap_dim(call.attrs.int(1), x.ndim())?;
        split_sizes(x, &balanced(x.shape()[dim] as i64, sections), dim)
    }),
    ..OpDef::COMPOSITE
};

/// `tensor_split` at given indices.
pub static TENSOR_SPLIT_AT: OpDef = OpDef {
    name: "tensor_split_at",
    doc: "Views of the pieces of dimension `dim` between the given indices.",
    sig: &["(input, indices: int[], dim: int = 0)"],
    aliases: &["tensor_split"],
    returns: Returns::Tuple,
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() > 0,
            runtime,
            "tensor_split expects at least a 1-dimensional tensor"
        );
        let dim = wrap_dim(call.attrs.int(1), x.ndim())?;
        between(x.shape()[dim] as i64, call.attrs.ints(0))
            .into_iter()
            .map(|(start, n)| slice(x, dim, start, start + n, 1i64))
            .collect()
    }),
    ..OpDef::COMPOSITE
};

macro_rules! splits_of {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal $text:literal |$x:ident| $dim:expr; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input, sections: int)", "(input, indices: int[])"],
            returns: Returns::Tuple,
            kernel: Kernel::Composite(|call| {
                let $x = call.tensor(0);
                let dim: usize = $dim;
                ensure!($x.ndim() > dim, runtime, "{} requires a tensor with at least {} dimension(s), but got a tensor with {} dimensions!", $name, dim + 1, $x.ndim());
                let n = $x.shape()[dim] as i64;
                if call.overload == 0 {
                    let sections = call.attrs.int(0);
                    ensure!(sections > 0 && n % sections == 0, runtime, "{} attempted to split along dimension {dim}, but the size of the dimension {n} is not divisible by the split_size {sections}!", $name);
                    return split_sizes($x, &balanced(n, sections), dim);
                }
                between(n, call.attrs.ints(0))
                    .into_iter()
                    .map(|(start, n)| slice($x, dim, start, start + n, 1i64))
                    .collect()
            }),
            ..OpDef::COMPOSITE
        };
    )* };
}

splits_of! {
    /// Splits columns.
    HSPLIT "hsplit" "Views of pieces of dimension 1 (0 of a vector)." |x| usize::from(x.ndim() > 1);
    /// Splits rows.
    VSPLIT "vsplit" "Views of pieces of dimension 0." |x| { ensure!(x.ndim() > 1, runtime, "vsplit requires a tensor with at least 2 dimension, but got a tensor with {} dimensions!", x.ndim()); 0 };
}

/// `unbind`.
pub static UNBIND: OpDef = OpDef {
    name: "unbind",
    doc: "Views of every index of dimension `dim`.",
    sig: &["(input, dim: int = 0)"],
    returns: Returns::Tuple,
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() > 0,
            index,
            "Dimension specified as {} but tensor has no dimensions",
            call.attrs.int(0)
        );
        let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
        let mut row = x.layout().clone();
        row.shape.remove(dim);
        row.strides.remove(dim);
        Ok((0..x.shape()[dim])
            .map(|i| Layout {
                offset: row.offset + i * x.layout().strides[dim],
                ..row.clone()
            })
            .collect())
    }),
    grads: &[grad(NOTHING, |cx| {
        let dim = wrap_dim(cx.attrs.int(0), cx.shape(0).len())?;
        let like = cx
            .grads
            .iter()
            .flatten()
            .next()
            .expect("a node that runs has a gradient");
        let mut rows: SmallVec<[Operand; 4]> = SmallVec::new();
        for (g, meta) in cx.grads.iter().zip(cx.outputs) {
            let g = match g {
                Some(g) => g.clone(),
                None => Tensor::zeros(meta.shape.clone(), meta.dtype, like.device())?,
            };
            rows.push(unsqueeze(g, dim)?.into());
        }
        super::cat_operands(&rows, dim as i64).map(Some)
    })],
    ..OpDef::VIEW
};

/// `contiguous`.
pub static CONTIGUOUS: OpDef = OpDef {
    name: "contiguous",
    doc: "The tensor itself if its elements lie densely in row-major order, else a copy that does.",
    sig: &["(input, memory_format: any? = None)"],
    forms: Forms::METHOD,
    kernel: Kernel::Composite(|call| Ok(smallvec![contiguous(call.tensor(0))?])),
    ..OpDef::COMPOSITE
};

macro_rules! atleast {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal $text:literal |$x:ident| $body:expr; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input)"],
            forms: Forms::FUNCTION,
            kernel: Kernel::Composite(|call| {
                let $x = call.tensor(0);
                Ok(smallvec![$body])
            }),
            ..OpDef::COMPOSITE
        };
    )* };
}

atleast! {
    /// At least one dimension.
    ATLEAST_1D "atleast_1d" "`input` with at least one dimension." |x| match x.ndim() {
        0 => reshape(x, &Shape::from([1]))?,
        _ => x.clone(),
    };
    /// At least two dimensions.
    ATLEAST_2D "atleast_2d" "`input` with at least two dimensions." |x| match x.ndim() {
        0 => reshape(x, &Shape::from([1, 1]))?,
        1 => unsqueeze(x, 0i64)?,
        _ => x.clone(),
    };
    /// At least three dimensions.
    ATLEAST_3D "atleast_3d" "`input` with at least three dimensions." |x| match x.ndim() {
        0 => reshape(x, &Shape::from([1, 1, 1]))?,
        1 => unsqueeze(unsqueeze(x, 0i64)?, 2i64)?,
        2 => unsqueeze(x, 2i64)?,
        _ => x.clone(),
    };
}

/// `base` with the elements that a chain of views reaches replaced by `src`.
///
/// # Errors
/// When `src` does not have the view's shape.
pub fn view_scatter(
    base: &Tensor,
    src: &Tensor,
    chain: &std::sync::Arc<ViewStep>,
) -> Result<Tensor> {
    let attrs: Attrs = [crate::base::Attr::Any(chain.clone())]
        .into_iter()
        .collect();
    super::dispatch::run1(&VIEW_SCATTER, &[base.into(), src.into()], &attrs)
}

/// What a write into a view does to its base. See NOTE [Views].
pub static VIEW_SCATTER: OpDef = OpDef {
    name: "view_scatter",
    doc: "`base` with the elements that a chain of views reaches replaced by `src`.",
    sig: &["(base, src, chain: any)"],
    forms: Forms::HIDDEN,
    meta: |call| Ok(spec(call.tensor(0).shape().clone(), call.tensor(0).dtype())),
    kernel: Kernel::Compute(|cx| {
        let _unrecorded = crate::tape::GradMode::set(false);
        let data = |t: &Tensor| t.alias(t.layout().clone());
        super::dispatch::copy_(&cx.outs[0], &data(cx.call.tensor(0)))?;
        let region = cx.any::<ViewStep>(0).replay(&data(&cx.outs[0]))?;
        super::dispatch::copy_(&region, &data(cx.call.tensor(1)))
    }),
    grads: &[
        // The base's elements, but for the region, which was replaced.
        grad(NOTHING, |cx| {
            let zeros = Tensor::zeros(cx.shape(1).clone(), cx.grad().dtype(), cx.grad().device())?;
            super::dispatch::run1(&VIEW_SCATTER, &[cx.grad().into(), zeros.into()], cx.attrs)
                .map(Some)
        }),
        // The region.
        grad(NOTHING, |cx| {
            cx.attrs.any::<ViewStep>(0).replay(cx.grad()).map(Some)
        }),
    ],
    jvp: Jvp::Linear,
    batch: Batch::Loop,
    ..OpDef::BASE
};

/// A view of all elements that shares the tensor's history but not its identity.
///
/// # Errors
/// When the tensor's own history cannot be told.
pub fn alias(x: &Tensor) -> Result<Tensor> {
    let t = x.alias(x.layout().clone());
    if let Some(edge) = x.grad_edge()? {
        t.set_history(Some(edge));
    }
    t.set_tangents(x.tangents());
    Ok(t)
}
