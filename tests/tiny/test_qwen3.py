"""A synthetic Qwen3 in the official layout: what transformers, GGUF and the exporter make of the
same folder."""

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
from tokenizers import Tokenizer
from voxturn.bench import gguf_file, parity_export
from voxturn.export.decoder import export as decoder
from voxturn.export.decoder import reference, synthetic
from voxturn.export.decoder.checkpoint import open_checkpoint
from voxturn.export.decoder.export import build_decoder, chat_form
from voxturn.export.decoder.gguf import GgufCheckpoint
from voxturn.export.decoder.parity import forced, greedy, open_decoder
from voxturn.export.imports import import_transformers
from voxturn.export.parity import missed
from voxturn.runtime.cli import main
from voxturn.runtime.errors import CorruptModel, ExportFailed, UsageError, VoxturnError
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.store import find_exporter, quiet
from voxturn.runtime.text.chat import CHAT_FORMATS, Chat, ChatFormat, Message
from voxturn.runtime.text.tokenizer import JsonTokenizer

from tests.chat_templates import template

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers and what it imports
_PROMPT = list(range(300, 324))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("qwen3") / "checkpoint"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthetic, "_SHARD_BYTES", 50_000)  # several shards
        synthetic.make_checkpoint(folder, "qwen3-0.6b", "tiny", 3)
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


def test_a_gguf_file_of_the_same_weights_is_the_same_model(
    checkpoint: Path, tmp_path: Path
) -> None:
    gguf_file.write(checkpoint, tmp_path / "model.gguf", "F32")
    opened = open_checkpoint(tmp_path / "model.gguf")
    assert isinstance(opened, GgufCheckpoint)
    assert opened.family == "qwen3"
    build_decoder(opened, "fp32", tmp_path / "gguf.onnx")
    build_decoder(open_checkpoint(checkpoint), "fp32", tmp_path / "folder.onnx")
    tokens = _PROMPT[:8]
    one, other = (
        forced(open_decoder(tmp_path / name), _PROMPT, tokens)
        for name in ("gguf.onnx", "folder.onnx")
    )
    np.testing.assert_allclose(one, other, atol=1e-5)
    out = tmp_path / "artifact"
    assert (
        run(
            "export",
            "qwen3",
            "--checkpoint",
            str(tmp_path / "model.gguf"),
            "--for",
            "onnx",
            "-o",
            str(out),
        )
        == 0
    )
    texts = ["Hello there, it's 42!", "مرحبا", "a\n\n b"]
    ours, theirs = (
        JsonTokenizer(out / "tokenizer.json"),
        JsonTokenizer(checkpoint / "tokenizer.json"),
    )
    for text in texts:
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode(text)) == text
    assert ours.id_of("</think>") == theirs.id_of("</think>")


def test_a_gguf_file_s_own_template_is_read(checkpoint: Path, tmp_path: Path) -> None:
    folder = changed(checkpoint, tmp_path / "checkpoint")
    (folder / "chat_template.jinja").write_text(template("qwen2.5"), encoding="utf-8")
    gguf_file.write(folder, tmp_path / "model.gguf", "F32")
    opened = [decoder.Opened.open(path) for path in (folder, tmp_path / "model.gguf")]
    ours, theirs = (each.dialogue for each in opened)
    assert theirs == ours
    form = ChatFormat.of(theirs)
    assert form.between[""]["user"].startswith("<|im_start|>system\nYou are Qwen")
    assert opened[1].tokenizer.token_to_id("<|im_end|>") in form.stop_ids


@pytest.mark.parametrize(
    ("target", "precision", "most_kl"),
    [
        ("onnx", "int8", 1e-4), ("onnx", "int4", 5e-3), ("tensorrt", "fp16", 1e-5),
        ("tensorrt", "bf16", 1e-4),
        ("tensorrt", "int8", 1e-3), ("tensorrt", "int4", 2e-2), ("ctranslate2", "int8", 1e-3),
        ("ctranslate2", "fp16", 1e-5), ("ctranslate2", "fp32", 1e-6), ("openvino", "fp32", 1e-6),
    ],
)  # fmt: skip
def test_every_target_is_exported_and_says_what_it_reached(
    checkpoint: Path, tmp_path: Path, target: str, precision: str, most_kl: float
) -> None:
    out = tmp_path / "artifact"
    command = [
        "export",
        "qwen3",
        "--checkpoint",
        str(checkpoint),
        "--for",
        target,
        "--precision",
        precision,
    ]
    assert run(*command, "-o", str(out)) == 0
    manifest = Manifest.read(out)
    assert manifest.synthetic
    assert manifest.properties["chat"] == "qwen3"
    assert manifest.reached["kl.mean"] < most_kl
    assert manifest.reached["top1_agreement"] > 0.9
    if target != "ctranslate2":
        return
    import ctranslate2

    generator = ctranslate2.Generator(str(out), device="cpu")
    names = json.loads((out / "vocabulary.json").read_text(encoding="utf-8"))
    assert len(list(generator.generate_tokens([names[i] for i in _PROMPT], max_length=5))) >= 1


@pytest.mark.parametrize(
    ("older", "newer", "precision"),
    [("onnx", "onnx", "int8"), ("tensorrt-onnx", "tensorrt", "fp16"), ("ctranslate2", "ctranslate2", "int8")],
)  # fmt: skip
def test_the_older_spelling_gives_the_same_artifact(
    checkpoint: Path, tmp_path: Path, older: str, newer: str, precision: str
) -> None:
    words = ["export", "qwen3", "--checkpoint", str(checkpoint), "--precision", precision]
    assert run(*words, "--to", older, "-o", str(tmp_path / "old")) == 0
    assert run(*words, "--for", newer, "-o", str(tmp_path / "new")) == 0
    assert Manifest.read(tmp_path / "old") == Manifest.read(tmp_path / "new")


@pytest.mark.parametrize(
    ("precision", "engine"), [("int8", "onnx"), ("fp16", "tensorrt"), ("bf16", "tensorrt")]
)
def test_a_model_that_is_pulled_is_made_for_what_has_its_precision(
    checkpoint: Path, tmp_path: Path, precision: str, engine: str
) -> None:
    """As `models pull --precision` asks for it, which names no engine."""
    find_exporter("qwen3")(
        checkpoint,
        Manifest("qwen3-1.7b", "checkpoint", "source", {}, {}),
        tmp_path,
        precision,
        quiet,
    )
    assert Manifest.read(tmp_path).properties["engine"] == engine


def test_the_tokenizer_has_the_marks_that_a_dialogue_needs(checkpoint: Path) -> None:
    assert chat_form(Tokenizer.from_file(str(checkpoint / "tokenizer.json"))) == "qwen3"
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


def _without(part: str) -> Any:
    """The tensors whose name ends so, out of the shards and the index."""

    def damage(folder: Path) -> None:
        _rewrite(
            folder,
            lambda tensors: {n: value for n, value in tensors.items() if not n.endswith(part)},
        )

    return damage


def _left_over(folder: Path) -> None:
    _rewrite(folder, lambda tensors: tensors | {"lora": np.zeros(1, np.float32)})


def _misshapen(folder: Path) -> None:
    cut = "model.norm.weight", "model.layers.1.mlp.up_proj.weight"
    _rewrite(
        folder, lambda tensors: {n: v[:-1].copy() if n in cut else v for n, v in tensors.items()}
    )


def _rewrite(folder: Path, change: Any) -> None:
    tensors: dict[str, Any] = {}
    for file in folder.glob("*.safetensors"):
        tensors |= load_file(file)
        file.unlink()
    (folder / "model.safetensors.index.json").unlink()
    save_file(change(tensors), folder / "model.safetensors")


def _config(**changes: Any) -> Any:
    def damage(folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | changes))

    return damage


def _written(name: str, text: str) -> Any:
    return lambda folder: (folder / name).write_text(text)


def _large_tokenizer(folder: Path) -> None:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.add_tokens([f"<more{i}>" for i in range(600)])
    tokenizer.save(str(folder / "tokenizer.json"))


_NO_FACTOR = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}


@pytest.mark.parametrize("target", ["onnx", "tensorrt", "ctranslate2"])
@pytest.mark.parametrize(
    ("damage", "error", "message"),
    [
        (_without("q_norm.weight"), ExportFailed,
         r"missing \['model\.layers\.0\.self_attn\.q_norm\.weight', 'model\.layers\.1\S+q_norm\.weight'\], left over nothing"),
        (_left_over, ExportFailed, r"missing nothing, left over \['lora'\]"),
        (_misshapen, ExportFailed,
         r"tensors do not fit the configuration: model\.layers\.1\.mlp\.up_proj\.weight is \[127, 64\], not \[128, 64\]; "
         r"model\.norm\.weight is \[63\], not \[64\]"),
        (_config(intermediate_size=100), ExportFailed, r"gate_proj\.weight is \[128, 64\], not \[100, 64\]"),
        (_written("config.json", "[]"), CorruptModel, r"config\.json: is not a table"),
        (_config(rope_scaling=_NO_FACTOR), ExportFailed, "lacks 'factor'"),
        (_config(rope_scaling=[8.0]), ExportFailed, r"has rotary scaling \[8\.0\], not a table"),
        (_config(rope_scaling={"rope_type": "divisors", "divisors": [1.0]}), ExportFailed, "'divisors' is not supported"),
        (_config(use_sliding_window=True), ExportFailed, "has sliding-window attention, which is not supported"),
        (_config(layer_types=["sliding_attention"]), ExportFailed, "has sliding-window attention"),
        (_config(hidden_size="x"), ExportFailed, "has hidden_size 'x', not a whole number above 0"),
        (_config(num_attention_heads=0), ExportFailed, "has num_attention_heads 0, not a whole number above 0"),
        (_config(num_key_value_heads=3), ExportFailed, "has 4 heads of 32 and 3 of keys"),
        (_config(rms_norm_eps="x"), ExportFailed, "has rms_norm_eps 'x', not a number"),
        (_config(rope_theta=None), ExportFailed, "lacks 'rope_theta'"),
        (_config(intermediate_size=None), ExportFailed, "lacks 'intermediate_size'"),
        (_written("tokenizer.json", "{"), CorruptModel, r"tokenizer\.json is not a tokenizer"),
        (_written("tokenizer.json", "{}"), CorruptModel, r"tokenizer\.json is not a tokenizer"),
        (_large_tokenizer, CorruptModel, "the tokenizer has 4205 tokens, the model 4096"),
        (_written("model.safetensors.index.json", "[]"), CorruptModel, r"index\.json: not an index of shards"),
        (_drop_shard, CorruptModel, r"shards are missing: model-00002\.safetensors \(1 of \d+\)"),
        (_cut_shard, CorruptModel, r"model-00001\.safetensors: not a whole safetensors file"),
        (_integers, ExportFailed, r"is stored as I8, one of 1 such weights; supported: F32, F16, BF16, F64"),
        (_no_index, CorruptModel, r"index\.json: not an index of shards"),
        (_no_tokenizer, CorruptModel, r"tokenizer\.json is missing"),
        (_other_family, ExportFailed, r"model family 'mamba' is not supported; supported: llama, qwen2, qwen3"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_checkpoint_is_named_and_nothing_is_left(
    checkpoint: Path,
    tmp_path: Path,
    damage: Any,
    error: type[VoxturnError],
    message: str,
    target: str,
    capsys: Any,
) -> None:
    folder = changed(checkpoint, tmp_path / "checkpoint")
    damage(folder)
    before = set(tmp_path.iterdir())
    command = [
        "export",
        "qwen3",
        "--checkpoint",
        str(folder),
        "--for",
        target,
        "-o",
        str(tmp_path / "out"),
    ]
    assert run(*command) == error.exit_code
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert said.count("\n") == 1
    assert set(tmp_path.iterdir()) == before


class _Converter:
    """In the place of CTranslate2's; fails with what it is told to."""

    failure: Exception

    def __init__(self, folder: str, low_cpu_mem_usage: bool = False) -> None:
        assert low_cpu_mem_usage

    def convert(self, *_: object, **__: object) -> None:
        raise self.failure


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (OSError("Can't load the tokenizer.\nIf you were trying"), ExportFailed),
        (
            PermissionError(13, "Permission denied", "CHECKPOINT/generation_config.json"),
            ExportFailed,
        ),
        (KeyError("rope_type"), ExportFailed),
        (OSError(28, "No space left on device"), OSError),
        (PermissionError(13, "Permission denied", "/elsewhere/model.bin"), OSError),
    ],
)
def test_what_stops_ctranslate2s_converter_is_told_from_a_full_disk(
    checkpoint: Path,
    tmp_path: Path,
    failure: Exception,
    error: type[Exception],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if isinstance(failure, OSError) and failure.filename:
        failure.filename = failure.filename.replace("CHECKPOINT", str(checkpoint))
    monkeypatch.setattr(_Converter, "failure", failure, raising=False)
    monkeypatch.setattr("ctranslate2.converters.TransformersConverter", _Converter)
    with pytest.raises(error) as caught:
        decoder.export(
            checkpoint,
            Manifest("qwen3", "", "", {}, {}),
            tmp_path,
            "int8",
            lambda *_: None,
            "ctranslate2",
        )
    assert caught.type is error or caught.value is failure
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("target", ["onnx", "ctranslate2"])
def test_an_artifact_beyond_its_tolerance_is_refused(
    checkpoint: Path, tmp_path: Path, target: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    command = [
        "export",
        "qwen3",
        "--checkpoint",
        str(checkpoint),
        "--for",
        target,
        "--precision",
        "int8",
    ]
    answers = reference.logits_of
    for change in (lambda logits: logits * 50, lambda logits: logits * np.nan):
        monkeypatch.setattr(
            reference,
            "logits_of",
            lambda *args, change=change: [change(x) for x in answers(*args)],
        )
        assert run(*command, "-o", str(tmp_path / "out")) == ExportFailed.exit_code
        assert re.search(
            r"differs from the checkpoint: kl\.mean (nan|[\d.e+]+) \(at most 0\.1\)",
            capsys.readouterr().err,
        )
        assert not list(tmp_path.iterdir())
    assert missed({"a": float("nan"), "b": 1.0}, {"a": 1.0, "b": 1.0}) == ["a nan (at most 1)"]


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
        ExportFailed,
        match="GGUF architecture 'mamba' is not supported; supported: llama, qwen2, qwen3",
    ):
        open_checkpoint(path)
    with pytest.raises(ExportFailed, match="use --for onnx for GGUF"):
        decoder.export(
            path,
            Manifest("qwen3", "", "", {}, {}),
            tmp_path,
            "int8",
            lambda *_: None,
            "ctranslate2",
        )


def test_an_interrupted_export_leaves_what_was_there(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    command = [
        "export",
        "qwen3",
        "--checkpoint",
        str(checkpoint),
        "--for",
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

    monkeypatch.setattr("voxturn.export.decoder.parity.decoder_reached", interrupted)
    assert run(*command) != 0
    assert Manifest.read(out).digest == digest
    assert list(tmp_path.iterdir()) == [out]


def test_a_synthetic_checkpoint_takes_a_tokenizer(checkpoint: Path, tmp_path: Path) -> None:
    given = checkpoint / "tokenizer.json"
    synthetic.make_checkpoint(tmp_path / "x", "qwen3-0.6b", "tiny", 0, given)
    assert (tmp_path / "x" / "tokenizer.json").read_bytes() == given.read_bytes()
    with pytest.raises(UsageError, match=r"config\.json: not a tokenizer\.json"):
        synthetic.make_checkpoint(
            tmp_path / "y", "qwen3-0.6b", "tiny", 0, checkpoint / "config.json"
        )


def test_a_synthetic_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="synthetic checkpoints are"):
        synthetic.make_checkpoint(tmp_path / "x", "qwen9", "full", 0)


def test_its_parity_in_every_precision_is_one_result(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(parity_export.KINDS, "qwen3", (("onnx", "int8"), ("tensorrt", "fp16")))
    file = tmp_path / "parity.json"
    assert (
        run(
            "bench",
            "parity",
            "--model",
            "qwen3",
            "--checkpoint",
            str(checkpoint),
            "--json",
            str(file),
        )
        == 0
    )
    metrics = json.loads(file.read_text())["metrics"]
    assert metrics["qwen3.tensorrt.fp16.top1_agreement"] == {"unit": "ratio", "value": 1.0}
    assert (
        0
        < metrics["qwen3.tensorrt.fp16.kl.p99"]["value"]
        < metrics["qwen3.onnx.int8.kl.p99"]["value"]
        < 1e-4
    )
    assert metrics["qwen3.onnx.int8.decoder_mb"]["unit"] == "MB"
