//! Products of packed factors alone: the three forms that a linear map needs.

use divan::Bencher;
use divan::counter::ItemsCount;
use tensor::bf16;
use tensor::cpu::product::{
    BLOCK, Bf16, BlockPanels, COLUMNS, Dot, F32, Int8, Left, Lines, Out, Panels, ROWS, Right, multiply, multiply_blocks,
};

use crate::{Map, maps};

/// Types with values to multiply.
trait Operands: Dot {
    fn left(index: usize) -> Self::Left;
    fn right(index: usize) -> Self::Right;
}

impl Operands for F32 {
    fn left(index: usize) -> f32 {
        (index % 17) as f32 / 17.0 - 0.5
    }
    fn right(index: usize) -> f32 {
        (index % 13) as f32 / 13.0 - 0.5
    }
}

impl Operands for Bf16 {
    fn left(index: usize) -> bf16 {
        bf16::from_f32(F32::left(index))
    }
    fn right(index: usize) -> bf16 {
        bf16::from_f32(F32::right(index))
    }
}

impl Operands for Int8 {
    fn left(index: usize) -> u8 {
        (index % 251) as u8
    }
    fn right(index: usize) -> i8 {
        (index % 241) as i8
    }
}

/// x · Wᵀ with a packed weight of 4 bits.
#[divan::bench(args = maps())]
fn rows_by_blocks_of_four_bits(bencher: Bencher, map: Map) {
    let Map {
        tokens,
        inputs,
        outputs,
        ..
    } = map;
    let input: Vec<u8> = (0..tokens * inputs).map(Int8::left).collect();
    let table = std::array::from_fn(|place| 17 * place as i8 / 2 - 64);
    let place = |column: usize, element: usize| ((column * inputs + element) % 16) as u8;
    let scale = |column: usize, block: usize| 1.0 / (1 + column + block * BLOCK) as f32;
    let weight = BlockPanels::new([outputs, inputs], table, place, scale);
    let mut output = vec![0.0f32; tokens * outputs];
    bencher.counter(ItemsCount::new(map.operations())).bench_local(|| {
        multiply_blocks(
            Left::rows(&input, tokens, inputs, inputs),
            &weight,
            Out::new(&mut output, tokens, outputs),
            #[inline(always)]
            |_, _, sums, out| out.copy_from_slice(sums),
        );
    });
}

/// x · Wᵀ with a packed weight, forward. dy · W is the same with inputs and outputs exchanged: "down" for "up".
#[divan::bench(types = [F32, Bf16, Int8], args = maps())]
fn rows_by_packed_weight<D: Operands>(bencher: Bencher, map: Map) {
    let Map {
        tokens,
        inputs,
        outputs,
        ..
    } = map;
    let input: Vec<D::Left> = (0..tokens * inputs).map(D::left).collect();
    let weight: Vec<D::Right> = (0..outputs * inputs).map(D::right).collect();
    let lines = Lines {
        count: outputs,
        inner: inputs,
        group: D::GROUP,
    };
    let weight = Panels::<D::Right, COLUMNS>::from_lines(lines, |row| &weight[row * inputs..][..inputs], |value| value);
    let mut output = vec![D::Sum::default(); tokens * outputs];
    bencher.counter(ItemsCount::new(map.operations())).bench_local(|| {
        multiply::<D, D::Sum>(
            Left::rows(&input, tokens, inputs, inputs),
            Right::panels(&weight),
            Out::new(&mut output, tokens, outputs),
            #[inline(always)]
            |_, _, sums, out| out.copy_from_slice(sums),
        );
    });
}

/// dyᵀ · x, the gradient of a weight, with the packing of both factors: each is used for this product only.
#[divan::bench(types = [F32, Bf16], args = maps())]
fn weight_gradient<D: Operands>(bencher: Bencher, map: Map) {
    let Map {
        tokens,
        inputs,
        outputs,
        ..
    } = map;
    let input: Vec<D::Right> = (0..tokens * inputs).map(D::right).collect();
    let delta: Vec<D::Left> = (0..tokens * outputs).map(D::left).collect();
    let lines = |count| Lines {
        count,
        inner: tokens,
        group: D::GROUP,
    };
    let mut gradient = vec![D::Sum::default(); outputs * inputs];
    bencher.counter(ItemsCount::new(map.operations())).bench_local(|| {
        let delta = Panels::<D::Left, ROWS>::from_elements(
            lines(outputs),
            #[inline(always)]
            |token| &delta[token * outputs..][..outputs],
            #[inline(always)]
            |value| value,
        );
        let input = Panels::<D::Right, COLUMNS>::from_elements(
            lines(inputs),
            #[inline(always)]
            |token| &input[token * inputs..][..inputs],
            #[inline(always)]
            |value| value,
        );
        multiply::<D, D::Sum>(
            Left::panels(&delta),
            Right::panels(&input),
            Out::new(&mut gradient, outputs, inputs),
            #[inline(always)]
            |_, _, sums, out| out.copy_from_slice(sums),
        );
    });
}
