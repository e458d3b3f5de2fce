//! The arguments of an op that are not tensors.

use super::{DType, Device, Scalar};
use smallvec::SmallVec;
use std::any::Any;
use std::sync::Arc;

/// One argument.
#[derive(Clone, Default)]
pub enum Attr {
    /// Left out, or Python's `None`.
    #[default]
    None,
    /// A truth value.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A number whose type matters for promotion.
    Scalar(Scalar),
    /// A list of integers.
    Ints(SmallVec<[i64; 2]>),
    /// A list of numbers.
    Floats(SmallVec<[f64; 2]>),
    /// A word.
    Str(Box<str>),
    /// An element type.
    DType(DType),
    /// A device.
    Device(Device),
    /// A value that only the op itself can read.
    Any(Arc<dyn Any + Send + Sync>),
}

/// The arguments of one call, in the order of the op's signature. The getters panic on an index or
/// type that the signature does not have: that is a mistake in the op table, not in the program.
#[derive(Clone, Default)]
pub struct Attrs(SmallVec<[Attr; 2]>);

impl Attrs {
    /// No arguments.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends an argument.
    pub fn push(&mut self, attr: impl Into<Attr>) {
        self.0.push(attr.into());
    }

    /// Replaces argument `i`.
    pub fn set(&mut self, i: usize, attr: impl Into<Attr>) {
        self.0[i] = attr.into();
    }

    /// The arguments in order.
    pub fn iter(&self) -> impl Iterator<Item = &Attr> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether argument `i` was left out.
    pub fn is_none(&self, i: usize) -> bool {
        matches!(self.0[i], Attr::None)
    }

    /// Argument `i`, a truth value.
    pub fn bool(&self, i: usize) -> bool {
        match self.0[i] {
            Attr::Bool(b) => b,
            _ => self.mismatch(i, "a bool"),
        }
    }

    /// Argument `i`, an integer.
    pub fn int(&self, i: usize) -> i64 {
        match &self.0[i] {
            Attr::Int(x) => *x,
            Attr::Scalar(Scalar::Int(x)) => *x,
            _ => self.mismatch(i, "an int"),
        }
    }

    /// Argument `i`, an integer unless it was left out.
    pub fn int_opt(&self, i: usize) -> Option<i64> {
        if self.is_none(i) {
            None
        } else {
            Some(self.int(i))
        }
    }

    /// Argument `i`, a number.
    pub fn float(&self, i: usize) -> f64 {
        self.scalar(i).as_f64()
    }

    /// Argument `i`, a number unless it was left out.
    pub fn float_opt(&self, i: usize) -> Option<f64> {
        if self.is_none(i) {
            None
        } else {
            Some(self.float(i))
        }
    }

    /// Argument `i`, a number with its type.
    pub fn scalar(&self, i: usize) -> Scalar {
        match self.0[i] {
            Attr::Scalar(s) => s,
            Attr::Float(x) => Scalar::Float(x),
            Attr::Int(x) => Scalar::Int(x),
            Attr::Bool(b) => Scalar::Bool(b),
            _ => self.mismatch(i, "a number"),
        }
    }

    /// Argument `i`, a number with its type unless it was left out.
    pub fn scalar_opt(&self, i: usize) -> Option<Scalar> {
        if self.is_none(i) {
            None
        } else {
            Some(self.scalar(i))
        }
    }

    /// Argument `i`, a list of integers; left out, it is empty.
    pub fn ints(&self, i: usize) -> &[i64] {
        match &self.0[i] {
            Attr::Ints(x) => x,
            Attr::Int(x) => std::slice::from_ref(x),
            Attr::None => &[],
            _ => self.mismatch(i, "a list of ints"),
        }
    }

    /// Argument `i`, a list of numbers; left out, it is empty.
    pub fn floats(&self, i: usize) -> &[f64] {
        match &self.0[i] {
            Attr::Floats(x) => x,
            Attr::None => &[],
            _ => self.mismatch(i, "a list of floats"),
        }
    }

    /// Argument `i`, a word.
    pub fn str(&self, i: usize) -> &str {
        match &self.0[i] {
            Attr::Str(s) => s,
            _ => self.mismatch(i, "a str"),
        }
    }

    /// Argument `i`, an element type unless it was left out.
    pub fn dtype(&self, i: usize) -> Option<DType> {
        match self.0[i] {
            Attr::DType(d) => Some(d),
            Attr::None => None,
            _ => self.mismatch(i, "a dtype"),
        }
    }

    /// Argument `i`, a device unless it was left out.
    pub fn device(&self, i: usize) -> Option<Device> {
        match self.0[i] {
            Attr::Device(d) => Some(d),
            Attr::None => None,
            _ => self.mismatch(i, "a device"),
        }
    }

    /// Argument `i`, a value of the op's own type.
    pub fn any<T: 'static>(&self, i: usize) -> &T {
        match &self.0[i] {
            Attr::Any(x) => x.downcast_ref().expect("the op's own type"),
            _ => self.mismatch(i, "a value of the op's own type"),
        }
    }

    fn mismatch(&self, i: usize, want: &str) -> ! {
        panic!("op table: argument {i} is not {want}")
    }
}

impl FromIterator<Attr> for Attrs {
    fn from_iter<I: IntoIterator<Item = Attr>>(iter: I) -> Self {
        Self(iter.into_iter().collect())
    }
}

macro_rules! attr_from {
    ($($t:ty => $variant:ident),* $(,)?) => { $(
        impl From<$t> for Attr {
            fn from(x: $t) -> Self {
                Attr::$variant(x.into())
            }
        }
    )* };
}
attr_from!(bool => Bool, i64 => Int, f64 => Float, Scalar => Scalar, DType => DType,
    Device => Device, &str => Str, Arc<dyn Any + Send + Sync> => Any);

impl From<&[i64]> for Attr {
    fn from(x: &[i64]) -> Self {
        Attr::Ints(SmallVec::from_slice(x))
    }
}

impl<const N: usize> From<[i64; N]> for Attr {
    fn from(x: [i64; N]) -> Self {
        Attr::Ints(SmallVec::from_slice(&x))
    }
}

impl From<&[usize]> for Attr {
    fn from(x: &[usize]) -> Self {
        Attr::Ints(x.iter().map(|&n| n as i64).collect())
    }
}

impl From<&super::Shape> for Attr {
    fn from(x: &super::Shape) -> Self {
        Attr::from(&**x)
    }
}

impl From<usize> for Attr {
    fn from(x: usize) -> Self {
        Attr::Int(x as i64)
    }
}

impl<T: Into<Attr>> From<Option<T>> for Attr {
    fn from(x: Option<T>) -> Self {
        x.map_or(Attr::None, Into::into)
    }
}
