"""A Pipecat pipeline that runs, and what one of its services pushes."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from clients.conftest import MOST_S, RATE, Pcm, pieces, words
from loguru import logger
from pipecat.frames.frames import (
    EndFrame,
    ErrorFrame,
    Frame,
    InputAudioRawFrame,
    TTSAudioRawFrame,
    TTSTextFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.workers.runner import WorkerRunner

logger.remove()
logger.add(lambda line: sys.stderr.write(line), level="WARNING")

PARAMS = PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE)
Kind = TypeVar("Kind", bound=Frame)


def frames(sound: Pcm) -> list[InputAudioRawFrame]:
    """Sound as a microphone's frames of 20 ms."""
    return [InputAudioRawFrame(piece, RATE, 1) for piece in pieces(sound)]


def sound_of(down: Sequence[Frame]) -> bytes:
    return b"".join(frame.audio for frame in down if isinstance(frame, TTSAudioRawFrame))


class Line(BaseObserver):
    """A pipeline that runs, and all that one of its services pushes, up or down."""

    def __init__(self, service: FrameProcessor, before: Any = (), after: Any = ()) -> None:
        super().__init__()
        self.service = service
        self.frames: list[Frame] = []
        self._news = asyncio.Event()
        self.worker = PipelineWorker(
            Pipeline([*before, service, *after]),
            cancel_on_idle_timeout=False,
            enable_rtvi=False,
            observers=[self],
            params=PARAMS,
        )

    async def on_push_frame(self, data: FramePushed) -> None:
        if data.source is self.service:
            self.frames.append(data.frame)
            self._news.set()

    def of(self, kind: type[Kind]) -> list[Kind]:
        return [frame for frame in self.frames if isinstance(frame, kind)]

    async def until(self, kind: type[Frame], number: int = 1) -> None:
        """Wait until so many frames of a kind were pushed."""
        async with asyncio.timeout(MOST_S):
            while len(self.of(kind)) < number:
                self._news.clear()
                await self._news.wait()

    async def say(self, sound: Pcm, pace: bool = False) -> None:
        """Put sound in; as fast as somebody speaks, if paced."""
        for frame in frames(sound):
            await self.worker.queue_frame(frame)
            if pace:
                await asyncio.sleep(frame.num_frames / RATE)

    @property
    def said(self) -> str:
        return words("".join(frame.text for frame in self.of(TTSTextFrame)))


@asynccontextmanager
async def running(
    service: FrameProcessor, before: Sequence[Any] = (), after: Sequence[Any] = ()
) -> AsyncIterator[Line]:
    """A pipeline around a service, which may push no error, and has to end well."""
    line = Line(service, before, after)
    started = asyncio.Event()

    @line.worker.event_handler("on_pipeline_started")
    async def _started(worker: PipelineWorker, frame: Frame) -> None:
        started.set()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(line.worker)
    task = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(MOST_S):
            await started.wait()
        yield line
    finally:
        await line.worker.queue_frame(EndFrame())
        async with asyncio.timeout(MOST_S):
            await task
    assert line.of(ErrorFrame) == []
