"""Profiles are strict: what is out of range is named before anything is loaded."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path

import pytest
from voxturn.runtime.errors import InvalidProfile
from voxturn.runtime.profile import SHIPPED, load_profile


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_profiles_are_in_range(name: str) -> None:
    assert load_profile(name).name == name


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("speak", "slots = 0"),
        ("speak", "speed = 0.0"),
        ("speak", "max_chars = 0"),
        ("reply", "slots = 0"),
        ("reply", "context = 1"),
        ("reply", "max_tokens = 0"),
    ],
)
def test_a_number_out_of_range_is_named(table: str, line: str, tmp_path: Path) -> None:
    text = (resources.files("voxturn.runtime") / "profiles" / "demo.toml").read_text(encoding="utf-8")
    key = line.split(" ")[0]
    text = re.sub(rf"(?m)^{key} = .*\n", "", text).replace(f"[{table}]\n", f"[{table}]\n{line}\n")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidProfile, match=rf"mine\.{table}\.{key}: must be between") as caught:
        load_profile(tmp_path / "mine.toml")
    assert "\n" not in str(caught.value)


def test_an_arithmetic_that_does_not_exist_is_named(tmp_path: Path) -> None:
    text = (resources.files("voxturn.runtime") / "profiles" / "cpu.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text.replace('compute = "auto"', 'compute = "fp8"'), encoding="utf-8")
    with pytest.raises(InvalidProfile, match=r"mine\.vocode\.compute: must be auto, fp32, bf16, not 'fp8'"):
        load_profile(tmp_path / "mine.toml")


def test_an_end_before_its_suspicion_is_refused(tmp_path: Path) -> None:
    text = (resources.files("voxturn.runtime") / "profiles" / "demo.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text + "\n[endpointing]\nsuspect_ms = 300\nend_ms = 200\n", encoding="utf-8")
    with pytest.raises(InvalidProfile, match="suspect_ms: must be between 1 and 200"):
        load_profile(tmp_path / "mine.toml")
