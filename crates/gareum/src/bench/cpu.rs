//! What processor and memory can reach, and how near to it products of models come. Each product is measured in several
//! rounds, and the peak right before and after each of them.

use std::time::{Duration, Instant};

use serde::Serialize;
use tensor::cpu;
use tensor::cpu::peak::{Bandwidth, Form, Gauge, Kernel, USUAL_TIME, bandwidth};

use crate::machine::processor_name;

/// How long a product is repeated in each round.
const ROUND: Duration = Duration::from_millis(50);

/// How long bandwidth is measured.
const BANDWIDTH_TIME: Duration = Duration::from_millis(200);

/// Models whose products are measured: name, hidden and intermediate size.
const MODELS: [(&str, usize, usize); 2] = [("BERT-base", 768, 3072), ("MiniLM", 384, 1536)];

/// Tokens of a batch: 32 texts of 128.
const BATCH_TOKENS: usize = 4096;

/// Tokens of a single short text.
const TEXT_TOKENS: usize = 28;

/// What the processor can reach, and what it does.
#[derive(Debug, Clone, Serialize)]
pub struct CpuBench {
    /// Its name; `None` if unknown.
    pub processor: Option<String>,
    /// The instructions that kernels use.
    pub instructions: &'static str,
    /// Whether there are instructions for `bf16`.
    pub bf16_instructions: bool,
    /// Threads.
    pub threads: usize,
    /// The micro-kernels on a tile that stays in the first-level cache.
    pub peaks: Vec<PeakRate>,
    /// Memory.
    pub memory: Vec<MemoryRate>,
    /// Products.
    pub products: Vec<ProductRate>,
}

/// What a micro-kernel reaches, in thousands of millions of operations a second.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PeakRate {
    /// What it multiplies.
    pub kernel: &'static str,
    /// One thread alone.
    pub one_thread_gflops: f64,
    /// All threads together.
    pub all_threads_gflops: f64,
}

/// What memory gives and takes, in thousands of millions of bytes a second.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct MemoryRate {
    /// `read`, or `update`: the reading and writing of a step of AdamW.
    pub sweep: &'static str,
    /// One thread alone.
    pub one_thread_gb_per_second: f64,
    /// All threads together.
    pub all_threads_gb_per_second: f64,
}

/// A product of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct ProductShape {
    /// The model.
    pub model: &'static str,
    /// `forward`, x Wᵀ; or `weight_gradient`, dyᵀ x.
    pub form: &'static str,
    /// Rows of the left factor.
    pub rows: usize,
    /// Columns of the left factor, rows of the right one.
    pub inner: usize,
    /// Columns of the right factor.
    pub columns: usize,
}

/// What a product reached, with both factors packed beforehand as far as they have to be.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ProductRate {
    /// Which one.
    #[serde(flatten)]
    pub shape: ProductShape,
    /// What it multiplies.
    pub kernel: &'static str,
    /// Thousands of millions of operations a second.
    pub gflops: Spread,
    /// What the machine could reach right before and after.
    pub peak_gflops: Spread,
    /// The one over the other, round by round.
    pub share_of_peak: Spread,
}

/// Where measurements lie.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The one in the middle, or the mean of the two there.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
}

impl Spread {
    /// Of some values; all 0 if there is none.
    pub(super) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let at = |index: usize| values.get(index).copied().unwrap_or(0.0);
        Self {
            median: (at(values.len().saturating_sub(1) / 2) + at(values.len() / 2)) / 2.0,
            min: at(0),
            max: at(values.len().saturating_sub(1)),
        }
    }
}

/// Measures everything, each product `rounds` times, or none if that is 0.
pub fn measure_cpu(rounds: usize) -> CpuBench {
    let threads = rayon::current_num_threads();
    let peak = |kernel: &Kernel| PeakRate {
        kernel: kernel.name(),
        one_thread_gflops: kernel.peak_gflops(1, USUAL_TIME),
        all_threads_gflops: kernel.peak_gflops(threads, USUAL_TIME),
    };
    let [one, all] = [1, threads].map(|threads| bandwidth(threads, BANDWIDTH_TIME));
    let memory = |sweep, of: fn(Bandwidth) -> f64| MemoryRate {
        sweep,
        one_thread_gb_per_second: of(one),
        all_threads_gb_per_second: of(all),
    };
    let shapes = if rounds > 0 { shapes() } else { Vec::new() };
    let products = shapes.into_iter().flat_map(|shape| {
        let kernels = Kernel::ALL.iter();
        kernels.map(move |&kernel| measure_product(kernel, shape, threads, rounds))
    });
    CpuBench {
        processor: processor_name(),
        instructions: cpu::instructions().name(),
        bf16_instructions: cpu::has_bf16(),
        threads,
        peaks: Kernel::ALL.iter().map(peak).collect(),
        memory: vec![memory("read", |rate| rate.read), memory("update", |rate| rate.update)],
        products: products.collect(),
    }
}

/// The products of all models: of a batch, of the gradients of its weights, of a single text.
fn shapes() -> Vec<ProductShape> {
    let mut shapes = Vec::new();
    for (model, hidden, intermediate) in MODELS {
        let layers = [
            (hidden, hidden),
            (hidden, 3 * hidden),
            (hidden, intermediate),
            (intermediate, hidden),
        ];
        let forward = |rows, (inner, columns)| ProductShape {
            model,
            form: "forward",
            rows,
            inner,
            columns,
        };
        let gradient = |(inputs, outputs)| ProductShape {
            model,
            form: "weight_gradient",
            rows: outputs,
            inner: BATCH_TOKENS,
            columns: inputs,
        };
        shapes.extend(layers.map(|layer| forward(BATCH_TOKENS, layer)));
        shapes.extend(layers.map(gradient));
        shapes.extend(layers.map(|layer| forward(TEXT_TOKENS, layer)));
    }
    shapes
}

fn measure_product(kernel: Kernel, shape: ProductShape, threads: usize, rounds: usize) -> ProductRate {
    let form = match shape.form {
        "forward" => Form::Activations,
        _ => Form::WeightGradient,
    };
    let mut trial = kernel.trial(form, [shape.rows, shape.inner, shape.columns]);
    trial.run();
    let mut gauge = Gauge::new(kernel, threads, USUAL_TIME);
    let mut round = || {
        gauge.around(|| {
            let (start, mut times) = (Instant::now(), 0u32);
            while times == 0 || start.elapsed() < ROUND {
                trial.run();
                times += 1;
            }
            trial.operations() * f64::from(times) / start.elapsed().as_secs_f64().max(1e-9) / 1e9
        })
    };
    let measured: Vec<(f64, f64)> = (0..rounds).map(|_| round()).collect();
    ProductRate {
        shape,
        kernel: kernel.name(),
        gflops: Spread::of(measured.iter().map(|(gflops, _)| *gflops)),
        peak_gflops: Spread::of(measured.iter().map(|(_, peak)| *peak)),
        share_of_peak: Spread::of(measured.iter().map(|(gflops, peak)| gflops / peak)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads() {
        let spread = |median, min, max| Spread { median, min, max };
        assert_eq!(Spread::of([3.0, 1.0, 2.0]), spread(2.0, 1.0, 3.0));
        assert_eq!(Spread::of([4.0, 1.0, 3.0, 2.0]), spread(2.5, 1.0, 4.0));
        assert_eq!(Spread::of([5.0]), spread(5.0, 5.0, 5.0));
        assert_eq!(Spread::of([]), spread(0.0, 0.0, 0.0));
    }

    #[test]
    fn a_product_is_measured_beside_its_peak() {
        let shape = ProductShape {
            model: "none",
            form: "weight_gradient",
            rows: 24,
            inner: 64,
            columns: 40,
        };
        for &kernel in Kernel::ALL {
            let found = measure_product(kernel, shape, 1, 2);
            assert_eq!((found.kernel, found.shape), (kernel.name(), shape));
            assert!(found.gflops.min > 0.0 && found.share_of_peak.max < 4.0, "{found:?}");
        }
    }
}
