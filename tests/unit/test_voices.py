"""Profiles of several languages and their voices: what doctor says is what loading does."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.errors import InvalidProfile, UnsupportedLanguage, VoxturnError
from voxturn.runtime.families.by_language import VoiceByLanguage
from voxturn.runtime.families.fake import FakeVoice, write_profile
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.messages import Message, PcmChunk, Sentence, Transcript
from voxturn.runtime.models.manifest import MANIFEST
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.prepare import problems
from voxturn.runtime.profile import load_profile

from tests.conftest import fed, tone

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a profile on fakes: its language as TOML, more keys of [speak], the properties of its
    voice and of a second one, whose folder `OTHER` stands for."""
    monkeypatch.setenv("VOXTURN_HOME", str(tmp_path / "home"))

    def write(
        language: str, speak: str = "", voice: Any = (), other: Any = (), **texts: str
    ) -> Path:
        path = write_profile(tmp_path / "fakes", **texts)
        _change(path.parent / "speak", dict(voice))
        second = tmp_path / "other"
        if other:
            second.mkdir()
            (second / MANIFEST).write_text((path.parent / "speak" / MANIFEST).read_text())
            _change(second, dict(other))
        text = path.read_text().replace('language = "en"', f"language = {language}")
        path.write_text(f"{text}{speak.replace('OTHER', str(second))}\n")
        return path

    return write


def _change(folder: Path, properties: dict[str, Any]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["properties"] |= properties
    (folder / MANIFEST).write_text(json.dumps(manifest))


def doctor(path: Path) -> list[str]:
    return [
        f"{p.stage}: {p.what}"
        for p in problems(load_profile(path), Store(), Registry.read(), Cores())
    ]


def load(path: Path, only_check: bool = False) -> None:
    parts = LoadedParts(load_profile(path))
    try:
        parts.check("speak")
        if not only_check:
            parts.voice()
    finally:
        parts.close()


BOTH = {"languages": ["en", "ar"], "speakers": ["ana", "badr"]}


@pytest.mark.parametrize(
    ("speak", "voice", "other"),
    [
        ("", BOTH, ()),
        ('voice = "ana"', BOTH, ()),
        ('voice_of = { ar = "badr" }', BOTH, ()),
        ('voice_of = { ar = "badr", en = "ana" }', BOTH, ()),
        (
            'voice_of = { ar = "OTHER" }',
            {"languages": ["en"]},
            {"languages": ["ar"], "rate": 22050},
        ),
        ('voice_of = { ar-EG = "OTHER" }', {"languages": ["en"]}, {"languages": ["ar"]}),
    ],
)
def test_a_set_that_the_voices_speak_runs(speak: str, voice: Any, other: Any, write: Write) -> None:
    path = write('["en", "ar"]', speak, voice, other)
    assert doctor(path) == []
    load(path)


@pytest.mark.parametrize(
    ("speak", "voice", "other", "what"),
    [
        ("", {"languages": ["en"]}, (), r"speaks en, not 'ar' .*to speak are en, ar"),
        ('voice_of = { ar = "nobody" }', BOTH, (), "no speaker 'nobody'"),
        ('voice_of = { ar = "ana" }', {"languages": ["en", "ar"]}, (), "speaker: a fake voice"),
        ('voice_of = { ar = "OTHER" }', {"languages": ["en"]}, {"languages": ["fr"]}, "speaks fr, not 'ar'"),
        ('voice_of = { ar = "OTHER", en = "OTHER" }', BOTH, BOTH, "no language is left for"),
        ('voice_of = { ar = "vits-en-us-joe" }', {"languages": ["en"]}, (), "vits-en-us-joe"),
    ],
)  # fmt: skip
def test_doctor_and_loading_refuse_the_same_in_one_line(
    speak: str, voice: Any, other: Any, what: str, write: Write
) -> None:
    path = write('["en", "ar"]', speak, voice, other)
    with pytest.raises(VoxturnError, match=what) as caught:
        load(path)
    assert "\n" not in str(caught.value)
    with pytest.raises(VoxturnError, match=what):
        load(path, only_check=True)
    found = doctor(path)
    assert found
    assert all(each.startswith(("speak", "vocode")) for each in found)
    assert any(part in " ".join(found) for part in (what, str(caught.value), "vits-en-us-joe"))


@pytest.mark.parametrize(
    ("language", "speak", "what"),
    [
        ('["en", "en-US"]', "", "en, en-US: are one language"),
        ("[]", "", "no language is listed"),
        ('["en", "english"]', "", "is no language tag"),
        ('["en", "auto"]', "", "auto stands alone"),
        ('["en", 5]', "", r"language\[1\]: must be str"),
        ("5", "", "language: must be str"),
        ('"en"', 'voice_of = { ar = "ana" }', "'ar' is none of the profile's languages"),
        ('["en", "ar"]', 'voice_of = { fr = "ana" }', "'fr' is none of the profile's languages"),
        ('["en", "ar"]', 'voice_of = { ar = "ana", ar-EG = "bob" }', "are one language"),
        ('["en", "ar"]', 'voice_of = "ana"', "must be a table"),
        ('["en", "ar"]', "voice_of = { ar = 5 }", r"voice_of\.ar: must be str"),
    ],
)
def test_languages_that_are_none_are_refused_before_anything_is_loaded(
    language: str, speak: str, what: str, write: Write
) -> None:
    with pytest.raises(InvalidProfile, match=what) as caught:
        load_profile(write(language, speak))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("language", "key", "told"),
    [
        ('"en"', "", False),
        ('"auto"', "", True),
        ('["en", "ar"]', "", True),
        ('["en", "ar"]', 'language_prompt = ""', False),
    ],
)
def test_the_model_is_told_to_answer_in_the_speaker_s_language_where_there_are_several(
    language: str, key: str, told: bool, write: Write
) -> None:
    path = write(language)
    path.write_text(f'system_prompt = "Be short."\n{key}\n{path.read_text()}')
    profile = load_profile(path)
    assert profile.instructions.startswith("Be short.")
    assert (profile.instructions != "Be short.") is told
    assert (profile.language_prompt in profile.instructions) is (
        told or not profile.language_prompt
    )


ANSWER = "Of course. نعم بكل تأكيد. It is 3 o'clock, Paris time."


async def test_a_turn_speaks_each_sentence_in_its_language_by_its_speaker(write: Write) -> None:
    path = write(
        '["ar", "en"]', 'voice_of = { en = "ana" }', BOTH, heard="كم الساعة؟", answer=ANSWER
    )
    async with Assistant.load(path) as assistant:
        conversation = assistant.conversation()
        async with conversation.turn(fed(tone(1.0, 1.0))) as turn:
            events = [event async for event in turn]
        sentences = [event for event in events if isinstance(event, Sentence)]
        assert [sentence.language for sentence in sentences] == ["en", "ar", "en"]
        assert turn.trace.to_dict()["reply_languages"] == ["en", "ar", "en"]
        assert next(e.language for e in events if isinstance(e, Transcript)) == "ar"
        assert conversation.language == "ar"
        assert {e.sentence.language for e in events if isinstance(e, PcmChunk)} == {"ar", "en"}
        voice = assistant.stages.voice
        assert isinstance(voice, VoiceByLanguage)
        usual, own = voice.usual, voice.own["en"]
        assert isinstance(usual, FakeVoice)
        assert isinstance(own, FakeVoice)
        assert (own.speaker, own.language) == ("ana", "en")
        assert [sentence.text for sentence in usual.said] == ["نعم بكل تأكيد."]
        assert own.said[1].text == "It is three o'clock, Paris time."
        assert isinstance(conversation.messages[0], Message)


async def test_a_typed_question_is_in_the_language_it_is_written_in(write: Write) -> None:
    path = write('["en", "ar"]', "", BOTH, answer="3.")
    async with Assistant.load(path) as assistant:
        conversation = assistant.conversation()
        for question, language in (("What time is it?", "en"), ("كم الساعة؟", "ar"), ("3?", "ar")):
            async with conversation.ask(question) as turn:
                async for _ in turn:
                    pass
            assert (conversation.language, turn.trace.reply_languages) == (language, [language])


async def test_the_trace_names_every_voice(write: Write) -> None:
    path = write(
        '["en", "ar"]', 'voice_of = { ar = "OTHER" }', {"languages": ["en"]}, {"languages": ["ar"]}
    )
    async with Assistant.load(path) as assistant:
        stages = assistant.conversation().ask("Hello?").trace.to_dict()["stages"]
        assert stages["speak.ar"]["executor"] == "fake"
        assert stages["speak.ar"]["model"] == stages["speak"]["model"]


def test_a_voice_that_tells_its_languages_only_when_it_is_made_is_refused_then(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxturn.runtime.families.fake._check_voice", lambda candidate: None)
    path = write('["en", "ar"]', "", {"languages": ["en"]})
    parts = LoadedParts(load_profile(path))
    monkeypatch.setattr(type(parts.choice("speak")), "problem", lambda *args: None)
    try:
        with pytest.raises(UnsupportedLanguage, match="speaks en, not 'ar'"):
            parts.voice()
    finally:
        parts.close()
