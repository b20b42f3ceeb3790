"""Requests as strangers send them, of any protocol: right ones, wrong ones and the worst.

A seed makes the same again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
from voxturn.runtime.decode.generation import Request
from voxturn.runtime.models.manifest import TensorSpec
from voxturn.runtime.remote.contract import COMMON, MODELS, Piece
from voxturn.runtime.remote.requests import of_request

WORST_TEXTS = (
    "1,1," * 2500,
    "Ab. " * 2500,
    "\u0628" * 10_000,
    "a\u0628 " * 3333,
    "a" * 10_000,
    "A'" * 5000,
    "(" * 10_000,
    "[" * 10_000,
    "<a b=" * 2000,
    "9" * 10_000,
    "9" * 9_999 + "k",
    "1s " * 3333,
    "9.9." * 2500,
    "$9" * 5000,
    "." * 10_000,
    "XV, " * 2500,
    "I I " * 2500,
    "e\u0301\u0323" * 3333,
    "e" + "\u0301\u0323" * 5000,
    "\U0001f469\u200d\U0001f469\u200d\U0001f467" * 2000,
    "\ufdfa" * 10_000,
    "http://" * 1428,
    "www.a." * 1666,
    "a@" * 5000,
    "*_" * 5000,
    "`" * 10_000,
    "$" * 10_000,
    "\n" * 10_000,
    "\x00" * 10_000,
    "\u3042" * 10_000,
    "\u4e00" * 10_000,
    "\uac00" * 10_000,
    "555-1234 " * 1111,
    "\u2167 " * 5000,
)
"""Ten thousand characters each, that some step between a text and its audio may be slow with."""

_TEXTS = (
    "Hello.",
    "a",
    "",
    " ",
    "🙂",
    "…",
    "\x00",
    "\u0628",
    "[en]",
    "x" * 20_000,
    "مرحبا",
    "1,1,1",
)
_BYTES = (b"\xff", b"\xc3", b"a\x80b", b"\xed\xa0\x80", b"\x00" * 9)
_NUMBERS = (0, 1, -1, 2, 7, 1 << 31, -(1 << 63), (1 << 63) - 1)
_FLOATS = (0.0, 1.0, -1.0, 0.5, 1e-30, 3e38, np.nan, np.inf, -np.inf)
_JUNK: tuple[Any, ...] = (
    None, True, -1, 1.5, 1 << 70, 10**400, float("nan"), "x", "", [], {}, [[]], {"a": {}}, "\ud800", "x" * 300, [True], ["1"],
    [-1], [1 << 41], ["user"],
)  # fmt: skip
_NO_JSON = (
    "",
    "{",
    "[" * 20_000,
    '{"a":' * 20_000,
    "9" * 5000,
    '"\\ud800"',
    "NaN",
    "[]",
    "1",
    "[1, 2]",
)
_CALLS: tuple[dict[str, Any], ...] = (
    {"call": "generate", "name": "w", "prompt": [1], "max_tokens": 2},
    {"call": "detect_language", "name": "w"},
    {"call": "align", "name": "w", "prompt": [1], "ids": [2], "positions": 4},
    {"call": "extend", "name": "w", "other": "w", "result": "v", "positions": 4},
    {"call": "encode", "name": "w"},
)

_COMMANDS: tuple[dict[str, Any], ...] = (
    {"do": "ask", "text": "Why?"},
    {"do": "messages", "messages": [{"role": "user", "text": "Why?"}]},
    {"do": "played", "ms": 10.0},
    {"do": "pin", "fact": "It is so."},
    {"do": "answer"},
    {"do": "cancel"},
    {"do": "close"},
)


@dataclass(frozen=True)
class Asked:
    """A request: a served model, its inputs, and of what utterance it is a piece."""

    model: str
    inputs: dict[str, np.ndarray[Any, Any]]
    piece: Piece | None = None


class Strangers:
    """Makes requests to some models. `worst`: how many of a hundred texts are of the worst."""

    def __init__(self, seed: int, models: Sequence[str], worst: int = 5) -> None:
        self._random = Random(seed)
        self._models = models
        self._worst = worst

    def request(self) -> Asked:
        """The next one."""
        model = self._random.choice(self._models)
        served = MODELS[model]
        inputs = {}
        for spec in served.inputs:
            if self._chance(90 if spec.name in served.required else 12):
                inputs[spec.name] = self._value(spec)
        for spec in COMMON:
            if self._chance(4):
                inputs[spec.name] = self._value(spec)
        if self._chance(2):
            inputs["nonsense"] = np.zeros(1, np.float32)
        return Asked(model, inputs, self._piece() if model == "whisper" else None)

    def _chance(self, of_hundred: int) -> bool:
        return self._random.randrange(100) < of_hundred

    def _piece(self) -> Piece | None:
        if not self._chance(40):
            return None
        return Piece(self._random.randrange(1, 5), self._chance(40), self._chance(30))

    def _value(self, spec: TensorSpec) -> np.ndarray[Any, Any]:
        shape = [
            size if isinstance(size, int) else self._random.choice((0, 1, 1, 2, 3, 80))
            for size in spec.shape
        ]
        if self._chance(4):
            shape = self._random.choice(([], [0], [2], [1, 1], [1, 1, 1, 1]))
        if self._chance(3):
            return np.zeros(shape, self._random.choice((np.int32, np.float32, np.bool_)))
        if spec.dtype == "object":
            value = np.empty(shape, np.object_)
            value.fill(self._bytes(spec.name))
            return value
        if spec.dtype == "float32":
            return self._floats(spec.name, shape)
        if spec.dtype == "bool":
            return np.full(shape, self._chance(50))
        info = np.iinfo(spec.dtype)
        return np.full(
            shape, max(info.min, min(info.max, self._random.choice(_NUMBERS))), spec.dtype
        )

    def _floats(self, name: str, shape: list[int]) -> np.ndarray[Any, Any]:
        if name in ("audio", "reference") and self._chance(60):
            shape = [self._random.choice((160, 1600, 4800))]
        if self._chance(30):
            return np.full(shape, self._random.choice(_FLOATS), np.float32)
        seed = self._random.randrange(1 << 30)
        noise = np.random.default_rng(seed).standard_normal(shape)
        return np.asarray(0.01 * noise, np.float32)

    def _bytes(self, name: str) -> bytes:
        if self._chance(5):
            return self._random.choice(_BYTES)
        if name in ("request", "messages", "open", "command") and self._chance(85):
            return self._json(name).encode()
        if self._chance(self._worst):
            return self._random.choice(WORST_TEXTS).encode()
        if name == "language" and self._chance(60):
            return self._random.choice((b"en", b"auto", b"EN-us", b"tlh", b"../x"))
        return self._random.choice(_TEXTS).encode()

    def _json(self, name: str) -> str:
        if self._chance(15):
            return self._random.choice(_NO_JSON)
        if name == "messages":
            message: dict[str, Any] = {"role": "user", "text": self._random.choice(_TEXTS)}
            value: Any = [self._changed(message) for _ in range(self._random.choice((0, 1, 1, 3)))]
        elif name == "open":
            value = self._changed({"interrupt": {"strategy": "words", "words": 1}})
        elif name == "command":
            value = self._changed(self._random.choice(_COMMANDS))
        elif self._chance(50):
            value = self._changed(self._random.choice(_CALLS))
        else:
            prompt = [self._random.randrange(400) for _ in range(self._random.randrange(1, 9))]
            request = of_request(Request(prompt, max_tokens=self._random.choice((0, 1, 3))))
            value = self._changed(json.loads(request["request"][0]))
            if self._chance(20) and isinstance(value.get("sampling"), dict):
                value["sampling"] = self._changed(value["sampling"])
        return json.dumps(value)

    def _changed(self, table: dict[str, Any]) -> dict[str, Any]:
        """The table, more often than not with a field that is wrong, missing or new."""
        changed = dict(table)
        if self._chance(60):
            field = self._random.choice([*changed, "new"])
            if self._chance(30):
                changed.pop(field, None)
            else:
                changed[field] = self._random.choice(_JUNK)
        return changed
