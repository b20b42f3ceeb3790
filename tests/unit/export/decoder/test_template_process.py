"""Chat templates in a process of their own: what they give is what they give here, and they cannot
take the machine with them."""

from __future__ import annotations

from pathlib import Path

import pytest
from voxturn.export.decoder import template_process
from voxturn.export.decoder.dialogue_format import format_of
from voxturn.export.decoder.template import Template
from voxturn.export.decoder.template_process import format_apart
from voxturn.runtime.errors import ExportFailed

PATH = Path("folder")
GOOD = Template(
    "{{ bos_token }}{% for m in messages %}<|{{ m.role }}|>{{ m.content | trim }}<end>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}",
    "chat_template.jinja",
    {"bos_token": "<é>"},
)


def test_the_format_is_the_one_that_is_found_in_this_process() -> None:
    assert format_apart(GOOD, PATH) == format_of(GOOD, PATH)


def test_a_template_is_refused_in_the_same_words() -> None:
    broken = Template("{{ nothing.more.of.it }}", "chat_template.jinja")
    refusals = []
    for find in (format_of, format_apart):
        with pytest.raises(ExportFailed) as caught:
            find(broken, PATH)
        refusals.append(str(caught.value))
    assert refusals[0] == refusals[1]


def test_a_template_that_wants_all_memory_gets_little() -> None:
    with pytest.raises(ExportFailed, match=r"folder: large cannot be used \(MemoryError\)"):
        format_apart(Template("{{ 'x' * 10 ** 11 }}", "large"), PATH)


def test_a_process_that_fails_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho first >&2\necho 'OSError: no such thing' >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(template_process.sys, "executable", str(program))
    with pytest.raises(ExportFailed, match=r"\(its process failed: OSError: no such thing\)$"):
        format_apart(GOOD, PATH)
