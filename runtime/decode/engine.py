"""The token engine for decoder-only graphs: continuous batching over slots with a prefix cache.

`step` does what one pass of the loop can: end what was cancelled, admit one waiting request (place
its prompt, compute what no slot has of it, or a little more, sample its first token), then one
batched step for every sequence that may go on. A long prompt is computed piece by piece, a step of
the others in between. Requests join and leave at any step. The engine is a plain object: one thread
drives it (`decode.service`, or `generate`).
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from voxturn.runtime.decode.ahead import Choosing, Given, StepsAhead
from voxturn.runtime.decode.cache import PrefixCache, Slot
from voxturn.runtime.decode.generation import Generation, Hidden, PromptCounts, Request, Step
from voxturn.runtime.decode.sampler import Logits, Sampling, sample
from voxturn.runtime.errors import InferenceFailed, PromptTooLong
from voxturn.runtime.flow.fairness import CLIENT, Rounds
from voxturn.runtime.protocols import DecoderExecutor, Outputs, Tensor

_PREFILL_PIECE = 256
_MOST_KEPT = 16  # a voice of XTTS takes 8 MB


@dataclass
class DecodeCounts:
    """What the engine has done: `computed` and `reused` prompt positions, tokens `generated`,
    batched `steps`.

    A position that was there and is computed once more counts as reused.
    """

    computed: int = 0
    reused: int = 0
    generated: int = 0
    steps: int = field(default=0, compare=False)


class DecodeEngine:
    """Generates token ids with one executor, for as many sequences at once as it has slots.

    A sequence that ends, fails or is cancelled frees its slot; the positions it computed stay for
    the next prompt. A free slot goes to the client that holds the fewest, of equals to the one that
    got its last one longest ago. `add` and the flags of a sequence may be used from any thread;
    everything else belongs to the driving thread.
    """

    def __init__(self, executor: DecoderExecutor) -> None:
        self.executor = executor
        self.cache = PrefixCache(executor.slots)
        self.counts = DecodeCounts()
        chooser = executor.chooser if isinstance(executor, Choosing) else None
        self._ahead = (
            StepsAhead(chooser, self.cache.slots, executor.capacity)
            if chooser is not None
            else None
        )
        self._lock = threading.Lock()
        self._waiting: deque[Generation] = deque()
        self._rounds = Rounds()
        self._running: list[Generation] = []
        self._joining: Generation | None = None  # a part of its prompt is computed
        self._kept: dict[tuple[str, tuple[int, ...]], list[Tensor]] = {}
        self._changed: Callable[[], None] | None = None

    def watch(self, changed: Callable[[], None]) -> None:
        """Have `changed` called, in the driving thread, whenever a sequence has taken a slot or
        left it."""
        self._changed = changed

    def add(self, request: Request, limit: float = float("inf")) -> Generation:
        """Queue a request. Raises `PromptTooLong` if its prompt leaves no room for an answer."""
        self._check_room(request)
        sequence = Generation(request, limit, CLIENT.get())
        with self._lock:
            self._rounds.came(sequence.client)
            self._waiting.append(sequence)
        return sequence

    @property
    def busy(self) -> bool:
        """Whether `step` has something to do now."""
        if self._joining is not None:
            return True
        with self._lock:
            if self._waiting and (
                len(self._running) < self.executor.slots or any(s.cancelled for s in self._waiting)
            ):
                return True
        return any(s.cancelled or s.may_go_on for s in tuple(self._running))

    @property
    def waiting(self) -> int:
        """How many requests wait for a slot."""
        with self._lock:
            return len(self._waiting)

    @property
    def urgent(self) -> bool:
        """Whether someone waits for the first tokens of an urgent request."""
        with self._lock:
            waiting = any(s.request.urgent for s in self._waiting)
        return waiting or any(s.may_go_on and s.given < s.request.urgent for s in self.running)

    @property
    def running(self) -> tuple[Generation, ...]:
        """The sequences that hold slots."""
        joining = self._joining
        return (*self._running, *([] if joining is None else [joining]))

    def step(self) -> list[Generation]:
        """One pass; returns the sequences that have new steps or have ended."""
        touched = self._end_cancelled()
        going = [s for s in self._running if s.may_go_on]
        joining = self._joining or self._next()
        if joining is not None and self._admit(joining, whole=not going):
            touched.append(joining)
        if going:
            self._advance(going)
            touched += going
        return touched

    def fail_all(self, error: Exception) -> list[Generation]:
        """End everything with an error: the driving thread cannot go on."""
        if self._ahead is not None:
            self._ahead.abandon()
        with self._lock:
            waiting, self._waiting = list(self._waiting), deque()
        ended = [*self.running, *waiting]
        self._joining = None
        for sequence in ended:
            self._end(sequence, error)
        return ended

    def keep(self, request: Request) -> PromptCounts:
        """Compute a beginning that many prompts share and keep it outside the slots, until `forget`
        or too many others.

        What it cost: nothing where it was kept already, or where every slot is busy.
        """
        prompt = PromptCounts()
        key = request.namespace, tuple(request.prompt)
        if key in self._kept:
            self._kept[key] = self._kept.pop(key)  # now the last to go
            return prompt
        self._check_room(request)
        if all(slot.busy for slot in self.cache.slots):
            return prompt  # not now: whoever needs it computes it
        slot = self._place(request, prompt)
        try:
            self._compute(slot, request, prompt)
            if len(self._kept) >= _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = self.executor.save(slot.index, len(request.prompt))
        finally:
            self.cache.release(slot)
        return prompt

    def forget(self, namespace: str) -> None:
        """Drop what `keep` holds for a namespace."""
        self._kept = {key: saved for key, saved in self._kept.items() if key[0] != namespace}

    def generate(
        self, prompt: Sequence[int], sampling: Sampling, stop_ids: Collection[int], max_tokens: int
    ) -> Iterator[int]:
        """Token ids after `prompt` until a stop id (not given), `max_tokens` or the buffers' end,
        driving the engine."""
        sequence = self.add(Request(prompt, sampling, stop_ids, max_tokens))
        try:
            while True:
                while not sequence.out and not sequence.done:
                    self.step()
                if not sequence.out:
                    if sequence.error is not None:
                        raise sequence.error
                    return
                if not (step := sequence.out.popleft()).stop:
                    yield step.token
        finally:
            sequence.cancelled = True
            if not sequence.done:
                self._end_cancelled()

    def _check_room(self, request: Request) -> None:
        if len(request.prompt) >= self.executor.capacity:
            raise PromptTooLong(
                f"the prompt has {len(request.prompt)} tokens, the model's buffers hold {self.executor.capacity}; shorten it"
            )

    def _next(self) -> Generation | None:
        """Of those that wait, the one whose turn it is, where a slot is free."""
        if len(self._running) >= self.executor.slots:
            return None
        held = Counter(sequence.client for sequence in self._running)
        with self._lock:
            if not self._waiting:
                return None
            chosen = min(self._waiting, key=lambda s: (held[s.client], self._rounds.last(s.client)))
            self._waiting.remove(chosen)
            self._rounds.served(chosen.client)
        return chosen

    def _end_cancelled(self) -> list[Generation]:
        with self._lock:
            gone = [s for s in self._waiting if s.cancelled]
            self._waiting = deque(s for s in self._waiting if not s.cancelled)
        gone += [s for s in self.running if s.cancelled]
        if self._joining in gone:
            self._joining = None
        for sequence in gone:
            self._end(sequence)
        return gone

    def _end(self, sequence: Generation, error: Exception | None = None) -> None:
        sequence.done, sequence.error = True, error
        held = sequence in self._running
        if held:
            self._running.remove(sequence)
        if sequence.slot is not None:
            self.cache.release(sequence.slot)
        if held and self._changed is not None:
            self._changed()

    def _admit(self, sequence: Generation, whole: bool) -> bool:
        """Compute the `whole` prompt, or its next piece.

        Whether the sequence runs now, or has ended.
        """
        try:
            if sequence.slot is None:
                sequence.slot = self._place(sequence.request, sequence.prompt)
            outputs = self._compute(sequence.slot, sequence.request, sequence.prompt, whole)
            self._joining = sequence if outputs is None else None
            if outputs is None:
                return False
            self._running.append(sequence)
            if self._changed is not None:
                self._changed()
            if sequence.request.max_tokens < 1:
                self._end(sequence)
            else:
                self._choose(sequence, outputs, 0)
        except Exception as exc:  # noqa: BLE001  it is the reader's
            self._joining = None
            self._end(sequence, exc)
        return True

    def _advance(self, going: Sequence[Generation]) -> None:
        """One batched step, its tokens chosen by the executor if it can choose all of them."""
        try:
            if self._ahead is None:
                self._step(going)
            elif all(self._ahead.takes(s) for s in going):
                self._give_all(self._ahead.steps(going))
            elif self._ahead.flying:
                self._give_all(self._ahead.land())
            else:
                self._ahead.abandon()
                self._step(going)
        except Exception as exc:  # noqa: BLE001  it is the readers'
            if self._ahead is not None:
                self._ahead.abandon()
            for sequence in going:
                if not sequence.done:
                    self._end(sequence, exc)

    def _give_all(self, given: Iterable[Given]) -> None:
        """What a step has chosen, to whom it is for."""
        self.counts.steps += 1
        for each in given:
            sequence, slot = each.sequence, each.sequence.slot
            if slot is not None:
                slot.ids.append(sequence.pending)
            if (problem := each.chosen.problems.get(each.row)) is not None:
                self._end(
                    sequence, InferenceFailed(f"sampler: {problem}; the model's output is damaged")
                )
                continue
            logits = each.chosen.logits[each.row] if each.chosen.logits is not None else None
            try:
                self._give(
                    sequence, each.chosen.tokens[each.row], each.chosen.hidden[each.row], logits
                )
            except Exception as exc:  # noqa: BLE001  it is the reader's
                self._end(sequence, exc)

    def _step(self, going: Sequence[Generation]) -> None:
        """A step whose tokens are chosen here.

        Idle slots in between are computed along, past what they keep.
        """
        by_slot = {s.slot.index: s for s in going if s.slot is not None}
        first, last = min(by_slot), max(by_slot)
        pasts = []
        for slot in self.cache.slots[first : last + 1]:
            if slot.index not in by_slot:
                del slot.ids[self.executor.capacity - 1 :]
            pasts.append(len(slot.ids))
        ids = np.zeros((last - first + 1, 1), np.int64)
        for index, sequence in by_slot.items():
            ids[index - first] = sequence.pending
        outputs = self.executor.run(first, ids, pasts)
        self.counts.steps += 1
        for index, sequence in by_slot.items():
            self.cache.slots[index].ids.append(sequence.pending)
            try:
                self._choose(sequence, outputs, index - first)
            except Exception as exc:  # noqa: BLE001  it is the reader's
                self._end(sequence, exc)

    def _choose(self, sequence: Generation, outputs: Outputs, row: int) -> None:
        """Sample the next token and give it."""
        request, logits = sequence.request, outputs.logits[row]
        token = sample(logits, sequence.history, request.sampling, sequence.given)
        if sequence.given < len(request.forced):
            token = request.forced[sequence.given]
        self._give(sequence, token, outputs.hidden[row], logits)

    def _give(
        self, sequence: Generation, token: int, hidden: Hidden, logits: Logits | None
    ) -> None:
        """Give the next token, and end the sequence where it is the last."""
        request = sequence.request
        stop = token in request.stop_ids
        watched = (
            probability(logits, request.watch)
            if request.watch is not None and logits is not None
            else 0.0
        )
        sequence.out.append(Step(token, hidden.copy(), stop, watched))
        sequence.given += 1
        if stop:
            self._end(sequence)
            return
        self.counts.generated += 1
        sequence.history.append(token)
        sequence.pending = request.follow(token, sequence.given)
        if (
            sequence.slot is None
            or sequence.given >= request.max_tokens
            or len(sequence.slot.ids) >= self.executor.capacity - 1
        ):
            self._end(sequence)

    def _place(self, request: Request, prompt: PromptCounts) -> Slot:
        """A slot for a request, with as much of its prompt as is there already; `prompt` counts it."""
        placement = self.cache.place(request.prompt, request.namespace)
        if placement is None:
            raise InferenceFailed("all sequence slots are busy; end another generation first")
        slot, length = placement.slot, placement.length
        try:
            if (saved := self._saved(request, length)) is not None:
                self.executor.load(slot.index, saved[1])
                length = saved[0]
                slot.ids[:] = request.prompt[:length]
            elif placement.donor is not None:
                self.executor.copy(placement.donor.index, slot.index, length)
        except BaseException:
            slot.ids.clear()
            self.cache.release(slot)
            raise
        self.counts.reused += length
        prompt.reused += length
        return slot

    def _saved(self, request: Request, better_than: int) -> tuple[int, list[Tensor]] | None:
        """The longest kept beginning of the prompt, if it is longer than what a slot has."""
        best: tuple[int, list[Tensor]] | None = None
        for (namespace, ids), saved in self._kept.items():
            longest = best[0] if best else better_than
            fits = namespace == request.namespace and longest < len(ids) < len(request.prompt)
            if fits and tuple(request.prompt[: len(ids)]) == ids:
                best = len(ids), saved
        return best

    def _compute(
        self, slot: Slot, request: Request, prompt: PromptCounts, whole: bool = True
    ) -> Outputs | None:
        """Compute what the slot lacks of the prompt (at least its last token); the outputs of the
        last token.

        Without `whole` the next piece of it alone; None where there are more. `prompt` counts the
        positions.
        """
        outputs: Outputs | None = None
        while outputs is None or len(slot.ids) < len(request.prompt):
            if outputs is not None and not whole:
                return None
            done = len(slot.ids)
            begin, end = next_piece(done, len(request.prompt), self.executor.lengths)
            piece = request.prompt[begin:end]
            del slot.ids[begin:]
            outputs = self.executor.run(
                slot.index, np.array([piece], np.int64), [begin], request.rows
            )
            slot.ids.extend(piece)
            self.counts.computed += end - done
            prompt.computed += end - done
        return outputs


def next_piece(done: int, total: int, lengths: Sequence[int]) -> tuple[int, int]:
    """Which positions of a prompt of `total`, of which `done` are there, to compute now.

    Where some `lengths` are faster, a piece has one of them: the last positions that are there are
    computed once more, or, where there are too few of them, the rest is left to the next piece.
    """
    end = min(total, done + _PREFILL_PIECE)
    if longer := [length for length in lengths if end - done <= length <= min(end, _PREFILL_PIECE)]:
        return end - longer[0], end
    if shorter := [length for length in lengths if length < end - done]:
        return done, done + shorter[-1]
    return done, end


def probability(logits: Logits, token: int) -> float:
    """The softmax of `logits` at one token."""
    shifted = logits.astype(np.float64) - float(logits.max())
    return float(np.exp(shifted[token]) / np.exp(shifted).sum())
