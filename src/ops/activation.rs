//! The activations of neural networks, elementwise, and their fused backward steps.
//!
//! A backward step is linear in its cotangent `g`, so its own gradient to `g` is the step itself;
//! its gradient to the input is `g` times the second derivative, which stands above it.

use super::def::{
    Call, Choice, Forms, IN, Kernel, NOTHING, OUT, OpDef, Promote, grad, grad_of_taken,
};
use super::{
    abs, add, clamp_max, div_or_zero, exp, gt, le, mul, mul_cotangents, mul_or_zero, neg, square,
    sub, where_,
};
use crate::backend::Functor;
use crate::base::{DType, Result, Scalar};
use crate::tape::VjpCx;
use crate::tensor::{Operand, Tensor};
use crate::{bail, ensure};
use std::f64::consts::{FRAC_2_SQRT_PI, PI, SQRT_2};

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &TANH,
    &TANH_BACKWARD,
    &SIGMOID,
    &SIGMOID_BACKWARD,
    &LOGSIGMOID,
    &SOFTPLUS,
    &SOFTPLUS_BACKWARD,
    &RELU,
    &THRESHOLD,
    &THRESHOLD_BACKWARD,
    &LEAKY_RELU,
    &LEAKY_RELU_BACKWARD,
    &PRELU,
    &PRELU_BACKWARD,
    &HARDSHRINK,
    &SOFTSHRINK,
    &SHRINK_BACKWARD,
    &RELU6,
    &HARDTANH,
    &HARDSIGMOID,
    &HARDTANH_BACKWARD,
    &HARDSWISH,
    &HARDSWISH_BACKWARD,
    &ELU,
    &SELU,
    &CELU,
    &ELU_BACKWARD,
    &GELU,
    &GELU_BACKWARD,
    &SILU,
    &SILU_BACKWARD,
    &MISH,
    &MISH_BACKWARD,
    &SOFTSIGN,
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
    /// `ln(sigmoid(x))`.
    logsigmoid(x) = LOGSIGMOID;
    /// `ln(1 + e^(beta x)) / beta`.
    softplus(x; beta, threshold) = SOFTPLUS;
    /// `g sigmoid(beta x)`.
    softplus_backward(g, x; beta, threshold) = SOFTPLUS_BACKWARD;
    /// `max(x, 0)`.
    relu(x) = RELU;
    /// `g` where `x > threshold`.
    threshold_backward(g, x; threshold) = THRESHOLD_BACKWARD;
    /// `g` where `x > 0`, else `slope g`.
    leaky_relu_backward(g, x; slope) = LEAKY_RELU_BACKWARD;
    /// `g` where `x > 0`, else `slope g`, with a slope for each element.
    prelu_backward(g, x, slope) = PRELU_BACKWARD;
    /// `g` where `|x| > lambda`, else 0.
    shrink_backward(g, x; lambda) = SHRINK_BACKWARD;
    /// `slope g` strictly between two bounds.
    hardtanh_backward(g, x; low, high, slope) = HARDTANH_BACKWARD;
    /// The backward step of `x hardsigmoid(x)`.
    hardswish_backward(g, x) = HARDSWISH_BACKWARD;
    /// The backward step of the exponential linear units.
    elu_backward(g, x; alpha, scale, input_scale) = ELU_BACKWARD;
    /// `x Phi(x)`, or its approximation by tanh.
    gelu(x; approximate) = GELU;
    /// The backward step of [`gelu`].
    gelu_backward(g, x; approximate) = GELU_BACKWARD;
    /// `x sigmoid(x)`.
    silu(x) = SILU;
    /// `g (s + x s (1 - s))`.
    silu_backward(g, x) = SILU_BACKWARD;
    /// `g (t + x s (1 - t^2))`.
    mish_backward(g, x) = MISH_BACKWARD;
}

const NN: OpDef = OpDef {
    sig: &["(input)"],
    forms: Forms {
        nn: true,
        ..Forms::HIDDEN
    },
    ..OpDef::MAP
};
const EVERYWHERE: OpDef = OpDef {
    sig: &["(input)"],
    forms: Forms {
        nn: true,
        ..Forms::ALL
    },
    ..OpDef::MAP
};
const HIDDEN: OpDef = OpDef {
    sig: &["(grad, input)"],
    forms: Forms::HIDDEN,
    ..OpDef::MAP
};

/// A functor of floats only.
const fn floating(f: Functor) -> Kernel {
    Kernel::Map {
        f,
        promote: Promote::Floating,
    }
}

/// The gradient of a backward step to its input: `g`, the cotangent of the step, times the step's
/// own cotangent, times the second derivative.
fn second(cx: &VjpCx, slope: impl FnOnce(Operand) -> Result<Tensor>) -> Result<Option<Tensor>> {
    let g = mul_cotangents(cx.grad(), cx.input(0)?)?;
    mul_or_zero(g, slope(cx.input(1)?)?).map(Some)
}

/// Hyperbolic tangent.
pub static TANH: OpDef = OpDef {
    name: "tanh",
    doc: "Hyperbolic tangent, elementwise; integers become floats.\n\n\
          >>> rg.tanh(rg.tensor([0.0, 1.0]))\n\
          tensor([0.0000, 0.7616])",
    kernel: Kernel::Map {
        f: Functor::Tanh,
        promote: Promote::Float,
    },
    // d tanh(x) = (1 - tanh(x)^2) dx
    grads: &[grad_of_taken(OUT(0), |cx| {
        tanh_backward(cx.take_grad(), cx.output(0)?).map(Some)
    })],
    ..EVERYWHERE
};

/// The backward step of [`TANH`].
pub static TANH_BACKWARD: OpDef = OpDef {
    name: "tanh_backward",
    doc: "`grad * (1 - output**2)`.",
    sig: &["(grad, output)"],
    kernel: floating(Functor::TanhBackward),
    // d(g (1 - y^2)) = (1 - y^2) dg - 2 g y dy
    grads: &[
        grad_of_taken(IN(1), |cx| {
            tanh_backward(cx.take_grad(), cx.input(1)?).map(Some)
        }),
        grad(IN(0) | IN(1), |cx| second(cx, |y| mul(y, -2i64))),
    ],
    ..HIDDEN
};

/// The logistic function.
pub static SIGMOID: OpDef = OpDef {
    name: "sigmoid",
    doc: "`1 / (1 + exp(-input))` without overflow, elementwise; integers become floats.\n\n\
          >>> rg.sigmoid(rg.tensor([0.0, 2.0]))\n\
          tensor([0.5000, 0.8808])",
    kernel: Kernel::Map {
        f: Functor::Sigmoid,
        promote: Promote::Float,
    },
    // d s(x) = s(x) (1 - s(x)) dx
    grads: &[grad_of_taken(OUT(0), |cx| {
        sigmoid_backward(cx.take_grad(), cx.output(0)?).map(Some)
    })],
    ..EVERYWHERE
};

/// The backward step of [`SIGMOID`].
pub static SIGMOID_BACKWARD: OpDef = OpDef {
    name: "sigmoid_backward",
    doc: "`grad * output * (1 - output)`.",
    sig: &["(grad, output)"],
    kernel: floating(Functor::SigmoidBackward),
    // d(g y (1 - y)) = y (1 - y) dg + g (1 - 2 y) dy
    grads: &[
        grad_of_taken(IN(1), |cx| {
            sigmoid_backward(cx.take_grad(), cx.input(1)?).map(Some)
        }),
        grad(IN(0) | IN(1), |cx| second(cx, |y| sub(1i64, mul(y, 2i64)?))),
    ],
    ..HIDDEN
};

/// `ln(sigmoid(x))`.
pub static LOGSIGMOID: OpDef = OpDef {
    name: "logsigmoid",
    doc: "`log(sigmoid(input))` without overflow. Floats only.\n\n\
          >>> rg.nn.functional.logsigmoid(rg.tensor([0.0, -1000.0]))\n\
          tensor([-6.9315e-01, -1.0000e+03])",
    kernel: floating(Functor::LogSigmoid),
    // d(-softplus(-x)) = sigmoid(-x) dx
    grads: &[grad_of_taken(IN(0), |cx| {
        softplus_backward(cx.take_grad(), neg(cx.input(0)?)?, 1.0, f64::INFINITY).map(Some)
    })],
    ..NN
};

/// A smooth rectifier.
pub static SOFTPLUS: OpDef = OpDef {
    name: "softplus",
    doc: "`log(1 + exp(beta * input)) / beta`; `input` itself where `beta * input > threshold`. \
          Floats only.\n\n\
          >>> rg.nn.functional.softplus(rg.tensor([0.0, 1.0]))\n\
          tensor([0.6931, 1.3133])",
    sig: &["(input, beta: Scalar = 1, threshold: Scalar = 20)"],
    kernel: floating(Functor::Softplus),
    // d = sigmoid(beta x) dx
    grads: &[grad_of_taken(IN(0), |cx| {
        let (beta, threshold) = (cx.attrs.scalar(0), cx.attrs.scalar(1));
        softplus_backward(cx.take_grad(), cx.input(0)?, beta, threshold).map(Some)
    })],
    ..NN
};

/// The backward step of [`SOFTPLUS`].
pub static SOFTPLUS_BACKWARD: OpDef = OpDef {
    name: "softplus_backward",
    doc: "`grad * sigmoid(beta * input)`; `grad` where `beta * input > threshold`.",
    sig: &["(grad, input, beta: Scalar, threshold: Scalar)"],
    kernel: floating(Functor::SoftplusBackward),
    grads: &[
        grad_of_taken(IN(1), |cx| {
            let (beta, threshold) = (cx.attrs.scalar(0), cx.attrs.scalar(1));
            softplus_backward(cx.take_grad(), cx.input(1)?, beta, threshold).map(Some)
        }),
        // d sigmoid(beta x) = beta s (1 - s) dx; 0 beyond the threshold
        grad(IN(0) | IN(1), |cx| {
            let (beta, threshold) = (cx.attrs.scalar(0), cx.attrs.scalar(1));
            second(cx, |x| {
                let z = mul(x, beta)?;
                let s = sigmoid(&z)?;
                let bend = mul(mul(&s, sub(1i64, &s)?)?, beta)?;
                where_(gt(z, threshold)?, 0i64, bend)
            })
        }),
    ],
    ..HIDDEN
};

/// Rectified linear unit.
pub static RELU: OpDef = OpDef {
    name: "relu",
    doc: "`max(input, 0)`, elementwise, in the input's type. Its gradient at 0 is 0.\n\n\
          >>> rg.relu(rg.tensor([-1.0, 0.0, 2.0]))\n\
          tensor([0., 0., 2.])",
    kernel: Kernel::Choose(|call| {
        ensure!(
            call.inputs[0].dtype() != DType::Bool,
            runtime,
            "Boolean inputs not supported for relu"
        );
        Choice::of(call, Functor::Relu, Promote::Arith)
    }),
    // The output is positive just where the input is, so a write in place loses nothing.
    grads: &[grad_of_taken(OUT(0), |cx| {
        threshold_backward(cx.take_grad(), cx.output(0)?, 0i64).map(Some)
    })],
    ..EVERYWHERE
};

/// A value below a threshold.
pub static THRESHOLD: OpDef = OpDef {
    name: "threshold",
    doc: "`input` where it is above `threshold`, else `value`, in the input's type. The gradient at \
          the threshold is 0.\n\n\
          >>> rg.threshold(rg.tensor([0.5, 2.0]), 1, -5)\n\
          tensor([-5.,  2.])",
    sig: &["(input, threshold: Scalar, value: Scalar)"],
    kernel: Kernel::Map {
        f: Functor::Threshold,
        promote: Promote::Number,
    },
    grads: &[grad_of_taken(IN(0), |cx| {
        threshold_backward(cx.take_grad(), cx.input(0)?, cx.attrs.scalar(0)).map(Some)
    })],
    ..EVERYWHERE
};

/// The backward step of [`RELU`] and [`THRESHOLD`].
pub static THRESHOLD_BACKWARD: OpDef = OpDef {
    name: "threshold_backward",
    doc: "`grad` where `input` is above `threshold`, else 0.",
    sig: &["(grad, input, threshold: Scalar)"],
    kernel: floating(Functor::ThresholdBackward),
    grads: &[
        grad_of_taken(IN(1), |cx| {
            threshold_backward(cx.take_grad(), cx.input(1)?, cx.attrs.scalar(0)).map(Some)
        }),
        grad(NOTHING, |_| Ok(None)),
    ],
    ..HIDDEN
};

/// Leaky rectifier.
pub static LEAKY_RELU: OpDef = OpDef {
    name: "leaky_relu",
    doc: "`input` where it is positive, else `negative_slope * input`. Floats only. The gradient at \
          0 is `negative_slope`.\n\n\
          >>> rg.nn.functional.leaky_relu(rg.tensor([-1.0, 2.0]), 0.5)\n\
          tensor([-0.5000,  2.0000])",
    sig: &["(input, negative_slope: Scalar = 0.01)"],
    kernel: floating(Functor::LeakyRelu),
    grads: &[grad_of_taken(IN(0), |cx| {
        leaky_relu_backward(cx.take_grad(), cx.input(0)?, cx.attrs.scalar(0)).map(Some)
    })],
    ..NN
};

/// The backward step of [`LEAKY_RELU`].
pub static LEAKY_RELU_BACKWARD: OpDef = OpDef {
    name: "leaky_relu_backward",
    doc: "`grad` where `input` is positive, else `negative_slope * grad`.",
    sig: &["(grad, input, negative_slope: Scalar)"],
    kernel: floating(Functor::LeakyReluBackward),
    grads: &[
        grad_of_taken(IN(1), |cx| {
            leaky_relu_backward(cx.take_grad(), cx.input(1)?, cx.attrs.scalar(0)).map(Some)
        }),
        grad(NOTHING, |_| Ok(None)),
    ],
    ..HIDDEN
};

/// Leaky rectifier with slopes that are learned.
pub static PRELU: OpDef = OpDef {
    name: "prelu",
    doc: "`input` where it is positive, else `weight * input`, with broadcasting. Floats only. The \
          gradient at 0 is `weight`.",
    sig: &["(input, weight)"],
    kernel: floating(Functor::Prelu),
    // dy = dx where x > 0, else w dx + x dw
    grads: &[
        grad_of_taken(IN(0) | IN(1), |cx| {
            prelu_backward(cx.take_grad(), cx.input(0)?, cx.input(1)?).map(Some)
        }),
        grad_of_taken(IN(0), |cx| {
            mul(cx.take_grad(), clamp_max(cx.input(0)?, 0i64)?).map(Some)
        }),
    ],
    ..NN
};

/// The backward step of [`PRELU`] to its input.
pub static PRELU_BACKWARD: OpDef = OpDef {
    name: "prelu_backward",
    doc: "`grad` where `input` is positive, else `weight * grad`.",
    sig: &["(grad, input, weight)"],
    kernel: floating(Functor::PreluBackward),
    grads: &[
        grad_of_taken(IN(1) | IN(2), |cx| {
            prelu_backward(cx.take_grad(), cx.input(1)?, cx.input(2)?).map(Some)
        }),
        grad(NOTHING, |_| Ok(None)),
        grad_of_taken(IN(0) | IN(1), |cx| {
            let slope = where_(gt(cx.input(1)?, 0i64)?, 0i64, cx.input(0)?)?;
            mul(cx.take_grad(), slope).map(Some)
        }),
    ],
    ..HIDDEN
};

/// What is far from 0.
pub static HARDSHRINK: OpDef = OpDef {
    name: "hardshrink",
    doc: "0 where `abs(input) <= lambd`, else `input`. Floats only. The gradient at the bounds is 0.",
    sig: &["(input, lambd: Scalar = 0.5)"],
    kernel: floating(Functor::Hardshrink),
    grads: &[grad_of_taken(IN(0), |cx| {
        shrink_backward(cx.take_grad(), cx.input(0)?, cx.attrs.scalar(0)).map(Some)
    })],
    ..NN
};

/// How far off an interval.
pub static SOFTSHRINK: OpDef = OpDef {
    name: "softshrink",
    doc: "`input` moved towards 0 by `lambd`, and 0 within that distance. Floats only. The gradient \
          at the bounds is 0.",
    kernel: floating(Functor::Softshrink),
    ..HARDSHRINK
};

/// The backward step of [`HARDSHRINK`] and [`SOFTSHRINK`].
pub static SHRINK_BACKWARD: OpDef = OpDef {
    name: "hardshrink_backward",
    doc: "`grad` where `abs(input) > lambd`, else 0.",
    sig: &["(grad, input, lambd: Scalar)"],
    kernel: floating(Functor::ShrinkBackward),
    grads: &[
        grad_of_taken(IN(1), |cx| {
            shrink_backward(cx.take_grad(), cx.input(1)?, cx.attrs.scalar(0)).map(Some)
        }),
        grad(NOTHING, |_| Ok(None)),
    ],
    ..HIDDEN
};

/// A functor of two bounds.
fn bounded(call: &Call, low: Scalar, high: Scalar) -> Result<Choice> {
    ensure!(
        call.inputs[0].dtype() != DType::Bool,
        runtime,
        "Bool inputs not supported for hardtanh"
    );
    Choice::with(call, Functor::Clamp, Promote::Arith, &[low, high])
}

/// `input` between 0 and 6.
pub static RELU6: OpDef = OpDef {
    name: "relu6",
    doc: "`min(max(input, 0), 6)`, in the input's type. Its gradient at 0 and 6 is 0.\n\n\
          >>> rg.nn.functional.relu6(rg.tensor([-1.0, 3.0, 8.0]))\n\
          tensor([0., 3., 6.])",
    kernel: Kernel::Choose(|call| bounded(call, Scalar::Int(0), Scalar::Int(6))),
    grads: &[grad_of_taken(IN(0), |cx| {
        hardtanh_backward(cx.take_grad(), cx.input(0)?, 0i64, 6i64, 1i64).map(Some)
    })],
    ..NN
};

/// `input` between two bounds.
pub static HARDTANH: OpDef = OpDef {
    name: "hardtanh",
    doc: "`min(max(input, min_val), max_val)`, in the input's type. Its gradient at the bounds is \
          0.\n\n\
          >>> rg.nn.functional.hardtanh(rg.tensor([-2.0, 0.5, 2.0]))\n\
          tensor([-1.0000,  0.5000,  1.0000])",
    sig: &["(input, min_val: Scalar = -1, max_val: Scalar = 1)"],
    kernel: Kernel::Choose(|call| {
        let (low, high) = (call.attrs.scalar(0), call.attrs.scalar(1));
        ensure!(
            low.as_f64() <= high.as_f64(),
            value,
            "min_val cannot be greater than max_val, but got {} and {}",
            low.as_f64(),
            high.as_f64()
        );
        ensure!(
            call.inputs[0].dtype() != DType::U8 || low.as_f64() >= 0.0,
            runtime,
            "cannot do hardtanh on an unsigned type with negative limits"
        );
        bounded(call, low, high)
    }),
    grads: &[grad_of_taken(IN(0), |cx| {
        let (low, high) = (cx.attrs.scalar(0), cx.attrs.scalar(1));
        hardtanh_backward(cx.take_grad(), cx.input(0)?, low, high, 1i64).map(Some)
    })],
    ..NN
};

/// A piecewise linear sigmoid.
pub static HARDSIGMOID: OpDef = OpDef {
    name: "hardsigmoid",
    doc: "`min(max(input / 6 + 1 / 2, 0), 1)`. Floats only. Its gradient at -3 and 3 is 0.\n\n\
          >>> rg.nn.functional.hardsigmoid(rg.tensor([-5.0, 0.0, 1.5]))\n\
          tensor([0.0000, 0.5000, 0.7500])",
    kernel: floating(Functor::Hardsigmoid),
    grads: &[grad_of_taken(IN(0), |cx| {
        hardtanh_backward(cx.take_grad(), cx.input(0)?, -3i64, 3i64, 1.0 / 6.0).map(Some)
    })],
    ..NN
};

/// The backward step of [`RELU6`], [`HARDTANH`] and [`HARDSIGMOID`].
pub static HARDTANH_BACKWARD: OpDef = OpDef {
    name: "hardtanh_backward",
    doc: "`slope * grad` where `input` is strictly between the bounds, else 0.",
    sig: &["(grad, input, min_val: Scalar, max_val: Scalar, slope: Scalar)"],
    kernel: floating(Functor::HardtanhBackward),
    grads: &[
        grad_of_taken(IN(1), |cx| {
            let (low, high) = (cx.attrs.scalar(0), cx.attrs.scalar(1));
            hardtanh_backward(cx.take_grad(), cx.input(1)?, low, high, cx.attrs.scalar(2)).map(Some)
        }),
        grad(NOTHING, |_| Ok(None)),
    ],
    ..HIDDEN
};

/// `x hardsigmoid(x)`.
pub static HARDSWISH: OpDef = OpDef {
    name: "hardswish",
    doc: "`input * min(max(input + 3, 0), 6) / 6`. Floats only.\n\n\
          >>> rg.nn.functional.hardswish(rg.tensor([-1.0, 1.0, 4.0]))\n\
          tensor([-0.3333,  0.6667,  4.0000])",
    kernel: floating(Functor::Hardswish),
    // d = (x / 3 + 1 / 2) dx between -3 and 3, 0 up to -3, dx from 3 on
    grads: &[grad_of_taken(IN(0), |cx| {
        hardswish_backward(cx.take_grad(), cx.input(0)?).map(Some)
    })],
    ..NN
};

/// The backward step of [`HARDSWISH`].
pub static HARDSWISH_BACKWARD: OpDef = OpDef {
    name: "hardswish_backward",
    doc: "`grad * (input / 3 + 1 / 2)` between -3 and 3, 0 below, `grad` above.",
    kernel: floating(Functor::HardswishBackward),
    grads: &[
        grad_of_taken(IN(1), |cx| {
            hardswish_backward(cx.take_grad(), cx.input(1)?).map(Some)
        }),
        // 1 / 3 between -3 and 3
        grad(IN(0) | IN(1), |cx| {
            let g = mul_cotangents(cx.grad(), cx.input(0)?)?;
            hardtanh_backward(g, cx.input(1)?, -3i64, 3i64, 1.0 / 3.0).map(Some)
        }),
    ],
    ..HIDDEN
};

/// The parameters `alpha`, `scale` and `input_scale` of a member of the family, from its arguments.
type Elu = fn(&crate::base::Attrs) -> [f64; 3];

const ELU_OF: Elu = |attrs| [attrs.float(0), 1.0, 1.0];
const CELU_OF: Elu = |attrs| [attrs.float(0), 1.0, 1.0 / attrs.float(0)];
// Klambauer et al., "Self-normalizing neural networks" (2017).
const SELU_OF: Elu = |_| [1.673_263_242_354_377_3, 1.050_700_987_355_480_5, 1.0];

fn elu_choice(call: &Call, of: Elu) -> Result<Choice> {
    let params = of(call.attrs).map(Scalar::Float);
    Choice::with(call, Functor::Elu, Promote::Floating, &params)
}

// d = scale dx where x > 0, else scale alpha k e^(k x) dx
fn elu_grad(cx: &VjpCx, of: Elu) -> Result<Option<Tensor>> {
    let [alpha, scale, k] = of(cx.attrs);
    elu_backward(cx.grad(), cx.input(0)?, alpha, scale, k).map(Some)
}

/// Exponential linear unit.
pub static ELU: OpDef = OpDef {
    name: "elu",
    doc: "`input` where it is positive, else `alpha * (exp(input) - 1)`. Floats only.\n\n\
          >>> rg.nn.functional.elu(rg.tensor([-1.0, 2.0]))\n\
          tensor([-0.6321,  2.0000])",
    sig: &["(input, alpha: Scalar = 1.0)"],
    kernel: Kernel::Choose(|call| elu_choice(call, ELU_OF)),
    grads: &[grad(IN(0), |cx| elu_grad(cx, ELU_OF))],
    ..NN
};

/// Scaled exponential linear unit.
pub static SELU: OpDef = OpDef {
    name: "selu",
    doc: "`scale * elu(input, alpha)` with the two constants, of Klambauer et al., \"Self-normalizing \
          neural networks\" (2017), that keep mean 0 and variance 1. Floats only.\n\n\
          >>> rg.selu(rg.tensor([-1.0, 2.0]))\n\
          tensor([-1.1113,  2.1014])",
    kernel: Kernel::Choose(|call| elu_choice(call, SELU_OF)),
    grads: &[grad(IN(0), |cx| elu_grad(cx, SELU_OF))],
    ..EVERYWHERE
};

/// Continuously differentiable exponential linear unit.
pub static CELU: OpDef = OpDef {
    name: "celu",
    doc: "`input` where it is positive, else `alpha * (exp(input / alpha) - 1)`. Floats only.\n\n\
          >>> rg.celu(rg.tensor([-1.0, 2.0]), 0.5)\n\
          tensor([-0.4323,  2.0000])",
    sig: &["(input, alpha: Scalar = 1.0)"],
    kernel: Kernel::Choose(|call| {
        ensure!(
            call.attrs.float(0) != 0.0,
            runtime,
            "ZeroDivisionError: alpha cannot be 0 for CELU"
        );
        elu_choice(call, CELU_OF)
    }),
    grads: &[grad(IN(0), |cx| elu_grad(cx, CELU_OF))],
    ..EVERYWHERE
};

/// The backward step of [`ELU`], [`SELU`] and [`CELU`].
pub static ELU_BACKWARD: OpDef = OpDef {
    name: "elu_backward",
    doc: "`scale * grad` where `input` is positive, else `grad` times `scale * alpha * input_scale \
          * exp(input_scale * input)`.",
    sig: &["(grad, input, alpha: Scalar, scale: Scalar, input_scale: Scalar)"],
    kernel: floating(Functor::EluBackward),
    grads: &[
        grad_of_taken(IN(1), |cx| {
            let [alpha, scale, k] = [0, 1, 2].map(|i| cx.attrs.scalar(i));
            elu_backward(cx.take_grad(), cx.input(1)?, alpha, scale, k).map(Some)
        }),
        // scale alpha k^2 e^(k x) where x <= 0
        grad(IN(0) | IN(1), |cx| {
            let [alpha, scale, k] = [0, 1, 2].map(|i| cx.attrs.float(i));
            let x = cx.input(1)?;
            let g = mul_cotangents(cx.grad(), cx.input(0)?)?;
            let g = where_(le(&x, 0i64)?, mul(g, k)?, 0i64)?;
            elu_backward(g, x, alpha, scale, k).map(Some)
        }),
    ],
    ..HIDDEN
};

/// Whether an argument asks for the approximation by tanh.
fn by_tanh(word: &str) -> Result<bool> {
    match word {
        "none" => Ok(false),
        "tanh" => Ok(true),
        other => bail!(
            runtime,
            "approximate argument must be either none or tanh, but got {other:?}"
        ),
    }
}

/// Gaussian error linear unit.
pub static GELU: OpDef = OpDef {
    name: "gelu",
    doc: "`input * Phi(input)` with the normal distribution's `Phi`; with `approximate='tanh'`, \
          `input / 2 * (1 + tanh(sqrt(2 / pi) * (input + 0.044715 * input**3)))`. Floats only.\n\n\
          >>> rg.nn.functional.gelu(rg.tensor([-1.0, 2.0]))\n\
          tensor([-0.1587,  1.9545])",
    sig: &["(input, *, approximate: str = 'none')"],
    kernel: Kernel::Choose(|call| {
        let f = if by_tanh(call.attrs.str(0))? {
            Functor::GeluTanh
        } else {
            Functor::Gelu
        };
        Choice::with(call, f, Promote::Floating, &[])
    }),
    // d(x Phi(x)) = (Phi(x) + x phi(x)) dx
    grads: &[grad_of_taken(IN(0), |cx| {
        gelu_backward(cx.take_grad(), cx.input(0)?, cx.attrs.str(0)).map(Some)
    })],
    ..NN
};

/// The backward step of [`GELU`].
pub static GELU_BACKWARD: OpDef = OpDef {
    name: "gelu_backward",
    doc: "`grad * (Phi(input) + input * phi(input))`, or the derivative of the approximation.",
    sig: &["(grad, input, *, approximate: str)"],
    kernel: Kernel::Choose(|call| {
        let f = if by_tanh(call.attrs.str(0))? {
            Functor::GeluTanhBackward
        } else {
            Functor::GeluBackward
        };
        Choice::with(call, f, Promote::Floating, &[])
    }),
    grads: &[
        grad_of_taken(IN(1), |cx| {
            gelu_backward(cx.take_grad(), cx.input(1)?, cx.attrs.str(0)).map(Some)
        }),
        grad(IN(0) | IN(1), |cx| {
            let tanh = by_tanh(cx.attrs.str(0))?;
            second(cx, if tanh { bend_tanh } else { bend_erf })
        }),
    ],
    ..HIDDEN
};

// d^2 (x Phi(x)) = (2 - x^2) phi(x) dx^2
fn bend_erf(x: Operand) -> Result<Tensor> {
    let x2 = square(x)?;
    let density = exp(mul(&x2, -0.5)?)?;
    let phi = mul(density, FRAC_2_SQRT_PI / SQRT_2 / 2.0)?;
    mul_or_zero(phi, sub(2i64, x2)?)
}

// With u = k (x + c x^3) and t = tanh(u):
// d^2 (x (1 + t) / 2) = (1 - t^2) (u' + x u'' / 2 - x t u'^2) dx^2
fn bend_tanh(x: Operand) -> Result<Tensor> {
    let (k, c) = ((2.0 / PI).sqrt(), 0.044_715);
    let x2 = square(&x)?;
    let u = mul(mul(&x, add(mul(&x2, c)?, 1.0)?)?, k)?;
    let du = mul(add(mul(&x2, 3.0 * c)?, 1.0)?, k)?;
    let t = tanh(u)?;
    // x u'' / 2 = 3 k c x^2
    let bend = sub(
        add(&du, mul(x2, 3.0 * k * c)?)?,
        mul(mul(x, &t)?, square(&du)?)?,
    )?;
    // Where tanh has saturated, 1 - t^2 is 0 and the rest may be infinite.
    mul_or_zero(sub(1i64, square(t)?)?, bend)
}

/// `x sigmoid(x)`.
pub static SILU: OpDef = OpDef {
    name: "silu",
    doc: "`input * sigmoid(input)`. Floats only.\n\n\
          >>> rg.nn.functional.silu(rg.tensor([-1.0, 2.0]))\n\
          tensor([-0.2689,  1.7616])",
    kernel: floating(Functor::Silu),
    // d(x s) = (s + x s (1 - s)) dx
    grads: &[grad_of_taken(IN(0), |cx| {
        silu_backward(cx.take_grad(), cx.input(0)?).map(Some)
    })],
    ..NN
};

/// The backward step of [`SILU`].
pub static SILU_BACKWARD: OpDef = OpDef {
    name: "silu_backward",
    doc: "`grad * (s + input * s * (1 - s))` with `s = sigmoid(input)`.",
    kernel: floating(Functor::SiluBackward),
    grads: &[
        grad_of_taken(IN(1), |cx| {
            silu_backward(cx.take_grad(), cx.input(1)?).map(Some)
        }),
        // d(s + x s (1 - s)) = s (1 - s) (2 + x (1 - 2 s)) dx
        grad(IN(0) | IN(1), |cx| {
            second(cx, |x| {
                let s = sigmoid(&x)?;
                let bend = add(mul(x, sub(1i64, mul(&s, 2i64)?)?)?, 2i64)?;
                mul_or_zero(mul(&s, sub(1i64, &s)?)?, bend)
            })
        }),
    ],
    ..HIDDEN
};

/// `x tanh(softplus(x))`.
pub static MISH: OpDef = OpDef {
    name: "mish",
    doc: "`input * tanh(softplus(input))`. Floats only.\n\n\
          >>> rg.nn.functional.mish(rg.tensor([-1.0, 2.0]))\n\
          tensor([-0.3034,  1.9440])",
    kernel: floating(Functor::Mish),
    // With t = tanh(softplus(x)) and s = sigmoid(x): d = (t + x s (1 - t^2)) dx
    grads: &[grad_of_taken(IN(0), |cx| {
        mish_backward(cx.take_grad(), cx.input(0)?).map(Some)
    })],
    ..NN
};

/// The backward step of [`MISH`].
pub static MISH_BACKWARD: OpDef = OpDef {
    name: "mish_backward",
    doc: "`grad * (t + input * s * (1 - t**2))` with `s = sigmoid(input)` and `t = \
          tanh(softplus(input))`.",
    kernel: floating(Functor::MishBackward),
    grads: &[
        grad_of_taken(IN(1), |cx| {
            mish_backward(cx.take_grad(), cx.input(1)?).map(Some)
        }),
        // t' = s (1 - t^2); d(t + x t') = t' (2 + x (1 - s - 2 t s)) dx
        grad(IN(0) | IN(1), |cx| {
            second(cx, |x| {
                let s = sigmoid(&x)?;
                let t = tanh(softplus(&x, 1.0, f64::INFINITY)?)?;
                let dt = mul(&s, sub(1i64, square(&t)?)?)?;
                let fall = mul(&s, add(mul(t, 2i64)?, 1i64)?)?;
                mul_or_zero(dt, add(mul(x, sub(1i64, fall)?)?, 2i64)?)
            })
        }),
    ],
    ..HIDDEN
};

/// `x / (1 + |x|)`.
pub static SOFTSIGN: OpDef = OpDef {
    name: "softsign",
    doc: "`input / (1 + abs(input))`; integers become floats.\n\n\
          >>> rg.nn.functional.softsign(rg.tensor([-1.0, 3.0]))\n\
          tensor([-0.5000,  0.7500])",
    kernel: Kernel::Map {
        f: Functor::Softsign,
        promote: Promote::Float,
    },
    // d = dx / (1 + |x|)^2
    grads: &[grad(IN(0), |cx| {
        div_or_zero(cx.grad(), square(add(abs(cx.input(0)?)?, 1i64)?)?).map(Some)
    })],
    ..NN
};
