"""XTTS v2 in a few lines of Python, shaped as coqui-tts's users know it.

voice = XTTS.load("xtts-int8")
samples = voice.tts("It is four o'clock.", language="en", speaker="Ana")
voice.tts_to_file("مرحبا", language="ar", speaker_wav="me.wav", file_path="hello.wav")
for chunk in voice.stream(words_as_they_come, language="en", speaker="Ana"): play(chunk.samples)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.runtime.audio.encode import WavFile
from voxturn.runtime.audio.window import Plan
from voxturn.runtime.closing import Closing
from voxturn.runtime.decode.service import TokenService
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.base import VoiceOptions
from voxturn.runtime.families.pipe import clauses, said, spoken
from voxturn.runtime.families.xtts.family import FAMILY, as_xtts, check_xtts
from voxturn.runtime.families.xtts.prompt import XttsIds
from voxturn.runtime.families.xtts.voice import XttsVoice
from voxturn.runtime.flow.portal import Iterated
from voxturn.runtime.messages import PcmChunk, Samples
from voxturn.runtime.models.fetch import Progress
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.store import Store, quiet
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import load_profile
from voxturn.runtime.turn.trace import StageInfo

_CHUNKS_AHEAD = 64


class XTTS(Closing):
    """A loaded artifact.

    Thread-safe; streams of several callers share one batched engine. Close it when done.
    """

    def __init__(self, parts: LoadedParts, voice: XttsVoice) -> None:
        self._parts = parts
        self.voice = voice
        self.rate = voice.rate
        self.languages = voice.languages

    @classmethod
    def load(
        cls,
        artifact: str | Path,
        *,
        slots: int | None = None,
        threads: int = 0,
        executor: str = "onnx",
        vocoder: str = "",
        compute: str = "auto",
        store: Store | None = None,
        progress: Progress = quiet,
    ) -> XTTS:
        """Load an artifact's folder. `slots`: streams at once, 1 if it is left out.

        `executor` runs the GPT, `vocoder` the vocoder (openvino if it is installed); `compute`:
        what OpenVINO computes it in: `fp32`, `bf16`, or `auto`, the faster one on this processor.
        Samples in bf16 differ from fp32's by a tenth (20 dB), speech does not (PESQ 4.5).
        `progress` is told of long work.
        """
        folder = Path(artifact)
        manifest = Manifest.read(folder)
        check_xtts(manifest, str(artifact))
        if slots is not None and slots < 1:
            raise UsageError(f"slots: {slots} streams at once are none; give 1 or more")
        base = replace(load_profile("cpu"), name=str(artifact))
        profile = base.with_voice(folder, manifest, tuple(FAMILY.roles), vocoder)
        assert profile.vocode is not None  # the family has one
        speak = replace(profile.speak, executor=executor, threads=threads, slots=slots)
        vocode = profile.vocode.computing(compute, threads)
        chosen = replace(profile, speak=speak, vocode=vocode)
        return cls.of(LoadedParts(chosen, store, progress=progress))

    @classmethod
    def of(cls, parts: LoadedParts) -> XTTS:
        """The XTTS of a profile's parts, with every option of the profile.

        Closing it closes them, also on an error.
        """
        try:
            return cls(parts, as_xtts(parts.voice()))
        except BaseException:
            parts.close()
            raise

    def speakers(self) -> list[str]:
        """The names of the voices that are here."""
        return list(self.voice.speakers)

    @property
    def info(self) -> StageInfo:
        """Which artifact speaks, and on what."""
        return self._parts.info["speak"]

    @property
    def vocoder_info(self) -> StageInfo:
        """What vocodes it, and in which arithmetic."""
        return self._parts.info["vocode"]

    @property
    def service(self) -> TokenService:
        """The token engine."""
        return self.voice.service

    @property
    def windows(self) -> Plan:
        """The vocoder's windows; `warm` chooses them by this machine's speed.

        Set them for the same cuts everywhere.
        """
        return self.voice.vocoder.plan

    @windows.setter
    def windows(self, plan: Plan) -> None:
        self.voice.vocoder.plan = plan
        self.voice.speech.urgent = self.voice.vocoder.urgent_for(plan)

    @property
    def ids(self) -> XttsIds:
        """The sizes and ids of the checkpoint."""
        return self.voice.ids

    @property
    def width(self) -> int:
        """Of a voice's latents."""
        return self.voice.people.store.shape.width

    def warm(self) -> None:
        """Compute what the first stream would wait for: kernels for every window of the vocoder,
        the default voice's keys."""
        asyncio.run(self.awarm())

    async def awarm(self) -> None:
        """The asynchronous form of `warm`."""
        await self.awarm_first()
        await self.awarm_rest()

    async def awarm_first(self) -> None:
        """The part of `warm` that the first audio of a stream would wait for."""
        await self.voice.warm()

    async def awarm_rest(self) -> None:
        """The other part, while there are no streams: kernels for later windows."""
        await self.voice.warm(later=True)

    def tts(self, text: str, **options: Any) -> Samples:
        """A whole text as samples, float32 `[n]` at `rate` Hz. Options as `stream`'s."""
        chunks = [chunk.samples for chunk in self.stream(text, **options)]
        return np.concatenate(chunks) if chunks else np.zeros(0, np.float32)

    def tts_to_file(self, text: str, file_path: str | Path, **options: Any) -> Path:
        """A whole text into a WAV file, which appears when it is whole. Options as `stream`'s."""
        with WavFile(file_path, self.rate) as sink:
            for chunk in self.stream(text, **options):
                sink.write(chunk.samples)
        return Path(file_path)

    def stream(self, text: str | Iterable[str], **options: Any) -> Iterator[PcmChunk]:
        """Audio while it is made, of a text or of pieces of text while they come. Close the
        iterator to stop.

        Options: `language`; `speaker` (a name, or a mixture as `ana:0.7+ben:0.3`) and `style`, or
        `speaker_wav` (a recording or several);
        `temperature`, `top_k`, `top_p`, `repetition_penalty`, `speed`, `seed` as upstream;
        `length_penalty` is accepted and does nothing without beams; `guard=False` lets speech run
        on whose stop token was missed. What is left out is as the artifact was loaded.
        """
        return Iterated(lambda: self.astream(text, **options), _CHUNKS_AHEAD)

    async def astream(
        self,
        text: str | Iterable[str] | AsyncIterator[str],
        *,
        language: str,
        speaker: str | None = None,
        style: str | None = None,
        speaker_wav: str | Path | Sequence[str | Path] | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        repetition_penalty: float | None = None,
        length_penalty: float = 1.0,
        speed: float | None = None,
        seed: int | None = None,
        guard: bool | None = None,
    ) -> AsyncGenerator[PcmChunk, None]:
        """The asynchronous form of `stream`. `language` is a code as `en` or `ar`."""
        del length_penalty  # without beams it has nothing to act on
        if speaker and speaker_wav:
            raise UsageError("give speaker or speaker_wav, not both")
        options = VoiceOptions(
            language=language,
            speaker=speaker or None,
            style=style or None,
            recordings=_paths(speaker_wav) or None,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            repetition_penalty=repetition_penalty,
            speed=speed,
            seed=seed,
            guard=guard,
        )
        voice = await asyncio.to_thread(self.voice.using, options)
        await voice.speech.warm()
        speak = spoken if isinstance(text, AsyncIterator) else said
        async with aclosing(speak(voice, clauses(voice, text))) as chunks:
            async for chunk in chunks:
                yield chunk

    def close(self) -> None:
        """Free engines and threads."""
        self._parts.close()


def _paths(recordings: str | Path | Sequence[str | Path] | None) -> tuple[Path, ...]:
    if isinstance(recordings, str | Path):
        return (Path(recordings),)
    return tuple(Path(recording) for recording in recordings or ())
