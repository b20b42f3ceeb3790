"""What happens in a dialogue, as OpenAI's Live API tells it: sound and words on one line of time,
with neither turns nor answers."""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable
from typing import Any

from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.realtime import events as happened
from voxturn.runtime.gateway.realtime.formats import Encoder, Format
from voxturn.runtime.gateway.realtime.pace import Pacer
from voxturn.runtime.gateway.realtime.reply import CANCELLED, FAILED

Told = dict[str, Any]
_LETTER_MS = 1000 / 15
"""How long a letter sounds, about."""


class LiveEvents:
    """Writes what happens to `tell`, and paces what is said. `came_ms`: how much audio came in so
    far; the line of time begins when this is made."""

    def __init__(
        self,
        clock: Clock,
        form: Format,
        tell: Callable[[Told], None],
        room: Callable[[], Awaitable[None]],
        came_ms: Callable[[], float],
    ) -> None:
        self._clock = clock
        self._form = form
        self._tell = tell
        self._came_ms = came_ms
        self._began_s = clock.now()
        self.pacer = Pacer(clock, form, self._play, self._write, room)
        self._encoder: Encoder | None = None
        self._of = ""  # the answer that is said
        self._reply_at_s = 0.0
        self._said = self._heard = self._said_first = False
        self._words_ms = 0  # of what was heard: how far its words were told
        self._speech_first = False

    @property
    def now_ms(self) -> int:
        """Where the line of time is."""
        return self._ms(self._clock.now())

    def _ms(self, when_s: float) -> int:
        return max(0, round((when_s - self._began_s) * 1000))

    def __call__(self, event: happened.Happening) -> None:
        """Tell what there is to be told of it."""
        match event:
            case happened.AudioDelta():
                self._begin(event)
                if self._encoder is not None and (raw := self._encoder.push(event.samples)):
                    self.pacer.audio(raw)
            case happened.TextDelta():
                self._begin(event)
                self.pacer.word(self._spaced(event.text), self._reply_at_s + event.at_s)
            case happened.ContentDone():
                self._end(event)
            case happened.Withheld():
                self.pacer.pause()
            case happened.Released():
                self.pacer.resume()
            case happened.Cut():
                self.pacer.cut()
            case happened.SpeechBegan():
                self.pacer.cut()  # a client that reads slowly may be behind the clock
                at_ms = self.now_ms - round(self._came_ms() - event.at_ms)
                self._words_ms = max(self._words_ms, at_ms)
                self._speech_first = True
            case happened.HeardDelta():
                self._tell_heard(event.text)
            case happened.NotHeard() | happened.Failed():
                self._tell(problem(event.error))
            case happened.ReplyDone():
                if event.reply.error is not None:
                    self._tell(problem(event.reply.error))
                self._tell({"type": "session.usage.updated", "usage": self.usage()})

    def usage(self) -> Told:
        """How long it has lasted."""
        return {"seconds": self.now_ms // 1000}

    def _begin(self, event: happened.AudioDelta | happened.TextDelta) -> None:
        """An answer begins, after all that is still to be played."""
        if event.reply.id != self._of:
            self._of = event.reply.id
            self._encoder = Encoder(event.reply.rate, self._form)
            self._reply_at_s = self.pacer.added_s
            self._said_first = True

    def _end(self, event: happened.ContentDone) -> None:
        """An answer is whole: what its encoder holds back is said, too."""
        encoder, self._encoder = self._encoder, None
        cut = event.reply.status in (CANCELLED, FAILED)
        if encoder is not None and not cut and (raw := encoder.flush()):
            self.pacer.audio(raw)

    def _spaced(self, text: str) -> str:
        """The words of an answer, apart from those of the one before."""
        first, self._said_first = self._said_first, False
        spaced = f" {text}" if first and self._said else text
        self._said = True
        return spaced

    def _play(self, raw: bytes, at_s: float) -> None:
        delta = base64.b64encode(raw).decode("ascii")
        self._tell({"type": "session.output_audio.delta", "delta": delta})

    def _write(self, text: str, at_s: float) -> None:
        start = self._ms(at_s)
        end = start + round(len(text) * _LETTER_MS)
        where = {"start_ms": start, "end_ms": end}
        self._tell({"type": "session.output_transcript.delta", "delta": text} | where)

    def _tell_heard(self, text: str) -> None:
        first, self._speech_first = self._speech_first, False
        spaced = f" {text}" if first and self._heard else text
        self._heard = True
        start, self._words_ms = self._words_ms, max(self._words_ms, self.now_ms)
        where = {"start_ms": start, "end_ms": self._words_ms}
        self._tell({"type": "session.input_transcript.delta", "delta": spaced} | where)


def problem(error: ApiError, event_id: str | None = None) -> Told:
    """An `error` event. `event_id`: of the client's event that led to it."""
    told = error.to_dict()
    told["code"] = told["code"] or error.type
    about = {"client_event_id": event_id} if event_id is not None else {}
    return {"type": "error", "error": told | about} | about
