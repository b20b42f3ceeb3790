"""`voxturn bench speaking`: the small checkpoint that really speaks, through coqui-tts and through
the runtime.

Same sentences and ids; greedy codes compared code by code; what was said is transcribed with the
profile's Whisper, after the same trimming and padding. The runtime speaks as it ships, streamed and
guarded, and as coqui-tts does, decoded whole without a guard. Sampling is greedy and upstream's
default; the random numbers are each side's own. How many codes the stop guard cuts is counted on
the first artifact's.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import soxr
from tqdm import tqdm
from voxturn.bench.harness import Result, ears, engine_here
from voxturn.bench.peer import coqui_peer
from voxturn.bench.words import errors
from voxturn.runtime.audio.level import first_audible, last_audible
from voxturn.runtime.audio.window import Plan
from voxturn.runtime.decode.generation import Step
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.families.pipe import CHUNKS_AHEAD
from voxturn.runtime.families.xtts.family import as_xtts
from voxturn.runtime.families.xtts.prompt import SpeechOptions, speech
from voxturn.runtime.families.xtts.stop_guard import StopGuard
from voxturn.runtime.families.xtts.voice import XttsVoice
from voxturn.runtime.flow.handoff import Ahead
from voxturn.runtime.frames import RATE
from voxturn.runtime.messages import Samples, Sentence
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import Engine, SpeakEngine, load_profile

GREEDY = Sampling(temperature=0.0, repetition_penalty=10.0)
DEFAULT = Sampling(0.75, 50, 0.85, 0.0, 10.0, 1)
_PENALTY = {"repetition_penalty": 10.0}
PEER_SAMPLING: dict[str, dict[str, Any]] = {
    "greedy": {"do_sample": False, "temperature": 1.0, **_PENALTY},
    "default": {"seed": 1},
}
_BABBLE_S = 1.5
WHOLE = Plan(first=1_000_000, largest=1_000_000)


@dataclass
class Said:
    """One way of speaking all sentences: word errors, words, seconds of audio, and runs that end in
    babble."""

    errors: int = 0
    words: int = 0
    seconds: float = 0.0
    babble: int = 0

    def add(self, reference: str, heard: str, seconds: float, expected_s: float) -> None:
        """One sentence."""
        wrong, words = errors(reference, heard)
        self.errors, self.words, self.seconds = (
            self.errors + wrong,
            self.words + words,
            self.seconds + seconds,
        )
        self.babble += seconds > expected_s + _BABBLE_S

    @property
    def wer(self) -> float:
        return self.errors / max(1, self.words)


def expected_seconds(sentence: str) -> float:
    """How long the voice takes, roughly: 75 ms a letter."""
    return 0.4 + 0.075 * sum(c.isalnum() for c in sentence)


class Runtime:
    """The runtime on one artifact."""

    def __init__(self, artifact: Path) -> None:
        speak = SpeakEngine(str(artifact), "onnx")
        vocode = Engine(str(artifact), "openvino", compute="auto")
        self.parts = LoadedParts(replace(load_profile("cpu"), speak=speak, vocode=vocode))
        self.voice = as_xtts(self.parts.voice())
        self._plan = self.voice.vocoder.plan

    async def say(self, tokens: list[int], sampling: Sampling, way: str) -> Samples:
        """Audio at 16 kHz, "streamed" and guarded or "whole" and unguarded."""
        streamed, manner = way == "streamed", self.voice.speech.manner
        speech = self.voice.speech.using(
            replace(manner, language="en", sampling=sampling, guard=streamed)
        )
        self.voice.vocoder.plan = self._plan if streamed else WHOLE
        chunks = Ahead(self.voice.of_latents(speech.codes(tokens, Sentence("", 0))), CHUNKS_AHEAD)
        parts = [chunk.samples async for chunk in chunks]
        await chunks.aclose()
        audio = np.concatenate(parts) if parts else np.zeros(1, np.float32)
        return np.asarray(soxr.resample(audio, self.voice.rate, RATE), np.float32)

    def close(self) -> None:
        """Free engines and threads."""
        self.parts.close()


def padded(samples: Samples) -> Samples:
    """Without the silence before and after, and with a fixed one instead: what Whisper hears of
    everybody."""
    first, last = first_audible(samples), last_audible(samples)
    speech = samples[first : last + 1] if first is not None and last is not None else samples[:0]
    return np.concatenate(
        [np.zeros(RATE // 5, np.float32), speech, np.zeros(RATE // 5, np.float32)]
    )


def steps_of(voice: XttsVoice, tokens: list[int], sampling: Sampling) -> list[Step]:
    """The runtime's codes without a guard, the stop included."""
    speaker = voice.speech.manner.voice
    assert speaker is not None
    engine = engine_here(voice.service)
    generation = engine.add(
        speech(voice.ids, "voice", speaker.latents, tokens, SpeechOptions(sampling))
    )
    while engine.busy:
        engine.step()
    return list(generation.out)


def cut_by_guard(steps: Sequence[Step], tokens: int) -> int:
    """How many codes the guard would have cut."""
    guard = StopGuard(tokens)
    at = next(
        (
            i
            for i, step in enumerate(steps)
            if not step.stop and guard.reason(step.token, step.watched)
        ),
        len(steps),
    )
    return len(steps) - at


async def run(
    checkpoint: Path, artifacts: Sequence[Path], texts: Sequence[str], path: Path | None
) -> Result:
    """Every sentence through both sides."""
    result = Result("speaking")
    tallies: dict[str, Said] = {}
    listener = LoadedParts(load_profile("demo"))
    hearing = ears(listener)[1]
    identical, cuts = 0, {"greedy": [0], "default": [0]}
    runtimes = {artifact.name: Runtime(artifact) for artifact in artifacts}
    voice = runtimes[artifacts[0].name].voice
    with coqui_peer(checkpoint, 2) as peer, tempfile.TemporaryDirectory() as folder:
        wave = str(Path(folder) / "wave.npy")

        async def hear(who: str, text: str, samples: Samples) -> None:
            seconds = samples.size / RATE
            transcript = await hearing.transcribe(padded(samples))
            tallies.setdefault(who, Said()).add(
                text, transcript.text, seconds, expected_seconds(text)
            )

        for text in tqdm(texts, disable=not sys.stderr.isatty()):
            tokens = voice.tokenizer.encode(text, "en")
            theirs = peer.ask(do="codes", tokens=tokens, steps=602)["codes"]
            identical += [step.token for step in steps_of(voice, tokens, GREEDY)] == theirs
            for name, sampling in (("greedy", GREEDY), ("default", DEFAULT)):
                cuts[name].append(cut_by_guard(steps_of(voice, tokens, sampling), len(tokens)))
                peer.ask(do="speak", tokens=tokens, sampling=dict(PEER_SAMPLING[name]), output=wave)
                await hear(
                    f"coqui.{name}",
                    text,
                    np.asarray(soxr.resample(np.load(wave), 24000, RATE), np.float32),
                )
                for label, runtime in runtimes.items():
                    for way in ("streamed", "whole"):
                        await hear(
                            f"{label}.{way}.{name}", text, await runtime.say(tokens, sampling, way)
                        )
    for label, runtime in runtimes.items():
        result.artifact(label, runtime.parts.info["speak"])
        runtime.close()
    listener.close()
    result.value("speaking.sentences", "count", len(texts))
    result.value("speaking.greedy_identical", "count", identical)
    for name, codes in cuts.items():
        result.value(f"speaking.guard.{name}.cuts", "count", sum(c > 0 for c in codes))
        result.value(f"speaking.guard.{name}.codes", "count", sum(codes))
    for who, numbers in tallies.items():
        result.value(f"speaking.{who}.wer", "ratio", numbers.wer)
        result.value(f"speaking.{who}.seconds", "s", numbers.seconds)
        result.value(f"speaking.{who}.babble", "count", numbers.babble)
    if path:
        result.write(path)
    return result


def main(
    checkpoint: Path, artifacts: Sequence[Path], sentences: Path, limit: int, path: Path | None
) -> Result:
    """Run the benchmark."""
    listed = json.loads(sentences.read_text(encoding="utf-8"))
    texts = [text for group in ("trained", "held_out") for text in listed.get(group, [])][
        : limit or None
    ]
    return asyncio.run(run(checkpoint, artifacts, texts, path))
