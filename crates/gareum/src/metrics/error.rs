//! What can be wrong with the arguments of a metric.

/// Why nothing was measured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetricsError {
    /// Targets and predictions differ in number.
    #[error(
        "{targets} targets but {predictions} predictions, expected one each\nhint: compare predictions of the same rows"
    )]
    Length {
        /// Number of targets.
        targets: usize,
        /// Number of predictions.
        predictions: usize,
    },
    /// An id beyond the names.
    #[error(
        "class id {id} at position {position}, expected less than {names}\nhint: the labels and the model do not belong together"
    )]
    UnknownId {
        /// The id.
        id: u32,
        /// 0-based position of the example.
        position: usize,
        /// How many names there are.
        names: usize,
    },
}

pub(super) fn same_length(targets: usize, predictions: usize) -> Result<(), MetricsError> {
    if targets == predictions {
        Ok(())
    } else {
        Err(MetricsError::Length { targets, predictions })
    }
}

/// Checks that every id has a name.
pub(super) fn known_ids<'a>(sets: impl Iterator<Item = &'a [u32]>, names: usize) -> Result<(), MetricsError> {
    for (position, ids) in sets.enumerate() {
        if let Some(id) = ids.iter().find(|id| **id as usize >= names) {
            return Err(MetricsError::UnknownId {
                id: *id,
                position,
                names,
            });
        }
    }
    Ok(())
}
