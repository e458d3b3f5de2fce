//! Products made of matrix products: with a sum, of more than two factors, of other shapes.

use super::def::{Call, Forms, Kernel, OpDef};
use super::{
    add, bmm, clone, dot, expand, matmul, mm, mul, mv, reshape, stack, sub, transpose, unbind,
    unsqueeze,
};
use crate::base::shape::wrap_dim;
use crate::base::{Result, Scalar, Shape};
use crate::tensor::Tensor;
use crate::{bail, ensure};
use smallvec::smallvec;

/// This family.
pub(super) static OPS: &[&OpDef] = &[
    &OUTER,
    &INNER,
    &KRON,
    &CROSS,
    &LINALG_CROSS,
    &ADDMM,
    &ADDMV,
    &ADDR,
    &BADDBMM,
    &ADDBMM,
    &BILINEAR,
    &CHAIN_MATMUL,
    &LINALG_MULTI_DOT,
    &MATRIX_POWER,
];

/// `outer`.
pub static OUTER: OpDef = OpDef {
    name: "outer",
    doc: "The products of every element of `input` (n) with every element of `vec2` (m): shape \
          (n, m).\n\n\
          >>> rg.outer(rg.tensor([1, 2]), rg.tensor([3, 4, 5]))\n\
          tensor([[ 3,  4,  5],\n        [ 6,  8, 10]])",
    sig: &["(input, vec2)"],
    aliases: &["ger"],
    kernel: Kernel::Composite(|call| Ok(smallvec![outer(call.tensor(0), call.tensor(1))?])),
    ..OpDef::COMPOSITE
};

/// The products of every element of one vector with every element of another.
///
/// # Errors
/// When an input is no vector.
pub fn outer(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    for (x, name) in [(a, "self"), (b, "vec2")] {
        ensure!(
            x.ndim() == 1,
            runtime,
            "outer: Expected 1-D argument {name}, but got {}-D of shape {}",
            x.ndim(),
            x.shape()
        );
    }
    mul(unsqueeze(a, 1i64)?, b)
}

/// `inner`.
pub static INNER: OpDef = OpDef {
    name: "inner",
    doc: "Sums of products over the last dimension of both: `input` (.., k) and `other` (.., k) give \
          the leading dimensions of `input`, then those of `other`. A 0-d operand multiplies.\n\n\
          >>> rg.inner(rg.tensor([1, 2, 3]), rg.tensor([0, 2, 1]))\n\
          tensor(7)",
    sig: &["(input, other)"],
    kernel: Kernel::Composite(|call| {
        let (a, b) = (call.tensor(0), call.tensor(1));
        if a.ndim() == 0 || b.ndim() == 0 {
            return Ok(smallvec![mul(a, b)?]);
        }
        let k = a.shape()[a.ndim() - 1];
        ensure!(
            k == b.shape()[b.ndim() - 1],
            runtime,
            "inner() the last dimension must match on both input tensors but got shapes {} and {}",
            a.shape(),
            b.shape()
        );
        if a.ndim() == 1 && b.ndim() == 1 {
            return Ok(smallvec![dot(a, b)?]);
        }
        let (rows, columns) = (lead(a), lead(b));
        let left = reshape(a, &Shape::from([rows.numel(), k]))?;
        let right = reshape(b, &Shape::from([columns.numel(), k]))?;
        // (n, k)(m, k)^T -> (n, m)
        let product = mm(left, transpose(right, 0i64, 1i64)?)?;
        let shape = rows.iter().chain(columns.iter()).copied().collect();
        Ok(smallvec![reshape(&product, &shape)?])
    }),
    ..OpDef::COMPOSITE
};

/// All sizes but the last.
fn lead(x: &Tensor) -> Shape {
    x.shape()[..x.ndim() - 1].iter().copied().collect()
}

/// `kron`.
pub static KRON: OpDef = OpDef {
    name: "kron",
    doc: "The Kronecker product: every element of `input` times the whole of `other`, as blocks. \
          Size `i` of the result is the product of both sizes `i`; missing leading dimensions count \
          as 1.\n\n\
          >>> rg.kron(rg.eye(2), rg.ones(1, 2))\n\
          tensor([[1., 1., 0., 0.],\n        [0., 0., 1., 1.]])",
    sig: &["(input, other)"],
    kernel: Kernel::Composite(|call| {
        let (a, b) = (call.tensor(0), call.tensor(1));
        let n = a.ndim().max(b.ndim());
        let size = |x: &Tensor, d: usize| (d + x.ndim()).checked_sub(n).map_or(1, |d| x.shape()[d]);
        // (n_0, 1, n_1, 1, ..) times (1, m_0, 1, m_1, ..)
        let left: Shape = (0..n).flat_map(|d| [size(a, d), 1]).collect();
        let right: Shape = (0..n).flat_map(|d| [1, size(b, d)]).collect();
        let shape: Shape = (0..n).map(|d| size(a, d) * size(b, d)).collect();
        let product = mul(reshape(a, &left)?, reshape(b, &right)?)?;
        Ok(smallvec![reshape(&product, &shape)?])
    }),
    ..OpDef::COMPOSITE
};

/// `a x b = (a_1 b_2 - a_2 b_1, a_2 b_0 - a_0 b_2, a_0 b_1 - a_1 b_0)` along a dimension.
fn cross(a: &Tensor, b: &Tensor, dim: i64) -> Result<Tensor> {
    ensure!(
        a.ndim() == b.ndim(),
        runtime,
        "linalg.cross: inputs must have the same number of dimensions, got shapes {} and {}",
        a.shape(),
        b.shape()
    );
    let d = wrap_dim(dim, a.ndim())?;
    let size = |x: &Tensor| x.shape().get(d).copied().unwrap_or(1);
    ensure!(
        size(a) == 3 && size(b) == 3,
        runtime,
        "linalg.cross: inputs dimension {dim} must have length 3. Got {} and {}",
        size(a),
        size(b)
    );
    let (a, b) = (unbind(a, d as i64)?, unbind(b, d as i64)?);
    let part = |i: usize, j: usize| sub(mul(&a[i], &b[j])?, mul(&a[j], &b[i])?);
    stack(&[part(1, 2)?, part(2, 0)?, part(0, 1)?], d as i64)
}

/// `cross`.
pub static CROSS: OpDef = OpDef {
    name: "cross",
    doc: "The cross product of vectors of three elements, which lie along `dim`: by default, the \
          first dimension of size 3. Other dimensions broadcast.\n\n\
          >>> rg.cross(rg.tensor([1., 0., 0.]), rg.tensor([0., 1., 0.]), dim=0)\n\
          tensor([0., 0., 1.])",
    sig: &["(input, other, dim: int? = None)"],
    kernel: Kernel::Composite(|call| {
        let (a, b) = (call.tensor(0), call.tensor(1));
        let dim = match call.attrs.int_opt(0) {
            Some(dim) => dim,
            None => match a.shape().iter().position(|&n| n == 3) {
                Some(d) => d as i64,
                None => bail!(
                    runtime,
                    "no dimension of size 3 in input, whose shape is {}",
                    a.shape()
                ),
            },
        };
        Ok(smallvec![cross(a, b, dim)?])
    }),
    ..OpDef::COMPOSITE
};

/// `linalg.cross`.
pub static LINALG_CROSS: OpDef = OpDef {
    name: "linalg_cross",
    doc: "The cross product of vectors of three elements, which lie along `dim`. Other dimensions \
          broadcast.",
    sig: &["(input, other, *, dim: int = -1)"],
    forms: Forms::NN,
    kernel: Kernel::Composite(|call| {
        let dim = call.attrs.int(0);
        Ok(smallvec![cross(call.tensor(0), call.tensor(1), dim)?])
    }),
    ..OpDef::COMPOSITE
};

/// `beta * x + alpha * product`; with beta 0, `x` is not read, so its NaN do not matter.
fn blended(call: &Call, product: Tensor) -> Result<Tensor> {
    let (beta, alpha) = (call.attrs.scalar(0), call.attrs.scalar(1));
    let x = call.tensor(0);
    ensure!(
        x.shape().broadcast(product.shape()).as_ref() == Some(product.shape()),
        runtime,
        "The expanded size of the tensor must match the existing size: input of shape {} does not \
         broadcast to the product's shape {}",
        x.shape(),
        product.shape()
    );
    for (name, factor) in [("beta", beta), ("alpha", alpha)] {
        ensure!(
            product.dtype().is_float() || !matches!(factor, Scalar::Float(_)),
            runtime,
            "For integral input tensors, argument {name} must not be a floating point number."
        );
    }
    let product = if alpha.as_f64() == 1.0 {
        product
    } else {
        mul(product, alpha)?
    };
    if beta.as_f64() == 0.0 {
        return Ok(product);
    }
    let x = if beta.as_f64() == 1.0 {
        x.clone()
    } else {
        mul(x, beta)?
    };
    add(x, product)
}

macro_rules! add_product {
    ($( $(#[$doc:meta])* $NAME:ident $name:literal $sig:literal $text:literal |$call:ident, $a:ident, $b:ident| $body:expr; )*) => { $(
        $(#[$doc])*
        pub static $NAME: OpDef = OpDef {
            name: $name,
            doc: $text,
            sig: &[$sig],
            forms: Forms::ALL,
            kernel: Kernel::Composite(|$call| {
                let ($a, $b) = ($call.tensor(1), $call.tensor(2));
                Ok(smallvec![blended($call, $body)?])
            }),
            ..OpDef::COMPOSITE
        };
    )* };
}

add_product! {
    /// `beta * input + alpha * (mat1 @ mat2)`.
    ADDMM "addmm" "(input, mat1, mat2, *, beta: Scalar = 1, alpha: Scalar = 1)"
        "`beta * input + alpha * (mat1 @ mat2)` for `mat1` (n, k), `mat2` (k, m) and an `input` that \
         broadcasts to (n, m). With `beta` 0, `input` is not read: its NaN do not matter."
        |call, a, b| mm(a, same(call, b)?)?;
    /// `beta * input + alpha * (mat @ vec)`.
    ADDMV "addmv" "(input, mat, vec, *, beta: Scalar = 1, alpha: Scalar = 1)"
        "`beta * input + alpha * (mat @ vec)` for `mat` (n, k), `vec` (k) and an `input` that \
         broadcasts to (n). With `beta` 0, `input` is not read: its NaN do not matter."
        |call, a, x| mv(a, same(call, x)?)?;
    /// `beta * input + alpha * outer(vec1, vec2)`.
    ADDR "addr" "(input, vec1, vec2, *, beta: Scalar = 1, alpha: Scalar = 1)"
        "`beta * input + alpha * outer(vec1, vec2)` for `vec1` (n), `vec2` (m) and an `input` that \
         broadcasts to (n, m). With `beta` 0, `input` is not read: its NaN do not matter."
        |call, a, b| outer(a, b)?;
    /// `beta * input + alpha * (batch1 @ batch2)`.
    BADDBMM "baddbmm" "(input, batch1, batch2, *, beta: Scalar = 1, alpha: Scalar = 1)"
        "`beta * input + alpha * (batch1 @ batch2)` for `batch1` (b, n, k), `batch2` (b, k, m) and an \
         `input` that broadcasts to (b, n, m). With `beta` 0, `input` is not read: its NaN do not \
         matter."
        |call, a, b| bmm(a, same(call, b)?)?;
    /// `beta * input + alpha * sum(batch1 @ batch2)`.
    ADDBMM "addbmm" "(input, batch1, batch2, *, beta: Scalar = 1, alpha: Scalar = 1)"
        "`beta * input + alpha * (batch1 @ batch2).sum(0)` for `batch1` (b, n, k), `batch2` (b, k, m) \
         and an `input` that broadcasts to (n, m). With `beta` 0, `input` is not read: its NaN do \
         not matter."
        |call, a, b| summed_products(a, same(call, b)?)?;
}

/// The second factor, if its type is that of the term that is added.
fn same<'a>(call: &Call, b: &'a Tensor) -> Result<&'a Tensor> {
    let x = call.tensor(0);
    ensure!(
        x.dtype() == b.dtype(),
        runtime,
        "self and mat2 must have the same dtype, but got {} and {}",
        x.dtype().scalar_type_name(),
        b.dtype().scalar_type_name()
    );
    Ok(b)
}

/// The sum of a batch of products, as one product: `sum_b A_b B_b = [A_0 A_1 ..] [B_0; B_1; ..]`.
fn summed_products(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    super::matmul::check_batches(a, b)?;
    let (s, t) = (a.shape(), b.shape());
    // (b, n, k) -> (n, b k);  (b, k, m) -> (b k, m)
    let left = reshape(
        &transpose(a, 0i64, 1i64)?,
        &Shape::from([s[1], s[0] * s[2]]),
    )?;
    mm(left, reshape(b, &Shape::from([t[0] * t[1], t[2]]))?)
}

/// `bilinear`.
pub static BILINEAR: OpDef = OpDef {
    name: "bilinear",
    doc: "`sum_ij x1_i weight_kij x2_j + bias_k` for `input1` (.., i), `input2` (.., j) and `weight` \
          (k, i, j): shape (.., k).",
    sig: &["(input1, input2, weight, bias: Tensor? = None)"],
    forms: Forms {
        function: true,
        ..Forms::NN
    },
    kernel: Kernel::Composite(|call| {
        let (x, y, w) = (call.tensor(0), call.tensor(1), call.tensor(2));
        ensure!(
            w.ndim() == 3 && x.ndim() >= 1 && x.ndim() == y.ndim(),
            runtime,
            "bilinear(): expected inputs of one rank and a 3-D weight, got {}, {} and {}",
            x.shape(),
            y.shape(),
            w.shape()
        );
        let batch = lead(x);
        ensure!(
            batch == lead(y),
            runtime,
            "bilinear(): input batch dimensions do not match: got {} and {}",
            x.shape(),
            y.shape()
        );
        let (k, i, j) = (w.shape()[0], w.shape()[1], w.shape()[2]);
        for (n, t, size) in [(1, x, i), (2, y, j)] {
            let got = t.shape()[t.ndim() - 1];
            ensure!(
                got == size,
                runtime,
                "bilinear(): input{n} size does not match weight size: got {got} but expected \
                 {size}, in shapes {} and {}",
                t.shape(),
                w.shape()
            );
        }
        let rows = batch.numel();
        let x = reshape(x, &Shape::from([rows, i]))?;
        let y = reshape(y, &Shape::from([rows, j, 1]))?;
        // (rows, i)(i, k j) -> (rows, k, j);  (k, j)(j, 1) in each row
        let w = reshape(&transpose(w, 0i64, 1i64)?, &Shape::from([i, k * j]))?;
        let left = reshape(&mm(x, w)?, &Shape::from([rows, k, j]))?;
        let mut shape = batch;
        shape.push(k);
        let out = reshape(&bmm(left, y)?, &shape)?;
        Ok(smallvec![match call.tensor_opt(3) {
            Some(b) => add(out, b)?,
            None => out,
        }])
    }),
    ..OpDef::COMPOSITE
};

/// The product of matrices, in the order that takes the fewest multiplications.
fn chain(matrices: &[Tensor]) -> Result<Tensor> {
    let n = matrices.len();
    if let [only] = matrices {
        return Ok(only.clone());
    }
    // The product of matrices i to j costs, for the best last cut after matrix s,
    // cost(i, s) + cost(s + 1, j) + rows_i * columns_s * columns_j.
    let rows = |i: usize| matrices[i].shape()[0] as f64;
    let columns = |i: usize| matrices[i].shape()[1] as f64;
    let mut cost = vec![vec![0.0; n]; n];
    let mut cut = vec![vec![0; n]; n];
    for length in 1..n {
        for i in 0..n - length {
            let j = i + length;
            let of = |s: usize| cost[i][s] + cost[s + 1][j] + rows(i) * columns(s) * columns(j);
            let best = (i..j).min_by(|&s, &t| of(s).total_cmp(&of(t))).unwrap_or(i);
            (cost[i][j], cut[i][j]) = (of(best), best);
        }
    }
    fn product(matrices: &[Tensor], cut: &[Vec<usize>], i: usize, j: usize) -> Result<Tensor> {
        if i == j {
            return Ok(matrices[i].clone());
        }
        let s = cut[i][j];
        mm(
            product(matrices, cut, i, s)?,
            product(matrices, cut, s + 1, j)?,
        )
    }
    product(matrices, &cut, 0, n - 1)
}

/// `chain_matmul`.
pub static CHAIN_MATMUL: OpDef = OpDef {
    name: "chain_matmul",
    doc: "The product of matrices, computed in the order that takes the fewest multiplications.\n\n\
          >>> rg.chain_matmul(rg.ones(2, 3), rg.ones(3, 4), rg.ones(4, 1))\n\
          tensor([[12.],\n        [12.]])",
    sig: &["(*matrices: Tensor[])"],
    forms: Forms::FUNCTION,
    kernel: Kernel::Composite(|call| {
        let matrices: Vec<Tensor> = call.tensors().cloned().collect();
        ensure!(
            !matrices.is_empty(),
            runtime,
            "chain_matmul(): Expected one or more matrices"
        );
        for m in &matrices {
            ensure!(
                m.ndim() == 2,
                runtime,
                "Tensor dimension is {}, expected 2 instead.",
                m.ndim()
            );
        }
        if let [only] = matrices.as_slice() {
            return Ok(smallvec![clone(only)?]);
        }
        Ok(smallvec![chain(&matrices)?])
    }),
    ..OpDef::COMPOSITE
};

/// `linalg.multi_dot`.
pub static LINALG_MULTI_DOT: OpDef = OpDef {
    name: "linalg_multi_dot",
    doc: "The product of two or more matrices, computed in the order that takes the fewest \
          multiplications. The first may be a vector, which counts as a row, and the last one too, \
          which counts as a column: the result does not have that dimension.",
    sig: &["(tensors: Tensor[])"],
    forms: Forms::NN,
    kernel: Kernel::Composite(|call| {
        let mut tensors: Vec<Tensor> = call.tensors().cloned().collect();
        let n = tensors.len();
        ensure!(
            n >= 2,
            runtime,
            "multi_dot(): expected at least 2 tensors but got {n}"
        );
        for (i, t) in tensors.iter().enumerate() {
            let end = i == 0 || i == n - 1;
            ensure!(
                t.ndim() == 2 || (end && t.ndim() == 1),
                runtime,
                "multi_dot(): {} must be {} but got {}D",
                match i {
                    0 => "the first tensor".into(),
                    i if i == n - 1 => "the last tensor".into(),
                    i => format!("tensor {i}"),
                },
                if end { "1D or 2D" } else { "2D" },
                t.ndim()
            );
        }
        let (row, column) = (tensors[0].ndim() == 1, tensors[n - 1].ndim() == 1);
        if row {
            tensors[0] = unsqueeze(&tensors[0], 0i64)?;
        }
        if column {
            tensors[n - 1] = unsqueeze(&tensors[n - 1], 1i64)?;
        }
        for (i, pair) in tensors.windows(2).enumerate() {
            ensure!(
                pair[0].shape()[1] == pair[1].shape()[0],
                runtime,
                "multi_dot(): tensors {i} and {} with shapes {} and {} cannot be multiplied",
                i + 1,
                pair[0].shape(),
                pair[1].shape()
            );
        }
        let product = chain(&tensors)?;
        let mut shape = Shape::new();
        if !row {
            shape.push(product.shape()[0]);
        }
        if !column {
            shape.push(product.shape()[1]);
        }
        Ok(smallvec![reshape(&product, &shape)?])
    }),
    ..OpDef::COMPOSITE
};

/// `matrix_power`.
pub static MATRIX_POWER: OpDef = OpDef {
    name: "matrix_power",
    doc: "The `n`-th power of a square matrix, or of each of a batch, by repeated squaring; the 0th \
          is the identity.\n\n\
          >>> rg.matrix_power(rg.tensor([[1, 1], [1, 0]]), 5)\n\
          tensor([[8, 5],\n        [5, 3]])",
    sig: &["(input, n: int)"],
    kernel: Kernel::Composite(|call| {
        let (a, n) = (call.tensor(0), call.attrs.int(0));
        ensure!(
            a.ndim() >= 2,
            runtime,
            "linalg.matrix_power: The input tensor A must have at least 2 dimensions, but its shape \
             is {}",
            a.shape()
        );
        let [rows, columns] = [a.shape()[a.ndim() - 2], a.shape()[a.ndim() - 1]];
        ensure!(
            rows == columns,
            runtime,
            "linalg.matrix_power: A must be batches of square matrices, but they are {rows} by \
             {columns} matrices"
        );
        ensure!(
            n >= 0,
            not_implemented,
            "the power {n} is that of an inverse; pass the inverse and the power {}",
            n.unsigned_abs()
        );
        let mut left = n as u64;
        let mut square = a.clone();
        let mut power: Option<Tensor> = None;
        while left > 0 {
            if left & 1 == 1 {
                power = Some(match power {
                    Some(p) => matmul(p, &square)?,
                    None => square.clone(),
                });
            }
            left >>= 1;
            if left > 0 {
                square = matmul(&square, &square)?;
            }
        }
        Ok(smallvec![match power {
            Some(p) if p.same(a) => clone(a)?,
            Some(p) => p,
            None => {
                let eye = super::create::identity(rows, rows, a.dtype(), a.device())?;
                clone(expand(&eye, a.shape())?)?
            }
        }])
    }),
    ..OpDef::COMPOSITE
};
