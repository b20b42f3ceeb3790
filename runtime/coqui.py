"""coqui-tts's Python interface without torch, for programs that were written for it.

    tts = TTS("tts_models/en/vctk/vits")
    tts.tts_to_file("It is four o'clock.", speaker=tts.speakers[0], file_path="clock.wav")

Source of names and meanings: coqui-tts 0.28, `TTS.api.TTS`. docs/coqui-names.md says what differs.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.runtime.audio.encode import WavFile
from voxturn.runtime.closing import Closing
from voxturn.runtime.conversion import Recordings, VoiceConverter, recordings_of
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.base import Voice, VoiceOptions, family_of
from voxturn.runtime.families.convert.converted import Converted
from voxturn.runtime.families.pipe import clauses, said
from voxturn.runtime.flow.portal import Iterated
from voxturn.runtime.messages import PcmChunk, Samples
from voxturn.runtime.models.compatible import TASKS
from voxturn.runtime.models.fetch import Progress
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store, is_artifact, quiet
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.prepare import bring_model
from voxturn.runtime.profile import load_profile
from voxturn.runtime.progress import Bar
from voxturn.runtime.text.filter import PassAll
from voxturn.runtime.turn.split import Split

_CHUNKS_AHEAD = 64
_CONVERTER = "voice_conversion_models/multilingual/multi-dataset/openvoice_v2"


class TTS(Closing):
    """A loaded voice, or a converter of voices. Close it when done, or use it as
    `with TTS(…) as tts: …`."""

    def __init__(
        self,
        model_name: str = "",
        *,
        model_path: str | Path | None = None,
        progress_bar: bool = True,
        store: Store | None = None,
    ) -> None:
        """`model_name` is one of `list_models`, which is pulled and exported where it is not here;
        `model_path` the folder of an exported artifact.

        Raises `ConfigError`, `ModelError`, `ResourceError` or `UsageError`.
        """
        if bool(model_name) == bool(model_path):
            raise UsageError("give model_name or model_path, one of them")
        store, progress = store or Store(), Bar() if progress_bar else quiet
        folder = _here(Path(model_path)) if model_path else _brought(model_name, store, progress)
        manifest = Manifest.read(folder)
        family = family_of(manifest.kind)
        task = family.task if family is not None else ""
        self._store = store
        self._progress = progress
        self._parts: LoadedParts | None = None
        self._converter: VoiceConverter | None = None
        if task == TASKS["convert"]:
            self._converter = VoiceConverter.load(folder, store=store, progress=progress)
            return
        if family is None or task != TASKS["speak"]:
            raise UsageError(f"{model_name or model_path}: is of kind {manifest.kind!r}, no voice")
        profile = load_profile("cpu").with_voice(folder, manifest, tuple(family.roles))
        self._max_chars = profile.speak.max_chars
        self._parts = LoadedParts(replace(profile, language="auto"), store, progress=progress)
        try:
            self._loaded = self._parts.voice()
        except BaseException:
            self._parts.close()
            raise

    @property
    def _voice(self) -> Voice:
        """What speaks. Raises `UsageError` where it is a converter."""
        if self._parts is None:
            raise UsageError("this model converts voices and does not speak; use voice_conversion")
        return self._loaded

    @staticmethod
    def list_models() -> list[str]:
        """The names of all voices and converters, coqui-tts's own among them."""
        registry, tasks = Registry.read(), (TASKS["speak"], TASKS["convert"])
        named = [n for n, model in registry.models.items() if model.task in tasks]
        voices = set(named)
        return named + [n for n, alias in registry.aliases.items() if alias.model in voices]

    @property
    def output_sample_rate(self) -> int:
        """Of its samples, in Hz."""
        if self._parts is None and self._converter is not None:
            return self._converter.rate
        return self._voice.rate

    @property
    def speakers(self) -> list[str] | None:
        """The names of its speakers; None where it has one without a name."""
        return list(self._voice.speakers) or None if self._parts else None

    @property
    def languages(self) -> list[str] | None:
        """The codes of its languages; None where it has one."""
        return list(self._voice.languages) if self.is_multi_lingual else None

    @property
    def is_multi_speaker(self) -> bool:
        """Whether it has several speakers."""
        return self._parts is not None and len(self._voice.speakers) > 1

    @property
    def is_multi_lingual(self) -> bool:
        """Whether it speaks several languages."""
        return self._parts is not None and len(self._voice.languages) > 1

    def to(self, device: str) -> TTS:
        """Itself. Raises `UsageError` for another device than `cpu`: a GPU is a profile's."""
        if str(device) != "cpu":
            raise UsageError(f"device {device!r}: only cpu; for a GPU use a profile")
        return self

    def tts(self, text: str, **options: Any) -> Samples:
        """A text as samples, float32 `[n]` at `output_sample_rate`. Options as `stream`'s."""
        return np.concatenate([chunk.samples for chunk in self.stream(text, **options)])

    def tts_to_file(self, text: str, file_path: str | Path = "output.wav", **options: Any) -> str:
        """A text into a WAV file, which appears when it is whole; its path. Options as `stream`'s."""
        with WavFile(file_path, self.output_sample_rate) as sink:
            for chunk in self.stream(text, **options):
                sink.write(chunk.samples)
        return str(file_path)

    def stream(
        self,
        text: str,
        *,
        speaker: str | None = None,
        language: str | None = None,
        speaker_wav: str | Path | Sequence[str | Path] | None = None,
        split_sentences: bool = True,
        speed: float | None = None,
        seed: int | None = None,
    ) -> Iterator[PcmChunk]:
        """Audio while it is made; close the iterator to stop.

        `speaker` is one of `speakers`, `language` one of `languages`; `speaker_wav`: recordings of
        a speaker to clone; `split_sentences`: speak sentence by sentence. Raises `EmptyText`,
        `UnknownVoice`, `UnsupportedLanguage`, `UsageError`, `AudioError`.
        """
        if self.is_multi_lingual and not language:
            raise UsageError(f"language is missing; one of {', '.join(self._voice.languages)}")
        wavs = [speaker_wav] if isinstance(speaker_wav, str | Path) else speaker_wav or ()
        options = VoiceOptions(
            language=language or None,
            speaker=speaker or None,
            recordings=tuple(map(Path, wavs)) or None,
            speed=speed,
            seed=seed,
        )
        return self._spoken(self._voice, text, options, split_sentences)

    def load_vc_model_by_name(self, model_name: str) -> None:
        """Load a converter, an artifact's folder or one of `list_models`, for `tts_with_vc`, in place of
        the one that is here.

        Raises as the class does.
        """
        here = is_artifact(model_name)
        folder = Path(model_name) if here else _brought(model_name, self._store, self._progress)
        before = self._converter
        self._converter = VoiceConverter.load(folder, store=self._store, progress=self._progress)
        if before is not None:
            before.close()

    def voice_conversion(self, source_wav: str | Path, target_wav: Recordings) -> Samples:
        """A recording in the voice of others, float32 `[n]` at the converter's rate.

        Raises `AudioError`, and `UsageError` where this model is no converter.
        """
        return self._conversion.convert(source_wav, target_wav)

    def stream_conversion(
        self, source_wav: str | Path, target_wav: Recordings
    ) -> Iterator[PcmChunk]:
        """The same while it is made."""
        return self._conversion.stream(source_wav, target_wav)

    def voice_conversion_to_file(
        self,
        source_wav: str | Path,
        target_wav: Recordings,
        *,
        file_path: str | Path = "output.wav",
    ) -> str:
        """The same into a WAV file, which appears when it is whole; its path."""
        return str(self._conversion.convert_to_file(source_wav, target_wav, file_path))

    def tts_with_vc(self, text: str, *, speaker_wav: Recordings, **options: Any) -> Samples:
        """A text in the voice of recordings, by a converter: OpenVoice v2 where none was loaded.
        Options as `stream_with_vc`'s."""
        chunks = self.stream_with_vc(text, speaker_wav=speaker_wav, **options)
        return np.concatenate([chunk.samples for chunk in chunks])

    def tts_with_vc_to_file(
        self,
        text: str,
        *,
        speaker_wav: Recordings,
        file_path: str | Path = "output.wav",
        **options: Any,
    ) -> str:
        """The same into a WAV file, which appears when it is whole; its path."""
        chunks = self.stream_with_vc(text, speaker_wav=speaker_wav, **options)
        with WavFile(file_path, self._conversion.rate) as sink:
            for chunk in chunks:
                sink.write(chunk.samples)
        return str(file_path)

    def stream_with_vc(
        self,
        text: str,
        *,
        speaker_wav: Recordings,
        speaker: str | None = None,
        language: str | None = None,
        split_sentences: bool = True,
    ) -> Iterator[PcmChunk]:
        """Audio in the voice of recordings while it is made; as `stream`."""
        voice = self._voice
        if self._converter is None:
            self.load_vc_model_by_name(_CONVERTER)
        converted = Converted(voice, self._conversion.converter)
        recordings = recordings_of(speaker_wav)
        options = VoiceOptions(
            language=language or None, speaker=speaker or None, recordings=recordings
        )
        return self._spoken(converted, text, options, split_sentences)

    @property
    def _conversion(self) -> VoiceConverter:
        """The converter. Raises `UsageError` where none is loaded."""
        if self._converter is None:
            raise UsageError("this model converts no voices; name one of voice_conversion_models")
        return self._converter

    def _spoken(
        self, voice: Voice, text: str, options: VoiceOptions, split: bool
    ) -> Iterator[PcmChunk]:
        return Iterated(lambda: self._said(voice, text, options, split), _CHUNKS_AHEAD)

    async def _said(
        self, voice: Voice, text: str, options: VoiceOptions, split: bool
    ) -> AsyncGenerator[PcmChunk, None]:
        voice = await asyncio.to_thread(voice.using, options)
        whole = Split(PassAll(), self._max_chars, voice.language).whole
        async with aclosing(said(voice, whole(text) if split else clauses(voice, text))) as chunks:
            async for chunk in chunks:
                yield chunk

    def close(self) -> None:
        """Free engines and threads."""
        for each in (self._parts, self._converter):
            if each is not None:
                each.close()


def _here(path: Path) -> Path:
    """The folder of an artifact. Raises `UsageError` for another."""
    if not is_artifact(str(path)):
        raise UsageError(
            f"{path}: is no exported artifact; `voxturn export coqui --checkpoint DIR -o OUT` makes one"
        )
    return path


def _brought(name: str, store: Store, progress: Progress) -> Path:
    """The artifact of a name of the registry, pulled and exported where it is not here."""
    registry = Registry.read()
    model, _ = registry.resolve(name)
    precision = model.precisions[0]
    bring_model(name, precision, store, registry, progress)
    return store.artifact(model, precision)[0]
