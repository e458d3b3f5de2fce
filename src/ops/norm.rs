//! Normalisation.

use super::def::{Batch, Cost, Forms, IN, Jvp, Kernel, NOTHING, OUT, OpDef, Spec, grad, spec};
use super::dispatch::run1;
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
    &LAYER_NORM_BACKWARD,
    &LAYER_NORM_WEIGHT,
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
            Some(g) => {
                let inputs = [
                    g.into(),
                    cx.input(0)?,
                    cx.output(1)?.into(),
                    cx.output(2)?.into(),
                ];
                run1(&LAYER_NORM_WEIGHT, &inputs, cx.attrs).map(Some)
            }
            None => Ok(None),
        }),
        grad(NOTHING, |cx| Ok(cx.grads[0].clone())),
    ],
    jvp: Jvp::DoubleVjp,
    batch: Batch::Dims,
    cost: Cost::Cheap,
    ..OpDef::BASE
};

/// The vjp of [`LAYER_NORM_FULL`] in its input, with the gradients of its statistics left out.
pub static LAYER_NORM_BACKWARD: OpDef = OpDef {
    name: "native_layer_norm_backward",
    doc: "With n = (input - mean) * rstd and h = grad * weight, the gradient \
          rstd * (h - mean(h) - n * mean(h * n)) of layer normalisation.",
    sig: &["(grad, input, mean, rstd, weight: Tensor?, normalized_shape: int[], eps: float)"],
    forms: Forms::HIDDEN,
    meta: |call| {
        let x = call.tensor(1);
        Ok(spec(x.shape().clone(), x.dtype()))
    },
    kernel: Kernel::Compute(|cx| {
        let [g, x, mean, rstd] = [0, 1, 2, 3].map(|i| cx.call.tensor(i).as_view());
        let weight = cx.call.tensor_opt(4).map(Tensor::as_view);
        let outer = x.layout.ndim() - cx.ints(0).len();
        cx.backend
            .layer_norm_backward(cx.outs[0].as_view(), g, x, mean, rstd, weight, outer);
        Ok(())
    }),
    // The map A from h to the result is its own transpose, so dh = A(u), dg = A(u) w, dw = A(u) g.
    // Means are over the normalised dimensions:
    //   dn = -r (u mean(h n) + h mean(u n)),  dx = dn r,  dm = -sum(dn r)
    //   dr = sum(dn (x - m)) + sum(u (h - mean(h) - n mean(h n)))
    grads: &[
        grad(IN(1) | IN(2) | IN(3) | IN(4), |cx| {
            by_weight(transposed(cx)?, &cx.input(4)?).map(Some)
        }),
        grad(READS, |cx| {
            let p = Parts::of(cx)?;
            mul(p.slope(cx.grad())?, &p.r).map(Some)
        }),
        grad(READS, |cx| {
            let p = Parts::of(cx)?;
            mul(p.summed(mul(p.slope(cx.grad())?, &p.r)?)?, -1.0).map(Some)
        }),
        grad(READS, |cx| {
            let (p, u) = (Parts::of(cx)?, cx.grad());
            let through = mul(p.slope(u)?, &p.distance)?;
            let h = &p.h;
            let rest = sub(sub(h, p.mean(h)?)?, mul(&p.n, p.mean(&mul(h, &p.n)?)?)?)?;
            p.summed(add(through, mul(u, rest)?)?).map(Some)
        }),
        grad(IN(0) | IN(1) | IN(2) | IN(3), |cx| {
            mul(transposed(cx)?, cx.tensor(0)?).map(Some)
        }),
    ],
    jvp: Jvp::DoubleVjp,
    batch: Batch::Dims,
    cost: Cost::Cheap,
    ..OpDef::BASE
};

/// All inputs of [`LAYER_NORM_BACKWARD`].
const READS: u64 = IN(0) | IN(1) | IN(2) | IN(3) | IN(4);

/// `A(u)` of the rules above.
fn transposed(cx: &VjpCx) -> Result<Tensor> {
    let inputs = [
        cx.grad().into(),
        cx.input(1)?,
        cx.input(2)?,
        cx.input(3)?,
        Operand::None,
    ];
    run1(&LAYER_NORM_BACKWARD, &inputs, cx.attrs)
}

/// The quantities of the rules above.
struct Parts {
    dims: Vec<i64>,
    /// `x - m`
    distance: Tensor,
    r: Tensor,
    n: Tensor,
    h: Tensor,
}

impl Parts {
    fn of(cx: &VjpCx) -> Result<Self> {
        let r = widened(cx, &cx.tensor(3)?)?;
        let distance = sub(cx.tensor(1)?, widened(cx, &cx.tensor(2)?)?)?;
        Ok(Self {
            dims: inner_dims(cx),
            n: mul(&distance, &r)?,
            distance,
            r,
            h: by_weight(cx.tensor(0)?, &cx.input(4)?)?,
        })
    }

    fn mean(&self, t: &Tensor) -> Result<Tensor> {
        mean_dims(t, &self.dims, true)
    }

    /// The sum over the normalised dimensions.
    fn summed(&self, t: Tensor) -> Result<Tensor> {
        sum_dims(t, self.dims.as_slice(), false, None::<DType>)
    }

    /// `dn`
    fn slope(&self, u: &Tensor) -> Result<Tensor> {
        let first = mul(u, self.mean(&mul(&self.h, &self.n)?)?)?;
        let second = mul(&self.h, self.mean(&mul(u, &self.n)?)?)?;
        mul(mul(add(first, second)?, &self.r)?, -1.0)
    }
}

/// The vjp of [`LAYER_NORM_FULL`] in its weight.
pub static LAYER_NORM_WEIGHT: OpDef = OpDef {
    name: "native_layer_norm_weight",
    doc: "The sum of grad * (input - mean) * rstd over all but the normalised dimensions: the \
          gradient of layer normalisation in its weight.",
    sig: &["(grad, input, mean, rstd, normalized_shape: int[], eps: float)"],
    forms: Forms::HIDDEN,
    meta: |call| {
        let inner: Shape = super::create::shape_of(call.attrs.ints(0))?;
        Ok(spec(inner, call.tensor(1).dtype()))
    },
    kernel: Kernel::Compute(|cx| {
        let [g, x, mean, rstd] = [0, 1, 2, 3].map(|i| cx.call.tensor(i).as_view());
        let outer = x.layout.ndim() - cx.ints(0).len();
        cx.backend
            .layer_norm_weight(cx.outs[0].as_view(), g, x, mean, rstd, outer);
        Ok(())
    }),
    // dg = u n,  dx = u g r,  dm = -sum(u g r),  dr = sum(u g (x - m)), over the normalised dimensions
    grads: &[
        grad(IN(1) | IN(2) | IN(3), |cx| {
            let distance = sub(cx.tensor(1)?, widened(cx, &cx.tensor(2)?)?)?;
            mul(cx.grad(), mul(distance, widened(cx, &cx.tensor(3)?)?)?).map(Some)
        }),
        grad(IN(0) | IN(3), |cx| weighted_rows(cx).map(Some)),
        grad(IN(0) | IN(3), |cx| {
            let sums = sum_dims(
                weighted_rows(cx)?,
                inner_dims(cx).as_slice(),
                false,
                None::<DType>,
            )?;
            mul(sums, -1.0).map(Some)
        }),
        grad(IN(0) | IN(1) | IN(2), |cx| {
            let distance = sub(cx.tensor(1)?, widened(cx, &cx.tensor(2)?)?)?;
            let terms = mul(mul(cx.grad(), cx.tensor(0)?)?, distance)?;
            sum_dims(terms, inner_dims(cx).as_slice(), false, None::<DType>).map(Some)
        }),
    ],
    jvp: Jvp::DoubleVjp,
    batch: Batch::Dims,
    cost: Cost::Cheap,
    ..OpDef::BASE
};

/// `u g r` of the rules above.
fn weighted_rows(cx: &VjpCx) -> Result<Tensor> {
    mul(mul(cx.grad(), cx.tensor(0)?)?, widened(cx, &cx.tensor(3)?)?)
}

/// The normalised dimensions, from the end.
fn inner_dims(cx: &VjpCx) -> Vec<i64> {
    (1..=cx.attrs.ints(0).len() as i64).map(|d| -d).collect()
}

/// `t * weight`, if there is a weight.
fn by_weight(t: Tensor, weight: &Operand) -> Result<Tensor> {
    match weight {
        Operand::Tensor(w) => mul(t, w),
        _ => Ok(t),
    }
}

/// A statistic with the normalised dimensions put back as size 1.
fn widened(cx: &VjpCx, t: &Tensor) -> Result<Tensor> {
    let inner = cx.attrs.ints(0).len();
    let mut shape = t.shape().clone();
    (0..inner).for_each(|_| shape.push(1));
    reshape(t, &shape)
}

fn input_grad(cx: &VjpCx) -> Result<Tensor> {
    let count: i64 = cx.attrs.ints(0).iter().product();
    let mut total: Option<Tensor> = None;
    let mut collect = |t: Tensor| -> Result<()> {
        total = Some(match total.take() {
            Some(sum) => add(sum, t)?,
            None => t,
        });
        Ok(())
    };
    if let Some(g) = &cx.grads[0] {
        let inputs = [
            g.into(),
            cx.input(0)?,
            cx.output(1)?.into(),
            cx.output(2)?.into(),
            cx.input(1)?,
        ];
        collect(run1(&LAYER_NORM_BACKWARD, &inputs, cx.attrs)?)?;
    }
    if let Some(gm) = &cx.grads[1] {
        let each = mul(widened(cx, gm)?, 1.0 / count as f64)?;
        collect(expand(&each, cx.shape(0))?)?;
    }
    if let Some(gr) = &cx.grads[2] {
        let (m, r) = (widened(cx, &cx.output(1)?)?, widened(cx, &cx.output(2)?)?);
        let n = mul(sub(cx.tensor(0)?, m)?, &r)?;
        let slope = mul(mul(&r, &r)?, -1.0 / count as f64)?;
        collect(mul(mul(widened(cx, gr)?, slope)?, n)?)?;
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
