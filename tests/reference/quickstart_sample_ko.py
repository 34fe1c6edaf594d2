"""Makes crates/cli/samples/movie_reviews_ko.csv: short Korean film reviews, 긍정 or 부정.

The source is NSMC (Naver sentiment movie corpus, CC0): its train file gives the parts train and validation, its test file the part test.
People will read these rows on their first day with the program, so rows with insults, sex, politics or contempt for a group are left out, rather
too many than too few: a stem also meets innocent words ("자지" in "여자지만"), and of 200,000 reviews fewer than 8,000 are needed. No list is complete.

Needs Python 3.10+; scikit-learn only for the figures that it prints.
Run from anywhere: `python tests/reference/quickstart_sample_ko.py [--check-only] [--show 100]`; the data folder is GAREUM_TEST_DATA, else ../shared/data.
Deterministic: everything random is the order of SHA-256 digests.
"""

import argparse
import csv
import gzip
import hashlib
import io
import os
import re
import unicodedata
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("GAREUM_TEST_DATA", ROOT.parent / "shared" / "data")) / "nsmc"
SAMPLE = ROOT / "crates/cli/samples/movie_reviews_ko.csv"

LABELS = {"1": "긍정", "0": "부정"}
TRAIN, VALIDATION, TEST = "train", "validation", "test"
ROWS = {TRAIN: 6000, VALIDATION: 600, TEST: 1000}
LENGTH = range(8, 81)
HANGUL_SHARE = 0.6
LARGEST_FILE = 900_000
SEED = "gareum quickstart ko 1"

# Stems, looked for in the text without blanks, digits and punctuation, and again in its whole syllables alone, so that "씨 1 발" and "병ㅋ맛" are found.
STEMS = {
    "swearing": """시발 씨발 씨바 시바 쉬발 슈발 쓰발 싸발 씨벌 시벌 씨부 시부럴 씨불 시불 씨팔 시팔 씨파 쒸발 쒸바 쉬바 쓰바 씌발 시뱔 씨빨 시빨 씹
        씝 쉽알 시볼 씨볼 식빵 쌍욕 썅 쌍년 샹 좆 좇 좃 졷 존나 존내 존니 조낸 졸라 쫀나 존잼 존맛 존멋 존예 존잘 존트 죤나 젼나 지랄 지럴 쥐랄 즤랄
        염병 옘병 엠병 젠장 제길 제기랄 니미 느금 애미 에미 애비 에비 엠창 니엄마 니기미 닥쳐 닥치 꺼져 꺼지 뒤져 뒤진 뒤질 뒈 디져 디진 디질 엿먹
        엿같 엿이나 빡치 빡쳐 빡친 빡돌 빡대 주둥 아가리 아갈 싸대기 싸다구 후려 처먹 쳐먹 처돌 쳐돌 쳐발 처발 쳐보 처보 쳐웃 처웃 쳐맞 처맞 쳐만 처만
        쳐넣 처넣 쳐자 처자 쳐하 처하 쳐울 처울 쳐싸 처싸 쳐주 쳐들 쳐했 쳐나 쳐찍 처찍 지뢀 조까 좀까 조가튼 조같 족같 족가 젓같 좋같 ㅈ같 ㅈ까 ㅈ망
        ㅈㄹ ㅈㄴ ㅂㅅ ㅄ ㅅㅂ ㅅㄲ ㄲㅈ ㄷㅊ ㅁㅊ ㅅㅍ ㅅㅅ ㅗ ㅆ ㅉ 씨댕 시댕 시밤 씨밤 시밸 쓰벌 쓰불 쉬팔 싯팔 씻팔 싯발 씻발 아오씨 에이씨 아씨
        에라이 퉤 육갑 개x 시x 씨x 병x fuck shit bitch wtf damn sex asshole dick porn gay nigg suck sibal tlqkf gorp whssk 시키들 이시키 저시키 벌시키
        싸질 싸돌 나발 깝치 깝쳐 디졌 디졋 조냊 조냇 조낻 쓉 ㄸ ㅇㄷ 씨ㅡ ㅅㅌㅊ ㅎㅌㅊ ㅍㅌㅊ 상타치 하타치 평타치 등sin 병sin 캬악 지릴 ㄱㅐ ㅅㅐ
        시ㅂ 씨ㅂ ㅂ신 ㅅ발 ㅈ나 ㅂㄹ ㅅㄹㄱ 런씨 쌔끼 ㅁㅈㅎ""",
    "insults": """새끼 새키 새꺄 새퀴 새뀌 섀끼 색기 색끼 색히 세끼 쉐이 쉐키 쉐리 쉑 시끼 씨끼 자식들 놈 넘들 년들 미친 미쳤 미쳣 미쳐 미췬 밋친
        또라이 똘아이 도라이 돌아이 똘추 똘끼 병신 븅신 빙신 볍신 병쉰 벼엉 병맛 등신 덩신 멍청 멍충 멍텅 머저리 바보들 바보같 얼간 천치 백치 쪼다
        찐따 찌질 찌찔 호구 호로 후레 화냥 잡것 잡년 쓰레 쓰래 쓰렉 쓰뤠기 쓰rㅔ기 레기 폐기물 거지 걸레 또랑 돌대가 대가리 대갈 뚝배기 무뇌 뇌없 뇌가
        뇌에 뇌를 저능 지능 아이큐 iq 정신병 정신나 정신이나 정신분 정신상태 정신머리 사이코 싸이코 싸패 싸가지 싸갈 말종 양아치 날라리 패죽 쳐죽
        때려죽 죽여버 죽여라 죽어라 죽일 죽고싶 죽이고싶 죽빵 목졸 찢어죽 패고싶 때리고싶 패버 불질러 불태 자살 벌레 구더기 기생충 충들 관종 관심종자
        듣보 퇴물 한물간 빠순 빠돌 빠들 까들 그지같 그지깽 버러지 벌러지 썩을 썩은 망할 육시 극혐 혐오 한심 초딩 중딩 고딩 잼민 급식 애새 얼라 꼰대
        틀딱 노인네 할망 할배 노친네 못생 못난 추녀 추남 뚱뚱 뚱보 뚱땡 돼지 비만 성형 성괴 얼굴보 면상 낯짝 쌍판 상판 와꾸 몸매 키작 난쟁 호빗 골빈
        골이비 꼴값 꼴깝 꼴갑 꼬라지 꼬락서니 꼴불견 나대 나댄 재수없 밥맛 역겨 역겹 더러운 더럽 드러운 알바 일베 베충 평론가새 감독아 감독새 작가야
        사기꾼 사기치 돈독 구걸 쓸애기 쓰러기 개쓰 개같 개가튼 개소리 개새 개색 개세 개쉐 개객 개년 개나 개노 개꿀 개잼 개재 개웃 개짜 개판 개허 개망
        개막 개뻥 개뿔 개억 개실 개쩔 개쩌 개좋 개지 개차 개돼 개삽 개쌍 개민 개명작 개감 개추 개극 개빡 개무 개슬 개드 개죽 개수작 개수준 개족 개떡
        개뽕 개핵 개졸 개존 개쩜 개구라 개구려 개구림 개독 개병 개에바 개아까 개어이 개어색 개이뻐 개이쁨 개예 개오 개유 개진지 개찌 개호 개후 개초
        개촌 개최악 개씨 개헛 개손발 개쓸 개씁 개시 개귀 개멋 개못 개발연기 개발퀄 개비추 개부 개불쌍 개빠 개뽀 개사기 개쒜 진짜개 핵노 노답 암걸 발암
        발정 암덩 암유발 병크 염전 고자 천벌 벼락맞 저주 처단 처형 총살 사형 능지 꺼억 똥 오줌 방구 방귀 항문 엉덩 토나 토할 토쏠 오바이트 웩 구토
        토악 눈갱 눈썩 강제로 이딴 그딴 저딴 이따위 그따위 저따위 이따구 그따구 이따우 짐승 드럽 드러워 주름 납치 발로써 개쉣 오크 불살라 썩어 것들아
        는것들 철딱서니 바보냐 바보야 뭐병 모병 개떼 군바리 노망 영감쟁 개토 개까 개쪼 개간지 개이득 개발로 외모 비호감 소변 해부 살의 죽길 암세포
        암에걸 죽었으면 콧구 대주는 정상인 늙 마약 약물 나라팔아 싫어서내맘 개맛 개볼 개코 개터 개폼 모두개 왕따 일진 몸좀 탈세 사생아 배변 개쩐
        만들면죽 비정상적""",
    "sex": """보지년 보지털 봊 보짓 보지에 보지를 보지가 보빨 자지 잠지 불알 부랄 붕알 꼬추 고추 거시기 정액 사정 쎅 섹 세엑 색스 야동 야설 야한 야해
        야하 야함 야스 에로 포르노 뽀르노 노출 벗기 벗는 벗고 벗었 알몸 나체 누드 베드신 배드신 베드씬 배드씬 정사 성관계 성행위 성적 성인물 성기 자위
        딸딸 딸치 딸감 딸잡 딸을 발기 꼴려 꼴리 꼴린 꼴릿 떡치 떡신 떡씬 떡을 떡영 빨아 물빨 핥 따먹 따묵 박아 강간 간강 윤간 성폭 성희롱 추행 겁탈
        창녀 창년 매춘 몸팔 몸파 원조교제 변태 관음 페티 근친 로리 쇼타 소아 롤리타 몰카 국산야 일본야 가슴골 젖 슴가 슴만 찌찌 유두 유방 빈유 거유
        속옷 팬티 브라자 비키니 팬스 음란 음탕 음부 음경 외설 선정적 19금 십구금 모텔 룸싸 룸살 업소 애액 신음 오르가 조루 콘돔 낙태 ㅅㅔㄱ 후장 게이
        호모 레즈 동성 퀴어 트랜스 트젠 성소수 남색 BL 총각딱 질퍽 성욕 정자 벗지 처녀 옥보단 쭈쭈 가릴거 찢어지는거 성문화 av 벗을 벗던 벗어 벗은
        므흣 살색 애로영화 애로물 관계를맺 애무 키스신 뽀뽀 수간 여자보는""",
    "groups": """한녀 김치녀 김치남 김치년 된장 보슬 맘충 꼴페 페미 메갈 메퇘 워마 여혐 남혐 여성부 여가부 군무새 남성우월 여성우월 여성비하 여성혐
        남성혐 성차별 여자들 남자들 여자가 남자가 여자는 남자는 여자란 남자란 계집 기집 가시나 가시내 머스마 암컷 수컷 아줌마 아줌씨 아지매 김여사
        맘카페 홍어 전라 절라 라도 경상 통구이 과메기 호남 영남 광주 탐라 지역감정 지역드립 사투리 서울촌 시골촌 촌년 탈북 조선족 중국인 중국애 중국것
        중국영화 중국이 중국은 중국산 중국짱 중공 대륙 짱깨 짱개 짱꼴 짱골 짱께 쪽바 쪽발 쪽국 왜구 왜국 왜인 원숭 방사능 일본인 일본애 일본것 일본이
        일본은 일본산 일뽕 일빠 혐한 혐일 혐중 반일 친일 반한 국뽕 조센 조선인 헬조선 한국인들 한국인은 한국것 미개 미국만세 미국우월 양키 양년 코쟁
        흑인 흑형 흑누 백인 깜둥 검둥 껌둥 니그로 튀기 혼혈 동남아 베트남 필리핀 인도인 파키 이슬람 무슬림 아랍 유대 유태 나치 히틀러 다문화 외노자
        불체 인종 종교 기독 예수 하나님 하느님 교회 목사 먹사 성경 천주교 불교 땡중 사이비 이단 신천지 여호와 증인들 할렐 아멘 무당 장애 애자 병자
        벙어 귀머 장님 맹인 소경 절름 절뚝 앉은뱅 꼽추 곱추 언청 외눈 애꾸 불구자 자폐 다운증 지진아 문둥 나병 간질 에이즈 거렁 노가다 백정 천민 하층
        못배 무식 학벌 지잡 고졸 중졸 대졸 미녀 쭉빵 대한민국 한국은 녀들 숭이 일본스럽 일본정신 한국인인 남자끼리 여자끼리 남성중심 여성중심 여군
        B형 한남들 한남민국 일본싫 한국스런 애엄마 개신교""",
    "politics": """노무 노짱 운지 명박 쥐박 mb 엠비 가카 근혜 그네 닭그 재인 문죄 이재명 안철수 홍준표 김대중 슨상 박정희 다카키 전두환 노태우 김영삼
        이승만 김구 김일성 김정일 김정은 윤석열 대통령 정권 정부 국회 의원님 청와대 여당 야당 새누리 한나라당 민주당 정의당 통진당 더민 국힘 국짐 좌파
        우파 좌빨 우빨 좌익 우익 좌좀 좌꼴 수꼴 꼴통 보수 진보 빨갱 뻘갱 종북 친북 반공 공산 사회주의 자본주의 민주화 민주주의 독재 쿠데타 유신 계엄
        탄핵 촛불 선거 투표 정치 이념 사상 선동 선전 날조 왜곡 세뇌 북한 북괴 인민 간첩 국정원 안기부 검찰 조중동 조선일보 한겨레 오마이 종편 kbs
        sbs jtbc 박사모 어버이 노사모 태극기 애국 매국 폭동 땅크 세월 천안함 용산 쌍용 위안 정신대 독도 다케 일제 식민 전범 욱일 천황 베트콩 미군 주한
        fta 광우병 사대강 사드 원전 노조 파업 운동권 전교조 재벌 삼성 국격 나라망 나라가 나라꼴 군대 병역 군필 군면제 미필 육이오 유가족 가해자 학살
        테러 총련 오일팔 이기야 송두율 한반도 통일 분단 해군기지 제국주의 민족 조국 국보법 인권 시위 피켓 쌍차 해고노동 세금 국민 구국 다이빙벨
        주도세력 니들죽""",
}  # fmt: skip
STEMS = {kind: words.lower().split() for kind, words in STEMS.items()}
OFFENSIVE = re.compile("|".join(re.escape(stem) for words in STEMS.values() for stem in sorted(words, key=len, reverse=True)))
# What needs its surroundings: digits and signs inside a word, years beside women, a dog before an adjective, dates, what the site had masked already.
OFFENSIVE_AS_WRITTEN = re.compile(
    r"[시씨쉬]\s*[8팔]|1\s*8\s*[놈년것색새아]|10\s*[새색]|[시씨]\s*[*xX@!~.,^\-_1l|]+\s*[발팔벌]|병\s*[*xX@!~.^\-_1]+\s*신"
    r"|(?:이|저|그|미친|나쁜|망할|뭔|어떤)\s*년(?![도대만간])|[가-힣]+[녀충]\b|(?:^|\s)개\s*(?:강|더|싫|쓰|쩔|못|안|황|심|웃|재|노)"
    r"|[*xX○●◯]{2,}|(?<![a-zA-Z])[xX][가-힣]|[Oo0]{2,}|\b[ㅂㅅㅈㅁ](?:\s|$)|보지(?!\s*[가-힣])"
    r"|\b19\s*[금세]|\b4대강|\b5[.·\s]?18|\b6[.·]?25|\b4[.·]3|(?<!\d)18\W*$|[가-힣]노(?![가-힣])"
)
# One to four characters over and over say nothing.
BABBLE = re.compile(r"([가-힣]{1,4})\1{3,}")
# Addresses, numbers as long as a telephone's, and requests to visit or write.
PERSONAL = re.compile(r"https?|www|\.com|\.kr|@|\d{3,}[ -]\d{3,}|\d{8,}|카톡|텔레|이메일|블로그|클릭|다운로드|쿠폰|추천인|파일|토렌트|다운받", re.IGNORECASE)
NOT_LETTERS, NOT_SYLLABLES = re.compile(r"[^가-힣ㄱ-ㅎㅏ-ㅣa-z]"), re.compile(r"[^가-힣]")


def digest(*parts):
    return hashlib.sha256("\0".join((SEED, *parts)).encode()).hexdigest()


def read_source(name):
    with gzip.open(DATA / name, "rt", encoding="utf-8", newline="\n") as file:
        header = next(file).rstrip("\n").split("\t")
        text, label = header.index("document"), header.index("label")
        for line in file:
            fields = line.rstrip("\n").split("\t")
            yield " ".join(unicodedata.normalize("NFC", fields[text]).split()), LABELS[fields[label]]


def key(text):
    """What makes two texts one: no case, blanks, punctuation or signs."""
    folded = unicodedata.normalize("NFKC", text).lower()
    return "".join(char for char in folded if unicodedata.category(char)[0] in "LN")


def fault(text):
    """Why a text is left out, or None."""
    letters = [char for char in text if char.isalpha()]
    if len(text) not in LENGTH:
        return "length"
    if sum("가" <= char <= "힣" for char in letters) < max(1, HANGUL_SHARE * len(letters)):
        return "not Hangul"
    if any(unicodedata.category(char) in ("Cc", "Cf", "Co", "Cn", "So") for char in text):
        return "signs"
    if any(OFFENSIVE.search(gap.sub("", text.lower())) for gap in (NOT_LETTERS, NOT_SYLLABLES)) or OFFENSIVE_AS_WRITTEN.search(text):
        return "wording"
    if PERSONAL.search(text):
        return "address"
    if BABBLE.search(text):
        return "babble"
    return None


def assign():
    """The rows of the sample as (text, label, part), and how many texts were left out for what."""
    sources = {TRAIN: list(read_source("ratings_train_rebuilt.tsv.gz")), TEST: list(read_source("ratings_test_rebuilt.tsv.gz"))}
    labels = defaultdict(set)
    for rows in sources.values():
        for text, label in rows:
            labels[key(text)].add(label)
    left_out = Counter()
    seen = {key(text) for text, _ in sources[TRAIN]}
    pools = {}
    for source, rows in sources.items():
        taken = set() if source == TRAIN else seen
        pool = defaultdict(list)
        for text, label in sorted(rows, key=lambda row: digest("row", row[0])):
            name = key(text)
            why = "repeated" if name in taken else "both labels" if len(labels[name]) > 1 else fault(text)
            if why:
                left_out[why] += 1
                continue
            taken.add(name)
            pool[label].append(text)
        pools[source] = pool
    sample = []
    for part, source, first in ((TRAIN, TRAIN, 0), (VALIDATION, TRAIN, ROWS[TRAIN] // 2), (TEST, TEST, 0)):
        for label, texts in pools[source].items():
            sample += [(text, label, part) for text in texts[first : first + ROWS[part] // 2]]
    order = list(ROWS)
    return sorted(sample, key=lambda row: (order.index(row[2]), digest("order", row[0]))), left_out, pools


def check(sample):
    counts = Counter((part, label) for _, label, part in sample)
    for part, rows in ROWS.items():
        for label in LABELS.values():
            assert counts[part, label] == rows // 2, f"{part} {label}: {counts[part, label]}"
    assert len({key(text) for text, _, _ in sample}) == len(sample), "a text is there twice"
    assert not [text for text, _, _ in sample if fault(text)]


def figures(sample):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    parts = {part: [(text, label) for text, label, of in sample if of == part] for part in ROWS}
    for name, settings in {
        "characters 1-3": dict(analyzer="char", ngram_range=(1, 3)),
        "characters 1-3 in words": dict(analyzer="char_wb", ngram_range=(1, 3)),
        "words 1-2": dict(ngram_range=(1, 2)),
    }.items():
        vectorizer = TfidfVectorizer(sublinear_tf=True, **settings)
        features = vectorizer.fit_transform([text for text, _ in parts[TRAIN]])
        for inverse_penalty in (1.0, 3.0, 10.0):
            model = LogisticRegression(C=inverse_penalty, max_iter=5000).fit(features, [label for _, label in parts[TRAIN]])
            scores = {
                part: model.score(vectorizer.transform([text for text, _ in parts[part]]), [label for _, label in parts[part]])
                for part in (VALIDATION, TEST)
            }
            print(f"TF-IDF, {name:23} C = {inverse_penalty:4}: " + ", ".join(f"{part} {score:.4f}" for part, score in scores.items()))


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--check-only", action="store_true", help="compare with the file in the repository instead of writing it")
    arguments.add_argument("--show", type=int, default=0, help="print this many rows, drawn from all parts")
    options = arguments.parse_args()

    sample, left_out, pools = assign()
    check(sample)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["text", "label", "split"])
    writer.writerows(sample)
    content = text.getvalue().encode()
    assert len(content) <= LARGEST_FILE, f"{len(content)} bytes"
    if options.check_only:
        assert SAMPLE.read_bytes() == content, f"{SAMPLE} is not what this script makes"
    else:
        SAMPLE.write_bytes(content)
    print(f"{SAMPLE.relative_to(ROOT)}: {len(sample)} rows, {len(content)} bytes")
    print("left out:", ", ".join(f"{why} {count}" for why, count in left_out.most_common()))
    print("fit:", {source: {label: len(texts) for label, texts in pool.items()} for source, pool in pools.items()})
    for row in sorted(sample, key=lambda row: digest("show", row[0]))[: options.show]:
        print(*row[1:], row[0])
    figures(sample)


if __name__ == "__main__":
    main()
