//! The loop over batches.
//!
//! Everything random is a function of (seed, epoch) or (seed, step), so that where a run stands is one number, the step, and
//! a resumed run is the uninterrupted one.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tensor::optimizer::{AdamW, AdamWOptions, clip_factor, global_norm};
use tensor::{ParameterGradients, Parameters, Tape, Var, ops};

use super::checkpoint::{self, Checkpoint, Identity, Snapshot};
use super::evaluate::evaluate_predictions;
use super::features::Features;
use super::memory::{Demand, Fit};
use super::{
    EarlyStopping, Evaluation, Event, Lessons, MemoryPlan, TrainError, TrainerState, evaluate, has_weight_decay,
};
use crate::data::{Target, Task};
use crate::decision::Decision;
use crate::files;
use crate::head::{self, LossOptions, Taught, WholeBatch, balanced_weights};
use crate::machine;
use crate::metrics::Metrics;
use crate::model::{Model, Noise};
use crate::settings::{CheckpointActivations, ClassWeights, NamedWeights, TrainSettings};
use crate::tokens::{Encoded, PackedBatch, Tokenizer, micro_batches, shuffled_batches};

/// A text ready for the model, with its label.
#[derive(Debug, Clone)]
pub struct EncodedExample {
    /// The tokens.
    pub encoded: Encoded,
    /// The label.
    pub target: Target,
}

/// How long a run will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Steps of one pass over the examples.
    pub steps_per_epoch: u64,
    /// Steps of the run, unless it stops early.
    pub total_steps: u64,
    /// Steps during which the learning rate rises.
    pub warmup_steps: u64,
    /// Steps between two evaluations.
    pub eval_steps: u64,
    /// Steps that were done before (of a resumed run).
    pub done_steps: u64,
}

/// One optimiser step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Its number, from 1.
    pub step: u64,
    /// Mean loss of its examples.
    pub loss: f64,
    /// Learning rate it was taken with.
    pub learning_rate: f64,
    /// Norm of the gradient before clipping.
    pub grad_norm: f64,
    /// Examples of the batch.
    pub examples: usize,
    /// Tokens of the batch.
    pub tokens: usize,
    /// How long it took.
    pub duration: Duration,
}

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The log.
    pub state: TrainerState,
    /// Whether it was told to stop before the last step.
    pub interrupted: bool,
    /// Whether it has come to the epoch after which it was to pause.
    pub paused: bool,
    /// Whether early stopping ended it.
    pub stopped_early: bool,
    /// The best evaluation's metrics; `None` without validation examples.
    pub best: Option<Metrics>,
    /// Steps taken in this process.
    pub steps: u64,
    /// Examples trained on in this process.
    pub examples: u64,
    /// Tokens trained on in this process.
    pub tokens: u64,
    /// Time spent in those steps; evaluations and checkpoints are not counted.
    pub step_time: Duration,
    /// The checkpoint that was written last, if any.
    pub checkpoint: Option<PathBuf>,
    /// How the run stayed within its memory.
    pub memory: MemoryPlan,
}

/// Trains a model.
pub struct Trainer<'a> {
    /// What is trained.
    pub model: &'a mut Model,
    /// Saved with checkpoints.
    pub tokenizer: &'a Tokenizer,
    /// How.
    pub settings: &'a TrainSettings,
    /// Saved with checkpoints' tokenizers.
    pub max_length: usize,
    /// What it learns from.
    pub train: &'a [EncodedExample],
    /// What a teacher says of it; then the last of the examples may be without labels.
    pub lessons: Option<&'a Lessons>,
    /// What the best weights are chosen by; may be empty, then the last ones are kept.
    pub validation: &'a [EncodedExample],
    /// What the result will be measured on after the run; memory is planned for it too. May be empty.
    pub test: &'a [EncodedExample],
    /// Where `checkpoint-N` directories go; `None` writes none.
    pub checkpoints: Option<&'a Path>,
    /// The checkpoint to take up.
    pub resume: Option<&'a Path>,
    /// Stop after so many epochs of the run, those of before a resumption included, with a checkpoint from which it goes on.
    pub pause_after: Option<u64>,
}

/// What changes while a run goes on, beside the model's parameters.
pub(super) struct Progress {
    optimizer: AdamW,
    gradients: ParameterGradients,
    state: TrainerState,
    stopping: EarlyStopping,
    /// The best evaluation and its weights.
    best: Option<(Metrics, Parameters)>,
    last_checkpoint: Option<PathBuf>,
    /// Sum of losses and steps since the last log entry.
    logged: (f64, u64),
    identity: Identity,
    /// How the checkpoint cut its batches up.
    saved_memory: Option<MemoryPlan>,
    /// How batches are cut up.
    memory: MemoryPlan,
    outcome: (u64, u64, Duration),
    /// What a frozen encoder makes of training and validation examples.
    features: [Features; 2],
    /// What the settings change about the loss.
    loss_options: LossOptions,
}

impl Progress {
    /// Steps that were taken, those of a resumed run included.
    pub(super) fn done_steps(&self) -> u64 {
        self.state.global_step
    }
}

impl Trainer<'_> {
    /// Runs to the end, to early stopping, or until `stop` is set (the step in progress is finished). The model then has
    /// the weights of the best evaluation, or the last ones if there was none or the run was interrupted or paused.
    ///
    /// # Errors
    /// [`TrainError`] if the loss stops being a number, a checkpoint cannot be read or written, or examples do not fit.
    pub fn run(mut self, observe: &mut dyn FnMut(Event<'_>), stop: &AtomicBool) -> Result<Outcome, TrainError> {
        let plan = self.plan()?;
        let mut progress = self.start(plan)?;
        let plan = Plan {
            done_steps: progress.state.global_step,
            ..plan
        };
        let fit = self.fit(&mut progress, &plan);
        fit.plan()?;
        observe(Event::Started(plan));
        observe(Event::Computing(self.model.precision));
        let (all, trained) = (
            self.model.parameters.element_count(),
            self.model.parameters.trainable_element_count(),
        );
        if trained < all {
            observe(Event::Frozen { trained, all });
        }
        let now = progress.memory.micro_batch_tokens;
        let unasked = progress.memory.checkpoint_activations
            && self.settings.checkpoint_activations == CheckpointActivations::Auto;
        // A plan that is kept from the checkpoint was told when it was made, and may have another reason than this limit.
        if let Some(limit_bytes) = fit.limit_bytes
            && (now < self.settings.micro_batch_tokens || unasked)
            && progress.saved_memory != Some(progress.memory)
        {
            observe(Event::Planned {
                limit_bytes,
                plan: progress.memory,
            });
        }
        let before = progress.saved_memory.map(|saved| saved.micro_batch_tokens);
        if let Some(before) = before.filter(|before| *before != now) {
            observe(Event::Resplit { before, now });
            progress.state.log([
                ("micro_batch_tokens_before".to_owned(), json!(before)),
                ("micro_batch_tokens".to_owned(), json!(now)),
            ]);
        }
        observe(Event::Logged(&progress.state.log_history));
        let (mut interrupted, mut paused) = (false, false);
        // A run that was killed between its last step and its end has nothing left to learn.
        let mut stopped_early = self.settings.early_stopping.enabled && progress.stopping.has_stopped();
        let pause = self.pause_after.map(|epochs| epochs * plan.steps_per_epoch);
        let mut epoch_batches = (u64::MAX, Vec::new());
        while progress.state.global_step < plan.total_steps && !stopped_early {
            let step = progress.state.global_step;
            paused = pause.is_some_and(|pause| step >= pause);
            interrupted = !paused && stop.load(Ordering::Relaxed);
            if paused || interrupted {
                break;
            }
            let (epoch, index) = (step / plan.steps_per_epoch, (step % plan.steps_per_epoch) as usize);
            if epoch_batches.0 != epoch {
                let (examples, size) = (self.train.len(), self.settings.batch_size);
                epoch_batches = (epoch, shuffled_batches(examples, size, self.settings.seed, epoch));
            }
            let report = self.step(&mut progress, &plan, &epoch_batches.1[index])?;
            observe(Event::Step(report));
            self.log(&mut progress, &plan, &report);

            let step = progress.state.global_step;
            let is_last = step == plan.total_steps;
            if (step.is_multiple_of(plan.eval_steps) || is_last) && !self.validation.is_empty() {
                stopped_early = self.evaluate(&mut progress, observe)? && self.settings.early_stopping.enabled;
            }
            let due = step.is_multiple_of(self.settings.save_steps.unwrap_or(plan.eval_steps));
            observe(Event::Logged(&progress.state.log_history));
            if due || is_last || stopped_early {
                self.save(&mut progress, observe)?;
            }
            if stopped_early {
                observe(Event::StoppedEarly {
                    step,
                    monitor: &progress.stopping.monitor,
                });
                break;
            }
        }
        if interrupted || paused {
            self.save(&mut progress, observe)?;
        }
        let best = match progress.best.take() {
            Some((metrics, parameters)) if !interrupted && !paused => {
                self.model.parameters = parameters;
                Some(metrics)
            }
            best => best.map(|(metrics, _)| metrics),
        };
        let (examples, tokens, step_time) = progress.outcome;
        let steps = progress.state.global_step - plan.done_steps;
        let seconds = step_time.as_secs_f64().max(1e-9);
        progress.state.log([
            ("train_runtime".to_owned(), json!(step_time.as_secs_f64())),
            ("train_samples_per_second".to_owned(), json!(examples as f64 / seconds)),
            ("train_steps_per_second".to_owned(), json!(steps as f64 / seconds)),
        ]);
        observe(Event::Logged(&progress.state.log_history));
        Ok(Outcome {
            state: progress.state,
            interrupted,
            paused,
            stopped_early,
            best,
            steps,
            examples,
            tokens,
            step_time,
            checkpoint: progress.last_checkpoint,
            memory: progress.memory,
        })
    }

    /// How long the run will be.
    ///
    /// # Errors
    /// [`TrainError::Missing`] if there is nothing to train on.
    pub fn plan(&self) -> Result<Plan, TrainError> {
        if self.train.is_empty() {
            return Err(TrainError::Missing {
                what: "a training example",
                hint: "every row was dropped or split off",
            });
        }
        let steps_per_epoch = self.train.len().div_ceil(self.settings.batch_size) as u64;
        let mut total_steps = self.settings.epochs * steps_per_epoch;
        if let Some(max_steps) = self.settings.max_steps {
            // As in `transformers`, this replaces the number of epochs.
            total_steps = max_steps;
        }
        Ok(Plan {
            steps_per_epoch,
            total_steps,
            warmup_steps: (total_steps as f64 * self.settings.warmup_ratio).ceil() as u64,
            eval_steps: self.settings.eval_steps.unwrap_or(steps_per_epoch),
            done_steps: 0,
        })
    }

    /// The metric to watch, checked against those of the task.
    fn monitor(&self) -> Result<String, TrainError> {
        let task = self.model.schema().task;
        let default = if task == Task::Regression { "loss" } else { "macro_f1" };
        let monitor = self
            .settings
            .early_stopping
            .monitor
            .clone()
            .unwrap_or_else(|| default.to_owned());
        let known = Metrics::names(task);
        if known.contains(&monitor.as_str()) {
            return Ok(monitor);
        }
        Err(TrainError::Monitor {
            found: monitor,
            known: known.join(", "),
        })
    }

    /// What the settings change about the loss.
    fn loss_options(&self) -> Result<LossOptions, TrainError> {
        let (settings, schema) = (self.settings, self.model.schema());
        let none = ClassWeights::default();
        if schema.task == Task::Regression {
            let given = [
                ("train.class_weights", settings.class_weights != none),
                ("train.label_smoothing", settings.label_smoothing > 0.0),
                ("train.focal_gamma", settings.focal_gamma > 0.0),
            ];
            if let Some((key, _)) = given.into_iter().find(|(_, is_given)| *is_given) {
                return Err(TrainError::NotForNumbers { key });
            }
        }
        let class_weights = match &settings.class_weights {
            ClassWeights::Named(NamedWeights::None) => Vec::new(),
            ClassWeights::Named(NamedWeights::Balanced) => {
                let mut counts = vec![0; schema.num_labels()];
                let labelled = &self.train[..self.labelled()];
                for example in labelled {
                    for &class in example.target.ids() {
                        counts[class as usize] += 1;
                    }
                }
                balanced_weights(&counts, labelled.len() as u64, schema.task)
            }
            ClassWeights::Given(weights) => {
                let unknown = weights.keys().filter(|name| !schema.names.contains(name));
                let found: Vec<String> = unknown.map(|name| format!("`{name}`")).collect();
                if !found.is_empty() {
                    let known = schema.names.join(", ");
                    return Err(TrainError::ClassWeights { found, known });
                }
                let weight = |name: &String| weights.get(name).copied().unwrap_or(1.0);
                schema.names.iter().map(weight).collect()
            }
        };
        Ok(LossOptions {
            class_weights,
            label_smoothing: settings.label_smoothing,
            focal_gamma: settings.focal_gamma,
        })
    }

    /// Where the run begins: nothing done, or what the checkpoint says.
    pub(super) fn start(&mut self, plan: Plan) -> Result<Progress, TrainError> {
        let early = &self.settings.early_stopping;
        let mut state = TrainerState::new();
        let weight_decay = self.settings.weight_decay;
        let decay = |_: &str, value: &tensor::Tensor| {
            if has_weight_decay(value.shape()) {
                weight_decay
            } else {
                0.0
            }
        };
        let mut optimizer = AdamW::new(&self.model.parameters, AdamWOptions::default(), decay);
        if self.settings.layer_decay < 1.0 {
            let head = self.model.config().all_layers() + 1;
            for (id, depth) in self.model.depths() {
                optimizer.scale_rate(id, self.settings.layer_decay.powi((head - depth) as i32));
            }
        }
        let mut stopping = EarlyStopping::new(self.monitor()?, early.min_delta, early.patience);
        let (mut best, mut last_checkpoint, mut logged) = (None, None, (0.0, 0));
        let (batch_size, seed) = (self.settings.batch_size, self.settings.seed);
        let identity = Identity::new(self.model, (self.train, self.lessons), batch_size, seed);
        let mut saved_memory = None;
        if let Some(directory) = self.checkpoints {
            files::remove_leftovers(directory)?;
            // A run may have been killed over its page, too.
            files::remove_leftovers(&directory.join("report"))?;
        }
        if let Some(path) = self.resume {
            let Checkpoint {
                parameters,
                moments,
                state: saved,
                stopping: watched,
                best: kept,
                logged: sum,
                memory,
            } = checkpoint::read(path, self.model, &identity)?;
            self.model.parameters = parameters;
            optimizer.restore(saved.global_step, moments);
            if saved.global_step > plan.total_steps {
                let reason = format!(
                    "{} steps are done, the run would have {}",
                    saved.global_step, plan.total_steps
                );
                let hint = "raise train.epochs or train.max_steps";
                return Err(TrainError::Resume {
                    path: path.to_owned(),
                    reason,
                    hint,
                });
            }
            (state, stopping, best, logged) = (saved, watched, kept, sum);
            last_checkpoint = Some(path.to_owned());
            saved_memory = Some(memory);
        }
        state.eval_steps = plan.eval_steps;
        state.logging_steps = self.settings.logging_steps;
        state.max_steps = plan.total_steps;
        state.num_train_epochs = plan.total_steps.div_ceil(plan.steps_per_epoch);
        state.save_steps = self.settings.save_steps.unwrap_or(plan.eval_steps);
        state.train_batch_size = self.settings.batch_size;
        Ok(Progress {
            optimizer,
            gradients: ParameterGradients::for_parameters(&self.model.parameters),
            state,
            stopping,
            best,
            last_checkpoint,
            logged,
            identity,
            saved_memory,
            memory: MemoryPlan {
                micro_batch_tokens: self.settings.micro_batch_tokens,
                checkpoint_activations: false,
            },
            outcome: (0, 0, Duration::ZERO),
            features: Default::default(),
            loss_options: self.loss_options()?,
        })
    }

    /// How batches must be cut up for the run to stay within its memory, and goes on with that.
    pub(super) fn fit(&self, progress: &mut Progress, plan: &Plan) -> Fit {
        let fit = self.fit_of(self.model, progress, plan);
        progress.memory = fit.plan;
        fit
    }

    /// How a run that trains `model` in this one's place would stay within its memory.
    pub(super) fn fit_of(&self, model: &Model, progress: &Progress, plan: &Plan) -> Fit {
        // What was needed so far, by reading the data or by another run in this process, is no measure for this one.
        tensor::memory::release();
        let tensors = tensor::memory::bytes_in_use() as u64;
        let other = machine::resident_memory_bytes().map_or(0, |resident| resident.saturating_sub(tensors));
        let demand = Demand {
            model,
            settings: self.settings,
            plan,
            train: self.train,
            lessons_bytes: self.lessons.map_or(0, Lessons::bytes),
            validation: self.validation,
            test: self.test,
            other_bytes: other,
        };
        let limit = self.settings.memory.map(|size| size.bytes);
        demand.fit(limit.or_else(machine::memory_to_use_bytes), progress.saved_memory)
    }

    /// How many of the examples have labels: the first ones.
    fn labelled(&self) -> usize {
        self.lessons.map_or(self.train.len(), Lessons::labelled)
    }

    /// What the losses of a batch's parts are divided by.
    fn whole_batch(&self, batch: &[usize], options: &LossOptions) -> WholeBatch {
        let all = self.labelled();
        let labelled = || batch.iter().filter(|index| **index < all);
        let targets = labelled().map(|&index| &self.train[index].target);
        WholeBatch {
            rows: batch.len(),
            labelled: labelled().count(),
            normalizer: options.normalizer(targets, self.model.schema()),
        }
    }

    /// The loss of a part of a batch, from the logits of its examples and from what they were made of, if that is learnt.
    fn loss(
        &self,
        tape: &Tape,
        logits: &Var,
        features: Option<&Var>,
        part: &[usize],
        (options, whole): (&LossOptions, WholeBatch),
    ) -> tensor::Result<Var> {
        let (schema, target) = (self.model.schema(), |index: usize| &self.train[index].target);
        let Some(lessons) = self.lessons else {
            let targets: Vec<&Target> = part.iter().map(|&index| target(index)).collect();
            return head::loss_with(tape, logits, &targets, schema, options, whole.normalizer);
        };
        let rows: Vec<Taught<'_>> = part.iter().map(|&index| lessons.row(index, target(index))).collect();
        let settings = (options, lessons.distillation());
        let loss = head::distillation_loss(tape, logits, &rows, schema, settings, whole)?;
        match (features, lessons.hidden(part)) {
            (Some(features), Some((teacher, weight))) => {
                let hidden = head::hidden_loss(tape, features, &teacher, weight, whole.rows)?;
                ops::sum(tape, &loss, &hidden)
            }
            _ => Ok(loss),
        }
    }

    /// One optimiser step: all parts of the batch forward and backward, then clipping and AdamW.
    pub(super) fn step(
        &mut self,
        progress: &mut Progress,
        plan: &Plan,
        batch: &[usize],
    ) -> Result<StepReport, TrainError> {
        let start = Instant::now();
        let step = progress.state.global_step;
        let noise = Some(Noise {
            seed: self.settings.seed,
            step,
        });
        let lengths: Vec<usize> = batch
            .iter()
            .map(|&index| self.train[index].encoded.input_ids.len())
            .collect();
        progress.gradients.clear();
        let (mut loss, mut first_token) = (0.0, 0);
        let options = progress.loss_options.clone();
        let whole = self.whole_batch(batch, &options);
        let memory = progress.memory;
        if self.settings.head_only {
            let [features, _] = &mut progress.features;
            let features = features.of(self.model, self.train, batch, memory.micro_batch_tokens)?;
            let tape = Tape::recording();
            let logits = self.model.classify(&tape, tape.constant(features), 0, noise)?;
            let batch_loss = self.loss(&tape, &logits, None, batch, (&options, whole))?;
            loss = batch_loss.value().to_f64_vec()[0];
            first_token = lengths.iter().sum();
            tape.backward(&batch_loss, &mut progress.gradients)?;
        }
        let parts = match self.settings.head_only {
            true => Vec::new(),
            false => micro_batches(&lengths, memory.micro_batch_tokens),
        };
        for part in parts {
            let examples = batch[part.clone()].iter().map(|&index| &self.train[index].encoded);
            let packed = PackedBatch::new(examples, first_token, part.start);
            first_token += packed.tokens();
            let tape = match memory.checkpoint_activations {
                true => Tape::recomputing(),
                false => Tape::recording(),
            };
            let features = self.model.features(&tape, &packed, noise)?;
            let logits = self.model.classify(&tape, features.clone(), part.start, noise)?;
            let part_loss = self.loss(&tape, &logits, Some(&features), &batch[part], (&options, whole))?;
            loss += part_loss.value().to_f64_vec()[0];
            tape.backward(&part_loss, &mut progress.gradients)?;
        }
        if !loss.is_finite() {
            let learning_rate = self.settings.learning_rate;
            return Err(TrainError::NotFinite {
                step: step + 1,
                loss,
                learning_rate,
            });
        }
        let grad_norm = global_norm(&progress.gradients);
        let factor = clip_factor(grad_norm, self.settings.max_grad_norm);
        let settings = self.settings;
        let learning_rate =
            settings
                .schedule
                .learning_rate(settings.learning_rate, step, plan.warmup_steps, plan.total_steps);
        progress
            .optimizer
            .step(&mut self.model.parameters, &progress.gradients, factor, learning_rate)?;

        let duration = start.elapsed();
        progress.state.global_step += 1;
        progress.state.epoch = progress.state.global_step as f64 / plan.steps_per_epoch as f64;
        progress.state.num_input_tokens_seen += first_token as u64;
        let (examples, tokens, time) = &mut progress.outcome;
        *examples += batch.len() as u64;
        *tokens += first_token as u64;
        *time += duration;
        let report = StepReport {
            step: step + 1,
            loss,
            learning_rate,
            grad_norm,
            examples: batch.len(),
            tokens: first_token,
            duration,
        };
        Ok(report)
    }

    fn log(&self, progress: &mut Progress, plan: &Plan, report: &StepReport) {
        progress.logged.0 += report.loss;
        progress.logged.1 += 1;
        if report.step.is_multiple_of(self.settings.logging_steps) || report.step == plan.total_steps {
            let (sum, steps) = std::mem::take(&mut progress.logged);
            progress.state.log([
                ("loss".to_owned(), json!(sum / steps as f64)),
                ("grad_norm".to_owned(), json!(report.grad_norm)),
                ("learning_rate".to_owned(), json!(report.learning_rate)),
            ]);
        }
    }

    /// Scores the validation examples and keeps the weights if they are the best. Returns whether to stop.
    fn evaluate(&self, progress: &mut Progress, observe: &mut dyn FnMut(Event<'_>)) -> Result<bool, TrainError> {
        let total = self.validation.len();
        let mut report = |done: usize| observe(Event::Evaluating { done, total });
        let start = Instant::now();
        let max_tokens = progress.memory.micro_batch_tokens;
        let evaluation: Evaluation = match self.settings.head_only {
            false => evaluate(
                self.model,
                &Decision::default(),
                self.validation,
                max_tokens,
                &mut report,
            )?,
            true => {
                let [_, features] = &mut progress.features;
                let predictions = features.predict(self.model, self.validation, max_tokens, &mut report)?;
                evaluate_predictions(self.model, self.validation, predictions)?
            }
        };
        let seconds = start.elapsed().as_secs_f64();
        let Progress {
            state, stopping, best, ..
        } = progress;
        let mut entry = evaluation.log_entry();
        entry.push(("eval_runtime".to_owned(), json!(seconds)));
        entry.push((
            "eval_samples_per_second".to_owned(),
            json!(total as f64 / seconds.max(1e-9)),
        ));
        state.log(entry);
        let verdict = stopping.observe(evaluation.metrics.value(&stopping.monitor).unwrap_or(f64::NAN));
        let (step, epoch, metrics) = (state.global_step, state.epoch, &evaluation.metrics);
        observe(Event::Evaluated {
            step,
            epoch,
            metrics,
            is_best: verdict.is_best,
        });
        if verdict.is_best {
            state.best_metric = stopping.best;
            state.best_global_step = Some(step);
            state.best_model_checkpoint = None;
            *best = Some((evaluation.metrics, self.model.parameters.clone()));
        }
        Ok(verdict.stop)
    }

    /// Writes `checkpoint-N` and removes those that are no longer needed.
    fn save(&self, progress: &mut Progress, observe: &mut dyn FnMut(Event<'_>)) -> Result<(), TrainError> {
        let Some(directory) = self.checkpoints else {
            return Ok(());
        };
        let path = directory.join(checkpoint::name(progress.state.global_step));
        if progress.last_checkpoint.as_ref() == Some(&path) {
            return Ok(());
        }
        let state = &mut progress.state;
        if state.best_global_step == Some(state.global_step) {
            state.best_model_checkpoint = Some(path.display().to_string());
        }
        let snapshot = Snapshot {
            model: self.model,
            tokenizer: self.tokenizer,
            max_length: self.max_length,
            optimizer: &progress.optimizer,
            state: &progress.state,
            stopping: &progress.stopping,
            best: progress.best.as_ref(),
            logged: progress.logged,
            memory: progress.memory,
            identity: &progress.identity,
        };
        checkpoint::write(&path, &snapshot)?;
        checkpoint::rotate(directory, self.settings.save_total_limit, &path)?;
        progress.last_checkpoint = Some(path.clone());
        observe(Event::Saved(&path));
        Ok(())
    }
}
