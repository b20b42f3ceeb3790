"""A chat template as a format in which every dialogue begins with the earlier ones, and what ends an answer.

A template is a program over a whole dialogue; the runtime keeps the model's state of a dialogue and appends to it. So
dialogues are written with the template, and what stands between their messages is kept, if it is the same wherever a
message of one role follows a message of another. Where it is not the template is refused.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from voxturn.export.checkpoint import read_table
from voxturn.export.decoder.checkpoint import FileCheckpoint
from voxturn.export.decoder.gguf import GgufCheckpoint
from voxturn.export.decoder.template import (
    Refused,
    Renderer,
    Template,
    folder_template,
    gguf_template,
    gguf_token,
    special_tokens,
    today,
)
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.messages import Message
from voxturn.runtime.models.manifest import OPENS_THOUGHT
from voxturn.runtime.text import thought
from voxturn.runtime.text.chat import CHAT_FORMATS, DATE, START, ChatFormat

Pairs = dict[tuple[str, str], str]
"""Texts between messages, by the roles before and after."""

_TURNS: tuple[tuple[str, ...], ...] = (
    ("user",),
    ("user", "assistant", "user"),
    ("user", "assistant", "user", "assistant", "user"),
)
"""The dialogues that a voice has, each of them also after a system prompt."""
_FURTHER: tuple[tuple[str, ...], ...] = (
    ("system",),
    ("user", "assistant"),
    ("user", "user"),
    ("system", "system", "user"),
    ("user", "system", "user"),
    ("user", "assistant", "system", "user"),
    ("assistant", "user"),
    ("system", "assistant", "user"),
    ("user", "assistant", "assistant", "user"),
)
"""What a client may send besides, if the template takes it."""
_SAMPLES = {
    "system": ("Answer in one short sentence.",),
    "user": ("What is 2 + 2?", "And what's the capital of France, please?", "Thanks!\nGoodbye."),
    "assistant": ("Four.", "It's Paris: a city of 2.1 million people."),
}
_PAD = "  "
_SIDES = {("", ""): "both", ("", _PAD): "left", (_PAD, ""): "right", (_PAD, _PAD): ""}
"""Where white space was taken off, by what is left of it before and after a text."""
_THOUGHT = re.compile(f"{thought.BEGIN.pattern}|{thought.END.pattern}", re.IGNORECASE)
_NO_THOUGHT = re.compile(
    rf"\s*(?:{thought.BEGIN.pattern})\s*(?:{thought.END.pattern})\s*", re.IGNORECASE
)


class Unstable(Exception):
    """A template's dialogues do not begin with the earlier ones; `str` says where."""


def dialogue_properties(
    path: Path, checkpoint: FileCheckpoint, tokenizer: Tokenizer, vocabulary: int
) -> dict[str, Any]:
    """The properties `chat`, `stop_ids` and `opens_thought` of a text model.

    `chat` is a table of a `ChatFormat`, or the name of one where the checkpoint has no template. `stop_ids` are the
    tokens that end an answer by the template, the tokenizer or the generation's configuration. `opens_thought`: an
    answer begins within a thought, which a mark as `</think>` closes. Raises `CorruptModel` or `ExportFailed`.
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
    form = format_of(template, path)
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
    """The format's name of a model without a template, by the marks of its tokenizer. Raises `ExportFailed`."""
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


def format_of(template: Template, path: Path) -> ChatFormat:
    """A template as a format, its dates written anew with every prompt. Raises `ExportFailed`."""
    try:
        rendered = template.compiled(today)
        try:
            return _verified(template.compiled(lambda form: f"\ue000{form}\ue001"), rendered)
        except (Refused, Unstable):  # it reckons with its dates: they stay those of today
            return _verified(rendered, rendered)
    except Refused as exc:
        raise ExportFailed(f"{path}: {template.file} cannot be used ({exc})") from exc
    except Unstable as exc:
        raise ExportFailed(
            f"{path}: {template.file} cannot be used: {exc}, so that a longer dialogue does not begin with the shorter"
        ) from exc


def _verified(source: Renderer, rendered: Renderer) -> ChatFormat:
    """The format of what `source` writes, if it writes what `rendered` does."""
    between, opening = _observed(source)
    prompted = any(earlier == START and role == "system" for earlier, role in between)
    starts: list[tuple[str, ...]] = [()] if (START, "user") in between else []
    starts += [("system",)] if prompted else []
    form = ChatFormat(_by_role(between), opening, _strips(source, starts))
    for start in starts:
        for turns in _TURNS:
            messages = _sampled((*start, *turns))
            text = DATE.sub(lambda found: today(found[1]), _text(form, messages))
            if text != rendered(messages, True):
                raise Unstable("it writes some dialogues in another way than others")
    return _with_answers(form)


def _text(form: ChatFormat, messages: Sequence[Message]) -> str:
    text, earlier = "", START
    for message in messages:
        text += form.before(earlier, message.role) + form.message_text(earlier, message)
        earlier = message.role
    return text + form.after(earlier)


def _by_role(pairs: Pairs) -> dict[str, dict[str, str]]:
    out: dict[str, dict[str, str]] = {}
    for (earlier, role), text in pairs.items():
        out.setdefault(earlier, {})[role] = text
    return out


def _sampled(roles: Sequence[str]) -> list[Message]:
    left = {role: list(texts) for role, texts in _SAMPLES.items()}
    return [Message(role, left[role].pop(0)) for role in roles]


def _observed(render: Renderer) -> tuple[Pairs, dict[str, str]]:
    """What stands between messages, and what opens an answer after a message, by roles."""
    between: Pairs = {}
    opening: dict[str, str] = {}
    reasons: list[Refused] = []
    for start in ((), ("system",)):
        try:
            render(_probes((*start, "user")), True)
        except Refused as exc:
            reasons.append(exc)
            continue
        if start and _dropped(render):
            continue
        for turns in _TURNS:
            _note(between, opening, (*start, *turns), render)
    if not between:
        raise reasons[0]
    for roles in _FURTHER:
        more, opened = dict(between), dict(opening)
        with contextlib.suppress(Refused, Unstable):
            _note(more, opened, roles, render)
            between, opening = more, opened
    return between, opening


def _dropped(render: Renderer) -> bool:
    """Whether a system prompt is left out without a word."""
    system, question = _probes(("system", "user"))
    return system.text not in render([system, question], True)


def _note(between: Pairs, opening: dict[str, str], roles: Sequence[str], render: Renderer) -> None:
    """Add what a dialogue of `roles` shows. Raises `Unstable` where it was otherwise before."""
    *gaps, last = _gaps(render, _probes(roles))
    for (earlier, role), text in zip(pairwise((START, *roles)), gaps, strict=True):
        if between.setdefault((earlier, role), text) != text:
            where = f"after the {earlier}'s" if earlier else "at the beginning"
            raise Unstable(f"it writes the {role}'s messages {where} in several ways")
    if opening.setdefault(roles[-1], last) != last:
        raise Unstable("it opens answers in several ways")


def _probes(roles: Sequence[str], padded: str = "") -> list[Message]:
    """Messages whose texts are found again; those of the role `padded` with white space around them."""
    texts = [f"Vx{number}q." for number in range(len(roles))]
    return [
        Message(role, f"{_PAD}{text}{_PAD}" if role == padded else text)
        for role, text in zip(roles, texts, strict=True)
    ]


def _gaps(render: Renderer, messages: Sequence[Message]) -> list[str]:
    """What a dialogue has before each message's text, white space aside, and after the last one."""
    text, at, gaps = render(messages, True), 0, list[str]()
    for message in messages:
        content = message.text.strip()
        begin = text.find(content, at)
        if begin < 0 or text.count(content) > 1:
            raise Unstable(
                f"it moves, repeats or changes the {message.role}'s messages in longer dialogues"
            )
        gaps.append(text[at:begin])
        at = begin + len(content)
    return [*gaps, text[at:]]


def _strips(render: Renderer, starts: Sequence[tuple[str, ...]]) -> dict[str, dict[str, str]]:
    """Which messages' texts the template takes white space off, by the roles before and of them, and on which sides."""
    strips: dict[str, dict[str, str]] = {}
    for roles in ((*start, "user", "assistant", "user") for start in starts):
        plain = _gaps(render, _probes(roles))
        for padded in dict.fromkeys(roles):
            gaps = _gaps(render, _probes(roles, padded))
            for i, (earlier, role) in enumerate(pairwise((START, *roles))):
                if role != padded:
                    continue
                left = gaps[i].removeprefix(plain[i])
                right = gaps[i + 1].removesuffix(plain[i + 1])
                if (left, right) not in _SIDES:
                    raise Unstable(f"it changes the white space of the {role}'s messages")
                if side := _SIDES[left, right]:
                    strips.setdefault(earlier, {})[role] = side
    return strips


def _with_answers(form: ChatFormat) -> ChatFormat:
    """The format, if an earlier answer may follow what opened it instead of what the template writes before it.

    A template may leave out of earlier answers the thought that it opened them with, empty or begun, and may write
    white space before them that the model writes by itself. Raises `Unstable` for other differences.
    """
    opened, earlier = form.opening["user"], form.between["user"]["assistant"]
    thought_end = _open_thought(opened)
    left_out = opened.removeprefix(earlier) if opened.startswith(earlier) else ""
    begun = bool(thought_end and _THOUGHT.match(left_out.lstrip()))
    spaced = earlier.startswith(opened) and not earlier[len(opened) :].strip()
    if not (begun or spaced or _NO_THOUGHT.fullmatch(left_out)):
        raise Unstable("it writes answers otherwise than it opens them")
    return replace(form, thought_end=thought_end)


def _open_thought(opening: str) -> str:
    """The mark that closes the thought which an opening leaves open; empty where it leaves none."""
    marks = _THOUGHT.findall(opening)
    if not marks or thought.END.fullmatch(marks[-1]):
        return ""
    return thought.end_of(marks[-1])


def _configured_stops(path: Path, tokenizer: Tokenizer) -> set[int]:
    """The ids that end an answer by the tokenizer, and by the generation's configuration."""
    stops: set[int] = set()
    eos = special_tokens(path).get("eos_token")
    if eos is not None and (number := tokenizer.token_to_id(eos)) is not None:
        stops.add(int(number))
    file = path / "generation_config.json"
    if not file.is_file():
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
