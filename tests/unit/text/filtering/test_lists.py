"""The lists: every language has one, and none takes everyday words."""

from __future__ import annotations

import builtins
from typing import Any

import pytest
from voxturn.runtime.errors import ExecutorUnavailable
from voxturn.runtime.text.filter import WordListFilter
from voxturn.runtime.text.filtering import lists
from voxturn.runtime.text.filtering.lists import LANGUAGES, spelling_of, words_of
from voxturn.runtime.text.normalize import LANGUAGES as SPOKEN


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_list_is_read_and_has_no_harmless_word(language: str) -> None:
    words = words_of(language)
    assert len(words) > 10
    harmless = {word.casefold() for word in spelling_of(language).harmless}
    assert not harmless & {word.casefold() for word in words}


def test_the_languages_that_are_spoken_have_lists() -> None:
    assert {language.split("-")[0] for language in SPOKEN} <= set(LANGUAGES)


def test_every_table_is_of_a_language() -> None:
    assert set(lists._tables()) <= set(LANGUAGES)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refusing(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith("glin_profanity"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refusing)
    words_of.cache_clear()
    with pytest.raises(ExecutorUnavailable, match="pip install 'voxturn"):
        WordListFilter("en")
