"""Everything that listens, and where: on this machine alone, unless it is told otherwise."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]
OPENS = re.compile(
    r"\.bind\(|\.listen\(\d|create_server|start_server|start_unix_server|HTTPServer|TCPServer|serve_forever"
    r"|TCPSite|run_app|uvicorn|add_insecure_port|add_secure_port|--[a-z]+-address|--[a-z]+-port"
)
"""What a program says that opens a port, or has another one do it."""
TESTED = {
    "runtime/commands/keys.py": set(),  # names the package that the gateway needs
    "runtime/gateway/logs.py": set(),  # names uvicorn's logger
    "runtime/gateway/server.py": {"127.0.0.1"},
    "runtime/gateway/wyoming/server.py": set(),  # on a socket of `gateway.server.listening`
    "runtime/gateway/wire.py": set(),
    "runtime/serving/launcher.py": {"127.0.0.1"},
}
"""The files that do, and the hosts that they name.

`test_doors` and `test_gateway_process` look where their servers listen.
"""
HOST = re.compile(r"\b(?:\d{1,3}\.){3}\d{1,3}\b|\[::[\d:]*\]")


def test_nothing_else_opens_a_port() -> None:
    found = {
        str(path.relative_to(ROOT)): set(HOST.findall(text))
        for folder in ("runtime", "export", "bench", "triton_models")
        for path in (ROOT / folder).rglob("*.py")
        if OPENS.search(text := path.read_text(encoding="utf-8"))
    }
    assert found == TESTED


def test_containers_publish_their_ports_on_this_machine_alone() -> None:
    ports = [
        str(port)
        for path in (ROOT / "deploy").glob("docker-compose*.yml")
        for service in yaml.safe_load(path.read_text(encoding="utf-8"))["services"].values()
        for port in service.get("ports", ())
    ]
    assert len(ports) == 5
    assert all(port.startswith("${VOXTURN_ADDRESS:-127.0.0.1}:") for port in ports)
