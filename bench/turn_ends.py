"""Speech with a pause in it, of which is known where it goes on and where it ends: for
`voxturn bench endpoint`.

Everything is synthesised. A pause is made in three ways: the halves are spoken one by one, which
makes the first one sound finished; the first one is spoken with a comma; the whole is spoken and
cut between two words, which keeps its melody.
"""

from __future__ import annotations

import tomllib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from voxturn.bench.corpus import JOE, VOICES, Speakers, Voice, with_noise
from voxturn.runtime.audio.level import last_audible
from voxturn.runtime.frames import RATE
from voxturn.runtime.messages import Samples, Transcript
from voxturn.runtime.text.words import bare_words
from voxturn.runtime.turn.recognise import FilteredRecogniser

TEXTS: dict[str, dict[str, list[str]]] = tomllib.loads(
    (Path(__file__).parent / "turn_ends.toml").read_text(encoding="utf-8")
)
OTHER_VOICES = (
    Voice(JOE, 0.9, 1.06),
    Voice("en-gb-x-rp"),
    Voice(JOE, 1.1),
    Voice("en-us+m3", 1.1),
    Voice(JOE, 1.0, 0.94),
    Voice("en-gb-x-gbclan+f2", 0.95),
    Voice(JOE, 0.95),
    Voice("en-029", 0.9),
)
"""Of what is held out."""

SPEAKERS = {"tuned": VOICES, "held_out": OTHER_VOICES}
WAYS = ("apart", "comma", "inside")
PAUSES_S = (0.2, 0.35, 0.5, 0.75, 1.0)
TRAIL_S = 3.0
_LEAD_S = 0.3
_ROOM_DB = 40.0  # noise below the speech, as in a quiet room
_SILENT_DBFS = -60.0  # a word's last breath is how it is heard to be the last
_QUIET_S = 0.08  # how far from a word's time its boundary is looked for


@dataclass(frozen=True)
class Ending:
    """Speech with one pause. `resumes_s` and `ends_s`: where it goes on, and its true end.

    `group`: sentences, dictated or trailing.
    """

    text: str
    group: str
    way: str
    voice: Voice
    pause_s: float
    samples: Samples
    resumes_s: float
    ends_s: float

    @property
    def question(self) -> bool:
        """Whether the whole is a question."""
        return self.text.endswith("?")


async def endings(
    part: str, speakers: Speakers, stage: FilteredRecogniser, rounds: int
) -> AsyncIterator[Ending]:
    """Every text of a part in all three ways, `rounds` times; voices and pauses in rotation."""
    random = np.random.default_rng(0)
    voices = SPEAKERS[part]
    number = 0
    for turn in range(rounds):
        for group, texts in TEXTS[part].items():
            for text in texts:
                for way in WAYS:
                    voice = voices[(number + turn) % len(voices)]
                    pause_s = PAUSES_S[(number + number // len(PAUSES_S)) % len(PAUSES_S)]
                    number += 1
                    halves = await _halves(text, way, voice, speakers, stage)
                    if halves is not None:
                        whole, resumes_s, ends_s = _paused(halves, pause_s)
                        noisy = with_noise(whole, _ROOM_DB, random)
                        yield Ending(
                            text.replace("| ", ""),
                            group,
                            way,
                            voice,
                            pause_s,
                            noisy,
                            resumes_s,
                            ends_s,
                        )


async def _halves(
    text: str, way: str, voice: Voice, speakers: Speakers, stage: FilteredRecogniser
) -> tuple[Samples, Samples] | None:
    """What is said before and after the pause; None where the boundary was not found."""
    before, after = text.split(" | ")
    if way == "inside":
        whole = await speakers.say(f"{before} {after}", voice, _SILENT_DBFS)
        heard = await stage.transcribe(whole, words=True)
        boundary = _boundary(whole, heard, before.split())
        return None if boundary is None else (whole[:boundary], whole[boundary:])
    if way == "comma" and before[-1].isalnum():
        before += ","
    first = await speakers.say(before, voice, _SILENT_DBFS)
    return first, await speakers.say(after, voice, _SILENT_DBFS)


def _boundary(whole: Samples, heard: Transcript, before: Sequence[str]) -> int | None:
    """The quietest 20 ms near the end of what was said `before`; None where it was misheard."""
    if len(heard.words) <= len(before):
        return None
    last, following = heard.words[len(before) - 1 : len(before) + 1]
    if bare_words(last.text) != bare_words(before[-1]):
        return None
    middle = (last.end_s + following.begin_s) / 2
    size = RATE // 50
    first = max(size, round((middle - _QUIET_S) * RATE))
    stop = min(whole.size - 2 * size, round((middle + _QUIET_S) * RATE))
    starts = range(first, stop, size // 4)
    if not starts:
        return None
    return min(starts, key=lambda at: float((whole[at : at + size] ** 2).sum())) + size // 2


def _paused(halves: tuple[Samples, Samples], pause_s: float) -> tuple[Samples, float, float]:
    """The samples, and where the second half begins and is last audible, in seconds."""
    first, second = halves
    lead, pause = (
        np.zeros(int(_LEAD_S * RATE), np.float32),
        np.zeros(int(pause_s * RATE), np.float32),
    )
    trail = np.zeros(int(TRAIL_S * RATE), np.float32)
    samples = np.concatenate([lead, first, pause, second, trail])
    resumes = lead.size + first.size + pause.size
    last = last_audible(second)
    assert last is not None  # it is speech
    return samples, resumes / RATE, (resumes + last + 1) / RATE
