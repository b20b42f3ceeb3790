"""What successive hypotheses agree in only grows, whatever comes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from voxturn.runtime.families.whisper.agreement import Agreement


def test_what_two_hypotheses_agree_in_is_stable() -> None:
    agreement: Agreement[str] = Agreement()
    assert agreement.push(["the", "train", "to"]) == ("the", "train", "to")
    assert agreement.push(["the", "train", "leaves", "at"]) == ("leaves", "at")
    assert agreement.stable == ("the", "train")
    assert agreement.push(["the", "train", "leaves", "now"]) == ("now",)
    assert agreement.stable == ("the", "train", "leaves")


def test_a_hypothesis_that_contradicts_what_is_stable_changes_nothing() -> None:
    agreement: Agreement[str] = Agreement()
    for text in ("good morning", "good morning"):
        agreement.push(text.split())
    assert agreement.push(["food", "mourning", "all"]) == ()
    assert agreement.push(["food", "mourning", "all"]) == ()
    assert agreement.stable == ("good", "morning")


@given(st.lists(st.lists(st.sampled_from("abc"), max_size=6), max_size=12))
def test_the_stable_items_only_grow_and_were_hypothesised(hypotheses: list[list[str]]) -> None:
    agreement: Agreement[str] = Agreement()
    for hypothesis in hypotheses:
        before = agreement.stable
        rest = agreement.push(hypothesis)
        assert agreement.stable[: len(before)] == before
        assert agreement.stable in {tuple(h[: len(agreement.stable)]) for h in hypotheses} | {()}
        assert not rest or (*agreement.stable, *rest) == tuple(hypothesis)
