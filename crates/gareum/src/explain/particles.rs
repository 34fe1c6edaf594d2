//! Korean particles at the end of words, by a small table: nothing is analysed, so endings of verbs that look like particles are now and then
//! taken for them (`만나는`), and particles after a single syllable are mostly left alone (`맛이`), since too many words end like one (`좋은`,
//! `많이`, `회의`).

/// The last sound that a particle stands behind.
#[derive(Clone, Copy, PartialEq, Eq)]
enum After {
    Any,
    Vowel,
    Consonant,
    /// A vowel, or ㄹ.
    VowelOrRieul,
}

/// Particles, longer ones first, what they stand behind, and how many syllables that has at least.
const PARTICLES: [(&str, After, usize); 36] = [
    ("에서부터", After::Any, 1),
    ("으로부터", After::Consonant, 1),
    ("로부터", After::VowelOrRieul, 1),
    ("이라도", After::Consonant, 1),
    ("이라고", After::Consonant, 2),
    ("에서", After::Any, 1),
    ("에게", After::Any, 1),
    ("한테", After::Any, 1),
    ("께서", After::Any, 1),
    ("까지", After::Any, 1),
    ("부터", After::Any, 1),
    ("처럼", After::Any, 1),
    ("조차", After::Any, 1),
    ("마저", After::Any, 2),
    ("밖에", After::Any, 1),
    ("마다", After::Any, 1),
    ("보다", After::Any, 2),
    ("으로", After::Consonant, 1),
    ("이나", After::Consonant, 1),
    ("이랑", After::Consonant, 1),
    ("라도", After::Vowel, 2),
    ("라고", After::Vowel, 3),
    ("은", After::Consonant, 2),
    ("는", After::Vowel, 2),
    ("이", After::Consonant, 2),
    ("가", After::Vowel, 2),
    ("을", After::Consonant, 2),
    ("를", After::Vowel, 1),
    ("에", After::Any, 2),
    ("로", After::VowelOrRieul, 2),
    ("와", After::Vowel, 2),
    ("과", After::Consonant, 2),
    ("랑", After::Vowel, 2),
    ("의", After::Any, 2),
    ("도", After::Any, 2),
    ("만", After::Any, 2),
];

/// What follows one of the others: `에서는`, `까지도`, `으로만`.
const SECOND: [&str; 4] = ["는", "은", "도", "만"];

/// Words that only look as if they ended with one.
const WHOLE: [&str; 30] = [
    "하지만",
    "그렇지만",
    "그러므로",
    "그래도",
    "아무도",
    "그대로",
    "제대로",
    "나름대로",
    "마음대로",
    "대체로",
    "스스로",
    "저절로",
    "억지로",
    "어린이",
    "고양이",
    "호랑이",
    "원숭이",
    "젊은이",
    "늙은이",
    "지팡이",
    "깨끗이",
    "일찍이",
    "틈틈이",
    "만족도",
    "난이도",
    "완성도",
    "인지도",
    "선호도",
    "신뢰도",
    "중요도",
];

/// Endings of verbs that look like a particle behind a noun: `사용하는`, `늦었지만`. The nouns that end so (`바다는`) are left alone with them.
const ENDINGS: [&str; 4] = ["하는", "되는", "다는", "지만"];

/// Final consonants that stems of verbs have and hardly any noun: `재미있을`, `괜찮은`. ㄵ ㄶ ㄼ ㄽ ㄾ ㄿ ㅀ ㅄ ㅆ ㅎ, by their
/// numbers in a syllable.
const OF_VERBS: [u32; 10] = [5, 6, 11, 12, 13, 14, 15, 18, 20, 27];

const FIRST_SYLLABLE: u32 = 0xAC00;
const SYLLABLES: u32 = 11172;
const FINALS: u32 = 28;
const RIEUL: u32 = 8;

/// Where the particles of a word begin, behind which punctuation may stand; the length of the word if it has none.
pub(super) fn cut(word: &[char]) -> usize {
    let end = word
        .iter()
        .rposition(|&character| is_syllable(character))
        .map_or(0, |at| at + 1);
    let letters: String = word[..end].iter().collect();
    let is_verb = ENDINGS.iter().any(|ending| letters.ends_with(ending)) && !letters.ends_with("까지만");
    if WHOLE.contains(&letters.as_str()) || is_verb {
        return word.len();
    }
    let Some(length) = last_particle(&word[..end]) else {
        return word.len();
    };
    let first = end - length;
    // A second one before it, if what is there goes before another.
    let particle: String = word[first..end].iter().collect();
    match last_particle(&word[..first]) {
        Some(before) if before > 1 && SECOND.contains(&particle.as_str()) => first - before,
        _ => first,
    }
}

/// How many syllables the particle has that a word ends with.
fn last_particle(word: &[char]) -> Option<usize> {
    let fits = |(particle, after, least): &&(&str, After, usize)| {
        let length = particle.chars().count();
        let Some(stem) = word.len().checked_sub(length).map(|cut| &word[..cut]) else {
            return false;
        };
        let syllables = stem
            .iter()
            .rev()
            .take_while(|&&character| is_syllable(character))
            .count();
        let follows = match stem.last() {
            Some(&last) if is_syllable(last) => stands_behind(last, *after) && syllables >= *least,
            // Names in other scripts and numbers: `iPhone은`, `3개월에` has syllables. Their sounds are not known.
            Some(last) => last.is_alphanumeric(),
            None => false,
        };
        follows && word[stem.len()..].iter().copied().eq(particle.chars())
    };
    let (particle, _, _) = PARTICLES.iter().find(fits)?;
    Some(particle.chars().count())
}

fn is_syllable(character: char) -> bool {
    (FIRST_SYLLABLE..FIRST_SYLLABLE + SYLLABLES).contains(&u32::from(character))
}

fn stands_behind(syllable: char, after: After) -> bool {
    let last = (u32::from(syllable) - FIRST_SYLLABLE) % FINALS;
    match after {
        After::Any => true,
        After::Vowel => last == 0,
        After::Consonant => last != 0 && !OF_VERBS.contains(&last),
        After::VowelOrRieul => last == 0 || last == RIEUL,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn particles_are_cut_off() {
        for (word, expected) in [
            ("배송은", "배송|은"),
            ("배송이", "배송|이"),
            ("디자인을,", "디자인|을,"),
            ("서비스가", "서비스|가"),
            ("사이트에서는", "사이트|에서는"),
            ("내일까지만!", "내일|까지만!"),
            ("색상으로", "색상|으로"),
            ("서울로", "서울|로"),
            ("물건과", "물건|과"),
            ("포장도", "포장|도"),
            ("iPhone은", "iPhone|은"),
            ("아이폰을", "아이폰|을"),
            ("집에서", "집|에서"),
            ("만족도가", "만족도|가"),
            ("강아지는", "강아지|는"),
            ("\"가격은\"", "\"가격|은\""),
        ] {
            let characters: Vec<char> = word.chars().collect();
            let cut = cut(&characters);
            let [stem, particle]: [String; 2] =
                [&characters[..cut], &characters[cut..]].map(|part| part.iter().collect());
            assert_eq!(format!("{stem}|{particle}"), expected);
        }
    }

    #[test]
    fn words_that_look_so_are_left_alone() {
        let words = "늦었지만 사용하는 맛있다는 깨끗이 만족도 좋은 많이 회의 맛있는 재미있을 괜찮은 하지만 제대로 결과 평가 은 이 에서 good 2024 😀 고양이 . 예쁜데요 싫은 같이";
        for word in words.split(' ') {
            let characters: Vec<char> = word.chars().collect();
            assert_eq!(cut(&characters), characters.len(), "{word}");
        }
    }
}
