//! How fast a model is on this machine, beside what the machine can reach: prediction in batches sorted by length, the
//! latency of a single text, and training steps. What the machine reaches is measured all the while ([`Gauge`]), since
//! clocks move.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;
use tensor::cpu;
use tensor::cpu::peak::{Gauge, Kernel, USUAL_TIME};
use tensor::random::Sequence;

use super::cpu::Spread;
use crate::data::{Input, LabelSchema, Task};
use crate::machine;
use crate::model::{HeadSource, Model, ModelConfig, ModelError, Precision};
use crate::predict::{self, PredictError, Predictor};
use crate::settings::{PrecisionSetting, TrainSettings};
use crate::tokens::{Encoded, Tokenizer};
use crate::train::{Steps, TrainError, with_made_up_labels};

/// Texts that are made up where none are given.
const MADE_UP_TEXTS: usize = 512;

/// Their mean number of tokens: real-life short texts.
const MADE_UP_MEAN: f64 = 29.0;

/// The standard deviation of the logarithm of their number of tokens.
const MADE_UP_SIGMA: f64 = 0.7;

/// They have at least so many tokens.
const MADE_UP_LEAST: usize = 5;

/// Texts that are predicted between two looks at the clock.
const TEXTS_AT_A_TIME: usize = 128;

/// Work between two measurements of the peak.
const STRETCH: Duration = Duration::from_millis(400);

/// Repetitions of a single text, unless they take too long.
const LATENCY_TIMES: usize = 300;

/// Fewer repetitions of a single text say nothing of its slowest ones.
const LATENCY_LEAST: usize = 30;

/// Untimed repetitions of a single text.
const LATENCY_WARM_UP: usize = 10;

/// A single text is not repeated for longer.
const LATENCY_TIME: Duration = Duration::from_secs(10);

/// Untimed training steps.
const STEPS_WARM_UP: usize = 2;

/// No further step is timed after this.
const STEPS_TIME: Duration = Duration::from_secs(60);

/// Why a model cannot be measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BenchError {
    /// The model cannot be read.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// The model cannot be trained.
    #[error(transparent)]
    Train(#[from] TrainError),
    /// There is nothing to predict.
    #[error("there is no text to measure with\nhint: every row of the column is empty; name another with --text")]
    NoText,
    /// The single text would be too long.
    #[error(
        "a text of {found} tokens is too long for this model, which takes at most {most}\nhint: --latency-tokens {most}"
    )]
    LatencyTokens {
        /// What was asked for.
        found: usize,
        /// What the model has positions for.
        most: usize,
    },
}

/// How a model is measured.
#[derive(Debug, Clone, Copy)]
pub struct BenchOptions {
    /// What is computed in.
    pub precision: PrecisionSetting,
    /// Texts of a batch in training; prediction cuts its own.
    pub batch_size: usize,
    /// Tokens of the single text whose latency is measured.
    pub latency_tokens: usize,
    /// Passes over the texts.
    pub rounds: usize,
    /// Training steps that are timed, unless they take too long.
    pub steps: usize,
    /// Whether training is measured too.
    pub training: bool,
}

/// How fast a model is.
#[derive(Debug, Clone, Serialize)]
pub struct ModelBench {
    /// The model directory.
    pub model: PathBuf,
    /// What prediction computes in.
    pub precision: Precision,
    /// The instructions that kernels use.
    pub instructions: &'static str,
    /// Threads.
    pub threads: usize,
    /// Reading the texts; `None` if they were made up.
    pub tokenization: Option<Tokenization>,
    /// Many texts.
    pub prediction: PredictionSpeed,
    /// One text.
    pub latency: Latency,
    /// Training steps, if they were asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub training: Option<TrainingSpeed>,
    /// The most that the process had in memory until prediction was done. `None` if unknown.
    pub peak_memory_bytes: Option<u64>,
    /// What the machine could reach in `precision` while texts were predicted, in thousands of millions of operations a second.
    pub peak_gflops: f64,
}

/// Turning texts into tokens, which the other figures leave out.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Tokenization {
    /// All texts together.
    pub seconds: f64,
    /// Texts a second.
    pub examples_per_second: f64,
}

/// Many texts in batches sorted by length.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct PredictionSpeed {
    /// Texts a second, of the median pass.
    pub examples_per_second: f64,
    /// Of the slowest pass.
    pub examples_per_second_min: f64,
    /// Of the fastest pass.
    pub examples_per_second_max: f64,
    /// Tokens a second, of the median pass.
    pub tokens_per_second: f64,
    /// One pass over all texts, the median.
    pub seconds: f64,
    /// Texts.
    pub examples: usize,
    /// Their tokens.
    pub tokens: usize,
    /// Passes.
    pub rounds: usize,
    /// The operations of products and attention ([`ModelConfig::forward_operations`]) a second over what the machine could
    /// reach meanwhile, of all passes together.
    pub share_of_peak: f64,
}

/// One text at a time.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    /// Tokens of the text.
    pub tokens: usize,
    /// Repetitions.
    pub times: usize,
    /// Half of them took at most this.
    pub p50_ms: f64,
    /// 99 % of them took at most this.
    pub p99_ms: f64,
}

/// Training steps: forward, backward, clipping and AdamW, on made-up labels.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct TrainingSpeed {
    /// What steps compute in: with `auto`, the fastest, as `train.precision` means it.
    pub precision: Precision,
    /// Texts of a step.
    pub batch_size: usize,
    /// Steps that were timed.
    pub steps: usize,
    /// Time of a step, the median.
    pub step_ms: f64,
    /// Texts a second, of all steps together.
    pub examples_per_second: f64,
    /// Tokens a second, of all steps together.
    pub tokens_per_second: f64,
    /// Three times the operations of the forward passes a second (twice, if only an adapter is trained) over what the machine
    /// could reach meanwhile.
    pub share_of_peak: f64,
    /// What the machine could reach meanwhile.
    pub peak_gflops: f64,
    /// The most that tensors took.
    pub peak_tensor_bytes: usize,
    /// The most that the process has had in memory so far. `None` if unknown.
    pub peak_memory_bytes: Option<u64>,
}

/// A model directory to be measured.
#[derive(Debug)]
pub struct Bench {
    directory: PathBuf,
    /// Where the model is that an adapter belongs to, if it is told.
    base: Option<PathBuf>,
    predictor: Predictor,
    options: BenchOptions,
}

impl Bench {
    /// Reads a model directory; one without a head for labels gets a fresh one of two labels, which makes no difference to
    /// speed. An adapter belongs to the model at `base`, or where it says: they are merged for prediction, and only the adapter
    /// is trained.
    ///
    /// # Errors
    /// [`BenchError`] says what is wrong with it, or with the options.
    pub fn load(directory: &Path, base: Option<&Path>, options: BenchOptions) -> Result<Self, BenchError> {
        let model = load_model(directory, base)?;
        let most = model.config().max_tokens();
        if options.latency_tokens > most {
            let found = options.latency_tokens;
            return Err(BenchError::LatencyTokens { found, most });
        }
        Ok(Self {
            directory: directory.to_owned(),
            base: base.map(Path::to_owned),
            predictor: Predictor::new(model, directory, options.precision)?,
            options,
        })
    }

    /// The model as it predicts.
    pub fn predictor(&self) -> &Predictor {
        &self.predictor
    }

    /// Measures with these texts, or with made-up ones: random ids, with lengths that are log-normally distributed.
    ///
    /// # Errors
    /// [`BenchError`] if there is no text, or if one cannot be tokenized or trained on.
    pub fn run(self, inputs: Option<&[Input]>) -> Result<ModelBench, BenchError> {
        let (predictor, options) = (self.predictor, self.options);
        let config = predictor.model().config().clone();
        let (encoded, tokenization) = match inputs {
            None => (made_up_texts(&config, predictor.truncation().max_length), None),
            Some([]) => return Err(BenchError::NoText),
            Some(inputs) => {
                let start = Instant::now();
                let encoded = predictor.encode(inputs)?;
                let seconds = start.elapsed().as_secs_f64();
                let examples_per_second = inputs.len() as f64 / seconds.max(1e-9);
                let tokenization = Tokenization {
                    seconds,
                    examples_per_second,
                };
                (encoded, Some(tokenization))
            }
        };
        let precision = predictor.precision();
        let (prediction, peak_gflops) = prediction(&predictor, &encoded, options)?;
        let latency = latency(&predictor, &encoded, options.latency_tokens)?;
        let peak_memory_bytes = machine::peak_memory_bytes();
        let tokenizer = predictor.tokenizer().clone();
        // Makes room for the weights that are trained.
        drop(predictor);
        tensor::memory::release();
        let training = match options.training {
            true => Some(training(
                &self.directory,
                self.base.as_deref(),
                &tokenizer,
                encoded,
                options,
            )?),
            false => None,
        };
        Ok(ModelBench {
            model: self.directory,
            precision,
            instructions: cpu::instructions().name(),
            threads: rayon::current_num_threads(),
            tokenization,
            prediction,
            latency,
            training,
            peak_memory_bytes,
            peak_gflops,
        })
    }
}

fn load_model(directory: &Path, base: Option<&Path>) -> Result<Model, BenchError> {
    let loaded = match predict::load_model(directory, base) {
        Err(PredictError::Model(ModelError::NoHead { .. })) => {
            let schema = LabelSchema {
                task: Task::SingleLabel,
                names: vec!["LABEL_0".to_owned(), "LABEL_1".to_owned()],
            };
            let head = HeadSource::Labels {
                schema: &schema,
                reset: true,
                seed: 0,
                classifier_dropout: None,
            };
            let loaded = Model::load(directory, head).map_err(PredictError::from);
            loaded.map(|(model, _)| model)
        }
        loaded => loaded,
    };
    Ok(loaded?)
}

/// Work that was timed, and the time it would have taken at the peak.
#[derive(Debug, Clone, Copy, Default)]
struct Timed {
    seconds: f64,
    operations: f64,
    seconds_at_peak: f64,
}

impl Timed {
    fn share_of_peak(self) -> f64 {
        self.seconds_at_peak / self.seconds.max(1e-9)
    }

    fn peak_gflops(self) -> f64 {
        self.operations / self.seconds_at_peak.max(1e-12) / 1e9
    }
}

impl std::ops::AddAssign for Timed {
    fn add_assign(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.operations += other.operations;
        self.seconds_at_peak += other.seconds_at_peak;
    }
}

fn gauge(precision: Precision) -> Gauge {
    let kernel = match precision {
        Precision::F32 => Kernel::F32,
        Precision::Bf16 => Kernel::Bf16,
    };
    Gauge::new(kernel, rayon::current_num_threads(), USUAL_TIME)
}

/// Runs tasks, each of which returns its operations, one after another until all are done or `limit` is over; the peak is
/// measured between stretches of them.
fn time<E>(
    gauge: &mut Gauge,
    tasks: usize,
    limit: Duration,
    mut task: impl FnMut(usize) -> Result<f64, E>,
) -> Result<Timed, E> {
    let (mut timed, mut next) = (Timed::default(), 0);
    while next < tasks && timed.seconds < limit.as_secs_f64() {
        let (stretch, peak) = gauge.around(|| -> Result<(f64, f64), E> {
            let (start, mut operations) = (Instant::now(), 0.0);
            while next < tasks && start.elapsed() < STRETCH {
                operations += task(next)?;
                next += 1;
            }
            Ok((start.elapsed().as_secs_f64(), operations))
        });
        let (seconds, operations) = stretch?;
        timed += Timed {
            seconds,
            operations,
            seconds_at_peak: operations / (peak * 1e9),
        };
    }
    Ok(timed)
}

/// Many texts, and the peak meanwhile.
fn prediction(
    predictor: &Predictor,
    encoded: &[Encoded],
    options: BenchOptions,
) -> Result<(PredictionSpeed, f64), BenchError> {
    let model = predictor.model();
    let mut sorted = encoded.to_vec();
    sorted.sort_by_key(|text| std::cmp::Reverse(text.input_ids.len()));
    let batches: Vec<&[Encoded]> = sorted.chunks(TEXTS_AT_A_TIME).collect();
    let labels = model.schema().num_labels();
    let operations: Vec<f64> = batches
        .iter()
        .map(|batch| model.config().forward_operations(lengths(batch), labels))
        .collect();
    let mut predict = |batch: usize| -> Result<f64, BenchError> {
        predictor.predict_encoded(batches[batch], &mut |_| ())?;
        Ok(operations[batch])
    };
    // The largest batches, by which the pool of storage grows to what all others need.
    for batch in 0..batches.len().min(2) {
        predict(batch)?;
    }
    let mut gauge = gauge(model.precision);
    let (mut all, mut seconds) = (Timed::default(), Vec::new());
    for _ in 0..options.rounds.max(1) {
        let timed = time(&mut gauge, batches.len(), Duration::MAX, &mut predict)?;
        seconds.push(timed.seconds);
        all += timed;
    }
    let rounds = seconds.len();
    let seconds = Spread::of(seconds);
    let tokens: usize = lengths(&sorted).sum();
    let rate = |seconds: f64| sorted.len() as f64 / seconds.max(1e-9);
    let speed = PredictionSpeed {
        examples_per_second: rate(seconds.median),
        examples_per_second_min: rate(seconds.max),
        examples_per_second_max: rate(seconds.min),
        tokens_per_second: tokens as f64 / seconds.median.max(1e-9),
        seconds: seconds.median,
        examples: sorted.len(),
        tokens,
        rounds,
        share_of_peak: all.share_of_peak(),
    };
    Ok((speed, all.peak_gflops()))
}

fn lengths<'a>(texts: &'a [Encoded]) -> impl Iterator<Item = usize> + 'a {
    texts.iter().map(|text| text.input_ids.len())
}

/// One text at a time, always of the same number of tokens but of others each time.
fn latency(predictor: &Predictor, encoded: &[Encoded], tokens: usize) -> Result<Latency, BenchError> {
    let texts = texts_of(encoded, tokens, LATENCY_TIMES);
    let predict = |time: usize| -> Result<f64, BenchError> {
        let start = Instant::now();
        predictor.predict_encoded(&texts[time % texts.len()..][..1], &mut |_| ())?;
        Ok(start.elapsed().as_secs_f64())
    };
    for time in 0..LATENCY_WARM_UP {
        predict(time)?;
    }
    let (start, mut seconds) = (Instant::now(), Vec::new());
    while seconds.len() < LATENCY_LEAST || seconds.len() < LATENCY_TIMES && start.elapsed() < LATENCY_TIME {
        seconds.push(predict(seconds.len())?);
    }
    seconds.sort_by(f64::total_cmp);
    Ok(Latency {
        tokens,
        times: seconds.len(),
        p50_ms: 1e3 * quantile(&seconds, 50),
        p99_ms: 1e3 * quantile(&seconds, 99),
    })
}

/// The nearest rank of ascending values.
fn quantile(values: &[f64], percent: usize) -> f64 {
    let rank = (values.len() * percent).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or(0.0)
}

/// Texts of so many tokens: the first and last id of the texts (special ones), and between them their other ids in order.
fn texts_of(encoded: &[Encoded], tokens: usize, count: usize) -> Vec<Encoded> {
    let first = encoded
        .iter()
        .find_map(|text| text.input_ids.first())
        .copied()
        .unwrap_or(0);
    let last = encoded
        .iter()
        .find_map(|text| text.input_ids.last())
        .copied()
        .unwrap_or(0);
    let inner = |text: &'_ Encoded| {
        text.input_ids
            .get(1..text.input_ids.len().saturating_sub(1))
            .map(<[u32]>::to_vec)
    };
    let pool = encoded.iter().filter_map(inner).flatten();
    let mut pool: Vec<u32> = pool.take(tokens * count).collect();
    if pool.is_empty() {
        pool.push(first);
    }
    let mut pool = pool.into_iter().cycle();
    let mut text = || {
        let mut input_ids: Vec<u32> = pool.by_ref().take(tokens).collect();
        input_ids[0] = first;
        if tokens > 1 {
            input_ids[tokens - 1] = last;
        }
        whole(input_ids)
    };
    (0..count).map(|_| text()).collect()
}

/// A text that was not cut.
fn whole(input_ids: Vec<u32>) -> Encoded {
    Encoded {
        token_type_ids: vec![0; input_ids.len()],
        full_length: input_ids.len(),
        input_ids,
    }
}

/// Texts of random ids.
fn made_up_texts(config: &ModelConfig, max_length: usize) -> Vec<Encoded> {
    let mut random = Sequence::new(17, 0);
    let lengths = made_up_lengths(&mut random, MADE_UP_TEXTS, max_length);
    let mut text = |length: usize| (0..length).map(|_| random.below(config.vocab_size) as u32).collect();
    lengths.into_iter().map(|length| whole(text(length))).collect()
}

/// Log-normal numbers of tokens within the limits, whose mean is [`MADE_UP_MEAN`] as far as the limits let it be.
fn made_up_lengths(random: &mut Sequence, count: usize, max_length: usize) -> Vec<usize> {
    let normal: Vec<f64> = (0..count).map(|_| MADE_UP_SIGMA * random.normal()).collect();
    let (least, most) = (MADE_UP_LEAST.min(max_length) as f64, max_length as f64);
    let at = |location: f64| -> Vec<usize> {
        let length = |normal: &f64| (location + normal).exp().round().clamp(least, most) as usize;
        normal.iter().map(length).collect()
    };
    // The location that gives the mean, by halving.
    let (mut low, mut high) = (0.0, 8.0);
    for _ in 0..50 {
        let middle = (low + high) / 2.0;
        if (at(middle).iter().sum::<usize>() as f64) < MADE_UP_MEAN * count as f64 {
            low = middle;
        } else {
            high = middle;
        }
    }
    at(low)
}

fn training(
    directory: &Path,
    base: Option<&Path>,
    tokenizer: &Tokenizer,
    encoded: Vec<Encoded>,
    options: BenchOptions,
) -> Result<TrainingSpeed, BenchError> {
    let mut model = load_model(directory, base)?;
    model.precision = options.precision.resolve();
    let precision = model.precision;
    let (config, labels) = (model.config().clone(), model.schema().num_labels());
    // Frozen weights need no gradient; what an adapter adds is not counted.
    let passes = if model.adapter().is_some() { 2.0 } else { 3.0 };
    let examples = with_made_up_labels(encoded, model.schema());
    let settings = TrainSettings {
        batch_size: options.batch_size,
        max_steps: Some((STEPS_WARM_UP + options.steps) as u64),
        ..TrainSettings::default()
    };
    tensor::memory::reset_peak();
    let mut steps = Steps::new(&mut model, tokenizer, &settings, &examples)?;
    for step in 0..STEPS_WARM_UP {
        steps.take(step)?;
    }
    let mut reports = Vec::new();
    let timed = time(
        &mut gauge(precision),
        options.steps,
        STEPS_TIME,
        |step| -> Result<f64, BenchError> {
            let step = STEPS_WARM_UP + step;
            reports.push(steps.take(step)?);
            let lengths = steps
                .batch(step)
                .iter()
                .map(|&index| examples[index].encoded.input_ids.len());
            Ok(passes * config.forward_operations(lengths, labels))
        },
    )?;
    let seconds = Spread::of(reports.iter().map(|report| report.duration.as_secs_f64()));
    let rate = |of: fn(&crate::train::StepReport) -> usize| {
        reports.iter().map(of).sum::<usize>() as f64 / timed.seconds.max(1e-9)
    };
    Ok(TrainingSpeed {
        precision,
        batch_size: options.batch_size,
        steps: reports.len(),
        step_ms: 1e3 * seconds.median,
        examples_per_second: rate(|report| report.examples),
        tokens_per_second: rate(|report| report.tokens),
        share_of_peak: timed.share_of_peak(),
        peak_gflops: timed.peak_gflops(),
        peak_tensor_bytes: tensor::memory::peak_bytes(),
        peak_memory_bytes: machine::peak_memory_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_lengths_have_the_mean_and_keep_to_the_limits() {
        let lengths = |most| made_up_lengths(&mut Sequence::new(1, 2), 2000, most);
        let found = lengths(128);
        let mean = found.iter().sum::<usize>() as f64 / 2000.0;
        assert!((mean - MADE_UP_MEAN).abs() < 0.1, "{mean}");
        assert_eq!(found.iter().min(), Some(&5));
        assert_eq!(found.iter().max(), Some(&128));
        assert!(lengths(16).iter().all(|&length| (5..=16).contains(&length)));
        assert!(lengths(3).iter().all(|&length| length == 3));
    }

    #[test]
    fn single_texts_have_special_ids_at_their_ends() {
        let encoded = [whole(vec![2, 10, 11, 3]), whole(vec![2, 3]), whole(vec![2, 12, 3])];
        let ids = |tokens| -> Vec<Vec<u32>> {
            let texts = texts_of(&encoded, tokens, 2);
            texts.into_iter().map(|text| text.input_ids).collect()
        };
        assert_eq!(ids(4), [[2, 11, 12, 3], [2, 12, 10, 3]]);
        assert_eq!(ids(1), [[2], [2]]);
        assert_eq!(texts_of(&[whole(vec![7])], 3, 1)[0].input_ids, [7, 7, 7]);
    }

    #[test]
    fn quantiles_are_nearest_ranks() {
        let values: Vec<f64> = (1..=200).map(f64::from).collect();
        assert_eq!((quantile(&values, 50), quantile(&values, 99)), (100.0, 198.0));
        assert_eq!((quantile(&[3.0], 99), quantile(&[], 50)), (3.0, 0.0));
    }

    #[test]
    fn every_task_is_run_once_and_its_operations_are_counted() {
        let mut gauge = Gauge::new(Kernel::F32, 1, Duration::from_millis(1));
        let mut seen = Vec::new();
        let timed = time(&mut gauge, 5, Duration::MAX, |task| {
            seen.push(task);
            Ok::<f64, ()>(10.0)
        });
        let timed = timed.unwrap();
        assert_eq!((seen, timed.operations), (vec![0, 1, 2, 3, 4], 50.0));
        assert!(timed.share_of_peak() > 0.0 && timed.peak_gflops() > 0.0);
        assert_eq!(
            time(&mut gauge, 5, Duration::MAX, |_| Err::<f64, i32>(7)).err(),
            Some(7)
        );
    }
}
