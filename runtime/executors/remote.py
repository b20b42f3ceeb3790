"""Stages that a Triton server runs as a whole: text and audio go over the wire, no artifact lies
here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from voxturn.runtime.executors.backend import Backend, Host, LoadedArtifact
from voxturn.runtime.remote.connection import Connection, Connections


class RemoteBackend(Backend):
    """Connections to servers, one an address."""

    def __init__(self, host: Host) -> None:
        super().__init__(host)
        self._connections = Connections()

    def connection(self, artifact: LoadedArtifact) -> Connection:
        """The connection to the stage's server."""
        return self._connections.of(artifact.server)

    def described(self, artifact: LoadedArtifact) -> Mapping[str, Any]:
        """What the served model says of itself. Raises `ServerUnavailable`, `ServerDied`."""
        return self.connection(artifact).describe(artifact.manifest.model)

    def close(self) -> None:
        self._connections.close()
