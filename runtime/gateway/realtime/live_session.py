"""The session object of OpenAI's Live API, and what it comes down to."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.logs import note
from voxturn.runtime.gateway.realtime.formats import FORMATS, PCM_16K, Format
from voxturn.runtime.gateway.realtime.items import Item, new_id
from voxturn.runtime.gateway.realtime.live_events import (
    Delegation,
    LiveConfig,
    LiveFormat,
    LiveUpdate,
)
from voxturn.runtime.gateway.realtime.manner import Manner, by_meaning

_ROLES = {"developer": "system"}


class LiveSession:
    """A session's settings, which stand once it has started. Raises `ApiError` for those that are
    not served."""

    def __init__(self, gateway: Gateway, config: LiveConfig) -> None:
        self._gateway = gateway
        self._config = config
        _check(config)
        audio = config.audio
        self.form = form_of(audio.format if audio is not None else None)
        voice = audio.output.voice if audio is not None and audio.output is not None else None
        self.voice = (voice if isinstance(voice, str) else voice.id if voice else "") or "marin"
        self.delegation = config.delegation or Delegation()
        given = config.instructions or ""
        self.instructions = given if given.strip() else gateway.assistant.profile.instructions
        self.id = new_id("live")
        note(session=self.id)
        self.expires_at = int(time.time() + gateway.settings.longest_session_s)

    def to_dict(self) -> dict[str, Any]:
        """As `session.started`, `session.updated` and `session.closed` give it."""
        delegation = msgspec.to_builtins(self.delegation)
        if self.delegation.type == "client":
            delegation.pop("responses")
        delegation["acknowledgement_delay_ms"] = self.delegation.acknowledgement_delay_ms or 0
        return {
            "id": self.id,
            "expires_at": self.expires_at,
            "status": "active",
            "model": self._config.model,
            "instructions": self.instructions,
            "audio": {
                "format": {"type": self.form.name, "rate": self.form.rate},
                "output": {"voice": self.voice},
            },
            "delegation": delegation,
            "input": msgspec.to_builtins(self._config.input),
            "store": False,
        }

    def update(self, update: LiveUpdate) -> None:
        """Change what may change. Raises `ApiError`."""
        _check(update)
        if (given := update.delegation) is None:
            return
        if given.type != self.delegation.type:
            raise ApiError(
                400, "the delegation stays what it is", "invalid_value", "session.delegation.type"
            )
        if given.acknowledgement_delay_ms is not None:
            self.delegation.acknowledgement_delay_ms = given.acknowledgement_delay_ms

    def items(self) -> list[Item]:
        """The dialogue before it."""
        return [
            Item(role=_ROLES.get(each.role, each.role), text=each.content[0].text)
            for each in self._config.input or ()
        ]

    async def manner(self, key: str) -> Manner:
        """How the dialogue is held, with the voices of a key. Raises what `Voices.chosen` raises."""
        base = self._gateway.assistant.stages.listen.options
        return Manner(
            voice=await self._gateway.voices.chosen(self.voice, key=key),
            voice_name=self.voice,
            instructions=self.instructions,
            taking=by_meaning(base, "auto"),
            live=True,
        )


def form_of(given: LiveFormat | None) -> Format:
    """The form of audio that is asked for. Raises `ApiError`."""
    if given is None:
        return FORMATS["audio/pcm"]
    if given.type == "audio/pcm" and given.rate == PCM_16K.rate:
        return PCM_16K
    form = FORMATS[given.type]
    if given.rate and given.rate != form.rate:
        raise ApiError(
            400,
            f"{form.name} of {given.rate} Hz is not served",
            "invalid_value",
            "session.audio.format.rate",
        )
    return form


def _check(config: LiveConfig | LiveUpdate) -> None:
    """Raise `ApiError` for what is not served."""
    delegation = config.delegation
    if delegation is not None and delegation.type == "decisions":
        raise _unsupported("decisions are not served", "session.delegation.type")
    if delegation is not None and delegation.responses and delegation.responses.tools:
        raise _unsupported(
            "tools of a delegated model are not served; /v1/realtime has function tools",
            "session.delegation.responses.tools",
        )
    if config.triggers:
        raise _unsupported("triggers are not served", "session.triggers")
    if isinstance(config, LiveConfig) and config.client:
        raise _unsupported("a WebSocket has no data channel", "session.client")
    if isinstance(config, LiveConfig) and config.store:
        raise _unsupported("sessions are not kept", "session.store")


def _unsupported(message: str, param: str) -> ApiError:
    return ApiError(400, message, "unsupported", param)
