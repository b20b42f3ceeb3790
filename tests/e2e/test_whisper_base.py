"""The real Whisper base, read back out of its CTranslate2 file, against transformers and against
CTranslate2."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from voxturn.export.whisper import export as whisper
from voxturn.runtime.audio.decode import decode_all
from voxturn.runtime.executors.ctranslate2 import Ct2Whisper
from voxturn.runtime.executors.whisper_onnx import OnnxWhisper
from voxturn.runtime.families.whisper.hearing import log_mel
from voxturn.runtime.flow.scheduling import Cores
from voxturn.runtime.models.manifest import Manifest
from voxturn.runtime.models.registry import Registry
from voxturn.runtime.models.store import Store, quiet
from voxturn.runtime.text.tokenizer import JsonTokenizer

QUESTION = Path(__file__).parents[2] / "runtime" / "demo" / "question.wav"

pytestmark = [
    pytest.mark.usefixtures("demo_models"),
    pytest.mark.filterwarnings("ignore"),  # transformers and what it imports
]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_it_hears_what_ctranslate2_hears(precision: str, tmp_path: Path) -> None:
    model, _ = Registry.read().resolve("whisper-base")
    checkpoint = Store().checkpoint_path(model)
    whisper.export(checkpoint, Manifest.read(checkpoint), tmp_path, precision, quiet, "onnx")
    manifest = Manifest.read(tmp_path)
    assert manifest.reached["greedy_same"] >= (
        manifest.reached["greedy_steps"] if precision == "fp32" else 8
    )
    assert (
        precision == "int8"
        or max(manifest.reached[f"{k}.error"] for k in ("encoder", "logits")) <= 1e-4
    )
    samples = np.concatenate([decode_all(QUESTION, 16000), np.zeros(32000, np.float32)])
    features = log_mel(manifest.properties["mels"])(samples)[:, : samples.size // 160]
    tokenizer = JsonTokenizer(tmp_path / "tokenizer.json")
    marks = ("startoftranscript", "en", "transcribe", "notimestamps")
    prompt = [i for name in marks if (i := tokenizer.id_of(f"<|{name}|>")) is not None]
    budget = Cores().budget("transcribe", 0)
    heard = []
    for executor in (
        OnnxWhisper(tmp_path, manifest, budget),
        Ct2Whisper(checkpoint, "fp32", budget, beam=1),
    ):
        encoded = executor.encode(features)
        result = executor.generate(encoded, prompt, 40)
        languages = executor.detect_language(encoded)
        assert max(languages, key=languages.__getitem__) == "en"
        times = executor.align(encoded, prompt[:-1], result.ids, features.shape[1] // 2)
        heard.append((result, times))
        executor.close()
    (ours, our_times), (theirs, their_times) = heard
    assert ours.ids == theirs.ids
    assert tokenizer.decode(ours.ids) == " What is the capital of France?"
    assert np.abs(np.subtract(our_times, their_times)).max() <= (0 if precision == "fp32" else 5)
    if precision == "fp32":
        assert (ours.score, ours.no_speech) == pytest.approx(
            (theirs.score, theirs.no_speech), rel=1e-3
        )
