//! Two models one behind the other: the keywords that a text speaks of, and what it feels about each. Or one model for both.
//!
//! A chain is a directory with `chain.toml` and a directory for each model, each of which is a model like any other. Read `train.rs` for how
//! they come about, `template.rs` for what the second one reads.
//!
//! Not here: reading annotated files (`data/label_values.rs`: an aspect is a label of two words), measures (`metrics/aspects.rs`).

mod evaluate;
mod explain;
mod template;
mod train;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::data::{ColumnRequest, DataError, Input, LabelSchema, Task, aspect, keyword_and_polarity};
use crate::explain::ExplainError;
use crate::files::WriteError;
use crate::metrics::MetricsError;
use crate::predict::{PredictError, Prediction, Predictor};
use crate::settings::{ChainKind, ChainSettings, Part, PrecisionSetting, SettingsError};
use crate::train::TrainError;

pub use evaluate::ChainEvaluation;
pub use template::Template;
pub use train::{ChainPart, PreparedChain, prepare, save};

/// Why a chain cannot be made or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// `chain.toml`.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// One of its models.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// Training one of them.
    #[error(transparent)]
    Train(Box<TrainError>),
    /// The annotated rows.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Figures of rows that do not belong together.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// An explanation.
    #[error(transparent)]
    Explain(Box<ExplainError>),
    /// A label without a sentiment.
    #[error(
        "{place}: the label `{label}` is no keyword with a sentiment\nhint: write `배송 -1`, or objects with a `keyword` and a `sentiment`; with one column for each keyword set data.polarities = true and name them all in data.label"
    )]
    NoAspect {
        /// The file, or the model.
        place: String,
        /// The label.
        label: String,
    },
    /// A model of another kind than its place asks for.
    #[error("{}: the {part} model of a chain is {expected}, this one is {found}\nhint: see `parts` in chain.toml", path.display())]
    PartTask {
        /// The model.
        path: PathBuf,
        /// Its place.
        part: &'static str,
        /// Its task.
        found: Task,
        /// What it should be.
        expected: &'static str,
    },
}

impl From<TrainError> for ChainError {
    fn from(error: TrainError) -> Self {
        Self::Train(Box::new(error))
    }
}

impl From<ExplainError> for ChainError {
    fn from(error: ExplainError) -> Self {
        Self::Explain(Box::new(error))
    }
}

/// Keywords and sentiments, whose places are their ids.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AspectSchema {
    /// The keywords.
    pub keywords: Vec<String>,
    /// What can be felt about each.
    pub sentiments: Vec<String>,
}

impl AspectSchema {
    /// What labels of two words consist of, each in the order in which it occurs first; `place` is where they come from.
    pub(crate) fn of_labels(labels: &[String], place: &str) -> Result<(Self, Vec<(u32, u32)>), ChainError> {
        let mut schema = Self {
            keywords: Vec::new(),
            sentiments: Vec::new(),
        };
        let mut pairs = Vec::with_capacity(labels.len());
        for label in labels {
            let (keyword, sentiment) = keyword_and_polarity(label).ok_or_else(|| ChainError::NoAspect {
                place: place.to_owned(),
                label: label.clone(),
            })?;
            pairs.push((
                id_in(&mut schema.keywords, keyword),
                id_in(&mut schema.sentiments, sentiment),
            ));
        }
        Ok((schema, pairs))
    }

    /// All keywords with all sentiments, as labels.
    pub fn labels(&self) -> LabelSchema {
        let of_keyword = |keyword: &String| {
            let sentiments = self.sentiments.iter();
            sentiments
                .map(|sentiment| aspect(keyword, sentiment))
                .collect::<Vec<_>>()
        };
        LabelSchema {
            task: Task::MultiLabel,
            names: self.keywords.iter().flat_map(of_keyword).collect(),
        }
    }
}

fn id_in(names: &mut Vec<String>, name: &str) -> u32 {
    let place = names.iter().position(|known| known == name).unwrap_or_else(|| {
        names.push(name.to_owned());
        names.len() - 1
    });
    place as u32
}

/// What a text feels about one keyword.
#[derive(Debug, Clone, PartialEq)]
pub struct Aspect {
    /// The keyword's id.
    pub keyword: u32,
    /// How sure the model is that the text speaks of it.
    pub probability: f64,
    /// The sentiment: probabilities of all, and the one chosen.
    pub sentiment: Prediction,
}

/// What a chain makes of one text.
#[derive(Debug, Clone, PartialEq)]
pub struct ChainPrediction {
    /// Probabilities of all keywords, and those chosen.
    pub keywords: Prediction,
    /// The keywords chosen, the surest first.
    pub aspects: Vec<Aspect>,
}

/// The columns that a predictions file of a chain has behind those of the input.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AspectColumns {
    /// Each keyword with its sentiment, as in an annotated file: `배송 부정`.
    pub label: Vec<String>,
    /// For each of them `keyword`, `probability`, `sentiment`, its `score` and the `scores` of all sentiments: a column that can be trained on.
    pub aspects: Vec<Value>,
    /// Probability of each keyword.
    pub keywords: Map<String, Value>,
}

/// A saved chain on new texts.
#[derive(Debug, Clone)]
pub struct Chain {
    schema: AspectSchema,
    models: Models,
    settings: ChainSettings,
}

#[derive(Debug, Clone)]
enum Models {
    Chain {
        keyword: Arc<Predictor>,
        sentiment: Arc<Predictor>,
        template: Template,
    },
    /// One, and what each of its labels consists of.
    Pairs { pairs: Arc<Predictor>, of: Vec<(u32, u32)> },
}

impl Chain {
    /// Whether a path is a chain: a directory with `chain.toml`, or such a file.
    pub fn is_at(path: &Path) -> bool {
        match path.is_dir() {
            true => path.join(ChainSettings::FILE).is_file(),
            false => path.extension().is_some_and(|extension| extension == "toml") && path.is_file(),
        }
    }

    /// Reads a chain. `precision` is that of [`Predictor::load`].
    ///
    /// # Errors
    /// [`ChainError`] names the file and what is wrong with it.
    pub fn load(path: &Path, precision: PrecisionSetting) -> Result<Self, ChainError> {
        Self::load_by(path, &|model| Predictor::load(model, precision))
    }

    /// Reads a chain for [`Chain::explain`] with gradients, see [`Predictor::load_for_gradients`].
    ///
    /// # Errors
    /// As [`Chain::load`].
    pub fn load_for_gradients(path: &Path) -> Result<Self, ChainError> {
        Self::load_by(path, &|model| Predictor::load_for_gradients(model, None))
    }

    fn load_by(path: &Path, read: &dyn Fn(&Path) -> Result<Predictor, PredictError>) -> Result<Self, ChainError> {
        let settings = ChainSettings::of_model(path)?;
        let load = |part: Part, expected: Task, words: &'static str| -> Result<Arc<Predictor>, ChainError> {
            let path = settings.parts.path(part);
            let predictor = read(path)?;
            match predictor.schema().task {
                found if found == expected => Ok(Arc::new(predictor)),
                found => Err(ChainError::PartTask {
                    path: path.to_owned(),
                    part: part.name(),
                    found,
                    expected: words,
                }),
            }
        };
        match settings.kind {
            ChainKind::Chain => {
                let keyword = load(Part::Keyword, Task::MultiLabel, "multi_label")?;
                let sentiment = load(Part::Sentiment, Task::SingleLabel, "single_label")?;
                let schema = AspectSchema {
                    keywords: keyword.schema().names.clone(),
                    sentiments: sentiment.schema().names.clone(),
                };
                let models = Models::Chain {
                    keyword,
                    sentiment,
                    template: settings.filled_template()?,
                };
                Ok(Self {
                    schema,
                    models,
                    settings,
                })
            }
            ChainKind::Pairs => {
                let pairs = load(Part::Pairs, Task::MultiLabel, "multi_label")?;
                let place = settings.parts.path(Part::Pairs).display().to_string();
                let (schema, of) = AspectSchema::of_labels(&pairs.schema().names, &place)?;
                let models = Models::Pairs { pairs, of };
                Ok(Self {
                    schema,
                    models,
                    settings,
                })
            }
        }
    }

    /// The columns that its data had.
    pub fn known_columns(&self) -> ColumnRequest {
        self.settings.data.columns()
    }

    /// Keywords and sentiments.
    pub fn schema(&self) -> &AspectSchema {
        &self.schema
    }

    /// The model that reads texts as they are: for keywords, or for both.
    pub fn first(&self) -> &Arc<Predictor> {
        match &self.models {
            Models::Chain { keyword, .. } => keyword,
            Models::Pairs { pairs, .. } => pairs,
        }
    }

    /// The model that answers [`Chain::questions`], where there is one.
    pub fn second(&self) -> Option<&Arc<Predictor>> {
        match &self.models {
            Models::Chain { sentiment, .. } => Some(sentiment),
            Models::Pairs { .. } => None,
        }
    }

    /// Predicts, in order: keywords of all texts first, then the sentiments of all keywords of all texts together.
    ///
    /// # Errors
    /// [`ChainError`] if a text cannot be tokenized.
    pub fn predict(
        &self,
        inputs: &[Input],
        progress: &mut dyn FnMut(usize),
    ) -> Result<Vec<ChainPrediction>, ChainError> {
        let first = self.first().predict(inputs, progress)?;
        let questions: Vec<Input> = inputs
            .iter()
            .zip(&first)
            .flat_map(|(input, first)| self.questions(input, first))
            .collect();
        let mut sentiments = match &self.models {
            Models::Chain { sentiment, .. } => sentiment.predict(&questions, &mut |_| ())?,
            Models::Pairs { .. } => Vec::new(),
        }
        .into_iter();
        Ok(first
            .into_iter()
            .map(|first| self.combine(first, &mut sentiments))
            .collect())
    }

    /// What the second model is to read of a text of which the first says this: one input for each keyword, or nothing if one model does both.
    pub fn questions(&self, input: &Input, first: &Prediction) -> Vec<Input> {
        let Models::Chain { template, .. } = &self.models else {
            return Vec::new();
        };
        let keywords = first.classes.iter().map(|id| &self.schema.keywords[*id as usize]);
        keywords.map(|keyword| template.fill(&input.text, keyword)).collect()
    }

    /// What the first model says of a text, with the answers to [`Chain::questions`], as many of which are taken as there were.
    pub fn combine(&self, first: Prediction, sentiments: &mut dyn Iterator<Item = Prediction>) -> ChainPrediction {
        match &self.models {
            Models::Pairs { of, .. } => self.of_pairs(&first, of),
            Models::Chain { .. } => {
                // The classes come first: of these there are as many as answers, and no answer of another text is taken.
                let found = first.classes.iter().zip(sentiments);
                let aspects = found.map(|(&keyword, sentiment)| Aspect {
                    keyword,
                    probability: first.scores[keyword as usize],
                    sentiment,
                });
                let aspects = surest_first(aspects.collect());
                ChainPrediction {
                    keywords: first,
                    aspects,
                }
            }
        }
    }

    /// The sentiment of each keyword that is asked for, text by text, as if all of them were spoken of.
    ///
    /// # Errors
    /// [`ChainError`] if a text cannot be tokenized.
    pub fn sentiments(&self, inputs: &[Input], keywords: &[Vec<u32>]) -> Result<Vec<Prediction>, ChainError> {
        match &self.models {
            Models::Chain {
                sentiment, template, ..
            } => {
                let filled = inputs.iter().zip(keywords).flat_map(|(input, keywords)| {
                    let names = keywords.iter().map(|id| &self.schema.keywords[*id as usize]);
                    names.map(|name| template.fill(&input.text, name))
                });
                Ok(sentiment.predict(&filled.collect::<Vec<_>>(), &mut |_| ())?)
            }
            Models::Pairs { pairs, of } => {
                let predictions = pairs.predict(inputs, &mut |_| ())?;
                let asked = predictions.iter().zip(keywords).flat_map(|(prediction, keywords)| {
                    keywords
                        .iter()
                        .map(|keyword| self.sentiment_in(prediction, of, *keyword))
                });
                Ok(asked.collect())
            }
        }
    }

    /// A prediction as columns of a file.
    pub fn columns(&self, prediction: &ChainPrediction) -> AspectColumns {
        let sentiment_of = |aspect: &Aspect| aspect.sentiment.classes.first().copied().unwrap_or_default() as usize;
        let name = |aspect: &Aspect| &self.schema.keywords[aspect.keyword as usize];
        let value = |aspect: &Aspect| {
            let scores = self.schema.sentiments.iter().cloned().zip(&aspect.sentiment.scores);
            let scores: Map<String, Value> = scores.map(|(name, score)| (name, json!(score))).collect();
            let chosen = sentiment_of(aspect);
            json!({
                "keyword": name(aspect),
                "probability": aspect.probability,
                "sentiment": self.schema.sentiments[chosen],
                "score": aspect.sentiment.scores[chosen],
                "scores": scores,
            })
        };
        let label = |found: &Aspect| aspect(name(found), &self.schema.sentiments[sentiment_of(found)]);
        let keywords = self.schema.keywords.iter().cloned().zip(&prediction.keywords.scores);
        AspectColumns {
            label: prediction.aspects.iter().map(label).collect(),
            aspects: prediction.aspects.iter().map(value).collect(),
            keywords: keywords.map(|(name, score)| (name, json!(score))).collect(),
        }
    }

    /// What a prediction of keywords with sentiments says of keywords, and of the sentiment of each: a keyword is as sure as the surest of its labels.
    fn of_pairs(&self, prediction: &Prediction, of: &[(u32, u32)]) -> ChainPrediction {
        let best = |values: &dyn Fn(usize) -> f64, keyword: u32| {
            let labels = of.iter().enumerate().filter(|(_, (other, _))| *other == keyword);
            labels.map(|(label, _)| values(label)).fold(f64::NEG_INFINITY, f64::max)
        };
        let all = 0..self.schema.keywords.len() as u32;
        let mut classes: Vec<u32> = prediction.classes.iter().map(|label| of[*label as usize].0).collect();
        classes.sort_unstable();
        classes.dedup();
        let keywords = Prediction {
            logits: all
                .clone()
                .map(|keyword| best(&|label| prediction.logits[label].into(), keyword) as f32)
                .collect(),
            scores: all
                .map(|keyword| best(&|label| prediction.scores[label], keyword))
                .collect(),
            classes,
            abstained: prediction.abstained,
        };
        let aspects = keywords.classes.iter().map(|&keyword| Aspect {
            keyword,
            probability: keywords.scores[keyword as usize],
            sentiment: self.sentiment_in(prediction, of, keyword),
        });
        let aspects = surest_first(aspects.collect());
        ChainPrediction { keywords, aspects }
    }

    /// The sentiment of a keyword: its labels beside each other, as far as the model has them.
    fn sentiment_in(&self, prediction: &Prediction, of: &[(u32, u32)], keyword: u32) -> Prediction {
        let label = |sentiment: usize| of.iter().position(|pair| *pair == (keyword, sentiment as u32));
        let count = self.schema.sentiments.len();
        let odds = (0..count).map(|sentiment| label(sentiment).map_or(0.0, |label| prediction.scores[label]));
        let odds: Vec<f64> = odds.collect();
        let sum = odds.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let chosen = (0..count).max_by(|one, other| odds[*one].total_cmp(&odds[*other]));
        Prediction {
            logits: (0..count)
                .map(|sentiment| label(sentiment).map_or(f32::NEG_INFINITY, |label| prediction.logits[label]))
                .collect(),
            scores: odds.iter().map(|odds| odds / sum).collect(),
            classes: chosen.map(|chosen| chosen as u32).into_iter().collect(),
            abstained: false,
        }
    }
}

fn surest_first(mut aspects: Vec<Aspect>) -> Vec<Aspect> {
    aspects.sort_by(|one, other| other.probability.total_cmp(&one.probability));
    aspects
}
