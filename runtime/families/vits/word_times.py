"""When each word of a text is said, of how long a VITS says each of its symbols. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from voxturn.runtime.messages import Word


def word_times(
    text: str,
    ids: Sequence[int],
    durations: Sequence[float],
    symbols: Mapping[str, int],
    frame_s: float,
) -> tuple[Word, ...]:
    """The words of `text` as it was read, in seconds since its first sample.

    `ids` are its symbols', `durations` the graph's output, in frames of `frame_s` seconds. Words lie
    between spaces; marks and blanks count with the word that they stand at. Empty where the symbols
    fall into another number of words than the text: phonemizers join some.
    """
    names = {i: symbol for symbol, i in symbols.items()}
    spans: list[tuple[float, float]] = []
    begin_s = at_s = 0.0
    sounded = False
    for i, frames in zip(ids, durations, strict=True):
        symbol = names.get(i, "")
        if symbol.isspace():
            spans += [(begin_s, at_s)] if sounded else []
            sounded = False
            begin_s = at_s + frames * frame_s
        sounded = sounded or (len(symbol) == 1 and symbol.isalnum())
        at_s += frames * frame_s
    spans += [(begin_s, at_s)] if sounded else []
    words = [word for word in text.split() if any(char.isalnum() for char in word)]
    if len(words) != len(spans):
        return ()
    return tuple(Word(word, *span) for word, span in zip(words, spans, strict=True))
