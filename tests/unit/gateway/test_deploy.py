"""What `deploy/` has for the gateway, as far as it can be read without Docker."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.metrics import Metrics, OccupancyGauges
from voxturn.runtime.parts import Occupancy
from voxturn.runtime.profile import load_profile

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
NAME = re.compile(r"\b(?:voxturn|process)_[a-z_]+")
SUFFIXES = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


@pytest.fixture
def samples() -> dict[str, set[str]]:
    """The names that Prometheus will know, by metric."""
    metrics = Metrics()
    OccupancyGauges(metrics, lambda: (1, 0), lambda: {"reply": Occupancy(1, 0, 0)})
    return {
        family.name: {f"{family.name}{suffix}" for suffix in SUFFIXES[family.type]}
        for family in metrics.registry.collect()
    }


def expressions() -> list[str]:
    dashboard = json.loads((DEPLOY / "grafana/dashboards/voxturn.json").read_text("utf-8"))
    found = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    assert found
    return found


def alerts() -> list[str]:
    groups = yaml.safe_load((DEPLOY / "alerts.yml").read_text("utf-8"))["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def test_every_metric_of_the_dashboard_and_the_alerts_exists(samples: dict[str, set[str]]) -> None:
    known = set().union(*samples.values())
    used = {name for text in [*expressions(), *alerts()] for name in NAME.findall(text)}
    assert used - known == set()


def test_every_metric_of_ours_has_a_panel_and_a_line_in_the_docs(
    samples: dict[str, set[str]],
) -> None:
    shown = {name for text in expressions() for name in NAME.findall(text)}
    docs = (ROOT / "docs/operations.md").read_text("utf-8")
    for name, exposed in samples.items():
        if name.startswith("voxturn_"):
            assert exposed & shown, name
            assert min(exposed, key=len) in docs or name in docs, name


def test_panels_overlap_nowhere() -> None:
    panels = json.loads((DEPLOY / "grafana/dashboards/voxturn.json").read_text("utf-8"))["panels"]
    cells: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not own & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        cells |= own
    assert len({panel["id"] for panel in panels}) == len(panels)


def compose(name: str) -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text("utf-8"))
    return read


def test_ports_are_this_machine_s_and_no_secret_has_a_default() -> None:
    services = compose("docker-compose.gateway.yml")["services"]
    ports = [port for service in services.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("${VOXTURN_ADDRESS:-127.0.0.1}:") for port in ports)
    password = services["grafana"]["environment"]["GF_SECURITY_ADMIN_PASSWORD"]
    assert password.startswith("${GRAFANA_PASSWORD:?")


def test_every_file_that_is_mounted_is_here() -> None:
    for service in compose("docker-compose.gateway.yml")["services"].values():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).exists(), source


def test_prometheus_asks_services_that_there_are() -> None:
    both = (
        compose("docker-compose.gateway.yml")["services"]
        | compose("docker-compose.yml")["services"]
    )
    jobs = compose("prometheus.yml")["scrape_configs"]
    targets = [t for job in jobs for each in job["static_configs"] for t in each["targets"]]
    assert {target.split(":")[0] for target in targets} <= set(both)


def test_the_profile_for_triton_loads_and_names_the_service() -> None:
    profile = load_profile(DEPLOY / "triton.toml")
    assert profile.engine("reply").server == "triton:8001"


def test_the_image_installs_extras_that_there_are_and_runs_as_nobody() -> None:
    text = (DEPLOY / "Dockerfile").read_text("utf-8")
    (extras,) = re.findall(r"^ARG EXTRAS=(.+)$", text, re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(extras.split(",")) <= set(project["optional-dependencies"])
    stages = text.split("\nFROM ")[1:]
    assert len(stages) == 2
    assert "\nUSER 10001:10001\n" in stages[-1]
    assert "\nHEALTHCHECK " in stages[-1]
    copied = re.findall(r"^COPY (?!--from)(?:--\S+ )*(\S+) ", text, re.MULTILINE)
    assert all((ROOT / source).exists() for source in copied)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd here")
def test_systemd_knows_every_line_of_the_unit() -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", DEPLOY / "voxturn-gateway.service"],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = done.stderr.splitlines()
    assert [line for line in lines if "is not executable" not in line] == []


@pytest.mark.parametrize("name", ["Dockerfile", "voxturn-gateway.service"])
def test_what_is_run_are_commands_that_there_are(name: str) -> None:
    from voxturn.runtime.cli import build_parser

    text = (DEPLOY / name).read_text("utf-8") + (DEPLOY / "start.sh").read_text("utf-8")
    text = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    text = text.replace("${VOXTURN_PROFILE}", "demo").replace('"$VOXTURN_PROFILE" "$@"', "demo")
    text = text.replace('"$VOXTURN_PROFILE"', "demo")
    found = re.findall(r"\bvoxturn ((?:serve|models) .+)$", text, re.MULTILINE)
    assert len(found) >= 2  # brings the models, then serves
    for words in found:
        build_parser().parse_args(words.split())


async def test_a_gateway_has_these_metrics(gateway: Gateway, samples: dict[str, set[str]]) -> None:
    assert {family.name for family in gateway.metrics.registry.collect()} == set(samples)


@pytest.mark.parametrize(
    ("address", "opened"),
    [("127.0.0.1", True), ("localhost", True), ("0.0.0.0", False), ("", False), (None, False)],
)
def test_a_container_is_open_on_its_machine_alone(
    address: str | None, opened: bool, tmp_path: Path
) -> None:
    voxturn = tmp_path / "voxturn"
    voxturn.write_text('#!/bin/sh\necho "$@"\n', encoding="utf-8")
    voxturn.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "VOXTURN_PROFILE": "demo"}
    if address is not None:
        environment["VOXTURN_ADDRESS"] = address
    command = json.loads(
        re.findall(r"^CMD (.+)$", (DEPLOY / "Dockerfile").read_text("utf-8"), re.M)[0]
    )
    done = subprocess.run(
        ["sh", str(DEPLOY / "start.sh"), *command], env=environment, capture_output=True, text=True
    )
    assert ("--open" in done.stdout.splitlines()[-1].split()) is opened
    given = compose("docker-compose.gateway.yml")["services"]["gateway"]["environment"]
    assert given["VOXTURN_ADDRESS"] == "${VOXTURN_ADDRESS:-127.0.0.1}"
