"""A Whisper of either layout to CTranslate2's format."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from voxturn.export.checkpoint import copy_tokenizer
from voxturn.export.ctranslate2 import convert_folder, import_converter
from voxturn.export.imports import import_transformers
from voxturn.export.whisper.checkpoint import WhisperCheckpoint, is_ctranslate2
from voxturn.export.whisper.reference import load_model


def convert(opened: WhisperCheckpoint, target: Path, precision: str) -> None:
    """Write `model.bin`, `config.json` and `vocabulary.json` into the empty folder `target`.

    Raises `ExportFailed`.
    """
    with _transformers_folder(opened) as folder:
        convert_folder(folder, target, precision, opened.folder)


@contextlib.contextmanager
def _transformers_folder(opened: WhisperCheckpoint) -> Iterator[Path]:
    """The checkpoint's own folder, or one in transformers' layout for as long as it is needed."""
    if not is_ctranslate2(opened.folder):
        yield opened.folder
        return
    import_converter()
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
        copy_tokenizer(opened.folder / "tokenizer.json", Path(name) / "tokenizer.json")
        yield Path(name)
