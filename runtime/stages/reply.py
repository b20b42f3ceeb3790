"""Reply: a dialogue in, the answer's text out, token by token."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from voxturn.runtime.decode.engine import Request
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.decode.service import DecodeService
from voxturn.runtime.messages import ReplyToken
from voxturn.runtime.text.chat import ChatMl, Message
from voxturn.runtime.text.tokenizer import StopStrings, StreamDecoder, Tokenizer


class Reply:
    """The stage. The engine's slots keep each dialogue's keys and values, so a turn pays for what is new."""

    def __init__(
        self,
        service: DecodeService,
        tokenizer: Tokenizer,
        chat: ChatMl,
        sampling: Sampling,
        max_tokens: int,
        stops: Sequence[str] = (),
    ) -> None:
        self._service, self._tokenizer, self._chat = service, tokenizer, chat
        self._sampling, self._max_tokens, self._stops = sampling, max_tokens, tuple(stops)

    async def warm(self, messages: Sequence[Message]) -> None:
        """Compute and keep a beginning that dialogues share: the system prompt."""
        ids = [token for message in messages for token in self._chat.message(message)]
        if ids:
            await self._service.keep(Request(ids))

    async def __call__(self, messages: Sequence[Message]) -> AsyncGenerator[ReplyToken, None]:
        """The answer to a dialogue that ends with the user's message."""
        text, stops = StreamDecoder(self._tokenizer), StopStrings(self._stops)
        request = Request(self._chat.prompt(messages), self._sampling, self._chat.stop_ids, self._max_tokens)
        steps = self._service.stream(request)
        try:
            async for step in steps:
                if step.stop:
                    break
                if piece := stops.push(text.push(step.token)):
                    yield ReplyToken(piece)
                if stops.hit:
                    return
            if rest := stops.push(text.flush()) + stops.flush():
                yield ReplyToken(rest)
        finally:
            await steps.aclose()
