//! `linear`, forward and with its three products backward, at the shapes of real models. Throughput counts 2 · m · k · n
//! operations for each product.

use divan::Bencher;
use divan::counter::ItemsCount;
use tensor::{Activation, ParameterGradients, Parameters, Tape, Tensor, ops};

fn main() {
    divan::main();
}

/// Tokens, inputs, outputs.
#[derive(Debug, Clone, Copy)]
struct Shape(&'static str, usize, usize, usize);

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}x{}x{}", self.0, self.1, self.2, self.3)
    }
}

const SHAPES: [Shape; 6] = [
    Shape("MiniLM attention", 900, 384, 384),
    Shape("MiniLM attention", 4096, 384, 384),
    Shape("MiniLM up", 4096, 384, 1536),
    Shape("MiniLM down", 4096, 1536, 384),
    Shape("BERT-base attention", 4096, 768, 768),
    Shape("BERT-base up", 4096, 768, 3072),
];

fn parameters(Shape(_, tokens, inputs, outputs): Shape) -> Parameters {
    let mut parameters = Parameters::default();
    for (name, shape) in [("input", [tokens, inputs]), ("weight", [outputs, inputs])] {
        let values = (0..shape[0] * shape[1]).map(|i| (i % 17) as f32 / 17.0 - 0.5).collect();
        parameters.add(
            name,
            Tensor::from_vec(values, &shape).expect("the shape holds the values"),
        );
    }
    parameters
}

#[divan::bench(args = SHAPES)]
fn forward(bencher: Bencher, shape: Shape) {
    let parameters = parameters(shape);
    let [input, weight] = ["input", "weight"].map(|name| parameters.find(name).expect("added above"));
    bencher
        .counter(ItemsCount::new(2 * shape.1 * shape.2 * shape.3))
        .bench(|| {
            let tape = Tape::inference();
            let (input, weight) = (tape.parameter(&parameters, input), tape.parameter(&parameters, weight));
            ops::linear(&tape, &input, &weight, None, Activation::Identity)
        });
}

#[divan::bench(args = SHAPES)]
fn forward_and_backward(bencher: Bencher, shape: Shape) {
    let parameters = parameters(shape);
    let [input, weight] = ["input", "weight"].map(|name| parameters.find(name).expect("added above"));
    let targets = vec![0.0; shape.1 * shape.3];
    let mut gradients = ParameterGradients::for_parameters(&parameters);
    bencher
        .counter(ItemsCount::new(6 * shape.1 * shape.2 * shape.3))
        .bench_local(|| {
            let tape = Tape::recording();
            let (input, weight) = (tape.parameter(&parameters, input), tape.parameter(&parameters, weight));
            let output = ops::linear(&tape, &input, &weight, None, Activation::Identity)?;
            let loss = ops::mean_squared_error(&tape, &output, &targets, 1.0)?;
            gradients.clear();
            tape.backward(&loss, &mut gradients)
        });
}
