"""A written text as the clauses that are said of it: what every way to a voice cuts texts with.

Pure.
"""

from __future__ import annotations

from voxturn.runtime.text.split import ClauseSplitter
from voxturn.runtime.text.spoken import Spoken, SpokenText, pieces_of


class SpokenClauses:
    """Feed a written text as it comes; get the clauses that are said of it as soon as they are
    certain.

    `Spoken` takes its markup out, `ClauseSplitter` cuts. `in_thought`: the text begins inside a
    thought, which is not said.
    """

    def __init__(
        self, max_chars: int = 220, language: str = "", *, in_thought: bool = False
    ) -> None:
        self._spoken = Spoken(in_thought=in_thought)
        self._splitter = ClauseSplitter(max_chars=max_chars, language=language)

    @property
    def pending(self) -> str:
        """What has come of the next clause."""
        return self._splitter.pending

    def push(self, text: str) -> list[SpokenText]:
        """The clauses that `text` completes."""
        return [
            SpokenText(clause)
            for piece in pieces_of(text)
            for clause in self._splitter.push(self._spoken.push(piece))
        ]

    def flush(self) -> list[SpokenText]:
        """The text ended: everything that is left."""
        rest = self._splitter.push(self._spoken.flush())
        return [SpokenText(clause) for clause in (*rest, *self._splitter.flush())]
