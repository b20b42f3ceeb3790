"""Captions, of a spoken answer or of a recording: WebVTT (W3C), and SubRip (`.srt`)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import zip_longest

from voxturn.runtime.messages import PcmChunk, Word
from voxturn.runtime.turn.recording import Passage

_LONGEST_S, _LONGEST_TEXT = 7.0, 84
"""What is read at once: two lines of 42 characters, seven seconds (the BBC's and Netflix's rules)."""
_ENDS = ".!?…。！？؟।"


@dataclass(frozen=True)
class Cue:
    """A text that is shown from one time to another, in seconds."""

    text: str
    begin_s: float
    end_s: float


def webvtt(chunks: Iterable[PcmChunk]) -> str:
    """The `.vtt` file of an answer: a cue a sentence, from its first sample to its last."""
    cues: dict[int, Cue] = {}
    for chunk in chunks:
        begin, end = chunk.start / chunk.rate, (chunk.start + chunk.samples.size) / chunk.rate
        before = cues.get(chunk.sentence.index)
        begin = begin if before is None else before.begin_s
        cues[chunk.sentence.index] = Cue(chunk.sentence.text, begin, end)
    return vtt(cues.values())


def vtt(cues: Iterable[Cue]) -> str:
    """The text of a `.vtt` file.

    Text of any direction is kept as it is: players order it themselves.
    """
    blocks = [f"{_time(cue.begin_s)} --> {_time(cue.end_s)}\n{_escaped(cue.text)}" for cue in cues]
    return "\n\n".join(["WEBVTT", *blocks]) + "\n"


def srt(cues: Iterable[Cue]) -> str:
    """The text of a `.srt` file."""
    blocks = [
        f"{number}\n{_time(cue.begin_s, ',')} --> {_time(cue.end_s, ',')}\n{_one_line(cue.text)}\n"
        for number, cue in enumerate(cues, start=1)
    ]
    return "\n".join(blocks)


def cues_of(passage: Passage) -> list[Cue]:
    """A passage cut into what is read at once; whole, where the times of its words are not known."""
    text, cues = passage.transcript.text, list[Cue]()
    words = list(_placed(text, passage.transcript.words))
    begin, begin_s = 0, words[0][0].begin_s if words else passage.begin_s
    for (word, end), following in zip_longest(words, words[1:]):
        more = following is not None and (
            following[1] - begin > _LONGEST_TEXT or following[0].end_s - begin_s > _LONGEST_S
        )
        if following is not None and (more or text[:end].rstrip("\"'”’»)").endswith(tuple(_ENDS))):
            cues.append(Cue(text[begin:end].strip(), begin_s, word.end_s))
            begin, begin_s = end, following[0].begin_s
    end_s = words[-1][0].end_s if words else passage.end_s
    return [*cues, Cue(text[begin:].strip(), begin_s, end_s)]


def _placed(text: str, words: Iterable[Word]) -> Iterator[tuple[Word, int]]:
    """Each word, and where it ends in the text."""
    end = 0
    for word in words:
        at = text.find(word.text, end)
        if at >= 0:
            end = at + len(word.text)
            yield word, end


def _time(seconds: float, mark: str = ".") -> str:
    milliseconds = round(1000 * seconds)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest // 1000:02}{mark}{rest % 1000:03}"


def _one_line(text: str) -> str:
    """A blank line would end the cue."""
    return " ".join(text.split())


def _escaped(text: str) -> str:
    return _one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
