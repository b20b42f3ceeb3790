"""A client's watchdog and its supervisor's calls, on clients without a server."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from voxturn.runtime.errors import DeadlineExceeded, ServerDied, ServerUnavailable
from voxturn.runtime.flow.clock import NEVER, ManualClock
from voxturn.runtime.remote.access import RESTRICTED, headers, restricting
from voxturn.runtime.remote.contract import CANCEL, CLIENT
from voxturn.runtime.remote.transport import TritonServer


@pytest.mark.parametrize(
    ("said", "lives"),
    [
        (
            "[StatusCode.INVALID_ARGUMENT] unexpected inference input 'canary' for model 'xtts_hifigan'",
            True,
        ),
        (
            "[StatusCode.INVALID_ARGUMENT] expected 2 inputs but got 1 inputs for model 'xtts_hifigan'",
            True,
        ),
        ("[StatusCode.UNAVAILABLE] Request for unknown model: 'xtts_hifigan' is not found", False),
    ],
)
async def test_a_plain_graph_that_refuses_a_canary_lives(said: str, lives: bool) -> None:
    class Refuses:
        async def infer(self, *_: Any) -> None:
            raise RuntimeError(said)

    server = TritonServer("127.0.0.1:9")
    await server._client.close()
    server._client = Refuses()
    assert await server.answers("xtts_hifigan", 1.0) == lives


@pytest.mark.parametrize(
    ("said", "has"),
    [
        ('{"up_s": 60.0}', True),
        (
            '{"up_s": 3.0}',
            False,
        ),  # healed within the client's patience: it answers, and knows nothing of the request
        ("", True),
        (None, False),
    ],
)
async def test_a_model_that_was_started_again_has_not_what_was_sent_before(
    said: str | None, has: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(*_: Any) -> str | None:
        return said

    server = TritonServer("127.0.0.1:9", clock=ManualClock(5.0))
    monkeypatch.setattr(server, "_ask", ask)
    assert await server._has("xtts", 0.0) == has
    await server.aclose()


class Canaries:
    """A model's answers to canaries, by their numbers: at once, or `late`, when the last of the
    three is asked; `silent` has none."""

    def __init__(self, *answers: str) -> None:
        self.asked = 0
        self._answers = answers
        self._last = asyncio.Event()

    async def ask(self, model: str, inputs: Any) -> str | None:
        answer = self._answers[self.asked]
        self.asked += 1
        if self.asked == len(self._answers):
            self._last.set()
        if answer == "silent":
            await asyncio.Event().wait()
        if answer == "late":
            await self._last.wait()
        return None if answer == "gone" else '{"up_s": 60.0}'


@pytest.mark.parametrize(
    ("answers", "lost", "asked"),
    [
        (("has", "silent", "silent"), False, 1),
        (("silent", "silent", "has"), False, 3),
        (("late", "silent", "silent"), False, 3),
        (("silent", "silent", "silent"), True, 3),
        (("gone", "silent", "silent"), True, 1),
        (("silent", "gone", "silent"), True, 2),
        (("late", "silent", "gone"), True, 3),
    ],
)
async def test_a_model_that_answers_late_is_busy_and_one_that_does_not_is_dead(
    answers: tuple[str, ...], lost: bool, asked: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = TritonServer("here:1", canary_s=0.01, clock=ManualClock())
    canaries = Canaries(*answers)
    monkeypatch.setattr(server, "_ask", canaries.ask)
    call = asyncio.get_running_loop().create_future()
    assert await server._is_lost(call, "vits", NEVER, 0.0) == lost
    assert canaries.asked == asked
    assert not call.done()
    assert len(asyncio.all_tasks()) == 1  # no canary is left
    await server.aclose()


async def test_a_dead_model_ends_its_request_and_a_deadline_ends_it_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = ManualClock()
    server = TritonServer("here:1", patience_s=0.0, canary_s=0.001, clock=clock)
    monkeypatch.setattr(server, "_ask", Canaries(*["silent"] * 6).ask)
    call = asyncio.get_running_loop().create_future()
    with pytest.raises(ServerDied, match="model 'vits' stopped answering"):
        await server._wait(call, "vits", NEVER, 0.0)
    with pytest.raises(DeadlineExceeded):
        await server._wait(call, "vits", clock.now(), 0.0)
    await server.aclose()


class SwallowingCall:
    """A stream of gRPC's that is cancelled while it is being prepared: it ends in an error of its
    own."""

    def __init__(self) -> None:
        self.preparing = asyncio.Event()

    def __aiter__(self) -> SwallowingCall:
        return self

    async def __anext__(self) -> Any:
        self.preparing.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as exc:
            raise RuntimeError("Locally cancelled by application!") from exc

    def cancel(self) -> None:
        """Nothing to do."""


async def test_a_canary_that_is_cancelled_ends_where_grpc_swallows_it() -> None:
    server, call = TritonServer("here:1"), SwallowingCall()
    await server._client.close()
    server._client = SimpleNamespace(stream_infer=lambda requests: call)
    asking = asyncio.create_task(server.answers("vits", 60.0))
    await call.preparing.wait()
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    assert not await server.answers("vits", 0.01)  # too late is no answer, as ever


class Sends:
    """A client that keeps what it was asked, and has no answer."""

    def __init__(self) -> None:
        self.sent: list[tuple[dict[str, Any], dict[str, Any]]] = []

    async def infer(self, model: str, inputs: Any, **options: Any) -> Any:
        tensors = {each.name(): each._get_content() for each in inputs}
        self.sent.append((tensors, options))
        raise RuntimeError("[StatusCode.UNAVAILABLE] nobody is here")


async def test_what_a_client_leaves_is_left_under_its_name() -> None:
    """A server knows requests and utterances by their clients."""
    server, client = TritonServer("here:1", name="me"), Sends()
    await server._client.close()
    server._client = client
    await server.forget("whisper", 7)  # in vain
    await server._leave("whisper", "that", SimpleNamespace(cancel=lambda: None), True)
    (forgotten, piece), (left, _) = client.sent
    assert piece == {"sequence_id": 7, "sequence_start": False, "sequence_end": True}
    assert b"me" in forgotten[CLIENT]
    assert CANCEL in forgotten
    assert b"that" in left[CANCEL]
    assert b"me" in left[CLIENT]


class Records:
    """A client that loads nothing and keeps what it was called with; `refuses` to, if told so."""

    def __init__(self, refuses: bool = False) -> None:
        self.calls: list[tuple[str, dict[str, str]]] = []
        self._refuses = refuses

    async def load_model(self, model: str, headers: dict[str, str]) -> None:
        self.calls.append((model, headers))
        if self._refuses:
            raise RuntimeError("This protocol is restricted, expecting header 'x'")

    unload_model = load_model


async def test_whoever_knows_the_secret_sends_it_where_it_is_needed() -> None:
    server, client = TritonServer("here:1", secret="s3"), Records()
    await server._client.close()
    server._client = client
    await server.load("vits")
    await server.unload("vits")
    assert client.calls == [("vits", headers("s3"))] * 2
    (key,) = headers("s3")
    grpc, http = restricting("s3")
    listed = ",".join(RESTRICTED)
    plain = key.removeprefix("triton-grpc-protocol-")
    assert grpc == f"--grpc-restricted-protocol={listed}:{plain}=s3"
    assert http == f"--http-restricted-api={listed}:{plain}=s3"


async def test_whoever_does_not_know_the_secret_is_told_who_may_load() -> None:
    server, client = TritonServer("here:1"), Records(refuses=True)
    await server._client.close()
    server._client = client
    with pytest.raises(ServerUnavailable, match="only who started the server may load models"):
        await server.load("vits")
    assert client.calls == [("vits", {})]
