"""Folders in transformers' layout to CTranslate2's format, by its own converter; transformers and
torch are needed."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

from voxturn.export.checkpoint import read_table
from voxturn.export.imports import import_transformers
from voxturn.runtime.errors import ExportFailed

_TOKENS = ("bos_token", "eos_token", "unk_token")
TYPES = {"fp32": "float32", "fp16": "float16", "int8": "int8_float32"}
"""Our precisions under CTranslate2's names."""


def convert_folder(folder: Path, target: Path, precision: str, named: Path) -> None:
    """Write `model.bin`, `config.json` and `vocabulary.json` into the empty folder `target`.

    `folder` is in transformers' layout, of any model; errors name the checkpoint `named`. Raises
    `ExportFailed`.
    """
    converter = import_converter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            job = converter(str(folder), low_cpu_mem_usage=True)
            job.convert(str(target), quantization=TYPES[precision], force=True)
            _name_tokens(target / "config.json")
        except Exception as exc:  # transformers and what it imports raise nearly anything
            if (
                isinstance(exc, OSError)
                and exc.errno is not None
                and not _within(exc.filename, folder)
            ):
                raise  # the target cannot be written
            reason = str(exc).strip().partition("\n")[0] or type(exc).__name__
            raise ExportFailed(f"{named}: CTranslate2 cannot convert it ({reason})") from exc


def _name_tokens(path: Path) -> None:
    """Name the tokens that a model's tokenizer has not: CTranslate2 loads no configuration in which
    one is null.

    Our prompts have their own beginning and end, so that none of the names is ever looked at.
    """
    config = read_table(path)
    missing = {key: "" for key in _TOKENS if key in config and config[key] is None}
    if missing:
        path.write_text(json.dumps(config | missing, indent=2), encoding="utf-8")


def _within(name: object, folder: Path) -> bool:
    return isinstance(name, str) and Path(name).is_relative_to(folder)


def import_converter() -> Any:
    """CTranslate2's `TransformersConverter`. Raises `ExportFailed` that says what to install."""
    try:
        import torch  # noqa: F401

        import_transformers()
        from ctranslate2.converters import TransformersConverter
    except ImportError as exc:
        raise ExportFailed(
            f"--for ctranslate2 needs {exc.name}; pip install 'voxturn[export-whisper]'"
        ) from exc
    return TransformersConverter
