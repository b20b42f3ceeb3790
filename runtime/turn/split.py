"""Split: reply tokens in, sentences to be spoken out, each seen by the content filter."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import aclosing

from voxturn.runtime.flow.handoff import close_iterator
from voxturn.runtime.messages import ReplyToken, Sentence
from voxturn.runtime.text.clauses import SpokenClauses
from voxturn.runtime.text.filter import ContentFilter, FilteredText
from voxturn.runtime.text.judge import LanguageJudge
from voxturn.runtime.text.spoken import SpokenText, pieces_of


class Split:
    """The stage. Markup is not spoken; sentences without a letter or a digit are dropped. A refusal
    ends the answer.

    `judge`: in which language each sentence is, where there are several; else all are in
    `language`. `in_thought`: replies begin inside a thought, which is not spoken. `styles` are the
    voice's: their tags are not spoken either, a sentence has the style of the last one before it.
    """

    def __init__(
        self,
        content_filter: ContentFilter,
        max_chars: int,
        language: str = "",
        *,
        judge: LanguageJudge | None = None,
        in_thought: bool = False,
        styles: Collection[str] = (),
    ) -> None:
        self._filter = content_filter
        self._max_chars = max_chars
        self._language = language
        self._judge = judge
        self._in_thought = in_thought
        self._styles = styles

    def suiting(self, language: str, judge: LanguageJudge | None, styles: Collection[str]) -> Split:
        """The same for another voice."""
        return Split(
            self._filter,
            self._max_chars,
            language,
            judge=judge,
            in_thought=self._in_thought,
            styles=styles,
        )

    def language_of(self, text: str, before: str) -> str:
        """The language of a text that follows what was said in `before`."""
        return before if self._judge is None else self._judge.language_of(text, before)

    async def __call__(
        self, tokens: AsyncIterator[ReplyToken], dialogue: str = "", index: int = 0
    ) -> AsyncGenerator[Sentence, None]:
        """The sentences of a reply, the first of which is the `index`-th. `dialogue`: the language
        of what it answers."""
        clauses = SpokenClauses(
            self._max_chars,
            (dialogue if self._judge is not None else "") or self._language,
            judge=self._judge,
            in_thought=self._in_thought,
            styles=self._styles,
        )
        try:
            async for token in tokens:
                for clause in clauses.push(token.text):
                    if sentence := self._sentence(clause, index):
                        yield sentence
                        index += 1
                        if sentence.refusal:
                            return
            for clause in clauses.flush():
                if sentence := self._sentence(clause, index):
                    yield sentence
                    index += 1
                    if sentence.refusal:
                        return
        finally:
            await close_iterator(tokens)

    def written(self) -> FilteredText:
        """What a reply passes through that is read, not spoken: the same filter, markup and all."""
        return FilteredText(self._filter, self._language)

    def filler(self, text: str, before: str, index: int) -> Sentence:
        """What the profile has said beside an answer in the language `before`, as it is."""
        language = self.language_of(text, before) if self._judge is not None else ""
        return Sentence(SpokenText(text), index, language=language, filler=True)

    def passed(self, text: str) -> str:
        """What the filter leaves of a piece of an answer that stays text."""
        return self._filter.check(text, "out", self._language).text

    async def whole(self, text: str) -> AsyncGenerator[Sentence, None]:
        """The sentences of a text that is there already."""

        async def pieces() -> AsyncIterator[ReplyToken]:
            for piece in pieces_of(text):
                yield ReplyToken(piece)
                await asyncio.sleep(
                    0
                )  # however little of a long text is said, others come in between

        async with aclosing(self(pieces())) as sentences:
            async for sentence in sentences:
                yield sentence
                await asyncio.sleep(
                    0
                )  # one sentence at a time: the filter takes milliseconds for each

    def _sentence(self, clause: SpokenText, index: int) -> Sentence | None:
        language = clause.language or self._language
        passed = self._filter.check(clause, "out", language)
        if passed.refusal:
            return self.refused(passed.refusal, language, index, passed.actions)
        text = SpokenText(passed.text.strip())
        return (
            Sentence(text, index, passed.actions, clause.style, clause.language)
            if any(c.isalnum() for c in text) or passed.actions
            else None
        )

    def refused(
        self, refusal: str, before: str, index: int = 0, actions: tuple[str, ...] = ()
    ) -> Sentence:
        """What is said where the filter refuses a text in the language `before`."""
        language = self.language_of(refusal, before) if self._judge is not None else ""
        return Sentence(SpokenText(refusal), index, actions, language=language, refusal=True)
