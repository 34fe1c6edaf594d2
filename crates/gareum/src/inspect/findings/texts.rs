//! Findings about texts: repeated, leaked, odd, long.

use super::{Finding, FindingKind, List, Severity, percent};
use crate::data::listed;
use crate::inspect::{FileReport, Inspection, Pair, TextTrait};

/// Share of unknown tokens from which on a tokenizer does not fit.
const MANY_UNKNOWN: f64 = 0.01;
/// A text that is so many times as long as nearly all others, and so long, is likely several that lost their ends.
const FAR_LONGER: u32 = 20;
const VERY_LONG: u32 = 10_000;

/// Texts that stand more than once in a file.
pub(super) fn repeats(file: &FileReport, list: &mut List<'_>) {
    use FindingKind as Kind;
    use Severity::{Note, Warning};
    let (exact, same, near) = (&file.repeats.exact, &file.repeats.same, &file.repeats.near);
    let more = same.conflicting_texts.saturating_sub(exact.conflicting_texts);
    list.add(
        Warning,
        Kind::Conflicts,
        same.conflicting_texts,
        match more {
            0 => format!(
                "texts that stand with more than one label: {} in {} rows",
                exact.conflicting_texts, exact.conflicting_rows
            ),
            more => format!(
                "texts that stand with more than one label: {} in {} rows, and {more} more that differ in case, blanks or invisible characters",
                exact.conflicting_texts, exact.conflicting_rows
            ),
        },
        "decide which label is right; `--set data.conflicts=drop` leaves these texts out of training",
    )
    .rows(
        Kind::Conflicts,
        rows_of(if exact.conflicts.is_empty() { &same.conflicts } else { &exact.conflicts }),
    );
    let more = same.rows - exact.rows;
    list.add(
        Warning,
        Kind::Duplicates,
        same.rows,
        match (exact.rows, more, file.labels.is_some()) {
            (0, more, _) => {
                format!("rows whose text differs from an earlier one in case, blanks or invisible characters only: {more}")
            }
            (rows, 0, false) => format!("rows that repeat the text of an earlier one: {rows}"),
            (rows, 0, true) => format!(
                "rows that repeat the text of an earlier one: {rows}, {} of them its label too",
                exact.rows_with_same_label
            ),
            (rows, more, false) => format!(
                "rows that repeat the text of an earlier one: {rows}; {more} more differ in case, blanks or invisible characters"
            ),
            (rows, more, true) => format!(
                "rows that repeat the text of an earlier one: {rows}, {} of them its label too; {more} more differ in case, blanks or invisible characters",
                exact.rows_with_same_label
            ),
        },
        "training leaves out rows that repeat text and label; a split keeps equal texts in one part",
    )
    .rows(
        Kind::Duplicates,
        rows_of(if exact.examples.is_empty() { &same.examples } else { &exact.examples }),
    );
    list.add(
        Warning,
        Kind::NearConflicts,
        near.conflicting_rows,
        format!(
            "rows that are nearly the same as an earlier one, with another label: {}",
            near.conflicting_rows
        ),
        "some of these labels are likely wrong",
    )
    .rows(Kind::NearConflicts, rows_of(&near.conflicts));
    list.add(
        Note,
        Kind::NearDuplicates,
        near.rows,
        format!(
            "rows that are nearly the same as an earlier one: {} ({} %)",
            near.rows,
            percent(near.rows as f64 / file.texts.max(1) as f64)
        ),
        "",
    )
    .rows(Kind::NearDuplicates, rows_of(&near.examples));
}

/// Oddities, lengths and what a tokenizer makes of them.
pub(super) fn texts(file: &FileReport, is_first: bool, list: &mut List<'_>) {
    use FindingKind as Kind;
    use Severity::{Note, Warning};
    for found in &file.traits {
        let is_harmful = matches!(
            found.kind,
            TextTrait::ReplacementCharacter
                | TextTrait::NotNfc
                | TextTrait::InvisibleCharacters
                | TextTrait::Markup
                | TextTrait::PersonalData
        );
        let hint = match found.kind {
            TextTrait::ReplacementCharacter => {
                "the characters are lost; correct the texts or read the file they came from anew"
            }
            TextTrait::NotNfc => "`--set data.normalize=[\"nfc\"]` composes them; no vocabulary has them as they are",
            TextTrait::InvisibleCharacters => "`--set data.normalize=[\"control\"]` removes them",
            TextTrait::Markup => "remove it, unless new texts will have it too",
            TextTrait::PersonalData => "mask them before the texts leave your hands",
            TextTrait::Repeats => "`--set data.normalize=[\"repeats\"]` shortens them",
            TextTrait::DoubledQuotes => "an earlier conversion to csv may have doubled them",
            _ => "",
        };
        let kind = if is_harmful { Warning } else { Note };
        let message = format!("texts with {}: {}", found.kind.words(), found.texts);
        list.add(kind, Kind::TextTrait, found.texts, message, hint)
            .rows(Kind::TextTrait, found.rows.iter().copied());
    }
    if let Some(characters) = &file.characters {
        let is_far_longer = characters.max >= FAR_LONGER * characters.p95.max(1);
        let is_odd = characters.max >= VERY_LONG && (is_far_longer || characters.texts == 1);
        list.add(
            Warning,
            Kind::LongText,
            u64::from(is_odd),
            format!(
                "the longest text has {} characters, 95 of 100 have at most {}",
                characters.max, characters.p95
            ),
            "line breaks may be lost there, or a quote is not closed",
        );
    }
    let Some(tokens) = &file.tokens else { return };
    let truncated = &tokens.truncation;
    let best = truncated.recommended;
    let loss = format!(
        "{} % of the texts are cut there and {} % of the tokens lost; the longest text has {}",
        percent(best.texts),
        percent(best.tokens),
        truncated.longest
    );
    let message = match (truncated.suffices, truncated.model_limit) {
        (true, _) => format!("take model.max_length = {}: {loss}", best.max_length),
        (false, Some(limit)) => format!("texts are longer than the {limit} tokens that the model takes: {loss}"),
        (false, None) => format!(
            "texts are longer than the {} tokens that most models take: {loss}",
            best.max_length
        ),
    };
    let (severity, hint) = match truncated.suffices {
        true => (
            Note,
            "longer limits cost nothing where texts are short, since nothing is padded",
        ),
        false => (
            Warning,
            "`--set model.truncation=head_tail` keeps beginning and end; or take a model for long texts, or split the texts",
        ),
    };
    list.add(severity, Kind::MaxLength, u64::from(is_first), message, hint);
    let pieces = listed(tokens.unknown_pieces.iter().map(|(piece, _)| piece.as_str()));
    list.add(
        if tokens.unknown >= MANY_UNKNOWN { Warning } else { Note },
        Kind::UnknownTokens,
        tokens.texts_with_unknown,
        format!(
            "tokens that the tokenizer does not know: {} %, in {} texts; most often {pieces}",
            percent(tokens.unknown),
            tokens.texts_with_unknown
        ),
        if tokens.unknown >= MANY_UNKNOWN {
            "the model sees none of this: take one whose vocabulary has it, or normalise the texts"
        } else {
            ""
        },
    );
}

/// Texts that stand in two files.
pub(super) fn leakage(inspection: &Inspection, found: &mut Vec<Finding>) {
    use FindingKind as Kind;
    use Severity::{Problem, Warning};
    for leak in &inspection.leakage {
        let mut list = List {
            file: &leak.into,
            found,
        };
        let share = |rows: u64| percent(rows as f64 / leak.of.max(1) as f64);
        let (rows, of, from) = (leak.rows, leak.of, &leak.from);
        let message = match (leak.by_single_texts, leak.conflicting_rows) {
            (true, _) => format!(
                "{rows} of {of} rows ({} %) have a text that stands in {from} too, single texts and those of pairs compared",
                share(rows)
            ),
            (false, 0) => format!(
                "{rows} of {of} rows ({} %) have a text that stands in {from} too",
                share(rows)
            ),
            (false, other) => format!(
                "{rows} of {of} rows ({} %) have a text that stands in {from} too, {other} of them with another label",
                share(rows)
            ),
        };
        let hint = "leave them out of one of the files: a model has seen them, and scores are too good";
        list.add(Problem, Kind::Leakage, rows, message, hint)
            .rows(Kind::Leakage, rows_of(&leak.examples));
        let near = leak.near_rows;
        let message = format!(
            "{near} of {of} rows ({} %) have a text that is nearly one of {from}",
            share(near)
        );
        list.add(
            Warning,
            Kind::NearLeakage,
            near,
            message,
            "they are easier than new texts will be",
        )
        .rows(Kind::NearLeakage, rows_of(&leak.near_examples));
    }
}

fn rows_of(pairs: &[Pair]) -> impl Iterator<Item = u64> {
    pairs.iter().take(1).flat_map(|pair| [pair.first, pair.second])
}
