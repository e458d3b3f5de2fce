//! Views: other layouts over the same elements.

use super::def::{Batch, Forms, Jvp, Kernel, NOTHING, OpDef, grad, spec};
use super::{contiguous, sum_dims};
use crate::base::shape::wrap_dim;
use crate::base::{Attrs, DType, Result, Shape};
use crate::tensor::{Tensor, ViewStep};
use crate::{bail, ensure};
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[&VIEW, &EXPAND, &TRANSPOSE, &SELECT, &VIEW_SCATTER];

functions! {
    /// Another shape over the same elements, when no copy is needed.
    view(x; size) = VIEW;
    /// Dimensions of size 1 repeated without copying.
    expand_to(x; size) = EXPAND;
    /// Two dimensions swapped.
    transpose(x; dim0, dim1) = TRANSPOSE;
    /// One index of a dimension, which goes away.
    select(x; dim, index) = SELECT;
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
    sig: &["(input, dim0: int, dim1: int)"],
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
    grads: &[grad(NOTHING, |cx| {
        let zeros = Tensor::zeros(cx.shape(0).clone(), cx.grad().dtype(), cx.grad().device())?;
        let step = ViewStep::new(None, &SELECT, cx.attrs.clone(), 0);
        view_scatter(&zeros, cx.grad(), &step).map(Some)
    })],
    ..OpDef::VIEW
};

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
