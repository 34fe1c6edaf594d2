//! Whatever is in a file: an answer, never a panic, and never more memory than the file could fill.

use std::path::{Path, PathBuf};

use proptest::prelude::*;

use super::pickle::{PickleError, Value, unpickle};
use super::*;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/reference/fixtures/checkpoints")
        .join(name)
}

/// Opens bytes as a file of weights and reads every tensor.
fn read_all(bytes: &[u8]) -> Result<usize, ModelError> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let weights = LoadedWeights::open(file.path().to_owned())?;
    let read = weights.names().filter(|name| {
        let elements = weights
            .get(name)
            .map_or(0, |tensor| tensor.shape().iter().product::<usize>());
        assert!(elements <= bytes.len(), "{elements} elements of {} bytes", bytes.len());
        elements > 0
    });
    Ok(read.count())
}

fn message(pickle: &[u8]) -> String {
    unpickle(pickle).map_or_else(|error| error.to_string(), |_| "understood".to_owned())
}

#[test]
fn pickles_that_lie_about_lengths() {
    let check = |pickle: &[u8], expected: &str| {
        let message = message(pickle);
        assert!(message.contains(expected), "{pickle:?}: {message}");
    };
    check(b"", "cannot be read");
    check(b"\x80\x01.", "protocol");
    check(b"\x80\x02\x8D\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", "too large");
    check(b"\x80\x02\x8D\xFF\xFF\xFF\0\0\0\0\0", "beyond the end");
    check(b"\x80\x02X\xFF\xFF\xFF\xFF", "too large");
    check(b"\x80\x02\x8B\xFF\xFF\xFF\xFF", "too large");
    check(b"\x80\x02B\xFF\xFF\xFF\0", "beyond the end");
    check(b"\x80\x02r\xFF\xFF\xFF\xFF", "a value is missing");
    check(b"\x80\x02Nr\xFF\xFF\xFF\xFF.", "understood");
    check(b"\x80\x02j\xFF\xFF\xFF\xFF.", "nothing of this number");
    check(&[&b"\x80\x02c"[..], &[b'a'; 5000]].concat(), "endless name");
}

#[test]
fn pickles_that_make_no_sense() {
    let check = |pickle: &[u8], expected: &str| {
        let message = message(pickle);
        assert!(message.contains(expected), "{pickle:?}: {message}");
    };
    check(b".", "a value is missing");
    check(b"(.", "a value is missing");
    check(b"N(0", "a value is missing");
    check(b"t", "a mark is missing");
    check(b"NNa", "other than a list");
    check(b"NNNs", "other than a dictionary");
    check(b"}(Nu", "without a value");
    check(b"N)R", "other than a function");
    check(b"ccollections\nOrderedDict\nNR", "without arguments");
    check(b"ccollections\nOrderedDict\nK\x01\x85R", "other than pairs");
    check(b"NQ", "other");
    check(b"cos\nsystem\n", "`os.system`");
    check(b"\x80\x04\x8C\x08builtins\x8C\x04eval\x93", "`builtins.eval`");
    check(b"cbuiltins\ngetattr\n", "`builtins.getattr`");
    check(b"ctorch\nload\n", "`torch.load`");
    check(b"(ios\nsystem\n", "`os.system`");
    check(b"\x82\x01", "0x82");
}

/// A tensor whose sizes, offset and strides are far beyond its storage.
#[test]
fn tensors_that_are_larger_than_their_file() {
    let storage = b"(X\x07\0\0\0storagectorch\nFloatStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQ";
    let huge = b"\x8A\x08\0\0\0\0\0\0\0\x40";
    for (offset, shape, stride) in [
        (&b"K\0"[..], &huge[..], &b"K\x01"[..]),
        (b"K\0", huge, b"K\0"),
        (huge, b"K\x02", b"K\x01"),
        (b"K\0", b"K\x02", huge),
        (b"K\0", b"K\x05", b"K\x01"),
        (b"K\x03", b"K\x02", b"K\x01"),
        (b"K\0", b"K\x05", b"K\0"),
    ] {
        let tensor = [
            &b"ctorch._utils\n_rebuild_tensor_v2\n("[..],
            &storage[..],
            offset,
            shape,
            b"\x85",
            stride,
            b"\x85\x89NtR",
        ];
        let pickle = [&b"\x80\x02}X\x01\0\0\0w"[..], &tensor.concat(), b"s."].concat();
        let parsed = unpickle(pickle.as_slice()).unwrap();
        assert!(matches!(parsed.get(parsed.root), Value::Dict(pairs) if pairs.len() == 1));
        let archive = zip(&[("a/data.pkl", &pickle), ("a/data/0", &[0; 16])]);
        let error = read_all(&archive).unwrap_err().to_string();
        assert!(error.contains("`w` has an impossible shape"), "{error}");
    }
}

#[test]
fn deep_nesting_costs_no_stack() {
    let count = 900_000;
    // Lists in lists, closed again; then lists that hold themselves.
    let deep = [
        b"\x80\x02".as_slice(),
        &b"]".repeat(count),
        &b"a".repeat(count - 1),
        b".",
    ]
    .concat();
    assert!(unpickle(deep.as_slice()).is_ok());
    assert!(unpickle(b"]q\0h\0a.".as_slice()).is_ok());
    let marks = [b"(".repeat(900_000), b"t".repeat(100), b".".to_vec()].concat();
    assert!(unpickle(marks.as_slice()).is_ok());
    let endless = std::io::repeat(b']');
    assert!(matches!(unpickle(endless), Err(PickleError::TooLarge)));
    let endless = std::io::repeat(b'(');
    assert!(matches!(unpickle(endless), Err(PickleError::TooLarge)));
}

/// A list that grows each time it is named: what is made of it is bounded.
#[test]
fn copies_are_bounded() {
    let list = [&b"]("[..], &b"NN\x86".repeat(200_000), b"eq\0"].concat();
    let call = b"ccollections\nOrderedDict\nh\0\x85R";
    let pickle = [list, call.repeat(1000)].concat();
    assert!(matches!(unpickle(pickle.as_slice()), Err(PickleError::TooLarge)));
}

/// A zip archive of stored entries.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut file, mut directory) = (Vec::new(), Vec::new());
    for (name, content) in entries {
        let start = file.len() as u32;
        let sizes = [content.len() as u32; 2].map(u32::to_le_bytes).concat();
        let name_length = (name.len() as u16).to_le_bytes();
        file.extend(
            [
                &b"PK\x03\x04"[..],
                &[0; 14],
                &sizes,
                &name_length,
                &[0; 2],
                name.as_bytes(),
                content,
            ]
            .concat(),
        );
        let before = [&b"PK\x01\x02"[..], &[0; 16], &sizes, &name_length, &[0; 12]].concat();
        directory.extend([&before[..], &start.to_le_bytes()[..], name.as_bytes()].concat());
    }
    let numbers = [directory.len() as u32, file.len() as u32]
        .map(u32::to_le_bytes)
        .concat();
    let end = [&b"PK\x05\x06"[..], &[0; 8], &numbers, &[0; 2]].concat();
    [file, directory, end].concat()
}

#[test]
fn archives_that_are_damaged() {
    let check = |bytes: &[u8], expected: &str| {
        let error = read_all(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(b"PK\x03\x04", "its end is missing");
    check(&zip(&[("a/readme", b"")]), "has no `data.pkl`");
    check(&zip(&[("a/data.pkl", b"}."), ("a/constants.pkl", b"")]), "TorchScript");
    check(&zip(&[("a/data.pkl", b"}.")]), "an empty dictionary");
    check(
        &zip(&[("a/data.pkl", b"}X\x05\0\0\0epochK\x01s.")]),
        "a dictionary with `epoch`",
    );
    let mut compressed = zip(&[("a/data.pkl", b"}.")]);
    let entry = compressed
        .windows(4)
        .position(|window| window == b"PK\x01\x02")
        .unwrap();
    compressed[entry + 10] = 8;
    check(&compressed, "compressed");
    let mut elsewhere = zip(&[("a/data.pkl", b"}.")]);
    elsewhere[entry + 42] = 1;
    check(&elsewhere, "points to something else");
    let whole = std::fs::read(fixture("plain.bin")).unwrap();
    for kept in [5, 100, whole.len() / 2, whole.len() - 1] {
        check(&whole[..kept], "damaged or cut off");
    }
    let old = std::fs::read(fixture("before-1.6.bin")).unwrap();
    check(&old[..20], "damaged");
    check(&old[..old.len() - 1], "ends too early");
    check(b"\x80\x02}q\0.", "a pickle of something else");
}

const MUTATED: [&str; 8] = [
    "plain.bin",
    "protocol4.bin",
    "before-1.6.bin",
    "types.bin",
    "views.bin",
    "parallel.pt",
    "model.safetensors",
    "refused-call.bin",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn random_bytes(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = unpickle(bytes.as_slice());
        for start in [&b""[..], b"PK\x03\x04", b"\x80\x02\x8a\x0a"] {
            let _ = read_all(&[start, &bytes].concat());
        }
        let _ = read_all(&zip(&[("a/data.pkl", &bytes), ("a/data/0", b"12345678")]));
    }

    /// Programs of instructions that there are.
    #[test]
    fn random_instructions(program in prop::collection::vec(0..PIECES.len(), 0..120)) {
        let bytes: Vec<u8> = program.iter().flat_map(|piece| PIECES[*piece]).copied().collect();
        let bytes = [&bytes[..], b"."].concat();
        let _ = unpickle(bytes.as_slice());
        let _ = read_all(&zip(&[("a/data.pkl", &bytes), ("a/data/0", b"12345678")]));
    }

    #[test]
    fn mutated_files(
        file in 0..MUTATED.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = std::fs::read(fixture(MUTATED[file])).unwrap();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        let _ = read_all(&bytes);
    }
}

/// Instructions with sensible arguments, so that random programs get somewhere.
const PIECES: &[&[u8]] = &[
    b"N", b"\x88", b"\x89", b"K\x04", b"K\0", b"K\x01", b"M\xFF\xFF", b"J\xFF\xFF\xFF\xFF", b"\x8A\x02\xFF\x7F", b")", b"]", b"}", b"(", b"t",
    b"l", b"d", b"\x85", b"\x86", b"\x87", b"a", b"e", b"s", b"u", b"0", b"1", b"2", b"q\0", b"h\0", b"\x94", b"R", b"b", b"Q",
    b"X\x01\0\0\0w", b"X\x07\0\0\0storage", b"X\x01\0\0\x000", b"ctorch\nFloatStorage\n", b"ctorch\nBoolStorage\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n", b"ccollections\nOrderedDict\n",
    b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storagectorch\nHalfStorage\nX\x01\0\0\x000X\x03\0\0\0cpuK\x04tQK\0K\x02\x85K\x01\x85\x89NtR",
];
