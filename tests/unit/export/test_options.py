"""`--for`, and the spellings that it had before."""

from __future__ import annotations

import argparse

import pytest
from voxturn.export.options import add_options

ENGINES = ("onnx", "tensorrt", "ctranslate2")


def parsed(*words: str, needed: bool = True) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_options(parser, ENGINES, "what will run it", "precisions", engine_needed=needed)
    return parser.parse_args(["--checkpoint", "DIR", "-o", "ARTIFACT", *words])


@pytest.mark.parametrize("flag", ["--for", "--to"])
@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("onnx", "onnx"),
        ("tensorrt", "tensorrt"),
        ("tensorrt-onnx", "tensorrt"),
        ("ctranslate2", "ctranslate2"),
    ],
)
def test_every_spelling_names_the_same_engine(flag: str, name: str, engine: str) -> None:
    assert parsed(flag, name).engine == engine


def test_older_spellings_are_not_shown() -> None:
    parser = argparse.ArgumentParser(prog="export")
    add_options(parser, ENGINES, "what will run it", "precisions", engine_needed=True)
    shown = parser.format_help()
    assert "--for {onnx,tensorrt,ctranslate2}" in shown
    assert "--to" not in shown
    assert "tensorrt-onnx" not in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--for is required"),
        (("--for", "openvino"), "--for: invalid choice: 'openvino'"),
        (("--for", "onnx", "--to", "tensorrt"), "not allowed with"),
    ],
)
def test_none_another_or_two_engines_are_refused(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        parsed(*words)
    assert message in capsys.readouterr().err


def test_a_command_that_needs_no_engine_leaves_it_open() -> None:
    assert parsed(needed=False).engine == ""
