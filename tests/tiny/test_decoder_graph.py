"""Seeded models of every family and shape class: the graphs for each engine against transformers."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from voxturn.export.artifact import contract_of
from voxturn.export.decoder.checkpoint import MemoryCheckpoint
from voxturn.export.decoder.export import build_decoder
from voxturn.export.decoder.families import DecoderConfig
from voxturn.export.decoder.parity import forced, greedy, open_decoder
from voxturn.export.decoder.reference import logits_of
from voxturn.export.imports import keep_torchaudio_in_python
from voxturn.export.parity import log_softmax
from voxturn.export.quantize import quantize
from voxturn.runtime.errors import ExportFailed, UsageError
from voxturn.runtime.executors.decoder_inputs import PortableInputs
from voxturn.runtime.executors.onnx import OnnxDecoder
from voxturn.runtime.flow.scheduling import Cores

pytestmark = pytest.mark.filterwarnings("ignore")  # transformers and what it imports
_BASE = {
    "vocab_size": 300, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 256,
}  # fmt: skip
_LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama, every head its own keys": ("llama", {"num_key_value_heads": 4}),
    "llama 3.1": ("llama", {"rope_parameters": _LLAMA3}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {"head_dim": 32}),
    "qwen3, tied, one key head": (
        "qwen3",
        {"head_dim": 48, "num_key_value_heads": 1, "tie_word_embeddings": True},
    ),
}
_PROMPT, _STEPS = list(range(5, 25)), 64


@dataclass(frozen=True)
class Seeded:
    """A checkpoint, transformers' greedy answer to the prompt, and the logits of its steps, also
    those in bfloat16."""

    checkpoint: MemoryCheckpoint
    tokens: list[int]
    logits: np.ndarray
    in_bfloat16: np.ndarray


def seeded(kind: str, options: dict[str, Any]) -> Seeded:
    keep_torchaudio_in_python()
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(kind, **(_BASE | options))
    model = AutoModelForCausalLM.from_config(config).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            values = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(values * 0.3 if parameter.ndim > 1 else 1 + values * 0.2)
        ids = torch.tensor([_PROMPT])
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=_STEPS, pad_token_id=0,
            eos_token_id=None,
        )  # fmt: skip
        logits = model(out[:, :-1]).logits[0, len(_PROMPT) - 1 :].numpy()
        tensors = {name: value.numpy() for name, value in model.state_dict().items()}
        coarse = model.to(torch.bfloat16)(out[:, :-1]).logits[0, len(_PROMPT) - 1 :].float().numpy()
    tokens = out[0, len(_PROMPT) :].tolist()
    return Seeded(MemoryCheckpoint(kind, config.to_dict(), tensors), tokens, logits, coarse)


@pytest.fixture(scope="module", params=list(SHAPES))
def model(request: pytest.FixtureRequest) -> Seeded:
    return seeded(*SHAPES[request.param])


@pytest.mark.parametrize("engine", ["onnx", "openvino", "tensorrt"])
def test_tokens_and_logits_are_those_of_transformers(
    model: Seeded, engine: str, tmp_path: Path
) -> None:
    build_decoder(model.checkpoint, "fp32", tmp_path / "decoder.onnx", engine)
    graph = open_decoder(tmp_path / "decoder.onnx", 128)
    tokens, _ = greedy(graph, _PROMPT, _STEPS)
    assert tokens == model.tokens
    logits = forced(graph, _PROMPT, model.tokens)
    assert np.abs(logits - model.logits).max() <= 1e-4 * np.abs(model.logits).max()


def test_half_precision_steps_equal_a_full_pass(model: Seeded, tmp_path: Path) -> None:
    """Token by token and all at once are the same sums; against float32 it is half precision's
    rounding."""
    build_decoder(model.checkpoint, "fp16", tmp_path / "decoder.onnx", "tensorrt")
    graph = open_decoder(tmp_path / "decoder.onnx", 128)
    ids = _PROMPT + model.tokens
    whole = graph.run(0, np.array([ids]), [0]).logits[0].copy()
    for past, token in enumerate(ids):
        stepped = graph.run(0, np.array([[token]]), [past]).logits[0]
    assert np.abs(stepped - whole).max() <= 5e-3 * np.abs(whole).max()
    p, q = log_softmax(model.logits), log_softmax(forced(graph, _PROMPT, model.tokens))
    assert (np.exp(p) * (p - q)).sum(-1).mean() < 5e-3


def test_in_bfloat16_it_is_as_far_from_float32_as_torch_is(model: Seeded, tmp_path: Path) -> None:
    """Rounding after every operator is what a processor with bfloat16 does. With the weights alone
    rounded the errors are 0.53 to 0.67 of torch's, with every value 0.74 to 0.97."""
    build_decoder(model.checkpoint, "bf16", tmp_path / "decoder.onnx", "tensorrt")
    assert {spec.dtype for spec in contract_of(tmp_path / "decoder.onnx").inputs} == {
        "bfloat16",
        "int64",
    }
    graph = open_decoder(tmp_path / "decoder.onnx", 128)
    ours = forced(graph, _PROMPT, model.tokens)
    for kept in graph.save(0, len(_PROMPT) + len(model.tokens) - 1):
        np.testing.assert_array_equal(kept, kept.astype("bfloat16").astype(np.float32))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "decoder.onnx",
        "decoder.onnx.data",
    ]  # no twin is left
    near, far = (
        float(np.abs(logits - model.logits).mean()) for logits in (ours, model.in_bfloat16)
    )
    assert 0.7 * far < near < 1.3 * far


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_weights_of_few_bits_are_rounded_for_tensorrt_and_nothing_else_is(
    precision: str, tmp_path: Path
) -> None:
    model = seeded("qwen3", {"head_dim": 32, "intermediate_size": 128})
    rounded = dict(model.checkpoint.tensors)
    for name, weight in rounded.items():
        if weight.ndim == 2 and "embed" not in name:
            bits = 4 if precision == "int4" and "lm_head" not in name else 8
            block = weight.shape[1] if bits == 8 else (128 if weight.shape[1] % 128 == 0 else 64)
            rounded[name] = quantize(weight, bits, block).dequantize()
    same = MemoryCheckpoint("qwen3", model.checkpoint.config, rounded)
    build_decoder(same, "fp16", tmp_path / "half.onnx", "tensorrt")
    build_decoder(model.checkpoint, precision, tmp_path / "decoder.onnx", "tensorrt")
    half, graph = (open_decoder(tmp_path / f"{name}.onnx", 128) for name in ("half", "decoder"))
    wanted, got = (forced(each, _PROMPT, model.tokens) for each in (half, graph))
    p, q = log_softmax(wanted), log_softmax(got)
    assert (np.exp(p) * (p - q)).sum(-1).mean() < 5e-3  # half precision rounds the scales as well
    smaller = [(tmp_path / f"{name}.onnx.data").stat().st_size for name in ("decoder", "half")]
    assert smaller[0] < 0.8 * smaller[1]  # tables stay float16


@pytest.mark.parametrize("engine", ["onnx", "openvino", "tensorrt"])
def test_sequences_of_a_batch_do_not_see_each_other(engine: str, tmp_path: Path) -> None:
    model = seeded(*SHAPES["qwen3"])
    build_decoder(model.checkpoint, "fp32", tmp_path / "decoder.onnx", engine)
    path = tmp_path / "decoder.onnx"
    graph = OnnxDecoder(path, contract_of(path), Cores().budget("reply", 0, spin=True), 3, 64)
    prompts = [[5, 6, 7], [9], [11, 12, 13, 14, 15]]
    alone = []
    for prompt in prompts:
        graph.run(0, np.array([prompt]), [0])
        alone.append(graph.run(0, np.array([[42]]), [len(prompt)]).logits[0].copy())
    for slot, prompt in enumerate(prompts):
        graph.run(slot, np.array([prompt]), [0])
    together = graph.run(0, np.full((3, 1), 42), [len(prompt) for prompt in prompts]).logits
    np.testing.assert_allclose(together, np.stack(alone), atol=1e-4)
    kept = graph.save(2, 5)
    graph.load(0, kept)
    np.testing.assert_allclose(graph.run(0, np.array([[42]]), [5]).logits[0], alone[2], atol=1e-4)
    graph.close()


def test_openvino_reads_its_graph(model: Seeded, tmp_path: Path) -> None:
    import openvino
    from voxturn.runtime.executors.openvino import compile_in_thread

    path, capacity = tmp_path / "decoder.onnx", 64
    build_decoder(model.checkpoint, "fp32", path, "openvino")
    f32 = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = compile_in_thread(openvino, str(path), f32, nullcontext())
    changing = PortableInputs(1, len(_PROMPT), capacity, np.dtype(np.float32))
    changing.set(np.array([_PROMPT]), [0])
    contract = contract_of(path)
    inputs = {spec.name: changing.arrays.get(spec.name) for spec in contract.inputs}
    empty = {
        s.name: np.zeros((1, s.shape[1], capacity, s.shape[3]), np.float32)
        for s in contract.inputs
        if "past" in s.name
    }
    logits = compiled(inputs | empty)["logits"]
    assert np.abs(logits[0, 0] - model.logits[0]).max() <= 1e-4 * np.abs(model.logits[0]).max()


def test_what_a_graph_cannot_be_is_said(tmp_path: Path) -> None:
    model = seeded(*SHAPES["llama"])
    for engine, precision in (("onnx", "fp16"), ("openvino", "int8"), ("openvino", "bf16")):
        with pytest.raises(
            UsageError, match=f"a graph for {engine} cannot be {precision}; it can be"
        ):
            build_decoder(model.checkpoint, precision, tmp_path / "decoder.onnx", engine)
    with pytest.raises(
        ExportFailed, match=r"down\.0: 96 inputs are no multiple of 64; export it in int8 or fp16"
    ):
        build_decoder(model.checkpoint, "int4", tmp_path / "decoder.onnx", "tensorrt")
    odd = seeded("qwen3", {"head_dim": 24})
    with pytest.raises(
        ExportFailed, match=r"heads of a multiple of 16, the model's have 24; .*--for openvino"
    ):
        build_decoder(odd.checkpoint, "fp32", tmp_path / "decoder.onnx")
    yarn = dict(model.checkpoint.config) | {"rope_parameters": _LLAMA3 | {"rope_type": "yarn"}}
    with pytest.raises(ExportFailed, match="rotary scaling 'yarn' is not supported"):
        DecoderConfig.from_checkpoint(yarn)
    left_over = MemoryCheckpoint(
        "llama", model.checkpoint.config, dict(model.checkpoint.tensors) | {"x": np.zeros(1)}
    )
    with pytest.raises(ExportFailed, match=r"left over \['x'\]"):
        build_decoder(left_over, "fp32", tmp_path / "decoder.onnx")


def test_the_reference_is_transformers(model: Seeded) -> None:
    ids = _PROMPT + model.tokens[:-1]
    first, second = logits_of(model.checkpoint, [ids, ids[:30]], 5)
    wanted = model.logits
    assert np.abs(first - wanted[-5:]).max() <= 1e-4 * np.abs(wanted).max()
    assert np.abs(second - wanted[6:11]).max() <= 1e-4 * np.abs(wanted).max()
