"""Korean's own numbers, which count things, years of age and hours; the Chinese ones, in num2words,
count the rest. Pure."""

from __future__ import annotations

import re

from voxturn.runtime.text.normalize.spelling import substitute

_ONES = ("", "한", "두", "세", "네", "다섯", "여섯", "일곱", "여덟", "아홉")
_TENS = ("", "열", "스물", "서른", "마흔", "쉰", "예순", "일흔", "여든", "아흔")
_PEOPLE_AND_THINGS = re.compile(
    r"(?<![\d.,:/-])([1-4]?\d)(?=\s?(?:명|분(?=[이은께을의]|\s?[계오])|대(?=[가를의 ]|$)|장(?=[을의이 ]|$)|송이|그루|켤레|벌(?=[을의 ]|$)|채(?=[가를의 ]|$)|자루|그릇|쌍|군데|척|포기|줄(?=[을의 ]|$)|상자|달(?=[ 간에을]|$)|배(?=[나로 ]|$)|곡(?=[을의이 ]|$)|통(?=[을의 ]|$)|판(?=[을의 ]|$)|가구))"
)
"""Beyond forty-nine these are counted with Chinese numbers."""

_COUNTED = re.compile(
    r"(?<![\d.,:/-])([1-9]\d?)(?=\s?(?:개(?!월|년|국)|마리|살|잔|병|권|시간|가지|사람))"
)
_HOUR = re.compile(r"(?<![\d.,:/-])(1[0-2]|[1-9])(?=\s?시(?!간|장|민|내))")


def counted(text: str) -> str:
    """`text` with its own numbers where a counter asks for them: 세 개, 스무 살, 두 시."""
    text = substitute(_COUNTED, _said, substitute(_HOUR, _said, text))
    return substitute(_PEOPLE_AND_THINGS, _said, text)


def _said(match: re.Match[str]) -> str:
    tens, ones = divmod(int(match[1]), 10)
    if match[1][0] == "0":
        return match[0]
    said = "스무" if (tens, ones) == (2, 0) else _TENS[tens] + _ONES[ones]
    return said if match.string[match.end()].isspace() else f"{said} "
