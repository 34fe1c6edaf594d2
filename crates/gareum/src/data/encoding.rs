//! Text that is not UTF-8: which encoding it is, and its conversion while it is read.

use std::io::{self, BufRead, Read};

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Decoder, DecoderResult, EUC_KR, Encoding, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// Runs of bytes beyond ASCII from which `chardetng` can tell something.
const ENOUGH_TO_GUESS: usize = 10;

/// The encoding of a name, as people write it: `cp949`, `euc-kr`, `utf-16le`, `latin1`, ...
pub(crate) fn encoding_of(name: &str) -> Option<&'static Encoding> {
    match name.trim().to_lowercase().as_str() {
        "cp949" | "ms949" | "uhc" => Some(EUC_KR),
        "utf-16" | "utf16" => Some(UTF_16LE),
        name => Encoding::for_label(name.as_bytes()),
    }
}

/// The text of a small file in whatever encoding.
pub(crate) fn decoded(bytes: &[u8]) -> String {
    detect(bytes, true).decode(bytes).0.into_owned()
}

/// The name that people know. Browsers' `EUC-KR`, which `encoding_rs` implements, is code page 949.
pub(super) fn name_of(encoding: &'static Encoding) -> &'static str {
    if encoding == EUC_KR { "CP949" } else { encoding.name() }
}

/// UTF-16 without a byte order mark: where characters of ASCII stand among the others, as delimiters and line breaks do, every second byte
/// of them is 0, and all of it makes text without control characters.
pub(super) fn is_utf16(head: &[u8]) -> Option<&'static Encoding> {
    const LEAST: usize = 2;
    let head = &head[..head.len() / 2 * 2];
    let zeros = |offset: usize| head.iter().skip(offset).step_by(2).filter(|byte| **byte == 0).count();
    let encoding = match (zeros(0), zeros(1)) {
        (0, odd) if odd >= LEAST => UTF_16LE,
        (even, 0) if even >= LEAST => UTF_16BE,
        _ => return None,
    };
    let text = encoding.decode_without_bom_handling_and_without_replacement(head)?;
    let is_odd = |c: char| c.is_control() && !matches!(c, '\t' | '\n' | '\r');
    // A character that the end of the head cuts is no error of the text.
    (!text.contains(is_odd)).then_some(encoding)
}

/// The encoding of a file that begins with `head`; UTF-8 also where nothing else is certain enough.
///
/// A file with more valid UTF-8 sequences than stray bytes is damaged UTF-8, not something else. Korean is tried first: text is CP949 if it
/// decodes without an error, nearly all of it beyond ASCII to Hangul. Everything else is `chardetng`'s guess, if it decodes without an error;
/// a few stray bytes among ASCII say too little for a guess and are taken for Windows-1252, the most common.
pub(super) fn detect(head: &[u8], is_whole: bool) -> &'static Encoding {
    for (mark, encoding) in [
        (&b"\xFF\xFE"[..], UTF_16LE),
        (b"\xFE\xFF", UTF_16BE),
        (b"\xEF\xBB\xBF", UTF_8),
    ] {
        if head.starts_with(mark) {
            return encoding;
        }
    }
    if let Some(encoding) = is_utf16(head) {
        return encoding;
    }
    let (sequences, strays) = utf8_sequences(head, is_whole);
    if strays == 0 || sequences >= strays {
        return UTF_8;
    }
    let decoded = |encoding: &'static Encoding| {
        let mut text = String::new();
        text.reserve(encoding.new_decoder().max_utf8_buffer_length(head.len())?);
        let mut decoder = encoding.new_decoder_without_bom_handling();
        let (result, _) = decoder.decode_to_string_without_replacement(head, &mut text, is_whole);
        (result == DecoderResult::InputEmpty).then_some(text)
    };
    let is_korean = |text: String| {
        let foreign = text.chars().filter(|character| !character.is_ascii());
        let (all, hangul) = foreign.fold((0, 0), |(all, hangul), character| {
            let is_hangul = matches!(character, '\u{AC00}'..='\u{D7A3}' | '\u{3131}'..='\u{318E}');
            (all + 1, hangul + usize::from(is_hangul))
        });
        hangul * 10 >= all * 9
    };
    if decoded(EUC_KR).is_some_and(is_korean) {
        return EUC_KR;
    }
    let guess = if strays < ENOUGH_TO_GUESS {
        WINDOWS_1252
    } else {
        let mut detector = EncodingDetector::new(Iso2022JpDetection::Deny);
        detector.feed(head, is_whole);
        detector.guess(None, Utf8Detection::Deny)
    };
    if decoded(guess).is_some() { guess } else { UTF_8 }
}

/// Sequences of two or more bytes that are UTF-8, and runs of bytes that are not. A character that the end cuts is neither.
fn utf8_sequences(bytes: &[u8], is_whole: bool) -> (usize, usize) {
    let (mut sequences, mut strays) = (0, 0);
    for chunk in bytes.utf8_chunks() {
        sequences += chunk.valid().chars().filter(|character| !character.is_ascii()).count();
        strays += usize::from(!chunk.invalid().is_empty());
    }
    let is_cut = |error: std::str::Utf8Error| error.error_len().is_none();
    if !is_whole
        && strays > 0
        && bytes
            .utf8_chunks()
            .last()
            .is_some_and(|chunk| std::str::from_utf8(chunk.invalid()).is_err_and(is_cut))
    {
        strays -= 1;
    }
    (sequences, strays)
}

/// Bytes that an encoding does not have.
#[derive(Debug, thiserror::Error)]
#[error("line {line}: bytes that are not {encoding}")]
pub(super) struct Undecodable {
    line: u64,
    encoding: &'static str,
}

/// Gives the bytes of another encoding as UTF-8, without its byte order mark.
pub(super) struct Decoding<R> {
    inner: R,
    encoding: &'static Encoding,
    decoder: Decoder,
    decoded: Vec<u8>,
    taken: usize,
    lines: u64,
    ended: bool,
}

impl<R: BufRead> Decoding<R> {
    pub fn new(inner: R, encoding: &'static Encoding) -> Self {
        Self {
            inner,
            encoding,
            decoder: encoding.new_decoder_with_bom_removal(),
            decoded: Vec::new(),
            taken: 0,
            lines: 0,
            ended: false,
        }
    }

    /// Decodes what the inner reader has ready.
    fn advance(&mut self) -> io::Result<()> {
        let chunk = self.inner.fill_buf()?;
        self.ended = chunk.is_empty();
        let room = self.decoder.max_utf8_buffer_length_without_replacement(chunk.len());
        self.decoded.resize(room.unwrap_or(0).max(64), 0);
        self.taken = 0;
        let (result, read, written) =
            self.decoder
                .decode_to_utf8_without_replacement(chunk, &mut self.decoded, self.ended);
        self.inner.consume(read);
        self.decoded.truncate(written);
        self.lines += self.decoded.iter().filter(|byte| **byte == b'\n').count() as u64;
        match result {
            DecoderResult::Malformed(..) => {
                let (line, encoding) = (self.lines + 1, name_of(self.encoding));
                Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    Undecodable { line, encoding },
                ))
            }
            DecoderResult::InputEmpty | DecoderResult::OutputFull => Ok(()),
        }
    }
}

impl<R: BufRead> Read for Decoding<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.decoded.len() && !self.ended {
            self.advance()?;
        }
        let count = buffer.len().min(self.decoded.len() - self.taken);
        buffer[..count].copy_from_slice(&self.decoded[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use encoding_rs::WINDOWS_1251;
    use proptest::prelude::*;

    use super::*;

    const RUSSIAN: &str = "Доставка была очень быстрой, спасибо! Цвет не такой, как на фотографии, и размер маленький.";
    const KOREAN: &str = "text,label\n배송이 빨라서 좋아요,1\n색이 달라요 ㅠㅠ,0\n";

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn encodings_are_told_apart() {
        let cp949 = EUC_KR.encode(KOREAN).0;
        let marked = [b"\xFF\xFE".to_vec(), utf16(KOREAN)].concat();
        for (head, expected) in [
            (KOREAN.as_bytes(), UTF_8),
            (b"plain ASCII", UTF_8),
            (&cp949, EUC_KR),
            (&marked, UTF_16LE),
            (&marked[2..], UTF_16LE),
            (
                &KOREAN.encode_utf16().flat_map(u16::to_be_bytes).collect::<Vec<_>>(),
                UTF_16BE,
            ),
            (b"who wrote Les Mis\xE9rables ? one more question", WINDOWS_1252),
            ("배송이 빨라서 \u{FFFD}".as_bytes(), UTF_8),
            (&WINDOWS_1251.encode(RUSSIAN).0, WINDOWS_1251),
        ] {
            assert_eq!(detect(head, true), expected, "{}", String::from_utf8_lossy(head));
        }
        // Damaged UTF-8 is not taken for another encoding; nor is UTF-8 that the end of the head cuts.
        let damaged = [KOREAN.as_bytes(), b"\xB0 more"].concat();
        assert_eq!(detect(&damaged, true), UTF_8);
        assert_eq!(detect(&"가".as_bytes()[..2], false), UTF_8);
        assert_eq!(encoding_of("CP949"), Some(EUC_KR));
        assert_eq!(encoding_of("klingon"), None);
    }

    #[test]
    fn what_cannot_be_decoded_is_located() {
        let bytes = [&EUC_KR.encode(KOREAN).0, b"\xFF\xFF\n".as_slice()].concat();
        let mut text = String::new();
        let error = Decoding::new(bytes.as_slice(), EUC_KR)
            .read_to_string(&mut text)
            .unwrap_err();
        assert_eq!(error.to_string(), "line 4: bytes that are not CP949");
    }

    proptest! {
        /// Whatever the sizes in which bytes come and go.
        #[test]
        fn decoding_is_the_inverse_of_encoding(text in "[a-z가-힣ㅋ\n ]{0,200}", capacity in 1usize..9) {
            for (encoding, bytes) in [(EUC_KR, EUC_KR.encode(&text).0.into_owned()), (UTF_16LE, utf16(&text))] {
                let reader = io::BufReader::with_capacity(capacity, bytes.as_slice());
                let mut decoded = String::new();
                Decoding::new(reader, encoding).read_to_string(&mut decoded).unwrap();
                prop_assert_eq!(&decoded, &text);
            }
        }
    }
}
