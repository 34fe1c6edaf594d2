//! Texts of many requests go through the model together: a bounded queue, and one loop that takes from it what fits a batch, computes it on
//! all threads, and begins again with what came meanwhile. Nothing is waited for while something is there to compute, so a single text is
//! computed at once, and batches grow with the load.
//!
//! Not here: tokens of texts (`scoring.rs`) and what is made of a prediction (`routes/`).

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use gareum::predict::{Prediction, Predictor};
use gareum::tokens::Encoded;
use tokio::sync::oneshot;

use crate::failure::Failure;
use crate::settings::{BatchSettings, QueueSettings};
use crate::statistics::Statistics;

/// A batch holds as many tokens, however slow the model is: smaller ones are not worth reading all weights for.
const LEAST_BATCH_TOKENS: usize = 512;

/// How much a new measurement of the speed counts beside those before.
const NEW_SHARE: f64 = 0.2;

static GENERATION: AtomicU64 = AtomicU64::new(0);

/// A model with how fast it is here.
pub struct Engine {
    /// The model.
    pub predictor: Arc<Predictor>,
    /// Differs between any two engines that ever were: kept answers of one are none of the other.
    pub generation: u64,
    /// Tokens a second, as bits of an `f64`; 0 as long as it is not known.
    speed: AtomicU64,
}

impl Engine {
    /// A model whose speed is not known yet.
    pub fn new(predictor: impl Into<Arc<Predictor>>) -> Self {
        Self {
            predictor: predictor.into(),
            generation: GENERATION.fetch_add(1, Relaxed),
            speed: AtomicU64::new(0),
        }
    }

    fn tokens_per_second(&self) -> Option<f64> {
        Some(f64::from_bits(self.speed.load(Relaxed))).filter(|speed| *speed > 0.0)
    }

    fn learn(&self, tokens: usize, took: Duration) {
        let now = tokens as f64 / took.as_secs_f64().max(1e-6);
        let speed = match self.tokens_per_second() {
            None => now,
            Some(before) => before + NEW_SHARE * (now - before),
        };
        self.speed.store(speed.to_bits(), Relaxed);
    }
}

/// What waits or is being computed.
#[derive(Debug, Default)]
struct Load {
    requests: AtomicUsize,
    tokens: AtomicUsize,
}

/// A place in the queue; gives it back when dropped.
struct Place {
    load: Arc<Load>,
    tokens: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.load.requests.fetch_sub(1, Relaxed);
        self.load.tokens.fetch_sub(self.tokens, Relaxed);
    }
}

type Answer<T> = oneshot::Sender<Result<T, Failure>>;

enum Work {
    Predict(Job),
    /// Something else that needs the threads.
    Other(Box<dyn FnOnce() + Send>),
}

/// The texts of one request.
struct Job {
    engine: Arc<Engine>,
    encoded: Vec<Option<Encoded>>,
    /// Texts before it have been taken into a batch.
    next: usize,
    predictions: Vec<Prediction>,
    answer: Answer<Vec<Prediction>>,
    place: Place,
}

impl Job {
    /// Answers; who asked may have gone. By then its place is free.
    fn finish(self, result: Result<Vec<Prediction>, Failure>) {
        drop(self.place);
        let _ = self.answer.send(result);
    }
}

/// The way into the queue.
#[derive(Clone)]
pub struct Batcher {
    sender: Sender<Work>,
    load: Arc<Load>,
    limits: QueueSettings,
}

impl Batcher {
    /// A queue, and the loop that works it off.
    pub fn new(limits: &QueueSettings, batch: &BatchSettings, statistics: Arc<Statistics>) -> (Self, Worker) {
        let (sender, receiver) = channel();
        let batcher = Self {
            sender,
            load: Arc::new(Load::default()),
            limits: limits.clone(),
        };
        let worker = Worker {
            receiver,
            waiting: VecDeque::new(),
            batch: batch.clone(),
            statistics,
        };
        (batcher, worker)
    }

    /// Tokens that wait or are being computed.
    pub fn queued_tokens(&self) -> usize {
        self.load.tokens.load(Relaxed)
    }

    /// Requests that wait or are being computed.
    pub fn queued_requests(&self) -> usize {
        self.load.requests.load(Relaxed)
    }

    /// Refuses what would be refused anyway, before anything is done for it.
    ///
    /// # Errors
    /// [`Failure::Overloaded`] if the queue is full.
    pub fn check(&self, engine: &Engine) -> Result<(), Failure> {
        let (requests, tokens) = (self.queued_requests(), self.queued_tokens());
        self.fits(engine, requests, tokens, 1)
    }

    fn fits(&self, engine: &Engine, requests: usize, before: usize, tokens: usize) -> Result<(), Failure> {
        let wait = engine.tokens_per_second().map_or(0.0, |speed| before as f64 / speed);
        // What is alone is let in, however much it is: `limits` bounds it.
        let is_full = before > 0 && before + tokens > self.limits.max_tokens;
        let is_late = wait * 1000.0 > self.limits.max_wait_ms as f64;
        match requests >= self.limits.max_requests || is_full || is_late {
            // By then about half of what waits now is done.
            true => Err(Failure::Overloaded {
                retry_after: Duration::from_secs_f64((wait / 2.0).clamp(1.0, 60.0)),
            }),
            false => Ok(()),
        }
    }

    fn place(&self, engine: &Engine, tokens: usize) -> Result<Place, Failure> {
        let requests = self.load.requests.fetch_add(1, Relaxed);
        let before = self.load.tokens.fetch_add(tokens, Relaxed);
        let load = Arc::clone(&self.load);
        let place = Place { load, tokens };
        self.fits(engine, requests, before, tokens)?;
        Ok(place)
    }

    /// Predicts texts that were tokenized for this model, in order.
    ///
    /// # Errors
    /// [`Failure::Overloaded`] if the queue is full, [`Failure::Backend`] if the model fails.
    pub async fn predict(&self, engine: &Arc<Engine>, encoded: Vec<Encoded>) -> Result<Vec<Prediction>, Failure> {
        let tokens = encoded.iter().map(|encoded| encoded.input_ids.len()).sum();
        let place = self.place(engine, tokens)?;
        let (answer, answered) = oneshot::channel();
        let work = Work::Predict(Job {
            engine: Arc::clone(engine),
            next: 0,
            predictions: Vec::with_capacity(encoded.len()),
            encoded: encoded.into_iter().map(Some).collect(),
            answer,
            place,
        });
        self.sender.send(work).map_err(|_| Failure::Ending)?;
        answered.await.map_err(|_| Failure::Ending)?
    }

    /// Runs something else that uses all threads, between two batches; `tokens` is about what it costs.
    ///
    /// # Errors
    /// [`Failure::Overloaded`] if the queue is full, [`Failure::Backend`] if it panics, else its own.
    pub async fn run<T: Send + 'static>(
        &self,
        engine: &Engine,
        tokens: usize,
        act: impl FnOnce() -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let place = self.place(engine, tokens)?;
        let (answer, answered): (Answer<T>, _) = oneshot::channel();
        let act = move || {
            if !answer.is_closed() {
                let result = catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|_| Err(panicked()));
                drop(place);
                // Who asked may have gone.
                let _ = answer.send(result);
            }
        };
        let work = Work::Other(Box::new(act));
        self.sender.send(work).map_err(|_| Failure::Ending)?;
        answered.await.map_err(|_| Failure::Ending)?
    }
}

fn panicked() -> Failure {
    Failure::Backend("the computation broke off; see the log of the server".to_owned())
}

/// The loop that computes. It belongs on a thread of rayon's pool if the pool has been given one, as the command line does.
pub struct Worker {
    receiver: Receiver<Work>,
    waiting: VecDeque<Work>,
    batch: BatchSettings,
    statistics: Arc<Statistics>,
}

impl Worker {
    /// Computes until every [`Batcher`] is gone and nothing waits.
    pub fn run(mut self) {
        loop {
            if self.waiting.is_empty() {
                match self.receiver.recv() {
                    Ok(work) => self.waiting.push_back(work),
                    Err(_) => return,
                }
                self.wait_for_more();
            }
            self.waiting.extend(self.receiver.try_iter());
            self.step();
        }
    }

    /// See [`BatchSettings::wait_ms`].
    fn wait_for_more(&mut self) {
        let until = Instant::now() + Duration::from_millis(self.batch.wait_ms);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            match self.receiver.recv_timeout(left) {
                Ok(work) => self.waiting.push_back(work),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn step(&mut self) {
        match self.waiting.front() {
            None => {}
            Some(Work::Other(_)) => {
                if let Some(Work::Other(act)) = self.waiting.pop_front() {
                    act();
                }
            }
            Some(Work::Predict(job)) => {
                let engine = Arc::clone(&job.engine);
                self.predict(&engine);
            }
        }
    }

    /// Computes one batch of a model.
    fn predict(&mut self, engine: &Arc<Engine>) {
        // Who has gone is waited for no longer.
        self.waiting
            .retain(|work| !matches!(work, Work::Predict(job) if job.answer.is_closed()));
        let budget = engine.tokens_per_second().map_or(self.batch.max_tokens, |speed| {
            let in_time = speed * self.batch.max_ms as f64 / 1000.0;
            (in_time as usize).clamp(LEAST_BATCH_TOKENS.min(self.batch.max_tokens), self.batch.max_tokens)
        });
        let (encoded, owners) = self.take(engine, budget);
        if encoded.is_empty() {
            return;
        }
        let tokens: usize = encoded.iter().map(|encoded| encoded.input_ids.len()).sum();
        let begin = Instant::now();
        let predictor = &engine.predictor;
        let result = catch_unwind(AssertUnwindSafe(|| predictor.predict_encoded(&encoded, &mut |_| ())));
        let took = begin.elapsed();
        tracing::debug!(texts = encoded.len(), tokens, ms = took.as_secs_f64() * 1e3, "batch");
        match result {
            Ok(Ok(predictions)) => {
                engine.learn(tokens, took);
                self.statistics.batch(encoded.len(), tokens, took);
                self.give(&owners, predictions);
            }
            Ok(Err(error)) => self.fail(&owners, &Failure::Backend(error.to_string())),
            Err(_) => self.fail(&owners, &panicked()),
        }
    }

    /// Texts for a batch of at most `budget` tokens (or one text), and the place in the queue of each text's request. Where many wait, none
    /// gets more than a part before the others had theirs, so that a large request does not hold up small ones.
    fn take(&mut self, engine: &Arc<Engine>, budget: usize) -> (Vec<Encoded>, Vec<usize>) {
        let (mut encoded, mut owners, mut tokens) = (Vec::new(), Vec::new(), 0);
        for share in [budget / 4, budget] {
            for (index, work) in self.waiting.iter_mut().enumerate() {
                let Work::Predict(job) = work else { continue };
                if !Arc::ptr_eq(&job.engine, engine) {
                    continue;
                }
                let mut taken = 0;
                while let Some(slot) = job.encoded.get_mut(job.next) {
                    let length = slot.as_ref().map_or(0, |encoded| encoded.input_ids.len());
                    let is_first = encoded.is_empty();
                    if !is_first && (tokens + length > budget || taken + length > share) {
                        break;
                    }
                    encoded.extend(slot.take());
                    owners.push(index);
                    job.next += 1;
                    tokens += length;
                    taken += length;
                }
                if tokens >= budget {
                    break;
                }
            }
        }
        (encoded, owners)
    }

    /// Hands out the predictions of a batch, and answers the requests that have all of theirs. Those that have not go to the end of the queue.
    fn give(&mut self, owners: &[usize], predictions: Vec<Prediction>) {
        for (&owner, prediction) in owners.iter().zip(predictions) {
            if let Some(Work::Predict(job)) = self.waiting.get_mut(owner) {
                job.predictions.push(prediction);
            }
        }
        self.remove(owners, |mut job| match job.next == job.encoded.len() {
            true => {
                let predictions = std::mem::take(&mut job.predictions);
                job.finish(Ok(predictions));
                None
            }
            false => Some(job),
        });
    }

    fn fail(&mut self, owners: &[usize], failure: &Failure) {
        tracing::error!(error = %failure, "a batch failed");
        self.remove(owners, |job| {
            job.finish(Err(failure.clone()));
            None
        });
    }

    /// Takes the jobs at `owners` out of the queue; those that `finish` gives back go to its end.
    fn remove(&mut self, owners: &[usize], finish: impl Fn(Job) -> Option<Job>) {
        let mut taken = vec![false; self.waiting.len()];
        owners.iter().for_each(|&owner| taken[owner] = true);
        let mut rest = Vec::new();
        for (work, taken) in std::mem::take(&mut self.waiting).into_iter().zip(taken) {
            match work {
                Work::Predict(job) if taken => rest.extend(finish(job).map(Work::Predict)),
                work => self.waiting.push_back(work),
            }
        }
        self.waiting.extend(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gareum::data::{LabelSchema, Task};
    use gareum::model::Model;
    use gareum::settings::PrecisionSetting;
    use serde_json::json;

    /// A model of random weights that computes in no time.
    fn engine() -> Arc<Engine> {
        let config = json!({
            "model_type": "bert", "vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 8, "max_position_embeddings": 64,
        });
        let schema = LabelSchema {
            task: Task::SingleLabel,
            names: vec!["a".to_owned(), "b".to_owned()],
        };
        let directory = tempfile::tempdir().unwrap();
        let model = Model::from_config(config.as_object().unwrap().clone(), schema, 1).unwrap();
        model.save(directory.path()).unwrap();
        let words = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nw\nx\ny\nz\n";
        std::fs::write(directory.path().join("vocab.txt"), words).unwrap();
        let predictor = Predictor::load(directory.path(), PrecisionSetting::F32).unwrap();
        Arc::new(Engine::new(predictor))
    }

    fn encoded(ids: &[u32]) -> Encoded {
        Encoded {
            input_ids: ids.to_vec(),
            token_type_ids: vec![0; ids.len()],
            full_length: ids.len(),
        }
    }

    fn batcher(max_tokens: usize) -> (Batcher, Worker) {
        let batch = BatchSettings {
            max_tokens,
            ..BatchSettings::default()
        };
        Batcher::new(&QueueSettings::default(), &batch, Arc::default())
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn every_text_gets_its_own_prediction() {
        let engine = engine();
        let texts: Vec<Vec<Encoded>> = (0..20)
            .map(|request| {
                let lengths = (0..request % 7 + 1).map(|text| 1 + (request * 5 + text * 3) % 11);
                lengths
                    .map(|length| encoded(&(0..length).map(|at| 2 + (at * 7 + request) % 7).collect::<Vec<_>>()))
                    .collect()
            })
            .collect();
        let (batcher, worker) = batcher(23);
        let working = std::thread::spawn(|| worker.run());
        runtime().block_on(async {
            let mut asked = tokio::task::JoinSet::new();
            for (number, texts) in texts.iter().cloned().enumerate() {
                let (batcher, engine) = (batcher.clone(), Arc::clone(&engine));
                asked.spawn(async move { (number, batcher.predict(&engine, texts).await.unwrap()) });
            }
            while let Some(answered) = asked.join_next().await {
                let (number, predictions) = answered.unwrap();
                let expected = engine.predictor.predict_encoded(&texts[number], &mut |_| ()).unwrap();
                assert_eq!(predictions.len(), expected.len());
                for (found, expected) in predictions.iter().zip(&expected) {
                    let near = found
                        .scores
                        .iter()
                        .zip(&expected.scores)
                        .all(|(one, other)| (one - other).abs() < 1e-6);
                    assert!(near, "{found:?} {expected:?}");
                }
            }
        });
        assert_eq!((batcher.queued_tokens(), batcher.queued_requests()), (0, 0));
        drop(batcher);
        working.join().unwrap();
    }

    #[test]
    fn a_large_request_does_not_hold_up_small_ones() {
        let engine = engine();
        let (batcher, mut worker) = batcher(40);
        let runtime = runtime();
        let _entered = runtime.enter();
        let ask = |texts: usize| {
            let (batcher, engine) = (batcher.clone(), Arc::clone(&engine));
            let texts = vec![encoded(&[2, 5, 6, 3]); texts];
            runtime.spawn(async move { batcher.predict(&engine, texts).await })
        };
        let (large, small) = (ask(30), ask(1));
        runtime.block_on(async { tokio::task::yield_now().await });
        worker.waiting.extend(worker.receiver.try_iter());
        let (texts, owners) = worker.take(&engine, 40);
        let of_small = owners.iter().filter(|owner| **owner == 1).count();
        assert_eq!(
            (texts.len(), of_small),
            (10, 1),
            "the rest of the batch is the large one's"
        );
        large.abort();
        small.abort();
        runtime.block_on(async { tokio::task::yield_now().await });
        worker.predict(&engine);
        assert!(worker.waiting.is_empty(), "who has gone is waited for no longer");
        assert_eq!(batcher.queued_requests(), 0);
    }

    #[test]
    fn what_panics_is_an_answer_too() {
        let engine = engine();
        let (batcher, worker) = batcher(40);
        let working = std::thread::spawn(|| worker.run());
        let runtime = runtime();
        let broken: Result<(), Failure> = runtime.block_on(batcher.run(&engine, 1, || panic!("on purpose")));
        assert!(matches!(broken, Err(Failure::Backend(_))), "{broken:?}");
        // An id that the model does not have.
        let unknown = runtime.block_on(batcher.predict(&engine, vec![encoded(&[2, 99, 3])]));
        assert!(matches!(unknown, Err(Failure::Backend(_))), "{unknown:?}");
        let after = runtime.block_on(batcher.run(&engine, 1, || Ok(7)));
        assert_eq!((after, batcher.queued_requests()), (Ok(7), 0));
        drop(batcher);
        working.join().unwrap();
    }
}
