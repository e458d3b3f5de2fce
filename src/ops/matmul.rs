//! Matrix products.

use super::activation::{RELU, SIGMOID, TANH};
use super::def::{
    Batch, Call, Cost, Follower, Forms, IN, Jvp, Kernel, KernelCx, NOTHING, OpDef, Promote, grad,
    spec,
};
use super::{add, expand, mul, reshape, transpose, unsqueeze};
use crate::backend::View;
use crate::base::{DType, Layout, Result, Shape};
use crate::tape::VjpCx;
use crate::tensor::{Operand, Tensor};
use crate::{bail, ensure};
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[&MM, &BMM, &MATMUL, &MV, &DOT, &LINEAR];

functions! {
    /// The product of two matrices.
    mm(a, b) = MM;
    /// The products of two batches of matrices.
    bmm(a, b) = BMM;
    /// The product of two tensors.
    matmul(a, b) = MATMUL;
    /// The product of a matrix and a vector.
    mv(a, x) = MV;
    /// The inner product of two vectors.
    dot(a, b) = DOT;
    /// `x W^T + b`.
    linear(x, weight, bias) = LINEAR;
}

const PRODUCT: OpDef = OpDef {
    jvp: Jvp::Multilinear,
    batch: Batch::Dims,
    cost: Cost::Heavy,
    ..OpDef::BASE
};

/// The tensor with its last two dimensions swapped.
fn t(x: impl Into<Operand>) -> Result<Tensor> {
    transpose(x, -2i64, -1i64)
}

fn same_dtype(a: &Tensor, b: &Tensor) -> Result<DType> {
    ensure!(
        a.dtype() == b.dtype(),
        runtime,
        "expected m1 and m2 to have the same dtype, but got: {} != {}",
        a.dtype().scalar_type_name(),
        b.dtype().scalar_type_name()
    );
    ensure!(
        a.dtype() != DType::Bool,
        not_implemented,
        "not implemented for 'Bool': convert the matrices to a number type"
    );
    Ok(a.dtype())
}

/// `mm`.
pub static MM: OpDef = OpDef {
    name: "mm",
    doc: "The matrix product of `input` (n, k) and `mat2` (k, m): shape (n, m).",
    sig: &["(input, mat2)"],
    meta: |call| {
        let (a, b) = (call.tensor(0), call.tensor(1));
        for (x, name) in [(a, "self"), (b, "mat2")] {
            ensure!(
                x.ndim() == 2,
                runtime,
                "{name} must be a matrix, but its shape is {}",
                x.shape()
            );
        }
        ensure!(
            a.shape()[1] == b.shape()[0],
            runtime,
            "mat1 and mat2 shapes cannot be multiplied ({}x{} and {}x{})",
            a.shape()[0],
            a.shape()[1],
            b.shape()[0],
            b.shape()[1]
        );
        Ok(spec([a.shape()[0], b.shape()[1]], same_dtype(a, b)?))
    },
    kernel: Kernel::Compute(|cx| {
        let (a, b) = (cx.call.tensor(0), cx.call.tensor(1));
        cx.backend
            .matmul(cx.outs[0].as_view(), a.as_view(), b.as_view(), None, false);
        Ok(())
    }),
    // d(A B) = dA B + A dB:  (n, m)(m, k) -> (n, k),  (k, n)(n, m) -> (k, m)
    grads: &[
        grad(IN(1), |cx| mm(cx.grad(), t(cx.input(1)?)?).map(Some)),
        grad(IN(0), |cx| mm(t(cx.input(0)?)?, cx.grad()).map(Some)),
    ],
    ..PRODUCT
};

/// Two batches of matrices that can be multiplied.
pub(super) fn check_batches(a: &Tensor, b: &Tensor) -> Result<()> {
    for (x, name) in [(a, "batch1"), (b, "batch2")] {
        ensure!(
            x.ndim() == 3,
            runtime,
            "{name} must be a 3D tensor, but its shape is {}",
            x.shape()
        );
    }
    ensure!(
        a.shape()[0] == b.shape()[0] && a.shape()[2] == b.shape()[1],
        runtime,
        "Expected size for first two dimensions of batch2 tensor to be: [{}, {}] but got: [{}, {}]. The \
         shapes are {} and {}",
        a.shape()[0],
        a.shape()[2],
        b.shape()[0],
        b.shape()[1],
        a.shape(),
        b.shape()
    );
    Ok(())
}

/// `bmm`.
pub static BMM: OpDef = OpDef {
    name: "bmm",
    doc: "The matrix products of `input` (b, n, k) and `mat2` (b, k, m): shape (b, n, m).",
    sig: &["(input, mat2)"],
    meta: |call| {
        let (a, b) = (call.tensor(0), call.tensor(1));
        check_batches(a, b)?;
        Ok(spec(
            [a.shape()[0], a.shape()[1], b.shape()[2]],
            same_dtype(a, b)?,
        ))
    },
    kernel: MM.kernel,
    // As for one matrix, in each of the batch.
    grads: &[
        grad(IN(1), |cx| bmm(cx.grad(), t(cx.input(1)?)?).map(Some)),
        grad(IN(0), |cx| bmm(t(cx.input(0)?)?, cx.grad()).map(Some)),
    ],
    ..PRODUCT
};

/// `matmul`.
pub static MATMUL: OpDef = OpDef {
    name: "matmul",
    doc: "The product of two tensors: inner product of vectors, matrix-vector and matrix products, \
          and batches of those, whose leading dimensions broadcast.\n\n\
          >>> rg.matmul(rg.ones(2, 3), rg.ones(3)).shape\nrustgrad.Size([2])",
    sig: &["(input, other)"],
    kernel: Kernel::Composite(|call| {
        let (a, b) = (call.tensor(0), call.tensor(1));
        Ok(smallvec![match (a.ndim(), b.ndim()) {
            (0, _) | (_, 0) => bail!(
                runtime,
                "both arguments to matmul need to be at least 1D, but they are {}D and {}D",
                a.ndim(),
                b.ndim()
            ),
            (1, 1) => dot(a, b)?,
            (2, 2) => mm(a, b)?,
            (2, 1) => mv(a, b)?,
            (1, 2) => {
                ensure!(
                    a.shape()[0] == b.shape()[0],
                    runtime,
                    "mat1 and mat2 shapes cannot be multiplied (1x{} and {}x{})",
                    a.shape()[0],
                    b.shape()[0],
                    b.shape()[1]
                );
                mv(t(b)?, a)?
            }
            // (.., n, k)(k, m): one product of all rows.
            (_, 1 | 2) if b.ndim() == 2 || a.ndim() > 2 => rows_times(a, b)?,
            _ => batched(a, b)?,
        }])
    }),
    ..OpDef::COMPOSITE
};

/// `(.., n, k) (k, m)` or `(.., n, k) (k)` as one matrix product.
fn rows_times(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let lead = a.ndim() - 1;
    let k = a.shape()[lead];
    let rows: usize = a.shape()[..lead].iter().product();
    let matrix = if b.ndim() == 1 {
        unsqueeze(b, 1i64)?
    } else {
        b.clone()
    };
    let flat = reshape(a, &Shape::from([rows, k]))?;
    let out = mm(flat, &matrix)?;
    let mut shape: Shape = a.shape()[..lead].iter().copied().collect();
    if b.ndim() == 2 {
        shape.push(b.shape()[1]);
    }
    reshape(&out, &shape)
}

/// Batches of matrices with broadcast leading dimensions.
fn batched(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let (row, column) = (a.ndim() == 1, b.ndim() == 1);
    let a = if row { unsqueeze(a, 0i64)? } else { a.clone() };
    let b = if column {
        unsqueeze(b, 1i64)?
    } else {
        b.clone()
    };
    let lead = |t: &Tensor| -> Shape { t.shape()[..t.ndim() - 2].iter().copied().collect() };
    let batch = lead(&a).broadcast_or_err(&lead(&b))?;
    let count = batch.numel();
    let flat = |t: &Tensor| -> Result<Tensor> {
        let (n, m) = (t.shape()[t.ndim() - 2], t.shape()[t.ndim() - 1]);
        let mut full = batch.clone();
        full.push(n);
        full.push(m);
        reshape(&expand(t, &full)?, &Shape::from([count, n, m]))
    };
    let out = bmm(flat(&a)?, flat(&b)?)?;
    let mut shape = batch;
    if !row {
        shape.push(out.shape()[1]);
    }
    if !column {
        shape.push(out.shape()[2]);
    }
    reshape(&out, &shape)
}

/// `mv`.
pub static MV: OpDef = OpDef {
    name: "mv",
    doc: "The product of a matrix `input` (n, k) and a vector `vec` (k): shape (n).\n\n\
          >>> rg.mv(rg.tensor([[1, 2], [3, 4]]), rg.tensor([1, 10]))\n\
          tensor([21, 43])",
    sig: &["(input, vec)"],
    meta: |call| {
        let (a, x) = (call.tensor(0), call.tensor(1));
        ensure!(
            a.ndim() == 2 && x.ndim() == 1,
            runtime,
            "vector + matrix @ vector expected, got shapes {} and {}",
            a.shape(),
            x.shape()
        );
        ensure!(
            a.shape()[1] == x.shape()[0],
            runtime,
            "size mismatch, got input ({}), mat ({}x{}), vec ({})",
            a.shape()[0],
            a.shape()[0],
            a.shape()[1],
            x.shape()[0]
        );
        Ok(spec([a.shape()[0]], same_dtype(a, x)?))
    },
    kernel: Kernel::Compute(|cx| {
        let (a, x) = (cx.call.tensor(0), cx.call.tensor(1));
        product(cx, a.layout(), &column(x.layout()));
        Ok(())
    }),
    // d(A x) = dA x + A dx:  (n)(k)^T -> (n, k),  (k, n)(n) -> (k)
    grads: &[
        grad(IN(1), |cx| {
            mul(unsqueeze(cx.grad(), 1i64)?, cx.input(1)?).map(Some)
        }),
        grad(IN(0), |cx| mv(t(cx.input(0)?)?, cx.grad()).map(Some)),
    ],
    ..PRODUCT
};

/// A vector as a matrix of one column.
fn column(x: &Layout) -> Layout {
    Layout {
        shape: Shape::from([x.shape[0], 1]),
        strides: Shape::from([x.strides[0], 0]),
        offset: x.offset,
    }
}

/// A vector as a matrix of one row, whose elements are nearer to each other than to the next row.
fn row(x: &Layout) -> Layout {
    let (n, stride) = (x.shape[0], x.strides[0]);
    Layout {
        shape: Shape::from([1, n]),
        strides: Shape::from([n * stride, stride]),
        offset: x.offset,
    }
}

/// The product of both inputs, seen as matrices.
fn product(cx: &KernelCx, a: &Layout, b: &Layout) {
    let out = Layout::contiguous(Shape::from([a.shape[0], b.shape[1]]));
    let (x, y) = (cx.call.tensor(0).as_view(), cx.call.tensor(1).as_view());
    cx.backend.matmul(
        View {
            layout: &out,
            ..cx.outs[0].as_view()
        },
        View { layout: a, ..x },
        View { layout: b, ..y },
        None,
        false,
    );
}

/// `dot`.
pub static DOT: OpDef = OpDef {
    name: "dot",
    doc: "The inner product of two vectors.",
    sig: &["(input, tensor)"],
    aliases: &["vdot"],
    meta: |call| {
        let (a, b) = (call.tensor(0), call.tensor(1));
        ensure!(
            a.ndim() == 1 && b.ndim() == 1,
            runtime,
            "1D tensors expected, but got {}D and {}D tensors",
            a.ndim(),
            b.ndim()
        );
        ensure!(
            a.numel() == b.numel(),
            runtime,
            "inconsistent tensor size, expected tensor [{}] and src [{}] to have the same number of \
             elements, but got {} and {} elements respectively",
            a.numel(),
            b.numel(),
            a.numel(),
            b.numel()
        );
        Ok(spec(Shape::new(), same_dtype(a, b)?))
    },
    kernel: Kernel::Compute(|cx| {
        let (a, b) = (cx.call.tensor(0), cx.call.tensor(1));
        product(cx, &row(a.layout()), &column(b.layout()));
        Ok(())
    }),
    // d(a . b) = b . da + a . db
    grads: &[
        grad(IN(1), |cx| mul(cx.grad(), cx.input(1)?).map(Some)),
        grad(IN(0), |cx| mul(cx.grad(), cx.input(0)?).map(Some)),
    ],
    ..PRODUCT
};

/// The activation that a call of `linear` names: one whose derivative is computed from its output alone,
/// so that nobody needs what it was applied to. Sums go through `relu` in registers. The others take
/// many times as long as reading a product again, so they run as the ops they are.
fn activation(call: &Call) -> Result<Follower> {
    if call.attrs.is_empty() || call.attrs.is_none(0) {
        return Ok(None);
    }
    let is_float = call.tensor(0).dtype().is_float();
    Ok(Some(match call.attrs.str(0) {
        "relu" => (&RELU, is_float),
        "tanh" => (&TANH, false),
        "sigmoid" => (&SIGMOID, false),
        other => bail!(
            value,
            "activation must be 'relu', 'tanh', 'sigmoid' or None, but got '{other}'; apply others to \
             the result"
        ),
    }))
}

/// `linear`.
pub static LINEAR: OpDef = OpDef {
    name: "linear",
    doc: "`input @ weight.T + bias` for `input` (.., k), `weight` (m, k) and `bias` (m): shape (.., m). \
          `weight` may also be (k), which gives (..). `activation` ('relu', 'tanh' or 'sigmoid') is \
          applied to that, as by the function of its name.",
    sig: &["(input, weight, bias: Tensor? = None, activation: str? = None)"],
    forms: Forms::NN,
    meta: |call| {
        let (x, w) = (call.tensor(0), call.tensor(1));
        ensure!(
            x.ndim() >= 1 && (w.ndim() == 2 || w.ndim() == 1),
            runtime,
            "linear expects an input of at least 1 dimension and a weight of 1 or 2, got shapes {} \
             and {}",
            x.shape(),
            w.shape()
        );
        let k = x.shape()[x.ndim() - 1];
        ensure!(
            k == w.shape()[w.ndim() - 1],
            runtime,
            "mat1 and mat2 shapes cannot be multiplied ({}x{k} and {}x{}): input {} and weight {}",
            x.numel() / k.max(1),
            w.shape()[w.ndim() - 1],
            w.numel() / w.shape()[w.ndim() - 1].max(1),
            x.shape(),
            w.shape()
        );
        let mut shape: Shape = x.shape()[..x.ndim() - 1].iter().copied().collect();
        if w.ndim() == 2 {
            shape.push(w.shape()[0]);
        }
        let mut dtype = same_dtype(x, w)?;
        if let Some(b) = call.tensor_opt(2) {
            same_dtype(x, b)?;
            ensure!(
                b.shape().broadcast(&shape).as_ref() == Some(&shape),
                runtime,
                "the bias of shape {} does not fit an output of shape {shape}",
                b.shape()
            );
        }
        if matches!(activation(call)?, Some((op, _)) if !std::ptr::eq(op, &RELU)) {
            dtype = super::meta::promote(call, Promote::Float)?.1;
        }
        Ok(spec(shape, dtype))
    },
    kernel: Kernel::Fused(affine, activation),
    grads: &[
        // d = g W:  (.., m)(m, k) -> (.., k)
        grad(IN(1), |cx| {
            let w = cx.tensor(1)?;
            if w.ndim() == 1 {
                return mul(unsqueeze(cx.grad(), -1i64)?, w).map(Some);
            }
            matmul(cx.grad(), w).map(Some)
        }),
        // d = g^T x over all rows:  (m, n)(n, k) -> (m, k)
        grad(IN(0), |cx| weight_grad(cx).map(Some)),
        // d = g, summed over all rows by the engine
        grad(NOTHING, |cx| Ok(Some(cx.grad().clone()))),
    ],
    jvp: Jvp::Rule(|cx| {
        let call = cx.call;
        let mut total: Option<Tensor> = None;
        for (i, tangent) in cx.tangents.iter().enumerate() {
            let Some(tangent) = tangent else { continue };
            let part = match i {
                0 => linear(tangent, &call.inputs[1], Operand::None)?,
                1 => linear(&call.inputs[0], tangent, Operand::None)?,
                _ => tangent.clone(),
            };
            total = Some(match total {
                Some(sum) => add(sum, part)?,
                None => part,
            });
        }
        Ok(smallvec![total])
    }),
    batch: Batch::Dims,
    cost: Cost::Heavy,
    ..OpDef::BASE
};

/// `x W^T + b`, and `relu` of it if asked for.
fn affine(cx: &KernelCx) -> Result<()> {
    let (x, w, out) = (cx.call.tensor(0), cx.call.tensor(1), &cx.outs[0]);
    let k = x.shape()[x.ndim() - 1];
    let m = if w.ndim() == 2 { w.shape()[0] } else { 1 };
    let rows: usize = x.shape()[..x.ndim() - 1].iter().product();
    let flat = in_rows(x, [rows, k])?;
    let bias = match cx.call.tensor_opt(2) {
        Some(b) => Some(in_rows(
            &b.alias(b.layout().broadcast_to(out.shape())),
            [rows, m],
        )?),
        None => None,
    };
    let wl = w.layout();
    let wt = Layout {
        shape: Shape::from([k, m]),
        strides: match w.ndim() {
            2 => Shape::from([wl.strides[1], wl.strides[0]]),
            _ => Shape::from([wl.strides[0], 0]),
        },
        offset: wl.offset,
    };
    let target = Layout::contiguous(Shape::from([rows, m]));
    cx.backend.matmul(
        View {
            layout: &target,
            ..out.as_view()
        },
        flat.as_view(),
        View {
            layout: &wt,
            ..w.as_view()
        },
        bias.as_ref().map(Tensor::as_view),
        matches!(activation(cx.call)?, Some((_, true))),
    );
    Ok(())
}

/// A tensor as a matrix of so many rows and columns: its own elements if they lie evenly, else a copy.
fn in_rows(x: &Tensor, sizes: [usize; 2]) -> Result<Tensor> {
    let shape = Shape::from(sizes);
    if *x.shape() == shape {
        return Ok(x.clone());
    }
    Ok(match x.layout().reshape(&shape) {
        Some(layout) => x.alias(layout),
        None => super::clone_data(x)?.alias(Layout::contiguous(shape)),
    })
}

fn weight_grad(cx: &VjpCx) -> Result<Tensor> {
    let (g, x) = (cx.grad(), cx.tensor(0)?);
    let k = x.shape()[x.ndim() - 1];
    let rows = x
        .numel()
        .checked_div(k)
        .unwrap_or_else(|| x.shape()[..x.ndim() - 1].iter().product());
    let x = reshape(&x, &Shape::from([rows, k]))?;
    if cx.shape(1).len() == 1 {
        let g = reshape(g, &Shape::from([1, rows]))?;
        return reshape(&mm(g, x)?, &Shape::from([k]));
    }
    let g = reshape(g, &Shape::from([rows, cx.shape(1)[0]]))?;
    mm(t(g)?, x)
}
