//! Views of consecutive pieces of a dimension, several at once.
//!
//! NOTE [Pieces]
//! `split`, `chunk`, `hsplit` with a number and their kin are one view op with several outputs,
//! whose gradient is one `cat`. Where pieces may overlap or leave gaps (cuts at any indices), each
//! is a slice of its own.

use super::def::{Call, Kernel, NOTHING, OpDef, Returns, grad};
use super::{cat, narrow, stack};
use crate::base::shape::wrap_dim;
use crate::base::{Attrs, Layout, Result};
use crate::tape::{Outputs, VjpCx};
use crate::tensor::Tensor;
use crate::{bail, ensure};

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &SPLIT_WITH_SIZES,
    &SPLIT,
    &CHUNK,
    &TENSOR_SPLIT,
    &HSPLIT,
    &VSPLIT,
    &DSPLIT,
    &UNBIND,
];

/// Pieces of dimension `dim`, of the given sizes.
///
/// # Errors
/// When the sizes do not add up to the dimension's.
pub fn split_with_sizes(x: &Tensor, sizes: &[i64], dim: usize) -> Result<Outputs> {
    let attrs: Attrs = [sizes.into(), dim.into()].into_iter().collect();
    super::dispatch::run(&SPLIT_WITH_SIZES, &[x.into()], &attrs)
}

/// Every index of dimension `dim`.
///
/// # Errors
/// When the dimension does not exist.
pub fn unbind(x: &Tensor, dim: i64) -> Result<Outputs> {
    super::dispatch::run(
        &UNBIND,
        &[x.into()],
        &[dim.into()].into_iter().collect::<Attrs>(),
    )
}

/// A dimension to cut, and its size.
fn cut_dim(call: &Call, dim: i64) -> Result<(usize, usize)> {
    let x = call.tensor(0);
    ensure!(
        x.ndim() > 0,
        runtime,
        "{} expects at least a 1-dimensional tensor",
        call.op.name
    );
    let dim = wrap_dim(dim, x.ndim())?;
    Ok((dim, x.shape()[dim]))
}

/// The gradients of all outputs; zeros where there is none.
fn all_grads(cx: &VjpCx) -> Result<Vec<Tensor>> {
    let device = cx.grads.iter().flatten().next().map(Tensor::device);
    let device = device.expect("a node that runs has a gradient");
    let one = |(g, meta): (&Option<Tensor>, &crate::tape::Meta)| match g {
        Some(g) => Ok(g.clone()),
        None => Tensor::zeros(meta.shape.clone(), meta.dtype, device),
    };
    cx.grads.iter().zip(cx.outputs).map(one).collect()
}

/// See NOTE [Pieces].
pub static SPLIT_WITH_SIZES: OpDef = OpDef {
    name: "split_with_sizes",
    doc: "Views of consecutive pieces of dimension `dim`, of sizes `split_sizes`, which add up to \
          its size.",
    sig: &["(input, split_sizes: int[], dim: int = 0)"],
    returns: Returns::Tuple,
    kernel: Kernel::View(|call| {
        let sizes = call.attrs.ints(0);
        let (dim, n) = cut_dim(call, call.attrs.int(1))?;
        ensure!(
            sizes.iter().all(|&size| size >= 0),
            runtime,
            "split_with_sizes expects split_sizes have only non-negative entries, but got \
             split_sizes={sizes:?}"
        );
        ensure!(
            sizes.iter().sum::<i64>() == n as i64,
            runtime,
            "split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size at \
             dimension {dim}), but got split_sizes={sizes:?}"
        );
        let layout = call.tensor(0).layout();
        let mut start = 0;
        let piece = |&size: &i64| {
            let mut piece: Layout = layout.clone();
            piece.offset += start * layout.strides[dim];
            piece.shape[dim] = size as usize;
            start += size as usize;
            piece
        };
        Ok(sizes.iter().map(piece).collect())
    }),
    // The pieces' gradients, joined.
    grads: &[grad(NOTHING, |cx| {
        cat(&all_grads(cx)?, cx.attrs.int(1)).map(Some)
    })],
    ..OpDef::VIEW
};

/// `split`.
pub static SPLIT: OpDef = OpDef {
    name: "split",
    doc: "Views of consecutive pieces of dimension `dim`: of size `split_size` each, but for the \
          last, which may be smaller; or of the sizes in a list.\n\n>>> import rustgrad as rg\n\
          >>> [len(piece) for piece in rg.zeros(5).split(2)]\n[2, 2, 1]",
    sig: &[
        "(input, split_size: int, dim: int = 0)",
        "(input, split_size: int[], dim: int = 0)",
        "(tensor, split_size_or_sections: int, dim: int = 0)",
        "(tensor, split_size_or_sections: int[], dim: int = 0)",
    ],
    returns: Returns::Tuple,
    kernel: Kernel::Composite(|call| {
        let (dim, n) = cut_dim(call, call.attrs.int(1))?;
        if call.overload % 2 == 1 {
            return split_with_sizes(call.tensor(0), call.attrs.ints(0), dim);
        }
        let size = call.attrs.int(0);
        ensure!(
            size >= 0,
            runtime,
            "split expects split_size be non-negative, but got split_size={size}"
        );
        ensure!(
            size > 0 || n == 0,
            runtime,
            "split_size can only be 0 if dimension size is 0, but got dimension size of {n}"
        );
        split_with_sizes(call.tensor(0), &pieces_of(n, size as usize), dim)
    }),
    ..OpDef::COMPOSITE
};

/// Sizes of pieces of `size`, the last of which may be smaller; there is at least one.
fn pieces_of(n: usize, size: usize) -> Vec<i64> {
    let count = n.div_ceil(size.max(1)).max(1);
    (0..count).map(|i| size.min(n - i * size) as i64).collect()
}

/// `chunk`.
pub static CHUNK: OpDef = OpDef {
    name: "chunk",
    doc: "At most `chunks` views of consecutive pieces of dimension `dim`, of one size, but for the \
          last, which may be smaller.",
    sig: &["(input, chunks: int, dim: int = 0)"],
    returns: Returns::Tuple,
    kernel: Kernel::Composite(|call| {
        let chunks = call.attrs.int(0);
        let (dim, n) = cut_dim(call, call.attrs.int(1))?;
        ensure!(
            chunks > 0,
            runtime,
            "chunk expects `chunks` to be greater than 0, got: {chunks}"
        );
        let sizes = match n {
            0 => vec![0; chunks as usize],
            n => pieces_of(n, n.div_ceil(chunks as usize)),
        };
        split_with_sizes(call.tensor(0), &sizes, dim)
    }),
    ..OpDef::COMPOSITE
};

/// `sections` pieces whose sizes differ by at most one.
fn sections(call: &Call, dim: usize, n: usize, sections: i64) -> Result<Outputs> {
    ensure!(
        sections > 0,
        runtime,
        "number of sections must be larger than 0, got {sections}"
    );
    let (small, larger) = (n as i64 / sections, n as i64 % sections);
    let mut sizes = Vec::new();
    ensure!(
        sizes.try_reserve(sections as usize).is_ok(),
        runtime,
        "not enough memory for {sections} sections"
    );
    sizes.extend((0..sections).map(|i| small + i64::from(i < larger)));
    split_with_sizes(call.tensor(0), &sizes, dim)
}

/// The pieces between the given indices, each clamped as in a slice.
fn cuts(call: &Call, dim: usize, n: usize, indices: &[i64]) -> Result<Outputs> {
    let clamped = |&i: &i64| (if i < 0 { i + n as i64 } else { i }).clamp(0, n as i64) as usize;
    let ends = indices.iter().map(clamped).chain([n]);
    let mut start = 0;
    ends.map(|end| {
        let piece = narrow(call.tensor(0), dim, start, end.saturating_sub(start));
        start = end;
        piece
    })
    .collect()
}

/// `tensor_split`.
pub static TENSOR_SPLIT: OpDef = OpDef {
    name: "tensor_split",
    doc: "Views of consecutive pieces of dimension `dim`: so many whose sizes differ by at most \
          one, or those between the indices of a list or a 1-d tensor.",
    sig: &[
        "(input, sections: int, dim: int = 0)",
        "(input, indices: int[], dim: int = 0)",
        "(input, tensor_indices_or_sections, dim: int = 0)",
        "(input, indices_or_sections: int, dim: int = 0)",
        "(input, indices_or_sections: int[], dim: int = 0)",
    ],
    returns: Returns::Tuple,
    kernel: Kernel::Composite(|call| {
        let given = usize::from(call.overload != 2);
        let (dim, n) = cut_dim(call, call.attrs.int(given))?;
        match call.overload {
            0 | 3 => sections(call, dim, n, call.attrs.int(0)),
            1 | 4 => cuts(call, dim, n, call.attrs.ints(0)),
            _ => {
                let places = call.tensor(1);
                ensure!(
                    places.ndim() <= 1 && !places.dtype().is_float(),
                    runtime,
                    "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or \
                     one-dimensional tensor of integers, but got a tensor of shape {}",
                    places.shape()
                );
                let places: Vec<i64> = places.to_vec()?.iter().map(|s| s.as_i64()).collect();
                match (call.tensor(1).ndim(), &*places) {
                    (0, &[count]) => sections(call, dim, n, count),
                    (_, places) => cuts(call, dim, n, places),
                }
            }
        }
    }),
    ..OpDef::COMPOSITE
};

/// `hsplit`, `vsplit`, `dsplit`: like `tensor_split`, but a number of sections must divide.
fn split_evenly(call: &Call, least: usize, dim: usize) -> Result<Outputs> {
    let (x, name) = (call.tensor(0), call.op.name);
    ensure!(
        x.ndim() >= least,
        runtime,
        "torch.{name} requires a tensor with at least {least} dimension{}, but got a tensor with {} \
         dimensions!",
        if least == 1 { "" } else { "s" },
        x.ndim()
    );
    let n = x.shape()[dim];
    if call.overload == 1 {
        return cuts(call, dim, n, call.attrs.ints(0));
    }
    match call.attrs.int(0) {
        count if count > 0 && n as i64 % count == 0 => sections(call, dim, n, count),
        count => bail!(
            runtime,
            "torch.{name} attempted to split along dimension {dim}, but the size of the dimension \
             {n} is not divisible by the split_size {count}!"
        ),
    }
}

const EVENLY: OpDef = OpDef {
    sig: &["(input, sections: int)", "(input, indices: int[])"],
    returns: Returns::Tuple,
    ..OpDef::COMPOSITE
};

/// `hsplit`.
pub static HSPLIT: OpDef = OpDef {
    name: "hsplit",
    doc: "Views of pieces of dimension 1 (of a vector: 0): so many of one size, or those between \
          indices.",
    kernel: Kernel::Composite(|call| split_evenly(call, 1, usize::from(call.tensor(0).ndim() > 1))),
    ..EVENLY
};

/// `vsplit`.
pub static VSPLIT: OpDef = OpDef {
    name: "vsplit",
    doc: "Views of pieces of dimension 0: so many of one size, or those between indices.",
    kernel: Kernel::Composite(|call| split_evenly(call, 2, 0)),
    ..EVENLY
};

/// `dsplit`.
pub static DSPLIT: OpDef = OpDef {
    name: "dsplit",
    doc: "Views of pieces of dimension 2: so many of one size, or those between indices.",
    kernel: Kernel::Composite(|call| split_evenly(call, 3, 2)),
    ..EVENLY
};

/// `unbind`.
pub static UNBIND: OpDef = OpDef {
    name: "unbind",
    doc: "Views of every index of dimension `dim`, which goes away.",
    sig: &["(input, dim: int = 0)"],
    returns: Returns::Tuple,
    kernel: Kernel::View(|call| {
        let x = call.tensor(0);
        let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
        ensure!(
            x.ndim() > 0,
            index,
            "Dimension specified as {} but tensor has no dimensions",
            call.attrs.int(0)
        );
        let mut row = x.layout().clone();
        let (n, step) = (row.shape.remove(dim), row.strides.remove(dim));
        let at = |i: usize| Layout {
            offset: row.offset + i * step,
            ..row.clone()
        };
        Ok((0..n).map(at).collect())
    }),
    // The gradients of all indices, stacked.
    grads: &[grad(NOTHING, |cx| {
        stack(&all_grads(cx)?, cx.attrs.int(0)).map(Some)
    })],
    ..OpDef::VIEW
};
