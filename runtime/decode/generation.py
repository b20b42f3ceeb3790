"""A request to the token engine, and how far it is."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from voxturn.runtime.decode.cache import Slot
from voxturn.runtime.decode.sampler import Sampling

Hidden = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Follow:
    """The input id of the n-th chosen token: `first + stride * n + token`. By default the token
    itself."""

    first: int = 0
    stride: int = 0

    def __call__(self, token: int, index: int) -> int:
        """The id."""
        return self.first + self.stride * index + token


@dataclass(frozen=True)
class Request:
    """A prompt and how to go on from it.

    `namespace` keeps prompts apart whose equal ids mean different things (another voice). `rows`
    are embeddings that prompt ids beyond the graph's table take. `history` is what the repetition
    penalty sees before the first token (the prompt where it is None). `follow` gives the input id
    of the n-th chosen token. `watch` is a token whose probability (before any processing) every
    step reports. `forced` are tokens to give whatever is sampled: for measurements. The first
    `urgent` tokens are wanted ahead of other work on the same cores.
    """

    prompt: Sequence[int]
    sampling: Sampling = field(default_factory=Sampling)
    stop_ids: Collection[int] = ()
    max_tokens: int = 1
    namespace: str = ""
    rows: npt.NDArray[np.float32] | None = None
    history: Sequence[int] | None = None
    follow: Follow = Follow()
    watch: int | None = None
    forced: Sequence[int] = ()
    urgent: int = 0


@dataclass(frozen=True)
class Step:
    """A chosen token.

    `hidden` `[width]` is what the head saw when it was chosen; `stop`: it is a stop id, the last.
    """

    token: int
    hidden: Hidden
    stop: bool = False
    watched: float = 0.0


@dataclass
class PromptCounts:
    """What a prompt cost: positions `computed`, and `reused` from a slot or from what is kept of
    shared beginnings."""

    computed: int = 0
    reused: int = 0


class Generation:
    """A request on its way. `out` collects its steps; it is over when `done`, with an `error` if it
    has one.

    The engine gives at most `limit` steps until whoever reads them raises it. `prompt` is what its
    own prompt cost, `client` who asked for it (`flow.fairness`).
    """

    def __init__(self, request: Request, limit: float = float("inf"), client: str = "") -> None:
        self.request = request
        self.client = client
        self.limit = limit
        self.prompt = PromptCounts()
        self.out: deque[Step] = deque()
        self.cancelled = self.done = False
        self.error: Exception | None = None
        self.slot: Slot | None = None
        self.history = list(request.prompt if request.history is None else request.history)
        self.given = 0
        self.pending = 0  # the input id of the last chosen token

    @property
    def may_go_on(self) -> bool:
        """Whether a step for it is wanted now."""
        return not self.cancelled and not self.done and self.given < self.limit
