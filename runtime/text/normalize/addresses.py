"""E-mail addresses and hosts as they are said: a dot b at example dot com."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from voxturn.runtime.text.normalize.forms import AddressWords, forms_of
from voxturn.runtime.text.normalize.lexicon import Lexicon
from voxturn.runtime.text.normalize.spelling import Spelling, substitute

_LABEL = r"[^\W_](?:[\w-]{0,61}[^\W_])?"
_DOMAIN = rf"{_LABEL}(?:\.{_LABEL}){{1,6}}"
_EMAIL = re.compile(rf"(?<![\w.+-])([\w][\w.+-]{{0,63}})@({_DOMAIN})(?!\w)")
_PATH = r"[^\s<>\"]*(?<![.,;:!?)\]'])"
_URL = re.compile(
    r"(?<![a-z0-9])(?:(?:https?|ftp)://(?:www\.)?|www\.)(?:[^\s/@:]{1,64}@)?"
    rf"({_DOMAIN}|localhost)(?::\d{{1,5}})?(?:[/?#]{_PATH})?"
)
_TOP = (
    r"(?:(?:com|org|net|edu|gov|info|io|app|dev)(?:\.[a-z]{2})?|co\.[a-z]{2}"
    r"|de|fr|pl|cz|nl|hu|ru|br|tr|jp|kr|cn|uk|eu|es|it|pt|at|ch)"
)
_HOST = re.compile(
    rf"(?<![\w.@/-])((?:[a-z0-9][a-z0-9-]{{0,62}}\.){{1,4}}{_TOP})(?![\w@]|\.\w)(?:/{_PATH})?"
)
_MARKS = re.compile(r"[@._+-]")


def addresses(text: Spelling, lexicon: Lexicon) -> Spelling:
    """E-mail addresses in words, and of web addresses the host."""
    if "." not in text and "://" not in text:
        return text
    if "@" in text:
        text = _substituted(_EMAIL, lambda m: _spoken(m[0], lexicon), text)
    text = _substituted(_URL, lambda m: _spoken(m[1], lexicon), text)
    written = text.written

    def host(match: re.Match[str]) -> str:
        name = written[match.start(1) : match.end(1)]
        short = len(name.rpartition(".")[2]) == 2
        # "the end.It was": a missing space, no address
        return match[0] if short and not name.islower() else _spoken(match[1], lexicon)

    return _substituted(_HOST, host, text)


def _substituted(
    pattern: re.Pattern[str], said: Callable[[re.Match[str]], str], text: Spelling
) -> Spelling:
    result = substitute(pattern, said, text)
    assert isinstance(result, Spelling)
    return result


def _spoken(address: str, lexicon: Lexicon) -> str:
    names = _names(forms_of(lexicon).address)
    return " ".join(_MARKS.sub(lambda m: f" {names.get(m[0], lexicon.plus)} ", address).split())


@cache
def _names(words: AddressWords) -> dict[str, str]:
    return {"@": words.at, ".": words.dot, "-": words.dash, "_": words.underscore}
