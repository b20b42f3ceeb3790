"""Captions of a spoken answer, as WebVTT (W3C): a cue a sentence, from its first sample to its
last."""

from __future__ import annotations

from collections.abc import Iterable

from voxturn.runtime.messages import PcmChunk


def webvtt(chunks: Iterable[PcmChunk]) -> str:
    """The text of a `.vtt` file.

    Text of any direction is kept as it is: players order it themselves.
    """
    cues: dict[int, tuple[str, float, float]] = {}
    for chunk in chunks:
        begin, end = chunk.start / chunk.rate, (chunk.start + chunk.samples.size) / chunk.rate
        cues[chunk.sentence.index] = (
            chunk.sentence.text,
            cues.get(chunk.sentence.index, ("", begin, end))[1],
            end,
        )
    blocks = [
        f"{_time(begin)} --> {_time(end)}\n{_escaped(text)}" for text, begin, end in cues.values()
    ]
    return "\n\n".join(["WEBVTT", *blocks]) + "\n"


def _time(seconds: float) -> str:
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}.{rest % 1000:03}"


def _escaped(text: str) -> str:
    """In one line: a blank line would end the cue."""
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
