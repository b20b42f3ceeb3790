"""Cloned voices: from recordings to what XTTS is conditioned on, kept by the hash of audio and
checkpoint.

    ROOT/voices/CHECKPOINT/NAME.npz                latents, speaker, and a note (JSON): where it is from, hashes of recordings and values
    ROOT/voices/CHECKPOINT/styles/NAME/STYLE.npz   the same of the voice in a style

CHECKPOINT is the beginning of a hash of what voices are made with: the artifact's conditioning and
speaker graphs, its mel constants and its settings for cloning. So a voice is never used with
another checkpoint than it was made with. A voice is one file, and each of its styles is, which is
replaced whole: whoever reads while others add gets the old one or the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import shutil
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from voxturn.runtime.audio.container import ReadReport
from voxturn.runtime.audio.decode import decode
from voxturn.runtime.audio.encode import output_error
from voxturn.runtime.audio.speech import SpeechPart, at_level, speech_part
from voxturn.runtime.errors import (
    AudioError,
    CorruptModel,
    UnknownStyle,
    UnknownVoice,
    UsageError,
)
from voxturn.runtime.families.xtts.mel import power_spectrogram, spectral_change
from voxturn.runtime.families.xtts.prompt import LATENTS
from voxturn.runtime.files import read_arrays
from voxturn.runtime.messages import Samples
from voxturn.runtime.models.manifest import Manifest, reading, sha256_of, whole
from voxturn.runtime.protocols import GraphExecutor
from voxturn.runtime.text.styles import style_name

Float = npt.NDArray[np.float32]
_NAME = re.compile(r"[\w][\w .-]{0,63}")
_NAME_BYTES = 200
"""What a file system takes as a name, less what is added to it."""
_MOST_STYLES = 32
"""Of a voice."""
_MIN_S, _MIN_SPEECH_S, _GOOD_S = 1.0, 0.33, 3.0
_LONGEST_S = 1800
"""Of each recording: as much is held in memory. Some seconds of speech are heeded."""
_MOST_RATE, _MOST_FFT = 192_000, 1 << 16
_CONSTANTS = frozenset({"clone_filters", "clone_window", "clone_norms"}) | frozenset(
    {"speaker_filters", "speaker_window", "speaker_emphasis"}
)
_LEVEL_DBFS = -2.5
"""Of the peak that every recording is brought to."""
_LEAST_CHANGE_DB = 1.8
"""Measured: speech 6 and more, 2.3 in a hall or in noise as loud; noise 1, hum, tones and chords
less; quick music more."""


@dataclass(frozen=True)
class Voice:
    """What XTTS is conditioned on. `key` changes with it: caches of keys and values go by it."""

    name: str
    latents: Float
    speaker: Float

    @property
    def key(self) -> str:
        """The voice's identity: a hash of the latents that the GPT sees."""
        return hashlib.sha256(self.latents.tobytes()).hexdigest()[:16]


@dataclass(frozen=True)
class Added:
    """A voice that was made, and what about its recordings is worth saying."""

    voice: Voice
    seconds: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class VoiceShape:
    """Of a checkpoint's voices: the `width` of a latent, and how many there are: 32 of XTTS v2, of
    v1.1 up to `latents`."""

    width: int
    latents: int = LATENTS

    def fits(self, latents: npt.NDArray[Any]) -> bool:
        """Whether a voice can have them."""
        if latents.ndim != 2 or latents.shape[1] != self.width:
            return False
        least = LATENTS if self.latents == LATENTS else 1
        return least <= len(latents) <= self.latents

    def __str__(self) -> str:
        count = str(LATENTS) if self.latents == LATENTS else f"1 to {self.latents}"
        return f"[{count}, {self.width}]"


class Cloner:
    """Recordings to a voice, by the artifact's conditioning and speaker graphs and their mel front
    ends.

    Source: coqui-tts 0.28, `Xtts.get_conditioning_latents`: the latents are the mean over pieces of
    all recordings, as long as the checkpoint's `gpt_cond_chunk_len` says, `gpt_cond_len` in all;
    the speaker's embedding is the mean over the recordings, `max_ref_len` of each.
    """

    def __init__(
        self,
        folder: Path,
        properties: Mapping[str, Any],
        conditioning: GraphExecutor,
        speaker: GraphExecutor,
    ) -> None:
        self._conditioning = conditioning
        self._speaker = speaker
        with reading(folder):
            self._clone = properties["clone"]
            self._embed = properties["speaker_encoder"]
            for front in (self._clone, self._embed):
                whole(front, "rate", most=_MOST_RATE)
                whole(front, "hop", most=whole(front, "fft", most=_MOST_FFT))
            self._constants = _arrays(folder / "mel.npz", "export it again") or {}
            if lacks := _CONSTANTS - self._constants.keys():
                raise ValueError(f"mel.npz lacks {', '.join(sorted(lacks))}")

    def clone(self, name: str, recordings: Sequence[Path], track: int = 0) -> Added:
        """A voice from one or many recordings of any kind. Raises `AudioError` if there is too
        little speech.

        `track` is the audio track of each, from 1; 0 is its default one.
        """
        check_name(name)
        if not recordings:
            raise UsageError(f"voice {name!r}: needs at least one recording")
        rate, longest_s = int(self._clone["rate"]), self._clone["max_ref_len"]
        clips, speakers, warnings = [], [], list[str]()
        seconds = 0.0
        for path in recordings:
            report = ReadReport()
            recording = _beginning(path, rate, track, report)
            part = speech_part(recording, rate)
            speech = part.samples[: int(longest_s * rate)]
            if recording.size < _MIN_S * rate or speech.size < _MIN_SPEECH_S * rate:
                raise AudioError(
                    f"{path}: holds {speech.size / rate:.2f} s of speech in {recording.size / rate:.2f} s; "
                    f"{_MIN_S:.0f} s are the least, {_GOOD_S:.0f} s clone well"
                )
            speakers.append(self.embedding(self._embedded(path, track)))
            clips.append(at_level(speech, _LEVEL_DBFS))
            seconds += speech.size / rate
            warnings += [f"{path}: {warning}" for warning in _warnings_of(part, report)]
            if recording.size == _LONGEST_S * rate:
                warnings.append(f"{path}: is long; its first {_LONGEST_S} s were heard")
        if seconds < _GOOD_S:
            warnings.append(f"only {seconds:.1f} s of speech; {_GOOD_S:.0f} s or more clone better")
        voice = Voice(
            name, self.latents(np.concatenate(clips)), np.mean(speakers, axis=0, dtype=np.float32)
        )
        return Added(voice, seconds, tuple(warnings))

    def _embedded(self, path: Path, track: int) -> Samples:
        """What the speaker encoder hears of a recording.

        Raises `AudioError` for what is no speech.
        """
        rate = int(self._embed["rate"])
        part = speech_part(_beginning(path, rate, track, ReadReport()), rate)
        samples = part.samples[: int(self._clone["max_ref_len"] * rate)]
        if samples.size < _MIN_SPEECH_S * rate or spectral_change(samples, rate) < _LEAST_CHANGE_DB:
            raise AudioError(
                f"{path}: holds no speech, its sound is as even as noise or music; record a voice"
            )
        return at_level(samples, _LEVEL_DBFS)

    def latents(self, samples: Samples) -> Float:
        """The GPT's conditioning `[count, width]` from samples at the cloning rate."""
        rate, heeded_s = self._clone["rate"], self._clone["gpt_cond_len"]
        samples = samples[: int(heeded_s * rate)] if heeded_s > 0 else samples
        size = int(self._clone["gpt_cond_chunk_len"] * rate)
        pieces = [samples[i : i + size] for i in range(0, samples.size, size)]
        pieces = [piece for piece in pieces if piece.size >= _MIN_SPEECH_S * rate]
        found = [
            self._conditioning.run({"mel": self.clone_mel(piece)})["latents"][0] for piece in pieces
        ]
        return np.ascontiguousarray(np.mean(found, axis=0, dtype=np.float32))

    def clone_mel(self, samples: Samples) -> Float:
        """Log mel `[1, 80, T]` over the checkpoint's norms. Source: `wav_to_mel_cloning`."""
        c = self._constants
        power = power_spectrogram(
            samples, int(self._clone["fft"]), int(self._clone["hop"]), c["clone_window"]
        )
        mel = np.log(np.maximum(c["clone_filters"].T @ power, 1e-5)) / c["clone_norms"][:, None]
        return np.ascontiguousarray(mel[None], np.float32)

    def embedding(self, samples: Samples) -> Float:
        """The speaker's embedding `[512]` from samples at the speaker encoder's rate."""
        return np.ascontiguousarray(
            self._speaker.run({"mel": self.speaker_mel(samples)})["embedding"][0]
        )

    def speaker_mel(self, samples: Samples) -> Float:
        """Mel power `[1, 64, T]` after pre-emphasis."""
        c = self._constants
        padded = np.concatenate([samples[1:2], samples])
        emphasised = c["speaker_emphasis"][0] * padded[:-1] + c["speaker_emphasis"][1] * padded[1:]
        power = power_spectrogram(
            emphasised, int(self._embed["fft"]), int(self._embed["hop"]), c["speaker_window"]
        )
        return np.ascontiguousarray((c["speaker_filters"].T @ power)[None], np.float32)


def _beginning(path: Path, rate: int, track: int, report: ReadReport) -> Samples:
    """The first half hour of a recording. Raises `AudioError`."""
    with contextlib.closing(decode(path, rate, rate, track, report)) as seconds:
        return np.concatenate(list(islice(seconds, _LONGEST_S)))


def _warnings_of(part: SpeechPart, report: ReadReport) -> Iterator[str]:
    """What is wrong with a recording, though it can be used."""
    if report.damaged:
        yield str(report)
    if part.clipped:
        yield "is clipped, its loudest parts are cut off; record it at a lower level"
    if part.noisy:
        yield "is noisy or echoes, which the voice takes over; record it in a quiet room"


def checked(
    name: str, shape: VoiceShape, latents: npt.NDArray[Any], speaker: npt.NDArray[Any]
) -> Voice:
    """A voice of these values.

    Raises `ValueError` unless they have that shape and are finite.
    """
    if not shape.fits(latents):
        raise ValueError(f"{list(latents.shape)} values where its voices have {shape}")
    if speaker.shape != (512,):
        raise ValueError(f"{list(speaker.shape)} values where its voices have [512]")
    for values in (latents, speaker):
        if not np.issubdtype(values.dtype, np.floating) or not np.isfinite(values).all():
            raise ValueError("values that are not finite numbers")
    return Voice(
        name, np.ascontiguousarray(latents, np.float32), np.ascontiguousarray(speaker, np.float32)
    )


def check_name(name: str) -> None:
    """Raise `UsageError` for what could not be a plain file name."""
    if not _NAME.fullmatch(name) or ".." in name or len(name.encode()) > _NAME_BYTES:
        raise UsageError(
            f"voice name {name[:80]!r}: use letters, digits, spaces, dots, dashes, at most 64, a letter or digit first; "
            "/, + and : name styles and mixtures"
        )


def forget_voices(home: Path, prefix: str) -> int:
    """Delete the voices of all checkpoints whose names begin so, with their styles; how many.

    Raises `UsageError` for what cannot be deleted.
    """
    found = 0
    try:
        for path in (home / "voices").glob(f"*/{prefix}*.npz"):
            path.unlink(missing_ok=True)
            found += 1
        for folder in (home / "voices").glob(f"*/styles/{prefix}*"):
            shutil.rmtree(folder)
    except OSError as exc:
        raise output_error(exc, str(home / "voices")) from exc
    return found


class VoiceStore:
    """The voices of one checkpoint: those cloned here, and the studio voices that its artifact
    carries."""

    def __init__(self, root: Path, folder: Path, manifest: Manifest) -> None:
        with reading(folder):
            graphs = [
                manifest.graphs[f"{part}_encoder"].file + ".data"
                for part in ("conditioning", "speaker")
            ]
            made_with = [manifest.files[file] for file in (*graphs, "mel.npz")]
            made_with += [
                json.dumps(manifest.properties[key], sort_keys=True)
                for key in ("clone", "speaker_encoder")
            ]
            p = manifest.properties
            most = whole(p, "max_latents") if "max_latents" in p else LATENTS
            self.shape = VoiceShape(whole(p, "gpt_n_model_channels"), most)
        self.checkpoint = hashlib.sha256("".join(made_with).encode()).hexdigest()[:16]
        self._root = root / "voices" / self.checkpoint
        self._studio = folder / "voices.npz"
        self._studio_known: tuple[object, frozenset[str]] = (None, frozenset())

    def names(self) -> dict[str, str]:
        """Every voice's name and where it is from: "added" here (cloned or imported), or "studio"."""
        found = dict.fromkeys(self._studio_names(), "studio")
        if self._root.is_dir():
            found |= {
                path.stem: "added"
                for path in self._root.glob("*.npz")
                if not path.name.startswith(".")
            }
        return dict(sorted(found.items()))

    def styles(self, name: str) -> tuple[str, ...]:
        """The styles of a voice, without its own."""
        return tuple(sorted(path.stem for path in self._style_files(name)))

    def stamp(self, name: str) -> tuple[tuple[str, int, int], ...]:
        """What changes when a voice or one of its styles is added, replaced or removed."""
        stamps = []
        for path in (self._path(name), *self._style_files(name), self._studio):
            with contextlib.suppress(OSError):
                if path is not None:
                    status = path.stat()
                    stamps.append((path.name, status.st_ino, status.st_mtime_ns))
        return tuple(sorted(stamps))

    def load(self, name: str, style: str = "") -> Voice:
        """A voice by name, in a style or its own.

        Raises `UnknownVoice` or `UnknownStyle` with those that are here, or `CorruptModel`.
        """
        return self.read(name, style)[0]

    def read(self, name: str, style: str = "") -> tuple[Voice, dict[str, Any]]:
        """A voice and what is noted of it. Raises as `load`."""
        path, fix, noted = self._path(name, style), "add it again", {"from": "studio"}
        arrays = _arrays(path, fix) if path is not None else None
        if style and arrays is None:
            raise self._unknown_style(name, style)
        if path is None or arrays is None:
            path, fix = self._studio, "pull the model again"
            studio = self._studio_arrays()
            if f"{name}/latents" not in studio:
                raise self._unknown(name)
            arrays = {
                kind: studio.get(f"{name}/{kind}", np.zeros(0)) for kind in ("latents", "speaker")
            }
        try:
            voice = self.checked(name, arrays["latents"], arrays["speaker"])
            if path != self._studio:
                noted = json.loads(bytes(arrays["note"]))
                if noted["sha256"] != _digest(voice) or noted["checkpoint"] != self.checkpoint:
                    raise ValueError("its hash is not the noted one")
        except (ValueError, KeyError, TypeError, RecursionError) as exc:
            raise CorruptModel(f"{path}: voice {name!r} is not whole ({exc}); {fix}") from exc
        return voice, noted

    def check_new(self, name: str, style: str = "") -> None:
        """Raise what `add` would for the name of a voice or of one of its styles."""
        check_name(name)
        if not style:
            return
        if style_name(style) != style:
            raise UsageError(f"style {style!r}: is kept in small letters")
        if name not in self.names():
            raise UnknownVoice(
                f"no voice {name!r} to have a style; add it first, without a style: that is its own"
            )
        known = self.styles(name)
        if style not in known and len(known) >= _MOST_STYLES:
            raise UsageError(f"voice {name!r}: has {_MOST_STYLES} styles, more than it can have")

    def add(
        self,
        voice: Voice,
        recordings: Sequence[Path] = (),
        imported: str = "",
        style: str = "",
        about: Mapping[str, Any] | None = None,
    ) -> None:
        """Keep a voice under its name, in place of another of that name, or as a style of it. Safe
        beside other threads and processes.

        A voice that is replaced keeps its styles. `imported` says which file it was taken from,
        where it was not cloned; `about` is noted with it, as JSON. Raises `UsageError`,
        `UnknownVoice`, `ResourceError`.
        """
        self.check_new(voice.name, style)
        try:
            voice = self.checked(voice.name, voice.latents, voice.speaker)
        except ValueError as exc:
            raise CorruptModel(f"voice {voice.name!r} does not fit the checkpoint: {exc}") from exc
        noted = {
            "name": voice.name,
            **({"style": style} if style else {}),
            "checkpoint": self.checkpoint,
            "from": imported or "recordings",
            "sha256": _digest(voice),
            "recordings": [sha256_of(path) for path in recordings if path.is_file()],
            **({"about": dict(about)} if about else {}),
        }
        data = io.BytesIO()
        np.savez(
            data,
            latents=voice.latents,
            speaker=voice.speaker,
            note=np.frombuffer(json.dumps(noted).encode(), np.uint8),
        )
        target = self._path(voice.name, style)
        assert target is not None  # the name was checked
        staging = target.with_name(f".{target.stem}.{uuid.uuid4().hex}")
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            staging.write_bytes(data.getvalue())
            staging.replace(target)
        except OSError as exc:
            raise output_error(exc, str(target)) from exc
        finally:
            with contextlib.suppress(OSError):
                staging.unlink(missing_ok=True)

    def checked(self, name: str, latents: npt.NDArray[Any], speaker: npt.NDArray[Any]) -> Voice:
        """As the function of that name, for this checkpoint's shape."""
        return checked(name, self.shape, latents, speaker)

    def remove(self, name: str, style: str = "") -> None:
        """Forget a voice that was added with all its styles, or one of them.

        Raises `UnknownVoice`, `UnknownStyle`, or `UsageError` for a studio voice.
        """
        known = self.names()
        if known.get(name) == "studio" and not style:
            raise UsageError(f"voice {name!r} belongs to the checkpoint and cannot be removed")
        path = self._path(name, style)
        try:
            if name not in known or path is None:
                raise self._unknown(name)
            if not style:
                self._forget_styles(name)
            path.unlink()
        except FileNotFoundError as exc:  # there is none, or another process was faster
            raise (self._unknown_style(name, style) if style else self._unknown(name)) from exc
        except OSError as exc:
            raise output_error(exc, str(path)) from exc

    def _forget_styles(self, name: str) -> None:
        """Remove all styles of a voice at once: none of them may come back with another voice."""
        gone = self._root / "styles" / f".{name}.{uuid.uuid4().hex}"
        with contextlib.suppress(FileNotFoundError):
            (self._root / "styles" / name).rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def _style_files(self, name: str) -> list[Path]:
        path = self._path(name)
        folder = self._root / "styles" / name
        return [] if path is None else [p for p in folder.glob("*.npz") if p.name[0] != "."]

    def _studio_names(self) -> frozenset[str]:
        """Of the file that is there now: megabytes, which are not read again for every question."""
        try:
            status = self._studio.stat()
        except OSError:
            return frozenset()
        stamp = (status.st_ino, status.st_mtime_ns, status.st_size)
        known, names = self._studio_known
        if known != stamp:
            names = frozenset(name.rsplit("/", 1)[0] for name in self._studio_arrays())
            self._studio_known = (stamp, names)
        return names

    def _studio_arrays(self) -> dict[str, npt.NDArray[Any]]:
        return _arrays(self._studio, "pull the model again") or {}

    def _path(self, name: str, style: str = "") -> Path | None:
        """Where a voice of that name, or a style of it, is kept if it was added; None for what
        cannot be a name, or that of a file in this process's locale."""
        try:
            check_name(name)
            style = style and style_name(style)
            os.fsencode(f"{name}{style}")
        except (UsageError, UnicodeEncodeError):
            return None
        if style:
            return self._root / "styles" / name / f"{style}.npz"
        return self._root / f"{name}.npz"

    def _unknown(self, name: str) -> UnknownVoice:
        return UnknownVoice(
            f"no voice {name!r} for this checkpoint; here: {', '.join(self.names()) or 'none'}; "
            f"add one with `voxturn voices add`"
        )

    def _unknown_style(self, name: str, style: str) -> UnknownStyle | UnknownVoice:
        if name not in self.names():
            return self._unknown(name)
        return unknown_style(style, self.styles(name), f"voice {name!r}")


def unknown_style(style: str, known: Collection[str], whose: str = "this voice") -> UnknownStyle:
    """The error for a style that is asked for and not there."""
    return UnknownStyle(
        f"{whose} has no style {style[:80]!r}; it has {', '.join(known) or 'none'}; "
        f"add one with `voxturn voices add NAME RECORDING --style STYLE`"
    )


def _digest(voice: Voice) -> str:
    return hashlib.sha256(voice.latents.tobytes() + voice.speaker.tobytes()).hexdigest()


def _arrays(path: Path, fix: str) -> dict[str, npt.NDArray[Any]] | None:
    """All arrays of a file, None where there is none. Raises `CorruptModel`."""
    try:
        return read_arrays(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as exc:
        raise CorruptModel(f"{path}: cannot be read ({exc}); {fix}") from exc
