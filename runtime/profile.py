"""Profiles: which model, executor, precision and threads each stage runs. Strict TOML."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from voxturn.runtime.errors import InvalidProfile, UnknownProfile, UsageError
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.tomlfile import build, nearest, read_toml
from voxturn.runtime.turn.listen import Endpointing

SHIPPED = ("demo", "cpu", "gpu", "gpu-onnx")
COMPUTES = ("auto", "fp32", "bf16")
GPU_EXECUTORS = ("tensorrt", "onnx-cuda")
NOT_SERVED = "the executor 'triton' has XTTS alone of voices; name the executor onnx"
NOT_FOR_A_GPU = "was not exported for a GPU; export XTTS with --for tensorrt, a text model with --to tensorrt-onnx"
NOT_FOR_CTRANSLATE2 = "is no text model for CTranslate2; name the folder of one that was exported with --to ctranslate2"


@dataclass(frozen=True)
class Engine:
    """What runs a stage. `model` is one of the registry's, or an artifact's folder. `threads` 0: all cores.

    `server` is the address of the Triton server of the executor `triton`, which has to run that artifact. `compute` is what
    the executor `openvino` computes in: fp32, bf16, or auto, the faster one on this processor.
    """

    model: str
    executor: str
    precision: str
    threads: int = 0
    server: str = "localhost:8001"
    compute: str = "fp32"


@dataclass(frozen=True)
class TranscribeEngine(Engine):
    """The speech model's engine. `names` are made likelier; partial transcripts take at most `partial_share` of its time."""

    names: tuple[str, ...] = ()
    partial_share: float = 0.25


@dataclass(frozen=True)
class ReplyEngine(Engine):
    """The reply's engine. `context` is the number of positions of each of `slots` sequences' buffers."""

    max_tokens: int = 96
    context: int = 2048
    slots: int = 2
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0
    stops: tuple[str, ...] = ()


@dataclass(frozen=True)
class SpeakEngine(Engine):
    """The voice's engine. `voice` and the sampling are XTTS's (upstream's defaults); `slots`: streams at once;
    `guard`: end speech whose stop token was missed."""

    seed: int = 0
    speed: float = 1.0
    max_chars: int = 220
    voice: str = ""
    temperature: float = 0.75
    top_k: int = 50
    top_p: float = 0.85
    repetition_penalty: float = 10.0
    slots: int = 1
    guard: bool = True


@dataclass(frozen=True)
class FilterSettings:
    """The content filter: `kind` is "words" or "off"; `own_words` is a file with a word a line, added to the list."""

    kind: str = "words"
    own_words: str = ""


@dataclass(frozen=True)
class Profile:
    """A whole profile, as its TOML file has it."""

    about: str
    language: str
    listen: Engine
    transcribe: TranscribeEngine
    reply: ReplyEngine
    speak: SpeakEngine
    vocode: Engine
    system_prompt: str = ""
    endpointing: Endpointing = field(default_factory=Endpointing)
    filter: FilterSettings = field(default_factory=FilterSettings)
    name: str = ""

    def engines(self) -> dict[str, Engine]:
        """The engines by stage, in the order of the turn."""
        return {
            "listen": self.listen,
            "transcribe": self.transcribe,
            "reply": self.reply,
            "speak": self.speak,
            "vocode": self.vocode,
        }


def is_for_ctranslate2(manifest: Manifest) -> bool:
    """Whether an artifact is a text model in CTranslate2's format."""
    return manifest.properties.get("engine") == "ctranslate2" and "chat" in manifest.properties


def xtts_vocoder(
    artifact: str | Path, threads: int = 0, executor: str = "", compute: str = "auto"
) -> Engine:
    """The vocoder of an XTTS artifact's folder; `executor` is OpenVINO if it is installed."""
    if compute not in COMPUTES:
        raise UsageError(f"compute: must be {', '.join(COMPUTES)}, not {compute!r}")
    executor = executor or ("openvino" if find_spec("openvino") else "onnx")
    if compute == "bf16" and executor != "openvino":
        raise UsageError(f"compute: the executor {executor} has no bf16, openvino has")
    return Engine(str(artifact), executor, "fp32", threads, compute=compute)


def load_profile(name: str | Path) -> Profile:
    """A shipped profile by name, or one from a `.toml` file. Raises `UnknownProfile` or `InvalidProfile`."""
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
        known = EXECUTORS[stage]
        if engine.executor not in known:
            raise InvalidProfile(
                f"profile {path.stem}.{stage}.executor: {engine.executor!r} cannot run this stage"
                f"{nearest(engine.executor, known)}; known: {', '.join(known)}"
            )
        if engine.threads < 0:
            raise InvalidProfile(
                f"profile {path.stem}.{stage}.threads: must be 0 or more, not {engine.threads}"
            )
        if engine.compute not in COMPUTES:
            raise InvalidProfile(
                f"profile {path.stem}.{stage}.compute: must be {', '.join(COMPUTES)}, not {engine.compute!r}"
            )
        if engine.compute == "bf16" and engine.executor != "openvino":
            raise InvalidProfile(
                f"profile {path.stem}.{stage}.compute: {engine.executor} has no bf16, openvino has"
            )
    for name, value, least, most in _limits(profile):
        if not least <= value <= most:
            raise InvalidProfile(
                f"profile {path.stem}.{name}: must be between {least:g} and {most:g}, not {value:g}"
            )
    if profile.filter.kind not in ("words", "off"):
        raise InvalidProfile(
            f"profile {path.stem}.filter.kind: must be words or off, not {profile.filter.kind!r}"
        )
    return profile


def _limits(p: Profile) -> list[tuple[str, float, float, float]]:
    """Key, value, least and most of every number whose range matters."""
    e = p.endpointing
    return [
        ("transcribe.partial_share", p.transcribe.partial_share, 0.0, 1.0),
        ("reply.slots", p.reply.slots, 1, 256),
        ("reply.context", p.reply.context, 64, 1 << 20),
        ("reply.max_tokens", p.reply.max_tokens, 1, p.reply.context // 2),
        ("speak.slots", p.speak.slots, 1, 256),
        ("speak.speed", p.speak.speed, 0.25, 4.0),
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
    ]


EXECUTORS: dict[str, tuple[str, ...]] = {
    "listen": ("onnx",),
    "transcribe": ("ctranslate2", "ctranslate2-cuda", "onnx", "triton"),
    "reply": ("onnx", "onnx-cuda", "tensorrt", "ctranslate2-cuda", "triton"),
    "speak": ("onnx", "onnx-cuda", "tensorrt", "triton"),
    "vocode": ("onnx", "onnx-cuda", "openvino", "tensorrt", "triton"),
}
"""Which executors a profile may name for a stage; `assemble` knows which of them this version has."""
