from __future__ import annotations

import numpy as np
import pytest
from voxturn.runtime.audio.encode import to_int16
from voxturn.runtime.errors import AudioTooLong
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.gateway.wyoming.hear import LONGEST_S, Utterance
from voxturn.runtime.messages import Partial, Samples, Speaking, Transcript
from wyoming.audio import AudioFormat
from wyoming.event import Eventable


class Words:
    """A `Hearing` that shows what it is given; `heard` is what it got at the end."""

    def __init__(self, partials: list[Partial | None], final: str) -> None:
        self.partials, self.text = partials, final
        self.heard = np.zeros(0, np.float32)

    async def partial(self, speaking: Speaking) -> Partial | None:
        return self.partials.pop(0) if self.partials else None

    async def final(self, samples: Samples, words: bool = False) -> Transcript:
        self.heard = samples
        return Transcript(self.text, "en")


def stable(text: str) -> Partial:
    return Partial(text, "", "en", 0)


class Sent:
    """What was sent, as texts."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    async def __call__(self, item: Eventable) -> None:
        event = item.event()
        self.lines.append(f"{event.type} {event.data.get('text', '')}".strip())


@pytest.fixture
def hearing(gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> Words:
    words = Words([], "")
    monkeypatch.setattr(gateway.assistant.stages.recogniser, "hear", lambda prior="": words)
    return words


@pytest.mark.parametrize(
    ("partials", "final", "lines"),
    [
        (
            [stable("What is"), None, stable("What is the")],
            "What is the capital?",
            ["What is", " the", " capital?"],
        ),
        ([stable("What is")], "What is", ["What is"]),
        # the final words begin otherwise: the transcript has them, the pieces do not go on
        ([stable("What's")], "What is it?", ["What's"]),
    ],
)
async def test_words_are_shown_once_they_are_certain(
    gateway: Gateway,
    hearing: Words,
    partials: list[Partial | None],
    final: str,
    lines: list[str],
) -> None:
    hearing.partials, hearing.text = list(partials), final
    sent, utterance = Sent(), Utterance(gateway)
    utterance.begin(AudioFormat(16_000, 2, 1))
    for _ in range(20):
        await utterance.push(bytes(32_000), sent)
        await _settle(utterance)
    await utterance.finish(sent)
    await utterance.aclose()
    shown = [f"transcript-chunk {line}" for line in lines]
    assert sent.lines[0] == "transcript-start"
    assert [line for line in sent.lines if line.startswith("transcript-chunk")] == shown
    assert sent.lines[-2:] == [f"transcript {final}", "transcript-stop"]


async def _settle(utterance: Utterance) -> None:
    task = utterance._partials._task
    utterance._partials._due = 0.0
    if task is not None:
        await task


@pytest.mark.parametrize(("rate", "channels"), [(16_000, 1), (48_000, 2), (8_000, 1), (44_100, 1)])
async def test_audio_of_any_rate_is_heard_at_16_khz_however_it_is_cut(
    gateway: Gateway, hearing: Words, rate: int, channels: int
) -> None:
    seconds = np.arange(2 * rate) / rate
    tone = (0.5 * np.sin(2 * np.pi * 440 * seconds)).astype(np.float32)
    data = to_int16(np.repeat(tone, channels))
    sent, utterance = Sent(), Utterance(gateway)
    utterance.begin(AudioFormat(rate, 2, channels))
    for begin in range(0, len(data), 1001):  # odd: within a sample
        await utterance.push(data[begin : begin + 1001], sent)
    await utterance.finish(sent)
    await utterance.aclose()
    wanted = 0.5 * np.sin(2 * np.pi * 440 * np.arange(32_000) / 16_000)
    assert abs(hearing.heard.size - 32_000) <= 1
    middle = slice(4_000, 28_000)
    assert np.abs(hearing.heard[middle] - wanted[middle]).max() < 0.01


async def test_what_has_no_end_is_refused(gateway: Gateway, hearing: Words) -> None:
    sent, utterance = Sent(), Utterance(gateway)
    second = bytes(2 * 16_000)
    for _ in range(round(LONGEST_S)):
        await utterance.push(second, sent)
    with pytest.raises(AudioTooLong):
        await utterance.push(second, sent)
    await utterance.aclose()
