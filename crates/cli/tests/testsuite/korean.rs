//! What is shown to people in Korean. Every error of `bad_input.rs` is also checked to be Korean, by [`Workspace::fail`].

use crate::workspace::{ENVIRONMENT, Workspace, assert_korean, training};
use assert_cmd::Command;
use insta::assert_snapshot;

/// Runs a command in a locale; its exit code and what it said on standard error.
fn in_locale(variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let workspace = Workspace::new();
    let output = Command::new(env!("CARGO_BIN_EXE_gareum"))
        .current_dir(workspace.path(""))
        .envs(ENVIRONMENT)
        .env_remove("LC_ALL")
        .envs(variables.iter().copied())
        .args(arguments)
        .output()
        .unwrap();
    let code = output.status.code().unwrap();
    format!("exit {code}\n{}", String::from_utf8(output.stderr).unwrap())
}

#[test]
fn the_locale_chooses_and_the_flag_overrides() {
    let predict = ["predict", "--model", "model"];
    assert_snapshot!(in_locale(&[("LANG", "ko_KR.UTF-8")], &predict), @"
        exit 2
        오류: model/config.json: 파일이나 디렉터리가 없습니다 (os error 2)
        도움말: 모델 디렉터리에는 config.json, model.safetensors(또는 pytorch_model.bin), tokenizer.json(또는 vocab.txt)이 있어야 합니다
        ");
    assert_snapshot!(in_locale(&[("LANG", "ko_KR.UTF-8"), ("LC_ALL", "C.UTF-8")], &predict), @"
        exit 2
        error: model/config.json: No such file or directory (os error 2)
        hint: a model directory holds config.json, model.safetensors (or pytorch_model.bin) and tokenizer.json (or vocab.txt)
        ");
    assert_snapshot!(in_locale(&[("LC_MESSAGES", "ko_KR.UTF-8"), ("LC_ALL", ""), ("LANG", "en_US.UTF-8")], &["evaluate"]), @"
    exit 2
    오류: 필수 인수가 빠졌습니다:
      --model <DIR|NAME>
      --data <FILE>

    사용법: gareum evaluate --model <DIR|NAME> --data <FILE>

    자세한 내용은 '--help' 옵션으로 볼 수 있습니다.
    ");
    assert_snapshot!(in_locale(&[("LANG", "ko_KR.UTF-8")], &["--lang=en", "evaluate"]), @"
    exit 2
    error: the following required arguments were not provided:
      --model <DIR|NAME>
      --data <FILE>

    Usage: gareum evaluate --model <DIR|NAME> --data <FILE>

    For more information, try '--help'.
    ");
    assert_snapshot!(in_locale(&[("LANG", "en_US.UTF-8")], &["evaluate", "--lang", "ko"]), @"
    exit 2
    오류: 필수 인수가 빠졌습니다:
      --model <DIR|NAME>
      --data <FILE>

    사용법: gareum evaluate --model <DIR|NAME> --data <FILE> --lang <LANGUAGE>

    자세한 내용은 '--help' 옵션으로 볼 수 있습니다.
    ");
    assert_snapshot!(in_locale(&[("LANG", "ko_KR.UTF-8")], &["evaluate", "--lang", "fr"]), @"
        exit 2
        오류: '--lang <LANGUAGE>'에 쓸 수 없는 값입니다: 'fr'
          [가능한 값: en, ko]

        자세한 내용은 '--help' 옵션으로 볼 수 있습니다.
        ");
    assert_snapshot!(in_locale(&[("LANG", "en_US.UTF-8")], &["evaluate", "--lang", "fr"]), @"
        exit 2
        error: invalid value 'fr' for '--lang <LANGUAGE>'
          [possible values: en, ko]

        For more information, try '--help'.
        ");
}

#[test]
fn wrong_arguments() {
    let korean = |arguments: &[&str]| {
        let finished = Workspace::new().run(&[&["--lang", "ko"], arguments].concat());
        assert_korean(&finished.stderr, arguments);
        format!("exit {}\n{}", finished.code, finished.stderr)
    };
    assert_snapshot!(korean(&["evaluate", "--model", "model", "--dta", "a.csv"]), @"
    exit 2
    오류: 알 수 없는 인수: '--dta'

      도움말: 비슷한 인수가 있습니다: '--data'

    사용법: gareum evaluate --model <DIR|NAME> --data <FILE>

    자세한 내용은 '--help' 옵션으로 볼 수 있습니다.
    ");
    assert_snapshot!(korean(&["train", "--epochs", "--model", "base"]), @"
        exit 2
        오류: '--epochs <N>'에 값이 있어야 합니다

        자세한 내용은 '--help' 옵션으로 볼 수 있습니다.
        ");
    assert_snapshot!(korean(&["train", "--epochs", "1", "--epochs", "2"]), @"
        exit 2
        오류: 인수는 한 번만 쓸 수 있습니다: '--epochs <N>'

        사용법: gareum train [OPTIONS] [gareum.toml]

        자세한 내용은 '--help' 옵션으로 볼 수 있습니다.
        ");
    assert_snapshot!(korean(&["predict", "--model", "model", "--top-k", "-1"]), @"
    exit 2
    오류: 알 수 없는 인수: '-1'

    사용법: gareum predict [OPTIONS] --model <DIR|NAME>

    자세한 내용은 '--help' 옵션으로 볼 수 있습니다.
    ");
    assert_snapshot!(korean(&["quickstart", "here"]), @"
        exit 2
        오류: 알 수 없는 인수: 'here'

        사용법: gareum quickstart [OPTIONS]

        자세한 내용은 '--help' 옵션으로 볼 수 있습니다.
        ");
    assert_snapshot!(korean(&["train", "--quiet=yes"]), @"
        exit 2
        오류: '--quiet'에 값이 너무 많습니다: 'yes'

        사용법: gareum train --quiet [gareum.toml]

        자세한 내용은 '--help' 옵션으로 볼 수 있습니다.
        ");
}

#[test]
fn help_of_the_program() {
    let finished = Workspace::new().succeed(&["--help", "--lang", "ko"]);
    assert_eq!(finished.stderr, "");
    assert_snapshot!(finished.stdout, @"
    라벨이 붙은 텍스트로 분류기를 학습하고, 평가하고, 바로 씁니다

    사용법: gareum [OPTIONS] <COMMAND>

    명령:
      quickstart  내장된 예제 데이터로 작은 모델을 학습하고 평가하고 써 봅니다 (오프라인, 1분쯤)
      init        설정, 예제 데이터, README가 든 프로젝트 폴더를 만듭니다
      inspect     학습하기 전에 라벨 데이터가 어떤지 알려 줍니다: 라벨, 길이, 중복, 누출, 결함
      train       라벨이 붙은 텍스트로 체크포인트를 미세 조정합니다
      sweep       설정을 여러 가지로 바꿔 학습하고 결과를 견주어 가장 좋은 설정을 남깁니다
      evaluate    라벨이 붙은 텍스트로 모델을 평가합니다
      compare     모델과 예측 파일을 같은 행으로 비교합니다: 어느 쪽이 나은지, 우연은 아닌지, 어떤 행이
                  달라졌는지
      calibrate   라벨이 붙은 텍스트로 모델의 온도와 임계값을 맞추어 모델과 함께 저장합니다
      predict     파일이나 표준 입력의 텍스트에 라벨을 붙입니다
      explain     모델이 어떤 단어를 보고 그렇게 판단했는지 알려 줍니다
      serve       프로그램은 HTTP로, 사람은 웹 화면에서 쓸 수 있게 모델을 띄웁니다
      compress    같은 일을 하는 더 작고 빠른 모델을 만듭니다. 기준을 넘지 못하면 쓰지 않습니다
      export      다른 곳에서 실행할 수 있는 형식으로 모델을 씁니다
      merge       어댑터를 기반 모델과 합쳐 일반 모델로 만듭니다
      bench       이 컴퓨터에서 모델이 얼마나 빠른지, 프로세서가 어디까지 낼 수 있는지 측정합니다
      doctor      이 컴퓨터의 사양과 gareum이 쓰는 방식, 더 낫게 할 점을 알려 줍니다
      help        이 도움말이나 명령의 도움말을 보여 줍니다

    공통 옵션:
      -q, --quiet            진행 상황과 알림을 생략하고 결과와 오류만 보여 줍니다
          --json             결과를 표준 출력에 JSON으로 씁니다
          --threads <N>      사용할 스레드 수 [기본값: 모든 코어]
          --offline          네트워크를 쓰지 않습니다. 허브의 모델과 데이터는 전에 받아 둔 것이어야
                             합니다
          --lang <LANGUAGE>  메시지와 도움말의 언어 [기본값: 로캘의 언어] [가능한 값: en, ko]

    옵션:
      -h, --help     도움말을 보여 줍니다
      -V, --version  버전을 보여 줍니다
    ");
    assert_eq!(
        Workspace::new().succeed(&["--lang", "ko", "help"]).stdout,
        finished.stdout
    );
    let korean = [("LANG", "ko_KR.UTF-8")];
    assert_eq!(in_locale(&korean, &[]), format!("exit 2\n{}", finished.stdout));
}

#[test]
fn help_of_a_command() {
    let finished = Workspace::new().succeed(&["train", "--help", "--lang", "ko"]);
    assert_snapshot!(finished.stdout, @"
    라벨이 붙은 텍스트로 체크포인트를 미세 조정합니다

    사용법: gareum train [OPTIONS] [gareum.toml]

    인수:
      [gareum.toml]  설정 파일. 명령줄 옵션이 우선합니다 [기본값: 이 폴더에 gareum.toml 파일이 있으면 그
                     파일]

    옵션:
          --model <DIR|NAME>      학습을 시작할 체크포인트: 디렉터리(config.json, model.safetensors 또는
                                  pytorch_model.bin, tokenizer.json 또는 vocab.txt), 또는 klue/bert-base
                                  같은 허브 저장소 이름
          --revision <REVISION>   허브 저장소의 브랜치, 태그 또는 커밋 [기본값: main]
          --train <FILE>          학습할 라벨 데이터: csv, tsv, json, jsonl(.gz도 가능), parquet, 또는
                                  hf://소유자/이름/서브셋/분할
          --validation <FILE>     가장 좋은 가중치를 고를 검증 데이터 [기본값: --train에서 나눔]
          --test <FILE>           결과를 평가할 테스트 데이터 [기본값: --train에서 나눔]
          --text <COLUMN>         텍스트 열. --stack 옵션과 함께 여러 번 줄 수 있습니다 [기본값: 자동
                                  감지]
          --stack                 --text 열마다 예제를 하나씩 만들고 그 행의 라벨을 붙입니다
          --text-pair <COLUMN>    텍스트 쌍의 두 번째 텍스트 열 [기본값: 자동 감지]
          --label <COLUMN>        라벨 열. 라벨마다 0/1 열이 따로 있으면 여러 번 씁니다 [기본값: 자동
                                  감지]
          --label-map <FILE>      라벨 이름이 든 파일: `0,negative` 같은 행, 한 줄에 이름 하나, 또는
                                  JSON 객체
          --no-header             파일에 열 이름 행이 없습니다. 열 이름은 0, 1, ...이 됩니다
          --group <COLUMN>        값이 같은 행(같은 사용자, 같은 문서)을 한 부분에 모아 두는 열 [기본값:
                                  없음]
          --epochs <N>            학습 데이터를 반복하는 횟수 (에포크)
          --memory <SIZE>         프로세스가 쓸 수 있는 메모리 (예: 2.5GiB). 배치를 그에 맞게 나눕니다
                                  [기본값: 남은 메모리]
          --reset-head            다른 라벨로 학습된 분류 헤드를 새것으로 바꿉니다
          --allow-generator       ELECTRA의 생성기도 학습합니다. 판별기보다 분류 성능이 낮습니다
          --set <KEY=VALUE>       설정 하나를 바꿉니다. 여러 번 쓸 수 있습니다
      -o, --output <DIR>          학습한 모델을 저장할 디렉터리
          --resume [<DIR>]        checkpoint-N 디렉터리, 또는 디렉터리 안의 최신 체크포인트에서 이어서
                                  학습합니다 (기본값: 출력 디렉터리)
          --pause-after <EPOCHS>  이만큼의 에포크 뒤에 체크포인트를 남기고 멈춥니다. --resume으로 이어서
                                  합니다. 학습률은 전체 학습 일정대로 줄어듭니다
          --seeds <N>             train.seed부터 이만큼의 시드로 학습해 각각 출력 디렉터리 아래의 제
                                  디렉터리에 저장하고 평균과 편차를 알려 줍니다. --resume을 주면 있던
                                  것에서 이어 갑니다
          --dry-run               학습에 들 메모리와 시간을 추정값과 몇 스텝의 실행으로 알려 줍니다.
                                  아무것도 저장하지 않습니다
      -h, --help                  도움말을 보여 줍니다
      -V, --version               버전을 보여 줍니다

    공통 옵션:
      -q, --quiet            진행 상황과 알림을 생략하고 결과와 오류만 보여 줍니다
          --json             결과를 표준 출력에 JSON으로 씁니다
          --threads <N>      사용할 스레드 수 [기본값: 모든 코어]
          --offline          네트워크를 쓰지 않습니다. 허브의 모델과 데이터는 전에 받아 둔 것이어야
                             합니다
          --lang <LANGUAGE>  메시지와 도움말의 언어 [기본값: 로캘의 언어] [가능한 값: en, ko]

    gareum.toml의 모든 설정을 --set 구역.키=값 꼴로 줄 수 있습니다. 예:
      gareum train --model klue-roberta-base --train reviews.csv --set train.batch_size=32 --set
      model.max_length=64
    ");
    let predict = Workspace::new().succeed(&["predict", "-h", "--lang", "ko"]);
    assert_snapshot!(predict.stdout, @"
    파일이나 표준 입력의 텍스트에 라벨을 붙입니다

    사용법: gareum predict [OPTIONS] --model <DIR|NAME>

    옵션:
          --model <DIR|NAME>       모델 디렉터리, 또는 허브에 있는 모델의 이름
          --base <DIR>             어댑터의 기반 모델 디렉터리 [기본값: 어댑터에 적힌 위치]
      -i, --input <FILE>           텍스트 파일, 또는 표준 입력이면 - (한 줄에 텍스트 하나) [기본값: -]
      -o, --output <FILE>          쓸 파일(.jsonl, .csv, .parquet) 또는 -(표준 출력에 JSON 줄) [기본값:
                                   -]
          --resume                 끝나지 않은 파일을 멈춘 곳부터 이어서 씁니다
          --explain                단어마다 라벨과 어떤 관계인지 가림법으로 구해 열로 덧붙입니다(`gareum
                                   explain` 참고)
          --text <COLUMN>          텍스트 열 [기본값: 자동 감지]
          --text-pair <COLUMN>     텍스트 쌍의 두 번째 텍스트 열 [기본값: 자동 감지]
          --no-header              파일에 열 이름 행이 없습니다. 열 이름은 0, 1, ...이 됩니다
          --precision <PRECISION>  계산할 정밀도. auto는 모델을 학습한 정밀도이고, 프로세서가 bf16을
                                   지원하지 않으면 f32입니다 [기본값: auto] [가능한 값: auto, f32, bf16]
          --top-k <N>              `scores`에 점수가 높은 라벨 N개만 씁니다
      -h, --help                   도움말을 보여 줍니다
      -V, --version                버전을 보여 줍니다

    공통 옵션:
      -q, --quiet            진행 상황과 알림을 생략하고 결과와 오류만 보여 줍니다
          --json             결과를 표준 출력에 JSON으로 씁니다
          --threads <N>      사용할 스레드 수 [기본값: 모든 코어]
          --offline          네트워크를 쓰지 않습니다. 허브의 모델과 데이터는 전에 받아 둔 것이어야
                             합니다
          --lang <LANGUAGE>  메시지와 도움말의 언어 [기본값: 로캘의 언어] [가능한 값: en, ko]
    ");
}

/// Notes and progress are Korean; what is on standard output is data and stays.
#[test]
fn a_run_from_training_to_prediction() {
    let workspace = Workspace::with_base();
    workspace.write("texts.csv", "label,text\n1,the food was good\n2,\n3,the food was bad\n");
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"\d+\.\d+", "[N]");
    settings.add_filter(r"예제 \d+개|예제 \[N\]개", "예제 [N]개");
    settings.add_filter(r"토큰 \d+개", "토큰 [N]개");
    // Which evaluation is best may differ between processors, and so may the temperature.
    settings.add_filter("  지금까지 최고", "");
    settings.add_filter(r"온도 1: \d+행의 손실을 더 낮추는 온도가 없습니다\n", "");
    settings.add_filter(r"온도 \[N\], \d+행으로 맞춤: [^\n]*\n", "");
    settings.bind(|| {
        let loud: Vec<&str> = training(
            "reviews.csv",
            "model",
            &["--lang", "ko", "--set", "train.precision=f32"],
        )
        .into_iter()
        .filter(|argument| *argument != "--quiet")
        .collect();
        let trained = workspace.succeed(&loud);
        assert_snapshot!(trained.stderr, @"
        reviews.csv: 144행 (구분자로 나뉜 텍스트, `,`, 따옴표 있음), 텍스트 `text`, 라벨 `label`
        single_label: 라벨 2개. 학습 86행, 검증 29행, 테스트 29행
        f32 정밀도로 학습합니다
        에포크 [N] (스텝 11)  검증 loss [N]  accuracy [N]  macro_f1 [N]
        에포크 [N] (스텝 22)  검증 loss [N]  accuracy [N]  macro_f1 [N]
        헤드는 무작위 가중치에서 학습했습니다: classifier.weight, classifier.bias
        정확도 [N], 매크로 F1 [N], 라벨 2개: 우연보다 나을 것이 없습니다
        모든 행을 `neg` 라벨로 예측합니다. 지금 train.learning_rate: 3e-2. 이 값을 바꾸거나, train.warmup_ratio를 높이거나, train.class_weights를 balanced로 두세요
        22스텝, [N]초: 초당 예제 [N]개, 토큰 [N]개, 최대 메모리 [N] GiB
        저장 위치: model
        보고서: model/report/index.html
        ");
        assert!(trained.stderr.contains("지금까지 최고"), "{}", trained.stderr);
        assert!(trained.stdout.contains("macro avg"), "{}", trained.stdout);
        let evaluate = ["evaluate", "--model", "model", "--data", "reviews.csv"];
        let measured = workspace.succeed(&[&evaluate[..], &["--lang", "ko"]].concat());
        assert_snapshot!(measured.stderr, @"
        reviews.csv: 144행 (구분자로 나뉜 텍스트, `,`, 따옴표 있음), 텍스트 `text`, 라벨 `label`
        계산 정밀도: f32
        ");
        // The table keeps scikit-learn's words; what follows it is told in Korean.
        let (table, told) = measured.stdout.split_once("\n\n95").unwrap();
        assert!(workspace.succeed(&evaluate).stdout.starts_with(table), "{table}");
        assert!(
            told.contains("가장 확신하고 틀린 예제") && told.contains("자주 혼동한 라벨"),
            "{told}"
        );
        let predict = ["predict", "--model", "model", "--input", "texts.csv"];
        let predicted = workspace.succeed(&[&predict[..], &["--lang", "ko"]].concat());
        assert_snapshot!(predicted.stderr, @"
        입력에 열 `label` 있음: 예측한 열의 이름은 `predicted_label`입니다
        계산 정밀도: f32
        3행 중 1행은 텍스트가 없어 라벨을 붙이지 않았습니다
        ");
        assert_eq!(predicted.stdout, workspace.succeed(&predict).stdout);
    });
}

/// Results that are meant for people, tables too.
#[test]
fn costs_and_machine() {
    let workspace = Workspace::with_base();
    let costs = workspace.succeed(&training("reviews.csv", "model", &["--dry-run", "--lang", "ko"]));
    assert_korean(&costs.stdout, &[]);
    for words in [
        "데이터           행 수   16에서 자름\n학습                86             0\n",
        "메모리         가중치   그래디언트   옵티마이저  최고 가중치       활성값         기타         최대\n전체 ",
        "한도 ",
        "한 스텝 ",
        "초, 평가 ",
    ] {
        assert!(costs.stdout.contains(words), "{words} in\n{}", costs.stdout);
    }

    let output = Command::new(env!("CARGO_BIN_EXE_gareum"))
        .current_dir(workspace.path(""))
        .envs(ENVIRONMENT)
        .env("GAREUM_CPU", "fast")
        .env("HF_HUB_CACHE", workspace.path("hub"))
        .args(["doctor", "--lang", "ko", "--threads", "1"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_korean(&text, &[]);
    for words in [
        "버전          ",
        "\n프로세서      ",
        "\n코어          ",
        "사용하는 스레드 1개\n",
        "\n명령어 집합   ",
        "\n메모리        설치된 메모리 ",
        "              gareum의 기준 ",
        "\n모델 캐시     ",
        "              모델이 없습니다\n",
        "\n조언          ",
        "GAREUM_CPU 값 `fast`",
    ] {
        assert!(text.contains(words), "{words} in\n{text}");
    }
}
