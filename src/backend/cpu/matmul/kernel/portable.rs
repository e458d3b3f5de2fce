//! Kernels that compilers turn into the vector instructions that every processor of an architecture
//! has.

use super::{AHEAD, Block, Kernel, kernels, single};

/// Leaves it to the processor what to bring to the cache.
#[inline(always)]
pub(in crate::backend::cpu::matmul) fn prefetch<T>(_: *const T) {}

/// Vector units of other architectures than x86 always fuse.
macro_rules! portable {
    ($($name:ident: $t:ty, $lanes:literal;)*) => { kernels! { $(
        $name($t) [] {
            word: $t = single;
            sum: $t, 1 at a time;
            block: 2 4 6 8 rows, $lanes lanes;
            zero: [0.0; $lanes];
            splat: |x: $t| [x; $lanes];
            load: |words: *const $t| words.cast::<[$t; $lanes]>().read();
            add_product: |sums: [$t; $lanes], a: [$t; $lanes], b: [$t; $lanes]| {
                std::array::from_fn(|i| a[i].mul_add(b[i], sums[i]))
            };
            add: |sums: [$t; $lanes], at: *const $t| {
                std::array::from_fn::<$t, $lanes, _>(|i| sums[i] + *at.add(i))
            };
            relu: |sums: [$t; $lanes]| sums.map(|x| if x < 0.0 { 0.0 } else { x });
            store: |to: *mut $t, sums: [$t; $lanes]| to.cast::<[$t; $lanes]>().write(sums);
        }
    )* } };
}
portable! {
    BaseF32: f32, 4;
    BaseF64: f64, 2;
}
