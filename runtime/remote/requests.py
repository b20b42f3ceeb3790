"""Requests to an engine behind a server, and its answers, as tensors: a whole generation is one
request. Pure.

What a stage asks of an executor in its own process it can ask so of one in a server: tokens
(`of_request`, `of_step`) and Whisper's calls (`handlers.WhisperHandler`). Token loops stay where
the engine is.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from voxturn.runtime.decode.generation import Follow, Request, Step
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.errors import UsageError
from voxturn.runtime.remote.contract import MOST_ROWS, REQUEST
from voxturn.runtime.remote.table import Table, json_value
from voxturn.runtime.remote.tensors import Tensors, text_of, text_tensor

_FIELDS = ("prompt", "stop_ids", "history", "forced")
_MOST_TOKENS, _MOST, _MOST_K, _MOST_URGENT = 1 << 20, 1 << 40, (1 << 31) - 1, 64


def of_request(request: Request, keep: bool = False) -> Tensors:
    """A request as tensors. `keep`: its prompt is only to be computed and kept."""
    fields = {name: value for name in _FIELDS if (value := getattr(request, name)) is not None}
    about = {name: [int(i) for i in value] for name, value in fields.items()} | {
        "sampling": asdict(request.sampling),
        "follow": asdict(request.follow),
        "max_tokens": request.max_tokens,
        "namespace": request.namespace,
        "watch": request.watch,
        "urgent": request.urgent,
        "keep": keep,
    }
    rows = {} if request.rows is None else {"rows": request.rows}
    return {"request": text_tensor(json.dumps(about)), **rows}


def to_request(inputs: Mapping[str, np.ndarray[Any, Any]]) -> tuple[Request, bool]:
    """What `of_request` was given.

    Raises `UsageError`, which names the field, for anything else.
    """
    about = table_of(inputs)
    sampling, follow = about.table("sampling"), about.table("follow")
    request = Request(
        prompt=about.ids("prompt", _MOST, _MOST_TOKENS),
        sampling=_sampling(sampling),
        stop_ids=about.ids("stop_ids", _MOST, _MOST_TOKENS, []),
        max_tokens=about.whole("max_tokens", 0, _MOST, 1),
        namespace=about.text("namespace"),
        rows=inputs.get("rows"),
        history=about.ids("history", _MOST, _MOST_TOKENS) if "history" in about else None,
        follow=Follow(follow.whole("first", 0, _MOST, 0), follow.whole("stride", 0, _MOST, 0)),
        watch=about.whole("watch", 0, _MOST) if "watch" in about else None,
        forced=about.ids("forced", _MOST, _MOST_TOKENS, []),
        urgent=about.whole("urgent", 0, _MOST_URGENT, 0),
    )
    keep = about.flag("keep")
    if not request.prompt:
        raise UsageError("request.prompt: must have at least one id")
    for table in (about, sampling, follow):
        table.close()
    return request, keep


def _sampling(about: Table) -> Sampling:
    default = Sampling()
    return Sampling(
        temperature=about.number("temperature", default.temperature),
        top_k=about.whole("top_k", 0, _MOST_K, default.top_k),
        top_p=about.number("top_p", default.top_p),
        min_p=about.number("min_p", default.min_p),
        repetition_penalty=about.number("repetition_penalty", default.repetition_penalty),
        seed=about.whole("seed", 0, (1 << 64) - 1, default.seed),
    )


def check_request(
    request: Request, tokens: int, fits: Callable[[int], bool], follow: Follow, width: int = 0
) -> None:
    """Raise `UsageError` for ids that a model does not have: they would end the whole batch,
    others' streams included.

    `tokens`: how many can be chosen; `fits`: whether it has an input id; `follow`: how its input
    ids follow from tokens; `width`: of rows, where it takes any.
    """
    chosen = [
        *request.forced,
        *request.stop_ids,
        *(request.history or ()),
        *(() if request.watch is None else (request.watch,)),
    ]
    if not all(map(fits, request.prompt)) or any(token >= tokens for token in chosen):
        raise UsageError("request: it has ids that this model does not have")
    if request.max_tokens and request.follow != follow:
        raise UsageError(f"request: input ids of this model follow by {follow}")
    rows = request.rows
    if rows is not None and (
        not width
        or rows.shape[1] != width
        or not len(rows) <= MOST_ROWS
        or not np.isfinite(rows).all()
    ):
        raise UsageError(f"request: rows must be finite, at most {MOST_ROWS} of {width}")


def of_step(step: Step) -> Tensors:
    """A step as tensors."""
    about = {"token": step.token, "stop": step.stop, "watched": step.watched}
    return {"answer": text_tensor(json.dumps(about)), "hidden": step.hidden}


def to_step(tensors: Mapping[str, np.ndarray[Any, Any]]) -> Step:
    """What `of_step` was given."""
    about = json.loads(text_of(tensors["answer"]))
    return Step(
        int(about["token"]),
        np.array(tensors["hidden"], np.float32),
        bool(about["stop"]),
        float(about["watched"]),
    )


def table_of(inputs: Mapping[str, np.ndarray[Any, Any]]) -> Table:
    """The table of the input `request`. Raises `UsageError` for anything else."""
    return Table(json_value(text_of(inputs[REQUEST], REQUEST), REQUEST), REQUEST)
