"""Texts in a script that a voice's language does not use are refused."""

from __future__ import annotations

import unicodedata
from collections import defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from voxturn.runtime.errors import UnsupportedLanguage
from voxturn.runtime.text.scripts import check_script, languages_of, script_of, scripts_of

from tests.scaling import in_proportion

# the languages of Whisper and of espeak-ng 1.52, by their own codes
WHISPER = (
    "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml "
    "cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am "
    "yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue"
)
ESPEAK = (
    "ab af am an ar as az ba be bg bn bpy bs ca chr cmn crh cs cv cy da de el en-gb eo es-419 et eu fa fi fo fr-fr ga "
    "gd gn grc gu hak haw he hi hr ht hu hy hyw ia id io is it ja jbo ka kaa kk kl kn ko kok ku ky la lb lfn lt ltg lv "
    "mi mk ml mn mr ms mt mto my nb nci ne nl nog om or pa pap piqd pl ps pt-br py qdb qu quc qya ro ru ru-lv rup sd "
    "shn si sjn sk sl smj sq sr sv sw ta te th ti tk tn tr tt ug uk ur uz vi-vn-x-south xex yue"
)
LANGUAGES = sorted({*WHISPER.split(), *ESPEAK.split()})


def _letters() -> dict[str, str]:
    """Script to letters of it, a few hundred at most, from all over its blocks."""
    letters: defaultdict[str, list[str]] = defaultdict(list)
    for code in range(0x30000):
        script = script_of(chr(code))
        if script:
            letters[script].append(chr(code))
    return {script: "".join(chars[:: len(chars) // 200 + 1]) for script, chars in letters.items()}


LETTERS = _letters()
EXAMPLES = settings(max_examples=100)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_of_whisper_and_espeak_has_scripts_that_unicode_knows(language: str) -> None:
    scripts = scripts_of(language)
    assert "Latin" in scripts
    assert scripts <= set(LETTERS)
    for script in scripts:
        check_script(LETTERS[script], language)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_refuses_every_other_script(language: str) -> None:
    for script in LETTERS:
        if script not in scripts_of(language):
            with pytest.raises(UnsupportedLanguage, match=rf"^{script} letters"):
                check_script(LETTERS[script], language)


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("مرحبا بالعالم", "ar"), ("مرحبا بالعالم", "fa"), ("Привет, мир", "ru"), ("Здраво Zdravo", "sr"),
        ("नमस्ते दुनिया", "hi"), ("你好，世界", "zh-cn"), ("こんにちは、世界のコーヒー", "ja"), ("안녕 世界", "ko"), ("ｆｕｌｌ 𝐛𝐨𝐥𝐝 ﬁ", "en"),
        ("Γειά", "el"), ("שלום", "he"), ("გამარჯობა", "ka"), ("ᠮᠣᠩᠭᠣᠯ Монгол", "mn"), ("สวัสดี", "th"), ("ﻣﺮﺣﺒﺎ", "ar"),
        ("The word مرحبا means hello.", "en"), ("NASA", "ar"), ("$3.50 — 12:30! 👍", "en"), ("", "en"),
        ("Привет", "xx"), ("Привет", ""), ("Привет", "RU_ru"), ("ʼʻˇ", "en"),
    ],
)  # fmt: skip
def test_a_text_that_the_language_can_read_passes(text: str, language: str) -> None:
    check_script(text, language)


def test_the_error_is_one_line_that_names_script_language_and_ways_out() -> None:
    with pytest.raises(UnsupportedLanguage) as raised:
        check_script("مرحبا بالعالم", "en", "the voice 'amy'")
    message = str(raised.value)
    assert message.startswith(
        "Arabic letters, which the voice 'amy' (en) cannot speak; "
        "choose a voice or model for one of ar, fa, ur"
    )
    assert message.endswith("XTTS speaks ar")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "language", "advice"),
    [
        ("こんにちは", "zh", "a voice or model for ja: XTTS speaks ja"),
        ("你好", "ru", "zh, cmn, yue, hak, nan, wuu, ja, ko: XTTS speaks zh-cn, ko, ja"),
        ("สวัสดี", "en-us", "choose a voice or model for th"),
        ("𐌰𐌱", "en", "choose a voice or model that knows them"),
        ("Привет мир hello", "en", "ru, uk, be"),
    ],
)
def test_the_error_names_who_can_speak_it(text: str, language: str, advice: str) -> None:
    with pytest.raises(UnsupportedLanguage) as raised:
        check_script(text, language)
    assert advice in str(raised.value)


def test_languages_of_a_script_are_those_whose_scripts_have_it() -> None:
    assert languages_of("Latin")[0] == "en"
    assert languages_of("Hangul") == ("ko",)
    assert "sr" in languages_of("Cyrillic")
    assert languages_of("Gothic") == ()
    for script in LETTERS:
        assert all(script in scripts_of(language) for language in languages_of(script))


def _letter_of(script: str) -> st.SearchStrategy[str]:
    return st.sampled_from(LETTERS[script])


@EXAMPLES
@given(data=st.data(), language=st.sampled_from(LANGUAGES))
def test_the_majority_of_the_letters_decides(data: st.DataObject, language: str) -> None:
    scripts = scripts_of(language)
    readable = st.sampled_from(sorted(scripts)).flatmap(_letter_of)
    foreign = st.sampled_from(sorted(set(LETTERS) - scripts)).flatmap(_letter_of)
    mine = data.draw(st.lists(readable, max_size=12))
    others = data.draw(st.lists(foreign, max_size=12))
    marks = data.draw(st.lists(st.characters(categories=("M", "N", "P", "S", "Z")), max_size=12))
    text = "".join(data.draw(st.permutations(mine + others + marks)))
    if len(others) > len(mine):
        with pytest.raises(UnsupportedLanguage):
            check_script(text, language)
    else:
        check_script(text, language)


@EXAMPLES
@given(char=st.characters())
def test_only_letters_have_a_script(char: str) -> None:
    assert not script_of(char) or unicodedata.category(char).startswith("L")


def test_a_megabyte_is_read_in_one_pass() -> None:
    assert in_proportion(
        lambda copies: check_script("Hello, world: привет. " * copies, "en"), 3_000
    )
