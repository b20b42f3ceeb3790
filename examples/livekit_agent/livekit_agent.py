"""A LiveKit agent that holds a conversation by a voxturn gateway: WAV files are asked one after the
other.

pip install 'voxturn[livekit]' livekit-plugins-openai
voxturn serve gateway
python examples/livekit_agent/livekit_agent.py http://127.0.0.1:8080 answers.wav question.wav …
"""

from __future__ import annotations

import asyncio
import sys
import time
import wave

from livekit import rtc
from livekit.agents import Agent, AgentSession
from livekit.agents.voice.io import AudioInput, AudioOutput, AudioOutputCapabilities
from livekit.plugins import openai
from voxturn.runtime.plugins.livekit import STT, TTS

RATE = 22_050
"""Of the demo's voice, in Hz."""
FRAME_S = 0.02


class Microphone(AudioInput):
    """Hears files, and silence between them."""

    def __init__(self) -> None:
        super().__init__(label="files")
        self._pcm, self._rate, self._due = b"", 16_000, time.monotonic()

    def ask(self, file: str) -> None:
        """Hear a mono 16-bit WAV file from now on."""
        with wave.open(file) as opened:
            self._rate, self._pcm = opened.getframerate(), opened.readframes(opened.getnframes())

    async def __anext__(self) -> rtc.AudioFrame:
        self._due += FRAME_S
        await asyncio.sleep(max(0.0, self._due - time.monotonic()))
        size = 2 * round(FRAME_S * self._rate)
        piece, self._pcm = self._pcm[:size].ljust(size, b"\0"), self._pcm[size:]
        return rtc.AudioFrame(piece, self._rate, 1, size // 2)


class Loudspeaker(AudioOutput):
    """Keeps what is said; `over` is set once an answer is."""

    def __init__(self) -> None:
        super().__init__(
            label="file", capabilities=AudioOutputCapabilities(pause=False), sample_rate=RATE
        )
        self.pcm, self.over, self._pushed_s = b"", asyncio.Event(), 0.0

    async def capture_frame(self, frame: rtc.AudioFrame) -> None:
        await super().capture_frame(frame)
        if not self._pushed_s:
            self.on_playback_started(created_at=time.time())
        self.pcm += frame.data.tobytes()
        self._pushed_s += frame.duration

    def flush(self) -> None:
        super().flush()
        if self._pushed_s:
            self.on_playback_finished(playback_position=self._pushed_s, interrupted=False)
            self._pushed_s = 0.0
            self.over.set()

    def clear_buffer(self) -> None:
        """Nothing waits: it is kept as it comes."""


async def main(url: str, answers: str, *questions: str) -> None:
    """Ask all files, and write the answers into one."""
    microphone, loudspeaker = Microphone(), Loudspeaker()
    session: AgentSession[None] = AgentSession(
        stt=STT(url=url),
        llm=openai.LLM(model="voxturn", base_url=f"{url}/v1", api_key="none"),
        tts=TTS(url=url, rate=RATE),
        turn_handling={"turn_detection": "stt", "preemptive_generation": {"preemptive_tts": True}},
        use_tts_aligned_transcript=True,
    )
    session.input.audio, session.output.audio = microphone, loudspeaker
    await session.start(Agent(instructions="You are a helpful assistant. Give short answers."))
    for question in questions:
        loudspeaker.over.clear()
        microphone.ask(question)
        await loudspeaker.over.wait()
    print(*(f"{m.role}: {m.text_content}" for m in session.history.messages()), sep="\n")
    await session.aclose()
    with wave.open(answers, "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
        out.writeframes(loudspeaker.pcm)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
