//! Sums of products over named dimensions.
//!
//! NOTE [Contraction]
//! Every dimension of every operand has a label. Labels that an operand repeats become its
//! diagonal. Operands are contracted pairwise from left to right: a label of both that nobody needs
//! afterwards is summed by a matrix product, one that is still needed is a batch dimension of it,
//! and one of a single operand is a row or a column. So a pair costs one `mm` or `bmm`, and the
//! derivatives are those of the views and products it is made of.

use super::def::{Call, Forms, Kernel, OpDef};
use super::{bmm, diagonal, mm, mul, permute, reshape, squeeze_dim, sum_dims, unsqueeze};
use crate::base::shape::wrap_dims;
use crate::base::{DType, Result, Shape};
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::{SmallVec, smallvec};

/// This family.
pub(super) static OPS: &[&OpDef] = &[&EINSUM, &TENSORDOT];

/// What a dimension is called: 0..52 are letters, in the order of their codes; the dimensions of
/// an ellipsis follow, the last one first.
type Label = u8;
type Labels = SmallVec<[Label; 6]>;

const ELLIPSIS: Label = 52;

fn label_of(letter: u8) -> Label {
    match letter {
        b'A'..=b'Z' => letter - b'A',
        _ => letter - b'a' + 26,
    }
}

fn name_of(label: Label) -> String {
    match label {
        0..26 => char::from(b'A' + label).to_string(),
        26..ELLIPSIS => char::from(b'a' + label - 26).to_string(),
        _ => "...".into(),
    }
}

/// A tensor whose dimensions have labels, no two the same.
struct Named {
    tensor: Tensor,
    labels: Labels,
}

impl Named {
    fn size(&self, label: Label) -> usize {
        let at = self.labels.iter().position(|l| *l == label);
        self.tensor.shape()[at.expect("a label of this tensor")]
    }

    fn has(&self, label: Label) -> bool {
        self.labels.contains(&label)
    }

    /// The same dimensions in another order.
    fn ordered(&self, order: &[Label]) -> Result<Tensor> {
        if *order == *self.labels {
            return Ok(self.tensor.clone());
        }
        let place = |l: &Label| self.labels.iter().position(|own| own == l);
        let dims: SmallVec<[i64; 6]> = order
            .iter()
            .map(|l| place(l).expect("a label of this tensor") as i64)
            .collect();
        permute(&self.tensor, &*dims)
    }

    /// Summed over the labels for which `keep` does not hold. `dtype` is that of the sum; left out,
    /// integers are summed in `int64`.
    fn summed(self, dtype: Option<DType>, keep: impl Fn(Label) -> bool) -> Result<Self> {
        let (mut dims, mut labels): (SmallVec<[i64; 6]>, Labels) = Default::default();
        for (i, l) in self.labels.iter().enumerate() {
            if keep(*l) {
                labels.push(*l);
            } else {
                dims.push(i as i64);
            }
        }
        if dims.is_empty() {
            return Ok(self);
        }
        Ok(Self {
            tensor: sum_dims(&self.tensor, &*dims, false, dtype)?,
            labels,
        })
    }
}

/// See NOTE [Contraction]. Equal labels have equal sizes; `keep` tells which labels are needed
/// afterwards.
fn contract(a: Named, b: Named, keep: impl Fn(Label) -> bool) -> Result<Named> {
    let dtype = Some(a.tensor.dtype());
    let a = a.summed(dtype, |l| keep(l) || b.has(l))?;
    let dtype = Some(b.tensor.dtype());
    let b = b.summed(dtype, |l| keep(l) || a.has(l))?;
    let select = |from: &Named, f: &dyn Fn(Label) -> bool| -> Labels {
        from.labels.iter().copied().filter(|l| f(*l)).collect()
    };
    let batch = select(&a, &|l| b.has(l) && keep(l));
    let inner = select(&a, &|l| b.has(l) && !keep(l));
    let rows = select(&a, &|l| !b.has(l));
    let columns = select(&b, &|l| !a.has(l));
    let join = |parts: [&Labels; 3]| -> Labels { parts.into_iter().flatten().copied().collect() };
    let labels = join([&batch, &rows, &columns]);
    if inner.is_empty() {
        // An elementwise product: `a` gets dimensions of size 1 for the columns, `b` for the rows.
        let mut left = a.ordered(&join([&batch, &rows, &Labels::new()]))?;
        for _ in &columns {
            left = unsqueeze(&left, -1i64)?;
        }
        let mut right = b.ordered(&join([&batch, &columns, &Labels::new()]))?;
        for _ in &rows {
            right = unsqueeze(&right, batch.len())?;
        }
        return Ok(Named {
            tensor: mul(left, right)?,
            labels,
        });
    }
    let count = |labels: &Labels, of: &Named| labels.iter().map(|l| of.size(*l)).product::<usize>();
    let (n, k, m) = (count(&rows, &a), count(&inner, &a), count(&columns, &b));
    let left = a.ordered(&join([&batch, &rows, &inner]))?;
    let right = b.ordered(&join([&batch, &inner, &columns]))?;
    let shape: Shape = (batch.iter().chain(&rows).map(|l| a.size(*l)))
        .chain(columns.iter().map(|l| b.size(*l)))
        .collect();
    // (n, k)(k, m) -> (n, m), in each of the batch.
    let product = if batch.is_empty() {
        mm(
            reshape(&left, &Shape::from([n, k]))?,
            reshape(&right, &Shape::from([k, m]))?,
        )?
    } else {
        let size = count(&batch, &a);
        bmm(
            reshape(&left, &Shape::from([size, n, k]))?,
            reshape(&right, &Shape::from([size, k, m]))?,
        )?
    };
    Ok(Named {
        tensor: reshape(&product, &shape)?,
        labels,
    })
}

/// The labels of one operand (or of the output) as written: an ellipsis stands where `ELLIPSIS`
/// does. The text starts at `start` in the equation.
fn parse_labels(text: &str, start: usize, of: std::fmt::Arguments) -> Result<Labels> {
    let bytes = text.as_bytes();
    let mut labels = Labels::new();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b' ' => {}
            letter @ (b'a'..=b'z' | b'A'..=b'Z') => labels.push(label_of(letter)),
            b'.' => {
                ensure!(
                    !labels.contains(&ELLIPSIS),
                    runtime,
                    "einsum(): found '.' for {of} for which an ellipsis was already found"
                );
                ensure!(
                    bytes[at..].starts_with(b"..."),
                    runtime,
                    "einsum(): found '.' for {of} that is not part of any ellipsis"
                );
                labels.push(ELLIPSIS);
                at += 2;
            }
            _ => bail!(
                runtime,
                "einsum(): invalid subscript given at index {} in the equation string, subscripts \
                 must be in [a-zA-Z]",
                start + at
            ),
        }
        at += 1;
    }
    Ok(labels)
}

/// An equation: the labels of each operand, and those of the output if it is written.
fn parse(equation: &str) -> Result<(Vec<Labels>, Option<Labels>)> {
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation, None),
    };
    let mut operands = Vec::new();
    let mut start = 0;
    for (i, text) in left.split(',').enumerate() {
        operands.push(parse_labels(text, start, format_args!("operand {i}"))?);
        start += text.len() + 1;
    }
    let Some(text) = right else {
        return Ok((operands, None));
    };
    let output = parse_labels(text, left.len() + 2, format_args!("the output"))?;
    for (j, l) in output.iter().enumerate() {
        ensure!(
            !output[..j].contains(l),
            runtime,
            "einsum(): output subscript {} appears more than once in the output",
            name_of(*l)
        );
        ensure!(
            *l == ELLIPSIS || operands.iter().any(|labels| labels.contains(l)),
            runtime,
            "einsum(): output subscript {} does not appear in the equation for any input operand",
            name_of(*l)
        );
    }
    Ok((operands, Some(output)))
}

/// Replaces the ellipsis by the labels of its `count` dimensions. Dimensions of different
/// ellipses align at the end, as in broadcasting.
fn spread(labels: &Labels, count: usize) -> Labels {
    let mut out = Labels::new();
    for l in labels {
        match *l {
            ELLIPSIS => out.extend((0..count).rev().map(|d| ELLIPSIS + d as Label)),
            l => out.push(l),
        }
    }
    out
}

/// An operand with its labels: repeated ones are made its diagonal.
fn named(t: &Tensor, written: &Labels, i: usize) -> Result<Named> {
    let letters = written.iter().filter(|l| **l != ELLIPSIS).count();
    let dotted = letters < written.len();
    ensure!(
        dotted || letters == t.ndim(),
        runtime,
        "einsum(): the number of subscripts in the equation ({letters}) does not match the number \
         of dimensions ({}) for operand {i} and no ellipsis was given: its shape is {}",
        t.ndim(),
        t.shape()
    );
    ensure!(
        letters <= t.ndim(),
        runtime,
        "einsum(): the number of subscripts in the equation ({letters}) is more than the number of \
         dimensions ({}) for operand {i} of shape {}",
        t.ndim(),
        t.shape()
    );
    let mut labels = spread(written, t.ndim() - letters);
    let mut tensor = t.clone();
    let mut j = 0;
    while j < labels.len() {
        let label = labels[j];
        let Some(first) = labels[..j].iter().position(|l| *l == label) else {
            j += 1;
            continue;
        };
        let (n, m) = (tensor.shape()[j], tensor.shape()[first]);
        ensure!(
            n == m,
            runtime,
            "einsum(): subscript {} is repeated for operand {i} but the sizes don't match, {n} != \
             {m}",
            name_of(label)
        );
        // The diagonal is the last dimension of what is left.
        tensor = diagonal(&tensor, 0i64, first, j)?;
        labels.remove(j);
        labels.remove(first);
        labels.push(label);
        j -= 1;
    }
    Ok(Named { tensor, labels })
}

/// Sizes of 1 broadcast: where another operand has more, the dimension is dropped.
fn drop_ones(operands: &mut [Named]) -> Result<()> {
    let mut sizes: SmallVec<[(Label, usize); 8]> = SmallVec::new();
    for (i, operand) in operands.iter().enumerate() {
        for (l, &n) in operand.labels.iter().zip(operand.tensor.shape().iter()) {
            match sizes.iter_mut().find(|(seen, _)| seen == l) {
                None => sizes.push((*l, n)),
                Some((_, size)) if *size == 1 => *size = n,
                Some((_, size)) => ensure!(
                    n == 1 || n == *size,
                    runtime,
                    "einsum(): subscript {} has size {n} for operand {i} which does not broadcast \
                     with previously seen size {size}",
                    name_of(*l)
                ),
            }
        }
    }
    for operand in operands {
        for j in (0..operand.labels.len()).rev() {
            let label = operand.labels[j];
            let wide = sizes.iter().any(|(l, n)| *l == label && *n != 1);
            if wide && operand.tensor.shape()[j] == 1 {
                operand.tensor = squeeze_dim(&operand.tensor, j)?;
                operand.labels.remove(j);
            }
        }
    }
    Ok(())
}

fn einsum(call: &Call) -> Result<Tensor> {
    let (written, output) = parse(call.attrs.str(0))?;
    let tensors: SmallVec<[&Tensor; 3]> = call.tensors().collect();
    ensure!(
        !tensors.is_empty(),
        value,
        "einsum(): must specify the equation string and at least one operand, or at least one \
         operand and its subscripts list"
    );
    ensure!(
        tensors.len() == written.len(),
        runtime,
        "einsum(): {} operands were provided than specified in the equation: {} for {}",
        if tensors.len() > written.len() {
            "more"
        } else {
            "fewer"
        },
        tensors.len(),
        written.len()
    );
    let mut operands = (tensors.iter().zip(&written).enumerate())
        .map(|(i, (t, labels))| named(t, labels, i))
        .collect::<Result<Vec<Named>>>()?;
    let of_ellipsis = |l: &&Label| **l >= ELLIPSIS;
    let dotted = operands
        .iter()
        .map(|o| o.labels.iter().filter(of_ellipsis).count())
        .max()
        .unwrap_or(0);
    let output = output.unwrap_or_else(|| {
        // What is not written: the ellipsis, then the letters that appear once, in order.
        let all = || written.iter().flatten();
        let once = |l: &Label| all().filter(|other| *other == l).count() == 1;
        std::iter::once(ELLIPSIS)
            .chain((0..ELLIPSIS).filter(once))
            .collect()
    });
    let output = spread(&output, dotted);
    drop_ones(&mut operands)?;
    let mut operands = operands.into_iter();
    let mut result = operands.next().expect("there is an operand");
    while let Some(next) = operands.next() {
        let later = operands.as_slice();
        let keep = |l| output.contains(&l) || later.iter().any(|o| o.has(l));
        result = contract(result, next, keep)?;
    }
    result
        .summed(None::<DType>, |l| output.contains(&l))?
        .ordered(&output)
}

/// `einsum`.
pub static EINSUM: OpDef = OpDef {
    name: "einsum",
    doc: "The sum of products that `equation` describes: each operand's dimensions are named by \
          letters, and what the output does not name is summed.\n\n\
          `'ij,jk->ik'` is a matrix product, `'ii'` a trace, `'bij,bjk'` a batch of products. Without \
          `->` the output has the letters that appear once, in order. `...` stands for dimensions \
          that broadcast; a letter that an operand repeats takes its diagonal. Operands are \
          contracted from left to right, each pair by one matrix product.\n\n\
          >>> x = rg.tensor([[1., 2.], [3., 4.]])\n\
          >>> rg.einsum('ij,j->i', x, rg.tensor([1., 10.]))\n\
          tensor([21., 43.])\n\
          >>> rg.einsum('ii', x)\n\
          tensor(5.)",
    sig: &["(equation: str, *operands: Tensor[])"],
    forms: Forms::FUNCTION,
    kernel: Kernel::Composite(|call| Ok(smallvec![einsum(call)?])),
    ..OpDef::COMPOSITE
};

/// Dimensions `over_a` of `a` with dimensions `over_b` of `b`, summed.
fn tensordot(a: &Tensor, b: &Tensor, over_a: &[i64], over_b: &[i64]) -> Result<Tensor> {
    ensure!(
        over_a.len() == over_b.len(),
        runtime,
        "both dimension lists should have same length, got {over_a:?} and {over_b:?}"
    );
    let wrap = |dims: &[i64], ndim| match dims {
        [] => Ok(SmallVec::new()),
        dims => wrap_dims(dims, ndim),
    };
    let (dims_a, dims_b) = (wrap(over_a, a.ndim())?, wrap(over_b, b.ndim())?);
    let label = |i: usize| i as Label;
    let left = Named {
        tensor: a.clone(),
        labels: (0..a.ndim()).map(label).collect(),
    };
    let mut right = Named {
        tensor: b.clone(),
        labels: (0..b.ndim()).map(|j| label(a.ndim() + j)).collect(),
    };
    for (i, (&da, &db)) in dims_a.iter().zip(&dims_b).enumerate() {
        let (n, m) = (a.shape()[da], b.shape()[db]);
        ensure!(
            n == m || n == 1 || m == 1,
            runtime,
            "contracted dimensions need to match, but first has size {n} in dim {} and second has \
             size {m} in dim {}: shapes {} and {}",
            over_a[i],
            over_b[i],
            a.shape(),
            b.shape()
        );
        // A size of 1 broadcasts: with labels of their own, each operand is summed alone.
        if n == m {
            right.labels[db] = left.labels[da];
        }
    }
    let rows = (0..a.ndim()).filter(|d| !dims_a.contains(d));
    let columns = (0..b.ndim()).filter(|d| !dims_b.contains(d));
    let output: Labels = rows
        .map(label)
        .chain(columns.map(|d| label(a.ndim() + d)))
        .collect();
    contract(left, right, |l| output.contains(&l))?.ordered(&output)
}

/// `tensordot`.
pub static TENSORDOT: OpDef = OpDef {
    name: "tensordot",
    doc: "The sum of products over `dims`: the last `dims` dimensions of `a` with the first of `b`, \
          or, given two lists, those of `a` with those of `b`, pair by pair. The result has the \
          other dimensions of `a`, then those of `b`.\n\n\
          >>> rg.tensordot(rg.ones(2, 3, 4), rg.ones(3, 4, 5)).shape\n\
          rustgrad.Size([2, 5])\n\
          >>> rg.tensordot(rg.ones(2, 3), rg.ones(4, 3), dims=([1], [1])).shape\n\
          rustgrad.Size([2, 4])",
    sig: &[
        "(a, b, dims: int = 2)",
        "(a, b, dims_a: int[], dims_b: int[])",
    ],
    forms: Forms::FUNCTION,
    kernel: Kernel::Composite(|call| {
        let (a, b) = (call.tensor(0), call.tensor(1));
        if call.overload == 1 {
            let (over_a, over_b) = (call.attrs.ints(0), call.attrs.ints(1));
            return Ok(smallvec![tensordot(a, b, over_a, over_b)?]);
        }
        let n = call.attrs.int(0);
        ensure!(
            n >= 0,
            runtime,
            "tensordot expects dims >= 0, but got dims={n}"
        );
        ensure!(
            n as usize <= a.ndim().min(b.ndim()),
            runtime,
            "tensordot expects dims < ndim_a or ndim_b, but got dims={n} for shapes {} and {}",
            a.shape(),
            b.shape()
        );
        let over_a: SmallVec<[i64; 4]> = (-n..0).collect();
        let over_b: SmallVec<[i64; 4]> = (0..n).collect();
        Ok(smallvec![tensordot(a, b, &over_a, &over_b)?])
    }),
    ..OpDef::COMPOSITE
};
