"""Triton's adapter of `xtts_vocoder`: see `voxturn.runtime.serving.handlers`."""

from __future__ import annotations

from typing import Any

import triton_python_backend_utils as pb_utils
from voxturn.runtime.serving.backend import Backend


class TritonPythonModel:
    """What the server makes of this model."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the engines."""
        self._backend = Backend(pb_utils, "xtts_vocoder")

    def execute(self, requests: list[Any]) -> None:
        """Begin to answer; answers are sent as they are made."""
        self._backend.execute(requests)

    def finalize(self) -> None:
        """Free everything."""
        self._backend.close()
