//! What the sentiment model reads of a text and a keyword.

use std::ops::Range;

use crate::data::Input;
use crate::settings::ChainSettings;

const TEXT: &str = "{text}";
const KEYWORD: &str = "{keyword}";

/// A text, or two, with a place for the text and one for the keyword.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    template: String,
    pair: Option<String>,
}

impl Template {
    /// The template of the settings; `None` if it does not have each place once.
    pub fn of(settings: &ChainSettings) -> Option<Self> {
        let template = Self {
            template: settings.template.clone(),
            pair: settings.template_pair.clone(),
        };
        let count = |place: &str| template.parts().map(|part| part.matches(place).count()).sum::<usize>();
        (count(TEXT) == 1 && count(KEYWORD) == 1).then_some(template)
    }

    /// It with a text and a keyword in their places.
    pub fn fill(&self, text: &str, keyword: &str) -> Input {
        // Piece by piece, so that a text that speaks of `{keyword}` stays as it is.
        let fill = |part: &str| {
            let mut filled = String::with_capacity(part.len() + text.len());
            let mut rest = part;
            while let Some((at, place, value)) = [(TEXT, text), (KEYWORD, keyword)]
                .into_iter()
                .filter_map(|(place, value)| Some((rest.find(place)?, place, value)))
                .min()
            {
                filled.push_str(&rest[..at]);
                filled.push_str(value);
                rest = &rest[at + place.len()..];
            }
            filled + rest
        };
        Input {
            text: fill(&self.template),
            text_pair: self.pair.as_deref().map(fill),
        }
    }

    /// Where the text stands in what [`Template::fill`] makes: in the second text or not, and its characters.
    pub fn place_of_text(&self, text: &str, keyword: &str) -> (bool, Range<usize>) {
        let is_second = !self.template.contains(TEXT);
        let part = self.parts().find(|part| part.contains(TEXT)).unwrap_or_default();
        let before = part.split(TEXT).next().unwrap_or_default().replace(KEYWORD, keyword);
        let start = before.chars().count();
        (is_second, start..start + text.chars().count())
    }

    fn parts(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.template.as_str()).chain(self.pair.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(template: &str, pair: Option<&str>) -> Option<Template> {
        Template::of(&ChainSettings {
            template: template.to_owned(),
            template_pair: pair.map(str::to_owned),
            ..ChainSettings::default()
        })
    }

    #[test]
    fn each_place_is_filled_once() {
        let plain = template("###입력: {text} \n###키워드: {keyword}", None).unwrap();
        let filled = plain.fill("색은 {keyword}가 예뻐요", "디자인");
        assert_eq!(filled.text, "###입력: 색은 {keyword}가 예뻐요 \n###키워드: 디자인");
        let behind = template("{keyword}: {text}", None)
            .unwrap()
            .fill("good {text}", "price");
        assert_eq!(behind.text, "price: good {text}");
        let pair = template("{text}", Some("{keyword}?")).unwrap().fill("good", "price");
        assert_eq!(
            (pair.text.as_str(), pair.text_pair.as_deref()),
            ("good", Some("price?"))
        );
        for wrong in ["{text}", "{keyword}", "{text} {text} {keyword}", ""] {
            assert_eq!(template(wrong, None), None, "{wrong}");
        }
    }

    #[test]
    fn the_text_is_found_again() {
        for (parts, is_second) in [
            (("###입력: {text} \n###키워드: {keyword}", None), false),
            (("{keyword}에 대해: {text}", None), false),
            (("{keyword}", Some(">> {text}")), true),
        ] {
            let template = template(parts.0, parts.1).unwrap();
            let (text, keyword) = ("배송이 👍 빨라요", "배송");
            let filled = template.fill(text, keyword);
            let (second, place) = template.place_of_text(text, keyword);
            assert_eq!(second, is_second);
            let whole = if second { filled.text_pair.unwrap() } else { filled.text };
            let found: String = whole.chars().skip(place.start).take(place.len()).collect();
            assert_eq!(found, text);
        }
    }
}
