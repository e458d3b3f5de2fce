//! Greatest and least elements, and where they are.

use super::copy::raw;
use super::def::{
    Batch, Call, Forms, IN, Jvp, Kernel, KernelCx, OUT, OpDef, Returns, Spec, Specs, grad,
};
use super::dispatch;
use super::reduce::{dims_of, reduce_into, reduced, reduced_shape, unreduce};
use super::{div, eq, gather, isnan, logical_or, scatter, sum_dims, unsqueeze, where_};
use crate::backend::{Reduction, View};
use crate::base::shape::wrap_dim;
use crate::base::{DType, Layout, Result, Shape};
use crate::ensure;
use crate::tape::{Outputs, VjpCx};
use crate::tensor::Tensor;
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &AMAX, &AMIN, &MAX, &MAX_ALONG, &MIN, &MIN_ALONG, &ARGMAX, &ARGMIN, &AMINMAX,
];

functions! {
    /// The greatest element over dimensions.
    amax(x; dim, keepdim) = AMAX;
    /// The least element over dimensions.
    amin(x; dim, keepdim) = AMIN;
    /// The position of the greatest element.
    argmax(x; dim, keepdim) = ARGMAX;
    /// The position of the least element.
    argmin(x; dim, keepdim) = ARGMIN;
}

/// Extrema of nothing do not exist.
fn check_not_empty(call: &Call) -> Result<()> {
    let (x, name) = (call.tensor(0), call.op.name);
    if x.numel() > 0 {
        return Ok(());
    }
    if call.attrs.ints(0).is_empty() {
        let wanted = format!(
            "{name}(): Expected reduction dim to be specified for input.numel() == 0. Specify the \
             reduction dim with the 'dim' argument."
        );
        // PyTorch's types differ too.
        ensure!(name.starts_with("arg"), runtime, "{wanted}");
        crate::bail!(index, "{wanted}");
    }
    for d in dims_of(call)? {
        ensure!(
            x.shape()[d] > 0,
            index,
            "{name}(): Expected reduction dim {d} to have non-zero size: the input has shape {}",
            x.shape()
        );
    }
    Ok(())
}

/// The gradient of an extremum: shared equally among the elements that reach it. Where the extremum
/// is NaN, the elements that are NaN reach it.
fn shared(cx: &VjpCx) -> Result<Option<Tensor>> {
    let (x, y) = (cx.tensor(0)?, unreduce(cx, &cx.output(0)?)?);
    let reached = logical_or(eq(&x, y)?, isnan(&x)?)?;
    let n = sum_dims(&reached, cx.attrs.ints(0), true, None::<DType>)?;
    where_(reached, div(unreduce(cx, cx.grad())?, n)?, 0i64).map(Some)
}

macro_rules! extrema {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal $f:ident $text:literal; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input, dim: int[]? = None, keepdim: bool = False)"],
            meta: |call| {
                check_not_empty(call)?;
                reduced(call, call.tensor(0).dtype())
            },
            kernel: Kernel::Compute(|cx| reduce_into(cx, Reduction::$f)),
            grads: &[grad(IN(0) | OUT(0), shared)],
            jvp: Jvp::DoubleVjp,
            batch: Batch::Dims,
            ..OpDef::BASE
        };
    )* };
}

extrema! {
    /// Greatest element.
    AMAX "amax" Max "The greatest element over `dim` (an int, a tuple, or all dimensions); NaN wins. \
        Equal elements share the gradient.\n\n\
        >>> rg.tensor([[1, 5], [3, 2]]).amax(1)\ntensor([5, 3])";
    /// Least element.
    AMIN "amin" Min "The least element over `dim` (an int, a tuple, or all dimensions); NaN wins. \
        Equal elements share the gradient.\n\n\
        >>> rg.tensor([[1, 5], [3, 2]]).amin(1)\ntensor([1, 2])";
}

/// `x` and its reduced form as kernels that work along one dimension want them.
fn lane(x: &Tensor, out: &Tensor, dim: usize) -> (Layout, Layout) {
    let from = if x.ndim() > 0 {
        x.layout().clone()
    } else {
        Layout {
            offset: x.layout().offset,
            ..Layout::contiguous(Shape::from([1]))
        }
    };
    let to = Layout {
        offset: out.layout().offset,
        ..Layout::contiguous(reduced_shape(&from.shape, &[dim], true))
    };
    (from, to)
}

macro_rules! positions {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal $f:ident $text:literal; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input, dim: int? = None, keepdim: bool = False)"],
            meta: |call| {
                check_not_empty(call)?;
                reduced(call, DType::I64)
            },
            kernel: Kernel::Compute(|cx| {
                if cx.call.tensor(0).ndim() == 0 {
                    return position_along(cx, Reduction::$f, 0, &cx.outs[0]);
                }
                reduce_into(cx, Reduction::$f)
            }),
            batch: Batch::Dims,
            ..OpDef::BASE
        };
    )* };
}

positions! {
    /// Position of the greatest element.
    ARGMAX "argmax" ArgMax "The position of the first greatest element along `dim`, or in the \
        flattened tensor; NaN is greater than all.\n\n\
        >>> rg.tensor([3, 9, 2]).argmax()\ntensor(1)";
    /// Position of the least element.
    ARGMIN "argmin" ArgMin "The position of the first least element along `dim`, or in the flattened \
        tensor; NaN is less than all.\n\n>>> rg.tensor([3, 9, 2]).argmin()\ntensor(2)";
}

fn position_along(cx: &KernelCx, f: Reduction, dim: usize, out: &Tensor) -> Result<()> {
    let x = cx.call.tensor(0);
    let (from, to) = lane(x, out, dim);
    let (x, out) = (
        View {
            layout: &from,
            ..x.as_view()
        },
        View {
            layout: &to,
            ..out.as_view()
        },
    );
    cx.backend.reduce(f, out, x, &[dim]);
    Ok(())
}

fn along_meta(call: &Call) -> Result<Specs> {
    let x = call.tensor(0);
    let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
    let shape = reduced_shape(x.shape(), &[dim], call.attrs.bool(1));
    Ok(smallvec![
        Spec {
            shape: shape.clone(),
            dtype: x.dtype()
        },
        Spec {
            shape,
            dtype: DType::I64
        },
    ])
}

/// The positions first, then what lies there.
fn along_into(cx: &KernelCx, f: Reduction) -> Result<()> {
    let (x, values, places) = (cx.call.tensor(0), &cx.outs[0], &cx.outs[1]);
    let dim = wrap_dim(cx.int(0), x.ndim())?;
    position_along(cx, f, dim, places)?;
    let (from, to) = lane(x, places, dim);
    let view = |t, layout| View {
        layout,
        ..Tensor::as_view(t)
    };
    cx.backend
        .gather(view(values, &to), view(x, &from), dim, view(places, &to))
}

/// Positions along the dimension in argument 0, with that dimension put back as size 1.
fn kept(cx_ndim: usize, dim: i64, keepdim: bool, t: &Tensor) -> Result<Tensor> {
    if keepdim || cx_ndim == 0 {
        Ok(t.clone())
    } else {
        unsqueeze(t, wrap_dim(dim, cx_ndim)?)
    }
}

/// The gradient of elements looked up along the dimension in argument 0 (`keepdim` is argument 1):
/// each goes to the place in output 1 that it came from.
pub(super) fn put_back(cx: &VjpCx) -> Result<Option<Tensor>> {
    let Some(g) = &cx.grads[0] else {
        return Ok(None);
    };
    let (ndim, dim, keepdim) = (cx.shape(0).len(), cx.attrs.int(0), cx.attrs.bool(1));
    let zeros = Tensor::zeros(cx.shape(0).clone(), g.dtype(), g.device())?;
    let places = kept(ndim, dim, keepdim, &cx.output(1)?)?;
    scatter(zeros, places, kept(ndim, dim, keepdim, g)?, dim).map(Some)
}

/// The tangent of elements looked up along the dimension in argument 0.
pub(super) const LOOKED_UP: Jvp = Jvp::Rule(|cx| {
    let Some(t) = &cx.tangents[0] else {
        return Ok(smallvec![None, None]);
    };
    let (dim, keepdim) = (cx.call.attrs.int(0), cx.call.attrs.bool(1));
    let places = kept(t.ndim(), dim, keepdim, &raw(&cx.outs[1]))?;
    let picked = gather(t, places, dim)?;
    Ok(smallvec![
        Some(super::reshape(&picked, cx.outs[0].shape())?),
        None
    ])
});

macro_rules! max_and_min {
    ($( $(#[$doc:meta])* $NAME:ident $ALONG:ident $name:literal $along:literal $arg:ident $all:ident $maximum:ident $text:literal; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &[
                "(input)",
                "(input, other)",
                "(input, dim: int, keepdim: bool = False)",
            ],
            returns: Returns::Named(&["values", "indices"]),
            kernel: Kernel::Composite(|call| -> Result<Outputs> {
                let x = call.tensor(0);
                if call.overload == 1 {
                    return Ok(smallvec![super::$maximum(x, call.tensor(1))?]);
                }
                if call.overload == 2 {
                    wrap_dim(call.attrs.int(0), x.ndim())?;
                    check_not_empty(call)?;
                    return dispatch::run(&$ALONG, call.inputs, call.attrs);
                }
                check_not_empty(&Call { attrs: &[crate::base::Attr::None].into_iter().collect(), ..*call })?;
                Ok(smallvec![$all(x, None::<i64>, false)?])
            }),
            ..OpDef::COMPOSITE
        };

        /// The extremum along one dimension, and its position.
        pub static $ALONG: OpDef = OpDef {
            name: $along,
            doc: "The extremum along `dim`, and its position.",
            sig: &["(input, dim: int, keepdim: bool)"],
            forms: Forms::HIDDEN,
            returns: Returns::Tuple,
            meta: along_meta,
            kernel: Kernel::Compute(|cx| along_into(cx, Reduction::$arg)),
            grads: &[grad(OUT(1), put_back)],
            jvp: LOOKED_UP,
            batch: Batch::Dims,
            ..OpDef::BASE
        };
    )* };
}

max_and_min! {
    /// Greatest element.
    MAX MAX_ALONG "max" "max_exact" ArgMax amax maximum "The greatest of all elements; with `dim`, the \
        greatest along it and the position of the first such element, as a named tuple; with `other`, \
        the greater of two elementwise. NaN wins. Over all elements, equal ones share the gradient; \
        along `dim` it goes to the element at that position.\n\n\
        >>> rg.tensor([[1, 5], [3, 2]]).max()\ntensor(5)";
    /// Least element.
    MIN MIN_ALONG "min" "min_exact" ArgMin amin minimum "The least of all elements; with `dim`, the least \
        along it and the position of the first such element, as a named tuple; with `other`, the lesser \
        of two elementwise. NaN wins. Over all elements, equal ones share the gradient; along `dim` it \
        goes to the element at that position.\n\n\
        >>> rg.tensor([[1, 5], [3, 2]]).min()\ntensor(1)";
}

/// Both extrema.
pub static AMINMAX: OpDef = OpDef {
    name: "aminmax",
    doc: "The least and the greatest element along `dim`, or of all, as a named tuple. Equal elements \
          share the gradient.",
    sig: &["(input, *, dim: int? = None, keepdim: bool = False)"],
    returns: Returns::Named(&["min", "max"]),
    kernel: Kernel::Composite(|call| {
        let (x, dim, keepdim) = (call.tensor(0), call.attrs.int_opt(0), call.attrs.bool(1));
        ensure!(
            x.numel() > 0 || dim.is_some(),
            runtime,
            "aminmax(): cannot compute aminmax over an empty dimension as the operation has no identity."
        );
        check_not_empty(call)?;
        Ok(smallvec![amin(x, dim, keepdim)?, amax(x, dim, keepdim)?])
    }),
    ..OpDef::COMPOSITE
};
