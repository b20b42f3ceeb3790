"""What an executor makes: engines for the graphs of one artifact.

`catalogue` names each executor's class.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.service import DecodeService, TokenService
from voxturn.runtime.errors import CorruptModel, ExecutorUnavailable
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.flow.scheduling import EngineBudget
from voxturn.runtime.models.fetch import Progress
from voxturn.runtime.models.manifest import Manifest, ModelContract
from voxturn.runtime.protocols import DecoderExecutor, GraphExecutor, SpeechToTextExecutor
from voxturn.runtime.remote.connection import Connection


@dataclass(frozen=True)
class LoadedArtifact:
    """An artifact on its way into an engine.

    `stage` is the profile's; `executor` the row's name; `precision`, `compute` and `server` as in
    `profile.Engine`. `contracts` are the family's own, of files whose manifest has none; `served`
    names the models that a server runs for this family's roles.
    """

    stage: str
    executor: str
    folder: Path
    manifest: Manifest
    precision: str
    budget: EngineBudget
    compute: str = ""
    server: str = ""
    contracts: Mapping[str, ModelContract] = field(default_factory=dict)
    served: Mapping[str, str] = field(default_factory=dict)

    def beside(self, stage: str) -> LoadedArtifact:
        """The same for work beside its stage, which has a name of its own."""
        return replace(self, stage=stage)

    def contract(self, role: str) -> ModelContract:
        """The contract of a role's graph. Raises `CorruptModel` where the artifact has none."""
        contract = self.manifest.graphs.get(role) or self.contracts.get(role)
        if contract is None:
            raise CorruptModel(
                f"{self.folder}: has no graph of a {role}; export it again with this version"
            )
        return contract

    def path(self, role: str) -> Path:
        """The file of a role's graph."""
        return self.folder / self.contract(role).file


class Closable(Protocol):
    """Something with a `close`."""

    def close(self) -> None: ...


ClosableT = TypeVar("ClosableT", bound=Closable)


class Host:
    """What backends share in their process. Close it after the backends.

    `engines` is the folder where built engines are kept; `progress` is told of long work.
    """

    def __init__(self, engines: Path, progress: Progress) -> None:
        self.engines = engines
        self.progress = progress
        self._shared: dict[type[Closable], Closable] = {}

    def shared(self, kind: type[ClosableT], make: Callable[[], ClosableT]) -> ClosableT:
        """The one object of a kind, made when it is first asked for: a GPU, a connection."""
        if kind not in self._shared:
            self._shared[kind] = make()
        return cast(ClosableT, self._shared[kind])

    def close(self) -> None:
        """Close what is shared, also where closing one fails; safe to call twice."""
        with ExitStack() as closing:
            while self._shared:
                closing.callback(self._shared.popitem()[1].close)


class Backend:
    """Makes engines for artifacts. One for each executor of a loaded profile; close it after what
    it made.

    An executor implements what its row promises; the rest raises `ExecutorUnavailable`.
    """

    def __init__(self, host: Host) -> None:
        self._host = host

    def arithmetic(self, artifact: LoadedArtifact) -> str:
        """The number format that it computes this artifact in, where there is a choice; else empty."""
        return ""

    def graph(self, artifact: LoadedArtifact, role: str) -> GraphExecutor:
        """The engine of a stateless graph."""
        raise self._missing(artifact, role)

    def decoder(
        self, artifact: LoadedArtifact, role: str, slots: int, capacity: int
    ) -> DecoderExecutor:
        """The engine of a token decoder with `slots` sequences of up to `capacity` positions."""
        raise self._missing(artifact, role)

    def tokens(
        self, artifact: LoadedArtifact, role: str, slots: int, capacity: int, lane: Lane
    ) -> ClosableTokens:
        """A token service over `decoder`, made in the lane's thread and driven from it."""
        decoder = lane.make(self.decoder, artifact, role, slots, capacity)
        return EngineTokens(decoder, lane)

    def whisper(self, artifact: LoadedArtifact) -> SpeechToTextExecutor:
        """The engine of an encoder-decoder for speech."""
        raise self._missing(artifact, "whisper_decoder")

    def connection(self, artifact: LoadedArtifact) -> Connection:
        """The connection to the server that runs the whole stage."""
        raise self._missing(artifact, artifact.stage)

    def described(self, artifact: LoadedArtifact) -> Mapping[str, Any]:
        """What a server says of a stage that it runs as a whole: its artifact, hash, precision and
        executor."""
        return {}

    def close(self) -> None:
        """Free what its engines share. Its engines are closed before."""

    def _missing(self, artifact: LoadedArtifact, role: str) -> ExecutorUnavailable:
        return ExecutorUnavailable(f"the executor {artifact.executor!r} has nothing for a {role}")


class ClosableTokens(TokenService, Protocol):
    """A token service that frees its engine."""

    def close(self) -> None:
        """Free the engine. Nothing runs in its lane any more."""
        ...


class EngineTokens(DecodeService):
    """A token engine of this process on a decoder that it owns."""

    def __init__(self, decoder: DecoderExecutor, lane: Lane) -> None:
        super().__init__(DecodeEngine(decoder), lane)

    def close(self) -> None:
        """Free the decoder. Nothing runs in its lane any more."""
        self.engine.executor.close()
