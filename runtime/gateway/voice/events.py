"""The events of a session and its traces as messages of the voice endpoint. Pure."""

from __future__ import annotations

from typing import Any

from voxturn.runtime import messages as turn
from voxturn.runtime.gateway.errors import ApiError, api_error
from voxturn.runtime.gateway.voice import messages as wire
from voxturn.runtime.turn.listen import RATE
from voxturn.runtime.turn.trace import Trace


def event_of(event: turn.SessionEvent, number: int, scale: float) -> wire.ServerEvent | None:
    """An event of the answer `number` as it is sent; None for one that is sent otherwise.

    `scale`: samples of the output for each of the voice.
    """
    match event:
        case turn.SpeechStarted(at):
            return wire.SpeechStarted(at_ms=round(1000 * at / RATE, 1), at=at)
        case turn.Partial(stable, unstable, language, start):
            return wire.Partial(stable=stable, unstable=unstable, language=language, start=start)
        case turn.Transcript():
            words = [wire.Word(each.text, each.begin_s, each.end_s) for each in event.words]
            return wire.Transcript(
                text=event.text,
                language=event.language,
                turn=number,
                confidence=event.confidence,
                filtered=list(event.filtered),
                words=words,
            )
        case turn.ReplyToken(text):
            return wire.ReplyDelta(text=text, turn=number) if text else None
        case turn.ToolCall():
            return wire.ToolCall(
                call_id=event.id, name=event.name, arguments=dict(event.arguments), turn=number
            )
        case turn.Sentence():
            return sentence_of(event, number)
        case turn.Paused():
            return wire.Paused()
        case turn.Resumed(at):
            return wire.Resumed(at=round(at * scale))
        case turn.Interrupted(heard, reason):
            return wire.Interrupted(heard=heard, reason=reason, turn=number)
        case turn.SessionError(error):
            return error_of(api_error(error))
    return None


def sentence_of(sentence: turn.Sentence, number: int) -> wire.Sentence:
    """A sentence of the answer, or text, `number`."""
    return wire.Sentence(
        index=sentence.index,
        text=sentence.text,
        turn=number,
        style=sentence.style,
        language=sentence.language,
        filtered=list(sentence.filtered),
        refusal=sentence.refusal,
        filler=sentence.filler,
    )


def error_of(error: ApiError) -> wire.Error:
    """An error as it is sent."""
    told = error.to_dict()
    return wire.Error(
        code=told["code"] or "invalid_request",
        message=told["message"],
        param=told["param"] or "",
        retry_after_s=error.retry_after_s,
    )


def turn_done(trace: Trace, cut: bool, dropped_s: float) -> wire.TurnDone:
    """What is told of a turn that is over; `cut`: its answer was not heard to its end."""
    told = trace.to_dict()
    times: dict[str, Any] = {
        name: told["times_ms"].get(name) for name in wire.Times.__struct_fields__
    }
    return wire.TurnDone(
        heard=told["heard_reply"],
        outcome="cut" if cut and told["outcome"] != "error" else told["outcome"],
        response_ms=told["response_ms"],
        times_ms=wire.Times(**times),
        audio_ms=told["audio_ms"],
        underruns=told["underruns"],
        dropped_ms=round(1000 * dropped_s, 1),
    )
