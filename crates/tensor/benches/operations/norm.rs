//! `residual_dropout_norm`. Forward must read two operands and write one; backward must read the gradient and one operand
//! and write two gradients.

use divan::Bencher;
use divan::counter::BytesCount;
use tensor::{Float, Parameters, Result, Tape, Var, bf16, ops};

use crate::{Hidden, bench_backward, bench_forward, dropout, hidden, normal, parameters};

fn operands<S: Float<Real = f32>>(shape: Hidden) -> Parameters {
    let rows = [shape.tokens, shape.columns];
    parameters([
        normal::<S>(1, &rows),
        normal::<S>(2, &rows),
        normal::<f32>(3, &[shape.columns]),
        normal::<f32>(4, &[shape.columns]),
    ])
}

fn run(tape: &Tape, of: &[Var]) -> Result<Var> {
    ops::residual_dropout_norm(tape, &of[0], &of[1], &of[2], &of[3], 1e-12, dropout())
}

#[divan::bench(types = [f32, bf16], args = hidden())]
fn forward<S: Float<Real = f32>>(bencher: Bencher, shape: Hidden) {
    let bytes = BytesCount::new(3 * shape.elements() * size_of::<S>());
    bench_forward(bencher.counter(bytes), &operands::<S>(shape), run);
}

#[divan::bench(types = [f32, bf16], args = hidden(), sample_size = 1)]
fn backward<S: Float<Real = f32>>(bencher: Bencher, shape: Hidden) {
    let bytes = BytesCount::new(4 * shape.elements() * size_of::<S>());
    bench_backward(bencher.counter(bytes), &operands::<S>(shape), run);
}
