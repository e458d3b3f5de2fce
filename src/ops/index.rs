//! Looking up and writing elements by index tensors and masks.
//!
//! NOTE [Last writer]
//! Where a write without accumulation meets one place more than once, the last value in row-major
//! order of the index stays. Only that one gets a gradient: the others had no effect.

use super::copy::at;
use super::def::{Batch, Call, Forms, Jvp, Kernel, KernelCx, OpDef, Returns, grad, spec};
use super::region::size_of;
use super::shape::arange_like;
use super::view::permuted;
use super::{cast, eq, expand, reshape, slice, stack, where_};
use crate::backend::{Combine, View};
use crate::base::{Attr, Attrs, DType, Device, Layout, Result, Scalar, Shape};
use crate::tape::{GradMode, VjpCx};
use crate::tensor::{Operand, Tensor};
use crate::{backend, bail, ensure};
use smallvec::{SmallVec, smallvec};

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &INDEX,
    &INDEX_EMBED,
    &INDEX_PUT_AT,
    &TAKE,
    &PUT,
    &NONZERO_TUPLE,
    &WHERE_NONZERO,
    &NONZERO,
    &FLAT_NONZERO,
    &MASKED_SELECT,
    &MASKED_SCATTER,
];

/// Integers as kernels want them; nothing of this is differentiable.
pub(super) fn long(index: &Tensor) -> Result<Tensor> {
    let _unrecorded = GradMode::set(false);
    cast(index, DType::I64)
}

/// Which dimensions of a tensor are looked up, and where what was found goes: the place of
/// NumPy's rule.
pub(super) struct Lookup {
    /// The dimensions of the tensor, those looked up first.
    order: SmallVec<[usize; 4]>,
    /// The shape the index tensors broadcast to.
    index: Shape,
    /// Where its dimensions start in the result.
    at: usize,
    /// The shape of the result.
    pub(super) shape: Shape,
}

impl Lookup {
    /// The lookup of `dims` (ascending) of a tensor of shape `x`.
    pub(super) fn new<'a>(
        x: &Shape,
        indices: impl Iterator<Item = &'a Tensor> + Clone,
        dims: &[i64],
    ) -> Result<Self> {
        let mut index = Shape::new();
        for t in indices.clone() {
            let Some(both) = index.broadcast(t.shape()) else {
                let shapes: Vec<String> = indices.map(|t| t.shape().to_string()).collect();
                bail!(
                    index,
                    "shape mismatch: indexing tensors could not be broadcast together with shapes {}",
                    shapes.join(", ")
                )
            };
            index = both;
        }
        let rest = (0..x.len()).filter(|&d| !dims.contains(&(d as i64)));
        let adjacent = dims.windows(2).all(|w| w[1] == w[0] + 1);
        let at = match dims.first() {
            Some(&first) if adjacent => first as usize,
            _ => 0,
        };
        let mut shape: Shape = rest.clone().take(at).map(|d| x[d]).collect();
        index.iter().for_each(|&n| shape.push(n));
        rest.clone().skip(at).for_each(|d| shape.push(x[d]));
        let order = dims.iter().map(|&d| d as usize).chain(rest).collect();
        Ok(Self {
            order,
            index,
            at,
            shape,
        })
    }

    fn of(call: &Call, x: &Shape, first: usize, dims: &[i64]) -> Result<Self> {
        let indices = call.inputs[first..].iter().filter_map(Operand::as_tensor);
        Self::new(x, indices, dims)
    }

    /// A layout of the result's shape with the index dimensions first.
    fn result_first(&self, layout: &Layout) -> Layout {
        let (at, k) = (self.at, self.index.len());
        let order: SmallVec<[usize; 8]> = (at..at + k)
            .chain(0..at)
            .chain(at + k..self.shape.len())
            .collect();
        permuted(layout, &order)
    }
}

/// Runs `f` with a tensor's view, looked-up dimensions first, and the views of the index tensors.
fn looked_up(
    cx: &KernelCx,
    lookup: &Lookup,
    x: &Tensor,
    first: usize,
    f: impl FnOnce(View, &[View]) -> Result<()>,
) -> Result<()> {
    let layout = permuted(x.layout(), &lookup.order);
    let indices = cx.call.inputs[first..]
        .iter()
        .filter_map(Operand::as_tensor);
    let layouts: SmallVec<[Layout; 2]> = indices
        .clone()
        .map(|t| t.layout().broadcast_to(&lookup.index))
        .collect();
    let views: SmallVec<[View; 2]> = indices.zip(&layouts).map(|(t, l)| at(t, l)).collect();
    f(at(x, &layout), &views)
}

/// The elements of `x` whose coordinates in `dims` (ascending) the `i64` index tensors give.
///
/// # Errors
/// When the index tensors do not broadcast, or an index is out of range.
pub fn index(x: &Tensor, indices: &[Tensor], dims: &[i64]) -> Result<Tensor> {
    let mut inputs: SmallVec<[Operand; 4]> = smallvec![x.into()];
    inputs.extend(indices.iter().map(Operand::from));
    super::dispatch::run1(&INDEX, &inputs, &[dims.into()].into_iter().collect())
}

/// Zeros of shape `size` with `src` added where the index tensors point: the transpose of
/// [`index`].
///
/// # Errors
/// As [`index`].
pub(super) fn index_embed(
    src: &Tensor,
    indices: &[Tensor],
    size: &Shape,
    dims: &[i64],
) -> Result<Tensor> {
    let mut inputs: SmallVec<[Operand; 4]> = smallvec![src.into()];
    inputs.extend(indices.iter().map(Operand::from));
    let attrs: Attrs = [Attr::from(size), dims.into()].into_iter().collect();
    super::dispatch::run1(&INDEX_EMBED, &inputs, &attrs)
}

/// The index tensors that a rule saved, from input `first` on.
fn saved(cx: &VjpCx, first: usize) -> Result<SmallVec<[Tensor; 2]>> {
    (first..cx.inputs.len()).map(|i| cx.tensor(i)).collect()
}

/// All inputs from the one of bit 1 (or 2) on: the index tensors.
const FROM_1: u64 = (1 << 48) - 2;
const FROM_2: u64 = (1 << 48) - 4;

/// Advanced indexing.
pub static INDEX: OpDef = OpDef {
    name: "index",
    doc: "The elements of `input` whose coordinates in dimensions `dims` the index tensors give.",
    sig: &["(input, indices: Tensor[], dims: int[])"],
    forms: Forms::HIDDEN,
    meta: |call| {
        let x = call.tensor(0);
        let lookup = Lookup::of(call, x.shape(), 1, call.attrs.ints(0))?;
        Ok(spec(lookup.shape, x.dtype()))
    },
    kernel: Kernel::Compute(|cx| {
        let (x, out) = (cx.call.tensor(0), &cx.outs[0]);
        let lookup = Lookup::of(cx.call, x.shape(), 1, cx.ints(0))?;
        let to = lookup.result_first(out.layout());
        let to = at(out, &to);
        looked_up(cx, &lookup, x, 1, |x, indices| {
            cx.backend.index(to, x, indices)
        })
    }),
    // Each read adds its gradient where it read.
    grads: &[
        grad(FROM_1, |cx| {
            let indices = saved(cx, 1)?;
            index_embed(cx.grad(), &indices, cx.shape(0), cx.attrs.ints(0)).map(Some)
        }),
        None,
    ],
    jvp: Jvp::Linear,
    batch: Batch::Loop,
    ..OpDef::BASE
};

/// The transpose of [`INDEX`].
pub static INDEX_EMBED: OpDef = OpDef {
    name: "index_embed",
    doc: "Zeros of shape `size` with `src` added where the index tensors point.",
    sig: &["(src, indices: Tensor[], size: int[], dims: int[])"],
    forms: Forms::HIDDEN,
    meta: |call| Ok(spec(size_of(call.attrs), call.tensor(0).dtype())),
    kernel: Kernel::Compute(|cx| {
        let (src, out) = (cx.call.tensor(0), &cx.outs[0]);
        cx.backend.fill(out.as_view(), Scalar::Int(0));
        let lookup = Lookup::of(cx.call, out.shape(), 1, cx.ints(1))?;
        let from = lookup.result_first(&src.layout().broadcast_to(&lookup.shape));
        let from = at(src, &from);
        looked_up(cx, &lookup, out, 1, |x, indices| {
            cx.backend.index_put(Combine::Add, x, indices, from)
        })
    }),
    grads: &[
        grad(FROM_1, |cx| {
            index(cx.grad(), &saved(cx, 1)?, cx.attrs.ints(1)).map(Some)
        }),
        None,
    ],
    jvp: Jvp::Linear,
    batch: Batch::Loop,
    ..OpDef::BASE
};

/// Writing (or adding) by index tensors.
pub static INDEX_PUT_AT: OpDef = OpDef {
    name: "index_put_at",
    doc: "`input` with `values` written (or added) at the elements whose coordinates in `dims` the \
          index tensors give. `distinct` promises that no place is written twice.",
    sig: &[
        "(input, values: Tensor|Scalar, indices: Tensor[], dims: int[], accumulate: bool, distinct: bool)",
    ],
    forms: Forms::HIDDEN,
    meta: |call| {
        let x = call.tensor(0);
        let lookup = Lookup::of(call, x.shape(), 2, call.attrs.ints(0))?;
        if let Some(values) = call.tensor_opt(1) {
            ensure!(
                values.dtype() == x.dtype(),
                runtime,
                "Index put requires the source and destination dtypes match, got {} for the \
                 destination and {} for the source.",
                x.dtype().scalar_type_name(),
                values.dtype().scalar_type_name()
            );
            ensure!(
                values.shape().broadcast(&lookup.shape).as_ref() == Some(&lookup.shape),
                runtime,
                "shape mismatch: value tensor of shape {} cannot be broadcast to indexing result of \
                 shape {}",
                values.shape(),
                lookup.shape
            );
        }
        Ok(spec(x.shape().clone(), x.dtype()))
    },
    kernel: Kernel::Update(|cx| {
        let out = &cx.outs[0];
        let lookup = Lookup::of(cx.call, out.shape(), 2, cx.ints(0))?;
        let values = match &cx.call.inputs[1] {
            Operand::Tensor(t) => t.clone(),
            Operand::Scalar(s) => Tensor::scalar(*s, out.dtype(), out.device())?,
            Operand::None => unreachable!("values are given"),
        };
        let from = lookup.result_first(&values.layout().broadcast_to(&lookup.shape));
        let from = at(&values, &from);
        let combine = if cx.bool(1) {
            Combine::Add
        } else {
            Combine::Set
        };
        looked_up(cx, &lookup, out, 2, |x, indices| {
            cx.backend.index_put(combine, x, indices, from)
        })
    }),
    grads: &[
        // What was written over has no gradient.
        grad(FROM_2, |cx| {
            if cx.attrs.bool(1) {
                return Ok(Some(cx.grad().clone()));
            }
            put(cx.grad(), 0i64, &saved(cx, 2)?, cx.attrs).map(Some)
        }),
        // What lies there now, if it is this value: NOTE [Last writer].
        grad(FROM_2, |cx| {
            let (indices, dims) = (saved(cx, 2)?, cx.attrs.ints(0));
            let g = index(cx.grad(), &indices, dims)?;
            if cx.attrs.bool(1) || cx.attrs.bool(2) {
                return Ok(Some(g));
            }
            let lookup = Lookup::new(&cx.outputs[0].shape, indices.iter(), dims)?;
            let last = last_writers(&indices, &lookup, &cx.outputs[0].shape, dims)?;
            where_(last, g, Scalar::Bool(false)).map(Some)
        }),
        None,
    ],
    jvp: Jvp::Linear,
    batch: Batch::Loop,
    ..OpDef::BASE
};

/// Runs [`INDEX_PUT_AT`].
pub(super) fn put(
    x: &Tensor,
    values: impl Into<Operand>,
    indices: &[Tensor],
    attrs: &Attrs,
) -> Result<Tensor> {
    let mut inputs: SmallVec<[Operand; 4]> = smallvec![x.into(), values.into()];
    inputs.extend(indices.iter().map(Operand::from));
    super::dispatch::run1(&INDEX_PUT_AT, &inputs, attrs)
}

/// The arguments of [`INDEX_PUT_AT`].
pub(super) fn put_attrs(dims: &[i64], accumulate: bool, distinct: bool) -> Attrs {
    [dims.into(), accumulate.into(), distinct.into()]
        .into_iter()
        .collect()
}

/// Where the last write to a place comes from, in a shape that broadcasts to the result's.
fn last_writers(indices: &[Tensor], lookup: &Lookup, x: &Shape, dims: &[i64]) -> Result<Tensor> {
    let _unrecorded = GradMode::set(false);
    let device = indices[0].device();
    let own = reshape(&arange_like(lookup.index.numel(), device)?, &lookup.index)?;
    let places: Shape = dims.iter().map(|&d| x[d as usize]).collect();
    let all: SmallVec<[i64; 4]> = (0..dims.len() as i64).collect();
    let stamps = Tensor::zeros(places, DType::I64, device)?;
    let stamps = put(&stamps, &own, indices, &put_attrs(&all, false, true))?;
    let last = eq(index(&stamps, indices, &all)?, own)?;
    let mut shape = lookup.index.clone();
    for _ in lookup.at + lookup.index.len()..lookup.shape.len() {
        shape.push(1);
    }
    reshape(&last, &shape)
}

fn flat(x: &Tensor) -> Result<Tensor> {
    reshape(x, &[x.numel()].into())
}

fn check_integers(op: &str, index: &Tensor) -> Result<()> {
    ensure!(
        index.dtype().is_int(),
        runtime,
        "{op}(): Expected a long tensor for index, but got {}",
        index.dtype()
    );
    Ok(())
}

/// `take`.
pub static TAKE: OpDef = OpDef {
    name: "take",
    doc: "The elements of the flattened `input` at `index`, in the shape of `index`; negative \
          indices count from the end.",
    sig: &["(input, index)"],
    kernel: Kernel::Composite(|call| {
        check_integers("take", call.tensor(1))?;
        let index_tensor = long(call.tensor(1))?;
        Ok(smallvec![index(
            &flat(call.tensor(0))?,
            &[index_tensor],
            &[0]
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// `put`.
pub static PUT: OpDef = OpDef {
    name: "put",
    doc: "`input` with the elements of `source` written at `index` of the flattened tensor, or \
          added.",
    sig: &["(input, index, source, accumulate: bool = False)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        let (x, i, source) = (call.tensor(0), call.tensor(1), call.tensor(2));
        check_integers("put_", i)?;
        ensure!(
            i.numel() == source.numel(),
            index,
            "put_(): Expected source and index to have the same number of elements, but got source \
             numel = {}, index numel = {}",
            source.numel(),
            i.numel()
        );
        let attrs = put_attrs(&[0], call.attrs.bool(0), false);
        let out = put(&flat(x)?, flat(source)?, &[flat(&long(i)?)?], &attrs)?;
        Ok(smallvec![reshape(&out, x.shape())?])
    }),
    ..OpDef::COMPOSITE
};

functions! {
    /// The flat positions of the elements that are not zero.
    flat_nonzero(x) = FLAT_NONZERO;
}

/// The flat positions that [`NONZERO`] takes apart.
pub static FLAT_NONZERO: OpDef = OpDef {
    name: "flat_nonzero",
    doc: "The row-major positions of the elements of `input` that are not zero.",
    sig: &["(input)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Dynamic(|call| {
        let x = call.tensor(0);
        ensure!(
            x.device() != Device::Meta,
            not_implemented,
            "on the meta device there are no elements to test, so the shape of the result is unknown"
        );
        let backend = backend::of(x.device())?;
        let found = Tensor::empty([backend.count_nonzero(x.as_view())], DType::I64, x.device())?;
        backend.nonzero(found.as_view(), x.as_view());
        Ok(smallvec![found])
    }),
    ..OpDef::BASE
};

/// The coordinates of the elements that are not zero, one vector a dimension.
pub(super) fn coordinates(x: &Tensor) -> Result<SmallVec<[Tensor; 2]>> {
    let _unrecorded = GradMode::set(false);
    let mut rest = flat_nonzero(x)?;
    let mut out: SmallVec<[Tensor; 2]> = smallvec![];
    let Some((_, lead)) = x.shape().split_last() else {
        return Ok(out);
    };
    let mut step = x.numel() as i64;
    for &n in lead {
        step /= n.max(1) as i64;
        let along = super::floor_divide(&rest, step.max(1))?;
        rest = super::sub(rest, super::mul(&along, step)?)?;
        out.push(along);
    }
    out.push(rest);
    Ok(out)
}

/// `nonzero`.
pub static NONZERO: OpDef = OpDef {
    name: "nonzero",
    doc: "The coordinates of the elements that are not zero, in row-major order: shape (number of \
          them, dimensions), or with `as_tuple=True` one vector a dimension.\n\n\
          >>> import rustgrad as rg\n>>> rg.tensor([[1, 0], [0, 2]]).nonzero()\n\
          tensor([[0, 0],\n        [1, 1]])",
    sig: &["(input, *, as_tuple: bool = False)"],
    aliases: &["argwhere"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let columns = coordinates(x)?;
        if columns.is_empty() {
            let n = flat_nonzero(x)?.numel();
            return Ok(smallvec![Tensor::empty([n, 0], DType::I64, x.device())?]);
        }
        Ok(smallvec![stack(&columns, 1)?])
    }),
    ..OpDef::COMPOSITE
};

/// `where` of a condition alone: `nonzero` as a tuple.
pub static WHERE_NONZERO: OpDef = OpDef {
    name: "where.nonzero",
    forms: Forms::FUNCTION,
    sig: &["(condition)"],
    ..NONZERO_TUPLE
};

/// `nonzero` as a tuple.
pub static NONZERO_TUPLE: OpDef = OpDef {
    name: "nonzero.tuple",
    doc: "The coordinates of the elements that are not zero, in row-major order, one vector a \
          dimension.",
    sig: &["(input, *, as_tuple: true)"],
    returns: Returns::Tuple,
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        Ok(if x.ndim() == 0 {
            smallvec![flat_nonzero(x)?]
        } else {
            coordinates(x)?.into_iter().collect()
        })
    }),
    ..OpDef::COMPOSITE
};

fn check_mask(op: &str, mask: &Tensor) -> Result<()> {
    ensure!(
        mask.dtype() == DType::Bool,
        runtime,
        "{op}: expected BoolTensor for mask, but got {}",
        mask.dtype().scalar_type_name()
    );
    Ok(())
}

/// `masked_select`.
pub static MASKED_SELECT: OpDef = OpDef {
    name: "masked_select",
    doc: "The elements of `input` where `mask` is true, in row-major order, as a vector; the two \
          broadcast.",
    sig: &["(input, mask)"],
    kernel: Kernel::Composite(|call| {
        check_mask("masked_select", call.tensor(1))?;
        let shape = super::meta::broadcast(call.inputs)?;
        let (x, mask) = (
            expand(call.tensor(0), &shape)?,
            expand(call.tensor(1), &shape)?,
        );
        Ok(smallvec![index(&flat(&x)?, &[flat_nonzero(mask)?], &[0])?])
    }),
    ..OpDef::COMPOSITE
};

/// `masked_scatter`.
pub static MASKED_SCATTER: OpDef = OpDef {
    name: "masked_scatter",
    doc: "`input` with the elements of `source`, in row-major order, where `mask` is true.",
    sig: &["(input, mask, source)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        let (x, mask, source) = (call.tensor(0), call.tensor(1), call.tensor(2));
        check_mask("masked_scatter_", mask)?;
        ensure!(
            x.dtype() == source.dtype(),
            runtime,
            "masked_scatter: expected self and source to have same dtypes but got {} and {}",
            x.dtype(),
            source.dtype()
        );
        let shape = super::meta::broadcast(&call.inputs[..2])?;
        let (x, mask) = (expand(x, &shape)?, expand(mask, &shape)?);
        let places = flat_nonzero(mask)?;
        let n = places.numel();
        ensure!(
            n <= source.numel(),
            runtime,
            "masked_scatter: expected the number of elements of source to be at least {n}, the \
             number of ones in mask, but it has {}",
            source.numel()
        );
        let values = slice(flat(source)?, 0i64, 0i64, n, 1i64)?;
        let out = put(&flat(&x)?, values, &[places], &put_attrs(&[0], false, true))?;
        Ok(smallvec![reshape(&out, &shape)?])
    }),
    ..OpDef::COMPOSITE
};
