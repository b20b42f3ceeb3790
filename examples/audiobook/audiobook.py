"""Reads a book aloud by chapters, with the times of its words; goes on where it stopped."""

import argparse
import asyncio
import difflib
import io
import json
import os
import re
import sys
import textwrap
import wave
from pathlib import Path

import openai

RATE, PAUSE, LONGEST = 24_000, bytes(24_000), 3000  # characters: the gateway takes 4096
Word = tuple[str, float, float]  # and when it begins and ends, in seconds


def pieces_of(chapter: str) -> list[str]:
    """The title and the paragraphs, in pieces where they are long; none without a word."""
    paragraphs = re.split(r"\n\s*\n", chapter.replace("\n", "\n\n", 1))
    return [p for each in paragraphs for p in textwrap.wrap(each, LONGEST) if re.search(r"\w", p)]


def timed(text: str, heard: list[Word], start: float, end: float) -> list[Word]:
    """A text's words with the times of what was heard; words heard otherwise share its time."""
    words, ends = text.split(), [*heard, ("", end, end)]
    bare = [re.sub(r"\W", "", word).lower() for word in (*words, *(w for w, *_ in heard))]
    match = difflib.SequenceMatcher(None, bare[: len(words)], bare[len(words) :], autojunk=False)
    out = list[Word]()
    for _, a, b, c, d in match.get_opcodes():
        spans = [each[1:] for each in heard[c:d]]
        if b - a != d - c:
            begin = spans[0][0] if spans else out[-1][2] if out else start
            step = ((spans[-1][1] if spans else ends[d][1]) - begin) / max(1, b - a)
            spans = [(begin + i * step, begin + (i + 1) * step) for i in range(b - a)]
        out += [(word, *span) for word, span in zip(words[a:b], spans, strict=True)]
    return out


def wav_of(pcm: bytes) -> bytes:
    with wave.open(file := io.BytesIO(), "wb") as wav:
        wav.setparams((1, 2, RATE, len(pcm) // 2, "NONE", "not compressed"))
        wav.writeframes(pcm)
    return file.getvalue()


async def read(client: openai.AsyncOpenAI, chapter: str, voice: str, wav: Path) -> None:
    """Read a chapter, unless it was read: its words are written last."""
    pieces, pcm, words, told = pieces_of(chapter), b"", list[Word](), wav.with_suffix(".json")
    if told.exists() and [w for w, *_ in json.loads(told.read_text())] == " ".join(pieces).split():
        return
    for piece in pieces:
        speech = await client.audio.speech.create(
            model="tts-1", voice=voice, input=piece, response_format="pcm"
        )
        answer = await client.audio.transcriptions.create(
            model="whisper-1",
            file=("piece.wav", wav_of(speech.content)),
            response_format="verbose_json",
            timestamp_granularities=["word"],
        )
        at = len(pcm) / 2 / RATE
        heard = [(word.word, at + word.start, at + word.end) for word in answer.words or []]
        spoken = timed(piece, heard, at, at + len(speech.content) / 2 / RATE)
        words += [(word, round(begin, 2), round(end, 2)) for word, begin, end in spoken]
        pcm += speech.content + PAUSE
    wav.write_bytes(wav_of(pcm))
    told.with_suffix(".part").write_text(json.dumps(words))
    told.with_suffix(".part").replace(told)
    print(wav, flush=True)


async def main(args: argparse.Namespace) -> None:
    key = os.environ.get("VOXTURN_KEY") or "none"
    async with openai.AsyncOpenAI(base_url=f"{args.gateway}/v1", api_key=key) as client:
        await client.models.list()  # fails at once where there is no gateway
        patient = client.with_options(max_retries=1000)  # after a 429 it waits for Retry-After
        queue = enumerate(filter(str.strip, re.split(r"(?m)^# ", args.book.read_text("utf-8"))), 1)

        async def read_on() -> None:
            for number, chapter in queue:
                await read(patient, chapter, args.voice, args.folder / f"{number:02}.wav")

        await asyncio.gather(*(read_on() for _ in range(args.at_once)))


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("book", type=Path)
parser.add_argument("folder", type=Path, help="where the chapters go; it has to exist")
parser.add_argument("--gateway", default="http://127.0.0.1:8080")
parser.add_argument("--voice", default="alloy")
parser.add_argument("--at-once", type=int, default=2, help="chapters")
try:
    asyncio.run(main(parser.parse_args()))
except (openai.OpenAIError, OSError) as error:
    sys.exit(str(error))
