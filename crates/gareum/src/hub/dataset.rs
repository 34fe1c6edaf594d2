//! Which files of a dataset repository are a split of a subset, and what its classes are called: by the card (`README.md`), else by the
//! names of the files.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use serde_json::{Map, Value};

use super::cache::CachedRepository;
use super::{DatasetName, Hub, HubError, HubEvent, Repository, Transfer, cache_directory};

const CARD: &str = "README.md";
/// A longer card is no card.
const MAX_CARD_BYTES: usize = 4 << 20;
/// Where the hub keeps parquet files that it made of other formats.
const CONVERTED: &str = "refs/convert/parquet";
const DEFAULT: &str = "default";
/// Extensions of files with rows, best first.
const FORMATS: [&str; 6] = ["parquet", "jsonl", "json", "csv", "tsv", "txt"];
/// Words for splits in the names of files, as the `datasets` library takes them.
const SPLITS: [(&str, &str); 10] = [
    ("train", "train"),
    ("training", "train"),
    ("validation", "validation"),
    ("valid", "validation"),
    ("val", "validation"),
    ("dev", "validation"),
    ("test", "test"),
    ("testing", "test"),
    ("eval", "test"),
    ("evaluation", "test"),
];

/// A split that was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalDataset {
    /// Its files, in order.
    pub files: Vec<PathBuf>,
    /// What the numbers of a column of classes mean, as the card says it.
    pub class_names: BTreeMap<String, Vec<String>>,
    /// The subset; `default` where there are none.
    pub subset: String,
    /// The split; empty if a file was named.
    pub split: String,
    /// All splits of the subset.
    pub splits: Vec<String>,
}

impl Hub {
    /// Brings the files of a split into the cache. `default_split` is taken where the name says none and there are several.
    ///
    /// # Errors
    /// [`HubError`] says what could not be had and why.
    pub fn fetch_dataset(
        &self,
        name: &DatasetName,
        default_split: Option<&str>,
        observe: &mut dyn FnMut(HubEvent<'_>),
    ) -> Result<LocalDataset, HubError> {
        match self.fetch_revision(name, default_split, observe) {
            // The hub makes parquet of what stands in other formats, behind a revision of its own.
            Err(error @ (HubError::Weights { .. } | HubError::Part { .. })) if name.repository.revision == "main" => {
                let converted = self.fetch_revision(&converted(name), default_split, observe);
                converted.map_err(|_| error)
            }
            fetched => fetched,
        }
    }

    fn fetch_revision(
        &self,
        name: &DatasetName,
        default_split: Option<&str>,
        observe: &mut dyn FnMut(HubEvent<'_>),
    ) -> Result<LocalDataset, HubError> {
        let repository = &name.repository;
        let cached = CachedRepository::of(&self.cache, repository);
        let there = || in_snapshot(&cached, name, default_split);
        let Some(listing) = self.listing(repository, there().is_ok(), observe)? else {
            return there().map_err(|error| match error {
                HubError::Weights { .. } => self.not_cached(repository),
                error => error,
            });
        };
        let mut get = |file: &str| {
            let mut tell = |transfer: Transfer<'_>| observe(HubEvent::Transfer(transfer));
            self.client.fetch(repository, &cached, &listing.commit, file, &mut tell)
        };
        let card = match listing.files.iter().any(|file| file == CARD) {
            true => Card::read(&get(CARD)?),
            false => Card::default(),
        };
        let chosen = card.choose(name, &listing.files, default_split)?;
        for file in &chosen.files {
            get(file)?;
        }
        cached.remember(&repository.revision, &listing.commit)?;
        Ok(chosen.local(&cached.snapshot(&listing.commit)))
    }
}

/// The files of a dataset that was fetched, without the network.
///
/// # Errors
/// [`HubError::NotCached`] if it was not, or not wholly.
pub(crate) fn local_dataset(name: &DatasetName, default_split: Option<&str>) -> Result<LocalDataset, HubError> {
    let cache = cache_directory()?;
    let cached = CachedRepository::of(&cache, &name.repository);
    let found = in_snapshot(&cached, name, default_split);
    let found = found.or_else(|error| match name.repository.revision.as_str() {
        "main" => in_snapshot(&cached, &converted(name), default_split).map_err(|_| error),
        _ => Err(error),
    });
    found.map_err(|error| match error {
        HubError::Weights { .. } => HubError::NotCached {
            name: name.repository.id.clone(),
        },
        error => error,
    })
}

fn converted(name: &DatasetName) -> DatasetName {
    DatasetName {
        repository: Repository {
            revision: CONVERTED.to_owned(),
            ..name.repository.clone()
        },
        rest: name.rest.clone(),
    }
}

/// What the newest snapshot of a revision has.
fn in_snapshot(
    cached: &CachedRepository,
    name: &DatasetName,
    default_split: Option<&str>,
) -> Result<LocalDataset, HubError> {
    let none = || no_files(name, "it was not fetched");
    let snapshot = cached.latest(&name.repository.revision).ok_or_else(none)?;
    let mut files = Vec::new();
    collect(&snapshot, &snapshot, &mut files);
    files.sort_unstable();
    let chosen = Card::read(&snapshot.join(CARD)).choose(name, &files, default_split)?;
    match is_whole(&chosen.files) {
        true => Ok(chosen.local(&snapshot)),
        false => Err(none()),
    }
}

fn collect(folder: &Path, root: &Path, files: &mut Vec<String>) {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for path in entries.map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, root, files);
        } else if let Ok(path) = path.strip_prefix(root) {
            files.push(path.display().to_string());
        }
    }
}

/// Whether files of `train-00000-of-00002.parquet` are all there.
fn is_whole(files: &[String]) -> bool {
    let of = |file: &String| {
        file.rsplit_once("-of-")?
            .1
            .split(['.', '-'])
            .next()?
            .parse::<usize>()
            .ok()
    };
    files.iter().filter_map(of).all(|count| count <= files.len())
}

fn no_files(name: &DatasetName, reason: &str) -> HubError {
    HubError::Weights {
        name: name.repository.id.clone(),
        reason: format!("there are no rows that could be read: {reason}"),
        hint: format!("gareum reads {} of a dataset", FORMATS.join(", ")),
    }
}

/// Files by their names in the repository.
#[derive(Debug, PartialEq)]
struct Chosen {
    files: Vec<String>,
    class_names: BTreeMap<String, Vec<String>>,
    subset: String,
    split: String,
    splits: Vec<String>,
}

impl Chosen {
    fn local(self, snapshot: &Path) -> LocalDataset {
        LocalDataset {
            files: self.files.iter().map(|file| snapshot.join(file)).collect(),
            class_names: self.class_names,
            subset: self.subset,
            split: self.split,
            splits: self.splits,
        }
    }
}

/// What a card says of subsets.
#[derive(Debug, Default)]
struct Card {
    subsets: Vec<Subset>,
    /// By subset and column.
    class_names: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Subset {
    name: String,
    is_default: bool,
    /// Patterns, or files, of each split, in order.
    splits: Vec<(String, Vec<String>)>,
}

impl Card {
    /// What the head of a card says; nothing if there is none or it cannot be understood, since the names of files may do.
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        Self::parse(&text)
    }

    fn parse(text: &str) -> Self {
        let head = text
            .strip_prefix("---\n")
            .and_then(|rest| Some(rest.split_once("\n---")?.0));
        let Some(head) = head.filter(|head| head.len() <= MAX_CARD_BYTES) else {
            return Self::default();
        };
        let documents = Yaml::load_from_str(head).unwrap_or_default();
        let head = documents.first().map_or(Value::Null, |yaml| json(yaml, 0));
        let mut card = Self::default();
        for subset in many(&head["configs"]) {
            card.subsets.push(Subset {
                name: subset_name(subset),
                is_default: subset["default"] == true,
                splits: splits(&subset["data_files"]),
            });
        }
        card.subsets.retain(|subset| !subset.splits.is_empty());
        for info in many(&head["dataset_info"]) {
            let features = many(&info["features"]).filter_map(|feature| {
                let name = feature["name"].as_str()?.to_owned();
                Some((name, class_names(feature)?))
            });
            card.class_names.insert(subset_name(info), features.collect());
        }
        card
    }

    /// The files that a name means.
    fn choose(&self, name: &DatasetName, files: &[String], default_split: Option<&str>) -> Result<Chosen, HubError> {
        if files.contains(&name.rest) {
            let holds = |subset: &&Subset| {
                let mut patterns = subset.splits.iter().flat_map(|(_, patterns)| patterns);
                patterns.any(|pattern| matches(pattern, &name.rest))
            };
            let subset = self.subsets.iter().find(holds).map(|subset| subset.name.clone());
            let only = self.class_names.keys().next().filter(|_| self.class_names.len() == 1);
            let subset = subset.or(only.cloned()).unwrap_or_default();
            return Ok(Chosen {
                files: vec![name.rest.clone()],
                class_names: self.class_names.get(&subset).cloned().unwrap_or_default(),
                subset,
                split: String::new(),
                splits: Vec::new(),
            });
        }
        let is_file = |rest: &str| {
            Path::new(rest)
                .extension()
                .is_some_and(|e| FORMATS.iter().any(|format| *format == e))
        };
        if is_file(&name.rest) {
            return Err(HubError::File {
                name: name.repository.id.clone(),
                file: name.rest.clone(),
                page: format!("hf://datasets/{}", name.repository.id),
            });
        }
        let inferred;
        let subsets = match self.subsets.is_empty() {
            false => &self.subsets,
            true => {
                inferred = subsets_of(files);
                &inferred
            }
        };
        if subsets.is_empty() {
            let shown: Vec<&String> = files.iter().filter(|file| !file.starts_with('.')).take(20).collect();
            return Err(no_files(name, &format!("it holds {shown:?}")));
        }
        let (subset, asked) = find_subset(name, subsets)?;
        let matching = |patterns: &[String]| {
            let fits = |file: &&String| patterns.iter().any(|pattern| matches(pattern, file));
            best_format(files.iter().filter(fits).cloned().collect())
        };
        let splits: Vec<&str> = subset.splits.iter().map(|(split, _)| split.as_str()).collect();
        let is_there = |split: &&str| splits.contains(split);
        let split = match asked.or(splits.first().copied().filter(|_| splits.len() == 1)) {
            Some(split) => split,
            None => default_split.filter(is_there).ok_or_else(|| HubError::Part {
                name: name.repository.id.clone(),
                reason: "no split is named".to_owned(),
                known: list(splits.iter().copied()),
                hint: format!(
                    "name one behind a slash: hf://{}/{}/{}",
                    name.repository.id, subset.name, splits[0]
                ),
            })?,
        };
        let patterns = subset.splits.iter().find(|(known, _)| known == split);
        let files = patterns.map(|(_, patterns)| matching(patterns)).unwrap_or_default();
        if files.is_empty() {
            return Err(no_files(name, &format!("split `{split}` has no files")));
        }
        Ok(Chosen {
            files,
            class_names: self.class_names.get(&subset.name).cloned().unwrap_or_default(),
            subset: subset.name.clone(),
            split: split.to_owned(),
            splits: splits.into_iter().map(str::to_owned).collect(),
        })
    }
}

/// The subset that a name means, and the split if it says one.
fn find_subset<'a>(name: &'a DatasetName, subsets: &'a [Subset]) -> Result<(&'a Subset, Option<&'a str>), HubError> {
    let find = |wanted: &str| subsets.iter().find(|subset| subset.name == wanted);
    let has = |subset: &Subset, split: &str| subset.splits.iter().any(|(known, _)| known == split);
    let usual = match subsets {
        [only] => Some(only),
        _ => subsets
            .iter()
            .find(|subset| subset.is_default)
            .or_else(|| find(DEFAULT)),
    };
    let parts: Vec<&str> = name.rest.split('/').filter(|part| !part.is_empty()).collect();
    let found = match parts.as_slice() {
        [] => usual.map(|subset| (subset, None)),
        [part] => find(part).map(|subset| (subset, None)).or_else(|| {
            let subset = usual.filter(|subset| has(subset, part))?;
            Some((subset, Some(*part)))
        }),
        [part, split] => match find(part) {
            Some(subset) if has(subset, split) => Some((subset, Some(*split))),
            Some(subset) => {
                return Err(HubError::Part {
                    name: name.repository.id.clone(),
                    reason: format!("subset `{part}` has no split `{split}`"),
                    known: list(subset.splits.iter().map(|(split, _)| split.as_str())),
                    hint: "check the name".to_owned(),
                });
            }
            None => None,
        },
        _ => None,
    };
    found.ok_or_else(|| {
        let reason = match parts.first() {
            None => "no subset is named".to_owned(),
            Some(part) => format!("it has no subset or split `{part}`"),
        };
        let splits = usual
            .iter()
            .flat_map(|subset| subset.splits.iter().map(|(split, _)| split.as_str()));
        let known: Vec<&str> = subsets
            .iter()
            .map(|subset| subset.name.as_str())
            .chain(splits)
            .collect();
        HubError::Part {
            name: name.repository.id.clone(),
            reason,
            known: list(known.into_iter()),
            hint: format!(
                "name one behind a slash: hf://{}/{}",
                name.repository.id, subsets[0].name
            ),
        }
    })
}

/// Subsets by the names of files: `mnli/train-00000-of-00001.parquet`, `data/test.csv`, `default/train/0000.parquet`.
fn subsets_of(files: &[String]) -> Vec<Subset> {
    let mut found: BTreeMap<String, BTreeMap<&str, BTreeSet<String>>> = BTreeMap::new();
    for file in best_format(files.to_vec()) {
        let path = Path::new(&file);
        let stem = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let folders = path.parent().unwrap_or(Path::new("")).iter();
        let folders: Vec<String> = folders.map(|part| part.to_string_lossy().into_owned()).collect();
        let word = |word: &str| SPLITS.iter().find(|(known, _)| *known == word).map(|(_, split)| *split);
        let of_folder = folders
            .iter()
            .find_map(|folder| word(folder.trim_start_matches("partial-")));
        let of_name = stem.split(['-', '_', '.', ' ']).find_map(word);
        let split = of_folder.or(of_name).unwrap_or("train");
        let is_split = |folder: &&String| word(folder.trim_start_matches("partial-")).is_some();
        let others: Vec<&str> = folders
            .iter()
            .filter(|folder| *folder != "data" && !is_split(folder))
            .map(String::as_str)
            .collect();
        let subset = if others.is_empty() {
            DEFAULT.to_owned()
        } else {
            others.join("/")
        };
        found.entry(subset).or_default().entry(split).or_default().insert(file);
    }
    let subset = |(name, splits): (String, BTreeMap<&str, BTreeSet<String>>)| Subset {
        is_default: name == DEFAULT,
        name,
        splits: splits
            .into_iter()
            .map(|(split, files)| (split.to_owned(), files.into_iter().collect()))
            .collect(),
    };
    found.into_iter().map(subset).collect()
}

/// The files of the best format that there are, in order.
fn best_format(mut files: Vec<String>) -> Vec<String> {
    let format = |file: &String| {
        let name = file.strip_suffix(".gz").unwrap_or(file);
        let extension = Path::new(name).extension()?.to_str()?;
        FORMATS.iter().position(|format| *format == extension)
    };
    let best = files.iter().filter_map(format).min();
    files.retain(|file| best.is_some() && format(file) == best);
    files.sort_unstable();
    files
}

fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let shown: Vec<String> = names.take(50).map(|name| format!("`{name}`")).collect();
    shown.join(", ")
}

/// One value or several.
fn many(value: &Value) -> impl Iterator<Item = &Value> {
    match value {
        Value::Array(values) => values.iter(),
        Value::Null => Default::default(),
        other => std::slice::from_ref(other).iter(),
    }
}

fn subset_name(value: &Value) -> String {
    value["config_name"].as_str().unwrap_or(DEFAULT).to_owned()
}

/// `data_files`: a pattern, several, `{split, path}` of each split, or patterns by split.
fn splits(data_files: &Value) -> Vec<(String, Vec<String>)> {
    let patterns = |value: &Value| {
        many(value)
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let mut splits: Vec<(String, Vec<String>)> = Vec::new();
    match data_files {
        Value::Object(by_split) if !by_split.contains_key("path") => {
            splits.extend(by_split.iter().map(|(split, paths)| (split.clone(), patterns(paths))));
        }
        other => {
            for entry in many(other) {
                let split = entry["split"].as_str().unwrap_or("train").to_owned();
                let paths = patterns(if entry.is_object() { &entry["path"] } else { entry });
                match splits.iter_mut().find(|(known, _)| *known == split) {
                    Some((_, known)) => known.extend(paths),
                    None => splits.push((split, paths)),
                }
            }
        }
    }
    splits.retain(|(_, patterns)| !patterns.is_empty());
    splits
}

/// The names of a column of classes, or of lists of them.
fn class_names(feature: &Value) -> Option<Vec<String>> {
    let places = [
        &feature["dtype"],
        &feature["sequence"],
        &feature["list"],
        &feature["dtype"]["sequence"],
    ];
    let names = places
        .into_iter()
        .find_map(|place| place.get("class_label")?.get("names"))?;
    match names {
        Value::Array(names) => names.iter().map(text_of).collect(),
        Value::Object(names) => (0..names.len())
            .map(|number| text_of(names.get(&number.to_string())?))
            .collect(),
        _ => None,
    }
}

/// A name; YAML takes some (`no`, `1`) for something else.
fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(value) => Some(value.to_string()),
        _ => None,
    }
}

/// YAML as JSON; what is nested absurdly deep is left out.
fn json(yaml: &Yaml<'_>, depth: usize) -> Value {
    if depth > 32 {
        return Value::Null;
    }
    match yaml {
        Yaml::Value(Scalar::String(text)) => Value::String(text.to_string()),
        Yaml::Value(Scalar::Integer(number)) => Value::from(*number),
        Yaml::Value(Scalar::Boolean(value)) => Value::Bool(*value),
        Yaml::Value(Scalar::FloatingPoint(number)) => Value::from(number.into_inner()),
        Yaml::Sequence(values) => values.iter().map(|value| json(value, depth + 1)).collect(),
        Yaml::Mapping(pairs) => {
            let pairs = pairs
                .iter()
                .filter_map(|(key, value)| Some((text_of(&json(key, depth + 1))?, json(value, depth + 1))));
            Value::Object(pairs.collect::<Map<_, _>>())
        }
        Yaml::Tagged(_, inner) => json(inner, depth + 1),
        _ => Value::Null,
    }
}

/// Whether a path fits a pattern: `*` and `?` stay within a folder, `**` does not.
fn matches(pattern: &str, path: &str) -> bool {
    fn fits(pattern: &[u8], path: &[u8]) -> bool {
        match (pattern, path) {
            ([], []) => true,
            ([b'*', b'*', b'/', rest @ ..], _) => {
                fits(rest, path)
                    || path
                        .iter()
                        .position(|c| *c == b'/')
                        .is_some_and(|at| fits(pattern, &path[at + 1..]))
            }
            ([b'*', b'*', rest @ ..], _) => (0..=path.len()).any(|at| fits(rest, &path[at..])),
            ([b'*', rest @ ..], _) => {
                let end = path.iter().position(|c| *c == b'/').unwrap_or(path.len());
                (0..=end).any(|at| fits(rest, &path[at..]))
            }
            ([b'?', rest @ ..], [c, path @ ..]) if *c != b'/' => fits(rest, path),
            ([first, rest @ ..], [c, path @ ..]) if first == c => fits(rest, path),
            _ => false,
        }
    }
    // More stars than any pattern has would take for ever.
    pattern.matches('*').count() <= 8 && fits(pattern.trim_start_matches("./").as_bytes(), path.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GLUE: &str = "---\nlanguage:\n- en\ndataset_info:\n- config_name: cola\n  features:\n  - name: sentence\n    dtype: string\n  - \
                        name: label\n    dtype:\n      class_label:\n        names:\n          '0': unacceptable\n          '1': acceptable\n- \
                        config_name: mnli\n  features:\n  - name: premise\n    dtype: string\n  - name: label\n    dtype:\n      \
                        class_label:\n        names:\n          '0': entailment\n          '1': neutral\n          '2': \
                        contradiction\nconfigs:\n- config_name: cola\n  data_files:\n  - split: train\n    path: cola/train-*\n  - \
                        split: test\n    path: cola/test-*\n- config_name: mnli\n  data_files:\n  - split: train\n    path: \
                        mnli/train-*\n  - split: validation_matched\n    path: mnli/validation_matched-*\n---\n# GLUE\n";

    fn name(text: &str) -> DatasetName {
        DatasetName::parse(Path::new(text)).unwrap().unwrap()
    }

    fn choose(card: &str, files: &[&str], text: &str, split: Option<&str>) -> Result<Chosen, HubError> {
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        Card::parse(card).choose(&name(text), &files, split)
    }

    const FILES: [&str; 6] = [
        "README.md",
        "cola/test-00000-of-00001.parquet",
        "cola/train-00000-of-00001.parquet",
        "mnli/train-00000-of-00002.parquet",
        "mnli/train-00001-of-00002.parquet",
        "mnli/validation_matched-00000-of-00001.parquet",
    ];

    #[test]
    fn a_card_says_subsets_splits_and_classes() {
        let check = |text: &str, split: Option<&str>, files: &[&str], classes: usize| {
            let chosen = choose(GLUE, &FILES, text, split).unwrap();
            assert_eq!(chosen.files, files, "{text}");
            assert_eq!(chosen.class_names["label"].len(), classes, "{text}");
        };
        check("hf://nyu-mll/glue/mnli", Some("train"), &FILES[3..5], 3);
        check("hf://nyu-mll/glue/mnli/train", None, &FILES[3..5], 3);
        check(
            "hf://nyu-mll/glue/mnli/validation_matched",
            Some("train"),
            &FILES[5..6],
            3,
        );
        check("hf://nyu-mll/glue/cola", Some("test"), &FILES[1..2], 2);
        check(
            "hf://datasets/nyu-mll/glue/cola/test-00000-of-00001.parquet",
            None,
            &FILES[1..2],
            2,
        );
        check(
            "hf://datasets/nyu-mll/glue/mnli/train-00001-of-00002.parquet",
            None,
            &FILES[4..5],
            3,
        );
    }

    #[test]
    fn what_there_is_not_is_told_with_what_there_is() {
        let check = |text: &str, split: Option<&str>, expected: &str| {
            let error = choose(GLUE, &FILES, text, split).unwrap_err().to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check(
            "hf://nyu-mll/glue",
            None,
            "no subset is named; there are `cola`, `mnli`",
        );
        check(
            "hf://nyu-mll/glue/mnly",
            None,
            "it has no subset or split `mnly`; there are `cola`, `mnli`",
        );
        check(
            "hf://nyu-mll/glue/mnli",
            Some("test"),
            "no split is named; there are `train`, `validation_matched`",
        );
        check(
            "hf://nyu-mll/glue/cola/dev",
            None,
            "subset `cola` has no split `dev`; there are `train`, `test`",
        );
        check(
            "hf://nyu-mll/glue/cola/x.parquet",
            None,
            "there is no file `cola/x.parquet`",
        );
        let error = choose("", &["README.md", "glue.py"], "hf://nyu-mll/glue", None)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no rows that could be read") && error.contains("glue.py"),
            "{error}"
        );
    }

    #[test]
    fn without_a_card_names_of_files_do() {
        let check = |files: &[&str], text: &str, split: Option<&str>, expected: &[&str]| {
            let chosen = choose("no card", files, text, split).map_err(|error| error.to_string());
            assert_eq!(
                chosen.map(|chosen| chosen.files),
                Ok(expected.iter().map(|file| (*file).to_owned()).collect()),
                "{text}"
            );
        };
        let plain = ["data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"];
        check(&plain, "hf://e9t/nsmc", Some("train"), &plain[..1]);
        check(&plain, "hf://e9t/nsmc/test", None, &plain[1..]);
        let converted = [
            "mnli/train/0000.parquet",
            "mnli/train/0001.parquet",
            "cola/partial-train/0000.parquet",
        ];
        check(&converted, "hf://nyu-mll/glue/mnli", None, &converted[..2]);
        check(&converted, "hf://nyu-mll/glue/cola/train", None, &converted[2..]);
        check(
            &["train.csv", "dev.csv", "x.py"],
            "hf://a/b/validation",
            None,
            &["dev.csv"],
        );
        check(&["all.jsonl.gz"], "hf://a/b", None, &["all.jsonl.gz"]);
        check(
            &["x/rows.parquet", "x/rows.csv"],
            "hf://datasets/a/b/x/rows.csv",
            None,
            &["x/rows.csv"],
        );
    }

    #[test]
    fn other_ways_to_write_a_card() {
        let head = |rest: &str| Card::parse(&format!("---\n{rest}\n---\n"));
        let card = head("configs:\n- config_name: default\n  data_files: data/*.csv");
        assert_eq!(
            card.subsets[0].splits,
            [("train".to_owned(), vec!["data/*.csv".to_owned()])]
        );
        let card = head(
            "configs:\n- config_name: a\n  default: true\n  data_files:\n    train: [x.csv, y.csv]\n    test: z.csv",
        );
        assert_eq!(card.subsets[0].splits[0].1, ["x.csv", "y.csv"]);
        assert!(card.subsets[0].is_default);
        let card = head(
            "dataset_info:\n  features:\n  - name: tags\n    sequence:\n      class_label:\n        names: [no, yes]",
        );
        assert_eq!(card.class_names[DEFAULT]["tags"].len(), 2);
        for broken in ["configs: [", "configs: 3", "- 1", "a: &x [*x]", ""] {
            assert!(head(broken).subsets.is_empty(), "{broken}");
        }
        assert!(Card::parse("# no head").subsets.is_empty());
    }

    #[test]
    fn patterns() {
        let check = |pattern: &str, path: &str, expected: bool| {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}")
        };
        check("mnli/train-*", "mnli/train-00000-of-00001.parquet", true);
        check("mnli/train-*", "mnli/train/x.parquet", false);
        check("*.csv", "a/b.csv", false);
        check("**/*.csv", "a/b.csv", true);
        check("**/*.csv", "b.csv", true);
        check("data/**", "data/a/b", true);
        check("./x?.csv", "x1.csv", true);
        check("***********a", "b", false);
    }

    #[test]
    fn parts_must_be_complete() {
        let whole = |files: &[&str]| is_whole(&files.iter().map(|file| (*file).to_owned()).collect::<Vec<_>>());
        assert!(whole(&["a/train-00000-of-00001.parquet"]) && whole(&["x.csv"]));
        assert!(!whole(&["a/train-00000-of-00002.parquet"]));
    }
}
