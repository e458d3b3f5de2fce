//! rustgrad from Rust: gradients of any order, without Python.
//!
//! `cargo run --example quickstart`

use rustgrad::engine::{self, Grads};
use rustgrad::{Result, Tensor, ops};

fn main() -> Result<()> {
    // f(x) = x^3 at x = 2: f' = 12, f'' = 12, f''' = 6.
    let x = Tensor::from_slice(&[2.0f64], [1])?;
    x.set_requires_grad(true)?;
    let how = Grads {
        retain_graph: true,
        create_graph: true,
    };
    let mut derivative = ops::pow(&x, 3i64)?;
    for order in 1..=3 {
        let found = engine::grad(&[derivative], &[None], std::slice::from_ref(&x), false, how)?;
        derivative = found.into_iter().flatten().next().expect("x was used");
        println!("derivative {order}: {}", derivative.item()?.as_f64());
    }
    assert_eq!(derivative.item()?.as_f64(), 6.0);

    // A least-squares fit by gradient descent.
    let inputs = Tensor::from_slice(&[0.0f64, 1.0, 2.0, 3.0], [4, 1])?;
    let targets = Tensor::from_slice(&[1.0f64, 3.0, 5.0, 7.0], [4, 1])?;
    let mut w = Tensor::from_slice(&[0.0f64], [1, 1])?;
    let mut b = Tensor::from_slice(&[0.0f64], [1])?;
    for _ in 0..500 {
        w.set_requires_grad(true)?;
        b.set_requires_grad(true)?;
        let error = ops::sub(ops::linear(&inputs, &w, &b)?, &targets)?;
        let loss = ops::sum(ops::mul(&error, &error)?)?;
        let found = engine::grad(
            &[loss],
            &[None],
            &[w.clone(), b.clone()],
            false,
            Grads::default(),
        )?;
        let step = |p: &Tensor, g: &Option<Tensor>| {
            let g = g.as_ref().expect("both were used");
            ops::add_scaled(p.detach(), g, -0.03)
        };
        (w, b) = (step(&w, &found[0])?, step(&b, &found[1])?);
    }
    let (w, b) = (w.item()?.as_f64(), b.item()?.as_f64());
    println!("y = {w:.3} x + {b:.3}");
    assert!((w - 2.0).abs() < 1e-3 && (b - 1.0).abs() < 1e-3);
    Ok(())
}
