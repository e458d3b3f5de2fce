//! Copies with the order reversed along some dimensions.

use super::super::View;
use super::index::with_size;
use super::isa::versions;
use super::threads;
use super::transpose::Word;
use super::walk::{Walk, address};
use crate::base::{Layout, Strides};

/// See [`super::super::Backend::flip`].
pub(super) fn flip(out: View, x: View, dims: &[usize]) {
    let Some(last) = x.layout.ndim().checked_sub(1) else {
        // SAFETY: NOTE [Views in bounds]: one element each.
        with_size!(x.dtype, T => unsafe {
            *address::<T>(&out, out.layout.offset) = *address::<T>(&x, x.layout.offset);
        });
        return;
    };
    if x.numel() == 0 {
        return;
    }
    let (shape, strides) = (&x.layout.shape, &x.layout.strides);
    let n = shape[last];
    let rows = |strides: Strides, offset| Layout {
        shape: shape[..last].into(),
        strides,
        offset,
    };
    // How far rows lie ahead along dimensions that keep their order, and back from the last ones
    // along those that are reversed.
    let reversed = |d: &usize| dims.contains(d);
    let steps = |back: bool| (0..last).map(move |d| strides[d] * usize::from(reversed(&d) == back));
    let end = (0..last)
        .filter(reversed)
        .map(|d| (shape[d] - 1) * strides[d]);
    let ahead = rows(steps(false).collect(), x.layout.offset + end.sum::<usize>());
    let back = rows(steps(true).collect(), 0);
    let to = rows(out.layout.strides[..last].into(), out.layout.offset);
    let walk = Walk::new(&[&to, &ahead, &back]);
    let (from_stride, to_stride) = (strides[last], out.layout.strides[last]);
    let reversed = reversed(&last);
    threads::ranges(walk.len(), 1, n as f64 * 0.2 + 5.0, |range| {
        with_size!(x.dtype, T => walk.elements_in(range, |[to, ahead, back, _]| {
            let (from, to) = (address::<T>(&x, ahead - back), address::<T>(&out, to));
            if from_stride == 1 && to_stride == 1 {
                // SAFETY: NOTE [Views in bounds], NOTE [Aliasing].
                let (from, to) = unsafe {
                    (
                        std::slice::from_raw_parts(from, n),
                        std::slice::from_raw_parts_mut(to, n),
                    )
                };
                if reversed {
                    reverse(from, to);
                } else {
                    to.copy_from_slice(from);
                }
            } else {
                for i in 0..n {
                    let j = if reversed { n - 1 - i } else { i };
                    // SAFETY: NOTE [Views in bounds].
                    unsafe { *to.add(i * to_stride) = *from.add(j * from_stride) };
                }
            }
        }));
    });
}

versions! {
    fn reverse<T: Word>(from: &[T], to: &mut [T]) = reverse_body;
}

#[inline(always)]
fn reverse_body<T: Word>(from: &[T], to: &mut [T]) {
    for (to, &x) in to.iter_mut().zip(from.iter().rev()) {
        *to = x;
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Array;
    use super::*;
    use crate::base::DType;

    #[test]
    fn reverses_the_dimensions() {
        for dtype in DType::ALL {
            let values: Vec<f64> = (0..6).map(|i| f64::from(i % 2)).collect();
            let x = Array::new(dtype, &[2, 3], &values);
            for x in [x.scattered(), x] {
                for (dims, order) in [
                    (&[][..], [0, 1, 2, 3, 4, 5]),
                    (&[0], [3, 4, 5, 0, 1, 2]),
                    (&[1], [2, 1, 0, 5, 4, 3]),
                    (&[0, 1], [5, 4, 3, 2, 1, 0]),
                ] {
                    let out = Array::full(dtype, &[2, 3], 1.0);
                    flip(out.view(), x.view(), dims);
                    let expected = order.map(|i: usize| values[i]);
                    assert_eq!(out.values(), expected, "{dtype} {dims:?}");
                }
            }
        }
        let (x, out) = (
            Array::full(DType::F32, &[], 3.0),
            Array::full(DType::F32, &[], 0.0),
        );
        flip(out.view(), x.view(), &[]);
        assert_eq!(out.values(), [3.0]);
    }
}
