"""A request as it comes to a served model: compared with the contract before anything of it is
copied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from voxturn.runtime.errors import VoxturnError
from voxturn.runtime.remote.contract import CLIENT, END, SEQUENCE, START, Served
from voxturn.runtime.remote.tensors import Tensors, text_tensor
from voxturn.runtime.serving.inputs import Inputs, name_of


@dataclass(frozen=True)
class Arrived:
    """A request in memory of one's own: what Triton gives is the server's.

    `client` is what its client calls itself, `name` the request's id. With a `refusal` nothing of
    it was copied, and `inputs` say at most of which sequence it is a piece.
    """

    inputs: Inputs
    client: str = ""
    name: str = ""
    refusal: VoxturnError | None = None


def arrived(utilities: Any, model: Served, request: Any) -> Arrived:
    """A request of Triton's Python backend, whose `triton_python_backend_utils` are `utilities`."""
    views = {tensor.name(): tensor.as_numpy() for tensor in request.inputs()}
    piece, client, name = _piece(utilities, request), "", request.request_id()
    try:
        # first whose it is: also of a piece that is refused its client's utterance has to be known
        model.check_shapes({key: view for key, view in views.items() if key == CLIENT})
        client = name_of(views, CLIENT)
        model.check_shapes(views)
    except VoxturnError as exc:
        return Arrived(piece, client, name, exc)
    return Arrived({key: np.array(view) for key, view in views.items()} | piece, client, name)


def _piece(utilities: Any, request: Any) -> Tensors:
    """Which sequence a request is a piece of, and whether its first or its last one."""
    number = request.correlation_id()
    if not number:
        return {}
    piece = {SEQUENCE: text_tensor(str(number))}
    for name, flag in (
        (START, utilities.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START),
        (END, utilities.TRITONSERVER_REQUEST_FLAG_SEQUENCE_END),
    ):
        if request.flags() & flag:
            piece[name] = np.array([True])
    return piece
