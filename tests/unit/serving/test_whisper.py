"""The served Whisper: an utterance that comes piece by piece is heard whole, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from voxturn.runtime.errors import (
    AudioTooLong,
    EmptyAudio,
    ForgottenSequence,
    InvalidSamples,
    TooManyStreams,
    UsageError,
    VoxturnError,
)
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.remote.contract import END, LONGEST_AUDIO_S, SEQUENCE, START
from voxturn.runtime.remote.tensors import Tensors, text_tensor
from voxturn.runtime.serving.whisper import WhisperHandler

from tests.artifacts import FakeBackends, all_kinds, on_cpu

PIECE = np.zeros(1600, np.float32)


@pytest.fixture
def handler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[WhisperHandler]:
    FakeBackends().install(monkeypatch)
    handler = WhisperHandler(on_cpu(all_kinds(tmp_path)))
    yield handler
    handler.close()


async def said(
    handler: WhisperHandler,
    sequence: str,
    flags: str = "",
    samples: np.ndarray[Any, Any] = PIECE,
    client: str = "",
) -> Tensors:
    """What a piece is answered with. `flags`: START, END."""
    inputs = {"audio": samples, SEQUENCE: text_tensor(sequence)}
    inputs |= {flag: np.array([True]) for flag in flags.split()}
    CLIENT.set(client)
    (answer,) = [tensors async for tensors in handler(inputs)]
    return answer


async def test_an_utterance_has_all_of_its_pieces(
    handler: WhisperHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = list[int]()
    hear = handler._recogniser.hear

    def hearing(prior: str = "") -> Any:
        made = hear(prior)
        final = made.final

        async def noted(samples: np.ndarray[Any, Any]) -> Any:
            heard.append(samples.size)
            return await final(samples)

        made.final = noted
        return made

    monkeypatch.setattr(handler._recogniser, "hear", hearing)
    await said(handler, "1", START)
    await said(handler, "1")
    assert "confidence" in await said(handler, "1", END)
    assert heard == [3 * PIECE.size]
    await said(handler, "1", f"{START} {END}")  # the name is free again
    assert heard == [3 * PIECE.size, PIECE.size]


async def test_a_rest_without_its_beginning_has_no_transcript(handler: WhisperHandler) -> None:
    for flags in ("", END):
        with pytest.raises(ForgottenSequence, match=r"sequence 7: .*not be whole; send it again"):
            await said(handler, "7", flags)
    await said(handler, "7", START)
    await said(handler, "7", END)
    with pytest.raises(ForgottenSequence):
        await said(handler, "7", END)


async def test_of_a_hundred_utterances_at_once_none_is_pushed_out(handler: WhisperHandler) -> None:
    begun = 0
    with pytest.raises(TooManyStreams, match="clients without a name have 64 utterances"):
        for begun in range(100):
            await said(handler, str(begun), START)
    assert begun == 64
    await said(handler, "another", START, client="another")
    for number in range(begun):
        assert "confidence" in await said(handler, str(number), END)


async def test_an_utterance_that_made_room_is_refused_from_then_on(
    handler: WhisperHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    monkeypatch.setattr(handler._utterances, "_clock", clock)
    for number in range(64):
        await said(handler, str(number), START)
        clock.advance(0.1)
    clock.advance(10.0)
    for number in range(2, 64):
        await said(handler, str(number))
    await said(handler, "new", START)
    with pytest.raises(ForgottenSequence):
        await said(handler, "0", END)
    assert "confidence" in await said(handler, "1", END)


@pytest.mark.parametrize(
    ("samples", "error"),
    [
        (np.zeros(0, np.float32), EmptyAudio),
        (np.full(160, np.nan, np.float32), InvalidSamples),
        (np.zeros(int(16000 * LONGEST_AUDIO_S), np.float32), AudioTooLong),
    ],
)
async def test_once_a_piece_was_refused_so_are_those_after_it(
    handler: WhisperHandler, samples: np.ndarray[Any, Any], error: type[VoxturnError]
) -> None:
    await said(handler, "1", START)
    with pytest.raises(error):
        await said(handler, "1", samples=samples)
    with pytest.raises(ForgottenSequence):
        await said(handler, "1", END)


async def test_all_utterances_together_hold_so_much_audio(
    handler: WhisperHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("voxturn.runtime.serving.whisper._MOST_HELD_S", 0.25)
    await said(handler, "1", START)
    await said(handler, "2", START)
    with pytest.raises(TooManyStreams, match="hold 0 s of audio; try again later"):
        await said(handler, "3", START)
    assert "confidence" in await said(handler, "1", END, samples=PIECE[:100])
    assert "confidence" in await said(handler, "3", f"{START} {END}")


async def test_clients_may_choose_the_same_name_and_none_begins_twice(
    handler: WhisperHandler,
) -> None:
    await said(handler, "1", START, client="a")
    await said(handler, "1", START, client="b")
    with pytest.raises(UsageError, match="sequence 1: has begun already"):
        await said(handler, "1", START, client="a")
    for client in "ab":
        assert "confidence" in await said(handler, "1", END, client=client)
