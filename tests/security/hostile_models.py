"""A corpus of hostile model files: each is written by a script, and has the command that a user
would give it to.

Every command ends in a typed error at once, with little memory; it opens nothing but the files of
the folder, and writes nothing. `test_corpus.py` asks that of all of them.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from voxturn.runtime.models.manifest import ONNX_CONTRIB

from tests import artifacts
from tests.security import ingredients as made
from tests.security.ingredients import DEEP, GB, entry, info, key, tensor, text, variable
from tests.security.onnx_graphs import constant, graph, voice

Change = Callable[[Path], object]
_OUT = ("-o", "{out}")
_QWEN3 = ("export", "qwen3", "--checkpoint", "{path}", "--for", "onnx", *_OUT)
_GGUF = ("export", "qwen3", "--checkpoint", "{path}/model.gguf", "--for", "onnx", *_OUT)
_WHISPER = ("export", "whisper", "--checkpoint", "{path}", "--for", "onnx", *_OUT)
_XTTS = ("export", "xtts-v2", "--checkpoint", "{path}", *_OUT, "--precision", "int8")
_PIPER = ("export", "vits-en-us-joe", "--checkpoint", "{path}", *_OUT)
_COQUI = ("export", "coqui", "--checkpoint", "{path}", *_OUT)
_CONVERT = (
    "convert",
    "{path}/silence.wav",
    "--to",
    "{path}/silence.wav",
    "--model",
    "{path}",
    *_OUT,
)
_SAY = ("say", "Hello.", "--model", "{path}", *_OUT)
_HEAR = ("transcribe", "{path}/silence.wav", "--profile", "{path}/profile.toml")
_VOICES = ("voices", "list", "--model", "{path}")
_IMPORT = ("voices", "import", "{path}/speakers_xtts.pth", "--model", "{path}/artifact")


@dataclass(frozen=True)
class Hostile:
    """`write` makes the folder; in `command`, `{path}` is the folder and `{out}` a place for what
    would be written."""

    write: Callable[[Path], None]
    command: tuple[str, ...]


def _of(base: Callable[[Path], object], command: tuple[str, ...]) -> Callable[[Change], Hostile]:
    """Hostile folders that are a whole one but for a change."""

    def hostile(change: Change) -> Hostile:
        def write(folder: Path) -> None:
            base(folder)
            change(folder)

        return Hostile(write, command)

    return hostile


_qwen3 = _of(made.qwen3, _QWEN3)
_whisper = _of(made.whisper, _WHISPER)
_ct2 = _of(made.ctranslate2, _WHISPER)
_xtts = _of(made.xtts, _XTTS)
_piper = _of(voice, _PIPER)
_coqui = _of(made.coqui, _COQUI)
_openvoice = _of(made.openvoice, _COQUI)
_converter = _of(lambda f: (artifacts.openvoice(f), made.silence(f)), _CONVERT)
_vits = _of(artifacts.vits, _SAY)
_voices = _of(lambda folder: artifacts.xtts(folder, ONNX_CONTRIB), _VOICES)


def _gguf(**said: Any) -> Hostile:
    def write(folder: Path) -> None:
        made.gguf(folder / "model.gguf", **said)

    return Hostile(write, _GGUF)


def _config(base: Callable[[Change], Hostile], was: dict[str, Any], **said: Any) -> Hostile:
    return base(lambda f: made.put_json(f / "config.json", was | said))


def _tensors(header: dict[str, Any] | str, data: int = 64, length: int = -1) -> Hostile:
    return _qwen3(lambda f: made.safetensors(f / "model.safetensors", header, data, length))


def _index(text: str) -> Hostile:
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")

    return _qwen3(change)


def _template(source: str) -> Hostile:
    return _qwen3(lambda f: (f / "chat_template.jinja").write_text(source, encoding="utf-8"))


def _bin(*variables: bytes, **said: int) -> Hostile:
    return _ct2(lambda f: made.model_bin(f / "model.bin", variables, **said))


def _torch(change: Callable[[Path], object]) -> Hostile:
    return _xtts(lambda f: change(f / "model.pth"))


def _calls(module: str, name: str, argument: bytes) -> Hostile:
    """A checkpoint that calls something that torch lets it call."""
    steps = f"c{module}\n{name}\n".encode() + argument + b"\x85R"
    return _torch(lambda path: made.archive(path, made.pickled({"lora": steps})))


def _weights(*shape: int, stride: tuple[int, ...], stored: int = 16) -> Hostile:
    steps = tensor(shape, stride, stored)
    return _torch(lambda path: made.archive(path, made.pickled({"lora": steps})))


def _speakers(**values: bytes) -> Hostile:
    def write(folder: Path) -> None:
        folder.mkdir()
        artifacts.xtts(folder / "artifact", ONNX_CONTRIB)
        path = folder / "speakers_xtts.pth"
        made.archive(path, made.pickled({"Ana": made.pickled(values)[2:-1]}))

    return Hostile(write, _IMPORT)


def _arrays(change: Callable[[Path], object]) -> Hostile:
    return _voices(lambda f: change(f / "voices.npz"))


def _manifest(**said: Any) -> Hostile:
    return _vits(lambda f: made.manifest(f, said))


def _heard(stage: str, artifact: Callable[[Path], object], executor: str) -> Hostile:
    """An artifact that a profile names for what hears; what else it names needs no models."""

    def write(folder: Path) -> None:
        folder.mkdir()
        artifact(folder / "artifact")
        made.profile(folder, stage, folder / "artifact", executor)

    return Hostile(write, _HEAR)


def _silero(change: Callable[[Path], object]) -> Hostile:
    def artifact(folder: Path) -> None:
        artifacts.pulled(folder, "silero_vad.onnx")
        change(folder / "silero_vad.onnx")
        (folder / "other.data").write_bytes(bytes(64))

    return _heard("listen", artifact, "onnx")


def _ct2_artifact(change: Callable[[Path], object]) -> Hostile:
    def artifact(folder: Path) -> None:
        artifacts.whisper(folder, "ctranslate2")
        made.put_json(folder / "config.json", {"lang_ids": [], "suppress_ids": []})
        made.put_json(folder / "vocabulary.json", ["a", "b"])
        change(folder)

    return _heard("transcribe", artifact, "ctranslate2")


def _tokenizer(change: Callable[[Path], object]) -> Hostile:
    return _qwen3(lambda f: change(f / "tokenizer.json"))


_BLOCKS = [key("llama.block_count", 4, struct.pack("<I", 2**31 - 1))]
_EMBEDDING = info("token_embd.weight", [8, 8], 0)
_COUNT = struct.pack("<I", 4) + struct.pack("<Q", 2**63)
_LISTS = b"".join(struct.pack("<IQ", 9, 1) for _ in range(2000)) + struct.pack("<IQ", 0, 0)
_DETECTS = ("input", "speech_probs", 2), ("h", "hn", 3), ("c", "cn", 3)
_DOT = "__class__.__mro__[1].__subclasses__()"

SAFETENSORS = {
    "header of 100 GB": _tensors({}, length=100 * GB),
    "header of 2^64 bytes": _tensors({}, length=2**64 - 1),
    "header as long as the file": _tensors({}, length=74),
    "header of 99 MB of zeros": _qwen3(lambda f: made.sparse(f / "model.safetensors", 10**8, struct.pack("<Q", 99 * 10**6))),
    "tensors that overlap": _tensors({"a": entry([8], 0, 32), "b": entry([8], 16, 48)}, 48),
    "tensors in the same place": _tensors({"a": entry([8], 0, 32), "b": entry([8], 0, 32)}, 32),
    "a negative offset": _tensors({"a": entry([8], -32, 0)}),
    "an end before its beginning": _tensors({"a": entry([8], 32, 0)}),
    "an offset beyond the end": _tensors({"a": entry([8], 0, 10**12)}),
    "a hole between tensors": _tensors({"a": entry([4], 0, 16), "b": entry([4], 48, 64)}),
    "a size of 2^63": _tensors({"a": entry([2**63], 0, 64)}),
    "a negative size": _tensors({"a": entry([-16], 0, 64)}),
    "sizes whose product overflows": _tensors({"a": entry([2**32, 2**32], 0, 0)}, 0),
    "sizes that are not its bytes": _tensors({"a": entry([10**9, 10**9], 0, 64)}),
    "a name twice": _tensors('{"a":{"dtype":"F32","shape":[8],"data_offsets":[0,32]},"a":{"dtype":"F32","shape":[8],"data_offsets":[32,64]}}'),
    "metadata that nest": _tensors('{"__metadata__": ' + "[" * DEEP + "]" * DEEP + "}"),
    "no JSON": _tensors("\x00" * 40),
    "an unknown type": _tensors({"a": entry([16], 0, 64, "F999")}),
    "whole numbers": _tensors({"a": entry([16], 0, 64, "I32")}),
    "a name of a megabyte": _tensors({"a" * 10**6: entry([16], 0, 64)}),
    "a name of several lines": _tensors({"a\nvoxturn: fine\x1b[2J": entry([16], 0, 64)}),
    "20,000 tensors of nothing": _tensors({f"t{i}": entry([0], 0, 0) for i in range(20_000)}, 0),
    "cut short": _qwen3(lambda f: os.truncate(f / "model.safetensors", 900)),
    "a named pipe for weights": _qwen3(lambda f: made.pipe(f / "model.safetensors")),
    "a device for weights": _qwen3(lambda f: made.link(f / "model.safetensors", "/dev/zero")),
    "a folder for weights": _qwen3(lambda f: ((f / "model.safetensors").unlink(), (f / "model.safetensors").mkdir())),
    "a shard above the folder": _index('{"weight_map": {"a": "../../../../etc/passwd"}}'),
    "a shard at the root": _index('{"weight_map": {"a": "/etc/passwd"}}'),
    "an index that nests": _index('{"weight_map": ' + "[" * DEEP + "]" * DEEP + "}"),
    "shards that are no names": _index('{"weight_map": {"a": {"b": 1}, "c": [1], "d": null}}'),
}  # fmt: skip

CONFIGS = {
    "a width of 10^9": _config(_qwen3, made.QWEN3, hidden_size=GB),
    "10^9 layers": _config(_qwen3, made.QWEN3, num_hidden_layers=GB),
    "2^63 layers": _config(_qwen3, made.QWEN3, num_hidden_layers=2**63),
    "10^7 layers": _config(_qwen3, made.QWEN3, num_hidden_layers=10**7),
    "-1 layers": _config(_qwen3, made.QWEN3, num_hidden_layers=-1),
    "a vocabulary of 10^9": _config(_qwen3, made.QWEN3, vocab_size=GB),
    "10^9 heads": _config(_qwen3, made.QWEN3, num_attention_heads=GB),
    "heads of 10^9": _config(_qwen3, made.QWEN3, head_dim=GB),
    "an inner width of 10^9": _config(_qwen3, made.QWEN3, intermediate_size=GB),
    "10^12 positions": _config(_qwen3, made.QWEN3, max_position_embeddings=10**12),
    "10^7 positions for heads of 1024": _config(_qwen3, made.QWEN3, max_position_embeddings=10**7, head_dim=1024),
    "lists for numbers": _config(_qwen3, made.QWEN3, hidden_size=[8], layer_types=5),
    "a number of 5,000 digits": _qwen3(lambda f: (f / "config.json").write_text('{"hidden_size": ' + "9" * 5000 + "}")),
    "a configuration that nests": _qwen3(lambda f: made.nested(f / "config.json")),
    "a configuration of a gigabyte": _qwen3(lambda f: made.sparse(f / "config.json", GB, b"{")),
    "a named pipe for a configuration": _qwen3(lambda f: made.pipe(f / "config.json")),
    "a device for a configuration": _qwen3(lambda f: made.link(f / "config.json", "/dev/zero")),
    "a configuration in UTF-16": _qwen3(lambda f: (f / "config.json").write_text("{}", encoding="utf-16")),
    "a Whisper of 10^9 layers": _config(_whisper, made.WHISPER, encoder_layers=GB),
    "a Whisper of 10^6 layers": _config(_whisper, made.WHISPER, decoder_layers=10**6),
    "a Whisper of width 10^9": _config(_whisper, made.WHISPER, d_model=GB),
    "a Whisper without heads": _config(_whisper, made.WHISPER, encoder_attention_heads=0),
    "a Whisper whose languages are a number": _whisper(lambda f: made.put_json(f / "generation_config.json", {"lang_to_id": 7})),
    "a Whisper's configuration that nests": _whisper(lambda f: made.nested(f / "generation_config.json")),
    "a Whisper's tokenizer is a named pipe": _whisper(lambda f: made.pipe(f / "tokenizer.json")),
    "an XTTS of 10^9 layers": _xtts(lambda f: made.put_json(f / "config.json", {"model_args": made.XTTS | {"gpt_layers": GB}})),
    "an XTTS of 10^6 layers": _xtts(lambda f: made.put_json(f / "config.json", {"model_args": made.XTTS | {"gpt_layers": 10**6}})),
    "an XTTS whose layers are text": _xtts(lambda f: made.put_json(f / "config.json", {"model_args": made.XTTS | {"gpt_layers": "many"}})),
    "an XTTS without a rate": _xtts(lambda f: made.put_json(f / "config.json", {"model_args": made.XTTS | {"input_sample_rate": 0}})),
    "an XTTS's vocabulary that nests": _xtts(lambda f: made.nested(f / "vocab.json")),
    "an XTTS's vocabulary of infinite ids": _xtts(lambda f: (f / "vocab.json").write_text('{"model": {"vocab": {"a": 1e999}}}')),
}  # fmt: skip

TOKENIZERS = {
    "a tokenizer that nests": _tokenizer(made.nested),
    "a tokenizer of a gigabyte": _tokenizer(lambda path: made.sparse(path, GB, b"{")),
    "a named pipe for a tokenizer": _tokenizer(made.pipe),
    "a device for a tokenizer": _tokenizer(lambda path: made.link(path, "/dev/urandom")),
    "a tokenizer cut short": _tokenizer(lambda path: os.truncate(path, 300)),
    "a tokenizer of noise": _tokenizer(lambda path: path.write_bytes(bytes(range(256)) * 9)),
    "a template that does not end": _template("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"),
    "a template that writes gigabytes": _template("{% for a in range(99999) %}{% for b in range(99999) %}xxxxxxxx{% endfor %}{% endfor %}"),
    "a template with a large number": _template("{{ 10 ** (10 ** 10) }}"),
    "a template with a long text": _template("{{ 'x' * 10 ** 11 }}"),
    "a template that doubles a text": _template("{% set n = namespace(x='x') %}{% for a in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}"),
    "a template that looks for classes": _template("{{ ''." + _DOT + " }}"),
    "a template of two megabytes": _template("x" * (2 << 20)),
    "a template that nests": _template("{{ " + "(" * 5000 + ")" * 5000 + " }}"),
    "a template that is a named pipe": _qwen3(lambda f: made.pipe(f / "chat_template.jinja")),
}  # fmt: skip

GGUFS = {
    "2^63 keys": _gguf(counts=(0, 2**63)),
    "2^63 tensors": _gguf(counts=(2**63, 1)),
    "10^6 tensors that are not there": _gguf(counts=(10**6, 1), data=1 << 20),
    "a text of 2^63 bytes": _gguf(keys=[text("a") + struct.pack("<IQ", 8, 2**63)]),
    "a key of 2^40 bytes": _gguf(keys=[struct.pack("<Q", 2**40)]),
    "a list of 2^63 bytes": _gguf(keys=[key("a", 9, struct.pack("<IQ", 0, 2**63))]),
    "a list of 10^9 bytes that are not there": _gguf(keys=[key("a", 9, struct.pack("<IQ", 0, GB))]),
    "a list of 2^40 texts": _gguf(keys=[key("a", 9, struct.pack("<IQ", 8, 2**40))]),
    "lists in lists": _gguf(keys=[key("a", 9, _LISTS)]),
    "an unknown type of value": _gguf(keys=[key("a", 99, b"")]),
    "a key twice": _gguf(keys=[made.ARCHITECTURE, made.ARCHITECTURE]),
    "an architecture that is a list": _gguf(keys=[key("general.architecture", 9, struct.pack("<IQ", 0, 0))]),
    "a name that is no text": _gguf(keys=[key("general.architecture", 8, text(b"\xff\xfe"))]),
    "a tensor of 2^32 sizes": _gguf(tensors=[info("a", [8], 0, rank=2**32 - 1)], data=64),
    "sizes of a tensor that overflow": _gguf(tensors=[info("a", [2**32, 2**32], 0)], data=64),
    "a tensor of 2^63": _gguf(tensors=[info("a", [2**63], 0)], data=64),
    "a tensor at 2^63": _gguf(tensors=[info("a", [8], 2**63)], data=64),
    "a tensor at 2^64 - 32": _gguf(tensors=[info("a", [8], 2**64 - 32)], data=64),
    "tensors of GGUF that overlap": _gguf(tensors=[_EMBEDDING, info("a", [8, 8], 32)], data=512),
    "a tensor of an unknown type": _gguf(tensors=[info("a", [8], 0, kind=999)], data=64),
    "another version": _gguf(version=99),
    "an alignment of 0": _gguf(keys=[made.ARCHITECTURE, key("general.alignment", 4, bytes(4))]),
    "an alignment of 2^31": _gguf(keys=[made.ARCHITECTURE, key("general.alignment", 4, struct.pack("<I", 2**31))], tensors=[_EMBEDDING]),
    "2^31 blocks": _gguf(keys=[made.ARCHITECTURE, *_BLOCKS], tensors=[_EMBEDDING], data=256),
    "an embedding without sizes": _gguf(tensors=[info("token_embd.weight", [], 0)], data=64),
    "a terabyte of zeros": Hostile(lambda f: (f.mkdir(), made.sparse(f / "model.gguf", 10**12, b"GGUF"))[1], _GGUF),
    "a named pipe for GGUF": Hostile(lambda f: (f.mkdir(), made.pipe(f / "model.gguf"))[1], _GGUF),
    "a device for GGUF": Hostile(lambda f: (f.mkdir(), made.link(f / "model.gguf", "/dev/zero"))[1], _GGUF),
}  # fmt: skip

CTRANSLATE2 = {
    "2^32 variables": _bin(count=2**32 - 1),
    "2^32 aliases": _ct2(lambda f: (made.model_bin(f / "model.bin", [], aliases=2**32 - 1), os.truncate(f / "model.bin", 17 * GB))),
    "a variable beyond the end": _bin(variable("a", [2**30], 2**32 - 4, data=8)),
    "sizes of a variable that overflow": _bin(variable("a", [2**16] * 4, 0)),
    "a variable of an unknown type": _bin(variable("a", [2], 8, kind=77)),
    "a variable of 255 sizes": _bin(variable("a", [2**32 - 1] * 255, 4)),
    "a model.bin cut short": _ct2(lambda f: os.truncate(f / "model.bin", 9)),
    "a model.bin of nothing": _ct2(lambda f: os.truncate(f / "model.bin", 0)),
    "a model.bin whose sizes are of another rank": _bin(variable("encoder/conv1/weight", [2], 8)),
    "a named pipe for a model.bin": _ct2(lambda f: made.pipe(f / "model.bin")),
}  # fmt: skip

PICKLES = {
    "packed weights": _torch(lambda path: made.archive(path, made.pickled({}), bytes(50 << 20), packed=True)),
    "a member of 100 GB": _torch(lambda path: (made.archive(path, made.pickled({}), bytes(77)), made.patched(path, struct.pack("<II", 77, 77), struct.pack("<II", 2**32 - 2, 2**32 - 2)))),
    "members that are one": _torch(made.same_members),
    "a directory of 4 GB": _torch(lambda path: made.directory(path, 4 * GB)),
    "a pickle of ten megabytes": _torch(lambda path: made.archive(path, b"\x80\x02" + b"}" * (10 << 20) + b".")),
    "a mark of ten megabytes": _torch(lambda path: made.archive(path, made.pickled({}), byteorder=bytes(10 << 20))),
    "more numbers than are stored": _weights(GB, stride=(1,), stored=GB),
    "a number of numbers below 0": _weights(4, stride=(1,), stored=-4),
    "a tensor larger than its storage": _weights(10**6, stride=(1,)),
    "a tensor that repeats a number 10^12 times": _weights(10**6, 10**6, stride=(0, 0)),
    "a tensor at a negative place": _torch(lambda path: made.archive(path, made.pickled({"lora": tensor([4], [1], 4, offset=-(10**6))}))),
    "a tensor of negative size": _weights(-4, stride=(1,)),
    "a pickle that runs a command": _torch(lambda path: made.archive(path, b"cos\nsystem\n(X\x05\x00\x00\x00touchtR.")),
    "a pickle that opens a file": _torch(lambda path: made.archive(path, b"cio\nopen\n(X\x0b\x00\x00\x00/etc/passwdtR.")),
    "a pickle of 100 GB of zeros": _calls("builtins", "bytearray", made.number(100 * GB)),
    "a pickle that calls a storage": _calls("torch", "FloatStorage", made.number(100 * GB)),
    "a pickle that makes a tensor of nothing": _calls("torch", "FloatTensor", made.number(100 * GB)),
    "a pickle that doubles a text": _torch(lambda path: made.archive(path, made.pickled({"lora": made.doubled(40)}))),
    "a pickle that fills a tensor again": _torch(lambda path: made.archive(path, made.pickled({"lora": tensor([4], [1], 4) + b"}b"}))),
    "an old pickle of 100 GB": _torch(lambda path: made.old_torch(path, {"lora": tensor([4], [1], 100 * GB)})),
    "a pickle without an end": _torch(lambda path: path.write_bytes(b"\x80\x02" + b"}" * (10 << 20))),
    "an old pickle with a long text": _torch(lambda path: made.sparse(path, 5 * GB, b"\x80\x02X" + struct.pack("<I", 2**32 - 1))),
    "an old archive": _torch(made.tar),
    "a checkpoint of noise": _torch(lambda path: path.write_bytes(bytes(range(256)) * 40)),
    "a named pipe for a checkpoint": _torch(made.pipe),
    "a device for a checkpoint": _torch(lambda path: made.link(path, "/dev/zero")),
    "a voice of 10^12 numbers": _speakers(gpt_cond_latent=tensor([10**6, 10**6], [0, 0], 16), speaker_embedding=tensor([4], [1], 4)),
    "a voice that is no tensor": _speakers(gpt_cond_latent=b"K\x01", speaker_embedding=b"K\x01"),
}  # fmt: skip

ONNX = {
    "weights above the folder": _piper(lambda f: graph(f / "voice.onnx", "../../../../etc/passwd")),
    "weights at the root": _piper(lambda f: graph(f / "voice.onnx", "/etc/passwd")),
    "weights through a link": _piper(lambda f: (made.link(f / "w.data", "/etc/passwd"), graph(f / "voice.onnx", "w.data"))),
    "weights from a named pipe": _piper(lambda f: (made.pipe(f / "w.data"), graph(f / "voice.onnx", "w.data"))),
    "weights beyond their file": _piper(lambda f: ((f / "w.data").write_bytes(bytes(9)), graph(f / "voice.onnx", "w.data", 10**12))),
    "weights of a terabyte": _piper(lambda f: ((f / "w.data").write_bytes(bytes(9)), graph(f / "voice.onnx", "w.data", 0, 10**12))),
    "a voice cut short": _piper(lambda f: os.truncate(f / "voice.onnx", 40)),
    "a voice of a gigabyte": _piper(lambda f: made.sparse(f / "voice.onnx", GB)),
    "a voice that is another graph": _piper(lambda f: (f / "voice.onnx").write_bytes(b"")),
    "a named pipe for a voice": _piper(lambda f: made.pipe(f / "voice.onnx")),
    "a voice's settings that nest": _piper(lambda f: made.nested(f / "voice.onnx.json")),
    "a voice's settings that are text": _piper(lambda f: made.put_json(f / "voice.onnx.json", made.PIPER | {"inference": "none"})),
    "an artifact's weights above it": _silero(lambda path: graph(path, "../../../../etc/passwd")),
    "an artifact's weights at the root": _silero(lambda path: graph(path, "/etc/passwd")),
    "an artifact's weights beyond their file": _silero(lambda path: graph(path, "other.data", 10**12)),
    "an artifact's weights of a terabyte": _silero(lambda path: graph(path, "other.data", 0, 10**12)),
    "an artifact's weights from a named pipe": _silero(lambda path: (graph(path, "pipe"), made.pipe(path.with_name("pipe")))),
    "an artifact's constant of 100 GB": _silero(lambda path: constant(path, "ConstantOfShape", 100 * GB, _DETECTS)),
    "an artifact's constant of 3 GB": _silero(lambda path: constant(path, "Mul", 3 * GB, _DETECTS)),
    "an artifact's weights from a pipe in a folder": _silero(lambda path: (graph(path, "deep/pipe"), path.with_name("deep").mkdir(), made.pipe(path.parent / "deep" / "pipe"))),
    "an artifact's graph cut short": _silero(lambda path: (graph(path, "other.data"), os.truncate(path, 40))),
    "an artifact's graph of zeros": _silero(lambda path: made.sparse(path, 3 * GB)),
}  # fmt: skip

ARTIFACTS = {
    "a file above the artifact": _manifest(files={"../../../etc/passwd": "0" * 64}),
    "a file at the root": _manifest(files={"/etc/passwd": "0" * 64}),
    "a graph above the artifact": _manifest(graphs={"acoustic_encoder": {"file": "../../x.onnx", "inputs": [], "outputs": [], "dialect": "onnx"}}),
    "a size below 0": _manifest(sizes={"acoustic_encoder.onnx": -1}),
    "a size of a file that is not named": _manifest(sizes={"other": 1}),
    "a file that is shorter than recorded": _manifest(sizes={"acoustic_encoder.onnx": 77_000_000}),
    "an input of 10^18": _manifest(graphs={"acoustic_encoder": {"file": "a.onnx", "inputs": [{"name": "a", "dtype": "float32", "shape": [10**18]}], "outputs": [], "dialect": "onnx"}}),
    "a hop of 10^18": _manifest(properties=artifacts.VITS | {"hop": 10**18}),
    "a manifest that nests": _vits(lambda f: made.nested(f / "manifest.json")),
    "a manifest of a gigabyte": _vits(lambda f: made.sparse(f / "manifest.json", GB, b"{")),
    "a named pipe for a graph": _vits(lambda f: made.pipe(f / "acoustic_encoder.onnx")),
    "voices that are objects": _arrays(lambda path: made.npz(path, a=made.object_array())),
    "a voice of 10^12 zeros": _arrays(lambda path: made.npz(path, a=made.npy("(1000000, 1000000)", bytes(64)))),
    "a voice of a negative size": _arrays(lambda path: made.npz(path, a=made.npy("(-16,)", bytes(64)))),
    "a voice of records": _arrays(lambda path: made.npz(path, a=made.npy("(16,)", bytes(64), "V999999999"))),
    "a header that nests": _arrays(lambda path: made.npz(path, a=made.npy("-" * 3000 + "1", bytes(64)))),
    "a header that nests deeper": _arrays(lambda path: made.npz(path, a=made.npy("-" * 9000 + "1", bytes(64)))),
    "a header whose names are no texts": _arrays(lambda path: made.npz(path, a=made.npy("(16,), 1: 2", bytes(64)))),
    "a header that is a program": _arrays(lambda path: made.npz(path, a=made.npy("__import__('os')", bytes(64)))),
    "voices that are packed": _arrays(lambda path: made.npz(path, zipfile.ZIP_DEFLATED, a=made.npy("(10000000,)", bytes(40_000_000)))),
    "voices of noise": _arrays(lambda path: path.write_bytes(bytes(range(256)) * 40)),
    "a directory of voices of 300 MB": _arrays(lambda path: made.directory(path, 300 << 20)),
    "a device for voices": _arrays(lambda path: made.link(path, "/dev/zero")),
    "graphs that are a list": _voices(lambda f: made.manifest(f, {"graphs": []})),
    "a Whisper of 2^32 variables": _ct2_artifact(lambda f: made.model_bin(f / "model.bin", [], 2**32 - 1)),
    "a Whisper whose weights are 100 GB": _ct2_artifact(lambda f: made.model_bin(f / "model.bin", [variable("a", [2**32 - 1, 25], 2**32 - 1, data=8)])),
    "a Whisper that is cut short": _ct2_artifact(lambda f: made.model_bin(f / "model.bin", [variable("a", [16], 64, data=8)])),
    "a Whisper whose settings nest": _ct2_artifact(lambda f: (made.model_bin(f / "model.bin", []), made.nested(f / "config.json"))),
}  # fmt: skip

COQUI = {
    "a Coqui's configuration that nests": _coqui(lambda f: made.nested(f / "config.json")),
    "comments without an end": _coqui(lambda f: (f / "config.json").write_text("{" + "/*" * (1 << 22))),
    "texts without an end": _coqui(lambda f: (f / "config.json").write_text("{" + '"\\' * (1 << 22))),
    "a table of languages that nests": _coqui(lambda f: made.nested(f / "language_ids.json")),
    "a table of languages above the folder": _coqui(lambda f: made.put_json(f / "config.json", {"model": "vits", "audio": {"sample_rate": 1}, "language_ids_file": "../../../../etc/passwd"})),
    "a Coqui's weight that repeats a number": _coqui(lambda f: made.archive(f / "model.pth", made.pickled({"text_encoder.emb.weight": tensor([1 << 12, 1 << 12], [0, 0], 16)}))),
    "a Coqui's pickle that runs a command": _coqui(lambda f: made.archive(f / "model.pth", b"cos\nsystem\n(X\x05\x00\x00\x00touchtR.")),
    "a named pipe for a Coqui's weights": _coqui(lambda f: made.pipe(f / "model.pth")),
    "a Coqui's configuration that is a device": _coqui(lambda f: made.link(f / "config.json", "/dev/zero")),
}  # fmt: skip

OPENVOICE = {
    "an OpenVoice's weight that repeats a number": _openvoice(lambda f: made.archive(f / "checkpoint.pth", made.pickled({"enc_q.pre.weight": tensor([1 << 12, 1 << 12], [0, 0], 16)}))),
    "an OpenVoice's pickle that runs a command": _openvoice(lambda f: made.archive(f / "checkpoint.pth", b"cos\nsystem\n(X\x05\x00\x00\x00touchtR.")),
    "an OpenVoice's configuration that nests": _openvoice(lambda f: made.nested(f / "config.json")),
    "a converter whose spectra are a gigabyte": _converter(lambda f: made.manifest(f, {"properties": artifacts.OPENVOICE | {"fft": GB}})),
    "a converter that looks ahead for ever": _converter(lambda f: made.manifest(f, {"properties": artifacts.OPENVOICE | {"reach": 1 << 60}})),
    "a converter whose graphs are empty": _converter(lambda f: None),
}  # fmt: skip

MODELS: dict[str, Hostile] = {
    **SAFETENSORS, **CONFIGS, **TOKENIZERS, **GGUFS, **CTRANSLATE2, **PICKLES, **ONNX, **ARTIFACTS, **COQUI, **OPENVOICE,
}  # fmt: skip
