//! What can be wrong with the arguments of a metric.

/// Why nothing was measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricsError {
    /// Targets and predictions differ in number.
    #[error("{targets} targets but {predictions} predictions")]
    Length {
        /// Number of targets.
        targets: usize,
        /// Number of predictions.
        predictions: usize,
    },
    /// An id beyond the names.
    #[error("class id {id} at position {position} but there are {names} names")]
    UnknownId {
        /// The id.
        id: u32,
        /// Where.
        position: usize,
        /// How many names there are.
        names: usize,
    },
}
