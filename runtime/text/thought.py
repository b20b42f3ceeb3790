"""The marks around a thought, which a model writes before its answer and nobody says. Pure.

`<think>…</think>` and its like; `<seed:think>`; `[THINK]…[/THINK]`; `◁think▷…◁/think▷`; `<|begin_of_thought|>…<|end_of_thought|>`.
"""

from __future__ import annotations

import re

NAMES = "(?:think|thinking|thoughts?|reasoning|reflection|scratchpad)"
"""What a mark calls a thought."""

_TAG_NAME = rf"(?:\w{{1,20}}:)?{NAMES}"
_BEGINS = re.compile("begin|start", re.IGNORECASE)

BRACKETED = rf"(?:\[/?{NAMES}\]|◁/?{NAMES}▷)"
"""A mark that is no tag."""

BEGIN = re.compile(
    rf"<{_TAG_NAME}\s{{0,8}}>|\[{NAMES}\]|◁{NAMES}▷|<\|(?:begin|start)_(?:of_)?{NAMES}\|>",
    re.IGNORECASE,
)
END = re.compile(
    rf"</{_TAG_NAME}\s{{0,8}}>|\[/{NAMES}\]|◁/{NAMES}▷|<\|end_(?:of_)?{NAMES}\|>",
    re.IGNORECASE,
)
_BEGUN = re.compile(r"[<\[◁][^<>\[\]◁▷]{0,40}$")
"""What may become a mark at a text's end."""
TAG_NAME = re.compile(_TAG_NAME, re.IGNORECASE)


def end_of(begin: str) -> str:
    """The mark that ends what `begin` begins."""
    if begin.startswith("<|"):
        return _BEGINS.sub(lambda word: "END" if word[0].isupper() else "end", begin, count=1)
    return f"{begin[0]}/{begin[1:]}"


class WithoutThoughts:
    """Feed a text as it comes; get it without its thoughts. What may begin a mark is held back.

    `in_thought`: the text begins in one.
    """

    def __init__(self, in_thought: bool = False) -> None:
        self._in_thought = in_thought
        self._held = ""

    def push(self, text: str) -> str:
        """What is certain now."""
        self._held += text
        out = ""
        while mark := (END if self._in_thought else BEGIN).search(self._held):
            out += "" if self._in_thought else self._held[: mark.start()]
            self._held = self._held[mark.end() :]
            self._in_thought = not self._in_thought
        begun = _BEGUN.search(self._held)
        at = begun.start() if begun is not None else len(self._held)
        out += "" if self._in_thought else self._held[:at]
        self._held = self._held[at:]
        return out

    def flush(self) -> str:
        """The text ended: what was held back is text after all."""
        out, self._held = "" if self._in_thought else self._held, ""
        return out
