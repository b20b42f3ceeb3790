"""A chat template as a format in which every dialogue begins with the earlier ones.

A template is a program over a whole dialogue; the runtime keeps the model's state of a dialogue and
appends to it. So dialogues are written with the template, and what stands between their messages is
kept, if it is the same wherever a message of one role follows a message of another. Where it is not
the template is refused.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from voxturn.export.decoder.template import Refused, Renderer, Template, today
from voxturn.runtime.errors import ExportFailed
from voxturn.runtime.messages import Message
from voxturn.runtime.text import thought
from voxturn.runtime.text.chat_format import DATE, START, ChatFormat, WrittenDialogue

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
    form = ChatFormat(by_role(between), opening, _strips(source, starts))
    for start in starts:
        for turns in _TURNS:
            messages = _sampled((*start, *turns))
            check_written(WrittenDialogue(form, messages), rendered(messages, True))
    thought_end = check_answers(form.opening["user"], form.between["user"]["assistant"])
    return replace(form, thought_end=thought_end)


def check_written(dialogue: WrittenDialogue, rendered: str) -> None:
    """Raise `Unstable` where a dialogue is not what the template writes."""
    if DATE.sub(lambda found: today(found[1]), str(dialogue)) != rendered:
        raise Unstable("it writes some dialogues in another way than others")


def by_role(pairs: Pairs) -> dict[str, dict[str, str]]:
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
            roles = (*start, *turns)
            note(between, opening, roles, _gaps(render, _probes(roles)))
    if not between:
        raise reasons[0]
    for roles in _FURTHER:
        more, opened = dict(between), dict(opening)
        with contextlib.suppress(Refused, Unstable):
            note(more, opened, roles, _gaps(render, _probes(roles)))
            between, opening = more, opened
    return between, opening


def _dropped(render: Renderer) -> bool:
    """Whether a system prompt is left out without a word."""
    system, question = _probes(("system", "user"))
    return system.text not in render([system, question], True)


def note(between: Pairs, opening: dict[str, str], roles: Sequence[str], gaps: list[str]) -> None:
    """Add what a dialogue of `roles` has around its messages' texts.

    Raises `Unstable` where it was otherwise before.
    """
    *before, last = gaps
    for (earlier, role), text in zip(pairwise((START, *roles)), before, strict=True):
        if between.setdefault((earlier, role), text) != text:
            where = f"after the {earlier}'s" if earlier else "at the beginning"
            raise Unstable(f"it writes the {role}'s messages {where} in several ways")
    if opening.setdefault(roles[-1], last) != last:
        raise Unstable("it opens answers in several ways")


def _probes(roles: Sequence[str], padded: str = "") -> list[Message]:
    """Messages whose texts are found again; those of the role `padded` with white space around
    them."""
    texts = [f"Vx{number}q." for number in range(len(roles))]
    return [
        Message(role, f"{_PAD}{text}{_PAD}" if role == padded else text)
        for role, text in zip(roles, texts, strict=True)
    ]


def _gaps(render: Renderer, messages: Sequence[Message]) -> list[str]:
    """What a dialogue has before each message's text, white space aside, and after the last one."""
    texts = [message.text for message in messages]
    return gaps_around(render(messages, True), texts, [message.role for message in messages])


def gaps_around(text: str, contents: Sequence[str], roles: Sequence[str]) -> list[str]:
    """What a text has before each of its messages' contents, white space aside, and after the last
    one. Raises `Unstable` where they are not there in order, once each."""
    at, gaps = 0, list[str]()
    for role, content in zip(roles, map(str.strip, contents), strict=True):
        begin = text.find(content, at)
        if begin < 0 or text.count(content) > 1:
            raise Unstable(
                f"it moves, repeats or changes the {role}'s messages in longer dialogues"
            )
        gaps.append(text[at:begin])
        at = begin + len(content)
    return [*gaps, text[at:]]


def _strips(render: Renderer, starts: Sequence[tuple[str, ...]]) -> dict[str, dict[str, str]]:
    """Which messages' texts the template takes white space off, by the roles before and of them,
    and on which sides."""
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


def check_answers(opened: str, earlier: str) -> str:
    """The mark of a thought that `opened` leaves open, if an earlier answer may follow that instead
    of what the template writes before it.

    A template may leave out of earlier answers the thought that it opened them with, empty or
    begun, and may write white space before them that the model writes by itself. Raises `Unstable`
    for other differences.
    """
    thought_end = _open_thought(opened)
    left_out = opened.removeprefix(earlier) if opened.startswith(earlier) else ""
    begun = bool(thought_end and _THOUGHT.match(left_out.lstrip()))
    spaced = earlier.startswith(opened) and not earlier[len(opened) :].strip()
    if not (begun or spaced or _NO_THOUGHT.fullmatch(left_out)):
        raise Unstable("it writes answers otherwise than it opens them")
    return thought_end


def _open_thought(opening: str) -> str:
    """The mark that closes the thought which an opening leaves open; empty where it leaves none."""
    marks = _THOUGHT.findall(opening)
    if not marks or thought.END.fullmatch(marks[-1]):
        return ""
    return thought.end_of(marks[-1])
