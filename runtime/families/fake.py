"""Whole stages without models, for our tests and for those of callers: a turn on these takes no
time and always ends alike.

`write_profile` writes a profile whose every stage is one of these. It loads as any other does: in
process, behind Triton's handlers, from the command line.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.runtime.errors import UnknownVoice, UnsupportedLanguage
from voxturn.runtime.families.base import (
    WORDS,
    Candidate,
    Family,
    NoPreparation,
    Parts,
    VoiceOptions,
)
from voxturn.runtime.families.options import HearingOptions, ReplyOptions, ReplyReport
from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.messages import (
    Message,
    Partial,
    PcmChunk,
    ReplyToken,
    Samples,
    Sentence,
    Speaking,
    ToolCall,
    ToolSpec,
    Transcript,
    Word,
)
from voxturn.runtime.models.manifest import FAKE, MANIFEST, Manifest
from voxturn.runtime.text.language import Languages, find, is_auto
from voxturn.runtime.text.tokenizer import StopStrings
from voxturn.runtime.text.tool_calls import CALL_FORMS, CallParser

_RATE = 24_000
_CHUNK_S, _CHARACTER_S = 0.1, 0.05


class FakeActivity:
    """A `VoiceActivity`: whatever is louder than `level` is speech."""

    window = 512

    def __init__(self, level: float = 0.01) -> None:
        self._level = level

    def stream(self) -> FakeActivityStream:
        """Begin a stream of samples."""
        return FakeActivityStream(self._level)


class FakeActivityStream:
    """An `ActivityStream`."""

    def __init__(self, level: float) -> None:
        self._level = level
        self._tail = np.zeros(0, np.float32)

    async def push(self, samples: Samples) -> list[tuple[Samples, float]]:
        """The windows that `samples` complete, each with 0.0 or 1.0."""
        samples = np.concatenate([self._tail, samples])
        whole = samples.size - samples.size % FakeActivity.window
        self._tail = samples[whole:]
        windows = samples[:whole].reshape(-1, FakeActivity.window)
        return [(window, float(np.abs(window).max() > self._level)) for window in windows]


class FakeRecogniser:
    """A `Recogniser` that hears the same words in whatever is not silent. `asked` are the
    options of its requests."""

    def __init__(self, text: str, language: str = "en") -> None:
        self.text = text
        self.language = language
        self.asked: list[HearingOptions] = []

    def using(self, options: HearingOptions) -> FakeRecogniser:
        """The same words in another language, in English if they are to be translated."""
        self.asked.append(options)
        other = copy(self)
        if options.language and not is_auto(options.language):
            other.language = Languages.of(options.language).first
        if options.translate:
            other.language = "en"
        return other

    def hear(self, prior: str = "") -> FakeHearing:
        """Begin an utterance."""
        return FakeHearing(self)

    async def warm(self) -> None:
        """Nothing to compute."""


class FakeHearing:
    """A `Hearing`."""

    def __init__(self, recogniser: FakeRecogniser) -> None:
        self._recogniser = recogniser

    async def partial(self, speaking: Speaking) -> Partial | None:
        """All words, none of them stable."""
        return Partial("", self._recogniser.text, self._recogniser.language, speaking.start)

    async def final(self, samples: Samples, words: bool = False) -> Transcript:
        """The words, evenly over the samples if their times are wanted; empty text for silence."""
        text = self._recogniser.text if np.any(samples) else ""
        return Transcript(
            text, self._recogniser.language, words=_evenly(text, samples) if words else ()
        )


def _evenly(text: str, samples: Samples) -> tuple[Word, ...]:
    """The words of a text, each as long as the others."""
    words = text.split()
    each_s = samples.size / 16_000 / max(1, len(words))
    return tuple(Word(word, i * each_s, (i + 1) * each_s) for i, word in enumerate(words))


class FakeReplier:
    """A `Replier` with one answer, which it gives word by word.

    `further` are its answers once the calls in it have their results, one for each round. It writes
    calls as Qwen3 does.
    """

    takes_tools = True

    def __init__(self, answer: str, *further: str) -> None:
        self.answer = answer
        self.further = further
        self.dialogues: list[list[Message]] = []
        self.asked: list[ReplyOptions] = []
        self._options = ReplyOptions()
        self._report = ReplyReport()

    def using(self, options: ReplyOptions, report: ReplyReport) -> FakeReplier:
        """The same answer, of `max_tokens` words at most, up to the first of `stops`."""
        self.asked.append(options)
        other = copy(self)
        other._options = options
        other._report = report
        return other

    async def __call__(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()
    ) -> AsyncGenerator[ReplyToken | ToolCall, None]:
        """The answer. The dialogue is kept in `dialogues`."""
        self.dialogues.append(list(messages))
        calls, report = CallParser(CALL_FORMS["hermes"]), self._report
        report.prompt_tokens = sum(len(message.text.split()) for message in messages)
        stops = StopStrings(self._options.stops or ())
        words = self.pieces(self._answer(messages))
        most = self._options.max_tokens or len(words)
        for number, written in enumerate(words[:most]):
            report.completion_tokens += 1
            report.full = number + 1 == most < len(words)
            word = stops.push(written)
            for item in calls.push(word) if tools else [word]:
                yield _written(item, number)
            if stops.hit:
                break
        rest = stops.flush()
        for item in [*calls.push(rest), *calls.flush()] if tools else [rest] if rest else []:
            yield _written(item, 0)

    def pieces(self, answer: str) -> list[str]:
        """An answer as it comes."""
        return [f" {word}" if i else word for i, word in enumerate(answer.split(" "))]

    def _answer(self, messages: Sequence[Message]) -> str:
        """The answer to the last question, after as many rounds of calls as it has had."""
        rounds = 0
        for message in messages:
            rounds = 0 if message.role == "user" else rounds + bool(message.calls)
        return [self.answer, *self.further][min(rounds, len(self.further))]

    def fitted(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> list[Message]:
        """The dialogue as it is."""
        return list(messages)

    async def warm(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> None:
        """Nothing to compute."""


def _written(item: str | ToolCall, number: int) -> ReplyToken | ToolCall:
    ids = (number,)
    return ReplyToken(item, ids) if isinstance(item, str) else replace(item, ids=ids)


class FakeVoice:
    """A `Voice`: a tone of 50 ms for each character, in chunks of 100 ms. What it was given to say is
    kept in `said`."""

    texts = WORDS

    def __init__(
        self,
        language: str = "en",
        rate: int = _RATE,
        languages: Sequence[str] = (),
        speakers: Sequence[str] = (),
    ) -> None:
        self.language = language
        self.languages = tuple(languages) or (language,)
        self.rate = rate
        self.speakers = tuple(speakers)
        self.speaker = ""
        self.said: list[Sentence] = []

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        """The tones of each sentence."""
        start = 0
        try:
            async for sentence in sentences:
                self.said.append(sentence)
                samples = self._tone(len(sentence.text))
                size = round(_CHUNK_S * self.rate)
                for begin in range(0, samples.size, size):
                    piece = samples[begin : begin + size]
                    final = begin + size >= samples.size
                    yield PcmChunk(piece, self.rate, start, sentence, final=final)
                    start += piece.size
        finally:
            await close_iterator(sentences)

    def using(self, options: VoiceOptions) -> FakeVoice:
        """The same in another language or by another speaker. Raises `UsageError` for other options,
        `UnsupportedLanguage`, `UnknownVoice`."""
        known = frozenset({"language", "speaker"} if self.speakers else {"language"})
        values = options.only(known, "a fake voice")
        language = find(values.get("language", self.language), self.languages.__contains__)
        if not language:
            spoken = ", ".join(self.languages)
            raise UnsupportedLanguage(f"this voice speaks {spoken}, not {options.language!r}")
        speaker = values.get("speaker", self.speaker)
        if speaker and speaker not in self.speakers:
            raise UnknownVoice(f"no speaker {speaker!r}; there are {', '.join(self.speakers)}")
        other = copy(self)
        other.language = language
        other.speaker = speaker
        other.said = []
        return other

    def preparation(self) -> NoPreparation:
        """Nothing is computed of a sentence before it is whole."""
        return NoPreparation()

    async def warm(self, later: bool = False) -> None:
        """Nothing to compute."""

    def _tone(self, characters: int) -> Samples:
        seconds = np.arange(round(characters * _CHARACTER_S * self.rate)) / self.rate
        return (0.3 * np.sin(2 * np.pi * 220 * seconds)).astype(np.float32)


def _properties(parts: Parts, stage: str) -> Mapping[str, Any]:
    return parts.stage(stage).manifest.properties


def _activity(parts: Parts) -> FakeActivity:
    return FakeActivity(float(_properties(parts, "listen")["level"]))


def _recogniser(parts: Parts) -> FakeRecogniser:
    return FakeRecogniser(str(_properties(parts, "transcribe")["text"]), parts.languages.first)


def _replier(parts: Parts) -> FakeReplier:
    about = _properties(parts, "reply")
    return FakeReplier(str(about["answer"]), *about.get("further", ()))


def _voice(parts: Parts) -> FakeVoice:
    about = _properties(parts, "speak")
    language = parts.languages.first
    voice = FakeVoice(
        language, int(about["rate"]), about.get("languages", ()), about.get("speakers", ())
    )
    return voice.using(VoiceOptions(speaker=parts.stage("speak").option("voice", None)))


def _check_voice(candidate: Candidate) -> None:
    about = candidate.manifest.properties
    languages = about.get("languages", (candidate.language,))
    voice = FakeVoice(languages[0], int(about["rate"]), languages, about.get("speakers", ()))
    speaker = getattr(candidate.settings, "voice", None)
    voice.using(VoiceOptions(language=candidate.language, speaker=speaker))


ACTIVITY = Family("fake-activity", "voice-activity", {"listen": ()}, _activity)
RECOGNISER = Family("fake-recogniser", "speech-to-text", {"transcribe": ()}, _recogniser)
REPLIER = Family("fake-replier", "text-generation", {"reply": ()}, _replier)
VOICE = Family(
    "fake-voice",
    "text-to-speech",
    {"speak": ()},
    _voice,
    options={"speak": frozenset({"voice"})},
    check=_check_voice,
)


def write_profile(
    folder: Path,
    heard: str = "What is the capital of France?",
    answer: str = "Paris is the capital. It lies on the Seine.",
    language: str = "en",
    further: Sequence[str] = (),
) -> Path:
    """Write a profile on fakes, and their artifacts, into a folder. Returns the profile's file.

    `further`: the answers once the calls in `answer` have their results.
    """
    properties: dict[str, tuple[Family, dict[str, Any]]] = {
        "listen": (ACTIVITY, {"level": 0.01}),
        "transcribe": (RECOGNISER, {"text": heard}),
        "reply": (REPLIER, {"answer": answer, "further": list(further)}),
        "speak": (VOICE, {"rate": _RATE}),
    }
    lines = [
        'about = "Stages without models"',
        f'language = "{language}"',
        '[filter]\nkind = "off"',
    ]
    for stage, (family, values) in properties.items():
        artifact = folder / stage
        artifact.mkdir(parents=True)
        manifest = Manifest(
            family.kind,
            family.kind,
            "fp32",
            {},
            {},
            properties=values,
            synthetic=True,
            task=family.task,
            dialect=FAKE,
        )
        (artifact / MANIFEST).write_text(manifest.to_json(), encoding="utf-8")
        lines.append(f'[{stage}]\nmodel = "{artifact}"\nexecutor = "fake"')
    path = folder / "fake.toml"
    path.write_text("\n\n".join(lines) + "\n", encoding="utf-8")
    return path
