"""Latin letters for Chinese (pypinyin), Japanese (cutlet) and Korean (ko-speech-tools), as
upstream's training text has them.

The libraries are loaded at the first use of their language.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import cache

from voxturn.runtime.errors import ExecutorUnavailable

_TAGGER = threading.Lock()  # one MeCab, not reentrant


def romanize(text: str, language: str) -> str:
    """`text` in Latin letters where the language is not written in the model's script; else `text`."""
    make = {"zh-cn": _pinyin, "ja": _romaji, "ko": _hangul}.get(language)
    return make()(text) if make else text


@cache
def _pinyin() -> Callable[[str], str]:
    try:
        from pypinyin import Style, pinyin
    except ImportError as exc:
        raise ExecutorUnavailable("Chinese needs pypinyin; pip install 'voxturn[xtts]'") from exc

    def say(text: str) -> str:
        return "".join(
            heard[0]
            for heard in pinyin(
                text, style=Style.TONE3, heteronym=False, neutral_tone_with_five=True
            )
        )

    return say


@cache
def _romaji() -> Callable[[str], str]:
    try:
        from cutlet import Cutlet

        cutlet = Cutlet()
    except (ImportError, RuntimeError) as exc:  # MeCab without a dictionary is a RuntimeError
        raise ExecutorUnavailable(
            "Japanese needs cutlet and unidic-lite; pip install 'voxturn[xtts]'"
        ) from exc

    def say(text: str) -> str:
        with _TAGGER:
            romaji: str = cutlet.romaji(text)
        return romaji.lower()

    return say


@cache
def _hangul() -> Callable[[str], str]:
    try:
        from ko_speech_tools import hangul_romanize
    except ImportError as exc:
        raise ExecutorUnavailable(
            "Korean needs ko-speech-tools; pip install 'voxturn[xtts]'"
        ) from exc

    def say(text: str) -> str:
        latin: str = hangul_romanize(text)
        return latin

    return say
