//! Matrix products.

use super::def::{Batch, Cost, IN, Jvp, Kernel, OpDef, grad, spec};
use super::transpose;
use crate::ensure;

/// This family.
pub(super) static OPS: &[&OpDef] = &[&MM];

functions! {
    /// The product of two matrices.
    mm(a, b) = MM;
}

/// `mm`.
pub static MM: OpDef = OpDef {
    name: "mm",
    doc: "The matrix product of `input` (n, k) and `mat2` (k, m): shape (n, m).",
    sig: &["(input, mat2)"],
    meta: |call| {
        let (a, b) = (call.tensor(0), call.tensor(1));
        ensure!(
            a.ndim() == 2 && b.ndim() == 2,
            runtime,
            "expected two matrices, got shapes {} and {}",
            a.shape(),
            b.shape()
        );
        ensure!(
            a.shape()[1] == b.shape()[0],
            runtime,
            "mat1 and mat2 shapes cannot be multiplied ({}x{} and {}x{})",
            a.shape()[0],
            a.shape()[1],
            b.shape()[0],
            b.shape()[1]
        );
        ensure!(
            a.dtype() == b.dtype(),
            runtime,
            "expected m1 and m2 to have the same dtype, but got: {} != {}",
            a.dtype(),
            b.dtype()
        );
        Ok(spec([a.shape()[0], b.shape()[1]], a.dtype()))
    },
    kernel: Kernel::Compute(|cx| {
        cx.backend.matmul(
            cx.outs[0].as_view(),
            cx.call.tensor(0).as_view(),
            cx.call.tensor(1).as_view(),
        );
        Ok(())
    }),
    // d(A B) = dA B + A dB:  (n, m)(m, k) -> (n, k),  (k, n)(n, m) -> (k, m)
    grads: &[
        grad(IN(1), |cx| {
            mm(cx.grad(), transpose(cx.input(1)?, 0i64, 1i64)?).map(Some)
        }),
        grad(IN(0), |cx| {
            mm(transpose(cx.input(0)?, 0i64, 1i64)?, cx.grad()).map(Some)
        }),
    ],
    jvp: Jvp::Multilinear,
    batch: Batch::Dims,
    cost: Cost::Heavy,
    ..OpDef::BASE
};
