"""Profiles: which model, executor, precision and threads each stage runs. Strict TOML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Self

from voxturn.runtime.audio.limits import LONGEST_S
from voxturn.runtime.errors import InvalidProfile, UnknownProfile, UnsupportedLanguage, UsageError
from voxturn.runtime.executors.catalogue import catalogue, executor_of, names_for
from voxturn.runtime.families.base import MOST_NOISE
from voxturn.runtime.gateway_settings import GatewaySettings
from voxturn.runtime.models.compatible import EVERYWHERE, given
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.store import is_artifact
from voxturn.runtime.text.language import AUTO, Languages
from voxturn.runtime.tomlfile import build, nearest, read_toml
from voxturn.runtime.turn.interrupt.choose import strategy_of
from voxturn.runtime.turn.interrupt.settings import InterruptSettings
from voxturn.runtime.turn.listen import Endpointing
from voxturn.runtime.turn.tools import ToolSettings

SHIPPED = ("demo", "cpu", "gpu", "gpu-onnx")
COMPUTES = (*EVERYWHERE, "bf16")


@dataclass(frozen=True)
class Engine:
    """What runs a stage. A key that is None is left to the family or to the executor.

    `model` is one of the registry's, an artifact's folder, or a served model where a server runs
    the whole stage. `precision` is that of a model of the registry; of a folder it may be empty,
    which takes what is there. `threads` 0: all cores. `server` is the address of a server of a
    remote executor, which has to run that artifact. `compute` is what the executor `openvino`
    computes in: fp32, bf16, or auto, the faster one on this processor.
    """

    model: str
    executor: str
    precision: str = ""
    threads: int = 0
    server: str | None = None
    compute: str | None = None

    @property
    def from_registry(self) -> bool:
        """Whether `model` is one of the registry's: not a folder, and not a server's."""
        return not (is_artifact(self.model) or executor_of(self.executor).whole)

    def computing(self, compute: str, threads: int) -> Engine:
        """The same in another arithmetic, with other threads.

        Raises `UsageError` for one that the executor has not.
        """
        if compute not in COMPUTES:
            raise UsageError(f"compute: must be {', '.join(COMPUTES)}, not {compute!r}")
        chooses = "compute" in executor_of(self.executor).options
        if not chooses and compute not in EVERYWHERE:
            able = [row.name for row in catalogue().values() if "compute" in row.options]
            raise UsageError(
                f"compute: the executor {self.executor} has no {compute}, {', '.join(able)} has"
            )
        return replace(self, compute=compute if chooses else None, threads=threads)

    def served(self, address: str) -> Self:
        """The same in a server, whose own profile says what a client's cannot."""
        row = next(row for row in catalogue().values() if row.remote and not row.whole)
        left_to_it = {key: _default(self, key) for key in row.lacks if hasattr(self, key)}
        return replace(self, executor=row.name, server=address, **left_to_it)


def _default(settings: Engine, key: str) -> Any:
    return next(field.default for field in fields(settings) if field.name == key)


@dataclass(frozen=True)
class ListenEngine(Engine):
    """The voice activity's engine.

    Of a recording or a pipe, `longest_s` seconds are heard; more is an error.
    """

    longest_s: float = LONGEST_S


@dataclass(frozen=True)
class EndOfTurnEngine(Engine):
    """By what it is judged whether someone who paused is done, and the engine that hears it.

    `kind`: silence, words, sound or both. Only sound and both run a model.
    """

    model: str = "smart-turn-v3.2"
    executor: str = "onnx"
    threads: int = 1
    kind: str = "words"

    @property
    def by_words(self) -> bool:
        """Whether it looks at the words."""
        return self.kind in ("words", "both")

    @property
    def by_sound(self) -> bool:
        """Whether it runs its model."""
        return self.kind in ("sound", "both")


@dataclass(frozen=True)
class TranscribeEngine(Engine):
    """The speech model's engine.

    `names` are made likelier; partial transcripts take at most `partial_share` of its time.
    """

    names: tuple[str, ...] = ()
    partial_share: float = 0.25


@dataclass(frozen=True)
class ReplyEngine(Engine):
    """The reply's engine.

    `context` is the number of positions of each of `slots` sequences' buffers.
    """

    max_tokens: int = 96
    context: int | None = None
    slots: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stops: tuple[str, ...] = ()


@dataclass(frozen=True)
class SpeakEngine(Engine):
    """The voice's engine. `voice` is a speaker's name, `style` one of its styles; `slots`: streams at once; `guard`: end
    speech whose stop token was missed; `speed`: 2 is twice as fast; `noise`, `noise_w`: how much sound
    and durations vary that a voice draws, 0 is not at all; `max_chars`: the longest clause that is spoken
    at once. `voice_of`: by language, a voice of its own: a speaker's name, or another
    model of the registry or artifact's folder."""

    seed: int | None = None
    speed: float | None = None
    max_chars: int = 220
    voice: str | None = None
    voice_of: Mapping[str, str] | None = None
    style: str | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    repetition_penalty: float | None = None
    slots: int | None = None
    guard: bool | None = None
    noise: float | None = None
    noise_w: float | None = None


@dataclass(frozen=True)
class ConvertEngine(Engine):
    """The engine of voice conversion. `to`: recordings of the voice that the profile's own is to have;
    without any it speaks as it is. `noise`, `seed`: how much the sound varies that a converter draws,
    and by what."""

    executor: str = "onnx"
    to: tuple[str, ...] = ()
    noise: float | None = None
    seed: int | None = None


@dataclass(frozen=True)
class FilterSettings:
    """The content filter: `kind` is "words" or "off"; `own_words` is a file with a word a line,
    added to the list; `rules` is a TOML file with words and what is done about them, read again
    while it runs (`text/filtering/rules.py`)."""

    kind: str = "words"
    own_words: str = ""
    rules: str = ""


@dataclass(frozen=True)
class Profile:
    """A whole profile, as its TOML file has it.

    `language` is a tag, `auto`, or a set of tags, of which each utterance is in one.
    `language_prompt` is added to the system prompt where there are several.
    """

    about: str
    language: str | tuple[str, ...]
    listen: ListenEngine
    transcribe: TranscribeEngine
    reply: ReplyEngine
    speak: SpeakEngine
    vocode: Engine | None = None
    convert: ConvertEngine | None = None
    end_of_turn: EndOfTurnEngine = field(default_factory=EndOfTurnEngine)
    system_prompt: str = ""
    language_prompt: str = "Always answer in the language of the last question."
    endpointing: Endpointing = field(default_factory=Endpointing)
    filter: FilterSettings = field(default_factory=FilterSettings)
    interrupt: InterruptSettings = field(default_factory=InterruptSettings)
    tools: ToolSettings = field(default_factory=ToolSettings)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)
    name: str = ""

    @property
    def languages(self) -> Languages:
        """What a conversation may be held in."""
        return Languages.of(self.language)

    @property
    def instructions(self) -> str:
        """The system prompt; where a conversation may be in several languages, also in which to
        answer."""
        wanted = (self.system_prompt, self.language_prompt if self.languages.several else "")
        return " ".join(part for part in wanted if part)

    def engines(self) -> dict[str, Engine]:
        """The engines that the profile names, by stage, in the order of the turn."""
        named: dict[str, Engine | None] = {
            "listen": self.listen,
            "end_of_turn": self.end_of_turn if self.end_of_turn.by_sound else None,
            "transcribe": self.transcribe,
            "reply": self.reply,
            "speak": self.speak,
            "vocode": self.vocode,
            "convert": self.convert,
        }
        return {stage: engine for stage, engine in named.items() if engine is not None}

    def engine(self, stage: str) -> Engine:
        """A stage's engine; of a vocoder that the profile leaves out, the voice's."""
        if stage == "vocode" and self.vocode is None:
            s = self.speak
            return Engine(s.model, s.executor, s.precision, s.threads, s.server, s.compute)
        if stage == "end_of_turn":
            return self.end_of_turn
        return self.engines()[stage]

    def with_converter(self, model: str) -> Profile:
        """The same with a converter by its folder or its name in the registry, of which no voice's own
        timbre is changed."""
        return replace(self, convert=ConvertEngine(model))

    def with_voice(
        self, folder: Path, manifest: Manifest, stages: tuple[str, ...], vocoder: str = ""
    ) -> Profile:
        """The same with the voice in a folder, whose family has `stages`, and all options of the
        stage speak.

        Executors stay where they can run it, and on a GPU always: what they cannot run is refused
        when it loads, not run elsewhere. Else the best that is installed is taken. `vocoder` names
        the one of the stage vocode.
        """
        speak = replace(self.speak, model=str(folder), precision="", compute=None)
        if not _stays(self.speak.executor, manifest):
            speak = replace(speak, executor=best_executor("speak", manifest), server=None)
        if "vocode" not in stages:
            return replace(self, speak=speak, vocode=None)
        before = self.engine("vocode")
        on_gpu = catalogue()[before.executor].on_gpu
        executor = vocoder or (before.executor if on_gpu else best_executor("vocode", manifest))
        return replace(self, speak=speak, vocode=_vocoder(str(folder), executor, before.threads))


def _stays(executor: str, manifest: Manifest) -> bool:
    """Whether an executor keeps the voice: it reads all graphs of the artifact, or was chosen for
    its place."""
    row = executor_of(executor)
    dialects = {graph.dialect for graph in manifest.graphs.values()} or {manifest.dialect}
    return row.remote or row.on_gpu or dialects <= row.dialects


def _vocoder(model: str, executor: str, threads: int) -> Engine:
    """A vocoder's engine that computes in what is fastest."""
    chooses = "compute" in executor_of(executor).options
    return Engine(model, executor, threads=threads, compute="auto" if chooses else None)


def best_executor(stage: str, manifest: Manifest) -> str:
    """The executor of this machine's processor that a stage takes where nobody names one: one that
    reads the artifact."""
    rows = [r for r in catalogue().values() if stage in r.stages and not (r.on_gpu or r.remote)]
    dialects = {graph.dialect for graph in manifest.graphs.values()} or {manifest.dialect}
    rows = [row for row in rows if row.dialects & dialects] or rows
    preferred = [row for row in rows if stage in row.preferred and row.installed()]
    return (preferred or rows)[0].name


def load_profile(name: str | Path) -> Profile:
    """A shipped profile by name, or one from a `.toml` file.

    Raises `UnknownProfile` or `InvalidProfile`.
    """
    if str(name).endswith(".toml"):
        return _read(Path(name))
    if name not in SHIPPED:
        raise UnknownProfile(
            f"no profile {str(name)!r}{nearest(str(name), SHIPPED)}; shipped: {', '.join(SHIPPED)}; or a .toml file"
        )
    with resources.as_file(
        resources.files("voxturn.runtime") / "profiles" / f"{name}.toml"
    ) as path:
        return _read(path)


def _read(path: Path) -> Profile:
    def error(text: str) -> InvalidProfile:
        return InvalidProfile(text)

    raw = {"name": path.stem} | read_toml(path, error)
    profile = build(Profile, raw, f"profile {path.stem}", error)
    for stage, engine in profile.engines().items():
        _check_engine(f"profile {path.stem}.{stage}", stage, engine)
    _check_end_of_turn(f"profile {path.stem}.end_of_turn", profile.end_of_turn)
    for name, value, least, most in _limits(profile):
        if value is not None and not least <= value <= most:
            raise InvalidProfile(
                f"profile {path.stem}.{name}: must be between {least:g} and {most:g}, not {value:g}"
            )
    try:
        languages = profile.languages
    except UnsupportedLanguage as exc:
        raise InvalidProfile(f"profile {path.stem}.language: {exc}") from exc
    _check_voice_of(f"profile {path.stem}.speak.voice_of", profile.speak.voice_of or {}, languages)
    if profile.filter.kind not in ("words", "off"):
        raise InvalidProfile(
            f"profile {path.stem}.filter.kind: must be words or off, not {profile.filter.kind!r}"
        )
    try:
        strategy_of(profile.interrupt)
    except InvalidProfile as exc:
        raise InvalidProfile(f"profile {path.stem}.{exc}") from exc
    return profile


def _check_engine(where: str, stage: str, engine: Engine) -> None:
    known = names_for(stage)
    if engine.executor not in known:
        raise InvalidProfile(
            f"{where}.executor: {engine.executor!r} cannot run this stage"
            f"{nearest(engine.executor, known)}; known: {', '.join(known)}"
        )
    if engine.threads < 0:
        raise InvalidProfile(f"{where}.threads: must be 0 or more, not {engine.threads}")
    if engine.compute is not None and engine.compute not in COMPUTES:
        raise InvalidProfile(
            f"{where}.compute: must be {', '.join(COMPUTES)}, not {engine.compute!r}"
        )


def _check_voice_of(where: str, voices: Mapping[str, str], languages: Languages) -> None:
    """Raise `InvalidProfile` for a language that is not spoken, or is there twice."""
    try:
        Languages.of(tuple(voices) or languages.tags or AUTO)
    except UnsupportedLanguage as exc:
        raise InvalidProfile(f"{where}: {exc}") from exc
    for tag in voices:
        if languages.tags and not languages.tag_of(tag):
            raise InvalidProfile(
                f"{where}: {tag!r} is none of the profile's languages {', '.join(languages.tags)}"
            )


def _check_end_of_turn(where: str, settings: EndOfTurnEngine) -> None:
    if settings.kind not in ("silence", "words", "sound", "both"):
        raise InvalidProfile(
            f"{where}.kind: must be silence, words, sound or both, not {settings.kind!r}"
        )
    unheeded = sorted(set(given(settings)) - {"kind"})
    if unheeded and not settings.by_sound:
        raise InvalidProfile(
            f"{where}.{unheeded[0]}: kind = {settings.kind!r} runs no model; leave it out"
        )


def _sampling(
    stage: str, engine: ReplyEngine | SpeakEngine
) -> list[tuple[str, float | None, float, float]]:
    """As `_limits`, of how tokens are chosen: what `decode.sampler.Sampling` takes."""
    return [
        (f"{stage}.temperature", engine.temperature, 0, 1e6),
        (f"{stage}.top_k", engine.top_k, 0, 1 << 31),
        (f"{stage}.top_p", engine.top_p, 1e-6, 1),
        (f"{stage}.repetition_penalty", engine.repetition_penalty, 1e-6, 1e6),
        (f"{stage}.seed", engine.seed, 0, (1 << 64) - 1),
    ]


def _converting(engine: ConvertEngine | None) -> list[tuple[str, float | None, float, float]]:
    """As `_limits`, of a converter."""
    if engine is None:
        return []
    return [
        ("convert.noise", engine.noise, 0.0, MOST_NOISE),
        ("convert.seed", engine.seed, 0, (1 << 64) - 1),
    ]


def _limits(p: Profile) -> list[tuple[str, float | None, float, float]]:
    """Key, value (None: left out), least and most of every number whose range matters."""
    e, i, g = p.endpointing, p.interrupt, p.gateway
    return [
        ("listen.longest_s", p.listen.longest_s, 1, 1e9),
        ("transcribe.partial_share", p.transcribe.partial_share, 0.0, 1.0),
        ("reply.slots", p.reply.slots, 1, 256),
        ("reply.context", p.reply.context, 64, 1 << 20),
        ("reply.max_tokens", p.reply.max_tokens, 1, (p.reply.context or 1 << 20) // 2),
        ("reply.min_p", p.reply.min_p, 0, 1),
        *_sampling("reply", p.reply),
        *_sampling("speak", p.speak),
        ("speak.slots", p.speak.slots, 1, 256),
        ("speak.speed", p.speak.speed, 0.25, 4.0),
        ("speak.noise", p.speak.noise, 0.0, MOST_NOISE),
        ("speak.noise_w", p.speak.noise_w, 0.0, MOST_NOISE),
        *_converting(p.convert),
        ("speak.max_chars", p.speak.max_chars, 1, 10_000),
        ("endpointing.threshold", e.threshold, 0.01, 1.0),
        ("endpointing.start_ms", e.start_ms, 1, 10_000),
        ("endpointing.suspect_ms", e.suspect_ms, 1, e.end_ms),
        ("endpointing.finished_ms", e.finished_ms, 1, e.end_ms),
        ("endpointing.end_ms", e.end_ms, 1, 60_000),
        ("endpointing.unfinished_ms", e.unfinished_ms, e.end_ms, 60_000),
        ("endpointing.eager", e.eager, 0.0, 1.0),
        ("endpointing.before_ms", e.before_ms, 0, 10_000),
        ("endpointing.cut_pause_ms", e.cut_pause_ms, 1, 10_000),
        ("endpointing.cut_s", e.cut_s, 1.0, e.max_s),
        ("endpointing.max_s", e.max_s, 1.0, 28.0),
        ("interrupt.ms", i.ms, 1, 10_000),
        ("interrupt.words", i.words, 1, 100),
        ("interrupt.pause_ms", i.pause_ms, 0, 10_000),
        ("tools.timeout_s", p.tools.timeout_s, 0.001, 3600),
        ("tools.rounds", p.tools.rounds, 1, 32),
        ("tools.longest_result", p.tools.longest_result, 1, 1e6),
        ("tools.filler_after_ms", p.tools.filler_after_ms, 0, 60_000),
        ("gateway.sessions", g.sessions, 0, 100_000),
        ("gateway.sessions_of_key", g.sessions_of_key, 0, 100_000),
        ("gateway.requests_per_minute", g.requests_per_minute, 1, 1e9),
        ("gateway.request_s", g.request_s, 1, 86_400),
        ("gateway.speeches", g.speeches, 1, 100_000),
        ("gateway.speeches_of_key", g.speeches_of_key, 0, 100_000),
        ("gateway.longest_text", g.longest_text, 1, 1_000_000),
        ("gateway.longest_upload_mb", g.longest_upload_mb, 1, 4096),
        ("gateway.longest_audio_s", g.longest_audio_s, 1, 1e6),
        ("gateway.voices_of_key", g.voices_of_key, 0, 100_000),
        ("gateway.idle_s", g.idle_s, 1, 1e6),
        ("gateway.grace_s", g.grace_s, 0, 86_400),
        ("gateway.longest_session_s", g.longest_session_s, 1, 1e6),
        ("gateway.keep_days", g.keep_days, 0, 36_500),
        ("gateway.keep_messages", g.keep_messages, 1, 1e6),
        ("gateway.drain_s", g.drain_s, 0, 3600),
        ("gateway.connections", g.connections, 1, 1_000_000),
        ("gateway.connections_of_key", g.connections_of_key, 1, 1_000_000),
        ("gateway.canary_s", g.canary_s, 0, 3600),
    ]
