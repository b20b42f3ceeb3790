"""What hostile model files are made of: small files of every format, whose headers say whatever
they are told to say.

Nothing here needs the libraries whose formats these are, so that nothing is checked on the way.
Large files are sparse.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import tarfile
import wave
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export.decoder.families import FAMILIES, DecoderConfig
from voxturn.runtime.families.fake import write_profile
from voxturn.runtime.models.manifest import MANIFEST

from tests.artifacts import vocabulary

GB = 10**9
DEEP = 100_000
QWEN3 = {
    "model_type": "qwen3", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 4, "vocab_size": 64, "tie_word_embeddings": True, "hidden_act": "silu",
    "rms_norm_eps": 1e-6, "rope_theta": 1e6, "max_position_embeddings": 2048, "eos_token_id": 3,
}  # fmt: skip
WHISPER = {
    "model_type": "whisper", "num_mel_bins": 80, "d_model": 8, "encoder_layers": 1, "decoder_layers": 1,
    "encoder_attention_heads": 2, "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16,
    "vocab_size": 64, "max_source_positions": 1500, "max_target_positions": 64,
}  # fmt: skip
XTTS = {
    "gpt_layers": 1, "gpt_n_model_channels": 8, "gpt_n_heads": 2, "decoder_input_dim": 8, "gpt_num_audio_tokens": 8,
    "gpt_start_audio_token": 6, "gpt_stop_audio_token": 7, "gpt_number_text_tokens": 64, "gpt_start_text_token": 1,
}  # fmt: skip
PIPER = {
    "inference": {"noise_scale": 0.6, "length_scale": 1.0, "noise_w": 0.8},
    "audio": {"sample_rate": 22050}, "espeak": {"voice": "en-us"}, "phoneme_id_map": {"_": [0]},
}  # fmt: skip


def put_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def nested(path: Path) -> None:
    """JSON that is lists in lists."""
    path.write_text('{"a": ' + "[" * DEEP + "]" * DEEP + "}", encoding="utf-8")


def sparse(path: Path, size: int, head: bytes = b"") -> None:
    """A file of zeros after `head`, which takes no room."""
    path.write_bytes(head)
    os.truncate(path, size)


def pipe(path: Path) -> None:
    """A named pipe that nobody writes into, in a file's place."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def link(path: Path, target: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(target)


# --- safetensors


def safetensors(path: Path, header: Mapping[str, Any] | str, data: int, length: int = -1) -> None:
    """A file of this header and so many bytes; `length` is what it says of the header, by default
    the truth."""
    text = (header if isinstance(header, str) else json.dumps(header)).encode()
    size = len(text) if length < 0 else length
    path.write_bytes(struct.pack("<Q", size) + text + bytes(data))


def entry(shape: Sequence[int], begin: int, end: int, kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": list(shape), "data_offsets": [begin, end]}


def weights(path: Path, shapes: Mapping[str, Sequence[int]]) -> None:
    """A whole file of zeros of these shapes, in half precision."""
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = entry(shape, at, at + size, "F16")
        at += size
    safetensors(path, header, at)


def qwen3(folder: Path) -> None:
    """A whole checkpoint of 1,200 numbers."""
    folder.mkdir()
    put_json(folder / "config.json", QWEN3)
    shapes = FAMILIES["qwen3"].shapes(DecoderConfig.from_checkpoint(QWEN3), 16)
    weights(folder / "model.safetensors", shapes)
    vocabulary(folder / "tokenizer.json", "<|im_start|>", "<|im_end|>", "<|endoftext|>")


def whisper(folder: Path) -> None:
    """A checkpoint of a Whisper, whose only weight is one that it does not have."""
    folder.mkdir()
    put_json(folder / "config.json", WHISPER)
    put_json(folder / "generation_config.json", {"lang_to_id": {"<|en|>": 3}})
    weights(folder / "model.safetensors", {"lora": [2]})
    marks = ("startoftranscript", "endoftext", "nospeech", "notimestamps", "en")
    vocabulary(folder / "tokenizer.json", *(f"<|{mark}|>" for mark in marks))


# --- GGUF


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


ARCHITECTURE = key("general.architecture", 8, text("llama"))


def info(name: str, dims: Sequence[int], offset: int, kind: int = 0, rank: int = -1) -> bytes:
    """Where a tensor lies; type 0 is float32."""
    sizes = struct.pack(f"<{len(dims)}Q", *dims)
    rank = len(dims) if rank < 0 else rank
    return text(name) + struct.pack("<I", rank) + sizes + struct.pack("<IQ", kind, offset)


def gguf(
    path: Path,
    keys: Sequence[bytes] = (ARCHITECTURE,),
    tensors: Sequence[bytes] = (),
    data: int = 0,
    counts: tuple[int, int] | None = None,
    version: int = 3,
) -> None:
    """A file of these keys and tensors, and so many bytes for them; `counts` is what it says of
    their numbers."""
    path.parent.mkdir(exist_ok=True)
    numbers = counts or (len(tensors), len(keys))
    head = b"GGUF" + struct.pack("<IQQ", version, *numbers) + b"".join((*keys, *tensors))
    path.write_bytes(head + bytes(-len(head) % 32 + data))


# --- CTranslate2


def short(value: str) -> bytes:
    raw = value.encode() + b"\0"
    return struct.pack("<H", len(raw)) + raw


def variable(name: str, shape: Sequence[int], size: int, kind: int = 0, data: int = -1) -> bytes:
    """A variable that says it has `size` bytes, and has `data`."""
    sizes = struct.pack(f"<B{len(shape)}I", len(shape), *shape)
    return short(name) + sizes + struct.pack("<BI", kind, size) + bytes(size if data < 0 else data)


def model_bin(path: Path, variables: Sequence[bytes], count: int = -1, aliases: int = 0) -> None:
    number = len(variables) if count < 0 else count
    head = struct.pack("<I", 6) + short("WhisperSpec") + struct.pack("<II", 3, number)
    path.write_bytes(head + b"".join(variables) + struct.pack("<I", aliases))


def ctranslate2(folder: Path, *variables: bytes, **said: int) -> None:
    """A Whisper in CTranslate2's format, whose variables are these."""
    whisper(folder)
    (folder / "model.safetensors").unlink()
    put_json(folder / "config.json", {"lang_ids": [3], "suppress_ids": [], "alignment_heads": []})
    put_json(folder / "vocabulary.json", ["a", "b"])
    model_bin(folder / "model.bin", variables, **said)


# --- PyTorch


def number(value: int) -> bytes:
    """A pickle's step for a whole number."""
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def _word(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _tuple(values: Sequence[int]) -> bytes:
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(shape: Sequence[int], stride: Sequence[int], stored: int, offset: int = 0) -> bytes:
    """The pickle's steps for a tensor over the file's only storage, of which it says that it has
    `stored` numbers."""
    storage = b"(" + _word("storage") + b"ctorch\nFloatStorage\n" + _word("0") + _word("cpu")
    made = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + number(stored) + b"tQ"
    hooks = b"\x89ccollections\nOrderedDict\n)R"
    return made + number(offset) + _tuple(shape) + _tuple(stride) + hooks + b"tR"


def doubled(times: int) -> bytes:
    """A pickle's steps for bytes that are written in hexadecimal again and again."""
    encode = b"c_codecs\nencode\n"
    latin = encode + _word("ab") + _word("latin1") + b"\x86R"
    return encode * times + latin + (_word("hex") + b"\x86R") * times


def old_torch(path: Path, values: Mapping[str, bytes]) -> None:
    """A file as PyTorch wrote it before 1.6: pickles one after the other, then the weights."""
    about = (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})
    heads = b"".join(pickle.dumps(value, 2) for value in about)
    steps = pickled(values).replace(b"tQ", b"NtQ")  # no view of another storage
    path.write_bytes(heads + steps + pickle.dumps(["0"], 2) + bytes(64))


def pickled(values: Mapping[str, bytes]) -> bytes:
    """A dictionary of what these steps make."""
    items = b"".join(_word(name) + steps for name, steps in values.items())
    return b"\x80\x02}(" + items + b"u."


def archive(
    path: Path, pickle: bytes, data: bytes = bytes(64), packed: bool = False, **more: bytes
) -> None:
    """A file as `torch.save` writes it."""
    kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", kind) as members:
        contents = {"data.pkl": pickle, "version": b"3\n", "data/0": data, **more}
        for name, content in contents.items():
            members.writestr(f"archive/{name}", content)


def same_members(path: Path) -> None:
    """An archive whose directory names the same megabyte fifty times."""
    archive(path, pickled({}), bytes(1 << 20))
    data, copies = path.read_bytes(), 50
    begin = data.rindex(b"PK\x01\x02")
    more, end = data[begin:-22] * copies, bytearray(data[-22:])
    count, size, at = struct.unpack_from("<HII", end, 10)
    struct.pack_into("<HHII", end, 8, count + copies, count + copies, size + len(more), at)
    path.write_bytes(data[:-22] + more + end)


def directory(path: Path, size: int) -> None:
    """A sparse archive whose directory is of so many bytes."""
    sparse(path, size, b"PK\x03\x04")
    with path.open("ab") as file:
        file.write(struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 1, 1, size, 0, 0))


def tar(path: Path) -> None:
    """The archive that PyTorch wrote before 2016."""
    with tarfile.open(path, "w") as members:
        for name in ("storages", "tensors", "pickle"):
            about = tarfile.TarInfo(name)
            about.size = 9
            members.addfile(about, io.BytesIO(bytes(9)))


def xtts(folder: Path) -> None:
    """A folder of an XTTS v2, whose only weight is none of it."""
    folder.mkdir()
    put_json(folder / "config.json", {"model_args": XTTS, "languages": ["en"]})
    vocabulary(folder / "vocab.json", "[en]", "[START]", "[STOP]")
    archive(folder / "model.pth", pickled({"lora": tensor([4], [1], 4)}))


def coqui(folder: Path) -> None:
    """A folder of a VITS of Coqui's, whose only weight is none of it."""
    folder.mkdir()
    put_json(folder / "config.json", {"model": "vits", "audio": {"sample_rate": 22050}})
    archive(folder / "model.pth", pickled({"lora": tensor([4], [1], 4)}))


OPENVOICE = {
    "data": {"sampling_rate": 22050, "filter_length": 1024, "hop_length": 256, "win_length": 1024},
    "model": {"upsample_rates": [8, 8, 4], "resblock_dilation_sizes": [[1, 3, 5]]},
}


def openvoice(folder: Path) -> None:
    """A folder of an OpenVoice, whose only weight is none of it."""
    folder.mkdir()
    put_json(folder / "config.json", OPENVOICE)
    archive(folder / "checkpoint.pth", pickled({"lora": tensor([4], [1], 4)}))


def patched(path: Path, old: bytes, new: bytes) -> None:
    """Put other bytes in place of the same number, wherever they are."""
    assert len(old) == len(new)
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))


# --- artifacts


def manifest(folder: Path, change: Mapping[str, Any]) -> None:
    """Change what an artifact's manifest says."""
    table = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    put_json(folder / MANIFEST, table | change)


def profile(folder: Path, stage: str, artifact: Path, executor: str) -> None:
    """`profile.toml`, whose stages need no models but for one, and a second of silence."""
    written = write_profile(folder / "fakes").read_text(encoding="utf-8")
    old = f'[{stage}]\nmodel = "{folder / "fakes" / stage}"\nexecutor = "fake"'
    assert old in written
    new = f'[{stage}]\nmodel = "{artifact}"\nexecutor = "{executor}"'
    (folder / "profile.toml").write_text(written.replace(old, new), encoding="utf-8")
    silence(folder)


def silence(folder: Path) -> None:
    """`silence.wav`, a second."""
    with wave.open(str(folder / "silence.wav"), "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(bytes(32000))


def npy(shape: str, data: bytes, descr: str = "<f4") -> bytes:
    """An array's file that says it has this shape."""
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def npz(path: Path, kind: int = zipfile.ZIP_STORED, **arrays: bytes) -> None:
    with zipfile.ZipFile(path, "w", kind) as members:
        for name, content in arrays.items():
            members.writestr(f"{name}.npy", content)


def object_array() -> bytes:
    """An array of objects, as numpy pickles it."""
    out = io.BytesIO()
    np.save(out, np.array([{"a": 1}], object), allow_pickle=True)
    return out.getvalue()
