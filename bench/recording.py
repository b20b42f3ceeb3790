"""A long recording: as `voxturn transcribe` hears a file, and through faster-whisper's batched
pipeline."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from voxturn.bench.corpus import Clip
from voxturn.bench.harness import Result, ears
from voxturn.bench.words import error_rate
from voxturn.runtime.frames import RATE, frames_from
from voxturn.runtime.messages import Samples, Utterance
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import Profile
from voxturn.runtime.turn.recording import for_files

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

_SECONDS = 240


async def compare(
    result: Result, clips: Sequence[Clip], profile: Profile, peer: WhisperModel
) -> None:
    """Time and word errors of both on the same minutes of speech.

    The peer has the whole audio in memory, ours has not.
    """
    from faster_whisper import BatchedInferencePipeline

    samples, text = _joined(clips)
    heard, ours_s = await _ours(samples, profile)
    begin = time.perf_counter()
    segments, _ = BatchedInferencePipeline(peer).transcribe(samples, language="en", beam_size=1)
    peers = " ".join(segment.text.strip() for segment in segments)
    peer_s = time.perf_counter() - begin
    result.value("stt.long.audio_s", "s", samples.size / RATE)
    result.value("stt.long.times_real_time", "ratio", samples.size / RATE / ours_s)
    result.value("stt.long.batched_ratio", "ratio", peer_s / ours_s)
    result.value("stt.long.wer", "ratio", error_rate([text], [heard]))
    result.value("stt.long.batched_wer", "ratio", error_rate([text], [peers]))


async def _ours(samples: Samples, profile: Profile) -> tuple[str, float]:
    parts = LoadedParts(replace(profile, endpointing=for_files(profile.endpointing)))
    try:
        listen, stage = ears(parts)
        await stage.transcribe(samples[:RATE])
        begin = time.perf_counter()
        texts = [
            (await stage.transcribe(heard.samples)).text
            async for heard in listen(frames_from(samples))
            if isinstance(heard, Utterance) and heard.final
        ]
        return " ".join(texts), time.perf_counter() - begin
    finally:
        parts.close()


def _joined(clips: Sequence[Clip]) -> tuple[Samples, str]:
    """Clips in any order with pauses between them, and what they say."""
    random = np.random.default_rng(2)
    parts: list[Samples] = []
    texts: list[str] = []
    size = 0
    for index in random.permutation(len(clips)):
        parts += [clips[index].samples, np.zeros(int(RATE * random.uniform(0.1, 1.2)), np.float32)]
        texts.append(clips[index].text)
        size += parts[-1].size + parts[-2].size
        if size > _SECONDS * RATE:
            break
    return np.concatenate(parts), " ".join(texts)
