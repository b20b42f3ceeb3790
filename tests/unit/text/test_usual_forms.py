"""The usual forms of each language, as its grammars and style guides have them:
`tests/data/spoken_forms`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from voxturn.runtime.text.normalize import LANGUAGES, in_words
from voxturn.runtime.text.normalize.forms import forms

TESTS = Path(__file__).parents[2]
DATA = TESTS / "data" / "spoken_forms"


def _forms(language: str) -> list[tuple[str, str]]:
    lines = (DATA / f"{language}.tsv").read_text(encoding="utf-8").splitlines()
    return [(written, spoken) for written, spoken in (line.split("\t") for line in lines)]


@pytest.mark.parametrize("language", LANGUAGES)
def test_usual_forms_are_said_as_a_speaker_says_them(language: str) -> None:
    forms = _forms(language)
    assert len({written for written, _ in forms}) >= 60
    wrong = [
        (written, spoken, said)
        for written, spoken in forms
        if (said := in_words(written, language)) != spoken
    ]
    assert wrong == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_usual_forms_are_final(language: str) -> None:
    for _, spoken in _forms(language):
        assert in_words(spoken, language) == spoken


def test_every_row_of_upstreams_own_table_is_said_so_or_better() -> None:
    rows = json.loads((TESTS / "data" / "xtts_text" / "table.json").read_text(encoding="utf-8"))
    assert len(rows) > 80
    for row in rows:
        assert in_words(row["text"], row["language"]) == row["ours"]
        assert bool(row["reason"]) == (row["ours"] != row["upstream"]), row["text"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_rule_leads_somewhere_and_every_expression_compiles(language: str) -> None:
    table = forms(language)
    roman, clock = table.roman, table.clock
    rows = {
        row
        for rules in (roman.ordinal_after, roman.ordinal_before, roman.before_words, table.years)
        for _, row in rules
    }
    assert rows <= set(roman.endings)
    assert {row for _, row in clock.cases} <= set(clock.endings)
    assert {
        gender for rules in (table.agreement.one, table.agreement.many) for _, gender in rules
    } <= {"", "m", "f", "n"}
    assert len(table.months) in (0, 12)
    for rules in (
        *roman.endings.values(),
        *clock.endings.values(),
        *table.ordinals.values(),
        table.joins,
        table.rewrites,
    ):
        for pattern, replacement in rules:
            re.compile(pattern)
            assert isinstance(replacement, str)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_usual_currencies_are_said_by_sign_and_by_code(language: str) -> None:
    codes = "USD EUR GBP JPY CNY INR CHF CAD AUD RUB KRW TRY BRL MXN PLN CZK HUF SEK NOK DKK"
    for written in (*codes.split(), "$", "€", "£", "₹", "₽", "₺", "₩", "C$", "A$", "R$"):
        for text in (f"{written} 20", f"20 {written}"):
            said = in_words(text, language)
            assert not re.search(rf"\d|{re.escape(written)}", said), (text, said)
    assert not re.search(r"[\d¢]", in_words("75¢", language))
