//! Which words made a chain say what a text feels about a keyword: those that the sentiment model goes by.

use super::{Chain, ChainError, ChainPrediction, Models};
use crate::data::{Input, aspect, listed};
use crate::explain::{self, Characters, ExplainError, Explanation, Labels, Options};
use crate::predict::Predictor;

impl Chain {
    /// Explains texts, in order: a map for each keyword that a text is found to speak of (or that is asked for by its name), of the sentiment that it is
    /// found to have. What the template adds is no word of the text. Of one model for both, its labels are explained.
    ///
    /// # Errors
    /// [`ChainError`] if an option does not go with the models, or a text cannot be tokenized.
    pub fn explain(&self, inputs: &[Input], options: &Options) -> Result<Vec<Explanation>, ChainError> {
        let (sentiment, template) = match &self.models {
            Models::Pairs { pairs, .. } => return Ok(explain::explain(pairs, inputs, options)?),
            Models::Chain {
                sentiment, template, ..
            } => (sentiment, template),
        };
        self.check(options)?;
        let predictions = self.predict(inputs, &mut |_| ())?;
        let asked: Vec<Vec<u32>> = predictions
            .iter()
            .map(|prediction| self.asked(prediction, &options.labels))
            .collect();
        let (mut filled, mut parts) = (Vec::new(), Vec::new());
        for (input, keywords) in inputs.iter().zip(&asked) {
            for &keyword in keywords {
                let name = &self.schema.keywords[keyword as usize];
                filled.push(template.fill(&input.text, name));
                let (is_pair, place) = template.place_of_text(&input.text, name);
                let (start, end) = (place.start, place.end);
                parts.push((is_pair, Characters { start, end }));
            }
        }
        let of_sentiment = Options {
            labels: Labels::Predicted,
            ..options.clone()
        };
        let mut explained = explain::explain_parts(sentiment, &filled, &parts, &of_sentiment)?.into_iter();
        let explanation = |((input, prediction), keywords): ((&Input, &ChainPrediction), &Vec<u32>)| {
            let columns = self.columns(prediction);
            let mut explanation = Explanation {
                text: input.text.clone(),
                text_pair: None,
                label: columns.label.into(),
                scores: columns.keywords,
                method: options.method,
                maps: Vec::new(),
                unread: None,
                unread_pair: None,
            };
            for (keyword, of_keyword) in keywords.iter().zip(explained.by_ref()) {
                explanation.unread = explanation.unread.or(of_keyword.unread);
                explanation.maps.extend(of_keyword.maps.into_iter().map(|mut map| {
                    map.label = aspect(&self.schema.keywords[*keyword as usize], &map.label);
                    map
                }));
            }
            explanation
        };
        Ok(inputs.iter().zip(&predictions).zip(&asked).map(explanation).collect())
    }

    /// Fails where [`Chain::explain`] would whatever the texts.
    ///
    /// # Errors
    /// As [`Chain::explain`].
    pub fn check(&self, options: &Options) -> Result<(), ChainError> {
        let Models::Chain { sentiment, .. } = &self.models else {
            return Ok(explain::check(self.first(), options)?);
        };
        if let Labels::Named(names) = &options.labels
            && let Some(unknown) = names.iter().find(|name| !self.schema.keywords.contains(name))
        {
            let known = listed(self.schema.keywords.iter().map(String::as_str));
            let label = unknown.clone();
            return Err(ExplainError::Label { label, known }.into());
        }
        let of_sentiment = Options {
            labels: Labels::Predicted,
            ..options.clone()
        };
        Ok(explain::check(sentiment, &of_sentiment)?)
    }

    /// The model whose words are explained.
    pub fn explained(&self) -> &Predictor {
        match &self.models {
            Models::Chain { sentiment, .. } => sentiment,
            Models::Pairs { pairs, .. } => pairs,
        }
    }

    fn asked(&self, prediction: &ChainPrediction, labels: &Labels) -> Vec<u32> {
        match labels {
            Labels::Predicted => prediction.aspects.iter().map(|aspect| aspect.keyword).collect(),
            Labels::Named(names) => {
                let id = |name: &String| self.schema.keywords.iter().position(|known| known == name);
                names.iter().filter_map(|name| Some(id(name)? as u32)).collect()
            }
        }
    }
}
