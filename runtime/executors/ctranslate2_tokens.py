"""CTranslate2 on a GPU: a reply's tokens, as `decode.service.TokenService`.

Source: CTranslate2, `Generator.generate_tokens`.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.runtime.decode.generation import Request, Step
from voxturn.runtime.errors import CorruptModel, InferenceFailed, PromptTooLong, UsageError
from voxturn.runtime.executors.ctranslate2 import load
from voxturn.runtime.files import read_json
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.flow.scheduling import EngineBudget

_NO_HIDDEN = np.empty(0, np.float32)


class Ct2Tokens:
    """A decoder's folder in CTranslate2's format: one answer at a time, each computed from its
    prompt's first token. Whose is next is decided client by client (`Lane.stream`); an answer that
    has begun is not put aside for another: the library cannot go on with one later.

    It samples by itself: no seed makes an answer come again, the repetition penalty counts the
    answer alone, and without `stop_ids` an answer ends where the model ends it. Close it when done.
    """

    def __init__(
        self,
        folder: Path,
        precision: str,
        capacity: int,
        budget: EngineBudget,
        lane: Lane,
        device: str = "cuda",
    ) -> None:
        self.capacity = capacity
        self._lane = lane
        self._name = folder.name
        try:
            texts = read_json(folder / "vocabulary.json")
            if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
                raise ValueError("it is not a list of tokens")
        except (OSError, ValueError) as exc:
            raise CorruptModel(
                f"{folder / 'vocabulary.json'}: cannot be read ({exc}); export the model again"
            ) from exc
        self._texts: list[str] = texts
        self._model: Any = lane.make(load, "Generator", folder, precision, budget, device)

    async def stream(self, request: Request) -> AsyncGenerator[Step, None]:
        """The steps of a request, as they come. Their `hidden` is empty."""
        self._check(request)
        if not request.max_tokens:
            return
        # with room for the whole answer, a reader that does not read keeps no other dialogue
        # waiting
        steps = self._lane.stream(lambda: self._steps(request), request.max_tokens)
        try:
            async for step in steps:
                yield step
        finally:
            await steps.aclose()

    async def compute(self, request: Request) -> None:
        """Nothing: what a prompt begins with is not kept."""

    async def keep(self, request: Request) -> None:
        """Nothing: the library keeps beginnings, but never lets go of one."""

    def close(self) -> None:
        """Free the model. Whatever runs in the lane must have ended."""
        self._model.unload_model()

    def _check(self, request: Request) -> None:
        if len(request.prompt) + request.max_tokens > self.capacity:
            raise PromptTooLong(
                f"the prompt has {len(request.prompt)} tokens and its answer {request.max_tokens}, together at most "
                f"{self.capacity}; shorten it"
            )
        if not all(0 <= token < len(self._texts) for token in request.prompt):
            raise UsageError(f"{self._name}: the prompt has ids that this model does not have")
        if request.forced or request.watch is not None or request.history is not None:
            raise UsageError(
                "CTranslate2 chooses its tokens by itself: none can be forced or watched, nor their history told"
            )
        if wrong := not_sampled(
            request.sampling.min_p, request.sampling.top_p, request.sampling.top_k
        ):
            raise UsageError(wrong)

    def _steps(self, request: Request) -> Iterator[Step]:
        s, sampled = request.sampling, request.sampling.temperature > 0
        results = self._model.generate_tokens(
            [self._texts[i] for i in request.prompt],
            max_length=request.max_tokens,
            sampling_topk=min(s.top_k, len(self._texts)) if sampled else 1,
            sampling_topp=s.top_p if sampled else 1.0,
            sampling_temperature=s.temperature if sampled else 1.0,
            repetition_penalty=s.repetition_penalty,
            end_token=list(request.stop_ids) or None,
        )
        try:
            with closing(results):
                for step in results:
                    yield Step(step.token_id, _NO_HIDDEN, step.token_id in request.stop_ids)
        except (RuntimeError, ValueError) as exc:
            raise InferenceFailed(f"{self._name}: CTranslate2's decoder: {exc}") from exc


def not_sampled(min_p: float, top_p: float, top_k: int) -> str:
    """What of these CTranslate2 cannot do on a GPU; empty if it can."""
    if min_p:
        return "CTranslate2 has no min_p"
    return (
        "CTranslate2 takes a top_p among the top_k alone: set top_k as well"
        if top_p < 1 and not top_k
        else ""
    )
