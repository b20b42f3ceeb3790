"""Words out of a speech model's tokens, and where they lie in the audio. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from voxturn.runtime.messages import Word
from voxturn.runtime.text.tokenizer import Tokenizer

_UNSPACED = ("zh", "ja", "th", "lo", "my", "yue", "km", "bo")
"""Languages that Whisper writes without spaces: what makes a character is taken for a word.
Source: openai-whisper, to whose list Khmer and Tibetan are added."""


def words_of(ids: Sequence[int], tokenizer: Tokenizer, language: str) -> list[tuple[int, ...]]:
    """The ids of each word, its marks with it. Joined they are `ids`."""
    words: list[tuple[int, ...]] = []
    for token in ids:
        text = tokenizer.decode([token])
        begun = bool(words) and tokenizer.decode(words[-1]).endswith(
            "\ufffd"
        )  # a character lacks some of its bytes
        if not words or (not begun and (text.startswith(" ") or _own(text, language))):
            words.append((token,))
        else:
            words[-1] += (token,)
    return words


def timed(
    words: Sequence[tuple[int, ...]], starts_s: Sequence[float], tokenizer: Tokenizer
) -> tuple[Word, ...]:
    """Words with their times. `starts_s`: when each token begins, and the end of the last."""
    out, at = [], 0
    for ids in words:
        end = at + len(ids)
        out.append(
            Word(tokenizer.decode(ids).strip(), round(starts_s[at], 2), round(starts_s[end], 2))
        )
        at = end
    return tuple(word for word in out if word.text)


def _own(text: str, language: str) -> bool:
    """Whether a token begins a word in a language without spaces; marks go with the word before
    them."""
    return language in _UNSPACED and any(char.isalnum() or char == "\ufffd" for char in text)
