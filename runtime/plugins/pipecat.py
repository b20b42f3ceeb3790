"""Services for Pipecat: an ear with partial transcripts, word times and early ends of turns, and a
voice with word times that is interrupted without closing its connection."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any

from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.plugins.wire import address_of, audio_of, headers_of, told

try:
    from pipecat.frames.frames import (
        Frame,
        InterimTranscriptionFrame,
        ProposedUserStartedSpeakingFrame,
        ProposedUserStoppedSpeakingFrame,
        STTMetadataFrame,
        TranscriptionFrame,
        TTSAudioRawFrame,
        TTSStoppedFrame,
    )
    from pipecat.services.settings import NOT_GIVEN, STTSettings, TTSSettings
    from pipecat.services.stt_service import WebsocketSTTService
    from pipecat.services.tts_service import WebsocketTTSService
    from pipecat.transcriptions.language import Language
    from pipecat.turns.eager_end_of_turn_mixin import EagerEndOfTurnSTTServiceMixin
    from pipecat.utils.time import time_now_iso8601
except ImportError as exc:
    raise ExecutorUnavailable(
        f"this plugin needs Pipecat ({exc}); pip install 'voxturn[pipecat]'"
    ) from exc


class _Connected:
    """A WebSocket to a gateway that Pipecat's base class reads and connects again."""

    _path: str
    _websocket: Any
    _receive_task: Any = None
    _url: str
    _key: str

    async def setup(self, setup: Any) -> None:
        """Connect."""
        await super().setup(setup)  # type: ignore[misc]
        await self._connect()

    async def _greet(self) -> None:
        """What is said first over a new connection."""

    async def _connect(self) -> None:
        await super()._connect()  # type: ignore[misc]
        await self._connect_websocket()
        if not self._receive_task:
            task = self._receive_task_handler(self._report_error)  # type: ignore[attr-defined]
            self._receive_task = self.create_task(task)  # type: ignore[attr-defined]

    async def _disconnect(self) -> None:
        await super()._disconnect()  # type: ignore[misc]
        if self._receive_task:
            await self.cancel_task(self._receive_task)  # type: ignore[attr-defined]
            self._receive_task = None
        await self._disconnect_websocket()

    async def _connect_websocket(self) -> None:
        if self._websocket is not None:
            return
        address = address_of(self._url, self._path)
        try:
            self._websocket = await self._websocket_connect(  # type: ignore[attr-defined]
                address, additional_headers=headers_of(self._key), max_size=None
            )
            await self._greet()
            await self._call_event_handler("on_connected")  # type: ignore[attr-defined]
        except Exception as exc:  # noqa: BLE001  Pipecat tries again
            self._websocket = None
            await self.push_error(f"{address}: no gateway answers ({exc})", exception=exc)  # type: ignore[attr-defined]

    async def _disconnect_websocket(self) -> None:
        socket, self._websocket = self._websocket, None
        if socket is not None:
            await socket.close()
            await self._call_event_handler("on_disconnected")  # type: ignore[attr-defined]

    async def _receive_messages(self) -> None:
        if self._websocket is None:
            raise ConnectionError(f"{self}: is not connected")
        async for data in self._websocket:
            if isinstance(data, bytes):
                await self._on_audio(data)
            else:
                await self._on(json.loads(data))

    async def _on_audio(self, data: bytes) -> None:
        """A binary frame has come."""

    async def _on(self, event: dict[str, Any]) -> None:
        """An event has come."""
        raise NotImplementedError


class VoxturnSTTService(_Connected, EagerEndOfTurnSTTServiceMixin, WebsocketSTTService):
    """A gateway's ear. The gateway finds where speech begins and ends.

    `result` of a transcript is the gateway's own event: its `words` have `text`, `begin_s` and
    `end_s`, in seconds since the first sample. With `enable_eager_end_of_turn` a suspected end of
    turn is answered before it is certain, and dropped if speech goes on.
    """

    _path = "/ws/hear"

    def __init__(
        self,
        *,
        url: str,
        key: str = "",
        language: str | None = None,
        should_interrupt: bool = True,
        **options: Any,
    ) -> None:
        """`url` as `http://localhost:8080`. Raises `UsageError` for what is no address."""
        address_of(url, self._path)
        super().__init__(settings=STTSettings(model=None, language=language), **options)
        self._url = url
        self._key = key
        self._should_interrupt = should_interrupt

    @property
    def supports_ttfs(self) -> bool:
        """False: the gateway says where turns end."""
        return False

    def service_metadata_frame(self) -> STTMetadataFrame:
        """Has the gateway's ends of turns taken, where an application chose nothing else."""
        frame = super().service_metadata_frame()
        frame.user_turn_strategies = self.recommended_user_turn_strategies(
            enable_interruptions=self._should_interrupt
        )
        return frame

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """Send audio; transcripts come by themselves. While there is no connection it is dropped."""
        if self._websocket is not None:
            await self._websocket.send(audio)
        yield None

    async def _greet(self) -> None:
        language = str(self._settings.language or "")
        start = told("hear.start", version=1, rate=self.sample_rate, language=language)
        await self._websocket.send(start)

    async def _on(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "speech.started":
                await self.broadcast_frame(ProposedUserStartedSpeakingFrame)
            case "partial":
                text = event["stable"] + event["unstable"]
                await self.push_frame(InterimTranscriptionFrame(text, *self._of(event)))
            case "speech.suspected":
                await self._push_eager_end_of_turn(
                    event["text"],
                    user_id=self._user_id,
                    language=_language(event["language"]),
                    result=event,
                )
            case "speech.resumed":
                await self._cancel_eager_end_of_turn()
            case "transcript":
                await self._heard(event)
            case "error":
                await self.push_error(f"{event['code']}: {event['message']}")

    async def _heard(self, event: dict[str, Any]) -> None:
        self._clear_eager_end_of_turn()
        if event["text"]:
            await self.emit_stt_usage_metrics()
            frame = TranscriptionFrame(event["text"], *self._of(event), finalized=True)
            await self.push_frame(frame)
        if not event["more"]:
            await self.broadcast_frame(ProposedUserStoppedSpeakingFrame)

    def _of(self, event: dict[str, Any]) -> tuple[str, str, Language | None, dict[str, Any]]:
        return self._user_id, time_now_iso8601(), _language(event["language"]), event


@dataclass
class VoxturnTTSSettings(TTSSettings):
    """Of a voice. `style` is one of its styles, `speed` from 0.25 to 4."""

    style: Any = field(default_factory=lambda: NOT_GIVEN)
    speed: Any = field(default_factory=lambda: NOT_GIVEN)


class VoxturnTTSService(_Connected, WebsocketTTSService):
    """A gateway's voice: `TTSTextFrame`s come word by word, when they are spoken.

    An interruption stops the text in the gateway and leaves the connection open.
    """

    Settings = VoxturnTTSSettings
    _path = "/ws/say"

    def __init__(
        self,
        *,
        url: str,
        key: str = "",
        settings: VoxturnTTSSettings | None = None,
        **options: Any,
    ) -> None:
        """`url` as `http://localhost:8080`. Raises `UsageError` for what is no address."""
        address_of(url, self._path)
        chosen = VoxturnTTSSettings(model=None, voice=None, language=None, style=None, speed=None)
        if settings is not None:
            chosen.apply_update(settings)
        super().__init__(settings=chosen, push_text_frames=False, push_start_frame=True, **options)
        self._url = url
        self._key = key
        self._ids: dict[int, tuple[str, int]] = {}

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Send a piece of a text; its audio comes by itself."""
        chosen = self._settings
        await self._tell(
            told(
                "say",
                id=context_id,
                text=f"{text} ",
                more=True,
                voice=chosen.voice,
                language=str(chosen.language or ""),
                style=chosen.style,
                speed=chosen.speed,
            )
        )
        await self.start_tts_usage_metrics(text)
        yield None

    async def flush_audio(self, context_id: str | None = None) -> None:
        """That was all of a text."""
        if found := context_id or self.get_active_audio_context_id():
            await self._tell(told("say", id=found))

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        """Stop a text in the gateway."""
        await self._tell(told("cancel", id=context_id))
        await super().on_audio_context_interrupted(context_id)

    async def _tell(self, message: str) -> None:
        await self.send_with_retry(message, self._report_error)

    async def _on_audio(self, data: bytes) -> None:
        number, pcm = audio_of(data)
        context_id, rate = self._ids.get(number, ("", 0))
        if self.audio_context_available(context_id):
            if rate != self.sample_rate:
                pcm = await self._resampler.resample(pcm, rate, self.sample_rate)
            frame = TTSAudioRawFrame(pcm, self.sample_rate, 1, context_id=context_id)
            await self.append_to_audio_context(context_id, frame)

    async def _on(self, event: dict[str, Any]) -> None:
        context_id = event.get("id", "")
        match event["type"]:
            case "say.started":
                self._ids = {event["number"]: (context_id, event["rate"])}
            case "words":
                times = [(each["text"], each["begin_s"]) for each in event["words"]]
                await self.add_word_timestamps(times, context_id)
            case "say.done" | "say.failed":
                if event["type"] == "say.failed":
                    await self.push_error(f"{event['code']}: {event['message']}")
                if self.audio_context_available(context_id):
                    stopped = TTSStoppedFrame(context_id=context_id)
                    await self.append_to_audio_context(context_id, stopped)
                    await self.remove_audio_context(context_id)
            case "error":
                await self.push_error(f"{event['code']}: {event['message']}")


def _language(tag: str) -> Language | None:
    try:
        return Language(tag)
    except ValueError:
        return None
