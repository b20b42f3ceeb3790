"""What whoever reaches a server's ports can do with them: ask its models, and nothing else."""

from __future__ import annotations

import base64
import http.client
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException
from voxturn.runtime.remote.access import headers
from voxturn.runtime.serving.processes import command_of, descendants

from tests.e2e.conftest import demo_models as demo_models
from tests.security import ports
from tests.triton.conftest import Running, serve

ORIGIN = "https://a.page.example"
SERVED = "vits"


@pytest.fixture(scope="module")
def server(demo_models: None) -> Iterator[Running]:
    """A server with both protocols."""
    running = serve(Path("demo"), [SERVED], "--http")
    yield running
    assert running.stop() == 0


@pytest.fixture
def grpc(server: Running) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(server.grpc) as client:
        yield client


def secret_of(server: Running) -> str:
    """The server's secret, as users of its machine read it (decision 12)."""
    for pid in descendants(server.process.pid):
        if found := re.search(r"--http-restricted-api=[^\0]+=([^\0]+)\0", command_of(pid)):
            return found[1]
    raise AssertionError("the server has no secret")


class Intrusion:
    """A model whose code writes a file when it is loaded, and other files that a server could be
    told to write."""

    def __init__(self, folder: Path) -> None:
        self.name = "intruder"
        self.mark, self.log, self.trace = (folder / name for name in ("mark", "log", "trace"))
        self.code = (
            f"open({str(self.mark)!r}, 'w').close()\n"
            "class TritonPythonModel:\n    def execute(self, requests):\n        return []\n"
        ).encode()
        self.config = json.dumps(
            {
                "name": self.name,
                "backend": "python",
                "input": [{"name": "x", "data_type": "TYPE_BOOL", "dims": [1]}],
                "output": [{"name": "y", "data_type": "TYPE_BOOL", "dims": [1]}],
                "instance_group": [{"kind": "KIND_CPU"}],
            }
        )

    def loaded_by_http(self) -> dict[str, Any]:
        code = base64.b64encode(self.code).decode()
        return {"parameters": {"config": self.config, "file:1/model.py": code}}

    def left_nothing(self) -> bool:
        return not any(path.exists() for path in (self.mark, self.log, self.trace))


@pytest.fixture
def intrusion(tmp_path: Path) -> Intrusion:
    return Intrusion(tmp_path)


Call = Callable[[InferenceServerClient, Intrusion, dict[str, str]], object]
GRPC: dict[str, Call] = {
    "load code": lambda c, i, h: c.load_model(
        i.name, headers=h, config=i.config, files={"file:1/model.py": i.code}
    ),
    "load": lambda c, i, h: c.load_model("whisper", headers=h),
    "unload": lambda c, i, h: c.unload_model(SERVED, headers=h),
    "repository": lambda c, i, h: c.get_model_repository_index(headers=h),
    "map memory": lambda c, i, h: c.register_system_shared_memory("a", "/a", 64, headers=h),
    "mapped memory": lambda c, i, h: c.get_system_shared_memory_status(headers=h),
    "unmap memory": lambda c, i, h: c.unregister_system_shared_memory(headers=h),
    "map a GPU's memory": lambda c, i, h: c.register_cuda_shared_memory("a", b"", 0, 64, headers=h),
    "a GPU's mapped memory": lambda c, i, h: c.get_cuda_shared_memory_status(headers=h),
    "unmap a GPU's memory": lambda c, i, h: c.unregister_cuda_shared_memory(headers=h),
    "trace to a file": lambda c, i, h: c.update_trace_settings(
        settings={"trace_file": str(i.trace), "trace_level": ["TIMESTAMPS"]}, headers=h
    ),
    "trace": lambda c, i, h: c.get_trace_settings(headers=h),
    "log to a file": lambda c, i, h: c.update_log_settings({"log_file": str(i.log)}, headers=h),
    "log": lambda c, i, h: c.get_log_settings(headers=h),
    "statistics": lambda c, i, h: c.get_inference_statistics(headers=h),
}


@pytest.mark.parametrize("origin", [{}, {"origin": ORIGIN}], ids=["", "origin"])
@pytest.mark.parametrize("what", GRPC)
def test_grpc_is_closed_to_those_without_the_secret(
    grpc: InferenceServerClient, intrusion: Intrusion, what: str, origin: dict[str, str]
) -> None:
    for guessed in ({}, headers("guessed")):
        with pytest.raises(InferenceServerException, match="restricted"):
            GRPC[what](grpc, intrusion, origin | guessed)
    assert intrusion.left_nothing()
    assert not grpc.is_model_ready(intrusion.name)
    assert not grpc.is_model_ready("whisper")
    assert grpc.is_model_ready(SERVED)


Request = tuple[str, str, Callable[[Intrusion], object]]
HTTP: dict[str, Request] = {
    "load code": ("POST", "/v2/repository/models/intruder/load", Intrusion.loaded_by_http),
    "load": ("POST", "/v2/repository/models/whisper/load", lambda i: {}),
    "unload": ("POST", f"/v2/repository/models/{SERVED}/unload", lambda i: {}),
    "repository": ("POST", "/v2/repository/index", lambda i: {}),
    "map memory": (
        "POST",
        "/v2/systemsharedmemory/region/a/register",
        lambda i: {"key": "/a", "offset": 0, "byte_size": 64},
    ),
    "mapped memory": ("GET", "/v2/systemsharedmemory/status", lambda i: None),
    "unmap memory": ("POST", "/v2/systemsharedmemory/unregister", lambda i: {}),
    "map a GPU's memory": (
        "POST",
        "/v2/cudasharedmemory/region/a/register",
        lambda i: {"raw_handle": {"b64": ""}, "device_id": 0, "byte_size": 64},
    ),
    "a GPU's mapped memory": ("GET", "/v2/cudasharedmemory/status", lambda i: None),
    "unmap a GPU's memory": ("POST", "/v2/cudasharedmemory/unregister", lambda i: {}),
    "trace to a file": (
        "POST",
        "/v2/trace/setting",
        lambda i: {"trace_file": str(i.trace), "trace_level": ["TIMESTAMPS"]},
    ),
    "trace": ("GET", "/v2/trace/setting", lambda i: None),
    "trace of a model": ("POST", f"/v2/models/{SERVED}/trace/setting", lambda i: {}),
    "log to a file": ("POST", "/v2/logging", lambda i: {"log_file": str(i.log)}),
    "log": ("GET", "/v2/logging", lambda i: None),
    "statistics": ("GET", "/v2/models/stats", lambda i: None),
    "a model's statistics": ("GET", f"/v2/models/{SERVED}/stats", lambda i: None),
}
SIMPLE = {"Content-Type": "text/plain"}
"""What a page may send to another site without asking it first."""


def ask(
    server: Running, method: str, path: str, body: object, given: dict[str, str]
) -> tuple[int, str, dict[str, str]]:
    connection = http.client.HTTPConnection(server.http, timeout=30)
    try:
        content = None if body is None else json.dumps(body)
        connection.request(method, path, content, given)
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), dict(answer.getheaders())
    finally:
        connection.close()


@pytest.mark.parametrize(
    "given",
    [{}, SIMPLE | {"Origin": ORIGIN}, {"voxturn-secret": "guessed"}],  # pragma: allowlist secret
    ids=["", "origin", "guessed"],
)
@pytest.mark.parametrize("what", HTTP)
def test_http_is_closed_to_those_without_the_secret(
    server: Running,
    grpc: InferenceServerClient,
    intrusion: Intrusion,
    what: str,
    given: dict[str, str],
) -> None:
    method, path, body = HTTP[what]
    status, text, _ = ask(server, method, path, body(intrusion), given)
    assert (status, "restricted" in text) == (403, True)
    assert intrusion.left_nothing()
    assert not grpc.is_model_ready(intrusion.name)
    assert not grpc.is_model_ready("whisper")
    assert grpc.is_model_ready(SERVED)


def test_a_page_may_not_read_an_answer(server: Running) -> None:
    status, _, given = ask(server, "GET", "/v2/health/live", None, {"Origin": ORIGIN})
    assert status == 200
    assert not [name for name in given if name.lower().startswith("access-control")]


def test_with_the_secret_the_same_calls_run_code(
    server: Running, grpc: InferenceServerClient, intrusion: Intrusion
) -> None:
    """It is the secret that keeps the others out, not a mistake in their requests."""
    secret = secret_of(server)
    method, path, body = HTTP["load code"]
    assert ask(server, method, path, body(intrusion), {"voxturn-secret": secret})[0] == 200
    assert intrusion.mark.exists()
    grpc.unload_model(intrusion.name, headers=headers(secret))
    intrusion.mark.unlink()
    GRPC["load code"](grpc, intrusion, headers(secret))
    assert intrusion.mark.exists()
    grpc.unload_model(intrusion.name, headers=headers(secret))


def test_the_secret_is_neither_logged_nor_known_to_models(server: Running) -> None:
    secret = secret_of(server)
    family = list(descendants(server.process.pid))
    logs = [
        Path(f"/proc/{pid}/fd/1").resolve()
        for pid in family
        if "bin/tritonserver" in command_of(pid)
    ]
    (log,) = logs
    text = log.read_text(encoding="utf-8", errors="replace")
    assert "Started GRPCInferenceService" in text
    assert secret not in text
    (model,) = [pid for pid in family if f"/{SERVED}/1/model.py" in command_of(pid)]
    assert secret not in Path(f"/proc/{model}/environ").read_text(errors="replace")
    assert secret not in command_of(model)


def listening(server: Running) -> set[str]:
    """Where the server's processes accept connections, as HOST:PORT."""
    return ports.listening((server.process.pid, *descendants(server.process.pid)))


def test_a_server_listens_on_the_loopback_device_alone(server: Running) -> None:
    assert listening(server) == {server.grpc, server.metrics, server.http}
    assert all(address.startswith("127.0.0.1:") for address in listening(server))


def test_a_server_that_was_not_asked_for_http_has_none(demo_models: None) -> None:
    running = serve(Path("demo"), [SERVED])
    try:
        assert listening(running) == {running.grpc, running.metrics}
        assert all(address.startswith("127.0.0.1:") for address in listening(running))
    finally:
        assert running.stop() == 0
