"""`voxturn bench filter`: how long a clause waits for the content filter, in every language that is
spoken, and what the filter sees and leaves alone of `filter_cases.toml`.

Clauses are those of the profiles' speech: ordinary ones of about 60 and of about 220 characters,
made of the harmless texts of the cases; a tenth of them has a listed word in disguise. The longest
text that a request may have is measured as well, at its worst.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.bench.harness import Result
from voxturn.runtime.errors import InvalidRegistry
from voxturn.runtime.text.filter import WordListFilter
from voxturn.runtime.text.filtering.lists import spelling_of, words_of
from voxturn.runtime.text.filtering.matching import Matcher
from voxturn.runtime.tomlfile import read_toml

CASES = Path(__file__).with_name("filter_cases.toml")
_LENGTHS = {"clause": 60, "longest_clause": 220}
_CLAUSES, _LONGEST_TEXT = 200, 10_000
_REPEATS = 3
"""Of each text the least counts: what others do to the caches is not the filter's."""
_WORST = ("a ", "a.", "!a", "f*", "1a", "e\u0301", "ﷺ", "笨 ", "笨", "a-b ")


def read_cases() -> dict[str, list[dict[str, Any]]]:
    """`evasion`: pairs of a text and what is to be left of it, by language; `harmless`: texts that
    are to pass."""
    return read_toml(CASES, InvalidRegistry)


def clauses(length: int) -> Iterator[tuple[str, str]]:
    """Clauses of about so many characters and their languages, by turns of the languages; every
    tenth ends in a listed word in disguise."""
    cases = read_cases()
    disguised = {t["language"]: itertools.cycle(p[0] for p in t["pairs"]) for t in cases["evasion"]}
    texts = {t["language"]: itertools.cycle(t["texts"]) for t in cases["harmless"]}
    for number, language in enumerate(itertools.cycle(texts)):
        pieces = [next(texts[language])]
        while sum(map(len, pieces)) < length:
            pieces.append(next(texts[language]))
        if number % 10 == 9:
            pieces[-1] = next(disguised[language])
        yield " ".join(pieces)[-length:], language


def measured(result: Result) -> None:
    """All times, in milliseconds of the thread on its core: the filter waits for nothing."""
    content_filter = WordListFilter("en")

    def took(text: str, language: str) -> float:
        times = []
        for _ in range(_REPEATS):
            begin = time.thread_time()
            content_filter.check(text, "out", language)
            times.append(1000 * (time.thread_time() - begin))
        return min(times)

    for name, length in _LENGTHS.items():
        some = list(itertools.islice(clauses(length), _CLAUSES))
        for text, language in some:
            took(text, language)  # the lists of all languages are made
        result.samples(f"filter.{name}_ms", "ms", [took(*each) for each in some])
    worst = [(piece * _LONGEST_TEXT)[:_LONGEST_TEXT] for piece in _WORST]
    result.samples("filter.longest_text_ms", "ms", [took(text, "zh") for text in worst])
    languages = [table["language"] for table in read_cases()["harmless"]]
    made = []
    for language in languages:
        words = words_of(language)
        begin = time.thread_time()
        Matcher(spelling_of(language), [(word, word) for word in words])
        made.append(1000 * (time.thread_time() - begin))
    result.samples("filter.list_made_ms", "ms", made)


def counted(result: Result) -> None:
    """How many disguised words are seen, each cut exactly, and how many harmless texts pass."""
    content_filter = WordListFilter("en")
    cases = read_cases()
    evasions = [(t["language"], *pair) for t in cases["evasion"] for pair in t["pairs"]]
    harmless = [(t["language"], text) for t in cases["harmless"] for text in t["texts"]]
    seen = [content_filter.check(text, "in", la).text == left for la, text, left in evasions]
    passed = [content_filter.check(text, "in", la).text == text for la, text in harmless]
    for name, of in (("evasions", seen), ("harmless", passed)):
        result.value(f"filter.{name}", "texts", len(of))
    result.value("filter.evasions_missed", "texts", len(seen) - int(np.sum(seen)))
    result.value("filter.harmless_hit", "texts", len(passed) - int(np.sum(passed)))
    listed = {t["language"]: len(words_of(t["language"])) for t in cases["harmless"]}
    result.notes["listed_words"] = listed
    result.notes["lists"] = f"glin-profanity {metadata.version('glin-profanity')}"


def main(path: Path | None) -> Result:
    """Run the benchmark."""
    result = Result("filter")
    result.notes["clauses"] = f"{_CLAUSES} of {len(read_cases()['harmless'])} languages, by turns"
    result.notes["times"] = f"of the thread on its core, the least of {_REPEATS}"
    result.notes["longest_text"] = f"{_LONGEST_TEXT} characters of each of {list(_WORST)}"
    measured(result)
    counted(result)
    if path:
        result.write(path)
    return result
