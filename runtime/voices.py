"""Cloned voices: from recordings to what XTTS is conditioned on, kept by the hash of audio and checkpoint.

    ROOT/voices/CHECKPOINT/NAME/   voice.npz (latents, speaker) and manifest.json (hashes of the recordings and of voice.npz)

CHECKPOINT is the beginning of the artifact's hash of its conditioning and speaker graphs, so that a voice is never used
with another checkpoint than it was made with.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from voxturn.runtime.audio.decode import decode_all
from voxturn.runtime.audio.mel import power_spectrogram
from voxturn.runtime.contract import Manifest, sha256_of
from voxturn.runtime.errors import AudioError, CorruptModel, UnknownVoice, UsageError
from voxturn.runtime.messages import Samples
from voxturn.runtime.protocols import GraphExecutor

Float = npt.NDArray[np.float32]
_NAME = re.compile(r"[\w][\w .-]{0,63}")
_MIN_S, _MIN_SPEECH_S, _GOOD_S, _LONGEST_S, _CHUNK_S = 1.0, 0.33, 3.0, 30.0, 6.0
_SILENT_DBFS = -45.0
_LEVEL = 0.75


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


class Cloner:
    """Recordings to a voice, by the artifact's conditioning and speaker graphs and their mel front ends.

    Source: coqui-tts 0.28, `Xtts.get_conditioning_latents`: the latents are the mean over six-second pieces of all
    recordings, the speaker's embedding the mean over the recordings.
    """

    def __init__(self, folder: Path, manifest: Manifest, conditioning: GraphExecutor, speaker: GraphExecutor) -> None:
        self._conditioning, self._speaker = conditioning, speaker
        self._clone, self._embed = manifest.properties["clone"], manifest.properties["speaker_encoder"]
        with np.load(folder / "mel.npz", allow_pickle=False) as constants:
            self._constants = {name: constants[name] for name in constants.files}

    def clone(self, name: str, recordings: Sequence[Path], longest_s: float = _LONGEST_S) -> Added:
        """A voice from one or many recordings of any kind. Raises `AudioError` if there is too little speech."""
        check_name(name)
        if not recordings:
            raise UsageError(f"voice {name!r}: needs at least one recording")
        rate, embed_rate = int(self._clone["rate"]), int(self._embed["rate"])
        clips, speakers, seconds = [], [], 0.0
        for path in recordings:
            whole = decode_all(path, rate)
            speech = trimmed(whole, rate)[: int(longest_s * rate)]
            if whole.size < _MIN_S * rate or speech.size < _MIN_SPEECH_S * rate:
                raise AudioError(
                    f"{path}: holds {speech.size / rate:.2f} s of speech in {whole.size / rate:.2f} s; "
                    f"{_MIN_S:.0f} s are the least, {_GOOD_S:.0f} s clone well"
                )
            clips.append(speech)
            seconds += speech.size / rate
            speakers.append(
                self.embedding(trimmed(decode_all(path, embed_rate), embed_rate)[: int(longest_s * embed_rate)])
            )
        warnings = (
            (f"only {seconds:.1f} s of speech; {_GOOD_S:.0f} s or more clone better",) if seconds < _GOOD_S else ()
        )
        voice = Voice(name, self.latents(np.concatenate(clips)), np.mean(speakers, axis=0, dtype=np.float32))
        return Added(voice, seconds, warnings)

    def latents(self, samples: Samples) -> Float:
        """The GPT's conditioning `[32, width]` from samples at the cloning rate."""
        size = int(_CHUNK_S * self._clone["rate"])
        pieces = [samples[i : i + size] for i in range(0, samples.size, size)]
        pieces = [piece for piece in pieces if piece.size >= 0.33 * self._clone["rate"]]
        found = [self._conditioning.run({"mel": self.clone_mel(piece)})["latents"][0] for piece in pieces]
        return np.ascontiguousarray(np.mean(found, axis=0, dtype=np.float32))

    def clone_mel(self, samples: Samples) -> Float:
        """Log mel `[1, 80, T]` over the checkpoint's norms. Source: `wav_to_mel_cloning`."""
        c = self._constants
        power = power_spectrogram(samples, int(self._clone["fft"]), int(self._clone["hop"]), c["clone_window"])
        mel = np.log(np.maximum(c["clone_filters"].T @ power, 1e-5)) / c["clone_norms"][:, None]
        return np.ascontiguousarray(mel[None], np.float32)

    def embedding(self, samples: Samples) -> Float:
        """The speaker's embedding `[512]` from samples at the speaker encoder's rate."""
        return np.ascontiguousarray(self._speaker.run({"mel": self.speaker_mel(samples)})["embedding"][0])

    def speaker_mel(self, samples: Samples) -> Float:
        """Mel power `[1, 64, T]` after pre-emphasis."""
        c = self._constants
        padded = np.concatenate([samples[1:2], samples])
        emphasised = c["speaker_emphasis"][0] * padded[:-1] + c["speaker_emphasis"][1] * padded[1:]
        power = power_spectrogram(emphasised, int(self._embed["fft"]), int(self._embed["hop"]), c["speaker_window"])
        return np.ascontiguousarray((c["speaker_filters"].T @ power)[None], np.float32)


def trimmed(samples: Samples, rate: int, dbfs: float = _SILENT_DBFS) -> Samples:
    """Without the silence before and after, and at an even level. All silence gives none."""
    window = max(1, rate // 50)
    count = samples.size // window
    loud = np.sqrt((samples[: count * window].reshape(count, window) ** 2).mean(1)) > 10 ** (dbfs / 20)
    if not loud.any():
        return samples[:0]
    first, last = int(np.argmax(loud)), count - int(np.argmax(loud[::-1]))
    speech = samples[first * window : last * window]
    return np.asarray(speech * (_LEVEL / np.abs(speech).max()), np.float32)


def check_name(name: str) -> None:
    """Raise `UsageError` for what could not be a plain folder name."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise UsageError(f"voice name {name!r}: use letters, digits, spaces, dots, dashes, at most 64")


class VoiceStore:
    """The voices of one checkpoint: those cloned here, and the studio voices that its artifact carries."""

    def __init__(self, root: Path, folder: Path, manifest: Manifest) -> None:
        graphs = [manifest.files[manifest.graphs[role].file + ".data"] for role in ("conditioning", "speaker")]
        self.checkpoint = hashlib.sha256("".join(graphs).encode()).hexdigest()[:16]
        self._root = root / "voices" / self.checkpoint
        self._studio = folder / "voices.npz"

    def names(self) -> dict[str, str]:
        """Every voice's name and where it is from: "cloned" or "studio"."""
        with np.load(self._studio, allow_pickle=False) as studio:
            found = {name.rsplit("/", 1)[0]: "studio" for name in studio.files}
        if self._root.is_dir():
            found |= {p.name: "cloned" for p in self._root.iterdir() if not p.name.startswith(".")}
        return dict(sorted(found.items()))

    def load(self, name: str) -> Voice:
        """A voice by name. Raises `UnknownVoice` with those that are here, or `CorruptModel`."""
        known = self.names()
        if name not in known:
            raise UnknownVoice(
                f"no voice {name!r} for this checkpoint; here: {', '.join(known) or 'none'}; add one with `voxturn voices add`"
            )
        if known[name] == "studio":
            with np.load(self._studio, allow_pickle=False) as studio:
                return Voice(name, studio[f"{name}/latents"], studio[f"{name}/speaker"])
        path = self._root / name / "voice.npz"
        try:
            noted = json.loads((self._root / name / "manifest.json").read_text(encoding="utf-8"))
            if noted["sha256"] != sha256_of(path):
                raise ValueError("its hash is not the noted one")
            with np.load(path, allow_pickle=False) as stored:
                return Voice(name, stored["latents"], stored["speaker"])
        except (OSError, ValueError, KeyError) as exc:
            raise CorruptModel(f"{path}: not a whole voice ({exc}); add it again") from exc

    def add(self, voice: Voice, recordings: Sequence[Path]) -> None:
        """Keep a voice under its name, in place of another of that name. Safe beside other processes."""
        check_name(voice.name)
        self._root.mkdir(parents=True, exist_ok=True)
        staging = self._root / f".{voice.name}.{uuid.uuid4().hex}"
        staging.mkdir()
        try:
            data = io.BytesIO()
            np.savez(data, latents=voice.latents, speaker=voice.speaker)
            (staging / "voice.npz").write_bytes(data.getvalue())
            noted = {
                "name": voice.name,
                "checkpoint": self.checkpoint,
                "sha256": sha256_of(staging / "voice.npz"),
                "recordings": [sha256_of(path) for path in recordings],
            }
            (staging / "manifest.json").write_text(json.dumps(noted, indent=1) + "\n", encoding="utf-8")
            self._swap(staging, self._root / voice.name)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def remove(self, name: str) -> None:
        """Forget a cloned voice. Raises `UnknownVoice`, or `UsageError` for a studio voice."""
        known = self.names()
        if name not in known:
            raise UnknownVoice(f"no voice {name!r} for this checkpoint; here: {', '.join(known) or 'none'}")
        if known[name] == "studio":
            raise UsageError(f"voice {name!r} belongs to the checkpoint and cannot be removed")
        gone = self._root / f".{name}.{uuid.uuid4().hex}"
        (self._root / name).rename(gone)
        shutil.rmtree(gone)

    @staticmethod
    def _swap(staging: Path, target: Path) -> None:
        """Give `staging` its final name. Whoever renames last wins; nobody sees a half-written voice."""
        while True:
            try:
                staging.rename(target)
                return
            except OSError:
                aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
                with contextlib.suppress(FileNotFoundError):
                    target.rename(aside)
                    shutil.rmtree(aside, ignore_errors=True)
