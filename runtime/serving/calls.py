"""The calls of Whisper's engine that a client makes, whose stage runs elsewhere
(`executors.triton`)."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
from voxturn.runtime.errors import ForgottenWindow, InvalidSamples, UsageError
from voxturn.runtime.families.whisper.hearing import WhisperRecogniser
from voxturn.runtime.flow.fairness import CLIENT, holders_of_most
from voxturn.runtime.remote.contract import MOST_FRAMES
from voxturn.runtime.remote.requests import table_of
from voxturn.runtime.remote.table import Table
from voxturn.runtime.remote.tensors import Tensors, text_tensor
from voxturn.runtime.serving.inputs import Inputs

_CALLS = ("encode", "extend", "generate", "detect_language", "align")
_WINDOWS = 32
_MOST_POSITIONS, _MOST_TOKENS = 1500, 448


class WhisperCalls:
    """The calls of a `SpeechToTextExecutor` from a client, for whom an encoded window is a name.

    A name is the hash of what was encoded, and its client's own. The latest windows are kept, and
    one that is not has to be sent again; where there are too many, the clients with the most make
    room.
    """

    def __init__(self, recogniser: WhisperRecogniser) -> None:
        self._executor = recogniser.whisper.executor
        self._lane = recogniser.lane
        self._vocabulary = recogniser.whisper.tokenizer.size
        self._kept: OrderedDict[tuple[str, str], Any] = OrderedDict()

    async def __call__(self, inputs: Inputs) -> Tensors:
        """Raises `UsageError`, which names the field, for what is no call; `ForgottenWindow`."""
        about = table_of(inputs)
        call = self._call(about, inputs)
        about.close()
        return {"answer": text_tensor(json.dumps(await self._lane.run(call)))}

    def _call(self, about: Table, inputs: Inputs) -> Callable[[], Any]:
        """What the lane has to do."""
        executor = self._executor
        kind, client = about.one_of("call", _CALLS), CLIENT.get()
        name = (client, about.text("name"))
        if kind == "encode":
            features = self._features(inputs)
            return lambda: self._keep(name, executor.encode(features))
        if kind == "extend":
            other, result = (client, about.text("other")), (client, about.text("result"))
            positions = about.whole("positions", 1, _MOST_POSITIONS)
            return lambda: self._keep(
                result, executor.extend(self._of(name), self._of(other), positions)
            )
        if kind == "detect_language":
            return lambda: executor.detect_language(self._of(name))
        prompt = self._ids(about, "prompt")
        if kind == "generate":
            most = about.whole("max_tokens", 1, _MOST_TOKENS - len(prompt))
            return lambda: asdict(executor.generate(self._of(name), prompt, most))
        ids, positions = self._ids(about, "ids"), about.whole("positions", 1, _MOST_POSITIONS)
        return lambda: executor.align(self._of(name), prompt, ids, positions)

    def _ids(self, about: Table, field: str) -> list[int]:
        ids = about.ids(field, self._vocabulary, _MOST_TOKENS - 1)
        if not ids:
            raise UsageError(f"request.{field}: must have at least one id")
        return ids

    def _features(self, inputs: Inputs) -> np.ndarray[Any, Any]:
        features, mels = inputs.get("features"), self._executor.mels
        if (
            features is None
            or features.shape[0] != mels
            or not 1 < features.shape[1] <= MOST_FRAMES
        ):
            raise UsageError(f"features: must be [{mels}, 2 to {MOST_FRAMES}]")
        if not np.isfinite(features).all():
            raise InvalidSamples("features: NaN or infinite values")
        return np.asarray(features, np.float32)

    def _keep(self, name: tuple[str, str], encoded: Any) -> dict[str, Any]:
        self._kept[name] = encoded
        self._kept.move_to_end(name)
        if len(self._kept) > _WINDOWS:
            _, clients = holders_of_most(client for client, _ in self._kept)
            del self._kept[next(each for each in self._kept if each[0] in clients)]
        return {}

    def _of(self, name: tuple[str, str]) -> Any:
        if name not in self._kept:
            raise ForgottenWindow(f"window {name[1][:12]} is not kept any more; encode it again")
        self._kept.move_to_end(name)
        return self._kept[name]
