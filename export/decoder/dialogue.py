"""What a text model's manifest says of dialogues: the format of its chat template, and what ends an
answer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from voxturn.export.checkpoint import read_table
from voxturn.export.decoder.checkpoint import FileCheckpoint
from voxturn.export.decoder.gguf import GgufCheckpoint
from voxturn.export.decoder.template import (
    Template,
    folder_template,
    gguf_template,
    gguf_token,
    special_tokens,
)
from voxturn.export.decoder.template_process import format_apart
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.models.manifest import OPENS_THOUGHT
from voxturn.runtime.text.chat import CHAT_FORMATS, ChatFormat


def dialogue_properties(
    path: Path, checkpoint: FileCheckpoint, tokenizer: Tokenizer, vocabulary: int
) -> dict[str, Any]:
    """The properties `chat`, `stop_ids` and `opens_thought` of a text model.

    `chat` is a table of a `ChatFormat`, that of dialogues with tools within it, or the name of one where the checkpoint has no template.
    `stop_ids` are the tokens that end an answer by the template, the tokenizer or the generation's
    configuration. `opens_thought`: an answer begins within a thought, which a mark as `</think>`
    closes. Raises `CorruptModel` or `ExportFailed`.
    """
    template: Template | None
    stops: set[int]
    if isinstance(checkpoint, GgufCheckpoint):
        template = gguf_template(checkpoint)
        ends = (gguf_token(checkpoint, kind) for kind in ("eos", "eot"))
        stops = {end for end in ends if end is not None}
    else:
        template = folder_template(path)
        stops = _configured_stops(path, tokenizer)
    ids = {i for i in stops if i < vocabulary}
    if template is None:
        name = format_by_marks(path, tokenizer)
        return {"chat": name, "stop_ids": sorted(ids), OPENS_THOUGHT: False}
    form = format_apart(template, path)
    marks = (_leading_mark(text, tokenizer) for text in form.between["assistant"].values())
    written = {mark for mark in marks if mark is not None}
    if not written:
        form = replace(form, stop_texts=_stop_texts(form))
    if not written | ids and not form.stop_texts:
        raise ExportFailed(
            f"{path}: nothing says where an answer ends: neither {template.file}, nor the tokenizer's eos token, "
            "nor generation_config.json; complete one of them"
        )
    if form.thought_end in _unwritten(tokenizer):
        raise ExportFailed(
            f"{path}: {template.file} opens every answer with a thought, whose end {form.thought_end} the tokenizer "
            "never writes, as it is a special token; export a model that can answer without"
        )
    opens = bool(form.thought_end)
    return {"chat": form.to_table(), "stop_ids": sorted(written | ids), OPENS_THOUGHT: opens}


def format_by_marks(path: Path, tokenizer: Tokenizer) -> str:
    """The format's name of a model without a template, by the marks of its tokenizer.

    Raises `ExportFailed`.
    """
    name = chat_form(tokenizer)
    if tokenizer.token_to_id(CHAT_FORMATS[name].stops[0]) is None:
        raise ExportFailed(
            f"{path}: has no chat template, and its tokenizer none of the known marks of dialogues; export a model "
            "that was taught dialogues"
        )
    return name


def chat_form(tokenizer: Tokenizer) -> str:
    """Which of `runtime.text.chat.CHAT_FORMATS` the marks of a tokenizer suggest."""
    marks = {token.content for token in tokenizer.get_added_tokens_decoder().values()}
    if "<|start_header_id|>" in marks:
        return "llama3"
    return "qwen3" if "</think>" in marks else "chatml"


def _configured_stops(path: Path, tokenizer: Tokenizer) -> set[int]:
    """The ids that end an answer by the tokenizer, and by the generation's configuration."""
    stops: set[int] = set()
    eos = special_tokens(path).get("eos_token")
    if eos is not None and (number := tokenizer.token_to_id(eos)) is not None:
        stops.add(int(number))
    file = path / "generation_config.json"
    if not file.exists():
        file = path / "config.json"
    value = read_table(file).get("eos_token_id")
    ids = value if isinstance(value, list) else [] if value is None else [value]
    if any(isinstance(i, bool) or not isinstance(i, int) or i < 0 for i in ids):
        raise ExportFailed(
            f"{file}: has eos_token_id {value!r}, which is neither an id nor a list of ids"
        )
    return stops | set(ids)


def _unwritten(tokenizer: Tokenizer) -> set[str]:
    """The special tokens, which are left out where ids become text."""
    added = tokenizer.get_added_tokens_decoder().values()
    return {token.content for token in added if token.special}


def _leading_mark(text: str, tokenizer: Tokenizer) -> int | None:
    """The id of the added token that a text begins with, white space aside."""
    text = text.lstrip()
    marks = {
        token.content: number
        for number, token in tokenizer.get_added_tokens_decoder().items()
        if token.content.strip() and text.startswith(token.content)
    }
    return int(marks[max(marks, key=len)]) if marks else None


def _stop_texts(form: ChatFormat) -> tuple[str, ...]:
    """The first line of what comes after an answer: of a template that writes no mark there."""
    lines = form.between["assistant"]["user"].strip().splitlines()
    return (lines[0].strip(),) if lines else ()
