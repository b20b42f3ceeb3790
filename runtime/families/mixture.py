"""How a speaker is named: a voice, a voice in one of its styles, or a mixture of several. Pure.

    ana    ana/happy    ana:0.7+ben:0.3    ana/happy+ben

Weights are shares: they are brought to a sum of 1. A part without a weight has the weight 1.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

from voxturn.runtime.errors import UsageError
from voxturn.runtime.text.styles import style_name

_MOST_PARTS = 8
_FORM = "name voices as in ana, ana/happy or ana:0.7+ben:0.3"


@dataclass(frozen=True)
class Part:
    """A voice, in a style (empty: its own), and its share of the mixture, above 0 to 1."""

    voice: str
    style: str = ""
    weight: float = 1.0


def parts_of(speaker: str, known: Collection[str] = ()) -> tuple[Part, ...]:
    """The parts of a mixture, whose weights have the sum 1; of a voice alone, that one.

    What is `known` is a voice, whatever signs its name has. Raises `UsageError` for what is no name
    of a speaker.
    """
    if speaker in known:
        return (Part(speaker),)
    texts = speaker.split("+")
    if len(texts) > _MOST_PARTS:
        raise UsageError(f"speaker {speaker[:80]!r}: at most {_MOST_PARTS} voices can be mixed")
    parts = [_part(text, speaker) for text in texts]
    total = sum(part.weight for part in parts)
    return tuple(replace(part, weight=part.weight / total) for part in parts)


def _part(text: str, speaker: str) -> Part:
    name, colon, weight = text.partition(":")
    voice, slash, style = name.strip().partition("/")
    if not voice.strip() or (slash and not style):
        raise UsageError(f"speaker {speaker[:80]!r}: a part of it names no voice; {_FORM}")
    return Part(
        voice.strip(),
        style_name(style) if slash else "",
        _weight(weight, speaker) if colon else 1.0,
    )


def _weight(text: str, speaker: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = math.nan
    if not 1e-6 <= weight <= 1e6:  # NaN is not either
        raise UsageError(
            f"speaker {speaker[:80]!r}: the weight {text.strip()[:20]!r} is no number above 0; {_FORM}"
        )
    return weight
