"""A suspected end of speech: what its words and its sound say of it, as soon as they are known."""

from __future__ import annotations

import asyncio

from voxturn.runtime.families.base import EndOfTurn, SoundOfEnd
from voxturn.runtime.flow.handoff import cancel_and_wait
from voxturn.runtime.messages import Samples, Transcript
from voxturn.runtime.turn.end_of_turn import judged


class Suspicion:
    """Judges one suspected utterance of 16 kHz `samples`, by the judges that there are.

    The sound is judged in a task of its own, which waits for nothing and nothing waits for. Close it
    when the suspicion is over.
    """

    def __init__(self, words: EndOfTurn | None, sound: SoundOfEnd | None, samples: Samples) -> None:
        self._words = words
        self._samples = samples
        self._sound: asyncio.Task[float] | None = None
        if sound is not None:
            self._sound = asyncio.create_task(sound(samples))

    def chance(self, transcript: Transcript | None) -> float | None:
        """How likely the speaker is done, from 0 to 1; None where nothing judges that.

        `transcript` is None while it is not known. Raises what judging the sound raised.
        """
        words = sound = None
        if self._words is not None and transcript is not None:
            words = self._words.chance(transcript, self._samples)
        if self._sound is not None and self._sound.done():
            sound = self._sound.result()
        return judged(self._words is not None, words, self._sound is not None, sound)

    async def aclose(self) -> None:
        """Judge no further."""
        if self._sound is not None:
            await cancel_and_wait(self._sound)
