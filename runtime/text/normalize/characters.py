"""The characters that the model knows: NFC, plain quotes and dashes, ASCII digits, nothing
invisible, no pictures. Pure."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from voxturn.runtime.text.normalize.spelling import Spelling, substitute

_PLAIN = str.maketrans(
    {
        **dict.fromkeys(
            '"“”„‟«»‹›〝〞＂', ""
        ),  # upstream takes the straight ones away; the others are no token
        **dict.fromkeys("’‘‚‛ʼʹ′`´", "'"),
        **dict.fromkeys("‐‑‒–—―−﹣－", "-"),
        **dict.fromkeys("\u00a0\u2007\u202f\u2009", "\u00a0"),  # spaces inside numbers; see `clean`
        "…": "...",
        "٬": ",",
        "٫": ".",
        "％": "%",
        "￥": "¥",
        "﷼": "ر.س",
        "℃": "°c",
        "℉": "°f",
    }
)
# Chinese and Japanese quotes and dashes are punctuation of their own romanisers
_EAST = str.maketrans({'"': None} | dict.fromkeys("−﹣", "-") | {"℃": "°c", "℉": "°f", "％": "%"})
# marks that the rules read as others, where words are wanted; a dash between words is no hyphen
_READ_AS = {
    mark: plain
    for mark, plain in _PLAIN.items()
    if plain is not None and len(plain) == 1 and chr(mark) not in "—―"
}
# other forms of letters and units, which mean the same as the plain ones
_SAME = frozenset(
    {"<initial>", "<medial>", "<final>", "<isolated>", "<font>", "<wide>", "<narrow>", "<square>"}
)
_LIGATURES = frozenset(map(chr, range(0xFB00, 0xFB07)))
_RAISED = frozenset("ᵉʳˢᵗʰⁿᵈᵐᵃᵒ")
"""Letters of ordinals: XIXᵉ."""
_HALF_WIDTH = re.compile("[\uff65-\uff9f]+")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_DIACRITICS = re.compile("[\u064b-\u0652\u0670\u0640]")
_INSIDE_NUMBER = re.compile(r"(?<=\d)[\u00a0'](?=\d{3}(?!\d))")
_KEPT = frozenset("°№^`´¨¯")  # symbols that have a name, and ASCII's
_NAMED = frozenset("%٪&@#$€£¥₹₽₺₩°№+=")
_INVISIBLE = frozenset({"Cc", "Cf", "Cn", "Cs"})
_SELECTORS = frozenset(map(chr, (0x20E3, *range(0xFE00, 0xFE10))))  # variants of a picture, keycaps
_BLANKS = re.compile(r"[^\S\u00a0\u202f\u2007\u2009]+")
_PICTURE = "\ufffc"
_PICTURES = re.compile(rf" ?{_PICTURE}(?: ?{_PICTURE})*(?=(\w)?)")


def clean(text: str, language: str, *, diacritics: bool = True) -> str:
    """`text` without what cannot be said.

    `diacritics=False` takes Arabic vowel marks and the tatweel away.
    """
    text = _BLANKS.sub(" ", composed(text))
    text = text.translate(_EAST if language in ("zh-cn", "ja") else _PLAIN)
    text = "".join(map(_plain, text))
    text = _PICTURES.sub(lambda m: " " if m[1] else "", text)
    if not diacritics:
        text = _DIACRITICS.sub("", text)
    return _INSIDE_NUMBER.sub("", text).replace("\u00a0", " ")


def composed(text: str) -> str:
    """NFC; half-width kana join their marks, as they do in full width."""
    text = _HALF_WIDTH.sub(lambda m: unicodedata.normalize("NFKC", m[0]), text)
    return unicodedata.normalize("NFC", text)


@lru_cache(maxsize=4096)
def compatible(char: str) -> str:
    """`char` in its plain form where that means the same: ﬁ, ﺏ, Ａ, 𝐀, ㎞; not ½, ² or ™."""
    if (
        char in _LIGATURES
        or char in _RAISED
        or unicodedata.decomposition(char).partition(" ")[0] in _SAME
    ):
        return unicodedata.normalize("NFKC", char).replace("\u2044", "/")
    return char


def legible(text: str) -> Spelling:
    """`text` as the rules read it, every mark at its place; digits and signs have one form."""
    text = substitute(_NOT_ASCII, lambda m: _sign(m[0]), Spelling(text, text))
    assert isinstance(text, Spelling)
    text = substitute(_INSIDE_NUMBER, "", Spelling(text.translate(_READ_AS), text.written))
    assert isinstance(text, Spelling)
    return Spelling(text.replace("\u00a0", " "), text.written)


@lru_cache(maxsize=4096)
def _sign(char: str) -> str:
    """The plain form of a digit or of a sign that stands for several; any other character itself."""
    if unicodedata.category(char) in ("Nd", "No"):
        return _plain(char)
    if (plain := compatible(char)) != char and plain[0].isalnum():
        return plain
    plain = _PLAIN.get(ord(char)) or char
    return plain if len(plain) > 1 and char != "…" else char


@lru_cache(maxsize=4096)
def _plain(char: str) -> str:
    """What stands for one character."""
    if char == " " or char == "\u00a0" or char in _KEPT:
        return char
    if (plain := compatible(char)) != char and (plain[0].isalnum() or plain[0] == "°"):
        char = plain
        if len(plain) > 1:
            return plain
    value = unicodedata.decimal(char, None)
    if value is not None:
        return str(value)
    category = unicodedata.category(char)
    if category == "No":  # superscripts, fractions, numbers in circles
        written = unicodedata.normalize("NFKC", char).replace("\u2044", "/")
        if written == char:  # white on black circles have no plain form
            written = f"{unicodedata.numeric(char):g}"
        return written if len(written) == 1 else f" {written} "
    if category in ("So", "Sk", "Co") or char in _SELECTORS:
        return _PICTURE
    return "" if category in _INVISIBLE else char


def spoken(text: str) -> bool:
    """Whether anything in `text` is said: a letter, a digit or a sign that has a name."""
    return any(unicodedata.category(char)[0] in "LN" or char in _NAMED for char in text)
