"""Vocode: acoustic latents in, PCM out, window by window; the samples are those of one full decode."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from voxturn.runtime.audio.level import first_audible
from voxturn.runtime.audio.window import Plan, Speed, sustained, with_margin
from voxturn.runtime.families.frames import FrameMap
from voxturn.runtime.families.xtts.stop_guard import SilenceGuard
from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.flow.scheduling import Pace
from voxturn.runtime.messages import PcmChunk, Samples, SpeechCodes
from voxturn.runtime.protocols import GraphExecutor

_LEAD_IN_MS, _IDLE_S = 5, 0.05
_SLACK = 1.2  # of the speed measured: cores are shared, and the hour may be slower later
Float = npt.NDArray[np.float32]


@dataclass
class Progress:
    """How far a sentence is vocoded: all its latents so far, and the next window's number and first frame.

    `over`: it was ended at silence; what else comes of it is dropped.
    """

    latents: list[Float] = field(default_factory=list)
    number: int = 0
    begin: int = 0
    final: bool = False
    over: bool = False


class Vocode:
    """The stage. `hop` samples a frame, `margin` frames of context on each side, `frames` maps latents to frames.

    With `trim`, silence before the first audible sample of the whole answer is dropped, but for a few milliseconds.
    `pace` is told how much of the answer there is. `plans` go from the one that starts soonest to the safest; the first
    is taken until `warm` knows how fast the voice is made.
    """

    def __init__(
        self,
        executor: GraphExecutor,
        lane: Lane,
        rate: int,
        hop: int,
        margin: int,
        frames: FrameMap,
        plans: Sequence[Plan],
        trim: bool = True,
        pace: Pace | None = None,
    ) -> None:
        self._executor, self._lane = executor, lane
        self.rate, self._hop, self._margin = rate, hop, margin
        self._frames, self._plans, self._trims = frames, plans, trim
        self.plan = plans[0]
        self._pace = pace or Pace()

    async def __call__(self, codes: AsyncIterator[SpeechCodes]) -> AsyncGenerator[PcmChunk, None]:
        start, audible, progress, answer = 0, not self._trims, Progress(), object()
        silence = SilenceGuard(self.rate)
        try:
            async for code in codes:
                self._pace.made(answer, 0.0)
                progress.latents.append(code.latents)
                progress.final = code.final
                while not progress.over and (window := self.next_window(progress)) is not None:
                    latents = np.concatenate(progress.latents)
                    progress.latents = [latents]
                    run = (
                        self._lane.run if start else self._lane.run_first
                    )  # someone waits for an answer to begin
                    samples = await run(self.window, latents, *window, code.speaker)
                    progress.number, progress.begin = progress.number + 1, window[1]
                    cut = code.cut
                    if (
                        code.stop is not None
                        and (keeps := silence.keeps(samples, code.ended)) is not None
                    ):
                        code.stop()
                        progress.over, samples, cut = True, samples[:keeps], "silence"
                    if not audible:
                        samples, audible = self._trim(samples)
                    final = progress.over or (self.next_window(progress) is None and code.final)
                    if samples.size or cut:
                        self._pace.made(answer, samples.size / self.rate)
                        yield PcmChunk(samples, self.rate, start, code.sentence, cut, final)
                        start += samples.size
                if code.final:
                    progress, silence = Progress(), SilenceGuard(self.rate)
        finally:
            self._pace.ended(answer)
            await close_iterator(codes)

    async def warm(self, like: SpeechCodes, latent_s: float = 0.0) -> None:
        """Run the first window, on latents like these.

        `latent_s`, how long a latent takes to be made, chooses the plan: the soonest that playback does not starve with.
        """
        if latent_s:
            speed = Speed(
                *(_SLACK * seconds for seconds in (latent_s, *await self._window_speed(like)))
            )
            self.plan = sustained(
                self._plans, speed, self._margin, self._hop / self.rate, self._frames.latents_for
            )
        latents = _repeated(like, self.urgent_for(self.plan))
        await self._lane.run(self.window, latents, 0, self.plan.first, like.speaker)

    async def warm_shapes(self, like: SpeechCodes, idle: bool = False) -> None:
        """Where the executor compiles for each shape: run a window of every shape, on latents like these.

        With `idle`, only while nobody is answered.
        """
        if not self._executor.compiles_shapes:
            return
        for count, begin, end in self._shapes():
            while idle and not self._pace.idle:  # noqa: ASYNC110  answers go first
                await asyncio.sleep(_IDLE_S)
            await self._lane.run(self.window, _repeated(like, count), begin, end, like.speaker)

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
        """The windows of a sentence of so many latents; without `final` it turns out behind them that they were all."""
        sentence = Progress([np.empty((count, 0), np.float32)], final=final)
        while True:
            while (window := self.next_window(sentence)) is not None:
                yield window
                sentence.number, sentence.begin = sentence.number + 1, window[1]
            if sentence.final:
                return
            sentence.final = True

    def _decoded(self, begin: int, end: int, total: int) -> tuple[int, int, int, int]:
        """The first frame that a window decodes, and its context: `[low, high)` in all, `before` of them ahead."""
        first = self.plan.decoded_from(begin, end, total)
        return first, *with_margin(first, end, total, self._margin)

    def urgent_for(self, plan: Plan) -> int:
        """How many latents the first window of a plan needs."""
        return self._frames.latents_for(plan.first + self._margin)

    async def _window_speed(self, like: SpeechCodes) -> tuple[float, float]:
        """Seconds that a window takes by itself and for each frame that it decodes, from a small and a large one."""
        sizes = self._plans[0].first, self._plans[0].largest
        latents = _repeated(like, sizes[1] + 2 * self._margin)
        seconds = []
        for size in sizes:
            took = []
            for _ in range(3):
                begin = time.perf_counter()
                await self._lane.run(
                    self.window, latents, self._margin, self._margin + size, like.speaker
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

    def window(self, latents: Float, begin: int, end: int, speaker: Float | None = None) -> Samples:
        """The samples of frames `[begin, end)`."""
        first, low, high, before = self._decoded(begin, end, self._frames.count(len(latents)))
        inputs = self._frames.inputs(latents, low, high, before, high - end)
        if speaker is not None:
            inputs["speaker"] = speaker.reshape(1, -1, 1)
        audio = self._executor.run(inputs)["audio"].reshape(-1)
        if not self._frames.drops_context:
            audio = audio[before * self._hop : (before + end - first) * self._hop]
        return np.ascontiguousarray(audio[(begin - first) * self._hop :])

    def _trim(self, samples: Samples) -> tuple[Samples, bool]:
        at = first_audible(samples)
        if at is None:
            return samples[:0], False
        return samples[max(0, at - self.rate * _LEAD_IN_MS // 1000) :], True


def _repeated(like: SpeechCodes, count: int) -> Float:
    return np.repeat(like.latents[:1], count, axis=0)
