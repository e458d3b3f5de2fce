//! Data movement: joining, repeating, flipping, triangles and diagonals.

use super::def::{Batch, Forms, Jvp, Kernel, NOTHING, OpDef, Returns, grad, spec};
use super::{
    cast, clone, diagonal, expand, ge, index_select, le, reshape, slice, sum, transpose, unsqueeze,
    view_scatter, where_,
};
use crate::backend::{Functor, Input, View};
use crate::base::shape::{wrap_dim, wrap_dims};
use crate::base::{Attrs, DType, Device, Layout, Result, Scalar, Shape};
use crate::tape::Outputs;
use crate::tensor::{Operand, Tensor, ViewStep};
use crate::{backend, ensure};
use smallvec::{SmallVec, smallvec};

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &CAT,
    &STACK,
    &HSTACK,
    &VSTACK,
    &DSTACK,
    &COLUMN_STACK,
    &FLIP,
    &FLIPLR,
    &FLIPUD,
    &ROLL,
    &ROT90,
    &REPEAT,
    &TILE,
    &REPEAT_INTERLEAVE,
    &REPEAT_INTERLEAVE_BY,
    &TRIL,
    &TRIU,
    &TRIANGLE,
    &DIAG,
    &DIAG_EMBED,
    &DIAGFLAT,
    &TRACE,
    &MESHGRID,
    &BROADCAST_TENSORS,
];

functions! {
    /// The dimensions `dims` reversed.
    flip(x; dims) = FLIP;
    /// Elements in a band of the last two dimensions, zeros elsewhere.
    triangle(x; diagonal, lower) = TRIANGLE;
    /// Vectors on a diagonal of new matrices.
    diag_embed(x; offset, dim1, dim2) = DIAG_EMBED;
}

/// Joins tensors along a dimension.
///
/// # Errors
/// When their other sizes differ.
pub fn cat(tensors: &[Tensor], dim: i64) -> Result<Tensor> {
    let operands: Vec<Operand> = tensors.iter().map(Operand::from).collect();
    cat_operands(&operands, dim)
}

/// As [`cat`].
///
/// # Errors
/// As [`cat`].
pub(super) fn cat_operands(tensors: &[Operand], dim: i64) -> Result<Tensor> {
    super::dispatch::run1(&CAT, tensors, &[dim.into()].into_iter().collect())
}

/// The numbers `0..n` as `i64`.
pub(super) fn arange_like(n: usize, device: Device) -> Result<Tensor> {
    let t = Tensor::empty([n], DType::I64, device)?;
    if device != Device::Meta {
        backend::of(device)?.iota(t.as_view(), Scalar::Int(0), Scalar::Int(1));
    }
    Ok(t)
}

/// Whether `cat` skips a tensor: a 1-d tensor without elements, for old programs' sake.
fn is_legacy_empty(t: &Tensor) -> bool {
    t.ndim() == 1 && t.numel() == 0
}

/// `cat`.
pub static CAT: OpDef = OpDef {
    name: "cat",
    doc: "The tensors joined along dimension `dim`; their other sizes must agree.\n\n\
          >>> rg.cat([rg.ones(2), rg.zeros(1)])\ntensor([1., 1., 0.])",
    sig: &["(tensors: Tensor[], dim: int = 0)"],
    aliases: &["concat", "concatenate"],
    forms: Forms::FUNCTION,
    meta: |call| {
        let mut shape: Option<Shape> = None;
        let tensors: Vec<&Tensor> = call.tensors().collect();
        ensure!(
            !tensors.is_empty(),
            runtime,
            "expected a non-empty list of Tensors"
        );
        let dtype = super::meta::result_type(call.inputs);
        let Some(first) = tensors.iter().find(|t| !is_legacy_empty(t)) else {
            return Ok(spec([0], dtype));
        };
        ensure!(
            first.ndim() > 0,
            runtime,
            "zero-dimensional tensor cannot be concatenated"
        );
        let dim = wrap_dim(call.attrs.int(0), first.ndim())?;
        for (i, t) in tensors
            .iter()
            .enumerate()
            .filter(|(_, t)| !is_legacy_empty(t))
        {
            let Some(shape) = &mut shape else {
                shape = Some(t.shape().clone());
                continue;
            };
            ensure!(
                t.ndim() == shape.len(),
                runtime,
                "Tensors must have same number of dimensions: got {} and {}",
                shape.len(),
                t.ndim()
            );
            for d in (0..shape.len()).filter(|&d| d != dim) {
                ensure!(
                    t.shape()[d] == shape[d],
                    runtime,
                    "Sizes of tensors must match except in dimension {dim}. Expected size {} but got \
                     size {} for tensor number {i} in the list.",
                    shape[d],
                    t.shape()[d]
                );
            }
            shape[dim] += t.shape()[dim];
        }
        Ok(spec(shape.unwrap_or_default(), dtype))
    },
    kernel: Kernel::Compute(|cx| {
        let out = &cx.outs[0];
        let dim = wrap_dim(cx.int(0), out.ndim())?;
        let mut start = 0;
        for t in cx.call.tensors().filter(|t| !is_legacy_empty(t)) {
            let mut layout = out.layout().clone();
            layout.offset += start * layout.strides[dim];
            layout.shape[dim] = t.shape()[dim];
            start += t.shape()[dim];
            let target = View {
                layout: &layout,
                ..out.as_view()
            };
            let compute = super::meta::copy_compute(t.dtype(), out.dtype());
            cx.backend.map(
                Functor::Copy,
                &[],
                compute,
                target,
                &[Input::View(t.as_view())],
            );
        }
        Ok(())
    }),
    // Each tensor's own piece.
    grads: &[grad(NOTHING, |cx| {
        let dim = wrap_dim(cx.attrs.int(0), cx.grad().ndim())?;
        let is_empty = |i: usize| cx.shape(i).len() == 1 && cx.shape(i).numel() == 0;
        if is_empty(cx.arg) {
            return Ok(None);
        }
        let start: usize = (0..cx.arg)
            .filter(|&i| !is_empty(i))
            .map(|i| cx.shape(i)[dim])
            .sum();
        slice(cx.grad(), dim, start, start + cx.shape(cx.arg)[dim], 1i64).map(Some)
    })],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// `stack`.
pub static STACK: OpDef = OpDef {
    name: "stack",
    doc: "Tensors of one shape joined along a new dimension `dim`.",
    sig: &["(tensors: Tensor[], dim: int = 0)"],
    forms: Forms::FUNCTION,
    kernel: Kernel::Composite(|call| {
        let tensors: Vec<&Tensor> = call.tensors().collect();
        ensure!(
            !tensors.is_empty(),
            runtime,
            "stack expects a non-empty TensorList"
        );
        let dim = wrap_dim(call.attrs.int(0), tensors[0].ndim() + 1)?;
        let mut rows: SmallVec<[Operand; 4]> = SmallVec::new();
        for (i, t) in tensors.iter().enumerate() {
            ensure!(
                t.shape() == tensors[0].shape(),
                runtime,
                "stack expects each tensor to be equal size, but got {} at entry 0 and {} at entry {i}",
                tensors[0].shape(),
                t.shape()
            );
            rows.push(unsqueeze(*t, dim)?.into());
        }
        Ok(smallvec![cat_operands(&rows, dim as i64)?])
    }),
    ..OpDef::COMPOSITE
};

/// Joins tensors, each brought to at least `ndim` dimensions by `widen`.
fn widened(
    tensors: Vec<&Tensor>,
    dim: impl Fn(&Tensor) -> i64,
    widen: impl Fn(&Tensor) -> Result<Tensor>,
) -> Result<Outputs> {
    ensure!(
        !tensors.is_empty(),
        runtime,
        "expected a non-empty list of Tensors"
    );
    let wide = tensors
        .into_iter()
        .map(widen)
        .collect::<Result<Vec<Tensor>>>()?;
    Ok(smallvec![cat(&wide, dim(&wide[0]))?])
}

/// At least one dimension.
fn wide1(t: &Tensor) -> Result<Tensor> {
    if t.ndim() == 0 {
        reshape(t, &Shape::from([1]))
    } else {
        Ok(t.clone())
    }
}

/// At least two dimensions; vectors become rows.
fn wide2(t: &Tensor) -> Result<Tensor> {
    let t = wide1(t)?;
    if t.ndim() == 1 {
        unsqueeze(t, 0i64)
    } else {
        Ok(t)
    }
}

/// `hstack`.
pub static HSTACK: OpDef = OpDef {
    name: "hstack",
    doc: "Tensors joined along dimension 1 (vectors: 0).",
    sig: &["(tensors: Tensor[])"],
    forms: Forms::FUNCTION,
    kernel: Kernel::Composite(|call| {
        widened(call.tensors().collect(), |t| i64::from(t.ndim() > 1), wide1)
    }),
    ..OpDef::COMPOSITE
};

/// `vstack`.
pub static VSTACK: OpDef = OpDef {
    name: "vstack",
    doc: "Tensors joined along dimension 0; vectors become rows first.",
    sig: &["(tensors: Tensor[])"],
    aliases: &["row_stack"],
    forms: Forms::FUNCTION,
    kernel: Kernel::Composite(|call| widened(call.tensors().collect(), |_| 0, wide2)),
    ..OpDef::COMPOSITE
};

/// `dstack`.
pub static DSTACK: OpDef = OpDef {
    name: "dstack",
    doc: "Tensors joined along dimension 2, made three-dimensional first.",
    sig: &["(tensors: Tensor[])"],
    forms: Forms::FUNCTION,
    kernel: Kernel::Composite(|call| {
        widened(
            call.tensors().collect(),
            |_| 2,
            |t| {
                let t = wide2(t)?;
                if t.ndim() == 2 {
                    unsqueeze(t, 2i64)
                } else {
                    Ok(t)
                }
            },
        )
    }),
    ..OpDef::COMPOSITE
};

/// `column_stack`.
pub static COLUMN_STACK: OpDef = OpDef {
    name: "column_stack",
    doc: "Tensors joined along dimension 1; vectors become columns first.",
    sig: &["(tensors: Tensor[])"],
    forms: Forms::FUNCTION,
    kernel: Kernel::Composite(|call| {
        widened(
            call.tensors().collect(),
            |_| 1,
            |t| match t.ndim() {
                0 => reshape(t, &Shape::from([1, 1])),
                1 => unsqueeze(t, 1i64),
                _ => Ok(t.clone()),
            },
        )
    }),
    ..OpDef::COMPOSITE
};

/// `flip`.
pub static FLIP: OpDef = OpDef {
    name: "flip",
    doc: "A copy of `input` with dimensions `dims` reversed.",
    sig: &["(input, *dims: int[])"],
    meta: |call| {
        let x = call.tensor(0);
        if !call.attrs.ints(0).is_empty() {
            wrap_dims(call.attrs.ints(0), x.ndim())?;
        }
        super::meta::like_input(call)
    },
    kernel: Kernel::Compute(|cx| {
        let (x, out) = (cx.call.tensor(0), &cx.outs[0]);
        let dims = match cx.ints(0) {
            [] => SmallVec::new(),
            dims => wrap_dims(dims, x.ndim())?,
        };
        // Index by index along each flipped dimension but the first, where strides are reversed by
        // copying one slice after the other.
        copy_flipped(cx.backend, out.as_view(), x.as_view(), &dims);
        Ok(())
    }),
    // Its own inverse.
    grads: &[grad(NOTHING, |cx| {
        flip(cx.grad(), cx.attrs.ints(0)).map(Some)
    })],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

fn copy_flipped(b: &dyn backend::Backend, out: View, x: View, dims: &[usize]) {
    let Some((&dim, rest)) = dims.split_first() else {
        b.map(
            Functor::Copy,
            &[],
            x.dtype.compute(),
            out,
            &[Input::View(x)],
        );
        return;
    };
    let n = x.layout.shape[dim];
    for i in 0..n {
        let row = |l: &Layout, i: usize| {
            let mut l = l.clone();
            l.offset += i * l.strides[dim];
            l.shape[dim] = 1;
            l
        };
        let (to, from) = (row(out.layout, i), row(x.layout, n - 1 - i));
        copy_flipped(
            b,
            View { layout: &to, ..out },
            View { layout: &from, ..x },
            rest,
        );
    }
}

macro_rules! flips {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal $dim:literal $text:literal; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input)"],
            kernel: Kernel::Composite(|call| {
                let x = call.tensor(0);
                ensure!(x.ndim() > $dim, runtime, "Input must be >= {}-d.", $dim + 1);
                Ok(smallvec![flip(x, [$dim as i64])?])
            }),
            ..OpDef::COMPOSITE
        };
    )* };
}

flips! {
    /// Columns reversed.
    FLIPLR "fliplr" 1 "The columns in reverse order.";
    /// Rows reversed.
    FLIPUD "flipud" 0 "The rows in reverse order.";
}

/// `roll`.
pub static ROLL: OpDef = OpDef {
    name: "roll",
    doc: "Elements moved by `shifts` along `dims`, those that leave entering at the other end; \
          without `dims`, along the flattened tensor.",
    sig: &["(input, shifts: int[], dims: int[]? = None)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let (shifts, dims) = (call.attrs.ints(0), call.attrs.ints(1));
        if dims.is_empty() {
            ensure!(
                shifts.len() == 1,
                runtime,
                "shifts and dimensions must align. shifts: {}, dims:0",
                shifts.len()
            );
            let flat = reshape(x, &Shape::from([x.numel()]))?;
            return Ok(smallvec![reshape(
                &rolled(&flat, shifts[0], 0)?,
                x.shape()
            )?]);
        }
        ensure!(
            shifts.len() == dims.len(),
            runtime,
            "shifts and dimensions must align. shifts: {}, dims:{}",
            shifts.len(),
            dims.len()
        );
        let mut out = x.clone();
        for (&shift, &dim) in shifts.iter().zip(dims) {
            out = rolled(&out, shift, wrap_dim(dim, x.ndim())?)?;
        }
        Ok(smallvec![if out.same(x) { clone(x)? } else { out }])
    }),
    ..OpDef::COMPOSITE
};

fn rolled(x: &Tensor, shift: i64, dim: usize) -> Result<Tensor> {
    let n = x.shape().get(dim).copied().unwrap_or(0);
    if n == 0 {
        return Ok(x.clone());
    }
    let cut = n - shift.rem_euclid(n as i64) as usize;
    cat(
        &[
            slice(x, dim, cut, n, 1i64)?,
            slice(x, dim, 0usize, cut, 1i64)?,
        ],
        dim as i64,
    )
}

/// `rot90`.
pub static ROT90: OpDef = OpDef {
    name: "rot90",
    doc: "`input` turned `k` times by 90 degrees in the plane of `dims`, from the first towards the \
          second.",
    sig: &["(input, k: int = 1, dims: int[] = (0,1))"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let dims = call.attrs.ints(1);
        ensure!(
            dims.len() == 2,
            runtime,
            "expected total rotation dims == 2, but got dims = {}",
            dims.len()
        );
        ensure!(
            x.ndim() >= 2,
            runtime,
            "expected total dims >= 2, but got total dims = {}",
            x.ndim()
        );
        let (a, b) = (
            wrap_dim(dims[0], x.ndim())? as i64,
            wrap_dim(dims[1], x.ndim())? as i64,
        );
        ensure!(
            a != b,
            runtime,
            "expected rotation dims to be different, but got dim0 = {a} and dim1 = {b}"
        );
        Ok(smallvec![match call.attrs.int(0).rem_euclid(4) {
            1 => transpose(flip(x, [b])?, a, b)?,
            2 => flip(x, [a, b])?,
            3 => transpose(flip(x, [a])?, a, b)?,
            _ => clone(x)?,
        }])
    }),
    ..OpDef::COMPOSITE
};

/// `x` repeated `repeats` times along each dimension.
fn repeated(x: &Tensor, repeats: &[i64]) -> Result<Tensor> {
    ensure!(
        repeats.len() >= x.ndim(),
        runtime,
        "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor"
    );
    ensure!(
        repeats.iter().all(|r| *r >= 0),
        runtime,
        "Trying to create tensor with negative dimension: repeats {repeats:?}"
    );
    let lead = repeats.len() - x.ndim();
    // (n) -> (1, n) -> (r, n) -> (r n), in every dimension at once.
    let (mut split, mut wide, mut out) = (Shape::new(), Shape::new(), Shape::new());
    for (i, &r) in repeats.iter().enumerate() {
        let n = if i < lead { 1 } else { x.shape()[i - lead] };
        split.push(1);
        split.push(n);
        wide.push(r as usize);
        wide.push(n);
        out.push(r as usize * n);
    }
    let copied = clone(expand(&reshape(x, &split)?, &wide)?)?;
    reshape(&copied, &out)
}

/// `repeat`.
pub static REPEAT: OpDef = OpDef {
    name: "repeat",
    doc: "`input` repeated `repeats` times along each dimension, copied.",
    sig: &["(input, *repeats: int[])"],
    forms: Forms::METHOD,
    kernel: Kernel::Composite(|call| Ok(smallvec![repeated(call.tensor(0), call.attrs.ints(0))?])),
    ..OpDef::COMPOSITE
};

/// `tile`.
pub static TILE: OpDef = OpDef {
    name: "tile",
    doc: "As `repeat`; missing leading repetitions are 1.",
    sig: &["(input, *dims: int[])"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let mut repeats = vec![1; x.ndim().saturating_sub(call.attrs.ints(0).len())];
        repeats.extend(call.attrs.ints(0));
        Ok(smallvec![repeated(x, &repeats)?])
    }),
    ..OpDef::COMPOSITE
};

/// `repeat_interleave` by one number.
pub static REPEAT_INTERLEAVE: OpDef = OpDef {
    name: "repeat_interleave",
    doc: "Each index of dimension `dim` (of the flattened tensor without `dim`) repeated `repeats` \
          times in place; `repeats` is a number, or a tensor of one number an index.",
    sig: &["(input, repeats: int, dim: int? = None, *, output_size: int? = None)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let r = call.attrs.int(0);
        ensure!(r >= 0, runtime, "Repeats must be non-negative");
        let (x, dim) = along(x, call.attrs.int_opt(1))?;
        let mut shape = x.shape().clone();
        shape.insert(dim + 1, r as usize);
        let wide = clone(expand(&unsqueeze(&x, dim + 1)?, &shape)?)?;
        let mut out = x.shape().clone();
        out[dim] *= r as usize;
        Ok(smallvec![reshape(&wide, &out)?])
    }),
    ..OpDef::COMPOSITE
};

/// The tensor and dimension that `dim=None` (the flattened tensor) or `dim` means.
fn along(x: &Tensor, dim: Option<i64>) -> Result<(Tensor, usize)> {
    match dim {
        None => Ok((reshape(x, &Shape::from([x.numel()]))?, 0)),
        Some(dim) if x.ndim() > 0 => Ok((x.clone(), wrap_dim(dim, x.ndim())?)),
        Some(dim) => Ok((reshape(x, &Shape::from([1]))?, wrap_dim(dim, 1)?)),
    }
}

/// `repeat_interleave` by a tensor.
pub static REPEAT_INTERLEAVE_BY: OpDef = OpDef {
    name: "repeat_interleave_by",
    doc: "Each index of dimension `dim` repeated as often as `repeats` says.",
    sig: &["(input, repeats, dim: int? = None, *, output_size: int? = None)"],
    aliases: &["repeat_interleave"],
    kernel: Kernel::Composite(|call| {
        let (x, dim) = along(call.tensor(0), call.attrs.int_opt(0))?;
        let repeats: Vec<i64> = call
            .tensor(1)
            .to_vec()?
            .iter()
            .map(|s| s.as_i64())
            .collect();
        let n = x.shape()[dim];
        ensure!(
            call.tensor(1).ndim() <= 1 && (repeats.len() == n || repeats.len() == 1),
            runtime,
            "repeats must have the same size as input along dim, but got repeats of {} elements and \
             a dimension of size {n}",
            repeats.len()
        );
        ensure!(
            repeats.iter().all(|r| *r >= 0),
            runtime,
            "repeats can not be negative"
        );
        let of = |i: usize| repeats[if repeats.len() == 1 { 0 } else { i }] as usize;
        let index: Vec<i64> = (0..n)
            .flat_map(|i| std::iter::repeat_n(i as i64, of(i)))
            .collect();
        let index = Tensor::from_slice(&index, [index.len()])?;
        Ok(smallvec![index_select(x, index, dim)?])
    }),
    ..OpDef::COMPOSITE
};

/// The lower or upper triangle: a mask of row and column numbers.
pub static TRIANGLE: OpDef = OpDef {
    name: "triangle",
    doc: "Elements on and below (`lower`) or on and above diagonal `diagonal`, zeros elsewhere.",
    sig: &["(input, diagonal: int, lower: bool)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() >= 2,
            runtime,
            "input tensor must have at least 2 dimensions"
        );
        let (n, m) = (x.shape()[x.ndim() - 2], x.shape()[x.ndim() - 1]);
        let rows = unsqueeze(arange_like(n, x.device())?, 1i64)?;
        let columns = super::sub(arange_like(m, x.device())?, rows)?;
        let k = call.attrs.int(0);
        let mask = if call.attrs.bool(1) {
            le(columns, k)?
        } else {
            ge(columns, k)?
        };
        Ok(smallvec![cast(&where_(mask, x, 0i64)?, x.dtype())?])
    }),
    ..OpDef::COMPOSITE
};

/// `tril`.
pub static TRIL: OpDef = OpDef {
    name: "tril",
    doc: "The elements on and below diagonal `diagonal` of the last two dimensions, zeros elsewhere.",
    sig: &["(input, diagonal: int = 0)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        Ok(smallvec![triangle(
            call.tensor(0),
            call.attrs.int(0),
            true
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// `triu`.
pub static TRIU: OpDef = OpDef {
    name: "triu",
    doc: "The elements on and above diagonal `diagonal` of the last two dimensions, zeros elsewhere.",
    sig: &["(input, diagonal: int = 0)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        Ok(smallvec![triangle(
            call.tensor(0),
            call.attrs.int(0),
            false
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// `diag`.
pub static DIAG: OpDef = OpDef {
    name: "diag",
    doc: "Of a vector: the matrix with it on diagonal `diagonal`. Of a matrix: that diagonal.",
    sig: &["(input, diagonal: int = 0)"],
    kernel: Kernel::Composite(|call| {
        let (x, k) = (call.tensor(0), call.attrs.int(0));
        Ok(smallvec![match x.ndim() {
            1 => diag_embed(x, k, 0i64, 1i64)?,
            2 => clone(diagonal(x, k, 0i64, 1i64)?)?,
            n => crate::bail!(runtime, "diag(): Supports 1D or 2D tensors. Got {n}D"),
        }])
    }),
    ..OpDef::COMPOSITE
};

/// `diag_embed`.
pub static DIAG_EMBED: OpDef = OpDef {
    name: "diag_embed",
    doc: "Matrices with the last dimension of `input` on diagonal `offset`; the matrices lie in \
          dimensions `dim1` and `dim2` of the result.",
    sig: &["(input, offset: int = 0, dim1: int = -2, dim2: int = -1)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() > 0,
            runtime,
            "diag_embed() needs at least one dimension"
        );
        let offset = call.attrs.int(0);
        let a = wrap_dim(call.attrs.int(1), x.ndim() + 1)?;
        let b = wrap_dim(call.attrs.int(2), x.ndim() + 1)?;
        ensure!(
            a != b,
            runtime,
            "diagonal dimensions cannot be identical {a}, {b}"
        );
        let n = x.shape()[x.ndim() - 1] + offset.unsigned_abs() as usize;
        let mut shape: Shape = x.shape()[..x.ndim() - 1].iter().copied().collect();
        shape.insert(a.min(b), n);
        shape.insert(a.max(b), n);
        let zeros = Tensor::zeros(shape, x.dtype(), x.device())?;
        let attrs: Attrs = [offset.into(), a.into(), b.into()].into_iter().collect();
        let step = ViewStep::new(None, &super::view::DIAGONAL, attrs, 0);
        Ok(smallvec![view_scatter(&zeros, x, &step)?])
    }),
    ..OpDef::COMPOSITE
};

/// `diagflat`.
pub static DIAGFLAT: OpDef = OpDef {
    name: "diagflat",
    doc: "The matrix with the flattened `input` on diagonal `offset`.",
    sig: &["(input, offset: int = 0)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let flat = reshape(x, &Shape::from([x.numel()]))?;
        Ok(smallvec![diag_embed(flat, call.attrs.int(0), 0i64, 1i64)?])
    }),
    ..OpDef::COMPOSITE
};

/// `trace`.
pub static TRACE: OpDef = OpDef {
    name: "trace",
    doc: "The sum of the diagonal of a matrix.",
    sig: &["(input)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(
            x.ndim() == 2,
            runtime,
            "trace: expected a matrix, but got tensor with dim {}",
            x.ndim()
        );
        Ok(smallvec![sum(diagonal(x, 0i64, 0i64, 1i64)?)?])
    }),
    ..OpDef::COMPOSITE
};

/// `meshgrid`.
pub static MESHGRID: OpDef = OpDef {
    name: "meshgrid",
    doc: "The coordinates of a grid: tensor i varies along dimension i of the result. With \
          `indexing='xy'` the first two dimensions are swapped.",
    sig: &["(tensors: Tensor[], *, indexing: str = 'ij')"],
    forms: Forms::NN,
    returns: Returns::Tuple,
    kernel: Kernel::Composite(|call| {
        let mut tensors: Vec<Tensor> = call.tensors().cloned().collect();
        ensure!(
            !tensors.is_empty(),
            runtime,
            "meshgrid expects a non-empty TensorList"
        );
        for t in &tensors {
            ensure!(
                t.ndim() <= 1,
                runtime,
                "torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {}",
                t.shape()
            );
        }
        let swap = match call.attrs.str(0) {
            "ij" => false,
            "xy" => tensors.len() >= 2,
            other => crate::bail!(
                runtime,
                "torch.meshgrid: indexing must be one of \"xy\" or \"ij\", but received: {other}"
            ),
        };
        if swap {
            tensors.swap(0, 1);
        }
        let shape: Shape = tensors.iter().map(Tensor::numel).collect();
        let mut grids = Outputs::new();
        for (i, t) in tensors.iter().enumerate() {
            let mut own = Shape::filled(1, shape.len());
            own[i] = t.numel();
            let grid = expand(&reshape(t, &own)?, &shape)?;
            grids.push(if swap {
                transpose(grid, 0i64, 1i64)?
            } else {
                grid
            });
        }
        if swap {
            grids.swap(0, 1);
        }
        Ok(grids)
    }),
    ..OpDef::COMPOSITE
};

/// `broadcast_tensors`.
pub static BROADCAST_TENSORS: OpDef = OpDef {
    name: "broadcast_tensors",
    doc: "All tensors expanded to the shape they broadcast to, without copying.",
    sig: &["(tensors: Tensor[])"],
    forms: Forms::NN,
    returns: Returns::Tuple,
    kernel: Kernel::Composite(|call| {
        let shape = super::meta::broadcast(call.inputs)?;
        call.tensors().map(|t| expand(t, &shape)).collect()
    }),
    ..OpDef::COMPOSITE
};
