//! Views: other layouts over the same elements.

use super::def::{Forms, Kernel, NOTHING, OpDef, grad};
use super::{contiguous, sum_dims};
use crate::base::shape::{wrap_dim, wrap_dims};
use crate::base::{Attr, DType, Layout, Result, Shape};
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::{SmallVec, smallvec};

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &VIEW,
    &RESHAPE,
    &VIEW_AS,
    &RESHAPE_AS,
    &FLATTEN,
    &UNFLATTEN,
    &RAVEL,
    &EXPAND,
    &EXPAND_AS,
    &BROADCAST_TO,
    &SQUEEZE,
    &UNSQUEEZE,
    &TRANSPOSE,
    &T,
    &ADJOINT,
    &PERMUTE,
    &MOVEDIM,
    &CONTIGUOUS,
];

functions! {
    /// Another shape over the same elements, when no copy is needed.
    view(x; size) = VIEW;
    /// Dimensions of size 1 repeated without copying.
    expand_to(x; size) = EXPAND;
    /// Two dimensions swapped.
    transpose(x; dim0, dim1) = TRANSPOSE;
    /// The dimensions in another order.
    permute(x; dims) = PERMUTE;
    /// One more dimension, of size 1.
    unsqueeze(x; dim) = UNSQUEEZE;
    /// Without dimensions of size 1.
    squeeze(x; dim) = SQUEEZE;
}

/// Without dimension `dim`, which has size 1.
///
/// # Errors
/// When the dimension does not exist.
pub fn squeeze_dim(x: &Tensor, dim: usize) -> Result<Tensor> {
    squeeze(x, dim)
}

/// The tensor in another shape: a view where possible, else a copy.
///
/// # Errors
/// When the number of elements differs.
pub fn reshape(x: &Tensor, shape: &Shape) -> Result<Tensor> {
    if shape == x.shape() {
        return Ok(x.clone());
    }
    view_or_copy(x, shape)
}

/// The elements in row-major order in another shape. Nobody else has the copy, so this is no view.
fn copied(x: &Tensor, shape: &Shape) -> Result<Tensor> {
    let of_copy = view(&contiguous(x)?, shape)?;
    let out = of_copy.detach();
    out.set_tangents(of_copy.tangents());
    out.set_tainted(of_copy.is_tainted());
    out.set_cut(of_copy.cut());
    Ok(match of_copy.grad_edge()? {
        Some(edge) => out.with_history(edge),
        None => out,
    })
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
    doc: "The same elements in shape `size` (one entry may be -1), without copying. Raises where \
          that is not possible: `reshape` copies then.",
    sig: &["(input, *size: int[])", "(input, dtype: dtype)"],
    forms: Forms::METHOD,
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        if let Some(Attr::DType(dtype)) = call.attrs.iter().next() {
            ensure!(
                *dtype == x.dtype(),
                not_implemented,
                "the bytes of {} cannot be seen as {dtype}; to({dtype}) converts the values",
                x.dtype()
            );
            return Ok(smallvec![x.layout().clone()]);
        }
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
    ..OpDef::VIEW
};

/// A view in another shape, of the tensor or of a dense copy.
fn view_or_copy(x: &Tensor, shape: &Shape) -> Result<Tensor> {
    if x.layout().reshape(shape).is_some() {
        view(x, shape)
    } else {
        copied(x, shape)
    }
}

/// `reshape`.
pub static RESHAPE: OpDef = OpDef {
    name: "reshape",
    doc: "The same elements in shape `shape` (one entry may be -1): a view where possible, else a \
          copy.\n\n>>> import rustgrad as rg\n>>> rg.arange(6).reshape(2, -1)\n\
          tensor([[0, 1, 2],\n        [3, 4, 5]])",
    sig: &["(input, *shape: int[])"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let shape = resolve_shape(call.attrs.ints(0), x.numel())?;
        Ok(smallvec![view_or_copy(x, &shape)?])
    }),
    ..OpDef::COMPOSITE
};

/// `view_as`.
pub static VIEW_AS: OpDef = OpDef {
    name: "view_as",
    doc: "The same elements in the shape of `other`, without copying.",
    sig: &["(input, other)"],
    forms: Forms::METHOD,
    kernel: Kernel::Composite(|call| Ok(smallvec![view(call.tensor(0), call.tensor(1).shape())?])),
    ..OpDef::COMPOSITE
};

/// `reshape_as`.
pub static RESHAPE_AS: OpDef = OpDef {
    name: "reshape_as",
    doc: "The same elements in the shape of `other`: a view where possible, else a copy.",
    sig: &["(input, other)"],
    forms: Forms::METHOD,
    kernel: Kernel::Composite(|call| {
        let (x, shape) = (call.tensor(0), call.tensor(1).shape());
        ensure!(
            x.numel() == shape.numel(),
            runtime,
            "shape '{shape}' is invalid for input of size {}",
            x.numel()
        );
        Ok(smallvec![view_or_copy(x, shape)?])
    }),
    ..OpDef::COMPOSITE
};

/// `flatten`.
pub static FLATTEN: OpDef = OpDef {
    name: "flatten",
    doc: "Dimensions `start_dim` to `end_dim` as one: a view where possible, else a copy.",
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
            return Ok(smallvec![view(x, [1])?]);
        }
        if first == last {
            return Ok(smallvec![x.clone()]);
        }
        let sizes = x.shape();
        let mut shape: Shape = sizes[..first].into();
        shape.push(sizes[first..=last].iter().product());
        sizes[last + 1..].iter().for_each(|&n| shape.push(n));
        Ok(smallvec![view_or_copy(x, &shape)?])
    }),
    ..OpDef::COMPOSITE
};

/// `unflatten`.
pub static UNFLATTEN: OpDef = OpDef {
    name: "unflatten",
    doc: "Dimension `dim` as dimensions of the given sizes, one of which may be -1.",
    sig: &["(input, dim: int, sizes: int[])"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
        let sizes = call.attrs.ints(1);
        ensure!(
            x.ndim() > 0 && !sizes.is_empty(),
            runtime,
            "unflatten: sizes must be non-empty, and the tensor must have a dimension"
        );
        let n = x.shape()[dim];
        let Ok(parts) = resolve_shape(sizes, n) else {
            bail!(
                runtime,
                "unflatten: Provided sizes {sizes:?} don't multiply up to the size of dim {dim} \
                 ({n}) in the input tensor"
            )
        };
        let (before, after) = (&x.shape()[..dim], &x.shape()[dim + 1..]);
        let shape: Shape = [before, &parts, after].concat().into();
        Ok(smallvec![view(x, &shape)?])
    }),
    ..OpDef::COMPOSITE
};

/// `ravel`.
pub static RAVEL: OpDef = OpDef {
    name: "ravel",
    doc: "The elements in row-major order, 1-d: a view where possible, else a copy.",
    sig: &["(input)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        if x.ndim() == 1 && x.is_contiguous() {
            return Ok(smallvec![x.clone()]);
        }
        Ok(smallvec![view_or_copy(x, &[x.numel()].into())?])
    }),
    ..OpDef::COMPOSITE
};

/// `contiguous`.
pub static CONTIGUOUS: OpDef = OpDef {
    name: "contiguous",
    doc: "The tensor itself if its elements are dense in row-major order, else a copy that is.",
    sig: &["(input)"],
    forms: Forms::METHOD,
    kernel: Kernel::Composite(|call| Ok(smallvec![contiguous(call.tensor(0))?])),
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

/// `expand_as`.
pub static EXPAND_AS: OpDef = OpDef {
    name: "expand_as",
    doc: "`input` with dimensions of size 1 repeated, without copying, to the shape of `other`.",
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
    doc: "`input` with dimensions of size 1 repeated, without copying, to shape `size`.",
    sig: &["(input, *size: int[])"],
    kernel: Kernel::Composite(|call| Ok(smallvec![expand_to(call.tensor(0), call.attrs.ints(0))?])),
    ..OpDef::COMPOSITE
};

/// `squeeze`.
pub static SQUEEZE: OpDef = OpDef {
    name: "squeeze",
    doc: "`input` without its dimensions of size 1: all, or those of `dim` that have it.",
    sig: &["(input, dim: int[]? = None)"],
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        let asked = match call.attrs.ints(0) {
            [] if !call.attrs.is_none(0) => smallvec![],
            dims => wrap_dims(dims, x.ndim())?,
        };
        let mut layout = x.layout().clone();
        for d in (0..x.ndim()).rev() {
            if layout.shape[d] == 1 && asked.contains(&d) {
                layout.shape.remove(d);
                layout.strides.remove(d);
            }
        }
        Ok(smallvec![layout])
    }),
    // The same elements in the input's shape.
    grads: &[grad(NOTHING, |cx| {
        reshape(cx.grad(), cx.shape(0)).map(Some)
    })],
    ..OpDef::VIEW
};

/// `unsqueeze`.
pub static UNSQUEEZE: OpDef = OpDef {
    name: "unsqueeze",
    doc: "`input` with a dimension of size 1 before position `dim`.",
    sig: &["(input, dim: int)"],
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        let dim = wrap_dim(call.attrs.int(0), x.ndim() + 1)?;
        let mut layout = x.layout().clone();
        // As PyTorch: the stride a contiguous tensor would have there.
        let stride = layout.shape.get(dim).map_or(1, |n| n * layout.strides[dim]);
        layout.shape.insert(dim, 1);
        layout.strides.insert(dim, stride);
        Ok(smallvec![layout])
    }),
    // The same elements in the input's shape.
    grads: &[grad(NOTHING, |cx| {
        reshape(cx.grad(), cx.shape(0)).map(Some)
    })],
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

/// `t`.
pub static T: OpDef = OpDef {
    name: "t",
    doc: "The transpose of a matrix; a tensor of fewer dimensions as it is.",
    sig: &["(input)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() <= 2,
            runtime,
            "t() expects a tensor with <= 2 dimensions, but self is {}D; use mT, or permute(...)",
            x.ndim()
        );
        Ok(smallvec![transpose(x, 0i64, i64::from(x.ndim() == 2))?])
    }),
    ..OpDef::COMPOSITE
};

/// `adjoint`.
pub static ADJOINT: OpDef = OpDef {
    name: "adjoint",
    doc: "`input` with its last two dimensions swapped (numbers are real, so nothing is conjugated).",
    sig: &["(input)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() != 1,
            runtime,
            "tensor.adjoint() is only supported on matrices or batches of matrices. Got 1-D tensor."
        );
        Ok(smallvec![if x.ndim() == 0 {
            view(x, x.shape())?
        } else {
            transpose(x, -2i64, -1i64)?
        }])
    }),
    ..OpDef::COMPOSITE
};

/// `permute`.
pub static PERMUTE: OpDef = OpDef {
    name: "permute",
    doc: "`input` with its dimensions in the order `dims`.",
    sig: &["(input, *dims: int[])"],
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        let dims = order_of(call.attrs.ints(0), x.ndim())?;
        Ok(smallvec![permuted(x.layout(), &dims)])
    }),
    // The inverse order: dimension `dims[i]` of the input is dimension `i` of the result.
    grads: &[grad(NOTHING, |cx| {
        let dims = order_of(cx.attrs.ints(0), cx.shape(0).len())?;
        permute(cx.grad(), inverse(&dims).as_slice()).map(Some)
    })],
    ..OpDef::VIEW
};

/// All dimensions, each once.
fn order_of(dims: &[i64], ndim: usize) -> Result<SmallVec<[usize; 4]>> {
    ensure!(
        dims.len() == ndim,
        runtime,
        "permute(sparse_coo): number of dimensions in the tensor input does not match the length of \
         the desired ordering of dimensions i.e. input.dim() = {ndim} is not equal to len(dims) = {}",
        dims.len()
    );
    let mut order: SmallVec<[usize; 4]> = SmallVec::new();
    for &d in dims {
        let d = wrap_dim(d, ndim)?;
        ensure!(
            !order.contains(&d),
            runtime,
            "permute(): duplicate dims are not allowed: {dims:?}"
        );
        order.push(d);
    }
    Ok(order)
}

/// The order that undoes `order`.
pub(super) fn inverse(order: &[usize]) -> SmallVec<[usize; 4]> {
    let mut inverse: SmallVec<[usize; 4]> = smallvec![0; order.len()];
    order.iter().enumerate().for_each(|(i, &d)| inverse[d] = i);
    inverse
}

/// A layout with its dimensions in another order.
pub(super) fn permuted(layout: &Layout, order: &[usize]) -> Layout {
    Layout {
        shape: order.iter().map(|&d| layout.shape[d]).collect(),
        strides: order.iter().map(|&d| layout.strides[d]).collect(),
        offset: layout.offset,
    }
}

/// `movedim`.
pub static MOVEDIM: OpDef = OpDef {
    name: "movedim",
    doc: "`input` with dimensions `source` moved to positions `destination`; the others keep their \
          order.",
    sig: &["(input, source: int[], destination: int[])"],
    aliases: &["moveaxis"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let (source, destination) = (call.attrs.ints(0), call.attrs.ints(1));
        ensure!(
            source.len() == destination.len(),
            runtime,
            "movedim: Invalid source or destination dims: source ({source:?} dims) should contain \
             the same number of dims as destination ({destination:?} dims)"
        );
        let wrapped = |dims: &[i64], what: &str| {
            let mut out: SmallVec<[usize; 4]> = SmallVec::new();
            for &d in dims {
                let d = wrap_dim(d, x.ndim())?;
                ensure!(
                    !out.contains(&d),
                    runtime,
                    "movedim: repeated dim in `{what}` ({dims:?})"
                );
                out.push(d);
            }
            Ok(out)
        };
        let from = wrapped(source, "source")?;
        let to = wrapped(destination, "destination")?;
        if x.ndim() == 0 {
            return Ok(smallvec![view(x, x.shape())?]);
        }
        let mut rest = (0..x.ndim()).filter(|d| !from.contains(d));
        let order: SmallVec<[usize; 4]> = (0..x.ndim())
            .filter_map(|i| match to.iter().position(|&t| t == i) {
                Some(j) => Some(from[j]),
                None => rest.next(),
            })
            .collect();
        Ok(smallvec![permute(x, order.as_slice())?])
    }),
    ..OpDef::COMPOSITE
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
