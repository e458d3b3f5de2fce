//! Moving elements: reversed, rolled, repeated, padded, in triangles and on diagonals.

use super::copy::{at, move_elements};
use super::def::{Batch, Call, Forms, Jvp, Kernel, NOTHING, OpDef, grad, spec};
use super::region::embed;
use super::{
    add, clone, diagonal, ge, index_select, le, reshape, sum, sum_dims, transpose, unsqueeze, view,
    where_,
};
use crate::base::shape::{wrap_dim, wrap_dims};
use crate::base::{Attr, Attrs, DType, Device, Layout, Result, Scalar, Shape};
use crate::tensor::Tensor;
use crate::{backend, bail, ensure};
use smallvec::{SmallVec, smallvec};

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &FLIP,
    &FLIPLR,
    &FLIPUD,
    &ROLL,
    &ROLL_DIMS,
    &ROT90,
    &REPEAT,
    &TILE,
    &REPEAT_INTERLEAVE,
    &REPEAT_INTERLEAVE_EACH,
    &REPEATED_INDICES,
    &TRIL,
    &TRIU,
    &DIAG,
    &DIAG_EMBED,
    &DIAGFLAT,
    &TRACE,
    &CONSTANT_PAD,
    &PAD,
];

functions! {
    /// The dimensions `dims` reversed.
    flip(x; dims) = FLIP;
    /// Elements moved by `shifts` along `dims`, around the end.
    roll(x; shifts, dims) = ROLL_DIMS;
    /// Copies one after another, `repeats[d]` along dimension `d`.
    repeat(x; repeats) = REPEAT;
    /// Vectors on a diagonal of new matrices.
    diag_embed(x; offset, dim1, dim2) = DIAG_EMBED;
    /// A border of one value, or without one: `pad` is (before, after) of the last dimension first.
    constant_pad(x; pad, value) = CONSTANT_PAD;
}

/// The numbers `0..n`.
pub(super) fn arange_like(n: usize, device: Device) -> Result<Tensor> {
    let t = Tensor::empty([n], DType::I64, device)?;
    if device != Device::Meta {
        backend::of(device)?.iota(t.as_view(), Scalar::Int(0), Scalar::Int(1));
    }
    Ok(t)
}

/// `flip`.
pub static FLIP: OpDef = OpDef {
    name: "flip",
    doc: "A copy of `input` with dimensions `dims` reversed.\n\n>>> import rustgrad as rg\n\
          >>> rg.arange(3).flip(0)\ntensor([2, 1, 0])",
    sig: &["(input, *dims: int[])"],
    meta: |call| {
        if !call.attrs.ints(0).is_empty() {
            wrap_dims(call.attrs.ints(0), call.tensor(0).ndim())?;
        }
        super::meta::like_input(call)
    },
    kernel: Kernel::Compute(|cx| {
        let (x, out) = (cx.call.tensor(0), &cx.outs[0]);
        let ndim = x.ndim();
        let dims = match cx.ints(0) {
            [] => smallvec![],
            dims => wrap_dims(dims, ndim)?,
        };
        cx.backend.flip(out.as_view(), x.as_view(), &dims);
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

/// `fliplr`.
pub static FLIPLR: OpDef = OpDef {
    name: "fliplr",
    doc: "A copy of `input` with its columns (dimension 1) reversed.",
    sig: &["(input)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(x.ndim() >= 2, runtime, "Input must be >= 2-d.");
        Ok(smallvec![flip(x, [1])?])
    }),
    ..OpDef::COMPOSITE
};

/// `flipud`.
pub static FLIPUD: OpDef = OpDef {
    name: "flipud",
    doc: "A copy of `input` with its rows (dimension 0) reversed.",
    sig: &["(input)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        ensure!(x.ndim() >= 1, runtime, "Input must be >= 1-d.");
        Ok(smallvec![flip(x, [0])?])
    }),
    ..OpDef::COMPOSITE
};

/// `roll`.
pub static ROLL: OpDef = OpDef {
    name: "roll",
    doc: "A copy of `input` with the elements moved by `shifts` along `dims`; those that leave at \
          one end enter at the other. Without `dims`, along the flattened tensor.\n\n\
          >>> import rustgrad as rg\n>>> rg.arange(4).roll(1)\ntensor([3, 0, 1, 2])",
    sig: &["(input, shifts: int[], dims: int[] = ())"],
    kernel: Kernel::Composite(|call| {
        let (x, shifts, dims) = (call.tensor(0), call.attrs.ints(0), call.attrs.ints(1));
        ensure!(
            !shifts.is_empty(),
            runtime,
            "`shifts` required: a number, or one number for each of dims"
        );
        if dims.is_empty() && shifts.len() == 1 {
            let flat = reshape(x, &[x.numel()].into())?;
            return Ok(smallvec![reshape(&roll(flat, shifts, [0])?, x.shape())?]);
        }
        ensure!(
            shifts.len() == dims.len(),
            runtime,
            "shifts and dimensions must align. shifts: {}, dims:{}",
            shifts.len(),
            dims.len()
        );
        Ok(smallvec![roll(x, shifts, dims)?])
    }),
    ..OpDef::COMPOSITE
};

/// The kernel of [`ROLL`].
pub static ROLL_DIMS: OpDef = OpDef {
    name: "roll_exact",
    doc: "Elements moved by `shifts` along `dims`, around the end.",
    sig: &["(input, shifts: int[], dims: int[])"],
    forms: Forms::HIDDEN,
    meta: |call| {
        for &dim in call.attrs.ints(1) {
            wrap_dim(dim, call.tensor(0).ndim())?;
        }
        super::meta::like_input(call)
    },
    kernel: Kernel::Compute(|cx| {
        let (x, out) = (cx.call.tensor(0), &cx.outs[0]);
        let mut shift: Shape = Shape::filled(0, x.ndim());
        for (&by, &dim) in cx.ints(0).iter().zip(cx.ints(1)) {
            let dim = wrap_dim(dim, x.ndim())?;
            if let Some(&n @ 1..) = x.shape().get(dim) {
                shift[dim] = (shift[dim] + by.rem_euclid(n as i64) as usize) % n;
            }
        }
        // Each rolled dimension is copied in two pieces.
        let mut pieces = vec![(out.layout().clone(), x.layout().clone())];
        for (d, &by) in shift.iter().enumerate().filter(|&(_, &by)| by > 0) {
            let kept = x.shape()[d] - by;
            let cut = |l: &Layout, start: usize, n: usize| {
                let mut l = l.clone();
                l.offset += start * l.strides[d];
                l.shape[d] = n;
                l
            };
            let both = |(to, from): &(Layout, Layout)| {
                [
                    (cut(to, by, kept), cut(from, 0, kept)),
                    (cut(to, 0, by), cut(from, kept, by)),
                ]
            };
            pieces = pieces.iter().flat_map(both).collect();
        }
        for (to, from) in &pieces {
            move_elements(cx.backend, at(out, to), at(x, from));
        }
        Ok(())
    }),
    // Back again.
    grads: &[grad(NOTHING, |cx| {
        let back: SmallVec<[i64; 2]> = cx.attrs.ints(0).iter().map(|s| s.wrapping_neg()).collect();
        roll(cx.grad(), back.as_slice(), cx.attrs.ints(1)).map(Some)
    })],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// `rot90`.
pub static ROT90: OpDef = OpDef {
    name: "rot90",
    doc: "A copy of `input` turned `k` times by 90 degrees in the plane of `dims`, from the first \
          towards the second.",
    sig: &["(input, k: int = 1, dims: int[] = (0,1))"],
    kernel: Kernel::Composite(|call| {
        let (x, dims) = (call.tensor(0), call.attrs.ints(1));
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
        let a = wrap_dim(dims[0], x.ndim())? as i64;
        let b = wrap_dim(dims[1], x.ndim())? as i64;
        ensure!(
            a != b,
            runtime,
            "expected rotation dims to be different, but got dim0 = {} and dim1 = {}",
            dims[0],
            dims[1]
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

/// For `repeat`: the sizes as (1, n) for each dimension, and as (r, n).
fn repeat_shapes(x: &Shape, repeats: &[i64]) -> Result<(Shape, Shape)> {
    ensure!(
        repeats.len() >= x.len(),
        runtime,
        "Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor: \
         got {} and {}",
        repeats.len(),
        x.len()
    );
    ensure!(
        repeats.iter().all(|&r| r >= 0),
        runtime,
        "Trying to create tensor with negative dimension: repeats {repeats:?}"
    );
    let lead = repeats.len() - x.len();
    let (mut narrow, mut wide) = (Shape::new(), Shape::new());
    for (d, &r) in repeats.iter().enumerate() {
        let n = d.checked_sub(lead).map_or(1, |d| x[d]);
        narrow.push(1);
        narrow.push(n);
        wide.push(r as usize);
        wide.push(n);
    }
    Ok((narrow, wide))
}

/// `repeat`.
pub static REPEAT: OpDef = OpDef {
    name: "repeat",
    doc: "Copies of `input` one after another, `repeats[d]` along dimension `d`; more repeats than \
          dimensions add leading ones.\n\n>>> import rustgrad as rg\n\
          >>> rg.arange(2).repeat(2, 2)\ntensor([[0, 1, 0, 1],\n        [0, 1, 0, 1]])",
    sig: &["(input, *repeats: int[])"],
    forms: Forms::METHOD,
    meta: |call| {
        let x = call.tensor(0);
        let (_, wide) = repeat_shapes(x.shape(), call.attrs.ints(0))?;
        let shape: Shape = wide.chunks(2).map(|rn| rn[0] * rn[1]).collect();
        Ok(spec(shape, x.dtype()))
    },
    kernel: Kernel::Compute(|cx| {
        let (x, out) = (cx.call.tensor(0), &cx.outs[0]);
        let (narrow, wide) = repeat_shapes(x.shape(), cx.ints(0))?;
        // (n) -> (1, n) -> (r, n), in every dimension at once.
        let from = x.layout().reshape(&narrow).expect("only ones are added");
        let from = from.broadcast_to(&wide);
        let to = out.layout().reshape(&wide).expect("a dense result");
        move_elements(cx.backend, at(out, &to), at(x, &from));
        Ok(())
    }),
    // The sum over all copies.
    grads: &[grad(NOTHING, |cx| {
        let (_, wide) = repeat_shapes(cx.shape(0), cx.attrs.ints(0))?;
        let copies: SmallVec<[i64; 4]> = (0..wide.len() as i64).step_by(2).collect();
        let g = reshape(cx.grad(), &wide)?;
        if copies.is_empty() {
            return Ok(Some(g));
        }
        let g = sum_dims(g, copies.as_slice(), false, None::<DType>)?;
        reshape(&g, cx.shape(0)).map(Some)
    })],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// `tile`.
pub static TILE: OpDef = OpDef {
    name: "tile",
    doc: "As `repeat`; with fewer repeats than dimensions, the leading ones are not repeated.",
    sig: &["(input, *dims: int[])"],
    kernel: Kernel::Composite(|call| {
        let (x, dims) = (call.tensor(0), call.attrs.ints(0));
        let mut repeats = vec![1; x.ndim().saturating_sub(dims.len())];
        repeats.extend(dims);
        Ok(smallvec![repeat(x, repeats.as_slice())?])
    }),
    ..OpDef::COMPOSITE
};

/// The tensor and dimension that `dim` means; `None` is the flattened tensor.
fn flat_or(x: &Tensor, dim: Option<i64>) -> Result<(Tensor, usize)> {
    match dim {
        Some(dim) if x.ndim() > 0 => Ok((x.clone(), wrap_dim(dim, x.ndim())?)),
        Some(dim) => Ok((reshape(x, &[1].into())?, wrap_dim(dim, 1)?)),
        None => Ok((reshape(x, &[x.numel()].into())?, 0)),
    }
}

/// `repeat_interleave` by one number.
pub static REPEAT_INTERLEAVE: OpDef = OpDef {
    name: "repeat_interleave",
    doc: "Each index of dimension `dim` (without `dim`, each element) repeated `repeats` times \
          before the next one; `repeats` is a number, or a tensor of a number for each index. \
          Called with `repeats` alone: the indices repeated.\n\n>>> import rustgrad as rg\n\
          >>> rg.tensor([5, 6]).repeat_interleave(rg.tensor([1, 2]))\ntensor([5, 6, 6])",
    sig: &["(input, repeats: int, dim: int? = None, *, output_size: int? = None)"],
    kernel: Kernel::Composite(|call| {
        let times = call.attrs.int(0);
        ensure!(times >= 0, runtime, "Repeats must be non-negative");
        let (x, dim) = flat_or(call.tensor(0), call.attrs.int_opt(1))?;
        let (mut wide, mut shape) = (x.shape().clone(), x.shape().clone());
        wide.insert(dim + 1, times as usize);
        shape[dim] *= times as usize;
        check_output_size(call.attrs.int_opt(2), shape[dim])?;
        let copies = super::expand_to(unsqueeze(x, dim + 1)?, &wide)?;
        Ok(smallvec![view(clone(copies)?, &shape)?])
    }),
    ..OpDef::COMPOSITE
};

fn check_output_size(told: Option<i64>, size: usize) -> Result<()> {
    ensure!(
        told.is_none_or(|n| n == size as i64),
        runtime,
        "repeat_interleave: Invalid output_size, expected {size} but got {told:?}"
    );
    Ok(())
}

/// `repeat_interleave` by a tensor.
pub static REPEAT_INTERLEAVE_EACH: OpDef = OpDef {
    name: "repeat_interleave.each",
    doc: "Each index of dimension `dim` (without `dim`, each element) repeated as often as \
          `repeats` says before the next one.",
    sig: &[
        "(input, repeats, dim: int? = None, *, output_size: int? = None)",
        "(repeats, *, output_size: int? = None)",
    ],
    kernel: Kernel::Composite(|call| {
        if call.overload == 1 {
            let indices = repeated(call.tensor(0), None, call.attrs.int_opt(0))?;
            return Ok(smallvec![indices]);
        }
        let (x, dim) = flat_or(call.tensor(0), call.attrs.int_opt(0))?;
        let size = Some(x.shape()[dim]);
        let indices = repeated(call.tensor(1), size, call.attrs.int_opt(1))?;
        Ok(smallvec![index_select(x, indices, dim)?])
    }),
    ..OpDef::COMPOSITE
};

/// Index `i` as often as `repeats[i]` says, over a dimension of the given size.
fn repeated(repeats: &Tensor, size: Option<usize>, told: Option<i64>) -> Result<Tensor> {
    let attrs: Attrs = [Attr::from(size)].into_iter().collect();
    let indices = super::dispatch::run1(&REPEATED_INDICES, &[repeats.into()], &attrs)?;
    check_output_size(told, indices.numel())?;
    Ok(indices)
}

/// The indices that `repeat_interleave` takes.
pub static REPEATED_INDICES: OpDef = OpDef {
    name: "repeated_indices",
    doc: "Index `i` as often as `repeats[i]` (or the one number in it) says.",
    sig: &["(repeats, size: int?)"],
    forms: Forms::HIDDEN,
    kernel: Kernel::Dynamic(|call| {
        let repeats = call.tensor(0);
        ensure!(
            repeats.ndim() <= 1,
            runtime,
            "repeat_interleave only accept 0D or 1D repeat tensor, but its shape is {}",
            repeats.shape()
        );
        ensure!(
            repeats.dtype().is_int(),
            runtime,
            "repeats has to be Long or Int tensor, but it is {}",
            repeats.dtype()
        );
        let times: Vec<i64> = repeats.to_vec()?.iter().map(|s| s.as_i64()).collect();
        ensure!(
            times.iter().all(|&r| r >= 0),
            runtime,
            "repeats can not be negative"
        );
        let n = call.attrs.int_opt(0).map_or(times.len(), |n| n as usize);
        ensure!(
            times.len() == n || times.len() == 1,
            runtime,
            "repeats must have the same size as input along dim, but got repeats of size {} and a \
             dimension of size {n}",
            times.len()
        );
        let times_of = |i: usize| times[i.min(times.len() - 1)] as usize;
        let indices: Vec<i64> = (0..n)
            .flat_map(|i| std::iter::repeat_n(i as i64, times_of(i)))
            .collect();
        Ok(smallvec![Tensor::from_slice(&indices, [indices.len()])?])
    }),
    ..OpDef::BASE
};

/// The elements on one side of a diagonal of the last two dimensions, zeros elsewhere.
fn triangle(call: &Call, lower: bool) -> Result<Tensor> {
    let x = call.tensor(0);
    ensure!(
        x.ndim() >= 2,
        runtime,
        "{}: input tensor must have at least 2 dimensions",
        call.op.name
    );
    let (n, m) = (x.shape()[x.ndim() - 2], x.shape()[x.ndim() - 1]);
    // The column of the diagonal in each row; farther off than this it makes no difference.
    let offset = call.attrs.int(0).clamp(-(n as i64), m as i64);
    let ends = unsqueeze(add(arange_like(n, x.device())?, offset)?, 1i64)?;
    let columns = arange_like(m, x.device())?;
    let kept = if lower {
        le(columns, ends)?
    } else {
        ge(columns, ends)?
    };
    // A bool zero, so that the type stays.
    where_(kept, x, Scalar::Bool(false))
}

/// `tril`.
pub static TRIL: OpDef = OpDef {
    name: "tril",
    doc: "`input` on and below diagonal `diagonal` of its last two dimensions, zeros above it.\n\n\
          >>> import rustgrad as rg\n>>> rg.ones(2, 3).tril()\n\
          tensor([[1., 0., 0.],\n        [1., 1., 0.]])",
    sig: &["(input, diagonal: int = 0)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| Ok(smallvec![triangle(call, true)?])),
    ..OpDef::COMPOSITE
};

/// `triu`.
pub static TRIU: OpDef = OpDef {
    name: "triu",
    doc: "`input` on and above diagonal `diagonal` of its last two dimensions, zeros below it.\n\n\
          >>> import rustgrad as rg\n>>> rg.ones(2, 3).triu()\n\
          tensor([[1., 1., 1.],\n        [0., 1., 1.]])",
    sig: &["(input, diagonal: int = 0)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| Ok(smallvec![triangle(call, false)?])),
    ..OpDef::COMPOSITE
};

/// `diag`.
pub static DIAG: OpDef = OpDef {
    name: "diag",
    doc: "Of a vector: the matrix with it on diagonal `diagonal`. Of a matrix: a copy of that \
          diagonal.",
    sig: &["(input, diagonal: int = 0)"],
    kernel: Kernel::Composite(|call| {
        let (x, offset) = (call.tensor(0), call.attrs.int(0));
        Ok(smallvec![match x.ndim() {
            1 => diag_embed(x, offset, 0i64, 1i64)?,
            2 => clone(diagonal(x, offset, 0i64, 1i64)?)?,
            n => bail!(runtime, "diag(): Supports 1D or 2D tensors. Got {n}D"),
        }])
    }),
    ..OpDef::COMPOSITE
};

/// `diag_embed`.
pub static DIAG_EMBED: OpDef = OpDef {
    name: "diag_embed",
    doc: "Matrices in dimensions `dim1` and `dim2` of the result, with the last dimension of `input` \
          on diagonal `offset` and zeros elsewhere.",
    sig: &["(input, offset: int = 0, dim1: int = -2, dim2: int = -1)"],
    kernel: Kernel::Composite(|call| {
        let (x, offset) = (call.tensor(0), call.attrs.int(0));
        ensure!(
            x.ndim() > 0,
            runtime,
            "diag_embed needs a tensor of at least one dimension"
        );
        let a = wrap_dim(call.attrs.int(1), x.ndim() + 1)?;
        let b = wrap_dim(call.attrs.int(2), x.ndim() + 1)?;
        ensure!(
            a != b,
            runtime,
            "diagonal dimensions cannot be identical {}, {}",
            call.attrs.int(1),
            call.attrs.int(2)
        );
        let last = x.ndim() - 1;
        let n = x.shape()[last] + offset.unsigned_abs() as usize;
        let mut shape: Shape = x.shape()[..last].into();
        shape.insert(a.min(b), n);
        shape.insert(a.max(b), n);
        let attrs: Attrs = [offset.into(), a.into(), b.into()].into_iter().collect();
        Ok(smallvec![embed(x, &shape, &super::DIAGONAL, &attrs)?])
    }),
    ..OpDef::COMPOSITE
};

/// `diagflat`.
pub static DIAGFLAT: OpDef = OpDef {
    name: "diagflat",
    doc: "The matrix with the elements of `input`, in row-major order, on diagonal `offset`.",
    sig: &["(input, offset: int = 0)"],
    kernel: Kernel::Composite(|call| {
        let flat = reshape(call.tensor(0), &[call.tensor(0).numel()].into())?;
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

/// For each dimension, how much a border adds (or, negative, takes away) before and after it.
fn borders(ndim: usize, pad: &[i64]) -> Result<SmallVec<[(i64, i64); 4]>> {
    ensure!(
        pad.len().is_multiple_of(2) && pad.len() <= 2 * ndim,
        runtime,
        "Length of pad should be even and no more than twice the number of dimensions of the input. \
         Got {} pad entries and {ndim} dimensions",
        pad.len()
    );
    let of = |d: usize| {
        let at = 2 * (ndim - 1 - d);
        pad.get(at..at + 2).map_or((0, 0), |p| (p[0], p[1]))
    };
    Ok((0..ndim).map(of).collect())
}

/// A border of one value.
pub static CONSTANT_PAD: OpDef = OpDef {
    name: "constant_pad_nd",
    doc: "`input` with a border of `value`: `pad` is (before, after) for the last dimension, then \
          for the one before it, and so on; negative entries cut off.",
    sig: &["(input, pad: int[], value: Scalar = 0)"],
    forms: Forms::FUNCTION,
    meta: |call| {
        let x = call.tensor(0);
        let mut shape = Shape::new();
        for (&n, (before, after)) in x.shape().iter().zip(borders(x.ndim(), call.attrs.ints(0))?) {
            let size = n as i64 + before + after;
            ensure!(
                size >= 0,
                runtime,
                "The input size {n}, plus negative padding {before} and {after}, resulted in a \
                 negative output size, which is invalid"
            );
            shape.push(size as usize);
        }
        Ok(spec(shape, x.dtype()))
    },
    kernel: Kernel::Compute(|cx| {
        let (x, out) = (cx.call.tensor(0), &cx.outs[0]);
        cx.backend.fill(out.as_view(), cx.scalar(1));
        let (mut to, mut from) = (out.layout().clone(), x.layout().clone());
        for (d, (before, after)) in borders(x.ndim(), cx.ints(0))?.into_iter().enumerate() {
            let (cut, skip) = ((-before).max(0) as usize, before.max(0) as usize);
            let kept = x.shape()[d] as i64 - cut as i64 - (-after).max(0);
            // Cut off on both sides, nothing of the input may be left.
            let kept = kept.max(0) as usize;
            (to.shape[d], from.shape[d]) = (kept, kept);
            if kept > 0 {
                to.offset += skip * to.strides[d];
                from.offset += cut * from.strides[d];
            }
        }
        if to.numel() > 0 {
            move_elements(cx.backend, at(out, &to), at(x, &from));
        }
        Ok(())
    }),
    // Without the border: the opposite padding.
    grads: &[grad(NOTHING, |cx| {
        let back: SmallVec<[i64; 4]> = cx.attrs.ints(0).iter().map(|p| -p).collect();
        constant_pad(cx.grad(), back.as_slice(), 0i64).map(Some)
    })],
    // Linear but for the constant border.
    jvp: Jvp::Rule(|cx| {
        let t = cx.tangents[0].as_ref();
        let pad = |t| constant_pad(t, cx.call.attrs.ints(0), 0i64);
        Ok(smallvec![t.map(pad).transpose()?])
    }),
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// `pad`.
pub static PAD: OpDef = OpDef {
    name: "pad",
    doc: "`input` with a border: `pad` is (before, after) for the last dimension, then for the one \
          before it, and so on. `mode` is 'constant' (of `value`), 'reflect' (the elements inside \
          the edge, mirrored), 'replicate' (the edge) or 'circular' (the other end).",
    sig: &["(input, pad: int[], mode: str = 'constant', value: Scalar? = None)"],
    forms: Forms::NN,
    kernel: Kernel::Composite(|call| {
        let (x, pad, mode) = (call.tensor(0), call.attrs.ints(0), call.attrs.str(1));
        if mode == "constant" {
            let value = call.attrs.scalar_opt(2).unwrap_or(Scalar::Int(0));
            return Ok(smallvec![constant_pad(x, pad, value)?]);
        }
        ensure!(
            matches!(mode, "reflect" | "replicate" | "circular"),
            not_implemented,
            "Unrecognised padding mode {mode}"
        );
        ensure!(
            call.attrs.is_none(2) || call.attrs.float(2) == 0.0,
            runtime,
            "Padding mode \"{mode}\" doesn't take in value argument"
        );
        ensure!(
            x.ndim() > pad.len() / 2,
            not_implemented,
            "Only 2D, 3D, 4D, 5D padding with non-constant padding are supported for now: got {} \
             pad entries for a tensor of shape {}",
            pad.len(),
            x.shape()
        );
        let mut out = x.clone();
        for (d, (before, after)) in borders(x.ndim(), pad)?.into_iter().enumerate() {
            if (before, after) != (0, 0) {
                let index = border_index(mode, x, d, before, after)?;
                out = index_select(out, index, d)?;
            }
        }
        Ok(smallvec![if out.same(x) { clone(x)? } else { out }])
    }),
    ..OpDef::COMPOSITE
};

/// Which index of a dimension of size `n` each index of the padded one shows.
fn border_index(mode: &str, x: &Tensor, d: usize, before: i64, after: i64) -> Result<Tensor> {
    let n = x.shape()[d] as i64;
    let most = match mode {
        "reflect" => n - 1,
        "circular" => n,
        _ => i64::MAX,
    };
    ensure!(
        before <= most && after <= most && n + before + after >= 0 && n > 0,
        runtime,
        "Padding size should be less than the corresponding input dimension, but got: padding \
         ({before}, {after}) at a dimension of size {n} in mode '{mode}'"
    );
    let shown = |i: i64| match mode {
        "reflect" if i < 0 => -i,
        "reflect" if i >= n => 2 * (n - 1) - i,
        "circular" => i.rem_euclid(n),
        _ => i.clamp(0, n - 1),
    };
    let index: Vec<i64> = (-before..n + after).map(shown).collect();
    match x.device() {
        Device::Cpu => Tensor::from_slice(&index, [index.len()]),
        device => Tensor::empty([index.len()], DType::I64, device),
    }
}
