"""Profiles are strict: what is out of range is named before anything is loaded."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from voxturn.runtime import cli, prepare
from voxturn.runtime.commands import models  # noqa: F401  or it would keep what a test puts in place
from voxturn.runtime.errors import CorruptModel, InvalidProfile
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.prepare import problems
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
        ("listen", "longest_s = 0.5"),
        ("reply", "slots = 0"),
        ("reply", "context = 1"),
        ("reply", "max_tokens = 0"),
    ],
)
def test_a_number_out_of_range_is_named(table: str, line: str, tmp_path: Path) -> None:
    text = (resources.files("voxturn.runtime") / "profiles" / "demo.toml").read_text(
        encoding="utf-8"
    )
    key = line.split(" ")[0]
    text = re.sub(rf"(?m)^{key} = .*\n", "", text).replace(f"[{table}]\n", f"[{table}]\n{line}\n")
    (tmp_path / "mine.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InvalidProfile, match=rf"mine\.{table}\.{key}: must be between") as caught:
        load_profile(tmp_path / "mine.toml")
    assert "\n" not in str(caught.value)


def test_an_arithmetic_that_does_not_exist_is_named(tmp_path: Path) -> None:
    text = (resources.files("voxturn.runtime") / "profiles" / "cpu.toml").read_text(
        encoding="utf-8"
    )
    (tmp_path / "mine.toml").write_text(
        text.replace('compute = "auto"', 'compute = "fp8"'), encoding="utf-8"
    )
    with pytest.raises(
        InvalidProfile, match=r"mine\.vocode\.compute: must be auto, fp32, bf16, not 'fp8'"
    ):
        load_profile(tmp_path / "mine.toml")


def test_an_end_before_its_suspicion_is_refused(tmp_path: Path) -> None:
    text = (resources.files("voxturn.runtime") / "profiles" / "demo.toml").read_text(
        encoding="utf-8"
    )
    (tmp_path / "mine.toml").write_text(
        text + "\n[endpointing]\nsuspect_ms = 300\nend_ms = 200\n", encoding="utf-8"
    )
    with pytest.raises(InvalidProfile, match="suspect_ms: must be between 1 and 200"):
        load_profile(tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('kind = "ears"', "kind: must be silence, words, sound or both, not 'ears'"),
        ("threads = 2", "threads: kind = 'words' runs no model; leave it out"),
        ('kind = "silence"\nexecutor = "openvino"', "executor: kind = 'silence' runs no model"),
        ('kind = "both"\nexecutor = "ctranslate2"', "executor: 'ctranslate2' cannot run this"),
    ],
)
def test_what_judges_the_end_of_a_turn_is_checked(lines: str, says: str, tmp_path: Path) -> None:
    path = with_end_of_turn(tmp_path, lines)
    with pytest.raises(InvalidProfile, match=rf"mine\.end_of_turn\.{says}") as caught:
        load_profile(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["silence", "words", "sound", "both"])
def test_only_where_the_sound_is_judged_is_there_a_stage_for_it(kind: str, tmp_path: Path) -> None:
    profile = load_profile(with_end_of_turn(tmp_path, f'kind = "{kind}"'))
    by_sound = kind in ("sound", "both")
    assert ("end_of_turn" in profile.engines()) == by_sound
    store = Store(tmp_path / "home")
    found = {p.stage: p for p in problems(profile, store, Registry.read(), Cores())}
    assert ("end_of_turn" in found) == by_sound  # its model is not here either
    if by_sound:
        assert "models pull --profile" in found["end_of_turn"].fix


def with_end_of_turn(folder: Path, lines: str) -> Path:
    """The demo's profile with a table `[end_of_turn]`."""
    demo = resources.files("voxturn.runtime") / "profiles" / "demo.toml"
    path = folder / "mine.toml"
    path.write_text(f"{demo.read_text('utf-8')}\n[end_of_turn]\n{lines}\n", encoding="utf-8")
    return path


def test_a_profile_is_pulled_again_a_model_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pulled: list[tuple[Any, ...]] = []
    monkeypatch.setattr(
        prepare,
        "bring_model",
        lambda name, precision, *rest: pulled.append((name, precision, rest[-1])),
    )
    assert cli.main(["models", "pull", "--profile", "demo", "--again"]) == 0
    engines = load_profile("demo").engines().values()
    assert pulled == [
        (model, precision, True)
        for model, precision in dict.fromkeys((e.model, e.precision) for e in engines)
    ]


def test_what_is_damaged_is_to_be_pulled_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(*_: Any) -> Any:
        raise CorruptModel("decoder.onnx.data: has another size")

    monkeypatch.setattr(Store, "artifact", damaged)
    found = problems(load_profile("demo"), Store(tmp_path), Registry.read(), Cores())
    assert {problem.fix for problem in found} == {"voxturn models pull --profile demo --again"}


def test_a_voice_that_no_server_has_is_a_problem_before_it_is_asked_for(tmp_path: Path) -> None:
    demo = load_profile("demo")
    served = replace(demo, speak=replace(demo.speak, executor="triton", server="localhost:8001"))
    found = problems(served, Store(tmp_path), Registry.read(), Cores())
    what = f"{demo.speak.model} (vits) is served by no model; name another executor"
    assert what in [problem.what for problem in found if problem.stage == "speak"]


@pytest.mark.parametrize("tag", ["english", "", "e n"])
def test_a_language_that_is_no_tag_is_named(tag: str, tmp_path: Path) -> None:
    text = (resources.files("voxturn.runtime") / "profiles" / "demo.toml").read_text("utf-8")
    path = tmp_path / "mine.toml"
    path.write_text(re.sub(r'language = "\w+"', f'language = "{tag}"', text, count=1))
    with pytest.raises(InvalidProfile, match=r"^profile mine\.language: .*is no language tag"):
        load_profile(path)
