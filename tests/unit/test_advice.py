"""What errors advise: every option and every command that they name exists, as does every value of
`--for`."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from voxturn.runtime.cli import build_parser
from voxturn.runtime.executors.catalogue import catalogue

ROOT = Path(__file__).parents[2]
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z-]*")
_COMMAND = re.compile(r"voxturn ((?:[a-z][a-z0-9.-]* ?)+)")
_FOR = re.compile(r"--for ([a-z][a-z0-9]*)")
_MAKE = re.compile(r"`make [^`]*`")


def parsers(
    parser: argparse.ArgumentParser, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    """Every command of the command line by its words."""
    yield words, parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, below in action.choices.items():
                yield from parsers(below, (*words, name))


COMMANDS = dict(parsers(build_parser()))


def options(words: tuple[str, ...]) -> set[str]:
    """The options of a command, those of the commands above it included."""
    above = [COMMANDS[words[:i]] for i in range(len(words) + 1)]
    return {option for parser in above for option in parser._option_string_actions}


def targets() -> set[str]:
    """What `--for` takes in any export of models."""
    choices: set[str] = set()
    for words, parser in COMMANDS.items():
        action = parser._option_string_actions.get("--for")
        if words[:1] == ("export",) and action is not None:
            choices |= set(action.choices or ())
    return choices


def text_of(node: ast.AST) -> str:
    """The literal text in an expression; what is filled in is "…"."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else ""
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "…"
    return " ".join(text_of(child) for child in ast.iter_child_nodes(node))


def errors() -> Iterator[tuple[str, str]]:
    """Every error's text with the place where it is raised, and every other line of advice."""
    for folder in ("runtime", "export", "bench"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                if isinstance(node, ast.Raise) and node.exc is not None:
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", text_of(node.exc)
                elif isinstance(node, ast.Return | ast.Assign) and node.value is not None:
                    text = text_of(node.value)
                    if "voxturn " in text and "example:" not in text:
                        yield f"{path.relative_to(ROOT)}:{node.lineno}", text
    for row in catalogue().values():
        yield f"the executor {row.name}", row.advice


@cache
def advised() -> list[tuple[str, str]]:
    found = [(place, _MAKE.sub("", text)) for place, text in errors()]
    return [(place, text) for place, text in found if _OPTION.search(text) or "voxturn " in text]


def command_in(text: str) -> tuple[tuple[str, ...], str] | None:
    """The longest command that a text names, and what follows it."""
    for match in _COMMAND.finditer(text):
        words = tuple(match[1].split())
        for count in range(len(words), 0, -1):
            if words[:count] in COMMANDS:
                return words[:count], text[match.start() :]
    return None


def test_there_is_advice_to_check() -> None:
    assert len(advised()) > 40


@pytest.mark.parametrize(("place", "text"), advised(), ids=[place for place, _ in advised()])
def test_what_an_error_advises_exists(place: str, text: str) -> None:
    known = {option for words in COMMANDS for option in options(words)}
    assert set(_OPTION.findall(text)) <= known, place
    assert set(_FOR.findall(text)) <= targets(), place
    named = command_in(text)
    if named is not None:
        words, rest = named
        line = re.split(r"[`;]", rest)[0]
        assert set(_OPTION.findall(line)) <= options(words), place


def test_what_a_text_model_s_export_advises_is_an_option_of_it() -> None:
    action = COMMANDS["export", "qwen3"]._option_string_actions["--for"]
    for place, text in advised():
        if place.startswith("export/decoder"):
            assert set(_FOR.findall(text)) <= set(action.choices or ()), place
