//! What combines the elements of rows: reductions, scans, softmax, layer norm, and sorting.

use super::super::super::{Reduction, Scan};
use super::*;

const INF: f64 = f64::INFINITY;

/// Whether `a` comes before `b` among extrema: NaN first, then by `better`.
fn wins(a: f64, b: f64, better: fn(&f64, &f64) -> bool) -> bool {
    !b.is_nan() && (a.is_nan() || better(&a, &b))
}

/// Position of the first best element.
fn best(lane: &[f64], better: fn(&f64, &f64) -> bool) -> usize {
    let mut best = 0;
    for (i, x) in lane.iter().enumerate() {
        if wins(*x, lane[best], better) {
            best = i;
        }
    }
    best
}

fn reduced(f: Reduction, lane: &[f64]) -> f64 {
    match f {
        Reduction::Sum => lane.iter().sum::<f64>() + 0.0,
        Reduction::SumNumbers => lane.iter().filter(|x| !x.is_nan()).sum::<f64>() + 0.0,
        Reduction::SumSquares => lane.iter().map(|x| x * x).sum::<f64>() + 0.0,
        Reduction::SquaredDistances => {
            let mean = total(lane.iter().copied()) / lane.len() as f64;
            total(lane.iter().map(|x| (x - mean).powi(2)))
        }
        Reduction::Prod => lane.iter().product(),
        Reduction::Max => lane[best(lane, f64::gt)],
        Reduction::Min => lane[best(lane, f64::lt)],
        Reduction::ArgMax => best(lane, f64::gt) as f64,
        Reduction::ArgMin => best(lane, f64::lt) as f64,
        Reduction::Any => f64::from(u8::from(lane.iter().any(|x| *x != 0.0))),
        Reduction::All => f64::from(u8::from(lane.iter().all(|x| *x != 0.0))),
    }
}

/// Sums of these numbers are exact in the types they are computed in, and so are products, which
/// consist of few numbers other than 1 and -1.
fn summands(draw: &mut Draw, f: Reduction, dtype: DType, n: usize) -> Vec<f64> {
    let mut values = draw.exact(dtype, n);
    if f == Reduction::Prod {
        for x in &mut values {
            let few = if dtype.is_float() {
                draw.pick(&[2.0, 0.5, 0.5, 2.0, 0.0])
            } else {
                0.0
            };
            let sign = if draw.once_in(2) { 1.0 } else { -1.0 };
            *x = if draw.once_in(40) { few } else { sign };
        }
        if matches!(dtype, DType::Bool | DType::U8) {
            values.iter_mut().for_each(|x| *x = x.abs());
        }
    }
    values
}

#[test]
fn reductions() {
    use Reduction::*;
    let all = [
        Sum, SumNumbers, SumSquares, Prod, Max, Min, ArgMax, ArgMin, Any, All,
    ];
    fuzz(900, |draw| {
        let f = draw.choose(&all);
        let dtype = draw.pick(&DType::ALL);
        let shape = draw.any_shape(6000);
        let is_arg = matches!(f, ArgMax | ArgMin);
        let mut dims: Vec<usize> = (0..shape.len()).filter(|_| !draw.once_in(2)).collect();
        if is_arg && dims.len() > 1 && dims.len() < shape.len() {
            dims.truncate(1);
        }
        draw.drawn.push(format!("over {dims:?}"));
        let depth: usize = dims.iter().map(|d| shape[*d]).product();
        let kept: Vec<usize> = (0..shape.len())
            .map(|d| if dims.contains(&d) { 1 } else { shape[d] })
            .collect();
        if depth == 0 && (is_arg || matches!(f, Max | Min)) {
            return;
        }
        let mut values = summands(draw, f, dtype, shape.iter().product());
        if f != Prod {
            draw.roughen(dtype, &mut values);
        }
        let x = draw.shared_input(dtype, &shape, &values);
        let wide = match f {
            ArgMax | ArgMin => DType::I64,
            Any | All => DType::Bool,
            Sum | SumNumbers | SumSquares | Prod if !dtype.is_float() => DType::I64,
            Sum | SumNumbers | SumSquares if draw.once_in(4) => DType::F64,
            _ => dtype,
        };
        let out = draw.output(wide, &kept);
        CPU.reduce(f, out.view(), x.view(), &dims);
        let values = x.values();
        let lanes: Vec<Vec<f64>> = groups(&shape, &dims)
            .iter()
            .map(|group| group.iter().map(|i| values[*i]).collect())
            .collect();
        let narrow = wide.compute() == DType::F32;
        let want: Vec<f64> = lanes
            .iter()
            .map(|lane| match f {
                // Huge numbers overflow where halves and `f32` are summed.
                SumSquares if narrow => {
                    let squares: Vec<f64> =
                        lane.iter().map(|x| rounded(DType::F32, x * x)).collect();
                    rounded(wide, reduced(Sum, &squares))
                }
                _ => rounded(wide, reduced(f, lane)),
            })
            .collect();
        // A huge number swallows others in an order of its own.
        let swallows = |lane: &Vec<f64>| lane.iter().any(|x| x.is_finite() && x.abs() > 1e20);
        expect_within(&out.values(), &want, |i| {
            let squares = |x: &f64| if f == SumSquares { x * x } else { x.abs() };
            let numbers = lanes[i].iter().filter(|x| f != SumNumbers || !x.is_nan());
            let size: f64 = numbers.map(squares).sum();
            match f {
                Sum | SumNumbers | SumSquares if swallows(&lanes[i]) => 64.0 * epsilon(wide) * size,
                // And others swallow what is tiny.
                Sum | SumNumbers => 1e-38,
                _ => 0.0,
            }
        });
    });
}

/// With a fixed tree the error grows with the depth of the tree, not with the number of terms.
#[test]
fn rough_sums_are_within_their_bounds() {
    use Reduction::{SquaredDistances, Sum, SumSquares};
    fuzz(300, |draw| {
        let sums = [Sum, SumSquares, SquaredDistances];
        let f = draw.choose(&sums);
        let dtype = draw.pick(&FLOATS);
        // More squares would not be finite in the smallest type.
        let shape = draw.any_shape(if dtype == DType::F16 { 4000 } else { 40_000 });
        let dims: Vec<usize> = (0..shape.len()).filter(|_| !draw.once_in(2)).collect();
        draw.drawn.push(format!("over {dims:?}"));
        let values = draw.rough(dtype, shape.iter().product());
        let x = draw.shared_input(dtype, &shape, &values);
        let kept: Vec<usize> = (0..shape.len())
            .map(|d| if dims.contains(&d) { 1 } else { shape[d] })
            .collect();
        let out = draw.output(dtype, &kept);
        CPU.reduce(f, out.view(), x.view(), &dims);
        let values = x.values();
        let lanes: Vec<Vec<f64>> = groups(&shape, &dims)
            .iter()
            .map(|group| group.iter().map(|i| values[*i]).collect())
            .collect();
        let exactly = |lane: &Vec<f64>| match f {
            Sum => total(lane.iter().copied()),
            SumSquares => total(lane.iter().map(|x| x * x)),
            _ => reduced(f, lane),
        };
        let want: Vec<f64> = lanes.iter().map(exactly).collect();
        expect_within(&out.values(), &want, |i| {
            let size: f64 = match f {
                Sum => lanes[i].iter().map(|x| x.abs()).sum(),
                _ => want[i],
            };
            // Some terms one after the other, then sums of two.
            let depth = 100.0 + (lanes[i].len() as f64 + 1.0).log2();
            let exact = epsilon(dtype.compute());
            // A mean that is off by its own rounding adds the square of that to each distance.
            let off = if f == SquaredDistances {
                let greatest = lanes[i].iter().fold(0.0f64, |a, x| a.max(x.abs()));
                lanes[i].len() as f64 * (depth * exact * greatest).powi(2)
            } else {
                0.0
            };
            depth * exact * size + off + stored(dtype, want[i])
        });
    });
}

#[test]
fn scans() {
    use Scan::*;
    fuzz(500, |draw| {
        let f = draw.choose(&[Sum, Prod, Max, Min, LogSumExp]);
        let dtype = draw.pick(if f == LogSumExp {
            &FLOATS
        } else {
            &DType::ALL[..]
        });
        let shape = draw.any_shape(4000);
        let dim = draw.dim(&shape);
        let like = if f == Prod {
            Reduction::Prod
        } else {
            Reduction::Sum
        };
        let mut values = summands(draw, like, dtype, shape.iter().product());
        let is_extremum = matches!(f, Max | Min);
        if is_extremum || f == LogSumExp {
            draw.roughen(dtype, &mut values);
        }
        let x = draw.shared_input(dtype, &shape, &values);
        let wide = if dtype.is_float() || is_extremum {
            dtype
        } else {
            DType::I64
        };
        let out = draw.output(wide, &shape);
        let places = is_extremum.then(|| draw.output(DType::I64, &shape));
        CPU.scan(
            f,
            out.view(),
            places.as_ref().map(Array::view),
            x.view(),
            dim,
        );
        let x = x.values();
        let better = if f == Max { f64::ge } else { f64::le };
        let scanned = |lane: &[f64]| -> (Vec<f64>, Vec<f64>) {
            let (mut at, mut y) = (0, if f == Prod { 1.0 } else { 0.0 });
            let step = |(i, x): (usize, &f64)| {
                if x.is_nan() || wins(*x, lane[at], better) {
                    at = i;
                }
                y = match f {
                    Sum => y + x,
                    Prod => y * x,
                    Max | Min => lane[at],
                    LogSumExp if i == 0 || (*x == y && x.is_infinite()) => *x,
                    LogSumExp => x.max(y) + (-(x - y).abs()).exp().ln_1p(),
                };
                (y, at as f64)
            };
            lane.iter().enumerate().map(step).unzip()
        };
        let want = by_lanes(&shape, dim, &[&x], |lanes| scanned(&lanes[0]).0);
        let want: Vec<f64> = want.iter().map(|x| rounded(wide, *x)).collect();
        match f {
            LogSumExp => {
                // `f32` accumulates in `f64`.
                let is_half = matches!(dtype, DType::F16 | DType::BF16);
                let exact = epsilon(if is_half { DType::F32 } else { DType::F64 });
                expect_within(&out.values(), &want, |i| {
                    let size = want[i].abs().max(1.0);
                    2.0 * stored(dtype, size) + 2000.0 * exact * size
                });
            }
            _ => expect_same(&out.values(), &want),
        }
        if let Some(places) = places {
            let want = by_lanes(&shape, dim, &[&x], |lanes| scanned(&lanes[0]).1);
            expect(&places.values(), &want);
        }
    });
}

#[test]
fn softmax_and_its_derivative() {
    fuzz(500, |draw| {
        let dtype = draw.choose(&FLOATS);
        let log = draw.choose(&[false, true]);
        let shape = draw.any_shape(4000);
        let dim = draw.dim(&shape);
        let n = shape.iter().product();
        let values = draw.rough(dtype, n);
        let x = draw.shared_input(dtype, &shape, &values);
        let y = draw.output(dtype, &shape);
        CPU.softmax(log, y.view(), x.view(), dim);
        let want = by_lanes(&shape, dim, &[&x.values()], |lanes| {
            let x = &lanes[0];
            let top = x.iter().copied().fold(-INF, f64::max);
            let sum = total(x.iter().map(|x| (x - top).exp()));
            let of = |x: &f64| {
                if log {
                    x - top - sum.ln()
                } else {
                    (x - top).exp() / sum
                }
            };
            x.iter().map(of).collect()
        });
        let exact = epsilon(dtype.compute());
        expect_within(&y.values(), &want, |i| {
            // Exponents of up to 8 magnify their rounding.
            let size = if log {
                want[i].abs().max(1.0)
            } else {
                want[i].abs()
            };
            stored(dtype, want[i]) + 32.0 * exact * size
        });

        let values = draw.rough(dtype, n);
        let in_place = draw.once_in(2);
        let cotangent = draw.input_in(dtype, &shape, &values, !in_place);
        let g = cotangent.values();
        let out = if in_place {
            draw.will_write(&cotangent);
            cotangent.clone()
        } else {
            draw.output(dtype, &shape)
        };
        CPU.softmax_backward(log, out.view(), cotangent.view(), y.view(), dim);
        let y = y.values();
        // What each element is the difference of.
        let terms = |g: &[f64], y: &[f64]| -> Vec<[f64; 2]> {
            let pairs = g.iter().zip(y);
            let sum = total(pairs.clone().map(|(g, y)| if log { *g } else { g * y }));
            let term = |(g, y): (&f64, &f64)| {
                if log {
                    [*g, y.exp() * sum]
                } else {
                    [g * y, y * sum]
                }
            };
            pairs.map(term).collect()
        };
        let want = by_lanes(&shape, dim, &[&g, &y], |lanes| {
            terms(&lanes[0], &lanes[1])
                .iter()
                .map(|[a, b]| a - b)
                .collect()
        });
        let sizes = by_lanes(&shape, dim, &[&g, &y], |lanes| {
            let g: Vec<f64> = lanes[0].iter().map(|g| g.abs()).collect();
            let absolute = |x: &f64| if log { *x } else { x.abs() };
            let y: Vec<f64> = lanes[1].iter().map(absolute).collect();
            terms(&g, &y).iter().map(|[a, b]| a + b).collect()
        });
        expect_within(&out.values(), &want, |i| {
            stored(dtype, want[i]) + 64.0 * exact * sizes[i]
        });
    });
}

/// Rows of `x`, normalised, with their mean and the inverse of their deviation.
fn normalised(x: &[f64], eps: f64) -> (Vec<f64>, f64, f64) {
    let n = x.len() as f64;
    let mean = total(x.iter().copied()) / n;
    let variance = total(x.iter().map(|x| (x - mean).powi(2))) / n;
    let rstd = 1.0 / (variance + eps).sqrt();
    (x.iter().map(|x| (x - mean) * rstd).collect(), mean, rstd)
}

#[test]
fn layer_norm_and_its_derivatives() {
    fuzz(400, |draw| {
        let dtype = draw.choose(&FLOATS);
        let statistics = dtype.compute();
        let exact = epsilon(statistics);
        let ndim = 1 + draw.below(4);
        let mut shape = draw.shape(ndim, 4000);
        let outer = draw.below(ndim);
        draw.drawn.push(format!("outer {outer}"));
        // An empty row has no mean.
        shape[outer..].iter_mut().for_each(|n| *n = (*n).max(1));
        let (lead, row) = shape.split_at(outer);
        let n: usize = row.iter().product();
        let rows: usize = lead.iter().product();
        let values = draw.rough(dtype, rows * n);
        let x = draw.shared_input(dtype, &shape, &values);
        let parameter = |draw: &mut Draw| {
            let wants = draw.choose(&[true, false]);
            wants.then(|| {
                let values = draw.rough(dtype, n);
                draw.shared_input(dtype, row, &values)
            })
        };
        let (weight, bias) = (parameter(draw), parameter(draw));
        let out = draw.output(dtype, &shape);
        let (mean, rstd) = (draw.output(statistics, lead), draw.output(statistics, lead));
        let (w, b) = (
            weight.as_ref().map(Array::view),
            bias.as_ref().map(Array::view),
        );
        let eps = 0.125;
        CPU.layer_norm(
            out.view(),
            mean.view(),
            rstd.view(),
            x.view(),
            w,
            b,
            outer,
            eps,
        );
        let lanes = x.values();
        let weights = weight.as_ref().map_or(vec![1.0; n], Array::values);
        let biases = bias.as_ref().map_or(vec![0.0; n], Array::values);
        let (means, rstds, y) = (mean.values(), rstd.values(), out.values());
        for (i, lane) in lanes.chunks(n).enumerate() {
            let (norm, m, r) = normalised(lane, eps);
            expect_within(&means[i..=i], &[m], |_| 32.0 * exact * 4.0);
            expect_within(&rstds[i..=i], &[r], |_| 32.0 * exact * r);
            let want: Vec<f64> = (0..n).map(|j| norm[j] * weights[j] + biases[j]).collect();
            expect_within(&y[i * n..][..n], &want, |j| {
                let size = (norm[j].abs() + 4.0 * r) * weights[j].abs() + biases[j].abs();
                64.0 * exact * size + stored(dtype, want[j])
            });
        }

        let values = draw.rough(dtype, rows * n);
        let g = draw.shared_input(dtype, &shape, &values);
        let dx = draw.output(dtype, &shape);
        CPU.layer_norm_backward(
            dx.view(),
            g.view(),
            x.view(),
            mean.view(),
            rstd.view(),
            w,
            outer,
        );
        let dw = draw.output(dtype, row);
        CPU.layer_norm_weight(
            dw.view(),
            g.view(),
            x.view(),
            mean.view(),
            rstd.view(),
            outer,
        );
        let (g, dx) = (g.values(), dx.values());
        let (mut sums, mut sizes) = (vec![0.0; n], vec![0.0; n]);
        for i in 0..rows {
            let (m, r) = (means[i], rstds[i]);
            let y: Vec<f64> = lanes[i * n..][..n].iter().map(|x| (x - m) * r).collect();
            let g = &g[i * n..][..n];
            let h: Vec<f64> = g.iter().zip(&weights).map(|(g, w)| g * w).collect();
            let mean_of = |f: &dyn Fn(usize) -> f64| total((0..n).map(f)) / n as f64;
            let (a, b) = (mean_of(&|j| h[j]), mean_of(&|j| h[j] * y[j]));
            let (a_size, b_size) = (mean_of(&|j| h[j].abs()), mean_of(&|j| (h[j] * y[j]).abs()));
            let want: Vec<f64> = (0..n).map(|j| r * (h[j] - a - y[j] * b)).collect();
            expect_within(&dx[i * n..][..n], &want, |j| {
                let size = r * (h[j].abs() + a_size + (y[j].abs() + 4.0 * r) * b_size);
                64.0 * exact * size + stored(dtype, want[j])
            });
            for j in 0..n {
                sums[j] += g[j] * y[j];
                sizes[j] += g[j].abs() * (y[j].abs() + 4.0 * r);
            }
        }
        expect_within(&dw.values(), &sums, |j| {
            (80.0 + (rows as f64 + 1.0).log2()) * exact * sizes[j] + stored(dtype, sums[j])
        });
    });
}

/// Whole sorts, and a few in order from any rank on, among many equal elements.
#[test]
fn sorts() {
    fuzz(600, |draw| {
        let dtype = draw.choose(&DType::ALL);
        let shape = draw.any_shape(6000);
        let dim = draw.dim(&shape);
        let descending = draw.choose(&[false, true]);
        let n = shape.iter().product();
        let mut values = if draw.once_in(2) && dtype.is_float() {
            draw.rough(dtype, n)
        } else {
            draw.exact(dtype, n)
        };
        draw.roughen(dtype, &mut values);
        let x = draw.shared_input(dtype, &shape, &values);
        let mut few = shape.clone();
        if !shape.is_empty() && draw.once_in(2) {
            few[dim] = draw.below(shape[dim] + 1).min(draw.pick(&[1, 5, 40, 4000]));
        }
        let first = match shape.get(dim) {
            Some(n) => draw.below(n - few[dim] + 1),
            None => 0,
        };
        let sorted = draw.output(dtype, &few);
        let index = draw.output(DType::I64, &few);
        CPU.sort(
            sorted.view(),
            index.view(),
            x.view(),
            dim,
            descending,
            first,
        );
        let x = x.values();
        let (mut values, mut places) = (
            vec![0.0; sorted.values().len()],
            vec![0.0; sorted.values().len()],
        );
        for (from, to) in groups(&shape, &[dim]).iter().zip(groups(&few, &[dim])) {
            let mut order: Vec<usize> = (0..from.len()).collect();
            order.sort_by(|i, j| {
                let (a, b) = (x[from[*i]], x[from[*j]]);
                let by_size = a.partial_cmp(&b);
                let order = by_size.unwrap_or(a.is_nan().cmp(&b.is_nan()));
                if descending { order.reverse() } else { order }
            });
            for (to, i) in to.iter().zip(order.into_iter().skip(first)) {
                values[*to] = x[from[i]];
                places[*to] = i as f64;
            }
        }
        expect(&index.values(), &places);
        expect(&sorted.values(), &values);
    });
}
