"""The container's compose files and its launcher, without Docker."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from voxturn.runtime import errors
from voxturn.runtime.cli import main
from voxturn.runtime.errors import UsageError
from voxturn.runtime.remote.access import restricting
from voxturn.runtime.remote.contract import MODELS

ROOT = Path(__file__).parents[3]


def service(name: str) -> dict[str, Any]:
    files = yaml.safe_load((ROOT / "deploy" / name).read_text(encoding="utf-8"))
    found: dict[str, Any] = files["services"]["triton"]
    return found


def options(environment: dict[str, str]) -> list[str]:
    """What the container's command gives to `tritonserver`."""
    shell, option, script = service("docker-compose.yml")["command"]
    assert (shell, option) == ("sh", "-c")
    script = script.replace("$$", "$").replace("exec tritonserver", "printf '%s\\n'")
    done = subprocess.run(
        ["sh", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_the_compose_file_runs_models_that_there_are_and_asks_them_by_canary() -> None:
    triton = service("docker-compose.yml")
    chosen = triton["environment"]["VOXTURN_SERVED"]
    served = chosen.removeprefix("${VOXTURN_SERVED:-").removesuffix("}").split()
    assert set(served) < set(MODELS)
    words = options({"VOXTURN_SERVED": " ".join(served)})
    assert [word for word in words if "load-model" in word] == [
        f"--load-model={name}" for name in served
    ]
    assert triton["healthcheck"]["test"].endswith("health localhost:8001 $$VOXTURN_SERVED")


def test_the_container_is_as_closed_as_the_embedded_server() -> None:
    triton, http = service("docker-compose.yml"), service("docker-compose.http.yml")
    environment = triton["environment"]
    assert environment["VOXTURN_SECRET"].startswith("${VOXTURN_SECRET:?")  # it does not run without
    secret = {"VOXTURN_SERVED": "", "VOXTURN_SECRET": "of $its own"}  # pragma: allowlist secret
    words = options(environment | secret)
    assert set(restricting("of $its own")) < set(words)
    assert "--allow-http=false" in words
    assert "--allow-http=true" in options(environment | secret | http["environment"])
    ports = [port.rsplit(":", 1) for port in triton["ports"] + http["ports"]]
    assert [inside for _, inside in ports] == ["8001", "8002", "8000"]
    assert all(address.startswith("${VOXTURN_ADDRESS:-127.0.0.1}:") for address, _ in ports)


def test_without_docker_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    assert main(["serve", "triton", "--docker"]) == errors.ExecutorUnavailable.exit_code
    monkeypatch.setattr("shutil.which", lambda name: "/bin/false")
    monkeypatch.chdir(tmp_path)
    assert main(["serve", "triton", "--docker"]) == UsageError.exit_code
    monkeypatch.chdir(ROOT)
    assert (
        main(["serve", "triton", "--docker"]) == errors.ServerUnavailable.exit_code
    )  # it ends at once
    assert (
        main(["serve", "triton", "--docker", "--profile", "runtime/profiles/demo.toml"])
        == UsageError.exit_code
    )
    monkeypatch.setenv("VOXTURN_GRPC_PORT", "here")
    assert main(["serve", "triton", "--docker"]) == UsageError.exit_code


def test_a_server_is_only_published_where_it_is_watched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("shutil.which", lambda name: "/bin/false")
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("VOXTURN_ADDRESS", "192.0.2.1")
    assert main(["serve", "triton", "--docker"]) == UsageError.exit_code
    assert "VOXTURN_ADDRESS: must be 127.0.0.1 or 0.0.0.0" in capsys.readouterr().err
    monkeypatch.setenv("VOXTURN_ADDRESS", "")
    assert main(["serve", "triton", "--docker"]) == errors.ServerUnavailable.exit_code


@pytest.mark.parametrize("http", [[], ["--http"]])
def test_docker_gets_a_secret_of_its_own_and_http_if_asked_for(
    http: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    log, program = tmp_path / "log", tmp_path / "docker"
    program.write_text(f'#!/bin/sh\necho "$VOXTURN_SECRET $*" >> {log}\nexit 3\n')
    program.chmod(0o755)
    monkeypatch.setattr("shutil.which", lambda name: str(program))
    monkeypatch.setenv("VOXTURN_SECRET", "guessed")
    monkeypatch.chdir(ROOT)
    for _ in range(2):
        code = main(["serve", "triton", "--docker", "--models", "xtts", "--profile", "cpu", *http])
        assert code == errors.ServerUnavailable.exit_code
    lines = [line.split() for line in log.read_text().splitlines()]
    secrets = [secret for secret, *_ in lines]
    assert secrets[0] == secrets[1] != secrets[2] == secrets[3]  # up and down, twice
    assert all(len(secret) > 40 for secret in secrets)
    files = [words[words.index("compose") + 1 : words.index("down")] for words in lines[1::2]]
    given = ["-f", "deploy/docker-compose.yml"]
    assert files == [given + (["-f", "deploy/docker-compose.http.yml"] if http else [])] * 2
