"""`voxturn keys`: a secret is shown once, and never again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from voxturn.runtime import cli
from voxturn.runtime.commands import keys
from voxturn.runtime.commands.gateway_workers import oversees, worker_options
from voxturn.runtime.errors import ExecutorUnavailable, UsageError
from voxturn.runtime.gateway.client_voices import _stored
from voxturn.runtime.gateway.database import Database


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path))
    return tmp_path


def listed(capsys: pytest.CaptureFixture[str], *options: str) -> list[dict[str, object]]:
    capsys.readouterr()
    assert cli.main(["keys", "list", "--json", *options]) == 0
    entries: list[dict[str, object]] = json.loads(capsys.readouterr().out)
    return entries


def test_a_secret_is_on_standard_output_alone_and_once(
    capsys: pytest.CaptureFixture[str], home: Path
) -> None:
    assert (
        cli.main(["keys", "create", "ana", "--sessions", "2", "--rate", "60", "--days", "9"]) == 0
    )
    told = capsys.readouterr()
    secret = told.out.removesuffix("\n")
    assert secret.startswith("vx_")
    assert "\n" not in secret
    assert secret not in told.err
    (entry,) = listed(capsys)
    assert (entry["name"], entry["state"]) == ("ana", "good")
    assert (entry["sessions"], entry["requests_per_minute"]) == (2, 60)
    assert entry["expires"] is not None
    assert cli.main(["keys", "list"]) == 0
    shown = capsys.readouterr().out
    assert str(entry["id"]) in shown
    assert secret not in shown + json.dumps(entry)
    assert (home / "gateway.sqlite").exists()


def test_a_revoked_key_stays_in_the_list(capsys: pytest.CaptureFixture[str], home: Path) -> None:
    cli.main(["keys", "create", "ana"])
    (entry,) = listed(capsys)
    identifier = str(entry["id"])
    voices = [home / "voices" / "0" / f"{_stored(key, 'Eve')}.npz" for key in (identifier, "key_2")]
    voices[0].parent.mkdir(parents=True)
    for voice in voices:
        voice.touch()
    assert cli.main(["keys", "revoke", identifier, "--forget"]) == 0
    told = f"{identifier}: revoked\n0 conversation(s) and 1 voice(s) forgotten\n"
    assert capsys.readouterr().out == told
    assert [voice.exists() for voice in voices] == [False, True]
    assert cli.main(["keys", "revoke", identifier]) == 0
    assert capsys.readouterr().out == f"{identifier}: was revoked before\n"
    assert [each["state"] for each in listed(capsys)] == ["revoked"]
    assert cli.main(["keys", "revoke", "key_none"]) == UsageError.exit_code
    assert "voxturn keys list" in capsys.readouterr().err


def test_keys_are_in_the_database_that_is_named(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = ["--database", str(tmp_path / "other")]
    cli.main(["keys", "create", "ana", *other])
    assert len(listed(capsys, *other)) == 1
    assert listed(capsys) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["create", " "],
        ["create", "ana", "--sessions", "0"],
        ["create", "ana", "--rate", "x"],
        ["create", "ana", "--days", "-1"],
        ["create", "ana", "--database", ""],
    ],
    ids=" ".join,
)
def test_values_that_cannot_be_are_told(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["keys", *arguments]) == UsageError.exit_code
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(keys, "importable", lambda name: name != "limits")
    for command in (["keys", "list"], ["serve", "gateway"]):
        assert cli.main(command) == ExecutorUnavailable.exit_code
        assert "pip install 'voxturn[gateway]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("host", "wanted"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False),
     ("192.168.0.1", False), ("voice.example", False), ("", False)],
)  # fmt: skip
def test_what_is_this_machine_alone(host: str, wanted: bool) -> None:
    assert keys.is_loopback(host) is wanted
    with Database() as database:
        keys.check_keys(host, True, database)
        if wanted:
            keys.check_keys(host, False, database)
        else:
            with pytest.raises(UsageError, match="there is no key"):
                keys.check_keys(host, False, database)


def test_a_worker_is_told_what_its_parent_was() -> None:
    given = [
        "--debug", "serve", "gateway", "--profile", "cpu", "--host", "::1", "--port", "9", "--open", "--workers", "3",
        "--database", "d", "--certificate", "c", "--key", "k",
    ]  # fmt: skip
    parser = cli.build_parser()
    args = parser.parse_args(given)
    worker = parser.parse_args(worker_options(args, (3, 4), "/tmp/a"))
    assert worker.shared == "3,4,/tmp/a"
    assert oversees(args)
    assert not oversees(worker)
    assert vars(worker) | {"shared": ""} == vars(args)
