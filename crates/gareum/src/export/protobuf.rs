//! Messages in protocol buffers' wire format (<https://protobuf.dev/programming-guides/encoding/>): each field is a tag, then a number or a
//! length and so many bytes. Whoever writes a message knows its fields; nothing here does.

/// A field whose value is a whole number.
const VARINT: u64 = 0;
/// A field of so many bytes: a text, a message, an array.
const LENGTH_DELIMITED: u64 = 2;
/// A field of 32 bits.
const FIXED_32: u64 = 5;

/// A message, field by field.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A whole number. Negative ones take ten bytes, as in every protocol buffer.
    pub fn int(&mut self, field: u64, value: i64) {
        push_varint(&mut self.bytes, field << 3 | VARINT);
        push_varint(&mut self.bytes, value as u64);
    }

    /// A number of 32 bits.
    pub fn float(&mut self, field: u64, value: f32) {
        push_varint(&mut self.bytes, field << 3 | FIXED_32);
        self.bytes.extend(value.to_le_bytes());
    }

    /// A text.
    pub fn text(&mut self, field: u64, value: &str) {
        self.begin(field, value.len() as u64);
        self.bytes.extend(value.as_bytes());
    }

    /// A message within this one.
    pub fn message(&mut self, field: u64, value: &Self) {
        self.begin(field, value.bytes.len() as u64);
        self.bytes.extend(&value.bytes);
    }

    /// Tag and length of a field whose bytes are written elsewhere.
    pub fn begin(&mut self, field: u64, length: u64) {
        push_varint(&mut self.bytes, field << 3 | LENGTH_DELIMITED);
        push_varint(&mut self.bytes, length);
    }

    /// What has been written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many bytes those are.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// Seven bits a byte, the lowest first; the eighth says that more follow.
fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The number at the start, and what follows it.
    fn read_varint(bytes: &[u8]) -> (u64, &[u8]) {
        let length = bytes.iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let bits = bytes[..length].iter().enumerate();
        let value = bits.fold(0, |value, (place, byte)| value | u64::from(byte & 0x7f) << (7 * place));
        (value, &bytes[length..])
    }

    proptest! {
        #[test]
        fn numbers_are_read_back(values in prop::collection::vec(any::<u64>(), 1..20), shift in 0u32..64) {
            let values: Vec<u64> = values.into_iter().map(|value| value >> shift).collect();
            let mut bytes = Vec::new();
            values.iter().for_each(|&value| push_varint(&mut bytes, value));
            let mut rest = bytes.as_slice();
            for value in values {
                let (read, behind) = read_varint(rest);
                // The shortest form: as many bytes as there are sevens of bits.
                let length = (64 - value.leading_zeros()).div_ceil(7).max(1) as usize;
                prop_assert_eq!((read, rest.len() - behind.len()), (value, length));
                rest = behind;
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn signs_are_kept(value in any::<i64>(), field in 1u64..1000) {
            let mut message = Message::default();
            message.int(field, value);
            let (tag, rest) = read_varint(message.as_bytes());
            let (read, rest) = read_varint(rest);
            prop_assert_eq!((tag, read as i64, rest.len()), (field << 3, value, 0));
        }
    }

    #[test]
    fn the_examples_of_the_description() {
        // Test1 {a: 150}; Test2 {b: "testing"}; Test3 {c: Test1}
        let mut number = Message::default();
        number.int(1, 150);
        assert_eq!(number.as_bytes(), [0x08, 0x96, 0x01]);
        let mut text = Message::default();
        text.text(2, "testing");
        assert_eq!(text.as_bytes(), b"\x12\x07testing");
        let mut nested = Message::default();
        nested.message(3, &number);
        nested.float(4, 1.0);
        assert_eq!(nested.as_bytes(), b"\x1a\x03\x08\x96\x01\x25\0\0\x80\x3f");
    }
}
