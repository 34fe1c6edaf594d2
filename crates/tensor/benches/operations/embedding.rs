//! `embedding_sum` of words, positions and token types. Forward must read a row of words and write a row for each token, the
//! other tables stay in cache; backward must read the gradient and change a row of words.

use divan::Bencher;
use divan::counter::BytesCount;
use tensor::random::Sequence;
use tensor::{Parameters, Result, Tape, Var, ops};

use crate::{Hidden, bench_backward, bench_forward, hidden, normal, parameters};

/// Rows of the tables of bert-base-uncased.
const ROWS: [usize; 3] = [30_522, 512, 2];

fn operands(shape: Hidden) -> Parameters {
    parameters(ROWS.map(|rows| normal::<f32>(rows as u64, &[rows, shape.columns])))
}

fn run(shape: Hidden) -> impl Fn(&Tape, &[Var]) -> Result<Var> {
    let mut random = Sequence::new(1, 1);
    let words: Vec<u32> = (0..shape.tokens).map(|_| random.below(ROWS[0]) as u32).collect();
    let positions: Vec<u32> = (0..shape.tokens).map(|token| (token % 128) as u32).collect();
    let types = vec![0u32; shape.tokens];
    move |tape, of| ops::embedding_sum(tape, &[(&of[0], &words), (&of[1], &positions), (&of[2], &types)], 1.0)
}

#[divan::bench(args = hidden())]
fn forward(bencher: Bencher, shape: Hidden) {
    let bytes = BytesCount::new(2 * shape.elements() * size_of::<f32>());
    bench_forward(bencher.counter(bytes), &operands(shape), run(shape));
}

#[divan::bench(args = hidden(), sample_size = 1)]
fn backward(bencher: Bencher, shape: Hidden) {
    let bytes = BytesCount::new(3 * shape.elements() * size_of::<f32>());
    bench_backward(bencher.counter(bytes), &operands(shape), run(shape));
}
