"""Calls a voxturn gateway as a telephone provider does, with a WAV file in the caller's place.

    pip install numpy openai websockets
    voxturn serve gateway
    python call.py question.wav --gateway http://127.0.0.1:8080 --answer answer.wav

It sends the file as Twilio's Media Streams would, plays what comes back at the pace of speech, and
prints what was said and what was answered.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import wave
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from openai import AsyncOpenAI
from websockets.asyncio.client import ClientConnection, connect

RATE = 8000
FRAME = RATE // 50
FRAME_S = 0.02
QUIET_S = 2.0
"""So long nothing more is said once the answer is over."""
LONGEST_S = 120.0
STREAM = "MZ00000000000000000000000000000000"
SILENCE = b"\xff" * FRAME
Samples = npt.NDArray[np.float64]


def ulaw(samples: Samples) -> bytes:
    """Samples from -1 to 1 as G.711's µ-law."""
    size = np.minimum(np.abs(samples) * 32768, 32635).astype(np.int64) + 132
    segment = np.floor(np.log2(size)).astype(np.int64) - 7
    code: npt.NDArray[np.int64] = (
        (segment << 4) | ((size >> (segment + 3)) & 15) | np.where(samples < 0, 128, 0)
    )
    return np.uint8(~code & 255).tobytes()


def pcm(raw: bytes) -> Samples:
    """µ-law as samples from -1 to 1."""
    code = ~np.frombuffer(raw, np.uint8).astype(np.int64) & 255
    size = ((((code & 15) << 3) + 132) << ((code >> 4) & 7)) - 132
    return np.where(code & 128, -size, size) / 32768


def read(path: Path) -> Samples:
    """A 16-bit WAV file's first channel, at 8 kHz. Raises `ValueError` for another kind."""
    with wave.open(str(path)) as file:
        if file.getsampwidth() != 2:
            raise ValueError(f"{path}: give a WAV file of 16 bits")
        raw = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        samples, rate = raw[:: file.getnchannels()] / 32768, file.getframerate()
    size = samples.size * RATE // rate
    spectrum = np.fft.rfft(samples)[: size // 2 + 1]
    resampled: Samples = np.fft.irfft(spectrum, size) * (size / samples.size)
    return resampled


def wav(samples: Samples) -> bytes:
    """Samples of 8 kHz as a WAV file of 16 bits."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
        file.writeframes(np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes())
    return out.getvalue()


class Call:
    """One call: `run` it while `say` is called. `played` is what the caller's ear got."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._microphone: deque[bytes] = deque()
        self._loudspeaker: deque[bytes | str] = deque()
        self._frame = asyncio.Event()
        self.played = b""
        self.quiet_s = 0.0
        self.cleared = 0

    async def start(self, **parameters: str) -> None:
        """Begin, with the parameters that TwiML's `<Parameter>` would give."""
        form = {"encoding": "audio/x-mulaw", "sampleRate": RATE, "channels": 1}
        start = {"streamSid": STREAM, "mediaFormat": form, "customParameters": parameters}
        await self._send("connected", protocol="Call", version="1.0.0")
        await self._send("start", start=start)

    def say(self, samples: Samples) -> None:
        """Put samples of 8 kHz into the caller's mouth."""
        raw = ulaw(samples)
        pieces = [raw[at : at + FRAME] for at in range(0, len(raw), FRAME)]
        self._microphone += [piece.ljust(FRAME, b"\xff") for piece in pieces]

    async def run(self) -> None:
        """Hold the call, until it is cancelled or the gateway ends it."""
        reading = asyncio.create_task(self._read())
        try:
            due_s = asyncio.get_running_loop().time()
            while not reading.done():
                piece = self._microphone.popleft() if self._microphone else SILENCE
                media = {"track": "inbound", "payload": base64.b64encode(piece).decode()}
                await self._send("media", media=media)
                await self._play()
                self._frame.set()
                due_s += FRAME_S
                await asyncio.sleep(due_s - asyncio.get_running_loop().time())
            await reading
        finally:
            reading.cancel()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, as the call goes on."""
        while not condition():
            self._frame.clear()
            await self._frame.wait()

    async def answered(self, after: int = 0) -> None:
        """Wait until an answer was played to its end, beyond so many bytes that were played."""
        await self.until(lambda: len(self.played) > after and self.quiet_s >= QUIET_S)

    async def hang_up(self) -> None:
        """Say that the call is over."""
        await self._send("stop")

    async def _read(self) -> None:
        async for raw in self._socket:
            told = json.loads(raw)
            match told["event"]:
                case "media":
                    self._take(base64.b64decode(told["media"]["payload"]))
                case "mark":
                    self._loudspeaker.append(told["mark"]["name"])
                case "clear":
                    self.cleared += 1
                    marks = [each for each in self._loudspeaker if isinstance(each, str)]
                    self._loudspeaker.clear()
                    for name in marks:
                        await self._mark(name)

    def _take(self, audio: bytes) -> None:
        self._loudspeaker += [audio[at : at + FRAME] for at in range(0, len(audio), FRAME)]

    async def _play(self) -> None:
        """The next frame, and the marks before it."""
        self.quiet_s += FRAME_S
        while self._loudspeaker:
            each = self._loudspeaker.popleft()
            if isinstance(each, bytes):
                self.played += each
                self.quiet_s = 0.0
                return
            await self._mark(each)

    async def _mark(self, name: str) -> None:
        await self._send("mark", streamSid=STREAM, mark={"name": name})

    async def _send(self, event: str, **fields: Any) -> None:
        await self._socket.send(json.dumps({"event": event, **fields}))


async def call(gateway: str, question: Samples, key: str = "") -> Samples:
    """Ask a question over the phone; the answer, at 8 kHz. Raises `TimeoutError`."""
    address = gateway.replace("http", "ws", 1) + "/ws/twilio"
    async with asyncio.timeout(LONGEST_S), connect(address) as socket:
        phone = Call(socket)
        await phone.start(**({"api_key": key} if key else {}))
        phone.say(question)
        running = asyncio.create_task(phone.run())
        answered = asyncio.create_task(phone.answered())
        try:
            await asyncio.wait([running, answered], return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                raise ConnectionError(f"the call was ended: {socket.close_reason or 'no reason'}")
        finally:
            running.cancel()
            answered.cancel()
            await asyncio.gather(running, answered, return_exceptions=True)
        await phone.hang_up()
    return pcm(phone.played)


async def main(question: Samples, gateway: str, key: str) -> Samples:
    """Ask a question, and print both sides; the answer."""
    answer = await call(gateway, question, key)
    async with AsyncOpenAI(base_url=f"{gateway}/v1", api_key=key or "none") as client:
        for who, samples in (("said", question), ("answered", answer)):
            heard = await client.audio.transcriptions.create(
                file=("call.wav", wav(samples)), model="whisper-1"
            )
            print(f"{who}: {heard.text.strip()}")
    return answer


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("question", type=Path, help="a 16-bit WAV file")
    parser.add_argument("--gateway", default="http://127.0.0.1:8080")
    parser.add_argument("--key", default="", help="an API key, where the gateway needs one")
    parser.add_argument("--answer", type=Path, help="where the answer goes, as WAV")
    given = parser.parse_args()
    sound = asyncio.run(main(read(given.question), given.gateway, given.key))
    if given.answer is not None:
        given.answer.write_bytes(wav(sound))
