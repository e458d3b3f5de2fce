//! The kernel of processors that multiply tiles of matrices (Intel's AMX).

use super::super::super::isa::{Isa, isa};
use super::x86::{Avx512Bf16, multiplies_bf16};
use super::{Block, Kernel, Panel};
use half::bf16;
use std::arch::asm;
use std::arch::x86_64::__cpuid_count;
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// Whether this processor multiplies tiles of `bf16`, and the system lets it.
pub(in crate::backend::cpu::matmul) fn multiplies_tiles() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND
        .get_or_init(|| isa() == Isa::Avx512 && multiplies_bf16() && has_tiles() && may_use_tiles())
}

fn has_tiles() -> bool {
    const TILE_AND_BF16: u32 = 1 << 24 | 1 << 22;
    __cpuid_count(0, 0).eax >= 7 && __cpuid_count(7, 0).edx & TILE_AND_BF16 == TILE_AND_BF16
}

/// Asks the system for the registers of tiles, which it gives to a process that asks: their contents
/// make a thread's state larger by 8 KiB.
#[cfg(target_os = "linux")]
fn may_use_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_ulong = 0x1023;
    const XFEATURE_XTILEDATA: libc::c_ulong = 18;
    // SAFETY: the call changes nothing but this permission.
    unsafe {
        libc::syscall(
            libc::SYS_arch_prctl,
            ARCH_REQ_XCOMP_PERM,
            XFEATURE_XTILEDATA,
        ) == 0
    }
}

#[cfg(not(target_os = "linux"))]
fn may_use_tiles() -> bool {
    false
}

/// Rows of a tile.
const HIGH: usize = 16;

/// Bytes of a row of a tile.
const LINE: usize = 64;

/// Words of a row of a tile.
const WORDS: usize = LINE / size_of::<u32>();

/// How the tile registers are used: their rows, and bytes of a row.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

/// Some of the terms of a block: where tiles are loaded from, one step along the sums after the other.
#[repr(C)]
struct Terms {
    /// Rows of the first operand, and those 16 below.
    a: [*const u32; 2],
    /// Columns of the second, and those 16 to the right.
    b: [*const u32; 2],
    /// Bytes between rows of the first.
    a_row: usize,
    /// Bytes between rows of the second, and 16 times as many.
    b_row: usize,
    b_step: usize,
    steps: usize,
}

impl Terms {
    /// A second tile that is not there is the first again.
    fn new(a: Panel<u32>, b: Panel<u32>, steps: usize, [below, right]: [bool; 2]) -> Self {
        let second = |first: *const u32, is_there: bool, bytes: usize| {
            first.wrapping_byte_add(if is_there { bytes } else { 0 })
        };
        Self {
            a: [a.at, second(a.at, below, HIGH * a.across)],
            b: [b.at, second(b.at, right, LINE)],
            a_row: a.across,
            b_row: b.along,
            b_step: HIGH * b.along,
            steps,
        }
    }
}

/// Terms that do not fill a tile, with zeros behind them.
struct Rest {
    a: [[u32; WORDS]; 2 * HIGH],
    b: [[u32; 2 * WORDS]; HIGH],
}

impl Rest {
    /// The terms of a block from `first` on.
    ///
    /// # Safety
    /// As [`Kernel::multiply`].
    unsafe fn new(block: &Block<u32, f32>, first: usize) -> Self {
        let mut rest = Self {
            a: [[0; WORDS]; 2 * HIGH],
            b: [[0; 2 * WORDS]; HIGH],
        };
        let columns = if block.columns > WORDS {
            2 * WORDS
        } else {
            WORDS
        };
        for l in 0..block.terms - first {
            let a = block.a.at.wrapping_byte_add((first + l) * block.a.along);
            let b = block.b.at.wrapping_byte_add((first + l) * block.b.along);
            // SAFETY: the caller's promise.
            unsafe {
                for (i, row) in rest.a.iter_mut().enumerate().take(block.rows) {
                    row[l] = a.byte_add(i * block.a.across).read_unaligned();
                }
                b.copy_to_nonoverlapping(rest.b[l].as_mut_ptr(), columns);
            }
        }
        rest
    }

    /// As panels.
    fn panels(&self) -> (Panel<u32>, Panel<u32>) {
        let panel = |at, along, across| Panel { at, along, across };
        let word = size_of::<u32>();
        (
            panel(self.a.as_ptr().cast(), word, LINE),
            panel(self.b.as_ptr().cast(), 2 * LINE, word),
        )
    }
}

/// Sums of a block.
type Sums = [[f32; 2 * WORDS]; 2 * HIGH];

/// Computes the sums of two by two tiles.
///
/// # Safety
/// The processor has the instructions, and the process may use them. All tiles may be read.
unsafe fn tiles(config: &Config, terms: &[Terms]) -> MaybeUninit<Sums> {
    const {
        assert!(size_of::<Terms>() == 64 && size_of::<Config>() == 64);
    }
    let mut sums = MaybeUninit::<Sums>::uninit();
    // SAFETY: the caller's promise; there is room for the sums. Nobody else uses tiles, and none are
    // left.
    unsafe {
        asm!(
            "ldtilecfg [{config}]",
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            "2:",
            "mov {a}, [{terms}]",
            "mov {a_below}, [{terms} + 8]",
            "mov {b}, [{terms} + 16]",
            "mov {b_right}, [{terms} + 24]",
            "mov {a_row}, [{terms} + 32]",
            "mov {b_row}, [{terms} + 40]",
            "mov {steps}, [{terms} + 56]",
            "3:",
            "tileloadd tmm4, [{a} + {a_row} * 1]",
            "tileloadd tmm6, [{b} + {b_row} * 1]",
            "tdpbf16ps tmm0, tmm4, tmm6",
            "tileloadd tmm7, [{b_right} + {b_row} * 1]",
            "tdpbf16ps tmm1, tmm4, tmm7",
            "tileloadd tmm5, [{a_below} + {a_row} * 1]",
            "tdpbf16ps tmm2, tmm5, tmm6",
            "tdpbf16ps tmm3, tmm5, tmm7",
            "add {a}, 64",
            "add {a_below}, 64",
            "add {b}, [{terms} + 48]",
            "add {b_right}, [{terms} + 48]",
            "dec {steps}",
            "jnz 3b",
            "add {terms}, 64",
            "cmp {terms}, {end}",
            "jb 2b",
            "tilestored [{sums} + {sums_row} * 1], tmm0",
            "tilestored [{sums} + {sums_row} * 1 + 64], tmm1",
            "tilestored [{sums} + {sums_row} * 1 + 2048], tmm2",
            "tilestored [{sums} + {sums_row} * 1 + 2112], tmm3",
            "tilerelease",
            config = in(reg) config,
            terms = inout(reg) terms.as_ptr() => _,
            end = in(reg) terms.as_ptr_range().end,
            a = out(reg) _,
            a_below = out(reg) _,
            b = out(reg) _,
            b_right = out(reg) _,
            a_row = out(reg) _,
            b_row = out(reg) _,
            steps = out(reg) _,
            sums = in(reg) sums.as_mut_ptr(),
            sums_row = in(reg) 2 * LINE,
            options(nostack),
        );
    }
    sums
}

/// Stores the sums of a block, and what is added to them.
///
/// # Safety
/// As [`Kernel::multiply`]; the sums that the block has are written.
#[target_feature(enable = "avx512f")]
unsafe fn finish(block: &Block<u32, f32>, sums: &mut MaybeUninit<Sums>) {
    let columns = if block.columns > WORDS {
        2 * WORDS
    } else {
        WORDS
    };
    for i in 0..block.rows {
        // SAFETY: the caller's promise.
        unsafe {
            let row = sums.as_mut_ptr().cast::<f32>().add(i * 2 * WORDS);
            let sums = std::slice::from_raw_parts_mut(row, columns);
            for added in block.added.into_iter().flatten() {
                let added = added.at(i, 0);
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum += *added.add(j);
                }
            }
            if block.relu {
                for sum in &mut *sums {
                    *sum = if *sum < 0.0 { 0.0 } else { *sum };
                }
            }
            let to = block.to.add(i * block.stride);
            to.copy_from_nonoverlapping(sums.as_ptr(), columns);
        }
    }
}

/// Two by two tiles. An instruction adds up the products of 16 even and of 16 odd places, and both to
/// the sum; it always rounds to nearest, and takes subnormal numbers, and results, for zeros.
pub(in crate::backend::cpu::matmul) struct AmxBf16;

impl Kernel for AmxBf16 {
    type Element = bf16;
    type Word = u32;
    type Sum = f32;
    const DEPTH: usize = Avx512Bf16::DEPTH;
    /// Tiles are loaded from the second cache as quickly as they are multiplied, sums from the third
    /// are not.
    const CHUNK: usize = 1024;
    const ROWS: usize = 2 * HIGH;
    const LANES: usize = WORDS;
    const IN_ROWS: bool = true;
    const COST: f64 = 0.005;

    #[inline(always)]
    fn word(get: impl Fn(usize) -> bf16) -> u32 {
        Avx512Bf16::word(get)
    }

    unsafe fn multiply(block: &Block<u32, f32>) {
        let high = [block.rows.min(HIGH), block.rows.saturating_sub(HIGH).max(1)];
        // Four tiles of sums, two of the first operand, two of the second.
        let rows = [
            high[0], high[0], high[1], high[1], high[0], high[1], HIGH, HIGH,
        ];
        let mut config = Config {
            palette: 1,
            start: 0,
            reserved: [0; 14],
            bytes: [0; 16],
            rows: [0; 16],
        };
        config.bytes[..8].fill(LINE as u16);
        for (to, rows) in config.rows.iter_mut().zip(rows) {
            *to = rows as u8;
        }
        let is_there = [block.rows > HIGH, block.columns > WORDS];
        let (steps, rest) = (block.terms / WORDS, block.terms % WORDS);
        let whole = Terms::new(block.a, block.b, steps, is_there);
        // SAFETY: the caller's promise: within the panels.
        unsafe {
            let mut sums = if rest == 0 {
                tiles(&config, &[whole])
            } else {
                let rest = Rest::new(block, steps * WORDS);
                let (a, b) = rest.panels();
                let rest = Terms::new(a, b, 1, is_there);
                if steps == 0 {
                    tiles(&config, &[rest])
                } else {
                    tiles(&config, &[whole, rest])
                }
            };
            finish(block, &mut sums);
        }
    }
}
