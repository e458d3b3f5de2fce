//! The activations of neural networks, elementwise, and their fused backward steps.

use super::def::{Forms, IN, Kernel, NOTHING, OUT, OpDef, Promote, grad};
use super::{
    abs, add, clamp_max, div, exp, ge, gt, le, logical_and, lt, mul, neg, square, sub, where_,
};
use crate::backend::Functor;

use crate::{bail, ensure};
use smallvec::smallvec;
use std::f64::consts::PI;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &TANH,
    &TANH_BACKWARD,
    &SIGMOID,
    &SIGMOID_BACKWARD,
    &RELU,
    &THRESHOLD,
    &THRESHOLD_BACKWARD,
    &RELU6,
    &HARDTANH,
    &HARDTANH_EXACT,
    &LEAKY_RELU,
    &ELU,
    &SELU,
    &CELU,
    &SCALED_ELU,
    &GELU,
    &GELU_ERF,
    &GELU_BACKWARD,
    &GELU_TANH,
    &GELU_TANH_BACKWARD,
    &SILU,
    &SILU_BACKWARD,
    &MISH,
    &SOFTPLUS,
    &SOFTSIGN,
    &HARDSIGMOID,
    &HARDSWISH,
    &LOGSIGMOID,
];

functions! {
    /// Hyperbolic tangent.
    tanh(x) = TANH;
    /// `g (1 - y^2)`.
    tanh_backward(g, y) = TANH_BACKWARD;
    /// `1 / (1 + e^-x)`.
    sigmoid(x) = SIGMOID;
    /// `g y (1 - y)`.
    sigmoid_backward(g, y) = SIGMOID_BACKWARD;
    /// `max(x, 0)`.
    relu(x) = RELU;
    /// `g` where `x > threshold`.
    threshold_backward(g, x; threshold) = THRESHOLD_BACKWARD;
    /// `x` between two bounds; the gradient is 0 at the bounds.
    hardtanh(x; low, high) = HARDTANH_EXACT;
    /// Exponential linear unit.
    scaled_elu(x; alpha, scale, input_scale) = SCALED_ELU;
    /// `x Phi(x)`.
    gelu(x) = GELU_ERF;
    /// `g (Phi(x) + x phi(x))`.
    gelu_backward(g, x) = GELU_BACKWARD;
    /// The tanh approximation of gelu.
    gelu_tanh(x) = GELU_TANH;
    /// Its backward step.
    gelu_tanh_backward(g, x) = GELU_TANH_BACKWARD;
    /// `x sigmoid(x)`.
    silu(x) = SILU;
    /// `g (s + x s (1 - s))`.
    silu_backward(g, x) = SILU_BACKWARD;
    /// `ln(1 + e^(beta x)) / beta`.
    softplus(x; beta, threshold) = SOFTPLUS;
    /// `ln(sigmoid(x))`.
    logsigmoid(x) = LOGSIGMOID;
}

const NN: Forms = Forms {
    nn: true,
    ..Forms::HIDDEN
};
const EVERYWHERE: Forms = Forms {
    nn: true,
    ..Forms::ALL
};
const HIDDEN: OpDef = OpDef {
    forms: Forms::HIDDEN,
    ..OpDef::MAP
};

/// Hyperbolic tangent.
pub static TANH: OpDef = OpDef {
    name: "tanh",
    doc: "Hyperbolic tangent, elementwise.",
    sig: &["(input)"],
    kernel: Kernel::Map {
        f: Functor::Tanh,
        promote: Promote::Float,
    },
    // d tanh(x) = (1 - tanh(x)^2) dx
    grads: &[grad(OUT(0), |cx| {
        tanh_backward(cx.grad(), cx.output(0)?).map(Some)
    })],
    ..OpDef::MAP
};

/// The backward step of [`TANH`].
pub static TANH_BACKWARD: OpDef = OpDef {
    name: "tanh_backward",
    doc: "`grad * (1 - output**2)`.",
    sig: &["(grad, output)"],
    kernel: Kernel::Map {
        f: Functor::TanhBackward,
        promote: Promote::Arith,
    },
    // d(g (1 - y^2)) = (1 - y^2) dg - 2 g y dy
    grads: &[
        grad(IN(1), |cx| tanh_backward(cx.grad(), cx.input(1)?).map(Some)),
        grad(IN(0) | IN(1), |cx| {
            mul(cx.grad(), mul(mul(cx.input(0)?, cx.input(1)?)?, -2i64)?).map(Some)
        }),
    ],
    ..HIDDEN
};

/// The logistic function.
pub static SIGMOID: OpDef = OpDef {
    name: "sigmoid",
    doc: "`1 / (1 + exp(-input))`, elementwise.",
    sig: &["(input)"],
    kernel: Kernel::Map {
        f: Functor::Sigmoid,
        promote: Promote::Float,
    },
    // d s(x) = s(x) (1 - s(x)) dx
    grads: &[grad(OUT(0), |cx| {
        sigmoid_backward(cx.grad(), cx.output(0)?).map(Some)
    })],
    aliases: &["expit"],
    ..OpDef::MAP
};

/// The backward step of [`SIGMOID`].
pub static SIGMOID_BACKWARD: OpDef = OpDef {
    name: "sigmoid_backward",
    doc: "`grad * output * (1 - output)`.",
    sig: &["(grad, output)"],
    kernel: Kernel::Map {
        f: Functor::SigmoidBackward,
        promote: Promote::Arith,
    },
    // d(g y (1 - y)) = y (1 - y) dg + g (1 - 2 y) dy
    grads: &[
        grad(IN(1), |cx| {
            sigmoid_backward(cx.grad(), cx.input(1)?).map(Some)
        }),
        grad(IN(0) | IN(1), |cx| {
            let slope = sub(1i64, mul(cx.input(1)?, 2i64)?)?;
            mul(cx.grad(), mul(cx.input(0)?, slope)?).map(Some)
        }),
    ],
    ..HIDDEN
};

/// Rectified linear unit.
pub static RELU: OpDef = OpDef {
    name: "relu",
    doc: "`max(input, 0)`, elementwise. Its gradient at 0 is 0.",
    sig: &["(input)"],
    forms: EVERYWHERE,
    kernel: Kernel::Map {
        f: Functor::Relu,
        promote: Promote::Arith,
    },
    // The output is positive just where the input is, so a write in place loses nothing.
    grads: &[grad(OUT(0), |cx| {
        threshold_backward(cx.grad(), cx.output(0)?, 0i64).map(Some)
    })],
    ..OpDef::MAP
};

/// A value below a threshold.
pub static THRESHOLD: OpDef = OpDef {
    name: "threshold",
    doc: "`input` where it is above `threshold`, else `value`.",
    sig: &["(input, threshold: Scalar, value: Scalar)"],
    forms: EVERYWHERE,
    kernel: Kernel::Map {
        f: Functor::Threshold,
        promote: Promote::Arith,
    },
    grads: &[grad(IN(0), |cx| {
        threshold_backward(cx.grad(), cx.input(0)?, cx.attrs.scalar(0)).map(Some)
    })],
    ..OpDef::MAP
};

/// The backward step of [`RELU`] and [`THRESHOLD`].
pub static THRESHOLD_BACKWARD: OpDef = OpDef {
    name: "threshold_backward",
    doc: "`grad` where `input` is above `threshold`, else 0.",
    sig: &["(grad, input, threshold: Scalar)"],
    kernel: Kernel::Map {
        f: Functor::ThresholdBackward,
        promote: Promote::Arith,
    },
    grads: &[
        grad(IN(1), |cx| {
            threshold_backward(cx.grad(), cx.input(1)?, cx.attrs.scalar(0)).map(Some)
        }),
        grad(NOTHING, |_| Ok(None)),
    ],
    ..HIDDEN
};

/// `input` between 0 and 6.
pub static RELU6: OpDef = OpDef {
    name: "relu6",
    doc: "`min(max(input, 0), 6)`. Its gradient at 0 and 6 is 0.",
    sig: &["(input)"],
    forms: NN,
    kernel: Kernel::Composite(|call| Ok(smallvec![hardtanh(call.tensor(0), 0i64, 6i64)?])),
    ..OpDef::COMPOSITE
};

/// `input` between two bounds.
pub static HARDTANH: OpDef = OpDef {
    name: "hardtanh",
    doc: "`min(max(input, min_val), max_val)`. Its gradient at the bounds is 0.",
    sig: &["(input, min_val: Scalar = -1, max_val: Scalar = 1)"],
    forms: NN,
    kernel: Kernel::Composite(|call| {
        let (low, high) = (call.attrs.scalar(0), call.attrs.scalar(1));
        ensure!(
            low.as_f64() <= high.as_f64(),
            value,
            "min_val must not be greater than max_val, but got {} and {}",
            low.as_f64(),
            high.as_f64()
        );
        Ok(smallvec![hardtanh(call.tensor(0), low, high)?])
    }),
    ..OpDef::COMPOSITE
};

/// The kernel of [`HARDTANH`].
pub static HARDTANH_EXACT: OpDef = OpDef {
    name: "hardtanh_exact",
    doc: "`min(max(input, min_val), max_val)`.",
    sig: &["(input, min_val: Scalar, max_val: Scalar)"],
    kernel: Kernel::Map {
        f: Functor::Clamp,
        promote: Promote::Arith,
    },
    // Strictly inside.
    grads: &[grad(IN(0), |cx| {
        let x = cx.input(0)?;
        let inside = logical_and(gt(&x, cx.attrs.scalar(0))?, lt(&x, cx.attrs.scalar(1))?)?;
        where_(inside, cx.grad(), 0i64).map(Some)
    })],
    ..HIDDEN
};

/// Leaky rectifier.
pub static LEAKY_RELU: OpDef = OpDef {
    name: "leaky_relu",
    doc: "`input` where it is positive, else `negative_slope * input`.",
    sig: &["(input, negative_slope: Scalar = 0.01)"],
    forms: NN,
    kernel: Kernel::Map {
        f: Functor::LeakyRelu,
        promote: Promote::Float,
    },
    grads: &[grad(IN(0), |cx| {
        let g = cx.grad();
        where_(gt(cx.input(0)?, 0i64)?, g, mul(g, cx.attrs.scalar(0))?).map(Some)
    })],
    ..OpDef::MAP
};

/// Exponential linear unit.
pub static ELU: OpDef = OpDef {
    name: "elu",
    doc: "`input` where it is positive, else `alpha * (exp(input) - 1)`.",
    sig: &["(input, alpha: float = 1.0)"],
    forms: NN,
    kernel: Kernel::Composite(|call| {
        Ok(smallvec![scaled_elu(
            call.tensor(0),
            call.attrs.float(0),
            1.0,
            1.0
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// Scaled exponential linear unit.
pub static SELU: OpDef = OpDef {
    name: "selu",
    doc: "`scale * elu(input, alpha)` with the constants of Klambauer et al., \"Self-normalizing \
          neural networks\" (2017), that keep mean 0 and variance 1.",
    sig: &["(input)"],
    forms: EVERYWHERE,
    kernel: Kernel::Composite(|call| {
        let (alpha, scale) = (1.673_263_242_354_377_3, 1.050_700_987_355_480_5);
        Ok(smallvec![scaled_elu(call.tensor(0), alpha, scale, 1.0)?])
    }),
    ..OpDef::COMPOSITE
};

/// Continuously differentiable exponential linear unit.
pub static CELU: OpDef = OpDef {
    name: "celu",
    doc: "`input` where it is positive, else `alpha * (exp(input / alpha) - 1)`.",
    sig: &["(input, alpha: float = 1.0)"],
    forms: EVERYWHERE,
    kernel: Kernel::Composite(|call| {
        let alpha = call.attrs.float(0);
        ensure!(
            alpha != 0.0,
            runtime,
            "ZeroDivisionError: alpha cannot be 0 for CELU"
        );
        Ok(smallvec![scaled_elu(
            call.tensor(0),
            alpha,
            1.0,
            1.0 / alpha
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// The kernel of [`ELU`], [`SELU`] and [`CELU`].
pub static SCALED_ELU: OpDef = OpDef {
    name: "scaled_elu",
    doc: "`scale * input` where it is positive, else `scale * alpha * (exp(input * input_scale) - 1)`.",
    sig: &["(input, alpha: float, scale: float, input_scale: float)"],
    kernel: Kernel::Map {
        f: Functor::Elu,
        promote: Promote::Float,
    },
    grads: &[grad(IN(0), |cx| {
        let (alpha, scale, k) = (cx.attrs.float(0), cx.attrs.float(1), cx.attrs.float(2));
        let x = cx.input(0)?;
        let g = cx.grad();
        // The exponent is clamped, so that the branch not taken stays finite.
        let below = mul(exp(mul(clamp_max(&x, 0.0)?, k)?)?, scale * alpha * k)?;
        where_(gt(x, 0i64)?, mul(g, scale)?, mul(g, below)?).map(Some)
    })],
    ..HIDDEN
};

/// Gaussian error linear unit.
pub static GELU: OpDef = OpDef {
    name: "gelu",
    doc: "`input * Phi(input)` with the normal distribution's `Phi`; with `approximate='tanh'`, \
          `0.5 * input * (1 + tanh(sqrt(2 / pi) * (input + 0.044715 * input**3)))`.",
    sig: &["(input, *, approximate: str = 'none')"],
    forms: NN,
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        Ok(smallvec![match call.attrs.str(0) {
            "none" => gelu(x)?,
            "tanh" => gelu_tanh(x)?,
            other => bail!(
                runtime,
                "approximate argument must be either none or tanh, not {other}"
            ),
        }])
    }),
    ..OpDef::COMPOSITE
};

/// `x Phi(x)`.
pub static GELU_ERF: OpDef = OpDef {
    name: "gelu_erf",
    doc: "`input * Phi(input)`.",
    sig: &["(input)"],
    kernel: Kernel::Map {
        f: Functor::Gelu,
        promote: Promote::Float,
    },
    // d(x Phi(x)) = (Phi(x) + x phi(x)) dx
    grads: &[grad(IN(0), |cx| {
        gelu_backward(cx.grad(), cx.input(0)?).map(Some)
    })],
    ..HIDDEN
};

/// The backward step of [`GELU_ERF`].
pub static GELU_BACKWARD: OpDef = OpDef {
    name: "gelu_backward",
    doc: "`grad * (Phi(input) + input * phi(input))`.",
    sig: &["(grad, input)"],
    kernel: Kernel::Map {
        f: Functor::GeluBackward,
        promote: Promote::Arith,
    },
    grads: &[
        grad(IN(1), |cx| gelu_backward(cx.grad(), cx.input(1)?).map(Some)),
        // d(Phi(x) + x phi(x)) = (2 - x^2) phi(x) dx
        grad(IN(0) | IN(1), |cx| {
            let x2 = square(cx.input(1)?)?;
            let phi = mul(exp(mul(&x2, -0.5)?)?, 1.0 / (2.0 * PI).sqrt())?;
            let slope = mul(sub(2i64, x2)?, phi)?;
            mul(cx.grad(), mul(cx.input(0)?, slope)?).map(Some)
        }),
    ],
    ..HIDDEN
};

/// The tanh approximation.
pub static GELU_TANH: OpDef = OpDef {
    name: "gelu_tanh",
    doc: "`0.5 * input * (1 + tanh(sqrt(2 / pi) * (input + 0.044715 * input**3)))`.",
    sig: &["(input)"],
    kernel: Kernel::Map {
        f: Functor::GeluTanh,
        promote: Promote::Float,
    },
    grads: &[grad(IN(0), |cx| {
        gelu_tanh_backward(cx.grad(), cx.input(0)?).map(Some)
    })],
    ..HIDDEN
};

/// The backward step of [`GELU_TANH`].
pub static GELU_TANH_BACKWARD: OpDef = OpDef {
    name: "gelu_tanh_backward",
    doc: "The gradient of the tanh approximation of gelu.",
    sig: &["(grad, input)"],
    kernel: Kernel::Map {
        f: Functor::GeluTanhBackward,
        promote: Promote::Arith,
    },
    grads: &[
        grad(IN(1), |cx| {
            gelu_tanh_backward(cx.grad(), cx.input(1)?).map(Some)
        }),
        // With u = k (x + c x^3) and t = tanh(u), the second derivative of x (1 + t) / 2 is
        // (1 - t^2) (u' + x u'' / 2 - x t u'^2)
        grad(IN(0) | IN(1), |cx| {
            let (k, c) = ((2.0 / PI).sqrt(), 0.044_715);
            let x = cx.input(1)?;
            let x2 = square(&x)?;
            let u = mul(mul(&x, add(mul(&x2, c)?, 1.0)?)?, k)?;
            let du = mul(add(mul(&x2, 3.0 * c)?, 1.0)?, k)?;
            let t = tanh(u)?;
            // x u'' / 2 = 3 k c x^2
            let bend = sub(
                add(&du, mul(x2, 3.0 * k * c)?)?,
                mul(mul(x, &t)?, square(&du)?)?,
            )?;
            let slope = tanh_backward(bend, t)?;
            mul(cx.grad(), mul(cx.input(0)?, slope)?).map(Some)
        }),
    ],
    ..HIDDEN
};

/// `x sigmoid(x)`.
pub static SILU: OpDef = OpDef {
    name: "silu",
    doc: "`input * sigmoid(input)`.",
    sig: &["(input)"],
    forms: NN,
    kernel: Kernel::Map {
        f: Functor::Silu,
        promote: Promote::Float,
    },
    // d(x s) = (s + x s (1 - s)) dx
    grads: &[grad(IN(0), |cx| {
        silu_backward(cx.grad(), cx.input(0)?).map(Some)
    })],
    ..OpDef::MAP
};

/// The backward step of [`SILU`].
pub static SILU_BACKWARD: OpDef = OpDef {
    name: "silu_backward",
    doc: "`grad * (s + input * s * (1 - s))` with `s = sigmoid(input)`.",
    sig: &["(grad, input)"],
    kernel: Kernel::Map {
        f: Functor::SiluBackward,
        promote: Promote::Arith,
    },
    grads: &[
        grad(IN(1), |cx| silu_backward(cx.grad(), cx.input(1)?).map(Some)),
        // d(s + x s (1 - s)) = s (1 - s) (2 + x (1 - 2 s)) dx
        grad(IN(0) | IN(1), |cx| {
            let x = cx.input(1)?;
            let s = sigmoid(&x)?;
            let bend = add(mul(x, sub(1i64, mul(&s, 2i64)?)?)?, 2i64)?;
            mul(cx.grad(), mul(cx.input(0)?, sigmoid_backward(bend, s)?)?).map(Some)
        }),
    ],
    ..HIDDEN
};

/// `x tanh(softplus(x))`.
pub static MISH: OpDef = OpDef {
    name: "mish",
    doc: "`input * tanh(softplus(input))`.",
    sig: &["(input)"],
    forms: NN,
    kernel: Kernel::Map {
        f: Functor::Mish,
        promote: Promote::Float,
    },
    // With t = tanh(softplus(x)): d = (t + x s(x) (1 - t^2)) dx
    grads: &[grad(IN(0), |cx| {
        let x = cx.input(0)?;
        let t = tanh(softplus(&x, 1.0, 20.0)?)?;
        let slope = add(&t, tanh_backward(mul(&x, sigmoid(&x)?)?, &t)?)?;
        mul(cx.grad(), slope).map(Some)
    })],
    ..OpDef::MAP
};

/// A smooth rectifier.
pub static SOFTPLUS: OpDef = OpDef {
    name: "softplus",
    doc: "`log(1 + exp(beta * input)) / beta`; `input` itself where `beta * input > threshold`.",
    sig: &["(input, beta: float = 1.0, threshold: float = 20.0)"],
    forms: NN,
    kernel: Kernel::Map {
        f: Functor::Softplus,
        promote: Promote::Float,
    },
    // d = sigmoid(beta x) dx
    grads: &[grad(IN(0), |cx| {
        let z = mul(cx.input(0)?, cx.attrs.float(0))?;
        let g = cx.grad();
        where_(gt(&z, cx.attrs.float(1))?, g, mul(g, sigmoid(z)?)?).map(Some)
    })],
    ..OpDef::MAP
};

/// `x / (1 + |x|)`.
pub static SOFTSIGN: OpDef = OpDef {
    name: "softsign",
    doc: "`input / (1 + abs(input))`.",
    sig: &["(input)"],
    forms: NN,
    kernel: Kernel::Map {
        f: Functor::Softsign,
        promote: Promote::Float,
    },
    // d = dx / (1 + |x|)^2
    grads: &[grad(IN(0), |cx| {
        div(cx.grad(), square(add(abs(cx.input(0)?)?, 1i64)?)?).map(Some)
    })],
    ..OpDef::MAP
};

/// A piecewise linear sigmoid.
pub static HARDSIGMOID: OpDef = OpDef {
    name: "hardsigmoid",
    doc: "`min(max(input / 6 + 0.5, 0), 1)`. Its gradient at -3 and 3 is 0.",
    sig: &["(input)"],
    forms: NN,
    kernel: Kernel::Map {
        f: Functor::Hardsigmoid,
        promote: Promote::Float,
    },
    grads: &[grad(IN(0), |cx| {
        let x = cx.input(0)?;
        let inside = logical_and(gt(&x, -3i64)?, lt(&x, 3i64)?)?;
        where_(inside, mul(cx.grad(), 1.0 / 6.0)?, 0i64).map(Some)
    })],
    ..OpDef::MAP
};

/// `x hardsigmoid(x)`.
pub static HARDSWISH: OpDef = OpDef {
    name: "hardswish",
    doc: "`input * min(max(input + 3, 0), 6) / 6`.",
    sig: &["(input)"],
    forms: NN,
    kernel: Kernel::Map {
        f: Functor::Hardswish,
        promote: Promote::Float,
    },
    // d = (x / 3 + 1/2) dx between -3 and 3
    grads: &[grad(IN(0), |cx| {
        let x = cx.input(0)?;
        let g = cx.grad();
        let middle = mul(g, add(mul(&x, 1.0 / 3.0)?, 0.5)?)?;
        let upper = where_(ge(&x, 3i64)?, g, middle)?;
        where_(le(x, -3i64)?, 0i64, upper).map(Some)
    })],
    ..OpDef::MAP
};

/// `ln(sigmoid(x))`.
pub static LOGSIGMOID: OpDef = OpDef {
    name: "logsigmoid",
    doc: "`log(sigmoid(input))` without overflow.",
    sig: &["(input)"],
    forms: NN,
    kernel: Kernel::Map {
        f: Functor::LogSigmoid,
        promote: Promote::Float,
    },
    // d = sigmoid(-x) dx
    grads: &[grad(IN(0), |cx| {
        mul(cx.grad(), sigmoid(neg(cx.input(0)?)?)?).map(Some)
    })],
    ..OpDef::MAP
};
