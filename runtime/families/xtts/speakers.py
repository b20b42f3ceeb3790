"""Who speaks: voices by name with their styles, mixtures of them, and recordings that are cloned when
they are asked for."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from voxturn.runtime.audio.opening import check_file
from voxturn.runtime.errors import UnknownStyle
from voxturn.runtime.families.mixture import Part, parts_of
from voxturn.runtime.families.xtts.mixing import mixed
from voxturn.runtime.families.xtts.voices import Cloner, Voice, VoiceStore, unknown_style
from voxturn.runtime.models.manifest import sha256_of
from voxturn.runtime.text.styles import style_name

_MOST_KEPT = 32
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Speaker:
    """A voice, and by their names the voices that are its styles."""

    voice: Voice
    styles: Mapping[str, Voice] = field(default_factory=dict)

    def in_style(self, style: str) -> Speaker:
        """The same with a style in place of its own voice. Raises `UnknownStyle`, `UsageError`."""
        if (voice := self.styles.get(style_name(style))) is None:
            raise unknown_style(style, tuple(self.styles), f"voice {self.voice.name!r}")
        return Speaker(voice, self.styles)


def in_style(speaker: Speaker | None, style: str) -> Speaker | None:
    """As `Speaker.in_style`, of a speaker that may not be there yet; itself if `style` is empty."""
    if not style:
        return speaker
    if speaker is None:
        raise unknown_style(style, ())
    return speaker.in_style(style)


def speaker_of(store: VoiceStore, name: str) -> Speaker:
    """A speaker by a name that `families.mixture` reads. A mixture has the styles of all its voices;
    one that has not that style takes part as it is.

    Raises `UsageError`, `UnknownVoice`, `UnknownStyle`, `CorruptModel`.
    """
    return _mixture(store, name, parts_of(name, store.names()))


def _mixture(store: VoiceStore, name: str, parts: Sequence[Part]) -> Speaker:
    speakers = [_loaded(store, part) for part in parts]
    weights = [part.weight for part in parts]
    own = mixed(name, [each.voice for each in speakers], weights)
    styles = {}
    for style in sorted({style for each in speakers for style in each.styles}):
        voices = [each.styles.get(style, each.voice) for each in speakers]
        styles[style] = mixed(name, voices, weights)
    return Speaker(own, styles)


def _loaded(store: VoiceStore, part: Part) -> Speaker:
    styles = dict[str, Voice]()
    for style in store.styles(part.voice):
        with contextlib.suppress(UnknownStyle):  # removed meanwhile
            styles[style] = store.load(part.voice, style)
    speaker = Speaker(store.load(part.voice), styles)
    return speaker.in_style(part.style) if part.style else speaker


class _Named(NamedTuple):
    """A speaker that was loaded, its parts, and the stamps that their files had."""

    parts: Sequence[Part]
    stamps: Sequence[object]
    speaker: Speaker


class Speakers:
    """The speakers of one checkpoint.

    Thread-safe. `cloner` makes what clones, once, when it is first needed. The last few speakers
    are remembered: those that have a name for as long as their files are the same, recordings by
    their hashes.
    """

    def __init__(self, store: VoiceStore, cloner: Callable[[], Cloner]) -> None:
        self.store = store
        self._make_cloner = cloner
        self._cloner: Cloner | None = None
        self._clones: dict[tuple[str, ...], Voice] = {}
        self._named: dict[str, _Named] = {}
        self._cloning, self._naming = threading.Lock(), threading.Lock()

    def named(self, name: str) -> Speaker:
        """A speaker by a name that `families.mixture` reads.

        Raises `UsageError`, `UnknownVoice`, `UnknownStyle`, `CorruptModel`.
        """
        with self._naming:
            named = self._named.pop(name, None)
            if named is None or named.stamps != self._stamps(named.parts):
                named = self._load(name)
            self._named[name] = named
            _forget_oldest(self._named)
            return named.speaker

    def cloned(self, recordings: Sequence[Path]) -> Speaker:
        """A speaker out of recordings. Blocks. Raises `AudioError`."""
        with self._cloning:
            for path in recordings:
                check_file(path)
            key = tuple(sha256_of(path) for path in recordings)
            if key not in self._clones:
                self._cloner = self._cloner or self._make_cloner()
                added = self._cloner.clone("clone", list(recordings))
                for warning in added.warnings:
                    _LOG.warning("%s", warning)
                self._clones[key] = added.voice
                _forget_oldest(self._clones)
            return Speaker(self._clones[key])

    def styles(self) -> dict[str, list[str]]:
        """The styles of every voice that has some."""
        found = {name: list(self.store.styles(name)) for name in self.store.names()}
        return {name: styles for name, styles in found.items() if styles}

    def _stamps(self, parts: Sequence[Part]) -> list[object]:
        return [self.store.stamp(part.voice) for part in parts]

    def _load(self, name: str) -> _Named:
        parts = parts_of(name, self.store.names())
        stamps = self._stamps(parts)  # before: what changes meanwhile is loaded again
        return _Named(parts, stamps, _mixture(self.store, name, parts))


def _forget_oldest(kept: dict[Any, Any]) -> None:
    if len(kept) > _MOST_KEPT:
        del kept[next(iter(kept))]
