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
from voxturn.runtime.families.options import HearingOptions
from voxturn.runtime.flow.clock import ManualClock
from voxturn.runtime.flow.fairness import CLIENT
from voxturn.runtime.remote.contract import CANARY, CANCEL, END, LONGEST_AUDIO_S, SEQUENCE, START
from voxturn.runtime.remote.contract import CLIENT as CLIENT_INPUT
from voxturn.runtime.remote.tensors import Tensors, text_tensor
from voxturn.runtime.serving import backend
from voxturn.runtime.serving.backend import Backend
from voxturn.runtime.serving.whisper import WhisperHandler

from tests.artifacts import FakeBackends, all_kinds, on_cpu
from tests.triton_fakes import Asked, Utilities

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


@pytest.mark.parametrize(
    ("piece", "refusal"),
    [
        ({"audio": np.ones((1, 160), np.float32)}, "UsageError: whisper: input 'audio' must have"),
        ({"audio": np.ones(160, np.float64)}, "UsageError: whisper: input 'audio' must be"),
        ({"audio": np.ones(4_800_001, np.float32)}, "AudioTooLong: whisper: "),
        ({}, "UsageError: whisper: needs input audio"),
        ({"audio": PIECE, CANARY: np.ones(2, bool)}, "UsageError: whisper: input 'canary' must"),
    ],
)
def test_a_piece_that_no_model_takes_leaves_no_hole(
    handler: WhisperHandler, piece: dict[str, np.ndarray[Any, Any]], refusal: str
) -> None:
    """Whatever it is refused for, those after it are refused as well: of its own client."""
    served = Backend(Utilities, "whisper", handler)

    def error(client: str, flag: int, inputs: dict[str, np.ndarray[Any, Any]]) -> str:
        asked = Asked(inputs | {CLIENT_INPUT: text_tensor(client)}, sequence=7, flag=flag)
        served.execute([asked])
        assert asked.sender.done.wait(10)
        return asked.sender.sent[-1][0][1] or ""

    for client in ("me", "you"):
        assert error(client, 1, {"audio": PIECE}) == ""
    assert error("me", 0, piece).startswith(refusal)
    assert error("me", 2, {"audio": PIECE}).startswith("ForgottenSequence: sequence 7: ")
    assert error("you", 2, {"audio": PIECE}) == ""
    served.close()


def test_a_piece_that_there_is_no_room_for_leaves_no_hole(
    handler: WhisperHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Backend(Utilities, "whisper", handler)
    pieces = [Asked({"audio": PIECE}, sequence=7, flag=flag) for flag in (1, 0, 2)]
    for piece, most in zip(pieces, (256, 0, 256), strict=True):
        monkeypatch.setattr(backend, "MOST_UNNAMED", most)
        served.execute([piece])
        assert piece.sender.done.wait(10)
    errors = [(piece.sender.sent[-1][0][1] or "").split(":")[0] for piece in pieces]
    assert errors == ["", "TooManyStreams", "ForgottenSequence"]
    served.close()


def test_an_utterance_that_is_left_makes_room(handler: WhisperHandler) -> None:
    served = Backend(Utilities, "whisper", handler)
    pieces = [Asked({"audio": PIECE}, sequence=number, flag=1) for number in (7, 8)]
    left = Asked({CANCEL: text_tensor("")}, sequence=7, flag=2)
    rest = [Asked({"audio": PIECE}, sequence=number, flag=2) for number in (7, 8)]
    for request in (*pieces, left, *rest):
        served.execute([request])
        assert request.sender.done.wait(10)
    assert left.sender.sent[-1][0][1] is None
    errors = [(piece.sender.sent[-1][0][1] or "").split(":")[0] for piece in rest]
    assert errors == ["ForgottenSequence", ""]
    served.close()


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


async def test_a_recording_has_options_of_its_own(
    handler: WhisperHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[HearingOptions]()
    using = handler._whisper.using

    def noted(options: HearingOptions) -> Any:
        asked.append(options)
        return using(HearingOptions(options.language))

    monkeypatch.setattr(handler._whisper, "using", noted)
    inputs = {"audio": PIECE, "language": text_tensor("en")}
    table = '{"names": ["Ada"], "prompt": "They met.", "translate": true}'
    for more in ({}, {"options": text_tensor(table)}):
        assert [tensors async for tensors in handler(inputs | more)]
    assert asked == [HearingOptions("en"), HearingOptions("en", ("Ada",), "They met.", True)]
    for wrong in ('{"names": "Ada"}', '{"style": "x"}', "no"):
        with pytest.raises(UsageError):
            _ = [t async for t in handler(inputs | {"options": text_tensor(wrong)})]
