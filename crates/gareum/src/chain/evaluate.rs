//! How good a chain is: at keywords, at sentiments, and at both.

use serde::Serialize;

use super::{AspectSchema, Chain, ChainError, ChainPrediction};
use crate::data::{Example, Input};
use crate::metrics::{AspectMetrics, AspectRow, Bootstrap};

/// Figures of a chain, and what it made of each row.
#[derive(Debug, Clone, Serialize)]
pub struct ChainEvaluation {
    /// The figures.
    #[serde(flatten)]
    pub metrics: AspectMetrics,
    /// What each row was said to speak of.
    #[serde(skip)]
    pub predictions: Vec<ChainPrediction>,
}

impl Chain {
    /// Predicts examples whose labels are those of [`AspectSchema::labels`], and measures what comes out.
    ///
    /// # Errors
    /// [`ChainError`] if a text cannot be tokenized, or labels are others.
    pub fn evaluate(
        &self,
        examples: &[Example],
        progress: &mut dyn FnMut(usize),
    ) -> Result<ChainEvaluation, ChainError> {
        let inputs: Vec<Input> = examples.iter().map(Input::from).collect();
        let predictions = self.predict(&inputs, progress)?;
        let mut rows = aspect_rows(self.schema(), examples, &predictions);
        let asked = rows
            .iter()
            .map(|row| row.truth.iter().map(|(keyword, _)| *keyword).collect());
        let mut given = self.sentiments(&inputs, &asked.collect::<Vec<_>>())?.into_iter();
        for row in &mut rows {
            let said = given.by_ref().take(row.truth.len());
            row.given = said
                .map(|sentiment| sentiment.classes.first().copied().unwrap_or_default())
                .collect();
        }
        let schema = self.schema();
        let metrics = AspectMetrics::new(&schema.keywords, &schema.sentiments, &rows, &Bootstrap::default())?;
        Ok(ChainEvaluation { metrics, predictions })
    }
}

/// Truth and predictions beside each other, without the sentiments that are given the keywords.
fn aspect_rows(schema: &AspectSchema, examples: &[Example], predictions: &[ChainPrediction]) -> Vec<AspectRow> {
    let sentiments = schema.sentiments.len().max(1) as u32;
    let row = |(example, prediction): (&Example, &ChainPrediction)| AspectRow {
        truth: example
            .target
            .ids()
            .iter()
            .map(|id| (id / sentiments, id % sentiments))
            .collect(),
        predicted: prediction
            .aspects
            .iter()
            .map(|aspect| {
                (
                    aspect.keyword,
                    aspect.sentiment.classes.first().copied().unwrap_or_default(),
                )
            })
            .collect(),
        given: Vec::new(),
    };
    examples.iter().zip(predictions).map(row).collect()
}
