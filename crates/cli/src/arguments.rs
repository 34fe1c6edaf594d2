//! What can be typed.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use gareum::explain::{self, STEPS, Units};
use gareum::settings::PrecisionSetting;

use crate::language::Language;

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "gareum",
    version,
    about = "From labelled text to a trained, measured and usable classifier",
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Arguments {
    #[command(flatten)]
    pub common: Common,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
#[command(next_help_heading = "Common options")]
pub struct Common {
    /// Show no progress and no notes, only results and errors
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Print results as JSON on standard output
    #[arg(long, global = true)]
    pub json: bool,
    /// Threads to use [default: all cores]
    #[arg(long, global = true, value_name = "N", value_parser = at_least_one)]
    pub threads: Option<usize>,
    /// Use nothing from the network: models and datasets on the hub must have been fetched before
    #[arg(long, global = true)]
    pub offline: bool,
    /// Language of messages and help [default: the locale's]
    #[arg(long, global = true, default_value_t = Language::of_locale(), hide_default_value = true)]
    #[arg(value_enum, value_name = "LANGUAGE")]
    pub lang: Language,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Train, evaluate and try out a small model on embedded sample data, offline, in about a minute
    Quickstart(Quickstart),
    /// Make a project folder: settings, sample data and a README
    Init(Init),
    /// Say what labelled text is like before anything is trained on it: labels, lengths, repeats, leaks, dirt
    Inspect(Box<Inspect>),
    /// Fine-tune a checkpoint on labelled text
    Train(Box<Train>),
    /// Try out settings: train with each of them, compare the results, write down the best
    Sweep(Box<Sweep>),
    /// Measure a model on labelled text
    Evaluate(Evaluate),
    /// Measure models and files of predictions on the same rows: which is better, is it more than chance, which rows changed
    Compare(Compare),
    /// Fit a model's temperature and thresholds on labelled text, and save them with it
    Calibrate(Calibrate),
    /// Label texts of a file or of standard input
    Predict(Predict),
    /// Say which words made a model say what it says
    Explain(Explain),
    /// Answer over HTTP, for programs and on a page for people
    Serve(Box<Serve>),
    /// Make a smaller and faster model that does the same, behind a gate
    Compress(Compress),
    /// Write a model for runtimes elsewhere
    #[command(subcommand)]
    Export(Export),
    /// Make a plain model of an adapter and the model that it belongs to
    Merge(Merge),
    /// Measure how fast a model is here, or what the processor can reach
    Bench(Bench),
    /// Say what this machine is, how gareum uses it, and what could be better
    Doctor,
}

#[derive(Debug, Args)]
pub struct Quickstart {
    /// Directory that data and model are written to
    #[arg(long, value_name = "DIR", default_value = "gareum-quickstart")]
    pub output: PathBuf,
}

#[derive(Debug, Args)]
pub struct Init {
    /// Directory of the project, new or empty
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Make the settings of an ini file with [Path] and [Hyperparameters], without sample data
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Inspect {
    /// Files of rows, with labels or without: csv, tsv, json, jsonl (also .gz, .zst), parquet, xlsx (FILE#SHEET), or
    /// hf://owner/name/subset/split
    #[arg(value_name = "DATA", required = true)]
    pub data: Vec<PathBuf>,
    /// Rows that the best weights are to be chosen by
    #[arg(long, value_name = "FILE")]
    pub validation: Option<PathBuf>,
    /// Rows that the result is to be measured on
    #[arg(long, value_name = "FILE")]
    pub test: Option<PathBuf>,
    #[command(flatten)]
    pub columns: LabelledColumns,
    /// Directory of a tokenizer, to count tokens with
    #[arg(long, value_name = "DIR", conflicts_with = "model")]
    pub tokenizer: Option<PathBuf>,
    /// Model directory, or the name of a model on the hub, whose tokenizer counts tokens
    #[arg(long, value_name = "DIR|NAME")]
    pub model: Option<PathBuf>,
    /// Write a report with plots: an .html file, or a directory for inspect.html
    #[arg(long, value_name = "DIR|FILE")]
    pub report: Option<PathBuf>,
    /// Any setting, several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// Which columns of a file hold texts.
#[derive(Debug, Args)]
pub struct Columns {
    /// Column of the text [default: detected]
    #[arg(long, value_name = "COLUMN")]
    pub text: Option<String>,
    /// Column of the second text of a pair [default: detected]
    #[arg(long, value_name = "COLUMN")]
    pub text_pair: Option<String>,
    /// The file has no row of column names; columns are then called 0, 1, ...
    #[arg(long)]
    pub no_header: bool,
}

/// Which columns of a labelled file hold what, and what the labels are called.
#[derive(Debug, Clone, Args)]
pub struct LabelledColumns {
    /// Column of the text; several times with --stack [default: detected]
    #[arg(long, value_name = "COLUMN")]
    pub text: Vec<String>,
    /// Make an example of each --text column, with the label of the row
    #[arg(long)]
    pub stack: bool,
    /// Column of the second text of a pair [default: detected]
    #[arg(long, value_name = "COLUMN")]
    pub text_pair: Option<String>,
    /// Column of the label; several times for one 0/1 column each [default: detected]
    #[arg(long, value_name = "COLUMN")]
    pub label: Vec<String>,
    /// File with names for the labels: rows such as `0,negative`, one name a line, or a JSON object
    #[arg(long, value_name = "FILE")]
    pub label_map: Option<PathBuf>,
    /// The file has no row of column names; columns are then called 0, 1, ...
    #[arg(long)]
    pub no_header: bool,
}

/// What is trained, on what, and how.
#[derive(Debug, Args)]
pub struct TrainingSettings {
    /// Settings file; flags override it [default: gareum.toml, if there is one here]
    #[arg(value_name = "gareum.toml")]
    pub settings: Option<PathBuf>,
    /// Checkpoint to start from: a directory (config.json, model.safetensors or pytorch_model.bin, tokenizer.json or
    /// vocab.txt) or the name of a repository on the hub, such as klue/bert-base
    #[arg(long, value_name = "DIR|NAME")]
    pub model: Option<PathBuf>,
    /// Branch, tag or commit of a repository on the hub [default: main]
    #[arg(long, value_name = "REVISION")]
    pub revision: Option<String>,
    /// Labelled rows to learn from: csv, tsv, json, jsonl (also .gz), parquet, or hf://owner/name/subset/split
    #[arg(long, value_name = "FILE")]
    pub train: Option<PathBuf>,
    /// Labelled rows to choose the best weights by [default: split off from --train]
    #[arg(long, value_name = "FILE")]
    pub validation: Option<PathBuf>,
    /// Labelled rows to measure the result on [default: split off from --train]
    #[arg(long, value_name = "FILE")]
    pub test: Option<PathBuf>,
    #[command(flatten)]
    pub columns: LabelledColumns,
    /// Column whose equal values (a user, a document) keep rows in the same part [default: none]
    #[arg(long, value_name = "COLUMN")]
    pub group: Option<String>,
    /// Passes over the training rows
    #[arg(long, value_name = "N")]
    pub epochs: Option<u64>,
    /// What the process may take, such as 2.5GiB: batches are cut up to fit [default: what is free]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<String>,
    /// Replace a classification head that was trained for other labels
    #[arg(long)]
    pub reset_head: bool,
    /// Train the generator of an ELECTRA pair too, which classifies worse than the discriminator
    #[arg(long)]
    pub allow_generator: bool,
    /// Any setting, several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Every setting of gareum.toml can be given as --set section.key=value, for example:\n  \
    gareum train --model klue-roberta-base --train reviews.csv --set train.batch_size=32 --set model.max_length=64"
)]
pub struct Train {
    #[command(flatten)]
    pub run: TrainingSettings,
    /// Directory of the trained model
    #[arg(long, short, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Go on from a checkpoint-N directory, or from the latest one in a directory (default: the output directory)
    #[arg(long, value_name = "DIR")]
    pub resume: Option<Option<PathBuf>>,
    /// Stop after so many epochs with a checkpoint from which --resume goes on; the learning rate falls as in the whole run
    #[arg(long, value_name = "EPOCHS", value_parser = at_least_one, conflicts_with_all = ["seeds", "dry_run"])]
    pub pause_after: Option<usize>,
    /// Train with so many seeds, from train.seed on, each into a directory of its own below the output directory, and tell mean and
    /// deviation; --resume takes up what is there
    #[arg(long, value_name = "N", value_parser = at_least_one, conflicts_with = "dry_run")]
    pub seeds: Option<usize>,
    /// Say what memory and time the run would take, from an estimate and a few steps; nothing is written
    #[arg(long)]
    pub dry_run: bool,
    // Standard input belongs to a sweep: a line `stop` is a first Ctrl-C, its end the end of the sweep and of this process.
    #[arg(long, hide = true)]
    pub supervised: bool,
}

#[derive(Debug, Args)]
#[command(
    after_help = "Parameters are settings with values to try; words need no quotes, ranges are for --method random:\n  \
    gareum sweep --train reviews.csv --model klue-bert-base --parameter train.learning_rate=1e-5,3e-5,1e-4 --parameter train.batch_size=16,32\n  \
    gareum sweep gareum.toml --trials 20 --parameter 'train.learning_rate={ min = 1e-5, max = 1e-4, scale = \"log\" }'\n\
    A learning curve over the amount of data:\n  \
    gareum sweep gareum.toml --parameter data.train_share=0.1,0.25,0.5,1"
)]
pub struct Sweep {
    #[command(flatten)]
    pub run: TrainingSettings,
    /// A setting and the values to try, several times
    #[arg(long, short, value_name = "KEY=V1,V2,...")]
    pub parameter: Vec<String>,
    /// Directory of the sweep: trials, sweep.csv, report.html, best.toml
    #[arg(long, short, value_name = "DIR", default_value = "sweep")]
    pub output: PathBuf,
    /// Try every combination, or values drawn at random [default: grid if every parameter is a list and no --trials are given]
    #[arg(long, value_enum)]
    pub method: Option<Method>,
    /// Trials of a random search [default: 20]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub trials: Option<usize>,
    /// Trials at a time: a number, or auto for what threads and memory allow [default: auto]
    #[arg(long, value_name = "N|auto")]
    pub jobs: Option<String>,
    /// Go on with the sweep of the directory, which must be the same
    #[arg(long)]
    pub resume: bool,
    /// Say which trials there would be; nothing is trained or written
    #[arg(long, conflicts_with = "resume")]
    pub dry_run: bool,
}

/// How trials are chosen.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Method {
    // Not documented: clap would make long help of it.
    Grid,
    Random,
}

#[derive(Debug, Args)]
pub struct Evaluate {
    /// Model directory, or the name of a model on the hub
    #[arg(long, value_name = "DIR|NAME")]
    pub model: PathBuf,
    /// Directory of the model that an adapter belongs to [default: where the adapter says]
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// Labelled rows: csv, tsv, json, jsonl (also .gz), parquet, or hf://owner/name/subset/split
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    #[command(flatten)]
    pub columns: LabelledColumns,
    /// What to compute in; auto is what the model was trained in, if the processor is fast in it
    #[arg(long, value_enum, default_value_t)]
    pub precision: Precision,
    /// Column by whose values the results are told apart, several times; the length of texts always is
    #[arg(long, value_name = "COLUMN")]
    pub slice: Vec<String>,
    /// Write index.html with plots, each plot as .svg, metrics.json and predictions.jsonl to this directory
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Compare {
    /// Model directories, names of models on the hub, checkpoints without a head for these labels, or files of predictions; the first is
    /// what the others are measured against
    #[arg(value_name = "[NAME=]MODEL|FILE", required = true, num_args = 2..)]
    pub contestants: Vec<String>,
    /// Labelled rows: csv, tsv, json, jsonl (also .gz), parquet, or hf://owner/name/subset/split
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    #[command(flatten)]
    pub columns: LabelledColumns,
    /// Column of the predicted label in files of predictions [default: detected]
    #[arg(long, value_name = "COLUMN")]
    pub prediction: Option<String>,
    /// What to compute in; auto is what the model was trained in, if the processor is fast in it
    #[arg(long, value_enum, default_value_t)]
    pub precision: Precision,
    /// Write index.html, comparison.md, comparison.json and rows.csv to this directory
    #[arg(long, value_name = "DIR")]
    pub report: Option<PathBuf>,
}

/// What a model is compressed to.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum CompressTo {
    /// Weights of products and embeddings, and inputs of products, in 8 bits
    Int8,
    /// Weights of products in 4 bits, embeddings in 8
    Nf4,
    /// All numbers in 16 bits, the upper half of 32
    Bf16,
    /// All numbers in 16 bits with a longer fraction, up to 65,504
    F16,
    /// Only the words of a corpus, single characters and special tokens, in tokenizer and embeddings
    Trimmed,
    /// Fewer heads, columns of feed-forward halves, or layers: those that matter least on the rows to judge by are gone
    Pruned,
}

#[derive(Debug, Clone, Args)]
pub struct Compress {
    /// Model directory, or the name of a model on the hub
    #[arg(long, value_name = "DIR|NAME")]
    pub model: PathBuf,
    /// Directory of the model that an adapter belongs to [default: where the adapter says]
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// What to make of it
    #[arg(long, value_enum)]
    pub to: CompressTo,
    /// Directory of the compressed model
    #[arg(long, short, value_name = "DIR")]
    pub output: PathBuf,
    /// Labelled rows to judge by, which the model was not trained on [default: the validation rows of its own run]
    #[arg(long, value_name = "FILE")]
    pub data: Option<PathBuf>,
    #[command(flatten)]
    pub columns: LabelledColumns,
    /// The most that may change: points of macro-F1, and percent of labels [default: 0.5,1]
    #[arg(long, value_name = "POINTS,PERCENT")]
    pub gate: Option<String>,
    /// If the gate does not let the model pass, keep the weights that matter most as they are, more and more of them, until it does
    #[arg(long)]
    pub auto: bool,
    /// Leave embeddings as they are: the model is larger, but transformers opens it, with the package compressed-tensors (int8) or
    /// bitsandbytes (nf4)
    #[arg(long)]
    pub wide_embeddings: bool,
    /// Of --to pruned: the share of all heads to take away, for example 0.5; each layer keeps one
    #[arg(long, value_name = "SHARE")]
    pub heads: Option<f64>,
    /// Of --to pruned: the share of each feed-forward half's columns to take away, for example 0.5
    #[arg(long, value_name = "SHARE")]
    pub feed_forward: Option<f64>,
    /// Of --to pruned: how many layers are left
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub layers: Option<usize>,
    /// Of --to pruned: train what is left for so many epochs, by the settings of the model's own run and with the model as its teacher,
    /// before it is judged
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub recover_epochs: Option<usize>,
    /// Of --to trimmed: texts whose words are kept, several times [default: the texts of the model's own run]
    #[arg(long, value_name = "FILE")]
    pub corpus: Vec<PathBuf>,
    /// What everything but the products is computed in; auto is what the model was trained in, if the processor is fast in it
    #[arg(long, value_enum, default_value_t)]
    pub precision: Precision,
}

#[derive(Debug, Subcommand)]
pub enum Export {
    /// Write ONNX files for ONNX Runtime and transformers.js, with config and tokenizer beside them
    Onnx(ExportOnnx),
}

#[derive(Debug, Args)]
#[command(after_help = "For example:\n  \
    gareum export onnx --model models/reviews --output reviews-onnx --int8\n\
    The directory is what transformers.js expects: onnx/model.onnx, onnx/model_quantized.onnx, config.json, tokenizer.json")]
pub struct ExportOnnx {
    /// Model directory, or the name of a model on the hub
    #[arg(long, value_name = "DIR|NAME")]
    pub model: PathBuf,
    /// Directory of the model that an adapter belongs to [default: where the adapter says]
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// Directory of the exported model
    #[arg(long, short, value_name = "DIR")]
    pub output: PathBuf,
    /// Write a second graph, about a quarter of the size, with weights of 8 bits: onnx/model_quantized.onnx
    #[arg(long)]
    pub int8: bool,
}

#[derive(Debug, Args)]
pub struct Calibrate {
    /// Directory of the model; its gareum.json is changed
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Directory of the model that an adapter belongs to [default: where the adapter says]
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// Labelled rows that the model was neither trained nor is tested on: csv, tsv, json, jsonl (also .gz), parquet, or hf://...
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    #[command(flatten)]
    pub columns: LabelledColumns,
    /// What to compute in; auto is what the model was trained in, if the processor is fast in it
    #[arg(long, value_enum, default_value_t)]
    pub precision: Precision,
    /// A setting of [decision], several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

#[derive(Debug, Args)]
pub struct Predict {
    /// Model directory, or the name of a model on the hub
    #[arg(long, value_name = "DIR|NAME")]
    pub model: PathBuf,
    /// Directory of the model that an adapter belongs to [default: where the adapter says]
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// File of texts, or - for standard input, one text a line
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub input: PathBuf,
    /// File to write (.jsonl, .csv or .parquet), or - for JSON lines on standard output
    #[arg(long, short, value_name = "FILE", default_value = "-")]
    pub output: PathBuf,
    /// Go on with a file that was not finished, where it stopped
    #[arg(long)]
    pub resume: bool,
    /// Add a column with what every word has to do with the labels, by occlusion (see `gareum explain`)
    #[arg(long)]
    pub explain: bool,
    #[command(flatten)]
    pub columns: Columns,
    /// What to compute in; auto is what the model was trained in, if the processor is fast in it
    #[arg(long, value_enum, default_value_t)]
    pub precision: Precision,
    /// Write only the N best labels in `scores`
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub top_k: Option<usize>,
}

/// How words get their scores.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ExplainMethod {
    /// By how much the label's probability falls without the word
    Occlusion,
    /// Gradient of the label's logit times the embeddings: fast, and only true nearby
    GradientInput,
    /// The gradient's mean on the way from a text of padding: scores add up to the logit's difference
    IntegratedGradients,
}

impl From<ExplainMethod> for explain::Method {
    fn from(method: ExplainMethod) -> Self {
        match method {
            ExplainMethod::Occlusion => Self::Occlusion,
            ExplainMethod::GradientInput => Self::GradientInput,
            ExplainMethod::IntegratedGradients => Self::IntegratedGradients,
        }
    }
}

/// What is a word.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum ExplainUnits {
    /// What stands between blanks
    Words,
    /// The same, with Korean particles apart from what they follow
    Particles,
}

impl From<ExplainUnits> for Units {
    fn from(units: ExplainUnits) -> Self {
        match units {
            ExplainUnits::Words => Self::Words,
            ExplainUnits::Particles => Self::Particles,
        }
    }
}

#[derive(Debug, Args)]
#[command(after_help = "For example:\n  \
    gareum explain --model models/reviews --text 'the delivery was late but the food was great'\n  \
    gareum explain --model models/reviews --input reviews.csv --output reviews.html")]
pub struct Explain {
    /// Model directory, or the name of a model on the hub
    #[arg(long, value_name = "DIR|NAME")]
    pub model: PathBuf,
    /// Directory of the model that an adapter belongs to [default: where the adapter says]
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// A text to explain
    #[arg(long, value_name = "TEXT", required_unless_present = "input")]
    pub text: Option<String>,
    /// The second text of a pair
    #[arg(long, value_name = "TEXT", requires = "text")]
    pub text_pair: Option<String>,
    /// File of texts, or - for standard input, one text a line
    #[arg(long, short, value_name = "FILE", conflicts_with = "text")]
    pub input: Option<PathBuf>,
    /// Column of the text in the file [default: detected]
    #[arg(long, value_name = "COLUMN", requires = "input")]
    pub text_column: Option<String>,
    /// Column of the second text of a pair in the file [default: detected]
    #[arg(long, value_name = "COLUMN", requires = "input")]
    pub text_pair_column: Option<String>,
    /// The file has no row of column names; columns are then called 0, 1, ...
    #[arg(long, requires = "input")]
    pub no_header: bool,
    /// How words get their scores
    #[arg(long, value_enum, default_value = "occlusion")]
    pub method: ExplainMethod,
    /// A label to explain, several times [default: those that the model gives]
    #[arg(long, value_name = "LABEL")]
    pub labels: Vec<String>,
    /// What is a word
    #[arg(long, value_enum, default_value = "words")]
    pub units: ExplainUnits,
    /// Leave words out instead of hiding them behind the tokenizer's mask token
    #[arg(long)]
    pub drop: bool,
    /// Give each word the mean score of so many neighbours
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = at_least_one)]
    pub window: usize,
    /// Points on the way of integrated gradients
    #[arg(long, value_name = "N", default_value_t = STEPS, value_parser = at_least_one)]
    pub steps: usize,
    /// Words that are listed below a text
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = at_least_one)]
    pub top_k: usize,
    /// File to write (.jsonl or .html), or - for JSON lines on standard output [default: shown here]
    #[arg(long, short, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What to compute in; auto is what the model was trained in, if the processor is fast in it
    #[arg(long, value_enum, default_value_t)]
    pub precision: Precision,
}

#[derive(Debug, Args)]
#[command(
    after_help = "A flag is stronger than a variable (GAREUM_SERVE_PORT, GAREUM_SERVE_QUEUE_MAX_TOKENS, ...), that than the file, for example:\n  \
    gareum serve --model reviews=models/first --model topics=models/topics --port 8080 --set limits.texts=256"
)]
pub struct Serve {
    /// Model to serve, several times: its directory or its name on the hub, after a name for requests and `=` or not; the first
    /// answers where a request names none [default: those of the settings]
    #[arg(long, value_name = "[NAME=]DIR|NAME")]
    pub model: Vec<String>,
    /// Directory of the model that the adapters among --model belong to, which they then share in memory [default: where each says]
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// Settings file [default: serve.toml, if there is one here]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address to listen at; 0.0.0.0 for all of this machine [default: 127.0.0.1]
    #[arg(long, value_name = "ADDRESS")]
    pub host: Option<String>,
    /// Port to listen at; 0 takes a free one [default: 8080]
    #[arg(long, value_name = "PORT")]
    pub port: Option<u16>,
    /// File of API keys, one a line, with a name and `=` before it or not [default: everybody may ask]
    #[arg(long, value_name = "FILE")]
    pub api_keys: Option<PathBuf>,
    /// What to compute in [default: what each model was trained in, if the processor is fast in it]
    #[arg(long, value_enum)]
    pub precision: Option<Precision>,
    /// Any setting, several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Serve nothing: ask a server whether it is ready, and end with 0 if it is, as health checks of containers do
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "")]
    pub check: Option<String>,
}

#[derive(Debug, Args)]
pub struct Merge {
    /// Directory of the adapter
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Directory of the model that an adapter belongs to [default: where the adapter says]
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// Directory of the plain model
    #[arg(long, short, value_name = "DIR")]
    pub output: PathBuf,
}

#[derive(Debug, Args)]
#[command(subcommand_negates_reqs = true)]
pub struct Bench {
    #[command(subcommand)]
    pub machine: Option<BenchMachine>,
    /// Model directory, or the name of a model on the hub
    #[arg(long, value_name = "DIR|NAME", required = true)]
    pub model: Option<PathBuf>,
    /// Directory of the model that an adapter belongs to [default: where the adapter says]
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// File of texts to predict [default: texts of random tokens, 29 on average]
    #[arg(long, short, value_name = "FILE")]
    pub input: Option<PathBuf>,
    #[command(flatten)]
    pub columns: Columns,
    /// What to compute in; auto is what the model was trained in, if the processor is fast in it
    #[arg(long, value_enum, default_value_t)]
    pub precision: Precision,
    /// Texts of a training batch
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = at_least_one)]
    pub batch_size: usize,
    /// Tokens of the single text whose latency is measured
    #[arg(long, value_name = "N", default_value_t = 28, value_parser = at_least_one)]
    pub latency_tokens: usize,
    /// Passes over the texts
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = at_least_one)]
    pub rounds: usize,
    /// Training steps to time at most
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = at_least_one)]
    pub steps: usize,
    /// Measure training steps too
    #[arg(long)]
    pub training: bool,
}

#[derive(Debug, Subcommand)]
pub enum BenchMachine {
    /// Measure what the processor and its memory can reach, and products of models beside it
    Cpu(BenchCpu),
}

#[derive(Debug, Args)]
pub struct BenchCpu {
    /// Measurements of each product; 0 leaves products out
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub rounds: usize,
}

/// What a model computes in.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub enum Precision {
    // Not documented: clap would make long help of it.
    #[default]
    Auto,
    F32,
    Bf16,
}

impl From<Precision> for PrecisionSetting {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::Auto => Self::Auto,
            Precision::F32 => Self::F32,
            Precision::Bf16 => Self::Bf16,
        }
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("expected a whole number of at least 1".to_owned()),
    }
}
