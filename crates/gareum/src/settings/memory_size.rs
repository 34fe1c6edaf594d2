//! An amount of memory as people write it: `2.5GiB`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// What may follow the number, in bytes; letter case does not matter.
const UNITS: [(&str, u64); 9] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("KB", 1_000),
    ("bytes", 1),
    ("B", 1),
    ("", 1),
];

/// Bytes of memory, written as a number with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MemorySize {
    /// How many.
    pub bytes: u64,
}

impl FromStr for MemorySize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "`{text}` cannot be read as an amount of memory; write a number with bytes, KB, MB, GB, KiB, MiB or GiB, such as \
                 2.5GiB"
            )
        };
        let trimmed = text.trim();
        let end = trimmed
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .unwrap_or(trimmed.len());
        let (number, unit) = trimmed.split_at(end);
        let known = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit.trim()));
        let (_, factor) = known.ok_or_else(expected)?;
        let number: f64 = number.parse().map_err(|_| expected())?;
        let bytes = number * *factor as f64;
        // Beyond this, numbers of bytes are no longer exact, and no machine has so much.
        if bytes < 1.0 || bytes > (1u64 << 53) as f64 {
            return Err(expected());
        }
        Ok(Self { bytes: bytes as u64 })
    }
}

impl fmt::Display for MemorySize {
    /// In the largest binary unit in which it has at most three decimals, so that nothing is lost.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = &UNITS[..3];
        let exact = |unit: u64| self.bytes >= unit && (u128::from(self.bytes) * 1000).is_multiple_of(unit.into());
        match binary.iter().find(|(_, unit)| exact(*unit)) {
            Some((name, unit)) => write!(formatter, "{}{name}", self.bytes as f64 / *unit as f64),
            None => write!(formatter, "{}", self.bytes),
        }
    }
}

impl Serialize for MemorySize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for MemorySize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = MemorySize;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an amount of memory such as \"2.5GiB\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<MemorySize, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<MemorySize, E> {
                self.visit_str(&bytes.to_string())
            }

            fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<MemorySize, E> {
                self.visit_str(&bytes.to_string())
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_and_their_units() {
        for (text, bytes) in [
            ("2.5GiB", 5 << 29),
            ("300MiB", 300 << 20),
            (" 64 kib ", 64 << 10),
            ("4GB", 4_000_000_000),
            ("1.5 MB", 1_500_000),
            ("8kb", 8000),
            ("123456 bytes", 123_456),
            ("77B", 77),
            ("1000000", 1_000_000),
        ] {
            assert_eq!(text.parse(), Ok(MemorySize { bytes }), "{text}");
        }
        for text in [
            "",
            "GiB",
            "-1GiB",
            "2,5GiB",
            "2.5 gigabytes",
            "1.2.3MB",
            "0",
            "0.1 bytes",
            "9e9",
            "99999999GiB",
            "many",
        ] {
            let error = text.parse::<MemorySize>().unwrap_err();
            assert!(
                error.contains(&format!("`{text}`")) && error.contains("2.5GiB"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        for (bytes, expected) in [
            (5 << 29, "2.5GiB"),
            (300 << 20, "300MiB"),
            (1 << 10, "1KiB"),
            (1_000_000, "976.5625KiB"),
            (1_000_001, "1000001"),
            (77, "77"),
        ] {
            let size = MemorySize { bytes };
            let shown = size.to_string();
            assert_eq!(shown.parse(), Ok(size), "{shown}");
            assert_eq!(serde_json::to_value(size).unwrap(), serde_json::json!(shown));
            assert_eq!(
                serde_json::from_value::<MemorySize>(serde_json::json!(bytes)).unwrap(),
                size
            );
            if bytes != 1_000_000 {
                assert_eq!(shown, expected);
            }
        }
    }
}
