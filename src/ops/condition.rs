//! Choosing by a condition.

use super::def::{Choice, Forms, IN, Kernel, OpDef, Promote, grad_of_taken};
use crate::backend::Functor;
use crate::base::DType;
use crate::ensure;
use crate::tensor::Operand;

/// This family.
pub(super) static OPS: &[&OpDef] = &[&WHERE, &MASKED_FILL];

functions! {
    /// `x` where `condition` is true, else `y`.
    where_(condition, x, y) = WHERE;
    /// `x` with `value` where `mask` is true.
    masked_fill(x, mask, value) = MASKED_FILL;
}

/// Choosing by a condition.
pub static WHERE: OpDef = OpDef {
    name: "where",
    doc: "`input` where the bool `condition` is true, else `other`, with broadcasting, in the \
          promoted type of `input` and `other`. Gradients flow to the chosen elements only.\n\n\
          >>> rg.where(rg.tensor([True, False]), rg.tensor([1.0, 2.0]), 0.0)\n\
          tensor([1., 0.])",
    sig: &["(condition, input: Tensor|Scalar, other: Tensor|Scalar)"],
    forms: Forms::FUNCTION,
    kernel: Kernel::Choose(|call| {
        let condition = call.inputs[0].dtype();
        ensure!(
            condition == DType::Bool || condition == DType::U8,
            runtime,
            "where expected condition to be a boolean tensor, but got a tensor with dtype {}",
            condition.scalar_type_name()
        );
        Choice::of(call, Functor::Where, Promote::Where)
    }),
    grads: &[
        None,
        grad_of_taken(IN(0), |cx| {
            where_(cx.input(0)?, cx.take_grad(), 0i64).map(Some)
        }),
        grad_of_taken(IN(0), |cx| {
            where_(cx.input(0)?, 0i64, cx.take_grad()).map(Some)
        }),
    ],
    ..OpDef::MAP
};

/// One value where a mask is true.
pub static MASKED_FILL: OpDef = OpDef {
    name: "masked_fill",
    doc: "`input` with `value`, a number or a 0-d tensor, where the bool `mask` is true, with \
          broadcasting, in the type of `input`.\n\n\
          >>> rg.masked_fill(rg.tensor([1.0, 2.0]), rg.tensor([True, False]), -1)\n\
          tensor([-1.,  2.])",
    sig: &["(input, mask, value: Tensor|Scalar)"],
    kernel: Kernel::Choose(|call| {
        let (x, mask) = (call.tensor(0).dtype(), call.tensor(1).dtype());
        ensure!(
            mask == DType::Bool,
            runtime,
            "masked_fill_ only supports boolean masks, but got mask with dtype {mask}"
        );
        let value = &call.inputs[2];
        match value {
            Operand::Tensor(v) => ensure!(
                v.ndim() == 0,
                runtime,
                "masked_fill only supports a 0-dimensional value tensor, but got tensor with {} \
                 dimension(s).",
                v.ndim()
            ),
            Operand::Scalar(v) if x.is_float() => {
                let v = v.as_f64();
                ensure!(
                    !v.is_finite() || v.abs() <= x.greatest(),
                    runtime,
                    "value cannot be converted to type {x} without overflow: {v}"
                );
            }
            _ => {}
        }
        // In integers a number loses its fraction; a bool asks whether it is zero.
        let compute = match x {
            DType::Bool if value.dtype().is_float() => DType::F64,
            _ => x.compute(),
        };
        Ok(Choice {
            f: Functor::MaskedFill,
            params: smallvec::SmallVec::new(),
            compute,
            dtype: x,
            numbers: None,
        })
    }),
    grads: &[
        grad_of_taken(IN(1), |cx| {
            masked_fill(cx.take_grad(), cx.input(1)?, 0i64).map(Some)
        }),
        None,
        grad_of_taken(IN(1), |cx| {
            where_(cx.input(1)?, cx.take_grad(), 0i64).map(Some)
        }),
    ],
    forms: Forms::ALL,
    ..OpDef::MAP
};
