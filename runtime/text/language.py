"""Language tags (BCP 47): `en-US`, `EN`, `pt_BR`, `zh-cn`. Read in one way, whoever gives them and
whichever model gets them.

A model knows its languages by codes of its own: XTTS `zh-cn`, Whisper `zh` and `jw`, espeak-ng
`cmn`. `find` gives the one that a tag means.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from voxturn.runtime.errors import ExecutorUnavailable, UnsupportedLanguage

AUTO = "auto"
"""In place of a tag: the model tells which language is spoken."""

_OLDER = {"nb": "no", "jv": "jw", "fil": "tl", "he": "iw"}
"""Codes that models have for what has another one today, or of which the language is the usual
form."""


def is_auto(tag: str) -> bool:
    """Whether the language is left to the model."""
    return tag.strip().lower() == AUTO


@lru_cache(maxsize=1024)
def codes_of(tag: str) -> tuple[str, ...]:
    """The codes that a model may have for a tag's language, in lower case, the most exact first.

    Of `pt_BR`: pt-br, pt. Of `zh-Hant-TW`: zh-hant-tw, zh-tw, zh-hant, zh, zh-cn. Raises
    UnsupportedLanguage for what is no language tag.
    """
    try:
        from langcodes import Language
        from langcodes.tag_parser import LanguageTagError
    except ImportError as exc:
        raise ExecutorUnavailable("langcodes is not installed; pip install langcodes") from exc
    try:
        language = Language.get(tag.strip())
    except LanguageTagError:
        language = None
    base = (language.language if language is not None else "") or ""
    if language is None or not base.replace("-", "").isalpha():
        raise UnsupportedLanguage(
            f"{tag!r} is no language tag; write it as en, pt-BR or zh-CN (BCP 47)"
        )
    usual = language.prefer_macrolanguage().language or base  # zh of cmn
    likely = language.maximize().territory if not language.territory else None
    home = Language.get(usual).maximize().territory
    parts = [
        (base, language.script, language.territory),
        (base, language.territory),
        (base, language.script),
        (base,),
        (usual, language.territory),
        (usual,),
        (_OLDER.get(base, base),),
        (base, likely),
        (usual, home),
    ]
    exact = language.to_tag()
    codes = [exact, *("-".join(part for part in each if part) for each in parts)]
    return tuple(dict.fromkeys(code.lower() for code in codes))


def find(tag: str, knows: Callable[[str], bool]) -> str:
    """The code of a model for a tag's language: the first of `codes_of` that it knows; empty if it
    knows none."""
    return next((code for code in codes_of(tag) if knows(code)), "")


def base_code(tag: str) -> str:
    """The language without script and region: `pt` of `pt-BR`, `zh` of `cmn` and `zh-TW`.

    A model's code that is no tag stands for itself.
    """
    lower = tag.strip().lower().replace("_", "-").split("-")[0]
    try:
        codes = codes_of(tag)
    except UnsupportedLanguage:
        return lower
    bare = [code for code in codes if "-" not in code and code not in _OLDER.values()]
    return bare[-1] if bare else lower


@dataclass(frozen=True)
class Languages:
    """What a conversation may be held in: `tags`, as they were given; none: whatever its models
    know."""

    tags: tuple[str, ...] = ()

    @classmethod
    def of(cls, language: str | Sequence[str]) -> Languages:
        """Of a tag, of `auto`, of tags with commas between them, or of a list of tags.

        Raises `UnsupportedLanguage` for what is no tag, and for a language that is there twice.
        """
        given = language.split(",") if isinstance(language, str) else language
        tags = tuple(tag.strip() for tag in given)
        if len(tags) == 1 and is_auto(tags[0]):
            return cls()
        if not tags:
            raise UnsupportedLanguage("no language is listed; give one or several, or auto")
        if any(map(is_auto, tags)):
            raise UnsupportedLanguage("auto stands alone; leave it out, or the other languages")
        codes = [(codes_of(tag), base_code(tag))[1] for tag in tags]
        if twice := [tag for tag, code in zip(tags, codes, strict=True) if codes.count(code) > 1]:
            raise UnsupportedLanguage(f"{', '.join(twice)}: are one language; give it once")
        return cls(tags)

    def __str__(self) -> str:
        return ",".join(self.tags) or AUTO

    @property
    def several(self) -> bool:
        """Whether one utterance may be in another language than the next."""
        return len(self.tags) != 1

    @property
    def one(self) -> str:
        """The language, where there is one alone; else `auto`."""
        return AUTO if self.several else self.tags[0]

    @property
    def first(self) -> str:
        """The language before anybody spoke; `auto` where none is listed."""
        return self.tags[0] if self.tags else AUTO

    def tag_of(self, language: str) -> str:
        """The tag for a language that a model has named; empty where it is none of these."""
        code = base_code(language) if language else ""
        return next((tag for tag in self.tags if base_code(tag) == code), "")
