//! What the kernels take, by family, and a training step of a small network.
//!
//! `cargo bench --bench kernels`

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rustgrad::engine::{self, Grads};
use rustgrad::{DType, Device, Tensor, ops};
use std::hint::black_box;

/// A tensor of ascending numbers between 0 and 1.
fn numbers(shape: &[usize]) -> Tensor {
    let n: usize = shape.iter().product();
    let values: Vec<f32> = (0..n).map(|i| (i % 1000) as f32 / 1000.0).collect();
    Tensor::from_slice(&values, shape).expect("as many as the shape has")
}

fn elementwise(c: &mut Criterion) {
    let mut group = c.benchmark_group("elementwise");
    for n in [1_000, 100_000, 1_000_000] {
        group.throughput(Throughput::Elements(n as u64));
        let (x, y) = (numbers(&[n]), numbers(&[n]));
        group.bench_function(BenchmarkId::new("mul", n), |b| {
            b.iter(|| ops::mul(black_box(&x), black_box(&y)).expect("equal shapes"));
        });
        group.bench_function(BenchmarkId::new("exp", n), |b| {
            b.iter(|| ops::exp(black_box(&x)).expect("floats"));
        });
        group.bench_function(BenchmarkId::new("tanh", n), |b| {
            b.iter(|| ops::tanh(black_box(&x)).expect("floats"));
        });
    }
    group.finish();
}

fn reduce(c: &mut Criterion) {
    let mut group = c.benchmark_group("reduce");
    let x = numbers(&[1000, 1000]);
    group.throughput(Throughput::Elements(1_000_000));
    for dim in [0i64, 1] {
        group.bench_function(BenchmarkId::new("sum over dim", dim), |b| {
            b.iter(|| {
                ops::sum_dims(black_box(&x), dim, false, None::<DType>).expect("a dimension")
            });
        });
    }
    group.finish();
}

fn matmul(c: &mut Criterion) {
    let mut group = c.benchmark_group("matmul");
    let mut product = |name: &str, size: usize, a: Tensor, b: Tensor| {
        let operations = 2 * a.numel() * b.shape()[b.shape().len() - 1];
        group.throughput(Throughput::Elements(operations as u64));
        group.bench_function(BenchmarkId::new(name, size), |bench| {
            bench.iter(|| ops::matmul(black_box(&a), black_box(&b)).expect("sizes that fit"));
        });
    };
    let square = |n: usize| numbers(&[n, n]);
    let turned = |x: Tensor| ops::transpose(&x, -2i64, -1i64).expect("a matrix");
    let cast = |x: Tensor, dtype| ops::cast(&x, dtype).expect("a number fits");
    for n in [4, 16, 64, 256, 1024] {
        product("square", n, square(n), square(n));
    }
    product("first transposed", 256, turned(square(256)), square(256));
    product("second transposed", 256, square(256), turned(square(256)));
    product(
        "both transposed",
        256,
        turned(square(256)),
        turned(square(256)),
    );
    for (name, dtype) in [
        ("f64", DType::F64),
        ("bf16", DType::BF16),
        ("f16", DType::F16),
    ] {
        for n in [64, 256] {
            product(name, n, cast(square(n), dtype), cast(square(n), dtype));
        }
    }
    let batch = || numbers(&[64, 64, 64]);
    product("64 of", 64, batch(), batch());
    product("64 of, second transposed,", 64, batch(), turned(batch()));
    product("vector", 1024, square(1024), numbers(&[1024, 1]));
    product(
        "transposed vector",
        1024,
        turned(square(1024)),
        numbers(&[1024, 1]),
    );
    product("32 rows", 1024, numbers(&[32, 1024]), turned(square(1024)));
    group.finish();
}

fn train(c: &mut Criterion) {
    let mut group = c.benchmark_group("train step");
    let (x, w, v) = (numbers(&[32, 64]), numbers(&[64, 32]), numbers(&[32, 10]));
    for leaf in [&w, &v] {
        leaf.set_requires_grad(true).expect("a leaf of floats");
    }
    let one = Tensor::full([], 1i64, DType::F32, Device::Cpu).expect("a small tensor");
    group.bench_function("64-32-10, batch 32, forward and backward", |b| {
        b.iter(|| {
            let h = ops::tanh(ops::matmul(&x, &w).expect("sizes fit")).expect("floats");
            let y = ops::matmul(&h, &v).expect("sizes fit");
            let loss = ops::mean(ops::square(&y).expect("floats"));
            let leaves = [w.clone(), v.clone()];
            engine::grad(
                &[loss.expect("floats")],
                &[Some(one.clone())],
                &leaves,
                false,
                Grads::default(),
            )
            .expect("gradients")
        });
    });
    group.finish();
}

criterion_group!(benches, elementwise, reduce, matmul, train);
criterion_main!(benches);
