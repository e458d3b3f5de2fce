//! Argument parsing from an op's own signature: see NOTE [Signatures] in `ops::def`.

use super::convert;
use super::dtype::{device_of, dtype_of};
use super::tensor::PyTensor;
use crate::base::{Attr, Attrs, Scalar};
use crate::tensor::{Operand, Tensor};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyList, PyString, PyTuple};
use smallvec::SmallVec;

/// What a parameter accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Tensor,
    TensorOrScalar,
    Tensors,
    Scalar,
    Int,
    Float,
    Bool,
    True,
    Str,
    Ints,
    Floats,
    DType,
    Device,
    Generator,
    Any,
}

impl Kind {
    fn parse(text: &str) -> Self {
        match text {
            "Tensor" => Kind::Tensor,
            "Tensor|Scalar" => Kind::TensorOrScalar,
            "Tensor[]" => Kind::Tensors,
            "Scalar" => Kind::Scalar,
            "int" => Kind::Int,
            "float" => Kind::Float,
            "bool" => Kind::Bool,
            "true" => Kind::True,
            "str" => Kind::Str,
            "int[]" => Kind::Ints,
            "float[]" => Kind::Floats,
            "dtype" => Kind::DType,
            "device" => Kind::Device,
            "generator" => Kind::Generator,
            "any" => Kind::Any,
            other => panic!("op table: unknown type {other:?} in a signature"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Kind::Tensor => "Tensor",
            Kind::TensorOrScalar => "Tensor or Number",
            Kind::Tensors => "tuple of Tensors",
            Kind::Scalar => "Number",
            Kind::Int => "int",
            Kind::Float => "float",
            Kind::Bool => "bool",
            Kind::True => "True",
            Kind::Str => "str",
            Kind::Ints => "tuple of ints",
            Kind::Floats => "tuple of floats",
            Kind::DType => "rustgrad.dtype",
            Kind::Device => "rustgrad.device",
            Kind::Generator => "rustgrad.Generator",
            Kind::Any => "object",
        }
    }

    fn is_tensor(self) -> bool {
        matches!(self, Kind::Tensor | Kind::TensorOrScalar | Kind::Tensors)
    }
}

struct Param {
    name: &'static str,
    kind: Kind,
    optional: bool,
    default: Option<Attr>,
    keyword_only: bool,
    varargs: bool,
}

/// A parsed signature.
pub(super) struct Signature {
    text: &'static str,
    params: Vec<Param>,
    positional: usize,
}

/// Why arguments do not fit a signature; written out only when no signature fits.
enum Mismatch {
    TooMany(usize),
    Missing(usize),
    Unexpected(String),
    Twice(usize),
    Wrong(usize, String),
    /// A conversion raised: a value out of range, a device that is not there.
    Raised(PyErr),
}

impl From<PyErr> for Mismatch {
    fn from(e: PyErr) -> Self {
        Mismatch::Raised(e)
    }
}

/// The inputs and arguments of a call.
pub(super) type Bound2 = (SmallVec<[Operand; 3]>, Attrs);

impl Signature {
    pub(super) fn parse(text: &'static str) -> Self {
        let inner = text
            .trim()
            .strip_prefix('(')
            .and_then(|t| t.strip_suffix(')'));
        let inner = inner.unwrap_or_else(|| panic!("op table: signature {text:?}"));
        let mut params = Vec::new();
        let mut keyword_only = false;
        for part in inner.split(", ").map(str::trim).filter(|p| !p.is_empty()) {
            if part == "*" {
                keyword_only = true;
                continue;
            }
            let (head, default) = match part.split_once('=') {
                Some((head, default)) => (head.trim(), Some(default.trim())),
                None => (part, None),
            };
            let (name, kind) = match head.split_once(':') {
                Some((name, kind)) => (name.trim(), kind.trim()),
                None => (head, "Tensor"),
            };
            let optional = kind.ends_with('?');
            let varargs = name.starts_with('*');
            params.push(Param {
                name: name.trim_start_matches('*'),
                kind: Kind::parse(kind.trim_end_matches('?')),
                optional,
                default: default.map(parse_default),
                keyword_only,
                varargs,
            });
        }
        let positional = params.iter().filter(|p| !p.keyword_only).count();
        Self {
            text,
            params,
            positional,
        }
    }

    /// The signature as the op declares it.
    pub(super) fn text(&self) -> &'static str {
        self.text
    }

    fn bind(
        &self,
        slf: Option<&Bound<'_, PyAny>>,
        args: &Bound<'_, PyTuple>,
        kwargs: Option<&Bound<'_, PyDict>>,
    ) -> Result<Bound2, Mismatch> {
        let lead = usize::from(slf.is_some());
        let given = args.len() + lead;
        let mut inputs: SmallVec<[Operand; 3]> = SmallVec::new();
        let mut attrs = Attrs::new();
        let mut used = 0;
        let mut at = 0;
        for (i, p) in self.params.iter().enumerate() {
            if !p.keyword_only && at < given {
                let value = match slf {
                    Some(slf) if at == 0 => slf.clone(),
                    _ => args.get_borrowed_item(at - lead)?.to_owned(),
                };
                if p.varargs && (given - at > 1 || !is_sequence(&value)) && !value.is_none() {
                    let rest = args.get_slice(at - lead, args.len());
                    p.convert(i, rest.as_any(), &mut inputs, &mut attrs)?;
                    at = given;
                } else {
                    at += 1;
                    p.convert(i, &value, &mut inputs, &mut attrs)?;
                }
                if let Some(kwargs) = kwargs
                    && p.lookup(kwargs)?.is_some()
                {
                    return Err(Mismatch::Twice(i));
                }
                continue;
            }
            match kwargs.map(|k| p.lookup(k)).transpose()?.flatten() {
                Some(value) => {
                    used += 1;
                    p.convert(i, &value, &mut inputs, &mut attrs)?;
                }
                None => match (&p.default, p.kind.is_tensor()) {
                    (Some(Attr::None), true) => inputs.push(Operand::None),
                    (Some(default), true) => match default {
                        Attr::Scalar(s) => inputs.push(Operand::Scalar(*s)),
                        _ => return Err(Mismatch::Missing(i)),
                    },
                    (Some(default), false) => attrs.push(default.clone()),
                    (None, _) => {
                        if p.varargs && p.kind == Kind::Ints {
                            attrs.push(Attr::Ints(SmallVec::new()));
                        } else {
                            return Err(Mismatch::Missing(i));
                        }
                    }
                },
            }
        }
        if at < given {
            return Err(Mismatch::TooMany(given));
        }
        if let Some(kwargs) = kwargs
            && used < kwargs.len()
        {
            for key in kwargs.keys() {
                let key = key.cast_into::<PyString>().map_err(PyErr::from)?;
                let key = key.to_str()?;
                let known = self.params.iter().any(|p| p.answers_to(key));
                if !known && !is_ignored(key) {
                    return Err(Mismatch::Unexpected(key.to_owned()));
                }
            }
        }
        Ok((inputs, attrs))
    }

    fn describe(&self, name: &str, mismatch: Mismatch) -> PyErr {
        let param = |i: usize| self.params[i].name;
        PyTypeError::new_err(match mismatch {
            Mismatch::Raised(e) => return e,
            Mismatch::TooMany(n) => format!(
                "{name}() takes {} positional arguments but {n} were given",
                self.positional
            ),
            Mismatch::Missing(i) => {
                format!(
                    "{name}() missing 1 required positional arguments: \"{}\"",
                    param(i)
                )
            }
            Mismatch::Unexpected(key) => {
                format!("{name}() got an unexpected keyword argument '{key}'")
            }
            Mismatch::Twice(i) => {
                format!("{name}() got multiple values for argument '{}'", param(i))
            }
            Mismatch::Wrong(i, got) => format!(
                "{name}(): argument '{}' (position {}) must be {}, not {got}",
                param(i),
                i + 1,
                self.params[i].kind.name()
            ),
        })
    }
}

/// Finds the first signature that the arguments fit.
pub(super) fn bind(
    name: &str,
    signatures: &[Signature],
    slf: Option<&Bound<'_, PyAny>>,
    args: &Bound<'_, PyTuple>,
    kwargs: Option<&Bound<'_, PyDict>>,
) -> PyResult<(usize, Bound2)> {
    let mut first = None;
    for (i, signature) in signatures.iter().enumerate() {
        match signature.bind(slf, args, kwargs) {
            Ok(bound) => return Ok((i, bound)),
            Err(mismatch) if signatures.len() == 1 => {
                return Err(signature.describe(name, mismatch));
            }
            Err(mismatch) => {
                first.get_or_insert((signature, mismatch));
            }
        }
    }
    let (signature, mismatch) = first.expect("an op has a signature");
    if let Mismatch::Raised(e) = mismatch {
        return Err(e);
    }
    let own = signature.describe(name, mismatch).to_string();
    let all: Vec<String> = signatures
        .iter()
        .map(|s| format!("    {name}{}", s.text()))
        .collect();
    Err(PyTypeError::new_err(format!(
        "{name}() received an invalid combination of arguments ({}); it takes one of:\n{}",
        own.trim_start_matches("TypeError: "),
        all.join("\n")
    )))
}

impl Param {
    fn answers_to(&self, key: &str) -> bool {
        self.name == key
            || matches!(
                (self.name, key),
                ("dim", "axis")
                    | ("keepdim", "keepdims")
                    | ("input", "self" | "x")
                    | ("dims", "axis" | "dim")
                    | ("other", "x2")
            )
    }

    fn lookup<'py>(&self, kwargs: &Bound<'py, PyDict>) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Some(value) = kwargs.get_item(self.name)? {
            return Ok(Some(value));
        }
        for key in kwargs.keys() {
            if self.answers_to(key.cast::<PyString>()?.to_str()?) {
                return kwargs.get_item(key);
            }
        }
        Ok(None)
    }

    fn convert(
        &self,
        i: usize,
        value: &Bound<'_, PyAny>,
        inputs: &mut SmallVec<[Operand; 3]>,
        attrs: &mut Attrs,
    ) -> Result<(), Mismatch> {
        let wrong = || {
            let name = value
                .get_type()
                .name()
                .map_or_else(|_| "object".into(), |n| n.to_string());
            Mismatch::Wrong(i, name)
        };
        if self.optional && value.is_none() {
            if self.kind.is_tensor() {
                inputs.push(Operand::None);
            } else {
                attrs.push(Attr::None);
            }
            return Ok(());
        }
        match self.kind {
            Kind::Tensor => inputs.push(tensor(value).ok_or_else(wrong)?.into()),
            Kind::TensorOrScalar => match convert::operand(value)? {
                Some(operand) => inputs.push(operand),
                None => return Err(wrong()),
            },
            Kind::Tensors => {
                if !is_sequence(value) {
                    return Err(wrong());
                }
                for item in value.try_iter()? {
                    let item = item?;
                    if item.is_none() {
                        inputs.push(Operand::None);
                    } else {
                        inputs.push(tensor(&item).ok_or_else(wrong)?.into());
                    }
                }
            }
            Kind::Scalar => attrs.push(convert::scalar(value)?.ok_or_else(wrong)?),
            Kind::Float => {
                let s = convert::scalar(value)?.ok_or_else(wrong)?;
                attrs.push(s.as_f64());
            }
            Kind::Int => attrs.push(convert::int(value)?.ok_or_else(wrong)?),
            Kind::Bool => match value.cast::<PyBool>() {
                Ok(b) => attrs.push(b.is_true()),
                Err(_) => match convert::scalar(value)? {
                    Some(Scalar::Bool(b)) => attrs.push(b),
                    Some(Scalar::Int(x @ (0 | 1))) => attrs.push(x == 1),
                    _ => return Err(wrong()),
                },
            },
            Kind::True => match value.cast::<PyBool>() {
                Ok(b) if b.is_true() => attrs.push(true),
                _ => return Err(wrong()),
            },
            Kind::Str => attrs.push(value.cast::<PyString>().map_err(|_| wrong())?.to_str()?),
            Kind::Ints => attrs.push(convert_ints(i, value)?),
            Kind::Floats => {
                let mut out = SmallVec::new();
                if is_sequence(value) {
                    for item in value.try_iter()? {
                        out.push(convert::scalar(&item?)?.ok_or_else(wrong)?.as_f64());
                    }
                } else {
                    out.push(convert::scalar(value)?.ok_or_else(wrong)?.as_f64());
                }
                attrs.push(Attr::Floats(out));
            }
            Kind::DType => attrs.push(dtype_of(value).map_err(|_| wrong())?),
            Kind::Device => attrs.push(device_of(value)?),
            Kind::Generator => attrs.push(convert::generator(value).ok_or_else(wrong)?),
            Kind::Any => attrs.push(Attr::None),
        }
        Ok(())
    }
}

/// The tensor inside a Python tensor.
fn tensor(value: &Bound<'_, PyAny>) -> Option<Tensor> {
    value.cast::<PyTensor>().ok().map(|t| t.get().tensor())
}

fn is_sequence(value: &Bound<'_, PyAny>) -> bool {
    value.is_instance_of::<PyTuple>() || value.is_instance_of::<PyList>()
}

fn convert_ints(i: usize, value: &Bound<'_, PyAny>) -> Result<Attr, Mismatch> {
    let wrong = |v: &Bound<'_, PyAny>| {
        let name = v
            .get_type()
            .name()
            .map_or_else(|_| "object".into(), |n| n.to_string());
        Mismatch::Wrong(i, name)
    };
    if !is_sequence(value) {
        return Ok(Attr::Ints(smallvec::smallvec![
            convert::int(value)?.ok_or_else(|| wrong(value))?
        ]));
    }
    let mut out = SmallVec::new();
    for item in value.try_iter()? {
        let item = item?;
        out.push(convert::int(&item)?.ok_or_else(|| wrong(&item))?);
    }
    Ok(Attr::Ints(out))
}

/// Arguments of PyTorch's that change nothing here.
fn is_ignored(key: &str) -> bool {
    matches!(
        key,
        "layout" | "pin_memory" | "memory_format" | "non_blocking" | "out"
    )
}

fn parse_default(text: &str) -> Attr {
    match text {
        "None" => Attr::None,
        "True" => Attr::Bool(true),
        "False" => Attr::Bool(false),
        "inf" => Attr::Scalar(Scalar::Float(f64::INFINITY)),
        "-inf" => Attr::Scalar(Scalar::Float(f64::NEG_INFINITY)),
        _ => {
            if let Some(word) = text.strip_prefix('\'').and_then(|t| t.strip_suffix('\'')) {
                return Attr::Str(word.into());
            }
            if let Some(list) = text.strip_prefix('(').and_then(|t| t.strip_suffix(')')) {
                let int = |t: &str| {
                    t.parse()
                        .unwrap_or_else(|_| panic!("op table: default {text:?}"))
                };
                return Attr::Ints(list.split(',').filter(|t| !t.is_empty()).map(int).collect());
            }
            if let Ok(i) = text.parse::<i64>() {
                return Attr::Scalar(Scalar::Int(i));
            }
            match text.parse::<f64>() {
                Ok(x) => Attr::Scalar(Scalar::Float(x)),
                Err(_) => panic!("op table: default {text:?}"),
            }
        }
    }
}
