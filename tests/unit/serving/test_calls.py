"""The calls of Whisper's engine from a client: what they do, and which field is wrong."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.errors import ForgottenWindow, InvalidSamples, UsageError
from voxturn.runtime.executors.fake import FakeWhisper
from voxturn.runtime.executors.triton import TritonWhisper
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.protocols import Generated
from voxturn.runtime.remote.tensors import Tensors, text_tensor
from voxturn.runtime.serving.calls import WhisperCalls

GENERATE: dict[str, Any] = {"call": "generate", "prompt": [9], "max_tokens": 2}
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"call": "sing"}, "call"),
    ({"call": ["generate"]}, "call"),
    ({"prompt": [50]}, "prompt"),
    ({"prompt": [-1]}, "prompt"),
    ({"prompt": []}, "prompt"),
    ({"prompt": [True]}, "prompt"),
    ({"prompt": "9"}, "prompt"),
    ({"prompt": [9] * 448}, "prompt"),
    ({"prompt": None}, "prompt"),
    ({"max_tokens": 448}, "max_tokens"),  # with the prompt
    ({"max_tokens": 0}, "max_tokens"),
    ({"max_tokens": 1.5}, "max_tokens"),
    ({"max_tokens": 10**400}, "max_tokens"),
    ({"call": "align", "ids": [], "positions": 40}, "ids"),
    ({"call": "align", "ids": [1], "positions": 1501}, "positions"),
    ({"call": "align", "ids": [1]}, "positions"),
    ({"call": "extend", "other": 7, "result": "x", "positions": 4}, "other"),
    ({"call": "extend", "other": "x" * 257, "result": "x", "positions": 4}, "other"),
    ({"wish": "a song"}, "wish"),
]
"""Changes of a call, and the field that is wrong then."""


def calls_of(executor: FakeWhisper, lane: Lane) -> WhisperCalls:
    whisper = SimpleNamespace(executor=executor, tokenizer=SimpleNamespace(size=50))
    return WhisperCalls(SimpleNamespace(whisper=whisper, lane=lane))  # type: ignore[arg-type]


async def test_windows_are_their_client_s_and_who_has_the_most_makes_room() -> None:
    lane = Lane("transcribe")
    calls = calls_of(FakeWhisper([Generated((1, 2, 3), -0.5, 0.1)], {"en": 1.0}), lane)

    async def ask(client: str, name: str, **about: Any) -> Tensors:
        CLIENT.set(client)
        inputs = {"request": text_tensor(json.dumps({"name": name, **about}))}
        if about["call"] == "encode":
            inputs["features"] = np.zeros((80, 10), np.float32)
        return await calls(inputs)

    try:
        for client in ("me", "you"):
            await ask(client, "mine", call="encode")
        for number in range(100):
            await ask("greedy", f"{number}", call="encode")
        for client in ("me", "you"):
            await ask(client, "mine", **GENERATE)
        await ask("greedy", "99", **GENERATE)
        for client, name in (("greedy", "0"), ("greedy", "mine"), ("me", "99")):
            with pytest.raises(ForgottenWindow):
                await ask(client, name, **GENERATE)
    finally:
        lane.close()


def test_whisper_s_calls_name_windows_and_make_forgotten_ones_again() -> None:
    lane = Lane("transcribe")
    executor = FakeWhisper([Generated((1, 2, 3), -0.5, 0.1)], {"en": 0.75, "ar": 0.25})
    calls = calls_of(executor, lane)

    class Near:
        """A connection to the handler in this process."""

        def describe(self, model: str) -> dict[str, Any]:
            return {"multilingual": True, "aligns": True, "mels": 80}

        def infer(self, model: str, inputs: dict[str, Any]) -> Tensors:
            tensors = {k: text_tensor(v) if isinstance(v, str) else v for k, v in inputs.items()}
            return asyncio.run(calls(tensors))

    whisper = TritonWhisper(Near())  # type: ignore[arg-type]
    try:
        silence = whisper.encode(np.zeros((80, 100), np.float32))
        window = whisper.extend(whisper.encode(np.ones((80, 60), np.float32)), silence, 45)
        assert whisper.generate(window, [9], 2) == Generated((1, 2), -0.5, 0.1)
        assert whisper.detect_language(window) == {"en": 0.75, "ar": 0.25}
        assert whisper.align(window, [9], [1, 2], 40) == [0, 20, 40]
        assert executor.positions == [45]
        encoded = len(executor.encoded_frames)
        calls._kept.clear()  # the server was started again
        assert whisper.generate(window, [9], 2).ids == (1, 2)
        assert len(executor.encoded_frames) == encoded + 2
        for number in range(40):
            whisper.encode(np.full((80, 10), number, np.float32))
        assert len(calls._kept) == 32
        for change, field in WRONG:
            with pytest.raises(UsageError, match=rf"request[.:].*{field}"):
                whisper._ask(window, **GENERATE | change)
        for features in (np.zeros((80, 3001), np.float32), np.zeros((79, 10), np.float32)):
            with pytest.raises(UsageError, match=r"features: must be \[80, 2 to 3000\]"):
                whisper.encode(features)
        with pytest.raises(InvalidSamples, match="features"):
            whisper.encode(np.full((80, 10), np.nan, np.float32))
    finally:
        lane.close()
