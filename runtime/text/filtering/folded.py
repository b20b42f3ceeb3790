"""A text as the filter compares it: what looks alike is one letter, what is not seen is gone, and
every letter knows its place in the text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

LETTER, DIGIT, SYMBOL, UNSPACED = "LDSW"
"""Kinds of characters that words are made of; `SYMBOL` may stand for a letter, `UNSPACED` is a
letter of a script that is written without spaces."""
SEPARATOR, STAR, SPACE, OTHER = ".* x"
"""Kinds of characters that stand between words."""

SYMBOLS = {"@": "a", "$": "s", "!": "i", "€": "e", "£": "l", "¢": "c"}
"""The letters that symbols are read as."""
_SEPARATORS = frozenset("._-‐‑‒–—·•・~|/\\+=")
_UNSEEN = re.compile(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7"
    "\u0610-\u061a\u0640\u064b-\u065f\u0670\u06d6-\u06dc\u06df-\u06e8\u06ea-\u06ed"
    "\u08d3-\u08ff\u093c\u115f\u1160\u1ab0-\u1aff\u1dc0-\u1dff"
    "\u20d0-\u20ff\u3164\ufe00-\ufe0f\ufe20-\ufe2f\uffa0\U000e0100-\U000e01ef]"
)
"""Accents, vowel signs of Arabic and Hebrew, tatweel, nukta, fillers: words are the same without
them."""
_MARK = re.compile("[\u0300-\u036f\u3099\u309a\uff9e\uff9f]")
_CLUSTER = re.compile(f"(?s:.){_MARK.pattern}{{0,2}}")
"""A character and the marks that may make another letter of it; the limit is for texts of nothing
but marks, whose composing takes the square of their number."""
_KANA_AND_HAN = re.compile("[\u0e00-\u0e7f\u3005-\u3007\u3041-\u30ff\u3400-\u9fff\uf900-\ufaff]")
_ALIKE = str.maketrans(
    "авекмнорстухісјѕԁһӏ"  # Cyrillic
    "αβεηικνορτυχω"
    "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ"
    "øłđħŧıɑɡ"
    "ٱىةکیےہھ",
    "abekmhopctuxicjsdhlabenikvoptuxwabcdefghijklmnoprstuvwyzoldhtiagايهكييهه",
)
_EXCLAMATION = re.compile("!++(?=([LDS])?)")
_MOST_CACHED = 8192


class Folded(NamedTuple):
    """`text` are the folded characters, `kinds` a kind for each; the one at `i` was made of the
    original's characters from `starts[i]` to `ends[i]`."""

    text: str
    kinds: str
    starts: list[int] | range
    ends: list[int] | range


class Folding:
    """How the texts of a language are folded.

    `own` are letters with marks that are letters of their own in it (ñ of Spanish); `letters` are
    pairs: the first is taken for the second.
    """

    def __init__(self, own: str = "", letters: Sequence[str] = ()) -> None:
        self._own = frozenset(own)
        self._letters = str.maketrans({pair[0]: pair[1] for pair in letters})
        self._cache: dict[str, tuple[str, str]] = {}

    def __call__(self, text: str) -> Folded:
        """Takes time in proportion to the text's length."""
        clusters = _CLUSTER.findall(text) if _MARK.search(text) else text
        known = self._cache
        folded = [known.get(cluster) or self._of(cluster) for cluster in clusters]
        chars = "".join([each[0] for each in folded])
        kinds = _EXCLAMATION.sub(_marks, "".join([each[1] for each in folded]))
        if len(clusters) == len(text) and all(len(each[0]) == 1 for each in folded):
            return Folded(chars, kinds, range(len(text)), range(1, len(text) + 1))
        return Folded(chars, kinds, *_places(clusters, folded))

    def _of(self, cluster: str) -> tuple[str, str]:
        """A cluster's folded characters and their kinds."""
        if (known := self._cache.get(cluster)) is not None:
            return known
        chars = "".join(map(self._fold, unicodedata.normalize("NFKC", cluster).casefold()))
        made = chars, "".join(map(_kind, chars))
        if len(self._cache) < _MOST_CACHED:
            self._cache[cluster] = made
        return made

    def _fold(self, char: str) -> str:
        if char in self._own:
            return char
        if unicodedata.category(char) in ("Cf", "Cc") and not char.isspace():
            return ""
        bare = _UNSEEN.sub("", unicodedata.normalize("NFD", char)).translate(_ALIKE)
        return unicodedata.normalize("NFC", bare).translate(self._letters)


def _marks(run: re.Match[str]) -> str:
    """Exclamation marks before a letter may be letters; behind words they are not."""
    return (SYMBOL if run.group(1) else OTHER) * len(run.group())


def _places(
    clusters: Sequence[str], folded: Sequence[tuple[str, str]]
) -> tuple[list[int], list[int]]:
    """Where each folded character begins and ends in the original. What is not seen is a part of
    the character before it."""
    starts: list[int] = []
    ends: list[int] = []
    end = 0
    for cluster, (chars, _) in zip(clusters, folded, strict=True):
        begin, end = end, end + len(cluster)
        if not chars and ends:
            ends[-1] = end
        starts += [begin] * len(chars)
        ends += [end] * len(chars)
    return starts, ends


def _kind(char: str) -> str:
    if char.isdecimal():
        return DIGIT
    if char.isspace():
        return SPACE
    if char == "!":
        return char  # `_marks` says which kind
    if char in SYMBOLS:
        return SYMBOL
    if char == "*":
        return STAR
    if char in _SEPARATORS:
        return SEPARATOR
    if _KANA_AND_HAN.match(char):
        return UNSPACED
    return LETTER if unicodedata.category(char)[0] in "LMN" else OTHER
