//! Indices of one dimension by a vector: `index_select` and its kin; tables of rows and classes.

use super::copy::at;
use super::def::{
    Batch, Call, Forms, IN, Jvp, Kernel, KernelCx, NOTHING, OpDef, Specs, grad, spec,
};
use super::index::{index, index_embed, long};
use super::shape::arange_like;
use super::{cast, div, eq, mul, reshape, unsqueeze, where_};
use crate::backend::{Combine, Functor, Input, Reduction, View};
use crate::base::shape::wrap_dim;
use crate::base::{Attrs, DType, Device, Error, Layout, Result, Scalar, Shape};
use crate::tape::{GradMode, VjpCx};
use crate::tensor::{Operand, Tensor};
use crate::{backend, bail, ensure};
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &INDEX_SELECT,
    &INDEX_ADD,
    &INDEX_COPY,
    &INDEX_FILL,
    &EMBEDDING,
    &ONE_HOT,
];

functions! {
    /// The indices of dimension `dim` that the vector `index` names.
    index_select(x, index; dim) = INDEX_SELECT;
    /// `x` with `alpha * source` added at the indices of dimension `dim` that `index` names.
    index_add(x, index, source; dim, alpha) = INDEX_ADD;
    /// `x` with a number at the indices of dimension `dim` that `index` names.
    index_fill(x, index, value; dim) = INDEX_FILL;
}

/// Rows of `weight`; row `padding_idx` gets no gradient.
///
/// # Errors
/// When the weight is no matrix, or an index is not a row of it.
pub fn embedding(
    weight: impl Into<Operand>,
    indices: impl Into<Operand>,
    padding_idx: i64,
) -> Result<Tensor> {
    let attrs: Attrs = [padding_idx.into(), false.into(), false.into()]
        .into_iter()
        .collect();
    super::dispatch::run1(&EMBEDDING, &[weight.into(), indices.into()], &attrs)
}

/// Checks a vector of indices; the wrapped dimension.
fn check_vector(call: &Call) -> Result<usize> {
    let (x, index, name) = (call.tensor(0), call.tensor(1), call.op.name);
    ensure!(
        matches!(index.dtype(), DType::I64 | DType::I32),
        runtime,
        "{name}(): Expected dtype int32 or int64 for index, but it is {}",
        index.dtype()
    );
    ensure!(
        index.ndim() <= 1,
        index,
        "{name}(): Index is supposed to be a vector, but its shape is {}",
        index.shape()
    );
    ensure!(
        x.ndim() > 0 || index.numel() == 1,
        index,
        "{name}(): a 0-d tensor has one index, so index must have one element, not {}",
        index.numel()
    );
    wrap_dim(call.attrs.int(0), x.ndim())
}

/// A tensor's layout as a kernel sees it: with `dim` first, of a 0-d tensor a dimension of size 1.
fn dim_first(layout: &Layout, dim: usize) -> Layout {
    if layout.ndim() == 0 {
        return Layout {
            shape: [1].into(),
            strides: [1].into(),
            offset: layout.offset,
        };
    }
    let mut layout = layout.clone();
    let (n, step) = (layout.shape.remove(dim), layout.strides.remove(dim));
    layout.shape.insert(0, n);
    layout.strides.insert(0, step);
    layout
}

/// The index as a vector of `i64`, none of them negative.
fn vector(index: &Tensor) -> Result<Tensor> {
    let index = long(index)?;
    let index = index.alias(
        index
            .layout()
            .reshape(&[index.numel()].into())
            .expect("a vector"),
    );
    refuse_negative(&index)?;
    Ok(index)
}

/// Only subscripts count negative indices from the end.
fn refuse_negative(index: &Tensor) -> Result<()> {
    let least = extreme(index, Reduction::Min)?.unwrap_or(0);
    ensure!(least >= 0, index, "index out of range in self: {least}");
    Ok(())
}

/// The least or greatest of some integers.
fn extreme(x: &Tensor, f: Reduction) -> Result<Option<i64>> {
    if x.numel() == 0 || x.device() == Device::Meta {
        return Ok(None);
    }
    let out = Tensor::empty(Shape::filled(1, x.ndim()), x.dtype(), x.device())?;
    let dims: Vec<usize> = (0..x.ndim()).collect();
    backend::of(x.device())?.reduce(f, out.as_view(), x.as_view(), &dims);
    out.item().map(|s| Some(s.as_i64()))
}

fn out_of_range(e: Error) -> Error {
    Error::index(format!("index out of range in self: {}", e.message()))
}

/// `index_select`.
pub static INDEX_SELECT: OpDef = OpDef {
    name: "index_select",
    doc: "The indices of dimension `dim` that the vector `index` names, in its order.\n\n\
          >>> import rustgrad as rg\n>>> rg.tensor([5, 6, 7]).index_select(0, rg.tensor([2, 0]))\n\
          tensor([7, 5])",
    sig: &["(input, dim: int, index)"],
    meta: |call| {
        let (x, dim) = (call.tensor(0), check_vector(call)?);
        let mut shape = x.shape().clone();
        if !shape.is_empty() {
            shape[dim] = call.tensor(1).numel();
        }
        Ok(spec(shape, x.dtype()))
    },
    kernel: Kernel::Compute(|cx| {
        let (x, out) = (cx.call.tensor(0), &cx.outs[0]);
        let dim = wrap_dim(cx.int(0), x.ndim())?;
        let index = vector(cx.call.tensor(1))?;
        let (from, to) = (dim_first(x.layout(), dim), dim_first(out.layout(), dim));
        cx.backend
            .index(at(out, &to), at(x, &from), &[index.as_view()])
            .map_err(out_of_range)
    }),
    // Each read adds its gradient where it read.
    grads: &[
        grad(IN(1), |cx| {
            let index = flat_index(cx)?;
            if cx.shape(0).is_empty() {
                return Ok(Some(cx.grad().clone()));
            }
            let dim = wrap_dim(cx.attrs.int(0), cx.shape(0).len())?;
            index_embed(cx.grad(), &[index], cx.shape(0), &[dim as i64]).map(Some)
        }),
        None,
    ],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// The saved index, as a vector of `i64`.
fn flat_index(cx: &VjpCx) -> Result<Tensor> {
    let index = long(&cx.tensor(1)?)?;
    reshape(&index, &[index.numel()].into())
}

/// The checks of `index_add` and `index_copy`.
fn check_source(call: &Call) -> Result<Specs> {
    let (x, index, source) = (call.tensor(0), call.tensor(1), call.tensor(2));
    let (dim, name) = (check_vector(call)?, call.op.name);
    ensure!(
        source.dtype() == x.dtype(),
        runtime,
        "{name}(): self ({}) and source ({}) must have the same scalar type",
        x.dtype().scalar_type_name(),
        source.dtype().scalar_type_name()
    );
    let mut expected = x.shape().clone();
    if !expected.is_empty() {
        expected[dim] = index.numel();
    }
    ensure!(
        *source.shape() == expected || (x.ndim() <= 1 && source.numel() == index.numel()),
        runtime,
        "{name}(): source tensor shape must match self tensor shape, excluding the specified \
         dimension, where it must match index: got self.shape = {}, source.shape = {} and \
         index.shape = {}",
        x.shape(),
        source.shape(),
        index.shape()
    );
    super::meta::like_input(call)
}

/// Writes or adds the rows of `source` to the output.
fn put_rows(cx: &KernelCx, combine: Combine, source: View) -> Result<()> {
    let out = &cx.outs[0];
    let index = vector(cx.call.tensor(1))?;
    let to = dim_first(out.layout(), wrap_dim(cx.int(0), out.ndim())?);
    cx.backend
        .index_put(combine, at(out, &to), &[index.as_view()], source)
        .map_err(out_of_range)
}

/// The layout of a source with its rows first.
fn rows_first(cx: &KernelCx, source: &Tensor) -> Result<Layout> {
    let dim = wrap_dim(cx.int(0), cx.outs[0].ndim())?;
    Ok(match source.ndim() == cx.outs[0].ndim() {
        true => dim_first(source.layout(), dim),
        false => source
            .layout()
            .reshape(&[source.numel()].into())
            .expect("a vector"),
    })
}

/// The gradient of a source: what was found where it was put.
fn from_rows(cx: &VjpCx) -> Result<Tensor> {
    let g = super::dispatch::run1(
        &INDEX_SELECT,
        &[cx.grad().into(), cx.input(1)?],
        &[cx.attrs.int(0).into()].into_iter().collect(),
    )?;
    reshape(&g, cx.shape(2))
}

/// `index_add`.
pub static INDEX_ADD: OpDef = OpDef {
    name: "index_add",
    doc: "`input` with `alpha * source` added at the indices of dimension `dim` that the vector \
          `index` names.",
    sig: &["(input, dim: int, index, source, *, alpha: Scalar = 1)"],
    forms: Forms::ALL,
    meta: check_source,
    kernel: Kernel::Update(|cx| {
        let source = cx.call.tensor(2);
        let layout = rows_first(cx, source)?;
        let alpha = cx.scalar(1);
        if alpha.as_f64() == 1.0 {
            return put_rows(cx, Combine::Add, at(source, &layout));
        }
        let scaled = Tensor::empty(layout.shape.clone(), source.dtype(), source.device())?;
        let ins = [Input::View(at(source, &layout)), Input::Scalar(alpha)];
        let compute = source.dtype().compute();
        cx.backend
            .map(Functor::Mul, &[], compute, scaled.as_view(), &ins);
        put_rows(cx, Combine::Add, scaled.as_view())
    }),
    grads: &[
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
        None,
        grad(IN(1), |cx| {
            let (g, alpha) = (from_rows(cx)?, cx.attrs.scalar(1));
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
    doc: "`input` with those of `source` at the indices of dimension `dim` that the vector `index` \
          names. Where one is named more than once the last stays, and only it gets a gradient.",
    sig: &["(input, dim: int, index, source)"],
    forms: Forms::ALL,
    meta: check_source,
    kernel: Kernel::Update(|cx| {
        let source = cx.call.tensor(2);
        put_rows(cx, Combine::Set, at(source, &rows_first(cx, source)?))
    }),
    grads: &[
        // What was written over has no gradient.
        grad(IN(1), |cx| {
            index_fill(cx.grad(), cx.input(1)?, 0i64, cx.attrs.int(0)).map(Some)
        }),
        None,
        // What lies there now, if it is this one: NOTE [Last writer] in `index`.
        grad(IN(1), |cx| {
            let g = from_rows(cx)?;
            let last = last_rows(&flat_index(cx)?, cx.shape(0), cx.attrs.int(0))?;
            let last = match g.ndim() == cx.shape(0).len() {
                true => last,
                false => reshape(&last, g.shape())?,
            };
            where_(last, g, Scalar::Bool(false)).map(Some)
        }),
    ],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// Which entries of a vector of indices are the last of their value; broadcasts to the source.
fn last_rows(rows: &Tensor, x: &Shape, dim: i64) -> Result<Tensor> {
    let _unrecorded = GradMode::set(false);
    let dim = wrap_dim(dim, x.len())?;
    let n = x.get(dim).copied().unwrap_or(1);
    let own = arange_like(rows.numel(), rows.device())?;
    let stamps = Tensor::zeros([n], DType::I64, rows.device())?;
    let to_first: Attrs = [0i64.into()].into_iter().collect();
    let inputs = [stamps.into(), rows.into(), (&own).into()];
    let stamps = super::dispatch::run1(&INDEX_COPY, &inputs, &to_first)?;
    let last = eq(index(&stamps, std::slice::from_ref(rows), &[0])?, own)?;
    let mut shape = Shape::filled(1, x.len());
    if let Some(size) = shape.get_mut(dim) {
        *size = rows.numel();
    }
    reshape(&last, &shape)
}

/// `index_fill`.
pub static INDEX_FILL: OpDef = OpDef {
    name: "index_fill",
    doc: "`input` with `value` (a number or a 0-d tensor) at the indices of dimension `dim` that \
          the vector `index` names; negative ones count from the end.",
    sig: &["(input, dim: int, index, value: Tensor|Scalar)"],
    forms: Forms::ALL,
    meta: |call| {
        check_vector(call)?;
        if let Some(value) = call.tensor_opt(2) {
            ensure!(
                value.ndim() == 0,
                runtime,
                "Only supports 0-dimension value tensor but got tensor with {} dimensions.",
                value.ndim()
            );
        }
        super::meta::like_input(call)
    },
    kernel: Kernel::Update(|cx| {
        let out = &cx.outs[0];
        let index = long(cx.call.tensor(1))?;
        let index = index.alias(
            index
                .layout()
                .reshape(&[index.numel()].into())
                .expect("a vector"),
        );
        let to = dim_first(out.layout(), wrap_dim(cx.int(0), out.ndim())?);
        let value = match &cx.call.inputs[2] {
            Operand::Tensor(t) => t.item()?,
            Operand::Scalar(s) => *s,
            Operand::None => bail!(runtime, "index_fill needs a value"),
        };
        let value = Tensor::scalar(value, out.dtype(), out.device())?;
        let mut rows = to.shape.clone();
        rows[0] = index.numel();
        let from = value.layout().broadcast_to(&rows);
        cx.backend
            .index_put(
                Combine::Set,
                at(out, &to),
                &[index.as_view()],
                at(&value, &from),
            )
            .map_err(out_of_range)
    }),
    grads: &[
        grad(IN(1), |cx| {
            index_fill(cx.grad(), cx.input(1)?, 0i64, cx.attrs.int(0)).map(Some)
        }),
        None,
        // The sum over everything that was filled.
        grad(IN(1), |cx| {
            let none = Tensor::zeros(cx.shape(0).clone(), DType::Bool, cx.grad().device())?;
            let filled = index_fill(none, cx.input(1)?, Scalar::Bool(true), cx.attrs.int(0))?;
            where_(filled, cx.grad(), Scalar::Bool(false)).map(Some)
        }),
    ],
    jvp: Jvp::DoubleVjp,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// `embedding`.
pub static EMBEDDING: OpDef = OpDef {
    name: "embedding",
    doc: "Rows of the matrix `weight`: `weight[indices]`, of the shape of `indices` and a last \
          dimension. Row `padding_idx` gets no gradient; with `scale_grad_by_freq` the gradient of \
          a row is divided by how often it is named.",
    sig: &[
        "(weight, indices, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False)",
    ],
    forms: Forms {
        nn: true,
        ..Forms::FUNCTION
    },
    meta: |call| {
        let (weight, indices) = (call.tensor(0), call.tensor(1));
        ensure!(
            weight.ndim() == 2,
            runtime,
            "'weight' must be 2-D, but its shape is {}",
            weight.shape()
        );
        ensure!(
            matches!(indices.dtype(), DType::I64 | DType::I32),
            runtime,
            "Expected tensor for argument #1 'indices' to have one of the following scalar types: \
             Long, Int; but got {} instead",
            indices.dtype().scalar_type_name()
        );
        ensure!(
            !call.attrs.bool(2),
            not_implemented,
            "gradients are never sparse here: leave sparse=True out"
        );
        let mut shape = indices.shape().clone();
        shape.push(weight.shape()[1]);
        Ok(spec(shape, weight.dtype()))
    },
    kernel: Kernel::Compute(|cx| {
        let (weight, indices) = (cx.call.tensor(0), long(cx.call.tensor(1))?);
        refuse_negative(&indices)?;
        cx.backend
            .index(cx.outs[0].as_view(), weight.as_view(), &[indices.as_view()])
            .map_err(out_of_range)
    }),
    // Each row named adds its gradient; the padding row none.
    grads: &[
        grad(IN(1), |cx| {
            let rows = long(&cx.tensor(1)?)?;
            let mut g = cx.grad().clone();
            if cx.attrs.bool(1) {
                let ones = Tensor::full(rows.shape().clone(), 1i64, g.dtype(), g.device())?;
                let table: Shape = cx.shape(0)[..1].into();
                let counts = index_embed(&ones, std::slice::from_ref(&rows), &table, &[0])?;
                let counts = index(&counts, std::slice::from_ref(&rows), &[0])?;
                g = div(g, unsqueeze(counts, -1i64)?)?;
            }
            if cx.attrs.int(0) >= 0 {
                let padding = unsqueeze(eq(&rows, cx.attrs.int(0))?, -1i64)?;
                g = where_(padding, Scalar::Bool(false), g)?;
            }
            index_embed(&g, &[rows], cx.shape(0), &[0]).map(Some)
        }),
        None,
    ],
    // The padding row and the scale make the vjp something else than the transpose.
    jvp: Jvp::DoubleVjp,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// `one_hot`.
pub static ONE_HOT: OpDef = OpDef {
    name: "one_hot",
    doc: "For each class number, `num_classes` zeros (default: one more than the greatest number) \
          with a 1 at that place, as a new last dimension of int64.\n\n>>> import rustgrad as rg\n\
          >>> rg.nn.functional.one_hot(rg.tensor([0, 2]))\n\
          tensor([[1, 0, 0],\n        [0, 0, 1]])",
    sig: &["(tensor, num_classes: int = -1)"],
    forms: Forms::NN,
    kernel: Kernel::Composite(|call| {
        let (x, classes) = (call.tensor(0), call.attrs.int(0));
        ensure!(
            x.dtype() == DType::I64,
            runtime,
            "one_hot is only applicable to index tensor of type LongTensor, not {}",
            x.dtype()
        );
        ensure!(
            x.device() != Device::Meta || classes >= 0,
            runtime,
            "on the meta device the number of classes is not known: pass num_classes"
        );
        ensure!(
            x.numel() > 0 || classes > 0,
            runtime,
            "Can not infer total number of classes from empty tensor."
        );
        let least = extreme(x, Reduction::Min)?.unwrap_or(0);
        ensure!(least >= 0, runtime, "Class values must be non-negative.");
        let greatest = extreme(x, Reduction::Max)?.unwrap_or(0);
        let classes = match classes {
            -1 => greatest + 1,
            n => n,
        };
        ensure!(classes >= 1, runtime, "num_classes should be positive");
        ensure!(
            greatest < classes,
            runtime,
            "Class values must be smaller than num_classes: {greatest} is not below {classes}"
        );
        let hot = eq(
            unsqueeze(x, -1i64)?,
            arange_like(classes as usize, x.device())?,
        )?;
        Ok(smallvec![cast(&hot, DType::I64)?])
    }),
    ..OpDef::COMPOSITE
};
