"""Japanese counters whose sound changes after a number, as they sound: サンボン, ロッピキ, ハタチ. Pure.

In katakana, which the reader of kanji leaves whole; it reads 三本 as a name. Where it reads the
kanji rightly they stay.
"""

from __future__ import annotations

import re

from voxturn.runtime.text.normalize.spelling import substitute

_ROWS = {
    "本": {1: "イッポン", 3: "サンボン", 6: "ロッポン", 8: "ハッポン", 10: "ジュッポン"},
    "匹": {1: "イッピキ", 3: "サンビキ", 6: "ロッピキ", 8: "ハッピキ", 10: "ジュッピキ"},
    "杯": {1: "イッパイ", 6: "ロッパイ", 8: "ハッパイ", 10: "ジュッパイ"},
    "分": {1: "イップン", 3: "サンプン", 6: "ロップン", 8: "ハップン", 10: "ジュップン"},
    "階": {1: "イッカイ", 6: "ロッカイ", 8: "ハッカイ", 10: "ジュッカイ"},
    "回": {1: "イッカイ", 6: "ロッカイ", 8: "ハッカイ", 10: "ジュッカイ"},
    "個": {1: "イッコ", 6: "ロッコ", 8: "ハッコ"},
    "歳": {1: "イッサイ", 8: "ハッサイ", 10: "ジュッサイ"},
    "才": {1: "イッサイ", 8: "ハッサイ", 10: "ジュッサイ"},
}
"""By counter: how it sounds together with the last number that changes it."""

_WHOLE = {"20歳": "ハタチ", "4時": "ヨジ", "7時": "シチジ", "9時": "クジ"}
_TENS = (
    "",
    "ジュウ",
    "ニジュウ",
    "サンジュウ",
    "ヨンジュウ",
    "ゴジュウ",
    "ロクジュウ",
    "ナナジュウ",
    "ハチジュウ",
    "キュウジュウ",
)
_COUNTED = re.compile(
    rf"(?<![\d.,:/第-])([1-9]\d?)([{''.join(_ROWS)}](?![月年数野部気目の])|時(?![間代期]))"
)


def counted(text: str) -> str:
    """`text` with these numbers and counters as they sound."""
    return substitute(_COUNTED, _said, text)


def _said(match: re.Match[str]) -> str:
    if match[0] in _WHOLE:
        return _WHOLE[match[0]]
    tens, ones = divmod(int(match[1]), 10)
    changed = _ROWS.get(match[2], {}).get(ones or 10)
    if changed is None:
        return match[0]
    return (
        _TENS[tens if ones else 0] + changed
        if ones
        else _TENS[tens].removesuffix("ジュウ") + changed
    )
