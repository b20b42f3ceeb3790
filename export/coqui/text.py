"""How a model of Coqui's reads text, as its `config.json` says it: symbols and their ids, cleaner,
phonemizer. What comes of it is what `runtime.text.frontend` reads.

Source: coqui-tts 0.28, `tts/utils/text/characters.py`, `tokenizer.py`, `models/vits.py`
(`VitsCharacters`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.text.frontend.cleaners import CLEANERS
from voxturn.runtime.text.frontend.phonemizers import PHONEMIZERS

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_MARKS = "!'(),-.:;? "
_IPA = (
    "iyɨʉɯuɪʏʊeøɘəɵɤoɛœɜɞʌɔæɐaɶɑɒᵻʘɓǀɗǃʄǂɠǁʛpbtdʈɖcɟkɡqɢʔɴŋɲɳnɱmʙrʀⱱɾɽɸβfvθðszʃʒʂʐçʝxɣχʁħʕhɦɬɮʋɹɻj"
    "ɰlɭʎʟˈˌːˑʍwɥʜʢʡɕʑɺɧʲ\u0303ɚ˞ɫ"
)
"""What upstream takes where a configuration names no characters; the order is that of the ids of
duplicates alone, since they are sorted."""
_USUAL = {"pad": "<PAD>", "eos": "<EOS>", "bos": "<BOS>", "blank": "<BLNK>"}
_VITS, _PLAIN, _PHONEMES = "VitsCharacters", "Graphemes", "IPAPhonemes"
_DEFAULT_PHONEMIZERS = {
    "be": "be_phonemizer",
    "bn": "bn_phonemizer",
    "ja-jp": "ja_jp_phonemizer",
    "ko-kr": "ko_kr_phonemizer",
    "zh-cn": "zh_cn_phonemizer",
}
"""Languages that upstream does not leave to espeak where no phonemizer is named."""


def reading(config: Mapping[str, Any], languages: Sequence[str]) -> dict[str, Any]:
    """The property `text` of an artifact. Raises `ExportFailed` for what cannot be read here,
    and `LookupError`, `TypeError` or `AttributeError` for a damaged configuration."""
    symbols, marks = vocabulary(config)
    named = {mark: ids_of(symbols).get(marks[mark] or "") for mark in ("blank", "bos", "eos")}
    return text_property(
        symbols,
        cleaner=config.get("text_cleaner") or "",
        phonemizers=_phonemizers(config, languages),
        blank=named["blank"] if config.get("add_blank") else None,
        ends=(named["bos"], named["eos"]) if config.get("enable_eos_bos_chars") else None,
    )


def text_property(
    symbols: Sequence[str],
    cleaner: str,
    phonemizers: Mapping[str, Mapping[str, str]],
    blank: int | None,
    ends: tuple[int | None, int | None] | None = None,
) -> dict[str, Any]:
    """The property `text`: `symbols` in the order of their ids, `phonemizers` by language, none for
    a model of characters; the `blank` between symbols and the `ends` of a text, or None."""
    if cleaner and cleaner not in CLEANERS:
        raise ExportFailed(
            f"the model's texts go through {cleaner!r}, which is not supported yet; "
            f"supported: {', '.join(CLEANERS)}"
        )
    if ends and None in ends:
        raise ExportFailed("the model's texts have marks at both ends that its vocabulary has not")
    for entry in phonemizers.values():
        if entry["name"] not in PHONEMIZERS:
            raise ExportFailed(
                f"the model's phonemes are those of {entry['name']!r}, which is not supported yet; "
                f"supported: {', '.join(PHONEMIZERS)}"
            )
    return {
        "symbols": ids_of(symbols),
        "cleaner": cleaner,
        "phonemizers": {language: dict(entry) for language, entry in phonemizers.items()},
        "blank": blank,
        "ends": list(ends) if ends else None,
    }


def ids_of(symbols: Sequence[str]) -> dict[str, int]:
    """Ids by symbol; one that is there twice has the last."""
    return {symbol: i for i, symbol in enumerate(symbols)}


def vocabulary(config: Mapping[str, Any]) -> tuple[list[str], dict[str, str | None]]:
    """The symbols in the order of their ids, and the marks pad, eos, bos and blank among them."""
    phonemes = bool(config.get("use_phonemes"))
    given = config.get("characters")
    if not given:
        usual = _IPA if phonemes else _LETTERS
        return _base(_USUAL | {"characters": usual, "punctuations": _MARKS}), dict(_USUAL)
    kind = (given.get("characters_class") or "").rsplit(".", 1)[-1]
    marks: dict[str, str | None] = {mark: given.get(mark) for mark in _USUAL}
    if given.get("vocab_dict"):
        return list(given["vocab_dict"]), marks
    if kind == _VITS:
        blank = _USUAL["blank"]
        inner = given["characters"] + (given.get("phonemes") or "")
        return [given["pad"], *given["punctuations"], *inner, blank], marks | {"blank": blank}
    if (kind or (_PHONEMES if phonemes else _PLAIN)) == _PHONEMES and given.get("phonemes"):
        given = {**given, "characters": given["phonemes"]}
    return _base(given), marks


def _base(given: Mapping[str, Any]) -> list[str]:
    inner = list(given["characters"])
    if given.get("is_unique", False):
        inner = list(dict.fromkeys(inner))
    if given.get("is_sorted", True):
        inner = sorted(inner)
    marks = [given.get(mark) for mark in _USUAL]
    return [*(mark for mark in marks if mark), *inner, *given["punctuations"]]


def _phonemizers(config: Mapping[str, Any], languages: Sequence[str]) -> dict[str, dict[str, str]]:
    """For each language, the phonemizer's name and its voice; empty for a model of characters."""
    if not config.get("use_phonemes"):
        return {}
    name = config.get("phonemizer") or ""
    if name == "multi_phonemizer":
        named = {d["language"]: d.get("phonemizer") or "" for d in config["datasets"]}
        return {language: _phonemizer(named.get(language, ""), language) for language in languages}
    voice = config.get("phoneme_language") or languages[0]
    return {language: _phonemizer(name, voice) for language in languages}


def _phonemizer(name: str, language: str) -> dict[str, str]:
    return {"name": name or _DEFAULT_PHONEMIZERS.get(language, "espeak"), "voice": language}
