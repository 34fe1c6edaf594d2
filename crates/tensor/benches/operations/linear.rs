//! `linear` with weight and bias: packing, product and bias forward; both products and the sums of the bias backward.

use divan::Bencher;
use divan::counter::ItemsCount;
use tensor::ops::{Affine, linear};
use tensor::{Activation, Float, Parameters, Result, Tape, Var, bf16};

use crate::{Map, bench_backward, bench_forward, maps, normal, parameters};

fn operands<S: Float<Real = f32>>(map: Map) -> Parameters {
    parameters([
        normal::<S>(1, &[map.tokens, map.inputs]),
        normal::<f32>(2, &[map.outputs, map.inputs]),
        normal::<f32>(3, &[map.outputs]),
    ])
}

/// The map that leads down has the activation in front of it.
fn run(map: Map) -> impl Fn(&Tape, &[Var]) -> Result<Var> {
    let activation = if map.inputs > map.outputs {
        Activation::Gelu
    } else {
        Activation::Identity
    };
    move |tape, of| {
        let affine = Affine {
            weight: &of[1],
            bias: Some(&of[2]),
        };
        linear(tape, &of[0], activation, &[affine])
    }
}

#[divan::bench(types = [f32, bf16], args = maps())]
fn forward<S: Float<Real = f32>>(bencher: Bencher, map: Map) {
    bench_forward(
        bencher.counter(ItemsCount::new(map.operations())),
        &operands::<S>(map),
        run(map),
    );
}

#[divan::bench(types = [f32, bf16], args = maps(), sample_size = 1)]
fn backward<S: Float<Real = f32>>(bencher: Bencher, map: Map) {
    bench_backward(
        bencher.counter(ItemsCount::new(2 * map.operations())),
        &operands::<S>(map),
        run(map),
    );
}
