//! What the labels of files mean, and which of them mean the same.

use std::collections::{BTreeMap, HashMap};

use super::scan::{DistinctLabels, Scan};
use super::{InspectError, InspectOptions, InspectedFile};
use crate::data::{
    LabelColumns, LabelIndex, LabelMap, LabelSchema, Place, RawLabel, Target, Task, infer, same_text_key,
};

/// What the different labels of a file mean.
pub(super) struct Meaning {
    /// The file whose labels these are: itself, or the first one with labels.
    pub schema_of: usize,
    pub schema: Option<LabelSchema>,
    pub separator: Option<String>,
    /// What each label stands for; `None` for one that there should not be.
    pub targets: Vec<Option<Target>>,
    /// Equal for labels that mean the same.
    pub numbers: Vec<u32>,
}

/// What the labels of each file mean: those of the first one with labels, if they are meant to be the same.
pub(super) fn meanings(
    files: &[InspectedFile],
    scans: &[Scan],
    options: &InspectOptions<'_>,
) -> Result<Vec<Meaning>, InspectError> {
    let mut meanings: Vec<Meaning> = Vec::new();
    let mut numbers = HashMap::<String, u32>::new();
    for (number, (file, scan)) in files.iter().zip(scans).enumerate() {
        let Some(columns) = scan
            .columns
            .label
            .as_ref()
            .filter(|_| !scan.counts.labels.labels.is_empty())
        else {
            meanings.push(Meaning {
                schema_of: number,
                schema: None,
                separator: None,
                targets: Vec::new(),
                numbers: Vec::new(),
            });
            continue;
        };
        let names = label_names(scan);
        let first = meanings.iter().position(|meaning| meaning.schema.is_some());
        let shared = first.filter(|first| file.is_measured_on || label_names(&scans[*first]) == names);
        let labels: Vec<&RawLabel> = scan.counts.labels.labels.iter().collect();
        let named_classes = match columns {
            LabelColumns::Single(column) => scan.records.class_names(*column).map(LabelMap::from_names),
            _ => None,
        };
        let map = options.label_map.or(named_classes.as_ref());
        let asked = options.columns.label_separator.as_deref();
        let (schema, separator) = match (shared.and_then(|first| meanings[first].schema.clone()), columns) {
            (Some(schema), _) => (schema, asked.map(str::to_owned)),
            (None, LabelColumns::Indicators(_)) => {
                let task = Task::MultiLabel;
                (LabelSchema { task, names }, None)
            }
            (None, _) => infer(&labels, options.task, asked, map),
        };
        let index = LabelIndex::new(&schema, separator.as_deref(), map);
        let place = || Place::new(&file.name, 0, 0, None);
        let targets: Vec<Option<Target>> = labels.iter().map(|label| index.target(label, place).ok()).collect();
        let mut number_of = |(label, target): (&&RawLabel, &Option<Target>)| {
            let key = match target {
                Some(target) => format!("{target:?}"),
                None => format!("unknown {}", label.key()),
            };
            let next = numbers.len() as u32;
            *numbers.entry(key).or_insert(next)
        };
        meanings.push(Meaning {
            schema_of: shared.unwrap_or(number),
            numbers: labels.iter().zip(&targets).map(&mut number_of).collect(),
            schema: Some(schema),
            separator,
            targets,
        });
    }
    Ok(meanings)
}

fn label_names(scan: &Scan) -> Vec<String> {
    let positions = scan.columns.label.as_ref().map_or(&[][..], LabelColumns::positions);
    let names = positions
        .iter()
        .map(|position| scan.records.columns()[*position].clone());
    names.collect()
}

/// Labels that are the same but for case and blanks.
pub(super) fn similar(labels: &DistinctLabels) -> Vec<Vec<String>> {
    let mut groups = BTreeMap::<String, Vec<String>>::new();
    for label in labels.labels.iter().filter(|label| matches!(label, RawLabel::One(_))) {
        groups
            .entry(same_text_key(&label.shown(), None))
            .or_default()
            .push(label.shown());
    }
    groups.into_values().filter(|group| group.len() > 1).collect()
}
