"""A Whisper to CTranslate2's format, by CTranslate2's own converter; transformers and torch are needed."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from voxturn.export.whisper_checkpoint import WhisperCheckpoint, is_ctranslate2
from voxturn.export.whisper_reference import import_transformers, load_model
from voxturn.runtime.errors import ExportFailed

TYPES = {"fp32": "float32", "fp16": "float16", "int8": "int8_float32"}
"""Our precisions under CTranslate2's names."""


def convert(opened: WhisperCheckpoint, target: Path, precision: str) -> None:
    """Write `model.bin`, `config.json` and `vocabulary.json` into the empty folder `target`. Raises `ExportFailed`."""
    with _transformers_folder(opened) as folder:
        convert_folder(folder, target, precision, opened.folder)


def convert_folder(folder: Path, target: Path, precision: str, named: Path) -> None:
    """The same of a folder in transformers' layout, of any model; errors name the checkpoint `named`."""
    converter = _import_converter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            made = converter(str(folder), low_cpu_mem_usage=True)
            made.convert(str(target), quantization=TYPES[precision], force=True)
        except Exception as exc:  # transformers and what it imports raise nearly anything
            if (
                isinstance(exc, OSError)
                and exc.errno is not None
                and not _within(exc.filename, folder)
            ):
                raise  # the target cannot be written
            reason = str(exc).strip().partition("\n")[0] or type(exc).__name__
            raise ExportFailed(f"{named}: CTranslate2 cannot convert it ({reason})") from exc


def _within(name: object, folder: Path) -> bool:
    return isinstance(name, str) and Path(name).is_relative_to(folder)


def _import_converter() -> Any:
    try:
        import torch  # noqa: F401

        import_transformers()
        from ctranslate2.converters import TransformersConverter
    except ImportError as exc:
        raise ExportFailed(
            f"--to ctranslate2 needs {exc.name}; pip install 'voxturn[export-whisper]'"
        ) from exc
    return TransformersConverter


@contextlib.contextmanager
def _transformers_folder(opened: WhisperCheckpoint) -> Iterator[Path]:
    """The checkpoint's own folder, or one in transformers' layout for as long as it is needed."""
    if not is_ctranslate2(opened.folder):
        yield opened.folder
        return
    _import_converter()
    transformers, marks = import_transformers(), opened.marks
    with tempfile.TemporaryDirectory() as name:
        model = load_model(opened)
        model.generation_config = transformers.GenerationConfig(
            suppress_tokens=list(marks.suppress),
            begin_suppress_tokens=list(marks.suppress_begin),
            **(
                {"alignment_heads": [list(pair) for pair in marks.alignment_heads]}
                if marks.alignment_heads
                else {}
            ),
            **(
                {"lang_to_id": {f"<|{code}|>": i for code, i in marks.languages.items()}}
                if marks.languages
                else {}
            ),
        )
        model.save_pretrained(name)
        shutil.copyfile(opened.folder / "tokenizer.json", Path(name) / "tokenizer.json")
        yield Path(name)
