"""The served Whisper: whole recordings, utterances piece by piece, and the calls of an engine."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import AsyncGenerator
from dataclasses import asdict
from typing import Any

import numpy as np
from voxturn.runtime.errors import AudioTooLong, ForgottenWindow, UsageError
from voxturn.runtime.families.whisper.hearing import WhisperRecogniser, as_whisper
from voxturn.runtime.frames import RATE
from voxturn.runtime.messages import Samples, Speaking, Transcript
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import Profile
from voxturn.runtime.remote.contract import END, LONGEST_AUDIO_S, REQUEST, SEQUENCE
from voxturn.runtime.remote.requests import json_of
from voxturn.runtime.remote.tensors import Tensors, of_event, text_tensor
from voxturn.runtime.serving.inputs import Inputs, audio_of, string
from voxturn.runtime.serving.kept import Expiring
from voxturn.runtime.turn.recognise import FilteredHearing, FilteredRecogniser

_WINDOWS, _SEQUENCES = 32, 64
_MOST_FRAMES, _MOST_TOKENS = 3000, 448


class WhisperHandler:
    """`audio` to `text`, `language` and `confidence`, all of it in `event`. `words` asks for their times.
    An empty `language` is the profile's, "auto" asks the model, nudged towards `prior`.

    Pieces of one sequence (`correlation`) are one utterance: each is answered with what was said so far, of which
    `stable` is not taken back; the last one with the final transcript. `request` asks the engine itself (`calls`).
    """

    engine = None

    def __init__(self, profile: Profile) -> None:
        self._parts = LoadedParts(profile)
        try:
            self._whisper = as_whisper(self._parts.recogniser())
            self._filter = self._parts.content_filter()
            self._recogniser = FilteredRecogniser(self._whisper, self._filter)
        except BaseException:
            self._parts.close()
            raise
        self._calls = WhisperCalls(self._whisper)
        self._sequences: Expiring[list[Samples]] = Expiring(list, most=_SEQUENCES)
        self._hearings: Expiring[FilteredHearing] = Expiring(self._recogniser.hear, most=_SEQUENCES)

    async def warm(self) -> None:
        await self._recogniser.warm()

    async def __call__(self, inputs: Inputs) -> AsyncGenerator[Tensors, None]:
        if REQUEST in inputs:
            yield await self._calls(inputs)
        elif SEQUENCE in inputs:
            yield await self._piece(inputs)
        else:
            recogniser, words = self._recogniser, "words" in inputs and bool(inputs["words"][0])
            if language := string(inputs, "language"):
                recogniser = FilteredRecogniser(self._whisper.using(language), self._filter)
            prior = string(inputs, "prior")
            yield _heard(await recogniser.transcribe(audio_of(inputs), prior, words))

    def describe(self) -> dict[str, Any]:
        executor = self._whisper.whisper.executor
        return asdict(self._parts.info["transcribe"]) | {
            "multilingual": executor.multilingual,
            "aligns": executor.aligns,
            "mels": executor.mels,
        }

    def close(self) -> None:
        self._parts.close()

    async def _piece(self, inputs: Inputs) -> Tensors:
        """The next piece of an utterance, whose name is `sequence`; `end`: it is the last."""
        name, piece = string(inputs, SEQUENCE), audio_of(inputs)
        pieces, hearing = self._sequences.of(name), self._hearings.of(name)
        if sum(each.size for each in pieces) + piece.size > LONGEST_AUDIO_S * RATE:
            self._sequences.forget(name)
            self._hearings.forget(name)
            raise AudioTooLong(
                f"a sequence may have {LONGEST_AUDIO_S:.0f} s of audio; end it and begin another"
            )
        pieces.append(piece)
        samples = np.concatenate(pieces)
        if END in inputs:
            self._sequences.forget(name)
            self._hearings.forget(name)
            return _heard(await hearing.final(samples))
        found = await hearing.partial(Speaking((samples,), RATE, 0))
        if found is None:
            return {"text": text_tensor(""), "stable": text_tensor("")}
        return {
            "text": text_tensor(found.stable + found.unstable),
            "stable": text_tensor(found.stable),
            "language": text_tensor(found.language),
            **of_event(found),
        }


class WhisperCalls:
    """The calls of a `SpeechToTextExecutor` from a client, for whom an encoded window is a name.

    A name is the hash of what was encoded; the latest windows are kept, and one that is not has to be sent again.
    """

    def __init__(self, recogniser: WhisperRecogniser) -> None:
        self._executor = recogniser.whisper.executor
        self._lane = recogniser.lane
        self._vocabulary = recogniser.whisper.tokenizer.size
        self._kept: OrderedDict[str, Any] = OrderedDict()

    async def __call__(self, inputs: Inputs) -> Tensors:
        about = json_of(inputs)
        try:
            return {
                "answer": text_tensor(
                    json.dumps(await self._lane.run(self._answer, about, inputs.get("features")))
                )
            }
        except (KeyError, TypeError, ValueError) as exc:
            raise UsageError(f"request: not a call of Whisper's ({exc})") from exc

    def _answer(self, about: dict[str, Any], features: np.ndarray[Any, Any] | None) -> Any:
        executor, call, name = self._executor, about["call"], str(about["name"])
        if features is not None and (
            features.shape[0] != executor.mels or not 1 < features.shape[1] <= _MOST_FRAMES
        ):
            raise ValueError(f"features must be [{executor.mels}, at most {_MOST_FRAMES}]")
        if call == "encode" and features is not None:
            self._keep(name, executor.encode(np.asarray(features, np.float32)))
            return {}
        if call == "extend":
            own, other = self._of(name), self._of(str(about["other"]))
            self._keep(str(about["result"]), executor.extend(own, other, int(about["positions"])))
            return {}
        if call not in ("generate", "detect_language", "align"):
            raise ValueError(f"no call {call!r}")
        encoded, prompt = self._of(name), [int(i) for i in about.get("prompt", ())]
        numbers = [
            *prompt,
            *(int(i) for i in about.get("ids", ())),
            int(about.get("max_tokens", 1)) - 1,
        ]
        if len(numbers) > 2 * _MOST_TOKENS or not all(0 <= i < self._vocabulary for i in numbers):
            raise ValueError("ids that this model does not have")
        if int(about.get("max_tokens", 1)) > _MOST_TOKENS:
            raise ValueError(f"max_tokens must be at most {_MOST_TOKENS}")
        if call == "generate":
            return asdict(executor.generate(encoded, prompt, int(about["max_tokens"])))
        if call == "detect_language":
            return executor.detect_language(encoded)
        return executor.align(
            encoded, prompt, [int(i) for i in about["ids"]], int(about["positions"])
        )

    def _keep(self, name: str, encoded: Any) -> None:
        self._kept[name] = encoded
        self._kept.move_to_end(name)
        while len(self._kept) > _WINDOWS:
            self._kept.popitem(last=False)

    def _of(self, name: str) -> Any:
        if name not in self._kept:
            raise ForgottenWindow(f"window {name[:12]} is not kept any more; encode it again")
        self._kept.move_to_end(name)
        return self._kept[name]


def _heard(found: Transcript) -> Tensors:
    return {
        "text": text_tensor(found.text),
        "stable": text_tensor(found.text),
        "language": text_tensor(found.language),
        "confidence": np.array([found.confidence], np.float32),
        **of_event(found),
    }
