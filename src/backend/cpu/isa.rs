//! Loops compiled once per instruction set, chosen at run time.
//!
//! Rust neither fuses multiplications with additions by itself nor reorders sums, so that the versions
//! of one loop give the same bits.

use std::sync::atomic::{AtomicU8, Ordering};

/// The instruction sets that loops are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(in crate::backend) enum Isa {
    /// What every processor of the architecture has.
    Base = 1,
    /// AVX2 and FMA.
    Avx2 = 2,
    /// The parts of AVX-512 that came with its first server processors.
    Avx512 = 3,
}

/// The best that this processor has, or what the environment variable `RUSTGRAD_ISA` asks for
/// (`base`, `avx2` or `avx512`) if the processor has it.
#[inline(always)]
pub(in crate::backend) fn isa() -> Isa {
    static FOUND: AtomicU8 = AtomicU8::new(0);
    match FOUND.load(Ordering::Relaxed) {
        3 => Isa::Avx512,
        2 => Isa::Avx2,
        1 => Isa::Base,
        _ => {
            let found = match std::env::var("RUSTGRAD_ISA").as_deref() {
                Ok("base") => Isa::Base,
                Ok("avx2") => Isa::Avx2.min(detect()),
                _ => detect(),
            };
            FOUND.store(found as u8, Ordering::Relaxed);
            found
        }
    }
}

#[cold]
fn detect() -> Isa {
    #[cfg(target_arch = "x86_64")]
    {
        macro_rules! has {
            ($($feature:tt)*) => { true $(&& is_x86_feature_detected!($feature))* };
        }
        if has!("avx512f" "avx512bw" "avx512cd" "avx512dq" "avx512vl" "avx2" "fma") {
            return Isa::Avx512;
        }
        if has!("avx2" "fma") {
            return Isa::Avx2;
        }
    }
    Isa::Base
}

/// `versions! { fn name<T: Bound>(x: X) -> Y = body; }` defines `name`, which runs the
/// `#[inline(always)]` function `body` as compiled for this processor.
macro_rules! versions {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident<$($g:ident: $bound:path),*>
        ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? = $body:ident;)*) => { $(
        $(#[$meta])*
        #[inline]
        $vis fn $name<$($g: $bound),*>($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512cd,avx512dq,avx512vl,avx2,fma")]
                fn avx512<$($g: $bound),*>($($arg: $ty),*) $(-> $ret)? {
                    $body::<$($g),*>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn avx2<$($g: $bound),*>($($arg: $ty),*) $(-> $ret)? {
                    $body::<$($g),*>($($arg),*)
                }
                match $crate::backend::cpu::isa::isa() {
                    // SAFETY: the processor has these instructions.
                    $crate::backend::cpu::isa::Isa::Avx512 => unsafe {
                        return avx512::<$($g),*>($($arg),*);
                    },
                    // SAFETY: as above.
                    $crate::backend::cpu::isa::Isa::Avx2 => unsafe {
                        return avx2::<$($g),*>($($arg),*);
                    },
                    $crate::backend::cpu::isa::Isa::Base => {}
                }
            }
            $body::<$($g),*>($($arg),*)
        }
    )* };
}
pub(in crate::backend) use versions;
