//! What it costs to record an op, to walk back over it, and to forget it.
//!
//! `cargo bench --bench tape`
//!
//! Every figure is the time of one op, or of one step back: chains are timed as a whole and divided
//! by their length. What recording costs is the difference of the first two.

use criterion::{Criterion, criterion_group, criterion_main};
use rustgrad::engine::{self, Grads};
use rustgrad::{DType, Device, Tensor, ops};
use std::hint::black_box;
use std::time::{Duration, Instant};

/// Ops in a chain.
const LENGTH: u64 = 100;

fn vector(requires_grad: bool) -> Tensor {
    let t = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [4]).expect("four elements");
    t.set_requires_grad(requires_grad)
        .expect("a leaf of floats");
    t
}

/// `x y y ... y`.
fn chain(x: &Tensor, y: &Tensor) -> Tensor {
    let mut t = x.clone();
    for _ in 0..LENGTH {
        t = ops::mul(&t, y).expect("equal shapes");
    }
    t
}

/// The time of `steps` steps, of which `time` takes a chain's at once.
fn per_step(steps: u64, time: impl Fn() -> Duration) -> Duration {
    let chains = steps.div_ceil(LENGTH);
    let total: Duration = (0..chains).map(|_| time()).sum();
    total.mul_f64(steps as f64 / (chains * LENGTH) as f64)
}

/// How long `f` takes; what it returns is dropped later.
fn timed<T>(f: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let result = black_box(f());
    (start.elapsed(), result)
}

fn tape(c: &mut Criterion) {
    let mut group = c.benchmark_group("tape");
    let (plain, x, y) = (vector(false), vector(true), vector(false));
    group.bench_function("mul", |b| {
        b.iter_custom(|steps| per_step(steps, || timed(|| chain(&plain, &y)).0));
    });
    group.bench_function("mul, recorded", |b| {
        b.iter_custom(|steps| per_step(steps, || timed(|| chain(&x, &y)).0));
    });
    let one = Tensor::full([4], 1i64, DType::F32, Device::Cpu).expect("a small tensor");
    group.bench_function("step of backward", |b| {
        let time = || {
            let roots = [chain(&x, &y)];
            let seeds = [Some(one.clone())];
            let leaf = std::slice::from_ref(&x);
            timed(|| engine::grad(&roots, &seeds, leaf, false, Grads::default())).0
        };
        b.iter_custom(|steps| per_step(steps, time));
    });
    group.bench_function("node forgotten", |b| {
        let time = || {
            let root = chain(&x, &y);
            timed(|| drop(root)).0
        };
        b.iter_custom(|steps| per_step(steps, time));
    });
    group.finish();
}

criterion_group!(benches, tape);
criterion_main!(benches);
