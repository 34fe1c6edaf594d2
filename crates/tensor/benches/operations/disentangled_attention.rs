//! `disentangled_attention` with both terms and dropout, as `attention.rs`. Counted are the products of plain attention, so that
//! the figures compare: forward two, of which the terms add at least two, backward five, to which they add at least six.

use divan::Bencher;
use divan::counter::ItemsCount;
use tensor::ops::RelativePositions;
use tensor::{Float, Parameters, Result, Tape, Var, bf16, ops};

use crate::{Hidden, bench_backward, bench_forward, dropout, hidden, normal, parameters};

const TEXTS: usize = 32;
const HEADS: usize = 12;

fn operands<S: Float>(shape: Hidden) -> Parameters {
    let longest = shape.tokens / TEXTS;
    parameters([
        normal::<S>(1, &[shape.tokens, 3 * shape.columns]),
        normal::<S>(2, &[2 * longest - 1, 2 * shape.columns]),
    ])
}

fn run(shape: Hidden) -> impl Fn(&Tape, &[Var]) -> Result<Var> {
    let starts: Vec<u32> = (0..=TEXTS).map(|text| (text * shape.tokens / TEXTS) as u32).collect();
    let rows: Vec<u32> = (0..2 * (shape.tokens / TEXTS) as u32 - 1).collect();
    move |tape, of| {
        let positions = RelativePositions {
            projections: &of[1],
            has_keys: true,
            has_queries: true,
            row_of_distance: &rows,
        };
        ops::disentangled_attention(tape, &of[0], positions, &starts, HEADS, dropout())
    }
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
