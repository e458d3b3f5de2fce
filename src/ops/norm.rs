//! Normalisation.

use super::def::{Batch, Cost, Forms, IN, Jvp, Kernel, NOTHING, OUT, OpDef, Spec, grad};
use super::meta::{broadcast, result_type};
use super::{add, cast, clamp_min, div, expand, mean_dims, mul, norm, reshape, sub, sum_dims};
use crate::base::shape::wrap_dim;
use crate::base::{DType, Result, Shape};
use crate::ensure;
use crate::tape::VjpCx;
use crate::tensor::{Operand, Tensor};
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &LAYER_NORM,
    &LAYER_NORM_FULL,
    &COSINE_SIMILARITY,
    &NORMALIZE,
];

/// Layer normalisation.
pub static LAYER_NORM: OpDef = OpDef {
    name: "layer_norm",
    doc: "`(input - mean) / sqrt(var + eps) * weight + bias`, with mean and variance over the last \
          dimensions, whose sizes are `normalized_shape` (Ba et al., \"Layer normalization\", 2016).",
    sig: &[
        "(input, normalized_shape: int[], weight: Tensor? = None, bias: Tensor? = None, eps: float = 1e-05)",
    ],
    forms: Forms {
        function: true,
        ..Forms::NN
    },
    kernel: Kernel::Composite(|call| {
        let mut outs = super::dispatch::run(&LAYER_NORM_FULL, call.inputs, call.attrs)?;
        Ok(smallvec![outs.swap_remove(0)])
    }),
    ..OpDef::COMPOSITE
};

/// [`LAYER_NORM`] with its statistics: the mean and `1 / sqrt(var + eps)`, of the outer shape.
pub static LAYER_NORM_FULL: OpDef = OpDef {
    name: "native_layer_norm",
    doc: "Layer normalisation with its statistics, mean and 1 / sqrt(var + eps), as further outputs.",
    sig: &[
        "(input, normalized_shape: int[], weight: Tensor? = None, bias: Tensor? = None, eps: float = 1e-05)",
    ],
    forms: Forms::HIDDEN,
    meta: |call| {
        let x = call.tensor(0);
        let inner: Shape = super::create::shape_of(call.attrs.ints(0))?;
        ensure!(
            !inner.is_empty(),
            runtime,
            "Expected normalized_shape to be at least 1-dimensional, i.e., containing at least one \
             element, but got normalized_shape = []"
        );
        ensure!(
            x.ndim() >= inner.len() && x.shape()[x.ndim() - inner.len()..] == *inner,
            runtime,
            "Given normalized_shape={inner}, expected input with shape ending in {inner}, but got input \
             of size {}",
            x.shape()
        );
        ensure!(
            x.dtype().is_float(),
            not_implemented,
            "\"LayerNormKernelImpl\" not implemented for '{}'",
            x.dtype().scalar_type_name()
        );
        for t in call.tensors().skip(1) {
            ensure!(
                *t.shape() == inner && t.dtype() == x.dtype(),
                runtime,
                "Expected weight and bias to have the shape of normalized_shape and the input's dtype, \
                 but got {} {} and normalized_shape = {inner}",
                t.dtype(),
                t.shape()
            );
        }
        let outer: Shape = x.shape()[..x.ndim() - inner.len()]
            .iter()
            .copied()
            .collect();
        // Statistics of half types are kept in single precision.
        let wide = if x.dtype() == DType::F64 {
            DType::F64
        } else {
            DType::F32
        };
        Ok(smallvec![
            Spec {
                shape: x.shape().clone(),
                dtype: x.dtype()
            },
            Spec {
                shape: outer.clone(),
                dtype: wide
            },
            Spec {
                shape: outer,
                dtype: wide
            },
        ])
    },
    kernel: Kernel::Compute(|cx| {
        let x = cx.call.tensor(0);
        cx.backend.layer_norm(
            cx.outs[0].as_view(),
            cx.outs[1].as_view(),
            cx.outs[2].as_view(),
            x.as_view(),
            cx.call.tensor_opt(1).map(Tensor::as_view),
            cx.call.tensor_opt(2).map(Tensor::as_view),
            x.ndim() - cx.ints(0).len(),
            cx.float(1),
        );
        Ok(())
    }),
    // With the normalised n = (x - m) r and h = g w:
    //   dx = r (h - mean(h) - n mean(h n)) + gm / N - gr r^2 n / N
    //   dw = sum(g n),  db = sum(g)
    grads: &[
        grad(IN(0) | IN(1) | OUT(1) | OUT(2), |cx| {
            input_grad(cx).map(Some)
        }),
        grad(IN(0) | OUT(1) | OUT(2), |cx| match &cx.grads[0] {
            Some(g) => mul(g, normalized(cx)?).map(Some),
            None => Ok(None),
        }),
        grad(NOTHING, |cx| Ok(cx.grads[0].clone())),
    ],
    jvp: Jvp::DoubleVjp,
    batch: Batch::Dims,
    cost: Cost::Cheap,
    ..OpDef::BASE
};

/// A statistic with the normalised dimensions put back as size 1.
fn widened(cx: &VjpCx, t: &Tensor) -> Result<Tensor> {
    let inner = cx.attrs.ints(0).len();
    let mut shape = t.shape().clone();
    (0..inner).for_each(|_| shape.push(1));
    reshape(t, &shape)
}

fn normalized(cx: &VjpCx) -> Result<Tensor> {
    let (m, r) = (widened(cx, &cx.output(1)?)?, widened(cx, &cx.output(2)?)?);
    mul(sub(cx.tensor(0)?, m)?, r)
}

fn input_grad(cx: &VjpCx) -> Result<Tensor> {
    let inner = cx.attrs.ints(0).len() as i64;
    let dims: Vec<i64> = (1..=inner).map(|d| -d).collect();
    let count: i64 = cx.attrs.ints(0).iter().product();
    let n = normalized(cx)?;
    let r = widened(cx, &cx.output(2)?)?;
    let mut total: Option<Tensor> = None;
    let mut collect = |t: Tensor| -> Result<()> {
        total = Some(match total.take() {
            Some(sum) => add(sum, t)?,
            None => t,
        });
        Ok(())
    };
    if let Some(g) = &cx.grads[0] {
        let h = match cx.input(1)? {
            Operand::Tensor(w) => mul(g, w)?,
            _ => g.clone(),
        };
        let centre = mean_dims(&h, &dims, true)?;
        let tilt = mul(&n, mean_dims(mul(&h, &n)?, &dims, true)?)?;
        collect(mul(&r, sub(sub(h, centre)?, tilt)?)?)?;
    }
    if let Some(gm) = &cx.grads[1] {
        collect(expand(
            &mul(widened(cx, gm)?, 1.0 / count as f64)?,
            cx.shape(0),
        )?)?;
    }
    if let Some(gr) = &cx.grads[2] {
        let slope = mul(mul(&r, &r)?, -1.0 / count as f64)?;
        collect(mul(mul(widened(cx, gr)?, slope)?, &n)?)?;
    }
    total.map_or_else(
        || Tensor::zeros(cx.shape(0).clone(), cx.dtype(0), cx.meta(0).device),
        Ok,
    )
}

/// Cosine similarity.
pub static COSINE_SIMILARITY: OpDef = OpDef {
    name: "cosine_similarity",
    doc: "The inner product along `dim` over the product of the norms, each at least `eps`.",
    sig: &["(x1, x2, dim: int = 1, eps: float = 1e-08)"],
    forms: Forms {
        function: true,
        ..Forms::NN
    },
    kernel: Kernel::Composite(|call| {
        let dtype = result_type(call.inputs);
        ensure!(
            dtype.is_float(),
            runtime,
            "expected common dtype to be floating point, yet common dtype is {}",
            dtype.scalar_type_name()
        );
        let shape = broadcast(call.inputs)?;
        let both = |i| expand(&cast(call.tensor(i), dtype)?, &shape);
        let (x, y) = (both(0)?, both(1)?);
        let (dim, eps) = (
            wrap_dim(call.attrs.int(0), x.ndim())? as i64,
            call.attrs.float(1),
        );
        let unit =
            |t: &Tensor| -> Result<Tensor> { div(t, clamp_min(norm(t, 2.0, &[dim], true)?, eps)?) };
        Ok(smallvec![sum_dims(
            mul(unit(&x)?, unit(&y)?)?,
            dim,
            false,
            None::<DType>
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// Division by the norm.
pub static NORMALIZE: OpDef = OpDef {
    name: "normalize",
    doc: "`input` over its `p`-norm along `dim`, which is at least `eps`.",
    sig: &["(input, p: float = 2.0, dim: int[] = (1), eps: float = 1e-12)"],
    forms: Forms::NN,
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let length = norm(x, call.attrs.float(0), call.attrs.ints(1), true)?;
        Ok(smallvec![div(x, clamp_min(length, call.attrs.float(2))?)?])
    }),
    ..OpDef::COMPOSITE
};
