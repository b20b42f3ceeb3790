"""`voxturn bench coqui`: Coqui's families at their full size with random weights, streamed by the
runtime, against coqui-tts's `Synthesizer.tts` on the same checkpoint in the same process.

Both say the same texts in turn, whoever begins first going second the next time. Durations are drawn
without noise, so that both make audio of the same length.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import time
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from voxturn.bench.harness import Result
from voxturn.bench.tts import TEXTS
from voxturn.export import cli as export
from voxturn.export.coqui.folder import CONFIG
from voxturn.export.coqui.modules import tts_module
from voxturn.runtime.closing import Closing
from voxturn.runtime.errors import UsageError
from voxturn.runtime.families.base import family_of
from voxturn.runtime.families.pipe import said
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.parts import LoadedParts
from voxturn.runtime.profile import load_profile
from voxturn.runtime.text.filter import PassAll
from voxturn.runtime.turn.split import Split

_SEED, _WARM_UPS = 1, 2
_WEIGHTS = "model.pth"
_NOISE_OF_DURATIONS = "inference_noise_scale_dp"


@dataclass(frozen=True)
class Row:
    """A voice and, for one that gives mels, its vocoder: both as `make-checkpoint coqui:…` names them."""

    voice: str
    vocoder: str = ""

    @property
    def name(self) -> str:
        """What results call it."""
        return f"{self.voice}+{self.vocoder}" if self.vocoder else self.voice


ROWS = (
    Row("vits"),
    Row("vits-multi"),
    Row("vits-plain"),
    Row("vits-22to44"),
    Row("yourtts"),
    Row("glow_tts", "hifigan"),
    Row("glow_tts", "hifigan_v2"),
    Row("glow_tts-multi", "hifigan_v2"),
    Row("fast_pitch", "hifigan_v2"),
    Row("fast_pitch-multi", "hifigan_v2"),
    Row("fastspeech2", "hifigan_v2"),
    Row("speedy_speech", "hifigan_v2"),
    Row("fast_pitch", "multiband_melgan"),
    Row("speedy_speech", "multiband_melgan"),
    Row("glow_tts", "multiband_melgan"),
    Row("glow_tts", "fullband_melgan"),
    Row("glow_tts", "melgan"),
    Row("tacotron2", "hifigan_v2"),
    Row("tacotron2-dca", "hifigan_v2"),
    Row("tacotron2-graves", "hifigan_v2"),
)
"""What is measured: every voice with a vocoder of its kind, every vocoder with a voice."""


@dataclass(frozen=True)
class Spoken:
    """A text as audio, in seconds: until the first of it, until all of it, and how much it is."""

    first_s: float
    total_s: float
    audio_s: float

    @property
    def rtf(self) -> float:
        """Seconds for a second of audio."""
        return self.total_s / self.audio_s


class Ours(Closing):
    """An artifact as every program speaks with it."""

    def __init__(self, artifact: Path) -> None:
        manifest = Manifest.read(artifact)
        family = family_of(manifest.kind)
        assert family is not None
        profile = load_profile("cpu").with_voice(artifact, manifest, tuple(family.roles))
        self.reached = manifest.reached
        self.parts = LoadedParts(replace(profile, language="auto"))
        self.voice = self.parts.voice()
        self.info = self.parts.info["speak"]
        self._most = profile.speak.max_chars

    async def say(self, text: str) -> Spoken:
        """From the text to its first chunk, and to its last."""
        begin = time.perf_counter()
        arrivals, samples = [], 0
        sentences = Split(PassAll(), self._most, self.voice.language).whole(text)
        async with aclosing(said(self.voice, sentences)) as chunks:
            async for chunk in chunks:
                arrivals.append(time.perf_counter() - begin)
                samples += chunk.samples.size
        return Spoken(arrivals[0], arrivals[-1], samples / self.voice.rate)

    def close(self) -> None:
        """Free engines and threads."""
        self.parts.close()


class Theirs:
    """coqui-tts's own synthesizer, unpatched, of the same checkpoint; it speaks as our `voice` does
    by default."""

    def __init__(self, checkpoint: Path, vocoder: Path | None, ours: Ours) -> None:
        import torch

        torch.set_num_threads(ours.info.threads)
        self._module = tts_module("TTS.utils.synthesizer")
        files = {"tts_checkpoint": _WEIGHTS, "tts_config_path": CONFIG}
        if vocoder is not None:
            files["vocoder_checkpoint"] = str(vocoder / _WEIGHTS)
            files["vocoder_config"] = str(vocoder / CONFIG)
        with contextlib.chdir(checkpoint):  # it names its tables by where it is
            self._synthesizer = self._module.Synthesizer(**files)
        languages, speakers = ours.voice.languages, ours.voice.speakers
        self._options: dict[str, Any] = {"speaker_name": speakers[0] if speakers else ""}
        if len(languages) > 1:
            self._options["language_name"] = languages[0]

    def say(self, text: str) -> Spoken:
        """All of it comes at once; the silence that is put behind it is not counted as audio.

        Without `no_grad` it fails with a MelGAN, whose inference keeps gradients.
        """
        import torch

        begin = time.perf_counter()
        with torch.no_grad():
            samples = self._synthesizer.tts(text, **self._options)
        took = time.perf_counter() - begin
        count = len(samples) - self._module.PAD_SILENCE_SAMPLES
        return Spoken(took, took, count / self._synthesizer.output_sample_rate)


def made(name: str, size: str, folder: Path) -> Path:
    """A synthetic checkpoint in a folder of its own."""
    target = folder / f"{name}-checkpoint"
    wanted = {"model": f"coqui:{name}", "output": str(target), "size": size, "seed": _SEED}
    export.make_checkpoint(argparse.Namespace(**wanted))
    config = json.loads((target / CONFIG).read_text(encoding="utf-8"))
    arguments = config.get("model_args") or {}
    if _NOISE_OF_DURATIONS in arguments:
        arguments[_NOISE_OF_DURATIONS] = 0.0
        (target / CONFIG).write_text(json.dumps(config), encoding="utf-8")
    return target


def measured(row: Row, size: str, runs: int, result: Result) -> None:
    """Make, export and speak one row."""
    with TemporaryDirectory(prefix="voxturn-coqui-") as name:
        folder = Path(name)
        checkpoint, artifact = made(row.voice, size, folder), folder / "artifact"
        vocoder = made(row.vocoder, size, folder) if row.vocoder else None
        more = {"vocoder": vocoder} if vocoder else {}
        export.write(row.name, "coqui", checkpoint, artifact, "fp32", "onnx", more)
        with Ours(artifact) as ours:
            pairs = asyncio.run(alternated(ours, Theirs(checkpoint, vocoder, ours), runs))
            result.artifact(row.name, ours.info)
            result.notes.setdefault("reached", {})[row.name] = dict(ours.reached)
    noted(row, pairs, result)


async def alternated(ours: Ours, theirs: Theirs, runs: int) -> list[tuple[Spoken, Spoken]]:
    """What both needed for each text, ours first in every other."""
    pairs = []
    for number in range(_WARM_UPS + runs):
        text = TEXTS[number % len(TEXTS)]
        peer = theirs.say(text) if number % 2 else None
        own = await ours.say(text)
        pairs.append((own, peer or theirs.say(text)))
    return pairs[_WARM_UPS:]


def noted(row: Row, pairs: Sequence[tuple[Spoken, Spoken]], result: Result) -> None:
    """The metrics of a row. A ratio is how many times better than the peer."""
    at = f"coqui.{row.name}"
    for side, name in ((0, at), (1, f"{at}.peer")):
        spoken = [pair[side] for pair in pairs]
        result.samples(f"{name}.first_audio_ms", "ms", [1000 * each.first_s for each in spoken])
        result.samples(f"{name}.rtf", "ratio", [each.rtf for each in spoken])
        result.samples(f"{name}.audio_s", "s", [each.audio_s for each in spoken])
    result.samples(
        f"{at}.first_audio_ratio", "ratio", [peer.first_s / own.first_s for own, peer in pairs]
    )
    result.samples(f"{at}.rtf_ratio", "ratio", [peer.rtf / own.rtf for own, peer in pairs])


def chosen(names: Sequence[str]) -> list[Row]:
    """The rows of these names, all where there are none. Raises `UsageError` for another name."""
    known = {row.name: row for row in ROWS}
    if unknown := [name for name in names if name not in known]:
        raise UsageError(f"--only {unknown[0]}: is not measured; there are {', '.join(known)}")
    return [known[name] for name in names] or list(ROWS)


def main(names: Sequence[str], size: str, runs: int, path: Path | None) -> Result:
    """Run the benchmark."""
    result = Result("coqui")
    rows = chosen(names)
    for row in rows:
        measured(row, size, runs, result)
    result.notes["rows"] = [[row.voice, row.vocoder] for row in rows]
    result.notes["size"] = size
    result.notes["texts"] = TEXTS
    result.notes["durations"] = (
        "drawn without noise; random weights whose bias is some six frames a character"
    )
    if path:
        result.write(path)
    return result
