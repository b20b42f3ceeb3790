"""Speakers by name: their styles, mixtures, and what is remembered of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voxturn.runtime.errors import UnknownStyle, UnknownVoice, UsageError
from voxturn.runtime.families.xtts import speakers
from voxturn.runtime.families.xtts.speakers import Speakers, in_style, speaker_of
from voxturn.runtime.families.xtts.voices import Cloner, Voice, VoiceStore

from tests.unit.families.xtts.test_voices import artifact, voice


def no_cloner() -> Cloner:
    raise AssertionError("nothing is cloned here")


@pytest.fixture
def store(tmp_path: Path) -> VoiceStore:
    store = VoiceStore(tmp_path / "home", *artifact(tmp_path / "artifact"))
    for name, value, style in (
        ("ana", 1.0, ""),
        ("ana", 2.0, "happy"),
        ("ana", 3.0, "sad"),
        ("ben", 5.0, ""),
        ("ben", 7.0, "happy"),
        ("ben", 8.0, "calm"),
    ):
        store.add(voice(name, value), style=style)
    return store


def value(of: Voice) -> float:
    assert np.ptp(of.latents) == np.ptp(of.speaker) == 0.0
    assert of.latents[0, 0] == pytest.approx(of.speaker[0], abs=1e-5)
    return round(float(of.latents[0, 0]), 5)


@pytest.mark.parametrize(
    ("name", "own", "styles"),
    [
        ("ana", 1.0, {"happy": 2.0, "sad": 3.0}),
        ("ana/happy", 2.0, {"happy": 2.0, "sad": 3.0}),
        ("Studio One", 9.0, {}),
        ("ana:3+ben", 2.0, {"calm": 2.75, "happy": 3.25, "sad": 3.5}),
        ("ana/sad+ben", 4.0, {"calm": 5.5, "happy": 4.5, "sad": 4.0}),
        ("ana:1+Studio One:1", 5.0, {"happy": 5.5, "sad": 6.0}),
    ],
)
def test_a_mixture_has_the_styles_of_all_its_voices(
    store: VoiceStore, name: str, own: float, styles: dict[str, float]
) -> None:
    speaker = speaker_of(store, name)
    assert value(speaker.voice) == own
    assert {style: value(voice) for style, voice in speaker.styles.items()} == styles


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("eve", UnknownVoice, "no voice 'eve' for this checkpoint; here: Studio One, ana, ben"),
        ("ana:1+eve:1", UnknownVoice, "no voice 'eve'"),
        ("ana/angry", UnknownStyle, "voice 'ana' has no style 'angry'; it has happy, sad"),
        ("ana+ben/sad", UnknownStyle, "voice 'ben' has no style 'sad'; it has calm, happy"),
        ("ana:x", UsageError, "the weight 'x'"),
        ("ana/..", UsageError, "style '..'"),
    ],
)
def test_what_is_not_there_is_refused_with_what_is(
    store: VoiceStore, name: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error) as caught:
        Speakers(store, no_cloner).named(name)
    assert says in str(caught.value)


def test_a_style_that_is_asked_for_takes_the_place_of_the_own_voice(store: VoiceStore) -> None:
    speaker = speaker_of(store, "ana").in_style("Happy")
    assert (value(speaker.voice), list(speaker.styles)) == (2.0, ["happy", "sad"])
    assert in_style(speaker, "") is speaker
    assert in_style(None, "") is None
    with pytest.raises(UnknownStyle, match="it has none"):
        in_style(None, "happy")


def test_a_speaker_is_put_together_once_until_one_of_its_files_changes(
    store: VoiceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    people, read = Speakers(store, no_cloner), list[str]()
    original = VoiceStore.read

    def counted(self: VoiceStore, name: str, style: str = "") -> object:
        read.append(f"{name}/{style}")
        return original(self, name, style)

    monkeypatch.setattr(VoiceStore, "read", counted)
    first = people.named("ana+ben")
    assert sorted(read) == ["ana/", "ana/happy", "ana/sad", "ben/", "ben/calm", "ben/happy"]
    assert people.named("ana+ben") is first
    assert len(read) == 6
    store.add(voice("Zoe", 1.0))
    assert people.named("ana+ben") is first
    store.add(voice("ben", 9.0), style="happy")
    assert value(people.named("ana+ben").styles["happy"]) == 5.5
    store.remove("ana")
    with pytest.raises(UnknownVoice, match="no voice 'ana'"):
        people.named("ana+ben")


def test_only_the_last_speakers_are_remembered(
    store: VoiceStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speakers, "_MOST_KEPT", 2)
    people = Speakers(store, no_cloner)
    ana, ben = people.named("ana"), people.named("ben")
    assert people.named("ana") is ana
    people.named("ana+ben")
    assert people.named("ana") is ana
    assert people.named("ben") is not ben
    assert len(people._named) == 2


def test_the_styles_of_all_voices_are_told(store: VoiceStore) -> None:
    known = Speakers(store, no_cloner).styles()
    assert known == {"ana": ["happy", "sad"], "ben": ["calm", "happy"]}
