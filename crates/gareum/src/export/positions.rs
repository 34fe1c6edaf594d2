//! Places of tokens in attention: rotary positions, and rows of a table for distances (DeBERTa).

use tensor::DType;

use super::ExportError;
use super::emitter::Emitter;
use super::graph::Value;
use super::initializer::Data;
use crate::model::{ModelConfig, RelativeAttention};

/// Which rows of the table of relative positions a batch needs, and how what they make is put in order: the same in all layers.
#[derive(Debug, Clone)]
pub(super) struct RelativeRows {
    /// The table, normed: `[rows, hidden_size]`.
    table: Value,
    /// The rows for the distances n − 1, n − 2, ..., −n from query to key, n being the tokens of a sequence.
    falling: Value,
    /// The same for 1 − n, 2 − n, ..., n.
    rising: Value,
    /// See [`Emitter::aligned`].
    alignment: [Value; 3],
}

impl Emitter<'_> {
    /// Turns the heads `[batch, sequence, heads, head_dim]` of queries or keys by their places.
    pub fn turned(&mut self, config: &ModelConfig, heads: &Value, rotary: usize) -> Result<Value, ExportError> {
        let Some(rotation) = config.rotaries().get(rotary) else {
            return Ok(heads.clone());
        };
        let (positions, size) = (config.max_tokens(), config.head_dim);
        let pairs = rotation.columns() / 2;
        let rows = rotation.rotations(positions, DType::F32)?.table().to_f32_vec();
        // Of each position a number for each column; columns that are not turned are multiplied by 1.
        let table = |is_sine: bool| -> Vec<f32> {
            let of_position = |row: &[f32]| {
                let (cosines, sines) = row.split_at(pairs);
                let turns = if is_sine { sines } else { cosines };
                let first = turns.iter().map(|turn| if is_sine { -turn } else { *turn });
                let rest = std::iter::repeat_n(if is_sine { 0.0 } else { 1.0 }, size - 2 * pairs);
                first.chain(turns.iter().copied()).chain(rest).collect::<Vec<f32>>()
            };
            rows.chunks_exact((2 * pairs).max(1)).flat_map(of_position).collect()
        };
        let mut of_places = |name: &str, is_sine: bool| {
            let name = format!("{name}[{rotary}]");
            let all = self
                .graph
                .constant(name, vec![positions, 1, size], Data::F32(table(is_sine)));
            let first = self.graph.ints(&[0]);
            let end = self.inputs.length.clone();
            self.graph.slice(&all, &first, &end, 0)
        };
        let (cosines, sines) = (of_places("rotary.cosines", false), of_places("rotary.sines", true));
        let (middle, end) = (pairs as i64, 2 * pairs as i64);
        let first = self.graph.slice_at(heads, 0, middle, 3);
        let second = self.graph.slice_at(heads, middle, end, 3);
        let swapped = if 2 * pairs == size {
            self.graph.concat(&[&second, &first], 3)
        } else {
            let rest = self.graph.slice_at(heads, end, size as i64, 3);
            self.graph.concat(&[&second, &first, &rest], 3)
        };
        let (straight, crossed) = (self.graph.mul(heads, &cosines), self.graph.mul(&swapped, &sines));
        Ok(self.graph.add(&straight, &crossed))
    }

    /// Gets ready what all layers need of relative positions.
    pub fn prepare_relative_positions(&mut self, config: &ModelConfig) -> Result<(), ExportError> {
        let Some(relative) = config.relative else {
            return Ok(());
        };
        let (names, longest) = (config.names(), config.max_tokens() as i64);
        let mut table = self.tensor(&format!("{}.{}.weight", names.prefix, names.relative_positions))?;
        if relative.has_norm {
            table = self.norm(config, &table, &format!("{}.{}", names.prefix, names.relative_norm))?;
        }
        let row = |distance: i64| relative.distances.row(distance as isize) as i64;
        let length = self.inputs.length.clone();
        let middle = self.graph.ints(&[longest]);
        let (start, end) = (self.graph.sub(&middle, &length), self.graph.add(&middle, &length));
        let mut rows = |name: &str, rows: Vec<i64>| {
            let all = self.graph.constant(name.to_owned(), vec![rows.len()], Data::I64(rows));
            self.graph.slice(&all, &start, &end, 0)
        };
        let falling = rows("relative.falling", (-longest..longest).rev().map(row).collect());
        let rising = rows("relative.rising", (1 - longest..=longest).map(row).collect());
        // n − 1, n − 1 + n (2n − 1), and the shape [0, 0, n, −1].
        let one = self.graph.ints(&[1]);
        let first = self.graph.sub(&length, &one);
        let double = self.graph.add(&length, &first);
        let count = self.graph.mul(&length, &double);
        let end = self.graph.add(&first, &count);
        let (kept, rest) = (self.graph.ints(&[0, 0]), self.graph.ints(&[-1]));
        let shape = self.graph.concat(&[&kept, &length, &rest], 0);
        self.relative = Some(RelativeRows {
            table,
            falling,
            rising,
            alignment: [first, end, shape],
        });
        Ok(())
    }

    /// The terms of the scores with positions in them, from the heads `[batch, heads, sequence, head_dim]` of queries and keys; `parts` are the
    /// names of the products that make keys and queries of positions.
    pub fn relative_scores(
        &mut self,
        config: &ModelConfig,
        relative: RelativeAttention,
        [queries, keys]: [&Value; 2],
        [key, query]: [&str; 2],
    ) -> Result<Vec<Value>, ExportError> {
        let mut terms = Vec::new();
        let Some(rows) = self.relative.clone() else {
            return Ok(terms);
        };
        if relative.has_keys {
            let positions = self.positions(config, &rows.table, key, &rows.falling)?;
            let products = self.graph.matmul(queries, &positions);
            terms.push(self.aligned(&products, &rows.alignment));
        }
        if relative.has_queries {
            let positions = self.positions(config, &rows.table, query, &rows.rising)?;
            let products = self.graph.matmul(keys, &positions);
            let of_keys = self.aligned(&products, &rows.alignment);
            terms.push(self.graph.transpose(&of_keys, &[0, 1, 3, 2]));
        }
        Ok(terms)
    }

    /// Keys or queries of the positions in some rows of the table: `[heads, head_dim, rows]`. All but the choice of rows is the same in
    /// every pass, and done once by who loads the graph.
    fn positions(
        &mut self,
        config: &ModelConfig,
        table: &Value,
        name: &str,
        rows: &Value,
    ) -> Result<Value, ExportError> {
        let projected = self.linear_of_constant(table, name)?;
        let shape = [-1, config.num_attention_heads as i64, config.head_dim as i64];
        let heads = self.graph.reshape(&projected, &shape);
        let heads = self.graph.gather(&heads, rows, 0);
        Ok(self.graph.transpose(&heads, &[1, 2, 0]))
    }

    /// Of a row i of 2n columns, the n from n − 1 − i on, for every row of `[batch, heads, n, 2n]`. What is wanted begins one place further left in each
    /// row: written one behind the other from the first wanted place on, and cut into rows of 2n − 1, all begin at the left.
    fn aligned(&mut self, products: &Value, [start, end, shape]: &[Value; 3]) -> Value {
        let flat = self.graph.reshape(products, &[0, 0, -1]);
        let flat = self.graph.slice(&flat, start, end, 2);
        let rows = self.graph.operation("Reshape", &[&flat, shape], &[]);
        let first = self.graph.ints(&[0]);
        let length = self.inputs.length.clone();
        self.graph.slice(&rows, &first, &length, 3)
    }
}
