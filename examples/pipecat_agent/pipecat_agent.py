"""A Pipecat agent that answers the question in a WAV by a voxturn gateway.

voxturn serve gateway
python examples/pipecat_agent/pipecat_agent.py http://127.0.0.1:8080 question.wav answer.wav
"""

from __future__ import annotations

import asyncio
import sys
import wave

from pipecat.frames.frames import (
    EndFrame,
    Frame,
    InputAudioRawFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.openai.llm import OpenAILLMService
from pipecat.workers.runner import WorkerRunner
from voxturn.runtime.plugins.pipecat import VoxturnSTTService, VoxturnTTSService

RATE = 24_000


class Recorder(FrameProcessor):
    """Keeps what is said; `whole` is set once an answer is."""

    def __init__(self) -> None:
        super().__init__()
        self.pcm = b""
        self.whole = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSAudioRawFrame):
            self.pcm += frame.audio
        if isinstance(frame, TTSStoppedFrame):
            self.whole.set()
        await self.push_frame(frame, direction)


async def main(url: str, question: str, answer: str) -> None:
    """Ask by one file, and write the answer into another."""
    with wave.open(question) as file:
        rate, pcm = file.getframerate(), file.readframes(file.getnframes())
    pcm += bytes(2 * rate)  # a second of silence ends the question
    context = LLMContext(
        [{"role": "system", "content": "You are a helpful assistant. Give short answers."}]
    )
    pair, recorder = LLMContextAggregatorPair(context), Recorder()
    hear = VoxturnSTTService(url=url, enable_eager_end_of_turn=True)
    reply = OpenAILLMService(base_url=f"{url}/v1", api_key="none")
    speak = VoxturnTTSService(url=url)
    worker = PipelineWorker(
        Pipeline([hear, pair.user(), reply, speak, recorder, pair.assistant()]),
        params=PipelineParams(audio_in_sample_rate=rate, audio_out_sample_rate=RATE),
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    for begin in range(0, len(pcm), rate // 25):  # 20 ms
        await worker.queue_frame(InputAudioRawFrame(pcm[begin : begin + rate // 25], rate, 1))
        await asyncio.sleep(0.02)
    await recorder.whole.wait()
    await worker.queue_frame(EndFrame())
    await running
    with wave.open(answer, "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
        out.writeframes(recorder.pcm)
    for message in context.get_messages():
        print(f"{message['role']}: {message['content']}")


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
