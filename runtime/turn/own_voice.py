"""Whether what was heard is what is being said: a loudspeaker in a microphone, written down by a
recogniser. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import SequenceMatcher

from voxturn.runtime.text.words import bare_words

_MOST = 0.62
"""Where so much of what was heard, in letters, is what is being said, all of it is: the rest was
misheard."""

_LONG, _TOGETHER, _TOGETHER_GOING_ON = 8, 3, 2
"""Of so many letters or more, those count that stand so many together in what is being said; less
is compared in words."""


def others_words(heard: str, spoken: str, goes_on: bool = False) -> tuple[str, ...]:
    """The words in `heard` that are somebody else's: not in `spoken`, which is said at that time.
    Order matters.

    Empty where most of it is in `spoken`. `goes_on`: the own voice was heard until now, so that a
    rest of it is likely, cut anywhere and misheard.
    """
    words, said = bare_words(heard), bare_words(spoken)
    letters = "".join(words)
    own = _common(words, said)
    same = sum(len(words[i]) for i in own)
    if goes_on or len(letters) >= _LONG:
        together = _TOGETHER_GOING_ON if goes_on else _TOGETHER
        same = max(same, _alike(letters, "".join(said), together))
    if same >= _MOST * len(letters):
        return ()
    return tuple(word for i, word in enumerate(words) if i not in own)


def _alike(letters: str, others: str, together: int) -> int:
    """How many of the letters stand in `others` in the same order, some together at least: words
    may be cut elsewhere."""
    blocks = SequenceMatcher(None, letters, others, autojunk=False).get_matching_blocks()
    return sum(block.size for block in blocks if block.size >= together)


def _common(first: Sequence[str], second: Sequence[str]) -> set[int]:
    """Indices in `first` of words that stand in `second` in the same order."""
    blocks = SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks()
    return {block.a + i for block in blocks for i in range(block.size)}
