//! What this machine can reach, to compare with what is reached: the rate of a micro-kernel whose tile stays in the
//! first-level cache, and the bandwidth of memory.
//!
//! The clocks of shared machines move from second to second, so a peak of a minute ago says little about now: a [`Gauge`]
//! measures it right before and right after whatever is compared with it.
//!
//! To measure another pair of types, add a line to [`kernels`].

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::product::{COLUMNS, Dot, Left, Lines, Out, ROWS, Right, Tile, multiply};
use super::{product, vectorised};
use crate::buffer::Buffer;
use crate::random::Sequence;
use crate::{Element, Float, bf16};

/// How long a rate is measured: long enough for all threads to be awake, short enough to be repeated often.
pub const USUAL_TIME: Duration = Duration::from_millis(60);

/// Words along the inner extent of the tile that is repeated: both of its factors then take 22 KiB.
const TILE_WORDS: usize = 128;

/// Tiles between two looks at the clock.
const TILES: usize = 64;

/// Bytes swept through when bandwidth is measured: several times what caches hold.
const SWEPT_BYTES: usize = 256 << 20;

/// Declares [`Kernel`]: name, product, what a result is rounded to, and how.
macro_rules! kernels {
    ($($(#[$doc:meta])* $kernel:ident = $name:literal, $dot:ty, $out:ty, $round:expr;)*) => {
        /// Pairs of types that there is a micro-kernel for.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kernel {
            $($(#[$doc])* $kernel,)*
        }

        impl Kernel {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$kernel),*];

            /// Its name in reports.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$kernel => $name,)*
                }
            }

            /// Operations a second, in thousands of millions, of so many threads at once.
            ///
            /// A multiplication and an addition are two operations.
            pub fn peak_gflops(self, threads: usize, time: Duration) -> f64 {
                match self {
                    $(Self::$kernel => peak::<$dot>(threads, time),)*
                }
            }

            /// A product with made-up factors, packed as models have them packed, to be run again and again.
            pub fn trial(self, form: Form, extents: [usize; 3]) -> Trial {
                let run = match self {
                    $(Self::$kernel => trial::<$dot, $out>(form, extents, $round),)*
                };
                Trial { run, extents }
            }
        }
    };
}

kernels! {
    /// `f32` with sums in `f32`.
    F32 = "f32", product::F32, f32, |sum| sum;
    /// `bf16` with sums in `f32`.
    Bf16 = "bf16", product::Bf16, bf16, bf16::narrow;
}

/// Which product of a linear layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// x Wᵀ (or dy W): rows as they are by packed weights; the result is rounded to the type of activations.
    Activations,
    /// dyᵀ x: both factors are packed, and the result is left as it was summed up.
    WeightGradient,
}

/// See [`Kernel::trial`].
pub struct Trial {
    run: Box<dyn FnMut()>,
    extents: [usize; 3],
}

impl Trial {
    /// Multiplies once, by all threads of the pool.
    pub fn run(&mut self) {
        (self.run)();
    }

    /// Operations of one product.
    pub fn operations(&self) -> f64 {
        2.0 * self.extents.iter().product::<usize>() as f64
    }
}

impl std::fmt::Debug for Trial {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Trial")
            .field("extents", &self.extents)
            .finish_non_exhaustive()
    }
}

/// Measures a peak around whatever is compared with it.
#[derive(Debug, Clone, Copy)]
pub struct Gauge {
    kernel: Kernel,
    threads: usize,
    time: Duration,
    last: f64,
}

impl Gauge {
    /// Measures for the first time.
    pub fn new(kernel: Kernel, threads: usize, time: Duration) -> Self {
        let last = kernel.peak_gflops(threads, time);
        Self {
            kernel,
            threads,
            time,
            last,
        }
    }

    /// Runs `measured` and returns beside its result the peak around it: the mean of before and after.
    pub fn around<R>(&mut self, measured: impl FnOnce() -> R) -> (R, f64) {
        let result = measured();
        let before = std::mem::replace(&mut self.last, self.kernel.peak_gflops(self.threads, self.time));
        (result, (before + self.last) / 2.0)
    }
}

/// Bytes a second that memory gives and takes, in thousands of millions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bandwidth {
    /// Reading alone.
    pub read: f64,
    /// A sweep like that of AdamW: of four arrays read, three are written.
    pub update: f64,
}

/// Measures the bandwidth of memory that so many threads get together.
pub fn bandwidth(threads: usize, time: Duration) -> Bandwidth {
    bandwidth_of(SWEPT_BYTES, threads, time)
}

/// Runs `work` on `threads` threads of their own, all started at once, until `time` is over; `prepare` is not timed. Returns
/// what they did in all, divided by the seconds from the first start to the last end.
///
/// Threads of their own, since those of the pool may be at work, or waiting for one that would wait here.
fn rate<S>(
    threads: usize,
    time: Duration,
    prepare: impl Fn(usize) -> S + Sync,
    work: impl Fn(&mut S) -> f64 + Sync,
) -> f64 {
    let threads = threads.max(1);
    let barrier = Barrier::new(threads);
    let run = |thread: usize| {
        let mut state = prepare(thread);
        // Once untimed: caches are warm then, and pages are there.
        work(&mut state);
        barrier.wait();
        let start = Instant::now();
        let mut done = 0.0;
        while start.elapsed() < time {
            done += work(&mut state);
        }
        (done, start, Instant::now())
    };
    let finished: Vec<(f64, Instant, Instant)> = match threads {
        1 => vec![run(0)],
        _ => std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads)
                .map(|thread| {
                    scope.spawn({
                        let run = &run;
                        move || run(thread)
                    })
                })
                .collect();
            let joined = handles.into_iter().map(|handle| handle.join());
            joined
                .map(|joined| joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect()
        }),
    };
    let done: f64 = finished.iter().map(|(done, _, _)| done).sum();
    let first = finished.iter().map(|(_, start, _)| *start).min();
    let last = finished.iter().map(|(_, _, end)| *end).max();
    let seconds = first
        .zip(last)
        .map_or(0.0, |(first, last)| (last - first).as_secs_f64());
    done / seconds.max(1e-9)
}

/// Elements of any type whose numbers are neither large nor all alike: what bits change costs power, and with it clock.
fn made_up<T: Element>(len: usize) -> Buffer<T> {
    let mut buffer = Buffer::<T>::zeros(len);
    let mut random = Sequence::new(1, len as u64);
    // SAFETY: elements are plain numbers of which any bits make one, and the bytes are those of the buffer.
    let bytes = unsafe { std::slice::from_raw_parts_mut(buffer.as_mut_ptr().cast::<u8>(), len * size_of::<T>()) };
    for pair in bytes.chunks_mut(2) {
        let bits = random.next_u64();
        pair[0] = bits as u8;
        if let Some(high) = pair.get_mut(1) {
            // With this for their highest byte, floating-point numbers lie between 1e-5 and 4.
            *high = 0x3F | (bits >> 8) as u8 & 0x80;
        }
    }
    buffer
}

fn peak<D: Dot>(threads: usize, time: Duration) -> f64 {
    struct Factors<D: Dot> {
        left: Buffer<D::Left>,
        right: Buffer<D::Right>,
        sums: Buffer<D::Sum>,
    }
    let prepare = |_| Factors::<D> {
        left: made_up(ROWS * TILE_WORDS * D::GROUP),
        right: made_up(COLUMNS * TILE_WORDS * D::GROUP),
        sums: Buffer::zeros(ROWS * COLUMNS),
    };
    let work = |factors: &mut Factors<D>| {
        let tile = Tile::<D> {
            rows: ROWS,
            words: TILE_WORDS,
            left: factors.left.as_ptr(),
            left_row: D::GROUP,
            left_word: ROWS * D::GROUP,
            right: factors.right.as_ptr(),
            sums: factors.sums.as_mut_ptr(),
            sums_row: COLUMNS,
            add: false,
        };
        for _ in 0..TILES {
            // SAFETY: the buffers hold the rows, words and columns of the tile, and nobody else has them.
            unsafe { D::tile(black_box(&tile)) };
        }
        2.0 * (TILES * ROWS * COLUMNS * TILE_WORDS * D::GROUP) as f64
    };
    rate(threads, time, prepare, work) / 1e9
}

fn trial<D: Dot, O: Element>(
    form: Form,
    [rows, inner, columns]: [usize; 3],
    round: impl Fn(D::Sum) -> O + Sync + 'static,
) -> Box<dyn FnMut()> {
    let group = D::GROUP;
    let lines = move |count| Lines { count, inner, group };
    let right = made_up::<D::Right>(lines(columns).packed(COLUMNS));
    match form {
        Form::Activations => {
            // Rows that are no whole words would have to be packed, as nothing in a model is.
            let stride = inner.next_multiple_of(group);
            let left = made_up::<D::Left>(rows * stride);
            let mut out = Buffer::<O>::zeros(rows * columns);
            Box::new(move || {
                let (left, right) = (
                    Left::<D>::rows(&left, rows, stride, stride),
                    Right::packed(&right, lines(columns)),
                );
                multiply(
                    left,
                    right,
                    Out::new(&mut out, rows, columns),
                    #[inline(always)]
                    |_, _, sums, out| {
                        for (out, &sum) in out.iter_mut().zip(sums) {
                            *out = round(sum);
                        }
                    },
                );
            })
        }
        Form::WeightGradient => {
            let left = made_up::<D::Left>(lines(rows).packed(ROWS));
            let mut out = Buffer::<D::Sum>::zeros(rows * columns);
            Box::new(move || {
                let (left, right) = (
                    Left::<D>::packed(&left, lines(rows)),
                    Right::packed(&right, lines(columns)),
                );
                multiply(
                    left,
                    right,
                    Out::new(&mut out, rows, columns),
                    #[inline(always)]
                    |_, _, sums, out| out.copy_from_slice(sums),
                );
            })
        }
    }
}

/// Elements between two looks at the clock when bandwidth is measured.
const SWEEP: usize = 1 << 14;

fn bandwidth_of(bytes: usize, threads: usize, time: Duration) -> Bandwidth {
    let threads = threads.max(1);
    // Of each of four arrays, the share of one thread.
    let len = (bytes / 4 / size_of::<f32>() / threads).max(1).next_multiple_of(SWEEP);
    struct Arrays {
        arrays: [Vec<f32>; 4],
        place: usize,
    }
    let prepare = |_| Arrays {
        // Written to, so that every page has memory of its own.
        arrays: std::array::from_fn(|array| vec![1.0 + array as f32; len]),
        place: 0,
    };
    let next = |arrays: &mut Arrays| {
        let place = arrays.place;
        arrays.place = (place + SWEEP) % len;
        place
    };
    let read = |arrays: &mut Arrays| {
        let place = next(arrays);
        for array in &arrays.arrays {
            black_box(sum(&array[place..][..SWEEP]));
        }
        (4 * SWEEP * size_of::<f32>()) as f64
    };
    let update = |arrays: &mut Arrays| {
        let place = next(arrays);
        let [weights, gradients, means, squares] = &mut arrays.arrays;
        let gradients = &gradients[place..][..SWEEP];
        sweep(
            &mut weights[place..][..SWEEP],
            gradients,
            &mut means[place..][..SWEEP],
            &mut squares[place..][..SWEEP],
        );
        (7 * SWEEP * size_of::<f32>()) as f64
    };
    Bandwidth {
        read: rate(threads, time, prepare, read) / 1e9,
        update: rate(threads, time, prepare, update) / 1e9,
    }
}

/// A sum that costs less than reading what is summed up.
fn sum(values: &[f32]) -> f32 {
    vectorised(
        #[inline(always)]
        || {
            let mut sums = [0.0f32; 64];
            for values in values.chunks_exact(64) {
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum += value;
                }
            }
            sums.iter().sum()
        },
    )
}

/// Reads and writes what a step of AdamW does, with less arithmetic: memory is what is measured.
fn sweep(weights: &mut [f32], gradients: &[f32], means: &mut [f32], squares: &mut [f32]) {
    vectorised(
        #[inline(always)]
        || {
            for (((weight, &gradient), mean), square) in weights.iter_mut().zip(gradients).zip(means).zip(squares) {
                *mean += 0.1 * (gradient - *mean);
                *square += 0.001 * (gradient * gradient - *square);
                *weight -= 1e-6 * *mean * *square;
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(5);

    #[test]
    fn rates_are_numbers() {
        for kernel in Kernel::ALL {
            for threads in [1, 2] {
                let gflops = kernel.peak_gflops(threads, SHORT);
                assert!(gflops.is_finite() && gflops > 0.01, "{kernel:?}: {gflops}");
            }
        }
        let found = bandwidth_of(1 << 20, 2, SHORT);
        assert!(found.read > 0.01 && found.update > 0.01, "{found:?}");
    }

    #[test]
    fn made_up_numbers_are_small_and_differ() {
        fn check<T: Float>() {
            use crate::Real;
            let values: Vec<f64> = made_up::<T>(1000).iter().map(|value| value.widen().to_f64()).collect();
            assert!(
                values.iter().all(|value| value.abs() < 4.0 && value.abs() > 1e-5),
                "{values:?}"
            );
            assert!(values.iter().any(|value| *value < 0.0) && values.iter().any(|value| *value > 0.0));
        }
        check::<f32>();
        check::<bf16>();
        check::<f64>();
    }

    #[test]
    fn trials_run_and_count() {
        for &kernel in Kernel::ALL {
            for form in [Form::Activations, Form::WeightGradient] {
                let mut trial = kernel.trial(form, [28, 30, 40]);
                trial.run();
                assert_eq!(trial.operations(), 2.0 * 28.0 * 30.0 * 40.0);
            }
        }
    }

    #[test]
    fn a_gauge_averages_before_and_after() {
        let mut gauge = Gauge::new(Kernel::F32, 1, SHORT);
        let before = gauge.last;
        let (result, peak) = gauge.around(|| 7);
        assert_eq!((result, peak), (7, (before + gauge.last) / 2.0));
    }
}
