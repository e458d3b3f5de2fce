//! Results that are written past the caches.

use super::isa::{Isa, isa};
use std::ops::Range;

/// From so many bytes on, a result is more than the last cache keeps: it would drive out what is there,
/// and its lines would be read before they are written.
const WORTH: usize = 32 << 20;

/// Elements that are computed in the first cache before they are streamed.
const BLOCK: usize = 1024;

/// Whether a result of so many bytes should be streamed, and this processor can.
pub(super) fn is_worth(bytes: usize) -> bool {
    bytes >= WORTH && isa() == Isa::Avx512
}

/// Calls `f` with ranges of `out` and room for their elements, all of which it writes, and streams
/// these to `out`.
pub(super) fn stream<C: Copy + Default>(out: &mut [C], f: impl Fn(Range<usize>, &mut [C])) {
    let mut block = [C::default(); BLOCK];
    for (i, to) in out.chunks_mut(BLOCK).enumerate() {
        let block = &mut block[..to.len()];
        f(i * BLOCK..i * BLOCK + to.len(), block);
        write(block, to);
    }
    // Streamed lines are ordered before what follows only by a fence.
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every processor of the architecture has this instruction.
    unsafe {
        std::arch::x86_64::_mm_sfence();
    }
}

#[cfg(target_arch = "x86_64")]
fn write<C: Copy>(block: &[C], to: &mut [C]) {
    use std::arch::x86_64::{__m512i, _mm512_loadu_si512, _mm512_stream_si512};

    #[target_feature(enable = "avx512f")]
    fn lines<C: Copy>(block: &[C], to: &mut [C]) {
        // SAFETY: a line has no invalid bit patterns; it is only written, and with whole elements.
        let (head, lines, tail) = unsafe { to.align_to_mut::<__m512i>() };
        let (first, rest) = block.split_at(head.len());
        let (middle, last) = rest.split_at(rest.len() - tail.len());
        head.copy_from_slice(first);
        tail.copy_from_slice(last);
        for (i, line) in lines.iter_mut().enumerate() {
            // SAFETY: `middle` has as many bytes as the lines, which are aligned.
            unsafe {
                let x = _mm512_loadu_si512(middle.as_ptr().cast::<__m512i>().add(i));
                _mm512_stream_si512(line, x);
            }
        }
    }
    if isa() == Isa::Avx512 {
        // SAFETY: the processor has these instructions.
        unsafe { lines(block, to) }
    } else {
        to.copy_from_slice(block);
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn write<C: Copy>(block: &[C], to: &mut [C]) {
    to.copy_from_slice(block);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_everything_wherever_it_lies() {
        for n in [0, 1, 15, 16, 100, BLOCK - 1, BLOCK, 3 * BLOCK + 77] {
            for offset in [0, 1, 5] {
                let mut buffer = vec![-1.0f32; n + offset + 1];
                stream(&mut buffer[offset..][..n], |range, block| {
                    assert_eq!(range.len(), block.len());
                    range.zip(block).for_each(|(i, x)| *x = i as f32);
                });
                let (before, rest) = buffer.split_at(offset);
                let (written, after) = rest.split_at(n);
                assert!(before.iter().chain(after).all(|&x| x == -1.0));
                assert!(written.iter().enumerate().all(|(i, &x)| x == i as f32));
            }
        }
    }
}
