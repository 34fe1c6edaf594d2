//! Every operation that takes time in a model, at the shapes of BERT-base and of MiniLM (6 layers, 384 columns), one file
//! for each.
//!
//! ```text
//! cargo bench -p tensor                             # all
//! cargo bench -p tensor -- products                 # one file
//! GAREUM_CPU=avx2 cargo bench -p tensor -- products # the instructions of most laptops
//! ```
//!
//! How to read it: what multiplies counts two operations for each multiplication with its addition and prints `Gitem/s`,
//! which are GFLOP/s (for int8, billions of integer operations). `gareum bench cpu` prints the peak of this machine for each
//! type: divide by it. What only passes over memory prints `GB/s` of what it must read and write at least, to be compared
//! with the memory's rate. Clocks change from second to second on many machines: take the fastest column beside the peak
//! of the same minute, and differences of less than a tenth for nothing.

use divan::Bencher;
use tensor::ops::Pooling;
use tensor::random::Sequence;
use tensor::{Dropout, Float, ParameterGradients, Parameters, Real, Result, Tape, Tensor, Var, ops};

mod activation;
mod attention;
mod disentangled_attention;
mod embedding;
mod linear;
mod norm;
mod optimizer;
mod packing;
mod products;

fn main() {
    divan::main();
}

/// Tokens of a batch as it is trained: 32 short texts, or 32 texts of 128 tokens.
const TOKENS: [usize; 2] = [928, 4096];

/// A linear map of a model, for a batch.
#[derive(Debug, Clone, Copy)]
struct Map {
    name: &'static str,
    tokens: usize,
    inputs: usize,
    outputs: usize,
}

impl std::fmt::Display for Map {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}x{}x{}", self.name, self.tokens, self.inputs, self.outputs)
    }
}

impl Map {
    /// Two operations for each multiplication and addition.
    fn operations(self) -> usize {
        2 * self.tokens * self.inputs * self.outputs
    }
}

/// All linear maps of both models: beside attention, up and down.
fn maps() -> impl Iterator<Item = Map> {
    let shapes = [
        ("BERT-base attention", 768, 768),
        ("BERT-base up", 768, 3072),
        ("BERT-base down", 3072, 768),
        ("MiniLM attention", 384, 384),
        ("MiniLM up", 384, 1536),
        ("MiniLM down", 1536, 384),
    ];
    TOKENS.into_iter().flat_map(move |tokens| {
        shapes.map(|(name, inputs, outputs)| Map {
            name,
            tokens,
            inputs,
            outputs,
        })
    })
}

/// Rows of hidden values: tokens and columns.
#[derive(Debug, Clone, Copy)]
struct Hidden {
    name: &'static str,
    tokens: usize,
    columns: usize,
}

impl std::fmt::Display for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}x{}", self.name, self.tokens, self.columns)
    }
}

impl Hidden {
    fn elements(self) -> usize {
        self.tokens * self.columns
    }
}

/// The hidden states of both models.
fn hidden() -> impl Iterator<Item = Hidden> {
    shapes([("BERT-base", 768), ("MiniLM", 384)])
}

/// What stands between the two maps of a feed-forward part, in both models.
fn intermediate() -> impl Iterator<Item = Hidden> {
    shapes([("BERT-base", 3072), ("MiniLM", 1536)])
}

fn shapes(columns: [(&'static str, usize); 2]) -> impl Iterator<Item = Hidden> {
    TOKENS
        .into_iter()
        .flat_map(move |tokens| columns.map(|(name, columns)| Hidden { name, tokens, columns }))
}

/// Normal values, the same for the same seed.
fn normal<T: Float>(seed: u64, shape: &[usize]) -> Tensor {
    let mut random = Sequence::new(seed, 0);
    let value = |_| T::narrow(T::Real::from_f64(random.normal()));
    Tensor::from_vec((0..shape.iter().product()).map(value).collect(), shape).expect("as many values as the shape has")
}

/// Parameters of these values, in this order.
fn parameters(values: impl IntoIterator<Item = Tensor>) -> Parameters {
    let mut parameters = Parameters::default();
    for (index, value) in values.into_iter().enumerate() {
        parameters.add(index.to_string(), value);
    }
    parameters
}

/// The parameters on a tape.
fn variables(tape: &Tape, parameters: &Parameters) -> Vec<Var> {
    let ids = parameters.iter().map(|(id, _, _)| id);
    ids.map(|id| tape.parameter(parameters, id)).collect()
}

/// Times a forward pass as training makes it.
fn bench_forward(bencher: Bencher, parameters: &Parameters, forward: impl Fn(&Tape, &[Var]) -> Result<Var>) {
    bencher.bench_local(|| {
        let tape = Tape::recording();
        let output = forward(&tape, &variables(&tape, parameters));
        output.map(|output| (tape, output))
    });
}

/// Times the backward pass alone. The loss looks at the first row only, so that next to nothing but the operation is timed:
/// what it gets is filled with zeros, which takes one pass of writing.
fn bench_backward(bencher: Bencher, parameters: &Parameters, forward: impl Fn(&Tape, &[Var]) -> Result<Var>) {
    let mut gradients = ParameterGradients::for_parameters(parameters);
    bencher
        .with_inputs(|| {
            let tape = Tape::recording();
            let output = forward(&tape, &variables(&tape, parameters)).expect("the shapes fit");
            let [rows, columns] = output.value().shape() else {
                panic!("not a matrix")
            };
            let first = ops::pool(&tape, &output, &[0, *rows as u32], Pooling::First).expect("there are rows");
            let loss = ops::mean_squared_error(&tape, &first, &vec![0.0; *columns], 1.0).expect("one row");
            (tape, loss)
        })
        .bench_local_values(|(tape, loss)| {
            gradients.clear();
            tape.backward(&loss, &mut gradients)
        });
}

/// The mask of a usual dropout.
fn dropout() -> Option<Dropout> {
    Dropout::new(0.1, 1, 1, 1, 0)
}
