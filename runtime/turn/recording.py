"""A whole recording to its words, utterance by utterance, while it is still being read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, replace

from voxturn.runtime.audio.container import ReadReport
from voxturn.runtime.flow.handoff import Ahead
from voxturn.runtime.messages import AudioFrame, Transcript, Utterance, Word
from voxturn.runtime.turn.listen import Endpointing, Listen
from voxturn.runtime.turn.recognise import FilteredRecogniser

_UTTERANCES_AHEAD = 4


@dataclass(frozen=True)
class Passage:
    """An utterance of a recording and its words, in seconds since the recording began.

    Neither it nor a word begins before the recording's sound does, which silence stands before.
    """

    begin_s: float
    end_s: float
    transcript: Transcript


def for_files(settings: Endpointing) -> Endpointing:
    """Nobody waits for an answer: pieces as long as the model takes, which it hears better, cut
    where there is a pause."""
    long = 2000
    return replace(
        settings,
        suspect_ms=long,
        finished_ms=long,
        end_ms=long,
        unfinished_ms=long,
        eager=0.5,
        cut_s=15.0,
        cut_pause_ms=160,
    )


async def passages(
    listen: Listen,
    recogniser: FilteredRecogniser,
    frames: AsyncIterator[AudioFrame],
    report: ReadReport,
    words: bool = False,
) -> AsyncGenerator[Passage | None, None]:
    """What is said in a recording, with the times of the words if `words`; None for an utterance
    without any.

    `report` is the one that reading `frames` fills. Silence gives nothing. Raises what reading and
    the recogniser raise; closing this stops both.
    """
    heard = listen(frames)
    utterances = Ahead(
        (item async for item in heard if isinstance(item, Utterance) and item.final),
        _UTTERANCES_AHEAD,
    )
    spoken_in = ""
    try:
        async for utterance in utterances:
            transcript = await recogniser.transcribe(utterance.samples, spoken_in, words)
            if transcript.text:
                spoken_in = transcript.language
                yield _passage(utterance, transcript, report.begin_s)
            else:
                yield None
    finally:
        await utterances.aclose()
        await heard.aclose()


def _passage(utterance: Utterance, transcript: Transcript, earliest_s: float) -> Passage:
    begin_s = utterance.start / utterance.rate
    end_s = begin_s + utterance.samples.size / utterance.rate
    words = tuple(
        Word(
            word.text,
            max(word.begin_s + begin_s, earliest_s),
            max(word.end_s + begin_s, earliest_s),
        )
        for word in transcript.words
    )
    return Passage(max(begin_s, earliest_s), end_s, replace(transcript, words=words))
