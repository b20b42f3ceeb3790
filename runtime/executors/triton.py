"""Engines in a Triton server behind the protocols of those in this process: a stage does not know where its engine is.

A graph's call, a call of Whisper's and a whole generation are one request each; token loops stay in the server. The
models are those of `triton_models`; the server must run the artifact that this side reads its tokenizer from.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.decode.generation import Request, Step
from voxturn.runtime.errors import (
    ForgottenWindow,
    InferenceFailed,
    InvalidProfile,
    PromptTooLong,
)
from voxturn.runtime.executors.backend import Backend, ClosableTokens, Host, LoadedArtifact
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.flow.portal import Portal
from voxturn.runtime.protocols import (
    Generated,
    GraphExecutor,
    SpeechToTextExecutor,
    Tensor,
)
from voxturn.runtime.remote.contract import INFO, MODELS, WINDOW
from voxturn.runtime.remote.requests import of_request, to_step
from voxturn.runtime.remote.tensors import Tensors, text_of
from voxturn.runtime.remote.transport import TritonServer

_ADDRESS = "localhost:8001"


class Connection:
    """A connection to a Triton server, for callers in any thread or event loop. Close it when done.

    It lives in an event loop of its own. Raises `ExecutorUnavailable` without `tritonclient`.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._portal = Portal("voxturn-triton")
        try:
            self._server = self._portal.run(self._connect())
        except BaseException:
            self._portal.close()
            raise

    def describe(self, model: str) -> dict[str, Any]:
        """What a model says of itself: the artifact's hash, its executor, its sizes."""
        request = {INFO: np.array([True])}
        answer = (
            self._portal.run(self._first(model, request))
            if MODELS[model].streams
            else self.infer(model, request)
        )
        description: dict[str, Any] = json.loads(text_of(answer["answer"]))
        return description

    def infer(self, model: str, inputs: Mapping[str, Any]) -> Tensors:
        """The one answer of a model that does not stream. Blocks."""
        return self._portal.run(self._server.infer(model, inputs))

    async def stream(self, model: str, inputs: Mapping[str, Any]) -> AsyncGenerator[Tensors, None]:
        """The answers of a model that streams. Closing this cancels the request."""
        answers = self._server.stream(model, inputs)
        try:
            while (tensors := await self._portal.arun(anext(answers, None))) is not None:
                yield tensors
        finally:
            await self._portal.arun(answers.aclose())

    def close(self) -> None:
        """Close the connection and end its thread; safe to call twice."""
        if self._portal.open:
            try:
                self._portal.run(self._server.aclose())
            finally:
                self._portal.close()

    async def _connect(self) -> TritonServer:
        return TritonServer(self.address)

    async def _first(self, model: str, inputs: Mapping[str, Any]) -> Tensors:
        (answer,) = [tensors async for tensors in self._server.stream(model, inputs)]
        return answer


class TritonGraph:
    """A stateless graph that a server runs: the vocoder."""

    name = "triton"
    compiles_shapes = True  # its server's may

    def __init__(self, connection: Connection, model: str) -> None:
        self._connection = connection
        self._model = model
        self.few_shapes = bool(connection.describe(model)["few_shapes"])

    def run(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        sent = {
            name: value.reshape(1) if name in WINDOW else value for name, value in inputs.items()
        }
        return self._connection.infer(self._model, sent)

    def close(self) -> None:
        """The connection is closed by whoever made it."""


@dataclass(frozen=True)
class Window:
    """An encoded window of audio by its name, and how to make it again: features, or two windows put together."""

    name: str
    features: npt.NDArray[np.float32] | None = None
    parts: tuple[Window, Window, int] | None = None


class TritonWhisper:
    """Whisper in a server. Windows are encoded there, kept for a while by the hash of their features, and made again
    when they are asked for later."""

    name = "triton"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        found = connection.describe("whisper")
        self.multilingual = bool(found["multilingual"])
        self.mels = int(found["mels"])

    def encode(self, features: npt.NDArray[np.float32]) -> Window:
        window = Window(hashlib.sha256(features.tobytes()).hexdigest(), features)
        self._make(window)
        return window

    def extend(self, encoded: Window, other: Window, positions: int) -> Window:
        name = hashlib.sha256(f"{encoded.name} {other.name} {positions}".encode()).hexdigest()
        window = Window(name, parts=(encoded, other, positions))
        self._make(window)
        return window

    def generate(self, encoded: Window, prompt: Sequence[int], max_tokens: int) -> Generated:
        found = self._ask(encoded, call="generate", prompt=list(prompt), max_tokens=max_tokens)
        return Generated(tuple(found["ids"]), float(found["score"]), float(found["no_speech"]))

    def detect_language(self, encoded: Window) -> dict[str, float]:
        found: dict[str, float] = self._ask(encoded, call="detect_language")
        return found

    def align(
        self, encoded: Window, prompt: Sequence[int], ids: Sequence[int], positions: int
    ) -> list[int]:
        found: list[int] = self._ask(
            encoded, call="align", prompt=list(prompt), ids=list(ids), positions=positions
        )
        return found

    def close(self) -> None:
        """The connection is closed by whoever made it."""

    def _make(self, window: Window) -> None:
        if window.parts is None:
            self._call({"call": "encode", "name": window.name}, window.features)
            return
        own, other, positions = window.parts
        about = {
            "call": "extend",
            "name": own.name,
            "other": other.name,
            "result": window.name,
            "positions": positions,
        }
        try:
            self._call(about)
        except ForgottenWindow:
            self._make(other)
            self._make(own)
            self._call(about)

    def _ask(self, window: Window, **about: Any) -> Any:
        about["name"] = window.name
        try:
            return self._call(about)
        except ForgottenWindow:
            self._make(window)
            return self._call(about)

    def _call(self, about: dict[str, Any], features: npt.NDArray[np.float32] | None = None) -> Any:
        inputs: dict[str, Any] = {"request": json.dumps(about)}
        if features is not None:
            inputs["features"] = np.ascontiguousarray(features)
        return json.loads(text_of(self._connection.infer("whisper", inputs)["answer"]))


class TritonTokens:
    """The token engine of the model `name` in a server, as `decode.service.TokenService`."""

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._model = name
        self.capacity = int(connection.describe(name)["capacity"])

    async def stream(self, request: Request) -> AsyncGenerator[Step, None]:
        """The steps of a request, as they come."""
        if len(request.prompt) >= self.capacity:
            raise PromptTooLong(
                f"the prompt has {len(request.prompt)} tokens, the model's buffers hold {self.capacity}; shorten it"
            )
        answers = self._connection.stream(self._model, of_request(request))
        try:
            async for tensors in answers:
                yield to_step(tensors)
        finally:
            await answers.aclose()

    async def compute(self, request: Request) -> None:
        """Compute a prompt and leave it in its slot, for whoever goes on from it."""
        async for _ in self.stream(request):
            raise InferenceFailed(f"{self._model}: gave tokens that were not asked for")

    async def keep(self, request: Request) -> None:
        """Compute a beginning that many prompts share and keep it in the server."""
        async for _ in self._connection.stream(self._model, of_request(request, keep=True)):
            raise InferenceFailed(f"{self._model}: gave tokens that were not asked for")

    def close(self) -> None:
        """The connection is closed by whoever made it."""


class TritonBackend(Backend):
    """Engines in Triton servers. A server must run the very artifact that is here."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._connections: dict[str, Connection] = {}

    def graph(self, artifact: LoadedArtifact, role: str) -> GraphExecutor:
        return TritonGraph(*self._server(artifact, role))

    def tokens(
        self, artifact: LoadedArtifact, role: str, slots: int, capacity: int, lane: Lane
    ) -> ClosableTokens:
        return TritonTokens(*self._server(artifact, role))

    def whisper(self, artifact: LoadedArtifact) -> SpeechToTextExecutor:
        return TritonWhisper(self._server(artifact, "whisper_decoder")[0])

    def close(self) -> None:
        while self._connections:
            self._connections.popitem()[1].close()

    def _server(self, artifact: LoadedArtifact, role: str) -> tuple[Connection, str]:
        """The connection to the artifact's server, and the name of the model there that has the role."""
        if role not in artifact.served:
            raise self._missing(artifact, role)
        address, model = artifact.server or _ADDRESS, artifact.served[role]
        if address not in self._connections:
            self._connections[address] = Connection(address)
        connection = self._connections[address]
        served = str(connection.describe(model)["artifact_sha256"])
        here = artifact.manifest.digest
        if served != here:
            raise InvalidProfile(
                f"{address} runs artifact {served[:12]} as {model}, here is {here[:12]} of "
                f"{artifact.manifest.model}; both sides need the same"
            )
        return connection, model
