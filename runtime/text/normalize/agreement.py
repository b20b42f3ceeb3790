"""Numbers in the gender of the noun after them: veintiuna personas, eine Stunde, две книги."""

from __future__ import annotations

import re
from functools import cache

from voxturn.runtime.text.normalize.forms import forms_of, ruled
from voxturn.runtime.text.normalize.lexicon import Lexicon
from voxturn.runtime.text.normalize.numbers import NUMBER, agree, cardinal, parse, plural_form


@cache
def counted_nouns(lexicon: Lexicon) -> re.Pattern[str] | None:
    """A number and the word after it, where numbers agree with nouns."""
    rules = forms_of(lexicon).agreement
    if not rules.one and not rules.many:
        return None
    return re.compile(rf"(?<![\w.,:/-])({NUMBER})(?=\s([^\W\d_]+))")


def _is_label(word: str, lexicon: Lexicon) -> bool:
    """Whether a number after `word` names it, and counts nothing: Gleis 1, el capítulo 1."""
    table = forms_of(lexicon)
    labels = (*table.roman.cardinal_after, rf"^(?:{table.labels})$" if table.labels else "(?!)")
    return any(re.search(label, word) for label in labels)


def agreeing(match: re.Match[str], lexicon: Lexicon) -> str:
    """The number in words, in the gender of what is counted; as written where that is unknown."""
    number = parse(match[1], lexicon)
    if number is None or number.fraction is not None or number.whole[0] == "0":
        return match[0]
    rules = forms_of(lexicon).agreement
    before = re.search(r"([^\W\d_]+)\s$", match.string[max(0, match.start() - 24) : match.start()])
    if before and _is_label(before[1], lexicon):
        return cardinal(number.whole, lexicon)
    one = plural_form(number, lexicon.plural) == 0 and lexicon.plural != "invariant"
    gender = ruled(rules.one if one else rules.many or rules.one, match[2])
    return agree(cardinal(number.whole, lexicon), gender, lexicon) if gender else match[0]
