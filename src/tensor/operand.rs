//! An input of an op: a tensor, a plain number, or an absent optional input.

use super::Tensor;
use crate::base::{DType, Device, Scalar};

/// See the module.
#[derive(Clone, Debug)]
pub enum Operand {
    /// A tensor.
    Tensor(Tensor),
    /// A number: it takes part in promotion by category only, and never becomes a tensor.
    Scalar(Scalar),
    /// An optional input that was left out.
    None,
}

impl Operand {
    /// The tensor, if it is one.
    #[inline]
    pub fn as_tensor(&self) -> Option<&Tensor> {
        match self {
            Operand::Tensor(t) => Some(t),
            _ => None,
        }
    }

    /// The element type; an absent input has that of bool.
    pub fn dtype(&self) -> DType {
        match self {
            Operand::Tensor(t) => t.dtype(),
            Operand::Scalar(s) => s.dtype(),
            Operand::None => DType::Bool,
        }
    }

    /// Shape, type and device.
    pub fn meta(&self) -> crate::tape::Meta {
        match self {
            Operand::Tensor(t) => t.meta(),
            _ => crate::tape::Meta {
                shape: crate::base::Shape::new().into(),
                dtype: self.dtype(),
                device: Device::Cpu,
            },
        }
    }

    /// Whether a gradient could flow into it.
    #[inline]
    pub fn requires_grad(&self) -> bool {
        self.as_tensor().is_some_and(Tensor::requires_grad)
    }

    /// Whether the input is there.
    pub fn is_some(&self) -> bool {
        !matches!(self, Operand::None)
    }
}

impl From<Tensor> for Operand {
    fn from(t: Tensor) -> Self {
        Operand::Tensor(t)
    }
}

impl From<&Tensor> for Operand {
    fn from(t: &Tensor) -> Self {
        Operand::Tensor(t.clone())
    }
}

impl From<&Operand> for Operand {
    fn from(t: &Operand) -> Self {
        t.clone()
    }
}

impl From<Scalar> for Operand {
    fn from(s: Scalar) -> Self {
        Operand::Scalar(s)
    }
}

impl From<f64> for Operand {
    fn from(x: f64) -> Self {
        Operand::Scalar(Scalar::Float(x))
    }
}

impl From<i64> for Operand {
    fn from(x: i64) -> Self {
        Operand::Scalar(Scalar::Int(x))
    }
}

impl<T: Into<Operand>> From<Option<T>> for Operand {
    fn from(x: Option<T>) -> Self {
        x.map_or(Operand::None, Into::into)
    }
}
