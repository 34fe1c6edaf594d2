//! Which columns hold the text, its pair and the label: named by the user, or recognised by their usual names.
//!
//! Detection ignores case and works in tiers: the first tier that has a match decides, and two matches within one tier are an error,
//! since `intent` and `category` side by side mean different things. The tiers are the tables below; changing their order changes results.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::{listed, nearest, shortened};
use super::label_values::{KEYWORD_KEYS, POLARITY_KEYS};
use super::{DataError, FileKind, Input, Record, Records};

/// Pairs, looked for before single texts. The first pair found is taken.
const PAIRS: [(&str, &str); 8] = [
    ("sentence1", "sentence2"),
    ("premise", "hypothesis"),
    ("question1", "question2"),
    ("text_a", "text_b"),
    ("sentence_a", "sentence_b"),
    ("text1", "text2"),
    ("text", "text_pair"),
    ("question", "passage"),
];

const TEXTS: [&[&str]; 3] = [
    &["text", "텍스트"],
    &[
        "content",
        "review",
        "sentence",
        "document",
        "utterance",
        "question",
        "comment",
        "message",
        "body",
        "tweet",
        "query",
        "문장",
        "내용",
        "본문",
        "리뷰",
        "댓글",
        "질문",
    ],
    &["title", "headline", "description", "제목"],
];

const LABELS: [&[&str]; 4] = [
    &["label", "labels", "라벨", "레이블"],
    &["gold_label", "is_duplicate", "aspects"],
    &[
        "category",
        "intent",
        "class",
        "sentiment",
        "emotion",
        "topic",
        "topic_idx",
        "target",
        "polarity",
        "카테고리",
        "분류",
        "감정",
        "의도",
    ],
    &["score", "rating", "stars", "similarity", "점수", "평점"],
];

/// The columns asked for by name; what is absent is detected.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ColumnRequest {
    /// Empty: detect; one name: that column; several: each holds a text, and a row becomes as many examples ("stacked").
    pub text: Vec<String>,
    /// The column of the second text of a pair. Detected only when `text` is not named either.
    pub text_pair: Option<String>,
    /// Empty: detect; one name: that column; several: one 0/1 column for each label.
    pub label: Vec<String>,
    /// What separates the labels of one row, such as `,` in `2,3`. Default: see `Dataset::load`.
    pub label_separator: Option<String>,
    /// Whether the label columns hold polarities: one column for each keyword, in which a row says what it feels about it; nothing, or 0, if it does not
    /// speak of it.
    pub polarities: bool,
    /// The column whose equal values keep rows together when the data is split. Never detected.
    pub group: Option<String>,
}

/// Positions of the columns of a labelled file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    /// Positions of the text; several if texts are stacked.
    pub inputs: Vec<InputColumns>,
    /// Where the labels are.
    pub label: LabelColumns,
    /// Position of the group.
    pub group: Option<usize>,
}

/// As [`Columns`], of a file that may be without labels.
pub(crate) struct FoundColumns {
    pub inputs: Vec<InputColumns>,
    pub label: Option<LabelColumns>,
    pub group: Option<usize>,
}

/// Where the labels are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LabelColumns {
    /// In one column.
    Single(usize),
    /// One 0/1 column for each label; the columns' names are the labels'.
    Indicators(Vec<usize>),
    /// Keywords in one column and the sentiment of each in another, as lists of objects are read: a label is a keyword with its sentiment.
    Aspects([usize; 2]),
    /// One column of polarities for each keyword; a label is the column's name with the value behind it.
    Polarities(Vec<usize>),
}

/// Positions of the columns of a file to predict on: no label needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputColumns {
    /// Position of the text.
    pub text: usize,
    /// Position of the second text.
    pub text_pair: Option<usize>,
}

impl ColumnRequest {
    /// Finds text, pair, label and group among the columns of `records`.
    ///
    /// # Errors
    /// [`DataError`] if a named column is absent, or detection finds none or several.
    pub fn resolve(&self, records: &Records) -> Result<Columns, DataError> {
        let header = Header { records };
        let found = self.find(&header)?;
        let label = found.label.ok_or_else(|| header.undetected("label", "--label"))?;
        Ok(Columns {
            inputs: found.inputs,
            label,
            group: found.group,
        })
    }

    /// As [`ColumnRequest::resolve`] for a file that may be without labels: there is none where none is named and none recognised.
    ///
    /// # Errors
    /// As [`ColumnRequest::resolve`]; also where several columns could be the label.
    pub(crate) fn resolve_if_labelled(&self, records: &Records) -> Result<FoundColumns, DataError> {
        if self.text.is_empty() && self.text_pair.is_none() && records.columns().len() == 1 {
            return Ok(FoundColumns {
                inputs: vec![self.resolve_inputs(records)?],
                label: None,
                group: None,
            });
        }
        self.find(&Header { records })
    }

    fn find(&self, header: &Header<'_>) -> Result<FoundColumns, DataError> {
        let named = |names: &[String], role| {
            let positions = names.iter().map(|name| header.named(name, role));
            positions.collect::<Result<Vec<_>, _>>()
        };
        let aspects = match self.label.as_slice() {
            [name] => header.aspects(Some(name)),
            _ => None,
        };
        let label = match aspects {
            Some(positions) => Some(LabelColumns::Aspects(positions)),
            None => match named(&self.label, "label")?.as_slice() {
                [] => None,
                positions if self.polarities => Some(LabelColumns::Polarities(positions.to_vec())),
                [position] => Some(LabelColumns::Single(*position)),
                positions => Some(LabelColumns::Indicators(positions.to_vec())),
            },
        };
        let group = self
            .group
            .as_deref()
            .map(|name| header.named(name, "group"))
            .transpose()?;
        let labels = label.as_ref().map_or(&[][..], LabelColumns::positions);
        let inputs = match self.text.as_slice() {
            [] | [_] => vec![self.inputs(header, &[labels, group.as_slice()].concat())?],
            names => {
                let text_pair = self.pair(header)?;
                let texts = named(names, "text")?.into_iter();
                texts.map(|text| InputColumns { text, text_pair }).collect()
            }
        };
        let mut used: Vec<usize> = inputs.iter().map(|inputs| inputs.text).collect();
        used.extend(inputs.first().and_then(|inputs| inputs.text_pair));
        used.extend(group);
        let label = match label {
            Some(label) => Some(label),
            None => match header.detect(&LABELS, &used, "label", "--label") {
                Ok(position) => Some(LabelColumns::Single(position)),
                Err(DataError::UndetectedColumn { .. }) => header.aspects(None).map(LabelColumns::Aspects),
                Err(error) => return Err(error),
            },
        };
        // Rows may well be grouped by their label or by their text.
        used.retain(|position| Some(*position) != group);
        used.extend(label.iter().flat_map(LabelColumns::positions));
        header.distinct(used)?;
        Ok(FoundColumns { inputs, label, group })
    }

    /// As [`ColumnRequest::resolve`] without a label; the only column of a file is its text whatever its name.
    ///
    /// # Errors
    /// As [`ColumnRequest::resolve`]; also if several texts are asked for.
    pub fn resolve_inputs(&self, records: &Records) -> Result<InputColumns, DataError> {
        let header = Header { records };
        if self.text.is_empty() && self.text_pair.is_none() && records.columns().len() == 1 {
            return Ok(InputColumns {
                text: 0,
                text_pair: None,
            });
        }
        let inputs = self.inputs(&header, &[])?;
        header.distinct([Some(inputs.text), inputs.text_pair].into_iter().flatten().collect())?;
        Ok(inputs)
    }

    /// What is not named here, by the names of `known` as far as the file has such columns: a model knows what its data looked like.
    pub fn or_known(mut self, known: &Self, records: &Records) -> Self {
        let has = |name: &String| records.columns().contains(name);
        if self.text.is_empty() && self.text_pair.is_none() && known.text.iter().all(has) {
            self.text.clone_from(&known.text);
            self.text_pair = known.text_pair.clone().filter(has);
        }
        if self.label.is_empty() && known.label.iter().all(has) {
            self.label.clone_from(&known.label);
        }
        self.label_separator = self.label_separator.or_else(|| known.label_separator.clone());
        self
    }

    /// It without texts where there are several columns of them: each row of another file is one text.
    pub fn of_one_text(mut self) -> Self {
        if self.text.len() > 1 {
            self.text.clear();
        }
        self
    }

    fn pair(&self, header: &Header<'_>) -> Result<Option<usize>, DataError> {
        let name = self.text_pair.as_deref();
        name.map(|name| header.named(name, "text pair")).transpose()
    }

    fn inputs(&self, header: &Header<'_>, taken: &[usize]) -> Result<InputColumns, DataError> {
        let text_pair = self.pair(header)?;
        if let Some(name) = self.text.first() {
            let text = header.named(name, "text")?;
            return Ok(InputColumns { text, text_pair });
        }
        if text_pair.is_none()
            && let Some((text, text_pair)) = header.detect_pair(taken)
        {
            return Ok(InputColumns {
                text,
                text_pair: Some(text_pair),
            });
        }
        let taken: Vec<usize> = taken.iter().copied().chain(text_pair).collect();
        Ok(InputColumns {
            text: header.detect(&TEXTS, &taken, "text", "--text")?,
            text_pair,
        })
    }
}

impl LabelColumns {
    /// Positions of all label columns.
    pub fn positions(&self) -> &[usize] {
        match self {
            Self::Single(position) => std::slice::from_ref(position),
            Self::Aspects(positions) => positions,
            Self::Indicators(positions) | Self::Polarities(positions) => positions,
        }
    }
}

impl InputColumns {
    /// The text (and pair) of a row; `None` if one of them is missing: null, empty or only white space. Numbers are texts too.
    ///
    /// # Errors
    /// [`DataError`] if a text is a list.
    pub fn read(&self, record: &Record, records: &Records) -> Result<Option<Input>, DataError> {
        let Some(text) = text_of(record, self.text, records)? else {
            return Ok(None);
        };
        let Some(position) = self.text_pair else {
            return Ok(Some(Input { text, text_pair: None }));
        };
        Ok(text_of(record, position, records)?.map(|pair| Input {
            text,
            text_pair: Some(pair),
        }))
    }
}

fn text_of(record: &Record, position: usize, records: &Records) -> Result<Option<String>, DataError> {
    match record.values.get(position) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok((!text.trim().is_empty()).then(|| text.clone())),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(Some(value.to_string())),
        Some(value) => {
            let found = format!("`{}`", shortened(&value.to_string()));
            Err(DataError::BadText {
                place: records.place(record, position),
                found,
            })
        }
    }
}

/// The columns of a file, with what messages need.
struct Header<'a> {
    records: &'a Records,
}

impl Header<'_> {
    fn columns(&self) -> &[String] {
        self.records.columns()
    }

    fn path(&self) -> String {
        self.records.path().to_owned()
    }

    fn all(&self) -> String {
        listed(self.columns().iter().map(String::as_str))
    }

    /// The column of exactly this name, or of this name in another case if that is one.
    fn named(&self, name: &str, role: &'static str) -> Result<usize, DataError> {
        let exact = self.matching(|column| column == name);
        let matches = if exact.is_empty() {
            self.matching(|column| column.to_lowercase() == name.to_lowercase())
        } else {
            exact
        };
        match matches.as_slice() {
            [position] => Ok(*position),
            [] => {
                let hint = match nearest(name, self.columns().iter().map(String::as_str)) {
                    Some(column) => format!("did you mean `{column}`?"),
                    None => self.header_hint("name one of these columns"),
                };
                let (path, columns) = (self.path(), self.all());
                Err(DataError::UnknownColumn {
                    path,
                    role,
                    name: name.to_owned(),
                    columns,
                    hint,
                })
            }
            several => Err(self.ambiguous(
                several,
                role,
                "give each column a name of its own in the header".to_owned(),
            )),
        }
    }

    /// The columns that a list of aspects became: of this name, or of any if there is but one such list.
    fn aspects(&self, name: Option<&str>) -> Option<[usize; 2]> {
        if name.is_some_and(|name| !self.matching(|column| column == name).is_empty()) {
            return None;
        }
        let keyed = |keys: &[&str]| {
            let of_key = |column: &str| match column.rsplit_once('.') {
                Some((list, key)) => {
                    keys.contains(&key.to_lowercase().as_str()) && name.is_none_or(|name| name == list)
                }
                None => false,
            };
            match self.matching(of_key).as_slice() {
                [position] => Some(*position),
                _ => None,
            }
        };
        let found = [keyed(&KEYWORD_KEYS)?, keyed(&POLARITY_KEYS)?];
        let list = |position: usize| self.columns()[position].rsplit_once('.').map(|(list, _)| list);
        (list(found[0]) == list(found[1])).then_some(found)
    }

    fn detect_pair(&self, taken: &[usize]) -> Option<(usize, usize)> {
        let single = |name: &str| match self.matching(|column| column.to_lowercase() == name).as_slice() {
            [position] if !taken.contains(position) => Some(*position),
            _ => None,
        };
        PAIRS
            .iter()
            .find_map(|(first, second)| Some((single(first)?, single(second)?)))
    }

    fn detect(
        &self,
        tiers: &[&[&str]],
        taken: &[usize],
        role: &'static str,
        flag: &'static str,
    ) -> Result<usize, DataError> {
        for tier in tiers {
            let mut matches = self.matching(|column| tier.contains(&column.to_lowercase().as_str()));
            matches.retain(|position| !taken.contains(position));
            match matches.as_slice() {
                [] => {}
                [position] => return Ok(*position),
                several => return Err(self.ambiguous(several, role, format!("name one with `{flag} NAME`"))),
            }
        }
        Err(self.undetected(role, flag))
    }

    fn undetected(&self, role: &'static str, flag: &'static str) -> DataError {
        DataError::UndetectedColumn {
            path: self.path(),
            role,
            columns: self.all(),
            hint: self.header_hint(&format!("name it with `{flag} NAME`")),
        }
    }

    fn matching(&self, matches: impl Fn(&str) -> bool) -> Vec<usize> {
        self.columns()
            .iter()
            .enumerate()
            .filter(|(_, column)| matches(column))
            .map(|(position, _)| position)
            .collect()
    }

    fn ambiguous(&self, positions: &[usize], role: &'static str, hint: String) -> DataError {
        let candidates = listed(positions.iter().map(|position| self.columns()[*position].as_str()));
        DataError::AmbiguousColumn {
            path: self.path(),
            role,
            candidates,
            hint,
        }
    }

    fn distinct(&self, mut used: Vec<usize>) -> Result<(), DataError> {
        used.sort_unstable();
        match used.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(DataError::SharedColumn {
                path: self.path(),
                name: self.columns()[pair[0]].clone(),
            }),
            None => Ok(()),
        }
    }

    /// `advice`, and a word about plain lines, or about headers if the first row looks like data: a long name or a number.
    fn header_hint(&self, advice: &str) -> String {
        let is_data = |name: &String| name.chars().count() > 30 || name.parse::<f64>().is_ok();
        if self.records.format().kind == FileKind::Lines {
            return format!(
                "{advice}; no delimiter splits this file evenly, so each line is one text: name the delimiter if there is one"
            );
        }
        match self.records.format().header {
            Some(true) if self.columns().iter().any(is_data) => {
                format!(
                    "{advice}; if the first row is data, say that there is no header (`header = false`): columns are then called `0`, `1`, ..."
                )
            }
            _ => advice.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ReadOptions;
    use super::*;

    fn records(header: &str) -> Records {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, format!("{header}\n")).unwrap();
        Records::open(&path, &ReadOptions::default()).unwrap()
    }

    fn check(header: &str, request: &ColumnRequest, expected: &str) {
        let records = records(header);
        let name = |position: usize| records.columns()[position].clone();
        let seen = match request.resolve(&records) {
            Ok(columns) => {
                let texts: Vec<String> = columns.inputs.iter().map(|inputs| name(inputs.text)).collect();
                let pair = columns.inputs[0]
                    .text_pair
                    .map(|pair| format!("+{}", name(pair)))
                    .unwrap_or_default();
                let labels = columns
                    .label
                    .positions()
                    .iter()
                    .map(|position| name(*position))
                    .collect::<Vec<_>>();
                format!("{}{pair} -> {}", texts.join("|"), labels.join("+"))
            }
            Err(error) => error.to_string(),
        };
        assert!(seen.contains(expected), "{header}: {seen}");
    }

    #[test]
    fn usual_headers_are_recognised() {
        for (header, expected) in [
            ("id,document,label,rating", "document -> label"),
            ("Text,Category", "Text -> Category"),
            ("index,title,topic_idx", "title -> topic_idx"),
            ("genre,id,score,sentence1,sentence2", "sentence1+sentence2 -> score"),
            (
                "premise,hypothesis,gold_label,label2",
                "premise+hypothesis -> gold_label",
            ),
            (
                "id,qid1,qid2,question1,question2,is_duplicate",
                "question1+question2 -> is_duplicate",
            ),
            ("text,text_pair,labels", "text+text_pair -> labels"),
            ("labels,sentence,kor_sentence", "sentence -> labels"),
            ("리뷰,감정", "리뷰 -> 감정"),
            (
                "utterance,intent,category",
                "the label could be any of `intent`, `category`\nhint: name one with `--label NAME`",
            ),
            (
                "Q,A,label",
                "cannot tell which column is the text; found `Q`, `A`, `label`\nhint: name it with `--text NAME`",
            ),
            (
                "좋은 영화였다 정말 좋은 영화였다 정말 정말 좋은 영화였다,1",
                "`header = false`",
            ),
        ] {
            check(header, &ColumnRequest::default(), expected);
        }
    }

    #[test]
    fn named_columns_win() {
        let named = |text: &str, label: &[&str]| ColumnRequest {
            text: (!text.is_empty()).then(|| text.to_owned()).into_iter().collect(),
            label: label.iter().map(|name| (*name).to_owned()).collect(),
            ..ColumnRequest::default()
        };
        check("Q,A,label", &named("q", &[]), "Q -> label");
        check("text,intent,category", &named("", &["intent"]), "text -> intent");
        check(
            "text,joy,anger,label",
            &named("", &["joy", "anger"]),
            "text -> joy+anger",
        );
        check(
            "text,label",
            &named("", &["lable"]),
            "no column `lable` for the label; found `text`, `label`\nhint: did you mean `label`?",
        );
        check(
            "text,label",
            &named("label", &["label"]),
            "column `label` is named for two purposes",
        );
        check("text,text,label", &named("text.2", &[]), "text.2 -> label");
    }

    #[test]
    fn several_texts_are_stacked() {
        let request = ColumnRequest {
            text: ["말1", "말2"].map(str::to_owned).to_vec(),
            group: Some("사람".to_owned()),
            ..ColumnRequest::default()
        };
        check("말1,말2,사람,label", &request, "말1|말2 -> label");
        check("말1,말3,사람,label", &request, "no column `말2` for the text");
        check("말1,말2,label", &request, "no column `사람` for the group");
        let twice = ColumnRequest {
            text: vec!["a".to_owned(); 2],
            ..ColumnRequest::default()
        };
        check("a,label", &twice, "column `a` is named for two purposes");
    }

    #[test]
    fn names_that_a_model_knows_help_where_they_fit() {
        let known = ColumnRequest {
            text: vec!["Q".to_owned()],
            label: vec!["topic".to_owned()],
            ..ColumnRequest::default()
        };
        for (header, expected) in [
            ("Q,A,topic", "Q -> topic"),
            ("text,topic", "text -> topic"),
            ("Q,label", "Q -> label"),
        ] {
            check(
                header,
                &ColumnRequest::default().or_known(&known, &records(header)),
                expected,
            );
        }
        let named = ColumnRequest {
            text: vec!["A".to_owned()],
            ..ColumnRequest::default()
        };
        check(
            "Q,A,topic",
            &named.or_known(&known, &records("Q,A,topic")),
            "A -> topic",
        );
    }

    #[test]
    fn prediction_needs_no_label() {
        let only = ColumnRequest::default().resolve_inputs(&records("anything")).unwrap();
        assert_eq!(
            only,
            InputColumns {
                text: 0,
                text_pair: None
            }
        );
        let pair = ColumnRequest::default()
            .resolve_inputs(&records("id,sentence1,sentence2"))
            .unwrap();
        assert_eq!(
            pair,
            InputColumns {
                text: 1,
                text_pair: Some(2)
            }
        );
    }
}
