//! Which words made a model say what it says.
//!
//! Three methods give every word a score for a label, positive where the word speaks for it:
//! - occlusion (`occlusion.rs`): the probability with the word minus that without it. All variants of all texts go through the model packed.
//! - gradient × input and integrated gradients (`gradients.rs`): how the label's logit follows from the embeddings of its tokens.
//!
//! Words (`reading.rs`, `particles.rs`) are places in the texts as they were given, counted in characters (Unicode scalar values). The
//! tokenizer says which bytes of what it was given a token stands for; where the model's cleaning steps change a text before,
//! [`crate::data::normalize_aligned`] says which characters each changed one comes from. So offsets point into the original whatever was done
//! to it.
//!
//! Not here: colours and pages for people (`page.rs`, and `explain` of the command line), the texts themselves being cut (`tokens`).

mod gradients;
mod occlusion;
mod page;
mod particles;
mod reading;
mod span;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::data::{Input, LabelSchema, listed};
use crate::predict::{PredictError, Prediction, Predictor};

pub use page::{MOST_TEXTS, PageInfo, page, pieces, strongest};
pub use reading::Characters;
use reading::Reading;

/// Points between baseline and text, unless told otherwise: what Captum takes.
pub const STEPS: usize = 50;

/// More points or words are a mistake.
const MOST: usize = 1000;

/// How texts are explained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How words get their scores. Default: occlusion.
    pub method: Method,
    /// Of which labels. Default: those that the model gives.
    pub labels: Labels,
    /// Occlusion: leave words out instead of putting the tokenizer's mask token there. Default: only where there is no such token.
    pub drop: bool,
    /// What is a word. Default: what stands between blanks.
    pub units: Units,
    /// So many neighbouring words have their mean in `smoothed`, from which the best span is then found. Default 1: nothing is smoothed.
    pub window: usize,
    /// Integrated gradients: points between baseline and text. Default [`STEPS`].
    pub steps: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            method: Method::default(),
            labels: Labels::default(),
            drop: false,
            units: Units::default(),
            window: 1,
            steps: STEPS,
        }
    }
}

/// How words get their scores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// By how much the probability falls without the word (Zeiler and Fergus 2014, section 4.2, <https://arxiv.org/abs/1311.2901>; for texts
    /// Li et al. 2016, <https://arxiv.org/abs/1612.08220>).
    #[default]
    Occlusion,
    /// Gradient of the logit times the embedding (Shrikumar et al. 2016, <https://arxiv.org/abs/1605.01713>).
    GradientInput,
    /// The gradient's mean on the way from a baseline times the difference to it (Sundararajan et al. 2017,
    /// <https://arxiv.org/abs/1703.01365>).
    IntegratedGradients,
}

impl Method {
    /// Its name in settings and results.
    pub fn name(self) -> &'static str {
        match self {
            Self::Occlusion => "occlusion",
            Self::GradientInput => "gradient_input",
            Self::IntegratedGradients => "integrated_gradients",
        }
    }

    /// Whether it needs a model of [`Predictor::load_for_gradients`].
    pub fn needs_gradients(self) -> bool {
        self != Self::Occlusion
    }
}

/// Which labels are explained: `"predicted"`, or a list of names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "LabelsForm", into = "LabelsForm")]
pub enum Labels {
    /// Those that the model gives each text; for a regression its number.
    #[default]
    Predicted,
    /// These, whatever the model says.
    Named(Vec<String>),
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum LabelsForm {
    Word(String),
    Names(Vec<String>),
}

impl TryFrom<LabelsForm> for Labels {
    type Error = String;

    fn try_from(form: LabelsForm) -> Result<Self, String> {
        match form {
            LabelsForm::Names(names) => Ok(Self::Named(names)),
            LabelsForm::Word(word) if word == "predicted" => Ok(Self::Predicted),
            LabelsForm::Word(word) => Err(format!(
                "labels is \"{word}\", expected \"predicted\" or a list of names"
            )),
        }
    }
}

impl From<Labels> for LabelsForm {
    fn from(labels: Labels) -> Self {
        match labels {
            Labels::Predicted => Self::Word("predicted".to_owned()),
            Labels::Named(names) => Self::Names(names),
        }
    }
}

/// What is a word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Units {
    /// What stands between blanks.
    #[default]
    Words,
    /// The same, with Korean particles apart from what they follow: `배송은` is `배송` and `은`.
    Particles,
}

/// Why a text cannot be explained.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExplainError {
    /// Tokenizing or predicting.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// A label that the model does not have.
    #[error("`{label}` is no label of the model\nhint: its labels are {known}")]
    Label {
        /// What was asked for.
        label: String,
        /// What there is.
        known: String,
    },
    /// An option is out of its range.
    #[error("{option} is {found}, expected a number from 1 to {MOST}")]
    Range {
        /// Its name.
        option: &'static str,
        /// What was asked for.
        found: usize,
    },
    /// Gradients were asked of a model that was loaded for prediction.
    #[error("{} needs a model whose weights are not packed for prediction\nhint: load it by Predictor::load_for_gradients", method.name())]
    Packed {
        /// What was asked for.
        method: Method,
    },
}

impl From<tensor::Error> for ExplainError {
    fn from(error: tensor::Error) -> Self {
        Self::Predict(error.into())
    }
}

/// What the words of a text have to do with its labels.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Explanation {
    /// The text as it was given.
    pub text: String,
    /// The second text of a pair.
    pub text_pair: Option<String>,
    /// What the model says, as in predictions: a name, a list of names, the number of a regression, or null where it abstains.
    pub label: Value,
    /// Probability of each label.
    pub scores: Map<String, Value>,
    /// How words got their scores.
    pub method: Method,
    /// One for each label that is explained.
    pub maps: Vec<LabelMap>,
    /// What of the text the model did not see because it is too long.
    pub unread: Option<Characters>,
    /// The same of the second text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unread_pair: Option<Characters>,
}

/// What each word has to do with one label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LabelMap {
    /// The label.
    pub label: String,
    /// Its probability; the predicted number itself for regression.
    pub probability: f64,
    /// The words that the model saw, in order, those of a second text behind those of the first.
    pub words: Vec<Word>,
    /// The neighbouring words that stand out most; none if no score is positive.
    pub best: Option<BestSpan>,
    /// Integrated gradients: whether the scores add up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completeness: Option<Completeness>,
}

/// What a word has to do with a label.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Word {
    /// Number of its first character in the text.
    pub start: usize,
    /// Number of the character behind its last.
    pub end: usize,
    /// The characters.
    pub text: String,
    /// Whether it stands in the second text of a pair.
    #[serde(skip_serializing_if = "is_false")]
    pub pair: bool,
    /// Positive if it speaks for the label. Occlusion: `probability` of the map minus that without the word. Gradients: its part in the logit.
    pub score: f64,
    /// The mean of its score and its neighbours', if a window was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smoothed: Option<f64>,
    /// Occlusion: the probability without the word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f64>,
}

impl Word {
    /// The score to show: the smoothed one, where there is one.
    pub fn shown_score(&self) -> f64 {
        self.smoothed.unwrap_or(self.score)
    }
}

/// Neighbouring words.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BestSpan {
    /// Number of the first character.
    pub start: usize,
    /// Number of the character behind the last.
    pub end: usize,
    /// Whether they stand in the second text of a pair.
    #[serde(skip_serializing_if = "is_false")]
    pub pair: bool,
    /// The sum of their scores (smoothed, if a window was asked for).
    pub score: f64,
}

/// Whether scores add up to what they are to explain.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Completeness {
    /// The label's logit.
    pub logit: f64,
    /// Its logit for the baseline.
    pub baseline: f64,
    /// The sum of the scores of all tokens, also of those that belong to no word.
    pub sum: f64,
    /// `sum - (logit - baseline)`: how far the integral is off. More steps make it smaller.
    pub error: f64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands it over so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// Explains texts, in order. Any number is fine: what is in memory at a time is bounded but for the results.
///
/// # Errors
/// [`ExplainError`] if an option does not go with the model, or a text cannot be tokenized.
pub fn explain(predictor: &Predictor, inputs: &[Input], options: &Options) -> Result<Vec<Explanation>, ExplainError> {
    check(predictor, options)?;
    explain_readings(predictor, &Reading::all(predictor, inputs, options.units)?, options)
}

/// As [`explain`], of the words in one part of each text: in the second text or not, and which characters. Places are counted from its beginning.
///
/// # Errors
/// As [`explain`].
pub(crate) fn explain_parts(
    predictor: &Predictor,
    inputs: &[Input],
    parts: &[(bool, Characters)],
    options: &Options,
) -> Result<Vec<Explanation>, ExplainError> {
    check(predictor, options)?;
    let mut readings = Reading::all(predictor, inputs, options.units)?;
    for (reading, (is_pair, part)) in readings.iter_mut().zip(parts) {
        reading.keep(*is_pair, *part);
    }
    explain_readings(predictor, &readings, options)
}

fn explain_readings(
    predictor: &Predictor,
    readings: &[Reading<'_>],
    options: &Options,
) -> Result<Vec<Explanation>, ExplainError> {
    let mut explanations = match options.method {
        Method::Occlusion => occlusion::explain(predictor, readings, options)?,
        Method::GradientInput | Method::IntegratedGradients => gradients::explain(predictor, readings, options)?,
    };
    for map in explanations.iter_mut().flat_map(|explanation| &mut explanation.maps) {
        span::finish(map, options.window);
    }
    Ok(explanations)
}

/// Fails where [`explain`] would whatever the texts: for who wants to know before reading them.
///
/// # Errors
/// As [`explain`].
pub fn check(predictor: &Predictor, options: &Options) -> Result<(), ExplainError> {
    for (option, found) in [("window", options.window), ("steps", options.steps)] {
        if !(1..=MOST).contains(&found) {
            return Err(ExplainError::Range { option, found });
        }
    }
    if options.method.needs_gradients() && predictor.model().is_packed() {
        return Err(ExplainError::Packed { method: options.method });
    }
    named(&options.labels, predictor.schema()).map(|_| ())
}

/// The ids of labels that were asked for by name.
fn named(labels: &Labels, schema: &LabelSchema) -> Result<Option<Vec<u32>>, ExplainError> {
    let Labels::Named(names) = labels else {
        return Ok(None);
    };
    let id = |name: &String| {
        schema.id_of(name).ok_or_else(|| ExplainError::Label {
            label: name.clone(),
            known: listed(schema.names.iter().map(String::as_str)),
        })
    };
    names.iter().map(id).collect::<Result<_, _>>().map(Some)
}

/// The labels of a text that are explained.
fn explained(labels: &Labels, prediction: &Prediction, schema: &LabelSchema) -> Result<Vec<u32>, ExplainError> {
    Ok(match named(labels, schema)? {
        Some(ids) => ids,
        None if schema.task == crate::data::Task::Regression => vec![0],
        None => prediction.classes.clone(),
    })
}

/// An explanation whose maps have what `map_of` gives for each label.
fn explanation(
    predictor: &Predictor,
    reading: &Reading<'_>,
    prediction: &Prediction,
    options: &Options,
    mut map_of: impl FnMut(usize) -> Result<Scored, ExplainError>,
) -> Result<Explanation, ExplainError> {
    let schema = predictor.schema();
    let mut maps = Vec::new();
    for id in explained(&options.labels, prediction, schema)? {
        let scored = map_of(id as usize)?;
        let scores = scored.scores.into_iter().zip(scored.probabilities);
        let words = reading.words.iter().zip(scores);
        maps.push(LabelMap {
            label: schema.name_of(id).unwrap_or_default().to_owned(),
            probability: prediction.scores[id as usize],
            words: words
                .map(|(word, (score, probability))| Word {
                    start: word.place.start,
                    end: word.place.end,
                    text: word.text.clone(),
                    pair: word.pair,
                    score,
                    smoothed: None,
                    probability,
                })
                .collect(),
            best: None,
            completeness: scored.completeness,
        });
    }
    let columns = prediction.columns(schema, None);
    let [unread, unread_pair] = reading.unread;
    Ok(Explanation {
        text: reading.input.text.clone(),
        text_pair: reading.input.text_pair.clone(),
        label: columns.label,
        scores: columns.scores,
        method: options.method,
        maps,
        unread,
        unread_pair,
    })
}

/// What a method found for one label: numbers of each word.
struct Scored {
    scores: Vec<f64>,
    probabilities: Vec<Option<f64>>,
    completeness: Option<Completeness>,
}
