//! A page of explanations: every text with its words shaded, and which words matter most over all of them.

use std::collections::BTreeMap;

use super::{Characters, Explanation, LabelMap, Method, Word};
use crate::report::{
    Block, Column, Level, Marked, Notice, Page, Piece, PieceKind, Section, Table, Text, Tile, data, grouped, words,
};

/// Texts that are shown.
pub const MOST_TEXTS: usize = 200;
/// Words of a label in the table over all texts.
const MOST_WORDS: usize = 6;
/// Words whose sums are a smaller share of the largest are left out of it.
const LEAST_SHARE: f64 = 0.05;
/// Labels in that table.
const MOST_LABELS: usize = 100;
/// Scores smaller than this are weak, even if a text has no stronger ones.
const WEAK: f64 = 0.02;

/// What a page says beside the explanations.
#[derive(Debug, Clone, Default)]
pub struct PageInfo {
    /// The name of the model.
    pub model: String,
    /// Whether words were left out, rather than hidden behind a mask token.
    pub drops: bool,
    /// Texts that were explained, of which the page may show some only.
    pub texts: usize,
}

/// A page of explanations.
pub fn page(explanations: &[Explanation], info: &PageInfo) -> Page {
    let mut sections = vec![summary(explanations, info)];
    sections.extend(over_all(explanations));
    let shown = explanations.iter().take(MOST_TEXTS);
    sections.push(Section {
        title: words("Texts"),
        blocks: shown.flat_map(blocks).collect(),
    });
    Page {
        title: words("Which words say so"),
        subtitle: Some(data(info.model.clone())),
        sections,
    }
}

fn summary(explanations: &[Explanation], info: &PageInfo) -> Section {
    let method = explanations.first().map_or(Method::Occlusion, |first| first.method);
    let how = match method {
        Method::Occlusion if info.drops => {
            "A word's score is the label's probability minus that of the text from which the word is left out."
        }
        Method::Occlusion => {
            "A word's score is the label's probability minus that of the text in which the word is hidden behind a mask token."
        }
        Method::GradientInput => {
            "A word's score is the gradient of the label's logit with respect to the embeddings of its tokens, times these embeddings."
        }
        Method::IntegratedGradients => {
            "A word's score is its part in the difference between the label's logit and that of a text of padding tokens (integrated gradients)."
        }
    };
    let tile = |name: &str, value: Text| Tile {
        name: words(name),
        value,
        note: None,
    };
    let texts = info.texts.max(explanations.len());
    let mut tiles = vec![
        tile("texts", data(grouped(texts as u64))),
        tile("method", words(method.name().replace('_', " "))),
    ];
    let errors = maps(explanations).filter_map(|map| map.completeness);
    if let Some(largest) = errors.map(|complete| complete.error.abs()).reduce(f64::max) {
        tiles.push(Tile {
            name: words("largest error of the sum"),
            value: data(format!("{largest:.4}")),
            note: Some(words("scores add up to the logit's difference")),
        });
    }
    let mut notices = Vec::new();
    let note = |text: String| Notice {
        level: Level::Note,
        about: None,
        text: words(text),
        hint: None,
    };
    let cut = explanations
        .iter()
        .filter(|explanation| explanation.unread.is_some() || explanation.unread_pair.is_some())
        .count();
    if cut > 0 {
        notices.push(note(format!(
            "texts longer than the model reads: {cut}; what it did not read is struck through"
        )));
    }
    let shown = explanations.len().min(MOST_TEXTS);
    if shown < texts {
        notices.push(note(format!("the first {shown} texts are shown")));
    }
    let legend = Marked {
        title: words("How to read it"),
        note: None,
        pieces: legend(),
    };
    let mut blocks = vec![Block::Tiles(tiles), Block::Paragraph(words(how)), Block::Marked(legend)];
    if !notices.is_empty() {
        blocks.push(Block::Notices(notices));
    }
    Section {
        title: words("Overview"),
        blocks,
    }
}

/// What a shade, a frame and a line through mean.
fn legend() -> Vec<Piece> {
    let piece = |text: Text, kind, is_framed| Piece { text, kind, is_framed };
    let marked = |weight| PieceKind::Marked {
        weight,
        tip: String::new(),
    };
    let parts = [
        (words("speaks for the label"), marked(1.0), false),
        (words("a little"), marked(0.35), false),
        (words("a little against it"), marked(-0.35), false),
        (words("against it"), marked(-1.0), false),
        (
            words("the neighbouring words that stand out most"),
            PieceKind::Plain,
            true,
        ),
        (words("not read"), PieceKind::Faint, false),
    ];
    let mut pieces = Vec::new();
    for (text, kind, is_framed) in parts {
        pieces.push(piece(text, kind, is_framed));
        pieces.push(piece(data(" "), PieceKind::Plain, false));
    }
    pieces
}

fn maps(explanations: &[Explanation]) -> impl Iterator<Item = &LabelMap> {
    explanations.iter().flat_map(|explanation| &explanation.maps)
}

/// What is known of a word over all texts.
#[derive(Default, Clone, Copy)]
struct Tally {
    sum: f64,
    texts: usize,
}

/// For each label of several texts the words that speak for it and against it most; nothing where there is no such label.
fn over_all(explanations: &[Explanation]) -> Option<Section> {
    let mut labels: BTreeMap<&str, (usize, BTreeMap<String, Tally>)> = BTreeMap::new();
    for map in maps(explanations) {
        let (texts, tallies) = labels.entry(&map.label).or_default();
        *texts += 1;
        for word in &map.words {
            let key = word
                .text
                .trim_matches(|letter: char| !letter.is_alphanumeric())
                .to_lowercase();
            if !key.is_empty() {
                let tally = tallies.entry(key).or_default();
                tally.sum += word.score;
                tally.texts += 1;
            }
        }
    }
    let mut labels: Vec<_> = labels.into_iter().collect();
    // A single text is shown as it is.
    labels.retain(|(_, (texts, _))| *texts > 1);
    if labels.is_empty() {
        return None;
    }
    labels.sort_by_key(|(_, (texts, _))| std::cmp::Reverse(*texts));
    let rows = labels.into_iter().take(MOST_LABELS).map(|(label, (texts, tallies))| {
        let mut tallies: Vec<(String, Tally)> = tallies.into_iter().collect();
        tallies.sort_by(|first, second| second.1.sum.total_cmp(&first.1.sum));
        let list = |chosen: Vec<&(String, Tally)>| {
            let word = |(word, tally): &&(String, Tally)| {
                let mean = tally.sum / tally.texts as f64;
                match tally.texts {
                    1 => format!("{word} {mean:+.2}"),
                    count => format!("{word} {mean:+.2} (×{count})"),
                }
            };
            data(chosen.iter().map(word).collect::<Vec<_>>().join(", "))
        };
        let strongest = tallies.iter().map(|(_, tally)| tally.sum.abs()).fold(0.0, f64::max);
        tallies.retain(|(_, tally)| tally.sum.abs() >= LEAST_SHARE * strongest);
        let best = tallies.iter().filter(|(_, tally)| tally.sum > 0.0).take(MOST_WORDS);
        let worst = tallies
            .iter()
            .rev()
            .filter(|(_, tally)| tally.sum < 0.0)
            .take(MOST_WORDS);
        vec![
            data(label),
            data(grouped(texts as u64)),
            list(best.collect()),
            list(worst.collect()),
        ]
    });
    let table = Table {
        caption: Some(words(
            "Mean score of a word in the texts of a label; those whose scores have the largest sum come first.",
        )),
        columns: vec![
            Column::Text(words("label")),
            Column::Number(words("texts")),
            Column::Long(words("speak for it")),
            Column::Long(words("speak against it")),
        ],
        rows: rows.collect(),
    };
    Some(Section {
        title: words("Words of each label"),
        blocks: vec![Block::Table(table)],
    })
}

fn blocks(explanation: &Explanation) -> Vec<Block> {
    let mut blocks = Vec::new();
    for map in &explanation.maps {
        blocks.push(Block::Marked(Marked {
            title: data(map.label.clone()),
            note: Some(data(format!("{:.4}", map.probability))),
            pieces: pieces(explanation, Some(map)),
        }));
        blocks.push(Block::Details(
            words("Scores of its words"),
            vec![Block::Table(table(map))],
        ));
    }
    if explanation.maps.is_empty() {
        blocks.push(Block::Marked(Marked {
            title: words("no label"),
            note: None,
            pieces: pieces(explanation, None),
        }));
    }
    blocks
}

/// The strongest score of a map's words; where all are weak, as if there were one that is not.
pub fn strongest(map: &LabelMap) -> f64 {
    map.words
        .iter()
        .map(|word| word.shown_score().abs())
        .fold(WEAK, f64::max)
}

/// The texts of an explanation in pieces, the second behind a [`PieceKind::Break`]: words shaded by their share in [`strongest`], the best span
/// framed, what was not read faint. Without a map, all of it is plain but for that.
pub fn pieces(explanation: &Explanation, map: Option<&LabelMap>) -> Vec<Piece> {
    let strongest = map.map_or(WEAK, strongest);
    let mut pieces = Vec::new();
    let texts = [
        (false, Some(&explanation.text), explanation.unread),
        (true, explanation.text_pair.as_ref(), explanation.unread_pair),
    ];
    for (pair, text, unread) in texts {
        let Some(text) = text else { continue };
        if pair {
            pieces.push(Piece {
                text: data(""),
                kind: PieceKind::Break,
                is_framed: false,
            });
        }
        let characters: Vec<char> = text.chars().collect();
        let best = map.and_then(|map| map.best).filter(|best| best.pair == pair);
        let mut add = |start: usize, end: usize, kind: &PieceKind| {
            // Cut where a frame begins or ends, and where reading does.
            let mut cuts = vec![start, end];
            cuts.extend(best.iter().flat_map(|best| [best.start, best.end]));
            cuts.extend(unread.iter().flat_map(|unread| [unread.start, unread.end]));
            cuts.retain(|cut| (start..=end).contains(cut));
            cuts.sort_unstable();
            cuts.dedup();
            for cut in cuts.windows(2) {
                let is_unread = unread.is_some_and(|Characters { start, end }| cut[0] >= start && cut[1] <= end);
                pieces.push(Piece {
                    text: data(characters[cut[0]..cut[1]].iter().collect::<String>()),
                    kind: if is_unread { PieceKind::Faint } else { kind.clone() },
                    is_framed: best.is_some_and(|best| cut[0] >= best.start && cut[1] <= best.end),
                });
            }
        };
        let mut end = 0;
        for word in map.iter().flat_map(|map| &map.words).filter(|word| word.pair == pair) {
            add(end, word.start, &PieceKind::Plain);
            let kind = PieceKind::Marked {
                weight: word.shown_score() / strongest,
                tip: tip(word),
            };
            add(word.start, word.end, &kind);
            end = word.end;
        }
        add(end, characters.len(), &PieceKind::Plain);
    }
    pieces
}

/// Numbers alone, which need no language.
fn tip(word: &Word) -> String {
    let score = match word.smoothed {
        None => format!("{:+.4}", word.score),
        Some(smoothed) => format!("{smoothed:+.4} ({:+.4})", word.score),
    };
    match word.probability {
        None => score,
        Some(without) => format!("{score} · {:.4} → {without:.4}", word.score + without),
    }
}

fn table(map: &LabelMap) -> Table {
    let has_smoothed = map.words.iter().any(|word| word.smoothed.is_some());
    let has_probability = map.words.iter().any(|word| word.probability.is_some());
    let mut columns = vec![Column::Text(words("word")), Column::Number(words("score"))];
    if has_smoothed {
        columns.push(Column::Number(words("smoothed")));
    }
    if has_probability {
        columns.push(Column::Number(words("without it")));
    }
    let mut sorted: Vec<&Word> = map.words.iter().collect();
    sorted.sort_by(|first, second| second.shown_score().total_cmp(&first.shown_score()));
    let row = |word: &&Word| {
        let mut row = vec![data(word.text.clone()), data(format!("{:+.4}", word.score))];
        row.extend(word.smoothed.map(|smoothed| data(format!("{smoothed:+.4}"))));
        row.extend(word.probability.map(|without| data(format!("{without:.4}"))));
        row
    };
    Table {
        caption: None,
        columns,
        rows: sorted.iter().map(row).collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::super::BestSpan;
    use super::*;
    use crate::report::Language;

    fn word(start: usize, text: &str, score: f64, pair: bool) -> Word {
        Word {
            start,
            end: start + text.chars().count(),
            text: text.to_owned(),
            pair,
            score,
            smoothed: None,
            probability: Some(0.5 - score),
        }
    }

    fn explanation() -> Explanation {
        let map = LabelMap {
            label: "<a>".to_owned(),
            probability: 0.5,
            words: vec![
                word(1, "배송은", 0.4, false),
                word(5, "<b>", -0.2, false),
                word(0, "🙂", 0.0, true),
            ],
            best: Some(BestSpan {
                start: 1,
                end: 8,
                pair: false,
                score: 0.2,
            }),
            completeness: None,
        };
        Explanation {
            text: " 배송은 <b> tail\nend".to_owned(),
            text_pair: Some("🙂 cut off".to_owned()),
            label: Value::Null,
            scores: Map::new(),
            method: Method::Occlusion,
            maps: vec![map],
            unread: Some(Characters { start: 9, end: 17 }),
            unread_pair: Some(Characters { start: 2, end: 9 }),
        }
    }

    fn text(piece: &Piece) -> &str {
        let (Text::Words(text) | Text::Data(text)) = &piece.text;
        text
    }

    #[test]
    fn pieces_are_the_texts() {
        let explanation = explanation();
        for map in [None, explanation.maps.first()] {
            let pieces = pieces(&explanation, map);
            let texts: Vec<String> = pieces
                .split(|piece| piece.kind == PieceKind::Break)
                .map(|pieces| pieces.iter().map(text).collect())
                .collect();
            assert_eq!(texts, [explanation.text.as_str(), "🙂 cut off"]);
            let of_kind = |is_kind: &dyn Fn(&Piece) -> bool| {
                let pieces = pieces.iter().filter(|piece| is_kind(piece));
                pieces.map(text).collect::<String>()
            };
            assert_eq!(of_kind(&|piece| piece.kind == PieceKind::Faint), "tail\nendcut off");
            if map.is_some() {
                assert_eq!(of_kind(&|piece| piece.is_framed), "배송은 <b>");
                assert_eq!(
                    of_kind(&|piece| matches!(piece.kind, PieceKind::Marked { .. })),
                    "배송은<b>🙂"
                );
            }
        }
    }

    #[test]
    fn a_page_of_none_of_one_and_of_many() {
        let info = |texts| PageInfo {
            model: "model".to_owned(),
            drops: true,
            texts,
        };
        for count in [0, 1, 2, MOST_TEXTS + 1] {
            let html = page(&vec![explanation(); count], &info(count)).render(&Language::ENGLISH);
            assert_eq!(
                html.matches("data-tip=\"+0.4000 · 0.5000 → 0.1000\"").count(),
                count.min(MOST_TEXTS)
            );
            assert_eq!(html.contains("Words of each label"), count > 1);
            assert_eq!(html.contains("the first 200 texts are shown"), count > MOST_TEXTS);
            assert!(!html.contains("<a>") && !html.contains("<b> "));
        }
    }
}
