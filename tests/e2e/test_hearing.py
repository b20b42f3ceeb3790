"""Real Whisper and Silero: partials, word times, names, a file in pieces, and sounds that hold no
words."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from voxturn.bench.corpus import KINDS, LEVELS_DBFS, SENTENCES, Clip, Voice, sounds
from voxturn.bench.hard import paragraphs
from voxturn.bench.words import error_rate
from voxturn.runtime import cli
from voxturn.runtime.assistant import Assistant
from voxturn.runtime.audio.decode import decode_all
from voxturn.runtime.frames import frames_from
from voxturn.runtime.messages import Partial, Transcript, Utterance
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import Profile, load_profile
from voxturn.runtime.text.tokenizer import JsonTokenizer
from voxturn.runtime.turn.listen import Listen
from voxturn.runtime.turn.recognise import FilteredRecogniser

from tests.espeaking import said_afresh

QUESTION = Path(__file__).parents[2] / "runtime" / "demo" / "question.wav"
DATA = Path(__file__).parents[1] / "data"
TEXT = "What is the capital of France?"

pytestmark = pytest.mark.usefixtures("demo_models")


@pytest.fixture
def parts() -> Iterator[LoadedParts]:
    parts = LoadedParts(load_profile("demo"))
    yield parts
    parts.close()


def recogniser_of(parts: LoadedParts) -> FilteredRecogniser:
    return FilteredRecogniser(parts.recogniser(), parts.content_filter())


async def test_partials_come_while_the_question_is_asked_and_lead_to_the_transcript() -> None:
    async with Assistant.load("demo") as assistant:
        await assistant.warm()
        turn = assistant.conversation().turn(frames_from(decode_all(QUESTION, 16000), live=True))
        async with turn:
            events = []
            async for event in turn:
                events.append(event)
                if isinstance(event, Transcript):
                    break
    partials = [event for event in events if isinstance(event, Partial)]
    assert partials
    assert partials[0].unstable.startswith("What is")
    assert all(b.stable.startswith(a.stable) for a, b in pairwise(partials))
    assert isinstance(events[-1], Transcript)
    assert events[-1].text == TEXT


async def test_words_lie_where_they_are_said(parts: LoadedParts) -> None:
    recogniser, question = recogniser_of(parts), decode_all(QUESTION, 16000)
    early, late = [
        await recogniser.transcribe(
            np.concatenate([np.zeros(lead, np.float32), question]), words=True
        )
        for lead in (0, 8000)
    ]
    assert [word.text for word in early.words] == TEXT.split()
    times = [time for word in early.words for time in (word.begin_s, word.end_s)]
    assert times == sorted(times)
    assert times[-1] <= question.size / 16000 + 0.1
    shift = [b.end_s - a.end_s for a, b in zip(early.words, late.words, strict=True)]
    assert shift == pytest.approx([0.5] * 6, abs=0.11)


async def test_names_are_heard_that_were_not(parts: LoadedParts) -> None:
    biased = LoadedParts(_named("Kapitol", "Frantz"))
    try:
        question = decode_all(QUESTION, 16000)
        assert (await recogniser_of(parts).transcribe(question)).text == TEXT
        heard = (await recogniser_of(biased).transcribe(question)).text
    finally:
        biased.close()
    assert "Frantz" in heard or "Kapitol" in heard, heard


def _named(*names: str) -> Profile:
    profile = load_profile("demo")
    return replace(profile, transcribe=replace(profile.transcribe, names=names))


@pytest.mark.parametrize(("times", "pause_s"), [(2, 0.3), (3, 0.3), (5, 0.6)])
async def test_what_is_said_again_is_heard_again(
    parts: LoadedParts, times: int, pause_s: float
) -> None:
    pause = np.zeros(int(16000 * pause_s), np.float32)
    samples = np.concatenate([decode_all(QUESTION, 16000), pause] * times)
    heard = await recogniser_of(parts).transcribe(samples)
    assert heard.text == " ".join([TEXT] * times)


def test_the_paragraphs_have_as_many_tokens_as_their_limits_were_measured_on(
    parts: LoadedParts,
) -> None:
    tokenizer = JsonTokenizer(parts.choice("transcribe").folder / "tokenizer.json")
    counted = json.loads((DATA / "whisper_paragraphs.json").read_text(encoding="utf-8"))
    for language, text, _ in paragraphs():
        assert len(tokenizer.encode(f" {text}")) == counted[language]["tokens"]


async def test_a_language_of_many_tokens_is_heard_whole(tmp_path: Path) -> None:
    text, voice = next((text, voice) for code, text, voice in paragraphs() if code == "ta")
    said = said_afresh(text, voice, tmp_path / "said.npy")
    tamil = LoadedParts(replace(load_profile("demo"), language="ta"))
    try:
        heard = await recogniser_of(tamil).transcribe(said)
    finally:
        tamil.close()
    assert 0.6 * len(text) < len(heard.text) < 2 * len(text)  # its last words said again, at most


async def test_sounds_without_words_give_none(parts: LoadedParts) -> None:
    question = Clip(TEXT, decode_all(QUESTION, 16000), Voice("joe"), None, "2s")
    listen = Listen(parts.activity(), parts.profile.endpointing)
    recogniser = recogniser_of(parts)
    invented = []
    for sound in sounds([question], len(KINDS) * len(LEVELS_DBFS)):
        heard = [
            h.samples
            async for h in listen(frames_from(sound.samples))
            if isinstance(h, Utterance) and h.final
        ]
        texts = [(await recogniser.transcribe(each)).text for each in [sound.samples, *heard]]
        invented += [(sound.kind, sound.level_dbfs, text) for text in texts if text]
    assert not invented
    assert (await recogniser.transcribe(np.zeros(48000, np.float32))).text == ""


def test_a_long_file_is_written_down_in_pieces_with_every_word_s_time(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = " ".join(SENTENCES[:9])
    assert cli.main(["say", text, "-o", str(tmp_path / "long.wav")]) == 0
    assert cli.main(["transcribe", str(tmp_path / "long.wav"), "--json", "--words"]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(lines) > 1
    assert all(line["end_s"] - line["begin_s"] <= 28.1 for line in lines)
    heard = " ".join(line["text"] for line in lines)
    assert error_rate([text], [heard]) <= 0.1
    words = [word for line in lines for word in line["words"]]
    assert " ".join(word["text"] for word in words) == heard
    times = [time for word in words for time in (word["begin_s"], word["end_s"])]
    assert times == sorted(times)
    assert times[-1] <= lines[-1]["end_s"] + 0.1
