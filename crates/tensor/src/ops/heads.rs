//! How the heads of queries, keys and values lie in the columns of one matrix, and how far a token sees: what `attention`,
//! `rope` and `head_norm` have in common.

use std::ops::Range;

use crate::{Error, Result, Var};

/// The heads in the columns of a matrix of queries, keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heads {
    /// Heads of queries.
    pub queries: usize,
    /// Heads of keys, and as many of values: a divisor of `queries`. Where there are fewer, each serves several heads of queries
    /// that follow one another (Ainslie et al. 2023, <https://arxiv.org/abs/2305.13245>).
    pub keys: usize,
    /// Whether query, key and value of one head stand side by side, head after head (GPT-NeoX), and not all queries before all
    /// keys before all values. Then there are as many keys as queries.
    pub interleaved: bool,
}

/// What a head holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Query,
    Key,
    Value,
}

impl Heads {
    /// As many of each, all queries first.
    pub fn equal(heads: usize) -> Self {
        Self {
            queries: heads,
            keys: heads,
            interleaved: false,
        }
    }

    /// Heads of all three kinds.
    pub fn count(&self) -> usize {
        self.queries + 2 * self.keys
    }

    /// Heads of queries that share one of keys.
    pub(crate) fn group(&self) -> usize {
        self.queries / self.keys.max(1)
    }

    /// Columns of a head in a matrix of all three kinds.
    pub(crate) fn head_dim(&self, operation: &'static str, qkv: &Var) -> Result<usize> {
        let [tokens, columns] = qkv.dims2(operation, "qkv")?;
        let sound = self.keys > 0
            && self.queries > 0
            && self.queries.is_multiple_of(self.keys)
            && (!self.interleaved || self.queries == self.keys);
        if sound && columns.is_multiple_of(self.count()) {
            return Ok(columns / self.count());
        }
        let expected = match self.queries == self.keys {
            true => format_args!("columns divisible by three times {} heads", self.queries).to_string(),
            false => format_args!(
                "columns divisible by {} heads of queries (divisible by {}) and two times {} of keys",
                self.queries, self.keys, self.keys
            )
            .to_string(),
        };
        Err(Error::shape(operation, "qkv", &[tokens, columns], expected))
    }

    /// The first column of a head.
    pub(crate) fn column(&self, part: Part, head: usize, head_dim: usize) -> usize {
        let place = match (self.interleaved, part) {
            (true, Part::Query) => 3 * head,
            (true, Part::Key) => 3 * head + 1,
            (true, Part::Value) => 3 * head + 2,
            (false, Part::Query) => head,
            (false, Part::Key) => self.queries + head,
            (false, Part::Value) => self.queries + self.keys + head,
        };
        place * head_dim
    }

    /// For each head in the order of the columns, which head of keys it belongs to.
    pub(crate) fn owners(&self) -> Vec<usize> {
        if self.interleaved {
            return (0..self.keys).flat_map(|head| [head; 3]).collect();
        }
        let keys = 0..self.keys;
        self.query_owners()
            .into_iter()
            .chain(keys.clone())
            .chain(keys)
            .collect()
    }

    /// As [`Self::owners`], of the queries alone.
    pub(crate) fn query_owners(&self) -> Vec<usize> {
        (0..self.queries).map(|head| head / self.group()).collect()
    }
}

/// How many tokens before and after itself a token sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Before; `usize::MAX` for all.
    pub left: usize,
    /// After; 0 for none, as in a decoder.
    pub right: usize,
}

impl Window {
    /// All of the sequence.
    pub const ALL: Self = Self {
        left: usize::MAX,
        right: usize::MAX,
    };

    /// Itself and all before it.
    pub const CAUSAL: Self = Self {
        left: usize::MAX,
        right: 0,
    };

    /// What a token of a sequence of `rows` sees.
    #[inline(always)]
    pub fn of(&self, token: usize, rows: usize) -> Range<usize> {
        token.saturating_sub(self.left)..token.saturating_add(self.right).saturating_add(1).min(rows)
    }

    /// Pairs of tokens that see each other in a sequence of `rows`.
    pub fn pairs(&self, rows: usize) -> usize {
        (0..rows).map(|token| self.of(token, rows).len()).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_heads() {
        let heads = Heads {
            queries: 4,
            keys: 2,
            interleaved: false,
        };
        let column = |part, head| heads.column(part, head, 5);
        assert_eq!(
            [column(Part::Query, 3), column(Part::Key, 0), column(Part::Value, 1)],
            [15, 20, 35]
        );
        assert_eq!(heads.owners(), [0, 0, 1, 1, 0, 1, 0, 1]);
        let fused = Heads {
            interleaved: true,
            ..Heads::equal(2)
        };
        assert_eq!(fused.column(Part::Value, 1, 5), 25);
        assert_eq!(fused.owners(), [0, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn windows() {
        let window = Window { left: 2, right: 1 };
        assert_eq!([window.of(0, 5), window.of(3, 5), window.of(4, 5)], [0..2, 1..5, 2..5]);
        assert_eq!(window.pairs(5), 2 + 3 + 4 + 4 + 3);
        assert_eq!(Window::CAUSAL.pairs(4), 10);
        assert_eq!(Window::ALL.pairs(4), 16);
    }
}
