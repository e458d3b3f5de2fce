//! Indexing by tensors, and Python's subscripts.
//!
//! NOTE [Subscripts]
//! Numbers, slices, `None` and `...` make views. Integer and bool tensors are then looked up all at
//! once (`index`): a mask stands for the positions of its true elements, the tensors broadcast
//! against each other, and their common shape takes the place of the indexed dimensions where those
//! lie side by side, else it comes first: NumPy's rule.

use super::def::{Batch, Call, Forms, IN, Jvp, Kernel, NOTHING, OpDef, Returns, grad, spec};
use super::{
    cast, clone_data, eq, expand, expand_to, mul, permute, reshape, select, slice, squeeze_dim,
    unsqueeze, where_,
};
use crate::backend::Combine;
use crate::base::shape::wrap_dim;
use crate::base::{Attrs, DType, Device, Result, Shape};
use crate::tape::VjpCx;
use crate::tensor::{Operand, Tensor};
use crate::{backend, bail, ensure};
use smallvec::{SmallVec, smallvec};

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &GATHER,
    &SCATTER_SET,
    &SCATTER,
    &SCATTER_VALUE,
    &SCATTER_ADD,
    &INDEX_SELECT,
    &INDEX_ADD,
    &INDEX_COPY,
    &INDEX_FILL,
    &INDEX,
    &INDEX_PUT_SET,
    &TAKE,
    &TAKE_ALONG_DIM,
    &MASKED_SELECT,
    &MASKED_SCATTER,
    &NONZERO,
    &ARGWHERE,
    &WHERE_INDICES,
    &ONE_HOT,
    &EMBEDDING,
];

functions! {
    /// The elements of `x` at `index` along `dim`.
    gather(x, index; dim) = GATHER;
    /// `x` with `src` written at `index` along `dim`.
    scatter(x, index, src; dim) = SCATTER_SET;
    /// `x` with `src` added at `index` along `dim`.
    scatter_add(x, index, src; dim) = SCATTER_ADD;
    /// The slices of `x` that a 1-d `index` names.
    index_select(x, index; dim) = INDEX_SELECT;
    /// `x` with `alpha * source` added to the slices that a 1-d `index` names.
    index_add(x, index, source; dim, alpha) = INDEX_ADD;
    /// Rows of `weight`.
    embedding(weight, indices; padding_idx) = EMBEDDING;
}

fn check_index_type(op: &str, index: &Tensor) -> Result<()> {
    ensure!(
        index.dtype().is_int(),
        runtime,
        "{op}(): Expected dtype int64 for index, but it is {}",
        index.dtype()
    );
    Ok(())
}

/// The index as the kernels want it.
fn long(index: &Tensor) -> Result<Tensor> {
    let _unrecorded = crate::tape::GradMode::set(false);
    cast(index, DType::I64)
}

/// The checks that `gather` and the scatters share; the wrapped dimension.
fn check_gather(call: &Call, x: &Tensor, index: &Tensor) -> Result<usize> {
    check_index_type(call.op.name, index)?;
    let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
    ensure!(
        index.ndim().max(1) == x.ndim().max(1) || index.numel() == 0,
        runtime,
        "Index tensor must have the same number of dimensions as input tensor, got {} and {}",
        index.shape(),
        x.shape()
    );
    for d in (0..index.ndim().min(x.ndim())).filter(|&d| d != dim) {
        ensure!(
            index.shape()[d] <= x.shape()[d] || index.numel() == 0,
            runtime,
            "Size does not match at dimension {d} expected index {} to be no larger than self {} \
             apart from dimension {dim}",
            index.shape(),
            x.shape()
        );
    }
    Ok(dim)
}

/// `gather`.
pub static GATHER: OpDef = OpDef {
    name: "gather",
    doc: "`out[i][j].. = input[..][index[i][j]..][..]` with `index` in place of coordinate `dim`: the \
          shape of `index`, which outside `dim` is nowhere larger than `input`.\n\n\
          >>> rg.tensor([[1, 2], [3, 4]]).gather(1, rg.tensor([[0], [1]]))\n\
          tensor([[1],\n        [4]])",
    sig: &["(input, dim: int, index, *, sparse_grad: bool = False)"],
    meta: |call| {
        check_gather(call, call.tensor(0), call.tensor(1))?;
        Ok(spec(call.tensor(1).shape().clone(), call.tensor(0).dtype()))
    },
    kernel: Kernel::Compute(|cx| {
        let (x, index) = (cx.call.tensor(0), long(cx.call.tensor(1))?);
        let dim = wrap_dim(cx.int(0), x.ndim())?;
        let (x, index, out) = (
            at_least_1d(x),
            at_least_1d(&index),
            at_least_1d(&cx.outs[0]),
        );
        cx.backend
            .gather(out.as_view(), x.as_view(), dim, index.as_view())
    }),
    // Each read adds its gradient where it read.
    grads: &[
        grad(IN(1), |cx| {
            let zeros = Tensor::zeros(cx.shape(0).clone(), cx.grad().dtype(), cx.grad().device())?;
            scatter_add(zeros, cx.input(1)?, cx.grad(), cx.attrs.int(0)).map(Some)
        }),
        None,
    ],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// A 0-d tensor as a kernel sees it.
fn at_least_1d(t: &Tensor) -> Tensor {
    if t.ndim() > 0 {
        return t.alias(t.layout().clone());
    }
    t.alias(crate::base::Layout {
        shape: Shape::from([1]),
        strides: Shape::from([1]),
        offset: t.layout().offset,
    })
}

/// Copies input 0 to the output and scatters into it.
fn scattered_into(cx: &super::KernelCx, combine: Combine) -> Result<()> {
    let (x, index, src) = (
        cx.call.tensor(0),
        long(cx.call.tensor(1))?,
        cx.call.tensor(2),
    );
    let dim = wrap_dim(cx.int(0), x.ndim())?;
    copy_data(cx, x)?;
    let (out, index, src) = (
        at_least_1d(&cx.outs[0]),
        at_least_1d(&index),
        at_least_1d(src),
    );
    cx.backend
        .scatter(combine, out.as_view(), dim, index.as_view(), src.as_view())
}

fn copy_data(cx: &super::KernelCx, x: &Tensor) -> Result<()> {
    let compute = super::meta::copy_compute(x.dtype(), cx.outs[0].dtype());
    let ins = [backend::Input::View(x.as_view())];
    cx.backend.map(
        backend::Functor::Copy,
        &[],
        compute,
        cx.outs[0].as_view(),
        &ins,
    );
    Ok(())
}

fn scatter_meta(call: &Call) -> Result<super::def::Specs> {
    let (x, index, src) = (call.tensor(0), call.tensor(1), call.tensor(2));
    check_gather(call, x, index)?;
    ensure!(
        src.dtype() == x.dtype(),
        runtime,
        "scatter(): Expected self.dtype to be equal to src.dtype, got {} and {}",
        x.dtype(),
        src.dtype()
    );
    for d in 0..index.ndim().min(src.ndim()) {
        ensure!(
            index.shape()[d] <= src.shape()[d] || index.numel() == 0,
            runtime,
            "Expected index {} to be no larger than src {} in every dimension",
            index.shape(),
            src.shape()
        );
    }
    Ok(spec(x.shape().clone(), x.dtype()))
}

/// The gradient of a scatter's source: what lies where it was written.
fn gathered(cx: &VjpCx) -> Result<Option<Tensor>> {
    let index = cx.tensor(1)?;
    let g = gather(cx.grad(), &index, cx.attrs.int(0))?;
    if *index.shape() == *cx.shape(2) {
        return Ok(Some(g));
    }
    // The source was larger than the index: what was not read has gradient zero.
    let mut padded = Tensor::zeros(cx.shape(2).clone(), g.dtype(), g.device())?;
    let mut g = g;
    for d in 0..index.ndim() {
        let positions = super::shape::arange_like(index.shape()[d], g.device())?;
        let mut shape = g.shape().clone();
        shape[d] = cx.shape(2)[d];
        let zeros = Tensor::zeros(shape, g.dtype(), g.device())?;
        g = index_add(zeros, positions, &g, d, 1i64)?;
        padded = g.clone();
    }
    Ok(Some(padded))
}

/// The kernel of [`SCATTER`].
pub static SCATTER_SET: OpDef = OpDef {
    name: "scatter_set",
    doc: "`input` with the elements of `src` written at `index` along `dim`.",
    sig: &["(input, dim: int, index, src)"],
    forms: Forms::HIDDEN,
    meta: scatter_meta,
    kernel: Kernel::Compute(|cx| scattered_into(cx, Combine::Set)),
    grads: &[
        // What was not overwritten.
        grad(IN(1), |cx| {
            let index = cx.tensor(1)?;
            let zeros =
                Tensor::zeros(index.shape().clone(), cx.grad().dtype(), cx.grad().device())?;
            scatter(cx.grad(), index, zeros, cx.attrs.int(0)).map(Some)
        }),
        None,
        grad(IN(1), gathered),
    ],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// `scatter` of a tensor.
pub static SCATTER: OpDef = OpDef {
    name: "scatter",
    doc: "`input` with the elements of `src` (a tensor, or one number) written at `index` along `dim`. \
          With `reduce='add'` they are added, with `'multiply'` multiplied. Where an index occurs \
          twice the last write wins, and the gradient of `src` is right only for distinct indices.",
    sig: &["(input, dim: int, index, src, *, reduce: str? = None)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        let (x, index, src) = (call.tensor(0), call.tensor(1), call.tensor(2));
        let dim = call.attrs.int(0);
        Ok(smallvec![scatter_by(call, x, index, src, dim)?])
    }),
    ..OpDef::COMPOSITE
};

fn scatter_by(call: &Call, x: &Tensor, index: &Tensor, src: &Tensor, dim: i64) -> Result<Tensor> {
    if call.attrs.is_none(1) {
        return scatter(x, index, src, dim);
    }
    match call.attrs.str(1) {
        "add" => scatter_add(x, index, src, dim),
        "multiply" => {
            ensure!(
                !(x.requires_grad() || src.requires_grad()) || !crate::tape::mode::grad_enabled(),
                not_implemented,
                "scatter with reduce='multiply' has no gradient; write it as a product"
            );
            let out = clone_data(x)?;
            let index = long(index)?;
            let dim = wrap_dim(dim, x.ndim())?;
            backend::of(x.device())?.scatter(
                Combine::Mul,
                at_least_1d(&out).as_view(),
                dim,
                at_least_1d(&index).as_view(),
                at_least_1d(src).as_view(),
            )?;
            Ok(out)
        }
        other => bail!(
            runtime,
            "reduce argument must be either add or multiply, not {other}"
        ),
    }
}

/// `scatter` of a number.
pub static SCATTER_VALUE: OpDef = OpDef {
    name: "scatter_value",
    doc: "`input` with one number written at `index` along `dim`.",
    sig: &["(input, dim: int, index, value: Scalar, *, reduce: str? = None)"],
    aliases: &["scatter"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        let (x, index) = (call.tensor(0), call.tensor(1));
        let src = Tensor::full(
            index.shape().clone(),
            call.attrs.scalar(1),
            x.dtype(),
            x.device(),
        )?;
        let attrs: Attrs = call
            .attrs
            .iter()
            .enumerate()
            .filter(|(i, _)| *i != 1)
            .map(|(_, a)| a.clone())
            .collect();
        let call = Call {
            attrs: &attrs,
            ..*call
        };
        Ok(smallvec![scatter_by(&call, x, index, &src, attrs.int(0))?])
    }),
    ..OpDef::COMPOSITE
};

/// `scatter_add`.
pub static SCATTER_ADD: OpDef = OpDef {
    name: "scatter_add",
    doc: "`input` with the elements of `src` added at `index` along `dim`.",
    sig: &["(input, dim: int, index, src)"],
    forms: Forms::ALL,
    meta: scatter_meta,
    kernel: Kernel::Compute(|cx| scattered_into(cx, Combine::Add)),
    grads: &[
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
        None,
        grad(IN(1), gathered),
    ],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

fn check_select(call: &Call) -> Result<usize> {
    let (x, index) = (call.tensor(0), call.tensor(1));
    check_index_type(call.op.name, index)?;
    ensure!(
        index.ndim() <= 1,
        index,
        "{}(): Index is supposed to be a vector",
        call.op.name
    );
    wrap_dim(call.attrs.int(0), x.ndim())
}

/// A 1-d index as the full index of a gather: `index[i]` at every place of slice `i`.
fn along(index: &Tensor, shape: &Shape, dim: usize) -> Result<Tensor> {
    let _unrecorded = crate::tape::GradMode::set(false);
    let n = index.numel();
    if shape.is_empty() {
        return reshape(index, &Shape::from([n]));
    }
    let mut own = Shape::filled(1, shape.len());
    own[dim] = n;
    let mut full = shape.clone();
    full[dim] = n;
    expand(&reshape(&cast(index, DType::I64)?, &own)?, &full)
}

/// Out-of-range indices of `index_select` and its kin, in PyTorch's type and words.
fn index_error(e: crate::base::Error) -> crate::base::Error {
    crate::base::Error::index(e.message().to_owned())
}

/// `index_select`.
pub static INDEX_SELECT: OpDef = OpDef {
    name: "index_select",
    doc: "The slices of dimension `dim` that the 1-d tensor `index` names, in its order.",
    sig: &["(input, dim: int, index)"],
    meta: |call| {
        let dim = check_select(call)?;
        let mut shape = call.tensor(0).shape().clone();
        if !shape.is_empty() {
            shape[dim] = call.tensor(1).numel();
        }
        Ok(spec(shape, call.tensor(0).dtype()))
    },
    kernel: Kernel::Compute(|cx| {
        let (x, dim) = (
            cx.call.tensor(0),
            wrap_dim(cx.int(0), cx.call.tensor(0).ndim())?,
        );
        let index = along(cx.call.tensor(1), x.shape(), dim)?;
        let (x, out) = (at_least_1d(x), at_least_1d(&cx.outs[0]));
        cx.backend
            .gather(out.as_view(), x.as_view(), dim, index.as_view())
            .map_err(index_error)
    }),
    grads: &[
        grad(IN(1), |cx| {
            let zeros = Tensor::zeros(cx.shape(0).clone(), cx.grad().dtype(), cx.grad().device())?;
            index_add(zeros, cx.input(1)?, cx.grad(), cx.attrs.int(0), 1i64).map(Some)
        }),
        None,
    ],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

fn check_source(call: &Call) -> Result<usize> {
    let (x, index, source) = (call.tensor(0), call.tensor(1), call.tensor(2));
    let dim = check_select(call)?;
    ensure!(
        source.dtype() == x.dtype(),
        runtime,
        "{}(): self ({}) and source ({}) must have the same scalar type",
        call.op.name,
        x.dtype(),
        source.dtype()
    );
    let mut expected = x.shape().clone();
    if !expected.is_empty() {
        expected[dim] = index.numel();
    }
    ensure!(
        *source.shape() == expected || (x.ndim() <= 1 && source.numel() == index.numel()),
        runtime,
        "source tensor shape must match self tensor shape, excluding the specified dimension. Got \
         self.shape = {} source.shape = {}",
        x.shape(),
        source.shape()
    );
    Ok(dim)
}

/// `index_add`.
pub static INDEX_ADD: OpDef = OpDef {
    name: "index_add",
    doc: "`input` with `alpha * source` added to the slices of dimension `dim` that the 1-d tensor \
          `index` names.",
    sig: &["(input, dim: int, index, source, *, alpha: Scalar = 1)"],
    forms: Forms::ALL,
    meta: |call| {
        check_source(call)?;
        Ok(spec(call.tensor(0).shape().clone(), call.tensor(0).dtype()))
    },
    kernel: Kernel::Compute(|cx| {
        let (x, source) = (cx.call.tensor(0), cx.call.tensor(2));
        let dim = wrap_dim(cx.int(0), x.ndim())?;
        let index = along(cx.call.tensor(1), x.shape(), dim)?;
        copy_data(cx, x)?;
        let source = {
            let _unrecorded = crate::tape::GradMode::set(false);
            let plain = source.alias(source.layout().clone());
            let alpha = cx.scalar(1);
            if alpha.as_f64() == 1.0 {
                plain
            } else {
                cast(&mul(plain, alpha)?, x.dtype())?
            }
        };
        let (out, source) = (at_least_1d(&cx.outs[0]), at_least_1d(&source));
        cx.backend
            .scatter(
                Combine::Add,
                out.as_view(),
                dim,
                index.as_view(),
                source.as_view(),
            )
            .map_err(index_error)
    }),
    grads: &[
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
        None,
        grad(IN(1), |cx| {
            let g = index_select(cx.grad(), cx.input(1)?, cx.attrs.int(0))?;
            let g = reshape(&g, cx.shape(2))?;
            let alpha = cx.attrs.scalar(1);
            Ok(Some(if alpha.as_f64() == 1.0 {
                g
            } else {
                mul(g, alpha)?
            }))
        }),
    ],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// `index_copy`.
pub static INDEX_COPY: OpDef = OpDef {
    name: "index_copy",
    doc: "`input` with the slices of dimension `dim` that `index` names replaced by those of `source`.",
    sig: &["(input, dim: int, index, source)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        let dim = check_source(call)?;
        let (x, source) = (call.tensor(0), call.tensor(2));
        let index = along(call.tensor(1), x.shape(), dim)?;
        let index = if x.ndim() == 0 {
            reshape(&index, x.shape())?
        } else {
            index
        };
        let source = reshape(source, index.shape())?;
        Ok(smallvec![
            scatter(x, index, source, dim).map_err(index_error)?
        ])
    }),
    ..OpDef::COMPOSITE
};

/// `index_fill`.
pub static INDEX_FILL: OpDef = OpDef {
    name: "index_fill",
    doc: "`input` with the slices of dimension `dim` that `index` names filled with `value`.",
    sig: &["(input, dim: int, index, value: Tensor|Scalar)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        let dim = check_select(call)?;
        let x = call.tensor(0);
        let index = along(call.tensor(1), x.shape(), dim)?;
        let index = if x.ndim() == 0 {
            reshape(&index, x.shape())?
        } else {
            index
        };
        let value = match &call.inputs[2] {
            Operand::Tensor(v) => {
                ensure!(
                    v.ndim() == 0,
                    runtime,
                    "Only supports 0-dimension value tensor but got tensor with {} dimensions.",
                    v.ndim()
                );
                expand(&cast(v, x.dtype())?, index.shape())?
            }
            Operand::Scalar(v) => Tensor::full(index.shape().clone(), *v, x.dtype(), x.device())?,
            Operand::None => bail!(runtime, "index_fill needs a value"),
        };
        Ok(smallvec![
            scatter(x, index, value, dim).map_err(index_error)?
        ])
    }),
    ..OpDef::COMPOSITE
};

/// The shape of looking up the leading dimensions: the indices' shape, then what is not looked up.
fn looked_up(x: &Tensor, indices: &[&Tensor]) -> Result<Shape> {
    ensure!(
        indices.len() <= x.ndim(),
        index,
        "too many indices for tensor of dimension {}",
        x.ndim()
    );
    let mut shape = indices[0].shape().clone();
    x.shape()[indices.len()..]
        .iter()
        .for_each(|&n| shape.push(n));
    Ok(shape)
}

/// Advanced indexing of the leading dimensions by integer tensors of one shape.
pub static INDEX: OpDef = OpDef {
    name: "index",
    doc: "The elements of `input` whose leading coordinates the index tensors give.",
    sig: &["(input, indices: Tensor[])"],
    forms: Forms::HIDDEN,
    meta: |call| {
        let indices: Vec<&Tensor> = call.tensors().skip(1).collect();
        Ok(spec(
            looked_up(call.tensor(0), &indices)?,
            call.tensor(0).dtype(),
        ))
    },
    kernel: Kernel::Compute(|cx| {
        let views: SmallVec<[backend::View; 4]> = cx.call.inputs[1..]
            .iter()
            .filter_map(|i| i.as_tensor().map(Tensor::as_view))
            .collect();
        cx.backend
            .index(cx.outs[0].as_view(), cx.call.tensor(0).as_view(), &views)
    }),
    // Each read adds its gradient where it read.
    grads: &[
        grad(ALL_INDICES, |cx| {
            let zeros = Tensor::zeros(cx.shape(0).clone(), cx.grad().dtype(), cx.grad().device())?;
            let indices = (1..cx.inputs.len())
                .map(|i| cx.tensor(i))
                .collect::<Result<Vec<_>>>()?;
            index_put(&zeros, &indices, cx.grad(), true).map(Some)
        }),
        None,
    ],
    jvp: Jvp::Linear,
    batch: Batch::Loop,
    ..OpDef::BASE
};

/// Inputs 1 to 15: more indices than any tensor has dimensions worth looking up.
const ALL_INDICES: u64 = 0xFFFE;

/// The kernel of [`INDEX_PUT`]: `input`, `values`, then the indices.
pub static INDEX_PUT_SET: OpDef = OpDef {
    name: "index_put_set",
    doc: "`input` with `values` written (or added) where the index tensors point.",
    sig: &["(input, values, indices: Tensor[], accumulate: bool)"],
    forms: Forms::HIDDEN,
    meta: |call| {
        let indices: Vec<&Tensor> = call.tensors().skip(2).collect();
        looked_up(call.tensor(0), &indices)?;
        Ok(spec(call.tensor(0).shape().clone(), call.tensor(0).dtype()))
    },
    kernel: Kernel::Compute(|cx| {
        copy_data(cx, cx.call.tensor(0))?;
        let views: SmallVec<[backend::View; 4]> = cx.call.inputs[2..]
            .iter()
            .filter_map(|i| i.as_tensor().map(Tensor::as_view))
            .collect();
        let combine = if cx.bool(0) {
            Combine::Add
        } else {
            Combine::Set
        };
        cx.backend.index_put(
            combine,
            cx.outs[0].as_view(),
            &views,
            cx.call.tensor(1).as_view(),
        )
    }),
    grads: &[
        // What was not overwritten; all of it when values were added.
        grad(ALL_INDICES & !IN(1), |cx| {
            if cx.attrs.bool(0) {
                return Ok(Some(cx.grad().clone()));
            }
            let zeros = Tensor::zeros(cx.shape(1).clone(), cx.grad().dtype(), cx.grad().device())?;
            index_put(cx.grad(), &put_indices(cx)?, &zeros, false).map(Some)
        }),
        grad(ALL_INDICES & !IN(1), |cx| {
            index(cx.grad(), &put_indices(cx)?).map(Some)
        }),
        None,
    ],
    jvp: Jvp::Linear,
    batch: Batch::Loop,
    ..OpDef::BASE
};

fn put_indices(cx: &VjpCx) -> Result<Vec<Tensor>> {
    (2..cx.inputs.len()).map(|i| cx.tensor(i)).collect()
}

/// Looks up the leading dimensions by integer tensors of one shape.
fn index(x: &Tensor, indices: &[Tensor]) -> Result<Tensor> {
    let mut inputs: SmallVec<[Operand; 4]> = smallvec![x.into()];
    inputs.extend(indices.iter().map(Operand::from));
    super::dispatch::run1(&INDEX, &inputs, &Attrs::new())
}

/// Writes (or adds) to the looked-up places; `values` has their shape.
fn index_put(x: &Tensor, indices: &[Tensor], values: &Tensor, accumulate: bool) -> Result<Tensor> {
    let mut inputs: SmallVec<[Operand; 4]> = smallvec![x.into(), values.into()];
    inputs.extend(indices.iter().map(Operand::from));
    super::dispatch::run1(
        &INDEX_PUT_SET,
        &inputs,
        &[accumulate.into()].into_iter().collect(),
    )
}

/// `take`.
pub static TAKE: OpDef = OpDef {
    name: "take",
    doc: "The elements of the flattened `input` at `index`, in the shape of `index`.",
    sig: &["(input, index)"],
    kernel: Kernel::Composite(|call| {
        let (x, i) = (call.tensor(0), call.tensor(1));
        check_index_type("take", i)?;
        let flat = reshape(x, &Shape::from([x.numel()]))?;
        Ok(smallvec![index(&flat, &[long(i)?])?])
    }),
    ..OpDef::COMPOSITE
};

/// `take_along_dim`.
pub static TAKE_ALONG_DIM: OpDef = OpDef {
    name: "take_along_dim",
    doc: "As `gather`, with `input` and `indices` broadcast outside `dim`; without `dim`, of the \
          flattened `input`.",
    sig: &["(input, indices, dim: int? = None)"],
    kernel: Kernel::Composite(|call| {
        let (x, i) = (call.tensor(0), call.tensor(1));
        let Some(dim) = call.attrs.int_opt(0) else {
            let (n, m) = (x.numel(), i.numel());
            let flat = reshape(x, &Shape::from([n]))?;
            return Ok(smallvec![gather(
                flat,
                reshape(i, &Shape::from([m]))?,
                0i64
            )?]);
        };
        let dim = wrap_dim(dim, x.ndim())?;
        ensure!(
            x.ndim() == i.ndim(),
            runtime,
            "take_along_dim(): input and indices should have the same number of dimensions, but got \
             {} dimensions for input, and {} dimensions for indices",
            x.ndim(),
            i.ndim()
        );
        let mut other = i.shape().clone();
        other[dim] = x.shape()[dim];
        let shape = x.shape().broadcast_or_err(&other)?;
        let mut wide = shape.clone();
        wide[dim] = i.shape()[dim];
        Ok(smallvec![gather(
            expand(x, &shape)?,
            expand(i, &wide)?,
            dim
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// The coordinates of the true elements of a mask, one 1-d tensor a dimension.
fn coordinates(mask: &Tensor) -> Result<Vec<Tensor>> {
    ensure!(
        mask.device() != Device::Meta,
        not_implemented,
        "a mask on the meta device has no elements to look at"
    );
    let flat = backend::of(mask.device())?.nonzero(mask.as_view());
    let mut step: i64 = mask.numel() as i64;
    mask.shape()
        .iter()
        .map(|&n| {
            step /= (n as i64).max(1);
            let along: Vec<i64> = flat
                .iter()
                .map(|i| i / step.max(1) % (n as i64).max(1))
                .collect();
            Tensor::from_slice(&along, [along.len()])
        })
        .collect()
}

/// `masked_select`.
pub static MASKED_SELECT: OpDef = OpDef {
    name: "masked_select",
    doc: "The elements of `input` where `mask` is true, as a vector; the two broadcast.",
    sig: &["(input, mask)"],
    kernel: Kernel::Composite(|call| {
        let (x, mask) = (call.tensor(0), call.tensor(1));
        ensure!(
            mask.dtype() == DType::Bool,
            runtime,
            "masked_select: expected BoolTensor for mask, but got {}",
            mask.dtype()
        );
        let shape = super::meta::broadcast(call.inputs)?;
        let (x, mask) = (expand(x, &shape)?, expand(mask, &shape)?);
        if shape.is_empty() {
            let x = reshape(&x, &Shape::from([1]))?;
            return Ok(smallvec![index(
                &x,
                &coordinates(&reshape(&mask, &Shape::from([1]))?)?
            )?]);
        }
        Ok(smallvec![index(&x, &coordinates(&mask)?)?])
    }),
    ..OpDef::COMPOSITE
};

/// `masked_scatter`.
pub static MASKED_SCATTER: OpDef = OpDef {
    name: "masked_scatter",
    doc: "`input` with the elements of `source`, in order, where `mask` is true.",
    sig: &["(input, mask, source)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        let (x, mask, source) = (call.tensor(0), call.tensor(1), call.tensor(2));
        ensure!(
            mask.dtype() == DType::Bool,
            runtime,
            "masked_scatter_ only supports boolean masks, but got mask with dtype {}",
            mask.dtype()
        );
        ensure!(
            x.dtype() == source.dtype(),
            runtime,
            "masked_scatter: expected self and source to have same dtypes but got {} and {}",
            x.dtype(),
            source.dtype()
        );
        let shape = super::meta::broadcast(&call.inputs[..2])?;
        let one = Shape::from([1]);
        let wide = |t: &Tensor| {
            let t = expand(t, &shape)?;
            if shape.is_empty() {
                reshape(&t, &one)
            } else {
                Ok(t)
            }
        };
        let places = coordinates(&wide(mask)?)?;
        let n = places[0].numel();
        ensure!(
            n <= source.numel(),
            runtime,
            "masked_scatter: expected the number of elements of source to be at least {n}, but got {}",
            source.numel()
        );
        let flat = reshape(source, &Shape::from([source.numel()]))?;
        let values = slice(flat, 0i64, 0i64, n, 1i64)?;
        let out = index_put(&wide(x)?, &places, &values, false)?;
        Ok(smallvec![reshape(&out, &shape)?])
    }),
    ..OpDef::COMPOSITE
};

/// `nonzero`.
pub static NONZERO: OpDef = OpDef {
    name: "nonzero",
    doc: "The coordinates of the elements that are not zero: a (count, dimensions) tensor, or with \
          `as_tuple` one vector a dimension.",
    sig: &["(input)"],
    kernel: Kernel::Composite(|call| Ok(smallvec![positions(call.tensor(0))?])),
    ..OpDef::COMPOSITE
};

fn positions(x: &Tensor) -> Result<Tensor> {
    let columns = coordinates(x)?;
    if columns.is_empty() {
        let n = usize::from(x.item()?.as_bool());
        return Tensor::empty([n, 0], DType::I64, x.device());
    }
    let columns = columns
        .into_iter()
        .map(|c| unsqueeze(c, 1i64))
        .collect::<Result<Vec<_>>>()?;
    super::cat(&columns, 1)
}

/// `argwhere`.
pub static ARGWHERE: OpDef = OpDef {
    name: "argwhere",
    doc: "The coordinates of the elements that are not zero: a (count, dimensions) tensor.",
    sig: &["(input)"],
    kernel: Kernel::Composite(|call| Ok(smallvec![positions(call.tensor(0))?])),
    ..OpDef::COMPOSITE
};

/// `where` of a condition alone, and `nonzero(as_tuple=True)`.
pub static WHERE_INDICES: OpDef = OpDef {
    name: "where_indices",
    doc: "The coordinates of the true elements of `condition`, one vector a dimension.",
    sig: &["(condition)", "(input, *, as_tuple: bool)"],
    forms: Forms::BOTH,
    aliases: &["where", "nonzero"],
    returns: Returns::Tuple,
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        if x.ndim() == 0 {
            return Ok(coordinates(&reshape(x, &Shape::from([1]))?)?.into());
        }
        Ok(coordinates(x)?.into())
    }),
    ..OpDef::COMPOSITE
};

/// `one_hot`.
pub static ONE_HOT: OpDef = OpDef {
    name: "one_hot",
    doc: "For each class number of `tensor`, a vector of `num_classes` (one more than the greatest, if \
          left out) zeros with a one there: shape (.., num_classes), int64.",
    sig: &["(tensor, num_classes: int = -1)"],
    forms: Forms::NN,
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(
            x.dtype() == DType::I64,
            runtime,
            "one_hot is only applicable to index tensor of type LongTensor, but got {}",
            x.dtype()
        );
        let given = call.attrs.int(0);
        let values: Vec<i64> = x.to_vec()?.iter().map(|s| s.as_i64()).collect();
        ensure!(
            !values.is_empty() || given > 0,
            runtime,
            "Can not infer total number of classes from empty tensor."
        );
        ensure!(
            values.iter().all(|v| *v >= 0),
            runtime,
            "Class values must be non-negative."
        );
        let greatest = values.iter().copied().max().unwrap_or(-1);
        let n = if given == -1 { greatest + 1 } else { given };
        ensure!(n >= 1, runtime, "num_classes should be positive");
        ensure!(
            greatest < n,
            runtime,
            "Class values must be smaller than num_classes."
        );
        let classes = super::shape::arange_like(n as usize, x.device())?;
        Ok(smallvec![cast(
            &eq(unsqueeze(x, -1i64)?, classes)?,
            DType::I64
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// `embedding`.
pub static EMBEDDING: OpDef = OpDef {
    name: "embedding",
    doc: "Rows of `weight` (n, d): `weight[indices]`, of shape (.., d). Row `padding_idx` gets no \
          gradient.",
    sig: &["(weight, indices, padding_idx: int = -1)"],
    forms: Forms::NN,
    meta: |call| {
        let (w, i) = (call.tensor(0), call.tensor(1));
        ensure!(
            w.ndim() == 2,
            runtime,
            "'weight' must be 2-D, but its shape is {}",
            w.shape()
        );
        check_index_type("embedding", i)?;
        Ok(spec(looked_up(w, &[i])?, w.dtype()))
    },
    kernel: Kernel::Compute(|cx| {
        let index = long(cx.call.tensor(1))?;
        check_range(&index, cx.call.tensor(0).shape()[0])?;
        cx.backend.index(
            cx.outs[0].as_view(),
            cx.call.tensor(0).as_view(),
            &[index.as_view()],
        )
    }),
    // Each row read adds its gradient; the padding row none.
    grads: &[
        grad(IN(1), |cx| {
            let zeros = Tensor::zeros(cx.shape(0).clone(), cx.grad().dtype(), cx.grad().device())?;
            let index = long(&cx.tensor(1)?)?;
            let padding = cx.attrs.int(0);
            let g = if padding >= 0 {
                where_(unsqueeze(eq(&index, padding)?, -1i64)?, 0i64, cx.grad())?
            } else {
                cx.grad().clone()
            };
            index_put(&zeros, &[index], &g, true).map(Some)
        }),
        None,
    ],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

fn check_range(index: &Tensor, n: usize) -> Result<()> {
    for v in index.to_vec()? {
        let i = v.as_i64();
        ensure!(
            0 <= i && i < n as i64,
            index,
            "index out of range in self: {i} is not a row of a weight of {n} rows"
        );
    }
    Ok(())
}

/// One part of a subscript.
#[derive(Clone, Debug)]
pub enum Index {
    /// A new dimension.
    None,
    /// All dimensions that are not named.
    Ellipsis,
    /// One index of a dimension.
    Int(i64),
    /// Some indices of a dimension.
    Slice {
        /// The first.
        start: Option<i64>,
        /// One past the last.
        end: Option<i64>,
        /// Every how many.
        step: Option<i64>,
    },
    /// Integers or a mask.
    Tensor(Tensor),
    /// A mask of no dimensions.
    Bool(bool),
}

/// A subscript taken apart: the view by its basic parts, and the index tensors with the dimensions
/// of that view they look up.
struct Subscript {
    view: Tensor,
    indices: Vec<(usize, Tensor)>,
}

impl Subscript {
    fn new(x: &Tensor, parts: &[Index]) -> Result<Self> {
        let named: usize = parts
            .iter()
            .map(|p| match p {
                Index::Int(_) | Index::Slice { .. } => 1,
                Index::Tensor(t) if matches!(t.dtype(), DType::Bool | DType::U8) => t.ndim(),
                Index::Tensor(_) => 1,
                Index::None | Index::Ellipsis | Index::Bool(_) => 0,
            })
            .sum();
        ensure!(
            named <= x.ndim(),
            index,
            "too many indices for tensor of dimension {}",
            x.ndim()
        );
        let dots = parts
            .iter()
            .filter(|p| matches!(p, Index::Ellipsis))
            .count();
        ensure!(
            dots <= 1,
            index,
            "an index can only have a single ellipsis ('...')"
        );
        let mut out = Self {
            view: x.clone(),
            indices: Vec::new(),
        };
        let mut dim = 0;
        for part in parts {
            match part {
                Index::None => {
                    out.view = unsqueeze(&out.view, dim)?;
                    dim += 1;
                }
                Index::Ellipsis => dim += x.ndim() - named,
                Index::Int(i) => {
                    let n = out.view.shape()[dim] as i64;
                    ensure!(
                        -n <= *i && *i < n,
                        index,
                        "index {i} is out of bounds for dimension {dim} with size {n}"
                    );
                    out.view = select(&out.view, dim, *i)?;
                }
                Index::Slice {
                    start: None,
                    end: None,
                    step: None,
                } => dim += 1,
                Index::Slice { start, end, step } => {
                    out.view = slice(&out.view, dim, *start, *end, step.unwrap_or(1))?;
                    dim += 1;
                }
                Index::Bool(b) => {
                    // A new dimension of one element, kept or not.
                    out.view = unsqueeze(&out.view, dim)?;
                    let kept: &[i64] = if *b { &[0] } else { &[] };
                    out.indices
                        .push((dim, Tensor::from_slice(kept, [kept.len()])?));
                    dim += 1;
                }
                Index::Tensor(t) if matches!(t.dtype(), DType::Bool | DType::U8) => {
                    for (d, &n) in t.shape().iter().enumerate() {
                        ensure!(
                            n == out.view.shape()[dim + d],
                            index,
                            "The shape of the mask {} at index {d} does not match the shape of the \
                             indexed tensor {} at index {}",
                            t.shape(),
                            x.shape(),
                            dim + d
                        );
                    }
                    for coordinate in coordinates(t)? {
                        out.indices.push((dim, coordinate));
                        dim += 1;
                    }
                }
                Index::Tensor(t) => {
                    check_index_type("index", t).map_err(|_| {
                        crate::base::Error::index(
                            "tensors used as indices must be long, int, byte or bool tensors",
                        )
                    })?;
                    out.indices.push((dim, long(t)?));
                    dim += 1;
                }
            }
        }
        Ok(out)
    }

    /// Brings the looked-up dimensions to the front; the index tensors in one shape; and, for the
    /// result, the order of its dimensions that undoes the move.
    fn arranged(&self) -> Result<(Tensor, Vec<Tensor>, Option<Vec<i64>>)> {
        let dims: Vec<usize> = self.indices.iter().map(|(d, _)| *d).collect();
        let mut shape = Shape::new();
        for (_, t) in &self.indices {
            shape = shape.broadcast(t.shape()).ok_or_else(|| {
                let shapes: Vec<String> = self.indices.iter().map(|(_, t)| t.shape().to_string()).collect();
                crate::base::Error::index(format!(
                    "shape mismatch: indexing tensors could not be broadcast together with shapes {}",
                    shapes.join(", ")
                ))
            })?;
        }
        let indices = self
            .indices
            .iter()
            .map(|(_, t)| expand(t, &shape))
            .collect::<Result<Vec<_>>>()?;
        let rest: Vec<usize> = (0..self.view.ndim())
            .filter(|d| !dims.contains(d))
            .collect();
        let order: Vec<i64> = dims.iter().chain(&rest).map(|&d| d as i64).collect();
        let front = if order.iter().enumerate().all(|(i, &d)| i as i64 == d) {
            self.view.clone()
        } else {
            permute(&self.view, order.as_slice())?
        };
        // Side by side: the common shape goes where the first of them was.
        let adjacent = dims.windows(2).all(|w| w[1] == w[0] + 1);
        let at = dims[0];
        if !adjacent || at == 0 {
            return Ok((front, indices, None));
        }
        let (k, before) = (shape.len(), at);
        let total = k + rest.len();
        let back: Vec<i64> = (0..total)
            .map(|d| match d {
                d if d < before => k + d,
                d if d < before + k => d - before,
                d => d,
            })
            .map(|d| d as i64)
            .collect();
        Ok((front, indices, Some(back)))
    }
}

/// `x[index]`: a view where the index has no tensors. See NOTE [Subscripts].
///
/// # Errors
/// When the index does not fit the shape.
pub fn get_item(x: &Tensor, parts: &[Index]) -> Result<Tensor> {
    if let [Index::Int(i)] = parts
        && x.ndim() > 0
    {
        let n = x.shape()[0] as i64;
        ensure!(
            -n <= *i && *i < n,
            index,
            "index {i} is out of bounds for dimension 0 with size {n}"
        );
        return select(x, 0i64, *i);
    }
    let subscript = Subscript::new(x, parts)?;
    if subscript.indices.is_empty() {
        // `x[...]` and `x[:]` are new views too.
        return if subscript.view.same(x) {
            view_all(x)
        } else {
            Ok(subscript.view)
        };
    }
    let (front, indices, back) = subscript.arranged()?;
    let out = index(&front, &indices)?;
    match back {
        Some(back) => permute(out, back.as_slice()),
        None => Ok(out),
    }
}

/// A view of all elements.
fn view_all(x: &Tensor) -> Result<Tensor> {
    expand_to(x, x.shape())
}

/// `x[index] = value`, recorded. See NOTE [Subscripts].
///
/// # Errors
/// When the index does not fit the shape, the value does not broadcast to what it names, or `x` must
/// not be written; nothing is changed then.
pub fn set_item(x: &Tensor, parts: &[Index], value: &Operand) -> Result<()> {
    let subscript = Subscript::new(x, parts)?;
    let value = match value {
        // Leading dimensions of size 1 beyond the target's are dropped, as in NumPy.
        Operand::Tensor(t) => {
            let mut t = t.clone();
            while t.ndim() > subscript.view.ndim().max(1)
                && subscript.indices.is_empty()
                && t.shape()[0] == 1
            {
                t = squeeze_dim(&t, 0)?;
            }
            Operand::Tensor(t)
        }
        other => other.clone(),
    };
    if subscript.indices.is_empty() {
        let target = subscript.view;
        if let Operand::Tensor(v) = &value {
            ensure!(
                v.shape().broadcast(target.shape()).as_ref() == Some(target.shape()),
                runtime,
                "shape mismatch: value tensor of shape {} cannot be broadcast to indexing result of \
                 shape {}",
                v.shape(),
                target.shape()
            );
        }
        return super::dispatch::run_in_place(&super::COPY, &[target.into(), value], &Attrs::new());
    }
    let (front, indices, back) = subscript.arranged()?;
    let refs: Vec<&Tensor> = indices.iter().collect();
    let shape = looked_up(&front, &refs)?;
    let values = match value {
        Operand::Scalar(s) => Tensor::full(shape.clone(), s, x.dtype(), x.device())?,
        Operand::Tensor(v) => {
            let v = cast(&v, x.dtype())?;
            // The value broadcasts to the result's order of dimensions, not to the moved one.
            let natural: Shape = match &back {
                Some(back) => back.iter().map(|&d| shape[d as usize]).collect(),
                None => shape.clone(),
            };
            let mut v = v;
            while v.ndim() > natural.len() && v.shape()[0] == 1 {
                v = squeeze_dim(&v, 0)?;
            }
            ensure!(
                v.shape().broadcast(&natural).as_ref() == Some(&natural),
                runtime,
                "shape mismatch: value tensor of shape {} cannot be broadcast to indexing result of \
                 shape {natural}",
                v.shape()
            );
            let v = expand(&v, &natural)?;
            match &back {
                Some(back) => {
                    let mut inverse = vec![0i64; back.len()];
                    back.iter()
                        .enumerate()
                        .for_each(|(i, &d)| inverse[d as usize] = i as i64);
                    permute(v, inverse.as_slice())?
                }
                None => v,
            }
        }
        Operand::None => bail!(type_, "cannot assign None to elements of a tensor"),
    };
    let mut inputs: SmallVec<[Operand; 4]> = smallvec![front.into(), values.into()];
    inputs.extend(indices.into_iter().map(Operand::Tensor));
    let attrs: Attrs = [false.into()].into_iter().collect();
    super::dispatch::run_in_place(&INDEX_PUT_SET, &inputs, &attrs)
}
