"""`voxturn bench tts`: XTTS v2 streamed by the runtime, against coqui-tts's `inference_stream` on
the same weights.

Both sides get the same token ids and make the same number of codes, the stop token ignored, so that
random weights measure what trained ones would. The peer is a process of its own; runs alternate.
Memory is measured in processes that hold nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
from voxturn.bench.harness import Result, engine_here, peak_rss_mb, read_bandwidth, timed_ms
from voxturn.bench.peer import Peer, coqui_peer
from voxturn.runtime.decode.generation import Request
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.families.pipe import CHUNKS_AHEAD
from voxturn.runtime.families.xtts.family import as_xtts
from voxturn.runtime.families.xtts.prompt import SpeechOptions, speech
from voxturn.runtime.families.xtts.voice import XttsVoice
from voxturn.runtime.flow.handoff import Ahead
from voxturn.runtime.flow.observe import OBSERVER
from voxturn.runtime.messages import PcmChunk, Sentence
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import Engine, SpeakEngine, load_profile
from voxturn.runtime.turn.trace import play
from voxturn.runtime.xtts import XTTS

CASES = {3: (10, 22), 12: (36, 86), 45: (130, 320)}
"""Words: text tokens and audio codes."""
TEXTS = (
    "The train to the coast leaves at nine in the morning today.",
    "Please remember to close the windows before you leave the old house.",
    "She said that the meeting would take place in the large room.",
    "A short walk along the river is the best way to begin.",
)
_SHORT_CODES, _LONG_CODES = 43, 538  # 2 and 25 seconds
_SENTENCE = Sentence("", 0)


@dataclass
class Spoken:
    """One utterance: when each chunk came, in seconds from its request."""

    chunks: list[tuple[float, PcmChunk]] = field(default_factory=list)

    @property
    def first_ms(self) -> float:
        return 1000 * self.chunks[0][0]

    @property
    def audio_s(self) -> float:
        return sum(chunk.samples.size / chunk.rate for _, chunk in self.chunks)

    @property
    def rtf(self) -> float:
        return self.chunks[-1][0] / self.audio_s


class Bench:
    """The runtime on one artifact, speaking ids."""

    def __init__(self, artifact: Path, vocoder: str, slots: int, gpu: str = "") -> None:
        """`vocoder` is what runs it on the CPU; `gpu`, if given, the executor of both parts on a
        GPU."""
        model = str(artifact)
        speak = SpeakEngine(model, gpu or "onnx", slots=slots)
        vocode = Engine(model, gpu or vocoder).computing("auto", 0)
        self.parts = LoadedParts(replace(load_profile("cpu"), speak=speak, vocode=vocode))
        self.voice: XttsVoice = as_xtts(self.parts.voice())
        self.voice.vocoder.trims = False
        self.random = np.random.default_rng(0)
        self.busy: dict[str, float] = {}

    async def warm(self) -> None:
        """Everything that a first stream would wait for."""
        await self.voice.warm()
        await self.voice.warm(later=True)

    def tokens(self, count: int) -> list[int]:
        """Random text ids."""
        return [int(t) for t in self.random.integers(2, self.voice.ids.text_tokens - 2, count)]

    def codes(self, count: int) -> tuple[int, ...]:
        """Random audio codes to be forced."""
        return tuple(int(c) for c in self.random.integers(0, self.voice.ids.start_audio - 1, count))

    async def speak(self, tokens: list[int], codes: int) -> Spoken:
        """One utterance."""
        self.busy = {}
        OBSERVER.set(self)
        begin, spoken = time.perf_counter(), Spoken()
        latents = self.voice.speech.codes(tokens, _SENTENCE, forced=self.codes(codes))
        chunks = Ahead(self.voice.of_latents(latents), CHUNKS_AHEAD)
        async for chunk in chunks:
            spoken.chunks.append((time.perf_counter() - begin, chunk))
        await chunks.aclose()
        return spoken

    def call(self, lane: str, begin_s: float, end_s: float) -> None:
        """A call in a lane (`flow.observe.Observer`)."""
        self.busy[lane] = self.busy.get(lane, 0.0) + end_s - begin_s

    def prompt(self, lane: str, computed: int, reused: int) -> None:
        """What a prompt cost is not measured here."""


async def single(bench: Bench, peer: Peer | None, result: Result, runs: int) -> None:
    """The three texts, alternating with the peer."""
    underruns = 0
    for words, (text, codes) in CASES.items():
        firsts, rtfs, shares, ratios, rtf_ratios, peer_firsts, peer_rtfs = (
            [],
            [],
            [],
            [],
            [],
            [],
            [],
        )
        rounds = runs if words < 45 else max(2, runs // 3)
        for number in range(rounds + 1):
            tokens = bench.tokens(text)
            other = None
            if peer is not None and number % 2:
                other = peer.ask(do="stream", tokens=tokens, codes=codes)
            spoken = await bench.speak(tokens, codes)
            if peer is not None and other is None:
                other = peer.ask(do="stream", tokens=tokens, codes=codes)
            if not number:
                continue
            firsts.append(spoken.first_ms)
            rtfs.append(spoken.rtf)
            shares.append(bench.busy["vocode"] / sum(bench.busy.values()))
            underruns += play(spoken.chunks).underruns
            if other is not None:
                peer_firsts.append(1000 * other["first_s"])
                peer_rtfs.append(other["total_s"] / other["audio_s"])
                ratios.append(1000 * other["first_s"] / spoken.first_ms)
                rtf_ratios.append(peer_rtfs[-1] / spoken.rtf)
        result.samples(f"tts.first_audio.{words}w_ms", "ms", firsts)
        result.samples("tts.rtf" if words == 12 else f"tts.rtf.{words}w", "ratio", rtfs)
        result.samples(f"tts.vocoder_share.{words}w", "ratio", shares)
        if peer is not None:
            result.samples(f"tts.first_audio.{words}w_ratio", "ratio", ratios)
            result.samples(
                "tts.rtf_ratio" if words == 12 else f"tts.rtf.{words}w_ratio", "ratio", rtf_ratios
            )
            result.samples(f"tts.peer.first_audio.{words}w_ms", "ms", peer_firsts)
            result.samples(f"tts.peer.rtf.{words}w", "ratio", peer_rtfs)
    result.value("tts.underruns", "count", underruns)


async def growth(bench: Bench, result: Result, runs: int) -> None:
    """The cost of a second of audio at 25 s over that at 2 s."""
    ratios = []
    for _ in range(max(2, runs // 3)):
        short = [await bench.speak(bench.tokens(36), _SHORT_CODES) for _ in range(3)]
        long = await bench.speak(bench.tokens(130), _LONG_CODES)
        ratios.append(long.rtf / float(np.median([s.rtf for s in short])))
    result.samples("tts.rtf_25s_over_2s", "ratio", ratios)


async def streamed_text(bench: Bench, result: Result, runs: int) -> None:
    """From the last word of a text that comes word by word, 30 a second, to its first audio: what a
    program sees."""
    voice = XTTS(bench.parts, bench.voice)
    await voice.awarm()
    firsts = [
        await after_last_word(voice, TEXTS[number % len(TEXTS)], number)
        for number in range(runs + 1)
    ][1:]
    result.samples("tts.streamed_text.first_audio_ms", "ms", firsts)


async def after_last_word(voice: XTTS, text: str, seed: int, per_second: float = 30.0) -> float:
    """Milliseconds."""
    arrived = 0.0

    async def words() -> AsyncIterator[str]:
        nonlocal arrived
        begin = time.perf_counter()
        for number, word in enumerate(re.findall(r"\S+\s*", text), 1):
            await asyncio.sleep(max(0.0, begin + number / per_second - time.perf_counter()))
            arrived = time.perf_counter()
            yield word

    async with contextlib.aclosing(
        voice.astream(words(), language="en", seed=seed, guard=False)
    ) as stream:
        await anext(stream)
        return 1000 * (time.perf_counter() - arrived)


async def batched(bench: Bench, result: Result, runs: int) -> None:
    """Four streams on one engine, and one that joins three."""
    text, codes = CASES[12]
    gains, rtfs, slowdowns = [], [], []
    for number in range(max(2, runs // 2) + 1):
        one, four = codes_a_second(bench, 1, codes), codes_a_second(bench, 4, codes)
        begin = time.perf_counter()
        spoken = await asyncio.gather(*(bench.speak(bench.tokens(text), codes) for _ in range(4)))
        rtf = (time.perf_counter() - begin) / sum(s.audio_s for s in spoken)
        lone = (await bench.speak(bench.tokens(text), codes)).first_ms
        others = [asyncio.create_task(bench.speak(bench.tokens(text), codes)) for _ in range(3)]
        await asyncio.sleep(1.0)
        joined = (await bench.speak(bench.tokens(text), codes)).first_ms
        await asyncio.gather(*others)
        if number:
            gains.append(four / one)
            rtfs.append(rtf)
            slowdowns.append(joined / lone)
    result.samples("tts.batch4.codes_gain", "ratio", gains)
    result.samples("tts.batch4.rtf", "ratio", rtfs)
    result.samples("tts.batch4.join_slowdown", "ratio", slowdowns)


def codes_a_second(bench: Bench, streams: int, codes: int) -> float:
    """Codes a second of the GPT alone, prefill not counted."""
    engine, voice = engine_here(bench.voice.service), bench.voice
    speaker = voice.speech.manner.voice
    assert speaker is not None
    options = [
        SpeechOptions(Sampling(0.75, 50, 0.85, 0.0, 10.0, i), bench.codes(codes))
        for i in range(streams)
    ]
    requests: list[Request] = [
        speech(voice.ids, speaker.key, speaker.latents, bench.tokens(36), option)
        for option in options
    ]
    going = [engine.add(request) for request in requests]
    while any(g.given == 0 for g in going):
        engine.step()
    already = sum(g.given for g in going)
    begin = time.perf_counter()
    while engine.busy:
        engine.step()
    return (sum(g.given for g in going) - already) / (time.perf_counter() - begin)


def steps(bench: Bench, result: Result) -> None:
    """A step at context 60, and its share of the read bandwidth measured in between."""
    executor, folder = engine_here(bench.voice.service).executor, bench.parts.choice("speak").folder
    properties = Manifest.read(folder).properties
    rows = bench.voice.ids.text_tokens + bench.voice.ids.audio_tokens + bench.voice.ids.positions
    tables = 2 * rows * int(properties["gpt_n_model_channels"])  # gathered from, not read
    weights = (folder / "gpt.onnx.data").stat().st_size - tables
    ids = np.full((1, 1), bench.voice.ids.code(5, 1), np.int64)
    times, shares, rates = [], [], []
    for number in range(7):
        some = [timed_ms(lambda: executor.run(0, ids, [60])) for _ in range(30)]
        if number:
            rates.append(read_bandwidth(2, megabytes=128, rounds=2))
            times += some
            shares.append(weights / 1e9 / (np.median(some) / 1000) / rates[-1])
    result.samples("tts.step_ms", "ms", times)
    result.samples("tts.step_bandwidth_share", "ratio", shares)
    result.samples("tts.bandwidth_gb_s", "GB/s", rates)


def peak_memory(artifact: Path, vocoder: str, slots: int) -> float:
    """Peak resident memory of a process that speaks the 12-word text in every slot at once."""
    code = "import sys; from voxturn.bench import tts; tts.speak_and_weigh(*sys.argv[1:])"
    command = [sys.executable, "-P", "-c", code, str(artifact), vocoder, str(slots)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def speak_and_weigh(artifact: str, vocoder: str, slots: str) -> None:
    """What `peak_memory` runs."""

    async def run() -> None:
        bench = Bench(Path(artifact), vocoder, int(slots))
        await bench.voice.speech.warm()
        await asyncio.gather(*(bench.speak(bench.tokens(36), 86) for _ in range(int(slots))))
        bench.parts.close()

    asyncio.run(run())
    print(json.dumps(peak_rss_mb()))


async def run(
    artifact: Path, checkpoint: Path | None, vocoder: str, runs: int, path: Path | None
) -> Result:
    """Everything. Without a checkpoint there is no peer."""
    result = Result("tts")
    for slots in (1, 4):
        result.value(f"tts.peak_rss_mb.slots{slots}", "MB", peak_memory(artifact, vocoder, slots))
    bench = Bench(artifact, vocoder, 1)
    await bench.warm()
    steps(bench, result)
    peer = (
        coqui_peer(checkpoint, bench.parts.info["speak"].threads)
        if checkpoint is not None
        else None
    )
    try:
        await single(bench, peer, result, runs)
    finally:
        if peer is not None:
            peer.close()
    await growth(bench, result, runs)
    await streamed_text(bench, result, runs)
    for stage, info in bench.parts.info.items():
        result.artifact(stage, info)
    bench.parts.close()
    several = Bench(artifact, vocoder, 4)
    await several.warm()
    await batched(several, result, runs)
    several.parts.close()
    result.notes["windows"] = asdict(bench.voice.vocoder.plan)
    result.notes["forced"] = (
        "token ids and code counts are given to both sides; the stop token is ignored"
    )
    result.notes["cases"] = {
        str(words): {"text_tokens": t, "codes": c} for words, (t, c) in CASES.items()
    }
    if path:
        result.write(path)
    return result


def main(
    artifact: Path, checkpoint: Path | None, vocoder: str, runs: int, path: Path | None
) -> Result:
    """Run the benchmark."""
    return asyncio.run(run(artifact, checkpoint, vocoder, runs, path))
