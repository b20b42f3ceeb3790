"""Engines in a Triton server behind the protocols of those in this process: a stage does not know
where its engine is.

A graph's call, a call of Whisper's and a whole generation are one request each; token loops stay in
the server. The models are those of `triton_models`; the server must run the artifact that this side
reads its tokenizer from.
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
from voxturn.runtime.protocols import (
    Generated,
    GraphExecutor,
    SpeechToTextExecutor,
    Tensor,
)
from voxturn.runtime.remote.connection import Connection, Connections
from voxturn.runtime.remote.contract import WINDOW
from voxturn.runtime.remote.requests import of_request, to_step
from voxturn.runtime.remote.tensors import text_of


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
    """An encoded window of audio by its name, and how to make it again: features, or two windows
    put together."""

    name: str
    features: npt.NDArray[np.float32] | None = None
    parts: tuple[Window, Window, int] | None = None


class TritonWhisper:
    """Whisper in a server. Windows are encoded there, kept for a while by the hash of their
    features, and made again when they are asked for later."""

    name = "triton"

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        description = connection.describe("whisper")
        self.multilingual = bool(description["multilingual"])
        self.aligns = bool(description.get("aligns", True))  # an older server has no word of it
        self.mels = int(description["mels"])

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
        answer = self._ask(encoded, call="generate", prompt=list(prompt), max_tokens=max_tokens)
        return Generated(tuple(answer["ids"]), float(answer["score"]), float(answer["no_speech"]))

    def detect_language(self, encoded: Window) -> dict[str, float]:
        chances: dict[str, float] = self._ask(encoded, call="detect_language")
        return chances

    def align(
        self, encoded: Window, prompt: Sequence[int], ids: Sequence[int], positions: int
    ) -> list[int]:
        begins: list[int] = self._ask(
            encoded, call="align", prompt=list(prompt), ids=list(ids), positions=positions
        )
        return begins

    def close(self) -> None:
        """The connection is closed by whoever made it."""

    def _make(self, window: Window) -> None:
        if window.parts is None:
            self._call({"call": "encode", "name": window.name}, window.features)
            return
        encoded, other, positions = window.parts
        about = {
            "call": "extend",
            "name": encoded.name,
            "other": other.name,
            "result": window.name,
            "positions": positions,
        }
        try:
            self._call(about)
        except ForgottenWindow:
            self._make(other)
            self._make(encoded)
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
        self._connections = Connections()

    def graph(self, artifact: LoadedArtifact, role: str) -> GraphExecutor:
        return TritonGraph(*self._server(artifact, role))

    def tokens(
        self, artifact: LoadedArtifact, role: str, slots: int, capacity: int, lane: Lane
    ) -> ClosableTokens:
        return TritonTokens(*self._server(artifact, role))

    def whisper(self, artifact: LoadedArtifact) -> SpeechToTextExecutor:
        return TritonWhisper(self._server(artifact, "whisper_decoder")[0])

    def close(self) -> None:
        self._connections.close()

    def _server(self, artifact: LoadedArtifact, role: str) -> tuple[Connection, str]:
        """The connection to the artifact's server, and the name of the model there that has the
        role."""
        if role not in artifact.served:
            raise self._missing(artifact, role)
        model = artifact.served[role]
        connection = self._connections.of(artifact.server)
        served = str(connection.describe(model)["artifact_sha256"])
        here = artifact.manifest.digest
        if served != here:
            raise InvalidProfile(
                f"{connection.address} runs artifact {served[:12]} as {model}, here is {here[:12]} of "
                f"{artifact.manifest.model}; both sides need the same"
            )
        return connection, model
