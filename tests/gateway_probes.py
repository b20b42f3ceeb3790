"""What each setting of the gateway changes, as the gateway that `voxturn serve gateway` makes of a
profile shows it: to clients where they see it."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx2
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.commands.keys import opened
from voxturn.runtime.commands.serve_gateway import _gateway_of
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.base import Cloning
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.gateway.app import application
from voxturn.runtime.gateway.client_voices import _prefix
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.database import Database
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.gateway.keys import Caller
from voxturn.runtime.gateway.server import wire_limits
from voxturn.runtime.gateway.telemetry import NoTelemetry
from voxturn.runtime.messages import Message
from voxturn.runtime.profile import Profile
from voxturn.runtime.turn.trace import Trace

from tests.conftest import tone
from tests.recordings import float_wav

LATER_S, SHORT_S = 6.0, 5.0
"""How far the clock goes, and a time that is over then."""
_MOST = 40
ANA = Caller("ana")


class Probed:
    """A gateway of a profile, on a clock that stands still."""

    def __init__(self, gateway: Gateway, clock: ManualClock) -> None:
        self.gateway = gateway
        self.clock = clock
        self.app = application(gateway)

    async def ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """An answer to a request of this machine."""
        transport = httpx2.ASGITransport(app=self.app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            return await http.request(method, path, **more)


@asynccontextmanager
async def probed(profile: Profile) -> AsyncIterator[Probed]:
    """A gateway as the command makes it, but for its clock and its database's place."""
    args = argparse.Namespace(host="127.0.0.1", open=True, workers=1)
    clock = ManualClock()
    async with Assistant.load(profile) as assistant:
        with Database() as database:
            made = _gateway_of(args, assistant, profile, database, None, NoTelemetry())
            async with replace(made, clock=clock) as gateway:
                yield Probed(gateway, clock)


async def settled() -> None:
    """Let everything run that can."""
    for _ in range(200):
        await asyncio.sleep(0)


def callers(one: bool) -> Iterator[Caller]:
    """The same caller again and again, or always another."""
    return (ANA if one else Caller(f"key-{number}") for number in count())


def fitting(place: Callable[[Caller], Any], one: bool) -> int:
    """How many hold a place before one is refused."""
    with ExitStack() as stack:
        for number, caller in zip(range(_MOST), callers(one), strict=False):
            try:
                stack.enter_context(place(caller))
            except ApiError:
                return number
    return _MOST


async def sessions(probe: Probed) -> int:
    return fitting(probe.gateway.limits.session, one=False)


async def sessions_of_key(probe: Probed) -> int:
    return fitting(probe.gateway.limits.session, one=True)


async def speeches(probe: Probed) -> int:
    return fitting(probe.gateway.speeches.place, one=False)


async def speeches_of_key(probe: Probed) -> int:
    return fitting(probe.gateway.speeches.place, one=True)


async def connections_of_key(probe: Probed) -> int:
    async with AsyncExitStack() as stack:
        for number in range(_MOST):
            try:
                await stack.enter_async_context(probe.gateway.calls.call(ANA))
            except ApiError:
                return number
    return _MOST


async def connections(probe: Probed) -> int:
    return wire_limits(probe.gateway).connections.places.most


async def requests_per_minute(probe: Probed) -> list[int]:
    return [(await probe.ask("GET", "/v1/models")).status_code for _ in range(3)]


async def request_s(probe: Probed) -> str:
    """What becomes of a request whose body does not come."""

    async def never() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.Event().wait()

    asked = asyncio.create_task(probe.ask("POST", "/v1/chat/completions", content=never()))
    await asyncio.wait([asked], timeout=1.0)  # it goes over a real connection
    probe.clock.advance(LATER_S)
    await asyncio.wait([asked], timeout=1.0)
    try:
        return str(asked.result().status_code) if asked.done() else "waits"
    finally:
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)


async def longest_text(probe: Probed) -> int:
    body = {"input": "alpha beta", "response_format": "wav"}
    return (await probe.ask("POST", "/v1/audio/speech", json=body)).status_code


async def _transcribed(probe: Probed, file: bytes) -> int:
    path = "/v1/audio/transcriptions"
    return (await probe.ask("POST", path, files={"file": ("a.wav", file)})).status_code


async def longest_upload_mb(probe: Probed) -> int:
    return await _transcribed(probe, bytes(3 << 20))


async def longest_audio_s(probe: Probed) -> int:
    return await _transcribed(probe, float_wav(tone(0.6, 1.2)))


class NotCloned(Exception):
    """A voice would have been cloned."""


async def voices_of_key(probe: Probed) -> str:
    """What becomes of a key's third voice."""
    library = SimpleNamespace(names=lambda: [f"{_prefix('ana')}{each}" for each in "ab"])

    def make() -> Any:
        raise NotCloned

    clients = probe.gateway.voices.clients
    clients._found = [Cloning(cast("Any", library), make)]
    try:
        await clients.add("ana", "third", io.BytesIO(float_wav(tone(0.6, 7.0))), "consent")
    except ApiError as exc:
        return exc.code or ""
    except NotCloned:
        return "cloned"
    return ""


class Talk:
    """A WebSocket of `/ws/voice` without a network."""

    def __init__(self, app: Any) -> None:
        self.told: list[dict[str, Any]] = []
        self._in: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._in.put_nowait({"type": "websocket.connect"})
        scope = {
            "type": "websocket",
            "path": "/ws/voice",
            "raw_path": b"/ws/voice",
            "query_string": b"",
            "headers": [(b"host", b"127.0.0.1")],
            "client": ("127.0.0.1", 1),
            "subprotocols": [],
            "scheme": "ws",
            "extensions": {},
            "state": {},
        }
        self._task = asyncio.create_task(app(scope, self._in.get, self._sent))

    async def _sent(self, message: Any) -> None:
        if text := message.get("text"):
            self.told.append(json.loads(text))

    def say(self, kind: str, **fields: Any) -> None:
        text = json.dumps({"type": kind, **fields})
        self._in.put_nowait({"type": "websocket.receive", "text": text})

    async def close(self) -> None:
        self._in.put_nowait({"type": "websocket.disconnect", "code": 1000})
        async with asyncio.timeout(10):
            await self._task


@asynccontextmanager
async def talking(probe: Probed) -> AsyncIterator[Talk]:
    """A voice session that has begun."""
    talk = Talk(probe.app)
    talk.say("session.start", version=1)
    try:
        async with asyncio.timeout(10):
            while not talk.told:  # noqa: ASYNC110  nobody is told of it
                await asyncio.sleep(0.001)
        yield talk
    finally:
        await talk.close()


async def lasting(probe: Probed) -> list[str]:
    """Why a session in which nothing is said has ended, a while later."""
    async with talking(probe) as talk:
        await settled()
        probe.clock.advance(LATER_S)
        await settled()
        return [each["reason"] for each in talk.told if each["type"] == "session.ended"]


async def grace_s(probe: Probed) -> list[int]:
    """How many sessions wait for their clients: at first, and a while after the connection broke."""
    async with talking(probe):
        pass
    await settled()
    waiting = [probe.gateway.limits.sessions]
    probe.clock.advance(LATER_S)
    await settled()
    return [*waiting, probe.gateway.limits.sessions]


async def kept(probe: Probed) -> int:
    """How many messages of a conversation of four are there again."""
    messages = [Message("assistant" if number % 2 else "user", "a") for number in range(4)]
    await probe.gateway.conversations.save("ana", "ours", messages)
    return len(await probe.gateway.conversations.load("ana", "ours") or ())


async def drain_s(probe: Probed) -> bool:
    """Whether work that does not end is waited for no longer."""
    with probe.gateway.work.running():
        waiting = asyncio.create_task(probe.gateway.drained())
        await settled()
        assert not waiting.done()
        probe.clock.advance(LATER_S)
        await settled()
        done = waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        return done


async def voices(probe: Probed) -> str | None:
    return probe.gateway.voices.speaker("alloy")


async def origins(probe: Probed) -> str | None:
    answer = await probe.ask("GET", "/v1/models", headers={"origin": "https://app.example"})
    return answer.headers.get("access-control-allow-origin")


async def hosts(probe: Probed) -> int:
    return (await probe.ask("GET", "/v1/models", headers={"host": "voice.example"})).status_code


async def canary_s(probe: Probed) -> bool:
    """Whether another turn is tried a while later."""
    async with asyncio.timeout(10):
        first = await probe.gateway.canary()
        probe.clock.advance(LATER_S)
        return (await probe.gateway.canary()).at_s > first.at_s


@contextmanager
def logged() -> Iterator[list[dict[str, Any]]]:
    """The events that the gateway logs."""
    events: list[dict[str, Any]] = []

    class Keeping(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            events.append(getattr(record, "voxturn_fields", {}))

    logger, handler = logging.getLogger("voxturn"), Keeping()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel("INFO")
    try:
        yield events
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


async def log_content(probe: Probed) -> list[str]:
    """What the log has of what was said."""
    trace = Trace("mine", {}, "native", transcript="alpha")
    with logged() as events:
        probe.gateway.metrics.turn(trace)
    return [each["transcript"] for each in events if "transcript" in each]


async def database(probe: Probed) -> str:
    """What becomes of opening it."""
    if not (name := probe.gateway.settings.database):
        return "the default one"
    try:
        opened(name).close()
    except UsageError:
        return "UsageError"
    return "opened"


async def limits(probe: Probed) -> str:
    return type(probe.gateway.windows).__name__


Probe = Callable[[Probed], Awaitable[Any]]
PROBES: dict[str, tuple[Any, Probe, Any]] = {
    "sessions": (3, sessions, 3),
    "sessions_of_key": (1, sessions_of_key, 1),
    "requests_per_minute": (2, requests_per_minute, [200, 200, 429]),
    "request_s": (SHORT_S, request_s, "408"),
    "speeches": (3, speeches, 3),
    "speeches_of_key": (2, speeches_of_key, 2),
    "longest_text": (4, longest_text, 413),
    "longest_upload_mb": (1, longest_upload_mb, 413),
    "longest_audio_s": (1.0, longest_audio_s, 413),
    "voices_of_key": (2, voices_of_key, "voice_limit_reached"),
    "idle_s": (SHORT_S, lasting, ["idle"]),
    "grace_s": (SHORT_S, grace_s, [1, 0]),
    "longest_session_s": (SHORT_S, lasting, ["too_long"]),
    "keep_days": (0.0, kept, 0),
    "keep_messages": (2, kept, 2),
    "drain_s": (SHORT_S, drain_s, True),
    "voices": ({"alloy": "Ben"}, voices, "Ben"),
    "origins": (("https://app.example",), origins, "https://app.example"),
    "hosts": (("voice.example",), hosts, 200),
    "connections": (7, connections, 7),
    "connections_of_key": (3, connections_of_key, 3),
    "canary_s": (SHORT_S, canary_s, True),
    "database": ("postgresql://HOST:none/a", database, "UsageError"),
    "limits": ("redis://127.0.0.1:1", limits, "RedisStorage"),
    "log_content": (True, log_content, ["alpha"]),
}
"""By key: another value than the usual one, what shows it, and what that shows then."""


def probe_of(key: str) -> Callable[[Profile, Any, Path], None]:
    """The way in of one key's row."""

    def gateway(profile: Profile, witness: Any, tmp_path: Path) -> None:
        async def run() -> None:
            async with probed(profile) as probe:
                witness.told = await PROBES[key][1](probe)

        asyncio.run(run())

    return gateway
