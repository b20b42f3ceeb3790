"""What families are built from: a profile's artifacts, lanes and engines, made one by one and
closed together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from voxturn.runtime.decode.service import TokenService, engine_of
from voxturn.runtime.errors import (
    ExecutorUnavailable,
    InvalidProfile,
    ModelError,
    StreamClosed,
    UnknownModel,
    UnsupportedLanguage,
)
from voxturn.runtime.executors.backend import Backend, Closable, ClosableT, Host, LoadedArtifact
from voxturn.runtime.executors.catalogue import Executor, executor_of
from voxturn.runtime.executors.loading import in_memory
from voxturn.runtime.families.base import (
    Candidate,
    Cloning,
    Converter,
    Family,
    Need,
    Recogniser,
    Replier,
    SoundOfEnd,
    Voice,
    VoiceActivity,
    VoiceOptions,
    family_of,
    served_kind,
)
from voxturn.runtime.families.by_language import VoiceByLanguage
from voxturn.runtime.families.convert.converted import Converted
from voxturn.runtime.flow.clock import Clock, WallClock
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.flow.scheduling import Cores, Pace
from voxturn.runtime.flow.sharing import URGENCY, SharedCores, process_cores
from voxturn.runtime.models.compatible import TASKS, Problem, compatible
from voxturn.runtime.models.fetch import Progress
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.plugins import importable
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store, is_artifact, quiet
from voxturn.runtime.profile import Engine, Profile
from voxturn.runtime.protocols import GraphExecutor, SpeechToTextExecutor
from voxturn.runtime.remote.connection import Connection
from voxturn.runtime.text.filter import ContentFilter, PassAll, WordListFilter
from voxturn.runtime.text.filtering.rules import WatchedRules
from voxturn.runtime.text.language import AUTO, Languages, find
from voxturn.runtime.turn.trace import StageInfo
from voxturn.runtime.voices import OwnVoice, languages_of, own_voices


@dataclass(frozen=True)
class Choice:
    """What runs a stage: its table of the profile, the artifact, the executor and the family that
    were found for it.

    `precision` is the one to compute in: the profile's, else the registry's default, else that of
    the artifact."""

    stage: str
    settings: Engine
    folder: Path
    manifest: Manifest
    precision: str
    executor: Executor
    family: Family | None

    def missing(self) -> Problem | None:
        """A package that the executor or the family needs and that is not here."""
        if not self.executor.installed():
            what = f"executor {self.executor.name!r} is not installed"
            return Problem(
                self.stage, what, _bringing(self.executor.extra, self.executor.packages[0])
            )
        for need in self._needs():
            if not importable(need.module):
                return Problem(self.stage, need.what, _bringing(need.extra, need.module))
        return None

    def _needs(self) -> tuple[Need, ...]:
        """The modules that the family imports for this artifact."""
        if self.family is None:
            return ()
        return (*self.family.needs, *self.family.needs_of(self.folder, self.manifest))

    @property
    def vocodes(self) -> bool:
        """Whether the family has a stage that turns latents into audio."""
        return self.family is not None and "vocode" in self.family.roles

    def beside(self, voice: Choice) -> Problem | None:
        """Whether this vocoder is of the voice's family: they are two halves of one model."""
        if self.manifest.kind == voice.manifest.kind:
            return None
        return Problem(
            self.stage,
            f"{self.settings.model} is of kind {self.manifest.kind!r}, "
            f"the voice of kind {voice.manifest.kind!r}",
            "name one model for both" if voice.vocodes else "leave [vocode] out of the profile",
        )

    def unfit(self) -> Problem | None:
        """Why the executor or the family cannot run the artifact; none of its files is read."""
        return compatible(self.stage, self.settings, self.manifest, self.executor, self.family)

    def problem(self, languages: Languages, home: Path) -> Problem | None:
        """What keeps the stage from running in these languages, as doctor tells it and loading
        raises it.

        May raise the family's errors.
        """
        wrong = self.unfit()
        if wrong is None and self.family is not None:
            for tag in languages.tags or (AUTO,):
                candidate = Candidate(self.folder, self.manifest, self.settings, tag, home)
                with listing(languages):
                    self.family.check(candidate)
        return wrong


@contextmanager
def listing(languages: Languages) -> Iterator[None]:
    """Where one language of a set is not known, the error names the set."""
    try:
        yield
    except UnsupportedLanguage as exc:
        if len(languages.tags) < 2:
            raise
        raise UnsupportedLanguage(
            f"{exc} (the languages to speak are {', '.join(languages.tags)})"
        ) from exc


def _bringing(extra: str, module: str) -> str:
    """What brings a module: an extra of ours or, if that is empty, a package that we do not know."""
    return f"pip install 'voxturn[{extra}]'" if extra else f"install the package of {module}"


def choose(profile: Profile, stage: str, store: Store, registry: Registry) -> Choice:
    """A stage's artifact, executor and family.

    Raises as the store and the registry do, or `InvalidProfile`.
    """
    settings = profile.engine(stage)
    executor = executor_of(settings.executor)
    if executor.whole:
        folder, manifest, precision = Path(), _served(stage, settings), ""
    else:
        folder, manifest, precision = artifact_of(profile, stage, store, registry)
    family = family_of(manifest.kind)
    return Choice(stage, settings, folder, manifest, precision, executor, family)


def _served(stage: str, settings: Engine) -> Manifest:
    """What is known of a stage that a server runs as a whole, before it is asked."""
    task = TASKS[stage]
    return Manifest(settings.model, served_kind(task), "", {}, {}, task=task, dialect="")


def artifact_of(
    profile: Profile, stage: str, store: Store, registry: Registry
) -> tuple[Path, Manifest, str]:
    """The folder, manifest and precision of a stage's model: one of the registry, or an artifact by
    its folder."""
    engine = profile.engine(stage)
    if is_artifact(engine.model):
        folder, manifest = store.at(Path(engine.model))
        return folder, manifest, engine.precision or manifest.precision
    model, _ = registry.resolve(engine.model)
    precision = engine.precision or model.precisions[0]
    if precision not in model.precisions:
        raise InvalidProfile(
            f"profile {profile.name}.{stage}.precision: model {model.id!r} has "
            f"{', '.join(model.precisions)}, not {engine.precision!r}"
        )
    return *store.artifact(model, precision), precision


@dataclass(frozen=True)
class Occupancy:
    """How busy a stage's engine is: sequences in its `slots` (0: it is no token engine), and calls
    and sequences that wait."""

    slots: int = 0
    busy: int = 0
    waiting: int = 0

    def __add__(self, other: Occupancy) -> Occupancy:
        return Occupancy(
            self.slots + other.slots, self.busy + other.busy, self.waiting + other.waiting
        )


class LoadedStage:
    """One stage of a loaded profile, as `families.base.StageParts`."""

    def __init__(
        self,
        choice: Choice,
        artifact: LoadedArtifact,
        backend: Backend,
        lane: Lane,
        keep: Callable[[Closable], None],
    ) -> None:
        self.settings = choice.settings
        self.folder = choice.folder
        self.manifest = choice.manifest
        self.lane = lane
        self._artifact = artifact
        self._backend = backend
        self._keep = keep
        self._tokens: list[TokenService] = []

    def option(self, key: str, default: Any) -> Any:
        """A key of the stage's table, or `default` where the profile leaves it out."""
        value = getattr(self.settings, key, None)
        return default if value is None else value

    def graph(self, role: str, beside: str = "") -> GraphExecutor:
        """The engine of a stateless graph. `beside` names what runs it outside the stage's lane."""
        with in_memory(self.folder):
            if beside:
                return self._kept(self._backend.graph(self._artifact.beside(beside), role))
            return self._kept(self.lane.make(self._backend.graph, self._artifact, role))

    def tokens(self, role: str, slots: int, capacity: int) -> TokenService:
        """The service of a token decoder for `slots` sequences of up to `capacity` positions."""
        with in_memory(self.folder):
            tokens = self._backend.tokens(self._artifact, role, slots, capacity, self.lane)
        self._tokens.append(tokens)
        return self._kept(tokens)

    @property
    def occupancy(self) -> Occupancy:
        """How busy it is here; what a server computes for it, the server knows."""
        whole = Occupancy(waiting=self.lane.queued)
        for engine in filter(None, map(engine_of, self._tokens)):
            whole += Occupancy(engine.executor.slots, len(engine.running), engine.waiting)
        return whole

    def whisper(self) -> SpeechToTextExecutor:
        """The engine of an encoder-decoder for speech."""
        with in_memory(self.folder):
            return self._kept(self.lane.make(self._backend.whisper, self._artifact))

    def connection(self) -> Connection:
        """The connection to the server that runs the whole stage."""
        return self._backend.connection(self._artifact)

    def _kept(self, engine: ClosableT) -> ClosableT:
        self._keep(engine)
        return engine


class LoadedParts:
    """The parts of one profile, as `families.base.Parts`. Close it when done.

    `in_turn`: a reply is written on the same cores while this speaks. `info` says what each loaded
    stage runs.
    """

    def __init__(
        self,
        profile: Profile,
        store: Store | None = None,
        registry: Registry | None = None,
        cores: Cores | None = None,
        in_turn: bool = False,
        shared: SharedCores | None = None,
        clock: Clock | None = None,
        progress: Progress = quiet,
    ) -> None:
        self.profile = profile
        self.languages = profile.languages
        self.language = self.languages.one
        self.in_turn = in_turn
        self.clock = clock or WallClock()
        self.info: dict[str, StageInfo] = {}
        self._store = store or Store()
        self._registry = registry or Registry.read()
        self._cores = cores or Cores()
        self._shared = shared or process_cores()
        self._progress = progress
        self._host = Host(self._store.root / "engines", progress)
        self._stages: dict[str, LoadedStage] = {}
        self._backends: dict[str, Backend] = {}
        self._lanes: list[Lane] = []
        self._engines: list[Closable] = []
        self._filter: ContentFilter | None = None
        self._converter: Converter | None = None
        self._closed = False

    @property
    def home(self) -> Path:
        """The folder of what users add."""
        return self._store.root

    @property
    def pace(self) -> Pace:
        """What is told how far each answer is ahead of its loudspeaker."""
        return self._shared.pace

    def activity(self) -> VoiceActivity:
        """What tells speech from other sound."""
        return cast(VoiceActivity, self._make("listen"))

    def sound_of_end(self) -> SoundOfEnd | None:
        """What tells by the sound whether someone is done; None where the profile has none."""
        if not self.profile.end_of_turn.by_sound:
            return None
        return cast(SoundOfEnd, self._make("end_of_turn"))

    def recogniser(self) -> Recogniser:
        """What hears."""
        return cast(Recogniser, self._make("transcribe"))

    def replier(self) -> Replier:
        """What answers."""
        return cast(Replier, self._make("reply"))

    def converter(self) -> Converter | None:
        """What gives speech another voice; None where the profile has none."""
        if self.profile.convert is None:
            return None
        if self._converter is None:
            self._converter = cast(Converter, self._make("convert"))
        return self._converter

    def voice(self) -> Voice:
        """What speaks: a voice, or several that share the languages, in the timbre that the profile
        converts them to."""
        voice, convert = self._voice(), self.profile.convert
        if convert is None or not convert.to:
            return voice
        converter = self.converter()
        assert converter is not None  # the profile has one
        return Converted(voice, converter)

    def _voice(self) -> Voice:
        usual = cast(Voice, self._make("speak"))
        self._check_speaks(usual)
        own = {
            each.tag: self._own_voice(usual, each)
            for each in own_voices(self.profile, self._registry)
        }
        return VoiceByLanguage(usual, own) if own else usual

    def cloning(self) -> Cloning | None:
        """How speakers are added to the voice; None where its family clones none."""
        choice = self.choice("speak")
        family = choice.family
        if family is None or family.library is None or family.cloner is None:
            return None
        library, make = family.library(self.home, choice.folder, choice.manifest), family.cloner
        return Cloning(library, lambda: make(self))

    def content_filter(self) -> ContentFilter:
        """The profile's filter, made once."""
        if self._filter is None:
            self._filter = content_filter(self.profile, self.clock)
        return self._filter

    def choice(self, stage: str) -> Choice:
        """What runs a stage; nothing is loaded."""
        return self._choose(self.profile, stage)

    def stage(self, name: str) -> LoadedStage:
        """A stage's artifact and its engines, in a lane of their own.

        Raises `InvalidProfile` if it cannot run.
        """
        if self._closed:
            raise StreamClosed(f"the parts of profile {self.profile.name} were closed")
        if name not in self._stages:
            self._stages[name] = self._load(self.choice(name))
        return self._stages[name]

    def check(self, stage: str) -> None:
        """Raise what loading a stage would raise, without loading it.

        A vocoder that the voice has not is not asked for, nor a model of the sound where the end is
        judged without it. With `speak`, the voices of single languages are checked, too.
        """
        if stage == "end_of_turn" and not self.profile.end_of_turn.by_sound:
            return
        self._check(self.profile, stage)
        if stage == "speak":
            for own in own_voices(self.profile, self._registry):
                for each in own.stages:
                    self._check(own.profile, each, own.where)

    def occupancy(self) -> dict[str, Occupancy]:
        """How busy each loaded stage is, those of voices of single languages counted with it."""
        found = {name: stage.occupancy for name, stage in self._stages.items()}
        for parts in [each for each in self._engines if isinstance(each, LoadedParts)]:
            for name, more in parts.occupancy().items():
                found[name] = found.get(name, Occupancy()) + more
        return found

    def close(self) -> None:
        """Close every engine and thread that was made; safe to call twice."""
        self._closed = True
        closing: list[Closable] = [
            self._host,
            *self._backends.values(),
            *self._engines,
            *self._lanes,
        ]
        self._stages.clear()
        self._backends.clear()
        self._engines.clear()
        self._lanes.clear()
        with ExitStack() as stack:  # last in, first out: lanes, engines, what they share
            for each in closing:
                stack.callback(each.close)  # one that fails to close keeps no other open

    def _make(self, stage: str) -> object:
        self._check(self.profile, stage)
        if stage == "speak":
            self._check(self.profile, "vocode")
        family = self.choice(stage).family
        assert family is not None  # what has none is a problem
        return family.make(self)

    def _own_voice(self, usual: Voice, own: OwnVoice) -> Voice:
        """The voice of one language: a speaker of the usual one, or a model that is loaded beside
        it."""
        if own.speaker:
            self._check(own.profile, "speak", own.where)
            return usual.using(VoiceOptions(language=own.tag, speaker=own.speaker))
        parts = LoadedParts(
            replace(own.profile, convert=None),  # all are converted together
            self._store,
            self._registry,
            self._cores,
            self.in_turn,
            self._shared,
            self.clock,
            self._progress,
        )
        self._engines.append(parts)
        voice = parts.voice()
        self.info[f"speak.{own.tag}"] = parts.info["speak"]
        return voice

    def _check_speaks(self, voice: Voice) -> None:
        """Raise where a voice lacks a language of a set: some tell only when they are made."""
        languages = languages_of(self.profile, "speak", self._registry)
        for tag in languages.tags if self.languages.several else ():
            if not find(tag, voice.languages.__contains__):
                spoken = ", ".join(voice.languages)
                with listing(languages):
                    raise UnsupportedLanguage(
                        f"voice {self.profile.speak.model!r} speaks {spoken}, not {tag!r}"
                    )

    def _check(self, profile: Profile, stage: str, where: str = "") -> None:
        """Raise what is wrong with a stage of the profile, or of a voice of its own at `where`."""
        if stage == "vocode":
            voice = self._choose(profile, "speak")
            if profile.vocode is None and not voice.vocodes:
                return
        choice = self._choose(profile, stage)
        self._check_installed(choice)
        languages = languages_of(profile, stage, self._registry)
        self._refuse(choice.problem(languages, self.home), where)
        if stage == "vocode":
            self._refuse(choice.beside(voice), where)

    def _choose(self, profile: Profile, stage: str) -> Choice:
        return choose(profile, stage, self._store, self._registry)

    def _check_installed(self, choice: Choice) -> None:
        if (missing := choice.missing()) is not None:
            raise ExecutorUnavailable(self._line(missing))

    def _refuse(self, problem: Problem | None, where: str = "") -> None:
        if problem is not None:
            raise InvalidProfile(self._line(replace(problem, stage=where or problem.stage)))

    def _line(self, problem: Problem) -> str:
        return f"profile {self.profile.name}.{problem.stage}: {problem.what}; {problem.fix}"

    def _load(self, choice: Choice) -> LoadedStage:
        # engines alone: what its family reads besides is checked before the family is made
        self._check_installed(choice)
        self._refuse(choice.unfit())
        settings, executor, stage = choice.settings, choice.executor, choice.stage
        turns = self._takes_turns()
        spin = stage == ("speak" if turns else "reply")  # the tightest loop's idle threads may
        budget = self._cores.budget(stage, settings.threads, spin=spin)
        assert choice.family is not None  # what has none is a problem
        artifact = LoadedArtifact(
            stage,
            executor.name,
            choice.folder,
            choice.manifest,
            choice.precision,
            budget,
            settings.compute or "",
            settings.server or "",
            choice.family.contracts,
            choice.family.served,
        )
        backend = self._backend(executor)
        self.info[stage] = _info(choice, artifact, backend)
        # what a GPU or a server computes needs no core here: there, stages overlap
        shares = turns and stage in URGENCY and not executor.on_gpu
        turn: Callable[[bool], AbstractContextManager[object]] = (
            self._shared.turns(stage) if shares else nullcontext
        )
        lane = Lane(stage, budget.nice, turn, clock=self.clock)
        self._lanes.append(lane)
        return LoadedStage(choice, artifact, backend, lane, self._engines.append)

    def _takes_turns(self) -> bool:
        """Whether the voice's calls are so long that the stages of a turn take turns at the cores."""
        try:
            family = self.choice("speak").family
        except (ModelError, UnknownModel):  # a voice that cannot be loaded speaks beside nothing
            return False
        return family is not None and family.takes_turns

    def _backend(self, executor: Executor) -> Backend:
        if executor.name not in self._backends:
            self._backends[executor.name] = executor.load()(self._host)
        return self._backends[executor.name]


def _info(choice: Choice, artifact: LoadedArtifact, backend: Backend) -> StageInfo:
    """What a stage runs; where a server runs it, the server says which artifact."""
    manifest, served = choice.manifest, backend.described(artifact)
    return StageInfo(
        served.get("model", manifest.model),
        served.get("precision", manifest.precision),
        choice.executor.name,
        served.get("artifact_sha256", manifest.digest),
        artifact.budget.threads,
        served.get("synthetic", manifest.synthetic),
        compute=served.get("compute", backend.arithmetic(artifact)),
    )


def content_filter(profile: Profile, clock: Clock | None = None) -> ContentFilter:
    """The filter that a profile asks for. Raises `InvalidProfile`, `ExecutorUnavailable`."""
    settings = profile.filter
    if settings.kind == "off":
        return PassAll()
    own = _read_words(Path(settings.own_words)) if settings.own_words else []
    now = (clock or WallClock()).now
    rules = WatchedRules(Path(settings.rules), now) if settings.rules else None
    return WordListFilter(profile.languages.first, own, rules)


def _read_words(path: Path) -> list[str]:
    """The user's own list of words, one a line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidProfile(
            f"filter.own_words: {path} cannot be read; give a text file with a word a line"
        ) from exc
    return [line.strip() for line in text.splitlines() if line.strip()]
