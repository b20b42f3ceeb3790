"""Reply: a dialogue in, the answer's text out, token by token."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence

from voxturn.runtime.decode.engine import DecodeEngine
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.handoff import Lane
from voxturn.runtime.messages import ReplyToken
from voxturn.runtime.text.chat import ChatMl, Message
from voxturn.runtime.text.tokenizer import StopStrings, StreamDecoder, Tokenizer


class Reply:
    """The stage. The engine's slots keep each dialogue's keys and values, so a turn pays for what is new."""

    def __init__(
        self,
        engine: DecodeEngine,
        tokenizer: Tokenizer,
        chat: ChatMl,
        lane: Lane,
        sampling: Sampling,
        max_tokens: int,
        stops: Sequence[str] = (),
    ) -> None:
        self._engine, self._tokenizer, self._chat, self._lane = engine, tokenizer, chat, lane
        self._sampling, self._max_tokens, self._stops = sampling, max_tokens, tuple(stops)

    async def warm(self, messages: Sequence[Message]) -> None:
        """Compute a beginning that later dialogues share: the system prompt."""
        ids = [token for message in messages for token in self._chat.message(message)]
        if ids:
            await self._lane.run(self._engine.prefill, ids)

    def __call__(self, messages: Sequence[Message]) -> AsyncGenerator[ReplyToken, None]:
        """The answer to a dialogue that ends with the user's message."""
        prompt = self._chat.prompt(messages)
        return self._lane.stream(lambda: self._tokens(prompt))

    def _tokens(self, prompt: Sequence[int]) -> Iterator[ReplyToken]:
        text, stops = StreamDecoder(self._tokenizer), StopStrings(self._stops)
        for token in self._engine.generate(prompt, self._sampling, self._chat.stop_ids, self._max_tokens):
            if piece := stops.push(text.push(token)):
                yield ReplyToken(piece)
            if stops.hit:
                return
        if rest := stops.push(text.flush()) + stops.flush():
            yield ReplyToken(rest)
