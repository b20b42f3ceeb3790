"""A Tacotron 2's graphs and its loop against coqui-tts's own model, vocoder and hand-over, unpatched.

The loop is the runtime's own, without its guard, which upstream has not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from voxturn.export.checkpoint import Float
from voxturn.export.coqui.folder import CoquiFolder
from voxturn.export.coqui.mel_parity import rows_of, upstream_vocoder
from voxturn.export.coqui.parity import error, graph_of, random_ids, upstream, within
from voxturn.runtime.families.tacotron.loop import FineMels, Loop
from voxturn.runtime.protocols import GraphExecutor

MOST = {
    "steps.differ": 0.0,
    "frames.error": 1e-5,
    "alignments.error": 1e-4,
    "mels.error": 1e-4,
    "audio.error": 1e-4,
}
"""As `parity.MOST`; of the loop, how many steps more or fewer there are, and what `STEPS` of them
made and read. A mixture's alignment is the small difference of numbers near one."""
LENGTHS, STEPS = (17, 61), 40
_PIECE = 16


def reached(
    folder: CoquiFolder, artifact: Path, properties: Mapping[str, Any], vocoder: Path
) -> dict[str, float]:
    """The largest errors over two texts. Raises `ExportFailed` above `MOST`."""
    model, sound, rows = upstream(folder), upstream_vocoder(vocoder), rows_of(artifact)
    graphs = graphs_of(artifact)
    try:
        found = [
            compared(model, sound, graphs, properties, rows, length, most=STEPS)
            for length in LENGTHS
        ]
    finally:
        for graph in graphs.values():
            graph.close()
    return within(found, MOST)


def graphs_of(artifact: Path) -> dict[str, GraphExecutor]:
    """The graphs of an artifact by the names of their files."""
    return {
        name: graph_of(artifact / f"{name}.onnx")
        for name in ("acoustic", "step", "post", "decoder")
    }


def compared(
    model: Any,
    vocoder: tuple[Any, Any],
    graphs: Mapping[str, GraphExecutor],
    properties: Mapping[str, Any],
    rows: Float,
    length: int,
    speaker: int = 0,
    most: int = STEPS,
) -> dict[str, float]:
    """The errors over a text of random symbols, `length` of them, said by a speaker of `rows` in at
    most so many steps, and how many `steps` there were."""
    import torch

    ids = random_ids(model.tokenizer.characters.num_chars, length)
    told = {"speaker": rows[[speaker], :, None]} if len(rows) else {}
    model.decoder.max_decoder_steps = most
    torch.manual_seed(length)
    wanted = model.inference(torch.from_numpy(ids), auxiliary(model, rows, speaker))
    torch.manual_seed(length)
    encoded = graphs["acoustic"].run({"input": ids, **told})
    widths = [layer.linear_layer.out_features for layer in model.decoder.prenet.linear_layers]
    keep = _drawn(widths) if properties["keeps"] else None
    seen = _Seen()
    loop = Loop(graphs["step"], encoded, most, seen, keep)
    fine = FineMels(
        graphs["post"], _PIECE, properties["post_margin"], repeated := properties["repeated"]
    )
    frames, pieces = [], []
    while not loop.over:
        frames.append(loop.next())
        fine.add(frames[-1])
        if (piece := fine.ready(loop.over)) is not None:
            pieces.append(piece)
    latents = np.concatenate(pieces).T[None]
    audio = graphs["decoder"].run({"latents": np.ascontiguousarray(latents), **told})["audio"]
    mel = wanted["model_outputs"][0].numpy()
    handed = vocoder[1].normalize(model.ap.denormalize(mel.T))
    sound = vocoder[0].inference(torch.tensor(handed)[None]).detach().numpy()
    alignments = wanted["alignments"][0].numpy()
    return {
        "steps": float(loop.steps),
        "steps.differ": float(abs(loop.steps - len(alignments))),
        "frames.error": error(np.concatenate(frames), wanted["decoder_outputs"][0].numpy()),
        "alignments.error": error(np.stack(seen.alignments), alignments[: len(seen.alignments)]),
        "mels.error": error(latents[0, :, repeated:-repeated], handed),
        "audio.error": error(audio, sound.reshape(1, 1, -1)),
    }


class _Seen:
    """A guard that ends nothing and keeps what it sees; the last step is not shown to it."""

    def __init__(self) -> None:
        self.alignments: list[Float] = []

    def ends(self, alignment: Float) -> bool:
        self.alignments.append(alignment)
        return False


def auxiliary(model: Any, rows: Float, speaker: int) -> dict[str, Any]:
    """Who speaks, in upstream's words, and no reference for a style."""
    import torch

    told: dict[str, Any] = {"style_mel": None, "d_vectors": None, "speaker_ids": None}
    if len(rows) and hasattr(model, "speaker_embedding"):
        told["speaker_ids"] = torch.tensor([speaker])
    elif len(rows):
        told["d_vectors"] = torch.from_numpy(rows[[speaker]])
    return told


def _drawn(widths: list[int]) -> Callable[[], Float]:
    """What a prenet of layers of these widths keeps, drawn as torch's dropout draws it."""
    import torch

    def keep() -> Float:
        drawn = [torch.empty(1, width).bernoulli_(0.5) * 2.0 for width in widths]
        return np.asarray(torch.cat(drawn, 1).numpy())

    return keep
