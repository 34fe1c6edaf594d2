//! What can go wrong between tensors: shapes, element types and ids that do not fit each other.

use crate::DType;

/// Tensors that do not fit an operation. Every case is a mistake of the caller and names the operation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Two shapes that an operation needs to agree do not.
    #[error("{operation}: {what} has shape {found:?}, expected {expected}")]
    Shape {
        /// The operation that refused.
        operation: &'static str,
        /// Which argument.
        what: &'static str,
        /// Its shape.
        found: Vec<usize>,
        /// The shape that would have fitted.
        expected: String,
    },
    /// The element type is not one that the operation takes.
    #[error("{operation}: {what} holds {found:?}, expected {expected}")]
    DType {
        /// The operation that refused.
        operation: &'static str,
        /// Which argument.
        what: &'static str,
        /// Its element type.
        found: DType,
        /// The element types that would have fitted.
        expected: &'static str,
    },
    /// An id points outside of the table it selects from.
    #[error("{operation}: id {id} at position {position} is outside of a table of {rows} rows")]
    Id {
        /// The operation that refused.
        operation: &'static str,
        /// The id.
        id: u32,
        /// Where it stands.
        position: usize,
        /// How many rows there are.
        rows: usize,
    },
    /// A sequence lacks the token by which it is pooled.
    #[error("{operation}: sequence {sequence} has no token with the id {id}")]
    MissingToken {
        /// The operation that refused.
        operation: &'static str,
        /// The id.
        id: u32,
        /// The number of the sequence in the batch, from 0.
        sequence: usize,
    },
    /// `backward` was called on a tape that records nothing.
    #[error("backward: the loss does not depend on any recorded operation")]
    NothingRecorded,
}

impl Error {
    pub(crate) fn shape(
        operation: &'static str,
        what: &'static str,
        found: &[usize],
        expected: impl std::fmt::Display,
    ) -> Self {
        Self::Shape {
            operation,
            what,
            found: found.to_vec(),
            expected: expected.to_string(),
        }
    }
}
