"""A gateway beside a PostgreSQL and a Redis that ask for passwords, and that go away."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from voxturn.runtime.families.fake import write_profile

from tests.security.test_gateway_process import VOXTURN, started
from tests.servers import SECRET, postgres_server, redis_server

pytest.importorskip("psycopg")
pytest.importorskip("redis")


def test_passwords_are_in_no_log(tmp_path: Path) -> None:
    with postgres_server() as postgres:
        with redis_server() as redis:
            profile = write_profile(tmp_path / "fake")
            with profile.open("a", encoding="utf-8") as file:
                file.write(f'\n[gateway]\ndrain_s = 5.0\nlimits = "{redis}"\n')
            options = ["--database", postgres.url, "--log-level", "debug"]
            made = [*VOXTURN, "keys", "create", "ana", "--database", postgres.url]
            done = subprocess.run(made, capture_output=True, text=True, check=True)
            key = done.stdout.strip()
            with started(tmp_path, *options) as gateway:
                assert gateway.ask("DELETE", "/v1/conversations")[0] == 401
                assert gateway.ask("DELETE", "/v1/conversations", key) == (
                    200,
                    {"object": "conversations.deleted", "deleted": 0},
                )
                postgres.stop()
                status, told = gateway.ask("DELETE", "/v1/conversations", key)
                assert status == 500
                assert SECRET not in str(told)
                postgres.start()
                assert gateway.ask("DELETE", "/v1/conversations", key)[0] == 200
                assert gateway.end() == 0
        with started(tmp_path, *options) as gateway:
            status, told = gateway.ask("DELETE", "/v1/conversations", key)
            assert (status, told["error"]["code"]) == (503, "limits_unavailable")
            assert gateway.end() == 0
    log = gateway.log.read_text(encoding="utf-8")
    assert "limits_unavailable" in log
    assert SECRET not in log + done.stderr
    refused = subprocess.run(made, capture_output=True, text=True, check=False)
    assert refused.returncode == 6
    assert refused.stderr.count("\n") == 1
    assert SECRET not in refused.stderr
