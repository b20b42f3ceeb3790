"""The gateway as a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from voxturn.runtime.cli import main
from voxturn.runtime.commands.serve_gateway import warning_of
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.fake import write_profile


def test_it_serves_until_it_is_stopped_and_logs_json(tmp_path: Path) -> None:
    profile = write_profile(tmp_path / "fake")
    words = ["serve", "gateway", "--profile", str(profile), "--port", "0", "--log-format", "json"]
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "voxturn.runtime", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"VOXTURN_HOME": str(tmp_path / "store")},
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{address}/readyz", timeout=10) as answer:
            assert json.load(answer)["status"] == "ok"
        with pytest.raises(urllib.error.HTTPError):
            urllib.request.urlopen(f"{address}/healthz", b"", timeout=10)
        process.send_signal(signal.SIGTERM)
        events = [json.loads(line) for line in process.stderr]
        assert process.wait(10) == 0
    assert [each["message"] for each in events if each["event"] == "log"] == ["stopping"]


def test_a_wrong_port_is_the_caller_s_fault() -> None:
    assert main(["serve", "gateway", "--port", "65536"]) == UsageError.exit_code


def test_traces_without_their_package_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from voxturn.runtime.errors import ExecutorUnavailable
    from voxturn.runtime.gateway import telemetry

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setattr(telemetry, "importable", lambda name: False)
    assert main(["serve", "gateway", "--port", "0"]) == ExecutorUnavailable.exit_code
    assert "voxturn[otel]" in capsys.readouterr().err


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "0.0.0.0", "192.168.1.7"])
def test_a_gateway_that_others_reach_without_a_key_warns(host: str) -> None:
    assert bool(warning_of(host, True)) == (host in ("0.0.0.0", "192.168.1.7"))
    assert not warning_of(host, False)
