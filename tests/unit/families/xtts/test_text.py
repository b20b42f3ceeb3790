"""XTTS v2's texts: what is said, against coqui-tts's tokenizer, and what the tokenizer takes."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from voxturn.runtime.errors import CorruptModel, EmptyText, ExecutorUnavailable, UnsupportedLanguage
from voxturn.runtime.families.xtts.text import CHAR_LIMITS, MAX_TOKENS, XttsTokenizer
from voxturn.runtime.text.normalize import LANGUAGES, normalize, numbers, romanize
from voxturn.runtime.text.normalize.lexicon import lexicon

DATA = Path(__file__).parents[3] / "data" / "xtts_text"
EXPECTED: dict[str, list[dict[str, str]]] = json.loads(
    (DATA / "expected.json").read_text(encoding="utf-8")
)
FAILED = "!"  # begins what stands for upstream's output where upstream raises

# coqui-tts imports torchaudio, which need not load here: the tokenizer does not use it. Its own
# process, so that the stand-in and coqui-tts's warnings stay out of this one.
UPSTREAM = """
import importlib.machinery, json, sys, types, warnings
warnings.simplefilter("ignore")
for name in ("torchaudio", "torchaudio.transforms", "torchaudio.functional"):
    module = sys.modules[name] = types.ModuleType(name)
    module.__spec__, module.__path__ = importlib.machinery.ModuleSpec(name, None, is_package=True), []
    module.__version__ = "0"
    module.__getattr__ = lambda name: object if not name.startswith("__") else (_ for _ in ()).throw(AttributeError(name))
from TTS.tts.layers.xtts.tokenizer import VoiceBpeTokenizer
tokenizer = VoiceBpeTokenizer(sys.argv[1])
def said(text, language):
    try:
        ids = tokenizer.encode(text, language)
        return [tokenizer.preprocess_text(text, language.split("-")[0]), ids]
    except Exception as exc:
        return ["!" + type(exc).__name__, []]
json.dump({language: [said(text, language) for text in texts] for language, texts in json.load(sys.stdin).items()}, sys.stdout)
"""


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A vocabulary of the form of XTTS's, trained on the test's own sentences."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    special = ["[STOP]", "[UNK]", "[SPACE]", *(f"[{name}]" for name in LANGUAGES), "[START]"]
    trainer = trainers.BpeTrainer(vocab_size=1500, special_tokens=special, show_progress=False)
    texts = (case["ours"].replace(" ", "[SPACE]") for cases in EXPECTED.values() for case in cases)
    tokenizer.train_from_iterator(texts, trainer)
    path = tmp_path_factory.mktemp("xtts") / "vocab.json"
    tokenizer.save(str(path))
    return path


@pytest.fixture(scope="module")
def tokenizer(vocabulary: Path) -> XttsTokenizer:
    return XttsTokenizer(vocabulary)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_sentence_is_said_as_expected_and_every_difference_from_upstream_has_a_reason(
    language: str,
) -> None:
    cases = EXPECTED[language]
    assert len(cases) >= 30
    for case in cases:
        assert normalize(case["text"], language) == case["ours"]
        assert bool(case["reason"]) == (case["ours"] != case["upstream"]), case["text"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_ids_are_those_of_the_tag_and_of_the_text_with_its_spaces_as_tokens(
    language: str, vocabulary: Path, tokenizer: XttsTokenizer
) -> None:
    loaded = Tokenizer.from_file(str(vocabulary))
    for case in EXPECTED[language]:
        if not case["reason"]:
            expected = loaded.encode(f"[{language}]{case['upstream']}".replace(" ", "[SPACE]")).ids
            assert tokenizer.encode(case["text"], language) == expected


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("TTS") is None, reason="coqui-tts is not installed")
def test_upstream_says_what_is_recorded_of_it_and_its_ids_are_ours(
    vocabulary: Path, tokenizer: XttsTokenizer
) -> None:
    texts = {language: [case["text"] for case in cases] for language, cases in EXPECTED.items()}
    done = subprocess.run(
        [sys.executable, "-c", UPSTREAM, str(vocabulary)],
        input=json.dumps(texts),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    said = json.loads(done.stdout)
    for language, cases in EXPECTED.items():
        for case, (text, ids) in zip(cases, said[language], strict=True):
            assert text == case["upstream"], case["text"]
            if not case["reason"]:
                assert tokenizer.encode(case["text"], language) == ids


@pytest.mark.parametrize(
    ("language", "text", "said"),
    [
        ("en", "It costs $0.50, or -$3.", "it costs fifty cents, or minus three dollars."),
        ("en", "From 9:00 to 17:00.", "from nine o'clock to seventeen hundred."),
        ("en", "Between 14:30-15:30, 100 m² and $5-$10.",
         "between fourteen thirty to fifteen thirty, one hundred square meters and five to ten dollars."),
        ("en", "On 13/05/2026 and 05/13/2026.",
         "on may thirteenth twenty twenty-six and may thirteenth twenty twenty-six."),
        ("en", "3 x 4 = 12, +1", "three times four equals twelve, plus one"),
        ("en", "Card 1234567890123456", "card one two three four five six seven eight nine zero one two three four five six"),
        ("ar", "1 كم و 2 كم و 3 كم و 11 كم و 100 كم", "كيلومتر واحد و كيلومتران و ثلاثة كيلومترات و أحد عشر كيلومترا و مائة كيلومتر"),
        ("ar", "3 °C و 13 °C و 103 °C و 3000 °C",
         "ثلاث درجات مئوية و ثلاث عشرة درجة مئوية و مائة و ثلاث درجات مئوية و ثلاثة آلاف درجة مئوية"),
        ("ar", "٠٫٥ USD", "خمسون سنتا"),
        ("ru", "1 км, 2 км, 5 км, 21 км, 11 км",
         "один километр, два километра, пять километров, двадцать один километр, одиннадцать километров"),
        ("pl", "1 zł, 2 zł, 5 zł, 22 zł", "jeden złoty, dwa złote, pięć złotych, dwadzieścia dwa złote"),
        ("cs", "1 Kč, 2 Kč, 5 Kč", "jedna koruna, dvě koruny, pět korun"),
        ("es", "£21 y 21 km", "veintiuna libras y veintiún kilómetros"),
        ("en", "The 1990s and the '60s, version 2.0.", "the nineteen nineties and the sixties, version two point zero."),
        ("en", "Call 555-1234 at 5 p.m.", "call five five five, one two three four at five p m."),
        ("ko", "3시 30분, 20살", "se si samsibbun, seumu sal"),
        ("tr", "3'üncü gün", "üçüncü gün"),
        ("es", "£200.500 y £41.000", "doscientas mil quinientas libras y cuarenta y un mil libras"),
        ("tr", "12,05 ve 12,75", "oniki virgül sıfır beş ve oniki virgül yetmişbeş"),
        ("ar", "12.75", "اثنا عشر فاصلة خمسة و سبعون"),
        ("hi", "1,23,45,678", "एक करोड़ तेईस लाख पैंतालीस हज़ार छह सौ अठहत्तर"),
        ("zh-cn", "￥1.5亿", "yi4dian3wu3yi4yuan2"),
        ("de", "CHF 1'250", "eintausendzweihundertfünfzig Franken"),
        ("fr", "12 500,75 €", "douze mille cinq cents euros et soixante-quinze centimes"),
    ],
)  # fmt: skip
def test_what_upstream_has_no_words_for_is_said(language: str, text: str, said: str) -> None:
    assert normalize(text, language) == said


def test_arabic_vowel_marks_are_kept_unless_they_are_not_wanted() -> None:
    assert normalize("ذَهَبَ الوَلَدُ", "ar") == "ذَهَبَ الوَلَدُ"
    assert normalize("ذَهَبَ الوَلَدُ", "ar", diacritics=False) == "ذهب الولد"


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("EN", "en"),
        ("pt-BR", "pt"),
        ("zh", "zh-cn"),
        ("zh_TW", "zh-cn"),
        ("cmn", "zh-cn"),
        ("deu", "de"),
        ("auto", "en"),
        (" AUTO ", "en"),
    ],
)
def test_languages_are_known_by_their_common_names(
    name: str, known: str, tokenizer: XttsTokenizer
) -> None:
    assert tokenizer.encode("OK", name) == tokenizer.encode("OK", known)


def test_an_unknown_language_is_refused_with_the_known_ones(tokenizer: XttsTokenizer) -> None:
    for call in (tokenizer.encode, tokenizer.split):
        with pytest.raises(UnsupportedLanguage, match=r"'tlh'; it knows en, es, .*, hi$") as caught:
            call("Qapla'!", "tlh")
        assert caught.value.exit_code == 3
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "  \n", "👍🏽👨‍👩‍👧", "… — „“ !?", "\u200b"])
def test_a_text_without_speech_has_no_pieces_and_no_ids(
    text: str, tokenizer: XttsTokenizer
) -> None:
    assert tokenizer.split(text, "en") == []
    with pytest.raises(EmptyText):
        tokenizer.encode(text, "en")


def test_a_tag_in_the_text_does_not_change_the_language(
    tokenizer: XttsTokenizer, vocabulary: Path
) -> None:
    french = Tokenizer.from_file(str(vocabulary)).token_to_id("[fr]")
    assert french not in tokenizer.encode("He typed [fr] into it.", "en")


def test_what_fits_is_one_piece_and_sentences_are_filled_in_order(tokenizer: XttsTokenizer) -> None:
    text = "One is here. Two is there, e.g. in Rome. Dr. Three left."
    assert tokenizer.split(text, "en") == [text]
    pieces = tokenizer.split(f"{text} " * 20, "en")
    assert len(pieces) == 5
    assert all(piece.endswith((".", "left.")) and len(piece) > 200 for piece in pieces[:-1])


@pytest.mark.parametrize(
    ("unit", "pieces"),
    [("word ", 201), ("x", 200), ("1", 400), ("This is a sentence, and it ends here. ", 220)],
)
def test_fifty_thousand_characters_are_split(
    unit: str, pieces: int, tokenizer: XttsTokenizer
) -> None:
    text = (unit * 50_000)[:50_000]
    cut = tokenizer.split(text, "en")
    assert "".join(cut).replace(" ", "") == text.replace(" ", "")
    assert max(map(len, cut)) <= CHAR_LIMITS["en"]
    assert len(cut) >= pieces * 0.9


def test_truncation_and_padding_of_a_vocabulary_are_left_out(
    vocabulary: Path, tmp_path: Path
) -> None:
    library = Tokenizer.from_file(str(vocabulary))
    library.enable_truncation(4)
    library.enable_padding(length=16)
    path = tmp_path / "vocab.json"
    library.save(str(path))
    plain, tokenizer = XttsTokenizer(vocabulary), XttsTokenizer(path)
    for text in ("Hi.", "Hello there, how are you doing today?"):
        assert tokenizer.encode(text, "en") == plain.encode(text, "en")


def test_a_file_that_is_no_vocabulary_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "vocab.json"
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(CorruptModel, match="not a vocabulary"):
        XttsTokenizer(path)
    Tokenizer(models.BPE()).save(str(path))
    with pytest.raises(CorruptModel, match="no language tags"):
        XttsTokenizer(path)


@pytest.mark.parametrize(
    ("library", "language"),
    [("num2words", "en"), ("pypinyin", "zh"), ("cutlet", "ja"), ("ko_speech_tools", "ko")],
)
def test_a_missing_library_is_named_with_its_remedy(
    library: str, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    caches: list[Any] = [numbers._words, romanize._pinyin, romanize._romaji, romanize._hangul]
    for cache in caches:
        cache.cache_clear()
    monkeypatch.setitem(sys.modules, library, None)
    text = {"zh": "你好", "ja": "猫", "ko": "집"}.get(language, "5 apples")
    with pytest.raises(ExecutorUnavailable, match=r"pip install 'voxturn\[xtts\]'") as caught:
        normalize(text, language)
    assert caught.value.exit_code == 6


def test_every_language_has_all_its_words() -> None:
    for name in LANGUAGES:
        words = lexicon(name)
        assert len(words.date.months) == 12
        assert len(words.date.days) in (0, 31)
        assert len(words.time.names) in (0, 12, 24)
        assert set(words.signs.values()) <= set(words.currencies)
        assert {"USD", "EUR", "GBP", "JPY", "INR", "SAR", "AED", "EGP"} <= set(words.currencies)
        assert {"&", "€", "$", "£", "°"} <= set(words.symbols)


PIECES = st.sampled_from(
    ["12", "1,250", "3.5", "14:30", "2026-11-24", "24/11/2026", "$", "€ ", "km", "°C", "%", "-", "1st", "3.", "№", ", ", ". ",
     "word ", "слово ", "كلمة ", "词", "ことば", "단어 ", "शब्द ", "٣", "½", "👍", "\u200d", "\n", "[en]", "e.g. ", "İ"]
)  # fmt: skip
TEXTS = st.lists(st.one_of(PIECES, st.text(max_size=6)), max_size=60).map("".join)
EXAMPLES = settings(
    max_examples=120, deadline=3000, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _letters(text: str) -> str:
    return "".join(char for char in text if unicodedata.category(char)[0] in "LN")


@pytest.mark.slow
@EXAMPLES
@given(text=TEXTS, language=st.sampled_from(LANGUAGES))
def test_any_text_is_normalised_the_same_way_twice_and_leaves_no_digit(
    text: str, language: str
) -> None:
    said = normalize(text, language)
    assert said == normalize(text, language)
    assert "\n" not in said
    if language != "zh-cn":  # pinyin's tones are digits
        assert not any(char.isdecimal() for char in said)


@EXAMPLES
@given(text=TEXTS, language=st.sampled_from(LANGUAGES))
def test_pieces_keep_both_limits_and_lose_no_letter(
    text: str, language: str, tokenizer: XttsTokenizer
) -> None:
    pieces = tokenizer.split(text, language)
    assert _letters("".join(pieces)) == _letters(text)
    for piece in pieces:
        ids = tokenizer.encode(piece, language)
        assert len(piece) <= CHAR_LIMITS[language]
        assert 1 < len(ids) <= MAX_TOKENS
        assert all(0 <= i < tokenizer.size for i in ids)


def test_a_checkpoint_with_a_small_table_of_positions_gets_smaller_pieces(vocabulary: Path) -> None:
    small = XttsTokenizer(vocabulary, max_tokens=24)
    text = (
        "The train to the coast leaves at nine in the morning, and the boat leaves a little later."
    )
    pieces = small.split(text, "en")
    assert len(pieces) > 1
    assert max(len(small.encode(piece, "en")) for piece in pieces) <= 24
    assert _letters("".join(pieces)) == _letters(text)


def test_a_recorded_failure_of_upstream_is_marked() -> None:
    failures = [
        case for cases in EXPECTED.values() for case in cases if case["upstream"].startswith(FAILED)
    ]
    assert failures
    assert all("fails" in case["reason"] for case in failures)


# --- a language that a fine-tune added


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> XttsTokenizer:
    """A vocabulary with a tag for Vietnamese and one for Ukrainian beside the official ones."""
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tags = [f"[{name}]" for name in (*LANGUAGES, "uk", "vi")]
    special = ["[STOP]", "[UNK]", "[SPACE]", *tags, "[START]"]
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator(["xin[SPACE]chào[SPACE]bạn[SPACE]3[SPACE]giờ"], trainer)
    path = tmp_path_factory.mktemp("extended") / "vocab.json"
    tokenizer.save(str(path))
    return XttsTokenizer(path)


def test_a_language_that_a_fine_tune_added_is_spoken_plainly_with_a_warning(
    extended: XttsTokenizer, caplog: pytest.LogCaptureFixture
) -> None:
    assert extended.languages == (*LANGUAGES, "uk", "vi")
    loaded = extended._loaded
    for _ in range(2):
        for name in ("vi", "vi-VN", " VI_vn"):
            ids = extended.encode("  Xin CHÀO\u200b  bạn, 3 giờ [en] ", name)
            expected = "[vi]xin[SPACE]chào[SPACE]bạn,[SPACE]3[SPACE]giờ[SPACE](en)"
            assert ids == loaded.encode(expected).ids
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage().startswith("no rules for 'vi': its numbers")
    assert extended.encode("At 3.", "en")[0] == loaded.token_to_id("[en]")
    assert len(caplog.records) == 1


def test_long_text_of_an_added_language_is_split(extended: XttsTokenizer) -> None:
    text = "Xin chào bạn, hôm nay trời đẹp. " * 40
    pieces = extended.split(text, "vi")
    assert max(len(piece) for piece in pieces) <= 250
    assert "".join("".join(pieces).split()) == "".join(text.split())


@pytest.mark.parametrize("name", ["vie", "vi-VN", "VI", "vie_VN"])
def test_an_added_language_is_known_by_every_tag_of_it(name: str, extended: XttsTokenizer) -> None:
    assert extended.known(name) == "vi"
    assert extended.encode("Xin chào", name) == extended.encode("Xin chào", "vi")


def test_a_code_that_is_older_is_that_of_the_language(
    extended: XttsTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extended, "languages", ("en", "he", "no"))
    assert [extended.known(name) for name in ("iw", "heb", "he-IL", "nb")] == ["he"] * 3 + ["no"]


def test_a_language_that_neither_has_is_refused_with_those_that_are_there(
    extended: XttsTokenizer, tokenizer: XttsTokenizer
) -> None:
    with pytest.raises(UnsupportedLanguage, match=r"no 'sw'; it knows en, .*, uk, vi$"):
        extended.encode("Habari", "sw")
    with pytest.raises(UnsupportedLanguage, match=r"no 'vi'; it knows en, .*, hi$"):
        tokenizer.encode("Xin chào", "vi")
