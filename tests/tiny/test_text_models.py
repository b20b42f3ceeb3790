"""Seeded text models as people bring them, in folders: exported, their answers are transformers'
own."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ctranslate2
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file
from voxturn.export.decoder import export as decoder
from voxturn.export.decoder.parity import greedy, open_decoder
from voxturn.export.imports import import_transformers
from voxturn.runtime.cli import main
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.messages import Message
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.store import quiet
from voxturn.runtime.text.chat import Chat, ChatFormat
from voxturn.runtime.text.tokenizer import JsonTokenizer

from tests.chat_templates import make_folder, template

pytestmark = [
    pytest.mark.filterwarnings("ignore"),  # transformers and what it imports
    pytest.mark.slow,
]
_STEPS = 24
_SIZES = {
    "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512,
}  # fmt: skip
MODELS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "qwen2": ("qwen2", "qwen2.5", {}),
    "qwen3": ("qwen3", "qwen3", {"head_dim": 32}),
    "llama 2": ("llama", "llama2", {}),
    "llama 3": ("llama", "llama3", {}),
    "smollm2": ("llama", "smollm2", {"num_key_value_heads": 4}),
    "mistral": ("mistral", "mistral", {"sliding_window": None}),
    "mistral, windows": ("mistral", "mistral", {"sliding_window": 512}),
}
"""Family, chat template, and what its configuration has besides."""
ASKED = [Message("system", "Be brief."), Message("user", "Is the sea deep?")]


def make_model(folder: Path, name: str, tied: bool) -> Path:
    """A seeded checkpoint in transformers' layout."""
    kind, dialogues, options = MODELS[name]
    folder.mkdir()
    make_folder(folder, dialogues, template(dialogues))
    size = JsonTokenizer(folder / "tokenizer.json").size
    transformers = import_transformers()
    config = transformers.AutoConfig.for_model(
        kind, **(_SIZES | options), vocab_size=size + 3, tie_word_embeddings=tied
    )
    torch.manual_seed(7)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            values = torch.randn(parameter.shape)
            parameter.copy_(values * 0.3 if parameter.ndim > 1 else 1 + values * 0.2)
    model.save_pretrained(folder)
    return folder


def wanted(folder: Path, prompt: Sequence[int]) -> list[int]:
    """Transformers' greedy answer."""
    model = import_transformers().AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = torch.tensor([list(prompt)])
    with torch.no_grad():
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=_STEPS, eos_token_id=None,
            pad_token_id=0,
        )  # fmt: skip
    answer: list[int] = out[0, len(prompt) :].tolist()
    return answer


def exported(folder: Path, target: Path, engine: str = "onnx") -> Manifest:
    target.mkdir()
    source = Manifest("qwen3", "checkpoint", "source", {}, {})
    decoder.export(folder, source, target, "fp32", quiet, engine)
    return Manifest.read(target)


def answered(target: Path, prompt: list[int]) -> list[int]:
    """An artifact's greedy answer."""
    if (target / "decoder.onnx").is_file():
        graph = open_decoder(target / "decoder.onnx", 256)
        tokens, _ = greedy(graph, prompt, _STEPS)
        graph.close()
        return tokens
    generator = ctranslate2.Generator(str(target), device="cpu", compute_type="float32")
    tokens: list[int] = []
    for _ in range(_STEPS):  # its own loop never gives a token that ends an answer
        logits = np.array(generator.forward_batch([prompt + tokens]))[0, -1]
        tokens.append(int(logits.argmax()))
    return tokens


def prompt_of(target: Path, manifest: Manifest) -> list[int]:
    form = ChatFormat.of(manifest.properties)
    return Chat(JsonTokenizer(target / "tokenizer.json"), form).prompt(ASKED)


@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
@pytest.mark.parametrize("name", MODELS)
def test_its_prompt_and_its_answer_are_those_of_transformers(
    name: str, tied: bool, tmp_path: Path
) -> None:
    folder = make_model(tmp_path / "checkpoint", name, tied)
    tokenizer = import_transformers().AutoTokenizer.from_pretrained(folder)
    asked = [{"role": message.role, "content": message.text} for message in ASKED]
    prompt = tokenizer.apply_chat_template(
        asked, add_generation_prompt=True, enable_thinking=False
    )["input_ids"]
    tokens = wanted(folder, prompt)
    for engine in ("onnx", "ctranslate2"):
        manifest = exported(folder, tmp_path / engine, engine)
        assert prompt_of(tmp_path / engine, manifest) == prompt
        assert answered(tmp_path / engine, prompt) == tokens
        assert tokenizer.eos_token_id in manifest.properties["stop_ids"]


def rewritten(folder: Path, change: Any) -> None:
    """The folder's tensors, changed."""
    tensors: dict[str, Any] = load_file(folder / "model.safetensors")
    save_file(change(tensors), folder / "model.safetensors", {"format": "pt"})


def configured(folder: Path, name: str = "config.json", **changes: Any) -> None:
    """A file's fields, changed; those that are `...` are taken out."""
    path = folder / name
    table = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {key: value for key, value in table.items() if value is not ...}
    path.write_text(json.dumps(kept), encoding="utf-8")


def _other_head(folder: Path) -> None:
    head = np.random.default_rng(3).standard_normal((SIZE, 64)).astype(np.float32)
    rewritten(folder, lambda tensors: tensors | {"lm_head.weight": head})


def _same_head(folder: Path) -> None:
    rewritten(
        folder,
        lambda tensors: tensors | {"lm_head.weight": tensors["model.embed_tokens.weight"].copy()},
    )


def _head_alone(folder: Path) -> None:
    def change(tensors: dict[str, Any]) -> dict[str, Any]:
        return tensors | {"lm_head.weight": tensors.pop("model.embed_tokens.weight")}

    rewritten(folder, change)


def _buffers(folder: Path) -> None:
    buffers = {
        f"model.{place}rotary_emb.inv_freq": np.ones(8, np.float32)
        for place in ("", "layers.0.self_attn.", "layers.1.self_attn.")
    }
    rewritten(folder, lambda tensors: tensors | buffers)


def _no_rope_theta(folder: Path) -> None:
    configured(folder, rope_parameters=..., rope_theta=..., rope_scaling=...)


def _nulls(folder: Path) -> None:
    configured(folder, layer_types=None, rope_scaling=None, head_dim=None, hidden_act="silu")


def _no_defaults(folder: Path) -> None:
    configured(folder, rms_norm_eps=..., hidden_act=..., head_dim=..., tie_word_embeddings=True)


def _cut_and_padded(folder: Path) -> None:
    table = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    truncation = {"direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0}
    padding = {
        "strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "x",
    }  # fmt: skip
    table |= {"truncation": truncation, "padding": padding}
    (folder / "tokenizer.json").write_text(json.dumps(table), encoding="utf-8")


def _no_bos(folder: Path) -> None:
    configured(folder, "tokenizer_config.json", bos_token=..., unk_token=..., pad_token=...)


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tied") / "checkpoint", "smollm2", True)


SIZE = 268
"""Tokens of the model below."""


@pytest.mark.parametrize(
    "change",
    [
        _other_head, _same_head, _head_alone, _buffers, _no_rope_theta, _nulls, _no_defaults, _cut_and_padded, _no_bos,
    ],
)  # fmt: skip
def test_a_checkpoint_s_peculiarities_are_read_as_transformers_reads_them(
    change: Any, tied: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tied, folder)
    assert load_file(folder / "model.safetensors")["model.embed_tokens.weight"].shape[0] == SIZE
    change(folder)
    prompt: list[int] = []
    for engine in ("onnx", "ctranslate2"):
        manifest = exported(folder, tmp_path / engine, engine)
        prompt = prompt or prompt_of(tmp_path / engine, manifest)
        assert prompt_of(tmp_path / engine, manifest) == prompt
        tokens = wanted(folder, prompt)
        assert answered(tmp_path / engine, prompt) == tokens
    text = JsonTokenizer(tmp_path / "onnx" / "tokenizer.json").decode(prompt)
    assert text == "system\nBe brief.\nuser\nIs the sea deep?\nassistant\n"


def test_a_head_of_its_own_is_told_from_the_embedding(tied: Path, tmp_path: Path) -> None:
    for change in (_other_head, _same_head):
        folder = tmp_path / change.__name__
        shutil.copytree(tied, folder)
        change(folder)
    assert exported(tmp_path / "_same_head", tmp_path / "same").properties["tied"] is True
    assert exported(tmp_path / "_other_head", tmp_path / "other").properties["tied"] is False


def _adapter(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')


def _adapter_alone(folder: Path) -> None:
    for path in [*folder.glob("*.safetensors"), folder / "config.json"]:
        path.unlink()
    _adapter(folder)


def _refusing(folder: Path) -> None:
    configured(folder, "tokenizer_config.json", chat_template=template("mistral-system-last"))


def _window(folder: Path) -> None:
    configured(folder, model_type="mistral", sliding_window=16)


_LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip


def test_rotary_scaling_is_transformers_or_refused(tied: Path, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(tied, folder)
    configured(folder, rope_parameters=_LLAMA3)
    manifest = exported(folder, tmp_path / "onnx")
    prompt = prompt_of(tmp_path / "onnx", manifest)
    assert answered(tmp_path / "onnx", prompt) == wanted(folder, prompt)
    with pytest.raises(ExportFailed, match="leaves out the model's rotary scaling; use --for onnx"):
        exported(folder, tmp_path / "ct2", "ctranslate2")


@pytest.mark.parametrize("target", ["onnx", "ctranslate2"])
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_adapter, r"holds an adapter \(adapter_config\.json\); merge it into the model's weights first"),
        (_adapter_alone, r"holds an adapter \(adapter_config\.json\); merge it"),
        (_refusing, r"tokenizer_config\.json cannot be used: .* does not begin with the shorter"),
        (_window, "has sliding-window attention, which is not supported"),
    ],
)  # fmt: skip
def test_what_cannot_be_exported_is_refused_in_a_line(
    change: Any, says: str, target: str, tied: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:  # fmt: skip
    folder = tmp_path / "checkpoint"
    shutil.copytree(tied, folder)
    change(folder)
    command = ["export", "qwen3", "--checkpoint", str(folder), "--for", target]
    assert main([*command, "-o", str(tmp_path / "out")]) == ExportFailed.exit_code
    written = capsys.readouterr().err
    assert re.search(says, written)
    assert written.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_what_ctranslate2_cannot_load_is_refused_in_a_line(
    tied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise RuntimeError("type must be string, but is null")

    monkeypatch.setattr(ctranslate2, "Generator", refuses)
    with pytest.raises(ExportFailed, match=r"cannot load what it converted \(type must be string"):
        exported(tied, tmp_path / "ct2", "ctranslate2")
