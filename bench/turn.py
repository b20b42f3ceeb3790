"""`voxturn bench turn`: whole turns, 20 ms frames at the pace of real time, on questions that the
demo voice speaks.

End of speech is the last sample above −40 dBFS; the onset is the first sample of the answer above
it.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import soxr
from voxturn.bench import scripted
from voxturn.bench.harness import Result, peak_rss_mb
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.audio.decode import decode_all
from voxturn.runtime.audio.level import last_audible
from voxturn.runtime.errors import AudioNotFound, InferenceFailed
from voxturn.runtime.frames import RATE, frames_from
from voxturn.runtime.messages import Samples, Sentence
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.profile import Profile, load_profile

QUESTIONS = (
    "What is the capital of France?",
    "How many days are in a week?",
    "What color is the sky?",
    "Can you tell me a fun fact about cats?",
    "Why do leaves fall in autumn?",
    "What should I cook for dinner tonight?",
)


async def speak(assistant: Assistant, text: str) -> Samples:
    """A text in the profile's voice at 16 kHz, after 0.3 s of silence."""

    async def one() -> object:
        yield Sentence(text, 0)

    chunks = assistant.say(one())  # type: ignore[arg-type]
    parts = [chunk.samples async for chunk in chunks]
    await chunks.aclose()
    voice = soxr.resample(np.concatenate(parts), assistant.rate, RATE).astype(np.float32)
    last = last_audible(voice)
    return np.concatenate(
        [np.zeros(int(0.3 * RATE), np.float32), voice[: (last or voice.size) + 1]]
    )


async def spoken() -> dict[str, Samples]:
    """`QUESTIONS` in the demo's voice."""
    async with Assistant.load("demo") as asking:
        return {text: await speak(asking, text) for text in QUESTIONS}


def recorded(folder: Path) -> dict[str, Samples]:
    """A folder's WAV files as they are, samples at 16 kHz by the file's name.

    Raises `AudioNotFound` where there are none.
    """
    files = sorted(folder.glob("*.wav"))
    if not files:
        raise AudioNotFound(f"{folder}: holds no .wav files")
    return {file.stem: decode_all(file, RATE) for file in files}


async def run(
    profile: Profile, runs: int, path: Path | None, asked: dict[str, Samples] | None = None
) -> Result:
    """One warm-up turn, then `runs` turns, the questions in rotation, each a dialogue of its own.

    The demo's voice asks, or `asked` does, samples at 16 kHz by what they are called; synthetic
    models answer by a script.
    """
    result = Result("turn")
    asked = asked or await spoken()
    questions = list(asked.values())
    async with Assistant.load(profile) as assistant:
        scripted.follow(assistant)
        await assistant.warm()
        traces = []
        for number in range(runs + 1):
            frames = frames_from(questions[number % len(questions)], live=True)
            async with assistant.conversation().turn(frames) as turn:
                async for _ in turn:
                    pass
            trace = turn.trace.to_dict()
            if number:
                traces.append(trace)
        for stage, info in assistant.setup.info.items():
            result.artifact(stage, info)
    answered = [t for t in traces if t["response_ms"] is not None]
    if not answered:
        raise InferenceFailed(
            "no turn was answered; the traces would tell why: `voxturn --debug turn … --trace FILE`"
        )
    result.samples("turn.response_ms", "ms", [t["response_ms"] for t in answered])
    result.samples("turn.onset_ms", "ms", [t["times_ms"]["audible_onset"] for t in answered])
    result.samples("turn.endpoint_wait_ms", "ms", [t["endpoint_wait_ms"] for t in answered])
    result.samples("turn.transcript_ms", "ms", [t["times_ms"]["transcript"] for t in answered])
    result.samples("turn.first_token_ms", "ms", [t["times_ms"]["first_token"] for t in answered])
    result.samples("turn.first_clause_ms", "ms", [t["times_ms"]["first_clause"] for t in answered])
    result.value("turn.underruns", "count", sum(t["underruns"] for t in traces))
    result.value("turn.answered", "count", len(answered))
    result.value("turn.peak_rss_mb", "MB", peak_rss_mb())
    result.notes["questions"] = list(asked)
    result.notes["turns"] = [
        {
            k: t[k]
            for k in (
                "transcript",
                "reply",
                "times_ms",
                "speculations",
                "underruns",
                "audio_ms",
                "prompt_tokens",
            )
        }
        for t in traces
    ]
    if path:
        result.write(path)
    return result


def main(
    name: str,
    runs: int,
    path: Path | None,
    reply: Path | None = None,
    voice: Path | None = None,
    recordings: Path | None = None,
) -> Result:
    """Run the benchmark on a profile, whose reply and voice may be artifacts of one's own."""
    profile = load_profile(name)
    if reply is not None:
        precision = Manifest.read(reply).precision
        profile = replace(
            profile, reply=replace(profile.reply, model=str(reply), precision=precision)
        )
    if voice is not None:
        precision = Manifest.read(voice).precision
        profile = replace(
            profile,
            speak=replace(profile.speak, model=str(voice), precision=precision),
            vocode=replace(profile.engine("vocode"), model=str(voice), precision=precision),
        )
    return asyncio.run(run(profile, runs, path, recorded(recordings) if recordings else None))
