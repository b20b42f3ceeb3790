"""Languages told apart by their letters' frequencies, among those of one script.

Source: Lui and Baldwin 2012, langid.py; py3langid is its maintained form.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from functools import cache
from typing import Any

from voxturn.runtime.text.language import base_code

Detector = Callable[[str], Mapping[str, float]]
"""The chance of each language that it knows, by its tag; they add up to 1."""

_LOG = logging.getLogger(__name__)


def detector_of(tags: Sequence[str]) -> Detector | None:
    """What tells these languages apart; None, and a warning, where py3langid is not installed."""
    model = _model()
    if model is None:
        _LOG.warning(
            "%s are told apart by what was spoken alone: py3langid is not installed; "
            "pip install 'voxturn[languages]'",
            ", ".join(tags),
        )
        return None
    by_code = {base_code(tag): tag for tag in tags}
    known = [code for code in by_code if code in model.labels]
    if len(known) < 2:
        return None
    bounded = copy(model)
    bounded.set_languages(known)
    return lambda text: {by_code[code]: float(chance) for code, chance in bounded.rank(text)}


@cache
def _model() -> Any:
    """The model of all languages, read once; 45 MB."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError:
        return None
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
