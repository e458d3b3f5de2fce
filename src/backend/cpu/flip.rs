//! Copies with the order reversed along some dimensions.

use super::super::View;
use super::index::with_size;
use super::isa::versions;
use super::threads;
use super::transpose::Word;
use super::walk::address;

/// See [`super::super::Backend::flip`].
pub(super) fn flip(out: View, x: View, dims: &[usize]) {
    let Some(last) = x.layout.ndim().checked_sub(1) else {
        // SAFETY: NOTE [Views in bounds]: one element each.
        with_size!(x.dtype, T => unsafe {
            *address::<T>(&out, out.layout.offset) = *address::<T>(&x, x.layout.offset);
        });
        return;
    };
    let shape = &x.layout.shape;
    let n = shape[last];
    if x.numel() == 0 {
        return;
    }
    let rows: usize = shape[..last].iter().product();
    let (from_stride, to_stride) = (x.layout.strides[last], out.layout.strides[last]);
    let reversed = dims.contains(&last);
    let run = |row: usize| {
        let (mut from, mut to, mut rest) = (x.layout.offset, out.layout.offset, row);
        for d in (0..last).rev() {
            let (i, size) = (rest % shape[d], shape[d]);
            rest /= size;
            to += i * out.layout.strides[d];
            let i = if dims.contains(&d) { size - 1 - i } else { i };
            from += i * x.layout.strides[d];
        }
        with_size!(x.dtype, T => {
            let (from, to) = (address::<T>(&x, from), address::<T>(&out, to));
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
        });
    };
    threads::ranges(rows, 1, n as f64 * 0.2 + 10.0, |range| range.for_each(run));
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
