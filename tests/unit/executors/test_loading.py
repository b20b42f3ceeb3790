"""What libraries say of files that they cannot load: one line, with the file and the remedy."""

from __future__ import annotations

from pathlib import Path

import pytest
from voxturn.runtime.errors import CorruptModel, ResourceError
from voxturn.runtime.executors.loading import first_line, in_memory, sentence, unloadable

ORT = "[ONNXRuntimeError] : "
SAID = {
    ORT + "7 : INVALID_PROTOBUF : Load model from /a/model.onnx failed:Protobuf parsing failed.": "Load model from /a/model.onnx failed:Protobuf parsing failed",
    ORT + "1 : FAIL : Deserialize tensor w failed.tensorprotoutils.cc:2201 GetExtData External initializer": "Deserialize tensor w failed",
    ORT + "1 : FAIL : Exception during initialization: /src/core/initializer.cc:79 onnxruntime::Initializer(const A&) " + ORT
    + "1 : FAIL : tensorprotoutils.cc:2201 GetExtDataFromTensorProto External initializer: w offset: 9.\n": "External initializer: w offset: 9",
    ORT + '1 : FAIL : External data path validation failed for initializer: w. Error: External data path: "../x"': "External data path validation failed for initializer: w",
    "Exception from src/core.cpp:132:\nException from src/plugin.cpp:59:\nCheck 'false' failed at src/frontend.cpp:47:\nLoading input model\nPath '../x' is outside\n\n": "Path '../x' is outside",
    "File model.bin is incomplete: failed to read a buffer of size 77": "File model.bin is incomplete: failed to read a buffer of size 77",
    "a.b has 1.5 parts. More of it.": "a.b has 1.5 parts",
    "x" * 999: "x" * 160,
    "": "RuntimeError",
}  # fmt: skip


@pytest.mark.parametrize("said", SAID)
def test_the_first_sentence_of_what_is_wrong(said: str) -> None:
    assert sentence(RuntimeError(said)) == SAID[said]
    error = unloadable(Path("/a/model.onnx"), "A library", RuntimeError(said))
    assert isinstance(error, CorruptModel)
    assert str(error).startswith(f"/a/model.onnx: A library cannot load it ({SAID[said]}); ")
    assert "\n" not in str(error)


def test_a_run_s_error_is_its_first_line() -> None:
    assert first_line(RuntimeError("\n a. b \nc")) == "a. b"
    assert len(first_line(RuntimeError("x" * 999))) == 300


def test_what_needs_too_much_memory_is_told_with_its_folder() -> None:
    said = r"^/a: needs more memory than this machine has \(Unable to allocate 9 TiB\)"
    with pytest.raises(ResourceError, match=said), in_memory(Path("/a")):
        raise MemoryError("Unable to allocate 9 TiB")
    with pytest.raises(KeyError), in_memory(Path("/a")):
        raise KeyError
