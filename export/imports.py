"""Libraries whose import needs care: torchaudio without CUDA, and a transformers that keeps quiet."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def keep_torchaudio_in_python() -> None:
    """Import torchaudio; where its extension wants CUDA libraries that are not here, without the
    extension."""
    try:
        import torchaudio
    except OSError:
        for name in [name for name in sys.modules if name.startswith("torchaudio")]:
            del sys.modules[name]
        stand_in = ModuleType("torchaudio._extension")
        stand_in.__dict__.update(
            _IS_TORCHAUDIO_EXT_AVAILABLE=False,
            _IS_ALIGN_AVAILABLE=False,
            fail_if_no_align=lambda f: f,
        )
        sys.modules["torchaudio._extension"] = stand_in
        import torchaudio  # noqa: F401


def import_transformers() -> Any:
    """transformers, without its progress bars, on machines too whose torchaudio wants CUDA: it
    looks at torchaudio."""
    if find_spec("torchaudio"):
        keep_torchaudio_in_python()
    import transformers

    transformers.utils.logging.disable_progress_bar()
    return transformers
