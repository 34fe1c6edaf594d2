//! Models and datasets by their names on the hub, from a server on this machine: what is fetched, where it is kept, and what goes wrong.

use std::path::Path;

use crate::hub_server::{Access, COMMIT, HubServer};
use crate::workspace::{Workspace, training};
use insta::assert_snapshot;

/// A workspace whose hub is this server; its cache is `hf/hub`.
fn workspace_at(server: &HubServer) -> Workspace {
    let mut workspace = Workspace::with_base();
    let home = workspace.path("hf").display().to_string();
    workspace.environment = vec![
        ("HF_ENDPOINT", server.endpoint()),
        ("HF_HOME", home),
        ("HF_HUB_OFFLINE", "0".to_owned()),
        ("HF_TOKEN", String::new()),
    ];
    workspace
}

/// The files of the tiny encoder.
fn model_files(workspace: &Workspace) -> Vec<(&'static str, Vec<u8>)> {
    ["config.json", "vocab.txt", "model.safetensors"]
        .map(|name| (name, workspace.bytes(&format!("base/{name}"))))
        .into()
}

/// As [`training`] from a model of the hub.
fn from_hub<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    training("reviews.csv", output, &[&["--model", "tiny/bert"], more].concat())
}

#[test]
fn a_model_is_fetched_once_and_kept_as_other_tools_keep_it() {
    let server = HubServer::start();
    let workspace = workspace_at(&server);
    let mut files = model_files(&workspace);
    let others = [
        "tf_model.h5",
        "pytorch_model.bin",
        "onnx/model.onnx",
        ".gitattributes",
        "logo.png",
        "training_args.bin",
    ];
    files.extend(others.map(|name| (name, vec![0; 3000])));
    files.push(("README.md", b"# Tiny".to_vec()));
    server.add("models/tiny/bert", Access::Everybody, &files);
    workspace.succeed(&from_hub("first", &[]));
    let requests = server.requests();
    let file = |name: &str| format!("/tiny/bert/resolve/{COMMIT}/{name}");
    let large = "/large/models/tiny/bert/model.safetensors".to_owned();
    let expected = vec![
        "/api/models/tiny/bert/revision/main".to_owned(),
        file("README.md"),
        file("config.json"),
        file("vocab.txt"),
        file("model.safetensors"),
        large,
    ];
    assert_eq!(requests, expected, "and nothing else");
    let cached = workspace.path("hf/hub/models--tiny--bert");
    assert_eq!(std::fs::read_to_string(cached.join("refs/main")).unwrap(), COMMIT);
    let link = std::fs::read_link(cached.join(format!("snapshots/{COMMIT}/config.json"))).unwrap();
    assert!(link.starts_with("../../blobs"), "{}", link.display());
    let blobs = std::fs::read_dir(cached.join("blobs")).unwrap();
    let names = blobs
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect::<Vec<_>>();
    assert_eq!(names.len(), 4, "{names:?}");
    assert!(
        !names
            .iter()
            .any(|name| name.contains("redirection") || name.contains("incomplete")),
        "{names:?}"
    );

    // Again: the list only. Offline: nothing. And a model of the same bits.
    workspace.succeed(&from_hub("second", &[]));
    assert_eq!(server.requests(), ["/api/models/tiny/bert/revision/main"]);
    workspace.succeed(&from_hub("third", &["--offline"]));
    assert_eq!(server.requests(), [""; 0]);
    let weights = |name: &str| workspace.bytes(&format!("{name}/model.safetensors"));
    assert!(weights("first") == weights("second") && weights("first") == weights("third"));
    workspace.train("reviews.csv", "local", &[]);
    assert!(weights("first") == weights("local"));
    assert!(workspace.text("first/README.md").contains("from `tiny/bert`"));
}

#[test]
fn revisions_and_settings() {
    let server = HubServer::start();
    let workspace = workspace_at(&server);
    server.add("models/tiny/bert", Access::Everybody, &model_files(&workspace));
    server.branch("refs/pr/7");
    workspace.succeed(&from_hub("model", &["--revision", "refs/pr/7"]));
    assert_eq!(server.requests()[0], "/api/models/tiny/bert/revision/refs%2Fpr%2F7");
    assert_eq!(workspace.text("hf/hub/models--tiny--bert/refs/refs/pr/7"), COMMIT);
    // A commit never changes, so that nothing needs to be asked.
    workspace.succeed(&from_hub("again", &["--revision", COMMIT]));
    assert_eq!(server.requests(), [""; 0]);
    let settings = workspace.text("tiny.toml").replace("\"base\"", "\"tiny/bert\"");
    std::fs::create_dir(workspace.path("project")).unwrap();
    workspace.write("project/gareum.toml", settings);
    let arguments = [
        "train",
        "--quiet",
        "project/gareum.toml",
        "--train",
        "reviews.csv",
        "--output",
        "model",
    ];
    workspace.succeed(&arguments);
    assert_snapshot!(workspace.fail(&from_hub("model", &["--revision", "v9"])), @"
    exit 2
    error: tiny/bert: there is no revision `v9`
    hint: name a branch, a tag or a commit
    ");
    assert_snapshot!(workspace.fail(&from_hub("model", &["--revision", "a b"])), @"
    exit 2
    error: tiny/bert: this is no name on the hub: the revision has characters that no branch, tag or commit has
    hint: models are named hf://owner/name, data hf://owner/name/subset/split, both also hf://owner/name@revision
    ");
}

#[test]
fn sharded_weights_and_sentence_encoders() {
    let server = HubServer::start();
    let workspace = workspace_at(&server);
    let files = model_files(&workspace);
    let weights = files[2].1.clone();
    let names = safetensors_names(&weights);
    let map: serde_json::Map<_, _> = names
        .iter()
        .map(|name| (name.clone(), "part-1.safetensors".into()))
        .collect();
    let index = serde_json::json!({"metadata": {}, "weight_map": map}).to_string();
    let modules = r#"[{"idx": 0, "path": "0_Transformer", "type": "sentence_transformers.models.Transformer"}]"#;
    let nested = [
        ("modules.json", modules.as_bytes().to_vec()),
        ("0_Transformer/config.json", files[0].1.clone()),
        ("0_Transformer/vocab.txt", files[1].1.clone()),
        ("0_Transformer/model.safetensors.index.json", index.into_bytes()),
        ("0_Transformer/part-1.safetensors", weights),
        ("0_Transformer/part-2.safetensors", vec![0; 5000]),
    ];
    server.add("models/tiny/bert", Access::Everybody, &nested);
    let arguments: Vec<&str> = from_hub("model", &[])
        .into_iter()
        .filter(|argument| *argument != "--quiet")
        .collect();
    let told = workspace.succeed(&arguments).stderr;
    assert!(
        told.contains("its encoder is used, its other modules are left out"),
        "{told}"
    );
    let requests = server.requests();
    assert!(
        requests.iter().any(|request| request.ends_with("part-1.safetensors")),
        "{requests:?}"
    );
    assert!(
        !requests.iter().any(|request| request.ends_with("part-2.safetensors")),
        "{requests:?}"
    );
    workspace.succeed(&from_hub("again", &["--offline"]));
}

fn safetensors_names(bytes: &[u8]) -> Vec<String> {
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let names = header.as_object().unwrap().keys();
    names.filter(|name| *name != "__metadata__").cloned().collect()
}

#[test]
fn a_broken_connection_goes_on_where_it_broke() {
    let server = HubServer::start();
    let workspace = workspace_at(&server);
    server.add("models/tiny/bert", Access::Everybody, &model_files(&workspace));
    server.break_next(2);
    workspace.succeed(&from_hub("model", &[]));
    let half = workspace.bytes("base/model.safetensors").len() / 2;
    let requests = server.requests();
    assert!(
        requests
            .iter()
            .any(|request| request.ends_with(&format!("from {half}"))),
        "{requests:?}"
    );
    workspace.train("reviews.csv", "local", &[]);
    assert!(workspace.bytes("model/model.safetensors") == workspace.bytes("local/model.safetensors"));
    // What stays broken is an error, and what came is kept for the next time.
    std::fs::remove_dir_all(workspace.path("hf")).unwrap();
    server.break_next(1000);
    let message = workspace.fail(&from_hub("model", &[]));
    assert!(message.starts_with("exit 1\nerror: tiny/bert: localhost:"), "{message}");
    server.break_next(0);
    workspace.succeed(&from_hub("model", &[]));
}

#[test]
fn tokens_stay_with_the_hub() {
    let server = HubServer::start();
    let mut workspace = workspace_at(&server);
    server.add("models/tiny/bert", Access::Token("hf_secret"), &model_files(&workspace));
    let fail = |workspace: &Workspace| {
        let message = workspace.fail(&from_hub("model", &[]));
        message.replace(&server.endpoint()[7..], "[HUB]")
    };
    assert_snapshot!(fail(&workspace), @"
    exit 2
    error: tiny/bert: no such model on [HUB]
    hint: check the name (if a directory is meant: it is not here); a private repository needs a token, in HF_TOKEN or by `hf auth login`
    ");
    let with_token = |workspace: &mut Workspace, token: &str| {
        workspace.environment.retain(|(name, _)| *name != "HF_TOKEN");
        workspace.environment.push(("HF_TOKEN", token.to_owned()));
    };
    with_token(&mut workspace, "hf_wrong");
    assert_snapshot!(fail(&workspace), @"
    exit 2
    error: tiny/bert: [HUB] does not accept the token
    hint: make a new one and put it into HF_TOKEN, or run `hf auth login`
    ");
    server.requests();
    with_token(&mut workspace, "hf_secret");
    workspace.succeed(&from_hub("model", &[]));
    for request in server.requests() {
        assert_eq!(
            request.contains("with token"),
            !request.contains("/large/"),
            "{request}"
        );
    }
    // A token in its file.
    with_token(&mut workspace, "");
    std::fs::remove_dir_all(workspace.path("hf/hub")).unwrap();
    workspace.write("hf/token", "hf_secret\n");
    workspace.succeed(&from_hub("model", &[]));
}

#[test]
fn what_cannot_be_had() {
    let server = HubServer::start();
    let mut workspace = workspace_at(&server);
    let files = model_files(&workspace);
    server.add("models/gated/bert", Access::Gated, &files);
    server.add(
        "models/tiny/tensorflow",
        Access::Everybody,
        &[files[0].clone(), ("tf_model.h5", vec![1])],
    );
    server.add(
        "models/tiny/empty",
        Access::Everybody,
        &[("README.md", b"nothing".to_vec())],
    );
    let fail = |workspace: &Workspace, model: &str| {
        let message = workspace.fail(&training("reviews.csv", "model", &["--model", model]));
        let message = message.replace(&server.endpoint()[7..], "[HUB]");
        message.replace(&workspace.path("").display().to_string(), "[DIR]/")
    };
    assert_snapshot!(fail(&workspace, "no/such"), @"
    exit 2
    error: no/such: no such model on [HUB]
    hint: check the name (if a directory is meant: it is not here); a private repository needs a token, in HF_TOKEN or by `hf auth login`
    ");
    assert_snapshot!(fail(&workspace, "gated/bert"), @"
    exit 2
    error: gated/bert: access is given on request only
    hint: accept the conditions on http://[HUB]/gated/bert, and put a token of your account into HF_TOKEN
    ");
    assert_snapshot!(fail(&workspace, "tiny/tensorflow"), @r#"
    exit 2
    error: tiny/tensorflow: the only weights there are those of TensorFlow, which are not read
    hint: convert them; `transformers` cannot do that any more since version 5: `pip install "transformers<5" torch tensorflow tf-keras && python -c 'from transformers import AutoModel as M; M.from_pretrained("tiny/tensorflow", from_tf=True).save_pretrained("tiny/tensorflow")'`
    "#);
    assert_snapshot!(fail(&workspace, "tiny/empty"), @r#"
    exit 2
    error: tiny/empty: no weights among its files: ["README.md"]
    hint: gareum reads model.safetensors, model.safetensors.index.json, pytorch_model.bin, pytorch_model.bin.index.json
    "#);
    assert_snapshot!(fail(&workspace, "hf://a/b/c"), @"
    exit 2
    error: hf://a/b/c: this is no name on the hub: expected `owner/name`
    hint: models are named hf://owner/name, data hf://owner/name/subset/split, both also hf://owner/name@revision
    ");
    workspace
        .environment
        .push(("HF_ENDPOINT", "http://127.0.0.1:9".to_owned()));
    assert_snapshot!(fail(&workspace, "no/such"), @"
    exit 1
    error: no/such: 127.0.0.1:9 cannot be reached: `io: Connection refused (os error 111)`
    hint: check the connection, or name a directory or file that is here; --offline uses only what was fetched before
    ");
    workspace.environment.push(("HF_HUB_OFFLINE", "1".to_owned()));
    assert_snapshot!(fail(&workspace, "no/such"), @"
    exit 2
    error: no/such: not fetched yet, and the network is not to be used
    hint: fetch it once without --offline (and HF_HUB_OFFLINE), or name a directory or file that is here
    ");
}

#[test]
fn what_was_fetched_is_used_while_the_hub_is_away() {
    let server = HubServer::start();
    let mut workspace = workspace_at(&server);
    server.add("models/tiny/bert", Access::Everybody, &model_files(&workspace));
    workspace.succeed(&from_hub("model", &[]));
    workspace
        .environment
        .push(("HF_ENDPOINT", "http://127.0.0.1:9".to_owned()));
    let arguments: Vec<&str> = from_hub("model", &[])
        .into_iter()
        .filter(|argument| *argument != "--quiet")
        .collect();
    let told = workspace.succeed(&arguments).stderr;
    assert!(
        told.contains("the hub cannot be reached; what was fetched before is used"),
        "{told}"
    );
}

const CARD: &str = "---\nlanguage: en\ndataset_info:\n- config_name: film\n  features:\n  - name: text\n    dtype: string\n  - name: label\n    \
                    dtype:\n      class_label:\n        names:\n          '0': neg\n          '1': pos\nconfigs:\n- config_name: film\n  \
                    data_files:\n  - split: train\n    path: film/train-*\n  - split: test\n    path: film/test-*\n- config_name: other\n  \
                    data_files: other.csv\n---\n# Reviews\n";

/// The fixture of 12 rows, whose labels are 1, 0, none, 0, ...
fn parquet() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/reference/fixtures/parquet/snappy.parquet");
    std::fs::read(path).unwrap()
}

#[test]
fn datasets_by_name() {
    let server = HubServer::start();
    let workspace = workspace_at(&server);
    let files = [
        ("README.md", CARD.as_bytes().to_vec()),
        ("film/train-00000-of-00002.parquet", parquet()),
        ("film/train-00001-of-00002.parquet", parquet()),
        ("film/test-00000-of-00001.parquet", parquet()),
        ("other.csv", b"text,label\ngood,1\nbad,0\n".to_vec()),
    ];
    server.add("datasets/tiny/reviews", Access::Everybody, &files);
    let data = "hf://tiny/reviews/film";
    let usual = [
        "train",
        "tiny.toml",
        "--output",
        "model",
        "--set",
        "data.drop_duplicates=false",
    ];
    let told = workspace
        .succeed(&[&usual[..], &["--train", data, "--test", data]].concat())
        .stderr;
    for expected in [
        "hf://tiny/reviews/film: split `train`; there are `train`, `test`",
        "hf://tiny/reviews/film: split `test`; there are `train`, `test`",
        "hf://tiny/reviews/film: 24 rows (parquet), text `text`, label `label`",
        "rows dropped: 2 without text",
    ] {
        assert!(told.contains(expected), "{told}");
    }
    assert_eq!(workspace.json("model/config.json")["id2label"]["0"], "neg");
    let requests = server.requests();
    assert!(
        !requests.iter().any(|request| request.contains("other.csv")),
        "{requests:?}"
    );
    let train = requests
        .iter()
        .filter(|request| request.contains("/film/train-"))
        .count();
    assert!(train >= 2, "{requests:?}");

    workspace.succeed(&[
        "evaluate",
        "--offline",
        "--model",
        "model",
        "--data",
        "hf://tiny/reviews/film/test",
    ]);
    let lines = workspace.succeed(&[
        "predict",
        "--offline",
        "--model",
        "model",
        "--input",
        "hf://tiny/reviews/film",
    ]);
    assert_eq!(lines.json_lines().len(), 12);
    assert_eq!(server.requests(), [""; 0]);
    let file = "hf://datasets/tiny/reviews/film/test-00000-of-00001.parquet";
    workspace.succeed(&["evaluate", "--model", "model", "--data", file]);
    workspace.succeed(
        &[
            &usual[..],
            &["--train", "hf://tiny/reviews/other", "--set", "data.split=[1,0,0]"],
        ]
        .concat(),
    );

    let fail = |data: &str, more: &[&str]| {
        let message = workspace.fail(&[&usual[..], &["--quiet", "--train", data], more].concat());
        let message = message.replace(&server.endpoint()[7..], "[HUB]");
        message.replace(&workspace.path("").display().to_string(), "[DIR]/")
    };
    assert_snapshot!(fail("hf://tiny/reviews", &[]), @"
    exit 2
    error: tiny/reviews: no subset is named; there are `film`, `other`
    hint: name one behind a slash: hf://tiny/reviews/film
    ");
    assert_snapshot!(fail("hf://tiny/reviews/films", &[]), @"
    exit 2
    error: tiny/reviews: it has no subset or split `films`; there are `film`, `other`
    hint: name one behind a slash: hf://tiny/reviews/film
    ");
    assert_snapshot!(fail("hf://tiny/reviews/film/dev", &[]), @"
    exit 2
    error: tiny/reviews: subset `film` has no split `dev`; there are `train`, `test`
    hint: check the name
    ");
    assert_snapshot!(fail("hf://tiny/reviews/film/x.parquet", &[]), @"
    exit 2
    error: tiny/reviews: there is no file `film/x.parquet`
    hint: check the name on hf://datasets/tiny/reviews
    ");
    assert_snapshot!(fail("hf://tiny/nothing", &[]), @"
    exit 2
    error: tiny/nothing: no such dataset on [HUB]
    hint: check the name (if a directory is meant: it is not here); a private repository needs a token, in HF_TOKEN or by `hf auth login`
    ");
    assert_snapshot!(fail("hf://nothing", &[]), @"
    exit 2
    error: hf://nothing: this is no name on the hub: expected `owner/name` behind hf://
    hint: models are named hf://owner/name, data hf://owner/name/subset/split, both also hf://owner/name@revision
    ");
    assert_snapshot!(fail("hf://tiny/unseen", &["--offline"]), @"
    exit 2
    error: tiny/unseen: not fetched yet, and the network is not to be used
    hint: fetch it once without --offline (and HF_HUB_OFFLINE), or name a directory or file that is here
    ");
}

/// A repository of other formats, for which the hub has parquet files in a revision of their own.
#[test]
fn converted_datasets() {
    let server = HubServer::start();
    let workspace = workspace_at(&server);
    server.add(
        "datasets/tiny/script",
        Access::Everybody,
        &[("script.py", b"raise".to_vec())],
    );
    let message = workspace.fail(&training("hf://tiny/script", "model", &[]));
    assert!(
        message.contains("no rows that could be read: it holds [\"script.py\"]"),
        "{message}"
    );
    let server = HubServer::start();
    let workspace = workspace_at(&server);
    let files = [
        ("script.py", b"raise".to_vec()),
        ("default/train/0000.parquet", parquet()),
    ];
    server.add("datasets/tiny/script", Access::Everybody, &files);
    server.branch("refs/convert/parquet");
    workspace.succeed(&training("hf://tiny/script", "model", &[]));
    workspace.succeed(&training("hf://tiny/script", "model", &["--offline"]));
}
