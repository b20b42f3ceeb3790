"""Tensors to and from a Triton server over gRPC, with a watchdog: no stream waits for a model that
died.

The server never says that a model's process was killed: its streams just hang. So whenever nothing
came for a while the model is sent a canary request, which it answers at once even while it
computes; no answer means that it is dead.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from voxturn.runtime.errors import (
    DeadlineExceeded,
    ExecutorUnavailable,
    InferenceFailed,
    ServerDied,
    ServerUnavailable,
    VoxturnError,
)
from voxturn.runtime.flow.clock import NEVER, Clock, WallClock, done_by
from voxturn.runtime.flow.handoff import Handoff, cancel_all
from voxturn.runtime.remote.access import headers
from voxturn.runtime.remote.contract import (
    CANARY,
    CANCEL,
    CLIENT,
    INFO,
    MODELS,
    UP_S,
    Piece,
    wire_type,
)
from voxturn.runtime.remote.failures import is_plain, load_failed, lost, raised, unload_failed
from voxturn.runtime.remote.tensors import Tensors, text_of

_LOG = logging.getLogger(__name__)
_PATIENCE_S, _CANARY_S, _LEAVE_S = 0.7, 1.0, 1.0
_CANARIES = 3
"""Sent one after the other while none is answered. On a busy machine the answer is late; that a
process has ended, or was healed, the next canary tells at once."""
_CHANNEL = [
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
]
"""Messages of any size; a server that was started again is found within a second."""


class TritonServer:
    """One server by its gRPC address, as `localhost:8001`. Close it when done.

    `name` is what the client is called: a server limits the streams at once of each. Nothing for
    `patience_s`, and then no answer to any of three canaries, one every `canary_s`, or one that
    says that the request has gone: `ServerDied`. A request longer than `deadline_s` in all (0:
    none) is `DeadlineExceeded`. `secret` is the server's, for those who load models.
    """

    def __init__(
        self,
        address: str,
        name: str = "",
        patience_s: float = _PATIENCE_S,
        canary_s: float = _CANARY_S,
        deadline_s: float = 0,
        clock: Clock | None = None,
        secret: str = "",
    ) -> None:
        try:
            from tritonclient.grpc import aio
        except ImportError as exc:
            raise ExecutorUnavailable(
                "a Triton client needs tritonclient; pip install 'voxturn[triton]'"
            ) from exc
        self.address = address
        self._name = name
        self._aio = aio
        self._patience_s = patience_s
        self._canary_s = canary_s
        self._deadline_s = deadline_s
        self._clock = clock or WallClock()
        self._headers = headers(secret)
        self._client = aio.InferenceServerClient(address, channel_args=_CHANNEL)

    async def stream(
        self, model: str, inputs: Mapping[str, Any], endless: bool = False
    ) -> AsyncGenerator[Tensors, None]:
        """The answers to a request, piece by piece. Closing this cancels it in the server.

        `endless`: it has no deadline. Raises the error that the model raised, `ServerUnavailable`,
        `ServerDied` or `DeadlineExceeded`.
        """
        until, name = NEVER if endless else self._until(), uuid.uuid4().hex
        sent = self._clock.now()
        request = {"model_name": model, "inputs": self._named(inputs), "request_id": name}
        answers = self._client.stream_infer(_one(request))
        begun, reachable = False, True
        try:
            while True:
                following = asyncio.ensure_future(anext(answers, None))
                try:
                    await self._wait(following, model, until, sent)
                    answer = await following
                finally:
                    following.cancel()
                if answer is None:
                    return
                tensors, begun = _tensors_of(answer, model), True
                if tensors:
                    yield tensors
        except VoxturnError as exc:
            reachable = not isinstance(exc, ServerDied | ServerUnavailable)
            raise
        except Exception as exc:
            reachable = False
            raise lost(exc, model, self.address, begun) from exc
        finally:
            await self._leave(model, name, answers, reachable)

    @asynccontextmanager
    async def line(self, model: str) -> AsyncGenerator[Line, None]:
        """For requests that the model answers at once, one after the other over one call."""
        line = Line(self, model)
        try:
            yield line
        finally:
            await line.aclose()

    async def _leave(self, model: str, name: str, answers: Any, reachable: bool) -> None:
        """End a stream: ask the model to, read the rest, and cut the connection only where that is
        in vain.

        Triton crashes now and then where a call is cancelled in the moment of its last answer
        (server issue 8034; once in some thousand streams here).
        """
        try:
            if reachable:
                async with asyncio.timeout(_LEAVE_S):
                    await self._ask(model, self._own({CANCEL: name}))
                    async for _ in answers:
                        pass
        except Exception as exc:  # noqa: BLE001  it is left all the same
            _LOG.debug("%s: model %r: a stream was cut: %s", self.address, model, exc)
        finally:
            answers.cancel()

    async def infer(
        self, model: str, inputs: Mapping[str, Any], piece: Piece | None = None
    ) -> Tensors:
        """The one answer of a model that does not stream.

        `piece`: of what utterance the inputs are one.
        """
        until, name = self._until(), uuid.uuid4().hex
        options = {} if piece is None else piece.options()
        sent = self._clock.now()
        call = asyncio.ensure_future(
            self._client.infer(model, self._named(inputs), request_id=name, **options)
        )
        try:
            await self._wait(call, model, until, sent)
            return _arrays(await asyncio.shield(call))
        except VoxturnError:
            raise
        except Exception as exc:
            raise lost(exc, model, self.address, False) from exc
        finally:
            if not call.done():
                await self._leave(model, name, _Call(call), True)

    async def forget(self, model: str, sequence: int) -> None:
        """Have the model forget an utterance whose last piece will not come.

        In vain where it does not answer within a second: it forgets by itself later.
        """
        try:
            async with asyncio.timeout(_LEAVE_S):
                await self._client.infer(
                    model, self._named({CANCEL: ""}), **Piece(sequence, False, True).options()
                )
        except Exception as exc:  # noqa: BLE001  as above
            _LOG.debug("%s: model %r: an utterance was left: %s", self.address, model, exc)

    async def answers(self, model: str, timeout_s: float) -> bool:
        """Whether a model answers a canary in time."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._ask(model, {CANARY: np.array([True])}) is not None
        except Exception as exc:  # noqa: BLE001  whatever it is, it is no answer
            return is_plain(exc)

    async def _has(self, model: str, sent: float) -> bool:
        """Whether a model still has what was sent to it at `sent`: it answers, and was not started
        since."""
        asked = self._clock.now()
        try:
            answer = await self._ask(model, {INFO: np.array([True])})
        except Exception as exc:  # noqa: BLE001  as above
            return is_plain(exc)
        return answer is not None and (
            not answer or json.loads(answer).get(UP_S, math.inf) >= asked - sent
        )

    async def _ask(self, model: str, inputs: Mapping[str, Any]) -> str | None:
        """What a model says to a request that it answers without its engine; None where that ends
        in an error.

        gRPC may swallow a cancellation of this while it begins a stream: it is passed on.
        """
        request, answer = self._tensors(inputs), ""
        task = asyncio.current_task()
        assert task is not None
        cancelled = task.cancelling()
        if not MODELS[model].streams:
            return text_of(_arrays(await self._client.infer(model, request))["answer"])
        call = self._client.stream_infer(_one({"model_name": model, "inputs": request}))
        try:
            async for result, error in call:
                if error is not None:
                    return None
                if "answer" in (tensors := _arrays(result)):
                    answer = text_of(tensors["answer"])
            return answer
        finally:
            call.cancel()
            if task.cancelling() > cancelled:
                raise asyncio.CancelledError

    async def load(self, model: str) -> None:
        """Load a model of the repository.

        Raises the error that the model's process raised, or `ServerUnavailable`.
        """
        try:
            await self._client.load_model(model, headers=self._headers)
        except Exception as exc:
            raise load_failed(exc, model, self.address) from exc

    async def unload(self, model: str) -> None:
        """Unload a model. Raises `ServerUnavailable`."""
        try:
            await self._client.unload_model(model, headers=self._headers)
        except Exception as exc:
            raise unload_failed(exc, model, self.address) from exc

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.close()

    def _until(self) -> float:
        return self._clock.now() + self._deadline_s if self._deadline_s else NEVER

    async def _wait(self, call: asyncio.Future[Any], model: str, until: float, sent: float) -> None:
        """Wait for an answer to what was sent at `sent`, as long as the model has it and its caller
        allows."""
        while not call.done():
            patient_until = self._clock.now() + self._patience_s
            if await done_by(self._clock, call, min(patient_until, until)):
                return
            if self._clock.now() >= until:
                raise DeadlineExceeded(
                    f"{self.address}: model {model!r} took longer than {self._deadline_s:g} s"
                )
            if await self._is_lost(call, model, until, sent):
                raise ServerDied(
                    f"{self.address}: model {model!r} stopped answering; the request may be made again"
                )

    async def _is_lost(
        self, call: asyncio.Future[Any], model: str, until: float, sent: float
    ) -> bool:
        """Whether a model has no longer what was sent to it at `sent`, or does not answer at all.

        While a canary is not answered another is sent; an answer to any of them counts.
        """
        canaries: list[asyncio.Task[bool]] = []
        try:
            for _ in range(_CANARIES):
                canaries.append(asyncio.create_task(self._has(model, sent)))
                await asyncio.wait(
                    [call, *canaries],
                    timeout=self._canary_s,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                if call.done() or self._clock.now() >= until:
                    return False
                if answered := [canary.result() for canary in canaries if canary.done()]:
                    return not all(answered)
            return True
        finally:
            await cancel_all(canaries)

    def _named(self, inputs: Mapping[str, Any]) -> list[Any]:
        """The tensors of a request that the server counts among its client's."""
        return self._tensors(self._own(inputs))

    def _own(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return dict(inputs) | ({CLIENT: self._name} if self._name else {})

    def _tensors(self, inputs: Mapping[str, Any]) -> list[Any]:
        tensors = []
        for name, array in _as_arrays(inputs):
            tensor = self._aio.InferInput(name, list(array.shape), wire_type(array))
            tensor.set_data_from_numpy(array)
            tensors.append(tensor)
        return tensors


class Line:
    """Requests to a model of a server, each sent once the one before it was answered."""

    def __init__(self, server: TritonServer, model: str) -> None:
        self._server = server
        self._model = model
        self._requests: Handoff[dict[str, Any]] = Handoff(1)
        self._answers = server._client.stream_infer(self._requests)

    async def ask(self, inputs: Mapping[str, Any]) -> Tensors:
        """The one answer to a request. Of one task.

        Raises the error that the model raised, `ServerUnavailable` or `ServerDied`.
        """
        server, model = self._server, self._model
        await self._requests.put({"model_name": model, "inputs": server._named(inputs)})
        following = asyncio.ensure_future(anext(self._answers))
        try:
            await server._wait(following, model, NEVER, server._clock.now())
            return _tensors_of(await following, model)
        except VoxturnError:
            raise
        except Exception as exc:
            raise lost(exc, model, server.address, True) from exc
        finally:
            following.cancel()

    async def aclose(self) -> None:
        """Send no more. What was asked and not answered is left to the model."""
        self._requests.close()
        try:
            async with asyncio.timeout(_LEAVE_S):
                async for _ in self._answers:  # not cut: as `_leave`
                    pass
        except Exception as exc:  # noqa: BLE001  it is left all the same
            _LOG.debug("%s: model %r: a line was cut: %s", self._server.address, self._model, exc)
        finally:
            self._answers.cancel()


class _Call:
    """A call with one answer, as a stream to be left."""

    def __init__(self, call: asyncio.Future[Any]) -> None:
        self._call = call

    async def __aiter__(self) -> AsyncIterator[Any]:
        yield await asyncio.shield(self._call)

    def cancel(self) -> None:
        self._call.cancel()


def _as_arrays(inputs: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    for name, value in inputs.items():
        yield (
            name,
            np.array([value.encode()], np.object_) if isinstance(value, str) else np.asarray(value),
        )


def _tensors_of(answer: tuple[Any, Any], model: str) -> Tensors:
    """The tensors of an answer. Raises the error that the model raised."""
    result, error = answer
    if error is not None:
        message = str(error.message())
        raise raised(message, model) or InferenceFailed(
            f"{model}: {' '.join(message.split())[:300]}"
        )
    return _arrays(result)


def _arrays(result: Any) -> Tensors:
    return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}


async def _one(request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    yield request
