//! What can be wrong with what is given: exit code 2 (1 while running), one message that names place, value and remedy, no panic and nothing
//! half-written ([`Workspace::run`] sees to the last two).

use std::path::Path;

use crate::workspace::{Workspace, csv, encoder, reviews, training};
use insta::assert_snapshot;
use serde_json::json;

/// The message of training on a file with these contents.
fn train_on(name: &str, contents: impl AsRef<[u8]>) -> String {
    let workspace = Workspace::with_base();
    workspace.write(name, contents);
    let message = workspace.fail(&training(name, "model", &[]));
    assert!(!workspace.path("model").exists(), "the output directory was made");
    message
}

/// The message of training with a setting changed.
fn train_with(more: &[&str]) -> String {
    Workspace::with_base().fail(&training("reviews.csv", "model", more))
}

/// The message of training from a base that `damage` was done to.
fn train_from(damage: impl FnOnce(&Workspace, &Path)) -> String {
    let workspace = Workspace::with_base();
    damage(&workspace, &workspace.path("base"));
    let message = workspace.fail(&training("reviews.csv", "model", &[]));
    assert!(!workspace.path("model").exists(), "the output directory was made");
    message
}

#[test]
fn files_that_hold_no_rows() {
    assert_snapshot!(train_with(&["--test", "tset.csv"]), @"
        exit 2
        error: tset.csv: No such file or directory (os error 2)
        hint: check the path; relative paths start from the current folder
        ");
    assert_snapshot!(train_with(&["--test", "base"]), @"
        exit 2
        error: base: Is a directory (os error 21)
        hint: name a file inside the folder
        ");
    assert_snapshot!(train_on("empty.csv", ""), @"
        exit 2
        error: empty.csv: the file is empty, expected rows of text
        hint: check that it was written or downloaded completely
        ");
    assert_snapshot!(train_on("header.csv", "text,label\n"), @"
    exit 2
    error: header.csv: no row can be used, of 0 (0 without text, 0 without label)
    hint: check the columns `text` and `label`
    ");
    assert_snapshot!(train_on("binary.csv", b"text\0label\x01\x02"), @"
    exit 2
    error: binary.csv: the content seems to be binary (it holds many control characters), expected UTF-8 text
    hint: name a text file
    ");
    assert_snapshot!(train_on("damaged.csv", [&b"text,label\n\xEC\xA2\x8B\xEC\x95\x84,pos\n"[..], b"\xFF,neg\n"].concat()), @"
    exit 2
    error: damaged.csv:3: byte 0xff at offset 22 is not UTF-8
    hint: correct the damaged place, or name the encoding of the file, as in `--set data.encoding=cp949`
    ");
    assert_snapshot!(train_with(&["--set", "data.encoding=cp9494"]), @"
    exit 2
    error: data.encoding is cp9494, expected a name such as `utf-8`, `cp949`, `utf-16le` or `windows-1252`
    ");
    let workspace = Workspace::with_base();
    workspace.write("text.csv", "text,label\n좋아,pos\n싫어,neg\n");
    assert_snapshot!(workspace.fail(&training("text.csv", "model", &["--set", "data.encoding=utf-16be"])), @"
    exit 2
    error: text.csv: line 1: bytes that are not UTF-16BE
    hint: the file is damaged, or in another encoding: name it, as in `--set data.encoding=cp949`
    ");
    assert_snapshot!(train_on("reviews.parquet", b"PAR1...."), @"
    exit 2
    error: reviews.parquet: not parquet that could be read: `Parquet error: Invalid Parquet file. Corrupt footer`
    hint: fetch the file again, or write it with the compression snappy, gzip or zstd
    ");
    assert_snapshot!(train_on("reviews.xml", "<reviews/>"), @"
    exit 2
    error: reviews.xml: unknown format `xml`, expected csv, tsv, txt, json, jsonl or ndjson, each also with .gz or .zst, parquet or xlsx
    hint: rename the file, or name its format
    ");
}

#[test]
fn rows_that_cannot_be_read() {
    assert_snapshot!(train_on("quote.csv", "text,label\ngood,pos\n\"bad,neg\nfine,pos\n"), @r#"
    exit 2
    error: quote.csv:3: row 2: a `"` opens a field and is never closed
    hint: double quotes inside quoted fields (`""`), or turn quoting off (`--set data.quoting=false`) if quotes are plain characters here
    "#);
    assert_snapshot!(train_on("fields.csv", "text,label\ngood,pos\nbad, really bad,neg\n"), @r#"
        exit 2
        error: fields.csv:3: row 2: found 3 fields, expected 2
        hint: fields that contain `,` must be enclosed in `"`; check this line
        "#);
    assert_snapshot!(train_on("few.csv", "text,label\ngood,pos\nbad\n"), @r#"
    exit 2
    error: few.csv:3: row 2: found 1 field, expected 2
    hint: the delimiter is `,`; check this line, and turn quoting off if `"` is a plain character here
    "#);
    assert_snapshot!(train_on("broken.jsonl", "{\"text\": \"good\", \"label\": \"pos\"}\n{\"text\": \"bad\", \"label\"\n"), @r#"
    exit 2
    error: broken.jsonl:2: row 2: malformed JSON: EOF while parsing an object at column 23
    hint: check the text `{"text": "bad", "label"`
    "#);
    assert_snapshot!(train_on("wrapped.json", r#"{"data": [{"text": "good", "label": "pos"}]}"#), @"
        exit 2
        error: wrapped.json:1: row 1, column `data`: malformed JSON: the rows are wrapped in an object, under `data`
        hint: save the list itself: `jq .data old > new`
        ");
    assert_snapshot!(train_on("object.jsonl", "{\"text\": [\"good\"], \"label\": \"pos\"}\n"), @r#"
        exit 2
        error: object.jsonl:1: row 1, column `text`: found `["good"]`, expected a text
        hint: name another column with `--text NAME`
        "#);
}

#[test]
fn label_maps_that_do_not_fit() {
    let with_map = |name: &str, contents: &str| {
        let workspace = Workspace::with_base();
        workspace.write("numbers.csv", "text,label\ngood,1\nbad,0\nfine,2\n");
        workspace.write(name, contents);
        workspace.fail(&training("numbers.csv", "model", &["--label-map", name]))
    };
    assert_snapshot!(with_map("map.csv", "0,neg\n1,pos\n"), @"
    exit 2
    error: numbers.csv:4: row 3, column `label`: the label map has no `2`; it has `0`, `1`
    hint: add these labels and their names to the map, or correct the rows
    ");
    assert_snapshot!(with_map("map.csv", "0,neg\n0,pos\n"), @"
    exit 2
    error: map.csv:2: row 2: found two names for label `0`: `neg` and `pos`, expected a label and its name
    hint: a label map has rows such as `0,negative`, or one name a line for the labels 0, 1, 2, ...
    ");
    assert_snapshot!(with_map("map.csv", "0,neg,bad\n1,pos,good\n"), @"
    exit 2
    error: map.csv:1: row 1: found 3 fields, or an empty one, expected a label and its name
    hint: a label map has rows such as `0,negative`, or one name a line for the labels 0, 1, 2, ...
    ");
    assert_snapshot!(with_map("map.json", "[0, 1]"), @r#"
    exit 2
    error: map.json:1: row 1: malformed JSON: invalid type: sequence, expected a map at line 1 column 0
    hint: a label map is an object such as `{"0": "negative", "1": "positive"}`
    "#);
    assert_snapshot!(with_map("map.json", r#"{"0": {"name": "neg"}}"#), @r#"
    exit 2
    error: map.json:1: row 1, column `0`: found `{"name":"neg"}`, expected a label and its name
    hint: a label map has rows such as `0,negative`, or one name a line for the labels 0, 1, 2, ...
    "#);
    assert_snapshot!(train_with(&["--label-map", "missing.txt"]), @"
    exit 2
    error: missing.txt: No such file or directory (os error 2)
    hint: check the path; relative paths start from the current folder
    ");
}

#[test]
fn texts_and_groups_that_are_not_there() {
    assert_snapshot!(train_with(&["--text", "text", "--text", "title"]), @"
    exit 2
    error: data.text is a list of 2 columns, expected one column, or also `stack = true`: each of them then makes an example of its own
    ");
    assert_snapshot!(train_with(&["--text", "text", "--text", "title", "--stack"]), @"
    exit 2
    error: reviews.csv: no column `title` for the text; found `text`, `label`
    hint: name one of these columns
    ");
    assert_snapshot!(train_with(&["--text", "text", "--text", "text", "--stack"]), @"
    exit 2
    error: reviews.csv: column `text` is named for two purposes
    hint: text, text pair and label need a column each
    ");
    assert_snapshot!(train_with(&["--group", "user"]), @"
    exit 2
    error: reviews.csv: no column `user` for the group; found `text`, `label`
    hint: name one of these columns
    ");
    assert_snapshot!(train_with(&["--set", "data.normalize=[\"nfd\"]"]), @r#"
    exit 2
    error: data.normalize = ["nfd"]: unknown variant `nfd`, expected one of `nfc`, `control`, `repeats`
    hint: did you mean `nfc`?
    "#);
    assert_snapshot!(train_with(&["--set", "data.delimiter=ab"]), @r#"
    exit 2
    error: data.delimiter = "ab": invalid value: string "ab", expected a character
    "#);
}

#[test]
fn columns_that_are_not_there() {
    assert_snapshot!(train_on("columns.csv", "first,label\ngood,pos\nbad,neg\n"), @"
        exit 2
        error: columns.csv: cannot tell which column is the text; found `first`, `label`
        hint: name it with `--text NAME`
        ");
    assert_snapshot!(train_on("columns.csv", "text,outcome\ngood,pos\nbad,neg\n"), @"
        exit 2
        error: columns.csv: cannot tell which column is the label; found `text`, `outcome`
        hint: name it with `--label NAME`
        ");
    assert_snapshot!(train_on("columns.csv", "text,intent,category\ngood,a,b\nbad,b,a\n"), @"
        exit 2
        error: columns.csv: the label could be any of `intent`, `category`
        hint: name one with `--label NAME`
        ");
    assert_snapshot!(train_with(&["--text", "txet"]), @"
        exit 2
        error: reviews.csv: no column `txet` for the text; found `text`, `label`
        hint: did you mean `text`?
        ");
    assert_snapshot!(train_with(&["--label", "text", "--text", "text"]), @"
        exit 2
        error: reviews.csv: column `text` is named for two purposes
        hint: text, text pair and label need a column each
        ");
    assert_snapshot!(train_with(&["--no-header"]), @"
        exit 2
        error: reviews.csv: cannot tell which column is the text; found `0`, `1`
        hint: name it with `--text NAME`
        ");
}

#[test]
fn labels_that_do_not_fit() {
    assert_snapshot!(train_on("one.csv", "text,label\ngood,pos\nfine,pos\n"), @"
        exit 2
        error: one.csv: all 2 labelled rows have the label `pos`, expected at least two classes
        hint: check the label column `label`, or add rows of other classes
        ");
    let rows: Vec<Vec<String>> = reviews()
        .iter()
        .map(|row| vec![row[0].clone(), row[0].clone() + "!"])
        .collect();
    assert_snapshot!(train_on("names.csv", csv(&["text", "label"], &rows)), @"
        exit 2
        error: names.csv: column `label` has 144 distinct values in 144 rows, which does not look like labels
        hint: name another column with `--label NAME`, or name the task (`single_label`, `regression`) if it is right
        ");
    assert_snapshot!(train_on("few.csv", "text,label\ngood,pos\nbad,neg\n"), @"
        exit 2
        error: the test part (0.2 of 2 examples) would be empty
        hint: give it a larger share, add data, or set its share to 0
        ");
    let workspace = Workspace::with_base();
    workspace.write("test.csv", "text,label\nthe food was good,pos\nthe food was bad,ngea\n");
    assert_snapshot!(workspace.fail(&training("reviews.csv", "model", &["--test", "test.csv"])), @"
        exit 2
        error: test.csv:3: row 2, column `label`: label `ngea` is not one of `neg`, `pos`
        hint: did you mean `neg`?
        ");
    assert_snapshot!(train_with(&["--set", "task=regression"]), @r#"
        exit 2
        error: reviews.csv:2: row 1, column `label`: found `pos`, expected a number
        hint: regression needs numeric labels; for names set `task = "single_label"`
        "#);
    assert_snapshot!(train_with(&["--set", "task=single"]), @r#"
        exit 2
        error: task = "single": unknown variant `single`, expected one of `single_label`, `multi_label`, `regression`
        hint: did you mean `single_label`?
        "#);
}

#[test]
fn settings_that_are_wrong() {
    let settings = |contents: &str| {
        let workspace = Workspace::with_base();
        workspace.write("gareum.toml", contents);
        workspace.fail(&["train", "--quiet", "gareum.toml"])
    };
    assert_snapshot!(settings("[train]\nepochs = 3\nlearning_rte = 1e-5\n"), @"
    exit 2
    error: gareum.toml:3: unknown field `learning_rte`, expected one of `epochs`, `max_steps`, `batch_size`, `micro_batch_tokens`, `memory`, `checkpoint_activations`, `learning_rate`, `layer_decay`, `freeze_embeddings`, `freeze_layers`, `head_only`, `weight_decay`, `warmup_ratio`, `schedule`, `class_weights`, `label_smoothing`, `focal_gamma`, `max_grad_norm`, `precision`, `seed`, `logging_steps`, `eval_steps`, `save_steps`, `save_total_limit`, `early_stopping`
    hint: did you mean `learning_rate`?
    ");
    assert_snapshot!(settings("[trian]\nepochs = 3\n"), @"
    exit 2
    error: gareum.toml:1: unknown field `trian`, expected one of `task`, `model`, `data`, `train`, `lora`, `distillation`, `decision`, `output`, `sweep`
    hint: did you mean `train`?
    ");
    assert_snapshot!(settings("[train]\nepochs = \"three\"\n"), @r#"
        exit 2
        error: gareum.toml:2: invalid type: string "three", expected a whole number of at least 0
        "#);
    assert_snapshot!(settings("[train]\nepochs = \n"), @"
        exit 2
        error: gareum.toml:2: string values must be quoted, expected literal string
        ");
    assert_snapshot!(settings("[train]\nepochs = 1\n"), @r#"
        exit 2
        error: training data is not given
        hint: gareum train --train DATA.csv, or `train = "DATA.csv"` under [data] in gareum.toml
        "#);
    assert_snapshot!(settings("[data]\ntrain = \"reviews.csv\"\n"), @r#"
        exit 2
        error: the base model is not given
        hint: gareum train --model DIRECTORY, or `base = "DIRECTORY"` under [model] in gareum.toml
        "#);
    assert_snapshot!(Workspace::new().fail(&["train", "gareum.tml"]), @"
        exit 2
        error: gareum.tml: No such file or directory (os error 2)
        hint: a settings file is TOML, such as gareum.toml; data is given with --train
        ");
    assert_snapshot!(train_with(&["--set", "train.learning_rate=-1e-5"]), @"
        exit 2
        error: train.learning_rate is -0.00001, expected a number above 0
        ");
    assert_snapshot!(train_with(&["--set", "train.learning_rate"]), @"
        exit 2
        error: --set train.learning_rate: expected key=value, for example --set train.epochs=5
        ");
    assert_snapshot!(train_with(&["--set", "learning_rate=1e-5"]), @"
    exit 2
    error: learning_rate = 0.00001: unknown field `learning_rate`, expected one of `task`, `model`, `data`, `train`, `lora`, `distillation`, `decision`, `output`, `sweep`
    hint: did you mean `train.learning_rate`?
    ");
    assert_snapshot!(settings("[train]\nmax_length = 64\n"), @"
    exit 2
    error: gareum.toml:2: unknown field `max_length`, expected one of `epochs`, `max_steps`, `batch_size`, `micro_batch_tokens`, `memory`, `checkpoint_activations`, `learning_rate`, `layer_decay`, `freeze_embeddings`, `freeze_layers`, `head_only`, `weight_decay`, `warmup_ratio`, `schedule`, `class_weights`, `label_smoothing`, `focal_gamma`, `max_grad_norm`, `precision`, `seed`, `logging_steps`, `eval_steps`, `save_steps`, `save_total_limit`, `early_stopping`
    hint: did you mean `model.max_length`?
    ");
    assert_snapshot!(Workspace::with_base().fail(&["train", "reviews.csv"]), @"
        exit 2
        error: reviews.csv:1: key with no value, expected `=`
        hint: a settings file is TOML, such as gareum.toml; data is given with --train
        ");
    assert_snapshot!(train_with(&["--set", "train=3"]), @"
        exit 2
        error: train = 3: invalid type: integer `3`, expected keys with values
        ");
    assert_snapshot!(train_with(&["--set", "data.label=3"]), @"
        exit 2
        error: data.label = 3: expected a name or a list of names
        ");
    assert_snapshot!(train_with(&["--set", "train.batch_size=-8"]), @"
        exit 2
        error: train.batch_size = -8: invalid value: integer `-8`, expected a whole number of at least 0
        ");
    assert_snapshot!(train_with(&["--set", "data.stratify=maybe"]), @r#"
        exit 2
        error: data.stratify = "maybe": invalid type: string "maybe", expected a boolean
        "#);
    assert_snapshot!(train_with(&["--set", "train.learning_rate=fast"]), @r#"
        exit 2
        error: train.learning_rate = "fast": invalid type: string "fast", expected a number
        "#);
    assert_snapshot!(train_with(&["--set", "train.epochs.count=2"]), @"
        exit 2
        error: train.epochs.count = 2: invalid type: map, expected a whole number of at least 0
        ");
    assert_snapshot!(train_with(&["--set", "data.split=[0.5,0.2,0.2]"]), @"
        exit 2
        error: split [0.5, 0.2, 0.2] is impossible: the ratios do not sum to 1
        hint: give fractions for training, validation and test that sum to 1, such as [0.8, 0.1, 0.1]
        ");
    assert_snapshot!(train_with(&["--set", "data.split=[1.5,-0.25,-0.25]"]), @"
        exit 2
        error: split [1.5, -0.25, -0.25] is impossible: every ratio must be 0 or more
        hint: give fractions for training, validation and test that sum to 1, such as [0.8, 0.1, 0.1]
        ");
    assert_snapshot!(train_with(&["--set", "model.max_length=64"]), @"
        exit 2
        error: model.max_length is 64, the model has positions for 32 tokens
        hint: --set model.max_length=32
        ");
    assert_snapshot!(train_with(&["--set", "train.early_stopping.monitor=f1"]), @"
    exit 2
    error: train.early_stopping.monitor is `f1`, expected one of loss, accuracy, macro_f1, micro_f1, weighted_f1, balanced_accuracy, matthews_corrcoef, cohen_kappa, top_3_accuracy, top_5_accuracy, log_loss, brier_score_loss, ece, roc_auc, roc_auc_weighted, average_precision, average_precision_micro, average_precision_weighted, roc_auc_ovo, roc_auc_ovo_weighted
    ");
    assert_snapshot!(train_with(&["--epochs", "0"]), @"
        exit 2
        error: train.epochs is 0, expected at least 1
        ");
    assert_snapshot!(train_with(&["--epochs", "many"]), @"
        exit 2
        error: invalid value 'many' for '--epochs <N>': invalid digit found in string

        For more information, try '--help'.
        ");
}

#[test]
fn bases_that_cannot_be_read() {
    assert_snapshot!(train_with(&["--model", "bsae"]), @"
        exit 2
        error: bsae/config.json: No such file or directory (os error 2)
        hint: a model directory holds config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json (or vocab.txt)
        ");
    assert_snapshot!(train_with(&["--model", "reviews.csv"]), @"
        exit 2
        error: reviews.csv/config.json: Not a directory (os error 20)
        hint: a model directory holds config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json (or vocab.txt)
        ");
    let remove = |name: &'static str| move |_: &Workspace, base: &Path| std::fs::remove_file(base.join(name)).unwrap();
    assert_snapshot!(train_from(remove("vocab.txt")), @"
        exit 2
        error: base: no tokenizer found
        hint: put tokenizer.json there, or vocab.txt, vocab.json with merges.txt, or a sentencepiece model (*.model)
        ");
    assert_snapshot!(train_from(remove("model.safetensors")), @"
        exit 2
        error: base/model.safetensors: No such file or directory (os error 2)
        hint: a model directory holds config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json (or vocab.txt)
        ");
    assert_snapshot!(train_from(remove("config.json")), @"
        exit 2
        error: base/config.json: No such file or directory (os error 2)
        hint: a model directory holds config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json (or vocab.txt)
        ");
    assert_snapshot!(train_from(|workspace, _| workspace.write("base/config.json", "{model_type: bert}")), @"
        exit 2
        error: base/config.json: not a JSON object: key must be a string at line 1 column 2
        hint: a model directory holds config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json (or vocab.txt)
        ");
    assert_snapshot!(train_from(|workspace, _| workspace.write("base/tokenizer.json", "{}")), @"
        exit 2
        error: base/tokenizer.json: not a tokenizer: Model missing. at line 1 column 2
        ");
    assert_snapshot!(train_from(|workspace, _| workspace.write("base/vocab.txt", "the\nmovie\n")), @"
        exit 2
        error: base/vocab.txt: the vocabulary has no `[PAD]`
        hint: name the special tokens in tokenizer_config.json
        ");
    assert_snapshot!(train_from(|workspace, _| {
        let weights = workspace.bytes("base/model.safetensors");
        workspace.write("base/model.safetensors", &weights[..weights.len() - 1000]);
    }), @"
        exit 2
        error: base/model.safetensors: not a complete safetensors file (17152 bytes): incomplete metadata, file not fully covered
        hint: copy or download the file again
        ");
    assert_snapshot!(train_from(|workspace, _| workspace.write("base/model.safetensors", "version https://git-lfs.github.com/spec/v1\n")), @"
        exit 2
        error: base/model.safetensors: not a complete safetensors file (43 bytes): header too large
        hint: this is a pointer of Git LFS; `git lfs pull` brings the file itself
        ");
}

#[test]
fn weights_that_are_not_read() {
    let instead = |name: &'static str, contents: Vec<u8>| {
        train_from(move |workspace, base| {
            std::fs::remove_file(base.join("model.safetensors")).unwrap();
            workspace.write(&format!("base/{name}"), contents);
        })
    };
    let fixture = |name: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/fixtures/checkpoints");
        std::fs::read(folder.join(name)).unwrap()
    };
    assert_snapshot!(instead("pytorch_model.bin", fixture("refused-call.bin")), @"
    exit 2
    error: base/pytorch_model.bin: it wants to call `posix.system`, and gareum only reads tensors
    hint: save the tensors alone: `torch.save(model.state_dict(), FILE)`
    ");
    assert_snapshot!(instead("pytorch_model.bin", fixture("refused-big-endian.bin")), @r#"
    exit 2
    error: base/pytorch_model.bin: its numbers are big-endian, and gareum reads little-endian ones
    hint: convert it where PyTorch reads it: `from safetensors.torch import save_file; save_file(torch.load(FILE, weights_only=True), "model.safetensors")`
    "#);
    assert_snapshot!(instead("pytorch_model.bin", fixture("refused-script.pt")), @r#"
    exit 2
    error: base/pytorch_model.bin: a TorchScript program, not weights
    hint: save its weights: `torch.save(torch.jit.load(FILE).state_dict(), "new.bin")`
    "#);
    assert_snapshot!(instead("pytorch_model.bin", fixture("refused-list.bin")), @"
    exit 2
    error: base/pytorch_model.bin: it holds no tensors with names, but a list
    hint: expected is a state dictionary, or one under `state_dict`, `model_state_dict` or `model`
    ");
    assert_snapshot!(instead("pytorch_model.bin", fixture("plain.bin")[..9000].to_vec()), @"
    exit 2
    error: base/pytorch_model.bin: the zip archive is damaged or cut off: its end is missing
    hint: copy or download the file again
    ");
    assert_snapshot!(instead("pytorch_model.bin", b"\x80\x02}q\x00.".to_vec()), @"
    exit 2
    error: base/pytorch_model.bin: not a file of torch.save: a pickle of something else
    hint: copy or download the file again
    ");
    assert_snapshot!(instead("tf_model.h5", Vec::new()), @r#"
    exit 2
    error: base/tf_model.h5: the only weights here are those of TensorFlow, which are not read
    hint: convert them; `transformers` cannot do that any more since version 5: `pip install "transformers<5" torch tensorflow tf-keras && python -c 'from transformers import AutoModel as M; M.from_pretrained("base", from_tf=True).save_pretrained("base")'`
    "#);
    assert_snapshot!(instead("flax_model.msgpack", Vec::new()), @r#"
    exit 2
    error: base/flax_model.msgpack: the only weights here are those of Flax, which are not read
    hint: convert them; `transformers` cannot do that any more since version 5: `pip install "transformers<5" torch flax && python -c 'from transformers import AutoModel as M; M.from_pretrained("base", from_flax=True).save_pretrained("base")'`
    "#);
    let index = json!({"weight_map": {"classifier.weight": "model-00001-of-00002.safetensors"}});
    assert_snapshot!(instead("model.safetensors.index.json", index.to_string().into_bytes()), @"
    exit 2
    error: base/model.safetensors.index.json: the part `model-00001-of-00002.safetensors` is missing
    hint: copy or download all parts
    ");
    let index = json!({"weight_map": {"classifier.weight": "/etc/passwd"}});
    assert_snapshot!(instead("model.safetensors.index.json", index.to_string().into_bytes()), @r#"
    exit 2
    error: base/model.safetensors.index.json: `weight_map` names "/etc/passwd" for `classifier.weight`, and that is no file beside it
    hint: copy or download the file again
    "#);
    assert_snapshot!(train_with(&["--set", "model.prefix_map={ \"net.\" = \"bert.\" }"]), @"
    exit 2
    error: base/model.safetensors: model.prefix_map does not fit: no tensor begins with `net.`; there are `bert.`
    hint: each key is the beginning of names in the file, each value what the family has there
    ");
    assert_snapshot!(train_with(&["--set", "model.weights=best.pt"]), @"
    exit 2
    error: base/best.pt: No such file or directory (os error 2)
    hint: a model directory holds config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json (or vocab.txt)
    ");
    assert_snapshot!(train_from(|workspace, _| {
        workspace.configure("base", "model_type", json!("electra"));
        workspace.configure("base", "embedding_size", json!(16));
        workspace.configure("base", "architectures", json!(["ElectraForMaskedLM"]));
    }), @"
    exit 2
    error: base: this is the generator of an ELECTRA pair, which classifies worse than its discriminator
    hint: take the discriminator, often called the same but for `-discriminator`; `--allow-generator` trains the generator all the same
    ");
    assert_snapshot!(train_from(|workspace, _| workspace.write("base/modules.json", "[]")), @"
    exit 2
    error: base/modules.json: it names no modules
    hint: a model directory holds config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json (or vocab.txt)
    ");
}

#[test]
fn bases_whose_parts_do_not_fit() {
    let configure = |key: &'static str, value: serde_json::Value| {
        train_from(move |workspace, _| workspace.configure("base", key, value))
    };
    assert_snapshot!(configure("model_type", json!("gpt2")), @"
    exit 2
    error: base/config.json: model_type `gpt2` is not supported
    hint: supported are bert, roberta, xlm-roberta, camembert, electra, distilbert, modernbert, llama, mistral, qwen2, qwen3, gpt_neox, deberta-v2, bart, mbart; convert the model or choose another base
    ");
    assert_snapshot!(configure("hidden_size", json!(15)), @"
        exit 2
        error: base/config.json: `hidden_size` is 15, expected a multiple of the number of attention heads, 2
        ");
    assert_snapshot!(configure("hidden_size", json!("sixteen")), @r#"
        exit 2
        error: base/config.json: `hidden_size` is "sixteen", expected a whole number of at least 1
        "#);
    assert_snapshot!(configure("hidden_size", json!(32)), @"
        exit 2
        error: base/model.safetensors: `bert.embeddings.word_embeddings.weight` has shape [54, 16], expected [54, 32]
        hint: the weights belong to another config.json
        ");
    assert_snapshot!(configure("num_hidden_layers", json!(2)), @"
        exit 2
        error: base/model.safetensors: 16 tensors are missing: `bert.encoder.layer.1.attention.self.query.weight`, `bert.encoder.layer.1.attention.self.query.bias`, `bert.encoder.layer.1.attention.self.key.weight`, `bert.encoder.layer.1.attention.self.key.bias`, `bert.encoder.layer.1.attention.self.value.weight`, `bert.encoder.layer.1.attention.self.value.bias`, `bert.encoder.layer.1.attention.output.dense.weight`, `bert.encoder.layer.1.attention.output.dense.bias`, `bert.encoder.layer.1.attention.output.LayerNorm.weight`, `bert.encoder.layer.1.attention.output.LayerNorm.bias`, `bert.encoder.layer.1.intermediate.dense.weight`, `bert.encoder.layer.1.intermediate.dense.bias`, `bert.encoder.layer.1.output.dense.weight`, `bert.encoder.layer.1.output.dense.bias`, `bert.encoder.layer.1.output.LayerNorm.weight`, `bert.encoder.layer.1.output.LayerNorm.bias`
        hint: the file is incomplete or belongs to another config.json
        ");
    assert_snapshot!(configure("hidden_act", json!("mish")), @r#"
        exit 2
        error: base/config.json: `hidden_act` is "mish", expected one of linear, gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, silu, swish, tanh
        "#);
    assert_snapshot!(configure("position_embedding_type", json!("relative_key")), @r#"
        exit 2
        error: base/config.json: `position_embedding_type` is "relative_key", expected "absolute" or nothing
        "#);
    assert_snapshot!(configure("quantization_config", json!({"quant_method": "bitsandbytes"})), @"
    exit 2
    error: base/config.json: `quantization_config` is bitsandbytes, expected compressed-tensors in the format int-quantized, or bitsandbytes in nf4 with double quantisation (others are not read: take the model that they were made of)
    ");
    let workspace = Workspace::with_base();
    let vocabulary = workspace.text("base/vocab.txt") + "more\n";
    workspace.write("base/vocab.txt", vocabulary);
    assert_snapshot!(workspace.fail(&training("reviews.csv", "model", &[])), @"
        exit 2
        error: the tokenizer has 55 tokens, the model embeds 54
        hint: tokenizer and weights belong to different checkpoints
        ");
    let mut small = encoder();
    small.insert("vocab_size".to_owned(), json!(10));
    workspace.base_of("small", small);
    assert_snapshot!(workspace.fail(&training("reviews.csv", "model", &["--model", "small"])), @"
        exit 2
        error: the tokenizer has 54 tokens, the model embeds 10
        hint: tokenizer and weights belong to different checkpoints
        ");
}

#[test]
fn models_that_cannot_predict() {
    let workspace = Workspace::with_base();
    workspace.write("texts.txt", "the food was good\n");
    let predict = |model: &str| workspace.fail(&["predict", "--model", model, "--input", "texts.txt"]);
    assert_snapshot!(predict("base"), @"
        exit 2
        error: base: the checkpoint has no classification head
        hint: train it first: gareum train --model base --train DATA
        ");
    assert_snapshot!(predict("model"), @"
        exit 2
        error: model/config.json: No such file or directory (os error 2)
        hint: a model directory holds config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json (or vocab.txt)
        ");
    workspace.train("reviews.csv", "model", &[]);
    workspace.write(
        "unknown.csv",
        "text,label\nthe food was good,pos\nthe food was bad,bad\n",
    );
    assert_snapshot!(workspace.fail(&["evaluate", "--quiet", "--model", "model", "--data", "unknown.csv"]), @"
        exit 2
        error: unknown.csv:3: row 2, column `label`: label `bad` is not one of `neg`, `pos`
        hint: correct or remove the row, or train with rows of this label
        ");
    assert_snapshot!(workspace.fail(&["evaluate", "--quiet", "--model", "model", "--data", "texts.txt"]), @"
        exit 2
        error: texts.txt: cannot tell which column is the label; found `text`
        hint: name it with `--label NAME`; no delimiter splits this file evenly, so each line is one text: name the delimiter if there is one
        ");
    workspace.write("model/gareum.json", "{}");
    assert_snapshot!(predict("model"), @"
        exit 2
        error: model/gareum.json: missing field `gareum` at line 1 column 2
        hint: train again, or remove the file: texts are then cut at the default length
        ");
}

#[test]
fn explanations_that_cannot_be_made() {
    let workspace = Workspace::with_base();
    workspace.train("reviews.csv", "model", &[]);
    workspace.write("texts.txt", "the food was good\n");
    let explain = |more: &[&str]| workspace.fail(&[&["explain", "--quiet", "--model", "model"], more].concat());
    assert_snapshot!(explain(&["--text", "good", "--labels", "bad"]), @"
    exit 2
    error: `bad` is no label of the model
    hint: its labels are `neg`, `pos`
    ");
    assert_snapshot!(explain(&["--text", "good", "--window", "2000"]), @"
    exit 2
    error: window is 2000, expected a number from 1 to 1000
    ");
    assert_snapshot!(explain(&["--text", "good", "--method", "gradient-input", "--precision", "bf16"]), @"
    exit 2
    error: --precision bf16 is for occlusion
    hint: gradients are computed in f32; leave it out
    ");
    assert_snapshot!(explain(&["--input", "texts.txt", "--output", "words.csv"]), @"
    exit 2
    error: words.csv: the name does not say in which format to write
    hint: name a .jsonl or .html file, or - for JSON lines on standard output
    ");
    assert_snapshot!(explain(&["--input", "texts.txt", "--output", "missing/words.jsonl"]), @"
    exit 2
    error: missing/words.jsonl: cannot write: No such file or directory (os error 2)
    hint: name a file in a directory that exists
    ");
    assert_snapshot!(explain(&["--input", "texts.txt", "--text-column", "body"]), @"
    exit 2
    error: texts.txt: no column `body` for the text; found `text`
    hint: name one of these columns; no delimiter splits this file evenly, so each line is one text: name the delimiter if there is one
    ");
    assert_snapshot!(explain(&["--input", "none.txt"]), @"
    exit 2
    error: none.txt: No such file or directory (os error 2)
    hint: check the path; relative paths start from the current folder
    ");
    assert_snapshot!(workspace.fail(&["explain", "--model", "model"]), @"
    exit 2
    error: the following required arguments were not provided:
      --text <TEXT>

    Usage: gareum explain --model <DIR|NAME> --text <TEXT>

    For more information, try '--help'.
    ");
}

#[test]
fn places_that_cannot_be_written() {
    let workspace = Workspace::with_base();
    workspace.train("reviews.csv", "model", &[]);
    workspace.write("texts.txt", "the food was good\n");
    workspace.write("in the way", "");
    let predict = |output: &str| {
        workspace.fail(&[
            "predict",
            "--quiet",
            "--model",
            "model",
            "--input",
            "texts.txt",
            "--output",
            output,
        ])
    };
    assert_snapshot!(predict("labels.xlsx"), @"
    exit 2
    error: labels.xlsx: the name does not say in which format to write
    hint: name a .jsonl, .csv or .parquet file, or - for JSON lines on standard output
    ");
    assert_snapshot!(predict("labels"), @"
    exit 2
    error: labels: the name does not say in which format to write
    hint: name a .jsonl, .csv or .parquet file, or - for JSON lines on standard output
    ");
    assert_snapshot!(predict("missing/labels.csv"), @"
        exit 2
        error: missing/labels.csv: cannot write: No such file or directory (os error 2)
        hint: name a file in a directory that exists
        ");
    assert_snapshot!(predict("in the way/labels.csv"), @"
        exit 2
        error: in the way/labels.csv: cannot write: Not a directory (os error 20)
        hint: name a file in a directory that exists
        ");
    assert_snapshot!(predict("in the way"), @"
    exit 2
    error: in the way: the name does not say in which format to write
    hint: name a .jsonl, .csv or .parquet file, or - for JSON lines on standard output
    ");
    std::fs::create_dir(workspace.path("made.csv")).unwrap();
    assert_snapshot!(predict("made.csv"), @"
        exit 2
        error: made.csv: cannot write: it is a directory
        hint: name a file in a directory that exists
        ");
    assert_snapshot!(workspace.fail(&training("reviews.csv", "in the way", &[])), @"
        exit 2
        error: in the way: cannot write there: in the way is a file
        hint: name another directory
        ");
    assert_snapshot!(workspace.fail(&training("reviews.csv", "in the way/model", &[])), @"
        exit 2
        error: in the way/model: cannot write there: in the way is a file
        hint: name another directory
        ");
    let evaluate = [
        "evaluate",
        "--quiet",
        "--model",
        "model",
        "--data",
        "reviews.csv",
        "--report",
        "in the way",
    ];
    assert_snapshot!(workspace.fail(&evaluate), @"
        exit 2
        error: in the way: cannot write there: in the way is a file
        hint: name another directory
        ");
    assert_snapshot!(workspace.fail(&["quickstart", "--quiet", "--output", "in the way"]), @"
        exit 2
        error: in the way: cannot write there: in the way is a file
        hint: name another directory
        ");
    assert_eq!(workspace.text("in the way"), "");
}

#[test]
fn models_that_cannot_be_measured() {
    let workspace = Workspace::with_base();
    workspace.write("blank.csv", "text,id\n,1\n,2\n");
    let bench = |more: &[&str]| workspace.fail(&[&["bench", "--quiet"], more].concat());
    assert_snapshot!(bench(&[]), @"
    exit 2
    error: the following required arguments were not provided:
      --model <DIR|NAME>

    Usage: gareum bench --model <DIR|NAME> --quiet

    For more information, try '--help'.
    ");
    assert_snapshot!(bench(&["--model", "nothing"]), @"
        exit 2
        error: nothing/config.json: No such file or directory (os error 2)
        hint: a model directory holds config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json (or vocab.txt)
        ");
    assert_snapshot!(bench(&["--model", "base", "--text", "text"]), @"
        exit 2
        error: there are columns and no file
        hint: name the file of texts with --input
        ");
    assert_snapshot!(bench(&["--model", "base", "--input", "tset.csv"]), @"
        exit 2
        error: tset.csv: No such file or directory (os error 2)
        hint: check the path; relative paths start from the current folder
        ");
    assert_snapshot!(bench(&["--model", "base", "--input", "reviews.csv", "--text", "body"]), @"
        exit 2
        error: reviews.csv: no column `body` for the text; found `text`, `label`
        hint: name one of these columns
        ");
    assert_snapshot!(bench(&["--model", "base", "--input", "blank.csv", "--text", "text"]), @"
        exit 2
        error: there is no text to measure with
        hint: every row of the column is empty; name another with --text
        ");
    assert_snapshot!(bench(&["--model", "base", "--latency-tokens", "33"]), @"
        exit 2
        error: a text of 33 tokens is too long for this model, which takes at most 32
        hint: --latency-tokens 32
        ");
    assert_snapshot!(bench(&["--model", "base", "--batch-size", "0"]), @"
        exit 2
        error: invalid value '0' for '--batch-size <N>': expected a whole number of at least 1

        For more information, try '--help'.
        ");
    assert_snapshot!(bench(&["--model", "base", "--precision", "f16"]), @"
        exit 2
        error: invalid value 'f16' for '--precision <PRECISION>'
          [possible values: auto, f32, bf16]

          tip: a similar value exists: 'bf16'

        For more information, try '--help'.
        ");
    assert_snapshot!(bench(&["--model", "base", "cpu"]), @"
        exit 2
        error: a model or the processor can be measured, not both at once
        hint: leave out `cpu`, or --model and --input
        ");
}

/// A prediction that fails on the way leaves neither its own file half-written nor an earlier one changed.
#[test]
fn inputs_that_break_off() {
    let workspace = Workspace::with_base();
    workspace.train("reviews.csv", "model", &[]);
    workspace.write("labels.csv", "of yesterday\n");
    let rows = "the food was good,1\n".repeat(3000);
    workspace.write("new.csv", format!("text,id\n{rows}the food, was bad,2\n"));
    let predict = [
        "predict",
        "--quiet",
        "--model",
        "model",
        "--input",
        "new.csv",
        "--output",
        "labels.csv",
    ];
    assert_snapshot!(workspace.fail(&predict), @r#"
        exit 2
        error: new.csv:3002: row 3001: found 3 fields, expected 2
        hint: fields that contain `,` must be enclosed in `"`; check this line
        "#);
    assert_eq!(workspace.text("labels.csv"), "of yesterday\n");
    assert_snapshot!(workspace.fail(&["predict", "--model", "model", "--input", "new.csv", "--text", "body"]), @"
        exit 2
        error: new.csv: no column `body` for the text; found `text`, `id`
        hint: name one of these columns
        ");
    assert_snapshot!(workspace.fail(&["predict", "--model", "model", "--input", "new.csv", "--top-k", "0"]), @"
        exit 2
        error: invalid value '0' for '--top-k <N>': expected a whole number of at least 1

        For more information, try '--help'.
        ");
}

#[test]
fn runs_that_cannot_go_on() {
    assert_snapshot!(train_with(&["--resume"]), @"
        exit 2
        error: model: there is no checkpoint
        hint: name a checkpoint-N directory, or start again without --resume
        ");
    assert_snapshot!(train_with(&["--resume", "base"]), @"
        exit 2
        error: base: there is no checkpoint
        hint: name a checkpoint-N directory, or start again without --resume
        ");
    let workspace = Workspace::with_base();
    workspace.train("reviews.csv", "model", &[]);
    let rows: Vec<Vec<String>> = reviews()
        .into_iter()
        .enumerate()
        .map(|(row, fields)| vec![fields[0].clone(), ["fine", "neg", "pos"][row % 3].to_owned()])
        .collect();
    workspace.write("three.csv", csv(&["text", "label"], &rows));
    assert_snapshot!(workspace.fail(&training("three.csv", "other", &["--resume", "model"])), @"
        exit 2
        error: model/checkpoint-22: the set of labels is fine, neg, pos (single_label) now and was neg, pos (single_label) when the checkpoint was written
        hint: resume with the data and settings of that run, or start again without --resume
        ");
    assert_snapshot!(workspace.fail(&training("reviews.csv", "other", &["--resume", "model", "--set", "train.batch_size=5"])), @"
        exit 2
        error: model/checkpoint-22: train.batch_size is 5 now and was 8 when the checkpoint was written
        hint: resume with the data and settings of that run, or start again without --resume
        ");
    assert_snapshot!(workspace.fail(&training("reviews.csv", "other", &["--resume", "model", "--set", "train.max_steps=3"])), @"
        exit 2
        error: model/checkpoint-22: 22 steps are done, the run would have 3
        hint: raise train.epochs or train.max_steps
        ");
    workspace.write("model/checkpoint-22/trainer_state.json", "{}");
    assert_snapshot!(workspace.fail(&training("reviews.csv", "model", &["--resume"])), @"
        exit 2
        error: model/checkpoint-22/trainer_state.json: missing field `epoch` at line 1 column 2
        hint: name another checkpoint, or start again without --resume
        ");
}

#[test]
fn a_run_that_diverges_says_so() {
    let workspace = Workspace::with_base();
    let message = workspace.fail(&training(
        "reviews.csv",
        "model",
        &["--set", "train.learning_rate=1e38"],
    ));
    assert_snapshot!(message, @"
        exit 1
        error: step 3: the loss is NaN
        hint: lower train.learning_rate (now 1e38) or train.max_grad_norm
        ");
    assert!(!workspace.path("model/model.safetensors").exists());
}

#[test]
fn usage_is_explained() {
    let workspace = Workspace::new();
    assert_snapshot!(workspace.fail(&["predict"]), @"
    exit 2
    error: the following required arguments were not provided:
      --model <DIR|NAME>

    Usage: gareum predict --model <DIR|NAME>

    For more information, try '--help'.
    ");
    assert_snapshot!(workspace.fail(&["prdict", "--model", "model"]), @"
        exit 2
        error: unrecognized subcommand 'prdict'

          tip: a similar subcommand exists: 'predict'

        Usage: gareum [OPTIONS] <COMMAND>

        For more information, try '--help'.
        ");
    assert_snapshot!(workspace.fail(&["evaluate", "--model", "model", "--data", "a.csv", "--threads", "0"]), @"
        exit 2
        error: invalid value '0' for '--threads <N>': expected a whole number of at least 1

        For more information, try '--help'.
        ");
}

#[test]
fn what_cannot_be_inspected() {
    let workspace = Workspace::with_base();
    workspace.write("one.csv", "a,b,c\n1,2,3\n");
    assert_snapshot!(workspace.fail(&["inspect", "one.csv"]), @"
    exit 2
    error: one.csv: cannot tell which column is the text; found `a`, `b`, `c`
    hint: name it with `--text NAME`
    ");
    assert_snapshot!(workspace.fail(&["inspect", "reviews.csv", "--label", "lable"]), @"
    exit 2
    error: reviews.csv: no column `lable` for the label; found `text`, `label`
    hint: did you mean `label`?
    ");
    assert_snapshot!(workspace.fail(&["inspect", "reviews.csv", "--tokenizer", "missing"]), @"
    exit 2
    error: missing: no tokenizer found
    hint: put tokenizer.json there, or vocab.txt, vocab.json with merges.txt, or a sentencepiece model (*.model)
    ");
    assert_snapshot!(workspace.fail(&["inspect", "reviews.csv", "--report", "reviews.csv"]), @"
    exit 2
    error: reviews.csv: cannot write there: reviews.csv is a file
    hint: name another directory
    ");
    assert_snapshot!(workspace.fail(&["inspect", "reviews.csv", "--set", "data.txt=x"]), @r#"
    exit 2
    error: data.txt = "x": unknown field `txt`, expected one of `train`, `validation`, `test`, `text`, `stack`, `text_pair`, `label`, `polarities`, `label_separator`, `label_map`, `group`, `header`, `delimiter`, `quoting`, `encoding`, `normalize`, `split`, `stratify`, `train_share`, `drop_duplicates`, `conflicts`, `seed`
    hint: did you mean `text`?
    "#);
    assert_snapshot!(workspace.fail(&["inspect", "reviews.csv", "--tokenizer", "base", "--model", "base"]), @"
    exit 2
    error: the argument '--tokenizer <DIR>' cannot be used with '--model <DIR|NAME>'

    Usage: gareum inspect --tokenizer <DIR> <DATA>...

    For more information, try '--help'.
    ");
}

#[test]
fn workbooks_that_cannot_be_read() {
    let workspace = Workspace::with_base();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/fixtures/xlsx");
    for name in ["reviews.xlsx", "wide.xlsx"] {
        std::fs::copy(fixtures.join(name), workspace.path(name)).unwrap();
    }
    workspace.write("damaged.xlsx", "PK\u{3}\u{4} and no more");
    assert_snapshot!(workspace.fail(&["inspect", "reviews.xlsx"]), @"
    exit 2
    error: reviews.xlsx: the workbook has 3 sheets; the sheets are `reviews`, `표 2`, `empty`
    hint: name one of them: `reviews.xlsx#reviews`
    ");
    assert_snapshot!(workspace.fail(&["inspect", "reviews.xlsx#review"]), @"
    exit 2
    error: reviews.xlsx: no sheet `review`; the sheets are `reviews`, `표 2`, `empty`
    hint: name one of them: `reviews.xlsx#reviews`
    ");
    assert_snapshot!(workspace.fail(&["inspect", "reviews.xlsx#empty"]), @"
    exit 2
    error: reviews.xlsx#empty: the file is empty, expected rows of text
    hint: check that it was written or downloaded completely
    ");
    assert_snapshot!(workspace.fail(&["inspect", "wide.xlsx"]), @"
    exit 2
    error: wide.xlsx:3: row 2: found 3 fields, expected 2
    hint: give every column a name in the first row, or empty the cells beside the table
    ");
    assert_snapshot!(workspace.fail(&["inspect", "damaged.xlsx"]), @"
    exit 2
    error: damaged.xlsx: not an xlsx workbook that could be read: `Zip error: invalid Zip archive: Could not find EOCD`
    hint: open it and save it again as xlsx, or save the sheet as csv (UTF-8)
    ");
    assert_snapshot!(workspace.fail(&["inspect", "missing.xlsx#a"]), @"
    exit 2
    error: missing.xlsx: No such file or directory (os error 2)
    hint: check the path; relative paths start from the current folder
    ");
    workspace.write("cut.csv.zst", [0x28, 0xB5, 0x2F, 0xFD, 0x24, 0x20]);
    assert_snapshot!(workspace.fail(&["inspect", "cut.csv.zst"]), @"
    exit 2
    error: cut.csv.zst: incomplete frame
    hint: the compressed data is damaged or cut off; fetch the file again
    ");
}
