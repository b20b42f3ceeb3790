"""Titles before a name, which a capital tells from other words: M. Dupont, Dott.ssa Rossi."""

from __future__ import annotations

import re
from functools import cache

from voxturn.runtime.text.normalize.forms import forms_of
from voxturn.runtime.text.normalize.lexicon import Lexicon
from voxturn.runtime.text.normalize.spelling import Spelling, substitute


def titles(text: Spelling, lexicon: Lexicon) -> Spelling:
    """Titles in full where a name follows; of `Mme.` the full stop goes as well."""
    words = forms_of(lexicon).titles
    if not words:
        return text

    def said(match: re.Match[str]) -> str:
        named = text.written[match.end() : match.end() + 1].isupper()
        titled = text.written[match.start()].isupper() or len(match[1].rstrip(".")) > 1
        return f"{words[match[1]]} " if named and titled else match[0]

    result = substitute(_titles(lexicon), said, text)
    assert isinstance(result, Spelling)
    return result


@cache
def _titles(lexicon: Lexicon) -> re.Pattern[str]:
    keys = sorted(forms_of(lexicon).titles, key=len, reverse=True)
    return re.compile(rf"(?<![\w.])({'|'.join(map(re.escape, keys))})(?:(?<!\.)\.)?\s+(?=\w)")
