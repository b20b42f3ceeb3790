"""What is read of a recording that anyone may have made: its containers, how wide and fast its
sound is, its memory.

FFmpeg also reads playlists, lists of files and descriptions of sessions, and then opens what they
name. None of these is here, nor are images, subtitles and samples without a header.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

LEAST_RATE, MOST_RATE = 1000, 768_000
"""Hz. Below, there is no speech; above, no converter."""
MOST_CHANNELS = 32
_MOST_TRACKS = 256
"""With the fonts of a film, which are tracks too."""
LONGEST_S = 86_400.0
"""Seconds of one recording, unless a profile says otherwise: `listen.longest_s`."""
LONGEST_IN_MEMORY_S = 3600.0
"""Seconds of one that is read into memory as a whole."""
MOST_HEADER_BYTES = 1 << 27
"""That are read before the first sound: fonts and pictures in a film's header may have 100 MB, and
are held several times."""
_MOST_BYTES_AT_ONCE = 96 << 20
"""One allocation of FFmpeg's.

An MP4's index has 24 bytes a packet, whatever few bytes claim them: a day of AAC at 48 kHz fits.
"""
MOST_FRAME_SAMPLES = 1 << 20
"""Of each channel, that a packet may be decoded to."""
_FREE_BYTES, _HELD_TIMES = 512 << 20, 4
_FREE_S = 300.0
_LEAST_BYTES_PER_S = 8
"""Sound lasts no longer than five minutes and a second for every eight bytes. The least that
recordings have is silence: 22 in FLAC, 20 in Opus, 50 in AMR."""

_CONTAINERS = (
    "aac", "ac3", "ac4", "adx", "aiff", "amr", "amrnb", "amrwb", "ape", "asf", "au", "avi", "caf", "codec2", "dhav", "dsf",
    "dss", "dts", "dtshd", "dv", "eac3", "flac", "flv", "g722", "g723_1", "g729", "gsm", "gxf", "iamf", "iff", "ilbc",
    "ircam", "loas", "lc3", "matroska", "mlp", "mov", "mp3", "mpc", "mpc8", "mpeg", "mpegts", "mxf", "nistsphere", "nut",
    "ogg", "oma", "osq", "pvf", "qcp", "rm", "sbc", "shn", "sln", "sox", "spdif", "tak", "truehd", "tta", "voc", "w64",
    "wav", "wsd", "wtv", "wv", "wve", "xwma",
)  # fmt: skip
"""FFmpeg's names. None of these opens another file by itself."""


def believable_s(size: int) -> float:
    """How long the sound of a recording of so many bytes may be: more is a header that lies, or a
    bomb."""
    return _FREE_S + size / _LEAST_BYTES_PER_S


def opening_bytes(size: int) -> int:
    """How much memory opening a recording of so many bytes may take: for the indexes of all its
    tracks, and for a header that is held several times."""
    return _FREE_BYTES + _HELD_TIMES * min(size, MOST_HEADER_BYTES)


def is_sound(rate: int, channels: int) -> bool:
    """Whether audio has such a rate in Hz and so many channels."""
    return LEAST_RATE <= rate <= MOST_RATE and 0 < channels <= MOST_CHANNELS


@cache
def open_options() -> dict[str, str]:
    """FFmpeg's options for an untrusted stream: no protocol, no other container, no decoder but
    those of sound.

    Pictures and films are never decoded, not even to look at their size. PyAV must be installed.
    """
    import av

    return {
        "protocol_whitelist": "none",
        "format_whitelist": ",".join(_CONTAINERS),
        "codec_whitelist": ",".join(_audio_decoders(av)),
        "max_samples": str(MOST_FRAME_SAMPLES),
        "max_streams": str(_MOST_TRACKS),
    }


@cache
def limit_allocations() -> None:
    """Make FFmpeg refuse, in this process, allocations that only a header that lies asks for.

    PyAV must be installed.
    """
    import av.container.core

    # the library that PyAV brings has a name of its own; its symbols are found through the module
    # that links it
    ffmpeg = ctypes.CDLL(av.container.core.__file__)
    ffmpeg.av_max_alloc.argtypes = [ctypes.c_size_t]
    ffmpeg.av_max_alloc.restype = None
    ffmpeg.av_max_alloc(_MOST_BYTES_AT_ONCE)


def _audio_decoders(av: Any) -> list[str]:
    names: list[str] = []
    for name in sorted(av.codecs_available):
        try:
            codec = av.Codec(name, "r")
        except av.codec.codec.UnknownCodecError:
            continue  # it encodes alone
        if codec.type == "audio":
            names.append(codec.name)
    return names
