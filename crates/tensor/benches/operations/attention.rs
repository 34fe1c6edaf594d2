//! `attention` with dropout: 32 texts of equal length, 12 heads. Counted are the two products of the forward pass and the
//! five of the backward pass, which computes the scores again.

use divan::Bencher;
use divan::counter::ItemsCount;
use tensor::ops::AttentionShape;
use tensor::{Float, Parameters, Result, Tape, Var, bf16, ops};

use crate::{Hidden, bench_backward, bench_forward, dropout, hidden, normal, parameters};

const TEXTS: usize = 32;
const HEADS: usize = 12;

fn operands<S: Float>(shape: Hidden) -> Parameters {
    parameters([normal::<S>(1, &[shape.tokens, 3 * shape.columns])])
}

fn run(shape: Hidden) -> impl Fn(&Tape, &[Var]) -> Result<Var> {
    let starts: Vec<u32> = (0..=TEXTS).map(|text| (text * shape.tokens / TEXTS) as u32).collect();
    move |tape, of| ops::attention(tape, &of[0], &starts, AttentionShape::bidirectional(HEADS), dropout())
}

/// Operations of one product of queries and keys in all heads and texts.
fn product(shape: Hidden) -> usize {
    2 * shape.elements() * (shape.tokens / TEXTS)
}

#[divan::bench(types = [f32, bf16], args = hidden())]
fn forward<S: Float>(bencher: Bencher, shape: Hidden) {
    bench_forward(
        bencher.counter(ItemsCount::new(2 * product(shape))),
        &operands::<S>(shape),
        run(shape),
    );
}

#[divan::bench(types = [f32, bf16], args = hidden(), sample_size = 1)]
fn backward<S: Float>(bencher: Bencher, shape: Hidden) {
    bench_backward(
        bencher.counter(ItemsCount::new(5 * product(shape))),
        &operands::<S>(shape),
        run(shape),
    );
}
