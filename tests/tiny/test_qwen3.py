"""A synthetic Qwen3 in the official layout: what transformers, GGUF and the exporter make of the same folder."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from voxturn.bench import gguf_file
from voxturn.export import qwen3
from voxturn.export.checkpoint import GgufCheckpoint, open_checkpoint
from voxturn.export.decoder import build_decoder, chat_form
from voxturn.export.parity import forced, greedy, open_decoder
from voxturn.export.whisper_reference import import_transformers
from voxturn.runtime.cli import main
from voxturn.runtime.contract import Manifest
from voxturn.runtime.errors import CorruptModel, ExportFailed, UsageError, VoxturnError
from voxturn.runtime.text.chat import CHAT_FORMATS, Chat, Message
from voxturn.runtime.text.tokenizer import JsonTokenizer

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers and what it imports
_PROMPT = list(range(300, 324))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen3") / "checkpoint"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(qwen3, "_SHARD_BYTES", 50_000)  # several shards
        qwen3.make_checkpoint(folder, "qwen3-0.6b", "tiny", 3)
    return folder


def changed(checkpoint: Path, target: Path) -> Path:
    shutil.copytree(checkpoint, target)
    return target


def run(*arguments: str) -> int:
    return main(list(arguments))


def test_transformers_loads_it_and_gives_the_same_tokens(checkpoint: Path, tmp_path: Path) -> None:
    assert len(list(checkpoint.glob("*.safetensors"))) > 2
    transformers = import_transformers()
    model, report = transformers.AutoModelForCausalLM.from_pretrained(
        checkpoint, dtype=torch.float32, output_loading_info=True
    )
    assert not set(report["missing_keys"]) | set(report["unexpected_keys"])
    ids = torch.tensor([_PROMPT])
    with torch.no_grad():
        wanted = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=64, eos_token_id=None,
            pad_token_id=0,
        )[0, len(_PROMPT) :].tolist()  # fmt: skip
    build_decoder(open_checkpoint(checkpoint), "fp32", tmp_path / "decoder.onnx")
    assert greedy(open_decoder(tmp_path / "decoder.onnx"), _PROMPT, 64)[0] == wanted


def test_a_gguf_file_of_the_same_weights_is_the_same_model(checkpoint: Path, tmp_path: Path) -> None:
    gguf_file.write(checkpoint, tmp_path / "model.gguf", "F32")
    opened = open_checkpoint(tmp_path / "model.gguf")
    assert isinstance(opened, GgufCheckpoint)
    assert opened.family == "qwen3"
    build_decoder(opened, "fp32", tmp_path / "gguf.onnx")
    build_decoder(open_checkpoint(checkpoint), "fp32", tmp_path / "folder.onnx")
    tokens = _PROMPT[:8]
    one, other = (forced(open_decoder(tmp_path / name), _PROMPT, tokens) for name in ("gguf.onnx", "folder.onnx"))
    np.testing.assert_allclose(one, other, atol=1e-5)
    out = tmp_path / "artifact"
    assert run("export", "qwen3", "--checkpoint", str(tmp_path / "model.gguf"), "--to", "onnx", "-o", str(out)) == 0
    texts = ["Hello there, it's 42!", "مرحبا", "a\n\n b"]
    ours, theirs = JsonTokenizer(out / "tokenizer.json"), JsonTokenizer(checkpoint / "tokenizer.json")
    for text in texts:
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text)) == text
    assert ours.id_of("</think>") == theirs.id_of("</think>")


@pytest.mark.parametrize(
    ("target", "precision", "most_kl"),
    [("onnx", "int8", 1e-4), ("onnx", "int4", 5e-3), ("tensorrt-onnx", "fp16", 1e-5), ("ctranslate2", "int8", None)],
)
def test_every_target_is_exported_and_says_what_it_reached(
    checkpoint: Path, tmp_path: Path, target: str, precision: str, most_kl: float | None
) -> None:
    out = tmp_path / "artifact"
    command = ["export", "qwen3", "--checkpoint", str(checkpoint), "--to", target, "--precision", precision]
    assert run(*command, "-o", str(out)) == 0
    manifest = Manifest.read(out)
    assert manifest.synthetic
    assert manifest.properties["chat"] == "qwen3"
    if most_kl is not None:
        assert manifest.reached["kl.mean"] < most_kl
        return
    import ctranslate2

    generator = ctranslate2.Generator(str(out), device="cpu")
    names = json.loads((out / "vocabulary.json").read_text(encoding="utf-8"))
    assert len(list(generator.generate_tokens([names[i] for i in _PROMPT], max_length=5))) >= 1


def test_the_tokenizer_has_the_marks_that_a_dialogue_needs(checkpoint: Path) -> None:
    assert chat_form(checkpoint / "tokenizer.json") == "qwen3"
    tokenizer = JsonTokenizer(checkpoint / "tokenizer.json")
    prompt = Chat(tokenizer, CHAT_FORMATS["qwen3"]).prompt([Message("user", "Hello.")])
    assert tokenizer.id_of("<think>") in prompt
    assert prompt[0] == tokenizer.id_of("<|im_start|>")


def _drop_shard(folder: Path) -> None:
    sorted(folder.glob("*.safetensors"))[1].unlink()


def _cut_shard(folder: Path) -> None:
    file = sorted(folder.glob("*.safetensors"))[0]
    file.write_bytes(file.read_bytes()[:-100])


def _integers(folder: Path) -> None:
    file = sorted(folder.glob("*.safetensors"))[0]
    tensors: dict[str, Any] = load_file(file)
    name = next(iter(tensors))
    save_file(tensors | {name: np.zeros(tensors[name].shape, np.int8)}, file)


def _no_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_text("{}")


def _no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def _other_family(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "mamba"}))


@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (_drop_shard, CorruptModel, r"shard model-00002\.safetensors is missing \(1 of \d+\)"),
        (_cut_shard, CorruptModel, r"model-00001\.safetensors: not a whole safetensors file"),
        (_integers, ExportFailed, r"is stored as I8, one of 1 such weights; supported: F32, F16, BF16, F64"),
        (_no_index, CorruptModel, r"index\.json: not an index of shards"),
        (_no_tokenizer, CorruptModel, r"tokenizer\.json is missing"),
        (_other_family, ExportFailed, r"model family 'mamba' is not supported; supported: llama, qwen2, qwen3"),
    ],
)
def test_what_is_wrong_with_a_checkpoint_is_named_and_nothing_is_left(
    checkpoint: Path, tmp_path: Path, damage: Any, error: type[VoxturnError], message: str, capsys: Any
) -> None:
    folder = changed(checkpoint, tmp_path / "checkpoint")
    damage(folder)
    before = set(tmp_path.iterdir())
    assert (
        run("export", "qwen3", "--checkpoint", str(folder), "--to", "onnx", "-o", str(tmp_path / "out"))
        == error.exit_code
    )
    assert re.search(message, capsys.readouterr().err)
    assert set(tmp_path.iterdir()) == before


def test_a_gguf_file_of_another_architecture_is_named(tmp_path: Path, checkpoint: Path) -> None:
    import gguf

    path = tmp_path / "model.gguf"
    writer = gguf.GGUFWriter(str(path), "mamba")
    writer.add_tensor("x", np.zeros(32, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(
        ExportFailed, match="GGUF architecture 'mamba' is not supported; supported: llama, qwen2, qwen3"
    ):
        open_checkpoint(path)
    with pytest.raises(ExportFailed, match="use --to onnx for GGUF"):
        qwen3.export(path, Manifest("qwen3", "", "", {}, {}), tmp_path, "int8", lambda *_: None, "ctranslate2")


def test_an_interrupted_export_leaves_what_was_there(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    command = [
        "export",
        "qwen3",
        "--checkpoint",
        str(checkpoint),
        "--to",
        "onnx",
        "--precision",
        "int8",
        "-o",
        str(out),
    ]
    assert run(*command) == 0
    digest = Manifest.read(out).digest

    def interrupted(*_: object) -> dict[str, float]:
        raise KeyboardInterrupt

    monkeypatch.setattr("voxturn.export.parity.decoder_reached", interrupted)
    assert run(*command) != 0
    assert Manifest.read(out).digest == digest
    assert list(tmp_path.iterdir()) == [out]


def test_a_synthetic_checkpoint_takes_a_tokenizer(checkpoint: Path, tmp_path: Path) -> None:
    given = checkpoint / "tokenizer.json"
    qwen3.make_checkpoint(tmp_path / "x", "qwen3-0.6b", "tiny", 0, given)
    assert (tmp_path / "x" / "tokenizer.json").read_bytes() == given.read_bytes()
    with pytest.raises(UsageError, match=r"config\.json: not a tokenizer\.json"):
        qwen3.make_checkpoint(tmp_path / "y", "qwen3-0.6b", "tiny", 0, checkpoint / "config.json")


def test_a_synthetic_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="synthetic checkpoints are"):
        qwen3.make_checkpoint(tmp_path / "x", "qwen9", "full", 0)
