"""The exporter `coqui`: a model of Coqui's from its folder, as coqui-tts's cache or a training has it.

Which family it is of says its `config.json`; each family is a row of `FAMILIES` and a module of this
package. coqui-tts is not needed; where it is installed, the graphs are compared with it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from voxturn.export.artifact import write_manifest
from voxturn.export.coqui import forward_tts, glow_tts, mel_parity, parity
from voxturn.export.coqui.artifact import PRECISIONS, Exported
from voxturn.export.coqui.folder import CONFIG, CoquiFolder
from voxturn.export.coqui.openvoice import family as openvoice
from voxturn.export.coqui.openvoice import parity as openvoice_parity
from voxturn.export.coqui.tacotron import family as tacotron
from voxturn.export.coqui.tacotron import parity as tacotron_parity
from voxturn.export.coqui.vits import family as vits
from voxturn.runtime.errors import CorruptModel, ExportFailed
from voxturn.runtime.models.fetch import Progress
from voxturn.runtime.models.manifest import Manifest

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class CoquiFamily:
    """One of Coqui's families. `write` writes its files into an empty folder, `reached` compares them
    with coqui-tts, where that is `known` to load the folder; with `gives_mels` both take the folder of
    its vocoder as well."""

    write: Callable[..., Exported]
    reached: Callable[..., dict[str, float]]
    gives_mels: bool = False
    known: Callable[[CoquiFolder], bool] = parity.known


FAMILIES: Mapping[str, CoquiFamily] = {
    "vits": CoquiFamily(vits.write, parity.reached),
    "openvoice": CoquiFamily(openvoice.write, openvoice_parity.reached, known=lambda _: True),
    "glow_tts": CoquiFamily(glow_tts.write, mel_parity.reached, gives_mels=True),
    "tacotron2": CoquiFamily(tacotron.write, tacotron_parity.reached, gives_mels=True),
    **dict.fromkeys(
        forward_tts.NAMES, CoquiFamily(forward_tts.write, mel_parity.reached, gives_mels=True)
    ),
}
"""By the name in `config.json`."""
_ELSEWHERE = {"xtts": "xtts-v2"}
"""Families that have a command of their own."""


def export(
    checkpoint: Path,
    source: Manifest,
    target: Path,
    precision: str,
    progress: Progress,
    engine: str = "",
    vocoder: Path | None = None,
) -> None:
    """Write the artifact into the empty folder `target`; `vocoder` is the folder of one, for a family
    that gives mels.

    Raises `CorruptModel` or `ExportFailed`.
    """
    if engine not in ("", *PRECISIONS) or precision not in PRECISIONS["onnx"]:
        raise ExportFailed(
            f"a model of Coqui's has no graphs of {precision} for {engine or 'onnx'}"
        )
    what = f"export {source.model} {precision}"
    progress(what, 0, 2)
    folder = CoquiFolder.open(checkpoint)
    family = _family(folder)
    _check_vocoder(family, folder, vocoder)
    more = (vocoder,) if family.gives_mels else ()
    written = family.write(folder, target, *more)
    progress(what, 1, 2)
    reached = dict(written.reached) | {"parity": 0}
    if find_spec("TTS") and family.known(folder):
        reached |= family.reached(folder, target, written.properties, *more) | {"parity": 1}
    elif not find_spec("TTS"):
        why = "not compared with coqui-tts, which is not installed; pip install 'voxturn[coqui]'"
        _LOG.warning("%s: %s", source.model, why)
    write_manifest(
        target,
        source,
        kind=written.kind,
        task=written.task,
        precision=precision,
        graphs=written.graphs,
        properties=written.properties,
        reached=reached,
        synthetic=written.synthetic,
    )
    progress(what, 2, 2)


def family_of(config: Mapping[str, Any]) -> str:
    """The name of the family that a configuration says, whoever's it is; empty where it says none."""
    if "phoneme_id_map" in config or config.get("model_type") == "vits":
        return "vits"  # Piper's trainings, transformers
    if openvoice.is_openvoice(config):
        return "openvoice"
    named = config.get("model") or config.get("generator_model")
    if isinstance(named, Mapping) and isinstance(config.get("data"), Mapping):
        return "vits"  # the original repository, fairseq
    return named.lower().removesuffix("_generator") if isinstance(named, str) else ""


def _check_vocoder(family: CoquiFamily, folder: CoquiFolder, vocoder: Path | None) -> None:
    """Raise `ExportFailed` for one that is missing, or that nothing is done with."""
    where = folder.path / CONFIG
    if family.gives_mels and vocoder is None:
        raise ExportFailed(
            f"{where}: this model gives mels; name its vocoder's folder: --vocoder DIR"
        )
    if vocoder is not None and not family.gives_mels:
        raise ExportFailed(f"{where}: this model makes its own audio; leave out --vocoder")


def _family(folder: CoquiFolder) -> CoquiFamily:
    name, where = family_of(folder.config), folder.path / CONFIG
    if not name:
        raise CorruptModel(f"{where}: names no model; is it a configuration of Coqui's?")
    if name in _ELSEWHERE:
        raise ExportFailed(
            f"{where}: is a model of {name!r}; voxturn export {_ELSEWHERE[name]} exports it"
        )
    if name not in FAMILIES:
        raise ExportFailed(
            f"{where}: is a model of {name[:80]!r}, which is not exported yet; exported: {', '.join(FAMILIES)}"
        )
    return FAMILIES[name]
