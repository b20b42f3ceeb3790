"""The one pipe from sentences to audio: every way in speaks through it, and every bench measures
it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace

import numpy as np
from voxturn.runtime.errors import EmptyText, InferenceFailed
from voxturn.runtime.families.base import WORDS, Voice, styles_of
from voxturn.runtime.flow.handoff import Ahead, close_iterator
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.messages import PcmChunk, Sentence, Word
from voxturn.runtime.text.clauses import SpokenClauses
from voxturn.runtime.text.normalize import in_words
from voxturn.runtime.text.scripts import check_script
from voxturn.runtime.text.spoken import SpokenText, spoken_text, styled_parts

_SENTENCES_AHEAD, CHUNKS_AHEAD = 4, 4
_PATIENCE_S = 0.05
_LOG = logging.getLogger(__name__)


def spoken(voice: Voice, sentences: AsyncIterator[Sentence]) -> Ahead[PcmChunk]:
    """Sentences as audio, each stage ahead of its consumer. Close what this returns; it closes
    `sentences`.

    A voice gets its text as it wants to read it, without markup, whoever brings it; a sentence of
    which nothing is said is left out, and a style that the voice has not is its own, which is said
    once. Chunks name the sentences as they were given. Raises `UnsupportedLanguage` for a text in a
    script that its language does not have.
    """
    return Ahead(_read(voice, Ahead(sentences, _SENTENCES_AHEAD)), CHUNKS_AHEAD)


async def said(
    voice: Voice, sentences: AsyncIterator[Sentence], what: str = "the text"
) -> AsyncGenerator[PcmChunk, None]:
    """As `spoken`, of a text that is all there. Raises `EmptyText` where the voice finds nothing in
    it to speak; `what` names it."""
    spoke = False
    async with aclosing(spoken(voice, sentences)) as chunks:
        async for chunk in chunks:
            spoke = True
            yield chunk
    if not spoke:
        raise EmptyText(f"there is nothing in {what} that can be spoken")


async def _read(voice: Voice, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
    written: dict[int, Sentence] = {}
    styles = _Styles(voice)

    async def readable() -> AsyncGenerator[Sentence, None]:
        try:
            async for sentence in sentences:
                text = spoken_text(sentence.text, styles.known)
                if not text.strip():
                    continue
                language = sentence.language or voice.language
                check_script(text, language)
                written[sentence.index] = sentence
                style = styles.had(sentence.style or text.style)
                yield replace(sentence, text=as_read(voice, text, language), style=style)
        finally:
            await close_iterator(sentences)

    samples = 0
    async with aclosing(voice(readable())) as chunks:
        async for chunk in chunks:
            if chunk.start != samples or chunk.samples.dtype != np.float32:
                raise InferenceFailed(
                    f"the voice gave {chunk.samples.dtype} from sample {chunk.start} on, "
                    f"where float32 from {samples} on was due"
                )
            samples += chunk.samples.size
            index = chunk.sentence.index
            for earlier in [each for each in written if each < index]:
                del written[earlier]  # a text may have no end
            sentence = written.get(index, chunk.sentence)
            yield replace(chunk, sentence=sentence, words=_as_written(chunk.words, sentence.text))


def _as_written(words: Sequence[Word], text: str) -> tuple[Word, ...]:
    """The words that were said as they stand in a text; none where they are not as many."""
    given = text.split()
    if len(given) != len(words):
        return ()
    return tuple(replace(word, text=each) for word, each in zip(words, given, strict=True))


class _Styles:
    """The styles of a voice, and whether it was said that it lacks one."""

    def __init__(self, voice: Voice) -> None:
        self.known = styles_of(voice)
        self._said = False

    def had(self, style: str) -> str:
        """The style, or the voice's own in place of one that it has not."""
        if not style or style in self.known:
            return style
        if not self._said:
            self._said = True
            known = ", ".join(self.known) or "none"
            _LOG.warning("a style was asked for that the voice has not; it has %s", known)
        return ""


def as_read(voice: Voice, text: str, language: str) -> str:
    """A text as the voice wants to read it."""
    return in_words(text, language) if voice.texts == WORDS else text


async def clauses(
    voice: Voice, text: str | Iterable[str] | AsyncIterator[str]
) -> AsyncGenerator[Sentence, None]:
    """What a voice is to say: a whole text as one sentence for each change of style, or the clauses
    of a text that comes in pieces; no markup.

    What has come of a clause is made use of while the rest is still being written.
    """
    if isinstance(text, str):
        for index, part in enumerate(styled_parts(text, styles_of(voice))):
            yield Sentence(SpokenText(part.lstrip(), style=part.style), index, style=part.style)
        return
    splitter = SpokenClauses(language=voice.language, styles=styles_of(voice))
    ahead, index = voice.preparation(), 0
    pieces = text if isinstance(text, AsyncIterator) else _pieces(iter(text))
    try:
        async for piece in pieces:
            for clause in splitter.push(piece):
                yield Sentence(clause, index, style=clause.style)
                index += 1
            ahead.update(splitter.pending, splitter.pending.style)
        for clause in splitter.flush():
            yield Sentence(clause, index, style=clause.style)
            index += 1
    finally:
        await ahead.aclose()
        await close_iterator(pieces)


async def _pieces(pieces: Iterator[str]) -> AsyncGenerator[str, None]:
    lane = Lane("text")
    stream = lane.stream(lambda: pieces)
    try:
        async for piece in stream:
            yield piece
    finally:
        await stream.aclose()
        lane.close(_PATIENCE_S)  # an iterator that waits for its next piece is left behind
