"""Which of a conversation's languages a text is in: by its script; among languages of one script by
a detector; else the one before."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import lru_cache

from voxturn.runtime.text.detect import Detector, detector_of
from voxturn.runtime.text.language import Languages
from voxturn.runtime.text.mixed import change, words_of
from voxturn.runtime.text.scripts import own_scripts

_SCRIPT_PRIOR, _PRIOR = 2.0, 3.0
"""How much more evidence a change of the language needs: in words, and of a detector."""
_REMEMBERED = 512


class LanguageJudge:
    """Judges clauses among two languages or more, `languages`.

    `before` is the language of what was said before, as a tag or as a model has named it. What is
    judged depends on it and on the text alone. Thread-safe.
    """

    def __init__(
        self,
        languages: Sequence[str],
        detector: Callable[[Sequence[str]], Detector | None] = detector_of,
    ) -> None:
        self.languages = Languages(tuple(languages))
        self._scripts = {tag: own_scripts(tag) for tag in languages}
        groups = {self.owners(script) for own in self._scripts.values() for script in own}
        self._detectors = {
            group: detector(sorted(group)) for group in sorted(groups, key=sorted) if len(group) > 1
        }
        self._judged = lru_cache(maxsize=_REMEMBERED)(self._judge)

    def owners(self, script: str) -> frozenset[str]:
        """The languages that are written in a script."""
        return frozenset(tag for tag, own in self._scripts.items() if script in own)

    def language_of(self, text: str, before: str = "") -> str:
        """The tag of the language that a text is in."""
        return self._judged(text, self.languages.tag_of(before) or self.languages.first)

    def change(self, text: str) -> int | None:
        """Where a text goes over into another language, as `mixed.change` says."""
        return change(text, self.owners)

    def _judge(self, text: str, before: str) -> str:
        of_script = self._by_script(text, before)
        if len(of_script) < 2:
            return of_script[0] if of_script else before
        chances = self._detected(text, of_script)
        if before in of_script:
            chances[before] *= _PRIOR
        return max(chances, key=lambda tag: chances[tag])

    def _by_script(self, text: str, before: str) -> list[str]:
        """The languages that have the script that most of the text is in, and most of its other
        scripts; none where it has no letters of theirs."""
        weights: defaultdict[str, float] = defaultdict(float)
        for word in words_of(text):
            weights[word.script] += word.weight
        usual = self._scripts[before]
        counted = {
            script: weight * (_SCRIPT_PRIOR if script in usual else 1.0)
            for script, weight in weights.items()
            if self.owners(script)
        }
        if not counted:
            return []
        script = max(counted, key=lambda name: counted[name])
        covered = {
            tag: sum(weights[each] for each in self._scripts[tag]) for tag in self.owners(script)
        }
        most = max(covered.values())
        return [tag for tag in self.languages.tags if covered.get(tag, 0) == most]

    def _detected(self, text: str, among: Sequence[str]) -> dict[str, float]:
        """The chance of each of these languages; alike where nothing tells them apart."""
        group = next((each for each in self._detectors if each.issuperset(among)), frozenset())
        detector = self._detectors.get(group)
        chances = detector(text) if detector is not None else {}
        return {tag: chances.get(tag, 1 / len(among)) for tag in among}


def judge_of(languages: Languages, spoken: Sequence[str]) -> LanguageJudge | None:
    """What judges a conversation's clauses, whose voice speaks `spoken`; None where there is one
    language alone."""
    candidates = languages.tags or tuple(spoken)
    return LanguageJudge(candidates) if len(candidates) > 1 else None
