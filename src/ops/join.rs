//! Joining tensors, and bringing several to one shape.

use super::copy::{at, move_elements};
use super::def::{Batch, Call, Forms, Jvp, Kernel, KernelCx, NOTHING, OpDef, Returns, grad, spec};
use super::{expand, narrow, reshape, select, unsqueeze, view};
use crate::base::shape::wrap_dim;
use crate::base::{Attrs, Layout, Result, Scalar, Shape};
use crate::tape::Outputs;
use crate::tensor::{Operand, Tensor};
use crate::{bail, ensure};
use smallvec::{SmallVec, smallvec};

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &CAT,
    &STACK,
    &HSTACK,
    &VSTACK,
    &DSTACK,
    &COLUMN_STACK,
    &ATLEAST_1D,
    &ATLEAST_1D_EACH,
    &ATLEAST_2D,
    &ATLEAST_2D_EACH,
    &ATLEAST_3D,
    &ATLEAST_3D_EACH,
    &BROADCAST_TENSORS,
    &MESHGRID,
    &CARTESIAN_PROD,
    &BLOCK_DIAG,
];

/// Joins tensors along a dimension.
///
/// # Errors
/// When their other sizes differ.
pub fn cat(tensors: &[Tensor], dim: i64) -> Result<Tensor> {
    join(&CAT, tensors, dim)
}

/// Joins tensors of one shape along a new dimension.
///
/// # Errors
/// When their shapes differ.
pub fn stack(tensors: &[Tensor], dim: i64) -> Result<Tensor> {
    join(&STACK, tensors, dim)
}

fn join(op: &'static OpDef, tensors: &[Tensor], dim: i64) -> Result<Tensor> {
    let inputs: SmallVec<[Operand; 4]> = tensors.iter().map(Operand::from).collect();
    super::dispatch::run1(op, &inputs, &[dim.into()].into_iter().collect::<Attrs>())
}

/// Copies a tensor to a part of the output.
fn copy_part(cx: &KernelCx, part: &Layout, src: &Tensor) {
    move_elements(cx.backend, at(&cx.outs[0], part), src.as_view());
}

/// Whether `cat` skips a tensor of this shape: 1-d without elements, as old programs start lists.
fn is_skipped(shape: &Shape) -> bool {
    **shape == [0]
}

/// `cat`.
pub static CAT: OpDef = OpDef {
    name: "cat",
    doc: "The tensors joined along dimension `dim`; their other sizes agree, their types promote. \
          1-d tensors without elements are skipped.\n\n>>> import rustgrad as rg\n\
          >>> rg.cat([rg.ones(2), rg.zeros(1)])\ntensor([1., 1., 0.])",
    sig: &["(tensors: Tensor[], dim: int = 0)"],
    aliases: &["concat", "concatenate"],
    forms: Forms::FUNCTION,
    meta: |call| {
        let dtype = super::meta::result_type(call.inputs);
        let mut shape: Option<Shape> = None;
        ensure!(
            !call.inputs.is_empty(),
            value,
            "expected a non-empty list of Tensors"
        );
        for (i, t) in call.tensors().enumerate() {
            ensure!(
                t.ndim() > 0,
                runtime,
                "zero-dimensional tensor (at position {i}) cannot be concatenated"
            );
            if is_skipped(t.shape()) {
                continue;
            }
            let Some(shape) = &mut shape else {
                wrap_dim(call.attrs.int(0), t.ndim())?;
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
            let dim = wrap_dim(call.attrs.int(0), t.ndim())?;
            for d in (0..t.ndim()).filter(|&d| d != dim) {
                ensure!(
                    t.shape()[d] == shape[d],
                    runtime,
                    "Sizes of tensors must match except in dimension {dim}. Expected size {} but \
                     got size {} for tensor number {i} in the list, whose shape is {}",
                    shape[d],
                    t.shape()[d],
                    t.shape()
                );
            }
            shape[dim] += t.shape()[dim];
        }
        Ok(spec(shape.unwrap_or_else(|| [0].into()), dtype))
    },
    kernel: Kernel::Compute(|cx| {
        let mut part = cx.outs[0].layout().clone();
        let dim = wrap_dim(cx.int(0), part.ndim())?;
        for t in cx.call.tensors().filter(|t| !is_skipped(t.shape())) {
            part.shape[dim] = t.shape()[dim];
            copy_part(cx, &part, t);
            part.offset += part.shape[dim] * part.strides[dim];
        }
        Ok(())
    }),
    // Each tensor gets the gradient of its own piece.
    grads: &[grad(NOTHING, |cx| {
        if is_skipped(cx.shape(cx.arg)) {
            return Ok(None);
        }
        let dim = wrap_dim(cx.attrs.int(0), cx.grad().ndim())?;
        let before = (0..cx.arg).map(|i| cx.shape(i)).filter(|s| !is_skipped(s));
        let start = before.map(|s| s[dim]).sum();
        narrow(cx.grad(), dim, start, cx.shape(cx.arg)[dim]).map(Some)
    })],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// `stack`.
pub static STACK: OpDef = OpDef {
    name: "stack",
    doc: "Tensors of one shape joined along a new dimension `dim`; their types promote.\n\n\
          >>> import rustgrad as rg\n>>> rg.stack([rg.ones(2), rg.zeros(2)], dim=1)\n\
          tensor([[1., 0.],\n        [1., 0.]])",
    sig: &["(tensors: Tensor[], dim: int = 0)"],
    forms: Forms::FUNCTION,
    meta: |call| {
        let Some(first) = call.tensor_opt(0) else {
            bail!(runtime, "stack expects a non-empty TensorList")
        };
        for (i, t) in call.tensors().enumerate() {
            ensure!(
                t.shape() == first.shape(),
                runtime,
                "stack expects each tensor to be equal size, but got {} at entry 0 and {} at entry {i}",
                first.shape(),
                t.shape()
            );
        }
        let mut shape = first.shape().clone();
        let dim = wrap_dim(call.attrs.int(0), shape.len() + 1)?;
        shape.insert(dim, call.inputs.len());
        Ok(spec(shape, super::meta::result_type(call.inputs)))
    },
    kernel: Kernel::Compute(|cx| {
        let mut part = cx.outs[0].layout().clone();
        let dim = wrap_dim(cx.int(0), part.ndim())?;
        part.shape.remove(dim);
        let step = part.strides.remove(dim);
        for t in cx.call.tensors() {
            copy_part(cx, &part, t);
            part.offset += step;
        }
        Ok(())
    }),
    // Each tensor gets the gradient of its own index.
    grads: &[grad(NOTHING, |cx| {
        select(cx.grad(), cx.attrs.int(0), cx.arg).map(Some)
    })],
    jvp: Jvp::Linear,
    batch: Batch::Dims,
    ..OpDef::BASE
};

/// Joins the tensors of a call along `dim`, each widened first.
fn widened(call: &Call, widen: fn(&Tensor) -> Result<Tensor>, dim: usize) -> Result<Outputs> {
    ensure!(
        !call.inputs.is_empty(),
        runtime,
        "{} expects a non-empty TensorList",
        call.op.name
    );
    let wide = call.tensors().map(widen).collect::<Result<Vec<_>>>()?;
    // Vectors have one dimension only.
    let dim = dim.min(wide[0].ndim() - 1);
    Ok(smallvec![cat(&wide, dim as i64)?])
}

const JOIN: OpDef = OpDef {
    sig: &["(tensors: Tensor[])"],
    forms: Forms::FUNCTION,
    ..OpDef::COMPOSITE
};

/// `hstack`.
pub static HSTACK: OpDef = OpDef {
    name: "hstack",
    doc: "Tensors joined along dimension 1 (vectors and numbers: along dimension 0).",
    kernel: Kernel::Composite(|call| widened(call, at_least_1d, 1)),
    ..JOIN
};

/// `vstack`.
pub static VSTACK: OpDef = OpDef {
    name: "vstack",
    doc: "Tensors joined along dimension 0; vectors become rows first.",
    aliases: &["row_stack"],
    kernel: Kernel::Composite(|call| widened(call, at_least_2d, 0)),
    ..JOIN
};

/// `dstack`.
pub static DSTACK: OpDef = OpDef {
    name: "dstack",
    doc: "Tensors joined along dimension 2, after `atleast_3d`.",
    kernel: Kernel::Composite(|call| widened(call, at_least_3d, 2)),
    ..JOIN
};

/// `column_stack`.
pub static COLUMN_STACK: OpDef = OpDef {
    name: "column_stack",
    doc: "Tensors joined along dimension 1; vectors become columns first.",
    kernel: Kernel::Composite(|call| {
        let column = |t: &Tensor| match t.ndim() {
            0 | 1 => reshape(t, &[t.numel(), 1].into()),
            _ => Ok(t.clone()),
        };
        widened(call, column, 1)
    }),
    ..JOIN
};

fn at_least_1d(t: &Tensor) -> Result<Tensor> {
    match t.ndim() {
        0 => view(t, [1]),
        _ => Ok(t.clone()),
    }
}

fn at_least_2d(t: &Tensor) -> Result<Tensor> {
    match t.ndim() {
        0 => view(t, [1, 1]),
        1 => unsqueeze(t, 0i64),
        _ => Ok(t.clone()),
    }
}

fn at_least_3d(t: &Tensor) -> Result<Tensor> {
    match t.ndim() {
        0 => view(t, [1, 1, 1]),
        1 => view(t, [1, t.numel() as i64, 1]),
        2 => unsqueeze(t, 2i64),
        _ => Ok(t.clone()),
    }
}

macro_rules! at_least {
    ($( $(#[$doc:meta])* $ONE:ident $EACH:ident $name:literal $each:literal $f:ident $text:literal; )*) => { $(
        $(#[$doc])*
        pub static $ONE: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &["(input)"],
            forms: Forms::FUNCTION,
            kernel: Kernel::Composite(|call| Ok(smallvec![$f(call.tensor(0))?])),
            ..OpDef::COMPOSITE
        };

        $(#[$doc])*
        pub static $EACH: OpDef = OpDef {
            name: $each,
            doc: $text,
            sig: &["(*tensors: Tensor[])"],
            forms: Forms::FUNCTION,
            returns: Returns::Tuple,
            kernel: Kernel::Composite(|call| call.tensors().map($f).collect()),
            ..OpDef::COMPOSITE
        };
    )* };
}

at_least! {
    /// At least one dimension.
    ATLEAST_1D ATLEAST_1D_EACH "atleast_1d" "atleast_1d.each" at_least_1d
        "A tensor (or each of several) with at least one dimension: a 0-d tensor gets one.";
    /// At least two dimensions.
    ATLEAST_2D ATLEAST_2D_EACH "atleast_2d" "atleast_2d.each" at_least_2d
        "A tensor (or each of several) with at least two dimensions: a vector becomes a row.";
    /// At least three dimensions.
    ATLEAST_3D ATLEAST_3D_EACH "atleast_3d" "atleast_3d.each" at_least_3d
        "A tensor (or each of several) with at least three dimensions: shape (n) becomes (1, n, 1), \
         and (n, m) becomes (n, m, 1).";
}

/// `broadcast_tensors`.
pub static BROADCAST_TENSORS: OpDef = OpDef {
    name: "broadcast_tensors",
    doc: "All tensors expanded, without copying, to the shape they broadcast to.",
    sig: &["(*tensors: Tensor[])"],
    forms: Forms::FUNCTION,
    returns: Returns::Tuple,
    kernel: Kernel::Composite(|call| {
        let shape = super::meta::broadcast(call.inputs)?;
        call.tensors().map(|t| expand(t, &shape)).collect()
    }),
    ..OpDef::COMPOSITE
};

/// `meshgrid`.
pub static MESHGRID: OpDef = OpDef {
    name: "meshgrid",
    doc: "The coordinates of a grid: result `i` varies along dimension `i` as tensor `i` does, \
          without copying. With `indexing='xy'` the first two dimensions are swapped.",
    sig: &["(*tensors: Tensor[], *, indexing: str? = None)"],
    forms: Forms::FUNCTION,
    returns: Returns::Tuple,
    kernel: Kernel::Composite(|call| {
        let swapped = match call.attrs.is_none(0) {
            true => false,
            false => match call.attrs.str(0) {
                "ij" => false,
                "xy" => call.inputs.len() > 1,
                other => bail!(
                    runtime,
                    "torch.meshgrid: indexing must be one of \"xy\" or \"ij\", but received: {other}"
                ),
            },
        };
        ensure!(
            !call.inputs.is_empty(),
            runtime,
            "meshgrid expects a non-empty TensorList"
        );
        let mut shape = Shape::new();
        let first = call.tensor(0).dtype();
        for t in call.tensors() {
            ensure!(
                t.ndim() <= 1,
                runtime,
                "torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {}",
                t.shape()
            );
            ensure!(
                t.dtype() == first,
                runtime,
                "torch.meshgrid expects all tensors to have the same dtype: got {first} and {}",
                t.dtype()
            );
            shape.push(t.numel());
        }
        let grid = |(i, t): (usize, &Tensor)| {
            // In 'xy' the first tensor varies along columns: build 'ij' of the swapped list.
            let dim = if swapped && i < 2 { 1 - i } else { i };
            let mut own = Shape::filled(1, shape.len());
            own[dim] = t.numel();
            let mut full = shape.clone();
            if swapped {
                full.swap(0, 1);
            }
            super::expand_to(&reshape(t, &own)?, &full)
        };
        call.tensors().enumerate().map(grid).collect()
    }),
    ..OpDef::COMPOSITE
};

/// `cartesian_prod`.
pub static CARTESIAN_PROD: OpDef = OpDef {
    name: "cartesian_prod",
    doc: "Every way to take one element of each vector: shape (n1 n2 .., number of vectors); of one \
          vector, itself.",
    sig: &["(*tensors: Tensor[])"],
    forms: Forms::FUNCTION,
    kernel: Kernel::Composite(|call| {
        for t in call.tensors() {
            ensure!(
                t.ndim() == 1,
                runtime,
                "Expect a 1D vector, but got shape {}",
                t.shape()
            );
        }
        if call.inputs.len() == 1 {
            return Ok(smallvec![call.tensor(0).clone()]);
        }
        let indexing: Attrs = [crate::base::Attr::None].into_iter().collect();
        let grids = super::dispatch::run(&MESHGRID, call.inputs, &indexing)?;
        let rows = stack(&grids, -1)?;
        let n = rows.numel() / grids.len();
        Ok(smallvec![reshape(&rows, &[n, grids.len()].into())?])
    }),
    ..OpDef::COMPOSITE
};

/// `block_diag`.
pub static BLOCK_DIAG: OpDef = OpDef {
    name: "block_diag",
    doc: "The matrix with the given matrices along its diagonal and zeros elsewhere; vectors count \
          as rows, numbers as 1 x 1.",
    sig: &["(*tensors: Tensor[])"],
    forms: Forms::FUNCTION,
    meta: |call| {
        let (mut rows, mut columns) = (0, 0);
        for (i, t) in call.tensors().enumerate() {
            ensure!(
                t.ndim() <= 2,
                runtime,
                "torch.block_diag: Input tensors must have 2 or fewer dimensions. Input {i} has {} \
                 dimensions",
                t.ndim()
            );
            let (n, m) = block(t.shape());
            rows += n;
            columns += m;
        }
        Ok(spec([rows, columns], super::meta::result_type(call.inputs)))
    },
    kernel: Kernel::Compute(|cx| {
        let out = &cx.outs[0];
        cx.backend.fill(out.as_view(), Scalar::Int(0));
        let mut part = out.layout().clone();
        for t in cx.call.tensors() {
            let (n, m) = block(t.shape());
            part.shape = [n, m].into();
            let t = t.alias(
                t.layout()
                    .reshape(&part.shape)
                    .expect("at most two dimensions"),
            );
            copy_part(cx, &part, &t);
            part.offset += n * part.strides[0] + m * part.strides[1];
        }
        Ok(())
    }),
    // Each matrix gets the gradient of its own block.
    grads: &[grad(NOTHING, |cx| {
        let blocks = (0..cx.arg).map(|i| block(cx.shape(i)));
        let (row, column) = blocks.fold((0, 0), |(i, j), (n, m)| (i + n, j + m));
        let (n, m) = block(cx.shape(cx.arg));
        let g = narrow(&narrow(cx.grad(), 0, row, n)?, 1, column, m)?;
        reshape(&g, cx.shape(cx.arg)).map(Some)
    })],
    jvp: Jvp::Linear,
    batch: Batch::Loop,
    ..OpDef::BASE
};

/// Rows and columns of a tensor of at most two dimensions.
fn block(shape: &Shape) -> (usize, usize) {
    match **shape {
        [] => (1, 1),
        [m] => (1, m),
        [n, m, ..] => (n, m),
    }
}
