"""Split: reply tokens in, sentences to be spoken out, each seen by the content filter."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator

from voxturn.runtime.handoff import close_iterator
from voxturn.runtime.messages import ReplyToken, Sentence
from voxturn.runtime.text.filter import ContentFilter
from voxturn.runtime.text.split import ClauseSplitter

_MARKUP = re.compile(r"[*_`#~]+")


class Split:
    """The stage. Sentences without a letter or a digit are dropped."""

    def __init__(self, content_filter: ContentFilter, max_chars: int) -> None:
        self._filter, self._max_chars = content_filter, max_chars

    async def __call__(self, tokens: AsyncIterator[ReplyToken]) -> AsyncGenerator[Sentence, None]:
        splitter = ClauseSplitter(max_chars=self._max_chars)
        index = 0
        try:
            async for token in tokens:
                for clause in splitter.push(token.text):
                    if sentence := self._sentence(clause, index):
                        yield sentence
                        index += 1
            for clause in splitter.flush():
                if sentence := self._sentence(clause, index):
                    yield sentence
                    index += 1
        finally:
            await close_iterator(tokens)

    def _sentence(self, clause: str, index: int) -> Sentence | None:
        passed = self._filter.check(_MARKUP.sub("", clause), "out")
        text = passed.text.strip()
        return Sentence(text, index, passed.actions) if any(c.isalnum() for c in text) or passed.actions else None
