"""How fast an artifact is on a GPU: prefill, steps, windows of the vocoder, first audio. By the
host's clock, around calls that wait for the device; texts, codes and random weights as in
`bench.tts`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from voxturn.bench import tts
from voxturn.bench.harness import Result, engine_here, timed_ms
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.generation import Request
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.executors.backend import Backend, LoadedArtifact
from voxturn.runtime.families.xtts.family import VOCODER
from voxturn.runtime.flow.scheduling import EngineBudget
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.protocols import DecoderExecutor
from voxturn.runtime.xtts import XTTS

SLOTS = 8
NO_CORES = EngineBudget(0, False, 0)
_RUNS, _TOKENS, _PAST = 20, 100, 200
_WINDOWS, _CONTEXT = (9, 33, 120, 240), 13


def measure(backend: Backend, artifact: Path, executor: str, result: Result) -> None:
    """Everything that an artifact has."""
    manifest = Manifest.read(artifact)
    if VOCODER in manifest.graphs:
        asyncio.run(voice(artifact, executor, result))
        return
    loaded = LoadedArtifact("reply", executor, artifact, manifest, manifest.precision, NO_CORES)
    for role in manifest.graphs:
        decoder = backend.decoder(loaded, role, SLOTS, 0)
        try:
            steps(decoder, f"gpu.{executor}.{manifest.model}", result)
        finally:
            decoder.close()


async def voice(artifact: Path, executor: str, result: Result) -> None:
    """An XTTS: its GPT, its vocoder, and both together as a user meets them."""
    name = f"gpu.{executor}.{Manifest.read(artifact).model}"
    bench = tts.Bench(artifact, "", SLOTS, executor)
    try:
        await bench.warm()
        steps(engine_here(bench.voice.service).executor, name, result)
        windows(bench, name, result)
        speech = Result("tts")
        await tts.single(bench, None, speech, _RUNS)
        await tts.streamed_text(bench, speech, _RUNS)
        await first_audio(bench, speech)
        for streams in (1, 4, SLOTS):
            await at_once(bench, streams, speech)
        result.metrics.update({f"{name}.{key}": metric for key, metric in speech.metrics.items()})
        for stage, info in bench.parts.info.items():
            result.artifact(f"{executor}.{stage}", info)
    finally:
        bench.parts.close()


def steps(executor: DecoderExecutor, name: str, result: Result) -> None:
    """Prompts of one sequence; steps whose logits the host reads; tokens that are chosen where they
    are computed."""
    random = np.random.default_rng(0)
    for length in (
        32,
        64,
        160,
        192,
        256,
    ):  # that of 160 is not captured: the engine runs 128 and 32
        ids = random.integers(1, 1000, (1, length))
        result.samples(
            f"{name}.prefill_{length}_ms", "ms", _timed(partial(executor.run, 0, ids, [0]))
        )
    for count in (1, 2, 4, executor.slots):
        ids = random.integers(1, 1000, (count, 1))
        step = partial(executor.run, 0, ids, [_PAST] * count)
        result.samples(f"{name}.step_{count}_ms", "ms", _timed(step))
        result.value(f"{name}.chosen_{count}_ms", "ms", 1000 * _chosen_s(executor, count))


def _chosen_s(executor: DecoderExecutor, count: int) -> float:
    """Seconds of a step in which `count` sequences get a token each, prefill not counted, as the
    engine runs it."""
    engine = DecodeEngine(executor)
    prompt = [int(i) for i in np.random.default_rng(1).integers(1, 1000, 40)]
    sampled = [
        Request([*prompt, n + 1], Sampling(0.75, 50, 0.85, 0.0, 10.0, n), (), _TOKENS)
        for n in range(count)
    ]
    going = [engine.add(request) for request in sampled]
    while any(g.given < 2 for g in going):
        engine.step()
    already, begin = sum(g.given for g in going), time.perf_counter()
    while engine.busy:
        engine.step()
    return (time.perf_counter() - begin) / (sum(g.given for g in going) - already) * count


def windows(bench: tts.Bench, name: str, result: Result) -> None:
    """The vocoder, `frames` of 10.7 ms in their context."""
    speaker = bench.voice.speech.manner.voice
    assert speaker is not None
    latents = np.random.default_rng(2).standard_normal((140, speaker.latents.shape[1]), np.float32)
    for frames in _WINDOWS:
        more = {"speaker": speaker.speaker.reshape(1, -1, 1)}
        window = bench.voice.vocoder.window
        call = partial(window, latents, _CONTEXT, _CONTEXT + frames, more)
        result.samples(f"{name}.window_{frames}_ms", "ms", _timed(call))


async def first_audio(bench: tts.Bench, result: Result) -> None:
    """From a whole text to its first audio, every token sampled: what a program sees."""
    spoken = XTTS(bench.parts, bench.voice)
    await spoken.awarm()
    firsts = []
    for number in range(_RUNS + 1):
        begin = time.perf_counter()
        stream = spoken.astream(
            tts.TEXTS[number % len(tts.TEXTS)], language="en", seed=number, guard=False
        )
        await anext(stream)
        firsts.append(1000 * (time.perf_counter() - begin))
        await stream.aclose()
    result.samples("tts.text.first_audio_ms", "ms", firsts[1:])


async def at_once(bench: tts.Bench, streams: int, result: Result) -> None:
    """Streams of 12 words that begin together: the last one's first audio, and seconds for a second
    of audio."""
    text, codes = tts.CASES[12]
    firsts, rtfs = [], []
    for _ in range(4):
        begin = time.perf_counter()
        spoken = await asyncio.gather(
            *(bench.speak(bench.tokens(text), codes) for _ in range(streams))
        )
        rtfs.append((time.perf_counter() - begin) / sum(s.audio_s for s in spoken))
        firsts.append(max(s.first_ms for s in spoken))
    result.samples(f"tts.streams{streams}.first_audio_ms", "ms", firsts[1:])
    result.samples(f"tts.streams{streams}.rtf", "ratio", rtfs[1:])


def _timed(call: Callable[[], object]) -> list[float]:
    for _ in range(3):
        call()
    return [timed_ms(call) for _ in range(_RUNS)]
