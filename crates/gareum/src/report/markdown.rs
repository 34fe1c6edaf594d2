//! A page as Markdown, for pull requests and notes: everything but its pictures, whose numbers stand in tables too.

use std::fmt::Write;

use super::{Block, Column, Language, Level, Page, PieceKind, Table, Text};

/// Words that speak for something by less than this share of the strongest are not bold.
const STRONG: f64 = 0.5;

impl Page {
    /// The page in the Markdown of GitHub, without figures.
    pub fn to_markdown(&self, language: &Language<'_>) -> String {
        let mut markdown = Markdown {
            text: String::new(),
            language,
        };
        markdown.title(1, &self.title);
        if let Some(subtitle) = &self.subtitle {
            markdown.paragraph(subtitle);
        }
        for section in &self.sections {
            markdown.title(2, &section.title);
            markdown.blocks(&section.blocks);
        }
        markdown.text.truncate(markdown.text.trim_end().len());
        markdown.text.push('\n');
        markdown.text
    }
}

struct Markdown<'a> {
    text: String,
    language: &'a Language<'a>,
}

impl Markdown<'_> {
    fn add(&mut self, text: std::fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = self.text.write_fmt(text);
    }

    fn say(&self, text: &Text) -> String {
        let said = self.language.say(text);
        match text {
            // What stands in backquotes in words of ours is code or a name.
            Text::Words(_) => flat(&said),
            Text::Data(_) => escaped(&said),
        }
    }

    fn title(&mut self, level: usize, text: &Text) {
        let (marks, text) = ("#".repeat(level), self.say(text));
        self.add(format_args!("{marks} {text}\n\n"));
    }

    fn paragraph(&mut self, text: &Text) {
        let text = self.say(text);
        self.add(format_args!("{text}\n\n"));
    }

    fn blocks(&mut self, blocks: &[Block]) {
        for block in blocks {
            match block {
                Block::Heading(text) => self.title(3, text),
                Block::Paragraph(text) => self.paragraph(text),
                Block::Tiles(tiles) => {
                    for tile in tiles {
                        let (name, value) = (self.say(&tile.name), self.say(&tile.value));
                        self.add(format_args!("- {name}: **{value}**\n"));
                    }
                    self.text.push('\n');
                }
                Block::Notices(notices) => {
                    for notice in notices {
                        let mark = match notice.level {
                            Level::Problem => "❌",
                            Level::Warning => "⚠️",
                            Level::Note => "ℹ️",
                            Level::Good => "✅",
                        };
                        let about = notice.about.as_ref().map(|about| format!("{}: ", self.say(about)));
                        let hint = notice.hint.as_ref().map(|hint| format!(" ({})", self.say(hint)));
                        let text = self.say(&notice.text);
                        self.add(format_args!(
                            "- {mark} {}{text}{}\n",
                            about.unwrap_or_default(),
                            hint.unwrap_or_default()
                        ));
                    }
                    self.text.push('\n');
                }
                Block::Table(table) => self.table(table),
                Block::Figures(_) => {}
                Block::Marked(marked) => {
                    let title = self.say(&marked.title);
                    let pieces = marked.pieces.iter().map(|piece| {
                        let text = self.say(&piece.text);
                        match piece.kind {
                            PieceKind::Marked { weight, .. } if weight >= STRONG => format!("**{text}**"),
                            PieceKind::Faint => format!("~~{text}~~"),
                            PieceKind::Break => " | ".to_owned(),
                            _ => text,
                        }
                    });
                    let text: String = pieces.collect();
                    self.add(format_args!("{title}: {text}\n\n"));
                }
                Block::Details(summary, blocks) => {
                    let summary = super::escaped(&self.language.say(summary));
                    self.add(format_args!("<details><summary>{summary}</summary>\n\n"));
                    self.blocks(blocks);
                    self.text.push_str("</details>\n\n");
                }
            }
        }
    }

    fn table(&mut self, table: &Table) {
        if let Some(caption) = &table.caption {
            self.paragraph(caption);
        }
        let cells = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
        let name = |column: &Column| match column {
            Column::Text(name) | Column::Long(name) | Column::Number(name) => self.say(name),
        };
        let mut lines = cells(table.columns.iter().map(name).collect());
        let rule = |column: &Column| match column {
            Column::Number(_) => "---:",
            Column::Text(_) | Column::Long(_) => "---",
        };
        lines += &cells(table.columns.iter().map(|column| rule(column).to_owned()).collect());
        for row in &table.rows {
            lines += &cells(row.iter().map(|cell| self.say(cell)).collect());
        }
        self.text += &lines;
        self.text.push('\n');
    }
}

/// One line, in which no bar ends a cell.
fn flat(text: &str) -> String {
    text.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .replace('|', "\\|")
}

/// One line, in which nothing is markup.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in flat(text).chars() {
        if matches!(character, '`' | '*' | '_' | '<' | '>' | '[' | ']' | '#' | '~') {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::{Section, data, words};
    use super::*;

    #[test]
    fn data_is_no_markup() {
        let table = Table {
            caption: None,
            columns: vec![Column::Text(words("label")), Column::Number(words("rows"))],
            rows: vec![vec![data("a|b\n<script> *x*"), data("1")]],
        };
        let page = Page {
            title: words("Title"),
            subtitle: Some(data("# no title")),
            sections: vec![Section {
                title: words("Section"),
                blocks: vec![Block::Details(words("more"), vec![Block::Table(table)])],
            }],
        };
        let expected = "# Title\n\n\\# no title\n\n## Section\n\n<details><summary>more</summary>\n\n\
                        | label | rows |\n| --- | ---: |\n| a\\|b \\<script\\> \\*x\\* | 1 |\n\n</details>\n";
        assert_eq!(page.to_markdown(&Language::ENGLISH), expected);
    }
}
