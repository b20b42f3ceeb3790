"""What a server says of a failure, as voxturn's own errors."""

from __future__ import annotations

import pytest
from voxturn.runtime import errors
from voxturn.runtime.remote.failures import load_failed, lost, unload_failed

LOAD = "[StatusCode.INVALID_ARGUMENT] load failed for model 'vits': version 1 is at UNAVAILABLE state: "
AT = """

At:
  /opt/voxturn/runtime/models/store.py(120): artifact
  /opt/voxturn/runtime/serving/handlers.py(240): __init__
  <frozen importlib._bootstrap>(1176): _find_and_load
;
"""


@pytest.mark.parametrize(
    ("message", "kind", "text"),
    [
        (
            f"{LOAD}Internal: ModelNotInstalled: model 'joe' (fp32) is not on this machine; "
            f"run `voxturn models pull joe`{AT}",
            errors.ModelNotInstalled,
            "model 'vits' does not load: model 'joe' (fp32) is not on this machine; "
            "run `voxturn models pull joe`",
        ),
        (
            f"{LOAD}Internal: voxturn.runtime.errors.CorruptModel: /x: lacks a;\n run b{AT}",
            errors.CorruptModel,
            "model 'vits' does not load: /x: lacks a; run b",
        ),
        (
            f"{LOAD}Internal: FileNotFoundError: [Errno 2] No such file: '/x'{AT}",
            errors.ServerUnavailable,
            "here:1: model 'vits' does not load: FileNotFoundError: [Errno 2] No such file: '/x'; "
            "`voxturn doctor` in the server's environment says what it lacks",
        ),
        (
            "[StatusCode.INTERNAL] failed to load 'vits', failed to poll from model repository",
            errors.ServerUnavailable,
            "here:1: model 'vits' does not load: the server's model repository does not have it; "
            "install the same voxturn on both sides",
        ),
        (
            f"{LOAD}Internal: Stub process 'vits' is not healthy.;\n",
            errors.ServerUnavailable,
            "here:1: model 'vits' does not load: its process ended while it loaded; "
            "free memory on the server's machine, or name a smaller model in the profile",
        ),
        (
            f"{LOAD}Internal: Timed out occurred while waiting for the stub process. "
            "Failed to initialize model instance vits;\n",
            errors.ServerUnavailable,
            "here:1: model 'vits' does not load: its process did not start in time; "
            "serve again when the machine is less busy",
        ),
        (
            "This protocol is restricted, expecting header 'triton-grpc-protocol-voxturn-secret'",
            errors.ServerUnavailable,
            "here:1: model 'vits' does not load: only who started the server may load models; "
            "name the model in `voxturn serve triton --models`",
        ),
        (
            "failed to connect to all addresses; last error: connection refused",
            errors.ServerUnavailable,
            "here:1: no server answers there; "
            "start one with `voxturn serve triton`, or name another address",
        ),
    ],
)
def test_a_model_that_does_not_load_is_one_line_with_reason_and_remedy(
    message: str, kind: type[errors.VoxturnError], text: str
) -> None:
    error = load_failed(RuntimeError(message), "vits", "here:1")
    assert (type(error), str(error)) == (kind, text)


@pytest.mark.parametrize(
    ("message", "begun", "kind", "text"),
    [
        (
            "[StatusCode.INTERNAL] EmptyText: there is nothing to say",
            True,
            errors.EmptyText,
            "there is nothing to say",
        ),
        (
            "Failed to process the request(s) for model 'vits_0_0', message: "
            "Stub process 'vits_0_0' is not healthy.",
            True,
            errors.ServerDied,
            "model 'vits' died; the request may be made again",
        ),
        (
            "Request for unknown model: 'vits' has no available versions",
            False,
            errors.ServerUnavailable,
            "model 'vits' is not loaded now; while it is started again, make the request again",
        ),
        (
            "Request for unknown model: 'vits' is not found",
            False,
            errors.ServerUnavailable,
            "the server has no model 'vits'; serve it with --models …,vits",
        ),
        (
            "failed to connect to all addresses",
            False,
            errors.ServerUnavailable,
            "here:1: no server answers there; "
            "start one with `voxturn serve triton`, or name another address",
        ),
        (
            "failed to connect to all addresses",
            True,
            errors.ServerDied,
            "here:1: model 'vits': failed to connect to all addresses",
        ),
    ],
)
def test_a_request_that_is_lost_has_the_error_of_what_happened(
    message: str, begun: bool, kind: type[errors.VoxturnError], text: str
) -> None:
    error = lost(RuntimeError(message), "vits", "here:1", begun)
    assert (type(error), str(error)) == (kind, text)


def test_a_model_that_does_not_unload_says_why() -> None:
    assert str(unload_failed(RuntimeError("it is\nbusy"), "vits", "here:1")) == (
        "here:1: model 'vits' does not unload: it is busy"
    )
    gone = unload_failed(RuntimeError("Connection refused"), "vits", "here:1")
    assert "no server answers there" in str(gone)


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
def test_inputs_that_the_server_refuses_are_its_caller_s_mistake(heading: str, said: str) -> None:
    error = lost(RuntimeError(heading + said), "whisper", "here:1", False)
    assert isinstance(error, errors.UsageError)
    assert str(error) == f"whisper: {said}"
