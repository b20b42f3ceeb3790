"""Voice conversion in a few lines of Python.

with VoiceConverter.load("openvoice") as converter:
    converter.convert_to_file("me.wav", to="ana.wav", file_path="as-ana.wav")
    for chunk in converter.stream("me.wav", to="ana.wav"): play(chunk.samples)
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.runtime.audio.container import ReadReport
from voxturn.runtime.audio.encode import WavFile
from voxturn.runtime.audio.limits import LONGEST_S
from voxturn.runtime.audio.opening import Source
from voxturn.runtime.closing import Closing
from voxturn.runtime.errors import EmptyAudio
from voxturn.runtime.families.base import ConversionOptions, Converter
from voxturn.runtime.flow.portal import Iterated
from voxturn.runtime.frames import samples_from
from voxturn.runtime.messages import PcmChunk, Samples
from voxturn.runtime.models.fetch import Progress
from voxturn.runtime.models.store import Store, quiet
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import load_profile
from voxturn.runtime.turn.trace import StageInfo

_CHUNKS_AHEAD = 64
Recordings = str | Path | Sequence[str | Path]


class VoiceConverter(Closing):
    """A loaded converter. Thread-safe. Close it when done."""

    def __init__(self, parts: LoadedParts, converter: Converter) -> None:
        self._parts = parts
        self.converter = converter

    @classmethod
    def load(
        cls, model: str | Path, *, store: Store | None = None, progress: Progress = quiet
    ) -> VoiceConverter:
        """Load an artifact by its folder, or by its name in the registry.

        Raises `ConfigError`, `ModelError` or `ResourceError`.
        """
        profile = replace(load_profile("cpu"), name=str(model)).with_converter(str(model))
        parts = LoadedParts(profile, store, progress=progress)
        try:
            converter = parts.converter()
            assert converter is not None  # the profile has one
            return cls(parts, converter)
        except BaseException:
            parts.close()
            raise

    @property
    def rate(self) -> int:
        """Of its samples, in Hz."""
        return self.converter.rate

    @property
    def info(self) -> StageInfo:
        """Which artifact converts, and on what."""
        return self._parts.info["convert"]

    def using(self, options: ConversionOptions) -> VoiceConverter:
        """The same with other options, of the same engines: close one of both. Blocks and raises as
        `Converter.using`."""
        return VoiceConverter(self._parts, self.converter.using(options))

    def convert(self, source: Source | Samples, to: Recordings, **options: Any) -> Samples:
        """A whole recording in another voice, float32 `[n]` at `rate` Hz. Arguments as `stream`'s."""
        return np.concatenate([chunk.samples for chunk in self.stream(source, to, **options)])

    def convert_to_file(
        self, source: Source | Samples, to: Recordings, file_path: str | Path, **options: Any
    ) -> Path:
        """The same into a WAV file, which appears when it is whole. Options as `stream`'s."""
        with WavFile(file_path, self.rate) as sink:
            for chunk in self.stream(source, to, **options):
                sink.write(chunk.samples)
        return Path(file_path)

    def stream(
        self,
        source: Source | Samples,
        to: Recordings = (),
        *,
        speaker: Recordings = (),
        live: bool | None = None,
        seed: int | None = None,
        noise: float | None = None,
        raw_rate: int = 0,
        track: int = 0,
        report: ReadReport | None = None,
        longest_s: float = LONGEST_S,
    ) -> Iterator[PcmChunk]:
        """Audio while it is made, of a file, a binary stream, or samples at `rate` Hz; close the
        iterator to stop.

        `to`: recordings of the voice that it is to have (none: as it is set); `speaker`: of who speaks (none: he is heard
        in `source`); `live`, `seed`, `noise` as in `ConversionOptions`; the rest as in
        `samples_from`. Raises `AudioError`, `UsageError`.
        """
        options = ConversionOptions(
            to=recordings_of(to) or None,
            source=recordings_of(speaker) or None,
            live=live,
            seed=seed,
            noise=noise,
        )
        reading: dict[str, Any] = {
            "raw_rate": raw_rate,
            "track": track,
            "report": report,
            "longest_s": longest_s,
        }
        return Iterated(lambda: self._stream(source, options, reading), _CHUNKS_AHEAD)

    async def _stream(
        self, source: Source | Samples, options: ConversionOptions, reading: dict[str, Any]
    ) -> AsyncGenerator[PcmChunk, None]:
        converter = await asyncio.to_thread(self.converter.using, options)
        if isinstance(source, np.ndarray):
            audio = _once(source)
        else:
            audio = samples_from(source, self.rate, **reading)
        empty = True
        async with aclosing(converter(audio, self.rate)) as chunks:
            async for chunk in chunks:
                empty = False
                yield chunk
        if empty:
            raise EmptyAudio("there are no samples to convert")

    def close(self) -> None:
        """Free engines and threads."""
        self._parts.close()


def recordings_of(recordings: Recordings) -> tuple[Path, ...]:
    """The files of one or several."""
    if isinstance(recordings, str | Path):
        return (Path(recordings),)
    return tuple(map(Path, recordings))


async def _once(samples: Samples) -> AsyncGenerator[Samples, None]:
    yield samples
