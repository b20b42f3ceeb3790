"""Speech over an answer that is being made, and what fails while somebody is heard."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import replace

import numpy as np
import pytest
from voxturn.runtime.errors import InferenceFailed
from voxturn.runtime.families.fake import FakeHearing, FakeVoice
from voxturn.runtime.gateway.core import Gateway
from voxturn.runtime.messages import Partial, PcmChunk, Samples, Sentence, Speaking, Transcript

from tests.realtime_client import Client, Opener, dialogues, silence, tone


class SlowVoice(FakeVoice):
    """Says its first sentence at once, and the rest once it may."""

    def __init__(self) -> None:
        super().__init__()
        self.may = asyncio.Event()

    async def __call__(self, sentences: AsyncIterator[Sentence]) -> AsyncGenerator[PcmChunk, None]:
        async with aclosing(super().__call__(sentences)) as chunks:
            async for chunk in chunks:
                if chunk.sentence.index > 0:
                    await self.may.wait()
                yield chunk


@pytest.fixture
def voice(gateway: Gateway) -> SlowVoice:
    """The gateway's voice."""
    voice = SlowVoice()
    gateway.assistant.stages = replace(gateway.assistant.stages, voice=voice)
    return voice


async def test_speech_is_told_before_the_answer_that_it_cuts_is_done(
    voice: SlowVoice, gateway: Gateway, opened: Opener
) -> None:
    async with opened() as client:
        await client.ask_aloud()
        await client.until("response.output_audio.delta")
        await client.live(tone(1.5))
        _, started = client.of("input_audio_buffer.speech_started")
        [cut] = client.of("response.done")
        assert client.told.index(started) < client.told.index(cut)
        done = cut["response"]
        assert done["status"] == "cancelled"
        assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        voice.may.set()
        await client.say(silence(2.0))
        while len(client.of("input_audio_buffer.committed")) < 2:
            await client.next()
        assert client.of("input_audio_buffer.committed")[1]["item_id"] == started["item_id"]
        await client.ended()
        texts = [message.text for message in dialogues(gateway)[-1]]
        assert len(texts) <= 3
        if len(texts) == 3:  # what was heard of the first sentence by then
            assert "Paris is the capital.".startswith(texts[1])


@pytest.mark.parametrize("asked", [True, False])
async def test_a_mhm_withholds_audio_and_interrupts_nothing(
    voice: SlowVoice, opened: Opener, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    async with opened() as client:
        if asked:
            await client.update(include=["voxturn.output_audio.pauses"])
        await client.ask_aloud()
        await client.until("response.output_audio.delta")
        await client.settle()

        async def final(self: object, samples: Samples, words: bool = False) -> Transcript:
            return Transcript("Mhm.", "en")

        async def partial(self: object, speaking: Speaking) -> Partial:
            return Partial("", "Mhm.", "en", speaking.start)

        monkeypatch.setattr(FakeHearing, "final", final)
        monkeypatch.setattr(FakeHearing, "partial", partial)
        await client.live(tone(0.4))
        await client.settle()
        count = len(client.of("response.output_audio.delta"))
        voice.may.set()
        for _ in range(30):
            await client.settle()
        assert len(client.of("response.output_audio.delta")) == count
        await client.say(silence(1.0))
        done = await client.ended()
        assert done["status"] == "completed"
        assert len(client.of("response.output_audio.delta")) > count
        assert len(client.of("input_audio_buffer.speech_started")) == 1
        ours = [name for name in client.names() if name.startswith("voxturn")]
        pauses = ["voxturn.output_audio.paused", "voxturn.output_audio.resumed"]
        assert ours == (pauses if asked else [])


async def test_what_cannot_be_written_down_is_told(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def final(self: object, samples: Samples, words: bool = False) -> Transcript:
        raise InferenceFailed("the recogniser died")

    with monkeypatch.context() as patch:
        patch.setattr(FakeHearing, "final", final)
        await client.say(tone(1.0), silence(2.0))
        failed = await client.until("conversation.item.input_audio_transcription.failed")
        assert failed["error"]["message"]
        await client.manual()
        await client.say(tone(0.5))
        await client.send("input_audio_buffer.commit")
        await client.until("conversation.item.input_audio_transcription.failed")
    await client.say(tone(0.5))
    await client.send("input_audio_buffer.commit")
    assert (await client.respond())["status"] == "completed"


async def test_noise_is_no_question(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def final(self: object, samples: Samples, words: bool = False) -> Transcript:
        return Transcript("", "en")

    with monkeypatch.context() as patch:
        patch.setattr(FakeHearing, "final", final)
        await client.say(tone(0.5), silence(2.0))
        await client.until("conversation.item.done")
        await client.settle()
    assert not client.of("response.created")
    await client.ask_aloud()
    assert (await client.ended())["status"] == "completed"


async def test_speech_in_one_large_message_is_heard(client: Client) -> None:
    audio = tone(1.0) + silence(20.0)
    await client.send("input_audio_buffer.append", audio=base64.b64encode(audio).decode())
    await client.ended()
    stopped = client.of("input_audio_buffer.speech_stopped")
    assert stopped[0]["audio_end_ms"] == pytest.approx(1100, abs=150)
    assert np.isfinite(stopped[0]["audio_end_ms"])
