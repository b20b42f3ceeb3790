"""Answers and codes from a committed script, for turns on synthetic weights: everything is
computed, then ids are forced.

A text gets as many codes as trained weights give it on average: 86 for 12 words. Which codes they
are is drawn from a seed. The trace's stages say `scripted`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.decoder import as_decoder
from voxturn.runtime.families.xtts.family import as_xtts
from voxturn.runtime.messages import Message

SCRIPT = Path(__file__).with_name("turn_script.txt")
_CODES_A_WORD = 86 / 12


def read(path: Path = SCRIPT) -> dict[str, str]:
    """Answers by a word of their question; `*` answers everything else."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("\t") for line in lines if line and not line.startswith("#"))


def answer_to(question: str, answers: dict[str, str]) -> str:
    """The answer whose word the question has."""
    words = re.findall(r"\w+", question.lower())
    return next((answers[word] for word in words if word in answers), answers["*"])


def codes_of(stop: int) -> Callable[[str], tuple[int, ...]]:
    """Codes below `stop`, the first of the ids that are no codes, for a text."""

    def codes(text: str) -> tuple[int, ...]:
        count = max(6, round(_CODES_A_WORD * len(text.split())))
        random = np.random.default_rng(len(text))
        return tuple(int(c) for c in random.integers(0, stop, count))

    return codes


def follow(assistant: Assistant) -> None:
    """Let every synthetic model of an assistant follow the script.

    Raises `UsageError` for one that cannot.
    """
    info, answers = assistant.setup.info, read()
    if info["reply"].synthetic:
        replier = as_decoder(assistant.stages.replier)
        if assistant.engine is None:
            raise UsageError(
                f"{info['reply'].model}: {info['reply'].executor} cannot follow a script; "
                "take an executor with a token engine in this process"
            )

        def answer(messages: Sequence[Message]) -> list[int]:
            ids = replier.tokenizer.encode(answer_to(messages[-1].text, answers))
            return [*ids, min(replier.chat.stop_ids)]

        replier.script = answer
        info["reply"] = replace(info["reply"], scripted=True)
    if info["speak"].synthetic:
        speech = as_xtts(assistant.stages.voice).speech
        speech.script = codes_of(speech.ids.start_audio)
        info["speak"] = replace(info["speak"], scripted=True)
