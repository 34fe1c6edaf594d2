//! The processor: which instructions kernels are compiled for at run time, how rows are shared among threads, and the
//! matrix product.
//!
//! A kernel is one generic loop, marked `#[inline(always)]` and run inside [`vectorised`], which instantiates it once for
//! each instruction set. Because the loops fix the order of every sum, the three instantiations give the same bits; only
//! matrix products differ between instruction sets.

use std::sync::OnceLock;

use rayon::prelude::*;

pub(crate) use allocator::give_back_free_pages;
pub use allocator::give_back_large_blocks;

mod allocator;
pub(crate) mod math;
pub mod peak;
#[doc(hidden)]
pub mod product;
pub(crate) mod reduce;

/// An instruction set that kernels exist for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Instructions {
    /// What every processor of the architecture has.
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, DQ and VL.
    Avx512,
}

impl Instructions {
    /// Its name as `GAREUM_CPU` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }
}

/// What is used: the best that the processor has, or less if the environment variable `GAREUM_CPU` (`portable`, `avx2`,
/// `avx512`) asks for less. Chosen once.
pub fn instructions() -> Instructions {
    static CHOSEN: OnceLock<Instructions> = OnceLock::new();
    *CHOSEN.get_or_init(|| {
        let asked = match std::env::var("GAREUM_CPU").as_deref() {
            Ok("portable") => Instructions::Portable,
            Ok("avx2") => Instructions::Avx2,
            _ => Instructions::Avx512,
        };
        asked.min(available())
    })
}

/// The best that the processor has, of those that kernels exist for.
#[cfg(target_arch = "x86_64")]
pub fn available() -> Instructions {
    let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let avx512 = is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    match (avx2, avx512) {
        (true, true) => Instructions::Avx512,
        (true, false) => Instructions::Avx2,
        _ => Instructions::Portable,
    }
}

/// The best that the processor has, of those that kernels exist for.
#[cfg(not(target_arch = "x86_64"))]
pub fn available() -> Instructions {
    Instructions::Portable
}

/// The instructions of the processor that matter to numbers, whether kernels exist for them or not.
#[cfg(target_arch = "x86_64")]
pub fn features() -> Vec<&'static str> {
    let features = [
        ("sse4.2", is_x86_feature_detected!("sse4.2")),
        ("avx", is_x86_feature_detected!("avx")),
        ("avx2", is_x86_feature_detected!("avx2")),
        ("fma", is_x86_feature_detected!("fma")),
        ("f16c", is_x86_feature_detected!("f16c")),
        ("avxvnni", is_x86_feature_detected!("avxvnni")),
        ("avx512f", is_x86_feature_detected!("avx512f")),
        ("avx512bw", is_x86_feature_detected!("avx512bw")),
        ("avx512dq", is_x86_feature_detected!("avx512dq")),
        ("avx512vl", is_x86_feature_detected!("avx512vl")),
        ("avx512vnni", is_x86_feature_detected!("avx512vnni")),
        ("avx512bf16", is_x86_feature_detected!("avx512bf16")),
        ("avx512fp16", is_x86_feature_detected!("avx512fp16")),
    ];
    let present = features.into_iter().filter(|(_, is_present)| *is_present);
    present.map(|(name, _)| name).collect()
}

/// The instructions of the processor that matter to numbers, whether kernels exist for them or not.
#[cfg(not(target_arch = "x86_64"))]
pub fn features() -> Vec<&'static str> {
    Vec::new()
}

/// Whether products of `bf16` have instructions of their own here; without, they are no faster than those of `f32`.
pub fn has_bf16() -> bool {
    product::has_bf16()
}

/// Whether products of `u8` and `i8` have instructions of their own here; without, they are little faster than those of
/// `f32`.
pub fn has_int8() -> bool {
    product::has_int8()
}

/// Runs a kernel compiled for the best instructions. Pass an `#[inline(always)]` closure that calls `#[inline(always)]`
/// functions: what is not inlined is compiled for the portable set.
#[inline]
pub fn vectorised<R>(kernel: impl FnOnce() -> R) -> R {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        fn avx512<R>(kernel: impl FnOnce() -> R) -> R {
            kernel()
        }
        #[target_feature(enable = "avx2,fma")]
        fn avx2<R>(kernel: impl FnOnce() -> R) -> R {
            kernel()
        }
        match instructions() {
            // SAFETY: `instructions` returned this set only after checking that the processor has it.
            Instructions::Avx512 => return unsafe { avx512(kernel) },
            // SAFETY: as above.
            Instructions::Avx2 => return unsafe { avx2(kernel) },
            Instructions::Portable => {}
        }
    }
    kernel()
}

/// Elements that one task works on: enough to pay for handing it out, few enough to stay in cache.
const TASK_ELEMENTS: usize = 1 << 14;

/// How many rows of `columns` elements make one task. A function of the shape alone, so that sums which are taken task by
/// task do not depend on the number of threads.
pub fn rows_per_task(columns: usize) -> usize {
    (TASK_ELEMENTS / columns.max(1)).max(1)
}

/// Runs `kernel(first_row, rows)` over blocks of whole rows of `out`, in parallel.
pub(crate) fn for_each_rows<T: Send>(out: &mut [T], columns: usize, kernel: impl Fn(usize, &mut [T]) + Sync) {
    if columns == 0 {
        return;
    }
    let rows = rows_per_task(columns);
    if out.len() <= rows * columns {
        return vectorised(
            #[inline(always)]
            || kernel(0, out),
        );
    }
    out.par_chunks_mut(rows * columns)
        .enumerate()
        .for_each(|(task, block)| {
            vectorised(
                #[inline(always)]
                || kernel(task * rows, block),
            )
        });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_visited_once_with_its_number() {
        for (rows, columns) in [(1, 1), (3, 7), (1000, 33), (5, 40_000)] {
            let mut out = vec![0usize; rows * columns];
            for_each_rows(&mut out, columns, |first, block| {
                for (row, values) in block.chunks_mut(columns).enumerate() {
                    values.iter_mut().for_each(|value| *value += first + row + 1);
                }
            });
            assert!(
                out.chunks(columns)
                    .enumerate()
                    .all(|(row, values)| values.iter().all(|&v| v == row + 1))
            );
        }
    }
}
