//! Rows of delimited text, with quoting after RFC 4180 or without any.
//!
//! An own reader and not the `csv` crate's (which is the oracle in the tests below): rows must name the line they start on, a quote that
//! never closes must be an error and not swallow the rest of the file, and unquoted files must keep a lone `\r` inside a text.

use super::DataError;
use super::error::Place;
use super::source::{Source, without_break};

/// A quoted field longer than this is taken for one that was never closed.
const MAX_ROW_BYTES: u64 = 16 << 20;
/// Delimiters that are tried, best first.
const DELIMITERS: [char; 4] = ['\t', ',', '|', ';'];

/// Reads rows of fields.
pub(super) struct DelimitedReader {
    pub source: Source,
    delimiter: char,
    quoting: bool,
    /// Fields of a row, once known from header or first row.
    width: Option<usize>,
    row: u64,
    /// Empty fields beyond the width, dropped so far.
    pub surplus_fields: u64,
    /// The first row that had some.
    pub surplus_row: Option<u64>,
    /// Rows whose longest field held the delimiter and was put together again, so far.
    pub rejoined_rows: u64,
    /// The first of them.
    pub rejoined_row: Option<u64>,
    widths: FieldWidths,
    buffer: Vec<u8>,
}

/// Fields of a row and the line it starts on.
pub(super) type Fields = (u64, Vec<String>);

impl DelimitedReader {
    pub fn new(source: Source, delimiter: char, quoting: bool, widths: FieldWidths) -> Self {
        Self {
            widths,
            rejoined_rows: 0,
            rejoined_row: None,
            source,
            delimiter,
            quoting,
            width: None,
            row: 0,
            surplus_fields: 0,
            surplus_row: None,
            buffer: Vec::new(),
        }
    }

    /// The header: fixes the width and does not count as a row.
    pub fn header(&mut self) -> Result<Option<Fields>, DataError> {
        let fields = self.next_fields()?;
        if let Some((_, fields)) = &fields {
            self.width = Some(fields.len());
        }
        Ok(fields)
    }

    /// The next data row: its number, its line, its fields, as many as the header has.
    pub fn next_row(&mut self) -> Result<Option<(u64, Fields)>, DataError> {
        let Some((line, mut fields)) = self.next_fields()? else {
            return Ok(None);
        };
        self.row += 1;
        let expected = *self.width.get_or_insert(fields.len());
        let found = fields.len();
        if found > expected {
            self.drop_surplus(&mut fields, expected);
        }
        if fields.len() > expected && self.widths.rejoin(&mut fields, expected, self.delimiter) {
            self.rejoined_rows += 1;
            self.rejoined_row.get_or_insert(self.row);
        }
        if fields.len() != expected {
            let hint = self.field_count_hint(found > expected);
            return Err(DataError::FieldCount {
                place: self.place(line),
                found,
                expected,
                hint,
            });
        }
        Ok(Some((self.row, (line, fields))))
    }

    /// Drops empty fields beyond the last column. A tab is often typed twice, so in tab-separated rows an empty field anywhere goes, if exactly
    /// as many are empty as are too many; with other delimiters that would hide an unquoted comma beside an empty value.
    fn drop_surplus(&mut self, fields: &mut Vec<String>, expected: usize) {
        let surplus = fields.len() - expected;
        let is_empty = |field: &String| field.trim().is_empty();
        if fields[expected..].iter().all(is_empty) {
            fields.truncate(expected);
        } else if self.delimiter == '\t' && fields.iter().filter(|field| is_empty(field)).count() == surplus {
            fields.retain(|field| !is_empty(field));
        } else {
            return;
        }
        self.surplus_fields += surplus as u64;
        self.surplus_row.get_or_insert(self.row);
    }

    fn field_count_hint(&self, too_many: bool) -> String {
        let shown = match self.delimiter {
            '\t' => "a tab".to_owned(),
            other => format!("`{other}`"),
        };
        match (too_many, self.quoting) {
            (true, true) => format!("fields that contain {shown} must be enclosed in `\"`; check this line"),
            (true, false) => {
                format!("this line contains {shown} inside a field; turn quoting on if `\"` encloses fields here")
            }
            (false, true) => {
                format!(
                    "the delimiter is {shown}; check this line, and turn quoting off if `\"` is a plain character here"
                )
            }
            (false, false) => {
                format!("the delimiter is {shown}; a field may be missing or a line break stand inside one")
            }
        }
    }

    fn place(&self, line: u64) -> Box<Place> {
        Place::new(&self.source.path, line, self.row, None)
    }

    /// The fields of the next row that is not blank.
    fn next_fields(&mut self) -> Result<Option<Fields>, DataError> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let fields = self.fields_into(&mut buffer);
        self.buffer = buffer;
        fields
    }

    fn fields_into(&mut self, buffer: &mut Vec<u8>) -> Result<Option<Fields>, DataError> {
        let mut parser = RowParser::new(self.delimiter, self.quoting);
        loop {
            let Some(text) = self.source.next_line(buffer)? else {
                return Ok(None);
            };
            if text.trim_matches([' ', '\r', '\n']).is_empty() {
                continue;
            }
            let line = self.source.line;
            let start = self.source.offset();
            let mut complete = parser.feed(text);
            while !complete {
                let unclosed = self.source.offset() - start > MAX_ROW_BYTES;
                match self.source.next_line(buffer)? {
                    Some(text) if !unclosed => complete = parser.feed(text),
                    _ => {
                        self.row += 1;
                        return Err(DataError::UnclosedQuote {
                            place: self.place(line),
                        });
                    }
                }
            }
            return Ok(Some((line, parser.fields)));
        }
    }
}

/// How long the fields of the first rows are, for files without quoting: where one column is by far the longest, a row with too many fields
/// is one whose text holds the delimiter.
#[derive(Default)]
pub(super) struct FieldWidths {
    /// Longest field of each column, in bytes.
    longest: Vec<usize>,
    /// The column of the text, if one stands out.
    text: Option<usize>,
}

impl FieldWidths {
    /// Looks at the rows of `head` that have as many fields as its first; with quoting there is nothing to be put together.
    pub fn measure(head: &str, delimiter: char, quoting: bool) -> Self {
        /// A text column is on average this much longer than every other.
        const STANDS_OUT: usize = 3;
        const SAMPLE_ROWS: usize = 1000;
        let mut lines = head.lines().filter(|line| !line.trim().is_empty());
        let Some(columns) = lines
            .next()
            .map(|line| line.split(delimiter).count())
            .filter(|_| !quoting)
        else {
            return Self::default();
        };
        let (mut longest, mut sums) = (vec![0; columns], vec![0; columns]);
        for line in lines
            .take(SAMPLE_ROWS)
            .filter(|line| line.split(delimiter).count() == columns)
        {
            for (column, field) in line.split(delimiter).enumerate() {
                longest[column] = field.len().max(longest[column]);
                sums[column] += field.len();
            }
        }
        let text = (0..columns).max_by_key(|column| sums[*column]);
        let text =
            text.filter(|text| (0..columns).all(|column| column == *text || sums[column] * STANDS_OUT < sums[*text]));
        Self { longest, text }
    }

    /// Puts the text of a row with too many fields together again, if every other field is then no longer than those of the first rows.
    fn rejoin(&self, fields: &mut Vec<String>, expected: usize, delimiter: char) -> bool {
        let Some(text) = self.text.filter(|_| self.longest.len() == expected) else {
            return false;
        };
        let surplus = fields.len() - expected;
        let fits = (0..expected).filter(|column| *column != text).all(|column| {
            let position = if column < text { column } else { column + surplus };
            fields[position].len() <= self.longest[column]
        });
        if fits {
            let joined = fields[text..=text + surplus].join(delimiter.encode_utf8(&mut [0; 4]));
            fields.splice(text..=text + surplus, [joined]);
        }
        fits
    }
}

/// Takes lines until a row is complete.
struct RowParser {
    delimiter: char,
    quoting: bool,
    fields: Vec<String>,
    field: String,
    state: State,
    /// No quoted field so far had text after its closing quote.
    strict: bool,
    quoted_fields: usize,
}

enum State {
    FieldStart,
    Plain,
    Quoted,
}

impl RowParser {
    fn new(delimiter: char, quoting: bool) -> Self {
        let (fields, field) = (Vec::new(), String::new());
        Self {
            delimiter,
            quoting,
            fields,
            field,
            state: State::FieldStart,
            strict: true,
            quoted_fields: 0,
        }
    }

    /// Takes a line with its break; true when it completes the row, false inside quotes.
    fn feed(&mut self, line: &str) -> bool {
        let mut rest = line;
        loop {
            match self.state {
                State::FieldStart => match rest.strip_prefix('"') {
                    Some(after) if self.quoting => {
                        self.quoted_fields += 1;
                        rest = after;
                        self.state = State::Quoted;
                    }
                    _ => self.state = State::Plain,
                },
                State::Plain => {
                    let (part, after) = match rest.split_once(self.delimiter) {
                        Some((part, after)) => (part, Some(after)),
                        None => (without_break(rest), None),
                    };
                    self.field.push_str(part);
                    self.fields.push(std::mem::take(&mut self.field));
                    self.state = State::FieldStart;
                    match after {
                        Some(after) => rest = after,
                        None => return true,
                    }
                }
                State::Quoted => {
                    let Some((part, after)) = rest.split_once('"') else {
                        self.field.push_str(rest);
                        return false;
                    };
                    self.field.push_str(part);
                    rest = after;
                    if let Some(after) = rest.strip_prefix('"') {
                        self.field.push('"');
                        rest = after;
                    } else {
                        // Text behind the closing quote is kept as it stands, as other readers do.
                        self.strict &= rest.starts_with(self.delimiter) || without_break(rest).is_empty();
                        self.state = State::Plain;
                    }
                }
            }
        }
    }
}

/// What the first lines of a file say about its layout.
pub(super) struct Sniffed {
    pub delimiter: char,
    pub quoting: bool,
}

/// Decides delimiter and quoting of `head`, where the options leave them open. `None`: no delimiter splits the lines evenly.
///
/// A delimiter fits if at least nine in ten of two or more lines have as many fields as most, and that is two or more.
/// Commas and semicolons go with quoting. For tabs and `|`, real files do both, so quoting is on only if quoted fields occur, each is closed
/// properly, no row spans lines, and every row has the same number of fields.
pub(super) fn sniff(
    head: &str,
    delimiter: Option<char>,
    quoting: Option<bool>,
    preferred: Option<char>,
) -> Option<Sniffed> {
    let delimiter = delimiter.or_else(|| {
        let candidates = preferred.into_iter().chain(DELIMITERS);
        candidates.into_iter().find(|candidate| fits(head, *candidate, quoting))
    })?;
    let quoting = quoting.unwrap_or_else(|| match delimiter {
        ',' | ';' => true,
        _ => is_quoted(head, delimiter),
    });
    Some(Sniffed { delimiter, quoting })
}

fn fits(head: &str, delimiter: char, quoting: Option<bool>) -> bool {
    const SAMPLE_ROWS: usize = 1000;
    let quoting = quoting.unwrap_or(matches!(delimiter, ',' | ';'));
    let mut counts = std::collections::BTreeMap::<usize, usize>::new();
    let mut parser = RowParser::new(delimiter, quoting);
    for line in head.split_inclusive('\n').filter(|line| !line.trim().is_empty()) {
        if parser.feed(line) {
            *counts.entry(parser.fields.len()).or_default() += 1;
            parser = RowParser::new(delimiter, quoting);
            if counts.values().sum::<usize>() == SAMPLE_ROWS {
                break;
            }
        }
    }
    let rows: usize = counts.values().sum();
    let usual = counts.into_iter().max_by_key(|(_, count)| *count);
    usual.is_some_and(|(fields, count)| rows >= 2 && fields >= 2 && count * 10 >= rows * 9)
}

fn is_quoted(head: &str, delimiter: char) -> bool {
    let mut quoted_fields = 0;
    let mut width = None;
    for line in head.split_inclusive('\n').filter(|line| !line.trim().is_empty()) {
        let mut parser = RowParser::new(delimiter, true);
        let complete = parser.feed(line);
        if !complete || !parser.strict {
            return false;
        }
        quoted_fields += parser.quoted_fields;
        let fields = parser.fields.len() - parser.fields.iter().rev().take_while(|field| field.is_empty()).count();
        let width = *width.get_or_insert(parser.fields.len());
        if parser.fields.len() != width && fields > width {
            return false;
        }
    }
    quoted_fields > 0
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rows(content: &str, delimiter: char, quoting: bool) -> Result<Vec<Fields>, DataError> {
        let source = Source::from_reader(std::io::Cursor::new(content.as_bytes().to_vec()), "t.csv");
        let mut reader = DelimitedReader::new(source, delimiter, quoting, FieldWidths::default());
        let mut rows = Vec::new();
        while let Some((_, fields)) = reader.next_row()? {
            rows.push(fields);
        }
        Ok(rows)
    }

    fn check(content: &str, quoting: bool, expected: &[(u64, &[&str])]) {
        let rows = rows(content, ',', quoting).unwrap();
        let seen: Vec<(u64, Vec<&str>)> = rows
            .iter()
            .map(|(line, fields)| (*line, fields.iter().map(String::as_str).collect()))
            .collect();
        let expected: Vec<(u64, Vec<&str>)> = expected.iter().map(|(line, fields)| (*line, fields.to_vec())).collect();
        assert_eq!(seen, expected, "{content:?}");
    }

    #[test]
    fn rows_know_their_lines() {
        check("a,b\nc,d", true, &[(1, &["a", "b"]), (2, &["c", "d"])]);
        check("a,b\r\n\r\nc,d\r\n", true, &[(1, &["a", "b"]), (3, &["c", "d"])]);
        check(
            "\"a\r\nx\",b\nc,\"d\"\"e\"\r\n",
            true,
            &[(1, &["a\r\nx", "b"]), (3, &["c", "d\"e"])],
        );
        check("a,\n,b\n,\n", true, &[(1, &["a", ""]), (2, &["", "b"]), (3, &["", ""])]);
        check("\"a\" b,c\n", true, &[(1, &["a b", "c"])]);
        check("\"a,b\nc\r,\"\"\n", false, &[(1, &["\"a", "b"]), (2, &["c\r", "\"\""])]);
    }

    #[test]
    fn surplus_fields_must_be_empty() {
        let content = "a\tb\nc\td\t\t\nc\t\td\ne\tf\tg\n";
        let source = Source::from_reader(content.as_bytes(), "t.tsv");
        let mut reader = DelimitedReader::new(source, '\t', false, FieldWidths::default());
        reader.header().unwrap();
        assert_eq!(
            reader.next_row().unwrap().unwrap().1,
            (2, vec!["c".to_owned(), "d".to_owned()])
        );
        assert_eq!(
            reader.next_row().unwrap().unwrap().1,
            (3, vec!["c".to_owned(), "d".to_owned()])
        );
        assert_eq!(reader.surplus_fields, 3);
        let message = reader.next_row().unwrap_err().to_string();
        assert!(
            message.starts_with("t.tsv:4: row 3: found 3 fields, expected 2\nhint: "),
            "{message}"
        );
    }

    #[test]
    fn a_text_with_the_delimiter_is_put_together() {
        let head = "1|a text|0\n2|another one|1\n3|a third text|0\n";
        let widths = FieldWidths::measure(head, '|', false);
        let rejoined = |row: &str| {
            let mut fields: Vec<String> = row.split('|').map(str::to_owned).collect();
            widths.rejoin(&mut fields, 3, '|').then_some(fields)
        };
        assert_eq!(
            rejoined("4|a | b|| c|1"),
            Some(["4", "a | b|| c", "1"].map(str::to_owned).to_vec())
        );
        assert_eq!(rejoined("4|a|b|text"), None);
        assert!(FieldWidths::measure("a|b\nc|d\n", '|', false).text.is_none());
        assert!(FieldWidths::measure(head, '|', true).text.is_none());
    }

    #[test]
    fn unclosed_quotes_are_found_where_they_open() {
        let message = rows("a,b\nc,\"d\ne,f\n", ',', true).unwrap_err().to_string();
        assert!(message.starts_with("t.csv:2: row 2: a `\"` opens"), "{message}");
    }

    #[test]
    fn layouts_are_recognised() {
        let check = |head: &str, expected: Option<(char, bool)>| {
            let sniffed = sniff(head, None, None, None).map(|sniffed| (sniffed.delimiter, sniffed.quoting));
            assert_eq!(sniffed, expected, "{head:?}");
        };
        check("a\tb\n1\t2\n", Some(('\t', false)));
        check("a\tb\n\"x \"\"y\"\"\"\t2\n", Some(('\t', true)));
        check("a\tb\n\"x\" y\t2\n\"z\"\t1\n", Some(('\t', false)));
        check("a\tb\n\"x\t2\nz\"\t1\n", Some(('\t', false)));
        check("a,b\n\"x,y\",2\n", Some((',', true)));
        check("text|0\n안녕, 그래|1\n", Some(('|', false)));
        check("a;b\n1,5;2\n", Some((';', true)));
        check("one text\nanother, longer, text\nthird\n", None);
        check("a single line, with commas, of prose\n", None);
    }

    proptest! {
        /// What the `csv` crate writes, this reader reads back, each row on the right line.
        #[test]
        fn reads_what_the_csv_crate_writes(
            table in (1usize..4).prop_flat_map(|width| {
                prop::collection::vec(prop::collection::vec("[a,\"\n\r가 ]{0,6}", width), 1..6)
            }),
            crlf: bool,
        ) {
            let terminator = if crlf { csv::Terminator::CRLF } else { csv::Terminator::Any(b'\n') };
            let mut writer = csv::WriterBuilder::new().terminator(terminator).quote_style(csv::QuoteStyle::Always).from_writer(Vec::new());
            for row in &table {
                writer.write_record(row).unwrap();
            }
            let content = String::from_utf8(writer.into_inner().unwrap()).unwrap();
            let seen = rows(&content, ',', true).unwrap();
            let mut line = 1;
            prop_assert_eq!(seen.len(), table.len());
            for ((seen_line, fields), row) in seen.iter().zip(&table) {
                prop_assert_eq!(fields, row);
                prop_assert_eq!(*seen_line, line);
                line += 1 + row.iter().map(|field| field.matches('\n').count() as u64).sum::<u64>();
            }
        }
    }
}
