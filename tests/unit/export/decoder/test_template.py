"""Chat templates: where they are found, and what they may do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from voxturn.export.decoder.template import (
    Refused,
    Template,
    folder_template,
    special_tokens,
    today,
)
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.messages import Message

ASKED = [Message("user", "Hi")]


def written(source: str, opening: bool = False, **tokens: str) -> str:
    return Template(source, "file", tokens).compiled(today)(ASKED, opening)


def about(folder: Path, template: object, **others: object) -> None:
    table = {"chat_template": template, **others}
    (folder / "tokenizer_config.json").write_text(json.dumps(table), encoding="utf-8")


def source_of(folder: Path) -> tuple[str, str] | None:
    template = folder_template(folder)
    return None if template is None else (template.source, template.file)


def test_a_file_of_its_own_comes_before_the_configuration(tmp_path: Path) -> None:
    assert source_of(tmp_path) is None
    (tmp_path / "chat_template.json").write_text('{"chat_template": "older"}')
    assert source_of(tmp_path) == ("older", "chat_template.json")
    about(tmp_path, "configured")
    assert source_of(tmp_path) == ("configured", "tokenizer_config.json")
    (tmp_path / "chat_template.jinja").write_text("own", encoding="utf-8")
    assert source_of(tmp_path) == ("own", "chat_template.jinja")


@pytest.mark.parametrize(
    "several",
    [
        [{"name": "tool_use", "template": "a"}, {"name": "default", "template": "b"}],
        {"tool_use": "a", "default": "b"},
    ],
)
def test_of_several_the_default_is_taken(several: object, tmp_path: Path) -> None:
    about(tmp_path, several)
    assert source_of(tmp_path) == ("b", "tokenizer_config.json")


def test_what_is_no_template_is_named(tmp_path: Path) -> None:
    about(tmp_path, [{"name": "rag", "template": "a"}])
    with pytest.raises(ExportFailed, match=r"of its chat templates \(rag\) none is called default"):
        folder_template(tmp_path)
    about(tmp_path, 5)
    with pytest.raises(CorruptModel, match="chat_template is not text"):
        folder_template(tmp_path)
    (tmp_path / "chat_template.jinja").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(CorruptModel, match=r"chat_template\.jinja: cannot be read"):
        folder_template(tmp_path)


def test_special_tokens_are_those_of_the_configuration_then_of_the_map(tmp_path: Path) -> None:
    older = {"bos_token": "<b>", "eos_token": {"content": "<e>"}, "unk_token": None}
    (tmp_path / "special_tokens_map.json").write_text(json.dumps(older))
    about(tmp_path, "x", bos_token={"content": "<s>", "special": True}, eos_token=None)
    assert special_tokens(tmp_path) == {"bos_token": "<s>", "eos_token": "<e>"}


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ bos_token }}{{ messages[0].content }}", "<s>Hi"),
        ("{% if tools is none %}\n  none\n{% endif %}\nx", "  none\nx"),
        ("  {% if true %}a{% endif %}", "a"),
        ("{% for m in messages * 3 %}{{ m.role }}{% break %}{% endfor %}", "user"),
        ("{{ {'a': '<é>'} | tojson }}", '{"a": "<é>"}'),
        ("{% generation %}{{ messages[0].content }}{% endgeneration %}", "Hi"),
        ("{% set ns = namespace(n=1) %}{% set ns.n = ns.n + 1 %}{{ ns.n }}", "2"),
        ("{{ dict(a=1).a }}{{ undefined_name }}", "1"),
        ("{{ 'open' if add_generation_prompt else 'shut' }}", "shut"),
        ("{{ enable_thinking }}", "False"),
        ("{{ strftime_now('%Y') | length }}", "4"),
    ],
)
def test_it_has_what_transformers_gives_it(source: str, text: str) -> None:
    assert written(source, bos_token="<s>") == text


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ raise_exception('no\n  system  role') }}", "^no system role$"),
        ("{% for", "."),
        ("{{ messages[5].content.x }}", "."),
        ("{{ ''.__class__.__mro__[1].__subclasses__()() }}", "."),
        ("{{ cycler.__init__.__globals__.os.popen('id').read() }}", "."),
        ("{{ messages.append(1) }}", "."),
        ("{% set ns = namespace(__init__=1) %}", "a namespace cannot have '__init__'"),
        ("{% for i in range(9999999) %}{% endfor %}", "."),
        ("{% for i in range(99999) %}{{ '0123456789abcdef' }}{% endfor %}", "writes more than"),
        ("{% include 'other' %}", "."),
    ],
)
def test_what_it_must_not_or_cannot_do_is_refused_in_a_line(source: str, reason: str) -> None:
    with pytest.raises(Refused, match=reason) as caught:
        written(source)
    assert "\n" not in str(caught.value)
