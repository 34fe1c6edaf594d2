//! Whether `ko.txt` knows every line that can be shown: those of the help, and every text in the sources that looks like one.
//!
//! When a line is missing, add it to `ko.txt`, or, if people never see it, to [`EXEMPT`] with the reason.

use std::path::{Path, PathBuf};

use clap::builder::StyledStr;
use clap::{Arg, Command, CommandFactory};
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use syn::Lit;

use super::KOREAN;
use crate::arguments::Arguments;

/// Beginnings of lines in the sources that need no entry of their own, with the reason.
const EXEMPT: &[(&str, &str)] = &[
    ("tensor is", "a part of `1 tensor is missing: {list}`"),
    ("tensors are", "a part of `{number} tensors are missing: {list}`"),
    ("unknown field", "a beginning that is looked for"),
    ("unknown variant", "a beginning that is looked for"),
    ("possible values", "a part of `[possible values: {value}]`"),
    (
        "a classification report:",
        "what serde expects of a report; reports are not read here",
    ),
    ("the averages are missing", "reports are not read here"),
    ("model name", "a key of /proc/cpuinfo"),
    ("where is my refund?", "an English text to be typed as it is"),
    ("echo \"{}\" | gareum predict", "a command to be typed as it is"),
    ("cd {} && gareum train", "a command to be typed as it is"),
    ("tensorflow tf-keras", "a part of a command to be typed"),
    ("at line", "a piece of serde's message that is cut off"),
    ("# Text classifier", "the model card, a file"),
    ("A `{}` model ({} parameters)", "the model card, a file"),
    ("Trained on {} rows,", "the model card, a file"),
    ("trained from scratch", "the model card, a file"),
    ("`gareum.json` holds what was fitted", "the model card, a file"),
    ("| metric | value |", "the model card, a file"),
    ("It learnt from a teacher too", "the model card, a file"),
    ("; and from what the teacher says", "the model card, a file"),
    ("gareum predict --model DIR", "the model card, a file"),
    ("It also opens in", "the model card, a file"),
    ("`transformers`: `AutoModel", "the model card, a file"),
    ("`peft`: `PeftModel", "the model card, a file"),
    ("<meta http-equiv", "markup of reports"),
    ("stroke thin s", "a class of marks in plots"),
    ("stroke faint s{}", "a class of marks in plots"),
    ("tick halo", "a class of marks in plots"),
    ("gareum train {}", "a command to be typed as it is"),
    ("panicked at", "a part of Rust's own message that is looked for"),
];

/// The files of `serve` whose messages the command line shows. The others speak to programs, and in the log, in English only.
const TOLD_BY_SERVE: [&str; 4] = ["access.rs", "error.rs", "settings.rs", "tls.rs"];

/// What stands for a value in a line of which only the template is known: no letter, so that it is no word either.
const ANY: &str = "\u{E000}";

/// The parts of a line that would be shown in English.
fn missing(line: &str) -> Vec<String> {
    // A line that opens like this continues another.
    let continues = line.starts_with(", ") || line.starts_with(' ') && !line.starts_with("  ");
    let line = if continues {
        format!("{ANY}{line}")
    } else {
        line.to_owned()
    };
    let unknown = |line: &str| {
        let mut unknown = Vec::new();
        KOREAN.translate_noting(line, &mut |piece| {
            if is_prose(piece) {
                unknown.push(piece.replace(ANY, "{}"));
            }
        });
        unknown
    };
    let missing = unknown(&line);
    // What is added to a word may also be nothing.
    let mut last = ' ';
    let bare: String = line
        .chars()
        .filter(|c| {
            let is_kept = !ANY.contains(*c) || !(last.is_alphabetic() || ANY.contains(last));
            last = *c;
            is_kept
        })
        .collect();
    if missing.is_empty() || unknown(&bare).is_empty() {
        Vec::new()
    } else {
        missing
    }
}

/// Two words or more, not counting what stands in backquotes.
fn is_prose(line: &str) -> bool {
    let spoken: String = line.split('`').step_by(2).collect();
    let is_word = |word: &&str| {
        let word = word.trim_matches(|c: char| ".,;:()?!'\"".contains(c) || ANY.contains(c));
        word.chars().count() > 1 && word.chars().all(|c| c.is_ascii_alphabetic() || c == '-' || c == '\'')
    };
    spoken.split_whitespace().filter(is_word).count() > 1
}

fn assert_none(missing: Vec<(String, String)>) {
    let listed: Vec<String> = missing
        .iter()
        .map(|(place, line)| format!("# {place}\n{line}\n"))
        .collect();
    assert!(
        listed.is_empty(),
        "{} lines are not known in Korean; add them to src/language/ko.txt, each with its Korean below it and a name in every {{}}:\n\n{}",
        listed.len(),
        listed.join("\n")
    );
}

#[test]
fn help_is_known() {
    fn told(place: &str, texts: &[Option<&StyledStr>], missing: &mut Vec<(String, String)>) {
        for text in texts.iter().flatten() {
            for line in text.to_string().lines().map(str::trim).filter(|line| !line.is_empty()) {
                let known = KOREAN.translate(line) != line || line.starts_with("gareum ");
                if !known {
                    missing.push((place.to_owned(), line.to_owned()));
                }
            }
        }
    }
    fn walk(command: &Command, missing: &mut Vec<(String, String)>) {
        let texts = [
            command.get_about(),
            command.get_long_about(),
            command.get_before_help(),
            command.get_after_help(),
            command.get_after_long_help(),
        ];
        let place = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
        told(&place, &texts, missing);
        for argument in command.get_arguments() {
            let heading = argument
                .get_help_heading()
                .map(|heading| StyledStr::from(heading.to_owned()));
            let texts = [argument.get_help(), argument.get_long_help(), heading.as_ref()];
            told(&format!("{place}: {}", name(argument)), &texts, missing);
        }
        command.get_subcommands().for_each(|command| walk(command, missing));
    }
    fn name(argument: &Arg) -> String {
        argument
            .get_long()
            .map_or(argument.get_id().to_string(), |long| format!("--{long}"))
    }
    let mut command = Arguments::command();
    command.build();
    let mut missing = Vec::new();
    walk(&command, &mut missing);
    for word in [
        "Usage:",
        "Arguments",
        "Options",
        "Commands",
        "[default: x]",
        "[possible values: x]",
    ] {
        if KOREAN.translate(word) == word {
            missing.push(("clap".to_owned(), word.to_owned()));
        }
    }
    missing.sort_unstable_by(|one, other| one.1.cmp(&other.1));
    missing.dedup_by(|one, other| one.1 == other.1);
    assert_none(missing);
}

#[test]
fn texts_of_the_sources_are_known() {
    let mut found = Vec::new();
    for folder in ["../tensor/src", "../gareum/src", "../serve/src", "src"] {
        let is_serve = folder == "../serve/src";
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for path in sources(&folder) {
            if is_serve && !TOLD_BY_SERVE.iter().any(|file| path.ends_with(file)) {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let tokens: TokenStream = text
                .parse()
                .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let mut texts = Vec::new();
            collect(tokens, &mut texts);
            let place = path.strip_prefix(folder.parent().unwrap().parent().unwrap());
            let place = place.unwrap_or(&path).display().to_string();
            found.extend(texts.into_iter().map(|text| (place.clone(), text)));
        }
    }
    assert!(found.len() > 500, "only {} texts", found.len());
    let lines = found.iter().flat_map(|(place, text)| {
        let lines: Vec<String> = normalised(text).lines().map(str::to_owned).collect();
        lines.into_iter().map(move |line| (place, line))
    });
    let is_shown = |line: &str| !EXEMPT.iter().any(|(start, _)| line.trim_start().starts_with(start));
    let missing = lines
        .filter(|(_, line)| is_shown(&line.replace(ANY, "{}")))
        .flat_map(|(place, line)| missing(&line).into_iter().map(move |piece| (place.clone(), piece)));
    assert_none(missing.collect());
    for (start, reason) in EXEMPT {
        assert!(
            found.iter().any(|(_, text)| normalised(text)
                .replace(ANY, "{}")
                .lines()
                .any(|line| line.trim_start().starts_with(start))),
            "`{start}` ({reason}) is not in the sources any more"
        );
    }
}

/// What prints to standard error by itself is not translated.
#[test]
fn messages_go_through_the_display() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let prints = |path: &PathBuf| std::fs::read_to_string(path).unwrap().contains("eprint");
    let printing: Vec<String> = sources(&folder)
        .iter()
        .filter(|path| prints(path))
        .map(|path| path.strip_prefix(&folder).unwrap().display().to_string())
        .collect();
    assert_eq!(
        printing,
        ["failure.rs", "language/help.rs", "progress.rs"],
        "use `Display::note` or `Display::warn`"
    );
}

/// The Rust files of a folder, but for those that are modules of tests.
fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    let module = |path: &Path| path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let parents = files.iter().filter(|path| path.parent() == Some(folder));
    let text: String = parents.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    files.retain(|path| {
        let declared = format!("#[cfg(test)]\nmod {};", module(path));
        path.parent() != Some(folder) || !text.contains(&declared)
    });
    files.sort_unstable();
    files
}

/// Collects the literals that may be shown: not those of attributes (but `#[error]`), tests, and messages of panics.
fn collect(tokens: TokenStream, texts: &mut Vec<String>) {
    const OF_PROGRAMMERS: [&str; 12] = [
        "assert",
        "assert_eq",
        "assert_ne",
        "debug_assert",
        "debug_assert_eq",
        "panic",
        "unreachable",
        "concat",
        "env",
        "include_str",
        "expect",
        "compile_error",
    ];
    let mut tokens = tokens.into_iter().peekable();
    let mut skip_item = false;
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => {
                if matches!(tokens.peek(), Some(TokenTree::Punct(punct)) if punct.as_char() == '!') {
                    tokens.next();
                }
                if let Some(TokenTree::Group(group)) = tokens.next_if(|token| matches!(token, TokenTree::Group(_))) {
                    skip_item |= group.stream().to_string().replace(' ', "") == "cfg(test)";
                    attribute(&group, texts);
                }
            }
            TokenTree::Ident(word) if OF_PROGRAMMERS.contains(&word.to_string().as_str()) => {
                tokens.next_if(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == '!'));
                tokens.next_if(|token| matches!(token, TokenTree::Group(_)));
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => skip_item = false,
            TokenTree::Group(group) => {
                if !skip_item {
                    collect(group.stream(), texts);
                }
                skip_item &= group.delimiter() != Delimiter::Brace;
            }
            TokenTree::Literal(literal) => {
                if let Lit::Str(text) = Lit::new(literal)
                    && !skip_item
                {
                    texts.push(text.value());
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }
}

fn attribute(group: &Group, texts: &mut Vec<String>) {
    let mut tokens = group.stream().into_iter();
    if let (Some(TokenTree::Ident(name)), Some(TokenTree::Group(arguments))) = (tokens.next(), tokens.next())
        && name == "error"
    {
        collect(arguments.stream(), texts);
    }
}

/// The text with [`ANY`] for each `{placeholder}` of a format.
fn normalised(text: &str) -> String {
    let text = text.replace("{{", "\u{E001}").replace("}}", "\u{E002}");
    let mut parts = text.split('{');
    let mut normalised = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let is_name = |c: char| c.is_alphanumeric() || "_:}".contains(c);
        match part.split_once('}') {
            Some((_, after)) if part.starts_with(is_name) => normalised += &format!("{ANY}{after}"),
            _ => normalised += &format!("{{{part}"),
        }
    }
    normalised.replace('\u{E001}', "{").replace('\u{E002}', "}")
}
