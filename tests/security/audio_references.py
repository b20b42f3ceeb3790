"""Recordings that are none, but name others: playlists, lists of files, sessions, containers whose
sound is elsewhere."""

from __future__ import annotations

import base64
import struct
from pathlib import Path

from tests.security.audio_boxes import box, ebml, film, full_box, movie, wave_track
from tests.security.audio_files import HLS, Write, sound, text, with_decoys, written


def _hls(segment: str) -> Write:
    return text(HLS.format(segment))


_KEY = HLS.replace("#EXTINF", '#EXT-X-KEY:METHOD=AES-128,URI="decoy-key.bin"\n#EXTINF').format(
    "decoy-words.aac"
)
_MASTER = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=64000\ndecoy-list.m3u8\n"
_CONCAT = "ffconcat version 1.0\nfile {}\n"
_DASH = """<?xml version="1.0"?>
<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT1S" profiles="urn:mpeg:dash:profile:full:2011">
<Period><AdaptationSet mimeType="audio/mp4"><Representation id="1" bandwidth="64000"><BaseURL>{}</BaseURL>
<SegmentList duration="1"><SegmentURL media="{}"/></SegmentList></Representation></AdaptationSet></Period></MPD>
"""
_SDP = """v=0
o=- 0 0 IN IP4 127.0.0.1
s=call
c=IN IP4 127.0.0.1
t=0 0
m=audio {port} RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""
_HTTP = "http://127.0.0.1:{port}/decoy-words.aac"
_SMIL = '<smil><body><audio src="decoy-words.wav"/></body></smil>\n'
_ASX = '<asx version="3.0"><entry><ref href="{}"/></entry></asx>\n'
_XSPF = """<?xml version="1.0"?><playlist version="1" xmlns="http://xspf.org/ns/0/"><trackList><track>
<location>{}</location></track></trackList></playlist>
"""


def _data_url(path: Path) -> None:
    encoded = base64.b64encode(sound("aac")).decode()
    _hls(f"data:audio/aac;base64,{encoded}")(path)


def _elsewhere(reference: bytes) -> Write:
    """A QuickTime movie whose samples are in another file, by its data reference."""

    def write(path: Path) -> None:
        with_decoys(path.parent)
        path.write_bytes(movie(wave_track(data_reference=reference)))

    return write


def _alias() -> bytes:
    """A Macintosh alias record to the decoy, as FFmpeg reads it: its name, and where it lies from
    here."""
    name = b"decoy-words.wav"
    head = bytearray(150)
    head[50] = len(name)
    head[51 : 51 + len(name)] = name
    head[130:134] = struct.pack(">hh", 1, 1)
    tail = struct.pack(">hh", 2, len(name)) + name + b"\0" + struct.pack(">hh", 18, 1) + b"/\0"
    return full_box(b"alis", bytes(head) + tail + struct.pack(">hh", -1, 0))


def _reference_movie() -> bytes:
    """A movie that only says which other movie to play."""
    address = b"decoy-words.wav\0"
    return box(
        b"moov",
        box(
            b"rmra",
            box(b"rmda", full_box(b"rdrf", b"url " + struct.pack(">I", len(address)) + address)),
        ),
    )


def _linked(path: Path) -> None:
    """Matroska with sound, and with chapters and more in another file."""
    with_decoys(path.parent)
    chapter = ebml(0xB6, ebml(0x91, b"\0"), ebml(0x6E67, bytes(16)))
    chapters = ebml(0x1043A770, ebml(0x45B9, chapter))
    path.write_bytes(film(info=ebml(0x3E83BB, b"decoy-words.wav"), extra=chapters))


REFERENCES: dict[str, Write] = {
    "relative.m3u8": _hls("decoy-words.aac"),
    "wave.m3u8": _hls("decoy-words.wav"),
    "absolute.m3u8": _hls("{folder}/decoy-words.mp3"),
    "file-address.m3u8": _hls("file:///{folder}/decoy-words.aac"),
    "address.m3u8": _hls(_HTTP),
    "key.m3u8": text(_KEY),
    "key-address.m3u8": text(_KEY.replace("decoy-key.bin", "http://127.0.0.1:{port}/key")),
    "data.m3u8": _data_url,
    "master.m3u8": text(_MASTER),
    "joined.m3u8": _hls("concat:decoy-words.aac|decoy-words.aac"),
    "part.m3u8": _hls("subfile,,start,0,end,999,,:decoy-words.aac"),
    "playlist.wav": _hls("decoy-words.aac"),
    "playlist.mp3": _hls("{folder}/decoy-words.mp3"),
    "playlist-with-a-mark.wav": text("\ufeff" + HLS.format("decoy-words.aac")),
    "list.ffconcat": text(_CONCAT.format("decoy-words.wav")),
    "list-absolute.ffconcat": text(_CONCAT.format("{folder}/decoy-words.wav")),
    "list-address.ffconcat": text(_CONCAT.format(_HTTP)),
    "list-duration.ffconcat": text(_CONCAT.format("decoy-words.wav") + "duration 864000\n"),
    "list.wav": text(_CONCAT.format("decoy-words.wav")),
    "list-of-itself.wav": text(_CONCAT.format("list-of-itself.wav")),
    "stream.mpd": text(_DASH.format("{folder}/", "decoy-words.aac")),
    "address.mpd": text(_DASH.format("http://127.0.0.1:{port}/", "decoy-words.aac")),
    "stream.wav": text(_DASH.format("{folder}/", "decoy-words.aac")),
    "session.sdp": text(_SDP),
    "session.wav": text(_SDP),
    "redirect.rtsp": text("RTSPtext\nrtsp://127.0.0.1:{port}/decoy-words.aac\n"),
    "songs.m3u": text("decoy-words.mp3\n"),
    "songs.pls": text("[playlist]\nNumberOfEntries=1\nFile1=decoy-words.mp3\n"),
    "songs.asx": text(_ASX.format(_HTTP)),
    "songs.xspf": text(_XSPF.format(_HTTP)),
    "songs.ram": text("rtsp://127.0.0.1:{port}/decoy-words.aac\n"),
    "songs.smil": text(_SMIL),
    "redirect.asf": text(f"[Reference]\nRef1={_HTTP}?MSWMExt=.asf\n"),
    "elsewhere-alias.mov": _elsewhere(_alias()),
    "elsewhere-address.mov": _elsewhere(full_box(b"url ", b"file:decoy-words.wav\0")),
    "reference-movie.mov": written(_reference_movie),
    "linked.mkv": _linked,
    "concat:decoy-words.wav": written(lambda: sound("wav-s16")),
}
READABLE_REFERENCES = {"concat:decoy-words.wav", "elsewhere-address.mov", "linked.mkv"}
"""Those whose own bytes are sound, of which a name refers to others."""
