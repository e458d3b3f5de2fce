//! What one recorded op and one backward step cost.
//!
//! `cargo bench --bench tape`

use criterion::{Criterion, criterion_group, criterion_main};
use rustgrad::engine::{self, Grads};
use rustgrad::{Tensor, ops};
use std::hint::black_box;

fn vector(requires_grad: bool) -> Tensor {
    let t = Tensor::from_slice(&[1.0f32, 2.0, 3.0, 4.0], [4]).expect("four elements");
    t.set_requires_grad(requires_grad)
        .expect("a leaf of floats");
    t
}

fn record(c: &mut Criterion) {
    let mut group = c.benchmark_group("tape");
    let y = vector(false);
    let plain = vector(false);
    group.bench_function("mul, not recorded", |b| {
        b.iter(|| ops::mul(black_box(&plain), black_box(&y)).expect("equal shapes"));
    });
    let x = vector(true);
    group.bench_function("mul, recorded", |b| {
        b.iter(|| ops::mul(black_box(&x), black_box(&y)).expect("equal shapes"));
    });
    group.bench_function("chain of 100: forward and backward", |b| {
        b.iter(|| {
            let mut t = x.clone();
            for _ in 0..100 {
                t = ops::mul(&t, &y).expect("equal shapes");
            }
            let one = Tensor::full([4], 1i64, rustgrad::DType::F32, rustgrad::Device::Cpu);
            let one = one.expect("a small tensor");
            let how = Grads::default();
            engine::grad(&[t], &[Some(one)], std::slice::from_ref(&x), false, how)
                .expect("a gradient")
        });
    });
    group.finish();
}

criterion_group!(benches, record);
criterion_main!(benches);
