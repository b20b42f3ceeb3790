"""XTTS's prompts for the token engine: a voice's latents, a text's tokens, the audio codes that
follow.

Input ids are composite (`export.decoder`): `position * stride + token`. Tokens count text, then
audio codes, then a zero row, after which come the rows of the voice's latents. Positions count a
zero row, then text, then audio. Source: coqui-tts 0.28, `layers/xtts/gpt.py` (`compute_embeddings`,
`generate`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.decode.generation import Follow, Request
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.errors import CorruptModel, PromptTooLong
from voxturn.runtime.models.manifest import whole

LATENTS = 32
"""Of every voice of XTTS v2; one of v1.1 has a latent for each frame of what it was cloned from."""
_PREFIX_ID = 1
"""What the repetition penalty sees in place of the prompt's ids: upstream fills them with ones."""


@dataclass(frozen=True)
class XttsIds:
    """The sizes and ids of a checkpoint, from its artifact's properties."""

    stride: int
    text_tokens: int
    audio_tokens: int
    start_text: int
    stop_text: int
    start_audio: int
    stop_audio: int
    max_text: int
    max_codes: int
    max_latents: int = LATENTS

    @classmethod
    def from_properties(cls, p: Mapping[str, Any]) -> XttsIds:
        """Raises `CorruptModel` if one is missing."""
        try:
            return cls(
                stride=whole(p, "id_stride"),
                text_tokens=whole(p, "gpt_number_text_tokens"),
                audio_tokens=whole(p, "gpt_num_audio_tokens"),
                start_text=whole(p, "gpt_start_text_token", 0),
                stop_text=whole(p, "gpt_stop_text_token", 0),
                start_audio=whole(p, "gpt_start_audio_token", 0),
                stop_audio=whole(p, "gpt_stop_audio_token", 0),
                max_text=whole(p, "gpt_max_text_tokens"),
                max_codes=whole(p, "gpt_max_audio_tokens", 4) - 3,
                max_latents=whole(p, "max_latents") if "max_latents" in p else LATENTS,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as exc:
            raise CorruptModel(f"the artifact of the voice lacks {exc}; export it again") from exc

    @property
    def positions(self) -> int:
        """How many positions the longest prompt with the longest answer takes."""
        return self.max_latents + self.max_text + 2 + self.max_codes + 1

    def knows(self, input_id: int) -> bool:
        """Whether the graph's tables have a row for an input id, a voice's latents included."""
        position, token = divmod(input_id, self.stride)
        known = self.text_tokens + self.audio_tokens + 1 + self.max_latents
        return token < known and position <= 1 + self.max_text + 2 + self.max_codes

    def voice(self, latents: int) -> list[int]:
        """The ids of a voice's `latents`, which are rows of their own."""
        return [self.text_tokens + self.audio_tokens + 1 + i for i in range(latents)]

    def text(self, tokens: Sequence[int], closed: bool = True) -> list[int]:
        """The ids of a text's tokens between start and stop; without the stop where the text is not
        `closed`."""
        if len(tokens) > self.max_text:
            raise PromptTooLong(
                f"the text has {len(tokens)} tokens, the voice takes {self.max_text}; split it"
            )
        whole = [self.start_text, *tokens] + ([self.stop_text] if closed else [])
        return [(1 + position) * self.stride + token for position, token in enumerate(whole)]

    def code(self, token: int, index: int) -> int:
        """The id of the index-th audio token (0: start)."""
        return self.follow(token, index)

    @property
    def follow(self) -> Follow:
        """The ids of audio tokens."""
        return Follow((1 + self.max_text + 2) * self.stride + self.text_tokens, self.stride)


@dataclass(frozen=True)
class SpeechOptions:
    """How a text is spoken.

    `guarded`: the stop's probability is reported with every code. The first `urgent` codes go ahead
    of other work.
    """

    sampling: Sampling
    forced: Sequence[int] = ()
    guarded: bool = True
    urgent: int = 0


def speech(
    ids: XttsIds,
    voice: str,
    latents: npt.NDArray[np.float32],
    tokens: Sequence[int],
    o: SpeechOptions,
) -> Request:
    """The request that speaks a text. `voice` names whose `latents` `[count, width]` they are."""
    prompt = [*ids.voice(len(latents)), *ids.text(tokens), ids.code(ids.start_audio, 0)]
    history = [_PREFIX_ID] * (len(prompt) - 1) + [ids.start_audio]
    stops = () if o.forced else (ids.stop_audio,)
    most = len(o.forced) or ids.max_codes
    watch = ids.stop_audio if o.guarded else None
    rows = rows_of(latents)
    return Request(
        prompt, o.sampling, stops, most, voice, rows, history, ids.follow, watch, o.forced, o.urgent
    )


def beginning(
    ids: XttsIds, voice: str, latents: npt.NDArray[np.float32], tokens: Sequence[int] = ()
) -> Request:
    """The request that only computes what prompts of a voice share: its latents and the text so
    far."""
    text = ids.text(tokens, closed=False) if tokens else []
    known = [*ids.voice(len(latents)), *text]
    return Request(known, max_tokens=0, namespace=voice, rows=rows_of(latents))


def rows_of(latents: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The engine's extra rows: a zero row, then the latents."""
    return np.concatenate([np.zeros_like(latents[:1]), latents])
