"""XTTS v2 in a few lines of Python, shaped as coqui-tts's users know it.

voice = XTTS.load("xtts-int8")
samples = voice.tts("It is four o'clock.", language="en", speaker="Ana")
voice.tts_to_file("مرحبا", language="ar", speaker_wav="me.wav", file_path="hello.wav")
for chunk in voice.stream(words_as_they_come, language="en", speaker="Ana"): play(chunk.samples)
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from voxturn.runtime.assemble import Assembler, warm_shapes, warm_voice
from voxturn.runtime.audio.decode import check_file
from voxturn.runtime.audio.encode import WavFile
from voxturn.runtime.audio.window import Plan
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.decode.service import TokenService
from voxturn.runtime.errors import EmptyText, UnsupportedLanguage, UsageError
from voxturn.runtime.families.xtts.prompt import XttsIds
from voxturn.runtime.families.xtts.speak import XttsSpeak
from voxturn.runtime.families.xtts.voices import Cloner, Voice, VoiceStore
from voxturn.runtime.flow.handoff import Ahead, cancel_and_wait, close_iterator
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.flow.portal import Iterated
from voxturn.runtime.messages import PcmChunk, Samples, Sentence
from voxturn.runtime.models.manifest import Manifest, sha256_of
from voxturn.runtime.models.store import Store
from voxturn.runtime.profile import SpeakEngine, load_profile, xtts_vocoder
from voxturn.runtime.text.normalize import language_of
from voxturn.runtime.text.split import ClauseSplitter
from voxturn.runtime.turn.trace import StageInfo

T = TypeVar("T")
_CHUNKS_AHEAD, _CLONES, _TOKENS_AHEAD = 64, 32, 4
_PATIENCE_S = 0.05


class XTTS:
    """A loaded artifact. Thread-safe; streams of several callers share one batched engine. Close it when done."""

    def __init__(self, make: Assembler, speak: XttsSpeak) -> None:
        self._make, self._speak = make, speak
        self._vocode = make.vocode()
        self._cloner: Cloner | None = None
        self._clones: dict[tuple[str, ...], Voice] = {}
        self._lock = threading.Lock()
        self.rate = self._vocode.rate
        self.languages = speak.tokenizer.languages

    @classmethod
    def load(
        cls,
        artifact: str | Path,
        *,
        slots: int = 1,
        threads: int = 0,
        executor: str = "onnx",
        vocoder: str = "",
        compute: str = "auto",
        store: Store | None = None,
    ) -> XTTS:
        """Load an artifact's folder. `slots`: streams at once.

        `executor` runs the GPT, `vocoder` the vocoder (openvino if it is installed); `compute`: what OpenVINO computes it
        in: `fp32`, `bf16`, or `auto`, the faster one on this processor. Samples in bf16 differ from fp32's by a tenth (20
        dB), speech does not (PESQ 4.5).
        """
        manifest = Manifest.read(Path(artifact))
        if manifest.kind != "xtts":
            raise UsageError(f"{artifact}: is a {manifest.kind} artifact, not XTTS")
        if slots < 1:
            raise UsageError(f"slots: {slots} streams at once are none; give 1 or more")
        speak = SpeakEngine(str(artifact), executor, manifest.precision, threads, slots=slots)
        vocode = xtts_vocoder(artifact, threads, vocoder, compute)
        make = Assembler(
            replace(load_profile("cpu"), name=str(artifact), speak=speak, vocode=vocode), store
        )
        try:
            return cls(make, make.xtts_speak())
        except BaseException:
            make.close()
            raise

    def speakers(self) -> list[str]:
        """The names of the voices that are here."""
        return list(self._voices().names())

    @property
    def info(self) -> StageInfo:
        """Which artifact speaks, and on what."""
        return self._make.info["speak"]

    @property
    def vocoder_info(self) -> StageInfo:
        """What vocodes it, and in which arithmetic."""
        return self._make.info["vocode"]

    @property
    def service(self) -> TokenService:
        """The token engine."""
        return self._speak.service

    @property
    def windows(self) -> Plan:
        """The vocoder's windows; `warm` chooses them by this machine's speed. Set them for the same cuts everywhere."""
        return self._vocode.plan

    @windows.setter
    def windows(self, plan: Plan) -> None:
        self._vocode.plan, self._speak.urgent = plan, self._vocode.urgent_for(plan)

    @property
    def ids(self) -> XttsIds:
        """The sizes and ids of the checkpoint."""
        return self._speak.ids

    @property
    def width(self) -> int:
        """Of a voice's latents."""
        return self._voices().width

    def warm(self) -> None:
        """Compute what the first stream would wait for: kernels for every window of the vocoder, the default voice's keys."""
        asyncio.run(self.awarm())

    async def awarm(self) -> None:
        """The asynchronous twin of `warm`."""
        await self.awarm_first()
        await warm_shapes(self._speak, self._vocode)

    async def awarm_first(self) -> None:
        """The part of `warm` that the first audio of a stream would wait for."""
        await warm_voice(self._speak, self._vocode)

    async def awarm_rest(self) -> None:
        """The other part, while there are no streams: kernels for later windows."""
        await warm_shapes(self._speak, self._vocode, idle=True)

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
        """Audio while it is made, of a text or of pieces of text while they come. Close the iterator to stop.

        Options: `language`; `speaker` (a name) or `speaker_wav` (a recording or several); `temperature`, `top_k`,
        `top_p`, `repetition_penalty`, `speed`, `seed` as upstream; `length_penalty` is accepted and does nothing without beams;
        `guard=False` lets speech run on whose stop token was missed.
        """
        return Iterated(lambda: self.astream(text, **options), _CHUNKS_AHEAD)

    async def astream(
        self,
        text: str | Iterable[str] | AsyncIterator[str],
        *,
        language: str,
        speaker: str | None = "",
        speaker_wav: str | Path | Sequence[str | Path] | None = (),
        temperature: float = 0.75,
        top_k: int = 50,
        top_p: float = 0.85,
        repetition_penalty: float = 10.0,
        length_penalty: float = 1.0,
        speed: float = 1.0,
        seed: int = 0,
        guard: bool = True,
    ) -> AsyncGenerator[PcmChunk, None]:
        """The asynchronous twin of `stream`. `language` is a code as `en` or `ar`."""
        del length_penalty  # without beams it has nothing to act on
        sampling = Sampling(temperature, top_k, top_p, 0.0, repetition_penalty, seed)
        if not 0.25 <= speed <= 4.0:
            raise UsageError(f"speed {speed:g}: must be between 0.25 and 4")
        language = language_of(language)
        if language not in self.languages:
            raise UnsupportedLanguage(
                f"language {language!r} is not one of {', '.join(self.languages)}"
            )
        voice = await asyncio.to_thread(self._voice, speaker or "", speaker_wav or ())
        stage = self._speak.with_voice(voice, language, sampling, speed, guard)
        await stage.warm()
        codes = Counted(stage(_sentences(text, stage)))
        chunks = Ahead(self._vocode(Ahead(codes, _CHUNKS_AHEAD)), _CHUNKS_AHEAD)
        try:
            async for chunk in chunks:
                yield chunk
            if not codes.count and not isinstance(text, AsyncIterator):
                raise EmptyText("there is nothing in the text that can be spoken")
        finally:
            await chunks.aclose()

    def close(self) -> None:
        """Free engines and threads."""
        self._make.close()

    def __enter__(self) -> XTTS:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def _voices(self) -> VoiceStore:
        assert self._make.voices is not None  # made with the stage
        return self._make.voices

    def _voice(self, speaker: str, recordings: str | Path | Sequence[str | Path]) -> Voice:
        paths = (
            [Path(recordings)]
            if isinstance(recordings, str | Path)
            else [Path(r) for r in recordings]
        )
        if bool(speaker) and bool(paths):
            raise UsageError("give speaker or speaker_wav, not both")
        if not paths:
            if not speaker and self._speak.voice is not None:
                return self._speak.voice
            return self._voices().load(speaker)
        with self._lock:
            for path in paths:
                check_file(path)
            key = tuple(sha256_of(path) for path in paths)
            if key not in self._clones:
                self._cloner = self._cloner or self._make.cloner()
                self._clones[key] = self._cloner.clone("clone", paths).voice
                if len(self._clones) > _CLONES:
                    del self._clones[next(iter(self._clones))]
            return self._clones[key]


class Counted(AsyncIterator[T]):
    """The items of `source`, and how many there were. Closing this closes it."""

    def __init__(self, source: AsyncIterator[T]) -> None:
        self._source = source
        self.count = 0

    async def __anext__(self) -> T:
        item = await anext(self._source)
        self.count += 1
        return item

    async def aclose(self) -> None:
        """Close the source."""
        await close_iterator(self._source)


async def _sentences(
    text: str | Iterable[str] | AsyncIterator[str], stage: XttsSpeak
) -> AsyncIterator[Sentence]:
    """A whole text is one sentence for the stage, which splits it; pieces are spoken clause by clause.

    What has come of a clause is computed while the rest is still being written.
    """
    if isinstance(text, str):
        yield Sentence(text, 0)
        return
    splitter, ahead, index = ClauseSplitter(language=stage.language), Preparation(stage), 0
    pieces = text if isinstance(text, AsyncIterator) else _pieces(iter(text))
    try:
        async for piece in pieces:
            for clause in splitter.push(piece):
                yield Sentence(clause, index)
                index += 1
            ahead.update(splitter.pending)
        for clause in splitter.flush():
            yield Sentence(clause, index)
            index += 1
    finally:
        await ahead.aclose()
        await close_iterator(pieces)


async def _pieces(pieces: Iterator[str]) -> AsyncGenerator[str, None]:
    lane = Lane("text")
    stream = lane.stream(lambda: pieces)
    try:
        async for piece in stream:
            yield piece
    finally:
        await stream.aclose()
        lane.close(_PATIENCE_S)  # an iterator that waits for its next piece is left behind


class Preparation:
    """Computes the beginning of a clause that is being written, one piece of it at a time, in a task of its own."""

    def __init__(self, stage: XttsSpeak) -> None:
        self._stage = stage
        self._task: asyncio.Task[None] | None = None
        self._done = 0

    def update(self, text: str) -> None:
        """What has come of the clause so far."""
        if self._task is not None and not self._task.done():
            return
        if self._task is not None:
            self._task.result()  # its error is the caller's
        tokens = self._stage.beginning_of(text)[: self._stage.ids.max_text]
        if len(tokens) < self._done:
            self._done = 0  # another clause
        if len(tokens) >= self._done + _TOKENS_AHEAD:
            self._done = len(tokens)
            self._task = asyncio.create_task(self._stage.prepare(tokens))

    async def aclose(self) -> None:
        """Stop what is under way."""
        if self._task is not None:
            await cancel_and_wait(self._task)
