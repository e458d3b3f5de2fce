//! Shapes and types of results, before any work is done.

use super::def::{Call, Choice, Kernel, Promote, Spec, Specs};
use crate::base::{DType, Result, Shape, dtype::Category, dtype::default_dtype};
use crate::tensor::Operand;
use crate::{bail, ensure};
use smallvec::smallvec;

/// The type the inputs promote to: tensors with dimensions, then 0-d tensors, then numbers, each
/// of which counts only when its category is higher than what stands (PyTorch's rules).
pub fn result_type<'a>(inputs: impl IntoIterator<Item = &'a Operand>) -> DType {
    let (mut dims, mut zero, mut number): (Option<DType>, Option<DType>, Option<DType>) =
        (None, None, None);
    for input in inputs {
        let (group, dtype) = match input {
            Operand::Tensor(t) if t.ndim() > 0 => (&mut dims, t.dtype()),
            Operand::Tensor(t) => (&mut zero, t.dtype()),
            Operand::Scalar(s) => (&mut number, s.dtype()),
            Operand::None => continue,
        };
        *group = Some(group.map_or(dtype, |d| d.promote(dtype)));
    }
    let higher = |a: Option<DType>, b: Option<DType>| match (a, b) {
        (Some(a), Some(b)) => Some(if b.category() > a.category() { b } else { a }),
        (a, b) => a.or(b),
    };
    higher(higher(dims, zero), number).unwrap_or_else(default_dtype)
}

/// The compute type and the result type of an elementwise op.
pub fn promote(call: &Call, rule: Promote) -> Result<(DType, DType)> {
    let inputs = if rule == Promote::Where {
        &call.inputs[1..]
    } else {
        call.inputs
    };
    let common = match inputs {
        [Operand::Tensor(x)] => x.dtype(),
        [Operand::Tensor(x), Operand::Tensor(y)] if x.dtype() == y.dtype() => x.dtype(),
        _ => result_type(inputs),
    };
    Ok(match rule {
        Promote::Arith | Promote::Where => (common.compute(), common),
        Promote::Number => {
            ensure!(
                common != DType::Bool,
                not_implemented,
                "not implemented for 'Bool'; convert to an integer type first"
            );
            (common.compute(), common)
        }
        Promote::Floating => {
            ensure!(
                common.is_float(),
                not_implemented,
                "not implemented for '{}'; convert to a floating-point type first",
                common.scalar_type_name()
            );
            (common.compute(), common)
        }
        Promote::Float => {
            let float = if common.is_float() {
                common
            } else {
                default_dtype()
            };
            (float.compute(), float)
        }
        // Of truth values in the narrowest compute type.
        Promote::Truth if common == DType::Bool => (DType::F32, DType::Bool),
        Promote::Truth => (common.compute(), DType::Bool),
        Promote::Integral => {
            ensure!(
                common.category() < Category::Float,
                not_implemented,
                "not implemented for '{}'; only integers and bools have bits",
                common.scalar_type_name()
            );
            (common.compute(), common)
        }
        Promote::Cast => {
            let to = call.attrs.dtype(0).expect("a cast names its dtype");
            // f64 -> f16 must not round twice through f32 compute; i64 -> float loads directly.
            let compute = if common.is_float() && !to.is_float() {
                common.compute()
            } else {
                to.compute()
            };
            (compute, to)
        }
    })
}

/// What an elementwise op runs.
///
/// # Errors
/// When the op does not take these types or arguments.
#[inline]
pub fn choose(call: &Call) -> Result<Choice> {
    match call.op.kernel {
        Kernel::Map { f, promote } => Choice::of(call, f, promote),
        Kernel::Choose(choose) => choose(call),
        _ => unreachable!("[{}] is not elementwise", call.op.name),
    }
}

/// The 16-bit float type that a comparison's numbers are rounded to, so that a tensor made of a
/// number equals it.
pub fn narrow_number(call: &Call) -> Option<DType> {
    let has_number = call.inputs.iter().any(|x| matches!(x, Operand::Scalar(_)));
    let common = has_number.then(|| result_type(call.inputs))?;
    matches!(common, DType::F16 | DType::BF16).then_some(common)
}

/// The shape all inputs broadcast to.
pub fn broadcast(inputs: &[Operand]) -> Result<Shape> {
    let mut tensors = inputs.iter().filter_map(Operand::as_tensor);
    let Some(first) = tensors.next() else {
        return Ok(Shape::new());
    };
    let mut shape = first.shape().clone();
    for t in tensors {
        if *t.shape() != shape {
            shape = shape.broadcast_or_err(t.shape())?;
        }
    }
    Ok(shape)
}

/// The default of [`super::OpDef::meta`]: elementwise ops and views follow from their kernels.
pub fn from_kernel(call: &Call) -> Result<Specs> {
    match call.op.kernel {
        Kernel::Map { .. } | Kernel::Choose(_) => Ok(smallvec![Spec {
            dtype: choose(call)?.dtype,
            shape: broadcast(call.inputs)?,
        }]),
        Kernel::View(layouts) => {
            let dtype = call.tensor(0).dtype();
            Ok(layouts(call)?
                .into_iter()
                .map(|l| Spec {
                    shape: l.shape,
                    dtype,
                })
                .collect())
        }
        _ => bail!(
            not_implemented,
            "[{}] has outputs whose shapes depend on data, so it has no meta form",
            call.op.name
        ),
    }
}

/// One output like the first input.
pub fn like_input(call: &Call) -> Result<Specs> {
    let x = call.tensor(0);
    Ok(super::def::spec(x.shape().clone(), x.dtype()))
}

/// The type in which elements of type `from` are cast to type `to`.
pub fn copy_compute(from: DType, to: DType) -> DType {
    if from == to || (from.is_float() && !to.is_float()) {
        from.compute()
    } else {
        to.compute()
    }
}

/// Two outputs of the first input's shape: its elements in another order or choice along the
/// dimension in argument 0, and where they were.
pub fn values_and_places(call: &Call) -> Result<Specs> {
    let x = call.tensor(0);
    crate::base::shape::wrap_dim(call.attrs.int(0), x.ndim())?;
    let of = |dtype| Spec {
        shape: x.shape().clone(),
        dtype,
    };
    Ok(smallvec![of(x.dtype()), of(DType::I64)])
}
