"""What a server says, as the error that its caller gets."""

from __future__ import annotations

import pytest
from voxturn.runtime.errors import UsageError
from voxturn.runtime.remote.transport import TritonServer


@pytest.mark.parametrize(
    "said",
    [
        "unexpected shape for input 'audio' for model 'whisper'. Expected [-1], got [1,1].",
        "unexpected inference input 'nonsense' for model 'whisper'",
        "inference input 'audio' data-type is 'BOOL', but model 'whisper' expects 'FP32'",
        "expected 1 string elements for inference input 'prior' for model 'whisper', got 0",
        "incomplete string data for inference input 'prior', expecting string of length 5",
    ],
)
@pytest.mark.parametrize("heading", ["", "[StatusCode.INVALID_ARGUMENT] [request id: 5f] "])
async def test_inputs_that_the_server_refuses_are_its_caller_s_mistake(
    heading: str, said: str
) -> None:
    server = TritonServer("here:1")
    error = server._lost(RuntimeError(heading + said), "whisper", False)
    await server.aclose()
    assert isinstance(error, UsageError)
    assert str(error) == f"whisper: {said}"
