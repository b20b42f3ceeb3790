"""Audio while it is made, in the format that a client asked for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from voxturn.runtime.audio.stream_encode import AudioFormat, StreamEncoder, pieces_of
from voxturn.runtime.messages import PcmChunk


async def encoded(
    chunks: AsyncGenerator[PcmChunk, None], form: AudioFormat
) -> AsyncGenerator[bytes, None]:
    """The chunks in a format, nothing of none; closes them."""
    encoder: StreamEncoder | None = None
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                encoder = encoder or StreamEncoder(form, chunk.rate)
                for piece in pieces_of(chunk.samples, chunk.rate):
                    if data := encoder.push(piece):
                        yield data
        if encoder is not None and (data := encoder.finish()):
            yield data
    finally:
        if encoder is not None:
            encoder.drop()
