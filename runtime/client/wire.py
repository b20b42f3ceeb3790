"""Tensors to and from a Triton server over gRPC, with a watchdog: no stream waits for a model that died.

The server never says that a model's process was killed: its streams just hang. So whenever nothing came for a while the
model is sent a canary request, which it answers at once even while it computes; no answer means that it is dead.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import Any

import numpy as np
from voxturn.runtime import errors
from voxturn.runtime.errors import ExecutorUnavailable, InferenceFailed, ServerDied, ServerUnavailable, VoxturnError
from voxturn.runtime.serving.contract import CANARY, MODELS, wire_type
from voxturn.runtime.serving.events import Tensors

_PATIENCE_S, _CANARY_S = 0.7, 1.0


class TritonServer:
    """One server by its gRPC address, as `localhost:8001`. Close it when done.

    Nothing for `patience_s`, and no answer to a canary within `canary_s`: `ServerDied`.
    """

    def __init__(self, address: str, patience_s: float = _PATIENCE_S, canary_s: float = _CANARY_S) -> None:
        try:
            from tritonclient.grpc import aio
        except ImportError as exc:
            raise ExecutorUnavailable("a Triton client needs tritonclient; pip install 'voxturn[triton]'") from exc
        self.address, self._aio = address, aio
        self._patience_s, self._canary_s = patience_s, canary_s
        self._client = aio.InferenceServerClient(address)

    async def stream(self, model: str, inputs: Mapping[str, Any]) -> AsyncGenerator[Tensors, None]:
        """The answers to a request, piece by piece. Closing this cancels it in the server.

        Raises the error that the model raised, `ServerUnavailable`, or `ServerDied`.
        """
        request = {"model_name": model, "inputs": self._tensors(inputs)}
        answers = self._client.stream_infer(_one(request))
        begun = False
        try:
            while True:
                following = asyncio.ensure_future(anext(answers, None))
                try:
                    await self._wait(following, model)
                    answer = await following
                finally:
                    following.cancel()
                if answer is None:
                    return
                result, error = answer
                if error is not None:
                    raise _typed(str(error.message()), model)
                begun = True
                tensors = _arrays(result)
                if tensors:
                    yield tensors
        except VoxturnError:
            raise
        except Exception as exc:
            raise self._lost(exc, model, begun) from exc
        finally:
            answers.cancel()

    async def infer(self, model: str, inputs: Mapping[str, Any]) -> Tensors:
        """The one answer of a model that does not stream."""
        call = asyncio.ensure_future(self._client.infer(model, self._tensors(inputs)))
        try:
            await self._wait(call, model)
            return _arrays(await call)
        except VoxturnError:
            raise
        except Exception as exc:
            raise self._lost(exc, model, False) from exc
        finally:
            call.cancel()

    async def answers(self, model: str, timeout_s: float) -> bool:
        """Whether a model answers a canary in time."""
        canary = {CANARY: np.array([True])}
        try:
            async with asyncio.timeout(timeout_s):
                if MODELS[model].streams:
                    call = self._client.stream_infer(_one({"model_name": model, "inputs": self._tensors(canary)}))
                    try:
                        found = await anext(call, None)
                    finally:
                        call.cancel()
                    return found is None or found[1] is None  # its stream ends without an answer
                await self._client.infer(model, self._tensors(canary))
                return True
        except Exception:  # noqa: BLE001  whatever it is, it is no answer
            return False

    async def load(self, model: str) -> None:
        """Load a model of the repository. Raises `ServerUnavailable` with the server's reason."""
        try:
            await self._client.load_model(model)
        except Exception as exc:
            raise ServerUnavailable(f"{self.address}: model {model!r} does not load: {exc}") from exc

    async def unload(self, model: str) -> None:
        """Unload a model."""
        try:
            await self._client.unload_model(model)
        except Exception as exc:
            raise ServerUnavailable(f"{self.address}: model {model!r} does not unload: {exc}") from exc

    async def aclose(self) -> None:
        """Close the connection."""
        await self._client.close()

    async def _wait(self, call: asyncio.Future[Any], model: str) -> None:
        """Wait for an answer as long as the model lives."""
        while not call.done():
            await asyncio.wait([call], timeout=self._patience_s)
            if not call.done() and not await self.answers(model, self._canary_s) and not call.done():
                raise ServerDied(f"{self.address}: model {model!r} stopped answering; the request may be made again")

    def _tensors(self, inputs: Mapping[str, Any]) -> list[Any]:
        made = []
        for name, value in inputs.items():
            array = np.array([value.encode()], np.object_) if isinstance(value, str) else np.asarray(value)
            tensor = self._aio.InferInput(name, list(array.shape), wire_type(array))
            tensor.set_data_from_numpy(array)
            made.append(tensor)
        return made

    def _lost(self, exc: Exception, model: str, begun: bool) -> VoxturnError:
        message = str(getattr(exc, "message", lambda: exc)())
        known = _typed(message, model)
        if not isinstance(known, InferenceFailed):
            return known
        kind = ServerDied if begun else ServerUnavailable
        return kind(f"{self.address}: model {model!r}: {' '.join(message.split())[:200]}")


def _typed(message: str, model: str) -> VoxturnError:
    """The error that a model raised, by the name that its message begins with."""
    text = message.removeprefix("[StatusCode.INTERNAL] ")
    name, _, rest = text.partition(": ")
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, VoxturnError):
        return kind(rest)
    if "unknown model" in text:
        return ServerUnavailable(f"the server has no model {model!r}")
    return InferenceFailed(f"{model}: {' '.join(message.split())[:300]}")


def _arrays(result: Any) -> Tensors:
    return {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}


async def _one(request: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    yield request
