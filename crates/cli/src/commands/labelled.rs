//! Labelled rows for a model that is there.

use std::path::Path;

use gareum::data::{CleanOptions, ColumnRequest, Dataset, LabelMap, ReadOptions, Records, SchemaSource, clean};
use gareum::predict::Predictor;
use gareum::train::PartReport;

use super::{check_stack, describe_part};
use crate::arguments::LabelledColumns;
use crate::progress::Display;

/// Opens the file; every reading gives the same rows.
pub fn open(data: &Path, columns: &LabelledColumns, split: &str) -> anyhow::Result<Records> {
    let read = ReadOptions {
        header: columns.no_header.then_some(false),
        split: Some(split.to_owned()),
        ..ReadOptions::default()
    };
    Ok(Records::open(data, &read)?)
}

/// Reads it whole and says what it is. Duplicates stay: figures are about the file that was given.
pub fn read(
    records: Records,
    columns: &LabelledColumns,
    predictor: &Predictor,
    display: Display,
) -> anyhow::Result<Dataset> {
    let schema = SchemaSource::Fixed(predictor.schema());
    let mut dataset = read_plain(records, columns, &predictor.known_columns(), schema, display)?;
    dataset.normalize(predictor.normalize_steps());
    Ok(dataset)
}

/// As [`read`], with texts as they stand in the file. `known` are the columns of the training data, as far as they were named.
pub fn read_plain(
    records: Records,
    columns: &LabelledColumns,
    known: &ColumnRequest,
    schema: SchemaSource<'_>,
    display: Display,
) -> anyhow::Result<Dataset> {
    let request = ColumnRequest {
        text: columns.text.clone(),
        text_pair: columns.text_pair.clone(),
        label: columns.label.clone(),
        ..ColumnRequest::default()
    };
    check_stack(&request.text, columns.stack)?;
    let request = request.or_known(known, &records);
    let map = columns.label_map.as_deref().map(LabelMap::open).transpose()?;
    let mut dataset = Dataset::read(records, &request, schema, map.as_ref())?;
    let whole = CleanOptions {
        drop_duplicates: false,
        ..CleanOptions::default()
    };
    let clean = clean(&mut dataset, &whole);
    let load = dataset.report.clone();
    describe_part(display, &PartReport { load, clean });
    Ok(dataset)
}
