"""Listening while an answer is spoken: what is heard over it, and whether that pauses or cuts it.

Nothing is heard twice by chance: the frames of speech that cuts the answer are kept, and the next
turn begins with them; those of speech that was none are forgotten.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass, replace

from voxturn.runtime.flow.event import Event
from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.messages import (
    AudioFrame,
    Heard,
    Speaking,
    SpeechStarted,
    Utterance,
)
from voxturn.runtime.text.backchannels import is_backchannel
from voxturn.runtime.text.filtering.rules import ELLIPSIS
from voxturn.runtime.text.words import bare_words
from voxturn.runtime.turn.interrupt.base import Overheard, Strategy
from voxturn.runtime.turn.listen import RATE
from voxturn.runtime.turn.own_voice import others_words
from voxturn.runtime.turn.playback import Playback
from voxturn.runtime.turn.recognise import Partials
from voxturn.runtime.turn.turn import Conversation

OWN_VOICE, BACKCHANNEL, NO_WORDS = "own voice", "backchannel", "no words"
_FIRST_PARTIAL_S = 0.6
"""Of what is heard, which begins a little before the speech."""

_MOST_PAUSE_MS = 200
"""How much speech pauses the answer where there were sounds that were none."""

_NO_ECHO_S = 0.15
"""Speech that begins so long after the answer's end is not its echo."""

_LOOKBACK_S = 1.3
"""How long before speech is noticed it may have begun: what the end-pointer looks back, and is in
doubt."""


class Act(enum.Enum):
    """What is done about speech over an answer."""

    PAUSE = "paused"
    RESUME = "resumed"
    IGNORE = "ignored"
    CUT = "cut"


@dataclass(frozen=True)
class Decision:
    """What is done, and why. `heard`: the words, as far as they are known."""

    act: Act
    reason: str
    heard: str = ""


@dataclass
class _Speech:
    """Somebody speaks over the answer.

    `begin` is a sample of the stream; `whole`: the samples that `text` is all of. `masked`: the
    content filter took words out of it.
    """

    begin: int
    since_s: float
    partials: Partials
    ms: float = 0.0
    text: str | None = None
    language: str = ""
    whole: int = 0
    masked: bool = False
    paused: bool = False
    after_own_voice: bool = False


class Overhearing:
    """Frames to decisions, while one answer is made and played; the last decision may be to cut it.

    `kept` are the frames that the next turn is to begin with. `quiet` is set while nobody speaks,
    or what is spoken was judged. Where the answer's own voice was heard, over this one
    (`heard_itself`) or one before (`hears_itself`), speech alone pauses nothing any more.
    """

    def __init__(
        self,
        conversation: Conversation,
        strategy: Strategy,
        playback: Playback,
        hears_itself: bool = False,
    ) -> None:
        self._conversation = conversation
        self._stages = conversation.stages
        self._strategy = strategy
        self._playback = playback
        self._speech: _Speech | None = None
        self._samples = 0
        self._arrived_s = 0.0
        self._pause_ms = strategy.pause_ms
        self.hears_itself = hears_itself
        self.heard_itself = False
        self.kept: deque[AudioFrame] = deque()
        self.quiet = Event()
        self.quiet.set()

    def use(self, strategy: Strategy) -> None:
        """Judge by another strategy from here on."""
        self._strategy = strategy
        self._pause_ms = strategy.pause_ms

    async def __call__(self, frames: AsyncIterator[AudioFrame]) -> AsyncGenerator[Decision, None]:
        """Decisions as they are made. Closes the frames."""
        background = self._conversation.background
        stream = self._stages.listen(self._keeping(frames), background=background)
        try:
            async for heard in stream:
                decision = await self._decide(heard)
                if decision is None:
                    continue
                yield decision
                if decision.act is Act.CUT:
                    return
        finally:
            try:
                if self._speech is not None:
                    await self._speech.partials.aclose()
            finally:
                self.quiet.set()
                await stream.aclose()

    async def _keeping(self, frames: AsyncIterator[AudioFrame]) -> AsyncGenerator[AudioFrame, None]:
        """The frames. The last ones are kept, and all since somebody began to speak."""
        try:
            async for each in frames:
                frame = replace(each, over=self._playback.sounding)
                self.kept.append(frame)
                self._samples += frame.samples.size
                self._arrived_s = frame.arrived_s
                if self._speech is None:
                    self._forget(_LOOKBACK_S)
                yield frame
        finally:
            await close_iterator(frames)

    async def _decide(self, heard: Heard) -> Decision | None:
        match heard:
            case SpeechStarted():
                self._begin(heard.at)
            case Speaking():
                if self._speech is None:  # it goes on after it was judged
                    self._begin(heard.start + sum(piece.size for piece in heard.pieces))
                self._take_words(heard)
        speech = self._speech
        if speech is None:
            return None
        if isinstance(heard, Utterance):
            await self._hear_all(speech, heard)
            return await self._judge(speech, paused=True, over=heard.final)
        speech.ms = max(0, self._samples - speech.begin) * 1000 / RATE
        return await self._judge(speech, paused=False, over=False)

    def _begin(self, at: int, after_own_voice: bool = False) -> None:
        language = self._conversation.language
        hearing = self._stages.recogniser.hear(language)
        clock = self._conversation.setup.clock
        self._speech = _Speech(
            at,
            self._arrived_s - (self._samples - at) / RATE,
            Partials(hearing, self._stages.partial_share, clock, _FIRST_PARTIAL_S),
            language=language,
            after_own_voice=after_own_voice,
        )
        self.quiet.clear()

    def _take_words(self, speaking: Speaking) -> None:
        """Take the words that are known by now, and ask for more."""
        speech = self._speech
        if speech is None or not self._strategy.needs_words:
            return
        skip, pieces = self._skip(speech, speaking.start), list(speaking.pieces)
        start = speaking.start
        while pieces and pieces[0].size <= skip:
            start += pieces[0].size
            skip -= pieces.pop(0).size
        if (partial := speech.partials.offer(Speaking(tuple(pieces), RATE, start))) is not None:
            # a piece of the own voice is often misheard at first
            unstable = "" if self.hears_itself else partial.unstable
            speech.text = partial.stable + unstable
            speech.language = partial.language

    async def _hear_all(self, speech: _Speech, utterance: Utterance) -> None:
        """Take all its words, unless they are known from when its end was suspected."""
        samples = utterance.samples[self._skip(speech, utterance.start) :]
        await speech.partials.stop()
        if not self._strategy.needs_words or speech.whole == samples.size:
            return
        speech.whole = samples.size
        transcript = await speech.partials.hearing.final(samples)
        speech.text = transcript.text
        speech.language = transcript.language
        speech.masked = bool(transcript.filtered or transcript.refusal)

    async def _judge(self, speech: _Speech, paused: bool, over: bool) -> Decision | None:
        """What is done, now that it goes on, pauses, or is over."""
        words, excuse = self._words_of(speech, paused, over)
        if excuse:
            return await self._dismiss(speech, excuse, paused)
        if reason := self._strategy.reason(Overheard(speech.ms, words)):
            return Decision(Act.CUT, reason, speech.text or "")
        if over:
            return await self._dismiss(speech, self._strategy.too_little, paused)
        if self._may_pause and not speech.paused and speech.ms >= self._pause_ms:
            speech.paused = True
            return Decision(Act.PAUSE, f"{self._pause_ms} ms of speech", speech.text or "")
        return None

    def _words_of(
        self, speech: _Speech, paused: bool, over: bool
    ) -> tuple[tuple[str, ...] | None, str]:
        """Its words, None while they are not known, and why they are no interruption, if that is
        certain.

        A pause after a first word that was not understood, as "Stop, …", may be no end.
        """
        if speech.text is None:
            return None, ""
        if speech.masked:  # those that are left out are words all the same
            return (*bare_words(speech.text), ELLIPSIS), ""
        if not bare_words(speech.text):
            return (), NO_WORDS if over else ""
        playback = self._playback
        words: Sequence[str] = bare_words(speech.text)
        if speech.since_s < playback.ended_s + _NO_ECHO_S:
            words = others_words(
                speech.text, playback.text_since(speech.since_s), speech.after_own_voice
            )
        if not words:
            return (), OWN_VOICE
        if is_backchannel(" ".join(words), speech.language) and not playback.asks:
            return (), BACKCHANNEL if paused else ""
        return tuple(words), ""

    async def _dismiss(self, speech: _Speech, reason: str, paused: bool) -> Decision:
        """It is no interruption. If it goes on, what follows is judged anew."""
        await speech.partials.aclose()
        if speech.paused:
            # a room with such sounds should not chop the answer to pieces
            self._pause_ms = max(self._pause_ms, min(self._pause_ms * 3 // 2, _MOST_PAUSE_MS))
        if reason == OWN_VOICE:
            self.hears_itself = self.heard_itself = True
        if paused:
            self._speech = None
            self.quiet.set()
            self.kept.clear()
        else:
            self._begin(self._samples, after_own_voice=True)
            self._forget(_LOOKBACK_S)
        act = Act.RESUME if self._playback.paused else Act.IGNORE
        return Decision(act, reason, speech.text or "")

    @property
    def _may_pause(self) -> bool:
        return self._pause_ms > 0 and not self.hears_itself and not self._playback.over

    def _skip(self, speech: _Speech, start: int) -> int:
        """How many samples from `start` on were heard well before this speech began, as part of
        what was judged."""
        before = self._stages.listen.options.before_ms * RATE // 1000
        return max(0, speech.begin - before - start)

    def _forget(self, keep_s: float) -> None:
        """Keep the last seconds alone."""
        kept = sum(frame.samples.size for frame in self.kept)
        while self.kept and kept - self.kept[0].samples.size >= keep_s * RATE:
            kept -= self.kept.popleft().samples.size
