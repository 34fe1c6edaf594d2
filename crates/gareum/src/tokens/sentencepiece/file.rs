//! Reading a sentencepiece `.model`: a protocol buffer (`sentencepiece_model.proto`) of pieces with scores, and the few settings of
//! training and normalisation that tokenizing needs.
//!
//! A reader of its own, since the format is four wire types and a dozen fields: a protocol buffer crate would bring a build step and
//! macros for them. It never panics and never takes more memory than the file; what is not needed is skipped.

/// What a `.model` says.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::tokens) struct SentencePieceFile {
    /// In the order of their ids.
    pub pieces: Vec<Piece>,
    /// How texts are cut into pieces.
    pub algorithm: Algorithm,
    /// Whether characters that are no pieces become pieces for their bytes.
    pub byte_fallback: bool,
    pub unk_id: usize,
    /// `None`: there is no such token.
    pub bos_id: Option<usize>,
    pub eos_id: Option<usize>,
    pub unk_piece: String,
    pub bos_piece: String,
    pub eos_piece: String,
    /// The rules of normalisation, compiled; empty if there are none.
    pub precompiled_charsmap: Vec<u8>,
    pub add_dummy_prefix: bool,
    pub remove_extra_whitespaces: bool,
}

/// One entry of the vocabulary.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::tokens) struct Piece {
    pub text: String,
    pub score: f32,
    pub kind: PieceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tokens) enum PieceKind {
    Normal,
    Unknown,
    /// `<s>` and the like: never found in a text.
    Control,
    /// Found in every text that has it, before anything else.
    UserDefined,
    Unused,
    Byte,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::tokens) enum Algorithm {
    /// The most probable pieces (Kudo 2018, <https://arxiv.org/abs/1804.10959>).
    Unigram,
    /// Merges (Sennrich et al. 2016, <https://arxiv.org/abs/1508.07909>).
    Bpe,
}

impl SentencePieceFile {
    /// Reads the bytes of a `.model`.
    ///
    /// # Errors
    /// What is wrong with them, without the file's name.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut file = Self {
            pieces: Vec::new(),
            algorithm: Algorithm::Unigram,
            byte_fallback: false,
            unk_id: 0,
            bos_id: Some(1),
            eos_id: Some(2),
            unk_piece: "<unk>".to_owned(),
            bos_piece: "<s>".to_owned(),
            eos_piece: "</s>".to_owned(),
            precompiled_charsmap: Vec::new(),
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
        };
        for field in Fields::new(bytes) {
            match field? {
                (1, Wire::Bytes(piece)) => {
                    let id = file.pieces.len();
                    let piece = Piece::parse(piece).map_err(|reason| format!("piece {id}: {reason}"))?;
                    file.pieces.push(piece);
                }
                (2, Wire::Bytes(settings)) => file.read_training(settings)?,
                (3, Wire::Bytes(settings)) => file.read_normalisation(settings)?,
                _ => {}
            }
        }
        file.check()?;
        Ok(file)
    }

    fn read_training(&mut self, bytes: &[u8]) -> Result<(), String> {
        for field in Fields::new(bytes) {
            match field? {
                (3, Wire::Number(kind)) => {
                    self.algorithm = match kind {
                        1 => Algorithm::Unigram,
                        2 => Algorithm::Bpe,
                        3 => return Err("its algorithm is `word`; unigram and bpe are read".to_owned()),
                        4 => return Err("its algorithm is `char`; unigram and bpe are read".to_owned()),
                        other => return Err(format!("its algorithm has the number {other}; unigram is 1, bpe 2")),
                    }
                }
                (35, Wire::Number(flag)) => self.byte_fallback = flag != 0,
                (40, Wire::Number(id)) => {
                    self.unk_id = token_id(id).ok_or("it has no unknown token (unk_id is negative)")?;
                }
                (41, Wire::Number(id)) => self.bos_id = token_id(id),
                (42, Wire::Number(id)) => self.eos_id = token_id(id),
                (45, Wire::Bytes(piece)) => self.unk_piece = text(piece)?,
                (46, Wire::Bytes(piece)) => self.bos_piece = text(piece)?,
                (47, Wire::Bytes(piece)) => self.eos_piece = text(piece)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn read_normalisation(&mut self, bytes: &[u8]) -> Result<(), String> {
        for field in Fields::new(bytes) {
            match field? {
                (2, Wire::Bytes(charsmap)) => self.precompiled_charsmap = charsmap.to_vec(),
                (3, Wire::Number(flag)) => self.add_dummy_prefix = flag != 0,
                (4, Wire::Number(flag)) => self.remove_extra_whitespaces = flag != 0,
                _ => {}
            }
        }
        Ok(())
    }

    /// What the sentencepiece library demands of a model before it uses one.
    fn check(&self) -> Result<(), String> {
        if self.pieces.is_empty() {
            return Err("it has no pieces".to_owned());
        }
        let mut seen = ahash::AHashMap::with_capacity(self.pieces.len());
        for (id, piece) in self.pieces.iter().enumerate() {
            if piece.text.is_empty() {
                return Err(format!("piece {id} is empty"));
            }
            if !piece.score.is_finite() {
                return Err(format!("piece {id}, `{}`, has the score {}", piece.text, piece.score));
            }
            if let Some(first) = seen.insert(piece.text.as_str(), id) {
                return Err(format!("pieces {first} and {id} are both `{}`", piece.text));
            }
        }
        let unknown = self.pieces.iter().position(|piece| piece.kind == PieceKind::Unknown);
        if unknown != Some(self.unk_id) {
            let found = unknown.map_or("none".to_owned(), |id| id.to_string());
            return Err(format!(
                "its unknown token should have the id {}, found {found}",
                self.unk_id
            ));
        }
        if !self.precompiled_charsmap.is_empty() {
            super::charsmap::check(&self.precompiled_charsmap)?;
        }
        Ok(())
    }
}

impl Piece {
    fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut piece = Self {
            text: String::new(),
            score: 0.0,
            kind: PieceKind::Normal,
        };
        for field in Fields::new(bytes) {
            match field? {
                (1, Wire::Bytes(bytes)) => piece.text = text(bytes)?,
                (2, Wire::Word(bits)) => piece.score = f32::from_bits(bits),
                (3, Wire::Number(kind)) => {
                    piece.kind = match kind {
                        1 => PieceKind::Normal,
                        2 => PieceKind::Unknown,
                        3 => PieceKind::Control,
                        4 => PieceKind::UserDefined,
                        5 => PieceKind::Unused,
                        6 => PieceKind::Byte,
                        other => return Err(format!("it is of an unknown kind, {other}")),
                    }
                }
                _ => {}
            }
        }
        Ok(piece)
    }
}

/// Ids are signed in the file; a negative one says that there is no such token.
fn token_id(number: u64) -> Option<usize> {
    // Negative numbers are written as 64 bits of two's complement.
    i32::try_from(number.cast_signed())
        .ok()
        .and_then(|id| usize::try_from(id).ok())
}

fn text(bytes: &[u8]) -> Result<String, String> {
    String::from_utf8(bytes.to_vec()).map_err(|_| "a text is not UTF-8".to_owned())
}

/// A field's value as it stands in the file.
enum Wire<'a> {
    Number(u64),
    Word(u32),
    /// Eight bytes, which no field that is read here has.
    Long,
    Bytes(&'a [u8]),
}

/// The fields of a message, one after another, with their numbers. Ends behind the first error.
struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// Seven bits a byte, the lowest first; the highest bit says whether there are more.
    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn field(&mut self) -> Option<Result<(u64, Wire<'a>), String>> {
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Wire::Number(self.varint()?),
            1 => {
                self.take(8)?;
                Wire::Long
            }
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => Wire::Word(u32::from_le_bytes(self.take(4)?.try_into().ok()?)),
            other => return Some(Err(format!("not a sentencepiece model (wire type {other})"))),
        };
        Some(Ok((key >> 3, value)))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Wire<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self
            .field()
            .unwrap_or_else(|| Err("not a sentencepiece model, or one that is cut off".to_owned()));
        if field.is_err() {
            self.rest = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A field with its number, for numbers below 16.
    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut written = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        written.extend_from_slice(bytes);
        written
    }

    fn piece(text: &str, score: f32, kind: u8) -> Vec<u8> {
        let mut written = field(1, text.as_bytes());
        written.push(2 << 3 | 5);
        written.extend_from_slice(&score.to_le_bytes());
        written.extend_from_slice(&[3 << 3, kind]);
        field(1, &written)
    }

    fn model() -> Vec<u8> {
        [piece("<unk>", 0.0, 2), piece("▁a", -1.5, 1), piece("<s>", 0.0, 3)].concat()
    }

    fn fixture(name: &str) -> Vec<u8> {
        let path = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../tests/reference/fixtures/sentencepiece/"
        );
        std::fs::read(format!("{path}{name}")).unwrap()
    }

    #[test]
    fn pieces_and_settings_are_read() {
        let negative = [&[41 << 3 & 0x7f | 0x80, 2][..], &[0xff; 9], &[1]].concat();
        let training = [&[3 << 3, 2, (35 << 3 & 0x7f) as u8 | 0x80, 2, 1][..], &negative].concat();
        let normalisation = [3 << 3, 0, 4 << 3, 0];
        let file = [model(), field(2, &training), field(3, &normalisation), vec![9 << 3, 77]].concat();
        let file = SentencePieceFile::parse(&file).unwrap();
        assert_eq!(file.pieces[1].text, "▁a");
        assert_eq!((file.pieces[1].score, file.pieces[2].kind), (-1.5, PieceKind::Control));
        assert_eq!((file.algorithm, file.byte_fallback), (Algorithm::Bpe, true));
        assert_eq!(
            (file.bos_id, file.eos_id, file.unk_piece.as_str()),
            (None, Some(2), "<unk>")
        );
        assert_eq!((file.add_dummy_prefix, file.remove_extra_whitespaces), (false, false));
    }

    #[test]
    fn damage_is_named() {
        let check = |bytes: Vec<u8>, expected: &str| {
            let error = SentencePieceFile::parse(&bytes).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        let cut = |file: Vec<u8>, bytes: usize| file[..file.len() - bytes].to_vec();
        check(Vec::new(), "it has no pieces");
        check(cut(model(), 1), "cut off");
        check(cut(fixture("fairseq.model"), 10), "cut off");
        check(b"<!DOCTYPE html>".to_vec(), "not a sentencepiece model");
        check([model(), piece("▁a", -2.0, 1)].concat(), "pieces 1 and 3 are both `▁a`");
        check([model(), piece("", -2.0, 1)].concat(), "piece 3 is empty");
        check(
            [model(), piece("b", f32::NAN, 1)].concat(),
            "piece 3, `b`, has the score NaN",
        );
        check(
            [model(), piece("b", 0.0, 9)].concat(),
            "piece 3: it is of an unknown kind, 9",
        );
        check(
            piece("▁a", -1.5, 1),
            "its unknown token should have the id 0, found none",
        );
        check(
            [piece("a", 0.0, 1), piece("b", 0.0, 2)].concat(),
            "should have the id 0, found 1",
        );
        check([model(), field(2, &[3 << 3, 3])].concat(), "its algorithm is `word`");
        check(
            [model(), field(1, &field(1, &[0xff, 0xfe]))].concat(),
            "piece 3: a text is not UTF-8",
        );
        check(
            [model(), field(3, &field(2, &[4, 0, 0, 0, 0, 1, 2, 3]))].concat(),
            "rules of normalisation are damaged",
        );
        check(
            [model(), field(3, &field(2, &[255; 20]))].concat(),
            "rules of normalisation are damaged",
        );
    }

    #[test]
    fn rules_that_lead_outside_are_damaged() {
        let file = SentencePieceFile::parse(&fixture("fairseq.model")).unwrap();
        let charsmap = file.precompiled_charsmap;
        let mut found = 0;
        // Units of the double array, with bits turned over at places all over it.
        for at in (4..charsmap.len() / 2).step_by(997) {
            let mut damaged = charsmap.clone();
            damaged[at] ^= 0xff;
            if super::super::charsmap::check(&damaged).is_err() {
                found += 1;
            } else {
                let rules = super::super::charsmap::normalizer(&damaged).unwrap();
                for code in (1..0x3000).chain(0xac00..0xad00).filter_map(char::from_u32) {
                    let mut text = tokenizers::NormalizedString::from(format!("{code}\u{301}").as_str());
                    tokenizers::Normalizer::normalize(&rules, &mut text).unwrap();
                }
            }
        }
        assert!(found > 10, "{found}");
    }

    proptest! {
        #[test]
        fn random_bytes_do_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            drop(SentencePieceFile::parse(&bytes));
        }

        #[test]
        fn changed_bytes_do_no_harm(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), name in 0usize..4) {
            let mut bytes = fixture(["deberta.model", "albert.model", "t5.model", "llama.model"][name]);
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if let Ok(file) = SentencePieceFile::parse(&bytes) {
                let settings = crate::tokens::settings::Settings::default();
                for kind in super::super::SentencePieceKind::ALL {
                    if let Ok(tokenizer) = super::super::convert(&file, &settings, kind) {
                        drop(tokenizer.encode("가 b ﬁ <s> \u{1f600} [SEP]", true));
                    }
                }
            }
        }
    }
}
