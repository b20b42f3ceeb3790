"""What the benchmark of a gateway's engines counts."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from voxturn.bench import gateway_engines
from voxturn.bench.gateway_engines import Answer, Seen, Strikes, on_server, strike
from voxturn.runtime.errors import ServerDied
from voxturn.runtime.profile import load_profile


class Socket:
    """A client's WebSocket, which hears these events after each question."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self._events: Iterator[dict[str, Any]] = iter(events)
        self.sent: list[str] = []

    async def send(self, text: str) -> None:
        self.sent.append(text)

    async def recv(self) -> str:
        return json.dumps(next(self._events))


class Gone(Socket):
    async def recv(self) -> str:
        raise ConnectionError


class Silent(Socket):
    async def recv(self) -> str:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")


def done(status: str, code: str = "") -> dict[str, Any]:
    details = {"error": {"code": code}} if code else None
    return {"type": "response.done", "response": {"status": status, "status_details": details}}


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"type": "turn.done", "outcome": "done"}, ""),
        ({"type": "turn.done", "outcome": "error"}, "error"),
        (done("completed"), ""),
        (done("failed", "server_died"), "server_died"),
        (done("incomplete"), "incomplete"),
        (done("failed", "internal_error"), "internal_error"),
    ],
)
async def test_an_answer_ends_whole_or_with_its_code(event: dict[str, Any], code: str) -> None:
    seen, socket = Seen(), Socket({"type": "session.updated"}, event)
    kind = "voice" if event["type"] == "turn.done" else "realtime"
    await gateway_engines._turn(socket, kind, seen, "me")
    assert not seen.in_flight()
    assert [(each.whole, each.failure) for each in seen.answers] == [(not code, code)]


async def test_an_answer_ends_with_its_session_but_not_with_the_benchmark() -> None:
    seen = Seen()
    with pytest.raises(ConnectionError):
        await gateway_engines._turn(Gone(), "voice", seen, "me")
    waiting = asyncio.create_task(gateway_engines._turn(Silent(), "voice", seen, "me"))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert [each.failure for each in seen.answers] == ["lost", ""]
    assert not any(each.whole for each in seen.answers)


def killing(monkeypatch: pytest.MonkeyPatch, then: Callable[[], None]) -> list[int]:
    """Two models' processes; which were killed, and what that did."""
    killed: list[int] = []

    def kill(pid: int, _: int) -> None:
        killed.append(pid)
        then()

    monkeypatch.setattr(gateway_engines, "descendants", lambda pid: iter([pid + 1, pid + 2]))
    monkeypatch.setattr(gateway_engines, "command_of", lambda pid: f"stub /m{pid}/1/model.py")
    monkeypatch.setattr(gateway_engines.os, "kill", kill)
    return killed


async def test_a_kill_is_over_when_all_have_ended_and_are_answered_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen, found = Seen([Answer(0.0), Answer(0.0), Answer(0.0)]), Strikes()

    def then() -> None:
        for each, failure in zip(seen.answers, ("server_died", "", "lost"), strict=True):
            each.end(failure)
        seen.answers += [whole(caller) for caller in range(4)]

    killed = killing(monkeypatch, then)
    await strike(5, "m7", seen, found)
    assert killed == [7]
    assert (len(found.failed), len(found.again), found.unanswered) == (2, 1, 0)


async def test_who_is_not_answered_is_counted_and_who_never_is_ends_the_benchmark(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gateway_engines, "_AGAIN_S", 0.0)
    seen, found = Seen([Answer(0.0)]), Strikes()
    killing(monkeypatch, lambda: None)
    with pytest.raises(ServerDied, match="not every caller was answered again"):
        await strike(5, "m6", seen, found)
    assert (found.unanswered, found.failed, found.again) == (1, [], [])
    with pytest.raises(ServerDied, match="m9 has no process"):
        await strike(5, "m9", seen, found)


def whole(caller: int, asked_s: float = math.inf) -> Answer:
    """An answer that has just ended."""
    answer = Answer(asked_s, caller)
    answer.end("")
    return answer


def test_only_callers_who_asked_since_are_answered_again() -> None:
    seen = Seen([whole(0, 1.0), whole(1, 3.0), whole(1, 4.0), Answer(5.0, 2)])
    assert seen.answered_since(0.0) == 2
    assert seen.answered_since(2.0) == 1
    assert seen.answered_since(4.0) == 0


def test_the_gateway_has_all_stages_but_listening_on_the_server(tmp_path: Path) -> None:
    profile = load_profile(on_server("127.0.0.1:9", tmp_path))
    assert {stage: each.executor for stage, each in profile.engines().items()} == {
        "listen": "onnx",
        "transcribe": "remote",
        "reply": "remote",
        "speak": "remote",
    }
    assert profile.gateway.requests_per_minute == 1_000_000
