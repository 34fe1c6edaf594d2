//! The log of a run for others to read while it goes on: `log.jsonl`, one entry a line, and TensorBoard's event file in `runs/`.
//!
//! An event file is a row of records (`length: u64`, masked CRC-32C of it, the message, masked CRC-32C of that), each of which is an `Event` of
//! TensorFlow's `event.proto`: `wall_time` (field 1, double), `step` (2), and either `file_version` (3) or a `summary` (5) of values with a
//! `tag` and a `simple_value`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde_json::{Map, Value};

use crate::files::{WriteError, create_directory};

/// What TensorBoard finds; it reads all files with `tfevents` in their names.
const EVENTS: &str = "events.out.tfevents.gareum";

/// The logs of one run.
pub(super) struct Logs {
    lines: LogFile,
    events: LogFile,
    /// Entries that were written.
    written: usize,
}

struct LogFile {
    path: PathBuf,
    file: File,
}

impl LogFile {
    fn create(path: PathBuf) -> Result<Self, WriteError> {
        let file = File::create(&path).map_err(|error| WriteError::new(&path, &error))?;
        Ok(Self { path, file })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        let written = self.file.write_all(bytes);
        written.map_err(|error| WriteError::new(&self.path, &error))
    }
}

impl Logs {
    /// Begins anew: the entries of a resumed run come again from its checkpoint.
    pub fn create(directory: &Path) -> Result<Self, WriteError> {
        let runs = directory.join("runs");
        create_directory(&runs)?;
        let mut logs = Self {
            lines: LogFile::create(directory.join("log.jsonl"))?,
            events: LogFile::create(runs.join(EVENTS))?,
            written: 0,
        };
        let version = event(0, |message| message.bytes(3, b"brain.Event:2"));
        logs.events.write(&record(&version))?;
        Ok(logs)
    }

    /// Writes the entries that are new.
    pub fn follow(&mut self, history: &[Map<String, Value>]) -> Result<(), WriteError> {
        for entry in history.iter().skip(self.written) {
            let mut line = serde_json::to_vec(entry).unwrap_or_default();
            line.push(b'\n');
            self.lines.write(&line)?;
            if let Some(event) = scalars(entry) {
                self.events.write(&record(&event))?;
            }
        }
        self.written = self.written.max(history.len());
        Ok(())
    }
}

/// The event with the numbers of an entry; `None` if it has none.
fn scalars(entry: &Map<String, Value>) -> Option<Vec<u8>> {
    let step = entry.get("step")?.as_u64()?;
    let number = |(key, value): (&String, &Value)| Some((tag(key)?, value.as_f64()? as f32));
    let numbers: Vec<(String, f32)> = entry.iter().filter_map(number).collect();
    if numbers.is_empty() {
        return None;
    }
    let mut summary = Message::default();
    for (tag, number) in numbers {
        let mut value = Message::default();
        value.bytes(1, tag.as_bytes());
        value.fixed32(2, number.to_bits());
        summary.bytes(1, &value.0);
    }
    Some(event(step, |message| message.bytes(5, &summary.0)))
}

/// Where TensorBoard shows a number, as `transformers`' callback has it; `None` for what is no curve.
fn tag(key: &str) -> Option<String> {
    match key {
        "step" | "epoch" => None,
        _ => Some(match key.strip_prefix("eval_") {
            Some(key) => format!("eval/{key}"),
            None => format!("train/{key}"),
        }),
    }
}

/// An event of now.
fn event(step: u64, what: impl FnOnce(&mut Message)) -> Vec<u8> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let mut message = Message::default();
    message.fixed64(1, now.map_or(0.0, |now| now.as_secs_f64()).to_bits());
    message.varint(2, step);
    what(&mut message);
    message.0
}

/// A protocol buffer that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn varint(&mut self, field: u64, value: u64) {
        self.number(field << 3);
        self.number(value);
    }

    fn fixed64(&mut self, field: u64, bits: u64) {
        self.number(field << 3 | 1);
        self.0.extend(bits.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.number(field << 3 | 2);
        self.number(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn fixed32(&mut self, field: u64, bits: u32) {
        self.number(field << 3 | 5);
        self.0.extend(bits.to_le_bytes());
    }
}

fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(message.len() + 16);
    record.extend(length);
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(message);
    record.extend(masked_crc(message).to_le_bytes());
    record
}

/// As TensorFlow's records have it.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The file that `tensorboard`'s own `EventFileWriter` makes of the same event, but for the time.
    #[test]
    fn records_are_those_of_tensorboard() {
        let mut value = Message::default();
        value.bytes(1, b"train/loss");
        value.fixed32(2, 0.5f32.to_bits());
        let mut summary = Message::default();
        summary.bytes(1, &value.0);
        let mut message = Message::default();
        message.fixed64(1, 1.0f64.to_bits());
        message.varint(2, 300);
        message.bytes(5, &summary.0);
        let hex: String = record(&message.0).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, EXPECTED);
    }

    const EXPECTED: &str =
        "2100000000000000017becf609000000000000f03f10ac022a130a110a0a747261696e2f6c6f7373150000003fc59976c6";

    #[test]
    fn entries_are_written_once_and_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let entry = |step: u64, key: &str| {
            let entry = json!({ key: 0.25, "epoch": 1.0, "step": step, "note": "text" });
            entry.as_object().unwrap().clone()
        };
        let mut logs = Logs::create(directory.path()).unwrap();
        let mut history = vec![entry(1, "loss")];
        logs.follow(&history).unwrap();
        history.push(entry(2, "eval_loss"));
        logs.follow(&history).unwrap();
        logs.follow(&history).unwrap();
        let lines = std::fs::read_to_string(directory.path().join("log.jsonl")).unwrap();
        let steps: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            steps
                .iter()
                .map(|entry| entry["step"].as_u64().unwrap())
                .collect::<Vec<_>>(),
            [1, 2]
        );
        let events = std::fs::read(directory.path().join("runs").join(EVENTS)).unwrap();
        let text = String::from_utf8_lossy(&events);
        for part in ["brain.Event:2", "train/loss", "eval/loss"] {
            assert_eq!(text.matches(part).count(), 1, "{part}");
        }
        assert!(!text.contains("note") && !text.contains("epoch"));
    }
}
