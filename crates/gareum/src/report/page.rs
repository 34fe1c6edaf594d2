//! A page: sections of paragraphs, tiles, notices, tables and figures, written as one file of HTML.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use super::plots::Plot;
use super::{Language, Marked, Text, escaped};
use crate::files::{WriteError, create_directory, write_atomically};

const STYLE: &str = concat!(include_str!("style.css"), include_str!("page.css"));
const SCRIPT: &str = include_str!("page.js");

/// A report.
#[derive(Debug)]
pub struct Page {
    /// Its title.
    pub title: Text,
    /// What stands below the title.
    pub subtitle: Option<Text>,
    /// What it consists of.
    pub sections: Vec<Section>,
}

/// A part of a report with a title of its own.
#[derive(Debug)]
pub struct Section {
    /// The title.
    pub title: Text,
    /// What stands below it.
    pub blocks: Vec<Block>,
}

/// A piece of a section.
#[derive(Debug)]
pub enum Block {
    /// A smaller title.
    Heading(Text),
    /// Running text.
    Paragraph(Text),
    /// Numbers that say most.
    Tiles(Vec<Tile>),
    /// What is wrong or worth knowing.
    Notices(Vec<Notice>),
    /// Rows.
    Table(Table),
    /// Pictures, side by side where there is room.
    Figures(Vec<Figure>),
    /// A text with marks.
    Marked(Marked),
    /// What is shown when one asks for it.
    Details(Text, Vec<Block>),
}

/// A number that says much, with what it is.
#[derive(Debug)]
pub struct Tile {
    /// What it is.
    pub name: Text,
    /// The number.
    pub value: Text,
    /// What stands below it, if anything: how sure it is, of how many.
    pub note: Option<Text>,
}

/// How bad something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Wrong.
    Problem,
    /// Perhaps harmful.
    Warning,
    /// Worth knowing.
    Note,
    /// As it should be.
    Good,
}

/// Something that is wrong or worth knowing.
#[derive(Debug)]
pub struct Notice {
    /// How bad it is.
    pub level: Level,
    /// What it is about, if not all of the report.
    pub about: Option<Text>,
    /// What it is.
    pub text: Text,
    /// What to do.
    pub hint: Option<Text>,
}

/// Rows with names for the columns.
#[derive(Debug, Default)]
pub struct Table {
    /// What stands above it.
    pub caption: Option<Text>,
    /// The columns.
    pub columns: Vec<Column>,
    /// A text for each column.
    pub rows: Vec<Vec<Text>>,
}

/// A column of a table.
#[derive(Debug)]
pub enum Column {
    /// Short texts.
    Text(Text),
    /// Texts that may be long.
    Long(Text),
    /// Numbers.
    Number(Text),
}

/// A picture.
#[derive(Debug)]
pub struct Figure {
    /// What it shows.
    pub title: Text,
    /// How to read it.
    pub caption: Option<Text>,
    /// The picture.
    pub plot: Box<dyn Plot>,
}

impl Page {
    /// The page as a file that needs nothing else.
    pub fn render(&self, language: &Language<'_>) -> String {
        let title = escaped(&language.say(&self.title));
        let say = |words: &str| escaped(&language.say_words(words));
        let mut page = Html {
            text: String::new(),
            language,
        };
        page.add(format_args!(
            "<!DOCTYPE html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
             script-src 'unsafe-inline'; img-src data:\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n",
            escaped(language.code)
        ));
        page.add(format_args!(
            "<header>\n<h1>{title}</h1>\n<button class=\"theme\" type=\"button\" hidden data-auto=\"{}\" data-light=\"{}\" data-dark=\"{}\"></button>\n",
            say("Colours: as the system"),
            say("Colours: light"),
            say("Colours: dark")
        ));
        if let Some(subtitle) = &self.subtitle {
            page.element("p class=\"sub\"", "p", subtitle);
        }
        if self.sections.len() > 2 {
            page.text.push_str("<nav>");
            for (number, section) in self.sections.iter().enumerate() {
                let title = escaped(&language.say(&section.title));
                page.add(format_args!("<a href=\"#s{number}\">{title}</a> "));
            }
            page.text.push_str("</nav>\n");
        }
        page.text.push_str("</header>\n<main>\n");
        for (number, section) in self.sections.iter().enumerate() {
            let title = escaped(&language.say(&section.title));
            page.add(format_args!("<section>\n<h2 id=\"s{number}\">{title}</h2>\n"));
            section.blocks.iter().for_each(|block| page.block(block));
            page.text.push_str("</section>\n");
        }
        page.add(format_args!(
            "</main>\n<footer>{} gareum {}</footer>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n",
            say("Written by"),
            env!("CARGO_PKG_VERSION")
        ));
        page.text
    }

    /// Its pictures as files of their own, with names made of their English titles: `confusion-matrix.svg`.
    pub fn drawings(&self, language: &Language<'_>) -> Vec<(String, String)> {
        let mut figures = Vec::new();
        let blocks = self.sections.iter().flat_map(|section| &section.blocks);
        blocks.for_each(|block| block.figures(&mut figures));
        let mut taken: BTreeMap<String, usize> = BTreeMap::new();
        let drawn = figures.into_iter().map(|figure| {
            let name = file_name(&figure.title);
            let count = taken.entry(name.clone()).or_default();
            *count += 1;
            let name = match count {
                1 => format!("{name}.svg"),
                count => format!("{name}-{count}.svg"),
            };
            (name, figure.plot.draw(language).to_file())
        });
        drawn.collect()
    }

    /// Writes the page as `index.html` of a directory, and its pictures beside it.
    ///
    /// # Errors
    /// [`WriteError`] if a file cannot be written.
    pub fn write(&self, directory: &Path, language: &Language<'_>) -> Result<(), WriteError> {
        create_directory(directory)?;
        for (name, drawing) in self.drawings(language) {
            write_atomically(&directory.join(name), drawing.as_bytes())?;
        }
        write_atomically(&directory.join("index.html"), self.render(language).as_bytes())
    }
}

impl Block {
    /// Adds the figures in it.
    fn figures<'a>(&'a self, all: &mut Vec<&'a Figure>) {
        match self {
            Self::Figures(figures) => all.extend(figures),
            Self::Details(_, blocks) => blocks.iter().for_each(|block| block.figures(all)),
            _ => {}
        }
    }
}

/// Letters and digits of a title, in small letters and with a hyphen for whatever stands between them.
fn file_name(title: &Text) -> String {
    let (Text::Words(title) | Text::Data(title)) = title;
    let words = title.split(|letter: char| !letter.is_alphanumeric());
    let name = words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-");
    // A name of a file may have 255 bytes.
    match name.chars().take(60).collect::<String>().to_lowercase() {
        name if name.is_empty() => "figure".to_owned(),
        name => name,
    }
}

/// A page on its way.
struct Html<'a> {
    text: String,
    language: &'a Language<'a>,
}

impl Html<'_> {
    fn add(&mut self, text: std::fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = self.text.write_fmt(text);
    }

    /// A text in HTML; what stands in backquotes in words of ours is code or a name.
    fn say(&self, text: &Text) -> String {
        let said = escaped(&self.language.say(text));
        let is_quoted =
            matches!(text, Text::Words(_)) && said.contains('`') && said.matches('`').count().is_multiple_of(2);
        if !is_quoted {
            return said;
        }
        let part = |(place, part): (usize, &str)| match place % 2 {
            0 => part.to_owned(),
            _ => format!("<code>{part}</code>"),
        };
        said.split('`').enumerate().map(part).collect()
    }

    fn element(&mut self, open: &str, close: &str, text: &Text) {
        let text = self.say(text);
        self.add(format_args!("<{open}>{text}</{close}>\n"));
    }

    fn block(&mut self, block: &Block) {
        match block {
            Block::Heading(text) => self.element("h3", "h3", text),
            Block::Paragraph(text) => self.element("p", "p", text),
            Block::Tiles(tiles) => {
                self.text.push_str("<dl class=\"tiles\">\n");
                for Tile { name, value, note } in tiles {
                    let (name, value) = (self.say(name), self.say(value));
                    let note = note
                        .as_ref()
                        .map_or(String::new(), |note| format!("<small>{}</small>", self.say(note)));
                    self.add(format_args!("<div><dt>{name}</dt><dd>{value}{note}</dd></div>\n"));
                }
                self.text.push_str("</dl>\n");
            }
            Block::Notices(notices) => {
                self.text.push_str("<ul class=\"notices\">\n");
                notices.iter().for_each(|notice| self.notice(notice));
                self.text.push_str("</ul>\n");
            }
            Block::Table(table) => self.table(table),
            Block::Figures(figures) => {
                self.text.push_str("<div class=\"figures\">\n");
                figures.iter().for_each(|figure| self.figure(figure));
                self.text.push_str("</div>\n");
            }
            Block::Marked(marked) => {
                let (title, text) = (self.say(&marked.title), marked.inline(self.language));
                let note = marked
                    .note
                    .as_ref()
                    .map_or(String::new(), |note| format!("<small>{}</small>", self.say(note)));
                self.add(format_args!(
                    "<div class=\"marked\"><h4>{title}{note}</h4><div class=\"lines\">{text}</div></div>\n"
                ));
            }
            Block::Details(summary, blocks) => {
                self.text.push_str("<details>");
                self.element("summary", "summary", summary);
                blocks.iter().for_each(|block| self.block(block));
                self.text.push_str("</details>\n");
            }
        }
    }

    fn notice(&mut self, notice: &Notice) {
        let (class, name) = match notice.level {
            Level::Problem => ("problem", "problem"),
            Level::Warning => ("warning", "warning"),
            Level::Note => ("note", "note"),
            Level::Good => ("good", "good"),
        };
        let name = escaped(&self.language.say_words(name));
        let about = notice
            .about
            .as_ref()
            .map_or(String::new(), |about| format!("{}: ", self.say(about)));
        let text = self.say(&notice.text);
        self.add(format_args!("<li class=\"{class}\"><b>{name}</b>{about}{text}"));
        if let Some(hint) = &notice.hint {
            let hint = self.say(hint);
            self.add(format_args!("<small>{hint}</small>"));
        }
        self.text.push_str("</li>\n");
    }

    fn table(&mut self, table: &Table) {
        self.text.push_str("<div class=\"table\"><table>\n");
        if let Some(caption) = &table.caption {
            let caption = self.say(caption);
            self.add(format_args!("<caption><span>{caption}</span></caption>\n"));
        }
        self.text.push_str("<thead><tr>");
        for column in &table.columns {
            match column {
                Column::Number(name) => self.element("th class=\"number\" scope=\"col\"", "th", name),
                Column::Text(name) | Column::Long(name) => self.element("th scope=\"col\"", "th", name),
            }
        }
        self.text.push_str("</tr></thead>\n<tbody>\n");
        for row in &table.rows {
            self.text.push_str("<tr>");
            for (column, cell) in table.columns.iter().zip(row) {
                let cell = self.say(cell);
                match column {
                    Column::Text(_) => self.add(format_args!("<td>{cell}</td>")),
                    Column::Long(_) => self.add(format_args!("<td class=\"long\">{cell}</td>")),
                    Column::Number(_) => self.add(format_args!("<td class=\"number\">{cell}</td>")),
                }
            }
            self.text.push_str("</tr>\n");
        }
        self.text.push_str("</tbody></table></div>\n");
    }

    fn figure(&mut self, figure: &Figure) {
        let drawing = figure.plot.draw(self.language);
        let class = if drawing.width() > 500.0 { " class=\"wide\"" } else { "" };
        let title = self.say(&figure.title);
        self.add(format_args!("<figure{class}>\n<figcaption>{title}"));
        if let Some(caption) = &figure.caption {
            let caption = self.say(caption);
            self.add(format_args!("<small>{caption}</small>"));
        }
        let drawing = drawing.inline();
        self.add(format_args!(
            "</figcaption>\n<div class=\"plot\">{drawing}</div>\n</figure>\n"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::super::plots::{Bar, BarChart, BarRow};
    use super::super::{Piece, PieceKind, data, words};
    use super::*;

    const EVIL: &str = "<script>alert(\"x\")</script>";

    fn page() -> Page {
        let bars = BarChart {
            series: vec![data(EVIL)],
            rows: vec![BarRow {
                name: data(EVIL),
                bars: vec![Bar::of(1.0)],
            }],
            ..BarChart::default()
        };
        let figure = Figure {
            title: data(EVIL),
            caption: Some(words(EVIL)),
            plot: Box::new(bars),
        };
        let table = Table {
            caption: Some(data(EVIL)),
            columns: vec![Column::Text(data(EVIL)), Column::Number(words("rows"))],
            rows: vec![vec![data(EVIL), data("1")]],
        };
        let notice = Notice {
            level: Level::Problem,
            about: Some(data(EVIL)),
            text: data(EVIL),
            hint: Some(words(EVIL)),
        };
        let blocks = vec![
            Block::Heading(data(EVIL)),
            Block::Paragraph(data(EVIL)),
            Block::Tiles(vec![Tile {
                name: data(EVIL),
                value: data(EVIL),
                note: Some(data(EVIL)),
            }]),
            Block::Notices(vec![notice]),
            Block::Marked(Marked {
                title: data(EVIL),
                note: Some(data(EVIL)),
                pieces: vec![Piece {
                    text: data(EVIL),
                    kind: PieceKind::Marked {
                        weight: 1.0,
                        tip: EVIL.to_owned(),
                    },
                    is_framed: true,
                }],
            }),
            Block::Details(data(EVIL), vec![Block::Table(table), Block::Figures(vec![figure])]),
        ];
        let section = |blocks| Section {
            title: data(EVIL),
            blocks,
        };
        Page {
            title: data(EVIL),
            subtitle: Some(words("rows")),
            sections: vec![section(blocks), section(Vec::new()), section(Vec::new())],
        }
    }

    #[test]
    fn every_text_is_escaped() {
        let html = page().render(&Language::ENGLISH);
        assert_eq!(html.matches("<script>").count(), 1, "the page's own");
        assert!(html.contains("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;"));
        assert_eq!(html.matches("<svg").count(), 1);
        for network in ["http://", "https://", "src=\"", "@import", "url("] {
            assert!(!html.contains(network), "{network}");
        }
    }

    #[test]
    fn pictures_have_names_of_their_own() {
        let figure = |title: Text| Figure {
            title,
            caption: None,
            plot: Box::new(BarChart::default()),
        };
        let figures = vec![
            figure(words("Rows of each label")),
            figure(data("../../긍정")),
            figure(words("Rows of each label")),
            figure(data("")),
        ];
        let page = Page {
            title: words("x"),
            subtitle: None,
            sections: vec![Section {
                title: words("x"),
                blocks: vec![Block::Details(words("x"), vec![Block::Figures(figures)])],
            }],
        };
        let names: Vec<String> = page
            .drawings(&Language::ENGLISH)
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        let expected = [
            "rows-of-each-label.svg",
            "긍정.svg",
            "rows-of-each-label-2.svg",
            "figure.svg",
        ];
        assert_eq!(names, expected);
        let directory = tempfile::tempdir().unwrap();
        page.write(&directory.path().join("report"), &Language::ENGLISH)
            .unwrap();
        let written = std::fs::read_dir(directory.path().join("report")).unwrap().count();
        assert_eq!(written, 5);
    }

    #[test]
    fn backquotes_are_code_in_words_alone() {
        let page = |text| Page {
            title: words("x"),
            subtitle: Some(text),
            sections: Vec::new(),
        };
        let html = |text| page(text).render(&Language::ENGLISH);
        assert!(html(words("column `a<b`: 1")).contains("column <code>a&lt;b</code>: 1"));
        assert!(html(data("`a`")).contains("`a`"));
        assert!(html(words("a ` alone")).contains("a ` alone"));
    }

    #[test]
    fn words_are_translated() {
        let korean = Language {
            code: "ko",
            translate: &|text| match text {
                "rows" => "행".to_owned(),
                other => other.to_owned(),
            },
        };
        let html = page().render(&korean);
        assert!(html.contains("<html lang=\"ko\">") && html.contains("<p class=\"sub\">행</p>"));
        assert!(html.contains("<th class=\"number\" scope=\"col\">행</th>"));
    }
}
