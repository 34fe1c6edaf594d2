//! Labelled text: from a file on disk to examples that a trainer can use.
//!
//! The way of a row: [`Records`] streams raw rows out of a file, [`ColumnRequest`] says (or detects) which columns hold the text and the
//! labels, [`LabelSchema`] turns raw labels into ids, [`Dataset::load`] does all three, [`clean`] drops duplicates and [`split`] makes the parts.
//! Nothing is repaired silently: what is skipped is counted in a report, what cannot be understood is a [`DataError`] with row and remedy.
//!
//! Not here: tokenizing and batching (`tokens`), and every decision about training. Read `dataset.rs` next.

mod clean;
mod columns;
mod csv;
mod dataset;
mod encoding;
mod error;
mod input;
mod json;
mod label_map;
mod label_values;
mod labels;
mod leakage;
mod normalize;
mod parquet;
mod parquet_writer;
#[cfg(test)]
mod real_data;
mod records;
mod source;
mod split;
mod xlsx;

pub use clean::{CleanOptions, CleanReport, ConflictPolicy, clean};
pub use columns::{ColumnRequest, Columns, InputColumns, LabelColumns};
pub use dataset::{Dataset, Example, LoadReport, SchemaSource};
pub use error::{DataError, Place};
pub use input::{Input, read_inputs};
pub use label_map::LabelMap;
pub use labels::{LabelSchema, Target, Task};
pub use leakage::{Leak, leaks};
pub use normalize::{Aligned, NormalizeStep, normalize, normalize_aligned};
pub use parquet_writer::write_parquet;
pub use records::{FileFormat, FileKind, ReadOptions, Record, Records};
pub use source::Compression;
pub(crate) use split::share_of;
pub use split::{Split, SplitOptions, split};

pub(crate) use columns::FoundColumns;
pub(crate) use dataset::{label_counts, raw_label};
pub(crate) use encoding::{decoded, encoding_of};
pub(crate) use error::{listed, shortened};
pub(crate) use label_values::{LabelIndex, RawLabel, aspect, infer, keyword_and_polarity};
pub(crate) use leakage::{keep_together, same_text_key};
pub(crate) use normalize::invisible_characters;
#[cfg(test)]
pub(crate) use real_data::found;
pub(crate) use records::is_data_file;
