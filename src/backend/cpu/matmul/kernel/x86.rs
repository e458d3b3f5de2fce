//! The kernels of the instruction sets of x86.

use super::super::super::isa::{Isa, isa};
use super::{AHEAD, Block, Kernel, kernels, single};
use half::bf16;
use std::arch::x86_64::*;

/// Whether this processor multiplies `bf16`.
pub(in crate::backend::cpu::matmul) fn multiplies_bf16() -> bool {
    isa() == Isa::Avx512 && is_x86_feature_detected!("avx512bf16")
}

/// Brings a line of memory, if there is one, to the cache.
#[inline(always)]
pub(in crate::backend::cpu::matmul) fn prefetch<T>(at: *const T) {
    // SAFETY: every processor of the architecture has the instruction, which faults nowhere.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
}

/// Two neighbours, the first in the lower half.
#[inline(always)]
fn pair(get: impl Fn(usize) -> bf16) -> u32 {
    u32::from(get(0).to_bits()) | u32::from(get(1).to_bits()) << 16
}

// Of two zeros, or a number and NaN, the maximum is the second: `relu` keeps -0 and NaN.
kernels! {
    Avx512F32(f32) [target_feature(enable = "avx512f")] {
        word: f32 = single;
        sum: f32, 1 at a time;
        block: 2 4 6 8 10 12 14 rows, 16 lanes;
        zero: _mm512_setzero_ps();
        splat: _mm512_set1_ps;
        load: _mm512_loadu_ps;
        add_product: |sums, a, b| _mm512_fmadd_ps(a, b, sums);
        add: |sums, at| _mm512_add_ps(sums, _mm512_loadu_ps(at));
        relu: |sums| _mm512_max_ps(_mm512_setzero_ps(), sums);
        store: _mm512_storeu_ps;
    }
    Avx512F64(f64) [target_feature(enable = "avx512f")] {
        word: f64 = single;
        sum: f64, 1 at a time;
        block: 2 4 6 8 10 12 14 rows, 8 lanes;
        zero: _mm512_setzero_pd();
        splat: _mm512_set1_pd;
        load: _mm512_loadu_pd;
        add_product: |sums, a, b| _mm512_fmadd_pd(a, b, sums);
        add: |sums, at| _mm512_add_pd(sums, _mm512_loadu_pd(at));
        relu: |sums| _mm512_max_pd(_mm512_setzero_pd(), sums);
        store: _mm512_storeu_pd;
    }
    /// The instruction adds two products at a time in an order of its own, always rounds to nearest,
    /// and takes subnormal numbers, and results, for zeros.
    Avx512Bf16(bf16) [target_feature(enable = "avx512f,avx512bf16")] {
        word: u32 = pair;
        sum: f32, 2 at a time;
        block: 2 4 6 8 10 12 14 rows, 16 lanes;
        zero: _mm512_setzero_ps();
        splat: |word: u32| std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(word as i32));
        load: |words: *const u32| words.cast::<__m512bh>().read_unaligned();
        add_product: |sums, a, b| _mm512_dpbf16_ps(sums, a, b);
        add: |sums, at| _mm512_add_ps(sums, _mm512_loadu_ps(at));
        relu: |sums| _mm512_max_ps(_mm512_setzero_ps(), sums);
        store: _mm512_storeu_ps;
    }
    Avx2F32(f32) [target_feature(enable = "avx2,fma")] {
        word: f32 = single;
        sum: f32, 1 at a time;
        block: 2 4 6 rows, 8 lanes;
        zero: _mm256_setzero_ps();
        splat: _mm256_set1_ps;
        load: _mm256_loadu_ps;
        add_product: |sums, a, b| _mm256_fmadd_ps(a, b, sums);
        add: |sums, at| _mm256_add_ps(sums, _mm256_loadu_ps(at));
        relu: |sums| _mm256_max_ps(_mm256_setzero_ps(), sums);
        store: _mm256_storeu_ps;
    }
    Avx2F64(f64) [target_feature(enable = "avx2,fma")] {
        word: f64 = single;
        sum: f64, 1 at a time;
        block: 2 4 6 rows, 4 lanes;
        zero: _mm256_setzero_pd();
        splat: _mm256_set1_pd;
        load: _mm256_loadu_pd;
        add_product: |sums, a, b| _mm256_fmadd_pd(a, b, sums);
        add: |sums, at| _mm256_add_pd(sums, _mm256_loadu_pd(at));
        relu: |sums| _mm256_max_pd(_mm256_setzero_pd(), sums);
        store: _mm256_storeu_pd;
    }
    BaseF32(f32) [] {
        word: f32 = single;
        sum: f32, 1 at a time;
        block: 2 4 rows, 4 lanes;
        zero: _mm_setzero_ps();
        splat: _mm_set1_ps;
        load: _mm_loadu_ps;
        add_product: |sums, a, b| _mm_add_ps(sums, _mm_mul_ps(a, b));
        add: |sums, at| _mm_add_ps(sums, _mm_loadu_ps(at));
        relu: |sums| _mm_max_ps(_mm_setzero_ps(), sums);
        store: _mm_storeu_ps;
    }
    BaseF64(f64) [] {
        word: f64 = single;
        sum: f64, 1 at a time;
        block: 2 4 rows, 2 lanes;
        zero: _mm_setzero_pd();
        splat: _mm_set1_pd;
        load: _mm_loadu_pd;
        add_product: |sums, a, b| _mm_add_pd(sums, _mm_mul_pd(a, b));
        add: |sums, at| _mm_add_pd(sums, _mm_loadu_pd(at));
        relu: |sums| _mm_max_pd(_mm_setzero_pd(), sums);
        store: _mm_storeu_pd;
    }
}
