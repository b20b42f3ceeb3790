"""Phonemizers that Coqui's models were trained with: pieces of a text without punctuation to phonemes,
and the punctuation put back as it stood.

espeak-ng comes with piper-tts (GPL-3.0, the extra `vits`), gruut by itself (MIT, the extra
`gruut`). The phonemes of one are not those of the other. Source of the rules: coqui-tts 0.28,
`tts/utils/text/phonemizers/`, `punctuation.py`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from voxturn.runtime.errors import ExecutorUnavailable, UnsupportedLanguage
from voxturn.runtime.text.phonemes import ESPEAK

Phonemize = Callable[[str], str]
"""A piece of text without punctuation to its phonemes."""

_PUNCTUATION = re.compile(r"(\s*[;:,.!?¡¿—…\"«»“”][;:,.!?¡¿—…\"«»“”\s]*)")
_SWITCH = re.compile(r"\(.+?\)")
_ESPEAK_VOICES = {"en": "en-us", "zh-cn": "cmn", "fr-fr": "fr"}
_STRESS = str.maketrans({"ˈ": "", "ˌ": "", "g": "ɡ"})


@dataclass(frozen=True)
class Phonemizer:
    """One that a model may name: the `module` that it needs, our `extra` that brings it, and `make`,
    which loads it for a voice or language."""

    module: str
    extra: str
    make: Callable[[str], Phonemize]


def phonemized(text: str, phonemize: Phonemize) -> str:
    """A text in phonemes: punctuation, with the spaces around it, stays as it was."""
    parts = _PUNCTUATION.split(text.strip())
    return "".join(
        part if number % 2 else phonemize(part) for number, part in enumerate(parts) if part
    )


def load_phonemizer(name: str, voice: str) -> Phonemize:
    """A phonemizer of `PHONEMIZERS` for a voice.

    Raises `ExecutorUnavailable` that names the extra where it is not installed,
    `UnsupportedLanguage` for a voice that it has not.
    """
    row = PHONEMIZERS[name]
    try:
        return row.make(voice)
    except ImportError as exc:
        raise ExecutorUnavailable(
            f"this voice needs the phonemes of {name}; pip install 'voxturn[{row.extra}]'"
        ) from exc


def _espeak(voice: str) -> Phonemize:
    from piper import espeakbridge
    from piper.phonemize_espeak import EspeakPhonemizer

    EspeakPhonemizer()  # gives the library its data
    voice = _ESPEAK_VOICES.get(voice, voice)

    def phonemize(text: str) -> str:
        with ESPEAK:
            _set_voice(espeakbridge, voice)
            lines = espeakbridge.get_phonemes(text.replace("\0", " "))
        return "".join(_SWITCH.sub("", line).strip() for line, *_ in lines).replace("_", "")

    phonemize("a")  # a voice that is not there is told now
    return phonemize


def _set_voice(bridge: Any, voice: str) -> None:
    try:
        bridge.set_voice(voice)
    except RuntimeError as exc:
        raise UnsupportedLanguage(f"espeak-ng has no voice {voice!r}") from exc


def _gruut(language: str) -> Phonemize:
    import gruut

    if not gruut.is_language_supported(language):
        raise UnsupportedLanguage(
            f"gruut has no {language!r} here; it has {', '.join(gruut.get_supported_languages())}"
        )

    def phonemize(text: str) -> str:
        words: list[str] = []
        for sentence in gruut.sentences(text, lang=language):
            for word in sentence:
                if word.is_break and words:
                    words[-1] += word.text
                elif word.is_break:
                    words.append(word.text)
                elif spoken := "".join(word.phonemes or ()).translate(_STRESS):
                    words.append(spoken)
        return " ".join(words)

    return phonemize


PHONEMIZERS: Mapping[str, Phonemizer] = {
    "espeak": Phonemizer("piper", "vits", _espeak),
    "gruut": Phonemizer("gruut", "gruut", _gruut),
}
