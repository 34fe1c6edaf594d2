//! `gareum serve`: answers, limits, keys, models that change, and the end.

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::server::{Connection, PATIENCE, Server, inputs};
use crate::workspace::{Workspace, csv, reviews};
use insta::assert_snapshot;
use serde_json::{Value, json};

const GOOD: &str = "the movie was very good";
const BAD: &str = "the food was really awful";

/// Enough for the tiny model to tell good from bad.
const ENOUGH: [&str; 2] = ["--epochs", "12"];

fn trained() -> Workspace {
    let workspace = Workspace::with_base();
    workspace.train("reviews.csv", "model", &ENOUGH);
    workspace
}

/// A model for two labels a text.
fn multi_label(workspace: &Workspace) {
    let rows: Vec<Vec<String>> = reviews()
        .into_iter()
        .map(|row| {
            let about = row[0].split(' ').nth(1).unwrap_or_default().to_owned();
            vec![row[0].clone(), format!("{}|{about}", row[1])]
        })
        .collect();
    workspace.write("several.csv", csv(&["text", "label"], &rows));
    workspace.train(
        "several.csv",
        "several",
        &[&["--set", "task=multi_label"], &ENOUGH[..]].concat(),
    );
}

/// Waits until something holds.
fn wait_for(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn predict_answers_as_text_embeddings_inference() {
    let workspace = trained();
    let server = Server::start(&workspace, &[]);
    let labels = |answer: &Value| -> Vec<String> {
        let list = answer.as_array().unwrap();
        let keys = |one: &Value| one.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert!(list.iter().all(|one| keys(one) == ["score", "label"]), "{answer}");
        let scores: Vec<f64> = list.iter().map(|one| one["score"].as_f64().unwrap()).collect();
        assert!(scores.is_sorted_by(|one, other| one >= other), "{answer}");
        list.iter()
            .map(|one| one["label"].as_str().unwrap().to_owned())
            .collect()
    };
    let one = server.post("/predict", &inputs(GOOD));
    assert_eq!(
        (one.status, one.header("content-type")),
        (200, Some("application/json"))
    );
    assert_eq!(labels(&one.json()), ["pos", "neg"]);
    assert_eq!(one.header("x-compute-tokens"), Some("7"));
    assert_eq!(one.header("x-compute-characters"), Some("23"));
    let pair = server.post("/predict", &inputs(json!([GOOD, BAD]))).json();
    assert_eq!(labels(&pair).len(), 2, "a pair is one input");
    let batch = server
        .post("/predict", &inputs(json!([[GOOD], [BAD], [GOOD, BAD]])))
        .json();
    let all: Vec<Vec<String>> = batch.as_array().unwrap().iter().map(labels).collect();
    assert_eq!(all[..2], [["pos", "neg"], ["neg", "pos"]]);
    assert_eq!((&batch[0], &batch[2]), (&one.json(), &pair), "the same in a batch");
    // What `predict` says.
    let output = workspace.run_with_input(&["predict", "--quiet", "--model", "model"], &format!("{GOOD}\n"));
    let expected = output.json_lines()[0]["scores"]["pos"].as_f64().unwrap();
    let found = one.json()[0]["score"].as_f64().unwrap();
    assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    let raw = server
        .post("/predict", &json!({"inputs": GOOD, "raw_scores": true}))
        .json();
    let sum: f64 = raw
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["score"].as_f64().unwrap())
        .sum();
    assert!((sum - 1.0).abs() > 1e-3, "{raw}");
    // The tokenizer cuts at 16: of 30 words the other end remains.
    let long = [vec!["good"; 15], vec!["awful"; 15]].concat().join(" ");
    let cut = |direction: &str| {
        let body = json!({"inputs": long, "truncation_direction": direction, "truncate": true});
        labels(&server.post("/predict", &body).json())[0].clone()
    };
    assert_eq!(
        (cut("Right"), cut("Left"), cut("left")),
        ("pos".into(), "neg".into(), "neg".into())
    );
}

#[test]
fn errors_of_predict_are_those_of_text_embeddings_inference() {
    let workspace = trained();
    let server = Server::start(
        &workspace,
        &["--set", "limits.texts=2", "--set", "limits.characters=300"],
    );
    let said = |body: &Value| server.post("/predict", body).shown();
    let long = vec!["good"; 30].join(" ");
    assert_snapshot!(said(&inputs("")), @r#"400 {"error":"`inputs` cannot be empty","error_type":"Empty"}"#);
    assert_snapshot!(said(&inputs(json!(["", ""]))), @r#"400 {"error":"`inputs` cannot be empty","error_type":"Empty"}"#);
    assert_snapshot!(said(&json!({"inputs": long, "truncate": false})), @r#"413 {"error":"`inputs` must have less than 16 tokens. Given: 32","error_type":"Validation"}"#);
    assert_snapshot!(said(&inputs("a".repeat(301))), @r#"413 {"error":"`inputs` must have less than 300 characters. Given: 301","error_type":"Validation"}"#);
    assert_snapshot!(said(&inputs(json!([["a"], ["b"], ["c"]]))), @r#"413 {"error":"batch size 3 > maximum allowed batch size 2","error_type":"Validation"}"#);
    assert_snapshot!(said(&inputs(json!([]))), @r#"422 {"error":"the body does not fit: `inputs` must be a string, a pair of strings [string, string] or a batch of mixed strings and pairs [[string], [string, string], ...]","error_type":"Validation"}"#);
    assert_snapshot!(said(&inputs(3)), @r#"422 {"error":"the body does not fit: `inputs` must be a string, a pair of strings [string, string] or a batch of mixed strings and pairs [[string], [string, string], ...]","error_type":"Validation"}"#);
    assert_snapshot!(said(&json!({})), @r#"422 {"error":"the body does not fit: missing field `inputs` at line 1 column 2","error_type":"Validation"}"#);
    assert_snapshot!(said(&json!({"inputs": "a", "truncate": "yes"})), @r#"422 {"error":"the body does not fit: invalid type: string \"yes\", expected a boolean at line 1 column 30","error_type":"Validation"}"#);
    assert_snapshot!(said(&json!({"inputs": "a", "model": "b"})), @r#"404 {"error":"there is no model `b`; there are: model","error_type":"Validation"}"#);
    let plain = |headers: &[(&str, &str)], body: &[u8]| server.ask("POST", "/predict", headers, body).shown();
    let json = [("Content-Type", "application/json; charset=utf-8")];
    assert_snapshot!(plain(&[], b"{\"inputs\": \"a\"}"), @r#"415 {"error":"expected a request with `Content-Type: application/json`","error_type":"Validation"}"#);
    assert_snapshot!(plain(&json, b""), @r#"400 {"error":"the body is not valid JSON: EOF while parsing a value at line 1 column 0","error_type":"Validation"}"#);
    assert_snapshot!(plain(&json, b"{\"inputs\": \"\xff\"}"), @r#"400 {"error":"the body is not valid JSON: invalid unicode code point at line 1 column 13","error_type":"Validation"}"#);
    let deep = [&b"{\"inputs\": "[..], &[b'['; 10_000], &[b']'; 10_000], b"}"].concat();
    assert_snapshot!(plain(&json, &deep), @r#"400 {"error":"the body is not valid JSON: recursion limit exceeded at line 1 column 138","error_type":"Validation"}"#);
}

#[test]
fn classify_gives_the_decision_of_the_model() {
    let workspace = trained();
    multi_label(&workspace);
    let server = Server::start(&workspace, &["--model", "first=model", "--model", "several"]);
    let answer = server
        .post("/classify", &inputs(json!([GOOD, {"text": BAD, "text_pair": null}])))
        .json();
    assert_eq!(answer["model"], "first");
    let output = workspace.run_with_input(&["predict", "--quiet", "--model", "model"], &format!("{GOOD}\n{BAD}\n"));
    for (result, expected) in answer["results"].as_array().unwrap().iter().zip(output.json_lines()) {
        for key in ["label", "score", "scores"] {
            assert_eq!(result[key], expected[key], "{key}");
        }
        assert_eq!(
            (&result["abstained"], &result["truncated"]),
            (&json!(false), &json!(false))
        );
    }
    let long = vec!["good"; 30].join(" ");
    let one = server.post("/classify", &json!({"inputs": long, "top_k": 1})).json()["results"][0].clone();
    assert_eq!((&one["truncated"], &one["tokens"]), (&json!(true), &json!(16)));
    assert_eq!(one["scores"].as_object().unwrap().len(), 1);
    let several = server
        .post("/classify", &json!({"inputs": GOOD, "model": "several"}))
        .json();
    let output = workspace.run_with_input(&["predict", "--quiet", "--model", "several"], &format!("{GOOD}\n"));
    assert_eq!(several["results"][0]["label"], output.json_lines()[0]["label"]);
    assert!(
        several["results"][0]["label"]
            .as_array()
            .unwrap()
            .contains(&json!("pos"))
    );
    let said = |body: &Value| server.post("/classify", body).shown();
    assert_snapshot!(said(&inputs("")), @r#"400 {"error":"`inputs` cannot be empty","kind":"empty"}"#);
    assert_snapshot!(said(&inputs(json!([]))), @r#"400 {"error":"`inputs` cannot be empty","kind":"empty"}"#);
    assert_snapshot!(said(&inputs(json!([["a"]]))), @r#"422 {"error":"the body does not fit: `inputs` must be a text, {\"text\": ..., \"text_pair\": ...}, or a list of these","kind":"shape"}"#);
    assert_snapshot!(said(&json!({"inputs": "a", "topk": 1})), @r#"422 {"error":"the body does not fit: unknown field `topk`, expected one of `inputs`, `model`, `top_k`, `truncate`, `highlight`, `explain` at line 1 column 20","kind":"shape"}"#);
    assert_snapshot!(said(&json!({"inputs": "a", "model": "b"})), @r#"404 {"error":"there is no model `b`; there are: first, several","kind":"unknown_model"}"#);
    assert_snapshot!(server.get("/nowhere").shown(), @r#"404 {"error":"there is nothing at `/nowhere`","kind":"not_found"}"#);
    assert_snapshot!(server.get("/classify").shown(), @r#"405 {"error":"`/classify` is not answered here with another method","kind":"method_not_allowed"}"#);
}

#[test]
fn adapters_share_a_base() {
    let workspace = Workspace::with_base();
    for (name, seed) in [("one", "train.seed=1"), ("two", "train.seed=2")] {
        workspace.train(
            "reviews.csv",
            name,
            &[&["--set", "lora.rank=4", "--set", seed], &ENOUGH[..]].concat(),
        );
    }
    let server = Server::start(&workspace, &["--model", "one", "--model", "two", "--base", "base"]);
    for name in ["one", "two"] {
        let found = server.post("/classify", &json!({"inputs": GOOD, "model": name})).json();
        let output = workspace.run_with_input(&["predict", "--quiet", "--model", name], &format!("{GOOD}\n"));
        let (found, expected) = (&found["results"][0], &output.json_lines()[0]);
        assert_eq!(found["label"], expected["label"], "{name}");
        let difference = found["score"].as_f64().unwrap() - expected["score"].as_f64().unwrap();
        assert!(difference.abs() < 1e-3, "{name}: {found} {expected}");
    }
}

#[test]
fn explanations_and_highlights() {
    let workspace = trained();
    let server = Server::start(&workspace, &["--set", "explain.texts=2"]);
    let answer = server.post("/explain", &inputs(json!([GOOD, "배송 좋아요"]))).json();
    let map = &answer["results"][0]["maps"][0];
    assert_eq!(
        (&map["label"], &map["words"][4]["text"]),
        (&json!("pos"), &json!("good"))
    );
    assert_eq!(
        (&map["words"][4]["start"], &map["words"][4]["end"]),
        (&json!(19), &json!(23))
    );
    let word = &answer["results"][1]["maps"][0]["words"][1];
    assert_eq!(
        (&word["text"], &word["start"], &word["end"]),
        (&json!("좋아요"), &json!(3), &json!(6))
    );
    let marked = server
        .post("/classify", &json!({"inputs": GOOD, "highlight": true}))
        .json();
    let highlight = &marked["results"][0]["highlights"][0];
    assert_eq!(highlight["spans"][4]["score"], map["words"][4]["score"]);
    assert_eq!(highlight["best"], map["best"]);
    let both = json!({"inputs": GOOD, "explain": {"labels": ["neg", "pos"]}});
    let both = server.post("/classify", &both).json();
    assert_eq!(both["results"][0]["highlights"].as_array().unwrap().len(), 2);
    let said = |body: &Value| server.post("/explain", body).shown();
    assert_snapshot!(said(&json!({"inputs": GOOD, "labels": ["fine"]})), @r#"422 {"error":"`fine` is no label of the model\nhint: its labels are `neg`, `pos`","kind":"unfit"}"#);
    assert_snapshot!(said(&json!({"inputs": GOOD, "window": 0})), @r#"422 {"error":"window is 0, expected a number from 1 to 1000","kind":"unfit"}"#);
    assert_snapshot!(said(&json!({"inputs": GOOD, "windows": 1})), @r#"422 {"error":"the body does not fit: unknown field `windows`, expected one of `method`, `labels`, `drop`, `units`, `window`, `steps`","kind":"shape"}"#);
    assert_snapshot!(said(&json!({"inputs": GOOD, "method": "gradient_input"})), @r#"422 {"error":"this server answers `occlusion` only; explain.gradients lets it answer `gradient_input`","kind":"unfit"}"#);
    assert_snapshot!(said(&inputs(json!(["a", "b", "c"]))), @r#"413 {"error":"batch size 3 > maximum allowed batch size 2","kind":"too_many_texts"}"#);
    let gradients = Server::start(&workspace, &["--set", "explain.gradients=true"]);
    let body = json!({"inputs": GOOD, "method": "integrated_gradients"});
    let map = &gradients.post("/explain", &body).json()["results"][0]["maps"][0];
    assert!(map["completeness"]["error"].as_f64().unwrap().abs() < 0.1, "{map}");
}

#[test]
fn keys_are_asked_for() {
    let workspace = trained();
    workspace.write("keys", "shop = a-long-secret-1\nanother-secret-2\n");
    let mut server = Server::start_with(
        &workspace,
        &["--api-keys", "keys"],
        &[("GAREUM_SERVE_API_KEYS", "env=of-the-environment-3")],
    );
    let ask = |key: &str| {
        server
            .post_with("/classify", &[("Authorization", key)], &inputs(GOOD))
            .status
    };
    for key in [
        "Bearer a-long-secret-1",
        "bearer another-secret-2",
        "Bearer of-the-environment-3",
    ] {
        assert_eq!(ask(key), 200, "{key}");
    }
    for key in [
        "Bearer a-long-secret-",
        "Bearer shop",
        "a-long-secret-1",
        "Basic a-long-secret-1",
        "Bearer ",
    ] {
        assert_eq!(ask(key), 401, "{key}");
    }
    let refused = server.post("/predict", &inputs(GOOD));
    assert_snapshot!(refused.shown(), @r#"401 {"error":"an API key is needed: `Authorization: Bearer KEY`","error_type":"Validation"}"#);
    assert_eq!(refused.header("www-authenticate"), Some("Bearer"));
    for path in ["/", "/health", "/ready", "/metrics", "/openapi.json", "/assets/app.js"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    for path in [
        "/info",
        "/stats",
        "/models",
        "/models/model/metrics",
        "/models/model/report",
    ] {
        assert_eq!(server.get(path).status, 401, "{path}");
    }
    assert_eq!(server.post("/models/model/reload", &json!({})).status, 401);
    let key = [("Authorization", "Bearer another-secret-2")];
    assert_eq!(server.ask("POST", "/models/model/reload", &key, b"").status, 200);
    assert!(!server.log().contains("secret"), "keys are not logged");
    server.assert_alive();
    // Without keys nobody reloads.
    let open = Server::start(&workspace, &[]);
    assert_eq!(open.post("/models/model/reload", &json!({})).status, 401);
}

#[test]
fn callers_have_a_rate() {
    let workspace = trained();
    let flags = ["--set", "access.texts_per_second=0.5", "--set", "access.burst=3"];
    let server = Server::start_with(
        &workspace,
        &flags,
        &[("GAREUM_SERVE_API_KEYS", "secret-one,secret-two")],
    );
    let ask = |key: &str, texts: &[&str]| {
        let key = format!("Bearer {key}");
        server.post_with("/classify", &[("Authorization", &key)], &json!({"inputs": texts}))
    };
    assert_eq!(ask("secret-one", &[GOOD, BAD]).status, 200);
    let refused = ask("secret-one", &[GOOD, BAD]);
    assert_snapshot!(refused.shown(), @r#"429 {"error":"too many texts: 0.5 a second are allowed","kind":"rate_limited"}"#);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=2).contains(&wait), "{wait}");
    assert_eq!(ask("secret-two", &[GOOD, BAD]).status, 200, "another has its own");
}

#[test]
fn what_is_too_much_is_refused() {
    let workspace = trained();
    let flags = [
        "limits.body_bytes=1000",
        "limits.header_seconds=0.3",
        "limits.body_seconds=0.3",
        "limits.connections=20",
        "limits.texts=100",
    ];
    let flags: Vec<&str> = flags.iter().flat_map(|flag| ["--set", flag]).collect();
    let mut server = Server::start(&workspace, &flags);
    // A body that says how large it is, and one that does not.
    assert_snapshot!(server.post("/classify", &inputs("a".repeat(1000))).shown(), @r#"413 {"error":"the body has more than 1000 bytes","kind":"body_too_large"}"#);
    let chunk = format!("3e8\r\n{}\r\n", "a".repeat(1000));
    let head =
        "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let answer = server.ask_raw(format!("{head}{chunk}{chunk}0\r\n\r\n").as_bytes());
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    // A body that does not come, a head that does not, and a line that never ends.
    let head = "POST /classify HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let answer = server.ask_raw(head.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let begin = Instant::now();
    for start in ["", "GET", "GET /health HTTP/1.1\r\nHost: x\r\nX-"] {
        server.ask_raw(start.as_bytes());
    }
    assert!(begin.elapsed() < PATIENCE / 2, "slow clients are cut off");
    let answer = server.ask_raw(format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(200_000)).as_bytes());
    assert!(answer.starts_with("HTTP/1.1 4") || answer.is_empty(), "{answer}");
    for nonsense in [
        "\r\n\r\n\r\n",
        "hello\r\n\r\n",
        "GET / HTTP/9.9\r\n\r\n",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}",
        "POST /predict HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    ] {
        let answer = server.ask_raw(nonsense.as_bytes());
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 4"),
            "{nonsense:?}: {answer}"
        );
    }
    // More connections than there may be.
    let open: Vec<TcpStream> = (0..40).map(|_| TcpStream::connect(server.address).unwrap()).collect();
    let answer = server.ask_raw(b"GET /health HTTP/1.1\r\n\r\n");
    assert!(answer.is_empty() || answer.contains("too_many_connections"), "{answer}");
    drop(open);
    wait_for("connections are free again", || {
        let mut stream = TcpStream::connect(server.address).unwrap();
        let mut answer = String::new();
        let _ = stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let _ = std::io::Read::read_to_string(&mut stream, &mut answer);
        answer.starts_with("HTTP/1.1 200 ")
    });
    server.assert_alive();
}

#[test]
fn a_full_queue_is_429() {
    let workspace = trained();
    let flags = ["--set", "queue.max_tokens=20", "--set", "batch.wait_ms=300"];
    let server = Server::start(&workspace, &flags);
    let statuses = std::thread::scope(|scope| {
        let ask = || server.post("/predict", &inputs(GOOD));
        let all: Vec<_> = (0..12).map(|_| scope.spawn(ask)).collect();
        let all = all.into_iter().map(|one| one.join().unwrap());
        all.map(|answer| (answer.status, answer.header("retry-after").is_some(), answer.shown()))
            .collect::<Vec<_>>()
    });
    assert!(statuses.iter().any(|(status, ..)| *status == 200), "{statuses:?}");
    let refused: Vec<_> = statuses.iter().filter(|(status, ..)| *status != 200).collect();
    assert!(
        !refused.is_empty() && refused.iter().all(|(_, retry, _)| *retry),
        "{statuses:?}"
    );
    assert_snapshot!(refused[0].2, @r#"429 {"error":"Model is overloaded","error_type":"Overloaded"}"#);
    wait_for("the queue is empty again", || {
        server.get("/stats").json()["queue_tokens"] == 0
    });
    assert_eq!(server.post("/predict", &inputs(GOOD)).status, 200);
}

#[test]
fn a_model_is_replaced_under_load_and_no_request_is_lost() {
    let workspace = trained();
    let swapped: Vec<Vec<String>> = reviews()
        .into_iter()
        .map(|row| vec![row[0].clone(), if row[1] == "pos" { "like" } else { "hate" }.to_owned()])
        .collect();
    workspace.write("other.csv", csv(&["text", "label"], &swapped));
    workspace.train("other.csv", "other", &ENOUGH);
    let server = Server::start(&workspace, &["--set", "reload.seconds=0.1"]);
    let (stop, asked, new) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let copy = |file: &str, bytes: &[u8]| workspace.write(&format!("model/{file}"), bytes);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut connection = Connection::open(server.address);
                while !stop.load(Relaxed) {
                    let answer = connection
                        .post("/classify", &inputs(json!([GOOD, BAD])))
                        .expect("an answer");
                    assert_eq!(answer.status, 200, "{answer:?}");
                    let labels = answer.json()["results"].clone();
                    let labels = (labels[0]["label"].clone(), labels[1]["label"].clone());
                    let is_new = labels == (json!("like"), json!("hate"));
                    assert!(is_new || labels == (json!("pos"), json!("neg")), "{labels:?}");
                    asked.fetch_add(1, Relaxed);
                    new.fetch_add(usize::from(is_new), Relaxed);
                }
            });
        }
        wait_for("requests are answered", || asked.load(Relaxed) > 20);
        // Half of it is there: the old one stays, and says so.
        let weights = workspace.bytes("other/model.safetensors");
        copy("model.safetensors", &weights[..weights.len() / 2]);
        copy("config.json", &workspace.bytes("other/config.json"));
        let refused = "gareum_reloads_total{model=\"model\",result=\"refused\"} 1";
        wait_for("it is refused", || server.get("/metrics").text().contains(refused));
        assert!(server.log().contains("the old one stays"), "{}", server.log());
        assert_eq!(new.load(Relaxed), 0);
        for file in ["model.safetensors", "gareum.json", "tokenizer.json", "metrics.json"] {
            copy(file, &workspace.bytes(&format!("other/{file}")));
        }
        wait_for("the new one answers", || new.load(Relaxed) > 20);
        stop.store(true, Relaxed);
    });
    let models = server.get("/models").json();
    assert_eq!(models["models"][0]["labels"], json!(["hate", "like"]));
    let requests = server.get("/metrics").text();
    assert!(requests.contains(&format!(
        "gareum_requests_total{{route=\"/classify\",status=\"200\"}} {asked}",
        asked = asked.load(Relaxed)
    )));
}

#[test]
fn the_end_loses_no_request() {
    for signal in ["TERM", "INT"] {
        let workspace = trained();
        let mut server = Server::start(&workspace, &[]);
        let (address, answered) = (server.address, AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    loop {
                        // Refused: nobody listens any more, and nothing was sent.
                        let Ok(mut connection) = Connection::try_open(address) else {
                            return;
                        };
                        loop {
                            let Some(answer) = connection.post("/predict", &inputs(GOOD)) else {
                                // Taken by the system after the server had stopped listening.
                                return;
                            };
                            assert_eq!(answer.status, 200, "{answer:?}");
                            answered.fetch_add(1, Relaxed);
                            if answer.header("connection") == Some("close") {
                                break;
                            }
                        }
                    }
                });
            }
            wait_for("requests are answered", || answered.load(Relaxed) > 50);
            server.signal(signal);
        });
        assert_eq!(server.wait(), Some(0), "{}", server.log());
        let log = server.log();
        let logged = log
            .lines()
            .filter(|line| line.contains("route=\"/predict\"") && line.contains("status=200"));
        assert_eq!(
            logged.count(),
            answered.load(Relaxed),
            "all that were taken were answered"
        );
    }
}

#[test]
fn what_is_not_finished_in_time_is_cut_off_and_told() {
    let workspace = trained();
    let flags = ["--set", "shutdown.seconds=0.2", "--set", "batch.wait_ms=3000"];
    let mut server = Server::start(&workspace, &flags);
    let mut connection = Connection::open(server.address);
    connection.send(
        "POST",
        "/predict",
        &[("Content-Type", "application/json")],
        inputs(GOOD).to_string().as_bytes(),
    );
    wait_for("it is taken", || server.get("/stats").json()["in_flight"] == 2);
    server.signal("TERM");
    assert_eq!(server.wait(), Some(1), "{}", server.log());
    assert!(server.log().contains("1 requests were cut off"), "{}", server.log());
}

#[test]
fn models_tell_what_they_are() {
    let workspace = trained();
    workspace.succeed(&[
        "evaluate",
        "--quiet",
        "--model",
        "model",
        "--data",
        "reviews.csv",
        "--report",
        "model/report",
    ]);
    let server = Server::start(&workspace, &["--model", "a=model", "--model", "model"]);
    let models = server.get("/models").json();
    assert_eq!(
        (&models["default"], models["models"].as_array().unwrap().len()),
        (&json!("a"), 2)
    );
    let one = &models["models"][0];
    assert_eq!(
        (&one["task"], &one["labels"]),
        (&json!("single_label"), &json!(["neg", "pos"]))
    );
    assert_eq!((&one["max_length"], &one["has_report"]), (&json!(16), &json!(true)));
    assert!(one["card"].as_str().unwrap().contains("Text classifier"));
    assert_eq!(
        server.get("/models/a/metrics").json(),
        workspace.json("model/metrics.json")
    );
    let report = server.get("/models/a/report");
    assert_eq!(report.text(), workspace.text("model/report/index.html"));
    assert!(report.header("content-security-policy").unwrap().contains("sandbox"));
    assert_eq!(server.get("/models/b/metrics").status, 404);
    assert_eq!(server.get("/models/..%2f..%2fetc/report").status, 404);
    let info = server.get("/info").json();
    assert_eq!(
        (&info["models"], &info["max_input_length"]),
        (&json!(["a", "model"]), &json!(16))
    );
    assert_eq!(
        info["model_type"]["classifier"]["id2label"],
        json!({"0": "neg", "1": "pos"})
    );
    let page = server.get("/");
    assert!(page.text().starts_with("<!DOCTYPE html>"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.contains("default-src 'none'; script-src 'self'") && !policy.contains("unsafe"),
        "{policy}"
    );
}

#[test]
fn requests_are_counted_logged_and_named() {
    let workspace = trained();
    let flags = [
        "--set",
        "log.format=json",
        "--set",
        "cache.max_bytes=1000000",
        "--set",
        "samples.file=samples.jsonl",
        "--set",
        "samples.margin=1",
    ];
    let server = Server::start(&workspace, &flags);
    let named = server.post_with("/classify", &[("X-Request-Id", "my-id.1")], &inputs(GOOD));
    assert_eq!(named.header("x-request-id"), Some("my-id.1"));
    let again = server.post_with("/classify", &[("X-Request-Id", "a b\"c")], &inputs(GOOD));
    assert!(!again.header("x-request-id").unwrap().contains('"'), "{again:?}");
    assert_eq!(named.json(), again.json(), "kept");
    assert_eq!(server.post("/predict", &inputs("")).status, 400);
    let metrics = server.get("/metrics").text();
    for line in [
        "gareum_requests_total{route=\"/classify\",status=\"200\"} 2",
        "gareum_requests_total{route=\"/predict\",status=\"400\"} 1",
        "gareum_texts_total{model=\"model\"} 2",
        "gareum_cache_hits_total 1",
        "gareum_cache_misses_total 1",
        "gareum_batches_total 1",
        "gareum_queue_tokens 0",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}\n{metrics}");
    }
    let stats = server.get("/stats").json();
    assert_eq!((&stats["texts"], &stats["errors"]), (&json!(2), &json!(1)));
    let log = server.log();
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let line = lines.iter().find(|line| line["id"] == "my-id.1").unwrap();
    assert_eq!(
        (&line["route"], &line["status"], &line["texts"], &line["tokens"]),
        (&json!("/classify"), &json!(200), &json!(1), &json!(7))
    );
    assert!(!log.contains(GOOD), "texts are not logged");
    let samples = crate::workspace::json_lines(&workspace.text("samples.jsonl"));
    assert_eq!(
        (samples.len(), &samples[0]["text"], &samples[0]["label"]),
        (1, &json!(GOOD), &json!("pos"))
    );
    let told = Server::start(&workspace, &["--set", "log.texts=true"]);
    told.post("/classify", &inputs(GOOD));
    assert!(told.log().contains(GOOD));
}

/// What is answered is what `/openapi.json` says, also when something is wrong.
#[test]
fn answers_are_as_described() {
    let workspace = trained();
    multi_label(&workspace);
    workspace.write("keys", "a-long-secret-1\n");
    let server = Server::start(
        &workspace,
        &["--api-keys", "keys", "--model", "model", "--model", "several"],
    );
    let api = server.get("/openapi.json").json();
    let key = ("Authorization", "Bearer a-long-secret-1");
    let check = |method: &str, path: &str, described: &str, answer: &crate::server::Answer| {
        let operation = &api["paths"][described][method];
        let content = &operation["responses"][answer.status.to_string()]["content"]["application/json"]["schema"];
        assert!(
            content.is_object(),
            "{method} {path}: {} is not described",
            answer.status
        );
        let wrong = crate::server::schema::mistakes(&api, content, &answer.json(), path);
        assert!(wrong.is_empty(), "{wrong:#?}");
    };
    let asked = |path: &str, expected: u16, body: Value| {
        let answer = server.post_with(path, &[key], &body);
        assert_eq!(answer.status, expected, "{path} {body} {answer:?}");
        check("post", path, path, &answer);
        // What is answered well was asked as described.
        if expected == 200 {
            let request = &api["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"];
            let wrong = crate::server::schema::mistakes(&api, request, &body, path);
            assert!(wrong.is_empty(), "{wrong:#?}");
        }
    };
    for (path, expected, body) in [
        ("/predict", 200, inputs(GOOD)),
        (
            "/predict",
            200,
            json!({"inputs": [[GOOD], [GOOD, BAD]], "raw_scores": true, "truncate": true, "truncation_direction": "Left"}),
        ),
        ("/predict", 400, inputs("")),
        ("/predict", 404, json!({"inputs": "a", "model": "b"})),
        ("/predict", 422, inputs(json!([]))),
        ("/classify", 200, inputs(GOOD)),
        (
            "/classify",
            200,
            json!({"inputs": [GOOD, {"text": BAD, "text_pair": GOOD}], "model": "several", "top_k": 2, "highlight": true}),
        ),
        (
            "/classify",
            200,
            json!({"inputs": GOOD, "explain": {"labels": ["neg"], "drop": true, "units": "particles", "window": 3}}),
        ),
        ("/classify", 400, inputs("")),
        ("/classify", 422, json!({"inputs": GOOD, "top_k": -1})),
        (
            "/explain",
            200,
            json!({"inputs": [{"text": GOOD, "text_pair": vec!["bad"; 40].join(" ")}], "window": 2}),
        ),
        ("/explain", 422, json!({"inputs": GOOD, "labels": ["none"]})),
    ] {
        asked(path, expected, body);
    }
    for (path, described, expected) in [
        ("/models", "/models", 200),
        ("/models/model/metrics", "/models/{name}/metrics", 200),
        ("/models/none/metrics", "/models/{name}/metrics", 404),
        ("/models/none/report", "/models/{name}/report", 404),
        ("/info", "/info", 200),
        ("/stats", "/stats", 200),
        ("/health", "/health", 200),
        ("/ready", "/ready", 200),
        ("/openapi.json", "/openapi.json", 200),
        ("/assets/none.js", "/assets/{file}", 404),
    ] {
        let answer = server.ask("GET", path, &[key], b"");
        assert_eq!(answer.status, expected, "{path}");
        check("get", path, described, &answer);
    }
    let reloaded = server.ask("POST", "/models/model/reload", &[key], b"");
    check("post", "/models/model/reload", "/models/{name}/reload", &reloaded);
    check("post", "/predict", "/predict", &server.post("/predict", &inputs(GOOD)));
    check("get", "/info", "/info", &server.get("/info"));
}

#[test]
fn other_origins_are_let_in_by_name() {
    let workspace = trained();
    let server = Server::start(&workspace, &["--set", "access.cors=[\"https://shop.example\"]"]);
    let preflight = |origin: &str| {
        let headers = [
            ("Origin", origin),
            ("Access-Control-Request-Method", "POST"),
            ("Access-Control-Request-Headers", "content-type"),
        ];
        let answer = server.ask("OPTIONS", "/classify", &headers, b"");
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(
        preflight("https://shop.example").as_deref(),
        Some("https://shop.example")
    );
    assert_eq!(preflight("https://other.example"), None);
}

#[test]
fn settings_come_from_file_environment_and_flags() {
    let workspace = trained();
    workspace.write(
        "serve.toml",
        "port = 1\n[limits]\ntexts = 1\n[[model]]\nname = \"mine\"\npath = \"model\"\n",
    );
    let server = Server::start_with(
        &workspace,
        &["--config", "serve.toml"],
        &[("GAREUM_SERVE_LIMITS_TEXTS", "2")],
    );
    assert_eq!(server.post("/classify", &inputs(json!([GOOD, BAD]))).status, 200);
    assert_eq!(server.post("/classify", &inputs(json!([GOOD, BAD, GOOD]))).status, 413);
    assert_eq!(server.get("/models").json()["default"], "mine");
    let check = |flags: &[&str]| workspace.run(&[&["serve", "--check"], flags].concat());
    assert_eq!(check(&[&server.url]).code, 0);
    let port = server.address.port().to_string();
    let own = workspace.run(&["serve", "--port", &port, "--check"]);
    assert_eq!((own.code, own.stderr.contains("is ready")), (0, true), "{}", own.stderr);
    assert_eq!(check(&[&format!("{}/nowhere", server.url)]).code, 1);
}

#[test]
fn mistakes_are_told_before_anything_is_served() {
    let workspace = trained();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let fail = |flags: &[&str]| {
        let told = workspace.fail(&[&["serve", "--quiet", "--set", "log.level=off"], flags].concat());
        told.replace(&port, "PORT")
    };
    assert_snapshot!(fail(&[]), @"
        exit 2
        error: no model is named
        hint: --model DIR, [[model]] in serve.toml, or GAREUM_SERVE_MODELS
        ");
    assert_snapshot!(fail(&["--model", "nowhere"]), @"
        exit 2
        error: model `nowhere`: nowhere/config.json: No such file or directory (os error 2)
        hint: a model directory holds config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json (or vocab.txt)
        ");
    assert_snapshot!(fail(&["--model", "base"]), @"
        exit 2
        error: model `base`: base: the checkpoint has no classification head
        hint: train it first: gareum train --model base --train DATA
        ");
    assert_snapshot!(fail(&["--model", "model", "--model", "model"]), @"
        exit 2
        error: two models are called `model`
        hint: NAME=DIR gives each a name of its own
        ");
    assert_snapshot!(fail(&["--model", "model", "--port", &port]), @"
        exit 2
        error: cannot listen at 127.0.0.1:PORT: Address already in use (os error 98)
        hint: another --port, or 0 for a free one
        ");
    assert_snapshot!(fail(&["--model", "model", "--set", "limits.text=3"]), @"
        exit 2
        error: limits.text = 3: unknown field `text`, expected one of `body_bytes`, `texts`, `characters`, `auto_truncate`, `connections`, `header_seconds`, `body_seconds`
        hint: did you mean `texts`?
        ");
    assert_snapshot!(fail(&["--model", "model", "--config", "nowhere.toml"]), @"
        exit 2
        error: nowhere.toml: No such file or directory (os error 2)
        hint: --config names a TOML file, such as serve.toml
        ");
    assert_snapshot!(fail(&["--model", "model", "--api-keys", "nowhere"]), @"
        exit 2
        error: nowhere: cannot use these API keys: No such file or directory (os error 2)
        hint: a key a line, of at least 8 characters without blanks, with a name and `=` before it or not
        ");
    workspace.write("keys", "short\n");
    assert_snapshot!(fail(&["--model", "model", "--api-keys", "keys"]), @"
        exit 2
        error: keys: cannot use these API keys: line 1: `key 1` is shorter than 8 characters
        hint: a key a line, of at least 8 characters without blanks, with a name and `=` before it or not
        ");
    assert_snapshot!(fail(&["--model", "model", "--set", "tls.certificate=a.pem"]), @"
        exit 2
        error: tls.key is absent, expected a certificate and its key
        ");
    workspace.write("a.pem", "nothing\n");
    let tls = ["--set", "tls.certificate=a.pem", "--set", "tls.key=a.pem"];
    assert_snapshot!(fail(&[&["--model", "model"], &tls[..]].concat()), @"
        exit 2
        error: a.pem: cannot use this for TLS: there is no certificate in it
        hint: PEM files are needed: a certificate (with those it is signed by) and its private key
        ");
    assert_snapshot!(fail(&["--model", "model", "--set", "samples.file=no/where.jsonl"]), @"
        exit 2
        error: no/where.jsonl: cannot add samples: No such file or directory (os error 2)
        hint: samples.file names a file in a directory that exists
        ");
    assert_snapshot!(fail(&["--base", "base"]), @"
        exit 2
        error: --base is given without --model
        hint: in serve.toml, each [[model]] has a `base` of its own
        ");
    assert_snapshot!(fail(&["--check", "https://127.0.0.1"]), @"
        exit 2
        error: --check https://127.0.0.1: only http:// can be asked
        hint: behind TLS, a probe of the port will do
        ");
    assert_snapshot!(fail(&["--check", "http://127.0.0.1:1"]), @"
        exit 1
        error: http://127.0.0.1:1 does not answer: Connection refused (os error 111)
        ");
}

#[test]
fn tls_by_files() {
    let workspace = trained();
    let files = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/testsuite/server");
    let (certificate, key) = (
        format!("tls.certificate={files}/localhost.pem"),
        format!("tls.key={files}/localhost-key.pem"),
    );
    let mut server = Server::start(
        &workspace,
        &[
            "--set",
            &certificate,
            "--set",
            &key,
            "--set",
            "limits.header_seconds=0.5",
        ],
    );
    assert!(server.url.starts_with("https://"));
    // Who speaks no TLS, or nothing, is let go.
    for nonsense in ["GET /health HTTP/1.1\r\nHost: x\r\n\r\n", ""] {
        assert!(!server.ask_raw(nonsense.as_bytes()).contains("HTTP"));
    }
    let trust = format!("{files}/localhost.pem");
    let url = format!("{}/classify", server.url);
    let body = inputs(GOOD).to_string();
    let asked = Command::new("curl")
        .args([
            "--silent",
            "--show-error",
            "--cacert",
            &trust,
            "-H",
            "Content-Type: application/json",
            "-d",
            &body,
            &url,
        ])
        .output();
    match asked {
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(told.contains("\"label\":\"pos\""), "{told}");
        }
        Err(error) => println!("skipped: an answer over TLS, because curl does not run here: {error}"),
    }
    server.signal("TERM");
    assert_eq!(server.wait(), Some(0), "{}", server.log());
}

/// What README and docs/serve.md show for other languages, where the tools are here.
#[test]
fn the_examples_of_clients_run() {
    let workspace = trained();
    workspace.write("keys", "a-long-secret-1\n");
    let server = Server::start(&workspace, &["--api-keys", "keys"]);
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/clients");
    let can = |program: &str, arguments: &[&str]| {
        let tried = Command::new(program).args(arguments).output();
        tried.is_ok_and(|output| output.status.success())
    };
    let python = std::env::var("GAREUM_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let text = "the food was very \"good\" 😀";
    for (file, program, probe) in [
        ("curl.sh", "sh", vec!["-c", "curl --version"]),
        ("python_requests.py", python.as_str(), vec!["-c", "import requests"]),
        ("node_fetch.mjs", "node", vec!["-e", "fetch"]),
    ] {
        if !can(program, &probe) {
            println!(
                "skipped: {file}, because `{program} {}` does not run here",
                probe.join(" ")
            );
            continue;
        }
        let run = |key: &str| {
            let mut command = Command::new(program);
            command
                .arg(format!("{folder}/{file}"))
                .arg(text)
                .env("GAREUM_URL", &server.url)
                .env("GAREUM_KEY", key);
            command.output().unwrap()
        };
        let output = run("a-long-secret-1");
        let (stdout, stderr) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{file}\n{stdout}\n{stderr}");
        assert!(
            ["neg", "pos"].iter().any(|label| stdout.contains(label)),
            "{file}\n{stdout}"
        );
        let refused = run("wrong");
        let told = [refused.stdout, refused.stderr].concat();
        assert!(
            !refused.status.success() && String::from_utf8_lossy(&told).contains("API key"),
            "{file}"
        );
    }
}
