//! Sorting, order statistics, unique elements, searching and counting.

use super::def::{Batch, Call, Cost, Forms, Kernel, OpDef, Returns, spec};
use super::gather::with_history;
use super::index::flat_nonzero;
use super::scan::{converted, cumsum, diff};
use super::{
    amax, any_dims, argmax, cast, cat, eq, gather, gt, index_select, isnan, logical_and,
    logical_not, logical_or, ne, permute, reshape, scatter, select, slice, squeeze_dim, sub,
    sum_dims, where_,
};
use crate::base::shape::wrap_dim;
use crate::base::{Attr, Attrs, DType, Device, Result, Scalar, Shape};
use crate::tape::Outputs;
use crate::tensor::{Operand, Tensor};
use crate::{bail, ensure};
use smallvec::smallvec;
use std::ops::Range;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &ORDER,
    &SORT,
    &ARGSORT,
    &MSORT,
    &TOPK,
    &KTHVALUE,
    &MEDIAN,
    &MEDIAN_DIM,
    &NANMEDIAN,
    &NANMEDIAN_DIM,
    &MODE,
    &UNIQUE,
    &UNIQUE_CONSECUTIVE,
    &SEARCH,
    &SEARCHSORTED,
    &BUCKETIZE,
    &COUNTS,
    &BINCOUNT,
    &HISTC,
    &ISIN,
];

const NAMES: Returns = Returns::Named(&["values", "indices"]);

/// The kernel of the sorts: values and positions.
pub static ORDER: OpDef = OpDef {
    name: "sort_order",
    doc: "The `k` elements in order along `dim` from rank `first` on, and their positions.",
    sig: &["(input, dim: int, descending: bool, k: int, first: int)"],
    forms: Forms::HIDDEN,
    returns: Returns::Tuple,
    meta: |call| {
        let mut specs = super::meta::values_and_places(call)?;
        let x = call.tensor(0);
        if x.ndim() > 0 {
            let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
            for spec in &mut specs {
                spec.shape[dim] = call.attrs.int(2) as usize;
            }
        }
        Ok(specs)
    },
    kernel: Kernel::Compute(|cx| {
        let x = cx.call.tensor(0);
        let dim = wrap_dim(cx.int(0), x.ndim())?;
        let (values, places) = (cx.outs[0].as_view(), cx.outs[1].as_view());
        let first = cx.int(3) as usize;
        cx.backend
            .sort(values, places, x.as_view(), dim, cx.bool(1), first);
        Ok(())
    }),
    batch: Batch::Dims,
    cost: Cost::Heavy,
    ..OpDef::BASE
};

/// The elements in order along `dim`, without history, and their positions.
fn sorted(x: &Tensor, dim: usize, descending: bool) -> Result<(Tensor, Tensor)> {
    let n = x.shape().get(dim).map_or(1, |n| *n);
    some_sorted(x, dim, descending, 0..n)
}

/// The elements of some ranks in order along `dim`, without history, and their positions.
fn some_sorted(
    x: &Tensor,
    dim: usize,
    descending: bool,
    ranks: Range<usize>,
) -> Result<(Tensor, Tensor)> {
    let (k, first) = (ranks.len().into(), ranks.start.into());
    let attrs: Attrs = [dim.into(), descending.into(), k, first]
        .into_iter()
        .collect();
    let mut outs = super::dispatch::run(&ORDER, &[x.detach().into()], &attrs)?;
    let places = outs.swap_remove(1);
    Ok((outs.swap_remove(0), places))
}

/// The positions of the elements in ascending or descending order along `dim`.
///
/// # Errors
/// When `dim` is out of range.
pub fn argsort(x: &Tensor, dim: i64, descending: bool) -> Result<Tensor> {
    Ok(sorted(x, wrap_dim(dim, x.ndim())?, descending)?.1)
}

/// Sort.
pub static SORT: OpDef = OpDef {
    name: "sort",
    doc: "The elements in order along `dim`, and their positions. Equal elements keep their order, \
          whether `stable` asks for it or not; NaN sorts as the greatest. The gradient of a value \
          goes to the element it was.\n\n\
          >>> rg.tensor([3., 1., 2.]).sort().values\ntensor([1., 2., 3.])",
    sig: &["(input, dim: int = -1, descending: bool = False, *, stable: bool? = None)"],
    returns: NAMES,
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
        let (values, places) = sorted(x, dim, call.attrs.bool(1))?;
        Ok(smallvec![with_history(values, x, &places, dim)?, places])
    }),
    ..OpDef::COMPOSITE
};

/// Positions of the sorted elements.
pub static ARGSORT: OpDef = OpDef {
    name: "argsort",
    doc: "The positions of the elements in order along `dim`: the `indices` of `sort`.\n\n\
          >>> rg.tensor([3., 1., 2.]).argsort()\ntensor([1, 2, 0])",
    sig: &["(input, dim: int = -1, descending: bool = False, *, stable: bool? = None)"],
    kernel: Kernel::Composite(|call| {
        let (dim, descending) = (call.attrs.int(0), call.attrs.bool(1));
        Ok(smallvec![argsort(call.tensor(0), dim, descending)?])
    }),
    ..OpDef::COMPOSITE
};

/// Sort along the first dimension.
pub static MSORT: OpDef = OpDef {
    name: "msort",
    doc: "The elements in ascending order along the first dimension.",
    sig: &["(input)"],
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let (_, places) = sorted(x, 0, false)?;
        Ok(smallvec![gather(x, &places, 0i64)?])
    }),
    ..OpDef::COMPOSITE
};

/// The `k` greatest elements.
pub static TOPK: OpDef = OpDef {
    name: "topk",
    doc: "The `k` greatest elements along `dim` (the least, if not `largest`), in order, and their \
          positions. NaN counts as the greatest.\n\n\
          >>> rg.tensor([3., 1., 2.]).topk(2).indices\ntensor([0, 2])",
    sig: &["(input, k: int, dim: int = -1, largest: bool = True, sorted: bool = True)"],
    returns: NAMES,
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let (k, dim) = (call.attrs.int(0), wrap_dim(call.attrs.int(1), x.ndim())?);
        let n = x.shape().get(dim).map_or(1, |n| *n as i64);
        ensure!(
            (0..=n).contains(&k),
            runtime,
            "selected index k out of range: k is {k}, and dimension {dim} of {} has {n} elements",
            x.shape()
        );
        let (values, places) = some_sorted(x, dim, call.attrs.bool(2), 0..k as usize)?;
        Ok(smallvec![with_history(values, x, &places, dim)?, places])
    }),
    ..OpDef::COMPOSITE
};

/// The element that `places` (size 1 along `dim`) points at, and `places`.
fn chosen(x: &Tensor, places: Tensor, dim: usize, keepdim: bool) -> Result<Outputs> {
    let values = gather(x, &places, dim)?;
    if keepdim || x.ndim() == 0 {
        return Ok(smallvec![values, places]);
    }
    Ok(smallvec![
        squeeze_dim(&values, dim)?,
        squeeze_dim(&places, dim)?
    ])
}

/// The `k`-th least element.
pub static KTHVALUE: OpDef = OpDef {
    name: "kthvalue",
    doc: "The `k`-th least element along `dim` (`k` counts from 1), and its position. NaN counts as \
          the greatest.",
    sig: &["(input, k: int, dim: int = -1, keepdim: bool = False)"],
    returns: NAMES,
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let (k, dim) = (call.attrs.int(0), wrap_dim(call.attrs.int(1), x.ndim())?);
        let n = x.shape().get(dim).map_or(1, |n| *n as i64);
        ensure!(
            (1..=n).contains(&k),
            runtime,
            "kthvalue(): selected number k out of range for dimension {dim}: k is {k} of {n}"
        );
        let (_, places) = some_sorted(x, dim, false, k as usize - 1..k as usize)?;
        chosen(x, places, dim, call.attrs.bool(2))
    }),
    ..OpDef::COMPOSITE
};

/// The position of the lower median along `dim`, kept as size 1.
fn median_place(x: &Tensor, dim: usize, skip_nan: bool) -> Result<Tensor> {
    let n = x.shape().get(dim).map_or(1, |n| *n as i64);
    ensure!(
        n > 0,
        index,
        "median(): Expected reduction dim {dim} to have non-zero size, but the shape is {}",
        x.shape()
    );
    let middle = (n - 1) / 2;
    let is_float = x.dtype().is_float();
    if !(skip_nan && is_float && may_have_nan(x)?) {
        let place = some_sorted(x, dim, false, middle as usize..middle as usize + 1)?.1;
        if skip_nan || !is_float {
            return Ok(place);
        }
        // Where there is a NaN, the first one is the greatest element.
        let greatest = argmax(x.detach(), dim, true)?;
        let is_nan = isnan(gather(x.detach(), &greatest, dim)?)?;
        return where_(is_nan, greatest, place);
    }
    let (_, places) = sorted(x, dim, false)?;
    if x.ndim() == 0 {
        return Ok(places);
    }
    // NaN sorts to the end.
    let nans = sum_dims(isnan(x.detach())?, dim, true, None::<DType>)?;
    let valid = sub(n, nans)?;
    let middle = super::floor_divide(sub(&valid, 1i64)?, 2i64)?;
    gather(places, where_(gt(valid, 0i64)?, middle, 0i64)?, dim)
}

/// Whether there is a NaN, or no element to look at.
fn may_have_nan(x: &Tensor) -> Result<bool> {
    Ok(x.device() == Device::Meta || super::any(isnan(x.detach())?)?.item()?.as_bool())
}

/// The lower median of all elements.
fn median_of_all(x: &Tensor, skip_nan: bool) -> Result<Outputs> {
    let flat = reshape(x, &Shape::from([x.numel()]))?;
    if x.numel() == 0 {
        ensure!(
            x.dtype().is_float(),
            runtime,
            "median(): an empty tensor of integers has no median"
        );
        return Ok(smallvec![Tensor::full(
            Shape::new(),
            f64::NAN,
            x.dtype(),
            x.device()
        )?]);
    }
    let place = median_place(&flat, 0, skip_nan)?;
    let mut outs = chosen(&flat, place, 0, false)?;
    outs.truncate(1);
    if x.device() == Device::Meta || !(outs[0].requires_grad() || outs[0].tangents().is_some()) {
        return Ok(outs);
    }
    // All elements that are the median share its gradient, as they do in `amax`.
    let median = outs[0].detach();
    let nan = logical_and(isnan(flat.detach())?, isnan(&median)?)?;
    let equal = logical_or(eq(flat.detach(), &median)?, nan)?;
    let places = flat_nonzero(&equal)?;
    Ok(smallvec![amax(
        index_select(&flat, &places, 0i64)?,
        None::<i64>,
        false
    )?])
}

macro_rules! medians {
    ($( $ALL:ident $DIM:ident $name:literal $dim_name:literal $skip_nan:literal $nan:literal; )*) => { $(
        /// The median of all elements.
        pub static $ALL: OpDef = OpDef {
            name: $name,
            doc: concat!("The median of all elements; with `dim`, the median along it and its \
                position. Of two middle elements, the lower one. ", $nan, " The gradient goes to one \
                element."),
            sig: &["(input)"],
            kernel: Kernel::Composite(|call| median_of_all(call.tensor(0), $skip_nan)),
            ..OpDef::COMPOSITE
        };

        /// The median along a dimension, and its position.
        pub static $DIM: OpDef = OpDef {
            name: $dim_name,
            doc: concat!("The lower median along `dim`, and its position. ", $nan),
            sig: &["(input, dim: int, keepdim: bool = False)"],
            returns: NAMES,
            kernel: Kernel::Composite(|call| {
                let x = call.tensor(0);
                let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
                chosen(x, median_place(x, dim, $skip_nan)?, dim, call.attrs.bool(1))
            }),
            ..OpDef::COMPOSITE
        };
    )* };
}

medians! {
    MEDIAN MEDIAN_DIM "median" "median.dim" false "Where there is a NaN, it wins.";
    NANMEDIAN NANMEDIAN_DIM "nanmedian" "nanmedian.dim" true "NaN does not count.";
}

/// The most frequent element.
pub static MODE: OpDef = OpDef {
    name: "mode",
    doc: "The most frequent element along `dim` (of equally frequent ones the least), and the \
          position of its last occurrence.",
    sig: &["(input, dim: int = -1, keepdim: bool = False)"],
    returns: NAMES,
    kernel: Kernel::Composite(|call| {
        let x = call.tensor(0);
        let dim = wrap_dim(call.attrs.int(0), x.ndim())?;
        let keepdim = call.attrs.bool(1);
        let (values, places) = sorted(x, dim, false)?;
        if x.ndim() == 0 {
            return chosen(x, places, dim, keepdim);
        }
        let n = x.shape()[dim];
        ensure!(
            n > 0,
            index,
            "mode(): Expected reduction dim {dim} to have non-zero size, but the shape is {}",
            x.shape()
        );
        // A run's length so far is largest where the most frequent element's run ends; argmax
        // finds the first such place.
        let mut along = Shape::filled(1, x.ndim());
        along[dim] = n;
        let rank = reshape(&super::shape::arange_like(n, x.device())?, &along)?;
        let after = slice(&values, dim, 1i64, n, 1i64)?;
        let before = slice(&values, dim, 0i64, n - 1, 1i64)?;
        let later = slice(&rank, dim, 1i64, n, 1i64)?;
        let starts = where_(ne(after, before)?, later, 0i64)?;
        let mut first = x.shape().clone();
        first[dim] = 1;
        let first = Tensor::zeros(first, DType::I64, x.device())?;
        let starts = cat(&[first, starts], dim as i64)?;
        let attrs: Attrs = [Attr::from(dim)].into_iter().collect();
        let start = super::dispatch::run1(&super::scan::CUMMAX, &[starts.into()], &attrs)?;
        let end = argmax(sub(rank, start)?, dim, true)?;
        chosen(x, gather(places, end, dim)?, dim, keepdim)
    }),
    ..OpDef::COMPOSITE
};

/// Whether each row of a matrix begins a run of equal ones: is the first one, or differs from the one
/// before it.
fn begins_run(rows: &Tensor) -> Result<Tensor> {
    let (n, m, device) = (rows.shape()[0], rows.shape()[1], rows.device());
    if n == 0 {
        return Tensor::empty([0], DType::Bool, device);
    }
    let after = slice(rows, 0i64, 1i64, n, 1i64)?;
    let before = slice(rows, 0i64, 0i64, n - 1, 1i64)?;
    let differs = ne(after, before)?;
    let differs = match m {
        1 => reshape(&differs, &Shape::from([n - 1]))?,
        _ => any_dims(differs, 1i64, false)?,
    };
    cat(&[Tensor::full([1], 1i64, DType::Bool, device)?, differs], 0)
}

/// Unique rows along the dimension in `dim`, or elements; which of them each row is, and how often
/// each occurs, if these are wanted.
fn unique_of(call: &Call, consecutive: bool) -> Result<Outputs> {
    let (x, dim) = (call.tensor(0), call.attrs.int_opt(0));
    let (wants_inverse, wants_counts) = (call.attrs.bool(1), call.attrs.bool(2));
    let dim = dim.map(|d| wrap_dim(d, x.ndim())).transpose()?;
    let dim = dim.filter(|_| x.ndim() > 0);
    // The dimension first, the others behind it.
    let swap = |x: &Tensor, from: usize, to: usize| {
        let mut order: Vec<i64> = (0..x.ndim() as i64).collect();
        let d = order.remove(from);
        order.insert(to, d);
        permute(x, order.as_slice())
    };
    let (front, rows) = match dim {
        None => (None, reshape(x, &Shape::from([x.numel(), 1]))?),
        Some(d) => {
            let front = swap(x, d, 0)?;
            let n = front.shape()[0];
            let m = front.shape()[1..].iter().product();
            let rows = reshape(&front, &Shape::from([n, m]))?;
            (Some(front), rows)
        }
    };
    let [n, m] = [rows.shape()[0], rows.shape()[1]];
    let (in_order, order) = if consecutive {
        (rows, None)
    } else if m == 1 {
        let (values, order) = sorted(&rows, 0, false)?;
        let values = with_history(values, &rows, &order, 0)?;
        (values, Some(reshape(&order, &Shape::from([n]))?))
    } else {
        // Stable sorts by the columns, the least important one first.
        let mut order = super::shape::arange_like(n, x.device())?;
        let bare = rows.detach();
        for column in (0..m).rev() {
            let keys = index_select(select(&bare, 1i64, column)?, &order, 0i64)?;
            order = index_select(order, argsort(&keys, 0, false)?, 0i64)?;
        }
        (index_select(&rows, &order, 0i64)?, Some(order))
    };
    let begins = begins_run(&in_order.detach())?;
    let starts = flat_nonzero(&begins)?;
    let values = index_select(&in_order, &starts, 0i64)?;
    let values = match (dim, front) {
        (Some(d), Some(front)) => {
            let mut shape = front.shape().clone();
            shape[0] = starts.numel();
            super::contiguous(&swap(&reshape(&values, &shape)?, 0, d)?)?
        }
        _ => reshape(&values, &Shape::from([values.numel()]))?,
    };
    let mut outs = smallvec![values];
    if wants_inverse {
        let mut inverse = sub(cumsum(begins, 0i64, None::<DType>)?, 1i64)?;
        if let Some(order) = order {
            let new = Tensor::empty([n], DType::I64, x.device())?;
            inverse = scatter(new, order, inverse, 0i64)?;
        }
        if dim.is_none() {
            inverse = reshape(&inverse, x.shape())?;
        }
        outs.push(inverse);
    }
    if wants_counts {
        let end = Tensor::full([1], n as i64, DType::I64, x.device())?;
        outs.push(diff(starts, Operand::None, end, 1i64, 0i64)?);
    }
    Ok(outs)
}

/// Unique elements: what `rustgrad.unique` gives.
pub static UNIQUE: OpDef = OpDef {
    name: "unique_parts",
    doc: "The unique elements in ascending order (or the unique slices along `dim`), which of them \
          each element is, and how often each occurs. The gradient of a unique element goes to its \
          first occurrence.",
    sig: &["(input, dim: int? = None, inverse: bool = True, counts: bool = True)"],
    forms: Forms::NN,
    returns: Returns::OneOrTuple,
    kernel: Kernel::Composite(|call| unique_of(call, false)),
    ..OpDef::COMPOSITE
};

/// Runs of equal elements: what `rustgrad.unique_consecutive` gives.
pub static UNIQUE_CONSECUTIVE: OpDef = OpDef {
    name: "unique_consecutive_parts",
    doc: "The first element of each run of equal ones (or slices along `dim`), which run each element \
          is in, and how long each is.",
    sig: &["(input, dim: int? = None, inverse: bool = True, counts: bool = True)"],
    forms: Forms::NN,
    returns: Returns::OneOrTuple,
    kernel: Kernel::Composite(|call| unique_of(call, true)),
    ..OpDef::COMPOSITE
};

/// The kernel of [`SEARCHSORTED`].
pub static SEARCH: OpDef = OpDef {
    name: "search",
    doc: "Where each element of `input` would be inserted into its sorted row of `boundaries`.",
    sig: &["(boundaries, input, out_int32: bool, right: bool)"],
    forms: Forms::HIDDEN,
    meta: |call| {
        let (rows, x) = (call.tensor(0), call.tensor(1));
        let lead = rows.ndim().saturating_sub(1);
        ensure!(
            rows.ndim() == 1
                || (rows.ndim() == x.ndim()
                    && rows.ndim() > 0
                    && rows.shape()[..lead] == x.shape()[..lead]),
            runtime,
            "boundaries tensor should be 1 dimension or the first N-1 dimensions of boundaries \
             tensor and input value tensor must match, but we got boundaries tensor {} and input \
             value tensor {}",
            rows.shape(),
            x.shape()
        );
        let dtype = if call.attrs.bool(0) {
            DType::I32
        } else {
            DType::I64
        };
        Ok(spec(x.shape().clone(), dtype))
    },
    kernel: Kernel::Compute(|cx| {
        let (rows, x) = (cx.call.tensor(0), cx.call.tensor(1));
        let dtype = rows.dtype().promote(x.dtype());
        let (rows, x) = (converted(rows, dtype)?, converted(x, dtype)?);
        cx.backend.searchsorted(
            cx.outs[0].as_view(),
            rows.as_view(),
            x.as_view(),
            cx.bool(1),
        );
        Ok(())
    }),
    ..OpDef::BASE
};

/// Where the elements of `x` belong in `rows`.
fn search(rows: &Tensor, x: &Operand, out_int32: bool, right: bool) -> Result<Tensor> {
    let x = match x {
        Operand::Scalar(s) => as_tensor(x, scalar_type(*s, rows.dtype()), rows)?,
        _ => as_tensor(x, rows.dtype(), rows)?,
    };
    ensure!(
        x.ndim() == 0 || x.dtype() == rows.dtype(),
        runtime,
        "boundary tensor and input value tensor should have same dtype, but got boundary tensor's \
         dtype {} and input value tensor's dtype {}",
        rows.dtype(),
        x.dtype()
    );
    let attrs: Attrs = [out_int32.into(), right.into()].into_iter().collect();
    super::dispatch::run1(&SEARCH, &[rows.detach().into(), x.detach().into()], &attrs)
}

/// The type in which a number meets elements of type `dtype`.
fn scalar_type(s: Scalar, dtype: DType) -> DType {
    match s {
        Scalar::Float(_) if !dtype.is_float() => DType::F64,
        _ => dtype,
    }
}

/// The operand as a tensor; a number in type `dtype`, on the device of `like`.
fn as_tensor(x: &Operand, dtype: DType, like: &Tensor) -> Result<Tensor> {
    match x {
        Operand::Scalar(s) => Tensor::scalar(*s, dtype, like.device()),
        _ => x
            .as_tensor()
            .cloned()
            .ok_or_else(|| crate::base::Error::type_("expected a tensor or a number")),
    }
}

/// Search in sorted rows.
pub static SEARCHSORTED: OpDef = OpDef {
    name: "searchsorted",
    doc: "Where each element of `input` would be inserted into its row of `sorted_sequence` to keep \
          it in order: before equal elements, or with `right` (or `side='right'`) behind them. The \
          sequence is one row for all, or has the leading dimensions of `input`; `sorter` holds \
          positions that put it in order.\n\n\
          >>> rg.searchsorted(rg.tensor([1, 3, 5]), rg.tensor([3, 6]))\ntensor([1, 3])",
    sig: &[
        "(sorted_sequence, input: Tensor|Scalar, *, out_int32: bool = False, right: bool = False, \
         side: str? = None, sorter: Tensor? = None)",
    ],
    forms: Forms::FUNCTION,
    kernel: Kernel::Composite(|call| {
        let mut right = call.attrs.bool(1);
        if !call.attrs.is_none(2) {
            let side = call.attrs.str(2);
            match side {
                "left" => ensure!(
                    !right,
                    runtime,
                    "side and right can't be set to opposites, got side of left while right was True"
                ),
                "right" => right = true,
                _ => bail!(runtime, "side can only be 'left' or 'right' but got {side}"),
            }
        }
        let rows = match call.tensor_opt(2) {
            None => call.tensor(0).clone(),
            Some(sorter) => {
                ensure!(
                    sorter.shape() == call.tensor(0).shape(),
                    runtime,
                    "boundary and sorter must have the same size, but got boundary tensor {} and \
                     got sorter tensor {}",
                    call.tensor(0).shape(),
                    sorter.shape()
                );
                gather(call.tensor(0), sorter, -1i64)?
            }
        };
        Ok(smallvec![search(
            &rows,
            &call.inputs[1],
            call.attrs.bool(0),
            right
        )?])
    }),
    ..OpDef::COMPOSITE
};

/// Search in one sorted row.
pub static BUCKETIZE: OpDef = OpDef {
    name: "bucketize",
    doc: "The number of the bucket of each element: how many of the sorted 1-d `boundaries` are less, \
          or with `right`, less or equal.\n\n\
          >>> rg.bucketize(rg.tensor([0, 3, 6]), rg.tensor([1, 3, 5]))\ntensor([0, 1, 3])",
    sig: &["(input: Tensor|Scalar, boundaries, *, out_int32: bool = False, right: bool = False)"],
    forms: Forms::FUNCTION,
    kernel: Kernel::Composite(|call| {
        let rows = call.tensor(1);
        ensure!(
            rows.ndim() == 1,
            runtime,
            "boundaries tensor must be 1 dimension, but got dim({})",
            rows.ndim()
        );
        let (out_int32, right) = (call.attrs.bool(0), call.attrs.bool(1));
        Ok(smallvec![search(rows, &call.inputs[0], out_int32, right)?])
    }),
    ..OpDef::COMPOSITE
};

/// The kernel of [`BINCOUNT`].
pub static COUNTS: OpDef = OpDef {
    name: "bin_counts",
    doc: "How often (or with what weight) each number below `size` occurs.",
    sig: &["(input, weights: Tensor?, size: int)"],
    forms: Forms::HIDDEN,
    meta: |call| {
        let dtype = match call.tensor_opt(1).map(Tensor::dtype) {
            None => DType::I64,
            Some(DType::F32) => DType::F32,
            Some(_) => DType::F64,
        };
        Ok(spec([call.attrs.int(0) as usize], dtype))
    },
    kernel: Kernel::Compute(|cx| {
        let x = converted(cx.call.tensor(0), DType::I64)?;
        let out = cx.outs[0].as_view();
        cx.backend.fill(out, Scalar::Int(0));
        let weights = cx.call.tensor_opt(1).map(Tensor::as_view);
        cx.backend.bincount(out, x.as_view(), weights);
        Ok(())
    }),
    ..OpDef::BASE
};

/// Counts of small numbers.
pub static BINCOUNT: OpDef = OpDef {
    name: "bincount",
    doc: "How often each non-negative integer occurs in a vector, or the sum of its `weights`; at \
          least `minlength` entries.\n\n\
          >>> rg.bincount(rg.tensor([1, 1, 3]))\ntensor([0, 2, 0, 1])",
    sig: &["(input, weights: Tensor? = None, minlength: int = 0)"],
    kernel: Kernel::Composite(|call| {
        let (x, weights, least) = (call.tensor(0), call.tensor_opt(1), call.attrs.int(0));
        let negative = "bincount only supports 1-d non-negative integral inputs.";
        ensure!(least >= 0, runtime, "minlength should be >= 0");
        ensure!(x.ndim() == 1 && x.dtype().is_int(), runtime, "{negative}");
        ensure!(
            weights.is_none_or(|w| w.shape() == x.shape()),
            runtime,
            "weights should be 1-d and have the same length as input"
        );
        let mut size = least;
        if x.numel() > 0 {
            let least_element = super::amin(x, None::<i64>, false)?.item()?.as_i64();
            ensure!(least_element >= 0, runtime, "{negative}");
            size = size.max(super::amax(x, None::<i64>, false)?.item()?.as_i64() + 1);
        }
        if let Some(w) = weights.filter(|w| w.requires_grad() || w.tangents().is_some()) {
            // Slower, but differentiable.
            let dtype = match w.dtype() {
                DType::F32 => DType::F32,
                _ => DType::F64,
            };
            let zeros = Tensor::zeros([size as usize], dtype, x.device())?;
            let (x, w) = (cast(x, DType::I64)?, cast(w, dtype)?);
            return Ok(smallvec![super::scatter_add(zeros, x, w, 0i64)?]);
        }
        let inputs = [x.into(), weights.into()];
        let attrs: Attrs = [Attr::from(size)].into_iter().collect();
        Ok(smallvec![super::dispatch::run1(&COUNTS, &inputs, &attrs)?])
    }),
    ..OpDef::COMPOSITE
};

/// Counts of bins.
pub static HISTC: OpDef = OpDef {
    name: "histc",
    doc: "How many elements are in each of `bins` bins of one width from `min` to `max` (both 0: \
          from the least element to the greatest); elements outside are not counted. The result has \
          the type of `input`.\n\n\
          >>> rg.histc(rg.tensor([1., 2., 1.]), bins=4, min=0, max=3)\ntensor([0., 2., 1., 0.])",
    sig: &["(input, bins: int = 100, min: float = 0, max: float = 0)"],
    kernel: Kernel::Composite(|call| {
        let (x, bins) = (call.tensor(0).detach(), call.attrs.int(0));
        let (mut low, mut high) = (call.attrs.float(1), call.attrs.float(2));
        ensure!(
            x.dtype().is_float(),
            not_implemented,
            "\"histogram_cpu\" not implemented for '{}'",
            x.dtype().scalar_type_name()
        );
        ensure!(bins > 0, runtime, "torch.histc(): bins must be > 0");
        if low == high && x.numel() > 0 && x.device() != crate::base::Device::Meta {
            low = super::amin(&x, None::<i64>, false)?.item()?.as_f64();
            high = super::amax(&x, None::<i64>, false)?.item()?.as_f64();
        }
        if low == high {
            (low, high) = (low - 1.0, high + 1.0);
        }
        ensure!(
            low.is_finite() && high.is_finite(),
            runtime,
            "torch.histc: range of [{low}, {high}] is not finite"
        );
        ensure!(
            low < high,
            runtime,
            "torch.histc: max must be larger than min"
        );
        let x = reshape(&x, &Shape::from([x.numel()]))?;
        let inside = super::logical_and(super::ge(&x, low)?, super::le(&x, high)?)?;
        let place = super::div(super::mul(sub(&x, low)?, bins)?, high - low)?;
        // The greatest element belongs to the last bin.
        let place = super::clamp_max(cast(&place, DType::I64)?, bins - 1)?;
        let place = where_(&inside, place, 0i64)?;
        let zeros = Tensor::zeros([bins as usize], x.dtype(), x.device())?;
        let ones = cast(&inside, x.dtype())?;
        Ok(smallvec![super::scatter_add(zeros, place, ones, 0i64)?])
    }),
    ..OpDef::COMPOSITE
};

/// Membership.
pub static ISIN: OpDef = OpDef {
    name: "isin",
    doc: "Whether each element occurs in `test_elements`, or with `invert`, does not.\n\n\
          >>> rg.isin(rg.tensor([1, 2, 3]), rg.tensor([2, 4]))\ntensor([False,  True, False])",
    sig: &[
        "(elements: Tensor|Scalar, test_elements: Tensor|Scalar, *, assume_unique: bool = False, \
         invert: bool = False)",
    ],
    forms: Forms::FUNCTION,
    kernel: Kernel::Composite(|call| {
        let dtype = super::meta::result_type(call.inputs);
        let Some(like) = call.tensors().next() else {
            bail!(type_, "isin(): one of the arguments must be a tensor");
        };
        let x = cast(&as_tensor(&call.inputs[0], dtype, like)?.detach(), dtype)?;
        let tests = cast(&as_tensor(&call.inputs[1], dtype, like)?.detach(), dtype)?;
        let n = tests.numel();
        let found = if n == 0 {
            Tensor::zeros(x.shape().clone(), DType::Bool, x.device())?
        } else {
            let (tests, _) = sorted(&reshape(&tests, &Shape::from([n]))?, 0, false)?;
            let at = search(&tests, &(&x).into(), false, false)?;
            let last = n as i64 - 1;
            let at = where_(gt(&at, last)?, last, &at)?;
            let at = reshape(&at, &Shape::from([x.numel()]))?;
            eq(reshape(&index_select(tests, at, 0i64)?, x.shape())?, &x)?
        };
        Ok(smallvec![if call.attrs.bool(1) {
            logical_not(found)?
        } else {
            found
        }])
    }),
    ..OpDef::COMPOSITE
};
