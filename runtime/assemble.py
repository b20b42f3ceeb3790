"""Builds stages from a profile. The only place that reads a profile and introduces a stage to its executor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
from voxturn.runtime.audio.window import Plan
from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.decode.service import DecodeService, TokenService
from voxturn.runtime.errors import ExecutorUnavailable, InvalidProfile, UnsupportedLanguage
from voxturn.runtime.executors.ctranslate2 import Ct2Whisper
from voxturn.runtime.executors.ctranslate2_tokens import Ct2Tokens, not_sampled
from voxturn.runtime.executors.cuda.gpu import Gpu as Gpu
from voxturn.runtime.executors.cuda.gpu import has_cuda_kernels as has_cuda_kernels
from voxturn.runtime.executors.cuda.gpu import has_cuda_provider as has_cuda_provider
from voxturn.runtime.executors.onnx import OnnxDecoder, OnnxGraph
from voxturn.runtime.executors.openvino import OpenVinoGraph, faster_compute
from voxturn.runtime.executors.triton import Connection, TritonGraph, TritonTokens, TritonWhisper
from voxturn.runtime.executors.whisper_onnx import OnnxWhisper
from voxturn.runtime.families.decoder import Reply
from voxturn.runtime.families.frames import WHOLE_POSITIONS, SameFrames, XttsFrames
from voxturn.runtime.families.whisper.hearing import Transcribe
from voxturn.runtime.families.whisper.recognise import Features
from voxturn.runtime.families.windowed import Vocode
from voxturn.runtime.families.xtts.prompt import XttsIds
from voxturn.runtime.families.xtts.speak import Speak, VitsSpeak, XttsSpeak
from voxturn.runtime.families.xtts.text import XttsTokenizer
from voxturn.runtime.families.xtts.voices import Cloner, Voice, VoiceStore
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.flow.scheduling import Cores, EngineBudget, Gate, Pace
from voxturn.runtime.messages import Samples, Sentence, SpeechCodes
from voxturn.runtime.models.manifest import Manifest, ModelContract, TensorSpec
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store, is_artifact
from voxturn.runtime.profile import (
    GPU_EXECUTORS,
    NOT_FOR_A_GPU,
    NOT_FOR_CTRANSLATE2,
    NOT_SERVED,
    Engine,
    Profile,
    is_for_ctranslate2,
)
from voxturn.runtime.progress import Bar
from voxturn.runtime.protocols import DecoderExecutor, GraphExecutor
from voxturn.runtime.text.chat import CHAT_FORMATS, Chat
from voxturn.runtime.text.filter import ContentFilter, PassAll, WordListFilter
from voxturn.runtime.text.normalize import language_of
from voxturn.runtime.text.phonemes import EspeakPhonemizer
from voxturn.runtime.text.tokenizer import JsonTokenizer
from voxturn.runtime.turn.listen import Listen
from voxturn.runtime.turn.split import Split
from voxturn.runtime.turn.trace import StageInfo


class Closable(Protocol):
    """Something with a `close`."""

    def close(self) -> None: ...


ClosableT = TypeVar("ClosableT", bound=Closable)


@dataclass(frozen=True)
class Loaded:
    """An artifact and the budget of the engine that runs it."""

    folder: Path
    manifest: Manifest
    engine: Engine
    budget: EngineBudget
    gpu: Callable[[], Gpu]

    def graph(self, role: str, stage: str = "vocode") -> GraphExecutor:
        """The executor of one of the artifact's stateless graphs."""
        contract = self.manifest.graphs[role]
        path = self.folder / contract.file
        if self.engine.executor in GPU_EXECUTORS:
            return self.gpu().graph(path, contract, role, stage, self.engine.executor)
        if self.engine.executor == "onnx":
            return OnnxGraph(path, contract, self.budget)
        if self.engine.executor == "openvino":
            return OpenVinoGraph(path, contract, self.budget, self.engine.compute)
        if self.engine.executor == "triton":
            raise InvalidProfile(f"{self.engine.model}: {NOT_SERVED}")
        raise ExecutorUnavailable(
            f"this version of voxturn has no executor {self.engine.executor!r}"
        )

    def decoder(self, role: str, stage: str, slots: int, capacity: int) -> DecoderExecutor:
        """The executor of a decoder. A graph in standard operators has a capacity of its own."""
        contract = self.manifest.graphs[role]
        path = self.folder / contract.file
        if self.engine.executor in GPU_EXECUTORS:
            if self.manifest.properties.get("engine") != "tensorrt":
                raise InvalidProfile(f"{self.engine.model}: {NOT_FOR_A_GPU}")
            return self.gpu().decoder(path, contract, role, stage, slots, self.engine.executor)
        if self.engine.executor != "onnx":
            raise ExecutorUnavailable(
                f"this version of voxturn has no executor {self.engine.executor!r} for {role}"
            )
        return OnnxDecoder(path, contract, self.budget, slots, capacity)


_SOONEST = Plan(first=9, largest=96, growth=1.25, steady=2, rounds=16)
XTTS_PLANS = (
    _SOONEST,
    replace(_SOONEST, first=12, growth=1.2),
    replace(_SOONEST, first=16, growth=1.15),
    replace(_SOONEST, first=20, growth=1.1),
    replace(_SOONEST, first=28, growth=1.1),
)
"""Windows of XTTS's vocoder in frames of 10.7 ms: docs/performance.md says how they were chosen."""
GPU_PLANS = (Plan(first=9, largest=72, growth=2.0, steady=2, rounds=24),)
"""On ONNX Runtime's CUDA provider: few shapes, for each takes half a second once; a window takes 1 to 3 ms."""
TURN_PLANS = (replace(_SOONEST, first=16, growth=1.1), *XTTS_PLANS[3:])
"""In a turn the reply is written on the same cores: a longer first window, so that the voice has more in hand."""


class Assembler:
    """Makes a profile's stages one by one, and closes what it made. `plans`: the windows of XTTS's vocoder."""

    def __init__(
        self,
        profile: Profile,
        store: Store | None = None,
        registry: Registry | None = None,
        cores: Cores | None = None,
        plans: Sequence[Plan] = XTTS_PLANS,
    ) -> None:
        self.profile, self._plans = (
            profile,
            GPU_PLANS if profile.vocode.executor == "onnx-cuda" else plans,
        )
        self._store, self._registry, self._cores = (
            store or Store(),
            registry or Registry.read(),
            cores or Cores(),
        )
        self._connections: dict[str, Connection] = {}
        self._gpu: Gpu | None = None
        self._lanes: list[Closable] = []
        self._closing: list[Closable] = []
        self.info: dict[str, StageInfo] = {}
        self.voices: VoiceStore | None = None
        self._filter: ContentFilter | None = None

    def listen(self) -> Listen:
        loaded, lane = self._load("listen")
        vad = self._keep(lane.make(OnnxGraph, loaded.folder / SILERO.file, SILERO, loaded.budget))
        return Listen(vad, lane, self.profile.endpointing)

    def transcribe(self) -> Transcribe:
        loaded, lane = self._load("transcribe")
        whisper = self._keep(lane.make(self._whisper, loaded))
        tokenizer = JsonTokenizer(loaded.folder / "tokenizer.json")
        settings, language = self.profile.transcribe, self.profile.language
        features, passing = log_mel(whisper.mels), self.content_filter()
        return Transcribe(
            whisper,
            tokenizer,
            features,
            lane,
            language,
            passing,
            settings.names,
            settings.partial_share,
        )

    def _whisper(self, loaded: Loaded) -> OnnxWhisper | Ct2Whisper | TritonWhisper:
        if loaded.engine.executor == "triton":
            return TritonWhisper(self._server(loaded, "whisper"))
        graphs, device = bool(loaded.manifest.graphs), _device(loaded.engine.executor)
        if graphs != (loaded.engine.executor == "onnx"):
            raise InvalidProfile(
                f"profile {self.profile.name}.transcribe.executor: {loaded.engine.model} is an artifact for "
                f"{'onnx' if graphs else 'ctranslate2'}, not for {loaded.engine.executor}"
            )
        if graphs:
            return OnnxWhisper(loaded.folder, loaded.manifest, loaded.budget)
        return Ct2Whisper(loaded.folder, loaded.engine.precision, loaded.budget, device=device)

    def engine(self) -> tuple[DecodeEngine, Loaded, Lane]:
        """The reply's token engine, its artifact and its lane."""
        loaded, lane = self._load("reply")
        settings = self.profile.reply
        if "decoder" not in loaded.manifest.graphs:
            raise InvalidProfile(
                f"profile {self.profile.name}.reply.model: {loaded.engine.model} has no graph of a decoder; "
                "export it with --to onnx, or name the executor ctranslate2-cuda"
            )
        decoder = self._keep(
            lane.make(loaded.decoder, "decoder", "reply", settings.slots, settings.context)
        )
        return DecodeEngine(decoder), loaded, lane

    def reply(self) -> tuple[Reply, DecodeEngine | None]:
        """The reply's stage, and its engine where that is in this process."""
        s, engine = self.profile.reply, None
        service: TokenService
        if s.executor == "triton":
            loaded, _ = self._load("reply")
            service = TritonTokens(self._server(loaded, "qwen3"), "qwen3")
        elif s.executor == "ctranslate2-cuda":
            loaded, lane = self._load("reply")
            service = self._keep(self._ct2_tokens(loaded, lane))
        else:
            engine, loaded, lane = self.engine()
            service = DecodeService(engine, lane)
        tokenizer = JsonTokenizer(loaded.folder / "tokenizer.json")
        chat = Chat(tokenizer, CHAT_FORMATS[str(loaded.manifest.properties["chat"])])
        sampling = Sampling(s.temperature, s.top_k, s.top_p, s.min_p, s.repetition_penalty, s.seed)
        return Reply(service, tokenizer, chat, sampling, s.max_tokens, s.stops), engine

    def _ct2_tokens(self, loaded: Loaded, lane: Lane) -> Ct2Tokens:
        s, manifest = self.profile.reply, loaded.manifest
        if not is_for_ctranslate2(manifest):
            raise InvalidProfile(f"{s.model}: {NOT_FOR_CTRANSLATE2}")
        if wrong := not_sampled(s.min_p, s.top_p, s.top_k):
            raise InvalidProfile(f"profile {self.profile.name}.reply: {wrong}")
        capacity = min(s.context, int(manifest.properties["context"]))
        return Ct2Tokens(
            loaded.folder, manifest.precision, capacity, loaded.budget, lane, _device(s.executor)
        )

    def split(self) -> Split:
        return Split(self.content_filter(), self.profile.speak.max_chars, self.profile.language)

    def speak(self) -> Speak:
        """The voice's stage, by what kind of artifact it is."""
        return self.xtts_speak() if self.speaks_xtts else self._vits_speak()

    def _vits_speak(self) -> VitsSpeak:
        loaded, lane = self._load("speak")
        p, settings = loaded.manifest.properties, self.profile.speak
        if self.profile.language not in (str(p["espeak_voice"]).split("-")[0], "auto"):
            raise UnsupportedLanguage(
                f"voice {settings.model!r} does not speak {self.profile.language!r}; choose another voice in the profile"
            )
        phonemizer = EspeakPhonemizer(str(p["espeak_voice"]), p["phoneme_id_map"])
        scales = (
            float(p["noise_scale"]),
            float(p["length_scale"]) / settings.speed,
            float(p["noise_w"]),
        )
        graph = self._keep(lane.make(loaded.graph, "acoustic"))
        return VitsSpeak(graph, phonemizer, lane, scales, int(p["noise_frames"]), settings.seed)

    def xtts_speak(self) -> XttsSpeak:
        """XTTS's stage, with the profile's voice or the first that is here."""
        loaded, lane = self._load("speak")
        settings = self.profile.speak
        ids = XttsIds.from_properties(loaded.manifest.properties)
        service = self._xtts_tokens(loaded, lane, ids.positions)
        self.voices = VoiceStore(self._store.root, loaded.folder, loaded.manifest)
        tokenizer = XttsTokenizer(loaded.folder / "vocab.json", max_tokens=ids.max_text - 2)
        language = language_of(self.profile.language)
        if language not in tokenizer.languages:
            raise UnsupportedLanguage(
                f"voice model {settings.model!r} does not speak {self.profile.language!r}; it has {', '.join(tokenizer.languages)}"
            )
        name = settings.voice or next(iter(self.voices.names()), "")
        voice = self.voices.load(name) if name else None
        s = settings
        sampling = Sampling(s.temperature, s.top_k, s.top_p, 0.0, s.repetition_penalty, s.seed)
        p = loaded.manifest.properties
        urgent = xtts_frames(p).latents_for(self._plans[0].first + int(p["margin"]))
        return XttsSpeak(
            service, ids, tokenizer, voice, language, sampling, s.guard, s.speed, urgent
        )

    def _xtts_tokens(self, loaded: Loaded, lane: Lane, positions: int) -> TokenService:
        """XTTS's GPT."""
        if loaded.engine.executor == "triton":
            return TritonTokens(self._server(loaded, "xtts"), "xtts")
        decoder = self._keep(
            lane.make(loaded.decoder, "gpt", "speak", self.profile.speak.slots, positions)
        )
        return DecodeService(DecodeEngine(decoder), lane)

    def vocode(self, trim: bool = True) -> Vocode:
        """The vocoder of the voice; with `trim` an answer begins where it is audible."""
        loaded, lane = self._load("vocode")
        p, xtts = loaded.manifest.properties, loaded.manifest.kind == "xtts"
        graph = self._vocoder(loaded, lane, "vocoder" if xtts else "decoder")
        if not xtts:
            return Vocode(
                graph,
                lane,
                int(p["sample_rate"]),
                int(p["hop"]),
                int(p["margin"]),
                SameFrames(),
                (Plan(),),
                trim,
            )
        rate, hop, plans = int(p["output_sample_rate"]), int(p["output_hop_length"]), self._plans
        if loaded.engine.executor == "triton":  # windows suit whatever computes them
            served = self._server(loaded, "xtts_vocoder").describe("xtts_vocoder")
            plans = GPU_PLANS if served["executor"] == "onnx-cuda" else plans
        return Vocode(graph, lane, rate, hop, int(p["margin"]), xtts_frames(p), plans, trim, _PACE)

    def vocoder_graph(self, role: str) -> tuple[GraphExecutor, Lane]:
        """XTTS's vocoder by itself, for windows (`vocoder`) or whole sequences (`vocoder_whole`), and its lane."""
        loaded, lane = self._load("vocode")
        if loaded.manifest.kind != "xtts":
            raise InvalidProfile(
                f"profile {self.profile.name}.vocode.model: {loaded.engine.model} is not XTTS"
            )
        if role not in loaded.manifest.graphs:
            raise InvalidProfile(
                f"{loaded.engine.model}: has no graph {role!r}; export it again with this version"
            )
        return self._keep(lane.make(loaded.graph, role)), lane

    def _vocoder(self, loaded: Loaded, lane: Lane, role: str) -> GraphExecutor:
        if loaded.engine.executor != "triton":
            return self._keep(lane.make(loaded.graph, role))
        if role != "vocoder":
            raise ExecutorUnavailable(
                "the executor 'triton' has XTTS's vocoder alone; use executor = \"onnx\""
            )
        return TritonGraph(self._server(loaded, "xtts_vocoder"), "xtts_vocoder")

    def _server(self, loaded: Loaded, model: str) -> Connection:
        """The connection to an engine's server, which must run the very artifact that is here."""
        address = loaded.engine.server
        if address not in self._connections:
            self._connections[address] = self._keep(Connection(address))
        connection = self._connections[address]
        served = str(connection.describe(model)["artifact_sha256"])
        if served != loaded.manifest.digest:
            raise InvalidProfile(
                f"profile {self.profile.name}: {address} runs artifact {served[:12]} as {model}, here is "
                f"{loaded.manifest.digest[:12]} of {loaded.engine.model}; both sides need the same"
            )
        return connection

    def cloner(self) -> Cloner:
        """What makes voices for the profile's XTTS."""
        engine = self.profile.engines()["speak"]
        folder, manifest = self._artifact("speak", engine)
        loaded = Loaded(
            folder, manifest, engine, self._cores.budget("speak", engine.threads), self._gpu_of
        )
        graphs = [self._keep(loaded.graph(role, "clone")) for role in ("conditioning", "speaker")]
        self.voices = VoiceStore(self._store.root, folder, manifest)
        return Cloner(folder, manifest.properties, *graphs)

    def content_filter(self) -> ContentFilter:
        """The profile's filter, made once."""
        if self._filter is None:
            settings = self.profile.filter
            own = read_words(Path(settings.own_words)) if settings.own_words else []
            self._filter = (
                PassAll() if settings.kind == "off" else WordListFilter(self.profile.language, own)
            )
        return self._filter

    def close(self) -> None:
        """Close every engine and thread that was made; safe to call twice."""
        with ExitStack() as all_of_them:  # one that fails to close keeps no other open
            for items in (self._closing, self._lanes):
                for item in items:
                    all_of_them.callback(item.close)
                items.clear()

    def _load(self, stage: str) -> tuple[Loaded, Lane]:
        """A stage's artifact, and the lane that its engine is made in and runs in. Lanes close before engines."""
        engine = self.profile.engines()[stage]
        folder, manifest = self._artifact(stage, engine)
        budget = self._cores.budget(
            stage, engine.threads, spin=stage == ("speak" if self.speaks_xtts else "reply")
        )
        if engine.executor == "openvino" and engine.compute == "auto":
            exact = manifest.properties.get(WHOLE_POSITIONS, False)
            engine = replace(engine, compute=faster_compute(budget.threads) if exact else "fp32")
        self.info[stage] = StageInfo(
            manifest.model,
            manifest.precision,
            engine.executor,
            manifest.digest,
            budget.threads,
            manifest.synthetic,
            compute=engine.compute if engine.executor == "openvino" else "",
        )
        lane = Lane(stage, budget.nice, self._turns(stage, engine.executor))
        self._lanes.append(lane)
        return Loaded(folder, manifest, engine, budget, self._gpu_of), lane

    def _gpu_of(self) -> Gpu:
        """The GPU, found when the first engine asks for it."""
        if self._gpu is None:
            self._gpu = self._keep(Gpu(self._store.root / "engines", Bar()))
        return self._gpu

    def folder(self, stage: str) -> Path:
        """Where a stage's artifact lies."""
        return self._artifact(stage, self.profile.engines()[stage])[0]

    def _artifact(self, stage: str, engine: Engine) -> tuple[Path, Manifest]:
        """A model of the registry, or an artifact by its folder."""
        if is_artifact(engine.model):
            return self._store.at(Path(engine.model))
        model, _ = self._registry.resolve(engine.model)
        if engine.precision not in model.precisions:
            raise InvalidProfile(
                f"profile {self.profile.name}.{stage}.precision: model {model.id!r} has {', '.join(model.precisions)}, "
                f"not {engine.precision!r}"
            )
        return self._store.artifact(model, engine.precision)

    def _turns(self, stage: str, executor: str) -> Callable[[bool], AbstractContextManager[object]]:
        """With XTTS, vocoder, GPT and reply take turns at the cores; a VITS's short calls are left to the scheduler.

        What a GPU computes needs no core: there, streams overlap.
        """
        on_a_gpu = executor in GPU_EXECUTORS or _device(executor) == "cuda"
        if stage not in _URGENCY or on_a_gpu or not self.speaks_xtts:
            return nullcontext
        if stage == "reply":
            return lambda _: _GATE.turn(_URGENCY[stage], _REPLY_GRACE_S, _reply_patience_s)
        return lambda urgent: _GATE.turn(_FIRST_AUDIO if urgent else _URGENCY[stage])

    @property
    def speaks_xtts(self) -> bool:
        """Whether the voice is XTTS, whose loop is then the tightest: the one whose idle threads may spin."""
        return self._artifact("speak", self.profile.speak)[1].kind == "xtts"

    def _keep(self, item: ClosableT) -> ClosableT:
        self._closing.append(item)
        return item


def _device(executor: str) -> str:
    """Where CTranslate2 computes; of other executors, whether their name says a GPU."""
    return "cuda" if executor.endswith("-cuda") else "cpu"


_FIRST_AUDIO, _URGENCY = 0, {"vocode": 1, "speak": 2, "reply": 3}
_REPLY_GRACE_S = 0.005  # not between two steps of the voice,
_REPLY_PATIENCE_S = 0.5  # but a share of the cores,
_REPLY_LEAD_S = (
    0.3  # and all of them once the voice is so far ahead: the next clause has to be written in time
)
_GATE, _PACE = Gate(), Pace()  # the process has one set of cores, however many assemblers it has


def _reply_patience_s() -> float:
    return 0.0 if _PACE.lead_s > _REPLY_LEAD_S else _REPLY_PATIENCE_S


def xtts_frames(properties: Mapping[str, Any]) -> XttsFrames:
    """How an XTTS artifact's codes become frames."""
    rate, hop = int(properties["output_sample_rate"]), int(properties["output_hop_length"])
    return XttsFrames(
        int(properties["gpt_code_stride_len"]) // hop, rate / int(properties["input_sample_rate"])
    )


async def warm_voice(speak: XttsSpeak, vocode: Vocode) -> None:
    """Compute what the first answer would wait for, and choose the vocoder's windows by how fast the voice is made here."""
    if (voice := speak.voice) is None:
        return
    await speak.warm()
    await vocode.warm(_like(voice), await speak.latent_s())
    speak.urgent = vocode.urgent_for(vocode.plan)


async def warm_shapes(speak: XttsSpeak, vocode: Vocode, idle: bool = False) -> None:
    """Compile what later windows of the first answers would wait for, where an executor compiles for each shape.

    With `idle`, only while nobody is answered.
    """
    if speak.voice is not None:
        await vocode.warm_shapes(_like(speak.voice), idle)


def _like(voice: Voice) -> SpeechCodes:
    return SpeechCodes(voice.latents, Sentence("", 0), speaker=voice.speaker)


SILERO = ModelContract(
    "silero_vad.onnx",
    (
        TensorSpec("input", "float32", ("windows", 576)),
        TensorSpec("h", "float32", (1, 1, 128)),
        TensorSpec("c", "float32", (1, 1, 128)),
    ),
    (
        TensorSpec("speech_probs", "float32", ("windows",)),
        TensorSpec("hn", "float32", (1, 1, 128)),
        TensorSpec("cn", "float32", (1, 1, 128)),
    ),
)


def log_mel(mels: int) -> Features:
    """Whisper's log-mel features, by faster-whisper's numpy implementation."""
    try:
        from faster_whisper.feature_extractor import FeatureExtractor
    except ImportError as exc:
        raise ExecutorUnavailable(
            "Whisper's features need faster-whisper; pip install 'voxturn[embedded]'"
        ) from exc
    extractor = FeatureExtractor(feature_size=mels)

    def features(samples: Samples) -> npt.NDArray[np.float32]:
        return np.asarray(extractor(samples, padding=0), np.float32)

    return features


def read_words(path: Path) -> list[str]:
    """The user's own list of words, one a line."""
    try:
        return [
            line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()
        ]
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidProfile(
            f"filter.own_words: {path} cannot be read; give a text file with a word a line"
        ) from exc
