//! What a token's hidden state starts from: word and, where a family has them, position and token type, summed, normed,
//! dropped out and, where the embeddings are narrower than the hidden states, projected.

use tensor::{Activation, ParameterId, Var, ops};

use super::config::Positions;
use super::{Builder, Linear, ModelConfig, ModelError, Norm, Pass, sites};

#[derive(Debug, Clone)]
pub(super) struct Embeddings {
    words: ParameterId,
    /// The table and the position of a first token.
    positions: Option<(ParameterId, u32)>,
    token_types: Option<ParameterId>,
    norm: Option<Norm>,
    project: Option<Linear>,
    /// A checkpoint with one token type gets 0 for every token, whatever its tokenizer says (klue/roberta).
    single_type: bool,
    /// What words are multiplied by.
    scale: f64,
    dropout: f64,
    site: usize,
}

impl Embeddings {
    pub fn build(config: &ModelConfig, builder: &mut Builder) -> Result<Self, ModelError> {
        let names = config.names();
        let (prefix, width) = (names.prefix, config.embedding_size);
        Ok(Self {
            words: builder.table(prefix, names.word_embeddings, config.vocab_size, width)?,
            positions: match config.positions {
                Positions::None | Positions::Rotary(_) => None,
                Positions::Learned { offset } => {
                    let rows = config.max_position_embeddings;
                    Some((
                        builder.table(prefix, names.position_embeddings, rows, width)?,
                        offset as u32,
                    ))
                }
            },
            token_types: match config.type_vocab_size {
                0 => None,
                rows => Some(builder.table(prefix, names.token_type_embeddings, rows, width)?),
            },
            norm: match config.norms_embeddings {
                false => None,
                true => Some(builder.norm(config, names.embeddings_norm, width)?),
            },
            project: match width == config.hidden_size {
                true => None,
                false => Some(builder.linear(prefix, names.embeddings_project, width, config.hidden_size, true)?),
            },
            single_type: config.type_vocab_size == 1,
            scale: config.embedding_scale,
            dropout: config.embedding_dropout,
            site: match config.is_decoder {
                false => sites::EMBEDDINGS,
                true => sites::DECODER_EMBEDDINGS,
            },
        })
    }

    /// `[tokens, hidden_size]`, in the type of the pass.
    pub fn forward(&self, pass: &Pass<'_>) -> tensor::Result<Var> {
        let embedded = self.embed(pass)?;
        self.forward_from(pass, &embedded)
    }

    /// What there is before dropout and projection: `[tokens, embedding_size]`.
    pub fn embed(&self, pass: &Pass<'_>) -> tensor::Result<Var> {
        let words = pass.parameter(self.words);
        let positions = self.positions.map(|(table, offset)| {
            let starts = pass.batch.sequence_starts.windows(2);
            let positions = starts.flat_map(|pair| (0..pair[1] - pair[0]).map(move |position| position + offset));
            (pass.parameter(table), positions.collect::<Vec<u32>>())
        });
        let type_table = self.token_types.map(|id| pass.parameter(id));
        let zeros;
        let token_types = if self.single_type {
            zeros = vec![0; pass.batch.token_type_ids.len()];
            &zeros
        } else {
            &pass.batch.token_type_ids
        };
        let mut tables: Vec<(&Var, &[u32])> = vec![(&words, &pass.batch.input_ids)];
        tables.extend(
            positions
                .as_ref()
                .map(|(table, positions)| (table, positions.as_slice())),
        );
        tables.extend(type_table.as_ref().map(|table| (table, token_types.as_slice())));
        let sum = ops::embedding_sum(pass.tape, &tables, self.scale)?;
        match &self.norm {
            None => Ok(sum),
            Some(norm) => norm.forward(pass, &sum),
        }
    }

    /// The rest, of what [`Self::embed`] gives.
    pub fn forward_from(&self, pass: &Pass<'_>, embedded: &Var) -> tensor::Result<Var> {
        let dropped = ops::dropout(pass.tape, embedded, pass.token_mask(self.dropout, self.site))?;
        let dropped = ops::to_dtype(pass.tape, &dropped, pass.dtype)?;
        match &self.project {
            None => Ok(dropped),
            Some(project) => project.forward(pass, &dropped, Activation::Identity),
        }
    }

    /// The table of words.
    pub fn words(&self) -> ParameterId {
        self.words
    }

    /// The tables of words and positions.
    pub fn tables(&self) -> impl Iterator<Item = ParameterId> {
        std::iter::once(self.words).chain(self.positions.map(|(table, _)| table))
    }

    /// The products.
    pub fn linears(&self) -> Option<&Linear> {
        self.project.as_ref()
    }

    /// The same.
    pub fn linears_mut(&mut self) -> Option<&mut Linear> {
        self.project.as_mut()
    }
}
