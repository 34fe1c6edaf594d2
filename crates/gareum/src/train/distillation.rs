//! What a teacher says of the rows that a student is trained on: worked out once before the first step and kept, which, since a teacher
//! drops nothing out, is what it would say in every step.
//!
//! Not here: what it costs to say something else (`head/distillation.rs`), and files of predictions (`teacher_file.rs`).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tensor::Tensor;
use tensor::random::combine;

use super::{Event, Prepared, TrainError, teacher_file};
use crate::data::{DataError, Input, LabelSchema, Place, Target, Task, listed};
use crate::head::{Distillation, Taught};
use crate::hub::local_model;
use crate::model::Model;
use crate::predict::{PredictError, Predictor};
use crate::settings::{DistillationSettings, PrecisionSetting, Settings};

/// Texts that a teacher is asked for at a time.
const CHUNK: usize = 2048;

/// What a teacher says of the rows that are trained on.
#[derive(Debug, Clone)]
pub struct Lessons {
    /// `[rows, labels]`, labels in the student's order.
    logits: Tensor,
    labels: usize,
    hidden: Option<Hidden>,
    distillation: Distillation,
    labelled: usize,
}

/// What a teacher's head gets of the rows.
#[derive(Debug, Clone)]
struct Hidden {
    /// `[rows, hidden_size]`
    values: Tensor,
    /// See [`DistillationSettings::hidden_weight`].
    weight: f64,
}

/// Why a teacher cannot teach.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TeacherError {
    /// It is a model that cannot be used.
    #[error(transparent)]
    Predict(#[from] PredictError),
    /// It is a file that cannot be read.
    #[error(transparent)]
    Data(#[from] DataError),
    /// It was trained for other labels.
    #[error(
        "{}: the teacher knows {teacher}, the data has {data}\nhint: a teacher must have been trained for the very labels of the data",
        path.display()
    )]
    Labels {
        /// The teacher.
        path: PathBuf,
        /// Its task and labels.
        teacher: String,
        /// Those of the data.
        data: String,
    },
    /// It is of another width than the student that is to come to the same hidden states.
    #[error(
        "{}: the hidden states of the teacher have {teacher} numbers, the model's have {student}\nhint: set distillation.hidden_weight = 0, or take a base of the teacher's width",
        path.display()
    )]
    Width {
        /// The teacher.
        path: PathBuf,
        /// Its `hidden_size`.
        teacher: usize,
        /// The student's.
        student: usize,
    },
    /// A file without probabilities.
    #[error(
        "{path}: there is no column `{expected}`, only {columns}\nhint: a teacher's file has a probability for each label, as `gareum predict` writes it"
    )]
    NoScores {
        /// The file.
        path: String,
        /// The column looked for.
        expected: &'static str,
        /// Its columns.
        columns: String,
    },
    /// A row whose probabilities cannot be used.
    #[error("{place}: found {found}, expected {expected}\nhint: `gareum predict` without --top-k writes every label")]
    BadScore {
        /// Where.
        place: Box<Place>,
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// Rows of the data that a file does not have.
    #[error(
        "{}: {missing} of {rows} rows to train on are not in the file, the first is `{first}`\nhint: let the teacher predict the training file itself",
        path.display()
    )]
    Missing {
        /// The file.
        path: PathBuf,
        /// How many.
        missing: usize,
        /// Of how many.
        rows: usize,
        /// The text of the first.
        first: String,
    },
}

impl Lessons {
    /// Asks the teacher of the settings, if there is one.
    pub(super) fn of(
        settings: &Settings,
        prepared: &Prepared,
        observe: &mut dyn FnMut(Event<'_>),
    ) -> Result<Option<Self>, TrainError> {
        let Some(distillation) = &settings.distillation else {
            return Ok(None);
        };
        let inputs: Vec<Input> = prepared.parts.train.iter().map(Input::from).collect();
        let inputs: Vec<&Input> = inputs.iter().chain(&prepared.unlabelled).collect();
        let (logits, hidden) = if let Some(path) = distillation.teacher_file() {
            let logits = teacher_file::read(path, &inputs, &prepared.schema, &settings.data)?;
            (logits, Vec::new())
        } else if let Some(path) = distillation.teacher_model() {
            let directory = local_model(path, None)?;
            let is_hidden_wanted = distillation.hidden_weight > 0.0;
            of_model(path, &directory, &inputs, &prepared.schema, is_hidden_wanted, observe)?
        } else {
            return Err(TrainError::Missing {
                what: "distillation.teacher",
                hint: "--set distillation.teacher=DIR, or `teacher = \"DIR\"` under [distillation] in gareum.toml",
            });
        };
        Self::of_run(logits, hidden, prepared, distillation).map(Some)
    }

    /// Answers that mean nothing, for runs that are only measured.
    pub(super) fn made_up(
        settings: &Settings,
        prepared: &Prepared,
        student: &Model,
    ) -> Result<Option<Self>, TrainError> {
        let Some(distillation) = &settings.distillation else {
            return Ok(None);
        };
        let rows = prepared.parts.train.len() + prepared.unlabelled.len();
        let logits = vec![0.0; rows * prepared.schema.num_labels()];
        let width = match distillation.hidden_weight > 0.0 {
            true => student.config().hidden_size,
            false => 0,
        };
        Self::of_run(logits, vec![0.0; rows * width], prepared, distillation).map(Some)
    }

    /// Without hidden states if there are none.
    fn of_run(
        logits: Vec<f32>,
        hidden: Vec<f32>,
        prepared: &Prepared,
        settings: &DistillationSettings,
    ) -> Result<Self, TrainError> {
        let distillation = Distillation {
            temperature: settings.temperature,
            weight: settings.weight,
        };
        let (labels, labelled) = (prepared.schema.num_labels(), prepared.parts.train.len());
        let lessons = Self::new(logits, labels, labelled, distillation)?;
        match hidden.is_empty() {
            true => Ok(lessons),
            false => Ok(lessons.with_hidden(hidden, settings.hidden_weight)?),
        }
    }

    /// A teacher's logits, a row of so many labels after the other. The first rows are `labelled`; all others have no labels but these.
    ///
    /// # Errors
    /// [`tensor::Error`] if the last row is cut off.
    pub fn new(logits: Vec<f32>, labels: usize, labelled: usize, distillation: Distillation) -> tensor::Result<Self> {
        let rows = logits.len() / labels.max(1);
        Ok(Self {
            logits: Tensor::from_vec(logits, &[rows, labels])?,
            labels,
            hidden: None,
            distillation,
            labelled,
        })
    }

    /// The same with what the teacher's head gets of the rows, one after the other, which counts `weight` in the loss.
    ///
    /// # Errors
    /// [`tensor::Error`] if there are not as many numbers of each row.
    pub fn with_hidden(self, values: Vec<f32>, weight: f64) -> tensor::Result<Self> {
        let rows = self.logits.shape()[0];
        let width = values.len() / rows.max(1);
        let values = Tensor::from_vec(values, &[rows, width])?;
        Ok(Self {
            hidden: Some(Hidden { values, weight }),
            ..self
        })
    }

    /// Whether a student can come to the hidden states of the teacher, if it is to.
    pub(super) fn check(&self, student: &Model, settings: &DistillationSettings) -> Result<(), TeacherError> {
        let student = student.config().hidden_size;
        match &self.hidden {
            Some(hidden) if hidden.values.shape()[1] != student => Err(TeacherError::Width {
                path: settings.teacher.clone().unwrap_or_default(),
                teacher: hidden.values.shape()[1],
                student,
            }),
            _ => Ok(()),
        }
    }

    /// What the teacher's head gets of some rows, one after the other, and what that counts; nothing if it is not to be learnt.
    pub(super) fn hidden(&self, rows: &[usize]) -> Option<(Vec<f32>, f64)> {
        let hidden = self.hidden.as_ref()?;
        let (values, width) = (hidden.values.as_slice::<f32>()?, hidden.values.shape()[1]);
        let values = rows.iter().flat_map(|&row| &values[row * width..][..width]);
        Some((values.copied().collect(), hidden.weight))
    }

    /// What the answers count.
    pub(super) fn distillation(&self) -> Distillation {
        self.distillation
    }

    /// How many rows have labels: the first ones.
    pub(super) fn labelled(&self) -> usize {
        self.labelled
    }

    /// What the answers take in memory.
    pub(super) fn bytes(&self) -> u64 {
        let hidden = self.hidden.as_ref().map_or(0, |hidden| hidden.values.len());
        ((self.logits.len() + hidden) * size_of::<f32>()) as u64
    }

    /// A row of the training rows, with its target if it has a label.
    pub(super) fn row<'a>(&'a self, index: usize, target: &'a Target) -> Taught<'a> {
        let logits = self.logits.as_slice::<f32>().unwrap_or_default();
        Taught {
            target: (index < self.labelled).then_some(target),
            teacher: &logits[index * self.labels..][..self.labels],
        }
    }

    /// What tells two teachers apart: a hash of all answers.
    pub(super) fn fingerprint(&self) -> String {
        let hidden = self.hidden.as_ref().map(|hidden| &hidden.values);
        let all = std::iter::once(&self.logits).chain(hidden);
        let values = all.flat_map(|values| values.as_slice::<f32>().unwrap_or_default());
        let hash = values.fold(0, |hash, value| combine(hash, value.to_bits().into()));
        format!("{hash:016x}")
    }
}

/// The logits of a model, with labels in the order of `schema`, and if wanted what its head gets of each text. What a decision does to scores changes
/// no logit.
fn of_model(
    path: &Path,
    directory: &Path,
    inputs: &[&Input],
    schema: &LabelSchema,
    is_hidden_wanted: bool,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<(Vec<f32>, Vec<f32>), TeacherError> {
    let predictor = Predictor::load(directory, PrecisionSetting::Auto)?;
    let places = same_labels(path, predictor.schema(), schema)?;
    let total = inputs.len();
    let (mut logits, mut hidden) = (Vec::with_capacity(total * places.len()), Vec::new());
    for (chunk, inputs) in inputs.chunks(CHUNK).enumerate() {
        let inputs: Vec<Input> = inputs.iter().map(|&input| input.clone()).collect();
        let mut progress = |done: usize| {
            observe(Event::Teaching {
                done: chunk * CHUNK + done,
                total,
            });
        };
        for answer in predictor.answers(&inputs, &mut progress)? {
            logits.extend(places.iter().map(|&place| answer.logits[place]));
            if is_hidden_wanted {
                hidden.extend(answer.features);
            }
        }
    }
    Ok((logits, hidden))
}

/// Where the teacher has each label of the student.
fn same_labels(path: &Path, teacher: &LabelSchema, data: &LabelSchema) -> Result<Vec<usize>, TeacherError> {
    let place = |name: &String| teacher.names.iter().position(|other| other == name);
    let places: Option<Vec<usize>> = match data.task {
        Task::Regression => (teacher.num_labels() == data.num_labels()).then(|| (0..data.num_labels()).collect()),
        _ => data.names.iter().map(place).collect(),
    };
    match places {
        Some(places) if teacher.task == data.task && teacher.num_labels() == data.num_labels() => Ok(places),
        _ => Err(other_labels(path, &described(teacher.task, &teacher.names), data)),
    }
}

/// The error that lists both sets of labels.
pub(super) fn other_labels(path: &Path, teacher: &str, data: &LabelSchema) -> TeacherError {
    TeacherError::Labels {
        path: path.to_owned(),
        teacher: teacher.to_owned(),
        data: described(data.task, &data.names),
    }
}

fn described(task: Task, names: &[String]) -> String {
    match task {
        Task::Regression => "numbers".to_owned(),
        _ => of_names(names.iter().map(String::as_str)),
    }
}

/// How many labels, and which.
pub(super) fn of_names<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: BTreeSet<&str> = names.collect();
    let count = names.len();
    format!("{count} labels ({})", listed(names.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_found_in_any_order_and_told_if_they_differ() {
        let schema = |task, names: &[&str]| LabelSchema {
            task,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let data = schema(Task::SingleLabel, &["a", "b", "c"]);
        let places = |teacher: &LabelSchema| same_labels(Path::new("teacher"), teacher, &data);
        assert_eq!(places(&schema(Task::SingleLabel, &["c", "a", "b"])).unwrap(), [1, 2, 0]);
        let error = places(&schema(Task::SingleLabel, &["a", "b"])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "teacher: the teacher knows 2 labels (`a`, `b`), the data has 3 labels (`a`, `b`, `c`)\n\
             hint: a teacher must have been trained for the very labels of the data"
        );
        assert!(places(&schema(Task::MultiLabel, &["a", "b", "c"])).is_err());
    }
}
