//! Steps of optimisers: several tensors changed elementwise, together.

use super::super::{Update, View};
use super::isa::versions;
use super::lane::Acc;
use super::math::Float;
use super::threads;
use super::walk::address;
use crate::base::DType;

/// Elements that one thread takes: those of all tensors stay in its cache.
const PIECE: usize = 1 << 13;

/// See [`super::super::Backend::update`].
pub(super) fn update(rule: &Update, tensors: &[Vec<View>]) {
    let Some(first) = tensors.first() else { return };
    match first[0].dtype {
        DType::F64 => typed::<f64>(rule, tensors),
        _ => typed::<f32>(rule, tensors),
    }
}

/// The types that steps are computed in.
trait Real: Acc + Float {}
impl<C: Acc + Float> Real for C {}

fn typed<C: Real>(rule: &Update, tensors: &[Vec<View>]) {
    // Which tensors, and from which element on.
    let mut pieces = Vec::new();
    for (i, views) in tensors.iter().enumerate() {
        pieces.extend((0..views[0].numel()).step_by(PIECE).map(|start| (i, start)));
    }
    let most = tensors.iter().map(|v| v[0].numel()).max().unwrap_or(0);
    let cost = most.min(PIECE) as f64 * 0.3 + 5.0;
    threads::ranges(pieces.len(), 1, cost, |range| {
        for &(i, start) in &pieces[range] {
            let views = &tensors[i];
            let n = (views[0].numel() - start).min(PIECE);
            let part = |k: usize| {
                let v = &views[k];
                debug_assert_eq!(v.dtype, C::DTYPE);
                let at = address::<C>(v, v.layout.offset + start);
                // SAFETY: NOTE [Views in bounds]: the elements lie one after the other. No two of
                // the tensors share memory, and every piece is one thread's.
                unsafe { std::slice::from_raw_parts_mut(at, n) }
            };
            match rule {
                Update::Sgd(rule) => {
                    let sizes = Sgd {
                        decay: near::<C>(rule.weight_decay),
                        momentum: near::<C>(rule.momentum),
                        keep: near::<C>(1.0 - rule.dampening),
                        step: near::<C>(-rule.lr),
                    };
                    let buffer = (rule.momentum != 0.0).then(|| part(2));
                    sgd(
                        part(0),
                        part(1),
                        buffer,
                        rule.nesterov,
                        rule.maximize,
                        sizes,
                    );
                }
                Update::Adam(rule) => {
                    let [bias, root] = rule.corrections[i];
                    let sizes = Adam {
                        shrink: near::<C>(1.0 - rule.lr * rule.weight_decay),
                        decay: near::<C>(rule.weight_decay),
                        near: near::<C>(1.0 - rule.beta1),
                        beta2: near::<C>(rule.beta2),
                        rest: near::<C>(1.0 - rule.beta2),
                        eps: near::<C>(rule.eps),
                        root: near::<C>(root),
                        step: near::<C>(-rule.lr / bias),
                    };
                    let decay = match rule.weight_decay {
                        0.0 => Decay::None,
                        _ if rule.decoupled => Decay::Parameter,
                        _ => Decay::Gradient,
                    };
                    let largest = rule.amsgrad.then(|| part(4));
                    let moments = [part(2), part(3)];
                    adam(
                        part(0),
                        part(1),
                        moments,
                        largest,
                        decay,
                        rule.maximize,
                        sizes,
                    );
                }
                Update::Scale(factor) => scale(part(0), near::<C>(*factor)),
                Update::Zero => part(0).fill(C::ZERO),
            }
        }
    });
}

/// The nearest number.
fn near<C: Real>(x: f64) -> C {
    Float::of(x)
}

/// The numbers of a step of [`Update::Sgd`], rounded.
#[derive(Clone, Copy)]
struct Sgd<C> {
    decay: C,
    momentum: C,
    keep: C,
    step: C,
}

/// The numbers of a step of [`Update::Adam`], rounded.
#[derive(Clone, Copy)]
struct Adam<C> {
    shrink: C,
    decay: C,
    near: C,
    beta2: C,
    rest: C,
    eps: C,
    root: C,
    step: C,
}

/// What weight decay changes.
#[derive(Clone, Copy, PartialEq)]
enum Decay {
    None,
    Gradient,
    Parameter,
}

versions! {
    fn sgd<C: Real>(
        p: &mut [C],
        g: &[C],
        buffer: Option<&mut [C]>,
        nesterov: bool,
        maximize: bool,
        sizes: Sgd<C>,
    ) = sgd_body;
    fn adam<C: Real>(
        p: &mut [C],
        g: &[C],
        moments: [&mut [C]; 2],
        largest: Option<&mut [C]>,
        decay: Decay,
        maximize: bool,
        sizes: Adam<C>,
    ) = adam_body;
    fn scale<C: Real>(x: &mut [C], factor: C) = scale_body;
}

#[inline(always)]
fn sgd_body<C: Real>(
    p: &mut [C],
    g: &[C],
    buffer: Option<&mut [C]>,
    nesterov: bool,
    maximize: bool,
    sizes: Sgd<C>,
) {
    let direction = |p: C, g: C| {
        let g = if maximize { g.neg() } else { g };
        if sizes.decay == C::ZERO {
            g
        } else {
            g + p * sizes.decay
        }
    };
    let Some(buffer) = buffer else {
        for (p, &g) in p.iter_mut().zip(g) {
            *p = *p + direction(*p, g) * sizes.step;
        }
        return;
    };
    for ((p, &g), b) in p.iter_mut().zip(g).zip(buffer) {
        let g = direction(*p, g);
        *b = *b * sizes.momentum + g * sizes.keep;
        let g = if nesterov {
            g + *b * sizes.momentum
        } else {
            *b
        };
        *p = *p + g * sizes.step;
    }
}

#[inline(always)]
fn adam_body<C: Real>(
    p: &mut [C],
    g: &[C],
    [mean, square]: [&mut [C]; 2],
    largest: Option<&mut [C]>,
    decay: Decay,
    maximize: bool,
    sizes: Adam<C>,
) {
    let half: C = Float::of(0.5);
    let step = |p: &mut C, g: C, m: &mut C, v: &mut C| {
        let g = if maximize { g.neg() } else { g };
        let g = if decay == Decay::Gradient {
            g + *p * sizes.decay
        } else {
            g
        };
        if decay == Decay::Parameter {
            *p = *p * sizes.shrink;
        }
        // The form that is exact at the nearer end.
        *m = if sizes.near < half {
            *m + sizes.near * (g - *m)
        } else {
            g - (g - *m) * (C::ONE - sizes.near)
        };
        *v = *v * sizes.beta2 + sizes.rest * g * g;
    };
    let apply = |p: &mut C, m: C, v: C| {
        let divisor = v.sqrt() / sizes.root + sizes.eps;
        *p = *p + sizes.step * m / divisor;
    };
    let terms = p
        .iter_mut()
        .zip(g)
        .zip(mean.iter_mut().zip(square.iter_mut()));
    match largest {
        Some(largest) => {
            for (((p, &g), (m, v)), w) in terms.zip(largest) {
                step(p, g, m, v);
                *w = w.maximum(*v);
                apply(p, *m, *w);
            }
        }
        None => {
            for ((p, &g), (m, v)) in terms {
                step(p, g, m, v);
                apply(p, *m, *v);
            }
        }
    }
}

#[inline(always)]
fn scale_body<C: Real>(x: &mut [C], factor: C) {
    x.iter_mut().for_each(|x| *x = *x * factor);
}
