"""GGUF files of a tiny Qwen3: damaged ones, stretched rotary frequencies, and tokenizers that give
the original's ids."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from tokenizers import Tokenizer
from voxturn.bench import gguf_file
from voxturn.export.decoder import synthetic
from voxturn.export.decoder.checkpoint import MemoryCheckpoint
from voxturn.export.decoder.export import Opened
from voxturn.export.decoder.families import DecoderConfig, Llama3Scaling, inverse_frequencies
from voxturn.export.decoder.gguf import GgufCheckpoint
from voxturn.export.decoder.reference import logits_of
from voxturn.export.decoder.tokenizer import read_tokenizer
from voxturn.runtime.cli import main
from voxturn.runtime.errors import CorruptModel, ExportFailed, VoxturnError

Tensors = Callable[[str, np.ndarray, Any], tuple[np.ndarray, Any] | None]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen3") / "checkpoint"
    synthetic.make_checkpoint(folder, "qwen3-0.6b", "tiny", 3)
    return folder


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.gguf"


def changed(patch: pytest.MonkeyPatch, change: Tensors) -> None:
    """Writers write what `change` makes of each tensor's values and type; None leaves it out."""
    add = gguf.GGUFWriter.add_tensor

    def added(
        self: Any, name: str, tensor: np.ndarray, raw_shape: Any = None, raw_dtype: Any = None
    ) -> None:
        made = change(name, tensor, raw_dtype)
        if made is not None:
            add(self, name, made[0], raw_dtype=made[1])

    patch.setattr(gguf.GGUFWriter, "add_tensor", added)


def refused(path: Path, error: type[VoxturnError], message: str, capsys: Any) -> None:
    """By the reader with this error, by the command line with one line; neither leaves anything."""
    before = set(path.parent.iterdir())
    with pytest.raises(error, match=message):
        Opened.open(path)
    command = [
        "export",
        "qwen3",
        "--checkpoint",
        str(path),
        "--for",
        "onnx",
        "-o",
        str(path.with_name("out")),
    ]
    assert main(command) == error.exit_code
    assert capsys.readouterr().err.count("\n") == 1
    assert set(path.parent.iterdir()) == before


def test_a_file_cut_anywhere_is_not_whole(checkpoint: Path, path: Path, capsys: Any) -> None:
    gguf_file.write(checkpoint, path, "F32")
    data = path.read_bytes()
    begun = gguf.GGUFReader(str(path)).data_offset
    for size in (
        0,
        3,
        4,
        10,
        24,
        25,
        60,
        200,
        5000,
        begun // 2,
        begun - 50,
        begun - 1,
        begun,
        begun + 99,
        len(data) - 40,
    ):
        path.write_bytes(data[:size])
        refused(path, CorruptModel, "model.gguf: not a whole GGUF file", capsys)


def test_a_damaged_beginning_is_an_error_of_ours(checkpoint: Path, path: Path) -> None:
    gguf_file.write(checkpoint, path, "Q4_0")
    data, random = bytearray(path.read_bytes()), np.random.default_rng(0)
    ends = len(data) - gguf.GGUFReader(str(path)).data_offset
    for _ in range(25):
        damaged = bytearray(data)
        for where in (
            *random.integers(8, 900, 3),
            *(len(data) - ends - random.integers(1, 1500, 3)),
        ):
            damaged[where] = random.integers(256)
        path.write_bytes(damaged)
        try:
            Opened.open(path)
        except (CorruptModel, ExportFailed):
            continue


@pytest.mark.parametrize("vocab_size", [True, False])
def test_a_file_without_embedding(
    vocab_size: bool, checkpoint: Path, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    changed(
        monkeypatch,
        lambda name, values, kind: None if name == "token_embd.weight" else (values, kind),
    )
    if vocab_size:
        add = gguf.GGUFWriter.add_block_count
        monkeypatch.setattr(
            gguf.GGUFWriter,
            "add_block_count",
            lambda self, n: (add(self, n), self.add_vocab_size(4096))[0],
        )
    gguf_file.write(checkpoint, path, "F32")
    refused(path, CorruptModel, r"has no token_embd\.weight; pull the model again", capsys)


def test_weights_of_a_type_that_cannot_be_read(
    checkpoint: Path, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:

    def integers(name: str, values: np.ndarray, kind: object) -> tuple[np.ndarray, object]:
        return (values.astype(np.int32), None) if "ffn_up" in name else (values, kind)

    changed(monkeypatch, integers)
    gguf_file.write(checkpoint, path, "F32")
    refused(
        path,
        ExportFailed,
        r"blk\.0\.ffn_up\.weight is stored as I32, one of 2 weights that cannot be read",
        capsys,
    )


def test_weights_of_another_shape(
    checkpoint: Path, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    changed(
        monkeypatch,
        lambda name, values, kind: (values[:-32] if "attn_q." in name else values, kind),
    )
    gguf_file.write(checkpoint, path, "F32")
    refused(
        path,
        ExportFailed,
        r"0\.self_attn\.q_proj\.weight is \[96, 64\], not \[128, 64\]; model\.layers\.1\.",
        capsys,
    )


@pytest.mark.parametrize("key", ["tokens", "merges"])
def test_a_damaged_tokenizer(
    key: str, checkpoint: Path, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    name = {"tokens": "add_token_list", "merges": "add_token_merges"}[key]
    add = getattr(gguf.GGUFWriter, name)
    monkeypatch.setattr(
        gguf.GGUFWriter, name, lambda self, values: add(self, [*values[:-7], "\u2603"])
    )
    gguf_file.write(checkpoint, path, "F32")
    refused(path, CorruptModel, "the GGUF file's tokenizer is damaged", capsys)


_LLAMA3 = Llama3Scaling(8.0, 1.0, 4.0, 64.0)


def divisors_of(config: DecoderConfig) -> np.ndarray:
    """As llama.cpp's converter makes them of a Llama 3.1."""
    out = []
    for i in range(config.head_dim // 2):
        wave = 2 * np.pi * config.rope_theta ** (2 * i / config.head_dim)
        longest, shortest = (
            _LLAMA3.original_context / f
            for f in (_LLAMA3.low_freq_factor, _LLAMA3.high_freq_factor)
        )
        smooth = (_LLAMA3.original_context / wave - _LLAMA3.low_freq_factor) / (
            _LLAMA3.high_freq_factor - _LLAMA3.low_freq_factor
        )
        out.append(
            1.0
            if wave < shortest
            else _LLAMA3.factor
            if wave > longest
            else 1 / ((1 - smooth) / _LLAMA3.factor + smooth)
        )
    return np.array(out, np.float32)


def llama(checkpoint: Path, path: Path, patch: pytest.MonkeyPatch, divisors: Any) -> None:
    """The Qwen3 as a llama (its norms of queries and keys left out), with a table `rope_freqs`."""
    make, done = gguf.GGUFWriter.__init__, gguf.GGUFWriter.write_header_to_file
    patch.setattr(gguf.GGUFWriter, "__init__", lambda self, file, _: make(self, file, "llama"))
    changed(
        patch,
        lambda name, values, kind: (
            None if "attn_q_norm" in name or "attn_k_norm" in name else (values, kind)
        ),
    )

    def finished(self: Any) -> None:
        self.add_tensor("rope_freqs.weight", divisors)
        done(self)

    patch.setattr(gguf.GGUFWriter, "write_header_to_file", finished)
    gguf_file.write(checkpoint, path, "F32")


def test_a_llamas_rope_freqs_stretch_its_frequencies(
    checkpoint: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DecoderConfig.from_checkpoint(json.loads((checkpoint / "config.json").read_text()))
    scaled = inverse_frequencies(DecoderConfig(**vars(config) | {"rope_scaling": _LLAMA3}))
    assert not np.allclose(scaled, inverse_frequencies(config))
    llama(checkpoint, path, monkeypatch, divisors_of(config))
    opened = Opened.open(path)
    np.testing.assert_allclose(inverse_frequencies(opened.config), scaled, rtol=1e-6)
    stretch = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
               "original_max_position_embeddings": 64}  # fmt: skip
    tensors = {name: opened.checkpoint.array(name) for name in opened.checkpoint.names()}
    wanted = MemoryCheckpoint(
        "llama", dict(opened.checkpoint.config) | {"rope_scaling": stretch}, tensors
    )
    ids = list(range(5, 45))
    np.testing.assert_allclose(
        logits_of(opened.checkpoint, [ids], 5)[0],
        logits_of(wanted, [ids], 5)[0],
        rtol=1e-3,
        atol=1e-4,
    )
    out = path.with_name("out")
    assert (
        main(["export", "qwen3", "--checkpoint", str(path), "--for", "onnx", "-o", str(out)]) == 0
    )


@pytest.mark.parametrize(
    "divisors", [np.ones(15, np.float32), np.zeros(16, np.float32), np.full(16, np.nan, np.float32)]
)
def test_rope_freqs_that_cannot_be(
    divisors: np.ndarray, checkpoint: Path, path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    llama(checkpoint, path, monkeypatch, divisors)
    refused(path, ExportFailed, "rope_freqs must be 16 numbers above 0", capsys)


_CASES = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_SPACES = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
PUBLISHED: dict[str, dict[str, Any]] = {
    "qwen2": {
        "normalizer": {"type": "NFC"},
        "regex": rf"{_CASES}|\p{{N}}|{_SPACES}",
        "ignore_merges": False,
    },
    "llama-bpe": {
        "normalizer": None,
        "regex": rf"{_CASES}|\p{{N}}{{1,3}}|{_SPACES}",
        "ignore_merges": True,
    },
}
"""What Qwen's and Llama 3's own `tokenizer.json` say."""
TEXTS = (
    "Hello there, it's 42! WE'LL see 123456 in 2024.", "cafe\u0301 \u0627\u0644\u0633\u0651\u0644\u0627\u0645", "a\n\n b  c\t\r\n  ",
    "the xylophone returns", "<|im_start|>user\nHello.<|im_end|>",
)  # fmt: skip


@pytest.mark.parametrize("pre", PUBLISHED)
def test_a_files_tokenizer_gives_the_originals_ids(
    pre: str, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, published = tmp_path / "checkpoint", PUBLISHED[pre]
    shutil.copytree(checkpoint, folder)
    original = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    merged = original["model"]["vocab"].pop("".join(original["model"]["merges"].pop()))
    original["model"]["vocab"]["\u0120xylophone"] = merged  # a token that no merges lead to
    original["model"]["ignore_merges"] = published["ignore_merges"]
    original["normalizer"] = published["normalizer"]
    original["pre_tokenizer"] = {
        "type": "Sequence",
        "pretokenizers": [
            {
                "type": "Split",
                "pattern": {"Regex": published["regex"]},
                "behavior": "Isolated",
                "invert": False,
            },
            {
                "type": "ByteLevel",
                "add_prefix_space": False,
                "trim_offsets": True,
                "use_regex": False,
            },
        ],
    }
    (folder / "tokenizer.json").write_text(json.dumps(original), encoding="utf-8")
    add = gguf.GGUFWriter.add_tokenizer_pre
    monkeypatch.setattr(gguf.GGUFWriter, "add_tokenizer_pre", lambda self, _: add(self, pre))
    gguf_file.write(folder, tmp_path / "model.gguf", "F32")
    ours, theirs = (
        read_tokenizer(GgufCheckpoint(tmp_path / "model.gguf")),
        Tokenizer.from_str(json.dumps(original)),
    )
    for text in TEXTS:
        assert ours.encode(text).ids == theirs.encode(text).ids, text
    assert (merged in ours.encode(TEXTS[3]).ids) is published["ignore_merges"]
