"""The configuration for NVIDIA's container against the graph that the exporter writes."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from tests.gpu.conftest import Tiny

ROOT = Path(__file__).parents[2]
TYPES = {onnx.TensorProto.FLOAT: "TYPE_FP32", onnx.TensorProto.INT64: "TYPE_INT64"}


@pytest.mark.parametrize(
    ("model", "file"), [("xtts_vocoder", "vocoder.onnx"), ("xtts_hifigan", "vocoder_whole.onnx")]
)
def test_names_types_and_shapes_are_the_graph_s(tiny: Tiny, model: str, file: str) -> None:
    config = model_config_pb2.ModelConfig()
    text_format.Parse(
        (ROOT / f"triton_models/{model}/configs/ngc.pbtxt").read_text(encoding="utf-8"), config
    )
    graph = onnx.load(str(tiny.fp32 / file), load_external_data=False).graph
    for ours, theirs in ((config.input, graph.input), (config.output, graph.output)):
        assert {t.name for t in ours} == {t.name for t in theirs}
        for value in theirs:
            tensor = next(t for t in ours if t.name == value.name)
            kind = value.type.tensor_type
            shape = [d.dim_value or -1 for d in kind.shape.dim]
            assert model_config_pb2.DataType.Name(tensor.data_type) == TYPES[kind.elem_type], (
                value.name
            )
            if tensor.HasField("reshape"):  # Triton has no scalars
                assert (list(tensor.reshape.shape), shape, list(tensor.dims)) == ([], [], [1])
                continue
            if config.max_batch_size:  # the batch is Triton's own dimension
                assert kind.shape.dim[0].dim_param
                shape = shape[1:]
            assert len(tensor.dims) == len(shape)
            assert all(
                ours in (-1, theirs) for ours, theirs in zip(tensor.dims, shape, strict=True)
            )
    assert (config.backend, config.default_model_filename) == ("onnxruntime", file)
    assert (
        config.HasField("dynamic_batching")
        == (config.max_batch_size > 1)
        == (model == "xtts_hifigan")
    )
    assert config.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
