"""Which scripts a language is written in, and whether a text is in one of them. Pure.

The script of a letter is read from its name in Unicode.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from functools import cache, lru_cache

from voxturn.runtime.errors import UnsupportedLanguage
from voxturn.runtime.text.language import base_code
from voxturn.runtime.text.normalize.lexicon import LANGUAGES as XTTS_LANGUAGES

# Script or scripts, then the languages that use them, the most spoken first. After CLDR; at least
# the languages of Whisper and of espeak-ng, by the codes that those two have for them. Latin
# letters pass everywhere.
_TABLE = {
    "Latin": (
        "en es fr de pt it id vi tr pl nl ro hu cs sv fi da no nb nn ca sk hr sl lt lv et sq af sw "
        "ms tl fil jv jw su so ha yo ln mg om tn rw sn zu xh ig gl eu cy ga gd br is fo lb mt oc "
        "ast an fy la lfn ltg eo ia ie io jbo ht "
        "pap haw mi sm gn qu quc ay py nci kl smj se rup qdb qya sjn piqd xex vo mto"
    ),
    "Cyrillic": "ru uk be bg mk kk ky tg tt ba cv ab ce os sah udm nog",
    "Latin Cyrillic": "sr bs sh az uz tk kaa crh",
    "Mongolian Cyrillic": "mn",
    "Arabic": "ar fa ur ps sd ug ckb ks bal lrc",
    "Arabic Latin": "ku",
    "Hebrew": "he iw yi",
    "Greek": "el grc",
    "Armenian": "hy hyw",
    "Georgian": "ka xmf",
    "Devanagari": "hi mr ne sa kok bho mai awa doi brx",
    "Bengali": "bn as bpy",
    "Gurmukhi Arabic": "pa",
    "Gujarati": "gu",
    "Oriya": "or",
    "Tamil": "ta",
    "Telugu": "te",
    "Kannada": "kn tcy",
    "Malayalam": "ml",
    "Sinhala": "si",
    "Thaana": "dv",
    "Thai": "th",
    "Lao": "lo",
    "Tibetan": "bo dz",
    "Myanmar": "my shn mnw",
    "Khmer": "km",
    "Ethiopic": "am ti",
    "Cherokee": "chr",
    "Canadian": "iu cr",
    "Han Bopomofo": "zh cmn yue hak nan wuu",
    "Han Hiragana Katakana": "ja",
    "Hangul Han": "ko",
}
# how Unicode's names of letters begin where that is no script; empty: a letter of any script
_OTHER_NAMES = {
    "Cjk": "Han",
    "Ideographic": "Han",
    "Katakana-Hiragana": "Katakana",
    "Modifier": "",
    "Caron": "",
}
_NAMED = 8  # languages that an error names at most


def check_script(text: str, language: str, what: str = "this voice") -> None:
    """Nothing, where a voice of `language` can read `text`.

    Raises UnsupportedLanguage where more than half of the letters are of scripts that the language
    does not use. Latin letters, text without letters and languages that the table does not know
    pass. `what` names the voice in the error.
    """
    scripts = scripts_of(language)
    if not scripts:
        return
    letters: Counter[str] = Counter()
    for char, count in Counter(text).items():
        script = script_of(char)
        if script:
            letters[script] += count
    foreign = Counter({name: count for name, count in letters.items() if name not in scripts})
    if 2 * foreign.total() <= letters.total():
        return
    script = foreign.most_common(1)[0][0]
    raise UnsupportedLanguage(
        f"{script} letters, which {what} ({language}) cannot speak; {_advice(script)}"
    )


def _advice(script: str) -> str:
    languages = languages_of(script)
    if not languages:
        return "choose a voice or model that knows them"
    listed = ", ".join(languages[:_NAMED]) + (", …" if len(languages) > _NAMED else "")
    one = "one of " if len(languages) > 1 else ""
    known = [name for name in XTTS_LANGUAGES if name.split("-")[0] in languages]
    xtts = f": XTTS speaks {', '.join(known)}" if known else ""
    return f"choose a voice or model for {one}{listed}{xtts}"


def scripts_of(language: str) -> frozenset[str]:
    """The scripts that `language` (`en`, `pt-BR`) may be read in, Latin among them.

    Empty for an unknown language.
    """
    own = own_scripts(language)
    return own | {"Latin"} if own else own


@lru_cache(maxsize=1024)
def own_scripts(language: str) -> frozenset[str]:
    """The scripts that `language` is written in. Empty for an unknown one."""
    own = language.strip().lower().replace("_", "-").split("-")[0]  # of Whisper and espeak-ng
    return _scripts().get(own) or _scripts().get(base_code(language), frozenset())


def languages_of(script: str) -> tuple[str, ...]:
    """The languages that are written in `script`, in the table's order; empty where it has none."""
    return tuple(
        language
        for scripts, languages in _TABLE.items()
        if script in scripts.split()
        for language in languages.split()
    )


@cache
def _scripts() -> dict[str, frozenset[str]]:
    """Language to scripts."""
    return {
        language: frozenset(scripts.split())
        for scripts, languages in _TABLE.items()
        for language in languages.split()
    }


@lru_cache(maxsize=8192)
def script_of(char: str) -> str:
    """The script of a letter, as Unicode names it: `Arabic`, `Han`.

    Empty for what is no letter, and for a letter of any script.
    """
    if not unicodedata.category(char).startswith("L"):
        return ""
    plain = unicodedata.normalize("NFKC", char)[0]  # full width, ligatures, mathematical letters
    if not unicodedata.category(plain).startswith("L"):
        return ""
    name = unicodedata.name(plain, "").split(" ")[0].title()
    return _OTHER_NAMES.get(name, name)
