//! AdamW must read weights, gradients and two moments, and write all but the gradients; their norm must read them once. A
//! quarter of BERT-base's weights, and all those of MiniLM's layers.

use divan::Bencher;
use divan::counter::BytesCount;
use tensor::optimizer::{AdamW, AdamWOptions, global_norm};
use tensor::{ParameterGradients, Parameters, Tape, ops};

use crate::{normal, parameters, variables};

/// Matrices of a model, by what is multiplied with what.
#[derive(Debug, Clone, Copy)]
struct Matrices {
    name: &'static str,
    count: usize,
    shape: [usize; 2],
}

impl std::fmt::Display for Matrices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}x{}x{}", self.name, self.count, self.shape[0], self.shape[1])
    }
}

impl Matrices {
    fn bytes(self) -> usize {
        self.count * self.shape[0] * self.shape[1] * size_of::<f32>()
    }
}

const MATRICES: [Matrices; 2] = [
    Matrices {
        name: "BERT-base",
        count: 12,
        shape: [3072, 768],
    },
    Matrices {
        name: "MiniLM",
        count: 18,
        shape: [1536, 384],
    },
];

/// The matrices with gradients.
fn with_gradients(matrices: Matrices) -> (Parameters, ParameterGradients) {
    let values = (0..matrices.count).map(|seed| normal::<f32>(seed as u64, &matrices.shape));
    let parameters = parameters(values);
    let mut gradients = ParameterGradients::for_parameters(&parameters);
    let targets = vec![0.0; matrices.shape[0] * matrices.shape[1]];
    for index in 0..matrices.count {
        let tape = Tape::recording();
        let of = variables(&tape, &parameters);
        let loss = ops::mean_squared_error(&tape, &of[index], &targets, 1e3).expect("as many targets as values");
        tape.backward(&loss, &mut gradients)
            .expect("the loss depends on a parameter");
    }
    (parameters, gradients)
}

#[divan::bench(args = MATRICES)]
fn adamw(bencher: Bencher, matrices: Matrices) {
    let (mut parameters, gradients) = with_gradients(matrices);
    let mut optimizer = AdamW::new(&parameters, AdamWOptions::default(), |_, _| 0.01);
    bencher
        .counter(BytesCount::new(7 * matrices.bytes()))
        .bench_local(|| optimizer.step(&mut parameters, &gradients, 1.0, 1e-5));
}

#[divan::bench(args = MATRICES)]
fn norm_of_gradients(bencher: Bencher, matrices: Matrices) {
    let (_, gradients) = with_gradients(matrices);
    bencher
        .counter(BytesCount::new(matrices.bytes()))
        .bench_local(|| global_norm(&gradients));
}
