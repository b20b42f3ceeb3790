"""One connection: its events in order, one piece of work at a time, the end when the client leaves.

After an error the connection is closed: clients that wait for an answer of another kind would wait
for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from voxturn.runtime.errors import StreamClosed
from voxturn.runtime.flow.handoff import Handoff, cancel_all
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError, api_error
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.wyoming.about import info_of
from voxturn.runtime.gateway.wyoming.answer import Agent
from voxturn.runtime.gateway.wyoming.hear import Utterance
from voxturn.runtime.gateway.wyoming.line import Line
from voxturn.runtime.gateway.wyoming.speak import WrittenText, check_length, chosen, say
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart
from wyoming.event import Event, Eventable
from wyoming.ping import Ping, Pong
from wyoming.tts import Synthesize, SynthesizeChunk, SynthesizeStart, SynthesizeStopped

_EVENTS_AHEAD = 16
_LAST = frozenset({"handled", "not-handled", "transcript", "audio-stop"})
"""Events after which a client has all that it asked for; Home Assistant leaves then."""


class Connection:
    """Serves a client until it leaves. `work` is what is being made for it."""

    def __init__(
        self,
        gateway: Gateway,
        caller: Caller,
        agent: Agent,
        line: Line,
    ) -> None:
        self._gateway = gateway
        self._caller = caller
        self._agent = agent
        self._line = line
        self._served = False
        self._inbox: Handoff[Event] = Handoff(_EVENTS_AHEAD)
        self._utterance: Utterance | None = None
        self._heard = False
        self._language = ""
        self._text: WrittenText | None = None
        self.work: asyncio.Task[None] | None = None
        self._takes: Mapping[str, Callable[[Event], Awaitable[None]]] = {
            "describe": self._describe,
            "ping": self._ping,
            "transcribe": self._transcribe,
            "audio-start": self._audio_start,
            "audio-chunk": self._audio_chunk,
            "audio-stop": self._audio_stop,
            "transcript": self._question,
            "synthesize": self._synthesize,
            "synthesize-start": self._synthesize_start,
            "synthesize-chunk": self._synthesize_chunk,
            "synthesize-stop": self._synthesize_stop,
        }

    @property
    def working(self) -> bool:
        """Whether something is being made for the client, which does not wait for the client."""
        return self.work is not None and not self.work.done() and self._text is None

    async def run(self) -> str:
        """Serve it to its end; the code of the error that ended it, empty where there is none."""
        reading, watching = [asyncio.create_task(each) for each in (self._read(), self._watch())]
        try:
            async for event in self._inbox:
                take = self._takes.get(event.type, self._pass_over)
                await take(event)
            return ""
        except (ConnectionError, StreamClosed):
            return "" if self._served else "left"
        except Exception as exc:  # noqa: BLE001  every error is told
            await cancel_all([reading, *self._works()])  # nothing comes after an error
            return await self._tell(_error_of(exc))
        finally:
            self._inbox.abandon()
            self._line.close()  # first: whoever ends the server may cancel what follows
            try:
                await cancel_all([reading, watching, *self._works()])
            finally:
                if self._utterance is not None:
                    await self._utterance.aclose()
                await self._line.closed()

    def _works(self) -> list[asyncio.Task[None]]:
        return [self.work] if self.work is not None else []

    @property
    def idle(self) -> bool:
        """Whether nothing was begun on it."""
        return self.work is None

    async def _send(self, item: Eventable) -> None:
        """Send an event. Raises `ConnectionError`."""
        await self._line.send(item)
        self._served = self._served or item.event().type in _LAST

    async def refuse(self, error: ApiError) -> None:
        """Say why it is not served, instead of `run`."""
        try:
            await self._tell(error)
        finally:
            self._line.close()

    async def _read(self) -> None:
        """Read ahead, so that it is noticed when the client leaves while something is made for
        it."""
        try:
            while (event := await self._line.read()) is not None:
                await self._inbox.put(event)
            self._inbox.close()
            if self.work is not None:
                self.work.cancel()
        except StreamClosed:
            pass  # it is over
        except Exception as exc:  # noqa: BLE001  it is told
            self._inbox.fail(exc)

    async def _watch(self) -> None:
        """End the connection once nothing has come or gone for too long."""
        clock, idle_s = self._gateway.clock, self._gateway.settings.idle_s
        while (due_s := self._line.used_s + idle_s) > clock.now() or self.working:
            await clock.sleep_until(max(due_s, clock.now() + 1.0))
        self._inbox.fail(ApiError(408, f"nothing came for {idle_s:g} s", "idle_timeout"))

    async def _tell(self, error: ApiError) -> str:
        """Tell what ends the connection; the error's code."""
        self._gateway.metrics.refused(error.status, error.code)
        await self._line.tell(error)
        return error.code or error.type

    async def _admit(self) -> None:
        """Let a request in. Raises `ApiError`."""
        if self._gateway.stopping.is_set():
            raise ApiError(503, "the gateway is stopping", "stopping")
        await self._gateway.limits.request(self._caller)

    def _begin(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Begin what was let in; its error ends the connection."""
        self.work = asyncio.create_task(self._counted(what, work))
        self.work.add_done_callback(self._done)

    async def _counted(self, what: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do a piece of work and count how it ends: a client that leaves as soon as it has all
        that it wanted was served."""
        status, self._served = "499", False
        try:
            await work()
            status = "200"
        except ConnectionError:
            raise
        except Exception as exc:
            error = _error_of(exc)
            status = str(error.status)
            raise error from exc
        finally:
            status = "200" if self._served else status
            self._gateway.metrics.requests.labels(f"wyoming/{what}", status).inc()

    def _done(self, work: asyncio.Task[None]) -> None:
        if not work.cancelled() and (error := work.exception()) is not None:
            self._inbox.fail(error)

    async def _finished(self) -> None:
        """Wait until nothing is made any more. A text that was not ended ends here. Raises the
        work's error."""
        await self._synthesize_stop()
        if self.work is not None:
            await asyncio.wait([self.work])
            if not self.work.cancelled() and (error := self.work.exception()) is not None:
                raise error

    async def _pass_over(self, event: Event) -> None:
        """What a server does not know, the protocol wants it to ignore."""

    async def _describe(self, event: Event) -> None:
        await self._send(info_of(self._gateway.assistant, self._gateway.voices.speakers))

    async def _ping(self, event: Event) -> None:
        await self._send(Pong(Ping.from_event(event).text))

    async def _transcribe(self, event: Event) -> None:
        self._language = _text(Transcribe.from_event(event).language)

    async def _audio_start(self, event: Event) -> None:
        form = AudioStart.from_event(event)
        await self._admit()  # it is heard from here on
        await self._finished()
        if self._utterance is not None:
            await self._utterance.aclose()
        self._utterance, self._heard = Utterance(self._gateway, self._language), False
        self._utterance.begin(form)

    async def _audio_chunk(self, event: Event) -> None:
        if self._utterance is not None and not self._heard:
            await self._utterance.push(AudioChunk.from_event(event).audio, self._send)

    async def _audio_stop(self, event: Event) -> None:
        if self._utterance is None or self._heard:
            return
        await self._finished()
        utterance, self._heard, self._language = self._utterance, True, ""

        async def finish() -> None:
            try:
                await utterance.finish(self._send)
            finally:
                await utterance.aclose()

        self._begin("transcribe", finish)

    async def _question(self, event: Event) -> None:
        said = Transcript.from_event(event)
        context = said.context if isinstance(said.context, dict) else None
        await self._finished()
        question = _text(said.text)
        await self._admit()
        self._begin("handle", lambda: self._agent.answer(question, context, self._send))

    async def _synthesize(self, event: Event) -> None:
        asked = Synthesize.from_event(event)
        text = _text(asked.text)
        if self._text is not None:  # the same text once more, for servers that take no pieces
            if not self._text.size:
                await self._text.add(text)
            return
        check_length(len(text), self._gateway.settings.longest_text)
        await self._finished()

        async def speak() -> None:
            voice = await chosen(self._gateway, asked.voice)
            sentences = self._gateway.voices.split(voice).whole(text)
            await say(self._gateway, voice, sentences, self._send)

        await self._admit()
        self._begin("synthesize", speak)

    async def _synthesize_start(self, event: Event) -> None:
        asked = SynthesizeStart.from_event(event)
        await self._finished()
        text = self._text = WrittenText(self._gateway.settings.longest_text)

        async def speak() -> None:
            try:
                voice = await chosen(self._gateway, asked.voice)
                sentences = self._gateway.voices.split(voice)(text.tokens())
                await say(self._gateway, voice, sentences, self._send)
            finally:
                text.drop()
            await self._send(SynthesizeStopped())

        await self._admit()
        self._begin("synthesize", speak)

    async def _synthesize_chunk(self, event: Event) -> None:
        if self._text is not None:
            try:
                await self._text.add(_text(SynthesizeChunk.from_event(event).text))
            except StreamClosed:  # its work has failed, which is told
                await self._finished()

    async def _synthesize_stop(self, event: Event | None = None) -> None:
        if self._text is not None:
            self._text.end()
            self._text = None


def _error_of(exc: Exception) -> ApiError:
    """What a client is told of an error. The package raises these for fields that are not there."""
    if isinstance(exc, KeyError | TypeError | AttributeError) and _is_of_the_package(exc):
        return ApiError(400, "an event lacks a field, or has one of another kind", "invalid_event")
    return api_error(exc)


def _is_of_the_package(exc: Exception) -> bool:
    at = exc.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return at is not None and str(at.tb_frame.f_globals.get("__name__", "")).startswith("wyoming.")


def _text(value: object) -> str:
    """A text of an event. Raises `ApiError` for what is none; empty for nothing."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ApiError(400, "a text is no text", "invalid_event")
    return value
