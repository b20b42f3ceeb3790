"""A written text as the clauses that are said of it: what every way to a voice cuts texts with.

Pure.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from voxturn.runtime.text.judge import LanguageJudge
from voxturn.runtime.text.split import Clause, ClauseSplitter
from voxturn.runtime.text.spoken import Spoken, SpokenText, pieces_of


class SpokenClauses:
    """Feed a written text as it comes; get the clauses that are said of it as soon as they are
    certain.

    `Spoken` takes its markup out, `ClauseSplitter` cuts, by the `language` or its `judge`.
    `in_thought`: the text begins inside a thought, which is not said. `styles` are the voice's: a
    clause ends where another one begins.
    """

    def __init__(
        self,
        max_chars: int = 220,
        language: str = "",
        *,
        judge: LanguageJudge | None = None,
        in_thought: bool = False,
        styles: Collection[str] = (),
    ) -> None:
        self._spoken = Spoken(in_thought=in_thought, styles=styles)
        self._splitter = ClauseSplitter(max_chars=max_chars, language=language, judge=judge)
        self._style = ""

    @property
    def pending(self) -> SpokenText:
        """What has come of the next clause."""
        return SpokenText(self._splitter.pending, style=self._style)

    def push(self, text: str) -> list[SpokenText]:
        """The clauses that `text` completes."""
        return [
            clause
            for piece in pieces_of(text)
            for clause in self._completed(self._spoken.pieces(piece))
        ]

    def flush(self) -> list[SpokenText]:
        """The text ended: everything that is left."""
        return [*self._completed(self._spoken.pieces("", final=True)), *self._rest()]

    def _completed(self, pieces: Iterable[SpokenText]) -> list[SpokenText]:
        clauses = []
        for piece in pieces:
            if piece.style != self._style:
                clauses += self._rest()
                self._style = piece.style
            clauses += self._said(self._splitter.push(piece))
        return clauses

    def _rest(self) -> list[SpokenText]:
        """What has come of the last clause of a style."""
        return self._said(self._splitter.flush())

    def _said(self, clauses: Iterable[Clause]) -> list[SpokenText]:
        return [SpokenText(clause, clause.language, style=self._style) for clause in clauses]
