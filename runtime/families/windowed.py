"""Acoustic latents to audio, window by window, for every family whose vocoder sees only so far to
each side.

The samples are those of one full decode: a window is decoded with as many frames of context as the
vocoder's receptive field has (docs/decisions/0003).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from voxturn.runtime.audio.level import first_audible
from voxturn.runtime.audio.window import Plan, Speed, sustained, with_margin
from voxturn.runtime.flow.handoff import Ahead
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.flow.scheduling import Pace
from voxturn.runtime.messages import PcmChunk, Samples, Sentence, Word
from voxturn.runtime.protocols import GraphExecutor, Tensor

_LEAD_IN_MS, _IDLE_S = 5, 0.05
_SLACK = 1.2  # of the speed measured: cores are shared, and the hour may be slower later
_LATENTS_AHEAD = 16
Float = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Latents:
    """The acoustic form of a sentence, or the next piece of it: `values` float32 `[n, channels]`.

    `final`: it is the sentence's last piece. `inputs`: what else the vocoder's graph takes, as the
    speaker it sounds like. `cut`: why the family's guard ended the sentence, if it did.
    `end_probability`: chance that the sentence had ended before this piece. `cancel()`: abandon the
    rest of the sentence; None where its end is not guarded. `words`: where its words lie in the
    audio of a whole sentence; empty where that is not known.
    """

    values: Float
    sentence: Sentence
    final: bool = True
    inputs: Mapping[str, Tensor] = field(default_factory=dict)
    cut: str = ""
    end_probability: float = 0.0
    cancel: Callable[[], None] | None = None
    words: tuple[Word, ...] = ()


class FrameMap(Protocol):
    """Latents `[n, channels]` to the vocoder's frames.

    `drops_context`: the graph's audio is the window's alone.
    """

    @property
    def drops_context(self) -> bool: ...

    def count(self, latents: int) -> int:
        """Frames of a whole utterance of that many latents."""
        ...

    def certain(self, latents: int) -> int:
        """Frames that no further latent can change."""
        ...

    def latents_for(self, frames: int) -> int:
        """How many latents make that many frames certain."""
        ...

    def inputs(
        self, latents: Float, low: int, high: int, before: int, after: int
    ) -> dict[str, npt.NDArray[Any]]:
        """The graph's inputs for frames `[low, high)` of all latents so far; the outer ones are
        context."""
        ...


class SameFrames:
    """A latent is a frame.

    The graph takes `latents` `[1, channels, frames]` and gives the context's audio too.
    """

    drops_context = False

    def count(self, latents: int) -> int:
        return latents

    def certain(self, latents: int) -> int:
        return latents

    def latents_for(self, frames: int) -> int:
        return frames

    def inputs(
        self, latents: Float, low: int, high: int, before: int, after: int
    ) -> dict[str, npt.NDArray[Any]]:
        return {"latents": np.ascontiguousarray(latents[low:high].T[None])}


class SentenceGuard(Protocol):
    """Hears a sentence's audio and ends it where nothing more is wanted."""

    def keeps(self, samples: Samples, end_probability: float) -> int | None:
        """How many of these next samples to keep, where the sentence ends here; else None."""
        ...


class NoGuard:
    """Ends nothing."""

    def keeps(self, samples: Samples, end_probability: float) -> int | None:
        return None


@dataclass
class Progress:
    """How far a sentence is vocoded: all its latents so far, and the next window's number and first
    frame.

    `over`: it was ended by its guard; what else comes of it is dropped.
    """

    latents: list[Float] = field(default_factory=list)
    number: int = 0
    begin: int = 0
    final: bool = False
    over: bool = False


class WindowedVocoder:
    """The loop. `hop` samples a frame, `margin` frames of context on each side, `frames` maps
    latents to frames.

    With `trim`, silence before the first audible sample of the whole answer is dropped, but for a
    few milliseconds. `pace` is told how much of the answer there is. `plans` go from the one that
    starts soonest to the safest; the first is taken until `warm` knows how fast the voice is made.
    `guard` makes a sentence's guard.
    """

    def __init__(
        self,
        graph: GraphExecutor,
        lane: Lane,
        rate: int,
        hop: int,
        margin: int,
        frames: FrameMap,
        plans: Sequence[Plan],
        trim: bool = True,
        pace: Pace | None = None,
        guard: Callable[[], SentenceGuard] = NoGuard,
    ) -> None:
        self._graph = graph
        self._lane = lane
        self.rate = rate
        self._hop = hop
        self._margin = margin
        self._frames = frames
        self._plans = plans
        self.trims = trim
        self.plan = plans[0]
        self._pace = pace or Pace()
        self._guard = guard

    async def __call__(self, source: AsyncIterator[Latents]) -> AsyncGenerator[PcmChunk, None]:
        """Latents as audio. `source` runs ahead by a few; it is closed with this."""
        latents = Ahead(source, _LATENTS_AHEAD)
        answer, audible, start = object(), not self.trims, 0
        progress, guard = Progress(), self._guard()
        try:
            async for piece in latents:
                self._pace.made(answer, 0.0)
                words, trimmed = piece.words, 0
                progress.latents.append(piece.values)
                progress.final = piece.final
                while not progress.over and (window := self.next_window(progress)) is not None:
                    samples = await self._next(progress, window, piece, urgent=not start)
                    cut = piece.cut
                    if piece.cancel is not None:
                        keeps = guard.keeps(samples, piece.end_probability)
                        if keeps is not None:
                            piece.cancel()
                            progress.over, samples, cut = True, samples[:keeps], "silence"
                    if not audible:
                        whole = samples.size
                        samples, audible = self._trim(samples)
                        trimmed += whole - samples.size
                    over = progress.over or (self.next_window(progress) is None and piece.final)
                    if samples.size or cut:
                        self._pace.made(answer, samples.size / self.rate)
                        words = _earlier(words, trimmed / self.rate)
                        yield PcmChunk(samples, self.rate, start, piece.sentence, cut, over, words)
                        start, words = start + samples.size, ()
                if piece.final:
                    progress, guard = Progress(), self._guard()
        finally:
            self._pace.ended(answer)
            await latents.aclose()

    async def _next(
        self, progress: Progress, window: tuple[int, int], piece: Latents, urgent: bool
    ) -> Samples:
        """The samples of the next window; `urgent`: someone waits for an answer to begin."""
        values = np.concatenate(progress.latents)
        progress.latents = [values]
        run = self._lane.run_first if urgent else self._lane.run
        samples = await run(self.window, values, *window, piece.inputs)
        progress.number += 1
        progress.begin = window[1]
        return samples

    async def warm(self, like: Latents, latent_s: float = 0.0) -> None:
        """Run the first window, on latents like these.

        `latent_s`, how long a latent takes to be made, chooses the plan: the soonest that playback
        does not starve with.
        """
        if latent_s:
            speed = Speed(
                *(_SLACK * seconds for seconds in (latent_s, *await self._window_speed(like)))
            )
            self.plan = sustained(
                self._plans, speed, self._margin, self._hop / self.rate, self._frames.latents_for
            )
        latents = _repeated(like, self.urgent_for(self.plan))
        await self._lane.run(self.window, latents, 0, self.plan.first, like.inputs)

    async def warm_shapes(self, like: Latents, idle: bool = False) -> None:
        """Where the executor compiles for each shape: run a window of every shape, on latents like
        these.

        With `idle`, only while nobody is answered.
        """
        if not self._graph.compiles_shapes:
            return
        for count, begin, end in self._shapes():
            while idle and not self._pace.idle:  # noqa: ASYNC110  answers go first
                await asyncio.sleep(_IDLE_S)
            await self._lane.run(self.window, _repeated(like, count), begin, end, like.inputs)

    def _shapes(self) -> list[tuple[int, int, int]]:
        """A window `(latents, begin, end)` of every shape, those of long sentences first.

        Last windows of a plan that does not round them have any size; they are left out.
        """
        found: dict[tuple[int, int, int], tuple[int, int, int]] = {}
        longest = self._frames.latents_for(
            self.plan.grown()[1] + 2 * self.plan.largest + self._margin
        )
        for count in range(longest, 0, -1):
            total = self._frames.count(count)
            for begin, end in (*self._windows(count, True), *self._windows(count, False)):
                if end < total or self.plan.rounds > 1:
                    _, low, high, before = self._decoded(begin, end, total)
                    found.setdefault((high - low, before, high - end), (count, begin, end))
        return list(found.values())

    def _windows(self, count: int, final: bool) -> Iterator[tuple[int, int]]:
        """The windows of a sentence of so many latents; without `final` it turns out behind them
        that they were all."""
        sentence = Progress([np.empty((count, 0), np.float32)], final=final)
        while True:
            while (window := self.next_window(sentence)) is not None:
                yield window
                sentence.number += 1
                sentence.begin = window[1]
            if sentence.final:
                return
            sentence.final = True

    def _decoded(self, begin: int, end: int, total: int) -> tuple[int, int, int, int]:
        """The first frame that a window decodes, and its context: `[low, high)` in all, `before` of
        them ahead."""
        first = self.plan.decoded_from(begin, end, total)
        return first, *with_margin(first, end, total, self._margin)

    def urgent_for(self, plan: Plan) -> int:
        """How many latents the first window of a plan needs."""
        return self._frames.latents_for(plan.first + self._margin)

    async def _window_speed(self, like: Latents) -> tuple[float, float]:
        """Seconds that a window takes by itself and for each frame that it decodes, from a small
        and a large one."""
        sizes = self._plans[0].first, self._plans[0].largest
        latents = _repeated(like, sizes[1] + 2 * self._margin)
        seconds = []
        for size in sizes:
            took = []
            for _ in range(3):
                begin = time.perf_counter()
                await self._lane.run(
                    self.window, latents, self._margin, self._margin + size, like.inputs
                )
                took.append(time.perf_counter() - begin)
            seconds.append(min(took))  # the first has compiled kernels
        frame_s = max(0.0, (seconds[1] - seconds[0]) / (sizes[1] - sizes[0]))
        base_s = seconds[0] - frame_s * (
            sizes[0] + 2 * self._margin
        )  # negative: context costs less than frames
        return base_s, frame_s

    def next_window(self, progress: Progress) -> tuple[int, int] | None:
        """Which frames can be vocoded now."""
        count = sum(len(latents) for latents in progress.latents)
        total = self._frames.count(count) if progress.final else None
        certain = self._frames.certain(count)
        return self.plan.next(progress.number, progress.begin, certain, self._margin, total)

    def window(
        self, latents: Float, begin: int, end: int, more: Mapping[str, Tensor] | None = None
    ) -> Samples:
        """The samples of frames `[begin, end)`. `more`: what else the graph takes."""
        first, low, high, before = self._decoded(begin, end, self._frames.count(len(latents)))
        inputs = self._frames.inputs(latents, low, high, before, high - end)
        inputs.update(more or {})
        audio = self._graph.run(inputs)["audio"].reshape(-1)
        if not self._frames.drops_context:
            audio = audio[before * self._hop : (before + end - first) * self._hop]
        return np.ascontiguousarray(audio[(begin - first) * self._hop :])

    def _trim(self, samples: Samples) -> tuple[Samples, bool]:
        at = first_audible(samples)
        if at is None:
            return samples[:0], False
        return samples[max(0, at - self.rate * _LEAD_IN_MS // 1000) :], True


def _earlier(words: Sequence[Word], seconds: float) -> tuple[Word, ...]:
    """Words in audio of which so much of the beginning was dropped."""
    return tuple(
        Word(each.text, max(0.0, each.begin_s - seconds), max(0.0, each.end_s - seconds))
        for each in words
    )


def _repeated(like: Latents, count: int) -> Float:
    return np.repeat(like.values[:1], count, axis=0)
