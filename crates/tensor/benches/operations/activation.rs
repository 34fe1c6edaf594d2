//! `activate` between the two maps of a feed-forward part, as a pass of its own. In the models it is part of `linear`.

use divan::Bencher;
use divan::counter::BytesCount;
use tensor::{Activation, Float, Parameters, bf16, ops};

use crate::{Hidden, bench_backward, bench_forward, intermediate, normal, parameters};

/// A function at a place.
#[derive(Debug, Clone, Copy)]
struct Case(Activation, Hidden);

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.0, self.1)
    }
}

fn cases() -> impl Iterator<Item = Case> {
    let functions = [
        Activation::Gelu,
        Activation::GeluTanh,
        Activation::Silu,
        Activation::Tanh,
    ];
    functions
        .into_iter()
        .flat_map(|function| intermediate().map(move |shape| Case(function, shape)))
}

fn operands<S: Float>(shape: Hidden) -> Parameters {
    parameters([normal::<S>(1, &[shape.tokens, shape.columns])])
}

#[divan::bench(types = [f32, bf16], args = cases())]
fn forward<S: Float>(bencher: Bencher, Case(function, shape): Case) {
    let bytes = BytesCount::new(2 * shape.elements() * size_of::<S>());
    bench_forward(bencher.counter(bytes), &operands::<S>(shape), |tape, of| {
        ops::activate(tape, &of[0], function)
    });
}

#[divan::bench(types = [f32, bf16], args = cases(), sample_size = 1)]
fn backward<S: Float>(bencher: Bencher, Case(function, shape): Case) {
    let bytes = BytesCount::new(3 * shape.elements() * size_of::<S>());
    bench_backward(bencher.counter(bytes), &operands::<S>(shape), |tape, of| {
        ops::activate(tape, &of[0], function)
    });
}
