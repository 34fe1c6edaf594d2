//! Runs graphs, slowly and in `f64`, by what the operators' descriptions say (<https://onnx.ai/onnx/operators/>).

use std::collections::HashMap;

use super::reader::{Array, Attribute, Node, Onnx};

/// What a graph gives for these inputs.
pub fn run(onnx: &Onnx, inputs: &[(&str, Array)]) -> HashMap<String, Array> {
    let mut values: HashMap<String, Array> = onnx.constants.clone();
    for (name, ..) in &onnx.inputs {
        let input = inputs.iter().find(|(other, _)| other == name);
        values.insert(name.clone(), input.unwrap_or_else(|| panic!("no {name}")).1.clone());
    }
    for node in &onnx.nodes {
        let inputs = node.inputs.iter().map(|name| &values[name]).collect::<Vec<_>>();
        let output = operation(node, &inputs);
        assert_eq!(output.values.len(), output.shape.iter().product::<usize>(), "{node:?}");
        assert_eq!(node.outputs.len(), 1);
        values.insert(node.outputs[0].clone(), output);
    }
    onnx.outputs
        .iter()
        .map(|(name, ..)| (name.clone(), values[name].clone()))
        .collect()
}

impl Array {
    pub fn new(shape: &[usize], values: Vec<f64>) -> Self {
        Self {
            shape: shape.to_vec(),
            values,
        }
    }

    fn rank(&self) -> usize {
        self.shape.len()
    }

    fn ints(&self) -> Vec<i64> {
        self.values.iter().map(|&value| value as i64).collect()
    }

    fn map(&self, change: impl Fn(f64) -> f64) -> Self {
        Self::new(&self.shape, self.values.iter().map(|&value| change(value)).collect())
    }

    /// The value at a place, of which extents of 1 are repeated and missing ones in front left out.
    fn broadcast(&self, place: &[usize]) -> f64 {
        let place = &place[place.len() - self.rank()..];
        let index = |index, (&at, &extent): (&usize, &usize)| index * extent + if extent == 1 { 0 } else { at };
        self.values[place.iter().zip(&self.shape).fold(0, index)]
    }

    fn at(&self, place: &[usize]) -> f64 {
        let index = |index, (&at, &extent): (&usize, &usize)| {
            assert!(at < extent, "{place:?} of {:?}", self.shape);
            index * extent + at
        };
        self.values[place.iter().zip(&self.shape).fold(0, index)]
    }

    /// An array of this shape, from what each place holds.
    fn of(shape: &[usize], value: impl Fn(&[usize]) -> f64) -> Self {
        let count = shape.iter().product();
        let mut place = vec![0; shape.len()];
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            values.push(value(&place));
            for (at, extent) in place.iter_mut().zip(shape).rev() {
                *at += 1;
                if *at < *extent {
                    break;
                }
                *at = 0;
            }
        }
        Self::new(shape, values)
    }

    /// Extents before an axis, that of the axis, and those behind, multiplied.
    fn around(&self, axis: usize) -> [usize; 3] {
        let product = |extents: &[usize]| extents.iter().product::<usize>();
        [
            product(&self.shape[..axis]),
            self.shape[axis],
            product(&self.shape[axis + 1..]),
        ]
    }
}

fn common(shapes: &[&[usize]]) -> Vec<usize> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let extent = |axis: usize| {
        let extents = shapes
            .iter()
            .filter_map(|shape| shape.get((axis + shape.len()).checked_sub(rank)?).copied());
        let extents: Vec<usize> = extents.collect();
        let largest = extents.iter().copied().find(|&extent| extent != 1).unwrap_or(1);
        assert!(
            extents.iter().all(|&extent| extent == 1 || extent == largest),
            "{shapes:?}"
        );
        largest
    };
    (0..rank).map(extent).collect()
}

fn elementwise(inputs: &[&Array], combine: impl Fn(&[f64]) -> f64) -> Array {
    let shape = common(&inputs.iter().map(|input| input.shape.as_slice()).collect::<Vec<_>>());
    Array::of(&shape, |place| {
        combine(&inputs.iter().map(|input| input.broadcast(place)).collect::<Vec<f64>>())
    })
}

fn reduced(input: &Array, axes: &[i64], keeps: bool, start: f64, combine: impl Fn(f64, f64) -> f64) -> Array {
    assert_eq!(axes.len(), 1);
    let axis = axes[0] as usize;
    let [before, extent, behind] = input.around(axis);
    let mut values = Vec::new();
    for first in 0..before {
        for last in 0..behind {
            let of = (0..extent).map(|at| input.values[(first * extent + at) * behind + last]);
            values.push(of.fold(start, &combine));
        }
    }
    let mut shape = input.shape.clone();
    match keeps {
        true => shape[axis] = 1,
        false => drop(shape.remove(axis)),
    }
    Array::new(&shape, values)
}

/// Matrices of all but the last two extents, which are repeated as in arithmetic.
fn product(one: &Array, other: &Array) -> Array {
    let (one_rank, other_rank) = (one.rank(), other.rank());
    let (rows, inner) = (one.shape[one_rank - 2], one.shape[one_rank - 1]);
    let columns = other.shape[other_rank - 1];
    assert_eq!(inner, other.shape[other_rank - 2], "{:?} {:?}", one.shape, other.shape);
    let batch = common(&[&one.shape[..one_rank - 2], &other.shape[..other_rank - 2]]);
    // The numbers of the matrices, broadcast as numbers themselves would be.
    let numbers = |array: &Array| {
        let shape = &array.shape[..array.rank() - 2];
        let all = Array::new(
            shape,
            (0..shape.iter().product()).map(|number: usize| number as f64).collect(),
        );
        Array::of(&batch, |place| all.broadcast(place)).values
    };
    let mut values = Vec::new();
    for (left, right) in numbers(one).into_iter().zip(numbers(other)) {
        let left = &one.values[left as usize * rows * inner..][..rows * inner];
        let right = &other.values[right as usize * inner * columns..][..inner * columns];
        for row in left.chunks(inner) {
            let of_column = |column| {
                row.iter()
                    .zip(right[column..].iter().step_by(columns))
                    .map(|(one, other)| one * other)
            };
            values.extend((0..columns).map(|column| of_column(column).sum::<f64>()));
        }
    }
    Array::new(&[&batch[..], &[rows, columns]].concat(), values)
}

fn operation(node: &Node, inputs: &[&Array]) -> Array {
    let int = |name: &str, default: i64| match node.attributes.get(name) {
        Some(Attribute::Int(value)) => *value,
        None => default,
        other => panic!("{name}: {other:?}"),
    };
    let ints = |name: &str| match node.attributes.get(name) {
        Some(Attribute::Ints(values)) => values.clone(),
        other => panic!("{name}: {other:?}"),
    };
    let axis = |default: i64, rank: usize| {
        let axis = int("axis", default);
        (if axis < 0 { axis + rank as i64 } else { axis }) as usize
    };
    let input = inputs[0];
    let truth = |is_true: bool| f64::from(is_true);
    match node.operator.as_str() {
        "Identity" => input.clone(),
        "Add" => elementwise(inputs, |values| values[0] + values[1]),
        "Sub" => elementwise(inputs, |values| values[0] - values[1]),
        "Mul" => elementwise(inputs, |values| values[0] * values[1]),
        "Div" => elementwise(inputs, |values| values[0] / values[1]),
        "Pow" => elementwise(inputs, |values| values[0].powf(values[1])),
        "Max" => elementwise(inputs, |values| values[0].max(values[1])),
        "Min" => elementwise(inputs, |values| values[0].min(values[1])),
        "And" => elementwise(inputs, |values| values[0] * values[1]),
        "Equal" => elementwise(inputs, |values| truth(values[0] == values[1])),
        "LessOrEqual" => elementwise(inputs, |values| truth(values[0] <= values[1])),
        "GreaterOrEqual" => elementwise(inputs, |values| truth(values[0] >= values[1])),
        "Where" => elementwise(inputs, |values| if values[0] != 0.0 { values[1] } else { values[2] }),
        "Neg" => input.map(|value| -value),
        "Round" => input.map(f64::round_ties_even),
        "Erf" => input.map(libm::erf),
        "Tanh" => input.map(f64::tanh),
        "Relu" => input.map(|value| value.max(0.0)),
        "Sigmoid" => input.map(|value| 1.0 / (1.0 + (-value).exp())),
        "Cast" => match int("to", 0) {
            1 => input.clone(),
            2 => input.map(|value| value.trunc().clamp(0.0, 255.0)),
            7 => input.map(f64::trunc),
            9 => input.map(|value| truth(value != 0.0)),
            other => panic!("a cast to {other}"),
        },
        "MatMul" | "MatMulInteger" => product(input, inputs[1]),
        "Gemm" => {
            let output = product(input, inputs[1]);
            match inputs.get(2) {
                None => output,
                Some(bias) => elementwise(&[&output, bias], |values| values[0] + values[1]),
            }
        }
        "QuantizeLinear" => {
            assert_eq!((int("axis", 1), input.rank()), (0, 2));
            Array::of(&input.shape, |place| {
                let (scale, zero) = (inputs[1].values[place[0]], inputs[2].values[place[0]]);
                ((input.at(place) / scale).round_ties_even() + zero).clamp(0.0, 255.0)
            })
        }
        "DequantizeLinear" => {
            assert_eq!((int("axis", 1), inputs.len()), (0, 2));
            Array::of(&input.shape, |place| input.at(place) * inputs[1].values[place[0]])
        }
        "Softmax" => {
            assert_eq!(axis(-1, input.rank()), input.rank() - 1);
            let columns = input.shape[input.rank() - 1];
            let of_row = |row: &[f64]| {
                let largest = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let powers: Vec<f64> = row.iter().map(|value| (value - largest).exp()).collect();
                let sum: f64 = powers.iter().sum();
                powers.into_iter().map(move |power| power / sum)
            };
            Array::new(&input.shape, input.values.chunks(columns).flat_map(of_row).collect())
        }
        "LayerNormalization" => {
            let columns = input.shape[axis(-1, input.rank())];
            let Some(&Attribute::Float(epsilon)) = node.attributes.get("epsilon") else {
                panic!()
            };
            let of_row = |row: &[f64]| {
                let mean = row.iter().sum::<f64>() / columns as f64;
                let variance = row.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / columns as f64;
                let normed = |(column, value): (usize, &f64)| {
                    let bias = inputs.get(2).map_or(0.0, |bias| bias.values[column]);
                    (value - mean) / (variance + epsilon).sqrt() * inputs[1].values[column] + bias
                };
                row.iter().enumerate().map(normed).collect::<Vec<f64>>()
            };
            Array::new(&input.shape, input.values.chunks(columns).flat_map(of_row).collect())
        }
        "Shape" => {
            let end = int("end", input.rank() as i64);
            let end = if end < 0 { end + input.rank() as i64 } else { end } as usize;
            let extents = &input.shape[int("start", 0) as usize..end];
            Array::new(&[extents.len()], extents.iter().map(|&extent| extent as f64).collect())
        }
        "Range" => {
            let [start, end, step] = [0, 1, 2].map(|index| inputs[index].values[0]);
            let values: Vec<f64> = (0..)
                .map(|at| start + step * f64::from(at))
                .take_while(|value| *value < end)
                .collect();
            Array::new(&[values.len()], values)
        }
        "Reshape" => {
            let mut shape: Vec<i64> = inputs[1].ints();
            for (axis, extent) in shape.iter_mut().enumerate().filter(|(_, extent)| **extent == 0) {
                *extent = input.shape[axis] as i64;
            }
            let known: i64 = shape.iter().filter(|extent| **extent != -1).product();
            let rest = input.values.len() as i64 / known;
            let shape: Vec<usize> = shape
                .iter()
                .map(|&extent| if extent == -1 { rest } else { extent } as usize)
                .collect();
            Array::new(&shape, input.values.clone())
        }
        "Unsqueeze" => {
            let mut shape = input.shape.clone();
            inputs[1].ints().iter().for_each(|&axis| shape.insert(axis as usize, 1));
            Array::new(&shape, input.values.clone())
        }
        "Transpose" => {
            let order: Vec<usize> = ints("perm").iter().map(|&axis| axis as usize).collect();
            let shape: Vec<usize> = order.iter().map(|&axis| input.shape[axis]).collect();
            Array::of(&shape, |place| {
                let mut from = vec![0; place.len()];
                order.iter().zip(place).for_each(|(&axis, &at)| from[axis] = at);
                input.at(&from)
            })
        }
        "Concat" => {
            let axis = axis(0, input.rank());
            let mut shape = input.shape.clone();
            shape[axis] = inputs.iter().map(|input| input.shape[axis]).sum();
            Array::of(&shape, |place| {
                let mut from = place.to_vec();
                for input in inputs {
                    if from[axis] < input.shape[axis] {
                        return input.at(&from);
                    }
                    from[axis] -= input.shape[axis];
                }
                unreachable!()
            })
        }
        "Slice" => {
            let [start, end, axis] = [1, 2, 3].map(|index| inputs[index].ints()[0]);
            let (axis, extent) = (axis as usize, input.shape[axis as usize] as i64);
            let place = |at: i64| if at < 0 { at + extent } else { at }.clamp(0, extent) as usize;
            let mut shape = input.shape.clone();
            shape[axis] = place(end).saturating_sub(place(start));
            Array::of(&shape, |to| {
                let mut from = to.to_vec();
                from[axis] += place(start);
                input.at(&from)
            })
        }
        "Gather" => {
            let axis = axis(0, input.rank());
            let shape = [&input.shape[..axis], &inputs[1].shape, &input.shape[axis + 1..]].concat();
            let indices = inputs[1].rank();
            Array::of(&shape, |place| {
                let index = inputs[1].at(&place[axis..axis + indices]);
                input.at(&[&place[..axis], &[index as usize], &place[axis + indices..]].concat())
            })
        }
        "GatherElements" => {
            let axis = axis(0, input.rank());
            Array::of(&inputs[1].shape, |place| {
                let mut from = place.to_vec();
                from[axis] = inputs[1].at(place) as usize;
                input.at(&from)
            })
        }
        "GatherND" => {
            assert_eq!((int("batch_dims", 0), inputs[1].rank(), inputs[1].shape[1]), (1, 2, 1));
            let shape = [&input.shape[..1], &input.shape[2..]].concat();
            Array::of(&shape, |place| {
                let index = inputs[1].values[place[0]] as usize;
                input.at(&[&[place[0], index], &place[1..]].concat())
            })
        }
        "ReduceSum" => reduced(input, &inputs[1].ints(), int("keepdims", 1) == 1, 0.0, |one, other| {
            one + other
        }),
        "ReduceMax" => reduced(
            input,
            &ints("axes"),
            int("keepdims", 1) == 1,
            f64::NEG_INFINITY,
            f64::max,
        ),
        "ReduceMin" => reduced(input, &ints("axes"), int("keepdims", 1) == 1, f64::INFINITY, f64::min),
        "Conv" => {
            let [weight, bias] = [inputs[1], inputs[2]];
            let (channels, width, pads) = (weight.shape[1], weight.shape[2], ints("pads"));
            assert_eq!(
                (&ints("kernel_shape"), pads[0], pads[1]),
                (&vec![width as i64], pads[0], pads[0])
            );
            let length = input.shape[2] as i64;
            Array::of(&[input.shape[0], weight.shape[0], input.shape[2]], |place| {
                let mut sum = bias.values[place[1]];
                for offset in 0..width {
                    let from = place[2] as i64 + offset as i64 - pads[0];
                    for channel in (0..channels).filter(|_| (0..length).contains(&from)) {
                        let of_input = input.at(&[place[0], channel, from as usize]);
                        sum += of_input * weight.at(&[place[1], channel, offset]);
                    }
                }
                sum
            })
        }
        other => panic!("the operator {other}"),
    }
}
