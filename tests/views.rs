//! Views and writes through them, against central differences and against programs without either.

use rustgrad::base::{Attr, Attrs};
use rustgrad::engine::{self, Grads};
use rustgrad::ops::{self, dispatch, in_place};
use rustgrad::tensor::Operand;
use rustgrad::{DType, Device, Result, Scalar, Tensor};

fn tensor(values: &[f64], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape).unwrap()
}

/// A 3 x 4 matrix of numbers that are nothing special.
fn matrix() -> Tensor {
    let values: Vec<f64> = (0..12).map(|i| 0.3 + 0.17 * f64::from(i)).collect();
    tensor(&values, &[3, 4])
}

fn values(t: &Tensor) -> Vec<f64> {
    t.to_vec().unwrap().iter().map(|s| s.as_f64()).collect()
}

fn close(a: &Tensor, b: &Tensor, what: &str) {
    assert_eq!(a.shape(), b.shape(), "{what}");
    for (x, y) in values(a).iter().zip(values(b)) {
        assert!(
            (x - y).abs() <= 1e-5 * (1.0 + y.abs()),
            "{what}: {:?} and {:?}",
            values(a),
            values(b)
        );
    }
}

fn leaf(t: &Tensor) -> Tensor {
    let x = ops::clone_data(t).unwrap();
    x.set_requires_grad(true).unwrap();
    x
}

type F<'a> = &'a dyn Fn(&Tensor) -> Result<Tensor>;

fn gradient(f: F, at: &Tensor, create_graph: bool) -> Tensor {
    let x = if create_graph { at.clone() } else { leaf(at) };
    let how = Grads {
        retain_graph: create_graph,
        create_graph,
    };
    let y = f(&x).unwrap();
    let mut g = engine::grad(&[y], &[None], &[x], false, how).unwrap();
    g.remove(0).unwrap()
}

/// The gradient by central differences.
fn numeric(f: F, at: &Tensor) -> Tensor {
    let h = 1e-5;
    let flat = values(at);
    let mut out = Vec::new();
    for i in 0..flat.len() {
        let side = |h: f64| {
            let mut moved = flat.clone();
            moved[i] += h;
            let x = leaf(&tensor(&moved, at.shape()));
            f(&x).unwrap().item().unwrap().as_f64()
        };
        out.push((side(h) - side(-h)) / (2.0 * h));
    }
    tensor(&out, at.shape())
}

/// First and second derivatives of a scalar function.
fn check(f: F, at: &Tensor, what: &str) {
    close(&gradient(f, at, false), &numeric(f, at), what);
    let second = |x: &Tensor| {
        let g = gradient(f, x, true);
        ops::sum(ops::mul(&g, &g)?)
    };
    close(
        &gradient(&second, at, false),
        &numeric(&second, at),
        &format!("{what}, second derivative"),
    );
}

fn mul_(x: &Tensor, by: impl Into<Operand>) -> Result<()> {
    in_place::run(&ops::arithmetic::MUL, &[x.into(), by.into()], &Attrs::new())
}

fn add_(x: &Tensor, y: impl Into<Operand>) -> Result<()> {
    let one: Attrs = [Attr::Int(1)].into_iter().collect();
    in_place::run(&ops::arithmetic::ADD, &[x.into(), y.into()], &one)
}

fn attrs<const N: usize>(list: [Attr; N]) -> Attrs {
    list.into_iter().collect()
}

fn as_strided(x: &Tensor, size: &[i64], stride: &[i64], offset: Option<i64>) -> Result<Tensor> {
    let attrs = attrs([size.into(), stride.into(), offset.into()]);
    dispatch::run1(&ops::strided::AS_STRIDED, &[x.into()], &attrs)
}

type View = fn(&Tensor) -> Result<Tensor>;

/// Views of a 3 x 4 matrix, each of which may be written.
fn views() -> Vec<(&'static str, View)> {
    vec![
        ("all", |x| ops::expand_to(x, x.shape())),
        ("select", |x| ops::select(x, 0i64, 1i64)),
        ("column", |x| ops::select(x, 1i64, -1i64)),
        ("slice", |x| ops::slice(x, 1i64, 1i64, 3i64, 1i64)),
        ("every other", |x| {
            ops::slice(x, -1i64, None::<i64>, None::<i64>, 2i64)
        }),
        ("transpose", |x| ops::transpose(x, 0i64, 1i64)),
        ("permute", |x| {
            ops::permute(ops::unsqueeze(x, 0i64)?, [2, 0, 1])
        }),
        ("diagonal", |x| ops::diagonal(x, 1i64, 0i64, 1i64)),
        ("view", |x| ops::view(x, [2, 6])),
        ("squeeze", |x| ops::squeeze(ops::unsqueeze(x, 1i64)?, 1i64)),
        ("windows apart", |x| ops::unfold_dim(x, 1i64, 2i64, 2i64)),
        ("strided", |x| as_strided(x, &[2, 3], &[5, 2], Some(1))),
        ("strided part of a part", |x| {
            let rows = ops::slice(x, 0i64, 1i64, None::<i64>, 1i64)?;
            as_strided(&rows, &[2, 2], &[4, 1], None)
        }),
        ("view of a view", |x| {
            let v = ops::transpose(ops::slice(x, 0i64, 1i64, 3i64, 1i64)?, 0i64, 1i64)?;
            ops::select(ops::slice(v, 0i64, 1i64, None::<i64>, 2i64)?, 1i64, 0i64)
        }),
        ("strided view of a view", |x| {
            let v = ops::view(ops::slice(x, 0i64, 0i64, 2i64, 1i64)?, [8])?;
            ops::select(as_strided(&v, &[3, 2], &[2, 3], Some(0))?, 0i64, 1i64)
        }),
    ]
}

#[test]
fn reading_a_view() {
    for (name, view) in views() {
        let f = |x: &Tensor| {
            let v = view(&ops::mul(x, x)?)?;
            ops::sum(ops::mul(ops::mul(&v, &v)?, 0.1)?)
        };
        check(&f, &matrix(), name);
    }
}

#[test]
fn writing_a_view_and_reading_its_base() {
    let weights = ops::mul(matrix(), -0.7).unwrap();
    for (name, view) in views() {
        let f = |x: &Tensor| {
            let y = ops::mul(x, x)?;
            mul_(&view(&y)?, ops::mul(ops::sum(x)?, 0.1)?)?;
            ops::sum(ops::mul(ops::mul(&y, &y)?, &weights)?)
        };
        check(&f, &matrix(), name);
    }
}

#[test]
fn writing_a_view_is_a_scatter() {
    for (name, view) in views() {
        let x = leaf(&matrix());
        let y = ops::mul(&x, &x).unwrap();
        let v = view(&y).unwrap();
        mul_(&v, ops::sum(&x).unwrap()).unwrap();
        close(&v, &view(&y).unwrap(), name);
        let got = engine::grad(
            &[ops::sum(ops::mul(&y, &y).unwrap()).unwrap()],
            &[None],
            std::slice::from_ref(&x),
            false,
            Grads::default(),
        );
        // Without views or writes: the part is cut out by a mask.
        let mask = Tensor::zeros([3, 4], DType::F64, Device::Cpu).unwrap();
        add_(&view(&mask).unwrap(), 1i64).unwrap();
        let z = leaf(&matrix());
        let y = ops::mul(&z, &z).unwrap();
        let factor = ops::add(
            ops::mul(&mask, ops::sub(ops::sum(&z).unwrap(), 1.0).unwrap()).unwrap(),
            1.0,
        );
        let y = ops::mul(&y, factor.unwrap()).unwrap();
        let want = engine::grad(
            &[ops::sum(ops::mul(&y, &y).unwrap()).unwrap()],
            &[None],
            &[z],
            false,
            Grads::default(),
        );
        close(
            got.unwrap()[0].as_ref().unwrap(),
            want.unwrap()[0].as_ref().unwrap(),
            name,
        );
    }
}

#[test]
fn views_learn_of_writes_elsewhere() {
    for (name, view) in views() {
        let f = |x: &Tensor| {
            let y = ops::mul(x, x)?;
            let (before, other) = (view(&y)?, ops::view(&y, [12])?);
            mul_(&y, 0.5)?;
            // Twice through a view that has not been looked at since the base was written.
            add_(&other, ops::view(x, [12])?)?;
            // Reads save what they read, and later writes must not touch that: copies.
            let square = |t: &Tensor| {
                let t = ops::clone(t)?;
                ops::sum(ops::mul(&t, &t)?)
            };
            let first = square(&other)?;
            mul_(&before, ops::sum(x)?)?;
            add_(&before, &before)?;
            let sum = ops::add(ops::add(first, square(&before)?)?, square(&other)?)?;
            ops::mul(ops::add(sum, ops::sum(&y)?)?, 0.01)
        };
        check(&f, &matrix(), name);
    }
}

#[test]
fn overlapping_views_add_up_and_are_not_written() {
    let overlapping: Vec<(&str, View)> = vec![
        ("windows", |x| ops::unfold_dim(x, 1i64, 3i64, 1i64)),
        ("strided", |x| as_strided(x, &[4, 3], &[1, 1], Some(2))),
        ("repeated", |x| as_strided(x, &[2, 3], &[0, 4], None)),
        ("expanded", |x| {
            ops::expand_to(ops::select(x, 0i64, 1i64)?, [2, 4])
        }),
    ];
    for (name, view) in overlapping {
        let f = |x: &Tensor| {
            let v = view(&ops::mul(x, x)?)?;
            ops::sum(ops::mul(ops::mul(&v, &v)?, 0.1)?)
        };
        check(&f, &matrix(), name);
        let y = ops::mul(leaf(&matrix()), 2.0).unwrap();
        let before = values(&y);
        let error = mul_(&view(&y).unwrap(), 2.0).unwrap_err();
        assert!(
            error.message().contains("single memory location"),
            "{error}"
        );
        assert_eq!(values(&y), before);
    }
}

#[test]
fn strides_that_leave_the_input() {
    let x = leaf(&matrix());
    let rows = ops::slice(&x, 0i64, 1i64, 2i64, 1i64).unwrap();
    // Without a gradient it is memory like any other.
    let bare = ops::slice(matrix(), 0i64, 1i64, 2i64, 1i64).unwrap();
    let first = as_strided(&bare, &[2], &[1], Some(0)).unwrap();
    assert_eq!(values(&first), values(&matrix())[..2]);
    let error = as_strided(&rows, &[2], &[1], Some(0)).unwrap_err();
    assert!(error.message().contains("not in its input"), "{error}");
    let error = as_strided(&matrix(), &[13], &[1], None).unwrap_err();
    assert!(
        error.message().contains("out of bounds for storage"),
        "{error}"
    );
    let gaps = ops::slice(&x, 1i64, None::<i64>, None::<i64>, 2i64).unwrap();
    assert!(as_strided(&gaps, &[2], &[1], None).is_err());
    assert!(as_strided(&gaps, &[2], &[2], None).is_ok());
}

#[test]
fn strides_mean_elements_of_other_layouts_too() {
    // The cotangent, a tangent and a column-major base are laid out otherwise.
    let x = leaf(&matrix());
    let v = as_strided(&ops::mul(&x, 1.0).unwrap(), &[2, 3], &[5, 2], Some(1)).unwrap();
    let g = ops::transpose(tensor(&[1., 2., 3., 4., 5., 6.], &[3, 2]), 0i64, 1i64).unwrap();
    let got = engine::grad(&[v], &[Some(g)], &[x], false, Grads::default()).unwrap();
    let mut want = vec![0.0; 12];
    for (i, row) in [[1., 3., 5.], [2., 4., 6.]].iter().enumerate() {
        for (j, g) in row.iter().enumerate() {
            want[1 + 5 * i + 2 * j] += g;
        }
    }
    assert_eq!(values(got[0].as_ref().unwrap()), want);

    let level = engine::forward::enter_level();
    let u = ops::transpose(ops::view(matrix(), [4, 3]).unwrap(), 0i64, 1i64).unwrap();
    let dual = engine::forward::make_dual(&matrix(), &u, level).unwrap();
    let flat = ops::view(&dual, [12]).unwrap();
    let dense = values(&ops::contiguous(&u).unwrap());
    assert_eq!(values(&flat.tangent(level).unwrap()), dense);
    let v = as_strided(&dual, &[2], &[5], Some(1)).unwrap();
    assert_eq!(values(&v.tangent(level).unwrap()), [dense[1], dense[6]]);
    engine::forward::exit_level(level);
}

#[test]
fn pieces_of_several_outputs() {
    let f = |x: &Tensor| {
        let y = ops::mul(x, x)?;
        let pieces = ops::split_with_sizes(&y, &[1, 3], 1)?;
        let rows = ops::unbind(&y, 0)?;
        // Row 1 and the first column have no part.
        let sum = ops::sum(ops::mul(&pieces[1], &pieces[1])?)?;
        ops::add(sum, ops::sum(ops::mul(&rows[0], &rows[2])?)?)
    };
    check(&f, &matrix(), "pieces");
    let y = ops::mul(leaf(&matrix()), 2.0).unwrap();
    let error = mul_(&ops::unbind(&y, 0).unwrap()[0], 2.0).unwrap_err();
    assert!(
        error.message().contains("returns multiple views"),
        "{error}"
    );
}

#[test]
fn updates_in_place_are_updates_of_a_copy() {
    use ops::subscript::Index;
    let rows = Tensor::from_slice(&[2i64, 0, 2], [3]).unwrap();
    let f = |x: &Tensor| {
        let y = ops::mul(x, x)?;
        let index = Index::Tensor(rows.clone());
        // Row 2 is written twice: the last one stays.
        let value = ops::mul(ops::slice(x, 0i64, 0i64, 3i64, 1i64)?, 2.0)?;
        ops::set_item(&y, std::slice::from_ref(&index), &value.into())?;
        let column = [Index::Ellipsis, Index::Int(1)];
        ops::set_item(&y, &column, &ops::sum(x)?.into())?;
        ops::set_item(
            &y,
            &[Index::Int(1), Index::Int(3)],
            &Scalar::Float(4.0).into(),
        )?;
        let read = ops::get_item(&y, &[index])?;
        ops::sum(ops::mul(ops::mul(&read, &read)?, 0.1)?)
    };
    check(&f, &matrix(), "subscripts");
    let f = |x: &Tensor| {
        let y = ops::mul(x, x)?;
        let t = ops::transpose(&y, 0i64, 1i64)?;
        let one: Attrs = attrs([Attr::Int(1), Attr::Int(2)]);
        // Into a view, from the same memory.
        let inputs = [(&t).into(), (&rows).into(), (&t).into()];
        in_place::run(&ops::lookup::INDEX_ADD, &inputs, &one)?;
        ops::sum(ops::mul(&y, ops::mul(&y, x)?)?)
    };
    check(&f, &matrix(), "index_add_ of itself");
}
