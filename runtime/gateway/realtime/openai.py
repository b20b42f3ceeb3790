"""What happens in a dialogue, as OpenAI's Realtime API (GA) tells it: thirty events, and two of
ours for clients that ask for them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.realtime import events as happened
from voxturn.runtime.gateway.realtime.formats import Encoder, Format
from voxturn.runtime.gateway.realtime.items import CALL, MESSAGE, RUNNING, Item, new_id
from voxturn.runtime.gateway.realtime.reply import CANCELLED, Reply

Told = dict[str, Any]
_INPUT, _OUTPUT, _TEXT = (
    "conversation.item.input_audio_transcription",
    "response.output_audio",
    "response.output_text",
)
_PAUSES = {
    happened.Withheld: "voxturn.output_audio.paused",
    happened.Released: "voxturn.output_audio.resumed",
}
_LONGEST_METADATA = 512


class ServerEvents:
    """Writes what happens. `said`: the form of the audio that is said, as it is at the moment;
    `tells_pauses`: whether the client wants to know when to withhold it."""

    def __init__(
        self,
        said: Callable[[], Format],
        tells_pauses: Callable[[], bool],
        conversation_id: str,
    ) -> None:
        self._said = said
        self._tells_pauses = tells_pauses
        self._conversation_id = conversation_id
        self._encoders: dict[str, Encoder] = {}
        self._forms: dict[str, Format] = {}
        self._limits: list[Told] = []

    def limits(self, limits: list[Told]) -> None:
        """What the next `rate_limits.updated` says."""
        self._limits = limits

    def __call__(self, event: happened.Happening) -> Iterator[Told]:
        """The events that tell it, with ids of their own."""
        for told in self._of(event):
            yield {"event_id": new_id("event")} | told

    def _of(self, event: happened.Happening) -> Iterator[Told]:
        if isinstance(event, happened.ReplyBegan | happened.ReplyDone):
            yield from self._of_reply(event)
        elif hasattr(event, "reply"):
            yield from self._of_output(event)
        elif isinstance(event, happened.Heard | happened.HeardDelta | happened.NotHeard):
            yield _transcription(event)
        elif isinstance(event, happened.Withheld | happened.Released):
            if self._tells_pauses():
                yield {"type": _PAUSES[type(event)]}
        elif not isinstance(event, happened.Cut):
            yield _of_item(event)

    def _of_reply(self, event: happened.ReplyBegan | happened.ReplyDone) -> Iterator[Told]:
        reply = event.reply
        if isinstance(event, happened.ReplyBegan):
            self._forms[reply.id] = self._said()
            yield {"type": "response.created", "response": self._response(reply)}
            return
        yield {"type": "response.done", "response": self._response(reply)}
        self._forms.pop(reply.id, None)
        yield {"type": "rate_limits.updated", "rate_limits": self._limits}

    def _of_output(self, event: Any) -> Iterator[Told]:
        reply, item = event.reply, event.item
        where = {"response_id": reply.id, "output_index": event.index}
        match event:
            case happened.OutputAdded() | happened.OutputDone():
                name = "added" if isinstance(event, happened.OutputAdded) else "done"
                yield {"type": f"response.output_item.{name}"} | where | {"item": item_of(item)}
                return
        where |= {"item_id": item.id}
        if isinstance(event, happened.CallWritten):
            yield from _call(item, where)
            return
        where |= {"content_index": 0}
        match event:
            case happened.ContentAdded():
                yield {"type": "response.content_part.added"} | where | {"part": _part(reply, "")}
            case happened.TextDelta():
                yield _text_delta(event, where)
            case happened.AudioDelta():
                raw = self._encoder(reply).push(event.samples)
                if raw:
                    yield {"type": f"{_OUTPUT}.delta"} | where | {"delta": _base64(raw)}
            case happened.ContentDone():
                yield from self._content_done(reply, item, where)

    def _content_done(self, reply: Reply, item: Item, where: Told) -> Iterator[Told]:
        if reply.aloud:
            encoder = self._encoders.pop(reply.id, None)
            cut = reply.status == CANCELLED  # its client has stopped to play it
            if encoder is not None and not cut and (raw := encoder.flush()):
                yield {"type": f"{_OUTPUT}.delta"} | where | {"delta": _base64(raw)}
            yield {"type": f"{_OUTPUT}.done"} | where
            yield {"type": f"{_OUTPUT}_transcript.done"} | where | {"transcript": item.text}
        else:
            yield {"type": f"{_TEXT}.done"} | where | {"text": item.text}
        yield {"type": "response.content_part.done"} | where | {"part": _part(reply, item.text)}

    def _encoder(self, reply: Reply) -> Encoder:
        if reply.id not in self._encoders:
            form = self._forms.get(reply.id) or self._said()
            self._encoders[reply.id] = Encoder(reply.rate, form)
        return self._encoders[reply.id]

    def _response(self, reply: Reply) -> Told:
        form = self._forms.get(reply.id) or self._said()
        metadata = dict(reply.metadata)
        if reply.trace is not None:
            text = json.dumps(reply.trace, separators=(",", ":"))
            if len(text) <= _LONGEST_METADATA:
                metadata["voxturn_trace"] = text
        return {
            "id": reply.id,
            "object": "realtime.response",
            "status": reply.status,
            "status_details": _details(reply),
            "output": [item_of(item) for item in reply.output if not reply.running],
            "usage": None if reply.running else _usage(reply),
            "metadata": metadata or None,
            "conversation_id": None if reply.items is None else self._conversation_id,
            "output_modalities": ["audio"] if reply.aloud else ["text"],
            "max_output_tokens": reply.max_tokens or "inf",
            "audio": {"output": {"format": _format(form), "voice": reply.voice}},
        }


def problem(error: ApiError, event_id: str | None = None) -> Told:
    """An `error` event. `event_id`: of the client's event that led to it."""
    told = error.to_dict()
    return {
        "type": "error",
        "event_id": new_id("event"),
        "error": told | {"event_id": event_id},
    }


def item_of(item: Item) -> Told:
    """An item as clients see it."""
    told: Told = {
        "id": item.id,
        "object": "realtime.item",
        "type": item.type,
        "status": item.status,
    }
    if item.type == MESSAGE:
        return told | {"role": item.role, "content": _content(item)}
    told["call_id"] = item.call_id
    if item.type == CALL and item.call is not None:
        arguments = json.dumps(dict(item.call.arguments), ensure_ascii=False)
        return told | {
            "name": item.call.name,
            "arguments": "" if item.status == RUNNING else arguments,
        }
    return told | {"output": item.text}


def _content(item: Item) -> list[Told]:
    if item.role == "assistant":
        if item.spoken:
            return [{"type": "output_audio", "transcript": item.text}] if item.samples else []
        return [{"type": "output_text", "text": item.text}] if item.text else []
    if item.spoken:
        return [{"type": "input_audio", "transcript": item.text or None}]
    return [{"type": "input_text", "text": item.text}]


def _of_item(event: happened.Happening) -> Told:
    """An event of the audio that comes in, or of an item."""
    match event:
        case happened.SpeechBegan():
            at: Told = {"audio_start_ms": round(event.at_ms), "item_id": event.item_id}
            return {"type": "input_audio_buffer.speech_started"} | at
        case happened.SpeechStopped():
            at = {"audio_end_ms": round(event.at_ms), "item_id": event.item_id}
            return {"type": "input_audio_buffer.speech_stopped"} | at
        case happened.Committed():
            about: Told = {"item_id": event.item_id, "previous_item_id": event.before}
            return {"type": "input_audio_buffer.committed"} | about
        case happened.Cleared():
            return {"type": "input_audio_buffer.cleared"}
        case happened.ItemAdded() | happened.ItemDone():
            name = "added" if isinstance(event, happened.ItemAdded) else "done"
            about = {"previous_item_id": event.before, "item": item_of(event.item)}
            return {"type": f"conversation.item.{name}"} | about
        case happened.ItemDeleted():
            return {"type": "conversation.item.deleted", "item_id": event.item_id}
        case happened.ItemTold():
            return {"type": "conversation.item.retrieved", "item": item_of(event.item)}
        case happened.ItemTruncated():
            about = {"item_id": event.item_id, "content_index": 0, "audio_end_ms": round(event.ms)}
            return {"type": "conversation.item.truncated"} | about
        case happened.Failed():
            return problem(event.error)
    raise AssertionError(type(event).__name__)


def _transcription(event: happened.Heard | happened.HeardDelta | happened.NotHeard) -> Told:
    where: Told = {"item_id": event.item_id, "content_index": 0}
    match event:
        case happened.HeardDelta():
            return {"type": f"{_INPUT}.delta"} | where | {"delta": event.text}
        case happened.Heard():
            usage = {"type": "duration", "seconds": round(event.seconds, 3)}
            return (
                {"type": f"{_INPUT}.completed"} | where | {"transcript": event.text, "usage": usage}
            )
    error = {key: event.error.to_dict()[key] for key in ("type", "code", "message", "param")}
    return {"type": f"{_INPUT}.failed"} | where | {"error": error}


def _call(item: Item, where: Told) -> Iterator[Told]:
    call = item.call
    arguments = json.dumps(dict(call.arguments), ensure_ascii=False) if call is not None else "{}"
    name = "response.function_call_arguments"
    where = where | {"call_id": item.call_id}
    yield {"type": f"{name}.delta"} | where | {"delta": arguments}
    named = {"name": call.name if call is not None else "", "arguments": arguments}
    yield {"type": f"{name}.done"} | where | named


def _text_delta(event: happened.TextDelta, where: Told) -> Told:
    if not event.reply.aloud:
        return {"type": f"{_TEXT}.delta"} | where | {"delta": event.text}
    told = {"type": f"{_OUTPUT}_transcript.delta"} | where | {"delta": event.text}
    return told | {"start_time": round(event.at_s, 3)}


def _part(reply: Reply, text: str) -> Told:
    """A part of a response: its types are other words than an item's."""
    if reply.aloud:
        return {"type": "audio", "transcript": text}
    return {"type": "text", "text": text}


def _details(reply: Reply) -> Told | None:
    if reply.status in ("in_progress", "completed"):
        return None
    told: Told = {"type": reply.status}
    if reply.reason:
        told["reason"] = reply.reason
    if reply.error is not None:
        error = reply.error.to_dict()
        told["error"] = {key: error[key] for key in ("type", "code", "message")}
    return told


def _usage(reply: Reply) -> Told:
    usage = reply.usage
    given, made = usage.input_text + usage.input_audio, usage.output_text + usage.output_audio
    cached = {"text_tokens": usage.cached, "audio_tokens": 0, "image_tokens": 0}
    return {
        "total_tokens": given + made,
        "input_tokens": given,
        "output_tokens": made,
        "input_token_details": {
            "text_tokens": usage.input_text,
            "audio_tokens": usage.input_audio,
            "image_tokens": 0,
            "cached_tokens": usage.cached,
            "cached_tokens_details": cached,
        },
        "output_token_details": {
            "text_tokens": usage.output_text,
            "audio_tokens": usage.output_audio,
        },
    }


def _format(form: Format) -> Told:
    return {"type": form.name} | ({"rate": form.rate} if form.name == "audio/pcm" else {})


def _base64(raw: bytes) -> str:
    return base64.b64encode(raw).decode("ascii")
