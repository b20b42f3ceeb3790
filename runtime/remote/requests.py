"""Requests to an engine behind a server, and its answers, as tensors: a whole generation is one request. Pure.

What a stage asks of an executor in its own process it can ask so of one in a server: tokens (`of_request`, `of_step`)
and Whisper's calls (`handlers.WhisperHandler`). Token loops stay where the engine is.
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
from voxturn.runtime.remote.tensors import Tensors, text_of, text_tensor

_FIELDS = ("prompt", "stop_ids", "history", "forced")
_MOST_TOKENS, _MOST, _MOST_URGENT = 1 << 20, 1 << 40, 64
_MOST_ROWS = 33  # a zero row and a voice's latents


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
    """What `of_request` was given. Raises `UsageError` for anything else."""
    about = json_of(inputs)
    try:
        keep = bool(about.pop("keep"))
        sampling, follow = Sampling(**about.pop("sampling")), Follow(**about.pop("follow"))
        request = Request(sampling=sampling, follow=follow, rows=inputs.get("rows"), **about)
        ids = [*request.prompt, *request.stop_ids, *(request.history or ()), *request.forced]
        numbers = [*ids, request.max_tokens, request.urgent, follow.first, follow.stride]
        numbers += [] if request.watch is None else [request.watch]
        if (
            not request.prompt
            or not all(type(i) is int and 0 <= i < _MOST for i in numbers)
            or len(ids) > _MOST_TOKENS
        ):
            raise ValueError("ids must be whole numbers, and some of them a prompt")
        if request.urgent > _MOST_URGENT or not isinstance(request.namespace, str):
            raise ValueError(f"at most {_MOST_URGENT} tokens are urgent; a namespace is a text")
    except (KeyError, TypeError, ValueError) as exc:
        raise UsageError(f"request: not one for a token engine ({exc})") from exc
    return request, keep


def check_request(
    request: Request, tokens: int, fits: Callable[[int], bool], follow: Follow, width: int = 0
) -> None:
    """Raise `UsageError` for ids that a model does not have: they would end the whole batch, others' streams included.

    `tokens`: how many can be chosen; `fits`: whether it has an input id; `follow`: how its input ids follow from tokens;
    `width`: of rows, where it takes any.
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
        or not len(rows) <= _MOST_ROWS
        or not np.isfinite(rows).all()
    ):
        raise UsageError(f"request: rows must be finite, at most {_MOST_ROWS} of {width}")


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


def json_of(inputs: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Any]:
    """The table of the input `request`. Raises `UsageError` for anything else."""
    try:
        about = json.loads(text_of(inputs["request"]))
        if not isinstance(about, dict):
            raise ValueError("not a table")
    except ValueError as exc:
        raise UsageError(f"request: must be a JSON table ({exc})") from exc
    return about
