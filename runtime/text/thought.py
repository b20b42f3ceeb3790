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
TAG_NAME = re.compile(_TAG_NAME, re.IGNORECASE)


def end_of(begin: str) -> str:
    """The mark that ends what `begin` begins."""
    if begin.startswith("<|"):
        return _BEGINS.sub(lambda word: "END" if word[0].isupper() else "end", begin, count=1)
    return f"{begin[0]}/{begin[1:]}"
