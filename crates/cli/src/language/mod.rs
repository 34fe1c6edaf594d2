//! In which language people are spoken to. The library and every command speak English; what is about to be shown goes through
//! [`Language::translate`], which knows the Korean of each line from `ko.txt`. Data (predictions, JSON, tables) never does.
//!
//! `catalogue.rs` finds the line, `help.rs` does the same to the help of every command.

mod catalogue;
#[cfg(test)]
mod completeness;
pub mod help;

use std::borrow::Cow;
use std::ffi::OsString;
use std::sync::LazyLock;

use clap::ValueEnum;

use catalogue::Catalogue;

/// The lines known in Korean.
static KOREAN: LazyLock<Catalogue> = LazyLock::new(|| Catalogue::parse(include_str!("ko.txt")));

/// A language in which messages and help are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Language {
    // Not documented: clap would make long help of it, in every command.
    #[value(name = "en")]
    English,
    #[value(name = "ko")]
    Korean,
}

impl Language {
    /// Its name in `--lang` and in HTML.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Korean => "ko",
        }
    }

    /// The language of the first `--lang` among the arguments, or else of the locale: needed before arguments are parsed,
    /// since that speaks too.
    pub fn choose(arguments: impl Iterator<Item = OsString>) -> Self {
        Self::asked_for(arguments).unwrap_or_else(Self::of_locale)
    }

    /// The language of the first of `LC_ALL`, `LC_MESSAGES` and `LANG` that is set.
    pub fn of_locale() -> Self {
        let mut locales = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .into_iter()
            .filter_map(std::env::var_os);
        let locale = locales.find(|locale| !locale.is_empty());
        locale.map_or(Self::English, |locale| Self::of(&locale.to_string_lossy()))
    }

    /// `ko`, `ko_KR.UTF-8` and the like; `kok` is another language.
    fn of(locale: &str) -> Self {
        match locale.split(['_', '.', '@', '-']).next() {
            Some("ko") => Self::Korean,
            _ => Self::English,
        }
    }

    fn asked_for(arguments: impl Iterator<Item = OsString>) -> Option<Self> {
        let mut arguments = arguments
            .map(|argument| argument.to_string_lossy().into_owned())
            .take_while(|argument| argument != "--");
        while let Some(argument) = arguments.next() {
            let name = match argument.split_once('=') {
                Some(("--lang", name)) => name.to_owned(),
                _ if argument == "--lang" => arguments.next()?,
                _ => continue,
            };
            return Self::from_str(&name, false).ok();
        }
        None
    }

    /// The text in this language, line by line. A line that is not known stays as it is.
    pub fn translate(self, text: &str) -> Cow<'_, str> {
        match self {
            Self::English => Cow::Borrowed(text),
            Self::Korean => KOREAN.translate(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_comes_before_the_locale() {
        let asked = |arguments: &str| Language::asked_for(arguments.split_whitespace().map(OsString::from));
        assert_eq!(asked("gareum train --lang ko"), Some(Language::Korean));
        assert_eq!(asked("gareum --lang=en train --lang ko"), Some(Language::English));
        assert_eq!(asked("gareum train --model ko"), None);
        assert_eq!(asked("gareum train --lang"), None);
        assert_eq!(asked("gareum train --lang fr"), None);
        assert_eq!(asked("gareum train -- --lang ko"), None);
    }

    #[test]
    fn korean_locales() {
        for locale in ["ko", "ko_KR", "ko_KR.UTF-8", "ko-KR", "ko@x"] {
            assert_eq!(Language::of(locale), Language::Korean, "{locale}");
        }
        for locale in ["", "C", "C.UTF-8", "en_US.UTF-8", "kok_IN", "POSIX"] {
            assert_eq!(Language::of(locale), Language::English, "{locale}");
        }
    }

    #[test]
    fn what_is_not_known_stays() {
        let text = "no such line here\n\n  nor here: 1";
        assert_eq!(Language::Korean.translate(text), text);
        assert_eq!(Language::English.translate("hint: x"), "hint: x");
        assert_eq!(Language::Korean.translate("hint: x"), "도움말: x");
    }
}
