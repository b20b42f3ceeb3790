"""coqui-tts's own modules: the reference of parity and the peer of the benches.

Of its torchaudio only the Python parts are needed, which is all that XTTS uses.
"""

from __future__ import annotations

import importlib
import warnings
from typing import Any

from voxturn.export.imports import keep_torchaudio_in_python
from voxturn.export.xtts.checkpoint import XttsCheckpoint
from voxturn.runtime.errors import ExecutorUnavailable

_COMMON: dict[str, Any] = {
    "gpt_num_audio_tokens": 1026, "gpt_start_audio_token": 1024, "gpt_stop_audio_token": 1025,
    "gpt_use_perceiver_resampler": True, "gpt_stop_text_token": 0,
}  # fmt: skip
LANGUAGES = [
    "en",
    "es",
    "fr",
    "de",
    "it",
    "pt",
    "pl",
    "tr",
    "ru",
    "nl",
    "cs",
    "ar",
    "zh-cn",
    "hu",
    "ko",
    "ja",
    "hi",
]


def xtts_module() -> Any:
    """coqui-tts's `TTS.tts.models.xtts`. Raises `ExecutorUnavailable` if it is not installed."""
    return tts_module("TTS.tts.models.xtts")


def tts_module(name: str) -> Any:
    """A module of coqui-tts's. Raises `ExecutorUnavailable` if it is not installed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            keep_torchaudio_in_python()
            return importlib.import_module(name)
    except ImportError as exc:
        raise ExecutorUnavailable(
            f"coqui-tts cannot be imported ({exc}); pip install 'voxturn[coqui]'"
        ) from exc


def build(args: dict[str, Any]) -> Any:
    """An untrained `Xtts` of these `model_args`."""
    module = xtts_module()
    config = module.XttsConfig(
        model_args=module.XttsArgs(**(_COMMON | args)), languages=list(LANGUAGES)
    )
    return module.Xtts(config)


def load(opened: XttsCheckpoint) -> Any:
    """An `Xtts` with a checkpoint's weights.

    Its own `load_checkpoint`, which may rewrite files, is not used.
    """
    known = {k: v for k, v in vars(opened.args).items() if k in vars(xtts_module().XttsArgs())}
    model = build(known)
    import torch

    state = model.state_dict()
    given = {
        name: torch.from_numpy(opened.weights.take(name))
        for name in opened.weights.names()
        if name in state
    }
    model.load_state_dict(state | given)
    model.eval()
    return model
