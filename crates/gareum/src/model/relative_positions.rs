//! Positions of tokens to each other (DeBERTa): which row of a table stands for a distance, and the rows that a batch needs.
//!
//! Not here: what attention makes of them (`attention.rs`).

use std::ops::Range;

use tensor::{ParameterId, Var, ops};

use super::{Builder, ModelConfig, ModelError, Norm, Pass};

/// The rows of a table that stand for distances from query to key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distances {
    /// Half of the rows: `position_buckets`, or else `max_relative_positions`.
    pub span: usize,
    /// With buckets: distances of more than half of `span` share rows, the more the further away they are, up to this one.
    pub max_distance: Option<usize>,
}

impl Distances {
    /// Rows of the table.
    pub fn rows(self) -> usize {
        2 * self.span
    }

    /// The row of a distance, query − key.
    pub fn row(self, distance: isize) -> usize {
        let row = distance.signum() * self.bucket(distance.unsigned_abs()) + self.span as isize;
        row.clamp(0, 2 * self.span as isize - 1) as usize
    }

    /// How many rows from the middle a distance has its own.
    ///
    /// In `f32` as `transformers` does: where a logarithm is nearly whole, other digits would give another bucket.
    fn bucket(self, distance: usize) -> isize {
        let half = self.span / 2;
        match self.max_distance {
            Some(max_distance) if distance > half => {
                let log = |distance: usize| ((distance as f64 / half as f64) as f32).ln();
                let share = log(distance) / log(max_distance - 1);
                (share * (half - 1) as f32).ceil() as isize + half as isize
            }
            _ => distance as isize,
        }
    }
}

/// What relative positions do to the scores of attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelativeAttention {
    /// Which row of the table stands for a distance.
    pub distances: Distances,
    /// Whether queries are compared with positions (`c2p`).
    pub has_keys: bool,
    /// Whether keys are compared with positions (`p2c`).
    pub has_queries: bool,
    /// Whether positions are projected as contents are, and not by weights of their own.
    pub shares_projections: bool,
    /// Whether the table is normed.
    pub has_norm: bool,
}

impl RelativeAttention {
    /// How many terms scores have beside that of the contents.
    pub fn terms(&self) -> usize {
        self.has_keys as usize + self.has_queries as usize
    }

    /// The rows of the table for the distances in sequences of up to `longest` tokens.
    pub(crate) fn rows_for(&self, longest: usize) -> Range<usize> {
        let longest = longest.max(1) as isize;
        // The further away, the higher the row: they follow one another.
        self.distances.row(1 - longest)..self.distances.row(longest - 1) + 1
    }
}

/// The table of relative positions.
#[derive(Debug, Clone)]
pub(super) struct RelativePositions {
    table: ParameterId,
    norm: Option<Norm>,
    relative: RelativeAttention,
}

/// The rows of the table that a batch needs.
#[derive(Debug, Clone)]
pub(super) struct Positions {
    /// `[rows, hidden_size]`
    pub hidden: Var,
    pub rows: PositionRows,
}

/// Which rows of the table those are.
#[derive(Debug, Clone)]
pub(super) struct PositionRows {
    /// The number that the first of them has in the table: dropout masks go by it.
    pub first: usize,
    /// The row of each distance, from that of the longest sequence's first query and last key on.
    pub of_distance: Vec<u32>,
}

impl RelativePositions {
    pub fn build(
        config: &ModelConfig,
        relative: &RelativeAttention,
        builder: &mut Builder,
    ) -> Result<Self, ModelError> {
        let (names, size) = (config.names(), config.hidden_size);
        let norm = |builder: &mut Builder| builder.norm(config, names.relative_norm, size);
        Ok(Self {
            table: builder.table(names.prefix, names.relative_positions, relative.distances.rows(), size)?,
            norm: relative.has_norm.then(|| norm(builder)).transpose()?,
            relative: *relative,
        })
    }

    /// The rows for the distances within a pass's sequences.
    pub fn forward(&self, pass: &Pass<'_>) -> tensor::Result<Positions> {
        let starts = pass.batch.sequence_starts.windows(2);
        let longest = starts
            .map(|pair| (pair[1] - pair[0]) as usize)
            .max()
            .unwrap_or(0)
            .max(1);
        let needed = self.relative.rows_for(longest);
        let row = |distance| (self.relative.distances.row(distance) - needed.start) as u32;
        let rows = PositionRows {
            first: needed.start,
            of_distance: (1 - longest as isize..longest as isize).map(row).collect(),
        };
        let hidden = self.rows(pass, needed)?;
        Ok(Positions { hidden, rows })
    }

    /// All rows.
    pub fn all(&self, pass: &Pass<'_>) -> tensor::Result<Var> {
        self.rows(pass, 0..self.relative.distances.rows())
    }

    /// Some rows of the table, in the type of the pass.
    fn rows(&self, pass: &Pass<'_>, rows: Range<usize>) -> tensor::Result<Var> {
        let table = pass.parameter(self.table);
        let ids: Vec<u32> = rows.map(|row| row as u32).collect();
        let hidden = ops::embedding_sum(pass.tape, &[(&table, &ids)], 1.0)?;
        let hidden = match &self.norm {
            None => hidden,
            Some(norm) => norm.forward(pass, &hidden)?,
        };
        ops::to_dtype(pass.tape, &hidden, pass.dtype)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_transformers() {
        // Σ (distance + 1) · bucket over 2000 distances, as `make_log_bucket_position` of transformers gives them.
        for (buckets, max_distance, sum) in [(256, 512, 669_850_611), (32, 128, 95_680_838), (256, 1024, 531_888_606)] {
            // Half as many rows on each side as there are: enough for every bucket, so that none is clamped.
            let distances = Distances {
                span: buckets,
                max_distance: Some(max_distance),
            };
            let half = buckets / 2;
            let bucket = |distance: usize| distances.bucket(distance) as usize;
            assert_eq!(
                (0..2000)
                    .map(|distance| (distance + 1) * bucket(distance))
                    .sum::<usize>(),
                sum
            );
            assert!((0..=half).all(|distance| bucket(distance) == distance));
        }
    }

    #[test]
    fn rows_are_those_of_both_sides() {
        let distances = Distances {
            span: 4,
            max_distance: Some(40),
        };
        let rows = |distances: Distances, all: &[isize]| {
            all.iter().map(|&distance| distances.row(distance)).collect::<Vec<_>>()
        };
        assert_eq!(
            rows(distances, &[-100, -3, -2, -1, 0, 1, 2, 3, 100]),
            [0, 1, 2, 3, 4, 5, 6, 7, 7]
        );
        let plain = Distances {
            span: 3,
            max_distance: None,
        };
        assert_eq!(rows(plain, &[-9, -3, -2, 0, 2, 3, 9]), [0, 0, 1, 3, 5, 5, 5]);
    }
}
