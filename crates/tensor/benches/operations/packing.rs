//! Packing of factors, which must read and write each element once: weights from `f32`, once for each step; what is
//! multiplied for the gradient of a weight, from the type of activations.

use divan::Bencher;
use divan::counter::BytesCount;
use tensor::cpu::product::{COLUMNS, Dot, Lines, Panels, ROWS};
use tensor::{Float, Tensor, bf16};

use crate::{Hidden, Map, hidden, intermediate, maps, normal};

/// The weights alone: without the tokens, every map would come twice.
fn weights() -> impl Iterator<Item = Map> {
    maps().filter(|map| map.tokens == crate::TOKENS[0])
}

fn values<T: Float>(tensor: &Tensor) -> &[T] {
    tensor.as_slice().expect("made of this type")
}

/// For x · Wᵀ.
#[divan::bench(types = [f32, bf16], args = weights())]
fn weight_by_rows<S: Float<Real = f32>>(bencher: Bencher, map: Map) {
    let Map { inputs, outputs, .. } = map;
    let weight = normal::<f32>(1, &[outputs, inputs]);
    let weight = values::<f32>(&weight);
    let lines = Lines {
        count: outputs,
        inner: inputs,
        group: S::Dot::GROUP,
    };
    let bytes = BytesCount::new(weight.len() * (size_of::<f32>() + size_of::<S>()));
    bencher.counter(bytes).bench_local(|| {
        Panels::<S, COLUMNS>::from_lines(
            lines,
            #[inline(always)]
            |row| &weight[row * inputs..][..inputs],
            S::narrow,
        )
    });
}

/// For dy · W.
#[divan::bench(types = [f32, bf16], args = weights())]
fn weight_by_columns<S: Float<Real = f32>>(bencher: Bencher, map: Map) {
    let Map { inputs, outputs, .. } = map;
    let weight = normal::<f32>(1, &[outputs, inputs]);
    let weight = values::<f32>(&weight);
    let lines = Lines {
        count: inputs,
        inner: outputs,
        group: S::Dot::GROUP,
    };
    let bytes = BytesCount::new(weight.len() * (size_of::<f32>() + size_of::<S>()));
    bencher.counter(bytes).bench_local(|| {
        Panels::<S, COLUMNS>::from_elements(
            lines,
            #[inline(always)]
            |row| &weight[row * inputs..][..inputs],
            S::narrow,
        )
    });
}

/// dyᵀ, the left factor of dyᵀ · x.
#[divan::bench(types = [f32, bf16], args = hidden().chain(intermediate()))]
fn gradient_as_left_factor<S: Float>(bencher: Bencher, shape: Hidden) {
    activations::<S, ROWS>(bencher, shape);
}

/// x, the right one.
#[divan::bench(types = [f32, bf16], args = hidden().chain(intermediate()))]
fn input_as_right_factor<S: Float>(bencher: Bencher, shape: Hidden) {
    activations::<S, COLUMNS>(bencher, shape);
}

fn activations<S: Float, const LANES: usize>(bencher: Bencher, Hidden { tokens, columns, .. }: Hidden) {
    let source = normal::<S>(1, &[tokens, columns]);
    let source = values::<S>(&source);
    let lines = Lines {
        count: columns,
        inner: tokens,
        group: S::Dot::GROUP,
    };
    let bytes = BytesCount::new(2 * source.len() * size_of::<S>());
    bencher.counter(bytes).bench_local(|| {
        Panels::<S, LANES>::from_elements(
            lines,
            #[inline(always)]
            |token| &source[token * columns..][..columns],
            #[inline(always)]
            |value| value,
        )
    });
}
