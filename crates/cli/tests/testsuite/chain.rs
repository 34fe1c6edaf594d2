//! Chains of a keyword and a sentiment model, end to end.

use crate::server::Server;
use crate::workspace::{Workspace, csv};
use serde_json::{Value, json};

const KEYWORDS: [&str; 4] = ["food", "service", "delivery", "price"];

/// A text with the sentiment of each of its keywords.
type Review = (String, Vec<(&'static str, &'static str)>);

/// Every pair of keywords, each liked and disliked, and texts about nothing.
fn reviews() -> Vec<Review> {
    let words = [
        ("positive", ["good", "great", "lovely"]),
        ("negative", ["bad", "awful", "poor"]),
    ];
    let mut reviews = Vec::new();
    for (number, (one, other)) in KEYWORDS
        .iter()
        .flat_map(|one| KEYWORDS.map(|other| (*one, other)))
        .enumerate()
    {
        for (first, first_words) in words {
            for (second, second_words) in words {
                let [word, next] = [first_words[number % 3], second_words[(number + 1) % 3]];
                if one == other {
                    reviews.push((format!("the {one} was very {word}"), vec![(one, first)]));
                    break;
                }
                let text = format!("the {one} was {word} , the {other} is {next} .");
                reviews.push((text, vec![(one, first), (other, second)]));
            }
        }
    }
    reviews.push(("a movie".to_owned(), Vec::new()));
    reviews.push(("the book".to_owned(), Vec::new()));
    reviews
}

fn lines(row: impl Fn(&Review) -> Value) -> String {
    reviews().iter().map(|review| row(review).to_string() + "\n").collect()
}

/// Objects in the order of the alphabet, as labels are.
fn annotated() -> String {
    lines(|(text, aspects)| {
        let aspects = aspects
            .iter()
            .map(|(keyword, sentiment)| json!({ "keyword": keyword, "sentiment": sentiment }));
        json!({ "text": text, "aspects": aspects.collect::<Vec<_>>() })
    })
}

const CHAIN: &str = r#"
[data]
train = "reviews.jsonl"
split = [0.7, 0.1, 0.2]
[model]
base = "base"
max_length = 32
[train]
epochs = 2
batch_size = 8
learning_rate = 0.02
precision = "f32"
[sentiment.train]
epochs = 3
[output]
dir = "out"
"#;

fn prepared() -> Workspace {
    let workspace = Workspace::with_base();
    workspace.write("reviews.jsonl", annotated());
    workspace.write("chain.toml", CHAIN);
    workspace
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

#[test]
fn two_models_learn_from_one_file() {
    let workspace = prepared();
    let trained = workspace.succeed(&["train", "--set", "keyword.train.epochs=12", "--json"]);
    assert!(trained.stderr.contains("settings: chain.toml"), "{}", trained.stderr);
    let metrics = &trained.json()["test"];
    assert_eq!(workspace.json("out/metrics.json")["test"], *metrics);
    assert!(number(&metrics["keyword_f1"]) > 0.7, "{metrics}");
    let pairs = &metrics["classification_report"]["micro avg"];
    assert_eq!(pairs["f1-score"], metrics["pair_f1"]);

    // Settings of both, of one, and of a flag.
    for (part, epochs) in [("keyword", 12), ("sentiment", 3)] {
        let settings = &workspace.json(&format!("out/{part}/gareum.json"))["settings"];
        assert_eq!(
            (&settings["train"]["epochs"], &settings["train"]["batch_size"]),
            (&json!(epochs), &json!(8))
        );
    }
    // Its models are models, and the rows of the parts are those of the chain.
    let rows = ["train", "validation", "test"].map(|part| {
        workspace
            .text(&format!("out/data/keyword-{part}.jsonl"))
            .lines()
            .count()
    });
    assert_eq!(rows.iter().sum::<usize>(), reviews().len());
    let keyword = [
        "evaluate",
        "--model",
        "out/keyword",
        "--data",
        "out/data/keyword-test.jsonl",
        "--json",
    ];
    let keyword = workspace.succeed(&keyword).json();
    assert_eq!(
        keyword["classification_report"]["micro avg"]["f1-score"],
        metrics["keyword_f1"]
    );
    let sentiment = [
        "evaluate",
        "--model",
        "out/sentiment",
        "--data",
        "out/data/sentiment-test.jsonl",
        "--json",
    ];
    let sentiment = workspace.succeed(&sentiment).json();
    assert_eq!(sentiment["accuracy"], metrics["sentiment_accuracy"]);

    // What is read is the text in its place.
    let first = workspace.text("out/data/sentiment-train.jsonl");
    let first: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    let text = first["text"].as_str().unwrap();
    assert!(
        text.starts_with("###입력: the ") && text.contains(" \n###키워드: "),
        "{text}"
    );

    // The whole file again, and what is written of it can be learnt from.
    let report = [
        "evaluate",
        "--model",
        "out",
        "--data",
        "reviews.jsonl",
        "--report",
        "report",
        "--json",
    ];
    let all = workspace.succeed(&report).json();
    assert_eq!(all["examples"], reviews().len());
    let told = workspace
        .succeed(&["evaluate", "--model", "out", "--data", "reviews.jsonl"])
        .stdout;
    assert!(told.contains("keywords with their sentiment, micro F1: "), "{told}");
    let predict = [
        "predict",
        "--model",
        "out",
        "--input",
        "reviews.jsonl",
        "--output",
        "predicted.jsonl",
    ];
    workspace.succeed(&predict);
    assert_eq!(
        workspace.text("predicted.jsonl"),
        workspace.text("report/predictions.jsonl")
    );
    for row in crate::workspace::json_lines(&workspace.text("predicted.jsonl")) {
        let labels = row["label"].as_array().unwrap();
        for (label, aspect) in labels.iter().zip(row["aspects"].as_array().unwrap()) {
            let name = |key: &str| aspect[key].as_str().unwrap().to_owned();
            assert_eq!(*label, format!("{} {}", name("keyword"), name("sentiment")));
            assert_eq!(aspect["probability"], row["keywords"][name("keyword")]);
            let scores = aspect["scores"].as_object().unwrap();
            assert_eq!(aspect["score"], scores[&name("sentiment")]);
            assert!((scores.values().map(number).sum::<f64>() - 1.0).abs() < 1e-6);
        }
    }
    // A text alone is asked for as it stands in the file.
    workspace.write("one.txt", "the food was good , the price is bad .\n\n");
    let one = workspace
        .succeed(&["predict", "--model", "out", "--input", "one.txt"])
        .json_lines();
    assert!(one[0]["aspects"].is_array() && one[1]["aspects"].is_null(), "{one:?}");
}

/// However the same is written, the same rows are learnt from.
#[test]
fn aspects_are_strings_or_columns_too() {
    let workspace = prepared();
    let sign = |sentiment: &str| if sentiment == "positive" { "1" } else { "-1" };
    workspace.write(
        "signs.jsonl",
        lines(|(text, aspects)| {
            let aspects = aspects.iter().map(|(category, sentiment)| {
                let polarity: i64 = sign(sentiment).parse().unwrap();
                json!({ "category": category, "polarity": polarity })
            });
            json!({ "text": text, "aspects": aspects.collect::<Vec<_>>() })
        }),
    );
    // An empty field says that nothing is known of a text, `[]` that it speaks of nothing.
    let joined = |(text, aspects): &Review| {
        let aspects: Vec<String> = aspects
            .iter()
            .map(|(keyword, sentiment)| format!("{keyword} {}", sign(sentiment)))
            .collect();
        let aspects = if aspects.is_empty() {
            "[]".to_owned()
        } else {
            aspects.join(", ")
        };
        vec![text.clone(), aspects]
    };
    workspace.write(
        "strings.csv",
        csv(&["text", "aspects"], &reviews().iter().map(joined).collect::<Vec<_>>()),
    );
    let wide = |(text, aspects): &Review| {
        let cell = |keyword: &str| {
            aspects
                .iter()
                .find(|(other, _)| *other == keyword)
                .map_or("", |(_, sentiment)| sign(sentiment))
        };
        [
            vec![text.clone()],
            KEYWORDS.map(|keyword| cell(keyword).to_owned()).to_vec(),
        ]
        .concat()
    };
    let header = [&["text"], &KEYWORDS[..]].concat();
    workspace.write(
        "wide.csv",
        csv(&header, &reviews().iter().map(wide).collect::<Vec<_>>()),
    );
    let columns = [
        "--set",
        "data.polarities=true",
        "--set",
        "data.label=[\"food\",\"service\",\"delivery\",\"price\"]",
    ];
    let short = ["--set", "train.max_steps=1"];
    let mut files = Vec::new();
    for (file, output, columns) in [
        ("signs.jsonl", "of-signs", &[][..]),
        ("strings.csv", "of-strings", &[]),
        ("wide.csv", "of-wide", &columns),
    ] {
        workspace.succeed(&[&["train", "--train", file, "--output", output][..], &short, columns].concat());
        let parts = ["keyword", "sentiment"].map(|part| {
            let text = workspace.text(&format!("{output}/data/{part}-train.jsonl"));
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort();
            lines
        });
        files.push(parts);
    }
    assert_eq!(files[0], files[1]);
    assert_eq!(files[0], files[2]);
}

#[test]
fn one_model_can_do_both() {
    let workspace = prepared();
    let settings = ["--set", "kind=pairs", "--epochs", "20", "--output", "pairs", "--json"];
    let metrics = workspace.succeed(&[&["train"], &settings[..]].concat()).json();
    assert!(number(&metrics["test"]["keyword_f1"]) > 0.5, "{metrics}");
    assert!(workspace.path("pairs/pairs/config.json").exists() && !workspace.path("pairs/keyword").exists());
    // Its F1 is what the model alone has on keywords with their sentiment.
    let alone = [
        "evaluate",
        "--model",
        "pairs/pairs",
        "--data",
        "pairs/data/pairs-test.jsonl",
        "--json",
    ];
    let alone = workspace.succeed(&alone).json();
    let chain = workspace
        .succeed(&[
            "evaluate",
            "--model",
            "pairs",
            "--data",
            "pairs/data/pairs-test.jsonl",
            "--json",
        ])
        .json();
    assert_eq!(chain["pair_f1"], metrics["test"]["pair_f1"]);
    assert!(
        (number(&alone["classification_report"]["micro avg"]["recall"]) - number(&chain["pair_recall"])).abs() < 0.35
    );
    let predicted = workspace
        .succeed(&["predict", "--model", "pairs", "--input", "reviews.jsonl"])
        .json_lines();
    assert_eq!(predicted.len(), reviews().len());
}

/// What was done is not done again, and what is done again comes out the same.
#[test]
fn a_chain_is_taken_up_where_it_was() {
    let workspace = prepared();
    workspace.succeed(&["train"]);
    let [keyword, sentiment] =
        ["keyword", "sentiment"].map(|part| workspace.bytes(&format!("out/{part}/model.safetensors")));
    let metrics = workspace.bytes("out/metrics.json");
    std::fs::remove_dir_all(workspace.path("out/sentiment")).unwrap();
    std::fs::remove_file(workspace.path("out/chain.toml")).unwrap();
    let told = workspace.succeed(&["train", "--resume"]).stderr;
    assert!(
        told.contains("keyword model: trained already, in out/keyword"),
        "{told}"
    );
    assert_eq!(keyword, workspace.bytes("out/keyword/model.safetensors"));
    assert_eq!(sentiment, workspace.bytes("out/sentiment/model.safetensors"));
    assert_eq!(metrics, workspace.bytes("out/metrics.json"));

    // A model of other settings is not the one that is to be trained, nor is one that an earlier run left behind.
    let trained = |text: &str| text.matches("trained already").count();
    let other = ["--resume", "--set", "sentiment.train.epochs=4"];
    let told = workspace.succeed(&[&["train"], &other[..]].concat()).stderr;
    assert_eq!(trained(&told), 1, "{told}");
    assert!(told.contains("keyword model: trained already"), "{told}");
    workspace.succeed(&["train"]);
    std::fs::remove_dir_all(workspace.path("out/keyword")).unwrap();
    workspace.write("out/keyword", "in the way");
    workspace.fail(&["train"]);
    assert!(
        !workspace.path("out/chain.toml").exists(),
        "half of another run is no chain"
    );
    std::fs::remove_file(workspace.path("out/keyword")).unwrap();
    let told = workspace.succeed(&["train", "--resume"]).stderr;
    assert_eq!(trained(&told), 0, "{told}");

    insta::assert_snapshot!(workspace.fail(&["train", "--resume", "base"]), @"
    exit 2
    settings: chain.toml
    reviews.jsonl: 58 rows (JSON lines), text `text`, label `aspects.keyword`, `aspects.sentiment`
    multi_label: 8 labels; 40 training, 5 validation, 13 test rows
    4 keywords: delivery, food, price, service; sentiments: negative, positive
    error: --resume base: no directory of the chain in out
    hint: --resume alone goes on with what is there
    ");
    let told = workspace.succeed(&["train", "--resume", "out/keyword"]).stderr;
    assert_eq!(trained(&told), 2, "{told}");
}

/// What does not pass its gate leaves nothing of the chain behind.
#[test]
fn half_a_chain_is_not_compressed() {
    let workspace = prepared();
    workspace.succeed(&["train"]);
    // No such rows: the second model cannot be judged.
    std::fs::remove_file(workspace.path("out/data/sentiment-validation.jsonl")).unwrap();
    let compress = ["compress", "--model", "out", "--to", "int8", "--gate", "100,100"];
    let fail = |output: &str| workspace.run(&[&compress[..], &["--output", output]].concat());
    let failed = fail("small");
    assert_eq!(failed.code, 2, "{}", failed.stderr);
    assert!(!workspace.path("small").exists());
    std::fs::create_dir(workspace.path("there")).unwrap();
    workspace.write("there/notes.txt", "kept");
    assert_ne!(fail("there").code, 0);
    assert_eq!(workspace.text("there/notes.txt"), "kept");
    assert!(!workspace.path("there/keyword").exists());
}

/// Everything that takes a model takes a chain.
#[test]
fn a_chain_is_compressed_and_explained() {
    let workspace = prepared();
    workspace.succeed(&["train", "--set", "keyword.train.epochs=12"]);
    let compress = [
        "compress", "--to", "int8", "--model", "out", "--output", "small", "--gate", "100,100",
    ];
    workspace.succeed(&compress);
    for part in ["keyword", "sentiment"] {
        assert_eq!(
            workspace.json(&format!("small/{part}/config.json"))["quantization_config"]["format"],
            "int-quantized"
        );
        assert!(workspace.path(format!("small/{part}/compression.json")).exists());
    }
    let figure = |model: &str| {
        let evaluate = ["evaluate", "--model", model, "--data", "reviews.jsonl", "--json"];
        number(&workspace.succeed(&evaluate).json()["keyword_f1"])
    };
    assert!((figure("out") - figure("small")).abs() < 0.2);

    let text = "the food was good , the price is bad .";
    for method in ["occlusion", "integrated-gradients"] {
        let explain = [
            "explain", "--model", "out", "--text", text, "--method", method, "--labels", "food", "--labels", "price",
            "--json",
        ];
        let explained = workspace.succeed(&explain).json_lines();
        let maps = explained[0]["maps"].as_array().unwrap();
        assert_eq!((explained[0]["text"].as_str(), maps.len()), (Some(text), 2));
        for (map, keyword) in maps.iter().zip(["food ", "price "]) {
            assert!(map["label"].as_str().unwrap().starts_with(keyword), "{map}");
            // The words of the text and no others, where they stand in it.
            let words = map["words"].as_array().unwrap().iter();
            let found: Vec<&str> = words.clone().map(|word| word["text"].as_str().unwrap()).collect();
            assert_eq!(found, text.split(' ').collect::<Vec<_>>());
            for word in words {
                let place = |key: &str| word[key].as_u64().unwrap() as usize;
                assert_eq!(&text[place("start")..place("end")], word["text"].as_str().unwrap());
            }
        }
    }
    insta::assert_snapshot!(
        workspace.fail(&["explain", "--model", "out", "--text", text, "--labels", "taste"]),
        @r"
        exit 2
        error: `taste` is no label of the model
        hint: its labels are `delivery`, `food`, `price`, `service`
        "
    );
}

/// What is served is what is predicted and explained.
#[test]
fn a_chain_is_served() {
    let workspace = prepared();
    workspace.succeed(&["train", "--set", "keyword.train.epochs=12"]);
    let texts = [
        "the food was good , the price is bad .",
        "the service was very poor",
        "a movie",
    ];
    workspace.write("texts.txt", texts.join("\n"));
    let predicted = workspace
        .succeed(&["predict", "--model", "out", "--input", "texts.txt"])
        .json_lines();
    let samples = ["--set", "samples.file=samples.jsonl", "--set", "samples.margin=1"];
    let server = Server::start(&workspace, &[&["--model", "reviews=out"], &samples[..]].concat());
    // What is kept of one model is no answer of the other, whatever the text.
    for keyword in KEYWORDS {
        let question = format!("###입력: {} \n###키워드: {keyword}", texts[0]);
        let keywords = server.post("/predict", &json!({ "inputs": question })).json();
        assert_eq!(keywords.as_array().unwrap().len(), KEYWORDS.len());
    }
    let api = server.get("/openapi.json").json();
    let described = |path: &str, method: &str, answer: &Value| {
        let responses = &api["paths"][path][method]["responses"]["200"];
        let wrong =
            crate::server::schema::mistakes(&api, &responses["content"]["application/json"]["schema"], answer, path);
        assert!(wrong.is_empty(), "{wrong:#?}");
    };
    let models = server.get("/models").json();
    described("/models", "get", &models);
    let model = &models["models"][0];
    assert_eq!(
        (&model["kind"], &model["sentiments"]),
        (&json!("chain"), &json!(["negative", "positive"]))
    );
    assert_eq!(model["labels"].as_array().unwrap().len(), KEYWORDS.len());

    let answer = server
        .post("/classify", &json!({ "inputs": texts, "highlight": true }))
        .json();
    described("/classify", "post", &answer);
    for (result, row) in answer["results"].as_array().unwrap().iter().zip(&predicted) {
        assert_eq!(result["label"], row["label"]);
        let aspects = result["aspects"]
            .as_array()
            .unwrap()
            .iter()
            .zip(row["aspects"].as_array().unwrap());
        for (aspect, expected) in aspects {
            for key in ["probability", "score"] {
                assert!(
                    (number(&aspect[key]) - number(&expected[key])).abs() < 1e-3,
                    "{aspect} {expected}"
                );
            }
            let map = &aspect["highlights"][0];
            assert_eq!(
                map["label"],
                format!(
                    "{} {}",
                    aspect["keyword"].as_str().unwrap(),
                    aspect["sentiment"].as_str().unwrap()
                )
            );
        }
    }
    let explained = server
        .post("/explain", &json!({ "inputs": texts[0], "labels": ["food"] }))
        .json();
    described("/explain", "post", &explained);
    assert_eq!(
        explained["results"][0]["maps"][0]["words"].as_array().unwrap().len(),
        10
    );
    assert_eq!(
        server
            .post("/explain", &json!({ "inputs": texts[0], "labels": ["taste"] }))
            .status,
        422
    );
    // A sample is labelled by the model that was not sure of it.
    let samples = crate::workspace::json_lines(&workspace.text("samples.jsonl"));
    let of = |labels: &Value| {
        let scores = samples.iter().map(|sample| sample["scores"].as_object().unwrap());
        let labels = labels.as_array().unwrap();
        scores.filter(|scores| scores.keys().eq(labels.iter())).count()
    };
    let (keywords, sentiments) = (of(&model["labels"]), of(&model["sentiments"]));
    assert!(keywords > 0 && sentiments > 0, "{samples:?}");
    assert_eq!(keywords + sentiments, samples.len());
    // Its keywords alone, as text-embeddings-inference would tell them.
    let scores = server.post("/predict", &json!({ "inputs": texts[0] })).json();
    assert_eq!(scores.as_array().unwrap().len(), KEYWORDS.len());
}

/// Models that were trained by themselves, put together by hand.
#[test]
fn parts_are_named_in_a_file() {
    let workspace = prepared();
    workspace.succeed(&["train"]);
    workspace.write(
        "mine.toml",
        "template = \"###입력: {text} \\n###키워드: {keyword}\"\n[parts]\nkeyword = \"out/keyword\"\nsentiment = \"out/sentiment\"\n",
    );
    let predict = |model: &str| {
        workspace
            .succeed(&["predict", "--quiet", "--model", model, "--input", "reviews.jsonl"])
            .stdout
    };
    assert_eq!(predict("mine.toml"), predict("out"));
    workspace.write(
        "mixed.toml",
        "[parts]\nkeyword = \"out/sentiment\"\nsentiment = \"out/sentiment\"\n",
    );
    let refused = workspace.fail(&["predict", "--model", "mixed.toml", "--input", "reviews.jsonl"]);
    insta::assert_snapshot!(refused, @r"
    exit 2
    error: out/sentiment: the keyword model of a chain is multi_label, this one is single_label
    hint: see `parts` in chain.toml
    ");
}

#[test]
fn what_is_no_chain_is_named() {
    let workspace = prepared();
    let fail = |more: &[&str]| workspace.fail(&[&["train", "--quiet"], more].concat());
    insta::assert_snapshot!(fail(&["--set", "template={text}"]), @r"
    exit 2
    error: template is `{text}`, expected {text} and {keyword}, each once, in it or in template_pair
    ");
    insta::assert_snapshot!(fail(&["--set", "keyword.train.epoch=3"]), @r"
    exit 2
    error: chain.toml [keyword]: unknown field `epoch`, expected one of `epochs`, `max_steps`, `batch_size`, `micro_batch_tokens`, `memory`, `checkpoint_activations`, `learning_rate`, `layer_decay`, `freeze_embeddings`, `freeze_layers`, `head_only`, `weight_decay`, `warmup_ratio`, `schedule`, `class_weights`, `label_smoothing`, `focal_gamma`, `max_grad_norm`, `precision`, `seed`, `logging_steps`, `eval_steps`, `save_steps`, `save_total_limit`, `early_stopping`
    hint: did you mean `epochs`?
    ");
    insta::assert_snapshot!(fail(&["--set", "keyword.data.seed=3"]), @r"
    exit 2
    error: keyword.data is given, expected [data] of the chain: both models learn from one file
    ");
    insta::assert_snapshot!(fail(&["--set", "kind=both"]), @r"
    exit 2
    error: chain.toml: unknown variant `both`, expected `chain` or `pairs`
    ");
    insta::assert_snapshot!(fail(&["--seeds", "2"]), @r"
    exit 2
    error: --seeds is for single models, and this is a chain
    hint: train the chain once, then its models by themselves on the files in out/data
    ");
    workspace.write("labels.csv", "text,label\ngood,food\nbad,\"food, price\"\nfine,price\n");
    insta::assert_snapshot!(fail(&["--train", "labels.csv", "--set", "data.split=[1, 0, 0]"]), @r"
    exit 2
    error: labels.csv: the label `food` is no keyword with a sentiment
    hint: write `배송 -1`, or objects with a `keyword` and a `sentiment`; with one column for each keyword set data.polarities = true and name them all in data.label
    ");
    workspace.write("odd.jsonl", "{\"text\":\"good\",\"aspects\":[{\"keyword\":\"food\"}]}\n{\"text\":\"bad\",\"aspects\":[{\"keyword\":\"food\",\"sentiment\":\"bad\"}]}\n");
    insta::assert_snapshot!(fail(&["--train", "odd.jsonl"]), @r#"
    exit 2
    error: odd.jsonl:1: row 1, column `aspects.keyword`: found `["food"]`, expected as many sentiments as keywords, each a name or a number
    hint: each object needs a keyword and a sentiment
    "#);
    workspace.write("chain.toml", CHAIN.replace("[sentiment.train]", "[sentimental.train]"));
    insta::assert_snapshot!(fail(&[]), @r"
    exit 2
    error: chain.toml: unknown field `sentimental`, expected one of `kind`, `template`, `template_pair`, `data`, `output`, `parts`, `keyword`, `sentiment`, `model`, `train`, `lora`, `distillation`, `decision`
    hint: did you mean `sentiment`?
    ");
}
