"""The token engine for decoder-only graphs: place a prompt, prefill what is new, then step and sample."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from voxturn.runtime.decode.cache import PrefixCache, Slot
from voxturn.runtime.decode.sampler import Logits, Sampling, sample
from voxturn.runtime.errors import InferenceFailed, PromptTooLong
from voxturn.runtime.protocols import DecoderExecutor

_PREFILL_PIECE = 256


@dataclass
class DecodeCounts:
    """What the engine has done: `computed` and `reused` prompt positions, and tokens `generated`."""

    computed: int = 0
    reused: int = 0
    generated: int = 0


class DecodeEngine:
    """Generates token ids with one executor. Not thread-safe: its lane calls it.

    A generator that is closed early frees its slot; the positions it computed stay for the next prompt.
    """

    def __init__(self, executor: DecoderExecutor) -> None:
        self.executor = executor
        self.cache = PrefixCache(executor.slots)
        self.counts = DecodeCounts()

    def prefill(self, prompt: Sequence[int]) -> None:
        """Compute a prompt's keys and values and keep them: a later prompt that begins with it starts there."""
        slot = self._place(prompt)
        try:
            self._compute(slot, prompt)
        finally:
            self.cache.release(slot)

    def generate(
        self, prompt: Sequence[int], sampling: Sampling, stop_ids: Collection[int], max_tokens: int
    ) -> Iterator[int]:
        """Token ids after `prompt` until a stop id (not given), `max_tokens` or the buffers' end.

        Raises `PromptTooLong` if the prompt leaves no room for an answer.
        """
        slot, history = self._place(prompt), list(prompt)
        try:
            logits = self._compute(slot, prompt)
            for counter in range(min(max_tokens, self.executor.capacity - len(prompt))):
                token = sample(logits, history, sampling, counter)
                if token in stop_ids:
                    return
                self.counts.generated += 1
                history.append(token)
                yield token
                logits = self.executor.run(slot.index, [token], len(slot.ids))
                slot.ids.append(token)
        finally:
            self.cache.release(slot)

    def _place(self, prompt: Sequence[int]) -> Slot:
        if len(prompt) >= self.executor.capacity:
            raise PromptTooLong(
                f"the prompt has {len(prompt)} tokens, the model's buffers hold {self.executor.capacity}; shorten it"
            )
        placement = self.cache.place(prompt)
        if placement is None:
            raise InferenceFailed("all sequence slots are busy; end another generation first")
        if placement.donor is not None:
            try:
                self.executor.copy(placement.donor.index, placement.slot.index, placement.kept)
            except BaseException:
                placement.slot.ids.clear()
                self.cache.release(placement.slot)
                raise
        self.counts.reused += placement.kept
        return placement.slot

    def _compute(self, slot: Slot, prompt: Sequence[int]) -> Logits:
        """Compute what the slot lacks of the prompt (at least its last token); logits of the last token."""
        logits: Logits | None = None
        while logits is None or len(slot.ids) < len(prompt):
            piece = prompt[len(slot.ids) : len(slot.ids) + _PREFILL_PIECE]
            logits = self.executor.run(slot.index, piece, len(slot.ids))
            slot.ids.extend(piece)
            self.counts.computed += len(piece)
        return logits
