"""Text models that are decoders alone (Qwen3, Llama, SmolLM2): a dialogue to its answer's text,
token by token."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import AsyncGenerator, Callable, Sequence
from copy import copy
from dataclasses import replace
from pathlib import Path

from voxturn.runtime.decode.generation import Request
from voxturn.runtime.decode.sampler import Sampling
from voxturn.runtime.decode.service import TokenService
from voxturn.runtime.errors import CorruptModel, InvalidProfile, UsageError
from voxturn.runtime.families.base import Candidate, Family, Parts, Replier
from voxturn.runtime.families.options import ReplyOptions, ReplyReport
from voxturn.runtime.messages import Message, ReplyToken, ToolCall, ToolSpec
from voxturn.runtime.models.manifest import OPENS_THOUGHT, Manifest, reading
from voxturn.runtime.text.chat import Chat, ChatFormat
from voxturn.runtime.text.tokenizer import JsonTokenizer, StopStrings, StreamDecoder, Tokenizer
from voxturn.runtime.text.tool_calls import CallParser

SLOTS, CONTEXT = 2, 2048
"""Sequences at once, and positions of each, where a profile does not say."""


class DecoderReplier:
    """A `Replier`. The engine's slots keep each dialogue's keys and values, so a turn pays for what
    is new.

    `script`, where it is set, says which tokens the answer to a dialogue has, whatever the model
    would choose: everything is computed all the same. For measurements on synthetic weights.
    `opens_thought`: as `OpensThought` says.
    """

    def __init__(
        self,
        service: TokenService,
        tokenizer: Tokenizer,
        chat: Chat,
        sampling: Sampling,
        max_tokens: int,
        stops: Sequence[str] = (),
        opens_thought: bool = False,
    ) -> None:
        self.opens_thought = opens_thought
        self.service = service
        self.tokenizer = tokenizer
        self.chat = chat
        self._sampling = sampling
        self._max_tokens = max_tokens
        self._stops = tuple(stops)
        self.script: Callable[[Sequence[Message]], Sequence[int]] | None = None
        self._report = ReplyReport()

    def using(self, options: ReplyOptions, report: ReplyReport) -> DecoderReplier:
        """The same engine with other options, for one answer; of its context the answer has half at
        most. Raises `UsageError` for sampling that there is not."""
        other = copy(self)
        sampling = options.given()
        most = sampling.pop("max_tokens", self._max_tokens)
        other._max_tokens = min(most, self.service.capacity // 2)
        other._stops = (*self._stops, *sampling.pop("stops", ()))
        other._sampling = replace(self._sampling, **sampling)
        other._report = report
        return other

    @property
    def takes_tools(self) -> bool:
        """As `TakesTools` says."""
        return self.chat.takes_tools

    async def warm(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> None:
        """Compute and keep a beginning that dialogues share: the system prompt."""
        if ids := self.chat.beginning(messages, tools):
            await self.service.keep(Request(ids))

    def fitted(self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()) -> list[Message]:
        """The dialogue without its oldest turns, if it has become too long for the model with an
        answer to come.

        Turns go whole and the system prompt stays. Enough of them go at once to fill half of the
        context at most: what is left has to be computed again, which should be rare.
        """
        room = self.service.capacity - self._max_tokens
        whole = list(messages)
        if len(self.chat.prompt(whole, tools)) <= room:
            return whole
        system = 1 if whole[0].role == "system" else 0
        questions = [i for i in range(system + 1, len(whole)) if whole[i].role == "user"]

        def later(begin: int) -> list[Message]:
            return whole[:system] + whole[begin:]

        begins = [system, *questions]
        fewest = bisect_left(
            begins,
            True,
            key=lambda begin: len(self.chat.prompt(later(begin), tools)) <= room // 2,
        )
        # the last question alone, if need be: the engine says if it is too long
        return later(begins[min(fewest, len(begins) - 1)])

    async def __call__(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec] = ()
    ) -> AsyncGenerator[ReplyToken | ToolCall, None]:
        """The answer to a dialogue that ends with the user's message, or with results of calls."""
        prompt, stops = self.chat.prompt(messages, tools), self.chat.stop_ids
        text, ending = (
            StreamDecoder(self.chat.shown if tools else self.tokenizer),
            StopStrings(self._stops),
        )
        answer = _Answer(self.chat.calls(self.opens_thought) if tools else None)
        forced = self.script(messages) if self.script is not None else ()
        request = Request(prompt, self._sampling, stops, self._max_tokens, forced=forced)
        report = self._report
        report.prompt_tokens, report.completion_tokens = len(prompt), 0
        steps = self.service.stream(request)
        try:
            async for step in steps:
                if step.stop:
                    break
                report.completion_tokens += 1
                for item in answer.push(ending.push(text.push(step.token)), step.token):
                    yield item
                if ending.hit:
                    break
            else:
                report.full = True
            for item in answer.flush(ending.push(text.flush()) + ending.flush()):
                yield item
        finally:
            await steps.aclose()


class _Answer:
    """Pieces of an answer's text as its text and its calls, with the tokens that they are of."""

    def __init__(self, calls: CallParser | None) -> None:
        self._calls = calls
        self._ids: list[int] = []

    def push(self, text: str, token: int) -> list[ReplyToken | ToolCall]:
        self._ids.append(token)
        return self._items(self._parsed(text)) if text else []

    def flush(self, text: str) -> list[ReplyToken | ToolCall]:
        """What is left; of an answer with calls also the tokens that are no text."""
        items = self._parsed(text) if text else []
        if self._calls is None:
            return self._items(items)
        items += self._calls.flush()
        return self._items(items or ([""] if self._ids else []))

    def _parsed(self, text: str) -> list[str | ToolCall]:
        return [text] if self._calls is None else self._calls.push(text)

    def _items(self, items: list[str | ToolCall]) -> list[ReplyToken | ToolCall]:
        """The first of them has the tokens so far."""
        out: list[ReplyToken | ToolCall] = []
        for item in items:
            ids = tuple(self._ids)
            out.append(ReplyToken(item, ids) if isinstance(item, str) else replace(item, ids=ids))
            self._ids.clear()
        return out


def as_decoder(replier: Replier) -> DecoderReplier:
    """A replier whose tokens come from a token engine. Raises `UsageError` for another."""
    if not isinstance(replier, DecoderReplier):
        raise UsageError("this replier has no token engine; name a text model")
    return replier


def _make(parts: Parts) -> DecoderReplier:
    stage = parts.stage("reply")
    service = stage.tokens(
        "token_decoder", stage.option("slots", SLOTS), stage.option("context", CONTEXT)
    )
    tokenizer = JsonTokenizer(stage.folder / "tokenizer.json")
    form = _chat_format(stage.folder, stage.manifest)
    chat = Chat(tokenizer, form)
    sampling = Sampling(
        temperature=stage.option("temperature", 0.0),
        top_k=stage.option("top_k", 0),
        top_p=stage.option("top_p", 1.0),
        min_p=stage.option("min_p", 0.0),
        repetition_penalty=stage.option("repetition_penalty", 1.0),
        seed=stage.option("seed", 0),
    )
    settings = stage.settings
    stops = (*settings.stops, *form.stop_texts)
    return DecoderReplier(
        service,
        tokenizer,
        chat,
        sampling,
        settings.max_tokens,
        stops,
        _opens_thought(stage.folder, stage.manifest),
    )


def _chat_format(folder: Path, manifest: Manifest) -> ChatFormat:
    with reading(folder):
        return ChatFormat.of(manifest.properties)


def _opens_thought(folder: Path, manifest: Manifest) -> bool:
    """Whether the chat template ends its prompts inside a thought, as the manifest says."""
    value = manifest.properties.get(OPENS_THOUGHT, False)
    if not isinstance(value, bool):
        raise CorruptModel(f"{folder}: opens_thought: must be true or false, not {value!r}")
    return value


def _check(candidate: Candidate) -> None:
    form = _chat_format(candidate.folder, candidate.manifest)
    Chat(JsonTokenizer(candidate.folder / "tokenizer.json"), form)
    _opens_thought(candidate.folder, candidate.manifest)
    settings = candidate.settings
    most = (settings.context or CONTEXT) // 2
    if settings.max_tokens > most:
        raise InvalidProfile(
            f"reply.max_tokens: must be between 1 and {most}, not {settings.max_tokens}; "
            "or give [reply] a larger context"
        )


FAMILY = Family(
    kind="decoder",
    task="text-generation",
    roles={"reply": ("token_decoder",)},
    make=_make,
    options={
        "reply": frozenset(
            {
                "context",
                "max_tokens",
                "min_p",
                "repetition_penalty",
                "seed",
                "slots",
                "stops",
                "temperature",
                "top_k",
                "top_p",
            }
        )
    },
    served={"token_decoder": "qwen3"},
    check=_check,
)
