//! Python's subscripts.
//!
//! NOTE [Subscripts]
//! Numbers, slices, `None` and `...` make views. Integer and bool tensors are then looked up all at
//! once: a mask stands for the positions of its true elements, the index tensors broadcast against
//! each other, and their common shape takes the place of the dimensions they look up where those
//! lie side by side; else it comes first (NumPy's rule). A number is no index tensor here, as in
//! PyTorch: `x[:, 0, i]` looks up one dimension of `x[:, 0]`.

use super::def::{Forms, Kernel, OpDef};
use super::index::{INDEX_PUT_AT, Lookup, coordinates, flat_nonzero, index, long, put, put_attrs};
use super::{cast, expand_to, reshape, select, slice, unsqueeze, view};
use crate::base::{Attrs, DType, Error, Result, Shape};
use crate::tape::provenance::SET_ITEM;
use crate::tape::{Site, mode};
use crate::tensor::{Operand, Tensor};
use crate::{bail, ensure};
use smallvec::{SmallVec, smallvec};

/// This family.
pub(super) static OPS: &[&OpDef] = &[&INDEX_PUT];

/// One part of a subscript.
#[derive(Clone, Debug)]
pub enum Index {
    /// A new dimension.
    None,
    /// All dimensions that are not named.
    Ellipsis,
    /// One index of a dimension.
    Int(i64),
    /// Some indices of a dimension.
    Slice {
        /// The first.
        start: Option<i64>,
        /// One past the last.
        end: Option<i64>,
        /// Every how many.
        step: Option<i64>,
    },
    /// Integers or a mask.
    Tensor(Tensor),
    /// A mask of no dimensions.
    Bool(bool),
}

/// A subscript taken apart: see NOTE [Subscripts].
struct Subscript {
    /// The view by numbers, slices, `None` and `...`.
    view: Tensor,
    /// The dimensions of the view that are looked up, and the index tensors.
    indices: SmallVec<[(usize, Tensor); 2]>,
    /// Whether the index is one mask: no place comes twice.
    is_mask: bool,
}

fn is_lookup(part: &Index) -> bool {
    matches!(part, Index::Tensor(_) | Index::Bool(_))
}

fn is_mask(t: &Tensor) -> bool {
    // Bytes are masks, as in PyTorch.
    matches!(t.dtype(), DType::Bool | DType::U8)
}

impl Subscript {
    fn new(x: &Tensor, parts: &[Index]) -> Result<Self> {
        let dims_of = |part: &Index| match part {
            Index::Int(_) | Index::Slice { .. } => 1,
            Index::Tensor(t) if is_mask(t) => t.ndim(),
            Index::Tensor(_) => 1,
            Index::None | Index::Ellipsis | Index::Bool(_) => 0,
        };
        let named: usize = parts.iter().map(dims_of).sum();
        ensure!(
            named <= x.ndim(),
            index,
            "too many indices for tensor of dimension {}",
            x.ndim()
        );
        let mut out = Self {
            view: x.clone(),
            indices: smallvec![],
            is_mask: false,
        };
        // Where we are in the view, and in `x` itself.
        let (mut dim, mut own) = (0, 0);
        let mut dots = false;
        for part in parts {
            match part {
                Index::None => {
                    out.view = unsqueeze(&out.view, dim)?;
                    dim += 1;
                }
                Index::Ellipsis => {
                    ensure!(
                        !std::mem::replace(&mut dots, true),
                        index,
                        "an index can only have a single ellipsis ('...')"
                    );
                    dim += x.ndim() - named;
                    own += x.ndim() - named;
                }
                Index::Int(i) => {
                    check_index(*i, own, x.shape()[own])?;
                    out.view = select(&out.view, dim, *i)?;
                    own += 1;
                }
                Index::Slice { start, end, step } => {
                    let step = step.unwrap_or(1);
                    ensure!(step > 0, value, "step must be greater than zero");
                    if start.is_some() || end.is_some() || step > 1 {
                        out.view = slice(&out.view, dim, *start, *end, step)?;
                    }
                    dim += 1;
                    own += 1;
                }
                Index::Bool(b) => {
                    // A new dimension of one element, taken or not.
                    out.view = unsqueeze(&out.view, dim)?;
                    let kept: &[i64] = if *b { &[0] } else { &[] };
                    let kept = Tensor::from_slice(kept, [kept.len()])?;
                    out.indices.push((dim, kept));
                    dim += 1;
                }
                Index::Tensor(t) if is_mask(t) => {
                    out.push_mask(t, dim, own, x.shape())?;
                    dim = out.indices.last().map_or(dim, |(d, _)| d + 1);
                    own += t.ndim();
                    out.is_mask = parts.iter().filter(|p| is_lookup(p)).count() == 1;
                }
                Index::Tensor(t) => {
                    ensure!(
                        t.dtype().is_int(),
                        index,
                        "tensors used as indices must be long, int, byte or bool tensors, not {}",
                        t.dtype()
                    );
                    out.indices.push((dim, long(t)?));
                    dim += 1;
                    own += 1;
                }
            }
        }
        Ok(out)
    }

    /// Looks up the dimensions from `dim` on by a mask.
    fn push_mask(&mut self, mask: &Tensor, dim: usize, own: usize, x: &Shape) -> Result<()> {
        for (d, &n) in mask.shape().iter().enumerate() {
            ensure!(
                n == x[own + d],
                index,
                "The shape of the mask {} at index {d} does not match the shape of the indexed \
                 tensor {x} at index {}",
                mask.shape(),
                own + d
            );
        }
        if mask.ndim() == 0 {
            self.view = unsqueeze(&self.view, dim)?;
            self.indices.push((dim, flat_nonzero(mask)?));
            return Ok(());
        }
        // Dimensions that can be seen as one need only one index.
        let sizes = self.view.shape();
        let mut merged: Shape = sizes[..dim].into();
        merged.push(mask.numel());
        let rest = &sizes[dim + mask.ndim()..];
        rest.iter().for_each(|&n| merged.push(n));
        if self.view.layout().reshape(&merged).is_some() {
            if mask.ndim() > 1 {
                self.view = view(&self.view, &merged)?;
            }
            self.indices.push((dim, flat_nonzero(mask)?));
            return Ok(());
        }
        for (d, along) in coordinates(mask)?.into_iter().enumerate() {
            self.indices.push((dim + d, along));
        }
        Ok(())
    }

    /// The index tensors and the dimensions they look up.
    fn parts(&self) -> (SmallVec<[Tensor; 2]>, SmallVec<[i64; 4]>) {
        (
            self.indices.iter().map(|(_, t)| t.clone()).collect(),
            self.indices.iter().map(|(d, _)| *d as i64).collect(),
        )
    }
}

fn check_index(i: i64, dim: usize, n: usize) -> Result<()> {
    let n = n as i64;
    ensure!(
        -n <= i && i < n,
        index,
        "index {i} is out of bounds for dimension {dim} with size {n}"
    );
    Ok(())
}

/// `x[index]`: a view where the index has no tensors. See NOTE [Subscripts].
///
/// # Errors
/// When the index does not fit the shape.
pub fn get_item(x: &Tensor, parts: &[Index]) -> Result<Tensor> {
    if let ([Index::Int(i)], Some(&n)) = (parts, x.shape().first()) {
        check_index(*i, 0, n)?;
        return select(x, 0i64, *i);
    }
    let subscript = Subscript::new(x, parts)?;
    if subscript.indices.is_empty() {
        // `x[...]` and `x[:]` are new views too.
        return match subscript.view {
            view if view.same(x) => expand_to(x, x.shape()),
            view => Ok(view),
        };
    }
    let (indices, dims) = subscript.parts();
    index(&subscript.view, &indices, &dims)
}

/// `x[index] = value`, recorded. See NOTE [Subscripts] and NOTE [Last writer].
///
/// # Errors
/// When the index does not fit the shape, the value does not broadcast to what it names, or `x` must
/// not be written; nothing is changed then.
pub fn set_item(x: &Tensor, parts: &[Index], value: &Operand) -> Result<()> {
    if mode::grad_enabled() && x.requires_grad() && x.is_leaf() {
        // Refused in the name of the leaf, rather than of the view that would be written.
        super::writable::check(x, false).map_err(|e| e.in_op("setitem"))?;
    }
    assign(x, parts, value).map_err(|e| e.of_op("setitem"))?;
    // Messages name what was called.
    x.storage().set_writer(SET_ITEM, Site::current().0);
    Ok(())
}

fn assign(x: &Tensor, parts: &[Index], value: &Operand) -> Result<()> {
    let subscript = Subscript::new(x, parts)?;
    let (indices, dims) = subscript.parts();
    let lookup = Lookup::new(subscript.view.shape(), indices.iter(), &dims)?;
    let value = match value {
        Operand::Tensor(v) => Operand::Tensor(fitted(v, &lookup.shape)?),
        Operand::Scalar(s) => Operand::Scalar(*s),
        Operand::None => bail!(type_, "cannot assign None to elements of a tensor"),
    };
    let target = Operand::Tensor(subscript.view);
    if indices.is_empty() {
        let attrs = Attrs::new();
        return super::in_place::run(&super::COPY, &[target, value], &attrs);
    }
    let value = match value {
        Operand::Tensor(v) => Operand::Tensor(cast(&v, x.dtype())?),
        other => other,
    };
    let mut inputs: SmallVec<[Operand; 4]> = smallvec![target, value];
    inputs.extend(indices.into_iter().map(Operand::Tensor));
    let attrs = put_attrs(&dims, false, subscript.is_mask);
    super::in_place::run(&INDEX_PUT_AT, &inputs, &attrs).map_err(renamed)
}

/// The value without leading dimensions of size 1 that the target does not have.
fn fitted(value: &Tensor, target: &Shape) -> Result<Tensor> {
    let extra = value.ndim().saturating_sub(target.len());
    let fits = value.shape()[..extra].iter().all(|&n| n == 1);
    let shape: Shape = value.shape()[extra..].into();
    ensure!(
        fits && shape.broadcast(target).as_ref() == Some(target),
        runtime,
        "shape mismatch: value tensor of shape {} cannot be broadcast to indexing result of shape \
         {target}",
        value.shape()
    );
    if extra == 0 {
        Ok(value.clone())
    } else {
        reshape(value, &shape)
    }
}

/// The op of a subscript's assignment has no name in Python.
fn renamed(e: Error) -> Error {
    match e.message().strip_prefix("[index_put_at_] ") {
        Some(rest) => Error::new(e.kind(), format!("[index_put_] {rest}")),
        None => e,
    }
}

/// `index_put`.
pub static INDEX_PUT: OpDef = OpDef {
    name: "index_put",
    doc: "`input` with `values` written at the elements that the index tensors (integers or bools, \
          as in a subscript) name, or with `accumulate=True` added. Without it, of several writes \
          to one place the last stays, and only its value gets a gradient.",
    sig: &["(input, indices: Tensor[], values, accumulate: bool = False)"],
    forms: Forms::ALL,
    kernel: Kernel::Composite(|call| {
        let (x, last) = (call.tensor(0), call.inputs.len() - 1);
        let parts: Vec<Index> = call.inputs[1..last]
            .iter()
            .map(|i| match i {
                Operand::Tensor(t) => Index::Tensor(t.clone()),
                _ => Index::Slice {
                    start: None,
                    end: None,
                    step: None,
                },
            })
            .collect();
        let subscript = Subscript::new(x, &parts)?;
        let (indices, dims) = subscript.parts();
        let attrs = put_attrs(&dims, call.attrs.bool(0), subscript.is_mask);
        let out = put(&subscript.view, &call.inputs[last], &indices, &attrs)?;
        Ok(smallvec![reshape(&out, x.shape())?])
    }),
    ..OpDef::COMPOSITE
};
