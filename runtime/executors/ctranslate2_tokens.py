"""CTranslate2: a reply's tokens, as `decode.service.TokenService`. Source: CTranslate2, `Generator.generate_tokens`."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.runtime.cores import EngineBudget
from voxturn.runtime.decode.generation import Request, Step
from voxturn.runtime.errors import CorruptModel, InferenceFailed, PromptTooLong, UsageError
from voxturn.runtime.executors.ctranslate2 import load
from voxturn.runtime.handoff import Lane

_NO_HIDDEN = np.empty(0, np.float32)


class Ct2Tokens:
    """A decoder's folder in CTranslate2's format, one answer at a time, each from its prompt: what dialogues begin with alike
    is all that it keeps. It samples by itself: without `min_p`, `forced` and `watch`, and no seed makes an answer come again.
    Close it when done.
    """

    def __init__(
        self, folder: Path, precision: str, capacity: int, budget: EngineBudget, lane: Lane, device: str = "cpu"
    ) -> None:
        self.capacity, self._lane, self._name = capacity, lane, folder.name
        try:
            self._texts: list[str] = json.loads((folder / "vocabulary.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as exc:
            raise CorruptModel(f"{folder / 'vocabulary.json'}: cannot be read ({exc}); export the model again") from exc
        self._model: Any = lane.make(load, "Generator", folder, precision, budget, device)
        self._kept: list[str] = []

    async def stream(self, request: Request) -> AsyncGenerator[Step, None]:
        """The steps of a request, as they come. Their `hidden` is empty."""
        if len(request.prompt) + request.max_tokens > self.capacity:
            raise PromptTooLong(
                f"the prompt has {len(request.prompt)} tokens and its answer {request.max_tokens}, together at most "
                f"{self.capacity}; shorten it"
            )
        if request.sampling.min_p or request.forced or request.watch is not None:
            raise UsageError(
                "CTranslate2 has no min_p, and its tokens are its own; take the executor onnx or onnx-cuda"
            )
        steps = self._lane.stream(lambda: self._steps(request))
        try:
            async for step in steps:
                yield step
        finally:
            await steps.aclose()

    async def compute(self, request: Request) -> None:
        """Nothing: of a dialogue nothing is kept."""

    async def keep(self, request: Request) -> None:
        """Compute a beginning that many prompts share and keep it, instead of the one before."""
        self._kept = [self._texts[i] for i in request.prompt]
        first = self.stream(Request([*request.prompt, request.prompt[-1]], max_tokens=1))
        async for _ in first:
            pass

    def close(self) -> None:
        """Free the model. Whatever runs in the lane must have ended."""
        self._model.unload_model()

    def _steps(self, request: Request) -> Iterator[Step]:
        s, sampled = request.sampling, request.sampling.temperature > 0
        prompt = [self._texts[i] for i in request.prompt]
        begins = bool(self._kept) and len(prompt) > len(self._kept) and prompt[: len(self._kept)] == self._kept
        made = self._model.generate_tokens(
            prompt[len(self._kept) :] if begins else prompt,
            static_prompt=self._kept if begins else None,
            max_length=request.max_tokens,
            sampling_topk=s.top_k if sampled else 1,
            sampling_topp=s.top_p if sampled else 1.0,
            sampling_temperature=s.temperature if sampled else 1.0,
            repetition_penalty=s.repetition_penalty,
            end_token=list(request.stop_ids) or None,
        )
        try:
            with closing(made):
                for step in made:
                    yield Step(step.token_id, _NO_HIDDEN, step.token_id in request.stop_ids)
        except (RuntimeError, ValueError) as exc:
            raise InferenceFailed(f"{self._name}: CTranslate2's decoder: {exc}") from exc
