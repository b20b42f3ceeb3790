"""A tiny XTTS v2 with random weights, made and exported in the run, and coqui-tts's own modules
with its weights."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from voxturn.export.coqui import modules, synthetic
from voxturn.export.xtts import export as xtts
from voxturn.runtime.models.manifest import MANIFEST, Manifest
from voxturn.runtime.models.store import quiet

SHORT_CODES = 20


@dataclass(frozen=True)
class Tiny:
    """The checkpoint, its artifacts, and `short`: the int8 artifact that stops after `SHORT_CODES`
    codes."""

    checkpoint: Path
    fp32: Path
    int8: Path
    short: Path


@contextmanager
def narrowed() -> Iterator[None]:
    """A vocoder of a quarter of the width, wherever coqui-tts builds one: it takes most of these
    tests' time.

    No field of `config.json` has the width; our exporter reads it from the weights.
    """
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        module = modules.xtts_module()
        patch.setattr(
            module, "HifiDecoder", partial(module.HifiDecoder, upsample_initial_channel_decoder=128)
        )
        yield


@pytest.fixture(scope="session", autouse=True)
def narrow() -> Iterator[None]:
    """As `narrowed`."""
    with narrowed():
        yield


@pytest.fixture(scope="session")
def tiny(narrow: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tiny]:
    root = tmp_path_factory.mktemp("tiny")
    made = Tiny(root / "checkpoint", root / "fp32", root / "int8", root / "short")
    with warnings.catch_warnings(), pytest.MonkeyPatch.context() as patch:
        warnings.simplefilter("ignore")
        patch.setattr(
            xtts, "find_spec", lambda name: None
        )  # these tests compare with coqui-tts themselves
        synthetic.make_checkpoint(made.checkpoint, "tiny", 1)
        for folder in (made.fp32, made.int8):
            exported(made.checkpoint, folder)
    shortened(made.int8, made.short)
    yield made
    shutil.rmtree(root)  # 200 MB


def exported(checkpoint: Path, folder: Path) -> None:
    """The checkpoint's artifact, of the precision that the folder is called by."""
    folder.mkdir()
    source = Manifest("xtts-v2", "checkpoint", "source", {}, {})
    xtts.export(checkpoint, source, folder, folder.name, quiet)


def shortened(artifact: Path, target: Path) -> None:
    """The same artifact with few codes at most."""
    target.mkdir()
    for path in artifact.iterdir():
        if path.name != MANIFEST:
            (target / path.name).hardlink_to(path)
    manifest = Manifest.read(artifact)
    properties = dict(manifest.properties) | {"gpt_max_audio_tokens": SHORT_CODES + 3}
    (target / MANIFEST).write_text(replace(manifest, properties=properties).to_json())


@pytest.fixture(scope="session")
def original(tiny: Tiny) -> Any:
    """Coqui-tts's `Xtts`, unpatched, with the checkpoint loaded by itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = modules.xtts_module()
        config = module.XttsConfig()
        config.load_json(str(tiny.checkpoint / "config.json"))
        model = module.Xtts.init_from_config(config)
        model.load_checkpoint(config, checkpoint_dir=str(tiny.checkpoint), eval=True)
    assert json.loads((tiny.checkpoint / "config.json").read_text())["voxturn_synthetic"]
    model.eval()  # it returns nothing
    return model
