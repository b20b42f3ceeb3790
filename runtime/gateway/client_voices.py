"""Voices that clients add: each belongs to the key that added it, and is seen with no other.

They are kept where `voxturn voices add` keeps its own, one file a voice, replaced whole. Their names
there are hashes of the key's id and of what the client calls them: nothing that comes from outside
is part of a path, and nobody can name another's.
"""

from __future__ import annotations

import hashlib
import logging
import re
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from voxturn.runtime.audio.decode import decode
from voxturn.runtime.errors import AudioError, AudioTooLong, CorruptModel, UnknownVoice
from voxturn.runtime.families.base import Cloning, SpeakerCloner, SpeakerLibrary, families
from voxturn.runtime.flow.lane import Lane
from voxturn.runtime.gateway.errors import ApiError
from voxturn.runtime.text.styles import style_name

HIDDEN = re.compile(r"client-[0-9a-f]{16}-[0-9a-f]{16}", re.IGNORECASE)
"""The names that they are kept by. Clients never name one, nor are told one."""
_ID = re.compile(r"voice_([0-9a-f]{16})")
_LONGEST_S, _RATE = 300.0, 16_000
"""Of a recording; some seconds are heeded."""
_MOST_NAME = 64
_NICE = 10
_COPIED = 1 << 20
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class ClientVoice:
    """A voice that a client added. `created_at`: seconds since 1970; `stored`: its name where it is
    kept."""

    id: str
    name: str
    created_at: int
    styles: tuple[str, ...]
    stored: str
    warnings: tuple[str, ...] = ()


class ClientVoices:
    """The voices of all keys. `cloning` says how, once it is first needed; None: no voice is cloned
    here. `most`: of one key."""

    def __init__(self, cloning: Callable[[], Cloning | None], most: int) -> None:
        self._find_cloning = cloning
        self._found: list[Cloning | None] = []
        self._cloner: SpeakerCloner | None = None
        self._most = most
        self._finding = threading.Lock()
        self._lane = Lane("client-voices", _NICE)

    def cloning(self) -> Cloning | None:
        """How voices are cloned. Reads files when it is asked first."""
        with self._finding:
            if not self._found:
                self._found.append(self._find_cloning())
            return self._found[0]

    def library(self) -> SpeakerLibrary:
        """Where they are kept. Raises `ApiError` where no voice is cloned."""
        if (cloning := self.cloning()) is None:
            raise ApiError(
                400,
                "the voice of this profile cannot be cloned: it has no speakers of one's own",
                "voice_cannot_clone",
            )
        return cloning.library

    def stored(self, key: str, name: str) -> str | None:
        """Where a key's voice is kept that it calls `name`, or that has this id; None: it has none.
        Reads files."""
        cloning = self.cloning()
        if cloning is None:
            return None
        match = _ID.fullmatch(name)
        stored = _prefix(key) + match[1] if match else _stored(key, name)
        return stored if stored in cloning.library.names() else None

    def of(self, key: str) -> list[ClientVoice]:
        """A key's voices, by their names. Reads files."""
        cloning = self.cloning()
        if cloning is None:
            return []
        found = []
        for stored in cloning.library.names():
            if stored.startswith(_prefix(key)):
                with suppress(UnknownVoice, CorruptModel):  # removed meanwhile, or damaged
                    found.append(_described(cloning.library, stored))
        return sorted(found, key=lambda voice: voice.name)

    async def add(
        self, key: str, name: str, recording: IO[bytes], consent: str, style: str = ""
    ) -> ClientVoice:
        """Clone a voice, or a style of one that the key has, in place of another of that name.

        Raises `ApiError`, `AudioError`, `AudioTooLong`, `UsageError`.
        """
        name = _checked(name)
        return await self._lane.run(self._add, key, name, recording, consent, style)

    async def remove(self, key: str, name: str) -> ClientVoice:
        """Forget a voice of a key with its styles. Raises `UnknownVoice`."""
        return await self._lane.run(self._remove, key, name)

    def close(self) -> None:
        """Wait for what is being cloned, and end the thread."""
        self._lane.close()

    def _remove(self, key: str, name: str) -> ClientVoice:
        library, stored = self.library(), self.stored(key, name)
        if stored is None:
            raise UnknownVoice(f"no voice {name!r} of yours")
        voice = _described(library, stored)
        library.remove(stored)
        return voice

    def _add(
        self, key: str, name: str, recording: IO[bytes], consent: str, style: str
    ) -> ClientVoice:
        library, stored = self.library(), _stored(key, name)
        style = style and style_name(style)
        self._check_room(library, key, stored, style, name)
        with tempfile.TemporaryDirectory(prefix="voxturn-voice-") as folder:
            path = Path(folder) / "recording"
            with path.open("wb") as file:
                while block := recording.read(_COPIED):
                    file.write(block)
            try:
                _check_length(path)
                cloned = self._made_cloner().clone(stored, [path])
            except AudioError as exc:
                raise type(exc)(str(exc).replace(str(path), "the recording")) from exc
            about = {"name": name, "created_at": int(time.time()), "consent": consent}
            library.add(cloned.voice, [path], style=style, about=about)
            warnings = tuple(each.replace(str(path), "the recording") for each in cloned.warnings)
        return _described(library, stored, warnings)

    def _check_room(
        self, library: SpeakerLibrary, key: str, stored: str, style: str, name: str
    ) -> None:
        names = [each for each in library.names() if each.startswith(_prefix(key))]
        if style and stored not in names:
            what = f"no voice {name!r} of yours to have a style; add it first, without a style"
            raise ApiError(404, what, "voice_not_found", "name")
        if stored not in names and len(names) >= self._most:
            what = f"this key has {len(names)} voices, more than it can have; delete one"
            raise ApiError(409, what, "voice_limit_reached")

    def _made_cloner(self) -> SpeakerCloner:
        """What clones: in the lane's thread alone."""
        if self._cloner is None:
            cloning = self.cloning()
            assert cloning is not None  # there is a library
            self._cloner = cloning.make()
        return self._cloner


def forget_voices(home: Path, key: str) -> int:
    """Delete all voices that a key added, whatever model they are of; how many. `home`: the store's
    folder."""
    return sum(
        family.forget(home, _prefix(key))
        for family in families().values()
        if family.forget is not None
    )


def _prefix(key: str) -> str:
    return f"client-{_hash(key)}-"


def _stored(key: str, name: str) -> str:
    return _prefix(key) + _hash(name)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _checked(name: str) -> str:
    """A name as it is kept. Raises `ApiError` for what is none."""
    name = name.strip()
    if not 0 < len(name) <= _MOST_NAME or not name.isprintable() or _ID.fullmatch(name):
        what = f"a voice's name has 1 to {_MOST_NAME} letters, digits, signs and spaces"
        raise ApiError(400, what, "invalid_value", "name")
    return name


def _check_length(path: Path) -> None:
    """Raise `AudioError` for what is no audio, `AudioTooLong`."""
    try:
        for _ in decode(path, _RATE, _RATE, longest_s=_LONGEST_S):
            pass
    except AudioTooLong as exc:
        raise AudioTooLong(
            f"the recording is longer than {_LONGEST_S:g} s; some seconds of speech clone well"
        ) from exc


def _described(library: SpeakerLibrary, stored: str, warnings: tuple[str, ...] = ()) -> ClientVoice:
    _, noted = library.read(stored)
    about: dict[str, Any] = noted.get("about", {})
    return ClientVoice(
        f"voice_{stored.rpartition('-')[2]}",
        str(about.get("name", "")),
        int(about.get("created_at", 0)),
        library.styles(stored),
        stored,
        warnings,
    )
