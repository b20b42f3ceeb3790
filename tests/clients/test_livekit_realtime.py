"""LiveKit's own realtime model for OpenAI against the gateway."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np
from clients.conftest import ASKED, LONG, MOST_S, RATE, Pcm, heard, pieces, words
from livekit import rtc
from livekit.agents import function_tool, llm
from livekit.plugins import openai
from openai.types.realtime.realtime_audio_input_turn_detection import ServerVad


def frames(sound: Pcm) -> list[rtc.AudioFrame]:
    """Sound as a microphone's frames of 20 ms."""
    return [rtc.AudioFrame(piece, RATE, 1, len(piece) // 2) for piece in pieces(sound)]


class Talk:
    """A realtime session, and what it has told."""

    def __init__(self, session: openai.realtime.RealtimeSession) -> None:
        self.session = session
        self.told: list[tuple[str, Any]] = []
        self.server: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        for name in (
            "input_speech_started",
            "input_speech_stopped",
            "input_audio_transcription_completed",
            "generation_created",
            "metrics_collected",
            "session_reconnected",
            "error",
        ):
            session.on(name, lambda event, name=name: self._tell(name, event))
        session.on("openai_server_event_received", self._receive)

    def _tell(self, name: str, event: Any) -> None:
        self.told.append((name, event))
        self._news.set()

    def _receive(self, event: dict[str, Any]) -> None:
        self.server.append(event)
        self._news.set()

    async def until(self, find: Callable[[], Any]) -> Any:
        """What is found among all that was told, as soon as it is."""
        async with asyncio.timeout(MOST_S):
            while not (found := find()):
                self._news.clear()
                await self._news.wait()
        return found

    def of(self, name: str) -> list[Any]:
        return [event for told, event in self.told if told == name]

    def received(self, kind: str) -> list[dict[str, Any]]:
        return [event for event in self.server if event["type"] == kind]

    async def event(self, kind: str, number: int = 0) -> dict[str, Any]:
        """The server's event of a type, the first, second, …, once it has come."""
        await self.until(lambda: len(self.received(kind)) > number)
        return self.received(kind)[number]

    async def generation(self, number: int = 0) -> llm.GenerationCreatedEvent:
        await self.until(lambda: len(self.of("generation_created")) > number)
        return self.of("generation_created")[number]

    def ask(self, sound: Pcm) -> None:
        for frame in frames(sound):
            self.session.push_audio(frame)


class Answer:
    """What one generation said."""

    def __init__(self) -> None:
        self.message_id = ""
        self.text = ""
        self.pcm = b""
        self.times: list[float] = []
        self.calls: list[llm.FunctionCall] = []
        self.sounds = asyncio.Event()

    @classmethod
    async def of(cls, generation: llm.GenerationCreatedEvent) -> Answer:
        answer = cls()
        async with asyncio.timeout(MOST_S):
            await answer.take(generation)
        return answer

    async def take(self, generation: llm.GenerationCreatedEvent) -> None:
        async for message in generation.message_stream:
            self.message_id = message.message_id
            async with asyncio.TaskGroup() as group:
                group.create_task(self._read(message))
                group.create_task(self._hear(message))
        self.calls = [call async for call in generation.function_stream]

    async def _read(self, message: llm.MessageGeneration) -> None:
        async for text in message.text_stream:
            self.text += text
            if (time := getattr(text, "start_time", None)) is not None:
                self.times.append(time)

    async def _hear(self, message: llm.MessageGeneration) -> None:
        async for frame in message.audio_stream:
            self.pcm += frame.data.tobytes()
            self.sounds.set()


@asynccontextmanager
async def talking(url: str, **options: Any) -> AsyncIterator[Talk]:
    """A session; it may tell no error, and has to end well."""
    async with aiohttp.ClientSession() as http:
        model = openai.realtime.RealtimeModel(
            base_url=url, api_key="none", http_session=http, **options
        )
        talk = Talk(model.session())
        try:
            yield talk
        finally:
            await talk.session.aclose()
            await model.aclose()
    assert talk.of("error") == []
    assert talk.of("session_reconnected") == []


async def test_a_question_is_heard_and_answered_aloud(base_url: str, question: Pcm) -> None:
    async with talking(base_url) as talk:
        talk.ask(np.concatenate([question, np.zeros(4 * RATE, np.int16)]))
        generation = await talk.generation()
        assert not generation.user_initiated
        answer = await Answer.of(generation)
        await talk.event("response.done")
        transcripts = talk.of("input_audio_transcription_completed")
        assert [words(each.transcript) for each in transcripts if each.is_final] == [ASKED]
        assert len(talk.of("input_speech_started")) == len(talk.of("input_speech_stopped")) == 1
        assert "paris" in words(answer.text)
        assert await heard(base_url, answer.pcm) == words(answer.text)
        assert answer.times == sorted(answer.times)
        assert 0 <= answer.times[0] <= answer.times[-1] < len(answer.pcm) / 2 / RATE
        texts = [item.text_content for item in talk.session.chat_ctx.items]
        assert [words(text or "") for text in texts] == [ASKED, words(answer.text)]
        used = [each for each in talk.of("metrics_collected") if getattr(each, "total_tokens", 0)]
        assert used[-1].input_tokens > 0
        assert used[-1].output_tokens > 0


async def test_a_reply_is_asked_for(base_url: str) -> None:
    async with talking(base_url) as talk:
        chat = llm.ChatContext.empty()
        chat.add_message(role="user", content="What is the capital of France?")
        await talk.session.update_chat_ctx(chat)
        await talk.session.update_instructions("You are a helpful assistant.")
        reply = await talk.session.generate_reply(instructions="Give short answers.")
        assert reply.user_initiated
        answer = await Answer.of(reply)
        assert "paris" in words(answer.text)
        assert await heard(base_url, answer.pcm) == words(answer.text)


async def test_a_session_of_text(base_url: str) -> None:
    async with talking(base_url, modalities=["text"]) as talk:
        chat = llm.ChatContext.empty()
        chat.add_message(role="user", content="What is the capital of France?")
        await talk.session.update_chat_ctx(chat)
        answer = await Answer.of(await talk.session.generate_reply())
    assert "Paris" in answer.text
    assert answer.pcm == b""


async def test_the_history_is_kept_as_the_client_wants_it(base_url: str) -> None:
    async with talking(base_url, modalities=["text"]) as talk:
        chat = llm.ChatContext.empty()
        chat.add_message(role="system", content="Give short answers.")
        first = chat.add_message(role="user", content="What is the capital of Spain?")
        chat.add_message(role="assistant", content="Madrid.")
        last = chat.add_message(role="user", content="And of Italy?")
        await talk.session.update_chat_ctx(chat)
        assert [item.id for item in talk.session.chat_ctx.items] == [i.id for i in chat.items]
        changed = chat.copy()
        changed.items.remove(changed.get_by_id(last.id))
        between = llm.ChatMessage(role="user", content=["Say it again."], id="between")
        changed.items.insert(changed.index_by_id(first.id) + 1, between)
        changed.get_by_id(first.id).content = ["What is the capital of France?"]
        await talk.session.update_chat_ctx(changed)
        assert [item.id for item in talk.session.chat_ctx.items] == [i.id for i in changed.items]
        assert [event["item_id"] for event in talk.received("conversation.item.deleted")]


async def test_an_answer_is_interrupted_and_cut_to_what_was_heard(base_url: str) -> None:
    async with talking(base_url) as talk:
        chat = llm.ChatContext.empty()
        chat.add_message(role="user", content=LONG)
        await talk.session.update_chat_ctx(chat)
        answer = Answer()
        taken = asyncio.create_task(answer.take(await talk.session.generate_reply()))
        async with asyncio.timeout(MOST_S):
            await answer.sounds.wait()
            talk.session.interrupt()
            await taken
        done = (await talk.event("response.done"))["response"]
        assert done["status"] == "cancelled"
        assert done["usage"]["output_token_details"]["audio_tokens"] > 0
        came_ms = len(answer.pcm) * 1000 // 2 // RATE
        for number, ms in enumerate((came_ms, came_ms // 2)):
            talk.session.truncate(
                message_id=answer.message_id, modalities=["audio"], audio_end_ms=ms
            )
            cut = await talk.event("conversation.item.truncated", number)
            assert (cut["item_id"], cut["audio_end_ms"]) == (answer.message_id, ms)
        talk.session.truncate(message_id=answer.message_id, modalities=["audio"], audio_end_ms=0)
        await talk.event("conversation.item.deleted")
        assert [item.role for item in talk.session.chat_ctx.items] == ["user"]


async def test_a_reply_that_is_not_wanted_any_more(base_url: str) -> None:
    async with talking(base_url, modalities=["text"]) as talk:
        chat = llm.ChatContext.empty()
        chat.add_message(role="user", content="What is the capital of France?")
        await talk.session.update_chat_ctx(chat)
        talk.session.generate_reply().cancel()
        await talk.event("response.done")
        answer = await Answer.of(await talk.session.generate_reply())
        assert "Paris" in answer.text


async def test_speaking_over_the_answer_cuts_it(base_url: str, question: Pcm) -> None:
    vad = ServerVad(type="server_vad", silence_duration_ms=400)
    async with talking(base_url, turn_detection=vad) as talk:
        chat = llm.ChatContext.empty()
        chat.add_message(role="user", content=LONG)
        await talk.session.update_chat_ctx(chat)
        first = Answer()
        taken = asyncio.create_task(first.take(await talk.session.generate_reply()))
        async with asyncio.timeout(MOST_S):
            await first.sounds.wait()
            for frame in frames(question):
                talk.session.push_audio(frame)
                await asyncio.sleep(frame.duration)
            await taken
            second = Answer()
            taken = asyncio.create_task(second.take(await talk.generation(1)))
            await second.sounds.wait()
            talk.session.interrupt()
            await taken
        cut = (await talk.event("response.done"))["response"]
        assert (cut["status"], cut["status_details"]["reason"]) == ("cancelled", "turn_detected")
        assert second.message_id not in ("", first.message_id)
        transcripts = talk.of("input_audio_transcription_completed")
        assert [words(each.transcript) for each in transcripts if each.is_final] == [ASKED]
        items = talk.session.chat_ctx.items
        assert [item.role for item in items] == ["user", "assistant", "user", "assistant"]


async def test_turns_that_the_client_ends(base_url: str, question: Pcm) -> None:
    async with talking(base_url, turn_detection=None) as talk:
        talk.ask(question)
        talk.session.commit_audio()
        answer = await Answer.of(await talk.session.generate_reply())
        assert "paris" in words(answer.text)
        talk.ask(question)
        talk.session.clear_audio()
        await talk.event("input_audio_buffer.cleared")
        assert talk.of("input_speech_started") == []
        assert len(talk.received("input_audio_buffer.committed")) == 1


async def test_tools_are_called_and_their_results_answered(calling_url: str) -> None:
    @function_tool
    async def weather(city: str) -> str:
        """The weather of a city."""
        return f"Sunny in {city}."

    async with talking(calling_url, modalities=["text"]) as talk:
        await talk.session.update_tools([weather])
        chat = llm.ChatContext.empty()
        chat.add_message(role="user", content="How is the weather in Paris?")
        await talk.session.update_chat_ctx(chat)
        first = await Answer.of(await talk.session.generate_reply())
        [call] = first.calls
        assert (call.name, call.arguments) == ("weather", '{"city": "Paris"}')
        await talk.event("response.done")
        chat = talk.session.chat_ctx.copy()
        chat.insert(
            llm.FunctionCallOutput(
                name=call.name, call_id=call.call_id, output="Sunny.", is_error=False
            )
        )
        await talk.session.update_chat_ctx(chat)
        await Answer.of(await talk.session.generate_reply(tool_choice="none"))
        kinds = [item.type for item in talk.session.chat_ctx.items]
    assert kinds[:3] == ["message", "function_call", "function_call_output"]
