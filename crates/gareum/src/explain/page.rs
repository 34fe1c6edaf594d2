//! A page of explanations.

use super::Explanation;
use crate::report::{Page, words};

/// What a page says of the model.
#[derive(Debug, Clone)]
pub struct PageInfo {
    /// Its name.
    pub model: String,
}

/// A page of explanations.
pub fn page(_explanations: &[Explanation], _info: &PageInfo) -> Page {
    Page {
        title: words("Explanations"),
        subtitle: None,
        sections: Vec::new(),
    }
}
