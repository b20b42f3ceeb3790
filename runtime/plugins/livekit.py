"""Plugins for LiveKit agents: an ear with partial transcripts, word times and early ends of turns,
and a voice with an aligned transcript that is interrupted without closing its connection."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import uuid
from typing import Any

from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.plugins.wire import address_of, audio_of, headers_of, told

try:
    from livekit import rtc
    from livekit.agents import APIConnectionError, APIError, stt, tts, utils
    from livekit.agents.types import DEFAULT_API_CONNECT_OPTIONS, APIConnectOptions, TimedString
    from websockets.asyncio.client import connect
    from websockets.exceptions import WebSocketException
except ImportError as exc:
    raise ExecutorUnavailable(
        f"this plugin needs LiveKit agents and websockets ({exc}); pip install 'voxturn[livekit]'"
    ) from exc

_HEARD_RATE = 16_000
_Type = stt.SpeechEventType


class STT(stt.STT):
    """A gateway's ear. Suspected ends of turns come as preflight transcripts, with which an agent
    may begin its answer."""

    def __init__(self, *, url: str, key: str = "", language: str = "") -> None:
        """`url` as `http://localhost:8080`. Raises `UsageError` for what is no address."""
        capabilities = stt.STTCapabilities(
            streaming=True,
            interim_results=True,
            aligned_transcript="word",
            offline_recognize=False,
            manual_flush=True,
        )
        super().__init__(capabilities=capabilities)
        self.address = address_of(url, "/ws/hear")
        self.key = key
        self.language = language

    async def _recognize_impl(self, buffer: Any, **options: Any) -> stt.SpeechEvent:
        raise NotImplementedError("use stream(): it hears while somebody speaks")

    def stream(
        self,
        *,
        language: Any = "",
        conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS,
    ) -> Stream:
        """What is said while it comes. `language`: a tag; else that of the constructor."""
        chosen = language if isinstance(language, str) and language else self.language
        return Stream(self, chosen, conn_options)


class Stream(stt.RecognizeStream):
    """One connection to `/ws/hear`."""

    def __init__(self, ear: STT, language: str, conn_options: APIConnectOptions) -> None:
        super().__init__(stt=ear, conn_options=conn_options, sample_rate=_HEARD_RATE)
        self._ear = ear
        self._language = language
        self._flushes = 0

    async def _run(self) -> None:
        self._flushes = 0  # of this connection
        try:
            async with connect(
                self._ear.address, additional_headers=headers_of(self._ear.key), max_size=None
            ) as socket:
                start = told("hear.start", version=1, rate=_HEARD_RATE, language=self._language)
                await socket.send(start)
                sending = asyncio.create_task(self._send(socket))
                try:
                    async for data in socket:
                        if self._take(json.loads(data)):
                            return
                finally:
                    await utils.aio.cancel_and_wait(sending)
        except (OSError, WebSocketException) as exc:
            raise APIConnectionError(f"{self._ear.address}: {exc}") from exc
        raise APIConnectionError(f"{self._ear.address}: the gateway closed the connection")

    async def _send(self, socket: Any) -> None:
        """The audio, and where it is flushed."""
        async for item in self._input_ch:
            if isinstance(item, rtc.AudioFrame):
                await socket.send(item.data.tobytes())
            else:
                await self._flush(socket)
        if not self._flushes:  # the last one was of a connection that broke, or is answered
            await self._flush(socket)

    async def _flush(self, socket: Any) -> None:
        self._flushes += 1
        await socket.send(told("flush"))

    def _take(self, event: dict[str, Any]) -> bool:
        """Tell an event; whether it is the last. Raises `APIError`."""
        match event["type"]:
            case "speech.started":
                self._tell(_Type.START_OF_SPEECH)
            case "partial":
                text = event["stable"] + event["unstable"]
                self._tell(_Type.INTERIM_TRANSCRIPT, stt.SpeechData(event["language"], text))
            case "speech.suspected":
                self._tell(_Type.PREFLIGHT_TRANSCRIPT, _data(event))
            case "transcript":
                if event["text"]:
                    self._tell(_Type.FINAL_TRANSCRIPT, _data(event))
                if not event["more"]:
                    self._tell(_Type.END_OF_SPEECH)
            case "flushed":
                self._flushes -= 1
                return self._input_ch.closed and not self._flushes
            case "error":
                raise APIError(f"{event['code']}: {event['message']}", retryable=False)
        return False

    def _tell(self, kind: Any, *data: stt.SpeechData) -> None:
        self._event_ch.send_nowait(stt.SpeechEvent(type=kind, alternatives=list(data)))


def _data(event: dict[str, Any]) -> stt.SpeechData:
    return stt.SpeechData(
        event["language"],
        event["text"],
        start_time=event["begin_s"],
        end_time=event["end_s"],
        confidence=math.exp(min(0.0, event["confidence"])),
        words=[_timed(each) for each in event["words"]],
    )


def _timed(word: dict[str, Any], mark: str = "") -> TimedString:
    return TimedString(word["text"] + mark, start_time=word["begin_s"], end_time=word["end_s"])


class TTS(tts.TTS):
    """A gateway's voice. Its texts share one connection, which stays open when one is stopped.

    `style` is one of the voice's, `speed` from 0.25 to 4; `rate` is the voice's, in Hz.
    """

    def __init__(
        self,
        *,
        url: str,
        key: str = "",
        voice: str = "",
        language: str = "",
        style: str = "",
        speed: float = 1.0,
        rate: int = 24_000,
    ) -> None:
        """`url` as `http://localhost:8080`. Raises `UsageError` for what is no address."""
        super().__init__(
            capabilities=tts.TTSCapabilities(streaming=True, aligned_transcript=True),
            sample_rate=rate,
            num_channels=1,
        )
        self._address = address_of(url, "/ws/say")
        self._key = key
        self.manner = {"voice": voice, "language": language, "style": style, "speed": speed}
        self._socket: Any = None
        self._reading: asyncio.Task[None] | None = None
        self._opening = asyncio.Lock()
        self._texts: dict[str, asyncio.Queue[Any]] = {}
        self._numbers: dict[int, str] = {}

    def synthesize(
        self, text: str, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> tts.ChunkedStream:
        """A whole text."""
        return self._synthesize_with_stream(text, conn_options=conn_options)

    def stream(
        self, *, conn_options: APIConnectOptions = DEFAULT_API_CONNECT_OPTIONS
    ) -> SynthesizeStream:
        """A text that is still being written."""
        return SynthesizeStream(self, conn_options)

    async def aclose(self) -> None:
        """Close the connection."""
        if self._reading is not None:
            await utils.aio.cancel_and_wait(self._reading)
        if self._socket is not None:
            await self._socket.close()
            self._socket = None

    async def tell(self, message: str) -> None:
        """Send a message. Raises `APIConnectionError`."""
        try:
            async with self._opening:
                if self._reading is None or self._reading.done():
                    headers = headers_of(self._key)
                    self._socket = await connect(
                        self._address, additional_headers=headers, max_size=None
                    )
                    self._reading = asyncio.create_task(self._read(self._socket))
            await self._socket.send(message)
        except (OSError, WebSocketException) as exc:
            raise APIConnectionError(f"{self._address}: {exc}") from exc

    async def cancel(self, text_id: str) -> None:
        """Stop a text; one whose connection is lost has ended with it."""
        if self._reading is not None and not self._reading.done():
            with contextlib.suppress(WebSocketException):
                await self._socket.send(told("cancel", id=text_id))

    def text(self) -> tuple[str, asyncio.Queue[Any]]:
        """A new text's id, and where its events and its PCM come, or the error that ends it."""
        text_id, events = uuid.uuid4().hex, asyncio.Queue[Any]()
        self._texts[text_id] = events
        return text_id, events

    def forget(self, text_id: str) -> None:
        """Nobody reads of a text any more."""
        self._texts.pop(text_id, None)

    async def _read(self, socket: Any) -> None:
        try:
            async for data in socket:
                if isinstance(data, bytes):
                    number, told_of = audio_of(data)
                    text_id = self._numbers.get(number, "")
                else:
                    told_of = json.loads(data)
                    text_id = told_of.get("id", "")
                    if told_of["type"] == "say.started":
                        self._numbers = {told_of["number"]: text_id}
                    if told_of["type"] == "error":  # of no text: what was asked cannot be
                        self._end_all(APIError(f"{told_of['code']}: {told_of['message']}"))
                if text_id in self._texts:
                    self._texts[text_id].put_nowait(told_of)
        except WebSocketException:
            return
        finally:
            lost = f"{self._address}: the gateway closed the connection"
            self._end_all(APIConnectionError(lost))

    def _end_all(self, error: APIError) -> None:
        """No text gets anything any more."""
        for events in self._texts.values():
            events.put_nowait(error)


class SynthesizeStream(tts.SynthesizeStream):
    """One text. Closing this stops it in the gateway."""

    def __init__(self, mouth: TTS, conn_options: APIConnectOptions) -> None:
        super().__init__(tts=mouth, conn_options=conn_options)
        self._mouth = mouth

    async def _run(self, output_emitter: tts.AudioEmitter) -> None:
        text_id, events = self._mouth.text()
        output_emitter.initialize(
            request_id=text_id,
            sample_rate=self._mouth.sample_rate,
            num_channels=1,
            mime_type="audio/pcm",
            stream=True,
        )
        output_emitter.start_segment(segment_id=text_id)
        sending, whole = asyncio.create_task(self._send(text_id, events)), False
        try:
            while not whole:
                whole = _push(output_emitter, await events.get(), self._mouth.sample_rate)
            output_emitter.end_segment()
        finally:
            self._mouth.forget(text_id)
            await utils.aio.cancel_and_wait(sending)
            if not whole:
                await self._mouth.cancel(text_id)

    async def _send(self, text_id: str, events: asyncio.Queue[Any]) -> None:
        """The text, piece by piece; why that ended, where it failed, is the last of its events."""
        try:
            async for piece in self._input_ch:
                if isinstance(piece, str):
                    self._mark_started()
                    fields = self._mouth.manner
                    await self._mouth.tell(told("say", id=text_id, text=piece, more=True, **fields))
            await self._mouth.tell(told("say", id=text_id))
        except APIConnectionError as exc:
            events.put_nowait(exc)


def _push(emitter: tts.AudioEmitter, event: Any, rate: int) -> bool:
    """Give on what came of a text; whether it was the last. Raises `APIError`."""
    if isinstance(event, APIError):
        raise event
    if isinstance(event, bytes):
        emitter.push(event)
        return False
    if event["type"] == "say.failed":
        raise APIError(f"{event['code']}: {event['message']}", retryable=False)
    if event["type"] == "say.started" and event["rate"] != rate:
        raise APIError(
            f"the voice has {event['rate']} Hz: give the plugin this rate", retryable=False
        )
    if event["type"] == "words":
        emitter.push_timed_transcript([_timed(each, " ") for each in event["words"]])
    return bool(event["type"] == "say.done")
