"""What a family of models is, and the protocols that a turn is composed of: hear, reply, speak.
Needs numpy alone.

A family is found by its entry point in the group `voxturn.families`, which names a `Family`. It is
built from `Parts`, which give it its artifacts' graphs and token engines; it never names an
executor.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from voxturn.runtime.audio.opening import Source
from voxturn.runtime.decode.service import TokenService
from voxturn.runtime.errors import UsageError
from voxturn.runtime.flow.clock import Clock
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.flow.scheduling import Pace
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
)
from voxturn.runtime.models.manifest import Manifest, ModelContract
from voxturn.runtime.models.plugins import rows
from voxturn.runtime.protocols import GraphExecutor, SpeechToTextExecutor
from voxturn.runtime.remote.connection import Connection
from voxturn.runtime.text.language import Languages, is_auto

FAMILIES_GROUP = "voxturn.families"
MOST_NOISE = 2.0
"""Three times what voices that draw their sound are set to."""


@runtime_checkable
class VoiceActivity(Protocol):
    """Tells speech from other sound in 16 kHz audio, window by window.

    Its state is the stream's, not the model's.
    """

    window: int
    """Samples of a window."""

    def stream(self) -> ActivityStream:
        """Begin a stream of samples."""
        ...


class ActivityStream(Protocol):
    """One stream through a `VoiceActivity`."""

    async def push(self, samples: Samples) -> list[tuple[Samples, float]]:
        """The windows that `samples` complete, each with its probability of speech from 0 to 1."""
        ...


@runtime_checkable
class Hearing(Protocol):
    """One utterance on its way into words."""

    async def partial(self, speaking: Speaking) -> Partial | None:
        """What was said so far; None where nothing of it is certain enough to show."""
        ...

    async def final(self, samples: Samples, words: bool = False) -> Transcript:
        """The words in 16 kHz samples of any length, with their times if `words`; empty text where
        there are none."""
        ...


@runtime_checkable
class ClosableHearing(Protocol):
    """A `Hearing` for whose partial transcripts something is kept elsewhere."""

    def close(self) -> None:
        """No more of them are asked for; the final transcript may be, all the same. Safe to call
        twice."""
        ...


@runtime_checkable
class Recogniser(Protocol):
    """Speech to text. Safe for many utterances at once."""

    def hear(self, prior: str = "") -> Hearing:
        """Begin an utterance.

        `prior`: the tag of the language that the dialogue was in; empty if none was.
        """
        ...

    async def warm(self) -> None:
        """Compute what the first utterance would wait for."""
        ...


@runtime_checkable
class Replier(Protocol):
    """A dialogue to the text of its answer. Safe for many dialogues at once."""

    def __call__(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()
    ) -> AsyncGenerator[ReplyToken | ToolCall, None]:
        """The answer to a dialogue that ends with the user's message, or with results of calls.

        With `tools` it may have calls of them, whose text is none of the answer's. Closing this
        stops the model.
        """
        ...

    def fitted(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> list[Message]:
        """The dialogue without its oldest turns, if it has become too long for the model with an
        answer to come."""
        ...

    async def warm(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> None:
        """Compute and keep a beginning that dialogues share: the system prompt."""
        ...


@runtime_checkable
class OpensThought(Protocol):
    """A `Replier` that says whether its answers begin inside a thought, because its prompts end in
    `<think>`."""

    opens_thought: bool


def opens_thought(replier: Replier) -> bool:
    """Whether a replier's answers begin inside a thought; not where it does not say so."""
    return isinstance(replier, OpensThought) and replier.opens_thought


@runtime_checkable
class TakesTools(Protocol):
    """A `Replier` that says whether its model calls functions."""

    takes_tools: bool


def check_takes_tools(replier: Replier) -> None:
    """Raise `UsageError` for a replier that takes no tools."""
    if not (isinstance(replier, TakesTools) and replier.takes_tools):
        raise UsageError(
            "the reply's model takes no tools: its chat template has none in a known form; "
            "name a model that was taught to call functions, and export it with this version"
        )


@dataclass(frozen=True)
class VoiceOptions:
    """How a text is to be spoken; None: as the voice is set.

    `language` is a tag (BCP 47), or `auto`, which becomes None; `speaker` is a name of
    `Voice.speakers`, or what `families.mixture` reads; `style` is one that the speaker has;
    `recordings` are files to clone instead. `speed`: 2 is twice as fast. `noise`, `noise_w`: how
    much a voice that draws its sound and its durations varies them; 0 is not at all.
    """

    language: str | None = None
    speaker: str | None = None
    recordings: tuple[Path, ...] | None = None
    speed: float | None = None
    seed: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    guard: bool | None = None
    style: str | None = None
    noise: float | None = None
    noise_w: float | None = None

    def __post_init__(self) -> None:
        """Raise `UsageError` for a speed, a seed or a noise that no voice takes."""
        if self.language is not None and is_auto(self.language):
            object.__setattr__(self, "language", None)
        if self.speed is not None and not 0.25 <= self.speed <= 4.0:
            raise UsageError(f"speed {self.speed:g}: must be between 0.25 and 4")
        if self.seed is not None and not 0 <= self.seed < 1 << 64:
            raise UsageError(f"seed {self.seed}: must be from 0 to 2^64 - 1")
        for name in ("noise", "noise_w"):
            value = getattr(self, name)
            if value is not None and not 0.0 <= value <= MOST_NOISE:
                raise UsageError(f"{name} {value:g}: must be between 0 and {MOST_NOISE:g}")

    def given(self) -> dict[str, Any]:
        """The options that are not None."""
        return {name: value for name, value in vars(self).items() if value is not None}

    def only(self, known: frozenset[str], what: str) -> dict[str, Any]:
        """The given options, all of which `known` names.

        Raises `UsageError` with those that it does not.
        """
        values = self.given()
        if unknown := sorted(set(values) - known):
            raise UsageError(f"{', '.join(unknown)}: {what} has no such option")
        return values


class Preparation(Protocol):
    """Computes the beginning of a sentence that is still being written."""

    def update(self, text: str, style: str = "") -> None:
        """What has come of the sentence so far, and the style that it is to be said in."""
        ...

    async def aclose(self) -> None:
        """Stop what is under way."""
        ...


class NoPreparation:
    """Of a voice that makes no use of a sentence before it is whole."""

    def update(self, text: str, style: str = "") -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to stop."""


@runtime_checkable
class Voice(Protocol):
    """Text to speech. Safe for many texts at once. `texts`: what it wants to read.

    One of several languages says each sentence in `Sentence.language`; where that is empty, in the
    language that it is set to.

    `WORDS`: numbers, dates, signs and abbreviations are written out before it. `WRITTEN`: it does
    so itself.
    """

    texts: str

    @property
    def rate(self) -> int:
        """Of its samples, in Hz."""
        ...

    @property
    def language(self) -> str:
        """The code of the language that it is set to."""
        ...

    @property
    def languages(self) -> tuple[str, ...]:
        """The codes of all languages that it speaks."""
        ...

    @property
    def speakers(self) -> tuple[str, ...]:
        """The names of its speakers; empty where it has one that has no name."""
        ...

    def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        """Sentences as audio, chunk by chunk while it is made. Closing this stops the models."""
        ...

    def using(self, options: VoiceOptions) -> Voice:
        """The same engines with other options. Blocks where a recording is cloned.

        Raises `UsageError` for options that the family has not, `UnknownVoice`, `UnknownStyle`,
        `UnsupportedLanguage`, `AudioError`.
        """
        ...

    def preparation(self) -> Preparation:
        """What makes use of a sentence before it is whole."""
        ...

    async def warm(self, later: bool = False) -> None:
        """Compute what the first audio would wait for; with `later`, while nobody is answered, what
        later audio would."""
        ...


@runtime_checkable
class Styled(Protocol):
    """A `Voice` whose speaker has styles: a sentence is said in its own, if it is one of them."""

    @property
    def styles(self) -> tuple[str, ...]:
        """Their names."""
        ...


def styles_of(voice: Voice) -> tuple[str, ...]:
    """The styles of a voice's speaker; none where it does not say so."""
    return voice.styles if isinstance(voice, Styled) else ()


WORDS, WRITTEN = "words", "written"


@dataclass(frozen=True, eq=False)
class ConversionOptions:
    """How speech is to be converted; None: as the converter is set.

    `to`: recordings of the voice that it is to have, files, binary streams or samples at
    `Converter.rate`. `source`:
    the same of who speaks; where there are none, he is heard in what he says. `live`: it is
    converted while it is said, so that he is heard for some seconds alone and pieces are short.
    `noise`: how much the sound varies that the converter draws; 0 is not at all.
    """

    to: tuple[Source | Samples, ...] | None = None
    source: tuple[Source | Samples, ...] | None = None
    live: bool | None = None
    seed: int | None = None
    noise: float | None = None

    def __post_init__(self) -> None:
        """Raise `UsageError` for a seed or a noise that no converter takes."""
        if self.seed is not None and not 0 <= self.seed < 1 << 64:
            raise UsageError(f"seed {self.seed}: must be from 0 to 2^64 - 1")
        if self.noise is not None and not 0.0 <= self.noise <= MOST_NOISE:
            raise UsageError(f"noise {self.noise:g}: must be between 0 and {MOST_NOISE:g}")


@runtime_checkable
class Converter(Protocol):
    """Speech to the same words in another voice. Safe for many streams at once."""

    @property
    def rate(self) -> int:
        """Of the samples that it gives, in Hz."""
        ...

    @property
    def delay_s(self) -> float:
        """How much later than a sample its conversion can be given, computing apart; what it waits
        for to hear who speaks is not counted."""
        ...

    def __call__(self, audio: AsyncIterator[Samples], rate: int) -> AsyncGenerator[PcmChunk, None]:
        """Audio of a rate in Hz, in the target's voice, chunk by chunk. Closes `audio`; closing this
        stops the models. Raises `UsageError` where it has no target."""
        ...

    def using(self, options: ConversionOptions) -> Converter:
        """The same engines with other options. Blocks where recordings are heard.

        Raises `AudioError` for recordings that are none, or without enough speech.
        """
        ...

    async def warm(self) -> None:
        """Compute what the first audio would wait for."""
        ...


@runtime_checkable
class EndOfTurn(Protocol):
    """Judges by the words whether someone who paused has said all that he wants to say."""

    def chance(self, transcript: Transcript, samples: Samples) -> float:
        """From 0 (goes on) to 1 (is done). `samples` are the utterance's at 16 kHz."""
        ...


@runtime_checkable
class SoundOfEnd(Protocol):
    """Judges by the sound whether someone who paused is done. Safe for many utterances at once."""

    async def __call__(self, samples: Samples) -> float:
        """From 0 (goes on) to 1 (is done). `samples` are the utterance's at 16 kHz."""
        ...

    async def warm(self) -> None:
        """Compute what the first utterance would wait for."""
        ...


class StageParts(Protocol):
    """One stage of a profile: its artifact, and the engines for its graphs.

    They are closed with the profile.
    """

    @property
    def settings(self) -> Any:
        """The stage's table of the profile."""
        ...

    @property
    def folder(self) -> Path: ...

    @property
    def manifest(self) -> Manifest: ...

    @property
    def lane(self) -> Lane:
        """The thread that its engines are made in and run in."""
        ...

    def option(self, key: str, default: Any) -> Any:
        """A key of the stage's table, or `default` where the profile leaves it out."""
        ...

    def graph(self, role: str, beside: str = "") -> GraphExecutor:
        """The engine of a stateless graph. `beside` names what runs it outside the stage's lane."""
        ...

    def tokens(self, role: str, slots: int, capacity: int) -> TokenService:
        """The service of a token decoder for `slots` sequences of up to `capacity` positions."""
        ...

    def whisper(self) -> SpeechToTextExecutor:
        """The engine of an encoder-decoder for speech."""
        ...

    def connection(self) -> Connection:
        """The connection to the server that runs the whole stage."""
        ...


class Parts(Protocol):
    """What a family is built from.

    `in_turn`: a reply is written on the same cores while this speaks. `home`: the folder of what
    users add, as voices.
    """

    @property
    def language(self) -> str:
        """The language of the conversation; `auto` where it may be in several."""
        ...

    @property
    def languages(self) -> Languages:
        """All languages of the conversation."""
        ...

    @property
    def in_turn(self) -> bool: ...

    @property
    def home(self) -> Path: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def pace(self) -> Pace:
        """What is told how far each answer is ahead of its loudspeaker."""
        ...

    def stage(self, name: str) -> StageParts:
        """A stage of the profile: listen, end_of_turn, transcribe, reply, speak, vocode or convert."""
        ...


@dataclass(frozen=True)
class Candidate:
    """An artifact that is to run in a stage: its folder, its manifest, the stage's table, a language
    of the profile or `auto`, and the folder of what users add.

    Of a profile with several languages, each is asked for by itself.
    """

    folder: Path
    manifest: Manifest
    settings: Any
    language: str
    home: Path


def _anything(candidate: Candidate) -> None:
    """Nothing more to check."""


@dataclass(frozen=True)
class Need:
    """A module that a family imports, what is missing without it, and our extra that brings it;
    empty if none of ours does."""

    module: str
    what: str
    extra: str


def _no_needs(_folder: Path, _manifest: Manifest) -> tuple[Need, ...]:
    """Nothing besides."""
    return ()


@dataclass(frozen=True)
class Family:
    """What a family of models is.

    `kind` is that of its manifests, `task` one of `models.compatible.TASKS`. `roles`: by stage of
    the profile, the graphs that an artifact must have. `make` builds the `VoiceActivity`,
    `SoundOfEnd`, `Recogniser`, `Replier`, `Voice` or `Converter` from its parts. `options`: by stage, the keys of the profile
    that it heeds beyond those of every stage. `needs`: modules that it imports; `needs_of`: those
    that the artifact in a folder makes it import besides. `contracts` are of files whose manifest
    has none. `served`: the served model of each role. `check` raises what `make` would raise for a
    candidate, without loading a graph. `takes_turns`: its calls are long enough that the stages of a turn take turns at the cores. `library` opens the speakers that
    users add to an artifact, `cloner` makes new ones of recordings, `forget` deletes those of all
    artifacts whose names begin with a text, and says how many; None where a family has none.
    """

    kind: str
    task: str
    roles: Mapping[str, tuple[str, ...]]
    make: Callable[[Parts], Any]
    options: Mapping[str, frozenset[str]] = field(default_factory=dict)
    needs: tuple[Need, ...] = ()
    needs_of: Callable[[Path, Manifest], tuple[Need, ...]] = _no_needs
    contracts: Mapping[str, ModelContract] = field(default_factory=dict)
    served: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Candidate], None] = _anything
    takes_turns: bool = False
    library: Callable[[Path, Path, Manifest], Any] | None = None
    cloner: Callable[[Parts], Any] | None = None
    forget: Callable[[Path, str], int] | None = None


class SpeakerLibrary(Protocol):
    """The speakers of an artifact that users add to, as `Family.library` opens it. Safe for many
    threads and processes."""

    def names(self) -> Mapping[str, str]:
        """Every speaker, and where it is from."""
        ...

    def styles(self, name: str) -> tuple[str, ...]:
        """The styles of a speaker."""
        ...

    def read(self, name: str, style: str = "") -> tuple[Any, Mapping[str, Any]]:
        """A speaker and what is noted of it. Raises `UnknownVoice`, `CorruptModel`."""
        ...

    def add(
        self,
        voice: Any,
        recordings: Sequence[Path] = (),
        imported: str = "",
        style: str = "",
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep what a cloner made; `about` is noted with it."""
        ...

    def remove(self, name: str, style: str = "") -> None:
        """Forget a speaker with all its styles, or one of them."""
        ...


class SpeakerCloner(Protocol):
    """Makes speakers of recordings, as `Family.cloner` gives it."""

    def clone(self, name: str, recordings: Sequence[Path], track: int = 0) -> Any:
        """A speaker as `voice`, with its `seconds` of speech and `warnings`. Blocks. Raises
        `AudioError`, `UsageError`."""
        ...


@dataclass(frozen=True)
class Cloning:
    """Where a voice's speakers are kept, and what makes new ones; `make` loads its engines."""

    library: SpeakerLibrary
    make: Callable[[], SpeakerCloner]


@cache
def families() -> Mapping[str, Family]:
    """Every installed family by its kind.

    Raises `InvalidProfile` where an entry point names something else.
    """
    return rows(FAMILIES_GROUP, Family, lambda row: row.kind)


def served_kind(task: str) -> str:
    """The kind of the family that has a server do a whole task: `families.remote`."""
    return f"served-{task}"


def family_of(kind: str) -> Family | None:
    """The family of that kind; None where none is installed."""
    return families().get(kind)
