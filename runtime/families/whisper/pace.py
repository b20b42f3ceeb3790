"""How many of Whisper's tokens a second of speech can have, and usually has, by language. Pure.

The tokenizer learnt from text that is mostly English: a word of English is one token or two, a
letter of Burmese or Telugu often three, its bytes. So one limit for all languages is too low for
some and useless for others.
"""

from __future__ import annotations

_PACES = {
    5: "en de fr es it pt nl pl ru uk tr id ms su jw tl sw zh yue ko gl ca la",
    7: "ar fa ur he vi ja fi cs hu ro bg no nn da sk hr bs sl af eu is fo ht oc br lb cy mt sq lt lv et ha so sn ln mg haw mi",
    9: "sv el kk th mk sr be mn tg tt ba az uz tk ps sd yi yo",
    15: "hi mr ne sa ta hy",
    24: "bn as te kn si am pa",
    33: "ka gu ml lo km",
    45: "my bo",
}
"""Tokens a second at an ordinary pace: espeak-ng's 165 words a minute, on the paragraphs of
`bench/paragraphs.toml`."""

_PACE = {code: pace for pace, codes in _PACES.items() for code in codes.split()}
_UNKNOWN = 15
_QUICK = 2.4  # the quickest speak twice as fast, and numbers, names and marks take more tokens than words
SLOWEST = 2.0
"""Tokens a second of sound that everybody exceeds who speaks, whatever the language."""
_USUAL = 0.8  # 99 of 100 clips of read speech have more


def fastest(language: str) -> float:
    """Tokens a second that nobody exceeds who speaks the language with that code of Whisper's."""
    return _QUICK * _PACE.get(language, _UNKNOWN)


def usual(language: str) -> float:
    """Tokens that a second of sound usually has: with fewer, words may have been left out."""
    return _USUAL * _PACE.get(language, _UNKNOWN)
