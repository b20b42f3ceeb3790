"""talk.py [ws://HOST:PORT [QUESTION.wav ANSWER.wav]]: by microphone and loudspeaker, or by files."""

import asyncio
import os
import sys

from voxturn import runtime as vt
from voxturn.runtime.client.devices import Loudspeaker, microphone
from voxturn.runtime.client.voice import VoiceClient
from voxturn.runtime.errors import StreamClosed, VoxturnError
from voxturn.runtime.turn.voice_session import VoiceSession


class AnswerFile(vt.WavFile):  # in the loudspeaker's place
    def play(self, chunk: vt.PcmChunk) -> None:
        self.write(chunk.samples)

    pause = resume = stop = lambda _: None


async def hear(session: VoiceSession, question: str) -> None:
    """The microphone, or a file at its own pace, whose end is the question's."""
    await session.feed(vt.frames_from(question, live=True) if question else microphone())
    session.answer()


async def talk(session: VoiceSession, out: Loudspeaker | AnswerFile) -> None:
    """Play the answers; a file takes the first one."""
    with out:
        async for event in session:
            match event:
                case vt.PcmChunk():
                    out.play(event)
                case vt.Paused():  # somebody speaks over the answer, which may yet go on
                    out.pause()
                case vt.Resumed():
                    out.resume()
                case vt.Interrupted():
                    out.stop()
                case vt.Transcript() | vt.Sentence():
                    print(event.text, flush=True)
                case vt.SessionError():
                    raise event.error
                case vt.TurnDone() if isinstance(out, AnswerFile):
                    return
        raise StreamClosed("the session has ended")


async def main(gateway: str = "ws://127.0.0.1:8080", question: str = "", answer: str = "") -> None:
    client = VoiceClient(gateway, key=os.environ.get("VOXTURN_KEY", ""))
    async with client, client.session() as session:
        out = AnswerFile(answer, session.rate) if answer else Loudspeaker(session.rate)
        await asyncio.gather(hear(session, question), talk(session, out))


try:
    asyncio.run(main(*sys.argv[1:]))
except (VoxturnError, KeyboardInterrupt) as error:
    sys.exit(str(error) or 130)
